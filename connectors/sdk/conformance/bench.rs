//! One vendor set up for a case: connector, simulator, clock, token, and everything that was sent.

use std::cell::{OnceCell, RefCell};
use std::collections::BTreeMap;
use std::rc::Rc;

use super::laws::{Law, Laws};
use super::{Sample, Verdict, fail};
use crate::Entry;
use crate::sdk::manifest::{Auth, WriteSafety};
use crate::sdk::{
    Account, AccountFacts, Act, Action, App, Connector, Effect, Fault, Fields, Item, ItemKey, ItemResult, Manifest, Millis, Op, Output,
    Record, Sandbox, SandboxRecord, TalkFault, Why,
};

/// When every case begins.
pub(super) const START: Millis = 1_790_000_000_000;
/// Our app at the vendor.
pub(super) const CLIENT: &str = "conformance-client";
/// Where browsers come back to.
pub(super) const REDIRECT: &str = "https://leads.example/oauth/callback";
/// The app secret that sandboxes sign webhooks with.
pub(super) const SECRET: &str = "conformance-client-secret";
/// Where sandboxes send webhooks.
pub(super) const WEBHOOK_URL: &str = "https://leads.example/hooks/conformance";

/// A vendor under test.
pub(super) struct Setup {
    pub name: &'static str,
    pub sample: Sample,
    pub connector: Rc<dyn Connector>,
    make_sandbox: fn(u64) -> Box<dyn Sandbox>,
    pub laws: Rc<RefCell<Laws>>,
    facts: OnceCell<AccountFacts>,
    /// Kept from the first case that needs many records.
    pub pages: OnceCell<(Bench, Vec<String>)>,
}

impl Setup {
    pub fn new(entry: &Entry, sample: Sample) -> Self {
        let connector: Rc<dyn Connector> = Rc::from((entry.connector)());
        Self {
            name: entry.name,
            sample,
            connector,
            make_sandbox: entry.sandbox,
            laws: Rc::default(),
            facts: OnceCell::new(),
            pages: OnceCell::new(),
        }
    }

    pub fn manifest(&self) -> &Manifest {
        self.connector.manifest()
    }

    /// A fresh simulator with our app, our marker field and a grant.
    pub fn bench(&self) -> Verdict<Bench> {
        let mut bench = self.bare_bench();
        let marker = Act::DefineField {
            object: self.sample.object.into(),
            name: self.manifest().write.marker_field.clone(),
            unique: self.manifest().write.safety == WriteSafety::UniqueKey,
            options: Vec::new(),
        };
        if let Err(why) = bench.sandbox.act(marker, bench.now) {
            return fail(format!("the sandbox does not let an admin add the marker field: {why}"));
        }
        Ok(bench)
    }

    /// A fresh simulator with our app and a grant, as an account is before its admin prepared it.
    pub fn bare_bench(&self) -> Bench {
        let mut bench = self.unconnected_bench();
        bench.token = bench.sandbox.token(START);
        bench.account.external_id = self.external_id();
        bench
    }

    /// The vendor's id of the account, learnt by connecting it once.
    pub fn external_id(&self) -> Option<String> {
        self.facts.get_or_init(|| super::oauth::facts(self)).external_id.clone()
    }

    /// A fresh simulator with our app, to which no partner has given access yet.
    pub fn unconnected_bench(&self) -> Bench {
        let mut sandbox = (self.make_sandbox)(7);
        sandbox.register(App {
            client_id: CLIENT.into(),
            client_secret: SECRET.into(),
            redirect_uri: REDIRECT.into(),
            webhook_url: Some(WEBHOOK_URL.into()),
        });
        let at_first = self.sample.beside.iter().map(|object| (*object, sandbox.records(object).len())).collect();
        let account = Account {
            base_url: self.sample.base_url.into(),
            api_version: self.manifest().api_version.clone(),
            external_id: None,
            tenant: self.sample.tenant.map(str::to_owned),
            scopes: self.granted_scopes(),
        };
        Bench {
            connector: Rc::clone(&self.connector),
            sample: self.sample.clone(),
            sandbox,
            now: START,
            token: String::new(),
            account,
            at_first: Rc::new(at_first),
            style: Style::Resend,
            trap: None,
            sprung: false,
            sent: Vec::new(),
            spent: BTreeMap::new(),
            laws: Rc::clone(&self.laws),
        }
    }

    fn granted_scopes(&self) -> Vec<String> {
        match &self.manifest().auth {
            Auth::Oauth2(oauth) => oauth.scopes.iter().chain(&oauth.optional_scopes).cloned().collect(),
            Auth::Key { .. } => Vec::new(),
        }
    }
}

/// How the driver treats what is sent.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) enum Style {
    /// Reads and keyed writes are sent again after trouble.
    #[default]
    Resend,
    /// A lost answer is reported at once, as after the last try.
    NoResend,
    /// Every keyed write is sent twice, as a retry after a lost answer does.
    KeyedTwice,
    /// Answers to parallel asks are heard in reverse order.
    LastFirst,
    /// A talk that finds nobody ends; else it is opened again later.
    GiveUp,
    /// A budget gives one request, and the next after such a pause: a talk is dropped after each, and opened again.
    OneAtATime(Millis),
}

