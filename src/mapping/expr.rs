//! Expressions and `{{ … }}` templates over named values: compiled once, strict, bounded.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::LazyLock;

use minijinja::value::{Serde, ValueKind};
use minijinja::{Environment, ErrorKind, Expression, UndefinedBehavior};
use serde_json::Value;

/// Longest source in bytes: a longer chain of terms can exhaust the stack.
const LONGEST: usize = 2048;
/// Longest result in bytes.
const LONGEST_RESULT: usize = 64 * 1024;
/// Steps that one evaluation may take.
const FUEL: u64 = 10_000;

static ENGINE: LazyLock<Environment<'static>> = LazyLock::new(|| {
    let mut engine = Environment::new();
    engine.set_undefined_behavior(UndefinedBehavior::Strict);
    engine.set_fuel(Some(FUEL));
    let globals: Vec<String> = engine.globals().map(|(name, _)| name.to_owned()).collect();
    for name in globals {
        engine.remove_global(&name);
    }
    engine
});

/// A compiled expression or template.
#[derive(Debug)]
pub struct Expr {
    parts: Vec<Part>,
    names: BTreeSet<String>,
}

#[derive(Debug)]
enum Part {
    Text(String),
    Expression(Expression<'static, 'static>),
}

/// Why a source is refused: byte offset in the source, what, and what to do.
#[derive(Debug, PartialEq, Eq)]
pub struct Refused {
    /// What is wrong.
    pub message: String,
    /// What to do.
    pub hint: String,
}

fn refused(message: impl Into<String>, hint: impl Into<String>) -> Refused {
    Refused { message: message.into(), hint: hint.into() }
}

impl Expr {
    /// Compiles a source. `whole` is the name under which all values can be had, for names that are no identifiers:
    /// `crm["Annual Revenue"]`.
    pub fn compile(source: &str, whole: &str) -> Result<Self, Refused> {
        if source.len() > LONGEST {
            return Err(refused(format!("the expression has {} bytes", source.len()), format!("at most {LONGEST} are allowed")));
        }
        if source.contains("{%") || source.contains("{#") {
            return Err(refused("blocks and comments are not allowed in an expression", "choose inline: `{{ a if a else b }}`"));
        }
        let mut expr = Self { parts: Vec::new(), names: BTreeSet::new() };
        if source.contains("{{") {
            let mut rest = source;
            while let Some(open) = rest.find("{{") {
                if open > 0 {
                    expr.parts.push(Part::Text(rest[..open].to_owned()));
                }
                let inner = &rest[open + 2..];
                let close = closing(inner).ok_or_else(|| refused("`{{` is never closed", "end it with `}}`"))?;
                expr.add(&inner[..close], whole)?;
                rest = &inner[close + 2..];
            }
            if !rest.is_empty() {
                expr.parts.push(Part::Text(rest.to_owned()));
            }
        } else {
            expr.add(source, whole)?;
        }
        for sample in ["", "7"] {
            let values = expr.names.iter().map(|name| (name.clone(), Value::String(sample.to_owned()))).collect();
            if let Err(error) = expr.run(&values, whole)
                && matches!(
                    error.kind(),
                    ErrorKind::UnknownFilter | ErrorKind::UnknownTest | ErrorKind::UnknownFunction | ErrorKind::UnknownMethod
                )
            {
                return Err(refused(describe(&error), "use the filters and tests of MiniJinja, such as `lower` or `default`"));
            }
        }
        Ok(expr)
    }

    fn add(&mut self, source: &str, whole: &str) -> Result<(), Refused> {
        let compiled = ENGINE.compile_expression_owned(source.to_owned()).map_err(|e| {
            refused(
                format!("the expression cannot be read: {}", describe(&e)),
                "write names, operators and filters, as in `{{ a }} {{ b|upper }}`",
            )
        })?;
        for name in compiled.undeclared_variables(false) {
            if name != whole {
                self.names.insert(name);
            }
        }
        self.names.extend(subscripts(source, whole)?);
        self.parts.push(Part::Expression(compiled));
        Ok(())
    }

    /// The names of all values that the expression uses.
    pub fn names(&self) -> &BTreeSet<String> {
        &self.names
    }

