//! The way of one lead: read this first. It is the only file that calls the stages in order.
//!
//! ```text
//! webhook ─┐                                ┌─ a source's record ── map ── decide ── keep ─┐
//!          ├─ hint ── read from the vendor ─┤                                               ├─ shares, deliveries
//! poll ────┘                                └─ our record there ── follow ──────── keep ───┘
//!
//! delivery out:  claim ── gates again, intent ── send ── finish     (to the recipient)
//! delivery back: claim ── what changed, intent ── send ── finish    (news to the sharer)
//! ```
//!
//! Every step ends in one transaction, and none is open while a vendor is being called. A crash
//! between two steps repeats the first; what was sent is found again by its intent and its marker.

use serde_json::{Value, json};

use crate::context::Context;
use crate::delivery::{self, Way};
use crate::errors::{Error, Result};
use crate::follow;
use crate::http::line::Line;
use crate::intake;
use crate::ledger::{Body, Entry, Stream};
use crate::mapping::Mapping;
use crate::model::ChangeOutcome;
use crate::model::decision::Decision;
use crate::rules::Rules;
use crate::store::dirty::{self, Dirty};
use crate::store::{Tx, connections, leads, shares};

/// Which work goes first. The number is stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lane {
    /// Withdrawals, erasures, recalls.
    Protect = 0,
    /// New leads.
    NewLeads = 1,
    /// Updates and news.
    Status = 2,
    /// Reading what was there before.
    Backfill = 3,
}

/// One turn of a connection: everything that is due, once. Answers whether anything was done.
///
/// # Errors
/// The store's. Trouble at the vendor becomes waiting, retries and alerts.
pub async fn turn(ctx: &Context, line: &Line) -> Result<bool> {
    let rules = ctx.rules();
    if stopped(ctx, line).await? {
        return Ok(false);
    }
    let mut worked = false;
    for mapping in rules.of(line.name()) {
        let from = connections::one(&ctx.db, line.name()).await?.and_then(|c| c.share_from).unwrap_or_else(|| ctx.clock.now());
        worked |= intake::poll::poll(ctx, line, mapping.object(), mapping.selection(), from).await?;
        worked |= take_in(ctx, &rules, line, mapping).await?;
    }
    if line.role().receives() {
        worked |= delivery::deliver(ctx, &rules, line, Way::Out).await?;
    }
    if line.role().shares() {
        worked |= delivery::deliver(ctx, &rules, line, Way::Back).await?;
    }
    Ok(worked)
}

/// Whether a connection does nothing for now: all is stopped, it is not connected, or it is paused.
async fn stopped(ctx: &Context, line: &Line) -> Result<bool> {
    if connections::setting(&ctx.db, "stopped").await?.is_some() {
        return Ok(true);
    }
    let state = connections::one(&ctx.db, line.name()).await?.map(|c| c.state);
    Ok(state.as_deref() != Some("connected"))
}

/// Reads what hints point at, decides, and keeps the outcome of every change.
async fn take_in(ctx: &Context, rules: &Rules, line: &Line, mapping: &Mapping) -> Result<bool> {
    let Some(batch) = intake::read::read(ctx, line, mapping).await? else { return Ok(false) };
    match keep(ctx, rules, line, mapping, &batch).await {
        Ok(()) => Ok(true),
        // Somebody else was faster, or took the work over: nothing was kept, the hints are still there.
        Err(Error::Passing { code, .. }) => {
            tracing::debug!(connection = line.name(), code, "decided again");
            let hints: Vec<&Dirty> = batch.source.iter().map(|(d, _)| d).chain(batch.ours.iter().map(|(d, ..)| d)).collect();
            dirty::snooze(&ctx.db, line.name(), mapping.object(), &batch.lease, &hints, ctx.clock.now(), false).await?;
            Ok(true)
        }
        Err(error) => Err(error),
    }
}

