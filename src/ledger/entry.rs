//! What one entry says: a dotted kind and a body of ids, codes, versions, numbers and commitments.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};

use crate::clock::Millis;
use crate::errors::{Error, Result};

/// Whose record an entry belongs to; each stream is numbered on its own.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Stream {
    /// What happened under one agreement: both its parties may see it.
    Agreement(String),
    /// What concerns one partner alone.
    Partner(String),
    /// What concerns the program.
    Program,
}

impl fmt::Display for Stream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Agreement(id) => write!(f, "agreement:{id}"),
            Self::Partner(name) => write!(f, "partner:{name}"),
            Self::Program => f.write_str("program"),
        }
    }
}

/// The content of an entry. Each method takes one kind of value and refuses what could be, or hide,
/// a person's data: no e-mail address, phone number, name or free text fits any of them. The first
/// refusal is kept and reported by [`Entry::new`].
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Body {
    values: BTreeMap<&'static str, Value>,
    refused: Option<String>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
enum Value {
    Flag(bool),
    Number(i64),
    Text(String),
    List(Vec<String>),
}

impl Body {
    /// An empty body.
    pub fn new() -> Self {
        Self::default()
    }

    /// One of our ids: a UUID, or a lower-case name with at least one letter. A vendor's ids do not
    /// belong here: they point at a person outside the reach of our erasure.
    #[must_use]
    pub fn id(self, key: &'static str, id: &str) -> Self {
        self.text(key, id, is_id(id), "an id")
    }

    /// Several of our ids, in the order that matters to the entry.
    #[must_use]
    pub fn ids<'a>(self, key: &'static str, ids: impl IntoIterator<Item = &'a str>) -> Self {
        self.list(key, ids, is_id, "an id")
    }

    /// A word from a closed list: a reason, an outcome, a gate.
    #[must_use]
    pub fn code(self, key: &'static str, code: &str) -> Self {
        self.text(key, code, is_code(code), "a code")
    }

    /// Several codes.
    #[must_use]
    pub fn codes<'a>(self, key: &'static str, codes: impl IntoIterator<Item = &'a str>) -> Self {
        self.list(key, codes, is_code, "a code")
    }

    /// The version of a file or of our own engine: a content hash of 32 to 64 lower-case hex digits,
    /// or dotted numbers such as `1.4.0`.
    #[must_use]
    pub fn version(self, key: &'static str, version: &str) -> Self {
        self.text(key, version, is_hex_hash(version) || is_dotted(version), "a version")
    }

    /// A whole number: a count, a version counter.
    #[must_use]
    pub fn number(self, key: &'static str, number: i64) -> Self {
        self.put(key, Value::Number(number))
    }

    /// An amount of money as decimal text with a point, such as `1200.50`.
    #[must_use]
    pub fn amount(self, key: &'static str, amount: &str) -> Self {
        self.text(key, amount, is_amount(amount), "an amount")
    }

    /// A moment.
    #[must_use]
    pub fn at(self, key: &'static str, at: Millis) -> Self {
        self.put(key, Value::Number(at))
    }

    /// Yes or no.
    #[must_use]
    pub fn flag(self, key: &'static str, flag: bool) -> Self {
        self.put(key, Value::Flag(flag))
    }

    /// A commitment made by [`crate::vault::commit`]. A blind hash is not one: it could be tested
    /// against guesses after the person was erased.
    #[must_use]
    pub fn commitment(self, key: &'static str, commitment: &str) -> Self {
        let fits = commitment.strip_prefix("c1-").is_some_and(|hex| hex.len() == 64 && is_hex_hash(hex));
        self.text(key, commitment, fits, "a commitment")
    }

    fn text(self, key: &'static str, text: &str, fits: bool, what: &str) -> Self {
        if fits { self.put(key, Value::Text(text.to_owned())) } else { self.refuse(key, what) }
    }

    fn list<'a>(self, key: &'static str, items: impl IntoIterator<Item = &'a str>, fits: fn(&str) -> bool, what: &str) -> Self {
        let items: Vec<String> = items.into_iter().map(str::to_owned).collect();
        if items.iter().all(|item| fits(item)) { self.put(key, Value::List(items)) } else { self.refuse(key, what) }
    }

    fn put(mut self, key: &'static str, value: Value) -> Self {
        if !is_code(key) {
            return self.refuse(key, "filed under a lower-case key");
        }
        if self.values.insert(key, value).is_some() {
            return self.refuse(key, "given once");
        }
        self
    }

    fn refuse(mut self, key: &str, what: &str) -> Self {
        self.refused.get_or_insert_with(|| format!("{key} is not {what}"));
        self
    }
}

