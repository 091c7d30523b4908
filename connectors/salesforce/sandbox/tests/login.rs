//! The OAuth server.

use serde_json::Value;
use url::form_urlencoded::Serializer;

use super::{NOW, Org, REDIRECT, SECRET};
use crate::sdk::{Fault, Method, Response, Sandbox};

const DAY: i64 = 86_400_000;
/// RFC 7636, appendix B.
const VERIFIER: &str = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk";
const CHALLENGE: &str = "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM";

fn form(pairs: &[(&str, &str)]) -> Vec<u8> {
    Serializer::new(String::new()).extend_pairs(pairs).finish().into_bytes()
}

fn post(org: &mut Org, path: &str, pairs: &[(&str, &str)]) -> Response {
    org.send(Method::Post, &format!("/services/oauth2/{path}"), vec![("host".into(), "127.0.0.1:4000".into())], &form(pairs)).unwrap()
}

/// Where the browser is sent after a decision.
fn decide(org: &mut Org, decision: &str, extra: &[(&str, &str)]) -> url::Url {
    let mut pairs = vec![
        ("response_type", "code"),
        ("client_id", "app"),
        ("redirect_uri", REDIRECT),
        ("scope", "api refresh_token"),
        ("state", "s&t"),
        ("decision", decision),
    ];
    pairs.extend(extra);
    let response = post(org, "authorize", &pairs);
    assert_eq!(response.status, 302);
    response.header("location").unwrap().parse().unwrap()
}

fn value_of(url: &url::Url, name: &str) -> Option<String> {
    url.query_pairs().find(|(n, _)| n == name).map(|(_, v)| v.into_owned())
}

fn allowed(org: &mut Org) -> String {
    let back = decide(org, "allow", &[("code_challenge", CHALLENGE), ("code_challenge_method", "S256")]);
    assert_eq!(value_of(&back, "state").as_deref(), Some("s&t"));
    value_of(&back, "code").unwrap()
}

fn exchange(org: &mut Org, code: &str, extra: &[(&str, &str)]) -> Response {
    let mut pairs = vec![
        ("grant_type", "authorization_code"),
        ("code", code),
        ("client_id", "app"),
        ("client_secret", SECRET),
        ("redirect_uri", REDIRECT),
    ];
    pairs.extend(extra);
    post(org, "token", &pairs)
}

fn connected(org: &mut Org) -> Value {
    let code = allowed(org);
    let response = exchange(org, &code, &[("code_verifier", VERIFIER)]);
    assert_eq!(response.status, 200);
    response.value().unwrap()
}

fn refresh(org: &mut Org, token: &str) -> Response {
    post(org, "token", &[("grant_type", "refresh_token"), ("refresh_token", token), ("client_id", "app"), ("client_secret", SECRET)])
}

fn error(response: &Response) -> (u16, String) {
    (response.status, response.value().unwrap()["error"].as_str().unwrap().to_owned())
}

// Breaks when the token answer has more, or other, than the vendor documents.
#[test]
fn a_token_answer_is_as_documented() {
    let mut org = Org::new();
    let token = connected(&mut org);
    assert!(token.get("expires_in").is_none());
    assert_eq!(token["instance_url"], "http://127.0.0.1:4000", "data requests go where the client came from");
    assert_eq!(token["issued_at"], NOW.to_string());
    let id = token["id"].as_str().unwrap();
    assert!(id.contains(&format!("/id/{}/005", org.sandbox.organisation())), "{id}");
    token["access_token"].as_str().unwrap().clone_into(&mut org.token);
    assert_eq!(org.get("limits").status, 200);
    let info = org.api(Method::Get, "/services/oauth2/userinfo", &Value::Null).value().unwrap();
    assert_eq!(info["organization_id"], org.sandbox.organisation());
    let path = id.strip_prefix("http://127.0.0.1:4000").unwrap().to_owned();
    assert_eq!(org.get(&path).status, 200);
    org.token = "wrong".into();
    let refused = org.get(&path);
    assert_eq!((refused.status, refused.body), (403, b"Bad_OAuth_Token".to_vec()));
}

// Breaks when a code is good twice, too long, for another address, or without its verifier.
#[test]
fn codes_are_good_once_for_their_verifier() {
    let mut org = Org::new();
    let good = &[("code_verifier", VERIFIER)];
    let code = allowed(&mut org);
    assert_eq!(error(&exchange(&mut org, &code, &[])), (400, "invalid_grant".into()));
    assert_eq!(error(&exchange(&mut org, &code, &[("code_verifier", "another")])), (400, "invalid_request".into()));
    assert_eq!(exchange(&mut org, &code, good).status, 200);
    assert_eq!(error(&exchange(&mut org, &code, good)), (400, "invalid_grant".into()));
    let old = allowed(&mut org);
    org.now += 16 * 60_000;
    assert_eq!(error(&exchange(&mut org, &old, good)), (400, "invalid_grant".into()));
}

