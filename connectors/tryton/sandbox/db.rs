//! The simulator's database: models and their fields, rows, transactions, history.
//!
//! Written from trytond 8.2.1 and its modules party and sale_opportunity 8.2.0, as they answered.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::Arc;

use jiff::{Timestamp, tz::TimeZone};
use serde_json::{Value, json};

/// A row in the form that goes over the wire.
pub type Row = BTreeMap<String, Value>;

/// What a field holds.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Kind {
    /// A line of text, stripped.
    Char,
    /// A line of text as it is.
    Name,
    /// Text as it is.
    Text,
    /// A decimal.
    Numeric,
    /// A float.
    Float,
    /// An integer.
    Integer,
    /// A truth value, which Tryton on SQLite answers as 0 or 1.
    Boolean,
    /// A day.
    Date,
    /// A moment.
    Timestamp,
    /// One of these.
    Selection(&'static [&'static str]),
    /// The id of another record.
    One(&'static str),
    /// The records of this model that name ours in this field.
    Many(&'static str, &'static str),
    /// The value of the first contact mechanism of this type.
    Mechanism,
}

/// A field of a model.
#[derive(Debug, Clone)]
pub struct Field {
    /// Its name.
    pub name: Cow<'static, str>,
    /// Its label.
    pub label: Cow<'static, str>,
    /// What it holds.
    pub kind: Kind,
    /// Whether it must be filled.
    pub required: bool,
    /// Whether clients may not write it.
    pub readonly: bool,
}

const fn field(name: &'static str, label: &'static str, kind: Kind, required: bool, readonly: bool) -> Field {
    Field { name: Cow::Borrowed(name), label: Cow::Borrowed(label), kind, required, readonly }
}
const fn f(name: &'static str, label: &'static str, kind: Kind) -> Field {
    field(name, label, kind, false, false)
}
const fn req(name: &'static str, label: &'static str, kind: Kind) -> Field {
    field(name, label, kind, true, false)
}
const fn ro(name: &'static str, label: &'static str, kind: Kind) -> Field {
    field(name, label, kind, false, true)
}
/// Required, and filled by Tryton alone.
const fn own(name: &'static str, label: &'static str, kind: Kind) -> Field {
    field(name, label, kind, true, true)
}

/// States of an opportunity.
pub const STATES: &[&str] = &["lead", "opportunity", "converted", "won", "lost", "cancelled"];
const TYPES: &[&str] = &["phone", "mobile", "fax", "email", "website", "skype", "sip", "irc", "jabber", "other"];
const SALE_STATES: &[&str] = &["draft", "quotation", "confirmed", "processing", "cancelled", "done"];

/// The opportunity.
pub const OPPORTUNITY: &str = "sale.opportunity";
/// The party.
pub const PARTY: &str = "party.party";
/// The contact mechanism.
pub const MECHANISM: &str = "party.contact_mechanism";
/// The address.
pub const ADDRESS: &str = "party.address";
/// The country.
pub const COUNTRY: &str = "country.country";
/// The sale.
pub const SALE: &str = "sale.sale";

const COMMON: &[Field] = &[
    ro("id", "ID", Kind::Integer),
    ro("create_date", "Created at", Kind::Timestamp),
    ro("write_date", "Edited at", Kind::Timestamp),
    ro("last_modified_at", "Last Modified at", Kind::Timestamp),
    ro("rec_name", "Record Name", Kind::Char),
];

