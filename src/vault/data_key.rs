//! Keys that are made to be destroyed: one per person, and one per day for raw bodies.

use secrecy::zeroize::Zeroizing;

use super::squeeze::{squeeze, unsqueeze};
use super::{Aad, Key, Keyring};
use crate::clock::Clock;
use crate::errors::{Error, Result};

/// Whose data a [`DataKey`] seals.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Owner<'a> {
    /// A person, by our id.
    Person(&'a str),
    /// Raw bodies taken in on a day, as `YYYY-MM-DD`.
    Day(&'a str),
}

impl<'a> Owner<'a> {
    fn table(self) -> &'static str {
        match self {
            Self::Person(_) => "person",
            Self::Day(_) => "day",
        }
    }

    fn row(self) -> &'a str {
        match self {
            Self::Person(id) | Self::Day(id) => id,
        }
    }

    fn place(self) -> Aad<'a> {
        Aad::new(self.table(), self.row(), "data_key")
    }
}

/// Seals the rows of one person, or of one day. Stored only wrapped by the [`Keyring`]; once the
/// wrapped key is deleted, nothing that it sealed can be read again.
#[derive(Debug)]
pub struct DataKey {
    table: &'static str,
    owner: String,
    key: Key,
}

impl DataKey {
    /// A new key.
    ///
    /// # Errors
    /// [`Error::Vault`] when the system has no randomness to give.
    pub fn generate(clock: &Clock, owner: Owner<'_>) -> Result<Self> {
        Ok(Self { table: owner.table(), owner: owner.row().to_owned(), key: Key::generate(clock)? })
    }

    /// The key as it is stored.
    ///
    /// # Errors
    /// As [`Keyring::seal`].
    pub fn wrap(&self, keys: &Keyring, clock: &Clock) -> Result<String> {
        keys.seal(clock, Aad::new(self.table, &self.owner, "data_key"), self.key.bytes())
    }

    /// The key from how it is stored.
    ///
    /// # Errors
    /// As [`Keyring::open`]; also when it was wrapped for somebody else.
    pub fn unwrap(keys: &Keyring, owner: Owner<'_>, wrapped: &str) -> Result<Self> {
        let bytes = keys.open(owner.place(), wrapped)?;
        let bytes = <[u8; 32]>::try_from(bytes.as_slice()).map_err(|_| Error::Vault("a data key does not have 32 bytes".to_owned()))?;
        Ok(Self { table: owner.table(), owner: owner.row().to_owned(), key: Key::from_bytes(bytes) })
    }

    /// The wrapped key under the ring's active key; `None` when it is already.
    ///
    /// # Errors
    /// As [`Keyring::reseal`].
    pub fn rewrap(keys: &Keyring, clock: &Clock, owner: Owner<'_>, wrapped: &str) -> Result<Option<String>> {
        keys.reseal(clock, owner.place(), wrapped)
    }

    /// Seals a value of the owner's for one place: `d1.<base64 of nonce and ciphertext>`. It is squeezed first: its length tells
    /// roughly how much there is to say of somebody, as it did before.
    ///
    /// # Errors
    /// [`Error::Vault`] when the system has no randomness to give.
    pub fn seal(&self, clock: &Clock, aad: Aad<'_>, plain: &[u8]) -> Result<String> {
        Ok(format!("d1.{}", self.key.encrypt(clock, &self.bound(aad, &aad.version.to_string()), &squeeze(plain))?))
    }

    /// Opens what [`DataKey::seal`] made for the same owner and place.
    ///
    /// # Errors
    /// [`Error::Vault`] when the text was altered, or belongs to another owner or place.
    pub fn open(&self, aad: Aad<'_>, sealed: &str) -> Result<Zeroizing<Vec<u8>>> {
        sealed
            .strip_prefix("d1.")
            .and_then(|body| self.key.decrypt(&self.bound(aad, &aad.version.to_string()), body))
            .and_then(unsqueeze)
            .ok_or_else(|| Error::Vault(format!("{}.{} does not open: it was altered or belongs elsewhere", aad.table, aad.column)))
    }

    fn bound<'a>(&'a self, aad: Aad<'a>, version: &'a str) -> [&'a str; 7] {
        ["leadshare data v1", self.table, &self.owner, aad.table, aad.row, aad.column, version]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PLACE: Aad<'static> = Aad { table: "lead", row: "l1", column: "fields", version: 0 };

    fn ring(byte: u8) -> Keyring {
        Keyring::new("k1", [("k1".to_owned(), Key::from_bytes([byte; 32]))]).expect("ring")
    }

    // Breaks when a person's rows do not come back after a restart.
    #[test]
    fn a_wrapped_key_opens_what_it_sealed() {
        let (keys, clock) = (ring(1), Clock::test(0));
        let key = DataKey::generate(&clock, Owner::Person("p1")).expect("key");
        let sealed = key.seal(&clock, PLACE, b"Jo").expect("seals");
        let wrapped = key.wrap(&keys, &clock).expect("wraps");
        let again = DataKey::unwrap(&keys, Owner::Person("p1"), &wrapped).expect("unwraps");
        assert_eq!(again.open(PLACE, &sealed).expect("opens").as_slice(), b"Jo");
        assert!(again.open(Aad::new("lead", "l2", "fields"), &sealed).is_err());
    }

    // Breaks when one person's key can be put in place of another's, or a day's in place of a person's.
    #[test]
    fn a_wrapped_key_belongs_to_its_owner() {
        let (keys, clock) = (ring(1), Clock::test(0));
        let wrapped = DataKey::generate(&clock, Owner::Person("p1")).expect("key").wrap(&keys, &clock).expect("wraps");
        assert!(DataKey::unwrap(&keys, Owner::Person("p2"), &wrapped).is_err());
        assert!(DataKey::unwrap(&keys, Owner::Day("p1"), &wrapped).is_err());
        assert!(DataKey::unwrap(&ring(2), Owner::Person("p1"), &wrapped).is_err());
    }

    // Breaks when destroying a person's key leaves something that another key can read.
    #[test]
    fn no_other_key_opens_it() {
        let clock = Clock::test(0);
        let owner = Owner::Person("p1");
        let sealed = DataKey::generate(&clock, owner).expect("key").seal(&clock, PLACE, b"Jo").expect("seals");
        assert!(DataKey::generate(&clock, owner).expect("key").open(PLACE, &sealed).is_err());
    }

    // Breaks when rotating the ring would have to touch every row of every person.
    #[test]
    fn rotation_rewraps_the_key_and_leaves_the_rows() {
        let clock = Clock::test(0);
        let owner = Owner::Day("2026-04-01");
        let key = DataKey::generate(&clock, owner).expect("key");
        let sealed = key.seal(&clock, PLACE, b"raw").expect("seals");
        let wrapped = key.wrap(&ring(1), &clock).expect("wraps");
        let both = [("k1".to_owned(), Key::from_bytes([1; 32])), ("k2".to_owned(), Key::from_bytes([2; 32]))];
        let both = Keyring::new("k2", both).expect("ring");
        let new = DataKey::rewrap(&both, &clock, owner, &wrapped).expect("rewraps").expect("was under k1");
        let only_new = Keyring::new("k2", [("k2".to_owned(), Key::from_bytes([2; 32]))]).expect("ring");
        let again = DataKey::unwrap(&only_new, owner, &new).expect("unwraps");
        assert_eq!(again.open(PLACE, &sealed).expect("opens").as_slice(), b"raw");
    }
}
