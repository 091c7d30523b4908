//! Clause 2 in itself: fields exist, values can be equal to what the field holds, the expression can be read.

use super::super::expr::Expr;
use super::super::place;
use super::super::reader::Tree;
use super::{calendar_only, known_field, unknown_field};
use crate::model::agreement::{Agreement, Condition, Conditions, Scalar};
use crate::model::field::{self, Kind};

pub fn qualification(tree: &mut Tree<'_>, agreement: &Agreement) {
    let rules = &agreement.qualification;
    for (i, name) in rules.required.iter().enumerate() {
        known_field(tree, &format!("qualification.required.{i}"), name);
    }
    conditions(tree, "qualification.all", &rules.all);
    conditions(tree, "qualification.none", &rules.none);
    if let Some(source) = &rules.expression
        && let Err((message, advice)) = Expr::new(source)
    {
        tree.error("qualification.where", "agreement.expression", message, advice);
    }
    if let Some(fresh) = &rules.fresh {
        if field::lookup(&fresh.since).is_none_or(|f| !matches!(f.kind, Kind::DateTime | Kind::Date)) {
            let message = format!("`{}` is not a lead field with a moment", fresh.since);
            tree.error("qualification.fresh.since", "agreement.fresh", message, "write since = \"own_last_action\"");
        }
        if fresh.within.is_business() {
            calendar_only(tree, "qualification.fresh.within");
        }
    }
}

pub fn conditions(tree: &mut Tree<'_>, path: &str, conditions: &Conditions) {
    for (name, condition) in conditions {
        let path = format!("{path}.{name}");
        let Some(definition) = field::lookup(name) else {
            unknown_field(tree, &path, name, true);
            continue;
        };
        condition_fits(tree, &path, name, definition.kind, condition);
    }
}

fn condition_fits(tree: &mut Tree<'_>, path: &str, name: &str, kind: Kind, condition: &Condition) {
    if *condition == Condition::default() {
        let message = format!("the condition on `{name}` tests nothing");
        return tree.key_error(path, "agreement.condition", message, "add a test such as in = […], at_least = 50 or is = true");
    }
    let ordered = matches!(kind, Kind::Integer | Kind::Decimal | Kind::Date | Kind::DateTime);
    let range =
        [("at_least", condition.at_least.is_some()), ("at_most", condition.at_most.is_some()), ("between", condition.between.is_some())];
    for (test, _) in range.into_iter().filter(|(_, used)| *used && !ordered) {
        let message = format!("`{name}` has no order: `{test}` cannot test it");
        tree.key_error(&format!("{path}.{test}"), "agreement.condition", message, "use is, in, not_in or list");
    }
    let mut values: Vec<(String, &Scalar)> = Vec::new();
    values.extend(condition.is.iter().map(|v| ("is".to_owned(), v)));
    values.extend(condition.within.iter().flatten().enumerate().map(|(i, v)| (format!("in.{i}"), v)));
    values.extend(condition.not_in.iter().flatten().enumerate().map(|(i, v)| (format!("not_in.{i}"), v)));
    if ordered {
        values.extend(condition.at_least.iter().map(|v| ("at_least".to_owned(), v)));
        values.extend(condition.at_most.iter().map(|v| ("at_most".to_owned(), v)));
        values.extend(condition.between.iter().flat_map(|(a, b)| [("between.0".to_owned(), a), ("between.1".to_owned(), b)]));
    }
    for (test, value) in values {
        if let Some(message) = value_fault(name, kind, value) {
            tree.error(&format!("{path}.{test}"), "agreement.condition", message, None);
        }
    }
    if let Some((low, high)) = &condition.between
        && let (Some(low), Some(high)) = (number(low), number(high))
        && low > high
    {
        tree.error(&format!("{path}.between"), "agreement.condition", "the first value is above the second".to_owned(), "swap them");
    }
}

fn number(value: &Scalar) -> Option<f64> {
    match value {
        Scalar::Integer(n) => Some(*n as f64),
        Scalar::Float(n) => Some(*n),
        Scalar::Text(text) => text.parse().ok(),
        Scalar::Boolean(_) => None,
    }
}

/// Why a value cannot be compared with a field of this kind.
fn value_fault(name: &str, kind: Kind, value: &Scalar) -> Option<String> {
    let wants = |what: &str| Some(format!("`{name}` is {what}: this value never equals it"));
    match (kind, value) {
        (Kind::Boolean, Scalar::Boolean(_)) | (Kind::Integer | Kind::Decimal, Scalar::Integer(_) | Scalar::Float(_)) => None,
        (Kind::Boolean, _) => wants("true or false"),
        (Kind::Decimal, Scalar::Text(text)) if text.parse::<f64>().is_ok() => None,
        (Kind::Integer | Kind::Decimal, _) => wants("a number"),
        (_, Scalar::Boolean(_) | Scalar::Integer(_) | Scalar::Float(_)) => wants("text"),
        (Kind::Country, Scalar::Text(text)) => {
            (text.contains('-') || place::fault(text).is_some() || place::GROUPS.contains(&text.as_str()))
                .then(|| format!("`{text}` is not a country: write ISO codes such as \"DE\""))
        }
        (Kind::State, Scalar::Text(text)) if !text.contains('-') => {
            Some(format!("`{text}` is not a state: write ISO codes such as \"DE-BY\""))
        }
        (Kind::State, Scalar::Text(text)) => place::fault(text),
        (Kind::Date, Scalar::Text(text)) if text.parse::<jiff::civil::Date>().is_err() => wants("a day such as \"2026-04-01\""),
        (Kind::DateTime, Scalar::Text(text)) if text.parse::<jiff::Timestamp>().is_err() => {
            wants("a moment such as \"2026-04-01T00:00:00Z\"")
        }
        (Kind::Email | Kind::Domain, Scalar::Text(text)) if text.to_lowercase() != *text => wants("in small letters"),
        _ => None,
    }
}