/// Name, label and fields of each model.
const MODELS: &[(&str, &str, &[Field])] = &[
    (
        OPPORTUNITY,
        "Sale Opportunity",
        &[
            own("number", "Number", Kind::Char),
            f("reference", "Reference", Kind::Char),
            f("party", "Party", Kind::One(PARTY)),
            f("contact", "Contact", Kind::One(MECHANISM)),
            f("address", "Address", Kind::One(ADDRESS)),
            req("company", "Company", Kind::One("company.company")),
            req("currency", "Currency", Kind::One("currency.currency")),
            f("amount", "Amount", Kind::Numeric),
            f("employee", "Employee", Kind::One("company.employee")),
            req("start_date", "Start Date", Kind::Date),
            f("end_date", "End Date", Kind::Date),
            f("description", "Description", Kind::Char),
            f("comment", "Comment", Kind::Text),
            req("conversion_probability", "Conversion Probability", Kind::Float),
            f("lost_reason", "Reason for loss", Kind::Text),
            f("sales", "Sales", Kind::Many(SALE, "origin")),
            f("converted_by", "Converted By", Kind::One("company.employee")),
            own("state", "State", Kind::Selection(STATES)),
        ],
    ),
    (
        PARTY,
        "Party",
        &[
            f("name", "Name", Kind::Name),
            req("code", "Code", Kind::Char),
            f("active", "Active", Kind::Boolean),
            ro("replaced_by", "Replaced By", Kind::One(PARTY)),
            ro("full_name", "Full Name", Kind::Name),
            f("addresses", "Addresses", Kind::Many(ADDRESS, "party")),
            f("contact_mechanisms", "Contact Mechanisms", Kind::Many(MECHANISM, "party")),
            f("phone", "Phone", Kind::Mechanism),
            f("mobile", "Mobile", Kind::Mechanism),
            f("fax", "Fax", Kind::Mechanism),
            f("email", "Email", Kind::Mechanism),
            f("website", "Website", Kind::Mechanism),
        ],
    ),
    (
        MECHANISM,
        "Party Contact Mechanism",
        &[
            req("type", "Type", Kind::Selection(TYPES)),
            req("value", "Value", Kind::Char),
            ro("value_compact", "Value Compact", Kind::Char),
            f("name", "Name", Kind::Char),
            f("comment", "Comment", Kind::Text),
            req("party", "Party", Kind::One(PARTY)),
            f("active", "Active", Kind::Boolean),
        ],
    ),
    (
        ADDRESS,
        "Party Address",
        &[
            req("party", "Party", Kind::One(PARTY)),
            f("street", "Street", Kind::Text),
            f("postal_code", "Postal Code", Kind::Char),
            f("city", "City", Kind::Char),
            f("country", "Country", Kind::One(COUNTRY)),
            f("active", "Active", Kind::Boolean),
        ],
    ),
    (COUNTRY, "Country", &[req("name", "Name", Kind::Char), f("code", "Code", Kind::Char)]),
    ("currency.currency", "Currency", &[req("name", "Name", Kind::Char), req("code", "Code", Kind::Char)]),
    ("company.company", "Company", &[req("party", "Party", Kind::One(PARTY)), req("currency", "Currency", Kind::One("currency.currency"))]),
    ("company.employee", "Employee", &[req("party", "Party", Kind::One(PARTY)), req("company", "Company", Kind::One("company.company"))]),
    (
        SALE,
        "Sale",
        &[
            ro("number", "Number", Kind::Char),
            f("reference", "Reference", Kind::Char),
            f("description", "Description", Kind::Char),
            f("party", "Party", Kind::One(PARTY)),
            f("origin", "Origin", Kind::One(OPPORTUNITY)),
            f("untaxed_amount", "Untaxed", Kind::Numeric),
            own("state", "State", Kind::Selection(SALE_STATES)),
        ],
    ),
];

/// What stands in the way of a request.
#[derive(Debug, Clone, PartialEq)]
pub enum Trouble {
    /// 400 with Tryton's message.
    User(String),
    /// 500 with a Python error's text.
    Error(String),
    /// 404.
    NotFound,
    /// 403.
    Forbidden,
    /// 401.
    Unauthorized,
    /// 405.
    Method,
}

/// The name of a missing key, as Python's `KeyError` words it.
pub fn missing(name: &str) -> Trouble {
    Trouble::Error(format!("'{name}'"))
}

/// One state of an opportunity in the past; `None` = deleted.
#[derive(Debug, Clone)]
struct Past {
    at: i64,
    id: i64,
    row: Option<Arc<Row>>,
}

