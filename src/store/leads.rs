//! SQL for records, leads, decisions and changes.

use serde_json::Value;

use super::{Arg, Db, Tx, verdicts};
use crate::args;
use crate::clock::Millis;
use crate::errors::Result;

/// What we know of a source's record: id, version, content hash, lead, state, the news that we wrote there (status words and amounts, no personal data).
pub type KnownRecord = (String, String, String, Option<String>, String, Option<String>);
const RECORDS: &str = "SELECT remote_id, version, content, lead, state, written FROM records
  WHERE connection = $1 AND object = $2 AND remote_id IN (SELECT value ->> 0 FROM json_each(CAST($3 AS TEXT)))";

/// What we know of these records (`[[id], …]`).
pub async fn records(tx: &mut Tx, connection: &str, object: &str, ids: &Value) -> Result<Vec<KnownRecord>> {
    tx.rows(RECORDS, args![connection, object, ids]).await
}

/// The same, outside any transaction.
pub async fn known(db: &Db, connection: &str, object: &str, ids: &Value) -> Result<Vec<KnownRecord>> {
    db.rows(RECORDS, args![connection, object, ids]).await
}

const SHARED: &str = "WITH item AS MATERIALIZED (SELECT value ->> 0 AS id FROM json_each(CAST($3 AS TEXT)))
  SELECT item.id FROM item JOIN records ON records.remote_id = item.id AND records.connection = $1 AND records.object = $2
  WHERE EXISTS (SELECT 1 FROM shares WHERE shares.lead = records.lead
    AND shares.status NOT IN ('declined', 'expired', 'recalled', 'returned', 'erased'))";

/// Of these records (`[[id], …]`), those whose leads somebody has or is about to get.
pub async fn shared(db: &Db, connection: &str, object: &str, ids: &Value) -> Result<Vec<String>> {
    Ok(db.rows::<(String,)>(SHARED, args![connection, object, ids.clone()]).await?.into_iter().map(|(id,)| id).collect())
}

const SAVE_RECORDS: &str = "INSERT INTO records (connection, object, remote_id, version, content, lead, state, seen_at)
  SELECT $1, $2, value ->> 0, value ->> 1, value ->> 2, value ->> 3, value ->> 4, $4 FROM json_each(CAST($3 AS TEXT)) WHERE true
  ON CONFLICT (connection, object, remote_id) DO UPDATE SET version = excluded.version,
    content = CASE WHEN excluded.lead IS NULL AND excluded.content <> '' THEN records.content ELSE excluded.content END,
    lead = COALESCE(excluded.lead, records.lead), state = excluded.state, seen_at = excluded.seen_at";

/// Saves records (`[[id, version, content, lead, state], …]`). Without a lead the content that is known stays as it is: it may
/// have been forgotten since it was read, so that the record counts as changed.
pub async fn save_records(tx: &mut Tx, connection: &str, object: &str, rows: &Value, now: Millis) -> Result<()> {
    tx.put(SAVE_RECORDS, args![connection, object, rows, now]).await
}

const MERGED_INTO: &str = "WITH item AS MATERIALIZED (SELECT value ->> 0 AS id FROM json_each(CAST($3 AS TEXT)))
  SELECT item.id, records.lead FROM item
  JOIN remote_aliases ON remote_aliases.new_id = item.id AND remote_aliases.connection = $1 AND remote_aliases.object = $2
  JOIN records ON records.remote_id = remote_aliases.old_id AND records.connection = $1 AND records.object = $2
  WHERE records.lead IS NOT NULL";

/// The leads of records that were merged into these (`[[id], …]`): which, and whose.
pub async fn merged_into(tx: &mut Tx, connection: &str, object: &str, ids: &Value) -> Result<Vec<(String, String)>> {
    tx.rows(MERGED_INTO, args![connection, object, ids.clone()]).await
}

const FORGET_CONTENT: &str = "WITH item AS MATERIALIZED (SELECT value ->> 0 AS id FROM json_each(CAST($1 AS TEXT)))
  UPDATE records SET content = '' FROM item JOIN leads ON leads.id = item.id
  WHERE records.remote_id = leads.remote_id AND records.connection = leads.connection AND records.object = leads.object";

/// The records of leads (`[[lead], …]`) count as changed the next time that they are read.
pub async fn forget_content(tx: &mut Tx, leads: &Value) -> Result<()> {
    tx.put(FORGET_CONTENT, args![leads]).await
}

const WRITTEN: &str = "WITH item AS MATERIALIZED (SELECT value ->> 0 AS id, value ->> 1 AS written FROM json_each(CAST($3 AS TEXT)))
  UPDATE records SET written = item.written FROM item
  WHERE records.connection = $1 AND records.object = $2 AND records.remote_id = item.id";

/// Keeps what we wrote into source records (`[[id, JSON of the news], …]`), to know it again.
pub async fn save_written(tx: &mut Tx, connection: &str, object: &str, rows: &Value) -> Result<()> {
    tx.put(WRITTEN, args![connection, object, rows]).await
}

