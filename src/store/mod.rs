//! The database: SQLite or PostgreSQL behind one Rust body and one SQL text.
//!
//! All SQL lives in this folder, in `const` texts; a test prepares every one on both engines.
//! Statements are set-based: a batch enters as one JSON text of arrays. No transaction is held
//! while a vendor is being called. The dialects differ in the fragments of `dialect` only.
//!
//! Where a batch is joined with a table by a part of its key, it is `WITH item AS MATERIALIZED`: SQLite would else read
//! every row of the connection and parse the batch again for each.

mod ahead;
mod arg;
pub mod audit;
pub mod budgets;
pub mod claims;
pub mod connections;
pub mod deliveries;
mod dialect;
pub mod dirty;
pub mod due;
pub mod files;
pub mod inbox;
pub mod leads;
pub mod ledger;
pub mod loads;
pub mod overwrites;
pub mod people;
pub mod quiet;
mod readers;
pub mod replicas;
pub mod retention;
mod server;
pub mod shares;
pub mod sweeps;
pub mod tokens;
pub mod verdicts;
pub mod views;
pub mod waits;
mod writer;

pub use dialect::{postgres as for_postgres, sqlite as for_sqlite};

use std::path::Path;

use serde::de::DeserializeOwned;
use sqlx::postgres::PgRow;
use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection, SqliteJournalMode, SqliteRow, SqliteSynchronous};
use sqlx::{AssertSqlSafe, ConnectOptions, FromRow, PgPool};

use crate::errors::{Error, Result};
pub use ahead::Tries;
use ahead::{Ahead, Look};
pub use arg::{Arg, Rows};
pub use readers::READERS;
use readers::{Reader, Readers};
use writer::{Member, Writer};

/// The database's schema version that this program writes.
const SCHEMA_VERSION: i64 = 1;
const SCHEMA: &str = include_str!("schema.sql");

/// A pool of connections to one of the two engines. Cheap to clone.
#[derive(Clone, Debug)]
pub enum Db {
    /// One file. Writes go through one connection.
    Sqlite {
        /// For reading.
        read: Readers,
        /// For writing.
        write: Writer,
        /// For hints.
        inbox: inbox::Inbox,
    },
    /// A server.
    Postgres(PgPool),
}

/// An open transaction; rolled back when dropped without [`Tx::commit`].
pub enum Tx {
    /// On SQLite.
    Sqlite(OnWriter),
    /// On SQLite, beside the writer.
    Reading(Reader),
    /// On SQLite, worked out beside the writer.
    Ahead(Ahead),
    /// On PostgreSQL.
    Postgres(sqlx::Transaction<'static, sqlx::Postgres>),
}

/// A transaction on the embedded store's writer: it takes its turn there when something is first asked, or at the commit.
pub struct OnWriter {
    write: Writer,
    turn: Option<Member>,
    /// What was put and not sent yet.
    put: Vec<(&'static str, Vec<Arg>)>,
}

impl OnWriter {
    fn new(write: &Writer) -> Self {
        Self { write: write.clone(), turn: None, put: Vec::new() }
    }

    /// The connection, with everything done on it that was put.
    async fn connection(&mut self) -> Result<&mut SqliteConnection> {
        let turn = match &mut self.turn {
            Some(turn) => turn,
            none => none.insert(self.write.begin().await?),
        };
        let connection = turn.connection()?;
        if !self.put.is_empty() {
            let (text, args) = dialect::sqlite_together(std::mem::take(&mut self.put));
            bound!(sqlx::query::<sqlx::Sqlite>(AssertSqlSafe(text)), args).execute(&mut *connection).await?;
        }
        Ok(connection)
    }

