//! What the sections must be on their own and together.

use std::collections::BTreeMap;

use leadshare_connectors::sdk::Manifest;
use leadshare_connectors::sdk::manifest::Auth;

use super::sources::Sources;
use super::{Config, Connection, Period, Secret};
use crate::clock::{HOUR, Millis, SECOND};
use crate::errors::{Diagnostic, did_you_mean};
use crate::http::line::Role;
use crate::vault::Key;

/// How long a write may take once its gates were checked.
const WRITING: Millis = 5 * SECOND;

/// The vendors that a connection can name.
pub(super) struct Vendors {
    /// Their connectors' names.
    pub names: fn() -> Vec<&'static str>,
    /// The facts of one.
    pub manifest: fn(&str) -> Option<Manifest>,
}

impl Vendors {
    /// Those that we ship.
    pub const SHIPPED: Self = Self {
        names: || leadshare_connectors::all().iter().map(|entry| entry.name).collect(),
        manifest: |name| leadshare_connectors::by_name(name).map(|entry| (entry.connector)().manifest().clone()),
    };
}

/// Collects what is wrong.
struct Check<'a> {
    sources: &'a Sources,
    vendors: &'a Vendors,
    problems: &'a mut Vec<Diagnostic>,
}

impl Check<'_> {
    fn wrong(&mut self, path: &[&str], code: &'static str, message: impl Into<String>, hint: impl Into<String>) {
        self.problems.push(self.sources.at(path, code, message).hint(hint));
    }

    fn missing(&mut self, path: &[&str], what: &str, hint: impl Into<String>) {
        self.wrong(path, "config.missing", format!("{} is missing: {what}", path.join(".")), hint);
    }
}

/// Checks a configuration whose secrets are filled in.
pub(super) fn check(config: &Config, sources: &Sources, vendors: &Vendors, problems: &mut Vec<Diagnostic>) {
    let mut check = Check { sources, vendors, problems };
    server(config, &mut check);
    store(config, &mut check);
    keys(config, &mut check);
    ledger(config, &mut check);
    limits(config, &mut check);
    for (name, connection) in &config.connections {
        self::connection(name, connection, &mut check);
    }
}

fn server(config: &Config, check: &mut Check<'_>) {
    let path = ["server", "public_url"];
    let url = &config.server.public_url;
    if url.is_empty() {
        check.missing(&path, "how partners and vendors reach this daemon", "such as https://leads.example.com");
    } else {
        address(url, &path, is_loopback, "use https", check);
    }
    if !is_name(&config.program.name, 40) {
        let path = ["program", "name"];
        if config.program.name.is_empty() {
            check.missing(&path, "what the program is called", "1 to 40 of a-z, 0-9 and -");
        } else {
            check.wrong(&path, "config.wrong_value", "this is not a name", "use 1 to 40 of a-z, 0-9 and -");
        }
    }
}

/// Scheme and host, nothing behind; https unless `http` is allowed for that address.
fn address(text: &str, path: &[&str], http: fn(&url::Url) -> bool, insecure: &str, check: &mut Check<'_>) {
    let url = url::Url::parse(text).ok().filter(|url| matches!(url.scheme(), "http" | "https") && url.host().is_some());
    let Some(url) = url else {
        return check.wrong(path, "config.wrong_value", "this is not a web address", "write it like https://leads.example.com");
    };
    if url.path() != "/" || url.query().is_some() || url.fragment().is_some() || !url.username().is_empty() || text.ends_with('/') {
        check.wrong(path, "config.wrong_value", "only scheme and host belong here", format!("use {}", url.origin().ascii_serialization()));
    }
    if url.scheme() == "http" && !http(&url) {
        check.wrong(path, "config.insecure", "this address has no TLS", insecure);
    }
}

const SIMULATOR: &str = "use https; for a simulator, list its network in dangerously_allow_networks";

