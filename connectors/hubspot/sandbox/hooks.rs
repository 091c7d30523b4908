//! Webhooks: bodies of up to 100 events, both signatures, retries, duplicates.

use std::collections::BTreeMap;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde_json::{Map, Value};

use super::answer::Rng;
use super::portal::Event;
use crate::sdk::{App, Millis, OutgoingWebhook, Response, signature};

const MOST_EVENTS: usize = 100;
const TRIES: u32 = 10;
/// The receiver must answer within this.
const TIMEOUT: Millis = 5_000;
/// How long after each try the next one comes, before chance is added; 24 hours in all.
const DELAYS: [Millis; 9] = [10_000, 60_000, 300_000, 900_000, 3_600_000, 7_200_000, 14_400_000, 21_600_000, 28_800_000];
/// One body in so many is sent twice.
const DUPLICATE_ONE_IN: u64 = 16;

#[derive(Debug, Clone)]
struct Delivery {
    events: Vec<Map<String, Value>>,
    attempt: u32,
    due: Millis,
    /// When the try that is under way began.
    sent: Option<Millis>,
}

/// Everything on its way.
#[derive(Debug, Clone, Default)]
pub(super) struct Hooks {
    deliveries: BTreeMap<u64, Delivery>,
    last: u64,
}

impl Hooks {
    fn add(&mut self, events: Vec<Map<String, Value>>, due: Millis) {
        self.last += 1;
        self.deliveries.insert(self.last, Delivery { events, attempt: 0, due, sent: None });
    }

    /// Takes events up; their order within a body is not kept.
    pub fn take(&mut self, events: Vec<Event>, rng: &mut Rng) {
        let mut events: Vec<(Millis, Map<String, Value>)> = events.into_iter().map(|event| (event.at, event.body)).collect();
        for chunk in events.chunks_mut(MOST_EVENTS) {
            for i in (1..chunk.len()).rev() {
                chunk.swap(i, rng.below(i as u64 + 1) as usize);
            }
            let due = chunk.iter().map(|(at, _)| *at).max().unwrap_or_default();
            let bodies: Vec<_> = chunk.iter().map(|(_, body)| body.clone()).collect();
            if rng.below(DUPLICATE_ONE_IN) == 0 {
                self.add(bodies.clone(), due + 1_000 + rng.below(60_000) as Millis);
            }
            self.add(bodies, due);
        }
    }

    /// What is to be sent now.
    pub fn due(&mut self, app: &App, now: Millis, rng: &mut Rng) -> Vec<OutgoingWebhook> {
        let Some(url) = &app.webhook_url else {
            self.deliveries.clear();
            return Vec::new();
        };
        let silent: Vec<u64> =
            self.deliveries.iter().filter(|(_, d)| d.sent.is_some_and(|sent| sent + TIMEOUT <= now)).map(|(id, _)| *id).collect();
        for id in silent {
            self.failed(id, now, rng);
        }
        let mut out = Vec::new();
        for (id, delivery) in self.deliveries.iter_mut().filter(|(_, d)| d.sent.is_none() && d.due <= now) {
            delivery.sent = Some(now);
            let events: Vec<Value> = delivery
                .events
                .iter()
                .map(|event| {
                    let mut event = event.clone();
                    event.insert("attemptNumber".into(), delivery.attempt.into());
                    Value::Object(event)
                })
                .collect();
            let body = Value::Array(events).to_string().into_bytes();
            out.push(OutgoingWebhook { delivery: *id, url: url.clone(), headers: headers(app, url, &body, now), body });
        }
        out
    }

    /// What came back for a try.
    pub fn answered(&mut self, id: u64, answer: Option<&Response>, now: Millis, rng: &mut Rng) {
        if answer.is_some_and(Response::is_success) {
            self.deliveries.remove(&id);
        } else {
            self.failed(id, now, rng);
        }
    }

    fn failed(&mut self, id: u64, now: Millis, rng: &mut Rng) {
        let Some(delivery) = self.deliveries.get_mut(&id) else { return };
        delivery.attempt += 1;
        delivery.sent = None;
        if delivery.attempt >= TRIES {
            self.deliveries.remove(&id);
            return;
        }
        let delay = DELAYS[delivery.attempt as usize - 1];
        delivery.due = now + delay / 2 + rng.below(delay as u64 / 2) as Millis;
    }
}

fn headers(app: &App, url: &str, body: &[u8], now: Millis) -> Vec<(String, String)> {
    let secret = app.client_secret.as_bytes();
    let stamp = now.to_string();
    let uri = plain_uri(url);
    let v3 = signature::hmac_sha256(secret, &[b"POST", uri.as_bytes(), body, stamp.as_bytes()]);
    let v1 = signature::sha256(&[secret, body]);
    [
        ("content-type", "application/json".to_owned()),
        ("user-agent", "HubSpot Connect 2.0 (http://dev.hubspot.com/) (simulated)".to_owned()),
        ("x-hubspot-signature", hex::encode(v1)),
        ("x-hubspot-signature-version", "v1".to_owned()),
        ("x-hubspot-signature-v3", STANDARD.encode(v3)),
        ("x-hubspot-request-timestamp", stamp),
    ]
    .map(|(name, value)| (name.to_owned(), value))
    .to_vec()
}

/// The address with the twelve escapes undone that version 3 names.
fn plain_uri(url: &str) -> String {
    let mut uri = url.to_owned();
    for sign in [':', '/', '?', '@', '!', '$', '\'', '(', ')', '*', ',', ';'] {
        let escape = format!("%{:02X}", sign as u32);
        uri = uri.replace(&escape, &sign.to_string()).replace(&escape.to_lowercase(), &sign.to_string());
    }
    uri
}