    async fn commit(mut self) -> Result<()> {
        if self.turn.is_none() && !self.put.is_empty() {
            let (text, args) = dialect::sqlite_together(self.put);
            return self.write.keep(text, args).await;
        }
        if !self.put.is_empty() {
            self.connection().await?;
        }
        match self.turn {
            Some(turn) => turn.commit().await,
            None => Ok(()),
        }
    }
}

/// Binds values in order: `args![name, 5, None::<String>]`.
#[macro_export]
macro_rules! args {
    ($($value:expr),* $(,)?) => { vec![$(Into::<$crate::store::Arg>::into($value)),*] };
}

macro_rules! bound {
    ($query:expr, $args:expr) => {{
        let mut query = $query;
        for arg in $args {
            query = match arg {
                Arg::Text(v) | Arg::Json(v) => query.bind(v),
                Arg::Int(v) => query.bind(v),
                Arg::OptText(v) => query.bind(v),
                Arg::OptInt(v) => query.bind(v),
            };
        }
        query
    }};
}
use bound;

/// A row type that reads from both engines: tuples of `String`, `i64` and `Option`s of them.
pub trait Row: Send + Unpin + DeserializeOwned + for<'r> FromRow<'r, SqliteRow> + for<'r> FromRow<'r, PgRow> {
    /// How many columns it has.
    const COLUMNS: usize;
}

macro_rules! row_of {
    ($count:literal $($column:ident)+) => {
        impl<$($column),+> Row for ($($column,)+)
        where
            Self: Send + Unpin + DeserializeOwned + for<'r> FromRow<'r, SqliteRow> + for<'r> FromRow<'r, PgRow>,
        {
            const COLUMNS: usize = $count;
        }
    };
}
row_of!(1 A);
row_of!(2 A B);
row_of!(3 A B C);
row_of!(4 A B C D);
row_of!(5 A B C D E);
row_of!(6 A B C D E F);
row_of!(7 A B C D E F G);
row_of!(8 A B C D E F G H);
row_of!(9 A B C D E F G H I);
row_of!(10 A B C D E F G H I J);
row_of!(11 A B C D E F G H I J K);
row_of!(12 A B C D E F G H I J K L);
row_of!(13 A B C D E F G H I J K L M);
row_of!(14 A B C D E F G H I J K L M N);
row_of!(15 A B C D E F G H I J K L M N O);
row_of!(16 A B C D E F G H I J K L M N O P);

/// A statement of a batch that has no rows touches nothing, and is not sent.
fn idle(sql: &str, args: &[Arg]) -> bool {
    args.iter().any(|arg| matches!(arg, Arg::Json(list) if list == "[]")) && sql.contains("json_each(")
}

/// The rows that a query of [`dialect::sqlite_rows`] answers with.
fn unfold<T: Row>(folded: &str) -> Result<Vec<T>> {
    serde_json::from_str(folded).map_err(|_| Error::Unreadable { what: "rows of the store".into() })
}

/// Reads, outside any transaction.
async fn read_rows<T: Row>(readers: &Readers, sql: &'static str, args: Vec<Arg>) -> Result<Vec<T>> {
    let mut reader = readers.take().await?;
    let rows = sqlite_rows(reader.connection()?, sql, args).await?;
    reader.ended();
    Ok(rows)
}

async fn sqlite_rows<T: Row>(connection: &mut SqliteConnection, sql: &'static str, args: Vec<Arg>) -> Result<Vec<T>> {
    if dialect::one_by_one(sql) {
        return Ok(bound!(sqlx::query_as::<sqlx::Sqlite, T>(dialect::sqlite(sql)), args).fetch_all(connection).await?);
    }
    let folded: (String,) = bound!(sqlx::query_as(dialect::sqlite_rows(sql, T::COLUMNS)), args).fetch_one(connection).await?;
    unfold(&folded.0)
}

/// A new embedded store is readable by nobody else; SQLite gives the files beside it the same rights. What keeps the file from being
/// made is told when it is opened.
fn ours_alone(path: &Path) {
    use std::os::unix::fs::OpenOptionsExt as _;
    let _ = std::fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(path);
}

impl Db {
    /// Opens the store named by the operator: `sqlite:PATH` or `postgres://…`, and brings its
    /// schema up to date.
    ///
    /// # Errors
    /// When it cannot be reached, or was written by a newer program.
    pub async fn open(url: &str) -> Result<Self> {
        let db = if url.starts_with("postgres") {
            Self::Postgres(server::open(url).await?)
        } else {
            let path = url.strip_prefix("sqlite:").unwrap_or(url);
            ours_alone(Path::new(path));
            let options = SqliteConnectOptions::new()
                .filename(Path::new(path))
                .create_if_missing(true)
                .journal_mode(SqliteJournalMode::Wal)
                .synchronous(SqliteSynchronous::Full)
                .foreign_keys(true)
                // What a savepoint must be able to put back stays in memory: it is gone at the commit anyway.
                .pragma("temp_store", "memory")
                .pragma("wal_autocheckpoint", "16000")
                .busy_timeout(std::time::Duration::from_secs(20))
                .statement_cache_capacity(64)
                .disable_statement_logging();
            // What a transaction writes is one long text: a few kinds of them, each with a score of prepared statements.
            let write = Writer::open(&options.clone().pragma("cache_size", "-4000").statement_cache_capacity(48)).await?;
            // The system keeps the file's pages at hand: the others need few of their own.
            let options = options.pragma("cache_size", "-500");
            Self::Sqlite { read: Readers::new(&options, READERS), write, inbox: inbox::Inbox::open(&options).await? }
        };
        db.migrate().await?;
        Ok(db)
    }

