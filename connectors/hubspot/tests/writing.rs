//! Writing, settling, erasing.

use super::{MARKER, World, create, fields, update};
use crate::sdk::{Act, Doubt, Fault, ItemResult, Made, Op, Output};

fn written(result: &ItemResult) -> (&str, Made) {
    match result {
        ItemResult::Written { id, made, .. } => (id, *made),
        other => panic!("not written: {other:?}"),
    }
}

/// Breaks when a create is not keyed by the marker, or `new` is not read.
#[test]
fn the_same_create_twice_makes_one_contact() {
    let mut world = World::new();
    let first = world.write(vec![create("a", "m1", &[("email", "Jo@Example.com"), ("firstname", "Jo")])]);
    let (id, made) = written(first.item("a"));
    assert_eq!(made, Made::Created);
    let ItemResult::Written { shadow, .. } = first.item("a") else { unreachable!() };
    assert_eq!(shadow["email"], "jo@example.com", "the shadow is what HubSpot now holds");
    let second = world.write(vec![create("a", "m1", &[("email", "jo@example.com"), ("firstname", "Joan")])]);
    assert_eq!(written(second.item("a")).0, id);
    assert_eq!(world.contacts(), 1);
    world.now += 3_600_000;
    let later = world.write(vec![create("a", "m1", &[("firstname", "Jo")])]);
    assert_eq!(written(later.item("a")).1, Made::Unknown, "an hour later it may be a record that was adopted");
}

/// Breaks when one bad or repeated item fails the rest of its batch.
#[test]
fn each_item_of_a_batch_has_its_own_result() {
    let mut world = World::new();
    let held = world.person(&[("email", "held@example.com")]);
    let outcome = world.write(vec![
        create("good", "m1", &[("email", "good@example.com")]),
        create("held", "m2", &[("email", "held@example.com")]),
        create("bad", "m3", &[("email", "not an email")]),
        create("twin", "m4", &[("email", "GOOD@example.com")]),
        create("option", "m5", &[("email", "o@example.com"), ("hs_lead_status", "HOT")]),
        create("last", "m6", &[("email", "last@example.com")]),
    ]);
    let (good, _) = written(outcome.item("good"));
    assert_eq!(*outcome.item("held"), ItemResult::Exists(held));
    assert_eq!(*outcome.item("twin"), ItemResult::Exists(good.to_owned()));
    let ItemResult::Refused(fault) = outcome.item("bad") else { panic!("the bad email is refused") };
    assert_eq!((fault.code.as_str(), fault.fields.as_slice(), fault.passing), ("INVALID_EMAIL", &["email".to_owned()][..], false));
    let ItemResult::Refused(fault) = outcome.item("option") else { panic!("the unknown option is refused") };
    assert_eq!((fault.code.as_str(), fault.fields.as_slice()), ("INVALID_OPTION", &["hs_lead_status".to_owned()][..]));
    written(outcome.item("last"));
    assert_eq!((world.contacts(), world.count("/batch/upsert")), (3, 2), "the twin waits for a batch of its own");
}

/// Breaks when a property that the account lacks is not blamed on the set-up, or costs a request per item.
#[test]
fn a_missing_property_is_a_matter_of_the_account() {
    let mut world = World::new();
    let mut items: Vec<_> = (0..40).map(|i| create(&format!("k{i}"), &format!("m{i}"), &[("firstname", "A"), ("nowhere", "x")])).collect();
    items.push(create("plain", "plain", &[("firstname", "B")]));
    let outcome = world.write(items);
    let ItemResult::Refused(fault) = outcome.item("k7") else { panic!("refused") };
    assert!(fault.config && fault.code == "PROPERTY_DOESNT_EXIST" && fault.fields == ["nowhere"]);
    written(outcome.item("plain"));
    assert!(world.sent.len() < 5, "{} requests", world.sent.len());
}

