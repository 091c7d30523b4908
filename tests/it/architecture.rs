//! The architecture as data: which part may use which, what pure parts may not touch, how long a file may be.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

/// Every module of the daemon with the modules that it may use, from the bottom up: a row names only
/// rows above it, so dependencies point one way.
const MODULES: &[(&str, &[&str])] = &[
    // What everything stands on.
    ("clock", &[]),
    ("points", &[]),
    ("errors", &[]),
    ("model", &["clock"]),
    ("metrics", &["clock", "errors", "model"]),
    ("kept", &[]),
    ("alike", &[]),
    ("turns", &["clock"]),
    // Pure: the same answer to the same question, whenever and wherever it is asked.
    ("mapping", &["clock", "errors", "kept", "model"]),
    ("program", &["clock", "errors", "kept", "model"]),
    ("decide", &["clock", "model", "program"]),
    // Keys, proof and rows.
    ("vault", &["clock", "errors"]),
    ("ledger", &["clock", "errors", "vault"]),
    ("store", &["clock", "errors", "ledger", "points"]),
    ("people", &["clock", "errors", "mapping", "model", "store", "vault"]),
    // The way to the vendors.
    ("http", &["clock", "errors", "metrics", "store", "vault", "points"]),
    ("config", &["clock", "errors", "http", "ledger", "vault"]),
    ("telemetry", &["config", "errors"]),
    ("rules", &["http", "mapping", "program"]),
    ("firsts", &["clock", "store"]),
    ("queues", &["clock", "errors", "store"]),
    ("context", &["clock", "errors", "firsts", "http", "queues", "rules", "store", "vault"]),
    ("oauth", &["clock", "context", "errors", "http", "mapping", "metrics", "store", "vault"]),
    // What the stages share.
    ("standing", &["clock", "context", "errors", "model", "people", "store"]),
    ("change", &["context", "model", "store"]),
    ("entries", &["clock", "context", "errors", "ledger", "model", "store"]),
    ("shares", &["clock", "context", "entries", "errors", "ledger", "metrics", "model", "queues", "store"]),
    // The stages: none of them knows another, nor who calls them.
    (
        "intake",
        &[
            "change", "clock", "context", "decide", "entries", "errors", "firsts", "http", "ledger", "mapping", "metrics", "model",
            "people", "queues", "rules", "shares", "standing", "store", "turns", "vault", "points",
        ],
    ),
    (
        "delivery",
        &[
            "clock", "context", "decide", "entries", "errors", "firsts", "http", "ledger", "mapping", "metrics", "model", "people",
            "rules", "shares", "standing", "store", "turns", "vault", "points",
        ],
    ),
    ("follow", &["change", "clock", "context", "entries", "errors", "http", "mapping", "metrics", "model", "shares", "store"]),
    (
        "pipeline",
        &[
            "change", "clock", "context", "delivery", "entries", "errors", "follow", "http", "intake", "mapping", "metrics", "model",
            "rules", "store", "points",
        ],
    ),
    // Around the pipeline.
    ("publish", &["clock", "config", "errors", "mapping", "program", "rules", "store"]),
    ("sealer", &["clock", "context", "errors", "ledger", "metrics", "store", "points"]),
    ("retention", &["clock", "context", "errors", "model", "store"]),
    ("replicas", &["clock", "context", "errors", "http", "store"]),
    ("service", &["clock"]),
    ("sandbox", &["clock", "errors", "http"]),
    (
        "daemon",
        &[
            "alike",
            "clock",
            "config",
            "context",
            "errors",
            "http",
            "ledger",
            "metrics",
            "oauth",
            "pipeline",
            "publish",
            "queues",
            "replicas",
            "retention",
            "rules",
            "sealer",
            "store",
            "turns",
            "vault",
        ],
    ),
    // Pages take webhooks in and show; they send no lead.
    ("web", &["clock", "context", "errors", "http", "intake", "ledger", "metrics", "model", "oauth", "people", "store", "vault"]),
    ("summary", &["clock", "context", "errors", "http", "mapping", "model", "oauth", "store", "web"]),
    (
        "demo",
        &[
            "clock", "config", "context", "daemon", "errors", "follow", "http", "mapping", "oauth", "sandbox", "store", "summary", "vault",
            "web",
        ],
    ),
    (
        "simulate",
        &[
            "clock",
            "config",
            "context",
            "daemon",
            "decide",
            "errors",
            "http",
            "intake",
            "ledger",
            "mapping",
            "model",
            "oauth",
            "people",
            "pipeline",
            "points",
            "program",
            "retention",
            "sealer",
            "store",
            "vault",
        ],
    ),
    (
        "cli",
        &[
            "clock",
            "config",
            "context",
            "daemon",
            "decide",
            "demo",
            "errors",
            "http",
            "ledger",
            "mapping",
            "metrics",
            "model",
            "oauth",
            "people",
            "pipeline",
            "program",
            "publish",
            "replicas",
            "sandbox",
            "sealer",
            "service",
            "simulate",
            "store",
            "summary",
            "telemetry",
            "vault",
            "web",
        ],
    ),
];

