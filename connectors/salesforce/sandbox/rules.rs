//! What the vendor checks before it saves, and what saving does beside.

use std::sync::Arc;

use serde_json::Value;

use super::{
    error::{Duplicates, Trouble},
    objects::{LEAD_STATUSES, STAGES},
    schema::{Field, Kind, Object},
    store::{Row, Store, full_id},
};
use crate::sdk::{Fields, Millis};

/// What the duplicate rule does about a lead or contact whose e-mail address is already there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum DuplicateRule {
    /// Nothing.
    Off,
    /// Refuses, unless the client asks to save all the same.
    #[default]
    Alert,
    /// Refuses.
    Block,
}

/// A validation rule: this field must not hold this value.
#[derive(Debug, Clone)]
pub struct Validation {
    /// The object.
    pub object: String,
    /// The field.
    pub field: String,
    /// The value that is refused.
    pub value: Value,
    /// What the rule says.
    pub message: String,
}

/// The rules of an organisation.
#[derive(Debug, Clone, Default)]
pub struct Rules {
    /// What happens about duplicates.
    pub duplicates: DuplicateRule,
    /// Validation rules.
    pub validations: Vec<Validation>,
}

/// Who writes.
#[derive(Debug, Clone, Copy)]
pub struct Actor {
    /// An API client, not a person in the pages.
    pub api: bool,
    /// Whether an alert of the duplicate rule is passed over.
    pub allow_save: bool,
    pub now: Millis,
}

/// What an upsert did.
pub enum Upserted {
    Created(String),
    Updated(String),
    /// Several records hold the value.
    Many(Vec<String>),
}

/// The object of this name, if clients may see it.
fn object(store: &Store, name: &str) -> Result<Arc<Object>, Trouble> {
    store.table(name).map(|table| Arc::clone(&table.object)).ok_or_else(Trouble::not_found)
}

/// Reads a record's fields as they stand in a body: names resolved, types checked.
pub fn read_fields(store: &Store, name: &str, body: &[(String, Value)]) -> Result<Vec<(String, Value)>, Trouble> {
    let object = object(store, name)?;
    let mut fields = Vec::with_capacity(body.len());
    for (key, value) in body.iter().filter(|(key, _)| key != "attributes") {
        let field = object
            .field(key)
            .ok_or_else(|| Trouble::new("INVALID_FIELD", format!("No such column '{key}' on sobject of type {}", object.name)))?;
        check_type(field, value)?;
        fields.push((field.name.clone(), value.clone()));
    }
    Ok(fields)
}

fn check_type(field: &Field, value: &Value) -> Result<(), Trouble> {
    let found = match value {
        Value::Null => return Ok(()),
        Value::Bool(true) => "VALUE_TRUE",
        Value::Bool(false) => "VALUE_FALSE",
        Value::Number(number) if number.is_f64() => "VALUE_NUMBER_FLOAT",
        Value::Number(_) => "VALUE_NUMBER_INT",
        Value::String(_) => "VALUE_STRING",
        Value::Array(_) => "START_ARRAY",
        Value::Object(_) => "START_OBJECT",
    };
    let fits = match field.kind {
        Kind::Bool => value.is_boolean(),
        Kind::Int => value.is_i64() || value.is_u64(),
        kind if kind.numeric() => value.is_number(),
        _ => value.is_string(),
    };
    if fits {
        return Ok(());
    }
    let wanted = match field.kind {
        Kind::Bool => "boolean",
        Kind::Int => "int",
        kind if kind.numeric() => "double",
        Kind::Date => "date",
        Kind::DateTime => "datetime",
        _ => "string",
    };
    Err(Trouble::new(
        "JSON_PARSER_ERROR",
        format!("Cannot deserialize instance of {wanted} from {found} value or request may be missing a required field"),
    ))
}

