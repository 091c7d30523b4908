//! What every stage works with: the store, the clock, the keys, the lines to vendors.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::clock::Clock;
use crate::http::Transport;
use crate::http::line::Line;
use crate::store::Db;
use crate::vault::Vault;

/// Built once by the daemon and shared by everything that runs.
pub struct Context {
    /// The database.
    pub db: Db,
    /// Time, ids and randomness.
    pub clock: Clock,
    /// Keys.
    pub vault: Arc<Vault>,
    /// Sends requests to vendors.
    pub transport: Transport,
    /// Every configured connection, by name.
    pub lines: BTreeMap<String, Arc<Line>>,
    /// Woken when there is work before its time.
    pub wake: tokio::sync::Notify,
    /// Our own address as partners and vendors see it, such as `https://leads.example`.
    pub public_url: String,
}
