//! Writes that arrive later than anybody expects: no two live records for good, and nothing of somebody who has withdrawn.

use std::collections::{BTreeMap, BTreeSet};

use leadshare::clock::{HOUR, MINUTE, Millis, SECOND};
use leadshare::demo::cast::Story;
use leadshare_connectors::sdk::{Fault, Method, SandboxRequest};
use serde_json::json;

use super::support::world::{Engine, World, text};

/// Leads of one trial.
const LEADS: usize = 24;
/// No write arrives later than that.
const LATEST: Millis = 3 * HOUR;

/// A number below `end`, always the same ones in the same order.
fn dice(state: &mut u64, end: u64) -> u64 {
    *state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
    (*state >> 33) % end
}

/// From ten seconds to [`LATEST`], each doubling as likely as the other.
fn lateness(state: &mut u64) -> Millis {
    ((10 * SECOND) << dice(state, 10)) * (100 + dice(state, 100) as Millis) / 100
}

/// People with more than one live record at the recipient, by address; what is late and due by now has arrived.
fn twins(world: &World, recipient: &str, field: &str) -> BTreeSet<String> {
    let nobodys = SandboxRequest { method: Method::Get, path: "/".into(), headers: Vec::new(), body: Vec::new() };
    world.stage.of(recipient).unwrap().1.sandbox().handle(&nobodys, world.clock.now());
    let mut there = BTreeMap::<String, usize>::new();
    for record in world.records(recipient) {
        *there.entry(text(&record, field).to_lowercase()).or_default() += 1;
    }
    there.into_iter().filter(|(email, n)| !email.is_empty() && *n > 1).map(|(email, _)| email).collect()
}

/// Where writes are late, and what is known of records there.
struct Place {
    recipient: &'static str,
    source: &'static str,
    email: &'static str,
    /// Whether one step of a create has a unique key, and is there before the step that has none.
    steps: bool,
}

/// Delivers leads whose first write arrives late, each by another time; answers who was there twice for a while.
async fn late_writes(engine: Engine, at: &Place) -> usize {
    let world = World::new(engine, &[at.source, at.recipient]).await;
    let people = world.people(at.source, at.recipient, Story::Good, LEADS);
    let (mut state, mut seen) = (7, BTreeSet::new());
    for person in &people {
        if at.steps {
            // The first step is done, and never answered: sent once, and three times again. It is looked for two minutes later.
            world.inject(at.recipient, Fault::DropAfterCommit { count: 4 });
            world.enter(std::slice::from_ref(person));
            world.work().await;
            world.clock.advance(125 * SECOND);
            seen.extend(twins(&world, at.recipient, at.email));
        } else {
            world.enter(std::slice::from_ref(person));
        }
        let count = 1 + dice(&mut state, 4) as u32;
        world.inject(at.recipient, Fault::CommitLate { count: if at.steps { 1 } else { count }, after_ms: lateness(&mut state) });
        world.work().await;
        // Looked for again, and written again where it has not arrived.
        world.clock.advance(125 * SECOND);
        seen.extend(twins(&world, at.recipient, at.email));
        world.work().await;
    }
    // It is looked for at the latest when it is twice as late.
    let end = world.clock.now() + 2 * LATEST + HOUR;
    while world.clock.now() < end {
        seen.extend(twins(&world, at.recipient, at.email));
        world.work().await;
        world.clock.advance(10 * MINUTE);
    }
    for person in &people {
        let case = format!("{engine:?}, {}: {:?}", at.recipient, world.attempts(&person.email).await);
        assert_eq!(world.with_email(at.recipient, &person.email).len(), 1, "{case}");
        assert_eq!(world.share(&person.email).await.status, "delivered", "{case}");
    }
    assert_eq!(world.alerts().await, [], "{engine:?}, {}", at.recipient);
    seen.len()
}

// Breaks when a write that arrives after it was given up stays there as a second record.
#[tokio::test]
async fn a_write_that_arrives_after_it_was_given_up_is_no_second_record() {
    let at = Place { recipient: "orchard", source: "northwind", email: "party.email", steps: true };
    for engine in Engine::BOTH {
        let seen = late_writes(engine, &at).await;
        println!("{engine:?}, no unique key: {LEADS} writes late by 10 s to {} h, {seen} twice for a while, 0 at the end", LATEST / HOUR);
        assert!(seen >= LEADS / 4, "too few writes arrived after they were given up: this shows nothing");
    }
}

