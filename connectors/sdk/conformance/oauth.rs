//! The code flow against the vendor's own pages: authorization with PKCE, exchange, refresh, revocation.

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use serde_json::{Map, Value};
use url::form_urlencoded::Serializer;

use super::bench::{Bench, CLIENT, REDIRECT, SECRET, Setup};
use super::{Case, Verdict, ensure, fail, not_applicable};
use crate::sdk::manifest::{Auth, Oauth2};
use crate::sdk::{AccountFacts, Action, Fault, Method, Response, SandboxReply, SandboxRequest, signature};

/// What we keep to ourselves until the code is exchanged.
const VERIFIER: &str = "conformance-verifier-that-is-long-enough-for-rfc-7636";
const STATE: &str = "state of the browser & more";

type Tokens = Map<String, Value>;

fn oauth(setup: &Setup) -> Verdict<Oauth2> {
    match &setup.manifest().auth {
        Auth::Oauth2(oauth) => Ok(oauth.clone()),
        Auth::Key { .. } => not_applicable("the manifest has [auth] kind = \"key\": an admin hands over a key"),
    }
}

fn send(bench: &mut Bench, url: &str, method: Method, form: &[(&str, &str)]) -> Verdict<Response> {
    let full = url.replace("{version}", &bench.account.api_version);
    let full = if full.starts_with('/') { format!("{}{full}", bench.account.base_url) } else { full };
    let Ok(parsed) = url::Url::parse(&full) else { return fail(format!("{full} is no address")) };
    let query = parsed.query().map_or_else(String::new, |query| format!("?{query}"));
    let mut headers =
        vec![("host".to_owned(), parsed.host_str().unwrap_or_default().to_owned()), ("x-forwarded-proto".into(), "https".into())];
    let mut body = Vec::new();
    if method == Method::Post {
        headers.push(("content-type".into(), "application/x-www-form-urlencoded".into()));
        body = Serializer::new(String::new()).extend_pairs(form).finish().into_bytes();
    }
    let request = SandboxRequest { method, path: format!("{}{query}", parsed.path()), headers, body };
    bench.now += 500;
    match bench.sandbox.handle(&request, bench.now) {
        SandboxReply::Answer(response) => Ok(response),
        SandboxReply::Dropped => fail(format!("{} was not answered", parsed.path())),
    }
}

/// A person opens the vendor's page and allows; answers the code.
fn allowed(bench: &mut Bench, oauth: &Oauth2) -> Verdict<String> {
    let challenge = URL_SAFE_NO_PAD.encode(signature::sha256(&[VERIFIER.as_bytes()]));
    let (scope, optional) = (oauth.scopes.join(" "), oauth.optional_scopes.join(" "));
    let mut query = Serializer::new(String::new());
    query.extend_pairs([("response_type", "code"), ("client_id", CLIENT), ("redirect_uri", REDIRECT), ("scope", &scope), ("state", STATE)]);
    if !optional.is_empty() {
        query.append_pair("optional_scope", &optional);
    }
    if oauth.pkce {
        query.extend_pairs([("code_challenge", challenge.as_str()), ("code_challenge_method", "S256")]);
    }
    let page = send(bench, &format!("{}?{}", oauth.authorize_url, query.finish()), Method::Get, &[])?;
    ensure(page.status == 200, || format!("the page that asks for access is answered {}", page.status))?;
    let html = String::from_utf8_lossy(&page.body).into_owned();
    let action = attribute(&html, "<form", "action").unwrap_or_else(|| "/".into());
    let mut form: Vec<(String, String)> = html
        .split("<input")
        .skip(1)
        .filter_map(|input| Some((attribute(input, "", "name")?, attribute(input, "", "value").unwrap_or_default())))
        .collect();
    if let Some(button) = html.split("<button").skip(1).find(|button| button.contains("allow")) {
        form.extend(attribute(button, "", "name").zip(attribute(button, "", "value")));
    }
    let pairs: Vec<(&str, &str)> = form.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    let Ok(at) = url::Url::parse(&oauth.authorize_url.replace("{version}", &bench.account.api_version)).and_then(|base| base.join(&action))
    else {
        return fail(format!("the page's form goes to {action}"));
    };
    let back = send(bench, at.as_str(), Method::Post, &pairs)?;
    let Some(location) = back.header("location").and_then(|to| url::Url::parse(to).ok()) else {
        return fail(format!("allowing is answered {} and leads nowhere", back.status));
    };
    ensure(location.as_str().starts_with(REDIRECT), || "the browser comes back to another address".into())?;
    let value = |name: &str| location.query_pairs().find(|(n, _)| n == name).map(|(_, value)| value.into_owned());
    ensure(value("state").as_deref() == Some(STATE), || "the state does not come back as it was sent".into())?;
    value("code").map_or_else(|| fail("the browser comes back without a code"), Ok)
}

fn attribute(html: &str, tag: &str, name: &str) -> Option<String> {
    let start = html.find(tag)? + tag.len();
    let rest = html[start..].split('>').next()?;
    let text = rest.split(&format!("{name}=\"")).nth(1)?.split('"').next()?;
    Some(text.replace("&lt;", "<").replace("&gt;", ">").replace("&quot;", "\"").replace("&#39;", "'").replace("&amp;", "&"))
}

