//! Decisions: what they are made from, and what they say about every candidate.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::{ChangeOutcome, Channel, ConsentRecord, Lead, ShareStatus};
use crate::clock::Millis;

/// Everything that a decision depends on besides the program files. Stored, it replays the decision.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Facts {
    /// The lead.
    pub lead: Lead,
    /// The source partner, by our name.
    pub source: String,
    /// The moment of deciding.
    pub now: Millis,
    /// What we know of the person and of the partners.
    #[serde(default)]
    pub standing: Standing,
}

/// What we know of the person and of the partners at the moment of deciding.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Standing {
    /// Whether the person was erased.
    #[serde(default, skip_serializing_if = "super::is_default")]
    pub erased: bool,
    /// Suppressions that hit the person or its domain.
    #[serde(default, skip_serializing_if = "super::is_default")]
    pub suppressions: Vec<Suppression>,
    /// All shares of this person so far, also ended ones.
    #[serde(default, skip_serializing_if = "super::is_default")]
    pub shares: Vec<ExistingShare>,
    /// When a share is judged again before sending: its id in `shares`. The counts below include it.
    #[serde(default, skip_serializing_if = "super::is_default")]
    pub own_share: Option<String>,
    /// Partners that shared this person with the source.
    #[serde(default, skip_serializing_if = "super::is_default")]
    pub received_from: BTreeSet<String>,
    /// Partners by name; one that is absent has no shares and is not paused.
    #[serde(default, skip_serializing_if = "super::is_default")]
    pub partners: BTreeMap<String, PartnerStanding>,
}

/// One suppression that hits.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Suppression {
    /// What is suppressed.
    pub scope: SuppressionScope,
    /// The channels; empty = all sharing.
    #[serde(default)]
    pub channels: BTreeSet<Channel>,
    /// The code of the reason, such as `unsubscribed`.
    pub reason: String,
    /// Since when.
    pub since: Millis,
}

/// What a suppression is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SuppressionScope {
    /// One person.
    Person,
    /// Everybody at a company's domain.
    Domain,
}

/// A share of this person that exists already.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExistingShare {
    /// The share's id.
    pub share_id: String,
    /// The source partner.
    pub source: String,
    /// The recipient partner.
    pub recipient: String,
    /// Where it stands.
    pub status: ShareStatus,
    /// Since when it stands there; for accepted shares, when they were accepted.
    pub since: Millis,
}

impl ExistingShare {
    /// Whether it has not ended.
    pub fn is_live(&self) -> bool {
        match self.status {
            ShareStatus::Matched
            | ShareStatus::Held
            | ShareStatus::Offered
            | ShareStatus::Delivered
            | ShareStatus::Acknowledged
            | ShareStatus::Accepted => true,
            ShareStatus::Declined | ShareStatus::Expired | ShareStatus::Recalled | ShareStatus::Returned | ShareStatus::Erased => false,
        }
    }

    /// Whether the recipient has the lead itself: an update follows, not a new share.
    pub fn has_arrived(&self) -> bool {
        matches!(self.status, ShareStatus::Delivered | ShareStatus::Acknowledged | ShareStatus::Accepted)
    }
}

/// A partner at the moment of deciding.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PartnerStanding {
    /// Whether the partner is paused: by itself, by the operator, or by missed goals.
    #[serde(default, skip_serializing_if = "super::is_default")]
    pub paused: bool,
    /// Shares to this partner over all agreements.
    #[serde(default, skip_serializing_if = "super::is_default")]
    pub load: Load,
    /// Shares to this partner by agreement id.
    #[serde(default, skip_serializing_if = "super::is_default")]
    pub agreements: BTreeMap<String, Load>,
}

/// Shares counted for caps. Offers count: they reserve their place.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Load {
    /// Open now.
    #[serde(default, skip_serializing_if = "super::is_default")]
    pub open: u32,
    /// Made today, in UTC.
    #[serde(default, skip_serializing_if = "super::is_default")]
    pub day: u32,
    /// Made this month, in UTC.
    #[serde(default, skip_serializing_if = "super::is_default")]
    pub month: u32,
}

