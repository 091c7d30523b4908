//! SQL for budgets: what a connection has spent and reserved at its vendor, and until when it pauses.

use super::Db;
use crate::args;
use crate::clock::Millis;
use crate::errors::Result;

/// A budget's row: its name (`*` for a pause of all), what was spent, the row's version, paused until.
pub type Budget = (String, String, i64, Millis);
const OF: &str = "SELECT budget, spent, version, blocked_until FROM budgets WHERE connection = $1";

/// A connection's budgets.
pub async fn of(db: &Db, connection: &str) -> Result<Vec<Budget>> {
    db.rows(OF, args![connection]).await
}

const WRITE: &str = "INSERT INTO budgets (connection, budget, spent, version, blocked_until) VALUES ($1, $2, $3, $4 + 1, 0)
  ON CONFLICT (connection, budget) DO UPDATE SET spent = excluded.spent, version = excluded.version WHERE budgets.version = $4";

/// Writes what was spent and reserved over `version` of the row, which becomes the next one. Answers false when somebody else has written since.
pub async fn write(db: &Db, connection: &str, budget: &str, spent: String, version: i64) -> Result<bool> {
    db.touch(WRITE, args![connection, budget, spent, version]).await
}

const PAUSE: &str = "INSERT INTO budgets (connection, budget, spent, version, blocked_until) VALUES ($1, $2, '', 0, $3)
  ON CONFLICT (connection, budget) DO UPDATE SET blocked_until = excluded.blocked_until";

/// Keeps that a budget, or with `*` all of them, is not to be touched until then.
pub async fn pause(db: &Db, connection: &str, budget: &str, until: Millis) -> Result<()> {
    db.put(PAUSE, args![connection, budget, until]).await
}

/// Any budget: connection, name, what was spent, paused until.
pub type Line = (String, String, String, Millis);
const ALL: &str = "SELECT connection, budget, spent, blocked_until FROM budgets ORDER BY connection, budget";

/// Every budget.
pub async fn all(db: &Db) -> Result<Vec<Line>> {
    db.rows(ALL, args![]).await
}
