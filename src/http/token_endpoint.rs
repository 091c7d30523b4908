//! Exchanging codes and refresh tokens at a vendor's token endpoint, by the `oauth2` crate over our own transport.

use std::collections::BTreeMap;

use futures_util::future::BoxFuture;
use leadshare_connectors::sdk::{Method, Request};
use oauth2::basic::{BasicErrorResponse, BasicRevocationErrorResponse, BasicTokenIntrospectionResponse, BasicTokenType};
use oauth2::{
    AuthType, AuthorizationCode, ClientId, ClientSecret, EndpointNotSet, EndpointSet, ExtraTokenFields, HttpRequest, HttpResponse,
    PkceCodeVerifier, RedirectUrl, RefreshToken, RequestTokenError, StandardRevocableToken, StandardTokenResponse, TokenResponse, TokenUrl,
};
use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::egress::Egress;
use super::{NoAnswer, TIMEOUT, Transport};
use crate::clock::Millis;

/// Fields of a token answer beyond the standard, such as `instance_url` or `hub_id`.
#[derive(Clone, Debug, Deserialize, Serialize)]
struct Extra {
    #[serde(flatten)]
    all: BTreeMap<String, Value>,
}
impl ExtraTokenFields for Extra {}

type Answer = StandardTokenResponse<Extra, BasicTokenType>;
type Client = oauth2::Client<
    BasicErrorResponse,
    Answer,
    BasicTokenIntrospectionResponse,
    StandardRevocableToken,
    BasicRevocationErrorResponse,
    EndpointNotSet,
    EndpointNotSet,
    EndpointNotSet,
    EndpointNotSet,
    EndpointSet,
>;

/// The app that the operator registered at the vendor.
#[derive(Clone, Debug)]
pub struct App {
    /// OAuth client id.
    pub client_id: String,
    /// OAuth client secret.
    pub client_secret: SecretString,
    /// Where the vendor sends the browser back.
    pub redirect_uri: String,
    /// Where the browser is sent to ask for access, full address.
    pub authorize_url: String,
    /// Where tokens are exchanged, full address.
    pub token_url: String,
}

impl PartialEq for App {
    fn eq(&self, other: &Self) -> bool {
        self.client_id == other.client_id
            && self.client_secret.expose_secret() == other.client_secret.expose_secret()
            && self.redirect_uri == other.redirect_uri
            && self.authorize_url == other.authorize_url
            && self.token_url == other.token_url
    }
}

/// What is exchanged for tokens.
pub enum Grant<'a> {
    /// A code from the browser, with the PKCE verifier that belongs to it.
    Code(&'a str, Option<&'a str>),
    /// A refresh token.
    Refresh(&'a SecretString),
}

/// Tokens as a vendor gave them.
pub struct Tokens {
    /// The access token.
    pub access: SecretString,
    /// A refresh token, when one came.
    pub refresh: Option<SecretString>,
    /// Lifetime of the access token, when the vendor says.
    pub expires_in: Option<Millis>,
    /// Scopes, when the vendor says.
    pub scopes: Vec<String>,
    /// Fields beyond the standard.
    pub extra: Map<String, Value>,
}

/// Why no tokens came.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TokenError {
    /// The vendor refuses the grant for good: `invalid_grant`, and nothing else.
    #[error("the vendor refuses the grant: {0}")]
    Refused(String),
    /// The vendor refuses our app (`invalid_client`, `unauthorized_client`), or its addresses make no sense. The grant is as good
    /// as before.
    #[error("the vendor refuses the app: {0}")]
    App(String),
    /// The vendor gave nothing, and says so, or was not reached. The grant is as good as before.
    #[error("the token endpoint gives nothing now: {0}")]
    NotNow(String),
    /// No answer, or none that can be read: the vendor may have ended the refresh token and sent another.
    #[error("the token endpoint did not answer properly: {0}")]
    Unknown(String),
}

