//! Checking, describing, reading by id, finding and following.

use super::bench::{START, Setup, kind};
use super::samples::{DOMAIN, email};
use super::{Case, Verdict, ensure, fail, not_applicable};
use crate::sdk::manifest::WriteSafety;
use crate::sdk::record::{Moment, beside_record, history_of};
use crate::sdk::{Act, Fault, Finding, Op, Output, Record, State};

fn describe(setup: &Setup) -> Verdict {
    let mut bench = setup.bench()?;
    let fields = match bench.finish(&Op::Describe { object: setup.sample.object.into() })? {
        Output::Described(fields) => fields,
        other => return fail(format!("a describe must end in a description, not {}", kind(&other))),
    };
    let named = |name: &str| fields.iter().find(|field| field.name == name);
    for name in [setup.sample.email_field, setup.sample.change.0] {
        let Some(field) = named(name) else { return fail(format!("the field `{name}` is not described")) };
        ensure(field.writable, || format!("the field `{name}` is said not to be writable"))?;
    }
    let marker = &setup.manifest().write.marker_field;
    let Some(field) = named(marker) else { return fail(format!("the marker field `{marker}` is not described")) };
    let unique = setup.manifest().write.safety != WriteSafety::UniqueKey || field.unique;
    ensure(unique, || format!("the marker field `{marker}` is not said to be unique, though writing relies on it"))
}

fn findings(bench: &mut super::bench::Bench, marker_field: &str, field: &str) -> Verdict<Vec<Finding>> {
    // A mapping fills everything that the sample person has, so that nothing required is left out.
    let fields = (bench.sample.person)(1).into_keys().chain([field.to_owned()]).collect();
    let op = Op::Check { object: bench.sample.object.into(), marker_field: marker_field.into(), fields, writes: true };
    match bench.finish(&op)? {
        Output::Checked(findings) => Ok(findings),
        other => fail(format!("a check must end in findings, not {}", kind(&other))),
    }
}

fn check_good(setup: &Setup) -> Verdict {
    let mut bench = setup.bench()?;
    let marker = setup.manifest().write.marker_field.clone();
    let findings = findings(&mut bench, &marker, setup.sample.change.0)?;
    ensure(!findings.is_empty(), || "a check that looked at nothing".into())?;
    match findings.iter().find(|finding| !finding.ok) {
        None => Ok(()),
        Some(bad) => fail(format!("a prepared account is found wanting: {} {}", bad.code, bad.what)),
    }
}

fn mended(findings: &[Finding], missing: &str) -> Verdict {
    let Some(bad) = findings.iter().find(|finding| !finding.ok) else {
        return fail(format!("{missing} is missing and no finding says so"));
    };
    ensure(bad.fix.as_ref().is_some_and(|fix| fix.len() > 10), || format!("the finding `{}` does not say how to mend it", bad.code))
}

fn check_marker_missing(setup: &Setup) -> Verdict {
    let mut bench = setup.bench()?;
    let findings = findings(&mut bench, setup.sample.missing_field, setup.sample.change.0)?;
    mended(&findings, "the marker field")
}

fn check_field_missing(setup: &Setup) -> Verdict {
    let mut bench = setup.bench()?;
    let marker = setup.manifest().write.marker_field.clone();
    let findings = findings(&mut bench, &marker, setup.sample.missing_field)?;
    mended(&findings, "a mapped field")
}

fn check_marker_not_unique(setup: &Setup) -> Verdict {
    if setup.manifest().write.safety != WriteSafety::UniqueKey {
        return not_applicable(format!(
            "the manifest has write.safety = {:?}: writing does not rely on a unique field",
            setup.manifest().write.safety
        ));
    }
    let mut bench = setup.bare_bench();
    let marker = setup.manifest().write.marker_field.clone();
    let plain = Act::DefineField { object: setup.sample.object.into(), name: marker.clone(), unique: false, options: Vec::new() };
    if let Err(why) = bench.sandbox.act(plain, bench.now) {
        return not_applicable(format!("a field that is not unique cannot be made there: {why}"));
    }
    let findings = findings(&mut bench, &marker, setup.sample.change.0)?;
    mended(&findings, "the marker field's uniqueness")
}

fn the<'a>(records: &'a [Record], id: &str) -> Verdict<&'a Record> {
    let mut found = records.iter().filter(|record| record.id == id);
    match (found.next(), found.next()) {
        (Some(record), None) => Ok(record),
        (None, _) => fail(format!("the fetch says nothing of an id that it was asked for ({} records answered)", records.len())),
        _ => fail("the fetch answers one id twice"),
    }
}

