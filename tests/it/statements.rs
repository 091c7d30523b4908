//! Every SQL text in the store is understood by both engines.

use leadshare::store::{self, Db};
use sqlx::{AssertSqlSafe, Executor, SqlSafeStr};

/// The `const NAME: &str = "…"` texts of the store's files.
fn statements() -> Vec<(String, &'static str)> {
    let mut found = Vec::new();
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/src/store");
    let mut files: Vec<_> =
        std::fs::read_dir(folder).unwrap().flatten().map(|e| e.path()).filter(|p| p.extension().is_some_and(|e| e == "rs")).collect();
    files.sort();
    for file in files {
        // Its one table lies in a file of its own: every webhook that a test sends to SQLite goes through it.
        if file.ends_with("inbox.rs") {
            continue;
        }
        let text = std::fs::read_to_string(&file).unwrap();
        for part in text.split("const ").skip(1) {
            let Some((name, rest)) = part.split_once(": &str") else { continue };
            if !name.chars().all(|c| c.is_ascii_uppercase() || c.is_ascii_digit() || c == '_') {
                continue;
            }
            let Some((_, value)) = rest.split_once('"') else { continue };
            let Some((sql, _)) = value.split_once("\";") else { continue };
            let first = sql.split_whitespace().next().unwrap_or_default();
            if ["SELECT", "INSERT", "UPDATE", "DELETE", "WITH"].contains(&first) {
                found.push((format!("{}: {name}", file.file_name().unwrap().to_string_lossy()), &*sql.to_owned().leak()));
            }
        }
    }
    found
}

