//! Webhooks: what arrives, how it is refused, what it says.

use super::Millis;

/// A key that a webhook may be signed with; several are valid while rotating.
#[derive(Clone)]
pub struct WebhookKey {
    /// Names the key in logs.
    pub id: String,
    /// The shared secret.
    pub secret: Vec<u8>,
    /// The account that this key is for; `None` for an app-level key that serves all accounts.
    pub account: Option<String>,
}

/// What a verified webhook said.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Incoming {
    /// Where to look.
    pub hints: Vec<Hint>,
    /// What to answer once the hints are committed.
    pub reply: Reply,
}

/// Says that a record may have changed. Nothing in it is taken as truth: the record is read again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hint {
    /// The vendor's account, when the webhook names it.
    pub account: Option<String>,
    /// The object, as mapping files spell it.
    pub object: String,
    /// The record's id.
    pub id: String,
    /// What the vendor says happened.
    pub kind: HintKind,
    /// When the vendor says it happened.
    pub occurred_at: Option<Millis>,
}

/// What the vendor says happened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum HintKind {
    /// Created or changed.
    Changed,
    /// Deleted or archived.
    Deleted,
    /// Merged into another record, whose id follows.
    Merged(String),
    /// Deleted for privacy: the person asked for it.
    PrivacyDeleted,
}

/// What to answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reply {
    /// The status.
    pub status: u16,
    /// The content type, empty for none.
    pub content_type: &'static str,
    /// The body.
    pub body: String,
}

impl Reply {
    /// An empty 200.
    pub fn ok() -> Self {
        Self { status: 200, content_type: "", body: String::new() }
    }
}

/// Why a webhook is not believed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// No signature where the scheme has one.
    #[error("the signature is missing")]
    Unsigned,
    /// The signature does not fit the bytes.
    #[error("the signature does not fit the body")]
    Forged,
    /// Signed, but too long ago (or ahead of our clock).
    #[error("the signature is too old or from the future: compare the clocks of both machines")]
    Stale,
    /// Verified, but for another account than the key's.
    #[error("the webhook is for another account than this address")]
    WrongAccount,
    /// Verified, but not of the documented form.
    #[error("the body is not of the form that the vendor documents")]
    Unreadable,
    /// This vendor sends no webhooks.
    #[error("this vendor sends no webhooks")]
    NotSupported,
}
