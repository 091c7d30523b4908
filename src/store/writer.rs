//! The one writer of an embedded store. Transactions that wait for it follow one another within one commit, and so within
//! one sync of the disk; each is a savepoint of its own, and one that fails or is dropped takes nothing of the others with it.
//!
//! It has a thread of its own: everybody waits for it, and it shall wait for nobody who computes.

use std::time::Duration;

use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection};
use sqlx::{AssertSqlSafe, ConnectOptions, Connection};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::JoinHandle;
use tokio::time::Instant;

use super::{Arg, bound};
use crate::errors::{Error, Result};

/// A commit is not put off for longer than this for the sake of those who still wait.
const LONGEST: Duration = Duration::from_millis(20);

/// From this size of the write-ahead log on its pages are brought into the store's file beside the writer. Nobody waits for that; only
/// at sixteen times as much (`wal_autocheckpoint` in the store's options) a commit does it.
const CHECKPOINT_FROM: u64 = 4 << 20;

/// Once it is as large (it keeps its size when it is begun anew), after so many commits: webhooks share the disk, and wait for
/// what many bring together.
const CHECKPOINT_EVERY: u64 = 2;

/// The way to the writer. Cheap to clone; the writer ends with the last of them.
#[derive(Clone, Debug)]
pub struct Writer(mpsc::UnboundedSender<Message>);

#[derive(Debug)]
enum Message {
    Do(Request),
    Close(oneshot::Sender<()>),
}

#[derive(Debug)]
enum Request {
    /// A transaction that comes statement by statement.
    Turn(oneshot::Sender<Result<Member, String>>),
    /// One that comes whole.
    Whole(String, Vec<Arg>, Done),
}

/// Who waits for the commit.
type Done = oneshot::Sender<Result<(), Lost>>;

/// Why nothing of a transaction is kept.
#[derive(Debug, Clone)]
enum Lost {
    /// One of its questions was answered with no.
    Refused,
    /// The store's reason.
    Failed(String),
}

impl From<Lost> for Error {
    fn from(lost: Lost) -> Self {
        match lost {
            Lost::Refused => {
                Self::Passing { code: "changed_meanwhile".into(), message: "what this stood on has changed: it is done again".into() }
            }
            Lost::Failed(why) => Self::Store(sqlx::Error::Protocol(format!("a transaction could not be kept: {why}"))),
        }
    }
}

/// A transaction on the writer; rolled back when dropped without [`Member::commit`].
#[derive(Debug)]
pub struct Member {
    /// Both are there until the end.
    held: Option<(Box<SqliteConnection>, oneshot::Sender<End>)>,
}

/// The connection comes back, and with it who waits for the commit; nobody after a rollback.
type End = (Box<SqliteConnection>, Option<Done>);

impl Writer {
    /// Opens the store's file for writing.
    ///
    /// # Errors
    /// When it cannot be opened.
    pub async fn open(options: &SqliteConnectOptions) -> Result<Self> {
        let connection = Box::new(options.connect().await?);
        let (sender, requests) = mpsc::unbounded_channel();
        let (committed, commits) = watch::channel(());
        let checkpointing = tokio::spawn(checkpoint(options.clone(), commits));
        let no_thread = |error| Error::System(format!("the store's writer got no thread: {error}"));
        let runtime = tokio::runtime::Builder::new_current_thread().build().map_err(no_thread)?;
        let writing = write(connection, requests, committed, checkpointing);
        std::thread::Builder::new().name("store-writer".into()).spawn(move || runtime.block_on(writing)).map_err(no_thread)?;
        Ok(Self(sender))
    }

    /// Does a whole transaction, several statements as one text with their values: answers when it is on the disk. Those that ask
    /// answer yes or no.
    ///
    /// # Errors
    /// [`Error::Passing`] after a no, and the store's; nothing of it stays then.
    pub async fn keep(&self, text: String, args: Vec<Arg>) -> Result<()> {
        let (done, kept) = oneshot::channel();
        self.0.send(Message::Do(Request::Whole(text, args, done))).map_err(|_| ended())?;
        Ok(kept.await.map_err(|_| ended())??)
    }

    /// Waits for a turn.
    ///
    /// # Errors
    /// When the writer has ended, or the store refuses to begin.
    pub async fn begin(&self) -> Result<Member> {
        let (reply, turn) = oneshot::channel();
        self.0.send(Message::Do(Request::Turn(reply))).map_err(|_| ended())?;
        turn.await.map_err(|_| ended())?.map_err(|why| Error::System(format!("the store cannot be written: {why}")))
    }

    /// Ends the writer after those who wait before.
    pub async fn close(&self) {
        let (reply, closed) = oneshot::channel();
        if self.0.send(Message::Close(reply)).is_ok() {
            let _ = closed.await;
        }
    }
}

impl Member {
    /// The connection.
    ///
    /// # Errors
    /// Never before the end.
    pub fn connection(&mut self) -> Result<&mut SqliteConnection> {
        self.held.as_mut().map(|(connection, _)| &mut **connection).ok_or_else(ended)
    }

    /// Makes it so: answers when it is on the disk.
    ///
    /// # Errors
    /// When it could not be; nothing of it stays then.
    pub async fn commit(mut self) -> Result<()> {
        let (connection, back) = self.held.take().ok_or_else(ended)?;
        let (done, committed) = oneshot::channel();
        back.send((connection, Some(done))).map_err(|_| ended())?;
        Ok(committed.await.map_err(|_| ended())??)
    }
}

