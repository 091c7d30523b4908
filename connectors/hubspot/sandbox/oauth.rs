//! HubSpot's OAuth server: the page with its button, tokens, introspection, revocation.

use std::collections::BTreeMap;

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use serde_json::{Value, json};

use super::answer::Rng;
use crate::sdk::{App, Method, Millis, Response, SandboxRequest, signature};

const ACCESS_LIFE: Millis = 30 * 60_000;
const CODE_LIFE: Millis = 60_000;
const USER: u64 = 4711;
/// Scopes that the account knows.
const SCOPES: [&str; 29] = [
    "oauth",
    "crm.objects.contacts.read",
    "crm.objects.contacts.write",
    "crm.objects.contacts.sensitive.read",
    "crm.schemas.contacts.read",
    "crm.schemas.contacts.write",
    "crm.objects.companies.read",
    "crm.objects.companies.write",
    "crm.schemas.companies.read",
    "crm.schemas.companies.write",
    "crm.objects.deals.read",
    "crm.objects.deals.write",
    "crm.schemas.deals.read",
    "crm.schemas.deals.write",
    "crm.objects.leads.read",
    "crm.objects.leads.write",
    "crm.schemas.leads.read",
    "crm.schemas.leads.write",
    "crm.objects.owners.read",
    "crm.lists.read",
    "crm.import",
    "crm.export",
    "communication_preferences.read",
    "communication_preferences.write",
    "communication_preferences.read_write",
    "communication_preferences.statuses.batch.read",
    "communication_preferences.statuses.batch.write",
    "settings.users.read",
    "tickets",
];

#[derive(Debug, Clone)]
struct Code {
    redirect_uri: String,
    scopes: Vec<String>,
    challenge: Option<String>,
    expires: Millis,
}

/// An access token's standing.
#[derive(Debug, Clone)]
struct Access {
    scopes: Vec<String>,
    expires: Millis,
}

/// What a request's token allows.
pub(super) enum Bearer<'a> {
    Good(&'a [String]),
    Expired { since: Millis },
    Unknown,
}

/// The OAuth server's memory.
#[derive(Debug, Clone, Default)]
pub(super) struct OAuth {
    pub app: Option<App>,
    codes: BTreeMap<String, Code>,
    access: BTreeMap<String, Access>,
    /// Scopes by refresh token.
    refresh: BTreeMap<String, Vec<String>>,
}

impl OAuth {
    /// All access tokens are past their time from now on.
    pub fn expire_access(&mut self) {
        for access in self.access.values_mut() {
            access.expires = Millis::MIN;
        }
    }

    /// The account removes the app.
    pub fn uninstall(&mut self) {
        self.codes.clear();
        self.access.clear();
        self.refresh.clear();
    }

    /// Whether the account has installed the app.
    pub fn installed(&self) -> bool {
        !self.refresh.is_empty()
    }

    /// A token with every scope.
    pub fn full_token(&mut self, rng: &mut Rng, now: Millis) -> String {
        let scopes: Vec<String> = SCOPES.iter().map(|scope| (*scope).to_owned()).collect();
        let refresh = format!("na1-{}", rng.uuid());
        self.refresh.insert(refresh, scopes.clone());
        self.issue(rng, scopes, now)
    }

    fn issue(&mut self, rng: &mut Rng, scopes: Vec<String>, now: Millis) -> String {
        self.access.retain(|_, access| access.expires > now - ACCESS_LIFE);
        // Real ones are long.
        let token = format!("CP{}{}{}", rng.uuid().replace('-', ""), rng.uuid().replace('-', ""), "x".repeat(260));
        self.access.insert(token.clone(), Access { scopes, expires: now + ACCESS_LIFE });
        token
    }

