//! A kill at each step of a token's refresh: what the vendor gave survives in the spool; where its answer was lost, a click mends it.

use leadshare::clock::{Millis, SECOND};
use leadshare::store::connections;
use leadshare_connectors::sdk::Fault;

use crate::house::{Engine, House};

/// The vendor that gives a new refresh token with every refresh, and ends the old one.
const NAME: &str = "brightwater";
/// How long a daemon may take to come to its point.
const REACH: Millis = 60 * SECOND;
/// How long the next one may take: it waits out the dead one's intent, and on PostgreSQL its claims.
const MEND: Millis = 200 * SECOND;

async fn kill_at(engine: Engine, point: &str) {
    let mut house = House::connected(engine, &["northwind", NAME]).await;
    let asked = |house: &House| house.stage().of(NAME).unwrap().1.sandbox().stats().token_requests;
    let before = asked(&house);
    let mut daemon = house.start(Some(&format!("{point}:1=kill"))).await;
    house.stage().of(NAME).unwrap().1.sandbox().inject(Fault::ExpireAccessTokens);
    // A poll finds out, or a lead. A delivery that is under way when the partner must connect again waits five minutes: none is then.
    let lost = point == "token.answered";
    let people = if lost { Vec::new() } else { house.enter("northwind", NAME, 2) };
    assert_eq!(daemon.ended(REACH).await, Some(9), "{point}: it ended otherwise than by the kill\n{}", house.tail());

    let daemon = house.start(None).await;
    if lost {
        house
            .until("the partner is asked to connect again", MEND, async || {
                let state = connections::one(&house.ctx.db, NAME).await.unwrap().unwrap().state;
                if state == "reconnect_needed" { Ok(()) } else { Err(state) }
            })
            .await;
        assert_eq!(asked(&house), before + 2, "{engine:?}: the old refresh token is tried once");
        let alerts = connections::open_alerts(&house.ctx.db).await.unwrap();
        let told: Vec<_> = alerts.iter().map(|(subject, code, ..)| (subject.as_str(), code.as_str())).collect();
        assert_eq!(told, [(NAME, "connection.reconnect_needed")]);
        let people = house.enter("northwind", NAME, 2);
        house.connect().await;
        house.at_rest(&people, MEND).await;
    } else {
        house.at_rest(&people, MEND).await;
        assert_eq!(asked(&house), before + 1, "{engine:?}, {point}");
    }
    daemon.kill().await;
}

// Breaks when a kill between any two steps of a refresh loses an account that can be kept, asks twice, or loses a lead.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_kill_while_a_token_is_refreshed() {
    let points = ["token.intended", "token.answered", "token.spooled", "token.saved"];
    futures_util::future::join_all(
        [Engine::Sqlite, Engine::Postgres].into_iter().flat_map(|engine| points.map(|point| kill_at(engine, point))),
    )
    .await;
}
