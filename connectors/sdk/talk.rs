//! A conversation with a vendor, expressed without I/O.
//!
//! The daemon opens a [`Talk`] for one [`Op`], calls [`Talk::step`] until it waits or is done, sends
//! what it asks for and lets it hear what came of each ask. The laws that the conformance suite
//! checks: each item is settled once; after [`Heard::Unknown`] on [`Effect::Once`] only reads or a
//! rest follow; a talk dropped after any step and opened again from its last [`Saved`] ends the
//! same.

use serde::{Deserialize, Serialize};

use super::{FieldInfo, Fields, Incoming, Manifest, Millis, RawRequest, Record, Refused, Request, Response, WebhookKey};

/// Where a poll stands; only the connector reads it. It must survive upgrades, so it carries a
/// version of its own where its shape may change.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Cursor(pub serde_json::Value);

/// The durable part of a talk: small and versioned by the connector.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Saved(pub serde_json::Value);

/// Names one ask within one talk, so that its answer finds back.
pub type Tag = u32;

/// Names one item of a write; the daemon's own id.
pub type ItemKey = String;

/// The only records that may be read: each named field must hold one of its values. Empty = all.
pub type Selection = Vec<(String, Vec<String>)>;

/// What a connector needs to know of the account that it talks to. Tokens stay with the daemon.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Account {
    /// Scheme and host, no trailing slash. Requests with a path go below it.
    pub base_url: String,
    /// The vendor's API version, from the manifest or the operator.
    pub api_version: String,
    /// The vendor's id of the account (HubSpot portal, Salesforce organisation), once known.
    pub external_id: Option<String>,
    /// The account's database, tenant or site where the vendor's paths name one.
    pub tenant: Option<String>,
    /// Scopes that the vendor granted, when it says.
    pub scopes: Vec<String>,
}

/// What is asked of a vendor.
#[derive(Debug, Clone, PartialEq)]
pub enum Op {
    /// May we read and write what the mapping needs? Ends in [`Output::Checked`].
    Check {
        /// The vendor's object.
        object: String,
        /// The field that holds our marker; it must exist and be unique where we write.
        marker_field: String,
        /// Fields that the mapping reads or writes.
        fields: Vec<String>,
        /// Whether we also write there.
        writes: bool,
    },
    /// Records created, changed, deleted or merged since the cursor, up to `until`. Each page is
    /// handed over with the cursor that it reaches; ends in [`Output::Cursor`].
    Changes {
        /// The vendor's object.
        object: String,
        /// Where the last poll ended; `None` on the first.
        cursor: Option<Cursor>,
        /// Where the first poll starts: nothing that last changed before this is read.
        from: Millis,
        /// Upper bound in the vendor's time, its lag already taken off.
        until: Millis,
        /// Fields to read, besides what the connector needs itself. Often none: polls only raise hints.
        fields: Vec<String>,
        /// What may be read. A connector pushes it down where it can; the daemon checks it anyway.
        selection: Selection,
    },
    /// Reads these records now, by a read that is not the search index. Ends in
    /// [`Output::Records`]: one record per id, in any order; a missing id comes back as
    /// [`super::State::Deleted`], a merged one as [`super::State::Merged`] under the id asked for.
    Fetch {
        /// The vendor's object.
        object: String,
        /// At most the manifest's `read_batch`.
        ids: Vec<String>,
        /// Fields to read.
        fields: Vec<String>,
    },
    /// Like `Fetch`, and also follows what became of the record: fields named `deal.<field>` or
    /// `opportunity.<field>` come from the record it was turned into, where the vendor has one.
    Follow {
        /// The vendor's object.
        object: String,
        /// At most the manifest's `read_batch`.
        ids: Vec<String>,
        /// Fields to read.
        fields: Vec<String>,
    },
    /// Records whose field holds this value. Ends in [`Output::Records`].
    Find {
        /// The vendor's object.
        object: String,
        /// The field.
        field: String,
        /// The value, compared as the vendor compares.
        value: String,
        /// Fields to read.
        fields: Vec<String>,
    },
    /// Creates and updates; one [`Step::Item`] per item, then [`Output::Done`].
    Write {
        /// The vendor's object.
        object: String,
        /// The field that holds our marker.
        marker_field: String,
        /// At most the manifest's `write_batch`.
        items: Vec<Item>,
    },
    /// Looks whether writes of unknown outcome happened, by a read that is not the search index.
    /// One [`Step::Item`] per doubt: `Written` when it is there, `Gone` when it is not (writing
    /// again is safe), `InDoubt` when it is too early to tell.
    Settle {
        /// The vendor's object.
        object: String,
        /// The field that holds our marker.
        marker_field: String,
        /// What is in doubt.
        items: Vec<Doubt>,
    },
    /// The object's fields. Ends in [`Output::Described`].
    Describe {
        /// The vendor's object.
        object: String,
    },
    /// Removes one record that we made. Ends in [`Output::Done`]; a record already gone is done.
    Erase {
        /// The vendor's object.
        object: String,
        /// The vendor's id.
        id: String,
    },
}

