//! Typed conditions on lead fields, and what makes a company stand in a list.

use serde_json::Value;

use crate::model::Lead;
use crate::model::agreement::{Condition, Conditions, Scalar};
use crate::model::field::{self, Kind};
use crate::program::{List, Program};

/// Whether every condition holds.
pub fn all_hold(program: &Program, lead: &Lead, conditions: &Conditions) -> bool {
    conditions.iter().all(|(name, condition)| holds(program, lead, name, condition))
}

/// Whether one condition holds. A field without a value fulfils none, except that a company is still looked up in a
/// list by what else is known of it.
pub fn holds(program: &Program, lead: &Lead, name: &str, condition: &Condition) -> bool {
    if let Some(list) = &condition.list
        && !program.list(list).is_some_and(|list| listed(list, lead, name))
    {
        return false;
    }
    let kind = field::lookup(name).map_or(Kind::Text, |f| f.kind);
    let Some(value) = lead.fields.get(name) else {
        return condition.list.is_some() && Condition { list: None, ..condition.clone() } == Condition::default();
    };
    let same = |other: &Scalar| compare(kind, value, other) == Some(std::cmp::Ordering::Equal);
    let above = |other: &Scalar| compare(kind, value, other).is_some_and(std::cmp::Ordering::is_ge);
    let below = |other: &Scalar| compare(kind, value, other).is_some_and(std::cmp::Ordering::is_le);
    condition.is.as_ref().is_none_or(same)
        && condition.within.as_ref().is_none_or(|all| all.iter().any(same))
        && condition.not_in.as_ref().is_none_or(|all| !all.iter().any(same))
        && condition.at_least.as_ref().is_none_or(above)
        && condition.at_most.as_ref().is_none_or(below)
        && condition.between.as_ref().is_none_or(|(low, high)| above(low) && below(high))
}

/// Compares a lead's value with a file's. Numbers compare as numbers, also those that are kept as decimal text; days and
/// moments as moments; text without regard to case. `None` when the two cannot be compared.
fn compare(kind: Kind, value: &Value, other: &Scalar) -> Option<std::cmp::Ordering> {
    match kind {
        Kind::Integer | Kind::Decimal => number(value)?.partial_cmp(&scalar_number(other)?),
        Kind::Boolean => match other {
            Scalar::Boolean(other) => Some(value.as_bool()?.cmp(other)),
            _ => None,
        },
        Kind::DateTime => {
            let parse = |text: &str| text.parse::<jiff::Timestamp>().ok();
            Some(parse(value.as_str()?)?.cmp(&parse(scalar_text(other)?)?))
        }
        Kind::Date => {
            let parse = |text: &str| text.parse::<jiff::civil::Date>().ok();
            Some(parse(value.as_str()?)?.cmp(&parse(scalar_text(other)?)?))
        }
        _ => Some(value.as_str()?.to_lowercase().cmp(&scalar_text(other)?.to_lowercase())),
    }
}

fn number(value: &Value) -> Option<f64> {
    value.as_f64().or_else(|| value.as_str()?.trim().parse().ok())
}

fn scalar_number(value: &Scalar) -> Option<f64> {
    match value {
        Scalar::Integer(n) => Some(*n as f64),
        Scalar::Float(n) => Some(*n),
        Scalar::Text(text) => text.parse().ok(),
        Scalar::Boolean(_) => None,
    }
}

fn scalar_text(value: &Scalar) -> Option<&str> {
    match value {
        Scalar::Text(text) => Some(text),
        _ => None,
    }
}

/// Whether a list names what a field holds.
fn listed(list: &List, lead: &Lead, name: &str) -> bool {
    match name {
        "company" | "company_domain" | "website" => lists_company(list, lead),
        "email" => lead.text("email").is_some_and(|email| list.has_email(email)),
        _ => lead.text(name).is_some_and(|value| list.has_value(value)),
    }
}

/// Whether a list names the lead's company: by one of its domains or its parent's, or by name.
pub fn lists_company(list: &List, lead: &Lead) -> bool {
    domains(lead).any(|domain| list.has_domain(domain)) || lead.text("company").is_some_and(|name| list.has_company(name))
}

/// The domains that a lead's company is known by. A free mailbox says nothing about a company.
fn domains(lead: &Lead) -> impl Iterator<Item = &str> {
    let site = lead.text("website").map(|site| {
        let host = site.split_once("://").map_or(site, |(_, rest)| rest);
        host.split(['/', '?', '#', ':']).next().unwrap_or(host)
    });
    let mailbox = lead.text("email").filter(|_| !matches!(lead.text("email_kind"), Some("free" | "disposable")));
    let of_mail = mailbox.and_then(|email| email.rsplit_once('@')).map(|(_, domain)| domain);
    lead.text("company_domain").into_iter().chain(site).chain(of_mail)
}
