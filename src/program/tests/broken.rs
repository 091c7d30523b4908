//! Walks `tests/broken/program`: each file has its exact messages beside it. `UPDATE_EXPECTED=1` rewrites them.

use std::path::Path;

use super::example::surroundings;
use crate::errors::Diagnostic;
use crate::program::{FileKind, compile, parse_file};

/// Messages for a broken file: those of the file in itself or, when it has none, those against the example's other files.
fn messages(kind: FileKind, shown: &str, text: &str) -> Vec<Diagnostic> {
    let name = if kind == FileKind::Agreement { "northwind-brightwater" } else { "broken" };
    match parse_file(kind, name, shown, text) {
        Err(errors) => errors,
        Ok(file) => {
            let mut files = surroundings();
            files.push(file);
            compile(files).1
        }
    }
}

// Breaks when a message, its place or its hint changes, or when a broken file is accepted.
#[test]
fn every_broken_file_is_told_exactly() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/broken/program");
    let update = std::env::var_os("UPDATE_EXPECTED").is_some();
    let mut names: Vec<String> = std::fs::read_dir(&folder)
        .expect("the folder is there")
        .map(|entry| entry.expect("an entry").file_name().into_string().expect("a name"))
        .filter(|name| !name.ends_with(".expected"))
        .collect();
    names.sort();
    assert!(names.len() >= 14, "only {} broken files", names.len());
    let mut wrong = Vec::new();
    for name in names {
        let kind = FileKind::ALL.into_iter().find(|k| name.starts_with(k.word())).expect("the name begins with the kind");
        let text = std::fs::read_to_string(folder.join(&name)).expect("text");
        let found = messages(kind, &name, &text);
        assert!(!found.is_empty(), "{name} is accepted");
        let got = found.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n") + "\n";
        let beside = folder.join(&name).with_extension("expected");
        if update {
            std::fs::write(&beside, &got).expect("written");
        } else if std::fs::read_to_string(&beside).ok().as_deref() != Some(&got) {
            wrong.push(format!("{name} says now:\n{got}"));
        }
    }
    assert!(wrong.is_empty(), "{}\nUPDATE_EXPECTED=1 rewrites what is expected", wrong.join("\n"));
}
