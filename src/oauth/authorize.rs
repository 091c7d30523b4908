//! Connect links, and the authorization-code flow with PKCE and state.
//!
//! A link is a secret in an address: whoever holds it may connect that one connection, once. Links,
//! states and receipts are stored as hashes only; each is 32 random bytes, so the hash needs no key.

use std::collections::BTreeSet;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use leadshare_connectors::sdk::manifest::{Auth, Oauth2};
use leadshare_connectors::sdk::signature::sha256;
use oauth2::basic::BasicClient;
use oauth2::{AuthUrl, ClientId, CsrfToken, PkceCodeChallenge, PkceCodeVerifier, RedirectUrl, Scope};

use super::denied::{self, Denied};
use crate::clock::{DAY, MINUTE, Millis};
use crate::context::Context;
use crate::errors::{Error, Result};
use crate::http::line::Line;
use crate::mapping::Mapping;
use crate::store::connections;
use crate::vault::Aad;

/// How long a browser may stay at the vendor.
const STATE_TTL: Millis = 15 * MINUTE;
/// How long the page that shows what the check found can be opened again.
const RECEIPT_TTL: Millis = DAY;

/// A browser about to leave for the vendor.
#[derive(Debug)]
pub struct Started {
    /// Where to.
    pub url: String,
    /// Comes back with the browser; the browser that leaves must be the one that returns.
    pub state: String,
}

/// A partner has just connected.
#[derive(Debug)]
pub struct Connected {
    /// The connection's name.
    pub connection: String,
    /// Opens the result page for a day; it cannot connect anything.
    pub receipt: String,
}

/// Where a vendor's browser and token endpoints are for one account: the operator's address wins,
/// `{version}` is replaced, and a path is joined to the base URL.
///
/// # Errors
/// [`Error::BadRequest`] when an address is not a full URL in the end.
pub fn endpoints(
    oauth: &Oauth2,
    api_version: &str,
    base_url: Option<&str>,
    authorize_override: Option<&str>,
    token_override: Option<&str>,
) -> Result<(String, String)> {
    let full = |what: &str, overridden: Option<&str>, declared: &str| {
        let address = overridden.unwrap_or(declared).replace("{version}", api_version);
        let address = match (address.starts_with('/'), base_url) {
            (true, Some(base)) => format!("{}{address}", base.trim_end_matches('/')),
            _ => address,
        };
        match url::Url::parse(&address) {
            Ok(url) if matches!(url.scheme(), "http" | "https") => Ok(address),
            _ => Err(Error::BadRequest(format!("{what} is not a full address: set {what}, or base_url, for this connection"))),
        }
    };
    Ok((full("authorize_url", authorize_override, &oauth.authorize_url)?, full("token_url", token_override, &oauth.token_url)?))
}

/// Makes the link that an operator sends to a partner, good for `ttl`.
///
/// # Errors
/// [`Error::NotFound`] for a connection that is not configured; the store's.
pub async fn make_link(ctx: &Context, connection: &str, ttl: Millis) -> Result<String> {
    line(ctx, connection)?;
    let token = secret(ctx)?;
    connections::add_link(&ctx.db, &hash("link", &token), connection, ctx.clock.now() + ttl).await?;
    Ok(format!("{}/connect/{token}", ctx.public_url.trim_end_matches('/')))
}

/// The connection that a link is for, while it is good.
pub async fn link(ctx: &Context, link_token: &str) -> Result<Option<String>> {
    connections::link(&ctx.db, &hash("link", link_token), ctx.clock.now()).await
}

/// The connection that a result page is about, while its receipt is good.
pub async fn receipt(ctx: &Context, receipt: &str) -> Result<Option<String>> {
    connections::link(&ctx.db, &hash("receipt", receipt), ctx.clock.now()).await
}

