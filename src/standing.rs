//! What stands about people and partners, loaded for a batch: the facts that decisions are made from.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};

use crate::clock::{DAY, Millis};
use crate::context::Context;
use crate::errors::{Error, Result};
use crate::model::decision::{ExistingShare, Facts, Load, PartnerStanding, Standing, Suppression, SuppressionScope};
use crate::model::{Lead, ShareStatus};
use crate::people::Hashes;
use crate::store::{Tx, loads, people as store};

/// What stands, for a batch of people. Decisions made in the batch are added as they are made.
#[derive(Clone)]
pub struct Stands {
    shares: BTreeMap<String, Vec<ExistingShare>>,
    suppressed: BTreeMap<String, Suppression>,
    partners: BTreeMap<String, PartnerStanding>,
}

impl Stands {
    /// Loads what stands about these people, leads and possible recipients, inside the transaction that will rely on it.
    ///
    /// # Errors
    /// The store's.
    pub async fn load(tx: &mut Tx, ctx: &Context, people_ids: &[&str], hashes: &[&Hashes], recipients: &BTreeSet<&str>) -> Result<Self> {
        let now = ctx.clock.now();
        let ids = Value::from(people_ids.iter().map(|id| json!([id])).collect::<Vec<_>>());
        let mut shares = BTreeMap::<String, Vec<ExistingShare>>::new();
        for (person, share_id, source, recipient, status, since, _, _) in store::standing(tx, &ids).await? {
            let status = ShareStatus::parse(&status).ok_or_else(|| Error::Unreadable { what: "a share's status".into() })?;
            shares.entry(person).or_default().push(ExistingShare { share_id, source, recipient, status, since });
        }
        let hashes = hashes.iter().flat_map(|hashes| &hashes.suppressible).map(|(hash, _)| json!([hash]));
        let rows = store::suppressed(tx, &Value::from(hashes.collect::<Vec<_>>())).await?;
        let suppressed = rows
            .into_iter()
            .map(|(hash, scope, reason, channels, since)| {
                let scope = if scope == "domain" { SuppressionScope::Domain } else { SuppressionScope::Person };
                let channels = serde_json::from_str(&channels).unwrap_or_default();
                (hash, Suppression { scope, channels, reason, since })
            })
            .collect();
        let (day, month) = starts(now);
        let mut partners = busy(loads::load(tx, &named(recipients), day, month).await?);
        for partner in store::paused(tx).await?.into_iter().filter(|partner| recipients.contains(partner.as_str())) {
            partners.entry(partner).or_default().paused = true;
        }
        Ok(Self { shares, suppressed, partners })
    }

    /// How busy recipients are, exactly, and nothing else.
    ///
    /// # Errors
    /// The store's.
    pub async fn exactly(tx: &mut Tx, ctx: &Context, recipients: &BTreeSet<&str>) -> Result<Self> {
        let (day, month) = starts(ctx.clock.now());
        let partners = busy(loads::exactly(tx, &named(recipients), day, month).await?);
        Ok(Self { shares: BTreeMap::new(), suppressed: BTreeMap::new(), partners })
    }

    /// The facts about one lead. `own` is the share that is judged again, if any.
    pub fn facts(&self, ctx: &Context, source: &str, lead: &Lead, hashes: &Hashes, person: &str, own: Option<&str>) -> Facts {
        let shares = self.shares.get(person).cloned().unwrap_or_default();
        let hashes = &hashes.suppressible;
        let standing = Standing {
            erased: false,
            suppressions: hashes.iter().filter_map(|(hash, _)| self.suppressed.get(hash).cloned()).collect(),
            received_from: shares.iter().filter(|s| s.recipient == source).map(|s| s.source.clone()).collect(),
            shares,
            own_share: own.map(str::to_owned),
            partners: self.partners.clone(),
        };
        Facts { lead: lead.clone(), source: source.to_owned(), now: ctx.clock.now(), standing }
    }

    /// Whether the same stands about the people, and the same partners are paused. How many leads partners have may differ.
    pub fn same_people(&self, other: &Self) -> bool {
        let paused = |stands: &Self| stands.partners.iter().filter(|(_, p)| p.paused).map(|(name, _)| name.clone()).collect::<Vec<_>>();
        self.shares == other.shares && self.suppressed == other.suppressed && paused(self) == paused(other)
    }

    /// What a recipient has over all agreements, and under one.
    pub fn loads(&self, recipient: &str, agreement: &str) -> (Load, Load) {
        let partner = self.partners.get(recipient);
        let under = partner.and_then(|p| p.agreements.get(agreement)).copied();
        (partner.map(|p| p.load).unwrap_or_default(), under.unwrap_or_default())
    }

    /// Whether one of the partners that were asked for is paused.
    pub fn paused(&self, partner: &str) -> bool {
        self.partners.get(partner).is_some_and(|p| p.paused)
    }

    /// Notes a share that this batch makes, so that its next lead sees it.
    pub fn add(&mut self, person: &str, share_id: &str, source: &str, recipient: &str, agreement: &str, since: Millis) {
        let share = ExistingShare {
            share_id: share_id.to_owned(),
            source: source.to_owned(),
            recipient: recipient.to_owned(),
            status: ShareStatus::Matched,
            since,
        };
        self.shares.entry(person.to_owned()).or_default().push(share);
        let one = Load { open: 1, day: 1, month: 1 };
        let partner = self.partners.entry(recipient.to_owned()).or_default();
        plus(&mut partner.load, one);
        plus(partner.agreements.entry(agreement.to_owned()).or_default(), one);
    }
}

fn named(recipients: &BTreeSet<&str>) -> Value {
    recipients.iter().map(|partner| json!([partner])).collect()
}

fn busy(loads: Vec<loads::Load>) -> BTreeMap<String, PartnerStanding> {
    let mut partners = BTreeMap::<String, PartnerStanding>::new();
    for (recipient, agreement, open, day, month) in loads {
        let load = Load { open: open as u32, day: day as u32, month: month as u32 };
        let partner = partners.entry(recipient).or_default();
        plus(&mut partner.load, load);
        plus(partner.agreements.entry(agreement).or_default(), load);
    }
    partners
}

fn plus(load: &mut Load, more: Load) {
    load.open += more.open;
    load.day += more.day;
    load.month += more.month;
}

/// The starts of the day and of the month, in UTC.
fn starts(now: Millis) -> (Millis, Millis) {
    let day = now - now.rem_euclid(DAY);
    let month = jiff::Timestamp::from_millisecond(now)
        .ok()
        .map(|t| t.to_zoned(jiff::tz::TimeZone::UTC))
        .and_then(|z| z.date().first_of_month().to_zoned(jiff::tz::TimeZone::UTC).ok())
        .map_or(day, |z| z.timestamp().as_millisecond());
    (day, month)
}
