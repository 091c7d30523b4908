//! Two daemons of two programs back to back: A's recipient is B's source, in one account, and the other way round.

use leadshare::clock::{Millis, SECOND};
use leadshare::mapping;
use leadshare_connectors::sdk::{Act, App, Fields};
use serde_json::{Value, json};

use crate::house::{Engine, House, text};

const REST: Millis = 120 * SECOND;
/// Polls of the shared accounts in which nothing may move.
const ROUNDS: u64 = 30;

fn fields(value: Value) -> Fields {
    serde_json::from_value(value).unwrap()
}

/// Program A: Northwind's HubSpot shares with Brightwater's Salesforce. Program B, with keys of its own: Lumen shares what
/// is in that Salesforce with Tessera, which is that HubSpot.
async fn two_programs(files: &(dyn Fn(&str, &str) -> String + Sync)) -> (House, House) {
    let a = House::on(Engine::Sqlite, None, &["northwind", "brightwater"], &|text| text, files).await;
    let written = std::fs::read_to_string(a.stage().config_path()).unwrap();
    // The same accounts and apps, under the names of B's partners.
    let section = |name: &str, as_name: &str, role: &str| {
        let part = written.split("\n[connections.").find(|part| part.starts_with(&format!("{name}]"))).unwrap();
        let lines = part.replace(name, as_name);
        let lines = lines.lines().map(|line| if line.starts_with("role") { format!("role = \"{role}\"") } else { line.to_owned() });
        format!("\n[connections.{}\n", lines.collect::<Vec<_>>().join("\n"))
    };
    let config = |text: String| {
        let own = section("brightwater", "lumen", "source") + &section("northwind", "tessera", "recipient");
        text.split("\n[connections.").next().unwrap().to_owned() + &own
    };
    let b = House::on(Engine::Sqlite, None, &[], &config, files).await;
    // What B needs in the accounts, as their admins would add it.
    for (house, at, object, file) in
        [(&a, "brightwater", "Lead", "mappings/lumen.toml"), (&a, "northwind", "contact", "mappings/tessera.toml")]
    {
        let path = b.stage().dir.join(file);
        let mapping = mapping::parse(file, &std::fs::read_to_string(path).unwrap()).unwrap();
        let back = mapping.file().status.as_ref().and_then(|s| s.back.as_ref()).map(|b| b.pairs().map(|(_, f)| f.crm).collect::<Vec<_>>());
        for name in mapping.read_fields().into_iter().chain(mapping.written_fields()).chain(back.unwrap_or_default()) {
            let define = Act::DefineField { object: object.into(), name, unique: false, options: Vec::new() };
            // What is there already is refused: that is fine.
            let _ = house.stage().of(at).unwrap().1.sandbox().act(define, house.clock.now());
        }
    }
    (a, b)
}

/// Connects A's partners, then B's: an app of a simulated account sends its visitors back to one address.
async fn connect(a: &House, b: Option<&House>) {
    let house = b.unwrap_or(a);
    for (i, name) in ["northwind", "brightwater"].into_iter().enumerate() {
        let hook = if i == 0 { "hubspot".to_owned() } else { format!("{name}/{}", secret(i)) };
        a.stage().of(name).unwrap().1.sandbox().register(App {
            client_id: format!("demo-{i}"),
            client_secret: secret(i),
            redirect_uri: format!("http://{}/oauth/callback", house.stage().web),
            webhook_url: Some(format!("http://{}/hooks/{hook}", a.stage().web)),
        });
    }
    house.connect().await;
}

fn secret(i: usize) -> String {
    format!("demo-secret-{i}-of-a-simulated-app")
}

/// Waits until both are at rest, and stay so while the accounts are polled again and again.
async fn still(a: &House, b: &House) {
    let requests = || ["northwind", "brightwater"].map(|name| a.stage().of(name).unwrap().1.sandbox().stats().requests).iter().sum::<u64>();
    let (mut writes, mut since) = (-1, requests());
    a.until("nothing moves any more", 2 * REST, async || {
        let now = a.attempts().await + b.attempts().await;
        let open = a.nothing_open().await.and(b.nothing_open().await);
        if now != writes || open.is_err() {
            (writes, since) = (now, requests());
        }
        if requests() - since >= ROUNDS { open } else { Err(format!("{now} writes")) }
    })
    .await;
}

