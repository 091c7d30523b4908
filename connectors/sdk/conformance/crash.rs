//! Dropped after any step and opened again from what was last saved, a talk ends the same.

use std::collections::BTreeSet;

use super::bench::{Bench, Setup, Style};
use super::delivery::{all_written, batch, deliver, marker, recover};
use super::driver::Ran;
use super::poller::Poller;
use super::{Case, Miss, Verdict, ensure, fail, not_applicable};
use crate::sdk::{Doubt, Fault, Item, ItemResult, Millis, Op, Output, Saved, State};

/// Where a talk was dropped: the simulator as it then is, what is durable, what had been done.
struct Wreck {
    bench: Bench,
    /// What the daemon opens after the crash, and from what.
    op: Op,
    saved: Option<Saved>,
    ran: Ran,
}

/// Drops the talk after every step in turn; where asks were out, once with them never sent and once
/// with their answers lost. `then` judges what becomes of each.
fn each_wreck(base: &Bench, op: &Op, then: impl Fn(Wreck) -> Verdict) -> Verdict {
    let steps = base.fork().run(op, None)?.steps;
    for step in 1..steps {
        for lost in [false, true] {
            let mut bench = base.fork();
            let mut running = bench.start(op, None)?;
            for _ in 0..step {
                running.advance(&mut bench)?;
            }
            let out = std::mem::take(&mut running.outstanding);
            if lost && out.is_empty() {
                continue;
            }
            if lost {
                for ask in &out {
                    bench.send_and_lose(ask);
                }
            }
            bench.now += 3_000;
            let what = match (out.is_empty(), lost) {
                (true, _) => "",
                (false, false) => ", requests never sent",
                (false, true) => ", answers lost",
            };
            let place = format!("dropped after step {step} of {steps}{what}");
            then(Wreck { op: running.resumed_op(&bench), saved: running.survives(), ran: running.ran, bench })
                .map_err(|miss| Miss::Failed(format!("{place}: {miss}")))?;
        }
    }
    Ok(())
}

fn write_all(setup: &Setup, base: &Bench, items: &[Item], total: usize) -> Verdict {
    let patience = setup.manifest().write.settle_after_ms;
    let mut plain = base.fork();
    all_written(&deliver(&mut plain, items, None, patience)?, items.len())?;
    let expected = plain.essence();
    each_wreck(base, &base.write_op(items.to_vec()), |mut wreck| {
        let mut forgetful = wreck.bench.fork();
        let resumed = deliver(&mut wreck.bench, items, wreck.saved.as_ref(), patience)?;
        let recovered = recover(&mut forgetful, items, patience)?;
        for (bench, results) in [(&mut wreck.bench, resumed), (&mut forgetful, recovered)] {
            all_written(&results, items.len())?;
            bench.let_settle()?;
            let found = bench.records().len();
            ensure(found == total, || format!("{found} records where there must be {total}"))?;
            ensure(bench.essence() == expected, || "the records are not as without the crash".into())?;
        }
        Ok(())
    })
}

fn creates(setup: &Setup) -> Verdict {
    let mut bench = setup.bench()?;
    bench.person(77)?;
    let items = batch(&bench, 3);
    write_all(setup, &bench, &items, items.len() + 1)
}

fn updates(setup: &Setup) -> Verdict {
    let mut bench = setup.bench()?;
    let (field, value) = setup.sample.change;
    let count = 2.min(setup.manifest().write.batch);
    let mut items = Vec::new();
    for n in 1..=count {
        let id = bench.create(n, &marker(n))?;
        items.push(Item::Update { key: format!("u{n}"), id, fields: [(field.to_owned(), value.into())].into() });
    }
    write_all(setup, &bench, &items, count)
}

