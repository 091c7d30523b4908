//! SQL for deliveries, intents and attempts.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::{Db, Tx};
use crate::args;
use crate::clock::Millis;
use crate::errors::{Error, Result};

/// Which work goes first. The number is stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Lane {
    /// Withdrawals, erasures, recalls.
    Protect = 0,
    /// New leads.
    NewLeads = 1,
    /// Updates and news.
    Status = 2,
    /// Leads of people who did nothing for a day: what was there before.
    Backfill = 3,
}

/// A claimed delivery.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Delivery {
    /// Which [`Lane`] it is in, as stored.
    pub lane: i64,
    /// The share.
    pub share: String,
    /// The person that it is of.
    pub person: String,
    /// `out` or `back`.
    pub way: String,
    /// The version that is wanted.
    pub version: i64,
    /// The version that was last done; 0 for none.
    pub done_version: i64,
    /// Failed tries of this version.
    pub attempts: i64,
    /// Claims without an end: a crash loop shows here.
    pub claims: i64,
    /// The open intent's state, when a write was sent and never settled.
    pub intent: Option<String>,
    /// When that write was sent.
    pub sent_at: Option<Millis>,
    /// Whether it was to create the record.
    pub creates: bool,
    /// What it said, by keyed hash.
    pub body: Option<String>,
    /// The vendor's fields that it was to change.
    pub fields: Vec<String>,
}

impl Lane {
    /// All of them, the most urgent first.
    pub const ALL: [Self; 4] = [Self::Protect, Self::NewLeads, Self::Status, Self::Backfill];
}

impl Delivery {
    /// Whether it protects people: a withdrawal, an erasure, a recall.
    pub fn protects(&self) -> bool {
        self.lane == Lane::Protect as i64
    }
}

const WANT: &str = "INSERT INTO deliveries (share, way, connection, object, lane, state, wanted_version, done_version, wanted_at, due, place, attempts, claims, lease_until)
  SELECT value ->> 0, value ->> 1, value ->> 2, value ->> 3, CAST(value ->> 4 AS BIGINT), 'open', 1, 0, $2, $2, CAST(value ->> 5 AS BIGINT), 0, 0, 0
  FROM json_each(CAST($1 AS TEXT)) WHERE true
  ON CONFLICT (share, way) DO UPDATE SET wanted_version = deliveries.wanted_version + 1, wanted_at = excluded.wanted_at,
    lane = CASE WHEN deliveries.wanted_version > deliveries.done_version AND deliveries.lane < excluded.lane THEN deliveries.lane ELSE excluded.lane END,
    state = 'open', attempts = 0, claims = CASE WHEN deliveries.state = 'failed' THEN 0 ELSE deliveries.claims END,
    due = CASE WHEN deliveries.lease_until > $2 THEN deliveries.due ELSE $2 END,
    place = CASE WHEN deliveries.lease_until > $2 THEN NULL
      WHEN deliveries.wanted_version > deliveries.done_version AND deliveries.lane < excluded.lane THEN deliveries.place
      WHEN deliveries.lane = excluded.lane THEN COALESCE(deliveries.place, excluded.place) ELSE excluded.place END
  WHERE deliveries.state IN ('open', 'failed')";

/// Wants deliveries, or a newer version of those that are there; what failed is tried again with it, and what is
/// urgent stays so, as what waits keeps its place (`[[share, way, connection, object, lane, place], …]`).
pub async fn want(tx: &mut Tx, rows: &Value, now: Millis) -> Result<()> {
    tx.put(WANT, args![rows, now]).await
}

const NEXT: &str = "SELECT value ->> 0, value ->> 1, CAST(value ->> 2 AS BIGINT), (SELECT MIN(place) FROM deliveries
    WHERE connection = value ->> 0 AND way = value ->> 1 AND lane = CAST(value ->> 2 AS BIGINT) AND place IS NOT NULL)
  FROM json_each(CAST($1 AS TEXT))";

