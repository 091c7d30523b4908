//! Associations: per record and in batches.

use serde_json::{Value, json};

use super::answer::{Refusal, batch};
use super::crm::{Call, id_of};
use super::portal::{By, Portal};
use super::schema::Kind;
use crate::sdk::{Method, Response};

/// Deals of one record that a batch read answers at once.
const PAGE: usize = 500;

/// `/crm/…/objects/{type}/{id}/associations/…`; `tail` is what follows.
pub(super) fn on_record(portal: &mut Portal, kind: Kind, id: &str, tail: &[&str], call: &Call<'_>) -> Result<Response, Refusal> {
    let id: u64 = id.parse().map_err(|_| Refusal::not_found())?;
    let (id, _) = portal.table(kind).live(id).ok_or_else(Refusal::not_found)?;
    let to_kind = |text: &str| Kind::parse(text).ok_or_else(|| unknown_type(text));
    let number = |text: &str| text.parse::<u64>().map_err(|_| Refusal::not_found());
    match (call.method, tail) {
        (Method::Get, [to]) => {
            let to = to_kind(to)?;
            let relation = format!("{}_to_{}", kind.singular(), to.singular());
            let results: Vec<Value> = portal
                .linked_types(kind, id, to)
                .iter()
                .map(|(other, types)| {
                    json!({ "id": other.to_string(), "type": relation, "toObjectId": other, "associationTypes": types_json(types) })
                })
                .collect();
            Ok(Response::json(200, &json!({ "results": results })))
        }
        (Method::Put, ["default", to, other]) => {
            let (to, other) = (to_kind(to)?, number(other)?);
            let type_id = Portal::default_type(kind, to);
            portal.link((kind, id), (to, other), type_id, By::Api, call.now)?;
            Ok(batch(200, vec![pair(kind, id, to, other)], Vec::new(), call.now))
        }
        (Method::Put, [to, other]) => {
            let (to, other) = (to_kind(to)?, number(other)?);
            let type_id = call.body.pointer("/0/associationTypeId").and_then(Value::as_u64);
            portal.link(
                (kind, id),
                (to, other),
                type_id.map_or_else(|| Portal::default_type(kind, to), |id| id as u32),
                By::Api,
                call.now,
            )?;
            Ok(Response::json(
                201,
                &json!({ "fromObjectTypeId": kind.type_id(), "fromObjectId": id, "toObjectTypeId": to.type_id(), "toObjectId": other, "labels": [] }),
            ))
        }
        (Method::Put, [to, other, type_id]) => {
            let (to, other) = (to_kind(to)?, number(other)?);
            // The oldest form names the type by number or by words.
            let type_id = type_id.parse().unwrap_or_else(|_| Portal::default_type(kind, to));
            portal.link((kind, id), (to, other), type_id, By::Api, call.now)?;
            let (id, row) = portal.table(kind).live(id).ok_or_else(Refusal::not_found)?;
            Ok(Response::json(200, &portal.json(kind, id, row, row.latest(), &[])))
        }
        (Method::Delete, [to, other] | [to, other, _]) => {
            let (to, other) = (to_kind(to)?, number(other)?);
            portal.unlink((kind, id), (to, other), By::Api, call.now);
            Ok(Response::empty(204))
        }
        _ => Err(Refusal::no_route()),
    }
}

