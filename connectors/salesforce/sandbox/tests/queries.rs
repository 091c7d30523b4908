//! SOQL, pages, and what else reads.

use serde_json::{Value, json};

use super::{NOW, Options, Org, encoded};
use crate::sdk::{Act, Fault, Method, Sandbox};

fn ids(rows: &[Value]) -> Vec<&str> {
    rows.iter().map(|row| row["Id"].as_str().unwrap()).collect()
}

// Breaks when a condition that clients use is understood in another way than the vendor does.
#[test]
fn conditions_mean_what_they_mean_at_the_vendor() {
    let mut org = Org::new();
    let a = org.lead(json!({ "Email": "A@Example.com", "FirstName": "Ann", "NumberOfEmployees": 50, "DoNotCall": true }));
    org.now += 10_000;
    let b = org.lead(json!({ "Email": "b@example.com", "LastName": "O'Neil \\ %", "LeadSource": "Web", "AnnualRevenue": 10.5 }));
    org.now += 10_000;
    let c = org.lead(json!({ "Company": "Größe & Söhne" }));
    let mut found = |condition: &str| -> String {
        let rows =
            org.query(&format!("SELECT Id FROM Lead WHERE {condition} ORDER BY Id")).unwrap_or_else(|code| panic!("{condition}: {code}"));
        let name = |id: &str| {
            if id == a {
                'a'
            } else if id == b {
                'b'
            } else if id == c {
                'c'
            } else {
                '?'
            }
        };
        ids(&rows).into_iter().map(name).collect()
    };
    let cases = [
        ("Email = 'a@example.COM'", "a"),
        ("Email != 'a@example.com'", "bc"),
        ("Email = null", "c"),
        ("Email != null AND LeadSource = null", "a"),
        ("Email IN ('a@example.com', 'b@example.com', 'x')", "ab"),
        ("Email NOT IN ('a@example.com')", "bc"),
        ("DoNotCall = true", "a"),
        ("DoNotCall = FALSE", "bc"),
        ("NumberOfEmployees >= 50", "a"),
        ("AnnualRevenue < 10.6", "b"),
        ("LastName LIKE 'o\\'neil%'", "b"),
        ("FirstName LIKE '_nn'", "a"),
        ("LastName = 'O\\'Neil \\\\ %'", "b"),
        ("(Email = null OR DoNotCall = true) AND Company != 'x'", "ac"),
        ("NOT (Email = null)", "ab"),
        ("NOT Email = null AND DoNotCall = true", "a"),
        ("SystemModstamp = 2026-05-06T11:29:24Z", "a"),
        ("SystemModstamp > 2026-05-06T11:29:24Z", "bc"),
        ("SystemModstamp >= 2026-05-06T13:29:34+02:00 AND SystemModstamp < 2026-05-06T11:29:44.000Z", "b"),
        ("Owner.Name = 'Sam Seller' AND CreatedBy.IsActive = true", "abc"),
        ("Name = 'Ann Doe'", "a"),
        ("Company LIKE '%söhne'", "c"),
    ];
    for (condition, expected) in cases {
        assert_eq!(found(condition), expected, "{condition}");
    }
    assert_eq!(found(&format!("Id = '{}'", &b[..15])), "b");
    assert_eq!(found(&format!("((SystemModstamp = 2026-05-06T11:29:34Z AND Id > '{a}') OR SystemModstamp > 2026-05-06T11:29:34Z)")), "bc");
}