impl Drop for Member {
    fn drop(&mut self) {
        if let Some((connection, back)) = self.held.take() {
            let _ = back.send((connection, None));
        }
    }
}

impl Request {
    /// Tells who asked that it cannot be.
    fn refuse(self, why: &str) {
        match self {
            Self::Turn(reply) => drop(reply.send(Err(why.to_owned()))),
            Self::Whole(_, _, done) => drop(done.send(Err(Lost::Failed(why.to_owned())))),
        }
    }
}

fn ended() -> Error {
    Error::System("the store's writer has ended: restart leadshare; its log says why".into())
}

/// Gives one turn after the other, and commits when nobody waits any more or it has been put off for long enough.
async fn write(
    mut connection: Box<SqliteConnection>,
    mut requests: mpsc::UnboundedReceiver<Message>,
    committed: watch::Sender<()>,
    checkpointing: JoinHandle<()>,
) {
    let mut close = None;
    while close.is_none() {
        let mut next = match requests.recv().await {
            Some(Message::Do(request)) => Some(request),
            Some(Message::Close(reply)) => {
                close = Some(reply);
                break;
            }
            None => break,
        };
        // Refused to begin (a full disk, a lost file): whoever asked is told, the next may find it mended.
        if let Err(error) = run(&mut connection, "BEGIN IMMEDIATE; SAVEPOINT member").await {
            let _ = run(&mut connection, "ROLLBACK").await;
            if let Some(next) = next {
                next.refuse(&error);
            }
            continue;
        }
        let (began, mut waiting, mut whole) = (Instant::now(), Vec::new(), Ok(()));
        while let Some(request) = next.take() {
            let done = match request {
                Request::Turn(reply) => {
                    let (back, end) = oneshot::channel();
                    // With nobody there any more the member comes back at once.
                    let _ = reply.send(Ok(Member { held: Some((connection, back)) }));
                    let Ok((returned, done)) = end.await else { return };
                    connection = returned;
                    done
                }
                Request::Whole(text, args, done) => match work(&mut connection, text, args).await {
                    Ok(()) => Some(done),
                    Err(lost) => {
                        let _ = done.send(Err(lost));
                        None
                    }
                },
            };
            if began.elapsed() < LONGEST && close.is_none() {
                match requests.try_recv() {
                    Ok(Message::Do(request)) => next = Some(request),
                    Ok(Message::Close(reply)) => close = Some(reply),
                    Err(_) => {}
                }
            }
            // Each is a trip to the connection's thread and back: what comes next goes with it.
            let step = match (&done, &next) {
                (Some(_), Some(_)) => "RELEASE member; SAVEPOINT member",
                (Some(_), None) => "RELEASE member; COMMIT",
                (None, Some(_)) => "ROLLBACK TO member",
                (None, None) => "ROLLBACK TO member; RELEASE member; COMMIT",
            };
            waiting.extend(done);
            whole = run(&mut connection, step).await;
            if let Err(error) = &whole {
                // Nothing of it stays, whether SQLite has rolled it back by itself (a full disk) or not.
                let _ = run(&mut connection, "ROLLBACK").await;
                if let Some(next) = next.take() {
                    next.refuse(error);
                }
            }
        }
        for done in waiting {
            let _ = done.send(whole.clone().map_err(Lost::Failed));
        }
        let _ = committed.send(());
    }
    // The file is nobody's when the writer has ended: the last to close it brings in what is left of the log.
    drop(committed);
    let _ = checkpointing.await;
    let _ = (*connection).close().await;
    if let Some(reply) = close {
        let _ = reply.send(());
    }
}

/// Brings the log's pages into the store's file after commits, as long as there is a writer. What fails here is done by a commit later.
async fn checkpoint(options: SqliteConnectOptions, mut commits: watch::Receiver<()>) {
    let mut log = options.get_filename().as_os_str().to_owned();
    log.push("-wal");
    let (mut connection, mut seen) = (None, 0u64);
    while commits.changed().await.is_ok() {
        seen += 1;
        if seen % CHECKPOINT_EVERY != 0 || std::fs::metadata(&log).map_or(0, |log| log.len()) < CHECKPOINT_FROM {
            continue;
        }
        if connection.is_none() {
            connection = options.connect().await.ok();
        }
        if let Some(connection) = &mut connection {
            let _ = run(connection, "PRAGMA wal_checkpoint(PASSIVE)").await;
        }
    }
    if let Some(connection) = connection {
        let _ = connection.close().await;
    }
}

/// Does a whole transaction's statements.
async fn work(connection: &mut SqliteConnection, text: String, args: Vec<Arg>) -> Result<(), Lost> {
    let asked = bound!(sqlx::query_as::<sqlx::Sqlite, (bool,)>(AssertSqlSafe(text)), args).fetch_all(connection).await;
    let answers = asked.map_err(|error| Lost::Failed(error.to_string()))?;
    if answers.contains(&(false,)) { Err(Lost::Refused) } else { Ok(()) }
}

async fn run(connection: &mut SqliteConnection, sql: &'static str) -> Result<(), String> {
    sqlx::query(sql).execute(connection).await.map(|_| ()).map_err(|error| error.to_string())
}
