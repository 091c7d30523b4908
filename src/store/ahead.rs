//! A transaction that is worked out beside the embedded store's one writer: it reads there, and its writes are gathered. At its end
//! everything that was read is asked for again on the writer, in one way there and back; only when every answer is the same is anything
//! written. So the writer is held for what it alone can do, and not while somebody computes.

use std::fmt::Write;

use super::dialect;
use super::readers::Readers;
use super::writer::Writer;
use super::{Arg, Db, Row, Tx, bound, unfold};
use crate::errors::{Error, Result};

/// A transaction that may be done twice: on SQLite it is worked out beside the writer, and when that comes to nothing, because what it
/// read has changed meanwhile or for whatever reason, once more in a transaction on the writer. What is to be counted once goes through
/// [`Tx::tell`].
///
/// ```text
/// let done = loop {
///     let mut tx = tries.begin().await?;
///     let done = work(&mut tx).await;
///     if let Some(done) = tries.end(tx, done).await? { break done }
/// };
/// ```
pub struct Tries<'a> {
    pub(super) db: &'a Db,
    pub(super) ahead: bool,
}

impl Tries<'_> {
    /// The transaction, on a try beside the writer, for work that begins before one on the writer would.
    pub fn ahead(&self) -> Option<Tx> {
        match self.db {
            Db::Sqlite { read, write, .. } if self.ahead => Some(Tx::Ahead(Ahead::new(read, write))),
            _ => None,
        }
    }

    /// Begins.
    ///
    /// # Errors
    /// The store's.
    pub async fn begin(&self) -> Result<Tx> {
        match self.ahead() {
            Some(tx) => Ok(tx),
            None => self.db.begin().await,
        }
    }

    /// Makes it so; nothing when it is to be done once more.
    ///
    /// # Errors
    /// What the work answered, and the store's.
    pub async fn end<T>(&mut self, tx: Tx, done: Result<T>) -> Result<Option<T>> {
        if std::mem::take(&mut self.ahead) {
            let kept = match done {
                Ok(done) => tx.commit().await.map(|()| done),
                Err(error) => Err(error),
            };
            return Ok(kept.inspect_err(|error| tracing::debug!(%error, "worked out beside the writer in vain: done once more")).ok());
        }
        let done = done?;
        tx.commit().await?;
        Ok(Some(done))
    }
}

/// A transaction of its own kind; nothing of it is in the store before [`Ahead::commit`].
pub struct Ahead {
    read: Readers,
    write: Writer,
    seen: Vec<Asked>,
    put: Vec<Put>,
    told: Vec<Box<dyn FnOnce() + Send>>,
}

/// A write, and how many rows it must touch where that is not all the same.
struct Put {
    sql: &'static str,
    values: Vec<Arg>,
    hoped: Option<u64>,
}

/// How something is read.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Look {
    /// Asked again at the end: the answer must be the same then.
    Proven,
    /// What others may change before the end.
    Glance,
    /// The same, and what this transaction has put need not be seen.
    Peek,
}

/// A query with what proves that its answer stands.
struct Asked {
    sql: &'static str,
    columns: usize,
    values: Vec<Arg>,
    answer: String,
}

impl Ahead {
    pub(super) fn new(read: &Readers, write: &Writer) -> Self {
        Self { read: read.clone(), write: write.clone(), seen: Vec::new(), put: Vec::new(), told: Vec::new() }
    }

