//! The ledger of a world that has worked: tampering is found, and nothing personal is in it, in the
//! log, in the metrics or, in clear, in the store.

use std::io;
use std::sync::{Arc, Mutex};

use leadshare::args;
use leadshare::clock::MINUTE;
use leadshare::demo::cast::Story;
use leadshare::ledger::What;
use leadshare::store::ledger;
use leadshare::vault::Aad;
use leadshare_connectors::sdk::Fault;
use serde_json::{Value, json};

use super::support::world::{Engine, PLAIN, World};

/// A world whose ledger has some dozens of entries, and the last checkpoint, kept outside.
async fn with_entries(engine: Engine) -> (World, String) {
    let world = World::new(engine, PLAIN).await;
    world.enter(&world.people("northwind", "brightwater", Story::Good, 4));
    world.settle().await;
    let outside = ledger::checkpoints(&world.ctx.db).await.unwrap().pop().unwrap();
    let report = world.verify(std::slice::from_ref(&outside)).await;
    assert!(report.ok() && report.sealed >= 12, "{report:?}");
    (world, outside)
}

async fn sql(world: &World, statement: &'static str) -> u64 {
    world.ctx.db.exec(statement, args![]).await.unwrap()
}

/// What is found after the sealed entries were changed in the table: all of them, in order, each `[seq, prev, hash, text]`.
async fn after(engine: Engine, change: impl Fn(&mut Vec<Value>)) -> Vec<What> {
    let (world, _) = with_entries(engine).await;
    let batches: Vec<(i64, String)> = world.ctx.db.rows("SELECT leaf, entries FROM ledger ORDER BY leaf", args![]).await.unwrap();
    let mut entries: Vec<Value> = batches.iter().flat_map(|(_, entries)| serde_json::from_str::<Vec<Value>>(entries).unwrap()).collect();
    let before = entries.clone();
    change(&mut entries);
    assert_ne!(entries, before, "nothing was changed");
    // Written back as they were cut into batches; the last takes what is left.
    let mut entries = entries.into_iter();
    for (nth, (leaf, batch)) in batches.iter().enumerate() {
        let count = serde_json::from_str::<Vec<Value>>(batch).unwrap().len();
        let last = nth == batches.len() - 1;
        let batch: Vec<Value> = entries.by_ref().take(if last { usize::MAX } else { count }).collect();
        world.ctx.db.exec("UPDATE ledger SET entries = $2 WHERE leaf = $1", args![*leaf, json!(batch).to_string()]).await.unwrap();
    }
    world.verify(&[]).await.problems.into_iter().map(|p| p.what).collect()
}

// Breaks when one changed character of an entry goes unnoticed.
#[tokio::test]
async fn one_altered_character_is_found() {
    for engine in Engine::BOTH {
        let found = after(engine, |entries| {
            let delivered = entries.iter_mut().find(|entry| entry[3]["kind"] == "share.delivered").unwrap();
            delivered[3]["kind"] = json!("share.deliverec");
        })
        .await;
        assert!(found.contains(&What::Altered), "{engine:?}: {found:?}");
    }
}

// Breaks when an entry that was taken out goes unnoticed, whether or not the gap was closed.
#[tokio::test]
async fn a_removed_entry_is_found() {
    for engine in Engine::BOTH {
        let found = after(engine, |entries| drop(entries.remove(5))).await;
        assert!(found.iter().any(|what| matches!(what, What::Root { .. })), "{engine:?}: {found:?}");
        let (world, _) = with_entries(engine).await;
        let first: i64 = world.ctx.db.row::<(i64,)>("SELECT count FROM ledger WHERE leaf = 0", args![]).await.unwrap().unwrap().0;
        assert_eq!(sql(&world, "DELETE FROM ledger WHERE leaf = 0").await, 1);
        let found: Vec<What> = world.verify(&[]).await.problems.into_iter().map(|p| p.what).collect();
        assert!(found.contains(&What::Missing { from: 0, to: first as u64 }), "{engine:?}: {found:?}");
    }
}

// Breaks when a batch that cannot be read any more stops the check, or goes unnoticed.
#[tokio::test]
async fn an_unreadable_batch_is_found() {
    for engine in Engine::BOTH {
        let (world, _) = with_entries(engine).await;
        assert_eq!(sql(&world, "UPDATE ledger SET entries = '[[' WHERE leaf = 0").await, 1);
        let found: Vec<What> = world.verify(&[]).await.problems.into_iter().map(|p| p.what).collect();
        assert!(found.contains(&What::Unreadable), "{engine:?}: {found:?}");
    }
}

