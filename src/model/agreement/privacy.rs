//! Clause 3, data protection: purposes with their legal bases, refused kinds, transfer, retention, withdrawal.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::unit::{Day, Period};
use crate::model::Channel;

/// Clause 3: data protection. It can forbid; only the person can permit.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Privacy {
    /// Kinds of people and data that never leave. All of them unless fewer are named; `minor`, `health` and
    /// `special_category` are refused even when they are not named.
    #[serde(default = "RefusedKind::all")]
    pub refuse: Vec<RefusedKind>,
    /// The notices that count as consent under this agreement.
    #[serde(default)]
    pub notices: Vec<String>,
    /// The legal tool for moving data to another country's law; one table, or one per pair of places.
    #[serde(default)]
    pub transfer: Transfers,
    /// How long data is kept. Suppression lies outside every clock.
    pub keep: Option<Keep>,
    /// What happens when a person withdraws.
    pub withdrawal: Option<Withdrawal>,
    /// What happens when a person wants to be erased.
    pub erasure: Option<Erasure>,
    /// The notice that the recipient owes the person.
    pub recipient_notice: Option<RecipientNotice>,
    /// What may flow back to the source.
    #[serde(default)]
    pub back_to_source: Vec<BackWord>,
    /// Whether the recipient may share the lead further.
    #[serde(default)]
    pub onward: Onward,
    /// What the data is for. Giving the name and making contact are two acts, each with its own basis.
    pub purpose: Vec<Purpose>,
}

/// Kinds of people and data that never leave.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum RefusedKind {
    /// People below the age of consent.
    Minor,
    /// Data about health.
    Health,
    /// Other special categories of data.
    SpecialCategory,
    /// Free text, which may hold anything.
    FreeText,
    /// People of whom nobody knows which law protects them.
    PlaceUnknown,
}

impl RefusedKind {
    /// Every kind.
    pub fn all() -> Vec<Self> {
        vec![Self::Minor, Self::Health, Self::SpecialCategory, Self::FreeText, Self::PlaceUnknown]
    }

    /// Kinds that an agreement cannot permit: only the person's own authorisation could.
    pub fn always(self) -> bool {
        matches!(self, Self::Minor | Self::Health | Self::SpecialCategory)
    }

    /// The word in files, and the flag in a consent claim.
    pub fn word(self) -> &'static str {
        match self {
            Self::Minor => "minor",
            Self::Health => "health",
            Self::SpecialCategory => "special_category",
            Self::FreeText => "free_text",
            Self::PlaceUnknown => "place_unknown",
        }
    }
}

/// Legal tools for moving data to another country's law.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum Transfers {
    /// One pair of places.
    One(Transfer),
    /// Several pairs.
    Many(Vec<Transfer>),
}

impl Default for Transfers {
    fn default() -> Self {
        Self::Many(Vec::new())
    }
}

impl Transfers {
    /// All of them.
    pub fn all(&self) -> &[Transfer] {
        match self {
            Self::One(one) => std::slice::from_ref(one),
            Self::Many(many) => many,
        }
    }
}

/// The legal tool for moving data from the people of one place to another country's law.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Transfer {
    /// Where the people are: `EEA`, `UK`, `CH` or a country.
    pub from: String,
    /// Where the recipient is.
    pub to: String,
    /// The tool.
    pub tool: TransferTool,
    /// When the transfer was assessed.
    pub assessed: Day,
    /// The last day on which the assessment counts.
    pub review_by: Day,
}

/// The legal tools for a transfer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum TransferTool {
    /// The destination was found adequate.
    Adequacy,
    /// The EU-US Data Privacy Framework.
    DataPrivacyFramework,
    /// Standard contractual clauses, controller to controller.
    #[serde(rename = "scc_module_1")]
    SccModule1,
    /// Standard contractual clauses, controller to processor.
    #[serde(rename = "scc_module_2")]
    SccModule2,
    /// Standard contractual clauses, processor to processor.
    #[serde(rename = "scc_module_3")]
    SccModule3,
    /// Standard contractual clauses, processor to controller.
    #[serde(rename = "scc_module_4")]
    SccModule4,
    /// The United Kingdom's transfer agreement.
    UkIdta,
    /// The United Kingdom's addendum to the standard clauses.
    UkAddendum,
    /// Binding corporate rules.
    BindingCorporateRules,
}

