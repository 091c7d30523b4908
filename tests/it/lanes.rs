//! What goes first: what somebody does now, before a source's old records and those who were there before.

use leadshare::clock::{DAY, HOUR, MINUTE};
use leadshare::demo::cast::Story;
use leadshare::pipeline;
use leadshare::queues::Want;
use leadshare::store::deliveries::{self, Lane};
use leadshare::store::dirty::{self, Raise};
use leadshare::store::inbox;
use serde_json::json;

use super::support::world::{Engine, PLAIN, World, claim_out, text};

// Breaks when a webhook's hint waits behind those of a source's old records, or those wait behind webhooks for ever.
#[tokio::test]
async fn what_a_webhook_says_goes_ahead_of_what_polls_found_lately() {
    for engine in Engine::BOTH {
        let world = World::new(engine, PLAIN).await;
        let (db, start) = (&world.ctx.db, world.clock.now());
        let hint = |id: &str| Raise { object: "contact".into(), remote_id: id.into(), kind: "changed", detail: None };
        let polled = async |id: &str| {
            let mut tx = db.begin().await.unwrap();
            dirty::raise(&mut tx, "northwind", &[hint(id)], world.clock.now()).await.unwrap();
            tx.commit().await.unwrap();
        };
        polled("old").await;
        world.clock.advance(50 * MINUTE);
        polled("polled").await;
        polled("both").await;
        world.clock.advance(20 * MINUTE);
        let hooks = [("northwind".to_owned(), hint("hook")), ("northwind".to_owned(), hint("both"))];
        world.ctx.raising.raise(db, &hooks, world.clock.now()).await.unwrap();
        inbox::take_in(db).await.unwrap();
        let mut order = Vec::new();
        for lease in ["a", "b", "c", "d", "e"] {
            let now = world.clock.now();
            let claimed = dirty::claim(db, "northwind", "contact", lease, now, now + HOUR, 1).await.unwrap();
            order.extend(claimed.into_iter().map(|d| (d.remote_id, (d.raised_at - start) / MINUTE)));
        }
        let said: Vec<(&str, i64)> = order.iter().map(|(id, at)| (id.as_str(), *at)).collect();
        assert_eq!(said, [("old", 0), ("both", 50), ("hook", 70), ("polled", 50)], "{engine:?}");
    }
}

// Breaks when a source with very many old records is read to its end before anything of them is taken in, or its end is never found.
#[tokio::test]
async fn a_long_poll_lets_other_work_go_on_and_comes_to_its_end() {
    long_polls("northwind", "brightwater", "email", 1_700, 1_600).await;
    // A page of Salesforce's has two thousand.
    long_polls("lumen", "tessera", "Email", 1_250, 1_250).await;
    long_polls("orchard", "northwind", "party.email", 2_200, 2_000).await;
}

async fn long_polls(source: &str, recipient: &str, email: &str, many: i64, at_first: i64) {
    let world = World::new(Engine::Sqlite, &[source, recipient]).await;
    let template = world.people(source, recipient, Story::Nobody, 1).remove(0).fields;
    for n in 0..many {
        let mut fields = template.clone();
        fields.insert(email.into(), json!(format!("old{n}@many.example")));
        world.create(source, &json!(fields));
    }
    world.clock.advance(MINUTE);
    let line = world.ctx.lines.get(source).unwrap();
    let taken = async || world.outcomes().await.values().sum::<i64>();
    pipeline::turn(&world.ctx, line).await.unwrap();
    let (left, first) = (world.hints().await, taken().await);
    assert!(first > 0 && left + first == at_first, "{source}: {left} wait, {first} were taken in");
    // By polls alone.
    for _ in 0..4 {
        while pipeline::turn(&world.ctx, line).await.unwrap() {}
        world.clock.advance(MINUTE);
    }
    assert_eq!((world.hints().await, taken().await), (0, many), "{source}");

    // Deletions on so many pages that a poll would rest among them, and look for them from the beginning again.
    let old: Vec<String> = world.records(source).into_iter().filter(|r| text(r, email).starts_with("old")).map(|r| r.id).collect();
    for id in &old {
        world.delete(source, id);
    }
    // A vendor's budget lets so many be looked at in a while; each time some are.
    for _ in 0..40 {
        world.clock.advance(30 * MINUTE);
        let mut turns = 0;
        while pipeline::turn(&world.ctx, line).await.unwrap() {
            turns += 1;
            assert!(turns < 100, "{source}: it does not come to its end");
        }
        if turns == 0 && world.hints().await == 0 {
            break;
        }
    }
    assert_eq!(world.outcomes().await.get("gone"), Some(&many), "{source}");
}

