//! The connector against the simulator.

use serde_json::json;

use super::{MARKER, NOW, World, account, create, fields, id_of, open, run, update};
use crate::{
    salesforce::Salesforce,
    sdk::{Act, Action, Connector, Doubt, Fault, Fields, Heard, Item, ItemResult, Made, Op, Output, Response, Sandbox, State, Step, Why},
};

// Breaks when a repeated create makes a second record, alone or in a batch.
#[test]
fn a_repeated_create_finds_the_first_record() {
    let mut world = World::new();
    let first = world.write(vec![create("a", "m-1", json!({ "Email": "a@example.com" }))]);
    let second =
        world.write(vec![create("a", "m-1", json!({ "Email": "a@example.com" })), create("b", "m-2", json!({ "Email": "b@example.com" }))]);
    assert_eq!(id_of(&first.items["a"]), id_of(&second.items["a"]));
    assert_eq!(world.sandbox.records("Lead").len(), 2);
}

// Breaks when the record that the vendor already has is not named to the operator.
#[test]
fn a_duplicate_is_named_alone_and_in_a_batch() {
    let mut world = World::new();
    let there = world.lead(json!({ "Email": "jo@example.com" }));
    let alone = world.write(vec![create("a", "m-1", json!({ "Email": "jo@example.com" }))]);
    assert_eq!(alone.items["a"], ItemResult::Exists(there.clone()));
    let batch = world.write(vec![create("a", "m-1", json!({ "Email": "jo@example.com" })), create("b", "m-2", json!({}))]);
    assert_eq!(batch.items["a"], ItemResult::Exists(there));
    assert!(matches!(batch.items["b"], ItemResult::Written { .. }));
}

// Breaks when an update makes, loses or misplaces a record that was deleted or merged there.
#[test]
fn updates_follow_merges_and_report_deletions() {
    let mut world = World::new();
    let (winner, loser, gone, live) = (world.lead(json!({})), world.lead(json!({})), world.lead(json!({})), world.lead(json!({})));
    world.act(Act::Merge { object: "Lead".into(), winner: winner.clone(), loser: loser.clone() });
    world.act(Act::Delete { object: "Lead".into(), id: gone.clone() });
    let values = || json!({ "Rating": "Hot" });
    let said = world.write(vec![
        update("moved", &loser, values()),
        update("gone", &gone, values()),
        update("never", "00Q000000000000AAA", values()),
        update("live", &live, values()),
    ]);
    assert_eq!(said.items["moved"], ItemResult::Moved(winner));
    assert_eq!(said.items["gone"], ItemResult::Gone);
    assert_eq!(said.items["never"], ItemResult::Gone);
    assert_eq!(id_of(&said.items["live"]), live);
    assert_eq!(world.sandbox.records("Lead").len(), 2);
}

// Breaks when one item with a field that does not exist takes the whole batch down.
#[test]
fn one_bad_item_does_not_spoil_the_others() {
    let mut world = World::new();
    let bad_name = create("name", "m-1", json!({ "Nope__c": 1 }));
    let bad_type = create("type", "m-2", json!({ "NumberOfEmployees": "many" }));
    let missing = Item::Create { key: "missing".into(), marker: "m-3".into(), fields: fields(json!({ "LastName": "X" })) };
    let said = world.write(vec![bad_name, bad_type, missing, create("good", "m-4", json!({}))]);
    let fault = |key: &str| match &said.items[key] {
        ItemResult::Refused(fault) => fault.clone(),
        other => panic!("{other:?}"),
    };
    assert_eq!((fault("name").code.as_str(), fault("name").config), ("INVALID_FIELD", true));
    assert_eq!(fault("type").code, "JSON_PARSER_ERROR");
    assert_eq!((fault("missing").code.as_str(), fault("missing").fields), ("REQUIRED_FIELD_MISSING", vec!["Company".into()]));
    assert!(matches!(said.items["good"], ItemResult::Written { .. }));
}

