//! Budgets: what a connection may spend. A [`Window`] keeps the vendor's limit over all replicas and restarts; within it
//! requests are paced evenly.

use std::collections::BTreeMap;
use std::num::NonZeroU32;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use governor::clock::{Clock as GovernorClock, Reference};
use governor::nanos::Nanos;
use governor::state::{InMemoryState, NotKeyed};
use governor::{Quota, RateLimiter};
use leadshare_connectors::sdk::Response;
use leadshare_connectors::sdk::manifest::Budget;

use super::Terms;
use super::window::{Spent, Take, Window};
use crate::clock::{Clock, MINUTE, Millis, SECOND};
use crate::errors::Result;
use crate::store::{Db, budgets};

/// The injected clock in the form that `governor` asks for.
#[derive(Clone)]
struct Ticks(Clock);

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Tick(Millis);

impl Reference for Tick {
    fn duration_since(&self, earlier: Self) -> Nanos {
        Nanos::from(Duration::from_millis((self.0 - earlier.0).max(0) as u64))
    }
    fn saturating_sub(&self, duration: Nanos) -> Self {
        Self(self.0 - Duration::from(duration).as_millis() as i64)
    }
}

impl std::ops::Add<Nanos> for Tick {
    type Output = Self;
    fn add(self, other: Nanos) -> Self {
        Self(self.0 + Duration::from(other).as_millis() as i64)
    }
}

impl GovernorClock for Ticks {
    type Instant = Tick;
    fn now(&self) -> Tick {
        Tick(self.0.now())
    }
}

type Pace = RateLimiter<NotKeyed, InMemoryState, Ticks, governor::middleware::NoOpMiddleware<Tick>>;

/// How long a request waits for a budget's next unit inside a call; longer waits are durable snoozes.
pub const SHORT: Millis = 3 * SECOND;
/// The same for one that ends what others began: given up, all of them would have to be sent again.
pub const LONG: Millis = 30 * SECOND;
/// Which part of a window's units may go at once, for what a short pause left unused is caught up.
const CAUGHT_UP: i64 = 4;
/// How long a budget is kept for deliveries after the time at which they were to come again.
const KEPT: Millis = 2 * SECOND;
/// No snooze for a budget is longer: the operator or the vendor may have changed it meanwhile.
const LOOK_AGAIN: Millis = 15 * MINUTE;
/// The name of a pause that binds every budget.
const EVERY: &str = "*";

/// A budget too small for all is left to deliveries that wait for their units, and then for as long to everything else.
#[derive(Default)]
struct Kept {
    /// Since when it is left to them; 0 when it is not.
    since: Millis,
    until: Millis,
    /// It is not left to them again before this.
    free_until: Millis,
}

struct Paced {
    window: Mutex<Window>,
    /// Held by whoever writes the row.
    writing: tokio::sync::Mutex<()>,
    /// The even rate, with the units of a window that it is for.
    pace: Mutex<(i64, Option<Pace>)>,
    kept: Mutex<Kept>,
    length: Millis,
}

impl Paced {
    fn new(clock: &Clock, budget: &Budget, fixed: bool, share: u32) -> Self {
        Self {
            window: Mutex::new(Window::new(budget.limit, fixed, share, budget.window_ms, &clock.id())),
            writing: tokio::sync::Mutex::default(),
            pace: Mutex::default(),
            kept: Mutex::default(),
            length: budget.window_ms.max(1),
        }
    }

    /// Until when the even rate says to wait. [A part](CAUGHT_UP) of a window's units may go at once.
    fn paced(&self, promised: i64, units: i64, clock: &Clock) -> Option<Millis> {
        let mut pace = self.pace.lock().unwrap_or_else(PoisonError::into_inner);
        if pace.0 != promised {
            let most = promised.clamp(1, i64::from(u32::MAX)) as u32;
            let quota = Quota::with_period(Duration::from_millis(self.length as u64) / most);
            let quota = quota.and_then(|quota| Some(quota.allow_burst(NonZeroU32::new((most / CAUGHT_UP as u32).max(1))?)));
            *pace = (promised, quota.map(|quota| RateLimiter::direct_with_clock(quota, Ticks(clock.clone()))));
        }
        let units = NonZeroU32::new(units as u32).unwrap_or(NonZeroU32::MIN);
        match pace.1.as_ref()?.check_n(units) {
            Ok(Err(not_until)) => {
                let now = clock.now();
                Some(now + not_until.wait_time_from(Tick(now)).as_millis() as i64 + 1)
            }
            Ok(Ok(())) | Err(_) => None,
        }
    }

