//! The tokens of one connection: which one to use, and refreshing them, one at a time over all replicas.
//!
//! A refresh token is often good once. So before a refresh an *intent* is committed, which one replica at a time can have; what
//! the vendor gives goes to the spool on this machine's disk, then into the database, and only then into use. A crash after the answer
//! is repaired from the spool. One before the answer cannot be repaired by anybody: then the access token is used to its end, the old
//! refresh token is tried once, and if the vendor refuses it, the partner is asked to connect again.

use leadshare_connectors::sdk::manifest::Auth;
use secrecy::{ExposeSecret, SecretString};

use super::Transport;
use super::egress;
use super::line::Line;
use super::spool::Given;
use super::token_endpoint::{self, App, Grant, TokenError, Tokens};
use crate::clock::{Clock, MINUTE, Millis, SECOND};
use crate::errors::{Error, Result};
use crate::points;
use crate::store::tokens::{self, End, Stored};
use crate::store::{Tx, connections};
use crate::vault::Aad;

/// Access tokens are refreshed this long before they end, short-lived ones when a fifth of their life is left.
const MARGIN: Millis = 2 * MINUTE;
/// How long an intent keeps everybody else from refreshing: longer than a request can take.
const HOLD: Millis = MINUTE;
/// The time within which a request must begin after its intent: whoever was stopped for longer starts over.
const SEND_WITHIN: Millis = 5 * SECOND;
/// How long somebody waits for another replica's refresh, and how often it looks.
const PATIENCE: Millis = 10 * SECOND;
const LOOK: Millis = 100;
/// Pause after a failed refresh: doubled with each, up to the longest.
const COOLDOWN: Millis = 30 * SECOND;
const LONGEST_COOLDOWN: Millis = 15 * MINUTE;
/// After so many failures in a row, for whatever reason, a person is told.
const TELL_AFTER: i64 = 6;

const RECONNECT: &str = "connection.reconnect_needed";
const APP_REFUSED: &str = "connection.app_refused";
const NO_TOKEN: &str = "connection.no_token";
const BAD_HOST: &str = "connection.bad_host";

/// What a process has at hand.
#[derive(Default)]
pub(super) struct Held {
    token: Option<Token>,
    /// Given, and not yet in the database.
    unsaved: Option<Given>,
}

struct Token {
    access: SecretString,
    refresh_at: Option<Millis>,
    version: i64,
}

impl Token {
    /// The `Authorization` header and the token's version.
    fn bearer(&self) -> (String, i64) {
        (format!("Bearer {}", self.access.expose_secret()), self.version)
    }
}

/// What tokens come after.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum After {
    /// A partner has just connected.
    Connecting,
    /// The connection was given up, and is mended.
    GivingUp,
    /// They were refreshed in time.
    Refreshing,
}

/// What to do about a token.
#[derive(Debug, PartialEq, Eq)]
enum Next {
    /// It is good.
    Use,
    /// Somebody is refreshing it.
    Wait,
    /// A refresh failed a moment ago.
    Rest,
    /// It is ours to refresh, if nobody is faster.
    Refresh,
}

fn next(stored: &Stored, refused: Option<i64>, now: Millis) -> Next {
    let before = |at: Option<Millis>| at.is_none_or(|at| now < at);
    let accepted = refused != Some(stored.version);
    if accepted && before(stored.refresh_at) {
        return Next::Use;
    }
    let under_way = stored.owner.is_some() && stored.until.is_some_and(|until| now < until);
    let resting = stored.cooldown_until.is_some_and(|until| now < until);
    // Near its end it serves on where refreshing must wait; and to its very end where the refresh token may be dead.
    if accepted && before(stored.expires_at) && (under_way || resting || stored.intent_at.is_some()) {
        return Next::Use;
    }
    match (under_way, resting) {
        (true, _) => Next::Wait,
        (_, true) => Next::Rest,
        _ => Next::Refresh,
    }
}

fn cooldown(failures: i64) -> Millis {
    LONGEST_COOLDOWN.min(COOLDOWN << failures.clamp(0, 10))
}

