//! What operators type, and what they read then.

use std::os::unix::fs::PermissionsExt as _;
use std::process::Stdio;

use leadshare::args;
use leadshare::clock::Clock;
use leadshare::demo::cast::Story;
use leadshare::store::replicas;
use serde_json::json;

use super::support::world::{Engine, PLAIN, World};

/// What a command says in all, and its exit code.
async fn command(world: &World, args: &[&str]) -> (String, i32) {
    let mut command = tokio::process::Command::new(env!("CARGO_BIN_EXE_leadshare"));
    command.arg("--config").arg(world.dir.join("leadshare.toml")).args(args).stdin(Stdio::null());
    let out = command.output().await.unwrap();
    (format!("{}{}", String::from_utf8_lossy(&out.stdout), String::from_utf8_lossy(&out.stderr)), out.status.code().unwrap())
}

/// Saves the world's configuration with something else in it.
fn configure(world: &World, from: &str, to: &str) {
    let path = world.dir.join("leadshare.toml");
    let text = std::fs::read_to_string(&path).unwrap();
    assert!(text.contains(from), "{text}");
    std::fs::write(&path, text.replace(from, to)).unwrap();
}

async fn suppressions(world: &World) -> i64 {
    world.ctx.db.row::<(i64,)>("SELECT COUNT(*) FROM suppressions", args![]).await.unwrap().unwrap().0
}

// Breaks when `check` calls well what it warns of, or passes in silence over a connection that it cannot ask.
#[tokio::test]
async fn check_says_what_it_looked_at_and_what_not() {
    let world = World::new(Engine::Sqlite, PLAIN).await;
    for nobodys in ["lumen", "orchard", "tessera"] {
        std::fs::remove_file(world.dir.join(format!("mappings/{nobodys}.toml"))).unwrap();
    }
    let (said, code) = command(&world, &["check"]).await;
    assert!(code == 0 && said.contains("All is well: 2 connections"), "{said}");
    let (said, code) = command(&world, &["check", "--connections"]).await;
    assert!(code == 0 && said.contains("northwind: ok ") && said.contains("brightwater: ok ") && !said.contains("NO"), "{said}");

    std::fs::remove_file(world.dir.join("mappings/brightwater.toml")).unwrap();
    let (said, code) = command(&world, &["check"]).await;
    assert!(code == 0 && said.contains("warning[") && said.contains("No error, one warning") && !said.contains("well"), "{said}");
    let (said, code) = command(&world, &["check", "--connections"]).await;
    assert!(code == 0 && said.contains("northwind: ok ") && said.contains("brightwater: not asked: it has no mapping"), "{said}");
}

// Breaks when a field that news goes into is looked for only when the first news are written.
#[tokio::test]
async fn check_looks_for_the_fields_that_news_go_into() {
    let world = World::new(Engine::Sqlite, &["lumen", "tessera"]).await;
    let path = world.dir.join("mappings/lumen.toml");
    let text = std::fs::read_to_string(&path).unwrap();
    std::fs::write(&path, text.replace("Partner_Progress__c", "Nowhere__c")).unwrap();
    let (said, code) = command(&world, &["check", "--connections"]).await;
    assert!(code == 1 && said.contains("lumen: NO") && said.contains("Nowhere__c"), "{said}");
}

// Breaks when a slip in a partner's name, or a folder that is not there, shows only once leads stay away or the daemon does not start.
#[tokio::test]
async fn check_finds_a_partner_without_a_file_and_a_folder_that_is_not_there() {
    let world = World::new(Engine::Sqlite, PLAIN).await;
    configure(&world, "partner = \"brightwater\"", "partner = \"brightwate\"");
    let (said, code) = command(&world, &["check"]).await;
    // The mapping says the right one.
    assert!(code == 1 && said.contains("warning[program.no_partner]") && said.contains("did you mean brightwater?"), "{said}");
    configure(&world, "leadshare.db", "elsewhere/leadshare.db");
    let (said, code) = command(&world, &["check"]).await;
    assert!(code == 1 && said.contains("elsewhere: error[config.no_folder]"), "{said}");
}

