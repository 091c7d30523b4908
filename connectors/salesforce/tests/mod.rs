//! What the tests of the connector share: a driver of talks, and a simulated organisation.

mod recorded;
mod simulated;

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::{Salesforce, sandbox::SalesforceSandbox};
use crate::sdk::{
    Account, Act, Ask, Connector, Cursor, Fields, Heard, Item, ItemResult, Made, Millis, Op, Output, Record, Response, Sandbox,
    SandboxReply, SandboxRequest, Step, Talk, TalkFault,
};

pub const NOW: Millis = 1_778_066_964_500;
const MARKER: &str = "Leadshare_Id__c";

pub fn fields(value: Value) -> Fields {
    serde_json::from_value(value).unwrap()
}

/// What a talk said until its end.
#[derive(Debug, Default)]
pub struct Said {
    pub items: BTreeMap<String, ItemResult>,
    pub pages: Vec<(Vec<Record>, Cursor)>,
    pub end: Option<Result<Output, TalkFault>>,
    pub asks: usize,
}

impl Said {
    fn records(self) -> Vec<Record> {
        match self.end {
            Some(Ok(Output::Records(records))) => records,
            other => panic!("{other:?}"),
        }
    }

    fn cursor(&self) -> Cursor {
        match &self.end {
            Some(Ok(Output::Cursor(cursor))) => cursor.clone(),
            other => panic!("{other:?}"),
        }
    }

    fn all(&self) -> Vec<&Record> {
        self.pages.iter().flat_map(|(records, _)| records).collect()
    }
}

/// Runs a talk; `answer` says what comes of each ask, `None` for nothing.
pub fn run(mut talk: Box<dyn Talk>, mut answer: impl FnMut(&Ask) -> Option<Response>) -> Said {
    let mut said = Said::default();
    let mut open: Vec<Ask> = Vec::new();
    loop {
        match talk.step() {
            Step::Ask(ask) => {
                said.asks += 1;
                open.push(ask);
            }
            Step::Wait => {
                let ask = open.pop().expect("waits though everything was answered");
                let response = answer(&ask);
                talk.heard(ask.tag, response.as_ref().map_or(Heard::Unknown, Heard::Answer));
            }
            Step::Item(key, result) => assert!(said.items.insert(key, result).is_none(), "an item is settled once"),
            Step::Page(records, cursor) => said.pages.push((records, cursor)),
            Step::Done(output) => {
                said.end = Some(Ok(output));
                return said;
            }
            Step::Failed(fault) => {
                said.end = Some(Err(fault));
                return said;
            }
            other => panic!("{other:?}"),
        }
    }
}

fn account() -> Account {
    Account {
        base_url: "https://example.my.salesforce.com".into(),
        api_version: "v66.0".into(),
        external_id: None,
        tenant: None,
        scopes: vec!["api".into(), "refresh_token".into()],
    }
}

fn open(op: &Op) -> Box<dyn Talk> {
    Salesforce::new().open(op, &account(), None).unwrap()
}

/// An organisation with our marker field, and a session in it.
struct World {
    sandbox: SalesforceSandbox,
    token: String,
    now: Millis,
}

impl World {
    fn new() -> Self {
        let mut sandbox = SalesforceSandbox::new(7);
        let token = sandbox.token(NOW);
        let field = Act::DefineField { object: "Lead".into(), name: MARKER.into(), unique: true, options: Vec::new() };
        sandbox.act(field, NOW).unwrap();
        Self { sandbox, token, now: NOW }
    }

    fn send(&mut self, ask: &Ask) -> Option<Response> {
        let mut headers = ask.request.headers.clone();
        headers.push(("authorization".into(), format!("Bearer {}", self.token)));
        let (method, path, body) = (ask.request.method, ask.request.url.clone(), ask.request.body.clone());
        match self.sandbox.handle(&SandboxRequest { method, path, headers, body }, self.now) {
            SandboxReply::Answer(response) => Some(response),
            SandboxReply::Dropped => None,
        }
    }

    fn run(&mut self, op: &Op) -> Said {
        run(open(op), |ask| self.send(ask))
    }

    fn act(&mut self, act: Act) -> String {
        self.sandbox.act(act, self.now).unwrap()
    }

    fn lead(&mut self, extra: Value) -> String {
        let mut all = fields(json!({ "LastName": "Doe", "Company": "Acme" }));
        all.extend(fields(extra));
        self.act(Act::Create { object: "Lead".into(), fields: all })
    }

    fn update(&mut self, object: &str, id: &str, values: Value) {
        self.act(Act::Update { object: object.into(), id: id.into(), fields: fields(values) });
    }

    fn write(&mut self, items: Vec<Item>) -> Said {
        self.run(&Op::Write { object: "Lead".into(), marker_field: MARKER.into(), items })
    }

    fn changes(&mut self, cursor: Option<Cursor>) -> Said {
        let (from, until) = (NOW - 1_000, self.now - 5_000);
        let op = Op::Changes { object: "Lead".into(), cursor, from, until, fields: vec!["Email".into()], selection: Vec::new() };
        self.run(&op)
    }
}

fn create(key: &str, marker: &str, values: Value) -> Item {
    let mut all = fields(json!({ "LastName": "Doe", "Company": "Acme" }));
    all.extend(fields(values));
    Item::Create { key: key.into(), marker: marker.into(), fields: all }
}

fn update(key: &str, id: &str, values: Value) -> Item {
    Item::Update { key: key.into(), id: id.into(), fields: fields(values) }
}

fn id_of(result: &ItemResult) -> &str {
    match result {
        ItemResult::Written { id, made: Made::Created, .. } => id,
        other => panic!("{other:?}"),
    }
}