    /// Evaluates over these values; a missing one counts as empty. `None` = nothing came out. Errors are codes without data.
    pub fn eval(&self, values: &BTreeMap<String, Value>, whole: &str) -> Result<Option<Value>, &'static str> {
        match self.run(values, whole) {
            Ok(Some(Value::String(text))) if text.len() > LONGEST_RESULT => Err("expression_too_long"),
            Ok(value) => Ok(value),
            Err(error) if error.kind() == ErrorKind::OutOfFuel => Err("expression_too_long"),
            Err(_) => Err("expression_failed"),
        }
    }

    fn run(&self, values: &BTreeMap<String, Value>, whole: &str) -> Result<Option<Value>, minijinja::Error> {
        let mut named: BTreeMap<&str, minijinja::Value> = BTreeMap::new();
        for name in &self.names {
            let value = values.get(name).filter(|v| !super::transform::is_empty(v));
            named.insert(name, value.map_or_else(|| minijinja::Value::from(""), |value| minijinja::Value::from(Serde(value))));
        }
        let all = minijinja::Value::from_pairs(named.clone());
        named.insert(whole, all);
        let context = minijinja::Value::from_pairs(named);
        if let [Part::Expression(only)] = &self.parts[..] {
            let value = only.eval(context)?;
            return Ok(match value.kind() {
                ValueKind::Undefined | ValueKind::None => None,
                _ => serde_json::to_value(&value).ok().filter(|v| !super::transform::is_empty(v)),
            });
        }
        let mut out = String::new();
        for part in &self.parts {
            match part {
                Part::Text(text) => out.push_str(text),
                Part::Expression(expression) => {
                    let value = expression.eval(&context)?;
                    if !matches!(value.kind(), ValueKind::Undefined | ValueKind::None) {
                        out.push_str(&value.to_string());
                    }
                }
            }
        }
        let out = super::transform::text::collapse(&out);
        Ok((!out.is_empty()).then_some(Value::String(out)))
    }
}

fn describe(error: &minijinja::Error) -> String {
    error.detail().map_or_else(|| error.kind().to_string(), str::to_owned)
}

/// Where `}}` closes, outside of quotes and braces.
fn closing(source: &str) -> Option<usize> {
    let mut quote = None;
    let mut depth = 0;
    let mut escaped = false;
    for (at, c) in source.char_indices() {
        if let Some(open) = quote {
            if !escaped && c == open {
                quote = None;
            }
            escaped = !escaped && c == '\\';
            continue;
        }
        match c {
            '"' | '\'' => quote = Some(c),
            '{' => depth += 1,
            '}' if depth > 0 => depth -= 1,
            '}' if source[at..].starts_with("}}") => return Some(at),
            _ => {}
        }
    }
    None
}

/// The quoted names after `whole`, as in `crm["Annual Revenue"]`; any other use of it is refused, because then
/// nobody could know which fields to read.
fn subscripts(source: &str, whole: &str) -> Result<BTreeSet<String>, Refused> {
    let mut names = BTreeSet::new();
    let mut quote = None;
    let mut previous = ' ';
    let word = |c: char| c.is_alphanumeric() || c == '_';
    for (at, c) in source.char_indices() {
        let boundary = !word(previous) && previous != '.';
        let was = previous;
        previous = c;
        if let Some(open) = quote {
            if c == open && was != '\\' {
                quote = None;
            }
            continue;
        }
        if matches!(c, '"' | '\'') {
            quote = Some(c);
            continue;
        }
        let Some(rest) = source[at..].strip_prefix(whole).filter(|rest| boundary && !rest.starts_with(word)) else { continue };
        let quoted = rest.trim_start().strip_prefix('[').map(str::trim_start).and_then(|inner| {
            let open = inner.chars().next().filter(|c| matches!(c, '"' | '\''))?;
            let (name, after) = inner[1..].split_once(open)?;
            after.trim_start().starts_with(']').then(|| name.to_owned())
        });
        let name = quoted.or_else(|| {
            let rest = rest.strip_prefix('.')?;
            let name = &rest[..rest.find(|c| !word(c)).unwrap_or(rest.len())];
            (!name.is_empty()).then(|| name.to_owned())
        });
        match name {
            Some(name) => names.insert(name),
            None => return Err(refused(format!("`{whole}` needs a field's name in quotes"), format!("write `{whole}[\"Field name\"]`"))),
        };
    }
    Ok(names)
}