// Breaks when a query that the vendor refuses is answered, or refused with another code.
#[test]
fn wrong_queries_are_refused_with_the_vendors_codes() {
    let mut org = Org::with(Options { hidden: vec![("Lead".into(), "HasOptedOutOfEmail".into())], ..Options::default() });
    for (soql, code) in [
        ("SELECT", "MALFORMED_QUERY"),
        ("SELECT Id FROM Lead WHERE", "MALFORMED_QUERY"),
        ("SELECT Id FROM Lead WHERE Name = 'x", "MALFORMED_QUERY"),
        ("SELECT Id FROM Lead WHERE Name = 'x\\z'", "MALFORMED_QUERY"),
        ("SELECT Id, id FROM Lead", "MALFORMED_QUERY"),
        ("SELECT Id FROM Lead WHERE Email = null AND Name = 'a' OR Name = 'b'", "MALFORMED_QUERY"),
        ("SELECT Id FROM Lead WHERE Id IN ()", "MALFORMED_QUERY"),
        ("SELECT Id FROM Lead; DROP", "MALFORMED_QUERY"),
        ("SELECT Id FROM Lead LIMIT x", "MALFORMED_QUERY"),
        ("SELECT Nope__c FROM Lead", "INVALID_FIELD"),
        ("SELECT Id, HasOptedOutOfEmail FROM Lead", "INVALID_FIELD"),
        ("SELECT Id FROM Lead WHERE DoNotCall = 'true'", "INVALID_FIELD"),
        ("SELECT Id FROM Lead WHERE Company = true", "INVALID_FIELD"),
        ("SELECT Id FROM Lead WHERE SystemModstamp > '2026-05-06T11:29:24Z'", "INVALID_FIELD"),
        ("SELECT Id FROM Nope", "INVALID_TYPE"),
        ("SELECT Id FROM Lead WHERE Id = 'short'", "INVALID_QUERY_FILTER_OPERATOR"),
        ("SELECT Id FROM LeadHistory WHERE NewValue = 'x'", "INVALID_FIELD"),
    ] {
        assert_eq!(org.query(soql), Err(code.to_owned()), "{soql}");
    }
    let nested = format!("SELECT Id FROM Lead WHERE {}Name = 'a'{}", "(".repeat(50_000), ")".repeat(50_000));
    assert_eq!(org.query(&nested), Err("MALFORMED_QUERY".into()));
    let negated = format!("SELECT Id FROM Lead WHERE {} Name = 'a'", "NOT ".repeat(50_000));
    assert_eq!(org.query(&negated), Err("MALFORMED_QUERY".into()));
}

// Breaks when an index answers something else than looking at every row.
#[test]
fn indexes_find_what_a_full_look_finds() {
    let mut org = Org::new();
    let mut all = Vec::new();
    for n in 0..300 {
        org.now += i64::from(n % 7) * 300;
        all.push(org.lead(json!({ "Email": format!("p{}@example.com", n % 40), "Marker__c": format!("M{n}") })));
    }
    for n in (0..300).step_by(3) {
        org.now += 100;
        let change = json!({ "Email": format!("q{}@example.com", n % 50), "Marker__c": if n % 2 == 0 { json!(null) } else { json!(format!("N{n}")) } });
        org.act(Act::Update { object: "Lead".into(), id: all[n].clone(), fields: super::fields(change) }).unwrap();
    }
    for n in (0..300).step_by(11) {
        org.act(Act::Delete { object: "Lead".into(), id: all[n].clone() }).unwrap();
    }
    // `Company != null` joined by OR, or around it, keeps the index from being used.
    for condition in [
        "Email = 'p3@example.com'",
        "Email IN ('q3@example.com', 'P4@example.com', 'p4@example.com')",
        "Marker__c = 'm7'",
        "Marker__c IN ('N9', 'M9', 'm10')",
        "SystemModstamp >= 2026-05-06T11:29:30Z AND SystemModstamp <= 2026-05-06T11:29:40Z",
        "SystemModstamp > 2026-05-06T11:30:00Z AND Email = 'q6@example.com'",
    ] {
        let indexed = org.query(&format!("SELECT Id FROM Lead WHERE {condition} ORDER BY SystemModstamp, Id")).unwrap();
        let looked = org.query(&format!("SELECT Id FROM Lead WHERE NOT (NOT ({condition})) ORDER BY SystemModstamp, Id")).unwrap();
        assert_eq!(ids(&indexed), ids(&looked), "{condition}");
        assert!(!indexed.is_empty(), "{condition}");
    }
}

