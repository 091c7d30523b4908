//! Delivery: one share into its recipient's system (out), and its news into the sharer's (back).
//!
//! Both ways run the same four steps: claim · prepare (one transaction: locks, gates again, intent)
//! · send · finish (one transaction). The body is computed while preparing, so a retry, a reorder
//! and an update are the same thing. What was decided a moment ago is prepared by its decision (see `first.rs`).

mod back;
mod finish;
mod first;
mod flips;
mod out;
mod overtaking;
mod sweep;

use std::collections::{BTreeMap, BTreeSet};

use leadshare_connectors::sdk::record::is_beside_record;
use leadshare_connectors::sdk::{Doubt, Item, ItemKey, ItemResult, Op, Output, manifest::WriteSafety};
use serde_json::{Value, json};

use crate::clock::{MINUTE, Millis};
use crate::context::Context;
use crate::errors::Result;
use crate::firsts::GATES_HOLD;
use crate::http::Terms;
use crate::http::limit::Ahead;
use crate::http::line::Line;
use crate::http::talk::{Ended, Sink, drive};
use crate::mapping::Mapping;
use crate::points;
use crate::rules::Rules;
use crate::store::deliveries::{self, Delivery};
use crate::store::{Tx, claims};
pub use sweep::sweep;

/// How long a claim lasts.
const LEASE: Millis = 2 * MINUTE;
/// Batches of one connection that are under way at the same time: while one waits for its vendor or the store, another is prepared.
const AT_ONCE: usize = 3;

/// So many times five hundred deliveries that have waited get their places before a claim.
const RIPENED_AT_ONCE: usize = 20;

/// Which way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Way {
    /// To the recipient.
    Out,
    /// News to the sharer.
    Back,
}

impl Way {
    fn word(self) -> &'static str {
        match self {
            Self::Out => "out",
            Self::Back => "back",
        }
    }
}

/// What one delivery is to write, after its gates were checked and its intent committed.
pub(crate) struct Prepared {
    delivery: Delivery,
    item: Item,
    /// What it says, by keyed hash; empty on the way back.
    body: String,
    about: About,
}

/// Whom and what a prepared write is about.
pub(crate) struct About {
    share: crate::store::shares::Share,
    /// For the way back: the source record's id and object.
    remote_id: Option<String>,
}

/// What became of one write.
pub(crate) struct Written {
    prepared: Prepared,
    result: Option<ItemResult>,
    /// Whether its request may have reached the vendor.
    touched: bool,
    /// Whether some try of it may still be carried out, whatever was heard of the last.
    open: bool,
    /// Why there is no result.
    stopped: Stopped,
}

/// Why a whole request stopped, when it did.
#[derive(Clone)]
pub(crate) enum Stopped {
    No,
    Wait(Millis),
    Passing(String),
    NeedsPerson,
}

