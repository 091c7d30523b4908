//! SQL that only checks read: everything of a table, for the simulation's invariants.

use super::{Db, verdicts};
use crate::args;
use crate::errors::Result;

const CHANGES: &str = "SELECT connection, remote_id, outcome, reason, hints FROM changes ORDER BY ended_at, id";

/// Every change: connection, record, outcome, reason, hints.
pub async fn changes(db: &Db) -> Result<Vec<(String, String, String, String, i64)>> {
    db.rows(CHANGES, args![]).await
}

const INTENTS: &str = "SELECT share, way, intent FROM deliveries WHERE intent IS NOT NULL ORDER BY share, way";

/// Every write whose outcome is open: share, way, state.
pub async fn intents(db: &Db) -> Result<Vec<(String, String, String)>> {
    db.rows(INTENTS, args![]).await
}

const DECISIONS: &str = "SELECT decisions.id, leads.person, decisions.outcome, decisions.inputs, decisions.body FROM decisions
  JOIN leads ON leads.id = decisions.lead ORDER BY decisions.at, decisions.id";

/// Every decision: id, person, outcome, sealed inputs, body.
pub async fn decisions(db: &Db) -> Result<Vec<(String, String, String, Option<String>, String)>> {
    let mut all = db.rows::<(String, String, String, Option<String>, String)>(DECISIONS, args![]).await?;
    verdicts::unfold(db, all.iter_mut().map(|decision| &mut decision.4)).await?;
    Ok(all)
}

const KNOWN: &str = "SELECT connection, remote_id FROM records UNION SELECT connection, remote_id FROM leads
  UNION SELECT connection, remote_id FROM dirty UNION SELECT connection, remote_id FROM waiting UNION SELECT connection, remote_id FROM changes";

/// Every vendor's record that anything is kept of: connection, id.
pub async fn known(db: &Db) -> Result<Vec<(String, String)>> {
    db.rows(KNOWN, args![]).await
}

const SHARES: &str = "SELECT shares.id, shares.source, shares.recipient, shares.status, shares.progress, leads.remote_id, COALESCE(remote_people.remote_id, ''), COALESCE(remote_people.made, '')
  FROM shares JOIN leads ON leads.id = shares.lead
  LEFT JOIN remote_people ON remote_people.connection = shares.connection AND remote_people.person = shares.person ORDER BY shares.id";

/// Every share: id, source, recipient, status, progress, the record at the source, the record at the recipient, how it was made.
pub async fn shares(db: &Db) -> Result<Vec<(String, String, String, String, String, String, String, String)>> {
    db.rows(SHARES, args![]).await
}

const NEXT: &str = "SELECT CAST(MIN(waits.due) AS BIGINT) FROM (SELECT connection, due FROM dirty
    UNION ALL SELECT connection, due FROM deliveries WHERE state = 'open' AND wanted_version > done_version
    UNION ALL SELECT connection, due FROM sweeps
    UNION ALL SELECT connection, next_poll_at FROM cursors WHERE object NOT LIKE 'follow %') AS waits
  JOIN connections ON connections.name = waits.connection WHERE connections.state = 'connected'";

/// When the next hint, delivery, sweep or poll of a connection that works is due.
pub async fn next(db: &Db) -> Result<Option<i64>> {
    Ok(db.row::<(Option<i64>,)>(NEXT, args![]).await?.and_then(|(due,)| due))
}

const WORDS: &str = "SELECT 'ledger', entries FROM ledger
  UNION ALL SELECT 'ledger', entries FROM ledger_waiting
  UNION ALL SELECT 'alerts', subject || ' ' || code || ' ' || message FROM alerts
  UNION ALL SELECT 'changes', reason FROM changes
  UNION ALL SELECT 'waiting', what FROM waiting
  UNION ALL SELECT 'attempts', outcome || ' ' || COALESCE(code, '') FROM attempts
  UNION ALL SELECT 'deliveries', COALESCE(last_error, '') FROM deliveries
  UNION ALL SELECT 'connections', COALESCE(state_reason, '') FROM connections
  UNION ALL SELECT 'decisions', reason || ' ' || body FROM decisions
  UNION ALL SELECT 'verdicts', body FROM verdicts
  UNION ALL SELECT 'share_events', COALESCE(reason, '') || ' ' || said_by FROM share_events";

/// Everything that is kept in clear words: table, text.
pub async fn words(db: &Db) -> Result<Vec<(String, String)>> {
    db.rows(WORDS, args![]).await
}
