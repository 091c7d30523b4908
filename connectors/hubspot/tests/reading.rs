//! Fetch, follow, find, describe, check.

use std::collections::BTreeMap;

use super::{MARKER, World, create, fields};
use crate::sdk::record::Moment;
use crate::sdk::{Act, Finding, Op, Output, State};

fn fetch(world: &mut World, ids: &[&str]) -> BTreeMap<String, State> {
    let op = Op::Fetch { object: "contact".into(), ids: ids.iter().map(|id| (*id).to_owned()).collect(), fields: vec!["email".into()] };
    world.run(&op).records().into_iter().map(|r| (r.id, r.state)).collect()
}

/// Breaks when an id asked for is not answered, or a merge is reported under the new id.
#[test]
fn every_id_asked_for_is_answered() {
    let mut world = World::new();
    let ids: Vec<String> = (0..4).map(|i| world.person(&[("email", &format!("p{i}@example.com"))])).collect();
    world.act(Act::Delete { object: "contact".into(), id: ids[1].clone() });
    let new = world.act(Act::Merge { object: "contact".into(), winner: ids[2].clone(), loser: ids[3].clone() });
    let found = fetch(&mut world, &[&ids[0], &ids[1], &ids[2], &ids[3], "42", &new]);
    assert_eq!(found[&ids[0]], State::Live);
    assert_eq!(found[&ids[1]], State::Deleted);
    assert_eq!(found[&ids[2]], State::Merged(new.clone()));
    assert_eq!(found[&ids[3]], State::Merged(new.clone()));
    assert_eq!(found["42"], State::Deleted);
    assert_eq!(found[&new], State::Live);
    assert_eq!(found.len(), 6);
}

/// Breaks when the version of a fetched record differs from the polled one.
#[test]
fn a_fetch_and_a_poll_agree_on_the_version() {
    let mut world = World::new();
    let id = world.person(&[("email", "a@example.com")]);
    world.now += 120_000;
    let fetched = world.run(&Op::Fetch { object: "contact".into(), ids: vec![id], fields: vec![] }).records().remove(0);
    let until = world.now - 60_000;
    let op = Op::Changes { object: "contact".into(), cursor: None, from: super::START, until, fields: vec![], selection: vec![] };
    let polled = &world.run(&op).pages[0][0];
    assert_eq!(fetched.version, polled.version);
    assert!(!fetched.version.is_empty());
}

/// Breaks when the newest deal does not speak for its contact.
#[test]
fn a_contact_is_followed_to_its_newest_deal() {
    let mut world = World::new();
    let (id, without) = (world.person(&[("email", "a@example.com")]), world.person(&[("email", "b@example.com")]));
    world.act(Act::Convert { object: "contact".into(), id: id.clone(), fields: fields(&[("amount", "10"), ("dealstage", "closedlost")]) });
    world.now += 1_000;
    world.act(Act::Convert {
        object: "contact".into(),
        id: id.clone(),
        fields: fields(&[("amount", "250.5"), ("dealstage", "closedwon")]),
    });
    let wanted = ["lifecyclestage", "deal.dealstage", "deal.hs_is_closed_won", "deal.amount"].map(str::to_owned).to_vec();
    let records = world.run(&Op::Follow { object: "contact".into(), ids: vec![id.clone(), without.clone()], fields: wanted }).records();
    let of = |id: &str| records.iter().find(|r| r.id == id).map(|r| r.fields.clone()).unwrap_or_default();
    assert_eq!(of(&id)["lifecyclestage"], "opportunity");
    assert_eq!(of(&id)["deal.dealstage"], "closedwon");
    assert_eq!(of(&id)["deal.hs_is_closed_won"], "true");
    assert_eq!(of(&id)["deal.amount"], "250.5");
    assert!(!of(&without).contains_key("deal.dealstage"));
}

