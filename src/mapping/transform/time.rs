//! Dates and moments as vendors write them.

use jiff::Timestamp;
use jiff::civil::{Date, DateTime};
use jiff::tz::TimeZone;

use super::text::trim;

/// In which order the numbers of a date like `03/04/2026` stand.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Order {
    /// Day first.
    Dmy,
    /// Month first.
    Mdy,
}

/// A moment from RFC 3339, Salesforce's `+0000` form, a date and time without a zone (read as UTC), a date alone
/// (midnight UTC), or a count of milliseconds or seconds since 1970.
pub fn moment(text: &str) -> Option<Timestamp> {
    let text = trim(text);
    if text.len() > 8 && text.bytes().all(|b| b.is_ascii_digit()) {
        let number: i64 = text.parse().ok()?;
        // Seconds reach this only in the year 5138, milliseconds passed it in 1973.
        return if number >= 100_000_000_000 { Timestamp::from_millisecond(number).ok() } else { Timestamp::from_second(number).ok() };
    }
    if let Ok(at) = text.parse::<Timestamp>() {
        return Some(at);
    }
    if let Some(colon) = with_colon(&text) {
        return colon.parse().ok();
    }
    if let Ok(at) = text.parse::<DateTime>() {
        return at.to_zoned(TimeZone::UTC).ok().map(|z| z.timestamp());
    }
    day(&text, None)?.to_zoned(TimeZone::UTC).ok().map(|z| z.timestamp())
}

/// `…+0000` with the colon that RFC 3339 asks for.
fn with_colon(text: &str) -> Option<String> {
    let at = text.len().checked_sub(5)?;
    let (head, zone) = (text.get(..at)?, text.get(at..)?);
    let offset = zone.starts_with(['+', '-']) && zone[1..].bytes().all(|b| b.is_ascii_digit());
    (offset && head.contains(':')).then(|| format!("{head}{}:{}", &zone[..3], &zone[3..]))
}

/// A day from `2026-03-31`, `20260331`, `31.3.2026`, any form of [`moment`] (the day in UTC), or numbers in the order given.
pub fn date(text: &str, order: Option<Order>) -> Option<Date> {
    day(&trim(text), order).or_else(|| moment(text).map(|at| at.to_zoned(TimeZone::UTC).date()))
}

/// A day that is written without a time.
fn day(text: &str, order: Option<Order>) -> Option<Date> {
    let iso = text.len() == 10 || text.len() == 8 && text.bytes().all(|b| b.is_ascii_digit());
    if let (true, Ok(day)) = (iso, text.parse::<Date>()) {
        return Some(day);
    }
    // Points are German style, day first; with slashes the order must be said.
    let order = order.or(text.contains('.').then_some(Order::Dmy))?;
    let parts: Option<Vec<i16>> = text.split(['.', '/', '-']).map(|part| part.trim().parse().ok()).collect();
    let [first, second, year] = parts?[..] else { return None };
    let (day, month) = if order == Order::Dmy { (first, second) } else { (second, first) };
    let (day, month) = (i8::try_from(day).ok()?, i8::try_from(month).ok()?);
    (year >= 1000).then(|| Date::new(year, month, day).ok())?
}