/// Breaks when an update can create, or a merge or deletion is not recognised.
#[test]
fn an_update_never_creates() {
    let mut world = World::new();
    let (kept, gone) = (world.person(&[("email", "a@example.com")]), world.person(&[("email", "b@example.com")]));
    let (winner, loser) = (world.person(&[("email", "c@example.com")]), world.person(&[("email", "d@example.com")]));
    world.act(Act::Delete { object: "contact".into(), id: gone.clone() });
    let merged = world.act(Act::Merge { object: "contact".into(), winner: winner.clone(), loser });
    let outcome = world.write(vec![
        update("kept", &kept, &[("firstname", "Ann")]),
        update("gone", &gone, &[("firstname", "Bob")]),
        update("merged", &winner, &[("firstname", "Cy")]),
        update("never", "123", &[("firstname", "Di")]),
    ]);
    assert_eq!(written(outcome.item("kept")).0, kept);
    assert_eq!(*outcome.item("gone"), ItemResult::Gone);
    assert_eq!(*outcome.item("never"), ItemResult::Gone);
    assert_eq!(*outcome.item("merged"), ItemResult::Moved(merged));
    assert_eq!(world.contacts(), 2);
}

/// Breaks when an update that takes another contact's email adopts that contact, or does not name the field.
#[test]
fn an_update_to_an_email_that_is_taken_is_refused() {
    let mut world = World::new();
    let (one, _) = (world.person(&[("email", "one@example.com")]), world.person(&[("email", "two@example.com")]));
    let outcome = world.write(vec![update("u", &one, &[("email", "two@example.com")])]);
    let ItemResult::Refused(fault) = outcome.item("u") else { panic!("refused") };
    assert_eq!((fault.code.as_str(), fault.fields.as_slice(), fault.passing), ("CONFLICT", &["email".to_owned()][..], false));
}

/// Breaks when `null` is not sent as the empty text, or numbers and lists not as HubSpot takes them.
#[test]
fn values_go_out_as_hubspot_takes_them() {
    let mut world = World::new();
    let id = world.person(&[("email", "a@example.com"), ("firstname", "Ann")]);
    let mut values = fields(&[]);
    values.insert("firstname".into(), serde_json::Value::Null);
    values.insert("annualrevenue".into(), 12.into());
    values.insert("hs_legal_basis".into(), serde_json::json!(["Not applicable", "Performance of a contract"]));
    world.write(vec![crate::sdk::Item::Update { key: "k".into(), id, fields: values }]);
    let record = &world.sandbox.records("contact")[0].fields;
    assert!(!record.contains_key("firstname"));
    assert_eq!(record["annualrevenue"], "12");
    assert_eq!(record["hs_legal_basis"], "Not applicable;Performance of a contract");
}

fn settle(world: &mut World, markers: &[&str], sent_at: i64) -> super::Outcome {
    let items = markers.iter().map(|m| Doubt { key: format!("key-{m}"), marker: (*m).into(), sent_at, known: None }).collect();
    world.run(&Op::Settle { object: "contact".into(), marker_field: MARKER.into(), items })
}

/// Breaks when a lost answer is taken for a failure, or settling uses the search index.
#[test]
fn a_write_whose_answer_was_lost_is_found_again() {
    let mut world = World::new();
    world.sandbox.inject(Fault::IndexLag { ms: 600_000 });
    world.sandbox.inject(Fault::DropAfterCommit { count: 1 });
    let sent_at = world.now;
    let outcome = world.write(vec![create("a", "m1", &[("email", "a@example.com")])]);
    assert_eq!(*outcome.item("a"), ItemResult::InDoubt);
    let settled = settle(&mut world, &["m1"], sent_at);
    assert_eq!(written(settled.item("key-m1")).1, Made::Created);
    assert_eq!(world.contacts(), 1);
}

