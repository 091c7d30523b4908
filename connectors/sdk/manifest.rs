//! The declared facts of a vendor: addresses, scopes, budgets, answers, guarantees.

use std::collections::BTreeMap;

use serde::Deserialize;

use super::{Millis, Response};

/// A vendor's `manifest.toml`. The operator may override addresses, version and budgets per connection.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Manifest {
    /// Name in files and on the command line.
    pub name: String,
    /// Name for people.
    pub title: String,
    /// Scheme and host for API calls; absent where each account has its own.
    pub base_url: Option<String>,
    /// What an account's tenant is, where the vendor's addresses name one.
    pub tenant: Option<String>,
    /// The API version that the connector was written for.
    pub api_version: String,
    /// Hosts that may ever be given a token: these or their subdomains. Whatever host a vendor
    /// answers with is checked against the list.
    pub host_suffixes: Vec<String>,
    /// How an account is connected.
    pub auth: Auth,
    /// What may be spent.
    #[serde(default, rename = "budget")]
    pub budgets: Vec<Budget>,
    /// What answers mean, first match wins; see [`Manifest::classify`].
    #[serde(default, rename = "response")]
    pub responses: Vec<ResponseRule>,
    /// Polling.
    pub poll: Poll,
    /// Reading by id.
    pub read: Read,
    /// Writing.
    pub write: Write,
    /// Webhooks; absent when the vendor sends none.
    pub webhook: Option<Webhook>,
    /// Objects that hold leads, by the name that mapping files use; the first is the default.
    pub objects: Vec<String>,
}

/// How an account is connected.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, tag = "kind", rename_all = "snake_case")]
pub enum Auth {
    /// OAuth 2.0 authorization code.
    Oauth2(Oauth2),
    /// A key that the partner's admin makes and hands over.
    Key {
        /// The `Authorization` scheme in front of it, such as `Bearer`.
        scheme: String,
        /// Where the admin makes one, click by click.
        how: String,
    },
}

/// OAuth 2.0 facts.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Oauth2 {
    /// Where the browser goes. `{version}` is the API version.
    pub authorize_url: String,
    /// Where codes and refresh tokens are exchanged.
    pub token_url: String,
    /// Where a token is revoked.
    pub revoke_url: Option<String>,
    /// Scopes without which the connection is of no use.
    pub scopes: Vec<String>,
    /// Scopes that are asked for in `optional_scope`, where the vendor has it.
    #[serde(default)]
    pub optional_scopes: Vec<String>,
    /// Asked for in the same way, for connections whose mapping reads a field of this name.
    #[serde(default)]
    pub field_scopes: BTreeMap<String, Vec<String>>,
    /// Whether PKCE (S256) is sent.
    pub pkce: bool,
    /// Whether a refresh may answer a new refresh token, the old one dying with it.
    pub rotates: bool,
    /// Lifetime to assume when the answer has no `expires_in`, milliseconds; absent = until a 401.
    pub assumed_lifetime_ms: Option<Millis>,
    /// A refresh at least this often keeps an idle grant alive, milliseconds.
    pub keep_alive_ms: Option<Millis>,
}

/// One budget: a count of cost units in a window.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Budget {
    /// The name that asks spend from.
    pub name: String,
    /// Units per window.
    pub limit: u32,
    /// The window, milliseconds.
    pub window_ms: Millis,
    /// Answer header that states the limit, where the vendor says.
    pub limit_header: Option<String>,
    /// Answer header that states what is left.
    pub remaining_header: Option<String>,
    /// A header that states used and limit as `…=used/limit`, such as Salesforce's.
    pub usage_header: Option<String>,
}

/// What one kind of answer means.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ResponseRule {
    /// Statuses, such as `[429]`; `[500, 502]`.
    pub status: Vec<u16>,
    /// A text that the body must contain; absent = any body.
    pub contains: Option<String>,
    /// What to do.
    pub action: Action,
    /// For `wait`: how long when the answer has no `Retry-After`, milliseconds.
    pub wait_ms: Option<Millis>,
    /// For `wait`: the budget that is used up; the pause then binds that budget only.
    pub budget: Option<String>,
}

