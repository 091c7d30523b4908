//! Sorts what was read from a source, and keeps it: records, leads, decisions, shares and the changes' outcomes, in the
//! transaction that also finishes the hints.

use std::collections::{BTreeMap, BTreeSet};

use leadshare_connectors::sdk::{Record, State};
use serde_json::{Value, json};

use super::judge::Judged;
use super::noes::{self, No};
use super::read::Batch;
use super::waits::{self, Renewed, Waited};
use crate::change::Change;
use crate::clock::{Millis, SECOND};
use crate::context::Context;
use crate::entries::Entries;
use crate::errors::Result;
use crate::http::line::Line;
use crate::mapping::{FieldProblem, Mapped, Mapping};
use crate::model::{ChangeOutcome, Lead, Wait};
use crate::people::{self, Hashes};
use crate::rules::Rules;
use crate::store::dirty::{self, Dirty, Raise};
use crate::store::leads::KnownRecord;
use crate::store::shares;
use crate::store::{Tx, leads};
use crate::turns::let_others;
use crate::vault::{Identity, Marker};

/// Why a record that bears another program's marker is not tracked.
const RECEIVED: &str = "received_through_another_program";

/// A record that was read, and what it is to us.
pub struct Sorting<'a> {
    pub(super) hint: &'a Dirty,
    pub(super) record: &'a Record,
    pub(super) known: Option<KnownRecord>,
    pub(super) waited: Waited,
    pub(super) sorted: Sorted,
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
    let mut waiting = waits::of(ctx, line, mapping, &ids).await?;
    let mut read = Vec::with_capacity(batch.source.len());
    for (hint, record) in &batch.source {
        let known = known.remove(&record.id);
        let waited = waiting.remove(&record.id).unwrap_or_default();
        // What it waited for has passed: it is decided about though it is as it was.
        let forgotten =
            known.clone().filter(|_| waited.looked_at()).map(|known| (known.0, known.1, String::new(), known.3, known.4, known.5));
        let sorted = sort_out(ctx, line, mapping, batch.share_from, hint, record, forgotten.as_ref().or(known.as_ref()));
        read.push(Sorting { hint, record, known, waited, sorted });
        let_others(read.len()).await;
    }
    Ok(read)
}

/// Keeps what was decided about a batch of read records. What it was decided on is proven again under the people's locks; where
/// that has changed meanwhile it is decided once more.
///
/// # Errors
/// The store's; [`Error::Passing`](crate::errors::Error::Passing) with `decide_again` when somebody else was faster: nothing stays.
pub async fn keep(
    tx: &mut Tx,
    ctx: &Context,
    rules: &Rules,
    line: &Line,
    mapping: &Mapping,
    judged: Judged<'_>,
    entries: &mut Entries,
) -> Result<Vec<Change>> {
    if judged.is_empty() {
        return Ok(Vec::new());
    }
    let now = ctx.clock.now();
    let (mut changes, mut records) = (Vec::new(), Vec::new());
    let ids = Value::from(judged.read().map(|(_, record)| json!([record.id])).collect::<Vec<_>>());
    // A record speaks for those that were merged into it, too.
    let merged = leads::merged_into(tx, line.name(), mapping.object(), &ids).await?.into_iter();
    let no = |into: &str| judged.read().find(|(_, record)| record.id == into).and_then(|(hint, record)| No::of(mapping, hint, record));
    let mut noes: BTreeMap<String, No> = merged.filter_map(|(into, lead)| Some((lead, no(&into)?))).collect();
    let mut renewed = Renewed::default();
    for Sorting { hint, record, known, waited, sorted } in &judged.others {
        let known = known.as_ref();
        match sorted {
            // It is among those that were judged.
            Sorted::Lead(..) => {}
            Sorted::Ended(outcome, reason) => {
                let gone = record.state != State::Live;
                if gone || matches!(outcome, ChangeOutcome::Invalid | ChangeOutcome::Quarantined) {
                    noes.extend(known.and_then(|k| k.3.clone()).zip(No::of(mapping, hint, record)));
                }
                // Of what another program delivered the version is known, so that polls whose times overlap read it once.
                if gone
                    || reason == RECEIVED
                    || matches!(
                        outcome,
                        ChangeOutcome::Unchanged | ChangeOutcome::Echo | ChangeOutcome::Invalid | ChangeOutcome::Quarantined
                    )
                {
                    let content = known.map_or("", |k| k.2.as_str());
                    records.push(json!([record.id, record.version, content, Value::Null, if gone { "gone" } else { "live" }]));
                }
                match outcome {
                    ChangeOutcome::Unchanged | ChangeOutcome::Echo => {}
                    ChangeOutcome::Invalid | ChangeOutcome::Quarantined => {
                        renewed.add(
                            &record.id,
                            waited,
                            waited.looked_at(),
                            BTreeSet::from([Wait::Mapping(mapping.hash().to_owned())]),
                            now,
                        );
                    }
                    _ => renewed.add(&record.id, waited, false, BTreeSet::new(), now),
                }
                if let State::Merged(into) = &record.state {
                    let winner = Raise { object: mapping.object().to_owned(), remote_id: into.clone(), kind: "changed", detail: None };
                    dirty::raise(tx, line.name(), &[winner], now).await?;
                    shares::add_alias(tx, line.name(), mapping.object(), &record.id, into).await?;
                }
                changes.push(Change::new(hint, *outcome, reason.clone(), known.and_then(|k| k.3.clone())));
            }
            Sorted::OursUnknown(marker) => {
                // Our own create, heard of before its answer was kept.
                let ours = shares::unseen_by_marker(tx, line.name(), &json!([[marker]])).await?;
                if let Some(person) = ours.first() {
                    shares::land(tx, line.name(), &json!([[person.person, record.id, "created", Value::Null]]), now).await?;
                }
                changes.push(Change::new(hint, ChangeOutcome::Echo, "our_own_create", None));
            }
        }
    }
    waits::quiet(tx, line, mapping, &mut changes).await?;
    renewed.keep(tx, line, mapping).await?;
    changes.extend(judged.keep(tx, ctx, rules, line, mapping, &mut records, entries).await?);
    leads::save_records(tx, line.name(), mapping.object(), &Value::from(records), now).await?;
    let mut ends = noes::heed(tx, ctx, rules, line.partner(), noes, entries).await?;
    for change in &mut changes {
        if let Some((outcome, reason)) = change.lead.as_ref().and_then(|lead| ends.remove(lead)) {
            (change.outcome, change.reason, change.quiet) = (outcome, reason, false);
        }
    }
    Ok(changes)
}

/// What a record is to us.
pub(super) enum Sorted {
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
        return end(ChangeOutcome::Untracked, RECEIVED);
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
    let acted = acted(record, &lead);
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

/// When the person last did something that a record tells of: it was made, or they agreed.
pub(super) fn acted(record: &Record, lead: &Lead) -> Option<Millis> {
    [record.created_at, lead.consent.given_at].into_iter().flatten().max()
}

/// `invalid: email (malformed)`: fields and codes, never values.
fn named(what: &str, problems: &[FieldProblem]) -> String {
    let fields: Vec<String> = problems.iter().map(|p| format!("{} ({})", p.lead_field, p.code)).collect();
    format!("{what}: {}", fields.join(", "))
}
