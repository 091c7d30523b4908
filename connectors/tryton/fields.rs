//! The flattened names of a lead: an opportunity, its party, the party's contact mechanisms and
//! first address, and the sale it became. README.md lists them.

use serde_json::{Map, Value, json};

use super::wire::{date, datetime, id_of, micros, plain};
use crate::sdk::{Fields, ItemFault, Millis, Record, Selection, State};

/// Contact mechanisms that are fields of a lead (`party.email`), by Tryton's type.
pub const MECHANISMS: [&str; 5] = ["email", "phone", "mobile", "fax", "website"];
/// Fields of the first address (`party.city`), and where an address has them.
pub const ADDRESS: [(&str, &str); 4] =
    [("street", "street"), ("postal_code", "postal_code"), ("city", "city"), ("country", "country.code")];

/// What every read needs besides the fields asked for: the moments that make the version, and what
/// a write is compared with.
const ALWAYS: [&str; 8] = [
    "create_date",
    "last_modified_at",
    "party.last_modified_at",
    "party.contact_mechanisms.last_modified_at",
    "party.contact_mechanisms.type",
    "party.contact_mechanisms.value",
    "party.contact_mechanisms.value_compact",
    "party.addresses.last_modified_at",
];

/// Where Tryton has a field, as a dotted path from the opportunity.
pub fn path(name: &str) -> String {
    if let Some(field) = name.strip_prefix("party.")
        && let Some((_, inner)) = ADDRESS.iter().find(|(flat, _)| *flat == field)
    {
        return format!("party.addresses.{inner}");
    }
    if let Some(field) = name.strip_prefix("deal.") {
        return format!("sales.{field}");
    }
    name.strip_prefix("opportunity.").unwrap_or(name).to_owned()
}

/// The paths to ask for, to learn these fields. Names with an `@` (histories, things kept beside the
/// record) have no place here and are left out.
pub fn paths(names: &[String]) -> Vec<String> {
    let named = names.iter().filter(|n| !n.contains('@')).map(|n| path(n));
    let mut all: Vec<String> = ALWAYS.iter().map(|p| (*p).to_owned()).chain(named).collect();
    all.sort();
    all.dedup();
    all
}

/// The value at a path; of several related records the first (Tryton orders them). `None` when
/// Tryton left it out, which it does with what the user may not read.
fn at<'v>(row: &'v Value, path: &str) -> Option<&'v Value> {
    path.split('.').try_fold(row, |value, step| match value {
        Value::Array(items) => items.first().map_or(Some(&Value::Null), |item| item.get(step)),
        Value::Null => Some(&Value::Null),
        value => value.get(step),
    })
}

/// The fields asked for, by their flattened names.
pub fn flatten(row: &Value, names: &[String]) -> Fields {
    names
        .iter()
        .filter_map(|name| {
            let value = at(row, &path(name)).map(plain)?;
            let none = value == "" && name.strip_prefix("party.").is_some_and(|m| MECHANISMS.contains(&m));
            Some((name.clone(), if none { Value::Null } else { value }))
        })
        .collect()
}

/// When a record was last written, or else created (`write_date` is null until the first update;
/// Tryton's own `last_modified_at` falls back to `create_date`).
fn touched(record: &Value) -> Option<i64> {
    record.get("last_modified_at").and_then(micros)
}

/// A lead's record. The version changes when the opportunity, the party, a mechanism or an address
/// does, or when one of them is added or goes.
pub fn record(object: &str, row: &Value, names: &[String]) -> Option<Record> {
    let id = id_of(row)?;
    let party = row.get("party").filter(|p| p.is_object());
    let related = |name: &str| -> Vec<i64> {
        let items = party.and_then(|v| v.get(name)).and_then(Value::as_array);
        items.into_iter().flatten().filter_map(touched).collect()
    };
    let groups = [
        touched(row).into_iter().collect::<Vec<_>>(),
        party.and_then(touched).into_iter().collect(),
        related("contact_mechanisms"),
        related("addresses"),
    ];
    let version: Vec<String> = groups.iter().map(|g| format!("{}x{}", g.iter().max().copied().unwrap_or_default(), g.len())).collect();
    Some(Record {
        object: object.to_owned(),
        id: id.to_string(),
        fields: flatten(row, names),
        version: version.join("."),
        created_at: row.get("create_date").and_then(micros).map(|us| us.div_euclid(1000)),
        modified_at: groups.iter().flatten().max().map(|us| us.div_euclid(1000)),
        state: State::Live,
    })
}

/// A record that is no longer there.
pub fn gone(object: &str, id: &str) -> Record {
    Record {
        object: object.to_owned(),
        id: id.to_owned(),
        fields: Fields::new(),
        version: "deleted".into(),
        created_at: None,
        modified_at: None,
        state: State::Deleted,
    }
}

