//! Decides what was read from a source and keeps it: people, leads, decisions, shares and the
//! changes' outcomes, in the transaction that also finishes the hints.

use std::collections::BTreeMap;

use leadshare_connectors::sdk::{Record, State};
use serde_json::{Value, json};

use super::noes::{self, Again, No};
use super::read::Batch;
use crate::change::Change;
use crate::clock::{Millis, SECOND};
use crate::context::Context;
use crate::decide;
use crate::entries::Entries;
use crate::errors::{Error, Result};
use crate::http::line::Line;
use crate::ledger::Body;
use crate::mapping::{FieldProblem, Mapped, Mapping};
use crate::model::decision::{Verdict, VerdictOutcome};
use crate::model::{ChangeOutcome, Lead};
use crate::people::{self, Hashes, Keys};
use crate::rules::Rules;
use crate::shares::stand;
use crate::standing::Stands;
use crate::store::deliveries::Lane;
use crate::store::dirty::{self, Dirty, Raise};
use crate::store::leads::KnownRecord;
use crate::store::shares::{self, Share};
use crate::store::{Tx, deliveries, leads, loads, people as people_store};
use crate::vault::{Identity, Marker};

/// A lead on its way through a transaction.
struct Incoming<'a> {
    hint: &'a Dirty,
    record: &'a Record,
    lead: Lead,
    hashes: Hashes,
    content: String,
    id: String,
    person: String,
    is_new: bool,
}

/// A record that was read, and what it is to us.
pub struct Sorting<'a> {
    hint: &'a Dirty,
    record: &'a Record,
    known: Option<KnownRecord>,
    sorted: Sorted,
}

/// Maps what was read, outside any transaction: what is known of a record changes only under its hint's lease.
///
/// # Errors
/// The store's.
pub async fn sort<'a>(ctx: &Context, line: &Line, mapping: &Mapping, batch: &'a Batch) -> Result<Vec<Sorting<'a>>> {
    if batch.source.is_empty() {
        return Ok(Vec::new());
    }
    let ids = Value::from(batch.source.iter().map(|(d, _)| json!([d.remote_id])).collect::<Vec<_>>());
    let known = leads::known(&ctx.db, line.name(), mapping.object(), &ids).await?;
    let mut known: BTreeMap<String, KnownRecord> = known.into_iter().map(|r| (r.0.clone(), r)).collect();
    let read = batch.source.iter().map(|(hint, record)| {
        let known = known.remove(&record.id);
        let sorted = sort_out(ctx, line, mapping, batch.share_from, hint, record, known.as_ref());
        Sorting { hint, record, known, sorted }
    });
    Ok(read.collect())
}

