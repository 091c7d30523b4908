//! What a vendor allows is used, and never exceeded: by one replica and by three, over restarts, beside other apps, and
//! with destinations that are down.

use std::sync::Arc;

use leadshare::clock::{Clock, HOUR, MINUTE, Millis, SECOND};
use leadshare::daemon;
use leadshare::demo::cast::Story;
use leadshare::http::egress::Egress;
use leadshare::http::limit::Limits;
use leadshare::http::line::{Line, Role, Setup};
use leadshare::http::talk::{Ended, NoSink, drive};
use leadshare::http::{Terms, Transport};
use leadshare::sandbox::Served;
use leadshare::store::{Db, budgets, connections};
use leadshare::vault::{Blind, Key, Keyring, Markers, Vault};
use leadshare_connectors::salesforce::sandbox::{Options, SalesforceSandbox};
use leadshare_connectors::sdk::manifest::Budget;
use leadshare_connectors::sdk::{Act, Fault, Method, Op, Sandbox, SandboxReply, SandboxRequest};
use secrecy::SecretString;

use super::support::world::{Engine, Folder, PLAIN, START, World};

/// One account at a vendor, and the store that replicas share.
struct Account {
    vendor: &'static str,
    served: Served,
    clock: Clock,
    url: String,
    folder: Folder,
}

/// One replica's way to it.
struct Replica {
    line: Line,
    transport: Transport,
}

impl Account {
    async fn new(vendor: &'static str, sandbox: Box<dyn Sandbox>, engine: Engine) -> Self {
        let (folder, clock) = (Folder::new(), Clock::test(START));
        let port = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = engine.url(&folder.0);
        Self { vendor, served: Served::start(sandbox, port, &clock).unwrap(), clock, url, folder }
    }

    /// A replica that has just started, with a token of now.
    async fn replica(&self) -> Replica {
        self.replica_with(100).await
    }

    /// The same, promised so much of the budget.
    async fn replica_with(&self, share_of_budget: u32) -> Replica {
        let budgets = (leadshare_connectors::by_name(self.vendor).unwrap().connector)().manifest().budgets.clone();
        self.replica_of(share_of_budget, budgets).await
    }

    async fn replica_of(&self, share_of_budget: u32, budgets: Vec<Budget>) -> Replica {
        let db = Db::open(&self.url).await.unwrap();
        connections::ensure(&db, "c", "p", self.vendor, START).await.unwrap();
        let connector = (leadshare_connectors::by_name(self.vendor).unwrap().connector)();
        let setup = Setup {
            name: "c".into(),
            partner: "p".into(),
            base_url: Some(self.served.url()),
            api_version: connector.manifest().api_version.clone(),
            tenant: None,
            app: None,
            spool: self.folder.0.join("spool"),
            key: Some(SecretString::from(self.served.sandbox().token(self.clock.now()))),
            role: Role::Both,
            webhook_secrets: vec![],
            observe: false,
            brake_per_hour: 1,
            poll_every: MINUTE,
            poll_at_least_every: MINUTE,
            settle_after: MINUTE,
            egress: Egress::allowing("127.0.0.0/8".parse().into_iter().collect()),
            budgets: budgets.into(),
            share_of_budget,
            connector: connector.into(),
        };
        Replica { line: Line::new(setup, &self.clock, &db, &vault(&self.clock), None), transport: Transport::default() }
    }

    /// A replica sends one request, or waits: answers when it may be tried again.
    async fn ask(&self, replica: &Replica) -> Option<Millis> {
        let op = match self.vendor {
            "hubspot" => Op::Fetch { object: "contact".into(), ids: vec!["1".into()], fields: vec!["email".into()] },
            _ => Op::Fetch { object: "Lead".into(), ids: vec!["00Q000000000001AAA".into()], fields: vec!["Email".into()] },
        };
        self.run(replica, &op).await
    }

    /// The same of an operation that may take several requests.
    async fn run(&self, replica: &Replica, op: &Op) -> Option<Millis> {
        let talk = replica.line.connector().open(op, &replica.line.account(), None).unwrap();
        match drive(&replica.transport, &replica.line, &self.clock, talk, Terms::TURN, &mut NoSink).await.unwrap() {
            Ended::Done(_) => None,
            Ended::Wait(until) => Some(until),
            other => panic!("{other:?}"),
        }
    }

