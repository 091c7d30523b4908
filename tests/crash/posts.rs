//! One person posted a hundred times at once, spelled differently, through two accounts of a source: one record.

use std::collections::BTreeMap;

use leadshare::clock::{Millis, SECOND};
use leadshare::demo::files::FILES;
use leadshare_connectors::sdk::Act;

use crate::house::{Engine, House};

const POSTS: usize = 100;
const REST: Millis = 120 * SECOND;
const PHONES: [&str; 4] = ["020 7946 0018", "+44 20 7946 0018", "(020) 7946-0018", "0044 20 7946 0018"];

/// The i-th spelling of a text: another mix of upper and lower case.
fn spelled(text: &str, i: usize) -> String {
    let upper = |at: usize| (i * 31 + at * (i % 7 + 1)).is_multiple_of(3);
    text.chars().enumerate().map(|(at, c)| if upper(at) { c.to_ascii_uppercase() } else { c.to_ascii_lowercase() }).collect()
}

async fn post_at_once(engine: Engine) {
    // Brightwater's Salesforce becomes Lumen's second account.
    let lumens = FILES.iter().find(|(path, _)| *path == "mappings/lumen.toml").unwrap().1;
    let files = |path: &str, text: &str| if path == "mappings/brightwater.toml" { lumens.to_owned() } else { text.to_owned() };
    let config = |text: String| {
        text.replace("partner = \"brightwater\"", "partner = \"lumen\"").replace("role = \"recipient\"", "role = \"source\"")
    };
    // Tessera still receives.
    let config = |text: String| {
        let (before, tessera) = text.split_once("\n[connections.tessera]").unwrap();
        format!("{}\n[connections.tessera]{tessera}", config(before.to_owned()))
    };
    let url = (engine == Engine::Postgres).then(crate::postgres::database);
    let mut house = House::on(engine, url, &["lumen", "brightwater", "tessera"], &config, &files).await;
    let daemon = house.start(None).await;
    house.connect().await;
    let person = house.pick("lumen", "tessera");
    let address = house.stage().web;
    house.carrier.set_up(address, false);
    let mut hooks = Vec::new();
    for i in 0..POSTS {
        let source = ["lumen", "brightwater"][i % 2];
        let mut fields = person.fields.clone();
        fields.insert("Email".into(), spelled(&person.email, i).into());
        fields.insert("Consented_Email__c".into(), spelled(&person.email, i + 1).into());
        fields.insert("Phone".into(), PHONES[i % PHONES.len()].into());
        fields.insert("LastName".into(), format!("{} {}", " ".repeat(i % 3), spelled("Adler", i)).into());
        house.act(source, Act::Create { object: "Lead".into(), fields });
        hooks.extend(house.carrier.due(source));
    }
    assert_eq!(hooks.len(), POSTS, "one post each");
    house.carrier.carry_at_once(hooks, address).await;
    house.carrier.set_up(address, true);
    house
        .until("every post has its outcome", REST, async || {
            house.nothing_open().await?;
            let records = house.with_email("tessera", &person.email).len();
            if records == 1 { Ok(()) } else { Err(format!("{records} records at the recipient")) }
        })
        .await;
    let mut ended = BTreeMap::<String, i64>::new();
    for source in ["lumen", "brightwater"] {
        for (outcome, _, count) in house.outcomes(source).await {
            *ended.entry(outcome).or_default() += count;
        }
    }
    assert_eq!((ended.get("shared"), ended.get("duplicate")), (Some(&1), Some(&(POSTS as i64 - 1))), "{engine:?}: {ended:?}");
    assert_eq!(house.records("tessera").len(), 1);
    println!("{engine:?}: {POSTS} posts of one person at once: {ended:?}, one record at the recipient");
    daemon.kill().await;
}

// Breaks when two posts of one person meet and both are delivered, or one is lost.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hundred_posts_of_one_person_are_one_record() {
    tokio::join!(post_at_once(Engine::Sqlite), post_at_once(Engine::Postgres));
}