// Breaks when an opt-out that is entered with other keys is taken for entered: it would stand under a hash that nobody looks up.
#[tokio::test]
async fn an_opt_out_under_another_key_is_refused() {
    for engine in Engine::BOTH {
        let world = World::new(engine, PLAIN).await;
        let (person, _) = world.enter_one();
        world.settle().await;
        let (_, code) = command(&world, &["lead", "show", &person.email]).await;
        assert_eq!(code, 0);
        std::fs::write(world.dir.join("keys/blind"), "CQkJCQkJCQkJCQkJCQkJCQkJCQkJCQkJCQkJCQkJCQk=").unwrap();
        for asked in [
            ["suppress", "add", person.email.as_str()],
            ["suppress", "check", person.email.as_str()],
            ["lead", "show", person.email.as_str()],
        ] {
            let (said, code) = command(&world, &asked).await;
            assert!(code == 1 && said.contains("blind key is a different one") && !said.contains("Suppressed"), "{said}");
        }
        assert_eq!(suppressions(&world).await, 0);
        // What protects everybody needs no key.
        let (said, code) = command(&world, &["stop"]).await;
        assert!(code == 0 && said.contains("Stopped"), "{said}");
    }
}

// Breaks when the way in which somebody writes an address or a domain decides whether they are suppressed, or when an address at a part
// of a suppressed domain is not.
#[tokio::test]
async fn a_suppression_holds_however_it_is_written() {
    for engine in Engine::BOTH {
        let world = World::new(engine, PLAIN).await;
        let said_of = async |who: &str| command(&world, &["suppress", "check", who]).await.0;
        for (typed, covered, not) in [
            ("Jo.Miller@BÜRO-Weber.de", "jo.miller@xn--bro-weber-q9a.de", "ann@xn--bro-weber-q9a.de"),
            ("https://WWW.firm-and-sons.de/", "jo@a.mail.firm-and-sons.de", "jo@firm.de"),
            ("cs.uni-nord.de", "jo@mail.cs.uni-nord.de", "jo@uni-nord.de"),
            ("01net.com", "01net.com", "net.com"),
            ("TEL:+49 30 901821 ext. 5", "+4930901821", "+4930901822"),
            ("+49 (0)30 901820", "+4930901820", "+4930901822"),
        ] {
            let (said, code) = command(&world, &["suppress", "add", typed]).await;
            assert!(code == 0 && said.contains("Suppressed"), "{typed}: {said}");
            assert!(said_of(covered).await.contains("Suppressed ("), "{typed} does not cover {covered}");
            assert!(said_of(not).await.contains("Not suppressed"), "{typed} covers {not}");
        }
        for nobody in
            ["jo@", "030 901820", "firm", "+49", "co.uk", "https://firm.de/jo", "*.firm.de", ".firm.de", "a.de,b.de", "\"a.de\"", "a_b.de"]
        {
            let (said, code) = command(&world, &["suppress", "add", nobody]).await;
            assert!(code == 2 && said.contains("bad_request: this is not"), "{nobody}: {said}");
        }
        let (said, code) = command(&world, &["suppress", "add", "gmail.com"]).await;
        assert!(code == 2 && said.contains("anybody can have an address"), "{said}");
        assert_eq!(suppressions(&world).await, 6);

        let mut person = world.people("northwind", "brightwater", Story::Good, 1).remove(0);
        person.email = "jo.weber@mail.firm-and-sons.de".into();
        world.enter(std::slice::from_ref(&person));
        world.settle().await;
        assert!(world.with_email("brightwater", &person.email).is_empty(), "suppressed, and there all the same");
        assert_eq!(world.outcomes().await.get("suppressed"), Some(&1));
    }
}

// Breaks when nobody can see that everything is stopped, or why, where they look for what does not move.
#[tokio::test]
async fn whoever_looks_is_told_that_all_is_stopped_and_why() {
    let world = World::new(Engine::Sqlite, PLAIN).await;
    let (said, code) = command(&world, &["stop", "--reason", "a wrong price list"]).await;
    assert!(code == 0 && said.contains("No daemon works on this database right now"), "{said}");
    replicas::join(&world.ctx.db, "r1", "one that works", Clock::system().now()).await.unwrap();
    let (said, code) = command(&world, &["stop", "--reason", "a wrong price list"]).await;
    assert!(code == 0 && said.contains("Stopped") && !said.contains("No daemon"), "{said}");
    for asked in [&["jobs", "list"][..], &["jobs", "watch"], &["check", "--connections"], &["resume", "northwind"]] {
        let (said, code) = command(&world, asked).await;
        assert!(code == 0 && said.contains("a wrong price list") && said.contains("leadshare resume"), "{asked:?}: {said}");
    }
    let (said, _) = command(&world, &["jobs", "list", "--json"]).await;
    assert_eq!(serde_json::from_str::<serde_json::Value>(&said).unwrap()["stopped"], json!("a wrong price list"));
    assert_eq!(command(&world, &["resume"]).await.1, 0);
    let (said, _) = command(&world, &["jobs", "list"]).await;
    assert!(said.contains("Nothing waits and nothing failed.") && !said.contains("stopped"), "{said}");
}

