//! Reading records by id or by a field, following them to their deals, and describing objects.

use std::collections::HashMap;

use serde_json::{Value, json};

use super::api::{self, Api, BATCH, GENERAL, Outbox, SEARCH};
use super::error;
use crate::sdk::{Effect, FieldInfo, Heard, Method, Output, Record, Request, State, Step, Tag, Talk, TalkFault};

/// Fields with this prefix are read from the newest deal of the record.
const DEAL_PREFIX: &str = "deal.";
/// Most results of one search page.
const SEARCH_PAGE: u64 = 200;
/// Search answers at most this many results of one query.
const SEARCH_CAP: u64 = 10_000;

/// A batch read by id, or by a unique property.
pub(super) fn batch_read(api: &Api, object: &str, ids: &[String], id_property: Option<&str>, properties: &[String]) -> Request {
    let inputs: Vec<Value> = ids.iter().map(|id| json!({ "id": id })).collect();
    let mut body = json!({ "inputs": inputs, "properties": properties, "propertiesWithHistory": [] });
    if let Some(name) = id_property {
        body["idProperty"] = name.into();
    }
    Request::json(Method::Post, api.objects(object, "/batch/read"), &body)
}

/// Reads records by id; with `follow` also the newest deal of each.
pub(super) struct Fetch {
    api: Api,
    object: String,
    fields: Vec<String>,
    deal_fields: Vec<String>,
    open: HashMap<Tag, Asked>,
    stage: Stage,
    records: Vec<Record>,
    /// Deal ids by the id of the record that they hang on.
    links: HashMap<String, Vec<String>>,
    deals: HashMap<String, Record>,
    out: Outbox,
}

enum Asked {
    Batch(Vec<String>),
    One(String),
    Links,
    Deals,
}

#[derive(Clone, Copy, PartialEq)]
enum Stage {
    Records,
    Links,
    Deals,
}

impl Fetch {
    pub fn new(api: Api, object: String, ids: Vec<String>, fields: Vec<String>, follow: bool) -> Self {
        let (deal_fields, fields): (Vec<_>, Vec<_>) =
            if follow { fields.into_iter().partition(|name| name.starts_with(DEAL_PREFIX)) } else { (Vec::new(), fields) };
        let deal_fields = deal_fields.iter().map(|name| name[DEAL_PREFIX.len()..].to_owned()).collect();
        let mut talk = Self {
            api,
            object,
            fields,
            deal_fields,
            open: HashMap::new(),
            stage: Stage::Records,
            records: Vec::new(),
            links: HashMap::new(),
            deals: HashMap::new(),
            out: Outbox::default(),
        };
        let properties = api::wanted(&talk.object, &talk.fields);
        let mut distinct = ids;
        distinct.sort_unstable();
        distinct.dedup();
        for chunk in distinct.chunks(BATCH) {
            talk.ask(batch_read(&talk.api, &talk.object, chunk, None, &properties), Asked::Batch(chunk.to_vec()));
        }
        talk.go_on();
        talk
    }

    fn ask(&mut self, request: Request, asked: Asked) {
        let tag = self.out.ask(request, Effect::Read, GENERAL);
        self.open.insert(tag, asked);
    }

