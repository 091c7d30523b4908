//! One person at one recipient is one record there, whatever breaks on the way.

use leadshare::clock::{HOUR, MINUTE, SECOND};
use leadshare::demo::cast::Story;
use leadshare::store::views;
use leadshare_connectors::sdk::Fault;
use serde_json::json;

use super::support::world::{Engine, PLAIN, START, World, text};

const ROUTES: [(&str, &str); 3] = [("northwind", "brightwater"), ("lumen", "tessera"), ("northwind", "orchard")];

/// Enters a lead while its recipient's system breaks, and sees what came of it.
async fn through(source: &str, recipient: &str, fault: Fault) {
    for engine in Engine::BOTH {
        let world = World::new(engine, &[source, recipient]).await;
        world.inject(recipient, fault.clone());
        let (person, _) = world.enter_good(source, recipient);
        world.settle().await;
        let case = format!("{recipient}, {fault:?}, {engine:?}");
        let tries = world.attempts(&person.email).await;
        assert_eq!(world.with_email(recipient, &person.email).len(), 1, "{case}: {tries:?}");
        assert_eq!(world.share(&person.email).await.status, "delivered", "{case}: {tries:?}");
        assert_eq!(world.alerts().await, [], "{case}");
    }
}

// Breaks when a create that was committed, and never answered, is made a second time.
#[tokio::test]
async fn a_timeout_after_commit_makes_one_record() {
    for (source, recipient) in ROUTES {
        for count in [1, 3] {
            through(source, recipient, Fault::DropAfterCommit { count }).await;
        }
    }
}

// Breaks when a create is sent again although the first one is only late.
#[tokio::test]
async fn a_late_commit_makes_one_record() {
    for (source, recipient) in ROUTES {
        for after_ms in [2 * SECOND, 90 * SECOND] {
            through(source, recipient, Fault::CommitLate { count: 1, after_ms }).await;
        }
    }
}

// Breaks when a create in two steps, without a unique key for the second, is sent again before the
// vendor can no longer be carrying it out: Tryton has the party, and commits the opportunity late.
#[tokio::test]
async fn a_late_second_step_makes_one_record() {
    for engine in Engine::BOTH {
        let world = World::new(engine, &["northwind", "orchard"]).await;
        // Once, and the three times that a request with a key of its own is sent again at once.
        world.inject("orchard", Fault::DropAfterCommit { count: 4 });
        let (person, at_source) = world.enter_good("northwind", "orchard");
        world.work().await;
        assert!(world.with_email("orchard", &person.email).is_empty(), "the first step alone is done");
        world.inject("orchard", Fault::CommitLate { count: 1, after_ms: 90 * SECOND });
        let unknown = async || world.attempts(&person.email).await.iter().filter(|(way, how, _)| way == "out" && how == "unknown").count();
        while unknown().await < 2 {
            world.pass(15 * SECOND).await;
        }
        // A change at the source asks for the lead again, at once.
        world.update("northwind", &at_source, &json!({ "lastname": "Renamed" }));
        world.settle().await;
        let tries = world.attempts(&person.email).await;
        assert_eq!(world.with_email("orchard", &person.email).len(), 1, "{engine:?}: {tries:?}");
        assert_eq!(world.share(&person.email).await.status, "delivered");
    }
}

// Breaks when an outage of the recipient loses a lead.
#[tokio::test]
async fn an_outage_loses_nothing() {
    for (source, recipient) in ROUTES {
        through(source, recipient, Fault::Status { status: 503, count: 12 }).await;
    }
}

