//! Drives a talk as the daemon's HTTP stack does, synchronously and under a virtual clock.

use super::bench::{Bench, Sent, fault_text, kind};
use super::laws::Law;
use super::samples::DOMAIN;
use super::{Verdict, fail, not_applicable};
use crate::sdk::manifest::Auth;
use crate::sdk::{
    Action, Ask, Cursor, Effect, Heard, ItemKey, ItemResult, Millis, Op, Output, Record, Response, SandboxReply, SandboxRequest, Saved,
    Step, Tag, Talk, TalkFault,
};

/// How long a request takes.
const LATENCY: Millis = 40;
/// Tries of a request that meets passing trouble.
const TRIES: u32 = 5;
/// Waits of one request; a quota may take a day.
const WAITS: u32 = 3_000;
/// Steps after which a talk is held to run for ever.
const STEPS: usize = 50_000;

/// A talk under way.
pub(super) struct Running {
    talk: Box<dyn Talk>,
    op: Op,
    pub outstanding: Vec<Ask>,
    /// A write that is not keyed has an unknown outcome.
    once_unknown: bool,
    rests: u32,
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
}

impl Ran {
    pub fn output_ref(&self) -> Verdict<&Output> {
        match &self.end {
            Some(End::Done(output)) => Ok(output),
            Some(End::Failed(fault)) => fail(format!("failed: {}", fault_text(fault))),
            Some(End::Config(status)) => fail(format!("the manifest takes the answer {status} for a wrong set-up of the account")),
            None => fail("did not end"),
        }
    }

    pub fn output(&self) -> Verdict<Output> {
        self.output_ref().cloned()
    }
}

