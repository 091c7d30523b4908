//! Claims, on both engines: each hint and each delivery is one worker's, for as long as its lease lasts.

use leadshare::errors::Error;
use leadshare::store::deliveries::{self, Delivery};
use leadshare::store::dirty::{self, Raise};
use leadshare::store::{Db, connections, replicas};
use serde_json::{Value, json};

use super::store::open;
use super::support::world::{Engine, claim_out};

pub async fn raise(db: &Db, ids: &[&str], now: i64) {
    let hints: Vec<Raise> =
        ids.iter().map(|id| Raise { object: "contact".into(), remote_id: (*id).into(), kind: "changed", detail: None }).collect();
    let mut tx = db.begin().await.unwrap();
    dirty::raise(&mut tx, "c", &hints, now).await.unwrap();
    tx.commit().await.unwrap();
}

pub async fn claim(db: &Db, lease: &str, now: i64, limit: usize) -> Vec<dirty::Dirty> {
    dirty::claim(db, "c", "contact", lease, now, now + 100, limit).await.unwrap()
}

pub async fn finish(db: &Db, lease: &str, done: &[&dirty::Dirty], now: i64) -> Result<(), Error> {
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

// Breaks when somebody whose delivery was taken over still counts as its holder, or can end it, or what is given back waits.
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
        deliveries::done(&mut tx, "out", "a", &json!([["s", 1]]), 111).await.unwrap();
        deliveries::later(&mut tx, "out", "a", &json!([["s", 0, 7, "late", 1]]), 111).await.unwrap();
        deliveries::end(&mut tx, "out", "a", &json!([["s", "ended", "late", 1]]), 111).await.unwrap();
        tx.commit().await.unwrap();
        assert!(take(&db, "c", 111, 1).await.is_empty(), "{engine:?}: what a says of it comes too late");
        deliveries::give_back(&db, "out", "b", &json!([["s"]]), 112).await.unwrap();
        let given_back = take(&db, "c", 112, 1).await;
        assert_eq!((given_back[0].claims, given_back[0].attempts), (2, 0), "a claim that was given back does not count");
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
        deliveries::end(&mut tx, "out", "c", &json!([["s", "ended", "recalled", 2]]), 95).await.unwrap();
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
        deliveries::end(&mut tx, "out", "b", &json!([["s", "failed", "refused", second[0].version]]), 50).await.unwrap();
        tx.commit().await.unwrap();
        let third = take(&db, "c", 50, 5).await;
        assert_eq!((third[0].version, third[0].claims), (3, 1), "{engine:?}");
        let mut tx = db.begin().await.unwrap();
        deliveries::end(&mut tx, "out", "c", &json!([["s", "failed", "refused", third[0].version]]), 60).await.unwrap();
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
