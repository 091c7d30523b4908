//! Connecting a partner's account: links, the authorization-code flow, and the check afterwards.

pub mod authorize;
pub mod check;
mod denied;

pub use denied::Denied;