async fn keep(ctx: &Context, rules: &Rules, line: &Line, mapping: &Mapping, batch: &intake::read::Batch) -> Result<()> {
    let now = ctx.clock.now();
    let mut entries = Entries::default();
    let mut tx = ctx.db.begin().await?;
    let mut changes = intake::keep::keep(&mut tx, ctx, rules, line, mapping, &batch.source, &mut entries).await?;
    changes.extend(follow::keep::keep(&mut tx, ctx, line, mapping, &batch.ours, &mut entries).await?);
    changes.extend(batch.untracked.iter().map(|(hint, reason)| Change::new(hint, ChangeOutcome::Untracked, *reason, None)));
    for hint in &batch.poison {
        changes.push(Change::new(hint, ChangeOutcome::Quarantined, "claimed_too_often", None));
        let message = format!(
            "a record of {} could not be taken in {} times and was set aside: see `leadshare lead show`",
            line.name(),
            intake::read::MAX_CLAIMS
        );
        connections::raise_alert(&mut tx, &ctx.clock.id(), line.name(), "intake.set_aside", &message, now).await?;
    }
    let finished: Vec<&Dirty> = changes.iter().map(|c| &c.hint).collect();
    dirty::finish(&mut tx, line.name(), mapping.object(), &batch.lease, &finished, now).await?;
    let rows = Value::from(changes.iter().map(|c| c.row(ctx)).collect::<Vec<_>>());
    leads::save_changes(&mut tx, line.name(), mapping.object(), &rows, now).await?;
    entries.write(&mut tx, ctx).await?;
    tx.commit().await?;
    for change in &changes {
        crate::metrics::change(line.connector_name(), change.outcome);
    }
    Ok(())
}

/// One change and how it ended. A change ends in exactly one outcome.
#[derive(Debug)]
pub struct Change {
    /// The hint that it answers.
    pub hint: Dirty,
    /// How it ended.
    pub outcome: ChangeOutcome,
    /// Why, in a code or in words without personal data.
    pub reason: String,
    /// The lead.
    pub lead: Option<String>,
    /// The decision.
    pub decision: Option<String>,
    id: std::cell::OnceCell<String>,
}

impl Change {
    /// A change that ended.
    pub fn new(hint: &Dirty, outcome: ChangeOutcome, reason: impl Into<String>, lead: Option<String>) -> Self {
        Self { hint: hint.clone(), outcome, reason: reason.into(), lead, decision: None, id: std::cell::OnceCell::new() }
    }

    /// Its id, made when first asked for.
    pub fn id_or(&self, ctx: &Context) -> &str {
        self.id.get_or_init(|| ctx.clock.id())
    }

    fn row(&self, ctx: &Context) -> Value {
        // Ids of records that are not ours are not kept.
        let remote = if self.outcome == ChangeOutcome::Untracked { "" } else { &self.hint.remote_id };
        json!([self.id_or(ctx), remote, self.hint.hints, self.hint.raised_at, self.outcome.word(), self.reason, self.lead, self.decision])
    }
}

/// Ledger entries of one transaction.
#[derive(Default)]
pub struct Entries(Vec<(Stream, &'static str, Body)>);

impl Entries {
    /// An entry in an agreement's stream.
    pub fn agreement(&mut self, agreement: &str, kind: &'static str, body: Body) -> Result<()> {
        self.0.push((Stream::Agreement(agreement.to_owned()), kind, body));
        Ok(())
    }

    /// What was decided, one entry per candidate in that candidate's stream.
    pub fn decided(&mut self, ctx: &Context, decision: &Decision, id: &str, lead: &str) -> Result<()> {
        let _ = ctx;
        for verdict in &decision.verdicts {
            let mut body = Body::new()
                .id("decision", id)
                .id("lead", lead)
                .code("outcome", &verdict.outcome.change().word())
                .version("agreement_version", &verdict.version);
            if let Some(gate) = verdict.first_failure() {
                body = body.code("gate", gate.gate.word()).code("finding", &gate.code);
            }
            self.agreement(&verdict.agreement, "lead.decided", body)?;
        }
        Ok(())
    }

    /// Writes the entries with the work that they record.
    pub async fn write(self, tx: &mut Tx, ctx: &Context) -> Result<()> {
        let now = ctx.clock.now();
        let mut rows = Vec::new();
        for (stream, kind, body) in self.0 {
            let entry = Entry::new(&ctx.clock.id(), &stream, now, kind, body)?;
            rows.push(json!([entry.id, entry.stream, entry.kind, entry.text]));
        }
        shares::ledger_add(tx, &Value::from(rows), now).await
    }
}

/// A connection needs a person: it is said once, and stays said until it is mended.
///
/// # Errors
/// The store's.
pub async fn needs_person(ctx: &Context, line: &Line, code: &str, message: &str) -> Result<()> {
    let mut tx = ctx.db.begin().await?;
    let code: String = code.chars().take(80).collect();
    connections::raise_alert(&mut tx, &ctx.clock.id(), line.name(), &code, message, ctx.clock.now()).await?;
    tx.commit().await?;
    tracing::error!(connection = line.name(), code, "the connection needs a person");
    Ok(())
}
