//! Decisions as they are stored: in place of each verdict stands its hash, for most leads of a batch hear the same.

use std::collections::{BTreeMap, VecDeque};

use leadshare_connectors::sdk::signature::sha256;
use serde_json::{Value, json};

use crate::errors::{Error, Result};
use crate::model::decision::{Decision, Verdict};

/// Verdicts looked through before one is written out: candidates that do not get a lead mostly hear what others heard just before.
const LATELY: usize = 8;

/// Verdicts of a batch by the hash of their text.
#[derive(Default)]
pub struct Wordings {
    texts: BTreeMap<String, String>,
    lately: VecDeque<(Verdict, String)>,
}

impl Wordings {
    /// A decision as it is stored.
    ///
    /// # Errors
    /// Never for a decision of ours.
    pub fn fold(&mut self, decision: &Decision) -> Result<String> {
        let mut hashes = Vec::with_capacity(decision.verdicts.len());
        for verdict in &decision.verdicts {
            if let Some((_, hash)) = self.lately.iter().find(|(said, _)| said == verdict) {
                hashes.push(hash.clone());
                continue;
            }
            let text = serde_json::to_string(verdict).map_err(|_| Error::Unreadable { what: "a decision".into() })?;
            let hash = hex::encode(&sha256(&[text.as_bytes()])[..16]);
            hashes.push(hash.clone());
            self.lately.push_front((verdict.clone(), hash.clone()));
            self.lately.truncate(LATELY);
            self.texts.insert(hash, text);
        }
        let Decision { outcome, reason, program, engine, .. } = decision;
        Ok(json!({ "outcome": outcome, "reason": reason, "verdicts": hashes, "program": program, "engine": engine }).to_string())
    }

    /// `[[hash, verdict], …]`, sorted.
    pub fn rows(self) -> Value {
        self.texts.into_iter().map(|(hash, text)| json!([hash, text])).collect()
    }
}
