//! A TOML text with the place of every key and value, checked against the shape that a JSON Schema gives.

use std::collections::BTreeSet;

use serde_json::Value;
use toml::Spanned;
use toml::de::{DeTable, DeValue};

use crate::errors::{Diagnostic, did_you_mean};

/// A parsed TOML text that knows where everything stands.
pub struct Doc<'a> {
    file: &'a str,
    text: &'a str,
    root: Spanned<DeTable<'a>>,
}

/// Which part of an entry a diagnostic points to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    /// The key.
    Key,
    /// The value.
    Value,
}

impl<'a> Doc<'a> {
    /// Parses a text; all syntax errors at once.
    pub fn parse(file: &'a str, text: &'a str) -> Result<Self, Vec<Diagnostic>> {
        let (root, errors) = DeTable::parse_recoverable(text);
        if errors.is_empty() {
            return Ok(Self { file, text, root });
        }
        let told = |e| Diagnostic::from_toml(file, text, "mapping.syntax", e).hint("look at the quotes, brackets and commas here");
        Err(errors.iter().map(told).collect())
    }

    /// An error at a key or value; at the nearest parent that is there when it is absent.
    pub fn error(&self, path: &[&str], part: Part, code: &'static str, message: impl Into<String>) -> Diagnostic {
        Diagnostic::at(self.file, self.text, self.offset(path, part), code, message)
    }

    /// Line and column, from 1, of a key or value.
    pub fn place(&self, path: &[&str], part: Part) -> (usize, usize) {
        crate::errors::position(self.text, self.offset(path, part))
    }

    fn offset(&self, path: &[&str], part: Part) -> usize {
        let mut table = Some(self.root.get_ref());
        let mut list = None;
        let mut found = 0;
        for (at, step) in path.iter().enumerate() {
            let last = at + 1 == path.len();
            let value = if let Some(table) = table.take() {
                let Some((key, value)) = table.iter().find(|(key, _)| key.get_ref() == step) else { return found };
                found = if last && part == Part::Value { value_start(key, value) } else { key.span().start };
                value
            } else if let Some(value) = list.take().and_then(|list: &toml::de::DeArray<'a>| list.get(step.parse::<usize>().ok()?)) {
                found = value.span().start;
                value
            } else {
                return found;
            };
            match value.get_ref() {
                DeValue::Table(inner) => table = Some(inner),
                DeValue::Array(inner) => list = Some(inner),
                // A short form stands for the keys that it lacks.
                _ if !last => return value.span().start,
                _ => {}
            }
        }
        found
    }

    /// Everything in which the text differs from the shape: unknown and missing keys, wrong types, unknown words.
    pub fn check_shape(&self, schema: &Value) -> Misshapen {
        let mut check = Check { doc: self, root: schema, out: Misshapen::default() };
        check.table(self.root.get_ref(), 0, schema, "");
        check.out
    }

    /// Reads the text without the entries that are to blame, so that the rest can be checked all the same.
    pub fn read<T: serde::de::DeserializeOwned>(&self, without: &BTreeSet<String>) -> Result<T, Diagnostic> {
        let mut root = self.root.clone();
        for entry in without {
            match entry.split_once('.') {
                Some((block, inner)) => {
                    if let Some(DeValue::Table(table)) = root.get_mut().get_mut(block).map(Spanned::get_mut) {
                        table.remove(inner);
                    }
                }
                None => {
                    root.get_mut().remove(entry.as_str());
                }
            }
        }
        let read = T::deserialize(toml::Deserializer::from(root));
        read.map_err(|error| Diagnostic::from_toml(self.file, self.text, "mapping.shape", &error))
    }
}

/// What a check of the shape found.
#[derive(Default)]
pub struct Misshapen {
    /// The errors.
    pub errors: Vec<Diagnostic>,
    /// The entries that they are in: `fields.email` for a field, the block's name for anything else.
    pub entries: BTreeSet<String>,
}

/// The hint for a word that is not known: the near one that may be meant, or something else to say.
pub fn meant<'k>(word: &str, known: impl IntoIterator<Item = &'k str>, otherwise: impl Into<String>) -> String {
    did_you_mean(word, known).map_or_else(|| otherwise.into(), |near| format!("did you mean `{near}`?"))
}

/// Where to point for a value: a table under a header has no place of its own, so its key is shown.
fn value_start(key: &Spanned<toml::de::DeString<'_>>, value: &Spanned<DeValue<'_>>) -> usize {
    if value.span().start < key.span().start { key.span().start } else { value.span().start }
}

struct Check<'c> {
    doc: &'c Doc<'c>,
    root: &'c Value,
    out: Misshapen,
}

