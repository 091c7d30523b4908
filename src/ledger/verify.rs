//! Reads a ledger again, row by row, and names what was altered, removed, reordered or cut.
//!
//! Each row is checked against its own seal, its neighbours in the stream and the tree; the tree
//! against every checkpoint. Memory: one head per stream and the edge of the tree.
//!
//! Whoever can write to the database and holds no signing key can make rows agree with each other;
//! against a checkpoint that he could not reach, they do not.

use std::collections::BTreeMap;
use std::fmt;

use serde::Serialize;

use super::entry::Said;
use super::seal::leaf_hash;
use super::{Checkpoint, Hash, Head, Place, PublicKey, Tree};
use crate::clock::Millis;

/// Problems told one by one; more are only counted.
const TOLD: usize = 1_000;

/// An entry as the store has it, and what stands beside its text, whether or not they agree.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Row {
    /// The id.
    pub id: String,
    /// The stream.
    pub stream: String,
    /// When it happened.
    pub at: Millis,
    /// What happened.
    pub kind: String,
    /// The canonical text.
    pub text: String,
    /// Place and hash; `None` while the entry waits to be sealed.
    pub seal: Option<(Place, Hash)>,
}

impl Row {
    /// An entry of which only the text is stored. A text that is no entry's says nothing, and is told of.
    pub fn read(text: &str, seal: Option<(Place, Hash)>) -> Self {
        let Said { id, stream, at, kind, .. } = Said::read(text).unwrap_or_default();
        Self { id, stream, at, kind, text: text.to_owned(), seal }
    }
}

/// What was found.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Report {
    /// Sealed entries read.
    pub sealed: u64,
    /// Entries that wait to be sealed: nothing protects these yet.
    pub unsealed: u64,
    /// Checkpoints whose tree is the beginning of this one.
    pub checkpoints: u64,
    /// Checkpoints that say nothing more, because entries before them are missing or wrong.
    pub not_compared: u64,
    /// The root over what was read; absent when entries are missing.
    pub root: Option<Hash>,
    /// What is wrong, at most a thousand.
    pub problems: Vec<Problem>,
    /// How many more problems there are.
    pub more: u64,
}

impl Report {
    /// Whether nothing is wrong.
    pub fn ok(&self) -> bool {
        self.problems.is_empty()
    }

    pub(super) fn add(&mut self, problem: Problem) {
        if self.problems.len() < TOLD {
            self.problems.push(problem);
        } else {
            self.more += 1;
        }
    }
}

/// Something wrong, and where.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Problem {
    /// The stream.
    pub stream: Option<String>,
    /// The number in the stream, as the row has it.
    pub seq: Option<u64>,
    /// The entry's id.
    pub entry: Option<String>,
    /// What it is.
    pub what: What,
}

impl Problem {
    /// Something wrong with the whole, not with one row.
    pub(super) fn whole(what: What) -> Self {
        Self { stream: None, seq: None, entry: None, what }
    }

    fn with(row: &Row, what: What) -> Self {
        let seq = row.seal.map(|(place, _)| place.seq);
        Self { stream: Some(row.stream.clone()), seq, entry: Some(row.id.clone()), what }
    }
}