impl Line {
    /// The `Authorization` header and the version of its token. `refused` is the version that the vendor
    /// refused: unless somebody has refreshed it since, it is refreshed whatever its age.
    ///
    /// # Errors
    /// [`Error::NeedsPerson`] when the partner must connect again; [`Error::Passing`] when waiting helps.
    pub async fn authorization(&self, transport: &Transport, clock: &Clock, refused: Option<i64>) -> Result<(String, i64)> {
        if let Auth::Key { scheme, .. } = &self.manifest().auth {
            let key = self.setup.key.as_ref().ok_or_else(|| Error::NeedsPerson {
                code: "connection.no_key".into(),
                message: format!("set connections.{}.key (or key_file)", self.name()),
            })?;
            return Ok((format!("{scheme} {}", key.expose_secret()), 0));
        }
        // An operator may hand over a static token (a private app's) instead of connecting.
        if let Some(key) = &self.setup.key {
            return Ok((format!("Bearer {}", key.expose_secret()), 0));
        }
        let mut held = self.held.lock().await;
        let fresh = |t: &&Token| refused != Some(t.version) && t.refresh_at.is_none_or(|at| clock.now() < at);
        let patience = clock.now() + PATIENCE;
        loop {
            if let Some(token) = held.token.as_ref().filter(fresh) {
                return Ok(token.bearer());
            }
            // Another replica may have refreshed it meanwhile; or we, before a crash.
            let stored = tokens::one(&self.db, self.name()).await?.ok_or_else(|| self.reconnect("not_connected"))?;
            if stored.intent_at.is_some() && self.take_over(clock, &mut held, &stored).await? {
                continue;
            }
            match next(&stored, refused, clock.now()) {
                Next::Use => {
                    let access = self.open("access", &stored.access, stored.version)?;
                    return Ok(held.token.insert(Token { access, refresh_at: stored.refresh_at, version: stored.version }).bearer());
                }
                Next::Wait if clock.now() < patience => clock.sleep(LOOK).await,
                Next::Wait => return Err(passing("refresh_under_way")),
                Next::Rest => return Err(passing("refresh_cooling_down")),
                Next::Refresh => self.refresh(transport, clock, &mut held, &stored).await?,
            }
        }
    }

    /// Takes over tokens that arrived before a crash and never reached the database. To be called once, at start.
    ///
    /// # Errors
    /// The store's.
    pub async fn recover(&self, clock: &Clock) -> Result<()> {
        let Some(stored) = tokens::one(&self.db, self.name()).await? else { return Ok(()) };
        self.take_over(clock, &mut *self.held.lock().await, &stored).await.map(|_| ())
    }

    /// A partner came back from the vendor with a code: exchange it and keep what comes.
    ///
    /// # Errors
    /// [`Error::NeedsPerson`] when the vendor refuses the code, or it is for another account than the
    /// one connected before; [`Error::Passing`] when trying again helps.
    pub async fn connect(&self, transport: &Transport, clock: &Clock, code: &str, verifier: Option<&str>) -> Result<()> {
        let given = token_endpoint::exchange(transport, self.egress(), self.registered()?, Grant::Code(code, verifier)).await;
        let mut given = given.map_err(|error| match error {
            TokenError::Refused(code) => {
                Error::NeedsPerson { code, message: "the vendor did not accept the authorization: start again from the link".into() }
            }
            TokenError::App(code) => self.app_refused(&code),
            TokenError::NotNow(code) | TokenError::Unknown(code) => {
                Error::Passing { code, message: "the vendor gave no access this time: start again from the link".into() }
            }
        })?;
        // Markers, cursors and remote ids belong to one account: connecting again must not slip in another.
        let (known, account) = (self.account().external_id, self.connector().account_facts(&given.extra).external_id);
        if known.is_some() && account.is_some() && known != account {
            return Err(Error::NeedsPerson {
                code: "connection.other_account".into(),
                message: format!(
                    "{} was connected to another account than the one that was chosen now; nothing was changed: start again and choose the first one",
                    self.name()
                ),
            });
        }
        let mut held = self.held.lock().await;
        let before = tokens::one(&self.db, self.name()).await?;
        // Some vendors give a refresh token with the first consent only. An older one is kept where it is surely the same account's.
        if let (None, Some(before)) = (&given.refresh, before.as_ref().filter(|_| known.is_some() && known == account)) {
            given.refresh = before.refresh.as_ref().and_then(|sealed| self.open("refresh", sealed, before.version).ok());
        }
        // Newer than anything that a spool holds, also one that was filled under another database.
        let version = before.map_or(0, |b| b.version + 1).max(clock.now());
        let (given, strange) = self.received(clock, given, version);
        if let Some(error) = strange {
            return Err(error);
        }
        self.spool(clock, &given);
        self.save(clock, &mut held, &given, After::Connecting).await
    }

