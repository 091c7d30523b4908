//! SQL for what decisions say about candidates: each wording is kept once, for most leads hear the same.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};

use super::{Arg, Db, Tx};
use crate::args;
use crate::errors::Result;

const SAVE: &str = "INSERT INTO verdicts (hash, body) SELECT value ->> 0, value ->> 1 FROM json_each(CAST($1 AS TEXT)) WHERE true
  ON CONFLICT (hash) DO NOTHING";

/// Keeps those that are not kept yet (`[[hash, verdict], …]`, sorted).
///
/// # Errors
/// The store's.
pub async fn save(tx: &mut Tx, rows: impl Into<Arg>) -> Result<()> {
    tx.put(SAVE, args![rows.into()]).await
}

const BY_HASH: &str = "SELECT hash, body FROM verdicts WHERE hash IN (SELECT value ->> 0 FROM json_each(CAST($1 AS TEXT)))";

/// Puts the verdicts back into stored decisions. What cannot be read stays as it is.
///
/// # Errors
/// The store's.
pub async fn unfold<'a>(db: &Db, stored: impl IntoIterator<Item = &'a mut String>) -> Result<()> {
    let mut read: Vec<(&mut String, Value)> =
        stored.into_iter().filter_map(|text| serde_json::from_str(text).ok().map(|value| (text, value))).collect();
    let folded = read.iter().filter_map(|(_, value)| value["verdicts"].as_array()).flatten().filter_map(Value::as_str);
    let hashes: BTreeSet<String> = folded.map(str::to_owned).collect();
    let wanted = Value::from(hashes.into_iter().map(|hash| json!([hash])).collect::<Vec<_>>());
    let found: BTreeMap<String, String> = db.rows::<(String, String)>(BY_HASH, args![wanted]).await?.into_iter().collect();
    for (text, value) in &mut read {
        let Some(verdicts) = value.get_mut("verdicts").and_then(Value::as_array_mut) else { continue };
        for verdict in verdicts.iter_mut() {
            if let Some(full) = verdict.as_str().and_then(|hash| found.get(hash)) {
                *verdict = serde_json::from_str(full).unwrap_or_default();
            }
        }
        **text = value.to_string();
    }
    Ok(())
}
