//! SQL for the values that we lately wrote over values of our own, by keyed hash: two systems that write to each other
//! for ever show here.

use serde_json::Value;

use super::Tx;
use crate::args;
use crate::clock::Millis;
use crate::errors::Result;

/// One value: person, field, its hash.
pub type Overwrite = (String, String, String);

const RECENT: &str = "SELECT person, field, value FROM overwrites
  WHERE connection = $1 AND person IN (SELECT value ->> 0 FROM json_each(CAST($2 AS TEXT))) AND at > $3 ORDER BY person, field, at, nth";

/// What was written to these people's records (`[[person], …]`) after a time, in order.
pub async fn recent(tx: &mut Tx, connection: &str, people: &Value, after: Millis) -> Result<Vec<Overwrite>> {
    tx.rows(RECENT, args![connection, people, after]).await
}

const FORGET: &str =
    "DELETE FROM overwrites WHERE connection = $1 AND person IN (SELECT value ->> 0 FROM json_each(CAST($2 AS TEXT))) AND at <= $3";
const ADD: &str = "INSERT INTO overwrites (connection, person, field, at, nth, value)
  SELECT $1, value ->> 0, value ->> 1, $3, CAST(value ->> 2 AS BIGINT), value ->> 3 FROM json_each(CAST($2 AS TEXT)) WHERE true
  ON CONFLICT (connection, person, field, at, nth) DO NOTHING";

/// Adds what is written now (`[[person, field, nth at this moment, hash], …]`) and forgets what is older than `after`.
pub async fn add(tx: &mut Tx, connection: &str, rows: &Value, now: Millis, after: Millis) -> Result<()> {
    tx.put(FORGET, args![connection, rows, after]).await?;
    tx.put(ADD, args![connection, rows, now]).await
}
