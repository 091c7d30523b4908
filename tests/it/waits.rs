//! Leads that were refused or held for what passes: looked at again when it has passed, and not before.

use leadshare::clock::{DAY, HOUR, Millis};
use leadshare::demo::cast::{Person, Story};
use leadshare::errors::Severity;
use leadshare::model::Waiting;
use leadshare::store::dirty::{self, Raise};
use leadshare::store::{leads, views, waits};
use leadshare::vault::Identity;
use leadshare::{daemon, program};
use serde_json::json;

use super::support::world::{Engine, PLAIN, World};

const AGREEMENT: &str = "program/agreements/northwind-brightwater.toml";

/// Caps of the example's agreement.
fn capped(caps: &'static str) -> impl Fn(&str, &str) -> String + Sync {
    move |path, text| match path {
        AGREEMENT => text.replace("[operations] ", &format!("[operations]\ncapacity = {{ by = \"recipient\", {caps} }}\n")),
        _ => text.to_owned(),
    }
}

/// People whom Northwind may share with Brightwater, entered one after the other.
async fn enter(world: &World, count: usize) -> Vec<Person> {
    let people = world.people("northwind", "brightwater", Story::Good, count);
    for person in &people {
        world.enter(std::slice::from_ref(person));
        world.settle().await;
    }
    people
}

/// Whether each of them is at Brightwater.
fn there(world: &World, people: &[Person]) -> Vec<bool> {
    people.iter().map(|person| world.with_email("brightwater", &person.email).len() == 1).collect()
}

async fn lead(world: &World, person: &Person) -> leads::StoredLead {
    let hash = world.ctx.vault.blind.hash(Identity::Email, &person.email);
    leads::by_identity(&world.ctx.db, &hash).await.unwrap().unwrap()
}

/// What a record waits for, as people are told.
async fn told(world: &World, record: &str) -> Vec<String> {
    let (now, rules) = (world.clock.now(), world.ctx.rules());
    let rows = waits::of_record(&world.ctx.db, record).await.unwrap().into_iter();
    rows.map(|row| Waiting::read(&row.2, row.3, row.4).unwrap().told(now, |id| rules.program.begins(id, now))).collect()
}

/// How often a lead was decided about.
async fn decisions(world: &World, person: &Person) -> usize {
    views::decisions_of(&world.ctx.db, &lead(world, person).await.id).await.unwrap().len()
}

async fn wait_for(world: &World, time: Millis) {
    world.clock.advance(time);
    world.settle().await;
}

/// The daemon starts again with its configuration edited.
async fn restart(world: &mut World, from: &str, to: &str) {
    let text = std::fs::read_to_string(world.stage.config_path()).unwrap();
    assert!(text.contains(from), "{from} is not in the configuration");
    std::fs::write(world.stage.config_path(), text.replacen(from, to, 1)).unwrap();
    world.restart().await;
    world.settle().await;
}

// Breaks when a lead that met a full daily cap is forgotten, or all are read again at midnight though there is room for one.
#[tokio::test]
async fn who_met_a_full_day_goes_the_next_day_oldest_first() {
    for engine in Engine::BOTH {
        let world = World::changed(engine, PLAIN, &capped("day = 1")).await;
        let people = enter(&world, 3).await;
        assert_eq!(there(&world, &people), [true, false, false], "{engine:?}");
        let waiting = told(&world, &lead(&world, &people[1]).await.remote_id).await;
        assert!(waiting.len() == 1 && waiting[0].contains("2026-09-22T00:00:00Z"), "{waiting:?}");
        let still = world.still("northwind").await;
        wait_for(&world, 9 * HOUR).await;
        assert_eq!(world.still("northwind").await, still, "{engine:?}: it is the same day");

        wait_for(&world, HOUR).await;
        assert_eq!(there(&world, &people), [true, true, false], "{engine:?}: a new day has room for one");
        assert_eq!(decisions(&world, &people[2]).await, 1, "{engine:?}: whom there is no room for is left alone");
        wait_for(&world, DAY).await;
        assert_eq!(there(&world, &people), [true, true, true], "{engine:?}");
        assert_eq!(told(&world, &lead(&world, &people[2]).await.remote_id).await, [""; 0]);
        assert!(world.verify(&[]).await.ok());
    }
}

