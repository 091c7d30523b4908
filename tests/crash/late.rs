//! A write that arrives when its sender is dead and nobody waits for it any more.

use leadshare::clock::{Millis, SECOND};
use leadshare_connectors::sdk::Fault;

use crate::house::{Engine, House};
use crate::place::Place;

/// How late the write arrives: after it was looked for, and written again.
const LATE: Millis = 50 * SECOND;
const REACH: Millis = 90 * SECOND;
const MEND: Millis = 200 * SECOND;

async fn late(engine: Engine) {
    let mut house = House::connected(engine, &["northwind", "orchard"]).await;
    let inject = |house: &House, fault| house.stage().of("orchard").unwrap().1.sandbox().inject(fault);
    let daemon = house.start(None).await;
    // The party has a unique key: it is there before the opportunity, which has none, is written for the first time.
    inject(&house, Fault::DropAfterCommit { count: 4 });
    let people = house.enter("northwind", "orchard", 1);
    let tried = async |house: &House, count| if house.attempts().await >= count { Ok(()) } else { Err("not yet".to_owned()) };
    house.until("its party is in doubt", REACH, async || tried(&house, 1).await).await;
    inject(&house, Fault::CommitLate { count: 1, after_ms: LATE });
    house.until("its opportunity is in doubt", REACH, async || tried(&house, 2).await).await;
    let sent = house.clock.now();
    daemon.kill().await;
    let place = Place::new();
    let address = if engine == Engine::Postgres { place.address } else { house.stage().web };
    let _other = house.start_at(address, None).await;
    let email = people[0].person.email.clone();
    let there = |house: &House, count: usize| {
        let found = house.with_email("orchard", &email).len();
        if found == count { Ok(()) } else { Err(format!("{found} records")) }
    };
    house.until("another writes it again", MEND, async || there(&house, 1)).await;
    house.until("the first write arrives", MEND, async || there(&house, 2)).await;
    let arrived = house.clock.now();
    house.until("the twin is taken away", MEND, async || there(&house, 1)).await;
    let repaired = house.clock.now();
    house.at_rest(&people, MEND).await;
    println!(
        "{engine:?}: sent by one that died, arrived {} s later, twice for {} s, once from then on",
        (arrived - sent) / SECOND,
        (repaired - arrived) / SECOND
    );
}

// Breaks when a write of a dead sender that arrives after it was given up stays there as a second record.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "takes two minutes: `tests/crash/run` does it"]
async fn a_dead_senders_late_write_is_no_second_record() {
    tokio::join!(late(Engine::Sqlite), late(Engine::Postgres));
}