/// Creates a record and answers its id.
pub fn create(store: &mut Store, rules: &Rules, name: &str, fields: &[(String, Value)], actor: Actor) -> Result<String, Trouble> {
    let object = object(store, name)?;
    if !object.writable {
        return Err(Trouble::new("INSUFFICIENT_ACCESS_OR_READONLY", "insufficient access rights on object id").status(403));
    }
    let forbidden: Vec<&str> =
        fields.iter().map(|(name, _)| name.as_str()).filter(|name| object.field(name).is_some_and(|f| !f.createable)).collect();
    if !forbidden.is_empty() {
        return Err(not_writable("create", &forbidden));
    }
    let by = if actor.api { store.api_user.clone() } else { store.person.clone() };
    let mut row = Row {
        id: String::new(),
        fields: defaults(&object, &by),
        created: actor.now,
        created_by: by.clone(),
        modified: actor.now,
        modified_by: by,
        deleted: false,
        master: None,
        version: 0,
    };
    fill(store, &object, &mut row, fields)?;
    save_checks(store, rules, &object, &row)?;
    duplicate_check(store, rules, &object, &row, actor)?;
    row.id = store.new_id(object.prefix);
    let id = row.id.clone();
    store.created_by_api += u64::from(actor.api);
    store.commit(object.name, row, actor.now);
    Ok(id)
}

/// Changes a record.
pub fn update(store: &mut Store, rules: &Rules, name: &str, id: &str, fields: &[(String, Value)], actor: Actor) -> Result<(), Trouble> {
    let object = object(store, name)?;
    let mut row = existing(store, &object, id)?;
    if row.ticked("IsConverted") {
        return Err(Trouble::new("CANNOT_UPDATE_CONVERTED_LEAD", "cannot reference converted lead"));
    }
    let forbidden: Vec<&str> =
        fields.iter().map(|(name, _)| name.as_str()).filter(|name| object.field(name).is_some_and(|f| !f.updateable)).collect();
    if !forbidden.is_empty() {
        return Err(not_writable("update", &forbidden));
    }
    let before = row.fields.clone();
    fill(store, &object, &mut row, fields)?;
    touch(store, &mut row, actor);
    save_checks(store, rules, &object, &row)?;
    keep_history(store, &object, &before, &row, actor.now);
    store.commit(object.name, row, actor.now);
    Ok(())
}

/// What field tracking keeps of a change; every field is tracked here (an admin may choose twenty).
fn keep_history(store: &mut Store, object: &Object, before: &Fields, row: &Row, now: Millis) {
    let kept_in = match object.name {
        "Lead" => "LeadHistory",
        "Contact" => "ContactHistory",
        _ => return,
    };
    for field in object.fields.iter().filter(|f| before.get(&f.name) != row.fields.get(&f.name)) {
        let value = |fields: &Fields| fields.get(&field.name).cloned().unwrap_or_default();
        let values = [
            (format!("{}Id", object.name), row.id.as_str().into()),
            ("Field".into(), field.name.as_str().into()),
            ("OldValue".into(), value(before)),
            ("NewValue".into(), value(&row.fields)),
        ];
        let id = store.new_id(store.table(kept_in).map_or("", |table| table.object.prefix));
        let by = row.modified_by.clone();
        let entry = Row {
            id,
            fields: values.into_iter().filter(|(_, value)| !value.is_null()).collect(),
            created: now,
            created_by: by.clone(),
            modified: now,
            modified_by: by,
            deleted: false,
            master: None,
            version: 0,
        };
        store.commit(kept_in, entry, now);
    }
}

/// The record, if it is there to be written.
pub fn existing(store: &Store, object: &Object, id: &str) -> Result<Row, Trouble> {
    let id = full_id(id).ok_or_else(|| Trouble::new("MALFORMED_ID", format!("malformed id {id}")))?;
    let row = store.table(object.name).and_then(|table| table.latest(&id)).ok_or_else(Trouble::not_found)?;
    if row.deleted { Err(Trouble::deleted()) } else { Ok(row.clone()) }
}

/// Marks a row as changed by the actor.
pub fn touch(store: &Store, row: &mut Row, actor: Actor) {
    row.modified = actor.now;
    row.modified_by = if actor.api { store.api_user.clone() } else { store.person.clone() };
}

