//! Rows, the indexes over them, and when a commit becomes visible.
//!
//! Reads see `rows`; writes work on the latest version of a row, which a long transaction may still
//! hide from reads. Indexes serve reads, except `unique`, which guards writes.

use std::{
    collections::{BTreeMap, BTreeSet, btree_map},
    sync::Arc,
};

use serde_json::Value;

use super::{
    objects::{LEAD_STATUSES, STAGES, objects},
    schema::{Field, Object},
};
use crate::sdk::{Fields, Millis};

/// A row.
#[derive(Debug, Clone)]
pub struct Row {
    pub id: String,
    /// Values that are not null, by the field's name; the audit fields are below.
    pub fields: Fields,
    pub created: Millis,
    pub created_by: String,
    pub modified: Millis,
    pub modified_by: String,
    pub deleted: bool,
    pub master: Option<String>,
    /// Counts the row's commits.
    pub version: u64,
}

impl Row {
    /// The second of the last modification: all that anybody outside sees of it.
    pub fn stamp(&self) -> i64 {
        self.modified.div_euclid(1000)
    }

    /// A text value, or none.
    pub fn text(&self, field: &str) -> Option<&str> {
        self.fields.get(field)?.as_str()
    }

    /// Whether a checkbox is ticked.
    pub fn ticked(&self, field: &str) -> bool {
        self.fields.get(field) == Some(&Value::Bool(true))
    }
}

/// The rows of one object.
#[derive(Debug, Clone)]
pub struct Table {
    pub object: Arc<Object>,
    rows: BTreeMap<String, Row>,
    by_stamp: BTreeSet<(i64, String)>,
    by_value: BTreeMap<String, BTreeMap<String, BTreeSet<String>>>,
    /// Committed, and not yet visible.
    fresh: BTreeMap<String, Row>,
    unique: BTreeMap<String, BTreeMap<String, String>>,
}

fn key_of(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.to_lowercase()),
        Value::Number(number) => Some(number.to_string()),
        _ => None,
    }
}

impl Table {
    fn new(object: Object) -> Self {
        Self {
            object: Arc::new(object),
            rows: BTreeMap::new(),
            by_stamp: BTreeSet::new(),
            by_value: BTreeMap::new(),
            fresh: BTreeMap::new(),
            unique: BTreeMap::new(),
        }
    }

    /// The object, to be changed.
    pub fn object_mut(&mut self) -> &mut Object {
        Arc::make_mut(&mut self.object)
    }

    /// The row as reads see it.
    pub fn seen(&self, id: &str) -> Option<&Row> {
        self.rows.get(id)
    }

    /// The row as the last commit left it.
    pub fn latest(&self, id: &str) -> Option<&Row> {
        self.fresh.get(id).or_else(|| self.rows.get(id))
    }

