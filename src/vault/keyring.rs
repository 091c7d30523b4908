//! Keys that seal what is stored, several at a time so that they can be rotated.

use std::collections::BTreeMap;

use secrecy::zeroize::Zeroizing;

use super::Key;
use crate::clock::Clock;
use crate::errors::{Error, Result};

/// Where a sealed value belongs; it opens nowhere else.
#[derive(Debug, Clone, Copy)]
pub struct Aad<'a> {
    /// The table.
    pub table: &'a str,
    /// The row's id.
    pub row: &'a str,
    /// The column.
    pub column: &'a str,
    /// The value's version, so that an older one put back does not open (tokens); 0 where there is none.
    pub version: u64,
}

impl<'a> Aad<'a> {
    /// A place whose values have no version.
    pub fn new(table: &'a str, row: &'a str, column: &'a str) -> Self {
        Self { table, row, column, version: 0 }
    }

    /// The same place, for one version of its value.
    #[must_use]
    pub fn version(mut self, version: u64) -> Self {
        self.version = version;
        self
    }
}

/// The keys at hand by id, and the one that seals. To rotate: add a key everywhere, make it active,
/// [`Keyring::reseal`] what is stored, then remove the old one.
#[derive(Debug)]
pub struct Keyring {
    active: String,
    keys: BTreeMap<String, Key>,
}

/// The key id of a sealed text; `None` when it is not one.
pub fn sealed_under(sealed: &str) -> Option<&str> {
    sealed.strip_prefix("v1.")?.split_once('.').map(|(id, _)| id)
}

impl Keyring {
    /// A ring whose `active` key seals; each of them opens.
    ///
    /// # Errors
    /// [`Error::Vault`] for an id that is not 1 to 32 of `a-z 0-9 -`, or an active key that is not there.
    pub fn new(active: &str, keys: impl IntoIterator<Item = (String, Key)>) -> Result<Self> {
        let keys: BTreeMap<String, Key> = keys.into_iter().collect();
        for id in keys.keys() {
            let fine = matches!(id.len(), 1..=32) && id.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-');
            if !fine {
                return Err(Error::Vault(format!("the key id {id:?} must be 1 to 32 of a-z, 0-9 and -")));
            }
        }
        if !keys.contains_key(active) {
            return Err(Error::Vault(format!("the active key {active:?} is not among the keys")));
        }
        Ok(Self { active: active.to_owned(), keys })
    }

    /// The id of the key that seals.
    pub fn active(&self) -> &str {
        &self.active
    }

    /// Seals under the active key: `v1.<key id>.<base64 of nonce and ciphertext>`.
    ///
    /// # Errors
    /// [`Error::Vault`] when the system has no randomness to give.
    pub fn seal(&self, clock: &Clock, aad: Aad<'_>, plain: &[u8]) -> Result<String> {
        let body = self.key(&self.active)?.encrypt(clock, &bound(aad, &self.active, &aad.version.to_string()), plain)?;
        Ok(format!("v1.{}.{body}", self.active))
    }

    /// Opens what [`Keyring::seal`] made for the same place.
    ///
    /// # Errors
    /// [`Error::Vault`] when the key is not at hand, or the text was altered or belongs elsewhere.
    pub fn open(&self, aad: Aad<'_>, sealed: &str) -> Result<Zeroizing<Vec<u8>>> {
        let place = format!("{}.{}", aad.table, aad.column);
        let id = sealed_under(sealed).ok_or_else(|| Error::Vault(format!("{place} holds nothing that was sealed here")))?;
        let body = &sealed["v1.".len() + id.len() + 1..];
        self.key(id)?.decrypt(&bound(aad, id, &aad.version.to_string()), body).ok_or_else(|| {
            Error::Vault(format!("{place} does not open: it was altered, copied from another row, or key {id:?} is a different one"))
        })
    }

    /// The same value under the active key; `None` when it is already.
    ///
    /// # Errors
    /// As [`Keyring::open`] and [`Keyring::seal`].
    pub fn reseal(&self, clock: &Clock, aad: Aad<'_>, sealed: &str) -> Result<Option<String>> {
        if sealed_under(sealed) == Some(&self.active) {
            return Ok(None);
        }
        let plain = self.open(aad, sealed)?;
        self.seal(clock, aad, &plain).map(Some)
    }