// Breaks when the order, the limits or the counts of a query are wrong.
#[test]
fn rows_come_in_the_order_asked_for() {
    let mut org = Org::new();
    for (name, rating) in [("b", json!("Hot")), ("a", json!(null)), ("c", json!("Cold"))] {
        org.lead(json!({ "LastName": name, "Rating": rating }));
    }
    let mut names = |rest: &str| -> String {
        org.query(&format!("SELECT LastName FROM Lead {rest}"))
            .unwrap()
            .iter()
            .map(|row| row["LastName"].as_str().unwrap().to_owned())
            .collect()
    };
    assert_eq!(names("ORDER BY LastName"), "abc");
    assert_eq!(names("ORDER BY LastName DESC LIMIT 2"), "cb");
    assert_eq!(names("ORDER BY Rating, LastName"), "acb");
    assert_eq!(names("ORDER BY Rating NULLS LAST"), "cba");
    assert_eq!(names("ORDER BY LastName LIMIT 1 OFFSET 1"), "b");
    let counted = org.get(&format!("query?q={}", encoded("SELECT count() FROM Lead WHERE Rating != null"))).value().unwrap();
    assert_eq!(counted, json!({ "totalSize": 2, "done": true, "records": [] }));
    let by_field = org.query("SELECT COUNT(Id) FROM Lead").unwrap();
    assert_eq!(by_field[0]["expr0"], 3);
}

// Breaks when pages overlap, have gaps, or can be read for ever.
#[test]
fn pages_are_complete_and_end_with_their_locator() {
    let mut org = Org::new();
    for _ in 0..450 {
        org.lead(json!({}));
    }
    org.headers = vec![("sforce-query-options".into(), "batchSize=200".into())];
    let first = org.get(&format!("query?q={}", encoded("SELECT Id FROM Lead"))).value().unwrap();
    assert_eq!((first["totalSize"].as_u64(), first["done"].as_bool()), (Some(450), Some(false)));
    let mut seen: std::collections::BTreeSet<String> = ids(first["records"].as_array().unwrap()).into_iter().map(str::to_owned).collect();
    let mut next = first["nextRecordsUrl"].as_str().map(str::to_owned);
    let kept = next.clone().unwrap();
    while let Some(path) = next {
        let page = org.get(&path).value().unwrap();
        seen.extend(ids(page["records"].as_array().unwrap()).into_iter().map(str::to_owned));
        next = page["nextRecordsUrl"].as_str().map(str::to_owned);
    }
    assert_eq!(seen.len(), 450);
    org.now += 2 * 86_400_000 + 1;
    org.token = org.sandbox.token(org.now);
    assert_eq!(super::code(&org.get(&kept)), "INVALID_QUERY_LOCATOR");
}

// Breaks when the replication resources and queryAll do not tell of deletions.
#[test]
fn deletions_are_told() {
    let mut org = Org::new();
    let (gone, live) = (org.lead(json!({})), org.lead(json!({})));
    org.act(Act::Delete { object: "Lead".into(), id: gone.clone() }).unwrap();
    org.now += 120_000;
    let span = "start=2026-05-06T11:20:00%2B00:00&end=2026-05-06T11:31:00Z";
    let deleted = org.get(&format!("sobjects/Lead/deleted?{span}")).value().unwrap();
    assert_eq!(deleted["deletedRecords"][0]["id"], gone);
    assert_eq!(deleted["deletedRecords"][0]["deletedDate"], "2026-05-06T11:29:24.000+0000");
    let updated = org.get(&format!("sobjects/Lead/updated/?{span}")).value().unwrap();
    assert_eq!(updated["ids"], json!([live]));
    let old = org.get("sobjects/Lead/deleted?start=2026-01-01T00:00:00Z&end=2026-05-06T00:00:00Z");
    assert_eq!(super::code(&old), "INVALID_REPLICATION_DATE");
    let all = org.get(&format!("queryAll?q={}", encoded("SELECT Id, IsDeleted FROM Lead WHERE IsDeleted = true"))).value().unwrap();
    assert_eq!(all["totalSize"], 1);
    assert_eq!(org.count("SELECT Id FROM Lead"), 1);
}

