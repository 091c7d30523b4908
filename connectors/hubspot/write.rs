//! Writing: batch upsert by the marker, batch update by id.
//!
//! Creates go through `batch/upsert` with the marker as `idProperty`, so that sending one twice
//! makes one record. What one batch may not hold twice (a marker, an id, an email) is spread over
//! several batches. A refused batch is narrowed: named culprits leave it, else it is halved.

use std::collections::{HashMap, HashSet, VecDeque};

use serde_json::{Value, json};

use super::api::{self, Api, BATCH, GENERAL, Outbox};
use super::error::Problem;
use crate::sdk::{Effect, Heard, Item, ItemFault, ItemKey, ItemResult, Made, Method, Millis, Output, Request, Response, Step, Tag, Talk};

/// A record that already carries our marker and is no older than this was made by an earlier try of
/// the same create.
const SAME_CREATE: Millis = 15 * 60_000;

/// Creates and updates.
pub(super) struct Write {
    api: Api,
    object: String,
    marker_field: String,
    items: Vec<Item>,
    queue: VecDeque<Turn>,
    asked: Option<Turn>,
    out: Outbox,
}

/// One request to come: indices into `items`.
#[derive(Debug)]
enum Turn {
    Upsert(Vec<usize>),
    Update(Vec<usize>),
    /// An update found nothing under its id: gone, or merged?
    Look(usize),
}

impl Write {
    pub fn new(api: Api, object: String, marker_field: String, items: Vec<Item>) -> Self {
        let (creates, updates): (Vec<usize>, Vec<usize>) = (0..items.len()).partition(|&i| matches!(items[i], Item::Create { .. }));
        let mut queue: VecDeque<Turn> = batches(&object, &items, &creates).into_iter().map(Turn::Upsert).collect();
        queue.extend(batches(&object, &items, &updates).into_iter().map(Turn::Update));
        let mut talk = Self { api, object, marker_field, items, queue, asked: None, out: Outbox::default() };
        talk.go_on();
        talk
    }

    fn go_on(&mut self) {
        let Some(turn) = self.queue.pop_front() else { return self.out.push(Step::Done(Output::Done)) };
        let (request, effect) = match &turn {
            Turn::Upsert(group) => (self.batch("/batch/upsert", group), Effect::Keyed(self.keys(group))),
            Turn::Update(group) => (self.batch("/batch/update", group), Effect::Keyed(self.keys(group))),
            Turn::Look(index) => {
                (Request::get(format!("{}?properties=hs_object_id", self.api.record(&self.object, self.name(*index)))), Effect::Read)
            }
        };
        self.out.ask(request, effect, GENERAL);
        self.asked = Some(turn);
    }

    fn keys(&self, group: &[usize]) -> Vec<ItemKey> {
        group.iter().map(|&i| self.items[i].key().clone()).collect()
    }

    /// What HubSpot knows the item by: marker or id.
    fn name(&self, index: usize) -> &str {
        match &self.items[index] {
            Item::Create { marker, .. } => marker,
            Item::Update { id, .. } => id,
        }
    }

    fn batch(&self, tail: &str, group: &[usize]) -> Request {
        let inputs: Vec<Value> = group
            .iter()
            .map(|&index| {
                let item = &self.items[index];
                let mut properties = api::properties(item.fields());
                let mut input = json!({ "id": self.name(index), "objectWriteTraceId": item.key() });
                if let Item::Create { marker, .. } = item {
                    input["idProperty"] = self.marker_field.as_str().into();
                    properties.insert(self.marker_field.clone(), marker.as_str().into());
                }
                input["properties"] = Value::Object(properties);
                input
            })
            .collect();
        Request::json(Method::Post, self.api.objects(&self.object, tail), &json!({ "inputs": inputs }))
    }

    fn settle(&mut self, index: usize, result: ItemResult) {
        self.out.push(Step::Item(self.items[index].key().clone(), result));
    }

    fn settle_all(&mut self, group: &[usize], result: &ItemResult) {
        for &index in group {
            self.settle(index, result.clone());
        }
    }

