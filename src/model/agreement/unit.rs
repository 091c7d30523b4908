//! Small values that program files are made of: spans of time, percentages, decimals, days, moments.

use std::borrow::Cow;
use std::fmt;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// What a [`Period`] counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Unit {
    /// Hours (`h`).
    Hours,
    /// Calendar days (`d`).
    Days,
    /// Calendar months (`m`).
    Months,
    /// Calendar years (`y`).
    Years,
    /// Business hours (`bh`) of the side that must act.
    BusinessHours,
    /// Business days (`bd`) of the side that must act.
    BusinessDays,
}

/// A span of time as people write it: `24h`, `14d`, `12m`, `6y`, `4bh`, `2bd`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Period {
    /// How many; at least 1.
    pub count: u32,
    /// Of what.
    pub unit: Unit,
}

impl Period {
    /// Calendar days, for defaults.
    pub const fn days(count: u32) -> Self {
        Self { count, unit: Unit::Days }
    }

    /// Whether it needs somebody's business calendar.
    pub fn is_business(self) -> bool {
        matches!(self.unit, Unit::BusinessHours | Unit::BusinessDays)
    }

    /// The same as a span of the calendar; `None` for business time.
    pub fn span(self) -> Option<jiff::Span> {
        let count = i64::from(self.count);
        let span = jiff::Span::new();
        match self.unit {
            Unit::Hours => span.try_hours(count).ok(),
            Unit::Days => span.try_days(count).ok(),
            Unit::Months => span.try_months(count).ok(),
            Unit::Years => span.try_years(count).ok(),
            Unit::BusinessHours | Unit::BusinessDays => None,
        }
    }

    /// As a sentence says it: `10 business days`.
    pub fn words(self) -> String {
        let noun = match self.unit {
            Unit::Hours => "hour",
            Unit::Days => "day",
            Unit::Months => "month",
            Unit::Years => "year",
            Unit::BusinessHours => "business hour",
            Unit::BusinessDays => "business day",
        };
        format!("{} {noun}{}", self.count, if self.count == 1 { "" } else { "s" })
    }
}

impl std::str::FromStr for Period {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || format!("`{text}` is not a span of time: write a number and h, d, m, y, bh or bd, such as \"14d\" or \"2bd\"");
        let digits = text.bytes().take_while(u8::is_ascii_digit).count();
        let (number, unit) = text.split_at(digits);
        let count: u32 = number.parse().map_err(|_| wrong())?;
        let unit = match unit {
            "h" => Unit::Hours,
            "d" => Unit::Days,
            "m" => Unit::Months,
            "y" => Unit::Years,
            "bh" => Unit::BusinessHours,
            "bd" => Unit::BusinessDays,
            _ => return Err(wrong()),
        };
        if count == 0 || count > 10_000 || number.starts_with('0') {
            return Err(format!("`{text}` is out of range: from 1 to 10000, without leading zeros"));
        }
        Ok(Self { count, unit })
    }
}

impl fmt::Display for Period {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let unit = match self.unit {
            Unit::Hours => "h",
            Unit::Days => "d",
            Unit::Months => "m",
            Unit::Years => "y",
            Unit::BusinessHours => "bh",
            Unit::BusinessDays => "bd",
        };
        write!(f, "{}{unit}", self.count)
    }
}

/// A decimal number as text, such as `50000.00`: never a binary fraction.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Decimal {
    micros: i128,
    scale: u8,
}

impl Decimal {
    /// The number in millionths, exact.
    pub fn micros(self) -> i128 {
        self.micros
    }
}

impl std::str::FromStr for Decimal {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || format!("`{text}` is not a decimal number: digits, and at most 6 more after a point, such as \"50000.00\"");
        let (sign, unsigned) = text.strip_prefix('-').map_or((1, text), |rest| (-1, rest));
        let (whole, fraction) = unsigned.split_once('.').map_or((unsigned, None), |(whole, fraction)| (whole, Some(fraction)));
        let digits = |part: &str, max: usize| !part.is_empty() && part.len() <= max && part.bytes().all(|b| b.is_ascii_digit());
        if !digits(whole, 15) || fraction.is_some_and(|f| !digits(f, 6)) {
            return Err(wrong());
        }
        let fraction = fraction.unwrap_or_default();
        let micros: i128 = format!("{whole}{fraction:0<6}").parse().map_err(|_| wrong())?;
        Ok(Self { micros: sign * micros, scale: fraction.len() as u8 })
    }
}

