//! `idle`: what thousands of connections cost while nothing happens.

use std::path::Path;
use std::sync::atomic::Ordering;
use std::time::Duration;

use anyhow::Result;
use serde::Serialize;
use tokio::runtime::Handle;

use crate::bench::{Bench, Served, StoreKind, print, rounded};
use crate::setup::Cast;
use crate::vendor::Manner;
use crate::watch;

/// What can be chosen.
#[derive(Debug, Clone, clap::Args)]
pub struct Options {
    /// Connections, half of which share and half of which receive.
    #[arg(long, default_value_t = 10_000)]
    pub connections: usize,
    /// How long nothing happens.
    #[arg(long, default_value_t = 60)]
    pub seconds: u64,
    /// Pause between polls of a connection, where it is not the vendor's usual one (a minute).
    #[arg(long)]
    pub poll_every: Option<String>,
    /// Which store.
    #[arg(long, value_enum, default_value = "sqlite")]
    pub store: StoreKind,
    /// One JSON object instead of lines.
    #[arg(long)]
    pub json: bool,
    /// Keeps the folder with store, configuration and logs.
    #[arg(long)]
    pub keep: bool,
}

/// What came out.
#[derive(Debug, Serialize)]
struct Report {
    store: &'static str,
    connections: usize,
    /// Daemon and database server, percent of one core.
    cpu_percent_of_one_core: f64,
    daemon_cpu_percent: f64,
    rss_mib: f64,
    rss_start_mib: f64,
    searches_per_second: f64,
    connect_seconds: f64,
    start_seconds: f64,
}

/// Runs and prints.
pub async fn run(options: &Options, dir: &Path, vendor_runtime: &Handle) -> Result<bool> {
    let half = (options.connections / 2).max(1);
    let cast = Cast { sources: half, recipients: half, each: 1, active: half };
    let server = options.store.server()?;
    let served = Served::start(cast, Manner::LOAD, 0, vendor_runtime).await?;
    let mut bench = Bench::new(cast, served, dir, server.as_ref(), 1, options.poll_every.clone()).await?;
    watch::say("starting the daemon");
    let start = bench.start().await?;
    watch::say("waiting until every connection was polled once");
    bench.polled().await?;
    let searches = || bench.served.vendor.calls.search.load(Ordering::Relaxed);
    let (before, asked) = (bench.cpu(server.as_ref()), searches());
    watch::say("idle");
    tokio::time::sleep(Duration::from_secs(options.seconds)).await;
    let (after, asked) = (bench.cpu(server.as_ref()), searches() - asked);
    let seconds = options.seconds as f64;
    let percent = |n: usize| (after[n] - before[n]) * 100.0 / seconds;
    let (rss_start_mib, rss_mib) = bench.rss();
    let report = Report {
        store: options.store.name(),
        connections: 2 * half,
        cpu_percent_of_one_core: rounded(percent(0) + percent(3), 2),
        daemon_cpu_percent: rounded(percent(0), 2),
        rss_mib: rounded(rss_mib, 1),
        rss_start_mib: rounded(rss_start_mib, 1),
        searches_per_second: rounded(asked as f64 / seconds, 1),
        connect_seconds: rounded(bench.connecting.as_secs_f64(), 1),
        start_seconds: rounded(start.as_secs_f64(), 1),
    };
    print(&report, options.json)?;
    Ok(true)
}
