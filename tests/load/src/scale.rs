//! `scale`: what a lead costs with few and many connections, and with few and many leads in the store.

use std::path::{Path, PathBuf};

use anyhow::{Result, bail};
use serde::Serialize;
use tokio::runtime::Handle;

use crate::bench::{Bench, Served, StoreKind, rounded};
use crate::copies;
use crate::generator::Pace;
use crate::plot;
use crate::setup::Cast;
use crate::vendor::Manner;
use crate::watch;

/// Sources at which something happens, however many there are.
const ACTIVE: usize = 5;

/// Leads before it is measured, after a start.
const WARM: usize = 500;

/// What can be chosen.
#[derive(Debug, Clone, clap::Args)]
pub struct Options {
    /// Connections, from few to many.
    #[arg(long, value_delimiter = ',', default_value = "10,100,1000,10000")]
    pub connections: Vec<usize>,
    /// Leads in the store, from few to many.
    #[arg(long, value_delimiter = ',', default_value = "10000,100000,1000000")]
    pub stored: Vec<usize>,
    /// Of the leads in the store at most so many came the whole way; more are copies of them (`copies.rs`).
    #[arg(long, default_value_t = 100_000)]
    pub real: usize,
    /// Leads that are measured at each point.
    #[arg(long, default_value_t = 10_000)]
    pub leads: usize,
    /// People are spread over all sources, instead of over five of them.
    #[arg(long)]
    pub spread: bool,
    /// Which store.
    #[arg(long, value_enum, default_value = "sqlite")]
    pub store: StoreKind,
    /// One JSON object instead of a table.
    #[arg(long)]
    pub json: bool,
    /// Also draws the points into this file, as SVG.
    #[arg(long)]
    pub svg: Option<PathBuf>,
    /// Keeps the folder with store, configuration and logs.
    #[arg(long)]
    pub keep: bool,
}

/// One measurement.
#[derive(Debug, Clone, Serialize)]
pub struct Point {
    /// Connections.
    pub connections: usize,
    /// Leads that were in the store before.
    pub stored: usize,
    /// Leads a second, from the first webhook to the last record.
    pub leads_per_second: f64,
    /// Daemon and database server, CPU milliseconds for each lead.
    pub cpu_ms_per_lead: f64,
    /// The daemon's memory at that moment, MiB.
    pub rss_mib: f64,
}

#[derive(Serialize)]
struct Report {
    store: &'static str,
    spread: bool,
    by_connections: Vec<Point>,
    by_stored: Vec<Point>,
}

async fn measure(options: &Options, connections: usize, stored: &[usize], dir: &Path, vendor_runtime: &Handle) -> Result<Vec<Point>> {
    let half = (connections / 2).max(1);
    let cast = Cast { sources: half, recipients: half, each: 1, active: if options.spread { half } else { half.min(ACTIVE) } };
    let server = options.store.server()?;
    let most: usize = stored.iter().map(|stored| (*stored).min(options.real) + options.leads).sum();
    let served = Served::start(cast, Manner::LOAD, most, vendor_runtime).await?;
    let dir = dir.join(format!("{connections}-{}", stored.len()));
    // Polls are what `idle` measures.
    let mut bench = Bench::new(cast, served, &dir, server.as_ref(), 1, Some("6h".to_owned()), None).await?;
    bench.start().await?;
    bench.polled().await?;
    let board = bench.served.board.clone();
    let generator = bench.generator(64, 1);
    let closed = Pace::Closed { backlog: 4_000 };
    let mut points = Vec::new();
    for stored in stored {
        let bar = watch::Bar::start(&board, &format!("{connections} connections"));
        generator.send(closed, (*stored).min(options.real), None).await?;
        let filled = watch::arrived(&board, "filling").await;
        let there = board.counts().sent;
        if *stored > there {
            bench.stop();
            copies::fill(&bench.store(), *stored).await?;
            bench.start().await?;
            generator.send(closed, there + WARM, None).await?;
            watch::arrived(&board, "warming up").await;
        }
        let before = bench.cpu(server.as_ref());
        let range = generator.send(closed, board.counts().sent + options.leads, None).await?;
        if !filled || !watch::arrived(&board, "measuring").await {
            bail!("the daemon delivers nothing any more: {:?} {}", board.counts(), bench.last_words());
        }
        bar.finish();
        let after = bench.cpu(server.as_ref());
        let cpu = (after[0] - before[0] + after[3] - before[3]) * 1e3 / range.len().max(1) as f64;
        let point = Point {
            connections: 2 * half,
            stored: *stored,
            leads_per_second: rounded(board.rate(range.start, range.end), 1),
            cpu_ms_per_lead: rounded(cpu, 4),
            rss_mib: rounded(bench.rss().1, 1),
        };
        watch::say(&serde_json::to_string(&point)?);
        points.push(point);
    }
    Ok(points)
}

/// Runs and prints.
pub async fn run(options: &Options, dir: &Path, vendor_runtime: &Handle) -> Result<bool> {
    let mut report = Report { store: options.store.name(), spread: options.spread, by_connections: Vec::new(), by_stored: Vec::new() };
    for connections in &options.connections {
        report.by_connections.extend(measure(options, *connections, &[2_000], dir, vendor_runtime).await?);
    }
    if !options.stored.is_empty() {
        report.by_stored = measure(options, 10, &options.stored, dir, vendor_runtime).await?;
    }
    if let Some(file) = &options.svg {
        std::fs::write(file, plot::draw(&report.by_connections, &report.by_stored))?;
    }
    if options.json {
        println!("{}", serde_json::to_string(&report)?);
        return Ok(true);
    }
    for points in [&report.by_connections, &report.by_stored] {
        println!("| connections | leads in the store | leads/s | CPU ms per lead | RSS MiB |\n|---:|---:|---:|---:|---:|");
        for p in points {
            println!("| {} | {} | {} | {} | {} |", p.connections, p.stored, p.leads_per_second, p.cpu_ms_per_lead, p.rss_mib);
        }
        println!();
    }
    Ok(true)
}
