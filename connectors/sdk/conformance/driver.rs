//! Drives a talk as the daemon does, synchronously and under a virtual clock.
//!
//! A talk that meets a throttle, or a read that finds nobody after the last try, is dropped and
//! opened again later: a poll from the cursor of its last page and with a later upper bound, anything
//! else from what it saved, without the items that it has already told of.

use super::bench::{Bench, Style, fault_text, kind};
use super::laws::Law;
use super::samples::DOMAIN;
use super::wire::{Came, path_of};
use super::{Verdict, fail, not_applicable};
use crate::sdk::{Ask, Cursor, Effect, Heard, ItemKey, ItemResult, Millis, Op, Output, Record, Saved, Step, Tag, Talk, TalkFault};

/// Pauses of one talk; a quota may take a day.
const PAUSES: u32 = 3_000;
/// Steps after which a talk is held to run for ever.
const STEPS: usize = 50_000;

/// A talk under way.
pub(super) struct Running {
    talk: Box<dyn Talk>,
    op: Op,
    pub outstanding: Vec<Ask>,
    /// A write that is not keyed has an unknown outcome.
    once_unknown: bool,
    pub pauses: u32,
    /// Items told of before the talk was last opened.
    told: usize,
    /// Whether it has had an answer since.
    answered: bool,
    pub ran: Ran,
}

/// What a talk did, and how it ended.
#[derive(Debug, Clone)]
pub(super) struct Ran {
    pub pages: Vec<(Vec<Record>, Cursor)>,
    pub items: Vec<(ItemKey, ItemResult)>,
    /// The last thing saved, in its durable form.
    pub saved: Option<Saved>,
    pub steps: usize,
    pub end: Option<End>,
}

/// How a talk ended.
#[derive(Debug, Clone)]
pub(super) enum End {
    Done(Output),
    Failed(TalkFault),
    /// The account's set-up must change: the talk was not told.
    Config(u16),
    /// Nobody answered for as long as was allowed.
    Down,
}

impl Ran {
    pub fn output_ref(&self) -> Verdict<&Output> {
        match &self.end {
            Some(End::Done(output)) => Ok(output),
            Some(End::Failed(fault)) => fail(format!("failed: {}", fault_text(fault))),
            Some(End::Config(status)) => fail(format!("the manifest takes the answer {status} for a wrong set-up of the account")),
            Some(End::Down) => fail("nobody answered"),
            None => fail("did not end"),
        }
    }

    pub fn output(&self) -> Verdict<Output> {
        self.output_ref().cloned()
    }
}

impl Bench {
    /// Opens a talk. Operations that not every vendor has may be refused as `not_supported`.
    pub fn start(&self, op: &Op, saved: Option<&Saved>) -> Verdict<Running> {
        let talk = match self.connector.open(op, &self.account, saved) {
            Ok(talk) => talk,
            Err(fault) if fault.code == "not_supported" && matches!(op, Op::Follow { .. } | Op::Erase { .. }) => {
                return not_applicable(fault.message);
            }
            Err(fault) => return fail(format!("open refused: {}", fault_text(&fault))),
        };
        let ran = Ran { pages: Vec::new(), items: Vec::new(), saved: saved.cloned(), steps: 0, end: None };
        Ok(Running { talk, op: op.clone(), outstanding: Vec::new(), once_unknown: false, pauses: 0, told: 0, answered: false, ran })
    }

    /// Runs a talk to its end, good or bad.
    pub fn run(&mut self, op: &Op, saved: Option<&Saved>) -> Verdict<Ran> {
        let mut running = self.start(op, saved)?;
        while running.ran.end.is_none() {
            running.advance(self)?;
        }
        Ok(running.ran)
    }
}