// Breaks when waiting for a quota uses up tries, or loses a lead.
#[tokio::test]
async fn a_used_up_quota_burns_no_try() {
    for engine in Engine::BOTH {
        for (source, recipient) in [("northwind", "brightwater"), ("lumen", "tessera")] {
            let world = World::new(engine, &[source, recipient]).await;
            world.inject(recipient, Fault::DailyQuota { until: world.clock.now() + HOUR });
            let people = world.people(source, recipient, Story::Good, 5);
            world.enter(&people);
            world.pass(MINUTE).await;
            for person in &people {
                let share = world.share(&person.email).await;
                assert_eq!(share.status, "matched");
                for (_, way, _, _, done, _, attempts, ..) in views::deliveries_of(&world.ctx.db, &share.lead).await.unwrap() {
                    assert!(way != "out" || (done == 0 && attempts == 0), "a try was burnt at {recipient}");
                }
            }
            world.settle().await;
            assert!(world.clock.now() > START + HOUR);
            for person in &people {
                let tries = world.attempts(&person.email).await;
                let waited =
                    |(_, outcome, code): &(String, String, Option<String>)| outcome == "written" || code.as_deref() == Some("waiting");
                assert!(tries.iter().all(waited), "{tries:?}");
                assert_eq!(world.share(&person.email).await.status, "delivered");
                assert_eq!(world.with_email(recipient, &person.email).len(), 1);
            }
        }
    }
}

// Breaks when being told to slow down, at either side, loses a lead or counts as a failed try.
#[tokio::test]
async fn being_throttled_loses_nothing() {
    for engine in Engine::BOTH {
        let world = World::new(engine, PLAIN).await;
        for name in PLAIN {
            world.inject(name, Fault::Throttle { count: 3, retry_after: Some(7) });
        }
        let (person, _) = world.enter_one();
        world.settle().await;
        assert_eq!(world.share(&person.email).await.status, "delivered");
        assert!(world.stats("northwind").throttled > 0, "nothing was throttled");
    }
}

// Breaks when an expired token loses work, or every request refreshes for itself.
#[tokio::test]
async fn an_expired_token_is_refreshed_once() {
    for engine in Engine::BOTH {
        let world = World::new(engine, PLAIN).await;
        let people = world.people("northwind", "brightwater", Story::Good, 6);
        world.enter(&people[..3]);
        world.work().await;
        let before = PLAIN.iter().map(|name| world.stats(name).token_requests).collect::<Vec<_>>();
        for name in PLAIN {
            world.inject(name, Fault::ExpireAccessTokens);
        }
        world.enter(&people[3..]);
        world.work().await;
        for (name, before) in PLAIN.iter().zip(before) {
            assert_eq!(world.stats(name).token_requests, before + 1, "{name}");
        }
        for person in &people {
            assert_eq!(world.share(&person.email).await.status, "delivered");
        }
    }
}

// Breaks when a revoked grant goes unnoticed, or work is lost until the partner has connected again.
#[tokio::test]
async fn work_goes_on_after_connecting_again() {
    for engine in Engine::BOTH {
        for revoked in PLAIN {
            let world = World::new(engine, PLAIN).await;
            world.work().await;
            world.inject(revoked, Fault::RevokeGrants);
            let (person, _) = world.enter_one();
            world.pass(2 * MINUTE).await;
            assert_eq!(world.state(revoked).await, "reconnect_needed", "{revoked}");
            let alerts = world.alerts().await;
            assert!(alerts.iter().any(|(subject, code)| subject == revoked && code == "connection.reconnect_needed"), "{alerts:?}");
            assert!(world.with_email("brightwater", &person.email).is_empty());
            world.connect(revoked).await;
            world.work().await;
            assert_eq!(world.share(&person.email).await.status, "delivered", "{revoked}: not at once");
            world.settle().await;
            assert_eq!(world.state(revoked).await, "connected");
            assert_eq!(world.alerts().await, []);
            assert_eq!(world.with_email("brightwater", &person.email).len(), 1);
        }
    }
}

// Breaks when two records of one person, spelled differently, become two at the recipient.
#[tokio::test]
async fn the_same_person_twice_in_a_batch_is_one_record() {
    for engine in Engine::BOTH {
        let world = World::new(engine, &["lumen", "tessera"]).await;
        let twice = world.people("lumen", "tessera", Story::Twice, 2);
        assert_eq!(world.enter(&twice).len(), 4);
        world.settle().await;
        for person in &twice {
            assert_eq!(world.with_email("tessera", &person.email).len(), 1);
            assert_eq!(world.share(&person.email).await.status, "delivered");
        }
        let outcomes = world.outcomes().await;
        assert_eq!((outcomes.get("shared"), outcomes.get("duplicate")), (Some(&2), Some(&2)), "{outcomes:?}");
    }
}

