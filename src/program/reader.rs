//! Reads a TOML file against the schema of its type: every error at its place, many at once, unknown keys refused.
//!
//! The schema is the one that editors get, generated from the types, so a key exists in exactly one place.

use std::collections::BTreeSet;

use serde::de::DeserializeOwned;
use serde_json::{Map, Value};
use toml::Spanned;
use toml::de::{DeTable, DeValue};

use crate::errors::{Diagnostic, did_you_mean};
use crate::model::agreement::unit::format_fault;

/// What to do about an error, if there is something to say.
pub struct Hint(Option<String>);

impl From<&str> for Hint {
    fn from(text: &str) -> Self {
        Self(Some(text.to_owned()))
    }
}

impl From<String> for Hint {
    fn from(text: String) -> Self {
        Self(Some(text))
    }
}

impl From<Option<String>> for Hint {
    fn from(text: Option<String>) -> Self {
        Self(text)
    }
}

/// A parsed file that still knows where each value stands.
pub struct Tree<'t> {
    file: &'t str,
    text: &'t str,
    root: Spanned<DeValue<'t>>,
    found: Vec<Diagnostic>,
}

impl<'t> Tree<'t> {
    /// Parses the text; what is not TOML becomes a diagnostic and the rest goes on.
    pub fn parse(file: &'t str, text: &'t str) -> Self {
        let (root, errors) = DeTable::parse_recoverable(text);
        let span = root.span();
        let mut found: Vec<Diagnostic> = errors.iter().map(|e| Diagnostic::from_toml(file, text, "program.syntax", e)).collect();
        // One slip makes the parser stumble on until the line's end: the first of a line is the one to mend.
        found.sort_by_key(|d| (d.line, d.column));
        found.dedup_by_key(|d| d.line);
        Self { file, text, root: Spanned::new(span, DeValue::Table(root.into_inner())), found }
    }

    /// The file as typed data and as plain values, when it fits the schema.
    ///
    /// # Errors
    /// Everything that is wrong with it, in the order of the file.
    pub fn read<T: DeserializeOwned>(&mut self, schema: &Value) -> Result<(T, Value), Vec<Diagnostic>> {
        // Keys that a syntax error swallowed would all be reported missing: the syntax comes first.
        if self.found.is_empty() {
            let mut walk = Walk { file: self.file, text: self.text, schema, found: Vec::new() };
            walk.value(&self.root, schema, "");
            self.found = walk.found;
        }
        let value = to_json(self.root.get_ref());
        if self.found.is_empty() {
            match serde_json::from_value(value.clone()) {
                Ok(typed) => return Ok((typed, value)),
                Err(error) => self.found.push(Diagnostic::whole(self.file, "program.unreadable", error.to_string())),
            }
        }
        Err(self.take())
    }

    /// Notes an error at a value. The path has keys and indexes between dots: `privacy.purpose.0.fields.1`.
    pub fn error(&mut self, path: &str, code: &'static str, message: String, hint: impl Into<Hint>) {
        let at = self.locate(path, false);
        self.note(at, code, message, hint.into().0);
    }

    /// Notes an error at a key.
    pub fn key_error(&mut self, path: &str, code: &'static str, message: String, hint: impl Into<Hint>) {
        let at = self.locate(path, true);
        self.note(at, code, message, hint.into().0);
    }

    /// Notes a warning at a value.
    pub fn warning(&mut self, path: &str, code: &'static str, message: String, hint: impl Into<Hint>) {
        self.error(path, code, message, hint);
        if let Some(last) = self.found.pop() {
            self.found.push(last.warning());
        }
    }

    fn note(&mut self, at: Option<usize>, code: &'static str, message: String, hint: Option<String>) {
        let mut diagnostic = match at {
            Some(offset) => Diagnostic::at(self.file, self.text, offset, code, message),
            None => Diagnostic::whole(self.file, code, message),
        };
        diagnostic.hint = hint;
        self.found.push(diagnostic);
    }

