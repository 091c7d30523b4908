//! Keeping what became of writes, in one transaction.

use std::collections::{BTreeMap, BTreeSet};

use leadshare_connectors::sdk::{Fields, Item, ItemFault, ItemResult, Made};
use serde_json::{Value, json};

use super::{Delivery, Stopped, Way, Written, overtaking, sweep};
use crate::clock::{MINUTE, Millis, SECOND};
use crate::context::Context;
use crate::entries::Entries;
use crate::errors::Result;
use crate::http::line::Line;
use crate::mapping::Mapping;
use crate::model::{ShareStatus, Stand};
use crate::people::{self, Keys};
use crate::points;
use crate::shares::{move_shares, stand, tell_sharers};
use crate::store::shares::{self, RemotePerson, Share};
use crate::store::{Tx, connections, deliveries, leads, sweeps};
use crate::turns::let_others;

/// Keeps what became of a batch of writes.
pub(super) async fn finish(
    ctx: &Context,
    line: &Line,
    way: Way,
    mapping: &Mapping,
    lease: &str,
    started: Millis,
    written: Vec<Written>,
) -> Result<()> {
    let now = ctx.clock.now();
    let mut tries = ctx.db.tries();
    loop {
        let mut tx = tries.begin().await?;
        let done = keep(&mut tx, ctx, line, way, mapping, lease, (started, now), &written).await;
        if tries.end(tx, done).await?.is_some() {
            break;
        }
    }
    points::at("delivery.finished").await;
    Ok(())
}

