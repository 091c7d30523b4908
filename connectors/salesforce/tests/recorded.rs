//! The connector against answers of the documented and recorded shapes, in `fixtures/`.

use std::collections::VecDeque;

use serde_json::{Value, json};

use super::{account, create, fields, open, run, update};
use crate::{
    salesforce::Salesforce,
    sdk::{
        Action, Ask, Connector, Effect, Finding, ItemFault, ItemResult, Made, Method, Op, Output, RawRequest, Response, State, WebhookKey,
    },
};

macro_rules! fixture {
    ($name:literal) => {
        include_bytes!(concat!("../fixtures/", $name)).to_vec()
    };
}

fn answer(status: u16, body: Vec<u8>) -> Response {
    Response { status, headers: vec![("content-type".into(), "application/json;charset=UTF-8".into())], body }
}

fn value(body: &[u8]) -> Value {
    serde_json::from_slice(body).unwrap()
}

/// Answers one after the other, and keeps what was asked.
fn script(answers: Vec<Response>, asked: &mut Vec<Ask>) -> impl FnMut(&Ask) -> Option<Response> + '_ {
    let mut answers = VecDeque::from(answers);
    move |ask| {
        asked.push(ask.clone());
        Some(answers.pop_front().expect("more was asked than expected"))
    }
}

fn written(items: Vec<crate::sdk::Item>) -> Op {
    Op::Write { object: "Lead".into(), marker_field: "Leadshare_Id__c".into(), items }
}

fn refused(result: &ItemResult) -> ItemFault {
    match result {
        ItemResult::Refused(fault) => fault.clone(),
        other => panic!("{other:?}"),
    }
}

// Breaks when the account or its address is not learnt from the token answer.
#[test]
fn a_token_answer_names_the_organisation_and_its_host() {
    let Value::Object(token) = value(&fixture!("token.json")) else { panic!() };
    let facts = Salesforce::new().account_facts(&token);
    assert_eq!(facts.external_id.as_deref(), Some("00D5g000004XyzAEAS"));
    assert_eq!(facts.base_url.as_deref(), Some("https://example.my.salesforce.com"));
    let Value::Object(error) = value(&fixture!("token_error.json")) else { panic!() };
    assert_eq!(Salesforce::new().account_facts(&error), crate::sdk::AccountFacts::default());
}

// Breaks when pages, the vendor's datetimes, or the way to the next page are misread.
#[test]
fn pages_are_read_with_their_versions() {
    let op = Op::Changes {
        object: "Lead".into(),
        cursor: None,
        from: 1_778_065_200_000,
        until: 1_778_067_000_000,
        fields: vec!["email".into()],
        selection: vec![("LeadSource".into(), vec!["Web".into(), "O'Neil".into()]), ("Share__c".into(), vec!["true".into()])],
    };
    let mut asked = Vec::new();
    let said =
        run(open(&op), script(vec![answer(200, fixture!("query_page.json")), answer(200, fixture!("query_last_page.json"))], &mut asked));
    let query: String = url::form_urlencoded::parse(asked[0].request.url.split_once('?').unwrap().1.as_bytes()).next().unwrap().1.into();
    assert_eq!(
        query,
        "SELECT Id,SystemModstamp,CreatedDate,IsDeleted,MasterRecordId,email FROM Lead WHERE LeadSource IN ('Web','O\\'Neil') AND \
         Share__c IN (true) AND SystemModstamp >= 2026-05-06T11:00:00Z AND SystemModstamp <= 2026-05-06T11:30:00Z ORDER BY SystemModstamp, Id"
    );
    assert!(asked[0].request.url.starts_with("/services/data/v66.0/queryAll?q="));
    assert_eq!(asked[1].request.url, "/services/data/v66.0/query/0r8xx5R2sM3DgWhASK-2");
    assert!(
        asked
            .iter()
            .all(|ask| ask.effect == Effect::Read
                && ask.request.headers.contains(&("sforce-call-options".into(), "client=leadshare".into())))
    );
    let records = said.all();
    assert_eq!(records[0].fields, fields(json!({ "email": "one@example.com" })), "the field keeps the name asked for");
    assert_eq!(records[0].modified_at, Some(1_778_066_964_000));
    assert_eq!(records[0].created_at, Some(1_778_065_200_000));
    assert_eq!(records[2].id, "00Q5g00000AAAACEA5");
}

