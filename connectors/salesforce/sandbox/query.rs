//! Answers queries: names resolved first, then the narrowest index, then filter, order and cut.

use std::{borrow::Cow, cmp::Ordering};

use serde_json::Value;

use super::{
    error::Trouble,
    row::{full_name, parent, parse_moment},
    schema::{Kind, Object},
    soql::{Columns, Condition, Is, Literal, Query},
    store::{Row, Store, Table, full_id},
};

/// A value of a row, as conditions and the order see it.
#[derive(Debug, Clone, PartialEq)]
enum Held<'a> {
    Null,
    Bool(bool),
    Number(f64),
    Text(Cow<'a, str>),
    /// Seconds since the epoch.
    Moment(i64),
}

/// A column with its name resolved.
#[derive(Debug, Clone)]
pub struct Column {
    /// The field's own name.
    pub name: String,
    kind: Kind,
    /// The relationship that leads to it: its name, the reference field, the other object.
    pub parent: Option<(String, String, &'static str)>,
}

/// A condition with its names resolved and its values checked.
enum Test {
    All(Vec<Test>),
    Any(Vec<Test>),
    Not(Box<Test>),
    Compare {
        column: Column,
        is: Is,
        value: Literal,
    },
    /// `texts` are in order; `others` is every value that is no text.
    In {
        column: Column,
        texts: Vec<String>,
        others: Vec<Literal>,
        negated: bool,
    },
}

/// What a query found.
pub struct Found {
    pub ids: Vec<String>,
    pub columns: Vec<Column>,
    pub object: &'static str,
}

fn no_column(object: &str, name: &str) -> Trouble {
    Trouble::new(
        "INVALID_FIELD",
        format!(
            "\nERROR at Row:1:Column:1\nNo such column '{name}' on entity '{object}'. If you are attempting to use a custom field, be sure to append the '__c' after the custom field name. Please reference your WSDL or the describe call for the appropriate names."
        ),
    )
}

fn column(store: &Store, object: &Object, name: &str) -> Result<Column, Trouble> {
    let missing = || no_column(object.name, name);
    let name = name.strip_prefix(object.name).and_then(|rest| rest.strip_prefix('.')).unwrap_or(name);
    if let Some((relationship, rest)) = name.split_once('.') {
        let (field, other) = object
            .relationship(relationship)
            .ok_or_else(|| Trouble::new("INVALID_FIELD", format!("Didn't understand relationship '{relationship}' in field path.")))?;
        let (_, relation) = field.reference.ok_or_else(missing)?;
        let other_object = &store.table(other).ok_or_else(missing)?.object;
        let far = other_object.field(rest).ok_or_else(|| no_column(other, rest))?;
        return Ok(Column { name: far.name.clone(), kind: far.kind, parent: Some((relation.to_owned(), field.name.clone(), other)) });
    }
    let field = object.field(name).ok_or_else(missing)?;
    Ok(Column { name: field.name.clone(), kind: field.kind, parent: None })
}

fn wrong_type(column: &Column, quotes: bool) -> Trouble {
    let kind = column.kind.name();
    let rest = if quotes { "should not be enclosed in quotes" } else { "should be enclosed in quotes" };
    Trouble::new("INVALID_FIELD", format!("value of filter criterion for field '{}' must be of type {kind} and {rest}", column.name))
}

/// The literal in the form in which it is compared; refuses one of another type.
fn checked(column: &Column, literal: &Literal) -> Result<Literal, Trouble> {
    let kind = column.kind;
    Ok(match literal {
        Literal::Text(text) if matches!(kind, Kind::Id | Kind::Reference) && !text.is_empty() => {
            Literal::Text(full_id(text).ok_or_else(|| Trouble::new("INVALID_QUERY_FILTER_OPERATOR", format!("invalid ID field: {text}")))?)
        }
        Literal::Text(text) if kind.textual() => Literal::Text(text.to_lowercase()),
        Literal::Text(_) if matches!(kind, Kind::Id | Kind::Reference) => literal.clone(),
        Literal::Text(_) => return Err(wrong_type(column, true)),
        Literal::Bool(_) if kind == Kind::Bool => literal.clone(),
        Literal::Number(_) if kind.numeric() => literal.clone(),
        Literal::Moment(_) if kind == Kind::DateTime => literal.clone(),
        Literal::Date(date) if kind == Kind::Date => Literal::Text(date.clone()),
        Literal::Null => Literal::Null,
        Literal::Bool(_) | Literal::Number(_) | Literal::Moment(_) | Literal::Date(_) => return Err(wrong_type(column, false)),
    })
}

fn resolve(store: &Store, object: &Object, condition: &Condition) -> Result<Test, Trouble> {
    let all = |parts: &[Condition]| parts.iter().map(|part| resolve(store, object, part)).collect::<Result<Vec<_>, _>>();
    Ok(match condition {
        Condition::All(parts) => Test::All(all(parts)?),
        Condition::Any(parts) => Test::Any(all(parts)?),
        Condition::Not(part) => Test::Not(Box::new(resolve(store, object, part)?)),
        Condition::Compare { field, is, value } => {
            let column = column(store, object, field)?;
            let value = checked(&column, value)?;
            Test::Compare { column, is: *is, value }
        }
        Condition::In { field, values, negated } => {
            let column = column(store, object, field)?;
            let (mut texts, mut others) = (Vec::new(), Vec::new());
            for value in values {
                match checked(&column, value)? {
                    Literal::Text(text) => texts.push(text),
                    other => others.push(other),
                }
            }
            texts.sort();
            Test::In { column, texts, others, negated: *negated }
        }
    })
}

/// Columns by their names.
///
/// # Errors
/// `INVALID_FIELD` for one that is not there.
pub fn columns(store: &Store, object: &Object, names: &[String]) -> Result<Vec<Column>, Trouble> {
    names.iter().map(|name| column(store, object, name)).collect()
}

fn held<'a>(row: &'a Row, column: &Column, object: &Object) -> Held<'a> {
    let text = |text: &'a str| Held::Text(Cow::Borrowed(text));
    match column.name.as_str() {
        "Id" => text(&row.id),
        "IsDeleted" => Held::Bool(row.deleted),
        "MasterRecordId" => row.master.as_deref().map_or(Held::Null, text),
        "CreatedDate" => Held::Moment(row.created.div_euclid(1000)),
        "LastModifiedDate" | "SystemModstamp" => Held::Moment(row.stamp()),
        "CreatedById" => text(&row.created_by),
        "LastModifiedById" => text(&row.modified_by),
        "Name" if matches!(object.name, "Lead" | "Contact") => Held::Text(full_name(row)),
        name => match row.fields.get(name) {
            Some(Value::String(value)) if column.kind == Kind::DateTime => {
                parse_moment(value).map_or(Held::Null, |ms| Held::Moment(ms.div_euclid(1000)))
            }
            Some(Value::String(value)) => text(value),
            Some(Value::Bool(value)) => Held::Bool(*value),
            Some(Value::Number(value)) => Held::Number(value.as_f64().unwrap_or_default()),
            _ if column.kind == Kind::Bool => Held::Bool(false),
            _ => Held::Null,
        },
    }
}

