//! The only places where the two engines differ.
//!
//! A statement marks them with a word in braces: `{int}` a 64-bit column, `{strict}` typed tables, `{keyed}` typed tables
//! of small rows that lie in their key's order, `{now}` the database's clock in milliseconds, `{skip_locked}` a claim that passes rows
//! others hold, `{for_update}` a row lock, `{helpers}` functions that the other engine has built in, `{migration_lock}` one migration
//! at a time. `{few}` says that a query answers few and long rows; `{only a.id $1}` is about a batch that is joined (see [`only`]);
//! `{sure by c0, c6}` says that its answer is proven to stand when these of its columns, counted from 0, do.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::sync::{PoisonError, RwLock};

/// Run before the first migration.
pub const PREPARE: &str = "{helpers}";
/// Keeps two starting replicas from migrating at once.
pub const MIGRATION_LOCK: &str = "{migration_lock}";

// The inner `SELECT` keeps the planner from reading a batch: it would, as a constant, and hand it on from step to step.
const HELPERS: &str = "
CREATE FUNCTION json_each(text) RETURNS TABLE (key bigint, value jsonb) LANGUAGE sql IMMUTABLE AS
$$ SELECT ordinality - 1, element FROM jsonb_array_elements((SELECT $1)::jsonb) WITH ORDINALITY AS each (element, ordinality) $$;
";

/// The statement for SQLite.
pub fn sqlite(sql: &'static str) -> &'static str {
    const WORDS: [(&str, &str); 10] = [
        // Its `json_each` answers a row of a batch as text, which is then parsed again for every column.
        ("json_each(", "jsonb_each("),
        ("{int}", "INTEGER"),
        ("{strict}", "STRICT"),
        ("{keyed}", "STRICT, WITHOUT ROWID"),
        ("{now}", "CAST(unixepoch('subsec') * 1000 AS INTEGER)"),
        ("{few}", ""),
        ("{skip_locked}", ""),
        ("{for_update}", ""),
        ("{helpers}", "SELECT 1"),
        ("{migration_lock}", "SELECT 1"),
    ];
    static TEXTS: Texts = Texts::new();
    TEXTS.of(sql, || only(&fill(sql, &WORDS), false))
}

/// `{only column $1}`: that the column is among the first values of a batch that is joined with it, said for the server, which would
/// read the whole table otherwise as long as it knows nothing of it.
fn only(sql: &str, say: bool) -> String {
    let mut parts = sql.split("{only ");
    let mut text = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let (said, rest) = part.split_once('}').unwrap_or((part, ""));
        if let (true, Some((column, value))) = (say, said.split_once(' ')) {
            let _ = write!(text, "AND {column} IN (SELECT value ->> 0 FROM json_each(CAST({value} AS TEXT)))");
        }
        text.push_str(rest);
    }
    text
}

/// Whether SQLite hands the rows of a query over one by one: those that a statement which writes answers with, and few long ones,
/// whose texts would be quoted and read as JSON.
pub fn one_by_one(sql: &str) -> bool {
    sql.contains("RETURNING") || sql.ends_with("{few}")
}

