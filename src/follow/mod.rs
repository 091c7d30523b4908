//! Follow: what becomes of a shared lead at its recipient, and telling the sharer.

pub mod keep;
pub mod step;