/// Creates or changes the record whose external id holds this value.
pub fn upsert(
    store: &mut Store,
    rules: &Rules,
    name: &str,
    (field, value): (&str, &str),
    fields: &[(String, Value)],
    update_only: bool,
    actor: Actor,
) -> Result<Upserted, Trouble> {
    let object = object(store, name)?;
    let missing = || {
        let message = format!("Provided external ID field does not exist or is not accessible: {field}");
        Trouble::new("NOT_FOUND", message).status(404)
    };
    let key = object.field(field).filter(|f| f.external_id).ok_or_else(missing)?;
    if fields.iter().any(|(name, _)| *name == key.name) {
        let message = format!("The {} field should not be specified in the sobject data.", key.name);
        return Err(Trouble::new("INVALID_FIELD", message));
    }
    if value.trim().is_empty() {
        return Err(Trouble::new("MISSING_ARGUMENT", format!("{} not specified", key.name)));
    }
    let matches = holders(store, name, key, value);
    match matches.as_slice() {
        [id] => {
            update(store, rules, name, id, fields, actor)?;
            Ok(Upserted::Updated(id.clone()))
        }
        [] if update_only => Err(Trouble::not_found()),
        [] => {
            let mut fields = fields.to_vec();
            fields.push((key.name.clone(), value.into()));
            create(store, rules, name, &fields, actor).map(Upserted::Created)
        }
        _ => Ok(Upserted::Many(matches)),
    }
}

/// Live records that hold this value of an external id.
pub fn holders(store: &Store, name: &str, field: &Field, value: &str) -> Vec<String> {
    let Some(table) = store.table(name) else { return Vec::new() };
    if field.unique {
        return table.holder(&field.name, value).map(|row| row.id.clone()).into_iter().collect();
    }
    table.with_value(&field.name, value).filter(|id| table.latest(id).is_some_and(|row| !row.deleted)).cloned().collect()
}

/// Puts a record into the recycle bin.
pub fn delete(store: &mut Store, name: &str, id: &str, actor: Actor) -> Result<(), Trouble> {
    let object = object(store, name)?;
    let mut row = existing(store, &object, id)?;
    row.deleted = true;
    touch(store, &mut row, actor);
    store.commit(object.name, row, actor.now);
    Ok(())
}

fn not_writable(verb: &str, fields: &[&str]) -> Trouble {
    let message = format!(
        "Unable to {verb} fields: {}. Please check the security settings of this field and verify that it is read/write for your profile or permission set.",
        fields.join(", ")
    );
    Trouble::new("INVALID_FIELD_FOR_INSERT_UPDATE", message).fields(fields.iter().copied())
}

fn defaults(object: &Object, owner: &str) -> Fields {
    let mut fields = Fields::new();
    if object.field("OwnerId").is_some() {
        fields.insert("OwnerId".into(), owner.into());
    }
    if object.name == "Lead" {
        fields.insert("Status".into(), LEAD_STATUSES[0].0.into());
        fields.insert("IsUnreadByOwner".into(), true.into());
    }
    fields
}

/// Sets fields, each in the form in which it is kept.
fn fill(store: &Store, object: &Object, row: &mut Row, fields: &[(String, Value)]) -> Result<(), Trouble> {
    for (name, value) in fields {
        let Some(field) = object.any_field(name) else { continue };
        match kept(store, field, value)? {
            Some(value) => row.fields.insert(name.clone(), value),
            None => row.fields.remove(name),
        };
    }
    if object.name == "Opportunity" {
        stage(row, fields.iter().any(|(name, _)| name == "Probability"));
    }
    Ok(())
}

/// What a stage says of the opportunity.
fn stage(row: &mut Row, probability_given: bool) {
    let Some((_, closed, won, probability)) = STAGES.iter().find(|s| row.text("StageName") == Some(s.0)) else { return };
    row.fields.insert("IsClosed".into(), (*closed).into());
    row.fields.insert("IsWon".into(), (*won).into());
    if !probability_given {
        row.fields.insert("Probability".into(), (*probability).into());
    }
}

