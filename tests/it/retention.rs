//! What is kept no longer than it is needed: people of whom nothing was ever shared, and history that is long over.

use leadshare::clock::{DAY, HOUR, MINUTE, Millis};
use leadshare::context::Keep;
use leadshare::demo::cast::{Person, Story};
use leadshare::retention::{Removed, Round};
use leadshare::store::dirty::{self, Raise};
use leadshare::store::{connections, leads, views};
use leadshare::vault::Identity;
use serde_json::json;

use super::support::world::{Engine, PLAIN, World};

/// One round, as it is configured.
async fn round(world: &World) -> Removed {
    keeping(world, world.ctx.keep).await
}

async fn keeping(world: &World, keep: Keep) -> Removed {
    let mut round = Round::new(keep, world.clock.now());
    loop {
        if let Some(removed) = round.step(&world.ctx).await.unwrap() {
            return removed;
        }
    }
}

async fn known(world: &World, person: &Person) -> Option<leads::StoredLead> {
    leads::by_identity(&world.ctx.db, &world.ctx.vault.blind.hash(Identity::Email, &person.email)).await.unwrap()
}

async fn wait_for(world: &World, time: Millis) {
    world.clock.advance(time);
    world.settle().await;
}

fn one(world: &World, story: Story) -> (Person, String) {
    let person = world.people("northwind", "brightwater", story, 1).remove(0);
    let id = world.enter(std::slice::from_ref(&person)).remove(0);
    (person, id)
}

// Breaks when somebody of whom nothing was shared is kept for longer than configured, somebody who was shared, waits or was edited is
// forgotten, or who was forgotten and changes their mind is not taken in as new.
#[tokio::test]
async fn of_whom_nothing_was_shared_is_forgotten_after_a_while() {
    for engine in Engine::BOTH {
        // One lead at a time: the next ones wait for room.
        let world = World::changed(engine, PLAIN, &|path, text| match path {
            "program/agreements/northwind-brightwater.toml" => {
                text.replace("[operations] ", "[operations]\ncapacity = { by = \"recipient\", open = 1 }\n")
            }
            _ => text.to_owned(),
        })
        .await;
        let (shared, _) = one(&world, Story::Good);
        world.settle().await;
        let waits = world.people("northwind", "brightwater", Story::Good, 2).remove(1);
        world.enter(std::slice::from_ref(&waits));
        let (nobody, record) = one(&world, Story::Nobody);
        let (stopped, _) = one(&world, Story::OptedOut);
        let (touched, touched_id) = one(&world, Story::NoChoice);
        let (_, invalid) = one(&world, Story::Invalid);
        world.settle().await;
        for person in [&shared, &waits, &nobody, &stopped, &touched] {
            assert!(known(&world, person).await.is_some(), "{engine:?}: {:?}", person.story);
        }
        let kept =
            async |id: &str| world.dump().await.lines().any(|line| line.starts_with("records: ") && line.contains(&format!("| {id} |")));
        assert!(kept(&invalid).await && kept(&record).await, "{engine:?}");

        wait_for(&world, 29 * DAY).await;
        // Nothing that we map.
        world.update("northwind", &touched_id, &json!({ "lifecyclestage": "subscriber" }));
        world.settle().await;
        assert_eq!(round(&world).await.people, 0, "{engine:?}: too early");
        let lost = [known(&world, &nobody).await.unwrap(), known(&world, &stopped).await.unwrap()];
        wait_for(&world, 2 * DAY).await;
        // What is about to be read is left until it was read.
        let look = Raise { object: lost[0].object.clone(), remote_id: record.clone(), kind: "look", detail: None };
        let mut tx = world.ctx.db.begin().await.unwrap();
        dirty::raise(&mut tx, "northwind", &[look], world.clock.now()).await.unwrap();
        tx.commit().await.unwrap();
        assert_eq!(round(&world).await.people, 1, "{engine:?}");
        assert!(known(&world, &nobody).await.is_some() && known(&world, &stopped).await.is_none(), "{engine:?}");
        assert!(known(&world, &touched).await.is_some(), "{engine:?}");
        world.settle().await;
        wait_for(&world, 31 * DAY).await;
        assert_eq!(round(&world).await.people, 2, "{engine:?}");
        for (person, stays) in [(&shared, true), (&waits, true), (&touched, false), (&nobody, false)] {
            assert_eq!(known(&world, person).await.is_some(), stays, "{engine:?}: {:?}", person.story);
        }
        assert!(kept(&invalid).await && !kept(&record).await, "{engine:?}: one waits for its mapping");

        // Nothing of theirs is left but how their changes ended, and the ledger's ids and codes.
        let left = world.dump().await;
        for lead in &lost {
            let named: Vec<&str> = left.lines().filter(|line| line.contains(&lead.person) || line.contains(&lead.id)).collect();
            let history = |line: &&str| ["changes: ", "ledger: ", "ledger_waiting: "].iter().any(|table| line.starts_with(table));
            assert!(named.iter().all(history), "{engine:?}: {named:#?}");
        }
        let hash = world.ctx.vault.blind.hash(Identity::Email, &stopped.email);
        assert!(!left.contains(&hash), "{engine:?}: found by the address");

        // They think better of it: as anybody who is new.
        world.update("brightwater", &world.with_email("brightwater", &shared.email)[0].id, &json!({ "Status": "Closed - Not Converted" }));
        world.update("northwind", &record, &json!({ "ls_partner_choice": "brightwater" }));
        world.settle().await;
        let outcomes = world.outcomes().await;
        assert!(known(&world, &nobody).await.is_some_and(|lead| lead.id != lost[0].id), "{engine:?}: {outcomes:?}");
        assert!(world.verify(&[]).await.ok(), "{engine:?}");

        // What waits for too long is looked at no more, and kept no longer.
        wait_for(&world, 91 * DAY).await;
        round(&world).await;
        assert!(!kept(&invalid).await, "{engine:?}");
        assert!(known(&world, &shared).await.is_some(), "{engine:?}: what was shared stays");
    }
}