/// The value behind a column, over its relationship when it has one.
fn reach<'a>(store: &'a Store, table: &'a Table, row: &'a Row, column: &Column) -> Held<'a> {
    match &column.parent {
        None => held(row, column, &table.object),
        Some(_) => parent(store, row, column).map_or(Held::Null, |(table, row)| held(row, column, &table.object)),
    }
}

fn compare(held: &Held<'_>, literal: &Literal, column: &Column) -> Option<Ordering> {
    match (held, literal) {
        (Held::Text(a), Literal::Text(b)) if column.kind.textual() => Some(a.to_lowercase().as_str().cmp(b)),
        (Held::Text(a), Literal::Text(b)) => Some(a.as_ref().cmp(b)),
        (Held::Bool(a), Literal::Bool(b)) => Some(a.cmp(b)),
        (Held::Number(a), Literal::Number(b)) => a.partial_cmp(b),
        (Held::Moment(a), Literal::Moment(b)) => Some(a.cmp(b)),
        (Held::Null, Literal::Null) => Some(Ordering::Equal),
        (Held::Null, Literal::Text(text)) if text.is_empty() => Some(Ordering::Equal),
        _ => None,
    }
}

/// SQL's LIKE on lower-case texts.
fn like(text: &str, pattern: &str) -> bool {
    let (text, pattern): (Vec<char>, Vec<char>) = (text.chars().collect(), pattern.chars().collect());
    let (mut t, mut p, mut star, mut from) = (0, 0, None, 0);
    while t < text.len() {
        match pattern.get(p) {
            Some('%') => {
                star = Some(p);
                from = t;
                p += 1;
            }
            Some(c) if *c == '_' || *c == text[t] => {
                t += 1;
                p += 1;
            }
            _ => match star {
                Some(at) => {
                    p = at + 1;
                    from += 1;
                    t = from;
                }
                None => return false,
            },
        }
    }
    pattern[p..].iter().all(|c| *c == '%')
}

