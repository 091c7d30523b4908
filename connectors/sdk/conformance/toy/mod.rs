//! A made-up vendor on which the suite is tried: right by default, and broken in one way at a time.

mod sandbox;

use std::collections::VecDeque;

use serde_json::{Value, json};

use super::samples::{Sample, email, fields};
use crate::Entry;
use crate::sdk::{
    Account, AccountFacts, Ask, Connector, Cursor, Doubt, Effect, FieldInfo, Fields, Finding, Heard, Hint, HintKind, Incoming, Item,
    ItemFault, ItemKey, ItemResult, Made, Manifest, Method, Millis, Op, Output, RawRequest, Record, Refused, Reply, Request, Response,
    Saved, State, Step, Talk, TalkFault, WebhookKey, signature,
};

/// The one thing that a toy does wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Defect {
    None,
    /// Pages by time alone: rows of one time that straddle a page are lost.
    LosesEqualTimes,
    /// Asks for nothing behind its cursor: rows that commit late are lost.
    NoOverlap,
    /// Says after a page how far it came by time alone: broken off, it reads again what it read before that, for ever.
    StartsAgain,
    /// Reads up to another end when it is taken up again: rows that commit late before that are lost.
    MovesItsWindow,
    /// Creates without looking, and says after a lost answer that nothing happened.
    TwinAfterTimeout,
    /// Sends the create again at once when its outcome is unknown.
    WritesAfterUnknown,
    /// Reads webhooks without checking the signature.
    BelievesForged,
    /// Checks the signature over the parsed body.
    Reserialises,
    /// Says twice what became of an item.
    SettlesTwice,
    /// Creates anew what it cannot update.
    RecreatesDeleted,
    /// Gives one invalid item's fault to the whole batch.
    SinksNeighbours,
    /// Takes a cut page for the last one.
    TrustsCutAnswers,
    /// Sends requests to a host that the manifest does not list.
    AsksElsewhere,
}

const MANIFEST: &str = r#"
name = "toy"
title = "Toy"
base_url = "https://api.toy.example"
api_version = "1"
host_suffixes = ["toy.example"]
objects = ["row"]

[auth]
kind = "oauth2"
authorize_url = "https://toy.example/authorize"
token_url = "https://api.toy.example/token"
scopes = ["rows"]
pkce = true
rotates = false

[[budget]]
name = "calls"
limit = 100
window_ms = 10000

[[response]]
status = [429]
contains = "day"
action = "wait"
wait_ms = 900000

[[response]]
status = [401]
action = "refresh_then_retry"

[poll]
overlap_ms = 300000
lag_ms = 30000
every_ms = 60000

[read]
batch = 20

[write]
safety = "lookup"
settle_after_ms = 120000
batch = 3
marker_field = "marker"

[webhook]
app_level = true
signed = true
max_age_ms = 300000
"#;

/// An entry of the registry for a toy; one function per defect, for the registry holds plain functions.
pub(super) fn entry(defect: Defect) -> Entry {
    macro_rules! connector {
        ($($name:ident)*) => {
            match defect { $(Defect::$name => || Box::new(Toy::new(Defect::$name)),)* }
        };
    }
    let connector: fn() -> Box<dyn Connector> = connector!(None LosesEqualTimes NoOverlap StartsAgain MovesItsWindow TwinAfterTimeout WritesAfterUnknown BelievesForged
        Reserialises SettlesTwice RecreatesDeleted SinksNeighbours TrustsCutAnswers AsksElsewhere);
    Entry { name: "toy", connector, sandbox: |_| Box::new(sandbox::ToySandbox::default()) }
}

/// What a record looks like there.
pub(super) fn sample(name: &str) -> Option<Sample> {
    (name == "toy").then_some(Sample {
        object: "row",
        beside: &[],
        base_url: "https://api.toy.example",
        tenant: None,
        person: |n| fields(json!({"email": email(n), "name": format!("Number {n}")})),
        email_field: "email",
        invalid: |_| fields(json!({"email": "not an address", "name": "Invalid"})),
        change: ("name", "Changed"),
        clear: ("note", "A note"),
        selection: ("status", "new", "lost"),
        missing_field: "nothing",
        missing_id: "999999",
        page: sandbox::PAGE,
        many: sandbox::PAGE * 4 + 7,
        follow: ("deal.stage", "won", || fields(json!({}))),
    })
}

struct Toy {
    manifest: Manifest,
    defect: Defect,
}

