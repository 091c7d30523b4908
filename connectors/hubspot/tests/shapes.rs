//! The connector reads the shapes in `fixtures/`; `fixtures/SOURCE.md` says where each comes from.

use std::collections::BTreeMap;

use serde_json::Value;

use super::{MARKER, World, create, update};
use crate::hubspot::HubSpot;
use crate::hubspot::error::Problem;
use crate::sdk::{Account, Connector, Heard, ItemResult, Made, Op, Output, Record, Request, Response, State, Step, Tag, Talk};

fn answer(status: u16, body: &str) -> Response {
    Response { status, headers: vec![], body: body.into() }
}

fn account() -> Account {
    World::new().account
}

/// Hears these answers in the order of the asks; what the talk said besides asking, and what it asked.
fn hear(op: &Op, answers: &[Response]) -> (Vec<Step>, Vec<Request>) {
    let mut talk: Box<dyn Talk> = HubSpot::new().open(op, &account(), None).expect("opened");
    let (mut said, mut asked, mut open): (Vec<Step>, Vec<Request>, Vec<Tag>) = (vec![], vec![], vec![]);
    let mut answers = answers.iter();
    loop {
        match talk.step() {
            Step::Ask(ask) => {
                open.push(ask.tag);
                asked.push(ask.request);
            }
            Step::Wait => match answers.next() {
                Some(answer) => talk.heard(open.remove(0), Heard::Answer(answer)),
                None => return (said, asked),
            },
            end @ (Step::Done(_) | Step::Failed(_)) => {
                said.push(end);
                return (said, asked);
            }
            other => said.push(other),
        }
    }
}

fn items(said: &[Step]) -> BTreeMap<&str, &ItemResult> {
    said.iter().filter_map(|step| if let Step::Item(key, result) = step { Some((key.as_str(), result)) } else { None }).collect()
}

fn write(items: Vec<crate::sdk::Item>) -> Op {
    Op::Write { object: "contact".into(), marker_field: MARKER.into(), items }
}

fn four() -> Op {
    let one = |key: &str, email: &str| create(key, &format!("marker-{key}"), &[("email", email)]);
    write(vec![one("a", "a@example.com"), one("b", "b@example.com"), one("c", "nobody"), one("d", "d@example.com")])
}

/// Breaks when results are matched by their place, or an error is matched to the wrong item.
#[test]
fn a_partial_upsert_is_read() {
    let (said, _) = hear(&four(), &[answer(207, include_str!("../fixtures/upsert_207.json"))]);
    let items = items(&said);
    let ItemResult::Written { id, made: Made::Created, shadow } = items["b"] else { panic!("{:?}", items["b"]) };
    assert_eq!((id.as_str(), &shadow["email"]), ("421355332816", &Value::from("b@example.com")));
    assert!(matches!(items["a"], ItemResult::Written { id, made: Made::Unknown, .. } if id == "421355332001"));
    assert!(matches!(items["c"], ItemResult::Refused(fault) if fault.code == "INVALID_EMAIL" && fault.fields == ["email"]));
    assert_eq!(*items["d"], ItemResult::Exists("6001".into()));
    assert_eq!(said.last(), Some(&Step::Done(Output::Done)));
}

/// Breaks when errors in an answer that says 200 or 201 are overlooked.
#[test]
fn errors_count_whatever_the_status() {
    for status in [200, 201] {
        let (said, _) = hear(&four(), &[answer(status, include_str!("../fixtures/upsert_207.json"))]);
        assert_eq!(*items(&said)["d"], ItemResult::Exists("6001".into()));
    }
}

