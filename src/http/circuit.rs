//! A vendor that keeps failing is left alone for growing pauses; its first answer ends them.

use std::sync::{Mutex, PoisonError};

use super::line::Line;
use crate::clock::{Clock, MINUTE, Millis, SECOND};
use crate::errors::Result;
use crate::store::connections;

/// Failed requests in a row after which a vendor is left alone.
const FAILURES: u32 = 8;
/// The first pause; each further one is twice as long.
const PAUSE: Millis = 30 * SECOND;
/// The longest pause.
const LONGEST: Millis = 15 * MINUTE;

/// The alert while a vendor is left alone.
const UNREACHABLE: &str = "connection.unreachable";

/// What has just changed.
#[derive(Debug, PartialEq, Eq)]
pub enum Turned {
    /// Nothing is sent until then. `first` when it was not paused before.
    Paused {
        /// Until when.
        until: Millis,
        /// Whether it is news.
        first: bool,
    },
    /// It answers. `news` when it was paused before, as far as this process knows.
    Answers {
        /// Whether it is news.
        news: bool,
    },
}

#[derive(Debug, Default)]
struct State {
    failures: u32,
    pauses: u32,
    until: Millis,
    answered: bool,
}

/// One connection's circuit.
#[derive(Debug, Default)]
pub struct Circuit(Mutex<State>);

impl Circuit {
    /// A request was answered as it should be, or was not: no answer, or a server's failure.
    pub fn heard(&self, well: bool, now: Millis) -> Option<Turned> {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if well {
            let news = state.pauses > 0;
            let first = !state.answered;
            *state = State { answered: true, ..State::default() };
            return (news || first).then_some(Turned::Answers { news });
        }
        // What was under way when the pause began says nothing new.
        if now < state.until {
            return None;
        }
        state.failures += 1;
        if state.pauses == 0 && state.failures < FAILURES {
            return None;
        }
        let first = state.pauses == 0;
        let pause = PAUSE.saturating_mul(1 << state.pauses.min(10)).min(LONGEST);
        state.pauses += 1;
        state.until = now + pause;
        Some(Turned::Paused { until: state.until, first })
    }
}

/// A request to a connection's vendor was answered as it should be, or was not. A vendor that keeps failing is left alone
/// for a while, and its owner told once; when it answers again, that is said too.
pub(super) async fn heard(line: &Line, well: bool, clock: &Clock) {
    let Some(turned) = line.circuit().heard(well, clock.now()) else { return };
    if let Turned::Paused { until, .. } = &turned {
        line.limits().block(None, *until).await;
    }
    if let Err(error) = tell(line, &turned, clock).await {
        tracing::error!(connection = line.name(), %error, "an alert could not be kept");
    }
}

async fn tell(line: &Line, turned: &Turned, clock: &Clock) -> Result<()> {
    let now = clock.now();
    let mut tx = line.db().begin().await?;
    match turned {
        Turned::Paused { until, first } => {
            tracing::warn!(connection = line.name(), pause_s = (until - now) / SECOND, "the vendor keeps failing: left alone");
            if !first {
                return Ok(());
            }
            let message = format!(
                "{} does not answer, or only with failures: it is left alone and tried again by itself, first after half a minute, later each quarter of an hour; nothing is lost meanwhile",
                line.manifest().title
            );
            connections::raise_alert(&mut tx, &clock.id(), line.name(), UNREACHABLE, &message, now).await?;
        }
        Turned::Answers { news } => {
            if *news {
                tracing::info!(connection = line.name(), "the vendor answers again");
            }
            connections::end_alert(&mut tx, line.name(), UNREACHABLE, now).await?;
        }
    }
    tx.commit().await
}

#[cfg(test)]
mod tests {
    use super::*;

    // Breaks when a vendor that is down is asked all the time, or a single failure pauses one that is well.
    #[test]
    fn pauses_grow_until_an_answer() {
        let circuit = Circuit::default();
        assert_eq!(circuit.heard(true, 0), Some(Turned::Answers { news: false }));
        for _ in 1..FAILURES {
            assert_eq!(circuit.heard(false, 0), None);
        }
        assert_eq!(circuit.heard(true, 0), None);
        for _ in 1..FAILURES {
            assert_eq!(circuit.heard(false, 1_000), None);
        }
        assert_eq!(circuit.heard(false, 1_000), Some(Turned::Paused { until: 31_000, first: true }));
        assert_eq!(circuit.heard(false, 1_500), None, "it was under way already");
        let mut now = 31_000;
        for pause in [60, 120, 240, 480, 900, 900] {
            assert_eq!(circuit.heard(false, now), Some(Turned::Paused { until: now + pause * SECOND, first: false }));
            now += pause * SECOND;
        }
        assert_eq!(circuit.heard(true, now), Some(Turned::Answers { news: true }));
        assert_eq!(circuit.heard(false, now), None);
    }
}
