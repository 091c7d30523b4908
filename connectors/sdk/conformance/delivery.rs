//! Delivering through lost answers, late commits and server errors: one person, one record.

use std::collections::BTreeMap;

use super::bench::{Bench, Setup, Style, Trouble, creation};
use super::driver::End;
use super::{Case, Verdict, ensure, fail, not_applicable};
use crate::sdk::manifest::WriteSafety;
use crate::sdk::{Doubt, Effect, Fault, Item, ItemKey, ItemResult, Millis, Op, Saved, Why};

/// Creates of this many sample people, as many as one write takes.
pub(super) fn batch(bench: &Bench, wanted: usize) -> Vec<Item> {
    let count = wanted.min(bench.manifest().write.batch);
    (1..=count).map(|n| creation(&format!("k{n}"), &marker(n), (bench.sample.person)(n))).collect()
}

/// The marker of the sample person of this number.
pub(super) fn marker(n: usize) -> String {
    format!("ls-conformance-1-{n:08x}")
}

fn settle_op(bench: &Bench, doubts: Vec<Doubt>) -> Op {
    Op::Settle { object: bench.sample.object.into(), marker_field: bench.manifest().write.marker_field.clone(), items: doubts }
}

/// Writes until each item is settled, as the daemon does: what is in doubt is settled after
/// `patience`, and written again only when it is said not to have happened.
pub(super) fn deliver(
    bench: &mut Bench,
    items: &[Item],
    saved: Option<&Saved>,
    patience: Millis,
) -> Verdict<BTreeMap<ItemKey, ItemResult>> {
    let mut done = BTreeMap::new();
    let mut saved = saved.cloned();
    for _ in 0..8 {
        let open: Vec<Item> = items.iter().filter(|item| !done.contains_key(item.key())).cloned().collect();
        if open.is_empty() {
            return Ok(done);
        }
        let (from, sent_at) = (bench.sent.len(), bench.now);
        let op = bench.write_op(open.clone());
        let ran = bench.run(&op, saved.take().as_ref())?;
        let open_still = |result: &ItemResult| matches!(result, ItemResult::InDoubt) || passing(result);
        done.extend(ran.items.iter().filter(|(_, result)| !open_still(result)).cloned());
        match &ran.end {
            Some(End::Failed(fault)) if !fault.passing => return fail(format!("passing trouble was taken for a lasting fault: {fault}")),
            Some(End::Config(status)) => return fail(format!("passing trouble was answered {status} and taken for a wrong set-up")),
            _ => {}
        }
        let wrote = bench.sent[from..].iter().any(|sent| sent.effect != Effect::Read);
        let refused: Vec<&ItemKey> = ran.items.iter().filter(|(_, result)| passing(result)).map(|(key, _)| key).collect();
        if !refused.is_empty() {
            bench.now += 30_000;
        }
        let unsure = |item: &&Item| wrote && !done.contains_key(item.key()) && !refused.contains(&item.key());
        let doubts = open.iter().filter(unsure).filter_map(|item| doubt(item, sent_at)).collect();
        settle(bench, doubts, patience, &mut done)?;
    }
    fail(format!("{} of {} items were never settled", items.len() - done.len(), items.len()))
}

/// What a daemon does that finds an intent and remembers nothing of what became of it: it settles
/// the creates after the settle time, then writes what did not happen.
pub(super) fn recover(bench: &mut Bench, items: &[Item], patience: Millis) -> Verdict<BTreeMap<ItemKey, ItemResult>> {
    let sent_at = bench.now;
    let doubts = items.iter().filter_map(|item| doubt(item, sent_at)).collect();
    let mut done = BTreeMap::new();
    settle(bench, doubts, patience, &mut done)?;
    let open: Vec<Item> = items.iter().filter(|item| !done.contains_key(item.key())).cloned().collect();
    done.extend(deliver(bench, &open, None, patience)?);
    Ok(done)
}

/// Refused, but the same write may succeed later.
fn passing(result: &ItemResult) -> bool {
    matches!(result, ItemResult::Refused(fault) if fault.passing)
}

fn doubt(item: &Item, sent_at: Millis) -> Option<Doubt> {
    match item {
        Item::Create { key, marker, .. } => Some(Doubt { key: key.clone(), marker: marker.clone(), sent_at, known: None }),
        Item::Update { .. } => None,
    }
}

