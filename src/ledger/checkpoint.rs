//! Checkpoints: size and root of the tree at a time, signed, small enough to be mailed.
//!
//! The text is a signed note with an Ed25519 signature (C2SP `signed-note` and `tlog-checkpoint`),
//! with the time, and the heads of the receiver's own streams, as extension lines:
//!
//! ```text
//! leads.example.com/northwind
//! 20852163
//! CsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=
//! time 2026-04-01T09:00:00Z
//! stream agreement:northwind-brightwater 214 <hash in hex>
//!
//! — leads.example.com/northwind <base64 of key id and signature>
//! ```
//!
//! Without the head of its stream a party could not tell that the newest entries are being kept from it.

use std::fmt;
use std::str::FromStr;

use base64::{Engine as _, engine::general_purpose::STANDARD as B64};
use ed25519_dalek::{Signature, Signer as _, SigningKey, VerifyingKey};
use leadshare_connectors::sdk::signature::sha256;

use super::{Hash, Head};
use crate::clock::{Millis, rfc3339};
use crate::errors::{Error, Result};
use crate::vault::Key;

/// The signature type of plain Ed25519 in signed notes.
const ED25519: u8 = 1;

/// What a checkpoint says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Checkpoint {
    /// Which ledger: a name without blanks, best an address without scheme.
    pub origin: String,
    /// How many entries the tree has.
    pub size: u64,
    /// The root over them.
    pub root: Hash,
    /// When it was made.
    pub at: Millis,
    /// The last entry of some streams in that tree: those of the party that it is for.
    pub heads: Vec<(String, Head)>,
}

impl Checkpoint {
    /// Signs: the whole note.
    ///
    /// # Errors
    /// [`Error::BadRequest`] when the origin is not the signer's, or a stream's name has blanks.
    pub fn sign(&self, signer: &Signer) -> Result<String> {
        if self.origin != signer.name {
            return Err(Error::BadRequest(format!("a checkpoint of {:?} is not signed by {:?}", self.origin, signer.name)));
        }
        let text = self.text();
        if Self::read(&text).as_ref() != Some(self) {
            return Err(Error::BadRequest("a checkpoint that could not be read back is not signed".to_owned()));
        }
        let public = signer.public();
        let signature = signer.key.sign(text.as_bytes());
        let line = [public.id().as_slice(), &signature.to_bytes()].concat();
        Ok(format!("{text}\n\u{2014} {} {}\n", signer.name, B64.encode(line)))
    }

    /// Checks the signature of a note by any of the keys, and reads it.
    ///
    /// # Errors
    /// [`Error::BadRequest`] when none of the keys signed it, a signature is wrong, or it is no checkpoint.
    pub fn open(note: &str, keys: &[PublicKey]) -> Result<Self> {
        let (text, name) = signed_text(note, keys).map_err(|why| Error::BadRequest(format!("the checkpoint {why}")))?;
        Self::read(text)
            .filter(|checkpoint| checkpoint.origin == name)
            .ok_or_else(|| Error::BadRequest("the checkpoint is signed, but its text is not that of a ledger's checkpoint".to_owned()))
    }

    /// What a note says, whoever signed it; `None` when it does not have the form of a signed checkpoint.
    pub fn unverified(note: &str) -> Option<Self> {
        let (text, signatures) = parts(note)?;
        signatures.starts_with('\u{2014}').then(|| Self::read(text))?
    }

    fn text(&self) -> String {
        let heads: Vec<String> = self.heads.iter().map(|(stream, head)| format!("stream {stream} {} {}\n", head.seq, head.hash)).collect();
        format!("{}\n{}\n{}\ntime {}\n{}", self.origin, self.size, B64.encode(self.root.0), rfc3339(self.at), heads.concat())
    }