/// Trouble with one request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Trouble {
    /// The vendor makes it.
    Vendor(Fault),
    /// The request never leaves.
    NotSent(Why),
}

/// One request that reached the simulator.
#[derive(Debug, Clone)]
pub(super) struct Sent {
    /// What sending it twice would do.
    pub effect: Effect,
    /// What the manifest made of the answer, and for how long to wait.
    pub verdict: Option<(Action, Millis)>,
    /// The answer's `Retry-After`, milliseconds.
    pub retry_after: Option<Millis>,
}

/// One simulator in use. [`Bench::fork`] goes on twice from one point.
pub(super) struct Bench {
    pub connector: Rc<dyn Connector>,
    pub sample: Sample,
    pub sandbox: Box<dyn Sandbox>,
    pub now: Millis,
    pub(super) token: String,
    pub account: Account,
    /// How many records of the sample's other objects a fresh account has.
    at_first: Rc<BTreeMap<&'static str, usize>>,
    pub style: Style,
    /// Trouble that comes right before the request of this number is sent.
    pub trap: Option<(usize, Trouble)>,
    /// Whether the trouble has come.
    pub(super) sprung: bool,
    pub sent: Vec<Sent>,
    pub(super) spent: BTreeMap<String, Vec<(Millis, u32)>>,
    pub(super) laws: Rc<RefCell<Laws>>,
}

impl Bench {
    pub fn manifest(&self) -> &Manifest {
        self.connector.manifest()
    }

    pub fn fork(&self) -> Self {
        Self {
            connector: Rc::clone(&self.connector),
            sample: self.sample.clone(),
            sandbox: self.sandbox.fork(),
            now: self.now,
            token: self.token.clone(),
            account: self.account.clone(),
            at_first: Rc::clone(&self.at_first),
            style: self.style,
            trap: self.trap.clone(),
            sprung: self.sprung,
            sent: self.sent.clone(),
            spent: self.spent.clone(),
            laws: Rc::clone(&self.laws),
        }
    }

    pub fn broke(&self, law: Law, how: impl Into<String>) {
        self.laws.borrow_mut().broke(law, how.into());
    }

    /// A person creates the sample record of this number; answers its id.
    pub fn person(&mut self, n: usize) -> Verdict<String> {
        let fields = (self.sample.person)(n);
        self.create_by_hand(fields)
    }

    /// A person creates a record with these fields; answers its id.
    pub fn create_by_hand(&mut self, fields: Fields) -> Verdict<String> {
        let act = Act::Create { object: self.sample.object.into(), fields };
        self.sandbox.act(act, self.now).or_else(|why| fail(format!("the sandbox does not let a person create the sample record: {why}")))
    }

    /// A person changes one field of a record.
    pub fn change_by_hand(&mut self, id: &str, field: &str, value: serde_json::Value) -> Verdict {
        let fields = Fields::from([(field.to_owned(), value)]);
        let act = Act::Update { object: self.sample.object.into(), id: id.into(), fields };
        match self.sandbox.act(act, self.now) {
            Ok(_) => Ok(()),
            Err(why) => fail(format!("the sandbox does not let a person change the sample record: {why}")),
        }
    }

    /// A person deletes a record. Not applicable where the vendor does not let them.
    pub fn delete_by_hand(&mut self, id: &str) -> Verdict {
        let act = Act::Delete { object: self.sample.object.into(), id: id.into() };
        match self.sandbox.act(act, self.now) {
            Ok(_) => Ok(()),
            Err(why) => super::not_applicable(format!("records cannot be deleted there: {why}")),
        }
    }

    /// A person merges two records; answers the surviving id. Not applicable where the vendor does not let them.
    pub fn merge_by_hand(&mut self, winner: &str, loser: &str) -> Verdict<String> {
        let act = Act::Merge { object: self.sample.object.into(), winner: winner.into(), loser: loser.into() };
        self.sandbox.act(act, self.now).or_else(|why| super::not_applicable(format!("records cannot be merged there: {why}")))
    }

    /// The live records of the sample's object.
    pub fn records(&self) -> Vec<SandboxRecord> {
        self.sandbox.records(self.sample.object)
    }

    /// The live record of this id.
    pub fn record(&self, id: &str) -> Option<SandboxRecord> {
        self.records().into_iter().find(|record| record.id == id)
    }

    /// How many records carry this marker.
    pub fn carrying(&self, marker: &str) -> usize {
        let field = &self.manifest().write.marker_field;
        self.records().iter().filter(|record| record.fields.get(field).and_then(|v| v.as_str()) == Some(marker)).count()
    }

    /// How many records of another object there are more than in an account of which nobody made use.
    fn beside(&self, object: &str) -> usize {
        self.sandbox.records(object).len() - self.at_first.get(object).copied().unwrap_or_default()
    }