    /// Refreshes what is stored, unless somebody is faster. Afterwards the stored tokens say what to do.
    async fn refresh(&self, transport: &Transport, clock: &Clock, held: &mut Held, stored: &Stored) -> Result<()> {
        if let Some(why) = &stored.given_up {
            return Err(self.reconnect(why));
        }
        let app = self.registered()?;
        let refresh = stored.refresh.as_ref().map(|sealed| self.open("refresh", sealed, stored.version)).transpose()?;
        let (owner, begun) = (clock.id(), clock.now());
        // Given only for the tokens that were read: whoever has it knows the newest.
        if !tokens::claim(&self.db, self.name(), stored, &owner, begun, begun + HOLD).await? {
            return Ok(());
        }
        points::at("token.intended").await;
        let ended = |intent_at, failures| End { intent_at, cooldown_until: None, failures };
        let Some(refresh) = refresh else { return self.give_up(clock, &owner, stored, "no_refresh_token").await };
        if clock.now() - begun > SEND_WITHIN {
            let mut tx = self.db.begin().await?;
            tokens::end(&mut tx, self.name(), &owner, ended(stored.intent_at, stored.failures)).await?;
            return tx.commit().await;
        }
        let answer = token_endpoint::exchange(transport, self.egress(), app, Grant::Refresh(&refresh)).await;
        points::at("token.answered").await;
        let (result, error) = match answer {
            Ok(mut tokens) => {
                // A vendor that gives no new one lets us use the old.
                tokens.refresh.get_or_insert(refresh);
                let (given, strange) = self.received(clock, tokens, stored.version + 1);
                self.spool(clock, &given);
                points::at("token.spooled").await;
                held.unsaved = Some(given.clone());
                self.save(clock, held, &given, After::Refreshing).await?;
                points::at("token.saved").await;
                crate::metrics::token_refresh(self.connector_name(), "ok");
                return match strange {
                    Some(error) => self.raise(clock, BAD_HOST, &error.to_string()).await,
                    None => Ok(()),
                };
            }
            Err(TokenError::Refused(code)) => {
                crate::metrics::token_refresh(self.connector_name(), "refused");
                let why = if stored.intent_at.is_some() { "refresh_lost" } else { &code };
                return self.give_up(clock, &owner, stored, why).await;
            }
            Err(error @ TokenError::App(_)) => ("app", error),
            Err(error) => ("passing", error),
        };
        crate::metrics::token_refresh(self.connector_name(), result);
        tracing::warn!(connection = self.name(), failures = stored.failures + 1, %error, "a token could not be refreshed");
        let in_doubt = matches!(error, TokenError::Unknown(_)).then_some(begun);
        let cooldown_until = Some(clock.now() + cooldown(stored.failures));
        let end = End { cooldown_until, ..ended(stored.intent_at.or(in_doubt), stored.failures + 1) };
        let mut tx = self.db.begin().await?;
        let ours = tokens::end(&mut tx, self.name(), &owner, end).await?;
        let told = match &error {
            TokenError::App(code) => Some((APP_REFUSED, self.app_refused(code))),
            _ if end.failures >= TELL_AFTER => Some((NO_TOKEN, self.no_token(end.failures))),
            _ => None,
        };
        if let Some((code, error)) = told.as_ref().filter(|_| ours) {
            connections::raise_alert(&mut tx, &clock.id(), self.name(), code, &error.to_string(), clock.now()).await?;
        }
        tx.commit().await
    }

