//! Agreements as typed data: the ten clauses between a source and a recipient, and the unsigned operations beside them.
//!
//! The doc comments here are what the generated schema tells an editor, and what a hint tells about a missing key.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub mod money;
pub mod operations;
pub mod privacy;
pub mod unit;

pub use money::{Commission, Disputes, Metrics};
pub use operations::{Mode, Operations, Order};
pub use privacy::{Basis, BasisRule, Onward, Privacy, Purpose, RefusedKind, Transfer};
pub use unit::{Day, Decimal, Moment, Percent, Period, Unit, Zone};

/// One direction of sharing between two partners. A two-way deal is two files under one signed document.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Agreement {
    /// Which agreement this is, and whom to ask.
    pub about: About,
    /// Clause 1: who does what.
    pub parties: Parties,
    /// Clause 2: what counts as a lead.
    pub qualification: Qualification,
    /// Clause 3: data protection. It can forbid; only the person can permit.
    pub privacy: Privacy,
    /// Clause 4: what may be seen before acceptance, and how long secrets stay secret.
    #[serde(default)]
    pub confidentiality: Confidentiality,
    /// Clause 5: how long it runs.
    pub term: Term,
    /// Clause 6: money. Without it nobody pays.
    pub commission: Option<Commission>,
    /// Clause 7: disputes, ownership and returns.
    #[serde(default)]
    pub disputes: Disputes,
    /// Clause 8: what is measured and what follows from it.
    pub metrics: Option<Metrics>,
    /// Clause 9: what the sides promise not to give to others.
    #[serde(default)]
    pub exclusivity: Exclusivity,
    /// Clause 10: who signed which terms. A file without both signatures is a draft.
    #[serde(default)]
    pub signing: Signing,
    /// How the sides work together: not signed, each line belongs to the side named in `by`.
    pub operations: Operations,
}

/// Which agreement this is, and whom to ask.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct About {
    /// The agreement's name; the file is called the same.
    pub id: String,
    /// Counts up with every change of the terms.
    pub version: u32,
    /// The mailbox for business questions.
    pub business: String,
    /// The mailbox for data-protection questions.
    pub privacy: String,
}

/// Clause 1: who does what.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Parties {
    /// Who gives the leads.
    pub source: Party,
    /// Who gets them.
    pub recipient: Party,
    /// Who runs the program.
    pub operator: Operator,
    /// What follows when leads are mishandled.
    pub mishandled: Option<Mishandled>,
}

/// One of the two partners of an agreement.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Party {
    /// The partner's file name in `partners/`.
    pub partner: String,
    /// The company's registered name, as in the partner's file.
    pub legal_name: String,
    /// What it is under data-protection law.
    pub role: Role,
    /// The client on whose behalf a processor acts; the client signs too.
    pub client: Option<String>,
}

/// Who runs the program.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Operator {
    /// The partner's file name in `partners/`.
    pub partner: String,
    /// What it is under data-protection law; a neutral operator is the processor of both.
    pub role: Role,
}

/// What a company is under data-protection law.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// Decides on its own why and how data is used.
    Controller,
    /// Decides together with the other side.
    Joint,
    /// Acts on behalf of another.
    Processor,
}

/// What follows when leads are mishandled.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Mishandled {
    /// How soon the other side must be told.
    pub report_within: Period,
    /// What happens to new leads.
    pub then: Consequence,
    /// How long the side has to put it right.
    pub cure: Option<Period>,
}

/// What happens to new leads when something is wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Consequence {
    /// Both sides are told; leads go on.
    Warn,
    /// No new leads until it is put right.
    Pause,
    /// The agreement ends.
    End,
}

/// Clause 2: what counts as a lead.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Qualification {
    /// Lead fields that must have a value.
    #[serde(default)]
    pub required: Vec<String>,
    /// Conditions by lead field that must all hold. A field without a value does not fulfil its condition.
    #[serde(default)]
    pub all: Conditions,
    /// Conditions by lead field of which none may hold. A field without a value fulfils none.
    #[serde(default)]
    pub none: Conditions,
    /// An expression over `lead` where typed conditions do not reach, such as `lead.employees >= 50`.
    #[serde(rename = "where")]
    pub expression: Option<String>,
    /// How long ago the person may have acted.
    pub fresh: Option<Fresh>,
}

/// Conditions by lead field.
pub type Conditions = BTreeMap<String, Condition>;

/// A condition on one field; every test that it names must hold.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Condition {
    /// The value is exactly this.
    pub is: Option<Scalar>,
    /// The value is one of these.
    #[serde(rename = "in")]
    pub within: Option<Vec<Scalar>>,
    /// The value is none of these.
    pub not_in: Option<Vec<Scalar>>,
    /// The number is this or more.
    pub at_least: Option<Scalar>,
    /// The number is this or less.
    pub at_most: Option<Scalar>,
    /// The number lies between these two, both included.
    pub between: Option<(Scalar, Scalar)>,
    /// The value stands in `lists/<name>.csv`; companies match by domain, parent company or name.
    pub list: Option<String>,
}

/// A value to compare with.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum Scalar {
    /// `true` or `false`.
    Boolean(bool),
    /// A whole number.
    Integer(i64),
    /// A number with a fraction.
    Float(f64),
    /// Text, also a decimal number or a day as text.
    Text(String),
}