    fn read(text: &str) -> Option<Self> {
        let mut lines = text.strip_suffix('\n')?.split('\n');
        let origin = lines.next().filter(|origin| is_key_name(origin))?.to_owned();
        let size = lines.next()?;
        let size = size.parse::<u64>().ok().filter(|n| n.to_string() == size)?;
        let root = Hash(B64.decode(lines.next()?).ok()?.try_into().ok()?);
        let at = lines.next()?.strip_prefix("time ")?.parse::<jiff::Timestamp>().ok()?.as_millisecond();
        let heads = lines
            .map(|line| {
                let mut words = line.strip_prefix("stream ")?.split(' ');
                let (stream, seq, hash) = (words.next()?, words.next()?, words.next()?);
                let head = Head { seq: seq.parse().ok()?, hash: hash.parse().ok()? };
                (words.next().is_none() && !stream.is_empty()).then(|| (stream.to_owned(), head))
            })
            .collect::<Option<_>>()?;
        Some(Self { origin, size, root, at, heads })
    }
}

/// The text of a note and its lines of signatures.
fn parts(note: &str) -> Option<(&str, &str)> {
    let split = note.rfind("\n\n")?;
    Some((&note[..=split], &note[split + 2..]))
}

/// The text of a note and the name of the key that signed it. As the format asks: unknown keys are
/// passed over, a wrong signature of a known key spoils the note.
fn signed_text<'a>(note: &'a str, keys: &[PublicKey]) -> Result<(&'a str, String), &'static str> {
    let (text, signatures) = parts(note).ok_or("has no signature")?;
    let mut signer = None;
    for line in signatures.lines() {
        let (name, value) = line.strip_prefix("\u{2014} ").and_then(|l| l.split_once(' ')).ok_or("has a malformed signature line")?;
        let value = B64.decode(value).map_err(|_| "has a malformed signature line")?;
        let (id, signature) = value.split_first_chunk::<4>().ok_or("has a malformed signature line")?;
        let Some(key) = keys.iter().find(|key| key.name == name && key.id() == *id) else { continue };
        let signature = Signature::from_slice(signature).map_err(|_| "has a malformed signature")?;
        key.key.verify_strict(text.as_bytes(), &signature).map_err(|_| "was altered: its signature does not fit")?;
        signer = Some(key.name.clone());
    }
    signer.map(|name| (text, name)).ok_or("is not signed by a known key")
}

fn is_key_name(name: &str) -> bool {
    !name.is_empty() && !name.contains(|c: char| c == '+' || c.is_whitespace() || c.is_control())
}

/// Signs checkpoints.
pub struct Signer {
    name: String,
    key: SigningKey,
}

impl Signer {
    /// A signer for the ledger of this origin.
    ///
    /// # Errors
    /// [`Error::BadRequest`] when the origin is empty or has blanks or `+`.
    pub fn new(origin: &str, key: &Key) -> Result<Self> {
        if !is_key_name(origin) {
            return Err(Error::BadRequest(format!("the ledger's origin {origin:?} must be a name without blanks and +")));
        }
        Ok(Self { name: origin.to_owned(), key: SigningKey::from_bytes(key.bytes()) })
    }

    /// The ledger's name, as its checkpoints state it.
    pub fn origin(&self) -> &str {
        &self.name
    }

    /// The key that others verify with.
    pub fn public(&self) -> PublicKey {
        PublicKey { name: self.name.clone(), key: self.key.verifying_key() }
    }
}

impl fmt::Debug for Signer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Signer").field("public", &self.public()).finish_non_exhaustive()
    }
}

/// Verifies checkpoints. As text `<name>+<key id in hex>+<base64>`, the form that tools for signed
/// notes read.
#[derive(Clone, PartialEq, Eq)]
pub struct PublicKey {
    name: String,
    key: VerifyingKey,
}

impl PublicKey {
    /// The name of the ledger whose checkpoints it verifies.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The key's id: tells keys of one name apart, and proves nothing.
    pub fn id(&self) -> [u8; 4] {
        let hash = sha256(&[self.name.as_bytes(), b"\n", &[ED25519], self.key.as_bytes()]);
        [hash[0], hash[1], hash[2], hash[3]]
    }
}

impl fmt::Display for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let key = [&[ED25519], self.key.as_bytes().as_slice()].concat();
        write!(f, "{}+{}+{}", self.name, hex::encode(self.id()), B64.encode(key))
    }
}

