//! What a write does to records that are there, gone, merged or somebody else's.

use serde_json::Value;

use super::bench::{Bench, Setup, creation};
use super::delivery::{batch, marker};
use super::{Case, Verdict, ensure, fail, not_applicable};
use crate::sdk::{Act, Fields, Item, ItemResult, Made, Op, Output};

fn create(setup: &Setup) -> Verdict {
    let mut bench = setup.bench()?;
    let results = bench.write(batch(&bench, 1))?;
    let Some(ItemResult::Written { id, made, shadow }) = results.get("k1") else {
        return fail(format!("a create ended in {:?}", results.get("k1")));
    };
    ensure(*made != Made::Adopted, || "a record that we made is said to have been there before us".into())?;
    let Some(record) = bench.record(id) else { return fail("the id said to be written is no record's") };
    for (name, value) in (setup.sample.person)(1) {
        ensure(record.fields.get(&name) == Some(&value), || {
            format!("`{name}` is {:?} where {value} was written", record.fields.get(&name))
        })?;
    }
    let names: Vec<String> = shadow.keys().cloned().collect();
    let read = bench.fetch_fields(std::slice::from_ref(id), names)?;
    ensure(read.first().is_some_and(|read| shadow.iter().all(|(name, value)| read.fields.get(name) == Some(value))), || {
        "what is said to be held of the fields that we wrote is not what a read answers: our own write would look like a change".into()
    })?;
    ensure(record.made_by_api, || "the sandbox does not know that the API made it".into())?;
    bench.exactly_one(&marker(1), 1)
}

fn blank(value: Option<&Value>) -> bool {
    matches!(value, None | Some(Value::Null)) || value.and_then(Value::as_str) == Some("")
}

fn update(setup: &Setup) -> Verdict {
    let mut bench = setup.bench()?;
    let id = bench.create(1, &marker(1))?;
    let (field, value) = setup.sample.clear;
    let set = bench.update(&id, field, value.into())?;
    ensure(matches!(&set, ItemResult::Written { id: same, .. } if *same == id), || format!("setting a field ended in {set:?}"))?;
    let held = bench.record(&id).and_then(|record| record.fields.get(field).cloned());
    ensure(held == Some(value.into()), || format!("`{field}` is {held:?} where \"{value}\" was written"))?;
    let before = bench.record(&id).map(|record| record.fields.len());
    let cleared = bench.update(&id, field, Value::Null)?;
    ensure(matches!(cleared, ItemResult::Written { .. }), || format!("clearing a field ended in {cleared:?}"))?;
    let Some(record) = bench.record(&id) else { return fail("the record is gone after an update") };
    ensure(blank(record.fields.get(field)), || format!("`{field}` is {:?} where null was written", record.fields.get(field)))?;
    ensure(before.is_some_and(|count| record.fields.len() + 1 >= count), || "an update took other fields away".into())?;
    for (name, value) in (setup.sample.person)(1) {
        ensure(record.fields.get(&name) == Some(&value), || format!("an update of another field changed `{name}`"))?;
    }
    bench.exactly_one(&marker(1), 1)
}

fn partial_failure(setup: &Setup) -> Verdict {
    let mut bench = setup.bench()?;
    if setup.manifest().write.batch < 3 {
        let refused = bench.write(vec![creation("bad", &marker(2), (setup.sample.invalid)(2))])?;
        refused_well(refused.get("bad"))?;
        ensure(bench.records().is_empty(), || "an invalid record was made".into())?;
        return not_applicable(format!(
            "the manifest has write.batch = {}: an invalid item has no neighbours",
            setup.manifest().write.batch
        ));
    }
    let items = vec![
        creation("good1", &marker(1), (setup.sample.person)(1)),
        creation("bad", &marker(2), (setup.sample.invalid)(2)),
        creation("good2", &marker(3), (setup.sample.person)(3)),
    ];
    let results = bench.write(items)?;
    refused_well(results.get("bad"))?;
    for key in ["good1", "good2"] {
        let written = matches!(results.get(key), Some(ItemResult::Written { .. }));
        ensure(written, || format!("an invalid neighbour sank {key}: {:?}", results.get(key)))?;
    }
    bench.exactly_one(&marker(1), 2)?;
    bench.exactly_one(&marker(3), 2)
}

