//! Tryton 8.2, by its REST API: a lead is an opportunity with a party, the party's contact
//! mechanisms and its first address. README.md says what is promised and why.

mod changes;
mod check;
mod fields;
mod read;
pub mod sandbox;
mod script;
mod settle;
#[cfg(any(test, feature = "conformance"))]
pub mod story;
#[cfg(test)]
mod tests;
mod wire;
mod write;

use std::collections::BTreeMap;

use changes::Changes;
use check::{Answers, Check, Describe};
use read::{Read, Which};
use script::Played;
use settle::{Erase, Settle};
use wire::{OPPORTUNITY, Rest};
use write::{Learnt, Write};

use crate::sdk::{
    Account, AccountFacts, Connector, Incoming, Manifest, Millis, Op, RawRequest, Refused, Saved, Talk, TalkFault, WebhookKey,
};

/// Speaks to Tryton.
pub struct Tryton {
    manifest: Manifest,
}

impl Tryton {
    /// The connector.
    ///
    /// # Panics
    /// When `manifest.toml`, which is part of the program, is not valid.
    #[expect(clippy::new_without_default, reason = "made in one place, the registry")]
    pub fn new() -> Self {
        #[expect(clippy::expect_used, reason = "the text is compiled in, and a test parses it")]
        let manifest = Manifest::parse(include_str!("manifest.toml")).expect("tryton/manifest.toml is valid");
        Self { manifest }
    }
}

fn fault(code: &str, message: &str) -> TalkFault {
    TalkFault { code: code.into(), message: message.into(), passing: false }
}

fn known(object: &str) -> Result<(), TalkFault> {
    if object == OPPORTUNITY {
        Ok(())
    } else {
        Err(fault("not_supported", "Tryton's leads are `sale.opportunity`; no other object is read or written"))
    }
}

fn marked(marker_field: &str) -> Result<(), TalkFault> {
    if marker_field == "reference" {
        Ok(())
    } else {
        Err(fault("not_supported", "the marker stands in `reference`; remove the marker field from the mapping, or name that one"))
    }
}

impl Connector for Tryton {
    fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    fn open(&self, op: &Op, account: &Account, saved: Option<&Saved>) -> Result<Box<dyn Talk>, TalkFault> {
        let database = account.tenant.as_deref().filter(|name| !name.is_empty());
        let database = database.ok_or_else(|| fault("no_database", "the connection names no Tryton database: set its tenant"))?;
        let rest = Rest::new(database);
        match op {
            Op::Check { object, marker_field, fields, writes } => {
                known(object)?;
                let (marker_field, fields) = (marker_field.clone(), fields.clone());
                Ok(Box::new(Played::new(Check { rest, marker_field, fields, writes: *writes, heard: Answers::default() })))
            }
            Op::Changes { object, cursor, from, until, fields, selection } => {
                known(object)?;
                let overlap = self.manifest.poll.overlap_ms;
                let changes = Changes::new(rest, object, cursor.as_ref(), *from, *until, fields, selection, overlap)?;
                Ok(Box::new(Played::new(changes)))
            }
            Op::Fetch { object, ids, fields } | Op::Follow { object, ids, fields } => {
                known(object)?;
                let which = Which::Ids(ids.clone());
                Ok(Box::new(Played::new(Read { rest, object: object.clone(), which, fields: fields.clone() })))
            }
            Op::Find { object, field, value, fields } => {
                known(object)?;
                let which = Which::Holding { field: field.clone(), value: value.clone() };
                Ok(Box::new(Played::new(Read { rest, object: object.clone(), which, fields: fields.clone() })))
            }
            Op::Write { object, marker_field, items } => {
                known(object)?;
                marked(marker_field)?;
                let [item] = items.as_slice() else {
                    return Err(fault("not_supported", "Tryton is written one lead at a time"));
                };
                let learnt = match saved {
                    Some(Saved(value)) => serde_json::from_value(value.clone())
                        .map_err(|_| fault("bad_saved_state", "what was saved of this write is not this connector's"))?,
                    None => Learnt::default(),
                };
                Ok(Box::new(Played::new(Write::new(rest, item.clone(), learnt))))
            }
            Op::Settle { object, marker_field, items } => {
                known(object)?;
                marked(marker_field)?;
                Ok(Box::new(Played::new(Settle::new(rest, items.clone()))))
            }
            Op::Describe { object } => {
                known(object)?;
                Ok(Box::new(Played::new(Describe { rest, models: BTreeMap::new() })))
            }
            Op::Erase { object, id } => {
                known(object)?;
                let id = id.parse().map_err(|_| fault("not_supported", "the id is not one of Tryton's, which are numbers"))?;
                Ok(Box::new(Played::new(Erase::new(rest, id))))
            }
        }
    }

    fn webhook(&self, _: &RawRequest, _: &[WebhookKey], _: Millis) -> Result<Incoming, Refused> {
        Err(Refused::NotSupported)
    }

    fn account_facts(&self, _: &serde_json::Map<String, serde_json::Value>) -> AccountFacts {
        AccountFacts::default()
    }
}