/// Settles until nothing is in doubt; what is there goes to `done`.
fn settle(bench: &mut Bench, mut doubts: Vec<Doubt>, patience: Millis, done: &mut BTreeMap<ItemKey, ItemResult>) -> Verdict {
    for look in 0..8 {
        if doubts.is_empty() {
            return Ok(());
        }
        // Answered that it is too early, we come back when it no longer can be.
        bench.now += if look == 0 { patience } else { bench.manifest().write.settle_after_ms };
        let ran = bench.run(&settle_op(bench, doubts.clone()), None)?;
        if let Some(End::Failed(fault)) = &ran.end {
            ensure(fault.passing, || format!("settling failed for good: {fault}"))?;
        }
        for (key, result) in ran.items {
            match result {
                ItemResult::InDoubt => {}
                ItemResult::Gone => doubts.retain(|doubt| doubt.key != key),
                settled => {
                    doubts.retain(|doubt| doubt.key != key);
                    done.insert(key, settled);
                }
            }
        }
    }
    fail("what is in doubt is never settled")
}

/// The same trouble before each request of a delivery in turn: it must end as without trouble.
fn at_every_request(setup: &Setup, style: Style, patience: Millis, trouble: &Trouble) -> Verdict {
    let mut bench = setup.bench()?;
    bench.person(77)?;
    let items = batch(&bench, 3);
    let total = items.len() + 1;
    let mut plain = bench.fork();
    let results = deliver(&mut plain, &items, None, patience)?;
    all_written(&results, items.len())?;
    let expected = plain.essence();
    let first = bench.sent.len();
    for at in first..plain.sent.len() {
        let mut hit = bench.fork();
        hit.style = style;
        hit.trap = Some((at, trouble.clone()));
        let here = |why: String| format!("{trouble:?} before request {} of {}: {why}", at - first + 1, plain.sent.len() - first);
        let named = |miss: super::Miss| super::Miss::Failed(here(miss.to_string()));
        let results = deliver(&mut hit, &items, None, patience).map_err(named)?;
        all_written(&results, items.len()).map_err(named)?;
        hit.let_settle().map_err(named)?;
        for n in 1..=items.len() {
            hit.exactly_one(&marker(n), total).map_err(named)?;
        }
        for item in &items {
            right_id(&hit, item, &results).map_err(named)?;
        }
        let found = hit.essence();
        ensure(found == expected, || here("the records are not as without trouble".into()))?;
    }
    Ok(())
}

pub(super) fn all_written(results: &BTreeMap<ItemKey, ItemResult>, count: usize) -> Verdict {
    let written = results.values().filter(|result| matches!(result, ItemResult::Written { .. })).count();
    ensure(written == count, || {
        format!("{written} of {count} creates were written: {:?}", results.values().find(|r| !matches!(r, ItemResult::Written { .. })))
    })
}

/// The id said for an item is that of the record that carries its marker.
fn right_id(bench: &Bench, item: &Item, results: &BTreeMap<ItemKey, ItemResult>) -> Verdict {
    let (Item::Create { key, marker, .. }, field) = (item, &bench.manifest().write.marker_field) else { return Ok(()) };
    let Some(ItemResult::Written { id, .. }) = results.get(key) else { return Ok(()) };
    let carries = bench.record(id).is_some_and(|record| record.fields.get(field).and_then(|v| v.as_str()) == Some(marker));
    ensure(carries, || format!("the id said for {key} is not that of the record with its marker"))
}

const SOON: Millis = 1_000;

fn patience(setup: &Setup) -> Millis {
    setup.manifest().write.settle_after_ms
}

fn late(setup: &Setup) -> Fault {
    Fault::CommitLate { count: 1, after_ms: setup.manifest().write.settle_after_ms / 2 }
}

/// After the settle time a late write has happened or never will. Settled sooner, a vendor without
/// a unique key cannot know: then it must say so.
fn late_settled_early(setup: &Setup) -> Verdict {
    if setup.manifest().write.safety != WriteSafety::UniqueKey {
        return not_applicable(format!(
            "the manifest has write.safety = {:?}: nothing is settled before write.settle_after_ms",
            setup.manifest().write.safety
        ));
    }
    at_every_request(setup, Style::NoResend, SOON, &Trouble::Vendor(late(setup)))
}

