//! Signing in and out.

use std::sync::Arc;

use askama::Template;
use axum::extract::{Form, Query, Request, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Redirect, Response};
use serde::Deserialize;

use crate::web::auth::{AdminAuth, Login, Operator, cookie};
use crate::web::error::WebError;
use crate::web::{Web, html};

#[derive(Template)]
#[template(path = "login.html")]
struct Page<'a> {
    next: &'a str,
    trouble: Option<&'a str>,
}

/// Where to go after signing in.
#[derive(Deserialize)]
pub struct Asked {
    #[serde(default)]
    next: String,
}

/// The form.
#[derive(Deserialize)]
pub struct Given {
    password: String,
    #[serde(default)]
    next: String,
}

/// The form that leaves, or shows, something.
#[derive(Deserialize)]
pub struct Proof {
    /// The operator's form token.
    #[serde(default)]
    pub token: String,
}

/// Lets an operator through and everybody else to the login page.
pub async fn guard(State(web): State<Arc<Web>>, mut request: Request, next: Next) -> Response {
    let operator = match &web.given.admin {
        AdminAuth::Open if !from_this_machine(request.headers()) => {
            return WebError::new(
                StatusCode::FORBIDDEN,
                "not_local",
                "Without a password these pages are for this machine only: open them by its loopback address.",
            )
            .into_response();
        }
        AdminAuth::Open => Some(web.sessions.anybody()),
        AdminAuth::Closed => return closed().into_response(),
        AdminAuth::Password(_) => {
            let token = cookie(request.headers(), web.session_cookie());
            token.and_then(|token| web.sessions.operator(web.ctx().clock.now(), token))
        }
    };
    match operator {
        Some(operator) => {
            request.extensions_mut().insert(operator);
            next.run(request).await
        }
        None if request.method() == axum::http::Method::GET => {
            let here = request.uri().path_and_query().map_or("/", |p| p.as_str());
            let encoded: String = url::form_urlencoded::byte_serialize(here.as_bytes()).collect();
            Redirect::to(&format!("/login?next={encoded}")).into_response()
        }
        None => WebError::new(StatusCode::UNAUTHORIZED, "signed_out", "You are not signed in (any more).")
            .again(Some("/login".into()), "Sign in")
            .into_response(),
    }
}

fn closed() -> WebError {
    let told = "These pages are closed: there is no password for them. Set server.admin_password in the configuration, then restart.";
    WebError::new(StatusCode::FORBIDDEN, "closed", told)
}

/// A page of another site that was pointed at us by a name of its own must not read ours.
fn from_this_machine(headers: &HeaderMap) -> bool {
    let host = headers.get(header::HOST).and_then(|h| h.to_str().ok()).unwrap_or_default();
    let name = host.rsplit_once(':').filter(|(_, port)| port.bytes().all(|b| b.is_ascii_digit())).map_or(host, |(name, _)| name);
    matches!(name, "localhost" | "127.0.0.1" | "[::1]")
}

/// Whether a form came from a page of ours.
///
/// # Errors
/// When it did not.
pub fn proven(operator: &Operator, proof: &Proof) -> Result<(), WebError> {
    if leadshare_connectors::sdk::signature::same(operator.form_token.as_bytes(), proof.token.as_bytes()) {
        return Ok(());
    }
    Err(WebError::new(
        StatusCode::FORBIDDEN,
        "form_expired",
        "This form is from an older session, or not from a page of ours. Go back, load the page again and repeat it.",
    ))
}

/// `GET /login`
pub async fn page(State(web): State<Arc<Web>>, Query(asked): Query<Asked>) -> Response {
    match &web.given.admin {
        AdminAuth::Closed => closed().into_response(),
        _ => html(&Page { next: local(&asked.next), trouble: None }),
    }
}

/// `POST /login`
pub async fn login(State(web): State<Arc<Web>>, Form(given): Form<Given>) -> Result<Response, WebError> {
    let next = local(&given.next);
    let AdminAuth::Password(password) = &web.given.admin else { return Ok(Redirect::to(next).into_response()) };
    let trouble = match web.sessions.login(&web.ctx().clock, password, &given.password)? {
        Login::Session(token) => {
            tracing::info!("an operator signed in");
            let secure = if web.tls() { "; Secure" } else { "" };
            let cookie = format!("{}={token}; Path=/; Max-Age=43200; HttpOnly; SameSite=Strict{secure}", web.session_cookie());
            return Ok(with_cookie(Redirect::to(next).into_response(), &cookie));
        }
        Login::Wrong => (StatusCode::UNAUTHORIZED, "That is not the password."),
        Login::TooMany => (StatusCode::TOO_MANY_REQUESTS, "Too many wrong passwords. Wait a minute, then try again."),
    };
    tracing::warn!("a wrong password was given");
    let mut response = html(&Page { next, trouble: Some(trouble.1) });
    *response.status_mut() = trouble.0;
    Ok(response)
}

/// `POST /logout`
pub async fn logout(
    State(web): State<Arc<Web>>,
    axum::Extension(operator): axum::Extension<Operator>,
    headers: HeaderMap,
    Form(proof): Form<Proof>,
) -> Result<Response, WebError> {
    proven(&operator, &proof)?;
    if let Some(token) = cookie(&headers, web.session_cookie()) {
        web.sessions.logout(token);
    }
    let cookie =
        format!("{}=; Path=/; Max-Age=0; HttpOnly; SameSite=Strict{}", web.session_cookie(), if web.tls() { "; Secure" } else { "" });
    Ok(with_cookie(Redirect::to("/login").into_response(), &cookie))
}

fn with_cookie(mut response: Response, cookie: &str) -> Response {
    if let Ok(cookie) = HeaderValue::from_str(cookie) {
        response.headers_mut().append(header::SET_COOKIE, cookie);
    }
    response
}

/// A path of ours, and nothing that leads elsewhere.
fn local(next: &str) -> &str {
    let fine = next.starts_with('/') && !next.starts_with("//") && !next.contains(['\\', '\r', '\n']);
    if fine { next } else { "/" }
}

#[cfg(test)]
mod tests {
    use super::*;

    // Breaks when signing in can be made to lead to another site.
    #[test]
    fn signing_in_leads_to_our_own_pages_only() {
        assert_eq!(local("/leads?outcome=held"), "/leads?outcome=held");
        for elsewhere in ["//evil.example", "https://evil.example", "/\\evil.example", "javascript:alert(1)", "", "/a\r\nb"] {
            assert_eq!(local(elsewhere), "/", "{elsewhere}");
        }
    }

    // Breaks when a name that somebody pointed at this machine opens the pages.
    #[test]
    fn only_loopback_names_are_this_machine() {
        let from = |host: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(header::HOST, host.parse().expect("a host"));
            from_this_machine(&headers)
        };
        for host in ["localhost", "localhost:8080", "127.0.0.1:1", "[::1]:8080", "[::1]"] {
            assert!(from(host), "{host}");
        }
        for host in ["evil.example", "evil.example:8080", "127.0.0.1.evil.example", "localhost.evil.example:80", ""] {
            assert!(!from(host), "{host}");
        }
    }
}