/// Modules that answer from what they are given alone, and the whole connectors crate.
const PURE: &[&str] = &["src/model", "src/mapping", "src/program", "src/decide", "src/follow/step.rs", "connectors"];
/// What a pure module may not touch.
const OUTSIDE: &[&str] = &[
    "std::fs",
    "std::net",
    "std::env",
    "std::process",
    "std::time",
    "tokio",
    "sqlx",
    "reqwest",
    "axum",
    "getrandom",
    "clock::Clock",
    "Timestamp::now",
    "Zoned::now",
];
/// Files in pure modules that may, and why.
const MAY_TOUCH: &[(&str, &str)] = &[("src/program/folder.rs", "reads the program's files, and nothing else in `program` does")];

/// Most lines of one source file. A file that grows past this is two.
const LONGEST: usize = 500;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Source files below a folder, tests left out, by their path from the project's root.
fn sources(folder: &str) -> BTreeMap<String, String> {
    let mut found = BTreeMap::new();
    let mut folders = vec![root().join(folder)];
    while let Some(folder) = folders.pop() {
        for path in std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()) {
            let name = path.file_name().unwrap().to_string_lossy().into_owned();
            if path.is_dir() && name != "tests" {
                folders.push(path);
            } else if path.extension().is_some_and(|ending| ending == "rs") && name != "tests.rs" {
                found.insert(from_root(&path), std::fs::read_to_string(&path).unwrap());
            }
        }
    }
    found
}

fn from_root(path: &Path) -> String {
    path.strip_prefix(root()).unwrap().to_string_lossy().into_owned()
}

/// The code of a file: without comments, and without the unit tests at its end.
fn code(text: &str) -> String {
    let code = text.split("#[cfg(test)]\nmod ").next().unwrap_or_default();
    code.lines().map(|line| line.split("//").next().unwrap_or_default()).collect::<Vec<_>>().join("\n")
}

/// The parts of its own crate that code names: `crate::a::…` anywhere, and `use crate::{a, b::…}`.
fn named(code: &str) -> BTreeSet<String> {
    let word = |text: &str| text.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect::<String>();
    let mut found = BTreeSet::new();
    for rest in code.split("crate::").skip(1) {
        match rest.strip_prefix('{') {
            None => drop(found.insert(word(rest))),
            Some(group) => {
                let mut depth = 0;
                let mut fresh = true;
                for (i, c) in group.char_indices() {
                    match c {
                        '{' => depth += 1,
                        '}' if depth == 0 => break,
                        '}' => depth -= 1,
                        ',' if depth == 0 => fresh = true,
                        _ if fresh && (c.is_alphanumeric() || c == '_') => {
                            found.insert(word(&group[i..]));
                            fresh = false;
                        }
                        _ => {}
                    }
                }
            }
        }
    }
    // The macro for SQL arguments is the store's.
    if found.remove("args") {
        found.insert("store".into());
    }
    found
}