/// One entry, ready to be committed.
#[derive(Debug, Clone, PartialEq)]
pub struct Entry {
    /// Our id of the entry.
    pub id: String,
    /// The stream.
    pub stream: String,
    /// When it happened.
    pub at: Millis,
    /// What happened, dotted: `share.delivered`.
    pub kind: String,
    /// The canonical text: what is stored, hashed and exported.
    pub text: String,
}

impl Entry {
    /// An entry, with its canonical text.
    ///
    /// # Errors
    /// [`Error::BadRequest`] naming the key, never the value, when something does not belong into a ledger.
    pub fn new(id: &str, stream: &Stream, at: Millis, kind: &str, body: Body) -> Result<Self> {
        let refuse = |why: String| Err(Error::BadRequest(format!("the ledger refuses an entry of kind {kind:?}: {why}")));
        if !is_code(kind) || !kind.contains('.') {
            return Err(Error::BadRequest("the ledger refuses an entry whose kind is not dotted lower-case words".to_owned()));
        }
        if let Some(why) = body.refused {
            return refuse(why);
        }
        if !is_id(id) {
            return refuse("its id is not an id".to_owned());
        }
        if let Stream::Agreement(name) | Stream::Partner(name) = stream
            && !is_id(name)
        {
            return refuse("its stream is not named by an id".to_owned());
        }
        let stream = stream.to_string();
        let text = serde_json::to_string(&Canonical { at, body: &body.values, id, kind, stream: &stream, v: 1 })
            .map_err(|e| Error::BadRequest(e.to_string()))?;
        Ok(Self { id: id.to_owned(), stream, at, kind: kind.to_owned(), text })
    }
}

/// The canonical form: keys in alphabetical order, no blanks, no floats, and no text that would
/// need an escape.
#[derive(Serialize)]
struct Canonical<'a> {
    at: Millis,
    body: &'a BTreeMap<&'static str, Value>,
    id: &'a str,
    kind: &'a str,
    stream: &'a str,
    v: u32,
}

/// What a canonical text says of itself.
#[derive(Debug, Default, PartialEq, Deserialize)]
pub(super) struct Said {
    pub at: Millis,
    pub id: String,
    pub kind: String,
    pub stream: String,
    pub v: u32,
}

impl Said {
    pub fn read(text: &str) -> Option<Self> {
        serde_json::from_str(text).ok().filter(|said: &Self| said.v == 1)
    }
}

fn is_id(text: &str) -> bool {
    let name = text.len() <= 64
        && text.starts_with(|c: char| c.is_ascii_lowercase() || c.is_ascii_digit())
        && text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b"-_.:".contains(&b))
        && text.bytes().any(|b| b.is_ascii_lowercase());
    name || is_uuid(text)
}

fn is_uuid(text: &str) -> bool {
    text.len() == 36
        && text.bytes().enumerate().all(|(i, b)| match i {
            8 | 13 | 18 | 23 => b == b'-',
            _ => b.is_ascii_digit() || (b'a'..=b'f').contains(&b),
        })
}

fn is_code(text: &str) -> bool {
    text.len() <= 64
        && text.split('.').all(|word| {
            word.starts_with(|c: char| c.is_ascii_lowercase())
                && word.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_')
        })
}

fn is_hex_hash(text: &str) -> bool {
    (32..=64).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b))
}

/// `1.4.0`: short parts, so that no phone number written with dots passes.
fn is_dotted(text: &str) -> bool {
    let parts: Vec<&str> = text.split('.').collect();
    (2..=3).contains(&parts.len()) && parts.iter().all(|p| matches!(p.len(), 1..=2) && p.bytes().all(|b| b.is_ascii_digit()))
}

