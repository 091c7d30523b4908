//! Search: filters, one sort, pages by offset, the cap, and an index that runs behind.

use std::cmp::Ordering;
use std::ops::RangeInclusive;

use serde_json::{Value, json};

use super::answer::Refusal;
use super::crm::texts;
use super::portal::Portal;
use super::schema::Kind;
use super::store::{Row, Table, Version};
use super::values::instant;
use crate::sdk::{Millis, Response};

const MOST_GROUPS: usize = 5;
const MOST_FILTERS: usize = 6;
const MOST_FILTERS_IN_ALL: usize = 18;
const MOST_PER_PAGE: u64 = 200;
/// Results of one query that can be paged to.
const CAP: u64 = 10_000;
const OPERATORS: [&str; 13] = [
    "EQ",
    "NEQ",
    "LT",
    "LTE",
    "GT",
    "GTE",
    "BETWEEN",
    "IN",
    "NOT_IN",
    "HAS_PROPERTY",
    "NOT_HAS_PROPERTY",
    "CONTAINS_TOKEN",
    "NOT_CONTAINS_TOKEN",
];

/// A value as it is compared: numbers and times by size, enumerations exactly, texts without case.
#[derive(Debug, Clone, PartialEq)]
enum Got {
    Nothing,
    Number(f64),
    Exact(String),
    Text(String),
}

struct Filter {
    name: String,
    operator: String,
    value: Got,
    high: Got,
    values: Vec<Got>,
}

/// A match: what it is sorted by. A ghost takes its place in a page without being shown.
struct Match {
    key: Got,
    id: u64,
    ghost: bool,
}

/// Answers a search.
pub(super) fn answer(portal: &Portal, kind: Kind, body: &Value, now: Millis) -> Result<Response, Refusal> {
    let table = portal.table(kind);
    let limit = number(body, "limit", 10)?;
    if !(1..=MOST_PER_PAGE).contains(&limit) {
        return Err(Refusal::invalid(format!("Invalid input JSON: limit must be between 1 and {MOST_PER_PAGE}")));
    }
    let after = number(body, "after", 0)?;
    if after + limit > CAP {
        return Err(Refusal::invalid(format!("The requested page is beyond the first {CAP} results of this query")));
    }
    let groups = groups(table, body)?;
    let (sort, descending) = sort(table, body)?;
    let seen = portal.index_time(now);
    let query = body.get("query").and_then(Value::as_str).map(str::to_lowercase).filter(|text| !text.is_empty());

    let mut matches = Vec::new();
    candidates(table, &groups, seen, &mut |id, row, version, ghost| {
        let fits_groups = groups.is_empty()
            || groups.iter().any(|group| group.iter().all(|filter| fits(filter, &got(table, id, row, version, &filter.name))));
        let fits_query = query.as_ref().is_none_or(|text| version.values.values().any(|value| value.to_lowercase().contains(text)));
        if fits_groups && fits_query {
            matches.push(Match { key: got(table, id, row, version, &sort), id, ghost });
        }
    });
    matches.sort_by(|a, b| {
        let order = compare(&a.key, &b.key);
        (if descending { order.reverse() } else { order }).then(a.id.cmp(&b.id))
    });

    let wanted = texts(body, "properties");
    let page = matches.iter().skip(after as usize).take(limit as usize).filter(|found| !found.ghost);
    let results: Vec<Value> = page
        .filter_map(|found| {
            let row = table.rows.get(&found.id)?;
            Some(portal.json(kind, found.id, row, row.visible(seen)?, &wanted))
        })
        .collect();
    let mut out = json!({ "total": matches.len() });
    out["results"] = Value::Array(results);
    if (matches.len() as u64) > after + limit {
        out["paging"] = json!({ "next": { "after": (after + limit).to_string() } });
    }
    Ok(Response::json(200, &out))
}

