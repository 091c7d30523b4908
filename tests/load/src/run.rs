//! `run`: how many leads a second, how fast acknowledged, how long on the way, beside the floor.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use anyhow::{Result, bail};
use serde::Serialize;
use tokio::runtime::Handle;

use crate::bench::{Bench, Served, StoreKind, print, rounded};
use crate::board::{Board, quantile};
use crate::generator::{Generator, Pace};
use crate::postgres::Server;
use crate::process::{Process, cpu_of_threads, free_port};
use crate::setup::Cast;
use crate::vendor::Manner;
use crate::watch;

/// What can be chosen.
#[derive(Debug, Clone, clap::Args)]
pub struct Options {
    /// Which store.
    #[arg(long, value_enum, default_value = "sqlite")]
    pub store: StoreKind,
    /// Daemons on one database, PostgreSQL only.
    #[arg(long, default_value_t = 1)]
    pub replicas: usize,
    /// How long webhooks are sent at full speed; half of it at half load and for the floor.
    #[arg(long, default_value_t = 20)]
    pub seconds: u64,
    /// Instead of a time: so many leads at full speed.
    #[arg(long)]
    pub leads: Option<usize>,
    /// One JSON object instead of lines.
    #[arg(long)]
    pub json: bool,
    /// Most leads under way at full speed.
    #[arg(long, default_value_t = 4_000)]
    pub backlog: usize,
    /// Connections that webhooks are sent over.
    #[arg(long, default_value_t = 64)]
    pub senders: usize,
    /// Events in one webhook; HubSpot sends up to 100.
    #[arg(long, default_value_t = 1)]
    pub batch: usize,
    /// Connections that share.
    #[arg(long, default_value_t = 4)]
    pub sources: usize,
    /// Connections that receive.
    #[arg(long, default_value_t = 3)]
    pub recipients: usize,
    /// Only the phase at full speed, without the floor.
    #[arg(long)]
    pub quick: bool,
    /// Keeps the folder with store, configuration and logs.
    #[arg(long)]
    pub keep: bool,
}

/// What came out.
#[derive(Debug, Serialize)]
pub struct Report {
    store: &'static str,
    replicas: usize,
    leads: usize,
    leads_per_second: f64,
    floor_leads_per_second: Option<f64>,
    share_of_floor: Option<f64>,
    half_load_leads_per_second: f64,
    ack_p50_ms: f64,
    ack_p99_ms: f64,
    end_to_end_p50_ms: f64,
    end_to_end_p99_ms: f64,
    full_load_ack_p99_ms: f64,
    full_load_end_to_end_p50_ms: f64,
    rss_mib: f64,
    rss_end_mib: f64,
    lost: usize,
    doubled: usize,
    elsewhere: usize,
    daemon_cpu_s_per_1000: f64,
    vendor_cpu_s_per_1000: f64,
    generator_cpu_s_per_1000: f64,
    store_cpu_s_per_1000: f64,
    /// Leads for each second of CPU time that all processes together used.
    leads_per_cpu_second: f64,
    floor_leads_per_cpu_second: Option<f64>,
    vendor_calls_per_1000: f64,
    vendor_calls_not_served: u64,
    /// What else was running: the machine's load average of the last minute, when the run began.
    load_average_before: f64,
}

/// How fast something was, by the clock and by what it used.
#[derive(Clone, Copy)]
struct Speed {
    leads_per_second: f64,
    leads_per_cpu_second: f64,
}

fn load_average() -> f64 {
    let text = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    text.split(' ').next().and_then(|first| first.parse().ok()).unwrap_or(0.0)
}

/// Runs and prints; false when a lead was lost or doubled.
pub async fn run(options: &Options, dir: &Path, vendor_runtime: &Handle) -> Result<bool> {
    if options.replicas != 1 && options.store == StoreKind::Sqlite {
        bail!("several replicas need --store postgres");
    }
    if options.batch == 0 || options.batch > 100 || options.backlog < options.batch || options.sources == 0 || options.recipients == 0 {
        bail!("--batch is 1 to 100 and at most --backlog; there is at least one source and one recipient");
    }
    let cast = Cast { sources: options.sources, recipients: options.recipients, each: options.recipients.min(3), active: options.sources };
    let load_average = load_average();
    let server = options.store.server()?;
    let floor = if options.quick { None } else { Some(floor(options, cast, dir, server.as_ref(), vendor_runtime).await?) };
    let report = daemon(options, cast, dir, server.as_ref(), vendor_runtime, floor, load_average).await?;
    print(&report, options.json)?;
    Ok(report.lost == 0 && report.doubled == 0 && report.elsewhere == 0)
}

/// Most leads that a phase of so many seconds can take.
fn room(options: &Options) -> usize {
    options.leads.unwrap_or(options.seconds as usize * 40_000) * 2 + 10_000
}

/// How long and how many leads the phase at full speed, or a part of it, lasts.
fn extent(options: &Options, board: &Board, part: u32) -> (usize, Option<Duration>) {
    match options.leads {
        Some(leads) => (board.counts().sent + (leads / part as usize).max(options.batch), None),
        None => (board.room(), Some(Duration::from_secs(options.seconds) / part)),
    }
}

