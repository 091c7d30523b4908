//! The store's promises, on both engines: what is there once, what is forgotten, and what a transaction may say.

use leadshare::args;
use leadshare::errors::Error;
use leadshare::store::dirty::{self, Raise};
use leadshare::store::quiet::{Found, Quiet};
use leadshare::store::{Db, connections, files, inbox, leads, people, shares};
use serde_json::json;

use super::claims::{claim, finish, raise};
use super::support::world::{Engine, Folder};

pub async fn open(engine: Engine) -> (Db, Folder) {
    let folder = Folder::new();
    (Db::open(&engine.url(&folder.0)).await.unwrap(), folder)
}

// Breaks when something of a closed store is still at work on its file, or left in its log: whoever copies the file has all of it.
#[tokio::test]
async fn a_closed_store_is_one_whole_file() {
    let (db, folder) = open(Engine::Sqlite).await;
    let large = "x".repeat(1 << 20);
    for n in 0..24 {
        connections::set_setting(&db, &n.to_string(), &large).await.unwrap();
    }
    db.close().await;
    let left = std::fs::read_dir(&folder.0).unwrap().flatten().map(|file| file.file_name().to_string_lossy().into_owned());
    let left: Vec<String> = left.filter(|name| name.ends_with("-wal")).collect();
    assert_eq!(left, [""; 0], "the last to close a store's file brings its log in, and removes it");
}

// Breaks when a poll that found nothing forgets its cursor, or reads again what it has seen.
#[tokio::test]
async fn cursors_and_versions_are_remembered() {
    for engine in Engine::BOTH {
        let (db, _folder) = open(engine).await;
        let mut tx = db.begin().await.unwrap();
        dirty::save_cursor(&mut tx, "c", "contact", Some("{\"at\":1}".into()), 50).await.unwrap();
        dirty::save_cursor(&mut tx, "c", "contact", None, 60).await.unwrap();
        let rows = json!([["1", "v1", "h", null, "live"], ["2", "v1/x", "h", null, "live"], ["3", "v1", "h", null, "gone"]]);
        leads::save_records(&mut tx, "c", "contact", &rows, 1).await.unwrap();
        let polled = json!([["1", "v1", "live"], ["2", "v1", "live"], ["3", "v1", "live"], ["1", "v2", "live"], ["4", "v1", "live"]]);
        tx.commit().await.unwrap();
        let mut seen = dirty::already_seen(&db, "c", "contact", &polled).await.unwrap();
        seen.sort();
        assert_eq!(seen, ["1", "2"]);
        assert_eq!(dirty::cursors(&db, "c", "contact", "").await.unwrap(), (Some((Some("{\"at\":1}".into()), 60, 0)), None));
    }
}

// Breaks when a poll that found nothing is forgotten, or undoes what another replica has polled since; a clock that went back is no reason.
#[tokio::test]
async fn quiet_polls_are_kept_unless_somebody_polled_later() {
    for engine in Engine::BOTH {
        let (db, _folder) = open(engine).await;
        let mut tx = db.begin().await.unwrap();
        dirty::save_cursor(&mut tx, "c", "contact", Some("1".into()), 0).await.unwrap();
        tx.commit().await.unwrap();
        let quiet = Quiet::default();
        let next = async |at, next, now| {
            quiet.note("c", "contact", Found { cursor: "2".into(), at, next });
            assert!(quiet.has("c", "contact"));
            quiet.keep(&db, now).await.unwrap();
            assert!(!quiet.has("c", "contact"));
            dirty::cursors(&db, "c", "contact", "").await.unwrap().0.unwrap().1
        };
        assert_eq!(next(100, 900, 110).await, 900);
        assert_eq!(next(90, 890, 120).await, 900, "polled at 100 since");
        assert_eq!(next(50, 850, 60).await, 850, "100 is yet to come: the clock went back");
    }
}

// Breaks when two deciders both take one person for one recipient.
#[tokio::test]
async fn a_claim_is_given_once_and_released_with_its_share() {
    for engine in Engine::BOTH {
        let (db, _folder) = open(engine).await;
        let mut tx = db.begin().await.unwrap();
        let both = json!([["person_recipient", "p|r", "s1"], ["person_recipient", "q|r", "s1"]]);
        assert!(shares::claim(&mut tx, &both, 2, 1).await.unwrap());
        tx.commit().await.unwrap();
        let mut tx = db.begin().await.unwrap();
        let second = json!([["person_recipient", "p|r", "s2"], ["person_recipient", "z|r", "s2"]]);
        assert!(!shares::claim(&mut tx, &second, 2, 2).await.unwrap());
        drop(tx);
        let mut tx = db.begin().await.unwrap();
        shares::release(&mut tx, &json!([["s1"]])).await.unwrap();
        assert!(shares::claim(&mut tx, &second, 2, 3).await.unwrap(), "what was rolled back is free");
        tx.commit().await.unwrap();
    }
}

