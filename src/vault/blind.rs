//! Keyed hashes: what must be found, or proven later, without being kept in clear.

use super::Key;

/// What a person or company is known by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Identity {
    /// An e-mail address, normalised.
    Email,
    /// A phone number in E.164.
    Phone,
    /// A registrable domain, lower case.
    Domain,
}

impl Identity {
    /// The stable word in tables and hashes.
    pub fn word(self) -> &'static str {
        match self {
            Self::Email => "email",
            Self::Phone => "phone",
            Self::Domain => "domain",
        }
    }
}

/// Makes keyed hashes to search by. Its key is never rotated: the values are gone, so they could
/// not be hashed again, and a suppression must hold for ever.
#[derive(Debug)]
pub struct Blind(Key);

impl Blind {
    /// Hashes under this key.
    pub fn new(key: Key) -> Self {
        Self(key)
    }

    /// The hash of a normalised value: `b1-` and 64 hex digits. Kinds do not meet: the same text as
    /// an e-mail address and as a domain hashes differently.
    pub fn hash(&self, kind: Identity, normalised: &str) -> String {
        format!("b1-{}", hex::encode(self.0.mac(&["leadshare blind v1", kind.word(), normalised])))
    }

    pub(super) fn check(&self) -> String {
        self.0.check()
    }
}

/// A commitment to a decision's inputs: `c1-` and 64 hex digits. The key is random for each lead
/// and kept with its rows: whoever has it can show that the inputs were these, and once it is
/// erased nobody can test a guess.
pub fn commit(key: &Key, canonical_inputs: &str) -> String {
    format!("c1-{}", hex::encode(key.mac(&["leadshare commitment v1", canonical_inputs])))
}

#[cfg(test)]
mod tests {
    use super::*;

    // Breaks when stored hashes stop matching after an upgrade: suppressions would silently end.
    #[test]
    fn hashes_stay_the_same_for_ever() {
        let blind = Blind::new(Key::from_bytes([7; 32]));
        let made = [
            blind.hash(Identity::Email, "jo@example.de"),
            blind.hash(Identity::Phone, "+4930901820"),
            blind.hash(Identity::Domain, "example.de"),
            commit(&Key::from_bytes([8; 32]), "{\"a\":1}"),
        ];
        assert_eq!(
            made,
            [
                "b1-329473b5444f667597931e5204a29a2155864f89322f580e47d1084baeb8acb8",
                "b1-33ecdcadc9bc56eb569979c893b6817e24dc673621f9b72b58c91039cfb60501",
                "b1-df3279168c86b5d96fb35bec6369983781adf12969f373fd484b8579555cca27",
                "c1-b1ede10431cd560fb8a273fec3d6e5ca333e8a359b8f5aebd8260b29ec399e74"
            ]
        );
    }

    // Breaks when a hash can be made, or tested, without the key, or when kinds meet.
    #[test]
    fn hashes_depend_on_key_and_kind() {
        let (a, b) = (Blind::new(Key::from_bytes([1; 32])), Blind::new(Key::from_bytes([2; 32])));
        assert_ne!(a.hash(Identity::Domain, "example.de"), b.hash(Identity::Domain, "example.de"));
        assert_ne!(a.hash(Identity::Domain, "example.de"), a.hash(Identity::Email, "example.de"));
    }
}
