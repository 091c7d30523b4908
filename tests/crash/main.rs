//! The crash tests: the real binary on a real store, killed, stopped and starved, against vendors' simulators on
//! loopback, in real time.
#![expect(clippy::unwrap_used, clippy::expect_used, reason = "a test that cannot go on should stop")]

mod carrier;
mod house;
mod kills;
mod late;
mod loops;
mod outage;
#[path = "../it/support/place.rs"]
mod place;
mod points;
#[path = "../it/support/postgres.rs"]
mod postgres;
mod posts;
mod replicas;
mod stops;
mod tokens;
