//! Creating, changing, deleting: alone, in collections, in composites, and by people.

use std::fmt::Write as _;

use serde_json::{Value, json};

use super::{Options, Org, code, fields};
use crate::{
    salesforce::sandbox::{DuplicateRule, Validation},
    sdk::{Act, Fault, Method, Sandbox},
};

fn create(org: &mut Org, body: &Value) -> crate::sdk::Response {
    org.api(Method::Post, "sobjects/Lead/", body)
}

// Breaks when the vendor's checks are passed over, or say something else.
#[test]
fn what_the_vendor_refuses_is_refused() {
    let refuse = Validation { object: "Lead".into(), field: "Rating".into(), value: json!("Cold"), message: "No cold leads".into() };
    let mut org = Org::with(Options { validations: vec![refuse], ..Options::default() });
    let tier = Act::DefineField { object: "Lead".into(), name: "Tier__c".into(), unique: false, options: vec!["Gold".into()] };
    org.act(tier).unwrap();
    let with = |extra: Value| {
        let mut all = fields(json!({ "LastName": "Doe", "Company": "Acme" }));
        all.extend(fields(extra));
        json!(all)
    };
    for (body, expected) in [
        (json!({ "FirstName": "Jo" }), "REQUIRED_FIELD_MISSING"),
        (with(json!({ "Company": "  " })), "REQUIRED_FIELD_MISSING"),
        (with(json!({ "Nope__c": 1 })), "INVALID_FIELD"),
        (with(json!({ "IsConverted": true })), "INVALID_FIELD_FOR_INSERT_UPDATE"),
        (with(json!({ "Email": "not an address" })), "INVALID_EMAIL_ADDRESS"),
        (with(json!({ "LastName": "x".repeat(81) })), "STRING_TOO_LONG"),
        (with(json!({ "Tier__c": "Silver" })), "INVALID_OR_NULL_FOR_RESTRICTED_PICKLIST"),
        (with(json!({ "Status": "New" })), "INVALID_OR_NULL_FOR_RESTRICTED_PICKLIST"),
        (with(json!({ "Status": "Closed - Converted" })), "FIELD_INTEGRITY_EXCEPTION"),
        (with(json!({ "DoNotCall": "true" })), "JSON_PARSER_ERROR"),
        (with(json!({ "LastName": 5 })), "JSON_PARSER_ERROR"),
        (with(json!({ "OwnerId": "0055g0000000000AAA" })), "INVALID_CROSS_REFERENCE_KEY"),
        (with(json!({ "Rating": "Cold" })), "FIELD_CUSTOM_VALIDATION_EXCEPTION"),
    ] {
        let response = create(&mut org, &body);
        assert_eq!((response.status, code(&response)), (400, expected.to_owned()), "{body}");
    }
    assert!(org.sandbox.records("Lead").is_empty());
    let done = create(&mut org, &with(json!({ "Tier__c": "Gold", "Title": "  Buyer ", "Phone": "" })));
    assert_eq!(done.status, 201);
    let record = org.sandbox.records("Lead").remove(0);
    assert!(record.made_by_api && record.fields["Title"] == "Buyer" && !record.fields.contains_key("Phone"), "texts are trimmed");
    assert_eq!(record.fields["Status"], "Open - Not Contacted");
}

// Breaks when a change or deletion is answered otherwise than the vendor does, or a deleted record lives on.
#[test]
fn records_are_changed_and_deleted() {
    let mut org = Org::new();
    let id = org.lead(json!({ "Title": "Buyer" }));
    let path = format!("sobjects/Lead/{id}");
    let done = org.api(Method::Patch, &path, &json!({ "Title": null, "Rating": "Hot" }));
    assert_eq!((done.status, done.body.len(), done.header("sforce-limit-info")), (204, 0, None));
    let read = org.get(&format!("{path}?fields=Title,Rating")).value().unwrap();
    assert_eq!((&read["Title"], &read["Rating"]), (&Value::Null, &json!("Hot")));
    assert_eq!(org.api(Method::Delete, &format!("sobjects/Lead/{}", &id[..15]), &Value::Null).status, 204);
    for method in [Method::Delete, Method::Get] {
        let gone = org.api(method, &path, &Value::Null);
        assert_eq!((gone.status, code(&gone)), (404, "ENTITY_IS_DELETED".into()));
    }
    assert_eq!(org.get("sobjects/Lead/00Q000000000000AAA").status, 404);
}

