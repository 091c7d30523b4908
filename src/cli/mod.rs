//! Commands: what can be typed, and nothing else. Each command calls what the daemon is made of.
//!
//! Exit codes everywhere: 0 all is well, 1 something was found or failed, 2 the command was wrong.

/// Prints a line; a reader that has closed the pipe ends the command quietly.
macro_rules! out {
    ($($words:tt)*) => { $crate::cli::print(&format!("{}\n", format_args!($($words)*))) };
}

mod agreement;
mod check;
mod connect;
mod demo;
mod jobs;
mod lead;
mod ledger;
mod mapping;
mod run;
mod sandbox;
mod simulate;
mod suppress;
mod watch;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{CommandFactory, Parser, Subcommand};
use tokio::runtime::{Builder, Handle};

use crate::clock::Clock;
use crate::config::Config;
use crate::daemon::{self, Built};
use crate::errors::{Diagnostic, Error, Result, Severity};
use crate::simulate::Options;
use crate::store::{Db, connections};
use crate::vault::Vault;
use crate::{pipeline, replicas, store};

/// Shares leads between partner companies' systems, under their agreements and with consent proven.
#[derive(Debug, Parser)]
#[command(name = "leadshare", version, about, propagate_version = true)]
struct Cli {
    /// The configuration file.
    #[arg(long, short, global = true, env = "LEADSHARE_CONFIG", default_value = "/etc/leadshare/leadshare.toml")]
    config: PathBuf,
    /// Prints JSON instead of text.
    #[arg(long, global = true)]
    json: bool,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Runs the daemon until told to stop.
    Run,
    /// Shows the whole of it at work on simulated systems: no account and no network needed.
    Demo {
        /// Ends when every lead has reached its end state on both sides.
        #[arg(long)]
        once: bool,
        /// How many records the sharing partners have.
        #[arg(long, default_value_t = 300, value_parser = clap::value_parser!(u32).range(8..=200_000))]
        leads: u32,
        /// Keeps the store and the configuration in this folder.
        #[arg(long)]
        data: Option<PathBuf>,
    },
    /// Checks configuration, program files, mappings and, with --connections, every connection.
    Check {
        /// Also asks every connected system whether it lets us do what its mapping needs.
        #[arg(long)]
        connections: bool,
    },
    /// Prints a link for a partner: whoever opens it connects that partner's system.
    Connect {
        /// The partner, or one of its connections.
        partner: String,
        /// Hours that the link is good for.
        #[arg(long, default_value_t = 72, value_parser = clap::value_parser!(u16).range(1..=720))]
        hours: u16,
    },
    /// Stops all reading and delivering, at once; hints are still taken in and wait.
    Stop {
        /// Why, for those who find it stopped.
        #[arg(long, default_value = "stopped by an operator")]
        reason: String,
    },
    /// Goes on after a stop, or lets a connection go on that the volume brake stopped.
    Resume {
        /// The connection that the brake stopped; without one, everything goes on.
        connection: Option<String>,
    },
    /// Mapping files.
    Mapping {
        #[command(subcommand)]
        command: mapping::Command,
    },
    /// Agreement files.
    Agreement {
        #[command(subcommand)]
        command: agreement::Command,
    },
    /// Leads.
    Lead {
        #[command(subcommand)]
        command: lead::Command,
    },
    /// Deliveries that wait or failed.
    Jobs {
        #[command(subcommand)]
        command: jobs::Command,
    },
    /// People and domains that must not be shared.
    Suppress {
        #[command(subcommand)]
        command: suppress::Command,
    },
    /// The ledger.
    Ledger {
        #[command(subcommand)]
        command: ledger::Command,
    },
    /// Serves one vendor's simulator, to try against with the vendor's own client.
    Sandbox {
        /// The vendor.
        vendor: String,
        /// Where to listen.
        #[arg(long, default_value = "127.0.0.1:0")]
        listen: SocketAddr,
        /// Feeds ids and codes.
        #[arg(long, default_value_t = 1)]
        seed: u64,
    },
    /// Plays random programs, people and faults from a seed, in process, and checks what must always hold.
    Simulate {
        /// The first seed; one seed is one run.
        #[arg(long)]
        seed: u64,
        /// How many seeds, from the first on.
        #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u64).range(1..))]
        seeds: u64,
        /// Most leads in a run.
        #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u16).range(1..=500))]
        leads: u16,
        /// Most days that pass before the faults stop.
        #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=30))]
        days: u16,
        /// Ends with the first seed that breaks something.
        #[arg(long)]
        until_broken: bool,
        /// Prints everything that happens.
        #[arg(long)]
        loud: bool,
    },
    /// Prints completions for a shell.
    Completions {
        /// The shell.
        shell: clap_complete::Shell,
    },
}

/// Prints to standard output; a reader that has closed the pipe (`| head`) ends the command quietly.
fn print(text: &str) {
    use std::io::Write as _;
    if std::io::stdout().write_all(text.as_bytes()).is_err() {
        std::process::exit(0);
    }
}

/// Parses the command line and does what it says.
pub fn main() -> ExitCode {
    let cli = Cli::parse();
    if let Command::Simulate { seed, seeds, leads, days, until_broken, loud } = cli.command {
        // Each thread of it has a runtime of its own.
        let options = Options { leads: usize::from(leads), days: u32::from(days), loud };
        return ended(simulate::simulate(seed, seeds, until_broken, options, cli.json));
    }
    // Work computes for milliseconds at a stretch: the network is looked at after a few of them, not after the usual 61. And the web has
    // a thread of its own: however much is worked on, somebody waits for its answer.
    let runtime = Builder::new_multi_thread().enable_all().event_interval(8).build();
    let web = Builder::new_multi_thread().worker_threads(1).thread_name("leadshare-web").enable_all().build();
    match (runtime, web) {
        (Ok(runtime), Ok(web)) => ended(runtime.block_on(dispatch(cli, web.handle()))),
        (Err(error), _) | (_, Err(error)) => {
            eprintln!("error: the runtime does not start: {error}");
            ExitCode::from(1)
        }
    }
}

