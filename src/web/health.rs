//! For supervisors: alive, and ready to work.

use std::sync::Arc;

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};

use super::Web;
use super::error::WebError;
use crate::store::connections;

/// The process answers.
pub async fn alive() -> &'static str {
    "ok\n"
}

/// The store answers too.
pub async fn ready(State(web): State<Arc<Web>>) -> Response {
    match connections::setting(&web.ctx().db, "key_check").await {
        Ok(_) => "ready\n".into_response(),
        Err(_) => WebError::new(StatusCode::SERVICE_UNAVAILABLE, "store", "The database does not answer.").json(),
    }
}
