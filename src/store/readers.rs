//! The connections that read an embedded store beside its writer. A common pool asks a connection whether it is well before
//! and after each use, and each question is a trip to the connection's thread and back, as dear as the read itself; a file
//! on this machine does not go away.

use std::sync::{Arc, Mutex, PoisonError};

use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection};
use sqlx::{AssertSqlSafe, ConnectOptions, Connection};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::errors::{Error, Result};

/// How many connections read an embedded store beside its writer.
pub const READERS: u32 = 4;

/// Connections, opened when first needed. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Readers(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    options: SqliteConnectOptions,
    most: u32,
    room: Arc<Semaphore>,
    idle: Mutex<Vec<SqliteConnection>>,
}

impl Shared {
    fn idle(&self) -> std::sync::MutexGuard<'_, Vec<SqliteConnection>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A connection that reads; goes back when dropped. One that is dropped in the midst of something is closed instead.
#[derive(Debug)]
pub struct Reader {
    /// There until the end.
    held: Option<(SqliteConnection, OwnedSemaphorePermit)>,
    readers: Arc<Shared>,
    /// Whether nothing is under way on it.
    free: bool,
}

impl Readers {
    /// At most so many connections to a store's file.
    pub fn new(options: &SqliteConnectOptions, most: u32) -> Self {
        let room = Arc::new(Semaphore::new(most as usize));
        Self(Arc::new(Shared { options: options.clone(), most, room, idle: Mutex::default() }))
    }

    /// Waits for a connection.
    ///
    /// # Errors
    /// When the store is closed, or cannot be opened.
    pub async fn take(&self) -> Result<Reader> {
        let room = self.0.room.clone().acquire_owned().await.map_err(|_| closed())?;
        let idle = self.0.idle().pop();
        let connection = match idle {
            Some(connection) => connection,
            None => self.0.options.connect().await?,
        };
        Ok(Reader { held: Some((connection, room)), readers: self.0.clone(), free: false })
    }

    /// Waits for a connection, and begins a transaction on it.
    ///
    /// # Errors
    /// As [`Readers::take`].
    pub async fn begin(&self) -> Result<Reader> {
        let mut reader = self.take().await?;
        reader.run("BEGIN").await?;
        Ok(reader)
    }

    /// Closes every connection, once those in use are back.
    pub async fn close(&self) {
        let all = self.0.room.acquire_many(self.0.most).await;
        self.0.room.close();
        drop(all);
        let idle = std::mem::take(&mut *self.0.idle());
        for connection in idle {
            let _ = connection.close().await;
        }
    }
}

impl Reader {
    /// The connection.
    ///
    /// # Errors
    /// Never before the end.
    pub fn connection(&mut self) -> Result<&mut SqliteConnection> {
        self.held.as_mut().map(|(connection, _)| connection).ok_or_else(closed)
    }

    /// Nothing is under way on it any more.
    pub fn ended(mut self) {
        self.free = true;
    }

    /// Ends its transaction.
    ///
    /// # Errors
    /// The store's.
    pub async fn commit(mut self) -> Result<()> {
        self.run("COMMIT").await?;
        self.ended();
        Ok(())
    }

    async fn run(&mut self, sql: &'static str) -> Result<()> {
        sqlx::raw_sql(AssertSqlSafe(sql)).execute(self.connection()?).await?;
        Ok(())
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        if let Some((connection, _room)) = self.held.take()
            && self.free
        {
            self.readers.idle().push(connection);
        }
    }
}

fn closed() -> Error {
    Error::Store(sqlx::Error::PoolClosed)
}
