//! A lead: the common model of a person with a need, after mapping.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::ConsentClaim;

/// A lead as a mapping made it from a source's record. Field names are those of [`super::field`];
/// an absent field was empty at the source.
#[derive(Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Lead {
    /// Normalised values by field name.
    pub fields: BTreeMap<String, Value>,
    /// What the source's record says about consent, opt-outs and place.
    pub consent: ConsentClaim,
}

impl Lead {
    /// A field's text, when it has one.
    pub fn text(&self, field: &str) -> Option<&str> {
        self.fields.get(field).and_then(Value::as_str)
    }
}

impl std::fmt::Debug for Lead {
    // A lead is a person's data: logs get the field names only.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Lead").field("fields", &self.fields.keys().collect::<Vec<_>>()).finish_non_exhaustive()
    }
}
