//! Tryton's REST form: paths, domains in base64url, dates and decimals as tagged objects.

use base64::{Engine as _, engine::general_purpose::URL_SAFE};
use jiff::{Timestamp, civil, tz::TimeZone};
use serde_json::{Map, Value, json};

use crate::sdk::{Heard, ItemFault, Method, Millis, Request, Response, TalkFault};

/// The model that holds leads.
pub const OPPORTUNITY: &str = "sale.opportunity";
/// The model of a person or organisation.
pub const PARTY: &str = "party.party";

/// Requests to one database.
#[derive(Debug, Clone)]
pub struct Rest {
    database: String,
}

impl Rest {
    /// Requests to the database of this name.
    pub fn new(database: &str) -> Self {
        Self { database: percent(database) }
    }

    fn path(&self, tail: &str, query: &[(&str, String)]) -> String {
        let mut url = format!("/{}/rest/model/{tail}", self.database);
        if !query.is_empty() {
            let mut pairs = url::form_urlencoded::Serializer::new(String::new());
            pairs.extend_pairs(query);
            url.push('?');
            url.push_str(&pairs.finish());
        }
        url
    }

    /// Records of a model in a domain, by ascending id; `size` = 0 for all.
    pub fn search(&self, model: &str, domain: &Value, fields: &[String], size: usize) -> Request {
        let mut query = vec![("d", encode(domain)), ("o", encode(&json!([["id", "ASC"]])))];
        if size > 0 {
            query.push(("s", size.to_string()));
        }
        query.extend(fields.iter().map(|f| ("f", f.clone())));
        english(Request::get(self.path(model, &query)))
    }

    /// Calls a method that the model publishes; the body holds its arguments by name.
    pub fn call(&self, model: &str, method: &str, arguments: &Value) -> Request {
        english(Request::json(Method::Post, self.path(&format!("{model}/{method}"), &[]), arguments))
    }

    /// Presses a button on a record.
    pub fn press(&self, model: &str, id: i64, button: &str) -> Request {
        english(Request::json(Method::Post, self.path(&format!("{model}/{id}/{button}"), &[]), &json!({})))
    }

    /// Creates a record; the answer carries the fields named.
    pub fn create(&self, model: &str, values: &Map<String, Value>, fields: &[String]) -> Request {
        let query: Vec<_> = fields.iter().map(|f| ("f", f.clone())).collect();
        english(Request::json(Method::Post, self.path(model, &query), values))
    }

    /// Changes a record.
    pub fn update(&self, model: &str, id: i64, values: &Map<String, Value>) -> Request {
        english(Request::json(Method::Put, self.path(&format!("{model}/{id}"), &[("f", "id".to_owned())]), values))
    }

    /// Deletes a record.
    pub fn delete(&self, model: &str, id: i64) -> Request {
        english(Request::new(Method::Delete, self.path(&format!("{model}/{id}"), &[])))
    }
}

/// Tryton words its refusals in the language asked for, and we tell them apart by their words.
fn english(request: Request) -> Request {
    request.header("accept-language", "en")
}

/// The same request in a context: company, employee, or a moment in the past.
pub fn in_context(request: Request, context: &Value) -> Request {
    request.header("x-tryton-context", encode(context))
}

fn percent(text: &str) -> String {
    url::form_urlencoded::byte_serialize(text.as_bytes()).collect::<String>().replace('+', "%20")
}

fn encode(value: &Value) -> String {
    URL_SAFE.encode(value.to_string())
}

/// A moment as Tryton writes it in a domain or a context (UTC, microseconds).
pub fn datetime(at: Millis) -> Value {
    let at = Timestamp::from_millisecond(at).unwrap_or(Timestamp::MIN).to_zoned(TimeZone::UTC);
    json!({"__class__": "datetime", "year": at.year(), "month": at.month(), "day": at.day(), "hour": at.hour(),
        "minute": at.minute(), "second": at.second(), "microsecond": at.subsec_nanosecond() / 1000})
}

/// The microseconds since the epoch that a tagged date-time states.
pub fn micros(value: &Value) -> Option<i64> {
    if value.get("__class__")?.as_str()? != "datetime" {
        return None;
    }
    let part = |name: &str| value.get(name).and_then(Value::as_i64);
    let small = |name: &str| part(name).and_then(|n| i8::try_from(n).ok());
    let nanos = i32::try_from(part("microsecond")?).ok()?.checked_mul(1000)?;
    let year = i16::try_from(part("year")?).ok()?;
    let at = civil::DateTime::new(year, small("month")?, small("day")?, small("hour")?, small("minute")?, small("second")?, nanos).ok()?;
    Some(at.to_zoned(TimeZone::UTC).ok()?.timestamp().as_microsecond())
}

