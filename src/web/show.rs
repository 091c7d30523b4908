//! How things look on a page: times, words, masked values.

use std::fmt;

use askama::filters::HtmlSafe;
use serde_json::Value;

use crate::clock::{DAY, HOUR, MINUTE, Millis, SECOND, rfc3339};
use crate::model::Lead;
use crate::model::field::{Kind, lookup};

/// A moment, relative for reading and exact for pointing at.
#[derive(Debug, Clone, Copy)]
pub struct When {
    at: Millis,
    now: Millis,
}

impl When {
    /// A moment as seen from `now`.
    pub fn new(at: Millis, now: Millis) -> Self {
        Self { at, now }
    }

    /// The moment to the second, UTC.
    pub fn exact(self) -> String {
        let text = rfc3339(self.at - self.at.rem_euclid(SECOND));
        text.trim_end_matches('Z').replace('T', " ") + " UTC"
    }
}

impl fmt::Display for When {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (iso, exact, ago) = (rfc3339(self.at), self.exact(), relative(self.at - self.now));
        write!(f, "<time datetime=\"{iso}\" title=\"{exact}\">{ago}</time>")
    }
}

// Digits and fixed words only.
impl HtmlSafe for When {}

/// A span of time in one unit, before or after now.
fn relative(span: Millis) -> String {
    let size = span.abs();
    let text = if size < 5 * SECOND {
        return "now".to_owned();
    } else if size < MINUTE {
        format!("{} s", size / SECOND)
    } else if size < HOUR {
        format!("{} min", size / MINUTE)
    } else if size < 2 * DAY {
        format!("{} h", size / HOUR)
    } else {
        format!("{} days", size / DAY)
    };
    if span < 0 { format!("{text} ago") } else { format!("in {text}") }
}

/// A stable word with a colour that supports it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Badge {
    /// The word for people.
    pub text: String,
    /// The colour: `good`, `warn`, `bad` or `plain`.
    pub tone: &'static str,
}

/// A badge for an outcome, a status, a progress, a verdict or a connection's state.
pub fn badge(word: &str) -> Badge {
    let tone = match word {
        "shared" | "accepted" | "won" | "connected" | "qualified" | "converted" | "delivered" | "acknowledged" | "reached" | "written" => {
            "good"
        }
        "held" | "quarantined" | "offered" | "paused" | "in_doubt" | "matched" | "unknown" | "not_done" => "warn",
        "invalid" | "failed" | "refused" | "reconnect_needed" | "lost" | "reversed" | "suppressed" | "no_consent" => "bad",
        _ => "plain",
    };
    Badge { text: plain(word), tone }
}

/// A stable word as people read it: `no_consent` is "no consent".
pub fn plain(word: &str) -> String {
    word.replace('_', " ")
}

/// One field of a lead on a page.
#[derive(Debug)]
pub struct FieldLine {
    /// The label.
    pub label: String,
    /// The value, masked where it names or reaches a person.
    pub value: String,
}

/// A lead's fields in the order of the catalogue; a person's own data is masked unless `clear`.
pub fn fields(lead: &Lead, clear: bool) -> Vec<FieldLine> {
    let place = |name: &str| crate::model::field::FIELDS.iter().position(|f| f.name == name).unwrap_or(usize::MAX);
    let mut named: Vec<(&String, &Value)> = lead.fields.iter().collect();
    named.sort_by_key(|(name, _)| place(name));
    named
        .into_iter()
        .map(|(name, value)| {
            let definition = lookup(name);
            let label = label(name);
            // A field that nobody has defined may hold anything.
            let masked = !clear && definition.is_none_or(|f| f.personal);
            let text = text(value);
            let kind = definition.map_or(Kind::Text, |f| f.kind);
            let value = match kind {
                _ if masked => mask(kind, &text),
                Kind::Choice => plain(&text),
                _ => text,
            };
            FieldLine { label, value }
        })
        .collect()
}

/// A lead field's label; own fields are named as the program named them.
pub fn label(name: &str) -> String {
    match (name.strip_prefix("x_"), lookup(name)) {
        (Some(own), _) => sentence(&plain(own)),
        (None, Some(field)) => field.label.to_owned(),
        (None, None) => sentence(&plain(name)),
    }
}

/// A text with a capital at its start.
pub fn sentence(text: &str) -> String {
    let mut chars = text.chars();
    chars.next().map_or_else(String::new, |first| format!("{}{}", first.to_uppercase(), chars.as_str()))
}

/// A number with its noun: "1 lead", "2 leads".
pub fn count(number: i64, one: &str, many: &str) -> String {
    format!("{number} {}", if number == 1 { one } else { many })
}

