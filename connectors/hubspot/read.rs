//! Finding records by a field, and describing objects.

use serde_json::{Value, json};

use super::api::{self, Api, GENERAL, Outbox, SEARCH};
use super::error;
use crate::sdk::{Effect, FieldInfo, Heard, Method, Output, Record, Request, Step, Tag, Talk};

/// Most results of one search page.
const SEARCH_PAGE: u64 = 200;
/// Search answers at most this many results of one query.
const SEARCH_CAP: u64 = 10_000;

/// A batch read by id, or by a unique property.
pub(super) fn batch_read(
    api: &Api,
    object: &str,
    ids: &[String],
    id_property: Option<&str>,
    properties: &[String],
    histories: &[String],
) -> Request {
    let inputs: Vec<Value> = ids.iter().map(|id| json!({ "id": id })).collect();
    let mut body = json!({ "inputs": inputs, "properties": properties, "propertiesWithHistory": histories });
    if let Some(name) = id_property {
        body["idProperty"] = name.into();
    }
    Request::json(Method::Post, api.objects(object, "/batch/read"), &body)
}

/// Records whose field holds a value. A contact's email is looked up directly, where there is no
/// index to lag behind and secondary addresses count; anything else by search.
pub(super) struct Find {
    api: Api,
    object: String,
    field: String,
    value: String,
    fields: Vec<String>,
    by_key: bool,
    records: Vec<Record>,
    out: Outbox,
}

impl Find {
    pub fn new(api: Api, object: String, field: String, value: String, fields: Vec<String>) -> Self {
        let by_key = object == "contact" && field == "email";
        let mut talk = Self { api, object, field, value, fields, by_key, records: Vec::new(), out: Outbox::default() };
        if by_key {
            let properties = api::wanted(&talk.object, &talk.fields);
            let request = batch_read(&talk.api, &talk.object, std::slice::from_ref(&talk.value), Some("email"), &properties, &[]);
            talk.out.ask(request, Effect::Read, GENERAL);
        } else {
            talk.search(None);
        }
        talk
    }

    fn search(&mut self, after: Option<&str>) {
        let mut body = json!({
            "filterGroups": [{ "filters": [{ "propertyName": self.field, "operator": "EQ", "value": self.value }] }],
            "properties": api::wanted(&self.object, &self.fields),
            "limit": SEARCH_PAGE,
        });
        if let Some(after) = after {
            body["after"] = after.into();
        }
        let request = Request::json(Method::Post, self.api.objects(&self.object, "/search"), &body);
        self.out.ask(request, Effect::Read, SEARCH);
    }
}

impl Talk for Find {
    fn step(&mut self) -> Step {
        self.out.next()
    }

    fn heard(&mut self, _: Tag, what: Heard<'_>) {
        let body = match api::answer("finding records", what) {
            Ok(body) => body,
            Err(fault) => return self.out.fail(fault),
        };
        self.records.extend(api::list(&body, "results").iter().filter_map(|r| api::record(&self.object, r, &self.fields)));
        match api::next_after(&body) {
            // A value shared by more than the cap is no identity; what was read is enough to show that.
            Some(after) if !self.by_key && after.parse::<u64>().is_ok_and(|at| at + SEARCH_PAGE <= SEARCH_CAP) => self.search(Some(&after)),
            _ => self.out.push(Step::Done(Output::Records(std::mem::take(&mut self.records)))),
        }
    }
}

/// The object's properties.
pub(super) struct Describe {
    object: String,
    out: Outbox,
}

impl Describe {
    pub fn new(api: &Api, object: String) -> Self {
        let mut out = Outbox::default();
        out.ask(Request::get(api.properties(&object)), Effect::Read, GENERAL);
        Self { object, out }
    }
}

impl Talk for Describe {
    fn step(&mut self) -> Step {
        self.out.next()
    }

    fn heard(&mut self, _: Tag, what: Heard<'_>) {
        match api::answer("reading the properties", what) {
            Ok(body) => self.out.push(Step::Done(Output::Described(described(&self.object, &body)))),
            Err(fault) => self.out.fail(fault),
        }
    }
}

/// Reads a properties answer. HubSpot marks no property as required: what a create must carry shows
/// only as a 400.
pub(super) fn described(object: &str, body: &Value) -> Vec<FieldInfo> {
    let text = |value: &Value, name: &str| value.get(name).and_then(Value::as_str).unwrap_or_default().to_owned();
    let flag = |value: &Value, path: &str| value.pointer(path).and_then(Value::as_bool).unwrap_or(false);
    api::list(body, "results")
        .iter()
        .map(|property| {
            let name = text(property, "name");
            FieldInfo {
                label: text(property, "label"),
                kind: text(property, "type"),
                options: api::list(property, "options").iter().map(|option| text(option, "value")).collect(),
                writable: !flag(property, "/calculated") && !flag(property, "/modificationMetadata/readOnlyValue"),
                required: false,
                // A contact's email is kept unique though its definition does not say so.
                unique: flag(property, "/hasUniqueValue") || (object == "contact" && name == "email"),
                custom: !flag(property, "/hubspotDefined"),
                name,
            }
        })
        .collect()
}

/// Whether an answer to a read says that the account must be changed first.
pub(super) fn refused_for_scopes(heard: Heard<'_>) -> Option<Vec<String>> {
    let Heard::Answer(response) = heard else { return None };
    (response.status == 403).then(|| response.value().map(|body| error::Problem::read(&body).context).unwrap_or_default())
}