    /// Reads.
    pub(super) async fn rows<T: Row>(&mut self, sql: &'static str, args: Vec<Arg>, look: Look) -> Result<Vec<T>> {
        let proven = look == Look::Proven;
        if look != Look::Peek && self.put.iter().any(|put| written(put.sql).is_none_or(|table| names(sql, table))) {
            return Err(Error::System("what was put is not to be read beside the writer".into()));
        }
        let columns = T::COLUMNS;
        let mut reader = self.read.take().await?;
        let values = proven.then(|| args.clone());
        let (folded, answer) = if proven && dialect::sure_by(sql).is_some() {
            let asked = bound!(sqlx::query_as(dialect::sqlite_rows_and_proof(sql, columns)), args);
            let (folded, answer): (String, String) = asked.fetch_one(reader.connection()?).await?;
            (folded, Some(answer))
        } else {
            let asked = bound!(sqlx::query_as(dialect::sqlite_rows(sql, columns)), args);
            let (folded,): (String,) = asked.fetch_one(reader.connection()?).await?;
            (folded, None)
        };
        reader.ended();
        let rows = unfold(&folded)?;
        if let Some(values) = values {
            // Where all columns are needed, the answer is its own proof.
            self.seen.push(Asked { sql, columns, values, answer: answer.unwrap_or(folded) });
        }
        Ok(rows)
    }

    /// Gathers a write that touches as many rows as is hoped.
    pub(super) fn put(&mut self, sql: &'static str, values: Vec<Arg>, hoped: Option<u64>) {
        self.put.push(Put { sql, values, hoped });
    }

    /// Does something once it is kept.
    pub(super) fn tell(&mut self, tell: impl FnOnce() + Send + 'static) {
        self.told.push(Box::new(tell));
    }

    /// Makes it so. What was only read is not proven: there is nothing that stands on it.
    ///
    /// # Errors
    /// The store's; [`Error::Passing`] when something of what was read stands no more; nothing was written then.
    pub(super) async fn commit(self) -> Result<()> {
        if self.put.is_empty() {
            self.told.into_iter().for_each(|tell| tell());
            return Ok(());
        }
        let (mut text, mut args) = prove(self.seen);
        for Put { sql, values, hoped } in self.put {
            let _ = writeln!(text, "{};", dialect::counted_on(dialect::sqlite(sql), args.len()));
            args.extend(values);
            if let Some(hoped) = hoped {
                let _ = writeln!(text, "SELECT changes() = {hoped};");
            }
        }
        self.write.keep(text, args).await?;
        self.told.into_iter().for_each(|tell| tell());
        Ok(())
    }
}

/// The table that a statement writes.
fn written(sql: &str) -> Option<&str> {
    let begins = ["INSERT INTO ", "UPDATE ", "DELETE FROM "].into_iter().filter_map(|word| Some(sql.find(word)? + word.len()));
    sql[begins.min()?..].split(|c: char| !is_word(c)).next()
}

/// Whether a statement names a table.
fn names(sql: &str, table: &str) -> bool {
    sql.match_indices(table).any(|(at, _)| !sql[..at].ends_with(is_word) && !sql[at + table.len()..].starts_with(is_word))
}

fn is_word(c: char) -> bool {
    c.is_ascii_alphanumeric() || c == '_'
}

/// A query that answers whether everything is still answered as it was, with its values.
fn prove(seen: Vec<Asked>) -> (String, Vec<Arg>) {
    let (mut text, mut args) = (String::from("SELECT true"), Vec::new());
    for Asked { sql, columns, values, answer } in seen {
        let asked = dialect::counted_on(dialect::sqlite_proof(sql, columns), args.len());
        args.extend(values);
        args.push(Arg::Text(answer));
        let _ = write!(text, " AND ({asked}) = ${}", args.len());
    }
    (text + ";\n", args)
}

#[cfg(test)]
mod tests {
    use super::*;

    // Breaks when a transaction beside the writer would not see what it has written itself, and nobody notices.
    #[test]
    fn tables_are_told_apart() {
        assert_eq!(written("INSERT INTO people (id) SELECT 1 ON CONFLICT (id) DO UPDATE SET id = 2"), Some("people"));
        assert_eq!(written("WITH item AS (SELECT 1) UPDATE remote_people SET x = 1"), Some("remote_people"));
        assert_eq!(written("DELETE FROM dirty WHERE true"), Some("dirty"));
        assert!(names("SELECT person FROM people WHERE id = 1", "people"));
        assert!(!names("SELECT person FROM remote_people", "people") && !names("SELECT id FROM leads_old", "leads"));
    }
}
