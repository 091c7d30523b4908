//! The demo's figures. What is said of recipients is counted in their systems, not in our store.

use std::collections::{BTreeMap, BTreeSet};

use leadshare_connectors::sdk::SandboxRecord;
use serde::Serialize;
use serde_json::Value;

use super::cast::Person;
use crate::context::Context;
use crate::errors::Result;
use crate::store::{leads, shares};

/// The last line of `leadshare demo --json`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Figures {
    /// Changes taken in, hints folded into others included.
    pub changes: i64,
    /// How they ended; sums to `changes`.
    pub outcomes: BTreeMap<String, i64>,
    /// Leads shared with a recipient.
    pub shares: i64,
    /// Shares that arrived.
    pub delivered: i64,
    /// Records of ours in the recipients' systems.
    pub records_at_recipients: usize,
    /// People that a recipient has more than once.
    pub duplicates_at_recipients: usize,
    /// Records of ours at recipients whose person had not agreed.
    pub left_without_consent: usize,
    /// Records at the sharers that tell what became of the lead, in the sharer's words.
    pub status_synced_back: usize,
    /// Requests that vendors refused for the rate.
    pub vendor_429: u64,
    /// From the first lead to the last news.
    pub elapsed_ms: i64,
}

/// What one connection's system holds.
pub struct System {
    /// The connection.
    pub name: &'static str,
    /// The field that holds the address.
    pub email_field: &'static str,
    /// The field that holds our marker.
    pub marker_field: &'static str,
    /// Its lead records.
    pub records: Vec<SandboxRecord>,
    /// Requests refused for the rate.
    pub throttled: u64,
    /// Whether it receives leads.
    pub receives: bool,
}

impl System {
    fn email(&self, record: &SandboxRecord) -> String {
        record.fields.get(self.email_field).and_then(Value::as_str).unwrap_or_default().to_lowercase()
    }

    /// The records that carry our marker.
    pub fn ours(&self) -> impl Iterator<Item = &SandboxRecord> {
        let marked = |r: &&SandboxRecord| r.fields.get(self.marker_field).and_then(Value::as_str).is_some_and(|m| m.starts_with("ls1-"));
        self.records.iter().filter(marked)
    }
}

/// Counts people that a system has more than once, among those that we delivered.
pub fn duplicates(systems: &[System]) -> usize {
    let receiving = systems.iter().filter(|s| s.receives);
    receiving
        .map(|system| {
            let ours: BTreeSet<String> = system.ours().map(|r| system.email(r)).collect();
            let mut seen = BTreeMap::<String, usize>::new();
            for record in &system.records {
                *seen.entry(system.email(record)).or_default() += 1;
            }
            seen.into_iter().filter(|(email, count)| *count > 1 && ours.contains(email)).count()
        })
        .sum()
}

/// Counts records of ours at recipients whose person had not agreed to be named there.
pub fn without_consent(systems: &[System], people: &[Person]) -> usize {
    let receiving = systems.iter().filter(|s| s.receives);
    receiving
        .map(|system| {
            let agreed: BTreeSet<&str> =
                people.iter().filter(|p| p.agreed && p.recipient == system.name).map(|p| p.email.as_str()).collect();
            system.ours().filter(|r| !agreed.contains(system.email(r).as_str())).count()
        })
        .sum()
}

/// How changes ended, with how many; hints that were folded into another are `coalesced`.
///
/// # Errors
/// The store's.
pub async fn outcomes(ctx: &Context) -> Result<BTreeMap<String, i64>> {
    let mut outcomes = BTreeMap::<String, i64>::new();
    for (outcome, count, folded) in leads::outcomes(&ctx.db).await? {
        *outcomes.entry(outcome).or_default() += count;
        if folded > 0 {
            *outcomes.entry("coalesced".into()).or_default() += folded;
        }
    }
    Ok(outcomes)
}

/// All figures.
///
/// # Errors
/// The store's.
pub async fn figures(ctx: &Context, systems: &[System], people: &[Person], synced_back: usize, elapsed_ms: i64) -> Result<Figures> {
    let outcomes = outcomes(ctx).await?;
    let statuses = shares::statuses(&ctx.db).await?;
    let arrived = |status: &str| matches!(status, "delivered" | "acknowledged" | "accepted" | "returned");
    Ok(Figures {
        changes: outcomes.values().sum(),
        outcomes,
        shares: statuses.iter().map(|s| s.2).sum(),
        delivered: statuses.iter().filter(|s| arrived(&s.0)).map(|s| s.2).sum(),
        records_at_recipients: systems.iter().filter(|s| s.receives).map(|s| s.ours().count()).sum(),
        duplicates_at_recipients: duplicates(systems),
        left_without_consent: without_consent(systems, people),
        status_synced_back: synced_back,
        vendor_429: systems.iter().map(|s| s.throttled).sum(),
        elapsed_ms,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::demo::cast;
    use serde_json::json;

    fn system(emails: &[&str]) -> System {
        let record = |(i, email): (usize, &&str)| SandboxRecord {
            id: i.to_string(),
            fields: [("email".to_owned(), json!(email)), ("mark".to_owned(), json!(format!("ls1-{i}")))].into(),
            made_by_api: true,
        };
        let records = emails.iter().enumerate().map(record).collect();
        System { name: "brightwater", email_field: "email", marker_field: "mark", records, throttled: 0, receives: true }
    }

    // Breaks when the counters cannot count: both zeros of the demo must be able to become something else.
    #[test]
    fn the_zeros_can_become_non_zero() {
        let people = cast::people(80, 1_780_000_000_000);
        let good = people.iter().find(|p| p.recipient == "brightwater" && p.agreed).unwrap().email.clone();
        let refused = people.iter().find(|p| p.recipient == "brightwater" && !p.agreed).unwrap().email.clone();
        assert_eq!(duplicates(&[system(&[&good])]), 0);
        assert_eq!(duplicates(&[system(&[&good, &good.to_uppercase()])]), 1);
        assert_eq!(without_consent(&[system(&[&good])], &people), 0);
        assert_eq!(without_consent(&[system(&[&good, &refused])], &people), 1);
    }
}
