//! Writing: creates as upserts by our marker, updates by id, both in collections of up to 200.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;
use serde_json::Value;

use super::{
    desk::Desk,
    soql,
    wire::{self, Api, ApiError, text},
};
use crate::sdk::{
    Effect, Fields, Heard, Item, ItemFault, ItemKey, ItemResult, Made, Method, Output, Request, Response, Step, Tag, Talk, TalkFault,
};

/// How many more requests one write may take to find the items that spoil a collection for the others.
const SPLITS: u32 = 32;

/// A record in the form that collections take: `attributes` must be the first key.
#[derive(Serialize)]
struct Row<'a> {
    attributes: Attributes<'a>,
    #[serde(flatten)]
    key: BTreeMap<&'a str, &'a str>,
    #[serde(flatten)]
    fields: &'a Fields,
}

#[derive(Serialize)]
struct Attributes<'a> {
    r#type: &'a str,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Collection<'a> {
    all_or_none: bool,
    records: Vec<Row<'a>>,
}

/// What an answer belongs to; numbers are places in `items`.
enum Part {
    /// One create, by the marker in the path; `again` when the marker itself was refused as a double.
    Alone { item: usize, again: bool },
    /// A collection, all creates or all updates.
    Together(Vec<usize>),
    /// Whether updates that the vendor could not place were deleted or merged.
    Whereabouts(Vec<(usize, ItemFault)>),
}

/// One write.
pub struct Write {
    api: Api,
    object: String,
    marker_field: String,
    items: Vec<Item>,
    splits: u32,
    desk: Desk<Part>,
}

impl Write {
    /// Names are checked; nothing is sent for an empty list.
    pub fn open(api: Api, object: &str, marker_field: &str, items: &[Item]) -> Result<Self, TalkFault> {
        let (object, marker_field) = (soql::name(object)?.to_owned(), soql::name(marker_field)?.to_owned());
        let (creates, updates): (Vec<_>, Vec<_>) = (0..items.len()).partition(|i| matches!(items.get(*i), Some(Item::Create { .. })));
        let mut talk = Self { api, object, marker_field, items: items.to_vec(), splits: 0, desk: Desk::new() };
        match creates.as_slice() {
            [] => {}
            // Alone, a duplicate is named at once.
            [item] => talk.alone(*item, false),
            _ => talk.together(creates),
        }
        if !updates.is_empty() {
            talk.together(updates);
        }
        talk.end_if_heard();
        Ok(talk)
    }

    fn keys(&self, items: &[usize]) -> Vec<ItemKey> {
        items.iter().filter_map(|i| self.items.get(*i)).map(|item| item.key().clone()).collect()
    }

    fn alone(&mut self, item: usize, again: bool) {
        let Some(Item::Create { marker, fields, key }) = self.items.get(item) else { return };
        let path = self.api.path(&format!("sobjects/{}/{}/{}", self.object, self.marker_field, wire::segment(marker)));
        let request = wire::signed(Request::json(Method::Patch, path, fields));
        let effect = Effect::Keyed(vec![key.clone()]);
        self.desk.ask(request, effect, Part::Alone { item, again });
    }