    /// The vendor will not refresh this any more: the partner must connect again. Nothing changes when somebody else has gone on.
    async fn give_up(&self, clock: &Clock, owner: &str, stored: &Stored, why: &str) -> Result<()> {
        let error = self.reconnect(why);
        let end = End { intent_at: None, cooldown_until: None, failures: stored.failures + 1 };
        let mut tx = self.db.begin().await?;
        if tokens::end(&mut tx, self.name(), owner, end).await? {
            connections::set_state(&mut tx, self.name(), "reconnect_needed", Some(why), clock.now()).await?;
            connections::raise_alert(&mut tx, &clock.id(), self.name(), RECONNECT, &error.to_string(), clock.now()).await?;
            tracing::error!(connection = self.name(), code = why, "the partner must connect again");
        }
        tx.commit().await
    }

    /// Saves tokens that are newer than the database's: given and not yet saved, or found in the spool. Answers whether there were any.
    async fn take_over(&self, clock: &Clock, held: &mut Held, stored: &Stored) -> Result<bool> {
        let left = held.unsaved.take().or_else(|| self.spool.read(&self.vault.keys)).filter(|given| given.version > stored.version);
        let Some(given) = left else { return Ok(false) };
        let known = self.account().external_id;
        if known.is_some() && given.external_id.is_some() && known != given.external_id {
            tracing::error!(connection = self.name(), "the token spool holds another account's tokens; they are not used");
            return Ok(false);
        }
        held.unsaved = Some(given.clone());
        let after = if stored.given_up.is_some() { After::GivingUp } else { After::Refreshing };
        self.save(clock, held, &given, after).await?;
        tracing::warn!(connection = self.name(), "tokens that arrived before a crash were taken over");
        crate::metrics::token_refresh(self.connector_name(), "recovered");
        Ok(true)
    }

    /// What a vendor gave, as it is kept. An address that is not the vendor's own is left out, and comes back as an error.
    fn received(&self, clock: &Clock, tokens: Tokens, version: i64) -> (Given, Option<Error>) {
        let learnt = self.connector().account_facts(&tokens.extra);
        let checked = learnt.base_url.map(|base| match url::Url::parse(&base) {
            Ok(url) => egress::check(self.egress(), &url, self.setup.base_url.as_deref(), &self.manifest().host_suffixes).map(|()| base),
            Err(_) => Err(Error::NeedsPerson { code: BAD_HOST.into(), message: "the vendor named an address that is not a URL".into() }),
        });
        let (base_url, strange) = match checked.transpose() {
            Ok(base_url) => (base_url, None),
            Err(error) => (None, Some(error)),
        };
        let assumed = match &self.manifest().auth {
            Auth::Oauth2(oauth) => oauth.assumed_lifetime_ms,
            Auth::Key { .. } => None,
        };
        let life = tokens.expires_in.or(assumed);
        let given = Given {
            access: tokens.access,
            refresh: tokens.refresh,
            expires_at: life.map(|life| clock.now() + life),
            refresh_at: life.map(|life| clock.now() + life - MARGIN.min(life / 5)),
            version,
            base_url,
            external_id: learnt.external_id,
            scopes: tokens.scopes,
        };
        (given, strange)
    }

    /// Puts tokens into the spool. Where the disk does not take them the database is all there is.
    fn spool(&self, clock: &Clock, given: &Given) {
        if let Err(error) = self.spool.keep(clock, &self.vault.keys, given) {
            tracing::error!(connection = self.name(), %error, "the token spool could not be written");
        }
    }

    /// Saves tokens in the database, and then lets them be used. Where newer ones are there, those stay.
    async fn save(&self, clock: &Clock, held: &mut Held, given: &Given, after: After) -> Result<()> {
        let now = clock.now();
        let seal = |column: &str, secret: &SecretString| {
            self.vault.keys.seal(clock, self.place(column, given.version), secret.expose_secret().as_bytes())
        };
        let access = seal("access", &given.access)?;
        let refresh = given.refresh.as_ref().map(|t| seal("refresh", t)).transpose()?;
        let Given { expires_at, refresh_at, version, .. } = *given;
        let tokens = tokens::Saved { access, refresh, expires_at, refresh_at, version };
        let mut tries = self.db.tries();
        let saved = loop {
            let mut tx = tries.begin().await?;
            let done = self.saved(&mut tx, tokens.clone(), given, after, now).await;
            if let Some(saved) = tries.end(tx, done).await? {
                break saved;
            }
        };
        held.unsaved = None;
        if saved {
            held.token = Some(Token { access: given.access.clone(), refresh_at, version });
            // Only then does the store know anything of the account that it did not before.
            if after == After::Connecting || given.base_url.is_some() {
                connections::one(&self.db, self.name()).await?.iter().for_each(|connection| self.learn(connection));
            }
        }
        Ok(())
    }

