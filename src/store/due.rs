//! SQL that finds the connections with work. However much waits, a few index entries per connection are read, and none of
//! a connection where nothing waits.

use serde_json::Value;

use super::{Db, Tx};
use crate::args;
use crate::clock::Millis;
use crate::errors::Result;

// From one connection to the next by the index: a plain GROUP BY would read every row that waits.
const HINTS: &str = "WITH RECURSIVE waits (connection) AS (SELECT MIN(connection) FROM dirty
    UNION ALL SELECT (SELECT MIN(dirty.connection) FROM dirty WHERE dirty.connection > waits.connection) FROM waits WHERE waits.connection IS NOT NULL)
  SELECT connection FROM waits WHERE connection IS NOT NULL
    AND EXISTS (SELECT 1 FROM dirty WHERE dirty.connection = waits.connection AND dirty.due <= $1)";
const DELIVERIES: &str = "WITH RECURSIVE waits (connection) AS (
    SELECT MIN(connection) FROM deliveries WHERE state = 'open' AND wanted_version > done_version
    UNION ALL SELECT (SELECT MIN(deliveries.connection) FROM deliveries WHERE deliveries.connection > waits.connection
      AND deliveries.state = 'open' AND deliveries.wanted_version > deliveries.done_version) FROM waits WHERE waits.connection IS NOT NULL)
  SELECT connection FROM waits WHERE connection IS NOT NULL
    AND EXISTS (SELECT 1 FROM deliveries WHERE deliveries.connection = waits.connection AND deliveries.way IN ('out', 'back') AND deliveries.lane IN (0, 1, 2, 3)
      AND deliveries.due <= $1 AND deliveries.state = 'open' AND deliveries.wanted_version > deliveries.done_version)";
const POLLS: &str = "SELECT cursors.connection FROM cursors JOIN connections ON connections.name = cursors.connection
  WHERE cursors.next_poll_at <= $1 AND cursors.object NOT LIKE 'follow %' AND connections.state = 'connected'";
const SWEEPS: &str = "SELECT DISTINCT connection FROM sweeps WHERE due <= $1";

/// The connections for which a hint, a delivery, a poll or a sweep is due, by name. What is claimed is due again when its lease ends.
///
/// # Errors
/// The store's.
pub async fn connections(db: &Db, now: Millis) -> Result<Vec<String>> {
    let mut names = Vec::new();
    for sql in [HINTS, DELIVERIES, POLLS, SWEEPS] {
        names.extend(db.rows::<(String,)>(sql, args![now]).await?.into_iter().map(|(name,)| name));
    }
    names.sort();
    names.dedup();
    Ok(names)
}

const EXPECT_POLLS: &str = "INSERT INTO cursors (connection, object, next_poll_at, resync_needed, lease_until)
  SELECT value ->> 0, value ->> 1, 0, 0, 0 FROM json_each(CAST($1 AS TEXT)) WHERE true ON CONFLICT (connection, object) DO NOTHING";

/// Makes sure that these objects (`[[connection, object], …]`) are polled; those never polled are due at once.
///
/// # Errors
/// The store's.
pub async fn expect_polls(tx: &mut Tx, objects: &Value) -> Result<()> {
    tx.put(EXPECT_POLLS, args![objects]).await
}