/// What came of sending one ask.
enum Came {
    Answer(Response),
    Unknown,
    Config(u16),
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
        Ok(Running { talk, op: op.clone(), outstanding: Vec::new(), once_unknown: false, rests: 0, ran })
    }

    /// Runs a talk to its end, good or bad.
    pub fn run(&mut self, op: &Op, saved: Option<&Saved>) -> Verdict<Ran> {
        let mut running = self.start(op, saved)?;
        while running.ran.end.is_none() {
            running.advance(self)?;
        }
        Ok(running.ran)
    }

    /// Sends an ask and loses its answer, as a daemon does that dies.
    pub fn send_and_lose(&mut self, ask: &Ask) {
        if let Some(request) = self.prepare(ask) {
            self.sandbox.handle(&request, self.now);
            self.now += LATENCY;
        }
    }

    /// Sends an ask until there is something to tell the talk.
    fn send(&mut self, ask: &Ask) -> Verdict<Came> {
        let (mut tries, mut waits, mut refreshed) = (0, 0, false);
        loop {
            self.pace(ask);
            let Some(request) = self.prepare(ask) else {
                return fail(format!("asked for an address that is no address: {}", ask.request.url));
            };
            if self.trap.as_ref().is_some_and(|(at, _)| *at == self.sent.len())
                && let Some((_, fault)) = self.trap.take()
            {
                self.sandbox.inject(fault);
                self.sprung = true;
            }
            let made = self.sandbox.stats().created;
            let mut reply = self.sandbox.handle(&request, self.now);
            if self.style.keyed_twice && matches!(ask.effect, Effect::Keyed(_)) {
                self.now += LATENCY;
                reply = self.sandbox.handle(&request, self.now);
            }
            // After a late commit the simulator may make a record when it is next asked anything.
            if ask.effect == Effect::Read && !self.sprung && self.sandbox.stats().created != made {
                self.broke(Law::ReadsMakeNothing, format!("{} {} made a record", ask.request.method.as_str(), path_of(ask)));
            }
            self.log(ask, &reply);
            self.now += LATENCY;
            tries += 1;
            let again = !self.style.no_resend && !matches!(ask.effect, Effect::Once(_)) && tries < TRIES;
            match reply {
                SandboxReply::Dropped if again => self.now += 500 << tries,
                SandboxReply::Dropped => return Ok(Came::Unknown),
                SandboxReply::Answer(response) => {
                    let verdict = self.manifest().classify(&response);
                    match verdict.action {
                        Action::Hear => return Ok(Came::Answer(response)),
                        Action::Config => return Ok(Came::Config(response.status)),
                        Action::Retry if again => self.now += 500 << tries,
                        Action::Retry => return Ok(Came::Unknown),
                        Action::Wait if waits < WAITS => {
                            waits += 1;
                            tries -= 1;
                            self.now += verdict.wait_ms.max(1);
                        }
                        Action::Wait => return fail(format!("still throttled after {WAITS} waits")),
                        Action::RefreshThenRetry if refreshed => return Ok(Came::Config(response.status)),
                        Action::RefreshThenRetry => {
                            refreshed = true;
                            tries -= 1;
                            self.token = self.sandbox.token(self.now);
                        }
                    }
                }
            }
        }
    }

    fn log(&mut self, ask: &Ask, reply: &SandboxReply) {
        let mut sent = Sent { effect: ask.effect.clone(), verdict: None, retry_after: None };
        if let SandboxReply::Answer(response) = reply {
            let verdict = self.manifest().classify(response);
            sent.verdict = Some((verdict.action, verdict.wait_ms));
            sent.retry_after = response.header("retry-after").and_then(|v| v.parse::<Millis>().ok()).map(|s| s * 1000);
        }
        self.sent.push(sent);
    }

    /// Lets the clock go on until the budgets allow the ask, as the daemon's limiter does.
    fn pace(&mut self, ask: &Ask) {
        for (name, cost) in &ask.cost {
            let Some(budget) = self.manifest().budgets.iter().find(|budget| budget.name == *name) else { continue };
            let (limit, window) = (budget.limit, budget.window_ms);
            let spent = self.spent.entry((*name).to_owned()).or_default();
            loop {
                spent.retain(|(at, _)| at + window > self.now);
                let used: u32 = spent.iter().map(|(_, units)| units).sum();
                match spent.first() {
                    Some((first, _)) if used + cost > limit => self.now = first + window,
                    _ => break,
                }
            }
            spent.push((self.now, *cost));
        }
    }

    /// The ask as it reaches the vendor, after checking what asks must never do.
    fn prepare(&self, ask: &Ask) -> Option<SandboxRequest> {
        self.inspect(ask);
        let absolute = if ask.request.url.starts_with('/') {
            format!("{}{}", self.account.base_url, ask.request.url)
        } else {
            ask.request.url.clone()
        };
        let url = url::Url::parse(&absolute).ok()?;
        let host = url.host_str()?.to_owned();
        let own = url::Url::parse(&self.account.base_url).ok().and_then(|base| base.host_str().map(str::to_owned));
        let listed = |suffix: &String| host == *suffix || host.ends_with(&format!(".{suffix}"));
        if own.as_deref() != Some(&host) && !self.manifest().host_suffixes.iter().any(listed) {
            self.broke(Law::Hosts, format!("asked the host {host}"));
        }
        if url.scheme() != "https" {
            self.broke(Law::Hosts, format!("asked {host} over {}", url.scheme()));
        }
        // Sliced from the text and not taken from the parsed URL: the simulator must see the bytes
        // that the connector wrote.
        let after_host = absolute.find("://").map(|at| at + 3).and_then(|at| absolute[at..].find('/').map(|slash| at + slash))?;
        let mut headers: Vec<(String, String)> = vec![("host".into(), host)];
        headers.extend(ask.request.headers.iter().map(|(name, value)| (name.to_ascii_lowercase(), value.clone())));
        let scheme = match &self.manifest().auth {
            Auth::Oauth2(_) => "Bearer",
            Auth::Key { scheme, .. } => scheme,
        };
        headers.push(("authorization".into(), format!("{scheme} {}", self.token)));
        Some(SandboxRequest {
            method: ask.request.method,
            path: absolute[after_host..].to_owned(),
            headers,
            body: ask.request.body.clone(),
        })
    }

    fn inspect(&self, ask: &Ask) {
        if ask.request.headers.iter().any(|(name, _)| name.eq_ignore_ascii_case("authorization")) {
            self.broke(Law::NoTokens, format!("{} sets authorization itself", path_of(ask)));
        }
        if ask.cost.is_empty() {
            self.broke(Law::Budgets, format!("{} spends from no budget", path_of(ask)));
        }
        for (name, cost) in &ask.cost {
            match self.manifest().budgets.iter().find(|budget| budget.name == *name) {
                None => self.broke(Law::Budgets, format!("{} spends from `{name}`, which the manifest does not have", path_of(ask))),
                Some(budget) if *cost == 0 || *cost > budget.limit => {
                    self.broke(Law::Budgets, format!("{} spends {cost} of `{name}`, which has {}", path_of(ask), budget.limit));
                }
                Some(_) => {}
            }
        }
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
            Step::Rest(pause, saved) => self.rest(bench, pause, &saved)?,
            Step::Page(records, cursor) => {
                if !matches!(self.op, Op::Changes { .. }) {
                    bench.broke(Law::Manners, format!("a talk about {} handed over a page", op_name(&self.op)));
                }
                // What was saved before the page is behind its cursor now.
                self.ran.saved = None;
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

    /// The operation as the daemon opens it again: a poll goes on from the last page's cursor.
    pub fn resumed_op(&self) -> Op {
        let mut op = self.op.clone();
        if let (Op::Changes { cursor, .. }, Some((_, last))) = (&mut op, self.ran.pages.last()) {
            *cursor = Some(last.clone());
        }
        op
    }

    fn answer(&mut self, bench: &mut Bench) -> Verdict {
        if self.outstanding.is_empty() {
            bench.broke(Law::Manners, format!("a talk about {} waits for nothing", op_name(&self.op)));
            return fail("waits for an answer although nothing was asked");
        }
        let mut came: Vec<(Tag, Effect, Came)> = Vec::new();
        for ask in std::mem::take(&mut self.outstanding) {
            let result = bench.send(&ask)?;
            came.push((ask.tag, ask.effect, result));
        }
        if bench.style.last_first {
            came.reverse();
        }
        for (tag, effect, result) in came {
            match result {
                Came::Answer(response) => self.talk.heard(tag, Heard::Answer(&response)),
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
            }
        }
        Ok(())
    }

    fn rest(&mut self, bench: &mut Bench, pause: Millis, saved: &Saved) -> Verdict {
        self.rests += 1;
        if pause <= 0 || self.rests > 1_000 {
            bench.broke(Law::Manners, format!("a talk about {} rests {pause} ms for the {}th time", op_name(&self.op), self.rests));
            return fail("rests for ever");
        }
        bench.now += pause;
        let saved = durable(saved);
        let op = self.resumed_op();
        self.talk = match bench.connector.open(&op, &bench.account, Some(&saved)) {
            Ok(talk) => talk,
            Err(fault) => return fail(format!("cannot be taken up again after a rest: {}", fault_text(&fault))),
        };
        self.outstanding.clear();
        self.ran.saved = Some(saved);
        Ok(())
    }

    fn item(&mut self, bench: &mut Bench, key: ItemKey, result: ItemResult) {
        bench.laws.borrow_mut().settled = true;
        if !self.asked_keys().contains(&key) {
            bench.broke(Law::SettledOnce, format!("settled `{key}`, which was not asked for"));
        }
        if self.ran.items.iter().any(|(settled, _)| *settled == key) {
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

fn path_of(ask: &Ask) -> &str {
    ask.request.url.split('?').next().unwrap_or_default()
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
