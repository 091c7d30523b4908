//! SQL for how busy recipients are and how fast partners share: counted as it happens, so that no decision reads old shares.

use serde_json::Value;

use super::{Db, Tx};
use crate::args;
use crate::clock::{DAY, HOUR, MINUTE, Millis};
use crate::errors::Result;

/// In place of a day: the row that counts open shares.
pub const OPEN: i64 = -1;

const COUNT: &str = "INSERT INTO loads (recipient, agreement, day, count)
  SELECT value ->> 0, value ->> 1, CAST(value ->> 2 AS BIGINT), CAST(value ->> 3 AS BIGINT) FROM json_each(CAST($1 AS TEXT)) WHERE true
  ON CONFLICT (recipient, agreement, day) DO UPDATE SET count = loads.count + excluded.count";

/// Counts shares (`[[recipient, agreement, day or OPEN, more or less], …]`, sorted), in the transaction that makes or moves them.
///
/// # Errors
/// The store's.
pub async fn count(tx: &mut Tx, rows: Vec<Value>) -> Result<()> {
    if rows.is_empty() {
        return Ok(());
    }
    tx.put(COUNT, args![Value::from(rows)]).await
}

/// The number of a time's day, as rows are counted under.
pub fn day(at: Millis) -> i64 {
    at.div_euclid(DAY)
}

const LOAD: &str = "SELECT recipient, agreement, CAST(SUM(CASE WHEN day = -1 THEN count ELSE 0 END) AS BIGINT),
    CAST(SUM(CASE WHEN day >= $2 THEN count ELSE 0 END) AS BIGINT), CAST(SUM(CASE WHEN day >= $3 THEN count ELSE 0 END) AS BIGINT)
  FROM loads WHERE recipient IN (SELECT value ->> 0 FROM json_each(CAST($1 AS TEXT))) AND (day = -1 OR day >= $3) GROUP BY recipient, agreement";

/// Recipient, agreement, open, since today, since the month's first day.
pub type Load = (String, String, i64, i64, i64);

/// How busy these recipients (`[[partner], …]`) are, per agreement, since `today` and since the month's first day; others may give
/// them leads at the same time.
///
/// # Errors
/// The store's.
pub async fn load(tx: &mut Tx, recipients: &Value, today: Millis, month: Millis) -> Result<Vec<Load>> {
    tx.glance(LOAD, args![recipients, day(today), day(month)]).await
}

/// The same where it must not change before the transaction's end.
///
/// # Errors
/// The store's.
pub async fn exactly(tx: &mut Tx, recipients: &Value, today: Millis, month: Millis) -> Result<Vec<Load>> {
    tx.rows(LOAD, args![recipients, day(today), day(month)]).await
}

const SHARED: &str = "INSERT INTO shared_minutes (source, minute, count) VALUES ($1, $2, $3)
  ON CONFLICT (source, minute) DO UPDATE SET count = shared_minutes.count + excluded.count";
const FORGET_BEFORE: &str = "DELETE FROM shared_minutes WHERE source = $1 AND minute < $2";

/// Counts leads that a partner newly shares.
///
/// # Errors
/// The store's.
pub async fn shared(tx: &mut Tx, source: &str, count: i64, now: Millis) -> Result<()> {
    tx.put(SHARED, args![source, now.div_euclid(MINUTE), count]).await?;
    tx.put(FORGET_BEFORE, args![source, (now - 2 * HOUR).div_euclid(MINUTE)]).await
}

const SHARED_SINCE: &str = "SELECT CAST(COALESCE(SUM(count), 0) AS BIGINT) FROM shared_minutes WHERE source = $1 AND minute > $2";

/// How many leads a partner has newly shared within the last hour, or since it was counted anew.
///
/// # Errors
/// The store's.
pub async fn shared_within_the_hour(db: &Db, source: &str, now: Millis) -> Result<i64> {
    Ok(db.row::<(i64,)>(SHARED_SINCE, args![source, (now - HOUR).div_euclid(MINUTE)]).await?.map_or(0, |r| r.0))
}

const COUNT_ANEW: &str = "DELETE FROM shared_minutes WHERE source IN (SELECT partner FROM connections WHERE name = $1)";

/// Counts anew what the partner of a connection shares: somebody has looked, and it was meant.
///
/// # Errors
/// The store's.
pub async fn count_anew(tx: &mut Tx, connection: &str) -> Result<()> {
    tx.put(COUNT_ANEW, args![connection]).await
}