// Breaks when a misspelt word looks like an empty answer.
#[tokio::test]
async fn an_outcome_that_does_not_exist_is_told_from_one_that_nobody_had() {
    let world = World::new(Engine::Sqlite, PLAIN).await;
    let (said, code) = command(&world, &["lead", "show", "--list", "--outcome", "no-consent"]).await;
    assert!(code == 2 && said.contains("did you mean no_consent?"), "{said}");
    let (said, code) = command(&world, &["lead", "show", "--list", "--outcome", "erased"]).await;
    assert!(code == 0 && said.contains("No change that is still kept ended as erased"), "{said}");
}

// Breaks when the wrong file raises the alarm that somebody altered the ledger, or an altered checkpoint does not.
#[tokio::test]
async fn a_file_that_is_no_checkpoint_is_not_an_alarm() {
    let world = World::new(Engine::Sqlite, PLAIN).await;
    world.enter_one();
    world.settle().await;
    let (printed, code) = command(&world, &["ledger", "checkpoint"]).await;
    assert_eq!(code, 0);
    let file = world.dir.join("outside.txt");
    for (text, is, word) in [
        (printed.clone(), 0, "Nothing was altered"),
        (printed.replacen("\ntime 20", "\ntime 19", 1), 1, "do not go on"),
        (printed.replace('\n', "\r\n") + "\r\n\r\n", 0, "Nothing was altered"),
        (printed.replacen("/demo", "/other", 1), 2, "a checkpoint of the ledger"),
        (String::new(), 2, "this is not a checkpoint"),
        ("[server]\nlisten = 1\n".into(), 2, "this is not a checkpoint"),
    ] {
        std::fs::write(&file, &text).unwrap();
        let (said, code) = command(&world, &["ledger", "verify", "--checkpoint", file.to_str().unwrap()]).await;
        assert!(code == is && said.contains(word), "{text}: {code} {said}");
    }
}

// Breaks when a command that looks makes a database where there is none, or others on the machine can read the one there is.
#[tokio::test]
async fn an_embedded_store_is_made_by_its_daemon_and_read_by_nobody_else() {
    let world = World::new(Engine::Sqlite, PLAIN).await;
    for name in ["leadshare.db", "leadshare.db-wal", "leadshare.db.inbox", "leadshare.db.inbox-wal"] {
        let mode = std::fs::metadata(world.dir.join(name)).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "{name}");
    }
    let other = world.dir.join("other.db");
    let was = world.dir.join("leadshare.db");
    configure(&world, was.to_str().unwrap(), other.to_str().unwrap());
    for asked in [&["jobs", "list"][..], &["lead", "show", "--list"], &["ledger", "verify"], &["stop"], &["suppress", "add", "firm.de"]] {
        let (said, code) = command(&world, asked).await;
        assert!(code == 1 && said.contains("there is no database at") && !other.exists(), "{asked:?}: {said}");
    }
    // A database that no daemon has worked on may be the wrong one: an opt-out or a stop would be lost there.
    drop(leadshare::store::Db::open(&format!("sqlite:{}", other.display())).await.unwrap());
    for asked in [&["stop"][..], &["suppress", "add", "firm.de"]] {
        let (said, code) = command(&world, asked).await;
        assert!(code == 1 && said.contains("no daemon has worked on this database"), "{said}");
    }
}

// Breaks when a file that is refused while the daemon runs is told of in the log alone, or for longer than it is wrong.
#[tokio::test]
async fn a_refused_file_is_told_until_it_is_right() {
    let world = World::new(Engine::Sqlite, PLAIN).await;
    let path = world.dir.join("mappings/northwind.toml");
    let right = std::fs::read_to_string(&path).unwrap();
    std::fs::write(&path, right.replacen("lowercase", "lowercsae", 1)).unwrap();
    leadshare::daemon::reload(&world.ctx, &(&world.config).into()).await.unwrap();
    let (told, _) = world.ctx.refused().expect("it is told");
    let line = right[..right.find("lowercase").unwrap()].matches('\n').count() + 1;
    assert!(told.contains(&format!("northwind.toml:{line}:")) && told.contains("hint:"), "{told}");
    std::fs::write(&path, right).unwrap();
    leadshare::daemon::reload(&world.ctx, &(&world.config).into()).await.unwrap();
    assert_eq!(world.ctx.refused(), None);
}
