//! The network of a simulation: carries requests to simulated vendors in process, does to them what networks and vendors
//! do, and watches what arrives.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::{Mutex, MutexGuard, PoisonError};

use futures_util::future::BoxFuture;
use leadshare_connectors::sdk::{Fault, Method, Request, Response, Sandbox, SandboxReply, SandboxRequest};
use serde_json::Value;

use super::program::Actor;
use super::rng::Rng;
use super::trace::Trace;
use crate::clock::{Clock, Millis, SECOND, rfc3339};
use crate::errors::Error;
use crate::http::{Carrier, NoAnswer, TIMEOUT};
use crate::store::{Db, READERS, people};

/// How long, on the machine's clock, the store may keep us from writing. Whoever holds a transaction over a call waits for that call,
/// and so for ever; this is only longer than a slow machine takes.
const PATIENCE: std::time::Duration = std::time::Duration::from_secs(10);

/// Something that must never be, and was.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Broken {
    /// The number of the invariant.
    pub invariant: u8,
    /// What was seen.
    pub what: String,
}

/// How often what goes wrong, in a thousand.
#[derive(Debug, Clone, Copy, Default)]
pub struct Weather {
    /// The request never arrives.
    pub lost: u32,
    /// The connection is refused: it provably never arrives.
    pub refused: u32,
    /// The vendor does it, and its answer is lost.
    pub unheard: u32,
    /// The vendor does it only after its sender has given up.
    pub late: u32,
    /// It arrives twice.
    pub doubled: u32,
    /// The answer is cut.
    pub truncated: u32,
    /// The vendor fails before it does anything.
    pub failed: u32,
    /// Something in front of the vendor fails after it was done.
    pub failed_after: u32,
    /// Too many requests, says the vendor.
    pub throttled: u32,
    /// A webhook is lost, comes twice, comes late, or its answer is lost.
    pub webhooks: u32,
    /// The process dies at a point.
    pub crash: u32,
}

/// What happens to one request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fate {
    Fine,
    Lost,
    Refused,
    Unheard,
    Late(Millis),
    Doubled,
    Truncated,
    Failed(u16),
    FailedAfter,
    Throttled(Option<u32>),
}

/// One vendor's system.
pub struct System {
    /// Whose it is.
    pub actor: Actor,
    /// The simulator.
    pub sandbox: Box<dyn Sandbox>,
    /// Its clock, minus the true time.
    pub offset: Millis,
    /// Whether its grant was killed on purpose, or by the loss of a rotated token that nobody can repair.
    pub dead: bool,
    /// Until when its daily quota is used up.
    pub quota_until: Millis,
    /// Requests that wrote.
    pub writes: u64,
    /// Access tokens and keys that it gave.
    pub tokens: BTreeSet<String>,
    /// Budgets by lane: how many in which time.
    pub budgets: BTreeMap<String, (u32, Millis)>,
    spent: VecDeque<(Millis, String)>,
    armed: u64,
    refreshing: u32,
}

impl System {
    /// A system with a furnished simulator.
    pub fn new(actor: Actor, sandbox: Box<dyn Sandbox>, tokens: BTreeSet<String>, budgets: BTreeMap<String, (u32, Millis)>) -> Self {
        Self {
            actor,
            sandbox,
            offset: 0,
            dead: false,
            quota_until: 0,
            writes: 0,
            tokens,
            budgets,
            spent: VecDeque::new(),
            armed: 0,
            refreshing: 0,
        }
    }

    /// Windows of the past say nothing any more: our clock has jumped.
    pub fn new_window(&mut self) {
        self.spent.clear();
    }
}

/// What is watched for about one person.
#[derive(Debug, Clone)]
pub struct Watched {
    /// The address, lower case.
    pub email: String,
    /// The digits of the number.
    pub phone: String,
    /// A word that no agreement lets out.
    pub secret: String,
    /// From which sources this person agreed to which recipients (places in the list of actors).
    pub agreed: BTreeSet<(usize, usize)>,
    /// Recipients whose own people entered this person.
    pub known_at: BTreeSet<usize>,
}

/// Everything behind the network, and what was seen of it.
pub struct Inner {
    /// The systems.
    pub systems: Vec<System>,
    /// How often what goes wrong.
    pub weather: Weather,
    /// What our clock has jumped ahead of the true time.
    pub skew: Millis,
    /// What was broken.
    pub broken: Vec<Broken>,
    /// What happened.
    pub trace: Trace,
    /// The people.
    pub people: Vec<Watched>,
    /// Agreements in force.
    pub in_force: BTreeSet<(usize, usize)>,
    /// Whether agreements list the phone number.
    pub phone_agreed: bool,
    /// The process is to die at the next point.
    pub doomed: bool,
    /// Faults that happened.
    pub faults: u64,
    rng: Rng,
}