/// What was decided about one change, with the reasons.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Decision {
    /// How the change ends, as far as sharing goes.
    pub outcome: ChangeOutcome,
    /// Why, in one line without personal data.
    pub reason: String,
    /// Every candidate: those that get the lead first, best first; then the others by how far they came.
    pub verdicts: Vec<Verdict>,
    /// The state of all program files together.
    pub program: String,
    /// The engine that decided.
    pub engine: String,
}

impl Decision {
    /// Whether another decision, later and perhaps on other files, says the same of everybody.
    pub fn says_the_same(&self, other: &Self) -> bool {
        let said = |decision: &Self| {
            let of = |v: &Verdict| (v.recipient.clone(), v.agreement.clone(), v.outcome, v.findings.clone());
            (decision.outcome, decision.reason.clone(), decision.verdicts.iter().map(of).collect::<Vec<_>>())
        };
        said(self) == said(other)
    }
}

/// What was decided about one candidate.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Verdict {
    /// The recipient partner.
    pub recipient: String,
    /// The agreement's id.
    pub agreement: String,
    /// The hash of the agreement's file.
    pub version: String,
    /// The hash of its signed part: stays the same when only operations change.
    pub terms: String,
    /// The version that the agreement calls itself.
    pub number: u32,
    /// What this candidate gets.
    pub outcome: VerdictOutcome,
    /// What the gates said, in their order: all of it for a candidate that passed, what stopped it for one that did not.
    pub findings: Vec<Finding>,
    /// How it ranks, part by part; only for candidates that passed.
    pub score: Option<Vec<(String, f64)>>,
    /// The lead fields that may leave, before masking.
    pub fields: BTreeSet<String>,
    /// The channels by which the recipient may contact the person.
    pub channels: BTreeSet<Channel>,
    /// The proof on which it rests. It names addresses and numbers, so it is not part of a stored decision: proof is
    /// kept on its own, sealed, and a replay finds it again.
    #[serde(skip)]
    pub consents: Vec<ConsentRecord>,
}

impl Verdict {
    /// Whether another reads as this one does where both are stored: proof is kept elsewhere.
    pub fn reads_as(&self, other: &Self) -> bool {
        let Self { recipient, agreement, version, terms, number, outcome, findings, score, fields, channels, consents: _ } = self;
        (recipient, agreement, outcome, version, terms)
            == (&other.recipient, &other.agreement, &other.outcome, &other.version, &other.terms)
            && (number, findings, score, fields, channels) == (&other.number, &other.findings, &other.score, &other.fields, &other.channels)
    }

    /// Whether every gate let it pass.
    pub fn passed(&self) -> bool {
        self.findings.iter().all(|f| f.passed)
    }

    /// Whether a failing gate takes a running share back: the person stopped it, and nothing less. A field
    /// that became unreadable, a review that fell due, a lead that no longer fits or an agreement that
    /// ended leaves what was given where it is; it is only not kept up any more.
    pub fn takes_back(&self) -> bool {
        const STOPPED: [&str; 5] = ["consent.withdrawn", "consent.nobody", "consent.not_chosen", "consent.channel_stopped", "consent.gpc"];
        self.findings.iter().any(|f| !f.passed && (f.gate == Gate::Suppressed || STOPPED.contains(&&*f.code)))
    }

    /// The finding that stopped it.
    pub fn first_failure(&self) -> Option<&Finding> {
        self.findings.iter().find(|f| !f.passed)
    }
}

impl std::fmt::Debug for ConsentRecord {
    // Contact points are a person's data: logs get what was permitted, not who permitted it.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ConsentRecord")
            .field("purpose", &self.purpose)
            .field("channel", &self.channel)
            .field("basis", &self.basis)
            .finish_non_exhaustive()
    }
}

