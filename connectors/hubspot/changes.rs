//! Polling: everything created, changed, deleted or merged since the cursor, without gaps.
//!
//! Pages are taken by key, never by offset: a record that changes while it is being paged over
//! leaves the window and would shift the rest of an offset by one. Each query starts at the last
//! modification time seen; where one time fills a whole page, that time is read by record id. So
//! the cap of 10,000 results per query is never met either. Deletions do not show in search; they
//! come from the list of archived records, and merges from the record that was made of them.

use std::collections::HashSet;

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::api::{self, Api, GENERAL, Outbox, SEARCH};
use crate::sdk::{Cursor, Effect, Heard, Method, Millis, Output, Record, Request, Selection, State, Step, Tag, Talk, TalkFault};

/// Most results of one search page.
const PAGE: u64 = 200;
/// Most records of one list page.
const LIST_PAGE: u64 = 100;
/// The last offset that search accepts.
const LAST_OFFSET: u64 = 10_000 - PAGE;
/// Filters that every documented version of search allows in one group.
const FILTERS: usize = 3;
/// Most values that are put in one `IN` filter.
const IN_VALUES: usize = 100;
/// A list of archived records cannot be narrowed by time, so a long one is read less often: at most
/// about one page of it a minute.
const SWEEP_PAGE_EVERY: Millis = 60_000;

/// What a poll is asked for.
pub(super) struct Wanted {
    pub object: String,
    pub from: Millis,
    pub until: Millis,
    pub fields: Vec<String>,
    pub selection: Selection,
    /// How far the lower bound reaches back, milliseconds.
    pub overlap: Millis,
}

impl Wanted {
    /// Where the window begins after one that ended here.
    fn start(&self, through: Millis) -> Within {
        Within::From { at: (through - self.overlap).max(self.from) }
    }

    /// Whether one that ended here did so so long ago that the next is not put off until another poll.
    fn is_due(&self, through: Millis) -> bool {
        self.until > through + self.overlap
    }
}

/// Where the poll stands; the cursor of the daemon.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Position {
    v: u8,
    /// Everything modified up to here has been handed over.
    through: Millis,
    /// In an unfinished window: where to go on.
    within: Option<Within>,
    /// The upper bound of an unfinished window. It stays when the poll is taken up again: the next window reaches back from here, to what
    /// search may not have shown yet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    bound: Option<Millis>,
    /// Everything archived up to here has been handed over.
    swept: Millis,
    /// The archived records are not read again before this.
    sweep_due: Millis,
    /// In an unfinished list of archived records: where to go on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    sweep: Option<Sweep>,
}

/// A list of archived records that is being read.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Sweep {
    /// Those archived before were handed over.
    since: Millis,
    /// When it was begun: what was archived later may be on a page that was read before.
    began: Millis,
    /// Pages read.
    pages: Millis,
    /// Behind which record the next page begins.
    after: Option<String>,
}

/// A place in an unfinished window: where the next query begins.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Within {
    /// Rows from a time on, by time.
    From { at: Millis },
    /// Rows of one time, by id, after this id.
    Same { at: Millis, id: Option<String> },
}

impl Within {
    fn at(&self) -> Millis {
        match self {
            Self::From { at } | Self::Same { at, .. } => *at,
        }
    }
}

/// What is being read.
enum Mode {
    Window(Within),
    Archived(Sweep),
}

/// The poll.
pub(super) struct Changes {
    api: Api,
    wanted: Wanted,
    properties: Vec<String>,
    position: Position,
    mode: Mode,
    /// Whether a list of archived records was begun anew.
    restarted: bool,
    /// Rows of the time at which the next query starts, by id and version.
    seen: HashSet<(String, String)>,
    out: Outbox,
}

impl Changes {
    pub fn new(api: Api, wanted: Wanted, cursor: Option<Cursor>) -> Result<Self, TalkFault> {
        let position = match cursor {
            None => {
                Position { v: 1, through: wanted.from, within: None, bound: None, swept: wanted.from, sweep_due: wanted.from, sweep: None }
            }
            Some(Cursor(value)) => serde_json::from_value::<Position>(value).ok().filter(|p| p.v == 1).ok_or_else(|| TalkFault {
                code: "bad_saved_state".into(),
                message: "the poll's cursor is not of a form that this version reads; start the poll afresh".into(),
                passing: false,
            })?,
        };
        let mut properties = api::wanted(&wanted.object, &wanted.fields);
        for (name, _) in &wanted.selection {
            if !properties.contains(name) {
                properties.push(name.clone());
            }
        }
        let mode = match (&position.within, &position.sweep) {
            (Some(within), _) => Mode::Window(within.clone()),
            (None, Some(sweep)) if !wanted.is_due(position.through) => Mode::Archived(sweep.clone()),
            (None, _) => Mode::Window(wanted.start(position.through)),
        };
        let mut talk = Self { api, wanted, properties, position, mode, restarted: false, seen: HashSet::new(), out: Outbox::default() };
        talk.ask(None);
        Ok(talk)
    }