    fn take_batch(&mut self, group: Vec<usize>, again: fn(Vec<usize>) -> Turn, heard: Heard<'_>) {
        match heard {
            Heard::NotSent(_) => self.settle_all(&group, &ItemResult::Refused(passing("not_sent"))),
            Heard::Unknown => self.settle_all(&group, &ItemResult::InDoubt),
            Heard::Answer(response) if response.is_success() => match response.value() {
                Some(body) => self.take_results(group, again, &body),
                // Cut short: the vendor did it, but what it answered is lost.
                None => self.settle_all(&group, &ItemResult::InDoubt),
            },
            Heard::Answer(response) if response.status >= 500 => self.settle_all(&group, &ItemResult::InDoubt),
            Heard::Answer(response) => self.take_refusal(&group, again, response),
        }
    }

    /// A batch that was carried out, perhaps in part. Results come in any order.
    fn take_results(&mut self, group: Vec<usize>, again: fn(Vec<usize>) -> Turn, body: &Value) {
        let started = body.get("startedAt").and_then(Value::as_str).and_then(api::millis);
        let (results, errors) = (api::list(body, "results"), api::list(body, "errors"));
        let alone = group.len() == 1;
        let named = self.by_name(results);
        let mut unclear = Vec::new();
        for index in group {
            let result = self.names(index).iter().find_map(|name| named.get(name).copied());
            let result = result.or_else(|| results.first().filter(|_| alone && errors.is_empty()));
            if let Some(result) = result {
                let written = self.written(index, result, started);
                self.settle(index, written);
                continue;
            }
            let problem = errors.iter().map(Problem::read).find(|problem| self.is_named(index, problem) || alone);
            match problem {
                Some(problem) => self.refuse(index, 207, &problem),
                None if alone => self.settle(index, ItemResult::InDoubt),
                None => unclear.push(index),
            }
        }
        // Neither a result nor an error names these: alone there can be no doubt which answer is whose.
        for index in unclear.into_iter().rev() {
            self.queue.push_front(again(vec![index]));
        }
    }

    /// What may tell that a result is an item's, surest first.
    fn names(&self, index: usize) -> [Name; 2] {
        let item = &self.items[index];
        let own = match item {
            Item::Create { marker, .. } => Name::Marker(marker.to_ascii_lowercase()),
            Item::Update { id, .. } => Name::Id(id.clone()),
        };
        [Name::Trace(item.key().clone()), own]
    }

    /// Results by everything that may tell whose they are.
    fn by_name<'v>(&self, results: &'v [Value]) -> HashMap<Name, &'v Value> {
        let mut named = HashMap::with_capacity(results.len() * 3);
        for result in results {
            let text = |value: Option<&Value>| value.and_then(Value::as_str).map(str::to_owned);
            let marker = text(result.get("properties").and_then(|p| p.get(&self.marker_field)));
            let ids = api::id_of(result).into_iter().chain(api::merged_ids(result)).map(Name::Id);
            let marker = marker.map(|marker| Name::Marker(marker.to_ascii_lowercase()));
            for name in text(result.get("objectWriteTraceId")).map(Name::Trace).into_iter().chain(marker).chain(ids) {
                named.entry(name).or_insert(result);
            }
        }
        named
    }

    fn is_named(&self, index: usize, problem: &Problem) -> bool {
        let (key, name) = (self.items[index].key(), self.name(index));
        problem.context.iter().any(|value| value == key || value == name)
    }

    fn written(&self, index: usize, result: &Value, started: Option<Millis>) -> ItemResult {
        let Some(id) = api::id_of(result) else { return ItemResult::InDoubt };
        let item = &self.items[index];
        let made = match item {
            // Written to the record that the old id was merged into; from now on under its new id.
            Item::Update { id: known, .. } if *known != id => return ItemResult::Moved(id),
            Item::Update { .. } => Made::Unknown,
            Item::Create { .. } if result.get("new").and_then(Value::as_bool) == Some(true) => Made::Created,
            Item::Create { .. } => made_since(result, started.map(|at| at - SAME_CREATE)),
        };
        let held = result.get("properties");
        let shadow = item.fields().keys().filter_map(|name| Some((name.clone(), held?.get(name)?.clone()))).collect();
        ItemResult::Written { id, made, shadow }
    }

    fn refuse(&mut self, index: usize, status: u16, problem: &Problem) {
        match (&self.items[index], &problem.existing) {
            (Item::Create { .. }, Some(id)) => self.settle(index, ItemResult::Exists(id.clone())),
            (Item::Update { .. }, None) if status == 404 || problem.missing() => self.queue.push_front(Turn::Look(index)),
            _ => {
                let mut fault = problem.item_fault(status, &self.marker_field);
                // Another record has what was sent; of a contact that can only be the email.
                if problem.existing.is_some() && fault.fields.is_empty() && self.object == "contact" {
                    fault.fields.push("email".into());
                }
                self.settle(index, ItemResult::Refused(fault));
            }
        }
    }

    /// A batch of which nothing was done.
    fn take_refusal(&mut self, group: &[usize], again: fn(Vec<usize>) -> Turn, response: &Response) {
        let problem = response.value().map(|body| Problem::read(&body)).unwrap_or_default();
        if let [index] = group {
            return self.refuse(*index, response.status, &problem);
        }
        // These are about the account or the moment, not about an item: narrowing would not help.
        if matches!(response.status, 401 | 403 | 408 | 423 | 429) {
            return self.settle_all(group, &ItemResult::Refused(problem.item_fault(response.status, &self.marker_field)));
        }
        let unknown = problem.unknown_properties();
        let marker_unknown = unknown.contains(&self.marker_field.as_str());
        let (bad, good): (Vec<usize>, Vec<usize>) =
            group.iter().partition(|&&i| marker_unknown || unknown.iter().any(|name| self.items[i].fields().contains_key(*name)));
        if !bad.is_empty() {
            self.settle_all(&bad, &ItemResult::Refused(problem.item_fault(response.status, &self.marker_field)));
            if !good.is_empty() {
                self.queue.push_front(again(good));
            }
            return;
        }
        let half = group.len() / 2;
        self.queue.push_front(again(group[half..].to_vec()));
        self.queue.push_front(again(group[..half].to_vec()));
    }

    fn take_look(&mut self, index: usize, heard: Heard<'_>) {
        let result = match heard {
            Heard::Answer(response) if response.status == 404 => ItemResult::Gone,
            Heard::Answer(response) if response.is_success() => match response.value().as_ref().and_then(api::id_of) {
                Some(id) if id != self.name(index) => ItemResult::Moved(id),
                // There after all: the update may be tried again.
                _ => ItemResult::Refused(passing("OBJECT_NOT_FOUND")),
            },
            _ => ItemResult::Refused(passing("no_answer")),
        };
        self.settle(index, result);
    }
}

