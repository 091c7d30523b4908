//! What is measured: a vendor, a folder with everything that an operator writes, and daemons on it.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use anyhow::{Result, bail};
use leadshare::clock::{Clock, Millis};
use leadshare::store::Db;
use serde_json::json;
use tokio::runtime::Handle;
use tokio::time::Instant;

use crate::board::Board;
use crate::generator::Generator;
use crate::link::Link;
use crate::postgres::Server;
use crate::process::{Process, cpu_of_threads, daemon_binary, free_port};
use crate::setup::{Cast, Setup};
use crate::vendor::{Manner, Vendor};
use crate::watch;

/// A store.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum StoreKind {
    /// One file, `synchronous=FULL`.
    Sqlite,
    /// A server of its own, `fsync` on.
    Postgres,
}

impl StoreKind {
    /// The word that is printed.
    pub fn name(self) -> &'static str {
        if self == Self::Sqlite { "sqlite" } else { "postgres" }
    }

    /// The server, where one is needed.
    pub fn server(self) -> Result<Option<Server>> {
        if self == Self::Sqlite {
            return Ok(None);
        }
        watch::say("starting PostgreSQL");
        Server::start(free_port()?.port()).map(Some)
    }
}

/// A vendor that listens, with the board it writes on.
pub struct Served {
    /// What arrived when.
    pub board: Arc<Board>,
    /// The vendor.
    pub vendor: Arc<Vendor>,
    /// Where it listens.
    pub url: String,
}

impl Served {
    /// Starts a vendor with room for so many leads.
    pub async fn start(cast: Cast, manner: Manner, leads: usize, runtime: &Handle) -> Result<Self> {
        let board = Arc::new(Board::new(leads));
        let vendor = Vendor::new(cast, board.clone(), manner);
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?.into_std()?;
        let url = format!("http://{}", listener.local_addr()?);
        let own = vendor.clone();
        runtime.spawn(async move { own.serve(tokio::net::TcpListener::from_std(listener)?).await });
        Ok(Self { board, vendor, url })
    }
}

/// Daemons on one store, connected to a vendor.
pub struct Bench {
    /// Who shares with whom.
    pub cast: Cast,
    /// The vendor.
    pub served: Served,
    /// The daemons.
    pub daemons: Vec<Process>,
    /// Where they listen.
    pub targets: Vec<SocketAddr>,
    /// How long connecting every account took.
    pub connecting: Duration,
    setup: Setup,
    configs: Vec<String>,
}

impl Bench {
    /// Writes the files and connects the partners; starts nothing yet.
    pub async fn new(
        cast: Cast,
        served: Served,
        dir: &Path,
        server: Option<&Server>,
        replicas: usize,
        poll_every: Option<String>,
        quiet_for: Option<Millis>,
    ) -> Result<Self> {
        let store = server.map(|server| server.database("load")).transpose()?;
        let setup = Setup { dir: dir.join("daemon"), cast, store, vendor: served.url.clone(), poll_every, quiet_for };
        setup.write_files()?;
        let targets = (0..replicas).map(|_| free_port()).collect::<Result<Vec<_>>>()?;
        let public = targets[0].to_string();
        let mut configs = Vec::new();
        for (n, target) in targets.iter().enumerate() {
            configs.push(setup.write_config(&format!("daemon-{n}"), &target.to_string(), &public)?);
        }
        watch::say("connecting the partners");
        let begun = Instant::now();
        setup.connect(&configs[0]).await?;
        let configs = configs.iter().map(|path| path.display().to_string()).collect();
        Ok(Self { cast, served, daemons: Vec::new(), targets, connecting: begun.elapsed(), setup, configs })
    }

    /// Starts the daemons, and answers how long it took until all listened.
    pub async fn start(&mut self) -> Result<Duration> {
        let begun = Instant::now();
        self.daemons.clear();
        for (n, config) in self.configs.iter().enumerate() {
            self.daemons.push(Process::start(&format!("daemon-{n}"), &self.setup.dir, &daemon_binary()?, &["--config", config, "run"])?);
        }
        for (daemon, target) in self.daemons.iter_mut().zip(&self.targets) {
            daemon.listens(*target, Duration::from_mins(10)).await?;
        }
        Ok(begun.elapsed())
    }

    /// Ends the daemons.
    pub fn stop(&mut self) {
        self.daemons.clear();
    }