    /// The window's upper bound.
    fn bound(&self) -> Millis {
        self.position.bound.unwrap_or(self.wanted.until)
    }

    /// Asks for the next page of the mode; `after` only where search answered a page without rows
    /// that has a next one.
    fn ask(&mut self, after: Option<&str>) {
        let modified = api::modified_property(&self.wanted.object);
        let bound = self.bound();
        let (filters, sort) = match &self.mode {
            Mode::Window(Within::From { at }) if *at > bound => return self.window_done(),
            Mode::Window(Within::From { at }) => {
                (vec![filter(modified, "GTE", &at.to_string()), filter(modified, "LTE", &bound.to_string())], modified)
            }
            Mode::Window(Within::Same { at, id }) => {
                let mut filters = vec![filter(modified, "EQ", &at.to_string())];
                filters.extend(id.as_deref().map(|id| filter("hs_object_id", "GT", id)));
                (filters, "hs_object_id")
            }
            Mode::Archived(sweep) => {
                let mut path = self.api.objects(&self.wanted.object, &format!("?limit={LIST_PAGE}&archived=true&properties=hs_object_id"));
                if let Some(after) = &sweep.after {
                    path.push_str("&after=");
                    path.push_str(&api::escape(after));
                }
                self.out.ask(Request::get(path), Effect::Read, GENERAL);
                return;
            }
        };
        let room = FILTERS - filters.len();
        let filters: Vec<Value> = filters.into_iter().chain(selected(&self.wanted.selection).take(room)).collect();
        let mut body = json!({
            "filterGroups": [{ "filters": filters }],
            "sorts": [{ "propertyName": sort, "direction": "ASCENDING" }],
            "properties": self.properties,
            "limit": PAGE,
        });
        if let Some(after) = after {
            body["after"] = after.into();
        }
        self.out.ask(Request::json(Method::Post, self.api.objects(&self.wanted.object, "/search"), &body), Effect::Read, SEARCH);
    }

    fn take(&mut self, body: &Value) -> Result<(), TalkFault> {
        let next = api::next_after(body);
        let results = api::list(body, "results");
        let within = match &self.mode {
            Mode::Window(within) => within,
            Mode::Archived(sweep) => {
                let sweep = sweep.clone();
                self.take_archived(results, &sweep, next);
                return Ok(());
            }
        };
        let rows: Vec<(&Value, Record)> =
            results.iter().filter_map(|r| Some((r, api::record(&self.wanted.object, r, &self.properties)?))).collect();
        if rows.len() != results.len() || rows.iter().any(|(_, row)| row.modified_at.is_none()) {
            return Err(unreadable());
        }
        let last = rows.last().map(|(_, row)| (row.modified_at.unwrap_or_default(), row.id.clone()));
        let then = match (within, next, last) {
            // A page without rows may still have a next one.
            (_, Some(after), None) => {
                if after.parse::<u64>().is_ok_and(|offset| offset > LAST_OFFSET) {
                    return Err(unreadable());
                }
                self.ask(Some(&after));
                return Ok(());
            }
            (Within::From { .. }, None, _) => Within::From { at: self.bound() + 1 },
            (Within::From { at }, Some(_), Some((time, _))) if time > *at => Within::From { at: time },
            // One time fills the page: read that time by id, from the start.
            (Within::From { at }, Some(_), Some(_)) => Within::Same { at: *at, id: None },
            (Within::Same { at, .. }, Some(_), Some((_, id))) => Within::Same { at: *at, id: Some(id) },
            (Within::Same { at, .. }, None, _) => Within::From { at: at + 1 },
        };
        self.hand_over(rows, then);
        self.ask(None);
        Ok(())
    }

    /// Hands over the rows that were not handed over before; `then` is where the next query begins.
    fn hand_over(&mut self, rows: Vec<(&Value, Record)>, then: Within) {
        let start = then.at();
        let mut page = Vec::with_capacity(rows.len());
        let mut seen = HashSet::new();
        for (value, row) in rows {
            let key = (row.id.clone(), row.version.clone());
            if row.modified_at == Some(start) {
                seen.insert(key.clone());
            }
            if self.seen.contains(&key) {
                continue;
            }
            for old in api::merged_ids(value) {
                let version = format!("merged:{}", row.id);
                page.push(api::ended(&self.wanted.object, &old, State::Merged(row.id.clone()), version));
            }
            page.push(self.trimmed(row));
        }
        self.seen = seen;
        self.mode = Mode::Window(then.clone());
        self.position.bound = Some(self.bound());
        self.position.within = Some(then);
        let cursor = self.cursor();
        self.out.push(Step::Page(page, cursor));
    }

