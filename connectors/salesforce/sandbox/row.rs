//! Rows as answers show them: values, moments, related records.

use std::{borrow::Cow, fmt::Write as _};

use serde_json::Value;

use super::{
    query::Column,
    schema::{Kind, Object},
    store::{Row, Store, Table},
};
use crate::sdk::Millis;

/// A row's value of one of its own fields, as JSON.
pub fn value(row: &Row, object: &Object, name: &str) -> Value {
    match name {
        "Id" => row.id.as_str().into(),
        "IsDeleted" => row.deleted.into(),
        "MasterRecordId" => row.master.clone().into(),
        "CreatedDate" => moment_text(row.created).into(),
        "LastModifiedDate" | "SystemModstamp" => moment_text(row.modified).into(),
        "CreatedById" => row.created_by.as_str().into(),
        "LastModifiedById" => row.modified_by.as_str().into(),
        "Name" if matches!(object.name, "Lead" | "Contact") => full_name(row).into_owned().into(),
        name => match row.fields.get(name) {
            Some(value) => value.clone(),
            None if object.any_field(name).is_some_and(|field| field.kind == Kind::Bool) => Value::Bool(false),
            None => Value::Null,
        },
    }
}

pub fn full_name(row: &Row) -> Cow<'_, str> {
    match (row.text("FirstName"), row.text("LastName")) {
        (Some(first), Some(last)) => Cow::Owned(format!("{first} {last}")),
        (_, last) => Cow::Borrowed(last.unwrap_or_default()),
    }
}

/// A moment in the vendor's form: milliseconds always zero, no colon in the offset.
pub fn moment_text(ms: Millis) -> String {
    let second = jiff::Timestamp::from_second(ms.div_euclid(1000)).unwrap_or(jiff::Timestamp::UNIX_EPOCH);
    second.strftime("%Y-%m-%dT%H:%M:%S.000+0000").to_string()
}

/// The row that a column reaches over its relationship.
pub fn parent<'a>(store: &'a Store, row: &Row, column: &Column) -> Option<(&'a Table, &'a Row)> {
    let (_, field, object) = column.parent.as_ref()?;
    let id = match field.as_str() {
        "CreatedById" => &row.created_by,
        "LastModifiedById" => &row.modified_by,
        field => row.text(field)?,
    };
    let table = store.table(object)?;
    Some((table, table.seen(id)?))
}

/// Writes a row as a query shows it, `attributes` first.
pub fn write_row(out: &mut String, store: &Store, table: &Table, row: &Row, columns: &[Column], version: &str) {
    let object = &table.object;
    write_attributes(out, object.name, &row.id, version);
    let mut parents: Vec<&str> = Vec::new();
    for column in columns {
        match &column.parent {
            None => {
                let _ = write!(out, ",\"{}\":{}", column.name, value(row, object, &column.name));
            }
            // All columns of one relationship stand together in one value.
            Some((relation, ..)) if !parents.contains(&relation.as_str()) => {
                parents.push(relation);
                let _ = write!(out, ",\"{relation}\":");
                match parent(store, row, column) {
                    None => out.push_str("null"),
                    Some((table, row)) => {
                        write_attributes(out, table.object.name, &row.id, version);
                        let same = columns.iter().filter(|c| c.parent.as_ref().is_some_and(|p| p.0 == *relation));
                        for column in same {
                            let _ = write!(out, ",\"{}\":{}", column.name, value(row, &table.object, &column.name));
                        }
                        out.push('}');
                    }
                }
            }
            Some(_) => {}
        }
    }
    out.push('}');
}

fn write_attributes(out: &mut String, object: &str, id: &str, version: &str) {
    let _ = write!(out, "{{\"attributes\":{{\"type\":\"{object}\",\"url\":\"/services/data/{version}/sobjects/{object}/{id}\"}}");
}

/// A moment as clients write it: `Z`, or an offset with or without a colon.
pub fn parse_moment(text: &str) -> Option<Millis> {
    let parsed = text.parse::<jiff::Timestamp>().or_else(|_| jiff::Timestamp::strptime("%Y-%m-%dT%H:%M:%S%.f%z", text));
    Some(parsed.ok()?.as_millisecond())
}
