//! SQL for shares, their events, claims, and the people at recipients.

use serde_json::Value;

use super::{Arg, Db, Tx};
use crate::args;
use crate::clock::Millis;
use crate::errors::Result;

/// A stored share.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Share {
    /// Our id.
    pub id: String,
    /// The person.
    pub person: String,
    /// The lead.
    pub lead: String,
    /// The sharing partner.
    pub source: String,
    /// The receiving partner.
    pub recipient: String,
    /// The agreement's id.
    pub agreement: String,
    /// The signed terms under which it was shared, by their hash.
    pub terms: String,
    /// The recipient's connection.
    pub connection: String,
    /// The recipient's object.
    pub object: String,
    /// Who holds it.
    pub status: String,
    /// What became of it.
    pub progress: String,
    /// Why, for ends.
    pub reason: Option<String>,
    /// The deal's amount as decimal text.
    pub amount: Option<String>,
    /// When it was shared.
    pub created_at: Millis,
}

type Row = (String, String, String, String, String, String, String, String, String, String, String, Option<String>, Option<String>, i64);
fn share(row: Row) -> Share {
    let (id, person, lead, source, recipient, agreement, terms, connection, object, status, progress, reason, amount, created_at) = row;
    Share { id, person, lead, source, recipient, agreement, terms, connection, object, status, progress, reason, amount, created_at }
}

const BY_ID: &str =
    "SELECT id, person, lead, source, recipient, agreement, terms, connection, object, status, progress, reason, amount, created_at
  FROM shares WHERE id IN (SELECT value ->> 0 FROM json_each(CAST($1 AS TEXT)))";

/// Shares by id (`[[id], …]`).
pub async fn by_id(tx: &mut Tx, ids: &Value) -> Result<Vec<Share>> {
    Ok(tx.rows::<Row>(BY_ID, args![ids]).await?.into_iter().map(share).collect())
}

const BY_LEAD: &str =
    "SELECT id, person, lead, source, recipient, agreement, terms, connection, object, status, progress, reason, amount, created_at
  FROM shares WHERE lead IN (SELECT value ->> 0 FROM json_each(CAST($1 AS TEXT))) ORDER BY created_at, id";

/// Shares of leads (`[[lead], …]`).
pub async fn by_lead(tx: &mut Tx, leads: &Value) -> Result<Vec<Share>> {
    Ok(tx.rows::<Row>(BY_LEAD, args![leads]).await?.into_iter().map(share).collect())
}

const AT_RECIPIENT: &str =
    "SELECT id, person, lead, source, recipient, agreement, terms, connection, object, status, progress, reason, amount, created_at
  FROM shares WHERE connection = $1 AND person IN (SELECT value ->> 0 FROM json_each(CAST($2 AS TEXT))) ORDER BY created_at, id";

/// Shares of people at one connection (`[[person], …]`).
pub async fn at_recipient(tx: &mut Tx, connection: &str, people: &Value) -> Result<Vec<Share>> {
    Ok(tx.rows::<Row>(AT_RECIPIENT, args![connection, people]).await?.into_iter().map(share).collect())
}

const CLAIM: &str = "INSERT INTO claims (kind, claim, share, at) SELECT value ->> 0, value ->> 1, value ->> 2, $2 FROM json_each(CAST($1 AS TEXT)) WHERE true
  ON CONFLICT (kind, claim) DO NOTHING";

/// Takes so many unique claims (`[[kind, claim, share], …]`, sorted); answers whether all were free.
pub async fn claim(tx: &mut Tx, rows: impl Into<Arg>, count: u64, now: Millis) -> Result<bool> {
    Ok(tx.touch(CLAIM, args![rows.into(), now], count).await? == count)
}

const RELEASE: &str = "DELETE FROM claims WHERE share IN (SELECT value ->> 0 FROM json_each(CAST($1 AS TEXT)))";

/// Gives up the claims of shares that ended (`[[share], …]`).
pub async fn release(tx: &mut Tx, shares: &Value) -> Result<()> {
    tx.put(RELEASE, args![shares]).await
}

const ADD: &str = "INSERT INTO shares (id, person, lead, source, recipient, agreement, terms, decision, connection, object, status, progress, created_at, updated_at)
  SELECT value ->> 0, value ->> 1, value ->> 2, value ->> 3, value ->> 4, value ->> 5, value ->> 6, value ->> 7, value ->> 8, value ->> 9, value ->> 10, 'new', $2, $2
  FROM json_each(CAST($1 AS TEXT))";

/// Adds shares (`[[id, person, lead, source, recipient, agreement, terms, decision, connection, object, status], …]`).
pub async fn add(tx: &mut Tx, rows: impl Into<Arg>, now: Millis) -> Result<()> {
    tx.put(ADD, args![rows.into(), now]).await
}

