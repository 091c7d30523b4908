//! Puts load on the daemon and measures it.
//!
//! This process is sender and receiver: it makes up contacts, sends the webhooks of a vendor, answers
//! as that vendor's API, and keeps by one clock what arrived when. The daemon is the real binary, with
//! everything on. Start it with the scripts in this crate's folder; they build both.

#![forbid(unsafe_code)]

mod board;
mod floor;
mod generator;
mod people;
mod postgres;
mod process;
mod run;
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
    match Command::parse() {
        Command::Floor { listen, vendor, store } => runtime("floor", 2)?.block_on(floor::run(listen, &vendor, &store)).map(|()| true),
        Command::Run(options) => {
            let folder = Folder::new(options.keep)?;
            let (vendor, generator) = (runtime("vendor", 1)?, runtime("generator", 1)?);
            generator.block_on(run::run(&options, &folder.dir, vendor.handle()))
        }
    }
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