/// Breaks when an import, a person and a form cannot be told apart, or the newest value is not the present one.
#[test]
fn a_history_tells_who_set_a_value() {
    let mut world = World::new();
    let id = world.person(&[("email", "a@example.com"), ("country", "NL"), ("hs_object_source", "IMPORT")]);
    let other = world.person(&[("email", "b@example.com")]);
    world.now += 1_000;
    world.change(&id, &[("country", "DE"), ("hs_object_source", "FORM")]);
    let names = ["email", "country@history", "city@history", "@no_such_thing"].map(str::to_owned).to_vec();
    let records = world.run(&Op::Fetch { object: "contact".into(), ids: vec![id.clone(), other], fields: names }).records();
    let fields = &records.iter().find(|r| r.id == id).expect("read").fields;
    let told: Vec<Moment> = serde_json::from_value(fields["country@history"].clone()).expect("moments");
    let told: Vec<_> = told.iter().map(|m| (m.value.as_str().unwrap_or_default(), m.at, m.by.as_deref().unwrap_or_default())).collect();
    assert_eq!(told, [("DE", world.now, "FORM"), ("NL", world.now - 1_000, "IMPORT")]);
    assert!(!fields.contains_key("country"), "the field itself was not asked for");
    assert_eq!(fields["city@history"], serde_json::json!([]));
    assert_eq!(fields.len(), 3);
}

/// Breaks when an opt-out is overlooked, or read one by one though all could be asked at once.
#[test]
fn opt_outs_are_read_beside_the_record() {
    for (scope, requests) in [("communication_preferences.read", 3), ("communication_preferences.statuses.batch.read", 1)] {
        let mut world = World::new();
        world.account.scopes = vec![scope.into()];
        let people: Vec<String> = (0..3).map(|i| world.person(&[("email", &format!("p{i}@example.com"))])).collect();
        let nameless = world.person(&[("firstname", "No address")]);
        let path = "/communication-preferences/2026-09/statuses/p1%40example.com";
        let body = serde_json::json!({ "channel": "EMAIL", "statusState": "UNSUBSCRIBED", "subscriptionId": 100_001 });
        world.send(crate::sdk::Method::Post, path, body.to_string().as_bytes());
        world.send(
            crate::sdk::Method::Post,
            "/communication-preferences/v4/statuses/p2%40example.com/unsubscribe-all?channel=EMAIL",
            b"{}",
        );
        world.sent.clear();
        let ids = people.iter().chain([&nameless]).cloned().collect();
        let op = Op::Fetch { object: "contact".into(), ids, fields: vec!["@communication_preferences".into()] };
        let records = world.run(&op).records();
        let words = |id: &str| records.iter().find(|r| r.id == id).map(|r| r.fields["@communication_preferences"].clone());
        assert_eq!(words(&people[0]), Some(serde_json::json!(["NOT_SPECIFIED"])));
        assert_eq!(words(&people[1]), Some(serde_json::json!(["NOT_SPECIFIED", "UNSUBSCRIBED"])));
        assert_eq!(words(&people[2]), Some(serde_json::json!(["NOT_SPECIFIED", "UNSUBSCRIBED"])), "from all e-mail");
        assert_eq!(words(&nameless), Some(serde_json::json!([])));
        assert_eq!(world.sent.iter().filter(|(_, path, _)| path.starts_with("/communication-preferences/")).count(), requests);
        assert!(records.iter().all(|r| r.fields.len() == 1), "only what was asked for is handed over");
    }
}

/// Breaks when finding by email goes through the lagging index or is sensitive to case.
#[test]
fn a_person_is_found_by_email_at_once() {
    let mut world = World::new();
    let id = world.person(&[("email", "jo@example.com"), ("company", "Acme")]);
    let find = |field: &str, value: &str| Op::Find {
        object: "contact".into(),
        field: field.into(),
        value: value.into(),
        fields: vec!["email".into()],
    };
    assert_eq!(world.run(&find("email", "JO@example.com")).records()[0].id, id);
    assert!(world.run(&find("email", "nobody@example.com")).records().is_empty());
    world.now += 60_000;
    assert_eq!(world.run(&find("company", "Acme")).records()[0].id, id);
}