// Breaks when a create whose answer was lost is taken as not done, or is done twice.
#[test]
fn a_create_of_unknown_outcome_settles() {
    let mut world = World::new();
    world.sandbox.inject(Fault::DropAfterCommit { count: 1 });
    let lost = world.write(vec![create("a", "m-1", json!({})), create("b", "m-2", json!({}))]);
    assert_eq!(lost.items["a"], ItemResult::InDoubt);
    let doubt = |key: &str, marker: &str| Doubt { key: key.into(), marker: marker.into(), sent_at: NOW, known: None };
    let items = vec![doubt("a", "M-1"), doubt("never", "m-4")];
    let said = world.run(&Op::Settle { object: "Lead".into(), marker_field: MARKER.into(), items });
    assert!(matches!(&said.items["a"], ItemResult::Written { made: Made::Created, .. }));
    assert_eq!(said.items["never"], ItemResult::Gone);
}

// Breaks when a lead of an earlier life of the same marker is taken for the create in doubt.
#[test]
fn a_deleted_record_of_earlier_does_not_settle_a_new_create() {
    let mut world = World::new();
    let said = world.write(vec![create("a", "m-1", json!({}))]);
    let id = id_of(&said.items["a"]).to_owned();
    world.act(Act::Delete { object: "Lead".into(), id: id.clone() });
    let settle = |sent_at| Op::Settle {
        object: "Lead".into(),
        marker_field: MARKER.into(),
        items: vec![Doubt { key: "a".into(), marker: "m-1".into(), sent_at, known: None }],
    };
    assert_eq!(id_of(&world.run(&settle(NOW)).items["a"]), id, "it was written, whatever a person did then");
    world.now += 86_400_000;
    world.token = world.sandbox.token(world.now);
    assert_eq!(world.run(&settle(world.now - 700_000)).items["a"], ItemResult::Gone);
}

// Breaks when polling loses a record at a page's edge, at an equal stamp, or by a late commit.
#[test]
fn polling_has_no_gaps() {
    let mut world = World::new();
    for n in 0..4_500 {
        world.lead(json!({ "Email": format!("p{n}@example.com") }));
        world.now += i64::from(n % 1_000 == 0) * 1_000;
    }
    world.now += 10_000;
    let said = world.changes(None);
    assert_eq!(said.pages.iter().map(|(records, _)| records.len()).collect::<Vec<_>>(), [2_000, 2_000, 500]);
    let ids: std::collections::BTreeSet<_> = said.all().into_iter().map(|r| r.id.clone()).collect();
    assert_eq!(ids.len(), 4_500);

    world.sandbox.inject(Fault::CommitLag { ms: 60_000 });
    let hidden = world.lead(json!({ "Email": "late@example.com" }));
    world.now += 30_000;
    let before = world.changes(Some(said.cursor()));
    assert!(before.all().iter().all(|r| r.id != hidden));
    world.now += 300_000;
    let after = world.changes(Some(before.cursor()));
    assert!(after.all().iter().any(|r| r.id == hidden));
}

// Breaks when a poll that was cut after any page loses or repeats more than its overlap.
#[test]
fn a_poll_cut_after_a_page_goes_on_from_its_cursor() {
    let mut world = World::new();
    for n in 0..2_500 {
        world.lead(json!({ "Email": format!("p{n}@example.com") }));
    }
    world.now += 3_600_000;
    world.token = world.sandbox.token(world.now);
    let said = world.changes(None);
    let (first, cursor) = said.pages[0].clone();
    let rest = world.changes(Some(cursor));
    assert_eq!(rest.all().len(), 500);
    assert!(rest.all().iter().all(|r| first.iter().all(|f| f.id != r.id)));
}

