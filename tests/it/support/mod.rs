//! What the integration tests stand on.

pub mod postgres;
pub mod world;
