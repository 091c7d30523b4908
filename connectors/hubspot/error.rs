//! Reading HubSpot's error bodies. Their texts can repeat what was sent, so none of them leaves
//! this file: only codes, property names and ids do.

use serde_json::Value;

use super::api;
use crate::sdk::{ItemFault, Response, TalkFault};

/// What an error body, or one entry of a batch's `errors`, says. Every part but the message may be missing.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Problem {
    /// `VALIDATION_ERROR`, `CONFLICT`, `OBJECT_NOT_FOUND`, …
    pub category: String,
    /// Codes with the property each names.
    pub codes: Vec<(String, Option<String>)>,
    /// The record that already holds what was sent.
    pub existing: Option<String>,
    /// Everything the context names: ids, write trace ids, property names.
    pub context: Vec<String>,
}

impl Problem {
    /// Reads an error body.
    pub fn read(body: &Value) -> Self {
        let message = body.get("message").and_then(Value::as_str).unwrap_or_default();
        let mut problem = Self {
            category: body.get("category").or_else(|| body.get("errorType")).and_then(Value::as_str).unwrap_or_default().to_owned(),
            codes: Vec::new(),
            existing: digits_after(message, "Existing ID: "),
            context: context_values(body.get("context")),
        };
        problem.read_message(message);
        for entry in api::list(body, "errors") {
            let text = entry.get("message").and_then(Value::as_str).unwrap_or_default();
            let named = entry.pointer("/context/propertyName/0").and_then(Value::as_str).map(str::to_owned);
            if let Some(code) = entry.get("code").or_else(|| entry.get("error")).and_then(Value::as_str) {
                problem.add(code, named.or_else(|| entry.get("name").and_then(Value::as_str).map(str::to_owned)));
            } else {
                problem.read_message(text);
            }
            problem.existing = problem.existing.take().or_else(|| digits_after(text, "Existing ID: "));
            problem.context.extend(context_values(entry.get("context")));
        }
        problem
    }

    /// The two forms in which details hide inside the message text.
    fn read_message(&mut self, message: &str) {
        // "Property values were not valid: [{"isValid":false,"error":"INVALID_EMAIL","name":"email",…}]"
        if let Some(start) = message.find('[')
            && message.starts_with("Property values were not valid")
            && let Some(Ok(Value::Array(entries))) = serde_json::Deserializer::from_str(&message[start..]).into_iter().next()
        {
            for entry in &entries {
                if let Some(code) = entry.get("error").and_then(Value::as_str) {
                    self.add(code, entry.get("name").and_then(Value::as_str).map(str::to_owned));
                }
            }
        }
        // "Cannot set PropertyValueCoordinates{…, propertyName=x, value=…} on 1. 2 already has that value."
        if message.contains("already has that value") {
            let name = message.split("propertyName=").nth(1).and_then(|rest| rest.split([',', '}']).next());
            self.add("CONFLICTING_UNIQUE_VALUE", name.map(str::to_owned));
        }
    }

    fn add(&mut self, code: &str, field: Option<String>) {
        let pair = (code.to_owned(), field);
        if !self.codes.contains(&pair) {
            self.codes.push(pair);
        }
    }

    /// Whether the record written to is not there.
    pub fn missing(&self) -> bool {
        self.category == "OBJECT_NOT_FOUND"
    }

    /// Properties that the account does not have.
    pub fn unknown_properties(&self) -> Vec<&str> {
        self.codes.iter().filter(|(code, _)| code == "PROPERTY_DOESNT_EXIST").filter_map(|(_, field)| field.as_deref()).collect()
    }

    /// The fault of one item. A conflict on `marker_field` means that the same create is being
    /// processed elsewhere, so it passes.
    pub fn item_fault(&self, status: u16, marker_field: &str) -> ItemFault {
        let code = match self.codes.first() {
            Some((code, _)) => code.clone(),
            None if self.category.is_empty() => format!("HTTP_{status}"),
            None => self.category.clone(),
        };
        let mut fields: Vec<String> = self.codes.iter().filter_map(|(_, field)| field.clone()).collect();
        fields.dedup();
        let config = status == 403
            || self.category == "MISSING_SCOPES"
            || self.codes.iter().any(|(code, _)| matches!(code.as_str(), "PROPERTY_DOESNT_EXIST" | "READ_ONLY_VALUE"));
        let marker_race =
            self.codes.iter().any(|(code, field)| code == "CONFLICTING_UNIQUE_VALUE" && field.as_deref() == Some(marker_field));
        let passing = !config
            && (marker_race
                || matches!(status, 401 | 408 | 423 | 429)
                || matches!(self.category.as_str(), "RATE_LIMITS" | "RATE_LIMIT" | "INTERNAL_ERROR" | "LOCKED"));
        ItemFault { code, fields, passing, config }
    }
}

/// Why a talk cannot go on after this answer.
pub(super) fn fault(what: &str, response: &Response) -> TalkFault {
    let problem = response.value().map(|body| Problem::read(&body)).unwrap_or_default();
    let item = problem.item_fault(response.status, "");
    let fields = if item.fields.is_empty() { String::new() } else { format!(" (fields: {})", item.fields.join(", ")) };
    TalkFault {
        message: format!("{what}: HubSpot answered {} {}{fields}", response.status, item.code),
        code: item.code,
        passing: item.passing || response.status >= 500,
    }
}

/// All texts and numbers of a `context` object, whose values are lists.
fn context_values(context: Option<&Value>) -> Vec<String> {
    let Some(context) = context.and_then(Value::as_object) else { return Vec::new() };
    context
        .values()
        .flat_map(|value| value.as_array().map_or(std::slice::from_ref(value), Vec::as_slice))
        .filter_map(api::id_text)
        .collect()
}

/// The digits that follow a text.
fn digits_after(message: &str, before: &str) -> Option<String> {
    let rest = message.split_once(before)?.1;
    let digits: String = rest.chars().take_while(char::is_ascii_digit).collect();
    (!digits.is_empty()).then_some(digits)
}
