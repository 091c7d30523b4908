//! The process is stopped (SIGSTOP) between its last check and its write, for longer than the check holds, or for longer
//! than its lease while another replica takes its work over; and wakes.

use leadshare::clock::{Millis, SECOND};

use crate::house::{Engine, House};
use crate::kills::all;
use crate::place::Place;

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

/// Stops a replica at a point, lets another one take over and end the work, and wakes the first. Answers after how long
/// everything was done, milliseconds.
async fn taken_over_at(point: &'static str) -> (&'static str, Millis) {
    let mut house = House::connected(Engine::Postgres, &["northwind", "brightwater", "orchard"]).await;
    let mut sleeper = house.start(Some(&format!("{point}=stop"))).await;
    let mut people = house.enter("northwind", "orchard", 2);
    people.extend(house.enter("northwind", "brightwater", 2));
    house.until("it stops itself", REACH, async || if sleeper.is_stopped() { Ok(()) } else { Err(point.to_owned()) }).await;
    let stopped = house.clock.now();
    house.carrier.set_up(sleeper.address(), false);
    let place = Place::new();
    let mut other = house.start_at(place.address, None).await;
    people.extend(house.enter("northwind", "brightwater", 1));
    house.at_rest(&people, MEND).await;
    let took = house.clock.now() - stopped;
    assert!(sleeper.is_stopped());
    sleeper.signal("CONT");
    house.carrier.set_up(sleeper.address(), true);
    let woken = "found dead by others, and begun anew";
    house
        .until("it learns what happened", REACH, async || if house.logged().contains(woken) { Ok(()) } else { Err(point.to_owned()) })
        .await;
    people.extend(house.enter("northwind", "orchard", 1));
    people.extend(house.enter("northwind", "brightwater", 1));
    house.at_rest(&people, MEND).await;
    assert!(sleeper.runs() && other.runs());
    (point, took)
}

// Breaks when a replica that wakes after its lease writes what another has written meanwhile, or its locks keep the other
// from working.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_sleeper_that_was_taken_over_doubles_nothing() {
    // The first two are within transactions.
    let some = ["delivery.checked", "delivery.noted", "request.authorized:14"];
    let others = ["changes.written", "hints.read", "delivery.intended", "delivery.sending", "request.permitted:9", "request.answered:9"];
    let points: Vec<&str> = some.into_iter().chain(others.into_iter().filter(|_| all())).collect();
    for (point, took) in futures_util::future::join_all(points.into_iter().map(taken_over_at)).await {
        println!("asleep at {point}: another had done everything {took} ms later; it woke and doubled nothing");
    }
}
