//! Transforms: the small named steps between a system's value and a lead's value, both ways.

pub mod contact;
pub mod number;
pub mod place;
pub mod text;
pub mod time;

use serde_json::Value;

use super::doc::meant;
use crate::model::field::Kind;

/// One step.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Transform {
    /// No white space at the ends.
    Trim,
    /// Small letters.
    Lowercase,
    /// Capital letters.
    Uppercase,
    /// A person's name in usual capitals.
    TitlecaseName,
    /// A valid e-mail address in lower case.
    Email,
    /// A phone number in E.164; the region reads national forms, the lead's country does when it is absent.
    E164(Option<String>),
    /// ISO 3166-1 alpha-2.
    CountryCode,
    /// ISO 3166-2, read with the lead's country.
    StateCode,
    /// ISO 639-1.
    LanguageCode,
    /// A company's name with single spaces.
    CompanyName,
    /// The domain that an organisation registered.
    RegistrableDomain,
    /// `free`, `disposable` or `business`.
    EmailKind,
    /// A whole number.
    Integer,
    /// A decimal number; `true` = the comma is the decimal mark.
    Decimal(bool),
    /// `true` or `false`.
    Boolean,
    /// A day.
    Date(Option<time::Order>),
    /// A moment, UTC.
    DateTime,
    /// Several values from one text.
    Split(String),
    /// The given name of a full name.
    FirstWord,
    /// A full name without the given name.
    Rest,
    /// The first characters.
    Truncate(usize),
    /// Digits only.
    Digits,
    /// Text without HTML.
    StripHtml,
    /// The band that a number falls in.
    Band(Vec<i64>),
    /// Out: one text from several values.
    Join(String),
    /// Out: a country's English name.
    CountryName,
    /// Out: a state's code without its country.
    StateShort,
    /// Out: milliseconds since 1970.
    EpochMs,
    /// Out: text, for systems that keep numbers and truth values as text.
    Text,
}

/// Which way a step works, and whether it can be undone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Way {
    /// In; the result is good to write as it is (or the step can be undone).
    InUndone,
    /// In; what came before cannot be had back.
    InLossy,
    /// In and out.
    Either,
    /// Out only.
    Out,
}

/// Name, parameter and way of every step.
const NAMES: &[(&str, &str, Way)] = &[
    ("trim", "", Way::Either),
    ("lowercase", "", Way::Either),
    ("uppercase", "", Way::Either),
    ("titlecase_name", "", Way::Either),
    ("email", "", Way::InUndone),
    ("e164", "COUNTRY?", Way::InUndone),
    ("country_code", "", Way::InUndone),
    ("state_code", "", Way::InUndone),
    ("language_code", "", Way::InUndone),
    ("company_name", "", Way::Either),
    ("registrable_domain", "", Way::InLossy),
    ("email_kind", "", Way::InLossy),
    ("integer", "", Way::Either),
    ("decimal", ",?", Way::Either),
    ("boolean", "", Way::Either),
    ("date", "dmy|mdy?", Way::Either),
    ("datetime", "", Way::Either),
    ("split", "SEPARATOR", Way::InUndone),
    ("first_word", "", Way::InLossy),
    ("rest", "", Way::InLossy),
    ("truncate", "CHARACTERS", Way::Either),
    ("digits", "", Way::Either),
    ("strip_html", "", Way::InLossy),
    ("band", "EDGE,EDGE…", Way::InLossy),
    ("join", "SEPARATOR", Way::Out),
    ("country_name", "", Way::Out),
    ("state_short", "", Way::Out),
    ("epoch_ms", "", Way::Out),
    ("text", "", Way::Out),
];

/// A value that a step cannot read. Holds no part of the value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Unreadable {
    /// Stable code.
    pub code: &'static str,
    /// What the value should have been.
    pub wanted: &'static str,
}

/// Why a step's text is not understood.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NoTransform {
    /// What is wrong.
    pub message: String,
    /// What to do.
    pub hint: String,
}