fn ended(all_was_well: Result<bool>) -> ExitCode {
    match all_was_well {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::from(1),
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::from(if matches!(error, Error::BadRequest(_)) { 2 } else { 1 })
        }
    }
}

/// Answers whether all was well.
async fn dispatch(cli: Cli, web: &Handle) -> Result<bool> {
    let (path, json) = (cli.config, cli.json);
    match cli.command {
        Command::Run => run::run(load(&path)?, &path, web).await,
        Command::Demo { once, leads, data } => demo::demo(once, leads as usize, data, json).await,
        Command::Check { connections } => check::check(&path, connections, json).await,
        Command::Connect { partner, hours } => connect::connect(&load(&path)?, &partner, hours, json).await,
        Command::Stop { reason } => switch(&load(&path)?, Some(&reason)).await,
        Command::Resume { connection: None } => switch(&load(&path)?, None).await,
        Command::Resume { connection: Some(name) } => release(&load(&path)?, &name).await,
        Command::Mapping { command } => mapping::run(command, &path, json).await,
        Command::Agreement { command } => agreement::run(command, &path, json),
        Command::Lead { command } => lead::run(command, &load(&path)?, json).await,
        Command::Jobs { command } => jobs::run(command, &load(&path)?, json).await,
        Command::Suppress { command } => suppress::run(command, &load(&path)?, json).await,
        Command::Ledger { command } => ledger::run(command, &load(&path)?, json).await,
        Command::Sandbox { vendor, listen, seed } => sandbox::sandbox(&vendor, listen, seed, json).await,
        Command::Simulate { .. } => Ok(true),
        Command::Completions { shell } => {
            let mut text = Vec::new();
            clap_complete::generate(shell, &mut Cli::command(), "leadshare", &mut text);
            print(&String::from_utf8_lossy(&text));
            Ok(true)
        }
    }
}

fn load(path: &Path) -> Result<Config> {
    Config::load(Some(path), std::env::vars()).map_err(Error::Files)
}

/// The store that a daemon works on or has worked on. Any other one is probably not the one that is meant: nothing is stopped or
/// suppressed there.
async fn open(config: &Config) -> Result<Db> {
    const OTHER: &str = "start it first with `leadshare run`, or give the configuration that it has";
    let url = config.store_url();
    // Where it cannot be looked, opening it tells why.
    if let Some(path) = url.expose().strip_prefix("sqlite:").filter(|path| !Path::new(path).try_exists().unwrap_or(true)) {
        return Err(Error::NotFound(format!("there is no database at {path}, so no daemon has worked there: {OTHER}")));
    }
    let db = Db::open(url.expose()).await?;
    match connections::setting(&db, "key_check").await? {
        Some(_) => Ok(db),
        None => Err(Error::NotFound(format!("no daemon has worked on this database yet: {OTHER}"))),
    }
}

/// The store and its keys, for commands that find people by their hashes. Under another key nobody would be found, and whoever was
/// suppressed under it would be shared all the same.
async fn open_with_keys(config: &Config) -> Result<(Db, Vault)> {
    let (db, vault) = (open(config).await?, config.vault()?);
    daemon::keys_fit(&db, &vault).await?;
    Ok((db, vault))
}

/// Why everything is stopped, when it is.
async fn stopped(db: &Db) -> Result<Option<String>> {
    connections::setting(db, "stopped").await
}

/// Everything built, for commands that speak to vendors.
async fn build(config: &Config) -> Result<Built> {
    daemon::look(config, &Clock::system()).await
}

async fn switch(config: &Config, reason: Option<&str>) -> Result<bool> {
    let db = open(config).await?;
    let Some(reason) = reason else {
        connections::drop_setting(&db, "stopped").await?;
        out!("Going on.");
        return Ok(true);
    };
    connections::set_setting(&db, "stopped", reason).await?;
    out!("Stopped: nothing is read or delivered until `leadshare resume`. Hints are still taken in and wait.");
    let now = store::replicas::now(&db).await?;
    if !store::replicas::all(&db).await?.iter().any(|replica| now - replica.3 < replicas::LEASE) {
        out!("No daemon works on this database right now: is it the one that you mean? Whichever starts on it finds it stopped.");
    }
    Ok(true)
}

/// Lets a connection go on that the volume brake stopped: its hour begins anew.
async fn release(config: &Config, name: &str) -> Result<bool> {
    if !config.connections.contains_key(name) {
        return Err(Error::BadRequest(format!("no connection is called {name:?}")));
    }
    let db = open(config).await?;
    pipeline::release(&db, name, Clock::system().now()).await?;
    match stopped(&db).await? {
        None => out!("{name} goes on; its hour of new shares begins anew."),
        Some(reason) => out!("{name} goes on once everything does: all is stopped ({reason}) until `leadshare resume` without a name."),
    }
    Ok(true)
}

/// Prints diagnostics; answers whether there was no error among them.
fn report(found: &[Diagnostic], json: bool) -> bool {
    if json {
        out!("{}", serde_json::json!({ "diagnostics": found }));
    } else {
        for diagnostic in found {
            eprintln!("{diagnostic}");
        }
    }
    found.iter().all(|d| d.severity < Severity::Error)
}
