//! One party's stream, with the proofs that let it be checked without the ledger.

use serde::{Deserialize, Serialize};

use super::entry::Said;
use super::proof::{extends, includes};
use super::seal::leaf_hash;
use super::verify::{Problem, Report, What};
use super::{Checkpoint, Hash, Head, Place, PublicKey};

/// A stream from its first entry to where a checkpoint says that it ends.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Export {
    /// The stream.
    pub stream: String,
    /// The signed note of a checkpoint that states the stream's head.
    pub checkpoint: String,
    /// For checkpoints handed over before: that their trees are the beginning of this one.
    pub held: Vec<Held>,
    /// Every entry, in order.
    pub entries: Vec<Exported>,
}

/// The proof for a checkpoint handed over before.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Held {
    /// Its size.
    pub size: u64,
    /// The consistency proof, made by [`super::Plan::consistency`].
    pub proof: Vec<Hash>,
}

/// One entry and where it stands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Exported {
    /// Where it stands.
    pub place: Place,
    /// The canonical text.
    pub text: String,
    /// The inclusion proof, made by [`super::Plan::inclusion`].
    pub proof: Vec<Hash>,
}

impl Export {
    /// Checks the whole export: the checkpoint's signature, the stream without gaps and up to the
    /// head that the checkpoint states, each entry's inclusion, and for each checkpoint in `held`
    /// (signed notes that the party kept) that nothing before it was changed.
    pub fn check<'a>(&self, held: impl IntoIterator<Item = &'a str>, keys: &[PublicKey]) -> Report {
        let mut report = Report::default();
        let checkpoint = match Checkpoint::open(&self.checkpoint, keys) {
            Ok(checkpoint) => checkpoint,
            Err(why) => {
                report.add(Problem::whole(What::Checkpoint { why: why.to_string() }));
                return report;
            }
        };
        report.root = Some(checkpoint.root);
        let head = self.check_entries(&checkpoint, &mut report);
        match checkpoint.heads.iter().find(|(stream, _)| *stream == self.stream) {
            None => report.add(Problem::whole(What::Checkpoint {
                why: format!("the checkpoint does not say where {} ends: newer entries may be missing", self.stream),
            })),
            Some((_, said)) if Some(*said) != head => {
                let what = What::Head { size: checkpoint.size, expected: said.seq };
                report.add(Problem { stream: Some(self.stream.clone()), seq: head.map(|h| h.seq), entry: None, what });
            }
            Some(_) => report.checkpoints += 1,
        }
        for note in held {
            match Checkpoint::open(note, keys) {
                Err(why) => report.add(Problem::whole(What::Checkpoint { why: why.to_string() })),
                Ok(old) if self.extends(&old, &checkpoint) => report.checkpoints += 1,
                Ok(old) => report.add(Problem::whole(What::NotExtended { size: old.size })),
            }
        }
        report
    }

    /// Checks the entries one after the other; the last one is the stream's head.
    fn check_entries(&self, checkpoint: &Checkpoint, report: &mut Report) -> Option<Head> {
        let mut head: Option<Head> = None;
        for Exported { place, text, proof } in &self.entries {
            report.sealed += 1;
            let said = Said::read(text);
            let (expected, prev) = head.map_or((1, Hash::ZERO), |head| (head.seq + 1, head.hash));
            let hash = leaf_hash(*place, text);
            let mut wrong = |what| {
                let entry = said.as_ref().map(|said| said.id.clone());
                report.add(Problem { stream: Some(self.stream.clone()), seq: Some(place.seq), entry, what });
            };
            match &said {
                None => wrong(What::Unreadable),
                Some(said) if said.stream != self.stream => wrong(What::Columns),
                Some(_) => (),
            }
            if place.seq != expected {
                wrong(What::Number { expected });
            } else if place.prev != prev {
                wrong(What::Chain);
            }
            if !includes(hash, place.index, checkpoint.size, proof, checkpoint.root) {
                wrong(What::NotIncluded);
            }
            head = Some(Head { seq: place.seq, hash });
        }
        head
    }

    fn extends(&self, old: &Checkpoint, new: &Checkpoint) -> bool {
        let proven = || {
            let held = self.held.iter().find(|held| held.size == old.size);
            held.is_some_and(|held| extends(old.size, old.root, new.size, new.root, &held.proof))
        };
        old.origin == new.origin && (old.size == 0 || (old.size, old.root) == (new.size, new.root) || proven())
    }
}
