//! The store's promises, on both engines: claims, leases, unique claims, states.

use leadshare::args;
use leadshare::errors::Error;
use leadshare::store::deliveries::{self, Delivery};
use leadshare::store::dirty::{self, Raise};
use leadshare::store::quiet::{Found, Quiet};
use leadshare::store::{Db, connections, files, inbox, leads, people, replicas, shares};
use serde_json::{Value, json};

use super::support::world::{Engine, Folder, claim_out};

async fn open(engine: Engine) -> (Db, Folder) {
    let folder = Folder::new();
    (Db::open(&engine.url(&folder.0)).await.unwrap(), folder)
}

async fn raise(db: &Db, ids: &[&str], now: i64) {
    let hints: Vec<Raise> =
        ids.iter().map(|id| Raise { object: "contact".into(), remote_id: (*id).into(), kind: "changed", detail: None }).collect();
    let mut tx = db.begin().await.unwrap();
    dirty::raise(&mut tx, "c", &hints, now).await.unwrap();
    tx.commit().await.unwrap();
}

async fn claim(db: &Db, lease: &str, now: i64, limit: usize) -> Vec<dirty::Dirty> {
    dirty::claim(db, "c", "contact", lease, now, now + 100, limit).await.unwrap()
}

async fn finish(db: &Db, lease: &str, done: &[&dirty::Dirty], now: i64) -> Result<(), Error> {
    let mut tx = db.begin().await.unwrap();
    dirty::finish(&mut tx, "c", "contact", lease, done, now).await?;
    tx.commit().await
}

// Breaks when a change that comes while its record is being read is lost.
#[tokio::test]
async fn a_hint_raised_while_it_is_read_stays() {
    for engine in Engine::BOTH {
        let (db, _folder) = open(engine).await;
        raise(&db, &["1", "1", "2"], 10).await;
        let claimed = claim(&db, "a", 10, 10).await;
        assert_eq!(claimed.iter().map(|d| (d.remote_id.as_str(), d.hints)).collect::<Vec<_>>(), [("1", 2), ("2", 1)]);
        raise(&db, &["1"], 20).await;
        finish(&db, "a", &claimed.iter().collect::<Vec<_>>(), 30).await.unwrap();
        let again = claim(&db, "b", 30, 10).await;
        assert_eq!(again.iter().map(|d| (d.remote_id.as_str(), d.hints, d.claims)).collect::<Vec<_>>(), [("1", 1, 1)]);
        finish(&db, "b", &again.iter().collect::<Vec<_>>(), 40).await.unwrap();
        assert!(dirty::pending(&db).await.unwrap().is_empty());
    }
}

// Breaks when work of a worker that died is never taken up, or two workers both keep what they did.
#[tokio::test]
async fn a_lease_that_ran_out_passes_to_another_and_the_first_keeps_nothing() {
    for engine in Engine::BOTH {
        let (db, _folder) = open(engine).await;
        raise(&db, &["1"], 10).await;
        let first = claim(&db, "a", 10, 10).await;
        assert!(claim(&db, "b", 50, 10).await.is_empty(), "the lease still holds");
        let second = claim(&db, "b", 111, 10).await;
        assert_eq!(second[0].claims, 2, "a crash loop shows");
        let lost = finish(&db, "a", &[&first[0]], 112).await;
        assert!(matches!(lost, Err(Error::Passing { ref code, .. }) if code == "lease_lost"), "{lost:?}");
        finish(&db, "b", &[&second[0]], 113).await.unwrap();
    }
}

