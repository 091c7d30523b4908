//! `leadshare jobs`: deliveries that wait or failed, whose work it is, and trying again.

use serde_json::json;

use super::{open, stopped, watch};
use crate::clock::{Clock, rfc3339};
use crate::config::Config;
use crate::errors::{Error, Result};
use crate::store::{Db, connections, deliveries, replicas};

/// What can be done with deliveries.
#[derive(Debug, clap::Subcommand)]
pub enum Command {
    /// Lists deliveries that failed or wait, the replicas at work, and whose each connection is.
    List,
    /// Shows how what waits goes down, with a bar for each connection, until nothing does.
    Watch,
    /// Tries failed deliveries again, now.
    Retry {
        /// The share; without one, every failed delivery.
        share: Option<String>,
    },
}

/// Does it.
pub async fn run(command: Command, config: &Config, json: bool) -> Result<bool> {
    let db = open(config).await?;
    match command {
        Command::List => {
            let jobs = deliveries::unfinished(&db).await?;
            let (live, owned) = (replicas::all(&db).await?, replicas::owners(&db).await?);
            let stopped = stopped(&db).await?;
            if json {
                let rows: Vec<_> = jobs
                    .iter()
                    .map(|j| json!({ "share": j.0, "way": j.1, "connection": j.2, "state": j.3, "due": rfc3339(j.4), "attempts": j.5, "error": j.6 }))
                    .collect();
                let live: Vec<_> = live
                    .iter()
                    .map(|r| json!({ "id": r.0, "name": r.1, "since": rfc3339(r.2), "heartbeat": rfc3339(r.3), "leaving": r.4 != 0 }))
                    .collect();
                let owned: Vec<_> = owned.iter().map(|o| json!({ "connection": o.0, "owner": o.1, "epoch": o.2 })).collect();
                out!("{}", json!({ "stopped": stopped, "jobs": rows, "replicas": live, "connections": owned }));
                return Ok(true);
            }
            if let Some(reason) = &stopped {
                out!("Everything is stopped ({reason}): nothing is read or delivered until `leadshare resume`.");
            }
            if jobs.is_empty() {
                out!("{}", if stopped.is_some() { "No delivery waits or failed." } else { "Nothing waits and nothing failed." });
            }
            for (share, way, connection, state, due, attempts, error) in jobs {
                out!(
                    "{share}  {way:<4}  {connection:<16} {state:<7} due {}  {attempts} tries  {}",
                    rfc3339(due),
                    error.unwrap_or_default()
                );
            }
            list_replicas(&db, &live, &owned).await
        }
        Command::Watch => watch::run(&db, json).await,
        Command::Retry { share } => {
            let now = Clock::system().now();
            let mut tx = db.begin().await?;
            let again = deliveries::retry(&mut tx, share.as_deref().unwrap_or_default(), now).await?;
            let shares = json!(again.iter().map(|share| [share]).collect::<Vec<_>>());
            for way in ["out", "back"] {
                connections::end_delivery_alerts(&mut tx, way, &shares, now).await?;
            }
            tx.commit().await?;
            if again.is_empty() {
                return Err(Error::NotFound("no failed delivery: `leadshare jobs list` shows what waits".into()));
            }
            out!("{} tried again.", again.len());
            Ok(true)
        }
    }
}

async fn list_replicas(db: &Db, live: &[replicas::Replica], owned: &[replicas::Owner]) -> Result<bool> {
    let now = replicas::now(db).await?;
    for (id, name, since, beat_at, leaving) in live {
        let mine: Vec<&str> = owned.iter().filter(|o| o.1.as_ref() == Some(id)).map(|o| o.0.as_str()).collect();
        out!(
            "\nreplica {name}  since {}  heartbeat {} s ago{}\n  {}",
            rfc3339(*since),
            (now - beat_at).max(0) / 1_000,
            if *leaving != 0 { ", leaving" } else { "" },
            if mine.is_empty() { "owns nothing".to_owned() } else { format!("owns {}", mine.join(", ")) }
        );
    }
    let alone: Vec<&str> = owned.iter().filter(|o| !live.iter().any(|r| Some(&r.0) == o.1.as_ref())).map(|o| o.0.as_str()).collect();
    if !alone.is_empty() {
        out!("\nnobody's: {}", alone.join(", "));
    }
    Ok(true)
}