// Breaks when an upsert makes twins, repeats its key, or answers as another version does.
#[test]
fn upserts_go_by_the_external_id() {
    let mut org = Org::with(Options { loose_external_ids: vec![("Lead".into(), "Loose__c".into())], ..Options::default() });
    let body = json!({ "LastName": "Doe", "Company": "Acme" });
    let path = "sobjects/Lead/Marker__c/a%2Fb%20c";
    let first = org.api(Method::Patch, path, &body);
    assert_eq!((first.status, first.value().unwrap()["created"].as_bool()), (201, Some(true)));
    let again = org.api(Method::Patch, path, &body);
    assert_eq!((again.status, again.value().unwrap()["created"].as_bool()), (200, Some(false)));
    assert_eq!(org.sandbox.records("Lead")[0].fields["Marker__c"], "a/b c");
    assert_eq!(org.api(Method::Patch, "/services/data/v45.0/sobjects/Lead/Marker__c/a%2Fb%20c", &body).status, 204);
    assert_eq!(org.api(Method::Patch, "sobjects/Lead/Marker__c/new?updateOnly=true", &body).status, 404);
    let mut doubled = body.clone();
    doubled["Marker__c"] = "a/b c".into();
    assert_eq!(code(&org.api(Method::Patch, path, &doubled)), "INVALID_FIELD");
    assert_eq!(code(&org.api(Method::Patch, "sobjects/Lead/Company/Acme", &body)), "NOT_FOUND");
    for _ in 0..2 {
        org.lead(json!({ "Loose__c": "same" }));
    }
    let several = org.api(Method::Patch, "sobjects/Lead/Loose__c/same", &body);
    assert_eq!((several.status, several.value().unwrap().as_array().unwrap().len()), (300, 2));
    let taken = create(&mut org, &doubled);
    assert_eq!(code(&taken), "DUPLICATE_VALUE");
    assert_eq!(org.sandbox.stats().created, 1);
}

// Breaks when an external id is held for ever by a record in the recycle bin.
#[test]
fn a_deleted_record_frees_its_external_id() {
    let mut org = Org::new();
    let body = json!({ "LastName": "Doe", "Company": "Acme" });
    let first = org.api(Method::Patch, "sobjects/Lead/Marker__c/m", &body).value().unwrap()["id"].as_str().unwrap().to_owned();
    org.act(Act::Delete { object: "Lead".into(), id: first.clone() }).unwrap();
    let second = org.api(Method::Patch, "sobjects/Lead/Marker__c/m", &body);
    assert_eq!(second.status, 201);
    assert_ne!(second.value().unwrap()["id"], first);
}

// Breaks when a collection loses the order of its results or lets one record spoil another.
#[test]
fn collections_answer_for_each_record() {
    let mut org = Org::new();
    let row = |extra: Value| {
        let mut body = r#"{"attributes":{"type":"Lead"},"LastName":"Doe","Company":"Acme""#.to_owned();
        for (name, value) in extra.as_object().unwrap() {
            let _ = write!(body, ",\"{name}\":{value}");
        }
        body + "}"
    };
    let records = [
        row(json!({ "Marker__c": "m1" })),
        row(json!({ "Marker__c": "m2", "Email": "bad" })),
        row(json!({})),
        row(json!({ "Marker__c": "m3" })),
        row(json!({ "Marker__c": "M3" })),
        r#"{"LastName":"Doe","attributes":{"type":"Lead"},"Marker__c":"m4"}"#.to_owned(),
    ];
    let body = |all: bool, records: &[String]| format!("{{\"allOrNone\":{all},\"records\":[{}]}}", records.join(","));
    let send = |org: &mut Org, body: String| org.raw(Method::Patch, "composite/sobjects/Lead/Marker__c", &body);
    let answer = send(&mut org, body(false, &records)).value().unwrap();
    let codes: Vec<_> =
        answer.as_array().unwrap().iter().map(|r| r["errors"][0]["statusCode"].as_str().unwrap_or("done").to_owned()).collect();
    assert_eq!(codes, ["done", "INVALID_EMAIL_ADDRESS", "MISSING_ARGUMENT", "DUPLICATE_VALUE", "DUPLICATE_VALUE", "JSON_PARSER_ERROR"]);
    assert_eq!(answer[0]["created"], true);
    let answer = send(&mut org, body(true, &[row(json!({ "Marker__c": "m5" })), row(json!({ "Marker__c": "m6", "Email": "bad" }))]))
        .value()
        .unwrap();
    assert_eq!(answer[0]["errors"][0]["statusCode"], "ALL_OR_NONE_OPERATION_ROLLED_BACK");
    assert_eq!(org.sandbox.records("Lead").len(), 1);
    let many: Vec<String> = (0..201).map(|n| row(json!({ "Marker__c": n.to_string() }))).collect();
    assert_eq!(send(&mut org, body(false, &many)).status, 400);
}

