//! Tests of program files: what is read, what is refused and where, what is in force when.

mod broken;
pub mod example;
mod files;
mod term;
mod versions;
mod whole;

use crate::clock::Millis;

/// A moment as people write it.
pub fn at(text: &str) -> Millis {
    text.parse::<jiff::Timestamp>().expect("a moment").as_millisecond()
}

/// Replaces a part that must be there.
pub fn edit(text: &str, from: &str, to: &str) -> String {
    assert!(text.contains(from), "`{from}` is not in the text");
    text.replacen(from, to, 1)
}
