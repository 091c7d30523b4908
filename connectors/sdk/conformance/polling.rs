//! Polling loses nothing: late commits, equal times, caps, index lag, deletes and merges.

use super::bench::{Bench, START, Setup};
use super::poller::Poller;
use super::{Case, Verdict, ensure};
use crate::sdk::{Fault, Millis, State};

/// People create records while we poll; nothing may be lost.
fn trickle(setup: &Setup, trouble: Option<Fault>) -> Verdict {
    let mut bench = setup.bench()?;
    let mut poller = Poller::new(&bench);
    if let Some(fault) = trouble {
        bench.sandbox.inject(fault);
    }
    let every = setup.manifest().poll.every_ms;
    let mut ids = Vec::new();
    for n in 0..24 {
        ids.push(bench.person(n)?);
        bench.now += every / 3 + 137;
        if n % 3 == 2 {
            poller.poll(&mut bench)?;
        }
    }
    for _ in 0..2 {
        // With trouble, things become visible up to the overlap later, while polling goes on.
        let end = bench.now + setup.manifest().poll.overlap_ms;
        while bench.now < end {
            bench.now += every;
            poller.poll(&mut bench)?;
        }
    }
    poller.catch_up(&mut bench)?;
    poller.saw_all(&ids)
}

/// How late a row may show up: what the manifest's overlap promises to cover, less a little.
fn lateness(setup: &Setup) -> Millis {
    setup.manifest().poll.overlap_ms * 9 / 10
}

fn late_commits(setup: &Setup) -> Verdict {
    trickle(setup, Some(Fault::CommitLag { ms: lateness(setup) }))
}

fn index_lag(setup: &Setup) -> Verdict {
    trickle(setup, Some(Fault::IndexLag { ms: lateness(setup) }))
}

fn updates(setup: &Setup) -> Verdict {
    let mut bench = setup.bench()?;
    let mut poller = Poller::new(&bench);
    let ids = (0..3).map(|n| bench.person(n)).collect::<Verdict<Vec<_>>>()?;
    poller.catch_up(&mut bench)?;
    let (field, value) = setup.sample.change;
    for round in 0..3 {
        let before = poller.seen.len();
        bench.change_by_hand(&ids[1], field, format!("{value} {round}").into())?;
        poller.catch_up(&mut bench)?;
        ensure(poller.seen[before..].iter().any(|record| record.id == ids[1]), || {
            format!("change {round} of a known record was not seen as a new version")
        })?;
        ensure(poller.seen[before..].iter().all(|record| record.id == ids[1]), || {
            "a record that nobody changed came back as a new version".into()
        })?;
    }
    Ok(())
}

fn idle(setup: &Setup) -> Verdict {
    let mut bench = setup.bench()?;
    let mut poller = Poller::new(&bench);
    poller.poll(&mut bench)?;
    let id = bench.person(1)?;
    for _ in 0..4 {
        poller.catch_up(&mut bench)?;
    }
    ensure(poller.seen.len() == 1 && poller.seen[0].id == id, || {
        format!("one record that never changed was seen in {} versions", poller.seen.len())
    })
}

fn equal_times(setup: &Setup) -> Verdict {
    let mut bench = setup.bench()?;
    let mut poller = Poller::new(&bench);
    let ids = (0..60).map(|n| bench.person(n)).collect::<Verdict<Vec<_>>>()?;
    poller.catch_up(&mut bench)?;
    poller.saw_all(&ids)
}

/// Half of the rows with one modification time are visible at the first poll, half at a later one.
fn equal_times_half_late(setup: &Setup) -> Verdict {
    let mut bench = setup.bench()?;
    let mut poller = Poller::new(&bench);
    let mut ids = (0..20).map(|n| bench.person(n)).collect::<Verdict<Vec<_>>>()?;
    bench.sandbox.inject(Fault::CommitLag { ms: lateness(setup) });
    for n in 20..40 {
        ids.push(bench.person(n)?);
    }
    let end = bench.now + setup.manifest().poll.lag_ms + setup.manifest().poll.overlap_ms;
    while bench.now < end {
        bench.now += setup.manifest().poll.every_ms;
        poller.poll(&mut bench)?;
    }
    poller.catch_up(&mut bench)?;
    poller.saw_all(&ids)
}

