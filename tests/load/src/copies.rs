//! Fills a store with copies of the leads that are in it: what a million leads leave behind, without delivering each.
//!
//! Every row that a lead leaves is copied under other ids, so tables and indexes grow as by real leads. The ledger is not
//! copied: its entries are numbered and hashed one after the other, and it is only ever added to at its end.

use anyhow::{Context as _, Result};
use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection};
use sqlx::{AssertSqlSafe, ConnectOptions as _, Connection as _};

/// Tables with rows of leads, whatever else is in the store.
const TABLES: [&str; 13] = [
    "people",
    "identities",
    "records",
    "leads",
    "consents",
    "decisions",
    "shares",
    "share_events",
    "claims",
    "deliveries",
    "remote_people",
    "attempts",
    "changes",
];
/// Columns that tell the rows of one lead from those of another.
const IDS: [&str; 10] = ["id", "person", "lead", "share", "decision", "change", "remote_id", "marker", "hash", "claim"];

/// Copies the leads of a SQLite store until about so many are in it. Nothing else may have it open.
pub async fn fill(store: &str, leads: usize) -> Result<()> {
    let path = store.strip_prefix("sqlite:").context("copies are for SQLite")?;
    let options = SqliteConnectOptions::new().filename(path).pragma("synchronous", "off").pragma("cache_size", "-2000000");
    let mut db = options.pragma("journal_mode", "off").disable_statement_logging().connect().await?;
    // Each lead has a person of its own. Copies of copies get ids of their own by how many there were.
    let (there,): (i64,) = sqlx::query_as("SELECT count(*) FROM people").fetch_one(&mut db).await?;
    let times = (leads as i64 + there / 2) / there.max(1) - 1;
    for table in TABLES {
        let columns = format!("SELECT name FROM pragma_table_info('{table}')");
        let columns: Vec<(String,)> = sqlx::query_as(AssertSqlSafe(columns)).fetch_all(&mut db).await?;
        let values: Vec<String> =
            columns
                .iter()
                .map(|(name,)| {
                    if IDS.contains(&name.as_str()) {
                        format!("one.\"{name}\" || '~{there}.' || n.value")
                    } else {
                        format!("one.\"{name}\"")
                    }
                })
                .collect();
        // Copies cannot be delivered: nobody has their people's keys.
        let which = if table == "deliveries" { "WHERE done_version = wanted_version" } else { "" };
        run(&mut db, format!("CREATE TEMP TABLE one AS SELECT * FROM main.{table} {which}")).await?;
        let numbers = format!("WITH RECURSIVE n (value) AS (SELECT 1 UNION ALL SELECT value + 1 FROM n WHERE value < {times})");
        run(
            &mut db,
            format!("{numbers} INSERT INTO main.{table} SELECT {} FROM temp.one CROSS JOIN n WHERE n.value <= {times}", values.join(", ")),
        )
        .await?;
        run(&mut db, "DROP TABLE temp.one".to_owned()).await?;
    }
    run(&mut db, "PRAGMA journal_mode = wal".to_owned()).await?;
    db.close().await.context("the store cannot be closed")
}

async fn run(db: &mut SqliteConnection, sql: String) -> Result<()> {
    sqlx::raw_sql(AssertSqlSafe(sql)).execute(db).await.map(|_| ()).context("a copy failed")
}
