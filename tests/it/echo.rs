//! Our own writes coming back, leads that were received, and records that are none of our business.

use leadshare::clock::MINUTE;
use leadshare::demo::cast::Story;
use leadshare::vault::{Key, Markers};
use serde_json::json;

use super::support::world::{Engine, PLAIN, START, World};

// Breaks when what we write is taken for news: two systems would then write to each other for ever.
#[tokio::test]
async fn our_own_writes_settle_in_one_round() {
    for engine in Engine::BOTH {
        let world = World::new(engine, PLAIN).await;
        let people = world.people("northwind", "brightwater", Story::Good, 3);
        world.enter(&people);
        world.settle().await;
        assert!(world.outcomes().await.get("echo").is_some_and(|n| *n >= 3), "the news in HubSpot were not seen as ours");
        let still = world.still("northwind").await;
        world.pass(5 * MINUTE).await;
        assert_eq!(world.still("northwind").await, still, "{engine:?}: something went on by itself");
        for person in &people {
            assert_eq!(world.attempts(&person.email).await.len(), 2, "one write out, one back");
        }
    }
}

// Breaks when a lead that a partner was given is given on, or goes back to where it came from.
#[tokio::test]
async fn a_received_lead_is_never_shared_onward() {
    for engine in Engine::BOTH {
        let world = World::new(engine, &["northwind", "brightwater", "orchard"]).await;
        let (person, _) = world.enter_good("orchard", "northwind");
        world.settle().await;
        let received = world.with_email("northwind", &person.email).remove(0);
        assert!(received.made_by_api);
        // Somebody fills the received contact in, just as a good lead of Northwind's own looks.
        let mut fields = world.people("northwind", "brightwater", Story::Good, 1).remove(0).fields;
        fields.remove("email");
        fields.insert("ls_consented_email".into(), person.email.clone().into());
        fields.insert("ls_partner_choice".into(), "Brightwater;Orchard".into());
        world.update("northwind", &received.id, &json!(fields));
        world.pass(2 * MINUTE).await;
        world.settle().await;
        assert!(world.with_email("brightwater", &person.email).is_empty(), "{engine:?}: shared onward");
        assert_eq!(world.with_email("orchard", &person.email).len(), 1, "{engine:?}: sent back to its origin");
        assert_eq!(world.shares(&person.email).await.len(), 1);
    }
}

// Breaks when anything of a recipient's other records is kept: their ids, addresses or versions.
#[tokio::test]
async fn a_recipients_other_records_leave_no_trace() {
    for engine in Engine::BOTH {
        let world = World::new(engine, &["northwind", "brightwater", "lumen", "tessera"]).await;
        let lead = json!({ "Email": "grete.fremd@nobodys-business.example", "LastName": "Fremd", "Company": "Nobodys Business" });
        let contact = json!({ "email": "grete.fremd@nobodys-business.example", "lastname": "Fremd" });
        let foreign = [("brightwater", world.create("brightwater", &lead)), ("tessera", world.create("tessera", &contact))];
        world.enter_one();
        world.settle().await;
        world.update("brightwater", &foreign[0].1, &json!({ "Status": "Working - Contacted" }));
        world.update("tessera", &foreign[1].1, &json!({ "hs_lead_status": "CONNECTED" }));
        world.settle().await;
        world.delete("brightwater", &foreign[0].1);
        world.delete("tessera", &foreign[1].1);
        world.pass(2 * MINUTE).await;
        let kept = world.dump().await;
        assert!(kept.contains(&START.to_string()[..6]), "nothing was read: the search is broken");
        for planted in ["grete.fremd", "nobodys-business", "Fremd", &foreign[0].1, &foreign[1].1] {
            let found: Vec<&str> = kept.lines().filter(|line| line.contains(planted)).collect();
            assert!(found.is_empty(), "{engine:?}: {planted} is kept: {found:#?}");
        }
    }
}

// Breaks when a record that another program delivered is read again by every poll whose time overlaps, though nobody touched it.
#[tokio::test]
async fn what_another_program_delivered_is_read_once() {
    for engine in Engine::BOTH {
        let world = World::new(engine, PLAIN).await;
        let mut fields = world.people("northwind", "brightwater", Story::Good, 1).remove(0).fields;
        let marker = Markers::new(Key::generate(&world.clock).unwrap()).make("tessera", "email:somebody");
        fields.insert("leadshare_id".into(), marker.into());
        world.create("northwind", &json!(fields));
        world.settle().await;
        assert_eq!(world.outcomes().await.get("shared"), None, "{engine:?}: it was received");
        let still = world.still("northwind").await;
        assert!(still[3] > 0, "{engine:?}: nobody has read it");
        world.pass(2 * MINUTE).await;
        assert_eq!(world.still("northwind").await, still, "{engine:?}");
    }
}
