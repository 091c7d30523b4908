//! Batches of objects: read, create, update, upsert, archive, each with its own rules for partial results.

use std::collections::BTreeSet;

use serde_json::Value;

use super::answer::{Refusal, batch};
use super::crm::{Call, accepted, add_history, check_id_property, create_one, find, id_of, texts, written};
use super::portal::{By, Portal};
use super::schema::Kind;
use super::store::Changes;
use super::values;
use crate::sdk::{Millis, Response};

/// Most inputs of a batch.
const MOST_INPUTS: usize = 100;
/// Most inputs of a batch read that asks for histories.
const MOST_INPUTS_WITH_HISTORY: usize = 50;

/// Answers `POST …/batch/{what}`.
pub(super) fn answer(portal: &mut Portal, kind: Kind, what: &str, call: &Call<'_>) -> Result<Response, Refusal> {
    match what {
        "read" => batch_read(portal, kind, call),
        "create" => batch_create(portal, kind, call),
        "update" => batch_update(portal, kind, call),
        "upsert" => batch_upsert(portal, kind, call),
        "archive" => {
            for input in inputs(call)? {
                if let Some(id) = input.get("id").and_then(id_of) {
                    portal.archive(kind, id, By::Api, call.now);
                }
            }
            Ok(Response::empty(204))
        }
        _ => Err(Refusal::no_route()),
    }
}

fn inputs<'a>(call: &'a Call<'_>) -> Result<&'a [Value], Refusal> {
    let inputs =
        call.body.get("inputs").and_then(Value::as_array).ok_or_else(|| Refusal::invalid("Invalid input JSON: inputs is required"))?;
    if inputs.len() > MOST_INPUTS {
        return Err(Refusal::invalid(format!("The maximum number of inputs supported in a batch request is {MOST_INPUTS}")));
    }
    Ok(inputs)
}

fn text<'a>(input: &'a Value, name: &str) -> Option<&'a str> {
    input.get(name).and_then(Value::as_str)
}

/// The ids of a batch as text, refusing one that comes twice.
fn distinct_ids(inputs: &[Value]) -> Result<Vec<String>, Refusal> {
    let mut seen = BTreeSet::new();
    let mut ids = Vec::with_capacity(inputs.len());
    for input in inputs {
        let id = match input.get("id") {
            Some(Value::String(id)) => id.clone(),
            Some(Value::Number(id)) => id.to_string(),
            _ => return Err(Refusal::invalid("Invalid input JSON: every input needs an id")),
        };
        if !seen.insert(id.to_lowercase()) {
            return Err(Refusal::invalid(format!("Duplicate IDs found in batch input: [{id}]. IDs must be unique")).with("ids", &[&id]));
        }
        ids.push(id);
    }
    Ok(ids)
}

/// Refuses a batch that carries one email, or one value of a unique property, twice.
fn distinct_values(portal: &Portal, kind: Kind, inputs: &[Value]) -> Result<(), Refusal> {
    let table = portal.table(kind);
    let mut seen = BTreeSet::new();
    for (name, value) in inputs.iter().filter_map(|input| input.get("properties")?.as_object()).flatten() {
        let Some(value) = value.as_str().filter(|value| !value.is_empty() && table.is_unique(name)) else { continue };
        if !seen.insert((name.clone(), value.trim().to_lowercase())) {
            return Err(Refusal::invalid(format!("Duplicate values found in batch input for the unique property {name}"))
                .with("propertyName", &[name]));
        }
    }
    Ok(())
}

fn batch_read(portal: &Portal, kind: Kind, call: &Call<'_>) -> Result<Response, Refusal> {
    let inputs = inputs(call)?;
    let id_property = text(&call.body, "idProperty").filter(|name| *name != "hs_object_id");
    if let Some(name) = id_property {
        check_id_property(portal, kind, name)?;
    }
    let archived = call.query("archived") == Some("true");
    let histories = texts(&call.body, "propertiesWithHistory");
    if !histories.is_empty() && inputs.len() > MOST_INPUTS_WITH_HISTORY {
        return Err(Refusal::invalid(format!("At most {MOST_INPUTS_WITH_HISTORY} inputs are supported with propertiesWithHistory")));
    }
    let wanted: Vec<String> = texts(&call.body, "properties").into_iter().chain(histories.clone()).collect();
    let (mut results, mut missing) = (Vec::new(), Vec::new());
    let mut answered = BTreeSet::new();
    for id in distinct_ids(inputs)? {
        let found = if archived {
            portal.archived(kind, &id, id_property, call.now)
        } else {
            find(portal, kind, &id, id_property).ok().and_then(|id| portal.visible(kind, id, call.now))
        };
        match found {
            Some((id, row, version)) if answered.insert(id) => {
                let mut out = portal.json(kind, id, row, version, &wanted);
                add_history(portal, row, &histories, call.now, &mut out);
                results.push(out);
            }
            Some(_) => {}
            None => missing.push(id),
        }
    }
    // The order of results is not promised.
    results.reverse();
    let errors = if missing.is_empty() {
        Vec::new()
    } else {
        let missing: Vec<&str> = missing.iter().map(String::as_str).collect();
        let message = format!(
            "Could not get some {} objects, they may be deleted or not exist. Check that ids are valid.",
            kind.singular().to_uppercase()
        );
        vec![Refusal::new(404, "OBJECT_NOT_FOUND", message).with("ids", &missing).entry(None)]
    };
    Ok(batch(200, results, errors, call.now))
}

