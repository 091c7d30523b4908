//! A vendor that keeps failing is left alone for growing pauses; its first answer ends them.

use std::sync::{Mutex, PoisonError};

use crate::clock::{MINUTE, Millis, SECOND};

/// Failed requests in a row after which a vendor is left alone.
const FAILURES: u32 = 8;
/// The first pause; each further one is twice as long.
const PAUSE: Millis = 30 * SECOND;
/// The longest pause.
const LONGEST: Millis = 15 * MINUTE;

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
