//! The vendor's OAuth server: authorization page, codes with PKCE, rotating refresh tokens.

use std::collections::BTreeMap;

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use url::form_urlencoded::{Serializer, byte_serialize};

use crate::sdk::{App, Method, Millis, Response, SandboxRequest};

const MINUTE: Millis = 60_000;
const DAY: Millis = 24 * 60 * MINUTE;
/// How long a code is good.
const CODE_LIFE: Millis = 15 * MINUTE;
/// The default session timeout.
const SESSION: Millis = 120 * MINUTE;
/// How long a refresh token may lie idle.
const IDLE: Millis = 30 * DAY;
/// Live approvals per app and user; one more revokes the oldest.
const APPROVALS: usize = 5;
/// The approval behind sessions that were made without the pages; it does not count.
const FOR_TESTS: u64 = 0;

#[derive(Debug, Clone)]
struct Code {
    grant: u64,
    redirect_uri: String,
    challenge: String,
    plain: bool,
    issued: Millis,
    used: bool,
}

#[derive(Debug, Clone)]
struct Grant {
    scope: String,
    refresh: Option<String>,
    last_used: Millis,
}

#[derive(Debug, Clone)]
struct Session {
    grant: u64,
    issued: Millis,
    expires: Millis,
}

/// The OAuth server.
#[derive(Debug, Clone)]
pub struct OAuth {
    pub app: Option<App>,
    seed: u64,
    made: u64,
    organisation: String,
    user: String,
    codes: BTreeMap<String, Code>,
    grants: BTreeMap<u64, Grant>,
    sessions: BTreeMap<String, Session>,
    /// Tokens issued and refused.
    pub requests: u64,
}

/// Where the request came to, as the client sees it.
pub fn base_url(request: &SandboxRequest) -> String {
    match request.header("host") {
        Some(host) => format!("{}://{host}", request.header("x-forwarded-proto").unwrap_or("http")),
        None => "https://leadshare-dev-ed.my.salesforce.com".into(),
    }
}

fn error(code: &str, description: &str) -> Response {
    Response::json(400, &json!({ "error": code, "error_description": description }))
}

fn page(status: u16, body: &str) -> Response {
    let html = format!(
        "<!doctype html><html lang=\"en\"><head><meta charset=\"utf-8\"><title>Salesforce (simulated)</title></head><body>{body}</body></html>"
    );
    Response { status, headers: vec![("content-type".into(), "text/html; charset=utf-8".into())], body: html.into_bytes() }
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;").replace('\'', "&#39;")
}

impl OAuth {
    pub fn new(seed: u64, organisation: &str, user: &str) -> Self {
        Self {
            app: None,
            seed,
            made: 0,
            organisation: organisation.to_owned(),
            user: user.to_owned(),
            codes: BTreeMap::new(),
            grants: BTreeMap::new(),
            sessions: BTreeMap::new(),
            requests: 0,
        }
    }

    fn secret(&mut self, label: &str) -> String {
        self.made += 1;
        let hash = Sha256::digest(format!("{}/{}/{label}", self.seed, self.made));
        URL_SAFE_NO_PAD.encode(hash)
    }

    /// Answers an address of the OAuth server; `None` when it is none.
    pub fn handle(&mut self, request: &SandboxRequest, now: Millis) -> Option<Response> {
        let path = request.path_only();
        Some(match (path.strip_prefix("/services/oauth2/")?, request.method) {
            ("authorize", Method::Get) => self.authorize_page(request),
            ("authorize", Method::Post) => self.decide(request, now),
            ("token", Method::Post) => {
                self.requests += 1;
                self.token(request, now)
            }
            ("revoke", Method::Post | Method::Get) => self.revoke(request),
            ("introspect", Method::Post) => self.introspect(request, now),
            ("userinfo", Method::Get | Method::Post) => self.userinfo(request, now),
            _ => page(404, "<p>URL No Longer Exists</p>"),
        })
    }