    fn take(&mut self, asked: Asked, heard: Heard<'_>) -> Result<(), TalkFault> {
        match asked {
            Asked::Batch(ids) => {
                let body = api::answer("reading records", heard)?;
                let properties = api::wanted(&self.object, &self.fields);
                let results = api::list(&body, "results");
                for id in ids {
                    let direct = results.iter().find(|r| api::id_of(r).as_deref() == Some(&id));
                    let merged = results.iter().find(|r| api::merged_ids(r).contains(&id));
                    if let Some(record) = direct.and_then(|r| api::record(&self.object, r, &self.fields)) {
                        self.records.push(record);
                    } else if let Some(new) = merged.and_then(api::id_of) {
                        self.merged(&id, new);
                    } else {
                        // Not there, or merged: only a read of the one record tells.
                        let path = format!("{}?properties={}", self.api.record(&self.object, &id), api::escape(&properties.join(",")));
                        self.ask(Request::get(path), Asked::One(id));
                    }
                }
            }
            Asked::One(id) => {
                let response = api::response(heard)?;
                if response.status == 404 {
                    self.records.push(api::ended(&self.object, &id, State::Deleted, "missing".into()));
                } else {
                    let body = api::answer("reading a record", heard)?;
                    let record = api::record(&self.object, &body, &self.fields)
                        .ok_or_else(|| TalkFault::unexpected("reading a record", response))?;
                    if record.id == id { self.records.push(record) } else { self.merged(&id, record.id) }
                }
            }
            Asked::Links => {
                let body = api::answer("reading associated deals", heard)?;
                for result in api::list(&body, "results") {
                    let Some(from) = result.pointer("/from/id").and_then(api::id_text) else { continue };
                    let to = api::list(result, "to")
                        .iter()
                        .filter_map(|to| to.get("toObjectId").or_else(|| to.get("id")).and_then(api::id_text));
                    self.links.entry(from.clone()).or_default().extend(to);
                    if let Some(after) = api::next_after(result) {
                        self.ask_links(&[json!({ "id": from, "after": after })]);
                    }
                }
            }
            Asked::Deals => {
                let body = api::answer("reading deals", heard)?;
                let records = api::list(&body, "results").iter().filter_map(|r| api::record("deal", r, &self.deal_fields));
                self.deals.extend(records.map(|record| (record.id.clone(), record)));
            }
        }
        Ok(())
    }

    fn merged(&mut self, id: &str, new: String) {
        let version = format!("merged:{new}");
        self.records.push(api::ended(&self.object, id, State::Merged(new), version));
    }

    fn ask_links(&mut self, inputs: &[Value]) {
        self.ask(Request::json(Method::Post, self.api.associations(&self.object, "deal"), &json!({ "inputs": inputs })), Asked::Links);
    }

    /// Enters the next stage once nothing is open, until something is asked or all is read.
    fn go_on(&mut self) {
        while self.open.is_empty() {
            match self.stage {
                Stage::Records => {
                    self.stage = Stage::Links;
                    if self.deal_fields.is_empty() {
                        continue;
                    }
                    let live = self.records.iter().filter(|r| r.state == State::Live);
                    let inputs: Vec<Value> = live.map(|r| json!({ "id": r.id })).collect();
                    for chunk in inputs.chunks(BATCH) {
                        self.ask_links(chunk);
                    }
                }
                Stage::Links => {
                    self.stage = Stage::Deals;
                    let mut ids: Vec<String> = self.links.values().flatten().cloned().collect();
                    ids.sort_unstable();
                    ids.dedup();
                    let properties = api::wanted("deal", &self.deal_fields);
                    for chunk in ids.chunks(BATCH) {
                        self.ask(batch_read(&self.api, "deal", chunk, None, &properties), Asked::Deals);
                    }
                }
                Stage::Deals => {
                    self.attach_deals();
                    self.out.push(Step::Done(Output::Records(std::mem::take(&mut self.records))));
                    return;
                }
            }
        }
    }

    /// The newest deal by creation speaks for a record.
    fn attach_deals(&mut self) {
        for record in &mut self.records {
            let deals = self.links.get(&record.id).into_iter().flatten().filter_map(|id| self.deals.get(id));
            let Some(newest) = deals.max_by_key(|deal| (deal.created_at, deal.id.len(), &deal.id)) else { continue };
            record.fields.extend(newest.fields.iter().map(|(name, value)| (format!("{DEAL_PREFIX}{name}"), value.clone())));
        }
    }
}

impl Talk for Fetch {
    fn step(&mut self) -> Step {
        self.out.next()
    }

    fn heard(&mut self, tag: Tag, what: Heard<'_>) {
        let Some(asked) = self.open.remove(&tag) else { return };
        match self.take(asked, what) {
            Ok(()) => self.go_on(),
            Err(fault) => {
                self.open.clear();
                self.out.fail(fault);
            }
        }
    }
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
            let request = batch_read(&talk.api, &talk.object, std::slice::from_ref(&talk.value), Some("email"), &properties);
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