fn holds(store: &Store, table: &Table, row: &Row, test: &Test) -> bool {
    match test {
        Test::All(parts) => parts.iter().all(|part| holds(store, table, row, part)),
        Test::Any(parts) => parts.iter().any(|part| holds(store, table, row, part)),
        Test::Not(part) => !holds(store, table, row, part),
        Test::Compare { column, is: Is::Like, value } => match (reach(store, table, row, column), value) {
            (Held::Text(text), Literal::Text(pattern)) => like(&text.to_lowercase(), pattern),
            _ => false,
        },
        Test::Compare { column, is, value } => {
            let order = compare(&reach(store, table, row, column), value, column);
            match is {
                Is::Equal => order == Some(Ordering::Equal),
                Is::NotEqual => order != Some(Ordering::Equal),
                Is::Less => order == Some(Ordering::Less),
                Is::AtMost => matches!(order, Some(Ordering::Less | Ordering::Equal)),
                Is::More => order == Some(Ordering::Greater),
                Is::AtLeast => matches!(order, Some(Ordering::Greater | Ordering::Equal)),
                Is::Like => false,
            }
        }
        Test::In { column, texts, others, negated } => {
            let held = reach(store, table, row, column);
            let found = match &held {
                Held::Text(text) if column.kind.textual() => texts.binary_search(&text.to_lowercase()).is_ok(),
                Held::Text(text) => texts.binary_search_by(|t| t.as_str().cmp(text)).is_ok(),
                held => others.iter().any(|value| compare(held, value, column) == Some(Ordering::Equal)),
            };
            found != *negated
        }
    }
}

/// The seconds of SystemModstamp outside of which the condition cannot hold.
fn seconds(test: &Test) -> (i64, i64) {
    const ALL: (i64, i64) = (i64::MIN, i64::MAX);
    match test {
        Test::All(parts) => parts.iter().map(seconds).fold(ALL, |a, b| (a.0.max(b.0), a.1.min(b.1))),
        Test::Any(parts) => parts.iter().map(seconds).reduce(|a, b| (a.0.min(b.0), a.1.max(b.1))).unwrap_or(ALL),
        Test::Compare { column, is, value: Literal::Moment(at) } if stamped(column) => match is {
            Is::Equal => (*at, *at),
            Is::Less => (i64::MIN, at.saturating_sub(1)),
            Is::AtMost => (i64::MIN, *at),
            Is::More => (at.saturating_add(1), i64::MAX),
            Is::AtLeast => (*at, i64::MAX),
            Is::NotEqual | Is::Like => ALL,
        },
        _ => ALL,
    }
}

fn stamped(column: &Column) -> bool {
    column.parent.is_none() && matches!(column.name.as_str(), "SystemModstamp" | "LastModifiedDate")
}

/// Ids that an index gives for this condition, or `None` when no index helps.
fn candidates<'a>(table: &'a Table, test: &'a Test) -> Option<Vec<&'a String>> {
    let by = |column: &Column, texts: &'a [String]| -> Option<Vec<&'a String>> {
        if column.parent.is_some() {
            return None;
        }
        if column.name == "Id" {
            return Some(texts.iter().filter_map(|id| table.seen(id)).map(|row| &row.id).collect());
        }
        let indexed = table.object.any_field(&column.name).is_some_and(super::schema::Field::indexed);
        indexed.then(|| texts.iter().flat_map(|text| table.with_value(&column.name, text)).collect())
    };
    match test {
        Test::All(parts) => parts.iter().filter_map(|part| candidates(table, part)).min_by_key(Vec::len),
        Test::Compare { column, is: Is::Equal, value: Literal::Text(text) } => by(column, std::slice::from_ref(text)),
        Test::In { column, texts, others, negated: false } if others.is_empty() => by(column, texts),
        _ => None,
    }
}