fn is_loopback(url: &url::Url) -> bool {
    match url.host() {
        Some(url::Host::Domain(name)) => name == "localhost",
        Some(url::Host::Ipv4(v4)) => v4.is_loopback(),
        Some(url::Host::Ipv6(v6)) => v6.is_loopback(),
        None => false,
    }
}

fn store(config: &Config, check: &mut Check<'_>) {
    let url = config.store_url();
    if !["sqlite:", "postgres://", "postgresql://"].iter().any(|scheme| url.expose().starts_with(scheme)) {
        let hint = "use sqlite:PATH or postgres://user:password@host/database";
        check.wrong(&["store", "url"], "config.wrong_value", "this is not a database that is supported", hint);
    }
}

fn keys(config: &Config, check: &mut Check<'_>) {
    const MAKE: &str = "a database that is in use needs the key that it was begun with; for a new one, `openssl rand -base64 32` makes one";
    let keys = &config.keys;
    let fixed = [("blind", &keys.blind), ("program", &keys.program), ("ledger", &keys.ledger)];
    // A file that could not be read has been told already.
    for ((name, key), file) in fixed.into_iter().zip([&keys.blind_file, &keys.program_file, &keys.ledger_file]) {
        if key.is_none() && file.is_none() {
            check.missing(&["keys", name], "one of the daemon's keys", MAKE);
        }
    }
    if keys.ring.is_empty() && keys.ring_file.is_empty() {
        check.missing(&["keys", "ring"], "a key that seals what is stored", format!("{MAKE}, and the id is yours to choose"));
    } else if keys.active.is_empty() {
        check.missing(&["keys", "active"], "the id of the key that seals", format!("one of: {}", ids(&keys.ring)));
    } else if !keys.ring.contains_key(&keys.active) && !keys.ring_file.contains_key(&keys.active) {
        check.wrong(
            &["keys", "active"],
            "config.conflict",
            format!("there is no key with the id `{}` under keys.ring", keys.active),
            format!("one of: {}", ids(&keys.ring)),
        );
    }

    let ring = keys.ring.iter().map(|(id, key)| (vec!["keys", "ring", id.as_str()], key));
    let fixed = fixed.into_iter().filter_map(|(name, key)| key.as_ref().map(|key| (vec!["keys", name], key)));
    let mut seen: BTreeMap<[u8; 32], String> = BTreeMap::new();
    for (path, secret) in ring.chain(fixed) {
        if path.len() == 3 && !is_name(path[2], 32) {
            check.wrong(&path, "config.wrong_value", "this is not an id", "use 1 to 32 of a-z, 0-9 and -");
        }
        match Key::from_base64(secret.expose()) {
            Err(e) => {
                let why = e.to_string().replace("vault.failed: ", "");
                let message = format!("{}: {}", path.join("."), why.split(';').next().unwrap_or_default());
                check.wrong(&path, "config.wrong_value", message, MAKE);
            }
            Ok(key) => {
                if let Some(other) = seen.insert(*key.bytes(), path.join(".")) {
                    let message = format!("{} and {other} are the same key", path.join("."));
                    check.wrong(&path, "config.conflict", message, "each key does one thing: make another one");
                }
            }
        }
    }
}

fn ids(ring: &BTreeMap<String, Secret>) -> String {
    ring.keys().map(String::as_str).collect::<Vec<_>>().join(", ")
}

fn ledger(config: &Config, check: &mut Check<'_>) {
    if config.ledger.origin.as_ref().is_some_and(|origin| origin.is_empty() || origin.contains(|c: char| c == '+' || c.is_whitespace())) {
        check.wrong(
            &["ledger", "origin"],
            "config.wrong_value",
            "a name without blanks and + is needed",
            "such as leads.example.com/program",
        );
    }
    for key in &config.ledger.former_keys {
        if let Err(e) = key.parse::<crate::ledger::PublicKey>() {
            check.wrong(&["ledger", "former_keys"], "config.wrong_value", e.to_string().replace("bad_request: ", ""), "copy it as printed");
        }
    }
}