const MOVE: &str = "UPDATE shares SET status = item.value ->> 1, progress = item.value ->> 2, reason = item.value ->> 3,
    amount = COALESCE(item.value ->> 4, shares.amount), updated_at = $2
  FROM json_each(CAST($1 AS TEXT)) AS item WHERE shares.id = item.value ->> 0 {only shares.id $1}";
const ADD_EVENTS: &str = "INSERT INTO share_events (id, share, at, status, progress, reason, said_by)
  SELECT value ->> 5, value ->> 0, $2, value ->> 1, value ->> 2, value ->> 3, value ->> 6 FROM json_each(CAST($1 AS TEXT))";

/// Moves shares and keeps each move as an event
/// (`[[share, status, progress, reason, amount, event id, said by], …]`).
pub async fn move_to(tx: &mut Tx, rows: &Value, now: Millis) -> Result<()> {
    tx.put(MOVE, args![rows, now]).await?;
    tx.put(ADD_EVENTS, args![rows, now]).await
}

/// Keeps the first event of new shares (same shape as [`move_to`]).
pub async fn add_events(tx: &mut Tx, rows: impl Into<Arg>, now: Millis) -> Result<()> {
    tx.put(ADD_EVENTS, args![rows.into(), now]).await
}

/// A person at a connection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RemotePerson {
    /// The person.
    pub person: String,
    /// Our marker there.
    pub marker: String,
    /// The vendor's id, once known.
    pub remote_id: Option<String>,
    /// `created`, `adopted` or `unknown`.
    pub made: String,
    /// `wanted`, `live` or `gone`.
    pub state: String,
    /// What the vendor holds of what we wrote, sealed.
    pub shadow: Option<String>,
    /// When it first landed.
    pub landed_at: Option<Millis>,
    /// Until when a write that nobody heard the end of may still be carried out.
    pub open_until: Option<Millis>,
    /// What that one says, by keyed hash.
    pub open_body: Option<String>,
}

impl RemotePerson {
    /// Until when a record that answers as if it were not there may only not be seen yet: it is one of ours, and young.
    pub fn unseen_until(&self, now: Millis, settle_after: Millis) -> Option<Millis> {
        self.landed_at.filter(|_| self.made != "adopted").map(|at| at + settle_after).filter(|until| *until > now)
    }
}

type RemoteRow = (String, String, Option<String>, String, String, Option<String>, Option<i64>, Option<i64>, Option<String>);
fn remote(row: RemoteRow) -> RemotePerson {
    let (person, marker, remote_id, made, state, shadow, landed_at, open_until, open_body) = row;
    RemotePerson { person, marker, remote_id, made, state, shadow, landed_at, open_until, open_body }
}

const WANT: &str = "INSERT INTO remote_people (connection, person, object, marker, made, state)
  SELECT value ->> 0, value ->> 1, value ->> 2, value ->> 3, 'unknown', 'wanted' FROM json_each(CAST($1 AS TEXT)) WHERE true
  ON CONFLICT (connection, person) DO UPDATE SET state = 'wanted', remote_id = NULL, made = 'unknown', shadow = NULL, landed_at = NULL
  WHERE remote_people.state = 'gone'";

/// Reserves a marker per person and connection (`[[connection, person, object, marker], …]`); one
/// that is there stays for ever. A new decision about a person whose record there is gone begins anew.
pub async fn want_remote(tx: &mut Tx, rows: impl Into<Arg>) -> Result<()> {
    tx.put(WANT, args![rows.into()]).await
}

const REMOTE_BY_PERSON: &str = "SELECT person, marker, remote_id, made, state, shadow, landed_at, open_until, open_body FROM remote_people
  WHERE connection = $1 AND person IN (SELECT value ->> 0 FROM json_each(CAST($2 AS TEXT)))";

/// People at a connection (`[[person], …]`).
pub async fn remote_by_person(tx: &mut Tx, connection: &str, people: &Value) -> Result<Vec<RemotePerson>> {
    Ok(tx.rows::<RemoteRow>(REMOTE_BY_PERSON, args![connection, people]).await?.into_iter().map(remote).collect())
}

const ADOPTED: &str = "SELECT remote_people.remote_id, shares.id FROM shares
  JOIN remote_people ON remote_people.connection = $1 AND remote_people.person = shares.person
  WHERE shares.id IN (SELECT value ->> 0 FROM json_each(CAST($2 AS TEXT))) AND remote_people.made = 'adopted' AND remote_people.remote_id IS NOT NULL";

/// Of these shares (`[[share], …]`), the records at a connection that were there before us, with their shares.
pub async fn adopted(db: &Db, connection: &str, ids: &Value) -> Result<Vec<(String, String)>> {
    db.rows(ADOPTED, args![connection, ids]).await
}

