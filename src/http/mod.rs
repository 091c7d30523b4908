//! The one HTTP stack, outermost first:
//!
//! 1. retry: reads and keyed writes again, after passing trouble ([`send`])
//! 2. limit: the connection's budgets ([`limit`]); whether it is this replica's ([`fence`]), and well ([`circuit`])
//! 3. metrics and log: counted by connector and class of answer, never by address
//! 4. auth: the token, refreshed once when the vendor says it expired
//! 5. cap: answers larger than 32 MiB are cut off as trouble
//! 6. transport: no redirects, no proxy from the environment, no private addresses ([`egress`])

pub mod circuit;
pub mod egress;
pub mod fence;
pub mod limit;
pub mod line;
pub mod lines;
mod spool;
pub mod talk;
pub mod token_endpoint;
mod tokens;
pub mod window;

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use backon::{BackoffBuilder, ExponentialBuilder};
use futures_util::future::BoxFuture;
use leadshare_connectors::sdk::manifest::Auth;
use leadshare_connectors::sdk::{Action, Ask, Effect, Heard, Method, Request, Response, Why};

use crate::clock::{Clock, Millis};
use crate::errors::{Error, Result};
use crate::points;
use egress::Egress;
use limit::{Ahead, SHORT};
use line::Line;

/// Largest answer that is read.
const MAX_BODY: usize = 32 << 20;
/// Longest wait for an answer; writes also stop at their deadline.
pub const TIMEOUT: Millis = 30_000;

/// Sends requests: over the network, with one client per set of opened networks, made when first needed; or by a
/// [`Carrier`] that stands in for the network.
#[derive(Default)]
pub struct Transport {
    clients: Mutex<HashMap<Egress, reqwest::Client>>,
    carrier: Option<Arc<dyn Carrier>>,
}

/// Stands in for the network and for whoever answers there: the simulation's.
pub trait Carrier: Send + Sync {
    /// Carries one request, once, with this access token.
    ///
    /// # Errors
    /// When no whole answer came.
    fn carry<'a>(&'a self, url: &'a url::Url, request: &'a Request, bearer: Option<&'a str>) -> BoxFuture<'a, Result<Response, NoAnswer>>;
}

/// Why no answer came.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NoAnswer {
    /// It provably never reached the other side.
    NotSent,
    /// It may have.
    Unknown,
}

impl Transport {
    /// Sends nothing over the network.
    pub fn carried(by: Arc<dyn Carrier>) -> Self {
        Self { carrier: Some(by), ..Self::default() }
    }

    /// Whether nothing is sent over the network: then one thing happens after the other.
    pub fn is_carried(&self) -> bool {
        self.carrier.is_some()
    }

    /// Makes calls together. A carrier gets one at a time: which of two came first must not hang on a race.
    pub async fn together<F: Future>(&self, calls: impl Iterator<Item = F>) -> Vec<F::Output> {
        if !self.is_carried() {
            return futures_util::future::join_all(calls).await;
        }
        let mut ended = Vec::new();
        for call in calls {
            ended.push(call.await);
        }
        ended
    }

    fn client(&self, egress: &Egress) -> Result<reqwest::Client> {
        let mut clients = self.clients.lock().map_err(|_| Error::System("the HTTP clients are locked up: restart".into()))?;
        if let Some(client) = clients.get(egress) {
            return Ok(client.clone());
        }
        // Another part of the process may have installed the same provider already.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let client = reqwest::Client::builder()
            .redirect(reqwest::redirect::Policy::none())
            .no_proxy()
            .dns_resolver(std::sync::Arc::new(egress.clone()))
            .connect_timeout(Duration::from_secs(10))
            .pool_idle_timeout(Duration::from_mins(1))
            .user_agent(concat!("leadshare/", env!("CARGO_PKG_VERSION")))
            .build()
            .map_err(|e| Error::System(format!("the HTTP client cannot be made: {e}")))?;
        clients.insert(egress.clone(), client.clone());
        Ok(client)
    }

