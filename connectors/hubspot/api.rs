//! What every HubSpot talk shares: paths by version, values on the wire, records, the outbox.

use std::collections::VecDeque;

use serde_json::{Map, Value};

use super::error;
use crate::sdk::{Account, Ask, Effect, Fields, Heard, Millis, Record, Request, Response, State, Step, Tag, TalkFault, Why};

/// The budget of ordinary requests.
pub(super) const GENERAL: &str = "general";
/// The budget of search requests.
pub(super) const SEARCH: &str = "search";
/// Most records in one batch request.
pub(super) const BATCH: usize = 100;
/// The ids that were merged into a record, joined by `;`. HubSpot makes a new record of a merge;
/// the old ids vanish without being archived.
pub(super) const MERGED_IDS: &str = "hs_merged_object_ids";

/// Paths of one API version.
#[derive(Debug, Clone)]
pub(super) struct Api {
    version: String,
}

impl Api {
    pub fn new(account: &Account) -> Self {
        Self { version: account.api_version.clone() }
    }

    /// Whether the version is one of the older, numbered ones (`v3`).
    fn numbered(&self) -> bool {
        self.version.starts_with('v')
    }

    /// A path below an object: `tail` is empty or starts with `/`.
    pub fn objects(&self, object: &str, tail: &str) -> String {
        let (version, path) = (escape(&self.version), escape(path_name(object)));
        if self.numbered() { format!("/crm/{version}/objects/{path}{tail}") } else { format!("/crm/objects/{version}/{path}{tail}") }
    }

    /// One record.
    pub fn record(&self, object: &str, id: &str) -> String {
        self.objects(object, &format!("/{}", escape(id)))
    }

    /// The properties of an object.
    pub fn properties(&self, object: &str) -> String {
        let (version, path) = (escape(&self.version), escape(path_name(object)));
        if self.numbered() { format!("/crm/{version}/properties/{path}") } else { format!("/crm/properties/{version}/{path}") }
    }

    /// The opt-out statuses of one address by e-mail. Of the numbered versions only v4 has this shape.
    pub fn preferences(&self, email: &str) -> String {
        let version = if self.numbered() { "v4".to_owned() } else { escape(&self.version) };
        format!("/communication-preferences/{version}/statuses/{}?channel=EMAIL", escape(email))
    }

    /// The opt-out statuses of many addresses by e-mail.
    pub fn preferences_of_many(&self) -> String {
        let version = if self.numbered() { "v4".to_owned() } else { escape(&self.version) };
        format!("/communication-preferences/{version}/statuses/batch/read?channel=EMAIL")
    }

    /// Reads associations of many records. Of the numbered versions only v4 has the shape read here.
    pub fn associations(&self, from: &str, to: &str) -> String {
        let (from, to) = (escape(path_name(from)), escape(path_name(to)));
        if self.numbered() {
            format!("/crm/v4/associations/{from}/{to}/batch/read")
        } else {
            format!("/crm/associations/{}/{from}/{to}/batch/read", escape(&self.version))
        }
    }
}

/// The name that HubSpot's paths use for an object of a mapping file. Custom objects are named by
/// their type id (`2-123`) and pass through.
pub(super) fn path_name(object: &str) -> &str {
    match object {
        "contact" => "contacts",
        "company" => "companies",
        "deal" => "deals",
        "lead" => "0-136",
        other => other,
    }
}

/// Contacts are the one object whose modification time has no `hs_` in front.
pub(super) fn modified_property(object: &str) -> &'static str {
    if object == "contact" { "lastmodifieddate" } else { "hs_lastmodifieddate" }
}

/// Escapes one path segment or query value.
pub(super) fn escape(text: &str) -> String {
    use std::fmt::Write as _;
    text.bytes().fold(String::with_capacity(text.len()), |mut out, byte| {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.' | b'~') {
            out.push(char::from(byte));
        } else {
            // Writing into a String cannot fail.
            let _ = write!(out, "%{byte:02X}");
        }
        out
    })
}

/// A value as HubSpot takes it: text, with `""` to clear and `;` between several.
pub(super) fn wire(value: &Value) -> Value {
    let text = match value {
        Value::Null => String::new(),
        Value::String(text) => text.clone(),
        Value::Array(parts) => {
            parts.iter().map(|part| part.as_str().map_or_else(|| part.to_string(), str::to_owned)).collect::<Vec<_>>().join(";")
        }
        other => other.to_string(),
    };
    Value::String(text)
}

/// The fields of a write as a `properties` object.
pub(super) fn properties(fields: &Fields) -> Map<String, Value> {
    fields.iter().map(|(name, value)| (name.clone(), wire(value))).collect()
}

/// Reads a time: ISO 8601 or epoch milliseconds as text.
pub(super) fn millis(text: &str) -> Option<Millis> {
    text.parse::<jiff::Timestamp>().map(jiff::Timestamp::as_millisecond).ok().or_else(|| text.parse().ok())
}

/// Names of a read that no property stands behind carry this sign: histories, and facts beside the
/// record. HubSpot's own names hold letters, digits and underscores only.
pub(super) const NO_PROPERTY: char = '@';
/// Names with this prefix are read from the newest deal of a record.
pub(super) const DEAL_PREFIX: &str = "deal.";

