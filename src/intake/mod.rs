//! Intake: how changes reach us. Webhooks and polls raise the same hints; the record is then read.

pub mod judge;
pub mod keep;
pub mod noes;
pub mod poll;
pub mod read;
pub mod webhook;
pub mod wordings;
