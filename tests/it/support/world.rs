//! A world: the demo's partners and their simulated systems, the real daemon on a database of its
//! own, its web on loopback, and a clock that only tests move.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use leadshare::clock::{Clock, HOUR, Millis, SECOND};
use leadshare::config::Config;
use leadshare::context::Context;
use leadshare::demo::cast::{self, Person, Story};
use leadshare::demo::stage::{ACTORS, Stage};
use leadshare::demo::visitor;
use leadshare::http::Transport;
use leadshare::http::egress::Egress;
use leadshare::ledger::Signer;
use leadshare::queues::Queues;
use leadshare::store::deliveries::Delivery;
use leadshare::store::shares::{self, Share};
use leadshare::store::{Db, connections, deliveries, dirty, leads, views};
use leadshare::vault::Identity;
use leadshare::web::auth::AdminAuth;
use leadshare::web::{self, WebState};
use leadshare::{daemon, oauth, sealer, summary};
use leadshare_connectors::sdk::{
    Act, Fault, Fields, Method, OutgoingWebhook, Request, Response, SandboxRecord, SandboxReply, SandboxRequest, Stats,
};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::place::Place;
use super::postgres;

/// When every world begins: the agreements of the example are in force.
pub const START: Millis = 1_790_000_000_000;

/// The two partners of the plainest lead: HubSpot to Salesforce.
pub const PLAIN: &[&str] = &["northwind", "brightwater"];

/// Where a store is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Engine {
    Sqlite,
    Postgres,
}

impl Engine {
    pub const BOTH: [Self; 2] = [Self::Sqlite, Self::Postgres];

    /// The address of a new, empty store; a file lies in this folder.
    pub fn url(self, dir: &std::path::Path) -> String {
        match self {
            Self::Sqlite => format!("sqlite:{}", dir.join("leadshare.db").display()),
            Self::Postgres => postgres::database(),
        }
    }
}

/// A folder of its own, removed when dropped.
pub struct Folder(pub PathBuf);

impl Folder {
    pub fn new() -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let name = format!("leadshare-it-{}-{}", std::process::id(), COUNT.fetch_add(1, Ordering::SeqCst));
        let dir = std::env::temp_dir().join(name);
        std::fs::create_dir_all(&dir).unwrap();
        Self(dir)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

pub struct World {
    pub stage: Stage,
    pub ctx: Arc<Context>,
    pub signer: Signer,
    pub config: Config,
    pub clock: Clock,
    pub dir: PathBuf,
    web: (CancellationToken, JoinHandle<()>),
    _folder: Folder,
}

impl Drop for World {
    fn drop(&mut self) {
        self.web.0.cancel();
    }
}

fn serve(ctx: Arc<Context>, listener: TcpListener, listen: SocketAddr) -> (CancellationToken, JoinHandle<()>) {
    let stop = CancellationToken::new();
    let state = WebState { ctx, listen, admin: AdminAuth::Open, summary: summary::summarise(), metrics: None, stopping: stop.clone() };
    let served = axum::serve(listener, web::router(state).unwrap()).with_graceful_shutdown(stop.clone().cancelled_owned());
    (stop, tokio::spawn(async move { served.await.unwrap() }))
}

impl World {
    /// A world of these partners, all connected.
    pub async fn new(engine: Engine, partners: &[&str]) -> Self {
        Self::changed(engine, partners, &|_, text| text.to_owned()).await
    }

    /// The same, with files of the example, or the configuration, changed before anything starts.
    pub async fn changed(engine: Engine, partners: &[&str], change: &(dyn Fn(&str, &str) -> String + Sync)) -> Self {
        let folder = Folder::new();
        let dir = folder.0.clone();
        let clock = Clock::test(START);
        let mut stage = Stage::set(&dir, &clock, change).await.unwrap();
        let written = std::fs::read_to_string(stage.config_path()).unwrap();
        let mut parts = written.split("\n[connections.");
        let mut text = parts.next().unwrap().replace("data_dir = \".\"", &format!("data_dir = \".\"\nurl = \"{}\"", engine.url(&dir)));
        for part in parts.filter(|part| partners.iter().any(|name| part.starts_with(&format!("{name}]")))) {
            text.push_str("\n[connections.");
            text.push_str(part);
        }
        std::fs::write(stage.config_path(), change("leadshare.toml", &text)).unwrap();
        let config = Config::load(Some(&stage.config_path()), std::iter::empty()).unwrap();
        let built = daemon::build(&config, &clock).await.unwrap();
        let listener = stage.listener.take().unwrap();
        let web = serve(built.ctx.clone(), listener, stage.web);
        let world = Self { stage, ctx: built.ctx, signer: built.signer, config, clock, dir, web, _folder: folder };
        for (name, line) in world.ctx.lines.iter() {
            if line.app().is_some() {
                world.connect(name).await;
            }
        }
        world
    }