    /// Judges an `Authorization` header.
    pub fn bearer(&self, header: Option<&str>, now: Millis) -> Bearer<'_> {
        let token = header.and_then(|value| value.strip_prefix("Bearer ").or_else(|| value.strip_prefix("bearer ")));
        match token.and_then(|token| self.access.get(token)) {
            Some(access) if access.expires <= now => Bearer::Expired { since: now.saturating_sub(access.expires.max(now - ACCESS_LIFE)) },
            Some(access) => Bearer::Good(&access.scopes),
            None => Bearer::Unknown,
        }
    }

    /// Answers a request below `/oauth`; `None` when there is no such page.
    pub fn answer(&mut self, request: &SandboxRequest, portal: u64, rng: &mut Rng, now: Millis) -> Option<Response> {
        let path = request.path_only().trim_end_matches('/').to_owned();
        let parts: Vec<&str> = path.split('/').skip(2).collect();
        match (request.method, parts.as_slice()) {
            (Method::Get, ["authorize"] | [_, "authorize"]) => Some(self.page(request)),
            (Method::Post, ["authorize"] | [_, "authorize"]) => Some(self.allow(request, rng, now)),
            (Method::Post, [version, "token"]) if is_version(version) => Some(self.token(request, version, portal, rng, now)),
            (Method::Post, [version, "token", "introspect"]) if is_version(version) && *version != "v1" => {
                Some(self.introspect(request, portal, now))
            }
            (Method::Post, [version, "token", "revoke"]) if is_version(version) && *version != "v1" => Some(self.revoke(request)),
            (Method::Get, ["v1", "access-tokens", token]) => Some(match self.access.get(*token).filter(|access| access.expires > now) {
                Some(access) => Response::json(200, &facts(access.expires - now, &access.scopes, portal, json!({ "token": token }))),
                None => refuse("BAD_TOKEN", "access token is invalid, expired or revoked", "invalid_token", 404),
            }),
            (Method::Get, ["v1", "refresh-tokens", token]) => Some(match self.refresh.get(*token) {
                Some(scopes) => Response::json(200, &facts(0, scopes, portal, json!({ "token": token, "token_type": "refresh" }))),
                None => refuse("BAD_REFRESH_TOKEN", "missing or invalid refresh token", "invalid_token", 404),
            }),
            // Access tokens issued before stay good, and the app stays installed.
            (Method::Delete, ["v1", "refresh-tokens", token]) => {
                self.refresh.remove(*token);
                Some(Response::empty(204))
            }
            _ => None,
        }
    }

    /// What is wrong with an authorization request, or the scopes to grant.
    fn judge(&self, value: &dyn Fn(&str) -> Option<String>) -> Result<Vec<String>, String> {
        let app = self.app.as_ref().ok_or("No app is registered.")?;
        if value("client_id").as_deref() != Some(&app.client_id) {
            return Err("The client_id is not known.".into());
        }
        if value("redirect_uri").as_deref() != Some(&app.redirect_uri) {
            return Err("The redirect_uri is not one that the app has registered.".into());
        }
        let scopes = split(value("scope"));
        if scopes.is_empty() {
            return Err("The address names no scope.".into());
        }
        if let Some(unknown) = scopes.iter().find(|scope| !SCOPES.contains(&scope.as_str())) {
            return Err(format!("Authorization failed because there is a scope mismatch: {unknown}"));
        }
        if value("code_challenge").is_some() && value("code_challenge_method").as_deref() != Some("S256") {
            return Err("Only code_challenge_method S256 is supported.".into());
        }
        let optional = split(value("optional_scope")).into_iter().filter(|scope| SCOPES.contains(&scope.as_str()));
        let mut granted = scopes.clone();
        granted.extend(optional.filter(|scope| !scopes.contains(scope)));
        Ok(granted)
    }

    fn page(&self, request: &SandboxRequest) -> Response {
        let granted = match self.judge(&|name| request.query(name)) {
            Ok(granted) => granted,
            Err(reason) => return html(400, &format!("<h1>This app cannot be connected</h1><p>{}</p>", html_text(&reason))),
        };
        let kept = ["client_id", "redirect_uri", "scope", "optional_scope", "state", "code_challenge", "code_challenge_method"];
        let hidden: Vec<String> = kept
            .iter()
            .filter_map(|name| Some((name, request.query(name)?)))
            .map(|(name, value)| format!("<input type=\"hidden\" name=\"{name}\" value=\"{}\">", html_text(&value)))
            .collect();
        let scopes: Vec<String> = granted.iter().map(|scope| format!("<li>{}</li>", html_text(scope))).collect();
        let (hidden, scopes) = (hidden.join("\n"), scopes.join("\n"));
        html(
            200,
            &format!(
                "<h1>Connect an app to HubSpot (simulated)</h1>\n<p>The app asks for:</p>\n<ul>\n{scopes}\n</ul>\n<form method=\"post\" \
                 action=\"/oauth/authorize\">\n{hidden}\n<button type=\"submit\" name=\"decision\" value=\"allow\">Allow</button>\n<button \
                 type=\"submit\" name=\"decision\" value=\"deny\">Cancel</button>\n</form>"
            ),
        )
    }

    fn allow(&mut self, request: &SandboxRequest, rng: &mut Rng, now: Millis) -> Response {
        let scopes = match self.judge(&|name| request.form(name)) {
            Ok(scopes) => scopes,
            Err(reason) => return html(400, &format!("<h1>This app cannot be connected</h1><p>{}</p>", html_text(&reason))),
        };
        let redirect_uri = request.form("redirect_uri").unwrap_or_default();
        let mut answer = url::form_urlencoded::Serializer::new(String::new());
        if request.form("decision").as_deref() == Some("deny") {
            answer.append_pair("error", "access_denied").append_pair("error_description", "The user denied access");
        } else {
            let code = format!("na1-{}", rng.uuid());
            answer.append_pair("code", &code);
            let challenge = request.form("code_challenge");
            self.codes.insert(code, Code { redirect_uri: redirect_uri.clone(), scopes, challenge, expires: now + CODE_LIFE });
        }
        if let Some(state) = request.form("state") {
            answer.append_pair("state", &state);
        }
        let joint = if redirect_uri.contains('?') { '&' } else { '?' };
        let mut response = Response::empty(302);
        response.headers.push(("location".into(), format!("{redirect_uri}{joint}{}", answer.finish())));
        response
    }

    fn token(&mut self, request: &SandboxRequest, version: &str, portal: u64, rng: &mut Rng, now: Millis) -> Response {
        // Only the oldest endpoint reads parameters from the address.
        let value = |name: &str| request.form(name).or_else(|| request.query(name).filter(|_| version == "v1"));
        let Some(app) = self.app.clone() else {
            return refuse("BAD_CLIENT_ID", "missing or unknown client id", "invalid_client", 400);
        };
        if value("client_id").as_deref() != Some(&app.client_id) {
            let status = if value("grant_type").as_deref() == Some("refresh_token") { "BAD_REFRESH_TOKEN" } else { "BAD_CLIENT_ID" };
            return refuse(status, "token was not issued to this client", "invalid_client", 400);
        }
        if !value("client_secret").is_some_and(|secret| signature::same(secret.as_bytes(), app.client_secret.as_bytes())) {
            return refuse("BAD_CLIENT_SECRET", "missing or invalid client secret", "invalid_client", 400);
        }
        let (scopes, refresh) = match value("grant_type").as_deref() {
            Some("authorization_code") => {
                // A code is gone with its first use, whatever comes of it.
                let code = value("code").and_then(|code| self.codes.remove(&code)).filter(|code| code.expires > now);
                let Some(code) = code else { return refuse("BAD_AUTH_CODE", "missing or unknown auth code", "invalid_grant", 400) };
                if value("redirect_uri").as_deref() != Some(&code.redirect_uri) {
                    return refuse("BAD_REDIRECT_URI", "redirect uri does not match the one the code was issued for", "invalid_grant", 400);
                }
                if let Some(challenge) = &code.challenge {
                    let verifier = value("code_verifier").unwrap_or_default();
                    let made = URL_SAFE_NO_PAD.encode(signature::sha256(&[verifier.as_bytes()]));
                    if !signature::same(made.as_bytes(), challenge.as_bytes()) {
                        return refuse("BAD_CODE_VERIFIER", "missing or invalid code verifier", "invalid_grant", 400);
                    }
                }
                let refresh = format!("na1-{}", rng.uuid());
                self.refresh.insert(refresh.clone(), code.scopes.clone());
                (code.scopes, refresh)
            }
            Some("refresh_token") => match value("refresh_token").and_then(|token| Some((self.refresh.get(&token)?.clone(), token))) {
                Some(found) => found,
                None => return bad_refresh_token(),
            },
            _ => return refuse("BAD_GRANT_TYPE", "missing or unknown grant type", "unsupported_grant_type", 400),
        };
        let access = self.issue(rng, scopes.clone(), now);
        let mut out = json!({
            "token_type": "bearer",
            "access_token": access,
            "refresh_token": refresh,
            "expires_in": ACCESS_LIFE / 1000,
        });
        if version != "v1" {
            out["hub_id"] = portal.into();
            out["user_id"] = USER.into();
            out["scopes"] = json!(scopes);
            out["token_use"] = "access_token".into();
        }
        Response::json(200, &out)
    }

    fn client_fits(&self, request: &SandboxRequest) -> bool {
        self.app.as_ref().is_some_and(|app| {
            request.form("client_id").as_deref() == Some(&app.client_id)
                && request.form("client_secret").as_deref() == Some(&app.client_secret)
        })
    }

    fn introspect(&self, request: &SandboxRequest, portal: u64, now: Millis) -> Response {
        if !self.client_fits(request) {
            return refuse("BAD_CLIENT_ID", "missing or unknown client id", "invalid_client", 400);
        }
        // The guide and the specification name the field differently.
        let token = ["token", "access_token", "refresh_token"].iter().find_map(|name| request.form(name)).unwrap_or_default();
        if let Some(access) = self.access.get(&token).filter(|access| access.expires > now) {
            let more =
                json!({ "active": true, "token_use": "access_token", "client_id": self.app.as_ref().map(|app| app.client_id.clone()) });
            return Response::json(200, &facts(access.expires - now, &access.scopes, portal, more));
        }
        match self.refresh.get(&token) {
            Some(scopes) => Response::json(200, &facts(0, scopes, portal, json!({ "active": true, "token_use": "refresh_token" }))),
            None => Response::json(200, &json!({ "active": false })),
        }
    }

    fn revoke(&mut self, request: &SandboxRequest) -> Response {
        if !self.client_fits(request) {
            return refuse("BAD_CLIENT_ID", "missing or unknown client id", "invalid_client", 400);
        }
        let token = ["token", "access_token", "refresh_token"].iter().find_map(|name| request.form(name)).unwrap_or_default();
        self.access.remove(&token);
        self.refresh.remove(&token);
        Response::empty(200)
    }
}

