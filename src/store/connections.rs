//! SQL for connections, connect links, alerts and settings.

use super::{Db, Tx, dirty};
use crate::args;
use crate::clock::Millis;
use crate::errors::Result;

/// A connection as stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Connection {
    /// The name, as in the configuration.
    pub name: String,
    /// The partner whose account it is.
    pub partner: String,
    /// The connector's name.
    pub connector: String,
    /// `new`, `connected`, `reconnect_needed` or `paused`.
    pub state: String,
    /// Why, when a person must act.
    pub state_reason: Option<String>,
    /// The base URL that the vendor gave.
    pub base_url: Option<String>,
    /// The vendor's account id.
    pub external_id: Option<String>,
    /// Granted scopes.
    pub scopes: Vec<String>,
    /// Sharing starts with what people did from this moment on.
    pub share_from: Option<Millis>,
    /// The vendor's clock minus ours, milliseconds.
    pub clock_offset: Millis,
}

pub(super) type Row = (String, String, String, String, Option<String>, Option<String>, Option<String>, String, Option<i64>, i64);

pub(super) fn connection(row: Row) -> Connection {
    let (name, partner, connector, state, state_reason, base_url, external_id, scopes, share_from, clock_offset) = row;
    let scopes = serde_json::from_str(&scopes).unwrap_or_default();
    Connection { name, partner, connector, state, state_reason, base_url, external_id, scopes, share_from, clock_offset }
}

const ADD: &str = "INSERT INTO connections (name, partner, connector, state, scopes, clock_offset, updated_at)
  VALUES ($1, $2, $3, 'new', '[]', 0, $4)
  ON CONFLICT (name) DO UPDATE SET partner = excluded.partner, connector = excluded.connector";

/// Makes sure that a configured connection has a row.
pub async fn ensure(db: &Db, name: &str, partner: &str, connector: &str, now: Millis) -> Result<()> {
    db.put(ADD, args![name, partner, connector, now]).await
}

const ALL: &str = "SELECT name, partner, connector, state, state_reason, base_url, external_id, scopes, share_from, clock_offset
  FROM connections ORDER BY name";

/// Every connection, by name.
pub async fn all(db: &Db) -> Result<Vec<Connection>> {
    Ok(db.rows::<Row>(ALL, args![]).await?.into_iter().map(connection).collect())
}

const ONE: &str = "SELECT name, partner, connector, state, state_reason, base_url, external_id, scopes, share_from, clock_offset
  FROM connections WHERE name = $1";

/// One connection.
pub async fn one(db: &Db, name: &str) -> Result<Option<Connection>> {
    Ok(db.row::<Row>(ONE, args![name]).await?.map(connection))
}

const OF_ACCOUNTS: &str = "SELECT name, partner, connector, state, state_reason, base_url, external_id, scopes, share_from, clock_offset
  FROM connections WHERE external_id IN (SELECT value ->> 0 FROM json_each(CAST($1 AS TEXT)))";

/// The connections of these accounts (`[[vendor's account id], …]`).
pub async fn of_accounts(db: &Db, accounts: &serde_json::Value) -> Result<Vec<Connection>> {
    Ok(db.rows::<Row>(OF_ACCOUNTS, args![accounts.clone()]).await?.into_iter().map(connection).collect())
}

const SET_STATE: &str = "UPDATE connections SET state = $2, state_reason = $3, updated_at = $4 WHERE name = $1";

/// Moves a connection to a state.
pub async fn set_state(tx: &mut Tx, name: &str, state: &str, reason: Option<&str>, now: Millis) -> Result<()> {
    tx.put(SET_STATE, args![name, state, reason.map(str::to_owned), now]).await
}

const CONNECTED: &str = "UPDATE connections SET state = 'connected', state_reason = NULL, updated_at = $2,
  base_url = COALESCE($3, base_url), external_id = COALESCE($4, external_id), scopes = $5, share_from = COALESCE(share_from, $6)
  WHERE name = $1";

// What could not be sent for want of a grant; other waits stand.
const DELIVER_NOW: &str = "UPDATE deliveries SET due = $2 WHERE connection = $1 AND way IN ('out', 'back') AND place IS NULL
  AND due > $2 AND state = 'open' AND wanted_version > done_version AND lease IS NULL AND last_error = 'needs_person'";