const UNTOUCHED: &str = "SELECT shares.id FROM shares
  JOIN remote_people ON remote_people.connection = shares.connection AND remote_people.person = shares.person
  WHERE shares.id IN (SELECT value ->> 0 FROM json_each(CAST($1 AS TEXT))) AND shares.status = 'matched' AND remote_people.remote_id IS NULL
    AND NOT EXISTS (SELECT 1 FROM shares AS received WHERE received.person = shares.person AND received.recipient = shares.source)";

/// Of these shares (`[[share], …]`), those that stand as they were made: no record of the person is known at the recipient, and nobody
/// has given the person to the source.
pub async fn untouched(tx: &mut Tx, ids: &Value) -> Result<Vec<String>> {
    Ok(tx.rows::<(String,)>(UNTOUCHED, args![ids]).await?.into_iter().map(|(id,)| id).collect())
}

const CREATED_BY_OTHERS: &str = "SELECT shares.person, CAST(MAX(deliveries.sent_at) AS BIGINT) FROM shares
  JOIN deliveries ON deliveries.share = shares.id AND deliveries.way = 'out'
  WHERE shares.connection = $1 AND shares.person IN (SELECT value ->> 0 FROM json_each(CAST($2 AS TEXT)))
    AND NOT (shares.id IN (SELECT value ->> 0 FROM json_each(CAST($3 AS TEXT)))) AND deliveries.intent IS NOT NULL AND deliveries.creates = 1
  GROUP BY shares.person";

/// People (`[[person], …]`) whom other shares than these (`[[share], …]`) may have brought to a connection, and when such a create was
/// last sent: nobody knows yet what became of it.
pub async fn created_by_others(tx: &mut Tx, connection: &str, people: &Value, but: &Value) -> Result<Vec<(String, Millis)>> {
    tx.rows(CREATED_BY_OTHERS, args![connection, people, but]).await
}

const REMOTE_BY_ID: &str = "SELECT person, marker, remote_id, made, state, shadow, landed_at, open_until, open_body FROM remote_people
  WHERE connection = $1 AND object = $2 AND remote_id IN (SELECT value ->> 0 FROM json_each(CAST($3 AS TEXT)))";

/// People whose record at a connection is one of these (`[[remote id], …]`): ours.
pub async fn remote_by_id(db: &Db, connection: &str, object: &str, ids: &Value) -> Result<Vec<RemotePerson>> {
    Ok(db.rows::<RemoteRow>(REMOTE_BY_ID, args![connection, object, ids]).await?.into_iter().map(remote).collect())
}

const UNSEEN_BY_MARKER: &str = "SELECT person, marker, remote_id, made, state, shadow, landed_at, open_until, open_body FROM remote_people
  WHERE connection = $1 AND remote_id IS NULL AND marker IN (SELECT value ->> 0 FROM json_each(CAST($2 AS TEXT)))";

/// People at a connection whose record there is not known yet, by marker (`[[marker], …]`).
pub async fn unseen_by_marker(tx: &mut Tx, connection: &str, markers: &Value) -> Result<Vec<RemotePerson>> {
    Ok(tx.rows::<RemoteRow>(UNSEEN_BY_MARKER, args![connection, markers]).await?.into_iter().map(remote).collect())
}

const LAND: &str =
    "WITH item AS MATERIALIZED (SELECT value ->> 0 AS person, value ->> 1 AS remote_id, value ->> 2 AS made, value ->> 3 AS shadow
    FROM json_each(CAST($2 AS TEXT)))
  UPDATE remote_people SET remote_id = item.remote_id,
    made = CASE WHEN remote_people.made = 'unknown' THEN item.made ELSE remote_people.made END,
    shadow = COALESCE(item.shadow, remote_people.shadow), state = 'live', landed_at = COALESCE(remote_people.landed_at, $3)
  FROM item WHERE remote_people.connection = $1 AND remote_people.person = item.person {only remote_people.person $2}
    AND NOT EXISTS (SELECT 1 FROM remote_people AS other WHERE other.connection = $1 AND other.object = remote_people.object
      AND other.remote_id = item.remote_id AND other.person <> remote_people.person)";
const OWNER: &str = "SELECT person FROM remote_people WHERE connection = $1 AND object = $2 AND remote_id = $3";

/// Whose record this is, when it is known as somebody's: one record is one person's.
pub async fn owner(tx: &mut Tx, connection: &str, object: &str, remote_id: &str) -> Result<Option<String>> {
    Ok(tx.rows::<(String,)>(OWNER, args![connection, object, remote_id]).await?.into_iter().next().map(|(person,)| person))
}

/// Notes where people landed (`[[person, remote id, made, sealed shadow], …]`).
pub async fn land(tx: &mut Tx, connection: &str, rows: &Value, now: Millis) -> Result<()> {
    tx.put(LAND, args![connection, rows, now]).await
}

