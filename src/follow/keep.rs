//! Keeps what was seen of shared leads at their recipients, in the transaction that ends the change.

use leadshare_connectors::sdk::{Record, State};
use serde_json::{Value, json};

use super::step::moves;
use crate::change::Change;
use crate::context::Context;
use crate::entries::Entries;
use crate::errors::Result;
use crate::http::line::Line;
use crate::mapping::Mapping;
use crate::model::{ChangeOutcome, ShareStatus, Stand};
use crate::shares::{move_shares, stand, tell_sharers};
use crate::store::dirty::{self, Dirty, Raise};
use crate::store::shares::{self, RemotePerson, Share};
use crate::store::{Tx, connections, leads, people};

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
    people::lock(tx, &people).await?;
    let stored = shares::at_recipient(tx, line.name(), &people).await?;
    let (mut changes, mut moved, mut gone, mut deleted) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
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
                deleted.extend(stored.iter().filter(|share| share.person == person.person).map(|share| json!([share.id])));
                if !from.status.ended() {
                    let end = Stand { status: ShareStatus::Returned, reason: Some("deleted_there".into()), ..from };
                    moved.push((share, end));
                    news.push(share);
                }
                changes.push(Change::new(hint, ChangeOutcome::Gone, "deleted_there", lead));
            }
            State::Merged(into) => {
                shares::add_alias(tx, line.name(), mapping.object(), &hint.remote_id, into).await?;
                if shares::owner(tx, line.name(), mapping.object(), into).await?.is_some_and(|owner| owner != person.person) {
                    // Two of our people became one there: the record stays the other one's.
                    gone.push(json!([person.person]));
                    if !from.status.ended() {
                        moved.push((share, Stand { status: ShareStatus::Returned, reason: Some("one_record_for_two".into()), ..from }));
                        news.push(share);
                    }
                } else {
                    shares::land(tx, line.name(), &json!([[person.person, into, "adopted", Value::Null]]), now).await?;
                }
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
    if !deleted.is_empty() {
        connections::end_take_back_alerts(tx, &Value::from(deleted), now).await?;
    }
    move_shares(tx, ctx, &moved, &format!("connection:{}", line.name()), entries).await?;
    tell_sharers(tx, ctx, &news).await?;
    Ok(changes)
}
