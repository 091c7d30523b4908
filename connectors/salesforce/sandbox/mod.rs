//! Salesforce, simulated from its documentation: an organisation with leads, its OAuth server, its
//! limits, and its outbound messages.

mod acts;
mod body;
mod collections;
mod describe;
mod error;
mod oauth;
mod objects;
mod outbound;
mod query;
mod rest;
mod row;
mod rules;
mod schema;
mod soql;
mod store;
#[cfg(test)]
mod tests;
mod usage;

use std::collections::BTreeMap;

pub use self::rules::{DuplicateRule, Validation};
use self::{
    error::Trouble,
    oauth::OAuth,
    outbound::Outbound,
    rest::{Call, Locator},
    rules::Rules,
    schema::{Field, Kind},
    store::Store,
    usage::Usage,
};
use crate::sdk::{Act, App, Fault, Method, Millis, OutgoingWebhook, Response, Sandbox, SandboxRecord, SandboxReply, SandboxRequest, Stats};

/// What an organisation may be set up with.
#[derive(Debug, Clone)]
pub struct Options {
    /// Requests in a rolling day.
    pub daily_requests: u64,
    /// What happens about leads and contacts whose e-mail address is already there.
    pub duplicates: DuplicateRule,
    /// Validation rules.
    pub validations: Vec<Validation>,
    /// Object and field that field-level security hides from API clients.
    pub hidden: Vec<(String, String)>,
    /// Object and name of text fields that are external ids and not unique.
    pub loose_external_ids: Vec<(String, String)>,
}

impl Default for Options {
    /// As many requests as a full sandbox organisation has; the standard duplicate rules alert.
    fn default() -> Self {
        Self {
            daily_requests: 5_000_000,
            duplicates: DuplicateRule::Alert,
            validations: Vec::new(),
            hidden: Vec::new(),
            loose_external_ids: Vec::new(),
        }
    }
}

/// The organisation behind the API.
#[derive(Debug, Clone)]
struct Org {
    store: Store,
    rules: Rules,
    usage: Usage,
    locators: Vec<Locator>,
    index_lag: Millis,
}

impl Org {
    /// Answers a data address, without looking at who asks.
    fn data(&mut self, request: &SandboxRequest, now: Millis) -> Response {
        let rest = request.path_only().strip_prefix("/services/data/").unwrap_or_default();
        let mut parts = rest.trim_end_matches('/').split('/');
        let version = parts.next().unwrap_or_default();
        let path = parts.map(decoded).collect();
        self.rest(&Call { method: request.method, version, path, request, now })
    }
}

