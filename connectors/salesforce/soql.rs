//! SOQL text that nothing from outside can break out of: names are checked, values are quoted.

use std::fmt::Write as _;

use crate::sdk::{Millis, TalkFault};

/// Longest list of values in one query, in characters of its URL-encoded form. The URL may have
/// about 16,000; fields, conditions and proxies on the way take their part.
const LIST_ROOM: usize = 8_000;

/// A field or object name, relationships with dots included; anything else is refused.
///
/// # Errors
/// `bad_name` when the text is not an API name.
pub fn name(text: &str) -> Result<&str, TalkFault> {
    let part = |p: &str| p.starts_with(|c: char| c.is_ascii_alphabetic()) && p.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
    if text.len() <= 255 && text.split('.').all(part) {
        return Ok(text);
    }
    Err(TalkFault {
        code: "bad_name".into(),
        message: format!(
            "{text:?} is not a Salesforce API name: use the one under Setup > Object Manager > Fields, such as Company or Tier__c"
        ),
        passing: false,
    })
}

/// A quoted string literal.
pub fn literal(value: &str) -> String {
    let mut out = String::with_capacity(value.len() + 2);
    out.push('\'');
    for c in value.chars() {
        match c {
            '\'' => out.push_str("\\'"),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            c if c.is_control() => {
                let _ = write!(out, "\\u{:04X}", u32::from(c));
            }
            c => out.push(c),
        }
    }
    out.push('\'');
    out
}

/// A datetime literal: whole seconds, unquoted. Salesforce's stamps have no finer part.
pub fn datetime(ms: Millis) -> String {
    jiff::Timestamp::from_second(ms.div_euclid(1000)).unwrap_or(jiff::Timestamp::UNIX_EPOCH).to_string()
}

/// The values of a selection: `true` and `false` are what a checkbox is compared with, unquoted.
fn selected(value: &str) -> String {
    if matches!(value, "true" | "false") { value.to_owned() } else { literal(value) }
}

/// `field IN (...)` for what may be read.
///
/// # Errors
/// `bad_name` when the field is not an API name.
pub fn one_of(field: &str, values: &[String]) -> Result<String, TalkFault> {
    let values: Vec<_> = values.iter().map(|v| selected(v)).collect();
    Ok(format!("{} IN ({})", name(field)?, values.join(",")))
}

/// The column list: each name once, whatever its case, in the order given.
///
/// # Errors
/// `bad_name` when one is not an API name.
pub fn columns<'a>(names: impl IntoIterator<Item = &'a str>) -> Result<String, TalkFault> {
    let mut seen = std::collections::BTreeSet::new();
    let mut out = String::new();
    for text in names {
        if seen.insert(text.to_ascii_lowercase()) {
            if !out.is_empty() {
                out.push(',');
            }
            out.push_str(name(text)?);
        }
    }
    Ok(out)
}

/// Lists of quoted values, each short enough for one URL.
pub fn lists<'a>(values: impl IntoIterator<Item = &'a str>) -> Vec<String> {
    let mut lists: Vec<String> = Vec::new();
    let mut room = 0;
    for value in values {
        let quoted = literal(value);
        let width = encoded_width(&quoted) + 3;
        if lists.is_empty() || width > room {
            lists.push(String::new());
            room = LIST_ROOM;
        } else if let Some(list) = lists.last_mut() {
            list.push(',');
        }
        room = room.saturating_sub(width);
        if let Some(list) = lists.last_mut() {
            list.push_str(&quoted);
        }
    }
    lists
}

fn encoded_width(text: &str) -> usize {
    text.bytes().map(|b| if b.is_ascii_alphanumeric() { 1 } else { 3 }).sum()
}

/// Whether the text has the form of a record id (15 characters, or 18 with a check part). A query
/// that names anything else as an id fails whole.
pub fn is_id(text: &str) -> bool {
    matches!(text.len(), 15 | 18) && text.bytes().all(|b| b.is_ascii_alphanumeric())
}

#[cfg(test)]
mod tests {
    use super::*;

    // Breaks when a value can end its own literal and go on as query text.
    #[test]
    fn values_cannot_leave_their_quotes() {
        for nasty in ["' OR Name != '", "\\' OR Name != \\'", "\\", "a\nb", "\u{0}", "'", "\\\\'"] {
            let quoted = literal(nasty);
            let inner = &quoted[1..quoted.len() - 1];
            let mut chars = inner.chars();
            while let Some(c) = chars.next() {
                assert!(c != '\'' && !c.is_control(), "{quoted}");
                if c == '\\' {
                    assert!(chars.next().is_some(), "a lone backslash would eat the closing quote: {quoted}");
                }
            }
        }
        assert_eq!(literal("O'Neil \\ Co"), "'O\\'Neil \\\\ Co'");
    }

    // Breaks when a field name from a mapping file can carry query text.
    #[test]
    fn names_are_checked() {
        assert!(name("Leadshare_Id__c").is_ok() && name("Owner.Name").is_ok());
        for bad in ["", "Id FROM User", "Id,Name", "a'", "1a", "Owner.", ".Name", "Näme"] {
            assert!(name(bad).is_err(), "{bad}");
        }
    }

    // Breaks when two hundred long markers make one URL that the vendor refuses.
    #[test]
    fn long_lists_are_split_and_complete() {
        let values: Vec<String> = (0..200).map(|n| format!("{n:064x}")).collect();
        let lists = lists(values.iter().map(String::as_str));
        assert!(lists.len() > 1 && lists.iter().all(|l| encoded_width(l) <= LIST_ROOM));
        assert_eq!(lists.iter().map(|l| l.split(',').count()).sum::<usize>(), 200);
        assert!(super::lists([]).is_empty());
    }

    // Breaks when a name asked for twice makes the query fail (`duplicate field selected`).
    #[test]
    fn columns_are_unique() {
        assert_eq!(columns(["Id", "Email", "email", "ID"]).unwrap(), "Id,Email");
    }

    // Breaks when the lower bound of a poll is rounded up and skips the rest of a second.
    #[test]
    fn datetimes_are_floored_to_seconds() {
        assert_eq!(datetime(1_778_066_964_999), "2026-05-06T11:29:24Z");
    }
}