// Breaks when what a batch says of its entries may be changed, or entries of one batch may stand in another, where the check goes on
// after eight batches.
#[tokio::test]
async fn a_batch_is_what_stands_beside_it() {
    for engine in Engine::BOTH {
        for change in ["count = count + 1", "first_id = last_id || 'x'", "last_id = ''", "entries = '[]'"] {
            let (world, _) = with_entries(engine).await;
            let change = format!("UPDATE ledger SET {change} WHERE leaf = 0").leak();
            assert_eq!(sql(&world, change).await, 1);
            let found: Vec<What> = world.verify(&[]).await.problems.into_iter().map(|p| p.what).collect();
            assert!(found.contains(&What::Batch { leaf: 0 }), "{engine:?}: {found:?}");
        }
        let world = World::new(engine, PLAIN).await;
        for person in world.people("northwind", "brightwater", Story::Good, 9) {
            world.enter(&[person]);
            world.settle().await;
        }
        let batches: Vec<(i64, String)> = world.ctx.db.rows("SELECT leaf, entries FROM ledger ORDER BY leaf", args![]).await.unwrap();
        let (eighth, ninth) = (&batches[7], &batches[8]);
        let both = format!("{},{}", eighth.1.trim_end_matches(']').to_owned() + "]", &ninth.1[1..]);
        let ninth_altered = ninth.1.replacen("\"kind\":\"", "\"kind\":\"x", 1);
        for (leaf, entries) in [(eighth.0, both), (ninth.0, ninth_altered)] {
            world.ctx.db.exec("UPDATE ledger SET entries = $2 WHERE leaf = $1", args![leaf, entries]).await.unwrap();
        }
        let found: Vec<What> = world.verify(&[]).await.problems.into_iter().map(|p| p.what).collect();
        assert!(found.contains(&What::Altered), "{engine:?}: the ninth was not read: {found:?}");
    }
}

// Breaks when a lead's page does not find the lead's sealed entries, or when one row that cannot be read stops sealing.
#[tokio::test]
async fn sealed_entries_are_found_near_their_time_and_sealing_goes_on() {
    for engine in Engine::BOTH {
        let world = World::new(engine, PLAIN).await;
        assert_eq!(sql(&world, "INSERT INTO ledger_waiting (id, count, entries) VALUES ('0', 1, 'broken')").await, 1);
        let (person, _) = world.enter_one();
        world.settle().await;
        let share = world.share(&person.email).await;
        let all = json!([["", "", "zzzz"]]);
        let found = ledger::near(&world.ctx.db, &all, &[&share.lead]).await.unwrap();
        let kinds: Vec<&str> = found.iter().map(|row| row.kind.as_str()).collect();
        assert!(kinds.contains(&"lead.decided") && kinds.contains(&"share.matched"), "{engine:?}: {kinds:?}");
        assert!(found.iter().all(|row| row.seal.is_some()), "{engine:?}: sealing stopped");
        let first = found.iter().map(|row| row.id.clone()).min().unwrap();
        assert!(ledger::near(&world.ctx.db, &json!([["", "", first[..8].to_owned()]]), &[&share.lead]).await.unwrap().is_empty());
    }
}

// Breaks when two entries may change places.
#[tokio::test]
async fn two_swapped_entries_are_found() {
    for engine in Engine::BOTH {
        let found = after(engine, |entries| entries.swap(6, 7)).await;
        assert!(!found.is_empty(), "{engine:?}");
    }
}

// Breaks when the newest entries can be cut off, with all that the store itself says of them, against
// somebody who kept a checkpoint.
#[tokio::test]
async fn a_cut_tail_is_found_by_a_checkpoint_kept_outside() {
    for engine in Engine::BOTH {
        let (world, outside) = with_entries(engine).await;
        let (have,): (i64,) = world.ctx.db.row("SELECT MAX(leaf) FROM ledger", args![]).await.unwrap().unwrap();
        assert_eq!(sql(&world, "DELETE FROM ledger WHERE leaf = (SELECT MAX(leaf) FROM ledger)").await, 1);
        assert!(sql(&world, "DELETE FROM checkpoints WHERE size > (SELECT MAX(leaf + count) FROM ledger)").await > 0);
        let found: Vec<What> = world.verify(&[outside]).await.problems.into_iter().map(|p| p.what).collect();
        assert!(found.iter().any(|what| matches!(what, What::Cut { have: left, .. } if *left == have as u64)), "{engine:?}: {found:?}");
        assert!(world.verify(&[]).await.ok(), "without one the store cannot know: that is why they are kept");
    }
}

#[derive(Clone, Default)]
struct Lines(Arc<Mutex<Vec<u8>>>);