impl Toy {
    fn new(defect: Defect) -> Self {
        Self { manifest: Manifest::parse(MANIFEST).expect("the toy's manifest is fixed"), defect }
    }
}

impl Connector for Toy {
    fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    fn open(&self, op: &Op, _: &Account, _: Option<&Saved>) -> Result<Box<dyn Talk>, TalkFault> {
        if let Op::Follow { .. } = op {
            return Err(TalkFault { code: "not_supported".into(), message: "rows become nothing else".into(), passing: false });
        }
        let overlap = if self.defect == Defect::NoOverlap { 0 } else { self.manifest.poll.overlap_ms };
        let mut talk =
            ToyTalk { op: op.clone(), defect: self.defect, overlap, steps: VecDeque::new(), at: 0, to: 0, writing: false, stop: false };
        talk.begin();
        Ok(Box::new(talk))
    }

    fn webhook(&self, raw: &RawRequest, keys: &[WebhookKey], now: Millis) -> Result<Incoming, Refused> {
        if self.defect != Defect::BelievesForged {
            let given = raw.header("x-toy-signature").ok_or(Refused::Unsigned)?;
            let time = raw.header("x-toy-time").ok_or(Refused::Unsigned)?;
            let body = match serde_json::from_slice::<Value>(&raw.body) {
                Ok(value) if self.defect == Defect::Reserialises => value.to_string().into_bytes(),
                _ => raw.body.clone(),
            };
            let fits = |key: &WebhookKey| signature::hex_is(given, &signature::hmac_sha256(&key.secret, &[time.as_bytes(), &body]));
            if !keys.iter().any(fits) {
                return Err(Refused::Forged);
            }
            let sent: Millis = time.parse().map_err(|_| Refused::Stale)?;
            if (now - sent).abs() > 300_000 {
                return Err(Refused::Stale);
            }
        }
        let body: Value = serde_json::from_slice(&raw.body).map_err(|_| Refused::Unreadable)?;
        let text = |name: &str| body.get(name).and_then(Value::as_str).map(str::to_owned);
        let kind = match (text("kind").as_deref(), text("into")) {
            (Some("deleted"), _) => HintKind::Deleted,
            (Some("merged"), Some(into)) => HintKind::Merged(into),
            _ => HintKind::Changed,
        };
        let id = text("id").ok_or(Refused::Unreadable)?;
        let hint = Hint { account: text("account"), object: "row".into(), id, kind, occurred_at: None };
        Ok(Incoming { hints: vec![hint], reply: Reply::ok() })
    }

    fn account_facts(&self, tokens: &serde_json::Map<String, Value>) -> AccountFacts {
        AccountFacts { external_id: tokens.get("account").and_then(Value::as_str).map(str::to_owned), base_url: None }
    }
}

/// One talk: `steps` are what it has to say next, `at` the item or page it is at.
struct ToyTalk {
    op: Op,
    defect: Defect,
    overlap: Millis,
    steps: VecDeque<Step>,
    at: usize,
    /// The end of the window that a poll reads.
    to: Millis,
    /// Whether the ask under way is the write of the item, not the look before it.
    writing: bool,
    /// Nothing may be written any more in this talk.
    stop: bool,
}

impl Talk for ToyTalk {
    fn step(&mut self) -> Step {
        self.steps.pop_front().unwrap_or(Step::Wait)
    }

    fn heard(&mut self, _: u32, what: Heard<'_>) {
        match (self.op.clone(), what) {
            (Op::Write { items, marker_field, .. }, what) => self.wrote(&items, &marker_field, what),
            (Op::Settle { items, .. }, Heard::Answer(response)) => self.settled(&items, response),
            (op, Heard::Answer(response)) => self.read(&op, response),
            _ => self.failed("no answer"),
        }
    }
}

impl ToyTalk {
    fn ask(&mut self, request: Request, effect: Effect) {
        let mut request = request;
        if self.defect == Defect::AsksElsewhere {
            request.url = format!("https://elsewhere.example{}", request.url);
        }
        self.steps.push_back(Step::Ask(Ask { tag: 1, request, effect, cost: vec![("calls", 1)] }));
    }

    fn get(&mut self, path: String) {
        self.ask(Request::get(path), Effect::Read);
    }

    fn failed(&mut self, why: &str) {
        self.steps.push_back(Step::Failed(TalkFault { code: "unexpected_answer".into(), message: why.into(), passing: true }));
    }

