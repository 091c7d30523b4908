//! Publishing: files that people wrote become the rules in force, or say why not.
//!
//! The database holds the active versions. A file with an error never replaces the last good
//! version, an edit of signed terms waits until it is signed, and a missing file ends nothing.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use crate::clock::Clock;
use crate::config::{Config, Connection};
use crate::errors::{Diagnostic, Error, Result, Severity, did_you_mean};
use crate::mapping::{self, Mapping};
use crate::program::{self, FileKind, Program, ProgramFile, Publish};
use crate::rules::Rules;
use crate::store::{Db, files};

const MAPPING: &str = "mapping";

/// So many errors are told on the overview page; the log and `leadshare check` have all.
const TOLD: usize = 5;

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
#[derive(Default)]
pub struct Folders {
    program: Vec<ProgramFile>,
    /// What the program's files are together.
    whole: Program,
    /// By file name without its ending.
    mappings: Vec<Found>,
    /// What was found.
    pub diagnostics: Vec<Diagnostic>,
}

/// A mapping in its folder.
struct Found {
    name: String,
    file: String,
    text: String,
    mapping: Mapping,
}

/// Where the files are and whose accounts they are about: what of the configuration is needed as long as the daemon runs.
pub struct Places {
    program: PathBuf,
    mappings: PathBuf,
    /// Partner and connector, by connection.
    connections: BTreeMap<String, (String, String)>,
}

impl From<&Config> for Places {
    fn from(config: &Config) -> Self {
        let account = |connection: &Connection| (connection.partner.clone(), connection.connector.clone());
        Self {
            program: config.program.dir.clone(),
            mappings: config.program.mappings_dir.clone(),
            connections: config.connections.iter().map(|(name, connection)| (name.clone(), account(connection))).collect(),
        }
    }
}

impl Places {
    /// The folders of people's files.
    pub fn folders(&self) -> [&Path; 2] {
        [&self.program, &self.mappings]
    }
}

/// Reads the program's folder and the mappings' folder.
pub fn read(places: &Places) -> Folders {
    let (program, mut diagnostics) = program::read_folder(&places.program);
    let mut mappings = Vec::new();
    let mut objects = BTreeMap::new();
    let mut unmapped: BTreeSet<&str> = places.connections.keys().map(String::as_str).collect();
    for path in paths(&places.mappings, &mut diagnostics) {
        let file = path.display().to_string();
        let name = path.file_stem().map(|s| s.to_string_lossy().into_owned()).unwrap_or_default();
        unmapped.remove(connection_of(&name));
        let text = match std::fs::read_to_string(&path) {
            Ok(text) => text,
            Err(error) => {
                diagnostics.push(Diagnostic::whole(&file, "mapping.unreadable", format!("it cannot be read: {error}")));
                continue;
            }
        };
        match mapping::parse(&file, &text) {
            Ok(mut mapping) => {
                diagnostics.extend(mapping.warnings().iter().cloned());
                diagnostics.extend(misplaced(places, &mut objects, &name, &file, &mapping));
                mapping.rest();
                mappings.push(Found { name, file, text, mapping });
            }
            Err(problems) => diagnostics.extend(problems),
        }
    }
    diagnostics.extend(unmapped.into_iter().map(|name| {
        let file = places.mappings.join(format!("{name}.toml")).display().to_string();
        let message =
            format!("the connection {name:?} has no mapping file: unless one was in force before, nothing is read or delivered there");
        Diagnostic::whole(&file, "mapping.missing", message).hint("write this file").warning()
    }));
    diagnostics.extend(nobodys(places, &program));
    let (whole, across) = program::compile(program.clone());
    diagnostics.extend(program.iter().flat_map(|f| f.warnings.clone()));
    diagnostics.extend(across);
    Folders { program, whole, mappings, diagnostics }
}

/// Connections of partners that have no file, not even a broken one.
fn nobodys<'p>(places: &'p Places, program: &'p [ProgramFile]) -> impl Iterator<Item = Diagnostic> + 'p {
    let of = |file: &'p ProgramFile| (file.kind == FileKind::Partner).then_some(file.name.as_str());
    places.connections.iter().filter_map(move |(connection, (partner, _))| {
        let path = places.program.join(FileKind::Partner.folder()).join(format!("{partner}.{}", FileKind::Partner.ending()));
        if path.exists() {
            return None;
        }
        let message = format!(
            "the connection {connection:?} belongs to a partner that has no file: unless it had one before, nothing is shared there"
        );
        let hint = did_you_mean(partner, program.iter().filter_map(of)).map(|near| format!("did you mean {near}?"));
        Some(
            Diagnostic::whole(&path.display().to_string(), "program.no_partner", message)
                .hint(hint.unwrap_or_else(|| "write this file".into()))
                .warning(),
        )
    })
}

