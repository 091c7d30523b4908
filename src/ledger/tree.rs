//! The Merkle tree of RFC 6962, section 2.1: hashes, and a tree that grows and keeps only its edge.

use std::fmt;
use std::str::FromStr;

use leadshare_connectors::sdk::signature::sha256;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// A SHA-256 hash; as text 64 lower-case hex digits.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Hash(pub [u8; 32]);

impl Hash {
    /// What stands in place of the entry before a stream's first.
    pub const ZERO: Self = Self([0; 32]);

    /// The hash of a leaf; leaves and inner nodes can never be taken for each other.
    pub fn leaf(data: &[u8]) -> Self {
        Self(sha256(&[&[0], data]))
    }

    /// The hash of an inner node.
    pub fn node(left: Self, right: Self) -> Self {
        Self(sha256(&[&[1], &left.0, &right.0]))
    }
}

impl fmt::Display for Hash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex::encode(self.0))
    }
}

impl fmt::Debug for Hash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for Hash {
    type Err = hex::FromHexError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let mut bytes = [0; 32];
        hex::decode_to_slice(text, &mut bytes)?;
        Ok(Self(bytes))
    }
}

impl Serialize for Hash {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Hash {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<'de, str>::deserialize(from)?;
        text.parse().map_err(|_| serde::de::Error::custom("not a hash of 64 hex digits"))
    }
}

/// Levels between inner nodes that are stored: of every 256 leaves, one node, and so on upwards.
/// A proof then reads at most 255 hashes per eight levels, and storage grows by less than half a percent.
pub const STEP: u32 = 8;

/// An inner node worth storing: the root of the `index`-th group of 2^`level` leaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Node {
    /// A multiple of [`STEP`].
    pub level: u32,
    /// Which group of its level, from 0.
    pub index: u64,
    /// Its hash.
    pub hash: Hash,
}

/// A tree as its size and the roots of its complete subtrees, largest first: all that is needed to
/// go on appending and to tell the root.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Stored")]
pub struct Tree {
    size: u64,
    peaks: Vec<Hash>,
}

#[derive(Deserialize)]
struct Stored {
    size: u64,
    peaks: Vec<Hash>,
}

impl TryFrom<Stored> for Tree {
    type Error = String;

    fn try_from(stored: Stored) -> Result<Self, String> {
        if stored.peaks.len() != stored.size.count_ones() as usize {
            return Err(format!("a tree of {} leaves does not have {} peaks", stored.size, stored.peaks.len()));
        }
        Ok(Self { size: stored.size, peaks: stored.peaks })
    }
}

impl Tree {
    /// How many leaves there are.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// Appends a leaf and hands every inner node worth storing that it completes to `keep`.
    pub fn append(&mut self, leaf: Hash, mut keep: impl FnMut(Node)) {
        let (mut hash, mut level, mut index) = (leaf, 0, self.size);
        while index & 1 == 1
            && let Some(left) = self.peaks.pop()
        {
            hash = Hash::node(left, hash);
            level += 1;
            index >>= 1;
            if level % STEP == 0 {
                keep(Node { level, index, hash });
            }
        }
        self.peaks.push(hash);
        self.size += 1;
    }

    /// The root over all leaves; of an empty tree the hash of nothing.
    pub fn root(&self) -> Hash {
        fold(&self.peaks).unwrap_or_else(|| Hash(sha256(&[])))
    }
}

/// Hashes the roots of subtrees, largest first, into one.
pub(super) fn fold(peaks: &[Hash]) -> Option<Hash> {
    peaks.iter().rev().copied().reduce(|right, left| Hash::node(left, right))
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// The leaves and roots that Certificate Transparency implementations test themselves with.
    pub const LEAVES: [&str; 8] = ["", "00", "10", "2021", "3031", "40414243", "5051525354555657", "606162636465666768696a6b6c6d6e6f"];
    pub const ROOTS: [&str; 9] = [
        "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
        "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
        "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
        "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
        "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
        "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
        "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
        "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
        "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
    ];

    // Breaks when somebody else's tool for RFC 6962 trees would come to another root.
    #[test]
    fn roots_are_those_of_rfc_6962() {
        let mut tree = Tree::default();
        for (leaf, root) in LEAVES.iter().zip(&ROOTS) {
            assert_eq!(tree.root().to_string(), *root);
            tree.append(Hash::leaf(&hex::decode(leaf).expect("hex")), |_| ());
        }
        assert_eq!(tree.root().to_string(), ROOTS[8]);
    }

    // Breaks when a sealer that starts again does not go on where it stopped, or starts from a damaged state.
    #[test]
    fn a_tree_is_stored_and_goes_on() {
        let mut tree = Tree::default();
        for i in 0..5u8 {
            tree.append(Hash::leaf(&[i]), |_| ());
        }
        let text = serde_json::to_string(&tree).expect("json");
        assert_eq!(serde_json::from_str::<Tree>(&text).expect("reads"), tree);
        assert!(serde_json::from_str::<Tree>(&text.replace("\"size\":5", "\"size\":7")).is_err());
    }
}
