//! `leadshare mapping test|lint|schema|describe`.

use std::path::{Path, PathBuf};

use leadshare_connectors::sdk::{FieldInfo, Op, Output};

use super::{build, load, report};
use crate::errors::{Diagnostic, Error, Result, Severity};
use crate::http::Terms;
use crate::http::talk::{Ended, NoSink, drive};
use crate::mapping::{self, Mapping};

/// What can be done with mappings.
#[derive(Debug, clap::Subcommand)]
pub enum Command {
    /// Runs the examples inside mapping files.
    Test {
        /// Files; without any, every mapping of the configuration.
        files: Vec<PathBuf>,
    },
    /// Looks for errors and oddities; with --live also against the connected system's own fields.
    Lint {
        /// Files; without any, every mapping of the configuration.
        files: Vec<PathBuf>,
        /// Asks this connection's system for its fields.
        #[arg(long)]
        live: Option<String>,
    },
    /// Prints the JSON schema of mapping files, for editors.
    Schema,
    /// Lists the fields that a connected system has.
    Describe {
        /// The connection.
        connection: String,
        /// The object; without one, that of its mapping.
        #[arg(long)]
        object: Option<String>,
    },
}

/// Does it.
pub async fn run(command: Command, config: &Path, json: bool) -> Result<bool> {
    match command {
        Command::Schema => {
            out!("{}", serde_json::to_string_pretty(&mapping::schema()).unwrap_or_default());
            Ok(true)
        }
        Command::Test { files } => test(&files, config, json),
        Command::Lint { files, live } => Box::pin(lint(&files, live.as_deref(), config, json)).await,
        Command::Describe { connection, object } => {
            let fields = describe(&connection, object.as_deref(), config).await?;
            if json {
                out!("{}", serde_json::json!({ "fields": fields }));
                return Ok(true);
            }
            for field in fields {
                let mut notes = vec![field.kind.clone()];
                notes.extend(
                    [(field.required, "required"), (field.unique, "unique"), (!field.writable, "read only"), (field.custom, "custom")]
                        .iter()
                        .filter(|(is, _)| *is)
                        .map(|(_, word)| (*word).to_owned()),
                );
                if !field.options.is_empty() {
                    notes.push(format!("one of {}", field.options.join(" | ")));
                }
                out!("{:<34} {:<30} {}", field.name, field.label, notes.join(", "));
            }
            Ok(true)
        }
    }
}

fn paths(files: &[PathBuf], config: &Path) -> Result<Vec<PathBuf>> {
    if !files.is_empty() {
        return Ok(files.to_vec());
    }
    let dir = load(config)?.program.mappings_dir;
    let entries = std::fs::read_dir(&dir).map_err(|e| Error::System(format!("{}: {e}", dir.display())))?;
    let mut found: Vec<PathBuf> = entries.flatten().map(|e| e.path()).filter(|p| p.extension().is_some_and(|e| e == "toml")).collect();
    found.sort();
    Ok(found)
}

fn parse(path: &Path) -> std::result::Result<Mapping, Vec<Diagnostic>> {
    let file = path.display().to_string();
    let text = std::fs::read_to_string(path)
        .map_err(|e| vec![Diagnostic::whole(&file, "mapping.unreadable", format!("it cannot be read: {e}"))])?;
    mapping::parse(&file, &text)
}

fn test(files: &[PathBuf], config: &Path, json: bool) -> Result<bool> {
    let (mut well, mut results) = (true, Vec::new());
    for path in paths(files, config)? {
        let mapping = match parse(&path) {
            Ok(mapping) => mapping,
            Err(found) => {
                well &= report(&found, false);
                continue;
            }
        };
        for result in mapping.run_examples() {
            well &= result.differences.is_empty();
            if json {
                results.push(serde_json::json!({ "file": path.display().to_string(), "example": result.name, "passed": result.differences.is_empty(), "differences": result.differences }));
            } else {
                out!("{} {}: {}", if result.differences.is_empty() { "ok" } else { "NO" }, path.display(), result.name);
                for line in &result.differences {
                    out!("     {line}");
                }
            }
        }
    }
    if json {
        out!("{}", serde_json::json!({ "examples": results }));
    }
    Ok(well)
}

async fn lint(files: &[PathBuf], live: Option<&str>, config: &Path, json: bool) -> Result<bool> {
    let mut found = Vec::new();
    for path in paths(files, config)? {
        match parse(&path) {
            Ok(mapping) => {
                found.extend(mapping.warnings().iter().cloned());
                if let Some(connection) = live {
                    let fields = describe(connection, Some(mapping.object()), config).await?;
                    found.extend(mapping::check_against(&mapping, &fields));
                }
            }
            Err(problems) => found.extend(problems),
        }
    }
    let well = found.iter().all(|d| d.severity < Severity::Error);
    report(&found, json);
    if found.is_empty() && !json {
        out!("Nothing found.");
    }
    Ok(well)
}

async fn describe(connection: &str, object: Option<&str>, config: &Path) -> Result<Vec<FieldInfo>> {
    let ctx = build(&load(config)?).await?.ctx;
    let line = ctx.lines.get(connection).ok_or_else(|| Error::BadRequest(format!("no connection is called {connection:?}")))?;
    let object = object.unwrap_or_else(|| line.manifest().default_object()).to_owned();
    let talk = line.connector().open(&Op::Describe { object }, &line.account(), None);
    let talk = talk.map_err(|fault| Error::NeedsPerson { code: fault.code, message: fault.message })?;
    match drive(&ctx.transport, line, &ctx.clock, talk, Terms::VISIT, &mut NoSink).await? {
        Ended::Done(Output::Described(fields)) => Ok(fields),
        Ended::NeedsPerson { code, message } => Err(Error::NeedsPerson { code, message }),
        _ => Err(Error::Passing { code: "describe".into(), message: "the vendor did not answer properly: try again".into() }),
    }
}
