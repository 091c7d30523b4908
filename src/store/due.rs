//! SQL that finds the connections with work. However much waits, a few index entries per connection are read, and none of
//! a connection where nothing waits.

use serde_json::Value;

use super::connections::{self, Connection};
use super::{Db, Tx};
use crate::args;
use crate::clock::Millis;
use crate::errors::Result;

// From one connection to the next by the index: a plain GROUP BY would read every row that waits.
const CONNECTIONS: &str = "WITH RECURSIVE hinted (connection) AS (SELECT MIN(connection) FROM dirty
    UNION ALL SELECT (SELECT MIN(dirty.connection) FROM dirty WHERE dirty.connection > hinted.connection) FROM hinted WHERE hinted.connection IS NOT NULL),
  ready (connection) AS (
    SELECT MIN(connection) FROM deliveries WHERE place IS NOT NULL
    UNION ALL SELECT (SELECT MIN(deliveries.connection) FROM deliveries WHERE deliveries.connection > ready.connection
      AND deliveries.place IS NOT NULL) FROM ready WHERE ready.connection IS NOT NULL),
  waits (connection) AS (
    SELECT MIN(connection) FROM deliveries WHERE place IS NULL AND state = 'open' AND wanted_version > done_version
    UNION ALL SELECT (SELECT MIN(deliveries.connection) FROM deliveries WHERE deliveries.connection > waits.connection
      AND deliveries.place IS NULL AND deliveries.state = 'open' AND deliveries.wanted_version > deliveries.done_version)
      FROM waits WHERE waits.connection IS NOT NULL)
  SELECT connection FROM hinted WHERE connection IS NOT NULL
    AND EXISTS (SELECT 1 FROM dirty WHERE dirty.connection = hinted.connection AND dirty.due <= $1)
  UNION SELECT connection FROM ready WHERE connection IS NOT NULL
  UNION SELECT connection FROM waits WHERE connection IS NOT NULL
    AND EXISTS (SELECT 1 FROM deliveries WHERE deliveries.connection = waits.connection AND deliveries.way IN ('out', 'back')
      AND deliveries.place IS NULL AND deliveries.due <= $1 AND deliveries.state = 'open' AND deliveries.wanted_version > deliveries.done_version)
  UNION SELECT cursors.connection FROM cursors JOIN connections ON connections.name = cursors.connection
    WHERE cursors.next_poll_at <= $1 AND cursors.object NOT LIKE 'follow %' AND connections.state = 'connected'
  UNION SELECT connection FROM sweeps WHERE due <= $1";

/// The connections for which a hint, a delivery, a poll or a sweep is due. What is claimed is due again when its lease ends.
///
/// # Errors
/// The store's.
pub async fn connections(db: &Db, now: Millis) -> Result<Vec<String>> {
    Ok(db.rows::<(String,)>(CONNECTIONS, args![now]).await?.into_iter().map(|(name,)| name).collect())
}

/// What is due on one connection.
#[expect(clippy::struct_excessive_bools, reason = "five questions, each with a yes or a no")]
pub struct Due {
    /// Hints.
    pub hints: bool,
    /// Deliveries to it.
    pub out: bool,
    /// News to it.
    pub back: bool,
    /// Creates to be looked for again.
    pub sweeps: bool,
    /// Records that wait for what may have passed.
    pub waits: bool,
}

const AT_WORK: &str = "SELECT name, partner, connector, state, state_reason, base_url, external_id, scopes, share_from, clock_offset,
    CAST(CASE WHEN EXISTS (SELECT 1 FROM dirty WHERE connection = $1 AND due <= $2) THEN 1 ELSE 0 END AS BIGINT),
    CAST(CASE WHEN EXISTS (SELECT 1 FROM deliveries WHERE connection = $1 AND way = 'out' AND place IS NOT NULL)
      OR EXISTS (SELECT 1 FROM deliveries WHERE connection = $1 AND way = 'out' AND place IS NULL AND due <= $2
        AND state = 'open' AND wanted_version > done_version) THEN 1 ELSE 0 END AS BIGINT),
    CAST(CASE WHEN EXISTS (SELECT 1 FROM deliveries WHERE connection = $1 AND way = 'back' AND place IS NOT NULL)
      OR EXISTS (SELECT 1 FROM deliveries WHERE connection = $1 AND way = 'back' AND place IS NULL AND due <= $2
        AND state = 'open' AND wanted_version > done_version) THEN 1 ELSE 0 END AS BIGINT),
    CAST(CASE WHEN EXISTS (SELECT 1 FROM sweeps WHERE connection = $1 AND due <= $2) THEN 1 ELSE 0 END AS BIGINT),
    CAST(CASE WHEN EXISTS (SELECT 1 FROM waiting WHERE connection = $1 AND look_at IS NOT NULL) THEN 1 ELSE 0 END AS BIGINT)
  FROM connections WHERE name = $1 AND state = 'connected' AND NOT EXISTS (SELECT 1 FROM settings WHERE name = 'stopped')";

type AtWork =
    (String, String, String, String, Option<String>, Option<String>, Option<String>, String, Option<i64>, i64, i64, i64, i64, i64, i64);

/// One connection and what is due on it, when it is connected and not everything is stopped: mostly nothing is, and that is one question.
///
/// # Errors
/// The store's.
pub async fn at_work(db: &Db, connection: &str, now: Millis) -> Result<Option<(Connection, Due)>> {
    let row = db.row::<AtWork>(AT_WORK, args![connection, now]).await?;
    Ok(row.map(|(name, partner, connector, state, why, base, account, scopes, from, offset, hints, out, back, sweeps, waits)| {
        let stored = connections::connection((name, partner, connector, state, why, base, account, scopes, from, offset));
        (stored, Due { hints: hints == 1, out: out == 1, back: back == 1, sweeps: sweeps == 1, waits: waits == 1 })
    }))
}

const EXPECT_POLLS: &str = "INSERT INTO cursors (connection, object, next_poll_at, quiet_since, lease_until)
  SELECT value ->> 0, value ->> 1, 0, $2, 0 FROM json_each(CAST($1 AS TEXT)) WHERE true ON CONFLICT (connection, object) DO NOTHING";

/// Makes sure that these objects (`[[connection, object], …]`) are polled; those never polled are due at once.
///
/// # Errors
/// The store's.
pub async fn expect_polls(tx: &mut Tx, objects: &Value, now: Millis) -> Result<()> {
    tx.put(EXPECT_POLLS, args![objects, now]).await
}
