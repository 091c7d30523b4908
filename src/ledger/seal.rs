//! Sealing: numbers in the stream, the hash of the entry before, a place in the tree.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::entry::Said;
use super::{Hash, Node, Tree};

/// An entry that was committed and waits to be sealed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unsealed {
    /// The entry's id.
    pub id: String,
    /// Its stream.
    pub stream: String,
    /// Its canonical text, byte for byte as stored.
    pub text: String,
}

impl Unsealed {
    /// An entry, by its text; `None` when that is no entry's.
    pub fn read(text: &str) -> Option<Self> {
        Said::read(text).map(|said| Self { id: said.id, stream: said.stream, text: text.to_owned() })
    }
}

/// Where a sealed entry stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Place {
    /// Its leaf in the tree, from 0, without gaps.
    pub index: u64,
    /// Its number in the stream, from 1, without gaps.
    pub seq: u64,
    /// The hash of the entry before in the stream; [`Hash::ZERO`] for the first.
    pub prev: Hash,
}

/// The seal of one entry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Seal {
    /// Where it stands.
    pub place: Place,
    /// The leaf's hash: over number, hash of the entry before, and text.
    pub hash: Hash,
}

/// The last sealed entry of a stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Head {
    /// Its number.
    pub seq: u64,
    /// Its hash.
    pub hash: Hash,
}

/// Where sealing stands: the tree, and the heads of at least the streams that are to be sealed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct State {
    /// The tree.
    pub tree: Tree,
    /// Heads by stream. A stream that is not here begins.
    pub heads: BTreeMap<String, Head>,
}

/// What sealing made; to be stored in one transaction.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Batch {
    /// One seal per entry, in the order given.
    pub seals: Vec<Seal>,
    /// Inner nodes to keep for proofs.
    pub nodes: Vec<Node>,
    /// Where sealing stands now.
    pub state: State,
}

/// Seals entries in the order in which they were committed.
pub fn seal(entries: &[Unsealed], mut state: State) -> Batch {
    let (mut seals, mut nodes) = (Vec::new(), Vec::new());
    for entry in entries {
        let head = state.heads.entry(entry.stream.clone()).or_insert(Head { seq: 0, hash: Hash::ZERO });
        let place = Place { index: state.tree.size(), seq: head.seq + 1, prev: head.hash };
        let hash = leaf_hash(place, &entry.text);
        state.tree.append(hash, |node| nodes.push(node));
        *head = Head { seq: place.seq, hash };
        seals.push(Seal { place, hash });
    }
    Batch { seals, nodes, state }
}

/// The hash of a sealed entry: of the leaf `<seq> <prev in hex> <text>`. The index is not in it; the
/// tree vouches for that.
pub fn leaf_hash(place: Place, text: &str) -> Hash {
    Hash::leaf(format!("{} {} {text}", place.seq, place.prev).as_bytes())
}