impl fmt::Debug for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for PublicKey {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let read = || {
            let mut parts = text.trim().splitn(3, '+');
            let (name, id, key) = (parts.next()?, parts.next()?, parts.next()?);
            let bytes = B64.decode(key).ok()?;
            let (kind, key) = bytes.split_first()?;
            let key = VerifyingKey::from_bytes(key.try_into().ok()?).ok()?;
            let public = Self { name: name.to_owned(), key };
            (*kind == ED25519 && is_key_name(name) && hex::encode(public.id()) == id).then_some(public)
        };
        read().ok_or_else(|| {
            Error::BadRequest(
                "this is not a ledger's public key; it has the form <name>+<key id>+<base64>, as `ledger export` prints it".to_owned(),
            )
        })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const ORIGIN: &str = "leads.example.com/northwind";

    fn signer(byte: u8) -> Signer {
        Signer::new(ORIGIN, &Key::from_bytes([byte; 32])).expect("a signer")
    }

    fn checkpoint() -> Checkpoint {
        let head = Head { seq: 7, hash: Hash::leaf(b"x") };
        let heads = vec![("agreement:a".to_owned(), head), ("partner:p".to_owned(), head)];
        Checkpoint { origin: ORIGIN.to_owned(), size: 42, root: Hash::leaf(b"r"), at: 1_775_000_000_123, heads }
    }

    // Breaks when notes or keys of other tools for signed notes no longer verify (the example of Go's note package).
    #[test]
    fn notes_of_other_tools_verify() {
        let key: PublicKey = "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW".parse().expect("a key");
        assert_eq!(key.to_string(), "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW");
        let note = "If you think cryptography is the answer to your problem,\nthen you don't know what your problem is.\n\n\
            \u{2014} PeterNeumann x08go/ZJkuBS9UG/SffcvIAQxVBtiFupLLr8pAcElZInNIuGUgYN1FFYC2pZSNXgKvqfqdngotpRZb6KE6RyyBwJnAM=\n";
        assert!(signed_text(note, std::slice::from_ref(&key)).is_ok());
        assert!(signed_text(&note.replace("your problem is", "my problem is"), &[key]).is_err());
    }

    // Breaks when a party cannot read what it was handed, or a replaced signing key makes old checkpoints unreadable.
    #[test]
    fn a_checkpoint_is_read_with_the_key_that_signed_it() {
        let note = checkpoint().sign(&signer(1)).expect("signs");
        let keys: Vec<PublicKey> = [2, 1].map(|b| signer(b).public().to_string().parse().expect("a key")).to_vec();
        assert_eq!(Checkpoint::open(&note, &keys).expect("opens"), checkpoint());
        let message = Checkpoint::open(&note, &keys[..1]).expect_err("unknown key").to_string();
        assert!(message.contains("not signed by a known key"), "{message}");
        let both = format!("{note}\u{2014} other.example AAAAAAAA\n");
        assert_eq!(Checkpoint::open(&both, &keys).expect("unknown signatures are passed over"), checkpoint());
    }

    proptest! {
        // Breaks when one changed character of a checkpoint goes unseen.
        #[test]
        fn an_altered_checkpoint_is_refused(at: usize, to in "[ -~]") {
            let note = checkpoint().sign(&signer(1)).expect("signs");
            let at = at % note.len();
            prop_assume!(note.is_char_boundary(at) && note.is_char_boundary(at + 1));
            let altered = format!("{}{to}{}", &note[..at], &note[at + 1..]);
            prop_assert!(altered == note || Checkpoint::open(&altered, &[signer(1).public()]).is_err());
        }
    }

    // Breaks when a signature can be given for a text that means something else.
    #[test]
    fn what_cannot_be_read_back_is_not_signed() {
        let mut other = checkpoint();
        "evil.example\n9".clone_into(&mut other.origin);
        assert!(other.sign(&signer(1)).is_err());
        let mut split = checkpoint();
        "a 1\nstream b".clone_into(&mut split.heads[0].0);
        assert!(split.sign(&signer(1)).is_err());
        assert!(Signer::new("two words", &Key::from_bytes([1; 32])).is_err());
    }
}
