//! The way of one lead: read this first. It is the only file that calls the stages in order.
//!
//! ```text
//! webhook ─┐                                ┌─ a source's record ── map ── decide ── keep ─┐
//!          ├─ hint ── read from the vendor ─┤                                               ├─ shares, deliveries
//! poll ────┤                                └─ our record there ── follow ──────── keep ───┘
//! wait ────┘
//!
//! delivery out:  claim ── gates again, intent ── send ── finish     (to the recipient; of what was decided a moment ago the
//!                claim commits the intent, after seeing that nothing has changed)
//! delivery back: claim ── what changed, intent ── send ── finish    (news to the sharer)
//! ```
//!
//! Every step ends in one transaction, and none is open while a vendor is being called. A crash
//! between two steps repeats the first; what was sent is found again by its intent and its marker.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use tokio::task::JoinSet;

use crate::change::Change;
use crate::clock::Millis;
use crate::context::Context;
use crate::delivery::{self, Way};
use crate::entries::Entries;
use crate::errors::{Error, Result};
use crate::follow;
use crate::http::line::Line;
use crate::intake;
use crate::intake::judge::Judged;
use crate::intake::read::{BATCHES, IN_A_ROW};
use crate::mapping::Mapping;
use crate::model::ChangeOutcome;
use crate::points;
use crate::rules::Rules;
use crate::store::connections::{self, Connection};
use crate::store::dirty::{self, Dirty};
use crate::store::due::{self, Due};
use crate::store::{Db, Rows, Tx, claims, inbox, leads, loads};

/// One turn of a connection: everything that is due, once. Answers whether anything was done.
///
/// # Errors
/// The store's. Trouble at the vendor becomes waiting, retries and alerts.
pub async fn turn(ctx: &Arc<Context>, line: &Arc<Line>) -> Result<bool> {
    let rules = ctx.rules();
    inbox::take_in(&ctx.db).await?;
    let Some((stored, mut due)) = working(ctx, line).await? else { return Ok(false) };
    let mut worked = false;
    for mapping in rules.of(line.name()) {
        worked |= intake::poll::poll(ctx, line, &stored, mapping.object(), mapping.selection()).await?;
    }
    due.hints |= worked;
    let braked = (due.hints || due.waits) && braked(ctx, line).await?;
    if due.waits && line.role().shares() && !braked {
        let mut raised = false;
        for mapping in rules.of(line.name()) {
            raised |= intake::waits::raise(ctx, &rules, line, mapping).await?;
        }
        due.hints |= raised;
        worked |= raised;
    }
    if due.hints {
        for nth in 0..rules.of(line.name()).len() {
            worked |= take_in_together(ctx, &rules, line, nth, braked).await?;
        }
    }
    if due.out && line.role().receives() {
        worked |= delivery::deliver(ctx, &rules, line, Way::Out).await?;
    }
    if due.sweeps && line.role().receives() {
        worked |= delivery::sweep(ctx, &rules, line).await?;
    }
    if due.back && line.role().shares() {
        worked |= delivery::deliver(ctx, &rules, line, Way::Back).await?;
    }
    Ok(worked)
}

/// A connection as stored with what is due, unless it does nothing for now: all is stopped, it is not connected, or it is paused.
async fn working(ctx: &Context, line: &Line) -> Result<Option<(Connection, Due)>> {
    if ctx.low_disk.load(Ordering::Relaxed) {
        return Ok(None);
    }
    let found = due::at_work(&ctx.db, line.name(), ctx.clock.now()).await?;
    if let Some((stored, _)) = &found {
        line.learn(stored);
    }
    Ok(found)
}

/// Stops a connection that shares far more than people can have asked for. What was shared goes on, and ends where somebody
/// opts out; other hints wait until somebody has looked and says `leadshare resume CONNECTION`.
async fn braked(ctx: &Context, line: &Line) -> Result<bool> {
    if !line.role().shares() {
        return Ok(false);
    }
    let tripped = tripped(line.name());
    if connections::setting(&ctx.db, &tripped).await?.is_some() {
        return Ok(true);
    }
    let shared = loads::shared_within_the_hour(&ctx.db, line.partner(), ctx.clock.now()).await?;
    let most = i64::from(line.brake_per_hour());
    if shared >= most {
        let message = format!(
            "{shared} leads were newly shared within an hour, and at most {most} may be: look whether that is meant, then `leadshare resume {}`",
            line.name()
        );
        connections::set_setting(&ctx.db, &tripped, "until `leadshare resume`").await?;
        ctx.needs_person(line, "connection.braked", &message).await?;
    }
    Ok(shared >= most)
}

/// The setting that holds a connection's brake.
fn tripped(connection: &str) -> String {
    format!("braked {connection}")
}

/// Lets a connection go on that the brake stopped: its hour begins anew, and what waited is due.
///
/// # Errors
/// The store's.
pub async fn release(db: &Db, connection: &str, now: Millis) -> Result<()> {
    connections::drop_setting(db, &tripped(connection)).await?;
    let mut tx = db.begin().await?;
    loads::count_anew(&mut tx, connection).await?;
    dirty::hasten(&mut tx, connection, now).await?;
    connections::end_alert(&mut tx, connection, "connection.braked", now).await?;
    tx.commit().await
}

