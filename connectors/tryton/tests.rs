//! The connector against its simulator.

use serde_json::{Value, json};

use super::Tryton;
use super::changes::Place;
use super::fields::Wanted;
use super::sandbox::{DATABASE, TrytonSandbox};
use super::story::{Said, Server, play, tell};
use super::wire::{micros, plain};
use crate::sdk::{
    Account, Act, Connector, Cursor, Fault, Fields, Item, ItemResult, Method, Millis, Op, Output, RawRequest, Refused, Request, Response,
    Sandbox, SandboxReply, SandboxRequest, State,
};

const LEAD: &str = "sale.opportunity";

/// The simulator as a server whose clock goes on by a second with each look at it.
pub struct Simulated {
    pub sandbox: Box<dyn Sandbox>,
    pub key: String,
    pub now: Millis,
    pub requests: usize,
}

impl Simulated {
    pub fn new() -> Self {
        let mut sandbox = TrytonSandbox::new(7);
        let key = sandbox.token(0);
        Self { sandbox: Box::new(sandbox), key, now: 1_800_000_000_000, requests: 0 }
    }
}

impl Simulated {
    fn said(&mut self, op: &Op) -> Said {
        play(self, &account(), op).unwrap()
    }

    fn write(&mut self, item: Item) -> ItemResult {
        let op = Op::Write { object: LEAD.into(), marker_field: "reference".into(), items: vec![item] };
        self.said(&op).items.remove(0).1
    }

    fn update(&mut self, id: &str, of: Value) -> ItemResult {
        self.write(Item::Update { key: "k".into(), id: id.into(), fields: fields(of) })
    }

    fn person(&mut self, act: Act) -> String {
        self.sandbox.act(act, self.now).unwrap()
    }

    fn enter(&mut self, of: Value) -> String {
        self.person(Act::Create { object: LEAD.into(), fields: fields(of) })
    }

    fn poll(&mut self, cursor: Option<Cursor>) -> (Vec<(String, State)>, Cursor) {
        let until = self.now();
        let said =
            self.said(&Op::Changes { object: LEAD.into(), cursor, from: 1_700_000_000_000, until, fields: vec![], selection: vec![] });
        let Some(Ok(Output::Cursor(cursor))) = said.end else { panic!("{:?}", said.end) };
        (said.records.into_iter().map(|r| (r.id, r.state)).collect(), cursor)
    }
}

fn fields(of: Value) -> Fields {
    let Value::Object(of) = of else { return Fields::new() };
    of.into_iter().collect()
}

pub fn account() -> Account {
    Account {
        base_url: "http://tryton.example".into(),
        api_version: "8.2".into(),
        external_id: None,
        tenant: Some(DATABASE.into()),
        scopes: vec![],
    }
}

impl Server for Simulated {
    fn send(&mut self, request: &Request) -> Option<Response> {
        self.now += 10;
        self.requests += 1;
        let mut headers = request.headers.clone();
        headers.push(("authorization".into(), format!("bearer {}", self.key)));
        let request = SandboxRequest { method: request.method, path: request.url.clone(), headers, body: request.body.clone() };
        match self.sandbox.handle(&request, self.now) {
            SandboxReply::Answer(response) => Some(response),
            SandboxReply::Dropped => None,
        }
    }

    fn now(&mut self) -> Millis {
        self.now += 1000;
        self.now
    }
}

/// Breaks when connector and simulator disagree anywhere in a lead's life.
#[test]
fn the_story_holds_in_the_simulator() {
    tell(&mut Simulated::new(), &account(), "1").unwrap();
}

/// The same value with moments and days of the run taken out, so that two runs compare.
fn timeless(value: &Value) -> Value {
    match value {
        Value::Object(object) if matches!(object.get("__class__").and_then(Value::as_str), Some("datetime" | "date")) => {
            Value::String(object.get("__class__").and_then(Value::as_str).unwrap_or_default().to_owned())
        }
        Value::Object(object) => object.iter().map(|(name, value)| (name.clone(), timeless(value))).collect(),
        Value::Array(items) => items.iter().map(timeless).collect(),
        // Tryton answers rights and flags as 0 and 1 or as false and true, as the database likes.
        Value::Bool(flag) => Value::from(i64::from(*flag)),
        other => other.clone(),
    }
}

