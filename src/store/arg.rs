//! Values on their way into a statement.

use serde::Serialize;

use crate::errors::{Error, Result};

/// One bound value.
#[derive(Debug, Clone)]
pub enum Arg {
    /// A text.
    Text(String),
    /// JSON: mostly a batch, a list of rows.
    Json(String),
    /// A number or time.
    Int(i64),
    /// A text that may be absent.
    OptText(Option<String>),
    /// A number that may be absent.
    OptInt(Option<i64>),
}

impl From<&str> for Arg {
    fn from(value: &str) -> Self {
        Self::Text(value.to_owned())
    }
}
impl From<&String> for Arg {
    fn from(value: &String) -> Self {
        Self::Text(value.clone())
    }
}
impl From<String> for Arg {
    fn from(value: String) -> Self {
        Self::Text(value)
    }
}
impl From<i64> for Arg {
    fn from(value: i64) -> Self {
        Self::Int(value)
    }
}
impl From<Option<String>> for Arg {
    fn from(value: Option<String>) -> Self {
        Self::OptText(value)
    }
}
impl From<Option<i64>> for Arg {
    fn from(value: Option<i64>) -> Self {
        Self::OptInt(value)
    }
}
impl From<&serde_json::Value> for Arg {
    fn from(value: &serde_json::Value) -> Self {
        // Its `Display` writes piece by piece through a formatter, at twice the cost.
        Self::Json(serde_json::to_string(value).unwrap_or_default())
    }
}
impl From<serde_json::Value> for Arg {
    fn from(value: serde_json::Value) -> Self {
        Self::from(&value)
    }
}

/// A batch on its way to the store: rows become JSON as they come.
#[derive(Debug, Clone, Default)]
pub struct Rows(Vec<u8>);

impl Rows {
    /// Adds a row, a tuple of its values.
    ///
    /// # Errors
    /// Never for texts and numbers.
    pub fn push(&mut self, row: impl Serialize) -> Result<()> {
        self.0.push(if self.0.is_empty() { b'[' } else { b',' });
        serde_json::to_writer(&mut self.0, &row).map_err(|_| Error::System("a row cannot be written as JSON".into()))
    }
}

impl From<Rows> for Arg {
    fn from(mut rows: Rows) -> Self {
        rows.0.extend_from_slice(if rows.0.is_empty() { b"[]" } else { b"]" });
        Self::Json(String::from_utf8(rows.0).unwrap_or_default())
    }
}