// Breaks when a statement names a column or function that one engine does not have.
#[tokio::test]
async fn every_statement_is_prepared_on_both_engines() {
    let dir = tempfile();
    let sqlite = Db::open(&format!("sqlite:{}/s.db", dir.display())).await.unwrap();
    let postgres = Db::open(&super::support::postgres::database()).await.unwrap();
    let all = statements();
    assert!(all.len() > 60, "only {} statements found: the scan is broken", all.len());
    let mut wrong = Vec::new();
    for (name, sql) in &all {
        if let Db::Sqlite { read, .. } = &sqlite
            && let Err(error) = read.take().await.unwrap().connection().unwrap().prepare(store::for_sqlite(sql).into_sql_str()).await
        {
            wrong.push(format!("sqlite: {name}: {error}"));
        }
        if let Db::Postgres(pool) = &postgres
            && let Err(error) = pool.acquire().await.unwrap().prepare(store::for_postgres(sql).into_sql_str()).await
        {
            wrong.push(format!("postgres: {name}: {error}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// Statements that are not on the way of a lead, and may read a table: pages, start and repair, small tables.
const MAY_SCAN: &[(&str, &str)] = &[
    ("audit.rs", "everything is read, on purpose: what the simulation checks"),
    ("budgets.rs", "a row per connection and budget, read at start"),
    ("connections.rs", "a row per connection, read at start and for pages; alerts that are open"),
    ("files.rs", "a row per file"),
    ("views.rs", "pages"),
    ("replicas.rs: ALL", "a row per replica; connections are spread over them every few seconds"),
    ("replicas.rs: OWNERS", "the same"),
    ("replicas.rs: BURY", "a row per replica"),
    ("replicas.rs: RELEASE_ALL", "at the end"),
    ("deliveries.rs: UNFINISHED", "`jobs list`"),
    ("deliveries.rs: LANES", "four lanes, each by its partial index"),
    ("deliveries.rs: RETRY", "`jobs retry`"),
    ("deliveries.rs: OPEN", "counts what waits, for pages and every few seconds for metrics, by its partial index"),
    ("deliveries.rs: RELEASE_ALL", "at start"),
    ("dirty.rs: PENDING", "counts what waits, for pages"),
    ("dirty.rs: RELEASE_ALL", "at start"),
    ("leads.rs: OUTCOMES", "the demo's figures"),
    ("shares.rs: STATUSES", "the demo's figures"),
    ("ledger.rs: ANY", "the first of what waits to be sealed"),
    ("ledger.rs: COUNTS", "the oldest of what waits to be sealed"),
    ("ledger.rs: UNSEALED", "what waits to be sealed"),
    ("ledger.rs: WAITING", "what waits to be sealed"),
    ("ledger.rs: CHECKPOINTS", "`ledger verify`"),
    ("mod.rs: CURRENT", "one row, at start"),
    ("retention.rs: DROP_ALERTS", "what is left of earlier rounds, every few hours"),
    ("retention.rs: END_ALERTS", "the same"),
    ("retention.rs: DROP_OVERWRITES", "the same"),
    ("people.rs: PAUSED", "the partial index of paused connections alone"),
];

// Breaks when a statement on a lead's way reads a table from end to end, or a batch once for every row of a table.
#[tokio::test]
async fn no_statement_on_a_leads_way_reads_a_whole_table() {
    let dir = tempfile();
    let sqlite = Db::open(&format!("sqlite:{}/plans.db", dir.display())).await.unwrap();
    let postgres = Db::open(&super::support::postgres::database()).await.unwrap();
    let (Db::Sqlite { read, .. }, Db::Postgres(pool)) = (&sqlite, &postgres) else { panic!("one of each") };
    let (mut file, mut server) = (read.take().await.unwrap(), pool.acquire().await.unwrap());
    // Small tables are read whole whatever the indexes: what is asked here is whether there is another way.
    sqlx::raw_sql("SET enable_seqscan = off; SET enable_material = off; SET plan_cache_mode = force_generic_plan")
        .execute(&mut *server)
        .await
        .unwrap();
    let mut slow = Vec::new();
    for (name, sql) in statements() {
        if MAY_SCAN.iter().any(|(may, _)| name.starts_with(may)) {
            continue;
        }
        let values = sql.split('$').skip(1).filter_map(|t| t.split(|c: char| !c.is_ascii_digit()).next()?.parse::<usize>().ok()).max();
        let values = values.unwrap_or(0);
        let explain = format!("EXPLAIN QUERY PLAN {}", store::for_sqlite(sql));
        let mut query = sqlx::query_as::<_, (i64, i64, i64, String)>(AssertSqlSafe(explain));
        for _ in 0..values {
            query = query.bind("[]");
        }
        let plan = query.fetch_all(file.connection().unwrap()).await.unwrap_or_else(|e| panic!("{name}: {e}"));
        let plan: Vec<String> = plan.into_iter().map(|r| r.3).collect();
        if walks(&plan) {
            slow.push(format!("sqlite: {name}\n  {}", plan.join("\n  ")));
        }
        if sql.starts_with("INSERT") && !sql.contains("FROM ") {
            continue;
        }
        let nulls = vec!["NULL"; values].join(", ");
        let prepared = format!("DEALLOCATE ALL; PREPARE asked AS {}", store::for_postgres(sql));
        sqlx::raw_sql(AssertSqlSafe(prepared)).execute(&mut *server).await.unwrap_or_else(|e| panic!("{name}: {e}"));
        let explain = if values == 0 { "EXPLAIN EXECUTE asked".to_owned() } else { format!("EXPLAIN EXECUTE asked({nulls})") };
        let rows = sqlx::raw_sql(AssertSqlSafe(explain)).fetch_all(&mut *server).await.unwrap_or_else(|e| panic!("{name}: {e}"));
        let plan: Vec<String> = rows.iter().map(|row| sqlx::Row::get::<String, _>(row, 0)).collect();
        if plan.iter().any(|line| line.contains("Seq Scan")) {
            slow.push(format!("postgres: {name}\n  {}", plan.join("\n  ")));
        }
    }
    assert!(slow.is_empty(), "{}", slow.join("\n"));
}

// Breaks when counting what waits, every few seconds, reads everything that was ever delivered.
#[tokio::test]
async fn what_waits_is_counted_by_its_indexes() {
    let dir = tempfile();
    let sqlite = Db::open(&format!("sqlite:{}/open.db", dir.display())).await.unwrap();
    let Db::Sqlite { read, .. } = &sqlite else { panic!("a file") };
    let mut file = read.take().await.unwrap();
    let (_, sql) = statements().into_iter().find(|(name, _)| name == "deliveries.rs: OPEN").unwrap();
    let explain = format!("EXPLAIN QUERY PLAN {}", store::for_sqlite(sql));
    let plan: Vec<(i64, i64, i64, String)> = sqlx::query_as(AssertSqlSafe(explain)).fetch_all(file.connection().unwrap()).await.unwrap();
    let reads: Vec<&str> = plan.iter().map(|step| step.3.as_str()).filter(|step| step.contains(" deliveries")).collect();
    assert!(reads.len() == 2 && reads.iter().all(|step| step.contains("USING INDEX deliveries_")), "{reads:?}");
}

// Breaks when PostgreSQL, which knows nothing of a table that has just grown, reads it whole for a batch: every batch did, until
// the server came round to counting the rows.
#[tokio::test]
async fn a_batch_is_looked_up_in_a_table_that_the_server_never_counted() {
    let db = Db::open(&super::support::postgres::database()).await.unwrap();
    let Db::Postgres(pool) = &db else { panic!("a server") };
    let mut server = pool.acquire().await.unwrap();
    sqlx::raw_sql(
        "ALTER TABLE records SET (autovacuum_enabled = false); ALTER TABLE dirty SET (autovacuum_enabled = false);
         INSERT INTO records (connection, object, remote_id, version, content, state, seen_at)
           SELECT 'c', 'Lead', CAST(n AS TEXT), '1', repeat('x', 64), 'live', 0 FROM generate_series(1, 20000) AS n;
         INSERT INTO dirty (connection, object, remote_id, seq, done_seq, kind, raised_at, due, lease_until, claims)
           SELECT 'c', 'Lead', CAST(n AS TEXT), 1, 0, 'changed', 0, 0, 0, 0 FROM generate_series(1, 20000) AS n;
         ALTER TABLE deliveries SET (autovacuum_enabled = false);
         INSERT INTO deliveries (share, way, connection, object, lane, state, wanted_version, done_version, wanted_at, due, attempts, claims,
             lease_until)
           SELECT CAST(n AS TEXT), 'out', 'c', 'Lead', 1, 'open', 1, 0, 0, 0, 0, 0, 0 FROM generate_series(1, 20000) AS n",
    )
    .execute(&mut *server)
    .await
    .unwrap();
    for (wanted, values) in [
        ("leads.rs: RECORDS", "'c', 'Lead', '[[\"7\"]]'"),
        ("dirty.rs: CLAIM", "'c', 'Lead', 1, 'lease', 5, 200"),
        ("dirty.rs: CLAIMED", "'c', 'Lead', 5, 'lease'"),
        ("deliveries.rs: CLAIM", "'[[\"7\", 1, 0, null, null, null]]', 'out', 'lease', 5, 1"),
        ("deliveries.rs: INTEND", "'[[\"7\", 1, null, null]]', 'out', 1"),
        ("deliveries.rs: DONE", "'out', '[[\"7\", 1]]', 'lease', 1"),
        ("deliveries.rs: LATER", "'out', '[[\"7\", 1, 0, null, 1]]', 'lease', 1"),
        ("deliveries.rs: END", "'out', '[[\"7\", \"ended\", null, 1]]', 'lease', 1"),
        ("dirty.rs: SEEN", "'c', 'Lead', '[[\"7\", \"1\", \"live\"]]'"),
        ("deliveries.rs: SETTLED", "'out', '[[\"7\"]]'"),
        ("dirty.rs: FINISH", "'c', 'Lead', '[[\"7\", 1]]', 'lease'"),
        ("dirty.rs: SNOOZE", "'c', 'Lead', '[[\"7\"]]', 'lease', 5, 0"),
    ] {
        let (_, sql) = statements().into_iter().find(|(name, _)| name == wanted).unwrap();
        let explain = format!("DEALLOCATE ALL; PREPARE asked AS {}; EXPLAIN EXECUTE asked({values})", store::for_postgres(sql));
        let rows = sqlx::raw_sql(AssertSqlSafe(explain)).fetch_all(&mut *server).await.unwrap_or_else(|e| panic!("{wanted}: {e}"));
        let plan: Vec<String> = rows.iter().map(|row| sqlx::Row::get::<String, _>(row, 0)).collect();
        assert!(!plan.iter().any(|line| line.contains("Seq Scan")), "{wanted}\n{}", plan.join("\n"));
    }
}

/// Whether SQLite reads a table of ours from end to end, or reads a batch again for each row of one.
fn walks(plan: &[String]) -> bool {
    let own = |step: &&String| {
        (step.starts_with("SCAN") || step.starts_with("SEARCH")) && !step.contains("VIRTUAL TABLE") && !step.contains("SUBQUERY")
    };
    let scans = plan.iter().filter(own).any(|step| {
        step.starts_with("SCAN")
            && !["SCAN waits", "SCAN ready", "SCAN hinted", "SCAN CONSTANT", "SCAN (", "SCAN near", "SCAN item", "SCAN picked"]
                .iter()
                .any(|fine| step.starts_with(fine))
    });
    // A batch that is joined comes first; one in a list (`IN`) is read once.
    let reads = |step: &&String| step.starts_with("SCAN") || step.starts_with("SEARCH");
    let mut joined = plan.iter().take_while(|step| !step.contains("SUBQUERY")).filter(reads);
    let batch_inside =
        joined.clone().any(|step| step.contains("VIRTUAL TABLE")) && joined.next().is_some_and(|first| !first.contains("VIRTUAL TABLE"));
    scans || batch_inside
}

fn tempfile() -> std::path::PathBuf {
    let dir = std::env::temp_dir().join(format!("leadshare-statements-{}", std::process::id()));
    std::fs::create_dir_all(&dir).unwrap();
    dir
}
