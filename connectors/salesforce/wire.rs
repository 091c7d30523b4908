//! What Salesforce's answers look like, read once into plain values.

use std::fmt::Write as _;

use serde_json::{Map, Value};

use super::soql;
use crate::sdk::{ItemFault, Millis, Record, Request, Response, State, TalkFault};

/// Our name in change events, so that our own writes are recognisable there.
const CALL_OPTIONS: (&str, &str) = ("sforce-call-options", "client=leadshare");
/// The budget that every data request spends from.
pub const COST: (&str, u32) = ("daily", 1);

/// Marks a version that was read within its own second: the row may change again under the same stamp.
const UNSETTLED: &str = "~";

/// Where data requests of one API version go.
#[derive(Debug, Clone)]
pub struct Api {
    root: String,
}

impl Api {
    /// `version` as `v66.0` or `66.0`.
    pub fn new(version: &str) -> Self {
        Self { root: format!("/services/data/v{}", version.trim_start_matches('v')) }
    }

    /// The path of a resource.
    pub fn path(&self, rest: &str) -> String {
        format!("{}/{rest}", self.root)
    }

    /// A SOQL query; `all` also finds deleted and merged rows.
    pub fn query(&self, soql: &str, all: bool) -> Request {
        let text: String = url::form_urlencoded::byte_serialize(soql.as_bytes()).collect();
        signed(Request::get(self.path(&format!("{}?q={text}", if all { "queryAll" } else { "query" }))))
    }

    /// An object's description.
    pub fn describe(&self, object: &str) -> Request {
        signed(Request::get(self.path(&format!("sobjects/{object}/describe"))))
    }
}

/// The request with our name on it.
pub fn signed(request: Request) -> Request {
    request.header(CALL_OPTIONS.0, CALL_OPTIONS.1)
}

/// A value as part of a path.
pub fn segment(value: &str) -> String {
    value.bytes().fold(String::with_capacity(value.len()), |mut out, b| {
        if b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'~') {
            out.push(char::from(b));
        } else {
            let _ = write!(out, "%{b:02X}");
        }
        out
    })
}

/// One error of an answer. The vendor's message is not kept: it may repeat a person's data.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ApiError {
    /// `errorCode`, or `statusCode` in collections.
    pub code: String,
    /// The fields named.
    pub fields: Vec<String>,
    /// For a duplicate rule: object and id of the records matched, best first.
    pub matches: Vec<(String, String)>,
}

impl ApiError {
    fn read(value: &Value) -> Option<Self> {
        let code = value.get("errorCode").or_else(|| value.get("statusCode"))?.as_str()?.to_owned();
        let mut fields: Vec<String> =
            value.get("fields").and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str).map(str::to_owned).collect();
        if fields.is_empty() {
            fields.extend(value.get("message").and_then(Value::as_str).and_then(|m| column_named(&code, m)).map(str::to_owned));
        }
        // The misspelt key is what Salesforce sends.
        let duplicates = ["duplicateResut", "duplicateResult"].iter().find_map(|key| value.get(*key));
        Some(Self { code, fields, matches: duplicates.map(matches).unwrap_or_default() })
    }

    /// As the fault of one item.
    pub fn item_fault(&self) -> ItemFault {
        ItemFault { code: self.code.clone(), fields: self.fields.clone(), passing: passing(&self.code), config: config(&self.code) }
    }
}

/// The records that a duplicate rule matched, best first.
fn matches(result: &Value) -> Vec<(String, String)> {
    let list = |value: &Value, key: &str| value.get(key).and_then(Value::as_array).cloned().unwrap_or_default();
    let mut found: Vec<(f64, String, String)> = Vec::new();
    for of_object in list(result, "matchResults") {
        for hit in list(&of_object, "matchRecords") {
            let record = hit.get("record").unwrap_or(&Value::Null);
            let id = record.get("Id").or_else(|| record.get("id")).and_then(Value::as_str);
            let object = record.pointer("/attributes/type").or_else(|| of_object.get("entityType")).and_then(Value::as_str);
            if let (Some(id), Some(object)) = (id, object) {
                let sure = hit.get("matchConfidence").and_then(Value::as_f64).unwrap_or(0.0);
                found.push((sure, object.to_owned(), id.to_owned()));
            }
        }
    }
    found.sort_by(|a, b| b.0.total_cmp(&a.0));
    found.into_iter().map(|(_, object, id)| (object, id)).collect()
}

/// The column that `INVALID_FIELD` complains of: `No such column 'X' on ...`. Only an API name is taken.
fn column_named<'a>(code: &str, message: &'a str) -> Option<&'a str> {
    let column = message.split_once("No such column '")?.1.split('\'').next()?;
    (code == "INVALID_FIELD" && soql::name(column).is_ok()).then_some(column)
}

/// Codes after which the same write may succeed later.
fn passing(code: &str) -> bool {
    matches!(
        code,
        "UNABLE_TO_LOCK_ROW"
            | "SERVER_UNAVAILABLE"
            | "QUERY_TIMEOUT"
            | "REQUEST_RUNNING_TOO_LONG"
            | "REQUEST_LIMIT_EXCEEDED"
            | "UNKNOWN_EXCEPTION"
            | "ALL_OR_NONE_OPERATION_ROLLED_BACK"
            | "PROCESSING_HALTED"
    )
}

/// Codes that stay until an admin changes the organisation's set-up or the mapping.
fn config(code: &str) -> bool {
    matches!(
        code,
        "INVALID_FIELD"
            | "INVALID_FIELD_FOR_INSERT_UPDATE"
            | "INVALID_TYPE"
            | "CANNOT_INSERT_UPDATE_ACTIVATE_ENTITY"
            | "DUPLICATE_EXTERNAL_ID"
            | "STORAGE_LIMIT_EXCEEDED"
            | "API_DISABLED_FOR_ORG"
            | "NOT_FOUND"
    ) || code.starts_with("INSUFFICIENT_ACCESS")
}