/// The database.
#[derive(Debug, Clone, Default)]
pub struct Db {
    tables: BTreeMap<&'static str, BTreeMap<i64, Arc<Row>>>,
    next: BTreeMap<&'static str, i64>,
    children: BTreeMap<(&'static str, i64), Vec<i64>>,
    codes: BTreeMap<String, i64>,
    history: Vec<Past>,
    undo: Vec<(&'static str, i64, Option<Arc<Row>>)>,
    undo_history: usize,
    undo_counters: (BTreeMap<&'static str, i64>, BTreeMap<&'static str, i64>),
    numbers: BTreeMap<&'static str, i64>,
    /// Fields that an admin's module added to the opportunity.
    pub custom: Vec<String>,
}

/// A moment (microseconds since the epoch) as Tryton writes it.
pub fn moment(us: i64) -> Value {
    let at = Timestamp::from_microsecond(us).unwrap_or(Timestamp::MIN).to_zoned(TimeZone::UTC);
    json!({"__class__": "datetime", "year": at.year(), "month": at.month(), "day": at.day(), "hour": at.hour(),
        "minute": at.minute(), "second": at.second(), "microsecond": at.subsec_nanosecond() / 1000})
}

/// A day as Tryton writes it.
pub fn day(us: i64) -> Value {
    let at = Timestamp::from_microsecond(us).unwrap_or(Timestamp::MIN).to_zoned(TimeZone::UTC);
    json!({"__class__": "date", "year": at.year(), "month": at.month(), "day": at.day()})
}

fn own_fields(model: &str) -> &'static [Field] {
    MODELS.iter().find(|(name, ..)| *name == model).map_or(&[], |(_, _, fields)| fields)
}

impl Db {
    /// The model's own name and label.
    ///
    /// # Errors
    /// 500, as Tryton's pool does, for a model that is not there.
    pub fn model(name: &str) -> Result<(&'static str, &'static str), Trouble> {
        MODELS.iter().find(|(n, ..)| *n == name).map(|(n, label, _)| (*n, *label)).ok_or_else(|| missing(name))
    }

    /// A field of a model.
    pub fn field(&self, model: &str, name: &str) -> Option<Field> {
        let own = own_fields(model).iter().chain(COMMON).find(|field| field.name == name);
        own.cloned().or_else(|| self.custom_fields(model).find(|field| field.name == name))
    }

    fn custom_fields(&self, model: &str) -> impl Iterator<Item = Field> {
        let custom = self.custom.iter().filter(move |_| model == OPPORTUNITY);
        custom.map(|name| Field { name: Cow::Owned(name.clone()), label: Cow::Owned(name.clone()), ..f("", "", Kind::Char) })
    }

    /// All fields of a model.
    pub fn fields(&self, model: &str) -> impl Iterator<Item = Field> {
        own_fields(model).iter().chain(COMMON).cloned().chain(self.custom_fields(model))
    }

    /// The next number of a sequence.
    pub fn next_number(&mut self, sequence: &'static str) -> String {
        let last = self.numbers.entry(sequence).or_insert(0);
        *last += 1;
        last.to_string()
    }

    /// The party of this code.
    pub fn party_of(&self, code: &str) -> Option<i64> {
        self.codes.get(code).copied()
    }

    /// The rows of a model.
    pub fn rows(&self, model: &str) -> impl Iterator<Item = (i64, &Row)> {
        self.tables.get(model).into_iter().flatten().map(|(id, row)| (*id, &**row))
    }

    /// One row.
    pub fn row(&self, model: &str, id: i64) -> Option<&Row> {
        self.tables.get(model)?.get(&id).map(|row| &**row)
    }

    /// A value of a row, null where it has none.
    pub fn value(&self, model: &str, id: i64, field: &str) -> Value {
        self.row(model, id).and_then(|row| row.get(field)).cloned().unwrap_or(Value::Null)
    }

    /// The rows of `model` whose `party` or `origin` is this record, active ones, in order.
    pub fn children(&self, model: &'static str, of: i64) -> Vec<i64> {
        let all = self.children.get(&(model, of)).cloned().unwrap_or_default();
        all.into_iter().filter(|id| self.value(model, *id, "active") != json!(0)).collect()
    }