fn fetch_live(setup: &Setup) -> Verdict {
    let mut bench = setup.bench()?;
    // Right after the change and under a slow index: a fetch must not read the search index.
    bench.sandbox.inject(Fault::IndexLag { ms: 3_600_000 });
    let (a, b) = (bench.person(1)?, bench.person(2)?);
    let records = bench.fetch(&[a.clone(), b])?;
    ensure(records.len() == 2, || format!("{} records for two ids", records.len()))?;
    let record = the(&records, &a)?;
    ensure(record.state == State::Live, || format!("a live record comes back as {:?}", record.state))?;
    ensure(record.object == setup.sample.object, || format!("the record is called a {}", record.object))?;
    let found = record.fields.get(setup.sample.email_field).and_then(|value| value.as_str());
    ensure(found == Some(email(1).as_str()), || "the e-mail field asked for is not as it was written".into())?;
    ensure(!record.version.is_empty() && record.modified_at.is_some(), || "a record without version or modification time".into())
}

fn fetch_missing(setup: &Setup) -> Verdict {
    let mut bench = setup.bench()?;
    let id = bench.person(1)?;
    let records = bench.fetch(&[setup.sample.missing_id.into(), id.clone()])?;
    let missing = the(&records, setup.sample.missing_id)?;
    ensure(missing.state == State::Deleted, || format!("an id that never was comes back as {:?}", missing.state))?;
    ensure(the(&records, &id)?.state == State::Live, || "the record beside a missing one is not live".into())
}

fn fetch_deleted(setup: &Setup) -> Verdict {
    let mut bench = setup.bench()?;
    let id = bench.person(1)?;
    bench.now += 5_000;
    bench.delete_by_hand(&id)?;
    bench.now += 5_000;
    let records = bench.fetch(std::slice::from_ref(&id))?;
    let record = the(&records, &id)?;
    ensure(record.state == State::Deleted, || format!("a deleted record comes back as {:?}", record.state))
}

fn fetch_merged(setup: &Setup) -> Verdict {
    let mut bench = setup.bench()?;
    let (winner, loser) = (bench.person(1)?, bench.person(2)?);
    bench.now += 5_000;
    let survivor = bench.merge_by_hand(&winner, &loser)?;
    bench.now += 5_000;
    let records = bench.fetch(std::slice::from_ref(&loser))?;
    let record = the(&records, &loser)?;
    ensure(record.state == State::Merged(survivor.clone()), || format!("a record merged into {survivor} comes back as {:?}", record.state))
}

/// A name that nothing stands behind is left out; a history, where kept, is a list of moments.
fn fetch_history(setup: &Setup) -> Verdict {
    let mut bench = setup.bench()?;
    let id = bench.person(1)?;
    let (field, value) = setup.sample.change;
    bench.now += 60_000;
    bench.change_by_hand(&id, field, value.into())?;
    bench.now += 60_000;
    let (history, nothing) = (history_of(field), beside_record("no_such_thing"));
    let op = Op::Fetch {
        object: setup.sample.object.into(),
        ids: vec![id.clone()],
        fields: vec![field.into(), history.clone(), nothing.clone()],
    };
    let records = match bench.finish(&op)? {
        Output::Records(records) => records,
        other => return fail(format!("a fetch must end in records, not {}", kind(&other))),
    };
    let record = the(&records, &id)?;
    ensure(record.fields.get(field) == Some(&value.into()), || format!("`{field}` is {:?}", record.fields.get(field)))?;
    ensure(!record.fields.contains_key(&nothing), || format!("`{nothing}`, behind which nothing stands, was answered"))?;
    let Some(moments) = record.fields.get(&history) else { return not_applicable("the connector leaves histories out") };
    let Ok(moments) = serde_json::from_value::<Vec<Moment>>(moments.clone()) else { return fail("the history is no list of moments") };
    ensure(moments.iter().any(|moment| moment.value == value && moment.at >= START), || "the history does not know the last change".into())
}

fn fetch_full_batch(setup: &Setup) -> Verdict {
    let mut bench = setup.bench()?;
    let count = setup.manifest().read.batch;
    let ids = (0..count).map(|n| bench.person(n)).collect::<Verdict<Vec<_>>>()?;
    let records = bench.fetch(&ids)?;
    ensure(records.len() == count, || format!("{} records for {count} ids", records.len()))?;
    ids.iter().try_for_each(|id| the(&records, id).map(drop))
}