/// A row whose modification time is exactly the upper bound of a poll.
fn upper_bound(setup: &Setup) -> Verdict {
    let mut bench = setup.bench()?;
    let mut poller = Poller::new(&bench);
    poller.poll(&mut bench)?;
    let mut ids = Vec::new();
    for n in 0..8 {
        let at = bench.now;
        ids.push(bench.person(n)?);
        bench.now = at + setup.manifest().poll.lag_ms;
        poller.poll(&mut bench)?;
        bench.now = bench.now.max(at + setup.manifest().poll.every_ms) + 333;
    }
    poller.catch_up(&mut bench)?;
    poller.saw_all(&ids)
}

fn over_every_cap(setup: &Setup, apart: Millis) -> Verdict {
    let mut bench = setup.bench()?;
    let mut poller = Poller::new(&bench);
    let mut ids = Vec::new();
    for n in 0..setup.sample.many {
        ids.push(bench.person(n)?);
        bench.now += apart;
    }
    bench.now += setup.manifest().poll.lag_ms + setup.manifest().poll.every_ms;
    let ran = bench.run(&poller.op(&bench), None)?;
    ensure(ran.pages.len() > 1, || format!("{} records came in {} page: memory is not bounded", ids.len(), ran.pages.len()))?;
    poller.take(&ran)?;
    poller.saw_all(&ids)
}

/// Rows that change while we page leave the window: those behind them must not be skipped.
fn rows_move(setup: &Setup) -> Verdict {
    let (mut bench, ids) = pages(setup)?;
    let mut poller = Poller::new(&bench);
    let (field, value) = setup.sample.change;
    poller.fields = vec![field.to_owned()];
    let mut running = bench.start(&poller.op(&bench), None)?;
    let mut changed = Vec::new();
    while running.ran.end.is_none() {
        let pages = running.ran.pages.len();
        running.advance(&mut bench)?;
        if running.ran.pages.len() > pages {
            // Some that were handed over and some that were not.
            for id in ids.iter().skip(changed.len()).step_by(ids.len() / 12) {
                bench.change_by_hand(id, field, value.into())?;
                changed.push(id.clone());
            }
        }
    }
    poller.take(&running.ran)?;
    poller.catch_up(&mut bench)?;
    poller.saw_all(&ids)?;
    let news = |id: &String| poller.seen.iter().any(|record| record.id == *id && record.fields.get(field) == Some(&value.into()));
    let lost = changed.iter().filter(|id| !news(id)).count();
    ensure(lost == 0, || format!("{lost} of {} changes made while paging were never seen", changed.len()))
}

fn deletes(setup: &Setup, late: Millis) -> Verdict {
    let mut bench = setup.bench()?;
    let mut poller = Poller::new(&bench);
    let ids = (0..3).map(|n| bench.person(n)).collect::<Verdict<Vec<_>>>()?;
    poller.catch_up(&mut bench)?;
    bench.sandbox.inject(Fault::CommitLag { ms: late });
    bench.delete_by_hand(&ids[1])?;
    let end = bench.now + late;
    while bench.now < end {
        bench.now += setup.manifest().poll.every_ms;
        poller.poll(&mut bench)?;
    }
    poller.catch_up(&mut bench)?;
    ensure(poller.seen.iter().any(|record| record.id == ids[1] && record.state == State::Deleted), || "the deletion was not seen".into())?;
    ensure(!poller.seen.iter().any(|record| record.id != ids[1] && record.state != State::Live), || {
        "a live record was said to be gone".into()
    })
}

