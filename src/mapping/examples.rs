//! The examples in a mapping file, run as tests.

use std::collections::BTreeMap;

use leadshare_connectors::sdk::Fields;
use serde::Serialize;
use serde_json::Value;

use super::doc::{Doc, Part, meant};
use super::file::{Example, MappingFile};
use super::transform::time;
use super::{Mapped, Mapping};
use crate::clock::rfc3339;
use crate::errors::Diagnostic;
use crate::model::{ConsentClaim, Progress, ShareStatus, field};

/// How one example ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ExampleResult {
    /// The example's name.
    pub name: String,
    /// One line for each field that differs; empty = as expected.
    pub differences: Vec<String>,
}

/// The parts of a claim that an example can expect.
const CLAIM: &[&str] = &[
    "choices",
    "nobody",
    "notice",
    "given_at",
    "set_by",
    "set_by_person",
    "contact_points",
    "confirmed_at",
    "shown",
    "certificate",
    "place",
    "flags",
    "stops",
    "unreadable_stops",
    "withdrawn_at",
];

impl Mapping {
    /// Runs every example of the file.
    pub fn run_examples(&self) -> Vec<ExampleResult> {
        let results = self
            .body
            .file
            .examples
            .iter()
            .map(|example| ExampleResult { name: example.name.clone(), differences: self.differences(example) });
        results.collect()
    }

    fn differences(&self, example: &Example) -> Vec<String> {
        let mut found = Vec::new();
        let mut lead = example.lead.clone();
        if let Some(crm) = &example.crm {
            let record: Fields = crm.clone();
            match self.to_lead(&record) {
                Mapped::Lead(mapped, _) => {
                    for (kind, expected) in [("invalid", &example.invalid), ("quarantined", &example.quarantined)] {
                        if !expected.is_empty() {
                            found.push(format!("expected the record to be {kind} for {}, but it made a lead", expected.join(", ")));
                        }
                    }
                    compare("lead", &example.lead, |name| mapped.fields.get(name).cloned(), &mut found);
                    for name in example.empty.iter().filter(|name| mapped.fields.contains_key(*name)) {
                        found.push(format!("lead.{name}: expected nothing, got {}", mapped.fields[name]));
                    }
                    if let Some(expected) = &example.consent {
                        let claim = claim_json(&mapped.consent);
                        compare("consent", expected, |name| claim.get(name).cloned(), &mut found);
                    }
                    lead = mapped.fields;
                }
                Mapped::Invalid(problems) => refused("invalid", &problems, &example.invalid, &mut found),
                Mapped::Quarantined(problems) => refused("quarantined", &problems, &example.quarantined, &mut found),
            }
        }
        if let Some(expected) = &example.out {
            let out = self.to_record(&lead, example.creating.unwrap_or(true));
            compare("out", expected, |name| out.get(name).cloned(), &mut found);
        }
        if let Some(expected) = &example.status {
            let seen = self.status_of(&example.follow.clone().unwrap_or_default());
            let got: BTreeMap<&str, Value> = seen
                .iter()
                .flat_map(|seen| {
                    [
                        ("progress", seen.progress.map(|p| Value::String(Progress::word(p)))),
                        ("share_status", seen.share_status.map(|s| Value::String(ShareStatus::word(s)))),
                        ("reason_code", seen.reason_code.clone().map(Value::String)),
                        ("amount", seen.amount.clone().map(Value::String)),
                        ("moved_off_landed", Some(Value::Bool(seen.moved_off_landed))),
                    ]
                })
                .filter_map(|(key, value)| Some((key, value?)))
                .collect();
            let expected = serde_json::to_value(expected).ok().and_then(|v| v.as_object().cloned()).unwrap_or_default();
            compare("status", &expected.into_iter().collect(), |name| got.get(name).cloned(), &mut found);
        }
        found
    }
}