// Breaks when updates and deletions in collections are told by other codes than the vendor's.
#[test]
fn collections_change_and_delete() {
    let mut org = Org::new();
    let (live, gone) = (org.lead(json!({})), org.lead(json!({})));
    org.act(Act::Delete { object: "Lead".into(), id: gone.clone() }).unwrap();
    let row = |id: &str| format!(r#"{{"attributes":{{"type":"Lead"}},"id":"{id}","Rating":"Hot"}}"#);
    let body = format!(r#"{{"allOrNone":false,"records":[{},{},{}]}}"#, row(&live), row(&gone), row("00Q000000000000AAA"));
    let answer = org.raw(Method::Patch, "composite/sobjects", &body).value().unwrap();
    assert_eq!(answer[0]["id"], live);
    assert_eq!(answer[1]["errors"][0]["statusCode"], "ENTITY_IS_DELETED");
    assert_eq!(answer[2]["errors"][0]["statusCode"], "INVALID_CROSS_REFERENCE_KEY");
    let read = org.get(&format!("composite/sobjects/Lead?ids={live},{gone}&fields=Rating")).value().unwrap();
    assert_eq!((&read[0]["Rating"], &read[1]), (&json!("Hot"), &Value::Null));
    let answer = org.api(Method::Delete, &format!("composite/sobjects?ids={live},{gone}&allOrNone=false"), &Value::Null).value().unwrap();
    assert_eq!((&answer[0]["success"], &answer[1]["success"]), (&json!(true), &json!(false)));
}

// Breaks when a composite request cannot use what an earlier part answered, or costs more than one request.
#[test]
fn composites_refer_to_earlier_answers() {
    let mut org = Org::new();
    let base = "/services/data/v66.0/sobjects";
    let body = json!({ "allOrNone": false, "compositeRequest": [
        { "method": "POST", "url": format!("{base}/Account"), "referenceId": "acc", "body": { "Name": "Acme" } },
        { "method": "POST", "url": format!("{base}/Contact"), "referenceId": "con", "body": { "LastName": "Doe", "AccountId": "@{acc.id}" } },
        { "method": "GET", "url": format!("{base}/Contact/@{{con.id}}?fields=AccountId"), "referenceId": "read" },
        { "method": "PATCH", "url": format!("{base}/Lead/00Q000000000000AAA"), "referenceId": "bad", "body": { "Title": "x" } },
    ] });
    let answer = org.api(Method::Post, "composite", &body);
    let parts = answer.value().unwrap()["compositeResponse"].clone();
    let statuses: Vec<_> = (0..4).map(|n| parts[n]["httpStatusCode"].as_u64().unwrap()).collect();
    assert_eq!(statuses, [201, 201, 200, 404]);
    assert_eq!(parts[2]["body"]["AccountId"], parts[0]["body"]["id"]);
    assert_eq!(answer.header("sforce-limit-info"), Some("api-usage=1/5000000"));
}

// Breaks when the duplicate rule lets twins pass, or cannot be passed over where the vendor lets it.
#[test]
fn duplicates_are_detected() {
    let body = json!({ "LastName": "Doe", "Company": "Acme", "Email": "JO@example.com" });
    let mut org = Org::new();
    let there = org.lead(json!({ "Email": "jo@example.com" }));
    let refused = create(&mut org, &body);
    let error = &refused.value().unwrap()[0];
    assert_eq!((refused.status, error["errorCode"].as_str()), (400, Some("DUPLICATES_DETECTED")));
    assert_eq!(error["duplicateResut"]["matchResults"][0]["matchRecords"][0]["record"]["Id"], there);
    org.headers = vec![("sforce-duplicate-rule-header".into(), "allowSave=true; includeRecordDetails=true".into())];
    assert_eq!(create(&mut org, &body).status, 201);
    let block = Options { duplicates: DuplicateRule::Block, ..Options::default() };
    let off = Options { duplicates: DuplicateRule::Off, ..Options::default() };
    for (options, status) in [(block, 400), (off, 201)] {
        let mut org = Org::with(options);
        org.lead(json!({ "Email": "jo@example.com" }));
        org.headers = vec![("sforce-duplicate-rule-header".into(), "allowSave=true".into())];
        assert_eq!(create(&mut org, &body).status, status);
    }
}

// Breaks when a converted lead can be written, or its opportunity does not follow its stage.
#[test]
fn converted_leads_become_opportunities() {
    let mut org = Org::new();
    let lead = org.lead(json!({ "Email": "jo@example.com" }));
    let won = json!({ "Name": "Deal", "StageName": "Closed Won", "CloseDate": "2026-10-01", "Amount": 10.0 });
    let opportunity = org.act(Act::Convert { object: "Lead".into(), id: lead.clone(), fields: fields(won) }).unwrap();
    let soql = "SELECT Status, IsConverted, ConvertedOpportunityId, ConvertedOpportunity.IsWon, ConvertedContact.Email FROM Lead";
    let row = org.query(soql).unwrap().remove(0);
    assert_eq!((&row["Status"], &row["IsConverted"]), (&json!("Closed - Converted"), &json!(true)));
    assert_eq!((&row["ConvertedOpportunityId"], &row["ConvertedOpportunity"]["IsWon"]), (&json!(opportunity), &json!(true)));
    assert_eq!(row["ConvertedContact"]["Email"], "jo@example.com");
    let refused = org.api(Method::Patch, &format!("sobjects/Lead/{lead}"), &json!({ "Title": "x" }));
    assert_eq!(code(&refused), "CANNOT_UPDATE_CONVERTED_LEAD");
    let lost = fields(json!({ "StageName": "Closed Lost" }));
    org.act(Act::Update { object: "Opportunity".into(), id: opportunity, fields: lost }).unwrap();
    let row = org.query("SELECT IsWon, IsClosed, Probability FROM Opportunity").unwrap().remove(0);
    assert_eq!((&row["IsWon"], &row["IsClosed"], &row["Probability"]), (&json!(false), &json!(true), &json!(0)));
    assert!(org.act(Act::Convert { object: "Contact".into(), id: lead, fields: fields(json!({})) }).is_err());
}

// Breaks when the record that lost a merge cannot be traced to the one that stays.
#[test]
fn merges_leave_a_trace() {
    let mut org = Org::new();
    let (winner, loser) = (org.lead(json!({})), org.lead(json!({})));
    org.now += 5_000;
    org.act(Act::Merge { object: "Lead".into(), winner: winner.clone(), loser: loser.clone() }).unwrap();
    let soql = format!("SELECT IsDeleted, MasterRecordId, SystemModstamp FROM Lead WHERE Id = '{loser}'");
    let row = org.get(&format!("queryAll?q={}", super::encoded(&soql))).value().unwrap()["records"][0].clone();
    assert_eq!((&row["IsDeleted"], &row["MasterRecordId"]), (&json!(true), &json!(winner)));
    assert_eq!(row["SystemModstamp"], "2026-05-06T11:29:29.000+0000");
    assert!(org.act(Act::Merge { object: "Lead".into(), winner: winner.clone(), loser: winner }).is_err());
}

// Breaks when a lost answer does not leave the write behind, or a late commit comes at another time.
#[test]
fn broken_connections_may_have_committed() {
    let mut org = Org::new();
    let body = json!({ "LastName": "Doe", "Company": "Acme" });
    org.sandbox.inject(Fault::DropAfterCommit { count: 1 });
    assert!(org.try_api(Method::Get, "limits", &Value::Null).is_some(), "only writes are hit");
    assert!(org.try_api(Method::Patch, "sobjects/Lead/Marker__c/m", &body).is_none());
    assert_eq!(org.sandbox.records("Lead").len(), 1);

    org.sandbox.inject(Fault::CommitLate { count: 1, after_ms: 30_000 });
    assert!(org.try_api(Method::Patch, "sobjects/Lead/Marker__c/n", &body).is_none());
    org.now += 29_999;
    assert_eq!(org.count("SELECT Id FROM Lead"), 1);
    let mut other = org.sandbox.fork();
    org.now += 1;
    assert_eq!(org.count("SELECT Id FROM Lead"), 2);
    assert_eq!(other.records("Lead").len(), 1, "a copy goes its own way");
    other.act(Act::Delete { object: "Lead".into(), id: other.records("Lead")[0].id.clone() }, org.now).unwrap();
    assert_eq!(org.sandbox.records("Lead").len(), 2);
}
