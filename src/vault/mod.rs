//! Secrets at rest: what may be read again only with a key, and what is only ever compared.
//!
//! - [`Keyring`] seals tokens and other secrets of ours; its keys rotate.
//! - [`DataKey`] seals one person's rows, or one day's raw bodies: destroying the key forgets them.
//! - [`Blind`] makes keyed hashes to search by; [`Markers`] makes the ids that we leave at vendors.
//!   Their keys are never rotated, or nothing would be found again.

mod blind;
mod data_key;
mod key;
mod keyring;
mod marker;
mod squeeze;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

pub use blind::{Blind, Identity, commit};
pub use data_key::{DataKey, Owner};
pub use key::Key;
pub use keyring::{Aad, Keyring, sealed_under};
pub use marker::{Marker, Markers};

use crate::errors::{Error, Result};

/// Every key that the daemon holds, apart from the ledger's signing key.
#[derive(Debug)]
pub struct Vault {
    /// Seals and opens what is stored.
    pub keys: Keyring,
    /// Hashes to search by.
    pub blind: Blind,
    /// Ids that we leave at vendors.
    pub markers: Markers,
}

/// Tells whether the keys at hand are those that a database was written with, without telling what
/// they are. It goes into every backup and is looked at before a restored database is used.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeyCheck(BTreeMap<String, String>);

impl Vault {
    /// The check value of the keys at hand.
    pub fn key_check(&self) -> KeyCheck {
        let ring = self.keys.checks().map(|(id, check)| (format!("key {id}"), check));
        let fixed = [("blind key".to_owned(), self.blind.check()), ("program key".to_owned(), self.markers.check())];
        KeyCheck(ring.chain(fixed).collect())
    }

    /// Whether every key that `written_with` names is at hand and the same; keys added since do no harm.
    ///
    /// # Errors
    /// [`Error::Vault`] naming the keys that are missing or different.
    pub fn fits(&self, written_with: &KeyCheck) -> Result<()> {
        let own = self.key_check();
        let wrong: Vec<String> = written_with
            .0
            .iter()
            .filter_map(|(name, check)| match own.0.get(name) {
                None => Some(format!("{name} is missing")),
                Some(own) if own != check => Some(format!("{name} is a different one")),
                Some(_) => None,
            })
            .collect();
        if wrong.is_empty() {
            return Ok(());
        }
        Err(Error::Vault(format!(
            "these are not the keys that the database was written with: {}; put the right keys into the configuration",
            wrong.join(", ")
        )))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::Clock;

    fn vault(ring: &[(&str, u8)], blind: u8) -> Vault {
        let keys = ring.iter().map(|(id, byte)| ((*id).to_owned(), Key::from_bytes([*byte; 32])));
        Vault {
            keys: Keyring::new(ring[0].0, keys).expect("ring"),
            blind: Blind::new(Key::from_bytes([blind; 32])),
            markers: Markers::new(Key::from_bytes([9; 32])),
        }
    }

    // Breaks when a restore would go on with keys that cannot open or find what it holds.
    #[test]
    fn a_check_value_finds_missing_and_wrong_keys() {
        let check = vault(&[("a", 1), ("b", 2)], 5).key_check();
        let text = serde_json::to_string(&check).expect("json");
        let check: KeyCheck = serde_json::from_str(&text).expect("json");

        assert!(vault(&[("c", 3), ("a", 1), ("b", 2)], 5).fits(&check).is_ok());
        let missing = vault(&[("a", 1)], 5).fits(&check).expect_err("b is missing").to_string();
        assert!(missing.contains("key b is missing") && !missing.contains("key a"), "{missing}");
        let wrong = vault(&[("a", 1), ("b", 7)], 6).fits(&check).expect_err("wrong").to_string();
        assert!(wrong.contains("key b is a different one") && wrong.contains("blind key is a different one"), "{wrong}");
    }

    // Breaks when a key, or what it protects, can be read in a log line.
    #[test]
    fn debug_shows_no_key() {
        let clock = Clock::test(0);
        let mut vault = vault(&[("a", 0xAB)], 0xCD);
        let person = DataKey::generate(&clock, Owner::Person("p1")).expect("key");
        vault.markers = Markers::new(Key::from_bytes([0xEF; 32]));
        let shown = format!("{vault:?} {person:?}").to_lowercase();
        for secret in ["171", "205", "239", "abab", "cdcd", "efef"] {
            assert!(!shown.contains(secret), "{shown}");
        }
    }
}
