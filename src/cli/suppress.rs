//! `leadshare suppress`: people and domains that must not be shared.

use serde_json::json;

use super::open;
use crate::clock::{Clock, rfc3339};
use crate::config::Config;
use crate::errors::{Error, Result};
use crate::store::people;
use crate::vault::{Blind, Identity};

/// What can be done with suppressions.
#[derive(Debug, clap::Subcommand)]
pub enum Command {
    /// Adds an address, number or domain. Only its keyed hash is kept. What was shared is taken back
    /// when its record is next looked at.
    Add {
        /// An e-mail address, a phone number in E.164, or a domain.
        who: String,
        /// Why, as a code.
        #[arg(long, default_value = "asked_to_stop")]
        reason: String,
    },
    /// Says whether an address, number or domain is suppressed, and since when.
    Check {
        /// An e-mail address, a phone number in E.164, or a domain.
        who: String,
    },
}

/// Does it.
pub async fn run(command: Command, config: &Config, json: bool) -> Result<bool> {
    let (db, vault) = (open(config).await?, config.vault()?);
    let mut tx = db.begin().await?;
    match command {
        Command::Add { who, reason } => {
            let (hash, scope) = hash(&vault.blind, &who)?;
            if !reason.bytes().all(|b| b.is_ascii_lowercase() || b == b'_') {
                return Err(Error::BadRequest("a reason is a code of lower-case letters and underscores, such as asked_to_stop".into()));
            }
            people::suppress(&mut tx, &json!([[hash, scope, reason, "[]"]]), Clock::system().now()).await?;
            tx.commit().await?;
            out!("Suppressed. Only a keyed hash is kept.");
            Ok(true)
        }
        Command::Check { who } => {
            let (hash, _) = hash(&vault.blind, &who)?;
            let found = people::suppressed(&mut tx, &json!([[hash]])).await?;
            if json {
                let rows: Vec<_> = found.iter().map(|s| json!({ "scope": s.1, "reason": s.2, "since": rfc3339(s.4) })).collect();
                out!("{}", json!({ "suppressions": rows }));
            } else if found.is_empty() {
                out!("Not suppressed.");
            }
            for (_, scope, reason, _, since) in found.iter().filter(|_| !json) {
                out!("Suppressed ({scope}, {reason}) since {}.", rfc3339(*since));
            }
            Ok(true)
        }
    }
}

fn hash(blind: &Blind, who: &str) -> Result<(String, &'static str)> {
    let who = who.trim().to_lowercase();
    let digits = who.strip_prefix('+').is_some_and(|d| (7..=15).contains(&d.len()) && d.bytes().all(|b| b.is_ascii_digit()));
    match (who.contains('@'), digits, who.contains('.')) {
        (true, ..) => Ok((blind.hash(Identity::Email, &who), "person")),
        (_, true, _) => Ok((blind.hash(Identity::Phone, &who), "person")),
        (_, _, true) => Ok((blind.hash(Identity::Domain, &who), "domain")),
        _ => Err(Error::BadRequest("give an e-mail address, a number such as +4930901820, or a domain".into())),
    }
}