/// How long ago the person may have acted.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Fresh {
    /// The longest time, in calendar units.
    pub within: Period,
    /// The lead field with the moment: what the person did, never "last modified".
    pub since: String,
}

/// Clause 4: what may be seen before acceptance, and how long secrets stay secret.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Confidentiality {
    /// Lead fields that an offer shows before it is accepted.
    #[serde(default)]
    pub before_acceptance: Vec<String>,
    /// How long the duty outlives the agreement.
    pub survives: Option<Period>,
}

/// Clause 5: how long it runs.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Term {
    /// The first and the last day.
    pub runs: Runs,
    /// How it goes on after the last day; without it, it does not.
    pub renewal: Option<Renewal>,
    /// How either side may end it early.
    pub terminate: Option<Terminate>,
    /// What happens to leads at the end.
    pub on_end: Option<OnEnd>,
}

/// The first and the last day, both included, in this zone.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Runs {
    /// The first day, from its midnight.
    pub from: Day,
    /// The last day, to its end.
    pub until: Day,
    /// Whose days these are.
    pub zone: Zone,
}

/// Renewal adds a period to the same version, unless a side gave notice in time or a recheck fails.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Renewal {
    /// How long each added period is, in calendar units.
    pub by: Period,
    /// How many periods may be added.
    pub times: u32,
    /// How long before the end a side must say that it does not go on, in calendar days.
    pub notice: Option<Period>,
    /// What must still be valid on the first day of the added period.
    #[serde(default)]
    pub recheck: Vec<Recheck>,
}

/// What must still be valid for a renewal.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Recheck {
    /// The transfer tool's review date has not passed.
    Transfer,
    /// None of the recipient's certificates has expired.
    Certificates,
}

/// How either side may end it early.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Terminate {
    /// With a cause, after this time to put it right.
    pub for_cause_after_cure: Option<Period>,
    /// Without a cause, with this much notice.
    pub convenience: Option<Period>,
}

/// What happens to leads at the end.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct OnEnd {
    /// Leads that were offered and not accepted.
    pub offered: EndOf,
    /// Leads that were accepted.
    pub accepted: EndOf,
    /// How long accepted leads may be worked on.
    pub finish_within: Option<Period>,
    /// How soon the recipient deletes the rest.
    pub delete_rest_within: Option<Period>,
    /// Whether the recipient confirms the deletion.
    #[serde(default)]
    pub attest: bool,
}

/// What happens to a lead when the agreement ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum EndOf {
    /// The source takes it back.
    Recall,
    /// The recipient finishes the work on it.
    Finish,
}

/// Clause 9: what the sides promise not to give to others.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Exclusivity {
    /// Leads that the source gives to this recipient only.
    pub source_gives: Option<SourceGives>,
    /// Whose leads the recipient does not take.
    pub recipient_gives: Option<RecipientGives>,
    /// Companies that the source keeps for itself, as `list:<name>`.
    pub kept_for_direct_sales: Option<String>,
}

/// Leads that the source gives to one recipient only: those that match territory and segment, where both are given.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SourceGives {
    /// Places (`EEA`, `DE`, `DE-BY`) of the company.
    #[serde(default)]
    pub territory: Vec<String>,
    /// Industries.
    #[serde(default)]
    pub segment: Vec<String>,
    /// After how long without an answer the lead goes to others.
    pub release_if_unanswered: Option<Period>,
}

/// Whose leads the recipient does not take.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RecipientGives {
    /// Companies whose leads the recipient refuses, as `list:<name>`.
    pub rivals: String,
}

/// Clause 10: who signed which terms.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Signing {
    /// The document that people signed.
    pub document: Option<Document>,
    /// The signatures. Both sides sign `terms`.
    #[serde(default)]
    pub signed: Vec<Signature>,
}

/// The document that people signed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Document {
    /// Its file name.
    pub file: String,
    /// The SHA-256 of its bytes, 64 hexadecimal digits.
    pub sha256: String,
    /// Who reviewed it for which side, and when.
    #[serde(default)]
    pub legal_review: Vec<String>,
}

/// One side's signature under the terms.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Signature {
    /// The side that signs.
    pub party: Signatory,
    /// Name and office, as in `signers` of the partner's file.
    pub by: String,
    /// When it was signed.
    pub at: Moment,
    /// The hash of the terms that were signed: `leadshare agreement check` prints it.
    pub terms: String,
}

/// Who signs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Signatory {
    /// The side that gives leads.
    Source,
    /// The side that gets them.
    Recipient,
    /// The client on whose behalf a processor acts.
    Client,
}

/// One of the two sides.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Side {
    /// The side that gives leads.
    Source,
    /// The side that gets them.
    Recipient,
}

impl Agreement {
    /// Whether the recipient first sees a masked offer.
    pub fn is_offer(&self) -> bool {
        self.operations.transfer.mode == Mode::Offer
    }

    /// The hash that a side's signature covers, when it signed.
    pub fn signature(&self, party: Signatory) -> Option<&Signature> {
        self.signing.signed.iter().find(|s| s.party == party)
    }
}