// Breaks when those who were there before go out ahead of somebody who agrees now, or do not go out at all.
#[tokio::test]
async fn who_acts_now_goes_out_first() {
    for engine in Engine::BOTH {
        let world = World::new(engine, PLAIN).await;
        let people = world.people("northwind", "brightwater", Story::Good, 2);
        world.enter(&people[..1]);
        world.clock.advance(2 * DAY);
        world.enter(&people[1..]);
        world.clock.advance(MINUTE);
        for served in &world.stage.systems {
            served.pump().await;
        }
        while pipeline::turn(&world.ctx, world.ctx.lines.get("northwind").unwrap()).await.unwrap() {}
        let now = world.clock.now();
        let lanes = deliveries::lanes(&world.ctx.db, "brightwater", "out", now).await.unwrap();
        assert_eq!(lanes, [(1,), (3,)], "{engine:?}");
        world.settle().await;
        for person in &people {
            assert_eq!(world.share(&person.email).await.status, "delivered", "{engine:?}");
        }
    }
}

// Breaks when a partner's lead waits until everything has gone out that another partner gave before, also when it was put off meanwhile.
#[tokio::test]
async fn a_partner_with_many_leads_makes_no_other_wait() {
    for engine in Engine::BOTH {
        let world = World::new(engine, PLAIN).await;
        let db = &world.ctx.db;
        let give = async |partner: &str, shares: std::ops::Range<usize>| {
            let wants: Vec<Want> = shares
                .map(|n| Want {
                    connection: "brightwater".into(),
                    way: "out",
                    lane: Lane::NewLeads,
                    partner: partner.into(),
                    share: format!("{partner} {n:03}"),
                    object: "Lead".into(),
                })
                .collect();
            let mut tx = db.begin().await.unwrap();
            world.ctx.queues.want(&mut tx, &wants, world.clock.now()).await.unwrap();
            tx.commit().await.unwrap();
        };
        let served = async |lease: &str, limit| {
            let now = world.clock.now();
            let claimed = claim_out(db, "brightwater", lease, now, now + HOUR, limit).await;
            claimed.into_iter().map(|d| d.share).collect::<Vec<_>>()
        };
        give("northwind", 0..400).await;
        assert_eq!(served("a", 2).await, ["northwind 000", "northwind 001"], "{engine:?}");
        world.clock.advance(MINUTE / 2);
        give("northwind", 400..500).await;
        give("orchard", 0..3).await;
        let fair = ["northwind 002", "northwind 003", "northwind 004", "orchard 000", "orchard 001", "orchard 002"];
        assert_eq!(served("b", 6).await, fair, "{engine:?}");
        // Put off, and due again: as if it were new, and not behind everybody.
        let mut tx = db.begin().await.unwrap();
        let later = json!([["orchard 001", world.clock.now() + MINUTE, 1, "vendor_503", 1]]);
        deliveries::later(&mut tx, "out", "b", &later, world.clock.now()).await.unwrap();
        tx.commit().await.unwrap();
        assert_eq!(served("c", 2).await, ["northwind 005", "northwind 006"], "{engine:?}");
        world.clock.advance(MINUTE);
        let next = served("d", 2).await;
        assert!(next.contains(&"orchard 001".to_owned()), "{engine:?}: {next:?}");
        // Everything has its turn.
        assert_eq!(served("e", 1_000).await.len(), 503 - 2 - 6 - 2 - 1, "{engine:?}");
    }
}
