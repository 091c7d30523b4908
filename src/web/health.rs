//! For supervisors: alive, ready to work, and what was counted.

use std::sync::Arc;

use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};

use super::Web;
use super::error::WebError;
use crate::store::connections;

/// The process answers.
pub async fn alive() -> &'static str {
    "ok\n"
}

/// The store answers too, and the daemon is not on its way down.
pub async fn ready(State(web): State<Arc<Web>>) -> Response {
    if web.given.stopping.is_cancelled() {
        return WebError::new(StatusCode::SERVICE_UNAVAILABLE, "stopping", "The daemon finishes what it has begun, and stops.").json();
    }
    match connections::setting(&web.ctx().db, "key_check").await {
        Ok(_) => "ready\n".into_response(),
        Err(_) => WebError::new(StatusCode::SERVICE_UNAVAILABLE, "store", "The database does not answer.").json(),
    }
}

/// What was counted, for Prometheus. Nothing in it names a partner, a connection or a person.
pub async fn metrics(State(web): State<Arc<Web>>) -> Response {
    match &web.given.metrics {
        Some(page) => ([(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], page.render()).into_response(),
        None => WebError::not_found().json(),
    }
}
