//! What surrounds the records: properties, pipelines, owners, the account, opt-outs.

use serde_json::{Value, json};

use super::answer::{Refusal, iso};
use super::crm::{Call, texts};
use super::links::unknown_type;
use super::portal::Portal;
use super::schema::{DEAL_STAGES, Kind, LEAD_STAGES, Property};
use crate::sdk::{Method, Millis, Response};

/// Unique properties that an admin may add to one object.
const MOST_UNIQUE: usize = 10;
const TYPES: [&str; 7] = ["string", "number", "date", "datetime", "enumeration", "bool", "phone_number"];
const OWNERS: [(&str, u64, &str, &str); 3] =
    [("70000001", 4711, "Ada", "Admin"), ("70000002", 4712, "Sam", "Seller"), ("70000003", 4713, "Kim", "Closer")];
const SUBSCRIPTIONS: [(u64, &str); 2] = [(100_001, "Marketing Information"), (100_002, "One to One")];

/// `/crm/…/properties/{type}/…`.
pub(super) fn properties(portal: &mut Portal, call: &Call<'_>) -> Result<Response, Refusal> {
    let [kind, rest @ ..] = call.rest else { return Err(Refusal::no_route()) };
    let kind = Kind::parse(kind).ok_or_else(|| unknown_type(kind))?;
    let table = portal.table_mut(kind);
    match (call.method, rest) {
        (Method::Get, []) => {
            let archived = call.query("archived").is_some_and(|text| text.eq_ignore_ascii_case("true"));
            let all: Vec<Value> = table.schema.iter().filter(|(_, p)| p.archived == archived).map(|(name, p)| p.json(name)).collect();
            Ok(Response::json(200, &json!({ "results": all })))
        }
        (Method::Post, []) => {
            let (name, property) = new_property(kind, &call.body, call.now)?;
            if table.schema.contains_key(&name) {
                return Err(Refusal::new(409, "OBJECT_ALREADY_EXISTS", format!("A property named '{name}' already exists.")));
            }
            if property.unique && table.schema.values().filter(|p| p.unique).count() >= MOST_UNIQUE {
                return Err(Refusal::invalid(format!("At most {MOST_UNIQUE} unique properties are allowed per object.")));
            }
            let out = property.json(&name);
            table.schema.insert(name, property);
            Ok(Response::json(201, &out))
        }
        (Method::Get, ["groups"]) => {
            let group = format!("{}information", kind.singular());
            Ok(Response::json(200, &json!({ "results": [{ "name": group, "label": group, "displayOrder": 0, "archived": false }] })))
        }
        (Method::Get, [name]) => {
            let property = table.schema.get(*name).filter(|p| !p.archived).ok_or_else(|| no_property(name))?;
            Ok(Response::json(200, &property.json(name)))
        }
        (Method::Patch, [name]) => {
            let property = table.schema.get_mut(*name).filter(|p| !p.archived).ok_or_else(|| no_property(name))?;
            if let Some(label) = call.body.get("label").and_then(Value::as_str) {
                label.clone_into(&mut property.label);
            }
            if call.body.get("options").is_some() {
                property.options = options(&call.body);
            }
            property.at = call.now;
            Ok(Response::json(200, &property.json(name)))
        }
        (Method::Delete, [name]) => {
            let property = table.schema.get_mut(*name).ok_or_else(|| no_property(name))?;
            if property.built_in {
                return Err(Refusal::invalid("A property that HubSpot defines cannot be archived."));
            }
            property.archived = true;
            Ok(Response::empty(204))
        }
        _ => Err(Refusal::no_route()),
    }
}

fn no_property(name: &str) -> Refusal {
    Refusal::new(404, "OBJECT_NOT_FOUND", format!("No property named {name} exists"))
}

fn options(body: &Value) -> Vec<(String, String)> {
    let text = |option: &Value, name: &str| option.get(name).and_then(Value::as_str).unwrap_or_default().to_owned();
    body.get("options")
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
        .map(|option| (text(option, "label"), text(option, "value")))
        .collect()
}

