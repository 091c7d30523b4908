//! Puts load on the daemon and measures it.
//!
//! This process is sender and receiver: it makes up contacts, sends the webhooks of a vendor, answers
//! as that vendor's API, and keeps by one clock what arrived when. The daemon is the real binary, with
//! everything on. Start it with the scripts in this crate's folder; they build both.

#![forbid(unsafe_code)]

mod backfill;
mod bench;
mod board;
mod copies;
mod floor;
mod generator;
mod idle;
mod link;
mod people;
mod plot;
mod postgres;
mod process;
mod run;
mod scale;
mod setup;
mod vendor;
mod watch;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context as _, Result};
use clap::Parser;

#[derive(Parser)]
#[command(name = "leadshare-load", about = "Puts load on the daemon and measures it")]
enum Command {
    /// Leads a second from webhook to record, beside the floor
    Run(run::Options),
    /// Rows a second from a source's old contacts to the store
    Backfill(backfill::Options),
    /// What connections cost while nothing happens
    Idle(idle::Options),
    /// What a lead costs with more connections and more leads in the store
    Scale(scale::Options),
    /// The floor by itself
    #[command(hide = true)]
    Floor {
        #[arg(long)]
        listen: SocketAddr,
        #[arg(long)]
        vendor: String,
        #[arg(long)]
        store: String,
    },
}

fn runtime(name: &str, threads: usize) -> Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_multi_thread()
        .thread_name(name)
        .worker_threads(threads)
        .enable_all()
        .build()
        .context("no threads to work with")
}

/// A folder of this run on a real disk: beside the binaries, for a store in memory would be no measure.
struct Folder {
    dir: PathBuf,
    keep: bool,
}

impl Folder {
    fn new(keep: bool) -> Result<Self> {
        let beside = std::env::current_exe()?.parent().and_then(|dir| dir.parent()).map(PathBuf::from).unwrap_or_default();
        let dir = beside.join("load").join(std::process::id().to_string());
        std::fs::create_dir_all(&dir)?;
        Ok(Self { dir, keep })
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        if self.keep {
            watch::say(&format!("kept: {}", self.dir.display()));
        } else {
            let _ = std::fs::remove_dir_all(&self.dir);
        }
    }
}

fn work() -> Result<bool> {
    let command = Command::parse();
    let keep = match &command {
        Command::Floor { listen, vendor, store } => {
            return runtime("floor", 2)?.block_on(floor::run(*listen, vendor, store)).map(|()| true);
        }
        Command::Run(options) => options.keep,
        Command::Backfill(options) => options.keep,
        Command::Idle(options) => options.keep,
        Command::Scale(options) => options.keep,
    };
    let folder = Folder::new(keep)?;
    // Threads of their own, by whose names their CPU time is told apart.
    let (vendor, generator) = (runtime("vendor", 1)?, runtime("generator", 1)?);
    let (dir, vendor) = (&folder.dir, vendor.handle());
    generator.block_on(async {
        match &command {
            Command::Floor { .. } => Ok(true),
            Command::Run(options) => run::run(options, dir, vendor).await,
            Command::Backfill(options) => backfill::run(options, dir, vendor).await,
            Command::Idle(options) => idle::run(options, dir, vendor).await,
            Command::Scale(options) => scale::run(options, dir, vendor).await,
        }
    })
}

fn main() -> ExitCode {
    match work() {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            watch::say(&format!("{error:#}"));
            ExitCode::FAILURE
        }
    }
}
