//! A mapping file as it is written: its keys, their meaning, and the JSON Schema made from them.

mod consent;
mod status;

use std::collections::BTreeMap;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};
use serde_json::Value;

pub use consent::{Choice, Consent, ConsentBack, ContactPoints, Flags, GivenAt, Proof, StopFieldMissing, StopRule};
pub use status::{Back, BackField, OnExisting, Status, Test, When};

use crate::model::field;

/// One partner's records of one object, as leads and back.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[schemars(title = "leadshare mapping")]
#[serde(deny_unknown_fields)]
pub struct MappingFile {
    /// The partner whose system this is, by its name in the program.
    pub partner: String,
    /// How the system is spoken to, such as `hubspot`.
    pub connector: String,
    /// The system's object that holds leads, such as `contact` or `Lead`.
    pub object: String,
    /// The field that holds our own mark on a record; absent = the connector's default.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub marker_field: Option<String>,
    /// The only records that may be read: each named field must hold one of its values.
    #[serde(default)]
    pub selection: BTreeMap<String, Vec<String>>,
    /// Lead field = this system's field, or a table that says how one becomes the other.
    #[serde(default)]
    #[schemars(schema_with = "fields_schema")]
    pub fields: BTreeMap<String, OrName<FieldTable>>,
    /// Values for fields of this system that a new record would otherwise lack, such as `LeadSource = "Partner"`.
    #[serde(default)]
    #[schemars(schema_with = "constants_schema")]
    pub create: BTreeMap<String, Value>,
    /// Where the proof of consent lives in this system. A part that is missing means no.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub consent: Option<Consent>,
    /// This system's words for what became of a lead, and where news about a shared lead is written back.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub status: Option<Status>,
    /// Examples that are tests: a record, and what must come of it.
    #[serde(default, rename = "example")]
    pub examples: Vec<Example>,
}

/// The short form (a field's name alone) or a table.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[schemars(rename = "{T}OrName")]
#[serde(untagged)]
pub enum OrName<T> {
    /// A field of this system.
    Name(String),
    /// The long form.
    Table(T),
}

impl<T: From<String> + Clone> OrName<T> {
    /// The long form of either.
    pub fn table(&self) -> T {
        match self {
            Self::Name(name) => T::from(name.clone()),
            Self::Table(table) => table.clone(),
        }
    }
}

/// How one lead field is filled from this system, and this system's field from the lead.
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct FieldTable {
    /// This system's field.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub crm: Option<String>,
    /// An expression or a `{{ … }}` template: over this system's fields on the way in, over lead fields on the way out.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub expr: Option<String>,
    /// Applied in order on the way in, such as `trim` or `e164:DE`. The field's own kind is applied last in any case.
    #[serde(default)]
    pub transform: Vec<String>,
    /// This system's word = the lead's word; used backwards on the way out.
    #[serde(default)]
    #[schemars(schema_with = "constants_schema")]
    pub values: BTreeMap<String, Value>,
    /// What to do with a value that `values` does not know (default: quarantine), or that a transform cannot read
    /// (default: drop). A record whose e-mail cannot be read makes no lead in any case.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub unmapped: Option<Unmapped>,
    /// The lead's value when this system's field is empty.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "constant_schema")]
    pub default: Option<Value>,
    /// A record without it does not make a lead.
    #[serde(default)]
    pub required: bool,
    /// Which way the rule works. Default: both, or `in` for an expression or a transform that cannot be undone.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub direction: Option<Direction>,
    /// The lead's word = this system's word, where several words of this system mean the same.
    #[serde(default)]
    pub values_out: BTreeMap<String, String>,
    /// Applied in order on the way out, such as `country_name` or `epoch_ms`.
    #[serde(default)]
    pub transform_out: Vec<String>,
    /// Longest text that this system's field takes, in characters; longer text is cut on the way out.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1))]
    pub max: Option<usize>,
}

impl From<String> for FieldTable {
    fn from(name: String) -> Self {
        Self { crm: Some(name), ..Self::default() }
    }
}

/// What to do with a value that the mapping does not know.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Unmapped {
    /// The record waits until the mapping knows the value.
    Quarantine,
    /// The field stays empty; a warning says so.
    Drop,
    /// The value goes through as it is.
    Keep,
}

/// Which way a rule works.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Direction {
    /// From this system to the lead.
    In,
    /// From the lead to this system.
    Out,
    /// Both ways.
    Both,
}

/// An example that is a test. Only what is listed is compared.
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Example {
    /// What the example shows.
    pub name: String,
    /// A record of this system.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub crm: Option<BTreeMap<String, Value>>,
    /// Lead fields that must come of `crm`; without `crm`, the lead that `out` starts from.
    #[serde(default)]
    pub lead: BTreeMap<String, Value>,
    /// Lead fields that must stay empty.
    #[serde(default)]
    pub empty: Vec<String>,
    /// Lead fields for which the record must be refused.
    #[serde(default)]
    pub invalid: Vec<String>,
    /// Lead fields for which the record must wait.
    #[serde(default)]
    pub quarantined: Vec<String>,
    /// Parts of the consent that must come of `crm`, times in RFC 3339.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub consent: Option<BTreeMap<String, Value>>,
    /// Fields of this system that must come of the lead.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub out: Option<BTreeMap<String, Value>>,
    /// Whether `out` is a new record (default) or an update.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub creating: Option<bool>,
    /// A record of this system that is followed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub follow: Option<BTreeMap<String, Value>>,
    /// What must be seen in `follow`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub status: Option<ExampleStatus>,
}

/// What an example sees in a followed record.
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ExampleStatus {
    /// The progress.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub progress: Option<String>,
    /// The share status.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub share_status: Option<String>,
    /// The reason code.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason_code: Option<String>,
    /// The amount.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub amount: Option<String>,
    /// Whether it moved away from the value that landed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub moved_off_landed: Option<bool>,
}

fn fields_schema(generator: &mut SchemaGenerator) -> Schema {
    let rule = generator.subschema_for::<OrName<FieldTable>>();
    let properties: serde_json::Map<String, Value> =
        field::FIELDS.iter().map(|def| (def.name.to_owned(), serde_json::json!({ "description": def.label, "anyOf": [rule] }))).collect();
    json_schema!({ "type": "object", "properties": properties, "patternProperties": { "^x_.": rule }, "additionalProperties": false })
}

fn constant_schema(_: &mut SchemaGenerator) -> Schema {
    json_schema!({ "type": ["string", "number", "boolean"] })
}

fn constants_schema(_: &mut SchemaGenerator) -> Schema {
    json_schema!({ "type": "object", "additionalProperties": { "type": ["string", "number", "boolean"] } })
}

fn list_schema(_: &mut SchemaGenerator) -> Schema {
    json_schema!({ "type": "array", "items": { "type": ["string", "number", "boolean"] } })
}

/// The JSON Schema of mapping files, for editors and for the check of a file's shape.
pub fn schema() -> Value {
    schemars::schema_for!(MappingFile).to_value()
}