/// What is wrong.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case", tag = "code")]
pub enum What {
    /// The text, number or predecessor is not what was sealed.
    Altered,
    /// The text cannot be read as an entry.
    Unreadable,
    /// What stands beside the sealed text says something else.
    Columns,
    /// What stands beside entries that were sealed together (how many there are, the first and the last id) is not so.
    Batch {
        /// The place of the first.
        leaf: u64,
    },
    /// Places of the tree without an entry.
    Missing {
        /// The first place.
        from: u64,
        /// The first place that is there again.
        to: u64,
    },
    /// A place of the tree that comes again.
    Twice {
        /// The place.
        index: u64,
    },
    /// The number does not follow the one before in the stream.
    Number {
        /// The number that follows.
        expected: u64,
    },
    /// The entry does not point at the one before it in its stream.
    Chain,
    /// The entries do not come to the root of a checkpoint.
    Root {
        /// The checkpoint's size.
        size: u64,
        /// The size of the last checkpoint that fits: what is wrong lies at or behind this place.
        after: u64,
    },
    /// A checkpoint counts more entries than there are.
    Cut {
        /// The checkpoint's size.
        size: u64,
        /// How many there are.
        have: u64,
    },
    /// The stream does not stand where a checkpoint says that it stood.
    Head {
        /// The checkpoint's size.
        size: u64,
        /// The number that the checkpoint says.
        expected: u64,
    },
    /// An exported entry is not in the checkpoint's tree.
    NotIncluded,
    /// The tree of a checkpoint held before is not shown to be the beginning of this one.
    NotExtended {
        /// The size of the one held before.
        size: u64,
    },
    /// A checkpoint that cannot be relied on.
    Checkpoint {
        /// Why.
        why: String,
    },
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(stream) = &self.stream {
            write!(f, "{stream}")?;
            if let Some(seq) = self.seq {
                write!(f, " #{seq}")?;
            }
            if let Some(entry) = &self.entry {
                write!(f, " ({entry})")?;
            }
            f.write_str(": ")?;
        }
        match &self.what {
            What::Altered => f.write_str("was altered after it was sealed"),
            What::Unreadable => f.write_str("cannot be read as an entry"),
            What::Columns => f.write_str("stands beside words that say something else than its sealed text"),
            What::Batch { leaf } => write!(f, "the entries from place {leaf} on are not as many, or not those, that stand beside them"),
            What::Missing { from, to } if to - from == 1 => write!(f, "the entry at place {from}, before this one, was removed"),
            What::Missing { from, to } => write!(f, "{} entries from place {from} on, before this one, were removed", to - from),
            What::Twice { index } => write!(f, "stands at place {index}, where another entry stands"),
            What::Number { expected } => write!(f, "number {expected} should come here: an entry was removed, added or moved"),
            What::Chain => f.write_str("does not point at the entry before it: one of the two was replaced"),
            What::Root { size, after } => write!(
                f,
                "the checkpoint of {size} entries does not fit: after place {after} an entry was altered, removed, added or moved"
            ),
            What::Cut { size, have } => {
                write!(f, "a checkpoint counts {size} entries and there are {have}: the newest {} were cut off", size - have)
            }
            What::Head { size, expected } => {
                write!(f, "in the checkpoint of {size} entries this stream ends with another entry, number {expected}")
            }
            What::NotIncluded => f.write_str("is not in the tree of the checkpoint"),
            What::NotExtended { size } => write!(f, "the checkpoint of {size} entries, held before, is not the beginning of this one"),
            What::Checkpoint { why } => f.write_str(why),
        }
    }
}

/// Verifies rows as they are read.
#[derive(Debug)]
pub struct Verifier {
    tree: Option<Tree>,
    next: u64,
    /// The size of the last checkpoint that fits.
    fitting: u64,
    /// Whether a larger one has not fitted since: those that follow would only say so again.
    misfit: bool,
    heads: BTreeMap<String, Head>,
    /// The smallest last, so that the next one to compare is popped.
    checkpoints: Vec<Checkpoint>,
    report: Report,
}