/// What to ask for in `properties`: the wanted fields and what records need themselves.
pub(super) fn wanted(object: &str, fields: &[String]) -> Vec<String> {
    let plain = |name: &&String| !name.contains(NO_PROPERTY) && !name.starts_with(DEAL_PREFIX);
    let mut names: Vec<String> = fields.iter().filter(plain).cloned().collect();
    for own in [modified_property(object), MERGED_IDS] {
        if !names.iter().any(|name| name == own) {
            names.push(own.to_owned());
        }
    }
    names
}

/// One object as HubSpot answers it. Only the asked-for fields are kept.
pub(super) fn record(object: &str, value: &Value, fields: &[String]) -> Option<Record> {
    let id = id_of(value)?;
    let empty = Map::new();
    let properties = value.get("properties").and_then(Value::as_object).unwrap_or(&empty);
    let text = |value: Option<&Value>| value.and_then(Value::as_str).map(str::to_owned);
    let modified = text(properties.get(modified_property(object))).or_else(|| text(value.get("updatedAt")));
    let archived = value.get("archived").and_then(Value::as_bool).unwrap_or(false);
    let version = if archived { text(value.get("archivedAt")).or_else(|| modified.clone()) } else { modified.clone() };
    Some(Record {
        object: object.to_owned(),
        id,
        fields: fields.iter().filter_map(|name| Some((name.clone(), properties.get(name)?.clone()))).collect(),
        version: version.unwrap_or_default(),
        created_at: text(value.get("createdAt")).as_deref().and_then(millis),
        modified_at: modified.as_deref().and_then(millis),
        state: if archived { State::Deleted } else { State::Live },
    })
}

/// The ids that were merged into this record.
pub(super) fn merged_ids(value: &Value) -> Vec<String> {
    let joined = value.pointer("/properties/hs_merged_object_ids").and_then(Value::as_str).unwrap_or_default();
    joined.split(';').map(str::trim).filter(|id| !id.is_empty()).map(str::to_owned).collect()
}

/// A record of which only the end is known.
pub(super) fn ended(object: &str, id: &str, state: State, version: String) -> Record {
    Record { object: object.to_owned(), id: id.to_owned(), fields: Fields::new(), version, created_at: None, modified_at: None, state }
}

/// An id, which HubSpot writes as text in most places and as a number in a few.
pub(super) fn id_text(value: &Value) -> Option<String> {
    match value {
        Value::String(text) if !text.is_empty() => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        _ => None,
    }
}

/// The `id` of an object.
pub(super) fn id_of(value: &Value) -> Option<String> {
    value.get("id").and_then(id_text)
}

/// A list member of an answer, empty when absent.
pub(super) fn list<'a>(value: &'a Value, name: &str) -> &'a [Value] {
    value.get(name).and_then(Value::as_array).map_or(&[], Vec::as_slice)
}

/// The `after` of the next page. Pages may be short or empty and still have one.
pub(super) fn next_after(value: &Value) -> Option<String> {
    value.pointer("/paging/next/after").and_then(id_text)
}

/// The answer of a read as JSON, or why the talk cannot go on.
pub(super) fn answer(what: &str, heard: Heard<'_>) -> Result<Value, TalkFault> {
    let response = response(heard)?;
    if !response.is_success() {
        return Err(error::fault(what, response));
    }
    response.value().ok_or_else(|| TalkFault::unexpected(what, response))
}

/// The answer of a read, or why there is none.
pub(super) fn response(heard: Heard<'_>) -> Result<&Response, TalkFault> {
    match heard {
        Heard::Answer(response) => Ok(response),
        Heard::NotSent(why) => Err(TalkFault {
            code: "not_sent".into(),
            message: match why {
                Why::Unreachable => "HubSpot could not be reached".into(),
                Why::DeadlinePassed => "the time for this request ran out before it was sent".into(),
            },
            passing: true,
        }),
        Heard::Unknown => Err(TalkFault { code: "no_answer".into(), message: "HubSpot gave no answer".into(), passing: true }),
    }
}

/// The steps that a talk has ready.
#[derive(Debug, Default)]
pub(super) struct Outbox {
    steps: VecDeque<Step>,
    asked: Tag,
}

impl Outbox {
    /// Asks; the tag names the ask.
    pub fn ask(&mut self, request: Request, effect: Effect, budget: &'static str) -> Tag {
        self.asked += 1;
        self.steps.push_back(Step::Ask(Ask { tag: self.asked, request, effect, cost: vec![(budget, 1)] }));
        self.asked
    }

    /// Adds a step.
    pub fn push(&mut self, step: Step) {
        self.steps.push_back(step);
    }

    /// Ends the talk badly; what was ready is dropped.
    pub fn fail(&mut self, fault: TalkFault) {
        self.steps.clear();
        self.steps.push_back(Step::Failed(fault));
    }

    /// The next step, or `Wait`.
    pub fn next(&mut self) -> Step {
        self.steps.pop_front().unwrap_or(Step::Wait)
    }
}