/// Takes in what is due of one object, several batches at a time: each is a task, for deciding about one keeps a processor busy.
async fn take_in_together(ctx: &Arc<Context>, rules: &Arc<Rules>, line: &Arc<Line>, nth: usize, braked: bool) -> Result<bool> {
    let one = || {
        let (ctx, rules, line) = (ctx.clone(), rules.clone(), line.clone());
        async move {
            let Some(mapping) = rules.of(line.name()).get(nth) else { return Ok(false) };
            take_in(&ctx, &rules, &line, mapping, braked).await
        }
    };
    let mut worked = false;
    if ctx.transport.is_carried() {
        for _ in 0..BATCHES {
            worked |= one().await?;
        }
        return Ok(worked);
    }
    // Dropped with the turn, they end with it. One that fails lets the others come to their end.
    let mut tasks: JoinSet<Result<bool>> = (0..BATCHES).map(|_| one()).collect();
    let mut failed = None;
    while let Some(ended) = tasks.join_next().await {
        // What a panic says may quote a person's data.
        match ended.unwrap_or_else(|_| Err(Error::System("a batch broke off".into()))) {
            Ok(some) => worked |= some,
            Err(error) => failed = Some(error),
        }
    }
    failed.map_or(Ok(worked), Err)
}

/// Takes in what is due, batch after batch as long as they are full, and no more of them than others can wait for.
async fn take_in(ctx: &Context, rules: &Rules, line: &Line, mapping: &Mapping, mut braked: bool) -> Result<bool> {
    for taken in 0..IN_A_ROW {
        let Some(batch) = intake::read::read(ctx, line, mapping, braked).await? else { return Ok(taken > 0) };
        take_in_batch(ctx, rules, line, mapping, &batch).await?;
        // These may have been too many.
        braked = self::braked(ctx, line).await?;
        if !batch.full {
            break;
        }
    }
    Ok(true)
}

/// Decides about what was read, and keeps the outcome of every change.
async fn take_in_batch(ctx: &Context, rules: &Rules, line: &Line, mapping: &Mapping, batch: &intake::read::Batch) -> Result<()> {
    match keep(ctx, rules, line, mapping, batch).await {
        // Somebody else was faster, or took the work over: nothing was kept, the hints are still there. That is not failing:
        // whoever was faster has come to an end.
        Err(Error::Passing { code, .. }) => {
            tracing::debug!(connection = line.name(), code, "decided again");
            let hints: Vec<&Dirty> = batch.source.iter().map(|(d, _)| d).chain(batch.ours.iter().map(|(d, ..)| d)).collect();
            dirty::snooze(&ctx.db, line.name(), mapping.object(), &batch.lease, &hints, ctx.clock.now(), true).await
        }
        kept => kept,
    }
}

async fn keep(ctx: &Context, rules: &Rules, line: &Line, mapping: &Mapping, batch: &intake::read::Batch) -> Result<()> {
    let _held = ctx.deciding.acquire().await.map_err(|_| Error::System("the daemon ends".into()))?;
    let mut tries = ctx.db.tries();
    let changes = loop {
        let mut ahead = tries.ahead();
        let judged = judge(ctx, rules, line, mapping, batch, ahead.as_mut()).await;
        let mut tx = match ahead {
            Some(tx) => tx,
            None => ctx.db.begin().await?,
        };
        let done = match judged {
            Ok(judged) => keep_judged(&mut tx, ctx, rules, line, mapping, batch, judged).await,
            Err(error) => Err(error),
        };
        if let Some(changes) = tries.end(tx, done).await? {
            break changes;
        }
    };
    points::at("changes.kept").await;
    for change in &changes {
        crate::metrics::change(line.connector_name(), change.outcome);
    }
    Ok(())
}

/// Maps a batch and decides about it. What that stands on is read with `ahead` where there is one.
async fn judge<'a>(
    ctx: &Context,
    rules: &Rules,
    line: &Line,
    mapping: &Mapping,
    batch: &'a intake::read::Batch,
    ahead: Option<&mut Tx>,
) -> Result<Judged<'a>> {
    let sorted = intake::keep::sort(ctx, line, mapping, batch).await?;
    intake::judge::judge(ctx, rules, line, mapping, sorted, ahead).await
}

/// The transaction of [`keep`].
async fn keep_judged(
    tx: &mut Tx,
    ctx: &Context,
    rules: &Rules,
    line: &Line,
    mapping: &Mapping,
    batch: &intake::read::Batch,
    judged: Judged<'_>,
) -> Result<Vec<Change>> {
    let now = ctx.clock.now();
    let mut entries = Entries::new(ctx);
    let mut changes = intake::keep::keep(tx, ctx, rules, line, mapping, judged, &mut entries).await?;
    let mut stopped = intake::noes::of_received(tx, ctx, rules, line, mapping, &batch.ours, &mut entries).await?;
    changes.extend(follow::keep::keep(tx, ctx, line, mapping, &batch.ours, &mut entries).await?);
    for change in &mut changes {
        if let Some((outcome, reason)) = stopped.remove(&change.hint.remote_id) {
            (change.outcome, change.reason) = (outcome, reason);
        }
    }
    changes.extend(batch.untracked.iter().map(|(hint, reason)| Change::new(hint, ChangeOutcome::Untracked, *reason, None)));
    for hint in &batch.poison {
        changes.push(Change::new(hint, ChangeOutcome::Quarantined, "claimed_too_often", None));
        let message = format!(
            "a record of {} could not be taken in {} times and was set aside: see `leadshare lead show`",
            line.name(),
            claims::MAX_CLAIMS
        );
        connections::raise_alert(tx, &ctx.clock.id(), line.name(), "intake.set_aside", &message, now).await?;
    }
    points::at("changes.decided").await;
    let finished: Vec<&Dirty> = changes.iter().map(|c| &c.hint).collect();
    dirty::finish(tx, line.name(), mapping.object(), &batch.lease, &finished, now).await?;
    changes.retain(|change| !change.quiet);
    let mut rows = Rows::default();
    for change in &changes {
        rows.push(change.row(ctx))?;
    }
    leads::save_changes(tx, line.name(), mapping.object(), rows, now).await?;
    entries.write(tx).await?;
    points::at("changes.written").await;
    Ok(changes)
}