impl<'c> Check<'c> {
    fn error(&mut self, path: &str, offset: usize, code: &'static str, message: String, hint: Option<String>) {
        let mut diagnostic = Diagnostic::at(self.doc.file, self.doc.text, offset, code, message);
        diagnostic.hint = hint;
        self.out.errors.push(diagnostic);
        let mut steps = path.split(['.', '[']);
        let block = steps.next().unwrap_or_default();
        let entry = if block == "fields" { steps.next().map(|field| format!("fields.{field}")) } else { None };
        self.out.entries.insert(entry.unwrap_or_else(|| block.to_owned()));
    }

    fn resolve(&self, schema: &'c Value) -> &'c Value {
        let mut schema = schema;
        while let Some(name) = schema.get("$ref").and_then(Value::as_str) {
            let Some(target) = name.strip_prefix('#').and_then(|pointer| self.root.pointer(pointer)) else { break };
            schema = target;
        }
        schema
    }

    fn value(&mut self, value: &Spanned<DeValue<'_>>, offset: usize, schema: &'c Value, path: &str) {
        let schema = self.resolve(schema);
        if let Some(branches) = schema.get("anyOf").and_then(Value::as_array) {
            let mut kinds = Vec::new();
            for branch in branches {
                let branch = self.resolve(branch);
                if branch.get("anyOf").is_some() || accepts(branch, value.get_ref()) {
                    return self.value(value, offset, branch, path);
                }
                kinds.extend(types(branch));
            }
            return self.wrong_type(value, offset, path, &kinds);
        }
        let words = words(schema);
        if !words.is_empty() {
            match value.get_ref() {
                DeValue::String(word) if words.contains(&word.as_ref()) => {}
                DeValue::String(word) => {
                    let hint = meant(word, words.iter().copied(), format!("use one of: {}", words.join(", ")));
                    self.error(path, offset, "mapping.unknown_word", format!("`{word}` is not a value of `{path}`"), Some(hint));
                }
                _ => self.error(path, offset, "mapping.wrong_type", format!("`{path}` must be one of: {}", words.join(", ")), None),
            }
            return;
        }
        if let DeValue::Datetime(_) = value.get_ref() {
            let hint = "put it in quotes";
            return self.error(path, offset, "mapping.wrong_type", format!("`{path}` must not be a bare date"), Some(hint.to_owned()));
        }
        if !accepts(schema, value.get_ref()) {
            return self.wrong_type(value, offset, path, &types(schema));
        }
        match value.get_ref() {
            DeValue::Table(table) => self.table(table, offset, schema, path),
            DeValue::Array(list) => {
                if let Some(most) = schema.get("maxItems").and_then(Value::as_u64)
                    && list.len() as u64 > most
                {
                    let hint = "leave the others out".to_owned();
                    self.error(path, offset, "mapping.too_many", format!("`{path}` takes at most {most} values"), Some(hint));
                }
                if let Some(items) = schema.get("items") {
                    for (index, item) in list.iter().enumerate() {
                        self.value(item, item.span().start, items, &format!("{path}[{}]", index + 1));
                    }
                }
            }
            DeValue::Integer(number) => {
                let least = schema.get("minimum").and_then(Value::as_i64);
                if let (Some(least), Ok(number)) = (least, i64::from_str_radix(number.as_str(), number.radix()))
                    && number < least
                {
                    let hint = "leave it out if there is no limit".to_owned();
                    self.error(path, offset, "mapping.too_small", format!("`{path}` must be at least {least}"), Some(hint));
                }
            }
            _ => {}
        }
    }

    fn table(&mut self, table: &DeTable<'_>, offset: usize, schema: &'c Value, path: &str) {
        let schema = self.resolve(schema);
        let no_properties = serde_json::Map::new();
        let properties = schema.get("properties").and_then(Value::as_object);
        let own = schema.get("patternProperties").and_then(Value::as_object).and_then(|p| p.get("^x_."));
        for (key, value) in table {
            let name = key.get_ref().as_ref();
            let at = value_start(key, value);
            let here = if path.is_empty() { name.to_owned() } else { format!("{path}.{name}") };
            if let Some(inner) = properties.and_then(|p| p.get(name)) {
                self.value(value, at, inner, &here);
            } else if let Some(inner) = own.filter(|_| name.len() > 2 && name.starts_with("x_")) {
                self.value(value, at, inner, &here);
            } else {
                match schema.get("additionalProperties") {
                    Some(inner @ Value::Object(_)) => self.value(value, at, inner, &here),
                    Some(Value::Bool(false)) => {
                        let known: Vec<&str> = properties.unwrap_or(&no_properties).keys().map(String::as_str).collect();
                        let otherwise = match own {
                            Some(_) => "use a field of the common lead, or an own one that starts with `x_`".to_owned(),
                            None => format!("known here: {}", known.join(", ")),
                        };
                        let hint = meant(name, known, otherwise);
                        let (code, message) = if own.is_some() {
                            ("mapping.unknown_field", format!("`{name}` is not a lead field"))
                        } else {
                            ("mapping.unknown_key", format!("{} has no key `{name}`", label(path)))
                        };
                        self.error(&here, key.span().start, code, message, Some(hint));
                    }
                    _ => self.any(value, at, &here),
                }
            }
        }
        for name in schema.get("required").and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str) {
            if !table.contains_key(name) {
                let about = properties.and_then(|p| p.get(name)).and_then(|p| p.get("description")).and_then(Value::as_str);
                self.error(path, offset, "mapping.missing_key", format!("{} needs `{name}`", label(path)), about.map(str::to_owned));
            }
        }
    }