    /// Sends one request, once. The URL must have been checked with [`egress::check`].
    ///
    /// # Errors
    /// When no whole answer came.
    pub async fn send(
        &self,
        egress: &Egress,
        url: &url::Url,
        request: &Request,
        bearer: Option<&str>,
        timeout: Millis,
    ) -> Result<Response, NoAnswer> {
        if let Some(carrier) = &self.carrier {
            return carrier.carry(url, request, bearer).await;
        }
        let client = self.client(egress).map_err(|_| NoAnswer::NotSent)?;
        let method = match request.method {
            Method::Get => reqwest::Method::GET,
            Method::Post => reqwest::Method::POST,
            Method::Put => reqwest::Method::PUT,
            Method::Patch => reqwest::Method::PATCH,
            Method::Delete => reqwest::Method::DELETE,
        };
        let mut builder =
            client.request(method, url.clone()).timeout(Duration::from_millis(timeout.max(1) as u64)).body(request.body.clone());
        for (name, value) in &request.headers {
            builder = builder.header(name, value);
        }
        if let Some(bearer) = bearer {
            builder = builder.header("authorization", bearer);
        }
        #[expect(clippy::disallowed_methods, reason = "this is the one HTTP stack")]
        let mut answer =
            builder.send().await.map_err(|e| if e.is_connect() || e.is_builder() { NoAnswer::NotSent } else { NoAnswer::Unknown })?;
        let status = answer.status().as_u16();
        let headers =
            answer.headers().iter().map(|(n, v)| (n.as_str().to_owned(), String::from_utf8_lossy(v.as_bytes()).into_owned())).collect();
        let mut body = Vec::new();
        while let Some(chunk) = answer.chunk().await.map_err(|_| NoAnswer::Unknown)? {
            if body.len() + chunk.len() > MAX_BODY {
                return Err(NoAnswer::Unknown);
            }
            body.extend_from_slice(&chunk);
        }
        Ok(Response { status, headers, body })
    }
}

/// What became of an ask, for the talk and for whoever drives it.
#[derive(Debug)]
pub enum Sent {
    /// The talk hears the answer.
    Answer(Response),
    /// The talk hears that nothing was sent.
    NotSent(Why),
    /// The talk hears that nobody knows.
    Unknown,
    /// Not processed: the connection, or one budget, waits until then. No attempt is burnt.
    Wait(Millis),
    /// The connection needs a person.
    NeedsPerson {
        /// The vendor's code, or ours.
        code: String,
        /// What to do.
        message: String,
    },
}

impl Sent {
    /// What the talk hears, when it is to hear anything.
    pub fn heard(&self) -> Option<Heard<'_>> {
        match self {
            Self::Answer(response) => Some(Heard::Answer(response)),
            Self::NotSent(why) => Some(Heard::NotSent(*why)),
            Self::Unknown => Some(Heard::Unknown),
            Self::Wait(_) | Self::NeedsPerson { .. } => None,
        }
    }
}

/// On what terms requests are sent.
#[derive(Clone, Copy)]
pub struct Terms<'a> {
    /// The time after which a write may no longer start.
    pub deadline: Option<Millis>,
    /// Whether it protects people (a withdrawal, an erasure, a recall): such work has a part of the budget to itself.
    pub protect: bool,
    /// Whether budgets are left to it that are [kept](limit::Limits::ahead_of_others) for deliveries.
    pub first: bool,
    /// Whether it is part of a connection's turn: sent only while the connection is this replica's.
    pub owned: bool,
    /// How long it waits for a budget's next unit, inside the call.
    pub patience: Millis,
    /// What was taken ahead for it from the connection's budgets.
    pub ahead: Option<&'a Ahead<'a>>,
}

impl Terms<'_> {
    /// Of a turn's reads.
    pub const TURN: Self = Self { deadline: None, protect: false, first: false, owned: true, patience: SHORT, ahead: None };
    /// Of commands and pages that only look, for somebody who waits.
    pub const VISIT: Self = Self { owned: false, ..Self::TURN };
}

/// What to do where the vendor refuses all that this account asks for.
fn refused(auth: &Auth) -> String {
    match auth {
        Auth::Key { how, .. } => format!(
            "the vendor refuses the key in the configuration (cancelled, mistyped, or of a user who is deactivated): put a valid one there and restart. {how}"
        ),
        Auth::Oauth2(_) => "the vendor says that this account or app lacks a right: look at the app's scopes and at what the user who connected may do; `leadshare check --connections` names what it finds missing".into(),
    }
}

/// Sends an ask through the stack. Also answers whether nobody knows what became of some try of it: that one may still be
/// carried out, whatever was heard of the last.
pub async fn send(transport: &Transport, line: &Line, clock: &Clock, ask: &Ask, terms: Terms<'_>) -> (Sent, bool) {
    let mut maybe_sent = false;
    let sent = Box::pin(send_on(transport, line, clock, ask, terms, &mut maybe_sent)).await;
    (sent, maybe_sent)
}