    /// All rows that reads see, by id.
    pub fn all(&self) -> btree_map::Values<'_, String, Row> {
        self.rows.values()
    }

    /// All rows as the last commit left them.
    pub fn all_latest(&self) -> impl Iterator<Item = &Row> {
        let hidden = self.fresh.values().filter(|row| !self.rows.contains_key(&row.id));
        self.rows.values().map(|row| self.fresh.get(&row.id).unwrap_or(row)).chain(hidden)
    }

    /// Ids of rows last modified in these seconds, both included, by second and id.
    pub fn between(&self, from: i64, to: i64) -> impl Iterator<Item = &String> {
        let range = (from <= to).then(|| self.by_stamp.range((from, String::new())..=(to, "~".to_owned())));
        range.into_iter().flatten().map(|(_, id)| id)
    }

    /// Ids of rows whose indexed field holds this value (a text in any case).
    pub fn with_value(&self, field: &str, value: &str) -> impl Iterator<Item = &String> {
        self.by_value.get(field).and_then(|values| values.get(&value.to_lowercase())).into_iter().flatten()
    }

    /// The live row that holds this value of a unique field, hidden or not.
    pub fn holder(&self, field: &str, value: &str) -> Option<&Row> {
        self.latest(self.unique.get(field)?.get(&value.to_lowercase())?)
    }

    fn guard(&mut self, row: &Row) {
        let old = self.fresh.get(&row.id).or_else(|| self.rows.get(&row.id));
        for field in self.object.fields.iter().filter(|f| f.unique) {
            let holders = self.unique.entry(field.name.clone()).or_default();
            if let Some(value) = old.and_then(|old| old.fields.get(&field.name)).and_then(key_of)
                && holders.get(&value) == Some(&row.id)
            {
                holders.remove(&value);
            }
            if let Some(value) = row.fields.get(&field.name).and_then(key_of).filter(|_| !row.deleted) {
                holders.insert(value, row.id.clone());
            }
        }
    }

    fn show(&mut self, row: Row) {
        if self.fresh.get(&row.id).is_some_and(|fresh| fresh.version <= row.version) {
            self.fresh.remove(&row.id);
        }
        let old = self.rows.get(&row.id);
        if old.is_some_and(|old| old.version >= row.version) {
            return;
        }
        if let Some(old) = old {
            self.by_stamp.remove(&(old.stamp(), old.id.clone()));
        }
        self.by_stamp.insert((row.stamp(), row.id.clone()));
        for field in self.object.fields.iter().filter(|f| f.indexed()) {
            let (was, is) = (old.and_then(|old| old.fields.get(&field.name)), row.fields.get(&field.name));
            if was == is {
                continue;
            }
            let values = self.by_value.entry(field.name.clone()).or_default();
            if let Some(value) = was.and_then(key_of)
                && let Some(ids) = values.get_mut(&value)
            {
                ids.remove(&row.id);
                if ids.is_empty() {
                    values.remove(&value);
                }
            }
            if let Some(value) = is.and_then(key_of) {
                values.entry(value).or_default().insert(row.id.clone());
            }
        }
        self.rows.insert(row.id.clone(), row);
    }

    /// Adds a field, or changes the one of this name, and builds the indexes anew.
    pub fn add_field(&mut self, field: Field) {
        let object = self.object_mut();
        match object.field_mut(&field.name) {
            Some(there) => *there = field,
            None => object.add(field),
        }
        let rows = std::mem::take(&mut self.rows);
        self.by_stamp.clear();
        self.by_value.clear();
        self.unique.clear();
        for row in rows.into_values() {
            self.guard(&row);
            self.show(row);
        }
        for row in self.fresh.clone().into_values() {
            self.guard(&row);
        }
    }
}

/// What became visible: for outbound messages.
#[derive(Debug, Clone)]
pub struct Shown {
    pub object: &'static str,
    pub id: String,
}

/// The organisation's data.
#[derive(Debug, Clone)]
pub struct Store {
    tables: Vec<Table>,
    /// Commits that reads do not see yet, by the moment at which they will.
    hidden: BTreeMap<(Millis, u64), (&'static str, Row)>,
    /// How long commits stay hidden.
    pub commit_lag: Millis,
    /// What became visible since it was last taken.
    pub shown: Vec<Shown>,
    last_id: u64,
    commits: u64,
    /// Records that API clients created.
    pub created_by_api: u64,
    pub organisation: String,
    /// The user that API clients act as.
    pub api_user: String,
    /// The user that acts in the pages.
    pub person: String,
}

impl Store {
    /// A new organisation; the seed makes its ids differ from another's.
    pub fn new(seed: u64) -> Self {
        let mut store = Self {
            tables: objects().into_iter().map(Table::new).collect(),
            hidden: BTreeMap::new(),
            commit_lag: 0,
            shown: Vec::new(),
            // Room for 62^4 ids below each seed.
            last_id: (seed % 60_000) * 14_776_336,
            commits: 0,
            created_by_api: 0,
            organisation: String::new(),
            api_user: String::new(),
            person: String::new(),
        };
        store.organisation = store.new_id("00D");
        store.api_user = store.new_id("005");
        store.person = store.new_id("005");
        for (id, name) in [(store.api_user.clone(), "Integration User"), (store.person.clone(), "Sam Seller")] {
            let login = format!("{}@example.com", name.to_lowercase().replace(' ', "."));
            let values =
                [("Name", name.into()), ("Username", login.as_str().into()), ("Email", login.as_str().into()), ("IsActive", true.into())];
            store.insert_fixed("User", id, values.map(|(k, v)| (k.to_owned(), v)).into());
        }
        for (order, (name, converted)) in (1..).zip(LEAD_STATUSES) {
            let id = store.new_id("01J");
            let values: [(&str, Value); 5] = [
                ("MasterLabel", (*name).into()),
                ("ApiName", (*name).into()),
                ("SortOrder", order.into()),
                ("IsDefault", (order == 1).into()),
                ("IsConverted", (*converted).into()),
            ];
            store.insert_fixed("LeadStatus", id, values.map(|(k, v)| (k.to_owned(), v)).into());
        }
        for (order, (name, closed, won, probability)) in (1..).zip(STAGES) {
            let id = store.new_id("01K");
            let values: [(&str, Value); 7] = [
                ("MasterLabel", (*name).into()),
                ("ApiName", (*name).into()),
                ("SortOrder", order.into()),
                ("IsActive", true.into()),
                ("IsClosed", (*closed).into()),
                ("IsWon", (*won).into()),
                ("DefaultProbability", (*probability).into()),
            ];
            store.insert_fixed("OpportunityStage", id, values.map(|(k, v)| (k.to_owned(), v)).into());
        }
        store
    }

