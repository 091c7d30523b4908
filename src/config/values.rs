//! Kinds of value in the configuration: secrets, periods, days, lists.

use std::borrow::Cow;
use std::fmt;
use std::marker::PhantomData;
use std::str::FromStr;

use ipnet::IpNet;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use secrecy::{ExposeSecret, SecretString};
use serde::Deserialize;
use serde::de::value::MapAccessDeserializer;
use serde::de::{self, Deserializer, MapAccess, SeqAccess, Visitor};

use crate::clock::{DAY, HOUR, MINUTE, Millis, SECOND};

/// A secret: wiped when dropped, never shown.
#[derive(Clone)]
pub struct Secret(SecretString);

impl Secret {
    /// The secret itself.
    pub fn expose(&self) -> &str {
        self.0.expose_secret()
    }

    /// For code that takes it in this form.
    pub fn to_secret_string(&self) -> SecretString {
        self.0.clone()
    }
}

impl From<String> for Secret {
    fn from(text: String) -> Self {
        Self(SecretString::from(text))
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(…)")
    }
}

impl<'de> Deserialize<'de> for Secret {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        String::deserialize(from).map(Self::from)
    }
}

impl JsonSchema for Secret {
    fn schema_name() -> Cow<'static, str> {
        "Secret".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string", "writeOnly": true })
    }
}

/// A length of time: a whole number and `s`, `m`, `h` or `d`, such as `30m`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Period(Millis);

impl Period {
    /// So many seconds.
    pub const fn seconds(n: i64) -> Self {
        Self(n * SECOND)
    }

    /// So many minutes.
    pub const fn minutes(n: i64) -> Self {
        Self(n * MINUTE)
    }

    /// So many hours.
    pub const fn hours(n: i64) -> Self {
        Self(n * HOUR)
    }

    /// So many days.
    pub const fn days(n: i64) -> Self {
        Self(n * DAY)
    }

    /// In milliseconds.
    pub const fn millis(self) -> Millis {
        self.0
    }
}

impl FromStr for Period {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let text = text.trim();
        let (number, unit) = text.split_at(text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len()));
        let unit = match unit {
            "s" => Some(SECOND),
            "m" => Some(MINUTE),
            "h" => Some(HOUR),
            "d" => Some(DAY),
            _ => None,
        };
        let period = unit.and_then(|unit| number.parse::<i64>().ok()?.checked_mul(unit)).filter(|ms| (1..=3_650 * DAY).contains(ms));
        period.map(Self).ok_or_else(|| "a length of time is a number and s, m, h or d, such as 30m".to_owned())
    }
}

impl<'de> Deserialize<'de> for Period {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        String::deserialize(from)?.parse().map_err(de::Error::custom)
    }
}

impl JsonSchema for Period {
    fn schema_name() -> Cow<'static, str> {
        "Period".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string", "pattern": "^[0-9]+[smhd]$", "examples": ["30s", "5m", "72h", "7d"] })
    }
}

/// A day, as `2026-04-01`, with or without quotes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Day(jiff::civil::Date);

impl Day {
    /// Its first moment in UTC.
    pub fn start(self) -> Millis {
        self.0.to_zoned(jiff::tz::TimeZone::UTC).map_or(Millis::MAX, |start| start.timestamp().as_millisecond())
    }
}

impl<'de> Deserialize<'de> for Day {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        struct AnyForm;
        impl<'de> Visitor<'de> for AnyForm {
            type Value = Day;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a day such as 2026-04-01")
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<Day, E> {
                // A date with a time would parse too, and lose its time.
                let day = if text.len() == 10 { text.parse().ok() } else { None };
                day.map(Day).ok_or_else(|| E::custom("a day is written like 2026-04-01"))
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Day, A::Error> {
                let date = toml::value::Datetime::deserialize(MapAccessDeserializer::new(map))?;
                self.visit_str(&date.to_string())
            }
        }
        from.deserialize_any(AnyForm)
    }
}

impl JsonSchema for Day {
    fn schema_name() -> Cow<'static, str> {
        "Day".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string", "format": "date" })
    }
}

/// A network, as `10.0.0.0/8`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Network(pub IpNet);

impl FromStr for Network {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        text.parse().map(Self).map_err(|_| "a network is written like 10.0.0.0/8")
    }
}

/// Reads a list of texts, or (from the environment) one text with commas.
pub(super) fn list<'de, D, T>(from: D) -> Result<Vec<T>, D::Error>
where
    D: Deserializer<'de>,
    T: FromStr<Err: fmt::Display>,
{
    struct AnyForm<T>(PhantomData<T>);
    impl<'de, T: FromStr<Err: fmt::Display>> Visitor<'de> for AnyForm<T> {
        type Value = Vec<T>;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("a list")
        }

        fn visit_str<E: de::Error>(self, text: &str) -> Result<Vec<T>, E> {
            let items = text.split(',').map(str::trim).filter(|item| !item.is_empty());
            items.map(|item| item.parse().map_err(E::custom)).collect()
        }

        fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Vec<T>, A::Error> {
            let mut out = Vec::new();
            while let Some(item) = items.next_element::<String>()? {
                out.push(item.parse().map_err(de::Error::custom)?);
            }
            Ok(out)
        }
    }
    from.deserialize_any(AnyForm(PhantomData))
}