const POLL_NOW: &str = "UPDATE cursors SET next_poll_at = $2 WHERE connection = $1 AND next_poll_at > $2";

/// What waited for a person on a connection is due.
pub async fn resume(tx: &mut Tx, name: &str, now: Millis) -> Result<()> {
    tx.put(POLL_NOW, args![name, now]).await?;
    tx.put(DELIVER_NOW, args![name, now]).await?;
    dirty::hasten(tx, name, now).await
}

/// Marks a connection as connected; its work, which waited for that, is due. `share_from` is kept when it was set before:
/// reconnecting neither loses nor widens anything.
pub async fn connected(
    tx: &mut Tx,
    name: &str,
    base_url: Option<String>,
    external_id: Option<String>,
    scopes: &[String],
    share_from: Millis,
    now: Millis,
) -> Result<()> {
    tx.put(CONNECTED, args![name, now, base_url, external_id, serde_json::json!(scopes), share_from]).await?;
    resume(tx, name, now).await
}

const MENDED: &str = "UPDATE connections SET state = 'connected', state_reason = NULL, updated_at = $2
  WHERE name = $1 AND state = 'reconnect_needed'";

/// A connection that was given up has good tokens after all.
pub async fn mended(tx: &mut Tx, name: &str, now: Millis) -> Result<()> {
    tx.put(MENDED, args![name, now]).await
}

const SET_SHARE_FROM: &str = "UPDATE connections SET share_from = $2 WHERE name = $1";

/// Sets from when on sharing starts, as the operator wants it.
pub async fn set_share_from(tx: &mut Tx, name: &str, from: Millis) -> Result<()> {
    tx.put(SET_SHARE_FROM, args![name, from]).await
}

const SET_BASE_URL: &str = "UPDATE connections SET base_url = $2 WHERE name = $1";

/// Keeps a base URL that came with a refreshed token.
pub async fn set_base_url(tx: &mut Tx, name: &str, base_url: &str) -> Result<()> {
    tx.put(SET_BASE_URL, args![name, base_url]).await
}

const SET_OFFSET: &str = "UPDATE connections SET clock_offset = $2 WHERE name = $1";

/// Keeps the vendor's clock minus ours.
pub async fn set_clock_offset(tx: &mut Tx, name: &str, offset: Millis) -> Result<()> {
    tx.put(SET_OFFSET, args![name, offset]).await
}

const ADD_LINK: &str = "INSERT INTO connect_links (token_hash, connection, expires_at) VALUES ($1, $2, $3)";

/// Keeps a connect link, by the hash of its token.
pub async fn add_link(db: &Db, token_hash: &str, connection: &str, expires_at: Millis) -> Result<()> {
    db.put(ADD_LINK, args![token_hash, connection, expires_at]).await
}

const LINK: &str = "SELECT connection FROM connect_links WHERE token_hash = $1 AND expires_at > $2";

/// The connection that a link is for, while it is good.
pub async fn link(db: &Db, token_hash: &str, now: Millis) -> Result<Option<String>> {
    Ok(db.row::<(String,)>(LINK, args![token_hash, now]).await?.map(|(c,)| c))
}

const DROP_LINK: &str = "DELETE FROM connect_links WHERE token_hash = $1 OR expires_at <= $2";

/// Ends a link, and all that ran out.
pub async fn drop_link(db: &Db, token_hash: &str, now: Millis) -> Result<()> {
    db.put(DROP_LINK, args![token_hash, now]).await
}

const ADD_STATE: &str = "INSERT INTO oauth_states (state_hash, connection, link_hash, verifier, expires_at) VALUES ($1, $2, $3, $4, $5)";

/// Keeps an authorization that a browser was sent away with.
pub async fn add_oauth_state(
    db: &Db,
    state_hash: &str,
    connection: &str,
    link_hash: &str,
    verifier: &str,
    expires_at: Millis,
) -> Result<()> {
    db.put(ADD_STATE, args![state_hash, connection, link_hash, verifier, expires_at]).await
}