fn answers_in_any_order(setup: &Setup) -> Verdict {
    let mut bench = setup.bench()?;
    bench.style = Style::LastFirst;
    let items = batch(&bench, 3);
    let results = deliver(&mut bench, &items, None, patience(setup))?;
    all_written(&results, items.len())?;
    for (n, item) in items.iter().enumerate() {
        bench.exactly_one(&marker(n + 1), items.len())?;
        right_id(&bench, item, &results)?;
    }
    Ok(())
}

/// Every keyed write reaches the vendor twice.
fn keyed_twice(setup: &Setup) -> Verdict {
    let mut bench = setup.bench()?;
    bench.style = Style::KeyedTwice;
    let items = batch(&bench, 3);
    let results = deliver(&mut bench, &items, None, patience(setup))?;
    all_written(&results, items.len())?;
    for n in 1..=items.len() {
        bench.exactly_one(&marker(n), items.len())?;
    }
    let Some(ItemResult::Written { id, .. }) = results.get("k1") else { return fail("the first create was not written") };
    let (field, value) = setup.sample.change;
    let updated = bench.update(id, field, value.into())?;
    ensure(matches!(updated, ItemResult::Written { .. }), || format!("an update that was sent twice ended in {updated:?}"))?;
    if bench.sent.iter().any(|sent| matches!(sent.effect, Effect::Keyed(_))) {
        Ok(())
    } else {
        not_applicable("no write of this connector is keyed")
    }
}

fn settle_never_sent(setup: &Setup) -> Verdict {
    let mut bench = setup.bench()?;
    bench.person(1)?;
    let mut done = BTreeMap::new();
    let doubt = Doubt { key: "d".into(), marker: marker(1), sent_at: bench.now, known: None };
    settle(&mut bench, vec![doubt], patience(setup), &mut done)?;
    ensure(done.is_empty(), || format!("a write that was never sent is settled as {:?}", done.values().next()))
}

fn settle_batch(setup: &Setup) -> Verdict {
    let mut bench = setup.bench()?;
    let id = bench.create(1, &marker(1))?;
    let sent_at = bench.now;
    let doubts: Vec<Doubt> = [1, 2].map(|n| Doubt { key: format!("d{n}"), marker: marker(n), sent_at, known: None }).into();
    bench.sandbox.inject(Fault::IndexLag { ms: 3_600_000 });
    let mut done = BTreeMap::new();
    settle(&mut bench, doubts, patience(setup), &mut done)?;
    match (done.get("d1"), done.get("d2")) {
        (Some(ItemResult::Written { id: found, .. }), None) => ensure(*found == id, || "another record was found for the marker".into()),
        other => fail(format!("one that happened and one that did not were settled as {other:?}")),
    }
}

/// A record that we created is found by its marker while the search index does not know it yet.
fn settle_past_the_index(setup: &Setup) -> Verdict {
    let mut bench = setup.bench()?;
    bench.sandbox.inject(Fault::IndexLag { ms: 86_400_000 });
    let id = bench.create(1, &marker(1))?;
    let doubt = Doubt { key: "d".into(), marker: marker(1), sent_at: bench.now, known: None };
    let mut done = BTreeMap::new();
    settle(&mut bench, vec![doubt], SOON, &mut done)?;
    match done.get("d") {
        Some(ItemResult::Written { id: found, .. }) if *found == id => Ok(()),
        other => fail(format!("a create that happened is settled as {other:?}: the look relies on the search index")),
    }
}

fn same_marker_twice(setup: &Setup) -> Verdict {
    let mut bench = setup.bench()?;
    let first = bench.create(1, &marker(1))?;
    bench.now += 60_000;
    let again = bench.create(1, &marker(1))?;
    ensure(first == again, || "the same marker was answered with two ids".into())?;
    bench.exactly_one(&marker(1), 1)
}

/// Two writes of one marker, step by step side by side.
fn same_marker_at_once(setup: &Setup) -> Verdict {
    if setup.manifest().write.safety != WriteSafety::UniqueKey {
        return not_applicable(format!(
            "the manifest has write.safety = {:?}: two at once are the daemon's to prevent",
            setup.manifest().write.safety
        ));
    }
    for head_start in 0..6 {
        let mut bench = setup.bench()?;
        let op = bench.write_op(batch(&bench, 1));
        let mut both = [bench.start(&op, None)?, bench.start(&op, None)?];
        for _ in 0..head_start {
            if both[0].ran.end.is_none() {
                both[0].advance(&mut bench)?;
            }
        }
        while both.iter().any(|talk| talk.ran.end.is_none()) {
            for talk in &mut both {
                if talk.ran.end.is_none() {
                    talk.advance(&mut bench)?;
                }
            }
        }
        bench.exactly_one(&marker(1), 1)?;
        for talk in &both {
            let written = matches!(talk.ran.items.first(), Some((_, ItemResult::Written { .. })));
            ensure(written, || format!("one of two equal creates ended in {:?}", talk.ran.items.first()))?;
        }
    }
    Ok(())
}

