//! The only places where the two engines differ.
//!
//! A statement marks them with a word in braces: `{int}` a 64-bit column, `{strict}` typed tables,
//! `{now}` the database's clock in milliseconds, `{skip_locked}` a claim that passes rows others hold, `{for_update}` a row lock, `{helpers}`
//! functions that the other engine has built in, `{migration_lock}` one migration at a time.

/// Run before the first migration.
pub const PREPARE: &str = "{helpers}";
/// Keeps two starting replicas from migrating at once.
pub const MIGRATION_LOCK: &str = "{migration_lock}";

const HELPERS: &str = "
CREATE FUNCTION json_each(text) RETURNS TABLE (key bigint, value jsonb) LANGUAGE sql IMMUTABLE AS
$$ SELECT ordinality - 1, element FROM jsonb_array_elements($1::jsonb) WITH ORDINALITY AS each (element, ordinality) $$;
";

/// The statement for SQLite.
pub fn sqlite(sql: &str) -> String {
    fill(
        sql,
        &[
            // Its `json_each` answers a row of a batch as text, which is then parsed again for every column.
            ("json_each(", "jsonb_each("),
            ("{int}", "INTEGER"),
            ("{strict}", "STRICT"),
            ("{now}", "CAST(unixepoch('subsec') * 1000 AS INTEGER)"),
            ("{skip_locked}", ""),
            ("{for_update}", ""),
            ("{helpers}", "SELECT 1"),
            ("{migration_lock}", "SELECT 1"),
        ],
    )
}

/// The statement for PostgreSQL.
pub fn postgres(sql: &str) -> String {
    fill(
        sql,
        &[
            ("{int}", "BIGINT"),
            ("{strict}", ""),
            ("{now}", "CAST(EXTRACT(EPOCH FROM clock_timestamp()) * 1000 AS BIGINT)"),
            ("{skip_locked}", "FOR UPDATE SKIP LOCKED"),
            ("{for_update}", "FOR UPDATE"),
            ("{helpers}", HELPERS),
            ("{migration_lock}", "SELECT pg_advisory_xact_lock(5023841)"),
        ],
    )
}

fn fill(sql: &str, words: &[(&str, &str)]) -> String {
    words.iter().fold(sql.to_owned(), |text, (word, value)| text.replace(word, value))
}
