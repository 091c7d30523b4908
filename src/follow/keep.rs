//! Keeps what was seen of shared leads at their recipients, in the transaction that ends the change.

use leadshare_connectors::sdk::{Record, State};
use serde_json::{Value, json};

use super::step::{Stand, moves};
use crate::context::Context;
use crate::errors::{Error, Result};
use crate::http::line::Line;
use crate::ledger::Body;
use crate::mapping::Mapping;
use crate::model::{ChangeOutcome, Progress, ShareStatus};
use crate::pipeline::{Change, Entries, Lane};
use crate::store::dirty::{self, Dirty, Raise};
use crate::store::shares::{self, RemotePerson, Share};
use crate::store::{Tx, deliveries, leads};

/// Moves the shares whose records were read, and asks for the news to be written back to their sharers.
///
/// # Errors
/// The store's.
pub async fn keep(
    tx: &mut Tx,
    ctx: &Context,
    line: &Line,
    mapping: &Mapping,
    ours: &[(Dirty, RemotePerson, Record)],
    entries: &mut Entries,
) -> Result<Vec<Change>> {
    if ours.is_empty() {
        return Ok(Vec::new());
    }
    let now = ctx.clock.now();
    let people = Value::from(ours.iter().map(|(_, person, _)| json!([person.person])).collect::<Vec<_>>());
    let stored = shares::at_recipient(tx, line.name(), &people).await?;
    let (mut changes, mut moved, mut gone) = (Vec::new(), Vec::new(), Vec::new());
    let mut news: Vec<&Share> = Vec::new();
    for (hint, person, record) in ours {
        let share = stored.iter().rfind(|share| share.person == person.person);
        let Some(share) = share else {
            changes.push(Change::new(hint, ChangeOutcome::Untracked, "no_share", None));
            continue;
        };
        let from = stand(share)?;
        let lead = Some(share.lead.clone());
        match &record.state {
            State::Deleted => {
                gone.push(json!([person.person]));
                if !ended(from.status) {
                    let end = Stand { status: ShareStatus::Returned, reason: Some("deleted_there".into()), ..from };
                    moved.push((share, end));
                    news.push(share);
                }
                changes.push(Change::new(hint, ChangeOutcome::Gone, "deleted_there", lead));
            }
            State::Merged(into) => {
                shares::add_alias(tx, line.name(), mapping.object(), &hint.remote_id, into).await?;
                shares::land(tx, line.name(), &json!([[person.person, into, "adopted", Value::Null]]), now).await?;
                let look = Raise { object: mapping.object().to_owned(), remote_id: into.clone(), kind: "changed", detail: None };
                dirty::raise(tx, line.name(), &[look], now).await?;
                changes.push(Change::new(hint, ChangeOutcome::Gone, "merged_there", lead));
            }
            State::Live => {
                let seen = mapping.status_of(&record.fields);
                let since = person.landed_at.zip(record.modified_at).map(|(landed, modified)| modified - landed);
                let steps = seen.as_ref().map(|seen| moves(&from, seen, since)).unwrap_or_default();
                if steps.is_empty() {
                    let ours_again = seen.as_ref().is_none_or(|seen| !seen.moved_off_landed);
                    let (outcome, reason) =
                        if ours_again { (ChangeOutcome::Echo, "as_we_wrote_it") } else { (ChangeOutcome::Unchanged, "status_as_known") };
                    changes.push(Change::new(hint, outcome, reason, lead));
                } else {
                    moved.extend(steps.into_iter().map(|step| (share, step)));
                    news.push(share);
                    changes.push(Change::new(hint, ChangeOutcome::Updated, "status_moved", lead));
                }
            }
        }
    }
    // Version and state only: the overlap of the next polls must not raise it again.
    let state = |record: &Record| if record.state == State::Live { "live" } else { "gone" };
    let seen: Vec<Value> = ours.iter().map(|(_, _, record)| json!([record.id, record.version, "", Value::Null, state(record)])).collect();
    leads::save_records(tx, line.name(), mapping.object(), &Value::from(seen), now).await?;
    if !gone.is_empty() {
        shares::remote_gone(tx, line.name(), &Value::from(gone)).await?;
    }
    move_shares(tx, ctx, &moved, &format!("connection:{}", line.name()), entries).await?;
    tell_sharers(tx, ctx, &news).await?;
    Ok(changes)
}