/// Updates are repeated after trouble and end as without.
fn update_through_trouble(setup: &Setup) -> Verdict {
    let mut bench = setup.bench()?;
    let id = bench.create(1, &marker(1))?;
    let (field, value) = setup.sample.change;
    for fault in [Fault::DropAfterCommit { count: 1 }, Fault::Status { status: 502, count: 1 }, Fault::Truncate, Fault::ExpireAccessTokens]
    {
        let mut hit = bench.fork();
        hit.sandbox.inject(fault.clone());
        let item = Item::Update { key: "u".into(), id: id.clone(), fields: [(field.to_owned(), value.into())].into() };
        let results = deliver(&mut hit, &[item], None, SOON)?;
        ensure(matches!(results.get("u"), Some(ItemResult::Written { .. })), || {
            format!("{fault:?}: the update ended in {:?}", results.get("u"))
        })?;
        let held = hit.record(&id).and_then(|record| record.fields.get(field).cloned());
        ensure(held == Some(value.into()), || format!("{fault:?}: the record does not hold the new value"))?;
        hit.exactly_one(&marker(1), 1)?;
    }
    Ok(())
}

pub(super) const CASES: &[Case] = &[
    ("deliver: undisturbed", |setup| {
        at_every_request(setup, Style::Resend, patience(setup), &Trouble::Vendor(Fault::IndexLag { ms: 60_000 }))
    }),
    ("deliver: answer lost, sent again", |setup| {
        at_every_request(setup, Style::Resend, patience(setup), &Trouble::Vendor(Fault::DropAfterCommit { count: 1 }))
    }),
    ("deliver: answer lost, settled", |setup| {
        at_every_request(setup, Style::NoResend, patience(setup), &Trouble::Vendor(Fault::DropAfterCommit { count: 1 }))
    }),
    ("deliver: late commit, sent again", |setup| at_every_request(setup, Style::Resend, patience(setup), &Trouble::Vendor(late(setup)))),
    ("deliver: late commit, settled", |setup| at_every_request(setup, Style::NoResend, patience(setup), &Trouble::Vendor(late(setup)))),
    ("deliver: late commit, settled early", late_settled_early),
    ("deliver: server errors", |setup| {
        at_every_request(setup, Style::Resend, patience(setup), &Trouble::Vendor(Fault::Status { status: 503, count: 2 }))
    }),
    ("deliver: server errors, settled", |setup| {
        at_every_request(setup, Style::NoResend, patience(setup), &Trouble::Vendor(Fault::Status { status: 500, count: 1 }))
    }),
    ("deliver: cut answer", |setup| at_every_request(setup, Style::Resend, patience(setup), &Trouble::Vendor(Fault::Truncate))),
    ("deliver: token expires", |setup| {
        at_every_request(setup, Style::Resend, patience(setup), &Trouble::Vendor(Fault::ExpireAccessTokens))
    }),
    ("deliver: throttled", |setup| {
        at_every_request(setup, Style::Resend, patience(setup), &Trouble::Vendor(Fault::Throttle { count: 8, retry_after: None }))
    }),
    ("deliver: unreachable", |setup| at_every_request(setup, Style::Resend, patience(setup), &Trouble::NotSent(Why::Unreachable))),
    ("deliver: deadline passed", |setup| at_every_request(setup, Style::Resend, patience(setup), &Trouble::NotSent(Why::DeadlinePassed))),
    ("deliver: answers in any order", answers_in_any_order),
    ("deliver: keyed writes sent twice", keyed_twice),
    ("deliver: same marker twice", same_marker_twice),
    ("deliver: same marker at once", same_marker_at_once),
    ("deliver: updates through trouble", update_through_trouble),
    ("settle: never sent", settle_never_sent),
    ("settle: one did, one did not", settle_batch),
    ("settle: past the index", settle_past_the_index),
];
