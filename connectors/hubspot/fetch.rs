//! Reading records by id, with what stands beside them: a field's history, opt-outs, the newest deal.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use serde_json::{Value, json};

use super::api::{self, Api, BATCH, DEAL_PREFIX, GENERAL, Outbox};
use super::read::batch_read;
use crate::sdk::record::{Moment, beside_record, history_of};
use crate::sdk::{Account, Effect, Heard, Method, Output, Record, Request, State, Step, Tag, Talk, TalkFault};

/// HubSpot answers histories for at most this many records at once.
const BATCH_WITH_HISTORY: usize = 50;
/// The one fact beside a record that is known here.
pub(super) const PREFERENCES: &str = "communication_preferences";
/// Without it opt-outs are asked for one by one.
pub(super) const MANY_PREFERENCES_SCOPE: &str = "communication_preferences.statuses.batch.read";
/// The opt-out from all e-mail, which the statuses of single subscriptions need not show.
const OPTED_OUT: &str = "hs_email_optout";

/// What is read, by where it comes from.
struct Names {
    /// Properties to hand over.
    fields: Vec<String>,
    /// Properties whose history is wanted.
    histories: Vec<String>,
    /// Properties of the newest deal.
    deal: Vec<String>,
    preferences: bool,
}

impl Names {
    fn new(names: Vec<String>, follow: bool) -> Self {
        let mut sorted = Self { fields: Vec::new(), histories: Vec::new(), deal: Vec::new(), preferences: false };
        for name in names {
            if name == beside_record(PREFERENCES) {
                sorted.preferences = true;
            } else if let Some(field) = name.strip_suffix(&history_of("")) {
                sorted.histories.push(field.to_owned());
            } else if let Some(field) = name.strip_prefix(DEAL_PREFIX) {
                if follow {
                    sorted.deal.push(field.to_owned());
                }
            } else if !name.contains(api::NO_PROPERTY) {
                sorted.fields.push(name);
            }
        }
        sorted
    }
}

/// Reads records by id.
pub(super) struct Fetch {
    api: Api,
    object: String,
    names: Names,
    /// What is asked for in `properties`.
    properties: Vec<String>,
    many_preferences: bool,
    open: HashMap<Tag, Asked>,
    stage: Stage,
    records: Vec<Record>,
    /// Addresses by record id.
    emails: BTreeMap<String, String>,
    /// Words by address.
    statuses: BTreeMap<String, BTreeSet<String>>,
    /// Deal ids by the id of the record that they hang on.
    links: BTreeMap<String, Vec<String>>,
    deals: BTreeMap<String, Record>,
    out: Outbox,
}

enum Asked {
    Batch(Vec<String>),
    One(String),
    Preferences,
    Links,
    Deals,
}

/// What comes next once nothing is open.
#[derive(Clone, Copy)]
enum Stage {
    Beside,
    Deals,
    End,
}