/// The query for SQLite, answering one text: the rows as a JSON list of lists. The driver hands rows over one by one between two
/// threads and copies every column on the way, which costs more than finding most rows does.
pub fn sqlite_rows(sql: &'static str, columns: usize) -> &'static str {
    static TEXTS: Texts = Texts::new();
    TEXTS.of(sql, || folded(sql, columns, &[&names(columns)]))
}

/// The same with a second text: the columns that are sure to differ when anything does.
pub fn sqlite_rows_and_proof(sql: &'static str, columns: usize) -> &'static str {
    static TEXTS: Texts = Texts::new();
    TEXTS.of(sql, || {
        let names = names(columns);
        folded(sql, columns, &[&names, sure_by(sql).unwrap_or(&names)])
    })
}

/// The query for SQLite that answers that second text alone.
pub fn sqlite_proof(sql: &'static str, columns: usize) -> &'static str {
    static TEXTS: Texts = Texts::new();
    TEXTS.of(sql, || folded(sql, columns, &[sure_by(sql).unwrap_or(&names(columns))]))
}

fn names(columns: usize) -> String {
    (0..columns).map(|n| format!("c{n}")).collect::<Vec<_>>().join(", ")
}

fn folded(sql: &'static str, columns: usize, lists: &[&str]) -> String {
    let lists = lists.iter().map(|list| format!("json_group_array(json_array({list}))")).collect::<Vec<_>>().join(", ");
    format!("WITH got ({}) AS ({}) SELECT {lists} FROM got", names(columns), sqlite(sql))
}

/// The columns that prove an answer, where not all of them are needed.
pub fn sure_by(sql: &str) -> Option<&str> {
    sql.split_once(SURE)?.1.strip_suffix('}')
}

const SURE: &str = " {sure by ";

/// Several statements for SQLite as one text, and their values as one list.
pub fn sqlite_together<T>(statements: Vec<(&'static str, Vec<T>)>) -> (String, Vec<T>) {
    let (mut together, mut values) = (String::new(), Vec::new());
    for (sql, args) in statements {
        together.push_str(&counted_on(sqlite(sql), values.len()));
        together.push_str(";\n");
        values.extend(args);
    }
    (together, values)
}

/// A statement whose values come after so many others.
pub fn counted_on(sql: &str, before: usize) -> String {
    let mut parts = sql.split('$');
    let mut text = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let digits = part.len() - part.trim_start_matches(|c: char| c.is_ascii_digit()).len();
        let (number, rest) = part.split_at(digits);
        let _ = match number.parse::<usize>() {
            Ok(number) => write!(text, "${}{rest}", number + before),
            Err(_) => write!(text, "${part}"),
        };
    }
    text
}

/// The statement for PostgreSQL.
pub fn postgres(sql: &'static str) -> &'static str {
    const WORDS: [(&str, &str); 9] = [
        ("{int}", "BIGINT"),
        // Sealed texts do not get smaller: without this the server tries to squeeze each, and moves it out of its row.
        ("{strict}", "WITH (toast_tuple_target = 8160)"),
        // Rows that are written several times have room to stay on their page.
        ("{keyed}", "WITH (toast_tuple_target = 8160, fillfactor = 80)"),
        ("{now}", "CAST(EXTRACT(EPOCH FROM clock_timestamp()) * 1000 AS BIGINT)"),
        ("{few}", ""),
        ("{skip_locked}", "FOR UPDATE SKIP LOCKED"),
        ("{for_update}", "FOR UPDATE"),
        ("{helpers}", HELPERS),
        ("{migration_lock}", "SELECT pg_advisory_xact_lock(5023841)"),
    ];
    static TEXTS: Texts = Texts::new();
    TEXTS.of(sql, || with_arrays(&only(&fill(sql, &WORDS), true)))
}

/// A list of ids as an array: that is looked up by index even in a table that the server knows nothing of yet. By a subquery it
/// would rather read the whole table, and the list once for every row.
fn with_arrays(sql: &str) -> String {
    const LIST: &str = "IN (SELECT value ->> 0 FROM json_each(CAST(";
    const END: &str = " AS TEXT)))";
    let mut parts = sql.split(LIST);
    let mut text = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let (value, rest) = part.split_once(END).unwrap_or((part, ""));
        let _ = write!(text, "= ANY (ARRAY(SELECT value ->> 0 FROM json_each(CAST({value}{END}){rest}");
    }
    text
}

/// Filled texts, each made once: as many as the program has statements. They are found by where the statement lies, for texts that
/// begin alike take long to tell apart.
struct Texts(RwLock<BTreeMap<(usize, usize), &'static str>>);

impl Texts {
    const fn new() -> Self {
        Self(RwLock::new(BTreeMap::new()))
    }

    fn of(&self, sql: &'static str, make: impl FnOnce() -> String) -> &'static str {
        let place = (sql.as_ptr() as usize, sql.len());
        if let Some(text) = self.0.read().unwrap_or_else(PoisonError::into_inner).get(&place) {
            return text;
        }
        let text = Box::leak(make().into_boxed_str());
        self.0.write().unwrap_or_else(PoisonError::into_inner).insert(place, text);
        text
    }
}

fn fill(sql: &str, words: &[(&str, &str)]) -> String {
    let sql = sql.split_once(SURE).map_or(sql, |(sql, _)| sql);
    words.iter().fold(sql.to_owned(), |text, (word, value)| text.replace(word, value))
}

#[cfg(test)]
mod tests {
    use super::*;

    // Breaks when a server that never looked at a table reads all of it for a batch of ids.
    #[test]
    fn lists_are_arrays_on_the_server() {
        assert_eq!(
            postgres("DELETE FROM a WHERE x = $1 AND id IN (SELECT value ->> 0 FROM json_each(CAST($2 AS TEXT))) RETURNING id"),
            "DELETE FROM a WHERE x = $1 AND id = ANY (ARRAY(SELECT value ->> 0 FROM json_each(CAST($2 AS TEXT)))) RETURNING id"
        );
    }

    // Breaks when a server that never looked at a table reads all of it to join a batch, or SQLite looks everything up twice.
    #[test]
    fn a_joined_batch_is_a_list_for_the_server() {
        let sql = "UPDATE a SET x = 1 FROM json_each($1) AS item WHERE a.id = item.value ->> 0 {only a.id $1} AND a.y = 2";
        assert_eq!(sqlite(sql), "UPDATE a SET x = 1 FROM jsonb_each($1) AS item WHERE a.id = item.value ->> 0  AND a.y = 2");
        assert!(postgres(sql).contains("AND a.id = ANY (ARRAY(SELECT value ->> 0 FROM json_each(CAST($1 AS TEXT)))) AND a.y = 2"));
    }

    // Breaks when sealed data is read a second time only to see that it stands, or the mark reaches an engine.
    #[test]
    fn an_answer_is_proven_by_few_columns() {
        let marked = "SELECT a, b, c FROM t {sure by c0, c2}";
        let plain = "SELECT a, b FROM t";
        assert_eq!(
            sqlite_rows_and_proof(marked, 3),
            "WITH got (c0, c1, c2) AS (SELECT a, b, c FROM t) SELECT json_group_array(json_array(c0, c1, c2)), json_group_array(json_array(c0, c2)) FROM got"
        );
        assert_eq!(
            sqlite_proof(marked, 3),
            "WITH got (c0, c1, c2) AS (SELECT a, b, c FROM t) SELECT json_group_array(json_array(c0, c2)) FROM got"
        );
        assert_eq!(
            sqlite_proof(plain, 2),
            "WITH got (c0, c1) AS (SELECT a, b FROM t) SELECT json_group_array(json_array(c0, c1)) FROM got"
        );
        assert_eq!((sqlite(marked), postgres(marked)), ("SELECT a, b, c FROM t", "SELECT a, b, c FROM t"));
    }

    // Breaks when a statement that goes with others gets the values of another.
    #[test]
    fn values_are_counted_on() {
        let (text, values) =
            sqlite_together(vec![("UPDATE a SET x = $1 WHERE y = $2", vec![1, 2]), ("SELECT '$.a', $11 FROM json_each($1)", vec![3])]);
        assert_eq!(text, "UPDATE a SET x = $1 WHERE y = $2;\nSELECT '$.a', $13 FROM jsonb_each($3);\n");
        assert_eq!(values, [1, 2, 3]);
    }
}