fn find_with(setup: &Setup, address: &str) -> Verdict {
    let mut bench = setup.bench()?;
    bench.person(1)?;
    let mut fields = (setup.sample.person)(2);
    fields.insert(setup.sample.email_field.into(), address.into());
    let id = bench.create_by_hand(fields)?;
    bench.now += setup.manifest().poll.lag_ms + 60_000;
    let op = Op::Find {
        object: setup.sample.object.into(),
        field: setup.sample.email_field.into(),
        value: address.into(),
        fields: vec![setup.sample.email_field.into()],
    };
    match bench.finish(&op)? {
        Output::Records(records) if records.len() == 1 && records[0].id == id => Ok(()),
        Output::Records(records) => fail(format!("{} records found where one has the address", records.len())),
        other => fail(format!("a find must end in records, not {}", kind(&other))),
    }
}

fn find_odd(setup: &Setup) -> Verdict {
    // Characters that break out of query languages and URLs when they are not quoted.
    for name in ["o'brien+crm", "50%_off&x=1", "back`tick"] {
        find_with(setup, &format!("{name}{DOMAIN}")).map_err(|miss| match miss {
            super::Miss::Failed(why) => super::Miss::Failed(format!("{name}…: {why}")),
            other @ super::Miss::NotApplicable(_) => other,
        })?;
    }
    Ok(())
}

fn find_nothing(setup: &Setup) -> Verdict {
    let mut bench = setup.bench()?;
    bench.person(1)?;
    bench.now += setup.manifest().poll.lag_ms + 60_000;
    let op = Op::Find {
        object: setup.sample.object.into(),
        field: setup.sample.email_field.into(),
        value: format!("nobody{DOMAIN}"),
        fields: Vec::new(),
    };
    let output = bench.finish(&op)?;
    ensure(output == Output::Records(Vec::new()), || "something was found for an address that nobody has".into())
}

fn follow(setup: &Setup) -> Verdict {
    let mut bench = setup.bench()?;
    let id = bench.person(1)?;
    let (field, expected, made_with) = setup.sample.follow;
    bench.now += 5_000;
    let convert = Act::Convert { object: setup.sample.object.into(), id: id.clone(), fields: made_with() };
    if let Err(why) = bench.sandbox.act(convert, bench.now) {
        return not_applicable(format!("records are not turned into others there: {why}"));
    }
    bench.now += 5_000;
    let op = Op::Follow {
        object: setup.sample.object.into(),
        ids: vec![id.clone()],
        fields: vec![setup.sample.email_field.into(), field.into()],
    };
    let records = match bench.finish(&op)? {
        Output::Records(records) => records,
        other => return fail(format!("a follow must end in records, not {}", kind(&other))),
    };
    let record = the(&records, &id)?;
    let found = record.fields.get(field);
    ensure(found.and_then(|value| value.as_str()) == Some(expected), || {
        format!("`{field}` of what the record was turned into is {found:?}, not {expected}")
    })
}

fn follow_unturned(setup: &Setup) -> Verdict {
    let mut bench = setup.bench()?;
    let id = bench.person(1)?;
    let (field, ..) = setup.sample.follow;
    let op = Op::Follow {
        object: setup.sample.object.into(),
        ids: vec![id.clone(), setup.sample.missing_id.into()],
        fields: vec![field.into()],
    };
    match bench.finish(&op)? {
        Output::Records(records) => {
            ensure(the(&records, &id)?.state == State::Live, || "a live record that was not turned into anything is not live".into())?;
            ensure(the(&records, setup.sample.missing_id)?.state == State::Deleted, || {
                "an id that never was is not said to be deleted".into()
            })
        }
        other => fail(format!("a follow must end in records, not {}", kind(&other))),
    }
}

pub(super) const CASES: &[Case] = &[
    ("describe", describe),
    ("check: prepared account", check_good),
    ("check: marker field missing", check_marker_missing),
    ("check: mapped field missing", check_field_missing),
    ("check: marker field not unique", check_marker_not_unique),
    ("fetch: live, past the index", fetch_live),
    ("fetch: missing id", fetch_missing),
    ("fetch: deleted", fetch_deleted),
    ("fetch: merged", fetch_merged),
    ("fetch: full batch", fetch_full_batch),
    ("fetch: history", fetch_history),
    ("find: by e-mail", |setup| find_with(setup, &email(2))),
    ("find: odd characters", find_odd),
    ("find: nobody", find_nothing),
    ("follow: deal or opportunity", follow),
    ("follow: nothing became of it", follow_unturned),
];