/// A day as Tryton takes it, from `2026-11-20`.
pub fn date(text: &str) -> Option<Value> {
    let day: civil::Date = text.parse().ok()?;
    Some(json!({"__class__": "date", "year": day.year(), "month": day.month(), "day": day.day()}))
}

/// A value without Tryton's tags: date-times as RFC 3339 in UTC, days as `2026-11-20`, decimals as
/// text (their digits matter), a related record as its id.
pub fn plain(value: &Value) -> Value {
    let Some(object) = value.as_object() else {
        return match value {
            Value::Array(items) => items.iter().map(plain).collect(),
            other => other.clone(),
        };
    };
    let text = |name: &str| object.get(name).cloned().unwrap_or(Value::Null);
    let number = |name: &str| object.get(name).and_then(Value::as_i64).unwrap_or_default();
    match object.get("__class__").and_then(Value::as_str) {
        Some("datetime") => {
            micros(value).and_then(|us| Timestamp::from_microsecond(us).ok()).map_or(Value::Null, |at| Value::String(format!("{at:.6}")))
        }
        Some("date") => Value::String(format!("{:04}-{:02}-{:02}", number("year"), number("month"), number("day"))),
        Some("time") => Value::String(format!("{:02}:{:02}:{:02}", number("hour"), number("minute"), number("second"))),
        Some("Decimal") => text("decimal"),
        Some("timedelta") => text("seconds"),
        Some("bytes") => text("base64"),
        _ if object.contains_key("__name__") => text("id"),
        _ => value.clone(),
    }
}

/// What became of a read, when it is not a good answer.
fn no_answer(what: &str) -> TalkFault {
    TalkFault { code: "no_answer".into(), message: format!("{what}: Tryton could not be reached"), passing: true }
}

/// The JSON of a good answer to a read.
///
/// # Errors
/// Passing when nothing was heard or Tryton failed; lasting when it refused.
pub fn answer(what: &str, heard: Heard<'_>) -> Result<Value, TalkFault> {
    let Heard::Answer(response) = heard else { return Err(no_answer(what)) };
    if response.is_success() {
        return response.value().ok_or_else(|| TalkFault::unexpected(what, response));
    }
    let fault = |code: &str, message: &str, passing| TalkFault { code: code.into(), message: format!("{what}: {message}"), passing };
    Err(match response.status {
        400 => fault(&refusal(response).code, "Tryton refused; compare the user's groups and companies with the README", false),
        401 => fault("key_refused", "the key is not valid (cancelled, not yet validated, or of another database)", false),
        404 => fault("not_found", "no such database at this address", false),
        500 => fault("server_error", "Tryton failed; a field or module that this server does not have is the usual reason", true),
        _ => TalkFault::unexpected(what, response),
    })
}

/// The rows of a good answer to a search.
///
/// # Errors
/// As [`answer`].
pub fn rows(what: &str, heard: Heard<'_>) -> Result<Vec<Value>, TalkFault> {
    match answer(what, heard)? {
        Value::Array(rows) => Ok(rows),
        _ => Err(TalkFault { code: "unexpected_answer".into(), message: format!("{what}: the answer is not a list"), passing: true }),
    }
}

/// The number of a good answer to a count.
///
/// # Errors
/// When the answer is not a good one, or no number.
pub fn number(what: &str, heard: Heard<'_>) -> Result<i64, TalkFault> {
    let fault = || TalkFault { code: "unexpected_answer".into(), message: format!("{what}: the answer is not a number"), passing: true };
    answer(what, heard)?.as_i64().ok_or_else(fault)
}

/// Why Tryton refused a write. Its message repeats values, so only a code and the labels of fields
/// are taken from it. The wordings are those of `ir/message.xml` and `party/message.xml` of 8.2.
pub fn refusal(response: &Response) -> ItemFault {
    let body = response.value().unwrap_or(Value::Null);
    let message = body.get("message").and_then(Value::as_str).unwrap_or_default();
    let label = message.split_once("field \"").and_then(|(_, rest)| rest.split_once('"')).map(|(label, _)| label.to_owned());
    let (code, config) = match response.status {
        403 => ("forbidden", true),
        500 => ("server_error", false),
        _ if message.contains("must be unique") => ("not_unique", false),
        _ if message.starts_with("A value is required") => ("required", false),
        _ if message.starts_with("You are not allowed to modify the field") => ("not_writable", false),
        _ if message.starts_with("You are not allowed") => ("access_denied", true),
        _ if message.starts_with("Calling button") || message.starts_with("You can not call") => ("button_refused", false),
        _ => ("invalid", false),
    };
    ItemFault { code: code.into(), fields: label.into_iter().collect(), passing: response.status >= 500, config }
}

/// A record's id in an answer.
pub fn id_of(row: &Value) -> Option<i64> {
    row.get("id").and_then(Value::as_i64)
}