/// Where a stored share stands.
///
/// # Errors
/// When its words are not ours: written by another version, or damaged.
pub fn stand(share: &Share) -> Result<Stand> {
    let unreadable = || Error::Unreadable { what: "a share's status".into() };
    Ok(Stand {
        status: ShareStatus::parse(&share.status).ok_or_else(unreadable)?,
        progress: Progress::parse(&share.progress).ok_or_else(unreadable)?,
        reason: share.reason.clone(),
        amount: share.amount.clone(),
    })
}

/// Whether a share is over.
pub fn ended(status: ShareStatus) -> bool {
    use ShareStatus::{Declined, Erased, Expired, Recalled, Returned};
    matches!(status, Declined | Expired | Recalled | Returned | Erased)
}

/// Moves shares, in order, each move an event and a ledger entry. `said_by` tells who or what moved them.
///
/// # Errors
/// The store's.
pub async fn move_shares(tx: &mut Tx, ctx: &Context, moved: &[(&Share, Stand)], said_by: &str, entries: &mut Entries) -> Result<()> {
    let now = ctx.clock.now();
    let mut over = Vec::new();
    for (share, to) in moved {
        // One statement per move: two moves of one share in a batch must happen one after the other.
        let row = json!([[share.id, to.status.word(), to.progress.word(), to.reason, to.amount, ctx.clock.id(), said_by]]);
        shares::move_to(tx, &row, now).await?;
        if ended(to.status) {
            over.push(json!([share.id]));
        }
        let mut body = Body::new()
            .id("share", &share.id)
            .id("recipient", &share.recipient)
            .code("status", &to.status.word())
            .code("progress", &to.progress.word());
        if let Some(reason) = &to.reason {
            body = body.code("reason", reason);
        }
        if let Some(amount) = to.amount.as_deref().and_then(money) {
            body = body.amount("amount", &amount);
        }
        entries.agreement(&share.agreement, "share.moved", body)?;
    }
    if !over.is_empty() {
        shares::release(tx, &Value::from(over)).await?;
    }
    Ok(())
}

/// An amount as the ledger writes it, with a point; `None` for what is no amount of money.
fn money(text: &str) -> Option<String> {
    let (whole, part) = text.split_once('.').unwrap_or((text, "00"));
    let digits = |t: &str| !t.is_empty() && t.bytes().all(|b| b.is_ascii_digit());
    let unsigned = whole.strip_prefix('-').unwrap_or(whole);
    (digits(unsigned) && unsigned.len() <= 15 && digits(part)).then(|| format!("{whole}.{}", &part[..part.len().min(4)]))
}

/// Asks for the news of shares to be written into their sharers' records.
///
/// # Errors
/// The store's.
pub async fn tell_sharers(tx: &mut Tx, ctx: &Context, news: &[&Share]) -> Result<()> {
    if news.is_empty() {
        return Ok(());
    }
    let ids = Value::from(news.iter().map(|share| json!([share.lead])).collect::<Vec<_>>());
    let from = leads::leads(tx, &ids).await?;
    let rows: Vec<Value> = news
        .iter()
        .filter_map(|share| {
            let lead = from.iter().find(|lead| lead.id == share.lead)?;
            Some(json!([share.id, "back", lead.connection, lead.object, Lane::Status as i64]))
        })
        .collect();
    deliveries::want(tx, &Value::from(dedupe(rows)), ctx.clock.now()).await
}

fn dedupe(mut rows: Vec<Value>) -> Vec<Value> {
    rows.sort_by_key(ToString::to_string);
    rows.dedup();
    rows
}