const OPEN: &str = "WITH item AS MATERIALIZED (SELECT value ->> 0 AS person, CAST(value ->> 1 AS BIGINT) AS until, value ->> 2 AS body,
      value ->> 3 AS shadow FROM json_each(CAST($2 AS TEXT)))
  UPDATE remote_people SET open_until = item.until, open_body = item.body, shadow = COALESCE(item.shadow, remote_people.shadow) FROM item
  WHERE remote_people.connection = $1 AND remote_people.person = item.person {only remote_people.person $2}";

/// Notes writes that may still be carried out (`[[person, until, hash of the body, sealed shadow], …]`).
pub async fn open(tx: &mut Tx, connection: &str, rows: &Value) -> Result<()> {
    tx.put(OPEN, args![connection, rows.clone()]).await
}

const REMOTE_GONE: &str =
    "UPDATE remote_people SET state = 'gone' WHERE connection = $1 AND person IN (SELECT value ->> 0 FROM json_each(CAST($2 AS TEXT)))";

/// People whose record there is gone (`[[person], …]`): it is never written to again.
pub async fn remote_gone(tx: &mut Tx, connection: &str, people: &Value) -> Result<()> {
    tx.put(REMOTE_GONE, args![connection, people]).await
}

const ADD_ALIAS: &str = "INSERT INTO remote_aliases (connection, object, old_id, new_id) VALUES ($1, $2, $3, $4)
  ON CONFLICT (connection, object, old_id) DO UPDATE SET new_id = excluded.new_id";

const MOVE_ALIASES: &str = "UPDATE remote_aliases SET new_id = $4 WHERE new_id = $3 AND connection = $1 AND object = $2 AND old_id <> $4";

/// Notes that a record was merged into another, and with it all that were merged into that one before.
pub async fn add_alias(tx: &mut Tx, connection: &str, object: &str, old_id: &str, new_id: &str) -> Result<()> {
    tx.put(ADD_ALIAS, args![connection, object, old_id, new_id]).await?;
    tx.put(MOVE_ALIASES, args![connection, object, old_id, new_id]).await
}

const ALIASES: &str = "WITH item AS MATERIALIZED (SELECT value ->> 0 AS id FROM json_each(CAST($3 AS TEXT)))
  SELECT remote_aliases.old_id, remote_aliases.new_id FROM item
  JOIN remote_aliases ON remote_aliases.old_id = item.id AND remote_aliases.connection = $1 AND remote_aliases.object = $2";

/// Of these records (`[[id], …]`), those that were merged away, each with the one that stands for it now.
pub async fn aliases(tx: &mut Tx, connection: &str, object: &str, ids: &Value) -> Result<Vec<(String, String)>> {
    tx.rows(ALIASES, args![connection, object, ids.clone()]).await
}

const SOURCES: &str = "SELECT DISTINCT COALESCE(remote_aliases.new_id, leads.remote_id) FROM shares JOIN leads ON leads.id = shares.lead
  LEFT JOIN remote_aliases ON remote_aliases.connection = $1 AND remote_aliases.object = $2 AND remote_aliases.old_id = leads.remote_id
  WHERE shares.id IN (SELECT value ->> 0 FROM json_each(CAST($3 AS TEXT)))";

/// The sharers' records that these shares (`[[share], …]`) are of, or that stand for them since they were merged.
pub async fn sources(db: &Db, connection: &str, object: &str, ids: &Value) -> Result<Vec<String>> {
    Ok(db.rows::<(String,)>(SOURCES, args![connection, object, ids]).await?.into_iter().map(|(id,)| id).collect())
}

const FOLLOWED: &str = "SELECT shares.id, remote_people.remote_id FROM shares
  JOIN remote_people ON remote_people.connection = shares.connection AND remote_people.person = shares.person
  WHERE shares.connection = $1 AND shares.id > $4 AND shares.status IN ('delivered', 'acknowledged', 'accepted') AND shares.progress NOT IN ('won', 'lost')
    AND remote_people.object = $2 AND remote_people.state = 'live' AND remote_people.remote_id IS NOT NULL
  ORDER BY shares.id LIMIT $3";

/// Records at a recipient whose fate is still open, after a share in the order of their ids: share and record.
pub async fn followed(tx: &mut Tx, connection: &str, object: &str, after: &str, limit: usize) -> Result<Vec<(String, String)>> {
    tx.rows(FOLLOWED, args![connection, object, limit as i64, after]).await
}

const STATUSES: &str = "SELECT status, progress, COUNT(*) FROM shares GROUP BY status, progress ORDER BY status, progress";

/// How many shares stand where: status, progress, count.
pub async fn statuses(db: &Db) -> Result<Vec<(String, String, i64)>> {
    db.rows(STATUSES, args![]).await
}