/// Hands every record that may match to `consider`, as the index saw it at `seen`.
fn candidates(table: &Table, groups: &[Vec<Filter>], seen: Millis, consider: &mut dyn FnMut(u64, &Row, &Version, bool)) {
    if let Some((name, value)) = unique_value(table, groups) {
        if let Some((id, row)) = table.holder(name, value).and_then(|id| table.live(id))
            && let Some(version) = row.visible(seen).filter(|version| version.archived.is_none())
        {
            consider(id, row, version, false);
        }
        return;
    }
    let bounds = time_bounds(table.kind, groups);
    let (low, high) = (*bounds.start(), (*bounds.end()).min(seen));
    if low <= high {
        for (_, id) in table.by_modified.range((low, 0)..=(high, u64::MAX)) {
            if let Some(row) = table.rows.get(id) {
                consider(*id, row, row.latest(), false);
            }
        }
    }
    // What changed since the index was last brought up to date still shows as it was.
    for (_, id) in table.by_modified.range((seen.saturating_add(1), 0)..) {
        if let Some((row, version)) = table.rows.get(id).and_then(|row| Some((row, row.visible(seen)?)))
            && version.archived.is_none()
        {
            consider(*id, row, version, false);
        }
    }
    // What was archived since then is filtered from the page only after the page was cut.
    for ((modified, id), archived) in &table.ghosts {
        if *archived > seen
            && *modified <= seen
            && let Some(row) = table.rows.get(id)
        {
            consider(*id, row, row.latest(), true);
        }
    }
}

/// The one value of a unique property that a group asks for.
fn unique_value<'f>(table: &Table, groups: &'f [Vec<Filter>]) -> Option<(&'f str, &'f str)> {
    let [group] = groups else { return None };
    let filter = group.iter().find(|filter| filter.operator == "EQ" && table.is_unique(&filter.name))?;
    match &filter.value {
        Got::Text(value) | Got::Exact(value) => Some((&filter.name, value)),
        _ => None,
    }
}

/// The range of modification times that a single group leaves.
fn time_bounds(kind: Kind, groups: &[Vec<Filter>]) -> RangeInclusive<Millis> {
    let (mut low, mut high) = (Millis::MIN, Millis::MAX);
    if let [group] = groups {
        for filter in group.iter().filter(|filter| filter.name == kind.modified()) {
            let Got::Number(value) = filter.value else { continue };
            let value = value as Millis;
            match filter.operator.as_str() {
                "EQ" => (low, high) = (low.max(value), high.min(value)),
                "GTE" => low = low.max(value),
                "GT" => low = low.max(value + 1),
                "LTE" => high = high.min(value),
                "LT" => high = high.min(value - 1),
                _ => {}
            }
        }
    }
    low..=high
}

/// A record's value, ready to compare.
fn got(table: &Table, id: u64, row: &Row, version: &Version, name: &str) -> Got {
    if name == table.kind.modified() {
        return Got::Number(version.modified as f64);
    }
    if name == table.kind.created() {
        return Got::Number(row.created as f64);
    }
    if name == "hs_object_id" {
        return Got::Number(id as f64);
    }
    version.values.get(name).map_or(Got::Nothing, |text| ready(table, name, text))
}

/// A text as values of this property are compared.
fn ready(table: &Table, name: &str, text: &str) -> Got {
    match table.schema.get(name).map(|property| property.kind) {
        Some("number") => text.trim().parse().map_or(Got::Nothing, Got::Number),
        Some("date" | "datetime") => instant(text).map_or(Got::Nothing, |at| Got::Number(at as f64)),
        Some("enumeration" | "bool") => Got::Exact(text.to_owned()),
        _ => Got::Text(text.to_lowercase()),
    }
}

fn compare(a: &Got, b: &Got) -> Ordering {
    match (a, b) {
        (Got::Number(a), Got::Number(b)) => a.partial_cmp(b).unwrap_or(Ordering::Equal),
        (Got::Exact(a), Got::Exact(b)) | (Got::Text(a), Got::Text(b)) => a.cmp(b),
        (Got::Nothing, Got::Nothing) => Ordering::Equal,
        (Got::Nothing, _) => Ordering::Less,
        _ => Ordering::Greater,
    }
}

fn fits(filter: &Filter, got: &Got) -> bool {
    let there = *got != Got::Nothing;
    let order = compare(got, &filter.value);
    let contains = || {
        let (Got::Text(text) | Got::Exact(text), Got::Text(token) | Got::Exact(token)) = (got, &filter.value) else { return false };
        text.to_lowercase().contains(&token.to_lowercase().replace('*', ""))
    };
    match filter.operator.as_str() {
        "EQ" => there && order == Ordering::Equal,
        "NEQ" => there && order != Ordering::Equal,
        "LT" => there && order == Ordering::Less,
        "LTE" => there && order != Ordering::Greater,
        "GT" => there && order == Ordering::Greater,
        "GTE" => there && order != Ordering::Less,
        "BETWEEN" => there && order != Ordering::Less && compare(got, &filter.high) != Ordering::Greater,
        "IN" => there && filter.values.contains(got),
        "NOT_IN" => there && !filter.values.contains(got),
        "HAS_PROPERTY" => there,
        "NOT_HAS_PROPERTY" => !there,
        "CONTAINS_TOKEN" => contains(),
        _ => there && !contains(),
    }
}