/// The errors of an answer: an array, or (in collections) the list of one item.
pub fn errors(value: &Value) -> Vec<ApiError> {
    match value {
        Value::Array(list) => list.iter().filter_map(ApiError::read).collect(),
        Value::Object(_) => ApiError::read(value).into_iter().collect(),
        _ => Vec::new(),
    }
}

/// The first error of an answer.
pub fn first_error(response: &Response) -> Option<ApiError> {
    errors(&response.value()?).into_iter().next()
}

/// Why an operation cannot go on from this answer.
pub fn fault(what: &str, response: &Response) -> TalkFault {
    let Some(error) = first_error(response) else { return TalkFault::unexpected(what, response) };
    let named = error.fields.join(", ");
    let hint = match error.code.as_str() {
        "INVALID_FIELD" => format!(
            "; {} does not exist or is hidden from the connected user: Setup > Object Manager > Fields & Relationships > Set Field-Level Security",
            if named.is_empty() { "a field" } else { &named }
        ),
        "INVALID_TYPE" => "; the object is hidden from the connected user: give its profile or permission set Read on the object".into(),
        _ => String::new(),
    };
    TalkFault {
        message: format!("{what}: Salesforce answered {}{hint}", response.status),
        passing: passing(&error.code) || response.status >= 500,
        code: error.code,
    }
}

/// Why an operation cannot go on when no answer came.
pub fn no_answer(what: &str) -> TalkFault {
    TalkFault { code: "no_answer".into(), message: format!("{what}: no answer came from Salesforce"), passing: true }
}

/// One page of a query.
pub struct Page {
    /// The rows.
    pub rows: Vec<Map<String, Value>>,
    /// Where the next page is, as a path.
    pub next: Option<String>,
    /// The second in which the vendor answered, when it said.
    pub answered: Option<i64>,
}

/// Reads a page of a query.
///
/// # Errors
/// What the vendor says, or an answer that is no page.
pub fn page(what: &str, response: &Response) -> Result<Page, TalkFault> {
    if response.status != 200 {
        return Err(fault(what, response));
    }
    let unexpected = || TalkFault::unexpected(what, response);
    let Some(Value::Object(mut body)) = response.value() else { return Err(unexpected()) };
    let Some(Value::Array(rows)) = body.remove("records") else { return Err(unexpected()) };
    let next = match body.remove("nextRecordsUrl") {
        None | Some(Value::Null) => None,
        Some(Value::String(path)) if path.starts_with("/services/data/") => Some(path),
        Some(_) => return Err(unexpected()),
    };
    let rows = rows.into_iter().map(|row| if let Value::Object(row) = row { Ok(row) } else { Err(unexpected()) });
    Ok(Page { rows: rows.collect::<Result<_, _>>()?, next, answered: answered(response) })
}

/// The second in which the vendor answered, by its `Date` header.
pub fn answered(response: &Response) -> Option<i64> {
    Some(jiff::fmt::rfc2822::parse(response.header("date")?).ok()?.timestamp().as_second())
}

/// The columns that a record needs besides those asked for.
pub fn own_columns(object: &str) -> &'static [&'static str] {
    match object {
        "Lead" | "Contact" | "Account" => &["Id", "SystemModstamp", "CreatedDate", "IsDeleted", "MasterRecordId"],
        _ => &["Id", "SystemModstamp", "CreatedDate", "IsDeleted"],
    }
}

/// A text column.
pub fn text<'a>(row: &'a Map<String, Value>, column: &str) -> Option<&'a str> {
    row.get(column)?.as_str()
}

/// A moment as the REST API writes it: `2026-05-06T11:29:24.000+0000`.
pub fn moment(text: &str) -> Option<Millis> {
    let parsed = jiff::Timestamp::strptime("%Y-%m-%dT%H:%M:%S%.f%z", text).or_else(|_| text.parse());
    Some(parsed.ok()?.as_millisecond())
}

/// A row as a record. `None` when it lacks its id or stamp.
pub fn record(object: &str, row: &Map<String, Value>, wanted: &[String], answered: Option<i64>) -> Option<Record> {
    let stamp = text(row, "SystemModstamp")?;
    let modified_at = moment(stamp)?;
    let settled = answered.is_none_or(|second| second > modified_at.div_euclid(1000));
    let state = match (row.get("IsDeleted").and_then(Value::as_bool), text(row, "MasterRecordId")) {
        (Some(true), Some(master)) => State::Merged(master.to_owned()),
        (Some(true), None) => State::Deleted,
        _ => State::Live,
    };
    Some(Record {
        object: object.to_owned(),
        id: text(row, "Id")?.to_owned(),
        fields: wanted.iter().filter_map(|name| Some((name.clone(), column(row, name)?.clone()))).collect(),
        version: if settled { stamp.to_owned() } else { format!("{stamp}{UNSETTLED}") },
        created_at: text(row, "CreatedDate").and_then(moment),
        modified_at: Some(modified_at),
        state,
    })
}

/// A column by its dotted name; the vendor answers in its own spelling of upper and lower case.
fn column<'a>(row: &'a Map<String, Value>, name: &str) -> Option<&'a Value> {
    let (head, rest) = name.split_once('.').map_or((name, None), |(head, rest)| (head, Some(rest)));
    let value = row.get(head).or_else(|| row.iter().find(|(key, _)| key.eq_ignore_ascii_case(head)).map(|(_, value)| value))?;
    match (rest, value) {
        (None, value) => Some(value),
        (Some(rest), Value::Object(parent)) => column(parent, rest),
        (Some(_), _) => Some(&Value::Null),
    }
}