    /// A check value for each key.
    pub(super) fn checks(&self) -> impl Iterator<Item = (&str, String)> {
        self.keys.iter().map(|(id, key)| (id.as_str(), key.check()))
    }

    fn key(&self, id: &str) -> Result<&Key> {
        self.keys.get(id).ok_or_else(|| Error::Vault(format!("key {id:?} is not in the configuration; put it back under [keys]")))
    }
}

fn bound<'a>(aad: Aad<'a>, key: &'a str, version: &'a str) -> [&'a str; 6] {
    ["leadshare sealed v1", aad.table, aad.row, aad.column, key, version]
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn ring(active: &str, ids: &[(&str, u8)]) -> Keyring {
        Keyring::new(active, ids.iter().map(|(id, b)| ((*id).to_owned(), Key::from_bytes([*b; 32])))).expect("ring")
    }

    const PLACE: Aad<'static> = Aad { table: "connection", row: "c1", column: "refresh_token", version: 3 };

    proptest! {
        // Breaks when something sealed does not come back, or one changed character goes unseen.
        #[test]
        fn what_is_sealed_opens_and_what_is_altered_does_not(plain: Vec<u8>, at: usize, to in "[A-Za-z0-9_-]") {
            let ring = ring("k1", &[("k1", 1)]);
            let sealed = ring.seal(&Clock::test(0), PLACE, &plain).expect("seals");
            let opened = ring.open(PLACE, &sealed).expect("opens");
            prop_assert_eq!(opened.as_slice(), plain.as_slice());
            let at = at % sealed.len();
            let altered = format!("{}{to}{}", &sealed[..at], &sealed[at + 1..]);
            prop_assert!(altered == sealed || ring.open(PLACE, &altered).is_err());
        }
    }

    // Breaks when a sealed value can be moved to another row or column, or an old token put back.
    #[test]
    fn a_value_opens_only_in_its_place() {
        let ring = ring("k1", &[("k1", 1)]);
        let sealed = ring.seal(&Clock::test(0), PLACE, b"secret").expect("seals");
        for other in
            [Aad { table: "person", ..PLACE }, Aad { row: "c2", ..PLACE }, Aad { column: "access_token", ..PLACE }, PLACE.version(4)]
        {
            let message = ring.open(other, &sealed).expect_err("refused").to_string();
            assert!(!message.contains("secret") && message.contains("does not open"), "{message}");
        }
    }

    // Breaks when the same value sealed twice looks the same.
    #[test]
    fn sealing_twice_gives_different_texts() {
        let (ring, clock) = (ring("k1", &[("k1", 1)]), Clock::test(0));
        assert_ne!(ring.seal(&clock, PLACE, b"x").expect("seals"), ring.seal(&clock, PLACE, b"x").expect("seals"));
    }

    // Breaks when rotation loses what the old key sealed, or never gets to its end.
    #[test]
    fn keys_rotate() {
        let clock = Clock::test(0);
        let old = ring("k1", &[("k1", 1)]).seal(&clock, PLACE, b"token").expect("seals");
        let both = ring("k2", &[("k1", 1), ("k2", 2)]);
        let new = both.reseal(&clock, PLACE, &old).expect("reseals").expect("was under the old key");
        assert_eq!(sealed_under(&new), Some("k2"));
        assert_eq!(both.reseal(&clock, PLACE, &new).expect("reseals"), None);
        let only_new = ring("k2", &[("k2", 2)]);
        assert_eq!(only_new.open(PLACE, &new).expect("opens").as_slice(), b"token");
        let message = only_new.open(PLACE, &old).expect_err("key gone").to_string();
        assert!(message.contains("\"k1\" is not in the configuration"), "{message}");
    }

    // Breaks when a ring that cannot seal is accepted, or bad ids make texts that cannot be taken apart.
    #[test]
    fn rings_that_cannot_work_are_refused() {
        let key = || Key::from_bytes([1; 32]);
        assert!(Keyring::new("k1", [("k2".to_owned(), key())]).is_err());
        assert!(Keyring::new("a.b", [("a.b".to_owned(), key())]).is_err());
        assert!(ring("k1", &[("k1", 1)]).open(PLACE, "not sealed at all").is_err());
    }
}
