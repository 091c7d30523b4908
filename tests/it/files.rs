//! Program files and mappings that are saved while the daemon runs, and the broken ones that are kept
//! as examples.

use std::path::{Path, PathBuf};

use leadshare::clock::HOUR;
use leadshare::daemon;
use leadshare::errors::{Diagnostic, Severity};
use leadshare::store::files;
use leadshare_connectors::sdk::Fault;

use super::support::world::{Engine, PLAIN, World};

/// Saves an edited file and lets the daemon look; what it says of it, and the line that was edited.
async fn save(world: &World, path: &str, from: &str, to: &str) -> (Vec<Diagnostic>, usize) {
    let full = world.dir.join(path);
    let text = std::fs::read_to_string(&full).unwrap();
    let at = text.find(from).unwrap_or_else(|| panic!("{path} has no {from}"));
    std::fs::write(&full, text.replacen(from, to, 1)).unwrap();
    (daemon::reload(&world.ctx, &(&world.config).into()).await.unwrap(), text[..at].matches('\n').count() + 1)
}

const AGREEMENT: &str = "program/agreements/northwind-brightwater.toml";

fn version(world: &World) -> String {
    world.ctx.rules().program.agreements["northwind-brightwater"].version.clone()
}

// Breaks when a slip of the pen stops sharing, takes effect by half, or nobody can tell where it is.
#[tokio::test]
async fn a_broken_file_never_replaces_the_last_good_version() {
    for engine in Engine::BOTH {
        for (path, from, to) in [
            ("mappings/northwind.toml", "[\"trim\", \"lowercase\"]", "[\"trim\", \"lowercsae\"]"),
            ("mappings/brightwater.toml", "first_name = \"FirstName\"", "frist_name = \"FirstName\""),
            ("program/partners/brightwater.toml", "kind = \"services\"", "kind = services"),
            ("program/notices/setup-help-2026.toml", "language = \"en\"", "langauge = \"en\""),
            (AGREEMENT, "within = \"14d\"", "within = \"fourteen days\""),
        ] {
            let world = World::new(engine, PLAIN).await;
            let before = (version(&world), world.ctx.rules().of("northwind")[0].hash().to_owned());
            let (said, line) = save(&world, path, from, to).await;
            let problem = said.iter().find(|d| d.severity == Severity::Error && d.file.ends_with(path.trim_start_matches("program/")));
            let problem = problem.unwrap_or_else(|| panic!("nothing was said of {path}: {said:?}"));
            assert!(problem.line == line && problem.column > 0 && !problem.message.is_empty(), "{path}, line {line}: {problem:?}");
            assert_eq!((version(&world), world.ctx.rules().of("northwind")[0].hash().to_owned()), before);
            let (person, _) = world.enter_one();
            world.settle().await;
            assert_eq!(world.share(&person.email).await.status, "delivered", "{path}");
            let (said, _) = save(&world, path, to, from).await;
            assert!(said.iter().all(|d| d.severity != Severity::Error), "{said:?}");
        }
    }
}

// Breaks when losing a file (a wrong mount, a slip in an editor) ends an agreement or a mapping, or nobody is told that a connection has
// none.
#[tokio::test]
async fn a_deleted_file_ends_nothing() {
    for engine in Engine::BOTH {
        let world = World::new(engine, PLAIN).await;
        for path in [AGREEMENT, "mappings/northwind.toml", "program/partners/brightwater.toml", "program/notices/setup-help-2026.toml"] {
            std::fs::remove_file(world.dir.join(path)).unwrap();
        }
        let said = daemon::reload(&world.ctx, &(&world.config).into()).await.unwrap();
        let missing: Vec<_> = said.iter().filter(|d| d.code == "mapping.missing").collect();
        assert!(missing.len() == 1 && missing[0].file.ends_with("mappings/northwind.toml"), "{said:?}");
        let (person, _) = world.enter_one();
        world.settle().await;
        assert_eq!(world.share(&person.email).await.status, "delivered");
    }
}

// Breaks when terms that nobody has signed take effect, or put the signed ones out of force.
#[tokio::test]
async fn an_edit_of_signed_terms_waits_until_it_is_signed() {
    for engine in Engine::BOTH {
        let world = World::new(engine, PLAIN).await;
        let signed = version(&world);
        let terms = world.ctx.rules().program.agreements["northwind-brightwater"].terms.clone();
        save(&world, AGREEMENT, "within = \"14d\"", "within = \"1d\"").await;
        assert_eq!(version(&world), signed);
        let stored = files::current(&world.ctx.db).await.unwrap();
        let waiting = stored.iter().find(|f| f.1 == "northwind-brightwater" && f.3 == "pending").expect("the edit is kept");
        assert!(waiting.4.as_deref().is_some_and(|reason| reason.contains("sign")), "{waiting:?}");
        let (person, _) = world.enter_one();
        world.settle().await;
        let share = world.share(&person.email).await;
        assert_eq!((share.status.as_str(), share.terms), ("delivered", terms));
    }
}