    fn together(&mut self, items: Vec<usize>) {
        let mut create = false;
        let mut records = Vec::with_capacity(items.len());
        for item in items.iter().filter_map(|i| self.items.get(*i)) {
            let key = match item {
                Item::Create { marker, .. } => (self.marker_field.as_str(), marker.as_str()),
                Item::Update { id, .. } => ("Id", id.as_str()),
            };
            create = matches!(item, Item::Create { .. });
            let attributes = Attributes { r#type: &self.object };
            records.push(Row { attributes, key: BTreeMap::from([key]), fields: item.fields() });
        }
        let path = if create { format!("composite/sobjects/{}/{}", self.object, self.marker_field) } else { "composite/sobjects".into() };
        let body = Collection { all_or_none: false, records };
        let mut request = wire::signed(Request::json(Method::Patch, self.api.path(&path), &body));
        if !create {
            // Assignment rules are for new leads: a change of ours never moves a lead to another owner.
            request = request.header("sforce-auto-assign", "FALSE");
        }
        let effect = Effect::Keyed(self.keys(&items));
        self.desk.ask(request, effect, Part::Together(items));
    }

    fn settle(&mut self, item: usize, result: ItemResult) {
        if let Some(item) = self.items.get(item) {
            self.desk.say(Step::Item(item.key().clone(), result));
        }
    }

    fn settle_all(&mut self, items: &[usize], result: &ItemResult) {
        for item in items {
            self.settle(*item, result.clone());
        }
    }

    fn end_if_heard(&mut self) {
        if self.desk.all_heard() {
            self.desk.say(Step::Done(Output::Done));
        }
    }

    /// One create was sent by itself.
    fn heard_alone(&mut self, item: usize, again: bool, response: &Response) {
        let body = response.value();
        match (response.status, body) {
            (200 | 201, Some(body)) if text_of(&body, "id").is_some() => self.settle(item, written(&body)),
            // More than one record carries the marker: the field is not unique there.
            (300, _) => self.settle(item, ItemResult::Refused(marker_not_unique(&self.marker_field))),
            (400..=499, Some(body)) => match wire::errors(&body).into_iter().next() {
                Some(error) => self.refused(item, &error, again, true),
                None => self.settle(item, ItemResult::Refused(unknown_refusal(response.status))),
            },
            // 204 is what versions before 46 answered: done, but the id is not said.
            _ => self.settle(item, ItemResult::InDoubt),
        }
    }

    /// The vendor refused one item. Duplicates are asked about once more, alone: only then are they named.
    fn refused(&mut self, item: usize, error: &ApiError, again: bool, alone: bool) {
        let create = matches!(self.items.get(item), Some(Item::Create { .. }));
        match error.code.as_str() {
            "DUPLICATES_DETECTED" if create => match error.matches.iter().find(|(object, _)| *object == self.object) {
                Some((_, id)) => self.settle(item, ItemResult::Exists(id.clone())),
                None if error.matches.is_empty() && !alone => self.alone(item, again),
                None => self.settle(item, ItemResult::Refused(error.item_fault())),
            },
            // Two upserts of one marker at once: the second finds the first when it is sent again.
            "DUPLICATE_VALUE" if create && !again => self.alone(item, true),
            _ => self.settle(item, ItemResult::Refused(error.item_fault())),
        }
    }

    /// A collection was answered.
    fn heard_together(&mut self, items: Vec<usize>, response: &Response) {
        let results = response.value();
        match (response.status, results) {
            (200, Some(Value::Array(results))) if results.len() == items.len() => {
                let mut lost = Vec::new();
                for (item, result) in items.into_iter().zip(&results) {
                    if text_of(result, "id").is_some() && result.get("success") == Some(&Value::Bool(true)) {
                        self.settle(item, written(result));
                        continue;
                    }
                    match wire::errors(result.get("errors").unwrap_or(&Value::Null)).into_iter().next() {
                        Some(error) if self.may_be_elsewhere(item, &error) => lost.push((item, error.item_fault())),
                        Some(error) => self.refused(item, &error, false, false),
                        None => self.settle(item, ItemResult::InDoubt),
                    }
                }
                self.look_for(lost);
            }
            (400..=499, Some(body)) => {
                let error = wire::errors(&body).into_iter().next();
                let fault = error.as_ref().map_or_else(|| unknown_refusal(response.status), ApiError::item_fault);
                self.refused_together(&items, fault, response.status);
            }
            _ => self.settle_all(&items, &ItemResult::InDoubt),
        }
    }

    /// The whole collection was refused, and none of it done. One item may have spoilt it for the
    /// others, so the ones that cannot be to blame are sent again.
    fn refused_together(&mut self, items: &[usize], fault: ItemFault, status: u16) {
        let named = |item: &usize| {
            let fields = self.items.get(*item).map(Item::fields);
            fields.is_some_and(|fields| fields.keys().any(|name| fault.fields.iter().any(|f| f.eq_ignore_ascii_case(name))))
        };
        let (guilty, others): (Vec<usize>, Vec<usize>) = items.iter().partition(|item| named(item));
        if status != 400 || fault.passing || items.len() < 2 {
            self.settle_all(items, &ItemResult::Refused(fault));
        } else if !guilty.is_empty() {
            self.settle_all(&guilty, &ItemResult::Refused(fault));
            if !others.is_empty() {
                self.together(others);
            }
        } else if self.splits < SPLITS {
            self.splits += 2;
            let (first, second) = items.split_at(items.len() / 2);
            self.together(first.to_vec());
            self.together(second.to_vec());
        } else {
            self.settle_all(items, &ItemResult::Refused(ItemFault { passing: true, ..fault }));
        }
    }

    /// Whether an update failed in a way that a deleted or merged record explains.
    fn may_be_elsewhere(&self, item: usize, error: &ApiError) -> bool {
        matches!(self.items.get(item), Some(Item::Update { id, .. }) if soql::is_id(id))
            && matches!(error.code.as_str(), "ENTITY_IS_DELETED" | "INVALID_CROSS_REFERENCE_KEY" | "NOT_FOUND" | "MALFORMED_ID")
    }

    fn look_for(&mut self, lost: Vec<(usize, ItemFault)>) {
        let ids: BTreeSet<&str> = lost
            .iter()
            .filter_map(|(item, _)| match self.items.get(*item) {
                Some(Item::Update { id, .. }) => Some(id.as_str()),
                _ => None,
            })
            .collect();
        // At most 200 ids: one list.
        let Some(list) = soql::lists(ids).into_iter().next() else { return };
        let soql = format!("SELECT Id, IsDeleted, MasterRecordId FROM {} WHERE Id IN ({list})", self.object);
        self.desk.read(self.api.query(&soql, true), Part::Whereabouts(lost));
    }

    fn heard_whereabouts(&mut self, lost: Vec<(usize, ItemFault)>, response: &Response) {
        let Ok(page) = wire::page("looking for deleted records", response) else { return self.unsure(lost) };
        for (item, fault) in lost {
            let Some(Item::Update { id, .. }) = self.items.get(item) else { continue };
            let row = page.rows.iter().find(|row| text(row, "Id").is_some_and(|found| found.get(..15) == id.get(..15)));
            let result = match row {
                None => ItemResult::Gone,
                Some(row) if row.get("IsDeleted") != Some(&Value::Bool(true)) => ItemResult::Refused(fault),
                Some(row) => text(row, "MasterRecordId").map_or(ItemResult::Gone, |winner| ItemResult::Moved(winner.to_owned())),
            };
            self.settle(item, result);
        }
    }

    /// It was refused, and why could not be looked up: try again later.
    fn unsure(&mut self, lost: Vec<(usize, ItemFault)>) {
        for (item, fault) in lost {
            self.settle(item, ItemResult::Refused(ItemFault { passing: true, ..fault }));
        }
    }
}

fn text_of<'a>(value: &'a Value, key: &str) -> Option<&'a str> {
    value.get(key)?.as_str()
}

