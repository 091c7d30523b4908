//! Polling: finds what changed since the cursor and raises hints, those of a few pages in one transaction with
//! the cursor that they reach.

use leadshare_connectors::sdk::{Cursor, Op, Output, Record, Selection, State};
use serde_json::{Value, json};

use super::read;
use crate::clock::{Millis, SECOND};
use crate::context::Context;
use crate::errors::Result;
use crate::http::Terms;
use crate::http::line::Line;
use crate::http::talk::{Ended, Sink, drive};
use crate::points;
use crate::store::connections::{self, Connection};
use crate::store::dirty::{self, Raise};
use crate::store::quiet::Found;
use crate::store::{Tx, shares};

/// Most records at a recipient whose fate is asked for in one poll.
const FOLLOWED: usize = 5_000;
/// Polls between two looks at every record whose fate is open.
const FOLLOW_EVERY: Millis = 15;

/// Pages with something new after which a poll rests until its connection's next turn, unless it has found before as much as a turn
/// takes in: that is done, and what is urgent goes out, before a source's old records were all found. It does not rest where it
/// began: it would come no further.
const PAGES: usize = 8;

/// A vendor's clock is kept when it has moved by more than this: it is told in whole seconds.
const CLOCK_MOVED: Millis = SECOND;

/// Polls one object when its time has come. Answers whether anything was raised.
///
/// # Errors
/// The store's. Trouble at the vendor only moves the next poll.
pub async fn poll(ctx: &Context, line: &Line, stored: &Connection, object: &str, selection: Selection) -> Result<bool> {
    let now = ctx.clock.now();
    let poll = &line.manifest().poll;
    if ctx.quiet.has(line.name(), object) {
        ctx.quiet.keep(&ctx.db, now).await?;
    }
    let follow = format!("follow {object}");
    let (polled, followed) = dirty::cursors(&ctx.db, line.name(), object, &follow).await?;
    let (cursor, due, quiet_since) = polled.unwrap_or((None, 0, now));
    if due > now {
        return Ok(false);
    }
    let cursor = cursor.and_then(|text| serde_json::from_str::<Value>(&text).ok()).map(Cursor);
    let began = cursor.clone();
    // The vendor's clock bounds the poll: ours may be fast, and rows commit late.
    let until = now.min(now + line.clock_offset()) - poll.lag_ms;
    let from = stored.share_from.unwrap_or(now);
    let op = Op::Changes { object: object.to_owned(), cursor, from, until, fields: Vec::new(), selection };
    let mut pages = Pages { ctx, line, object, raised: 0, read: 0, began, rests: false, unkept: 0, hints: Vec::new(), reached: None };
    let ended = match line.connector().open(&op, &line.account(), None) {
        Ok(talk) => drive(&ctx.transport, line, &ctx.clock, talk, Terms::TURN, &mut pages).await?,
        Err(fault) => Ended::Passing(fault.code),
    };
    // What nothing was found behind is kept with the end of the poll, or as the place to go on from.
    if !pages.hints.is_empty() || !matches!(ended, Ended::Done(_)) {
        pages.keep().await?;
    }
    let (raised, more) = (pages.raised, pages.enough());
    points::at("poll.ended").await;
    let (reached, mut next) = match ended {
        Ended::Done(Output::Cursor(cursor)) if raised == 0 => (Some(cursor.0.to_string()), quietly(ctx, line, now, quiet_since)),
        Ended::Done(Output::Cursor(cursor)) => (Some(cursor.0.to_string()), now + line.poll_every()),
        Ended::Done(_) => (None, now + line.poll_every()),
        Ended::Wait(until) | Ended::Rest(until, _) => (None, until),
        Ended::Passing(code) => {
            tracing::warn!(connection = line.name(), object, code, "poll did not finish; tried again");
            (None, now + line.poll_every())
        }
        Ended::NeedsPerson { code, message } => {
            tracing::error!(connection = line.name(), object, code, message, "poll needs a person");
            ctx.needs_person(line, &code, &message).await?;
            (None, now + 10 * line.poll_every())
        }
    };
    let followed = line.role().receives().then(|| followed.unwrap_or_default()).filter(|(_, due, _)| *due <= now);
    let clock_moved = (line.clock_offset() - stored.clock_offset).abs() > CLOCK_MOVED;
    if raised == 0
        && followed.is_none()
        && !clock_moved
        && let Some(cursor) = reached
    {
        ctx.quiet.note(line.name(), object, Found { cursor, at: now, next });
        return Ok(false);
    }
    let mut tx = ctx.db.begin().await?;
    let mut raised_more = 0;
    if let Some((after, ..)) = followed {
        // What a lead turned into may move without touching the lead's own record.
        let open = shares::followed(&mut tx, line.name(), object, &after.unwrap_or_default(), FOLLOWED).await?;
        // The next of very many come with the next poll.
        let (last, pause) = if open.len() < FOLLOWED { (None, FOLLOW_EVERY) } else { (open.last().map(|(share, _)| share.clone()), 1) };
        if last.is_some() {
            next = next.min(now + line.poll_every());
        }
        let open: Vec<Raise> = open.into_iter().map(|(_, id)| changed(object, id)).collect();
        raised_more = open.len();
        dirty::raise(&mut tx, line.name(), &open, now).await?;
        dirty::save_cursor(&mut tx, line.name(), &follow, Some(last.unwrap_or_default()), now + pause * line.poll_every()).await?;
    }
    dirty::polled(&mut tx, line.name(), object, reached, now, next, raised > 0).await?;
    if clock_moved {
        connections::set_clock_offset(&mut tx, line.name(), line.clock_offset()).await?;
    }
    tx.commit().await?;
    points::at("poll.kept").await;
    Ok(raised + raised_more > 0 || more)
}