    /// A replica has a backlog until then.
    async fn backlog(&self, replica: &Replica, until: Millis) {
        while self.clock.now() < until {
            match self.ask(replica).await {
                Some(at) => self.clock.advance((at.min(until) - self.clock.now()).max(1)),
                // A request takes a moment.
                None => self.clock.advance(2),
            }
        }
    }

    /// People enter so many contacts; answers their ids.
    fn people(&self, many: usize) -> Vec<String> {
        let act = |n| Act::Create { object: "contact".into(), fields: [("email".to_owned(), format!("p{n}@example.org").into())].into() };
        (0..many).map(|n| self.served.sandbox().act(act(n), self.clock.now()).unwrap()).collect()
    }

    fn asked(&self) -> u64 {
        self.served.sandbox().stats().requests
    }

    fn throttled(&self) -> u64 {
        self.served.sandbox().stats().throttled
    }
}

fn vault(clock: &Clock) -> Arc<Vault> {
    let key = || Key::generate(clock).unwrap();
    let keys = Keyring::new("k1", [("k1".to_owned(), key())]).unwrap();
    Arc::new(Vault { keys, blind: Blind::new(key()), markers: Markers::new(key()) })
}

// Breaks when a backlog leaves more than three hundredths of HubSpot's quota unused, or gets a single 429; also when the
// connection passes from one of three replicas to the next every few seconds.
#[tokio::test]
async fn a_backlog_uses_hubspots_quota_and_never_exceeds_it() {
    for replicas in [1, 3] {
        let sandbox = (leadshare_connectors::by_name("hubspot").unwrap().sandbox)(7);
        let account = Account::new("hubspot", sandbox, Engine::Postgres).await;
        let mut all = Vec::new();
        for _ in 0..replicas {
            all.push(account.replica().await);
        }
        // The first window begins with an even pace; then all is as it stays.
        account.backlog(&all[0], START + 10 * SECOND).await;
        let (before, began) = (account.asked(), account.clock.now());
        for turn in 1..=20 {
            let owner = &all[turn % replicas];
            owner.line.limits().forget();
            account.backlog(owner, began + turn as Millis * 3_000).await;
            owner.line.limits().give_back().await.unwrap();
        }
        let quota = (account.clock.now() - began) as u64 * 110 / 10_000;
        let used = (account.asked() - before) * 1_000 / quota;
        println!("hubspot, {replicas} replicas: {} of 1000 of the quota used, {} throttled", used, account.throttled());
        assert_eq!(account.throttled(), 0);
        assert!(used >= 970, "{replicas} replicas: only {used} of 1000 used");
    }
}

// The same at Salesforce, whose day rolls, and whose own answers say how much an organisation has. Each hour another
// replica goes on.
#[tokio::test]
async fn a_backlog_uses_salesforces_day_and_never_exceeds_it() {
    let options = Options { daily_requests: 600, ..Options::default() };
    let account = Account::new("salesforce", Box::new(SalesforceSandbox::with(7, options)), Engine::Postgres).await;
    for hour in 1..=48 {
        let owner = account.replica().await;
        account.backlog(&owner, START + hour * HOUR).await;
        owner.line.limits().give_back().await.unwrap();
        assert!(hour > 1 || account.asked() <= 200, "the whole day went in an hour");
    }
    let used = account.asked() * 1_000 / 1_200;
    println!("salesforce: {used} of 1000 of two days' quota used, {} throttled", account.throttled());
    assert_eq!(account.throttled(), 0);
    assert!(used >= 970, "only {used} of 1000 used");
}

