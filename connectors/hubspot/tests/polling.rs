//! Polling without gaps.

use std::collections::BTreeSet;

use super::{Outcome, START, World, fields};
use crate::sdk::{Act, Cursor, Fault, Millis, Op, Output, Record, Selection, State};

fn changes(cursor: Option<Cursor>, until: Millis) -> Op {
    selected(cursor, until, vec![])
}

fn selected(cursor: Option<Cursor>, until: Millis, selection: Selection) -> Op {
    Op::Changes { object: "contact".into(), cursor, from: START, until, fields: vec!["email".into()], selection }
}

fn rows(outcome: &Outcome) -> Vec<&Record> {
    outcome.pages.iter().flatten().collect()
}

fn ids(outcome: &Outcome) -> BTreeSet<String> {
    rows(outcome).iter().filter(|r| r.state == State::Live).map(|r| r.id.clone()).collect()
}

fn end(outcome: &Outcome) -> Cursor {
    match &outcome.end {
        Ok(Output::Cursor(cursor)) => cursor.clone(),
        other => panic!("the poll did not end: {other:?}"),
    }
}

/// Polls up to a minute ago, as the manifest says.
fn poll(world: &mut World, cursor: Option<Cursor>) -> Outcome {
    let until = world.now - 60_000;
    world.run(&changes(cursor, until))
}

/// Breaks when a page border or the overlap loses a row.
#[test]
fn every_change_is_seen() {
    let mut world = World::new();
    let mut all = BTreeSet::new();
    for i in 0..450 {
        world.now += 7;
        all.insert(world.person(&[("email", &format!("p{i}@example.com"))]));
    }
    world.now += 120_000;
    let first = poll(&mut world, None);
    assert_eq!(ids(&first), all);
    assert_eq!(rows(&first).len(), all.len(), "no row twice in one poll");
    assert_eq!(rows(&first)[0].fields.keys().collect::<Vec<_>>(), ["email"], "only what was asked for is handed over");
    let changed = all.iter().nth(77).cloned().unwrap_or_default();
    world.change(&changed, &[("firstname", "Later")]);
    world.now += 120_000;
    let second = poll(&mut world, Some(end(&first)));
    assert!(ids(&second).contains(&changed));
}

/// Breaks when a bulk change gives more rows one time than a page, or than a query, can hold.
#[test]
fn ten_thousand_rows_with_one_time_are_all_seen() {
    let mut world = World::new();
    let before = world.person(&[("email", "before@example.com")]);
    world.now += 1;
    let mut all: BTreeSet<String> = (0..10_250).map(|i| world.person(&[("email", &format!("p{i}@example.com"))])).collect();
    world.now += 1;
    all.insert(world.person(&[("email", "after@example.com")]));
    all.insert(before);
    world.now += 120_000;
    let outcome = poll(&mut world, None);
    assert_eq!(ids(&outcome), all);
    assert!(world.sent.iter().all(|(_, _, body)| body.get("after").is_none()), "pages go by key");
}

/// Breaks when a process that dies between pages loses or repeats work without end.
#[test]
fn a_poll_goes_on_from_its_last_page() {
    let mut world = World::new();
    let mut all = BTreeSet::new();
    for i in 0..900 {
        world.now += i64::from(i % 300 == 0);
        all.insert(world.person(&[("email", &format!("p{i}@example.com"))]));
    }
    world.now += 120_000;
    let (mut seen, mut cursor, mut opened) = (BTreeSet::new(), None, 0);
    loop {
        let until = world.now - 60_000;
        let outcome = world.run_until(&changes(cursor.clone(), until), 1);
        seen.extend(ids(&outcome));
        opened += 1;
        assert!(opened < 20, "the poll does not get on");
        cursor = outcome.cursors.last().cloned();
        if rows(&outcome).is_empty() {
            break;
        }
    }
    assert_eq!(seen, all);
}

