//! Program files: partners, agreements, notices, lists and messages, from text to a checked whole. Pure but for `folder`.

use std::sync::{Arc, LazyLock};

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use sha2::{Digest, Sha256};

use crate::errors::{Diagnostic, Severity};
use crate::kept::Kept;
use crate::model::agreement::{Agreement, Signatory};

pub mod business;
mod check;
mod compile;
mod explain;
mod expr;
mod folder;
pub mod list;
mod notice;
mod partner;
pub mod place;
mod reader;
mod term;
#[cfg(test)]
pub(crate) mod tests;

pub use compile::{Entry, Program, State, Versioned, compile};
pub use explain::explain;
pub use expr::Expr;
pub use folder::read_folder;
pub use list::List;
pub use notice::{Notice, Shown};
pub use partner::{Calendar, Certificate, Contacts, Kind as PartnerKind, Partner, PartnerCapacity, Tier, Weekday};
pub use term::{Window, after};

use reader::Tree;

/// What a program file is about; each kind has its own folder.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FileKind {
    /// `partners/<name>.toml`
    Partner,
    /// `agreements/<id>.toml`
    Agreement,
    /// `notices/<id>.toml`
    Notice,
    /// `lists/<name>.csv`
    List,
    /// `messages/<name>.md`
    Message,
}

impl FileKind {
    /// Every kind.
    pub const ALL: [Self; 5] = [Self::Partner, Self::Agreement, Self::Notice, Self::List, Self::Message];

    /// The folder of such files.
    pub fn folder(self) -> &'static str {
        match self {
            Self::Partner => "partners",
            Self::Agreement => "agreements",
            Self::Notice => "notices",
            Self::List => "lists",
            Self::Message => "messages",
        }
    }

    /// The ending of such files' names.
    pub fn ending(self) -> &'static str {
        match self {
            Self::Partner | Self::Agreement | Self::Notice => "toml",
            Self::List => "csv",
            Self::Message => "md",
        }
    }

    /// The stable word.
    pub fn word(self) -> &'static str {
        match self {
            Self::Partner => "partner",
            Self::Agreement => "agreement",
            Self::Notice => "notice",
            Self::List => "list",
            Self::Message => "message",
        }
    }
}

/// A file's content as typed data.
#[derive(Debug, Clone, PartialEq)]
pub enum Parsed {
    /// A partner.
    Partner(Box<Partner>),
    /// An agreement.
    Agreement(Kept<Agreement>),
    /// A notice.
    Notice(Box<Notice>),
    /// A list.
    List(List),
    /// An approved text.
    Message(String),
}

/// A program file that is right in itself.
#[derive(Debug, Clone, PartialEq)]
pub struct ProgramFile {
    /// What it is about.
    pub kind: FileKind,
    /// Its name without folder and ending.
    pub name: String,
    /// Its path as people see it in errors.
    pub file: String,
    /// The text as written.
    pub text: Arc<str>,
    /// SHA-256 of its values: comments, order of keys and white space do not change it.
    pub hash: String,
    /// For agreements, SHA-256 of the signed part: the values without `signing` and `operations`.
    pub terms: Option<String>,
    /// The content.
    pub parsed: Parsed,
    /// What works and is probably not meant.
    pub warnings: Vec<Diagnostic>,
}

impl ProgramFile {
    /// The agreement, when it is one.
    pub fn agreement(&self) -> Option<&Agreement> {
        match &self.parsed {
            Parsed::Agreement(agreement) => Some(agreement),
            _ => None,
        }
    }

    /// Forgets what an agreement says until it is asked for.
    pub fn rest(&mut self) {
        if let Parsed::Agreement(agreement) = &mut self.parsed {
            agreement.rest();
        }
    }
}

static PARTNER: LazyLock<Value> = LazyLock::new(reader::schema_of::<Partner>);
static AGREEMENT: LazyLock<Value> = LazyLock::new(reader::schema_of::<Agreement>);
static NOTICE: LazyLock<Value> = LazyLock::new(reader::schema_of::<Notice>);

/// The JSON schema of a kind of file, for editors; lists and messages have none.
pub fn schema(kind: FileKind) -> Option<&'static Value> {
    match kind {
        FileKind::Partner => Some(&PARTNER),
        FileKind::Agreement => Some(&AGREEMENT),
        FileKind::Notice => Some(&NOTICE),
        FileKind::List | FileKind::Message => None,
    }
}