// Breaks when a crash in the middle of a window forgets what was spent in it, or three that spend at the same time
// exceed the limit because one of them no longer owns the connection.
#[tokio::test]
async fn limits_hold_over_crashes_and_without_trusting_the_owner() {
    for engine in Engine::BOTH {
        let sandbox = (leadshare_connectors::by_name("hubspot").unwrap().sandbox)(7);
        let account = Account::new("hubspot", sandbox, engine).await;
        for restart in 1..=8 {
            let replica = account.replica().await;
            account.backlog(&replica, START + restart * 4_000).await;
        }
        let quota = 32_000 * 110 / 10_000;
        let used = account.asked() * 100 / quota;
        assert!(account.throttled() == 0 && used >= 85, "{engine:?}: {used} % used, {} throttled", account.throttled());
    }
    let sandbox = (leadshare_connectors::by_name("hubspot").unwrap().sandbox)(7);
    let account = Account::new("hubspot", sandbox, Engine::Postgres).await;
    let all = [account.replica().await, account.replica().await, account.replica().await];
    while account.clock.now() < START + 40 * SECOND {
        for replica in &all {
            account.ask(replica).await;
            account.clock.advance(3);
        }
    }
    assert_eq!(account.throttled(), 0);
    assert!(account.asked() >= 330, "{} requests", account.asked());
}

// Breaks when we take more than the partner promised us, or notice another app that spends from the same quota only by
// its 429s or ours.
#[tokio::test]
async fn other_apps_leave_us_the_rest() {
    let sandbox = (leadshare_connectors::by_name("hubspot").unwrap().sandbox)(7);
    let account = Account::new("hubspot", sandbox, Engine::Sqlite).await;
    let replica = account.replica_with(50).await;
    let token = account.served.sandbox().token(START);
    let request = SandboxRequest {
        method: Method::Get,
        path: "/crm/objects/2026-09/contacts/1".into(),
        headers: vec![("authorization".into(), format!("Bearer {token}"))],
        body: vec![],
    };
    let other = || {
        let answer = account.served.sandbox().handle(&request, account.clock.now());
        let SandboxReply::Answer(answer) = answer else { panic!("dropped") };
        assert_ne!(answer.status, 429, "the other app was throttled because of us");
        answer.header("x-hubspot-ratelimit-remaining").unwrap().parse::<u64>().unwrap()
    };
    // Five a second, beside our half.
    let (mut next, mut theirs) = (START, 0);
    while account.clock.now() < START + 40 * SECOND {
        if next <= account.clock.now() {
            other();
            theirs += 1;
            next = account.clock.now() + 200;
        }
        match account.ask(&replica).await {
            Some(at) => account.clock.advance((at - account.clock.now()).clamp(1, 50)),
            None => account.clock.advance(2),
        }
    }
    let ours = account.asked() - theirs;
    assert!((210..=240).contains(&ours), "{ours} of ours");
    // They leave four of a whole window: we see it, and wait for the next.
    account.clock.advance(11 * SECOND);
    while other() > 4 {
        account.clock.advance(1);
    }
    let (before, began) = (account.asked(), account.clock.now());
    account.backlog(&replica, began + 9 * SECOND).await;
    assert!((1..=4).contains(&(account.asked() - before)), "{} more", account.asked() - before);
    account.backlog(&replica, began + 20 * SECOND).await;
    assert!(account.asked() - before >= 40, "{} more", account.asked() - before);
    assert_eq!(account.throttled(), 0);
}

// Breaks when a restart forgets that the vendor said to wait, and asks again before the time.
#[tokio::test]
async fn a_pause_survives_a_restart() {
    for engine in Engine::BOTH {
        let world = World::new(engine, &["northwind", "brightwater"]).await;
        world.work().await;
        world.inject("brightwater", Fault::DailyQuota { until: world.clock.now() + HOUR });
        let (person, _) = world.enter_one();
        world.pass(MINUTE).await;
        let asked = world.stats("brightwater");
        assert!(asked.throttled > 0);
        let again = daemon::build(&world.config, &world.clock).await.unwrap();
        for _ in 0..10 {
            world.clock.advance(MINUTE);
            daemon::drain(&again.ctx, &again.signer).await.unwrap();
        }
        assert_eq!(world.stats("brightwater"), asked, "{engine:?}: asked before the pause was over");
        let paused = budgets::all(&again.ctx.db).await.unwrap();
        assert!(paused.iter().any(|row| row.0 == "brightwater" && row.3 > world.clock.now()), "{paused:?}");
        world.clock.advance(HOUR);
        world.settle().await;
        assert_eq!(world.share(&person.email).await.status, "delivered");
        assert!(world.attempts(&person.email).await.iter().all(|(_, how, code)| how == "written" || code.as_deref() == Some("waiting")));
    }
}

