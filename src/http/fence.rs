//! Whether this replica may call the vendor of a connection: only its owner may, and only for as long as its last
//! heartbeat vouches for it, by a clock that goes on while the process is stopped.

use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, PoisonError, RwLock};

use crate::clock::Clock;

/// A moment on the steady clock, moved on by each heartbeat and shared by all that a replica owns.
pub type Until = Arc<AtomicI64>;

#[derive(Debug, Clone)]
enum Hold {
    Open,
    Closed,
    Until(Until),
}

/// One connection's fence. Commands and tests that work without replicas find it open.
#[derive(Debug)]
pub struct Fence(RwLock<Hold>);

impl Default for Fence {
    fn default() -> Self {
        Self(RwLock::new(Hold::Open))
    }
}

impl Fence {
    fn set(&self, hold: Hold) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = hold;
    }

    /// Nobody may call from here.
    pub fn close(&self) {
        self.set(Hold::Closed);
    }

    /// The connection is ours until then.
    pub fn hold(&self, until: &Until) {
        self.set(Hold::Until(until.clone()));
    }

    /// Whether a call may begin now.
    pub fn holds(&self, clock: &Clock) -> bool {
        match &*self.0.read().unwrap_or_else(PoisonError::into_inner) {
            Hold::Open => true,
            Hold::Closed => false,
            Hold::Until(until) => clock.steady() < until.load(Ordering::SeqCst),
        }
    }
}