/// Reads one file and checks what can be checked without the others. `file` is the path that errors name.
///
/// # Errors
/// Everything that is wrong, each at its place.
pub fn parse_file(kind: FileKind, name: &str, file: &str, text: &str) -> Result<ProgramFile, Vec<Diagnostic>> {
    let misnamed = check::name_fault(kind, name).map(|(message, hint)| Diagnostic::whole(file, "program.name", message).hint(hint));
    match (misnamed, parse_content(kind, name, file, text)) {
        (None, result) => result,
        (Some(misnamed), Ok(_)) => Err(vec![misnamed]),
        (Some(misnamed), Err(rest)) => Err(std::iter::once(misnamed).chain(rest).collect()),
    }
}

fn parse_content(kind: FileKind, name: &str, file: &str, text: &str) -> Result<ProgramFile, Vec<Diagnostic>> {
    let text: Arc<str> = text.strip_prefix('\u{feff}').unwrap_or(text).into();
    let mut terms = None;
    let mut warnings = Vec::new();
    let (parsed, values) = match kind {
        FileKind::Partner => {
            let (partner, values) = toml(file, &text, &PARTNER, &mut warnings, check::partner)?;
            (Parsed::Partner(Box::new(partner)), values)
        }
        FileKind::Agreement => {
            let checks = |tree: &mut Tree<'_>, agreement: &Agreement| check::agreement(tree, name, agreement);
            let (agreement, values) = toml(file, &text, &AGREEMENT, &mut warnings, checks)?;
            terms = Some(hash_terms(&values));
            (Parsed::Agreement(Kept::new(text.clone(), agreement_again, agreement)), values)
        }
        FileKind::Notice => {
            let (notice, values) = toml(file, &text, &NOTICE, &mut warnings, check::notice)?;
            (Parsed::Notice(Box::new(notice)), values)
        }
        FileKind::List => {
            let list = list::parse(file, &text)?;
            let values = serde_json::to_value(&list).unwrap_or_default();
            (Parsed::List(list), values)
        }
        FileKind::Message => {
            let message = text.replace("\r\n", "\n").trim_end().to_owned();
            if message.is_empty() {
                return Err(vec![Diagnostic::whole(file, "message.empty", "the text is empty").hint("write the approved words into it")]);
            }
            let values = Value::from(message.as_str());
            (Parsed::Message(message), values)
        }
    };
    let hash = hash_of(kind.word(), &values);
    Ok(ProgramFile { kind, name: name.to_owned(), file: file.to_owned(), text, hash, terms, parsed, warnings })
}

/// Reads the text of an agreement that was read before.
#[expect(clippy::expect_used, reason = "the same text, read by the same program without an error before")]
fn agreement_again(text: &str) -> Agreement {
    Tree::parse("", text).read(&AGREEMENT).expect("the agreement reads again").0
}

