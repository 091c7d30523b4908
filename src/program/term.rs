//! Clause 5 as moments: from when to when an agreement runs, with its renewals.

use crate::clock::Millis;
use crate::model::agreement::{Agreement, Day, Period, Recheck, Zone};

use super::Partner;

/// One period of an agreement, in moments.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Window {
    /// The first moment.
    pub from: Millis,
    /// The first moment after it.
    pub end: Millis,
}

/// An agreement's periods, and why there are no more.
#[derive(Debug, Clone, PartialEq)]
pub struct Periods {
    /// The signed period and each renewal, in order, without gaps.
    pub windows: Vec<Window>,
    /// Why the last one is not renewed, when a renewal was agreed.
    pub not_renewed: Option<String>,
}

/// Works out the periods. Days are inclusive, in the agreement's zone; a renewal needs no act, only that no notice
/// came in time and that what must be rechecked is still valid on its first day.
pub fn periods(agreement: &Agreement, recipient: Option<&Partner>) -> Periods {
    let runs = &agreement.term.runs;
    let mut last = runs.until.0;
    let mut windows = vec![window(&runs.zone, runs.from, runs.until)];
    let mut not_renewed = None;
    if let Some(renewal) = &agreement.term.renewal {
        for number in 1..=renewal.times {
            if let Some(why) = stopped(agreement, renewal.notice, last).or_else(|| failed(agreement, recipient, &renewal.recheck, last)) {
                not_renewed = Some(why);
                break;
            }
            let (Ok(first), Some(until)) = (last.tomorrow(), renewed(runs.until.0, renewal.by, number)) else { break };
            windows.push(window(&runs.zone, Day(first), Day(until)));
            last = until;
        }
    }
    if let Some(ended) = &agreement.operations.ended {
        let end = window(&runs.zone, runs.from, ended.last_day).end;
        windows.retain(|w| w.from < end);
        if let Some(w) = windows.last_mut() {
            w.end = w.end.min(end);
        }
    }
    Periods { windows, not_renewed }
}

/// The last day after some renewals, counted from the signed last day: a month's end does not creep.
fn renewed(until: jiff::civil::Date, by: Period, number: u32) -> Option<jiff::civil::Date> {
    let all = Period { count: by.count.checked_mul(number)?, ..by }.span()?;
    // Counted on the day after: a year that ends on 28 February ends on 29 February of a leap year, not a day early.
    until.tomorrow().ok()?.checked_add(all).ok()?.yesterday().ok()
}

/// Whether a side said in time that it does not go on after `last`.
fn stopped(agreement: &Agreement, notice: Option<Period>, last: jiff::civil::Date) -> Option<String> {
    let given = agreement.operations.not_renewed.as_ref()?;
    let deadline = last.checked_sub(notice.and_then(Period::span).unwrap_or_default()).ok()?;
    let received = given.received.0.as_millisecond();
    // Received by the end of that day: the first moment of the next is too late.
    let in_time = received < window(&agreement.term.runs.zone, Day(deadline), Day(deadline)).end;
    in_time.then(|| "a side gave notice that it does not renew".to_owned())
}

fn failed(agreement: &Agreement, recipient: Option<&Partner>, rechecks: &[Recheck], last: jiff::civil::Date) -> Option<String> {
    let first = last.tomorrow().ok()?;
    for recheck in rechecks {
        match recheck {
            Recheck::Transfer => {
                if agreement.privacy.transfer.all().iter().any(|t| t.review_by.0 < first) {
                    return Some(format!("the transfer tool has to be reviewed again before {first}"));
                }
            }
            Recheck::Certificates => {
                if let Some(old) = recipient.and_then(|p| p.certificates.iter().find(|c| c.expires.0 < first)) {
                    return Some(format!("the recipient's certificate {} is not valid on {first}", old.name));
                }
            }
        }
    }
    None
}

/// The moments of some days, both included.
pub fn window(zone: &Zone, from: Day, until: Day) -> Window {
    let zone = zone.rules();
    // A day near the calendar's end has no midnight in some zones: such an agreement never begins, or never ends.
    let midnight = |day: jiff::civil::Date| day.to_zoned(zone.clone()).map(|z| z.timestamp().as_millisecond());
    Window { from: midnight(from.0).unwrap_or(Millis::MAX), end: until.0.tomorrow().and_then(midnight).unwrap_or(Millis::MAX) }
}

/// A moment and a span of the calendar after it, in a zone; `None` for business time.
pub fn after(zone: &Zone, moment: Millis, span: Period) -> Option<Millis> {
    let zoned = jiff::Timestamp::from_millisecond(moment).ok()?.to_zoned(zone.rules());
    Some(zoned.checked_add(span.span()?).ok()?.timestamp().as_millisecond())
}
