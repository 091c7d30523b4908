//! The day's requests: a rolling window, counted by quarter hours.

use std::collections::VecDeque;

use crate::sdk::Millis;

const SLOT: Millis = 900_000;
const SLOTS: Millis = 96;

/// Requests of the last 24 hours.
#[derive(Debug, Clone)]
pub struct Usage {
    /// Most of them.
    pub limit: u64,
    slots: VecDeque<(Millis, u64)>,
}

impl Usage {
    pub fn new(limit: u64) -> Self {
        Self { limit, slots: VecDeque::new() }
    }

    /// How many were answered.
    pub fn used(&self, now: Millis) -> u64 {
        let oldest = now.div_euclid(SLOT) - SLOTS;
        self.slots.iter().filter(|(slot, _)| *slot > oldest).map(|(_, count)| count).sum()
    }

    /// Counts one more, unless there are too many.
    pub fn spend(&mut self, now: Millis) -> bool {
        let slot = now.div_euclid(SLOT);
        while self.slots.front().is_some_and(|(old, _)| *old <= slot - SLOTS) {
            self.slots.pop_front();
        }
        if self.used(now) >= self.limit {
            return false;
        }
        match self.slots.back_mut() {
            Some((last, count)) if *last == slot => *count += 1,
            _ => self.slots.push_back((slot, 1)),
        }
        true
    }
}