/// Reads a TOML file of a type and checks it; warnings do not stop it.
fn toml<T: DeserializeOwned>(
    file: &str,
    text: &str,
    schema: &Value,
    warnings: &mut Vec<Diagnostic>,
    checks: impl FnOnce(&mut Tree<'_>, &T),
) -> Result<(T, Value), Vec<Diagnostic>> {
    let mut tree = Tree::parse(file, text);
    let (typed, values) = tree.read(schema)?;
    checks(&mut tree, &typed);
    let found = tree.take();
    if found.iter().any(|d| d.severity == Severity::Error) {
        return Err(found);
    }
    warnings.extend(found);
    Ok((typed, values))
}

/// The hash that both sides sign: clauses 1 to 9 and `about` as values, so that comments and order do not count.
/// `about` is part of it, so that a signature cannot be moved to another agreement or version.
///
/// # Errors
/// When the text is not a readable agreement file.
pub fn terms_hash(text: &str) -> Result<String, Vec<Diagnostic>> {
    let mut tree = Tree::parse("agreement", text);
    tree.read::<Agreement>(&AGREEMENT).map(|(_, values)| hash_terms(&values))
}

fn hash_terms(values: &Value) -> String {
    let mut terms = values.clone();
    if let Some(table) = terms.as_object_mut() {
        table.remove("signing");
        table.remove("operations");
    }
    hash_of("terms", &terms)
}

/// SHA-256 over a canonical form of values, as hexadecimal digits. `what` keeps hashes of different things apart.
fn hash_of(what: &str, values: &Value) -> String {
    let mut text = format!("leadshare {what} 1\n");
    canonical(values, &mut text);
    hex::encode(Sha256::digest(text.as_bytes()))
}

fn canonical(value: &Value, out: &mut String) {
    match value {
        Value::Object(table) => {
            // Sorted here, whatever order the map keeps: signatures must outlive the library's choices.
            let mut keys: Vec<&String> = table.keys().collect();
            keys.sort();
            out.push('{');
            for key in keys {
                out.push_str(&Value::from(key.as_str()).to_string());
                out.push(':');
                canonical(&table[key], out);
                out.push(',');
            }
            out.push('}');
        }
        Value::Array(items) => {
            out.push('[');
            for item in items {
                canonical(item, out);
                out.push(',');
            }
            out.push(']');
        }
        plain => out.push_str(&plain.to_string()),
    }
}

/// What becomes of a new version of a file.
#[derive(Debug, Clone, PartialEq)]
pub enum Publish {
    /// It takes effect.
    Active,
    /// It waits; the previous version, if any, stays in effect.
    Pending {
        /// Why it waits and what to do.
        reason: String,
    },
    /// It says the same as the version in effect.
    Unchanged,
}

/// Decides whether a new version of a file takes effect. Signed terms are displaced by signed terms only, and a notice
/// that people were shown is never rewritten.
pub fn choose_active(previous: Option<&ProgramFile>, new: &ProgramFile) -> Publish {
    if previous.is_some_and(|p| p.hash == new.hash) {
        return Publish::Unchanged;
    }
    let reason = match &new.parsed {
        Parsed::Agreement(agreement) => unsigned(agreement, new.terms.as_deref().unwrap_or_default()).or_else(|| {
            let before = previous?;
            let (same, old) = (before.terms == new.terms, before.agreement()?.about.version);
            (!same && agreement.about.version <= old).then(|| format!("the terms changed: `about.version` must be above {old}"))
        }),
        Parsed::Notice(notice) => previous.and_then(|p| match &p.parsed {
            Parsed::Notice(before) => rewritten(before, notice),
            _ => None,
        }),
        Parsed::Partner(_) | Parsed::List(_) | Parsed::Message(_) => None,
    };
    reason.map_or(Publish::Active, |reason| Publish::Pending { reason })
}

/// Why the terms do not count as signed by everybody who must sign; `None` when they do.
fn unsigned(agreement: &Agreement, terms: &str) -> Option<String> {
    for party in signatories(agreement) {
        let word = match party {
            Signatory::Source => "source",
            Signatory::Recipient => "recipient",
            Signatory::Client => "client",
        };
        match agreement.signature(party) {
            None => return Some(format!("the {word} has not signed the terms {terms}")),
            Some(s) if !s.terms.eq_ignore_ascii_case(terms) => {
                return Some(format!("the {word} signed other terms than these ({terms}): the change needs a new signature"));
            }
            Some(_) => {}
        }
    }
    None
}

/// Who must sign an agreement.
fn signatories(agreement: &Agreement) -> Vec<Signatory> {
    let client = [&agreement.parties.source, &agreement.parties.recipient].iter().any(|p| p.client.is_some());
    let mut all = vec![Signatory::Source, Signatory::Recipient];
    all.extend(client.then_some(Signatory::Client));
    all
}

/// Why a notice may not be replaced by another text under the same name; closing its last day is the one change allowed.
fn rewritten(before: &Notice, new: &Notice) -> Option<String> {
    let closed = Notice { shown: Shown { until: new.shown.until, ..before.shown.clone() }, ..before.clone() };
    if &closed != new {
        return Some("people were shown this notice as it was: give the new one a name of its own".to_owned());
    }
    match (before.shown.until, new.shown.until) {
        (Some(old), Some(new)) if new > old => Some("the notice was closed: give a new one a name of its own".to_owned()),
        (Some(_), None) => Some("the notice was closed: give a new one a name of its own".to_owned()),
        _ => None,
    }
}

/// The list that `list:<name>` refers to.
pub fn list_name(reference: &str) -> Option<&str> {
    reference.strip_prefix("list:").filter(|name| !name.is_empty())
}

/// The message that `messages/<name>.md` refers to.
fn message_name(reference: &str) -> Option<&str> {
    reference.strip_prefix("messages/")?.strip_suffix(".md").filter(|name| !name.is_empty())
}
