//! The process is stopped (SIGSTOP) between its last check and its write, for longer than the check holds, and wakes.

use leadshare::clock::{Millis, SECOND};

use crate::house::{Engine, House};

/// A write begins within five seconds of its check or not at all; a little more.
const TOO_LATE: Millis = 7 * SECOND;
const REACH: Millis = 60 * SECOND;
const MEND: Millis = 200 * SECOND;

/// Stops the daemon at a point, lets it sleep, and wakes it. Tryton has no unique key: what is sent late is there twice.
async fn sleep_at(point: &'static str) {
    let mut house = House::connected(Engine::Sqlite, &["northwind", "brightwater", "orchard"]).await;
    let mut people = Vec::new();
    let mut daemon = house.start(Some(&format!("{point}=stop"))).await;
    people.extend(house.enter("northwind", "orchard", 2));
    people.extend(house.enter("northwind", "brightwater", 2));
    house.until("it stops itself", REACH, async || if daemon.is_stopped() { Ok(()) } else { Err(point.to_owned()) }).await;
    let woken = house.clock.now() + TOO_LATE;
    house.until("too late", 2 * TOO_LATE, async || if house.clock.now() > woken { Ok(()) } else { Err("early".into()) }).await;
    // The lead changes meanwhile: what was about to be sent is not what is wanted any more.
    house.rename(&people, "Renamed");
    daemon.signal("CONT");
    house.at_rest(&people, MEND).await;
    house.until("the newest name arrives", MEND, async || house.renamed(&people, "Renamed")).await;
    assert!(daemon.runs());
}

// Breaks when a process that slept between its check and its write sends what it checked long ago.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_sleeper_sends_nothing_stale() {
    let points = ["delivery.intended", "delivery.sending", "request.permitted:9", "request.authorized:14"];
    futures_util::future::join_all(points.map(sleep_at)).await;
}