/// The transaction of [`finish`], with when writing began and when it ended.
#[expect(clippy::too_many_arguments, reason = "the body of `finish`")]
async fn keep(
    tx: &mut Tx,
    ctx: &Context,
    line: &Line,
    way: Way,
    mapping: &Mapping,
    lease: &str,
    (started, now): (Millis, Millis),
    written: &[Written],
) -> Result<()> {
    let took = now - started;
    let mut entries = Entries::new(ctx);
    let keys = Keys::load(tx, &ctx.vault, written.iter().map(|w| w.prepared.about.share.person.as_str())).await?;
    let written = held(tx, way, lease, written).await?;
    let (mut landed, mut done, mut later, mut ends, mut settled, mut doubtful, mut attempts, mut first, mut moved, mut noted) =
        (vec![], vec![], vec![], vec![], vec![], vec![], vec![], vec![], vec![], vec![]);
    let (settle_after, mut open) = (line.settle_after(), vec![]);
    // What stands now, under the people's locks: a share may have been taken back while the write was on its way.
    let ids = Value::from(written.iter().map(|w| json!([w.prepared.about.share.id])).collect::<Vec<_>>());
    let fresh: BTreeMap<String, Share> = shares::by_id(tx, &ids).await?.into_iter().map(|share| (share.id.clone(), share)).collect();
    let remotes: BTreeMap<String, RemotePerson> = if way == Way::Out {
        let people = Value::from(fresh.values().map(|share| json!([share.person])).collect::<Vec<_>>());
        shares::remote_by_person(tx, line.name(), &people).await?.into_iter().map(|r| (r.person.clone(), r)).collect()
    } else {
        BTreeMap::new()
    };
    let mut given_up = Vec::new();
    for (nth, w) in written.into_iter().enumerate() {
        let_others(nth).await;
        let (asked, delivery) = (&w.prepared.about.share, &w.prepared.delivery);
        let share = fresh.get(&asked.id).unwrap_or(asked);
        let attempt = |outcome: &'static str, code: Option<&str>| {
            (outcome, json!([ctx.clock.id(), share.id, delivery.version, started, took, outcome, code]))
        };
        let put_off = |until: Millis, attempts: i64, code: &str| json!([share.id, until, attempts, code, delivery.version]);
        let still_open = overtaking::open_until(w, now, settle_after).filter(|_| way == Way::Out);
        let heard = matches!(w.result, Some(ItemResult::Written { .. } | ItemResult::Gone | ItemResult::Exists(_) | ItemResult::Moved(_)));
        let doubt = way == Way::Out && !heard && (w.touched || still_open.is_some());
        if doubt || still_open.is_some() {
            let until = still_open.unwrap_or(now + settle_after);
            let shadow = if doubt {
                let fields = w.prepared.item.fields().keys().map(|name| (name.clone(), unknown())).collect();
                let shadow = merge_shadow(&keys, share, remotes.get(&share.person), fields)?;
                Value::from(keys.seal(&ctx.clock, &share.person, people::shadow_place(&share.person), &shadow)?)
            } else {
                Value::Null
            };
            open.push(json!([share.person, until, w.prepared.body, shadow]));
        }
        match &w.result {
            Some(ItemResult::Written { id, made, .. }) => {
                done.push(json!([share.id, delivery.version]));
                attempts.push(attempt("written", None));
                match way {
                    Way::Out => {
                        let wrote = merge_shadow(&keys, share, remotes.get(&share.person), w.prepared.item.fields().clone())?;
                        let sealed = keys.seal(&ctx.clock, &share.person, people::shadow_place(&share.person), &wrote)?;
                        landed.push(json!([share.person, id, made_word(*made), sealed]));
                        first.push(share);
                    }
                    Way::Back => {
                        let id = w.prepared.about.remote_id.clone().unwrap_or_default();
                        noted.push((id, w.prepared.item.fields().clone()));
                    }
                }
            }
            Some(ItemResult::Exists(id) | ItemResult::Moved(id))
                if way == Way::Out
                    && shares::owner(tx, line.name(), mapping.object(), id).await?.is_some_and(|person| person != share.person) =>
            {
                // The recipient holds two of our people as one: the record stays the first one's.
                ends.push(json!([share.id, "ended", "one_record_for_two", delivery.version]));
                attempts.push(attempt("refused", Some("one_record_for_two")));
                if !stand(share)?.status.ended() {
                    moved
                        .push((share, Stand { status: ShareStatus::Returned, reason: Some("one_record_for_two".into()), ..stand(share)? }));
                }
            }
            Some(ItemResult::Exists(id)) => {
                // Somebody there knows this person already: from now on their record, filled only where it is empty.
                settled.push(json!([share.id]));
                landed.push(json!([share.person, id, "adopted", Value::Null]));
                later.push(put_off(now, delivery.attempts, "exists"));
                attempts.push(attempt("exists", None));
            }
            Some(ItemResult::Moved(id)) => {
                if let Item::Update { id: old, .. } = &w.prepared.item {
                    shares::add_alias(tx, line.name(), mapping.object(), old, id).await?;
                }
                settled.push(json!([share.id]));
                if way == Way::Out {
                    landed.push(json!([share.person, id, "adopted", Value::Null]));
                }
                later.push(put_off(now + MINUTE, delivery.attempts, "moved"));
                attempts.push(attempt("moved", None));
            }
            Some(ItemResult::Gone)
                if way == Way::Out
                    && let Some(until) = remotes.get(&share.person).and_then(|r| r.unseen_until(now, settle_after)) =>
            {
                settled.push(json!([share.id]));
                attempts.push(attempt("unseen", None));
                later.push(put_off(until, delivery.attempts, "not_seen_yet"));
            }
            Some(ItemResult::Gone) => {
                settled.push(json!([share.id]));
                ends.push(json!([share.id, "ended", "deleted_there", delivery.version]));
                attempts.push(attempt("gone", None));
                if way == Way::Out {
                    shares::remote_gone(tx, line.name(), &json!([[share.person]])).await?;
                }
                if way == Way::Out && !stand(share)?.status.ended() {
                    moved.push((share, Stand { status: ShareStatus::Returned, reason: Some("deleted_there".into()), ..stand(share)? }));
                }
            }
            Some(ItemResult::Refused(fault)) => {
                // This try was refused; what became of an earlier one is as unknown as before.
                if still_open.is_some() {
                    doubtful.push(json!([share.id]));
                } else {
                    given_up.extend(earlier(line, w, now));
                    settled.push(json!([share.id]));
                }
                attempts.push(attempt("refused", Some(&fault.code)));
                refused(tx, ctx, line, way, share, delivery, fault, &mut later, &mut ends).await?;
                let ended = ends.last().is_some_and(|row| row[0] == share.id.as_str());
                if ended && still_open.is_some() && matches!(w.prepared.item, Item::Create { .. }) {
                    // Nothing more is tried; the try that nobody heard of may still arrive, and is looked for.
                    given_up.push(json!([share.id, started, sweep::next(line, started, now)]));
                }
            }
            Some(ItemResult::InDoubt) => {
                doubtful.push(json!([share.id]));
                attempts.push(attempt("unknown", None));
                later.push(put_off(now + ctx.retry_after(delivery.attempts), delivery.attempts + 1, "unknown_outcome"));
            }
            None => {
                if w.touched || still_open.is_some() {
                    doubtful.push(json!([share.id]));
                } else {
                    given_up.extend(earlier(line, w, now));
                    settled.push(json!([share.id]));
                }
                let (until, attempts_now, code) = match &w.stopped {
                    Stopped::Wait(until) => (*until, delivery.attempts, "waiting"),
                    Stopped::NeedsPerson => (now + 5 * MINUTE, delivery.attempts, "needs_person"),
                    Stopped::Passing(code) => (now + ctx.retry_after(delivery.attempts), delivery.attempts + 1, code.as_str()),
                    Stopped::No => (now + ctx.retry_after(delivery.attempts), delivery.attempts + 1, "not_sent"),
                };
                attempts.push(attempt("not_done", Some(code)));
                later.push(put_off(until, attempts_now, code));
            }
        }
    }
    shares::land(tx, line.name(), &Value::from(landed), now).await?;
    if !open.is_empty() {
        shares::open(tx, line.name(), &Value::from(open)).await?;
    }
    note_written(tx, line, mapping.object(), noted).await?;
    if !done.is_empty() {
        connections::end_delivery_alerts(tx, way.word(), &Value::from(done.clone()), now).await?;
        connections::end_alert(tx, line.name(), "connection.refuses_writes", now).await?;
    }
    sweeps::add(tx, line.name(), given_up).await?;
    deliveries::settled(tx, way.word(), &Value::from(settled)).await?;
    deliveries::in_doubt(tx, way.word(), &Value::from(doubtful)).await?;
    deliveries::done(tx, way.word(), lease, &Value::from(done), now).await?;
    deliveries::later(tx, way.word(), lease, &Value::from(later), now).await?;
    deliveries::end(tx, way.word(), lease, &Value::from(ends), now).await?;
    let (outcomes, attempts): (Vec<&'static str>, Vec<Value>) = attempts.into_iter().unzip();
    deliveries::add_attempts(tx, way.word(), &Value::from(attempts)).await?;
    let connector = line.connector_name();
    tx.tell(move || outcomes.into_iter().for_each(|outcome| crate::metrics::delivery(connector, way.word(), outcome)));
    first_delivered(tx, ctx, line, &first, &mut entries).await?;
    move_shares(tx, ctx, &moved, &format!("connection:{}", line.name()), &mut entries).await?;
    tell_sharers(tx, ctx, &moved.iter().map(|(s, _)| *s).collect::<Vec<_>>()).await?;
    entries.write(tx).await?;
    points::at("delivery.noted").await;
    Ok(())
}