/// `/crm/…/associations/{from}/{to}/batch/…`.
pub(super) fn batches(portal: &mut Portal, numbered: Option<&str>, call: &Call<'_>) -> Result<Response, Refusal> {
    let [from, to, rest @ ..] = call.rest else { return Err(Refusal::no_route()) };
    let from = Kind::parse(from).ok_or_else(|| unknown_type(from))?;
    let to = Kind::parse(to).ok_or_else(|| unknown_type(to))?;
    let inputs = call.body.get("inputs").and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
    if call.method != Method::Post {
        return Err(Refusal::no_route());
    }
    let most = if rest == ["batch", "read"] { 1_000 } else { 2_000 };
    if inputs.len() > most {
        return Err(Refusal::invalid(format!("The maximum number of inputs supported in a batch request is {most}")));
    }
    let part = |input: &Value, name: &str| input.pointer(&format!("/{name}/id")).and_then(id_of);
    match rest {
        ["batch", "read"] => {
            let (mut results, mut errors) = (Vec::new(), Vec::new());
            for input in inputs {
                let id = input.get("id").and_then(id_of).unwrap_or_default();
                let after = input.get("after").and_then(id_of).unwrap_or_default();
                match read(portal, from, id, to, after, numbered) {
                    Some(result) => results.push(result),
                    None => errors.push(none_found(from, id, to).entry(None)),
                }
            }
            Ok(batch(200, results, errors, call.now))
        }
        ["batch", "create"] | ["batch", "associate", "default"] => {
            let (mut results, mut errors) = (Vec::new(), Vec::new());
            for input in inputs {
                let (Some(a), Some(b)) = (part(input, "from"), part(input, "to")) else {
                    return Err(Refusal::invalid("Invalid input JSON: every input needs from.id and to.id"));
                };
                let type_id = input.pointer("/types/0/associationTypeId").and_then(Value::as_u64);
                let type_id = type_id.map_or_else(|| Portal::default_type(from, to), |id| id as u32);
                match portal.link((from, a), (to, b), type_id, By::Api, call.now) {
                    Ok(()) => results.push(pair(from, a, to, b)),
                    Err(refusal) => errors.push(refusal.entry(None)),
                }
            }
            Ok(batch(201, results, errors, call.now))
        }
        ["batch", "archive"] => {
            for input in inputs {
                let Some(a) = part(input, "from") else { continue };
                let many = input.get("to").and_then(Value::as_array).into_iter().flatten().filter_map(|to| to.get("id").and_then(id_of));
                for b in many.chain(part(input, "to")).collect::<Vec<_>>() {
                    portal.unlink((from, a), (to, b), By::Api, call.now);
                }
            }
            Ok(Response::empty(204))
        }
        _ => Err(Refusal::no_route()),
    }
}

fn read(portal: &Portal, from: Kind, id: u64, to: Kind, after: u64, numbered: Option<&str>) -> Option<Value> {
    let (live, _) = portal.table(from).live(id)?;
    let links: Vec<_> = portal.linked_types(from, live, to).into_iter().filter(|(other, _)| *other > after).collect();
    if links.is_empty() {
        return None;
    }
    let relation = format!("{}_to_{}", from.singular(), to.singular());
    let shown: Vec<Value> = links
        .iter()
        .take(PAGE)
        .map(|(other, types)| match numbered {
            Some("v3") => json!({ "id": other.to_string(), "type": relation }),
            _ => json!({ "toObjectId": other, "associationTypes": types_json(types) }),
        })
        .collect();
    let mut out = json!({ "from": { "id": id.to_string() }, "to": shown });
    if links.len() > PAGE {
        out["paging"] = json!({ "next": { "after": links[PAGE - 1].0.to_string() } });
    }
    Some(out)
}

/// Having no association is an error entry, not an empty list.
fn none_found(from: Kind, id: u64, to: Kind) -> Refusal {
    let mut refusal = Refusal::new(404, "OBJECT_NOT_FOUND", format!("No {} is associated with {} {id}.", to.singular(), from.singular()))
        .with("fromObjectId", &[&id.to_string()])
        .with("fromObjectType", &[from.singular()])
        .with("toObjectType", &[to.singular()]);
    refusal.sub_category = Some("crm.associations.NO_ASSOCIATIONS_FOUND");
    refusal
}

fn types_json(types: &[u32]) -> Vec<Value> {
    types.iter().map(|id| json!({ "category": "HUBSPOT_DEFINED", "typeId": id, "label": null })).collect()
}

fn pair(from: Kind, a: u64, to: Kind, b: u64) -> Value {
    json!({
        "from": { "id": a.to_string() },
        "to": { "id": b.to_string() },
        "associationSpec": { "associationCategory": "HUBSPOT_DEFINED", "associationTypeId": Portal::default_type(from, to) },
        "fromObjectTypeId": from.type_id(),
        "fromObjectId": a,
        "toObjectTypeId": to.type_id(),
        "toObjectId": b,
        "labels": [],
    })
}

pub(super) fn unknown_type(text: &str) -> Refusal {
    Refusal::invalid(format!("Unable to infer object type from: {text}"))
}
