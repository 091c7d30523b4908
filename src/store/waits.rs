//! SQL for what records of a source wait for, that can pass while they stay as they are.

use serde_json::Value;

use super::{Db, Tx};
use crate::args;
use crate::clock::Millis;
use crate::errors::Result;

// From one word to the next by the index: however many wait, as many entries are read as there are words.
const WORDS: &str = "WITH RECURSIVE waits (what) AS (
    SELECT MIN(what) FROM waiting WHERE connection = $1 AND object = $2 AND look_at IS NOT NULL
    UNION ALL SELECT (SELECT MIN(waiting.what) FROM waiting WHERE waiting.connection = $1 AND waiting.object = $2 AND waiting.look_at IS NOT NULL
      AND waiting.what > waits.what) FROM waits WHERE waits.what IS NOT NULL)
  SELECT what FROM waits WHERE what IS NOT NULL";

/// Everything that records of an object wait for.
pub async fn words(db: &Db, connection: &str, object: &str) -> Result<Vec<String>> {
    Ok(db.rows::<(String,)>(WORDS, args![connection, object]).await?.into_iter().map(|(what,)| what).collect())
}

const OLDEST: &str = "SELECT remote_id FROM waiting WHERE connection = $1 AND object = $2 AND what = $3 AND since > $4
    AND look_at IS NOT NULL AND look_at <= $5 ORDER BY since, remote_id LIMIT $6";

/// Those that wait longest for something, of those that began to wait after `since` and may be looked at now.
pub async fn oldest(db: &Db, connection: &str, object: &str, what: &str, since: Millis, now: Millis, limit: usize) -> Result<Vec<String>> {
    let rows = db.rows::<(String,)>(OLDEST, args![connection, object, what, since, now, limit as i64]).await?;
    Ok(rows.into_iter().map(|(id,)| id).collect())
}

const LOOK: &str = "UPDATE waiting SET look_at = NULL WHERE connection = $1 AND object = $2
  AND (remote_id, what) IN (SELECT value ->> 0, value ->> 1 FROM json_each(CAST($3 AS TEXT)))";

/// These (`[[record, what], …]`) are looked at now.
pub async fn look(tx: &mut Tx, connection: &str, object: &str, rows: &Value) -> Result<()> {
    tx.put(LOOK, args![connection, object, rows]).await
}

const OF: &str = "SELECT remote_id, what, since, look_at FROM waiting
  WHERE connection = $1 AND object = $2 AND remote_id IN (SELECT value ->> 0 FROM json_each(CAST($3 AS TEXT)))";

/// What these records (`[[id], …]`) wait for: record, what, since, when it may be looked at.
pub async fn of(db: &Db, connection: &str, object: &str, ids: &Value) -> Result<Vec<(String, String, Millis, Option<Millis>)>> {
    db.rows(OF, args![connection, object, ids]).await
}

const OF_RECORD: &str = "SELECT connection, object, what, since, look_at FROM waiting WHERE remote_id = $1 ORDER BY since, what";

/// What a record waits for: connection, object, what, since, when it may be looked at.
pub async fn of_record(db: &Db, record: &str) -> Result<Vec<(String, String, String, Millis, Option<Millis>)>> {
    db.rows(OF_RECORD, args![record]).await
}

const END: &str = "DELETE FROM waiting WHERE connection = $1 AND object = $2
  AND remote_id IN (SELECT value ->> 0 FROM json_each(CAST($3 AS TEXT)))";
const ADD: &str = "INSERT INTO waiting (connection, object, remote_id, what, since, look_at)
  SELECT $1, $2, value ->> 0, value ->> 1, CAST(value ->> 2 AS BIGINT), CAST(value ->> 3 AS BIGINT) FROM json_each(CAST($3 AS TEXT))";

/// What records waited for (`[[id], …]`) becomes what they wait for (`[[id, what, since, look at], …]`).
pub async fn renew(tx: &mut Tx, connection: &str, object: &str, ended: &Value, added: &Value) -> Result<()> {
    tx.put(END, args![connection, object, ended]).await?;
    tx.put(ADD, args![connection, object, added]).await
}