impl Talk for Write {
    fn step(&mut self) -> Step {
        self.out.next()
    }

    fn heard(&mut self, _: Tag, what: Heard<'_>) {
        match self.asked.take() {
            Some(Turn::Upsert(group)) => self.take_batch(group, Turn::Upsert, what),
            Some(Turn::Update(group)) => self.take_batch(group, Turn::Update, what),
            Some(Turn::Look(index)) => self.take_look(index, what),
            None => return,
        }
        self.go_on();
    }
}

/// What an item or a result is known by. One batch may name a marker, an id and an e-mail only once.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum Name {
    Trace(ItemKey),
    Marker(String),
    Id(String),
    Email(String),
}

/// Splits items so that no batch is too long or names a marker, an id or a contact's email twice.
fn batches(object: &str, items: &[Item], indices: &[usize]) -> Vec<Vec<usize>> {
    let mut batches: Vec<(Vec<usize>, HashSet<Name>)> = Vec::new();
    for &index in indices {
        let mut names: Vec<Name> = match &items[index] {
            Item::Create { marker, .. } => vec![Name::Marker(marker.clone())],
            Item::Update { id, .. } => vec![Name::Id(id.clone())],
        };
        if object == "contact"
            && let Some(email) = items[index].fields().get("email").and_then(Value::as_str)
        {
            names.push(Name::Email(email.trim().to_lowercase()));
        }
        let fits = batches.iter_mut().find(|(group, held)| group.len() < BATCH && names.iter().all(|name| !held.contains(name)));
        match fits {
            Some((group, held)) => {
                group.push(index);
                held.extend(names);
            }
            None => batches.push((vec![index], names.into_iter().collect())),
        }
    }
    batches.into_iter().map(|(group, _)| group).collect()
}

/// `Created` when a record with our marker is no older than `since`.
pub(super) fn made_since(result: &Value, since: Option<Millis>) -> Made {
    let created = result.get("createdAt").and_then(Value::as_str).and_then(api::millis);
    match (created, since) {
        (Some(created), Some(since)) if created >= since => Made::Created,
        _ => Made::Unknown,
    }
}

fn passing(code: &str) -> ItemFault {
    ItemFault { code: code.into(), fields: Vec::new(), passing: true, config: false }
}
