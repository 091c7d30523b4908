//! The connector against its simulator.

use super::sandbox::{DATABASE, TrytonSandbox};
use super::story::{Server, tell};
use crate::sdk::{Account, Millis, Request, Response, Sandbox, SandboxReply, SandboxRequest};

/// The simulator as a server whose clock goes on by a second with each look at it.
pub struct Simulated {
    pub sandbox: Box<dyn Sandbox>,
    pub key: String,
    pub now: Millis,
}

impl Simulated {
    pub fn new() -> Self {
        let mut sandbox = TrytonSandbox::new(7);
        let key = sandbox.token(0);
        Self { sandbox: Box::new(sandbox), key, now: 1_800_000_000_000 }
    }
}

pub fn account() -> Account {
    Account {
        base_url: "http://tryton.example".into(),
        api_version: "8.2".into(),
        external_id: None,
        tenant: Some(DATABASE.into()),
        scopes: vec![],
    }
}

impl Server for Simulated {
    fn send(&mut self, request: &Request) -> Option<Response> {
        self.now += 10;
        let mut headers = request.headers.clone();
        headers.push(("authorization".into(), format!("bearer {}", self.key)));
        let request = SandboxRequest { method: request.method, path: request.url.clone(), headers, body: request.body.clone() };
        match self.sandbox.handle(&request, self.now) {
            SandboxReply::Answer(response) => Some(response),
            SandboxReply::Dropped => None,
        }
    }

    fn now(&mut self) -> Millis {
        self.now += 1000;
        self.now
    }
}

/// Breaks when connector and simulator disagree anywhere in a lead's life.
#[test]
fn the_story_holds_in_the_simulator() {
    tell(&mut Simulated::new(), &account(), "1").unwrap();
}
