//! Sends what talks ask for, as the daemon's HTTP stack does: budgets, authorization, what an
//! answer means, and when to send again. Checks on the way what asks must never do.

use super::bench::{Bench, Sent, Style, Trouble};
use super::laws::Law;
use super::{Verdict as Judged, fail};
use crate::sdk::manifest::{Auth, Verdict};
use crate::sdk::{Action, Ask, Effect, Millis, Response, SandboxReply, SandboxRequest, Why};

/// How long a request takes.
const LATENCY: Millis = 40;
/// Tries of a request that meets passing trouble.
const TRIES: u32 = 4;
/// Pause after a read that found nobody, as the daemon has it.
const NOBODY: Millis = 30_000;

/// What came of sending one ask.
pub(super) enum Came {
    Answer(Response),
    Unknown,
    NotSent(Why),
    Config(u16),
    /// The talk is dropped and opened again after this pause; `true` when the vendor asked for it.
    Later(Millis, bool),
}

impl Bench {
    /// Sends an ask and loses its answer, as a daemon does that dies.
    pub fn send_and_lose(&mut self, ask: &Ask) {
        if let Some(request) = self.prepare(ask) {
            self.sandbox.handle(&request, self.now);
            self.now += LATENCY;
        }
    }

    /// Sends an ask until there is something to tell the talk.
    pub(super) fn send(&mut self, ask: &Ask) -> Judged<Came> {
        let (mut tries, mut refreshed) = (0, false);
        loop {
            self.pace(ask);
            let Some(request) = self.prepare(ask) else {
                return fail(format!("asked for an address that is no address: {}", ask.request.url));
            };
            if self.trap.as_ref().is_some_and(|(at, _)| *at == self.sent.len())
                && let Some((_, trouble)) = self.trap.take()
            {
                match trouble {
                    Trouble::Vendor(fault) => self.sandbox.inject(fault),
                    Trouble::NotSent(why) => return Ok(Came::NotSent(why)),
                }
                self.sprung = true;
            }
            let made = self.sandbox.stats().created;
            let mut reply = self.sandbox.handle(&request, self.now);
            if self.style == Style::KeyedTwice && matches!(ask.effect, Effect::Keyed(_)) {
                self.now += LATENCY;
                reply = self.sandbox.handle(&request, self.now);
            }
            // After a late commit the simulator may make a record when it is next asked anything.
            if ask.effect == Effect::Read && !self.sprung && self.sandbox.stats().created != made {
                self.broke(Law::ReadsMakeNothing, format!("{} {} made a record", ask.request.method.as_str(), path_of(ask)));
            }
            self.log(ask, &reply);
            self.now += LATENCY;
            tries += 1;
            let again = self.style != Style::NoResend && !matches!(ask.effect, Effect::Once(_)) && tries < TRIES;
            if let SandboxReply::Answer(response) = &mut reply {
                response.headers.extend(date(self.now));
            }
            let verdict = match reply {
                SandboxReply::Answer(ref response) => self.manifest().classify(response),
                SandboxReply::Dropped => Verdict { action: Action::Retry, wait_ms: 0, budget: None },
            };
            match (verdict.action, reply) {
                (Action::Hear, SandboxReply::Answer(response)) => return Ok(Came::Answer(response)),
                (Action::Config, SandboxReply::Answer(response)) => return Ok(Came::Config(response.status)),
                (Action::RefreshThenRetry, SandboxReply::Answer(response)) if refreshed => return Ok(Came::Config(response.status)),
                (Action::RefreshThenRetry, _) => {
                    refreshed = true;
                    tries -= 1;
                    self.token = self.sandbox.token(self.now);
                }
                (Action::Wait, _) => return Ok(Came::Later(verdict.wait_ms.max(1), true)),
                _ if again => self.now += 500 << tries,
                _ if ask.effect == Effect::Read => return Ok(Came::Later(NOBODY, false)),
                _ => return Ok(Came::Unknown),
            }
        }
    }