/// The rows that a query finds, in its order. `deleted` also finds deleted rows.
///
/// # Errors
/// As the vendor says it.
pub fn run(store: &Store, query: &Query, deleted: bool) -> Result<Found, Trouble> {
    let no_object = || {
        Trouble::new(
            "INVALID_TYPE",
            format!(
                "sObject type '{}' is not supported. If you are attempting to use a custom object, be sure to append the '__c' after the entity name.",
                query.object
            ),
        )
    };
    let table = store.table(&query.object).ok_or_else(no_object)?;
    let object = &table.object;
    let selected = match &query.columns {
        Columns::Fields(names) => columns(store, object, names)?,
        Columns::Count | Columns::CountField => Vec::new(),
    };
    let test = query.condition.as_ref().map(|c| resolve(store, object, c)).transpose()?;
    let order = query.order.iter().map(|o| Ok((column(store, object, &o.field)?, o.descending, o.nulls_last)));
    let order: Vec<(Column, bool, bool)> = order.collect::<Result<_, Trouble>>()?;

    let keep = |row: &&Row| (deleted || !row.deleted) && test.as_ref().is_none_or(|test| holds(store, table, row, test));
    let (from, to) = test.as_ref().map_or((i64::MIN, i64::MAX), seconds);
    let mut sorted = order.is_empty();
    let mut rows: Vec<&Row> = if let Some(ids) = test.as_ref().and_then(|test| candidates(table, test)) {
        let mut rows: Vec<&Row> = ids.into_iter().filter_map(|id| table.seen(id)).filter(keep).collect();
        rows.sort_by(|a, b| a.id.cmp(&b.id));
        rows.dedup_by(|a, b| a.id == b.id);
        rows
    } else if from > i64::MIN || to < i64::MAX {
        sorted = matches!(order.as_slice(), [(a, false, _), (b, false, _)] if stamped(a) && b.parent.is_none() && b.name == "Id");
        table.between(from, to).filter_map(|id| table.seen(id)).filter(keep).collect()
    } else {
        table.all().filter(keep).collect()
    };
    if !sorted {
        rows.sort_by(|a, b| in_order(store, table, &order, a, b));
    }
    let ids = rows.into_iter().skip(query.offset).take(query.limit.unwrap_or(usize::MAX)).map(|row| row.id.clone()).collect();
    Ok(Found { ids, columns: selected, object: object.name })
}

fn in_order(store: &Store, table: &Table, order: &[(Column, bool, bool)], a: &Row, b: &Row) -> Ordering {
    for (column, descending, nulls_last) in order {
        let (left, right) = (reach(store, table, a, column), reach(store, table, b, column));
        let nulls = |o: Ordering| if *nulls_last { o.reverse() } else { o };
        let ordering = match (&left, &right) {
            (Held::Null, Held::Null) => Ordering::Equal,
            (Held::Null, _) => nulls(Ordering::Less),
            (_, Held::Null) => nulls(Ordering::Greater),
            (left, right) => {
                let ordering = match (left, right) {
                    (Held::Bool(a), Held::Bool(b)) => a.cmp(b),
                    (Held::Number(a), Held::Number(b)) => a.total_cmp(b),
                    (Held::Moment(a), Held::Moment(b)) => a.cmp(b),
                    (Held::Text(a), Held::Text(b)) if column.kind.textual() => a.to_lowercase().cmp(&b.to_lowercase()),
                    (Held::Text(a), Held::Text(b)) => a.cmp(b),
                    _ => Ordering::Equal,
                };
                if *descending { ordering.reverse() } else { ordering }
            }
        };
        if ordering != Ordering::Equal {
            return ordering;
        }
    }
    a.id.cmp(&b.id)
}
