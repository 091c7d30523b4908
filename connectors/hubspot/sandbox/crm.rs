//! The object endpoints: one record, lists, merge, deletion for privacy.

use serde_json::{Map, Value, json};

use super::answer::{Refusal, iso};
use super::batches;
use super::portal::{By, Portal};
use super::schema::Kind;
use super::search;
use super::store::{Changes, Row};
use super::values;
use crate::sdk::{Method, Millis, Response};

/// A request to the API, taken apart.
pub(super) struct Call<'a> {
    pub method: Method,
    /// The path below the version and area: for objects the type and what follows.
    pub rest: &'a [&'a str],
    pub query: Vec<(String, String)>,
    pub body: Value,
    pub now: Millis,
}

impl Call<'_> {
    pub fn query(&self, name: &str) -> Option<&str> {
        self.query.iter().find(|(n, _)| n == name).map(|(_, v)| v.as_str())
    }

    /// A list parameter: repeated, or joined by commas.
    pub fn names(&self, name: &str) -> Vec<String> {
        let given = self.query.iter().filter(|(n, _)| n == name).flat_map(|(_, v)| v.split(','));
        given.map(str::trim).filter(|text| !text.is_empty()).map(str::to_owned).collect()
    }

    /// The page size; HubSpot refuses more than `most`.
    pub fn limit(&self, default: usize, most: usize) -> Result<usize, Refusal> {
        let Some(given) = self.query("limit") else { return Ok(default) };
        match given.parse::<usize>() {
            Ok(limit) if (1..=most).contains(&limit) => Ok(limit),
            _ => Err(Refusal::invalid(format!("Invalid page size {given}: it must be between 1 and {most}"))),
        }
    }
}

/// A text list member of a body.
pub(super) fn texts(body: &Value, name: &str) -> Vec<String> {
    body.get(name).and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str).map(str::to_owned).collect()
}

/// An id as text or number.
pub(super) fn id_of(value: &Value) -> Option<u64> {
    value.as_u64().or_else(|| value.as_str().and_then(|text| text.parse().ok()))
}

/// Answers a request to `/crm/…/objects/{type}/…` except associations.
pub(super) fn answer(portal: &mut Portal, kind: Kind, call: &Call<'_>) -> Result<Response, Refusal> {
    match (call.method, call.rest) {
        (Method::Get, []) => list(portal, kind, call),
        (Method::Post, []) => create(portal, kind, call),
        (Method::Post, ["search"]) => search::answer(portal, kind, &call.body, call.now),
        (Method::Post, ["merge"]) => merge(portal, kind, call),
        (Method::Post, ["gdpr-delete"]) if kind == Kind::Contact => forget(portal, call),
        (Method::Post, ["batch", what]) => batches::answer(portal, kind, what, call),
        (Method::Get, [id]) => {
            let id = find(portal, kind, id, call.query("idProperty"))?;
            let mut wanted = call.names("properties");
            wanted.extend(call.names("propertiesWithHistory"));
            let (id, row, version) = portal.visible(kind, id, call.now).ok_or_else(Refusal::not_found)?;
            let mut out = portal.json(kind, id, row, version, &wanted);
            add_links(portal, kind, id, call, &mut out);
            add_history(portal, row, &call.names("propertiesWithHistory"), call.now, &mut out);
            Ok(Response::json(200, &out))
        }
        (Method::Patch, [id]) => {
            let id = find(portal, kind, id, call.query("idProperty"))?;
            let changes = accepted(portal, kind, &call.body)?;
            let names = changes.keys().cloned().collect::<Vec<_>>();
            let id = portal.update(kind, id, changes, By::Api, call.now)?;
            Ok(Response::json(200, &written(portal, kind, id, &names)))
        }
        (Method::Delete, [id]) => {
            if let Ok(id) = id.parse() {
                portal.archive(kind, id, By::Api, call.now);
            }
            Ok(Response::empty(204))
        }
        _ => Err(Refusal::no_route()),
    }
}

