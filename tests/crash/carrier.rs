//! Carries the simulated vendors' webhooks to whichever daemons are up, and notes which hints were acknowledged.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use leadshare::clock::Clock;
use leadshare::demo::stage::{ACTORS, Actor, Stage};
use leadshare::http::egress::Egress;
use leadshare::http::{NoAnswer, Transport};
use leadshare_connectors::sdk::{Method, OutgoingWebhook, Request, Response};
use serde_json::Value;

/// How often due webhooks are looked for, milliseconds.
const EVERY: i64 = 40;
/// How long a vendor waits for an answer.
const TIMEOUT: i64 = 5_000;
/// In place of a status: the connection was refused.
pub const REFUSED: u16 = 1;

/// What is shared with the task that carries.
pub struct Carrier {
    pub stage: Stage,
    clock: Clock,
    transport: Transport,
    egress: Egress,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// Where daemons listen that are up.
    up: Vec<SocketAddr>,
    /// Connections whose webhooks are lost on their way.
    lost: Vec<&'static str>,
    /// How many hints of a record were answered by 2xx, by connection and record.
    acknowledged: BTreeMap<(&'static str, String), i64>,
    /// How many webhooks were answered so, by status; 0 for no answer, [`REFUSED`] when nobody listened.
    answers: BTreeMap<u16, u64>,
    turn: usize,
}

impl Carrier {
    /// Starts to carry; ends when the last other holder is gone.
    pub fn start(stage: Stage, clock: &Clock) -> Arc<Self> {
        let egress = Egress::allowing("127.0.0.0/8".parse().into_iter().collect());
        let carrier = Arc::new(Self { stage, clock: clock.clone(), transport: Transport::default(), egress, state: Mutex::default() });
        let weak = Arc::downgrade(&carrier);
        tokio::spawn(async move {
            while let Some(carrier) = weak.upgrade() {
                carrier.carry().await;
                let clock = carrier.clock.clone();
                drop(carrier);
                clock.sleep(EVERY).await;
            }
        });
        carrier
    }

    /// A daemon is up, or no longer is.
    pub fn set_up(&self, address: SocketAddr, up: bool) {
        let mut state = self.state.lock().unwrap();
        state.up.retain(|other| *other != address);
        if up {
            state.up.push(address);
        }
    }

    /// From now on this connection's webhooks are lost, so that only polls find what changed.
    pub fn lose(&self, name: &'static str) {
        self.state.lock().unwrap().lost.push(name);
    }

    /// How many hints of each record were acknowledged.
    pub fn acknowledged(&self) -> BTreeMap<(&'static str, String), i64> {
        self.state.lock().unwrap().acknowledged.clone()
    }

    /// How webhooks were answered: status (0 for no answer, [`REFUSED`]) and how many.
    pub fn answers(&self) -> BTreeMap<u16, u64> {
        self.state.lock().unwrap().answers.clone()
    }

    /// The webhooks that a system would send now.
    pub fn due(&self, name: &str) -> Vec<(usize, OutgoingWebhook)> {
        let i = ACTORS.iter().position(|actor| actor.name == name).unwrap();
        let due = self.stage.systems[i].sandbox().webhooks_due(self.clock.now());
        due.into_iter().map(|hook| (i, hook)).collect()
    }

    /// Carries webhooks all at the same moment.
    pub async fn carry_at_once(&self, hooks: Vec<(usize, OutgoingWebhook)>, to: SocketAddr) {
        futures_util::future::join_all(hooks.into_iter().map(|(i, hook)| self.trip(i, &ACTORS[i], hook, to))).await;
    }

    async fn carry(&self) {
        let now = self.clock.now();
        let (up, lost, turn) = {
            let mut state = self.state.lock().unwrap();
            state.turn += 1;
            (state.up.clone(), state.lost.clone(), state.turn)
        };
        // A vendor would try, fail, and come again minutes later: so long nobody waits here.
        let Some(to) = up.get(turn % up.len().max(1)) else { return };
        let mut trips = Vec::new();
        for (i, (actor, served)) in ACTORS.iter().zip(&self.stage.systems).enumerate() {
            let due = served.sandbox().webhooks_due(now);
            if lost.contains(&actor.name) {
                for hook in due {
                    served.sandbox().webhook_answered(hook.delivery, Some(&taken(actor)), now);
                }
                continue;
            }
            trips.extend(due.into_iter().map(|hook| self.trip(i, actor, hook, *to)));
        }
        futures_util::future::join_all(trips).await;
    }

    async fn trip(&self, i: usize, actor: &'static Actor, hook: OutgoingWebhook, to: SocketAddr) {
        let mut url = url::Url::parse(&hook.url).unwrap();
        url.set_port(Some(to.port())).unwrap();
        let request = Request { method: Method::Post, url: url.to_string(), headers: hook.headers, body: hook.body };
        let answer = self.transport.send(&self.egress, &url, &request, None, TIMEOUT).await;
        let status = match &answer {
            Ok(answer) => answer.status,
            Err(NoAnswer::NotSent) => REFUSED,
            Err(NoAnswer::Unknown) => 0,
        };
        let answer = answer.ok();
        {
            let mut state = self.state.lock().unwrap();
            *state.answers.entry(status).or_default() += 1;
            if (200..300).contains(&status) {
                for id in records(actor, &request.body) {
                    *state.acknowledged.entry((actor.name, id)).or_default() += 1;
                }
            }
        }
        self.stage.systems[i].sandbox().webhook_answered(hook.delivery, answer.as_ref(), self.clock.now());
    }
}

/// An answer that makes the vendor believe that its webhook arrived.
fn taken(actor: &Actor) -> Response {
    let body = if actor.connector == "salesforce" { "<Ack>true</Ack>" } else { "" };
    Response { status: 200, headers: Vec::new(), body: body.into() }
}

/// The ids of the records that a webhook hints at: several events of one record in one body are one hint.
fn records(actor: &Actor, body: &[u8]) -> BTreeSet<String> {
    if actor.connector == "salesforce" {
        let text = String::from_utf8_lossy(body);
        return text.split("<sf:Id>").skip(1).filter_map(|part| Some(part.split_once("</sf:Id>")?.0.to_owned())).collect();
    }
    let events: Vec<Value> = serde_json::from_slice(body).unwrap_or_default();
    events.iter().map(|event| event["objectId"].to_string()).collect()
}