/// A part of a path without its percent signs.
fn decoded(part: &str) -> String {
    let mut bytes = Vec::with_capacity(part.len());
    let mut rest = part.as_bytes();
    while let [first, tail @ ..] = rest {
        let code = tail.get(..2).filter(|_| *first == b'%').and_then(|code| u8::from_str_radix(std::str::from_utf8(code).ok()?, 16).ok());
        bytes.push(code.unwrap_or(*first));
        rest = if code.is_some() { &tail[2..] } else { tail };
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

/// Trouble that was arranged and has not come yet.
#[derive(Debug, Clone, Default)]
struct Faults {
    drop_after_commit: u32,
    commit_late: (u32, Millis),
    status: (u16, u32),
    throttle: u32,
    quota_until: Millis,
    truncate: bool,
}

/// Takes one from a count.
fn spend(count: &mut u32) -> bool {
    let some = *count > 0;
    *count -= u32::from(some);
    some
}

/// Salesforce, simulated.
#[derive(Debug, Clone)]
pub struct SalesforceSandbox {
    org: Org,
    oauth: OAuth,
    outbound: Outbound,
    faults: Faults,
    /// Writes that broke and are committed later.
    late: BTreeMap<(Millis, u64), SandboxRequest>,
    stats: Stats,
}

impl SalesforceSandbox {
    /// An empty organisation with the default set-up.
    pub fn new(seed: u64) -> Self {
        Self::with(seed, Options::default())
    }

    /// An empty organisation with this set-up.
    pub fn with(seed: u64, options: Options) -> Self {
        let mut store = Store::new(seed);
        for (object, field) in &options.hidden {
            if let Some(field) = store.table_mut(object).and_then(|table| table.object_mut().field_mut(field)) {
                field.hidden = true;
            }
        }
        for (object, name) in &options.loose_external_ids {
            if let Some(table) = store.table_mut(object) {
                table.add_field(Field { external_id: true, ..Field::new(name, Kind::Text, 255) });
            }
        }
        let oauth = OAuth::new(seed, &store.organisation, &store.api_user);
        let rules = Rules { duplicates: options.duplicates, validations: options.validations };
        let usage = Usage::new(options.daily_requests);
        Self {
            org: Org { store, rules, usage, locators: Vec::new(), index_lag: 0 },
            oauth,
            outbound: Outbound::default(),
            faults: Faults::default(),
            late: BTreeMap::new(),
            stats: Stats::default(),
        }
    }

    /// The organisation's id, as messages and token answers state it.
    pub fn organisation(&self) -> &str {
        &self.org.store.organisation
    }

    /// Lets happen what is due: late commits, and commits becoming visible.
    fn catch_up(&mut self, now: Millis) {
        while let Some(entry) = self.late.first_entry()
            && entry.key().0 <= now
        {
            let ((due, _), request) = entry.remove_entry();
            self.org.store.settle(due);
            self.org.data(&request, due);
        }
        self.org.store.settle(now);
        self.note();
    }

    fn note(&mut self) {
        let shown = std::mem::take(&mut self.org.store.shown);
        if self.oauth.app.as_ref().is_some_and(|app| app.webhook_url.is_some()) {
            self.outbound.note(shown, &mut self.org.store);
        }
    }

    fn answer(&mut self, request: &SandboxRequest, now: Millis) -> Option<Response> {
        let path = request.path_only();
        if let Some(response) = self.oauth.handle(request, now) {
            return Some(response);
        }
        if path.starts_with("/id/") {
            return Some(self.oauth.identity(request, now));
        }
        if path.trim_end_matches('/') == "/services/data" {
            return Some(Response::json(200, &describe::versions()));
        }
        if !path.starts_with("/services/data/") {
            return Some(Trouble::not_found().answer());
        }
        self.data(request, now)
    }

    /// A data request; `None` when the connection breaks.
    fn data(&mut self, request: &SandboxRequest, now: Millis) -> Option<Response> {
        self.stats.requests += 1;
        if !self.oauth.admits(request, now) {
            return Some(Trouble::new("INVALID_SESSION_ID", "Session expired or invalid").status(401).answer());
        }
        if spend(&mut self.faults.status.1) {
            return Some(trouble_of(self.faults.status.0).answer());
        }
        if spend(&mut self.faults.throttle) {
            self.stats.throttled += 1;
            let message = "ConcurrentRequests (Concurrent API Requests) Limit exceeded.";
            return Some(Trouble::new("REQUEST_LIMIT_EXCEEDED", message).status(403).answer());
        }
        if now < self.faults.quota_until || !self.org.usage.spend(now) {
            self.stats.throttled += 1;
            return Some(Trouble::new("REQUEST_LIMIT_EXCEEDED", "TotalRequests Limit exceeded.").status(403).answer());
        }
        let writes = request.method != Method::Get;
        if writes && spend(&mut self.faults.commit_late.0) {
            self.late.insert((now + self.faults.commit_late.1, self.stats.requests), request.clone());
            return None;
        }
        let mut response = self.org.data(request, now);
        self.note();
        if writes && spend(&mut self.faults.drop_after_commit) {
            return None;
        }
        if response.status != 204 {
            let usage = &self.org.usage;
            let used = if now < self.faults.quota_until { usage.limit } else { usage.used(now) };
            response.headers.push(("sforce-limit-info".into(), format!("api-usage={used}/{}", usage.limit)));
        }
        Some(response)
    }
}

/// How a status is answered when nothing was done.
fn trouble_of(status: u16) -> Trouble {
    let (code, message) = match status {
        401 => ("INVALID_SESSION_ID", "Session expired or invalid"),
        403 => ("INSUFFICIENT_ACCESS", "insufficient access rights"),
        404 => ("NOT_FOUND", "The requested resource does not exist"),
        503 => ("SERVER_UNAVAILABLE", "server unavailable"),
        _ => ("UNKNOWN_EXCEPTION", "An unexpected error occurred. Please include this ErrorId if you contact support"),
    };
    Trouble::new(code, message).status(status)
}

impl Sandbox for SalesforceSandbox {
    fn register(&mut self, app: App) {
        self.oauth.app = Some(app);
    }

    fn handle(&mut self, request: &SandboxRequest, now: Millis) -> SandboxReply {
        self.catch_up(now);
        let Some(mut response) = self.answer(request, now) else { return SandboxReply::Dropped };
        let second = jiff::Timestamp::from_second(now.div_euclid(1000)).unwrap_or(jiff::Timestamp::UNIX_EPOCH);
        if let Ok(date) = jiff::fmt::rfc2822::DateTimePrinter::new().timestamp_to_rfc9110_string(&second) {
            response.headers.push(("date".into(), date));
        }
        if self.faults.truncate && !response.body.is_empty() {
            self.faults.truncate = false;
            response.body.truncate(response.body.len() / 2);
        }
        SandboxReply::Answer(response)
    }

    fn webhooks_due(&mut self, now: Millis) -> Vec<OutgoingWebhook> {
        self.catch_up(now);
        let Some(url) = self.oauth.app.as_ref().and_then(|app| app.webhook_url.clone()) else { return Vec::new() };
        self.outbound.due(&url, &self.org.store, now)
    }

    fn webhook_answered(&mut self, delivery: u64, answer: Option<&Response>, now: Millis) {
        self.outbound.answered(delivery, answer, now);
    }

    fn act(&mut self, act: Act, now: Millis) -> Result<String, String> {
        self.catch_up(now);
        let done = self.org.act(act, now).map_err(|trouble| format!("{}: {}", trouble.code, trouble.message));
        self.note();
        done
    }

    fn records(&self, object: &str) -> Vec<SandboxRecord> {
        let Some(table) = self.org.store.table(object) else { return Vec::new() };
        let one = |row: &store::Row| {
            let mut fields = row.fields.clone();
            for name in ["Id", "CreatedDate", "CreatedById", "LastModifiedDate", "LastModifiedById", "SystemModstamp", "Name"] {
                fields.entry(name.into()).or_insert_with(|| row::value(row, &table.object, name));
            }
            fields.retain(|_, value| !value.is_null());
            SandboxRecord { id: row.id.clone(), fields, made_by_api: row.created_by == self.org.store.api_user }
        };
        table.all_latest().filter(|row| !row.deleted).map(one).collect()
    }

    fn inject(&mut self, fault: Fault) {
        match fault {
            Fault::DropAfterCommit { count } => self.faults.drop_after_commit += count,
            Fault::CommitLate { count, after_ms } => self.faults.commit_late = (self.faults.commit_late.0 + count, after_ms),
            Fault::Status { status, count } => self.faults.status = (status, count),
            // Salesforce never says how long to wait.
            Fault::Throttle { count, retry_after: _ } => self.faults.throttle += count,
            Fault::DailyQuota { until } => self.faults.quota_until = until,
            Fault::ExpireAccessTokens => self.oauth.expire_sessions(),
            Fault::RevokeGrants => self.oauth.revoke_all(),
            Fault::IndexLag { ms } => self.org.index_lag = ms,
            Fault::CommitLag { ms } => self.org.store.commit_lag = ms,
            Fault::Truncate => self.faults.truncate = true,
        }
    }

    fn stats(&self) -> Stats {
        Stats { token_requests: self.oauth.requests, created: self.org.store.created_by_api, ..self.stats }
    }

    fn token(&mut self, now: Millis) -> String {
        self.oauth.token_for_tests(now)
    }

    fn fork(&self) -> Box<dyn Sandbox> {
        Box::new(self.clone())
    }
}