fn is_amount(text: &str) -> bool {
    let digits = |part: &str, most: usize| (1..=most).contains(&part.len()) && part.bytes().all(|b| b.is_ascii_digit());
    text.strip_prefix('-').unwrap_or(text).split_once('.').is_some_and(|(whole, part)| digits(whole, 15) && digits(part, 4))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const ID: &str = "0190a5c0-0000-7000-8000-000000000001";

    fn entry(body: Body) -> Result<Entry> {
        Entry::new(ID, &Stream::Agreement("northwind-brightwater".to_owned()), 5, "share.delivered", body)
    }

    // Breaks when the text that is hashed changes its form: every seal made before would look broken.
    #[test]
    fn the_canonical_text_stays_the_same_for_ever() {
        let body = Body::new()
            .id("share", ID)
            .ids("candidates", ["brightwater", "3m"])
            .code("outcome", "shared")
            .codes("gates", ["consent.missing", "fresh"])
            .version("agreement", "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08")
            .version("engine", "1.4.0")
            .number("attempt", -2)
            .amount("fee", "1200.50")
            .at("until", 1_775_000_000_000)
            .flag("masked", true)
            .commitment("inputs", "c1-3db2a6d5da387b56e2ff22ec16a3adb81ce27ab8cf6bfb62aa0b0f95285cdef5");
        assert_eq!(
            entry(body).expect("fits").text,
            concat!(
                r#"{"at":5,"body":{"agreement":"9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08","attempt":-2,"#,
                r#""candidates":["brightwater","3m"],"engine":"1.4.0","fee":"1200.50","gates":["consent.missing","fresh"],"#,
                r#""inputs":"c1-3db2a6d5da387b56e2ff22ec16a3adb81ce27ab8cf6bfb62aa0b0f95285cdef5","masked":true,"outcome":"shared","share":"0190a5c0-0000-7000-8000-000000000001","#,
                r#""until":1775000000000},"id":"0190a5c0-0000-7000-8000-000000000001","kind":"share.delivered","#,
                r#""stream":"agreement:northwind-brightwater","v":1}"#
            )
        );
    }

    /// Every way to put a text into a body.
    fn every_way(text: &str) -> [Body; 7] {
        let body = Body::new;
        [
            body().id("k", text),
            body().ids("k", ["fine", text]),
            body().code("k", text),
            body().codes("k", ["fine", text]),
            body().version("k", text),
            body().amount("k", text),
            body().commitment("k", text),
        ]
    }

    fn refused_every_way(text: &str) -> bool {
        every_way(text).into_iter().all(|body| entry(body).is_err_and(|e| text.is_empty() || !e.to_string().contains(text)))
    }

    proptest! {
        // Breaks when a person's address or number can reach the ledger, or its error message.
        #[test]
        fn addresses_and_numbers_are_refused(
            email in "[a-z0-9.+]{1,12}@[a-z0-9]{1,12}\\.[a-z]{2,5}",
            phone in "(\\+|00)?[0-9]{2,4}[ ./-]?[0-9]{3,4}[ ./-]?[0-9]{3,8}",
            name in "[A-Z][a-z]{1,9} [A-Z][a-z]{1,9}",
        ) {
            // A decimal with up to four places is an amount, whatever else it may look like.
            prop_assume!(!is_amount(&phone));
            for text in [email, phone, name] {
                prop_assert!(refused_every_way(&text), "{text}");
            }
        }

        // Breaks when an id that the daemon makes is refused: work could not be committed.
        #[test]
        fn made_ids_fit(now in 0i64..4_000_000_000_000) {
            let id = crate::clock::Clock::test(now).id();
            prop_assert!(entry(Body::new().id("lead", &id)).is_ok());
        }
    }

    // Breaks when free text, a vendor's numeric id, or a blind hash gets in.
    #[test]
    fn other_things_that_point_at_people_are_refused() {
        let blind = format!("b1-{}", "0".repeat(64));
        for text in ["", "called, wants a quote", "12345678901", blind.as_str(), "Jo", "jo\u{e9}"] {
            assert!(refused_every_way(text), "{text}");
        }
    }

    // Breaks when an entry cannot be told apart by kind, or a value is silently replaced.
    #[test]
    fn kinds_are_dotted_and_keys_given_once() {
        let stream = Stream::Program;
        for kind in ["delivered", "Share.delivered", "share..delivered", "share.", ""] {
            assert!(Entry::new(ID, &stream, 0, kind, Body::new()).is_err(), "{kind}");
        }
        assert!(entry(Body::new().number("n", 1).number("n", 2)).is_err());
        assert!(Entry::new(ID, &Stream::Partner("Jo Smith".to_owned()), 0, "a.b", Body::new()).is_err());
        assert_eq!(Entry::new(ID, &stream, 0, "a.b", Body::new()).expect("fits").stream, "program");
    }
}