/// The module that a file of `src` belongs to; nothing for the crate's two roots.
fn module(path: &str) -> Option<String> {
    let first = path.strip_prefix("src/")?.split('/').next()?;
    let name = first.strip_suffix(".rs").unwrap_or(first);
    (name != "lib" && name != "main").then(|| name.to_owned())
}

/// What a file uses against the table.
fn forbidden(path: &str, text: &str) -> Vec<String> {
    let Some(module) = module(path) else { return Vec::new() };
    let Some((_, allowed)) = MODULES.iter().find(|(name, _)| *name == module) else {
        return vec![format!("{path}: the module {module} is not in the table: say what it may use")];
    };
    let used = named(&code(text)).into_iter().filter(|name| *name != module && !allowed.contains(&name.as_str()));
    used.map(|name| format!("{path}: {module} may not use {name}")).collect()
}

/// What a file of a pure module touches.
fn touched(path: &str, text: &str) -> Vec<String> {
    let pure = PURE.iter().any(|start| path.starts_with(start)) && !MAY_TOUCH.iter().any(|(file, _)| *file == path);
    let code = code(text);
    OUTSIDE.iter().filter(|word| pure && code.contains(**word)).map(|word| format!("{path}: a pure module touches {word}")).collect()
}

/// What a file of the connectors crate uses: vendors do not know one another, and the kit knows none of them.
fn strange(path: &str, text: &str) -> Vec<String> {
    let vendors: Vec<&str> = leadshare_connectors::all().iter().map(|entry| entry.name).collect();
    let folder = path.strip_prefix("connectors/").and_then(|rest| rest.split_once('/')).map(|(folder, _)| folder);
    // The crate's root is the registry: it names them all.
    let Some(folder) = folder else { return Vec::new() };
    let code = code(text);
    let mut found: Vec<String> = named(&code)
        .into_iter()
        .filter(|name| vendors.contains(&name.as_str()) && name != folder)
        .map(|name| format!("{path}: {folder} may not use {name}"))
        .collect();
    if code.contains("leadshare::") {
        found.push(format!("{path}: a connector may not know the daemon"));
    }
    found
}

fn all(check: fn(&str, &str) -> Vec<String>) -> Vec<String> {
    ["src", "connectors"].iter().flat_map(|folder| sources(folder)).flat_map(|(path, text)| check(&path, &text)).collect()
}

fn none(found: &[String]) {
    assert!(found.is_empty(), "{}", found.join("\n"));
}

// Breaks when a part uses another against the table: say a stage its caller, or mapping the store.
#[test]
fn dependencies_point_one_way() {
    none(&all(forbidden));
}

// Breaks when the table itself allows a circle, or names a module that is gone.
#[test]
fn the_table_of_modules_allows_no_circle() {
    let files = sources("src");
    let mut found = Vec::new();
    for (i, (name, allowed)) in MODULES.iter().enumerate() {
        if !files.keys().any(|path| module(path).as_deref() == Some(name)) {
            found.push(format!("{name} is gone"));
        }
        let below = |other: &&&str| !MODULES[..i].iter().any(|(above, _)| above == *other);
        found.extend(allowed.iter().filter(below).map(|other| format!("{name} may use {other}, which does not stand above it")));
    }
    none(&found);
}

// Breaks when a pure module reads a file, the clock, the network or the database.
#[test]
fn pure_modules_touch_nothing_outside() {
    none(&all(touched));
}

// Breaks when a connector leans on another vendor's, or on the daemon.
#[test]
fn connectors_stand_alone() {
    none(&all(strange));
}