// Breaks when a row read within its own second gets the version of the row as it ends that second.
#[test]
fn a_row_read_within_its_second_is_read_again() {
    let op = Op::Fetch { object: "Lead".into(), ids: vec!["00Q5g00000AAAACEA5".into()], fields: vec![] };
    let version = |date: Option<&str>| {
        let mut page = answer(200, fixture!("query_last_page.json"));
        page.headers.extend(date.map(|date| ("date".to_owned(), date.to_owned())));
        run(open(&op), |_| Some(page.clone())).records()[0].version.clone()
    };
    let later = version(Some("Wed, 06 May 2026 11:29:26 GMT"));
    assert_ne!(version(Some("Wed, 06 May 2026 11:29:25 GMT")), later);
    assert_eq!(version(None), later);
}

// Breaks when a lost place in a result loses or repeats rows.
#[test]
fn a_lost_locator_goes_on_behind_the_last_row() {
    let op = Op::Changes { object: "Lead".into(), cursor: None, from: 0, until: 1_778_067_000_000, fields: vec![], selection: vec![] };
    let mut asked = Vec::new();
    let pages = vec![
        answer(200, fixture!("query_page.json")),
        answer(400, fixture!("locator_gone.json")),
        answer(200, fixture!("query_last_page.json")),
    ];
    let said = run(open(&op), script(pages, &mut asked));
    assert_eq!(said.all().len(), 3);
    let again = url::form_urlencoded::parse(asked[2].request.url.split_once('?').unwrap().1.as_bytes()).next().unwrap().1.into_owned();
    let behind = "((SystemModstamp = 2026-05-06T11:29:24Z AND Id > '00Q5g00000AAAABEA5') OR SystemModstamp > 2026-05-06T11:29:24Z)";
    assert!(again.contains(behind), "{again}");
}

// Breaks when deleted and merged rows are taken for live ones.
#[test]
fn deleted_and_merged_rows_are_told_apart() {
    let ids = vec!["00Q5g00000AAAAAEA5".to_owned(), "00Q5g00000AAAACEA5".into()];
    let op = Op::Fetch { object: "Lead".into(), ids, fields: vec![] };
    let records = run(open(&op), |_| Some(answer(200, fixture!("query_all.json")))).records();
    assert_eq!(records[0].state, State::Merged("00Q5g00000AAAABEA5".into()));
    assert_eq!(records[1].state, State::Deleted);
}

// Breaks when a single upsert is misread: 201, 200, 300, and the 204 of old versions.
#[test]
fn single_upserts_are_read() {
    let result = |status, body: Vec<u8>| {
        let said = run(open(&written(vec![create("a", "m/1 ü", json!({}))])), |ask| {
            assert_eq!(ask.request.method, Method::Patch);
            assert_eq!(ask.request.url, "/services/data/v66.0/sobjects/Lead/Leadshare_Id__c/m%2F1%20%C3%BC");
            assert!(value(&ask.request.body).get("Leadshare_Id__c").is_none(), "the marker must not be repeated in the body");
            Some(answer(status, body.clone()))
        });
        said.items["a"].clone()
    };
    let written = ItemResult::Written { id: "00Q5g00000AAAAAEA5".into(), made: Made::Created, shadow: fields(json!({})) };
    assert_eq!(result(201, fixture!("upsert_created.json")), written);
    assert_eq!(result(200, fixture!("upsert_updated.json")), written);
    let several = refused(&result(300, fixture!("upsert_several.json")));
    assert!(several.config && several.code == "MARKER_NOT_UNIQUE");
    assert_eq!(result(204, Vec::new()), ItemResult::InDoubt);
    assert_eq!(result(200, b"{\"id\":\"00Q5g0".to_vec()), ItemResult::InDoubt, "a cut answer says nothing");
    let missing = refused(&result(400, fixture!("required_missing.json")));
    assert_eq!((missing.code.as_str(), missing.fields, missing.config), ("REQUIRED_FIELD_MISSING", vec!["LastName".into()], false));
    assert!(refused(&result(400, fixture!("locked.json"))).passing);
}