/// The id that a path or an input names, by id or by a unique property.
pub(super) fn find(portal: &Portal, kind: Kind, text: &str, id_property: Option<&str>) -> Result<u64, Refusal> {
    match id_property {
        None | Some("hs_object_id") => text.parse().map_err(|_| Refusal::not_found()),
        Some(name) => {
            check_id_property(portal, kind, name)?;
            portal.table(kind).holder(name, text).ok_or_else(Refusal::not_found)
        }
    }
}

pub(super) fn check_id_property(portal: &Portal, kind: Kind, name: &str) -> Result<(), Refusal> {
    if portal.table(kind).is_unique(name) {
        return Ok(());
    }
    Err(Refusal::invalid(format!("Property '{name}' is not a unique identifier property for {}", kind.plural()))
        .with("propertyName", &[name]))
}

pub(super) fn accepted(portal: &Portal, kind: Kind, body: &Value) -> Result<Changes, Refusal> {
    let empty = Map::new();
    let given = match body.get("properties") {
        None => &empty,
        Some(Value::Object(given)) => given,
        Some(_) => return Err(Refusal::invalid("Invalid input JSON: properties must be an object")),
    };
    values::accept(kind, &portal.table(kind).schema, given)
}

/// The current state of a record just written, with the properties written.
pub(super) fn written(portal: &Portal, kind: Kind, id: u64, names: &[String]) -> Value {
    let Some((id, row)) = portal.table(kind).live(id) else { return Value::Null };
    let mut wanted: Vec<String> = kind.defaults().iter().map(|name| (*name).to_owned()).collect();
    wanted.extend(["hs_object_source", "hs_object_source_id", "hs_object_source_label"].map(str::to_owned));
    wanted.extend_from_slice(names);
    let mut out = portal.json(kind, id, row, row.latest(), &wanted);
    // Properties without a value do not come back from a write unless they were written.
    if let Some(properties) = out.get_mut("properties").and_then(Value::as_object_mut) {
        properties.retain(|name, value| !value.is_null() || names.contains(name));
        // One that was cleared comes back as the empty text that cleared it.
        properties.values_mut().filter(|value| value.is_null()).for_each(|value| *value = "".into());
    }
    out
}

fn list(portal: &Portal, kind: Kind, call: &Call<'_>) -> Result<Response, Refusal> {
    let limit = call.limit(10, 100)?;
    let archived = call.query("archived").is_some_and(|text| text.eq_ignore_ascii_case("true"));
    let after: u64 = match call.query("after").filter(|text| !text.is_empty()) {
        None => 0,
        Some(text) => text.parse().map_err(|_| Refusal::invalid("The after parameter is not a cursor of this list"))?,
    };
    let wanted = call.names("properties");
    let table = portal.table(kind);
    let seen = portal.read_time(call.now);
    let mut rows = Vec::with_capacity(limit);
    let mut next = None;
    let ids: Box<dyn Iterator<Item = u64> + '_> =
        if archived { Box::new(table.archived.range(after..).copied()) } else { Box::new(table.rows.range(after..).map(|(id, _)| *id)) };
    for id in ids {
        let Some((row, version)) = table.rows.get(&id).and_then(|row| Some((row, row.visible(seen)?))) else { continue };
        if version.archived.is_some() != archived {
            continue;
        }
        if rows.len() == limit {
            next = Some(id);
            break;
        }
        let mut out = portal.json(kind, id, row, version, &wanted);
        add_links(portal, kind, id, call, &mut out);
        rows.push(out);
    }
    let mut body = json!({});
    body["results"] = Value::Array(rows);
    if let Some(next) = next {
        body["paging"] = json!({ "next": { "after": next.to_string(), "link": format!("https://api.hubapi.com/crm/v3/objects/{}?after={next}", kind.plural()) } });
    }
    Ok(Response::json(200, &body))
}

/// `associations=deals` adds the associated ids.
fn add_links(portal: &Portal, kind: Kind, id: u64, call: &Call<'_>, out: &mut Value) {
    for name in call.names("associations") {
        let Some(to) = Kind::parse(&name) else { continue };
        let relation = format!("{}_to_{}", kind.singular(), to.singular());
        let links: Vec<Value> = portal.linked(kind, id, to).iter().map(|id| json!({ "id": id.to_string(), "type": relation })).collect();
        if !links.is_empty() {
            out["associations"][to.plural()] = json!({ "results": links });
        }
    }
}

