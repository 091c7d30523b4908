//! Tests of program files: what is read, what is refused and where, what is in force when.

pub mod example;

use crate::clock::Millis;

fn at(text: &str) -> Millis {
    text.parse::<jiff::Timestamp>().expect("a moment").as_millisecond()
}

// Breaks when the worked example of the documentation no longer loads without a remark, or is not in force.
#[test]
fn the_worked_example_is_in_force() {
    let program = example::program();
    assert_eq!(program.in_force("northwind-brightwater", at("2026-05-01T00:00:00Z")), Ok(()));
}
