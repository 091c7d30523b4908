//! When an agreement is in force, and business time.

use super::example::{AGREEMENT, sign, with};
use super::{at, edit};
use crate::program::{Calendar, business};

const ID: &str = "northwind-brightwater";

/// Whether the example with these edits is in force at a moment, and why not.
fn in_force(edits: &[(&str, &str)], moment: &str) -> Result<(), String> {
    let text = edits.iter().fold(AGREEMENT.to_owned(), |text, (from, to)| edit(&text, from, to));
    with(&[(ID, &sign(&text))]).in_force(ID, at(moment))
}

/// Nothing has to be rechecked for a renewal.
const NO_RECHECK: (&str, &str) = ("recheck = [\"transfer\", \"certificates\"]", "recheck = []");

// Breaks when the first or the last day is not included, or is counted in another zone than the agreement's.
#[test]
fn dates_are_inclusive_in_the_agreements_zone() {
    let once = [("renewal = { by = \"12m\", times = 2, notice = \"60d\", recheck = [\"transfer\", \"certificates\"] }\n", "")];
    assert!(in_force(&once, "2026-03-31T21:59:59Z").expect_err("too early").contains("begins on 2026-04-01"));
    assert_eq!(in_force(&once, "2026-03-31T22:00:00Z"), Ok(()));
    assert_eq!(in_force(&once, "2027-03-31T21:59:59Z"), Ok(()));
    assert!(in_force(&once, "2027-03-31T22:00:00Z").expect_err("too late").contains("ended"));
}

// Breaks when a renewal does not add a period, or adds more than agreed.
#[test]
fn renewal_adds_periods() {
    assert_eq!(in_force(&[NO_RECHECK], "2028-03-31T12:00:00Z"), Ok(()));
    assert_eq!(in_force(&[NO_RECHECK], "2029-03-31T12:00:00Z"), Ok(()));
    assert!(in_force(&[NO_RECHECK], "2029-04-01T12:00:00Z").is_err());
}

// Breaks when a period that ends with February loses or gains a day in a leap year.
#[test]
fn renewals_follow_the_end_of_a_month() {
    let february = [NO_RECHECK, ("until = 2027-03-31", "until = 2027-02-28")];
    assert_eq!(in_force(&february, "2028-02-29T12:00:00Z"), Ok(()));
    assert_eq!(in_force(&february, "2029-02-28T12:00:00Z"), Ok(()));
    assert!(in_force(&february, "2029-03-01T12:00:00Z").is_err());
}

// Breaks when it is renewed although the transfer tool is overdue, or although a certificate has run out.
#[test]
fn no_renewal_while_a_recheck_fails() {
    let why = in_force(&[], "2027-04-01T12:00:00Z").expect_err("the review was due on 2 March");
    assert!(why.contains("transfer tool"), "{why}");
    let reviewed = ("review_by = 2027-03-02", "review_by = 2029-12-31");
    assert_eq!(in_force(&[reviewed], "2027-04-01T12:00:00Z"), Ok(()));
    // The certificate of the example expires on 30 June 2027.
    let why = in_force(&[reviewed], "2028-04-01T12:00:00Z").expect_err("the certificate");
    assert!(why.contains("certificate Northwind Setup"), "{why}");
}

// Breaks when a notice that came by 23:59 of the sixtieth day before the end does not stop the renewal, or a later one does.
#[test]
fn a_notice_in_time_stops_the_renewal() {
    let given = |moment: &str| ("[operations]", format!("[operations]\nnot_renewed = {{ by = \"recipient\", received = {moment} }}"));
    let (from, in_time) = given("2027-01-30T22:59:59Z");
    assert!(in_force(&[NO_RECHECK, (from, &in_time)], "2027-04-01T12:00:00Z").expect_err("notice").contains("notice"));
    let (from, late) = given("2027-01-30T23:00:00Z");
    assert_eq!(in_force(&[NO_RECHECK, (from, &late)], "2027-04-01T12:00:00Z"), Ok(()));
    assert!(in_force(&[NO_RECHECK, (from, &late)], "2028-04-01T12:00:00Z").is_err(), "it stops the next one");
}

// Breaks when one side alone can resume what was suspended.
#[test]
fn either_side_suspends_and_both_resume() {
    let stop = |resumed: &str| {
        ("[operations]", format!("[operations]\nsuspended = {{ by = \"source\", since = 2026-06-01T00:00:00Z, resumed_by = [{resumed}] }}"))
    };
    for (resumed, moment, runs) in [
        ("", "2026-05-31T12:00:00Z", true),
        ("", "2026-06-01T00:00:00Z", false),
        ("\"source\"", "2026-06-02T00:00:00Z", false),
        ("\"source\", \"recipient\"", "2026-06-02T00:00:00Z", true),
    ] {
        let (from, to) = stop(resumed);
        assert_eq!(in_force(&[(from, &to)], moment).is_ok(), runs, "{resumed} {moment}");
    }
}

// Breaks when an agreement that was ended goes on, or ends a day early.
#[test]
fn an_ended_agreement_stops_after_its_last_day() {
    let ended = [
        NO_RECHECK,
        (
            "[operations]",
            "[operations]\nended = { by = \"source\", received = 2026-06-01T12:00:00Z, last_day = 2026-09-01, cause = \"convenience\" }",
        ),
    ];
    assert_eq!(in_force(&ended, "2026-09-01T21:59:59Z"), Ok(()));
    assert!(in_force(&ended, "2026-09-01T22:00:00Z").is_err());
}

// Breaks when business time counts the wrong days or hours.
#[test]
fn business_time_is_the_acting_sides() {
    let calendar: Calendar = serde_json::from_str(r#"{"zone": "Europe/Amsterdam", "holidays": ["2026-05-14"]}"#).expect("a calendar");
    for (start, span, end) in [
        // Monday 10:00, a business day: Tuesday's close.
        ("2026-05-04T10:00:00+02:00", "1bd", "2026-05-05T17:00:00+02:00"),
        ("2026-05-04T20:00:00+02:00", "1bd", "2026-05-05T17:00:00+02:00"),
        // From Friday over the weekend; from Saturday.
        ("2026-05-08T10:00:00+02:00", "1bd", "2026-05-11T17:00:00+02:00"),
        ("2026-05-09T10:00:00+02:00", "1bd", "2026-05-11T17:00:00+02:00"),
        // Ascension Day is a holiday.
        ("2026-05-13T10:00:00+02:00", "2bd", "2026-05-18T17:00:00+02:00"),
        // Four business hours: within a day, and over a night.
        ("2026-05-04T10:00:00+02:00", "4bh", "2026-05-04T14:00:00+02:00"),
        ("2026-05-04T15:00:00+02:00", "4bh", "2026-05-05T11:00:00+02:00"),
        ("2026-05-04T07:00:00+02:00", "4bh", "2026-05-04T13:00:00+02:00"),
        // Calendar days follow the zone over the change of clocks.
        ("2026-03-28T12:00:00+01:00", "1d", "2026-03-29T12:00:00+02:00"),
        ("2026-03-28T12:00:00+01:00", "24h", "2026-03-29T13:00:00+02:00"),
    ] {
        let span = span.parse().expect("a span");
        assert_eq!(business::after(&calendar, at(start), span), Some(at(end)), "{start} + {span}");
    }
}