/// The place of what is next on these connections, ways and lanes (`[[connection, way, lane], …]`), where something waits.
pub async fn next(tx: &mut Tx, queues: &Value) -> Result<BTreeMap<(String, String, i64), i64>> {
    let rows = tx.peek::<(String, String, i64, Option<i64>)>(NEXT, args![queues]).await?;
    Ok(rows.into_iter().filter_map(|(connection, way, lane, place)| Some(((connection, way, lane), place?))).collect())
}

const RIPE: &str = "SELECT share, object, lane, COALESCE((SELECT CASE WHEN $2 = 'out' THEN shares.source ELSE shares.recipient END
    FROM shares WHERE shares.id = deliveries.share), '') FROM deliveries
  WHERE connection = $1 AND way = $2 AND place IS NULL AND due <= $3 AND state = 'open' AND wanted_version > done_version
  ORDER BY due, share LIMIT 500 {skip_locked}";
const RIPEN: &str = "UPDATE deliveries SET place = CAST(item.value ->> 1 AS BIGINT)
  FROM json_each(CAST($1 AS TEXT)) AS item WHERE deliveries.way = $2 AND deliveries.share = item.value ->> 0 {only deliveries.share $1}
    AND deliveries.place IS NULL AND state = 'open' AND wanted_version - done_version > 0 AND due <= $3";

/// What has waited until it was due: share, object, lane, and the partner whose it is.
pub type Ripe = (String, String, i64, String);

/// What has waited on a connection until it was due, five hundred at most.
pub async fn ripe(tx: &mut Tx, connection: &str, way: &str, now: Millis) -> Result<Vec<Ripe>> {
    tx.rows(RIPE, args![connection, way, now]).await
}

/// Gives places in their queues to what is due (`[[share, place], …]`).
pub async fn ripen(tx: &mut Tx, way: &str, rows: &Value, now: Millis) -> Result<()> {
    tx.put(RIPEN, args![rows, way, now]).await
}

// The first of them stands for what has waited until it was due.
const LANES: &str =
    "SELECT CAST(lanes.lane AS BIGINT) FROM (SELECT 0 AS lane UNION ALL SELECT 1 UNION ALL SELECT 2 UNION ALL SELECT 3) AS lanes
  WHERE EXISTS (SELECT 1 FROM deliveries WHERE connection = $1 AND way = $2 AND lane = lanes.lane AND place IS NOT NULL)
  UNION ALL SELECT CAST(-1 AS BIGINT) WHERE EXISTS (SELECT 1 FROM deliveries
    WHERE connection = $1 AND way = $2 AND place IS NULL AND due <= $3 AND state = 'open' AND wanted_version > done_version)
  ORDER BY 1";
const PICK: &str = "SELECT share, wanted_version, done_version, attempts, claims, lane, intent, sent_at, creates, body, fields,
    (SELECT shares.person FROM shares WHERE shares.id = deliveries.share) FROM deliveries
  WHERE connection = $1 AND way = $2 AND lane = $3 AND place IS NOT NULL
  ORDER BY place LIMIT $4 {skip_locked}";
// Said otherwise than the index of places says it (`place IS NOT NULL`): the server would read that from end to end.
const CLAIM: &str = "UPDATE deliveries SET lease = $3, lease_until = $4, due = $4, place = NULL, claims = claims + 1,
    intent = CASE WHEN item.value ->> 3 IS NULL THEN intent ELSE 'sent' END, sent_at = CASE WHEN item.value ->> 3 IS NULL THEN sent_at ELSE $5 END,
    creates = COALESCE(CAST(item.value ->> 3 AS BIGINT), creates), body = COALESCE(item.value ->> 4, body), fields = COALESCE(item.value ->> 5, fields)
  FROM json_each(CAST($1 AS TEXT)) AS item WHERE deliveries.way = $2 AND deliveries.share = item.value ->> 0 {only deliveries.share $1}
    AND wanted_version = CAST(item.value ->> 1 AS BIGINT) AND COALESCE(sent_at, 0) = CAST(item.value ->> 2 AS BIGINT)
    AND COALESCE(place, -1) >= 0";

