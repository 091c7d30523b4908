//! Publishing: files that people wrote become the rules in force, or say why not.
//!
//! The database holds the active versions. A file with an error never replaces the last good
//! version, an edit of signed terms waits until it is signed, and a missing file ends nothing.

use std::path::Path;

use crate::clock::Clock;
use crate::config::Config;
use crate::errors::{Diagnostic, Error, Result, Severity};
use crate::mapping::{self, Mapping};
use crate::program::{self, FileKind, ProgramFile, Publish};
use crate::rules::Rules;
use crate::store::{Db, files};

const MAPPING: &str = "mapping";

/// What a round of publishing did.
pub struct Published {
    /// The rules now in force.
    pub rules: Rules,
    /// What is wrong or odd in the files; errors kept their files from being used.
    pub diagnostics: Vec<Diagnostic>,
    /// Files that were put in force or set to wait, as `kind/name`.
    pub changed: Vec<String>,
}

/// Everything that the folders hold, parsed, with what is wrong.
pub struct Folders {
    program: Vec<ProgramFile>,
    /// Name, file, text and mapping.
    mappings: Vec<(String, String, String, Mapping)>,
    /// What was found.
    pub diagnostics: Vec<Diagnostic>,
}

/// Reads the program's folder and the mappings' folder.
pub fn read(config: &Config) -> Folders {
    let (program, mut diagnostics) = program::read_folder(&config.program.dir);
    let mut mappings = Vec::new();
    for (name, file, text) in texts(&config.program.mappings_dir, &mut diagnostics) {
        match mapping::parse(&file, &text) {
            Ok(mapping) => {
                diagnostics.extend(mapping.warnings().iter().cloned());
                diagnostics.extend(misplaced(config, &name, &file, &mapping));
                mappings.push((name, file, text, mapping));
            }
            Err(problems) => diagnostics.extend(problems),
        }
    }
    let (_, across) = program::compile(program.clone());
    diagnostics.extend(program.iter().flat_map(|f| f.warnings.clone()));
    diagnostics.extend(across);
    Folders { program, mappings, diagnostics }
}

fn texts(folder: &Path, diagnostics: &mut Vec<Diagnostic>) -> Vec<(String, String, String)> {
    let mut found = Vec::new();
    let Ok(entries) = std::fs::read_dir(folder) else {
        let shown = folder.display().to_string();
        diagnostics.push(
            Diagnostic::whole(&shown, "mapping.no_folder", "there is no such folder").hint("set program.mappings_dir, or make the folder"),
        );
        return found;
    };
    let mut paths: Vec<_> = entries.flatten().map(|e| e.path()).filter(|p| p.extension().is_some_and(|e| e == "toml")).collect();
    paths.sort();
    for path in paths {
        let file = path.display().to_string();
        let name = path.file_stem().map(|s| s.to_string_lossy().into_owned()).unwrap_or_default();
        match std::fs::read_to_string(&path) {
            Ok(text) => found.push((name, file, text)),
            Err(error) => diagnostics.push(Diagnostic::whole(&file, "mapping.unreadable", format!("it cannot be read: {error}"))),
        }
    }
    found
}

/// The connection that a mapping file is for: its name up to the first dot.
fn connection_of(name: &str) -> &str {
    name.split('.').next().unwrap_or(name)
}

fn misplaced(config: &Config, name: &str, file: &str, mapping: &Mapping) -> Vec<Diagnostic> {
    let connection = connection_of(name);
    let Some(found) = config.connections.get(connection) else {
        let known: Vec<&str> = config.connections.keys().map(String::as_str).collect();
        let hint = crate::errors::did_you_mean(connection, known.iter().copied())
            .map_or_else(|| "name the file <connection>.toml".to_owned(), |c| format!("did you mean {c}.toml?"));
        return vec![
            Diagnostic::whole(file, "mapping.no_connection", format!("no connection is called {connection:?}")).hint(hint).warning(),
        ];
    };
    let mut wrong = Vec::new();
    for (what, is, should) in [("partner", mapping.partner(), &found.partner), ("connector", mapping.connector(), &found.connector)] {
        if is != should {
            let message = format!("it says {what} = {is:?}, and the connection {connection:?} has {should:?}");
            wrong.push(Diagnostic::whole(file, "mapping.other_connection", message).hint("correct the one that is wrong"));
        }
    }
    let objects =
        leadshare_connectors::by_name(&found.connector).map(|entry| (entry.connector)().manifest().objects.clone()).unwrap_or_default();
    if !objects.iter().any(|o| o == mapping.object()) {
        let message = format!("{} has no object {:?} for leads", found.connector, mapping.object());
        wrong.push(Diagnostic::whole(file, "mapping.no_object", message).hint(format!("use one of: {}", objects.join(", "))));
    }
    wrong
}