// Breaks when a person gets a second marker or a second record at one recipient.
#[tokio::test]
async fn a_marker_and_the_way_it_was_made_stay_for_ever() {
    for engine in Engine::BOTH {
        let (db, _folder) = open(engine).await;
        let mut tx = db.begin().await.unwrap();
        shares::want_remote(&mut tx, &json!([["c", "p", "Lead", "ls1-a"]])).await.unwrap();
        shares::want_remote(&mut tx, &json!([["c", "p", "Lead", "ls1-b"]])).await.unwrap();
        shares::land(&mut tx, "c", &json!([["p", "7", "adopted", null]]), 5).await.unwrap();
        shares::land(&mut tx, "c", &json!([["p", "8", "created", "sealed"]]), 6).await.unwrap();
        let found = shares::remote_by_person(&mut tx, "c", &json!([["p"]])).await.unwrap();
        tx.commit().await.unwrap();
        let one = &found[0];
        assert_eq!(found.len(), 1);
        assert_eq!((one.marker.as_str(), one.made.as_str(), one.remote_id.as_deref()), ("ls1-a", "adopted", Some("8")));
        assert_eq!((one.landed_at, one.shadow.as_deref()), (Some(5), Some("sealed")));
    }
}

// Breaks when two workers make two people of one address.
#[tokio::test]
async fn an_address_belongs_to_one_person() {
    for engine in Engine::BOTH {
        let (db, _folder) = open(engine).await;
        for (person, fresh) in [("p1", true), ("p2", false)] {
            let mut tx = db.begin().await.unwrap();
            assert_eq!(people::add(&mut tx, &json!([[person, "key"]]), &json!([["hash", person]]), 1).await.unwrap(), fresh);
            if fresh {
                tx.commit().await.unwrap();
            }
        }
        let mut tx = db.begin().await.unwrap();
        assert_eq!(people::by_hash(&mut tx, &json!([["hash"]])).await.unwrap()[0].1, "p1");
        assert!(people::lock(&mut tx, &json!([["p2"]])).await.unwrap().is_empty(), "nothing stays of the second");
        assert_eq!(people::suppress(&mut tx, &json!([["h", "person", "asked", "[]"]]), 1).await.unwrap(), 1);
        people::suppress(&mut tx, &json!([["h", "person", "asked", "[]"]]), 2).await.unwrap();
        assert_eq!(people::suppressed(&mut tx, &json!([["h"]])).await.unwrap().len(), 1);
    }
}

// Breaks when a link from the browser's history connects an account a second time.
#[tokio::test]
async fn a_state_is_good_once_and_not_for_ever() {
    for engine in Engine::BOTH {
        let (db, _folder) = open(engine).await;
        for state in ["used", "raced", "old"] {
            connections::add_oauth_state(&db, state, "c", "link", "verifier", 100).await.unwrap();
        }
        let taken = connections::take_oauth_state(&db, "used", 50).await.unwrap();
        assert_eq!(taken, Some(("c".into(), "link".into(), "verifier".into())));
        assert_eq!(connections::take_oauth_state(&db, "used", 50).await.unwrap(), None);
        let (a, b) = tokio::join!(connections::take_oauth_state(&db, "raced", 50), connections::take_oauth_state(&db, "raced", 50));
        assert_eq!(usize::from(a.unwrap().is_some()) + usize::from(b.unwrap().is_some()), 1);
        assert_eq!(connections::take_oauth_state(&db, "old", 100).await.unwrap(), None);
        connections::add_link(&db, "l", "c", 100).await.unwrap();
        assert_eq!(connections::link(&db, "l", 99).await.unwrap().as_deref(), Some("c"));
        assert_eq!(connections::link(&db, "l", 100).await.unwrap(), None);
    }
}