type Picked = (String, i64, i64, i64, i64, i64, Option<String>, Option<Millis>, i64, Option<String>, Option<String>, Option<String>);
fn delivery(way: &str, row: Picked) -> Delivery {
    let (share, version, done_version, attempts, claims, lane, intent, sent_at, creates, body, fields, person) = row;
    Delivery {
        lane,
        person: person.unwrap_or_else(|| share.clone()),
        way: way.to_owned(),
        version,
        done_version,
        attempts,
        claims: claims + 1,
        intent,
        sent_at,
        creates: creates == 1,
        fields: fields.and_then(|fields| serde_json::from_str(&fields).ok()).unwrap_or_default(),
        body,
        share,
    }
}

/// The lanes of a connection in which something may be claimed, most urgent first; before them -1 when something has waited until
/// it was due, and has no place yet.
pub async fn lanes(db: &Db, connection: &str, way: &str, now: Millis) -> Result<Vec<(i64,)>> {
    db.rows(LANES, args![connection, way, now]).await
}

/// What is next in these lanes of a connection, by share, as it is when it has been claimed.
pub async fn pick(tx: &mut Tx, connection: &str, way: &str, lanes: &[(i64,)], limit: usize) -> Result<Vec<Delivery>> {
    let mut picked = Vec::<Delivery>::new();
    // Lane by lane, so that the index answers in order however much waits.
    for (lane,) in lanes {
        let left = limit.saturating_sub(picked.len()) as i64;
        // What protects people goes alone: it is sent on terms of its own.
        if left > 0 && !picked.first().is_some_and(Delivery::protects) {
            // More may come to wait meanwhile; whether these still do, the claim itself asks.
            let rows = tx.glance::<Picked>(PICK, args![connection, way, *lane, left]).await?;
            picked.extend(rows.into_iter().map(|row| delivery(way, row)));
        }
    }
    picked.sort_by(|a, b| a.share.cmp(&b.share));
    Ok(picked)
}