/// Delivers what is due on a connection. Answers whether anything was.
///
/// # Errors
/// The store's.
pub async fn deliver(ctx: &Context, rules: &Rules, line: &Line, way: Way) -> Result<bool> {
    let now = ctx.clock.now();
    if line.limits().blocked_until("*").is_some_and(|until| until > now) {
        return Ok(false);
    }
    let lease = ctx.clock.id();
    // Where budgets give a write's requests more slowly than its gates hold, they are all taken before the gates are checked:
    // begun with less, the write would be given up at its end, time and again.
    let needs = &line.manifest().write.needs;
    let slow = line.limits().slower(needs, GATES_HOLD / AT_ONCE as Millis);
    let limit = line.manifest().write.batch.max(1) * if slow { 1 } else { AT_ONCE };
    let mapping = rules.of(line.name()).first();
    // Each of several records may take a look of its own, and nothing be left for the write.
    let looks =
        way == Way::Back && mapping.is_some_and(|m| m.tells_where_people_stop() && m.consent_fields().iter().any(|f| is_beside_record(f)));
    let limit = if slow && looks { 1 } else { limit };
    // What goes as slowly as that is judged when its requests may be sent, and not before.
    let first = mapping.filter(|_| way == Way::Out && !slow).map(|mapping| (rules, mapping));
    let (claimed, firsts, judged) = claim(ctx, line, way, &lease, now, limit, first).await?;
    if claimed.is_empty() && firsts.is_empty() {
        return Ok(false);
    }
    points::at("delivery.claimed").await;
    if !firsts.is_empty() {
        points::at("delivery.intended").await;
    }
    let (claimed, rest) = claims::alone(claimed, |d| d.claims);
    if !rest.is_empty() {
        let rest = Value::from(rest.iter().map(|d| json!([d.share])).collect::<Vec<_>>());
        deliveries::give_back(&ctx.db, way.word(), &lease, &rest, now).await?;
    }
    let Some(mapping) = mapping else {
        put_off(ctx, way, &lease, &claimed, now + 10 * MINUTE, "no_mapping").await?;
        return Ok(false);
    };
    let (poison, claimed): (Vec<Delivery>, Vec<Delivery>) = claimed.into_iter().partition(|d| d.claims > claims::MAX_CLAIMS);
    finish::set_aside(ctx, line, way, &lease, &poison).await?;
    let terms = terms(&claimed);

    let safety = line.manifest().write.safety;
    // With a unique key a create of unknown outcome is simply sent again; without one, it is looked for first.
    let (doubtful, clear): (Vec<Delivery>, Vec<Delivery>) =
        claimed.into_iter().partition(|d| d.intent.is_some() && d.creates && safety != WriteSafety::UniqueKey && way == Way::Out);
    settle(ctx, line, mapping, &lease, doubtful, None).await?;

    let ahead = if slow && !clear.is_empty() {
        match line.limits().ahead_of_others(needs, terms).await {
            Ok(ahead) => Some(ahead),
            Err(until) => {
                put_off(ctx, way, &lease, &clear, until, "waiting").await?;
                return Ok(false);
            }
        }
    } else {
        None
    };
    let hold = Terms { ahead: ahead.as_ref(), ..terms };
    let mut batches: Vec<Batch> = match way {
        Way::Out => apart(clear, line.manifest().write.batch).into_iter().map(Batch::Claimed).collect(),
        // Two shares of one lead write into one record.
        Way::Back => vec![Batch::Claimed(clear)],
    };
    let mut firsts = firsts.into_iter().peekable();
    while firsts.peek().is_some() {
        batches.push(Batch::Ready(firsts.by_ref().take(line.manifest().write.batch.max(1)).collect(), judged));
    }
    let carried = batches.into_iter().map(|batch| Box::pin(carry(ctx, rules, line, way, mapping, &lease, batch, hold)));
    for carried in ctx.transport.together(carried).await {
        carried?;
    }
    Ok(true)
}

/// What is sent together.
enum Batch {
    /// To be prepared.
    Claimed(Vec<Delivery>),
    /// Ready, and when its gates were checked.
    Ready(Vec<Prepared>, Millis),
}

/// Claims what is due; with `first`, what was decided a moment ago comes back second, ready to be sent, and third when it was decided.
async fn claim(
    ctx: &Context,
    line: &Line,
    way: Way,
    lease: &str,
    now: Millis,
    limit: usize,
    first: Option<(&Rules, &Mapping)>,
) -> Result<(Vec<Delivery>, Vec<Prepared>, Millis)> {
    // Asked aside first: mostly nothing is due, and then nobody has to wait for the writer.
    let mut lanes = deliveries::lanes(&ctx.db, line.name(), way.word(), now).await?;
    // The last of what is due may be the most urgent; but what is ready does not wait for tens of thousands.
    for _ in 0..RIPENED_AT_ONCE {
        let waited = lanes.first().is_some_and(|(first,)| *first < 0);
        if !waited || !ctx.queues.ripen(&ctx.db, line.name(), way.word(), now).await? {
            break;
        }
        lanes = deliveries::lanes(&ctx.db, line.name(), way.word(), now).await?;
    }
    lanes.retain(|(lane,)| *lane >= 0);
    if lanes.is_empty() {
        return Ok((Vec::new(), Vec::new(), now));
    }
    // That may have taken a while.
    let now = ctx.clock.now();
    let mut tries = ctx.db.tries();
    loop {
        let mut tx = tries.begin().await?;
        let claimed = claim_on(&mut tx, ctx, line, way, lease, now, &lanes, limit, first).await;
        if let Some(claimed) = tries.end(tx, claimed).await? {
            return Ok(claimed);
        }
    }
}

/// The transaction of [`claim`].
#[expect(clippy::too_many_arguments, reason = "the body of `claim`")]
async fn claim_on(
    tx: &mut Tx,
    ctx: &Context,
    line: &Line,
    way: Way,
    lease: &str,
    now: Millis,
    lanes: &[(i64,)],
    limit: usize,
    first: Option<(&Rules, &Mapping)>,
) -> Result<(Vec<Delivery>, Vec<Prepared>, Millis)> {
    let picked = deliveries::pick(tx, line.name(), way.word(), lanes, limit).await?;
    let (rest, ready, judged) = match first {
        Some((rules, mapping)) => first::ready(tx, ctx, rules, mapping, picked).await?,
        None => (picked, Vec::new(), now),
    };
    let mut claims: Vec<deliveries::Claim> = rest.iter().map(|d| (d, None)).collect();
    claims.extend(ready.iter().map(|p| (&p.delivery, Some((true, &*p.body, overtaking::names(&p.item))))));
    deliveries::claim(tx, way.word(), lease, (now, now + LEASE), &claims).await?;
    Ok((rest, ready, judged))
}