/// Breaks when a create that is sent again meets its own late commit and makes a twin.
#[test]
fn a_late_commit_makes_no_twin() {
    let mut world = World::new();
    world.sandbox.inject(Fault::CommitLate { count: 1, after_ms: 60_000 });
    let sent_at = world.now;
    assert_eq!(*world.write(vec![create("a", "m1", &[("email", "a@example.com")])]).item("a"), ItemResult::InDoubt);
    assert_eq!(*settle(&mut world, &["m1"], sent_at).item("key-m1"), ItemResult::Gone, "the unique marker makes another try safe");
    let again = world.write(vec![create("a", "m1", &[("email", "a@example.com")])]);
    assert_eq!(written(again.item("a")).1, Made::Created);
    world.now += 121_000;
    let settled = settle(&mut world, &["m1", "m2"], sent_at);
    assert_eq!(written(settled.item("key-m1")).1, Made::Created);
    assert_eq!(*settled.item("key-m2"), ItemResult::Gone);
    assert_eq!(world.contacts(), 1);
}

/// Breaks when a record that a person removed before its write was settled is made again.
#[test]
fn what_was_removed_meanwhile_is_not_made_again() {
    let mut world = World::new();
    world.sandbox.inject(Fault::DropAfterCommit { count: 1 });
    let sent_at = world.now;
    world.write(vec![create("a", "m1", &[("email", "a@example.com")])]);
    let id = world.sandbox.records("contact")[0].id.clone();
    world.act(Act::Delete { object: "contact".into(), id: id.clone() });
    let settled = settle(&mut world, &["m1", "m2"], sent_at);
    assert_eq!(written(settled.item("key-m1")), (id.as_str(), Made::Created));
    assert_eq!(*settled.item("key-m2"), ItemResult::Gone);
    assert_eq!(*world.write(vec![update("a", &id, &[("firstname", "A")])]).item("a"), ItemResult::Gone);
    world.now += 3_600_000;
    let sent_at = world.now;
    assert_eq!(*settle(&mut world, &["m1"], sent_at).item("key-m1"), ItemResult::Gone, "that was an earlier create");
}

/// Breaks when an answer cut in its middle is read as a failure.
#[test]
fn a_cut_answer_leaves_a_doubt() {
    let mut world = World::new();
    world.sandbox.inject(Fault::Truncate);
    assert_eq!(*world.write(vec![create("a", "m1", &[("email", "a@example.com")])]).item("a"), ItemResult::InDoubt);
}

/// Breaks when erasing is not repeatable, or follows a merge into the partner's own record.
#[test]
fn erasing_takes_our_record_and_no_other() {
    let mut world = World::new();
    let outcome = world.write(vec![create("a", "m1", &[("email", "a@example.com")]), create("b", "m2", &[("email", "b@example.com")])]);
    let (first, second) = (written(outcome.item("a")).0.to_owned(), written(outcome.item("b")).0.to_owned());
    for _ in 0..2 {
        assert_eq!(world.run(&Op::Erase { object: "contact".into(), id: first.clone() }).end, Ok(Output::Done));
    }
    assert_eq!(world.contacts(), 1);
    let own = world.person(&[("email", "own@example.com")]);
    world.act(Act::Merge { object: "contact".into(), winner: own, loser: second.clone() });
    let fault = world.run(&Op::Erase { object: "contact".into(), id: second }).end.expect_err("a merged record is not ours");
    assert_eq!(fault.code, "merged");
    assert_eq!(world.contacts(), 1);
}

/// Breaks when a hundred creates cost more than one request.
#[test]
fn a_full_batch_is_one_request() {
    let mut world = World::new();
    let items = (0..100).map(|i| create(&format!("k{i}"), &format!("m{i}"), &[("email", &format!("p{i}@example.com"))])).collect();
    let outcome = world.write(items);
    assert_eq!(outcome.items.len(), 100);
    assert_eq!((world.contacts(), world.count("/batch/upsert")), (100, 1));
}
