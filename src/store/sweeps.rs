//! SQL for sweeps: creates that were once in doubt, looked for again and ever more rarely.

use serde_json::Value;

use super::{Db, Tx};
use crate::args;
use crate::clock::Millis;
use crate::errors::Result;

const ADD: &str = "INSERT INTO sweeps (share, connection, sent_at, due)
  SELECT value ->> 0, $2, CAST(value ->> 1 AS BIGINT), CAST(value ->> 2 AS BIGINT) FROM json_each(CAST($1 AS TEXT)) WHERE true
  ON CONFLICT (share) DO UPDATE SET sent_at = excluded.sent_at, due = excluded.due";

/// Has creates looked for again (`[[share, sent at, due], …]`).
///
/// # Errors
/// The store's.
pub async fn add(tx: &mut Tx, connection: &str, rows: Vec<Value>) -> Result<()> {
    if rows.is_empty() {
        return Ok(());
    }
    tx.put(ADD, args![Value::from(rows), connection]).await
}

/// A create to be looked for: share, when it was sent, person, marker, the record that is known by now. Without a person
/// when nothing is known of it any more.
pub type Sweep = (String, Millis, Option<String>, Option<String>, Option<String>);
const DUE: &str = "SELECT sweeps.share, sweeps.sent_at, remote_people.person, remote_people.marker, remote_people.remote_id
  FROM sweeps LEFT JOIN shares ON shares.id = sweeps.share
  LEFT JOIN remote_people ON remote_people.person = shares.person AND remote_people.connection = sweeps.connection
  WHERE sweeps.connection = $1 AND sweeps.due <= $2 ORDER BY sweeps.due, sweeps.share LIMIT $3";

/// The creates at a connection that are to be looked for now.
///
/// # Errors
/// The store's.
pub async fn due(db: &Db, connection: &str, now: Millis, limit: usize) -> Result<Vec<Sweep>> {
    db.rows(DUE, args![connection, now, limit as i64]).await
}

const END: &str = "DELETE FROM sweeps WHERE share IN (SELECT value ->> 0 FROM json_each(CAST($1 AS TEXT)))";

/// These (`[[share], …]`) are looked for no more.
///
/// # Errors
/// The store's.
pub async fn end(tx: &mut Tx, shares: &Value) -> Result<()> {
    tx.put(END, args![shares.clone()]).await
}

const REOPEN: &str = "UPDATE deliveries SET state = 'open', wanted_version = wanted_version + 1, wanted_at = $2, due = $2, attempts = 0,
    claims = 0, lease = NULL, lease_until = 0
  WHERE way = 'out' AND state = 'ended' AND done_version < wanted_version AND share IN (SELECT value ->> 0 FROM json_each(CAST($1 AS TEXT)))
    AND EXISTS (SELECT 1 FROM shares WHERE shares.id = deliveries.share AND shares.status = 'recalled')";

/// Opens deliveries (`[[share], …]`) of shares that were taken back when there was no record: there is one after all.
///
/// # Errors
/// The store's.
pub async fn reopen(tx: &mut Tx, shares: &Value, now: Millis) -> Result<()> {
    tx.put(REOPEN, args![shares.clone(), now]).await
}