/// Prepares to send a browser to the vendor.
///
/// # Errors
/// [`Error::NotFound`] when the link is not good (any more); [`Error::NeedsPerson`] when the
/// connection lacks its app; [`Error::BadRequest`] when the vendor knows no such flow.
pub async fn start(ctx: &Context, link_token: &str) -> Result<Started> {
    let link_hash = hash("link", link_token);
    let connection = connections::link(&ctx.db, &link_hash, ctx.clock.now()).await?.ok_or_else(link_ended)?;
    let line = line(ctx, &connection)?;
    let Auth::Oauth2(oauth) = &line.manifest().auth else {
        return Err(Error::BadRequest(format!("{} is connected with a key, not through a page of the vendor", line.manifest().title)));
    };
    let app = line.app().ok_or_else(|| Error::NeedsPerson {
        code: "connection.no_app".into(),
        message: format!("set connections.{connection}.client_id and client_secret"),
    })?;
    let bad = |what: &str| Error::BadRequest(format!("{what} of connection {connection} is not a URL: mend it in the configuration"));
    let client = BasicClient::new(ClientId::new(app.client_id.clone()))
        .set_auth_uri(AuthUrl::new(app.authorize_url.clone()).map_err(|_| bad("authorize_url"))?)
        .set_redirect_uri(RedirectUrl::new(app.redirect_uri.clone()).map_err(|_| bad("public_url"))?);
    let (state, verifier) = (secret(ctx)?, PkceCodeVerifier::new(secret(ctx)?));
    let mut request =
        client.authorize_url(|| CsrfToken::new(state.clone())).add_scopes(oauth.scopes.iter().map(|scope| Scope::new(scope.clone())));
    let fields: BTreeSet<String> = ctx.rules().of(&connection).iter().flat_map(Mapping::read_fields).collect();
    let read = |field: &String| line.role().shares() && fields.contains(field);
    let needed = oauth.field_scopes.iter().filter(|(field, _)| read(field)).flat_map(|(_, scopes)| scopes);
    let optional: Vec<&str> = oauth.optional_scopes.iter().chain(needed).map(String::as_str).collect();
    if !optional.is_empty() {
        request = request.add_extra_param("optional_scope", optional.join(" "));
    }
    if oauth.pkce {
        request = request.set_pkce_challenge(PkceCodeChallenge::from_code_verifier_sha256(&verifier));
    }
    let (url, _) = request.url();
    let state_hash = hash("state", &state);
    let sealed = ctx.vault.keys.seal(&ctx.clock, Aad::new("oauth_states", &state_hash, "verifier"), verifier.secret().as_bytes())?;
    connections::add_oauth_state(&ctx.db, &state_hash, &connection, &link_hash, &sealed, ctx.clock.now() + STATE_TTL).await?;
    Ok(Started { url: url.to_string(), state })
}

/// The browser is back with a code: exchange it, keep the tokens, end the link.
///
/// # Errors
/// [`Error::NotFound`] when the state is unknown, used or too old, or the link ended meanwhile;
/// [`Error::NeedsPerson`] when the vendor refuses the code or another account was chosen;
/// [`Error::Passing`] when trying again helps. The link stays good after each of these.
pub async fn finish(ctx: &Context, state: &str, code: &str) -> Result<Connected> {
    let state_hash = hash("state", state);
    let now = ctx.clock.now();
    let (connection, link_hash, sealed) = connections::take_oauth_state(&ctx.db, &state_hash, now).await?.ok_or_else(state_ended)?;
    if connections::link(&ctx.db, &link_hash, now).await?.as_deref() != Some(&connection) {
        return Err(link_ended());
    }
    let line = line(ctx, &connection)?;
    let verifier = ctx.vault.keys.open(Aad::new("oauth_states", &state_hash, "verifier"), &sealed)?;
    let verifier = std::str::from_utf8(&verifier).map_err(|_| Error::Unreadable { what: "a PKCE verifier".into() })?;
    let pkce = matches!(&line.manifest().auth, Auth::Oauth2(oauth) if oauth.pkce);
    line.connect(&ctx.transport, &ctx.clock, code, pkce.then_some(verifier)).await?;
    tracing::info!(connection, "connected");
    let receipt = secret(ctx)?;
    connections::add_link(&ctx.db, &hash("receipt", &receipt), &connection, ctx.clock.now() + RECEIPT_TTL).await?;
    connections::drop_link(&ctx.db, &link_hash, ctx.clock.now()).await?;
    Ok(Connected { connection, receipt })
}

