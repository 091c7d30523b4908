//! Warnings: what works and is probably not meant, in the file alone and against the live system.

use std::collections::{BTreeMap, BTreeSet};

use leadshare_connectors::sdk::FieldInfo;

use super::Mapping;
use super::doc::{Doc, Part, meant};
use super::file::{MappingFile, OrName};
use super::rule::{Meaning, Purpose, Rule, StatusRules, Use};
use crate::errors::{Diagnostic, Severity};
use crate::model::{Progress, ShareStatus};

/// Warnings about the file alone.
pub(super) fn warnings(file: &MappingFile, rules: &[Rule], status: &StatusRules, doc: &Doc<'_>) -> Vec<Diagnostic> {
    let mut found = Vec::new();
    let mut warn = |path: &[&str], code: &'static str, message: String, hint: &str| {
        found.push(doc.error(path, Part::Key, code, message).hint(hint).warning());
    };
    if file.examples.is_empty() {
        warn(
            &["partner"],
            "mapping.no_examples",
            "there are no examples".to_owned(),
            "add an `[[example]]`: it is a test that runs wherever the file is checked",
        );
    }
    let receives = status.field.is_some();
    let reads = rules.iter().any(|rule| rule.reads);
    match &file.consent {
        None if reads && !receives => {
            let hint = "add `[consent]`, or nothing that needs consent will ever be shared from here";
            warn(&["fields"], "mapping.no_consent", "the mapping says nothing about consent".to_owned(), hint);
        }
        None => {}
        Some(consent) => {
            let given_at = consent.given_at.as_ref().map(OrName::table);
            let witness = given_at.as_ref().is_some_and(|g| !g.set_by.is_empty());
            let missing = [
                ("choice", consent.choice.is_none(), "no partner is ever chosen by name"),
                ("notice", consent.notice.is_none(), "no notice can be matched"),
                ("given_at", given_at.is_none(), "no consent has a time"),
                ("contact_point", consent.contact_point.pairs().next().is_none(), "no address or number is known as consented to"),
                ("place", consent.place.is_empty(), "the person's place is unknown, and an unknown place is refused"),
                ("given_at.set_by", given_at.is_some() && !witness, "who recorded the yes is unknown, so it never counts as the person's"),
                ("stop", consent.stop.is_empty(), "no opt-out is ever seen"),
            ];
            for (part, _, what) in missing.into_iter().filter(|(_, missing, _)| *missing) {
                let message = format!("`consent.{part}` is missing: {what}");
                warn(&["consent"], "mapping.consent_part", message, "a part that is missing means no");
            }
        }
    }
    if reads && !rules.iter().any(|rule| rule.reads && matches!(rule.lead.as_str(), "email" | "phone" | "mobile")) {
        let hint = "map `email`, `phone` or `mobile`";
        warn(&["fields"], "mapping.no_identity", "no field tells one person from another".to_owned(), hint);
    }
    for rule in rules.iter().filter(|rule| rule.required && rule.default.is_some()) {
        let message = format!("`{}` is required and has a default, so it is never missing", rule.lead);
        warn(&["fields", &rule.lead, "default"], "mapping.never_missing", message, "keep one of the two");
    }
    let mut read: BTreeMap<String, &str> = BTreeMap::new();
    for rule in rules.iter().filter(|rule| rule.reads && rule.expr.is_none() && rule.words.is_empty()) {
        let same = format!("{:?} {:?}", rule.crm, rule.transforms);
        if let Some(other) = read.insert(same, &rule.lead) {
            let message = format!("`{other}` and `{}` are filled from the same field in the same way", rule.lead);
            warn(&["fields", &rule.lead], "mapping.mapped_twice", message, "keep one of them");
        }
    }
    if let Some(landed) = &status.landed
        && let Some(meaning) = status.values.get(landed)
        && *meaning != Meaning::Progress(Progress::New)
    {
        let message = format!(
            "every new lead would at once count as `{}`, because it lands with `{landed}`",
            file.status.as_ref().map_or("", |s| s.values[landed].as_str())
        );
        warn(&["status", "landed"], "mapping.landed_means", message, "land with a word that means `new`");
    }
    let ends = |m: &&Meaning| {
        matches!(
            m,
            Meaning::Progress(Progress::Disqualified | Progress::Lost) | Meaning::Share(ShareStatus::Declined | ShareStatus::Returned)
        )
    };
    if status.reason.is_none() && status.values.values().chain(status.when.iter().map(|(_, m)| m)).any(|m| ends(&m)) {
        let hint = "add `reason = \"…\"`, the field with the reason, and `reasons`";
        warn(&["status"], "mapping.no_reason", "a lead can be refused or lost here without a reason".to_owned(), hint);
    }
    found
}

