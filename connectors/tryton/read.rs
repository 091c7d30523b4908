//! Fetch, follow and find: one search each.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::script::{Out, Script};
use super::wire::{OPPORTUNITY, Rest, id_of, rows};
use super::{fields, fields::holds};
use crate::sdk::{Effect, Heard, Output, Record};

/// Which leads to read.
pub enum Which {
    /// These ids; a missing one is reported as deleted.
    Ids(Vec<String>),
    /// Those whose field holds this value.
    Holding {
        /// The flattened name.
        field: String,
        /// The value.
        value: String,
    },
}

/// One read.
pub struct Read {
    /// Where to.
    pub rest: Rest,
    /// The object's name.
    pub object: String,
    /// Which leads.
    pub which: Which,
    /// The fields to read.
    pub fields: Vec<String>,
}

impl Script for Read {
    type Want = ();

    fn start(&mut self, out: &mut Out<()>) {
        let domain = match &self.which {
            Which::Ids(ids) => {
                let ids: Vec<i64> = ids.iter().filter_map(|id| id.parse().ok()).collect();
                if ids.is_empty() {
                    return out.done(Output::Records(self.records(&[])));
                }
                json!([["id", "in", ids]])
            }
            Which::Holding { field, value } => json!([holds(field, &[json!(value)])]),
        };
        out.ask((), self.rest.search(OPPORTUNITY, &domain, &fields::paths(&self.fields), 0), Effect::Read);
    }

    fn heard(&mut self, (): (), what: Heard<'_>, out: &mut Out<()>) {
        match rows("reading leads", what) {
            Ok(rows) => out.done(Output::Records(self.records(&rows))),
            Err(fault) => out.fail(fault),
        }
    }
}

impl Read {
    fn records(&self, rows: &[Value]) -> Vec<Record> {
        let found = rows.iter().filter_map(|row| fields::record(&self.object, row, &self.fields));
        let Which::Ids(ids) = &self.which else { return found.collect() };
        let mut found: BTreeMap<String, Record> = found.map(|r| (r.id.clone(), r)).collect();
        ids.iter().map(|id| found.remove(id).unwrap_or_else(|| fields::gone(&self.object, id))).collect()
    }
}

/// The id of the first row, for searches that look for one.
pub fn first_id(rows: &[Value]) -> Option<i64> {
    rows.first().and_then(id_of)
}