/// Whether everything that is said is said so in the full answer too.
fn part_of(part: &Value, full: &Value) -> bool {
    match (part, full) {
        (Value::Object(part), Value::Object(full)) => part.iter().all(|(name, value)| full.get(name).is_some_and(|f| part_of(value, f))),
        _ => part == full,
    }
}

/// Breaks when the simulator answers a recorded request in another way than the real server did.
#[test]
fn the_simulator_answers_as_the_real_server_did() {
    let transcript: Vec<Value> = serde_json::from_str(include_str!("fixtures/transcript.json")).unwrap();
    let mut simulated = Simulated::new();
    let mut wrong = Vec::new();
    for exchange in &transcript {
        let (why, request, real) = (&exchange["why"], &exchange["request"], &exchange["response"]);
        let path = request["path"].as_str().unwrap();
        let mut headers: Vec<(String, String)> =
            request["headers"].as_object().unwrap().iter().map(|(n, v)| (n.clone(), v.as_str().unwrap().to_owned())).collect();
        match request["key"].as_str() {
            None => headers.push(("authorization".into(), format!("bearer {}", simulated.key))),
            Some("") => {}
            Some(key) => headers.push(("authorization".into(), format!("bearer {key}"))),
        }
        let method = Method::parse(request["method"].as_str().unwrap()).unwrap();
        let body = request.get("body").map(|body| body.to_string().into_bytes()).unwrap_or_default();
        simulated.now += 1000;
        let request = SandboxRequest { method, path: path.into(), headers, body };
        let SandboxReply::Answer(answer) = simulated.sandbox.handle(&request, simulated.now) else { panic!("{why}: dropped") };
        if real["status"] != answer.status {
            let body = String::from_utf8_lossy(&answer.body);
            wrong.push(format!("{why}: {} {body}, the real one {} {}", answer.status, real["status"], real["json"]));
            continue;
        }
        let Some(real) = real.get("json").map(timeless) else { continue };
        let mut said = answer.value().map(|v| timeless(&v)).unwrap_or_default();
        if answer.status == 400 {
            said["description"] = real["description"].clone();
        }
        // Of preferences, descriptions and windows to open, the simulator says what connectors need.
        let partly = ["/fields_get", "/get_preferences", "/convert"].iter().any(|tail| path.ends_with(tail));
        if !(if partly { part_of(&said, &real) } else { said == real }) {
            wrong.push(format!("{why}: {said}, the real one {real}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(transcript.len() > 80, "{} exchanges", transcript.len());
}

/// Breaks when deleted leads are looked for by reading all, or one of them is missed, or a live one is said to be gone.
#[test]
fn the_poll_finds_deleted_leads_by_halving() {
    let mut simulated = Simulated::new();
    let ids: Vec<String> = (0..1500).map(|n| simulated.enter(json!({"description": format!("{n}")}))).collect();
    let (_, cursor) = simulated.poll(None);
    simulated.now += 3_600_000;
    let (_, cursor) = simulated.poll(Some(cursor));
    for n in [3, 700, 1499] {
        simulated.now += 1000;
        simulated.person(Act::Delete { object: LEAD.into(), id: ids[n].clone() });
    }
    let before = simulated.requests;
    let (seen, _) = simulated.poll(Some(cursor));
    let mut gone: Vec<&str> = seen.iter().filter(|(_, state)| *state == State::Deleted).map(|(id, _)| id.as_str()).collect();
    gone.sort_unstable();
    gone.dedup();
    let mut expected = [3, 700, 1499].map(|n| ids[n].as_str());
    expected.sort_unstable();
    assert_eq!(gone, expected);
    assert!(simulated.requests - before < 80, "{} requests", simulated.requests - before);
}

/// Breaks when a poll that is taken up in a window begun a moment ago reads most of that window again, or one of hours ago keeps what is
/// new since waiting.
#[test]
fn a_poll_taken_up_again_ends_its_window_first() {
    for (later, at_once) in [(60_000, false), (3_600_000, true)] {
        let mut simulated = Simulated::new();
        for n in 0..600 {
            simulated.enter(json!({"description": format!("{n}")}));
        }
        let until = simulated.now();
        let place = Place::Window { from: until - 3_600_000, until, after: 500, since: Some(until - 3_600_000) };
        simulated.now += later;
        let new = simulated.enter(json!({"description": "new"}));
        simulated.now += 1_000;
        let (seen, cursor) = simulated.poll(Some(Cursor(serde_json::to_value(place).unwrap())));
        assert_eq!(seen.iter().any(|(id, _)| *id == new), at_once);
        let (seen, _) = simulated.poll(Some(cursor));
        assert!(at_once || seen.iter().any(|(id, _)| *id == new));
    }
}

/// Breaks when a quiet poll costs more than a page and two counts for each of two moments.
#[test]
fn a_quiet_poll_is_cheap() {
    let mut simulated = Simulated::new();
    simulated.enter(json!({"description": "one"}));
    let (_, cursor) = simulated.poll(None);
    simulated.now += 3_600_000;
    let (_, cursor) = simulated.poll(Some(cursor));
    let before = simulated.requests;
    simulated.poll(Some(cursor));
    assert!(simulated.requests - before <= 7, "{} requests", simulated.requests - before);
}

/// Breaks when an update makes a party up where people have taken it away, or takes a lead for gone whose party was set aside.
#[test]
fn a_party_that_is_gone_is_not_made_again() {
    let mut simulated = Simulated::new();
    let id = simulated.enter(json!({"description": "Nobody"}));
    let result = simulated.update(&id, json!({"party.name": "Ann"}));
    assert!(matches!(&result, ItemResult::Refused(fault) if fault.code == "party_missing"), "{result:?}");
    let written = simulated.update(&id, json!({"description": "Somebody"}));
    assert!(matches!(written, ItemResult::Written { .. }), "{written:?}");

    let id = simulated.enter(json!({"party.name": "Ann"}));
    let aside = Request::json(Method::Put, "/crm/rest/model/party.party/3", &json!({"active": false}));
    assert!(simulated.send(&aside).unwrap().is_success());
    let result = simulated.update(&id, json!({"party.name": "Anna"}));
    assert!(matches!(&result, ItemResult::Refused(fault) if fault.code == "party_missing"), "{result:?}");
}

/// Breaks when a value that Tryton shows in its own form is written again and again.
#[test]
fn what_is_there_in_another_form_is_not_written() {
    let mut simulated = Simulated::new();
    let id = simulated.enter(json!({"description": "D", "amount": "100.50", "party.name": "Ann", "party.phone": "1"}));
    let before = simulated.sandbox.records(LEAD)[0].fields["write_date"].clone();
    let same = json!({"description": " D ", "amount": 100.5, "party.name": "Ann", "party.mobile": null});
    assert!(matches!(simulated.update(&id, same), ItemResult::Written { .. }));
    assert_eq!(simulated.sandbox.records(LEAD)[0].fields["write_date"], before);

    let wanted = Wanted::sort(&fields(json!({"party.phone": "+4930901820"}))).unwrap();
    let phone = json!({"id": 5, "type": "phone", "value": "+49 30 901820", "value_compact": "+4930901820"});
    let (change, adds) = wanted.change_party(&json!({"party": {"id": 1, "contact_mechanisms": [phone]}}));
    assert!(change.is_empty() && !adds, "{change:?}");
}

/// Breaks when a field without a place, or of a wrong type, reaches Tryton, which answers 500 to both.
#[test]
fn what_tryton_would_fail_on_is_refused_before() {
    let code = |of: Value| Wanted::sort(&fields(of)).map_err(|fault| (fault.code, fault.fields)).err();
    let refused = |code: &str, field: &str| Some((code.to_owned(), vec![field.to_owned()]));
    assert_eq!(code(json!({"amount": "much"})), refused("wrong_type", "amount"));
    assert_eq!(code(json!({"start_date": "tomorrow"})), refused("wrong_type", "start_date"));
    assert_eq!(code(json!({"party.email": 5})), refused("wrong_type", "party.email"));
    assert_eq!(code(json!({"party.code": "x"})), refused("not_writable", "party.code"));
    assert_eq!(code(json!({"currency.code": "EUR"})), refused("not_writable", "currency.code"));
    assert_eq!(code(json!({"state": "converted"})), refused("not_writable", "state"));
    assert_eq!(code(json!({"amount": "1e3", "comment": null, "conversion_probability": "0.5", "x_custom": {"any": 1}})), None);
}

/// Breaks when moments are read in another zone than UTC, or lose their digits.
#[test]
fn tagged_values_are_read_exactly() {
    let moment = json!({"__class__": "datetime", "year": 2026, "month": 11, "day": 20, "hour": 16, "minute": 48, "second": 27, "microsecond": 49206});
    assert_eq!(plain(&moment), json!("2026-11-20T16:48:27.049206Z"));
    assert_eq!(micros(&moment), Some(1_795_193_307_049_206));
    assert_eq!(plain(&json!({"__class__": "date", "year": 2026, "month": 1, "day": 2})), json!("2026-01-02"));
    assert_eq!(plain(&json!({"__class__": "Decimal", "decimal": "1200.50"})), json!("1200.50"));
    assert_eq!(plain(&json!({"__name__": "party.party", "id": 3, "name": "Ann"})), json!(3));
    assert_eq!(micros(&json!({"__class__": "datetime", "year": 2026, "month": 13})), None);
}

/// Breaks when a connection without a database, or an operation that Tryton has no notion of, gets as far as a request.
#[test]
fn what_cannot_be_done_is_refused_at_the_door() {
    let tryton = Tryton::new();
    let code = |op: &Op, account: &Account| tryton.open(op, account, None).err().map(|fault| fault.code);
    let describe = |object: &str| Op::Describe { object: object.into() };
    assert_eq!(code(&describe(LEAD), &Account { tenant: None, ..account() }), Some("no_database".into()));
    assert_eq!(code(&describe("party.party"), &account()), Some("not_supported".into()));
    let item = Item::Update { key: "k".into(), id: "1".into(), fields: Fields::new() };
    let two = Op::Write { object: LEAD.into(), marker_field: "reference".into(), items: vec![item.clone(), item.clone()] };
    assert_eq!(code(&two, &account()), Some("not_supported".into()));
    let elsewhere = Op::Write { object: LEAD.into(), marker_field: "number".into(), items: vec![item] };
    assert_eq!(code(&elsewhere, &account()), Some("not_supported".into()));
    let raw = RawRequest { method: Method::Post, url: "https://leads.example/hooks".into(), headers: vec![], body: vec![] };
    assert_eq!(tryton.webhook(&raw, &[], 0), Err(Refused::NotSupported));
}

/// Breaks when a wrong key or database is taken for passing trouble, and tried for ever.
#[test]
fn a_wrong_key_or_database_needs_a_person() {
    let mut simulated = Simulated::new();
    let op = Op::Find { object: LEAD.into(), field: "reference".into(), value: "x".into(), fields: vec![] };
    let fault = |said: Said| said.end.unwrap().unwrap_err();
    let elsewhere = Account { tenant: Some("other".into()), ..account() };
    let lost = fault(play(&mut simulated, &elsewhere, &op).unwrap());
    assert_eq!((lost.code.as_str(), lost.passing), ("not_found", false));
    simulated.sandbox.inject(Fault::RevokeGrants);
    let refused = fault(simulated.said(&op));
    assert_eq!((refused.code.as_str(), refused.passing), ("key_refused", false));
}
