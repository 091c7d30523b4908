//! Mapping files: a system's records as leads and back, its consent and its status words. Pure.
//!
//! [`mod@file`] is what people write, [`parse`] turns it into a [`Mapping`] or says everything that is wrong with it.
//! The way in is `inward` and `claim`, the way out `outward`, and `status` reads and writes what became of a lead.

mod claim;
mod compile;
mod doc;
mod examples;
mod expr;
pub mod file;
mod inward;
mod lint;
mod outward;
mod rule;
mod status;
#[cfg(test)]
mod tests;
pub mod transform;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::LazyLock;

use leadshare_connectors::sdk::manifest::Manifest;
use leadshare_connectors::sdk::{Fields, Selection};
use serde_json::Value;
use sha2::{Digest as _, Sha256};

pub use examples::ExampleResult;
pub use file::{OnExisting, schema};
pub use inward::{FieldProblem, Mapped};
pub use lint::check_against;
pub use status::{StatusBack, StatusSeen};

use crate::errors::Diagnostic;
use crate::kept::Kept;
use file::{MappingFile, OrName};
use rule::{Purpose, Rule, StatusRules, StopTest, Use};

/// A mapping: one partner's records of one object, as leads and back. A clone is at rest: it is compiled when a record comes.
#[derive(Debug, Clone)]
pub struct Mapping {
    name: String,
    partner: String,
    connector: String,
    object: String,
    selection: BTreeMap<String, Vec<String>>,
    hash: String,
    body: Kept<Body>,
}

#[derive(Debug)]
struct Body {
    file: MappingFile,
    rules: Vec<Rule>,
    stops: Vec<StopTest>,
    status: StatusRules,
    uses: Vec<Use>,
    warnings: Vec<Diagnostic>,
}

/// Parses a mapping file, or tells everything that is wrong with it, in the order of the text.
pub fn parse(file: &str, text: &str) -> Result<Mapping, Vec<Diagnostic>> {
    let body = compiled(file, text)?;
    let MappingFile { partner, connector, object, selection, .. } = &body.file;
    let (partner, connector, object, selection) = (partner.clone(), connector.clone(), object.clone(), selection.clone());
    Ok(Mapping {
        name: file.to_owned(),
        partner,
        connector,
        object,
        selection,
        hash: hash(&body.file),
        body: Kept::new(text.into(), again, body),
    })
}

/// Compiles a text that was compiled before.
#[expect(clippy::expect_used, reason = "the same text, compiled by the same program without an error before")]
fn again(text: &str) -> Body {
    compiled("", text).expect("the mapping compiles again")
}

fn compiled(file: &str, text: &str) -> Result<Body, Vec<Diagnostic>> {
    static SHAPE: LazyLock<Value> = LazyLock::new(schema);
    let doc = doc::Doc::parse(file, text).map_err(sorted)?;
    let doc::Misshapen { errors: mut found, entries } = doc.check_shape(&SHAPE);
    let written: MappingFile = match doc.read(&entries) {
        Ok(written) => written,
        Err(error) if found.is_empty() => return Err(vec![error]),
        Err(_) => return Err(sorted(found)),
    };
    let (compiled, errors) = compile::Compiler::run(&doc, &written);
    found.extend(errors);
    if !found.is_empty() {
        return Err(sorted(found));
    }
    let warnings = sorted(lint::warnings(&written, &compiled.rules, &compiled.status, &doc));
    let compile::Compiled { rules, stops, status, uses } = compiled;
    Ok(Body { file: written, rules, stops, status, uses, warnings })
}

fn sorted(mut found: Vec<Diagnostic>) -> Vec<Diagnostic> {
    found.sort_by_key(|d| (d.line, d.column));
    found
}

/// Hash of the values: comments, order and short forms make no difference.
fn hash(file: &MappingFile) -> String {
    let mut file = file.clone();
    for rule in file.fields.values_mut() {
        *rule = OrName::Table(rule.table());
    }
    // Tables are sorted maps. What is empty is left out, so that a key added to the format later changes no hash.
    let values = without_empty(serde_json::to_value(&file).unwrap_or_default());
    hex::encode(Sha256::digest(values.to_string()))
}

