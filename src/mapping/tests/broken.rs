//! Broken files, each with the exact words that its author gets.

use std::fmt::Write as _;
use std::path::Path;

use super::*;

fn folder(name: &str) -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(name)
}

// Would break: an author is sent to the wrong line, or is told less than what is needed to mend the file.
#[test]
fn every_broken_file_is_told_exactly_what_is_wrong() {
    let update = std::env::var_os("UPDATE_EXPECTED").is_some();
    let mut seen = 0;
    let mut wrong = String::new();
    for entry in std::fs::read_dir(folder("tests/broken/mappings")).expect("the folder is part of the project") {
        let path = entry.expect("readable").path();
        if path.extension().is_none_or(|extension| extension != "toml") {
            continue;
        }
        seen += 1;
        let name = path.file_name().and_then(|n| n.to_str()).expect("a plain name");
        let text = std::fs::read_to_string(&path).expect("readable");
        let told = match parse(name, &text) {
            Ok(mapping) => mapping.warnings().to_vec(),
            Err(errors) => errors,
        };
        let told: String = told.iter().fold(String::new(), |mut all, d| {
            let _ = writeln!(all, "{d}");
            all
        });
        assert!(!told.is_empty(), "{name} is not broken");
        let expected_at = path.with_extension("expected");
        if update {
            std::fs::write(&expected_at, &told).expect("writable");
        }
        let expected = std::fs::read_to_string(&expected_at).unwrap_or_default();
        if told != expected {
            let _ = writeln!(wrong, "{name}: expected\n{expected}got\n{told}");
        }
    }
    assert!(seen >= 14, "only {seen} broken files found");
    assert!(wrong.is_empty(), "{wrong}");
}

// Would break: editors complete keys that the program refuses.
#[test]
fn the_committed_schema_is_current() {
    let path = folder("mappings/mapping.schema.json");
    let current = serde_json::to_string_pretty(&schema()).expect("JSON") + "\n";
    if std::env::var_os("UPDATE_EXPECTED").is_some() {
        std::fs::write(&path, &current).expect("writable");
    }
    assert_eq!(std::fs::read_to_string(&path).unwrap_or_default(), current, "run the tests once with UPDATE_EXPECTED=1");
}