    /// The transaction of [`Line::save`].
    async fn saved(&self, tx: &mut Tx, tokens: tokens::Saved, given: &Given, after: After, now: Millis) -> Result<bool> {
        let saved = tokens::save(tx, self.name(), tokens).await?;
        if saved {
            self.note(tx, given, after, now).await?;
        }
        Ok(saved)
    }

    /// What good tokens say of their connection.
    async fn note(&self, tx: &mut Tx, given: &Given, after: After, now: Millis) -> Result<()> {
        let name = self.name();
        if after == After::Connecting {
            let (base, account) = (given.base_url.clone(), given.external_id.clone());
            connections::connected(tx, name, base, account, &given.scopes, now, now).await?;
            return connections::end_alerts(tx, name, now).await;
        }
        if let Some(base) = &given.base_url {
            connections::set_base_url(tx, name, base).await?;
        }
        // Also where it was given up while this refresh was under way: nobody else would say that it works.
        connections::mended(tx, name, now).await?;
        if after == After::GivingUp {
            connections::resume(tx, name, now).await?;
        }
        for code in [RECONNECT, APP_REFUSED, NO_TOKEN] {
            connections::end_alert(tx, name, code, now).await?;
        }
        Ok(())
    }

    async fn raise(&self, clock: &Clock, code: &str, message: &str) -> Result<()> {
        let mut tx = self.db.begin().await?;
        connections::raise_alert(&mut tx, &clock.id(), self.name(), code, message, clock.now()).await?;
        tx.commit().await
    }

    fn place<'a>(&'a self, column: &'a str, version: i64) -> Aad<'a> {
        Aad::new("tokens", self.name(), column).version(version as u64)
    }

    fn open(&self, column: &str, sealed: &str, version: i64) -> Result<SecretString> {
        let plain = self.vault.keys.open(self.place(column, version), sealed)?;
        String::from_utf8(plain.to_vec()).map(SecretString::from).map_err(|_| Error::Unreadable { what: "a token".into() })
    }

    fn registered(&self) -> Result<&App> {
        self.app().ok_or_else(|| Error::NeedsPerson {
            code: "connection.no_app".into(),
            message: format!("set connections.{0}.client_id and client_secret", self.name()),
        })
    }

    fn reconnect(&self, why: &str) -> Error {
        let cause = match why {
            "not_connected" => "it has never been connected",
            "no_refresh_token" => "its access has ended, and the vendor gave nothing to renew it with",
            "refresh_lost" => {
                "the vendor's answer to a renewal was lost (a crash, or the network), and it does not take the old token any more"
            }
            _ => "the vendor no longer takes its token",
        };
        Error::NeedsPerson {
            code: RECONNECT.into(),
            message: format!(
                "{0} must be connected again ({cause}): run `leadshare connect {0}` and send the link to the partner; nothing is lost meanwhile",
                self.name()
            ),
        }
    }

    fn app_refused(&self, code: &str) -> Error {
        Error::NeedsPerson {
            code: APP_REFUSED.into(),
            message: format!(
                "the vendor refuses our app ({code}): look at connections.{0}.client_id and client_secret, and at the app in the vendor's pages; \
                 the partner need not do anything, and it is tried again by itself",
                self.name()
            ),
        }
    }

    fn no_token(&self, failures: i64) -> Error {
        Error::Passing {
            code: NO_TOKEN.into(),
            message: format!(
                "the vendor has given {} no token in {failures} tries: look at its status page; it is tried again by itself",
                self.name()
            ),
        }
    }
}

fn passing(code: &str) -> Error {
    Error::Passing { code: code.to_owned(), message: "no token for now; tried again by itself".into() }
}
