//! The unsigned part of an agreement: how leads are handed over, by when they are worked on, how many, with which words.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::unit::{Day, Moment, Period};
use super::{Conditions, Side};
use crate::model::Channel;

/// How the sides work together: not signed, each line belongs to the side named in `by`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Operations {
    /// How leads are handed over.
    pub transfer: HandOver,
    /// How the recipient gets them.
    pub delivery: Option<DeliveryLine>,
    /// By when they are worked on.
    pub sla: Option<Sla>,
    /// How the recipient keeps in touch.
    pub touches: Option<Touches>,
    /// How many leads the recipient takes.
    pub capacity: Option<Capacity>,
    /// The approved words.
    pub messaging: Option<Messaging>,
    /// A stop that either side sets alone, and that ends when both are named in `resumed_by`.
    pub suspended: Option<Suspended>,
    /// A notice that the agreement is not renewed.
    pub not_renewed: Option<NotRenewed>,
    /// A notice that the agreement ends early.
    pub ended: Option<Ended>,
}

/// How leads are handed over.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct HandOver {
    /// Whose line this is.
    pub by: Side,
    /// Straight into the recipient's system, or as a masked offer first.
    pub mode: Mode,
    /// Whether several recipients are asked one after the other or at once.
    #[serde(default)]
    pub order: Order,
    /// How long an offer waits for an answer.
    pub answer_within: Option<Period>,
    /// The most recipients that may have one lead at the same time.
    #[serde(default = "one")]
    pub recipients: u32,
    /// Conditions by lead field; when all hold, a person on the source's side approves first.
    #[serde(default)]
    pub approve_if: Conditions,
}

fn one() -> u32 {
    1
}

/// How a lead reaches the recipient.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Mode {
    /// Straight into the recipient's system.
    Direct,
    /// As a masked offer first.
    Offer,
}

/// Whether several recipients are asked one after the other or at once.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Order {
    /// The best first, the next when it says no.
    #[default]
    InTurn,
    /// All at once; the first to accept gets it.
    AtOnce,
}

/// How the recipient gets leads.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct DeliveryLine {
    /// Whose line this is.
    pub by: Side,
    /// The ways, the preferred one first.
    pub methods: Vec<Method>,
    /// The queue or person in the recipient's system.
    pub assign_to: Option<String>,
}

/// A way of delivery.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Method {
    /// Into the recipient's connected system.
    Crm,
    /// On a page of ours.
    Portal,
    /// By a mail that points to the page.
    Email,
    /// As a file.
    File,
    /// By a signed webhook.
    Webhook,
}

/// By when leads are worked on.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Sla {
    /// Whose line this is.
    pub by: Side,
    /// Until a person has seen the lead.
    pub acknowledge: Option<Period>,
    /// Until the first contact.
    pub first_contact: Option<Period>,
    /// The longest time without a new status.
    pub status_every: Option<Period>,
    /// What happens when three quarters of the time are over.
    pub at_75: Option<SlaAct>,
    /// What happens when the time is over.
    pub at_100: Option<SlaAct>,
    /// What happens when half as much again is over.
    pub at_150: Option<SlaAct>,
}

/// What happens when time runs out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum SlaAct {
    /// The person who holds the lead is reminded.
    Remind,
    /// Both partner managers are told.
    Escalate,
    /// The source takes the lead back.
    Recall,
    /// The source takes the lead back, and the next candidate gets it.
    RecallAndReoffer,
}

/// How the recipient keeps in touch.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Touches {
    /// Whose line this is.
    pub by: Side,
    /// The least number of contacts by channel.
    pub at_least: BTreeMap<Channel, u32>,
    /// Within this time.
    pub within: Period,
    /// The most contacts in a week.
    pub at_most_per_week: Option<u32>,
    /// How long the source leaves the first word to the recipient.
    pub first_right: Option<Period>,
}

/// How many leads the recipient takes under this agreement.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Capacity {
    /// Whose line this is.
    pub by: Side,
    /// Open at the same time.
    pub open: Option<u32>,
    /// New in a day.
    pub day: Option<u32>,
    /// New in a month.
    pub month: Option<u32>,
    /// How much this recipient counts when several could take a lead; 1 unless given.
    pub weight: Option<u32>,
}

/// The approved words, as `messages/<name>.md`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Messaging {
    /// Whose line this is.
    pub by: Side,
    /// How the source introduces the recipient.
    pub introduction: Option<String>,
    /// What may be said about the product.
    pub positioning: Option<String>,
    /// What must be said.
    pub disclaimer: Option<String>,
}

/// A stop that either side sets alone.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Suspended {
    /// Who stopped.
    pub by: Side,
    /// Since when.
    pub since: Moment,
    /// Why.
    pub why: Option<String>,
    /// The sides that agree to go on: it takes both.
    #[serde(default)]
    pub resumed_by: Vec<Side>,
}

/// A notice that the agreement is not renewed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct NotRenewed {
    /// Who gave it.
    pub by: Side,
    /// When the other side received it.
    pub received: Moment,
}

/// A notice that the agreement ends early.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Ended {
    /// Who gave it.
    pub by: Side,
    /// When the other side received it.
    pub received: Moment,
    /// The last day, included, in the agreement's zone.
    pub last_day: Day,
    /// Why.
    pub cause: EndCause,
}

/// Why an agreement ends early.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum EndCause {
    /// No cause: the notice period of `terminate.convenience` must lie between.
    Convenience,
    /// A breach that was not put right: the time of `terminate.for_cause_after_cure` must lie between.
    ForCause,
}