    /// Only what was asked for, and what the selection looks at.
    fn trimmed(&self, mut row: Record) -> Record {
        let Wanted { fields, selection, .. } = &self.wanted;
        row.fields.retain(|name, _| fields.contains(name) || selection.iter().any(|(selected, _)| selected == name));
        row
    }

    fn take_archived(&mut self, results: &[Value], sweep: &Sweep, next: Option<String>) {
        let object = &self.wanted.object;
        let page: Vec<Record> = results
            .iter()
            .filter_map(|value| {
                let id = api::id_of(value)?;
                let when = value.get("archivedAt").or_else(|| value.get("updatedAt")).and_then(Value::as_str).unwrap_or_default();
                // Without a readable time it is better to report it once more than never.
                let time = api::millis(when);
                let fresh = time.is_none_or(|time| time >= sweep.since);
                let record = Record { modified_at: time, ..api::ended(object, &id, State::Deleted, format!("archived:{when}")) };
                fresh.then_some(record)
            })
            .collect();
        let sweep = Sweep { pages: sweep.pages + 1, after: next, ..sweep.clone() };
        let ended = sweep.after.is_none();
        if ended {
            self.position.swept = self.position.swept.max(sweep.began);
            self.position.sweep_due = self.wanted.until + (sweep.pages - 1) * SWEEP_PAGE_EVERY;
        }
        self.position.sweep = Some(sweep.clone()).filter(|_| !ended);
        let cursor = self.cursor();
        self.out.push(Step::Page(page, cursor));
        if ended {
            return self.finish();
        }
        self.mode = Mode::Archived(sweep);
        self.ask(None);
    }

    fn window_done(&mut self) {
        let bound = self.bound();
        self.position.through = self.position.through.max(bound);
        (self.position.within, self.position.bound) = (None, None);
        if self.wanted.is_due(bound) {
            // A window that was taken up again long after it was begun.
            self.seen.clear();
            self.mode = Mode::Window(self.wanted.start(self.position.through));
            return self.ask(None);
        }
        let sweep = self.position.sweep.clone().or_else(|| {
            let since = (self.position.swept - self.wanted.overlap).max(self.wanted.from);
            let due = self.wanted.until >= self.position.sweep_due;
            due.then_some(Sweep { since, began: self.wanted.until, pages: 0, after: None })
        });
        match sweep {
            Some(sweep) => {
                self.mode = Mode::Archived(sweep);
                self.ask(None);
            }
            None => self.finish(),
        }
    }

    fn finish(&mut self) {
        let cursor = self.cursor();
        self.out.push(Step::Done(Output::Cursor(cursor)));
    }

    fn cursor(&self) -> Cursor {
        Cursor(json!(self.position))
    }
}

impl Talk for Changes {
    fn step(&mut self) -> Step {
        self.out.next()
    }

    fn heard(&mut self, _: Tag, what: Heard<'_>) {
        let Err(fault) = api::answer("reading changes", what).and_then(|body| self.take(&body)) else { return };
        match &self.mode {
            // The place where a list of archived records was left is not known any more, it seems: it is read from its start, once.
            Mode::Archived(sweep) if sweep.after.is_some() && !fault.passing && !self.restarted => {
                self.restarted = true;
                self.mode = Mode::Archived(Sweep { after: None, pages: 0, ..sweep.clone() });
                self.ask(None);
            }
            _ => self.out.fail(fault),
        }
    }
}

fn filter(property: &str, operator: &str, value: &str) -> Value {
    json!({ "propertyName": property, "operator": operator, "value": value })
}

/// The selection as `IN` filters. Text properties want lower-case values there and enumerations
/// their exact ones: both are given, and the daemon checks each record again anyway.
fn selected(selection: &Selection) -> impl Iterator<Item = Value> + '_ {
    selection.iter().filter(|(_, values)| (1..=IN_VALUES).contains(&(values.len() * 2))).map(|(name, values)| {
        let mut both: Vec<String> = values.iter().flat_map(|value| [value.clone(), value.to_lowercase()]).collect();
        both.sort_unstable();
        both.dedup();
        json!({ "propertyName": name, "operator": "IN", "values": both })
    })
}

fn unreadable() -> TalkFault {
    TalkFault {
        code: "unexpected_answer".into(),
        message: "reading changes: HubSpot answered rows or pages in a form that is not documented".into(),
        passing: true,
    }
}
