//! A no is heeded wherever it is found: in a record that is no lead any more or that is gone, and in one that the partner
//! received. What was shared is judged again with it, and taken back.

use std::collections::{BTreeMap, BTreeSet};

use leadshare_connectors::sdk::{Record, State};
use serde_json::{Value, json};

use crate::context::Context;
use crate::decide;
use crate::entries::Entries;
use crate::errors::Result;
use crate::http::line::Line;
use crate::mapping::Mapping;
use crate::model::decision::Facts;
use crate::model::{ChangeOutcome, ConsentClaim, Lead, ShareStatus, Stand};
use crate::people::{self, Hashes, Keys};
use crate::queues::Want;
use crate::rules::Rules;
use crate::shares::{move_shares, stand, tell_sharers};
use crate::standing::Stands;
use crate::store::deliveries::Lane;
use crate::store::dirty::Dirty;
use crate::store::leads::StoredLead;
use crate::store::shares::{self, RemotePerson, Share};
use crate::store::{Tx, leads};

/// What was found about a lead that was shared before.
pub(super) enum No {
    /// The person had the record deleted.
    Forgotten,
    /// What a record claims that is no lead, or not any more; and whether it is the lead's own record.
    Claimed(Box<ConsentClaim>, bool),
}

/// Shares that run, judged again.
#[derive(Default)]
pub(super) struct Again<'a> {
    wanted: Vec<Want>,
    recalled: Vec<(&'a Share, Stand)>,
}

impl No {
    /// What a record says against sharing, now that it was read.
    pub fn of(mapping: &Mapping, hint: &Dirty, record: &Record) -> Option<Self> {
        match record.state {
            State::Live => Some(Self::Claimed(Box::new(mapping.consent(&record.fields)), true)),
            _ => (hint.kind == "privacy_deleted").then_some(Self::Forgotten),
        }
    }
}

impl<'a> Again<'a> {
    /// Its copy follows, or is taken back when the person no longer wants it: then answers how the change ends.
    pub fn judge(&mut self, rules: &Rules, facts: &Facts, share: &'a Share) -> Result<Option<(ChangeOutcome, String)>> {
        let inputs = decide::Inputs { program: &rules.program, facts };
        let verdict = decide::recheck(&inputs, &share.agreement, &share.terms);
        if verdict.passed() || !verdict.takes_back() {
            self.want(share, Lane::Status);
            return Ok(None);
        }
        let reason = verdict.first_failure().map_or("gate", |f| &*f.code);
        self.take_back(share, reason)?;
        Ok(Some((verdict.outcome.change(), format!("taken back: {reason}"))))
    }

    fn take_back(&mut self, share: &'a Share, reason: &str) -> Result<()> {
        // First in line: what was delivered is taken back.
        self.want(share, Lane::Protect);
        self.recalled.push((share, Stand { status: ShareStatus::Recalled, reason: Some(reason.to_owned()), ..stand(share)? }));
        Ok(())
    }

    fn want(&mut self, share: &Share, lane: Lane) {
        self.wanted.push(Want {
            connection: share.connection.clone(),
            way: "out",
            lane,
            partner: share.source.clone(),
            share: share.id.clone(),
            object: share.object.clone(),
        });
    }

    /// Keeps it. The people are locked.
    pub async fn keep(self, tx: &mut Tx, ctx: &Context, entries: &mut Entries) -> Result<()> {
        ctx.queues.want(tx, &self.wanted, ctx.clock.now()).await?;
        move_shares(tx, ctx, &self.recalled, "gates", entries).await?;
        tell_sharers(tx, ctx, &self.recalled.iter().map(|(share, _)| *share).collect::<Vec<_>>()).await
    }
}

