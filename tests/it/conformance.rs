//! The conformance suite over every connector, shown as a table.
//!
//! The table is also kept in the target folder (`tmp/conformance.txt`), from where `tests/run` prints it.

use leadshare_connectors::sdk::conformance;

// Breaks when a connector fails one of the cases that all must pass, or the registry is empty.
#[test]
fn every_connector_passes_every_case_that_applies_to_it() {
    let report = conformance::run();
    println!("{}", report.table());
    std::fs::write(concat!(env!("CARGO_TARGET_TMPDIR"), "/conformance.txt"), report.table()).unwrap();
    let connectors: std::collections::BTreeSet<&str> = report.rows.iter().map(|row| row.connector).collect();
    assert_eq!(connectors.len(), leadshare_connectors::all().len(), "every connector of the registry is in the table");
    assert!(report.rows.len() >= 10 * connectors.len(), "only {} rows: the suite is not whole", report.rows.len());
    let failures: Vec<String> = report.failures().iter().map(|row| format!("{} {}", row.connector, row.case)).collect();
    assert!(failures.is_empty(), "not as they should be: {}\n{}", failures.join(", "), report.table());
}
