//! SQL for what is kept no longer than it is needed. Pages are read in the order of time, and each is bounded whatever is left of it.

use serde_json::Value;

use super::{Db, Tx};
use crate::args;
use crate::clock::Millis;
use crate::errors::Result;

/// Where a page ended: time and id, or share and id.
pub type Mark<T> = (T, String);

// `EXISTS` among what is selected would have the server read all shares for each page.
const STALE: &str = "SELECT updated_at, id, person, CAST(COALESCE(
    (SELECT 1 FROM shares WHERE shares.person = leads.person LIMIT 1),
    (SELECT 1 FROM records WHERE records.remote_id = leads.remote_id AND records.connection = leads.connection
      AND records.object = leads.object AND records.seen_at >= $3 LIMIT 1),
    (SELECT 1 FROM waiting WHERE waiting.remote_id = leads.remote_id AND waiting.connection = leads.connection
      AND waiting.object = leads.object AND waiting.since > $4 LIMIT 1), 0) AS BIGINT)
  FROM leads WHERE (updated_at, id) > ($1, $2) AND updated_at < $3 ORDER BY updated_at, id LIMIT $5";

/// Leads after a mark that did not change since `before`: when they last did, id, person, and whether (1) it is easily seen that they
/// stay, for what [`forgettable`] asks.
pub async fn stale(
    db: &Db,
    after: &Mark<Millis>,
    before: Millis,
    waiting: Millis,
    limit: i64,
) -> Result<Vec<(Millis, String, String, i64)>> {
    db.rows(STALE, args![after.0, after.1.clone(), before, waiting, limit]).await
}

const LOCK: &str = "SELECT id FROM people WHERE id IN (SELECT value ->> 0 FROM json_each(CAST($1 AS TEXT))) ORDER BY id {skip_locked}";

/// Locks people (`[[person], …]`), but for those whom somebody works with; answers who is locked.
pub async fn lock(tx: &mut Tx, people: &Value) -> Result<Vec<String>> {
    Ok(tx.rows::<(String,)>(LOCK, args![people]).await?.into_iter().map(|(id,)| id).collect())
}

const FORGETTABLE: &str = "SELECT id FROM people WHERE id IN (SELECT value ->> 0 FROM json_each(CAST($1 AS TEXT)))
  AND NOT EXISTS (SELECT 1 FROM shares WHERE shares.person = people.id)
  AND NOT EXISTS (SELECT 1 FROM leads WHERE leads.person = people.id AND leads.updated_at >= $2)
  AND NOT EXISTS (SELECT 1 FROM leads JOIN records ON records.remote_id = leads.remote_id AND records.connection = leads.connection
    AND records.object = leads.object WHERE leads.person = people.id AND records.seen_at >= $2)
  AND NOT EXISTS (SELECT 1 FROM leads JOIN dirty ON dirty.remote_id = leads.remote_id AND dirty.connection = leads.connection
    AND dirty.object = leads.object WHERE leads.person = people.id)
  AND NOT EXISTS (SELECT 1 FROM leads JOIN waiting ON waiting.remote_id = leads.remote_id AND waiting.connection = leads.connection
    AND waiting.object = leads.object WHERE leads.person = people.id AND waiting.since > $3)";

/// Of these people (`[[person], …]`), locked, those of whom nothing was ever shared, whose records did not change since `before`, wait
/// for nothing that they began to wait for after `waiting`, and are not about to be read.
pub async fn forgettable(tx: &mut Tx, people: &Value, before: Millis, waiting: Millis) -> Result<Vec<String>> {
    Ok(tx.rows::<(String,)>(FORGETTABLE, args![people, before, waiting]).await?.into_iter().map(|(id,)| id).collect())
}

const FORGET_DECISIONS: &str = "DELETE FROM decisions WHERE lead IN
  (SELECT id FROM leads WHERE person IN (SELECT value ->> 0 FROM json_each(CAST($1 AS TEXT))))";