/// Takes over what was found about leads of a partner; answers how the changes end of whose leads something was taken back, by lead.
pub(super) async fn heed(
    tx: &mut Tx,
    ctx: &Context,
    rules: &Rules,
    partner: &str,
    mut found: BTreeMap<String, No>,
    entries: &mut Entries,
) -> Result<BTreeMap<String, (ChangeOutcome, String)>> {
    let mut ends = BTreeMap::new();
    if found.is_empty() {
        return Ok(ends);
    }
    let ids = Value::from(found.keys().map(|lead| json!([lead])).collect::<Vec<_>>());
    let people: Vec<String> = leads::leads(tx, &ids).await?.into_iter().map(|lead| lead.person).collect();
    let keys = Keys::load(tx, &ctx.vault, people.iter().map(String::as_str)).await?;
    // Read once more under the people's locks: another connection of the partner may have heeded a no while we waited for them.
    let stored = leads::leads(tx, &ids).await?;
    let mut running = BTreeMap::<String, Vec<Share>>::new();
    for share in shares::by_lead(tx, &ids).await? {
        if !stand(&share)?.status.ended() {
            running.entry(share.lead.clone()).or_default().push(share);
        }
    }
    let (mut again, mut narrowed) = (Again::default(), Vec::<(&StoredLead, Lead, Hashes)>::new());
    for lead in &stored {
        let Some(shares) = running.get(&lead.id) else { continue };
        match found.remove(&lead.id) {
            Some(No::Forgotten) => {
                for share in shares {
                    again.take_back(share, "privacy_deleted_at_source")?;
                }
                ends.insert(lead.id.clone(), (ChangeOutcome::Gone, "privacy_deleted_at_source".to_owned()));
            }
            Some(No::Claimed(claim, own)) => {
                let Some(sealed) = &lead.data else { continue };
                let Some(before) = keys.open::<Lead>(&lead.person, people::lead_place(&lead.id), sealed)? else { continue };
                let mut now = before.clone();
                now.consent.heed(&claim, own);
                if now != before {
                    let hashes = people::hashes(&ctx.vault, &now);
                    narrowed.push((lead, now, hashes));
                }
            }
            None => {}
        }
    }
    let ids: Vec<&str> = narrowed.iter().map(|(lead, ..)| lead.person.as_str()).collect();
    let hashes: Vec<&Hashes> = narrowed.iter().map(|(.., hashes)| hashes).collect();
    let recipients: BTreeSet<&str> = running.values().flatten().map(|share| share.recipient.as_str()).collect();
    let standing = Stands::load(tx, ctx, &ids, &hashes, &recipients).await?;
    let mut rows = Vec::new();
    for (stored, lead, hashes) in &narrowed {
        rows.push(json!([stored.id, keys.seal(&ctx.clock, &stored.person, people::lead_place(&stored.id), lead)?]));
        for share in running.get(&stored.id).into_iter().flatten() {
            let facts = standing.facts(ctx, partner, lead, hashes, &stored.person, Some(&share.id));
            if let Some(end) = again.judge(rules, &facts, share)? {
                ends.insert(stored.id.clone(), end);
            }
        }
    }
    leads::save_data(tx, &Value::from(rows.clone()), ctx.clock.now()).await?;
    // What the record says when it can be read again counts as new.
    leads::forget_content(tx, &Value::from(rows)).await?;
    again.keep(tx, ctx, entries).await?;
    Ok(ends)
}

