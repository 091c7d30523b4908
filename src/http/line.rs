//! A line: one connection in use. Its account, budgets, allowed networks and tokens.

use std::sync::{Arc, RwLock};

use leadshare_connectors::sdk::manifest::Auth;
use leadshare_connectors::sdk::{Account, Connector, Manifest, Response};
use secrecy::{ExposeSecret, SecretString};
use tokio::sync::Mutex;

use super::Transport;
use super::circuit::{Circuit, Turned};
use super::egress::{self, Egress};
use super::fence::Fence;
use super::limit::Limits;
use super::token_endpoint::{self, App, Grant, TokenError, Tokens};
use crate::clock::{Clock, MINUTE, Millis, SECOND};
use crate::errors::{Error, Result};
use crate::store::{Db, connections};
use crate::vault::{Aad, Vault};

/// No refresh is tried again sooner than this after one failed for a passing reason.
const COOLDOWN: Millis = 30 * SECOND;
/// Access tokens are refreshed this long before they end.
const MARGIN: Millis = 2 * MINUTE;

/// The alert while a vendor is left alone.
const UNREACHABLE: &str = "connection.unreachable";

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
    pub app: Option<App>,
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
    /// Opened networks.
    pub egress: Egress,
    /// Budgets, with the operator's changes.
    pub budgets: Vec<leadshare_connectors::sdk::manifest::Budget>,
    /// How much of each budget may be spent, percent: what the partner was promised.
    pub share_of_budget: u32,
}

struct Token {
    access: SecretString,
    expires_at: Option<Millis>,
    version: i64,
}

impl Token {
    /// The `Authorization` header and the token's version.
    fn bearer(&self) -> (String, i64) {
        (format!("Bearer {}", self.access.expose_secret()), self.version)
    }
}

/// One connection in use.
pub struct Line {
    setup: Setup,
    limits: Limits,
    fence: Fence,
    circuit: Circuit,
    db: Db,
    vault: Arc<Vault>,
    facts: RwLock<Facts>,
    token: Mutex<Option<Token>>,
}

#[derive(Default)]
struct Facts {
    base_url: Option<String>,
    external_id: Option<String>,
    scopes: Vec<String>,
    clock_offset: Millis,
}

