//! The suite itself: a right toy passes every case, and each defect makes the case fail that is there for it.

use super::toy::{Defect, entry, sample};
use super::{Outcome, Report, Row, run_on};

fn report(defect: Defect) -> Report {
    run_on(&[entry(defect)], sample)
}

fn failed(report: &Report) -> Vec<&str> {
    report.failures().iter().map(|row| row.case).collect()
}

/// Breaks when a case fails without cause: the toy does everything that is asked.
#[test]
fn a_right_connector_passes() {
    let report = report(Defect::None);
    assert!(report.failures().is_empty(), "{}", report.table());
    assert!(report.rows.iter().filter(|row| row.outcome == Outcome::Passed).count() > 60, "{}", report.table());
}

/// Breaks when a case can no longer fail: each defect must be found by the case that is there for it.
#[test]
fn each_defect_is_found() {
    let expected = [
        (Defect::LosesEqualTimes, "poll: over every cap at one time"),
        (Defect::NoOverlap, "poll: late commits"),
        (Defect::StartsAgain, "crash: poll of one request at a time"),
        (Defect::MovesItsWindow, "crash: poll taken up much later"),
        (Defect::TwinAfterTimeout, "deliver: answer lost, settled"),
        (Defect::WritesAfterUnknown, "law: only reads after unknown"),
        (Defect::BelievesForged, "webhook: forged"),
        (Defect::BelievesForged, "webhook: one byte changed"),
        (Defect::Reserialises, "webhook: written again"),
        (Defect::SettlesTwice, "law: each item settled once"),
        (Defect::RecreatesDeleted, "write: update of a deleted record"),
        (Defect::SinksNeighbours, "write: invalid among good"),
        (Defect::TrustsCutAnswers, "trouble: cut answer"),
        (Defect::AsksElsewhere, "law: hosts"),
    ];
    for (defect, case) in expected {
        let report = report(defect);
        assert!(failed(&report).contains(&case), "{defect:?} was not found by `{case}`\n{}", report.table());
    }
}

/// Breaks when a new connector without sample data passes in silence.
#[test]
fn a_connector_without_a_sample_fails() {
    let report = run_on(&[entry(Defect::None)], |_| None);
    assert!(matches!(&report.rows[..], [Row { outcome: Outcome::Failed(why), .. }] if why.contains("samples.rs")), "{}", report.table());
}

/// Breaks when the table hides a failure or the reason why a case does not apply.
#[test]
fn the_table_shows_cells_and_reasons() {
    let report = Report {
        rows: vec![
            Row::new("one", "poll", Outcome::Passed),
            Row::new("one", "webhook", Outcome::NotApplicable("none sent".into())),
            Row::new("two", "poll", Outcome::Failed("lost a row".into())),
        ],
    };
    let expected = "case     one  two\npoll     ok   FAIL\nwebhook  n/a  -\nn/a  one webhook: none sent\nFAIL two poll: lost a row\n";
    assert_eq!(report.table(), expected);
}

/// Breaks when a connector does not do what every connector must. `CONNECTOR=name` runs one alone.
#[test]
fn every_connector_conforms() {
    let report = std::env::var("CONNECTOR").map_or_else(|_| super::run(), |name| super::run_for(&name));
    assert!(!report.rows.is_empty() && report.failures().is_empty(), "{}", report.table());
    println!("{}", report.table());
}