/// The browser is back with an error instead of a code: what it means, and what to click. The
/// vendor's own text only helps to recognise the case and is never shown: anybody can write it into
/// an address.
///
/// # Errors
/// [`Error::NotFound`] when the state is unknown, used or too old.
pub async fn refused(ctx: &Context, state: &str, error: &str, description: &str) -> Result<Denied> {
    let taken = connections::take_oauth_state(&ctx.db, &hash("state", state), ctx.clock.now()).await?;
    let (connection, ..) = taken.ok_or_else(state_ended)?;
    let line = line(ctx, &connection)?;
    let denied = denied::explain(&line.manifest().title, error, description);
    tracing::warn!(connection, code = denied.code, "the vendor's page answered an error");
    Ok(denied)
}

fn line<'a>(ctx: &'a Context, connection: &str) -> Result<&'a Line> {
    ctx.lines.get(connection).map(|line| &**line).ok_or_else(|| Error::NotFound(format!("no connection {connection:?} is configured")))
}

fn secret(ctx: &Context) -> Result<String> {
    let bytes: [u8; 32] = ctx.clock.secret().map_err(|_| Error::System("the operating system has no randomness to give".into()))?;
    Ok(URL_SAFE_NO_PAD.encode(bytes))
}

/// Kinds do not meet: a receipt is no link.
fn hash(kind: &str, token: &str) -> String {
    hex::encode(sha256(&[b"leadshare ", kind.as_bytes(), b" v1 ", token.as_bytes()]))
}

fn link_ended() -> Error {
    Error::NotFound("this link has been used or has run out: ask whoever sent it for a new one".into())
}

fn state_ended() -> Error {
    Error::NotFound("this step was already done, or took longer than 15 minutes: open the link again and start over".into())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn oauth(authorize: &str, token: &str) -> Oauth2 {
        Oauth2 {
            authorize_url: authorize.into(),
            token_url: token.into(),
            revoke_url: None,
            scopes: vec![],
            optional_scopes: vec![],
            field_scopes: std::collections::BTreeMap::new(),
            pkce: true,
            rotates: false,
            assumed_lifetime_ms: None,
            keep_alive_ms: None,
        }
    }

    // Breaks when a version, a relative path or the operator's own address is not honoured.
    #[test]
    fn endpoints_are_put_together_from_manifest_and_overrides() {
        let declared = oauth("https://app.vendor.example/oauth/authorize", "/oauth/{version}/token");
        let (authorize, token) = endpoints(&declared, "2026-09", Some("https://api.vendor.example/"), None, None).expect("both");
        assert_eq!(authorize, "https://app.vendor.example/oauth/authorize");
        assert_eq!(token, "https://api.vendor.example/oauth/2026-09/token");
        let (authorize, token) =
            endpoints(&declared, "1", None, Some("http://127.0.0.1:9/a"), Some("http://127.0.0.1:9/t")).expect("overrides");
        assert_eq!((authorize.as_str(), token.as_str()), ("http://127.0.0.1:9/a", "http://127.0.0.1:9/t"));
        let error = endpoints(&declared, "1", None, None, None).expect_err("no base").to_string();
        assert!(error.contains("token_url"), "{error}");
        assert!(endpoints(&declared, "1", None, Some("javascript:alert(1)"), Some("http://x/t")).is_err());
    }
}
