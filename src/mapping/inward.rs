//! The way in: a system's record becomes a lead, or says why it does not.

use std::collections::BTreeMap;

use leadshare_connectors::sdk::Fields;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::file::Unmapped;
use super::rule::{CRM, Rule};
use super::transform::{self, Transform, Unreadable};
use super::{Mapping, claim};
use crate::model::field::Kind;
use crate::model::{ConsentClaim, Lead};

/// What became of a record.
#[derive(Debug, Clone, PartialEq)]
pub enum Mapped {
    /// A lead, and what was left out of it.
    Lead(Box<Lead>, Vec<FieldProblem>),
    /// The record does not make a valid lead: required fields are missing or cannot be read.
    Invalid(Vec<FieldProblem>),
    /// The mapping does not know a value; the record waits until the mapping is mended.
    Quarantined(Vec<FieldProblem>),
}

/// What is wrong with one field. Holds no value.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FieldProblem {
    /// The lead field.
    pub lead_field: String,
    /// The system's field, or fields, that it comes from.
    pub crm_field: String,
    /// Stable code, such as `missing`, `unmapped`, `not_a_phone`.
    pub code: String,
    /// What is wrong and what helps, without personal data.
    pub message: String,
}

const UNMAPPED: Unreadable = Unreadable { code: "unmapped", wanted: "one of the values that the mapping lists" };
const SEVERAL: Unreadable = Unreadable { code: "several_values", wanted: "a single value" };
const NOT_PLAIN: Unreadable = Unreadable { code: "not_plain", wanted: "a plain value" };

enum Read {
    Empty,
    Value(Value),
    Unreadable(Unreadable),
}

impl Mapping {
    /// Turns a record into a lead. Pure: the same record gives the same answer.
    pub fn to_lead(&self, record: &Fields) -> Mapped {
        let mut fields = BTreeMap::new();
        let (mut invalid, mut quarantined, mut warnings) = (Vec::new(), Vec::new(), Vec::new());
        for rule in self.body.rules.iter().filter(|rule| rule.reads) {
            let country = fields.get("country").and_then(Value::as_str);
            match read(rule, record, country) {
                Read::Value(value) => {
                    fields.insert(rule.lead.clone(), value);
                }
                Read::Empty => match &rule.default {
                    Some(value) => {
                        fields.insert(rule.lead.clone(), value.clone());
                    }
                    None if rule.required => invalid.push(problem(rule, "missing", "is required and empty")),
                    None => {}
                },
                Read::Unreadable(why) => {
                    let told = problem(rule, why.code, &format!("is not {}", why.wanted));
                    let unmapped = rule.unmapped.unwrap_or(if why == UNMAPPED { Unmapped::Quarantine } else { Unmapped::Drop });
                    if unmapped == Unmapped::Quarantine {
                        quarantined.push(told);
                    } else if rule.required || rule.kind == Kind::Email {
                        invalid.push(told);
                    } else {
                        warnings.push(told);
                    }
                }
            }
        }
        if !invalid.is_empty() {
            return Mapped::Invalid(invalid);
        }
        if !quarantined.is_empty() {
            return Mapped::Quarantined(quarantined);
        }
        self.derive(&mut fields);
        let country = fields.get("country").and_then(Value::as_str).map(str::to_owned);
        let consent = claim::read(self.body.file.consent.as_ref(), &self.body.stops, record, country.as_deref());
        Mapped::Lead(Box::new(Lead { fields, consent }), warnings)
    }

    /// What a record claims about consent, whether or not it makes a lead.
    pub fn consent(&self, record: &Fields) -> ConsentClaim {
        claim::read(self.body.file.consent.as_ref(), &self.body.stops, record, None)
    }

    /// The kind of address and the company's domain follow from the e-mail where the mapping does not say otherwise.
    fn derive(&self, fields: &mut BTreeMap<String, Value>) {
        let mapped = |name: &str| self.body.rules.iter().any(|rule| rule.reads && rule.lead == name);
        let text = |name: &str| fields.get(name).and_then(Value::as_str).map(str::to_owned);
        let email = text("email");
        let kind = email.as_deref().and_then(transform::contact::email_kind);
        let domain = email.filter(|_| kind == Some("business")).or_else(|| text("website"));
        let domain = domain.and_then(|from| transform::contact::registrable_domain(&from));
        if let Some(kind) = kind.filter(|_| !mapped("email_kind")) {
            fields.insert("email_kind".to_owned(), kind.into());
        }
        if let Some(domain) = domain.filter(|_| !mapped("company_domain")) {
            fields.insert("company_domain".to_owned(), domain.into());
        }
    }
}

fn problem(rule: &Rule, code: &str, what: &str) -> FieldProblem {
    let crm_field = rule.sources().collect::<Vec<_>>().join(", ");
    let message = format!("`{}` (from `{crm_field}`) {what}", rule.lead);
    FieldProblem { lead_field: rule.lead.clone(), crm_field, code: code.to_owned(), message }
}

fn read(rule: &Rule, record: &Fields, country: Option<&str>) -> Read {
    let computed;
    let raw = match (&rule.expr, &rule.crm) {
        (Some(expr), _) => match expr.eval(record, CRM) {
            Ok(value) => {
                computed = value.unwrap_or_default();
                &computed
            }
            Err(code) => return Read::Unreadable(Unreadable { code, wanted: "computable from this record" }),
        },
        (None, Some(crm)) => record.get(crm).unwrap_or(&Value::Null),
        (None, None) => &Value::Null,
    };
    if transform::is_empty(raw) {
        return Read::Empty;
    }
    match convert(rule, raw, country) {
        Ok(values) if values.is_empty() => Read::Empty,
        Ok(values) if rule.separator().is_some() || raw.is_array() => match rule.kind {
            Kind::Text | Kind::Choice => Read::Value(Value::Array(values)),
            _ if values.len() == 1 => Read::Value(values.into_iter().next().unwrap_or_default()),
            _ => Read::Unreadable(SEVERAL),
        },
        Ok(values) => values.into_iter().next().map_or(Read::Empty, Read::Value),
        Err(why) => Read::Unreadable(why),
    }
}

fn convert(rule: &Rule, raw: &Value, country: Option<&str>) -> Result<Vec<Value>, Unreadable> {
    let plain: Option<Vec<String>> = match raw {
        Value::Array(list) => list.iter().filter(|v| !transform::is_empty(v)).map(transform::plain).collect(),
        one => transform::plain(one).map(|text| vec![text]),
    };
    let texts = through(&rule.transforms, plain.ok_or(NOT_PLAIN)?, country)?;
    let mut values = Vec::with_capacity(texts.len());
    for text in &texts {
        match rule.words.get(transform::text::trim(text).as_str()) {
            Some(value) => values.push(value.clone()),
            None if rule.words.is_empty() || rule.unmapped == Some(Unmapped::Keep) => {
                values.push(transform::normalise(rule.kind, text, country)?);
            }
            None => return Err(UNMAPPED),
        }
    }
    Ok(values)
}

/// Texts after all steps; empty ones fall out.
pub(super) fn through(steps: &[Transform], texts: Vec<String>, country: Option<&str>) -> Result<Vec<String>, Unreadable> {
    let mut texts = texts;
    for step in steps {
        let mut next = Vec::with_capacity(texts.len());
        for text in &texts {
            next.extend(step.apply(text, country)?);
        }
        texts = next;
        texts.retain(|text| !transform::text::trim(text).is_empty());
    }
    Ok(texts)
}
