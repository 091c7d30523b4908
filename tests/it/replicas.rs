//! Several replicas on one PostgreSQL database: whose a connection is, and what happens when one dies, wakes late or leaves.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use leadshare::clock::{Clock, SECOND};
use leadshare::context::Context;
use leadshare::daemon;
use leadshare::demo::cast::{Person, Story};
use leadshare::ledger::Signer;
use leadshare::replicas::{self, BEAT, LEASE, Member};
use leadshare::store::{Db, connections, deliveries, dirty, replicas as rows};
use serde_json::{Value, json};

use super::support::world::{Engine, START, World, claim_out};

const ALL: &[&str] = &["northwind", "brightwater", "lumen", "tessera", "orchard"];

struct Replica {
    ctx: Arc<Context>,
    signer: Signer,
    member: Member,
}

impl Replica {
    async fn start(world: &World, name: &str) -> Self {
        let built = daemon::build(&world.config, &world.clock).await.unwrap();
        let member = Member::join(&built.ctx, name, 0).await.unwrap();
        Self { ctx: built.ctx, signer: built.signer, member }
    }

    /// The connections that it would call now.
    fn calls(&self) -> BTreeSet<String> {
        self.ctx.lines.values().filter(|line| line.fence().holds(&self.ctx.clock)).map(|line| line.name().to_owned()).collect()
    }

    async fn work(&self) -> usize {
        daemon::drain(&self.ctx, &self.signer).await.unwrap()
    }
}

async fn three(world: &World) -> Vec<Replica> {
    let mut all = Vec::new();
    for name in ["one", "two", "three"] {
        all.push(Replica::start(world, name).await);
    }
    spread(&all.iter().collect::<Vec<_>>()).await;
    all
}

/// Lets hearts beat until connections are spread.
async fn spread(all: &[&Replica]) {
    for _ in 0..4 {
        for replica in all {
            assert!(replica.member.beat().await.unwrap());
        }
    }
}

/// Hearts beat and everybody works, until nothing is due at this moment.
async fn work(world: &World, all: &[&Replica]) {
    loop {
        let mut worked = 0;
        for served in &world.stage.systems {
            worked += served.pump().await;
        }
        for replica in all {
            assert!(replica.member.beat().await.unwrap());
            worked += replica.work().await;
        }
        if worked == 0 {
            return;
        }
    }
}

async fn owners(world: &World) -> BTreeMap<String, (Option<String>, String)> {
    let all = rows::owners(&world.ctx.db).await.unwrap();
    all.into_iter().map(|(name, owner, epoch)| (name, (owner, epoch.unwrap_or_default()))).collect()
}

async fn all_arrived(world: &World, people: &[Person]) {
    for person in people {
        let (status, tries) = (world.share(&person.email).await.status, world.attempts(&person.email).await);
        assert_eq!(
            status,
            "delivered",
            "{} to {}: {tries:?}, {:?}",
            person.source,
            person.recipient,
            connections::open_alerts(&world.ctx.db).await
        );
        assert_eq!(world.with_email(person.recipient, &person.email).len(), 1, "{tries:?}");
    }
}

fn leads(world: &World) -> Vec<Person> {
    [("northwind", "brightwater"), ("lumen", "tessera"), ("northwind", "orchard")]
        .into_iter()
        .flat_map(|(source, recipient)| world.people(source, recipient, Story::Good, 3))
        .collect()
}

// Breaks when two replicas call one vendor account, one replica does all the work, or a lead falls between two.
#[tokio::test]
async fn connections_are_spread_and_every_lead_arrives_once() {
    let world = World::new(Engine::Postgres, ALL).await;
    let all = three(&world).await;
    let calls: Vec<BTreeSet<String>> = all.iter().map(Replica::calls).collect();
    assert_eq!(calls.iter().map(BTreeSet::len).sum::<usize>(), ALL.len(), "{calls:?}");
    assert_eq!(calls.iter().flatten().collect::<BTreeSet<_>>().len(), ALL.len(), "{calls:?}");
    assert!(calls.iter().all(|c| (1..=2).contains(&c.len())), "{calls:?}");
    let people = leads(&world);
    world.enter(&people);
    for _ in 0..20 {
        work(&world, &all.iter().collect::<Vec<_>>()).await;
        world.clock.advance(SECOND);
    }
    all_arrived(&world, &people).await;
    assert_eq!(calls, all.iter().map(Replica::calls).collect::<Vec<_>>(), "nothing moves without need");
}