impl Transform {
    /// Reads a step such as `trim` or `e164:DE`.
    pub fn parse(text: &str) -> Result<Self, NoTransform> {
        let (name, parameter) = text.split_once(':').map_or((text, None), |(name, parameter)| (name, Some(parameter)));
        let Some((_, takes, _)) = NAMES.iter().find(|(known, ..)| *known == name) else {
            let known = NAMES.iter().map(|(known, ..)| *known);
            let hint = meant(name, known.clone(), format!("known: {}", known.collect::<Vec<_>>().join(", ")));
            return Err(NoTransform { message: format!("`{name}` is not a transform"), hint });
        };
        let bad = || NoTransform {
            message: match parameter {
                Some(parameter) => format!("`{name}` cannot work with `{parameter}`"),
                None => format!("`{name}` needs to be told more"),
            },
            hint: match *takes {
                "" => format!("write `{name}` alone"),
                takes => match takes.strip_suffix('?') {
                    Some(takes) => format!("write `{name}` alone or `{name}:{takes}`"),
                    None => format!("write `{name}:{takes}`"),
                },
            },
        };
        if takes.is_empty() && parameter.is_some() {
            return Err(bad());
        }
        let text_parameter = || parameter.filter(|p| !p.is_empty()).map(str::to_owned).ok_or_else(bad);
        Ok(match name {
            "trim" => Self::Trim,
            "lowercase" => Self::Lowercase,
            "uppercase" => Self::Uppercase,
            "titlecase_name" => Self::TitlecaseName,
            "email" => Self::Email,
            "e164" => match parameter {
                None => Self::E164(None),
                Some(region) if rust_iso3166::from_alpha2(region).is_some() => Self::E164(Some(region.to_owned())),
                Some(_) => return Err(bad()),
            },
            "country_code" => Self::CountryCode,
            "state_code" => Self::StateCode,
            "language_code" => Self::LanguageCode,
            "company_name" => Self::CompanyName,
            "registrable_domain" => Self::RegistrableDomain,
            "email_kind" => Self::EmailKind,
            "integer" => Self::Integer,
            "decimal" => match parameter {
                None => Self::Decimal(false),
                Some(",") => Self::Decimal(true),
                Some(_) => return Err(bad()),
            },
            "boolean" => Self::Boolean,
            "date" => match parameter {
                None => Self::Date(None),
                Some("dmy") => Self::Date(Some(time::Order::Dmy)),
                Some("mdy") => Self::Date(Some(time::Order::Mdy)),
                Some(_) => return Err(bad()),
            },
            "datetime" => Self::DateTime,
            "split" => Self::Split(text_parameter()?),
            "first_word" => Self::FirstWord,
            "rest" => Self::Rest,
            "truncate" => Self::Truncate(text_parameter()?.parse().ok().filter(|n| *n > 0).ok_or_else(bad)?),
            "digits" => Self::Digits,
            "strip_html" => Self::StripHtml,
            "band" => {
                let edges: Result<Vec<i64>, _> = text_parameter()?.split(',').map(|edge| edge.trim().parse::<i64>()).collect();
                let edges = edges.ok().filter(|edges| edges[0] > 0 && edges.windows(2).all(|pair| pair[0] < pair[1]));
                Self::Band(edges.ok_or_else(bad)?)
            }
            "join" => Self::Join(text_parameter()?),
            "country_name" => Self::CountryName,
            "state_short" => Self::StateShort,
            "epoch_ms" => Self::EpochMs,
            _ => Self::Text,
        })
    }

