//! `backfill`: how fast a source's old contacts are read, mapped, decided and kept.

use std::path::Path;
use std::sync::atomic::Ordering;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use indicatif::{ProgressBar, ProgressStyle};
use leadshare::args;
use leadshare::store::Db;
use serde::Serialize;
use tokio::runtime::Handle;
use tokio::time::Instant;

use crate::bench::{Bench, Served, StoreKind, print, rounded};
use crate::setup::Cast;
use crate::vendor::Manner;
use crate::watch;

/// Rows of one page of the source.
const PAGE: usize = 100;

/// What can be chosen.
#[derive(Debug, Clone, clap::Args)]
pub struct Options {
    /// Contacts that the source holds.
    #[arg(long, default_value_t = 100_000)]
    pub rows: usize,
    /// Which store.
    #[arg(long, value_enum, default_value = "sqlite")]
    pub store: StoreKind,
    /// How many of a hundred contacts ticked a partner, and are delivered too.
    #[arg(long, default_value_t = 0)]
    pub ticked: usize,
    /// Kills the daemon when half of the pages were read, and again when half of the rows were kept; starts it again.
    #[arg(long)]
    pub kill: bool,
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
    rows: usize,
    rows_per_second: f64,
    rss_mib: f64,
    daemon_cpu_s_per_1000: f64,
    vendor_cpu_s_per_1000: f64,
    store_cpu_s_per_1000: f64,
    rows_kept: usize,
    kept_twice: i64,
    delivered: usize,
    pages: u64,
    /// Rows kept and pages read at each kill.
    kills: Vec<(usize, u64)>,
}

/// Rows kept, and changes beyond one of a row.
async fn kept(store: &str) -> Result<(usize, i64)> {
    const COUNT: &str = "SELECT CAST(COUNT(DISTINCT remote_id) AS BIGINT), CAST(COUNT(*) - COUNT(DISTINCT remote_id) AS BIGINT)
      FROM changes WHERE connection = $1";
    let db = Db::open(store).await?;
    let counted: Option<(i64, i64)> = db.row(COUNT, args!["source-0"]).await?;
    db.close().await;
    let (rows, again) = counted.context("the store does not answer")?;
    Ok((rows as usize, again))
}

/// Runs and prints; false when a row was not kept, or kept twice.
pub async fn run(options: &Options, dir: &Path, vendor_runtime: &Handle) -> Result<bool> {
    let cast = Cast { sources: 1, recipients: 1, each: 1, active: 1 };
    let server = options.store.server()?;
    let manner = Manner { page: PAGE, ticked: options.ticked };
    let served = Served::start(cast, manner, options.rows, vendor_runtime).await?;
    served.vendor.enter_before(options.rows);
    let mut bench = Bench::new(cast, served, dir, server.as_ref(), 1, None, None).await?;
    let (calls, board) = (bench.served.vendor.clone(), bench.served.board.clone());
    let pages = || calls.calls.search.load(Ordering::Relaxed);
    bench.start().await?;

    let bar = ProgressBar::new(options.rows as u64).with_message("backfill");
    if let Ok(style) = ProgressStyle::with_template("{msg:18} {bar:30} {pos:>8} of {len} {per_sec:>14} {elapsed}") {
        bar.set_style(style);
    }
    let (mut before, mut kills, mut used, mut peak) = (0, Vec::new(), 0.0, 0.0f64);
    let mut last = (0, Instant::now());
    let end = loop {
        let done = before + bench.taken_in().await?;
        bar.set_position(done as u64);
        if done >= options.rows {
            break board.now();
        }
        if done != last.0 {
            last = (done, Instant::now());
        } else if last.1.elapsed() > Duration::from_mins(2) {
            bail!("nothing is taken in any more after {done} rows: {}", bench.last_words());
        }
        let half_way = match kills.len() {
            0 => pages() as usize >= options.rows / PAGE / 2,
            1 => done >= options.rows / 2,
            _ => false,
        };
        if options.kill && half_way {
            used += bench.cpu(server.as_ref())[0];
            peak = peak.max(bench.rss().0);
            for daemon in &mut bench.daemons {
                daemon.kill();
            }
            before = kept(&bench.store()).await?.0;
            kills.push((before, pages()));
            watch::say(&format!("killed after {before} rows and {} pages; started again", pages()));
            bench.start().await?;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    };
    bar.finish();
    let now = bench.cpu(server.as_ref());
    let rss = peak.max(bench.rss().0);
    let first = calls.calls.first_search.load(Ordering::Relaxed);
    let thousands = options.rows as f64 / 1e3;
    // What is ticked is delivered after it was kept.
    let wanted = (0..options.rows).filter(|i| i % 100 < options.ticked).count();
    let patience = Instant::now();
    while board.counts().arrived < wanted && patience.elapsed() < Duration::from_mins(5) {
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    let pages = pages();
    for daemon in &mut bench.daemons {
        daemon.kill();
    }
    let (rows_kept, kept_twice) = kept(&bench.store()).await?;
    let report = Report {
        store: options.store.name(),
        rows: options.rows,
        rows_per_second: rounded(options.rows as f64 * 1e6 / (end - first).max(1) as f64, 1),
        rss_mib: rounded(rss, 1),
        daemon_cpu_s_per_1000: rounded((now[0] + used) / thousands, 4),
        vendor_cpu_s_per_1000: rounded(now[1] / thousands, 4),
        store_cpu_s_per_1000: rounded(now[3] / thousands, 4),
        rows_kept,
        kept_twice,
        delivered: board.counts().arrived,
        pages,
        kills,
    };
    print(&report, options.json)?;
    Ok(report.rows_kept == options.rows && report.kept_twice == 0 && report.delivered == wanted)
}