// Breaks when a dead replica's connections stay without an owner, or what it had claimed waits for its lease to run out.
#[tokio::test]
async fn a_dead_replicas_work_is_taken_over_within_seconds() {
    let world = World::new(Engine::Postgres, ALL).await;
    let mut all = three(&world).await;
    work(&world, &all.iter().collect::<Vec<_>>()).await;
    let before = owners(&world).await;
    let dead = all.iter().position(|r| r.calls().contains("northwind")).unwrap();
    let dead = all.remove(dead);
    let others: Vec<&Replica> = all.iter().collect();
    // It dies having claimed what it was to read.
    let people = leads(&world);
    world.enter(&people);
    for served in &world.stage.systems {
        served.pump().await;
    }
    let now = world.clock.now();
    let claimed = dirty::claim(&dead.ctx.db, "northwind", "contact", "dead", now, now + 120 * SECOND, 100).await.unwrap();
    assert_eq!(claimed.len(), 6);
    for _ in 0..2 {
        world.clock.advance(SECOND);
        work(&world, &others).await;
    }
    assert_eq!(owners(&world).await, before, "two seconds are not death");
    for _ in 0..2 {
        world.clock.advance(SECOND);
        work(&world, &others).await;
    }
    let after = owners(&world).await;
    for (name, (owner, epoch)) in &after {
        let held = others.iter().find(|r| Some(r.member.id()) == *owner).unwrap_or_else(|| panic!("{name} has no owner that lives"));
        assert!(held.calls().contains(name));
        assert_eq!(epoch == &before[name].1, owner == &before[name].0, "the epoch changes with the owner: {name}");
    }
    assert!(after["northwind"].1.starts_with("2-"), "{after:?}");
    work(&world, &others).await;
    all_arrived(&world, &people).await;
    assert!(world.clock.now() < now + 10 * SECOND);
}

// Breaks when a dead replica's connections are kept for a newcomer that has died since: they would rest until that one is found dead
// as well, and so on for as long as replicas come and go.
#[tokio::test]
async fn nothing_is_kept_for_one_that_may_be_dead() {
    let world = World::new(Engine::Postgres, ALL).await;
    let mut all = three(&world).await;
    let _dead = all.remove(0);
    let others: Vec<&Replica> = all.iter().collect();
    world.clock.advance(BEAT);
    spread(&others).await;
    let newcomer = Replica::start(&world, "newcomer").await;
    assert!(newcomer.member.beat().await.unwrap());
    for _ in 1..LEASE / BEAT {
        world.clock.advance(BEAT);
        for replica in &others {
            assert!(replica.member.beat().await.unwrap());
        }
    }
    assert_eq!(others.iter().map(|r| r.calls().len()).sum::<usize>(), ALL.len(), "the first is found dead now, the newcomer is not");
    assert_eq!(rows::all(&world.ctx.db).await.unwrap().len(), 3);
}

// Breaks when a replica that was stopped and wakes late calls a vendor, keeps what is another's, or never works again.
#[tokio::test]
async fn one_that_wakes_late_does_no_harm_and_begins_anew() {
    let world = World::new(Engine::Postgres, ALL).await;
    let mut all = three(&world).await;
    work(&world, &all.iter().collect::<Vec<_>>()).await;
    let late = all.iter().position(|r| r.calls().contains("northwind")).unwrap();
    let late = all.remove(late);
    let others: Vec<&Replica> = all.iter().collect();
    let id = late.member.id();
    for _ in 0..6 {
        world.clock.advance(SECOND);
        spread(&others).await;
    }
    // It wakes: its fences have closed by its own clock, before it knows anything.
    assert!(late.calls().is_empty());
    let requests = |world: &World| ALL.iter().map(|name| world.stats(name).requests).sum::<u64>();
    let (before, people) = (requests(&world), leads(&world));
    world.enter(&people);
    let rules = late.ctx.rules();
    for line in late.ctx.lines.values() {
        leadshare::pipeline::turn(&late.ctx, line).await.unwrap();
        for mapping in rules.of(line.name()) {
            assert!(
                leadshare::intake::read::read(&late.ctx, line, mapping, false).await.unwrap().is_none_or(|batch| batch.source.is_empty())
            );
        }
    }
    assert_eq!(requests(&world), before, "it called a vendor that is another's");
    assert!(!late.member.beat().await.unwrap(), "its heartbeat tells it");
    late.member.rejoin().await.unwrap();
    assert_ne!(late.member.id(), id);
    let everybody: Vec<&Replica> = others.iter().copied().chain([&late]).collect();
    spread(&everybody).await;
    assert!(!late.calls().is_empty(), "it has its part again");
    for _ in 0..20 {
        work(&world, &everybody).await;
        world.clock.advance(SECOND);
    }
    all_arrived(&world, &people).await;
}

// Breaks when one that was late itself, because the database was gone for everybody, declares the others dead.
#[tokio::test]
async fn who_was_late_does_not_judge() {
    let world = World::new(Engine::Postgres, ALL).await;
    let all = three(&world).await;
    let before = owners(&world).await;
    world.clock.advance(4 * LEASE);
    assert!(all.iter().all(|r| r.calls().is_empty()), "nobody calls without a heartbeat");
    spread(&all.iter().collect::<Vec<_>>()).await;
    assert_eq!(owners(&world).await, before);
    assert_eq!(all.iter().map(|r| r.calls().len()).sum::<usize>(), ALL.len());
}