    /// Ends the daemon and starts it again with what is in its configuration by now.
    pub async fn restart(&mut self) {
        self.web.0.cancel();
        (&mut self.web.1).await.unwrap();
        let _place = Place::at(self.stage.web);
        self.config = Config::load(Some(&self.stage.config_path()), std::iter::empty()).unwrap();
        self.ctx = daemon::build(&self.config, &self.clock).await.unwrap().ctx;
        let listener = TcpListener::bind(self.stage.web).await.unwrap();
        self.web = serve(self.ctx.clone(), listener, self.stage.web);
    }

    /// A partner goes through the vendor's own pages, as a visitor does.
    pub async fn connect(&self, name: &str) {
        visitor::connect(&oauth::authorize::make_link(&self.ctx, name, HOUR).await.unwrap()).await.unwrap();
    }

    /// Carries due webhooks and lets every connection work until nothing is due at this moment.
    pub async fn work(&self) {
        loop {
            let mut pumped = 0;
            for served in &self.stage.systems {
                pumped += served.pump().await;
            }
            if daemon::drain(&self.ctx, &self.signer).await.unwrap() == 0 && pumped == 0 {
                return;
            }
        }
    }

    /// Works and moves the clock until nothing waits and polls find nothing new.
    pub async fn settle(&self) {
        let mut quiet = 0;
        for _ in 0..300 {
            self.work().await;
            let now = self.clock.now();
            match self.next_due().await {
                None if quiet == 3 => return,
                None => {
                    quiet += 1;
                    self.clock.advance(35 * SECOND);
                }
                Some(due) => {
                    quiet = 0;
                    self.clock.advance((due - now).max(15 * SECOND));
                }
            }
        }
        panic!(
            "the world does not come to rest: {:?}; {:?}; {:?}",
            dirty::pending(&self.ctx.db).await,
            deliveries::open(&self.ctx.db).await,
            self.alerts().await
        );
    }

    /// Lets so much time pass, working every fifteen seconds.
    pub async fn pass(&self, time: Millis) {
        let until = self.clock.now() + time;
        while self.clock.now() < until {
            self.work().await;
            self.clock.advance((15 * SECOND).min(until - self.clock.now()));
        }
        self.work().await;
    }

    async fn next_due(&self) -> Option<Millis> {
        let working: Vec<String> = connections::all(&self.ctx.db)
            .await
            .unwrap()
            .into_iter()
            .filter(|c| c.state == "connected" && self.ctx.lines.contains_key(&c.name))
            .map(|c| c.name)
            .collect();
        let hints = dirty::pending(&self.ctx.db).await.unwrap().into_iter().map(|(name, _, due)| (name, due));
        let open = deliveries::open(&self.ctx.db).await.unwrap().into_iter().map(|(name, _, _, due)| (name, due));
        hints.chain(open).filter(|(name, _)| working.contains(name)).map(|(_, due)| due).min()
    }

    /// So many people of a story, whom a source may share with a recipient.
    pub fn people(&self, source: &str, recipient: &str, story: Story, count: usize) -> Vec<Person> {
        let fits = |p: &Person| p.source == source && p.recipient == recipient && p.story == story;
        let found: Vec<Person> = cast::people(1_600, self.clock.now()).into_iter().filter(fits).take(count).collect();
        assert_eq!(found.len(), count, "the cast has too few of {story:?}");
        found
    }

    /// One good lead of Northwind for Brightwater, entered; with its record's id at Northwind.
    pub fn enter_one(&self) -> (Person, String) {
        self.enter_good("northwind", "brightwater")
    }

    /// One good lead, entered at its source; with its record's id there.
    pub fn enter_good(&self, source: &str, recipient: &str) -> (Person, String) {
        let person = self.people(source, recipient, Story::Good, 1).remove(0);
        let id = self.enter(std::slice::from_ref(&person)).remove(0);
        (person, id)
    }

    /// Enters people at their sources; the ids of their records there.
    pub fn enter(&self, people: &[Person]) -> Vec<String> {
        self.stage.enter(people, &self.clock).unwrap().into_iter().map(|(_, id)| id).collect()
    }

    /// Somebody does something in the pages of a partner's system.
    pub fn act(&self, name: &str, act: Act) -> String {
        let (_, served) = self.stage.of(name).unwrap();
        served.sandbox().act(act, self.clock.now()).unwrap()
    }