// Breaks when the misspelt key of the vendor, or the corrected one, is not read, or a contact is taken for a lead.
#[test]
fn the_best_matching_lead_is_named() {
    let named =
        |body: Vec<u8>| run(open(&written(vec![create("a", "m", json!({}))])), |_| Some(answer(400, body.clone()))).items["a"].clone();
    let body = String::from_utf8(fixture!("duplicates.json")).unwrap();
    let expected = ItemResult::Exists("00Q5g00000AAAABEA5".into());
    assert_eq!(named(body.clone().into_bytes()), expected);
    assert_eq!(named(body.replace("duplicateResut", "duplicateResult").into_bytes()), expected);
    let only_contact = refused(&named(body.replace("\"type\": \"Lead\"", "\"type\": \"Account\"").into_bytes()));
    assert_eq!(only_contact.code, "DUPLICATES_DETECTED");
}

// Breaks when results of a collection are given to the wrong item, or `attributes` is not written first.
#[test]
fn a_collection_settles_each_item() {
    let keys = ["done", "missing", "double", "odd", "locked"];
    let items = keys.iter().enumerate().map(|(n, key)| create(key, &format!("m{n}"), json!({ "Attic__c": "x" }))).collect();
    let mut asked = Vec::new();
    let answers = vec![answer(200, fixture!("collection.json")), answer(400, fixture!("duplicates.json"))];
    let said = run(open(&written(items)), script(answers, &mut asked));
    let body = String::from_utf8(asked[0].request.body.clone()).unwrap();
    assert_eq!(asked[0].request.url, "/services/data/v66.0/composite/sobjects/Lead/Leadshare_Id__c");
    assert!(body.starts_with(r#"{"allOrNone":false,"records":[{"attributes":{"type":"Lead"},"Leadshare_Id__c":"m0","#), "{body}");
    assert_eq!(asked[0].effect, Effect::Keyed(keys.map(str::to_owned).to_vec()));
    assert_eq!(asked[1].effect, Effect::Keyed(vec!["double".into()]), "a double is asked about alone, for then it is named");
    assert!(matches!(said.items["done"], ItemResult::Written { .. }));
    assert_eq!(refused(&said.items["missing"]).fields, ["Company"]);
    assert_eq!(said.items["double"], ItemResult::Exists("00Q5g00000AAAABEA5".into()));
    assert!(!refused(&said.items["odd"]).passing);
    assert!(refused(&said.items["locked"]).passing);
}

// Breaks when a collection that is refused whole takes the innocent items with it.
#[test]
fn a_refused_collection_is_taken_apart() {
    let items = vec![create("guilty", "m0", json!({ "tier__c": "Gold" })), create("a", "m1", json!({})), create("b", "m2", json!({}))];
    let two = json!([
        { "id": "00Q5g00000AAAAAEA5", "success": true, "errors": [], "created": true },
        { "id": "00Q5g00000AAAABEA5", "success": true, "errors": [], "created": true },
    ]);
    let mut asked = Vec::new();
    let answers = vec![answer(400, fixture!("collection_refused.json")), Response::json(200, &two)];
    let said = run(open(&written(items)), script(answers, &mut asked));
    let fault = refused(&said.items["guilty"]);
    assert_eq!((fault.code.as_str(), fault.fields.as_slice(), fault.config), ("INVALID_FIELD", &["Tier__c".to_owned()][..], true));
    assert!(matches!((&said.items["a"], &said.items["b"]), (ItemResult::Written { .. }, ItemResult::Written { .. })));

    // Passing trouble is nobody's fault: all are tried again later.
    let items = || vec![create("a", "m1", json!({})), create("b", "m2", json!({}))];
    let said = run(open(&written(items())), |_| Some(answer(400, fixture!("locked.json"))));
    assert_eq!((said.asks, refused(&said.items["a"]).passing, refused(&said.items["b"]).passing), (1, true, true));

    // When nothing says which one it was, halves are tried.
    let items = (0..8).map(|n| update(&n.to_string(), "00Q5g00000AAAAAEA5", json!({ "Rating": n }))).collect();
    let said = run(open(&written(items)), |ask| {
        let Effect::Keyed(keys) = &ask.effect else { panic!() };
        if keys.contains(&"5".to_owned()) {
            return Some(answer(400, br#"[{"message":"Unexpected character","errorCode":"JSON_PARSER_ERROR"}]"#.to_vec()));
        }
        let result = json!({ "id": "00Q5g00000AAAAAEA5", "success": true, "errors": [] });
        Some(Response::json(200, &vec![result; keys.len()]))
    });
    assert_eq!(
        said.items.iter().filter(|(_, r)| matches!(r, ItemResult::Refused(_))).map(|(key, _)| key.as_str()).collect::<Vec<_>>(),
        ["5"]
    );
}

// Breaks when a duplicated marker of a parallel write is taken for a refusal, or is asked about for ever.
#[test]
fn a_marker_taken_meanwhile_is_sent_once_more() {
    let double = || Response::json(400, &json!([{ "message": "duplicate value found", "errorCode": "DUPLICATE_VALUE", "fields": [] }]));
    let mut asked = Vec::new();
    let answers = vec![double(), answer(200, fixture!("upsert_updated.json"))];
    let said = run(open(&written(vec![create("a", "m", json!({}))])), script(answers, &mut asked));
    assert!(matches!(said.items["a"], ItemResult::Written { .. }));
    let said = run(open(&written(vec![create("a", "m", json!({}))])), |_| Some(double()));
    assert_eq!((said.asks, refused(&said.items["a"]).code.as_str()), (2, "DUPLICATE_VALUE"));
}

// Breaks when a follow asks for ever after opportunities that the connected user may not see.
#[test]
fn opportunities_that_cannot_be_seen_are_left_out() {
    let lead = json!({ "totalSize": 1, "done": true, "records": [{
        "Id": "00Q5g00000AAAAAEA5", "SystemModstamp": "2026-05-06T11:29:24.000+0000", "CreatedDate": "2026-05-06T11:00:00.000+0000",
        "IsDeleted": false, "MasterRecordId": null, "IsConverted": true, "ConvertedOpportunityId": "0065g00000AAAAAAA5" }] });
    let ids = vec!["00Q5g00000AAAAAEA5".to_owned()];
    let op = Op::Follow { object: "Lead".into(), ids, fields: vec!["IsConverted".into(), "opportunity.IsWon".into()] };
    let mut asked = Vec::new();
    let none = Response::json(200, &json!({ "totalSize": 0, "done": true, "records": [] }));
    let records = run(open(&op), script(vec![Response::json(200, &lead), none], &mut asked)).records();
    assert_eq!(records[0].fields, fields(json!({ "IsConverted": true })));
    assert_eq!(asked.len(), 2);
}

// Breaks when the answers that Salesforce gives are not told apart.
#[test]
fn recorded_refusals_are_classified() {
    let connector = Salesforce::new();
    let action = |status, body| connector.manifest().classify(&answer(status, body)).action;
    assert_eq!(action(401, fixture!("session_expired.json")), Action::RefreshThenRetry);
    assert_eq!(action(403, fixture!("limit_daily.json")), Action::Wait);
    assert_eq!(action(403, fixture!("limit_concurrent.json")), Action::Wait);
    assert_eq!(action(400, fixture!("locked.json")), Action::Retry);
    for (status, body) in [
        (400, fixture!("duplicates.json")),
        (400, fixture!("converted.json")),
        (404, fixture!("deleted.json")),
        (400, fixture!("required_missing.json")),
        (300, fixture!("upsert_several.json")),
    ] {
        assert_eq!(action(status, body), Action::Hear, "{status}");
    }
}

fn check(describe: &Value, scopes: &[&str], names: &[&str]) -> Vec<Finding> {
    let op = Op::Check {
        object: "Lead".into(),
        marker_field: "Leadshare_Id__c".into(),
        fields: names.iter().map(|n| (*n).to_owned()).collect(),
        writes: true,
    };
    let account = crate::sdk::Account { scopes: scopes.iter().map(|s| (*s).to_owned()).collect(), ..account() };
    let talk = Salesforce::new().open(&op, &account, None).unwrap();
    let said = run(talk, |ask| {
        Some(if ask.request.url.contains("/describe") {
            Response::json(200, describe)
        } else {
            let mut page = answer(200, fixture!("query_last_page.json"));
            page.headers.push(("sforce-limit-info".into(), "api-usage=14000/15000; per-app-api-usage=17/250(appName=x)".into()));
            page
        })
    });
    match said.end {
        Some(Ok(Output::Checked(findings))) => findings,
        other => panic!("{other:?}"),
    }
}

// Breaks when a check passes over what would make deliveries fail, or does not say how to mend it.
#[test]
fn a_check_finds_what_would_fail() {
    let describe = value(&fixture!("describe_lead.json"));
    let bad = |findings: Vec<Finding>| {
        let bad = findings.into_iter().filter(|f| !f.ok).inspect(|f| assert!(f.fix.is_some()));
        bad.map(|f| format!("{}: {}", f.code, f.what)).collect::<Vec<_>>()
    };
    let all = ["LastName", "Company", "Email", "Status", "Score__c", "IsConverted"];
    assert_eq!(
        bad(check(&describe, &["refresh_token", "api"], &all)),
        ["daily_requests: 14000 of 15000 requests of the last 24 hours are used"]
    );

    let found = bad(check(&describe, &["api"], &["LastName", "Email", "Tier__c", "HasOptedOutOfEmail"]));
    assert!(found.contains(&"scope: scope refresh_token".to_owned()), "{found:?}");
    assert!(found.contains(&"field: field Lead.Tier__c".to_owned()), "read-only for the connected user: {found:?}");
    assert!(found.contains(&"field: field Lead.HasOptedOutOfEmail".to_owned()), "hidden: {found:?}");
    assert!(found.contains(&"required_field: required field Company".to_owned()), "{found:?}");

    let mut without = describe.clone();
    without["fields"].as_array_mut().unwrap().pop();
    let marker = |describe: &Value| check(describe, &[], &all).into_iter().find(|f| f.code == "marker_field").unwrap();
    assert!(marker(&without).fix.unwrap().contains("External ID"));
    let mut not_unique = describe.clone();
    not_unique["fields"].as_array_mut().unwrap().last_mut().unwrap()["unique"] = false.into();
    assert!(!marker(&not_unique).ok && marker(&describe).ok);
}

// Breaks when describe offers inactive values, labels instead of values, or calls booleans required.
#[test]
fn an_object_is_described() {
    let said = run(open(&Op::Describe { object: "Lead".into() }), |_| Some(answer(200, fixture!("describe_lead.json"))));
    let Some(Ok(Output::Described(all))) = said.end else { panic!() };
    let field = |name: &str| all.iter().find(|f| f.name == name).unwrap();
    assert_eq!(field("Status").options, ["Open - Not Contacted", "Working - Contacted"]);
    assert!(!field("Status").required && !field("IsUnreadByOwner").required && field("Company").required);
    assert!(field("Leadshare_Id__c").unique && field("Leadshare_Id__c").custom);
    assert!(!field("Score__c").writable && field("Email").writable);
}

// Breaks when the documented form of an outbound message is not read.
#[test]
fn an_outbound_message_is_read() {
    let raw =
        RawRequest { method: Method::Post, url: "https://hooks.example/s".into(), headers: vec![], body: fixture!("outbound_message.xml") };
    let key = WebhookKey { id: "k".into(), secret: vec![], account: Some("00D5g000004XyzA".into()) };
    let incoming = Salesforce::new().webhook(&raw, &[key], 0).unwrap();
    assert_eq!(incoming.hints.len(), 1);
    assert_eq!((incoming.hints[0].id.as_str(), incoming.hints[0].occurred_at), ("00Q5g00000AAAAAEA5", Some(1_778_066_964_000)));
}