fn without_empty(value: Value) -> Value {
    let is_empty = |value: &Value| matches!(value, Value::Null) || *value == serde_json::json!([]) || *value == serde_json::json!({});
    match value {
        Value::Object(parts) => {
            parts.into_iter().map(|(key, part)| (key, without_empty(part))).filter(|(_, part)| !is_empty(part)).collect()
        }
        Value::Array(list) => list.into_iter().map(without_empty).collect(),
        plain => plain,
    }
}

impl Mapping {
    /// The partner whose system this is.
    pub fn partner(&self) -> &str {
        &self.partner
    }

    /// The connector's name.
    pub fn connector(&self) -> &str {
        &self.connector
    }

    /// The system's object.
    pub fn object(&self) -> &str {
        &self.object
    }

    /// The field that holds our marker: the connector's, where the file names none.
    pub fn marker_field<'a>(&'a self, manifest: &'a Manifest) -> &'a str {
        self.body.file.marker_field.as_deref().unwrap_or(&manifest.write.marker_field)
    }

    /// Whether news go to a field in which people's opt-outs stand as well.
    pub fn tells_where_people_stop(&self) -> bool {
        let back = self.body.file.status.as_ref().and_then(|status| status.back.as_ref());
        back.is_some_and(|back| back.pairs().any(|(_, field)| self.body.stops.iter().any(|stop| stop.field == field.crm)))
    }

    /// The file as it was written.
    pub fn file(&self) -> &MappingFile {
        &self.body.file
    }

    /// What works and is probably not meant; asked right after parsing it names the file.
    pub fn warnings(&self) -> &[Diagnostic] {
        &self.body.warnings
    }

    /// Forgets how it was compiled until a record comes.
    pub fn rest(&mut self) {
        self.body.rest();
    }

    /// Names this version: equal for files that mean the same. 64 hex digits.
    pub fn hash(&self) -> &str {
        &self.hash
    }

    /// The only records that may be read, as connectors take it.
    pub fn selection(&self) -> Selection {
        self.selection.clone().into_iter().collect()
    }

    /// Whether a record may be read under the selection.
    pub fn selects(&self, record: &Fields) -> bool {
        self.selection.iter().all(|(field, allowed)| {
            let held = match record.get(field) {
                Some(Value::Array(list)) => list.iter().filter_map(transform::plain).collect(),
                Some(value) => transform::plain(value).into_iter().collect(),
                None => Vec::new(),
            };
            held.iter().any(|value| allowed.contains(value))
        })
    }

    /// What may be written on a record that was there before us.
    pub fn on_existing(&self) -> OnExisting {
        self.body.file.status.as_ref().map(|status| status.on_existing).unwrap_or_default()
    }

    /// The partners that a person can choose by name here, with the system's word for each.
    pub fn choice_names(&self) -> impl Iterator<Item = (&str, &str)> {
        let choice = self.body.file.consent.iter().filter_map(|consent| consent.choice.as_ref());
        choice.flat_map(|choice| choice.names.iter().map(|(word, partner)| (word.as_str(), partner.as_str())))
    }

    /// Lead fields that records of this system fill.
    pub fn fills(&self) -> impl Iterator<Item = &str> {
        self.body.rules.iter().filter(|rule| rule.reads).map(|rule| rule.lead.as_str())
    }

    /// All fields to read of a source's record: for the lead, its consent and the selection.
    pub fn read_fields(&self) -> Vec<String> {
        self.names(Purpose::Read)
    }

    /// All fields that tell of consent and opt-outs.
    pub fn consent_fields(&self) -> Vec<String> {
        let names: BTreeSet<String> = self.body.file.consent.iter().flat_map(claim::fields).map(|(_, field)| field).collect();
        names.into_iter().collect()
    }

    /// All fields that news of a lead is written into at its source.
    pub fn news_fields(&self) -> Vec<String> {
        let back = self.body.file.status.as_ref().and_then(|status| status.back.as_ref());
        back.map(|back| back.pairs().map(|(_, field)| field.crm).collect()).unwrap_or_default()
    }

    /// All fields to read when following a delivered record.
    pub fn follow_fields(&self) -> Vec<String> {
        self.names(Purpose::Follow)
    }

    /// All fields that may ever be written.
    pub fn written_fields(&self) -> Vec<String> {
        self.names(Purpose::Write)
    }

    fn names(&self, purpose: Purpose) -> Vec<String> {
        let names: BTreeSet<&String> = self.body.uses.iter().filter(|u| u.purpose == purpose).map(|u| &u.crm).collect();
        names.into_iter().cloned().collect()
    }
}
