//! Where webhooks arrive: the bytes as they came, handed on to be verified and kept.

use std::sync::Arc;

use axum::body::{Body, to_bytes};
use axum::extract::{Path, Request, State};
use axum::http::{HeaderMap, StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};
use leadshare_connectors::sdk::signature::{same, sha256};
use leadshare_connectors::sdk::{Method, RawRequest, Refused, Reply};
use secrecy::ExposeSecret;

use super::Web;
use super::error::WebError;
use crate::intake::webhook::{NotTaken, Where, accept};

/// Largest webhook that is read.
const MAX_BODY: usize = 1 << 20;
/// How long its body may take.
const BODY_WITHIN: std::time::Duration = std::time::Duration::from_secs(10);

/// `POST /hooks/{connector}`: the one address of an app.
pub async fn app(State(web): State<Arc<Web>>, Path(connector): Path<String>, request: Request) -> Response {
    take(&web, Where::App(connector), request).await
}

/// `POST /hooks/{connection}/{secret}`: one connection's own address. A wrong secret and an unknown
/// connection look the same.
pub async fn connection(State(web): State<Arc<Web>>, Path((connection, secret)): Path<(String, String)>, request: Request) -> Response {
    let given = sha256(&[secret.as_bytes()]);
    let known = web.ctx().lines.get(&connection).map(|line| line.webhook_secrets()).unwrap_or_default();
    let fits = known.iter().fold(false, |fits, secret| fits | same(&sha256(&[secret.expose_secret().as_bytes()]), &given));
    if !fits {
        return WebError::not_found().json();
    }
    take(&web, Where::Connection(connection), request).await
}

async fn take(web: &Web, to: Where, request: Request) -> Response {
    let (parts, body) = request.into_parts();
    // A network's time, not the clock's: nothing is decided by it.
    let raw = match tokio::time::timeout(BODY_WITHIN, raw(&web.ctx().public_url, &parts.uri, &parts.headers, body)).await {
        Ok(Ok(raw)) => raw,
        Ok(Err(response)) => return response,
        Err(_) => return WebError::new(StatusCode::REQUEST_TIMEOUT, "too_slow", "The body did not come within ten seconds.").json(),
    };
    // Not before the body is there: who sends it slowly keeps nobody out.
    let _place = web.taking.acquire().await;
    match accept(web.ctx(), &to, &raw).await {
        Ok(reply) => answer(&reply),
        // One address serves all accounts of an app: one that we do not know is dropped, or the
        // vendor would send it again and again.
        Err(NotTaken::Refused(Refused::WrongAccount)) if matches!(to, Where::App(_)) => answer(&Reply::ok()),
        Err(error) => {
            let (status, code) = match &error {
                NotTaken::Refused(Refused::Unsigned | Refused::Forged | Refused::Stale) => (StatusCode::UNAUTHORIZED, "webhook.refused"),
                NotTaken::Refused(Refused::WrongAccount) => (StatusCode::FORBIDDEN, "webhook.refused"),
                NotTaken::Refused(Refused::Unreadable) => (StatusCode::BAD_REQUEST, "webhook.unreadable"),
                NotTaken::Refused(Refused::NotSupported) | NotTaken::Nowhere => (StatusCode::NOT_FOUND, "not_found"),
                NotTaken::NotKept => (StatusCode::SERVICE_UNAVAILABLE, "webhook.not_kept"),
            };
            WebError::new(status, code, error.to_string()).json()
        }
    }
}

/// The bytes as they came, under the address that the vendor signed: ours as configured, not as a
/// proxy rewrote it.
async fn raw(public_url: &str, uri: &Uri, headers: &HeaderMap, body: Body) -> Result<RawRequest, Response> {
    let Ok(body) = to_bytes(body, MAX_BODY).await else {
        return Err(WebError::new(StatusCode::PAYLOAD_TOO_LARGE, "too_large", "The body is larger than 1 MiB, or broke off.").json());
    };
    let path = uri.path_and_query().map_or("/", |p| p.as_str());
    Ok(RawRequest {
        method: Method::Post,
        url: format!("{}{path}", public_url.trim_end_matches('/')),
        headers: headers.iter().map(|(n, v)| (n.as_str().to_owned(), String::from_utf8_lossy(v.as_bytes()).into_owned())).collect(),
        body: body.to_vec(),
    })
}

fn answer(reply: &Reply) -> Response {
    let status = StatusCode::from_u16(reply.status).unwrap_or(StatusCode::OK);
    let mut response = (status, reply.body.clone()).into_response();
    match reply.content_type.parse() {
        Ok(kind) if !reply.content_type.is_empty() => response.headers_mut().insert(header::CONTENT_TYPE, kind),
        _ => response.headers_mut().remove(header::CONTENT_TYPE),
    };
    response
}
