//! A vendor of a few lines: an OAuth server that insists on PKCE, and one record to read.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard};

use axum::extract::{Form, Query, State};
use axum::http::StatusCode;
use axum::response::Html;
use axum::routing::{get, post};
use axum::{Json, Router};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use leadshare_connectors::sdk::signature::sha256;
use leadshare_connectors::sdk::{
    Account, AccountFacts, Ask, Connector, Effect, Finding, Heard, Hint, HintKind, Incoming, Manifest, Op, Output, RawRequest, Refused,
    Reply, Request, Saved, Step, Tag, Talk, TalkFault, WebhookKey,
};
use serde_json::{Map, Value, json};

const MANIFEST: &str = r#"
name = "hubspot"
title = "Fake CRM"
api_version = "1"
host_suffixes = ["fake.example"]
objects = ["contact"]
[auth]
kind = "oauth2"
authorize_url = "/authorize"
token_url = "/token"
scopes = ["contacts.read", "contacts.write"]
optional_scopes = ["leads"]
pkce = true
rotates = false
[poll]
overlap_ms = 1000
lag_ms = 1000
every_ms = 1000
[read]
batch = 10
[write]
safety = "unique_key"
settle_after_ms = 1000
batch = 10
marker_field = "ls_marker"
"#;

/// What the vendor holds.
#[derive(Default)]
pub struct Held {
    /// Codes that a person allowed, with the PKCE challenge that they were asked with.
    codes: HashMap<String, String>,
    /// The account that the person signs in with.
    pub account: String,
    /// Whether the marker field exists.
    pub has_marker: bool,
    /// Whether the token endpoint answers 503.
    pub down: bool,
    /// Webhooks as they were handed on.
    pub webhooks: Vec<RawRequest>,
    count: usize,
}

/// The vendor, listening.
pub struct FakeVendor {
    /// Where.
    pub url: String,
    held: Arc<Mutex<Held>>,
}

impl FakeVendor {
    /// Starts it on a free port.
    pub async fn start() -> Self {
        let held = Arc::new(Mutex::new(Held { account: "acme".into(), has_marker: true, ..Held::default() }));
        let router = Router::new()
            .route("/token", post(token))
            .route("/authorize", get(authorize))
            .route("/me", get(|| async { "{}" }))
            .with_state(held.clone());
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let url = format!("http://{}", listener.local_addr().expect("an address"));
        tokio::spawn(async move { axum::serve(listener, router).await });
        Self { url, held }
    }

    /// What it holds.
    pub fn held(&self) -> MutexGuard<'_, Held> {
        self.held.lock().expect("what the vendor holds")
    }

    /// A person opens the authorization page and allows: where the browser is sent.
    pub fn allow(&self, url: &str) -> String {
        let url = url::Url::parse(url).expect("an address");
        assert_eq!(url.path(), "/authorize");
        let back = url::Url::parse(&self.held().allow(&url.query_pairs().into_owned().collect())).expect("an address");
        format!("{}?{}", back.path(), back.query().unwrap_or_default())
    }

    /// How we speak to it.
    pub fn connector(&self) -> FakeConnector {
        FakeConnector { manifest: Manifest::parse(MANIFEST).expect("a manifest"), held: self.held.clone() }
    }
}

impl Held {
    fn allow(&mut self, query: &HashMap<String, String>) -> String {
        assert_eq!(query["response_type"], "code");
        assert_eq!(query["client_id"], "our-app");
        assert_eq!(query["scope"], "contacts.read contacts.write");
        assert_eq!(query["optional_scope"], "leads");
        assert_eq!(query["code_challenge_method"], "S256");
        self.count += 1;
        let code = format!("code-{}", self.count);
        self.codes.insert(code.clone(), query["code_challenge"].clone());
        let back = url::Url::parse_with_params(&query["redirect_uri"], [("code", &code), ("state", &query["state"])]);
        back.expect("an address").to_string()
    }
}

