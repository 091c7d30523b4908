//! Polls that found nothing: what they leave behind is kept together, a moment later, for nothing stands on it. Where it is lost in a
//! crash, the same poll is made once more.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use serde_json::{Value, json};

use super::Db;
use crate::args;
use crate::clock::Millis;
use crate::errors::Result;

const KEEP: &str =
    "WITH item AS MATERIALIZED (SELECT value ->> 0 AS connection, value ->> 1 AS object, value ->> 2 AS cursor, CAST(value ->> 3 AS BIGINT) AS polled_at,
    CAST(value ->> 4 AS BIGINT) AS next_poll_at FROM json_each(CAST($1 AS TEXT)))
  UPDATE cursors SET cursor = item.cursor, polled_at = item.polled_at, next_poll_at = item.next_poll_at FROM item
  WHERE cursors.connection = item.connection AND cursors.object = item.object
    AND COALESCE(cursors.polled_at, 0) NOT BETWEEN item.polled_at + 1 AND $2";

/// How a poll that found nothing has ended.
#[derive(Debug, Clone)]
pub struct Found {
    /// What it reached.
    pub cursor: String,
    /// When it was made.
    pub at: Millis,
    /// When the next is due.
    pub next: Millis,
}

/// Polls that the store has not heard of yet, by connection and object.
#[derive(Default)]
pub struct Quiet(Mutex<BTreeMap<(String, String), Found>>);

impl Quiet {
    /// Notes a poll.
    pub fn note(&self, connection: &str, object: &str, found: Found) {
        self.noted().insert((connection.to_owned(), object.to_owned()), found);
    }

    /// Whether a poll of this object waits to be kept: the store does not say yet when the next is due.
    pub fn has(&self, connection: &str, object: &str) -> bool {
        self.noted().contains_key(&(connection.to_owned(), object.to_owned()))
    }

    /// Keeps what was noted. What cannot be kept is as if it had not been, and so is what somebody else has polled since: a poll
    /// that is later than ours, and not later than `now`, for clocks go back.
    ///
    /// # Errors
    /// The store's.
    pub async fn keep(&self, db: &Db, now: Millis) -> Result<()> {
        let noted = std::mem::take(&mut *self.noted());
        if noted.is_empty() {
            return Ok(());
        }
        let rows = noted.into_iter().map(|((connection, object), found)| json!([connection, object, found.cursor, found.at, found.next]));
        db.put(KEEP, args![Value::from(rows.collect::<Vec<_>>()), now]).await
    }

    fn noted(&self) -> MutexGuard<'_, BTreeMap<(String, String), Found>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