/// Breaks when a poll that is taken up later moves its window's end, so that what search shows late before that is never read; or when
/// after hours the next window waits for another poll.
#[test]
fn a_window_keeps_its_end_when_it_is_taken_up_again() {
    for (later, windows) in [(100_000, 1), (3_600_000, 2)] {
        let mut world = World::new();
        for i in 0..450 {
            world.person(&[("email", &format!("p{i}@example.com"))]);
        }
        world.now += 1_000_000;
        let first = world.now - 60_000;
        let begun = world.run_until(&changes(None, first), 1);
        world.now += later;
        let second = world.now - 60_000;
        let from = world.sent.len();
        let rest = world.run(&changes(begun.cursors.last().cloned(), second));
        let bound = |operator: &str| -> Vec<Millis> {
            let filters = world.sent[from..].iter().filter_map(|(_, _, body)| body["filterGroups"][0]["filters"].as_array()).flatten();
            let values = filters.filter(|f| f["operator"] == operator).filter_map(|f| f["value"].as_str()?.parse().ok());
            values.collect::<BTreeSet<Millis>>().into_iter().collect()
        };
        assert_eq!(bound("LTE"), [first, second][..windows]);
        let end = if windows == 1 { first } else { second };
        assert!(windows == 1 || bound("GTE").contains(&(first - 300_000)), "the next window reaches back");
        let from = world.sent.len();
        world.run(&changes(Some(self::end(&rest)), second + 60_000));
        assert_eq!(world.sent[from].2["filterGroups"][0]["filters"][0]["value"], (end - 300_000).to_string());
    }
}

/// Breaks when rows that change while the poll runs shift others out of its pages.
#[test]
fn changes_during_the_poll_hide_nothing() {
    let mut world = World::new();
    let mut all = Vec::new();
    for i in 0..600 {
        world.now += 5;
        all.push(world.person(&[("email", &format!("p{i}@example.com"))]));
    }
    world.now += 120_000;
    let until = world.now - 60_000;
    let first = world.run_until(&changes(None, until), 1);
    for id in &all[..150] {
        world.change(id, &[("firstname", "Moved")]);
    }
    let rest = world.run(&changes(first.cursors.last().cloned(), until));
    let seen: BTreeSet<String> = ids(&first).union(&ids(&rest)).cloned().collect();
    assert_eq!(seen, all.into_iter().collect());
}

/// Breaks when deletions or merges only show in webhooks.
#[test]
fn deletions_and_merges_are_seen() {
    let mut world = World::new();
    let names: Vec<String> = (0..4).map(|i| world.person(&[("email", &format!("p{i}@example.com"))])).collect();
    world.now += 120_000;
    let first = poll(&mut world, None);
    world.act(Act::Delete { object: "contact".into(), id: names[0].clone() });
    let new = world.act(Act::Merge { object: "contact".into(), winner: names[1].clone(), loser: names[2].clone() });
    world.now += 120_000;
    let second = poll(&mut world, Some(end(&first)));
    let state = |id: &str| rows(&second).iter().find(|r| r.id == id).map(|r| r.state.clone());
    assert_eq!(state(&names[0]), Some(State::Deleted));
    assert_eq!(state(&names[1]), Some(State::Merged(new.clone())));
    assert_eq!(state(&names[2]), Some(State::Merged(new.clone())));
    assert_eq!(state(&new), Some(State::Live));
}

/// Breaks when a long list of archived records is read in full at each poll.
#[test]
fn a_long_list_of_archived_records_is_read_less_often() {
    let mut world = World::new();
    for i in 0..1_050 {
        let id = world.person(&[("email", &format!("p{i}@example.com"))]);
        world.act(Act::Delete { object: "contact".into(), id });
    }
    world.now += 120_000;
    let first = poll(&mut world, None);
    let lists = |world: &World| world.sent.iter().filter(|(_, path, _)| path.contains("archived=true")).count();
    assert_eq!(lists(&world), 11);
    world.now += 60_000;
    let second = poll(&mut world, Some(end(&first)));
    assert_eq!(lists(&world), 11, "not due yet");
    world.now += 660_000;
    poll(&mut world, Some(end(&second)));
    assert_eq!(lists(&world), 22);
}

/// Breaks when a list of archived records that was broken off is read from its first page again, however long it is; or when one whose
/// place is no longer known never comes to its end.
#[test]
fn a_list_of_archived_records_goes_on_where_it_was_broken_off() {
    for (place, lists) in [(None, 6), (Some("forgotten"), 12)] {
        let mut world = World::new();
        for i in 0..1_050 {
            let id = world.person(&[("email", &format!("p{i}@example.com"))]);
            world.act(Act::Delete { object: "contact".into(), id });
        }
        world.now += 120_000;
        let until = world.now - 60_000;
        // The window's one page, and five of the list.
        let begun = world.run_until(&changes(None, until), 6);
        let mut cursor = begun.cursors.last().cloned().unwrap();
        if let Some(place) = place {
            cursor.0["sweep"]["after"] = place.into();
        }
        let from = world.sent.len();
        let rest = world.run(&changes(Some(cursor), until));
        let gone: BTreeSet<&str> = rows(&begun).into_iter().chain(rows(&rest)).map(|r| r.id.as_str()).collect();
        assert_eq!(gone.len(), 1_050);
        assert_eq!(world.sent[from..].iter().filter(|(_, path, _)| path.contains("archived=true")).count(), lists);
        assert!(end(&rest).0.get("sweep").is_none());
    }
}

