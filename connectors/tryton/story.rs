//! A lead's whole life, told to a Tryton through the connector: the same story runs against the
//! simulator here and against the real server in the daemon's tests, so that neither can drift.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::Tryton;
use super::wire::{OPPORTUNITY, PARTY, Rest};
use crate::sdk::{
    Account, Connector, Cursor, Doubt, Fields, Finding, Heard, Item, ItemResult, Made, Millis, Op, Output, Record, Request, Response,
    Saved, State, Step, TalkFault,
};

/// A Tryton that answers: the story adds no authorization.
pub trait Server {
    /// Sends a request with the key, waits for the answer; `None` when none came.
    fn send(&mut self, request: &Request) -> Option<Response>;
    /// The time at the server.
    fn now(&mut self) -> Millis;
}

/// What a talk said until its end.
#[derive(Debug, Default)]
pub struct Said {
    /// The end.
    pub end: Option<Result<Output, TalkFault>>,
    /// Items of a write.
    pub items: Vec<(String, ItemResult)>,
    /// Pages of a poll.
    pub records: Vec<Record>,
    /// The last saved state.
    pub saved: Option<Saved>,
}

/// Plays one operation to its end.
///
/// # Errors
/// When the connector refuses to open it.
pub fn play(server: &mut dyn Server, account: &Account, op: &Op) -> Result<Said, String> {
    let mut talk = Tryton::new().open(op, account, None).map_err(|fault| fault.to_string())?;
    let mut said = Said::default();
    let mut asked = Vec::new();
    loop {
        match talk.step() {
            Step::Ask(ask) => asked.push(ask),
            Step::Wait => {
                if asked.is_empty() {
                    return Err("the talk waits for nothing".into());
                }
                for ask in std::mem::take(&mut asked) {
                    match server.send(&ask.request) {
                        Some(response) => talk.heard(ask.tag, Heard::Answer(&response)),
                        None => talk.heard(ask.tag, Heard::Unknown),
                    }
                }
            }
            Step::Save(saved) | Step::Rest(_, saved) => said.saved = Some(saved),
            Step::Page(records, _) => said.records.extend(records),
            Step::Item(key, result) => said.items.push((key, result)),
            Step::Done(output) => {
                said.end = Some(Ok(output));
                return Ok(said);
            }
            Step::Failed(fault) => {
                said.end = Some(Err(fault));
                return Ok(said);
            }
        }
    }
}

/// The story's narrator.
struct Teller<'s> {
    server: &'s mut dyn Server,
    account: Account,
    rest: Rest,
    run: String,
}

fn same<T: PartialEq + std::fmt::Debug>(what: &str, is: &T, should: &T) -> Result<(), String> {
    if is == should { Ok(()) } else { Err(format!("{what}: is {is:?}, should be {should:?}")) }
}

fn fields(of: &Value) -> Fields {
    of.as_object().cloned().unwrap_or_default().into_iter().collect()
}

