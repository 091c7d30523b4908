//! SQL for hints: what may have changed at a vendor and waits to be read, and the polls that raise it.

use std::collections::BTreeMap;

use serde_json::{Value, json};
use tokio::sync::oneshot;

use super::{Db, Tx, inbox};
use crate::args;
use crate::clock::{HOUR, Millis};
use crate::errors::{Error, Result};
use crate::points;

/// A claimed hint.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Dirty {
    /// The record's id at the vendor.
    pub remote_id: String,
    /// The seq that is being read; the row is done only at this seq.
    pub seq: i64,
    /// How many hints this reading answers.
    pub hints: i64,
    /// `look`, `changed`, `deleted`, `merged` or `privacy_deleted`, as the gravest hint said.
    pub kind: String,
    /// For `merged`: the surviving record.
    pub detail: Option<String>,
    /// When the first of them was raised.
    pub raised_at: Millis,
    /// How often it was claimed without being finished.
    pub claims: i64,
}

/// One hint to raise: object, id, kind, detail.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Raise {
    /// The vendor's object.
    pub object: String,
    /// The record's id.
    pub remote_id: String,
    /// `look` when only we want it looked at, otherwise `changed`, `deleted`, `merged` or `privacy_deleted`.
    pub kind: &'static str,
    /// For `merged`: the surviving record.
    pub detail: Option<String>,
}

/// How far webhooks go ahead of what polls raised: what somebody does now is not behind a source's old records, and these are not
/// behind webhooks without end.
const AHEAD: Millis = HOUR;

const RAISE: &str = "INSERT INTO dirty (connection, object, remote_id, seq, done_seq, kind, detail, raised_at, due, lease_until, claims)
  SELECT value ->> 0, value ->> 1, value ->> 2, CAST(value ->> 5 AS BIGINT), 0, value ->> 3, value ->> 4, $2, $3, 0, 0
  FROM json_each(CAST($1 AS TEXT)) WHERE true
  ON CONFLICT (connection, object, remote_id) DO UPDATE SET seq = dirty.seq + excluded.seq, detail = COALESCE(excluded.detail, dirty.detail),
    due = CASE WHEN dirty.due <= excluded.raised_at AND excluded.due < dirty.due THEN excluded.due ELSE dirty.due END,
    kind = CASE WHEN dirty.kind = 'look' THEN excluded.kind
      WHEN excluded.kind IN ('look', 'changed') OR dirty.kind = 'privacy_deleted' THEN dirty.kind ELSE excluded.kind END";

/// Raises hints; many for one record become one row with a higher seq, which keeps the gravest kind.
pub async fn raise(tx: &mut Tx, connection: &str, hints: &[Raise], now: Millis) -> Result<()> {
    tx.put(RAISE, args![rows(hints.iter().map(|hint| (connection, hint))), now, now]).await
}

/// The same for hints of several connections.
pub async fn raise_each(tx: &mut Tx, hints: &[(String, Raise)], now: Millis) -> Result<()> {
    tx.put(RAISE, args![rows(hints.iter().map(|(connection, hint)| (connection.as_str(), hint))), now, now]).await
}

/// The same for webhooks, in a transaction of its own: they go ahead of what polls raised lately.
pub(super) async fn raise_all<'a>(db: &Db, hints: impl Iterator<Item = (&'a str, &'a Raise)>, now: Millis) -> Result<()> {
    db.put(RAISE, args![rows(hints), now, now - AHEAD]).await
}

/// Each record once: how many hints there are of it, and the gravest.
fn rows<'a>(hints: impl Iterator<Item = (&'a str, &'a Raise)>) -> Value {
    let mut counted = BTreeMap::<(&str, &str, &str), (i64, &Raise)>::new();
    for (connection, hint) in hints {
        let entry = counted.entry((connection, &hint.object, &hint.remote_id)).or_insert((0, hint));
        let gravest = if gravity(hint.kind) >= gravity(entry.1.kind) { hint } else { entry.1 };
        *entry = (entry.0 + 1, gravest);
    }
    counted.iter().map(|(at, (n, h))| json!([at.0, h.object, h.remote_id, h.kind, h.detail, n])).collect()
}