impl io::Write for Lines {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// The tokens in use, opened.
async fn tokens(world: &World) -> Vec<String> {
    let mut found = Vec::new();
    for name in PLAIN {
        let stored = leadshare::store::tokens::one(&world.ctx.db, name).await.unwrap().unwrap();
        for (column, sealed) in [("access", Some(stored.access)), ("refresh", stored.refresh)] {
            let aad = Aad::new("tokens", name, column).version(stored.version as u64);
            found.extend(sealed.map(|s| String::from_utf8(world.ctx.vault.keys.open(aad, &s).unwrap().to_vec()).unwrap()));
        }
    }
    found
}

// Breaks when an address, a number, a token or a secret gets into the ledger, the log, the metrics or,
// in clear, into the store, on the good way or when something goes wrong.
#[tokio::test]
async fn nothing_personal_and_no_secret_leaks() {
    for engine in Engine::BOTH {
        let lines = Lines::default();
        let writer = lines.clone();
        // As `telemetry` does: libraries never below `info`.
        let filter = tracing_subscriber::EnvFilter::new("info,leadshare=trace,leadshare_connectors=trace");
        let subscriber = tracing_subscriber::fmt().json().with_env_filter(filter).with_writer(move || writer.clone()).finish();
        // With a single subscriber in the process, places in the code that another thread reaches first
        // would stay silent here.
        let _other = tracing::Dispatch::new(tracing_subscriber::registry());
        let _logging = tracing::subscriber::set_default(subscriber);
        let recorder = metrics_exporter_prometheus::PrometheusBuilder::new().build_recorder();
        let _counting = metrics::set_default_local_recorder(&recorder);

        let world = World::new(engine, PLAIN).await;
        let mut people = world.people("northwind", "brightwater", Story::Good, 4);
        for story in [Story::KnownThere, Story::Imported, Story::DoesNotFit, Story::ElsewhereCountry] {
            people.extend(world.people("northwind", "brightwater", story, 1));
        }
        // A value that the mapping does not know, and one that the vendor will refuse.
        people[2].fields.insert("industry".into(), json!("planted-industry"));
        people[3].fields.insert("lastname".into(), json!("Planted".repeat(20)));
        for person in &mut people {
            person.fields.insert("phone".into(), json!("+49 30 77665544"));
            if person.fields.contains_key("ls_consented_phone") {
                person.fields.insert("ls_consented_phone".into(), json!("+49 30 77665544"));
            }
        }
        world.inject("brightwater", Fault::DropAfterCommit { count: 1 });
        world.enter(&people);
        let hook = world.webhooks("northwind").remove(0);
        assert_eq!(world.post("/hooks/hubspot", &hook.headers, b"[{}]").await.status, 401);
        assert_eq!(world.post("/hooks/brightwater/planted-path-secret", &[], b"").await.status, 404);
        world.settle().await;
        let mut secrets = tokens(&world).await;
        world.inject("northwind", Fault::ExpireAccessTokens);
        world.inject("brightwater", Fault::Status { status: 500, count: 3 });
        world.settle().await;
        secrets.extend(tokens(&world).await);
        world.inject("brightwater", Fault::RevokeGrants);
        world.pass(MINUTE).await;

        let log = String::from_utf8(lines.0.lock().unwrap().clone()).unwrap();
        let page = recorder.handle().render();
        let rows: Vec<String> = ledger::page(&world.ctx.db, -1, 10_000)
            .await
            .unwrap()
            .into_iter()
            .flat_map(|batch| batch.rows)
            .map(|r| format!("{} {}", r.stream, r.text))
            .collect();
        let rows = rows.join("\n");
        let store = world.dump().await;
        let mut raw = String::new();
        if engine == Engine::Sqlite {
            for file in ["leadshare.db", "leadshare.db-wal"] {
                raw.push_str(&String::from_utf8_lossy(&std::fs::read(world.dir.join(file)).unwrap_or_default()));
            }
            assert!(raw.contains("CREATE TABLE ledger"), "the file was not read");
        }
        assert!(log.contains("asked the vendor") && log.contains("webhook refused"), "nothing was logged: the search is broken: {log}");
        assert!(page.contains("leadshare_changes_total") && rows.contains("share") && store.contains("share.delivered"));

        for planted in ["planted-industry", "PlantedPlanted", "planted-path-secret", "demo-secret", "77665544"] {
            for (place, text) in [("log", &log), ("metrics", &page), ("ledger", &rows), ("store", &store), ("file", &raw)] {
                assert!(!text.contains(planted), "{engine:?}: {planted} is in the {place}: {}", around(text, planted));
            }
        }
        for planted in people.iter().map(|p| p.email.clone()).chain(secrets) {
            for (place, text) in [("log", &log), ("metrics", &page), ("ledger", &rows), ("store", &store), ("file", &raw)] {
                assert!(!text.to_lowercase().contains(&planted.to_lowercase()), "{engine:?}: {planted} is in the {place}");
            }
        }
    }
}

fn around<'a>(text: &'a str, planted: &str) -> &'a str {
    text.lines().find(|line| line.contains(planted)).map(|line| line.get(..600).unwrap_or(line)).unwrap_or_default()
}