/// What a candidate gets. The order is from best to worst.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum VerdictOutcome {
    /// The lead itself.
    Shared,
    /// A masked offer.
    Offered,
    /// Nothing until a person on the source's side approves.
    Held,
    /// Nothing: it could have it, others came first.
    Outranked,
    /// Nothing: it has it already, or somebody else has a claim.
    Duplicate,
    /// Nothing: outside of what counts as a lead, or kept for others.
    Ineligible,
    /// Nothing: no agreement in force, or nobody there to take it.
    Unmatched,
    /// Nothing: no legal basis.
    NoConsent,
    /// Nothing: the person must not be shared.
    Suppressed,
    /// Nothing: it is no valid lead.
    Invalid,
    /// Nothing: the person was erased.
    Erased,
}

impl VerdictOutcome {
    /// How a change ends that has this as its best candidate.
    pub fn change(self) -> ChangeOutcome {
        match self {
            Self::Shared | Self::Offered => ChangeOutcome::Shared,
            Self::Held => ChangeOutcome::Held,
            Self::Outranked | Self::Duplicate => ChangeOutcome::Duplicate,
            Self::Ineligible => ChangeOutcome::Ineligible,
            Self::Unmatched => ChangeOutcome::Unmatched,
            Self::NoConsent => ChangeOutcome::NoConsent,
            Self::Suppressed => ChangeOutcome::Suppressed,
            Self::Invalid => ChangeOutcome::Invalid,
            Self::Erased => ChangeOutcome::Erased,
        }
    }

    /// Whether the lead, or an offer of it, goes out.
    pub fn goes_out(self) -> bool {
        matches!(self, Self::Shared | Self::Offered)
    }
}

/// The gates, in the order in which they are judged.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Gate {
    /// The lead is one.
    Valid,
    /// The person is not suppressed, not erased, of no refused kind.
    Suppressed,
    /// The agreement is in force.
    Agreement,
    /// A legal basis for each purpose, channel and place.
    Consent,
    /// A legal tool for data that leaves its law.
    Transfer,
    /// Not there already, not somebody else's.
    Duplicate,
    /// What the agreement counts as a lead.
    Eligible,
    /// The person acted lately.
    Fresh,
    /// Not promised to others.
    Exclusivity,
    /// The recipient has room.
    Capacity,
    /// The partners are not paused.
    Standing,
}

impl Gate {
    /// The stable word.
    pub fn word(self) -> &'static str {
        match self {
            Self::Valid => "valid",
            Self::Suppressed => "suppressed",
            Self::Agreement => "agreement",
            Self::Consent => "consent",
            Self::Transfer => "transfer",
            Self::Duplicate => "duplicate",
            Self::Eligible => "eligible",
            Self::Fresh => "fresh",
            Self::Exclusivity => "exclusivity",
            Self::Capacity => "capacity",
            Self::Standing => "standing",
        }
    }

    /// The code of what it found when it had nothing against a candidate.
    pub fn ok(self) -> &'static str {
        match self {
            Self::Valid => "valid.ok",
            Self::Suppressed => "suppressed.ok",
            Self::Agreement => "agreement.ok",
            Self::Consent => "consent.ok",
            Self::Transfer => "transfer.ok",
            Self::Duplicate => "duplicate.ok",
            Self::Eligible => "eligible.ok",
            Self::Fresh => "fresh.ok",
            Self::Exclusivity => "exclusivity.ok",
            Self::Capacity => "capacity.ok",
            Self::Standing => "standing.ok",
        }
    }
}

/// What one gate said about one candidate.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Finding {
    /// The gate.
    pub gate: Gate,
    /// Whether it lets the candidate pass.
    pub passed: bool,
    /// Stable code, such as `consent.not_chosen`.
    pub code: Cow<'static, str>,
    /// The clause that says so, such as `3 privacy.basis`; empty when no clause does.
    pub clause: Cow<'static, str>,
    /// In plain words, without personal data.
    pub text: Cow<'static, str>,
}
