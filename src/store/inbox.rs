//! Hints on their way into an embedded store: kept in a small file of their own, with a writer of its own, so that no webhook
//! waits for work to get on the disk. Work takes them into `dirty` before it looks for what is due.
//!
//! What was taken in is deleted with the next webhook's hints, for a commit of its own would be one that webhooks wait for. A crash in
//! between takes them in twice: a hint only says what to look at, so that costs one look.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};

use serde_json::{Value, json};
use sqlx::sqlite::SqliteConnectOptions;

use super::dialect::sqlite_together;
use super::dirty::{self, Raise};
use super::readers::Readers;
use super::writer::Writer;
use super::{Db, OnWriter, Tx, read_rows};
use crate::args;
use crate::clock::Millis;
use crate::errors::Result;
use crate::points;

/// Most hints taken in by one transaction.
const BATCH: i64 = 5_000;

// Ids are never given twice: what one handle of the store has read and then deletes is never a newer hint.
const SCHEMA: &str =
    "CREATE TABLE IF NOT EXISTS inbox (id INTEGER PRIMARY KEY AUTOINCREMENT, connection TEXT NOT NULL, object TEXT NOT NULL,
  remote_id TEXT NOT NULL, kind TEXT NOT NULL, detail TEXT, at INTEGER NOT NULL) STRICT";

/// The file beside the store's. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Inbox {
    read: Readers,
    write: Writer,
    /// How often something was kept, beginning with what an earlier run may have left.
    kept: Arc<AtomicU64>,
    /// How much of that was taken in; held by the one who takes in.
    taken: Arc<tokio::sync::Mutex<u64>>,
    /// The last hint that was taken in, and the last that is deleted.
    last: Arc<AtomicI64>,
    deleted: Arc<AtomicI64>,
}

impl Inbox {
    /// Opens it, `….inbox` beside the store's file.
    ///
    /// # Errors
    /// When it cannot be opened.
    pub(super) async fn open(options: &SqliteConnectOptions) -> Result<Self> {
        let mut name = options.get_filename().as_os_str().to_owned();
        name.push(".inbox");
        super::ours_alone(Path::new(&name));
        let options = options.clone().filename(name);
        let write = Writer::open(&options).await?;
        let mut tx = Tx::Sqlite(OnWriter::new(&write));
        tx.raw(SCHEMA).await?;
        tx.commit().await?;
        let (read, kept) = (Readers::new(&options, 1), Arc::new(AtomicU64::new(1)));
        Ok(Self { read, write, kept, taken: Arc::default(), last: Arc::default(), deleted: Arc::default() })
    }

    /// Keeps hints `(connection, hint)`; answers after the commit.
    ///
    /// # Errors
    /// The store's: none of them was kept.
    pub async fn keep<'a>(&self, hints: impl Iterator<Item = (&'a str, &'a Raise)>, now: Millis) -> Result<()> {
        let rows: Vec<Value> = hints.map(|(at, h)| json!([at, h.object, h.remote_id, h.kind, h.detail])).collect();
        points::at("webhook.raised").await;
        let last = self.last.load(Ordering::Acquire);
        let (text, args) = sqlite_together(vec![(TAKEN, args![last]), (KEEP, args![Value::from(rows), now])]);
        self.write.keep(text, args).await?;
        self.deleted.fetch_max(last, Ordering::AcqRel);
        self.kept.fetch_add(1, Ordering::Release);
        Ok(())
    }

    /// Deletes what was taken in, when no webhook has come since that would have done so.
    async fn clear(&self) -> Result<()> {
        let last = self.last.load(Ordering::Acquire);
        if self.deleted.load(Ordering::Acquire) < last {
            let (text, args) = sqlite_together(vec![(TAKEN, args![last])]);
            self.write.keep(text, args).await?;
            self.deleted.fetch_max(last, Ordering::AcqRel);
        }
        Ok(())
    }

    pub(super) async fn close(&self) {
        self.read.close().await;
        self.write.close().await;
    }
}

const KEEP: &str = "INSERT INTO inbox (connection, object, remote_id, kind, detail, at)
  SELECT value ->> 0, value ->> 1, value ->> 2, value ->> 3, value ->> 4, $2 FROM json_each(CAST($1 AS TEXT))";
const KEPT: &str = "SELECT id, connection, object, remote_id, kind, detail, at FROM inbox WHERE id > $1 ORDER BY id LIMIT $2";
const TAKEN: &str = "DELETE FROM inbox WHERE id <= $1";

/// Id, connection, object, record, kind, detail, kept at.
type Row = (i64, String, String, String, String, Option<String>, i64);

/// Takes in what was kept since it was last asked: hints of all connections. While somebody else does so, nothing is done: nobody waits
/// for the commit of hints that are mostly others'. On a server hints go to their place at once.
///
/// # Errors
/// The store's: what was not taken in stays.
pub async fn take_in(db: &Db) -> Result<()> {
    let Db::Sqlite { inbox, .. } = db else { return Ok(()) };
    let Ok(mut taken) = inbox.taken.try_lock() else { return Ok(()) };
    // Whoever keeps one meanwhile finds this lock taken, and goes on: so it is looked once more, and no oftener, for a turn waits here.
    for _ in 0..2 {
        let kept = inbox.kept.load(Ordering::Acquire);
        if *taken == kept {
            break;
        }
        take_all(db, inbox).await?;
        *taken = kept;
    }
    Ok(())
}

/// The same without asking whether anything was kept: whoever kept it may have been broken off before it said so, for a vendor may hang
/// up while its hint is being committed.
///
/// # Errors
/// As [`take_in`].
pub async fn look_through(db: &Db) -> Result<()> {
    let Db::Sqlite { inbox, .. } = db else { return Ok(()) };
    let taken = inbox.taken.lock().await;
    take_all(db, inbox).await?;
    drop(taken);
    inbox.clear().await
}

async fn take_all(db: &Db, inbox: &Inbox) -> Result<()> {
    loop {
        let rows = read_rows::<Row>(&inbox.read, KEPT, args![inbox.last.load(Ordering::Acquire), BATCH]).await?;
        let more = rows.len() as i64 == BATCH;
        take(db, inbox, rows).await?;
        if !more {
            return Ok(());
        }
    }
}

const WAITING: &str = "SELECT connection, COUNT(DISTINCT remote_id), MIN(at) FROM inbox WHERE id > $1 GROUP BY connection";

/// How many records are named by what was not taken in yet, by connection, and since when.
pub(super) async fn waiting(db: &Db) -> Result<Vec<(String, i64, Millis)>> {
    let Db::Sqlite { inbox, .. } = db else { return Ok(Vec::new()) };
    read_rows(&inbox.read, WAITING, args![inbox.last.load(Ordering::Acquire)]).await
}

async fn take(db: &Db, inbox: &Inbox, rows: Vec<Row>) -> Result<()> {
    let Some((last, .., now)) = rows.last().cloned() else { return Ok(()) };
    let hints: Vec<(String, Raise)> = rows
        .into_iter()
        .map(|(_, connection, object, remote_id, kind, detail, _)| {
            (connection, Raise { object, remote_id, kind: dirty::kind(&kind), detail })
        })
        .collect();
    dirty::raise_all(db, hints.iter().map(|(at, hint)| (at.as_str(), hint)), now).await?;
    points::at("inbox.raised").await;
    inbox.last.store(last, Ordering::Release);
    Ok(())
}