fn limits(config: &Config, check: &mut Check<'_>) {
    let limits = &config.limits;
    if limits.free_disk_mb < 50 {
        check.wrong(&["limits", "free_disk_mb"], "config.wrong_value", "too little to end safely in", "at least 50");
    }
    if config.retry.schedule.is_empty() {
        check.wrong(
            &["retry", "schedule"],
            "config.wrong_value",
            "without a pause nothing is ever tried again",
            "such as [\"5s\", \"5m\", \"2h\"]",
        );
    }
    if config.retry.jitter > 50 {
        check.wrong(&["retry", "jitter"], "config.wrong_value", "out of range", "between 0 and 50 percent");
    }
    for (key, period) in [("never_shared", config.retention.never_shared), ("history", config.retention.history)] {
        if period < Period::days(1) {
            check.wrong(&["retention", key], "config.wrong_value", "too short to look at what happened", "at least 1d");
        }
    }
    if config.server.stop_notice.is_some_and(|notice| notice > Period::seconds(30)) {
        check.wrong(&["server", "stop_notice"], "config.wrong_value", "longer than a service manager waits for the end", "at most 30s");
    }
    if let Err(e) = tracing_subscriber::EnvFilter::try_new(&config.log.filter) {
        check.wrong(&["log", "filter"], "config.wrong_value", e.to_string(), "such as info,leadshare::http=debug");
    }
}

fn connection(name: &str, connection: &Connection, check: &mut Check<'_>) {
    let at = |key: &'static str| ["connections", name, key];
    if !is_name(name, 40) {
        check.wrong(&["connections", name], "config.wrong_value", "this is not a name", "use 1 to 40 of a-z, 0-9 and -");
    }
    if connection.partner.is_empty() {
        check.missing(&at("partner"), "whose account this is", "the name of a file under partners/, without .toml");
    }
    if connection.role.is_none() {
        check.missing(&at("role"), "what the account is used for", "one of: source, recipient, both");
    }
    if connection.role == Some(Role::Recipient) && connection.share_from.is_some() {
        check.wrong(
            &at("share_from"),
            "config.conflict",
            "nothing is shared from an account that only receives",
            "remove it, or set role to both",
        );
    }
    if connection.share_of_budget.is_some_and(|share| !(1..=100).contains(&share)) {
        check.wrong(&at("share_of_budget"), "config.wrong_value", "out of range", "percent, between 1 and 100");
    }
    if connection.settle_after.is_some_and(|time| !(30 * SECOND..=HOUR).contains(&time.millis())) {
        check.wrong(&at("settle_after"), "config.wrong_value", "out of range", "between 30s and 1h");
    }
    if connection.webhook_secret.is_none() && connection.webhook_secret_former.is_some() {
        check.missing(&at("webhook_secret"), "only the former one is given", "set webhook_secret to the one in use");
    }
    let http = !connection.dangerously_allow_networks.is_empty();
    if let Some(url) = &connection.base_url {
        address(url, &at("base_url"), if http { |_| true } else { |_| false }, SIMULATOR, check);
    }
    let oauth = [
        ("authorize_url", &connection.oauth.authorize_url),
        ("token_url", &connection.oauth.token_url),
        ("revoke_url", &connection.oauth.revoke_url),
    ];
    for (key, url) in oauth {
        let scheme = url.as_deref().map(|url| url::Url::parse(url).map_or_else(|_| String::new(), |url| url.scheme().to_owned()));
        if scheme.is_some_and(|scheme| scheme != "https" && !(scheme == "http" && http)) {
            let path = ["connections", name, "oauth", key];
            check.wrong(&path, "config.insecure", "secrets go there: it must be an https address", SIMULATOR);
        }
    }
    let known = (check.vendors.names)();
    if connection.connector.is_empty() {
        check.missing(&at("connector"), "which vendor's system it is", format!("one of: {}", known.join(", ")));
    } else if let Some(manifest) = (check.vendors.manifest)(&connection.connector) {
        against_manifest(name, connection, &manifest, check);
    } else {
        let hint = match did_you_mean(&connection.connector, known.iter().copied()) {
            Some(near) => format!("did you mean `{near}`?"),
            None => format!("one of: {}", known.join(", ")),
        };
        check.wrong(&at("connector"), "config.wrong_value", format!("there is no connector `{}`", connection.connector), hint);
    }
}

