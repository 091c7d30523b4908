//! A compiled mapping: plain data that the two directions and the status functions read.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use super::expr::Expr;
use super::file::{BackField, Test, Unmapped};
use super::transform::Transform;
use crate::model::field::Kind;
use crate::model::{Channel, Progress, ShareStatus};

/// The name under which an expression on the way in reaches every field.
pub const CRM: &str = "crm";
/// The name under which an expression on the way out reaches every field.
pub const LEAD: &str = "lead";

/// One lead field.
#[derive(Debug)]
pub struct Rule {
    pub lead: String,
    pub kind: Kind,
    pub crm: Option<String>,
    pub expr: Option<Expr>,
    pub transforms: Vec<Transform>,
    /// Word as the transforms leave it → lead value.
    pub words: BTreeMap<String, Value>,
    /// Lead word → the system's word.
    pub words_out: BTreeMap<String, String>,
    /// What to do with a value that cannot be read or is not among the words; `None` = the default of the case.
    pub unmapped: Option<Unmapped>,
    pub default: Option<Value>,
    pub required: bool,
    pub reads: bool,
    pub writes: bool,
    pub transforms_out: Vec<Transform>,
    pub max: Option<usize>,
}

impl Rule {
    /// What stands between several values in one text.
    pub fn separator(&self) -> Option<&str> {
        self.transforms.iter().find_map(|t| if let Transform::Split(separator) = t { Some(separator.as_str()) } else { None })
    }

    /// The system's fields that the rule reads on the way in.
    pub fn sources(&self) -> impl Iterator<Item = &str> {
        let names = self.expr.iter().filter(|_| self.reads).flat_map(|expr| expr.names().iter().map(String::as_str));
        names.chain(self.crm.as_deref().filter(|_| self.reads))
    }
}

/// What a status word stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Meaning {
    Progress(Progress),
    Share(ShareStatus),
}

impl Meaning {
    /// Reads a progress word, or a share status that a recipient's system can tell.
    pub fn parse(word: &str) -> Option<Self> {
        Progress::parse(word).map(Self::Progress).or_else(|| {
            let share = ShareStatus::parse(word)?;
            let tellable = [ShareStatus::Acknowledged, ShareStatus::Accepted, ShareStatus::Declined, ShareStatus::Returned];
            tellable.contains(&share).then_some(Self::Share(share))
        })
    }

    /// Our word for what others call it, for the words that are most often taken for ours.
    pub fn ours(word: &str) -> Option<&'static str> {
        match word.to_lowercase().as_str() {
            "contacted" | "connected" => Some("reached"),
            "working" | "in_progress" => Some("attempted"),
            "unqualified" => Some("disqualified"),
            "opportunity" => Some("converted"),
            "rejected" | "refused" => Some("declined"),
            "closed_won" => Some("won"),
            "closed_lost" => Some("lost"),
            _ => None,
        }
    }

    /// All words that [`Self::parse`] reads.
    pub fn words() -> impl Iterator<Item = &'static str> {
        PROGRESS.iter().chain(SHARE).copied().filter(|word| Self::parse(word).is_some())
    }
}

/// The words for progress.
pub const PROGRESS: &[&str] =
    &["new", "attempted", "reached", "qualified", "disqualified", "converted", "won", "lost", "reopened", "reversed"];

/// The words for share status.
pub const SHARE: &[&str] =
    &["matched", "held", "offered", "delivered", "acknowledged", "accepted", "declined", "expired", "recalled", "returned", "erased"];

/// The compiled `[status]`.
#[derive(Debug, Default)]
pub struct StatusRules {
    pub field: Option<String>,
    pub values: BTreeMap<String, Meaning>,
    pub landed: Option<String>,
    pub when: Vec<(Vec<(String, Test)>, Meaning)>,
    pub amount: Option<String>,
    pub currency: Option<String>,
    pub reason: Option<String>,
    pub reasons: BTreeMap<String, String>,
    pub back: Vec<(&'static str, BackField)>,
}

/// The compiled opt-outs.
#[derive(Debug)]
pub struct StopTest {
    /// The field to read.
    pub field: String,
    pub is: Option<Value>,
    pub blocks: BTreeSet<Channel>,
}

/// What a field of the system is used for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purpose {
    /// Read of a source's record.
    Read,
    /// Read of a delivered record.
    Follow,
    /// Written.
    Write,
}

/// One use of a field of the system: for reading lists and for the check against the live system.
#[derive(Debug)]
pub struct Use {
    pub crm: String,
    pub at: (usize, usize),
    pub purpose: Purpose,
    /// Words of the system that the mapping names for this field, with their place.
    pub words: Vec<(String, (usize, usize))>,
    /// Whether a word that is not named stops the record.
    pub closed: bool,
}