impl Teller<'_> {
    fn play(&mut self, op: &Op) -> Result<Said, String> {
        play(self.server, &self.account, op)
    }

    fn output(&mut self, op: &Op) -> Result<Output, String> {
        match self.play(op)?.end {
            Some(Ok(output)) => Ok(output),
            other => Err(format!("{op:?} ended in {other:?}")),
        }
    }

    fn fault(&mut self, op: &Op) -> Result<String, String> {
        match self.play(op)?.end {
            Some(Err(fault)) => Ok(fault.code),
            other => Err(format!("{op:?} ended in {other:?}")),
        }
    }

    fn records(&mut self, op: &Op) -> Result<Vec<Record>, String> {
        match self.output(op)? {
            Output::Records(records) => Ok(records),
            other => Err(format!("not records: {other:?}")),
        }
    }

    fn item(&mut self, op: &Op) -> Result<ItemResult, String> {
        let said = self.play(op)?;
        match said.items.as_slice() {
            [(_, result)] => Ok(result.clone()),
            other => Err(format!("not one item: {other:?}, {:?}", said.end)),
        }
    }

    fn write(&mut self, item: Item) -> Result<ItemResult, String> {
        self.item(&Op::Write { object: OPPORTUNITY.into(), marker_field: "reference".into(), items: vec![item] })
    }

    fn create(&mut self, marker: &str, of: &Value) -> Result<ItemResult, String> {
        self.write(Item::Create { key: "k".into(), marker: marker.into(), fields: fields(of) })
    }

    fn update(&mut self, id: &str, of: &Value) -> Result<ItemResult, String> {
        self.write(Item::Update { key: "k".into(), id: id.into(), fields: fields(of) })
    }

    fn written(what: &str, result: ItemResult, shadow: &Value) -> Result<String, String> {
        match result {
            ItemResult::Written { id, shadow: is, .. } => {
                same(what, &is, &fields(shadow))?;
                Ok(id)
            }
            other => Err(format!("{what}: {other:?}")),
        }
    }

    fn refused(what: &str, result: &ItemResult, code: &str) -> Result<(), String> {
        match result {
            ItemResult::Refused(fault) => same(what, &fault.code, &code.to_owned()),
            other => Err(format!("{what}: {other:?}")),
        }
    }

    fn settle(&mut self, marker: &str) -> Result<ItemResult, String> {
        let doubt = Doubt { key: "k".into(), marker: marker.into(), sent_at: self.server.now(), known: None };
        self.item(&Op::Settle { object: OPPORTUNITY.into(), marker_field: "reference".into(), items: vec![doubt] })
    }

    fn poll(&mut self, cursor: Option<Cursor>, from: Millis) -> Result<(BTreeMap<String, Record>, Cursor), String> {
        let until = self.server.now();
        let names = vec!["reference".to_owned(), "party.phone".to_owned()];
        let op = Op::Changes { object: OPPORTUNITY.into(), cursor, from, until, fields: names, selection: vec![] };
        let said = self.play(&op)?;
        let Some(Ok(Output::Cursor(cursor))) = said.end else { return Err(format!("the poll ended in {:?}", said.end)) };
        Ok((said.records.into_iter().map(|r| (r.id.clone(), r)).collect(), cursor))
    }

    fn fetch(&mut self, id: &str, names: &[&str]) -> Result<Record, String> {
        let names = names.iter().map(|n| (*n).to_owned()).collect();
        let records = self.records(&Op::Follow { object: OPPORTUNITY.into(), ids: vec![id.into()], fields: names })?;
        records.into_iter().next().ok_or_else(|| "nothing fetched".to_owned())
    }

    fn find(&mut self, field: &str, value: &str) -> Result<Vec<String>, String> {
        let op = Op::Find { object: OPPORTUNITY.into(), field: field.into(), value: value.into(), fields: vec![] };
        Ok(self.records(&op)?.into_iter().map(|r| r.id).collect())
    }

    /// Somebody else's request, as it is.
    fn raw(&mut self, request: &Request) -> Result<Value, String> {
        let response = self.server.send(request).ok_or("no answer")?;
        if !response.is_success() {
            return Err(format!("{} answered {}: {}", request.url, response.status, String::from_utf8_lossy(&response.body)));
        }
        Ok(response.value().unwrap_or(Value::Null))
    }

    fn count(&mut self, model: &str, field: &str, value: &str) -> Result<i64, String> {
        let count = self.rest.call(model, "search_count", &json!({"domain": [[field, "=", value]]}));
        self.raw(&count)?.as_i64().ok_or_else(|| "not a count".to_owned())
    }

    fn tell(&mut self) -> Result<(), String> {
        let begin = self.server.now();
        let (marker, email) = (format!("lsh-{}", self.run), format!("ann.{}@example.com", self.run));
        let everything: Vec<String> =
            ["description", "amount", "party.name", "party.email", "party.country", "party.city", "state", "reference"]
                .map(str::to_owned)
                .into();

        let check = Op::Check { object: OPPORTUNITY.into(), marker_field: "reference".into(), fields: everything, writes: true };
        let Output::Checked(findings) = self.output(&check)? else { return Err("not a check".into()) };
        let bad: Vec<Finding> = findings.into_iter().filter(|f| !f.ok).collect();
        same("the check finds nothing amiss", &bad, &vec![])?;

        let Output::Described(described) = self.output(&Op::Describe { object: OPPORTUNITY.into() })? else {
            return Err("not fields".into());
        };
        let state = described.iter().find(|f| f.name == "state").ok_or("no state described")?;
        same("the states", &state.options.join(" "), &"lead opportunity converted won lost cancelled".to_owned())?;
        for name in ["party.email", "party.country", "party.name", "description", "amount"] {
            same(name, &described.iter().any(|f| f.name == name && f.writable), &true)?;
        }

        let lead = json!({"description": "Wants widgets", "comment": "two\nlines", "amount": "1200.50", "conversion_probability": 0.25,
            "party.name": "Ann Lee", "party.email": email, "party.phone": "+49 30 901820", "party.street": "Hauptstr. 5",
            "party.city": "Berlin", "party.postal_code": "10115", "party.country": "DE"});
        let created = self.create(&marker, &lead)?;
        let id = Self::written("a new lead", created, &lead)?;
        let again = self.create(&marker, &lead)?;
        same("made by us", &matches!(again, ItemResult::Written { made: Made::Created, .. }), &true)?;
        same("a create repeated meets the first", &Self::written("again", again, &lead)?, &id)?;
        same("one opportunity", &self.count(OPPORTUNITY, "reference", &marker)?, &1)?;
        same("one party", &self.count(PARTY, "code", &marker)?, &1)?;

        let (seen, cursor) = self.poll(None, begin)?;
        let first = seen.get(&id).ok_or("the poll misses a new lead")?.version.clone();
        let (seen, cursor) = self.poll(Some(cursor), begin)?;
        same("unchanged, the version stays", &seen.get(&id).map(|r| r.version.clone()), &Some(first.clone()))?;

        let change = json!({"description": "Wants more", "party.phone": "+49 30 112233", "party.mobile": "+49 170 1234567",
            "party.email": null, "party.city": "Bonn", "state": "opportunity"});
        let changed = self.update(&id, &change)?;
        Self::written("an update of all parts", changed, &change)?;
        let changed = self.update(&id, &change)?;
        Self::written("an update repeated", changed, &change)?;
        let (seen, cursor) = self.poll(Some(cursor), begin)?;
        let second = seen.get(&id).ok_or("the poll misses an update")?.version.clone();
        same("an update changes the version", &(first != second), &true)?;

        let mechanisms = self.rest.search(
            "party.contact_mechanism",
            &json!([["party.code", "=", marker], ["type", "=", "phone"]]),
            &["id".to_owned()],
            0,
        );
        let phone = self.raw(&mechanisms)?.pointer("/0/id").and_then(Value::as_i64).ok_or("the phone is gone")?;
        let edit = json!({"value": "+49 30 445566"});
        self.raw(&self.rest.update("party.contact_mechanism", phone, edit.as_object().ok_or("no body")?))?;
        let (seen, cursor) = self.poll(Some(cursor), begin)?;
        let third = seen.get(&id).ok_or("the poll misses a changed mechanism")?;
        same("a changed mechanism changes the version", &(second != third.version), &true)?;
        same("and is read", &third.fields.get("party.phone"), &Some(&json!("+49 30 445566")))?;

        let record =
            self.fetch(&id, &["state", "opportunity.description", "party.email", "party.mobile", "party.country", "currency.code"])?;
        let expected = json!({"state": "opportunity", "opportunity.description": "Wants more", "party.email": null,
            "party.mobile": "+49 170 1234567", "party.country": "DE", "currency.code": "EUR"});
        same("a lead read", &record.fields, &fields(&expected))?;
        same("a lead that never was", &self.fetch("987654321", &["state"])?.state, &State::Deleted)?;
        same("found by mobile", &self.find("party.mobile", "+49 170 1234567")?.contains(&id), &true)?;
        same("found by marker", &self.find("reference", &marker)?, &vec![id.clone()])?;
        same("nobody has this address", &self.find("party.email", &email)?, &vec![])?;

        same("settled: it is there", &matches!(self.settle(&marker)?, ItemResult::Written { id: is, .. } if is == id), &true)?;
        same("settled: it is not there", &self.settle("lsh-never")?, &ItemResult::Gone)?;
        let twin = json!({"reference": marker, "company": 1, "currency": 1});
        self.raw(&self.rest.create(OPPORTUNITY, twin.as_object().ok_or("no body")?, &[]))?;
        same("with a twin, the first is it", &matches!(self.settle(&marker)?, ItemResult::Written { id: is, .. } if is == id), &true)?;
        same("and the twin is taken away", &self.count(OPPORTUNITY, "reference", &marker)?, &1)?;

        same("an update of nothing", &self.update("987654321", &json!({"description": "x"}))?, &ItemResult::Gone)?;
        Self::refused("a number for a text", &self.update(&id, &json!({"description": 5}))?, "wrong_type")?;
        Self::refused("a state without a button", &self.update(&id, &json!({"state": "won"}))?, "not_writable")?;
        Self::refused("a country that is not loaded", &self.update(&id, &json!({"party.country": "QQ"}))?, "unknown_country")?;
        Self::refused("a probability above one", &self.update(&id, &json!({"conversion_probability": 5}))?, "invalid")?;
        let lost = self.update(&id, &json!({"state": "lost"}))?;
        Self::written("lost", lost, &json!({"state": "lost"}))?;
        Self::refused("a closed lead", &self.update(&id, &json!({"description": "late"}))?, "not_writable")?;

        for state in ["lead", "opportunity"] {
            let back = self.update(&id, &json!({"state": state}))?;
            Self::written(state, back, &json!({"state": state}))?;
        }
        self.raw(&self.rest.press(OPPORTUNITY, id.parse().map_err(|_| "no number")?, "convert"))?;
        let turned = self.fetch(&id, &["state", "deal.state", "deal.description"])?;
        same(
            "a lead that became a sale",
            &turned.fields,
            &fields(&json!({"state": "converted", "deal.state": "draft", "deal.description": "Wants more"})),
        )?;
        let erase = Op::Erase { object: OPPORTUNITY.into(), id: id.clone() };
        same("a sale is not erased", &self.fault(&erase)?, &"has_sale".to_owned())?;
        let sales = self.raw(&self.rest.search("sale.sale", &json!([["party.code", "=", marker]]), &["id".to_owned()], 0))?;
        let sale = sales.pointer("/0/id").and_then(Value::as_i64).ok_or("no sale")?;
        self.raw(&self.rest.press("sale.sale", sale, "cancel"))?;
        same("a cancelled sale is a lost lead", &self.fetch(&id, &["state"])?.fields, &fields(&json!({"state": "lost"})))?;
        same("a party with a sale is not erased", &self.fault(&erase)?, &"party_in_use".to_owned())?;
        same(
            "nor is anything else changed",
            &self.fetch(&id, &["state", "party.code"])?.fields,
            &fields(&json!({"state": "lost", "party.code": marker})),
        )?;
        self.raw(&self.rest.delete("sale.sale", sale))?;

        same("erased", &self.output(&erase)?, &Output::Done)?;
        same("erased twice", &self.output(&erase)?, &Output::Done)?;
        same("the lead is gone", &self.fetch(&id, &["state"])?.state, &State::Deleted)?;
        same("the party too", &self.count(PARTY, "code", &marker)?, &0)?;
        let (seen, _) = self.poll(Some(cursor), begin)?;
        same("the poll notices", &seen.get(&id).map(|r| r.state.clone()), &Some(State::Deleted))?;

        let gone = self.create(&format!("{marker}-country"), &json!({"party.name": "Q", "party.country": "QQ"}))?;
        Self::refused("nothing is made with a country that is not loaded", &gone, "unknown_country")?;
        same("nothing at all", &self.count(PARTY, "code", &format!("{marker}-country"))?, &0)
    }
}

/// Tells the story: creates, polls, changes, settles, finds, refuses, erases. `run` makes its marks
/// unlike those of other runs on the same database, which is otherwise left as it was.
///
/// # Errors
/// What was not as it should be.
pub fn tell(server: &mut dyn Server, account: &Account, run: &str) -> Result<(), String> {
    let rest = Rest::new(account.tenant.as_deref().unwrap_or_default());
    Teller { server, account: account.clone(), rest, run: run.to_owned() }.tell()
}
