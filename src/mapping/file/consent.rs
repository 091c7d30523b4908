//! The `[consent]` block as it is written.

use std::collections::BTreeMap;

use leadshare_connectors::sdk::record::beside_record;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{OrName, constant_schema};
use crate::model::Channel;

/// Where the proof of consent lives in this system.
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Consent {
    /// The person's choice of partners by name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub choice: Option<Choice>,
    /// The field that holds the id of the notice that the person was shown.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub notice: Option<String>,
    /// When, and by whom, the yes was recorded.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub given_at: Option<OrName<GivenAt>>,
    /// The address or number as consented to, not as edited since.
    #[serde(default)]
    pub contact_point: ContactPoints,
    /// Further proof.
    #[serde(default)]
    pub proof: Proof,
    /// Where the person is: country field, then state field.
    #[serde(default)]
    #[schemars(length(max = 2))]
    pub place: Vec<String>,
    /// Flags that are true for this person: flag = field.
    #[serde(default)]
    pub flags: Flags,
    /// Opt-outs.
    #[serde(default)]
    pub stop: Vec<StopRule>,
    /// What it means when a field that should tell of an opt-out is not readable.
    #[serde(default)]
    pub stop_field_missing: StopFieldMissing,
    /// The field in which this system records a withdrawal.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub withdrawn_at: Option<String>,
    /// What we write here when a person withdraws elsewhere. Never re-subscribes anyone.
    #[serde(default)]
    pub write_back: ConsentBack,
}

/// The person's choice of partners.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Choice {
    /// The field that holds the choice.
    pub crm: String,
    /// What stands between several choices, such as `;`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub split: Option<String>,
    /// This system's word = partner.
    #[serde(default)]
    pub names: BTreeMap<String, String>,
    /// This system's word for "nobody".
    #[serde(skip_serializing_if = "Option::is_none")]
    pub nobody: Option<String>,
}

/// When, and by whom, the yes was recorded.
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct GivenAt {
    /// The field that holds the time; absent = the time in the history.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub crm: Option<String>,
    /// The field whose history tells who recorded its present value, and when.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub history_of: Option<String>,
    /// A field that tells who recorded the yes, where the system keeps no history.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub set_by_field: Option<String>,
    /// The words of this system that stand for the person, such as `FORM`. Nobody else counts.
    #[serde(default)]
    pub set_by: Vec<String>,
}

impl From<String> for GivenAt {
    fn from(name: String) -> Self {
        Self { crm: Some(name), ..Self::default() }
    }
}

/// The address or number as consented to: fields of this system.
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ContactPoints {
    /// The e-mail address.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub email: Option<String>,
    /// The phone number.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub phone: Option<String>,
    /// The postal address.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub post: Option<String>,
}

impl ContactPoints {
    /// Channel, key and field of those that are mapped.
    pub fn pairs(&self) -> impl Iterator<Item = (Channel, &'static str, &str)> {
        let all = [(Channel::Email, "email", &self.email), (Channel::Phone, "phone", &self.phone), (Channel::Post, "post", &self.post)];
        all.into_iter().filter_map(|(channel, key, field)| field.as_deref().map(|field| (channel, key, field)))
    }
}

/// Further proof: fields of this system.
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Proof {
    /// When a double opt-in was confirmed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub confirmed_at: Option<String>,
    /// The form's address as shown.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub shown: Option<String>,
    /// A certificate's address.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub certificate: Option<String>,
}

/// Flags: fields of this system that are true when the flag is set.
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Flags {
    /// The person is a minor.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub minor: Option<String>,
    /// The record holds health data.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub health: Option<String>,
    /// The record holds data of another special category (Art. 9 GDPR).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub special_category: Option<String>,
    /// The person's browser sent Global Privacy Control.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub gpc: Option<String>,
}

impl Flags {
    /// Flag and field of those that are mapped.
    pub fn pairs(&self) -> impl Iterator<Item = (&'static str, &str)> {
        let all = [("minor", &self.minor), ("health", &self.health), ("special_category", &self.special_category), ("gpc", &self.gpc)];
        all.into_iter().filter_map(|(flag, field)| field.as_deref().map(|field| (flag, field)))
    }
}

/// One opt-out.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct StopRule {
    /// The field that says so.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub crm: Option<String>,
    /// Instead of a field: a list of the vendor that the connector asks, such as `communication_preferences`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub api: Option<String>,
    /// The value that means stop; absent = any value but an empty one or a no.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "constant_schema")]
    pub is: Option<Value>,
    /// The channels that it blocks; empty = all sharing.
    #[serde(default)]
    pub blocks: Vec<Channel>,
}

impl StopRule {
    /// The name to read; `None` when the rule does not name exactly one source.
    pub fn field(&self) -> Option<String> {
        match (&self.crm, &self.api) {
            (Some(crm), None) => Some(crm.clone()),
            (None, Some(api)) => Some(beside_record(api)),
            _ => None,
        }
    }
}

/// What an unreadable opt-out field means.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum StopFieldMissing {
    /// Hidden by permissions is not "not opted out".
    #[default]
    Refuse,
    /// The field is known not to exist for every record.
    Ignore,
}

/// What we write when a person withdraws elsewhere: fields of this system.
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ConsentBack {
    /// Gets the time of the withdrawal.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub withdrawn_at: Option<String>,
    /// Gets the address of the consent receipt.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub receipt: Option<String>,
}
