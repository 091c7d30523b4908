//! A line: one connection in use. Its account, budgets and allowed networks; its tokens are next door.

use std::path::PathBuf;
use std::sync::{Arc, RwLock};

use leadshare_connectors::sdk::manifest::Budget;
use leadshare_connectors::sdk::{Account, Connector, Manifest, Response};
use secrecy::SecretString;

use super::circuit::Circuit;
use super::egress::{self, Egress};
use super::fence::Fence;
use super::limit::Limits;
use super::spool::Spool;
use super::token_endpoint::App;
use super::tokens::Held;
use crate::clock::{Clock, Millis};
use crate::errors::{Error, Result};
use crate::store::{Db, connections};
use crate::vault::Vault;

/// An account is polled when it has been quiet for this part longer.
const QUIET_PART: Millis = 60;

/// What a partner's account is used for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// Its leads are shared.
    Source,
    /// It receives leads; what is not ours there is neither read nor kept.
    Recipient,
    /// Both.
    Both,
}

impl Role {
    /// Whether leads are read from there.
    pub fn shares(self) -> bool {
        self != Self::Recipient
    }
    /// Whether leads are delivered there.
    pub fn receives(self) -> bool {
        self != Self::Source
    }
}

/// What the operator configured for a connection, resolved.
pub struct Setup {
    /// The connection's name.
    pub name: String,
    /// The partner whose account it is.
    pub partner: String,
    /// How we speak to the vendor.
    pub connector: Arc<dyn Connector>,
    /// The operator's base URL; wins over the vendor's.
    pub base_url: Option<String>,
    /// The API version.
    pub api_version: String,
    /// Database or tenant, where the vendor's paths name one.
    pub tenant: Option<String>,
    /// The app registered at the vendor, for OAuth.
    pub app: Option<Arc<App>>,
    /// The key, for vendors that use one.
    pub key: Option<SecretString>,
    /// What the account is used for.
    pub role: Role,
    /// Secrets that webhooks on this connection's own address are believed for; two while rotating.
    pub webhook_secrets: Vec<SecretString>,
    /// Whether to show what would happen without doing it.
    pub observe: bool,
    /// Most new shares in an hour.
    pub brake_per_hour: u32,
    /// Pause between polls, milliseconds.
    pub poll_every: Millis,
    /// The longest pause between polls, of an account where nothing changes.
    pub poll_at_least_every: Millis,
    /// How long a write of unknown outcome may still arrive, milliseconds.
    pub settle_after: Millis,
    /// Opened networks.
    pub egress: Egress,
    /// Budgets, with the operator's changes.
    pub budgets: Arc<[Budget]>,
    /// How much of each budget may be spent, percent: what the partner was promised.
    pub share_of_budget: u32,
    /// The folder of the token spool, on a local disk.
    pub spool: PathBuf,
}

/// One connection in use.
pub struct Line {
    pub(super) setup: Setup,
    limits: Limits,
    fence: Fence,
    circuit: Circuit,
    pub(super) db: Db,
    pub(super) vault: Arc<Vault>,
    facts: RwLock<Facts>,
    /// Locked while a token is looked for: within a process one looks, everyone else waits and then finds it.
    pub(super) held: tokio::sync::Mutex<Held>,
    pub(super) spool: Spool,
}

#[derive(Default)]
struct Facts {
    base_url: Option<String>,
    external_id: Option<String>,
    scopes: Vec<String>,
    clock_offset: Millis,
}

impl From<&connections::Connection> for Facts {
    fn from(c: &connections::Connection) -> Self {
        Self { base_url: c.base_url.clone(), external_id: c.external_id.clone(), scopes: c.scopes.clone(), clock_offset: c.clock_offset }
    }
}

impl Line {
    /// A line, with what the store knows of its account.
    pub fn new(setup: Setup, clock: &Clock, db: &Db, vault: &Arc<Vault>, stored: Option<&connections::Connection>) -> Self {
        let limits = Limits::new(clock, db, &setup.name, &setup.connector.manifest().budgets, &setup.budgets, setup.share_of_budget);
        let spool = Spool::new(&setup.spool, &setup.name);
        let facts = stored.map(Facts::from).unwrap_or_default();
        Self {
            limits,
            fence: Fence::default(),
            circuit: Circuit::default(),
            spool,
            setup,
            db: db.clone(),
            vault: vault.clone(),
            facts: RwLock::new(facts),
            held: tokio::sync::Mutex::default(),
        }
    }

    /// Takes over what the store knows of the account: another replica may have connected it.
    pub fn learn(&self, stored: &connections::Connection) {
        if let Ok(mut facts) = self.facts.write() {
            *facts = Facts { clock_offset: facts.clock_offset, ..Facts::from(stored) };
        }
    }

