//! The web: where webhooks arrive, partners connect, and an operator looks.
//!
//! Pages are plain HTML without any script; styles come from one file. A partner needs no account:
//! a link opens the one page that it is for.

pub mod auth;
pub mod connect;
mod error;
mod headers;
mod health;
mod hooks;
mod pages;
mod show;
#[cfg(test)]
mod tests;

use std::net::SocketAddr;
use std::sync::Arc;

use axum::Router;
use axum::http::header;
use axum::middleware::from_fn_with_state;
use axum::response::{Html, IntoResponse, Response};
use axum::routing::{get, post};
use tokio_util::sync::CancellationToken;

use crate::context::Context;
use crate::errors::{Error, Result};
use crate::metrics;
use auth::{AdminAuth, Sessions};
use connect::Summarise;
use error::WebError;

/// What the web needs from the daemon.
pub struct WebState {
    /// Store, clock, keys, lines.
    pub ctx: Arc<Context>,
    /// The address that is listened on.
    pub listen: SocketAddr,
    /// How operators prove themselves.
    pub admin: AdminAuth,
    /// What a connect page says will be read and written.
    pub summary: Summarise,
    /// The page that Prometheus reads, where the process counts.
    pub metrics: Option<metrics::Page>,
    /// Cancelled when the daemon goes down: it is then alive, and not ready.
    pub stopping: CancellationToken,
}

/// The state that handlers share.
struct Web {
    given: WebState,
    sessions: Sessions,
    /// Webhooks that are worked on at the same time: however many come, what they hint at is held for so many, and what was answered is
    /// on the disk.
    taking: tokio::sync::Semaphore,
}

/// Webhooks at a time.
const TAKING: usize = 256;

impl Web {
    fn ctx(&self) -> &Context {
        &self.given.ctx
    }

    /// Whether browsers reach us by TLS, so that cookies may insist on it.
    fn tls(&self) -> bool {
        self.ctx().public_url.starts_with("https://")
    }

    /// Whether operators sign in at all.
    fn has_password(&self) -> bool {
        matches!(self.given.admin, AdminAuth::Password(_))
    }

    /// With TLS the name makes browsers refuse the cookie from any other host or path.
    fn session_cookie(&self) -> &'static str {
        if self.tls() { "__Host-ls_session" } else { "ls_session" }
    }
}

/// Every address that we answer.
///
/// # Errors
/// [`Error::BadRequest`] when pages would be open to others than this machine;
/// [`Error::System`] when there is no randomness.
pub fn router(state: WebState) -> Result<Router> {
    if matches!(state.admin, AdminAuth::Open) && !state.listen.ip().is_loopback() {
        return Err(Error::BadRequest(format!(
            "pages without a password may only listen on this machine, not on {}: set server.admin_password",
            state.listen
        )));
    }
    let sessions = Sessions::new(&state.ctx.clock)?;
    let web = Arc::new(Web { given: state, sessions, taking: tokio::sync::Semaphore::new(TAKING) });
    let operator = Router::new()
        .route("/", get(pages::overview::page))
        .route("/leads", get(pages::leads::leads))
        .route("/leads/{id}", get(pages::lead::masked).post(pages::lead::clear))
        .route("/changes", get(pages::leads::changes))
        .route("/connections", get(pages::connections::page))
        .route("/logout", post(pages::login::logout))
        .route_layer(from_fn_with_state(web.clone(), pages::login::guard));
    let router = Router::new()
        .route("/hooks/{connector}", post(hooks::app))
        .route("/hooks/{connection}/{secret}", post(hooks::connection))
        .route("/connect/{token}", get(connect::page).post(connect::leave))
        .route("/connected/{receipt}", get(connect::result))
        .route("/oauth/callback", get(connect::callback))
        .route("/healthz", get(health::alive))
        .route("/readyz", get(health::ready))
        .route("/metrics", get(health::metrics))
        .route("/login", get(pages::login::page).post(pages::login::login))
        .merge(operator)
        .route("/assets/app.css", get(style))
        .route("/assets/icon.svg", get(icon))
        .fallback(error::not_found)
        .layer(from_fn_with_state(web.clone(), headers::secure));
    Ok(router.with_state(web))
}

async fn style() -> Response {
    asset("text/css; charset=utf-8", include_str!("../../assets/app.css"))
}

async fn icon() -> Response {
    asset("image/svg+xml", include_str!("../../assets/icon.svg"))
}

fn asset(kind: &'static str, body: &'static str) -> Response {
    ([(header::CONTENT_TYPE, kind), (header::CACHE_CONTROL, "public, max-age=300")], body).into_response()
}

/// A page, rendered.
fn html(page: &impl askama::Template) -> Response {
    match page.render() {
        Ok(text) => Html(text).into_response(),
        Err(_) => WebError::from(Error::System("a page could not be written".into())).into_response(),
    }
}
