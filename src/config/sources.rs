//! Where values come from: reads file and environment, and finds the place of each value again.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use config::{ConfigError, Environment, File, FileFormat};
use serde::de::{self, DeserializeOwned};
use toml::de::{DeTable, DeValue};

use super::{Config, LogFormat};
use crate::errors::{Diagnostic, did_you_mean};
use crate::http::line::Role;

const PREFIX: &str = "LEADSHARE_";
const BETWEEN: &str = "__";

/// The sources of one configuration.
#[derive(Debug, Default)]
pub(super) struct Sources {
    /// The file as the operator named it, and its folder.
    file: Option<(String, PathBuf)>,
    text: String,
    /// Variables that set something, by dotted path.
    env: BTreeMap<String, String>,
    /// The folder of systemd credentials.
    pub credentials: Option<PathBuf>,
}

impl Sources {
    /// A diagnostic about a value: where it was set, or where it should be.
    pub fn at(&self, path: &[&str], code: &'static str, message: impl Into<String>) -> Diagnostic {
        if let Some(variable) = self.env.get(&path.join(".")) {
            return Diagnostic::whole(variable, code, message);
        }
        match (&self.file, offset(&self.text, path)) {
            (Some((file, _)), Some(offset)) => Diagnostic::at(file, &self.text, offset, code, message),
            (Some((file, _)), None) => Diagnostic::whole(file, code, message),
            (None, _) => Diagnostic::whole("configuration", code, message),
        }
    }

    /// A path as it was meant: relative ones start at the configuration file's folder.
    pub fn resolve(&self, path: &Path) -> PathBuf {
        self.file.as_ref().map_or_else(|| path.to_owned(), |(_, folder)| folder.join(path))
    }
}

/// The byte at which the last known part of a path is named; `None` when not even the first is.
fn offset(text: &str, path: &[&str]) -> Option<usize> {
    let document = DeTable::parse(text).ok()?;
    let mut table = document.get_ref();
    let mut found = None;
    for part in path {
        let Some((key, value)) = table.iter().find(|(key, _)| key.get_ref() == part) else { break };
        found = Some(key.span().start);
        let DeValue::Table(inner) = value.get_ref() else { break };
        table = inner;
    }
    found
}

/// Reads the file, then the environment over it.
pub(super) fn read(path: Option<&Path>, env: impl Iterator<Item = (String, String)>) -> Result<(Config, Sources), Vec<Diagnostic>> {
    let mut sources = Sources::default();
    if let Some(path) = path {
        let file = path.display().to_string();
        sources.text = std::fs::read_to_string(path).map_err(|e| {
            let problem = Diagnostic::whole(&file, "config.unreadable", format!("the file cannot be read: {e}"));
            vec![problem.hint("name the configuration file with --config, and let the daemon's user read it")]
        })?;
        if let Err(e) = toml::from_str::<Config>(&sources.text) {
            return Err(vec![from_toml(&file, &sources.text, &e)]);
        }
        sources.file = Some((file, path.parent().map_or_else(PathBuf::new, Path::to_owned)));
    }

    let mut variables = config::Map::new();
    for (name, value) in env {
        if name == "CREDENTIALS_DIRECTORY" {
            sources.credentials = Some(PathBuf::from(value));
        } else if let Some(rest) = name.strip_prefix(PREFIX).filter(|rest| rest.contains(BETWEEN)) {
            let path = as_in_file(&sources.text, rest);
            variables.insert(format!("{PREFIX}{}", path.join(BETWEEN)), value);
            sources.env.insert(path.join("."), name);
        }
    }

    let builder = config::Config::builder()
        .add_source(File::from_str(&sources.text, FileFormat::Toml))
        .add_source(Environment::with_prefix("LEADSHARE").prefix_separator("_").separator(BETWEEN).source(Some(variables)));
    match builder.build().and_then(config::Config::try_deserialize) {
        Ok(config) => Ok((config, sources)),
        Err(e) => Err(vec![from_layers(&sources, &e)]),
    }
}