// Breaks when the place of a lead that is done with at its recipient stays empty though somebody waits for it.
#[tokio::test]
async fn a_place_that_is_free_again_is_given() {
    for engine in Engine::BOTH {
        let world = World::changed(engine, PLAIN, &capped("open = 1")).await;
        let people = enter(&world, 2).await;
        assert_eq!(there(&world, &people), [true, false], "{engine:?}");
        let first = world.with_email("brightwater", &people[0].email).remove(0);
        world.update("brightwater", &first.id, &json!({ "Status": "Closed - Not Converted", "Lost_Reason__c": "No budget" }));
        world.settle().await;
        assert_eq!(there(&world, &people), [true, true], "{engine:?}");
    }
}

// Breaks when somebody who said no while waiting is shared when there is room.
#[tokio::test]
async fn a_no_ends_the_wait() {
    for engine in Engine::BOTH {
        let world = World::changed(engine, PLAIN, &capped("day = 1")).await;
        let people = enter(&world, 2).await;
        let record = lead(&world, &people[1]).await.remote_id;
        world.update("northwind", &record, &json!({ "ls_partner_choice": "nobody" }));
        world.settle().await;
        assert_eq!(told(&world, &record).await, [""; 0], "{engine:?}");
        wait_for(&world, DAY).await;
        assert_eq!(there(&world, &people), [true, false], "{engine:?}");
    }
}

// Breaks when a look that finds all as it was writes changes, decisions or entries, or is repeated at once.
#[tokio::test]
async fn a_look_in_vain_leaves_no_trace() {
    for engine in Engine::BOTH {
        let world = World::changed(engine, PLAIN, &capped("day = 1")).await;
        let people = enter(&world, 2).await;
        let waiting = lead(&world, &people[1]).await;
        let (still, before) = (world.still("northwind").await, views::changes_of(&world.ctx.db, &waiting.id).await.unwrap().len());
        let what = waits::of_record(&world.ctx.db, &waiting.remote_id).await.unwrap().remove(0).2;
        let mut tx = world.ctx.db.begin().await.unwrap();
        waits::look(&mut tx, "northwind", "contact", &json!([[waiting.remote_id, what]])).await.unwrap();
        let look = Raise { object: "contact".into(), remote_id: waiting.remote_id.clone(), kind: "look", detail: None };
        dirty::raise(&mut tx, "northwind", &[look], world.clock.now()).await.unwrap();
        tx.commit().await.unwrap();
        assert_eq!(told(&world, &waiting.remote_id).await.len(), 1);
        let at = world.clock.now();
        world.work().await;
        assert_eq!((world.still("northwind").await, world.hints().await), (still, 0), "{engine:?}");
        assert_eq!(views::changes_of(&world.ctx.db, &waiting.id).await.unwrap().len(), before, "{engine:?}");
        assert_eq!(lead(&world, &people[1]).await.updated_at, waiting.updated_at, "{engine:?}");
        let next = waits::of_record(&world.ctx.db, &waiting.remote_id).await.unwrap().remove(0).4;
        assert!(next.is_some_and(|next| next > at), "{engine:?}: {next:?}");
        wait_for(&world, DAY).await;
        assert_eq!(there(&world, &people), [true, true], "{engine:?}: it goes when there is room all the same");
    }
}

/// The example's agreement from another day on, signed by both.
fn from_day(text: &str, day: &str) -> String {
    let terms = text.split("[signing]").next().unwrap().replace("from = 2026-01-01", &format!("from = {day}"));
    let hash = program::terms_hash(&terms).unwrap();
    let signed = |party: &str, by: &str| format!("{{ party = \"{party}\", by = \"{by}\", at = 2026-01-02T10:00:00Z, terms = \"{hash}\" }}");
    format!("{terms}[signing]\nsigned = [{}, {}]\n", signed("source", "A. de Wit, COO"), signed("recipient", "R. Okafor, CEO"))
}

