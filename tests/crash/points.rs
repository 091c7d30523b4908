//! A kill at every named point: nothing acknowledged is lost, nothing is there twice. On SQLite at all of them, on
//! PostgreSQL at some, other ones each time; with `CRASH_ALL` at all of them there too.

use std::fmt::Write as _;

use leadshare::clock::{Millis, SECOND};
use leadshare::points;
use leadshare_connectors::sdk::Fault;

use crate::house::{Engine, Entered, House};
use crate::kills::{Dice, all, seed};

/// Points that a lead passes only when its write is in doubt.
const IN_DOUBT: [&str; 3] = ["settle.claimed", "settle.looked", "settle.finished"];
/// Points of a token's refresh: killed at by `tokens.rs`.
const ELSEWHERE: [&str; 4] = ["token.intended", "token.answered", "token.spooled", "token.saved"];
/// The point between an embedded store's inbox and its work: a server has none.
const INBOX: &str = "inbox.raised";
/// How long a daemon may take to come to its point.
const REACH: Millis = 90 * SECOND;
/// How long the next one may take to mend what the kill left.
const MEND: Millis = 200 * SECOND;
/// Houses that are at work at the same time.
const HOUSES: usize = 3;
/// How many points on PostgreSQL when not all.
const SOME: usize = 6;

/// At which passing of a point the daemon dies: polls and reads pass some of them long before a lead does.
fn passing(point: &str) -> usize {
    match point {
        "request.permitted" | "request.authorized" | "request.answered" => 7,
        "delivery.claimed" | "delivery.sent" | "delivery.finished" => 2,
        _ => 1,
    }
}

/// So many of these in a random order; all of them with `CRASH_ALL`.
fn choose(dice: &mut Dice, from: &[&'static str], count: usize) -> Vec<&'static str> {
    let (mut left, mut chosen) = (from.to_vec(), Vec::new());
    while !left.is_empty() && (all() || chosen.len() < count) {
        chosen.push(left.remove(dice.below(left.len() as u64) as usize));
    }
    chosen
}

async fn kill_at(house: &mut House, point: &'static str, before: &mut Vec<Entered>) -> Millis {
    let order = format!("{point}:{}=kill", passing(point));
    let mut daemon = house.start(Some(&order)).await;
    before.extend(house.enter("northwind", "brightwater", 2));
    before.extend(house.enter("lumen", "tessera", 2));
    assert_eq!(daemon.ended(REACH).await, Some(9), "{point}: it ended otherwise than by the kill\n{}", house.tail());
    let killed = house.clock.now();
    let daemon = house.start(None).await;
    house.at_rest(before, MEND).await;
    daemon.kill().await;
    house.clock.now() - killed
}

/// Kills at these points, in one house.
async fn kill_at_each(engine: Engine, points: Vec<&'static str>) -> Vec<(&'static str, Millis)> {
    let mut house = House::connected(engine, &["northwind", "brightwater", "lumen", "tessera"]).await;
    // Lumen's changes are found by polling alone.
    house.carrier.lose("lumen");
    let mut people = Vec::new();
    let mut took = Vec::new();
    for point in points {
        took.push((point, kill_at(&mut house, point, &mut people).await));
    }
    took
}

// Breaks when a kill between any two steps loses a lead, makes it twice, or leaves it waiting.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_kill_at_any_point_loses_and_doubles_nothing() {
    let every: Vec<&str> = points::ALL.iter().copied().filter(|point| !ELSEWHERE.contains(point) && !IN_DOUBT.contains(point)).collect();
    let on_a_server: Vec<&str> = every.iter().copied().filter(|point| *point != INBOX).collect();
    let some = choose(&mut Dice::new(seed()), &on_a_server, SOME);
    let kill = |engine, points: &[&'static str]| {
        let shares = (0..HOUSES).map(|which| points.iter().copied().skip(which).step_by(HOUSES).collect());
        futures_util::future::join_all(shares.map(|share| kill_at_each(engine, share)).collect::<Vec<_>>())
    };
    let (sqlite, postgres) = tokio::join!(kill(Engine::Sqlite, &every), kill(Engine::Postgres, &some));
    let (sqlite, postgres) = (sqlite.concat(), postgres.concat());
    let mut table = format!("{:<22}{:>12}{:>12}   (ms from the kill to rest, all arrived once)\n", "point", "sqlite", "postgres");
    let took = |all: &[(&str, Millis)], point| {
        all.iter().find(|(name, _)| *name == point).map_or_else(|| "-".to_owned(), |(_, ms)| ms.to_string())
    };
    for point in every {
        let _ = writeln!(table, "{point:<22}{:>12}{:>12}", took(&sqlite, point), took(&postgres, point));
    }
    println!("{table}");
}

/// Kills where a create is looked for whose answer was lost, at a vendor without a unique key.
async fn kill_in_doubt(engine: Engine, point: &'static str) -> (&'static str, Engine, Millis) {
    let mut house = House::connected(engine, &["northwind", "orchard"]).await;
    // A lead's first write, sent once and three times again: it has a key of its own.
    house.stage().of("orchard").unwrap().1.sandbox().inject(Fault::DropAfterCommit { count: 4 });
    let mut daemon = house.start(Some(&format!("{point}=kill"))).await;
    let people = house.enter("northwind", "orchard", 1);
    assert_eq!(daemon.ended(REACH).await, Some(9), "{point}: it ended otherwise than by the kill\n{}", house.tail());
    let killed = house.clock.now();
    let _daemon = house.start(None).await;
    house.at_rest(&people, MEND).await;
    (point, engine, house.clock.now() - killed)
}

// Breaks when a kill while a write in doubt is looked for loses the lead, or writes it twice.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_kill_while_a_write_is_in_doubt() {
    let mut dice = Dice::new(seed());
    let kills =
        [Engine::Sqlite, Engine::Postgres].map(|engine| choose(&mut dice, &IN_DOUBT, 1).into_iter().map(move |point| (engine, point)));
    let kills = kills.into_iter().flatten().map(|(engine, point)| kill_in_doubt(engine, point));
    for (point, engine, took) in futures_util::future::join_all(kills.collect::<Vec<_>>()).await {
        println!("{point:<22}{engine:?}: {took} ms from the kill to rest, all arrived once");
    }
}
