//! SQL for replicas: who lives, and which connections are whose.

use serde_json::{Value, json};

use super::Db;
use crate::args;
use crate::clock::Millis;
use crate::errors::Result;

/// A replica: id, name, since when, last heartbeat by the database's clock, 1 when it is leaving.
pub type Replica = (String, String, Millis, Millis, i64);
const ALL: &str = "SELECT id, name, started_at, beat_at, leaving FROM replicas ORDER BY id";

/// Every replica that was not found dead, by id.
pub async fn all(db: &Db) -> Result<Vec<Replica>> {
    db.rows(ALL, args![]).await
}

const JOIN: &str = "INSERT INTO replicas (id, name, started_at, beat_at, leaving) VALUES ($1, $2, $3, $3, 0)";

/// A replica begins.
pub async fn join(db: &Db, id: &str, name: &str, now: Millis) -> Result<()> {
    db.put(JOIN, args![id, name, now]).await
}

const BEAT: &str = "UPDATE replicas SET beat_at = $2 WHERE id = $1";

/// A heartbeat. Answers false when the replica was found dead: what it owned may be another's now.
pub async fn beat(db: &Db, id: &str, now: Millis) -> Result<bool> {
    db.touch(BEAT, args![id, now]).await
}

const LEAVING: &str = "UPDATE replicas SET leaving = 1 WHERE id = $1";

/// A replica takes nothing over any more.
pub async fn leaving(db: &Db, id: &str) -> Result<()> {
    db.put(LEAVING, args![id]).await
}

const BURY: &str = "DELETE FROM replicas WHERE id <> $1 AND beat_at <= $2";

/// Finds those dead whose last heartbeat was at this time or before. One that beats at the same moment is either
/// not found dead, or learns it from its heartbeat.
pub async fn bury(db: &Db, me: &str, before: Millis) -> Result<()> {
    db.put(BURY, args![me, before]).await
}

const LEAVE: &str = "DELETE FROM replicas WHERE id = $1";
const RELEASE_ALL: &str = "UPDATE connections SET owner = NULL WHERE owner = $1";

/// A replica ends, and owns nothing any more.
pub async fn leave(db: &Db, id: &str) -> Result<()> {
    let mut tx = db.begin().await?;
    tx.put(RELEASE_ALL, args![id]).await?;
    tx.put(LEAVE, args![id]).await?;
    tx.commit().await
}

/// A connection's owner: its name, the replica's id, the epoch.
pub type Owner = (String, Option<String>, Option<String>);
const OWNERS: &str = "SELECT name, owner, epoch FROM connections ORDER BY name";

/// Which connection is whose, by name.
pub async fn owners(db: &Db) -> Result<Vec<Owner>> {
    db.rows(OWNERS, args![]).await
}

const TAKE: &str = "UPDATE connections SET owner = $2, epoch = item.value ->> 2 FROM json_each(CAST($1 AS TEXT)) AS item
  WHERE connections.name = item.value ->> 0 AND COALESCE(connections.epoch, '') = item.value ->> 1
    AND COALESCE(connections.owner, '') = item.value ->> 3
  RETURNING connections.name";
// What a dead worker had claimed is due at once, or ever later once its claims (deaths, and reads that failed) say that it may be
// what the worker died of (1, 8, 27, 64, 125 s): whoever is killed a few times in a minute is not taken for one whom some record
// kills each time.
const FREE_DELIVERIES: &str = "UPDATE deliveries SET lease = NULL, lease_until = 0,
    due = $2 + CASE WHEN claims > 2 THEN 1000 * (claims - 2) * (claims - 2) * (claims - 2) ELSE 0 END
  WHERE place IS NULL AND state = 'open' AND wanted_version > done_version AND lease IS NOT NULL
    AND connection IN (SELECT value ->> 0 FROM json_each(CAST($1 AS TEXT)))";
// Wanted anew, or given a place again, when the lease had run out.
const FREE_WANTED: &str = "UPDATE deliveries SET lease = NULL, lease_until = 0, place = NULL,
    due = $2 + CASE WHEN claims > 2 THEN 1000 * (claims - 2) * (claims - 2) * (claims - 2) ELSE 0 END
  WHERE place IS NOT NULL AND lease IS NOT NULL AND connection IN (SELECT value ->> 0 FROM json_each(CAST($1 AS TEXT)))";
const FREE_HINTS: &str = "UPDATE dirty SET lease = NULL, lease_until = 0,
    due = $2 + CASE WHEN claims > 2 THEN 1000 * (claims - 2) * (claims - 2) * (claims - 2) ELSE 0 END
  WHERE lease IS NOT NULL AND connection IN (SELECT value ->> 0 FROM json_each(CAST($1 AS TEXT)))";

/// Takes connections over (`[[name, epoch before, epoch, owner before], …]`); what their owner before had claimed is due at `now`.
/// Answers those that nobody else was faster with.
pub async fn take(db: &Db, me: &str, rows: &Value, now: Millis) -> Result<Vec<String>> {
    let mut tx = db.begin().await?;
    let taken: Vec<String> = tx.rows::<(String,)>(TAKE, args![rows, me]).await?.into_iter().map(|(name,)| name).collect();
    let names = Value::from(taken.iter().map(|name| json!([name])).collect::<Vec<_>>());
    tx.put(FREE_DELIVERIES, args![&names, now]).await?;
    tx.put(FREE_WANTED, args![&names, now]).await?;
    tx.put(FREE_HINTS, args![names, now]).await?;
    tx.commit().await?;
    Ok(taken)
}

const RELEASE: &str =
    "UPDATE connections SET owner = NULL WHERE owner = $1 AND name IN (SELECT value ->> 0 FROM json_each(CAST($2 AS TEXT)))";

/// Gives connections back (`[[name], …]`): whoever sees it first takes them.
pub async fn release(db: &Db, me: &str, names: &Value) -> Result<()> {
    db.put(RELEASE, args![me, names]).await
}

const NOW: &str = "SELECT {now}";

/// The database's clock.
pub async fn now(db: &Db) -> Result<Millis> {
    Ok(db.row::<(i64,)>(NOW, args![]).await?.map_or(0, |r| r.0))
}