/// A variable's path in lower case, with the names as the file spells them: variables have no `-`.
fn as_in_file(text: &str, variable: &str) -> Vec<String> {
    let mut path: Vec<String> = variable.split(BETWEEN).map(str::to_ascii_lowercase).collect();
    let document = DeTable::parse(text).ok();
    let mut table = document.as_ref().map(toml::Spanned::get_ref);
    for part in &mut path {
        let known = table.and_then(|table| table.iter().find(|(key, _)| key.get_ref().replace('-', "_") == *part));
        if let Some((key, _)) = known {
            part.clone_from(&key.get_ref().to_string());
        }
        table = known.and_then(|(_, value)| value.get_ref().as_table());
    }
    path
}

/// An error of the file on its own.
fn from_toml(file: &str, text: &str, error: &toml::de::Error) -> Diagnostic {
    let offset = error.span().map_or(0, |span| span.start);
    if DeTable::parse(text).is_err() {
        return Diagnostic::at(file, text, offset, "config.syntax", error.message());
    }
    explain(error.message(), |code, message| Diagnostic::at(file, text, offset, code, message))
}

/// An error of file and environment together: as the file is fine on its own, it is the environment's.
fn from_layers(sources: &Sources, error: &ConfigError) -> Diagnostic {
    let (key, message) = match error {
        ConfigError::Type { expected, key, .. } => (key.clone(), format!("invalid type: value, expected {expected}")),
        ConfigError::At { error, key, .. } => (key.clone(), error.to_string()),
        other => (None, other.to_string()),
    };
    let key = key.unwrap_or_default();
    let message = match key.rsplit('.').next() {
        Some("role") => words::<Role>(),
        Some("format") => words::<LogFormat>(),
        _ => message,
    };
    let names = |path: &str| path == key || path.strip_prefix(&key).is_some_and(|rest| rest.starts_with('.'));
    let mut variables = sources.env.iter().filter(|(path, _)| key.is_empty() || names(path)).map(|(_, variable)| variable.as_str());
    // One variable, or those among which the wrong one is.
    let place = match (variables.next(), variables.next()) {
        (Some(one), None) => one.to_owned(),
        _ => format!("environment ({PREFIX}*)"),
    };
    explain(&message, |code, message| Diagnostic::whole(&place, code, message))
}

/// Rewrites a parser's message: values are left out, for one may be a secret in the wrong place.
fn explain(message: &str, make: impl FnOnce(&'static str, String) -> Diagnostic) -> Diagnostic {
    let quoted = |text: &str| -> Vec<String> { text.split('`').skip(1).step_by(2).map(str::to_owned).collect() };
    if let Some(rest) = message.strip_prefix("unknown field ") {
        let names = quoted(rest);
        let (word, known) = names.split_first().map_or(("", &[][..]), |(word, known)| (word.as_str(), known));
        let hint = match did_you_mean(word, known.iter().map(String::as_str)) {
            Some(near) => format!("did you mean `{near}`?"),
            None => format!("known here: {}", known.join(", ")),
        };
        return make("config.unknown_key", format!("there is no key `{word}` here")).hint(hint);
    }
    if let Some((kind, rest)) = ["type", "value", "length"].iter().find_map(|k| Some((k, message.strip_prefix(&format!("invalid {k}: "))?)))
        && let Some((found, expected)) = rest.rsplit_once(", expected ")
    {
        let found = found.split([' ', '`', '"']).next().unwrap_or_default();
        let expected = if expected == "a map" || expected.starts_with("struct ") { "a table" } else { expected };
        return make("config.wrong_type", format!("this is of the wrong {kind} ({found}): expected {expected}"));
    }
    if message.starts_with("unknown variant ") {
        let known = quoted(message).split_off(1);
        return make("config.wrong_value", "this is not one of the words known here".to_owned())
            .hint(format!("use one of: {}", known.join(", ")));
    }
    make("config.wrong_value", message.to_owned())
}

/// The words of an enumeration, as its own parser tells them.
fn words<T: DeserializeOwned>() -> String {
    let error = T::deserialize(de::value::StrDeserializer::<de::value::Error>::new("?")).err();
    error.map_or_else(String::new, |e| e.to_string())
}