// Breaks when an edit of what is not signed takes queued leads back: one side may make it alone at any time.
#[tokio::test]
async fn an_edit_of_operations_leaves_what_is_queued() {
    for engine in Engine::BOTH {
        let world = World::new(engine, PLAIN).await;
        world.inject("brightwater", Fault::DailyQuota { until: world.clock.now() + HOUR });
        let (person, _) = world.enter_one();
        world.work().await;
        let (before, share) = (version(&world), world.share(&person.email).await);
        assert_eq!(share.status, "matched", "it waits for the quota");
        save(&world, AGREEMENT, "acknowledge = \"4bh\"", "acknowledge = \"8bh\"").await;
        assert_ne!(version(&world), before, "the edit is in force");
        world.settle().await;
        let after = world.share(&person.email).await;
        assert_eq!((after.id, after.status.as_str()), (share.id, "delivered"), "{engine:?}");
    }
}

// Breaks when a new mapping takes effect only after a restart.
#[tokio::test]
async fn a_good_edit_is_in_force_at_once() {
    for engine in Engine::BOTH {
        let world = World::new(engine, PLAIN).await;
        let path = world.dir.join("mappings/brightwater.toml");
        // The example in the file says it too.
        let text = std::fs::read_to_string(&path).unwrap().replace("LeadSource = \"Partner\"", "LeadSource = \"Other\"");
        std::fs::write(&path, text).unwrap();
        let said = daemon::reload(&world.ctx, &(&world.config).into()).await.unwrap();
        assert!(said.iter().all(|d| d.severity != Severity::Error), "{said:?}");
        let (person, _) = world.enter_one();
        world.settle().await;
        assert_eq!(world.with_email("brightwater", &person.email)[0].fields["LeadSource"], "Other");
    }
}

fn files_in(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap().flatten() {
        let path = entry.path();
        if path.is_dir() { found.extend(files_in(&path)) } else { found.push(path) }
    }
    found
}

// Breaks when a kind of broken file has no example, or an example has no exact message beside it.
#[test]
fn broken_files_have_their_messages_beside_them() {
    let all = files_in(&Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/broken"));
    let (expected, broken): (Vec<_>, Vec<_>) = all.into_iter().partition(|p| p.extension().is_some_and(|e| e == "expected"));
    for file in &broken {
        let beside = file.with_extension("expected");
        let said = std::fs::read_to_string(&beside).unwrap_or_else(|_| panic!("{} is missing", beside.display()));
        assert!(!said.trim().is_empty(), "{} says nothing", beside.display());
    }
    println!("{} broken files, each with its exact message", broken.len());
    assert!(broken.len() >= 25 && broken.len() == expected.len(), "{} broken, {} expected", broken.len(), expected.len());
}

// Breaks when a file is refused with a code that the docs do not name.
#[test]
fn every_code_of_a_file_is_in_the_docs() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let docs = std::fs::read_to_string(root.join("docs/errors.md")).unwrap();
    let (_, docs) = docs.split_once("\n## Files\n").unwrap();
    let (docs, _) = docs.split_once("\n## ").unwrap();
    let mut folders: Vec<PathBuf> = ["src/config", "src/mapping", "src/program", "src/cli"].iter().map(|name| root.join(name)).collect();
    let mut texts = vec![std::fs::read_to_string(root.join("src/publish.rs")).unwrap()];
    while let Some(folder) = folders.pop() {
        for path in std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()) {
            match path.extension() {
                _ if path.is_dir() => folders.push(path),
                Some(ending) if ending == "rs" => texts.push(std::fs::read_to_string(path).unwrap()),
                _ => {}
            }
        }
    }
    let mut codes = 0;
    for family in ["config", "mapping", "program", "agreement", "partner", "notice", "list", "message"] {
        let start = format!("\"{family}.");
        let named: String = docs.split("\n- ").filter(|item| item.contains(&format!("`{family}.*`"))).collect();
        for rest in texts.iter().flat_map(|text| text.split(&start).skip(1)) {
            let word = rest.split('"').next().unwrap();
            if word.bytes().all(|b| b.is_ascii_lowercase() || b == b'_') {
                codes += 1;
                assert!(named.contains(&format!("`{word}`")), "{family}.{word} is not in docs/errors.md");
            }
        }
    }
    assert!(codes > 100, "only {codes} codes were found");
}