// Breaks when a destination that is down delays another, is asked all the time, is complained of more than once, or
// when nobody hears that it is well again.
#[tokio::test]
async fn a_dead_destination_delays_nobody_and_is_left_alone() {
    let world = World::new(Engine::Sqlite, &["northwind", "brightwater", "lumen", "tessera"]).await;
    world.work().await;
    let before = world.stats("brightwater").requests;
    world.inject("brightwater", Fault::Status { status: 503, count: 1_000 });
    let dead = world.people("northwind", "brightwater", Story::Good, 3);
    let well = world.people("lumen", "tessera", Story::Good, 3);
    world.enter(&dead);
    world.enter(&well);
    world.pass(30 * SECOND).await;
    for person in &well {
        assert_eq!(world.share(&person.email).await.status, "delivered", "delayed by another's trouble");
    }
    world.pass(HOUR).await;
    let asked = world.stats("brightwater").requests - before;
    assert!((8..60).contains(&asked), "asked {asked} times in an hour");
    assert_eq!(world.alerts().await, [("brightwater".to_owned(), "connection.unreachable".to_owned())]);
    for person in &dead {
        assert_eq!(world.share(&person.email).await.status, "matched");
    }
    world.inject("brightwater", Fault::Status { status: 503, count: 0 });
    world.pass(20 * MINUTE).await;
    world.settle().await;
    assert_eq!(world.alerts().await, [], "its recovery is announced");
    for person in &dead {
        assert_eq!(world.share(&person.email).await.status, "delivered");
        assert_eq!(world.with_email("brightwater", &person.email).len(), 1);
    }
}

// Breaks when a read that takes several requests is begun though its budget gives only some of them soon, and given up for the others:
// it is begun again for ever, and all that is spent is spent for nothing. Opt-outs are asked for one by one here, after the records.
#[tokio::test]
async fn a_small_budget_makes_reads_slow_and_ends_them() {
    for (people, limit, window_ms) in [(3, 12, MINUTE), (3, 6, MINUTE), (3, 40, 30 * MINUTE), (12, 12, MINUTE), (100, 12, MINUTE)] {
        let sandbox = (leadshare_connectors::by_name("hubspot").unwrap().sandbox)(7);
        let account = Account::new("hubspot", sandbox, Engine::Sqlite).await;
        let mut budgets = (leadshare_connectors::by_name("hubspot").unwrap().connector)().manifest().budgets.clone();
        for budget in budgets.iter_mut().filter(|budget| budget.name == "general") {
            (budget.limit, budget.window_ms) = (limit, window_ms);
        }
        let ids = account.people(people);
        let replica = account.replica_of(100, budgets).await;
        let fields = ["email", "email@history", "@communication_preferences"].map(str::to_owned).to_vec();
        let op = Op::Fetch { object: "contact".into(), ids, fields };
        let (end, mut read) = (START + 25 * MINUTE, 0);
        while account.clock.now() < end {
            match account.run(&replica, &op).await {
                Some(at) => account.clock.advance((at.min(end) - account.clock.now()).max(1)),
                None => read += 1,
            }
        }
        let (asked, given) = (account.asked(), 25 * MINUTE * i64::from(limit) / window_ms);
        let all = read * (people as u64 + 1);
        assert!(
            asked as i64 * 10 >= given * 7 && all * 10 >= asked * 6,
            "{limit} in {window_ms} ms: {read} reads of {people} with {asked} requests"
        );
    }
}

// Breaks when a write that takes several requests is begun though its budget cannot give them all while its gates hold: it is
// given up at its end, for ever; or when a poll that is stopped by its budget begins again at its start, and never finds what is gone.
#[tokio::test]
async fn a_small_budget_makes_deliveries_and_polls_slow_and_loses_none() {
    for engine in Engine::BOTH {
        let small = |name: &str, text: &str| match name {
            "leadshare.toml" => {
                let text = text.replace("poll_every = \"5s\"", "poll_every = \"60s\"");
                text.replace("[connections.orchard]\n", "[connections.orchard]\nbudgets = { requests = { limit = 12 } }\n")
            }
            _ => text.to_owned(),
        };
        let world = World::changed(engine, &["northwind", "orchard"], &small).await;
        let people = world.people("northwind", "orchard", Story::Good, 3);
        world.enter(&people);
        world.pass(10 * MINUTE).await;
        for person in &people {
            assert_eq!(world.share(&person.email).await.status, "delivered", "{engine:?}: {:?}", world.attempts(&person.email).await);
            assert_eq!(world.with_email("orchard", &person.email).len(), 1, "{engine:?}");
        }
        let id = world.with_email("orchard", &people[1].email)[0].id.clone();
        world.delete("orchard", &id);
        world.pass(HOUR).await;
        let (status, ..) = world.stand(&people[1].email).await;
        assert_eq!(status, "returned", "{engine:?}");
    }
}