    fn insert_fixed(&mut self, object: &'static str, id: String, fields: Fields) {
        let by = self.person.clone();
        let row =
            Row { id, fields, created: 0, created_by: by.clone(), modified: 0, modified_by: by, deleted: false, master: None, version: 0 };
        self.commit(object, row, 0);
        self.shown.clear();
    }

    /// A new id, larger than every one before.
    pub fn new_id(&mut self, prefix: &str) -> String {
        self.last_id += 1;
        let mut number = self.last_id;
        let mut digits = [b'0'; 10];
        for digit in digits.iter_mut().rev() {
            *digit = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"[(number % 62) as usize];
            number /= 62;
        }
        let bare: String = prefix.chars().chain("5g".chars()).chain(digits.iter().map(|d| char::from(*d))).collect();
        with_suffix(&bare)
    }

    /// The table of this object, its name in any case.
    pub fn table(&self, object: &str) -> Option<&Table> {
        self.tables.iter().find(|table| table.object.name.eq_ignore_ascii_case(object))
    }

    /// The same, to be changed.
    pub fn table_mut(&mut self, object: &str) -> Option<&mut Table> {
        self.tables.iter_mut().find(|table| table.object.name.eq_ignore_ascii_case(object))
    }

    /// All tables.
    pub fn tables(&self) -> &[Table] {
        &self.tables
    }

    /// The table whose ids begin like this one.
    pub fn table_of_id(&self, id: &str) -> Option<&Table> {
        self.tables.iter().find(|table| id.starts_with(table.object.prefix))
    }

    /// Stores a row as the last committed version; reads see it when the lag has passed.
    pub fn commit(&mut self, object: &'static str, mut row: Row, now: Millis) {
        self.commits += 1;
        row.version = self.commits;
        let lag = self.commit_lag;
        let hide = (now + lag, self.commits);
        let Some(table) = self.table_mut(object) else { return };
        table.guard(&row);
        if lag > 0 {
            table.fresh.insert(row.id.clone(), row.clone());
            self.hidden.insert(hide, (object, row));
        } else {
            let id = row.id.clone();
            table.show(row);
            self.shown.push(Shown { object, id });
        }
    }

    /// Makes visible what is due.
    pub fn settle(&mut self, now: Millis) {
        while let Some(entry) = self.hidden.first_entry() {
            if entry.key().0 > now {
                break;
            }
            let (object, row) = entry.remove();
            let id = row.id.clone();
            if let Some(table) = self.table_mut(object) {
                table.show(row);
            }
            self.shown.push(Shown { object, id });
        }
    }
}

/// The 18-character form of a 15-character id.
pub fn with_suffix(bare: &str) -> String {
    let mut id = bare.to_owned();
    for group in 0..3 {
        let mut bits = 0_u8;
        for place in 0..5 {
            let upper = bare.as_bytes().get(group * 5 + place).is_some_and(u8::is_ascii_uppercase);
            bits |= u8::from(upper) << place;
        }
        id.push(char::from(if bits < 26 { b'A' + bits } else { b'0' + bits - 26 }));
    }
    id
}

/// An id in its 18-character form; `None` when it is not an id.
pub fn full_id(text: &str) -> Option<String> {
    if !text.bytes().all(|b| b.is_ascii_alphanumeric()) {
        return None;
    }
    match text.len() {
        15 => Some(with_suffix(text)),
        18 => Some(with_suffix(text.get(..15)?)),
        _ => None,
    }
}