fn exchange(bench: &mut Bench, oauth: &Oauth2, code: &str) -> Verdict<Response> {
    let mut form = vec![
        ("grant_type", "authorization_code"),
        ("code", code),
        ("client_id", CLIENT),
        ("client_secret", SECRET),
        ("redirect_uri", REDIRECT),
    ];
    if oauth.pkce {
        form.push(("code_verifier", VERIFIER));
    }
    send(bench, &oauth.token_url, Method::Post, &form)
}

fn refresh(bench: &mut Bench, oauth: &Oauth2, token: &str) -> Verdict<Response> {
    let form = [("grant_type", "refresh_token"), ("refresh_token", token), ("client_id", CLIENT), ("client_secret", SECRET)];
    send(bench, &oauth.token_url, Method::Post, &form)
}

fn tokens(response: &Response) -> Verdict<Tokens> {
    ensure(response.status == 200, || format!("the token endpoint answers {}", response.status))?;
    match response.value() {
        Some(Value::Object(tokens)) if tokens.get("access_token").is_some_and(Value::is_string) => Ok(tokens),
        _ => fail("the token endpoint answers no access token"),
    }
}

fn text<'a>(tokens: &'a Tokens, name: &str) -> Verdict<&'a str> {
    tokens.get(name).and_then(Value::as_str).map_or_else(|| fail(format!("the token endpoint answers no {name}")), Ok)
}

/// A bench whose token was given by the code flow, and what the token endpoint said.
fn connected(setup: &Setup) -> Verdict<(Bench, Oauth2, Tokens)> {
    let oauth = oauth(setup)?;
    let mut bench = setup.unconnected_bench();
    let code = allowed(&mut bench, &oauth)?;
    let tokens = tokens(&exchange(&mut bench, &oauth, &code)?)?;
    text(&tokens, "access_token")?.clone_into(&mut bench.token);
    Ok((bench, oauth, tokens))
}

/// What the vendor says of the account when it is connected; nothing where keys are handed over.
pub(super) fn facts(setup: &Setup) -> AccountFacts {
    connected(setup).map(|(bench, _, tokens)| bench.connector.account_facts(&tokens)).unwrap_or_default()
}

/// The token opens the API.
fn opens(bench: &mut Bench) -> Verdict {
    let from = bench.sent.len();
    let missing = bench.sample.missing_id.to_owned();
    bench.fetch(&[missing])?;
    let refused = bench.sent[from..].iter().any(|sent| matches!(sent.verdict, Some((Action::RefreshThenRetry, _))));
    ensure(!refused, || "the API refuses the token that was just given".into())
}

fn code_flow(setup: &Setup) -> Verdict {
    let (mut bench, oauth, tokens) = connected(setup)?;
    opens(&mut bench)?;
    text(&tokens, "refresh_token")?;
    let facts = bench.connector.account_facts(&tokens);
    if let Some(base) = &facts.base_url {
        let host = url::Url::parse(base).ok().and_then(|url| url.host_str().map(str::to_owned)).unwrap_or_default();
        let listed = setup.manifest().host_suffixes.iter().any(|suffix| host == *suffix || host.ends_with(&format!(".{suffix}")));
        ensure(listed && !base.ends_with('/'), || format!("the account's base URL is {base}"))?;
    }
    let app_level = setup.manifest().webhook.as_ref().is_some_and(|webhook| webhook.app_level);
    ensure(!app_level || facts.external_id.is_some(), || "webhooks are split by account, and the token answer gave no account id".into())?;
    let code = allowed(&mut bench, &oauth)?;
    tokens_twice(&mut bench, &oauth, &code)
}

fn tokens_twice(bench: &mut Bench, oauth: &Oauth2, code: &str) -> Verdict {
    tokens(&exchange(bench, oauth, code)?)?;
    let again = exchange(bench, oauth, code)?;
    ensure((400..500).contains(&again.status), || format!("a used code is answered {}", again.status))
}

fn refreshing(setup: &Setup) -> Verdict {
    let (mut bench, oauth, first) = connected(setup)?;
    let old = text(&first, "refresh_token")?.to_owned();
    bench.sandbox.inject(Fault::ExpireAccessTokens);
    let second = tokens(&refresh(&mut bench, &oauth, &old)?)?;
    text(&second, "access_token")?.clone_into(&mut bench.token);
    opens(&mut bench)?;
    let new = second.get("refresh_token").and_then(Value::as_str);
    if oauth.rotates {
        ensure(new.is_some_and(|new| new != old), || {
            "the manifest says that refresh tokens rotate, and the vendor gave none or the same".into()
        })?;
        let again = refresh(&mut bench, &oauth, &old)?;
        ensure(again.status == 400, || format!("a refresh token that was used is answered {}", again.status))
    } else {
        ensure(new.is_none_or(|new| new == old), || {
            "the manifest says that refresh tokens do not rotate, and the vendor gave another".into()
        })
    }
}

fn revoked(setup: &Setup) -> Verdict {
    let (mut bench, oauth, first) = connected(setup)?;
    let token = text(&first, "refresh_token")?.to_owned();
    bench.sandbox.inject(Fault::RevokeGrants);
    let answer = refresh(&mut bench, &oauth, &token)?;
    let says = answer.value().and_then(|body| body.get("error").and_then(Value::as_str).map(str::to_owned));
    ensure(answer.status == 400 && says.as_deref() == Some("invalid_grant"), || {
        format!("a revoked grant is answered {} {says:?}", answer.status)
    })
}

pub(super) const CASES: &[Case] = &[("oauth: code flow", code_flow), ("oauth: refresh", refreshing), ("oauth: revoked", revoked)];