// Breaks when records that take a request each are not read with a small budget, or when a partner is not asked for the right to read what
// their mapping names.
#[tokio::test]
async fn a_small_budget_reads_records_that_take_a_request_each() {
    let small = |name: &str, text: &str| match name {
        "leadshare.toml" => {
            let text = text.replace("poll_every = \"5s\"", "poll_every = \"60s\"");
            text.replace("[connections.northwind]\n", "[connections.northwind]\nbudgets = { general = { limit = 12, window = \"1m\" } }\n")
        }
        "mappings/northwind.toml" => text.replace(
            "stop = [{ crm",
            "stop = [{ api = \"communication_preferences\", is = \"UNSUBSCRIBED\", blocks = [\"email\"] }, { crm",
        ),
        _ => text.to_owned(),
    };
    let mut world = World::changed(Engine::Sqlite, PLAIN, &small).await;
    // As in an edition without the right to ask for many at once.
    let fewer = "UPDATE connections SET scopes = REPLACE(scopes, 'communication_preferences.statuses.batch.read', 'oauth')
      WHERE name = 'northwind' AND scopes LIKE '%batch.read%' AND scopes LIKE '%communication_preferences.read%'";
    assert_eq!(world.ctx.db.exec(fewer, leadshare::args![]).await.unwrap(), 1, "both were asked for");
    world.restart().await;
    let people = world.people("northwind", "brightwater", Story::Good, 60);
    world.enter(&people);
    let before = world.stats("northwind").requests;
    world.pass(24 * MINUTE).await;
    for person in &people {
        assert_eq!(world.share(&person.email).await.status, "delivered", "{}", person.email);
    }
    let asked = world.stats("northwind").requests - before;
    assert!(asked <= 25 * 12, "{asked} requests");
}

// Breaks when deliveries that need many units at once starve beside reads that take them one by one, or the other way round, or when one of
// them waits for others who have nothing to do.
#[tokio::test]
async fn deliveries_and_reads_take_turns_over_a_small_budget() {
    for (write, read, least_writes, least_reads) in [(true, true, 12, 30), (true, false, 30, 0), (false, true, 0, 330)] {
        let (folder, clock) = (Folder::new(), Clock::test(START));
        let db = Db::open(&Engine::Sqlite.url(&folder.0)).await.unwrap();
        let mut budget = (leadshare_connectors::by_name("tryton").unwrap().connector)().manifest().budgets[0].clone();
        (budget.limit, budget.window_ms) = (12, MINUTE);
        let limits = Limits::new(&clock, &db, "c", &[], &[budget], 100);
        let needs = [("requests".to_owned(), 10)].into();
        let end = START + 30 * MINUTE;
        let (mut write_at, mut read_at, mut writes, mut reads) = (START, START, 0, 0);
        while clock.now() < end {
            if write && write_at <= clock.now() {
                match limits.ahead_of_others(&needs, Terms { first: true, ..Terms::TURN }).await {
                    Ok(ahead) => {
                        assert!(ahead.part(&[("requests", 10)]).is_some());
                        writes += 1;
                    }
                    Err(until) => write_at = until,
                }
            }
            if read && read_at <= clock.now() {
                match limits.spend(&[("requests", 1)], Terms::TURN).await {
                    Ok(_) => reads += 1,
                    Err(until) => read_at = until,
                }
            }
            clock.advance(1);
        }
        let fair = writes >= least_writes && reads >= least_reads && writes * 10 + reads <= 31 * 12;
        assert!(fair, "write {write}, read {read}: {writes} writes, {reads} reads");
    }
}
