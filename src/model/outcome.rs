//! How changes end, and where shares stand.

use serde::{Deserialize, Serialize};

/// How a change ended. Every change ends in exactly one. The order is from best to worst: a
/// change's outcome is the best of its candidates' outcomes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ChangeOutcome {
    /// Shared with at least one recipient.
    Shared,
    /// A lead already shared changed, and its copies will too.
    Updated,
    /// Held for a person to approve.
    Held,
    /// Nothing that we share changed.
    Unchanged,
    /// Our own write, coming back.
    Echo,
    /// Folded into a later change of the same record.
    Coalesced,
    /// Not ours and not to be read (outside the selection, or on a connection that only receives).
    Untracked,
    /// The record does not make a valid lead.
    Invalid,
    /// The person, or its domain, must not be shared.
    Suppressed,
    /// No consent (or other legal basis) that covers recipient, purpose and channel.
    NoConsent,
    /// Already with the recipient, or claimed by another.
    Duplicate,
    /// Outside what the agreement counts as a lead.
    Ineligible,
    /// No agreement in force that could cover it.
    Unmatched,
    /// A value that the mapping does not know; waits for the mapping to be mended.
    Quarantined,
    /// The record was deleted or merged away.
    Gone,
    /// The person was erased.
    Erased,
}

/// Who holds the lead.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ShareStatus {
    /// Decided, not yet at the recipient.
    Matched,
    /// Waits for a person on the sharer's side.
    Held,
    /// Shown masked to the recipient.
    Offered,
    /// The recipient's system has it: the machine's word.
    Delivered,
    /// A person there has seen it.
    Acknowledged,
    /// They committed to it.
    Accepted,
    /// They said no.
    Declined,
    /// Nobody answered in time.
    Expired,
    /// The sharer took it back.
    Recalled,
    /// The recipient gave it back.
    Returned,
    /// The person was erased.
    Erased,
}

impl ShareStatus {
    /// Whether a share is over.
    pub fn ended(self) -> bool {
        matches!(self, Self::Declined | Self::Expired | Self::Recalled | Self::Returned | Self::Erased)
    }
}

/// What became of the lead at the recipient.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Progress {
    /// Nothing yet.
    New,
    /// Somebody tried to reach the person.
    Attempted,
    /// The person was reached.
    Reached,
    /// Fits.
    Qualified,
    /// Does not fit.
    Disqualified,
    /// Became a deal.
    Converted,
    /// The deal was won.
    Won,
    /// The deal was lost.
    Lost,
    /// Came back from disqualified or lost.
    Reopened,
    /// A won deal was undone.
    Reversed,
}

/// Where a share stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stand {
    /// Who holds it.
    pub status: ShareStatus,
    /// What became of it.
    pub progress: Progress,
    /// Why, for ends.
    pub reason: Option<String>,
    /// The deal's amount.
    pub amount: Option<String>,
}

impl Stand {
    /// Whether somebody there still has work with it: what counts against a recipient's capacity.
    pub fn is_open(&self) -> bool {
        use ShareStatus::{Accepted, Acknowledged, Delivered, Matched, Offered};
        matches!(self.status, Matched | Offered | Delivered | Acknowledged | Accepted)
            && !matches!(self.progress, Progress::Won | Progress::Lost | Progress::Disqualified)
    }
}

/// A change's reason in plain words: codes of our own are spelled out, sentences stay as they are.
pub fn reason_words(reason: &str) -> &str {
    match reason {
        "as_we_wrote_it" => "our own write came back, nothing else had changed",
        "our_own_news" => "our own news came back, nothing else had changed",
        "our_own_create" => "the record that we had just created",
        "nothing_that_we_map" => "nothing that the mapping reads has changed",
        "opted_out_there" => "the person opted out at the recipient",
        "status_as_known" => "its status is the one that we know",
        "status_moved" => "somebody at the recipient moved it",
        "copies_follow" => "the lead changed, and its copies follow",
        "not_ours" => "not a record of ours: neither read nor kept",
        "no_share" => "a record of ours whose share is gone",
        "outside_the_selection" => "outside the records that the partner chose to share",
        "before_sharing_started" => "from before sharing started",
        "deleted_at_source" => "deleted at the source",
        "privacy_deleted_at_source" => "deleted at the source because the person asked for it",
        "merged_at_source" => "merged into another record at the source",
        "deleted_there" => "deleted at the recipient",
        "merged_there" => "merged into another record at the recipient",
        "claimed_too_often" => "set aside: reading it broke off too often",
        other => other,
    }
}

impl ChangeOutcome {
    /// Every way that a change can end, best first.
    pub const ALL: [Self; 16] = [
        Self::Shared,
        Self::Updated,
        Self::Held,
        Self::Unchanged,
        Self::Echo,
        Self::Coalesced,
        Self::Untracked,
        Self::Invalid,
        Self::Suppressed,
        Self::NoConsent,
        Self::Duplicate,
        Self::Ineligible,
        Self::Unmatched,
        Self::Quarantined,
        Self::Gone,
        Self::Erased,
    ];
}

macro_rules! words {
    ($type:ty) => {
        impl $type {
            /// The stable word in tables, files and the API.
            pub fn word(self) -> String {
                serde_json::to_value(self).ok().and_then(|v| v.as_str().map(str::to_owned)).unwrap_or_default()
            }

            /// Reads the stable word.
            pub fn parse(word: &str) -> Option<Self> {
                serde_json::from_value(serde_json::Value::String(word.to_owned())).ok()
            }
        }
    };
}
words!(ChangeOutcome);
words!(ShareStatus);
words!(Progress);