impl Inner {
    /// Notes a broken invariant.
    pub fn breaks(&mut self, invariant: u8, what: impl Into<String>) {
        let what = what.into();
        self.trace.line(&format!("BROKEN {invariant}: {what}"));
        self.broken.push(Broken { invariant, what });
    }

    /// A system's own time when ours is `now`.
    pub fn time_of(&self, system: usize, now: Millis) -> Millis {
        now - self.skew + self.systems.get(system).map_or(0, |s| s.offset)
    }

    fn fate(&mut self, token: bool, write: bool, twice_is_safe: bool, lateness: Millis) -> Fate {
        let w = self.weather;
        let (roll, mut upto) = (self.rng.below(1_000) as u32, 0);
        let mut hit = |per_mille: u32| {
            let from = upto;
            upto += per_mille;
            (from..upto).contains(&roll)
        };
        if hit(w.lost) {
            Fate::Lost
        } else if hit(w.refused) {
            Fate::Refused
        } else if hit(w.unheard) {
            Fate::Unheard
        } else if hit(w.late) {
            if write { Fate::Late(self.rng.between(SECOND, lateness)) } else { Fate::Fine }
        } else if hit(w.doubled) {
            if twice_is_safe { Fate::Doubled } else { Fate::Fine }
        } else if hit(w.truncated) {
            Fate::Truncated
        } else if hit(w.failed) {
            Fate::Failed(*self.rng.pick(&[502, 503, 504]).unwrap_or(&503))
        } else if hit(w.failed_after) {
            Fate::FailedAfter
        } else if hit(w.throttled) && !token {
            Fate::Throttled(self.rng.chance(500).then(|| self.rng.between(1, 120) as u32))
        } else {
            Fate::Fine
        }
    }
}

/// The network.
pub struct Network {
    inner: Mutex<Inner>,
    clock: Clock,
    db: Db,
}

impl Network {
    /// A network before these systems.
    pub fn new(seed: u64, clock: &Clock, db: &Db, systems: Vec<System>, phone_agreed: bool) -> Self {
        let inner = Inner {
            systems,
            weather: Weather::default(),
            skew: 0,
            broken: Vec::new(),
            trace: Trace::default(),
            people: Vec::new(),
            in_force: BTreeSet::new(),
            phone_agreed,
            doomed: false,
            faults: 0,
            rng: Rng::new(seed, 2),
        };
        Self { inner: Mutex::new(inner), clock: clock.clone(), db: db.clone() }
    }

    /// What is behind it. Held for short moments only.
    pub fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What a process knew is gone with it.
    pub fn forget(&self) {
        let mut inner = self.inner();
        inner.doomed = false;
        for system in &mut inner.systems {
            system.refreshing = 0;
        }
    }

    /// Hands a request to a system's pages, as a browser or its own people do: no faults, nothing watched.
    pub fn page(&self, system: usize, request: &SandboxRequest) -> Option<Response> {
        let mut inner = self.inner();
        let now = inner.time_of(system, self.clock.now());
        match inner.systems.get_mut(system)?.sandbox.handle(request, now) {
            SandboxReply::Answer(response) => Some(response),
            SandboxReply::Dropped => None,
        }
    }

    /// Nobody may hold a transaction now: the one writer gives a turn at once, and every connection that reads is free. Looked at
    /// now and then.
    async fn no_transaction_is_open(&self) {
        if !self.inner().rng.chance(50) {
            return;
        }
        let all = async {
            // Begun is not enough: a turn is taken with the first question.
            let mut turn = self.db.begin().await?;
            people::paused(&mut turn).await?;
            let mut reading = Vec::new();
            for _ in 0..READERS {
                reading.push(self.db.reading().await?);
            }
            Ok::<_, Error>(())
        };
        match tokio::time::timeout(PATIENCE, all).await {
            Ok(done) => done.unwrap_or_else(|error| self.inner().breaks(11, error.to_string())),
            Err(_) => self.inner().breaks(11, "a transaction was open while a vendor was called"),
        }
    }

    fn meet(&self, i: usize, call: &Call<'_>, fate: Fate) -> Result<Response, NoAnswer> {
        let mut guard = self.inner();
        let inner = &mut *guard;
        let now = inner.time_of(i, self.clock.now());
        if call.write && !matches!(fate, Fate::Lost | Fate::Refused) {
            watch(inner, i, &call.sandboxed.body);
        }
        let result = arrive(inner, i, call, fate, now);
        let status = match &result {
            Ok(response) => response.status.to_string(),
            Err(NoAnswer::NotSent) => "not sent".into(),
            Err(NoAnswer::Unknown) => "unknown".into(),
        };
        let host = inner.systems[i].actor.name;
        let body = if call.token { "" } else { std::str::from_utf8(&call.sandboxed.body).unwrap_or_default() };
        let line = format!(
            "{} {host} {} {} {}B {fate:?} -> {status}",
            rfc3339(self.clock.now()),
            call.sandboxed.method.as_str(),
            call.sandboxed.path.chars().take(160).collect::<String>(),
            if call.token { 0 } else { call.sandboxed.body.len() },
        );
        inner.trace.line(&line);
        inner.trace.also(&call.sandboxed.path);
        inner.trace.also(body);
        result
    }
}

