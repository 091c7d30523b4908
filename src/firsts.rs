//! First writes that decisions made ready a moment ago, kept in memory until they are claimed (see `delivery::first`). They may be
//! lost: what is not here is judged when it is prepared, as everything else is.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use leadshare_connectors::sdk::Item;

use crate::clock::{Millis, SECOND};
use crate::store::shares::Share;

/// A write starts within this time after its gates were checked, or starts over.
pub const GATES_HOLD: Millis = 5 * SECOND;
/// So many are kept at most: a few seconds' worth, and a few megabytes.
const MOST: usize = 2_000;
/// A write as its decision made it ready.
pub struct First {
    /// The share, as it was made.
    pub share: Share,
    /// What is to be written.
    pub item: Item,
    /// Every hash that a suppression of the person may stand under. None stood when it was decided.
    pub suppressible: Vec<String>,
    /// When its gates were checked.
    pub judged: Millis,
    /// The program and the recipient's mapping that it was made with, by their hashes.
    pub rules: (String, String),
}

/// What was decided within the last seconds, by share.
#[derive(Default)]
pub struct Firsts(Mutex<BTreeMap<String, First>>);

impl Firsts {
    /// Keeps what a committed decision made ready, where there is room.
    pub fn keep(&self, made: Vec<First>, now: Millis) {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        // Ids sort by time.
        while all.first_entry().is_some_and(|oldest| oldest.get().judged + GATES_HOLD < now) {
            all.pop_first();
        }
        for first in made {
            if all.len() < MOST {
                all.insert(first.share.id.clone(), first);
            }
        }
    }

    /// Takes one out.
    pub fn take(&self, share: &str) -> Option<First> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).remove(share)
    }
}
