//! One envelope for errors in JSON, one page for errors to people.

use askama::Template;
use axum::Json;
use axum::extract::Request;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde_json::json;

use super::html;
use super::show::{self, Marked};
use crate::errors::Error;

/// An error on its way to a browser or a machine. As a response it is a page.
#[derive(Debug)]
pub struct WebError {
    /// The status.
    pub status: StatusCode,
    /// Stable code.
    pub code: String,
    /// What happened and what to do; no secret, no person's data.
    pub message: String,
    /// Clicks that mend it, in order.
    pub steps: Vec<String>,
    /// Where to go on.
    pub again: Option<(String, &'static str)>,
}

#[derive(Template)]
#[template(path = "error.html")]
struct Page<'a> {
    title: &'a str,
    error: &'a WebError,
}

impl WebError {
    /// An error without steps.
    pub fn new(status: StatusCode, code: impl Into<String>, message: impl Into<String>) -> Self {
        Self { status, code: code.into(), message: message.into(), steps: Vec::new(), again: None }
    }

    /// There is nothing under this address.
    pub fn not_found() -> Self {
        Self::new(StatusCode::NOT_FOUND, "not_found", "There is nothing under this address.")
    }

    /// The same, with somewhere to go on.
    #[must_use]
    pub fn again(mut self, href: Option<String>, label: &'static str) -> Self {
        self.again = href.map(|href| (href, label));
        self
    }

    /// For machines.
    pub fn json(&self) -> Response {
        (self.status, Json(json!({ "error": { "code": self.code, "message": self.message } }))).into_response()
    }
}

impl From<Error> for WebError {
    fn from(error: Error) -> Self {
        let (status, code, message) = match error {
            Error::NotFound(message) => (StatusCode::NOT_FOUND, "not_found".into(), sentence(&message)),
            Error::BadRequest(message) => (StatusCode::BAD_REQUEST, "bad_request".into(), sentence(&message)),
            Error::NeedsPerson { code, message } => (StatusCode::CONFLICT, code, sentence(&message)),
            Error::Passing { code, message } => (StatusCode::SERVICE_UNAVAILABLE, code, sentence(&message)),
            // The rest is for the log: a browser learns only that it failed.
            other => {
                tracing::error!(error = %other, "a request failed");
                let message = "Something on our side failed. It has been noted; please try again in a minute.".into();
                let status =
                    if matches!(other, Error::Store(_)) { StatusCode::SERVICE_UNAVAILABLE } else { StatusCode::INTERNAL_SERVER_ERROR };
                (status, "failed".into(), message)
            }
        };
        Self::new(status, code, message)
    }
}

impl IntoResponse for WebError {
    fn into_response(self) -> Response {
        let title = match self.status {
            StatusCode::NOT_FOUND => "Not found",
            StatusCode::SERVICE_UNAVAILABLE => "Not possible right now",
            StatusCode::INTERNAL_SERVER_ERROR => "Something failed",
            StatusCode::FORBIDDEN => "Not allowed",
            StatusCode::TOO_MANY_REQUESTS => "Too many tries",
            _ => "That did not work",
        };
        let mut response = html(&Page { title, error: &self });
        *response.status_mut() = self.status;
        response
    }
}

/// An error text as a sentence.
fn sentence(text: &str) -> String {
    let end = if text.ends_with(['.', '!', '?']) { "" } else { "." };
    format!("{}{end}", show::sentence(text))
}

/// Whatever has no route.
pub async fn not_found(request: Request) -> Response {
    let asks_json = request.headers().get(header::ACCEPT).and_then(|v| v.to_str().ok()).is_some_and(|v| v.contains("json"));
    let error = WebError::not_found();
    if asks_json || request.uri().path().starts_with("/hooks/") { error.json() } else { error.into_response() }
}