// Breaks when a lead that was refused because the recipient was to get the person from another record is forgotten once that share
// ends undelivered, also when both records are read in one batch.
#[tokio::test]
async fn what_a_share_that_never_came_stood_against_is_decided_again() {
    for engine in Engine::BOTH {
        for together in [false, true] {
            let world = World::new(engine, &["lumen", "tessera"]).await;
            world.inject("tessera", Fault::DailyQuota { until: world.clock.now() + HOUR });
            let person = world.people("lumen", "tessera", Story::Twice, 1).remove(0);
            let first = world.create("lumen", &json!(person.fields));
            world.work().await;
            assert_eq!(world.share(&person.email).await.status, "matched");
            let second = || {
                let mut again = person.fields.clone();
                again.insert("Email".into(), json!(person.email.to_uppercase()));
                world.create("lumen", &json!(again))
            };
            if !together {
                second();
                world.pass(2 * MINUTE).await;
                assert_eq!(world.outcomes().await.get("duplicate"), Some(&1));
            }
            world.update("lumen", &first, &json!({ "Partner_Choice__c": null }));
            if together {
                second();
            }
            world.settle().await;
            let case = format!("{engine:?}, together: {together}, {:?}", world.outcomes().await);
            assert_eq!(world.with_email("tessera", &person.email).len(), 1, "{case}");
            let mut stands: Vec<String> = world.shares(&person.email).await.into_iter().map(|share| share.status).collect();
            stands.sort();
            assert_eq!(stands, ["delivered", "recalled"], "{case}");
        }
    }
}

// Breaks when a recipient's own words about somebody it knows are overwritten, or it gets them twice.
#[tokio::test]
async fn somebody_known_there_is_adopted_and_only_gaps_are_filled() {
    for engine in Engine::BOTH {
        let world = World::new(engine, &["northwind", "brightwater", "lumen", "tessera"]).await;
        let known = [("northwind", "brightwater"), ("lumen", "tessera")].map(|(s, r)| world.people(s, r, Story::KnownThere, 1).remove(0));
        world.enter(&known);
        world.settle().await;
        let at_brightwater = world.with_email("brightwater", &known[0].email);
        assert_eq!(at_brightwater.len(), 1);
        let record = &at_brightwater[0];
        assert!(!record.made_by_api && text(record, "Leadshare_Id__c").starts_with("ls1-"));
        assert_eq!((text(record, "LastName").as_str(), text(record, "Company").as_str()), ("Known Already", "Somewhere"));
        assert_eq!(text(record, "FirstName"), known[0].fields["firstname"].as_str().unwrap());
        let at_tessera = world.with_email("tessera", &known[1].email);
        assert_eq!(at_tessera.len(), 1);
        assert_eq!(text(&at_tessera[0], "firstname"), "Known");
        assert_eq!(text(&at_tessera[0], "lastname"), known[1].fields["LastName"].as_str().unwrap());
        for person in &known {
            assert_eq!(world.share(&person.email).await.status, "delivered");
        }
    }
}

// Breaks when a record that the recipient deleted comes back, or the sharer never hears of it.
#[tokio::test]
async fn what_the_recipient_deletes_stays_deleted() {
    for engine in Engine::BOTH {
        for (source, recipient, field) in [("northwind", "brightwater", "jobtitle"), ("lumen", "tessera", "Title")] {
            let world = World::new(engine, &[source, recipient]).await;
            let (person, at_source) = world.enter_good(source, recipient);
            world.settle().await;
            let there = world.with_email(recipient, &person.email).remove(0);
            world.delete(recipient, &there.id);
            world.pass(2 * MINUTE).await;
            world.settle().await;
            assert_eq!(world.stand(&person.email).await, ("returned".into(), "new".into(), Some("deleted_there".into())));
            world.update(source, &at_source, &json!({ field: "Director" }));
            world.settle().await;
            assert!(world.with_email(recipient, &person.email).is_empty(), "{recipient}: it came back");
            assert_eq!(world.shares(&person.email).await.len(), 1);
        }
    }
}