    /// Everything noted so far, in the order of the file.
    pub fn take(&mut self) -> Vec<Diagnostic> {
        let mut found = std::mem::take(&mut self.found);
        found.sort_by(|a, b| (a.line, a.column, &a.message).cmp(&(b.line, b.column, &b.message)));
        found
    }

    /// The place of a value, or of the nearest table around it that the file has.
    fn locate(&self, path: &str, key: bool) -> Option<usize> {
        let mut node = &self.root;
        let mut at = None;
        for step in path.split('.') {
            let next = match node.get_ref() {
                DeValue::Table(table) => table.iter().find(|(k, _)| k.get_ref() == step).map(|(k, v)| (k.span().start, v)),
                DeValue::Array(items) => step.parse().ok().and_then(|i: usize| items.get(i)).map(|v| (v.span().start, v)),
                _ => None,
            };
            let Some((start, value)) = next else { break };
            // Tables are pointed at by their name: a header has no value that starts anywhere.
            at = Some(if key || value.get_ref().is_table() { start } else { value.span().start });
            node = value;
        }
        at
    }
}

fn to_json(value: &DeValue<'_>) -> Value {
    match value {
        DeValue::String(text) => Value::from(text.as_ref()),
        DeValue::Integer(number) => i64::from_str_radix(number.as_str(), number.radix()).map_or(Value::Null, Value::from),
        DeValue::Float(number) => number.as_str().parse::<f64>().map_or(Value::Null, Value::from),
        DeValue::Boolean(yes) => Value::from(*yes),
        DeValue::Datetime(when) => Value::from(when.to_string()),
        DeValue::Array(items) => items.iter().map(|item| to_json(item.get_ref())).collect(),
        DeValue::Table(table) => {
            Value::Object(table.iter().map(|(k, v)| (k.get_ref().to_string(), to_json(v.get_ref()))).collect::<Map<_, _>>())
        }
    }
}

/// What a TOML value is in a schema's words.
fn type_of(value: &DeValue<'_>) -> &'static str {
    match value {
        DeValue::String(_) | DeValue::Datetime(_) => "string",
        DeValue::Integer(_) => "integer",
        DeValue::Float(_) => "number",
        DeValue::Boolean(_) => "boolean",
        DeValue::Array(_) => "array",
        DeValue::Table(_) => "object",
    }
}

/// What a schema wants, in people's words.
fn wanted(schema: &Value) -> &str {
    match schema.get("format").and_then(Value::as_str) {
        Some("date") => return "a day such as 2026-04-01, without quotes",
        Some("date-time") => return "a moment such as 2026-03-20T10:12:00Z, without quotes",
        _ => {}
    }
    match schema.get("type").and_then(Value::as_str).unwrap_or_default() {
        "string" => "text in quotes",
        "integer" => "a whole number",
        "number" => "a number",
        "boolean" => "true or false",
        "array" => "a list in [ ]",
        "object" => "a table in { }",
        other => other,
    }
}

/// The fixed words that a schema lists, if it does.
fn words(schema: &Value) -> Option<Vec<&str>> {
    if let Some(list) = schema.get("enum").and_then(Value::as_array) {
        return list.iter().map(Value::as_str).collect();
    }
    let branches = schema.get("oneOf").and_then(Value::as_array)?;
    branches.iter().map(|b| b.get("const").and_then(Value::as_str)).collect()
}

struct Walk<'a> {
    file: &'a str,
    text: &'a str,
    schema: &'a Value,
    found: Vec<Diagnostic>,
}

impl<'a> Walk<'a> {
    fn fault(&mut self, at: usize, code: &'static str, message: String, hint: Option<String>) {
        let mut diagnostic = Diagnostic::at(self.file, self.text, at, code, message);
        diagnostic.hint = hint;
        self.found.push(diagnostic);
    }

