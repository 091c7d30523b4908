//! The ledger: an append-only record of what happened, provable to others, without personal data.
//!
//! - [`entry`]: what one entry says, and the text that is hashed. The text is stored as it is and
//!   never made again from what a database returns.
//! - [`mod@seal`]: entries are committed unsealed with the work that they record; one sealer, a moment
//!   later, gives them a number in their stream, the hash of the entry before, and a place in one
//!   Merkle tree over all streams.
//! - [`checkpoint`]: size and root of the tree, signed and handed to the parties.
//! - [`mod@verify`]: reads everything again and names what was altered, removed, reordered or cut.
//! - [`proof`] and [`export`]: one party's stream with the proofs that it is all there.
//!
//! Everything here is pure; rows come from and go to the store.

pub mod checkpoint;
pub mod entry;
pub mod export;
pub mod proof;
pub mod seal;
pub mod tree;
pub mod verify;

pub use checkpoint::{Checkpoint, PublicKey, Signer};
pub use entry::{Body, Entry, Stream};
pub use export::{Export, Exported, Held};
pub use proof::{Plan, Span};
pub use seal::{Batch, Head, Place, Seal, State, Unsealed, seal};
pub use tree::{Hash, Node, Tree};
pub use verify::{Problem, Report, Row, Verifier, What, verify};