/// Decides and keeps a batch of read records.
///
/// # Errors
/// The store's; [`Error::Passing`] with `decide_again` when somebody else was faster: nothing stays.
pub async fn keep(
    tx: &mut Tx,
    ctx: &Context,
    rules: &Rules,
    line: &Line,
    mapping: &Mapping,
    read: Vec<Sorting<'_>>,
    entries: &mut Entries,
) -> Result<Vec<Change>> {
    if read.is_empty() {
        return Ok(Vec::new());
    }
    let now = ctx.clock.now();
    let (mut changes, mut incoming, mut records) = (Vec::new(), Vec::new(), Vec::new());
    let ids = Value::from(read.iter().map(|s| json!([s.record.id])).collect::<Vec<_>>());
    // A record speaks for those that were merged into it, too.
    let merged = leads::merged_into(tx, line.name(), mapping.object(), &ids).await?.into_iter();
    let no = |into: &str| read.iter().find(|s| s.record.id == into).and_then(|s| No::of(mapping, s.hint, s.record));
    let mut noes: BTreeMap<String, No> = merged.filter_map(|(into, lead)| Some((lead, no(&into)?))).collect();
    for Sorting { hint, record, known, sorted } in read {
        let known = known.as_ref();
        match sorted {
            Sorted::Lead(lead, hashes, content) => {
                let lead_id = known.and_then(|k| k.3.clone());
                let is_new = lead_id.is_none();
                let id = lead_id.unwrap_or_else(|| ctx.clock.id());
                incoming.push(Incoming { hint, record, lead: *lead, hashes: *hashes, content, id, person: String::new(), is_new });
            }
            Sorted::Ended(outcome, reason) => {
                let gone = record.state != State::Live;
                if gone || matches!(outcome, ChangeOutcome::Invalid | ChangeOutcome::Quarantined) {
                    noes.extend(known.and_then(|k| k.3.clone()).zip(No::of(mapping, hint, record)));
                }
                if gone
                    || matches!(
                        outcome,
                        ChangeOutcome::Unchanged | ChangeOutcome::Echo | ChangeOutcome::Invalid | ChangeOutcome::Quarantined
                    )
                {
                    let content = known.map_or("", |k| k.2.as_str());
                    records.push(json!([record.id, record.version, content, Value::Null, if gone { "gone" } else { "live" }]));
                }
                if let State::Merged(into) = &record.state {
                    let winner = Raise { object: mapping.object().to_owned(), remote_id: into.clone(), kind: "changed", detail: None };
                    dirty::raise(tx, line.name(), &[winner], now).await?;
                    shares::add_alias(tx, line.name(), mapping.object(), &record.id, into).await?;
                }
                changes.push(Change::new(hint, outcome, reason, known.and_then(|k| k.3.clone())));
            }
            Sorted::OursUnknown(marker) => {
                // Our own create, heard of before its answer was kept.
                let ours = shares::remote_by_marker(tx, line.name(), &json!([[marker]])).await?;
                if let Some(person) = ours.first() {
                    shares::land(tx, line.name(), &json!([[person.person, record.id, "created", Value::Null]]), now).await?;
                }
                changes.push(Change::new(hint, ChangeOutcome::Echo, "our_own_create", None));
            }
        }
    }
    let mut keys = Keys::default();
    resolve(tx, ctx, &mut incoming, &mut keys).await?;
    decide_all(tx, ctx, rules, line, mapping, &incoming, &keys, &mut changes, &mut records, entries).await?;
    leads::save_records(tx, line.name(), mapping.object(), &Value::from(records), now).await?;
    let mut ends = noes::heed(tx, ctx, rules, line.partner(), noes, entries).await?;
    for change in &mut changes {
        if let Some((outcome, reason)) = change.lead.as_ref().and_then(|lead| ends.remove(lead)) {
            (change.outcome, change.reason) = (outcome, reason);
        }
    }
    Ok(changes)
}

enum Sorted {
    Lead(Box<Lead>, Box<Hashes>, String),
    Ended(ChangeOutcome, String),
    OursUnknown(String),
}

fn sort_out(
    ctx: &Context,
    line: &Line,
    mapping: &Mapping,
    share_from: Option<Millis>,
    hint: &Dirty,
    record: &Record,
    known: Option<&KnownRecord>,
) -> Sorted {
    let end = |outcome, reason: &str| Sorted::Ended(outcome, reason.to_owned());
    match &record.state {
        State::Deleted => {
            return end(
                ChangeOutcome::Gone,
                if hint.kind == "privacy_deleted" { "privacy_deleted_at_source" } else { "deleted_at_source" },
            );
        }
        State::Merged(_) => return end(ChangeOutcome::Gone, "merged_at_source"),
        State::Live => {}
    }
    if let Some(marker) =
        record.fields.get(mapping.marker_field(line.manifest())).and_then(Value::as_str).filter(|m| ctx.vault.markers.is_ours(m))
    {
        return Sorted::OursUnknown(marker.to_owned());
    }
    // Another program delivered it to this partner: whether it may go on, and where it came from, is not known here.
    let marked = record.fields.get(mapping.marker_field(line.manifest())).and_then(Value::as_str).and_then(Marker::parse);
    if marked.is_some() && known.is_none_or(|k| k.3.is_none()) {
        return end(ChangeOutcome::Untracked, "received_through_another_program");
    }
    // A lead that is shared is looked at wherever it has moved: its opt-outs still count.
    if known.is_none_or(|k| k.3.is_none()) && !mapping.selects(&record.fields) {
        return end(ChangeOutcome::Untracked, "outside_the_selection");
    }
    let lead = match mapping.to_lead(&record.fields) {
        Mapped::Lead(lead, _) => lead,
        Mapped::Invalid(problems) => return Sorted::Ended(ChangeOutcome::Invalid, named("invalid", &problems)),
        Mapped::Quarantined(problems) => return Sorted::Ended(ChangeOutcome::Quarantined, named("quarantined", &problems)),
    };
    // Sharing starts with what people did from the moment of connecting on.
    let acted = [record.created_at, lead.consent.given_at].into_iter().flatten().max();
    // Some vendors keep whole seconds.
    if let (Some(from), Some(acted)) = (share_from, acted)
        && acted < from - from.rem_euclid(SECOND)
        && known.is_none_or(|k| k.3.is_none())
    {
        return end(ChangeOutcome::Untracked, "before_sharing_started");
    }
    // The keyed hash lets us see that nothing changed without keeping the values in clear.
    let content = ctx.vault.blind.hash(Identity::Domain, &serde_json::to_string(&lead).unwrap_or_default());
    if let Some(known) = known.filter(|k| k.2 == content && k.4 == "live") {
        let written: Option<leadshare_connectors::sdk::Fields> = known.5.as_deref().and_then(|text| serde_json::from_str(text).ok());
        let echo =
            known.1 != record.version && written.is_some_and(|w| w.iter().all(|(name, value)| record.fields.get(name) == Some(value)));
        return if echo { end(ChangeOutcome::Echo, "our_own_news") } else { end(ChangeOutcome::Unchanged, "nothing_that_we_map") };
    }
    let hashes = Box::new(people::hashes(&ctx.vault, &lead));
    Sorted::Lead(lead, hashes, content)
}