    /// Waits until every source was polled once, by a search and a list of what was archived: what a
    /// start costs is not what is measured. Recipients that were just connected, where nothing is older than
    /// the connection, are not asked in their first poll.
    pub async fn polled(&self) -> Result<()> {
        let old = if self.setup.quiet_for.is_some() { self.cast.recipients } else { 0 };
        let wanted = 2 * (self.cast.sources + old) as u64;
        let searches = || self.served.vendor.calls.search.load(Ordering::Relaxed);
        let mut last = (searches(), Instant::now());
        while last.0 < wanted {
            tokio::time::sleep(Duration::from_millis(50)).await;
            if searches() != last.0 {
                last = (searches(), Instant::now());
            } else if last.1.elapsed() > Duration::from_mins(1) {
                bail!("the daemon stopped polling after {} of {wanted} searches: {}", last.0, self.last_words());
            }
        }
        Ok(())
    }

    /// Spreads the next polls evenly over this time, as they are when a daemon has run for long.
    pub async fn spread(&self, over: Millis) -> Result<()> {
        const POLLS: &str = "SELECT connection, object FROM cursors WHERE object NOT LIKE 'follow %'";
        const SPREAD: &str =
            "WITH item AS MATERIALIZED (SELECT value ->> 0 AS connection, value ->> 1 AS object, CAST(value ->> 2 AS BIGINT) AS due
            FROM json_each(CAST($1 AS TEXT)))
          UPDATE cursors SET next_poll_at = item.due FROM item WHERE cursors.connection = item.connection AND cursors.object = item.object";
        let db = Db::open(&self.store()).await?;
        let polls = db.rows::<(String, String)>(POLLS, vec![]).await?;
        let (now, count) = (Clock::system().now(), polls.len().max(1) as Millis);
        let due = |n: usize| now + over * n as Millis / count;
        let rows: serde_json::Value =
            polls.iter().enumerate().map(|(n, (connection, object))| json!([connection, object, due(n)])).collect();
        db.exec(SPREAD, vec![rows.into()]).await?;
        db.close().await;
        Ok(())
    }

    /// Sends webhooks to these daemons.
    pub fn generator(&self, senders: usize, batch: usize) -> Arc<Generator> {
        Arc::new(Generator {
            cast: self.cast,
            board: self.served.board.clone(),
            vendor: self.served.vendor.clone(),
            targets: self.targets.clone(),
            batch,
            senders,
        })
    }

    /// CPU seconds so far: daemons, vendor, generator, database server.
    pub fn cpu(&self, server: Option<&Server>) -> [f64; 4] {
        let daemons = self.daemons.iter().map(Process::cpu).sum();
        [daemons, cpu_of_threads("vendor"), cpu_of_threads("generator"), server.map_or(0.0, Server::cpu)]
    }

    /// Memory of the largest daemon in MiB: the most it ever held, and what it holds now.
    pub fn rss(&self) -> (f64, f64) {
        let all: Vec<(f64, f64)> = self.daemons.iter().map(Process::rss).collect();
        (all.iter().map(|r| r.0).fold(0.0, f64::max), all.iter().map(|r| r.1).fold(0.0, f64::max))
    }

    /// The ends of the daemons' logs.
    pub fn last_words(&self) -> String {
        self.daemons.iter().map(Process::last_words).collect::<Vec<_>>().join("\n").trim().to_owned()
    }

    /// Changes that the first daemon has taken in since it was started, as it counts them itself.
    pub async fn taken_in(&self) -> Result<usize> {
        let target = self.targets[0];
        let request = format!("GET /metrics HTTP/1.1\r\nhost: {target}\r\nconnection: close\r\n\r\n");
        let mut link = Link::open(target).await?;
        let (_, body) = link.send(request.as_bytes()).await?;
        let page = String::from_utf8_lossy(body);
        let counts = page.lines().filter(|line| line.starts_with("leadshare_changes_total"));
        Ok(counts.filter_map(|line| line.rsplit(' ').next()?.parse::<usize>().ok()).sum())
    }

    /// The address of the store.
    pub fn store(&self) -> String {
        self.setup.store.clone().unwrap_or_else(|| format!("sqlite:{}", self.setup.dir.join("leadshare.db").display()))
    }
}

/// To so many digits behind the point.
pub fn rounded(value: f64, digits: i32) -> f64 {
    let scale = 10f64.powi(digits);
    (value * scale).round() / scale
}

/// Prints a report: one JSON object, or a line for each value.
pub fn print(report: &impl serde::Serialize, json: bool) -> Result<()> {
    let value = serde_json::to_value(report)?;
    if json {
        println!("{value}");
        return Ok(());
    }
    for (name, value) in value.as_object().into_iter().flatten() {
        println!("{name:32} {}", value.to_string().trim_matches('"'));
    }
    Ok(())
}