    /// Begins a transaction.
    pub fn begin(&mut self) {
        self.undo.clear();
        self.undo_history = self.history.len();
        self.undo_counters = (self.next.clone(), self.numbers.clone());
    }

    /// Takes back what was done since its beginning, ids and numbers too, as SQLite does.
    pub fn rollback(&mut self) {
        for (model, id, old) in std::mem::take(&mut self.undo).into_iter().rev() {
            self.set(model, id, old);
        }
        self.history.truncate(self.undo_history);
        (self.next, self.numbers) = std::mem::take(&mut self.undo_counters);
    }

    fn set(&mut self, model: &'static str, id: i64, row: Option<Arc<Row>>) -> Option<Arc<Row>> {
        let parent = |row: &Row| row.get(if model == SALE { "origin" } else { "party" }).and_then(Value::as_i64);
        let table = self.tables.entry(model).or_default();
        let new = row.as_deref().and_then(parent);
        let code = |row: &Arc<Row>| (model == PARTY).then(|| row.get("code")?.as_str().map(str::to_owned)).flatten();
        let new_code = row.as_ref().and_then(code);
        let old = match row {
            Some(row) => table.insert(id, row),
            None => table.remove(&id),
        };
        if let Some(code) = old.as_ref().and_then(code) {
            self.codes.remove(&code);
        }
        self.codes.extend(new_code.map(|code| (code, id)));
        if matches!(model, MECHANISM | ADDRESS | SALE) {
            if let Some(siblings) = old.as_deref().and_then(parent).and_then(|p| self.children.get_mut(&(model, p))) {
                siblings.retain(|c| *c != id);
            }
            if let Some(parent) = new {
                let siblings = self.children.entry((model, parent)).or_default();
                siblings.insert(siblings.partition_point(|c| *c < id), id);
            }
        }
        old
    }

    fn put(&mut self, model: &'static str, id: i64, row: Option<Row>, at: i64) {
        let row = row.map(Arc::new);
        if model == OPPORTUNITY {
            self.history.push(Past { at, id, row: row.clone() });
        }
        let old = self.set(model, id, row);
        self.undo.push((model, id, old));
    }

    /// Stores a new row; answers its id.
    pub fn insert(&mut self, model: &'static str, mut row: Row, at: i64) -> i64 {
        let next = self.next.entry(model).or_insert(0);
        *next += 1;
        let id = *next;
        row.insert("id".into(), json!(id));
        row.insert("create_date".into(), moment(at));
        row.insert("write_date".into(), Value::Null);
        self.put(model, id, Some(row), at);
        id
    }

    /// Changes a row.
    pub fn change(&mut self, model: &'static str, id: i64, values: Row, at: i64) {
        let Some(mut row) = self.row(model, id).cloned() else { return };
        row.extend(values);
        row.insert("write_date".into(), moment(at));
        self.put(model, id, Some(row), at);
    }

    /// Puts an opportunity's row in the place of what is stored.
    pub fn restate(&mut self, id: i64, row: Option<Row>) {
        let row = row.map(Arc::new);
        if let Some(last) = self.history.last_mut().filter(|p| p.id == id) {
            last.row.clone_from(&row);
        }
        self.set(OPPORTUNITY, id, row);
    }

    /// Removes a row.
    pub fn remove(&mut self, model: &'static str, id: i64, at: i64) {
        self.put(model, id, None, at);
    }

    /// The opportunities as they were at a moment.
    pub fn opportunities_at(&self, at: i64) -> BTreeMap<i64, Arc<Row>> {
        let mut then = BTreeMap::new();
        for past in self.history.iter().filter(|p| p.at <= at) {
            match &past.row {
                Some(row) => drop(then.insert(past.id, row.clone())),
                None => drop(then.remove(&past.id)),
            }
        }
        then
    }

    /// When an opportunity was stored, changed and deleted, latest first.
    pub fn revisions(&self, id: i64) -> Vec<i64> {
        let mut all: Vec<i64> = self.history.iter().filter(|p| p.id == id).map(|p| p.at).collect();
        all.sort_unstable_by(|a, b| b.cmp(a));
        all
    }
}