    fn begin(&mut self) {
        match self.op.clone() {
            Op::Changes { cursor, from, until, selection, .. } => {
                // A window that was read to its end is kept as that, another as the row to go on behind.
                let cursor = cursor.map(|cursor| cursor.0).unwrap_or_default();
                let low = match &cursor["at"] {
                    Value::Null => cursor.as_i64().map_or(from, |at| at - self.overlap).to_string(),
                    at => format!("{at}&after={}", cursor["id"].as_str().unwrap_or_default()),
                };
                self.to = cursor["to"].as_i64().filter(|_| self.defect != Defect::MovesItsWindow).unwrap_or(until);
                let filter = selection.first().map_or(String::new(), |(field, values)| format!("&{field}={}", values.join(",")));
                self.get(format!("/rows?from={low}&to={}{filter}", self.to));
            }
            Op::Fetch { ids, .. } => self.get(format!("/rows/some?ids={}", ids.join(","))),
            Op::Find { field, value, .. } => self.get(format!("/rows/by?field={field}&value={}", encoded(&value))),
            Op::Describe { .. } | Op::Check { .. } => self.get("/fields".into()),
            Op::Erase { id, .. } => self.ask(Request::new(Method::Delete, format!("/rows/{id}")), Effect::Keyed(Vec::new())),
            Op::Settle { items, .. } => match items.get(self.at) {
                Some(doubt) => self.get(format!("/rows/by?field=marker&value={}", encoded(&doubt.marker))),
                None => self.steps.push_back(Step::Done(Output::Done)),
            },
            Op::Write { items, marker_field, .. } => self.next_item(&items, &marker_field),
            Op::Follow { .. } => self.failed("rows become nothing else"),
        }
    }

    fn next_item(&mut self, items: &[Item], marker_field: &str) {
        self.writing = false;
        let Some(item) = items.get(self.at) else { return self.steps.push_back(Step::Done(Output::Done)) };
        if self.stop {
            return self.item(items, marker_field, ItemResult::InDoubt);
        }
        match item {
            Item::Create { .. } if self.defect == Defect::TwinAfterTimeout => self.create(item, marker_field),
            Item::Create { marker, .. } => self.get(format!("/rows/by?field={marker_field}&value={}", encoded(marker))),
            Item::Update { id, fields, .. } => self.patch(item, id, fields),
        }
    }

    fn item(&mut self, items: &[Item], marker_field: &str, result: ItemResult) {
        let key: ItemKey = items[self.at].key().clone();
        self.steps.push_back(Step::Item(key.clone(), result.clone()));
        if self.defect == Defect::SettlesTwice {
            self.steps.push_back(Step::Item(key, result.clone()));
        }
        if let (Defect::SinksNeighbours, ItemResult::Refused(fault)) = (self.defect, result) {
            for other in &items[self.at + 1..] {
                self.steps.push_back(Step::Item(other.key().clone(), ItemResult::Refused(fault.clone())));
            }
            self.at = items.len();
        }
        self.at += 1;
        self.next_item(items, marker_field);
    }

    fn create(&mut self, item: &Item, marker_field: &str) {
        let mut body = item.fields().clone();
        if let Item::Create { marker, .. } = item {
            body.insert(marker_field.into(), marker.clone().into());
        }
        self.writing = true;
        self.ask(Request::json(Method::Post, "/rows", &body), Effect::Once(vec![item.key().clone()]));
    }

    fn patch(&mut self, item: &Item, id: &str, fields: &Fields) {
        self.writing = true;
        self.ask(Request::json(Method::Patch, format!("/rows/{id}"), fields), Effect::Keyed(vec![item.key().clone()]));
    }

    fn wrote(&mut self, items: &[Item], marker_field: &str, what: Heard<'_>) {
        let item = items[self.at].clone();
        let Heard::Answer(response) = what else {
            if !self.writing {
                return self.failed("no answer");
            }
            match self.defect {
                Defect::WritesAfterUnknown => return self.create(&item, marker_field),
                Defect::TwinAfterTimeout => {}
                _ => self.stop = true,
            }
            return self.item(items, marker_field, ItemResult::InDoubt);
        };
        if !self.writing {
            return match rows(response).as_deref() {
                Some([]) => self.create(&item, marker_field),
                Some([row, ..]) => self.patch(&item, &row.id.clone(), item.fields()),
                None => self.failed("no rows"),
            };
        }
        let result = match (response.status, &item) {
            (404 | 410, Item::Update { .. }) if self.defect == Defect::RecreatesDeleted => return self.create(&item, marker_field),
            (404 | 410, _) => ItemResult::Gone,
            (422, _) => ItemResult::Refused(ItemFault { code: "invalid".into(), fields: Vec::new(), passing: false, config: false }),
            _ => row(response.value().as_ref()).map_or(ItemResult::InDoubt, |row| ItemResult::Written {
                id: row.id,
                made: Made::Created,
                shadow: Fields::new(),
            }),
        };
        self.stop |= result == ItemResult::InDoubt;
        self.item(items, marker_field, result);
    }