// Breaks when a replica that stops cleanly leaves a gap.
#[tokio::test]
async fn a_clean_stop_hands_over_at_once() {
    let world = World::new(Engine::Postgres, ALL).await;
    let mut all = three(&world).await;
    work(&world, &all.iter().collect::<Vec<_>>()).await;
    let leaving = all.remove(0);
    // One of its connections has a turn still.
    let mine: Vec<String> = leaving.calls().into_iter().collect();
    assert!(leaving.member.begin(&mine[0]));
    leaving.member.retire().await.unwrap();
    assert_eq!(leaving.calls(), [mine[0].clone()].into(), "the turn under way goes on");
    assert!(!leaving.member.begin(&mine[0]), "and no other begins");
    let others: Vec<&Replica> = all.iter().collect();
    spread(&others).await;
    assert_eq!(others.iter().map(|r| r.calls().len()).sum::<usize>(), ALL.len() - 1);
    leaving.member.end(&mine[0]);
    leaving.member.leave().await.unwrap();
    spread(&others).await;
    assert_eq!(others.iter().map(|r| r.calls().len()).sum::<usize>(), ALL.len(), "without a second passing");
    assert!(leaving.calls().is_empty());
    let people = leads(&world);
    world.enter(&people);
    for _ in 0..20 {
        work(&world, &others).await;
        world.clock.advance(SECOND);
    }
    all_arrived(&world, &people).await;
}

// Breaks when an embedded store is without an owner after a crash, for any time at all.
#[tokio::test]
async fn one_replica_on_an_embedded_store_owns_everything_at_once() {
    let world = World::new(Engine::Sqlite, ALL).await;
    for round in 1..=2 {
        let replica = Replica::start(&world, "only").await;
        assert!(replica.member.beat().await.unwrap());
        assert_eq!(replica.calls().len(), ALL.len());
        assert_eq!(rows::all(&world.ctx.db).await.unwrap().len(), 1);
        assert!(owners(&world).await.values().all(|(_, epoch)| epoch.starts_with(&format!("{round}-"))));
    }
}

// Breaks when a finished write of a replica that lost its connection passes for what its new owner knows.
#[tokio::test]
async fn claims_of_a_former_owner_are_worth_nothing() {
    let world = World::new(Engine::Postgres, ALL).await;
    let first = Replica::start(&world, "first").await;
    spread(&[&first]).await;
    let (now, db) = (world.clock.now(), &world.ctx.db);
    let mut tx = db.begin().await.unwrap();
    deliveries::want(&mut tx, &json!([["s", "out", "brightwater", "Lead", 1, now]]), now).await.unwrap();
    tx.commit().await.unwrap();
    assert_eq!(claim_out(db, "brightwater", "first", now, now + 120 * SECOND, 10).await.len(), 1);
    world.clock.advance(LEASE);
    let second = Replica::start(&world, "second").await;
    spread(&[&second]).await;
    assert!(second.calls().contains("brightwater"));
    let held = async |lease: &str| {
        let mut tx = db.begin().await.unwrap();
        deliveries::still_held(&mut tx, "out", lease, &json!([["s"]]), 0).await.unwrap()
    };
    assert!(held("first").await.is_empty());
    let now = world.clock.now();
    assert_eq!(claim_out(db, "brightwater", "second", now, now + 120 * SECOND, 10).await.len(), 1);
    assert_eq!(held("second").await, ["s"]);
}

// Breaks when two workers get one row, or one gets more than it asked for: some vendors are written one at a time.
#[tokio::test]
async fn nobody_claims_what_another_has() {
    let world = World::new(Engine::Postgres, ALL).await;
    let now = world.clock.now();
    let mut tx = world.ctx.db.begin().await.unwrap();
    let rows: Vec<_> = (0..300).map(|n| json!([format!("s{n:03}"), "out", "brightwater", "Lead", 1, now])).collect();
    deliveries::want(&mut tx, &Value::from(rows), now).await.unwrap();
    tx.commit().await.unwrap();
    let claims = (0..24).map(|n| {
        let db = world.ctx.db.clone();
        tokio::spawn(async move { claim_out(&db, "brightwater", &format!("w{n}"), now, now + 1_000, 20).await })
    });
    let mut got = Vec::new();
    for claim in claims.collect::<Vec<_>>() {
        let claimed = claim.await.unwrap();
        assert!(claimed.len() <= 20, "{} at once", claimed.len());
        got.extend(claimed.into_iter().map(|d| d.share));
    }
    assert_eq!(got.iter().collect::<BTreeSet<_>>().len(), got.len(), "one row was given to two");
    got.extend(claim_out(&world.ctx.db, "brightwater", "rest", now, now + 1_000, 300).await.into_iter().map(|d| d.share));
    assert_eq!(got.len(), 300, "none is lost on the way");
}

// Breaks when a replica works by a clock that means other times than everybody else's.
#[tokio::test]
async fn a_wrong_clock_is_refused() {
    for engine in Engine::BOTH {
        let folder = super::support::world::Folder::new();
        let db = Db::open(&engine.url(&folder.0)).await.unwrap();
        assert!(replicas::offset(&db, &Clock::system()).await.unwrap().abs() <= 2_000);
        let refused = replicas::offset(&db, &Clock::test(START)).await.unwrap_err().to_string();
        assert!(refused.contains("replica.clock") && refused.contains("behind"), "{refused}");
    }
}