fn merges(setup: &Setup) -> Verdict {
    let mut bench = setup.bench()?;
    let mut poller = Poller::new(&bench);
    let ids = (0..3).map(|n| bench.person(n)).collect::<Verdict<Vec<_>>>()?;
    poller.catch_up(&mut bench)?;
    bench.merge_by_hand(&ids[0], &ids[1])?;
    poller.catch_up(&mut bench)?;
    ensure(poller.seen.iter().any(|record| record.id == ids[1] && record.state != State::Live), || {
        "the merged record was not seen to go".into()
    })
}

fn selection(setup: &Setup) -> Verdict {
    let mut bench = setup.bench()?;
    let mut poller = Poller::new(&bench);
    let (field, inside, outside) = setup.sample.selection;
    poller.selection = vec![(field.to_owned(), vec![inside.to_owned()])];
    let mut wanted = Vec::new();
    for n in 0..12 {
        let mut fields = (setup.sample.person)(n);
        fields.insert(field.to_owned(), if n % 3 == 0 { inside } else { outside }.into());
        let id = bench.create_by_hand(fields)?;
        if n % 3 == 0 {
            wanted.push(id);
        }
        bench.now += 700;
    }
    poller.catch_up(&mut bench)?;
    poller.saw_all(&wanted)?;
    ensure(poller.seen.iter().all(|record| wanted.contains(&record.id)), || "records outside of the selection were read".into())
}

fn starts_at_from(setup: &Setup) -> Verdict {
    let mut bench = setup.bench()?;
    let old = bench.person(1)?;
    bench.now += 86_400_000;
    let new = bench.person(2)?;
    let mut poller = Poller::new(&bench);
    poller.from = START + 3_600_000;
    poller.catch_up(&mut bench)?;
    poller.saw_all(std::slice::from_ref(&new))?;
    ensure(!poller.seen.iter().any(|record| record.id == old), || "a record from before the start was read".into())
}

/// A daemon that was off for a month takes up where it stopped.
fn long_pause(setup: &Setup) -> Verdict {
    let mut bench = setup.bench()?;
    let mut poller = Poller::new(&bench);
    let mut ids = vec![bench.person(0)?];
    poller.catch_up(&mut bench)?;
    for n in 1..30 {
        bench.now += 86_400_000;
        ids.push(bench.person(n)?);
        bench.token = bench.sandbox.token(bench.now);
    }
    poller.catch_up(&mut bench)?;
    poller.saw_all(&ids)
}

/// A simulator with more than two pages of records, due for a poll, and their ids.
pub(super) fn pages(setup: &Setup) -> Verdict<(Bench, Vec<String>)> {
    if setup.pages.get().is_none() {
        let mut bench = setup.bench()?;
        let mut ids = Vec::new();
        for n in 0..setup.sample.page * 2 + 10 {
            ids.push(bench.person(n)?);
            bench.now += 11;
        }
        bench.now += setup.manifest().poll.lag_ms + setup.manifest().poll.every_ms;
        let _ = setup.pages.set((bench, ids));
    }
    match setup.pages.get() {
        Some((bench, ids)) => Ok((bench.fork(), ids.clone())),
        None => super::fail("the simulator with many records was not kept"),
    }
}

pub(super) const CASES: &[Case] = &[
    ("poll: every record", |setup| trickle(setup, None)),
    ("poll: changes are new versions", updates),
    ("poll: idle", idle),
    ("poll: late commits", late_commits),
    ("poll: index lag", index_lag),
    ("poll: equal times", equal_times),
    ("poll: equal times, half late", equal_times_half_late),
    ("poll: at the upper bound", upper_bound),
    ("poll: over every cap", |setup| over_every_cap(setup, 7)),
    ("poll: over every cap at one time", |setup| over_every_cap(setup, 0)),
    ("poll: rows change while paging", rows_move),
    ("poll: deletes", |setup| deletes(setup, 0)),
    ("poll: late deletes", |setup| deletes(setup, lateness(setup))),
    ("poll: merges", merges),
    ("poll: selection", selection),
    ("poll: starts where told", starts_at_from),
    ("poll: after a long pause", long_pause),
];