// Breaks when one trouble fills the list of alerts, or a mended one stays on it.
#[tokio::test]
async fn an_alert_is_one_until_it_is_mended() {
    for engine in Engine::BOTH {
        let (db, _folder) = open(engine).await;
        let mut tx = db.begin().await.unwrap();
        for (id, at) in [("1", 10), ("2", 20)] {
            connections::raise_alert(&mut tx, id, "c", "code", &format!("at {at}"), at).await.unwrap();
        }
        tx.commit().await.unwrap();
        assert_eq!(connections::open_alerts(&db).await.unwrap(), [("c".into(), "code".into(), "at 20".into(), 10)]);
        let mut tx = db.begin().await.unwrap();
        connections::end_alerts(&mut tx, "c", 30).await.unwrap();
        connections::raise_alert(&mut tx, "3", "c", "code", "again", 40).await.unwrap();
        tx.commit().await.unwrap();
        assert_eq!(connections::open_alerts(&db).await.unwrap().len(), 1);
        assert_eq!(db.row::<(i64,)>("SELECT COUNT(*) FROM alerts", args![]).await.unwrap(), Some((2,)));
    }
}

// Breaks when connecting again widens or forgets from when on a partner shares.
#[tokio::test]
async fn connecting_again_keeps_the_start_of_sharing() {
    for engine in Engine::BOTH {
        let (db, _folder) = open(engine).await;
        connections::ensure(&db, "c", "p", "hubspot", 1).await.unwrap();
        for at in [100, 900] {
            let mut tx = db.begin().await.unwrap();
            connections::connected(&mut tx, "c", None, Some("42".into()), &["oauth".into()], at, at).await.unwrap();
            connections::set_state(&mut tx, "c", if at == 100 { "reconnect_needed" } else { "connected" }, None, at).await.unwrap();
            tx.commit().await.unwrap();
        }
        let one = connections::one(&db, "c").await.unwrap().unwrap();
        assert_eq!((one.state.as_str(), one.share_from, one.external_id.as_deref()), ("connected", Some(100), Some("42")));
    }
}

// Breaks when two versions of one file are in force at once, or one that waits pushes out the one in force.
#[tokio::test]
async fn one_version_of_a_file_is_in_force() {
    for engine in Engine::BOTH {
        let (db, _folder) = open(engine).await;
        for (hash, state) in [("h1", "active"), ("h2", "pending"), ("h3", "pending"), ("h4", "active")] {
            let mut tx = db.begin().await.unwrap();
            files::put(&mut tx, "agreement", "a", hash, "text", state, None, 1).await.unwrap();
            tx.commit().await.unwrap();
            if hash == "h3" {
                let now: Vec<(String, String)> = files::current(&db).await.unwrap().into_iter().map(|f| (f.2, f.3)).collect();
                assert_eq!(now, [("h1".into(), "active".into()), ("h3".into(), "pending".into())]);
            }
        }
        let now: Vec<String> = files::current(&db).await.unwrap().into_iter().filter(|f| f.3 == "active").map(|f| f.2).collect();
        assert_eq!(now, ["h4"]);
    }
}

// Breaks when a database is opened twice and its schema is made twice, or lost.
#[tokio::test]
async fn opening_again_changes_nothing() {
    for engine in Engine::BOTH {
        let folder = Folder::new();
        let url = engine.url(&folder.0);
        let db = Db::open(&url).await.unwrap();
        connections::set_setting(&db, "k", "v").await.unwrap();
        let (again, third) = tokio::join!(Db::open(&url), Db::open(&url));
        assert_eq!(connections::setting(&again.unwrap(), "k").await.unwrap().as_deref(), Some("v"));
        third.unwrap().exec("UPDATE schema_version SET min_reader = 99", args![]).await.unwrap();
        let refused = Db::open(&url).await.expect_err("a newer schema is refused").to_string();
        assert!(refused.contains("too old"), "{refused}");
    }
}

// Breaks when a turn fails because the server broke one of two transactions off that waited for each other.
#[tokio::test]
async fn a_deadlock_passes() {
    const TOUCH: &str = "UPDATE settings SET value = 'touched' WHERE name = $1";
    let (db, _folder) = open(Engine::Postgres).await;
    for name in ["x", "y"] {
        connections::set_setting(&db, name, "untouched").await.unwrap();
    }
    let (mut one, mut other) = (db.begin().await.unwrap(), db.begin().await.unwrap());
    one.exec(TOUCH, args!["x"]).await.unwrap();
    other.exec(TOUCH, args!["y"]).await.unwrap();
    let (first, second) = tokio::join!(one.exec(TOUCH, args!["y"]), other.exec(TOUCH, args!["x"]));
    let broken = first.err().or(second.err());
    assert!(matches!(broken, Some(Error::Passing { .. })), "{broken:?}");
}