// Breaks when a poll that is taken up later skips what is new since, or reads what is young again and again.
#[test]
fn a_poll_taken_up_again_ends_its_window_first() {
    for (later, at_once) in [(60_000, false), (3_600_000, true)] {
        let mut world = World::new();
        for n in 0..2_500 {
            world.lead(json!({ "Email": format!("p{n}@example.com") }));
        }
        world.now += 10_000;
        let (_, cursor) = world.changes(None).pages[0].clone();
        world.now += later;
        world.token = world.sandbox.token(world.now);
        let new = world.lead(json!({ "Email": "new@example.com" }));
        world.now += 10_000;
        let rest = world.changes(Some(cursor));
        let found = |said: &super::Said| said.all().iter().any(|r| r.id == new);
        assert_eq!(found(&rest), at_once);
        assert!(at_once || rest.all().len() == 500);
        assert!(at_once || found(&world.changes(Some(rest.cursor()))));
    }
}

// Breaks when a row that changes before its page is read takes the poll behind rows that were not read.
#[test]
fn a_row_that_moves_while_it_waits_for_its_page_skips_nobody() {
    let mut world = World::new();
    for n in 0..4_500 {
        world.lead(json!({ "Email": format!("p{n}@example.com") }));
    }
    world.now += 3_600_000;
    world.token = world.sandbox.token(world.now);
    let last = world.changes(None).pages[1].0[1_999].id.clone();
    let op = Op::Changes { object: "Lead".into(), cursor: None, from: NOW, until: world.now, fields: vec![], selection: vec![] };
    let mut calls = 0;
    let said = run(open(&op), |ask| {
        calls += 1;
        if calls == 2 {
            world.now += 60_000;
            let changed = fields(json!({ "Rating": "Hot" }));
            world.act(Act::Update { object: "Lead".into(), id: last.clone(), fields: changed });
        }
        world.send(ask)
    });
    let (_, cursor) = said.pages[1].clone();
    world.token = world.sandbox.token(world.now);
    let rest = world.changes(Some(cursor));
    let seen: std::collections::BTreeSet<String> =
        said.pages[..2].iter().flat_map(|(records, _)| records).chain(rest.all()).map(|r| r.id.clone()).collect();
    assert_eq!(seen.len(), 4_500);
}

// Breaks when the vendor's forgetting of a result ends a poll instead of going on behind the last row.
#[test]
fn a_lost_place_in_a_result_is_found_again() {
    let mut world = World::new();
    for n in 0..2_500 {
        world.lead(json!({ "Email": format!("p{n}@example.com") }));
    }
    world.now += 10_000;
    let op = Op::Changes { object: "Lead".into(), cursor: None, from: NOW, until: world.now, fields: vec![], selection: vec![] };
    let mut calls = 0;
    let said = run(open(&op), |ask| {
        calls += 1;
        if calls == 2 {
            world.now += 3 * 86_400_000;
            world.token = world.sandbox.token(world.now);
        }
        world.send(ask)
    });
    assert_eq!(said.all().len(), 2_500);
    assert_eq!(calls, 3);
}

// Breaks when deleted and merged leads are not seen by a poll or by a read.
#[test]
fn deletions_and_merges_are_seen() {
    let mut world = World::new();
    let (winner, loser, gone) = (world.lead(json!({})), world.lead(json!({})), world.lead(json!({})));
    world.act(Act::Merge { object: "Lead".into(), winner: winner.clone(), loser: loser.clone() });
    world.act(Act::Delete { object: "Lead".into(), id: gone.clone() });
    world.now += 10_000;
    let said = world.changes(None);
    let state = |id: &str| said.all().into_iter().find(|r| r.id == id).map(|r| r.state.clone());
    assert_eq!(state(&loser), Some(State::Merged(winner.clone())));
    assert_eq!(state(&gone), Some(State::Deleted));
    let never = "00Q000000000000AAA".to_owned();
    let ids = vec![loser.clone(), gone, winner[..15].to_owned(), never, "' OR Id != '".into()];
    let records = world.run(&Op::Fetch { object: "Lead".into(), ids: ids.clone(), fields: vec!["Company".into()] }).records();
    assert_eq!(records.iter().map(|r| r.id.clone()).collect::<Vec<_>>(), ids, "each under the id asked for");
    let states: Vec<_> = records.into_iter().map(|r| r.state).collect();
    assert_eq!(states, [State::Merged(winner), State::Deleted, State::Live, State::Deleted, State::Deleted]);
}