/// This try came to nothing; where an earlier one was in doubt, that one may still arrive, and is looked for.
fn earlier(line: &Line, w: &Written, now: Millis) -> Option<Value> {
    let sent_at = w.prepared.delivery.sent_at.filter(|_| matches!(w.prepared.item, Item::Create { .. }))?;
    Some(json!([w.prepared.about.share.id, sent_at, sweep::next(line, sent_at, now)]))
}

/// Without what became of writes that are another worker's by now: the intent tells it what may have been sent.
async fn held<'a>(tx: &mut Tx, way: Way, lease: &str, written: &'a [Written]) -> Result<Vec<&'a Written>> {
    let shares = Value::from(written.iter().map(|w| json!([w.prepared.delivery.share])).collect::<Vec<_>>());
    let held: BTreeSet<String> = deliveries::still_held(tx, way.word(), lease, &shares, 0).await?.into_iter().collect();
    Ok(written.iter().filter(|w| held.contains(&w.prepared.delivery.share)).collect())
}

/// Keeps what was found of creates in doubt.
pub(super) async fn settled(ctx: &Context, line: &Line, lease: &str, written: Vec<Written>) -> Result<()> {
    let now = ctx.clock.now();
    let mut tx = ctx.db.begin().await?;
    let written = held(&mut tx, Way::Out, lease, &written).await?;
    let (mut landed, mut known, mut later, mut again) = (vec![], vec![], vec![], vec![]);
    for w in written {
        let (share, delivery) = (&w.prepared.about.share, &w.prepared.delivery);
        let until = match (&w.result, &w.stopped) {
            (Some(ItemResult::Written { id, made, .. }), _) => {
                known.push(json!([share.id]));
                landed.push(json!([share.person, id, made_word(*made), Value::Null]));
                now
            }
            // It provably did not happen, or was only an update, which may be sent again.
            (Some(ItemResult::Gone), _) => {
                known.push(json!([share.id]));
                now
            }
            (None, Stopped::No) if matches!(w.prepared.item, Item::Update { .. }) => {
                known.push(json!([share.id]));
                now
            }
            (_, Stopped::Wait(until)) => *until,
            _ => now + 30 * SECOND,
        };
        if known.last().is_some_and(|row| row[0] == share.id.as_str()) {
            again.extend(earlier(line, w, now));
        }
        later.push(json!([share.id, until, delivery.attempts, "settling", delivery.version]));
    }
    shares::land(&mut tx, line.name(), &Value::from(landed), now).await?;
    sweeps::add(&mut tx, line.name(), again).await?;
    deliveries::settled(&mut tx, "out", &Value::from(known)).await?;
    deliveries::later(&mut tx, "out", lease, &Value::from(later), now).await?;
    tx.commit().await?;
    points::at("settle.finished").await;
    Ok(())
}

