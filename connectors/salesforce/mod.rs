//! Salesforce (Sales Cloud): leads and contacts by the REST API, outcomes from opportunities.
//!
//! Read `README.md` for the set-up, the limits and what is guaranteed. `wire` reads answers,
//! `soql` builds queries; each operation has a file of its own.

mod changes;
mod check;
mod desk;
mod erase;
mod read;
pub mod sandbox;
mod settle;
mod soql;
#[cfg(test)]
mod tests;
mod webhook;
mod wire;
mod write;

use serde_json::{Map, Value};

use crate::sdk::{
    Account, AccountFacts, Connector, Incoming, Manifest, Millis, Op, RawRequest, Refused, Saved, Talk, TalkFault, WebhookKey,
};

/// Speaks to Salesforce.
pub struct Salesforce {
    manifest: Manifest,
}

impl Salesforce {
    /// The connector.
    ///
    /// # Panics
    /// When the manifest that is part of the program does not parse; a test sees to it.
    #[expect(clippy::expect_used, reason = "the manifest is part of the program")]
    pub fn new() -> Self {
        Self { manifest: Manifest::parse(include_str!("manifest.toml")).expect("salesforce/manifest.toml") }
    }
}

impl Default for Salesforce {
    fn default() -> Self {
        Self::new()
    }
}

impl Connector for Salesforce {
    fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    /// No talk here saves anything: polls keep their place in the cursor, writes are keyed.
    fn open(&self, op: &Op, account: &Account, _saved: Option<&Saved>) -> Result<Box<dyn Talk>, TalkFault> {
        let api = wire::Api::new(&account.api_version);
        Ok(match op {
            Op::Check { object, marker_field, fields, writes } => {
                Box::new(check::Check::open(&api, object, marker_field, fields, *writes, &account.scopes)?)
            }
            Op::Changes { object, cursor, from, until, fields, selection } => {
                let window = changes::Window {
                    object,
                    cursor: cursor.as_ref(),
                    from: *from,
                    until: *until,
                    fields: &read::own_fields(fields),
                    selection,
                    overlap: self.manifest.poll.overlap_ms,
                };
                Box::new(changes::Changes::open(api, &window)?)
            }
            Op::Fetch { object, ids, fields } => Box::new(read::Read::by_id(api, object, ids, fields, false)?),
            Op::Follow { object, ids, fields } => Box::new(read::Read::by_id(api, object, ids, fields, true)?),
            Op::Find { object, field, value, fields } => Box::new(read::Read::by_field(api, object, field, value, fields)?),
            Op::Write { object, marker_field, items } => Box::new(write::Write::open(api, object, marker_field, items)?),
            Op::Settle { object, marker_field, items } => Box::new(settle::Settle::open(&api, object, marker_field, items)?),
            Op::Describe { object } => Box::new(check::Describe::open(&api, object)?),
            Op::Erase { object, id } => Box::new(erase::Erase::open(&api, object, id)?),
        })
    }

    fn webhook(&self, raw: &RawRequest, keys: &[WebhookKey], _now: Millis) -> Result<Incoming, Refused> {
        webhook::read(raw, keys)
    }

    /// The organisation is part of the identity address: `https://login.salesforce.com/id/<org>/<user>`.
    fn account_facts(&self, token_response: &Map<String, Value>) -> AccountFacts {
        let text = |name: &str| token_response.get(name).and_then(Value::as_str);
        let organisation = text("id").and_then(|id| id.split("/id/").nth(1)).and_then(|rest| rest.split('/').next());
        AccountFacts {
            external_id: organisation.and_then(webhook::id18),
            base_url: text("instance_url").map(|url| url.trim_end_matches('/').to_owned()),
        }
    }
}