impl Line {
    /// A line, with what the store knows of its account.
    pub fn new(setup: Setup, clock: &Clock, db: &Db, vault: &Arc<Vault>, stored: Option<&connections::Connection>) -> Self {
        let facts = stored.map(|c| Facts {
            base_url: c.base_url.clone(),
            external_id: c.external_id.clone(),
            scopes: c.scopes.clone(),
            clock_offset: c.clock_offset,
        });
        let limits = Limits::new(clock, db, &setup.name, &setup.budgets, setup.share_of_budget);
        Self {
            limits,
            fence: Fence::default(),
            circuit: Circuit::default(),
            setup,
            db: db.clone(),
            vault: vault.clone(),
            facts: RwLock::new(facts.unwrap_or_default()),
            token: Mutex::new(None),
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
        self.setup.app.as_ref()
    }
    /// The vendor's clock minus ours.
    pub fn clock_offset(&self) -> Millis {
        self.facts.read().map_or(0, |f| f.clock_offset)
    }

    fn base_url(&self) -> Option<String> {
        let learnt = || self.facts.read().ok().and_then(|f| f.base_url.clone());
        self.setup.base_url.clone().or_else(learnt).or_else(|| self.manifest().base_url.clone())
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

    /// A request was answered as it should be, or was not. A vendor that keeps failing is left alone for a while, and its
    /// owner told once; when it answers again, that is said too.
    pub(super) async fn heard_of(&self, well: bool, clock: &Clock) {
        let Some(turned) = self.circuit.heard(well, clock.now()) else { return };
        if let Turned::Paused { until, .. } = &turned {
            self.limits.block(None, *until).await;
        }
        if let Err(error) = self.tell(&turned, clock).await {
            tracing::error!(connection = self.name(), %error, "an alert could not be kept");
        }
    }

    async fn tell(&self, turned: &Turned, clock: &Clock) -> Result<()> {
        let now = clock.now();
        let mut tx = self.db.begin().await?;
        match turned {
            Turned::Paused { until, first } => {
                tracing::warn!(connection = self.name(), pause_s = (until - now) / SECOND, "the vendor keeps failing: left alone");
                if !first {
                    return Ok(());
                }
                let message = format!(
                    "{} does not answer, or only with failures: it is left alone and tried again by itself, first after half a minute, later each quarter of an hour; nothing is lost meanwhile",
                    self.manifest().title
                );
                connections::raise_alert(&mut tx, &clock.id(), self.name(), UNREACHABLE, &message, now).await?;
            }
            Turned::Answers { news } => {
                if *news {
                    tracing::info!(connection = self.name(), "the vendor answers again");
                }
                connections::end_alert(&mut tx, self.name(), UNREACHABLE, now).await?;
            }
        }
        tx.commit().await
    }

    /// Notes the vendor's clock from an answer.
    pub(super) fn heard_headers(&self, response: &Response, now: Millis) {
        for budget in &self.setup.budgets {
            self.limits.heard(budget, response, now);
        }
        let date = response.header("date").and_then(|d| jiff::fmt::rfc2822::parse(d).ok());
        if let (Some(date), Ok(mut facts)) = (date, self.facts.write()) {
            facts.clock_offset = date.timestamp().as_millisecond() - now;
            crate::metrics::clock_offset(self.connector_name(), facts.clock_offset);
        }
    }

    /// The `Authorization` header and the version of its token. `refused` is the version that the vendor
    /// refused: unless somebody has refreshed it since, it is refreshed whatever its age.
    ///
    /// # Errors
    /// [`Error::NeedsPerson`] when the partner must connect again; [`Error::Passing`] when waiting helps.
    pub async fn authorization(&self, transport: &Transport, clock: &Clock, refused: Option<i64>) -> Result<(String, i64)> {
        let oauth = match &self.manifest().auth {
            Auth::Key { scheme, .. } => {
                let key = self.setup.key.as_ref().ok_or_else(|| Error::NeedsPerson {
                    code: "connection.no_key".into(),
                    message: format!("set connections.{}.key (or key_file)", self.name()),
                })?;
                return Ok((format!("{scheme} {}", key.expose_secret()), 0));
            }
            Auth::Oauth2(oauth) => oauth,
        };
        // An operator may hand over a static token (a private app's) instead of connecting.
        if let Some(key) = &self.setup.key {
            return Ok((format!("Bearer {}", key.expose_secret()), 0));
        }
        // Held while refreshing: everyone else waits and then finds the new token.
        let mut held = self.token.lock().await;
        let good = |t: &Token, margin: Millis| refused != Some(t.version) && t.expires_at.is_none_or(|end| end - margin > clock.now());
        if let Some(token) = held.as_ref().filter(|t| good(t, MARGIN)) {
            return Ok(token.bearer());
        }
        // Another process may have refreshed it meanwhile.
        let (current, stored) = self.stored_token().await?;
        if good(&current, MARGIN) {
            let bearer = current.bearer();
            *held = Some(current);
            return Ok(bearer);
        }
        let Some(refresh) = &stored.refresh else { return Err(self.reconnect("no_refresh_token")) };
        let usable = good(&current, 0);
        if stored.cooldown_until.is_some_and(|until| until > clock.now()) {
            return if usable { Ok(current.bearer()) } else { Err(passing("refresh_cooling_down")) };
        }
        let app = self.setup.app.as_ref().ok_or_else(|| Error::NeedsPerson {
            code: "connection.no_app".into(),
            message: format!("set connections.{0}.client_id and client_secret", self.name()),
        })?;
        let refresh = self.open("refresh", refresh, stored.version)?;
        connections::refresh_intent(&self.db, self.name(), clock.now()).await?;
        match token_endpoint::exchange(transport, self.egress(), app, Grant::Refresh(&refresh)).await {
            Ok(mut tokens) => {
                // The stored refresh token is sealed under its version: without a new one, seal the old again.
                tokens.refresh.get_or_insert(refresh);
                tokens.expires_in = tokens.expires_in.or(oauth.assumed_lifetime_ms);
                let token = self.save(clock, &tokens, stored.version + 1, None).await?;
                let bearer = token.bearer();
                *held = Some(token);
                crate::metrics::token_refresh(self.connector_name(), "ok");
                Ok(bearer)
            }
            Err(TokenError::Refused(code)) => {
                // Another process may have been faster and left us the old refresh token: then its token is good.
                let (newer, _) = self.stored_token().await?;
                if newer.version > current.version && good(&newer, 0) {
                    let bearer = newer.bearer();
                    *held = Some(newer);
                    return Ok(bearer);
                }
                crate::metrics::token_refresh(self.connector_name(), "refused");
                let error = self.reconnect(&code);
                let mut tx = self.db.begin().await?;
                connections::set_state(&mut tx, self.name(), "reconnect_needed", Some(&code), clock.now()).await?;
                connections::raise_alert(&mut tx, &clock.id(), self.name(), "connection.reconnect_needed", &error.to_string(), clock.now())
                    .await?;
                tx.commit().await?;
                Err(error)
            }
            Err(TokenError::Passing(code)) => {
                crate::metrics::token_refresh(self.connector_name(), "passing");
                connections::refresh_failed(&self.db, self.name(), clock.now() + COOLDOWN).await?;
                if usable { Ok(current.bearer()) } else { Err(passing(&code)) }
            }
        }
    }

    /// The tokens as stored, and the access token opened.
    async fn stored_token(&self) -> Result<(Token, connections::StoredTokens)> {
        let stored = connections::tokens(&self.db, self.name()).await?.ok_or_else(|| self.reconnect("not_connected"))?;
        let access = self.open("access", &stored.access, stored.version)?;
        Ok((Token { access, expires_at: stored.expires_at, version: stored.version }, stored))
    }

    /// Saves tokens, durably, before anyone uses them. `share_from` is given when a partner has
    /// just connected.
    ///
    /// # Errors
    /// The store's; also when the vendor named a base URL that is not one of its own.
    async fn save(&self, clock: &Clock, tokens: &Tokens, version: i64, share_from: Option<Millis>) -> Result<Token> {
        let learnt = self.connector().account_facts(&tokens.extra);
        if let Some(base) = &learnt.base_url {
            let url = url::Url::parse(base).map_err(|_| Error::NeedsPerson {
                code: "connection.bad_host".into(),
                message: "the vendor named an address that is not a URL".into(),
            })?;
            egress::check(&self.setup.egress, &url, self.setup.base_url.as_deref(), &self.manifest().host_suffixes)?;
        }
        let expires_at = tokens.expires_in.map(|life| clock.now() + life);
        let seal = |column: &str, secret: &SecretString| {
            self.vault.keys.seal(clock, Aad::new("tokens", self.name(), column).version(version as u64), secret.expose_secret().as_bytes())
        };
        let access = seal("access", &tokens.access)?;
        let refresh = tokens.refresh.as_ref().map(|t| seal("refresh", t)).transpose()?;
        let now = clock.now();
        let mut tx = self.db.begin().await?;
        connections::save_tokens(&mut tx, self.name(), access, refresh, expires_at, version).await?;
        match share_from {
            Some(from) => {
                connections::connected(
                    &mut tx,
                    self.name(),
                    learnt.base_url.clone(),
                    learnt.external_id.clone(),
                    &tokens.scopes,
                    from,
                    now,
                )
                .await?;
                connections::end_alerts(&mut tx, self.name(), now).await?;
            }
            None => {
                if let Some(base) = &learnt.base_url {
                    connections::set_base_url(&mut tx, self.name(), base).await?;
                }
            }
        }
        tx.commit().await?;
        if let Ok(mut facts) = self.facts.write() {
            facts.base_url = learnt.base_url.or(facts.base_url.take());
            facts.external_id = learnt.external_id.or(facts.external_id.take());
            if !tokens.scopes.is_empty() {
                facts.scopes.clone_from(&tokens.scopes);
            }
        }
        Ok(Token { access: tokens.access.clone(), expires_at, version })
    }

    /// A partner came back from the vendor with a code: exchange it and keep what comes.
    ///
    /// # Errors
    /// [`Error::NeedsPerson`] when the vendor refuses the code, or it is for another account than the
    /// one connected before; [`Error::Passing`] when trying again helps.
    pub async fn connect(&self, transport: &Transport, clock: &Clock, code: &str, verifier: Option<&str>) -> Result<()> {
        let app = self.setup.app.as_ref().ok_or_else(|| Error::NeedsPerson {
            code: "connection.no_app".into(),
            message: format!("set connections.{0}.client_id and client_secret", self.name()),
        })?;
        let mut tokens =
            token_endpoint::exchange(transport, self.egress(), app, Grant::Code(code, verifier)).await.map_err(|error| match error {
                TokenError::Refused(code) => {
                    Error::NeedsPerson { code, message: "the vendor did not accept the authorization: start again from the link".into() }
                }
                TokenError::Passing(code) => passing(&code),
            })?;
        if let Auth::Oauth2(oauth) = &self.manifest().auth {
            tokens.expires_in = tokens.expires_in.or(oauth.assumed_lifetime_ms);
        }
        // Markers, cursors and remote ids belong to one account: connecting again must not slip in another.
        let (known, given) = (self.account().external_id, self.connector().account_facts(&tokens.extra).external_id);
        if known.is_some() && given.is_some() && known != given {
            return Err(Error::NeedsPerson {
                code: "connection.other_account".into(),
                message: format!(
                    "{} was connected to another account than the one that was chosen now; nothing was changed: start again and choose the first one",
                    self.name()
                ),
            });
        }
        let mut held = self.token.lock().await;
        let version = connections::tokens(&self.db, self.name()).await?.map_or(1, |t| t.version + 1);
        *held = Some(self.save(clock, &tokens, version, Some(clock.now())).await?);
        Ok(())
    }

    fn open(&self, column: &str, sealed: &str, version: i64) -> Result<SecretString> {
        let plain = self.vault.keys.open(Aad::new("tokens", self.name(), column).version(version as u64), sealed)?;
        String::from_utf8(plain.to_vec()).map(SecretString::from).map_err(|_| Error::Unreadable { what: "a token".into() })
    }

    fn reconnect(&self, code: &str) -> Error {
        Error::NeedsPerson {
            code: code.chars().take(60).collect(),
            message: format!(
                "{} must be connected again: run `leadshare connect {}` and send the link to the partner; nothing is lost meanwhile",
                self.name(),
                self.name()
            ),
        }
    }
}

fn passing(code: &str) -> Error {
    Error::Passing { code: code.to_owned(), message: "no token for now; tried again by itself".into() }
}
