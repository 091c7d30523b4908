//! The way of one lead, from one partner's system into another's, and its news back.

use leadshare::clock::{DAY, MINUTE, SECOND};
use leadshare::model::ConsentRecord;
use leadshare::people::proof_place;
use leadshare::store::{ledger, views};
use leadshare::vault::{DataKey, Owner};
use leadshare_connectors::sdk::Act;
use serde_json::json;

use super::support::world::{Engine, PLAIN, World, text, to_fields};

// Breaks when any stage of the way does not hand on to the next, on either engine.
#[tokio::test]
async fn a_lead_goes_out_and_its_news_come_back() {
    for engine in Engine::BOTH {
        let world = World::new(engine, PLAIN).await;
        let (person, at_source) = world.enter_one();
        world.settle().await;

        let there = world.with_email("brightwater", &person.email);
        assert_eq!(there.len(), 1, "{engine:?}: {:?}", world.outcomes().await);
        assert!(there[0].made_by_api && text(&there[0], "Leadshare_Id__c").starts_with("ls1-"));
        assert_eq!(text(&there[0], "Status"), "Open - Not Contacted");
        assert_eq!(text(&there[0], "LeadSource"), "Partner");
        assert_eq!(world.stand(&person.email).await, ("delivered".into(), "new".into(), None));
        assert_eq!(text(&world.record("northwind", &at_source), "ls_share_status"), "Delivered");
        assert_eq!(text(&world.record("northwind", &at_source), "ls_partner"), "Brightwater Services Inc.");

        world.update("brightwater", &there[0].id, &json!({ "Status": "Working - Contacted" }));
        world.settle().await;
        assert_eq!(world.stand(&person.email).await, ("acknowledged".into(), "reached".into(), None));
        let told = world.record("northwind", &at_source);
        assert_eq!((text(&told, "ls_share_status").as_str(), text(&told, "ls_partner_progress").as_str()), ("Seen", "reached"));

        let deal = to_fields(&json!({ "Name": "Set-up", "StageName": "Closed Won", "Amount": 18_000, "CloseDate": "2026-12-01" }));
        world.act("brightwater", Act::Convert { object: "Lead".into(), id: there[0].id.clone(), fields: deal });
        world.settle().await;
        assert_eq!(world.stand(&person.email).await, ("accepted".into(), "won".into(), None));
        let told = world.record("northwind", &at_source);
        assert_eq!((text(&told, "ls_share_status").as_str(), text(&told, "ls_partner_progress").as_str()), ("Accepted", "won"));
        assert_eq!(text(&told, "ls_partner_amount").parse::<f64>(), Ok(18_000.0));
        assert_eq!(world.alerts().await, []);
    }
}

// Breaks when the reason for a loss, which lies in a field of the recipient's own, is not read or not told.
#[tokio::test]
async fn the_reason_for_a_loss_is_known() {
    for engine in Engine::BOTH {
        let world = World::new(engine, PLAIN).await;
        let (person, at_source) = world.enter_one();
        world.settle().await;
        let there = world.with_email("brightwater", &person.email).remove(0);
        world.update("brightwater", &there.id, &json!({ "Status": "Closed - Not Converted", "Lost_Reason__c": "No budget" }));
        world.settle().await;
        assert_eq!(world.stand(&person.email).await, ("acknowledged".into(), "disqualified".into(), Some("no_budget".into())));
        assert_eq!(text(&world.record("northwind", &at_source), "ls_partner_progress"), "disqualified");
    }
}

