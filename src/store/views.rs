//! SQL for the pages that people look at. Reads only, outside of any transaction; lists page by key.

use serde_json::Value;

use super::{Db, verdicts};
use crate::args;
use crate::clock::Millis;
use crate::errors::Result;

/// Where a list goes on: before this time, and before this id at that time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Before {
    /// The time of the last row seen.
    pub at: Millis,
    /// Its id.
    pub id: String,
}

impl Default for Before {
    /// From the newest on.
    fn default() -> Self {
        Self { at: Millis::MAX, id: String::new() }
    }
}

const OUTCOMES_SINCE: &str = "SELECT outcome, COUNT(*) FROM changes WHERE ended_at >= $1 GROUP BY outcome ORDER BY outcome";

/// How changes ended since a moment: outcome, how many.
pub async fn outcomes_since(db: &Db, since: Millis) -> Result<Vec<(String, i64)>> {
    db.rows(OUTCOMES_SINCE, args![since]).await
}

const FAILED: &str =
    "SELECT connection, way, COUNT(*) FROM deliveries WHERE state = 'failed' GROUP BY connection, way ORDER BY connection, way";

/// Deliveries that were given up: connection, way, how many.
pub async fn failed_deliveries(db: &Db) -> Result<Vec<(String, String, i64)>> {
    db.rows(FAILED, args![]).await
}

const HELD: &str = "SELECT COUNT(*) FROM shares WHERE status = 'held'";

/// Shares that wait for a person.
pub async fn held(db: &Db) -> Result<i64> {
    Ok(db.row::<(i64,)>(HELD, args![]).await?.map_or(0, |r| r.0))
}

/// A lead in a list, with how its last telling change ended.
#[derive(Debug, Clone)]
pub struct LeadLine {
    /// Our id.
    pub id: String,
    /// The person.
    pub person: String,
    /// The sharing partner.
    pub partner: String,
    /// The connection that it came through.
    pub connection: String,
    /// When it last changed.
    pub updated_at: Millis,
    /// The sealed lead; absent once erased.
    pub data: Option<String>,
    /// The person's wrapped data key; absent once erased.
    pub data_key: Option<String>,
    /// How the last change ended that said more than "nothing new".
    pub outcome: Option<String>,
    /// Why.
    pub reason: Option<String>,
}

type LeadRow = (String, String, String, String, i64, Option<String>, Option<String>, Option<String>, Option<String>);
const LEADS: &str = "SELECT leads.id, leads.person, leads.partner, leads.connection, leads.updated_at, leads.data, people.data_key, changes.outcome, changes.reason
  FROM leads LEFT JOIN people ON people.id = leads.person
  LEFT JOIN changes ON changes.id = (SELECT latest.id FROM changes AS latest
    WHERE latest.remote_id = leads.remote_id AND latest.connection = leads.connection AND latest.object = leads.object AND latest.outcome NOT IN ('unchanged', 'echo', 'coalesced', 'updated')
    ORDER BY latest.ended_at DESC, latest.id DESC LIMIT 1)
  WHERE (leads.updated_at, leads.id) < ($1, $2) AND ($3 = '' OR changes.outcome = $3)
  ORDER BY leads.updated_at DESC, leads.id DESC LIMIT $4";

/// Leads, newest first; an empty outcome means all.
pub async fn leads(db: &Db, before: &Before, outcome: &str, limit: usize) -> Result<Vec<LeadLine>> {
    let rows = db.rows::<LeadRow>(LEADS, args![before.at, &before.id, outcome, limit as i64]).await?;
    Ok(rows
        .into_iter()
        .map(|(id, person, partner, connection, updated_at, data, data_key, outcome, reason)| LeadLine {
            id,
            person,
            partner,
            connection,
            updated_at,
            data,
            data_key,
            outcome,
            reason,
        })
        .collect())
}

const SHARES_OF: &str = "SELECT lead, recipient, status, progress FROM shares
  WHERE lead IN (SELECT value ->> 0 FROM json_each(CAST($1 AS TEXT))) ORDER BY created_at, id";

/// Where the shares of leads (`[[id], …]`) stand: lead, recipient, status, progress.
pub async fn shares_of(db: &Db, leads: &Value) -> Result<Vec<(String, String, String, String)>> {
    db.rows(SHARES_OF, args![leads]).await
}

