//! The pages that lead a partner through connecting: what is asked for, to the vendor and back, and
//! what the check found.

use std::sync::Arc;

use askama::Template;
use axum::extract::{Path, Query, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Redirect, Response};
use futures_util::future::BoxFuture;
use leadshare_connectors::sdk::Finding;
use leadshare_connectors::sdk::manifest::Auth;
use leadshare_connectors::sdk::signature::same;
use serde::Deserialize;

use super::auth::cookie;
use super::error::WebError;
use super::{Web, headers, html};
use crate::context::Context;
use crate::errors::{Error, Result};
use crate::oauth::authorize;
use crate::oauth::check::{self, Needs};
use crate::store::connections;

/// Holds state and link token between leaving and coming back, so that the browser that left is the
/// one that returns.
const COOKIE: &str = "ls_connect";

/// What a connect page says, in plain words.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConnectSummary {
    /// The partner, as people call it.
    pub partner: String,
    /// The vendor, as people call it.
    pub vendor: String,
    /// What is read, by the labels of the lead's fields.
    pub reads: Vec<String>,
    /// What is written, in plain words.
    pub writes: Vec<String>,
    /// Which records may be read at all.
    pub selection: String,
    /// From when on, and what that means.
    pub share_from: String,
    /// Whom to ask: a name and an address.
    pub contact: String,
    /// What the check looks at afterwards.
    pub needs: Vec<Needs>,
}

/// Says what a connection will read and write, by its name.
pub type Summarise = Arc<dyn Fn(Arc<Context>, String) -> BoxFuture<'static, Result<ConnectSummary>> + Send + Sync>;

#[derive(Template)]
#[template(path = "connect.html")]
struct Page<'a> {
    summary: &'a ConnectSummary,
    /// Where a key is made, for vendors without an authorization page.
    key_steps: Option<&'a str>,
    again: bool,
}

#[derive(Template)]
#[template(path = "connected.html")]
struct ResultPage<'a> {
    summary: &'a ConnectSummary,
    findings: &'a [Finding],
    trouble: Option<&'a str>,
    mended: bool,
}

/// `GET /connect/{token}`: what will be read and written, and a button.
pub(super) async fn page(State(web): State<Arc<Web>>, Path(token): Path<String>) -> Result<Response, WebError> {
    let name = authorize::link(web.ctx(), &token).await?.ok_or_else(|| {
        WebError::new(StatusCode::NOT_FOUND, "link_ended", "This link has been used or has run out. Ask whoever sent it for a new one.")
    })?;
    let line = web.ctx().lines.get(&name).ok_or_else(WebError::not_found)?;
    let summary = (web.given.summary)(web.given.ctx.clone(), name.clone()).await?;
    let stored = connections::one(&web.ctx().db, &name).await?;
    let key_steps = match &line.manifest().auth {
        Auth::Key { how, .. } => Some(how.as_str()),
        Auth::Oauth2(_) => None,
    };
    let again = stored.is_some_and(|c| c.share_from.is_some());
    let mut response = html(&Page { summary: &summary, key_steps, again });
    // Browsers hold the policy against the redirect that answers the form too, and vendors redirect
    // on to regional hosts: the vendor's origin and https must be allowed there.
    let vendor = line.app().and_then(|app| url::Url::parse(&app.authorize_url).ok()).map(|url| url.origin().ascii_serialization());
    let policy = headers::POLICY.replace("form-action 'self'", &format!("form-action 'self' https: {}", vendor.unwrap_or_default()));
    if let Ok(policy) = HeaderValue::from_str(&policy) {
        response.headers_mut().insert(header::CONTENT_SECURITY_POLICY, policy);
    }
    Ok(response)
}

/// `POST /connect/{token}`: off to the vendor. The token in the address is a secret that no other
/// site knows, so no other site can send this form.
pub(super) async fn leave(State(web): State<Arc<Web>>, Path(token): Path<String>) -> Result<Response, WebError> {
    let started = authorize::start(web.ctx(), &token).await?;
    let value = format!("{}.{token}", started.state);
    Ok(with_cookie(Redirect::to(&started.url).into_response(), &web, &value, 15 * 60))
}

