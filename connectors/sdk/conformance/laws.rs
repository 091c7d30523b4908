//! Laws that hold in every run whatever the case: broken ones are collected and judged at the end.

use std::collections::{BTreeMap, BTreeSet};

use super::bench::Setup;
use super::{Case, Verdict, fail, not_applicable};

/// Something that must hold in every run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Law {
    /// Each item of a write is settled exactly once, and only items that were asked for.
    SettledOnce,
    /// After an unknown outcome of a write that is not keyed, only reads follow.
    OnlyReadsAfterUnknown,
    /// Requests go to the account's base URL or one of the manifest's hosts, over https.
    Hosts,
    /// No request carries authorization of its own: tokens are the daemon's.
    NoTokens,
    /// Every ask names budgets that the manifest has, and spends from one.
    Budgets,
    /// An ask that says it reads makes nothing.
    ReadsMakeNothing,
    /// Waits only for answers that are due, names asks uniquely, comes to an end.
    Manners,
    /// Faults never repeat a person's data.
    Discreet,
}

/// What was seen of the laws over all runs of one connector.
#[derive(Debug, Default)]
pub(super) struct Laws {
    broken: BTreeMap<Law, BTreeSet<String>>,
    /// Whether a write that is not keyed ever had an unknown outcome.
    pub once_unknown: bool,
    /// Whether any item was ever settled.
    pub settled: bool,
}

impl Laws {
    pub fn broke(&mut self, law: Law, how: String) {
        self.broken.entry(law).or_default().insert(how);
    }
}

fn judge(setup: &Setup, law: Law) -> Verdict {
    let laws = setup.laws.borrow();
    match laws.broken.get(&law) {
        None => Ok(()),
        Some(how) => fail(how.iter().take(5).cloned().collect::<Vec<_>>().join("; ")),
    }
}

fn settled_once(setup: &Setup) -> Verdict {
    judge(setup, Law::SettledOnce)?;
    if setup.laws.borrow().settled { Ok(()) } else { fail("no item was settled in any run: nothing was tried") }
}

fn only_reads_after_unknown(setup: &Setup) -> Verdict {
    judge(setup, Law::OnlyReadsAfterUnknown)?;
    if setup.laws.borrow().once_unknown {
        Ok(())
    } else {
        not_applicable("every write of this connector is keyed, so none may be sent only once")
    }
}

pub(super) const CASES: &[Case] = &[
    ("law: each item settled once", settled_once),
    ("law: only reads after unknown", only_reads_after_unknown),
    ("law: hosts", |setup| judge(setup, Law::Hosts)),
    ("law: no tokens in requests", |setup| judge(setup, Law::NoTokens)),
    ("law: budgets named", |setup| judge(setup, Law::Budgets)),
    ("law: reads make nothing", |setup| judge(setup, Law::ReadsMakeNothing)),
    ("law: manners", |setup| judge(setup, Law::Manners)),
    ("law: faults are discreet", |setup| judge(setup, Law::Discreet)),
];
