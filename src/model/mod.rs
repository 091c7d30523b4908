//! The common model: leads, consent, agreements, shares, decisions. Pure data, no I/O, no clock.

pub mod agreement;
pub mod consent;
pub mod decision;
pub mod field;
pub mod lead;
pub mod outcome;
pub mod wait;

pub use consent::{Channel, ConsentClaim, ConsentRecord, Place, Stop};
pub use lead::Lead;
pub use outcome::{ChangeOutcome, Progress, ShareStatus, Stand, reason_words};
pub use wait::{Cap, Wait, Waiting};

/// What has its default value is left out where it is stored, and reads as that again.
fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}
