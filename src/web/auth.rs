//! Who may see the operator's pages: a password and a session, or nobody but this machine.

use std::collections::HashMap;
use std::sync::Mutex;

use axum::http::{HeaderMap, header};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use leadshare_connectors::sdk::signature::{hmac_sha256, same, sha256};
use secrecy::{ExposeSecret, SecretString};

use crate::clock::{Clock, HOUR, MINUTE, Millis};
use crate::errors::{Error, Result};

/// How long a session lasts.
const SESSION: Millis = 12 * HOUR;
/// Wrong passwords that are looked at in a minute; more wait for the next.
const TRIES: u32 = 10;

/// How operators prove themselves.
pub enum AdminAuth {
    /// By this password.
    Password(SecretString),
    /// Not at all: for the demo, on a loopback address only.
    Open,
    /// By nothing: nobody sees the pages.
    Closed,
}

/// Live sessions, in memory by hash: a restart ends them all.
pub struct Sessions {
    form_key: [u8; 32],
    live: Mutex<HashMap<[u8; 32], Millis>>,
    wrong: Mutex<(Millis, u32)>,
}

/// What came of a password.
pub enum Login {
    /// The new session's token, for a cookie.
    Session(String),
    /// Not the password.
    Wrong,
    /// Too many wrong ones: wait a minute.
    TooMany,
}

/// An operator on a page.
#[derive(Clone)]
pub struct Operator {
    /// Goes into each form that changes or shows something, and must come back with it.
    pub form_token: String,
    /// Names the session in logs without giving it away.
    pub label: String,
}

impl Sessions {
    /// None yet.
    ///
    /// # Errors
    /// [`Error::System`] when there is no randomness.
    pub fn new(clock: &Clock) -> Result<Self> {
        Ok(Self { form_key: random(clock)?, live: Mutex::default(), wrong: Mutex::default() })
    }

    /// Tries a password.
    ///
    /// # Errors
    /// [`Error::System`] when there is no randomness.
    pub fn login(&self, clock: &Clock, password: &SecretString, given: &str) -> Result<Login> {
        let now = clock.now();
        let mut wrong = self.wrong.lock().map_err(|_| poisoned())?;
        if wrong.0 + MINUTE <= now {
            *wrong = (now, 0);
        }
        if wrong.1 >= TRIES {
            return Ok(Login::TooMany);
        }
        // Hashes have one length, so that the comparison does not tell the password's.
        if !same(&sha256(&[password.expose_secret().as_bytes()]), &sha256(&[given.as_bytes()])) {
            wrong.1 += 1;
            return Ok(Login::Wrong);
        }
        let token = URL_SAFE_NO_PAD.encode(random(clock)?);
        let mut live = self.live.lock().map_err(|_| poisoned())?;
        live.retain(|_, ends| *ends > now);
        live.insert(sha256(&[token.as_bytes()]), now + SESSION);
        Ok(Login::Session(token))
    }

    /// The operator whose session a cookie names, while it lasts.
    pub fn operator(&self, now: Millis, token: &str) -> Option<Operator> {
        let hash = sha256(&[token.as_bytes()]);
        let live = self.live.lock().ok()?;
        live.get(&hash).filter(|ends| **ends > now).map(|_| self.known_by(&hash))
    }

    /// The operator where nobody has to prove anything.
    pub fn anybody(&self) -> Operator {
        self.known_by(b"open")
    }

    /// Ends a session.
    pub fn logout(&self, token: &str) {
        if let Ok(mut live) = self.live.lock() {
            live.remove(&sha256(&[token.as_bytes()]));
        }
    }

    fn known_by(&self, session: &[u8]) -> Operator {
        let mac = |what: &[u8]| hex::encode(hmac_sha256(&self.form_key, &[what, session]));
        Operator { form_token: mac(b"form "), label: mac(b"label ").chars().take(8).collect() }
    }
}

/// The value of a cookie.
pub fn cookie<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    let all = headers.get_all(header::COOKIE).into_iter().filter_map(|v| v.to_str().ok());
    all.flat_map(|line| line.split(';')).find_map(|pair| pair.trim().strip_prefix(name)?.strip_prefix('='))
}

fn random(clock: &Clock) -> Result<[u8; 32]> {
    clock.secret().map_err(|_| Error::System("the operating system has no randomness to give".into()))
}

fn poisoned() -> Error {
    Error::System("the sessions are locked up: restart".into())
}