fn is_version(text: &str) -> bool {
    matches!(text, "v1" | "v3" | "2026-03" | "2026-09")
}

fn split(scopes: Option<String>) -> Vec<String> {
    scopes.unwrap_or_default().split_whitespace().map(str::to_owned).collect()
}

fn facts(left: Millis, scopes: &[String], portal: u64, more: Value) -> Value {
    let mut out = json!({
        "hub_id": portal,
        "hub_domain": "sandbox.example",
        "user": "admin@sandbox.example",
        "user_id": USER,
        "app_id": 1,
        "scopes": scopes,
        "token_type": "access",
        "expires_in": left / 1000,
    });
    if let (Some(out), Value::Object(more)) = (out.as_object_mut(), more) {
        out.extend(more);
    }
    out
}

fn bad_refresh_token() -> Response {
    let body = json!({
        "status": "BAD_REFRESH_TOKEN",
        "message": "missing or invalid refresh token",
        "error": "invalid_grant",
        "error_description": "refresh token is invalid, expired or revoked",
    });
    Response::json(400, &body)
}

fn refuse(status: &str, message: &str, error: &str, code: u16) -> Response {
    Response::json(code, &json!({ "status": status, "message": message, "error": error, "error_description": message }))
}

fn html(status: u16, body: &str) -> Response {
    let page = format!(
        "<!doctype html>\n<html lang=\"en\">\n<head><meta charset=\"utf-8\"><title>HubSpot (simulated)</title></head>\n<body>\n{body}\n</body>\n</html>\n"
    );
    Response { status, headers: vec![("content-type".into(), "text/html; charset=utf-8".into())], body: page.into_bytes() }
}

fn html_text(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}