    fn authorize_page(&self, request: &SandboxRequest) -> Response {
        if let Err(response) = self.check_client(|name| request.query(name)) {
            return response;
        }
        let hidden = |name: &str| {
            request
                .query(name)
                .map_or_else(String::new, |value| format!("<input type=\"hidden\" name=\"{name}\" value=\"{}\">", escaped(&value)))
        };
        let names = ["response_type", "client_id", "redirect_uri", "scope", "state", "code_challenge", "code_challenge_method"];
        let fields: String = names.into_iter().map(hidden).collect();
        page(
            200,
            &format!(
                "<h1>Allow access?</h1><p>An app asks for: {}</p><form method=\"post\" action=\"/services/oauth2/authorize\">{fields}<button name=\"decision\" value=\"allow\">Allow</button> <button name=\"decision\" value=\"deny\">Deny</button></form>",
                escaped(&request.query("scope").unwrap_or_default())
            ),
        )
    }

    fn check_client(&self, value: impl Fn(&str) -> Option<String>) -> Result<(), Response> {
        let refuse = |code: &str, why: &str| Err(page(400, &format!("<p>error={code}&amp;error_description={why}</p>")));
        let app = self.app.as_ref().filter(|app| value("client_id").as_deref() == Some(&app.client_id));
        let Some(app) = app else { return refuse("invalid_client_id", "client identifier invalid") };
        if value("redirect_uri").as_deref() != Some(&app.redirect_uri) {
            return refuse("redirect_uri_mismatch", "redirect_uri must match configuration");
        }
        Ok(())
    }

    fn decide(&mut self, request: &SandboxRequest, now: Millis) -> Response {
        let value = |name: &str| request.form(name).or_else(|| request.query(name));
        if let Err(response) = self.check_client(value) {
            return response;
        }
        let redirect_uri = value("redirect_uri").unwrap_or_default();
        let state = value("state");
        let method = value("code_challenge_method");
        let challenge = value("code_challenge");
        let answer = |pairs: &[(&str, &str)]| {
            let mut query = Serializer::new(String::new());
            query.extend_pairs(pairs);
            if let Some(state) = &state {
                query.append_pair("state", state);
            }
            let joint = if redirect_uri.contains('?') { '&' } else { '?' };
            let location = format!("{redirect_uri}{joint}{}", query.finish());
            Response { status: 302, headers: vec![("location".into(), location)], body: Vec::new() }
        };
        if value("response_type").as_deref() != Some("code") {
            return answer(&[("error", "unsupported_response_type"), ("error_description", "response type not supported")]);
        }
        let Some(challenge) = challenge.filter(|c| !c.is_empty()) else {
            return answer(&[("error", "invalid_request"), ("error_description", "missing required code challenge")]);
        };
        if value("decision").is_some_and(|decision| decision != "allow") {
            return answer(&[("error", "access_denied"), ("error_description", "end-user denied authorization")]);
        }
        let grant = self.approve(&value("scope").unwrap_or_else(|| "api refresh_token".into()), now);
        let code = format!("aPrx{}==", self.secret("code"));
        let plain = method.is_some_and(|m| m == "plain");
        self.codes.retain(|_, code| now - code.issued <= CODE_LIFE);
        let redirect_uri = redirect_uri.clone();
        let response = answer(&[("code", &code)]);
        self.codes.insert(code, Code { grant, redirect_uri, challenge, plain, issued: now, used: false });
        response
    }

    fn approve(&mut self, scope: &str, now: Millis) -> u64 {
        let approved: Vec<u64> = self.grants.keys().copied().filter(|id| *id != FOR_TESTS).collect();
        if approved.len() >= APPROVALS {
            approved.first().into_iter().for_each(|oldest| self.end(*oldest));
        }
        self.made += 1;
        self.grants.insert(self.made, Grant { scope: scope.to_owned(), refresh: None, last_used: now });
        self.made
    }

    fn end(&mut self, grant: u64) {
        self.grants.remove(&grant);
        self.sessions.retain(|_, session| session.grant != grant);
    }