/// A kind's own word, of one that was stored.
pub(super) fn kind(word: &str) -> &'static str {
    ["deleted", "merged", "privacy_deleted"].into_iter().find(|kind| *kind == word).unwrap_or("changed")
}

fn gravity(kind: &str) -> u8 {
    match kind {
        "look" => 0,
        "changed" => 1,
        "privacy_deleted" => 3,
        _ => 2,
    }
}

/// A connection's hints that wait for a commit, and who waits with them.
type Waiting = (Vec<(String, Raise)>, oneshot::Sender<()>);

/// Raises the hints of many webhooks that come at the same time with one statement and one commit.
#[derive(Default)]
pub struct Raising {
    queue: std::sync::Mutex<Vec<Waiting>>,
    turn: tokio::sync::Mutex<()>,
}

impl Raising {
    /// Raises hints `(connection, hint)`; answers after the commit. The first of those who come together raises them for all.
    ///
    /// # Errors
    /// The store's: none of them was kept.
    pub async fn raise(&self, db: &Db, hints: &[(String, Raise)], now: Millis) -> Result<()> {
        loop {
            // Asked again when whoever raised them did not come to the end.
            let (done, mut kept) = oneshot::channel();
            self.queue().push((hints.to_vec(), done));
            tokio::select! {
                biased;
                told = &mut kept => if told.is_ok() { return Ok(()) },
                _turn = self.turn.lock() => {
                    let together = std::mem::take(&mut *self.queue());
                    if !together.is_empty() {
                        let hints = together.iter().flat_map(|(hints, _)| hints).map(|(at, hint)| (at.as_str(), hint));
                        if let Db::Sqlite { inbox, .. } = db {
                            inbox.keep(hints, now).await?;
                        } else {
                            points::at("webhook.raised").await;
                            raise_all(db, hints, now).await?;
                        }
                    }
                    for (_, done) in together {
                        let _ = done.send(());
                    }
                    if kept.try_recv().is_ok() {
                        return Ok(());
                    }
                }
            }
        }
    }

    fn queue(&self) -> std::sync::MutexGuard<'_, Vec<Waiting>> {
        self.queue.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

const ANY: &str = "SELECT remote_id FROM dirty WHERE connection = $1 AND object = $2 AND due <= $3 LIMIT 1";
const BUSY: &str =
    "SELECT remote_id FROM dirty WHERE connection = $1 AND object = $2 AND (due <= $3 OR kind = 'look') ORDER BY due LIMIT 1";

/// Whether hints of an object are due, or looks that were raised wait.
pub async fn busy(db: &Db, connection: &str, object: &str, now: Millis) -> Result<bool> {
    Ok(db.row::<(String,)>(BUSY, args![connection, object, now]).await?.is_some())
}

const CLAIM: &str = "WITH picked AS MATERIALIZED (SELECT remote_id AS id FROM dirty
    WHERE connection = $1 AND object = $2 AND due <= $3 AND lease_until <= $3 ORDER BY due, remote_id LIMIT $6 {skip_locked})
  UPDATE dirty SET lease = $4, lease_until = $5, due = $5, claims = claims + 1 FROM picked
  WHERE dirty.connection = $1 AND dirty.object = $2 AND dirty.remote_id = picked.id";
const CLAIMED: &str = "SELECT remote_id, seq, done_seq, kind, detail, raised_at, claims FROM dirty
  WHERE connection = $1 AND object = $2 AND due = $3 AND lease = $4";