fn batch_create(portal: &mut Portal, kind: Kind, call: &Call<'_>) -> Result<Response, Refusal> {
    let inputs = inputs(call)?;
    distinct_values(portal, kind, inputs)?;
    let traces: BTreeSet<&str> = inputs.iter().filter_map(|input| text(input, "objectWriteTraceId")).collect();
    let partial = traces.len() == inputs.len();
    if !partial {
        // All or nothing: look first.
        for input in inputs {
            let changes = accepted(portal, kind, input)?;
            portal.table(kind).check_unique(None, &changes)?;
        }
    }
    let (mut results, mut errors) = (Vec::new(), Vec::new());
    for input in inputs {
        match create_one(portal, kind, input, call.now) {
            Ok(out) => results.push(out),
            Err(refusal) if partial => errors.push(refusal.entry(text(input, "objectWriteTraceId"))),
            Err(refusal) => return Err(refusal),
        }
    }
    results.reverse();
    Ok(batch(201, results, errors, call.now))
}

fn batch_update(portal: &mut Portal, kind: Kind, call: &Call<'_>) -> Result<Response, Refusal> {
    let inputs = inputs(call)?;
    let ids = distinct_ids(inputs)?;
    distinct_values(portal, kind, inputs)?;
    let (mut results, mut errors) = (Vec::new(), Vec::new());
    for (input, id) in inputs.iter().zip(ids) {
        let trace = text(input, "objectWriteTraceId");
        let done = find(portal, kind, &id, text(input, "idProperty")).and_then(|id| {
            let changes = accepted(portal, kind, input)?;
            let names = changes.keys().cloned().collect::<Vec<_>>();
            let id = portal.update(kind, id, changes, By::Api, call.now)?;
            Ok(written(portal, kind, id, &names))
        });
        match done {
            Ok(out) => results.push(out),
            Err(refusal) if refusal.status == 404 => {
                let message = "Could not get some objects, they may be deleted or not exist. Check that ids are valid.";
                errors.push(Refusal::new(404, "OBJECT_NOT_FOUND", message).with("ids", &[&id]).entry(trace));
            }
            Err(refusal) => errors.push(refusal.entry(trace)),
        }
    }
    results.reverse();
    Ok(batch(200, results, errors, call.now))
}

fn batch_upsert(portal: &mut Portal, kind: Kind, call: &Call<'_>) -> Result<Response, Refusal> {
    let inputs = inputs(call)?;
    let ids = distinct_ids(inputs)?;
    distinct_values(portal, kind, inputs)?;
    let mut by_email = false;
    for input in inputs {
        let name = text(input, "idProperty").ok_or_else(|| Refusal::invalid("Invalid input JSON: idProperty is required"))?;
        check_id_property(portal, kind, name)?;
        by_email |= name == "email";
    }
    if by_email {
        // By email one bad input fails the call: look first.
        for (input, id) in inputs.iter().zip(&ids) {
            upsert_changes(portal, kind, input, id)?;
        }
    }
    let (mut results, mut errors) = (Vec::new(), Vec::new());
    for (input, id) in inputs.iter().zip(&ids) {
        match upsert_one(portal, kind, input, id, call.now) {
            Ok(out) => results.push(out),
            Err(refusal) => errors.push(refusal.entry(text(input, "objectWriteTraceId"))),
        }
    }
    results.reverse();
    Ok(batch(200, results, errors, call.now))
}

/// The record that an upsert meets, if any, and the values to write.
fn upsert_changes(portal: &Portal, kind: Kind, input: &Value, id: &str) -> Result<(Option<u64>, Changes), Refusal> {
    let name = text(input, "idProperty").unwrap_or_default();
    let held = portal.table(kind).holder(name, id);
    let mut properties = input.get("properties").and_then(Value::as_object).cloned().unwrap_or_default();
    if held.is_none() {
        properties.insert(name.to_owned(), id.into());
    }
    let changes = values::accept(kind, &portal.table(kind).schema, &properties)?;
    portal.table(kind).check_unique(held, &changes)?;
    Ok((held, changes))
}

fn upsert_one(portal: &mut Portal, kind: Kind, input: &Value, id: &str, now: Millis) -> Result<Value, Refusal> {
    let (held, changes) = upsert_changes(portal, kind, input, id)?;
    let mut names = changes.keys().cloned().collect::<Vec<_>>();
    names.extend(text(input, "idProperty").map(str::to_owned));
    if held.is_none() && kind == Kind::Lead {
        return Err(Refusal::invalid("A lead must be associated with a contact (association type 578)."));
    }
    let id = match held {
        Some(id) => portal.update(kind, id, changes, By::Api, now)?,
        None => portal.create(kind, changes, By::Api, now)?,
    };
    let mut out = written(portal, kind, id, &names);
    out["new"] = held.is_none().into();
    Ok(out)
}