const SAVE_LEADS: &str =
    "INSERT INTO leads (id, person, partner, connection, object, remote_id, mapping, data, version, taken_at, updated_at)
  SELECT value ->> 0, value ->> 1, $1, $2, $3, value ->> 2, value ->> 3, value ->> 4, 1, $5, $5 FROM json_each(CAST($4 AS TEXT)) WHERE true
  ON CONFLICT (connection, object, remote_id) DO UPDATE SET person = excluded.person, mapping = excluded.mapping, data = excluded.data,
    version = leads.version + 1, updated_at = excluded.updated_at";

/// Saves leads (`[[id, person, remote id, mapping hash, sealed data], …]`).
pub async fn save_leads(tx: &mut Tx, partner: &str, connection: &str, object: &str, rows: impl Into<Arg>, now: Millis) -> Result<()> {
    tx.put(SAVE_LEADS, args![partner, connection, object, rows.into(), now]).await
}

/// A stored lead.
#[derive(Debug, Clone)]
pub struct StoredLead {
    /// Our id.
    pub id: String,
    /// The person.
    pub person: String,
    /// The sharing partner.
    pub partner: String,
    /// The connection that it came through.
    pub connection: String,
    /// The vendor's object.
    pub object: String,
    /// The vendor's id.
    pub remote_id: String,
    /// The sealed lead; absent once erased.
    pub data: Option<String>,
    /// When it was first taken in.
    pub taken_at: Millis,
    /// When it last changed.
    pub updated_at: Millis,
}

type LeadRow = (String, String, String, String, String, String, Option<String>, i64, i64);
fn lead(row: LeadRow) -> StoredLead {
    let (id, person, partner, connection, object, remote_id, data, taken_at, updated_at) = row;
    StoredLead { id, person, partner, connection, object, remote_id, data, taken_at, updated_at }
}

const LEADS: &str = "SELECT id, person, partner, connection, object, remote_id, data, taken_at, updated_at, version FROM leads
  WHERE id IN (SELECT value ->> 0 FROM json_each(CAST($1 AS TEXT))) {sure by c0, c9}";

/// Leads by id (`[[id], …]`).
pub async fn leads(tx: &mut Tx, ids: &Value) -> Result<Vec<StoredLead>> {
    type Versioned = (String, String, String, String, String, String, Option<String>, i64, i64, i64);
    let rows = tx.rows::<Versioned>(LEADS, args![ids]).await?;
    Ok(rows.into_iter().map(|(a, b, c, d, e, f, g, h, i, _)| lead((a, b, c, d, e, f, g, h, i))).collect())
}

const SOURCES: &str = "SELECT id, connection, object FROM leads WHERE id IN (SELECT value ->> 0 FROM json_each(CAST($1 AS TEXT)))";

/// Where leads (`[[id], …]`) came from: id, connection, object.
pub async fn sources(tx: &mut Tx, ids: &Value) -> Result<Vec<(String, String, String)>> {
    tx.rows(SOURCES, args![ids]).await
}

const OF_PEOPLE: &str = "WITH item AS MATERIALIZED (SELECT value ->> 0 AS id FROM json_each(CAST($2 AS TEXT)))
  SELECT leads.id, leads.person, leads.connection, leads.object, leads.remote_id FROM item JOIN leads ON leads.person = item.id WHERE leads.partner = $1";

/// A partner's leads of people (`[[person], …]`): id, person, and the record: connection, object, id.
pub async fn of_people(tx: &mut Tx, partner: &str, people: &Value) -> Result<Vec<(String, String, String, String, String)>> {
    tx.rows(OF_PEOPLE, args![partner, people.clone()]).await
}

const OTHERS: &str =
    "SELECT id, connection, object, remote_id FROM leads WHERE person IN (SELECT value ->> 0 FROM json_each(CAST($1 AS TEXT)))
    AND id NOT IN (SELECT value ->> 1 FROM json_each(CAST($1 AS TEXT))) ORDER BY id";

/// The other leads of people (`[[person, lead], …]`): id, and the record: connection, object, id.
pub async fn others(tx: &mut Tx, rows: &Value) -> Result<Vec<(String, String, String, String)>> {
    tx.rows(OTHERS, args![rows]).await
}

const LEAD: &str = "SELECT id, person, partner, connection, object, remote_id, data, taken_at, updated_at FROM leads WHERE id = $1";

/// One lead.
pub async fn one(db: &Db, id: &str) -> Result<Option<StoredLead>> {
    Ok(db.row::<LeadRow>(LEAD, args![id]).await?.map(lead))
}

const BY_IDENTITY: &str = "SELECT leads.id, leads.person, leads.partner, leads.connection, leads.object, leads.remote_id, leads.data, leads.taken_at, leads.updated_at
  FROM leads JOIN identities ON identities.person = leads.person WHERE identities.hash = $1 ORDER BY leads.updated_at DESC LIMIT 1";

/// The newest lead of the person behind an identity's hash.
pub async fn by_identity(db: &Db, hash: &str) -> Result<Option<StoredLead>> {
    Ok(db.row::<LeadRow>(BY_IDENTITY, args![hash]).await?.map(lead))
}