impl Fetch {
    pub fn new(api: Api, object: String, ids: Vec<String>, names: Vec<String>, follow: bool, account: &Account) -> Self {
        let names = Names::new(names, follow);
        let mut properties = api::wanted(&object, &names.fields);
        properties.extend(names.histories.iter().filter(|name| !names.fields.contains(name)).cloned());
        if names.preferences {
            properties.extend(["email", OPTED_OUT].map(str::to_owned));
        }
        let mut talk = Self {
            api,
            object,
            names,
            properties,
            many_preferences: account.scopes.iter().any(|scope| scope == MANY_PREFERENCES_SCOPE),
            open: HashMap::new(),
            stage: Stage::Beside,
            records: Vec::new(),
            emails: BTreeMap::new(),
            statuses: BTreeMap::new(),
            links: BTreeMap::new(),
            deals: BTreeMap::new(),
            out: Outbox::default(),
        };
        let distinct: Vec<String> = ids.into_iter().collect::<BTreeSet<_>>().into_iter().collect();
        for chunk in distinct.chunks(if talk.names.histories.is_empty() { BATCH } else { BATCH_WITH_HISTORY }) {
            let request = batch_read(&talk.api, &talk.object, chunk, None, &talk.properties, &talk.names.histories);
            talk.ask(request, Asked::Batch(chunk.to_vec()));
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
            Asked::Batch(ids) => self.take_batch(ids, &api::answer("reading records", heard)?),
            Asked::One(id) => return self.take_one(&id, heard),
            Asked::Preferences => {
                let body = api::answer("reading opt-outs", heard)?;
                // One address is answered with its statuses, many with a list for each address.
                for result in api::list(&body, "results") {
                    let own = std::slice::from_ref(result);
                    let statuses = result.get("statuses").and_then(Value::as_array).map_or(own, Vec::as_slice);
                    let Some(email) = result.get("subscriberIdString").and_then(Value::as_str) else { continue };
                    let words = statuses.iter().filter_map(|status| status.get("status").and_then(Value::as_str));
                    self.statuses.entry(email.to_lowercase()).or_default().extend(words.map(str::to_owned));
                }
            }
            Asked::Links => {
                let body = api::answer("reading associated deals", heard)?;
                for result in api::list(&body, "results") {
                    let Some(from) = result.pointer("/from/id").and_then(api::id_text) else { continue };
                    let id = |to: &Value| to.get("toObjectId").or_else(|| to.get("id")).and_then(api::id_text);
                    self.links.entry(from.clone()).or_default().extend(api::list(result, "to").iter().filter_map(id));
                    if let Some(after) = api::next_after(result) {
                        self.ask_links(&[json!({ "id": from, "after": after })]);
                    }
                }
            }
            Asked::Deals => {
                let body = api::answer("reading deals", heard)?;
                let records = api::list(&body, "results").iter().filter_map(|r| api::record("deal", r, &self.names.deal));
                self.deals.extend(records.map(|record| (record.id.clone(), record)));
            }
        }
        Ok(())
    }

    fn take_batch(&mut self, ids: Vec<String>, body: &Value) {
        let results = api::list(body, "results");
        for id in ids {
            if let Some(result) = results.iter().find(|r| api::id_of(r).as_deref() == Some(&id)) {
                self.keep(result);
            } else if let Some(new) = results.iter().find(|r| api::merged_ids(r).contains(&id)).and_then(api::id_of) {
                self.merged(&id, new);
            } else {
                // Not there, or merged: only a read of the one record tells.
                let mut path = format!("{}?properties={}", self.api.record(&self.object, &id), api::escape(&self.properties.join(",")));
                if !self.names.histories.is_empty() {
                    path.push_str("&propertiesWithHistory=");
                    path.push_str(&api::escape(&self.names.histories.join(",")));
                }
                self.ask(Request::get(path), Asked::One(id));
            }
        }
    }

    fn take_one(&mut self, id: &str, heard: Heard<'_>) -> Result<(), TalkFault> {
        let response = api::response(heard)?;
        if response.status == 404 {
            self.records.push(api::ended(&self.object, id, State::Deleted, "missing".into()));
            return Ok(());
        }
        let body = api::answer("reading a record", heard)?;
        match api::id_of(&body) {
            Some(now) if now == id => self.keep(&body),
            Some(now) => self.merged(id, now),
            None => return Err(TalkFault::unexpected("reading a record", response)),
        }
        Ok(())
    }

    fn keep(&mut self, result: &Value) {
        let Some(mut record) = api::record(&self.object, result, &self.names.fields) else { return };
        for name in &self.names.histories {
            if let Some(moments) = moments(result, name) {
                record.fields.insert(history_of(name), moments);
            }
        }
        if self.names.preferences {
            let text = |name: &str| result.get("properties").and_then(|p| p.get(name)).and_then(Value::as_str);
            if let Some(email) = text("email") {
                self.emails.insert(record.id.clone(), email.to_lowercase());
                if text(OPTED_OUT) == Some("true") {
                    self.statuses.entry(email.to_lowercase()).or_default().insert("UNSUBSCRIBED".into());
                }
            }
        }
        self.records.push(record);
    }