    /// Whether the client named itself, in the form or by Basic authorization.
    fn client_is_ours(&self, request: &SandboxRequest) -> bool {
        let Some(app) = &self.app else { return false };
        let basic = format!("{}:{}", app.client_id, app.client_secret);
        let basic = format!("Basic {}", base64::engine::general_purpose::STANDARD.encode(basic));
        request.header("authorization") == Some(&basic)
            || (request.form("client_id").as_deref() == Some(&app.client_id)
                && request.form("client_secret").as_deref() == Some(&app.client_secret))
    }

    fn token(&mut self, request: &SandboxRequest, now: Millis) -> Response {
        if !self.client_is_ours(request) {
            return error("invalid_client", "invalid client credentials");
        }
        match request.form("grant_type").as_deref() {
            Some("authorization_code") => self.exchange(request, now),
            Some("refresh_token") => self.refresh(request, now),
            _ => error("unsupported_grant_type", "grant type not supported"),
        }
    }

    fn exchange(&mut self, request: &SandboxRequest, now: Millis) -> Response {
        let given = request.form("code").unwrap_or_default();
        let Some(code) = self.codes.get_mut(&given) else { return error("invalid_grant", "invalid authorization code") };
        if code.used || now - code.issued > CODE_LIFE {
            return error("invalid_grant", "expired authorization code");
        }
        if request.form("redirect_uri").as_deref() != Some(&code.redirect_uri) {
            return error("redirect_uri_mismatch", "redirect_uri must match configuration");
        }
        let Some(verifier) = request.form("code_verifier") else { return error("invalid_grant", "missing code verifier") };
        let challenge = if code.plain { verifier } else { URL_SAFE_NO_PAD.encode(Sha256::digest(verifier)) };
        if challenge != code.challenge {
            return error("invalid_request", "invalid code verifier");
        }
        code.used = true;
        let grant = code.grant;
        self.issue(grant, request, now)
    }

    fn refresh(&mut self, request: &SandboxRequest, now: Millis) -> Response {
        let given = request.form("refresh_token");
        let grant =
            self.grants.iter().find(|(_, grant)| grant.refresh.is_some() && grant.refresh == given && now - grant.last_used <= IDLE);
        match grant.map(|(id, _)| *id) {
            Some(grant) => self.issue(grant, request, now),
            None => error("invalid_grant", "expired access/refresh token"),
        }
    }

    /// A session, and a refresh token where the scope has one; the one before is dead at once.
    fn issue(&mut self, grant: u64, request: &SandboxRequest, now: Millis) -> Response {
        let refresh = format!("5Aep861{}", self.secret("refresh"));
        let (access, signature) = (self.session(grant, now), self.secret("signature"));
        let Some(grant) = self.grants.get_mut(&grant) else { return error("invalid_grant", "expired access/refresh token") };
        grant.last_used = now;
        let base = base_url(request);
        let mut body = json!({
            "access_token": access, "signature": format!("{signature}="), "scope": grant.scope, "instance_url": base,
            "id": format!("{base}/id/{}/{}", self.organisation, self.user), "token_type": "Bearer", "issued_at": now.to_string(),
        });
        if grant.scope.split_whitespace().any(|s| matches!(s, "refresh_token" | "offline_access" | "full")) {
            body["refresh_token"] = refresh.as_str().into();
            grant.refresh = Some(refresh);
        }
        Response::json(200, &body)
    }

    fn session(&mut self, grant: u64, now: Millis) -> String {
        self.sessions.retain(|_, session| session.expires > now);
        let secret = self.secret("access");
        let token = format!("{}!AQ{secret}", self.organisation.get(..15).unwrap_or_default());
        self.sessions.insert(token.clone(), Session { grant, issued: now, expires: now + SESSION });
        token
    }

    /// A session without the pages.
    pub fn token_for_tests(&mut self, now: Millis) -> String {
        self.grants.insert(FOR_TESTS, Grant { scope: "api refresh_token".into(), refresh: None, last_used: now });
        self.session(FOR_TESTS, now)
    }