/// What the daemon does with an answer before, or instead of, letting the connector hear it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Action {
    /// The connector hears it.
    Hear,
    /// Passing trouble: reads and keyed writes are sent again shortly; the outcome of a write that
    /// is not keyed becomes unknown.
    Retry,
    /// Refused for the rate or a quota and not processed: wait, burning no attempt.
    Wait,
    /// The access token is no longer good: refresh once, send again.
    RefreshThenRetry,
    /// The account's set-up must change (scope, edition, licence): pause and tell the owner.
    Config,
}

/// What an answer means and for how long.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verdict {
    /// What to do.
    pub action: Action,
    /// For `wait`: how long, milliseconds; `Retry-After` is honoured in full.
    pub wait_ms: Millis,
    /// For `wait`: the budget concerned.
    pub budget: Option<String>,
}

/// Polling facts.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Poll {
    /// How far the lower bound reaches back behind the cursor, milliseconds.
    pub overlap_ms: Millis,
    /// How far the upper bound stays behind the vendor's clock, milliseconds.
    pub lag_ms: Millis,
    /// Pause between polls, milliseconds.
    pub every_ms: Millis,
}

/// Reading facts.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Read {
    /// Most ids in one fetch.
    pub batch: usize,
    /// The most that each of them spends from budgets besides, where facts are asked for that are kept beside the record.
    #[serde(default)]
    pub beside: BTreeMap<String, u32>,
}

/// Writing facts.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Write {
    /// What keeps a repeated create from making a second record.
    pub safety: WriteSafety,
    /// Timeout + the vendor's longest run + index lag, milliseconds: before that a write of unknown
    /// outcome must not be taken as not having happened.
    pub settle_after_ms: Millis,
    /// Most items in one write.
    pub batch: usize,
    /// The most that one write spends from budgets with the look before it, where that takes several requests: they are not begun
    /// before there is enough for the last.
    #[serde(default)]
    pub needs: BTreeMap<String, u32>,
    /// Default name of the field that holds our marker.
    pub marker_field: String,
}

/// What keeps a repeated create from making a second record.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum WriteSafety {
    /// The vendor refuses a second record with our marker: exactly one.
    UniqueKey,
    /// We look before writing again; a twin can arise in rare cases and is repaired.
    Lookup,
    /// Nothing.
    None,
}

/// Webhook facts.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Webhook {
    /// Whether one address serves all accounts of the app, signed with the app's secret; otherwise
    /// each connection has an address of its own.
    pub app_level: bool,
    /// Whether the vendor signs; otherwise only the secret address vouches.
    pub signed: bool,
    /// Oldest acceptable signature, milliseconds, where the scheme carries a time.
    pub max_age_ms: Option<Millis>,
}

impl Manifest {
    /// Parses a manifest; called once per connector on text that is part of the program.
    ///
    /// # Errors
    /// The TOML error with line and column.
    pub fn parse(text: &str) -> Result<Self, toml::de::Error> {
        toml::from_str(text)
    }

    /// What an answer means. Rules are tried in order; without one, 408, 429 and 5xx and 2xx mean
    /// what they mean everywhere, and anything else is the connector's to hear.
    pub fn classify(&self, response: &Response) -> Verdict {
        let retry_after = response.header("retry-after").and_then(|v| v.trim().parse::<i64>().ok()).map(|s| s.saturating_mul(1000));
        let body = || String::from_utf8_lossy(&response.body);
        for rule in &self.responses {
            if rule.status.contains(&response.status) && rule.contains.as_ref().is_none_or(|text| body().contains(text.as_str())) {
                return Verdict {
                    action: rule.action,
                    wait_ms: retry_after.or(rule.wait_ms).unwrap_or(10_000),
                    budget: rule.budget.clone(),
                };
            }
        }
        let action = match response.status {
            429 => Action::Wait,
            408 | 500..=599 => Action::Retry,
            _ => Action::Hear,
        };
        Verdict { action, wait_ms: retry_after.unwrap_or(10_000), budget: None }
    }