/// The domain of leads whose field holds one of these values.
pub fn holds(name: &str, values: &[Value]) -> Value {
    if let Some(field) = name.strip_prefix("party.") {
        if MECHANISMS.contains(&field) {
            // `value_compact` is the form without blanks that Tryton keeps of telephone numbers.
            let either = json!(["OR", ["value", "in", values], ["value_compact", "in", values]]);
            return json!(["party.contact_mechanisms", "where", [["type", "=", field], either]]);
        }
        if let Some((_, inner)) = ADDRESS.iter().find(|(flat, _)| *flat == field) {
            return json!(["party.addresses", "where", [[inner, "in", values]]]);
        }
    }
    json!([path(name), "in", values])
}

/// The domain of a selection; every field must hold one of its values.
pub fn selected(selection: &Selection) -> Vec<Value> {
    selection.iter().map(|(name, values)| holds(name, &values.iter().map(|v| json!(v)).collect::<Vec<_>>())).collect()
}

/// The domain of leads touched in `[from, until]`, by whichever of its records.
pub fn touched_between(from: Millis, until: Millis) -> Value {
    let (from, until) = (datetime(from), datetime(until + 1));
    let within = |name: &str| json!([[name, ">=", from], [name, "<", until]]);
    json!([
        "OR",
        within("last_modified_at"),
        within("party.last_modified_at"),
        ["party.contact_mechanisms", "where", within("last_modified_at")],
        ["party.addresses", "where", within("last_modified_at")],
    ])
}

/// The fields of one write, sorted by the record that they live in, in Tryton's types.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Wanted {
    /// The opportunity's own.
    pub opportunity: Map<String, Value>,
    /// The state that it should reach; a button leads there.
    pub state: Option<String>,
    /// The party's own.
    pub party: Map<String, Value>,
    /// Contact mechanisms by type; `None` removes.
    pub mechanisms: Vec<(String, Option<String>)>,
    /// The first address's own; the country is a code until it is looked up.
    pub address: Map<String, Value>,
}

impl Wanted {
    /// Sorts the fields of a write.
    ///
    /// # Errors
    /// Names the first field that has no place, or whose value is of a wrong type.
    pub fn sort(fields: &Fields) -> Result<Self, ItemFault> {
        let mut wanted = Self::default();
        for (name, value) in fields {
            let wrong = || refused("wrong_type", name);
            match name.strip_prefix("party.") {
                Some(field) if MECHANISMS.contains(&field) => {
                    let text = text(value).ok_or_else(wrong)?;
                    wanted.mechanisms.push((field.to_owned(), text.as_str().map(str::to_owned)));
                }
                Some(field) if ADDRESS.iter().any(|(flat, _)| *flat == field) => {
                    wanted.address.insert(field.to_owned(), text(value).ok_or_else(wrong)?);
                }
                Some("name") => drop(wanted.party.insert("name".into(), text(value).ok_or_else(wrong)?)),
                Some("code") => return Err(refused("not_writable", name)),
                Some(field) if !field.contains('.') => drop(wanted.party.insert(field.to_owned(), value.clone())),
                _ if name.contains('.') => return Err(refused("not_writable", name)),
                _ if name == "state" => match value.as_str() {
                    Some(state) if button(state).is_some() => wanted.state = Some(state.to_owned()),
                    Some(_) => return Err(refused("not_writable", name)),
                    None => return Err(wrong()),
                },
                _ => drop(wanted.opportunity.insert(name.clone(), typed(name, value).ok_or_else(wrong)?)),
            }
        }
        Ok(wanted)
    }

    /// The country's code, when one is to be written.
    pub fn country(&self) -> Option<&str> {
        self.address.get("country").and_then(Value::as_str)
    }

    /// Puts the country's id in the place of its code.
    pub fn resolve_country(&mut self, id: i64) {
        self.address.insert("country".into(), json!(id));
    }

    /// The body that creates the party with everything of its own, in one transaction.
    pub fn new_party(&self, marker: &str) -> Map<String, Value> {
        let mut body = self.party.clone();
        body.insert("code".into(), json!(marker));
        let mechanisms: Vec<Value> =
            self.mechanisms.iter().filter_map(|(kind, value)| Some(json!({"type": kind, "value": value.as_ref()?}))).collect();
        if !mechanisms.is_empty() {
            body.insert("contact_mechanisms".into(), json!([["create", mechanisms]]));
        }
        if self.address.values().any(|v| !v.is_null()) {
            body.insert("addresses".into(), json!([["create", [self.address]]]));
        }
        body
    }

