//! Decisions as they are stored: in place of each verdict stands its hash, for most leads of a batch hear the same.

use std::collections::{BTreeMap, VecDeque};

use leadshare_connectors::sdk::signature::sha256;
use serde::Serialize;
use serde_json::{Value, json};

use crate::errors::{Error, Result};
use crate::model::ChangeOutcome;
use crate::model::decision::{Decision, Verdict};

/// Verdicts looked through before one is written out: candidates that do not get a lead mostly hear what others heard just before.
const LATELY: usize = 8;

/// A decision, with its verdicts' hashes in their place.
#[derive(Serialize)]
struct Folded<'a> {
    engine: &'a str,
    outcome: ChangeOutcome,
    program: &'a str,
    reason: &'a str,
    verdicts: &'a [String],
}

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
            if let Some((_, hash)) = self.lately.iter().find(|(said, _)| said.reads_as(verdict)) {
                hashes.push(hash.clone());
                continue;
            }
            let text = serde_json::to_string(verdict).map_err(|_| Error::Unreadable { what: "a decision".into() })?;
            let hash = hex::encode(&sha256(&[text.as_bytes()])[..16]);
            hashes.push(hash.clone());
            self.lately.push_front((Verdict { consents: Vec::new(), ..verdict.clone() }, hash.clone()));
            self.lately.truncate(LATELY);
            self.texts.insert(hash, text);
        }
        let Decision { outcome, reason, program, engine, .. } = decision;
        let folded = Folded { engine, outcome: *outcome, program, reason, verdicts: &hashes };
        serde_json::to_string(&folded).map_err(|_| Error::Unreadable { what: "a decision".into() })
    }

    /// `[[hash, verdict], …]`, sorted.
    pub fn rows(self) -> Value {
        self.texts.into_iter().map(|(hash, text)| json!([hash, text])).collect()
    }
}
