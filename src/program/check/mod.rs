//! What one file must fulfil in itself, beyond its schema: names, places, fields, dates, money.

use super::list::is_domain;
use super::reader::Tree;
use super::{FileKind, Notice, Partner, place};
use crate::errors::did_you_mean;
use crate::model::field;

mod agreement;
mod conditions;
mod privacy;

pub use agreement::agreement;

/// Why a file's name cannot be used, with what to do.
pub fn name_fault(kind: FileKind, name: &str) -> Option<(String, String)> {
    let dots = kind == FileKind::Message;
    let fine = !name.is_empty()
        && name.len() <= 64
        && name.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-' || dots && c == '.')
        && name.starts_with(|c: char| c.is_ascii_alphanumeric());
    (!fine).then(|| {
        let message = format!("`{name}` is not a name for {} files", kind.word());
        (message, "use small letters, digits and dashes, at most 64 characters".to_owned())
    })
}

/// Checks a partner file.
pub fn partner(tree: &mut Tree<'_>, partner: &Partner) {
    country(tree, "country", &partner.country);
    for (i, name) in partner.territory.iter().enumerate() {
        known_place(tree, &format!("territory.{i}"), name, false);
    }
    for (i, domain) in partner.domains.iter().enumerate() {
        if !is_domain(domain) || domain.to_lowercase() != *domain {
            tree.error(&format!("domains.{i}"), "partner.domain", format!("`{domain}` is not a domain"), "write it as example.com");
        }
    }
    for (i, language) in partner.languages.iter().enumerate() {
        known_language(tree, &format!("languages.{i}"), language);
    }
    mailbox(tree, "contacts.business", &partner.contacts.business);
    mailbox(tree, "contacts.privacy", &partner.contacts.privacy);
    if let Some(address) = &partner.contacts.escalation {
        mailbox(tree, "contacts.escalation", address);
    }
    let calendar = &partner.calendar;
    let opens = time(tree, "calendar.opens", &calendar.opens);
    let closes = time(tree, "calendar.closes", &calendar.closes);
    if let (Some(opens), Some(closes)) = (opens, closes)
        && opens >= closes
    {
        tree.error("calendar.closes", "partner.calendar", "the day must end after it begins".to_owned(), None);
    }
    if calendar.days.is_empty() {
        tree.error("calendar.days", "partner.calendar", "there is no working day".to_owned(), "name at least one, such as \"mon\"");
    }
    if partner.signers.is_empty() {
        let message = "nobody may sign for this partner, so none of its agreements comes into force".to_owned();
        tree.warning("signers", "partner.no_signer", message, "add signers = [\"Name, office\"]");
    }
}

/// Checks a notice file.
pub fn notice(tree: &mut Tree<'_>, notice: &Notice) {
    known_language(tree, "language", &notice.language);
    if let Some(until) = notice.shown.until
        && until < notice.shown.from
    {
        tree.error("shown.until", "notice.dates", "the last day lies before the first".to_owned(), None);
    }
    for (empty, path, what) in [
        (notice.recipients.is_empty(), "recipients", "names no recipient: it can prove no sharing"),
        (notice.purposes.is_empty(), "purposes", "tells of no purpose"),
    ] {
        if empty {
            tree.error(path, "notice.empty", format!("the notice {what}"), None);
        }
    }
    let words = |text: &str| text.split_whitespace().collect::<Vec<_>>().join(" ").to_lowercase();
    let text = words(&notice.text);
    for (i, recipient) in notice.recipients.iter().enumerate() {
        if !text.contains(&words(recipient)) {
            let message = format!("the notice's text does not say `{recipient}`");
            let advice = "a recipient counts only if people read its registered name";
            tree.error(&format!("recipients.{i}"), "notice.unnamed_recipient", message, advice);
        }
    }
}

fn known_field(tree: &mut Tree<'_>, path: &str, name: &str) {
    if field::lookup(name).is_none() {
        unknown_field(tree, path, name, false);
    }
}

fn unknown_field(tree: &mut Tree<'_>, path: &str, name: &str, is_key: bool) {
    let hint = did_you_mean(name, field::FIELDS.iter().map(|f| f.name))
        .map_or_else(|| "own fields begin with `x_`".to_owned(), |near| format!("did you mean `{near}`?"));
    let message = format!("`{name}` is not a lead field");
    if is_key { tree.key_error(path, "agreement.field", message, hint) } else { tree.error(path, "agreement.field", message, hint) }
}

fn known_place(tree: &mut Tree<'_>, path: &str, name: &str, is_key: bool) {
    let Some(message) = place::fault(name) else { return };
    let upper = name.to_uppercase();
    let hint = (upper != name && place::fault(&upper).is_none()).then(|| format!("did you mean `{upper}`?"));
    if is_key { tree.key_error(path, "program.place", message, hint) } else { tree.error(path, "program.place", message, hint) }
}

fn country(tree: &mut Tree<'_>, path: &str, code: &str) {
    if rust_iso3166::from_alpha2(code).is_none() {
        let advice = if code == "UK" { "did you mean `GB`?" } else { "write its ISO code, such as \"NL\"" };
        tree.error(path, "program.country", format!("`{code}` is not a country"), advice);
    }
}

fn known_language(tree: &mut Tree<'_>, path: &str, code: &str) {
    let (main, region) = code.split_once('-').map_or((code, None), |(main, region)| (main, Some(region)));
    let fine =
        main.len() == 2 && main.bytes().all(|b| b.is_ascii_lowercase()) && region.is_none_or(|r| rust_iso3166::from_alpha2(r).is_some());
    if !fine {
        tree.error(path, "program.language", format!("`{code}` is not a language"), "write its ISO code, such as \"de\" or \"pt-BR\"");
    }
}

fn mailbox(tree: &mut Tree<'_>, path: &str, address: &str) {
    if !email_address::EmailAddress::is_valid(address) {
        tree.error(path, "program.mailbox", format!("`{path}` is not an e-mail address"), None);
    }
}

fn time(tree: &mut Tree<'_>, path: &str, text: &str) -> Option<jiff::civil::Time> {
    let time = (text.len() == 5).then(|| text.parse().ok()).flatten();
    if time.is_none() {
        tree.error(path, "partner.calendar", format!("`{text}` is not a time of day"), "write it as \"09:00\"");
    }
    time
}

fn calendar_only(tree: &mut Tree<'_>, path: &str) {
    let message = format!("`{path}` counts by the calendar");
    tree.error(path, "agreement.period", message, "write d, m or y, such as \"14d\"");
}

fn list_reference(tree: &mut Tree<'_>, path: &str, text: &str) {
    if super::list_name(text).is_none() {
        tree.error(path, "agreement.list", format!("`{text}` does not name a list"), "write it as \"list:<name>\" for lists/<name>.csv");
    }
}

fn message_path(tree: &mut Tree<'_>, path: &str, text: &str) {
    if super::message_name(text).is_none() {
        tree.error(path, "agreement.message", format!("`{text}` does not name a message"), "write it as \"messages/<name>.md\"");
    }
}