fn refused(how: &str, problems: &[super::FieldProblem], expected: &[String], found: &mut Vec<String>) {
    if expected.is_empty() {
        found.extend(problems.iter().map(|problem| format!("lead.{}: the record is {how}: {}", problem.lead_field, problem.message)));
        return;
    }
    let fields: Vec<&str> = problems.iter().map(|problem| problem.lead_field.as_str()).collect();
    let mut wanted: Vec<&str> = expected.iter().map(String::as_str).collect();
    wanted.sort_unstable();
    let mut got = fields.clone();
    got.sort_unstable();
    if wanted != got {
        found.push(format!("expected {how} for {}, got it for {}", wanted.join(", "), got.join(", ")));
    }
}

fn compare(what: &str, expected: &BTreeMap<String, Value>, got: impl Fn(&str) -> Option<Value>, found: &mut Vec<String>) {
    for (name, expected) in expected {
        match got(name) {
            Some(value) if same(expected, &value) => {}
            Some(value) => found.push(format!("{what}.{name}: expected {expected}, got {value}")),
            None => found.push(format!("{what}.{name}: expected {expected}, got nothing")),
        }
    }
}

/// Equal; numbers by value, times by moment.
fn same(expected: &Value, got: &Value) -> bool {
    match (expected, got) {
        (Value::Number(a), Value::Number(b)) => a.as_f64() == b.as_f64(),
        (Value::String(a), Value::String(b)) if a != b && a.contains(':') => time::moment(a).is_some_and(|at| time::moment(b) == Some(at)),
        (expected, got) => expected == got,
    }
}

fn claim_json(claim: &ConsentClaim) -> serde_json::Map<String, Value> {
    let mut parts = serde_json::to_value(claim).ok().and_then(|v| v.as_object().cloned()).unwrap_or_default();
    for key in ["given_at", "confirmed_at", "withdrawn_at"] {
        if let Some(at) = parts.get(key).and_then(Value::as_i64) {
            parts.insert(key.to_owned(), rfc3339(at).into());
        }
    }
    parts.retain(|_, value| !value.is_null());
    parts
}

/// What can be wrong with the examples themselves.
pub(super) fn check(file: &MappingFile, doc: &Doc<'_>, found: &mut Vec<Diagnostic>) {
    for (index, example) in file.examples.iter().enumerate() {
        let index = index.to_string();
        let index = index.as_str();
        let mut error = |key: &str, code, message: String, hint: String| {
            found.push(doc.error(&["example", index, key], Part::Key, code, message).hint(hint));
        };
        if example.crm.is_none() && example.out.is_none() && example.follow.is_none() {
            error(
                "name",
                "mapping.empty_example",
                "this example tests nothing".to_owned(),
                "add `crm`, or `lead` and `out`, or `follow`".to_owned(),
            );
        }
        for key in [("invalid", &example.invalid), ("quarantined", &example.quarantined), ("empty", &example.empty)] {
            if !key.1.is_empty() && example.crm.is_none() {
                error(key.0, "mapping.empty_example", format!("`{}` needs a record", key.0), "add `crm = { … }`".to_owned());
            }
        }
        if example.status.is_some() != example.follow.is_some() {
            let key = if example.status.is_some() { "status" } else { "follow" };
            error(key, "mapping.empty_example", "`follow` and `status` go together".to_owned(), "add the other one".to_owned());
        }
        let lists = [("invalid", &example.invalid), ("quarantined", &example.quarantined), ("empty", &example.empty)];
        let lists = lists.into_iter().flat_map(|(key, names)| names.iter().map(move |name| (vec!["example", index, key], name)));
        let keys = example.lead.keys().map(|name| (vec!["example", index, "lead", name], name));
        for (path, name) in keys.chain(lists).filter(|(_, name)| field::lookup(name).is_none()) {
            let hint = meant(name, field::FIELDS.iter().map(|f| f.name), "use a field of the common lead");
            found.push(doc.error(&path, Part::Key, "mapping.unknown_field", format!("`{name}` is not a lead field")).hint(hint));
        }
        for name in example.consent.iter().flatten().map(|(name, _)| name).filter(|name| !CLAIM.contains(&name.as_str())) {
            let hint = meant(name, CLAIM.iter().copied(), format!("known: {}", CLAIM.join(", ")));
            let message = format!("`{name}` is not a part of the consent claim");
            found.push(doc.error(&["example", index, "consent", name], Part::Key, "mapping.unknown_key", message).hint(hint));
        }
    }
}