/// Heeds what people say no to in records that their partner received from others and may share them from: the partner's own
/// shares of them are taken back, and those who gave them are told that they are given back. Answers how the changes end where
/// something did, by record.
///
/// # Errors
/// The store's.
pub async fn of_received(
    tx: &mut Tx,
    ctx: &Context,
    rules: &Rules,
    line: &Line,
    mapping: &Mapping,
    ours: &[(Dirty, RemotePerson, Record)],
    entries: &mut Entries,
) -> Result<BTreeMap<String, (ChangeOutcome, String)>> {
    let mut ends = BTreeMap::new();
    if ours.is_empty() || !line.role().shares() {
        return Ok(ends);
    }
    let by_person: BTreeMap<&str, (&Dirty, &Record)> = ours.iter().map(|(hint, p, record)| (p.person.as_str(), (hint, record))).collect();
    let people = Value::from(by_person.keys().map(|person| json!([person])).collect::<Vec<_>>());
    let (mut found, mut record_of) = (BTreeMap::new(), BTreeMap::new());
    for (lead, person, connection, object, remote_id) in leads::of_people(tx, line.partner(), &people).await? {
        let Some((hint, record)) = by_person.get(person.as_str()) else { continue };
        let own = remote_id == record.id && connection == line.name() && object == mapping.object();
        let no = match No::of(mapping, hint, record) {
            Some(No::Claimed(claim, _)) => No::Claimed(claim, own),
            Some(No::Forgotten) if own => No::Forgotten,
            _ => continue,
        };
        record_of.insert(lead.clone(), record.id.clone());
        found.insert(lead, no);
    }
    for (lead, end) in heed(tx, ctx, rules, line.partner(), found, entries).await? {
        ends.extend(record_of.remove(&lead).map(|record| (record, end)));
    }
    for record in give_back(tx, ctx, rules, line, mapping, &by_person, entries).await? {
        ends.entry(record).or_insert((ChangeOutcome::Updated, "opted_out_there".to_owned()));
    }
    Ok(ends)
}

/// Ends the shares of people whom their recipient may not reach any more; answers the records.
async fn give_back(
    tx: &mut Tx,
    ctx: &Context,
    rules: &Rules,
    line: &Line,
    mapping: &Mapping,
    by_person: &BTreeMap<&str, (&Dirty, &Record)>,
    entries: &mut Entries,
) -> Result<Vec<String>> {
    let live = by_person.iter().filter(|(_, (_, record))| record.state == State::Live);
    let claims: BTreeMap<&str, ConsentClaim> = live.map(|(person, (_, record))| (*person, mapping.consent(&record.fields))).collect();
    let people = Value::from(claims.keys().map(|person| json!([person])).collect::<Vec<_>>());
    let keys = Keys::load(tx, &ctx.vault, claims.keys().copied()).await?;
    let mut running = Vec::new();
    for share in shares::at_recipient(tx, line.name(), &people).await? {
        if !stand(&share)?.status.ended() {
            running.push(share);
        }
    }
    let ids = Value::from(running.iter().map(|share| json!([share.lead])).collect::<Vec<_>>());
    let mut stopped = Vec::new();
    for stored in leads::leads(tx, &ids).await? {
        let (Some(sealed), Some(claim)) = (&stored.data, claims.get(stored.person.as_str())) else { continue };
        let Some(before) = keys.open::<Lead>(&stored.person, people::lead_place(&stored.id), sealed)? else { continue };
        let mut now = before.clone();
        now.consent.heed(claim, false);
        if now != before {
            let hashes = people::hashes(&ctx.vault, &now);
            stopped.push((stored, now, hashes));
        }
    }
    if stopped.is_empty() {
        return Ok(Vec::new());
    }
    let hashes: Vec<&Hashes> = stopped.iter().map(|(.., hashes)| hashes).collect();
    let ids: Vec<&str> = stopped.iter().map(|(lead, ..)| lead.person.as_str()).collect();
    let standing = Stands::load(tx, ctx, &ids, &hashes, &BTreeSet::from([line.partner()])).await?;
    let (mut moved, mut records) = (Vec::new(), Vec::new());
    for (stored, lead, hashes) in &stopped {
        for share in running.iter().filter(|share| share.lead == stored.id) {
            let facts = standing.facts(ctx, &share.source, lead, hashes, &share.person, Some(&share.id));
            let verdict = decide::recheck(&decide::Inputs { program: &rules.program, facts: &facts }, &share.agreement, &share.terms);
            if verdict.takes_back() {
                moved.push((share, Stand { status: ShareStatus::Returned, reason: Some("opted_out_there".into()), ..stand(share)? }));
                records.extend(by_person.get(share.person.as_str()).map(|(_, record)| record.id.clone()));
            }
        }
    }
    move_shares(tx, ctx, &moved, &format!("connection:{}", line.name()), entries).await?;
    tell_sharers(tx, ctx, &moved.iter().map(|(share, _)| *share).collect::<Vec<_>>()).await?;
    Ok(records)
}