/// Once a write may have been heard (`maybe_sent`), nothing later can say that it was not sent.
async fn send_on(transport: &Transport, line: &Line, clock: &Clock, ask: &Ask, terms: Terms<'_>, maybe_sent: &mut bool) -> Sent {
    let url = match line.resolve(&ask.request.url) {
        Ok(url) => url,
        Err(Error::NeedsPerson { code, message }) => return Sent::NeedsPerson { code, message },
        Err(error) => return Sent::NeedsPerson { code: "egress.bad_url".into(), message: error.to_string() },
    };
    let connector = line.connector_name();
    let mut delays = ExponentialBuilder::default().with_min_delay(Duration::from_millis(200)).with_factor(4.0).with_max_times(3).build();
    let mut refreshed = None;
    let unless_sent = |sent: Sent, maybe_sent: bool| if maybe_sent { Sent::Unknown } else { sent };
    let ours = || !terms.owned || line.fence().holds(clock);
    loop {
        let permit = match terms.ahead.and_then(|ahead| ahead.part(&ask.cost)) {
            Some(permit) => Ok(permit),
            None => line.limits().spend(&ask.cost, terms).await,
        };
        let permit = match permit {
            Ok(permit) => permit,
            Err(until) => {
                crate::metrics::vendor_wait(connector);
                return unless_sent(Sent::Wait(until), *maybe_sent);
            }
        };
        points::at("request.permitted").await;
        // A refresh is the owner's as well; and while it lasted, the connection may have been taken over.
        let bearer = if ours() { Some(line.authorization(transport, clock, refreshed).await) } else { None };
        points::at("request.authorized").await;
        let started = clock.now();
        let late = ask.effect != Effect::Read && terms.deadline.is_some_and(|deadline| deadline <= started);
        let (bearer, version) = match bearer.filter(|_| ours()) {
            Some(Ok(bearer)) if !late => bearer,
            stopped => {
                permit.unused();
                let sent = match stopped {
                    None => Sent::Wait(started),
                    Some(Ok(_)) => Sent::NotSent(Why::DeadlinePassed),
                    Some(Err(Error::NeedsPerson { code, message })) => Sent::NeedsPerson { code, message },
                    Some(Err(_)) => Sent::Wait(started + 30_000),
                };
                return unless_sent(sent, *maybe_sent);
            }
        };
        let result = transport.send(line.egress(), &url, &ask.request, Some(&bearer), TIMEOUT).await;
        points::at("request.answered").await;
        let class = match &result {
            Ok(response) => match response.status {
                200..=299 => "ok",
                429 => "throttled",
                400..=499 => "refused",
                _ => "failed",
            },
            Err(_) => "no_answer",
        };
        crate::metrics::vendor_request(connector, class);
        tracing::debug!(connector, connection = line.name(), class, took_ms = clock.now() - started, "asked the vendor");
        circuit::heard(line, result.as_ref().is_ok_and(|response| response.status < 500), clock).await;
        let sent = match result {
            Ok(response) => {
                line.heard_headers(&response, clock.now());
                drop(permit);
                let verdict = line.manifest().classify(&response);
                match verdict.action {
                    Action::Hear => return Sent::Answer(response),
                    Action::RefreshThenRetry if refreshed.is_none() => {
                        refreshed = Some(version);
                        continue;
                    }
                    Action::RefreshThenRetry => {
                        return Sent::NeedsPerson {
                            code: "token_refused".into(),
                            message: "the vendor refuses a token that it has just given: connect again".into(),
                        };
                    }
                    Action::Wait => {
                        let until = clock.now() + verdict.wait_ms;
                        line.limits().block(verdict.budget.as_deref(), until).await;
                        return Sent::Wait(until);
                    }
                    Action::Config => {
                        return Sent::NeedsPerson { code: format!("vendor_{}", response.status), message: refused(&line.manifest().auth) };
                    }
                    Action::Retry if ask.effect == Effect::Read => Sent::Wait(clock.now() + 30_000),
                    Action::Retry => Sent::Unknown,
                }
            }
            Err(NoAnswer::NotSent) => unless_sent(Sent::NotSent(Why::Unreachable), *maybe_sent),
            Err(NoAnswer::Unknown) if ask.effect == Effect::Read => Sent::Wait(clock.now() + 30_000),
            Err(NoAnswer::Unknown) => Sent::Unknown,
        };
        *maybe_sent |= matches!(sent, Sent::Unknown);
        let again = match (&sent, &ask.effect) {
            (Sent::NotSent(_), _) | (_, Effect::Read | Effect::Keyed(_)) => delays.next(),
            _ => None,
        };
        match again {
            Some(delay) => clock.sleep(delay.as_millis() as i64).await,
            None => return sent,
        }
    }
}