// Breaks when a unique key does not keep a late write from being a second record, for any time at all.
#[tokio::test]
async fn where_a_key_is_unique_there_is_never_a_second_record() {
    for (source, recipient, email) in [("northwind", "brightwater", "Email"), ("lumen", "tessera", "email")] {
        let seen = late_writes(Engine::Sqlite, &Place { recipient, source, email, steps: false }).await;
        println!("{recipient}, a unique key: {LEADS} writes late by 10 s to {} h, {seen} twice for a while", LATEST / HOUR);
        assert_eq!(seen, 0);
    }
}

// Breaks when the first write of somebody who withdraws meanwhile arrives after it was looked for, and stays.
#[tokio::test]
async fn a_late_write_of_somebody_who_has_withdrawn_is_taken_back() {
    for (recipient, after_ms) in [("brightwater", 20 * MINUTE), ("orchard", 10 * MINUTE), ("orchard", 3 * HOUR)] {
        let world = World::new(Engine::Sqlite, &["northwind", recipient]).await;
        if recipient == "orchard" {
            // The party alone is there: nothing says whose it is to be, and it has a unique key.
            world.inject(recipient, Fault::DropAfterCommit { count: 4 });
            let (person, id) = world.enter_good("northwind", recipient);
            world.work().await;
            world.inject(recipient, Fault::CommitLate { count: 1, after_ms });
            withdrawn(&world, recipient, &person.email, &id, after_ms).await;
        } else {
            world.inject(recipient, Fault::CommitLate { count: 4, after_ms });
            let (person, id) = world.enter_good("northwind", recipient);
            withdrawn(&world, recipient, &person.email, &id, after_ms).await;
        }
    }
}

async fn withdrawn(world: &World, recipient: &str, email: &str, id: &str, after_ms: Millis) {
    let in_doubt = async || world.attempts(email).await.iter().filter(|(way, how, _)| way == "out" && how == "unknown").count();
    let wanted = if recipient == "orchard" { 2 } else { 1 };
    world.work().await;
    while in_doubt().await < wanted {
        world.pass(5 * SECOND).await;
    }
    world.update("northwind", id, &json!({ "ls_partner_choice": null }));
    let end = world.clock.now() + after_ms;
    while world.clock.now() < end - MINUTE {
        world.work().await;
        world.clock.advance(30 * SECOND);
    }
    assert!(world.with_email(recipient, email).is_empty(), "{recipient}: it is not there yet");
    assert_eq!(world.share(email).await.status, "recalled");
    let end = end + 2 * after_ms;
    while world.clock.now() < end {
        world.work().await;
        world.clock.advance(5 * MINUTE);
    }
    assert_eq!(world.records(recipient).len(), 1, "{recipient}: it has arrived");
    assert!(world.with_email(recipient, email).is_empty(), "{recipient}: the address stays there: {:?}", world.attempts(email).await);
}

// Breaks when somebody who is given anew, from another record, is created beside a create that may still arrive.
#[tokio::test]
async fn who_is_given_anew_waits_for_the_create_that_nobody_heard_of() {
    for engine in Engine::BOTH {
        let world = World::new(engine, &["northwind", "orchard"]).await;
        // The party alone is there; what nobody hears of is the opportunity, which has no unique key.
        world.inject("orchard", Fault::DropAfterCommit { count: 4 });
        let (person, first) = world.enter_good("northwind", "orchard");
        world.work().await;
        world.inject("orchard", Fault::CommitLate { count: 1, after_ms: 90 * SECOND });
        let in_doubt = async || world.attempts(&person.email).await.iter().filter(|(way, how, _)| way == "out" && how == "unknown").count();
        while in_doubt().await < 2 {
            world.pass(5 * SECOND).await;
        }
        world.update("northwind", &first, &json!({ "ls_partner_choice": null }));
        while world.share(&person.email).await.status != "recalled" {
            world.pass(5 * SECOND).await;
        }
        world.delete("northwind", &first);
        world.create("northwind", &json!(person.fields));
        let end = world.clock.now() + 20 * MINUTE;
        let mut seen = BTreeSet::new();
        while world.clock.now() < end {
            world.pass(10 * SECOND).await;
            seen.extend(twins(&world, "orchard", "party.email"));
        }
        let case = format!("{engine:?}: {:?}", world.outcomes().await);
        assert_eq!(seen, BTreeSet::new(), "{case}");
        assert_eq!(world.with_email("orchard", &person.email).len(), 1, "{case}");
        let mut stands: Vec<String> = world.shares(&person.email).await.into_iter().map(|share| share.status).collect();
        stands.sort();
        assert_eq!(stands, ["delivered", "recalled"], "{case}");
    }
}