// Breaks when a transaction that was worked out beside the writer is kept though what it read has changed meanwhile, or when it is not
// done once more then.
#[tokio::test]
async fn what_was_read_beside_the_writer_is_proven() {
    for engine in Engine::BOTH {
        let (db, _folder) = open(engine).await;
        raise(&db, &["1", "2"], 10).await;
        let claimed = claim(&db, "a", 10, 10).await;
        let (mut tries, mut seen, mut disturbed) = (db.tries(), Vec::new(), false);
        loop {
            let mut tx = tries.begin().await.unwrap();
            let known = people::lock(&mut tx, &json!([["p"]])).await.unwrap().len();
            seen.push(known);
            if engine == Engine::Sqlite && !disturbed {
                let mut other = db.begin().await.unwrap();
                assert!(people::add(&mut other, &json!([["p", "key"]]), &json!([["h", "p"]]), 20).await.unwrap());
                other.commit().await.unwrap();
                disturbed = true;
            }
            let done = dirty::finish(&mut tx, "c", "contact", "a", &claimed.iter().collect::<Vec<_>>(), 30).await;
            if tries.end(tx, done).await.unwrap().is_some() {
                break;
            }
        }
        assert_eq!(seen, if engine == Engine::Sqlite { vec![0, 1] } else { vec![0] });
        assert!(dirty::pending(&db).await.unwrap().is_empty());
    }
}

// Breaks when half of a transaction beside the writer stays: a claim that somebody else has by then, or a lost lease, takes all of it back.
#[tokio::test]
async fn a_try_beside_the_writer_is_kept_whole_or_not_at_all() {
    let (db, _folder) = open(Engine::Sqlite).await;
    raise(&db, &["1"], 10).await;
    let claimed = claim(&db, "a", 10, 10).await;
    let hints = claimed.iter().collect::<Vec<_>>();
    let tries = db.tries();
    let mut tx = tries.ahead().expect("beside the writer");
    assert!(people::add(&mut tx, &json!([["p", "key"]]), &json!([["h", "p"]]), 20).await.unwrap());
    assert!(shares::claim(&mut tx, json!([["person_recipient", "p|r", "s"]]), 1, 20).await.unwrap(), "it is hoped to be free");
    dirty::finish(&mut tx, "c", "contact", "a", &hints, 20).await.unwrap();
    let mut other = db.begin().await.unwrap();
    assert!(shares::claim(&mut other, json!([["person_recipient", "p|r", "t"]]), 1, 15).await.unwrap());
    other.commit().await.unwrap();
    let Error::Passing { code, .. } = tx.commit().await.unwrap_err() else { panic!("it is to be done once more") };
    assert_eq!(code, "changed_meanwhile");
    let people: Vec<(String,)> = db.rows("SELECT id FROM people", args![]).await.unwrap();
    assert!(people.is_empty(), "nothing of it stays");
    finish(&db, "a", &hints, 30).await.expect("the hint is still claimed");
}

// Breaks when a transaction beside the writer answers from before its own writes, as if there were none.
#[tokio::test]
async fn its_own_writes_are_not_read_beside_the_writer() {
    let (db, _folder) = open(Engine::Sqlite).await;
    let mut tx = db.tries().ahead().expect("beside the writer");
    assert!(people::add(&mut tx, &json!([["p", "key"]]), &json!([]), 20).await.unwrap());
    assert!(people::lock(&mut tx, &json!([["p"]])).await.is_err(), "it is done while the writer is held instead");
    assert!(shares::by_id(&mut tx, &json!([["s"]])).await.unwrap().is_empty(), "other tables can be read");
}

// Breaks when a hint stays where it is of which nobody heard that it was kept: a vendor that hangs up breaks off who would say so.
#[tokio::test]
async fn hints_that_nobody_told_of_are_found() {
    let (db, folder) = open(Engine::Sqlite).await;
    let hint = |id: &str| ("c".to_owned(), Raise { object: "contact".into(), remote_id: id.into(), kind: "changed", detail: None });
    let (raising, kept_unheard) = (dirty::Raising::default(), Db::open(&Engine::Sqlite.url(&folder.0)).await.unwrap());
    raising.raise(&db, &[hint("1")], 10).await.unwrap();
    inbox::take_in(&db).await.unwrap();
    assert_eq!(dirty::pending(&db).await.unwrap(), [("c".to_owned(), 1, 10)], "counted once, though it is still in the inbox");
    assert_eq!(claim(&db, "a", 10, 10).await.len(), 1);
    raising.raise(&kept_unheard, &[hint("2")], 10).await.unwrap();
    inbox::take_in(&db).await.unwrap();
    inbox::look_through(&db).await.unwrap();
    assert_eq!(claim(&db, "b", 10, 10).await.len(), 1);
}