// Breaks when a merge at the recipient loses sight of a lead.
#[tokio::test]
async fn a_merged_record_is_followed() {
    for engine in Engine::BOTH {
        for (source, recipient, theirs, reached) in [
            (
                "northwind",
                "brightwater",
                json!({ "LastName": "Doppel", "Company": "Doppel GmbH" }),
                json!({ "Status": "Working - Contacted" }),
            ),
            ("lumen", "tessera", json!({ "email": "doppel@doppel.example" }), json!({ "hs_lead_status": "CONNECTED" })),
        ] {
            let world = World::new(engine, &[source, recipient]).await;
            let (person, at_source) = world.enter_good(source, recipient);
            world.settle().await;
            let ours = world.with_email(recipient, &person.email).remove(0);
            let own = world.create(recipient, &theirs);
            world.clock.advance(30 * SECOND);
            let survivor = world.merge(recipient, &own, &ours.id);
            world.pass(2 * MINUTE).await;
            world.update(recipient, &survivor, &reached);
            world.pass(2 * MINUTE).await;
            world.settle().await;
            let (status, progress, _) = world.stand(&person.email).await;
            assert_eq!((status.as_str(), progress.as_str()), ("acknowledged", "reached"), "{recipient}, {engine:?}");
            let before = world.records(recipient).len();
            let field = if source == "lumen" { "Title" } else { "jobtitle" };
            world.update(source, &at_source, &json!({ field: "Director" }));
            world.settle().await;
            assert_eq!(world.records(recipient).len(), before, "{recipient}: an update made a new record");
        }
    }
}

// Breaks when a restored database, which knows nothing of what was delivered since it was saved, makes anybody a second time, or
// leaves what happened since as it was.
#[tokio::test]
async fn a_restored_database_doubles_nobody_and_catches_up() {
    let mut world = World::new(Engine::Sqlite, &["northwind", "brightwater", "lumen", "tessera", "orchard"]).await;
    let people = ROUTES.map(|(source, recipient)| world.people(source, recipient, Story::Good, 2));
    let first: Vec<String> = people.iter().flat_map(|two| world.enter(&two[..1])).collect();
    world.settle().await;
    let (file, saved) = (world.dir.join("leadshare.db"), world.dir.join("saved.db"));
    world.ctx.db.close().await;
    std::fs::copy(&file, &saved).unwrap();
    world.restart().await;

    for two in &people {
        world.enter(&two[1..]);
    }
    world.update("northwind", &first[0], &json!({ "firstname": "Renamed" }));
    world.settle().await;
    let name = |world: &World| text(&world.with_email("brightwater", &people[0][0].email)[0], "FirstName");
    assert_eq!(name(&world), "Renamed");
    world.clock.advance(HOUR);

    world.ctx.db.close().await;
    for log in ["leadshare.db-wal", "leadshare.db-shm"] {
        let _ = std::fs::remove_file(world.dir.join(log));
    }
    std::fs::copy(&saved, &file).unwrap();
    world.restart().await;
    assert!(world.shares(&people[0][1].email).await.is_empty(), "it knows nothing of it");
    world.settle().await;
    world.pass(HOUR / 2).await;
    for person in people.iter().flatten() {
        assert_eq!(world.with_email(person.recipient, &person.email).len(), 1, "{} to {}", person.source, person.recipient);
        assert_eq!(world.share(&person.email).await.status, "delivered", "{} to {}", person.source, person.recipient);
    }
    assert_eq!(name(&world), "Renamed");
    assert_eq!(world.alerts().await, []);
}