impl Running {
    /// Takes one step and does what it wants.
    pub fn advance(&mut self, bench: &mut Bench) -> Verdict {
        self.ran.steps += 1;
        if self.ran.steps > STEPS {
            bench.broke(Law::Manners, format!("a talk about {} took more than {STEPS} steps", op_name(&self.op)));
            return fail("does not end");
        }
        match self.talk.step() {
            Step::Ask(ask) => {
                if self.once_unknown && ask.effect != Effect::Read {
                    bench.broke(Law::OnlyReadsAfterUnknown, format!("{} was written while an outcome was unknown", path_of(&ask)));
                }
                if self.outstanding.iter().any(|other| other.tag == ask.tag) {
                    bench.broke(Law::Manners, format!("two asks at once are named {}", ask.tag));
                }
                self.outstanding.push(ask);
            }
            Step::Wait => self.answer(bench)?,
            Step::Save(saved) => self.ran.saved = Some(durable(&saved)),
            Step::Rest(pause, saved) => {
                if pause <= 0 {
                    bench.broke(Law::Manners, format!("a talk about {} rests for {pause} ms", op_name(&self.op)));
                }
                self.ran.saved = Some(durable(&saved));
                self.reopen(bench, pause)?;
            }
            Step::Page(records, cursor) => {
                if !matches!(self.op, Op::Changes { .. }) {
                    bench.broke(Law::Manners, format!("a talk about {} handed over a page", op_name(&self.op)));
                }
                self.ran.pages.push((records, durable_cursor(&cursor)));
            }
            Step::Item(key, result) => self.item(bench, key, result),
            Step::Done(output) => {
                self.judge_end(bench, &output);
                self.ran.end = Some(End::Done(output));
            }
            Step::Failed(fault) => {
                discreet(bench, &format!("{fault}"));
                self.ran.end = Some(End::Failed(fault));
            }
        }
        Ok(())
    }

    /// What the daemon opens after it was stopped, with the same memory: only what is still to do.
    fn remaining_op(&self, bench: &Bench) -> Op {
        let mut op = self.resumed_op(bench);
        if let Op::Write { items, .. } = &mut op {
            items.retain(|item| !self.ran.items.iter().any(|(told, _)| told == item.key()));
        }
        if let Op::Settle { items, .. } = &mut op {
            items.retain(|doubt| !self.ran.items.iter().any(|(told, _)| *told == doubt.key));
        }
        op
    }

    /// What the daemon opens after a crash: a poll goes on from the last page's cursor, up to now.
    pub fn resumed_op(&self, bench: &Bench) -> Op {
        let mut op = self.op.clone();
        if let Op::Changes { cursor, until, .. } = &mut op {
            *until = bench.now - bench.manifest().poll.lag_ms;
            if let Some((_, last)) = self.ran.pages.last() {
                *cursor = Some(last.clone());
            }
        }
        op
    }

    /// What of a talk survives for opening it again. A poll has its cursor and nothing else.
    pub fn survives(&self) -> Option<Saved> {
        if matches!(self.op, Op::Changes { .. }) { None } else { self.ran.saved.clone() }
    }

    fn reopen(&mut self, bench: &mut Bench, pause: Millis) -> Verdict {
        self.pauses += 1;
        if self.pauses > PAUSES {
            return fail(format!("still not done after {PAUSES} pauses"));
        }
        bench.now += pause;
        self.op = self.remaining_op(bench);
        self.talk = match bench.connector.open(&self.op, &bench.account, self.survives().as_ref()) {
            Ok(talk) => talk,
            Err(fault) => return fail(format!("cannot be taken up again after a pause: {}", fault_text(&fault))),
        };
        self.outstanding.clear();
        self.once_unknown = false;
        self.told = self.ran.items.len();
        self.answered = false;
        Ok(())
    }