const TAKE_STATE: &str = "DELETE FROM oauth_states WHERE state_hash = $1 RETURNING connection, link_hash, verifier, expires_at";

/// Takes an authorization out: a state is good once. Answers connection, link hash and sealed verifier.
pub async fn take_oauth_state(db: &Db, state_hash: &str, now: Millis) -> Result<Option<(String, String, String)>> {
    let mut tx = db.begin().await?;
    let row = tx.rows::<(String, String, String, i64)>(TAKE_STATE, args![state_hash]).await?.into_iter().next();
    tx.commit().await?;
    Ok(row.filter(|r| r.3 > now).map(|(connection, link, verifier, _)| (connection, link, verifier)))
}

const RAISE_ALERT: &str = "INSERT INTO alerts (id, subject, code, message, since) VALUES ($1, $2, $3, $4, $5)
  ON CONFLICT (subject, code) WHERE ended_at IS NULL DO UPDATE SET message = excluded.message";

/// Tells people of something that needs one; repeated alerts stay one.
pub async fn raise_alert(tx: &mut Tx, id: &str, subject: &str, code: &str, message: &str, now: Millis) -> Result<()> {
    tx.put(RAISE_ALERT, args![id, subject, code, message, now]).await
}

const END_ALERTS: &str = "UPDATE alerts SET ended_at = $2 WHERE subject = $1 AND ended_at IS NULL";

/// Everything about a subject is mended.
pub async fn end_alerts(tx: &mut Tx, subject: &str, now: Millis) -> Result<()> {
    tx.put(END_ALERTS, args![subject, now]).await
}

const END_ALERTS_OF: &str = "UPDATE alerts SET ended_at = $3 WHERE ended_at IS NULL AND code LIKE $2
  AND subject IN (SELECT 'share:' || (value ->> 0) FROM json_each(CAST($1 AS TEXT)))";

/// What was the matter with these shares' deliveries one way (`[[share], …]`; `out` or `back`) is mended.
pub async fn end_delivery_alerts(tx: &mut Tx, way: &str, shares: &serde_json::Value, now: Millis) -> Result<()> {
    tx.put(END_ALERTS_OF, args![shares.clone(), format!("delivery.%.{way}"), now]).await
}

/// What people were to take back by hand at these shares' recipients (`[[share], …]`) is there no longer.
pub async fn end_take_back_alerts(tx: &mut Tx, shares: &serde_json::Value, now: Millis) -> Result<()> {
    tx.put(END_ALERTS_OF, args![shares.clone(), "share.take_back_by_hand", now]).await
}

const END_ALERT: &str = "UPDATE alerts SET ended_at = $3 WHERE subject = $1 AND code = $2 AND ended_at IS NULL";

/// One thing about a subject is mended.
pub async fn end_alert(tx: &mut Tx, subject: &str, code: &str, now: Millis) -> Result<()> {
    tx.put(END_ALERT, args![subject, code, now]).await
}

/// An open alert: subject, code, message, since.
pub type Alert = (String, String, String, i64);
const OPEN_ALERTS: &str = "SELECT subject, code, message, since FROM alerts WHERE ended_at IS NULL ORDER BY since";

/// What a person must see to.
pub async fn open_alerts(db: &Db) -> Result<Vec<Alert>> {
    db.rows(OPEN_ALERTS, args![]).await
}

const SETTING: &str = "SELECT value FROM settings WHERE name = $1";

/// A setting, such as `stopped` or `key_check`.
pub async fn setting(db: &Db, name: &str) -> Result<Option<String>> {
    Ok(db.row::<(String,)>(SETTING, args![name]).await?.map(|(v,)| v))
}

const SET_SETTING: &str = "INSERT INTO settings (name, value) VALUES ($1, $2) ON CONFLICT (name) DO UPDATE SET value = excluded.value";

/// Keeps a setting.
pub async fn set_setting(db: &Db, name: &str, value: &str) -> Result<()> {
    db.put(SET_SETTING, args![name, value]).await
}

const DROP_SETTING: &str = "DELETE FROM settings WHERE name = $1";

/// Forgets a setting.
pub async fn drop_setting(db: &Db, name: &str) -> Result<()> {
    db.put(DROP_SETTING, args![name]).await
}