/// Creates and updates in one write, one of them invalid: settled the same after a crash.
fn mixed(setup: &Setup) -> Verdict {
    if setup.manifest().write.batch < 3 {
        return not_applicable(format!("the manifest has write.batch = {}: writes are never mixed", setup.manifest().write.batch));
    }
    let mut bench = setup.bench()?;
    let (field, value) = setup.sample.change;
    let id = bench.create(1, &marker(1))?;
    let items = vec![
        Item::Update { key: "u".into(), id, fields: [(field.to_owned(), value.into())].into() },
        super::bench::creation("bad", &marker(2), (setup.sample.invalid)(2)),
        super::bench::creation("c", &marker(3), (setup.sample.person)(3)),
    ];
    let patience = setup.manifest().write.settle_after_ms;
    let mut plain = bench.fork();
    let shape = |results: std::collections::BTreeMap<String, ItemResult>| {
        results.into_iter().map(|(key, result)| (key, std::mem::discriminant(&result))).collect::<Vec<_>>()
    };
    let expected = shape(deliver(&mut plain, &items, None, patience)?);
    let records = plain.essence();
    each_wreck(&bench, &bench.write_op(items.clone()), |mut wreck| {
        let results = shape(deliver(&mut wreck.bench, &items, wreck.saved.as_ref(), patience)?);
        ensure(results == expected, || "items are settled in another way than without the crash".into())?;
        ensure(wreck.bench.essence() == records, || "the records are not as without the crash".into())
    })
}

/// `age`: how long ago the records were made. Of what is younger than the overlap some is read twice anyway.
fn polls(setup: &Setup, apart: Millis, age: Millis) -> Verdict {
    let mut bench = setup.bench()?;
    let mut ids = Vec::new();
    for n in 0..setup.sample.page + 3 {
        ids.push(bench.person(n)?);
        bench.now += apart;
    }
    // One gone, so that the part of the poll that looks for deletions has something to lose.
    bench.now += 1_000;
    let deleted = bench.delete_by_hand(&ids[3]).is_ok();
    bench.now += setup.manifest().poll.lag_ms + age;
    bench.token = bench.sandbox.token(bench.now);
    let op = Poller::new(&bench).op(&bench);
    let all = |ran: &Ran| -> BTreeSet<(String, String, String)> {
        let records = ran.pages.iter().flat_map(|(records, _)| records);
        records.map(|record| (record.id.clone(), record.version.clone(), format!("{:?}", record.state))).collect()
    };
    let expected = all(&bench.fork().run(&op, None)?);
    ensure(expected.len() >= ids.len() - usize::from(deleted), || format!("{} records seen of {}", expected.len(), ids.len()))?;
    each_wreck(&bench, &op, |mut wreck| {
        let again = wreck.bench.run(&wreck.op, wreck.saved.as_ref())?;
        let Output::Cursor(_) = again.output()? else { return fail("no cursor at the end") };
        let seen: BTreeSet<_> = all(&wreck.ran).union(&all(&again)).cloned().collect();
        ensure(seen.is_superset(&expected), || format!("{} records were lost", expected.difference(&seen).count()))
    })
}

/// A poll that is dropped after each request, and opened again from its last page's cursor after a pause. It comes to its end, and loses
/// neither what it had not read, nor what was committed late in what it had, nor what is gone. `most`: after how many pauses the budget
/// is large again; a pause so long that the next window is due before one was read has no other end.
fn drips(setup: &Setup, pause: Millis, most: u32) -> Verdict {
    let mut bench = setup.bench()?;
    let mut poller = Poller::new(&bench);
    let mut ids = vec![bench.person(0)?, bench.person(1)?];
    poller.catch_up(&mut bench)?;
    bench.sandbox.inject(Fault::CommitLag { ms: setup.manifest().poll.overlap_ms / 2 });
    for n in 2..5 {
        ids.push(bench.person(n)?);
        bench.now += 11;
    }
    bench.sandbox.inject(Fault::CommitLag { ms: 0 });
    let deleted = bench.delete_by_hand(&ids[0]).is_ok();
    for n in 5..setup.sample.page * 2 + 10 {
        ids.push(bench.person(n)?);
        bench.now += 11;
    }
    bench.now += setup.manifest().poll.lag_ms + 1_000;
    bench.style = Style::OneAtATime(pause);
    let mut running = bench.start(&poller.op(&bench), None)?;
    while running.ran.end.is_none() && running.pauses < most {
        running.advance(&mut bench)?;
    }
    poller.keep(&running.ran);
    if running.ran.end.is_some() {
        poller.take(&running.ran)?;
    }
    bench.style = Style::default();
    let end = bench.now + setup.manifest().poll.overlap_ms;
    while bench.now < end {
        bench.now += setup.manifest().poll.every_ms;
        poller.poll(&mut bench)?;
    }
    poller.catch_up(&mut bench)?;
    poller.saw_all(&ids)?;
    let gone = poller.seen.iter().any(|record| record.id == ids[0] && record.state == State::Deleted);
    ensure(gone || !deleted, || "the deletion was not seen".into())
}