fn new_property(kind: Kind, body: &Value, now: Millis) -> Result<(String, Property), Refusal> {
    let text = |name: &str| {
        let given = body.get(name).and_then(Value::as_str).filter(|text| !text.is_empty());
        given.map(str::to_owned).ok_or_else(|| Refusal::invalid(format!("Invalid input JSON: {name} is required")))
    };
    let (name, label, group) = (text("name")?, text("label")?, text("groupName")?);
    let (type_name, field_kind) = (text("type")?, text("fieldType")?);
    let valid = name.starts_with(|c: char| c.is_ascii_lowercase())
        && name.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_');
    if !valid || name.len() > 100 {
        return Err(Refusal::invalid("Property names start with a letter and hold lower-case letters, digits and underscores only."));
    }
    if group != format!("{}information", kind.singular()) {
        return Err(Refusal::invalid(format!("Property group {group} does not exist")));
    }
    let type_name = TYPES
        .into_iter()
        .find(|known| *known == type_name)
        .ok_or_else(|| Refusal::invalid(format!("{type_name} is not a property type")))?;
    let options = options(body);
    if type_name == "enumeration" && options.is_empty() {
        return Err(Refusal::invalid("An enumeration needs options."));
    }
    let unique = body.get("hasUniqueValue").and_then(Value::as_bool).unwrap_or(false);
    let property = Property { label, kind: type_name, field_kind, options, ..Property::custom(&name, unique, &[], &group, now) };
    Ok((name, property))
}

/// `/crm/…/pipelines/{type}/…`.
pub(super) fn pipelines(call: &Call<'_>) -> Result<Response, Refusal> {
    let [kind, rest @ ..] = call.rest else { return Err(Refusal::no_route()) };
    let pipeline = match Kind::parse(kind) {
        Some(Kind::Deal) => {
            let stages: Vec<Value> = DEAL_STAGES
                .iter()
                .enumerate()
                .map(|(order, (id, label, closed, probability))| {
                    // The metadata's values are texts.
                    stage(id, label, order, &json!({ "isClosed": closed.to_string(), "probability": probability }))
                })
                .collect();
            one_pipeline("default", "Sales Pipeline", &stages)
        }
        Some(Kind::Lead) => {
            let stages: Vec<Value> = LEAD_STAGES
                .iter()
                .enumerate()
                .map(|(order, (id, label, state))| stage(id, label, order, &json!({ "leadState": state })))
                .collect();
            one_pipeline("lead-pipeline-id", "Lead pipeline", &stages)
        }
        _ => return Err(unknown_type(kind)),
    };
    let id = pipeline.get("id").and_then(Value::as_str).unwrap_or_default();
    match (call.method, rest) {
        (Method::Get, []) => Ok(Response::json(200, &json!({ "results": [pipeline] }))),
        (Method::Get, [given]) if *given == id => Ok(Response::json(200, &pipeline)),
        (Method::Get, [given, "stages"]) if *given == id => Ok(Response::json(200, &json!({ "results": pipeline["stages"] }))),
        _ => Err(Refusal::not_found()),
    }
}

fn stage(id: &str, label: &str, order: usize, metadata: &Value) -> Value {
    json!({
        "id": id,
        "label": label,
        "displayOrder": order,
        "metadata": metadata,
        "createdAt": iso(0),
        "updatedAt": iso(0),
        "archived": false,
        "writePermissions": "CRM_PERMISSIONS_ENFORCEMENT",
    })
}

fn one_pipeline(id: &str, label: &str, stages: &[Value]) -> Value {
    json!({
        "id": id,
        "label": label,
        "displayOrder": 0,
        "stages": stages,
        "createdAt": iso(0),
        "updatedAt": iso(0),
        "archived": false,
    })
}

/// `/crm/…/owners/…`.
pub(super) fn owners(call: &Call<'_>) -> Result<Response, Refusal> {
    let owner = |(id, user, first, last): &(&str, u64, &str, &str)| {
        json!({
            "id": id,
            "userId": user,
            "userIdIncludingInactive": user,
            "email": format!("{}@sandbox.example", first.to_lowercase()),
            "firstName": first,
            "lastName": last,
            "type": "PERSON",
            "archived": false,
            "createdAt": iso(0),
            "updatedAt": iso(0),
        })
    };
    match (call.method, call.rest) {
        (Method::Get, []) => {
            let email = call.query("email");
            let all = OWNERS.iter().map(owner).filter(|owner| email.is_none_or(|email| owner["email"] == email));
            Ok(Response::json(200, &json!({ "results": all.collect::<Vec<_>>() })))
        }
        (Method::Get, [id]) => {
            let found = OWNERS.iter().find(|(own, ..)| own == id).ok_or_else(Refusal::not_found)?;
            Ok(Response::json(200, &owner(found)))
        }
        _ => Err(Refusal::no_route()),
    }
}