/// One change: what was taken in, and how it ended.
#[derive(Debug, Clone)]
pub struct ChangeLine {
    /// Our id.
    pub id: String,
    /// The connection.
    pub connection: String,
    /// The vendor's object.
    pub object: String,
    /// The vendor's id of the record.
    pub remote_id: String,
    /// How many hints it answers.
    pub hints: i64,
    /// When the first hint came.
    pub taken_at: Millis,
    /// When it ended.
    pub ended_at: Millis,
    /// How.
    pub outcome: String,
    /// Why.
    pub reason: String,
    /// The lead, when it is one.
    pub lead: Option<String>,
}

type ChangeRow = (String, String, String, String, i64, i64, i64, String, String, Option<String>);
fn change((id, connection, object, remote_id, hints, taken_at, ended_at, outcome, reason, lead): ChangeRow) -> ChangeLine {
    ChangeLine { id, connection, object, remote_id, hints, taken_at, ended_at, outcome, reason, lead }
}

// A lead that was forgotten cannot be shown any more.
const CHANGES: &str = "SELECT id, connection, object, remote_id, hints, taken_at, ended_at, outcome, reason,
    (SELECT leads.id FROM leads WHERE leads.id = changes.lead) AS lead FROM changes
  WHERE (ended_at, id) < ($1, $2) AND ($3 = '' OR outcome = $3) ORDER BY ended_at DESC, id DESC LIMIT $4";

/// Changes, newest first; an empty outcome means all.
pub async fn changes(db: &Db, before: &Before, outcome: &str, limit: usize) -> Result<Vec<ChangeLine>> {
    let rows = db.rows::<ChangeRow>(CHANGES, args![before.at, &before.id, outcome, limit as i64]).await?;
    Ok(rows.into_iter().map(change).collect())
}

const CHANGES_OF: &str = "SELECT id, connection, object, remote_id, hints, taken_at, ended_at, outcome, reason, lead FROM changes
  WHERE (remote_id, connection, object) = (SELECT remote_id, connection, object FROM leads WHERE id = $1)
  ORDER BY ended_at DESC, id DESC LIMIT 100";

/// The last hundred changes of one lead, newest first.
pub async fn changes_of(db: &Db, lead: &str) -> Result<Vec<ChangeLine>> {
    Ok(db.rows::<ChangeRow>(CHANGES_OF, args![lead]).await?.into_iter().map(change).collect())
}

const DATA_KEY: &str = "SELECT data_key, erased_at FROM people WHERE id = $1";

/// A person's wrapped data key, and when they were erased.
pub async fn data_key(db: &Db, person: &str) -> Result<(Option<String>, Option<Millis>)> {
    Ok(db.row(DATA_KEY, args![person]).await?.unwrap_or_default())
}

/// A decision: id, when, outcome, reason, body.
pub type DecisionLine = (String, Millis, String, String, String);
const DECISIONS_OF: &str = "SELECT id, at, outcome, reason, body FROM decisions WHERE lead = $1 ORDER BY at DESC, id DESC LIMIT 20";

/// The last twenty decisions about a lead, newest first.
pub async fn decisions_of(db: &Db, lead: &str) -> Result<Vec<DecisionLine>> {
    let mut lines = db.rows::<DecisionLine>(DECISIONS_OF, args![lead]).await?;
    verdicts::unfold(db, lines.iter_mut().map(|line| &mut line.4)).await?;
    Ok(lines)
}

/// A share, as its trace shows it.
#[derive(Debug, Clone)]
pub struct ShareLine {
    /// Our id.
    pub id: String,
    /// The receiving partner.
    pub recipient: String,
    /// The agreement.
    pub agreement: String,
    /// The signed terms, by their hash.
    pub terms: String,
    /// The recipient's connection.
    pub connection: String,
    /// Who holds it.
    pub status: String,
    /// What became of it.
    pub progress: String,
    /// Why, for ends.
    pub reason: Option<String>,
    /// The deal's amount.
    pub amount: Option<String>,
    /// When it was shared.
    pub created_at: Millis,
    /// The vendor's id of the record there, once known.
    pub remote_id: Option<String>,
    /// `created`, `adopted` or `unknown`.
    pub made: Option<String>,
}

type ShareRow =
    (String, String, String, String, String, String, String, Option<String>, Option<String>, i64, Option<String>, Option<String>);
const SHARES_OF_LEAD: &str =
    "SELECT shares.id, shares.recipient, shares.agreement, shares.terms, shares.connection, shares.status, shares.progress,
    shares.reason, shares.amount, shares.created_at, remote_people.remote_id, remote_people.made
  FROM shares LEFT JOIN remote_people ON remote_people.connection = shares.connection AND remote_people.person = shares.person
  WHERE shares.lead = $1 ORDER BY shares.created_at, shares.id";