/// Sets deliveries aside that broke us too often; a person is told.
pub(super) async fn set_aside(ctx: &Context, line: &Line, way: Way, lease: &str, poison: &[Delivery]) -> Result<()> {
    if poison.is_empty() {
        return Ok(());
    }
    let now = ctx.clock.now();
    let mut tx = ctx.db.begin().await?;
    let asked = Value::from(poison.iter().map(|d| json!([d.share])).collect::<Vec<_>>());
    if deliveries::still_held(&mut tx, way.word(), lease, &asked, now).await?.len() != poison.len() {
        return Ok(());
    }
    // A create of unknown outcome may have arrived all the same: it is looked for.
    let doubtful = poison.iter().filter(|d| d.creates).filter_map(|d| Some((d, d.sent_at?)));
    sweeps::add(&mut tx, line.name(), doubtful.map(|(d, at)| json!([d.share, at, sweep::next(line, at, now)])).collect()).await?;
    let rows = Value::from(poison.iter().map(|d| json!([d.share, "failed", "claimed_too_often", d.version])).collect::<Vec<_>>());
    deliveries::end(&mut tx, way.word(), lease, &rows, now).await?;
    for delivery in poison {
        let subject = format!("share:{}", delivery.share);
        let message = "this delivery stopped the daemon several times and was set aside: look at it with `leadshare lead show`, then `leadshare jobs retry`";
        connections::raise_alert(&mut tx, &ctx.clock.id(), &subject, &format!("delivery.set_aside.{}", way.word()), message, now).await?;
    }
    tx.commit().await
}

/// Marks shares as delivered whose first version has just arrived.
pub(super) async fn first_delivered(tx: &mut Tx, ctx: &Context, line: &Line, arrived: &[&Share], entries: &mut Entries) -> Result<()> {
    let mut moved = Vec::new();
    for share in arrived {
        let from = stand(share)?;
        if from.status < ShareStatus::Delivered {
            let (connector, took) = (line.connector_name(), ctx.clock.now() - share.created_at);
            tx.tell(move || crate::metrics::delivered_after(connector, took));
            moved.push((*share, Stand { status: ShareStatus::Delivered, ..from }));
        }
    }
    move_shares(tx, ctx, &moved, &format!("connection:{}", line.name()), entries).await?;
    tell_sharers(tx, ctx, &moved.iter().map(|(s, _)| *s).collect::<Vec<_>>()).await
}

