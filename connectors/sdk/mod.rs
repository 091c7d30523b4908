//! What every connector is made of: records, talks, manifests, webhooks, sandboxes.
//!
//! Read in this order: [`record`] (what a vendor has), [`talk`] (how a conversation with a vendor
//! is expressed without I/O), [`manifest`] (the declared facts), [`webhook`], [`sandbox`].

#[cfg(feature = "conformance")]
pub mod conformance;
pub mod http;
pub mod manifest;
pub mod record;
pub mod sandbox;
pub mod signature;
pub mod talk;
pub mod webhook;

pub use http::{Method, RawRequest, Request, Response};
pub use manifest::{Action, Manifest};
pub use record::{FieldInfo, Fields, Record, State};
pub use sandbox::{Act, App, Fault, OutgoingWebhook, Sandbox, SandboxRecord, SandboxReply, SandboxRequest, Stats};
pub use talk::{
    Account, AccountFacts, Ask, Connector, Cursor, Doubt, Effect, Fault as TalkFault, Finding, Heard, Item, ItemFault, ItemKey, ItemResult,
    Made, Op, Output, Saved, Selection, Step, Tag, Talk, Why,
};
pub use webhook::{Hint, HintKind, Incoming, Refused, Reply, WebhookKey};

/// Milliseconds since the Unix epoch, UTC.
pub type Millis = i64;
