//! A house for the daemon: simulated vendors, a store, keys and files, daemons that come and go, and what must be true
//! when everything has come to rest.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::os::unix::process::ExitStatusExt as _;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use leadshare::clock::{Clock, HOUR, Millis, SECOND};
use leadshare::config::Config;
use leadshare::context::Context;
use leadshare::demo::cast::{self, Person, Story};
use leadshare::demo::stage::{ACTORS, Stage};
use leadshare::demo::visitor;
use leadshare::errors::Error;
use leadshare::http::Transport;
use leadshare::http::egress::Egress;
use leadshare::ledger::Signer;
use leadshare::store::{connections, deliveries, dirty, ledger};
use leadshare::{args, daemon, oauth, points, sealer};
use leadshare_connectors::sdk::{Act, Method, Request, SandboxRecord};
use serde_json::Value;

use crate::carrier::Carrier;
use crate::place::Place;
use crate::postgres;

/// How often a condition is looked at, milliseconds.
const LOOK: Millis = 150;
/// How long a daemon may take to start on a busy machine.
const START: Millis = 60 * SECOND;

/// Where a store is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Engine {
    Sqlite,
    Postgres,
}

/// A folder of its own, removed when dropped.
struct Folder(PathBuf);

impl Folder {
    fn new() -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let name = format!("leadshare-crash-{}-{}", std::process::id(), COUNT.fetch_add(1, Ordering::SeqCst));
        let dir = std::env::temp_dir().join(name);
        std::fs::create_dir_all(&dir).unwrap();
        Self(dir)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            let _ = std::fs::remove_dir_all(&self.0);
        }
    }
}

/// A running `leadshare run`; killed when dropped.
pub struct Daemon {
    child: Child,
    address: SocketAddr,
    carrier: Arc<Carrier>,
    clock: Clock,
}

impl Daemon {
    /// Sends a signal, by its name without `SIG`.
    pub fn signal(&self, name: &str) {
        let sent = Command::new("kill").arg(format!("-{name}")).arg(self.child.id().to_string()).status().unwrap();
        assert!(sent.success(), "the daemon is gone");
    }

