//! Expressions over a lead (`lead.employees >= 50`) where typed conditions do not reach.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, LazyLock};

use minijinja::{Environment, ErrorKind, Expression, UndefinedBehavior};
use serde_json::Value;

use crate::errors::did_you_mean;
use crate::model::field::{self, Kind};

/// The longest source, in bytes: longer chains could overflow a stack.
const LONGEST: usize = 2_048;

static ENVIRONMENT: LazyLock<Environment<'static>> = LazyLock::new(|| {
    let mut environment = Environment::new();
    environment.set_undefined_behavior(UndefinedBehavior::Strict);
    environment.set_fuel(Some(10_000));
    // `range` and its like have nothing to do in a condition, and would count as known names.
    let globals: Vec<String> = environment.globals().map(|(name, _)| name.to_owned()).collect();
    for name in globals {
        environment.remove_global(&name);
    }
    environment
});

/// A checked expression.
#[derive(Clone)]
pub struct Expr(Arc<Expression<'static, 'static>>);

impl Expr {
    /// Checks an expression: its size, its grammar, and that it uses lead fields only.
    ///
    /// # Errors
    /// What is wrong, and what to do.
    pub fn new(source: &str) -> Result<Self, (String, Option<String>)> {
        if source.len() > LONGEST {
            return Err((format!("the expression is longer than {LONGEST} characters"), Some("use typed conditions or a list".to_owned())));
        }
        let compiled = ENVIRONMENT
            .compile_expression_owned(source.to_owned())
            .map_err(|e| (format!("the expression cannot be read: {}", e.detail().unwrap_or("its grammar is wrong")), None))?;
        let mut names: Vec<String> = compiled.undeclared_variables(true).into_iter().collect();
        names.sort();
        let mut used = Vec::new();
        for name in names {
            let Some(field) = name.strip_prefix("lead.") else {
                return Err((format!("`{name}` is not known here"), Some("write `lead.<field>`, such as `lead.country`".to_owned())));
            };
            if field::lookup(field).is_none() {
                let near = did_you_mean(field, field::FIELDS.iter().map(|f| f.name)).map(|near| format!("did you mean `lead.{near}`?"));
                return Err((format!("`{field}` is not a lead field"), near));
            }
            used.push(field.to_owned());
        }
        let expression = Self(Arc::new(compiled));
        expression.try_out(&used)?;
        Ok(expression)
    }

    /// Filters and functions are looked up when an expression runs: a misspelt one would refuse every lead.
    fn try_out(&self, names: &[String]) -> Result<(), (String, Option<String>)> {
        let sample = |name: &String| match field::lookup(name).map(|f| f.kind) {
            Some(Kind::Integer) => Value::from(7),
            Some(Kind::Boolean) => Value::from(true),
            _ => Value::from("7"),
        };
        let lead: BTreeMap<String, Value> = names.iter().map(|name| (name.clone(), sample(name))).collect();
        let unknown = [ErrorKind::UnknownFilter, ErrorKind::UnknownTest, ErrorKind::UnknownFunction, ErrorKind::UnknownMethod];
        match self.run(&lead) {
            Err(error) if unknown.contains(&error.kind()) => {
                let what = error.detail().unwrap_or("a word of it is not known").to_owned();
                Err((format!("the expression cannot run: {what}"), Some("use operators, `in`, and filters such as `lower`".to_owned())))
            }
            _ => Ok(()),
        }
    }

    /// Whether the expression holds; `None` when a field that it needs is empty, or it cannot be worked out.
    pub fn holds(&self, fields: &BTreeMap<String, Value>) -> Option<bool> {
        self.run(fields).ok()
    }

    fn run(&self, fields: &BTreeMap<String, Value>) -> Result<bool, minijinja::Error> {
        let lead: BTreeMap<&str, minijinja::Value> = fields.iter().map(|(name, value)| (name.as_str(), plain(name, value))).collect();
        Ok(self.0.eval(minijinja::context! { lead => lead })?.is_true())
    }
}

/// A field's value as an expression compares it: decimals are numbers there.
fn plain(name: &str, value: &Value) -> minijinja::Value {
    let decimal = field::lookup(name).is_some_and(|f| f.kind == Kind::Decimal);
    match value {
        Value::Bool(yes) => (*yes).into(),
        Value::Number(number) => number.as_i64().map_or_else(|| number.as_f64().unwrap_or_default().into(), Into::into),
        Value::String(text) => match text.parse::<f64>() {
            Ok(number) if decimal => number.into(),
            _ => text.as_str().into(),
        },
        Value::Null | Value::Array(_) | Value::Object(_) => minijinja::Value::UNDEFINED,
    }
}

impl fmt::Debug for Expr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Expr")
    }
}