// Breaks when leads that came before an agreement was signed, or had begun, are never shared under it.
#[tokio::test]
async fn who_came_before_the_agreement_is_shared_when_it_is_in_force() {
    for engine in Engine::BOTH {
        let unsigned = |path: &str, text: &str| {
            if path == AGREEMENT { from_day(text, "2026-09-23").replace("A. de Wit, COO", "Nobody") } else { text.to_owned() }
        };
        let world = World::changed(engine, PLAIN, &unsigned).await;
        let people = enter(&world, 1).await;
        let record = lead(&world, &people[0]).await.remote_id;
        let path = world.dir.join(AGREEMENT);
        let text = std::fs::read_to_string(&path).unwrap();
        assert_eq!(there(&world, &people), [false], "{engine:?}: nobody has signed");

        std::fs::write(&path, text.replace("Nobody", "A. de Wit, COO")).unwrap();
        daemon::reload(&world.ctx, &(&world.config).into()).await.unwrap();
        world.settle().await;
        assert_eq!(there(&world, &people), [false], "{engine:?}: it has not begun");
        let waiting = told(&world, &record).await;
        assert!(waiting.len() == 1 && waiting[0].contains("2026-09-22T22:00:00Z"), "{engine:?}: {waiting:?}");
        wait_for(&world, 2 * DAY).await;
        assert_eq!(there(&world, &people), [true], "{engine:?}");
    }
}

// Breaks when what was held while its connection observed, its recipient was paused or had no connection stays held for ever.
#[tokio::test]
async fn what_was_held_goes_when_the_connection_is_ready() {
    for engine in Engine::BOTH {
        for (ready, not) in [
            ("[connections.northwind]\n", "[connections.northwind]\nobserve = true\n"),
            ("[connections.brightwater]\n", "[connections.brightwater]\npaused = true\n"),
            ("connector = \"salesforce\"\nrole = \"recipient\"", "connector = \"salesforce\"\nrole = \"source\""),
        ] {
            let mut world = World::new(engine, PLAIN).await;
            restart(&mut world, ready, not).await;
            let people = enter(&world, 1).await;
            let record = lead(&world, &people[0]).await.remote_id;
            assert_eq!((there(&world, &people), told(&world, &record).await.len()), (vec![false], 1), "{engine:?}: {not}");
            restart(&mut world, not, ready).await;
            assert_eq!((there(&world, &people), told(&world, &record).await.len()), (vec![true], 0), "{engine:?}: {not}");
        }
    }
}

// Breaks when a record that the mapping did not understand is not read again with the mended one, or is with each one that is not.
#[tokio::test]
async fn what_the_mapping_refused_is_read_again_when_it_is_mended() {
    for engine in Engine::BOTH {
        let world = World::new(engine, PLAIN).await;
        let mut person = world.people("northwind", "brightwater", Story::Good, 1).remove(0);
        person.fields.insert("industry".into(), "SPACE_TRAVEL".into());
        let record = world.enter(std::slice::from_ref(&person)).remove(0);
        world.settle().await;
        assert_eq!(told(&world, &record).await.len(), 1, "{engine:?}");
        let path = world.dir.join("mappings/northwind.toml");
        let edit = async |from: &str, to: &str| {
            let text = std::fs::read_to_string(&path).unwrap();
            assert!(text.contains(from), "{from}");
            std::fs::write(&path, text.replacen(from, to, 1)).unwrap();
            let said = daemon::reload(&world.ctx, &(&world.config).into()).await.unwrap();
            assert!(said.iter().all(|d| d.severity != Severity::Error), "{said:?}");
            world.settle().await;
        };
        let changes = async || views::changes_of_record(&world.ctx.db, &record).await.unwrap().len();
        let before = changes().await;
        edit("RETAIL = \"retail\"", "RETAIL = \"retail\", TOYS = \"toys\"").await;
        assert_eq!((there(&world, &[person.clone()]), changes().await), (vec![false], before), "{engine:?}: that was of no help");
        // The file's own example says that the word is not known.
        edit(
            "crm  = { email = \"jo@example.de\", industry = \"SPACE_TRAVEL\" }",
            "crm  = { email = \"jo@example.de\", industry = \"SPACE_SHIPS\" }",
        )
        .await;
        edit("RETAIL = \"retail\"", "RETAIL = \"retail\", SPACE_TRAVEL = \"space\"").await;
        assert_eq!(there(&world, &[person]), [true], "{engine:?}");
    }
}
