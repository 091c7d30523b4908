//! Polling: what was touched in a window, by ascending id, then what vanished since its start.
//!
//! A window is fixed when it is begun, and paged by id. A record that is touched again meanwhile
//! falls into the next window, so equal timestamps and records that move cannot be missed.
//!
//! Deleted opportunities leave no row, but Tryton keeps the model's history: the same search in the
//! context `_datetime` sees the records of that moment. Counting both ways finds whether any
//! vanished, halving the range of ids finds which.

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::fields;
use super::script::{Out, Script};
use super::wire::{OPPORTUNITY, Rest, datetime, id_of, in_context, number, rows};
use crate::sdk::{Cursor, Effect, Heard, Millis, Output, Record, Selection, Step, TalkFault};

/// Records in one page.
const PAGE: usize = 500;
/// Ranges with at most this many records are listed and compared, larger ones are halved.
const LIST: i64 = 200;

/// Where a poll stands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "at", rename_all = "snake_case")]
pub enum Place {
    /// Everything up to this moment was handed over.
    Done {
        /// The moment.
        until: Millis,
    },
    /// In a window, after this id.
    Window {
        /// Its start.
        from: Millis,
        /// Its end.
        until: Millis,
        /// The last id handed over.
        after: i64,
        /// Where the window before ended; none before the very first.
        since: Option<Millis>,
    },
    /// The window's pages are done; what vanished is still to be found.
    Gone {
        /// Moments whose records are compared with those of now.
        moments: Vec<Millis>,
        /// The window's end.
        until: Millis,
        /// What is to be compared at the last of these moments, the next range last; none before its end is known.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        ranges: Option<Vec<Range>>,
    },
}

impl Place {
    fn cursor(&self) -> Cursor {
        // A tree of numbers and short texts always serialises.
        Cursor(serde_json::to_value(self).unwrap_or(Value::Null))
    }
}

/// A range of ids, and what is known of it: how many records it had then and has now, and which it had then.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Range {
    low: i64,
    high: i64,
    #[serde(skip_serializing_if = "Option::is_none")]
    then: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    now: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    ids: Option<Vec<i64>>,
}

/// What an ask was for.
pub enum Want {
    /// A page of the window.
    Page,
    /// The highest id at the moment compared with.
    Highest,
    /// A count; `true` = at that moment.
    Count(bool),
    /// A list of ids; `true` = at that moment.
    Ids(bool),
}

/// One poll.
pub struct Changes {
    rest: Rest,
    object: String,
    place: Place,
    target: Millis,
    /// Whether it goes on in a window that an earlier poll began.
    resumed: bool,
    fields: Vec<String>,
    selection: Selection,
    first: Millis,
    overlap: Millis,
}

impl Changes {
    /// A poll up to `until`, from the cursor or else from `from`.
    ///
    /// # Errors
    /// `bad_saved_state` when the cursor is not one of ours.
    #[expect(clippy::too_many_arguments, reason = "the operation's own parts, once")]
    pub fn new(
        rest: Rest,
        object: &str,
        cursor: Option<&Cursor>,
        from: Millis,
        until: Millis,
        fields: &[String],
        selection: &Selection,
        overlap: Millis,
    ) -> Result<Self, TalkFault> {
        let place = match cursor {
            None => Place::Window { from, until, after: 0, since: None },
            Some(Cursor(value)) => serde_json::from_value(value.clone()).map_err(|_| TalkFault {
                code: "bad_saved_state".into(),
                message: "the cursor is not one of this connector's".into(),
                passing: false,
            })?,
        };
        Ok(Self {
            rest,
            object: object.to_owned(),
            resumed: cursor.is_some() && !matches!(place, Place::Done { .. }),
            place,
            target: until,
            fields: fields.to_vec(),
            selection: selection.clone(),
            first: from,
            overlap,
        })
    }

    fn proceed(&mut self, out: &mut Out<Want>) {
        match &self.place {
            // After a window that was begun a moment ago the next one is another poll's: it would read most of that again.
            Place::Done { until } if *until >= self.target || self.resumed && self.target - until < self.overlap => {
                out.done(Output::Cursor(self.place.cursor()));
            }
            Place::Done { until } => {
                let since = *until;
                let from = (since - self.overlap).max(self.first);
                self.place = Place::Window { from, until: self.target, after: 0, since: Some(since) };
                self.proceed(out);
            }
            Place::Window { from, until, after, .. } => {
                let mut domain = vec![json!(["id", ">", after]), fields::touched_between(*from, *until)];
                domain.extend(fields::selected(&self.selection));
                let request = self.rest.search(OPPORTUNITY, &Value::Array(domain), &fields::paths(&self.fields), PAGE);
                out.ask(Want::Page, request, Effect::Read);
            }
            Place::Gone { moments, until, ranges } => match (moments.last(), ranges.as_deref()) {
                (None, _) => {
                    self.place = Place::Done { until: *until };
                    self.proceed(out);
                }
                (Some(then), None) => {
                    let arguments = json!({"domain": [existed(*then)], "limit": 1, "order": [["id", "DESC"]], "fields_names": ["id"]});
                    let highest = self.rest.call(OPPORTUNITY, "search_read", &arguments);
                    out.ask(Want::Highest, in_context(highest, &as_of(*then)), Effect::Read);
                }
                (Some(then), Some([.., range])) => self.compare(range, *then, out),
                (Some(_), Some([])) => {
                    let rest = moments[..moments.len() - 1].to_vec();
                    self.place = Place::Gone { moments: rest, until: *until, ranges: None };
                    self.proceed(out);
                }
            },
        }
    }

