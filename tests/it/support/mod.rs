//! What the integration tests stand on.

pub mod place;
pub mod postgres;
pub mod world;
