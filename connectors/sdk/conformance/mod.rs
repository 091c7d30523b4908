//! The cases that every connector must pass against its own sandbox.
//!
//! Connectors are found by the registry. Each case drives real talks in process against the
//! vendor's simulator under a virtual clock, so that nothing sleeps and no
//! socket is opened. A case that a vendor has no notion of is reported as not applicable, with the
//! reason in the vendor's own words; it is never passed over in silence.

mod bench;
mod crash;
mod delivery;
mod driver;
mod laws;
mod lint;
mod oauth;
mod poller;
mod polling;
mod reading;
mod report;
mod samples;
#[cfg(test)]
mod toy;
mod trouble;
mod webhooks;
mod wire;
mod writing;

use std::panic::{AssertUnwindSafe, catch_unwind};

use bench::Setup;
pub use report::{Outcome, Report, Row};
pub use samples::{Sample, sample};

use crate::Entry;

/// What a case ends in: passed, or a [`Miss`].
type Verdict<T = ()> = Result<T, Miss>;

/// Why a case did not pass.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Miss {
    /// The connector or its sandbox is wrong.
    Failed(String),
    /// The vendor has no notion of what the case asks.
    NotApplicable(String),
}

impl std::fmt::Display for Miss {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Failed(why) | Self::NotApplicable(why) => f.write_str(why),
        }
    }
}

/// The case fails unless the condition holds.
fn ensure(condition: bool, why: impl FnOnce() -> String) -> Verdict {
    if condition { Ok(()) } else { Err(Miss::Failed(why())) }
}

/// Ends a case as failed.
fn fail<T>(why: impl Into<String>) -> Verdict<T> {
    Err(Miss::Failed(why.into()))
}

/// Ends a case as not applicable.
fn not_applicable<T>(why: impl Into<String>) -> Verdict<T> {
    Err(Miss::NotApplicable(why.into()))
}

/// One case: its name, and what it does with a vendor.
type Case = (&'static str, fn(&Setup) -> Verdict);

/// Every case in the order of the table; the laws come last, for they judge all runs before them.
fn cases() -> impl Iterator<Item = &'static Case> {
    [
        lint::CASES,
        oauth::CASES,
        reading::CASES,
        polling::CASES,
        trouble::CASES,
        writing::CASES,
        delivery::CASES,
        crash::CASES,
        webhooks::CASES,
        laws::CASES,
    ]
    .into_iter()
    .flatten()
}

/// Runs every case on every connector of the registry.
pub fn run() -> Report {
    run_on(crate::all(), sample)
}

/// Runs every case on one connector of the registry; nothing when there is none of this name.
pub fn run_for(connector: &str) -> Report {
    run_on(crate::by_name(connector), sample)
}

/// Runs every case on these connectors, each in a thread of its own.
fn run_on<'a>(entries: impl IntoIterator<Item = &'a Entry>, sample_of: fn(&str) -> Option<Sample>) -> Report {
    let rows = std::thread::scope(|scope| {
        let threads: Vec<_> = entries.into_iter().map(|entry| (entry.name, scope.spawn(move || run_one(entry, sample_of)))).collect();
        let joined = threads.into_iter().map(|(name, thread)| {
            thread.join().unwrap_or_else(|_| vec![Row::new(name, "suite", Outcome::Failed("the suite itself panicked".into()))])
        });
        joined.flatten().collect()
    });
    Report { rows }
}

fn run_one(entry: &Entry, sample_of: fn(&str) -> Option<Sample>) -> Vec<Row> {
    let Some(sample) = sample_of(entry.name) else {
        let why = format!(
            "no sample data for `{}`: add a `Sample` for it in connectors/sdk/conformance/samples.rs \
             (a valid and an invalid record, a field to change, the name of the e-mail field)",
            entry.name
        );
        return vec![Row::new(entry.name, "sample", Outcome::Failed(why))];
    };
    let setup = match guarded(|| Ok(Setup::new(entry, sample))) {
        Ok(setup) => setup,
        Err(miss) => return vec![Row::new(entry.name, "setup", miss.into())],
    };
    cases()
        .map(|(case, body)| Row::new(entry.name, case, guarded(|| body(&setup)).map_or_else(Outcome::from, |()| Outcome::Passed)))
        .collect()
}

/// Runs a case; a panic in a connector or sandbox fails that case only.
fn guarded<T>(body: impl FnOnce() -> Verdict<T>) -> Verdict<T> {
    catch_unwind(AssertUnwindSafe(body)).unwrap_or_else(|panic| {
        let text = panic.downcast_ref::<String>().map(String::as_str).or_else(|| panic.downcast_ref::<&str>().copied());
        fail(format!("panicked: {}", text.unwrap_or("without a message")))
    })
}

impl From<Miss> for Outcome {
    fn from(miss: Miss) -> Self {
        match miss {
            Miss::Failed(why) => Self::Failed(why),
            Miss::NotApplicable(why) => Self::NotApplicable(why),
        }
    }
}

#[cfg(test)]
mod tests;