    /// Free values (records in examples) may hold anything but bare dates.
    fn any(&mut self, value: &Spanned<DeValue<'_>>, offset: usize, path: &str) {
        match value.get_ref() {
            DeValue::Datetime(_) => {
                self.error(
                    path,
                    offset,
                    "mapping.wrong_type",
                    format!("`{path}` must not be a bare date"),
                    Some("put it in quotes".to_owned()),
                );
            }
            DeValue::Array(list) => list.iter().for_each(|item| self.any(item, item.span().start, path)),
            DeValue::Table(table) => table.iter().for_each(|(key, item)| self.any(item, value_start(key, item), path)),
            _ => {}
        }
    }

    fn wrong_type(&mut self, value: &Spanned<DeValue<'_>>, offset: usize, path: &str, wanted: &[&str]) {
        let is = match value.get_ref() {
            DeValue::String(_) => "text",
            DeValue::Integer(_) | DeValue::Float(_) => "a number",
            DeValue::Boolean(_) => "true or false",
            DeValue::Datetime(_) => "a date",
            DeValue::Array(_) => "a list",
            DeValue::Table(_) => "a table",
        };
        let mut wanted: Vec<&str> = wanted.iter().filter_map(|kind| people_word(kind)).collect();
        wanted.dedup();
        let hint = match wanted.first() {
            Some(&"a list") => "write it in brackets: `[\"…\"]`",
            Some(&"text") => "write it in quotes",
            Some(&"a table") => "write it in braces: `{ … = \"…\" }`",
            _ => "write it without quotes",
        };
        let message = format!("`{path}` must be {}, not {is}", wanted.join(" or "));
        self.error(path, offset, "mapping.wrong_type", message, Some(hint.to_owned()));
    }
}

fn label(path: &str) -> String {
    if path.is_empty() { "the file".to_owned() } else { format!("`{path}`") }
}

fn people_word(kind: &str) -> Option<&'static str> {
    match kind {
        "string" => Some("text"),
        "integer" => Some("a whole number"),
        "number" => Some("a number"),
        "boolean" => Some("true or false"),
        "array" => Some("a list"),
        "object" => Some("a table"),
        _ => None,
    }
}

/// The type names that a schema allows; empty = any.
fn types(schema: &Value) -> Vec<&str> {
    match schema.get("type") {
        Some(Value::String(kind)) => vec![kind],
        Some(Value::Array(kinds)) => kinds.iter().filter_map(Value::as_str).collect(),
        _ if !words(schema).is_empty() => vec!["string"],
        _ => Vec::new(),
    }
}

fn accepts(schema: &Value, value: &DeValue<'_>) -> bool {
    let kinds = types(schema);
    let is: &[&str] = match value {
        DeValue::String(_) => &["string"],
        DeValue::Integer(_) => &["integer", "number"],
        DeValue::Float(_) => &["number"],
        DeValue::Boolean(_) => &["boolean"],
        DeValue::Datetime(_) => &[],
        DeValue::Array(_) => &["array"],
        DeValue::Table(_) => &["object"],
    };
    kinds.is_empty() || kinds.iter().any(|kind| is.contains(kind))
}

/// The words that an enumeration allows.
fn words(schema: &Value) -> Vec<&str> {
    if let Some(words) = schema.get("enum").and_then(Value::as_array) {
        return words.iter().filter_map(Value::as_str).collect();
    }
    let branches = schema.get("oneOf").and_then(Value::as_array);
    branches.into_iter().flatten().filter_map(|branch| branch.get("const").and_then(Value::as_str)).collect()
}