const FORGET_WAITING: &str = "DELETE FROM waiting WHERE (remote_id, connection, object) IN
  (SELECT remote_id, connection, object FROM leads WHERE person IN (SELECT value ->> 0 FROM json_each(CAST($1 AS TEXT))))";
const FORGET_RECORDS: &str = "DELETE FROM records WHERE (remote_id, connection, object) IN
  (SELECT remote_id, connection, object FROM leads WHERE person IN (SELECT value ->> 0 FROM json_each(CAST($1 AS TEXT))))";
const FORGET_LEADS: &str = "DELETE FROM leads WHERE person IN (SELECT value ->> 0 FROM json_each(CAST($1 AS TEXT)))";
const FORGET_IDENTITIES: &str = "DELETE FROM identities WHERE person IN (SELECT value ->> 0 FROM json_each(CAST($1 AS TEXT)))";
const FORGET_PEOPLE: &str = "DELETE FROM people WHERE id IN (SELECT value ->> 0 FROM json_each(CAST($1 AS TEXT)))";

/// Forgets people (`[[person], …]`) who have no shares: their keys, what they are found by, their leads and what was decided about them.
pub async fn forget(tx: &mut Tx, people: &Value) -> Result<()> {
    for sql in [FORGET_DECISIONS, FORGET_WAITING, FORGET_RECORDS, FORGET_LEADS, FORGET_IDENTITIES, FORGET_PEOPLE] {
        tx.put(sql, args![people]).await?;
    }
    Ok(())
}

const NO_LEADS: &str =
    "SELECT remote_id, connection, object, CAST(CASE WHEN lead IS NULL AND seen_at < $4 THEN 1 ELSE 0 END AS BIGINT) FROM records
  WHERE (remote_id, connection, object) > ($1, $2, $3) ORDER BY remote_id, connection, object LIMIT $5";

/// A record: id, connection, object.
pub type Record = (String, String, String);

/// Records after one: which, and whether (1) it never became a lead and was not read since `before`.
pub async fn no_leads(db: &Db, after: &Record, before: Millis, limit: i64) -> Result<Vec<(String, String, String, i64)>> {
    db.rows(NO_LEADS, args![after.0.clone(), after.1.clone(), after.2.clone(), before, limit]).await
}

const DROP_WAITING: &str = "DELETE FROM waiting WHERE since <= $2 AND (remote_id, connection, object) IN
    (SELECT value ->> 0, value ->> 1, value ->> 2 FROM json_each(CAST($1 AS TEXT)))";
const DROP_RECORDS: &str = "DELETE FROM records WHERE (remote_id, connection, object) IN
    (SELECT value ->> 0, value ->> 1, value ->> 2 FROM json_each(CAST($1 AS TEXT)))
  AND lead IS NULL AND seen_at < $2
  AND NOT EXISTS (SELECT 1 FROM dirty WHERE dirty.remote_id = records.remote_id AND dirty.connection = records.connection
    AND dirty.object = records.object)
  AND NOT EXISTS (SELECT 1 FROM waiting WHERE waiting.remote_id = records.remote_id AND waiting.connection = records.connection
    AND waiting.object = records.object)";

/// Drops what is known of records (`[[id, connection, object], …]`) that never became leads, were not read since `before`, wait for
/// nothing that they began to wait for after `waiting`, and are not about to be read.
pub async fn drop_records(tx: &mut Tx, records: &Value, before: Millis, waiting: Millis) -> Result<()> {
    tx.put(DROP_WAITING, args![records, waiting]).await?;
    tx.put(DROP_RECORDS, args![records, before]).await
}