    async fn migrate(&self) -> Result<()> {
        const HEAD: &str = "CREATE TABLE IF NOT EXISTS schema_version (version BIGINT NOT NULL, min_reader BIGINT NOT NULL)";
        const CURRENT: &str =
            "SELECT CAST(COALESCE(MAX(version), 0) AS BIGINT), CAST(COALESCE(MAX(min_reader), 0) AS BIGINT) FROM schema_version";
        const ADD: &str = "INSERT INTO schema_version (version, min_reader) VALUES ($1, $2)";
        let mut tx = self.begin().await?;
        tx.raw(dialect::MIGRATION_LOCK).await?;
        tx.raw(HEAD).await?;
        let (version, min_reader) = tx.rows::<(i64, i64)>(CURRENT, args![]).await?.first().copied().unwrap_or_default();
        if min_reader > SCHEMA_VERSION {
            return Err(Error::BadRequest(format!(
                "the database has schema {version}, which this program is too old to read: start the newer leadshare, or restore a backup"
            )));
        }
        if version < 1 {
            tx.raw(dialect::PREPARE).await?;
            tx.raw(SCHEMA).await?;
            tx.exec(ADD, args![SCHEMA_VERSION, SCHEMA_VERSION]).await?;
        }
        tx.commit().await
    }

    /// Begins a transaction that may write.
    pub async fn begin(&self) -> Result<Tx> {
        Ok(match self {
            Self::Sqlite { write, .. } => Tx::Sqlite(OnWriter::new(write)),
            Self::Postgres(pool) => Tx::Postgres(pool.begin().await?),
        })
    }

    /// For a transaction that is worked out beside the embedded store's writer.
    pub fn tries(&self) -> Tries<'_> {
        Tries { db: self, ahead: matches!(self, Self::Sqlite { .. }) }
    }

    /// Begins a transaction that only reads: one state of the store, beside those that write.
    pub async fn reading(&self) -> Result<Tx> {
        Ok(match self {
            Self::Sqlite { read, .. } => Tx::Reading(read.begin().await?),
            Self::Postgres(pool) => Tx::Postgres(pool.begin().await?),
        })
    }