fn paths(folder: &Path, diagnostics: &mut Vec<Diagnostic>) -> Vec<PathBuf> {
    let Ok(entries) = std::fs::read_dir(folder) else {
        let shown = folder.display().to_string();
        diagnostics.push(
            Diagnostic::whole(&shown, "mapping.no_folder", "there is no such folder").hint("set program.mappings_dir, or make the folder"),
        );
        return Vec::new();
    };
    let mut paths: Vec<_> = entries.flatten().map(|e| e.path()).filter(|p| p.extension().is_some_and(|e| e == "toml")).collect();
    paths.sort();
    paths
}

/// The connection that a mapping file is for: its name up to the first dot.
fn connection_of(name: &str) -> &str {
    name.split('.').next().unwrap_or(name)
}

fn misplaced<'p>(
    places: &'p Places,
    objects: &mut BTreeMap<&'p str, Vec<String>>,
    name: &str,
    file: &str,
    mapping: &Mapping,
) -> Vec<Diagnostic> {
    let connection = connection_of(name);
    let Some((partner, connector)) = places.connections.get(connection) else {
        let known: Vec<&str> = places.connections.keys().map(String::as_str).collect();
        let hint = did_you_mean(connection, known.iter().copied())
            .map_or_else(|| "name the file <connection>.toml".to_owned(), |c| format!("did you mean {c}.toml?"));
        return vec![
            Diagnostic::whole(file, "mapping.no_connection", format!("no connection is called {connection:?}")).hint(hint).warning(),
        ];
    };
    let mut wrong = Vec::new();
    for (what, is, should) in [("partner", mapping.partner(), partner), ("connector", mapping.connector(), connector)] {
        if is != should {
            let message = format!("it says {what} = {is:?}, and the connection {connection:?} has {should:?}");
            wrong.push(Diagnostic::whole(file, "mapping.other_connection", message).hint("correct the one that is wrong"));
        }
    }
    let objects = objects.entry(connector).or_insert_with(|| {
        leadshare_connectors::by_name(connector).map(|entry| (entry.connector)().manifest().objects.clone()).unwrap_or_default()
    });
    if !objects.iter().any(|o| o == mapping.object()) {
        let message = format!("{connector} has no object {:?} for leads", mapping.object());
        wrong.push(Diagnostic::whole(file, "mapping.no_object", message).hint(format!("use one of: {}", objects.join(", "))));
    }
    wrong
}

impl Folders {
    /// The rules that the folders hold, without putting anything in force: for commands that only look.
    pub fn into_rules(self) -> Rules {
        let found = self.mappings.into_iter().map(|found| (found.name, found.mapping));
        Rules { program: self.whole, mappings: by_connection(found) }
    }
}

fn by_connection(mappings: impl Iterator<Item = (String, Mapping)>) -> BTreeMap<String, Vec<Mapping>> {
    let mut all = BTreeMap::<String, Vec<Mapping>>::new();
    for (name, mapping) in mappings {
        let of = all.entry(connection_of(&name).to_owned()).or_default();
        of.reserve_exact(1);
        of.push(mapping);
    }
    all
}