// Breaks when a value from outside can widen what a query reads.
#[test]
fn values_cannot_change_a_query() {
    let mut world = World::new();
    world.lead(json!({ "Email": "a@example.com", "LeadSource": "Web" }));
    let quirky = world.lead(json!({ "LastName": "O'Neil \\ x", "LeadSource": "Other" }));
    let find = |value: &str| Op::Find { object: "Lead".into(), field: "LastName".into(), value: value.into(), fields: vec![] };
    assert_eq!(world.run(&find("' OR Id != null OR LastName = '")).records().len(), 0);
    assert_eq!(world.run(&find("O'Neil \\ x")).records()[0].id, quirky);
    world.now += 10_000;
    let selection = vec![("LeadSource".to_owned(), vec!["Other".to_owned(), "x') OR (Id != '".to_owned()])];
    let op = Op::Changes { object: "Lead".into(), cursor: None, from: NOW, until: world.now, fields: vec![], selection };
    assert_eq!(world.run(&op).all().len(), 1);
    let bad = Op::Find { object: "Lead WHERE Id != null".into(), field: "Email".into(), value: "x".into(), fields: vec![] };
    assert!(Salesforce::new().open(&bad, &account(), None).is_err());
}

// Breaks when the outcome of a converted lead, or a change of it, is not seen.
#[test]
fn converted_leads_are_followed_into_their_opportunity() {
    let mut world = World::new();
    let (won, without, open_lead) = (world.lead(json!({})), world.lead(json!({})), world.lead(json!({})));
    let convert = |id: &str, values| Act::Convert { object: "Lead".into(), id: id.into(), fields: fields(values) };
    let opportunity = world.act(convert(&won, json!({ "Amount": 5000.0 })));
    world.act(convert(&without, json!({ "doNotCreateOpportunity": true })));
    let names = ["Status", "IsConverted", "opportunity.StageName", "opportunity.IsWon", "opportunity.Amount"].map(str::to_owned);
    let op = Op::Follow { object: "Lead".into(), ids: vec![won, without, open_lead], fields: names.to_vec() };
    world.now += 10_000;
    let before = world.run(&op).records();
    assert_eq!(before[0].fields["opportunity.IsWon"], json!(false));
    assert_eq!(before[0].fields["opportunity.Amount"], json!(5000.0));
    assert!(before[1].fields["IsConverted"] == json!(true) && !before[1].fields.contains_key("opportunity.IsWon"));
    assert_eq!(before[2].fields["IsConverted"], json!(false));
    world.update("Opportunity", &opportunity, json!({ "StageName": "Closed Won" }));
    let after = world.run(&op).records();
    assert_eq!(after[0].fields["opportunity.IsWon"], json!(true));
    assert_ne!(after[0].version, before[0].version, "the outcome is part of the version");
    assert_eq!(after[1].version, before[1].version);
}

// Breaks when a write to a converted lead is taken for passing trouble.
#[test]
fn converted_leads_refuse_updates_for_good() {
    let mut world = World::new();
    let lead = world.lead(json!({}));
    world.act(Act::Convert { object: "Lead".into(), id: lead.clone(), fields: Fields::new() });
    let said = world.write(vec![update("a", &lead, json!({ "Rating": "Hot" }))]);
    let ItemResult::Refused(fault) = &said.items["a"] else { panic!("{said:?}") };
    assert_eq!((fault.code.as_str(), fault.passing), ("CANNOT_UPDATE_CONVERTED_LEAD", false));
}

// Breaks when erasing twice is an error, or erases nothing.
#[test]
fn erasing_is_repeatable() {
    let mut world = World::new();
    let id = world.lead(json!({}));
    for _ in 0..2 {
        let said = world.run(&Op::Erase { object: "Lead".into(), id: id.clone() });
        assert_eq!(said.end, Some(Ok(Output::Done)));
    }
    assert!(world.sandbox.records("Lead").is_empty());
}