    /// Reads, outside any transaction.
    pub async fn rows<T: Row>(&self, sql: &'static str, args: Vec<Arg>) -> Result<Vec<T>> {
        if idle(sql, &args) {
            return Ok(Vec::new());
        }
        match self {
            Self::Sqlite { read, .. } => read_rows(read, sql, args).await,
            Self::Postgres(pool) => Ok(bound!(sqlx::query_as::<sqlx::Postgres, T>(dialect::postgres(sql)), args).fetch_all(pool).await?),
        }
    }

    /// Reads at most one row.
    pub async fn row<T: Row>(&self, sql: &'static str, args: Vec<Arg>) -> Result<Option<T>> {
        Ok(self.rows(sql, args).await?.into_iter().next())
    }

    /// One statement in a transaction of its own.
    pub async fn put(&self, sql: &'static str, args: Vec<Arg>) -> Result<()> {
        match self {
            _ if idle(sql, &args) => Ok(()),
            Self::Sqlite { write, .. } => {
                let (text, args) = dialect::sqlite_together(vec![(sql, args)]);
                write.keep(text, args).await
            }
            Self::Postgres(_) => self.exec(sql, args).await.map(|_| ()),
        }
    }

    /// One statement in a transaction of its own; answers how many rows it touched.
    pub async fn exec(&self, sql: &'static str, args: Vec<Arg>) -> Result<u64> {
        if idle(sql, &args) {
            return Ok(0);
        }
        let mut tx = self.begin().await?;
        let touched = tx.exec(sql, args).await?;
        tx.commit().await?;
        Ok(touched)
    }

    /// One statement in a transaction of its own; answers whether it touched anything.
    pub async fn touch(&self, sql: &'static str, args: Vec<Arg>) -> Result<bool> {
        match self {
            Self::Sqlite { write, .. } => {
                let (text, args) = dialect::sqlite_together(vec![(sql, args), ("SELECT changes() > 0", Vec::new())]);
                match write.keep(text, args).await {
                    Err(Error::Passing { .. }) => Ok(false),
                    kept => kept.map(|()| true),
                }
            }
            Self::Postgres(_) => Ok(self.exec(sql, args).await? > 0),
        }
    }

    /// The same database by a connection of its own, for what must not wait behind work. On SQLite the same pools: it has one writer.
    ///
    /// # Errors
    /// When it cannot be reached.
    pub async fn aside(&self) -> Result<Self> {
        Ok(match self {
            Self::Sqlite { .. } => self.clone(),
            Self::Postgres(pool) => Self::Postgres(server::beside(pool).await?),
        })
    }

    /// The engine's name.
    pub fn engine(&self) -> &'static str {
        match self {
            Self::Sqlite { .. } => "sqlite",
            Self::Postgres(_) => "postgres",
        }
    }

    /// Closes every connection.
    pub async fn close(&self) {
        match self {
            Self::Sqlite { read, write, inbox } => {
                inbox.close().await;
                read.close().await;
                write.close().await;
            }
            Self::Postgres(pool) => pool.close().await,
        }
    }
}

impl Tx {
    /// Reads, or writes with `RETURNING` (whose order is not defined: sort).
    pub async fn rows<T: Row>(&mut self, sql: &'static str, args: Vec<Arg>) -> Result<Vec<T>> {
        if idle(sql, &args) {
            return Ok(Vec::new());
        }
        match self {
            Self::Sqlite(tx) => sqlite_rows(tx.connection().await?, sql, args).await,
            Self::Reading(tx) => sqlite_rows(tx.connection()?, sql, args).await,
            Self::Ahead(tx) => tx.rows(sql, args, Look::Proven).await,
            Self::Postgres(tx) => {
                Ok(bound!(sqlx::query_as::<sqlx::Postgres, T>(dialect::postgres(sql)), args).fetch_all(&mut **tx).await?)
            }
        }
    }