    /// The step's name without its parameter.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Trim => "trim",
            Self::Lowercase => "lowercase",
            Self::Uppercase => "uppercase",
            Self::TitlecaseName => "titlecase_name",
            Self::Email => "email",
            Self::E164(_) => "e164",
            Self::CountryCode => "country_code",
            Self::StateCode => "state_code",
            Self::LanguageCode => "language_code",
            Self::CompanyName => "company_name",
            Self::RegistrableDomain => "registrable_domain",
            Self::EmailKind => "email_kind",
            Self::Integer => "integer",
            Self::Decimal(_) => "decimal",
            Self::Boolean => "boolean",
            Self::Date(_) => "date",
            Self::DateTime => "datetime",
            Self::Split(_) => "split",
            Self::FirstWord => "first_word",
            Self::Rest => "rest",
            Self::Truncate(_) => "truncate",
            Self::Digits => "digits",
            Self::StripHtml => "strip_html",
            Self::Band(_) => "band",
            Self::Join(_) => "join",
            Self::CountryName => "country_name",
            Self::StateShort => "state_short",
            Self::EpochMs => "epoch_ms",
            Self::Text => "text",
        }
    }

    /// Which way the step works.
    pub fn way(&self) -> Way {
        NAMES.iter().find(|(name, ..)| *name == self.name()).map_or(Way::Either, |(.., way)| *way)
    }

    /// Applies the step to one text. `country` is the lead's, for phone numbers and states.
    pub fn apply(&self, input: &str, country: Option<&str>) -> Result<Vec<String>, Unreadable> {
        let one = |text: String| Ok(vec![text]);
        match self {
            Self::Trim => one(text::trim(input)),
            Self::Lowercase => one(input.to_lowercase()),
            Self::Uppercase => one(input.to_uppercase()),
            Self::TitlecaseName => one(text::titlecase_name(input)),
            Self::CompanyName => one(text::collapse(input)),
            Self::Split(separator) => Ok(input.split(separator.as_str()).map(text::trim).filter(|part| !part.is_empty()).collect()),
            Self::FirstWord => one(text::split_name(input).0),
            Self::Rest => one(text::split_name(input).1),
            Self::Truncate(most) => one(text::truncate(input, *most)),
            Self::Digits => one(input.chars().filter(char::is_ascii_digit).collect()),
            Self::StripHtml => one(text::strip_html(input)),
            Self::Band(edges) => number::band(input, edges).map(|band| vec![band]).ok_or(NOT_INTEGER),
            Self::EmailKind => contact::email_kind(input).map(|kind| vec![kind.to_owned()]).ok_or(NOT_EMAIL),
            Self::Email => texts(normalise(Kind::Email, input, country)),
            Self::E164(region) => texts(normalise(Kind::Phone, input, region.as_deref().or(country))),
            Self::CountryCode => texts(normalise(Kind::Country, input, country)),
            Self::StateCode => texts(normalise(Kind::State, input, country)),
            Self::LanguageCode => texts(normalise(Kind::Language, input, country)),
            Self::RegistrableDomain => texts(normalise(Kind::Domain, input, country)),
            Self::Integer => texts(normalise(Kind::Integer, input, country)),
            Self::Decimal(comma) => number::decimal(input, *comma).map(|number| vec![number]).ok_or(NOT_DECIMAL),
            Self::Boolean => texts(normalise(Kind::Boolean, input, country)),
            Self::Date(order) => time::date(input, *order).map(|day| vec![day.to_string()]).ok_or(NOT_DATE),
            Self::DateTime => texts(normalise(Kind::DateTime, input, country)),
            Self::CountryName => place::country_name(input).map(|name| vec![name.to_owned()]).ok_or(NOT_COUNTRY),
            Self::StateShort => one(input.split_once('-').map_or(input, |(_, short)| short).to_owned()),
            Self::EpochMs => time::moment(input).map(|at| vec![at.as_millisecond().to_string()]).ok_or(NOT_MOMENT),
            Self::Join(_) | Self::Text => one(input.to_owned()),
        }
    }
}

const NOT_EMAIL: Unreadable = Unreadable { code: "not_an_email", wanted: "an e-mail address" };
const NOT_PHONE: Unreadable =
    Unreadable { code: "not_a_phone", wanted: "a phone number (national forms need the country, or `e164:DE` with the right one)" };
