//! `leadshare suppress`: people and domains that must not be shared.

use serde_json::json;

use super::open_with_keys;
use crate::clock::{Clock, rfc3339};
use crate::config::Config;
use crate::errors::{Error, Result};
use crate::mapping::transform::contact;
use crate::people as known;
use crate::store::people;

/// What can be done with suppressions.
#[derive(Debug, clap::Subcommand)]
pub enum Command {
    /// Adds an address, number or domain. Only its keyed hash is kept. What was shared is taken back
    /// when its record is next looked at.
    Add {
        /// An e-mail address, a phone number with its country (+49…), or a domain.
        who: String,
        /// Why, as a code.
        #[arg(long, default_value = "asked_to_stop")]
        reason: String,
    },
    /// Says whether an address, number or domain is suppressed, and since when; an address also is with its domain.
    Check {
        /// An e-mail address, a phone number with its country (+49…), or a domain.
        who: String,
    },
}

/// Does it.
pub async fn run(command: Command, config: &Config, json: bool) -> Result<bool> {
    match command {
        Command::Add { who, reason } => add(&who, &reason, config).await,
        Command::Check { who } => check(&who, config, json).await,
    }
}

async fn add(who: &str, reason: &str, config: &Config) -> Result<bool> {
    let lead = known::known_as(who)?;
    if reason.is_empty() || !reason.bytes().all(|b| b.is_ascii_lowercase() || b == b'_') {
        return Err(Error::BadRequest("a reason is a code of lower-case letters and underscores, such as asked_to_stop".into()));
    }
    if let Some(domain) = lead.text("company_domain").filter(|domain| contact::is_anybodys(domain)) {
        return Err(Error::BadRequest(format!("anybody can have an address at {domain}: suppress the addresses themselves")));
    }
    let (db, vault) = open_with_keys(config).await?;
    let hashes = known::hashes(&vault, &lead).suppressible;
    // The first is what was typed: an address does not suppress its domain.
    let Some((hash, scope)) = hashes.first() else { return Err(Error::BadRequest("nothing names anybody here".into())) };
    let mut tx = db.begin().await?;
    people::suppress(&mut tx, &json!([[hash, scope, reason, "[]"]]), Clock::system().now()).await?;
    tx.commit().await?;
    match lead.text("company_domain") {
        Some(domain) => out!("Suppressed: everybody at {domain} and its parts. Only a keyed hash is kept."),
        None => out!("Suppressed. Only a keyed hash is kept."),
    }
    Ok(true)
}

async fn check(who: &str, config: &Config, json: bool) -> Result<bool> {
    let lead = known::known_as(who)?;
    let (db, vault) = open_with_keys(config).await?;
    let hashes = known::hashes(&vault, &lead).suppressible;
    let asked = json!(hashes.iter().map(|(hash, _)| [hash]).collect::<Vec<_>>());
    let mut tx = db.reading().await?;
    let found = people::suppressed(&mut tx, &asked).await?;
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