struct Call<'a> {
    sandboxed: &'a SandboxRequest,
    token: bool,
    write: bool,
}

/// The request reaches the vendor, or does not.
fn arrive(inner: &mut Inner, i: usize, call: &Call<'_>, fate: Fate, now: Millis) -> Result<Response, NoAnswer> {
    match fate {
        Fate::Lost => return Err(NoAnswer::Unknown),
        Fate::Refused => return Err(NoAnswer::NotSent),
        Fate::Failed(status) => return Ok(Response { status, headers: vec![date(now)], body: b"<html>trouble</html>".to_vec() }),
        _ => {}
    }
    if !call.token {
        spend(inner, i, call, now);
    }
    let system = &mut inner.systems[i];
    system.writes += u64::from(call.write);
    match fate {
        Fate::Late(after_ms) => system.sandbox.inject(Fault::CommitLate { count: 1, after_ms }),
        Fate::Throttled(retry_after) => {
            system.armed += 1;
            system.sandbox.inject(Fault::Throttle { count: 1, retry_after });
        }
        _ => {}
    }
    let before = system.sandbox.stats().throttled;
    let mut reply = system.sandbox.handle(call.sandboxed, now);
    if fate == Fate::Doubled {
        let again = system.sandbox.handle(call.sandboxed, now);
        if let (SandboxReply::Answer(first), SandboxReply::Answer(second)) = (&reply, again)
            && !first.is_success()
        {
            reply = SandboxReply::Answer(second);
        }
    }
    let throttled = system.sandbox.stats().throttled - before;
    let planned = if now < system.quota_until { throttled } else { throttled.min(system.armed) };
    system.armed -= planned.min(system.armed);
    let name = system.actor.name;
    let rotates = system.actor.connector == "salesforce";
    if throttled > planned {
        inner.breaks(6, format!("{name} refused a request for its rate, and nobody planned that"));
    }
    let SandboxReply::Answer(mut response) = reply else { return Err(NoAnswer::Unknown) };
    let mut heard = true;
    match fate {
        Fate::Unheard => heard = false,
        Fate::Truncated if !response.body.is_empty() => response.body.truncate(response.body.len() / 2),
        Fate::FailedAfter => response = Response { status: 502, headers: vec![date(now)], body: b"<html>bad gateway</html>".to_vec() },
        _ => {}
    }
    if call.token {
        let given = response.value().filter(|_| heard && fate == Fate::Fine);
        match given.as_ref().and_then(|v| v.get("access_token")).and_then(Value::as_str) {
            Some(token) => drop(inner.systems[i].tokens.insert(token.to_owned())),
            // A rotated refresh token that nobody heard of kills the grant.
            None if rotates && fate != Fate::Fine => inner.systems[i].dead = true,
            None => {}
        }
    }
    if heard { Ok(response) } else { Err(NoAnswer::Unknown) }
}

fn date(now: Millis) -> (String, String) {
    let at = jiff::Timestamp::from_millisecond(now).unwrap_or(jiff::Timestamp::UNIX_EPOCH);
    ("date".into(), at.strftime("%a, %d %b %Y %H:%M:%S GMT").to_string())
}

/// Counts a request against the budgets that were promised.
fn spend(inner: &mut Inner, i: usize, call: &Call<'_>, now: Millis) {
    let system = &mut inner.systems[i];
    let lane = match system.actor.connector {
        "hubspot" if call.sandboxed.path_only().ends_with("/search") => "search",
        "hubspot" => "general",
        "salesforce" => "daily",
        _ => "requests",
    };
    let Some((limit, window)) = system.budgets.get(lane).copied() else { return };
    system.spent.push_back((now, lane.to_owned()));
    while system.spent.front().is_some_and(|(at, _)| *at <= now - window.max(10 * SECOND)) {
        system.spent.pop_front();
    }
    let used = system.spent.iter().filter(|(at, l)| l == lane && *at > now - window).count();
    let name = system.actor.name;
    if used > limit as usize {
        inner.breaks(6, format!("{used} requests to {name} within {window} ms on the budget {lane} of {limit}"));
    }
}

