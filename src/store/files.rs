//! SQL for the files in force: program files and mappings, by hash of their values.

use super::{Db, Tx};
use crate::args;
use crate::clock::Millis;
use crate::errors::Result;

/// A stored file: kind, name, hash, state (`active` or `pending`), reason.
pub type StoredFile = (String, String, String, String, Option<String>);
const CURRENT: &str = "SELECT kind, name, hash, state, reason FROM files WHERE state IN ('active', 'pending') ORDER BY kind, name, state";

/// Every active version, and the versions that wait.
pub async fn current(db: &Db) -> Result<Vec<StoredFile>> {
    db.rows(CURRENT, args![]).await
}

const BODY: &str = "SELECT body FROM files WHERE kind = $1 AND name = $2 AND hash = $3";

/// The text of a version.
pub async fn body(db: &Db, kind: &str, name: &str, hash: &str) -> Result<Option<String>> {
    Ok(db.row::<(String,)>(BODY, args![kind, name, hash]).await?.map(|(text,)| text))
}

const REPLACE: &str = "UPDATE files SET state = 'replaced' WHERE kind = $1 AND name = $2 AND state = $3 AND hash <> $4";
const PUT: &str = "INSERT INTO files (kind, name, hash, body, state, reason, published_at) VALUES ($1, $2, $3, $4, $5, $6, $7)
  ON CONFLICT (kind, name, hash) DO UPDATE SET state = excluded.state, body = excluded.body, reason = excluded.reason, published_at = excluded.published_at";

/// Puts a version in its state; the one that was in that state before becomes history.
#[expect(clippy::too_many_arguments, reason = "a row of the table, column by column")]
pub async fn put(
    tx: &mut Tx,
    kind: &str,
    name: &str,
    hash: &str,
    body: &str,
    state: &str,
    reason: Option<&str>,
    now: Millis,
) -> Result<()> {
    tx.put(REPLACE, args![kind, name, state, hash]).await?;
    tx.put(PUT, args![kind, name, hash, body, state, reason.map(str::to_owned), now]).await
}
