//! What the suite found, and how it is shown to people.

use std::fmt::Write as _;

/// What became of one case on one connector.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// As it should be.
    Passed,
    /// Not as it should be, and why.
    Failed(String),
    /// The vendor has no notion of it, and why.
    NotApplicable(String),
}

/// One case on one connector.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Row {
    /// The connector's name in the registry.
    pub connector: &'static str,
    /// The case's name.
    pub case: &'static str,
    /// What became of it.
    pub outcome: Outcome,
}

impl Row {
    pub(super) fn new(connector: &'static str, case: &'static str, outcome: Outcome) -> Self {
        Self { connector, case, outcome }
    }
}

/// Everything that the suite found.
#[derive(Debug, Clone, Default)]
pub struct Report {
    /// Connector by connector, case by case.
    pub rows: Vec<Row>,
}

impl Report {
    /// The rows that failed.
    pub fn failures(&self) -> Vec<&Row> {
        self.rows.iter().filter(|row| matches!(row.outcome, Outcome::Failed(_))).collect()
    }

    /// A table of cases by connectors, then why cells failed or do not apply.
    pub fn table(&self) -> String {
        let (mut connectors, mut cases) = (Vec::new(), Vec::new());
        for row in &self.rows {
            if !connectors.contains(&row.connector) {
                connectors.push(row.connector);
            }
            if !cases.contains(&row.case) {
                cases.push(row.case);
            }
        }
        let wide = cases.iter().map(|case| case.len()).max().unwrap_or(0);
        let mut text = format!("{:wide$}", "case");
        for connector in &connectors {
            let _ = write!(text, "  {connector}");
        }
        text.push('\n');
        for case in cases {
            let _ = write!(text, "{case:wide$}");
            for connector in &connectors {
                let row = self.rows.iter().find(|row| row.case == case && row.connector == *connector);
                let cell = row.map_or("-", |row| match row.outcome {
                    Outcome::Passed => "ok",
                    Outcome::Failed(_) => "FAIL",
                    Outcome::NotApplicable(_) => "n/a",
                });
                let _ = write!(text, "  {cell:width$}", width = connector.len());
            }
            text.truncate(text.trim_end_matches(' ').len());
            text.push('\n');
        }
        for row in &self.rows {
            match &row.outcome {
                Outcome::Passed => {}
                Outcome::Failed(why) => {
                    let _ = writeln!(text, "FAIL {} {}: {why}", row.connector, row.case);
                }
                Outcome::NotApplicable(why) => {
                    let _ = writeln!(text, "n/a  {} {}: {why}", row.connector, row.case);
                }
            }
        }
        text
    }
}