// Breaks when history grows for ever, or goes with something that pages, proofs or decisions still need.
#[tokio::test]
async fn history_that_is_long_over_goes() {
    for engine in Engine::BOTH {
        let world = World::new(engine, PLAIN).await;
        let (person, record) = one(&world, Story::Good);
        let (fussy, other) = one(&world, Story::Nobody);
        world.settle().await;
        let lead = known(&world, &person).await.unwrap().id;
        for (id, name) in [(&record, "First"), (&record, "Second"), (&other, "Third"), (&other, "Fourth")] {
            world.update("northwind", id, &json!({ "lastname": name }));
            wait_for(&world, HOUR).await;
        }
        let mut tx = world.ctx.db.begin().await.unwrap();
        let subject = format!("share:{}", world.share(&person.email).await.id);
        connections::raise_alert(&mut tx, "a", &subject, "delivery.back_and_forth", "Title", world.clock.now()).await.unwrap();
        tx.commit().await.unwrap();
        let decided = async |person: &Person| views::decisions_of(&world.ctx.db, &known(&world, person).await.unwrap().id).await.unwrap();
        let changes = async || views::changes_of(&world.ctx.db, &lead).await.unwrap();
        let (changed, judged) = (changes().await.len(), decided(&fussy).await.len());
        assert!(changed > 2 && judged > 1 && world.attempts(&person.email).await.len() > 2, "{engine:?}: {changed} {judged}");
        assert_eq!(round(&world).await, Removed::default(), "{engine:?}: too early");
        assert_eq!(world.alerts().await.len(), 1, "{engine:?}: it is left alone for an hour");
        world.clock.advance(HOUR + MINUTE);
        assert_eq!(round(&world).await, Removed::default(), "{engine:?}: too early");
        assert_eq!(world.alerts().await, [], "{engine:?}: what is left alone for an hour is told for an hour");

        // The records stay as they are; somebody of whom nothing was shared is kept here for longer than their history.
        wait_for(&world, 91 * DAY).await;
        let removed = keeping(&world, Keep { never_shared: 365 * DAY, ..world.ctx.keep }).await;
        assert!(removed.changes > 2 && removed.tries > 2 && removed.people == 0, "{engine:?}: {removed:?}");
        assert_eq!(world.attempts(&person.email).await, [], "{engine:?}");
        let ends: Vec<String> = changes().await.into_iter().map(|change| change.outcome).collect();
        assert_eq!(ends, ["shared"], "{engine:?}: what the leads' page says of it");
        assert_eq!(decided(&person).await.len(), 1, "{engine:?}: the share's own");
        assert_eq!(decided(&fussy).await.len(), 1, "{engine:?}: the last");
        assert!(!world.dump().await.contains("delivery.back_and_forth"), "{engine:?}");

        // It goes on as before.
        world.update("northwind", &record, &json!({ "lastname": "Fifth" }));
        world.settle().await;
        assert_eq!(world.with_email("brightwater", &person.email).len(), 1, "{engine:?}");
        assert_eq!(world.share(&person.email).await.status, "delivered", "{engine:?}");
        assert!(world.verify(&[]).await.ok(), "{engine:?}");
    }
}