    fn window(&self) -> MutexGuard<'_, Window> {
        self.window.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes units when there are some and it is time. Work that protects people does not wait for the pace.
    fn take(&self, units: i64, protect: bool, clock: &Clock) -> Take {
        let mut window = self.window();
        let found = window.look(units, protect, clock.now());
        if let Take::Yes(_) = found {
            if let Some(until) = self.paced(window.promised(), units, clock).filter(|_| !protect) {
                return Take::Wait(until);
            }
            window.take(units);
        }
        found
    }
}

/// One connection's budgets.
pub struct Limits {
    clock: Clock,
    db: Db,
    connection: String,
    /// By name; a connection has few.
    budgets: Box<[(String, Paced)]>,
    blocked: Mutex<BTreeMap<String, Millis>>,
}

/// Leave to send one request. Dropped, the request has been answered or given up.
pub struct Permit<'a> {
    limits: &'a Limits,
    taken: Vec<(&'a Paced, u64, i64)>,
}

impl Permit<'_> {
    /// The request was not sent after all.
    pub fn unused(mut self) {
        for (paced, seq, units) in self.taken.drain(..) {
            paced.window().unused(seq, units);
        }
    }
}

impl Drop for Permit<'_> {
    fn drop(&mut self) {
        for (paced, seq, units) in self.taken.drain(..) {
            paced.window().answered(seq, units, self.limits.clock.now());
        }
    }
}

/// Units taken ahead, for requests that must not wait once the first of them was sent. What is left goes back when dropped.
pub struct Ahead<'a> {
    limits: &'a Limits,
    /// Budget, block, units.
    left: Mutex<Vec<(String, u64, i64)>>,
}