// Breaks when kills that follow one another within a minute look like a record that stops the daemon each time.
#[tokio::test]
async fn a_suspect_waits_ever_longer_after_each_death() {
    for engine in Engine::BOTH {
        let (db, _folder) = open(engine).await;
        connections::ensure(&db, "c", "p", "hubspot", 1).await.unwrap();
        raise(&db, &["1"], 0).await;
        want(&db, json!([["s", "out", "c", "Lead", 1]]), 0).await;
        let (mut now, mut waits, mut before) = (0, Vec::new(), (String::new(), String::new()));
        for life in 0..8 {
            let (owner, epoch) = (format!("owner {life}"), format!("epoch {life}"));
            let row = json!([["c", before.1, epoch, before.0]]);
            assert_eq!(replicas::take(&db, &owner, &row, now).await.unwrap(), ["c"]);
            before = (owner, epoch);
            let freed = now;
            while claim(&db, &before.0, now, 1).await.is_empty() {
                assert!(take(&db, &before.0, now, 1).await.is_empty(), "a delivery waits no less than a hint");
                now += 1_000;
            }
            assert_eq!(take(&db, &before.0, now, 1).await.len(), 1);
            waits.push((now - freed) / 1_000);
        }
        assert_eq!(waits, [0, 0, 0, 1, 8, 27, 64, 125], "{engine:?}");
    }
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

// Breaks when somebody whose delivery was taken over still counts as its holder, or what is given back waits.
#[tokio::test]
async fn a_delivery_taken_over_is_held_by_one() {
    for engine in Engine::BOTH {
        let (db, _folder) = open(engine).await;
        want(&db, json!([["s", "out", "c", "Lead", 1]]), 10).await;
        assert_eq!(take(&db, "a", 10, 1).await[0].claims, 1);
        assert_eq!(take(&db, "b", 111, 1).await[0].claims, 2);
        let mut tx = db.begin().await.unwrap();
        assert_eq!(deliveries::still_held(&mut tx, "out", "a", &json!([["s"]]), 0).await.unwrap(), [""; 0], "b has taken it over");
        assert_eq!(deliveries::still_held(&mut tx, "out", "b", &json!([["s"]]), 0).await.unwrap(), ["s"]);
        drop(tx);
        deliveries::give_back(&db, "out", "b", &json!([["s"]]), 112).await.unwrap();
        assert_eq!(take(&db, "c", 112, 1).await[0].claims, 2, "a claim that was given back does not count");
    }
}

// Breaks when two workers get the same hint.
#[tokio::test]
async fn claims_at_the_same_time_share_the_work() {
    for engine in Engine::BOTH {
        let (db, _folder) = open(engine).await;
        let ids: Vec<String> = (0..40).map(|i| i.to_string()).collect();
        raise(&db, &ids.iter().map(String::as_str).collect::<Vec<_>>(), 10).await;
        let (a, b, c) = tokio::join!(claim(&db, "a", 10, 15), claim(&db, "b", 10, 15), claim(&db, "c", 10, 15));
        let mut all: Vec<String> = [a, b, c].concat().into_iter().map(|d| d.remote_id).collect();
        let claimed = all.len();
        all.sort();
        all.dedup();
        assert_eq!(all.len(), claimed, "{engine:?}: one hint twice");
        assert!(claimed >= 15);
    }
}

// Breaks when waiting for a quota counts as a failure, or a failure does not count.
#[tokio::test]
async fn only_failing_counts_as_a_claim() {
    for engine in Engine::BOTH {
        let (db, _folder) = open(engine).await;
        raise(&db, &["1"], 10).await;
        let first = claim(&db, "a", 10, 1).await;
        dirty::snooze(&db, "c", "contact", "a", &[&first[0]], 20, true).await.unwrap();
        assert!(claim(&db, "b", 19, 1).await.is_empty(), "it is put off");
        let second = claim(&db, "b", 20, 1).await;
        assert_eq!(second[0].claims, 1);
        dirty::snooze(&db, "c", "contact", "b", &[&second[0]], 30, false).await.unwrap();
        assert_eq!(claim(&db, "d", 30, 1).await[0].claims, 2);
    }
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

async fn want(db: &Db, mut rows: Value, now: i64) {
    rows.as_array_mut().unwrap().iter_mut().for_each(|row| row.as_array_mut().unwrap().push(now.into()));
    let mut tx = db.begin().await.unwrap();
    deliveries::want(&mut tx, &rows, now).await.unwrap();
    tx.commit().await.unwrap();
}

async fn take(db: &Db, lease: &str, now: i64, limit: usize) -> Vec<Delivery> {
    claim_out(db, "c", lease, now, now + 100, limit).await
}

// Breaks when status or backfill goes before a withdrawal or a new lead.
#[tokio::test]
async fn the_most_urgent_lane_goes_first() {
    for engine in Engine::BOTH {
        let (db, _folder) = open(engine).await;
        for (share, lane) in [("backfill", 3), ("new", 1), ("protect", 0), ("status", 2)] {
            want(&db, json!([[share, "out", "c", "Lead", lane]]), 10).await;
        }
        want(&db, json!([["elsewhere", "out", "d", "Lead", 0], ["news", "back", "c", "Lead", 0]]), 5).await;
        let mut order = Vec::new();
        for lease in ["a", "b", "c", "d", "e"] {
            order.extend(take(&db, lease, 10, 1).await.into_iter().map(|d| d.share));
        }
        assert_eq!(order, ["protect", "new", "status", "backfill"]);
    }
}

// Breaks when a newer wish is swallowed by an older delivery's end, or an ended one is taken up again.
#[tokio::test]
async fn a_newer_wish_stays_open_and_an_end_is_an_end() {
    for engine in Engine::BOTH {
        let (db, _folder) = open(engine).await;
        want(&db, json!([["s", "out", "c", "Lead", 1]]), 10).await;
        let first = take(&db, "a", 10, 5).await;
        want(&db, json!([["s", "out", "c", "Lead", 2]]), 20).await;
        let mut tx = db.begin().await.unwrap();
        // Not his lease: were it taken, nothing would be left to do below.
        deliveries::done(&mut tx, "out", "other", &json!([["s", 2]]), 30).await.unwrap();
        deliveries::done(&mut tx, "out", "a", &json!([["s", first[0].version]]), 30).await.unwrap();
        tx.commit().await.unwrap();
        let second = take(&db, "b", 30, 5).await;
        assert_eq!((second[0].version, second[0].done_version), (2, 1));
        let mut tx = db.begin().await.unwrap();
        deliveries::later(&mut tx, "out", "b", &json!([["s", 90, 3, "throttled", 2]]), 40).await.unwrap();
        tx.commit().await.unwrap();
        assert!(take(&db, "c", 89, 5).await.is_empty());
        let third = take(&db, "c", 90, 5).await;
        assert_eq!((third[0].attempts, third[0].claims), (3, 1));
        let mut tx = db.begin().await.unwrap();
        deliveries::end(&mut tx, "out", &json!([["s", "ended", "recalled", 2]]), 95).await.unwrap();
        tx.commit().await.unwrap();
        want(&db, json!([["s", "out", "c", "Lead", 0]]), 100).await;
        assert!(take(&db, "d", 300, 5).await.is_empty() && deliveries::open(&db).await.unwrap().is_empty());
    }
}

// Breaks when somebody's no that was raised while an older version was tried waits as long as that version does, or for `jobs
// retry` because that version was refused for good.
#[tokio::test]
async fn what_became_of_an_older_version_does_not_keep_a_newer_waiting() {
    for engine in Engine::BOTH {
        let (db, _folder) = open(engine).await;
        want(&db, json!([["s", "out", "c", "Lead", 1]]), 10).await;
        let first = take(&db, "a", 10, 5).await;
        want(&db, json!([["s", "out", "c", "Lead", 0]]), 20).await;
        let mut tx = db.begin().await.unwrap();
        deliveries::later(&mut tx, "out", "a", &json!([["s", 9_000, 3, "failed", first[0].version]]), 30).await.unwrap();
        tx.commit().await.unwrap();
        let second = take(&db, "b", 30, 5).await;
        assert_eq!((second[0].version, second[0].lane, second[0].attempts), (2, 0, 0), "{engine:?}");
        want(&db, json!([["s", "out", "c", "Lead", 0]]), 40).await;
        let mut tx = db.begin().await.unwrap();
        deliveries::end(&mut tx, "out", &json!([["s", "failed", "refused", second[0].version]]), 50).await.unwrap();
        tx.commit().await.unwrap();
        let third = take(&db, "c", 50, 5).await;
        assert_eq!((third[0].version, third[0].claims), (3, 1), "{engine:?}");
        let mut tx = db.begin().await.unwrap();
        deliveries::end(&mut tx, "out", &json!([["s", "failed", "refused", third[0].version]]), 60).await.unwrap();
        tx.commit().await.unwrap();
        assert!(take(&db, "d", 900, 5).await.is_empty(), "{engine:?}: the one that is wanted was refused");
    }
}

// Breaks when a write of unknown outcome is forgotten over a crash.
#[tokio::test]
async fn an_intent_outlives_its_worker() {
    for engine in Engine::BOTH {
        let (db, _folder) = open(engine).await;
        want(&db, json!([["s", "out", "c", "Lead", 1]]), 10).await;
        assert_eq!(take(&db, "a", 10, 5).await[0].intent, None);
        let mut tx = db.begin().await.unwrap();
        assert_eq!(deliveries::still_held(&mut tx, "out", "a", &json!([["s"]]), 50).await.unwrap(), ["s"]);
        assert_eq!(deliveries::still_held(&mut tx, "out", "a", &json!([["s"]]), 110).await.unwrap(), [""; 0], "it has run out");
        deliveries::intend(&mut tx, "out", &json!([["s", 1]]), 11).await.unwrap();
        tx.commit().await.unwrap();
        let after_crash = take(&db, "b", 120, 5).await;
        assert_eq!((after_crash[0].intent.as_deref(), after_crash[0].sent_at), (Some("sent"), Some(11)));
        assert_eq!(deliveries::open_creates(&db, "c").await.unwrap(), 1);
        let mut tx = db.begin().await.unwrap();
        deliveries::in_doubt(&mut tx, "out", &json!([["s"]])).await.unwrap();
        deliveries::settled(&mut tx, "out", &json!([["s"]])).await.unwrap();
        tx.commit().await.unwrap();
        assert_eq!(deliveries::open_creates(&db, "c").await.unwrap(), 0);
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
