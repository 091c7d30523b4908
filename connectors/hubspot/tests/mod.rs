//! The connector against its simulator and against recorded shapes.

mod polling;
mod reading;
mod shapes;
mod simulator;
mod webhooks;
mod writing;

use serde_json::{Value, json};

use super::HubSpot;
use super::sandbox::HubSpotSandbox;
use crate::sdk::{
    Account, Act, Action, Connector, Cursor, Fields, Heard, Item, ItemResult, Method, Millis, Op, Output, Record, Response, Sandbox,
    SandboxReply, SandboxRequest, Step, TalkFault,
};

/// A point in time to start from.
pub(super) const START: Millis = 1_790_000_000_000;
pub(super) const MARKER: &str = "leadshare_id";

/// A connected account with a clock.
pub(super) struct World {
    pub connector: HubSpot,
    pub sandbox: Box<dyn Sandbox>,
    pub account: Account,
    pub now: Millis,
    token: String,
    /// Every request sent, as method, path and body.
    pub sent: Vec<(Method, String, Value)>,
}

/// What a talk came to.
#[derive(Debug)]
pub(super) struct Outcome {
    pub pages: Vec<Vec<Record>>,
    pub cursors: Vec<Cursor>,
    pub items: Vec<(String, ItemResult)>,
    pub end: Result<Output, TalkFault>,
}

impl Outcome {
    pub fn records(self) -> Vec<Record> {
        match self.end {
            Ok(Output::Records(records)) => records,
            other => panic!("no records: {other:?}"),
        }
    }

    pub fn item(&self, key: &str) -> &ItemResult {
        let mut found = self.items.iter().filter(|(k, _)| k == key);
        let result = found.next().unwrap_or_else(|| panic!("{key} was not settled: {:?}", self.items));
        assert!(found.next().is_none(), "{key} was settled twice");
        &result.1
    }
}

pub(super) fn fields(pairs: &[(&str, &str)]) -> Fields {
    pairs.iter().map(|(name, value)| ((*name).to_owned(), json!(value))).collect()
}

pub(super) fn create(key: &str, marker: &str, pairs: &[(&str, &str)]) -> Item {
    Item::Create { key: key.into(), marker: marker.into(), fields: fields(pairs) }
}

pub(super) fn update(key: &str, id: &str, pairs: &[(&str, &str)]) -> Item {
    Item::Update { key: key.into(), id: id.into(), fields: fields(pairs) }
}

impl World {
    /// An account with the marker's property.
    pub fn new() -> Self {
        Self::version("2026-09")
    }

    pub fn version(api_version: &str) -> Self {
        let mut sandbox: Box<dyn Sandbox> = Box::new(HubSpotSandbox::new(7));
        let token = sandbox.token(START);
        sandbox
            .act(Act::DefineField { object: "contact".into(), name: MARKER.into(), unique: true, options: vec![] }, START)
            .expect("the marker's property can be made");
        let account = Account {
            base_url: "https://api.hubapi.com".into(),
            api_version: api_version.into(),
            external_id: None,
            tenant: None,
            scopes: vec![],
        };
        Self { connector: HubSpot::new(), sandbox, account, now: START + 1_000, token, sent: vec![] }
    }

    pub fn act(&mut self, act: Act) -> String {
        self.sandbox.act(act, self.now).expect("a person may do this")
    }

    pub fn person(&mut self, pairs: &[(&str, &str)]) -> String {
        self.act(Act::Create { object: "contact".into(), fields: fields(pairs) })
    }

    pub fn change(&mut self, id: &str, pairs: &[(&str, &str)]) {
        self.act(Act::Update { object: "contact".into(), id: id.into(), fields: fields(pairs) });
    }

    /// Sends one request as the daemon would, one second later when it is told to wait.
    pub fn send(&mut self, method: Method, path: &str, body: &[u8]) -> Option<Response> {
        let request = SandboxRequest {
            method,
            path: path.into(),
            headers: vec![("authorization".into(), format!("Bearer {}", self.token))],
            body: body.to_vec(),
        };
        self.sent.push((method, path.to_owned(), serde_json::from_slice(body).unwrap_or(Value::Null)));
        loop {
            let SandboxReply::Answer(answer) = self.sandbox.handle(&request, self.now) else { return None };
            match self.connector.manifest().classify(&answer).action {
                Action::Wait => self.now += 1_000,
                Action::RefreshThenRetry => return self.refreshed(method, path, body),
                _ => return Some(answer),
            }
        }
    }

    fn refreshed(&mut self, method: Method, path: &str, body: &[u8]) -> Option<Response> {
        self.token = self.sandbox.token(self.now);
        self.send(method, path, body)
    }

    /// Runs an operation to its end.
    pub fn run(&mut self, op: &Op) -> Outcome {
        self.run_until(op, usize::MAX)
    }

    /// Runs an operation for at most so many pages, as if the process died then.
    pub fn run_until(&mut self, op: &Op, most_pages: usize) -> Outcome {
        let mut talk = self.connector.open(op, &self.account, None).expect("the operation can be opened");
        let mut outcome = Outcome { pages: vec![], cursors: vec![], items: vec![], end: Ok(Output::Done) };
        let mut asks = std::collections::VecDeque::new();
        loop {
            match talk.step() {
                Step::Ask(ask) => asks.push_back(ask),
                Step::Wait => {
                    let ask = asks.pop_back().expect("a talk that waits has asked for something");
                    let answer = self.send(ask.request.method, &ask.request.url, &ask.request.body);
                    match &answer {
                        Some(answer) => talk.heard(ask.tag, Heard::Answer(answer)),
                        None => talk.heard(ask.tag, Heard::Unknown),
                    }
                }
                Step::Page(page, cursor) => {
                    outcome.pages.push(page);
                    outcome.cursors.push(cursor);
                    if outcome.pages.len() >= most_pages {
                        return outcome;
                    }
                }
                Step::Item(key, result) => outcome.items.push((key, result)),
                Step::Save(_) | Step::Rest(..) => panic!("nothing here saves or rests"),
                Step::Done(output) => {
                    outcome.end = Ok(output);
                    return outcome;
                }
                Step::Failed(fault) => {
                    outcome.end = Err(fault);
                    return outcome;
                }
            }
        }
    }

    pub fn write(&mut self, items: Vec<Item>) -> Outcome {
        self.run(&Op::Write { object: "contact".into(), marker_field: MARKER.into(), items })
    }

    pub fn contacts(&self) -> usize {
        self.sandbox.records("contact").len()
    }

    /// How many requests went to paths that end so.
    pub fn count(&self, tail: &str) -> usize {
        self.sent.iter().filter(|(_, path, _)| path.ends_with(tail)).count()
    }
}
