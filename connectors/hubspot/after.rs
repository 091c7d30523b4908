//! After a write: settling what is in doubt, erasing what we made.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use super::api::{self, Api, GENERAL, Outbox};
use super::error::{self, Problem};
use super::read::batch_read;
use super::write::made_since;
use crate::sdk::{Doubt, Effect, Fields, Heard, ItemResult, Made, Method, Millis, Output, Request, Response, Step, Tag, Talk, TalkFault};

/// Looks for creates of unknown outcome by their markers, which is not the search index: first among
/// the live records, then among the archived ones, so that a record that someone removed meanwhile
/// is not made again.
pub(super) struct Settle {
    api: Api,
    object: String,
    marker_field: String,
    items: Vec<Doubt>,
    /// How long a write may take to show, milliseconds.
    patience: Millis,
    archived: bool,
    out: Outbox,
}

impl Settle {
    pub fn new(api: Api, object: String, marker_field: String, items: Vec<Doubt>, patience: Millis) -> Self {
        let mut talk = Self { api, object, marker_field, items, patience, archived: false, out: Outbox::default() };
        talk.ask();
        talk
    }

    /// Asks for what is still in doubt, if anything is.
    fn ask(&mut self) {
        let markers: Vec<String> = self.items.iter().map(|doubt| doubt.marker.clone()).collect::<BTreeSet<_>>().into_iter().collect();
        if markers.is_empty() {
            return self.out.push(Step::Done(Output::Done));
        }
        let properties = std::slice::from_ref(&self.marker_field);
        let mut request = batch_read(&self.api, &self.object, &markers, Some(&self.marker_field), properties, &[]);
        if self.archived {
            request.url.push_str("?archived=true");
        }
        self.out.ask(request, Effect::Read, GENERAL);
    }

    /// Settles what the answer holds.
    fn find(&mut self, body: &Value) {
        let marker_of =
            |r: &Value| r.get("properties").and_then(|p| p.get(&self.marker_field)).and_then(Value::as_str).map(str::to_lowercase);
        let held: BTreeMap<String, &Value> = api::list(body, "results").iter().filter_map(|r| Some((marker_of(r)?, r))).collect();
        self.items.retain(|doubt| {
            let Some((found, id)) = held.get(&doubt.marker.to_lowercase()).and_then(|r| Some((r, api::id_of(r)?))) else { return true };
            // Our clock and the vendor's may differ a little.
            let made = made_since(found, Some(doubt.sent_at - self.patience));
            // An archived record from before is another story's end.
            if self.archived && made != Made::Created {
                return true;
            }
            self.out.push(Step::Item(doubt.key.clone(), ItemResult::Written { id, made, shadow: Fields::new() }));
            false
        });
    }

    fn end(&mut self, result: &ItemResult) {
        for doubt in std::mem::take(&mut self.items) {
            self.out.push(Step::Item(doubt.key, result.clone()));
        }
        self.out.push(Step::Done(Output::Done));
    }
}

impl Talk for Settle {
    fn step(&mut self) -> Step {
        self.out.next()
    }

    fn heard(&mut self, _: Tag, what: Heard<'_>) {
        let body = match what {
            // Whether archived records can be found by a unique property is not documented.
            Heard::Answer(response) if !response.is_success() && self.archived => return self.end(&ItemResult::Gone),
            Heard::Answer(response) if !response.is_success() => {
                return self.out.fail(error::fault("looking for a write in doubt", response));
            }
            Heard::Answer(response) => response.value(),
            Heard::NotSent(_) | Heard::Unknown => None,
        };
        let Some(body) = body else { return self.end(&ItemResult::InDoubt) };
        self.find(&body);
        if !api::list(&body, "errors").iter().map(Problem::read).all(|problem| problem.missing()) {
            self.end(&ItemResult::InDoubt);
        } else if self.archived {
            // A create that is still under way will meet the marker of one written meanwhile.
            self.end(&ItemResult::Gone);
        } else {
            self.archived = true;
            self.ask();
        }
    }
}

/// Archives one record that we made. HubSpot keeps it restorable for 90 days; its permanent form by
/// email is not used, because an unknown email would be put on a list that refuses it for ever.
pub(super) struct Erase {
    path: String,
    id: String,
    looked: bool,
    out: Outbox,
}

impl Erase {
    pub fn new(api: &Api, object: &str, id: String) -> Self {
        let path = api.record(object, &id);
        let mut out = Outbox::default();
        out.ask(Request::get(format!("{path}?properties=hs_object_id")), Effect::Read, GENERAL);
        Self { path, id, looked: false, out }
    }

    fn take(&mut self, response: &Response) -> Result<(), TalkFault> {
        if response.status == 404 || (self.looked && response.is_success()) {
            self.out.push(Step::Done(Output::Done));
            return Ok(());
        }
        if !response.is_success() {
            return Err(error::fault("removing a record", response));
        }
        // The id of a record that was merged away still answers, with the record that it went into:
        // removing that one would take the partner's own record.
        let now = response.value().as_ref().and_then(api::id_of).ok_or_else(|| TalkFault::unexpected("removing a record", response))?;
        if now != self.id {
            return Err(TalkFault {
                code: "merged".into(),
                message: "the record was merged into another one, which is not ours to remove; a person must decide there".into(),
                passing: false,
            });
        }
        self.looked = true;
        self.out.ask(Request::new(Method::Delete, self.path.clone()), Effect::Keyed(Vec::new()), GENERAL);
        Ok(())
    }
}

impl Talk for Erase {
    fn step(&mut self) -> Step {
        self.out.next()
    }

    fn heard(&mut self, _: Tag, what: Heard<'_>) {
        if let Err(fault) = api::response(what).and_then(|response| self.take(response)) {
            self.out.fail(fault);
        }
    }
}
