//! `leadshare agreement check`.

use std::path::{Path, PathBuf};

use super::{load, report};
use crate::clock::{Clock, rfc3339};
use crate::errors::{Error, Result, Severity};
use crate::program::{self, FileKind};

/// What can be done with agreements.
#[derive(Debug, clap::Subcommand)]
pub enum Command {
    /// Checks agreements against the program, and says in plain words what they mean.
    Check {
        /// A file; without one, every agreement of the program.
        file: Option<PathBuf>,
        /// The program's folder, when there is no configuration yet.
        #[arg(long)]
        program: Option<PathBuf>,
    },
}

/// Does it.
pub fn run(command: Command, config: &Path, json: bool) -> Result<bool> {
    let Command::Check { file, program } = command;
    let dir = match (program, &file) {
        (Some(dir), _) => dir,
        // A file lies in the program's folder `agreements/`.
        (None, Some(file)) => file.parent().and_then(Path::parent).map_or_else(|| PathBuf::from("."), Path::to_path_buf),
        (None, None) => load(config)?.program.dir,
    };
    if let Some(file) = file.as_ref().filter(|f| !f.exists()) {
        return Err(Error::BadRequest(format!("{} does not exist", file.display())));
    }
    let (files, mut found) = program::read_folder(&dir);
    if !files.iter().any(|f| f.kind == FileKind::Agreement) && found.is_empty() {
        return Err(Error::BadRequest(format!("{} has no agreements: give the folder that `agreements/` is in", dir.display())));
    }
    let (compiled, across) = program::compile(files.clone());
    found.extend(files.iter().flat_map(|f| f.warnings.clone()));
    found.extend(across);
    let wanted = |path: &str| file.as_ref().is_none_or(|f| Path::new(path).file_name() == f.file_name());
    found.retain(|d| file.is_none() || wanted(&d.file));
    let now = Clock::system().now();
    let mut shown = Vec::new();
    for parsed in files.iter().filter(|f| f.kind == FileKind::Agreement && wanted(&f.file)) {
        let Some(entry) = compiled.agreements.get(&parsed.name) else { continue };
        let state = entry.in_force(now);
        if json {
            let why = state.as_ref().err();
            shown.push(serde_json::json!({ "agreement": parsed.name, "in_force": state.is_ok(), "why_not": why, "version": entry.version, "terms": entry.terms }));
            continue;
        }
        out!("{}", program::explain(&entry.agreement));
        match state {
            Ok(()) => out!("In force on {}.", rfc3339(now)),
            Err(why) => out!("NOT in force: {why}"),
        }
        out!("Both parties sign these terms: {}\n", entry.terms);
    }
    if json {
        out!("{}", serde_json::json!({ "diagnostics": found, "agreements": shown }));
        return Ok(found.iter().all(|d| d.severity < Severity::Error));
    }
    Ok(report(&found, false))
}
