//! The way to a PostgreSQL server: the pool of connections, and how each of them is set up.

use std::time::Duration;

use sqlx::PgPool;
use sqlx::postgres::{PgConnectOptions, PgPoolOptions};

use crate::errors::{Error, Result};

/// So many connections at most.
const CONNECTIONS: u32 = 16;
/// How long a statement waits for a connection, also while the server is gone. Shorter than vendors wait for the answer to a webhook,
/// so that they hear that it was not kept.
const PATIENCE: Duration = Duration::from_secs(4);

/// Connects to the server that the operator named.
///
/// # Errors
/// When the address is none, or the server cannot be reached.
pub async fn open(url: &str) -> Result<PgPool> {
    let options: PgConnectOptions = url
        .parse()
        .map_err(|_| Error::BadRequest("store.url is not a PostgreSQL address: use postgres://user@host/database".to_owned()))?;
    let options = options.options([
        // A plan that was made while a table was small reads all of it when it is large, until the server has counted the rows.
        ("plan_cache_mode", "force_custom_plan"),
        // Compiling a statement takes longer than any of ours.
        ("jit", "off"),
        ("statement_timeout", "60s"),
        ("lock_timeout", "20s"),
        ("idle_in_transaction_session_timeout", "10s"),
    ]);
    Ok(pool(CONNECTIONS).connect_with(options).await?)
}

/// The same server by one connection of its own.
///
/// # Errors
/// When it cannot be reached.
pub async fn beside(pool: &PgPool) -> Result<PgPool> {
    Ok(self::pool(1).connect_with((*pool.connect_options()).clone()).await?)
}

fn pool(most: u32) -> PgPoolOptions {
    PgPoolOptions::new().max_connections(most).acquire_timeout(PATIENCE).after_connect(|connection, _| {
        Box::pin(async move {
            // Long texts are squeezed, where the server can, by what takes a tenth of the time that its usual way does.
            let squeeze = "SELECT set_config(name, 'lz4', false) FROM pg_settings
                WHERE name = 'default_toast_compression' AND 'lz4' = ANY (enumvals)";
            sqlx::query(squeeze).execute(connection).await?;
            Ok(())
        })
    })
}
