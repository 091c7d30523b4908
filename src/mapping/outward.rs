//! The way out: lead fields become a system's fields.

use std::collections::BTreeMap;

use leadshare_connectors::sdk::Fields;
use serde_json::Value;

use super::Mapping;
use super::file::{OnExisting, Unmapped};
use super::inward::through;
use super::rule::{LEAD, Rule};
use super::transform::{self, Transform, text};
use crate::clock::{Millis, rfc3339};
use crate::model::field::Kind;

impl Mapping {
    /// The system's fields for these lead fields. Only what is given is written: an absent field is left alone, a null
    /// one is cleared on an update. A new record also gets the constants of `[create]` that it lacks and the value
    /// that `[status]` lands with.
    pub fn to_record(&self, fields: &BTreeMap<String, Value>, creating: bool) -> Fields {
        let mut out = Fields::new();
        for rule in self.body.rules.iter().filter(|rule| rule.writes) {
            let Some(crm) = &rule.crm else { continue };
            if let Some(value) = write(rule, fields)
                && !(creating && value.is_null())
            {
                out.insert(crm.clone(), value);
            }
        }
        if creating {
            for (crm, value) in &self.body.file.create {
                out.entry(crm.clone()).or_insert_with(|| value.clone());
            }
            if let (Some(field), Some(landed)) = (&self.body.status.field, &self.body.status.landed) {
                out.insert(field.clone(), landed.clone().into());
            }
        }
        out
    }

    /// What of `fields` may be written on a record that was there before us and holds `current` now.
    pub fn for_existing(&self, fields: Fields, current: &Fields) -> Fields {
        let status = self.body.file.status.as_ref();
        let allowed = |crm: &String| match status.map(|s| s.on_existing).unwrap_or_default() {
            OnExisting::FillEmpty => current.get(crm).is_some_and(transform::is_empty),
            OnExisting::Listed => status.is_some_and(|s| s.listed.contains(crm)),
            OnExisting::Report => false,
        };
        fields.into_iter().filter(|(crm, value)| !value.is_null() && allowed(crm)).collect()
    }

    /// What to write when a person withdraws elsewhere. There is no way to write a consent.
    pub fn consent_withdrawn(&self, at: Millis, receipt: Option<&str>) -> Fields {
        let back = self.body.file.consent.as_ref().map(|consent| consent.write_back.clone()).unwrap_or_default();
        let withdrawn = back.withdrawn_at.map(|crm| (crm, rfc3339(at).into()));
        withdrawn.into_iter().chain(back.receipt.zip(receipt.map(Value::from))).collect()
    }
}

/// The value to write; `None` = nothing is known, or the system has no word for it.
fn write(rule: &Rule, fields: &BTreeMap<String, Value>) -> Option<Value> {
    let computed;
    let value = match &rule.expr {
        Some(expr) => {
            computed = expr.eval(fields, LEAD).ok()??;
            &computed
        }
        None => fields.get(&rule.lead)?,
    };
    if transform::is_empty(value) {
        return Some(Value::Null);
    }
    let texts: Option<Vec<String>> = match value {
        Value::Array(list) => list.iter().map(transform::plain).collect(),
        one => transform::plain(one).map(|one| vec![one]),
    };
    let worded: Option<Vec<String>> = texts?.into_iter().map(|text| word(rule, text)).collect();
    let country = fields.get("country").and_then(Value::as_str);
    let texts = through(&rule.transforms_out, worded?, country).ok()?;
    let join = rule.transforms_out.iter().find_map(|t| if let Transform::Join(separator) = t { Some(separator.as_str()) } else { None });
    let text = texts.join(join.or(rule.separator()).unwrap_or(";"));
    Some(typed(rule, rule.max.map_or(text.clone(), |most| text::truncate(&text, most))))
}

fn word(rule: &Rule, text: String) -> Option<String> {
    match rule.words_out.get(&text) {
        Some(word) => Some(word.clone()),
        None if rule.words_out.is_empty() || rule.unmapped == Some(Unmapped::Keep) => Some(text),
        None => None,
    }
}

/// Numbers and truth values leave as such, unless a word or a step made text of them.
fn typed(rule: &Rule, text: String) -> Value {
    let native = match rule.transforms_out.last() {
        Some(Transform::Integer | Transform::EpochMs) => Kind::Integer,
        Some(Transform::Decimal(_)) => Kind::Decimal,
        Some(Transform::Boolean) => Kind::Boolean,
        Some(_) => Kind::Text,
        None if !rule.words_out.is_empty() => Kind::Text,
        None => rule.kind,
    };
    match native {
        Kind::Integer => text.parse::<i64>().map_or(Value::String(text), Value::from),
        Kind::Decimal => transform::number::decimal_json(text),
        Kind::Boolean => text.parse::<bool>().map_or(Value::String(text), Value::from),
        _ => Value::String(text),
    }
}