    /// The connection's name.
    pub fn name(&self) -> &str {
        &self.setup.name
    }
    /// The partner whose account it is.
    pub fn partner(&self) -> &str {
        &self.setup.partner
    }
    /// The connector.
    pub fn connector(&self) -> &dyn Connector {
        &*self.setup.connector
    }
    /// The connector's name, for metrics.
    pub fn connector_name(&self) -> &'static str {
        leadshare_connectors::by_name(&self.manifest().name).map_or("unknown", |entry| entry.name)
    }
    /// The vendor's facts.
    pub fn manifest(&self) -> &Manifest {
        self.setup.connector.manifest()
    }
    /// The budgets.
    pub fn limits(&self) -> &Limits {
        &self.limits
    }
    /// Whether its vendor is well.
    pub(super) fn circuit(&self) -> &Circuit {
        &self.circuit
    }
    /// The store.
    pub(super) fn db(&self) -> &Db {
        &self.db
    }
    /// Whether the connection is this replica's.
    pub fn fence(&self) -> &Fence {
        &self.fence
    }
    /// The opened networks.
    pub fn egress(&self) -> &Egress {
        &self.setup.egress
    }
    /// What the account is used for.
    pub fn role(&self) -> Role {
        self.setup.role
    }
    /// Pause between polls, milliseconds.
    pub fn poll_every(&self) -> Millis {
        self.setup.poll_every
    }
    /// The pause after a poll of an account where nothing has changed for so long: a sixtieth of that, so that what comes
    /// is seen late by so much at most.
    pub fn poll_pause(&self, quiet: Millis) -> Millis {
        let every = self.setup.poll_every;
        (quiet / QUIET_PART).clamp(every, self.setup.poll_at_least_every.max(every))
    }
    /// How long a write of unknown outcome may still arrive, milliseconds.
    pub fn settle_after(&self) -> Millis {
        self.setup.settle_after
    }
    /// Whether decisions are shown only.
    pub fn observe(&self) -> bool {
        self.setup.observe
    }
    /// Most new shares in an hour.
    pub fn brake_per_hour(&self) -> u32 {
        self.setup.brake_per_hour
    }
    /// Secrets of the connection's own webhook address.
    pub fn webhook_secrets(&self) -> &[SecretString] {
        &self.setup.webhook_secrets
    }
    /// The registered app.
    pub fn app(&self) -> Option<&App> {
        self.setup.app.as_deref()
    }
    /// The vendor's clock minus ours.
    pub fn clock_offset(&self) -> Millis {
        self.facts.read().map_or(0, |f| f.clock_offset)
    }

    fn base_url(&self) -> Option<String> {
        let learnt = || self.facts.read().ok().and_then(|f| f.base_url.clone());
        self.setup.base_url.clone().or_else(learnt).or_else(|| self.manifest().base_url.clone())
    }

    /// Whether it is connected to this account of its vendor.
    pub fn is_account(&self, account: &str) -> bool {
        self.facts.read().is_ok_and(|facts| facts.external_id.as_deref() == Some(account))
    }

    /// What connectors need to know of the account.
    pub fn account(&self) -> Account {
        let (external_id, scopes) = self.facts.read().map(|f| (f.external_id.clone(), f.scopes.clone())).unwrap_or_default();
        Account {
            base_url: self.base_url().unwrap_or_default(),
            api_version: self.setup.api_version.clone(),
            external_id,
            tenant: self.setup.tenant.clone(),
            scopes,
        }
    }

    /// The full, checked address of a request.
    ///
    /// # Errors
    /// [`Error::NeedsPerson`] when it may not be connected to.
    pub fn resolve(&self, url: &str) -> Result<url::Url> {
        let base = self.base_url();
        let full = if url.starts_with('/') {
            let base = base.as_deref().ok_or_else(|| Error::NeedsPerson {
                code: "connection.no_address".into(),
                message: "the vendor's address is not known yet: connect first, or set base_url".into(),
            })?;
            format!("{}{url}", base.trim_end_matches('/'))
        } else {
            url.to_owned()
        };
        let parsed = url::Url::parse(&full).map_err(|_| Error::BadRequest(format!("connection {}: base_url is not a URL", self.name())))?;
        egress::check(&self.setup.egress, &parsed, base.as_deref(), &self.manifest().host_suffixes)?;
        Ok(parsed)
    }

    /// Notes the vendor's clock from an answer.
    pub(super) fn heard_headers(&self, response: &Response, now: Millis) {
        for budget in &*self.setup.budgets {
            self.limits.heard(budget, response, now);
        }
        let date = response.header("date").and_then(|d| jiff::fmt::rfc2822::parse(d).ok());
        if let (Some(date), Ok(mut facts)) = (date, self.facts.write()) {
            facts.clock_offset = date.timestamp().as_millisecond() - now;
            crate::metrics::clock_offset(self.connector_name(), facts.clock_offset);
        }
    }
}