fn groups(table: &Table, body: &Value) -> Result<Vec<Vec<Filter>>, Refusal> {
    let list = |value: &Value, name: &str| value.get(name).and_then(Value::as_array).cloned().unwrap_or_default();
    let mut groups: Vec<Vec<Value>> = list(body, "filterGroups").iter().map(|group| list(group, "filters")).collect();
    // Filters may also stand without a group.
    let plain = list(body, "filters");
    if !plain.is_empty() {
        groups.push(plain);
    }
    let in_all: usize = groups.iter().map(Vec::len).sum();
    if groups.len() > MOST_GROUPS || groups.iter().any(|group| group.len() > MOST_FILTERS) || in_all > MOST_FILTERS_IN_ALL {
        return Err(Refusal::invalid(format!(
            "Too many filters: at most {MOST_GROUPS} groups of {MOST_FILTERS}, {MOST_FILTERS_IN_ALL} in all"
        )));
    }
    groups.iter().map(|group| group.iter().map(|filter| read_filter(table, filter)).collect()).collect()
}

fn read_filter(table: &Table, given: &Value) -> Result<Filter, Refusal> {
    let text = |name: &str| match given.get(name) {
        Some(Value::String(text)) => Some(text.clone()),
        Some(Value::Null) | None => None,
        Some(other) => Some(other.to_string()),
    };
    let (name, operator) = (text("propertyName").unwrap_or_default(), text("operator").unwrap_or_default());
    if !table.schema.contains_key(&name) {
        return Err(Refusal::invalid(format!("There was a problem with the request: property {name} does not exist"))
            .with("propertyName", &[&name]));
    }
    if !OPERATORS.contains(&operator.as_str()) {
        return Err(Refusal::invalid(format!("Invalid input JSON: operator {operator} is not known")));
    }
    let needs_value = !matches!(operator.as_str(), "IN" | "NOT_IN" | "HAS_PROPERTY" | "NOT_HAS_PROPERTY");
    let values = texts(given, "values");
    if (needs_value && text("value").is_none()) || (matches!(operator.as_str(), "IN" | "NOT_IN") && values.is_empty()) {
        return Err(Refusal::invalid(format!("Invalid input JSON: the filter on {name} has no value")));
    }
    let value = |name_of_part: &str| text(name_of_part).map_or(Got::Nothing, |text| ready(table, &name, &text));
    // Text properties only ever match lower-case values of a list: these are not folded.
    let values = values
        .iter()
        .map(|text| match ready(table, &name, text) {
            Got::Text(_) => Got::Text(text.clone()),
            other => other,
        })
        .collect();
    Ok(Filter { value: value("value"), high: value("highValue"), values, name, operator })
}

/// The one sort, by default the time of creation.
fn sort(table: &Table, body: &Value) -> Result<(String, bool), Refusal> {
    let sorts = body.get("sorts").and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
    let (name, descending) = match sorts {
        [] => (table.kind.created().to_owned(), false),
        [Value::String(name)] => (name.trim_start_matches('-').to_owned(), name.starts_with('-')),
        [sort] => (
            sort.get("propertyName").and_then(Value::as_str).unwrap_or_default().to_owned(),
            sort.get("direction").and_then(Value::as_str) == Some("DESCENDING"),
        ),
        _ => return Err(Refusal::invalid("Only one sort is allowed")),
    };
    if !table.schema.contains_key(&name) {
        return Err(Refusal::invalid(format!("There was a problem with the request: property {name} does not exist"))
            .with("propertyName", &[&name]));
    }
    Ok((name, descending))
}

fn number(body: &Value, name: &str, default: u64) -> Result<u64, Refusal> {
    match body.get(name) {
        None | Some(Value::Null) => Ok(default),
        Some(Value::String(text)) if text.is_empty() => Ok(default),
        Some(value) => value
            .as_u64()
            .or_else(|| value.as_str().and_then(|text| text.parse().ok()))
            .ok_or_else(|| Refusal::invalid(format!("Invalid input JSON: {name} must be a whole number"))),
    }
}