/// Publishes what changed in the folders and answers the rules in force.
///
/// # Errors
/// The store's. Errors in files are diagnostics: the last good versions stay in force.
pub async fn publish(db: &Db, clock: &Clock, places: &Places) -> Result<Published> {
    let folders = read(places);
    let stored = files::current(db).await?;
    let active: BTreeMap<(&str, &str), &str> =
        stored.iter().filter(|f| f.3 == "active").map(|f| ((f.0.as_str(), f.1.as_str()), f.2.as_str())).collect();
    let bad: BTreeSet<&str> = folders.diagnostics.iter().filter(|d| d.severity == Severity::Error).map(|d| d.file.as_str()).collect();
    let now = clock.now();
    let mut news = Vec::new();
    for file in folders.program.iter().filter(|f| !bad.contains(f.file.as_str())) {
        let kind = file.kind.word();
        let before = match active.get(&(kind, &file.name)) {
            Some(hash) if **hash == file.hash => continue,
            Some(hash) => parse_stored(file.kind, &file.name, &files::body(db, kind, &file.name, hash).await?.unwrap_or_default()),
            None => None,
        };
        match program::choose_active(before.as_ref(), file) {
            Publish::Unchanged => {}
            Publish::Active => news.push((kind, &file.name, file.hash.as_str(), &*file.text, "active", None)),
            Publish::Pending { reason } => news.push((kind, &file.name, file.hash.as_str(), &*file.text, "pending", Some(reason))),
        }
    }
    for found in folders.mappings.iter().filter(|found| !bad.contains(found.file.as_str())) {
        if active.get(&(MAPPING, &found.name)).is_none_or(|hash| *hash != found.mapping.hash()) {
            news.push((MAPPING, &found.name, found.mapping.hash(), &found.text, "active", None));
        }
    }
    let mut tx = db.begin().await?;
    for (kind, name, hash, text, state, reason) in &news {
        files::put(&mut tx, kind, name, hash, text, state, reason.as_deref(), now).await?;
    }
    tx.commit().await?;
    let changed: Vec<String> = news.iter().map(|(kind, name, ..)| format!("{kind}/{name}")).collect();
    let stored = if changed.is_empty() { stored } else { files::current(db).await? };
    let (rules, diagnostics) = together(db, stored, folders).await?;
    Ok(Published { rules, diagnostics, changed })
}

/// What an operator is told of files with errors; `None` without one.
pub fn refused(diagnostics: &[Diagnostic]) -> Option<String> {
    let mut wrong: Vec<String> = diagnostics.iter().filter(|d| d.severity == Severity::Error).map(ToString::to_string).collect();
    if wrong.is_empty() {
        return None;
    }
    let more = wrong.len().saturating_sub(TOLD);
    wrong.truncate(TOLD);
    wrong.extend((more > 0).then(|| format!("and {more} more: run `leadshare check`")));
    wrong.insert(0, "These files are not used; the last right version of each stays in force:".into());
    Some(wrong.join("\n"))
}

/// The rules in force, from the database alone.
///
/// # Errors
/// The store's; [`Error::Unreadable`] when a stored version cannot be parsed any more.
pub async fn in_force(db: &Db) -> Result<Rules> {
    Ok(together(db, files::current(db).await?, Folders::default()).await?.0)
}

/// The rules in force. A version that lies in a folder as it is in force was read there; others come from the database.
async fn together(db: &Db, stored: Vec<files::StoredFile>, folders: Folders) -> Result<(Rules, Vec<Diagnostic>)> {
    let Folders { program, whole, mappings, diagnostics } = folders;
    let count = program.len();
    let mut program: BTreeMap<(FileKind, String, String), ProgramFile> =
        program.into_iter().map(|f| ((f.kind, f.name.clone(), f.hash.clone()), f)).collect();
    let mut found: BTreeMap<String, Mapping> = mappings.into_iter().map(|found| (found.name, found.mapping)).collect();
    let (mut files, mut mappings, mut same) = (Vec::new(), Vec::new(), true);
    for (kind, name, hash, ..) in stored.into_iter().filter(|f| f.3 == "active") {
        if kind == MAPPING {
            let mapping = if let Some(mapping) = found.remove(&name).filter(|mapping| mapping.hash() == hash) {
                mapping
            } else {
                let text = files::body(db, &kind, &name, &hash).await?.unwrap_or_default();
                let mut mapping =
                    mapping::parse(&name, &text).map_err(|_| Error::Unreadable { what: format!("the stored mapping {name}") })?;
                mapping.rest();
                mapping
            };
            mappings.push((name, mapping));
        } else if let Some(known) = FileKind::ALL.into_iter().find(|k| k.word() == kind) {
            let unreadable = || Error::Unreadable { what: format!("the stored {kind} {name}") };
            let file = if let Some(file) = program.remove(&(known, name.clone(), hash.clone())) {
                file
            } else {
                same = false;
                let text = files::body(db, &kind, &name, &hash).await?.unwrap_or_default();
                parse_stored(known, &name, &text).ok_or_else(unreadable)?
            };
            files.push(file);
        }
    }
    let program = if same && files.len() == count { whole } else { program::compile(files).0 };
    Ok((Rules { program, mappings: by_connection(mappings.into_iter()) }, diagnostics))
}

fn parse_stored(kind: FileKind, name: &str, text: &str) -> Option<ProgramFile> {
    let mut file = program::parse_file(kind, name, &format!("{}/{name}.{}", kind.folder(), kind.ending()), text).ok()?;
    file.rest();
    Some(file)
}
