//! Every change ends in exactly one outcome, with its reason.

use leadshare::args;
use leadshare::demo::cast::{Person, Story};
use leadshare::model::ChangeOutcome;

use super::support::world::{Engine, PLAIN, World};

/// How every change ended.
const HOW: &str = "SELECT remote_id, outcome, reason FROM changes";

/// Everything that can be wrong with a person, and nothing.
const STORIES: [Story; 11] = [
    Story::Good,
    Story::KnownThere,
    Story::NoChoice,
    Story::Nobody,
    Story::Imported,
    Story::OptedOut,
    Story::ElsewhereCountry,
    Story::Stale,
    Story::Invalid,
    Story::DoesNotFit,
    Story::Twice,
];

// Breaks when a record that was entered or changed ends in nothing, or without a reason, or is not counted.
#[tokio::test]
async fn nothing_that_is_taken_in_vanishes() {
    for engine in Engine::BOTH {
        let world = World::new(engine, PLAIN).await;
        let people: Vec<Person> = STORIES.iter().flat_map(|story| world.people("northwind", "brightwater", *story, 1)).collect();
        let ids = world.enter(&people);
        world.settle().await;
        for id in &ids {
            world.update("northwind", id, &serde_json::json!({ "jobtitle": "Head of Sales" }));
        }
        world.settle().await;

        assert_eq!(world.hints().await, 0, "{engine:?}: something still waits");
        let how: Vec<(String, String, String)> = world.ctx.db.rows(HOW, args![]).await.unwrap();
        for (id, outcome, reason) in &how {
            assert!(ChangeOutcome::parse(outcome).is_some() && !reason.is_empty(), "{engine:?}: {id} ended in {outcome:?}, {reason:?}");
        }
        // Entered and changed: two ends at least, each a row of its own, and every row counted once.
        for id in &ids {
            let ends = how.iter().filter(|(remote, ..)| remote == id).count();
            assert!(ends >= 2, "{engine:?}: the record {id} was taken in twice and ended {ends} times");
        }
        assert_eq!(world.outcomes().await.values().sum::<i64>(), how.len() as i64, "{engine:?}");
    }
}