    /// Waits until it has ended; by which signal, when by one.
    pub async fn ended(&mut self, within: Millis) -> Option<i32> {
        let end = self.clock.now() + within;
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                self.carrier.set_up(self.address, false);
                return status.signal();
            }
            assert!(self.clock.now() < end, "the daemon still runs");
            self.clock.sleep(10).await;
        }
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Whether it has stopped itself by SIGSTOP.
    pub fn is_stopped(&self) -> bool {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.child.id())).unwrap_or_default();
        stat.rsplit(") ").next().is_some_and(|rest| rest.starts_with('T'))
    }

    /// Whether it has not ended.
    pub fn runs(&mut self) -> bool {
        self.child.try_wait().unwrap().is_none()
    }

    /// Kills it, as power loss would.
    pub async fn kill(mut self) {
        self.child.kill().unwrap();
        assert_eq!(self.ended(START).await, Some(9));
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        self.carrier.set_up(self.address, false);
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A person that was entered at a source.
#[derive(Debug, Clone)]
pub struct Entered {
    pub person: Person,
    /// The record's id at the source.
    pub id: String,
}

pub struct House {
    pub carrier: Arc<Carrier>,
    pub clock: Clock,
    /// For looking into the store; it does no work.
    pub ctx: Arc<Context>,
    pub engine: Engine,
    signer: Signer,
    folder: Folder,
    cast: Cast,
    _place: Place,
}

/// The good leads that were not entered yet, by source and recipient.
#[derive(Default)]
struct Cast {
    size: usize,
    waiting: BTreeMap<(&'static str, &'static str), Vec<Person>>,
}

impl Cast {
    fn take(&mut self, source: &'static str, recipient: &'static str, count: usize, now: Millis) -> Vec<Person> {
        while self.waiting.get(&(source, recipient)).map_or(0, Vec::len) < count {
            let known = self.size;
            self.size = (self.size * 2).max(1_000);
            for person in cast::people(self.size, now).into_iter().skip(known).filter(|p| p.story == Story::Good) {
                self.waiting.entry((person.source, person.recipient)).or_default().push(person);
            }
        }
        self.waiting.get_mut(&(source, recipient)).map(|waiting| waiting.drain(..count).collect()).unwrap_or_default()
    }
}

impl House {
    /// A house of these partners with a new store; nobody is connected yet. `change` may alter the configuration.
    pub async fn new(engine: Engine, partners: &[&str], change: &(dyn Fn(String) -> String + Sync)) -> Self {
        let url = (engine == Engine::Postgres).then(postgres::database);
        Self::on(engine, url, partners, change, &|_, text| text.to_owned()).await
    }

    /// The same on a store that is there, or a new file; `files` may alter the program and the mappings.
    pub async fn on(
        engine: Engine,
        url: Option<String>,
        partners: &[&str],
        change: &(dyn Fn(String) -> String + Sync),
        files: &(dyn Fn(&str, &str) -> String + Sync),
    ) -> Self {
        let folder = Folder::new();
        let clock = Clock::system();
        let mut stage = Stage::set(&folder.0, &clock, files).await.unwrap();
        // The daemons listen there themselves, one after the other.
        stage.listener = None;
        let place = Place::at(stage.web);
        let url = url.unwrap_or_else(|| format!("sqlite:{}", folder.0.join("leadshare.db").display()));
        let written = std::fs::read_to_string(stage.config_path()).unwrap();
        let mut parts = written.split("\n[connections.");
        let mut text = parts.next().unwrap().replace("data_dir = \".\"", &format!("data_dir = \".\"\nurl = \"{url}\""));
        text.push_str(
            "\n[retry]\nschedule = [\"1s\", \"1s\", \"2s\", \"2s\", \"5s\", \"5s\", \"10s\", \"10s\", \"10s\", \"30s\", \"30s\"]\n",
        );
        for part in parts.filter(|part| partners.iter().any(|name| part.starts_with(&format!("{name}]")))) {
            text.push_str("\n[connections.");
            text.push_str(&part.replace("poll_every = \"5s\"", "poll_every = \"1s\"\nsettle_after = \"30s\""));
        }
        std::fs::write(stage.config_path(), change(text)).unwrap();
        let config = Config::load(Some(&stage.config_path()), std::iter::empty()).unwrap();
        let mut built = daemon::build(&config, &clock).await;
        // A server that starts databases for many of these at once may answer later than a daemon waits for it.
        for _ in 0..15 {
            if !matches!(built, Err(Error::Store(_))) {
                break;
            }
            built = daemon::build(&config, &clock).await;
        }
        let built = built.unwrap();
        let carrier = Carrier::start(stage, &clock);
        Self { carrier, clock, ctx: built.ctx, signer: built.signer, engine, folder, cast: Cast::default(), _place: place }
    }

    /// A house whose partners are connected, with no daemon in it.
    pub async fn connected(engine: Engine, partners: &[&str]) -> Self {
        let house = Self::new(engine, partners, &|text| text).await;
        let daemon = house.start(None).await;
        house.connect().await;
        daemon.kill().await;
        house
    }

    pub fn stage(&self) -> &Stage {
        &self.carrier.stage
    }

    /// Changes the configuration that daemons start with from now on.
    pub fn change(&self, change: &dyn Fn(String) -> String) {
        let path = self.stage().config_path();
        std::fs::write(&path, change(std::fs::read_to_string(&path).unwrap())).unwrap();
    }

    /// Every partner goes through its vendor's own pages, as a visitor does; a daemon must run.
    pub async fn connect(&self) {
        for (name, line) in self.ctx.lines.iter() {
            if line.app().is_some() {
                visitor::connect(&oauth::authorize::make_link(&self.ctx, name, HOUR).await.unwrap()).await.unwrap();
            }
        }
    }

    /// Starts the daemon, told to end or to stop at a point (`delivery.sent:3=kill`), and waits until it is ready.
    pub async fn start(&self, order: Option<&str>) -> Daemon {
        self.start_at(self.stage().web, order).await
    }

    /// Starts a daemon that listens there, and waits until it is ready, or has ended or stopped as it was told to.
    pub async fn start_at(&self, address: SocketAddr, order: Option<&str>) -> Daemon {
        let mut daemon = self.spawn(address, order);
        let end = self.clock.now() + START;
        while daemon.runs() && !daemon.is_stopped() && !self.ready(address).await {
            assert!(self.clock.now() < end, "the daemon does not start: {}", self.tail());
            self.clock.sleep(20).await;
        }
        assert!(order.is_some() || daemon.runs(), "the daemon ended at once: {}", self.tail());
        if daemon.runs() {
            self.carrier.set_up(address, true);
        }
        daemon
    }

    /// Starts a daemon and does not wait for it; no webhooks are carried to it.
    pub fn spawn(&self, address: SocketAddr, order: Option<&str>) -> Daemon {
        let log = std::fs::OpenOptions::new().create(true).append(true).open(self.log(address)).unwrap();
        let mut command = Command::new(env!("CARGO_BIN_EXE_leadshare"));
        command.arg("--config").arg(self.stage().config_path()).arg("run");
        command.env("LEADSHARE_SERVER__LISTEN", address.to_string()).env("LEADSHARE_LOG__FORMAT", "text");
        match order {
            Some(order) => command.env(points::VARIABLE, order),
            None => command.env_remove(points::VARIABLE),
        };
        command.stdin(Stdio::null()).stdout(log.try_clone().unwrap()).stderr(log);
        let child = command.spawn().expect("the daemon starts");
        Daemon { child, address, carrier: self.carrier.clone(), clock: self.clock.clone() }
    }

    /// What a command prints as JSON.
    pub fn says(&self, command: &[&str]) -> Value {
        let mut leadshare = Command::new(env!("CARGO_BIN_EXE_leadshare"));
        let told = leadshare.arg("--config").arg(self.stage().config_path()).args(command).arg("--json").output().unwrap();
        assert!(told.status.success(), "{command:?}: {}", String::from_utf8_lossy(&told.stderr));
        serde_json::from_slice(&told.stdout).unwrap()
    }

    /// Whether a daemon answers there that it is ready.
    pub async fn ready(&self, address: SocketAddr) -> bool {
        self.get(address, "/readyz").await == Some(200)
    }

    /// The status of a page of a daemon.
    pub async fn get(&self, address: SocketAddr, path: &str) -> Option<u16> {
        let url = format!("http://{address}{path}");
        let request = Request::new(Method::Get, url.clone());
        let egress = Egress::allowing("127.0.0.0/8".parse().into_iter().collect());
        Transport::default().send(&egress, &url.parse().unwrap(), &request, None, 10_000).await.ok().map(|answer| answer.status)
    }

    fn log(&self, address: SocketAddr) -> PathBuf {
        self.folder.0.join(format!("daemon-{}.log", address.port()))
    }

    /// What the daemons logged.
    pub fn logged(&self) -> String {
        let logs = std::fs::read_dir(&self.folder.0).unwrap().flatten().map(|e| e.path());
        let logs = logs.filter(|path| path.extension().is_some_and(|e| e == "log"));
        logs.map(|path| std::fs::read_to_string(path).unwrap_or_default()).collect()
    }

    /// The last lines of every daemon's log.
    pub fn tail(&self) -> String {
        let text = self.logged();
        let lines: Vec<&str> = text.lines().collect();
        lines[lines.len().saturating_sub(25)..].join("\n")
    }

    /// One more good lead of a source for a recipient, not entered.
    pub fn pick(&mut self, source: &'static str, recipient: &'static str) -> Person {
        self.cast.take(source, recipient, 1, self.clock.now()).remove(0)
    }

    /// So many more good leads, entered at a source that may share them with a recipient.
    pub fn enter(&mut self, source: &'static str, recipient: &'static str, count: usize) -> Vec<Entered> {
        let people = self.cast.take(source, recipient, count, self.clock.now());
        let ids = self.stage().enter(&people, &self.clock).unwrap();
        people.into_iter().zip(ids).map(|(person, (_, id))| Entered { person, id }).collect()
    }

    /// Somebody gives these people, of Northwind, another last name.
    pub fn rename(&self, people: &[Entered], name: &str) {
        let (actor, served) = self.stage().of("northwind").unwrap();
        for entered in people {
            let fields = [("lastname".to_owned(), name.into())].into();
            let act = Act::Update { object: actor.object.into(), id: entered.id.clone(), fields };
            served.sandbox().act(act, self.clock.now()).unwrap();
        }
    }

    /// Whether these people bear that name at their recipients.
    pub fn renamed(&self, people: &[Entered], name: &str) -> Result<(), String> {
        for (recipient, email, field) in [("brightwater", "Email", "LastName"), ("orchard", "party.email", "party.name")] {
            let records = self.records(recipient);
            for entered in people.iter().filter(|e| e.person.recipient == recipient) {
                let record = records.iter().find(|r| text(r, email).eq_ignore_ascii_case(&entered.person.email));
                let said = record.map(|r| text(r, field)).unwrap_or_default();
                if !said.ends_with(name) {
                    return Err(format!("{} is {said:?} at {recipient}", entered.person.email));
                }
            }
        }
        Ok(())
    }

    /// The live records of a system.
    pub fn records(&self, name: &str) -> Vec<SandboxRecord> {
        let (actor, served) = self.stage().of(name).unwrap();
        let sandbox = served.sandbox();
        sandbox.records(actor.object)
    }

    /// Waits until this is so.
    pub async fn until(&self, what: &str, within: Millis, mut so: impl AsyncFnMut() -> Result<(), String>) {
        let end = self.clock.now() + within;
        loop {
            let Err(why) = so().await else { return };
            assert!(self.clock.now() < end, "not within {} s: {what} ({:?}): {why}\n{}", within / SECOND, self.engine, self.tail());
            self.clock.sleep(LOOK).await;
        }
    }

    /// Waits until everybody has arrived, the sources know it and nothing is left to do; then checks that nothing
    /// was lost and nothing doubled.
    pub async fn at_rest(&self, people: &[Entered], within: Millis) {
        self.until("everything comes to rest", within, async || {
            self.arrived(people)?;
            self.told(people)?;
            let acknowledged = self.carrier.acknowledged();
            self.nothing_open().await?;
            self.every_change_once(people, acknowledged).await
        })
        .await;
        self.nothing_doubled(people);
        let alerts = connections::open_alerts(&self.ctx.db).await.unwrap();
        assert!(alerts.is_empty(), "{alerts:?}");
        let report = sealer::verify(&self.ctx.db, &[], &[self.signer.public()], |_| ()).await.unwrap();
        assert!(report.ok(), "{report:?}");
    }

    /// Somebody does something in the pages of a partner's system.
    pub fn act(&self, name: &str, act: Act) -> String {
        self.stage().of(name).unwrap().1.sandbox().act(act, self.clock.now()).unwrap()
    }

    /// The records of a system with this address, however it is spelled.
    pub fn with_email(&self, name: &str, email: &str) -> Vec<SandboxRecord> {
        let (actor, _) = self.stage().of(name).unwrap();
        self.records(name).into_iter().filter(|r| text(r, actor.email_field).eq_ignore_ascii_case(email)).collect()
    }

    /// How changes of a connection ended, with their reasons and how many.
    pub async fn outcomes(&self, connection: &str) -> Vec<(String, String, i64)> {
        const OUTCOMES: &str = "SELECT outcome, reason, COUNT(*) FROM changes WHERE connection = $1 GROUP BY outcome, reason";
        self.ctx.db.rows(OUTCOMES, args![connection]).await.unwrap()
    }

    /// How many writes were tried.
    pub async fn attempts(&self) -> i64 {
        self.ctx.db.row::<(i64,)>("SELECT COUNT(*) FROM attempts", args![]).await.unwrap().unwrap().0
    }

    /// How often what waits was claimed at most without being finished.
    pub async fn most_claims(&self) -> i64 {
        const MOST: &str = "SELECT CAST(COALESCE(MAX(claims), 0) AS BIGINT) FROM (SELECT claims FROM dirty
          UNION ALL SELECT claims FROM deliveries WHERE state = 'open' AND wanted_version > done_version) AS waits";
        self.ctx.db.row::<(i64,)>(MOST, args![]).await.unwrap().unwrap().0
    }

    /// Whether each person is at their recipient, exactly once.
    fn arrived(&self, people: &[Entered]) -> Result<(), String> {
        for actor in &ACTORS {
            let mut there = BTreeMap::<String, usize>::new();
            for record in self.records(actor.name) {
                *there.entry(text(&record, actor.email_field).to_lowercase()).or_default() += 1;
            }
            for entered in people.iter().filter(|e| e.person.recipient == actor.name) {
                match there.get(&entered.person.email) {
                    None => return Err(format!("{} is not at {}", entered.person.email, actor.name)),
                    Some(1) => {}
                    Some(n) => return Err(format!("{} is {n} times at {}", entered.person.email, actor.name)),
                }
            }
        }
        Ok(())
    }

    /// Whether each source's record says that the lead was delivered.
    fn told(&self, people: &[Entered]) -> Result<(), String> {
        for (name, field, word) in [("northwind", "ls_share_status", "Delivered"), ("lumen", "Partner_Share_Status__c", "delivered")] {
            let records: BTreeMap<String, SandboxRecord> = self.records(name).into_iter().map(|r| (r.id.clone(), r)).collect();
            for entered in people.iter().filter(|e| e.person.source == name) {
                let said = records.get(&entered.id).map(|record| text(record, field)).unwrap_or_default();
                if said != word {
                    return Err(format!("{name} reads {said:?} on {}", entered.person.email));
                }
            }
        }
        Ok(())
    }

    /// Whether no hint waits, no delivery is open and the ledger is sealed.
    pub async fn nothing_open(&self) -> Result<(), String> {
        let hints = dirty::pending(&self.ctx.db).await.map_err(|e| e.to_string())?;
        let open = deliveries::open(&self.ctx.db).await.map_err(|e| e.to_string())?;
        let unsealed = ledger::waiting(&self.ctx.db).await.map_err(|e| e.to_string())?;
        if hints.is_empty() && open.is_empty() && unsealed == 0 {
            return Ok(());
        }
        Err(format!("hints {hints:?}, deliveries {open:?}, {unsealed} entries to seal"))
    }

    /// Checks that what was created at the recipients by us is these people's records and nothing else.
    fn nothing_doubled(&self, people: &[Entered]) {
        for actor in &ACTORS {
            let ours = |r: &SandboxRecord| text(r, actor.marker_field).starts_with("ls1-");
            let made = self.records(actor.name).iter().filter(|r| ours(r)).count();
            let wanted = people.iter().filter(|e| e.person.recipient == actor.name).count();
            assert_eq!(made, wanted, "records of ours at {}", actor.name);
        }
    }

    /// Whether every acknowledged hint is counted in a change that ended, and each lead was shared once.
    async fn every_change_once(&self, people: &[Entered], acknowledged: BTreeMap<(&'static str, String), i64>) -> Result<(), String> {
        const ENDED: &str =
            "SELECT connection, remote_id, CAST(SUM(hints) AS BIGINT), CAST(SUM(CASE WHEN outcome = 'shared' THEN 1 ELSE 0 END) AS BIGINT)
            FROM changes GROUP BY connection, remote_id";
        let ended = self.ctx.db.rows::<(String, String, i64, i64)>(ENDED, args![]).await.map_err(|e| e.to_string())?;
        let ended: BTreeMap<(&str, &str), (i64, i64)> =
            ended.iter().map(|(connection, id, hints, shared)| ((connection.as_str(), id.as_str()), (*hints, *shared))).collect();
        for ((name, id), acknowledged) in acknowledged {
            let (hints, _) = ended.get(&(name, id.as_str())).copied().unwrap_or_default();
            if hints < acknowledged {
                return Err(format!("{name} {id}: {acknowledged} hints were acknowledged and {hints} have an outcome"));
            }
        }
        for entered in people {
            let shared = ended.get(&(entered.person.source, entered.id.as_str())).map_or(0, |(_, shared)| *shared);
            if shared != 1 {
                return Err(format!("{} was decided to be shared {shared} times", entered.person.email));
            }
        }
        Ok(())
    }
}

/// A field's text.
pub fn text(record: &SandboxRecord, field: &str) -> String {
    record.fields.get(field).and_then(Value::as_str).unwrap_or_default().to_owned()
}
