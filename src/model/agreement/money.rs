//! Clauses 6 to 8: commission, disputes with ownership and returns, metrics.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Side;
use super::unit::{Decimal, Percent, Period};

/// Clause 6: money. Amounts are decimal text.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Commission {
    /// What is paid for, by whom.
    pub on: CommissionOn,
    /// The rates; each part of the base at its own rate.
    pub rate: Vec<Rate>,
    /// Currency, exchange and caps.
    pub limits: Limits,
    /// When a commission is taken back.
    pub clawback: Option<Clawback>,
    /// The statement.
    pub statement: Option<Statement>,
}

/// What is paid for, by whom.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct CommissionOn {
    /// Who pays.
    pub payer: Side,
    /// What triggers it.
    pub event: PaidEvent,
    /// What the percentage is of.
    pub base: PaidBase,
    /// Which of a lead's deals count.
    pub deals: PaidDeals,
    /// How long after `of` the event may come.
    pub within: Option<Period>,
    /// From which moment `within` counts.
    pub of: PaidFrom,
    /// How long after the agreement's end events still count.
    pub after_end: Option<Period>,
}

/// What triggers a commission.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum PaidEvent {
    /// The lead was accepted.
    Accepted,
    /// The lead was qualified.
    Qualified,
    /// The lead became a deal.
    Converted,
    /// The deal was won.
    Won,
}

/// What a percentage is of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum PaidBase {
    /// The first year's revenue without tax.
    FirstYearNet,
    /// The deal's whole value without tax.
    TotalNet,
    /// Nothing: a fixed amount each time.
    Fixed,
}

/// Which of a lead's deals count.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum PaidDeals {
    /// The first one.
    First,
    /// All of them.
    All,
}

/// From which moment the time for a commission counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum PaidFrom {
    /// Delivery.
    Delivered,
    /// Acceptance.
    Accepted,
}

/// The rate for one part of the base.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Rate {
    /// The part that lies above this amount.
    pub above: Option<Decimal>,
    /// The part up to this amount.
    pub up_to: Option<Decimal>,
    /// The rate in percent.
    pub percent: Option<Decimal>,
    /// A fixed amount instead of a percentage.
    pub fixed: Option<Decimal>,
}

/// Currency, exchange and caps.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Limits {
    /// The currency of all amounts, ISO 4217.
    pub currency: String,
    /// Which exchange rate counts.
    pub fx: Option<Exchange>,
    /// The most for one lead.
    pub cap_per_lead: Option<Decimal>,
    /// How long an amount waits before it is due.
    pub hold: Option<Period>,
}

/// Which exchange rate counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Exchange {
    /// The European Central Bank's rate on the day of the event.
    EcbEventDay,
    /// The European Central Bank's rate on the day of the statement.
    EcbStatementDay,
}

/// When a commission is taken back.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Clawback {
    /// How long after the event; a later reversal changes nothing.
    pub within: Period,
    /// What takes it back.
    pub on: Vec<ClawbackOn>,
}

/// What takes a commission back.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ClawbackOn {
    /// The customer cancelled.
    Cancelled,
    /// The customer got the money back.
    Refunded,
    /// The customer never paid.
    Unpaid,
}

/// The statement.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Statement {
    /// How often.
    pub every: Every,
    /// How long a side may object.
    pub object_within: Period,
    /// What silence means.
    pub silence: Silence,
    /// How soon it is paid.
    pub pay_within: Period,
}

/// How often something is made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Every {
    /// Each week.
    Week,
    /// Each month.
    Month,
    /// Each quarter.
    Quarter,
}

/// What silence means.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Silence {
    /// The side agrees.
    Agreed,
    /// The side objects.
    Objected,
}

/// Clause 7: disputes, ownership and returns.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Disputes {
    /// What may be disputed, and how long.
    pub raise: Option<Raise>,
    /// Who a lead belongs to when several sources bring it.
    #[serde(default)]
    pub ownership: Ownership,
    /// How the recipient gives leads back.
    pub returns: Option<Returns>,
    /// The steps, in order.
    #[serde(default)]
    pub steps: Vec<DisputeStep>,
}

/// What may be disputed, and how long.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Raise {
    /// How long after the event.
    pub within: Period,
    /// What about.
    pub reasons: Vec<DisputeReason>,
    /// What stands still meanwhile.
    pub freezes: Freezes,
}

/// What a dispute is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum DisputeReason {
    /// Who brought the lead.
    Ownership,
    /// Whether it counted as a lead.
    NotQualified,
    /// How much is due.
    Amount,
    /// How the person was treated.
    Conduct,
}

/// What stands still during a dispute.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Freezes {
    /// The disputed line.
    Line,
    /// The whole statement.
    Statement,
    /// Nothing.
    Nothing,
}

/// Who a lead belongs to when several sources bring it to one recipient.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Ownership {
    /// What makes the claim.
    pub rule: OwnershipRule,
    /// How long the claim is protected, in calendar units.
    pub protected: Period,
}

impl Default for Ownership {
    fn default() -> Self {
        Self { rule: OwnershipRule::FirstAccepted, protected: Period::days(90) }
    }
}

/// What makes a claim on a lead.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum OwnershipRule {
    /// The first share that the recipient accepted.
    FirstAccepted,
    /// The first share that reached the recipient.
    FirstShared,
}

/// How the recipient gives leads back.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Returns {
    /// How long after acceptance.
    pub within: Period,
    /// The most of all accepted leads.
    pub at_most: Percent,
    /// What becomes of a returned lead.
    pub then: ReturnedThen,
}

/// What becomes of a returned lead.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ReturnedThen {
    /// The next candidate gets it.
    NextCandidate,
    /// The source keeps it.
    Source,
}

/// One step of settling a dispute.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct DisputeStep {
    /// Who settles it.
    pub by: Settler,
    /// How long they have.
    pub within: Option<Period>,
    /// Where it is heard.
    pub seat: Option<String>,
}

/// Who settles a dispute.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Settler {
    /// The partner managers of both sides.
    PartnerManagers,
    /// The managements of both sides.
    Executives,
    /// A mediator.
    Mediation,
    /// An arbitrator.
    Arbitration,
    /// A court.
    Court,
}

/// Clause 8: what is measured and what follows from it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Metrics {
    /// The goals.
    pub targets: Targets,
    /// How goals are judged.
    pub judge: Option<Judge>,
    /// Who gets the figures.
    pub report: Option<Report>,
}

/// The goals.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Targets {
    /// Accepted of delivered or offered leads, at least.
    pub acceptance: Option<Percent>,
    /// First contacts within the time promised, at least.
    pub first_contact_in_time: Option<Percent>,
    /// Leads whose status is not older than promised, at least.
    pub status_fresh: Option<Percent>,
    /// Complaints of contacted people, at most.
    pub complaints_max: Option<Percent>,
}

/// How goals are judged.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Judge {
    /// The time looked at.
    pub over: Period,
    /// Fewer leads than this are not judged.
    pub at_least_leads: u32,
    /// What follows first.
    pub first: JudgeAct,
    /// How long until the next.
    pub after: Option<Period>,
    /// What follows then.
    pub then: Option<JudgeAct>,
    /// Who lets leads flow again.
    pub resume_by: Option<Side>,
}

/// What follows from a missed goal.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum JudgeAct {
    /// Both sides are told.
    Warn,
    /// No new leads.
    PauseNew,
}

/// Who gets the figures.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Report {
    /// How often.
    pub every: Every,
    /// To whom.
    pub to: Vec<Side>,
    /// How often a side may audit the other.
    pub audit: Option<Period>,
}