/// A delivery to claim, and what is intended with it where that is known already: whether it creates, the hash of the body, the names
/// of the fields.
pub type Claim<'a> = (&'a Delivery, Option<(bool, &'a str, String)>);

/// Claims what was picked until `lease_until`, when it is due again, and commits what is intended.
///
/// # Errors
/// The store's, and that another worker has taken some of them meanwhile.
pub async fn claim(tx: &mut Tx, way: &str, lease: &str, (now, lease_until): (Millis, Millis), picked: &[Claim<'_>]) -> Result<()> {
    if picked.is_empty() {
        return Ok(());
    }
    let row = |(d, intent): &Claim<'_>| match intent {
        Some((creates, body, fields)) => json!([d.share, d.version, d.sent_at.unwrap_or(0), i64::from(*creates), body, fields]),
        None => json!([d.share, d.version, d.sent_at.unwrap_or(0), null, null, null]),
    };
    let rows = Value::from(picked.iter().map(row).collect::<Vec<_>>());
    let claimed = tx.touch(CLAIM, args![rows, way, lease, lease_until, now], picked.len() as u64).await?;
    if claimed != picked.len() as u64 {
        return Err(Error::Passing { code: "claimed_meanwhile".into(), message: "another worker has taken some of this".into() });
    }
    Ok(())
}

const GIVE_BACK: &str = "UPDATE deliveries SET lease = NULL, lease_until = 0, due = $4, claims = claims - 1
  WHERE way = $1 AND lease = $2 AND share IN (SELECT value ->> 0 FROM json_each(CAST($3 AS TEXT)))";

/// Gives claims back that nothing was done with (`[[share], …]`).
pub async fn give_back(db: &Db, way: &str, lease: &str, shares: &Value, now: Millis) -> Result<()> {
    db.put(GIVE_BACK, args![way, lease, shares, now]).await
}

const INTEND: &str =
    "UPDATE deliveries SET intent = 'sent', sent_at = $3, creates = CAST(item.value ->> 1 AS BIGINT), body = item.value ->> 2,
    fields = item.value ->> 3
  FROM json_each(CAST($1 AS TEXT)) AS item WHERE deliveries.way = $2 AND deliveries.share = item.value ->> 0 {only deliveries.share $1}";

/// Commits that writes are about to be sent (`[[share, creates, hash of the body, names of the fields], …]`; on the way back
/// the first two).
pub async fn intend(tx: &mut Tx, way: &str, rows: &Value, now: Millis) -> Result<()> {
    tx.put(INTEND, args![rows, way, now]).await
}

const STILL_HELD: &str = "SELECT share FROM deliveries WHERE way = $1 AND lease = $2 AND lease_until > $4 AND share IN (SELECT value ->> 0 FROM json_each(CAST($3 AS TEXT))) {for_update}";

/// Which of these deliveries (`[[share], …]`) are still held under a lease until after `until`.
pub async fn still_held(tx: &mut Tx, way: &str, lease: &str, shares: &Value, until: Millis) -> Result<Vec<String>> {
    Ok(tx.rows::<(String,)>(STILL_HELD, args![way, lease, shares, until]).await?.into_iter().map(|(share,)| share).collect())
}

const IN_DOUBT: &str = "UPDATE deliveries SET intent = 'in_doubt'
  WHERE way = $1 AND share IN (SELECT value ->> 0 FROM json_each(CAST($2 AS TEXT))) AND intent IS NOT NULL";

/// Nobody knows what became of these writes (`[[share], …]`).
pub async fn in_doubt(tx: &mut Tx, way: &str, shares: &Value) -> Result<()> {
    tx.put(IN_DOUBT, args![way, shares]).await
}

const SETTLED: &str = "UPDATE deliveries SET intent = NULL, sent_at = NULL, creates = 0, body = NULL, fields = NULL
  WHERE way = $1 AND share IN (SELECT value ->> 0 FROM json_each(CAST($2 AS TEXT))) AND intent IS NOT NULL";

/// The outcome of these writes is known (`[[share], …]`).
pub async fn settled(tx: &mut Tx, way: &str, shares: &Value) -> Result<()> {
    tx.put(SETTLED, args![way, shares]).await
}

const OPEN_CREATES: &str = "SELECT COUNT(*) FROM deliveries WHERE connection = $1 AND intent IS NOT NULL AND creates = 1";

/// How many creates at a connection are under way or in doubt: a record that appears there may be ours.
pub async fn open_creates(db: &Db, connection: &str) -> Result<i64> {
    Ok(db.row::<(i64,)>(OPEN_CREATES, args![connection]).await?.map_or(0, |r| r.0))
}

const DONE: &str =
    "UPDATE deliveries SET done_version = CAST(item.value ->> 1 AS BIGINT), lease = NULL, lease_until = 0, attempts = 0, claims = 0,
    last_error = NULL, due = $4, place = CASE WHEN wanted_version > CAST(item.value ->> 1 AS BIGINT) THEN place ELSE NULL END,
    intent = NULL, sent_at = NULL, creates = 0, body = NULL, fields = NULL
  FROM json_each(CAST($2 AS TEXT)) AS item WHERE deliveries.way = $1 AND deliveries.share = item.value ->> 0 {only deliveries.share $2} AND deliveries.lease = $3";

/// Deliveries are done at a version (`[[share, version], …]`), and nothing of them is in doubt any more; a newer wish stays open.
pub async fn done(tx: &mut Tx, way: &str, lease: &str, rows: &Value, now: Millis) -> Result<()> {
    tx.put(DONE, args![way, rows, lease, now]).await
}

// Work on a version that is wanted no longer says nothing of the one that is: that one is due now, however this one went.
const LATER: &str = "UPDATE deliveries SET lease = NULL, lease_until = 0, claims = 0, last_error = item.value ->> 3,
    due = CASE WHEN wanted_version > CAST(item.value ->> 4 AS BIGINT) THEN $4 ELSE CAST(item.value ->> 1 AS BIGINT) END,
    place = CASE WHEN wanted_version > CAST(item.value ->> 4 AS BIGINT) THEN place ELSE NULL END,
    attempts = CASE WHEN wanted_version > CAST(item.value ->> 4 AS BIGINT) THEN 0 ELSE CAST(item.value ->> 2 AS BIGINT) END
  FROM json_each(CAST($2 AS TEXT)) AS item WHERE deliveries.way = $1 AND deliveries.share = item.value ->> 0 {only deliveries.share $2} AND deliveries.lease = $3";

/// Deliveries are put off (`[[share, due, attempts, error code, version], …]`); a newer wish is due now.
pub async fn later(tx: &mut Tx, way: &str, lease: &str, rows: &Value, now: Millis) -> Result<()> {
    tx.put(LATER, args![way, rows, lease, now]).await
}

const END: &str = "UPDATE deliveries SET lease = NULL, lease_until = 0, claims = 0, last_error = item.value ->> 2,
    state = CASE WHEN wanted_version > CAST(item.value ->> 3 AS BIGINT) THEN state ELSE item.value ->> 1 END,
    place = CASE WHEN wanted_version > CAST(item.value ->> 3 AS BIGINT) THEN place ELSE NULL END,
    due = CASE WHEN wanted_version > CAST(item.value ->> 3 AS BIGINT) THEN $4 ELSE due END,
    intent = NULL, sent_at = NULL, creates = 0, body = NULL, fields = NULL
  FROM json_each(CAST($2 AS TEXT)) AS item WHERE deliveries.way = $1 AND deliveries.share = item.value ->> 0 {only deliveries.share $2} AND deliveries.lease = $3";

/// Deliveries end at a version (`[[share, ended|failed, code, version], …]`): nothing more is written this way, and nothing of them
/// is in doubt any more. A newer wish stays open, and is due now.
pub async fn end(tx: &mut Tx, way: &str, lease: &str, rows: &Value, now: Millis) -> Result<()> {
    tx.put(END, args![way, rows, lease, now]).await
}

const ADD_ATTEMPTS: &str = "INSERT INTO attempts (id, share, way, version, at, took_ms, outcome, code)
  SELECT value ->> 0, value ->> 1, $2, CAST(value ->> 2 AS BIGINT), CAST(value ->> 3 AS BIGINT), CAST(value ->> 4 AS BIGINT), value ->> 5, value ->> 6
  FROM json_each(CAST($1 AS TEXT))";

/// Keeps tries (`[[id, share, version, at, took ms, outcome, code], …]`).
pub async fn add_attempts(tx: &mut Tx, way: &str, rows: &Value) -> Result<()> {
    tx.put(ADD_ATTEMPTS, args![rows, way]).await
}

/// A delivery that waits or failed: share, way, connection, state, due, failed tries, last error.
pub type Unfinished = (String, String, String, String, i64, i64, Option<String>);
const UNFINISHED: &str = "SELECT share, way, connection, state, due, attempts, last_error FROM deliveries
  WHERE state = 'failed' OR (state = 'open' AND wanted_version > done_version) ORDER BY state, due, share LIMIT 500";

/// Deliveries that failed or wait, five hundred at most.
pub async fn unfinished(db: &Db) -> Result<Vec<Unfinished>> {
    db.rows(UNFINISHED, args![]).await
}

const RETRY: &str =
    "UPDATE deliveries SET state = 'open', due = $2, attempts = 0, claims = 0, lease = NULL, lease_until = 0, last_error = NULL
  WHERE state = 'failed' AND ($1 = '' OR share = $1) RETURNING share";

/// Opens failed deliveries again: of one share, or all with an empty id. Answers the shares.
pub async fn retry(tx: &mut Tx, share: &str, now: Millis) -> Result<Vec<String>> {
    Ok(tx.rows::<(String,)>(RETRY, args![share, now]).await?.into_iter().map(|(share,)| share).collect())
}

const OPEN: &str = "SELECT connection, way, CAST(SUM(count) AS BIGINT), CAST(MIN(due) AS BIGINT) FROM (
    SELECT connection, way, COUNT(*) AS count, MIN(due) AS due FROM deliveries WHERE place IS NOT NULL GROUP BY connection, way
    UNION ALL SELECT connection, way, COUNT(*), MIN(due) FROM deliveries
      WHERE place IS NULL AND state = 'open' AND wanted_version > done_version GROUP BY connection, way
  ) AS parts GROUP BY connection, way ORDER BY connection, way";

/// What is left to deliver: connection, way, how many, when the first is due.
pub async fn open(db: &Db) -> Result<Vec<(String, String, i64, i64)>> {
    db.rows(OPEN, args![]).await
}
