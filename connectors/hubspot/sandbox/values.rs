//! Which values HubSpot takes, and how it stores them.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::answer::{Refusal, iso};
use super::schema::{Kind, Property, Source};
use crate::sdk::Millis;

/// What is wrong with one value.
struct Issue {
    code: &'static str,
    name: String,
    message: String,
}

/// Checks and normalises what a client sends; `None` clears.
pub(super) fn accept(
    kind: Kind,
    schema: &BTreeMap<String, Property>,
    given: &serde_json::Map<String, Value>,
) -> Result<BTreeMap<String, Option<String>>, Refusal> {
    let mut issues = Vec::new();
    let mut accepted = BTreeMap::new();
    for (name, value) in given {
        let text = match value {
            Value::Null => String::new(),
            Value::String(text) => text.clone(),
            other => other.to_string(),
        };
        let mut issue = |code, message| issues.push(Issue { code, name: name.clone(), message });
        let Some(property) = schema.get(name).filter(|property| !property.archived) else {
            issue("PROPERTY_DOESNT_EXIST", format!("Property \"{name}\" does not exist"));
            continue;
        };
        if property.source != Source::Free {
            issue("READ_ONLY_VALUE", format!("\"{name}\" is a read only property; its value cannot be set."));
            continue;
        }
        if text.is_empty() {
            accepted.insert(name.clone(), None);
            continue;
        }
        match normal(kind, name, property, &text) {
            Ok(text) => {
                accepted.insert(name.clone(), Some(text));
            }
            Err((code, message)) => issue(code, message),
        }
    }
    if issues.is_empty() { Ok(accepted) } else { Err(refusal(&issues)) }
}

/// The value as HubSpot stores it.
fn normal(kind: Kind, name: &str, property: &Property, text: &str) -> Result<String, (&'static str, String)> {
    if kind == Kind::Contact && name == "email" {
        let text = text.trim().to_lowercase();
        let valid = text.split_once('@').is_some_and(|(local, domain)| {
            !local.is_empty()
                && domain.contains('.')
                && !domain.starts_with('.')
                && !domain.ends_with('.')
                && text.matches('@').count() == 1
                && text.chars().all(|c| !c.is_whitespace() && !c.is_control())
        });
        return if valid { Ok(text) } else { Err(("INVALID_EMAIL", format!("Email address {text} is invalid"))) };
    }
    match property.kind {
        "number" if text.trim().parse::<f64>().is_err() => Err(("INVALID_LONG", format!("{text} was not a valid number."))),
        "bool" if !matches!(text, "true" | "false") => {
            Err(("INVALID_OPTION", format!("{text} was not one of the allowed options: [true, false]")))
        }
        "date" | "datetime" => instant(text).map(iso).ok_or_else(|| ("INVALID_DATE", format!("{text} was not a valid date."))),
        "enumeration" if !property.options.is_empty() => {
            let unknown =
                text.split(';').filter(|part| !part.is_empty()).find(|part| !property.options.iter().any(|(_, value)| value == part));
            match unknown {
                Some(part) => {
                    let allowed: Vec<&str> = property.options.iter().map(|(_, value)| value.as_str()).collect();
                    Err(("INVALID_OPTION", format!("{part} was not one of the allowed options: [{}]", allowed.join(", "))))
                }
                None => Ok(text.to_owned()),
            }
        }
        _ => Ok(text.to_owned()),
    }
}

/// A date, a date-time or epoch milliseconds.
pub(super) fn instant(text: &str) -> Option<Millis> {
    let text = text.trim();
    if let Ok(millis) = text.parse::<Millis>() {
        return Some(millis);
    }
    if let Ok(time) = text.parse::<jiff::Timestamp>() {
        return Some(time.as_millisecond());
    }
    let date: jiff::civil::Date = text.parse().ok()?;
    Some(date.to_zoned(jiff::tz::TimeZone::UTC).ok()?.timestamp().as_millisecond())
}

/// The message holds JSON inside its text, as HubSpot's does.
fn refusal(issues: &[Issue]) -> Refusal {
    let inner: Vec<Value> = issues
        .iter()
        .map(|issue| {
            json!({
                "isValid": false,
                "message": issue.message,
                "error": issue.code,
                "name": issue.name,
                "localizedErrorMessage": issue.message,
                "portalId": 0,
            })
        })
        .collect();
    let mut refusal = Refusal::invalid(format!("Property values were not valid: {}", Value::Array(inner)));
    refusal.errors = issues
        .iter()
        .map(|issue| json!({ "message": issue.message, "code": issue.code, "context": { "propertyName": [issue.name] } }))
        .collect();
    refusal
}