const BY_RECORD: &str = "SELECT id, person, partner, connection, object, remote_id, data, taken_at, updated_at FROM leads
  WHERE remote_id = $1 ORDER BY updated_at DESC LIMIT 1";

/// The newest lead whose record at its source has this id.
pub async fn by_record(db: &Db, remote_id: &str) -> Result<Option<StoredLead>> {
    Ok(db.row::<LeadRow>(BY_RECORD, args![remote_id]).await?.map(lead))
}

const SAVE_DATA: &str = "UPDATE leads SET data = item.value ->> 1, version = leads.version + 1, updated_at = $2
  FROM json_each(CAST($1 AS TEXT)) AS item WHERE leads.id = item.value ->> 0 {only leads.id $1}";

/// Saves what is known of leads (`[[id, sealed lead], …]`), and nothing about their records.
pub async fn save_data(tx: &mut Tx, rows: &Value, now: Millis) -> Result<()> {
    tx.put(SAVE_DATA, args![rows.clone(), now]).await
}

const SAVE_DECISIONS: &str = "INSERT INTO decisions (id, lead, change, at, outcome, reason, inputs, body)
  SELECT value ->> 0, value ->> 1, value ->> 2, $2, value ->> 3, value ->> 4, value ->> 5, value ->> 6 FROM json_each(CAST($1 AS TEXT))";

/// Saves decisions (`[[id, lead, change, outcome, reason, sealed inputs, body], …]`).
pub async fn save_decisions(tx: &mut Tx, rows: impl Into<Arg>, now: Millis) -> Result<()> {
    tx.put(SAVE_DECISIONS, args![rows.into(), now]).await
}

const LAST_DECISIONS: &str = "WITH item AS MATERIALIZED (SELECT value ->> 0 AS id FROM json_each(CAST($1 AS TEXT)))
  SELECT item.id, decisions.body FROM item JOIN decisions ON decisions.lead = item.id
    AND decisions.id = (SELECT last.id FROM decisions AS last WHERE last.lead = item.id ORDER BY last.id DESC LIMIT 1)";

/// What was last decided about leads (`[[lead], …]`): lead, body.
pub async fn last_decisions(db: &Db, leads: &Value) -> Result<Vec<(String, String)>> {
    let mut found = db.rows::<(String, String)>(LAST_DECISIONS, args![leads]).await?;
    verdicts::unfold(db, found.iter_mut().map(|(_, body)| body)).await?;
    Ok(found)
}

const SAVE_CHANGES: &str = "INSERT INTO changes (id, connection, object, remote_id, hints, taken_at, ended_at, outcome, reason, lead, decision)
  SELECT value ->> 0, $1, $2, value ->> 1, CAST(value ->> 2 AS BIGINT), CAST(value ->> 3 AS BIGINT), $4, value ->> 4, value ->> 5, value ->> 6, value ->> 7
  FROM json_each(CAST($3 AS TEXT))";

/// Saves how changes ended (`[[id, remote id, hints, taken at, outcome, reason, lead, decision], …]`).
pub async fn save_changes(tx: &mut Tx, connection: &str, object: &str, rows: impl Into<Arg>, now: Millis) -> Result<()> {
    tx.put(SAVE_CHANGES, args![connection, object, rows.into(), now]).await
}

const LAST_ENDS: &str = "WITH item AS MATERIALIZED (SELECT value ->> 0 AS id FROM json_each(CAST($3 AS TEXT)))
  SELECT item.id, changes.outcome, changes.reason FROM item JOIN changes ON changes.id =
    (SELECT last.id FROM changes AS last WHERE last.remote_id = item.id AND last.connection = $1 AND last.object = $2
      ORDER BY last.ended_at DESC, last.id DESC LIMIT 1)";

/// How the last changes of records (`[[id], …]`) ended: record, outcome, reason.
pub async fn last_ends(tx: &mut Tx, connection: &str, object: &str, ids: &Value) -> Result<Vec<(String, String, String)>> {
    tx.rows(LAST_ENDS, args![connection, object, ids]).await
}

const OUTCOMES: &str = "SELECT outcome, COUNT(*), CAST(SUM(hints - 1) AS BIGINT) FROM changes GROUP BY outcome ORDER BY outcome";

/// How changes ended: outcome, how many readings, how many further hints were folded into them.
pub async fn outcomes(db: &Db) -> Result<Vec<(String, i64, i64)>> {
    db.rows(OUTCOMES, args![]).await
}

const SAVE_CONSENTS: &str = "INSERT INTO consents (share, permits, proof, recorded_at)
  SELECT value ->> 0, value ->> 1, value ->> 2, $2 FROM json_each(CAST($1 AS TEXT))";

/// Keeps proof of consent (`[[share, JSON of purposes and channels, sealed proof], …]`).
pub async fn save_consents(tx: &mut Tx, rows: impl Into<Arg>, now: Millis) -> Result<()> {
    tx.put(SAVE_CONSENTS, args![rows.into(), now]).await
}
