//! Searching and reading: Tryton's domains, dotted fields and orders.

use std::borrow::Cow;
use std::cmp::Ordering;

use serde_json::{Map, Value, json};

use super::db::{Db, Kind, MECHANISM, OPPORTUNITY, PARTY, Row, Trouble, missing};

impl Db {
    /// The value of a field, functions included.
    pub fn computed<'r>(&self, model: &str, row: &'r Row, name: &str) -> Cow<'r, Value> {
        let stored = |name: &str| Cow::Borrowed(row.get(name).unwrap_or(&Value::Null));
        let id = || row.get("id").and_then(Value::as_i64).unwrap_or_default();
        match self.field(model, name).map(|f| f.kind) {
            Some(Kind::Mechanism) => {
                let first = self.children(MECHANISM, id()).into_iter().find(|m| self.value(MECHANISM, *m, "type") == json!(name));
                Cow::Owned(first.map_or(json!(""), |m| self.value(MECHANISM, m, "value")))
            }
            Some(Kind::Many(target, _)) => Cow::Owned(json!(self.children(target, id()))),
            _ => match name {
                "last_modified_at" if stored("write_date").is_null() => stored("create_date"),
                "last_modified_at" => stored("write_date"),
                "rec_name" if model == OPPORTUNITY => {
                    let number = stored("number").as_str().unwrap_or_default().to_owned();
                    let reference = stored("reference").as_str().filter(|r| !r.is_empty()).map(|r| format!(" [{r}]"));
                    Cow::Owned(json!(number + &reference.unwrap_or_default()))
                }
                "rec_name" if model == MECHANISM => {
                    let party = stored("party").as_i64().map(|party| self.value(PARTY, party, "name"));
                    let party = party.as_ref().and_then(Value::as_str).unwrap_or_default();
                    Cow::Owned(json!(format!("{party} <{}>", stored("value").as_str().unwrap_or_default())))
                }
                "rec_name" | "full_name" => stored("name"),
                _ => stored(name),
            },
        }
    }

    /// Whether a row is in a domain.
    ///
    /// # Errors
    /// 500 for a field that is not there, a value that does not fit, or a form that is not a domain.
    pub fn matches(&self, model: &str, row: &Row, domain: &Value) -> Result<bool, Trouble> {
        let Some(list) = domain.as_array() else { return Err(Trouble::Error("invalid domain".into())) };
        if let [Value::String(path), Value::String(operator), value] = list.as_slice() {
            return self.leaf(model, row, path, operator, value);
        }
        let (any, rest) = match list.first().and_then(Value::as_str) {
            Some("OR") => (true, &list[1..]),
            Some("AND") => (false, &list[1..]),
            Some(_) => return Err(Trouble::Error("invalid domain".into())),
            None => (false, list.as_slice()),
        };
        for part in rest {
            if self.matches(model, row, part)? == any {
                return Ok(any);
            }
        }
        Ok(!any || rest.is_empty())
    }

    fn leaf(&self, model: &str, row: &Row, path: &str, operator: &str, value: &Value) -> Result<bool, Trouble> {
        let (name, rest) = path.split_once('.').map_or((path, None), |(n, r)| (n, Some(r)));
        let field = self.field(model, name).ok_or_else(|| missing(name))?;
        if rest.is_some() || operator == "where" {
            let inner = |target: &str, row: &Row| match rest {
                Some(rest) => self.leaf(target, row, rest, operator, value),
                None => self.matches(target, row, value),
            };
            let id = || row.get("id").and_then(Value::as_i64).unwrap_or_default();
            let (target, ids) = match field.kind {
                Kind::One(target) => (target, self.computed(model, row, name).as_i64().into_iter().collect()),
                Kind::Many(target, _) => (target, self.children(target, id())),
                _ => return Err(missing(name)),
            };
            for id in ids {
                let related = self.row(target, id).ok_or_else(|| dangling(target, id))?;
                if inner(target, related)? {
                    return Ok(true);
                }
            }
            return Ok(false);
        }
        fit(field.kind, value)?;
        let now = self.computed(model, row, name);
        let compared = || compare(&now, value);
        let within = || value.as_array().is_some_and(|all| all.iter().any(|v| compare(&now, v) == Some(Ordering::Equal)));
        Ok(match operator {
            "=" => compared() == Some(Ordering::Equal),
            "!=" => compared() != Some(Ordering::Equal),
            "in" => within(),
            "not in" => !within(),
            "<" => compared() == Some(Ordering::Less),
            ">" => compared() == Some(Ordering::Greater),
            "<=" => matches!(compared(), Some(Ordering::Less | Ordering::Equal)),
            ">=" => matches!(compared(), Some(Ordering::Greater | Ordering::Equal)),
            _ => return Err(missing(operator)),
        })
    }

    /// Refuses a domain that speaks of fields which are not there, whatever rows there are.
    fn known(&self, model: &str, domain: &Value) -> Result<(), Trouble> {
        let Some(list) = domain.as_array() else { return Ok(()) };
        let [Value::String(path), Value::String(operator), value] = list.as_slice() else {
            return list.iter().try_for_each(|part| self.known(model, part));
        };
        let mut model = model;
        for (at, name) in path.split('.').enumerate() {
            let field = self.field(model, name).ok_or_else(|| missing(name))?;
            match field.kind {
                Kind::One(target) | Kind::Many(target, _) => model = target,
                _ if at + 1 < path.split('.').count() => return Err(missing(name)),
                _ => {}
            }
        }
        if operator == "where" { self.known(model, value) } else { Ok(()) }
    }

    /// The ids of a model's rows in a domain, in order. Inactive rows are left out, unless the
    /// domain speaks of `active`.
    ///
    /// # Errors
    /// As [`Db::matches`].
    pub fn search(&self, model: &'static str, domain: &Value, order: &[(String, bool)], past: Option<i64>) -> Result<Vec<i64>, Trouble> {
        self.known(model, domain)?;
        let mentions_active = domain.to_string().contains("\"active\"");
        let then = past.filter(|_| model == OPPORTUNITY).map(|at| self.opportunities_at(at));
        let rows: Vec<(i64, &Row)> = match &then {
            Some(then) => then.iter().map(|(id, row)| (*id, &**row)).collect(),
            None => self.rows(model).collect(),
        };
        let mut found: Vec<(i64, &Row)> = Vec::new();
        for (id, row) in rows {
            if !mentions_active && row.get("active") == Some(&json!(0)) {
                continue;
            }
            if self.matches(model, row, domain)? {
                found.push((id, row));
            }
        }
        for (name, _) in order {
            self.field(model, name).ok_or_else(|| missing(name))?;
        }
        found.sort_by(|(_, a), (_, b)| {
            order.iter().fold(Ordering::Equal, |so_far, (name, descending)| {
                let next = || compare(&self.computed(model, a, name), &self.computed(model, b, name)).unwrap_or(Ordering::Equal);
                so_far.then_with(|| if *descending { next().reverse() } else { next() })
            })
        });
        Ok(found.into_iter().map(|(id, _)| id).collect())
    }

    /// A record as the REST API answers it: the paths asked for, nested, and `id` and `__name__` of
    /// every record on the way.
    ///
    /// # Errors
    /// 500 for a field that is not there.
    pub fn read(&self, model: &str, row: &Row, paths: &[String]) -> Result<Value, Trouble> {
        let mut out = Map::new();
        out.insert("__name__".into(), json!(model));
        out.insert("id".into(), row.get("id").cloned().unwrap_or(Value::Null));
        let mut nested: Vec<(&str, Vec<String>)> = Vec::new();
        for path in paths.iter().filter(|p| *p != "__name__") {
            let (name, rest) = path.split_once('.').map_or((path.as_str(), None), |(n, r)| (n, Some(r)));
            let field = self.field(model, name).ok_or_else(|| missing(name))?;
            match (rest, field.kind) {
                (Some(rest), Kind::One(_) | Kind::Many(..)) => match nested.iter_mut().find(|(n, _)| *n == name) {
                    Some((_, inner)) => inner.push(rest.to_owned()),
                    None => nested.push((name, vec![rest.to_owned()])),
                },
                (Some(_), _) => return Err(missing(name)),
                (None, _) => drop(out.insert(name.to_owned(), self.computed(model, row, name).into_owned())),
            }
        }
        for (name, inner) in nested {
            let now = self.computed(model, row, name);
            let read = |target: &str, id: i64| match self.row(target, id) {
                Some(row) => self.read(target, row, &inner),
                None => Err(dangling(target, id)),
            };
            let value = match self.field(model, name).map(|f| f.kind) {
                Some(Kind::One(target)) => now.as_i64().map(|id| read(target, id)).transpose()?.unwrap_or(Value::Null),
                Some(Kind::Many(target, _)) => {
                    let ids = now.as_array().into_iter().flatten().filter_map(Value::as_i64);
                    ids.map(|id| read(target, id)).collect::<Result<_, _>>()?
                }
                _ => Value::Null,
            };
            out.insert(name.to_owned(), value);
        }
        Ok(Value::Object(out))
    }
}

