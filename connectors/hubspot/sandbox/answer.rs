//! Answers in HubSpot's forms: bodies, times, errors.

use serde_json::{Map, Value, json};

use crate::sdk::{Millis, Response};

/// A small deterministic generator (splitmix64).
#[derive(Debug, Clone)]
pub(super) struct Rng(pub u64);

impl Rng {
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number below `bound`.
    pub fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound.max(1)
    }

    /// A text in the form of a UUID.
    pub fn uuid(&mut self) -> String {
        let (a, b) = (self.next(), self.next());
        format!("{:08x}-{:04x}-4{:03x}-a{:03x}-{:012x}", a >> 32, (a >> 16) & 0xffff, a & 0xfff, b >> 52, b & 0xffff_ffff_ffff)
    }
}

/// A time as the API writes it. Written out by hand: a page of records holds hundreds.
pub(super) fn iso(at: Millis) -> String {
    let Ok(time) = jiff::Timestamp::from_millisecond(at) else { return String::new() };
    let time = jiff::tz::TimeZone::UTC.to_datetime(time);
    format!(
        "{:04}-{:02}-{:02}T{:02}:{:02}:{:02}.{:03}Z",
        time.year(),
        time.month(),
        time.day(),
        time.hour(),
        time.minute(),
        time.second(),
        time.millisecond()
    )
}

/// A time as the `Date` header writes it.
pub(super) fn http_date(at: Millis) -> String {
    jiff::Timestamp::from_millisecond(at).map(|t| t.strftime("%a, %d %b %Y %H:%M:%S GMT").to_string()).unwrap_or_default()
}

/// A request that HubSpot refuses.
#[derive(Debug, Clone)]
pub(super) struct Refusal {
    pub status: u16,
    pub category: &'static str,
    pub message: String,
    pub sub_category: Option<&'static str>,
    pub errors: Vec<Value>,
    pub context: Map<String, Value>,
}

impl Refusal {
    pub fn new(status: u16, category: &'static str, message: impl Into<String>) -> Self {
        Self { status, category, message: message.into(), sub_category: None, errors: Vec::new(), context: Map::new() }
    }

    pub fn invalid(message: impl Into<String>) -> Self {
        Self::new(400, "VALIDATION_ERROR", message)
    }

    pub fn not_found() -> Self {
        Self::new(404, "OBJECT_NOT_FOUND", "Object not found.  objectId are usually numeric.")
    }

    pub fn no_route() -> Self {
        Self::new(404, "NOT_FOUND", "Resource not found")
    }

    pub fn with(mut self, name: &str, values: &[&str]) -> Self {
        self.context.insert(name.into(), json!(values));
        self
    }

    /// The whole answer.
    pub fn response(&self, correlation: &str) -> Response {
        let mut body = json!({ "status": "error", "message": self.message, "correlationId": correlation, "category": self.category });
        if let Some(sub) = self.sub_category {
            body["subCategory"] = sub.into();
        }
        if !self.errors.is_empty() {
            body["errors"] = json!(self.errors);
        }
        if !self.context.is_empty() {
            body["context"] = json!(self.context);
        }
        Response::json(self.status, &body)
    }

    /// One entry of a batch's `errors`.
    pub fn entry(&self, trace: Option<&str>) -> Value {
        let mut context = self.context.clone();
        if let Some(trace) = trace {
            context.insert("objectWriteTraceId".into(), json!([trace]));
        }
        let mut entry = json!({
            "status": "error",
            "category": self.category,
            "message": self.message,
            "context": context,
            "links": {},
            "errors": self.errors,
        });
        if let Some(sub) = self.sub_category {
            entry["subCategory"] = sub.into();
        }
        entry
    }
}

/// A batch answer; 207 when some inputs failed.
pub(super) fn batch(ok: u16, results: Vec<Value>, errors: Vec<Value>, now: Millis) -> Response {
    let at = iso(now);
    let mut body = json!({ "status": "COMPLETE", "startedAt": at, "completedAt": at });
    body["results"] = Value::Array(results);
    if errors.is_empty() {
        return Response::json(ok, &body);
    }
    body["numErrors"] = errors.len().into();
    body["errors"] = Value::Array(errors);
    Response::json(207, &body)
}
