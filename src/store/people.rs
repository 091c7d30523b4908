//! SQL for people, their identities, suppressions and what stands about them.

use serde_json::Value;

use super::Tx;
use crate::args;
use crate::clock::Millis;
use crate::errors::Result;

const BY_HASH: &str = "SELECT identities.hash, identities.person, people.data_key, people.erased_at FROM identities
  JOIN people ON people.id = identities.person
  WHERE identities.hash IN (SELECT value ->> 0 FROM json_each(CAST($1 AS TEXT))) {sure by c0, c1, c3}";

/// Identity hash, person, wrapped data key, erased since.
pub type Known = (String, String, Option<String>, Option<i64>);

/// The people known under these hashes (`[[hash], …]`).
pub async fn by_hash(tx: &mut Tx, hashes: &Value) -> Result<Vec<Known>> {
    tx.rows(BY_HASH, args![hashes]).await
}

const ADD: &str = "INSERT INTO people (id, data_key, created_at) SELECT value ->> 0, value ->> 1, $2 FROM json_each(CAST($1 AS TEXT))";
const ADD_IDENTITIES: &str =
    "INSERT INTO identities (hash, person) SELECT value ->> 0, value ->> 1 FROM json_each(CAST($1 AS TEXT)) WHERE true
  ON CONFLICT (hash) DO NOTHING";

/// Adds people (`[[id, wrapped key], …]`) and identities (`[[hash, person], …]`). Answers whether
/// every identity went to the person meant: `false` = somebody else was faster, decide again.
pub async fn add(tx: &mut Tx, people: &Value, identities: &Value, now: Millis) -> Result<bool> {
    let expected = identities.as_array().map_or(0, Vec::len) as u64;
    if people.as_array().is_some_and(|p| !p.is_empty()) {
        tx.put(ADD, args![people, now]).await?;
    }
    Ok(expected == 0 || tx.touch(ADD_IDENTITIES, args![identities], expected).await? == expected)
}

const LOCK: &str = "SELECT id, data_key, erased_at FROM people WHERE id IN (SELECT value ->> 0 FROM json_each(CAST($1 AS TEXT))) ORDER BY id {for_update} {sure by c0, c2}";

/// Locks people (`[[id], …]`) in a fixed order and answers id, wrapped data key, erased since.
pub async fn lock(tx: &mut Tx, people: &Value) -> Result<Vec<(String, Option<String>, Option<i64>)>> {
    tx.rows(LOCK, args![people]).await
}

const LOCK_OF_SHARES: &str = "SELECT id, data_key, erased_at FROM people
  WHERE id IN (SELECT person FROM shares WHERE id IN (SELECT value ->> 0 FROM json_each(CAST($1 AS TEXT)))) ORDER BY id {for_update} {sure by c0, c2}";

/// Locks the people of shares (`[[share], …]`), as [`lock`] does.
pub async fn lock_of_shares(tx: &mut Tx, shares: &Value) -> Result<Vec<(String, Option<String>, Option<i64>)>> {
    tx.rows(LOCK_OF_SHARES, args![shares]).await
}

const KEYS: &str = "SELECT id, data_key FROM people WHERE id IN (SELECT value ->> 0 FROM json_each(CAST($1 AS TEXT)))";

/// Wrapped data keys of people (`[[id], …]`).
pub async fn data_keys(tx: &mut Tx, people: &Value) -> Result<Vec<(String, Option<String>)>> {
    tx.rows(KEYS, args![people]).await
}

/// A suppression hit: hash, scope, reason, channels (JSON), since.
pub type Suppression = (String, String, String, String, i64);
const SUPPRESSED: &str =
    "SELECT hash, scope, reason, channels, since FROM suppressions WHERE hash IN (SELECT value ->> 0 FROM json_each(CAST($1 AS TEXT)))";

/// Suppressions of these hashes (`[[hash], …]`).
pub async fn suppressed(tx: &mut Tx, hashes: &Value) -> Result<Vec<Suppression>> {
    tx.rows(SUPPRESSED, args![hashes]).await
}

const SUPPRESS: &str = "INSERT INTO suppressions (hash, scope, reason, channels, since)
  SELECT value ->> 0, value ->> 1, value ->> 2, value ->> 3, $2 FROM json_each(CAST($1 AS TEXT)) WHERE true
  ON CONFLICT (hash, reason) DO UPDATE SET channels = excluded.channels";

/// Adds suppressions (`[[hash, scope, reason, channels JSON], …]`).
pub async fn suppress(tx: &mut Tx, rows: &Value, now: Millis) -> Result<u64> {
    tx.exec(SUPPRESS, args![rows, now]).await
}

/// A share that stands: person, share, source, recipient, status, created, agreement, lead.
pub type Standing = (String, String, String, String, String, i64, String, String);
const STANDING: &str = "SELECT person, id, source, recipient, status, created_at, agreement, lead FROM shares
  WHERE person IN (SELECT value ->> 0 FROM json_each(CAST($1 AS TEXT))) ORDER BY created_at, id";

/// Shares of these people (`[[id], …]`).
pub async fn standing(tx: &mut Tx, people: &Value) -> Result<Vec<Standing>> {
    tx.rows(STANDING, args![people]).await
}

const PAUSED: &str = "SELECT DISTINCT partner FROM connections WHERE state = 'paused'";

/// Partners with a paused connection.
pub async fn paused(tx: &mut Tx) -> Result<Vec<String>> {
    Ok(tx.rows::<(String,)>(PAUSED, args![]).await?.into_iter().map(|(p,)| p).collect())
}