/// How long data is kept.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Keep {
    /// People never shared.
    pub not_shared: Period,
    /// Offers never accepted.
    pub not_accepted: Period,
    /// Leads.
    pub lead: Period,
    /// Proof of consent.
    pub proof: Period,
}

/// What happens when a person withdraws.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Withdrawal {
    /// How soon sharing stops.
    pub stop: StopWhen,
    /// How soon the recipient must act on it.
    pub recipient_within: Period,
}

/// How soon sharing stops.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum StopWhen {
    /// At once. There is no other way; the word makes it part of what is signed.
    AtOnce,
}

/// What happens when a person wants to be erased.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Erasure {
    /// How soon the recipient must act on it.
    pub recipient_within: Period,
    /// What happens when the person has become the recipient's own customer.
    pub if_own_customer: OwnCustomer,
}

/// What happens when an erased person has become the recipient's own customer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum OwnCustomer {
    /// The recipient is told, and attests its own legal basis.
    TellAndAttest,
    /// The recipient deletes all the same.
    Delete,
}

/// The notice that the recipient owes the person.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RecipientNotice {
    /// The approved text, as `messages/<name>.md`.
    pub text: String,
    /// At which moment it is due.
    pub by: NoticeMoment,
    /// The latest time after delivery.
    pub latest: Period,
}

/// At which moment a notice is due.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum NoticeMoment {
    /// With the first contact.
    FirstContact,
    /// With the delivery.
    Delivery,
}

/// What may flow back to the source.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum BackWord {
    /// Who holds the lead.
    ShareStatus,
    /// What became of it.
    Progress,
    /// Why it was declined, disqualified, returned or lost.
    ReasonCode,
    /// The value of the deal.
    Amount,
}

/// Whether the recipient may share a received lead further.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Onward {
    /// Never.
    #[default]
    Never,
    /// Where the person agreed to the next recipient too; never back to where the lead came from.
    WithConsent,
}

/// One act with the data, and what permits it where.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Purpose {
    /// The purpose's name; a notice names the same.
    pub id: String,
    /// What is done, as people are told.
    pub text: String,
    /// The legal basis by place (`EEA`, `US`, `US-CA`), for all channels or by channel. A place that is not listed
    /// is refused; the narrowest place that fits counts.
    pub basis: BTreeMap<String, BasisRule>,
    /// The lead fields that this purpose lets leave. A purpose without fields is about making contact.
    #[serde(default)]
    pub fields: Vec<String>,
}

/// A legal basis, for all channels or by channel.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum BasisRule {
    /// One basis for the whole act.
    Whole(Basis),
    /// A basis for each channel; a channel that is not listed is refused.
    Channels(BTreeMap<Channel, Basis>),
}

/// What permits an act.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Basis {
    /// The person said yes to this recipient, under a notice that names it.
    Consent,
    /// Consent, confirmed a second time from the mailbox.
    DoubleOptIn,
    /// The person asked for the data to be given to this recipient.
    PersonDirected,
    /// The person has not opted out.
    NotOptedOut,
    /// Written consent to calls and texts that names the seller.
    SellerNamedWritten,
}

impl Basis {
    /// The word in files.
    pub fn word(self) -> &'static str {
        match self {
            Self::Consent => "consent",
            Self::DoubleOptIn => "double_opt_in",
            Self::PersonDirected => "person_directed",
            Self::NotOptedOut => "not_opted_out",
            Self::SellerNamedWritten => "seller_named_written",
        }
    }
}