/// Splits what was claimed into batches that need not know of each other: what is about one person is in one of them.
fn apart(claimed: Vec<Delivery>, size: usize) -> Vec<Vec<Delivery>> {
    let mut people = BTreeMap::<String, Vec<Delivery>>::new();
    for delivery in claimed {
        people.entry(delivery.person.clone()).or_default().push(delivery);
    }
    let mut batches: Vec<Vec<Delivery>> = Vec::new();
    for mut of_one in people.into_values() {
        match batches.last_mut().filter(|batch| batch.len() + of_one.len() <= size) {
            Some(batch) => batch.append(&mut of_one),
            None => batches.push(of_one),
        }
    }
    batches
}

/// Prepares a batch, sends it and keeps what became of it.
#[expect(clippy::too_many_arguments, reason = "a part of `deliver`, for several batches at a time")]
async fn carry(
    ctx: &Context,
    rules: &Rules,
    line: &Line,
    way: Way,
    mapping: &Mapping,
    lease: &str,
    batch: Batch,
    terms: Terms<'_>,
) -> Result<()> {
    let (prepared, checked) = match (batch, way) {
        (Batch::Ready(prepared, judged), _) => (prepared, judged),
        (Batch::Claimed(batch), Way::Out) => {
            let (prepared, unsettled, checked) = out::prepare(ctx, rules, line, mapping, lease, batch, terms).await?;
            settle(ctx, line, mapping, lease, unsettled, terms.ahead).await?;
            (prepared, checked)
        }
        (Batch::Claimed(batch), Way::Back) => back::prepare(ctx, rules, line, mapping, lease, batch, terms).await?,
    };
    if prepared.is_empty() {
        return Ok(());
    }
    points::at("delivery.sending").await;
    let started = ctx.clock.now();
    let ask = |items: &[Prepared]| Op::Write {
        object: mapping.object().to_owned(),
        marker_field: mapping.marker_field(line.manifest()).to_owned(),
        items: items.iter().map(|p| p.item.clone()).collect(),
    };
    let hold = Terms { deadline: Some(checked + GATES_HOLD), ..terms };
    let written = talk_all(ctx, line, prepared, line.manifest().write.batch, ask, hold).await?;
    points::at("delivery.sent").await;
    finish::finish(ctx, line, way, mapping, lease, started, written).await
}

/// Puts deliveries off that nothing was done with; no try is burnt.
async fn put_off(ctx: &Context, way: Way, lease: &str, claimed: &[Delivery], until: Millis, code: &str) -> Result<()> {
    let rows = claimed.iter().map(|d| json!([d.share, until, d.attempts, code, d.version])).collect::<Vec<_>>();
    let mut tx = ctx.db.begin().await?;
    deliveries::later(&mut tx, way.word(), lease, &Value::from(rows), ctx.clock.now()).await?;
    tx.commit().await
}

/// On what terms requests for these deliveries are sent.
fn terms(claimed: &[Delivery]) -> Terms<'static> {
    Terms { protect: claimed.iter().any(Delivery::protects), first: true, ..Terms::TURN }
}