const NOT_COUNTRY: Unreadable = Unreadable { code: "not_a_country", wanted: "a country's code or name" };
const NOT_STATE: Unreadable = Unreadable { code: "not_a_state", wanted: "a state of the lead's country" };
const NOT_LANGUAGE: Unreadable = Unreadable { code: "not_a_language", wanted: "a language's code or name" };
const NOT_DOMAIN: Unreadable = Unreadable { code: "not_a_domain", wanted: "a domain or web address" };
const NOT_INTEGER: Unreadable = Unreadable { code: "not_an_integer", wanted: "a whole number" };
const NOT_DECIMAL: Unreadable = Unreadable { code: "not_a_number", wanted: "a number" };
const NOT_BOOLEAN: Unreadable = Unreadable { code: "not_yes_or_no", wanted: "yes or no" };
const NOT_DATE: Unreadable = Unreadable { code: "not_a_date", wanted: "a date" };
const NOT_MOMENT: Unreadable = Unreadable { code: "not_a_time", wanted: "a date and time" };

fn texts(value: Result<Value, Unreadable>) -> Result<Vec<String>, Unreadable> {
    value.map(|value| vec![plain(&value).unwrap_or_default()])
}

/// The value that a lead field of this kind holds for a text. Doing it twice changes nothing.
pub fn normalise(kind: Kind, input: &str, country: Option<&str>) -> Result<Value, Unreadable> {
    let known = |code: Option<&str>, or: Unreadable| code.map(|code| Value::String(code.to_owned())).ok_or(or);
    match kind {
        Kind::Text => Ok(Value::String(text::trim(input))),
        Kind::Email => contact::email(input).map(Value::String).ok_or(NOT_EMAIL),
        Kind::Phone => contact::e164(input, country).map(Value::String).ok_or(NOT_PHONE),
        Kind::Country => known(place::country_code(input), NOT_COUNTRY),
        Kind::State => known(place::state_code(input, country), NOT_STATE),
        Kind::Language => known(place::language_code(input), NOT_LANGUAGE),
        Kind::Domain => contact::registrable_domain(input).map(Value::String).ok_or(NOT_DOMAIN),
        Kind::Integer => number::integer(input).map(Value::from).ok_or(NOT_INTEGER),
        Kind::Decimal => number::decimal(input, false).map(Value::String).ok_or(NOT_DECIMAL),
        Kind::Boolean => number::boolean(input).map(Value::Bool).ok_or(NOT_BOOLEAN),
        Kind::Date => time::date(input, None).map(|day| Value::String(day.to_string())).ok_or(NOT_DATE),
        Kind::DateTime => time::moment(input).map(|at| Value::String(at.to_string())).ok_or(NOT_MOMENT),
        Kind::Choice => Ok(Value::String(text::collapse(input).to_lowercase().replace(' ', "_"))),
    }
}

/// The text of a plain value; `None` for lists, objects and null. Dates and decimals that a vendor wraps
/// (`{"__class__": "datetime", …}`, as Tryton does) count as plain.
pub fn plain(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        Value::Bool(flag) => Some(flag.to_string()),
        Value::Object(parts) => {
            let number = |key: &str| parts.get(key).and_then(Value::as_i64).unwrap_or(0);
            let day = || format!("{:04}-{:02}-{:02}", number("year"), number("month"), number("day"));
            match parts.get("__class__").and_then(Value::as_str)? {
                "Decimal" => parts.get("decimal").and_then(Value::as_str).map(str::to_owned),
                "date" => Some(day()),
                "datetime" => Some(format!(
                    "{}T{:02}:{:02}:{:02}.{:06}Z",
                    day(),
                    number("hour"),
                    number("minute"),
                    number("second"),
                    number("microsecond")
                )),
                _ => None,
            }
        }
        Value::Null | Value::Array(_) => None,
    }
}

/// Whether a system's value counts as nothing: null, blank text, an empty list.
pub fn is_empty(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::String(text) => text::trim(text).is_empty(),
        Value::Array(list) => list.iter().all(is_empty),
        _ => false,
    }
}

/// Loads the phone metadata, which takes a while the first time; call it once at start.
pub fn warm() {
    contact::e164("+4930901820", None);
}