    /// Reads beside the transaction: what others may change before the end, and of what it has put itself it may tell nothing.
    pub async fn peek<T: Row>(&mut self, sql: &'static str, args: Vec<Arg>) -> Result<Vec<T>> {
        match self {
            Self::Ahead(tx) if !idle(sql, &args) => tx.rows(sql, args, Look::Peek).await,
            tx => tx.rows(sql, args).await,
        }
    }

    /// Reads what may change before the end: how much there is of something that others count, too.
    pub async fn glance<T: Row>(&mut self, sql: &'static str, args: Vec<Arg>) -> Result<Vec<T>> {
        match self {
            Self::Ahead(tx) if !idle(sql, &args) => tx.rows(sql, args, Look::Glance).await,
            tx => tx.rows(sql, args).await,
        }
    }

    /// Writes; nobody needs to know how many rows it touched. Such writes go to SQLite together, before whatever comes next in
    /// the transaction: each way to its thread and back costs more than most of them do.
    pub async fn put(&mut self, sql: &'static str, args: Vec<Arg>) -> Result<()> {
        match self {
            _ if idle(sql, &args) => Ok(()),
            Self::Sqlite(tx) => {
                tx.put.push((sql, args));
                Ok(())
            }
            Self::Ahead(tx) => {
                tx.put(sql, args, None);
                Ok(())
            }
            _ => self.exec(sql, args).await.map(|_| ()),
        }
    }

    /// Writes; answers how many rows it touched.
    pub async fn exec(&mut self, sql: &'static str, args: Vec<Arg>) -> Result<u64> {
        if idle(sql, &args) {
            return Ok(0);
        }
        Ok(match self {
            Self::Sqlite(tx) => {
                bound!(sqlx::query::<sqlx::Sqlite>(dialect::sqlite(sql)), args).execute(tx.connection().await?).await?.rows_affected()
            }
            Self::Reading(_) | Self::Ahead(_) => return Err(not_now()),
            Self::Postgres(tx) => {
                bound!(sqlx::query::<sqlx::Postgres>(dialect::postgres(sql)), args).execute(&mut **tx).await?.rows_affected()
            }
        })
    }

    /// Writes; answers how many rows it touched. Beside the writer that is what is hoped, and proven at the end.
    pub async fn touch(&mut self, sql: &'static str, args: Vec<Arg>, hoped: u64) -> Result<u64> {
        match self {
            Self::Ahead(tx) if !idle(sql, &args) => {
                tx.put(sql, args, Some(hoped));
                Ok(hoped)
            }
            tx => tx.exec(sql, args).await,
        }
    }

    /// Counts something that this transaction keeps: beside the writer once it is kept, for it may be done once more.
    pub fn tell(&mut self, tell: impl FnOnce() + Send + 'static) {
        match self {
            Self::Ahead(tx) => tx.tell(tell),
            _ => tell(),
        }
    }

    /// Whether what was read through it, but for glances, is proven at its end when it writes: nobody can have changed it then.
    pub fn proves(&self) -> bool {
        matches!(self, Self::Ahead(_))
    }

    /// Several statements without values: schema only.
    async fn raw(&mut self, sql: &'static str) -> Result<()> {
        match self {
            Self::Sqlite(tx) => sqlx::raw_sql(dialect::sqlite(sql)).execute(tx.connection().await?).await.map(|_| ())?,
            Self::Reading(_) | Self::Ahead(_) => return Err(not_now()),
            Self::Postgres(tx) => sqlx::raw_sql(dialect::postgres(sql)).execute(&mut **tx).await.map(|_| ())?,
        }
        Ok(())
    }

    /// Makes it so.
    pub async fn commit(self) -> Result<()> {
        match self {
            Self::Sqlite(tx) => tx.commit().await?,
            Self::Reading(tx) => tx.commit().await?,
            Self::Ahead(tx) => tx.commit().await?,
            Self::Postgres(tx) => tx.commit().await?,
        }
        Ok(())
    }
}

fn not_now() -> Error {
    Error::System("a transaction that reads was asked to write".into())
}