impl Verifier {
    /// Starts with the checkpoints to compare with, as signed notes in any order, and the keys that
    /// may have signed them. Checkpoints from the ledger's own database show accidents; against
    /// somebody who can write there, only those held elsewhere count.
    pub fn new<'a>(notes: impl IntoIterator<Item = &'a str>, keys: &[PublicKey]) -> Self {
        let (mut report, mut checkpoints) = (Report::default(), Vec::new());
        for note in notes {
            match Checkpoint::open(note, keys) {
                Ok(checkpoint) => checkpoints.push(checkpoint),
                Err(why) => report.add(Problem::whole(What::Checkpoint { why: why.to_string() })),
            }
        }
        checkpoints.sort_by_key(|c| std::cmp::Reverse(c.size));
        let mut this =
            Self { tree: Some(Tree::default()), next: 0, fitting: 0, misfit: false, heads: BTreeMap::new(), checkpoints, report };
        this.compare();
        this
    }

    /// Takes the next row: sealed ones in the order of their index, then the unsealed ones.
    pub fn push(&mut self, row: &Row) {
        self.check_columns(row);
        let Some((place, hash)) = row.seal else {
            self.report.unsealed += 1;
            return;
        };
        self.report.sealed += 1;
        if leaf_hash(place, &row.text) != hash {
            self.wrong(row, What::Altered);
        }
        self.check_stream(row, place, hash);
        if place.index < self.next {
            self.wrong(row, What::Twice { index: place.index });
            return;
        }
        if place.index > self.next {
            self.wrong(row, What::Missing { from: self.next, to: place.index });
            self.tree = None;
        }
        self.next = place.index + 1;
        if let Some(tree) = &mut self.tree {
            tree.append(hash, |_| ());
        }
        self.compare();
    }

    /// What stands beside the entries that were sealed together from this place on does not fit them.
    pub fn batch(&mut self, leaf: u64) {
        self.report.add(Problem::whole(What::Batch { leaf }));
    }

    /// Ends: whatever checkpoints are left count entries that did not come.
    pub fn finish(mut self) -> Report {
        while let Some(checkpoint) = self.checkpoints.pop() {
            self.report.add(Problem::whole(What::Cut { size: checkpoint.size, have: self.next }));
        }
        self.report.root = self.tree.map(|tree| tree.root());
        self.report
    }

    fn check_columns(&mut self, row: &Row) {
        match Said::read(&row.text) {
            None => self.wrong(row, What::Unreadable),
            Some(said) => {
                let columns = Said { at: row.at, id: row.id.clone(), kind: row.kind.clone(), stream: row.stream.clone(), v: said.v };
                if said != columns {
                    self.wrong(row, What::Columns);
                }
            }
        }
    }

    fn check_stream(&mut self, row: &Row, place: Place, hash: Hash) {
        let head = self.heads.insert(row.stream.clone(), Head { seq: place.seq, hash });
        let (expected, prev) = head.map_or((1, Hash::ZERO), |head| (head.seq + 1, head.hash));
        if place.seq != expected {
            self.wrong(row, What::Number { expected });
        } else if place.prev != prev {
            self.wrong(row, What::Chain);
        }
    }

    fn wrong(&mut self, row: &Row, what: What) {
        self.report.add(Problem::with(row, what));
    }

    /// Compares with every checkpoint whose size has been reached.
    fn compare(&mut self) {
        while let Some(checkpoint) = self.checkpoints.pop_if(|c| c.size <= self.next) {
            let Some(tree) = &self.tree else {
                self.report.not_compared += 1;
                continue;
            };
            if tree.root() != checkpoint.root {
                if self.misfit {
                    self.report.not_compared += 1;
                } else {
                    self.report.add(Problem::whole(What::Root { size: checkpoint.size, after: self.fitting }));
                }
                self.misfit = true;
                continue;
            }
            (self.fitting, self.misfit) = (checkpoint.size, false);
            self.report.checkpoints += 1;
            for (stream, head) in checkpoint.heads {
                if self.heads.get(&stream) != Some(&head) {
                    let what = What::Head { size: checkpoint.size, expected: head.seq };
                    self.report.add(Problem { stream: Some(stream), seq: None, entry: None, what });
                }
            }
        }
    }
}

/// Verifies rows that are all at hand; see [`Verifier`] for rows that come from a database.
pub fn verify<'a, 'b>(rows: impl IntoIterator<Item = &'a Row>, notes: impl IntoIterator<Item = &'b str>, keys: &[PublicKey]) -> Report {
    let mut verifier = Verifier::new(notes, keys);
    rows.into_iter().for_each(|row| verifier.push(row));
    verifier.finish()
}

#[cfg(test)]
#[path = "tampering.rs"]
mod tampering;