// Breaks when what a long transaction wrote is seen before its time, or a text index is never behind.
#[test]
fn reads_can_lag_behind_commits() {
    let mut org = Org::new();
    let id = org.lead(json!({ "Email": "old@example.com" }));
    org.sandbox.inject(Fault::CommitLag { ms: 60_000 });
    org.now += 1_000;
    let update = Act::Update { object: "Lead".into(), id: id.clone(), fields: super::fields(json!({ "Email": "new@example.com" })) };
    org.act(update).unwrap();
    assert_eq!(org.count("SELECT Id FROM Lead WHERE Email = 'old@example.com'"), 1);
    assert_eq!(org.sandbox.records("Lead")[0].fields["Email"], "new@example.com", "it is committed all the same");
    org.now += 60_000;
    let rows = org.query("SELECT Id, SystemModstamp FROM Lead WHERE Email = 'new@example.com'").unwrap();
    assert_eq!(rows[0]["SystemModstamp"], "2026-05-06T11:29:25.000+0000", "the stamp is that of the change, not of its showing");
    org.sandbox.inject(Fault::IndexLag { ms: 600_000 });
    let found = |org: &mut Org| {
        org.get("parameterizedSearch?q=new%40example&sobject=Lead").value().unwrap()["searchRecords"].as_array().unwrap().len()
    };
    assert_eq!(found(&mut org), 0);
    org.now += 600_000;
    assert_eq!(found(&mut org), 1);
}

// Breaks when describe shows what the client may not see, or leaves out what it needs to know.
#[test]
fn objects_are_described() {
    let mut org = Org::with(Options { hidden: vec![("Lead".into(), "DoNotCall".into())], ..Options::default() });
    let described = org.get("sobjects/Lead/describe").value().unwrap();
    let all = described["fields"].as_array().unwrap();
    let field = |name: &str| all.iter().find(|f| f["name"] == name);
    assert!(field("DoNotCall").is_none());
    let marker = field("Marker__c").unwrap();
    assert!(marker["externalId"] == true && marker["unique"] == true && marker["custom"] == true);
    assert_eq!(field("Status").unwrap()["picklistValues"][0]["value"], "Open - Not Contacted");
    let required =
        |f: &&Value| f["createable"] == true && f["nillable"] == false && f["defaultedOnCreate"] == false && f["type"] != "boolean";
    let required: Vec<_> = all.iter().filter(required).map(|f| f["name"].as_str().unwrap()).collect();
    assert_eq!(required, ["LastName", "Company"]);
    assert_eq!(org.get("sobjects/Nope/describe").status, 404);
    assert_eq!(org.get("/services/data/v29.0/sobjects").status, 410);
    let versions = org.send(Method::Get, "/services/data", vec![], b"").unwrap().value().unwrap();
    assert!(versions.as_array().unwrap().iter().any(|v| v["version"] == "66.0"));
    let statuses = org.query("SELECT ApiName, IsConverted FROM LeadStatus ORDER BY SortOrder").unwrap();
    assert_eq!(statuses[2], json!({ "attributes": statuses[2]["attributes"], "ApiName": "Closed - Converted", "IsConverted": true }));
    assert_eq!(org.now, NOW);
}

// Breaks when a text that is no query, or a cut or bent one, brings the simulator down.
#[test]
fn no_text_brings_it_down() {
    let mut org = Org::new();
    org.lead(json!({ "Email": "a@example.com" }));
    let good = "SELECT Id, Owner.Name FROM Lead WHERE (Email LIKE '%a\\'_' OR NOT Id IN ('00Q000000000000AAA')) AND SystemModstamp >= 2026-05-06T11:29:24Z ORDER BY Name DESC NULLS LAST LIMIT 5 OFFSET 0";
    assert!(org.query(good).is_ok());
    for at in 0..good.len() {
        let _ = org.query(&good[..at]);
        for odd in ["'", "\\", "(", "é", "\u{0}", "-", "99999999999999999999999", " . "] {
            let _ = org.query(&format!("{}{odd}{}", &good[..at], &good[at..]));
        }
    }
    for path in [
        "query?q=%",
        "query?q=%ff%fe",
        "%2f%00/../sobjects",
        "sobjects/Lead/%",
        "composite/sobjects/Lead?ids=,,&fields=",
        "query/-",
        "query/a-9",
    ] {
        assert!(org.get(path).status >= 200);
    }
}