/// Refuses a value that Python could not turn into the field's type.
fn fit(kind: Kind, value: &Value) -> Result<(), Trouble> {
    for one in value.as_array().map_or(std::slice::from_ref(value), Vec::as_slice) {
        let fits = match (kind, one) {
            (_, Value::Null) => true,
            (Kind::Integer | Kind::One(_), Value::String(text)) => text.parse::<i64>().is_ok(),
            (Kind::Timestamp | Kind::Date, value) => value.get("__class__").is_some(),
            _ => true,
        };
        if !fits {
            return Err(match kind {
                Kind::Timestamp | Kind::Date => Trouble::Error(format!("Invalid isoformat string: '{}'", one.as_str().unwrap_or_default())),
                _ => Trouble::Error(format!("invalid literal for int() with base 10: '{}'", one.as_str().unwrap_or_default())),
            });
        }
    }
    Ok(())
}

/// Compares as the database does: null with nothing, numbers by value, moments in time.
fn compare(a: &Value, b: &Value) -> Option<Ordering> {
    let number = |v: &Value| v.as_f64().or_else(|| v.get("decimal")?.as_str()?.parse().ok());
    match (a, b) {
        (Value::Null, Value::Null) => Some(Ordering::Equal),
        (Value::Null, _) | (_, Value::Null) => None,
        (Value::String(a), Value::String(b)) => Some(a.cmp(b)),
        (Value::Bool(a), Value::Number(_)) => compare(&json!(i64::from(*a)), b),
        (Value::Number(_), Value::Bool(b)) => compare(a, &json!(i64::from(*b))),
        (Value::Number(a), Value::String(b)) => a.as_i64()?.partial_cmp(&b.parse::<i64>().ok()?),
        _ => match (number(a), number(b)) {
            (Some(a), Some(b)) => a.partial_cmp(&b),
            _ => time(a)?.partial_cmp(&time(b)?),
        },
    }
}

/// A tagged day or moment in a form that sorts.
fn time(value: &Value) -> Option<[i64; 7]> {
    value.get("__class__")?;
    let part = |name: &str| value.get(name).and_then(Value::as_i64).unwrap_or_default();
    Some(["year", "month", "day", "hour", "minute", "second", "microsecond"].map(part))
}

/// A record that is named and not there; on SQLite nothing keeps such names out.
fn dangling(model: &str, id: i64) -> Trouble {
    Trouble::User(format!("You are trying to read records \"{id}\" of \"{model}\" that don't exist."))
}