#[expect(clippy::too_many_arguments, reason = "a branch of one match, moved out to be read")]
async fn refused(
    tx: &mut Tx,
    ctx: &Context,
    line: &Line,
    way: Way,
    share: &Share,
    delivery: &Delivery,
    fault: &ItemFault,
    later: &mut Vec<Value>,
    ends: &mut Vec<Value>,
) -> Result<()> {
    let now = ctx.clock.now();
    let code: String = fault.code.chars().take(80).collect();
    if fault.passing && fault.code.eq_ignore_ascii_case("not_sent") {
        // It never left: waiting is not failing.
        later.push(json!([share.id, now + SECOND, delivery.attempts, code, delivery.version]));
        return Ok(());
    }
    if fault.passing && delivery.attempts < ctx.max_attempts() {
        later.push(json!([share.id, now + ctx.retry_after(delivery.attempts), delivery.attempts + 1, code, delivery.version]));
        return Ok(());
    }
    let fields = if fault.fields.is_empty() { String::new() } else { format!(" (fields: {})", fault.fields.join(", ")) };
    if fault.config {
        later.push(json!([share.id, now + 10 * MINUTE, delivery.attempts, code, delivery.version]));
        let message = format!(
            "{} refuses writes with {code}{fields}: its set-up must change; deliveries wait and lose nothing",
            line.manifest().title
        );
        return connections::raise_alert(tx, &ctx.clock.id(), line.name(), "connection.refuses_writes", &message, now).await;
    }
    ends.push(json!([share.id, "failed", code, delivery.version]));
    let message = format!(
        "{} refuses this record with {code}{fields}: mend the mapping or the record, then `leadshare jobs retry`",
        line.manifest().title
    );
    connections::raise_alert(
        tx,
        &ctx.clock.id(),
        &format!("share:{}", share.id),
        &format!("delivery.refused.{}", way.word()),
        &message,
        now,
    )
    .await
}

/// What stands in a shadow for a value that nobody knows: like nothing that a mapping writes.
fn unknown() -> Value {
    Value::Array(Vec::new())
}

/// What we have written into a record so far, with what was written now.
fn merge_shadow(keys: &Keys, share: &Share, before: Option<&RemotePerson>, wrote: Fields) -> Result<Fields> {
    let mut shadow: Fields = match before.and_then(|r| r.shadow.as_deref()) {
        Some(sealed) => keys.open(&share.person, people::shadow_place(&share.person), sealed)?.unwrap_or_default(),
        None => Fields::new(),
    };
    shadow.extend(wrote);
    Ok(shadow)
}

/// Notes what we wrote into sharers' records: share news only, nothing of a person.
async fn note_written(tx: &mut Tx, line: &Line, object: &str, wrote: Vec<(String, Fields)>) -> Result<()> {
    if wrote.is_empty() {
        return Ok(());
    }
    let ids = Value::from(wrote.iter().map(|(id, _)| json!([id])).collect::<Vec<_>>());
    let known: BTreeMap<String, Option<String>> =
        leads::records(tx, line.name(), object, &ids).await?.into_iter().map(|record| (record.0, record.5)).collect();
    let mut rows = Vec::new();
    for (id, fields) in wrote {
        let before = known.get(&id).and_then(Option::as_deref);
        let mut written: Fields = before.and_then(|text| serde_json::from_str(text).ok()).unwrap_or_default();
        written.extend(fields);
        rows.push(json!([id, serde_json::to_string(&written).unwrap_or_default()]));
    }
    leads::save_written(tx, line.name(), object, &Value::from(rows)).await
}

pub(super) fn made_word(made: Made) -> &'static str {
    match made {
        Made::Created => "created",
        Made::Adopted => "adopted",
        Made::Unknown => "unknown",
    }
}
