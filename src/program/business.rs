//! Business time: when a span that starts now ends, in a partner's calendar.

use jiff::civil::{Date, Time};

use super::partner::{Calendar, Weekday};
use crate::clock::Millis;
use crate::model::agreement::{Day, Period, Unit};

/// A calendar without a working day within so many days counts as having none.
const FARTHEST: usize = 4_000;

/// The moment at which a span ends that begins at `start`.
///
/// The day on which a span of business days begins is not counted, and it ends with the close of the last: `1bd` from
/// Monday 10:00 ends Tuesday's close, from Saturday it ends Monday's. Business hours run during opening hours only.
/// Calendar units run in the calendar's zone. `None` when the calendar has no such moment.
pub fn after(calendar: &Calendar, start: Millis, span: Period) -> Option<Millis> {
    let zone = calendar.zone.rules();
    let begin = jiff::Timestamp::from_millisecond(start).ok()?.to_zoned(zone.clone());
    let moment = |day: Date, time: Time| Some(day.to_datetime(time).to_zoned(zone.clone()).ok()?.timestamp().as_millisecond());
    let (opens, closes) = (calendar.opens.parse::<Time>().ok()?, calendar.closes.parse::<Time>().ok()?);
    let days = std::iter::successors(Some(begin.date()), |day| day.tomorrow().ok()).take(FARTHEST).filter(|day| works(calendar, *day));
    match span.unit {
        Unit::BusinessDays => {
            let last = days.filter(|day| *day > begin.date()).nth(span.count as usize - 1)?;
            moment(last, closes)
        }
        Unit::BusinessHours => {
            let mut left = i64::from(span.count) * crate::clock::HOUR;
            for day in days {
                let (open, close) = (moment(day, opens)?.max(start), moment(day, closes)?);
                let today = (close - open).max(0);
                if left <= today {
                    return Some(open + left);
                }
                left -= today;
            }
            None
        }
        Unit::Hours | Unit::Days | Unit::Months | Unit::Years => Some(begin.checked_add(span.span()?).ok()?.timestamp().as_millisecond()),
    }
}

/// Whether people work on a day.
fn works(calendar: &Calendar, day: Date) -> bool {
    let weekday = match day.weekday() {
        jiff::civil::Weekday::Monday => Weekday::Mon,
        jiff::civil::Weekday::Tuesday => Weekday::Tue,
        jiff::civil::Weekday::Wednesday => Weekday::Wed,
        jiff::civil::Weekday::Thursday => Weekday::Thu,
        jiff::civil::Weekday::Friday => Weekday::Fri,
        jiff::civil::Weekday::Saturday => Weekday::Sat,
        jiff::civil::Weekday::Sunday => Weekday::Sun,
    };
    calendar.days.contains(&weekday) && !calendar.holidays.contains(&Day(day))
}