    fn settled(&mut self, doubts: &[Doubt], response: &Response) {
        let Some(found) = rows(response) else { return self.failed("no rows") };
        let result = match found.into_iter().next() {
            Some(row) if self.defect != Defect::TwinAfterTimeout => {
                ItemResult::Written { id: row.id, made: Made::Created, shadow: Fields::new() }
            }
            _ => ItemResult::Gone,
        };
        self.steps.push_back(Step::Item(doubts[self.at].key.clone(), result));
        self.at += 1;
        self.begin();
    }

    fn read(&mut self, op: &Op, response: &Response) {
        let output = match op {
            Op::Changes { .. } => return self.page(response),
            Op::Erase { .. } => Some(Output::Done),
            Op::Describe { .. } => described(response).map(Output::Described),
            Op::Check { marker_field, fields, .. } => described(response).map(|known| {
                let named = |name: &String| Finding {
                    code: "field".into(),
                    ok: known.iter().any(|field| field.name == *name),
                    what: format!("the field {name}"),
                    fix: Some(format!("Settings, Fields, New: {name}")),
                };
                Output::Checked(fields.iter().chain([marker_field]).map(named).collect())
            }),
            _ => rows(response).map(Output::Records),
        };
        match output {
            Some(output) => self.steps.push_back(Step::Done(output)),
            None => self.failed("not as documented"),
        }
    }

    fn page(&mut self, response: &Response) {
        let until = self.to;
        let Some(page) = rows(response) else {
            if self.defect == Defect::TrustsCutAnswers {
                return self.steps.push_back(Step::Done(Output::Cursor(Cursor(until.into()))));
            }
            return self.failed("no rows");
        };
        let last = page.last().map(|row| (row.modified_at.unwrap_or(until), row.id.clone()));
        let full = page.len() == sandbox::PAGE;
        let cursor = match &last {
            Some((at, id)) if self.defect != Defect::StartsAgain => json!({"to": until, "at": at, "id": id}),
            last => last.as_ref().map_or(until, |(at, _)| *at).into(),
        };
        self.steps.push_back(Step::Page(page, Cursor(cursor)));
        match last.filter(|_| full) {
            None => self.steps.push_back(Step::Done(Output::Cursor(Cursor(until.into())))),
            Some((at, _)) if self.defect == Defect::LosesEqualTimes => self.get(format!("/rows?from={}&to={until}", at + 1)),
            Some((at, id)) => self.get(format!("/rows?from={at}&to={until}&after={id}")),
        }
    }
}

fn encoded(text: &str) -> String {
    url::form_urlencoded::byte_serialize(text.as_bytes()).collect()
}

fn described(response: &Response) -> Option<Vec<FieldInfo>> {
    let names: Vec<String> = serde_json::from_slice(&response.body).ok()?;
    let field = |name: String| FieldInfo {
        label: name.clone(),
        name,
        kind: "text".into(),
        options: Vec::new(),
        writable: true,
        required: false,
        unique: false,
        custom: false,
    };
    Some(names.into_iter().map(field).collect())
}

fn rows(response: &Response) -> Option<Vec<Record>> {
    response.value()?.as_array()?.iter().map(|value| row(Some(value))).collect()
}

fn row(value: Option<&Value>) -> Option<Record> {
    let value = value?;
    let modified_at = value.get("modified")?.as_i64();
    let state = match (value.get("into").and_then(Value::as_str), value.get("deleted").and_then(Value::as_bool)) {
        (Some(into), _) => State::Merged(into.into()),
        (None, Some(true)) => State::Deleted,
        _ => State::Live,
    };
    Some(Record {
        object: "row".into(),
        id: value.get("id")?.as_str()?.into(),
        fields: fields(value.get("fields")?.clone()),
        version: format!("{}", modified_at?),
        created_at: None,
        modified_at,
        state,
    })
}