/// Exchanges a grant for tokens.
///
/// # Errors
/// [`TokenError`].
pub async fn exchange(transport: &Transport, egress: &Egress, app: &App, grant: Grant<'_>) -> Result<Tokens, TokenError> {
    let config = |what: &str| TokenError::App(format!("the {what} address of this connection is not a valid URL"));
    let client: Client = oauth2::Client::new(ClientId::new(app.client_id.clone()))
        .set_client_secret(ClientSecret::new(app.client_secret.expose_secret().to_owned()))
        .set_auth_type(AuthType::RequestBody)
        .set_token_uri(TokenUrl::new(app.token_url.clone()).map_err(|_| config("token"))?)
        .set_redirect_uri(RedirectUrl::new(app.redirect_uri.clone()).map_err(|_| config("redirect"))?);
    let http = Over { transport, egress };
    let answer = match grant {
        Grant::Code(code, verifier) => {
            let mut request = client.exchange_code(AuthorizationCode::new(code.to_owned()));
            if let Some(verifier) = verifier {
                request = request.set_pkce_verifier(PkceCodeVerifier::new(verifier.to_owned()));
            }
            request.request_async(&http).await
        }
        Grant::Refresh(token) => {
            client.exchange_refresh_token(&RefreshToken::new(token.expose_secret().to_owned())).request_async(&http).await
        }
    };
    let answer: Answer = answer.map_err(|error| match error {
        // The code alone: descriptions are free text and may name people.
        RequestTokenError::ServerResponse(body) => by_code(body.error().to_string().chars().take(60).collect()),
        RequestTokenError::Request(Trouble::Address) => TokenError::App("the token address of this connection is not a valid URL".into()),
        RequestTokenError::Request(trouble @ (Trouble::NotSent | Trouble::Throttled)) => TokenError::NotNow(trouble.to_string()),
        RequestTokenError::Request(trouble) => TokenError::Unknown(trouble.to_string()),
        RequestTokenError::Parse(..) => TokenError::Unknown("the answer is not of the standard's form".into()),
        RequestTokenError::Other(_) => TokenError::Unknown("the answer could not be read".into()),
    })?;
    Ok(Tokens {
        access: SecretString::from(answer.access_token().secret().clone()),
        refresh: answer.refresh_token().map(|t| SecretString::from(t.secret().clone())),
        expires_in: answer.expires_in().map(|d| d.as_millis() as Millis),
        scopes: answer
            .scopes()
            .map(|scopes| scopes.iter().map(|s| s.to_string()).collect())
            .or_else(|| {
                let listed = answer.extra_fields().all.get("scopes")?.as_array()?;
                Some(listed.iter().filter_map(|s| s.as_str().map(str::to_owned)).collect())
            })
            .unwrap_or_default(),
        extra: answer.extra_fields().all.clone().into_iter().collect(),
    })
}

/// What an error code of the standard's form means. Vendors have codes of their own, and answer the standard's in a bad hour: only
/// those that cannot mean anything else are final.
fn by_code(code: String) -> TokenError {
    match code.as_str() {
        "invalid_grant" => TokenError::Refused(code),
        "invalid_client" | "unauthorized_client" => TokenError::App(code),
        _ => TokenError::NotNow(code),
    }
}

#[derive(Debug, thiserror::Error)]
enum Trouble {
    #[error("the address is refused")]
    Address,
    #[error("the endpoint could not be reached")]
    NotSent,
    #[error("no answer")]
    NoAnswer,
    #[error("the endpoint answered 429")]
    Throttled,
    #[error("the endpoint answered {0}")]
    Status(u16),
}

/// The `oauth2` crate's way to our transport; not a closure, so that the future can move between threads.
struct Over<'a> {
    transport: &'a Transport,
    egress: &'a Egress,
}

impl<'c> oauth2::AsyncHttpClient<'c> for Over<'_> {
    type Error = Trouble;
    type Future = BoxFuture<'c, Result<HttpResponse, Trouble>>;

    fn call(&'c self, request: HttpRequest) -> Self::Future {
        Box::pin(over(self.transport, self.egress, request))
    }
}

async fn over(transport: &Transport, egress: &Egress, request: HttpRequest) -> Result<HttpResponse, Trouble> {
    let (parts, body) = request.into_parts();
    let url = url::Url::parse(&parts.uri.to_string()).map_err(|_| Trouble::Address)?;
    let mut ours = Request::new(Method::Post, url.to_string());
    ours.headers = parts.headers.iter().map(|(n, v)| (n.as_str().to_owned(), String::from_utf8_lossy(v.as_bytes()).into_owned())).collect();
    ours.body = body;
    let answer = transport.send(egress, &url, &ours, None, TIMEOUT).await.map_err(|why| match why {
        NoAnswer::NotSent => Trouble::NotSent,
        NoAnswer::Unknown => Trouble::NoAnswer,
    })?;
    match answer.status {
        429 => return Err(Trouble::Throttled),
        // A gateway's error page is passing trouble, and says nothing of what the vendor behind it did.
        500.. => return Err(Trouble::Status(answer.status)),
        _ => {}
    }
    let mut response = HttpResponse::new(answer.body);
    *response.status_mut() = oauth2::http::StatusCode::from_u16(answer.status).map_err(|_| Trouble::Status(answer.status))?;
    if let Some(kind) = answer.headers.iter().find(|(n, _)| n == "content-type").and_then(|(_, v)| v.parse().ok()) {
        response.headers_mut().insert("content-type", kind);
    }
    Ok(response)
}

#[cfg(test)]
mod tests {
    use super::*;

    // Breaks when a code that may pass, or that only one vendor knows, ends a connection.
    #[test]
    fn few_codes_are_final() {
        assert!(matches!(by_code("invalid_grant".into()), TokenError::Refused(_)));
        for code in ["invalid_client", "unauthorized_client"] {
            assert!(matches!(by_code(code.into()), TokenError::App(_)), "{code}");
        }
        for code in ["temporarily_unavailable", "server_error", "slow_down", "invalid_request", "inactive_org", "unknown_error", ""] {
            assert!(matches!(by_code(code.into()), TokenError::NotNow(_)), "{code}");
        }
    }
}