fn refused_well(result: Option<&ItemResult>) -> Verdict {
    match result {
        Some(ItemResult::Refused(fault)) => {
            ensure(!fault.code.is_empty(), || "refused without a code".into())?;
            ensure(!fault.passing, || format!("{} is said to be passing: it would be sent for ever", fault.code))
        }
        other => fail(format!("an invalid record ended in {other:?}")),
    }
}

/// One invalid update among good ones.
fn partial_update(setup: &Setup) -> Verdict {
    if setup.manifest().write.batch < 3 {
        return not_applicable(format!("the manifest has write.batch = {}: an item has no neighbours", setup.manifest().write.batch));
    }
    let mut bench = setup.bench()?;
    let (field, value) = setup.sample.change;
    let ids = [bench.create(1, &marker(1))?, setup.sample.missing_id.to_owned(), bench.create(2, &marker(2))?];
    let change = |(n, id): (usize, &String)| Item::Update {
        key: format!("u{n}"),
        id: id.clone(),
        fields: Fields::from([(field.to_owned(), value.into())]),
    };
    let mut items: Vec<Item> = ids.iter().enumerate().map(change).collect();
    items.push(creation("new", &marker(3), (setup.sample.person)(3)));
    let results = bench.write(items.into_iter().take(setup.manifest().write.batch).collect())?;
    for key in ["u0", "u2"] {
        ensure(matches!(results.get(key), Some(ItemResult::Written { .. })), || {
            format!("a missing neighbour sank {key}: {:?}", results.get(key))
        })?;
    }
    ensure(results.get("u1") == Some(&ItemResult::Gone), || format!("an update of an id that never was ended in {:?}", results.get("u1")))?;
    let created = matches!(results.get("new"), Some(ItemResult::Written { .. }) | None);
    ensure(created, || format!("a create beside updates ended in {:?}", results.get("new")))
}

fn full_batch(setup: &Setup) -> Verdict {
    let mut bench = setup.bench()?;
    let count = setup.manifest().write.batch;
    let items = batch(&bench, count);
    let results = bench.write(items)?;
    super::delivery::all_written(&results, count)?;
    for n in [1, count] {
        bench.exactly_one(&marker(n), count)?;
    }
    Ok(())
}

/// A record of the same e-mail address that is not ours is not touched.
fn foreign_email(setup: &Setup) -> Verdict {
    let mut bench = setup.bench()?;
    let foreign = bench.person(1)?;
    let before = bench.record(&foreign).map(|record| record.fields);
    bench.now += 120_000;
    let mut fields = (setup.sample.person)(1);
    fields.insert(setup.sample.change.0.into(), setup.sample.change.1.into());
    let mut results = bench.write(vec![creation("c", &marker(1), fields)])?;
    match results.remove("c") {
        Some(ItemResult::Exists(id)) => {
            ensure(id == foreign, || format!("the record said to exist is {id}, not the one with the address"))?;
            ensure(bench.records().len() == 1, || "a second record was made although one is said to exist".into())?;
        }
        Some(ItemResult::Written { id, made, .. }) => {
            ensure(id != foreign, || "somebody else's record was written over".into())?;
            ensure(made != Made::Adopted, || "our new record is said to have been there before us".into())?;
        }
        other => return fail(format!("a create of a known address ended in {other:?}")),
    }
    let after = bench.record(&foreign).map(|record| record.fields);
    ensure(before == after, || "somebody else's record was changed".into())
}