/// Adds what the named properties were given, newest first.
pub(super) fn add_history(portal: &Portal, row: &Row, names: &[String], now: Millis, out: &mut Value) {
    for name in names {
        let past: Vec<Value> = row
            .history(name, portal.read_time(now))
            .map(|past| {
                json!({
                    "value": past.value,
                    "timestamp": iso(past.at),
                    "sourceType": past.by.word(),
                    "sourceId": portal.source_id(past.by),
                })
            })
            .collect();
        out["propertiesWithHistory"][name] = past.into();
    }
}

fn create(portal: &mut Portal, kind: Kind, call: &Call<'_>) -> Result<Response, Refusal> {
    let out = create_one(portal, kind, &call.body, call.now)?;
    Ok(Response::json(201, &out))
}

pub(super) fn create_one(portal: &mut Portal, kind: Kind, input: &Value, now: Millis) -> Result<Value, Refusal> {
    let changes = accepted(portal, kind, input)?;
    let mut links = Vec::new();
    for association in input.get("associations").and_then(Value::as_array).into_iter().flatten() {
        let to = association
            .pointer("/to/id")
            .and_then(id_of)
            .ok_or_else(|| Refusal::invalid("Invalid input JSON: association without to.id"))?;
        let type_id = association.pointer("/types/0/associationTypeId").and_then(Value::as_u64).unwrap_or_default() as u32;
        let kinds = Kind::ALL.into_iter().find(|to_kind| {
            Portal::default_type(kind, *to_kind) == type_id || (type_id == 1 && kind == Kind::Contact && *to_kind == Kind::Company)
        });
        let to_kind = kinds.ok_or_else(|| Refusal::invalid(format!("Association type {type_id} is not valid for {}", kind.plural())))?;
        portal.table(to_kind).live(to).ok_or_else(Refusal::not_found)?;
        links.push((to_kind, to, type_id));
    }
    if kind == Kind::Lead && !links.iter().any(|(kind, ..)| *kind == Kind::Contact) {
        return Err(Refusal::invalid("A lead must be associated with a contact (association type 578)."));
    }
    let names = changes.keys().cloned().collect::<Vec<_>>();
    let id = portal.create(kind, changes, By::Api, now)?;
    for (to_kind, to, type_id) in links {
        portal.link((kind, id), (to_kind, to), type_id, By::Api, now)?;
    }
    Ok(written(portal, kind, id, &names))
}

fn merge(portal: &mut Portal, kind: Kind, call: &Call<'_>) -> Result<Response, Refusal> {
    let id =
        |name: &str| call.body.get(name).and_then(id_of).ok_or_else(|| Refusal::invalid(format!("Invalid input JSON: {name} is required")));
    let id = portal.merge(kind, id("primaryObjectId")?, id("objectIdToMerge")?, By::Api, call.now)?;
    Ok(Response::json(200, &written(portal, kind, id, &[])))
}

/// An email that is not known goes on the list that refuses it for ever.
fn forget(portal: &mut Portal, call: &Call<'_>) -> Result<Response, Refusal> {
    let given =
        call.body.get("objectId").and_then(Value::as_str).ok_or_else(|| Refusal::invalid("Invalid input JSON: objectId is required"))?;
    let by_email = call.body.get("idProperty").and_then(Value::as_str) == Some("email");
    let table = portal.table(Kind::Contact);
    let id = if by_email { table.holder("email", given) } else { given.parse().ok().and_then(|id| table.live(id)).map(|(id, _)| id) };
    match id {
        Some(id) => portal.forget(id, By::Api, call.now),
        None if by_email => {
            portal.table_mut(Kind::Contact).blocked.insert(given.trim().to_lowercase());
        }
        None => return Err(Refusal::not_found()),
    }
    Ok(Response::empty(204))
}
