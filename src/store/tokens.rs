//! SQL for tokens: what is stored, who may refresh it, and how a refresh ended.

use super::{Db, Tx};
use crate::args;
use crate::clock::Millis;
use crate::errors::Result;

/// Tokens as stored: sealed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stored {
    /// The sealed access token.
    pub access: String,
    /// The sealed refresh token.
    pub refresh: Option<String>,
    /// When the access token ends, when known.
    pub expires_at: Option<Millis>,
    /// From when on it is better to refresh it, when its end is known.
    pub refresh_at: Option<Millis>,
    /// Grows with every save; part of the seal.
    pub version: i64,
    /// A refresh was begun then, and how it ended was never saved.
    pub intent_at: Option<Millis>,
    /// Who is refreshing.
    pub owner: Option<String>,
    /// Until when nobody else may.
    pub until: Option<Millis>,
    /// No refresh before this, after a failure.
    pub cooldown_until: Option<Millis>,
    /// Failed refreshes in a row.
    pub failures: i64,
    /// Why the partner must connect again, where that is so.
    pub given_up: Option<String>,
}

type Row =
    (String, Option<String>, Option<i64>, Option<i64>, i64, Option<i64>, Option<String>, Option<i64>, Option<i64>, i64, Option<String>);
const ONE: &str = "SELECT access, refresh, expires_at, refresh_at, version, refresh_intent_at, refresh_owner, refresh_until,
    cooldown_until, failures,
    (SELECT COALESCE(state_reason, 'invalid_grant') FROM connections WHERE name = $1 AND state = 'reconnect_needed')
  FROM tokens WHERE connection = $1";

/// A connection's tokens.
pub async fn one(db: &Db, connection: &str) -> Result<Option<Stored>> {
    let row = db.row::<Row>(ONE, args![connection]).await?;
    Ok(row.map(|(access, refresh, expires_at, refresh_at, version, intent_at, owner, until, cooldown_until, failures, given_up)| Stored {
        access,
        refresh,
        expires_at,
        refresh_at,
        version,
        intent_at,
        owner,
        until,
        cooldown_until,
        failures,
        given_up,
    }))
}

const CLAIM: &str = "UPDATE tokens SET refresh_intent_at = COALESCE(refresh_intent_at, $4), refresh_owner = $5, refresh_until = $6
  WHERE connection = $1 AND version = $2 AND COALESCE(refresh_owner, '') = $3 AND failures = $7";

/// Commits that a refresh of the tokens that were read is about to be sent, and that nobody else sends one before `until`. Answers
/// whether it was given: not when anybody has saved, begun or failed since `read`. The caller has seen to it that no refresh is under way.
pub async fn claim(db: &Db, connection: &str, read: &Stored, owner: &str, now: Millis, until: Millis) -> Result<bool> {
    let before = read.owner.as_deref().unwrap_or_default();
    db.touch(CLAIM, args![connection, read.version, before, now, owner, until, read.failures]).await
}

/// Tokens to be saved: sealed.
#[derive(Debug, Clone)]
pub struct Saved {
    /// The sealed access token.
    pub access: String,
    /// The sealed refresh token.
    pub refresh: Option<String>,
    /// When the access token ends, when known.
    pub expires_at: Option<Millis>,
    /// From when on it is better to refresh it.
    pub refresh_at: Option<Millis>,
    /// The version under which both are sealed.
    pub version: i64,
}

const SAVE: &str = "INSERT INTO tokens (connection, access, refresh, expires_at, refresh_at, version, failures)
  VALUES ($1, $2, $3, $4, $5, $6, 0)
  ON CONFLICT (connection) DO UPDATE SET access = excluded.access, refresh = excluded.refresh, expires_at = excluded.expires_at,
    refresh_at = excluded.refresh_at, version = excluded.version, refresh_intent_at = NULL, refresh_owner = NULL,
    refresh_until = NULL, cooldown_until = NULL, failures = 0
  WHERE tokens.version < excluded.version";

/// Saves tokens and ends whatever refresh was open. Answers whether they were saved: not when newer ones are there.
pub async fn save(tx: &mut Tx, connection: &str, tokens: Saved) -> Result<bool> {
    let Saved { access, refresh, expires_at, refresh_at, version } = tokens;
    Ok(tx.touch(SAVE, args![connection, access, refresh, expires_at, refresh_at, version], 1).await? == 1)
}

const END: &str = "UPDATE tokens SET refresh_intent_at = $3, refresh_owner = NULL, refresh_until = NULL, cooldown_until = $4,
  failures = $5 WHERE connection = $1 AND refresh_owner = $2";

/// How a refresh that brought nothing leaves the tokens.
#[derive(Debug, Clone, Copy, Default)]
pub struct End {
    /// Kept when nobody knows whether the vendor took it.
    pub intent_at: Option<Millis>,
    /// No refresh before this.
    pub cooldown_until: Option<Millis>,
    /// Failed refreshes in a row.
    pub failures: i64,
}

/// Ends a refresh that brought nothing. Answers whether `owner` still had it to end.
pub async fn end(tx: &mut Tx, connection: &str, owner: &str, end: End) -> Result<bool> {
    Ok(tx.exec(END, args![connection, owner, end.intent_at, end.cooldown_until, end.failures]).await? == 1)
}