// Breaks when the page gives a code without a person's yes, without PKCE, or to another address.
#[test]
fn only_a_yes_gives_a_code() {
    let mut org = Org::new();
    let denied = decide(&mut org, "deny", &[("code_challenge", CHALLENGE)]);
    assert_eq!(value_of(&denied, "error").as_deref(), Some("access_denied"));
    let plain = decide(&mut org, "allow", &[]);
    assert_eq!(value_of(&plain, "error").as_deref(), Some("invalid_request"));
    let elsewhere =
        format!("/services/oauth2/authorize?response_type=code&client_id=app&redirect_uri={}", super::encoded("https://evil.example/"));
    assert_eq!(org.send(Method::Get, &elsewhere, vec![], b"").unwrap().status, 400);
    let page = format!(
        "/services/oauth2/authorize?response_type=code&client_id=app&redirect_uri={}&state=%22%3E%3Cscript%3E&code_challenge={CHALLENGE}",
        super::encoded(REDIRECT)
    );
    let page = String::from_utf8(org.send(Method::Get, &page, vec![], b"").unwrap().body).unwrap();
    assert!(page.contains("&quot;&gt;&lt;script&gt;") && !page.contains("<script>"), "{page}");
}

// Breaks when a used refresh token still works, or an unused one does after 30 days.
#[test]
fn refresh_tokens_rotate() {
    let mut org = Org::new();
    let first = connected(&mut org)["refresh_token"].as_str().unwrap().to_owned();
    org.now += 29 * DAY;
    let second = refresh(&mut org, &first).value().unwrap()["refresh_token"].as_str().unwrap().to_owned();
    assert_eq!(error(&refresh(&mut org, &first)), (400, "invalid_grant".into()));
    org.now += 29 * DAY;
    let third = refresh(&mut org, &second).value().unwrap()["refresh_token"].as_str().unwrap().to_owned();
    org.now += 31 * DAY;
    assert_eq!(error(&refresh(&mut org, &third)), (400, "invalid_grant".into()));
}

// Breaks when sessions last for ever, or a revoked grant still gives new ones.
#[test]
fn sessions_and_grants_end() {
    let mut org = Org::new();
    let token = connected(&mut org);
    let (access, refresh_token) = (token["access_token"].as_str().unwrap().to_owned(), token["refresh_token"].as_str().unwrap().to_owned());
    org.token.clone_from(&access);
    let pairs = [("token", access.as_str()), ("client_id", "app"), ("client_secret", SECRET)];
    assert_eq!(post(&mut org, "introspect", &pairs).value().unwrap()["active"], true);
    org.now += 2 * 3_600_000;
    let ended = org.get("limits");
    assert_eq!((ended.status, super::code(&ended)), (401, "INVALID_SESSION_ID".into()));
    assert_eq!(post(&mut org, "introspect", &pairs).value().unwrap()["active"], false);
    assert_eq!(post(&mut org, "revoke", &[("token", &refresh_token)]).status, 200);
    assert_eq!(error(&refresh(&mut org, &refresh_token)), (400, "invalid_grant".into()));
    org.sandbox.inject(Fault::RevokeGrants);
    assert_eq!(org.get("limits").status, 401);
}

// Breaks when a sixth approval does not end the first, as it does at the vendor.
#[test]
fn a_sixth_approval_ends_the_first() {
    let mut org = Org::new();
    let tokens: Vec<String> = (0..6).map(|_| connected(&mut org)["refresh_token"].as_str().unwrap().to_owned()).collect();
    assert_eq!(refresh(&mut org, &tokens[0]).status, 400);
    assert_eq!(refresh(&mut org, &tokens[1]).status, 200);
}

// Breaks when a client that does not know the secret gets tokens.
#[test]
fn the_client_must_name_itself() {
    let mut org = Org::new();
    let code = allowed(&mut org);
    let pairs = [
        ("grant_type", "authorization_code"),
        ("code", code.as_str()),
        ("client_id", "app"),
        ("client_secret", "wrong"),
        ("redirect_uri", REDIRECT),
        ("code_verifier", VERIFIER),
    ];
    assert_eq!(error(&post(&mut org, "token", &pairs)), (400, "invalid_client".into()));
    assert_eq!(org.sandbox.stats().token_requests, 1);
}
