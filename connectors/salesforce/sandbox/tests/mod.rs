//! The simulator against what the vendor documents.

mod limits;
mod login;
mod outbound;
mod queries;
mod writes;

use serde_json::Value;

use super::{Options, SalesforceSandbox};
use crate::sdk::{Act, App, Fields, Method, Millis, Response, Sandbox, SandboxReply, SandboxRequest};

const NOW: Millis = 1_778_066_964_500;
const SECRET: &str = "app-secret";
const REDIRECT: &str = "https://leads.example/callback";

fn fields(value: Value) -> Fields {
    serde_json::from_value(value).unwrap()
}

fn encoded(text: &str) -> String {
    url::form_urlencoded::byte_serialize(text.as_bytes()).collect()
}

/// An organisation with an app, a marker field and a session.
struct Org {
    sandbox: SalesforceSandbox,
    token: String,
    now: Millis,
    headers: Vec<(String, String)>,
}

impl Org {
    fn new() -> Self {
        Self::with(Options::default())
    }

    fn with(options: Options) -> Self {
        let mut sandbox = SalesforceSandbox::with(3, options);
        sandbox.register(App {
            client_id: "app".into(),
            client_secret: SECRET.into(),
            redirect_uri: REDIRECT.into(),
            webhook_url: Some("https://leads.example/hooks/secret".into()),
        });
        let marker = Act::DefineField { object: "Lead".into(), name: "Marker__c".into(), unique: true, options: Vec::new() };
        sandbox.act(marker, NOW).unwrap();
        let token = sandbox.token(NOW);
        Self { sandbox, token, now: NOW, headers: Vec::new() }
    }

    /// Sends to any address; `None` when the connection breaks.
    fn send(&mut self, method: Method, path: &str, mut headers: Vec<(String, String)>, body: &[u8]) -> Option<Response> {
        headers.extend(self.headers.clone());
        let request = SandboxRequest { method, path: path.to_owned(), headers, body: body.to_vec() };
        match self.sandbox.handle(&request, self.now) {
            SandboxReply::Answer(response) => Some(response),
            SandboxReply::Dropped => None,
        }
    }

    /// Sends a data request below version 66.
    fn api(&mut self, method: Method, path: &str, body: &Value) -> Response {
        self.try_api(method, path, body).expect("an answer")
    }

    fn try_api(&mut self, method: Method, path: &str, body: &Value) -> Option<Response> {
        self.try_raw(method, path, &if body.is_null() { String::new() } else { body.to_string() })
    }

    /// The same with a body as it is written: the order of its keys matters in collections.
    fn raw(&mut self, method: Method, path: &str, body: &str) -> Response {
        self.try_raw(method, path, body).expect("an answer")
    }

    fn try_raw(&mut self, method: Method, path: &str, body: &str) -> Option<Response> {
        let path = if path.starts_with('/') { path.to_owned() } else { format!("/services/data/v66.0/{path}") };
        self.send(method, &path, vec![("authorization".into(), format!("Bearer {}", self.token))], body.as_bytes())
    }

    fn get(&mut self, path: &str) -> Response {
        self.api(Method::Get, path, &Value::Null)
    }

    /// The ids that a query finds, or its error code.
    fn query(&mut self, soql: &str) -> Result<Vec<Value>, String> {
        let response = self.get(&format!("query?q={}", encoded(soql)));
        let body = response.value().unwrap();
        match response.status {
            200 => Ok(body["records"].as_array().unwrap().clone()),
            _ => Err(code(&response)),
        }
    }

    fn count(&mut self, soql: &str) -> usize {
        self.query(soql).unwrap().len()
    }

    fn lead(&mut self, extra: Value) -> String {
        let mut all = fields(serde_json::json!({ "LastName": "Doe", "Company": "Acme" }));
        all.extend(fields(extra));
        self.sandbox.act(Act::Create { object: "Lead".into(), fields: all }, self.now).unwrap()
    }

    fn act(&mut self, act: Act) -> Result<String, String> {
        self.sandbox.act(act, self.now)
    }
}

fn code(response: &Response) -> String {
    response.value().unwrap()[0]["errorCode"].as_str().unwrap().to_owned()
}