    fn resolve(&self, schema: &'a Value) -> &'a Value {
        let target = schema.get("$ref").and_then(Value::as_str).and_then(|r| r.strip_prefix('#'));
        target.and_then(|pointer| self.schema.pointer(pointer)).unwrap_or(schema)
    }

    fn value(&mut self, node: &Spanned<DeValue<'_>>, schema: &'a Value, path: &str) {
        let schema = self.resolve(schema);
        if let Some(words) = words(schema) {
            return self.word(node, &words, path);
        }
        if let Some(branches) = schema.get("anyOf").and_then(Value::as_array) {
            return self.branch(node, branches, path);
        }
        let expected = schema.get("type").and_then(Value::as_str).unwrap_or_default();
        let given = type_of(node.get_ref());
        if !(expected == given || expected == "number" && given == "integer") {
            let message = format!("`{path}` must be {}", wanted(schema));
            return self.fault(node.span().start, "program.type", message, description(schema));
        }
        match node.get_ref() {
            DeValue::Table(table) => self.table(node, table, schema, path),
            DeValue::Array(items) => self.items(node, items, schema, path),
            DeValue::String(text) => self.text(node, text, schema, path, false),
            DeValue::Datetime(when) => self.text(node, &when.to_string(), schema, path, true),
            DeValue::Integer(number) => {
                let number = i64::from_str_radix(number.as_str(), number.radix()).ok();
                let least = schema.get("minimum").and_then(Value::as_i64).unwrap_or(i64::MIN);
                let most = if schema.get("format").and_then(Value::as_str) == Some("uint32") { i64::from(u32::MAX) } else { i64::MAX };
                if number.is_none_or(|n| n < least || n > most) {
                    let message = format!("`{path}` is out of range");
                    self.fault(
                        node.span().start,
                        "program.value",
                        message,
                        Some(format!("write a whole number from {} to {most}", least.max(-most))),
                    );
                }
            }
            DeValue::Float(number) => {
                if number.as_str().parse::<f64>().is_ok_and(f64::is_finite) {
                    return;
                }
                self.fault(node.span().start, "program.value", format!("`{path}` must be a number"), None);
            }
            DeValue::Boolean(_) => {}
        }
    }

    fn word(&mut self, node: &Spanned<DeValue<'_>>, words: &[&str], path: &str) {
        let given = match node.get_ref() {
            DeValue::String(text) => Some(text.as_ref()),
            _ => None,
        };
        if given.is_some_and(|word| words.contains(&word)) {
            return;
        }
        let list = words.join(", ");
        let (message, near) = match given {
            Some(word) => (format!("`{word}` is not a word for `{path}`"), did_you_mean(word, words.iter().copied())),
            None => (format!("`{path}` must be one of the words {list}"), None),
        };
        let hint = near.map_or_else(|| format!("the words are: {list}"), |near| format!("did you mean `{near}`? The words are: {list}"));
        self.fault(node.span().start, "program.word", message, Some(hint));
    }

    fn branch(&mut self, node: &Spanned<DeValue<'_>>, branches: &'a [Value], path: &str) {
        let given = type_of(node.get_ref());
        let fits = |branch: &&'a Value| {
            let branch = self.resolve(branch);
            let expected = if words(branch).is_some() { Some("string") } else { branch.get("type").and_then(Value::as_str) };
            expected == Some(given) || expected == Some("number") && given == "integer"
        };
        if let Some(branch) = branches.iter().find(fits) {
            return self.value(node, branch, path);
        }
        let kinds: Vec<&str> =
            branches.iter().map(|b| self.resolve(b)).map(|b| if words(b).is_some() { "text in quotes" } else { wanted(b) }).collect();
        self.fault(node.span().start, "program.type", format!("`{path}` must be {}", kinds.join(" or ")), None);
    }