async fn authorize(State(held): State<Arc<Mutex<Held>>>, Query(query): Query<HashMap<String, String>>) -> Html<String> {
    let allow = held.lock().expect("what the vendor holds").allow(&query).replace('&', "&amp;");
    let deny = format!("{}?error=access_denied&amp;state={}", query["redirect_uri"], query["state"]);
    let head = "<!doctype html><html lang=en><title>Fake CRM</title><link rel=icon href=data:,><h1>Fake CRM</h1>";
    Html(format!("{head}<a id=allow href=\"{allow}\">Allow</a> <a id=deny href=\"{deny}\">Deny</a>"))
}

async fn token(State(held): State<Arc<Mutex<Held>>>, Form(form): Form<HashMap<String, String>>) -> (StatusCode, Json<Value>) {
    let refuse = |code: &str| (StatusCode::BAD_REQUEST, Json(json!({ "error": code })));
    let mut held = held.lock().expect("what the vendor holds");
    if held.down {
        return (StatusCode::SERVICE_UNAVAILABLE, Json(json!({})));
    }
    if form.get("client_secret").map(String::as_str) != Some("our-secret") {
        return refuse("invalid_client");
    }
    let challenge = form.get("code").and_then(|code| held.codes.remove(code));
    let proven = form.get("code_verifier").map(|v| URL_SAFE_NO_PAD.encode(sha256(&[v.as_bytes()])));
    if challenge.is_none() || challenge != proven {
        return refuse("invalid_grant");
    }
    let tokens = json!({
        "access_token": "access-secret", "refresh_token": "refresh-secret", "token_type": "bearer", "expires_in": 1800, "account": held.account,
    });
    (StatusCode::OK, Json(tokens))
}

/// Speaks to the fake vendor; knows how to check, and nothing else.
pub struct FakeConnector {
    manifest: Manifest,
    held: Arc<Mutex<Held>>,
}

impl Connector for FakeConnector {
    fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    fn open(&self, op: &Op, _: &Account, _: Option<&Saved>) -> Result<Box<dyn Talk>, TalkFault> {
        assert!(matches!(op, Op::Check { marker_field, .. } if marker_field == "ls_marker"));
        Ok(Box::new(Check { asked: false, heard: None, held: self.held.clone() }))
    }

    // The body says how it is to be judged.
    fn webhook(&self, raw: &RawRequest, _: &[WebhookKey], _: i64) -> Result<Incoming, Refused> {
        self.held.lock().expect("what the vendor holds").webhooks.push(raw.clone());
        match raw.body.as_slice() {
            b"unsigned" => Err(Refused::Unsigned),
            b"forged" => Err(Refused::Forged),
            b"stale" => Err(Refused::Stale),
            b"unreadable" => Err(Refused::Unreadable),
            b"wrong account" => Err(Refused::WrongAccount),
            b"not supported" => Err(Refused::NotSupported),
            _ => {
                let hint = Hint { account: None, object: "contact".into(), id: "1".into(), kind: HintKind::Changed, occurred_at: None };
                Ok(Incoming { hints: vec![hint], reply: Reply { status: 202, content_type: "text/plain", body: "thanks".into() } })
            }
        }
    }

    fn account_facts(&self, token_response: &Map<String, Value>) -> AccountFacts {
        AccountFacts { external_id: token_response.get("account").and_then(Value::as_str).map(str::to_owned), base_url: None }
    }
}

struct Check {
    asked: bool,
    heard: Option<bool>,
    held: Arc<Mutex<Held>>,
}

impl Talk for Check {
    fn step(&mut self) -> Step {
        if !self.asked {
            self.asked = true;
            return Step::Ask(Ask { tag: 1, request: Request::get("/me"), effect: Effect::Read, cost: vec![] });
        }
        let Some(read) = self.heard else { return Step::Wait };
        let marker = self.held.lock().expect("what the vendor holds").has_marker;
        let finding = |code: &str, ok, what: &str, fix: Option<&str>| Finding {
            code: code.into(),
            ok,
            what: what.into(),
            fix: fix.map(str::to_owned),
        };
        Step::Done(Output::Checked(vec![
            finding("read", read, "A test read of contacts", None),
            finding("marker_field", marker, "The field ls_marker", Some("Settings → Properties → Create property “ls_marker”")),
        ]))
    }

    fn heard(&mut self, _: Tag, what: Heard<'_>) {
        self.heard = Some(matches!(what, Heard::Answer(answer) if answer.status == 200));
    }
}