/// A text of ours, in which backticks mark what is typed or named.
pub struct Marked<'a>(pub &'a str);

impl fmt::Display for Marked<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // An odd backtick at the end marks nothing.
        let parts: Vec<&str> = self.0.split('`').collect();
        for (at, part) in parts.iter().enumerate() {
            let text = askama::filters::escape(part, askama::filters::Html).map_err(|_| fmt::Error)?;
            match at % 2 {
                1 if at + 1 < parts.len() => write!(f, "<code>{text}</code>")?,
                1 => write!(f, "`{text}")?,
                _ => write!(f, "{text}")?,
            }
        }
        Ok(())
    }
}

// Every part is escaped above.
impl HtmlSafe for Marked<'_> {}

/// Enough of a lead to know it in a list: initials and the company.
pub fn masked_name(lead: &Lead) -> String {
    let initials = |field: &str| lead.text(field).filter(|t| !t.is_empty()).map(|t| mask(Kind::Text, t));
    let parts: Vec<String> = match initials("full_name") {
        Some(full) if lead.text("first_name").is_none() && lead.text("last_name").is_none() => vec![full],
        _ => ["first_name", "last_name"].into_iter().filter_map(initials).collect(),
    };
    let company = lead.text("company").or_else(|| lead.text("company_domain"));
    let name = if parts.is_empty() { "No name".to_owned() } else { parts.join(" ") };
    company.map_or(name.clone(), |company| format!("{name} · {company}"))
}

/// A value of which only the shape is left.
pub fn mask(kind: Kind, value: &str) -> String {
    let first = |text: &str| text.chars().next().map_or_else(String::new, |c| format!("{c}•••"));
    match (kind, value.rsplit_once('@')) {
        (Kind::Email, Some((local, domain))) => format!("{}@{domain}", first(local)),
        (Kind::Phone, _) => {
            let (start, end) = (value.chars().take(3).collect::<String>(), value.chars().count().saturating_sub(2));
            format!("{start} ••• {}", value.chars().skip(end.max(3)).collect::<String>())
        }
        _ => first(value),
    }
}

/// A JSON value as text.
pub fn text(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Bool(true) => "yes".into(),
        Value::Bool(false) => "no".into(),
        Value::Null => String::new(),
        Value::Array(items) => items.iter().map(text).collect::<Vec<_>>().join(", "),
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    // Breaks when a masked value still names or reaches the person.
    #[test]
    fn masked_values_do_not_reach_anybody() {
        assert_eq!(mask(Kind::Email, "jo.miller@example.de"), "j•••@example.de");
        assert_eq!(mask(Kind::Phone, "+4930901820"), "+49 ••• 20");
        assert_eq!(mask(Kind::Text, "Müller"), "M•••");
        assert_eq!(mask(Kind::Phone, "+4"), "+4 ••• ");
        assert_eq!(mask(Kind::Email, "not an address"), "n•••");
        let lead: Lead = serde_json::from_value(serde_json::json!({
            "fields": { "email": "jo@example.de", "first_name": "Jo", "company": "Acme", "x_note": "call mum", "odd": "secret", "employees": 50 },
            "consent": serde_json::to_value(crate::model::ConsentClaim::default()).expect("json"),
        }))
        .expect("a lead");
        let shown = format!("{:?}", fields(&lead, false));
        for clear in ["jo@", "call mum", "secret", "\"Jo\""] {
            assert!(!shown.contains(clear), "{shown}");
        }
        assert!(shown.contains("Acme") && shown.contains("\"50\""), "{shown}");
        assert!(format!("{:?}", fields(&lead, true)).contains("call mum"));
        assert_eq!(masked_name(&lead), "J••• · Acme");
    }

    // Breaks when a name in backticks is not set apart, or text of others becomes markup.
    #[test]
    fn backticks_set_apart_and_nothing_else_does() {
        let shown = |text: &str| Marked(text).to_string();
        assert_eq!(shown("run `leadshare check` now"), "run <code>leadshare check</code> now");
        assert_eq!(shown("an odd ` tick"), "an odd ` tick");
        assert!(!shown("`<b>` <i>").contains("<b>") && !shown("`<b>` <i>").contains("<i>"));
    }

    // Breaks when a time is off, or its exact form is missing.
    #[test]
    fn times_are_relative_and_exact() {
        let now = 1_790_000_000_123;
        let shown = |span: Millis| When::new(now + span, now).to_string();
        assert!(shown(-90 * SECOND).contains(">1 min ago<"));
        assert!(shown(3 * DAY).contains(">in 3 days<"));
        assert!(shown(0).contains(">now<"));
        assert!(shown(0).contains("title=\"2026-09-21 14:13:20 UTC\""), "{}", shown(0));
    }
}