    fn session_of(&self, request: &SandboxRequest, now: Millis) -> Option<&Session> {
        let token = request.header("authorization")?;
        let token = token.strip_prefix("Bearer ").or_else(|| token.strip_prefix("OAuth "))?;
        self.sessions.get(token).filter(|session| session.expires > now)
    }

    /// Whether the request carries a session that may use the API.
    pub fn admits(&self, request: &SandboxRequest, now: Millis) -> bool {
        let grant = self.session_of(request, now).and_then(|session| self.grants.get(&session.grant));
        grant.is_some_and(|grant| grant.scope.split_whitespace().any(|s| matches!(s, "api" | "full")))
    }

    pub fn expire_sessions(&mut self) {
        self.sessions.clear();
    }

    pub fn revoke_all(&mut self) {
        self.sessions.clear();
        self.grants.clear();
    }

    fn revoke(&mut self, request: &SandboxRequest) -> Response {
        let token = request.form("token").or_else(|| request.query("token")).unwrap_or_default();
        let by_refresh = self.grants.iter().find(|(_, grant)| grant.refresh.as_deref() == Some(&token)).map(|(id, _)| *id);
        if let Some(grant) = by_refresh {
            self.end(grant);
            return Response::empty(200);
        }
        // An access token ends alone.
        if self.sessions.remove(&token).is_some() {
            Response::empty(200)
        } else {
            error("unsupported_token_type", "this token type is not supported")
        }
    }

    fn introspect(&self, request: &SandboxRequest, now: Millis) -> Response {
        if !self.client_is_ours(request) {
            return error("invalid_client", "invalid client credentials");
        }
        let token = request.form("token").unwrap_or_default();
        let session = self.sessions.get(&token).filter(|session| session.expires > now);
        let refresh = self.grants.values().find(|grant| grant.refresh.as_deref() == Some(&token));
        let client = self.app.as_ref().map(|app| app.client_id.clone());
        let body: Value = match (session, refresh) {
            (Some(session), _) => json!({
                "active": true, "scope": self.grants.get(&session.grant).map(|g| g.scope.clone()), "client_id": client,
                "username": "integration.user@example.com", "sub": self.user, "token_type": "access_token",
                "exp": session.expires / 1000, "iat": session.issued / 1000, "nbf": session.issued / 1000,
            }),
            (None, Some(grant)) => json!({ "active": true, "scope": grant.scope, "client_id": client, "token_type": "refresh_token" }),
            (None, None) => json!({ "active": false }),
        };
        Response::json(200, &body)
    }

    fn userinfo(&self, request: &SandboxRequest, now: Millis) -> Response {
        if self.session_of(request, now).is_none() {
            return Response { status: 403, headers: vec![("content-type".into(), "text/html".into())], body: b"Bad_OAuth_Token".to_vec() };
        }
        let base = base_url(request);
        Response::json(
            200,
            &json!({
                "sub": format!("{base}/id/{}/{}", self.organisation, self.user), "user_id": self.user, "organization_id": self.organisation,
                "preferred_username": "integration.user@example.com", "email": "integration.user@example.com",
                "urls": { "rest": format!("{base}/services/data/v{{version}}/"), "query": format!("{base}/services/data/v{{version}}/query/") },
            }),
        )
    }

    /// The identity address, `/id/<organisation>/<user>`.
    pub fn identity(&self, request: &SandboxRequest, now: Millis) -> Response {
        let text = |body: &str| Response { status: 403, headers: vec![("content-type".into(), "text/html".into())], body: body.into() };
        if request.header("authorization").is_none() {
            return text("Missing_OAuth_Token");
        }
        if self.session_of(request, now).is_none() {
            return text("Bad_OAuth_Token");
        }
        let id: String = byte_serialize(self.organisation.as_bytes()).collect();
        Response::json(
            200,
            &json!({ "id": format!("{}/id/{id}/{}", base_url(request), self.user), "asserted_user": true, "user_id": self.user,
                "organization_id": self.organisation, "username": "integration.user@example.com", "active": true }),
        )
    }
}
