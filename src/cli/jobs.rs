//! `leadshare jobs`: deliveries that wait or failed, and trying them again.

use serde_json::json;

use super::open;
use crate::clock::{Clock, rfc3339};
use crate::config::Config;
use crate::errors::{Error, Result};
use crate::store::{connections, deliveries};

/// What can be done with deliveries.
#[derive(Debug, clap::Subcommand)]
pub enum Command {
    /// Lists deliveries that failed or wait.
    List,
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
            if json {
                let rows: Vec<_> = jobs
                    .iter()
                    .map(|j| json!({ "share": j.0, "way": j.1, "connection": j.2, "state": j.3, "due": rfc3339(j.4), "attempts": j.5, "error": j.6 }))
                    .collect();
                out!("{}", json!({ "jobs": rows }));
                return Ok(true);
            }
            if jobs.is_empty() {
                out!("Nothing waits and nothing failed.");
            }
            for (share, way, connection, state, due, attempts, error) in jobs {
                out!(
                    "{share}  {way:<4}  {connection:<16} {state:<7} due {}  {attempts} tries  {}",
                    rfc3339(due),
                    error.unwrap_or_default()
                );
            }
            Ok(true)
        }
        Command::Retry { share } => {
            let now = Clock::system().now();
            let mut tx = db.begin().await?;
            let again = deliveries::retry(&mut tx, share.as_deref().unwrap_or_default(), now).await?;
            for share in &again {
                connections::end_alerts(&mut tx, &format!("share:{share}"), now).await?;
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
