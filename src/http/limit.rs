//! Budgets: what a connection may spend, paced so that no window is ever exceeded.

use std::collections::HashMap;
use std::num::NonZeroU32;
use std::sync::Mutex;
use std::time::Duration;

use governor::clock::{Clock as GovernorClock, Reference};
use governor::nanos::Nanos;
use governor::state::{InMemoryState, NotKeyed};
use governor::{Quota, RateLimiter};
use leadshare_connectors::sdk::Response;
use leadshare_connectors::sdk::manifest::Budget;

use crate::clock::{Clock, MINUTE, Millis};

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

/// One connection's budgets.
pub struct Limits {
    clock: Clock,
    paces: HashMap<String, (Pace, u32)>,
    blocked: Mutex<HashMap<String, Millis>>,
}

/// How long one may wait inside a call; longer waits are durable snoozes.
const SHORT: Millis = 2_000;

impl Limits {
    /// Paces for these budgets.
    ///
    /// A window of length `w` with limit `n` is kept by a bucket of size `b` filled at `(n - b) / w`:
    /// no window of that length, wherever it starts, sees more than `n`. A tenth of the limit as
    /// bucket leaves nine tenths as the steady rate.
    pub fn new(clock: &Clock, budgets: &[Budget]) -> Self {
        let paces = budgets
            .iter()
            .filter_map(|budget| {
                let burst = (budget.limit / 10).max(1);
                let steady = budget.limit.saturating_sub(burst).max(1);
                let every = Duration::from_millis(budget.window_ms.max(1) as u64) / steady;
                let quota = Quota::with_period(every)?.allow_burst(NonZeroU32::new(burst)?);
                Some((budget.name.clone(), (RateLimiter::direct_with_clock(quota, Ticks(clock.clone())), burst)))
            })
            .collect();
        Self { clock: clock.clone(), paces, blocked: Mutex::default() }
    }

    /// Spends from budgets, waiting a moment where needed.
    ///
    /// # Errors
    /// When it would take longer: the time from which it may be tried again.
    pub async fn spend(&self, cost: &[(&'static str, u32)]) -> Result<(), Millis> {
        for (name, units) in cost {
            loop {
                let now = self.clock.now();
                if let Some(until) = self.blocked_until(name).filter(|until| *until > now) {
                    return Err(until);
                }
                let Some((pace, burst)) = self.paces.get(*name) else { break };
                let units = NonZeroU32::new((*units).clamp(1, *burst)).unwrap_or(NonZeroU32::MIN);
                let wait = match pace.check_n(units) {
                    Ok(Ok(())) | Err(_) => break,
                    Ok(Err(not_until)) => not_until.wait_time_from(Tick(now)).as_millis() as i64 + 1,
                };
                if wait > SHORT {
                    return Err(now + wait);
                }
                self.clock.sleep(wait).await;
            }
        }
        Ok(())
    }

    /// Corrects a budget by what the vendor says of it: when nothing is left (other apps spend from
    /// the same account), it is not touched until its window has passed, a quarter of an hour at most.
    pub fn heard(&self, budget: &Budget, response: &Response, now: Millis) {
        let number =
            |header: &Option<String>| header.as_ref().and_then(|name| response.header(name)).and_then(|v| v.trim().parse::<i64>().ok());
        let usage = budget.usage_header.as_ref().and_then(|name| response.header(name)).and_then(used_of);
        let left = number(&budget.remaining_header).or(usage.map(|(used, limit)| limit - used));
        if left.is_some_and(|left| left <= 0) {
            self.block(Some(&budget.name), now + budget.window_ms.min(15 * MINUTE));
        }
    }

    /// Stops a budget until a time, as the vendor said; `None` stops all of them.
    pub fn block(&self, budget: Option<&str>, until: Millis) {
        if let Ok(mut blocked) = self.blocked.lock() {
            blocked.insert(budget.unwrap_or("*").to_owned(), until);
        }
    }

    /// Until when a budget is stopped.
    pub fn blocked_until(&self, budget: &str) -> Option<Millis> {
        let blocked = self.blocked.lock().ok()?;
        [budget, "*"].iter().filter_map(|name| blocked.get(*name).copied()).max()
    }
}

/// `api-usage=24/15000` and what follows a semicolon: used and limit.
fn used_of(text: &str) -> Option<(i64, i64)> {
    let (used, limit) = text.split(';').next()?.rsplit('=').next()?.split_once('/')?;
    Some((used.trim().parse().ok()?, limit.trim().parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn budget(limit: u32, window_ms: Millis) -> Budget {
        Budget { name: "general".into(), limit, window_ms, limit_header: None, remaining_header: None, usage_header: None }
    }

    // Breaks when a burst after a pause lets any window of the vendor's length exceed the limit.
    #[tokio::test]
    async fn no_window_is_ever_exceeded() {
        let clock = Clock::test(1_000_000);
        let limits = Limits::new(&clock, &[budget(110, 10_000)]);
        let mut sent = Vec::new();
        for i in 0..1_000 {
            if i == 400 {
                clock.advance(30_000);
            }
            while limits.spend(&[("general", 1)]).await.is_err() {
                clock.advance(1_000);
            }
            sent.push(clock.now());
        }
        let worst = sent.iter().map(|start| sent.iter().filter(|t| (*start..start + 10_000).contains(t)).count()).max().unwrap();
        assert!(worst <= 110, "{worst} in one window");
        assert!(worst >= 99, "the budget is wasted: {worst} in the fullest window");
    }

    // Breaks when the vendor says that nothing is left and we go on asking.
    #[tokio::test]
    async fn the_vendors_own_count_wins() {
        let clock = Clock::test(0);
        let daily = Budget { usage_header: Some("sforce-limit-info".into()), ..budget(1_000, 86_400_000) };
        let limits = Limits::new(&clock, std::slice::from_ref(&daily));
        let answer = |usage: &str| Response { status: 200, headers: vec![("sforce-limit-info".into(), usage.into())], body: vec![] };
        limits.heard(&daily, &answer("api-usage=24/15000; per-app-api-usage=17/250(appName=x)"), 0);
        assert_eq!(limits.spend(&[("general", 1)]).await, Ok(()));
        limits.heard(&daily, &answer("api-usage=15000/15000"), 0);
        assert_eq!(limits.spend(&[("general", 1)]).await, Err(15 * MINUTE));
    }

    // Breaks when a vendor's pause is forgotten or binds other budgets.
    #[tokio::test]
    async fn a_pause_binds_its_budget_only() {
        let clock = Clock::test(0);
        let limits = Limits::new(&clock, &[budget(100, 1_000)]);
        limits.block(Some("search"), 5_000);
        assert_eq!(limits.spend(&[("search", 1)]).await, Err(5_000));
        assert_eq!(limits.spend(&[("general", 1)]).await, Ok(()));
        limits.block(None, 9_000);
        assert_eq!(limits.spend(&[("general", 1)]).await, Err(9_000));
    }
}