/// `invalid: email (malformed)`: fields and codes, never values.
fn named(what: &str, problems: &[FieldProblem]) -> String {
    let fields: Vec<String> = problems.iter().map(|p| format!("{} ({})", p.lead_field, p.code)).collect();
    format!("{what}: {}", fields.join(", "))
}

/// Finds or makes the person behind each lead, and locks them.
async fn resolve(tx: &mut Tx, ctx: &Context, incoming: &mut [Incoming<'_>], keys: &mut Keys) -> Result<()> {
    let now = ctx.clock.now();
    let hashes = Value::from(incoming.iter().filter_map(|i| i.hashes.identity.as_ref()).map(|h| json!([h])).collect::<Vec<_>>());
    let mut by_hash: BTreeMap<String, String> = BTreeMap::new();
    for (hash, person, wrapped, _) in people_store::by_hash(tx, &hashes).await? {
        if let Some(wrapped) = wrapped {
            keys.add(&ctx.vault, &person, &wrapped)?;
        }
        by_hash.insert(hash, person);
    }
    // A known record stays with its person when its address changes: an opt-out must still hold.
    let lead_ids = Value::from(incoming.iter().filter(|i| !i.is_new).map(|i| json!([i.id])).collect::<Vec<_>>());
    let of_lead: BTreeMap<String, String> = leads::leads(tx, &lead_ids).await?.into_iter().map(|l| (l.id, l.person)).collect();
    let (mut new_people, mut new_identities) = (Vec::new(), Vec::new());
    for item in incoming.iter_mut() {
        let hash = item.hashes.identity.clone();
        let found = of_lead.get(&item.id).or_else(|| hash.as_ref().and_then(|h| by_hash.get(h))).cloned();
        item.person = if let Some(person) = found {
            person
        } else {
            let person = ctx.clock.id();
            new_people.push(json!([person, keys.make(&ctx.vault, &ctx.clock, &person)?]));
            person
        };
        if let Some(hash) = hash.filter(|hash| !by_hash.contains_key(hash)) {
            by_hash.insert(hash.clone(), item.person.clone());
            new_identities.push(json!([hash, item.person]));
        }
    }
    // In one order everywhere, so that two deciders never wait for each other.
    new_identities.sort_by_key(ToString::to_string);
    if !people_store::add(tx, &Value::from(new_people), &Value::from(new_identities), now).await? {
        return Err(again());
    }
    let ids: std::collections::BTreeSet<&str> = incoming.iter().map(|i| i.person.as_str()).collect();
    for (id, wrapped, _) in people_store::lock(tx, &Value::from(ids.iter().map(|id| json!([id])).collect::<Vec<_>>())).await? {
        if let Some(wrapped) = wrapped {
            keys.add(&ctx.vault, &id, &wrapped)?;
        }
    }
    Ok(())
}

fn again() -> Error {
    Error::Passing { code: "decide_again".into(), message: "somebody else decided about the same person at the same time".into() }
}

#[expect(clippy::too_many_arguments, reason = "the body of `keep`, moved out to be read")]
async fn decide_all(
    tx: &mut Tx,
    ctx: &Context,
    rules: &Rules,
    line: &Line,
    mapping: &Mapping,
    incoming: &[Incoming<'_>],
    keys: &Keys,
    changes: &mut Vec<Change>,
    records: &mut Vec<Value>,
    entries: &mut Entries,
) -> Result<()> {
    let now = ctx.clock.now();
    let people: Vec<&str> = incoming.iter().map(|i| i.person.as_str()).collect();
    let hashes: Vec<&Hashes> = incoming.iter().map(|i| &i.hashes).collect();
    let candidates = rules.program.recipients_of(line.partner()).collect();
    let mut standing = Stands::load(tx, ctx, &people, &hashes, &candidates).await?;
    let known_leads = Value::from(incoming.iter().filter(|i| !i.is_new).map(|i| json!([i.id])).collect::<Vec<_>>());
    let mut stored = BTreeMap::<String, Vec<Share>>::new();
    for share in shares::by_lead(tx, &known_leads).await? {
        stored.entry(share.lead.clone()).or_default().push(share);
    }

    let (mut lead_rows, mut decision_rows, mut new) = (Vec::new(), Vec::new(), NewShares::default());
    let mut running_again = Again::default();
    for item in incoming {
        let running: Vec<&Share> =
            stored.get(&item.id).into_iter().flatten().filter(|s| !stand(s).is_ok_and(|s| s.status.ended())).collect();
        lead_rows.push(json!([
            item.id,
            item.person,
            item.record.id,
            mapping.hash(),
            keys.seal(&ctx.clock, &item.person, people::lead_place(&item.id), &item.lead)?
        ]));
        records.push(json!([item.record.id, item.record.version, item.content, item.id, "live"]));
        if !running.is_empty() {
            // Already shared: its copies follow, or are taken back when a gate no longer holds.
            let mut outcome = (ChangeOutcome::Updated, "copies_follow".to_owned());
            for share in running {
                let facts = standing.facts(ctx, line.partner(), &item.lead, &item.hashes, &item.person, Some(&share.id));
                outcome = running_again.judge(rules, &facts, share)?.unwrap_or(outcome);
            }
            changes.push(Change::new(item.hint, outcome.0, outcome.1, Some(item.id.clone())));
            continue;
        }
        let facts = standing.facts(ctx, line.partner(), &item.lead, &item.hashes, &item.person, None);
        let mut decision = decide::decide(&decide::Inputs { program: &rules.program, facts: &facts });
        let decision_id = ctx.clock.id();
        let mut change = Change::new(item.hint, decision.outcome, decision.reason.clone(), Some(item.id.clone()));
        change.decision = Some(decision_id.clone());
        let (mut went, mut taken) = (0, false);
        if line.observe() && decision.outcome == ChangeOutcome::Shared {
            change.outcome = ChangeOutcome::Held;
            change.reason = format!("observing only: {}", decision.reason);
            decision.outcome = ChangeOutcome::Held;
        } else if decision.outcome == ChangeOutcome::Shared {
            let mut nowhere = Vec::new();
            for verdict in decision.verdicts.iter().filter(|v| v.outcome == VerdictOutcome::Shared) {
                let Some((to, to_mapping)) = rules.receiving(&ctx.lines, &verdict.recipient) else {
                    nowhere.push(verdict.recipient.clone());
                    continue;
                };
                if facts.standing.shares.iter().any(|s| s.recipient == verdict.recipient && s.is_live()) {
                    // Another source's lead of this person is there: one person at one recipient is one record.
                    taken = true;
                    continue;
                }
                let share = ctx.clock.id();
                standing.add(&item.person, &share, line.partner(), &verdict.recipient, &verdict.agreement, now);
                new.add(ctx, item, &share, line.partner(), &decision_id, verdict, to, to_mapping, keys, entries)?;
                went += 1;
            }
            if went == 0 && taken {
                change.outcome = ChangeOutcome::Duplicate;
                "the recipient has this person from another source already".clone_into(&mut change.reason);
                decision.outcome = ChangeOutcome::Duplicate;
            } else if went == 0 {
                // Decided, and yet it cannot go: an offer waits for the offer page, a partner without a connection for one.
                change.outcome = ChangeOutcome::Held;
                change.reason = match nowhere.first() {
                    Some(recipient) => format!("held: {recipient} has no connection that receives leads"),
                    None => "held: this agreement offers leads first, and offers are not available yet".to_owned(),
                };
                decision.outcome = ChangeOutcome::Held;
            }
        }
        entries.decided(&decision, &decision_id, &item.id)?;
        let inputs_text = keys.seal(&ctx.clock, &item.person, crate::vault::Aad::new("decisions", &decision_id, "inputs"), &facts)?;
        // The proof holds addresses: it is kept sealed beside the share, not in the decision's clear text.
        decision.verdicts.iter_mut().for_each(|verdict| verdict.consents.clear());
        let body = serde_json::to_string(&decision).map_err(|_| Error::Unreadable { what: "a decision".into() })?;
        decision_rows.push(json!([decision_id, item.id, change.id_or(ctx), decision.outcome.word(), decision.reason, inputs_text, body]));
        changes.push(change);
    }
    leads::save_leads(tx, line.partner(), line.name(), mapping.object(), &Value::from(lead_rows), now).await?;
    leads::save_decisions(tx, &Value::from(decision_rows), now).await?;
    new.keep(tx, line.partner(), now).await?;
    running_again.keep(tx, ctx, entries).await
}

/// Rows of the shares that a batch makes.
#[derive(Default)]
struct NewShares {
    claims: Vec<(String, String, String)>,
    remotes: Vec<Value>,
    shares: Vec<Value>,
    events: Vec<Value>,
    deliveries: Vec<Value>,
    consents: Vec<Value>,
    given: BTreeMap<(String, String), i64>,
}

impl NewShares {
    #[expect(clippy::too_many_arguments, reason = "one share is made of all of these")]
    fn add(
        &mut self,
        ctx: &Context,
        item: &Incoming<'_>,
        share: &str,
        source: &str,
        decision: &str,
        verdict: &Verdict,
        to: &Line,
        to_mapping: &Mapping,
        keys: &Keys,
        entries: &mut Entries,
    ) -> Result<()> {
        let identity = item.hashes.identity_key.clone().unwrap_or_else(|| format!("person:{}", item.person));
        let marker = ctx.vault.markers.make(to.name(), &identity);
        self.claims.push(("person_recipient".into(), format!("{}|{}", item.person, verdict.recipient), share.to_owned()));
        self.remotes.push(json!([to.name(), item.person, to_mapping.object(), marker]));
        self.shares.push(json!([
            share,
            item.person,
            item.id,
            source,
            verdict.recipient,
            verdict.agreement,
            verdict.terms,
            decision,
            to.name(),
            to_mapping.object(),
            "matched"
        ]));
        self.events.push(json!([share, "matched", "new", Value::Null, Value::Null, ctx.clock.id(), "decision"]));
        self.deliveries.push(json!([share, "out", to.name(), to_mapping.object(), Lane::NewLeads as i64]));
        *self.given.entry((verdict.recipient.clone(), verdict.agreement.clone())).or_default() += 1;
        for consent in &verdict.consents {
            let id = ctx.clock.id();
            let proof = keys.seal(&ctx.clock, &item.person, crate::vault::Aad::new("consents", &id, "proof"), consent)?;
            let channel = consent.channel.and_then(|c| serde_json::to_value(c).ok()).unwrap_or(Value::Null);
            self.consents.push(json!([id, item.person, share, verdict.recipient, consent.purpose, channel, proof]));
        }
        let body = Body::new()
            .id("share", share)
            .id("lead", &item.id)
            .id("recipient", &verdict.recipient)
            .id("source", source)
            .version("terms", &verdict.terms);
        entries.agreement(&verdict.agreement, "share.matched", body)
    }

    async fn keep(mut self, tx: &mut Tx, source: &str, now: Millis) -> Result<()> {
        if self.shares.is_empty() {
            return Ok(());
        }
        // In one order everywhere, so that two deciders never wait for each other.
        self.claims.sort();
        let rows = Value::from(self.claims.iter().map(|(kind, claim, share)| json!([kind, claim, share])).collect::<Vec<_>>());
        if shares::claim(tx, &rows, now).await? != self.claims.len() as u64 {
            return Err(again());
        }
        shares::want_remote(tx, &Value::from(self.remotes)).await?;
        shares::add(tx, &Value::from(self.shares.clone()), now).await?;
        shares::add_events(tx, &Value::from(self.events), now).await?;
        deliveries::want(tx, &Value::from(self.deliveries), now).await?;
        leads::save_consents(tx, &Value::from(self.consents), now).await?;
        loads::shared(tx, source, self.shares.len() as i64, now).await?;
        let days = [loads::OPEN, loads::day(now)];
        let given = self.given.iter().flat_map(|((recipient, agreement), n)| days.map(|day| json!([recipient, agreement, day, n])));
        loads::count(tx, given.collect()).await
    }
}