/// Breaks when a refused batch is not narrowed to its culprit.
#[test]
fn a_refused_batch_is_halved() {
    let conflict = answer(409, include_str!("../fixtures/conflict_409.json"));
    let (said, asked) = hear(&four(), &[conflict.clone(), conflict.clone(), conflict]);
    let sizes: Vec<usize> = asked
        .iter()
        .map(|r| serde_json::from_slice::<Value>(&r.body).unwrap_or_default()["inputs"].as_array().map_or(0, Vec::len))
        .collect();
    assert_eq!(sizes, [4, 2, 1, 1]);
    assert_eq!(*items(&said)["a"], ItemResult::Exists("6001".into()));
    assert_eq!(said.len(), 1, "the others wait for their own answers");
}

/// Breaks when a refusal that is about the account or the moment is blamed on items, or costs a request for each.
#[test]
fn a_refusal_of_the_moment_is_not_the_items_fault() {
    for (status, passing, config) in [(401, true, false), (403, false, true), (408, true, false), (423, true, false), (429, true, false)] {
        let (said, asked) = hear(&four(), &[answer(status, r#"{"message":"no"}"#)]);
        assert_eq!((items(&said).len(), asked.len()), (4, 1), "{status}");
        let fits =
            |result: &&ItemResult| matches!(result, ItemResult::Refused(fault) if (fault.passing, fault.config) == (passing, config));
        assert!(items(&said).values().all(fits), "{status}: {said:?}");
    }
}

/// Breaks when an upsert leaves it to HubSpot whether the marker is written.
#[test]
fn an_upsert_carries_its_marker_twice() {
    let (_, asked) = hear(&four(), &[]);
    let input = serde_json::from_slice::<Value>(&asked[0].body).unwrap_or_default()["inputs"][1].clone();
    let expected = serde_json::json!({
        "id": "marker-b",
        "idProperty": MARKER,
        "objectWriteTraceId": "b",
        "properties": { "email": "b@example.com", MARKER: "marker-b" },
    });
    assert_eq!(input, expected);
}

/// Breaks when an error's details hide in one of the two places where HubSpot puts them.
#[test]
fn both_forms_of_a_validation_error_are_read() {
    let read = |text: &str| Problem::read(&serde_json::from_str(text).unwrap_or_default());
    let old = read(include_str!("../fixtures/validation_400.json"));
    assert_eq!(old.unknown_properties(), ["nowhere"]);
    assert!(old.item_fault(400, MARKER).config);
    let new = read(include_str!("../fixtures/validation_400_new.json")).item_fault(400, MARKER);
    assert_eq!(
        (new.code.as_str(), new.fields.as_slice(), new.config, new.passing),
        ("INVALID_OPTION", &["hs_lead_status".to_owned()][..], false, false)
    );
    let unique = read(include_str!("../fixtures/unique_400.json"));
    let race = unique.item_fault(400, MARKER);
    assert!(race.code == "CONFLICTING_UNIQUE_VALUE" && race.fields == [MARKER] && race.passing, "the same create is under way elsewhere");
    assert!(!unique.item_fault(400, "another_field").passing);
    let bare = Problem::read(&serde_json::json!({ "message": "secret@example.com" })).item_fault(400, MARKER);
    assert_eq!((bare.code.as_str(), bare.fields.len()), ("HTTP_400", 0));
}

/// Breaks when a person's data in an error's text reaches a fault.
#[test]
fn faults_do_not_repeat_what_was_sent() {
    let text = include_str!("../fixtures/unique_400.json");
    let op = Op::Find { object: "contact".into(), field: "company".into(), value: "x".into(), fields: vec![] };
    let (said, _) = hear(&op, &[answer(400, text)]);
    let Some(Step::Failed(fault)) = said.last() else { panic!("failed") };
    assert!(!fault.to_string().contains("marker-a") && fault.to_string().contains("CONFLICTING_UNIQUE_VALUE"), "{fault}");
}

fn record(said: &[Step]) -> Vec<Record> {
    match said.last() {
        Some(Step::Done(Output::Records(records))) => records.clone(),
        other => panic!("{other:?}"),
    }
}

/// Breaks when a merged or missing id is not told apart, or a history is misread.
#[test]
fn a_partial_read_is_read() {
    let ids = ["1001", "902", "903"].map(str::to_owned).to_vec();
    let op = Op::Fetch { object: "contact".into(), ids, fields: vec!["email".into(), "email@history".into()] };
    let missing = answer(404, r#"{"status":"error","message":"resource not found","correlationId":"c"}"#);
    let (said, asked) = hear(&op, &[answer(207, include_str!("../fixtures/batch_read_207.json")), missing]);
    assert_eq!(asked[1].url.split('?').next(), Some("/crm/objects/2026-09/contacts/903"));
    let records: BTreeMap<String, Record> = record(&said).into_iter().map(|r| (r.id.clone(), r)).collect();
    assert_eq!(records["902"].state, State::Merged("1001".into()));
    assert_eq!(records["903"].state, State::Deleted);
    let live = &records["1001"];
    assert_eq!((live.version.as_str(), live.modified_at), ("2026-03-12T07:32:42.188Z", Some(1_773_300_762_188)));
    assert_eq!(live.fields["email@history"][1]["by"], "IMPORT");
    assert_eq!(live.fields["email@history"][1]["at"], 1_772_348_400_000_i64);
}

/// Breaks when a single record of any kind is misread; unset values are `null`, not absent.
#[test]
fn a_single_record_is_read() {
    let body: Value = serde_json::from_str(include_str!("../fixtures/contact.json")).unwrap_or_default();
    let wanted = ["email", "phone", "nowhere"].map(str::to_owned);
    let record = crate::hubspot::api::record("contact", &body, &wanted).expect("a record");
    assert_eq!(record.fields.keys().collect::<Vec<_>>(), ["email", "phone"]);
    assert_eq!((record.id.as_str(), &record.fields["phone"], record.created_at), ("734931097788", &Value::Null, Some(1_773_300_826_615)));
}

/// Breaks when a page of another object than contacts is misread, or its cursor does not lead on.
#[test]
fn a_search_page_is_read() {
    let op = |cursor| Op::Changes {
        object: "deal".into(),
        cursor,
        from: 1_772_000_000_000,
        until: 1_774_000_000_000,
        fields: vec!["amount".into()],
        selection: vec![],
    };
    let (said, asked) = hear(&op(None), &[answer(200, include_str!("../fixtures/search_deals.json"))]);
    let Some(Step::Page(rows, cursor)) = said.first() else { panic!("{said:?}") };
    assert_eq!(rows.iter().map(|r| r.fields["amount"].as_str().unwrap_or_default()).collect::<Vec<_>>(), ["3000", "5000.00"]);
    let lower = |request: &Request| {
        let body: Value = serde_json::from_slice(&request.body).unwrap_or_default();
        body["filterGroups"][0]["filters"][0].clone()
    };
    assert_eq!(lower(&asked[1])["value"], "1773150343181", "the next page starts at the last time seen");
    assert_eq!(lower(&asked[1])["propertyName"], "hs_lastmodifieddate");
    let (_, again) = hear(&op(Some(cursor.clone())), &[]);
    assert_eq!(lower(&again[0]), lower(&asked[1]), "and so does a poll that is taken up again");
}

/// Breaks when numbers as ids, further pages of links, or "has none" as an error are misread.
#[test]
fn associations_are_read() {
    let ids = ["101", "102"].map(str::to_owned).to_vec();
    let op = Op::Follow { object: "contact".into(), ids, fields: vec!["deal.amount".into()] };
    let contact = |id: &str| serde_json::json!({ "id": id, "properties": { "lastmodifieddate": "2026-03-12T07:32:42.188Z" } });
    let contacts = serde_json::json!({ "results": [contact("101"), contact("102")] }).to_string();
    let none = serde_json::json!({ "results": [] }).to_string();
    let (_, asked) =
        hear(&op, &[answer(200, &contacts), answer(207, include_str!("../fixtures/associations_207.json")), answer(200, &none)]);
    let body = |at: usize| serde_json::from_slice::<Value>(&asked[at].body).unwrap_or_default()["inputs"].clone();
    assert_eq!(body(2), serde_json::json!([{ "id": "101", "after": "7002" }]));
    assert_eq!(body(3), serde_json::json!([{ "id": "7001" }, { "id": "7002" }]));
}

/// Breaks when a property definition is misread.
#[test]
fn property_definitions_are_read() {
    let (said, _) = hear(&Op::Describe { object: "contact".into() }, &[answer(200, include_str!("../fixtures/properties.json"))]);
    let Some(Step::Done(Output::Described(fields))) = said.last() else { panic!("described") };
    let flags: Vec<_> = fields.iter().map(|f| (f.name.as_str(), f.writable, f.unique, f.custom, f.options.len())).collect();
    let expected =
        [("hs_lead_status", true, false, false, 2), ("hs_email_domain", false, false, false, 0), ("leadshare_id", true, true, true, 0)];
    assert_eq!(flags, expected);
}

/// Breaks when the account is not learnt from the token, as a number or not at all.
#[test]
fn a_token_names_its_account() {
    let facts = |text: &str| HubSpot::new().account_facts(&serde_json::from_str(text).unwrap_or_default());
    assert_eq!(facts(include_str!("../fixtures/token.json")).external_id.as_deref(), Some("147893286"));
    assert_eq!(facts(r#"{"access_token":"x"}"#).external_id, None, "the oldest endpoint does not say");
}

/// Breaks when an answer leads to another action than HubSpot asks for.
#[test]
fn answers_lead_to_the_right_action() {
    let connector = HubSpot::new();
    let cases: Vec<Value> = serde_json::from_str(include_str!("../fixtures/answers.json")).expect("a list");
    for case in cases {
        let status = u16::try_from(case["status"].as_u64().unwrap_or_default()).unwrap_or_default();
        let verdict = connector.manifest().classify(&answer(status, &case["body"].to_string()));
        let action = match verdict.action {
            crate::sdk::Action::Hear => "hear",
            crate::sdk::Action::Retry => "retry",
            crate::sdk::Action::Wait => "wait",
            crate::sdk::Action::RefreshThenRetry => "refresh_then_retry",
            crate::sdk::Action::Config => "config",
        };
        assert_eq!(action, case["action"], "{case}");
        if let Some(wait) = case["wait_ms"].as_i64() {
            assert_eq!((verdict.wait_ms, verdict.budget.as_deref()), (wait, case["budget"].as_str()), "{case}");
        }
    }
}

/// Breaks when an event of the documented form is not understood.
#[test]
fn documented_events_are_read() {
    let body = include_str!("../fixtures/webhook_events.json");
    let signature = hex::encode(crate::sdk::signature::sha256(&[b"secret", body.as_bytes()]));
    let raw = crate::sdk::RawRequest {
        method: crate::sdk::Method::Post,
        url: "https://us.example/h".into(),
        headers: vec![("x-hubspot-signature".into(), signature)],
        body: body.into(),
    };
    let keys = [crate::sdk::WebhookKey { id: "k".into(), secret: b"secret".to_vec(), account: None }];
    let hints = HubSpot::new().webhook(&raw, &keys, 0).expect("genuine").hints;
    let ids: Vec<&str> = hints.iter().map(|hint| hint.id.as_str()).collect();
    assert_eq!(ids, ["734931097788", "734931097788", "734931097700", "735000000001"]);
}

/// Breaks when an update that HubSpot carried out on the record that the id was merged into is called plainly written.
#[test]
fn an_update_that_landed_elsewhere_has_moved() {
    let result =
        r#"{"status":"COMPLETE","results":[{"id":"1001","properties":{"hs_object_id":"1001"},"updatedAt":"2026-03-12T07:32:42.188Z"}]}"#;
    let (said, _) = hear(&write(vec![update("u", "902", &[("firstname", "A")])]), &[answer(200, result)]);
    assert_eq!(*items(&said)["u"], ItemResult::Moved("1001".into()));
}