impl Folders {
    /// The rules that the folders hold, without putting anything in force: for commands that only look.
    pub fn into_rules(self) -> Rules {
        let (program, _) = program::compile(self.program);
        let mut mappings = std::collections::BTreeMap::<String, Vec<Mapping>>::new();
        for (name, _, _, mapping) in self.mappings {
            mappings.entry(connection_of(&name).to_owned()).or_default().push(mapping);
        }
        Rules { program, mappings }
    }
}

/// Publishes what changed in the folders and answers the rules in force.
///
/// # Errors
/// The store's. Errors in files are diagnostics: the last good versions stay in force.
pub async fn publish(db: &Db, clock: &Clock, config: &Config) -> Result<Published> {
    let folders = read(config);
    let stored = files::current(db).await?;
    let active = |kind: &str, name: &str| stored.iter().find(|f| f.0 == kind && f.1 == name && f.4 == "active");
    let bad = |file: &str| folders.diagnostics.iter().any(|d| d.severity == Severity::Error && d.file == file);
    let now = clock.now();
    let mut changed = Vec::new();
    let mut tx = db.begin().await?;
    for file in folders.program.iter().filter(|f| !bad(&f.file)) {
        let before = active(file.kind.word(), &file.name).and_then(|f| parse_stored(file.kind, &f.1, &f.3));
        let (state, reason) = match program::choose_active(before.as_ref(), file) {
            Publish::Unchanged => continue,
            Publish::Active => ("active", None),
            Publish::Pending { reason } => ("pending", Some(reason)),
        };
        files::put(&mut tx, file.kind.word(), &file.name, &file.hash, &file.text, state, reason.as_deref(), now).await?;
        changed.push(format!("{}/{}", file.kind.word(), file.name));
    }
    for (name, _, text, mapping) in folders.mappings.iter().filter(|(_, file, ..)| !bad(file)) {
        if active(MAPPING, name).is_none_or(|f| f.2 != mapping.hash()) {
            files::put(&mut tx, MAPPING, name, mapping.hash(), text, "active", None, now).await?;
            changed.push(format!("{MAPPING}/{name}"));
        }
    }
    tx.commit().await?;
    Ok(Published { rules: in_force(db).await?, diagnostics: folders.diagnostics, changed })
}

/// The rules in force, from the database alone.
///
/// # Errors
/// The store's; [`Error::Unreadable`] when a stored version cannot be parsed any more.
pub async fn in_force(db: &Db) -> Result<Rules> {
    let mut program_files = Vec::new();
    let mut mappings = std::collections::BTreeMap::<String, Vec<Mapping>>::new();
    for (kind, name, _, text, state, _) in files::current(db).await? {
        if state != "active" {
            continue;
        }
        if kind == MAPPING {
            let mapping = mapping::parse(&name, &text).map_err(|_| Error::Unreadable { what: format!("the stored mapping {name}") })?;
            mappings.entry(connection_of(&name).to_owned()).or_default().push(mapping);
        } else if let Some(known) = FileKind::ALL.into_iter().find(|k| k.word() == kind) {
            program_files
                .push(parse_stored(known, &name, &text).ok_or_else(|| Error::Unreadable { what: format!("the stored {kind} {name}") })?);
        }
    }
    let (program, _) = program::compile(program_files);
    Ok(Rules { program, mappings })
}

fn parse_stored(kind: FileKind, name: &str, text: &str) -> Option<ProgramFile> {
    program::parse_file(kind, name, &format!("{}/{name}.{}", kind.folder(), kind.ending()), text).ok()
}