/// What only makes sense for some vendors.
fn against_manifest(name: &str, connection: &Connection, manifest: &Manifest, check: &mut Check<'_>) {
    let at = |key: &'static str| ["connections", name, key];
    let title = &manifest.title;
    match &manifest.auth {
        Auth::Oauth2(_) => {
            if connection.client_id.is_none() {
                check.missing(&at("client_id"), &format!("{title} is connected by OAuth"), "the id of the app that you registered there");
            }
            if connection.client_secret.is_none() && connection.client_secret_file.is_none() {
                check.missing(
                    &at("client_secret"),
                    &format!("{title} is connected by OAuth"),
                    "the secret of the app that you registered there",
                );
            }
            if connection.key.is_some() {
                check.wrong(&at("key"), "config.conflict", format!("{title} is connected by OAuth, not by a key"), "remove it");
            }
        }
        Auth::Key { how, .. } => {
            if connection.key.is_none() && connection.key_file.is_none() {
                check.missing(&at("key"), &format!("{title} is connected by a key"), how);
            }
            if connection.client_id.is_some() {
                check.wrong(&at("client_id"), "config.conflict", format!("{title} is connected by a key, not by OAuth"), "remove it");
            }
            if manifest.base_url.is_none() && connection.base_url.is_none() {
                check.missing(
                    &at("base_url"),
                    &format!("each {title} has an address of its own"),
                    "scheme and host, such as https://crm.example.com",
                );
            }
        }
    }
    if let Some(what) = manifest.tenant.as_ref().filter(|_| connection.tenant.as_deref().is_none_or(str::is_empty)) {
        check.missing(&at("tenant"), &format!("each {title} has one"), what);
    }
    for (budget, change) in &connection.budgets {
        let path = ["connections", name, "budgets", budget];
        if change.limit == 0 {
            check.wrong(&path, "config.wrong_value", "a budget of nothing", "to stop a connection, set paused = true");
        }
        if change.window.is_none() && !manifest.budgets.iter().any(|b| b.name == *budget) {
            let known: Vec<&str> = manifest.budgets.iter().map(|b| b.name.as_str()).collect();
            let hint = format!("{title} has: {}; for another one give its window too", known.join(", "));
            check.wrong(&path, "config.wrong_value", format!("{title} has no budget `{budget}`"), hint);
        }
    }
    let share = u64::from(connection.share_of_budget.unwrap_or(100));
    for budget in connection.budgets(manifest) {
        let needs = u64::from(manifest.write.needs.get(&budget.name).copied().unwrap_or_default());
        // What several short windows give while a write lasts counts together.
        let windows = (WRITING / budget.window_ms.max(1)).max(1) as u64;
        let ours = u64::from(budget.limit) * share / 100 * windows;
        if budget.limit > 0 && ours < needs && connection.role != Some(Role::Source) {
            let changed = connection.budgets.contains_key(&budget.name);
            let path = if changed { vec!["connections", name, "budgets", &budget.name] } else { at("share_of_budget").to_vec() };
            let message =
                format!("{ours} of `{}` are ours, and one write to {title} takes {needs}: nothing would be delivered", budget.name);
            check.wrong(&path, "config.wrong_value", message, "a larger limit, or a larger share_of_budget");
        }
    }
}

fn is_name(text: &str, most: usize) -> bool {
    (1..=most).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
}