/// Looks for creates of unknown outcome; too early, they wait.
async fn settle(
    ctx: &Context,
    line: &Line,
    mapping: &Mapping,
    lease: &str,
    doubtful: Vec<Delivery>,
    ahead: Option<&Ahead<'_>>,
) -> Result<()> {
    if doubtful.is_empty() {
        return Ok(());
    }
    let (now, terms) = (ctx.clock.now(), Terms { ahead, ..terms(&doubtful) });
    let ripe_at = |d: &Delivery| d.sent_at.unwrap_or(now) + line.settle_after();
    let (ripe, early): (Vec<Delivery>, Vec<Delivery>) = doubtful.into_iter().partition(|d| ripe_at(d) <= now);
    if !early.is_empty() {
        let rows = Value::from(early.iter().map(|d| json!([d.share, ripe_at(d), d.attempts, "in_doubt", d.version])).collect::<Vec<_>>());
        let mut tx = ctx.db.begin().await?;
        deliveries::later(&mut tx, "out", lease, &rows, now).await?;
        tx.commit().await?;
    }
    if ripe.is_empty() {
        return Ok(());
    }
    points::at("settle.claimed").await;
    let prepared = out::for_settling(ctx, line, ripe).await?;
    let doubt = |p: &Prepared| match &p.item {
        Item::Create { key, marker, .. } => {
            Some(Doubt { key: key.clone(), marker: marker.clone(), sent_at: p.delivery.sent_at.unwrap_or(now), known: None })
        }
        Item::Update { .. } => None,
    };
    let ask = |prepared: &[Prepared]| Op::Settle {
        object: mapping.object().to_owned(),
        marker_field: mapping.marker_field(line.manifest()).to_owned(),
        items: prepared.iter().filter_map(doubt).collect(),
    };
    let looked = talk_all(ctx, line, prepared, line.manifest().read.batch, ask, terms).await?;
    points::at("settle.looked").await;
    finish::settled(ctx, line, lease, looked).await
}

#[derive(Default)]
struct Results {
    settled: BTreeMap<ItemKey, ItemResult>,
    touched: BTreeSet<ItemKey>,
    open: BTreeSet<ItemKey>,
}

impl Sink for Results {
    fn item(&mut self, key: ItemKey, result: ItemResult) {
        self.settled.insert(key, result);
    }
    fn reached(&mut self, keys: &[ItemKey], open: bool) {
        self.touched.extend(keys.iter().cloned());
        if open {
            self.open.extend(keys.iter().cloned());
        }
    }
}

/// Talks in requests of the vendor's size, several at a time; answers what became of each item.
async fn talk_all(
    ctx: &Context,
    line: &Line,
    prepared: Vec<Prepared>,
    size: usize,
    ask: impl Fn(&[Prepared]) -> Op,
    terms: Terms<'_>,
) -> Result<Vec<Written>> {
    let ops: Vec<Op> = prepared.chunks(size.max(1)).map(ask).collect();
    let answers = ctx.transport.together(ops.iter().map(|op| talk(ctx, line, op, terms))).await;
    let mut prepared = prepared.into_iter();
    let mut written = Vec::new();
    for answer in answers {
        let (mut results, stopped) = answer?;
        for prepared in prepared.by_ref().take(size.max(1)) {
            let key = prepared.item.key();
            let (result, touched, open) = (results.settled.remove(key), results.touched.contains(key), results.open.contains(key));
            written.push(Written { result, touched, open, stopped: stopped.clone(), prepared });
        }
    }
    Ok(written)
}

async fn talk(ctx: &Context, line: &Line, op: &Op, terms: Terms<'_>) -> Result<(Results, Stopped)> {
    let mut sink = Results::default();
    let ended = match line.connector().open(op, &line.account(), None) {
        Ok(talk) => drive(&ctx.transport, line, &ctx.clock, talk, terms, &mut sink).await?,
        Err(fault) => Ended::NeedsPerson { code: fault.code, message: fault.message },
    };
    let stopped = match ended {
        Ended::Done(Output::Done) => Stopped::No,
        Ended::Done(_) => Stopped::Passing("unexpected_output".into()),
        Ended::Wait(until) | Ended::Rest(until, _) => Stopped::Wait(until),
        Ended::Passing(code) => Stopped::Passing(code),
        Ended::NeedsPerson { code, message } => {
            ctx.needs_person(line, &code, &message).await?;
            Stopped::NeedsPerson
        }
    };
    Ok((sink, stopped))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn delivery(share: &str, person: &str) -> Delivery {
        Delivery {
            lane: 1,
            share: share.into(),
            person: person.into(),
            way: "out".into(),
            version: 1,
            done_version: 0,
            attempts: 0,
            claims: 1,
            intent: None,
            sent_at: None,
            creates: false,
            body: None,
            fields: Vec::new(),
        }
    }

    // Breaks when two batches write about one person at the same time, or one is longer than the vendor takes.
    #[test]
    fn what_is_about_one_person_is_in_one_batch() {
        let claimed = [("1", "ann"), ("2", "bob"), ("3", "cem"), ("4", "ann"), ("5", "dan")].map(|(share, person)| delivery(share, person));
        let batches = apart(claimed.into(), 3);
        let shares: Vec<Vec<&str>> = batches.iter().map(|batch| batch.iter().map(|d| d.share.as_str()).collect()).collect();
        assert_eq!(shares, [vec!["1", "4", "2"], vec!["3", "5"]]);
        assert!(apart(Vec::new(), 3).is_empty());
    }
}