// Breaks when a lead leaves without its proof being kept, or the proof is kept in clear.
#[tokio::test]
async fn the_proof_of_consent_is_kept_and_sealed() {
    for engine in Engine::BOTH {
        let world = World::new(engine, PLAIN).await;
        let (person, _) = world.enter_one();
        world.settle().await;
        let share = world.share(&person.email).await;
        let kept = views::consents_of(&world.ctx.db, &share.lead).await.unwrap();
        let [(of, permits, Some(proof), _)] = &kept[..] else { panic!("one proof of one share: {kept:?}") };
        assert_eq!(*of, share.id);
        let permits: Vec<(String, Option<String>)> = serde_json::from_str(permits).unwrap();
        assert!(
            permits.contains(&("introduce".into(), None)) && permits.contains(&("contact".into(), Some("email".into()))),
            "{permits:?}"
        );
        assert!(!proof.contains(&person.email) && !proof.contains("setup-help-2026"), "in clear: {proof}");
        let (wrapped, _) = views::data_key(&world.ctx.db, &share.person).await.unwrap();
        let key = DataKey::unwrap(&world.ctx.vault.keys, Owner::Person(&share.person), &wrapped.unwrap()).unwrap();
        let opened: Vec<ConsentRecord> = serde_json::from_slice(&key.open(proof_place(of), proof).unwrap()).unwrap();
        let proven: Vec<(String, Option<String>)> =
            opened.iter().map(|r| (r.purpose.clone(), r.channel.map(|c| json!(c).as_str().unwrap().to_owned()))).collect();
        assert_eq!(proven, permits, "the words and the proof do not say the same");
    }
}

// Breaks when an event of a lead's way is missing in the ledger, or stays unsealed.
#[tokio::test]
async fn the_ledger_tells_the_whole_way_and_is_sealed() {
    for engine in Engine::BOTH {
        let world = World::new(engine, PLAIN).await;
        let (person, _) = world.enter_one();
        world.settle().await;
        let there = world.with_email("brightwater", &person.email);
        world.update("brightwater", &there[0].id, &json!({ "Status": "Working - Contacted" }));
        world.settle().await;
        let rows: Vec<_> = ledger::page(&world.ctx.db, -1, 1_000).await.unwrap().into_iter().flat_map(|batch| batch.rows).collect();
        let kinds: Vec<&str> = rows.iter().map(|r| r.kind.as_str()).collect();
        for kind in ["lead.decided", "share.matched", "share.delivered", "share.moved"] {
            assert!(kinds.contains(&kind), "{kind} is missing: {kinds:?}");
        }
        let report = world.verify(&[]).await;
        assert!(report.ok() && report.unsealed == 0 && report.sealed == rows.len() as u64 && report.checkpoints > 0, "{report:?}");
    }
}

// Breaks when one of the three vendors cannot be a source or a recipient of the example program.
#[tokio::test]
async fn every_pair_of_the_program_works() {
    for engine in Engine::BOTH {
        let world = World::new(engine, &["northwind", "brightwater", "lumen", "tessera", "orchard"]).await;
        let pairs = [("northwind", "brightwater"), ("lumen", "tessera"), ("northwind", "orchard"), ("orchard", "northwind")];
        let people: Vec<_> = pairs.iter().map(|(source, recipient)| world.enter_good(source, recipient).0).collect();
        world.settle().await;
        for person in &people {
            let there = world.with_email(person.recipient, &person.email);
            assert_eq!(there.len(), 1, "{} to {}: {:?}", person.source, person.recipient, world.alerts().await);
            assert_eq!(world.share(&person.email).await.status, "delivered");
        }
    }
}

// Breaks when thousands of quiet accounts are asked as often as busy ones, or a change does not end the quiet.
#[tokio::test]
async fn an_account_where_nothing_happens_is_polled_rarely_until_something_does() {
    let rarely = |_: &str, text: &str| text.replace("poll_at_least_every = \"5s\"\n", "");
    for engine in Engine::BOTH {
        let world = World::changed(engine, PLAIN, &rarely).await;
        let pause = async || {
            let polls = views::polls(&world.ctx.db).await.unwrap();
            let (.., last, next) = polls.into_iter().find(|poll| poll.0 == "brightwater" && !poll.1.contains(' ')).unwrap();
            next - last.unwrap()
        };
        let (person, _) = world.enter_one();
        world.settle().await;
        assert_eq!(pause().await, 5 * SECOND);
        world.clock.advance(DAY);
        world.work().await;
        let long = pause().await;
        assert!((13 * MINUTE..15 * MINUTE).contains(&long), "{engine:?}: {long}");
        let there = world.with_email("brightwater", &person.email).remove(0);
        world.update("brightwater", &there.id, &json!({ "Status": "Working - Contacted" }));
        world.clock.advance(15 * MINUTE);
        world.work().await;
        assert_eq!(pause().await, 5 * SECOND);
        assert_eq!(world.stand(&person.email).await, ("acknowledged".into(), "reached".into(), None));
    }
}
