//! Reads the records that hints point at, from the vendor, without any transaction open.

use std::collections::BTreeMap;

use leadshare_connectors::sdk::record::is_beside_record;
use leadshare_connectors::sdk::{Op, Output, Record, State};
use serde_json::{Value, json};

use crate::clock::{MINUTE, Millis, SECOND};
use crate::context::Context;
use crate::errors::Result;
use crate::http::Terms;
use crate::http::limit::LONG;
use crate::http::line::Line;
use crate::http::talk::{Ended, NoSink, drive};
use crate::mapping::Mapping;
use crate::points;
use crate::store::claims;
use crate::store::dirty::{self, Dirty};
use crate::store::shares::{self, RemotePerson};
use crate::store::{connections, deliveries, leads};

/// How long a claim lasts; a worker that died leaves its hints to others after that.
const LEASE: Millis = 2 * MINUTE;

/// Requests of one batch that are under way at the same time: they share the transaction that keeps their records.
const AT_ONCE: usize = 2;

/// Batches of hints that a turn works on at the same time: while one waits for its vendor or the store, another is decided about.
pub const BATCHES: usize = 2;
/// Full batches that a turn takes in one after the other, before it looks at what else is due on its connection.
pub const IN_A_ROW: usize = 4;

/// What a batch of hints turned out to be about.
#[derive(Default)]
pub struct Batch {
    /// The lease that the hints are held under.
    pub lease: String,
    /// Records of a source, read.
    pub source: Vec<(Dirty, Record)>,
    /// Records that are ours at a recipient, read and followed.
    pub ours: Vec<(Dirty, RemotePerson, Record)>,
    /// Hints about records that are not read, with the reason.
    pub untracked: Vec<(Dirty, &'static str)>,
    /// Hints that broke us too often.
    pub poison: Vec<Dirty>,
    /// From when on the connection shares.
    pub share_from: Option<Millis>,
    /// Whether it is as large as one may be: more may be due.
    pub full: bool,
}

/// Most hints of one object that a turn takes in.
pub fn in_a_turn(line: &Line) -> usize {
    line.manifest().read.batch * AT_ONCE * BATCHES * IN_A_ROW
}

/// Most hints of one request, and of one batch. Where each record may take a request of its own besides, a small budget is not asked for more
/// than it gives while the hints are claimed.
fn sizes(line: &Line, fields: &[String]) -> (usize, usize) {
    let read = &line.manifest().read;
    let most = read.batch.max(1);
    let beside = fields.iter().any(|name| is_beside_record(name));
    match line.limits().give(&read.beside, LONG) {
        given if beside && given / BATCHES < most => ((given / BATCHES).max(1), (given / BATCHES).max(1)),
        _ => (most, most * AT_ONCE),
    }
}

/// How long a hint waits that the volume brake holds, unless somebody lets it go.
const BRAKED: Millis = 10 * MINUTE;

/// Claims due hints of one object and reads what they point at. `None` when nothing is due, or the
/// vendor cannot be read now (the hints are then put off). With `braked` only what is shared already is read: there an
/// opt-out takes effect, and nothing is newly shared.
///
/// # Errors
/// The store's.
pub async fn read(ctx: &Context, line: &Line, mapping: &Mapping, braked: bool) -> Result<Option<Batch>> {
    let now = ctx.clock.now();
    let lease = ctx.clock.id();
    let object = mapping.object();
    let mut fields = mapping.read_fields();
    // To recognise our own writes.
    fields.extend(mapping.news_fields());
    fields.push(mapping.marker_field(line.manifest()).to_owned());
    let (size, limit) = sizes(line, &fields);
    let claimed = dirty::claim(&ctx.db, line.name(), object, &lease, now, now + LEASE, limit).await?;
    if claimed.is_empty() {
        return Ok(None);
    }
    points::at("hints.claimed").await;
    let full = claimed.len() == limit;
    let (claimed, rest) = claims::alone(claimed, |d| d.claims);
    dirty::snooze(&ctx.db, line.name(), object, &lease, &rest.iter().collect::<Vec<_>>(), now, true).await?;
    let share_from = connections::one(&ctx.db, line.name()).await?.and_then(|c| c.share_from);
    let mut batch = Batch { lease: lease.clone(), share_from, full, ..Batch::default() };
    let ids = Value::from(claimed.iter().map(|d| json!([d.remote_id])).collect::<Vec<_>>());
    let mut ours: BTreeMap<String, RemotePerson> = shares::remote_by_id(&ctx.db, line.name(), object, &ids)
        .await?
        .into_iter()
        .filter_map(|r| Some((r.remote_id.clone()?, r)))
        .collect();

    let (mut follow, mut others) = (Vec::new(), Vec::new());
    for hint in claimed {
        if hint.claims > claims::MAX_CLAIMS {
            batch.poison.push(hint);
        } else if let Some(person) = ours.remove(&hint.remote_id) {
            follow.push((hint, person));
        } else {
            others.push(hint);
        }
    }
    if braked {
        let shared = leads::shared(&ctx.db, line.name(), object, &ids).await?;
        let (go_on, wait): (Vec<Dirty>, Vec<Dirty>) = others.into_iter().partition(|d| shared.contains(&d.remote_id));
        dirty::snooze(&ctx.db, line.name(), object, &lease, &wait.iter().collect::<Vec<_>>(), now + BRAKED, true).await?;
        others = go_on;
    }
    if !line.role().shares() {
        // A create of ours may have been heard of before its answer: wait for the answer.
        if !others.is_empty() && deliveries::open_creates(&ctx.db, line.name()).await? > 0 {
            let (wait, give_up): (Vec<Dirty>, Vec<Dirty>) = others.into_iter().partition(|d| now - d.raised_at < 30 * MINUTE);
            dirty::snooze(&ctx.db, line.name(), object, &lease, &wait.iter().collect::<Vec<_>>(), now + 5 * SECOND, true).await?;
            others = give_up;
        }
        batch.untracked = others.drain(..).map(|d| (d, "not_ours")).collect();
    }

    if !others.is_empty() {
        let ask = |ids| Op::Fetch { object: object.to_owned(), ids, fields: fields.clone() };
        batch.source = fetch_all(ctx, line, object, &lease, size, others, ask).await?;
    }
    if !follow.is_empty() {
        let mut fields = mapping.follow_fields();
        if line.role().shares() {
            // People opt out there as well, and the partner may share them from there.
            fields.extend(mapping.consent_fields());
        }
        fields.push(mapping.marker_field(line.manifest()).to_owned());
        let ask = |ids| Op::Follow { object: object.to_owned(), ids, fields: fields.clone() };
        let (hints, mut people): (Vec<Dirty>, BTreeMap<String, RemotePerson>) =
            follow.into_iter().map(|(d, p)| (d.clone(), (d.remote_id, p))).unzip();
        for (hint, record) in fetch_all(ctx, line, object, &lease, size, hints, ask).await? {
            let Some(person) = people.remove(&hint.remote_id) else { continue };
            // Right after it was made a record may not be seen yet, unless the vendor itself says that it went.
            let missing = record.state == State::Deleted && matches!(hint.kind.as_str(), "changed" | "look");
            match person.unseen_until(ctx.clock.now(), line.settle_after()).filter(|_| missing) {
                Some(until) => dirty::snooze(&ctx.db, line.name(), object, &lease, &[&hint], until, true).await?,
                None => batch.ours.push((hint, person, record)),
            }
        }
    }
    points::at("hints.read").await;
    Ok(Some(batch))
}

/// Reads in requests of the vendor's size, several at a time. Hints whose request did not come through are put off.
async fn fetch_all(
    ctx: &Context,
    line: &Line,
    object: &str,
    lease: &str,
    size: usize,
    hints: Vec<Dirty>,
    ask: impl Fn(Vec<String>) -> Op,
) -> Result<Vec<(Dirty, Record)>> {
    let ops: Vec<Op> = hints.chunks(size).map(|chunk| ask(chunk.iter().map(|d| d.remote_id.clone()).collect())).collect();
    let answers = ctx.transport.together(ops.iter().map(|op| fetch(ctx, line, op))).await;
    let mut read = Vec::new();
    for (chunk, answer) in hints.chunks(size).zip(answers) {
        match answer? {
            Ok(records) => read.extend(pair(chunk.to_vec(), records)),
            Err(put_off) => put_off.apply(ctx, line, object, lease, chunk).await?,
        }
    }
    Ok(read)
}

fn pair(hints: Vec<Dirty>, records: Vec<Record>) -> Vec<(Dirty, Record)> {
    let mut by_id: BTreeMap<String, Record> = records.into_iter().map(|r| (r.id.clone(), r)).collect();
    hints.into_iter().filter_map(|hint| by_id.remove(&hint.remote_id).map(|record| (hint, record))).collect()
}

/// Why a batch of hints waits.
struct PutOff {
    until: Millis,
    /// Waiting is not failing: the claim is given back.
    free: bool,
}

impl PutOff {
    async fn apply(&self, ctx: &Context, line: &Line, object: &str, lease: &str, hints: &[Dirty]) -> Result<()> {
        dirty::snooze(&ctx.db, line.name(), object, lease, &hints.iter().collect::<Vec<_>>(), self.until, self.free).await
    }
}

async fn fetch(ctx: &Context, line: &Line, op: &Op) -> Result<Result<Vec<Record>, PutOff>> {
    let now = ctx.clock.now();
    let ended = match line.connector().open(op, &line.account(), None) {
        Ok(talk) => drive(&ctx.transport, line, &ctx.clock, talk, Terms::TURN, &mut NoSink).await?,
        Err(fault) => Ended::NeedsPerson { code: fault.code, message: fault.message },
    };
    Ok(match ended {
        Ended::Done(Output::Records(records)) => Ok(records),
        Ended::Wait(until) | Ended::Rest(until, _) => Err(PutOff { until, free: true }),
        Ended::NeedsPerson { code, message } => {
            ctx.needs_person(line, &code, &message).await?;
            Err(PutOff { until: now + 5 * MINUTE, free: true })
        }
        Ended::Passing(_) | Ended::Done(_) => Err(PutOff { until: now + 30 * SECOND, free: false }),
    })
}
