//! Polling without gaps: a window over SystemModstamp, read in the order (SystemModstamp, Id).

use serde::{Deserialize, Serialize};

use super::{
    desk::Desk,
    soql,
    wire::{self, Api, own_columns},
};
use crate::sdk::{Cursor, Heard, Millis, Output, Record, Request, Selection, Step, Tag, Talk, TalkFault};

/// How often one poll begins anew from its last row before it gives up.
const RESTARTS: u32 = 5;

/// Where a poll stands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Place {
    /// Shape of this value.
    v: u8,
    /// The upper bound of the window that was being read, or was read to its end.
    to: Millis,
    /// The last row handed over, while the window was not read to its end.
    #[serde(skip_serializing_if = "Option::is_none")]
    at: Option<Row>,
}

/// A row's place in the order.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Row {
    stamp: Millis,
    id: String,
}

impl Place {
    fn cursor(&self) -> Cursor {
        // Numbers and texts always serialise.
        Cursor(serde_json::to_value(self).unwrap_or_default())
    }
}

/// Where a query begins.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Start {
    /// At this moment.
    From(Millis),
    /// Behind this row.
    After(Row),
}

impl Start {
    /// Rows can commit after their stamp was given, by up to `overlap`. The end of a window that was read to its end is
    /// therefore read again with the next one; the daemon knows those rows by their versions. A window that was not is gone on with
    /// behind its last row: what commits late in there has a stamp of its end.
    fn new(cursor: Option<&Place>, from: Millis, overlap: Millis) -> Self {
        match cursor {
            None => Self::From(from),
            Some(Place { at: Some(row), .. }) => Self::After(row.clone()),
            Some(Place { to, at: None, .. }) => Self::From(to.saturating_sub(overlap).max(from)),
        }
    }

    fn condition(&self) -> String {
        match self {
            Self::From(ms) => format!("SystemModstamp >= {}", soql::datetime(*ms)),
            Self::After(Row { stamp, id }) => {
                let (stamp, id) = (soql::datetime(*stamp), soql::literal(id));
                format!("((SystemModstamp = {stamp} AND Id > {id}) OR SystemModstamp > {stamp})")
            }
        }
    }
}

/// What a poll is for.
pub struct Window<'a> {
    pub object: &'a str,
    pub cursor: Option<&'a Cursor>,
    pub from: Millis,
    pub until: Millis,
    pub fields: &'a [String],
    pub selection: &'a Selection,
    pub overlap: Millis,
}

/// One poll.
pub struct Changes {
    api: Api,
    object: String,
    fields: Vec<String>,
    /// `SELECT ... FROM ... WHERE` and the selection; the window's bounds follow.
    head: String,
    from: Millis,
    until: Millis,
    overlap: Millis,
    /// The window's upper bound.
    to: Millis,
    last: Option<Row>,
    restarts: u32,
    desk: Desk<()>,
}

impl Changes {
    pub fn open(api: Api, window: &Window<'_>) -> Result<Self, TalkFault> {
        let place = match window.cursor {
            None => None,
            Some(Cursor(value)) => match serde_json::from_value::<Place>(value.clone()) {
                Ok(place) if place.v == 1 => Some(place),
                _ => {
                    return Err(TalkFault {
                        code: "bad_saved_state".into(),
                        message: "the stored place of this poll is of another version".into(),
                        passing: false,
                    });
                }
            },
        };
        let start = Start::new(place.as_ref(), window.from, window.overlap);
        let columns = soql::columns(own_columns(window.object).iter().copied().chain(window.fields.iter().map(String::as_str)))?;
        let mut head = format!("SELECT {columns} FROM {} WHERE ", soql::name(window.object)?);
        for (field, values) in window.selection {
            head.push_str(&soql::one_of(field, values)?);
            head.push_str(" AND ");
        }
        let mut talk = Self {
            api,
            object: window.object.to_owned(),
            fields: window.fields.to_vec(),
            head,
            from: window.from,
            until: window.until,
            overlap: window.overlap,
            to: match &place {
                // Were it moved, the rows of its end would be read again, or those that commit late there never.
                Some(Place { to, at: Some(_), .. }) => *to,
                // Never behind what was already read: an upper bound may step back with a clock.
                Some(Place { to, at: None, .. }) => window.until.max(*to),
                None => window.until,
            },
            last: None,
            restarts: 0,
            desk: Desk::new(),
        };
        if window.selection.iter().any(|(_, values)| values.is_empty()) {
            talk.to = talk.to.max(talk.until);
            talk.end();
        } else {
            talk.ask(&start);
        }
        Ok(talk)
    }