// Breaks when a source file grows too long to be read in one go.
#[test]
fn source_files_stay_short() {
    let long = all(|path, text| {
        let lines = text.lines().count();
        if lines > LONGEST { vec![format!("{path}: {lines} lines, more than {LONGEST}: split it")] } else { Vec::new() }
    });
    none(&long);
}

/// Calls of vendors made while a transaction is open. A function that is given a transaction is inside it from its start.
fn called_inside(path: &str, text: &str) -> Vec<String> {
    const CALLS: [&str; 4] = ["drive(", "transport.send(", "exchange(", "fetch(ctx"];
    let mut found = Vec::new();
    let code = code(text);
    for function in code.split("fn ").filter(|part| part.contains('{')) {
        let (head, body) = function.split_once('{').unwrap_or_default();
        let mut inside = head.contains("&mut Tx");
        for line in body.lines() {
            inside = (inside || line.contains(".begin().await")) && !line.contains(".commit().await");
            if let Some(call) = CALLS.iter().find(|call| inside && line.contains(**call)) {
                let name = head.split('(').next().unwrap_or_default();
                found.push(format!("{path}: {name} calls {call}…) while a transaction is open"));
            }
        }
    }
    found
}

// Breaks when a vendor is called inside a database transaction: its slowness would lock the store.
#[test]
fn no_transaction_is_open_while_a_vendor_is_called() {
    none(&all(called_inside));
}

// Breaks when the crate's documentation names a file that is not there, or leaves a module out.
#[test]
fn the_code_map_is_true() {
    let text = std::fs::read_to_string(root().join("src/lib.rs")).unwrap();
    let (doc, code) = text.split_once("#![forbid").unwrap();
    let named = doc.split('`').skip(1).step_by(2);
    let files = named.clone().filter(|name| ["src/", "tests/", "connectors/"].iter().any(|start| name.starts_with(start)));
    let mut found: Vec<String> = files.filter(|name| !root().join(name).exists()).map(|name| format!("{name} is not there")).collect();
    let modules = code.lines().filter_map(|line| line.strip_prefix("pub mod ")?.strip_suffix(';'));
    found.extend(modules.filter(|module| !named.clone().any(|name| name == *module)).map(|module| format!("{module} is not in the map")));
    none(&found);
}

// Breaks when the checks above could not fail: each kind of breach is seen in a made-up line.
#[test]
fn a_breach_is_seen() {
    let one = |found: Vec<String>, what: &str| assert!(found.len() == 1 && found[0].contains(what), "{found:?}");
    one(forbidden("src/intake/keep.rs", "use crate::pipeline::Change;\n"), "intake may not use pipeline");
    one(forbidden("src/decide/mod.rs", "use crate::{model::Lead, store::{Db, Tx}};\n"), "decide may not use store");
    one(forbidden("src/follow/keep.rs", "fn f() { crate::delivery::go() }\n"), "follow may not use delivery");
    one(forbidden("src/novelty.rs", "use crate::clock::Millis;\n"), "not in the table");
    one(touched("src/mapping/rule.rs", "let text = std::fs::read_to_string(path);\n"), "std::fs");
    one(touched("src/decide/mod.rs", "use crate::clock::Clock;\n"), "clock::Clock");
    one(called_inside("src/x.rs", "async fn f() {\n let mut tx = db.begin().await?;\n drive(&t).await;\n tx.commit().await?;\n}"), "drive");
    one(called_inside("src/x.rs", "async fn g(tx: &mut Tx) {\n drive(&t).await;\n}"), "drive");
    none(&called_inside("src/x.rs", "async fn h() {\n let tx = db.begin().await?;\n tx.commit().await?;\n drive(&t).await;\n}"));
    one(strange("connectors/hubspot/read.rs", "use crate::salesforce::soql;\n"), "hubspot may not use salesforce");
    none(&forbidden(
        "src/intake/keep.rs",
        "// as crate::pipeline has it\nuse crate::shares::stand;\n#[cfg(test)]\nmod tests { use crate::pipeline; }\n",
    ));
}