/// `/account-info/…/details`.
pub(super) fn details(portal: &Portal) -> Response {
    Response::json(
        200,
        &json!({
            "portalId": portal.id,
            "accountType": "STANDARD",
            "timeZone": "Europe/Amsterdam",
            "companyCurrency": "EUR",
            "additionalCurrencies": [],
            "utcOffset": "+01:00",
            "utcOffsetMilliseconds": 3_600_000,
            "uiDomain": "app-eu1.hubspot.com",
            "dataHostingLocation": "eu1",
        }),
    )
}

/// `/communication-preferences/…`.
pub(super) fn preferences(portal: &mut Portal, call: &Call<'_>) -> Result<Response, Refusal> {
    match (call.method, call.rest) {
        (Method::Get, ["definitions"]) => {
            let all: Vec<Value> = SUBSCRIPTIONS
                .iter()
                .map(|(id, name)| json!({ "id": id.to_string(), "name": name, "isActive": true, "isDefault": true, "isInternal": false, "communicationMethod": "EMAIL", "purpose": "Marketing", "description": "", "createdAt": iso(0), "updatedAt": iso(0) }))
                .collect();
            Ok(Response::json(
                200,
                &json!({ "status": "COMPLETE", "results": all, "startedAt": iso(call.now), "completedAt": iso(call.now) }),
            ))
        }
        (Method::Post, ["statuses", "batch", "read"]) => {
            let each = |email: &String| json!({ "subscriberIdString": email, "statuses": statuses(portal, email, call.now)["results"] });
            let all: Vec<Value> = texts(&call.body, "inputs").iter().map(each).collect();
            Ok(Response::json(
                200,
                &json!({ "status": "COMPLETE", "results": all, "startedAt": iso(call.now), "completedAt": iso(call.now) }),
            ))
        }
        (Method::Get, ["statuses", email]) => Ok(Response::json(200, &statuses(portal, email, call.now))),
        (Method::Post, ["statuses", email, "unsubscribe-all"]) => {
            portal.opt_out(email, call.now);
            Ok(Response::json(200, &statuses(portal, email, call.now)))
        }
        (Method::Get, ["statuses", email, "unsubscribe-all"]) => {
            let status = if portal.opted_out.contains(&email.to_lowercase()) { "UNSUBSCRIBED" } else { "NOT_SPECIFIED" };
            let one = json!({ "channel": "EMAIL", "status": status, "subscriberIdString": email, "wideStatusType": "PORTAL_WIDE", "timestamp": iso(call.now) });
            Ok(Response::json(
                200,
                &json!({ "status": "COMPLETE", "results": [one], "startedAt": iso(call.now), "completedAt": iso(call.now) }),
            ))
        }
        (Method::Post, ["statuses", email]) => {
            let id = call.body.get("subscriptionId").and_then(Value::as_u64).unwrap_or_default();
            let wanted = call.body.get("statusState").and_then(Value::as_str).unwrap_or_default();
            let state = ["SUBSCRIBED", "UNSUBSCRIBED", "NOT_SPECIFIED"].into_iter().find(|state| *state == wanted);
            let (Some(state), true) = (state, SUBSCRIPTIONS.iter().any(|(own, _)| *own == id)) else {
                return Err(Refusal::invalid("Invalid input JSON: statusState or subscriptionId is not known"));
            };
            portal.optouts.insert((email.to_lowercase(), id), state);
            Ok(Response::json(200, &statuses(portal, email, call.now)))
        }
        _ => Err(Refusal::no_route()),
    }
}

fn statuses(portal: &Portal, email: &str, now: Millis) -> Value {
    let all: Vec<Value> = SUBSCRIPTIONS
        .iter()
        .map(|(id, name)| {
            let status = portal.optouts.get(&(email.to_lowercase(), *id)).unwrap_or(&"NOT_SPECIFIED");
            json!({
                "subscriptionId": id,
                "subscriptionName": name,
                "subscriberIdString": email,
                "channel": "EMAIL",
                "status": status,
                "source": "PUBLIC_STATUS_API",
                "timestamp": iso(now),
            })
        })
        .collect();
    json!({ "status": "COMPLETE", "results": all, "startedAt": iso(now), "completedAt": iso(now) })
}