/// Claims due hints of one object until `lease_until`, when they are due again; oldest first.
pub async fn claim(
    db: &Db,
    connection: &str,
    object: &str,
    lease: &str,
    now: Millis,
    lease_until: Millis,
    limit: usize,
) -> Result<Vec<Dirty>> {
    type Row = (String, i64, i64, String, Option<String>, i64, i64);
    // Asked aside first: mostly nothing is due, and then nobody has to wait for the writer.
    if db.row::<(String,)>(ANY, args![connection, object, now]).await?.is_none() {
        return Ok(Vec::new());
    }
    if !db.touch(CLAIM, args![connection, object, now, lease, lease_until, limit as i64]).await? {
        return Ok(Vec::new());
    }
    // What was raised since belongs to this reading, too.
    let rows = db.rows::<Row>(CLAIMED, args![connection, object, lease_until, lease]).await?.into_iter();
    let mut claimed: Vec<Dirty> = rows
        .map(|(remote_id, seq, done, kind, detail, raised_at, claims)| Dirty {
            remote_id,
            seq,
            hints: seq - done,
            kind,
            detail,
            raised_at,
            claims,
        })
        .collect();
    claimed.sort_by(|a, b| (a.raised_at, &a.remote_id).cmp(&(b.raised_at, &b.remote_id)));
    Ok(claimed)
}

const FINISH: &str = "DELETE FROM dirty WHERE connection = $1 AND object = $2 AND lease = $4
  AND remote_id IN (SELECT value ->> 0 FROM json_each(CAST($3 AS TEXT)))
  AND (remote_id, seq) IN (SELECT value ->> 0, CAST(value ->> 1 AS BIGINT) FROM json_each(CAST($3 AS TEXT)))";
const FINISH_RAISED: &str =
    "WITH item AS MATERIALIZED (SELECT value ->> 0 AS id, CAST(value ->> 1 AS BIGINT) AS seq FROM json_each(CAST($3 AS TEXT)))
  UPDATE dirty SET done_seq = item.seq, lease = NULL, lease_until = 0, claims = 0, raised_at = $5, due = $5 FROM item
  WHERE dirty.connection = $1 AND dirty.object = $2 AND dirty.lease = $4 AND dirty.remote_id = item.id AND dirty.seq > item.seq";

/// Finishes claimed hints at the seq that was read; what was raised meanwhile stays.
///
/// # Errors
/// When the lease was lost: somebody else has taken the work over, and nothing of this transaction may stay.
pub async fn finish(tx: &mut Tx, connection: &str, object: &str, lease: &str, done: &[&Dirty], now: Millis) -> Result<()> {
    if done.is_empty() {
        return Ok(());
    }
    let rows = Value::from(done.iter().map(|d| json!([d.remote_id, d.seq])).collect::<Vec<_>>());
    let gone = tx.touch(FINISH, args![connection, object, rows.clone(), lease], done.len() as u64).await?;
    let kept = if gone < done.len() as u64 { tx.exec(FINISH_RAISED, args![connection, object, rows, lease, now]).await? } else { 0 };
    if gone + kept != done.len() as u64 {
        return Err(Error::Passing { code: "lease_lost".into(), message: "another worker has taken this over".into() });
    }
    Ok(())
}

const SNOOZE: &str = "UPDATE dirty SET due = $5, lease = NULL, lease_until = 0, claims = CASE WHEN $6 = 1 THEN claims - 1 ELSE claims END
  WHERE connection = $1 AND object = $2 AND lease = $4 AND remote_id IN (SELECT value ->> 0 FROM json_each(CAST($3 AS TEXT)))";

/// Puts claimed hints off until `due`. `free` gives the claim back: waiting is not failing.
pub async fn snooze(db: &Db, connection: &str, object: &str, lease: &str, hints: &[&Dirty], due: Millis, free: bool) -> Result<()> {
    if hints.is_empty() {
        return Ok(());
    }
    let rows = Value::from(hints.iter().map(|d| json!([d.remote_id])).collect::<Vec<_>>());
    db.put(SNOOZE, args![connection, object, rows, lease, due, i64::from(free)]).await
}

const HASTEN: &str = "UPDATE dirty SET due = $2 WHERE connection = $1 AND due > $2 AND lease IS NULL";

/// What was put off on a connection is due now.
pub async fn hasten(tx: &mut Tx, connection: &str, now: Millis) -> Result<()> {
    tx.put(HASTEN, args![connection, now]).await
}

