//! A vendor's object as the vendor has it.

use serde::{Deserialize, Serialize};

use super::Millis;

/// A record's fields by the vendor's own names. Values keep the vendor's JSON types.
pub type Fields = std::collections::BTreeMap<String, serde_json::Value>;

/// Whether a record is still there.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// In use.
    Live,
    /// Deleted or archived; its fields may be incomplete.
    Deleted,
    /// Merged into the record with this id, which lives on.
    Merged(String),
}

/// A vendor's object: `object` and `id` together name it within one account.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Record {
    /// The vendor's object name as mapping files spell it, such as `contact` or `Lead`.
    pub object: String,
    /// The vendor's id.
    pub id: String,
    /// The fields asked for that the vendor returned.
    pub fields: Fields,
    /// Changes whenever the record does (usually the modification time as the vendor wrote it).
    /// Polling skips a record whose version it has already taken in.
    pub version: String,
    /// When the vendor says it was created.
    pub created_at: Option<Millis>,
    /// When the vendor says it was last modified.
    pub modified_at: Option<Millis>,
    /// Live, deleted or merged.
    pub state: State,
}

/// One field of an object as the vendor describes it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[expect(clippy::struct_excessive_bools, reason = "each is a fact of its own, told by the vendor")]
pub struct FieldInfo {
    /// The name used in mapping files.
    pub name: String,
    /// What people see in the vendor's pages.
    pub label: String,
    /// The vendor's type name.
    pub kind: String,
    /// Allowed values of a picklist (the stored value, not its label); empty when free.
    pub options: Vec<String>,
    /// Whether the API may write it.
    pub writable: bool,
    /// Whether a create must carry it, as far as the vendor says.
    pub required: bool,
    /// Whether the vendor keeps its values unique.
    pub unique: bool,
    /// Whether the account's admins made it.
    pub custom: bool,
}

/// One entry of a field's history.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Moment {
    /// What the field was set to.
    pub value: serde_json::Value,
    /// When.
    pub at: Millis,
    /// By what or whom, in the vendor's word (`FORM`, `IMPORT`, `CRM_UI`), where it says.
    pub by: Option<String>,
}

/// The name under which a field's history is asked for, beside the field itself. A connector whose vendor keeps
/// histories answers with a list of [`Moment`]s in any order; one whose vendor does not leaves the name out.
pub fn history_of(field: &str) -> String {
    format!("{field}@history")
}

/// The name under which something is asked for that the vendor keeps outside the record, such as
/// `communication_preferences`: `@communication_preferences`. The value is a word or a list of words.
pub fn beside_record(what: &str) -> String {
    format!("@{what}")
}

/// Whether that is asked for under this name.
pub fn is_beside_record(name: &str) -> bool {
    name.starts_with('@')
}
