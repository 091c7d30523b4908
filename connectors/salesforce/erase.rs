//! Removing one record that we made.

use super::{
    desk::Desk,
    soql,
    wire::{self, Api},
};
use crate::sdk::{Effect, Heard, Method, Output, Request, Step, Tag, Talk, TalkFault};

/// One removal: into the recycle bin, which Salesforce empties after 15 days.
pub struct Erase {
    desk: Desk<()>,
}

impl Erase {
    pub fn open(api: &Api, object: &str, id: &str) -> Result<Self, TalkFault> {
        let mut desk = Desk::new();
        if soql::is_id(id) {
            let request = Request::new(Method::Delete, api.path(&format!("sobjects/{}/{id}", soql::name(object)?)));
            desk.ask(wire::signed(request), Effect::Keyed(Vec::new()), ());
        } else {
            desk.say(Step::Done(Output::Done));
        }
        Ok(Self { desk })
    }
}

impl Talk for Erase {
    fn step(&mut self) -> Step {
        self.desk.step()
    }

    fn heard(&mut self, tag: Tag, what: Heard<'_>) {
        const WHAT: &str = "removing a record";
        if self.desk.heard(tag).is_none() {
            return;
        }
        match what {
            Heard::Answer(response) => {
                let code = wire::first_error(response).map(|error| error.code);
                if response.is_success() || matches!(code.as_deref(), Some("ENTITY_IS_DELETED" | "NOT_FOUND")) {
                    self.desk.say(Step::Done(Output::Done));
                } else {
                    self.desk.fail(wire::fault(WHAT, response));
                }
            }
            Heard::NotSent(_) | Heard::Unknown => self.desk.fail(wire::no_answer(WHAT)),
        }
    }
}