/// One write.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum Item {
    /// Create, or update when a record with our marker is already there (a first create, or one
    /// in doubt; never once the id is known).
    Create {
        /// Our id of this item.
        key: ItemKey,
        /// Our unique mark on the person's record at this connection.
        marker: String,
        /// Vendor fields, without the marker.
        fields: Fields,
    },
    /// Update by id; never creates. `null` clears a field.
    Update {
        /// Our id of this item.
        key: ItemKey,
        /// The vendor's id.
        id: String,
        /// Vendor fields.
        fields: Fields,
    },
}

impl Item {
    /// Our id of this item.
    pub fn key(&self) -> &ItemKey {
        match self {
            Self::Create { key, .. } | Self::Update { key, .. } => key,
        }
    }

    /// The vendor fields to write.
    pub fn fields(&self) -> &Fields {
        match self {
            Self::Create { fields, .. } | Self::Update { fields, .. } => fields,
        }
    }
}

/// A create of unknown outcome.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Doubt {
    /// Our id of this item.
    pub key: ItemKey,
    /// The marker that the create carried.
    pub marker: String,
    /// When it was sent.
    pub sent_at: Millis,
    /// The record that is known as this item's by now: where there are several, it stays.
    pub known: Option<String>,
}

/// What a talk wants next.
#[derive(Debug, Clone, PartialEq)]
pub enum Step {
    /// Send this; more asks may follow before any answer is heard.
    Ask(Ask),
    /// Nothing to ask until an answer is heard.
    Wait,
    /// Keep this: a crash resumes from here.
    Save(Saved),
    /// Snooze durably for this long (index lag, bulk job), then open again from what is saved.
    Rest(Millis, Saved),
    /// A page of a poll, stored with its cursor in one transaction, alone or with the pages after it. Without records it says how far the
    /// poll has come: broken off, it goes on from there and not from the page before. Say so after each request that found nothing, for
    /// an account's budget may give one at a time.
    Page(Vec<Record>, Cursor),
    /// One item of a write is settled.
    Item(ItemKey, ItemResult),
    /// The end.
    Done(Output),
    /// The end, badly: the vendor answered something that the operation cannot go on from.
    Failed(Fault),
}

/// How a talk ends.
#[derive(Debug, Clone, PartialEq)]
pub enum Output {
    /// Nothing more to say (writes, settles, erasures).
    Done,
    /// Where the poll ended: everything up to the asked `until` has been handed over.
    Cursor(Cursor),
    /// What was read.
    Records(Vec<Record>),
    /// The object's fields.
    Described(Vec<FieldInfo>),
    /// What the check found, good and bad.
    Checked(Vec<Finding>),
}

/// One thing that a connection check looked at.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Finding {
    /// Stable name, such as `scope`, `read`, `marker_field`, `field`.
    pub code: String,
    /// Whether it is as it should be.
    pub ok: bool,
    /// What was looked at, in plain words.
    pub what: String,
    /// When not ok: the exact clicks that mend it.
    pub fix: Option<String>,
}

