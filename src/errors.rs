//! Errors with stable codes, and diagnostics that point into a file.
//!
//! Every error says what to do next; none shows a secret or a person's data.

use std::fmt;

use serde::Serialize;

/// How bad a diagnostic is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Severity {
    /// Works, and is probably not what was meant.
    Warning,
    /// The file is not used.
    Error,
}

/// Something found in a file that a person wrote: where, what, and what to do.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Diagnostic {
    /// The file, as the person named it.
    pub file: String,
    /// Line, from 1; 0 when the whole file is meant.
    pub line: usize,
    /// Column in characters, from 1; 0 when the whole file is meant.
    pub column: usize,
    /// Error or warning.
    pub severity: Severity,
    /// Stable code, such as `mapping.unknown_field`.
    pub code: &'static str,
    /// What is wrong.
    pub message: String,
    /// What to do.
    pub hint: Option<String>,
}

impl Diagnostic {
    /// An error at a byte offset of `text`.
    pub fn at(file: &str, text: &str, offset: usize, code: &'static str, message: impl Into<String>) -> Self {
        let (line, column) = position(text, offset);
        Self { file: file.to_owned(), line, column, severity: Severity::Error, code, message: message.into(), hint: None }
    }

    /// An error about a whole file.
    pub fn whole(file: &str, code: &'static str, message: impl Into<String>) -> Self {
        Self { file: file.to_owned(), line: 0, column: 0, severity: Severity::Error, code, message: message.into(), hint: None }
    }

    /// The same, with what to do.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// The same as a warning.
    #[must_use]
    pub fn warning(mut self) -> Self {
        self.severity = Severity::Warning;
        self
    }

    /// Turns a TOML error into a diagnostic at its place.
    pub fn from_toml(file: &str, text: &str, code: &'static str, error: &toml::de::Error) -> Self {
        let offset = error.span().map_or(0, |span| span.start);
        Self::at(file, text, offset, code, error.message().to_owned())
    }
}

impl fmt::Display for Diagnostic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = match self.severity {
            Severity::Warning => "warning",
            Severity::Error => "error",
        };
        if self.line == 0 {
            write!(f, "{}: {kind}[{}]: {}", self.file, self.code, self.message)?;
        } else {
            write!(f, "{}:{}:{}: {kind}[{}]: {}", self.file, self.line, self.column, self.code, self.message)?;
        }
        if let Some(hint) = &self.hint {
            write!(f, "\n  hint: {hint}")?;
        }
        Ok(())
    }
}

/// Line and column, both from 1, of a byte offset.
pub fn position(text: &str, offset: usize) -> (usize, usize) {
    let before = text.get(..offset.min(text.len())).unwrap_or(text);
    let line = before.matches('\n').count() + 1;
    let column = before.rsplit('\n').next().unwrap_or_default().chars().count() + 1;
    (line, column)
}

/// The known word nearest to a misspelt one, when one is near enough to be meant.
pub fn did_you_mean<'a>(word: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    known
        .into_iter()
        .map(|candidate| (strsim::damerau_levenshtein(word, candidate), candidate))
        .filter(|(distance, candidate)| *distance <= 1 + candidate.chars().count().min(word.chars().count()) / 4)
        .min()
        .map(|(_, candidate)| candidate)
}

/// What can go wrong while running. The code is stable; the text says what to do.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The database refused or is gone.
    #[error("store.failed: the database did not do what was asked: {0}")]
    Store(#[source] sqlx::Error),
    /// Something stored cannot be read back.
    #[error("store.unreadable: {what} cannot be read back; it was written by another version or damaged")]
    Unreadable {
        /// What it is, without its content.
        what: String,
    },
    /// The vault cannot open or seal something.
    #[error("vault.failed: {0}")]
    Vault(String),
    /// A vendor cannot be spoken to now; waiting helps.
    #[error("vendor.passing: {code}: {message}")]
    Passing {
        /// The vendor's code, or ours.
        code: String,
        /// What happened.
        message: String,
    },
    /// The connection needs a person.
    #[error("connection.needs_person: {code}: {message}")]
    NeedsPerson {
        /// The vendor's code, or ours.
        code: String,
        /// What happened and what to do.
        message: String,
    },
    /// Files that people wrote have errors.
    #[error("{}", .0.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"))]
    Files(Vec<Diagnostic>),
    /// Something asked for is not there.
    #[error("not_found: {0}")]
    NotFound(String),
    /// A request that makes no sense as it stands.
    #[error("bad_request: {0}")]
    BadRequest(String),
    /// The machine (files, sockets, randomness) failed.
    #[error("system.failed: {0}")]
    System(String),
}

impl From<sqlx::Error> for Error {
    fn from(error: sqlx::Error) -> Self {
        // PostgreSQL has broken one of two transactions off that waited for each other: done again, it finds the way free.
        const DEADLOCK: &str = "40P01";
        if error.as_database_error().and_then(sqlx::error::DatabaseError::code).is_some_and(|code| code == DEADLOCK) {
            return Self::Passing { code: "deadlock".into(), message: "another transaction was in the way: it is tried again".into() };
        }
        Self::Store(error)
    }
}

/// The result of anything that runs.
pub type Result<T, E = Error> = std::result::Result<T, E>;