/// Compares a mapping with the fields that the live system has.
pub fn check_against(mapping: &Mapping, fields: &[FieldInfo]) -> Vec<Diagnostic> {
    let known: BTreeMap<&str, &FieldInfo> = fields.iter().map(|field| (field.name.as_str(), field)).collect();
    let mut found = Vec::new();
    let mut told = BTreeSet::new();
    // Histories, lists beside the record and the deal's fields are not among the object's own.
    let own = |u: &&Use| !(u.crm.contains('@') || u.crm.starts_with("deal.") || u.crm.starts_with("opportunity."));
    // A word that is written and one that is read are told once: as the error.
    let mut uses: Vec<&Use> = mapping.body.uses.iter().filter(own).collect();
    uses.sort_by_key(|u| u.purpose != Purpose::Write);
    for u in uses {
        let mut tell = |at: (usize, usize), severity, code, message: String, hint: String| {
            let place = Diagnostic { file: mapping.name.clone(), line: at.0, column: at.1, severity, code, message, hint: Some(hint) };
            if told.insert((at, place.message.clone())) {
                found.push(place);
            }
        };
        let Some(info) = known.get(u.crm.as_str()) else {
            let otherwise = "look at `mapping describe` for the fields that the connection may see";
            let hint = meant(&u.crm, known.keys().copied(), otherwise);
            tell(u.at, Severity::Error, "mapping.unknown_crm_field", format!("`{}` has no field `{}`", mapping.object(), u.crm), hint);
            continue;
        };
        if u.purpose == Purpose::Write && !info.writable {
            let hint = "set `direction = \"in\"`, or give the connection the right to write it".to_owned();
            tell(u.at, Severity::Error, "mapping.not_writable", format!("`{}` cannot be written", u.crm), hint);
        }
        if info.options.is_empty() {
            continue;
        }
        for (word, at) in u.words.iter().filter(|(word, _)| !info.options.contains(word)) {
            let severity = if u.purpose == Purpose::Write { Severity::Error } else { Severity::Warning };
            let hint = meant(word, info.options.iter().map(String::as_str), format!("its values: {}", short_list(&info.options)));
            tell(*at, severity, "mapping.no_such_option", format!("`{}` has no value `{word}`", u.crm), hint);
        }
        let open: Vec<String> =
            info.options.iter().filter(|option| u.closed && !u.words.iter().any(|(word, _)| word == *option)).cloned().collect();
        if !open.is_empty() {
            let message = format!("records will wait in quarantine: `{}` also has {}", u.crm, short_list(&open));
            tell(u.at, Severity::Warning, "mapping.option_not_covered", message, "add them to `values`, or set `unmapped`".to_owned());
        }
    }
    let writes: BTreeSet<&str> = mapping.body.uses.iter().filter(|u| u.purpose == Purpose::Write).map(|u| u.crm.as_str()).collect();
    if mapping.body.rules.iter().any(|rule| rule.writes) && mapping.body.status.field.is_some() {
        for field in fields.iter().filter(|field| field.required && field.writable && !writes.contains(field.name.as_str())) {
            let message = format!("`{}` must be filled in a new record, and nothing fills it", field.name);
            found.push(
                Diagnostic::whole(&mapping.name, "mapping.required_there", message)
                    .hint(format!("map it, or add `{} = \"…\"` to `[create]`", field.name))
                    .warning(),
            );
        }
    }
    // What concerns no line comes last.
    found.sort_by_key(|d| (d.line == 0, d.line, d.column));
    found
}

fn short_list(words: &[String]) -> String {
    let shown: Vec<&str> = words.iter().take(12).map(String::as_str).collect();
    let more = words.len() - shown.len();
    if more == 0 { shown.join(", ") } else { format!("{} and {more} more", shown.join(", ")) }
}
