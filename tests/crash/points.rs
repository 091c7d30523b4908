//! A kill at every named point on SQLite, and at some on PostgreSQL: nothing acknowledged is lost, nothing is there twice.

use std::fmt::Write as _;

use leadshare::clock::{Millis, SECOND};
use leadshare::points;

use crate::house::{Engine, Entered, House};

/// Points that a lead without a doubt never passes, and those of a token's refresh: killed elsewhere.
const ELSEWHERE: &[&str] =
    &["settle.claimed", "settle.looked", "settle.finished", "token.intended", "token.answered", "token.spooled", "token.saved"];
/// How long a daemon may take to come to its point.
const REACH: Millis = 60 * SECOND;
/// How long the next one may take to mend what the kill left.
const MEND: Millis = 200 * SECOND;
/// Houses that are at work at the same time.
const HOUSES: usize = 3;

/// At which passing of a point the daemon dies: polls and reads pass some of them long before a lead does.
fn passing(point: &str) -> usize {
    match point {
        "request.permitted" | "request.authorized" | "request.answered" => 7,
        "delivery.claimed" | "delivery.sent" | "delivery.finished" => 2,
        _ => 1,
    }
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
    let all: Vec<&str> = points::ALL.iter().copied().filter(|point| !ELSEWHERE.contains(point)).collect();
    let share_of = |which: usize| all.iter().copied().skip(which).step_by(HOUSES).collect();
    let sqlite = futures_util::future::join_all((0..HOUSES).map(|which| kill_at_each(Engine::Sqlite, share_of(which))));
    let some = ["hints.read", "changes.written", "delivery.intended", "request.answered", "delivery.noted"];
    let postgres = futures_util::future::join_all(some.map(|point| kill_at_each(Engine::Postgres, vec![point])));
    let (sqlite, postgres) = tokio::join!(sqlite, postgres);
    let (sqlite, postgres) = (sqlite.concat(), postgres.concat());
    let mut table = format!("{:<22}{:>12}{:>12}   (ms from the kill to rest, all arrived once)\n", "point", "sqlite", "postgres");
    let took = |all: &[(&str, Millis)], point| {
        all.iter().find(|(name, _)| *name == point).map_or_else(|| "-".to_owned(), |(_, ms)| ms.to_string())
    };
    for point in all {
        let _ = writeln!(table, "{point:<22}{:>12}{:>12}", took(&sqlite, point), took(&postgres, point));
    }
    println!("{table}");
}
