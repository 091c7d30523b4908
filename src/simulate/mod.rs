//! Simulation: random programs, people and faults from one seed, on the real engine and simulated vendors, in process and
//! on a clock of its own; at the end the invariants are checked against the vendors' own state.
//!
//! One seed is one run: everything random but nonces comes from it, the trace's hash says so. What is not simulated:
//! several replicas, PostgreSQL, fsync, TLS, sockets, the web's pages.

mod check;
mod edits;
mod life;
mod network;
mod people;
mod program;
mod rng;
mod stage;
mod trace;
mod world;

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use serde::Serialize;

pub use check::Counts;
pub use network::Broken;
use network::Weather;
use rng::Rng;
use stage::Stage;
use world::World;

use crate::clock::{DAY, HOUR};
use crate::errors::{Error, Result};

/// What is simulated.
#[derive(Debug, Clone, Copy)]
pub struct Options {
    /// Most leads.
    pub leads: usize,
    /// Days that pass before the faults stop.
    pub days: u32,
    /// Prints what happens as it happens.
    pub loud: bool,
}

impl Default for Options {
    fn default() -> Self {
        Self { leads: 5, days: 1, loud: false }
    }
}

/// What came of one seed.
#[derive(Debug, Clone, Serialize)]
pub struct Outcome {
    /// The seed.
    pub seed: u64,
    /// Names everything that happened.
    pub trace: String,
    /// What was broken; empty when all is well.
    pub broken: Vec<Broken>,
    /// How often the process died.
    pub crashes: u64,
    /// Requests that met a fault.
    pub faults: u64,
    /// What was counted.
    pub counts: Counts,
    /// The last lines of what happened; only when something was broken.
    pub last: Vec<String>,
}

/// Plays seeds, one after another, in a folder of its own.
pub struct Player {
    dir: PathBuf,
    options: Options,
    stages: BTreeMap<u64, Stage>,
    runtime: tokio::runtime::Runtime,
}

impl Drop for Player {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.dir);
    }
}

impl Player {
    /// A player that works in a new folder below the system's folder for memory-backed or temporary files.
    ///
    /// # Errors
    /// When the folder or the runtime cannot be made.
    pub fn new(name: &str, options: Options) -> Result<Self> {
        let memory = Path::new("/dev/shm");
        let base = if memory.is_dir() { memory.to_owned() } else { std::env::temp_dir() };
        let dir = base.join(format!("leadshare-simulate-{}-{name}", std::process::id()));
        std::fs::create_dir_all(&dir).map_err(|e| Error::System(format!("{}: {e}", dir.display())))?;
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let runtime = runtime.map_err(|e| Error::System(format!("the runtime does not start: {e}")))?;
        Ok(Self { dir, options, stages: BTreeMap::new(), runtime })
    }

    /// Plays one seed.
    ///
    /// # Errors
    /// When the store or a file cannot be used.
    pub fn play(&mut self, seed: u64) -> Result<Outcome> {
        let number = Rng::new(seed, 7).number() % program::SHAPES;
        let Self { dir, options, stages, runtime } = self;
        runtime.block_on(async {
            let stage = match stages.entry(number) {
                Entry::Occupied(known) => known.into_mut(),
                Entry::Vacant(place) => place.insert(Stage::set(number, dir).await?),
            };
            play(stage, seed, *options).await
        })
    }
}

#[derive(Clone, Default)]
struct Lines(Arc<Mutex<Vec<u8>>>);

impl std::io::Write for Lines {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).extend_from_slice(bytes);
        Ok(bytes.len())
    }
    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

async fn play(stage: &Stage, seed: u64, options: Options) -> Result<Outcome> {
    let lines = Lines::default();
    let writer = lines.clone();
    let subscriber = tracing_subscriber::fmt()
        .with_max_level(tracing::Level::DEBUG)
        .with_ansi(false)
        .without_time()
        .with_writer(move || writer.clone())
        .finish();
    let listening = tracing::subscriber::set_default(subscriber);
    let mut world = World::new(stage, seed).await?;
    world.network.inner().trace.loud = options.loud;
    let done = lives(&mut world, seed, options).await;
    let logged = String::from_utf8_lossy(&lines.0.lock().unwrap_or_else(PoisonError::into_inner)).into_owned();
    let counts = match done {
        Ok(()) => world.check(&logged).await?,
        Err(error) => {
            world.network.inner().breaks(1, format!("it broke off: {error}"));
            Counts::default()
        }
    };
    world.restore()?;
    drop(listening);
    let db = world.db.clone();
    let outcome = {
        let inner = world.network.inner();
        let last = if inner.broken.is_empty() { Vec::new() } else { inner.trace.last() };
        Outcome {
            seed,
            trace: inner.trace.hash(),
            broken: inner.broken.clone(),
            crashes: world.crashes,
            faults: inner.faults,
            counts,
            last,
        }
    };
    drop(world);
    db.close().await;
    Ok(outcome)
}

async fn lives(world: &mut World<'_>, seed: u64, options: Options) -> Result<()> {
    let mut rng = Rng::new(seed, 8);
    world.weather(forecast(&mut rng));
    let leads = 1 + rng.below(options.leads.max(1));
    let time = rng.between(2 * HOUR, i64::from(options.days) * DAY);
    world.live_through(leads, time).await?;
    world.settle().await
}

/// What goes wrong in a seed: little, much, or one thing only.
fn forecast(rng: &mut Rng) -> Weather {
    let scale = *rng.pick(&[0, 1, 3, 8]).unwrap_or(&1);
    let mut some = |most: u32| if rng.chance(600) { rng.below(most as usize * scale + 1) as u32 } else { 0 };
    Weather {
        lost: some(8),
        refused: some(6),
        unheard: some(8),
        late: some(10),
        doubled: some(6),
        truncated: some(4),
        failed: some(8),
        failed_after: some(6),
        throttled: some(6),
        webhooks: some(40),
        crash: some(4),
    }
}