/// When the next poll of an account is due in which nothing has changed since then. Long pauses differ by up to an eighth, so that
/// polls that once came together do not stay so.
fn quietly(ctx: &Context, line: &Line, now: Millis, quiet_since: Millis) -> Millis {
    let pause = line.poll_pause(now - quiet_since);
    let spread = if pause > line.poll_every() { pause / 8 * ctx.clock.jitter() / 1_000 } else { 0 };
    now + pause - spread
}

fn changed(object: &str, id: String) -> Raise {
    Raise { object: object.to_owned(), remote_id: id, kind: "changed", detail: None }
}

struct Pages<'a> {
    ctx: &'a Context,
    line: &'a Line,
    object: &'a str,
    raised: usize,
    read: usize,
    began: Option<Cursor>,
    rests: bool,
    /// What is yet to be kept together: pages, their hints, and how far they reach. After a crash they are read again.
    unkept: usize,
    hints: Vec<Raise>,
    reached: Option<Cursor>,
}

impl Pages<'_> {
    /// Keeps what was read.
    async fn keep(&mut self) -> Result<()> {
        let (hints, Some(cursor)) = (std::mem::take(&mut self.hints), self.reached.take()) else { return Ok(()) };
        self.unkept = 0;
        let now = self.ctx.clock.now();
        let mut tries = self.ctx.db.tries();
        loop {
            let mut tx = tries.begin().await?;
            let done = self.raise(&mut tx, &hints, &cursor, now).await;
            points::at("poll.page_raised").await;
            if tries.end(tx, done).await?.is_some() {
                break;
            }
        }
        points::at("poll.page_kept").await;
        Ok(())
    }

    async fn raise(&self, tx: &mut Tx, hints: &[Raise], cursor: &Cursor, now: Millis) -> Result<()> {
        dirty::raise(tx, self.line.name(), hints, now).await?;
        dirty::save_cursor(tx, self.line.name(), self.object, Some(cursor.0.to_string()), now).await
    }
}

impl Sink for Pages<'_> {
    fn enough(&self) -> bool {
        self.rests
    }

    async fn page(&mut self, records: Vec<Record>, cursor: Cursor) -> Result<()> {
        points::at("poll.page_read").await;
        if records.is_empty() {
            // An account in which nothing happens needs no commit of its own before the end of the poll.
            self.reached = Some(cursor);
            return Ok(());
        }
        let state = |record: &Record| if record.state == State::Live { "live" } else { "gone" };
        let polled = Value::from(records.iter().map(|r| json!([r.id, r.version, state(r)])).collect::<Vec<_>>());
        let seen = dirty::already_seen(&self.ctx.db, self.line.name(), self.object, &polled).await?;
        let mut new: Vec<Record> = records.into_iter().filter(|r| !seen.contains(&r.id)).collect();
        if !self.line.role().shares() {
            // Only our own records are looked at here; the ids of all others are forgotten at once.
            let ids = Value::from(new.iter().map(|r| json!([r.id])).collect::<Vec<_>>());
            let ours = shares::remote_by_id(&self.ctx.db, self.line.name(), self.object, &ids).await?;
            new.retain(|r| ours.iter().any(|o| o.remote_id.as_ref() == Some(&r.id)));
        }
        self.raised += new.len();
        self.read += usize::from(!new.is_empty());
        let most = read::in_a_turn(self.line);
        let moved = self.began.as_ref().is_none_or(|began| began.0 != cursor.0);
        self.rests = (self.read >= PAGES || self.raised >= most) && !new.is_empty() && moved;
        crate::metrics::hints(self.line.connector_name(), "poll", new.len() as u64);
        self.hints.extend(new.into_iter().map(|record| hint(self.object, record)));
        self.reached = Some(cursor);
        self.unkept += 1;
        if self.hints.len() >= most || self.unkept >= PAGES { self.keep().await } else { Ok(()) }
    }
}

fn hint(object: &str, record: Record) -> Raise {
    match record.state {
        State::Live => changed(object, record.id),
        State::Deleted => Raise { kind: "deleted", ..changed(object, record.id) },
        State::Merged(into) => Raise { kind: "merged", detail: Some(into), ..changed(object, record.id) },
    }
}
