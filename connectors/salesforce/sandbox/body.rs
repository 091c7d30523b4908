//! Bodies with the order of their keys kept: the vendor looks at it.

use serde::{
    Deserialize,
    de::{Deserializer, MapAccess, Visitor},
};
use serde_json::Value;

use super::error::Trouble;

/// A JSON object as it was written.
pub struct Pairs(pub Vec<(String, Value)>);

impl<'de> Deserialize<'de> for Pairs {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Reader;
        impl<'de> Visitor<'de> for Reader {
            type Value = Pairs;

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Pairs, A::Error> {
                let mut pairs = Vec::new();
                while let Some(pair) = map.next_entry()? {
                    pairs.push(pair);
                }
                Ok(Pairs(pairs))
            }
        }
        deserializer.deserialize_map(Reader)
    }
}

/// The body of a collections request.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Collection {
    #[serde(default)]
    pub all_or_none: bool,
    pub records: Vec<Pairs>,
}

/// The body of a composite request.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Composite {
    #[serde(default)]
    pub all_or_none: bool,
    pub composite_request: Vec<Sub>,
}

/// One request within a composite one.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Sub {
    pub method: String,
    pub url: String,
    pub reference_id: String,
    pub body: Option<Box<serde_json::value::RawValue>>,
    #[serde(default)]
    pub http_headers: std::collections::BTreeMap<String, String>,
}

/// Reads a body.
pub fn read<'a, T: Deserialize<'a>>(body: &'a [u8]) -> Result<T, Trouble> {
    serde_json::from_slice(body).map_err(|error| Trouble::new("JSON_PARSER_ERROR", format!("{error}")))
}

/// Reads a body that is one record.
pub fn pairs(body: &[u8]) -> Result<Pairs, Trouble> {
    read(body)
}