/// The shares of a lead.
pub async fn shares_of_lead(db: &Db, lead: &str) -> Result<Vec<ShareLine>> {
    let rows = db.rows::<ShareRow>(SHARES_OF_LEAD, args![lead]).await?;
    Ok(rows
        .into_iter()
        .map(|(id, recipient, agreement, terms, connection, status, progress, reason, amount, created_at, remote_id, made)| ShareLine {
            id,
            recipient,
            agreement,
            terms,
            connection,
            status,
            progress,
            reason,
            amount,
            created_at,
            remote_id,
            made,
        })
        .collect())
}

/// A move of a share: share, when, status, progress, reason, who said so.
pub type EventLine = (String, Millis, String, String, Option<String>, String);
const EVENTS_OF: &str = "SELECT share, at, status, progress, reason, said_by FROM share_events
  WHERE share IN (SELECT id FROM shares WHERE lead = $1) ORDER BY at, id";

/// Every move of a lead's shares, oldest first.
pub async fn events_of(db: &Db, lead: &str) -> Result<Vec<EventLine>> {
    db.rows(EVENTS_OF, args![lead]).await
}

/// A delivery: share, way, state, wanted version, done version, due, failed tries, last error, state of an open write.
pub type DeliveryLine = (String, String, String, i64, i64, Millis, i64, Option<String>, Option<String>);
const DELIVERIES_OF: &str =
    "SELECT deliveries.share, deliveries.way, deliveries.state, deliveries.wanted_version, deliveries.done_version, deliveries.due,
    deliveries.attempts, deliveries.last_error, deliveries.intent
  FROM deliveries
  WHERE deliveries.share IN (SELECT id FROM shares WHERE lead = $1) ORDER BY deliveries.share, deliveries.way DESC";

/// The deliveries of a lead's shares, both ways.
pub async fn deliveries_of(db: &Db, lead: &str) -> Result<Vec<DeliveryLine>> {
    db.rows(DELIVERIES_OF, args![lead]).await
}

/// A try: share, way, version, when, how long in milliseconds, outcome, code.
pub type AttemptLine = (String, String, i64, Millis, i64, String, Option<String>);
const ATTEMPTS_OF: &str = "SELECT share, way, version, at, took_ms, outcome, code FROM attempts
  WHERE share IN (SELECT id FROM shares WHERE lead = $1) ORDER BY at DESC, id DESC LIMIT 200";

/// The last two hundred tries to deliver a lead, newest first.
pub async fn attempts_of(db: &Db, lead: &str) -> Result<Vec<AttemptLine>> {
    db.rows(ATTEMPTS_OF, args![lead]).await
}

/// Kept proof: share, purposes and channels (`[[purpose, channel], …]`), sealed proof, when it was kept.
pub type ConsentLine = (String, String, Option<String>, Millis);
const CONSENTS_OF: &str = "SELECT share, permits, proof, recorded_at FROM consents
  WHERE share IN (SELECT id FROM shares WHERE lead = $1) ORDER BY recorded_at, share";

/// The proof of consent that a lead's shares rest on.
pub async fn consents_of(db: &Db, lead: &str) -> Result<Vec<ConsentLine>> {
    db.rows(CONSENTS_OF, args![lead]).await
}

/// A poll: connection, object, when the last ended, when the next is due.
pub type PollLine = (String, String, Option<Millis>, Millis);
const POLLS: &str = "SELECT connection, object, polled_at, next_poll_at FROM cursors ORDER BY connection, object";

/// Every poll.
pub async fn polls(db: &Db) -> Result<Vec<PollLine>> {
    db.rows(POLLS, args![]).await
}

/// Tokens without their secrets: connection, end of the access token, no refresh before, failed refreshes in a row.
pub type TokenLine = (String, Option<Millis>, Option<Millis>, i64);
const TOKENS: &str = "SELECT connection, expires_at, cooldown_until, failures FROM tokens ORDER BY connection";

/// How the tokens stand.
pub async fn tokens(db: &Db) -> Result<Vec<TokenLine>> {
    db.rows(TOKENS, args![]).await
}

const CHANGES_OF_RECORD: &str = "SELECT id, connection, object, remote_id, hints, taken_at, ended_at, outcome, reason, lead FROM changes
  WHERE remote_id = $1 ORDER BY ended_at, id LIMIT 100";

/// The changes of a record at a vendor, oldest first, also when it never became a lead.
pub async fn changes_of_record(db: &Db, remote_id: &str) -> Result<Vec<ChangeLine>> {
    Ok(db.rows::<ChangeRow>(CHANGES_OF_RECORD, args![remote_id]).await?.into_iter().map(change).collect())
}
