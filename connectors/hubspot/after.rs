//! After a write: settling what is in doubt, erasing what we made.

use serde_json::Value;

use super::api::{self, Api, GENERAL, Outbox};
use super::error::{self, Problem};
use super::read::batch_read;
use super::write::made_since;
use crate::sdk::{Doubt, Effect, Fields, Heard, ItemResult, Method, Millis, Output, Request, Response, Step, Tag, Talk, TalkFault};

/// Looks for creates of unknown outcome by their markers, which is not the search index.
pub(super) struct Settle {
    marker_field: String,
    items: Vec<Doubt>,
    /// How long a write may take to show, milliseconds.
    patience: Millis,
    out: Outbox,
}

impl Settle {
    pub fn new(api: &Api, object: &str, marker_field: String, items: Vec<Doubt>, patience: Millis) -> Self {
        let mut talk = Self { marker_field, items, patience, out: Outbox::default() };
        let mut markers: Vec<String> = talk.items.iter().map(|doubt| doubt.marker.clone()).collect();
        markers.sort_unstable();
        markers.dedup();
        if markers.is_empty() {
            talk.out.push(Step::Done(Output::Done));
        } else {
            let request = batch_read(api, object, &markers, Some(&talk.marker_field), std::slice::from_ref(&talk.marker_field), &[]);
            talk.out.ask(request, Effect::Read, GENERAL);
        }
        talk
    }

    fn look(&self, doubt: &Doubt, body: &Value) -> ItemResult {
        let held = |r: &&Value| r.get("properties").and_then(|p| p.get(&self.marker_field)).and_then(Value::as_str) == Some(&doubt.marker);
        if let Some((found, id)) = api::list(body, "results").iter().find(held).and_then(|r| Some((r, api::id_of(r)?))) {
            // Our clock and the vendor's may differ a little.
            let made = made_since(found, Some(doubt.sent_at - self.patience));
            return ItemResult::Written { id, made, shadow: Fields::new() };
        }
        let clear = api::list(body, "errors").iter().map(Problem::read).all(|problem| problem.missing());
        // A create that is still under way will meet the marker of one written meanwhile.
        if clear { ItemResult::Gone } else { ItemResult::InDoubt }
    }
}

impl Talk for Settle {
    fn step(&mut self) -> Step {
        self.out.next()
    }

    fn heard(&mut self, _: Tag, what: Heard<'_>) {
        let answer = match what {
            Heard::Answer(response) if !response.is_success() => {
                return self.out.fail(error::fault("looking for a write in doubt", response));
            }
            Heard::Answer(response) => response.value(),
            Heard::NotSent(_) | Heard::Unknown => None,
        };
        for doubt in std::mem::take(&mut self.items) {
            let result = answer.as_ref().map_or(ItemResult::InDoubt, |body| self.look(&doubt, body));
            self.out.push(Step::Item(doubt.key, result));
        }
        self.out.push(Step::Done(Output::Done));
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
