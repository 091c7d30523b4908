//! Looking whether creates of unknown outcome happened: by the marker, deleted and merged rows too.

use std::collections::BTreeMap;

use super::{
    desk::Desk,
    soql,
    wire::{self, Api, moment, text},
};
use crate::sdk::{Doubt, Fields, Heard, ItemResult, Made, Millis, Output, Request, Step, Tag, Talk, TalkFault};

/// How far the vendor's clock may be behind ours before a deleted row of an earlier life of the same
/// marker would be taken for the create in doubt.
const SKEW: Millis = 300_000;

struct Seen {
    id: String,
    live: bool,
    created_at: Millis,
}

/// One look.
pub struct Settle {
    marker_field: String,
    items: Vec<Doubt>,
    /// What carries each marker, which is compared without regard to case.
    seen: BTreeMap<String, Vec<Seen>>,
    desk: Desk<()>,
}

impl Settle {
    /// One query for each list of markers that fits an address.
    pub fn open(api: &Api, object: &str, marker_field: &str, items: &[Doubt]) -> Result<Self, TalkFault> {
        let (object, field) = (soql::name(object)?, soql::name(marker_field)?);
        let mut desk = Desk::new();
        for list in soql::lists(items.iter().map(|doubt| doubt.marker.as_str())) {
            let soql = format!("SELECT Id,{field},IsDeleted,CreatedDate FROM {object} WHERE {field} IN ({list})");
            desk.read(api.query(&soql, true), ());
        }
        let (marker_field, items) = (field.to_owned(), items.to_vec());
        let mut talk = Self { marker_field, items, seen: BTreeMap::new(), desk };
        talk.end_if_heard();
        Ok(talk)
    }

    fn take(&mut self, page: &wire::Page) -> Option<()> {
        for row in &page.rows {
            let marker = row.iter().find(|(name, _)| name.eq_ignore_ascii_case(&self.marker_field))?.1.as_str()?;
            let seen = Seen {
                id: text(row, "Id")?.to_owned(),
                live: row.get("IsDeleted")?.as_bool() == Some(false),
                created_at: text(row, "CreatedDate").and_then(moment)?,
            };
            self.seen.entry(marker.to_lowercase()).or_default().push(seen);
        }
        Some(())
    }

    fn end_if_heard(&mut self) {
        if !self.desk.all_heard() {
            return;
        }
        for doubt in std::mem::take(&mut self.items) {
            let result = self.result(&doubt);
            self.desk.say(Step::Item(doubt.key, result));
        }
        self.desk.say(Step::Done(Output::Done));
    }

    /// A row that was deleted or merged meanwhile was written all the same: writing again would undo
    /// what a person did there. Reading it by id says what became of it. Where nothing is seen, a late
    /// commit may still come; writing again is safe even then, for the marker is unique.
    fn result(&self, doubt: &Doubt) -> ItemResult {
        let seen = self.seen.get(&doubt.marker.to_lowercase()).map(Vec::as_slice).unwrap_or_default();
        let ours = seen.iter().find(|row| row.live).or_else(|| seen.iter().find(|row| row.created_at >= doubt.sent_at - SKEW));
        match ours {
            Some(row) => ItemResult::Written { id: row.id.clone(), made: Made::Created, shadow: Fields::new() },
            None => ItemResult::Gone,
        }
    }
}

impl Talk for Settle {
    fn step(&mut self) -> Step {
        self.desk.step()
    }

    fn heard(&mut self, tag: Tag, what: Heard<'_>) {
        const WHAT: &str = "looking for records in doubt";
        if self.desk.heard(tag).is_none() {
            return;
        }
        let Heard::Answer(response) = what else { return self.desk.fail(wire::no_answer(WHAT)) };
        match wire::page(WHAT, response) {
            Err(fault) => self.desk.fail(fault),
            Ok(page) => {
                if self.take(&page).is_none() {
                    return self.desk.fail(TalkFault::unexpected(WHAT, response));
                }
                if let Some(path) = page.next {
                    self.desk.read(wire::signed(Request::get(path)), ());
                }
                self.end_if_heard();
            }
        }
    }
}
