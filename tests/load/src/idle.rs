//! `idle`: what thousands of connections cost while nothing happens.

use std::path::Path;
use std::sync::atomic::Ordering;
use std::time::Duration;

use anyhow::Result;
use leadshare::clock::{DAY, MINUTE, Millis, SECOND};
use leadshare::config::Period;
use serde::Serialize;
use tokio::runtime::Handle;

use crate::bench::{Bench, Served, StoreKind, print, rounded};
use crate::setup::Cast;
use crate::vendor::Manner;
use crate::watch;

/// The pause between polls of a connection where nothing has happened for a day.
const LONGEST_PAUSE: Millis = 15 * MINUTE;
/// How long after the first polls it is measured.
const SETTLING: Duration = Duration::from_secs(20);

/// What can be chosen.
#[derive(Debug, Clone, clap::Args)]
pub struct Options {
    /// Connections, half of which share and half of which receive.
    #[arg(long, default_value_t = 10_000)]
    pub connections: usize,
    /// How long it is measured.
    #[arg(long, default_value_t = 120)]
    pub seconds: u64,
    /// Pause between polls of a connection; otherwise that of a connection where nothing has happened for a day.
    #[arg(long)]
    pub poll_every: Option<Period>,
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
    tokens_per_second: f64,
    connect_seconds: f64,
    start_seconds: f64,
}

/// Runs and prints.
pub async fn run(options: &Options, dir: &Path, vendor_runtime: &Handle) -> Result<bool> {
    let half = (options.connections / 2).max(1);
    let cast = Cast { sources: half, recipients: half, each: 1, active: half };
    let server = options.store.server()?;
    let served = Served::start(cast, Manner::LOAD, 0, vendor_runtime).await?;
    let poll_every = options.poll_every.map(|period| format!("{}s", period.millis() / SECOND));
    let mut bench = Bench::new(cast, served, dir, server.as_ref(), 1, poll_every, Some(DAY)).await?;
    watch::say("starting the daemon");
    // As if it had run for long: tokens end at any time, and polls come at any time.
    bench.served.vendor.aging.store(true, Ordering::Relaxed);
    let start = bench.start().await?;
    watch::say("waiting until every connection was polled once");
    bench.polled().await?;
    bench.served.vendor.aging.store(false, Ordering::Relaxed);
    bench.spread(options.poll_every.map_or(LONGEST_PAUSE, Period::millis)).await?;
    tokio::time::sleep(SETTLING).await;
    let calls = &bench.served.vendor.calls;
    let asked = || (calls.search.load(Ordering::Relaxed), calls.token.load(Ordering::Relaxed));
    let (before, asked_before) = (bench.cpu(server.as_ref()), asked());
    watch::say("idle");
    tokio::time::sleep(Duration::from_secs(options.seconds)).await;
    let (after, asked) = (bench.cpu(server.as_ref()), asked());
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
        searches_per_second: rounded((asked.0 - asked_before.0) as f64 / seconds, 1),
        tokens_per_second: rounded((asked.1 - asked_before.1) as f64 / seconds, 1),
        connect_seconds: rounded(bench.connecting.as_secs_f64(), 1),
        start_seconds: rounded(start.as_secs_f64(), 1),
    };
    print(&report, options.json)?;
    Ok(true)
}