    fn log(&mut self, ask: &Ask, reply: &SandboxReply) {
        let mut sent = Sent { effect: ask.effect.clone(), verdict: None, retry_after: None };
        if let SandboxReply::Answer(response) = reply {
            let verdict = self.manifest().classify(response);
            sent.verdict = Some((verdict.action, verdict.wait_ms));
            sent.retry_after = response.header("retry-after").and_then(|v| v.parse::<Millis>().ok()).map(|s| s * 1000);
        }
        self.sent.push(sent);
    }

    /// Lets the clock go on until the budgets allow the ask, as the daemon's limiter does.
    fn pace(&mut self, ask: &Ask) {
        for (name, cost) in &ask.cost {
            let Some(budget) = self.manifest().budgets.iter().find(|budget| budget.name == *name) else { continue };
            let (limit, window) = (budget.limit, budget.window_ms);
            let spent = self.spent.entry((*name).to_owned()).or_default();
            loop {
                spent.retain(|(at, _)| at + window > self.now);
                let used: u32 = spent.iter().map(|(_, units)| units).sum();
                match spent.first() {
                    Some((first, _)) if used + cost > limit => self.now = first + window,
                    _ => break,
                }
            }
            spent.push((self.now, *cost));
        }
    }

    /// The ask as it reaches the vendor, after checking what asks must never do.
    fn prepare(&self, ask: &Ask) -> Option<SandboxRequest> {
        self.inspect(ask);
        let absolute = if ask.request.url.starts_with('/') {
            format!("{}{}", self.account.base_url, ask.request.url)
        } else {
            ask.request.url.clone()
        };
        let url = url::Url::parse(&absolute).ok()?;
        let host = url.host_str()?.to_owned();
        let own = url::Url::parse(&self.account.base_url).ok().and_then(|base| base.host_str().map(str::to_owned));
        let listed = |suffix: &String| host == *suffix || host.ends_with(&format!(".{suffix}"));
        if own.as_deref() != Some(&host) && !self.manifest().host_suffixes.iter().any(listed) {
            self.broke(Law::Hosts, format!("asked the host {host}"));
        }
        if url.scheme() != "https" {
            self.broke(Law::Hosts, format!("asked {host} over {}", url.scheme()));
        }
        // Sliced from the text and not taken from the parsed URL: the simulator must see the bytes
        // that the connector wrote.
        let after_host = absolute.find("://").map(|at| at + 3).and_then(|at| absolute[at..].find('/').map(|slash| at + slash))?;
        let mut headers: Vec<(String, String)> = vec![("host".into(), host)];
        headers.extend(ask.request.headers.iter().map(|(name, value)| (name.to_ascii_lowercase(), value.clone())));
        let scheme = match &self.manifest().auth {
            Auth::Oauth2(_) => "Bearer",
            Auth::Key { scheme, .. } => scheme,
        };
        headers.push(("authorization".into(), format!("{scheme} {}", self.token)));
        Some(SandboxRequest {
            method: ask.request.method,
            path: absolute[after_host..].to_owned(),
            headers,
            body: ask.request.body.clone(),
        })
    }

    fn inspect(&self, ask: &Ask) {
        if ask.request.headers.iter().any(|(name, _)| name.eq_ignore_ascii_case("authorization")) {
            self.broke(Law::NoTokens, format!("{} sets authorization itself", path_of(ask)));
        }
        if ask.cost.is_empty() {
            self.broke(Law::Budgets, format!("{} spends from no budget", path_of(ask)));
        }
        for (name, cost) in &ask.cost {
            match self.manifest().budgets.iter().find(|budget| budget.name == *name) {
                None => self.broke(Law::Budgets, format!("{} spends from `{name}`, which the manifest does not have", path_of(ask))),
                Some(budget) if *cost == 0 || *cost > budget.limit => {
                    self.broke(Law::Budgets, format!("{} spends {cost} of `{name}`, which has {}", path_of(ask), budget.limit));
                }
                Some(_) => {}
            }
        }
    }
}

/// The `Date` header that every server sends.
fn date(now: Millis) -> Option<(String, String)> {
    let time = jiff::Timestamp::from_millisecond(now).ok()?;
    Some(("date".into(), time.strftime("%a, %d %b %Y %H:%M:%S GMT").to_string()))
}

pub(super) fn path_of(ask: &Ask) -> &str {
    ask.request.url.split('?').next().unwrap_or_default()
}
