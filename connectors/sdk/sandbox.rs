//! A faithful simulator of a vendor, without I/O of its own.
//!
//! It is written from the vendor's documentation, not from our connector or its manifest, so that
//! one mistake cannot hide another. The daemon's `sandbox` command and the demo serve it over
//! loopback; tests drive it in process.

use super::{Fields, Method, Millis, Response};

/// A request as it reached the simulator.
#[derive(Debug, Clone)]
pub struct SandboxRequest {
    /// The method.
    pub method: Method,
    /// Path and query, undecoded.
    pub path: String,
    /// Headers, names in lower case.
    pub headers: Vec<(String, String)>,
    /// The body.
    pub body: Vec<u8>,
}

impl SandboxRequest {
    /// The first header of this name.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(n, _)| n.eq_ignore_ascii_case(name)).map(|(_, v)| v.as_str())
    }

    /// The path without its query.
    pub fn path_only(&self) -> &str {
        self.path.split('?').next().unwrap_or_default()
    }

    /// The decoded value of a query parameter.
    pub fn query(&self, name: &str) -> Option<String> {
        let query = self.path.split_once('?')?.1;
        url::form_urlencoded::parse(query.as_bytes()).find(|(n, _)| n == name).map(|(_, v)| v.into_owned())
    }

    /// The decoded value of a field of a form body.
    pub fn form(&self, name: &str) -> Option<String> {
        url::form_urlencoded::parse(&self.body).find(|(n, _)| n == name).map(|(_, v)| v.into_owned())
    }
}

/// What the client sees.
#[derive(Debug, Clone)]
pub enum SandboxReply {
    /// An answer.
    Answer(Response),
    /// The connection breaks without an answer; the request may have been committed all the same.
    Dropped,
}

/// An OAuth app registered at the vendor, and where its webhooks go.
#[derive(Debug, Clone)]
pub struct App {
    /// OAuth client id.
    pub client_id: String,
    /// OAuth client secret; also the webhook secret where the vendor does so.
    pub client_secret: String,
    /// Allowed redirect address.
    pub redirect_uri: String,
    /// Where webhooks are sent; `None` for none.
    pub webhook_url: Option<String>,
}

/// What a person (or a workflow) does in the vendor's own pages.
#[derive(Debug, Clone)]
pub enum Act {
    /// Creates a record; answers its id.
    Create {
        /// The object as mapping files spell it.
        object: String,
        /// The vendor's fields.
        fields: Fields,
    },
    /// Changes a record.
    Update {
        /// The object.
        object: String,
        /// The record's id.
        id: String,
        /// Fields to set; `null` clears.
        fields: Fields,
    },
    /// Deletes a record as a person would (recycle bin, archive).
    Delete {
        /// The object.
        object: String,
        /// The record's id.
        id: String,
    },
    /// Merges `loser` into `winner`; answers the surviving id.
    Merge {
        /// The object.
        object: String,
        /// The record that stays.
        winner: String,
        /// The record that goes.
        loser: String,
    },
    /// Turns a lead into a deal or opportunity with these fields; answers its id. Vendors without
    /// such a step answer an error.
    Convert {
        /// The object.
        object: String,
        /// The record's id.
        id: String,
        /// Fields of the deal or opportunity.
        fields: Fields,
    },
    /// Adds a custom field to an object, as an admin would.
    DefineField {
        /// The object.
        object: String,
        /// The field's API name.
        name: String,
        /// Whether its values are unique (an external id).
        unique: bool,
        /// Picklist values; empty for text.
        options: Vec<String>,
    },
}

/// A record as the simulator holds it, for counting and comparing.
#[derive(Debug, Clone)]
pub struct SandboxRecord {
    /// The record's id.
    pub id: String,
    /// All its fields.
    pub fields: Fields,
    /// Whether an API client (not a person) created it.
    pub made_by_api: bool,
}

/// Trouble to come. Counts are of requests that the fault applies to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fault {
    /// The next `count` writes are committed, then the connection breaks without an answer.
    DropAfterCommit {
        /// How many.
        count: u32,
    },
    /// The next `count` writes break at once and are committed only `after_ms` later.
    CommitLate {
        /// How many.
        count: u32,
        /// How much later.
        after_ms: Millis,
    },
    /// The next `count` requests to data endpoints get this status and nothing happens.
    Status {
        /// The status, such as 500 or 503.
        status: u16,
        /// How many.
        count: u32,
    },
    /// The next `count` requests to data endpoints are throttled in the vendor's own form.
    Throttle {
        /// How many.
        count: u32,
        /// Whether a `Retry-After` header is sent (where the vendor ever does), in seconds.
        retry_after: Option<u32>,
    },
    /// The daily quota is used up until this moment.
    DailyQuota {
        /// When it resets.
        until: Millis,
    },
    /// All access tokens expire now; refresh tokens stay good.
    ExpireAccessTokens,
    /// All grants are revoked: refreshing fails until the partner connects again.
    RevokeGrants,
    /// From now on the search index sees changes this much later.
    IndexLag {
        /// How much later.
        ms: Millis,
    },
    /// From now on records become visible to every read this much after their modification time
    /// (long transactions at the vendor).
    CommitLag {
        /// How much later.
        ms: Millis,
    },
    /// The next answer is cut in the middle of its body.
    Truncate,
}

/// A webhook on its way to us.
#[derive(Debug, Clone)]
pub struct OutgoingWebhook {
    /// Names this delivery for [`Sandbox::webhook_answered`].
    pub delivery: u64,
    /// Where to.
    pub url: String,
    /// Headers, signature included.
    pub headers: Vec<(String, String)>,
    /// The body.
    pub body: Vec<u8>,
}

/// Counts since the start.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Stats {
    /// Data requests answered.
    pub requests: u64,
    /// Requests refused for the rate or quota.
    pub throttled: u64,
    /// Token requests answered.
    pub token_requests: u64,
    /// Records created by API.
    pub created: u64,
}

/// A vendor, simulated. Everything it knows of time is `now`.
pub trait Sandbox: Send {
    /// Registers the app, as its developer would. One app per simulator.
    fn register(&mut self, app: App);

    /// Answers a request: OAuth pages and endpoints, and the API.
    fn handle(&mut self, request: &SandboxRequest, now: Millis) -> SandboxReply;

    /// Webhooks whose time has come, retries included. Each is answered with
    /// [`Sandbox::webhook_answered`].
    fn webhooks_due(&mut self, now: Millis) -> Vec<OutgoingWebhook>;

    /// What our side answered: `None` when nothing came.
    fn webhook_answered(&mut self, delivery: u64, answer: Option<&Response>, now: Millis);

    /// A person does something in the vendor's pages. Answers the id concerned, or why it cannot be.
    fn act(&mut self, act: Act, now: Millis) -> Result<String, String>;

    /// All live records of an object.
    fn records(&self, object: &str) -> Vec<SandboxRecord>;

    /// Arranges trouble.
    fn inject(&mut self, fault: Fault);

    /// Counts since the start.
    fn stats(&self) -> Stats;

    /// An access token for a full grant, without the pages: for tests and for client libraries.
    fn token(&mut self, now: Millis) -> String;

    /// The tenant that an account on it gives, where the vendor's addresses name one.
    fn tenant(&self) -> Option<&'static str> {
        None
    }

    /// A copy of everything, so that tests can go on twice from one point.
    fn fork(&self) -> Box<dyn Sandbox>;
}