/// Breaks when the older path layout is not spoken.
#[test]
fn the_older_layout_works_too() {
    let mut world = World::version("v3");
    let outcome = world.write(vec![create("a", "m1", &[("email", "a@example.com")])]);
    assert_eq!(outcome.items.len(), 1);
    let id = world.sandbox.records("contact")[0].id.clone();
    world.act(Act::Convert { object: "contact".into(), id: id.clone(), fields: fields(&[("amount", "10")]) });
    let records = world.run(&Op::Follow { object: "contact".into(), ids: vec![id], fields: vec!["deal.amount".into()] }).records();
    assert_eq!(records[0].fields["deal.amount"], "10");
    assert!(world.sent.iter().all(|(_, path, _)| path.starts_with("/crm/v3/") || path.starts_with("/crm/v4/associations/")));
}

/// Breaks when computed properties count as writable, or options are labels.
#[test]
fn an_object_is_described() {
    let mut world = World::new();
    let Ok(Output::Described(fields)) = world.run(&Op::Describe { object: "contact".into() }).end else { panic!("described") };
    let field = |name: &str| fields.iter().find(|f| f.name == name).unwrap_or_else(|| panic!("{name}"));
    assert!(field(MARKER).unique && field(MARKER).custom && field(MARKER).writable);
    assert!(field("email").unique && !field("email").custom);
    assert!(!field("lastmodifieddate").writable && !field("hs_email_domain").writable);
    assert!(field("hs_lead_status").options.contains(&"IN_PROGRESS".to_owned()));
}

fn check(world: &mut World, marker: &str, names: &[&str]) -> Vec<Finding> {
    let op = Op::Check {
        object: "contact".into(),
        marker_field: marker.into(),
        fields: names.iter().map(|name| (*name).to_owned()).collect(),
        writes: true,
    };
    match world.run(&op).end {
        Ok(Output::Checked(findings)) => findings,
        other => panic!("no findings: {other:?}"),
    }
}

fn bad<'a>(findings: &'a [Finding], code: &str) -> Vec<&'a Finding> {
    findings.iter().filter(|f| f.code == code && !f.ok).collect()
}

/// Breaks when a sound connection is complained about.
#[test]
fn a_sound_connection_has_no_complaints() {
    let mut world = World::new();
    world.account.scopes = ["oauth", "crm.objects.contacts.read", "crm.objects.contacts.write"].map(str::to_owned).to_vec();
    let findings = check(&mut world, MARKER, &["email", "email@history", "deal.amount"]);
    assert!(findings.iter().all(|f| f.ok), "{findings:?}");
    assert_eq!(findings.len(), 7);
    let findings = check(&mut world, MARKER, &["nowhere@history", "deal.nowhere", "@communication_preferences", "@nothing"]);
    assert_eq!(bad(&findings, "field").len(), 3, "{findings:?}");
    assert!(bad(&findings, "scope")[0].what.contains("opt-outs"));
}

/// Breaks when a finding does not say what to do; the suggested call must really mend it.
#[test]
fn a_missing_marker_is_mended_by_what_the_finding_says() {
    let mut world = World::new();
    world.account.scopes = vec!["crm.objects.contacts.read".into()];
    world.act(Act::DefineField { object: "contact".into(), name: "plain".into(), unique: false, options: vec![] });
    assert_eq!(bad(&check(&mut world, "plain", &[]), "marker_field").len(), 1, "not unique");
    let findings = check(&mut world, "other_id", &["email", "Email", "nowhere"]);
    assert_eq!(bad(&findings, "scope").len(), 1);
    let fields = bad(&findings, "field");
    assert_eq!(fields.len(), 2);
    assert!(fields[0].fix.as_deref().is_some_and(|fix| fix.contains("Did you mean `email`?")));
    let fix = bad(&findings, "marker_field")[0].fix.clone().unwrap_or_default();
    let (path, body) = fix.split_once("POST ").and_then(|(_, call)| call.split_once(' ')).expect("the finding holds a call");
    let answer = world.send(crate::sdk::Method::Post, path, body.as_bytes()).expect("answered");
    assert_eq!(answer.status, 201);
    assert!(bad(&check(&mut world, "other_id", &[]), "marker_field").is_empty());
}