    fn page(&mut self, rows: &[Value]) -> Vec<Record> {
        let Place::Window { from, until, after, since } = self.place else { return Vec::new() };
        let last = rows.iter().filter_map(id_of).max().unwrap_or(after);
        self.place = match since {
            _ if rows.len() >= PAGE => Place::Window { from, until, after: last, since },
            // At the last poll's end, so that nothing is missed that lived shortly; and an overlap
            // earlier, for a deletion that was begun before and committed after that poll.
            Some(since) => Place::Gone { moments: if from < since { vec![from, since] } else { vec![since] }, until, ranges: None },
            None => Place::Done { until },
        };
        rows.iter().filter_map(|row| fields::record(&self.object, row, &self.fields)).collect()
    }

    /// Asks what is next needed about a range.
    fn compare(&self, range: &Range, then: Millis, out: &mut Out<Want>) {
        let domain = json!([["id", ">=", range.low], ["id", "<=", range.high], existed(then)]);
        let (want, request) = if range.then.is_none() || range.now.is_none() {
            let count = self.rest.call(OPPORTUNITY, "search_count", &json!({"domain": domain}));
            (Want::Count(range.then.is_none()), count)
        } else {
            (Want::Ids(range.ids.is_none()), self.rest.search(OPPORTUNITY, &domain, &["id".to_owned()], 0))
        };
        let request = if matches!(want, Want::Count(true) | Want::Ids(true)) { in_context(request, &as_of(then)) } else { request };
        out.ask(want, request, Effect::Read);
    }

    /// The ranges that are compared at this moment.
    fn ranges(&mut self) -> Option<&mut Vec<Range>> {
        if let Place::Gone { ranges, .. } = &mut self.place { Some(ranges.get_or_insert_default()) } else { None }
    }

    fn highest(&mut self, rows: &[Value]) {
        if let Some(ranges) = self.ranges() {
            ranges.extend(rows.iter().filter_map(id_of).map(|highest| Range::of(1, highest)));
        }
    }

    fn counted(&mut self, then: bool, count: i64) {
        let Some(ranges) = self.ranges() else { return };
        let Some(mut range) = ranges.pop() else { return };
        *(if then { &mut range.then } else { &mut range.now }) = Some(count);
        if range.now.is_none() || range.then > range.now && (range.then <= Some(LIST) || range.low == range.high) {
            ranges.push(range);
        } else if range.then > range.now {
            let middle = range.low + (range.high - range.low) / 2;
            ranges.extend([Range::of(middle + 1, range.high), Range::of(range.low, middle)]);
        }
    }

    /// Answers which are gone.
    fn listed(&mut self, then: bool, ids: Vec<i64>) -> Vec<Record> {
        let Some(ranges) = self.ranges() else { return Vec::new() };
        let Some(range) = ranges.pop() else { return Vec::new() };
        if then {
            ranges.push(Range { ids: Some(ids), ..range });
            return Vec::new();
        }
        let gone = range.ids.unwrap_or_default().into_iter().filter(|id| !ids.contains(id));
        gone.map(|id| fields::gone(&self.object, &id.to_string())).collect()
    }
}

impl Range {
    fn of(low: i64, high: i64) -> Self {
        Self { low, high, then: None, now: None, ids: None }
    }
}

/// Records that were there at this moment; later ones cannot have vanished since.
fn existed(then: Millis) -> Value {
    json!(["create_date", "<=", datetime(then)])
}

/// The context in which Tryton reads its history.
fn as_of(then: Millis) -> Value {
    json!({"_datetime": datetime(then)})
}

impl Script for Changes {
    type Want = Want;

    fn start(&mut self, out: &mut Out<Want>) {
        self.proceed(out);
    }

    fn heard(&mut self, want: Want, what: Heard<'_>, out: &mut Out<Want>) {
        let ids = |rows: Vec<Value>| rows.iter().filter_map(id_of).collect::<Vec<_>>();
        let found = match want {
            Want::Page => rows("polling leads", what).map(|rows| self.page(&rows)),
            Want::Highest => rows("looking for deleted leads", what).map(|rows| {
                self.highest(&rows);
                Vec::new()
            }),
            Want::Count(then) => number("counting leads", what).map(|count| {
                self.counted(then, count);
                Vec::new()
            }),
            Want::Ids(then) => rows("listing leads", what).map(|rows| self.listed(then, ids(rows))),
        };
        match found {
            // Where nothing was found, how far the poll has come is told all the same.
            Ok(records) => {
                out.push(Step::Page(records, self.place.cursor()));
                self.proceed(out);
            }
            Err(fault) => out.fail(fault),
        }
    }
}
