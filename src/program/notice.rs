//! Notice files: what people were shown when they said yes.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::model::Channel;
use crate::model::agreement::{Day, Zone};

/// What people were shown. The file's name is the id that forms record; what it says never changes, a new text is a new file.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Notice {
    /// The registered name of the company that asked.
    pub controller: String,
    /// The words as shown.
    pub text: String,
    /// The language of the words, ISO 639-1.
    pub language: String,
    /// The registered names of the companies that the words name as recipients.
    pub recipients: Vec<String>,
    /// The purposes that the words tell of, by the ids that agreements use.
    pub purposes: Vec<String>,
    /// The channels that the words tell of.
    pub channels: Vec<Channel>,
    /// On which days it was shown.
    pub shown: Shown,
    /// The forms that showed it.
    #[serde(default)]
    pub forms: Vec<String>,
}

/// On which days a notice was shown, both included.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Shown {
    /// The first day.
    pub from: Day,
    /// The last day; still shown without it.
    pub until: Option<Day>,
    /// Whose days these are.
    pub zone: Zone,
}