/// A record that already carried our marker is one that we made, so `created: false` says nothing else.
fn written(result: &Value) -> ItemResult {
    let id = text_of(result, "id").unwrap_or_default().to_owned();
    ItemResult::Written { id, made: Made::Created, shadow: Fields::new() }
}

fn marker_not_unique(field: &str) -> ItemFault {
    ItemFault { code: "MARKER_NOT_UNIQUE".into(), fields: vec![field.to_owned()], passing: false, config: true }
}

fn unknown_refusal(status: u16) -> ItemFault {
    ItemFault { code: format!("HTTP_{status}"), fields: Vec::new(), passing: false, config: false }
}

fn not_sent() -> ItemResult {
    ItemResult::Refused(ItemFault { code: "NOT_SENT".into(), fields: Vec::new(), passing: true, config: false })
}

impl Talk for Write {
    fn step(&mut self) -> Step {
        self.desk.step()
    }

    fn heard(&mut self, tag: Tag, what: Heard<'_>) {
        let Some(part) = self.desk.heard(tag) else { return };
        match (part, what) {
            (Part::Alone { item, again }, Heard::Answer(response)) => self.heard_alone(item, again, response),
            (Part::Together(items), Heard::Answer(response)) => self.heard_together(items, response),
            (Part::Whereabouts(lost), Heard::Answer(response)) => self.heard_whereabouts(lost, response),
            (Part::Whereabouts(lost), _) => self.unsure(lost),
            (Part::Alone { item, .. }, Heard::NotSent(_)) => self.settle(item, not_sent()),
            (Part::Together(items), Heard::NotSent(_)) => self.settle_all(&items, &not_sent()),
            (Part::Alone { item, .. }, Heard::Unknown) => self.settle(item, ItemResult::InDoubt),
            (Part::Together(items), Heard::Unknown) => self.settle_all(&items, &ItemResult::InDoubt),
        }
        self.end_if_heard();
    }
}