/// A value as the vendor keeps it; `None` when it is empty.
fn kept(store: &Store, field: &Field, value: &Value) -> Result<Option<Value>, Trouble> {
    let text = match value {
        Value::Null => return Ok(None),
        Value::String(text) => text.trim(),
        other => return Ok(Some(other.clone())),
    };
    if text.is_empty() {
        return Ok(None);
    }
    let fault = |code: &'static str, message: String| Trouble::new(code, message).fields([field.name.as_str()]);
    let value = match field.kind {
        Kind::Date => text.parse::<jiff::civil::Date>().ok().map(|date| date.to_string()),
        Kind::DateTime => super::row::parse_moment(text).map(super::row::moment_text),
        Kind::Reference => {
            let id = full_id(text).ok_or_else(|| fault("MALFORMED_ID", format!("{}: id value of incorrect type: {text}", field.label)))?;
            let there = store.table_of_id(&id).and_then(|table| table.latest(&id)).is_some_and(|row| !row.deleted);
            if !there {
                return Err(fault("INVALID_CROSS_REFERENCE_KEY", "invalid cross reference id".into()));
            }
            Some(id)
        }
        _ => Some(text.to_owned()),
    };
    let Some(value) = value else {
        let message = format!("Cannot deserialize instance of {} from VALUE_STRING value {text}", field.kind.name());
        return Err(Trouble::new("JSON_PARSER_ERROR", message));
    };
    if field.length > 0 && value.chars().count() > field.length {
        return Err(fault("STRING_TOO_LONG", format!("{}: data value too large: {value} (max length={})", field.label, field.length)));
    }
    if field.kind == Kind::Email && !is_email(&value) {
        return Err(fault("INVALID_EMAIL_ADDRESS", format!("{}: invalid email address: {value}", field.label)));
    }
    if field.restricted && !value.split(';').all(|part| field.options.iter().any(|o| o == part)) {
        let message = format!("{}: bad value for restricted picklist field: {value}", field.label);
        return Err(fault("INVALID_OR_NULL_FOR_RESTRICTED_PICKLIST", message));
    }
    Ok(Some(value.into()))
}

fn is_email(text: &str) -> bool {
    let Some((name, domain)) = text.split_once('@') else { return false };
    let label = |part: &str| !part.is_empty() && part.chars().all(|c| c.is_alphanumeric() || c == '-');
    !name.is_empty() && !text.contains(char::is_whitespace) && domain.contains('.') && domain.split('.').all(label)
}

/// What holds for every saved record.
fn save_checks(store: &Store, rules: &Rules, object: &Object, row: &Row) -> Result<(), Trouble> {
    let missing: Vec<&str> = object
        .fields
        .iter()
        .filter(|f| f.createable && !f.nillable && f.kind != Kind::Bool && !row.fields.contains_key(&f.name))
        .map(|f| f.name.as_str())
        .collect();
    if !missing.is_empty() {
        let message = format!("Required fields are missing: [{}]", missing.join(", "));
        return Err(Trouble::new("REQUIRED_FIELD_MISSING", message).fields(missing));
    }
    let converted = |status: &str| LEAD_STATUSES.iter().any(|s| s.0 == status && s.1);
    if object.name == "Lead" && !row.ticked("IsConverted") && row.text("Status").is_some_and(converted) {
        return Err(Trouble::new("FIELD_INTEGRITY_EXCEPTION", "a lead gets a converted status only by being converted").fields(["Status"]));
    }
    for rule in &rules.validations {
        if object.name.eq_ignore_ascii_case(&rule.object) && row.fields.get(&rule.field) == Some(&rule.value) {
            return Err(Trouble::new("FIELD_CUSTOM_VALIDATION_EXCEPTION", rule.message.clone()).fields([rule.field.as_str()]));
        }
    }
    for field in object.fields.iter().filter(|f| f.unique) {
        let holder = row.text(&field.name).and_then(|value| store.table(object.name)?.holder(&field.name, value));
        if let Some(holder) = holder.filter(|holder| holder.id != row.id) {
            let message = format!("duplicate value found: {} duplicates value on record with id: {}", field.name, holder.id);
            return Err(Trouble::new("DUPLICATE_VALUE", message));
        }
    }
    Ok(())
}

/// The standard rules for leads and contacts, by e-mail address; they run when a record is created.
fn duplicate_check(store: &Store, rules: &Rules, object: &Object, row: &Row, actor: Actor) -> Result<(), Trouble> {
    let alert = rules.duplicates == DuplicateRule::Alert;
    if rules.duplicates == DuplicateRule::Off || !matches!(object.name, "Lead" | "Contact") || (alert && (actor.allow_save || !actor.api)) {
        return Ok(());
    }
    let Some(email) = row.text("Email") else { return Ok(()) };
    let mut found = Vec::new();
    for name in ["Lead", "Contact"] {
        let Some(table) = store.table(name) else { continue };
        let same = table.with_value("Email", email).filter_map(|id| table.latest(id));
        found.extend(same.filter(|r| !r.deleted && !r.ticked("IsConverted")).map(|r| (name, r.id.clone())));
    }
    if found.is_empty() {
        return Ok(());
    }
    let mut trouble = Trouble::new("DUPLICATES_DETECTED", "Use one of these records?");
    trouble.duplicates = Some(Duplicates { object: object.name, allow_save: alert, found });
    Err(trouble)
}