/// Looks at what is written for what may not be.
fn watch(inner: &mut Inner, to: usize, body: &[u8]) {
    let text = String::from_utf8_lossy(body).to_lowercase();
    let mut found = Vec::new();
    for (n, person) in inner.people.iter().enumerate() {
        let name = inner.systems[to].actor.name;
        if text.contains(&person.secret) {
            found.push((4, format!("a field that no agreement lists was written to {name} (person {n})")));
        }
        if !inner.phone_agreed && text.contains(&person.phone) {
            found.push((4, format!("a number was written to {name}, and agreements list none (person {n})")));
        }
        if text.contains(&format!("\"{}\"", person.email)) {
            let agreed: Vec<&(usize, usize)> = person.agreed.iter().filter(|(_, recipient)| *recipient == to).collect();
            if agreed.is_empty() {
                let onward = person.agreed.iter().any(|(_, r)| inner.in_force.contains(&(*r, to)));
                found.push((if onward { 14 } else { 2 }, format!("person {n} was written to {name} and never agreed to that")));
            } else if !agreed.iter().any(|edge| inner.in_force.contains(edge)) {
                let there = inner.systems[to].sandbox.records(inner.systems[to].actor.object());
                let field = inner.systems[to].actor.email_field();
                let held = |value: Option<&Value>| value.and_then(Value::as_str).is_some_and(|v| v.eq_ignore_ascii_case(&person.email));
                if !there.iter().any(|r| held(r.fields.get(field))) {
                    found.push((2, format!("person {n} was written to {name} when no agreement was in force")));
                }
            }
        }
    }
    for (invariant, what) in found {
        inner.breaks(invariant, what);
    }
}

fn writes(connector: &str, request: &Request, path: &str) -> bool {
    match connector {
        "hubspot" => request.method != Method::Get && !path.ends_with("/search") && !path.ends_with("/batch/read"),
        "salesforce" => matches!(request.method, Method::Patch | Method::Delete),
        _ => request.method != Method::Get && !["get_preferences", "search_read", "search_count"].iter().any(|read| path.ends_with(read)),
    }
}

impl Carrier for Network {
    fn carry<'a>(&'a self, url: &'a url::Url, request: &'a Request, bearer: Option<&'a str>) -> BoxFuture<'a, Result<Response, NoAnswer>> {
        Box::pin(async move {
            self.no_transaction_is_open().await;
            let path = url.path().to_owned();
            let token = path.contains("/oauth/") || path.contains("/oauth2/");
            let host = url.host_str().unwrap_or_default().to_owned();
            let mut headers: Vec<(String, String)> = request.headers.iter().map(|(n, v)| (n.to_lowercase(), v.clone())).collect();
            headers.push(("host".into(), host.clone()));
            headers.push(("x-forwarded-proto".into(), "https".into()));
            headers.extend(bearer.map(|bearer| ("authorization".to_owned(), bearer.to_owned())));
            let full = url.query().map_or_else(|| path.clone(), |query| format!("{path}?{query}"));
            let sandboxed = SandboxRequest { method: request.method, path: full, headers, body: request.body.clone() };
            let (i, fate, write, latency) = {
                let mut guard = self.inner();
                let inner = &mut *guard;
                let Some(i) = inner.systems.iter().position(|s| s.actor.host() == host) else {
                    inner.breaks(10, format!("a request went to {host}, which belongs to nobody"));
                    return Err(NoAnswer::NotSent);
                };
                let (connector, name) = (inner.systems[i].actor.connector, inner.systems[i].actor.name);
                let write = !token && writes(connector, request, &path);
                let lateness = if connector == "salesforce" { 600 * SECOND } else { 110 * SECOND };
                // A proxy may repeat what is safe to repeat; what has no key it must not.
                let fate = inner.fate(token, write, !token && connector != "tryton", lateness);
                inner.faults += u64::from(fate != Fate::Fine);
                let given = bearer.and_then(|b| b.split_once(' ')).map(|(_, token)| token);
                if given.is_some_and(|given| !inner.systems[i].tokens.contains(given)) {
                    inner.breaks(10, format!("a token that {name} did not give was sent to it"));
                }
                if token {
                    inner.systems[i].refreshing += 1;
                    if inner.systems[i].refreshing > 1 {
                        inner.breaks(7, format!("two token requests to {name} at the same time"));
                    }
                }
                (i, fate, write, inner.rng.between(5, 400))
            };
            self.clock.sleep(latency).await;
            let result = self.meet(i, &Call { sandboxed: &sandboxed, token, write }, fate);
            if result == Err(NoAnswer::Unknown) {
                // The sender waits, or it dies while it waits.
                let dies = {
                    let mut inner = self.inner();
                    let crash = inner.weather.crash;
                    let dies = crash > 0 && inner.rng.chance(150);
                    inner.doomed |= dies;
                    dies
                };
                self.clock.sleep(if dies { SECOND } else { TIMEOUT }).await;
            }
            if token && let Some(system) = self.inner().systems.get_mut(i) {
                system.refreshing = system.refreshing.saturating_sub(1);
            }
            result
        })
    }
}
