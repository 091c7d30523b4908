//! What is given up half-way, as when a replica is found dead, leaves nothing open.

use futures_util::future::join_all;
use futures_util::poll;
use leadshare::store::{Db, connections};

use super::support::postgres;

// Breaks when what is written on its own has no commit of its own: a transaction that was given up while it began stays open on its
// connection of the pool (sqlx 0.9), and what others write there next would be answered, and not be kept.
#[tokio::test]
async fn a_transaction_that_was_given_up_while_it_began_keeps_nothing_of_others() {
    let url = postgres::database();
    let (db, other) = (Db::open(&url).await.unwrap(), Db::open(&url).await.unwrap());
    for polls in 1..12 {
        let mut begun = Box::pin(db.begin());
        for _ in 0..polls {
            if poll!(&mut begun).is_ready() {
                break;
            }
            // Meanwhile the server answers.
            connections::setting(&other, "none").await.unwrap();
        }
        drop(begun);
        // It goes back into the pool.
        for _ in 0..5 {
            connections::setting(&other, "none").await.unwrap();
        }
        // On each connection that may come next.
        let names: Vec<String> = (0..16).map(|n| format!("setting {polls} {n}")).collect();
        for kept in join_all(names.iter().map(|name| connections::set_setting(&db, name, "kept"))).await {
            kept.unwrap();
        }
        for name in names {
            assert_eq!(connections::setting(&other, &name).await.unwrap().as_deref(), Some("kept"), "given up after {polls} looks");
        }
    }
}