/// Breaks when a page without rows ends the poll though a next page is announced.
#[test]
fn an_empty_page_is_not_the_end() {
    let mut world = World::new();
    // Archived after the index was last brought up to date: they fill the first page unseen.
    let gone: Vec<String> = (0..200).map(|i| world.person(&[("email", &format!("g{i}@example.com"))])).collect();
    world.now += 5;
    let stays = world.person(&[("email", "stays@example.com")]);
    world.now += 120_000;
    for id in gone {
        world.act(Act::Delete { object: "contact".into(), id });
    }
    let outcome = poll(&mut world, None);
    assert!(ids(&outcome).contains(&stays));
}

/// Breaks when the selection is not pushed down, or misses for upper case.
#[test]
fn only_selected_records_are_read() {
    let mut world = World::new();
    let share = world.person(&[("email", "a@example.com"), ("country", "NL"), ("hs_lead_status", "NEW")]);
    world.person(&[("email", "b@example.com"), ("country", "US"), ("hs_lead_status", "NEW")]);
    world.person(&[("email", "c@example.com"), ("country", "NL"), ("hs_lead_status", "OPEN")]);
    world.now += 120_000;
    let until = world.now - 60_000;
    let selection = vec![("hs_lead_status".to_owned(), vec!["NEW".to_owned()]), ("country".to_owned(), vec!["NL".to_owned()])];
    let outcome = world.run(&selected(None, until, selection));
    assert!(ids(&outcome).contains(&share));
    assert!(ids(&outcome).len() <= 2, "what two filters leave room for is pushed down");
}

/// Breaks when rows that the index learns of late fall behind the cursor.
#[test]
fn late_rows_are_caught_by_the_overlap() {
    let mut world = World::new();
    world.sandbox.inject(Fault::CommitLag { ms: 150_000 });
    let mut cursor = None;
    let mut seen = BTreeSet::new();
    let mut all = BTreeSet::new();
    for i in 0..10 {
        all.insert(world.person(&[("email", &format!("p{i}@example.com"))]));
        world.now += 60_000;
        let outcome = poll(&mut world, cursor);
        seen.extend(ids(&outcome));
        cursor = Some(end(&outcome));
    }
    for _ in 0..4 {
        world.now += 60_000;
        let outcome = poll(&mut world, cursor);
        seen.extend(ids(&outcome));
        cursor = Some(end(&outcome));
    }
    assert_eq!(seen, all);
}

/// Breaks when an expired token or a throttled search ends the poll.
#[test]
fn an_expired_token_and_a_full_bucket_do_not_end_a_poll() {
    let mut world = World::new();
    for i in 0..2_500 {
        world.now += 3;
        world.person(&[("email", &format!("p{i}@example.com"))]);
    }
    world.now += 120_000;
    let until = world.now - 60_000;
    let first = world.run_until(&changes(None, until), 3);
    world.sandbox.inject(Fault::ExpireAccessTokens);
    world.sandbox.inject(Fault::Throttle { count: 2, retry_after: None });
    let rest = world.run(&changes(first.cursors.last().cloned(), until));
    let seen: BTreeSet<String> = ids(&first).union(&ids(&rest)).cloned().collect();
    assert_eq!(seen.len(), 2_500);
    assert!(world.sandbox.stats().throttled >= 2);
}

/// Breaks when companies or deals are polled by the contacts' property.
#[test]
fn other_objects_have_their_own_time_property() {
    let mut world = World::new();
    let deal = world.act(Act::Create { object: "deal".into(), fields: fields(&[("dealname", "Big")]) });
    world.now += 120_000;
    let until = world.now - 60_000;
    let op = Op::Changes { object: "deal".into(), cursor: None, from: START, until, fields: vec![], selection: vec![] };
    assert_eq!(ids(&world.run(&op)), [deal].into());
}

/// Breaks when a cursor of another form is taken for one of ours.
#[test]
fn a_foreign_cursor_is_refused() {
    let world = World::new();
    let op = changes(Some(Cursor(serde_json::json!({ "v": 9 }))), world.now);
    let fault = crate::sdk::Connector::open(&world.connector, &op, &world.account, None).err().expect("refused");
    assert_eq!((fault.code.as_str(), fault.passing), ("bad_saved_state", false));
}