    /// Somebody changes a record.
    pub fn update(&self, name: &str, id: &str, fields: &Value) {
        let (actor, _) = self.stage.of(name).unwrap();
        self.act(name, Act::Update { object: actor.object.into(), id: id.into(), fields: to_fields(fields) });
    }

    /// Somebody enters a record.
    pub fn create(&self, name: &str, fields: &Value) -> String {
        let (actor, _) = self.stage.of(name).unwrap();
        self.act(name, Act::Create { object: actor.object.into(), fields: to_fields(fields) })
    }

    /// Somebody deletes a record.
    pub fn delete(&self, name: &str, id: &str) {
        let (actor, _) = self.stage.of(name).unwrap();
        self.act(name, Act::Delete { object: actor.object.into(), id: id.into() });
    }

    /// Somebody has a contact of a HubSpot account deleted for privacy.
    pub fn forget(&self, name: &str, id: &str) {
        let (now, mut sandbox) = (self.clock.now(), self.stage.of(name).unwrap().1.sandbox());
        let token = sandbox.token(now);
        let request = SandboxRequest {
            method: Method::Post,
            path: "/crm/objects/2026-09/contacts/gdpr-delete".into(),
            headers: vec![("authorization".into(), format!("Bearer {token}"))],
            body: json!({ "objectId": id }).to_string().into_bytes(),
        };
        let answer = sandbox.handle(&request, now);
        assert!(matches!(answer, SandboxReply::Answer(answer) if answer.status == 204), "{name} did not forget {id}");
    }

    /// Somebody merges two records.
    pub fn merge(&self, name: &str, winner: &str, loser: &str) -> String {
        let (actor, _) = self.stage.of(name).unwrap();
        self.act(name, Act::Merge { object: actor.object.into(), winner: winner.into(), loser: loser.into() })
    }

    pub fn inject(&self, name: &str, fault: Fault) {
        self.stage.of(name).unwrap().1.sandbox().inject(fault);
    }

    pub fn stats(&self, name: &str) -> Stats {
        self.stage.of(name).unwrap().1.sandbox().stats()
    }

    /// Every live lead record of a system.
    pub fn records(&self, name: &str) -> Vec<SandboxRecord> {
        let (actor, served) = self.stage.of(name).unwrap();
        served.sandbox().records(actor.object)
    }

    /// One record of a system.
    pub fn record(&self, name: &str, id: &str) -> SandboxRecord {
        self.records(name).into_iter().find(|r| r.id == id).unwrap_or_else(|| panic!("{name} has no record {id}"))
    }

    /// The records of a system with this address, however it is spelled.
    pub fn with_email(&self, name: &str, email: &str) -> Vec<SandboxRecord> {
        let field = ACTORS.iter().find(|a| a.name == name).unwrap().email_field;
        self.records(name).into_iter().filter(|r| text(r, field).eq_ignore_ascii_case(email)).collect()
    }

    /// The shares of the person behind an address.
    pub async fn shares(&self, email: &str) -> Vec<Share> {
        let hash = self.ctx.vault.blind.hash(Identity::Email, email);
        let Some(lead) = leads::by_identity(&self.ctx.db, &hash).await.unwrap() else { return Vec::new() };
        let mut tx = self.ctx.db.begin().await.unwrap();
        let mut found = Vec::new();
        for actor in &ACTORS {
            found.extend(shares::at_recipient(&mut tx, actor.name, &json!([[lead.person]])).await.unwrap());
        }
        found
    }

    /// The one share of the person behind an address.
    pub async fn share(&self, email: &str) -> Share {
        let mut found = self.shares(email).await;
        assert_eq!(found.len(), 1, "{found:?}");
        found.remove(0)
    }

    /// Where that share stands: status, progress, reason.
    pub async fn stand(&self, email: &str) -> (String, String, Option<String>) {
        let share = self.share(email).await;
        (share.status, share.progress, share.reason)
    }

    /// Every try to deliver that share: way, outcome, code.
    pub async fn attempts(&self, email: &str) -> Vec<(String, String, Option<String>)> {
        let lead = self.share(email).await.lead;
        let mut found = views::attempts_of(&self.ctx.db, &lead).await.unwrap();
        found.reverse();
        found.into_iter().map(|(_, way, _, _, _, outcome, code)| (way, outcome, code)).collect()
    }

    /// How changes ended, with how many.
    pub async fn outcomes(&self) -> BTreeMap<String, i64> {
        leads::outcomes(&self.ctx.db).await.unwrap().into_iter().map(|(outcome, count, _)| (outcome, count)).collect()
    }

