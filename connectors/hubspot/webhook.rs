//! Webhooks: verified on the raw bytes, then read as hints.
//!
//! One address serves all accounts of the app; `portalId` says which one. Event ids are not unique
//! and order is not promised, so nothing but "look there" is taken from an event.

use serde_json::Value;

use super::api;
use crate::sdk::{Hint, HintKind, Incoming, Millis, RawRequest, Refused, Reply, WebhookKey, signature};

/// Oldest signature that HubSpot tells receivers to accept.
const WINDOW: Millis = 300_000;
/// What version 3 decodes in the address before hashing, and nothing else.
const DECODED: [(&str, &str); 12] = [
    ("%3A", ":"),
    ("%2F", "/"),
    ("%3F", "?"),
    ("%40", "@"),
    ("%21", "!"),
    ("%24", "$"),
    ("%27", "'"),
    ("%28", "("),
    ("%29", ")"),
    ("%2A", "*"),
    ("%2C", ","),
    ("%3B", ";"),
];

/// Verifies and reads.
pub(super) fn read(raw: &RawRequest, keys: &[WebhookKey], now: Millis) -> Result<Incoming, Refused> {
    let key = verify(raw, keys, now)?;
    let Ok(Value::Array(events)) = serde_json::from_slice::<Value>(&raw.body) else { return Err(Refused::Unreadable) };
    let mut hints = Vec::new();
    for event in &events {
        let account = event.get("portalId").and_then(api::id_text).ok_or(Refused::Unreadable)?;
        if key.account.as_ref().is_some_and(|own| *own != account) {
            return Err(Refused::WrongAccount);
        }
        hints_of(event, &account, &mut hints);
    }
    hints.dedup();
    Ok(Incoming { hints, reply: Reply::ok() })
}

/// The key that the signature fits. Version 3 counts where it is present; a wrong one is not
/// excused by a fitting older one.
fn verify<'k>(raw: &RawRequest, keys: &'k [WebhookKey], now: Millis) -> Result<&'k WebhookKey, Refused> {
    if let Some(given) = raw.header("x-hubspot-signature-v3") {
        let stamp = raw.header("x-hubspot-request-timestamp").ok_or(Refused::Unsigned)?;
        let uri = decoded(&raw.url);
        let parts = [raw.method.as_str().as_bytes(), uri.as_bytes(), &raw.body, stamp.as_bytes()];
        let fits = |key: &&WebhookKey| signature::base64_is(given, &signature::hmac_sha256(&key.secret, &parts));
        let key = keys.iter().find(fits).ok_or(Refused::Forged)?;
        let sent: Millis = stamp.trim().parse().map_err(|_| Refused::Stale)?;
        return if now.abs_diff(sent) > WINDOW.unsigned_abs() { Err(Refused::Stale) } else { Ok(key) };
    }
    let given = raw.header("x-hubspot-signature").ok_or(Refused::Unsigned)?;
    // CRM webhooks are signed in version 1; version 2 belongs to workflow actions and cards.
    if raw.header("x-hubspot-signature-version").is_some_and(|version| !version.eq_ignore_ascii_case("v1")) {
        return Err(Refused::Forged);
    }
    let fits = |key: &&WebhookKey| signature::hex_is(given, &signature::sha256(&[&key.secret, &raw.body]));
    keys.iter().find(fits).ok_or(Refused::Forged)
}

/// The address as version 3 hashes it.
fn decoded(url: &str) -> String {
    let mut out = String::with_capacity(url.len());
    let mut rest = url;
    while let Some(at) = rest.find('%') {
        out.push_str(&rest[..at]);
        rest = &rest[at..];
        let known = rest.get(..3).and_then(|escape| DECODED.iter().find(|(from, _)| from.eq_ignore_ascii_case(escape)));
        let (taken, text) = known.map_or((1, "%"), |(from, to)| (from.len(), *to));
        out.push_str(text);
        rest = &rest[taken..];
    }
    out.push_str(rest);
    out
}

fn hints_of(event: &Value, account: &str, hints: &mut Vec<Hint>) {
    let kind = event.get("subscriptionType").or_else(|| event.get("eventType")).and_then(Value::as_str).unwrap_or_default();
    let Some((prefix, what)) = kind.split_once('.') else { return };
    let object = match prefix {
        "object" => event.get("objectTypeId").and_then(Value::as_str).map(object_name).unwrap_or_default(),
        named => named,
    };
    if object.is_empty() {
        return;
    }
    let id = |name: &str| event.get(name).and_then(api::id_text);
    let occurred_at = event.get("occurredAt").and_then(Value::as_i64);
    let hint = |id: String, kind: HintKind| Hint { account: Some(account.to_owned()), object: object.to_owned(), id, kind, occurred_at };
    match what {
        "deletion" => hints.extend(id("objectId").map(|id| hint(id, HintKind::Deleted))),
        "privacyDeletion" => hints.extend(id("objectId").map(|id| hint(id, HintKind::PrivacyDeleted))),
        "merge" => {
            let Some(survivor) = id("newObjectId").or_else(|| id("primaryObjectId")) else { return };
            let merged = api::list(event, "mergedObjectIds").iter().filter_map(api::id_text);
            for old in id("primaryObjectId").into_iter().chain(merged).filter(|old| *old != survivor) {
                hints.push(hint(old, HintKind::Merged(survivor.clone())));
            }
            hints.push(hint(survivor.clone(), HintKind::Changed));
        }
        // A deal that comes or goes changes what became of the contact.
        "associationChange" => hints.extend(id("fromObjectId").or_else(|| id("objectId")).map(|id| hint(id, HintKind::Changed))),
        // creation, propertyChange, restore, and what may come: look there.
        _ => hints.extend(id("objectId").map(|id| hint(id, HintKind::Changed))),
    }
}

/// The name in mapping files of an object type id; custom objects keep theirs.
fn object_name(type_id: &str) -> &str {
    match type_id {
        "0-1" => "contact",
        "0-2" => "company",
        "0-3" => "deal",
        "0-136" => "lead",
        other => other,
    }
}
