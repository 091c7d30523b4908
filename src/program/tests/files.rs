//! Schemas, folders, lists, explanations.

use std::path::Path;

use super::example::{self, AGREEMENT, file};
use super::{at, edit};
use crate::program::{FileKind, Parsed, explain, parse_file, read_folder, schema};

// Breaks when the example of the documentation no longer loads without a remark, or is not in force.
#[test]
fn the_worked_example_is_in_force() {
    let program = example::program();
    assert_eq!(program.in_force("northwind-brightwater", at("2026-05-01T00:00:00Z")), Ok(()));
}

// Breaks when the schemas that editors use are not those that files are checked against. UPDATE_EXPECTED=1 rewrites them.
#[test]
fn the_committed_schemas_are_current() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("program");
    for kind in [FileKind::Partner, FileKind::Agreement, FileKind::Notice] {
        let path = folder.join(format!("{}.schema.json", kind.word()));
        let text = serde_json::to_string_pretty(schema(kind).expect("a schema")).expect("text") + "\n";
        if std::env::var_os("UPDATE_EXPECTED").is_some() {
            std::fs::write(&path, &text).expect("written");
        }
        let committed = std::fs::read_to_string(&path).unwrap_or_default();
        assert_eq!(committed, text, "{}: UPDATE_EXPECTED=1 rewrites it", path.display());
    }
}

// Breaks when a key of a file is not explained to the person who writes it.
#[test]
fn every_key_of_a_schema_is_described() {
    fn undescribed(path: &str, value: &serde_json::Value, found: &mut Vec<String>) {
        for (name, property) in value.get("properties").and_then(serde_json::Value::as_object).into_iter().flatten() {
            if property.get("description").is_none() {
                found.push(format!("{path}.{name}"));
            }
        }
    }
    let mut found = Vec::new();
    for kind in [FileKind::Partner, FileKind::Agreement, FileKind::Notice] {
        let schema = schema(kind).expect("a schema");
        undescribed(kind.word(), schema, &mut found);
        for (name, part) in schema["$defs"].as_object().into_iter().flatten() {
            undescribed(name, part, &mut found);
        }
    }
    assert_eq!(found, Vec::<String>::new());
}

// Breaks when reading a folder misses a file, stops at the first broken one, or stays silent about a stray one.
#[test]
fn a_folder_is_read_whole() {
    let dir = std::env::temp_dir().join(format!("leadshare-program-{}", std::process::id()));
    for (path, text) in [
        ("partners/northwind.toml", example::NORTHWIND),
        ("partners/.northwind.toml.swp", "an editor's"),
        ("partners/Bad_Name.toml", example::BRIGHTWATER),
        ("partners/notes.txt", "what is this"),
        ("agreements/broken.toml", "about = 1"),
        ("lists/competitors.csv", "domain\nrival.example\n"),
        ("messages/intro.de.md", "Guten Tag.\n"),
    ] {
        let path = dir.join(path);
        std::fs::create_dir_all(path.parent().expect("a folder")).expect("made");
        std::fs::write(path, text).expect("written");
    }
    let (files, found) = read_folder(&dir);
    std::fs::remove_dir_all(&dir).expect("removed");
    let names: Vec<&str> = files.iter().map(|f| f.name.as_str()).collect();
    assert_eq!(names, ["northwind", "competitors", "intro.de"]);
    let about = |file: &str| found.iter().any(|d| d.file == file);
    assert!(about("agreements/broken.toml") && about("partners/Bad_Name.toml") && about("partners/notes.txt"), "{found:?}");
    assert!(!about("partners/.northwind.toml.swp"));
}

// Breaks when a folder that is not there looks like a program without agreements.
#[test]
fn a_missing_folder_is_told() {
    let (files, found) = read_folder(Path::new("no-such-folder-anywhere"));
    assert!(files.is_empty() && found.len() == 1);
}

// Breaks when companies are no longer found by domain, subdomain, parent company or name.
#[test]
fn lists_find_companies() {
    let text = "domain,parent,company,note\nrival.example,bigrival.example,\"Rival, Ltd.\",lost in 2024\n";
    let Parsed::List(list) = file(FileKind::List, "competitors", text).parsed else { panic!("a list") };
    for domain in ["rival.example", "shop.rival.example", "bigrival.example", "RIVAL.example"] {
        assert!(list.has_domain(domain), "{domain}");
    }
    for domain in ["notrival.example", "example", "rival.example.org"] {
        assert!(!list.has_domain(domain), "{domain}");
    }
    assert!(list.has_company("rival ltd") && !list.has_company("rival"));
    assert!(list.has_email("Jo@rival.example"));
}

// Breaks when the plain words leave out a clause.
#[test]
fn the_explanation_names_every_clause() {
    let parsed = file(FileKind::Agreement, "northwind-brightwater", &example::sign(AGREEMENT));
    let text = explain(parsed.agreement().expect("an agreement"));
    for (number, clause) in
        ["Roles", "What counts", "Data protection", "Confidentiality", "Duration", "Money", "Disputes", "Metrics", "Exclusivity", "Signing"]
            .iter()
            .enumerate()
    {
        assert!(text.contains(&format!("{} {clause}", number + 1)), "{clause} is missing in\n{text}");
    }
    for words in [
        "EEA: consent",
        "from 2026-04-01 to 2027-03-31",
        "10 % up to 50000.00, 7 % above 50000.00",
        "competitors",
        "R. Okafor, CEO",
        "1 business day",
    ] {
        assert!(text.contains(words), "`{words}` is missing in\n{text}");
    }
}

// Breaks when a misspelt filter, a function or an over-long chain passes as an expression.
#[test]
fn expressions_are_bounded() {
    for expression in [
        "lead.company|lowr == 'x'",
        "range(9) and lead.score",
        "lead.x",
        "secret.country == 'DE'",
        &("lead.score > 1 and ".repeat(200) + "lead.score > 1"),
    ] {
        let text = edit(AGREEMENT, "[privacy]", &format!("where = \"{expression}\"\n[privacy]"));
        let errors = parse_file(FileKind::Agreement, "northwind-brightwater", "a.toml", &text).expect_err(expression);
        assert_eq!(errors[0].code, "agreement.expression", "{expression}");
    }
}