    fn table(&mut self, node: &Spanned<DeValue<'_>>, table: &DeTable<'_>, schema: &'a Value, path: &str) {
        let properties = schema.get("properties").and_then(Value::as_object);
        let others = schema.get("additionalProperties").filter(|a| a.is_object());
        let below = |key: &str| if path.is_empty() { key.to_owned() } else { format!("{path}.{key}") };
        let mut missing: Vec<&str> =
            schema.get("required").and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str).collect();
        missing.retain(|name| !table.keys().any(|key| key.get_ref() == name));
        for (key, value) in table {
            let name = key.get_ref().as_ref();
            if let Some(property) = properties.and_then(|p| p.get(name)).or(others) {
                self.value(value, property, &below(name));
                continue;
            }
            let known: BTreeSet<&str> = properties.map(|p| p.keys().map(String::as_str).collect()).unwrap_or_default();
            let place = if path.is_empty() { "this file".to_owned() } else { format!("`{path}`") };
            let list = known.iter().copied().collect::<Vec<_>>().join(", ");
            let near = did_you_mean(name, known.iter().copied());
            let hint = near.map_or_else(|| format!("the keys here are: {list}"), |near| format!("did you mean `{near}`?"));
            self.fault(key.span().start, "program.unknown_key", format!("`{name}` is not a key of {place}"), Some(hint));
            // A misspelt key is one error, not also a missing one.
            missing.retain(|name| Some(*name) != near);
        }
        for name in missing {
            let hint = properties.and_then(|p| p.get(name)).and_then(|p| description(p).or_else(|| description(self.resolve(p))));
            let hint = hint.map(|what| format!("add `{name}`: {what}"));
            let message = format!("`{}` is missing", below(name));
            if path.is_empty() {
                let mut diagnostic = Diagnostic::whole(self.file, "program.missing", message);
                diagnostic.hint = hint;
                self.found.push(diagnostic);
            } else {
                self.fault(node.span().start, "program.missing", message, hint);
            }
        }
    }

    fn items(&mut self, node: &Spanned<DeValue<'_>>, items: &toml::de::DeArray<'_>, schema: &'a Value, path: &str) {
        let fixed = schema.get("prefixItems").and_then(Value::as_array);
        if let Some(fixed) = fixed
            && fixed.len() != items.len()
        {
            let message = format!("`{path}` must have exactly {} values", fixed.len());
            return self.fault(node.span().start, "program.value", message, None);
        }
        for (i, item) in items.iter().enumerate() {
            if let Some(inner) = fixed.and_then(|f| f.get(i)).or_else(|| schema.get("items")) {
                self.value(item, inner, &format!("{path}[{}]", i + 1));
            }
        }
    }

    fn text(&mut self, node: &Spanned<DeValue<'_>>, text: &str, schema: &'a Value, path: &str, bare: bool) {
        let format = schema.get("format").and_then(Value::as_str).unwrap_or_default();
        if bare != matches!(format, "date" | "date-time") {
            let message = format!("`{path}` must be {}", wanted(schema));
            return self.fault(node.span().start, "program.type", message, description(schema));
        }
        if let Some(message) = format_fault(format, text) {
            self.fault(node.span().start, "program.value", format!("`{path}`: {message}"), None);
        } else if text.trim().is_empty() {
            self.fault(node.span().start, "program.value", format!("`{path}` is empty"), Some("leave the key out, or fill it".to_owned()));
        }
    }
}

fn description(schema: &Value) -> Option<String> {
    schema.get("description").and_then(Value::as_str).map(|d| d.split_whitespace().collect::<Vec<_>>().join(" "))
}

/// The schema of a type as files need it: TOML has no null, so what may be left out is simply not required.
pub fn schema_of<T: schemars::JsonSchema>() -> Value {
    let mut value = schemars::schema_for!(T).to_value();
    without_null(&mut value);
    value
}

fn without_null(value: &mut Value) {
    match value {
        Value::Object(map) => {
            if let Some(Value::Array(branches)) = map.get_mut("anyOf") {
                branches.retain(|branch| branch.get("type").and_then(Value::as_str) != Some("null"));
                if let [Value::Object(only)] = branches.as_mut_slice() {
                    let only = std::mem::take(only);
                    map.remove("anyOf");
                    for (key, inner) in only {
                        map.entry(key).or_insert(inner);
                    }
                }
            }
            if let Some(Value::Array(types)) = map.get_mut("type") {
                types.retain(|t| t != "null");
                if let [only] = types.as_mut_slice() {
                    let only = only.take();
                    map.insert("type".to_owned(), only);
                }
            }
            if map.get("default").is_some_and(Value::is_null) {
                map.remove("default");
            }
            map.values_mut().for_each(without_null);
        }
        Value::Array(items) => items.iter_mut().for_each(without_null),
        _ => {}
    }
}
