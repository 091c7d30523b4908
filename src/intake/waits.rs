//! Records that were refused or held for what passes are looked at again when it has passed: a hint is raised for each, and
//! deciding again goes the usual way.
//!
//! What has passed is asked of the rules and counts as they stand at each turn, so that no event has to be heard of. Those that
//! wait longest go first, no more of them than there is room for, a batch at a time and only while nothing else is due. One
//! that comes out as before changes nothing and leaves no trace.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};

use crate::change::Change;
use crate::clock::{HOUR, Millis};
use crate::context::Context;
use crate::decide::{self, Inputs};
use crate::errors::{Error, Result};
use crate::http::line::Line;
use crate::mapping::Mapping;
use crate::model::decision::{Decision, Verdict, VerdictOutcome};
use crate::model::wait::LONGEST;
use crate::model::{ChangeOutcome, Wait, Waiting};
use crate::rules::Rules;
use crate::standing::Stands;
use crate::store::dirty::{self, Raise};
use crate::store::{Db, Tx, leads, waits as store};

/// How long one rests that was looked at in vain: somebody else may have been faster.
const PAUSE: Millis = HOUR;

/// Raises hints for records whose wait has passed. Answers whether there were any.
///
/// # Errors
/// The store's.
pub async fn raise(ctx: &Context, rules: &Rules, line: &Line, mapping: &Mapping) -> Result<bool> {
    let (name, object) = (line.name(), mapping.object());
    let words = store::words(&ctx.db, name, object).await?;
    if words.is_empty() {
        return Ok(false);
    }
    let now = ctx.clock.now();
    let mut partners: BTreeSet<&str> = rules.program.recipients_of(line.partner()).collect();
    partners.insert(line.partner());
    let mut look = ctx.db.reading().await?;
    let stands = Stands::load(&mut look, ctx, &[], &[], &partners).await?;
    look.commit().await?;
    let mut left = line.manifest().read.batch;
    let (mut ids, mut rows) = (BTreeSet::new(), Vec::new());
    for what in words {
        let may = Wait::parse(&what).map_or(0, |wait| passed(&wait, ctx, rules, line, mapping, &stands)).min(left);
        if may == 0 {
            continue;
        }
        let oldest = store::oldest(&ctx.db, name, object, &what, now - LONGEST, now, may).await?;
        left -= oldest.len();
        rows.extend(oldest.iter().map(|id| json!([id, what])));
        ids.extend(oldest);
    }
    if ids.is_empty() || dirty::busy(&ctx.db, name, object, now).await? {
        return Ok(false);
    }
    let hints: Vec<Raise> =
        ids.into_iter().map(|remote_id| Raise { object: object.to_owned(), remote_id, kind: "look", detail: None }).collect();
    let mut tx = ctx.db.begin().await?;
    store::look(&mut tx, name, object, &Value::from(rows)).await?;
    dirty::raise(&mut tx, name, &hints, now).await?;
    tx.commit().await?;
    Ok(true)
}

/// For how many of those that wait for it something has passed.
fn passed(wait: &Wait, ctx: &Context, rules: &Rules, line: &Line, mapping: &Mapping, stands: &Stands) -> usize {
    let program = &rules.program;
    let has = match wait {
        Wait::Room(_, agreement) => {
            let Some(entry) = program.agreements.get(agreement) else { return usize::MAX };
            let (all, under) = stands.loads(entry.recipient(), agreement);
            return decide::room(program, agreement, all, under);
        }
        Wait::InForce(agreement) => program.agreements.get(agreement).is_none_or(|entry| entry.in_force(ctx.clock.now()).is_ok()),
        Wait::Agreement(None) => program.from_source(line.partner()).next().is_some(),
        Wait::Agreement(Some(partner)) => program.recipients_of(line.partner()).any(|recipient| recipient == partner),
        Wait::Pause(partner) => !stands.paused(partner),
        Wait::Receiver(partner) => rules.receiving(&ctx.lines, partner).is_some(),
        Wait::Observing => !line.observe(),
        Wait::Mapping(hash) => mapping.hash() != hash,
        Wait::Edit(agreement, version) => program.agreements.get(agreement).is_none_or(|entry| entry.version != *version),
    };
    if has { usize::MAX } else { 0 }
}