    /// Fails unless exactly one record carries the marker, and no other object has a leftover twin.
    pub fn exactly_one(&self, marker: &str, total: usize) -> Verdict {
        let carrying = self.carrying(marker);
        super::ensure(carrying == 1, || format!("{carrying} records carry the marker {marker} where there must be one"))?;
        let found = self.records().len();
        super::ensure(found == total, || format!("{found} records where there must be {total}"))?;
        for object in self.sample.beside {
            let beside = self.beside(object);
            super::ensure(beside == total, || {
                format!("{beside} records of {object} where there must be {total}: one was made twice or left behind")
            })?;
        }
        Ok(())
    }

    /// What of the records matters for comparing two runs: the fields that the sample writes and
    /// the marker, sorted; and the number of records of the objects beside.
    pub fn essence(&self) -> Vec<String> {
        let marker = &self.manifest().write.marker_field;
        let written: Vec<String> = (self.sample.person)(0).into_keys().chain([marker.clone(), self.sample.change.0.into()]).collect();
        let show = |record: &SandboxRecord| {
            let kept: Fields =
                record.fields.iter().filter(|(name, _)| written.contains(name)).map(|(n, v)| (n.clone(), v.clone())).collect();
            serde_json::to_string(&kept).unwrap_or_default()
        };
        let mut lines: Vec<String> = self.records().iter().map(show).collect();
        lines.sort();
        lines.extend(self.sample.beside.iter().map(|object| format!("{} of {object}", self.beside(object))));
        lines
    }

    /// A read well after everything that was to be committed late: simulators commit when asked.
    pub fn let_settle(&mut self) -> Verdict {
        self.now += self.manifest().write.settle_after_ms * 2;
        let op = Op::Fetch { object: self.sample.object.into(), ids: vec![self.sample.missing_id.into()], fields: Vec::new() };
        self.finish(&op).map(drop)
    }

    /// Reads these records by id.
    pub fn fetch(&mut self, ids: &[String]) -> Verdict<Vec<Record>> {
        self.fetch_fields(ids, vec![self.sample.email_field.into()])
    }

    /// Reads these fields of these records by id.
    pub fn fetch_fields(&mut self, ids: &[String], fields: Vec<String>) -> Verdict<Vec<Record>> {
        let op = Op::Fetch { object: self.sample.object.into(), ids: ids.to_vec(), fields };
        match self.finish(&op)? {
            Output::Records(records) => Ok(records),
            other => fail(format!("a fetch must end in records, not {}", kind(&other))),
        }
    }

    /// Runs an operation to its good end.
    pub fn finish(&mut self, op: &Op) -> Verdict<Output> {
        self.run(op, None)?.output()
    }

    pub fn write_op(&self, items: Vec<Item>) -> Op {
        Op::Write { object: self.sample.object.into(), marker_field: self.manifest().write.marker_field.clone(), items }
    }

    /// Writes these items; answers what became of each.
    pub fn write(&mut self, items: Vec<Item>) -> Verdict<BTreeMap<ItemKey, ItemResult>> {
        let keys: Vec<ItemKey> = items.iter().map(|item| item.key().clone()).collect();
        let op = self.write_op(items);
        let ran = self.run(&op, None)?;
        ran.output_ref()?;
        let results: BTreeMap<_, _> = ran.items.into_iter().collect();
        for key in &keys {
            super::ensure(results.contains_key(key), || format!("item {key} of {} was never settled", keys.len()))?;
        }
        Ok(results)
    }

    /// Creates the sample person of this number under this marker, undisturbed; answers the id.
    pub fn create(&mut self, n: usize, marker: &str) -> Verdict<String> {
        let mut results = self.write(vec![creation("c", marker, (self.sample.person)(n))])?;
        match results.remove("c") {
            Some(ItemResult::Written { id, .. }) => Ok(id),
            other => fail(format!("a plain create must be written, not {other:?}")),
        }
    }

    /// Updates one field by id, undisturbed.
    pub fn update(&mut self, id: &str, field: &str, value: serde_json::Value) -> Verdict<ItemResult> {
        let fields = Fields::from([(field.to_owned(), value)]);
        let mut results = self.write(vec![Item::Update { key: "u".into(), id: id.into(), fields }])?;
        results.remove("u").map_or_else(|| fail("the update was never settled"), Ok)
    }
}

/// A create of these fields.
pub(super) fn creation(key: &str, marker: &str, fields: Fields) -> Item {
    Item::Create { key: key.into(), marker: marker.into(), fields }
}

/// The name of an output, for messages.
pub(super) fn kind(output: &Output) -> &'static str {
    match output {
        Output::Done => "nothing",
        Output::Cursor(_) => "a cursor",
        Output::Records(_) => "records",
        Output::Described(_) => "a description",
        Output::Checked(_) => "findings",
    }
}

/// A fault as the failure of a case.
pub(super) fn fault_text(fault: &TalkFault) -> String {
    format!("{fault}{}", if fault.passing { " (said to be passing)" } else { "" })
}