    /// The default object for leads.
    pub fn default_object(&self) -> &str {
        self.objects.first().map_or("", String::as_str)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sdk::http::Response;

    const TEXT: &str = r#"
name = "vendor"
title = "Vendor"
api_version = "1"
host_suffixes = ["vendor.example"]
objects = ["lead", "contact"]

[auth]
kind = "key"
scheme = "Bearer"
how = "Settings, Integrations, New key"

[[budget]]
name = "daily"
limit = 1000
window_ms = 86400000

[[response]]
status = [403]
contains = "LIMIT"
action = "wait"
wait_ms = 900000
budget = "daily"

[[response]]
status = [403]
action = "config"

[[response]]
status = [503]
action = "wait"

[poll]
overlap_ms = 300000
lag_ms = 60000
every_ms = 60000

[read]
batch = 100

[write]
safety = "unique_key"
settle_after_ms = 120000
batch = 100
marker_field = "marker"
"#;

    fn manifest() -> Manifest {
        Manifest::parse(TEXT).unwrap()
    }

    fn answer(status: u16, headers: &[(&str, &str)], body: &str) -> Response {
        let headers = headers.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        Response { status, headers, body: body.as_bytes().to_vec() }
    }

    fn action(status: u16, body: &str) -> Action {
        manifest().classify(&answer(status, &[], body)).action
    }

    /// Breaks when a later rule overrides an earlier one: a spent quota would ask a person to change the set-up.
    #[test]
    fn the_first_rule_that_fits_wins() {
        let verdict = manifest().classify(&answer(403, &[], r#"{"code":"LIMIT"}"#));
        assert_eq!(verdict, Verdict { action: Action::Wait, wait_ms: 900_000, budget: Some("daily".into()) });
        assert_eq!(action(403, "no right"), Action::Config);
    }

    /// Breaks when an answer that no rule names is not taken as everywhere.
    #[test]
    fn answers_without_a_rule_mean_what_they_mean_everywhere() {
        for status in [200, 201, 204, 207, 300, 400, 401, 404, 409, 422] {
            assert_eq!(action(status, ""), Action::Hear, "{status}");
        }
        for status in [408, 500, 502, 504, 599] {
            assert_eq!(action(status, ""), Action::Retry, "{status}");
        }
        assert_eq!(action(429, ""), Action::Wait);
        assert_eq!(action(503, ""), Action::Wait, "a rule goes before the common meaning");
    }

    /// Breaks when we come back sooner than the vendor asks, or read nonsense as a time.
    #[test]
    fn retry_after_goes_before_our_own_pause() {
        let pause = |headers: &[(&str, &str)]| manifest().classify(&answer(403, headers, "LIMIT")).wait_ms;
        assert_eq!(pause(&[("retry-after", "30")]), 30_000);
        assert_eq!(pause(&[("Retry-After", " 7 ")]), 7_000);
        assert_eq!(pause(&[("retry-after", "soon")]), 900_000);
        assert_eq!(pause(&[]), 900_000);
        assert_eq!(manifest().classify(&answer(429, &[], "")).wait_ms, 10_000, "a pause is never zero");
    }

    /// Breaks when a body that is no UTF-8 stops the reading of an answer.
    #[test]
    fn a_body_that_is_no_text_is_classified_too() {
        let response = Response { status: 403, headers: Vec::new(), body: vec![0xff, 0xfe, b'L', b'I', b'M', b'I', b'T'] };
        assert_eq!(manifest().classify(&response).action, Action::Wait);
    }

    /// Breaks when a misspelled key in a manifest is passed over in silence.
    #[test]
    fn unknown_and_missing_keys_are_refused() {
        for (from, to) in
            [("limit = 1000", "limits = 1000"), ("limit", "limit"), ("batch = 100\n\n[write]", "[write]"), ("\"wait\"", "\"await\"")]
        {
            let refused = Manifest::parse(&TEXT.replacen(from, to, 1)).is_err();
            assert_eq!(refused, from != to, "{from} → {to}");
        }
    }

    /// Breaks when a mapping that names no object gets another than the first.
    #[test]
    fn the_first_object_is_the_default() {
        assert_eq!(manifest().default_object(), "lead");
    }
}