fn settles(setup: &Setup) -> Verdict {
    let mut bench = setup.bench()?;
    bench.create(1, &marker(1))?;
    let sent_at = bench.now;
    bench.now += setup.manifest().write.settle_after_ms + 60_000;
    let op = Op::Settle {
        object: setup.sample.object.into(),
        marker_field: setup.manifest().write.marker_field.clone(),
        items: [1, 2].map(|n| Doubt { key: format!("d{n}"), marker: marker(n), sent_at, known: None }).into(),
    };
    let sorted = |ran: Ran| -> Verdict<Vec<(String, String)>> {
        ran.output_ref()?;
        let mut items: Vec<_> = ran.items.into_iter().map(|(key, result)| (key, format!("{result:?}"))).collect();
        items.sort();
        Ok(items)
    };
    let expected = sorted(bench.fork().run(&op, None)?)?;
    each_wreck(&bench, &op, |mut wreck| {
        let again = wreck.bench.run(&op, wreck.saved.as_ref()).and_then(sorted)?;
        ensure(again == expected, || "settled in another way than without the crash".into())?;
        ensure(wreck.bench.records().len() == 1, || "settling changed the records".into())
    })
}

/// What a newer or broken version saved is refused or started over, never a panic.
fn unreadable_saved(setup: &Setup) -> Verdict {
    let bench = setup.bench()?;
    let op = bench.write_op(batch(&bench, 1));
    for text in ["null", "{}", "[]", "\"x\"", "{\"v\":99}", "17"] {
        let saved = Saved(serde_json::from_str(text).unwrap_or_default());
        if let Err(fault) = bench.connector.open(&op, &bench.account, Some(&saved)) {
            ensure(fault.code == "bad_saved_state", || format!("{text}: refused as `{}`, not as `bad_saved_state`", fault.code))?;
        } else {
            let ran = bench.fork().run(&op, Some(&saved))?;
            ensure(ran.items.len() == 1 || ran.output_ref().is_err(), || format!("{text}: taken up, and the item was lost"))?;
        }
    }
    Ok(())
}

pub(super) const CASES: &[Case] = &[
    ("crash: creates, at every step", creates),
    ("crash: updates, at every step", updates),
    ("crash: mixed write, at every step", mixed),
    ("crash: poll, at every step", |setup| polls(setup, 11, setup.manifest().poll.every_ms)),
    ("crash: poll of old records, at every step", |setup| polls(setup, 11, setup.manifest().poll.overlap_ms * 3)),
    ("crash: poll of one old time, at every step", |setup| polls(setup, 0, setup.manifest().poll.overlap_ms * 3)),
    ("crash: poll of one request at a time", |setup| drips(setup, 20_000, u32::MAX)),
    ("crash: poll taken up much later", |setup| drips(setup, setup.manifest().poll.overlap_ms * 2, 1)),
    ("crash: poll taken up much later, again and again", |setup| drips(setup, setup.manifest().poll.overlap_ms * 2, 12)),
    ("crash: settle, at every step", settles),
    ("crash: saved state unreadable", unreadable_saved),
];
