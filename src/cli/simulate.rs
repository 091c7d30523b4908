//! `leadshare simulate`.

use std::io::IsTerminal as _;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use indicatif::{ProgressBar, ProgressStyle};
use serde_json::json;

use crate::errors::{Error, Result};
use crate::simulate::{Options, Outcome, Player};

/// Plays so many seeds from `seed` on, or until one breaks something; answers whether nothing was broken.
pub fn simulate(seed: u64, seeds: u64, until_broken: bool, options: Options, json: bool) -> Result<bool> {
    let bar = if json || options.loud || seeds == 1 || !std::io::stderr().is_terminal() {
        ProgressBar::hidden()
    } else {
        ProgressBar::new(seeds)
    };
    if let Ok(style) = ProgressStyle::with_template("{bar:40} {pos}/{len} seeds, {per_sec}, {eta} left, {msg}") {
        bar.set_style(style);
    }
    let (next, bad) = (AtomicU64::new(seed), AtomicU64::new(0));
    let found: Mutex<Vec<Outcome>> = Mutex::new(Vec::new());
    let played: Mutex<Totals> = Mutex::new(Totals::default());
    let work = |name: String| -> Result<()> {
        let mut player = Player::new(&name, options)?;
        loop {
            let mine = next.fetch_add(1, Ordering::SeqCst);
            if mine >= seed + seeds || (until_broken && bad.load(Ordering::SeqCst) > 0) {
                return Ok(());
            }
            let outcome = player.play(mine)?;
            if let Ok(mut totals) = played.lock() {
                totals.add(&outcome);
            }
            if !outcome.broken.is_empty() {
                bar.set_message(format!("{} broken", bad.fetch_add(1, Ordering::SeqCst) + 1));
            }
            if (!outcome.broken.is_empty() || seeds == 1)
                && let Ok(mut found) = found.lock()
            {
                found.push(outcome);
            }
            bar.inc(1);
        }
    };
    let threads = if seeds == 1 { 1 } else { std::thread::available_parallelism().map_or(1, usize::from) };
    let ended: Vec<Result<()>> = std::thread::scope(|scope| {
        let running: Vec<_> = (0..threads).map(|n| scope.spawn(move || work(n.to_string()))).collect();
        let broke = |_| Err(Error::System("a simulation broke off: run its seed alone with --loud".into()));
        running.into_iter().map(|thread| thread.join().unwrap_or_else(broke)).collect()
    });
    bar.finish_and_clear();
    let mut found = found.into_inner().unwrap_or_default();
    found.sort_by_key(|outcome| outcome.seed);
    let totals = played.into_inner().unwrap_or_default();
    if json {
        let all = json!({ "seeds": totals.seeds, "broken": found.iter().filter(|o| !o.broken.is_empty()).count(), "crashes": totals.crashes,
            "faults": totals.faults, "people": totals.people, "shares": totals.shares, "arrived": totals.arrived, "withdrawn": totals.withdrawn, "outcomes": found });
        out!("{all}");
    } else {
        for outcome in &found {
            tell(outcome, options);
        }
        out!(
            "{} seeds: {} people, {} shares, {} arrivals and {} withdrawals checked, through {} faults and {} crashes; {} broken.",
            totals.seeds,
            totals.people,
            totals.shares,
            totals.arrived,
            totals.withdrawn,
            totals.faults,
            totals.crashes,
            found.iter().filter(|o| !o.broken.is_empty()).count()
        );
    }
    ended.into_iter().collect::<Result<Vec<()>>>()?;
    Ok(found.iter().all(|outcome| outcome.broken.is_empty()))
}

#[derive(Default)]
struct Totals {
    seeds: u64,
    crashes: u64,
    faults: u64,
    people: usize,
    shares: usize,
    arrived: usize,
    withdrawn: usize,
}

impl Totals {
    fn add(&mut self, outcome: &Outcome) {
        self.seeds += 1;
        self.crashes += outcome.crashes;
        self.faults += outcome.faults;
        self.people += outcome.counts.people;
        self.shares += outcome.counts.shares;
        self.arrived += outcome.counts.arrived;
        self.withdrawn += outcome.counts.withdrawn;
    }
}

fn tell(outcome: &Outcome, options: Options) {
    out!("Seed {}: trace {}", outcome.seed, outcome.trace);
    if outcome.broken.is_empty() {
        return;
    }
    for line in &outcome.last {
        out!("  {line}");
    }
    for broken in &outcome.broken {
        out!("BROKEN invariant {}: {}", broken.invariant, broken.what);
    }
    out!("Again: leadshare simulate --seed {} --leads {} --days {} --loud", outcome.seed, options.leads, options.days);
}