/// The same address twice in one batch fails neither the batch nor both.
fn same_email_in_batch(setup: &Setup) -> Verdict {
    if setup.manifest().write.batch < 3 {
        return not_applicable(format!("the manifest has write.batch = {}: an item has no neighbours", setup.manifest().write.batch));
    }
    let mut bench = setup.bench()?;
    let items = vec![
        creation("a", &marker(1), (setup.sample.person)(1)),
        creation("b", &marker(2), (setup.sample.person)(1)),
        creation("c", &marker(3), (setup.sample.person)(3)),
    ];
    let results = bench.write(items)?;
    ensure(matches!(results.get("c"), Some(ItemResult::Written { .. })), || {
        format!("a repeated address sank its neighbour: {:?}", results.get("c"))
    })?;
    let written = ["a", "b"].iter().filter(|key| matches!(results.get(**key), Some(ItemResult::Written { .. }))).count();
    ensure(written >= 1, || format!("of two with one address neither was written: {:?} and {:?}", results.get("a"), results.get("b")))
}

/// Fails unless the update ended as allowed and made nothing.
fn touched(bench: &mut Bench, id: &str, records: usize, allowed: impl Fn(&ItemResult) -> bool) -> Verdict {
    let (field, value) = bench.sample.change;
    let result = bench.update(id, field, value.into())?;
    ensure(allowed(&result), || format!("the update ended in {result:?}"))?;
    ensure(bench.records().len() == records, || format!("{} records after the update where there must be {records}", bench.records().len()))
}

fn update_deleted(setup: &Setup) -> Verdict {
    let mut bench = setup.bench()?;
    let id = bench.create(1, &marker(1))?;
    bench.now += 60_000;
    bench.delete_by_hand(&id)?;
    bench.now += 60_000;
    touched(&mut bench, &id, 0, |result| *result == ItemResult::Gone)
}

fn update_merged(setup: &Setup) -> Verdict {
    let mut bench = setup.bench()?;
    let (winner, loser) = (bench.person(2)?, bench.create(1, &marker(1))?);
    bench.now += 60_000;
    let survivor = bench.merge_by_hand(&winner, &loser)?;
    bench.now += 60_000;
    touched(&mut bench, &loser, 1, |result| *result == ItemResult::Gone || *result == ItemResult::Moved(survivor.clone()))
}

/// What a person turned into a deal may be closed to writing; then it says so, and for good.
fn update_converted(setup: &Setup) -> Verdict {
    let mut bench = setup.bench()?;
    let id = bench.create(1, &marker(1))?;
    bench.now += 60_000;
    let convert = Act::Convert { object: setup.sample.object.into(), id: id.clone(), fields: (setup.sample.follow.2)() };
    if let Err(why) = bench.sandbox.act(convert, bench.now) {
        return not_applicable(format!("records are not turned into others there: {why}"));
    }
    bench.now += 60_000;
    touched(&mut bench, &id, 1, |result| match result {
        ItemResult::Written { .. } => true,
        ItemResult::Refused(fault) => !fault.passing,
        _ => false,
    })
}

fn update_unknown(setup: &Setup) -> Verdict {
    let mut bench = setup.bench()?;
    let id = setup.sample.missing_id;
    touched(&mut bench, id, 0, |result| *result == ItemResult::Gone)
}

fn erase(setup: &Setup) -> Verdict {
    let mut bench = setup.bench()?;
    bench.person(2)?;
    let id = bench.create(1, &marker(1))?;
    bench.now += 60_000;
    let op = Op::Erase { object: setup.sample.object.into(), id: id.clone() };
    for again in [false, true] {
        let output = bench.finish(&op)?;
        ensure(output == Output::Done, || "an erasure did not end in done".into())?;
        ensure(bench.record(&id).is_none(), || format!("the record is still there{}", if again { " after a second time" } else { "" }))?;
        ensure(bench.records().len() == 1, || "another record was erased too".into())?;
        bench.now += 60_000;
    }
    Ok(())
}

pub(super) const CASES: &[Case] = &[
    ("write: create", create),
    ("write: update and clear", update),
    ("write: invalid among good", partial_failure),
    ("write: missing among good", partial_update),
    ("write: full batch", full_batch),
    ("write: address of a foreign record", foreign_email),
    ("write: one address twice in a batch", same_email_in_batch),
    ("write: update of a deleted record", update_deleted),
    ("write: update of a merged record", update_merged),
    ("write: update of a converted record", update_converted),
    ("write: update of an unknown id", update_unknown),
    ("erase: once and again", erase),
];