/// What a lead waits for after this decision.
pub(super) fn after(ctx: &Context, rules: &Rules, line: &Line, inputs: &Inputs<'_>, decision: &Decision) -> BTreeSet<Wait> {
    if line.observe() && decision.outcome == ChangeOutcome::Shared {
        return BTreeSet::from([Wait::Observing]);
    }
    let mut waits = decide::waits(inputs, &decision.verdicts);
    let nowhere = |v: &&Verdict| v.outcome == VerdictOutcome::Shared && rules.receiving(&ctx.lines, &v.recipient).is_none();
    waits.extend(decision.verdicts.iter().filter(nowhere).map(|v| Wait::Receiver(v.recipient.clone())));
    waits
}

/// What each record of a batch waited for when it was read.
pub(super) async fn of(ctx: &Context, line: &Line, mapping: &Mapping, ids: &Value) -> Result<BTreeMap<String, Waited>> {
    let mut found = BTreeMap::<String, Waited>::new();
    for (record, what, since, look_at) in store::of(&ctx.db, line.name(), mapping.object(), ids).await? {
        found.entry(record).or_default().0.extend(Waiting::read(&what, since, look_at));
    }
    Ok(found)
}

/// What one record waited for.
#[derive(Default)]
pub(super) struct Waited(Vec<Waiting>);

impl Waited {
    /// Whether it is to be decided about though it may not have changed.
    pub fn looked_at(&self) -> bool {
        self.0.iter().any(|waiting| waiting.look_at.is_none())
    }
}

/// What records of a batch wait for from now on, as it is to be written.
#[derive(Default)]
pub(super) struct Renewed {
    ended: Vec<Value>,
    added: Vec<Value>,
}

impl Renewed {
    /// A record waits for this now. One that was read for itself begins to wait; one that has not changed goes on waiting.
    pub fn add(&mut self, record: &str, before: &Waited, same: bool, waits: BTreeSet<Wait>, now: Millis) {
        let before = &before.0;
        if !before.is_empty() {
            self.ended.push(json!([record]));
        }
        let began = before.iter().filter(|_| same).map(|waiting| waiting.since).min().unwrap_or(now);
        for what in waits {
            let known = before.iter().find(|waiting| same && waiting.what == what);
            let since = known.map_or(began, |waiting| waiting.since);
            let look_at = known.map_or(now, |waiting| waiting.look_at.unwrap_or(now + PAUSE));
            self.added.push(json!([record, what.word(), since, look_at]));
        }
    }

    /// Keeps it.
    pub async fn keep(self, tx: &mut Tx, line: &Line, mapping: &Mapping) -> Result<()> {
        store::renew(tx, line.name(), mapping.object(), &Value::from(self.ended), &Value::from(self.added)).await
    }
}

/// What was last decided about leads, by lead.
pub(super) async fn decided(db: &Db, leads: impl Iterator<Item = &str>) -> Result<BTreeMap<String, Decision>> {
    let ids = Value::from(leads.map(|id| json!([id])).collect::<Vec<_>>());
    let rows = leads::last_decisions(db, &ids).await?.into_iter();
    rows.map(|(lead, body)| {
        let decision = serde_json::from_str(&body).map_err(|_| Error::Unreadable { what: "a decision".into() })?;
        Ok((lead, decision))
    })
    .collect()
}

/// Quiets the changes of records that only we wanted looked at, and that ended as they had ended before.
pub(super) async fn quiet(tx: &mut Tx, line: &Line, mapping: &Mapping, changes: &mut [Change]) -> Result<()> {
    let looks = changes.iter().filter(|change| change.hint.kind == "look").map(|change| json!([change.hint.remote_id]));
    let ended = leads::last_ends(tx, line.name(), mapping.object(), &Value::from(looks.collect::<Vec<_>>())).await?;
    for (record, outcome, reason) in ended {
        let same = |change: &&mut Change| {
            change.hint.kind == "look" && change.hint.remote_id == record && change.outcome.word() == outcome && change.reason == reason
        };
        changes.iter_mut().filter(same).for_each(|change| change.quiet = true);
    }
    Ok(())
}
