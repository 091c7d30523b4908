//! The floor: accept a webhook, one durable commit, one POST, one durable commit, and nothing else.
//!
//! What it reaches on a machine is what no system that keeps what it acknowledges can pass there
//! with one POST for each lead. Commits are shared by whatever waits for one.

use std::net::SocketAddr;
use std::path::Path;

use anyhow::{Context as _, Result};
use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::StatusCode;
use serde::Deserialize;
use sqlx::postgres::PgPoolOptions;
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqliteSynchronous};
use sqlx::{AssertSqlSafe, ConnectOptions as _, Connection as _, SqliteConnection};
use tokio::sync::{mpsc, oneshot};

use crate::people::FIRST_ID;

/// Most steps that share a commit.
const COMMIT: usize = 1_000;
/// POSTs under way at the same time.
const POSTS: usize = 64;

/// A step to be made durable.
enum Step {
    Accepted(u64, oneshot::Sender<()>),
    Sent(u64),
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Event {
    object_id: u64,
}

enum Store {
    Sqlite(SqliteConnection),
    Postgres(sqlx::PgPool),
}

const TABLE: &str = "CREATE TABLE floor (id BIGINT PRIMARY KEY, sent BIGINT NOT NULL DEFAULT 0)";

impl Store {
    async fn open(url: &str) -> Result<Self> {
        if url.starts_with("postgres") {
            let pool = PgPoolOptions::new().max_connections(2).connect(url).await?;
            sqlx::query(TABLE).execute(&pool).await?;
            return Ok(Self::Postgres(pool));
        }
        let options = SqliteConnectOptions::new()
            .filename(Path::new(url.trim_start_matches("sqlite:")))
            .create_if_missing(true)
            .journal_mode(SqliteJournalMode::Wal)
            .synchronous(SqliteSynchronous::Full)
            .disable_statement_logging();
        let mut connection = options.connect().await?;
        sqlx::query(TABLE).execute(&mut connection).await?;
        Ok(Self::Sqlite(connection))
    }

    /// Both kinds of step in one transaction, one statement each.
    async fn commit(&mut self, accepted: &str, sent: &str) -> Result<()> {
        match self {
            Self::Sqlite(connection) => {
                let mut tx = connection.begin().await?;
                for (sql, ids) in [
                    ("INSERT INTO floor (id) SELECT value FROM json_each($1) WHERE true ON CONFLICT (id) DO NOTHING", accepted),
                    ("UPDATE floor SET sent = 1 WHERE id IN (SELECT value FROM json_each($1))", sent),
                ] {
                    sqlx::query(AssertSqlSafe(sql)).bind(ids).execute(&mut *tx).await?;
                }
                tx.commit().await?;
            }
            Self::Postgres(pool) => {
                let mut tx = pool.begin().await?;
                for (sql, ids) in [
                    (
                        "INSERT INTO floor (id) SELECT CAST(value AS BIGINT) FROM json_array_elements_text(CAST($1 AS JSON)) ON CONFLICT (id) DO NOTHING",
                        accepted,
                    ),
                    (
                        "UPDATE floor SET sent = 1 WHERE id IN (SELECT CAST(value AS BIGINT) FROM json_array_elements_text(CAST($1 AS JSON)))",
                        sent,
                    ),
                ] {
                    sqlx::query(AssertSqlSafe(sql)).bind(ids).execute(&mut *tx).await?;
                }
                tx.commit().await?;
            }
        }
        Ok(())
    }
}

/// Runs until killed.
pub async fn run(listen: SocketAddr, vendor: &str, store: &str) -> Result<()> {
    let mut store = Store::open(store).await?;
    let (steps, mut waiting) = mpsc::channel::<Step>(100_000);
    let (posts, to_send) = mpsc::channel::<u64>(100_000);
    let to_send = std::sync::Arc::new(tokio::sync::Mutex::new(to_send));
    // Nothing is encrypted here, but a client wants to be able to.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let client = reqwest::Client::builder().no_proxy().build()?;
    for _ in 0..POSTS {
        let (client, to_send, steps, vendor) = (client.clone(), to_send.clone(), steps.clone(), vendor.to_owned());
        tokio::spawn(async move {
            loop {
                let Some(id) = to_send.lock().await.recv().await else { return };
                let request = client.post(format!("{vendor}/floor/{}", id - FIRST_ID)).body(format!(r#"{{"id":{id}}}"#));
                #[expect(clippy::disallowed_methods, reason = "the floor has a stack of its own: it is no part of the product")]
                let answer = request.send().await;
                if answer.is_ok_and(|answer| answer.status().is_success()) {
                    let _ = steps.send(Step::Sent(id)).await;
                }
            }
        });
    }
    tokio::spawn(async move {
        let mut batch = Vec::with_capacity(COMMIT);
        while waiting.recv_many(&mut batch, COMMIT).await > 0 {
            let ids = |of: fn(&Step) -> Option<u64>| serde_json::Value::from(batch.iter().filter_map(of).collect::<Vec<_>>()).to_string();
            let accepted = ids(|step| if let Step::Accepted(id, _) = step { Some(*id) } else { None });
            let sent = ids(|step| if let Step::Sent(id) = step { Some(*id) } else { None });
            if let Err(error) = store.commit(&accepted, &sent).await {
                eprintln!("floor: {error}");
                return;
            }
            for step in batch.drain(..) {
                if let Step::Accepted(id, answer) = step {
                    let _ = answer.send(());
                    let _ = posts.send(id).await;
                }
            }
        }
    });
    let router = Router::new().fallback(accept).with_state(steps);
    let listener = tokio::net::TcpListener::bind(listen).await?;
    axum::serve(listener, router).await.context("the floor stopped")
}

async fn accept(State(steps): State<mpsc::Sender<Step>>, body: Bytes) -> StatusCode {
    let Ok(events) = serde_json::from_slice::<Vec<Event>>(&body) else { return StatusCode::BAD_REQUEST };
    for event in events {
        let (answer, committed) = oneshot::channel();
        if steps.send(Step::Accepted(event.object_id, answer)).await.is_err() || committed.await.is_err() {
            return StatusCode::SERVICE_UNAVAILABLE;
        }
    }
    StatusCode::NO_CONTENT
}