// Breaks when a lead that came through one program goes back through the other.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_programs_back_to_back_settle_in_one_round() {
    let (mut a, mut b) = two_programs(&|_, text| text.to_owned()).await;
    let _first = a.start(None).await;
    connect(&a, None).await;
    let _second = b.start(None).await;
    connect(&a, Some(&b)).await;
    let mut from_a = a.enter("northwind", "brightwater", 3);
    let from_b: Vec<_> = (0..3).map(|_| b.pick("lumen", "tessera")).collect();
    for person in &from_b {
        a.act("brightwater", Act::Create { object: "Lead".into(), fields: person.fields.clone() });
    }
    a.until("both programs deliver", REST, async || {
        let there = |name: &str, email: &str| a.with_email(name, email).len() == 1;
        let all = from_a.iter().all(|e| there("brightwater", &e.person.email)) && from_b.iter().all(|p| there("northwind", &p.email));
        if all { Ok(()) } else { Err("not yet".into()) }
    })
    .await;
    // Somebody fills in what was received, just as good leads of their own look.
    let (own, others) = (a.pick("northwind", "brightwater"), b.pick("lumen", "tessera"));
    for entered in from_a.drain(..) {
        let record = a.with_email("brightwater", &entered.person.email).remove(0);
        let mut filled = others.fields.clone();
        filled.extend(fields(json!({ "Email": entered.person.email, "Consented_Email__c": entered.person.email })));
        a.act("brightwater", Act::Update { object: "Lead".into(), id: record.id, fields: filled });
    }
    for person in &from_b {
        let record = a.with_email("northwind", &person.email).remove(0);
        let mut filled = own.fields.clone();
        filled.extend(fields(json!({ "email": person.email, "ls_consented_email": person.email })));
        a.act("northwind", Act::Update { object: "contact".into(), id: record.id, fields: filled });
    }
    still(&a, &b).await;
    assert_eq!((a.records("northwind").len(), a.records("brightwater").len()), (6, 6), "every person once in each account");
    assert_eq!((a.attempts().await, b.attempts().await), (6, 6), "each program wrote each lead out once and its news back once");
    for (house, name) in [(&a, "northwind"), (&b, "lumen")] {
        let outcomes = house.outcomes(name).await;
        assert!(outcomes.iter().any(|(_, reason, _)| reason == "received_through_another_program"), "{name}: {outcomes:?}");
    }
    println!("back to back: 3 leads each way, one write out and one back for each, then still over {ROUNDS} requests");
}

// Breaks when two programs that translate a field differently write it for ever, or nobody is told which field it is.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_field_that_goes_back_and_forth_is_named_and_left_alone() {
    let files = |path: &str, text: &str| match path {
        // What is the boss to the one is the chief to the other, and the other way round.
        "mappings/brightwater.toml" => text
            .replace(
                "role       = \"Title\"",
                "role = { crm = \"Title\", values = { Boss = \"Chief\", Chief = \"Boss\" }, unmapped = \"drop\" }",
            )
            .replace("on_existing = \"fill_empty\"", "on_existing = \"listed\"\nlisted = [\"Title\"]"),
        "mappings/tessera.toml" => text.replace("on_existing = \"fill_empty\"", "on_existing = \"listed\"\nlisted = [\"jobtitle\"]"),
        _ => text.to_owned(),
    };
    let (mut a, mut b) = two_programs(&files).await;
    for (house, second) in [(&a, None), (&b, Some(&b))] {
        let daemon = house.start(None).await;
        connect(&a, second).await;
        daemon.kill().await;
    }
    // Both know the person before either has written: A dies before it can.
    let mut first = a.start(Some("delivery.claimed=kill")).await;
    let mut at_a = a.pick("northwind", "brightwater");
    at_a.fields.insert("jobtitle".into(), "Boss".into());
    a.act("northwind", Act::Create { object: "contact".into(), fields: at_a.fields.clone() });
    assert_eq!(first.ended(REST).await, Some(9));
    let mut at_b = b.pick("lumen", "tessera");
    at_b.fields.extend(fields(json!({ "Email": at_a.email, "Consented_Email__c": at_a.email, "Title": "Boss" })));
    a.act("brightwater", Act::Create { object: "Lead".into(), fields: at_b.fields });
    let _second = b.start(None).await;
    b.until("B has delivered", REST, async || if b.attempts().await > 1 { b.nothing_open().await } else { Err("not yet".into()) }).await;
    let _first = a.start(None).await;
    let named = |house: &House, field: &str| {
        let logged = house.logged();
        logged.lines().any(|line| line.contains("goes back and forth") && line.contains(&format!("field=\"{field}\"")))
    };
    a.until("the field is named", 2 * REST, async || {
        let titles = format!(
            "{:?} {:?}",
            a.with_email("northwind", &at_a.email)[0].fields.get("jobtitle"),
            text(&a.with_email("brightwater", &at_a.email)[0], "Title")
        );
        if named(&a, "Title") || named(&b, "jobtitle") {
            Ok(())
        } else {
            Err(format!("{} and {} writes, {titles}", a.attempts().await, b.attempts().await))
        }
    })
    .await;
    still(&a, &b).await;
    println!("back and forth: named and still after {} writes by A and {} by B", a.attempts().await, b.attempts().await);
}