    /// Open alerts: subject and code.
    pub async fn alerts(&self) -> Vec<(String, String)> {
        connections::open_alerts(&self.ctx.db).await.unwrap().into_iter().map(|(subject, code, ..)| (subject, code)).collect()
    }

    /// A connection's state.
    pub async fn state(&self, name: &str) -> String {
        connections::one(&self.ctx.db, name).await.unwrap().unwrap().state
    }

    /// The webhooks that a system would send now; nobody answers them.
    pub fn webhooks(&self, name: &str) -> Vec<OutgoingWebhook> {
        self.stage.of(name).unwrap().1.sandbox().webhooks_due(self.clock.now())
    }

    /// How many hints wait to be read.
    pub async fn hints(&self) -> i64 {
        dirty::pending(&self.ctx.db).await.unwrap().iter().map(|(_, count, _)| count).sum()
    }

    /// What must not move when nothing happens: tries, moves of shares, ledger entries, and changes
    /// of one connection.
    pub async fn still(&self, connection: &str) -> [i64; 4] {
        const COUNTS: &str = "SELECT (SELECT COUNT(*) FROM attempts), (SELECT COUNT(*) FROM share_events), CAST((SELECT COALESCE(SUM(count), 0) FROM ledger) + (SELECT COALESCE(SUM(count), 0) FROM ledger_waiting) AS BIGINT),
            (SELECT COUNT(*) FROM changes WHERE connection = $1 AND outcome NOT IN ('unchanged', 'echo'))";
        let (attempts, events, ledger, changes) = self.ctx.db.row(COUNTS, leadshare::args![connection]).await.unwrap().unwrap();
        [attempts, events, ledger, changes]
    }

    /// Everything in the store, as text.
    pub async fn dump(&self) -> String {
        let mut all = String::new();
        for table in include_str!("../../../src/store/schema.sql").split("CREATE TABLE ").skip(1) {
            let (name, rest) = table.split_once(" (").unwrap();
            let columns: Vec<String> = rest
                .split("\n)")
                .next()
                .unwrap()
                .lines()
                .map(str::trim)
                .filter(|l| !l.is_empty() && !["PRIMARY", "UNIQUE", "--"].iter().any(|word| l.starts_with(word)))
                .map(|l| format!("COALESCE(CAST({} AS TEXT), '')", l.split_whitespace().next().unwrap()))
                .collect();
            let sql: &'static str = format!("SELECT {} FROM {name}", columns.join(" || ' | ' || ")).leak();
            for (row,) in self.ctx.db.rows::<(String,)>(sql, leadshare::args![]).await.unwrap() {
                let _ = writeln!(all, "{name}: {row}");
            }
        }
        all
    }

    /// Posts to our own web, over HTTP.
    pub async fn post(&self, path: &str, headers: &[(String, String)], body: &[u8]) -> Response {
        let url = format!("http://{}{path}", self.stage.web);
        let request = Request { method: Method::Post, url: url.clone(), headers: headers.to_vec(), body: body.to_vec() };
        let egress = Egress::allowing("127.0.0.0/8".parse().into_iter().collect());
        Transport::default().send(&egress, &url.parse().unwrap(), &request, None, 10_000).await.unwrap()
    }

    /// Everything that is wrong in the ledger, against these checkpoints besides the store's own.
    pub async fn verify(&self, outside: &[String]) -> leadshare::ledger::Report {
        sealer::verify(&self.ctx.db, outside, &[self.signer.public()], |_| ()).await.unwrap()
    }
}

/// Claims what is to go out, as a worker does.
pub async fn claim_out(db: &Db, connection: &str, lease: &str, now: Millis, until: Millis, limit: usize) -> Vec<Delivery> {
    Queues::default().ripen(db, connection, "out", now).await.unwrap();
    let lanes = deliveries::lanes(db, connection, "out", now).await.unwrap();
    let mut tries = db.tries();
    loop {
        let mut tx = tries.begin().await.unwrap();
        let picked = deliveries::pick(&mut tx, connection, "out", &lanes, limit).await.unwrap();
        let claims: Vec<_> = picked.iter().map(|d| (d, None)).collect();
        let claimed = deliveries::claim(&mut tx, "out", lease, (now, until), &claims).await;
        if tries.end(tx, claimed).await.unwrap().is_some() {
            return picked;
        }
    }
}

/// A field's text.
pub fn text(record: &SandboxRecord, field: &str) -> String {
    record.fields.get(field).and_then(Value::as_str).unwrap_or_default().to_owned()
}

pub fn to_fields(value: &Value) -> Fields {
    serde_json::from_value(value.clone()).unwrap()
}
