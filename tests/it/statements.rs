//! Every SQL text in the store is understood by both engines.

use leadshare::store::{self, Db};
use sqlx::{AssertSqlSafe, Executor, SqlSafeStr};

/// The `const NAME: &str = "…"` texts of the store's files.
fn statements() -> Vec<(String, String)> {
    let mut found = Vec::new();
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/src/store");
    let mut files: Vec<_> =
        std::fs::read_dir(folder).unwrap().flatten().map(|e| e.path()).filter(|p| p.extension().is_some_and(|e| e == "rs")).collect();
    files.sort();
    for file in files {
        let text = std::fs::read_to_string(&file).unwrap();
        for part in text.split("const ").skip(1) {
            let Some((name, rest)) = part.split_once(": &str") else { continue };
            let Some((_, value)) = rest.split_once('"') else { continue };
            let Some((sql, _)) = value.split_once("\";") else { continue };
            let first = sql.split_whitespace().next().unwrap_or_default();
            if ["SELECT", "INSERT", "UPDATE", "DELETE", "WITH"].contains(&first) {
                found.push((format!("{}: {name}", file.file_name().unwrap().to_string_lossy()), sql.to_owned()));
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
            && let Err(error) = read.acquire().await.unwrap().prepare(AssertSqlSafe(store::for_sqlite(sql)).into_sql_str()).await
        {
            wrong.push(format!("sqlite: {name}: {error}"));
        }
        if let Db::Postgres(pool) = &postgres
            && let Err(error) = pool.acquire().await.unwrap().prepare(AssertSqlSafe(store::for_postgres(sql)).into_sql_str()).await
        {
            wrong.push(format!("postgres: {name}: {error}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

fn tempfile() -> std::path::PathBuf {
    let dir = std::env::temp_dir().join(format!("leadshare-statements-{}", std::process::id()));
    std::fs::create_dir_all(&dir).unwrap();
    dir
}