    fn ask(&mut self, start: &Start) {
        let until = soql::datetime(self.to);
        let soql = format!("{}{} AND SystemModstamp <= {until} ORDER BY SystemModstamp, Id", self.head, start.condition());
        self.desk.read(self.api.query(&soql, true), ());
    }

    fn end(&mut self) {
        if self.until > self.to + self.overlap {
            // A window that was taken up again long after it was begun: the next one is not put off until another poll.
            let done = Place { v: 1, to: self.to, at: None };
            self.desk.say(Step::Page(Vec::new(), done.cursor()));
            (self.to, self.last) = (self.until, None);
            return self.ask(&Start::new(Some(&done), self.from, self.overlap));
        }
        self.desk.say(Step::Done(Output::Cursor(Place { v: 1, to: self.to, at: None }.cursor())));
    }

    fn read(&mut self, page: wire::Page) -> Option<()> {
        let records = page.rows.iter().map(|row| wire::record(&self.object, row, &self.fields, page.answered));
        let records: Vec<Record> = records.collect::<Option<_>>()?;
        if let Some(last) = records.last() {
            // A row that has changed since it was found bears a stamp from behind the window: going on from there would skip the rest.
            let found = records.iter().rev().find(|record| record.modified_at.is_some_and(|stamp| stamp <= self.to)).unwrap_or(last);
            let row = Row { stamp: found.modified_at?, id: found.id.clone() };
            self.last = Some(row.clone());
            let cursor = Place { v: 1, to: self.to, at: Some(row) }.cursor();
            self.desk.say(Step::Page(records, cursor));
        }
        match page.next {
            Some(path) => self.desk.read(wire::signed(Request::get(path)), ()),
            None => self.end(),
        }
        Some(())
    }
}

impl Talk for Changes {
    fn step(&mut self) -> Step {
        self.desk.step()
    }

    fn heard(&mut self, tag: Tag, what: Heard<'_>) {
        const WHAT: &str = "reading changes";
        if self.desk.heard(tag).is_none() {
            return;
        }
        let Heard::Answer(response) = what else { return self.desk.fail(wire::no_answer(WHAT)) };
        match wire::page(WHAT, response) {
            Ok(page) => {
                if self.read(page).is_none() {
                    self.desk.fail(TalkFault::unexpected(WHAT, response));
                }
            }
            // The vendor forgot where its pages were: go on behind the last row handed over.
            Err(fault) if fault.code == "INVALID_QUERY_LOCATOR" && self.restarts < RESTARTS && self.last.is_some() => {
                self.restarts += 1;
                if let Some(row) = self.last.clone() {
                    self.ask(&Start::After(row));
                }
            }
            Err(fault) => self.desk.fail(fault),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(to: Millis, at: Option<(Millis, &str)>) -> Place {
        Place { v: 1, to, at: at.map(|(stamp, id)| Row { stamp, id: id.into() }) }
    }

    // Breaks when a window's end is not read again with the next one: rows could still commit there.
    #[test]
    fn the_end_of_a_window_is_read_again() {
        assert_eq!(Start::new(None, 5_000, 600), Start::From(5_000));
        assert_eq!(Start::new(Some(&place(100_000, None)), 0, 600), Start::From(99_400));
        assert_eq!(Start::new(Some(&place(5_100, None)), 5_000, 600), Start::From(5_000));
    }

    // Breaks when a poll that rests after each page reads a mass update's page for ever, or goes on to another window, which would not
    // begin before what can still commit in this one.
    #[test]
    fn a_poll_that_was_cut_short_goes_on_in_its_window() {
        for stamp in [50_000, 99_500] {
            let cursor = place(100_000, Some((stamp, "a"))).cursor();
            let (fields, selection) = (Vec::new(), Selection::new());
            let window = Window {
                object: "Lead",
                cursor: Some(&cursor),
                from: 0,
                until: 700_000,
                fields: &fields,
                selection: &selection,
                overlap: 600,
            };
            let mut talk = Changes::open(Api::new("66.0"), &window).unwrap();
            let Step::Ask(ask) = talk.step() else { panic!("it asks") };
            let asked = format!("{ask:?}").replace("%3A", ":");
            assert!(asked.contains(&soql::datetime(stamp)) && asked.contains(&soql::datetime(100_000)), "{asked}");
            assert!(!asked.contains(&soql::datetime(700_000)), "{asked}");
        }
    }
}
