//! The `[status]` block as it is written.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{OrName, constant_schema, list_schema};

/// This system's words for what became of a lead.
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Status {
    /// The field that tells where a received lead stands.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub field: Option<String>,
    /// This system's word = progress (`reached`, `won`, …) or share status (`accepted`, `declined`, …).
    #[serde(default)]
    pub values: BTreeMap<String, String>,
    /// The word that we write with a new lead; a person moving it away acknowledges the lead.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub landed: Option<String>,
    /// What we may write on a record that was there before us.
    #[serde(default)]
    pub on_existing: OnExisting,
    /// For `on_existing = "listed"`: the fields of this system that we may write.
    #[serde(default)]
    pub listed: Vec<String>,
    /// Conditions on the record or what it was turned into; the first that holds goes before `values`.
    #[serde(default)]
    pub when: Vec<When>,
    /// The field that holds the deal's amount.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub amount: Option<String>,
    /// The field that holds the amount's currency.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub currency: Option<String>,
    /// The field that holds the reason of a refusal or a loss.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// This system's reason = reason code.
    #[serde(default)]
    pub reasons: BTreeMap<String, String>,
    /// Where news about a lead that this partner shared is written in this system.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub back: Option<Back>,
}

/// What may be written on a record that was there before us.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum OnExisting {
    /// Fields that are empty there.
    #[default]
    FillEmpty,
    /// The fields in `listed`, whatever they hold.
    Listed,
    /// Nothing; the recipient is told.
    Report,
}

/// A condition on what became of a lead.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct When {
    /// Field = test; all must hold. Fields of the deal are named `deal.…` or `opportunity.…`.
    #[serde(rename = "if")]
    pub if_: BTreeMap<String, Test>,
    /// The progress or share status that it means.
    pub then: String,
}

/// A test of one field.
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Test {
    /// Equals.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "constant_schema")]
    pub is: Option<Value>,
    /// Is one of.
    #[serde(default, rename = "in")]
    #[schemars(schema_with = "list_schema")]
    pub in_: Vec<Value>,
    /// Is a number of at least this.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub at_least: Option<f64>,
    /// Is a number of at most this.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub at_most: Option<f64>,
    /// Holds something (`true`) or nothing (`false`).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub set: Option<bool>,
}

/// Where news about a shared lead is written in the sharer's system.
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Back {
    /// Gets the share status.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub share_status: Option<OrName<BackField>>,
    /// Gets the progress.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub progress: Option<OrName<BackField>>,
    /// Gets the recipient's name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub recipient: Option<OrName<BackField>>,
    /// Gets the reason code.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason_code: Option<OrName<BackField>>,
    /// Gets the amount.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub amount: Option<OrName<BackField>>,
    /// Gets the amount's currency.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub currency: Option<OrName<BackField>>,
    /// Gets the time of the news.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub at: Option<OrName<BackField>>,
}

impl Back {
    /// What is written back, by key, of those that are mapped.
    pub fn pairs(&self) -> impl Iterator<Item = (&'static str, BackField)> {
        let all = [
            ("share_status", &self.share_status),
            ("progress", &self.progress),
            ("recipient", &self.recipient),
            ("reason_code", &self.reason_code),
            ("amount", &self.amount),
            ("currency", &self.currency),
            ("at", &self.at),
        ];
        all.into_iter().filter_map(|(key, field)| field.as_ref().map(|field| (key, field.table())))
    }
}

/// One field that gets news.
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct BackField {
    /// The field that gets it.
    pub crm: String,
    /// Our word = this system's word; a word that is not listed is written as it is.
    #[serde(default)]
    pub values: BTreeMap<String, String>,
}

impl From<String> for BackField {
    fn from(crm: String) -> Self {
        Self { crm, values: BTreeMap::new() }
    }
}
