//! HubSpot: contacts, companies, deals and leads through the CRM API.
//!
//! Facts are in `manifest.toml`; reading is in `fetch`, `read` and `changes`, writing in `write` and `after`, the
//! connection check in `check`, webhooks in `webhook`. The simulator in [`sandbox`] shares no code
//! and no constants with them.

mod after;
mod api;
mod changes;
mod check;
mod error;
mod fetch;
mod read;
pub mod sandbox;
#[cfg(test)]
mod tests;
mod webhook;
mod write;

use crate::sdk::{
    Account, AccountFacts, Connector, Incoming, Manifest, Millis, Op, RawRequest, Refused, Saved, Talk, TalkFault, WebhookKey,
};

/// Speaks to HubSpot.
pub struct HubSpot {
    manifest: Manifest,
}

impl HubSpot {
    /// The connector.
    ///
    /// # Panics
    /// When the manifest that is compiled in is broken; a test reads it.
    #[expect(clippy::expect_used, reason = "the text is part of the program and a test parses it")]
    pub fn new() -> Self {
        Self { manifest: Manifest::parse(include_str!("manifest.toml")).expect("the HubSpot manifest is valid") }
    }
}

impl Default for HubSpot {
    fn default() -> Self {
        Self::new()
    }
}

impl Connector for HubSpot {
    fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    /// No talk here has anything to save: polls resume from the cursor of their last page, and every
    /// write is idempotent by marker or id.
    fn open(&self, op: &Op, account: &Account, _: Option<&Saved>) -> Result<Box<dyn Talk>, TalkFault> {
        let api = api::Api::new(account);
        Ok(match op.clone() {
            Op::Check { object, marker_field, fields, writes } => {
                Box::new(check::Check::new(&api, &object, marker_field, fields, writes, account))
            }
            Op::Changes { object, cursor, from, until, fields, selection } => {
                let ask = changes::Wanted { object, from, until, fields, selection, overlap: self.manifest.poll.overlap_ms };
                Box::new(changes::Changes::new(api, ask, cursor)?)
            }
            Op::Fetch { object, ids, fields } => Box::new(fetch::Fetch::new(api, object, ids, fields, false, account)),
            Op::Follow { object, ids, fields } => Box::new(fetch::Fetch::new(api, object, ids, fields, true, account)),
            Op::Find { object, field, value, fields } => Box::new(read::Find::new(api, object, field, value, fields)),
            Op::Describe { object } => Box::new(read::Describe::new(&api, object)),
            Op::Write { object, marker_field, items } => Box::new(write::Write::new(api, object, marker_field, items)),
            Op::Settle { object, marker_field, items } => {
                Box::new(after::Settle::new(api, object, marker_field, items, self.manifest.write.settle_after_ms))
            }
            Op::Erase { object, id } => Box::new(after::Erase::new(&api, &object, id)),
        })
    }

    fn webhook(&self, raw: &RawRequest, keys: &[WebhookKey], now: Millis) -> Result<Incoming, Refused> {
        webhook::read(raw, keys, now)
    }

    fn account_facts(&self, token_response: &serde_json::Map<String, serde_json::Value>) -> AccountFacts {
        // The oldest token endpoint (v1) does not say; all accounts share one host.
        AccountFacts { external_id: token_response.get("hub_id").and_then(api::id_text), base_url: None }
    }
}