    fn answer(&mut self, bench: &mut Bench) -> Verdict {
        if self.outstanding.is_empty() {
            bench.broke(Law::Manners, format!("a talk about {} waits for nothing", op_name(&self.op)));
            return fail("waits for an answer although nothing was asked");
        }
        let mut came: Vec<(Tag, Effect, Came)> = Vec::new();
        for ask in std::mem::take(&mut self.outstanding) {
            let result = match bench.style {
                Style::OneAtATime(pause) if self.answered => Came::Later(pause, true),
                _ => bench.send(&ask)?,
            };
            self.answered = true;
            came.push((ask.tag, ask.effect, result));
        }
        if bench.style == Style::LastFirst {
            came.reverse();
        }
        let mut later = None;
        for (tag, effect, result) in came {
            match result {
                Came::Answer(response) => self.talk.heard(tag, Heard::Answer(&response)),
                Came::NotSent(why) => self.talk.heard(tag, Heard::NotSent(why)),
                Came::Unknown => {
                    if matches!(effect, Effect::Once(_)) {
                        self.once_unknown = true;
                        bench.laws.borrow_mut().once_unknown = true;
                    }
                    self.talk.heard(tag, Heard::Unknown);
                }
                Came::Config(status) => {
                    self.ran.end = Some(End::Config(status));
                    return Ok(());
                }
                Came::Later(_, false) if bench.style == Style::GiveUp => {
                    self.ran.end = Some(End::Down);
                    return Ok(());
                }
                Came::Later(pause, _) => later = later.max(Some(pause)),
            }
        }
        later.map_or(Ok(()), |pause| self.reopen(bench, pause))
    }

    fn item(&mut self, bench: &mut Bench, key: ItemKey, result: ItemResult) {
        bench.laws.borrow_mut().settled = true;
        if !self.asked_keys().contains(&key) {
            bench.broke(Law::SettledOnce, format!("settled `{key}`, which was not asked for"));
        }
        if self.ran.items[self.told..].iter().any(|(settled, _)| *settled == key) {
            bench.broke(Law::SettledOnce, format!("`{key}` of a {} was settled twice", op_name(&self.op)));
        }
        if let ItemResult::Refused(fault) = &result {
            discreet(bench, &format!("{} {:?}", fault.code, fault.fields));
        }
        self.ran.items.push((key, result));
    }

    fn judge_end(&self, bench: &Bench, output: &Output) {
        for key in self.asked_keys() {
            if !self.ran.items.iter().any(|(settled, _)| *settled == key) {
                bench.broke(Law::SettledOnce, format!("a {} was done without settling `{key}`", op_name(&self.op)));
            }
        }
        if !self.outstanding.is_empty() {
            bench.broke(Law::Manners, format!("a talk about {} was done before its asks were answered", op_name(&self.op)));
        }
        let fits = match &self.op {
            Op::Check { .. } => matches!(output, Output::Checked(_)),
            Op::Changes { .. } => matches!(output, Output::Cursor(_)),
            Op::Fetch { .. } | Op::Follow { .. } | Op::Find { .. } => matches!(output, Output::Records(_)),
            Op::Describe { .. } => matches!(output, Output::Described(_)),
            Op::Write { .. } | Op::Settle { .. } | Op::Erase { .. } => matches!(output, Output::Done),
        };
        if !fits {
            bench.broke(Law::Manners, format!("a {} ended in {}", op_name(&self.op), kind(output)));
        }
    }

    fn asked_keys(&self) -> Vec<ItemKey> {
        match &self.op {
            Op::Write { items, .. } => items.iter().map(|item| item.key().clone()).collect(),
            Op::Settle { items, .. } => items.iter().map(|doubt| doubt.key.clone()).collect(),
            _ => Vec::new(),
        }
    }
}

fn discreet(bench: &Bench, text: &str) {
    if text.contains(DOMAIN) {
        bench.broke(Law::Discreet, format!("an e-mail address is repeated in: {}", text.replace(DOMAIN, "…")));
    }
}

/// As the daemon keeps it: through text and back.
fn durable(saved: &Saved) -> Saved {
    Saved(serde_json::from_str(&saved.0.to_string()).unwrap_or_default())
}

fn durable_cursor(cursor: &Cursor) -> Cursor {
    Cursor(serde_json::from_str(&cursor.0.to_string()).unwrap_or_default())
}

fn op_name(op: &Op) -> &'static str {
    match op {
        Op::Check { .. } => "check",
        Op::Changes { .. } => "poll",
        Op::Fetch { .. } => "fetch",
        Op::Follow { .. } => "follow",
        Op::Find { .. } => "find",
        Op::Write { .. } => "write",
        Op::Settle { .. } => "settle",
        Op::Describe { .. } => "describe",
        Op::Erase { .. } => "erase",
    }
}