/// One request and what it does.
#[derive(Debug, Clone, PartialEq)]
pub struct Ask {
    /// Names the ask.
    pub tag: Tag,
    /// What to send.
    pub request: Request,
    /// What sending it twice would do.
    pub effect: Effect,
    /// The manifest budgets that it spends from, by name, with their cost.
    pub cost: Vec<(&'static str, u32)>,
}

/// What sending a request twice would do; decides whether it may be sent again by itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Effect {
    /// Changes nothing.
    Read,
    /// Writes these items in a way that the vendor makes idempotent by a unique key or an id.
    Keyed(Vec<ItemKey>),
    /// Writes these items, and would write them again.
    Once(Vec<ItemKey>),
}

/// What became of an ask.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Heard<'a> {
    /// The vendor answered (anything that the manifest's table does not retry or wait for).
    Answer(&'a Response),
    /// It provably never reached the vendor.
    NotSent(Why),
    /// It may or may not have happened.
    Unknown,
}

/// Why nothing was sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Why {
    /// The host did not answer the connection.
    Unreachable,
    /// The time in which the write was allowed ran out first.
    DeadlinePassed,
}

/// What became of one item.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum ItemResult {
    /// It is there.
    Written {
        /// The vendor's id.
        id: String,
        /// Whether we made it.
        made: Made,
        /// What the vendor now holds of the fields we wrote, as far as it said.
        shadow: Fields,
    },
    /// The vendor already has this person as a record that does not carry our marker.
    Exists(String),
    /// The id that we knew is now this one.
    Moved(String),
    /// No such record.
    Gone,
    /// The vendor refuses this item.
    Refused(ItemFault),
    /// Nobody can say yet; settle before writing again.
    InDoubt,
}

/// Whose record it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Made {
    /// We created it; only such records are ever deleted.
    Created,
    /// It was there before us.
    Adopted,
    /// The vendor did not say.
    Unknown,
}

/// Why a vendor refuses one item. Messages never repeat a person's data.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ItemFault {
    /// The vendor's code, such as `INVALID_EMAIL` or `REQUIRED_FIELD_MISSING`.
    pub code: String,
    /// The vendor fields named, when it names any.
    pub fields: Vec<String>,
    /// `true` when the same write may succeed later (a locked row).
    pub passing: bool,
    /// `true` when something in the account's set-up must change first (a missing property).
    pub config: bool,
}

/// Why a talk cannot go on.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{code}: {message}")]
pub struct Fault {
    /// Stable code: the vendor's where it has one, else `unexpected_answer`, `not_supported`, `bad_saved_state`.
    pub code: String,
    /// What happened, without personal data or secrets.
    pub message: String,
    /// `true` when trying again later may help; `false` when a person must act.
    pub passing: bool,
}

impl Fault {
    /// An answer that the connector cannot read: the shape is not what the vendor documents.
    pub fn unexpected(what: &str, response: &Response) -> Self {
        Self {
            code: "unexpected_answer".into(),
            message: format!("{what}: the vendor answered {} in a form that is not documented", response.status),
            passing: true,
        }
    }
}

/// A conversation about one operation.
pub trait Talk: Send {
    /// What to do next; called until it says `Wait`, `Rest`, `Done` or `Failed`.
    fn step(&mut self) -> Step;
    /// What became of an ask; called once for each, in any order.
    fn heard(&mut self, tag: Tag, what: Heard<'_>);
}

/// How we speak to one vendor.
pub trait Connector: Send + Sync {
    /// The declared facts.
    fn manifest(&self) -> &Manifest;

    /// Starts an operation, or takes it up again from what was saved.
    fn open(&self, op: &Op, account: &Account, saved: Option<&Saved>) -> Result<Box<dyn Talk>, Fault>;

    /// Verifies a webhook on its raw bytes and reads it, in one: nothing unverified is ever read.
    fn webhook(&self, raw: &RawRequest, keys: &[WebhookKey], now: Millis) -> Result<Incoming, Refused>;

    /// What a token response says of the account: its id and the base URL to use, where the vendor
    /// says so there. Hosts are checked against the manifest by the daemon.
    fn account_facts(&self, token_response: &serde_json::Map<String, serde_json::Value>) -> AccountFacts;
}

/// What a token response says of an account.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct AccountFacts {
    /// The vendor's id of the account.
    pub external_id: Option<String>,
    /// The base URL for API calls.
    pub base_url: Option<String>,
}