async fn floor(options: &Options, cast: Cast, dir: &Path, server: Option<&Server>, vendor_runtime: &Handle) -> Result<Speed> {
    let Served { board, vendor, url } = Served::start(cast, Manner::LOAD, room(options), vendor_runtime).await?;
    let store = match server {
        Some(server) => server.database("floor")?,
        None => format!("sqlite:{}", dir.join("floor.db").display()),
    };
    let listen = free_port()?;
    let program = std::env::current_exe()?;
    let args = ["floor", "--listen", &listen.to_string(), "--vendor", &url, "--store", &store];
    let mut process = Process::start("floor", dir, &program, &args)?;
    process.listens(listen, Duration::from_secs(20)).await?;
    let generator =
        Arc::new(Generator { cast, board: board.clone(), vendor, targets: vec![listen], batch: options.batch, senders: options.senders });
    let closed = Pace::Closed { backlog: options.backlog };
    generator.send(closed, 2_000, None).await?;
    watch::arrived(&board, "floor, warming up").await;
    let (end, time) = extent(options, &board, 2);
    let bar = watch::Bar::start(&board, "floor");
    let used = || process.cpu() + cpu_of_threads("vendor") + cpu_of_threads("generator") + server.map_or(0.0, Server::cpu);
    let before = used();
    let range = generator.send(closed, end, time).await?;
    watch::arrived(&board, "floor").await;
    let cpu = used() - before;
    bar.finish();
    if board.lost() > 0 {
        bail!("the floor lost leads: {}", process.last_words());
    }
    let leads_per_second = board.rate(range.start, range.end);
    Ok(Speed { leads_per_second, leads_per_cpu_second: range.len() as f64 / cpu.max(0.01) })
}

async fn daemon(
    options: &Options,
    cast: Cast,
    dir: &Path,
    server: Option<&Server>,
    vendor_runtime: &Handle,
    floor: Option<Speed>,
    load_average_before: f64,
) -> Result<Report> {
    let served = Served::start(cast, Manner::LOAD, room(options), vendor_runtime).await?;
    let mut bench = Bench::new(cast, served, dir, server, options.replicas, None, None).await?;
    bench.start().await?;
    let (board, calls) = (bench.served.board.clone(), &bench.served.vendor.calls);
    let generator = bench.generator(options.senders, options.batch);
    let closed = Pace::Closed { backlog: options.backlog };

    let bar = watch::Bar::start(&board, "warming up");
    generator.send(closed, 1_000 / options.batch * options.batch, None).await?;
    let warm = watch::arrived(&board, "warming up").await;
    bar.finish();
    if !warm {
        bail!("the daemon delivers nothing any more: {:?} {}", board.counts(), bench.last_words());
    }

    let (before, calls_before) = (bench.cpu(server), calls.served());
    let (end, time) = extent(options, &board, 1);
    let bar = watch::Bar::start(&board, "full speed");
    let full = generator.send(closed, end, time).await?;
    watch::arrived(&board, "full speed").await;
    bar.finish();
    let (after, calls_after) = (bench.cpu(server), calls.served());
    let rate = board.rate(full.start, full.end);
    let thousands = full.len().max(1) as f64 / 1e3;
    let used = |n: usize| rounded((after[n] - before[n]) / thousands, 4);

    let mut half = full.clone();
    if !options.quick {
        let bar = watch::Bar::start(&board, "half load");
        let (end, time) = extent(options, &board, 2);
        half = generator.send(Pace::Open { rate: rate / 2.0 }, end, time).await?;
        watch::arrived(&board, "half load").await;
        bar.finish();
    }
    let (acks, ways) = (board.ack_times(half.start, half.end), board.way_times(half.start, half.end));
    let (counts, (rss, rss_end)) = (board.counts(), bench.rss());
    let words = bench.last_words();
    if !words.is_empty() {
        watch::say(&words);
    }
    Ok(Report {
        store: options.store.name(),
        replicas: options.replicas,
        leads: counts.acked,
        leads_per_second: rounded(rate, 1),
        floor_leads_per_second: floor.map(|floor| rounded(floor.leads_per_second, 1)),
        share_of_floor: floor.map(|floor| rounded(rate / floor.leads_per_second, 3)),
        half_load_leads_per_second: rounded(board.rate(half.start, half.end), 1),
        ack_p50_ms: rounded(quantile(&acks, 0.5), 2),
        ack_p99_ms: rounded(quantile(&acks, 0.99), 2),
        end_to_end_p50_ms: rounded(quantile(&ways, 0.5), 1),
        end_to_end_p99_ms: rounded(quantile(&ways, 0.99), 1),
        full_load_ack_p99_ms: rounded(quantile(&board.ack_times(full.start, full.end), 0.99), 2),
        full_load_end_to_end_p50_ms: rounded(quantile(&board.way_times(full.start, full.end), 0.5), 1),
        rss_mib: rounded(rss, 1),
        rss_end_mib: rounded(rss_end, 1),
        lost: board.lost(),
        doubled: counts.doubled,
        elsewhere: counts.elsewhere,
        daemon_cpu_s_per_1000: used(0),
        vendor_cpu_s_per_1000: used(1),
        generator_cpu_s_per_1000: used(2),
        store_cpu_s_per_1000: used(3),
        leads_per_cpu_second: rounded(thousands * 1e3 / (0..4).map(|n| after[n] - before[n]).sum::<f64>().max(0.01), 1),
        floor_leads_per_cpu_second: floor.map(|floor| rounded(floor.leads_per_cpu_second, 1)),
        vendor_calls_per_1000: rounded((calls_after - calls_before) as f64 / thousands, 1),
        vendor_calls_not_served: calls.other.load(Ordering::Relaxed),
        load_average_before,
    })
}