// What goes ahead of others is due when it was raised.
const PENDING: &str = "SELECT connection, COUNT(*), CAST(MIN(CASE WHEN due < raised_at THEN raised_at ELSE due END) AS BIGINT) FROM dirty GROUP BY connection";

/// How many hints wait per connection, and when the first is due.
pub async fn pending(db: &Db) -> Result<Vec<(String, i64, i64)>> {
    let mut waiting: BTreeMap<String, (i64, i64)> = BTreeMap::new();
    for (connection, count, due) in db.rows::<(String, i64, i64)>(PENDING, args![]).await?.into_iter().chain(inbox::waiting(db).await?) {
        let entry = waiting.entry(connection).or_insert((0, due));
        *entry = (entry.0 + count, entry.1.min(due));
    }
    Ok(waiting.into_iter().map(|(connection, (count, due))| (connection, count, due)).collect())
}

const SEEN: &str =
    "WITH item AS MATERIALIZED (SELECT value ->> 0 AS id, value ->> 1 AS version, value ->> 2 AS state FROM json_each(CAST($3 AS TEXT)))
  SELECT item.id FROM item JOIN records ON records.connection = $1 AND records.object = $2 AND records.remote_id = item.id
    {only records.remote_id $3}
  WHERE (records.version = item.version OR records.version LIKE item.version || '/%') AND records.state = item.state";

/// Of polled (id, version, state), the ids that were taken in at just that version. A record that
/// was followed has a version of its own, a slash, and that of what it was turned into.
pub async fn already_seen(db: &Db, connection: &str, object: &str, polled: &Value) -> Result<Vec<String>> {
    Ok(db.rows::<(String,)>(SEEN, args![connection, object, polled]).await?.into_iter().map(|(id,)| id).collect())
}

/// Where a poll stands: cursor, when the next is due, since when polls found nothing.
pub type Cursor = (Option<String>, Millis, Millis);
const CURSORS: &str = "SELECT object, cursor, next_poll_at, quiet_since FROM cursors WHERE connection = $1 AND object IN ($2, $3)";

/// Where the poll of an object stands, and the one that follows what leads turn into there.
pub async fn cursors(db: &Db, connection: &str, object: &str, follow: &str) -> Result<(Option<Cursor>, Option<Cursor>)> {
    let (mut polled, mut followed) = (None, None);
    for (name, cursor, due, quiet_since) in
        db.rows::<(String, Option<String>, Millis, Millis)>(CURSORS, args![connection, object, follow]).await?
    {
        let which = if name == object { &mut polled } else { &mut followed };
        *which = Some((cursor, due, quiet_since));
    }
    Ok((polled, followed))
}

const SAVE_CURSOR: &str =
    "INSERT INTO cursors (connection, object, cursor, next_poll_at, quiet_since, lease_until) VALUES ($1, $2, $3, $4, 0, 0)
  ON CONFLICT (connection, object) DO UPDATE SET cursor = COALESCE(excluded.cursor, cursors.cursor), next_poll_at = excluded.next_poll_at";

/// Saves where a poll stands, in the transaction that saves what it raised.
pub async fn save_cursor(tx: &mut Tx, connection: &str, object: &str, cursor: Option<String>, next_poll_at: Millis) -> Result<()> {
    tx.put(SAVE_CURSOR, args![connection, object, cursor, next_poll_at]).await
}

const POLLED: &str = "UPDATE cursors SET cursor = COALESCE($3, cursor), polled_at = $4, next_poll_at = $5,
    quiet_since = CASE WHEN $6 = 1 THEN $4 ELSE quiet_since END
  WHERE connection = $1 AND object = $2";

/// A poll has ended at `now`, where `cursor` says; `found` when it raised something.
pub async fn polled(
    tx: &mut Tx,
    connection: &str,
    object: &str,
    cursor: Option<String>,
    now: Millis,
    next_poll_at: Millis,
    found: bool,
) -> Result<()> {
    tx.put(POLLED, args![connection, object, cursor, now, next_poll_at, i64::from(found)]).await
}