    /// The body that brings an existing party to what is wanted, empty when it is there already,
    /// and whether it adds records (which a repetition would add again).
    pub fn change_party(&self, row: &Value) -> (Map<String, Value>, bool) {
        let null = Value::Null;
        let now = row.get("party").unwrap_or(&null);
        let mut body = differing(&self.party, now);
        let mut adds = false;
        let has = now.get("contact_mechanisms").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
        let mut mechanisms = Vec::new();
        for (kind, value) in &self.mechanisms {
            let first = has.iter().find(|m| m.get("type").and_then(Value::as_str) == Some(kind));
            match (first, value) {
                (Some(m), Some(value)) if m.get("value") != Some(&json!(value)) && m.get("value_compact") != Some(&json!(value)) => {
                    mechanisms.push(json!(["write", [id_of(m)], {"value": value}]));
                }
                (Some(m), None) => mechanisms.push(json!(["delete", [id_of(m)]])),
                (None, Some(value)) => {
                    adds = true;
                    mechanisms.push(json!(["create", [{"type": kind, "value": value}]]));
                }
                _ => {}
            }
        }
        if !mechanisms.is_empty() {
            body.insert("contact_mechanisms".into(), Value::Array(mechanisms));
        }
        match now.get("addresses").and_then(Value::as_array).and_then(|a| a.first()) {
            Some(address) => {
                let change = differing(&self.address, address);
                if !change.is_empty() {
                    body.insert("addresses".into(), json!([["write", [id_of(address)], change]]));
                }
            }
            None if self.address.values().any(|v| !v.is_null()) => {
                adds = true;
                body.insert("addresses".into(), json!([["create", [self.address]]]));
            }
            None => {}
        }
        (body, adds)
    }

    /// The body that brings the opportunity's own fields to what is wanted, empty when they are.
    pub fn change_opportunity(&self, row: &Value) -> Map<String, Value> {
        differing(&self.opportunity, row)
    }

    /// The button to press to reach the state wanted; `None` when it is reached.
    pub fn press(&self, row: &Value) -> Option<&'static str> {
        let state = self.state.as_deref()?;
        (row.get("state").and_then(Value::as_str) != Some(state)).then(|| button(state)).flatten()
    }
}

/// The button that leads to a state. `converted` and `won` come from a sale, which people make.
fn button(state: &str) -> Option<&'static str> {
    match state {
        "lead" => Some("lead"),
        "opportunity" => Some("opportunity"),
        "lost" => Some("lost"),
        "cancelled" => Some("cancel"),
        _ => None,
    }
}

/// A refusal of our own: this field cannot be written so.
pub fn refused(code: &str, field: &str) -> ItemFault {
    ItemFault { code: code.into(), fields: vec![field.to_owned()], passing: false, config: false }
}

/// A text, or null; an empty one is as good as none. `None` for anything else.
fn text(value: &Value) -> Option<Value> {
    match value {
        Value::Null => Some(Value::Null),
        Value::String(text) if text.is_empty() => Some(Value::Null),
        Value::String(_) => Some(value.clone()),
        _ => None,
    }
}

/// A value in the type that Tryton has for the field; a wrong one would be answered 500. Fields
/// that a module added are passed as they are.
fn typed(name: &str, value: &Value) -> Option<Value> {
    if value.is_null() {
        return Some(Value::Null);
    }
    match name {
        // Tryton strips these itself; sent stripped, what we wrote is what comes back.
        "description" | "reference" => value.as_str().map(|t| json!(t.trim())),
        "comment" | "lost_reason" => value.as_str().map(|t| json!(t)),
        "amount" => {
            let text = value.as_str().map(str::to_owned).or_else(|| value.as_number().map(ToString::to_string))?;
            let text = text.trim();
            text.parse::<f64>().ok().filter(|n| n.is_finite())?;
            Some(json!({"__class__": "Decimal", "decimal": text}))
        }
        "conversion_probability" => value.as_f64().or_else(|| value.as_str()?.trim().parse().ok()).map(|n| json!(n)),
        "start_date" | "end_date" => date(value.as_str()?.trim()),
        _ => Some(value.clone()),
    }
}

/// Those of the wanted values that a record does not hold.
fn differing(wanted: &Map<String, Value>, now: &Value) -> Map<String, Value> {
    let same = |a: &Value, b: &Value| {
        let number = |v: &Value| v.as_f64().or_else(|| v.get("decimal")?.as_str()?.parse().ok());
        plain(a) == plain(b) || number(a).is_some_and(|a| number(b) == Some(a))
    };
    let differs = |name: &str, value: &Value| !now.get(name).is_some_and(|has| same(value, has));
    wanted.iter().filter(|(name, value)| differs(name, value)).map(|(n, v)| (n.clone(), v.clone())).collect()
}