// Breaks when the vendor's refusals are not told apart by the manifest's table.
#[test]
fn answers_are_classified() {
    let connector = Salesforce::new();
    let manifest = connector.manifest();
    let verdict =
        |status, code: &str, message: &str| manifest.classify(&Response::json(status, &json!([{ "errorCode": code, "message": message }])));
    assert_eq!(verdict(401, "INVALID_SESSION_ID", "").action, Action::RefreshThenRetry);
    let daily = verdict(403, "REQUEST_LIMIT_EXCEEDED", "TotalRequests Limit exceeded.");
    let at_once = verdict(403, "REQUEST_LIMIT_EXCEEDED", "ConcurrentRequests (Concurrent API Requests) Limit exceeded.");
    assert_eq!((daily.action, daily.budget.as_deref()), (Action::Wait, Some("daily")));
    assert_eq!((at_once.action, at_once.budget), (Action::Wait, None));
    assert!(at_once.wait_ms < daily.wait_ms);
    assert_eq!(verdict(403, "API_DISABLED_FOR_ORG", "").action, Action::Config);
    assert_eq!(verdict(503, "SERVER_UNAVAILABLE", "").action, Action::Retry);
    assert_eq!(verdict(400, "UNABLE_TO_LOCK_ROW", "").action, Action::Retry);
    assert_eq!(verdict(400, "REQUIRED_FIELD_MISSING", "").action, Action::Hear);
}

// Breaks when a write that provably never left is taken for one in doubt, or is lost.
#[test]
fn unsent_items_may_be_tried_again() {
    let items = vec![create("a", "m-1", json!({})), update("b", "00Q000000000000AAA", json!({}))];
    let mut talk = open(&Op::Write { object: "Lead".into(), marker_field: MARKER.into(), items });
    let mut seen = 0;
    loop {
        match talk.step() {
            Step::Ask(ask) => talk.heard(ask.tag, Heard::NotSent(Why::Unreachable)),
            Step::Item(_, ItemResult::Refused(fault)) => {
                assert!(fault.passing);
                seen += 1;
            }
            Step::Done(_) => break,
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(seen, 2);
}

// Breaks when what a person set, and when, is not read from the field's history.
#[test]
fn histories_are_read_where_they_are_kept() {
    let mut world = World::new();
    let id = world.lead(json!({ "HasOptedOutOfEmail": false }));
    world.now += 60_000;
    world.update("Lead", &id, json!({ "HasOptedOutOfEmail": true }));
    world.now += 60_000;
    let names = ["HasOptedOutOfEmail", "hasoptedoutofemail@history", "Email@history", "@communication_preferences"].map(str::to_owned);
    let record = world.run(&Op::Fetch { object: "Lead".into(), ids: vec![id], fields: names.to_vec() }).records().remove(0);
    let history = &record.fields["hasoptedoutofemail@history"];
    assert_eq!(history[0]["value"], json!(true));
    assert_eq!(history[0]["at"], json!((NOW + 60_000) / 1000 * 1000));
    assert_eq!(record.fields.len(), 2, "what nobody kept is left out");
}

// Breaks when the privacy record beside a lead cannot be read.
#[test]
fn fields_of_related_records_are_read() {
    let mut world = World::new();
    let individual = Act::Create { object: "Individual".into(), fields: fields(json!({ "LastName": "Doe", "ShouldForget": true })) };
    let individual = world.act(individual);
    let (with, without) = (world.lead(json!({ "IndividualId": individual })), world.lead(json!({})));
    let op = Op::Fetch { object: "Lead".into(), ids: vec![with, without], fields: vec!["Individual.ShouldForget".into()] };
    let records = world.run(&op).records();
    assert_eq!(records[0].fields["Individual.ShouldForget"], json!(true));
    assert_eq!(records[1].fields["Individual.ShouldForget"], json!(null));
}