impl fmt::Display for Decimal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (whole, fraction) = (self.micros.abs() / 1_000_000, self.micros.abs() % 1_000_000);
        let sign = if self.micros < 0 { "-" } else { "" };
        let fraction = format!("{fraction:06}");
        let shown = fraction.get(..usize::from(self.scale)).unwrap_or(&fraction);
        if shown.is_empty() { write!(f, "{sign}{whole}") } else { write!(f, "{sign}{whole}.{shown}") }
    }
}

/// A share of a hundred, such as `15%` or `2.5%`; from 0 to 100.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Percent(Decimal);

impl Percent {
    /// The percentage in millionths of a percent, exact: `15%` is 15,000,000.
    pub fn micros(self) -> i128 {
        self.0.micros()
    }
}

impl std::str::FromStr for Percent {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || format!("`{text}` is not a percentage: write \"15%\", from 0% to 100%");
        let number: Decimal = text.strip_suffix('%').ok_or_else(wrong)?.parse().map_err(|_| wrong())?;
        if (0..=100_000_000).contains(&number.micros()) { Ok(Self(number)) } else { Err(wrong()) }
    }
}

impl fmt::Display for Percent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}%", self.0)
    }
}

/// A day of the calendar; whose midnight it means, the agreement's zone says.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Day(pub jiff::civil::Date);

impl std::str::FromStr for Day {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        text.parse().map(Self).map_err(|_| format!("`{text}` is not a day: write it as 2026-04-01, without quotes"))
    }
}

impl fmt::Display for Day {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A moment with its offset, such as `2026-03-20T10:12:00Z`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Moment(pub jiff::Timestamp);

impl std::str::FromStr for Moment {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        text.parse().map(Self).map_err(|_| format!("`{text}` is not a moment: write it as 2026-03-20T10:12:00Z, without quotes"))
    }
}

impl fmt::Display for Moment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A time zone by its IANA name, such as `Europe/Amsterdam`.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Zone(String);

impl Zone {
    /// The zone's rules.
    pub fn rules(&self) -> jiff::tz::TimeZone {
        // Reading a `Zone` proved that the name is known; UTC stands in should a system's zone data lose it.
        jiff::tz::TimeZone::get(&self.0).unwrap_or(jiff::tz::TimeZone::UTC)
    }
}

impl std::str::FromStr for Zone {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let known = jiff::tz::TimeZone::get(text).is_ok();
        let wrong = format!("`{text}` is not a time zone: write its IANA name, such as \"Europe/Amsterdam\" or \"UTC\"");
        if known { Ok(Self(text.to_owned())) } else { Err(wrong) }
    }
}

impl fmt::Display for Zone {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Makes a type that files write as text: serde, schema and `Debug` by its `FromStr` and `Display`.
macro_rules! as_text {
    ($type:ty, $format:literal, $description:literal) => {
        impl fmt::Debug for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(self, f)
            }
        }

        impl Serialize for $type {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }

        impl<'de> Deserialize<'de> for $type {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let text = Cow::<'de, str>::deserialize(deserializer)?;
                text.parse().map_err(serde::de::Error::custom)
            }
        }

        impl JsonSchema for $type {
            fn schema_name() -> Cow<'static, str> {
                stringify!($type).into()
            }

            fn json_schema(_: &mut SchemaGenerator) -> Schema {
                json_schema!({ "type": "string", "format": $format, "description": $description })
            }
        }
    };
}
as_text!(Period, "period", "A span of time: a number and h, d, m, y (calendar) or bh, bd (business time).");
as_text!(Decimal, "decimal", "A decimal number as text.");
as_text!(Percent, "percent", "A percentage as text, from 0% to 100%.");
as_text!(Day, "date", "A day, without quotes.");
as_text!(Moment, "date-time", "A moment with its offset, without quotes.");
as_text!(Zone, "zone", "A time zone by its IANA name.");

/// Why a text does not fit a schema's `format`; `None` when it fits or the format is not one of ours.
pub fn format_fault(format: &str, text: &str) -> Option<String> {
    match format {
        "period" => text.parse::<Period>().err(),
        "decimal" => text.parse::<Decimal>().err(),
        "percent" => text.parse::<Percent>().err(),
        "date" => text.parse::<Day>().err(),
        "date-time" => text.parse::<Moment>().err(),
        "zone" => text.parse::<Zone>().err(),
        _ => None,
    }
}