    fn merged(&mut self, id: &str, new: String) {
        let version = format!("merged:{new}");
        self.records.push(api::ended(&self.object, id, State::Merged(new), version));
    }

    fn ask_links(&mut self, inputs: &[Value]) {
        self.ask(Request::json(Method::Post, self.api.associations(&self.object, "deal"), &json!({ "inputs": inputs })), Asked::Links);
    }

    /// Asks for what stands beside the records.
    fn ask_beside(&mut self) {
        let emails: Vec<String> = self.emails.values().cloned().collect::<BTreeSet<_>>().into_iter().collect();
        if self.many_preferences {
            for chunk in emails.chunks(BATCH) {
                let request = Request::json(Method::Post, self.api.preferences_of_many(), &json!({ "inputs": chunk }));
                self.ask(request, Asked::Preferences);
            }
        } else {
            for email in emails {
                self.ask(Request::get(self.api.preferences(&email)), Asked::Preferences);
            }
        }
        if !self.names.deal.is_empty() {
            let live = self.records.iter().filter(|record| record.state == State::Live);
            let inputs: Vec<Value> = live.map(|record| json!({ "id": record.id })).collect();
            for chunk in inputs.chunks(BATCH) {
                self.ask_links(chunk);
            }
        }
    }

    fn ask_deals(&mut self) {
        let ids: Vec<String> = self.links.values().flatten().cloned().collect::<BTreeSet<_>>().into_iter().collect();
        let properties = api::wanted("deal", &self.names.deal);
        for chunk in ids.chunks(BATCH) {
            self.ask(batch_read(&self.api, "deal", chunk, None, &properties, &[]), Asked::Deals);
        }
    }

    /// Enters the next stage once nothing is open, until something is asked or all is read.
    fn go_on(&mut self) {
        while self.open.is_empty() {
            match self.stage {
                Stage::Beside => {
                    self.stage = Stage::Deals;
                    self.ask_beside();
                }
                Stage::Deals => {
                    self.stage = Stage::End;
                    self.ask_deals();
                }
                Stage::End => {
                    self.attach();
                    self.out.push(Step::Done(Output::Records(std::mem::take(&mut self.records))));
                    return;
                }
            }
        }
    }

    /// Puts what stands beside a record into it. The newest deal by creation speaks for a record.
    fn attach(&mut self) {
        for record in self.records.iter_mut().filter(|record| record.state == State::Live) {
            if self.names.preferences {
                let words = self.emails.get(&record.id).and_then(|email| self.statuses.get(email));
                record.fields.insert(beside_record(PREFERENCES), json!(words.cloned().unwrap_or_default()));
            }
            let deals = self.links.get(&record.id).into_iter().flatten().filter_map(|id| self.deals.get(id));
            if let Some(newest) = deals.max_by_key(|deal| (deal.created_at, deal.id.len(), &deal.id)) {
                record.fields.extend(newest.fields.iter().map(|(name, value)| (format!("{DEAL_PREFIX}{name}"), value.clone())));
            }
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

/// A property's history, `None` where HubSpot gave none.
fn moments(result: &Value, name: &str) -> Option<Value> {
    let entries = result.get("propertiesWithHistory")?.get(name)?.as_array()?;
    let moments = entries.iter().filter_map(|entry| {
        let at = entry.get("timestamp").and_then(Value::as_str).and_then(api::millis)?;
        let by = entry.get("sourceType").and_then(Value::as_str).map(str::to_owned);
        Some(Moment { value: entry.get("value").cloned().unwrap_or_default(), at, by })
    });
    serde_json::to_value(moments.collect::<Vec<_>>()).ok()
}
