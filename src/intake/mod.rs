//! Intake: how changes reach us. Webhooks and polls raise the same hints; the record is then read.
//! So are those whose wait has passed.

pub mod judge;
pub mod keep;
mod new_shares;
pub mod noes;
pub mod poll;
pub mod read;
pub mod waits;
pub mod webhook;
pub mod wordings;
