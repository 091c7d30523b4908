//! Time, ids and randomness, injected everywhere: the only file that touches the real ones.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};

/// Milliseconds since the Unix epoch, UTC.
pub type Millis = i64;

/// One second in [`Millis`].
pub const SECOND: Millis = 1_000;
/// One minute in [`Millis`].
pub const MINUTE: Millis = 60 * SECOND;
/// One hour in [`Millis`].
pub const HOUR: Millis = 60 * MINUTE;
/// One day of 24 hours in [`Millis`].
pub const DAY: Millis = 24 * HOUR;

/// Where time, ids and randomness come from. Cheap to clone; clones share one source.
#[derive(Clone)]
pub struct Clock(Arc<Source>);

enum Source {
    System(std::time::Instant),
    /// `chance` is where jitter comes from; 0 for none.
    Test {
        now: AtomicI64,
        count: AtomicU64,
        chance: AtomicU64,
    },
}

impl Clock {
    /// The machine's clock and the system's randomness.
    pub fn system() -> Self {
        #[expect(clippy::disallowed_methods, reason = "the one place that reads the machine's clock")]
        let start = std::time::Instant::now();
        Self(Arc::new(Source::System(start)))
    }

    /// A clock that stands at `now` until moved, with ids that count up: the same run makes the same ids.
    /// Nonces and secrets still come from the system.
    pub fn test(now: Millis) -> Self {
        Self::seeded(now, 0)
    }

    /// A test clock whose jitter follows from a seed: the same seed gives the same run. With seed 0 there is none.
    pub fn seeded(now: Millis, seed: u64) -> Self {
        Self(Arc::new(Source::Test { now: AtomicI64::new(now), count: AtomicU64::new(1), chance: AtomicU64::new(seed) }))
    }

    /// The time now.
    pub fn now(&self) -> Millis {
        match &*self.0 {
            #[expect(clippy::disallowed_methods, reason = "the one place that reads the machine's clock")]
            Source::System(_) => jiff::Timestamp::now().as_millisecond(),
            Source::Test { now, .. } => now.load(Ordering::SeqCst),
        }
    }

    /// Milliseconds since this clock was made: goes on evenly, also while the process is stopped, whatever is done to
    /// the machine's time. A test clock answers [`Clock::now`].
    pub fn steady(&self) -> Millis {
        match &*self.0 {
            Source::System(start) => start.elapsed().as_millis() as Millis,
            Source::Test { now, .. } => now.load(Ordering::SeqCst),
        }
    }

    /// Moves a test clock forward; the system's clock does not listen.
    pub fn advance(&self, by: Millis) {
        if let Source::Test { now, .. } = &*self.0 {
            now.fetch_add(by, Ordering::SeqCst);
        }
    }

    /// A new id: sorts by time of making, 36 characters, lower case.
    pub fn id(&self) -> String {
        match &*self.0 {
            #[expect(clippy::disallowed_methods, reason = "the one place that makes ids")]
            Source::System(_) => uuid::Uuid::now_v7().to_string(),
            Source::Test { now, count, .. } => {
                let n = count.fetch_add(1, Ordering::SeqCst);
                let millis = now.load(Ordering::SeqCst) as u64;
                let mut bytes = [0u8; 10];
                bytes[2..].copy_from_slice(&n.to_be_bytes());
                uuid::Builder::from_unix_timestamp_millis(millis, &bytes).into_uuid().to_string()
            }
        }
    }

    /// Bytes that nobody can guess, from the operating system also under a test clock.
    ///
    /// # Errors
    /// When the operating system has no randomness to give.
    pub fn secret<const N: usize>(&self) -> Result<[u8; N], getrandom::Error> {
        let mut bytes = [0u8; N];
        #[expect(clippy::disallowed_methods, reason = "the one place that takes randomness")]
        getrandom::fill(&mut bytes)?;
        Ok(bytes)
    }

    /// Waits. A test clock moves itself forward instead, so that no test ever waits.
    pub async fn sleep(&self, by: Millis) {
        match &*self.0 {
            Source::System(_) => tokio::time::sleep(std::time::Duration::from_millis(by.max(0) as u64)).await,
            Source::Test { .. } => {
                self.advance(by.max(0));
                tokio::task::yield_now().await;
            }
        }
    }

    /// A number in `0..1_000` for jitter; a test clock without a seed always answers 500, the middle.
    pub fn jitter(&self) -> i64 {
        match &*self.0 {
            Source::System(_) => self.secret::<2>().map_or(500, |b| i64::from(u16::from_be_bytes(b)) % 1_000),
            Source::Test { chance, .. } if chance.load(Ordering::SeqCst) == 0 => 500,
            Source::Test { chance, .. } => {
                // The multiplier and addend of Knuth's MMIX; its high bits are the good ones.
                let step = |n: u64| n.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                let before = chance.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |n| Some(step(n).max(1))).unwrap_or_default();
                (before >> 33) as i64 % 1_000
            }
        }
    }
}

/// A time as people and logs read it: RFC 3339, UTC.
pub fn rfc3339(at: Millis) -> String {
    jiff::Timestamp::from_millisecond(at).map_or_else(|_| "out of range".to_owned(), |t| t.to_string())
}