const OLD_CHANGES: &str = "SELECT ended_at, id, lead, CAST(CASE WHEN outcome NOT IN ('unchanged', 'echo', 'coalesced', 'updated')
    AND (SELECT 1 FROM leads WHERE leads.remote_id = changes.remote_id AND leads.connection = changes.connection
      AND leads.object = changes.object LIMIT 1) = 1
    AND NOT EXISTS (SELECT 1 FROM changes AS later WHERE later.remote_id = changes.remote_id AND later.connection = changes.connection
      AND later.object = changes.object AND later.outcome NOT IN ('unchanged', 'echo', 'coalesced', 'updated')
      AND (later.ended_at, later.id) > (changes.ended_at, changes.id)) THEN 1 ELSE 0 END AS BIGINT)
  FROM changes WHERE (ended_at, id) > ($1, $2) AND ended_at < $3 ORDER BY ended_at, id LIMIT $4";

/// Changes after a mark that ended before a time: when, id, lead, and whether (1) it is what pages say
/// last of a lead.
pub async fn old_changes(db: &Db, after: &Mark<Millis>, before: Millis, limit: i64) -> Result<Vec<(Millis, String, Option<String>, i64)>> {
    db.rows(OLD_CHANGES, args![after.0, after.1.clone(), before, limit]).await
}

const DROP_CHANGES: &str = "DELETE FROM changes WHERE id IN (SELECT value ->> 0 FROM json_each(CAST($1 AS TEXT)))";
const DROP_DECISIONS: &str = "DELETE FROM decisions WHERE lead IN (SELECT value ->> 0 FROM json_each(CAST($1 AS TEXT))) AND at < $2
  AND EXISTS (SELECT 1 FROM decisions AS later WHERE later.lead = decisions.lead AND later.id > decisions.id)
  AND NOT EXISTS (SELECT 1 FROM shares WHERE shares.lead = decisions.lead AND shares.decision = decisions.id)";

/// Drops changes (`[[change], …]`), and the decisions before a time about leads (`[[lead], …]`) that a later one has replaced and no
/// share came from.
pub async fn drop_changes(tx: &mut Tx, changes: &Value, leads: &Value, before: Millis) -> Result<()> {
    tx.put(DROP_DECISIONS, args![leads, before]).await?;
    tx.put(DROP_CHANGES, args![changes]).await
}

const TRIES: &str = "SELECT share, id, at FROM attempts WHERE (share, id) > ($1, $2) ORDER BY share, id LIMIT $3";

/// Tries to deliver after a mark, by share: share, id, when.
pub async fn tries(db: &Db, after: &Mark<String>, limit: i64) -> Result<Vec<(String, String, Millis)>> {
    db.rows(TRIES, args![after.0.clone(), after.1.clone(), limit]).await
}

const DROP_TRIES: &str = "DELETE FROM attempts WHERE (share, id) IN (SELECT value ->> 0, value ->> 1 FROM json_each(CAST($1 AS TEXT)))";

/// Drops tries (`[[share, id], …]`).
pub async fn drop_tries(tx: &mut Tx, tries: &Value) -> Result<()> {
    tx.put(DROP_TRIES, args![tries]).await
}

const DROP_ALERTS: &str = "DELETE FROM alerts WHERE ended_at < $1";
const END_ALERTS: &str = "UPDATE alerts SET ended_at = $3 WHERE code = $1 AND since <= $2 AND ended_at IS NULL";
const DROP_OVERWRITES: &str = "DELETE FROM overwrites WHERE at <= $1";

/// Drops alerts that ended before a time.
pub async fn drop_alerts(tx: &mut Tx, before: Millis) -> Result<()> {
    tx.put(DROP_ALERTS, args![before]).await
}

/// Ends alerts of a kind that were raised up to a time, for that they told of passes by itself.
pub async fn end_alerts(tx: &mut Tx, code: &str, since: Millis, now: Millis) -> Result<()> {
    tx.put(END_ALERTS, args![code, since, now]).await
}

/// Drops what was written over values of our own up to a time.
pub async fn drop_overwrites(tx: &mut Tx, until: Millis) -> Result<()> {
    tx.put(DROP_OVERWRITES, args![until]).await
}