/// What a vendor sends the browser back with.
#[derive(Deserialize)]
pub(super) struct Returned {
    state: Option<String>,
    code: Option<String>,
    error: Option<String>,
    error_description: Option<String>,
}

/// `GET /oauth/callback`: back from the vendor.
pub(super) async fn callback(
    State(web): State<Arc<Web>>,
    Query(returned): Query<Returned>,
    headers: HeaderMap,
) -> Result<Response, WebError> {
    let (left_with, token) = cookie(&headers, COOKIE).and_then(|v| v.split_once('.')).unzip();
    let link = token.map(|token| format!("/connect/{token}"));
    // Some vendors leave the state out of an error; an error gives nothing away.
    let state = match (&returned.state, &returned.error, left_with) {
        (Some(state), ..) => state,
        (None, Some(_), Some(left)) => left,
        _ => "",
    };
    if !left_with.is_some_and(|left| same(left.as_bytes(), state.as_bytes())) {
        let message = "The answer belongs to another browser, or to a step that was started anew since. Nothing was connected. \
                       Open the link that you were sent and start again, in one browser.";
        return Err(WebError::new(StatusCode::BAD_REQUEST, "other_browser", message).again(link, "Start again"));
    }
    if let Some(error) = &returned.error {
        let description = returned.error_description.as_deref().unwrap_or_default();
        let denied = authorize::refused(web.ctx(), state, error, description).await;
        let denied = denied.map_err(|error| WebError::from(error).again(link.clone(), "Start again"))?;
        let shown = WebError { steps: denied.steps, ..WebError::new(StatusCode::CONFLICT, denied.code, denied.what) };
        return Err(shown.again(link, "Try again"));
    }
    let connected = authorize::finish(web.ctx(), state, returned.code.as_deref().unwrap_or_default()).await;
    let connected = connected.map_err(|error| WebError::from(error).again(link, "Start again"))?;
    let response = Redirect::to(&format!("/connected/{}", connected.receipt)).into_response();
    Ok(with_cookie(response, &web, "", 0))
}

/// `GET /connected/{receipt}`: connected, and what the check found; opening it again checks again.
pub(super) async fn result(State(web): State<Arc<Web>>, Path(receipt): Path<String>) -> Result<Response, WebError> {
    let name = authorize::receipt(web.ctx(), &receipt).await?.ok_or_else(WebError::not_found)?;
    let summary = (web.given.summary)(web.given.ctx.clone(), name.clone()).await?;
    // On its own: a browser that goes away must not break off a token's renewal in the middle.
    let (ctx, needs) = (web.given.ctx.clone(), summary.needs.clone());
    let checked = tokio::spawn(async move { check::check_all(&ctx, &name, &needs).await }).await;
    let (findings, trouble) = match checked.map_err(|_| Error::System("the check broke off: open the page again".into())).flatten() {
        Ok(findings) => (findings, None),
        Err(error) => (Vec::new(), Some(WebError::from(error).message)),
    };
    let mended = trouble.is_none() && findings.iter().all(|finding| finding.ok);
    Ok(html(&ResultPage { summary: &summary, findings: &findings, trouble: trouble.as_deref(), mended }))
}

/// The vendor's redirect comes from another site, so the cookie is `Lax`; only the callback sees it.
fn with_cookie(mut response: Response, web: &Web, value: &str, seconds: u32) -> Response {
    let secure = if web.tls() { "; Secure" } else { "" };
    let cookie = format!("{COOKIE}={value}; Path=/oauth/callback; Max-Age={seconds}; HttpOnly; SameSite=Lax{secure}");
    if let Ok(cookie) = HeaderValue::from_str(&cookie) {
        response.headers_mut().append(header::SET_COOKIE, cookie);
    }
    response
}