impl<'a> Ahead<'a> {
    /// Leave to send a request that costs this; `None` when so much is not left, or a budget was stopped meanwhile.
    pub fn part(&self, cost: &[(&'static str, u32)]) -> Option<Permit<'a>> {
        let (limits, now) = (self.limits, self.limits.clock.now());
        let mut left = self.left.lock().unwrap_or_else(PoisonError::into_inner);
        let mut parts = Vec::new();
        for (budget, units) in cost {
            let (at, units) = (left.iter().position(|(name, ..)| name == budget)?, i64::from(*units));
            if left[at].2 < units || limits.blocked_until(budget).is_some_and(|until| until > now) {
                return None;
            }
            parts.push((at, limits.paced(budget)?, units));
        }
        let mut taken = Vec::new();
        for (at, paced, units) in parts {
            left[at].2 -= units;
            taken.push((paced, left[at].1, units));
        }
        Some(Permit { limits, taken })
    }
}

impl Drop for Ahead<'_> {
    fn drop(&mut self) {
        for (name, block, units) in self.left.get_mut().unwrap_or_else(PoisonError::into_inner).drain(..) {
            if let Some(paced) = self.limits.paced(&name) {
                paced.window().unused(block, units);
            }
        }
    }
}

impl Limits {
    /// A connection's budgets, of which `share` percent are promised to be ours. Where one is as `usual` at the vendor, what
    /// the vendor states of this account goes before it; one that the operator changed is never exceeded.
    pub fn new(clock: &Clock, db: &Db, connection: &str, usual: &[Budget], budgets: &[Budget], share: u32) -> Self {
        let fixed =
            |budget: &Budget| !usual.iter().any(|b| b.name == budget.name && b.limit == budget.limit && b.window_ms == budget.window_ms);
        let budgets = budgets.iter().map(|b| (b.name.clone(), Paced::new(clock, b, fixed(b), share))).collect();
        Self { clock: clock.clone(), db: db.clone(), connection: connection.to_owned(), budgets, blocked: Mutex::default() }
    }

    fn paced(&self, budget: &str) -> Option<&Paced> {
        self.budgets.iter().find(|(name, _)| name == budget).map(|(_, paced)| paced)
    }

    /// Spends from budgets, waiting where needed for as long as the terms' patience. What protects people uses what is kept free for it,
    /// and more than the share that the partner was promised.
    ///
    /// # Errors
    /// When it would take longer: the time from which it may be tried again.
    pub async fn spend(&self, cost: &[(&'static str, u32)], terms: Terms<'_>) -> Result<Permit<'_>, Millis> {
        let mut permit = Permit { limits: self, taken: Vec::new() };
        for (name, units) in cost {
            match self.take(name, i64::from(*units), terms).await {
                Ok(taken) => permit.taken.extend(taken),
                Err(until) => {
                    permit.unused();
                    return Err(until);
                }
            }
        }
        Ok(permit)
    }

    /// Whether budgets give so much only in a longer time than this, once they are spent from evenly.
    pub fn slower(&self, cost: &BTreeMap<String, u32>, than: Millis) -> bool {
        let slow = |paced: &Paced, units: u32| paced.window().promised() * than / paced.length < i64::from(units);
        cost.iter().any(|(name, units)| self.paced(name).is_some_and(|paced| slow(paced, *units)))
    }

    /// How long it takes until budgets have given so much, once they are spent from evenly; no longer than anything is put off for them.
    pub fn lasts(&self, cost: &BTreeMap<String, u32>) -> Millis {
        let lasts = |(name, units): (&String, &u32)| {
            let paced = self.paced(name)?;
            Some(i64::from(*units) * paced.length / paced.window().promised())
        };
        cost.iter().filter_map(lasts).max().unwrap_or_default().min(LOOK_AGAIN)
    }

    /// So many requests of this cost budgets give at once after a pause, half of what may be caught up, or within this time; one at least.
    pub fn give(&self, cost: &BTreeMap<String, u32>, within: Millis) -> usize {
        let given = |(name, units): (&String, &u32)| {
            let paced = self.paced(name)?;
            let promised = paced.window().promised();
            Some((promised * within / paced.length).max(promised / CAUGHT_UP / 2) / i64::from((*units).max(1)))
        };
        cost.iter().filter_map(given).min().map_or(usize::MAX, |given| given.max(1) as usize)
    }

    /// As [`Limits::ahead`], for deliveries: they find their units when they come again, for until then nothing else takes them one by
    /// one, except to protect people.
    ///
    /// # Errors
    /// When it would take longer: the time from which it may be tried again.
    pub async fn ahead_of_others(&self, cost: &BTreeMap<String, u32>, terms: Terms<'_>) -> Result<Ahead<'_>, Millis> {
        let ahead = self.ahead(cost, terms).await;
        let now = self.clock.now();
        for paced in cost.keys().filter_map(|name| self.paced(name)) {
            let mut kept = paced.kept.lock().unwrap_or_else(PoisonError::into_inner);
            match &ahead {
                Ok(_) if kept.until >= now => *kept = Kept { free_until: now + (now - kept.since), ..Kept::default() },
                Err(until) if terms.protect || now >= kept.free_until => {
                    kept.since = if kept.until < now { now } else { kept.since };
                    kept.until = until + KEPT;
                }
                _ => {}
            }
        }
        ahead
    }

    /// Takes at once, ahead of them, what requests cost that must not wait for one another; waits as [`Limits::spend`] does.
    ///
    /// # Errors
    /// When it would take longer: the time from which it may be tried again.
    pub async fn ahead(&self, cost: &BTreeMap<String, u32>, terms: Terms<'_>) -> Result<Ahead<'_>, Millis> {
        let mut ahead = Ahead { limits: self, left: Mutex::default() };
        for (name, units) in cost {
            if let Some((_, block, units)) = self.take(name, i64::from(*units), terms).await? {
                ahead.left.get_mut().unwrap_or_else(PoisonError::into_inner).push((name.clone(), block, units));
            }
        }
        Ok(ahead)
    }

    async fn take(&self, name: &str, units: i64, terms: Terms<'_>) -> Result<Option<(&Paced, u64, i64)>, Millis> {
        loop {
            let now = self.clock.now();
            if let Some(until) = self.blocked_until(name).filter(|until| *until > now) {
                return Err(until);
            }
            let Some(paced) = self.paced(name) else { return Ok(None) };
            let kept = paced.kept.lock().unwrap_or_else(PoisonError::into_inner).until;
            if kept > now && !terms.first && !terms.protect {
                return Err(kept);
            }
            let units = units.clamp(1, paced.window().most(terms.protect));
            let until = match paced.take(units, terms.protect, &self.clock) {
                Take::Yes(block) => return Ok(Some((paced, block, units))),
                Take::Wait(until) => until,
                Take::Reserve => match self.reserve(name, paced, units, terms).await {
                    Ok(Ok(())) => continue,
                    Ok(Err(until)) => until,
                    Err(error) => {
                        tracing::error!(connection = self.connection, %error, "budgets cannot be kept, so nothing is sent; tried again");
                        return Err(now + SHORT);
                    }
                },
            };
            if until - now > terms.patience {
                return Err(until.min(now + LOOK_AGAIN));
            }
            self.clock.sleep((until - now).max(1)).await;
        }
    }

    /// Reserves a block in the budget's row, or reads the row when it is not known. Answers when there may be room, when there is none.
    async fn reserve(&self, name: &str, paced: &Paced, units: i64, terms: Terms<'_>) -> Result<Result<(), Millis>> {
        let _one = paced.writing.lock().await;
        let now = self.clock.now();
        // Whoever held the lock may have reserved enough for both.
        if paced.window().look(units, terms.protect, now) != Take::Reserve {
            return Ok(Ok(()));
        }
        let Some(version) = paced.window().version() else {
            self.read(name, paced).await?;
            return Ok(Ok(()));
        };
        let planned = paced.window().plan(units, terms.protect, terms.owned, now);
        let planned = match planned {
            Ok(planned) => planned,
            Err(until) => return Ok(Err(until)),
        };
        if budgets::write(&self.db, &self.connection, name, planned.spent.text(), version).await? {
            paced.window().reserved(planned, version + 1);
        } else {
            paced.window().unread();
        }
        Ok(Ok(()))
    }

    async fn read(&self, name: &str, paced: &Paced) -> Result<()> {
        let rows = budgets::of(&self.db, &self.connection).await?;
        let row = rows.iter().find(|row| row.0 == name);
        paced.window().read(row.map_or_else(Spent::default, |row| Spent::read(&row.1)), row.map_or(0, |row| row.2));
        let mut blocked = self.blocked.lock().unwrap_or_else(PoisonError::into_inner);
        for (name, _, _, until) in rows {
            let known = blocked.entry(name).or_default();
            *known = until.max(*known);
        }
        Ok(())
    }

    /// Gives back what was reserved and not used, and forgets the rest: another replica may be the next to spend.
    ///
    /// # Errors
    /// The store's.
    pub async fn give_back(&self) -> Result<()> {
        for (name, paced) in &self.budgets {
            let _one = paced.writing.lock().await;
            let version = paced.window().version();
            if let Some(version) = version {
                let spent = paced.window().settle(self.clock.now());
                budgets::write(&self.db, &self.connection, name, spent.text(), version).await?;
            }
            paced.window().forget();
        }
        Ok(())
    }

    /// Forgets what is known: another replica may have spent meanwhile.
    pub fn forget(&self) {
        for (_, paced) in &self.budgets {
            paced.window().forget();
        }
        self.blocked.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }

    /// Corrects a budget by what the vendor says of it: other apps spend from the same account.
    pub fn heard(&self, budget: &Budget, response: &Response, now: Millis) {
        let number = |header: &Option<String>| response.header(header.as_ref()?).and_then(|v| v.trim().parse::<i64>().ok());
        let Some(paced) = self.paced(&budget.name) else { return };
        let mut window = paced.window();
        if let Some((used, limit)) = budget.usage_header.as_ref().and_then(|name| response.header(name)).and_then(used_of) {
            window.heard(Some(limit), used, now);
        } else if let Some(left) = number(&budget.remaining_header) {
            let stated = number(&budget.limit_header);
            let limit = stated.unwrap_or_else(|| window.limit());
            window.heard(stated, limit - left, now);
        }
    }

    /// Stops a budget until a time, as the vendor said, for all replicas; `None` stops all of them.
    pub async fn block(&self, budget: Option<&str>, until: Millis) {
        let name = budget.unwrap_or(EVERY);
        self.blocked.lock().unwrap_or_else(PoisonError::into_inner).insert(name.to_owned(), until);
        if let Err(error) = budgets::pause(&self.db, &self.connection, name, until).await {
            tracing::error!(connection = self.connection, %error, "a pause could not be kept: a restart would forget it");
        }
    }

    /// Until when a budget is stopped, as far as this process knows.
    pub fn blocked_until(&self, budget: &str) -> Option<Millis> {
        let blocked = self.blocked.lock().unwrap_or_else(PoisonError::into_inner);
        [budget, EVERY].iter().filter_map(|name| blocked.get(*name).copied()).max()
    }
}

/// `api-usage=24/15000` and what follows a semicolon: used and limit.
fn used_of(text: &str) -> Option<(i64, i64)> {
    let (used, limit) = text.split(';').next()?.rsplit('=').next()?.split_once('/')?;
    Some((used.trim().parse().ok()?, limit.trim().parse().ok()?))
}
