//! Webhooks: verified on raw bytes, turned into hints, answered after one commit and before any work.

use std::collections::BTreeSet;
use std::sync::atomic::Ordering;

use leadshare_connectors::sdk::{Hint, HintKind, RawRequest, Refused, Reply, WebhookKey};
use secrecy::ExposeSecret;
use serde_json::{Value, json};

use crate::context::Context;
use crate::errors::Result;
use crate::http::line::Line;
use crate::http::lines::OfConnector;
use crate::points;
use crate::store::connections;
use crate::store::dirty::Raise;

/// Which address a webhook came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Where {
    /// A connection's own address, whose secret path has been checked.
    Connection(String),
    /// The address that serves all accounts of a vendor's app.
    App(String),
}

/// Why a webhook is not taken in.
#[derive(Debug, thiserror::Error)]
pub enum NotTaken {
    /// It is not believed.
    #[error(transparent)]
    Refused(#[from] Refused),
    /// Nothing of ours has this address.
    #[error("no connection has this address")]
    Nowhere,
    /// It could not be kept; the vendor should send it again.
    #[error("it could not be kept: send it again")]
    NotKept,
}

/// Takes a webhook in: verifies it, raises its hints in one transaction, and says what to answer.
/// Hints of accounts that are not connected are dropped: an app's address serves accounts that
/// left us, and a vendor would retry for hours.
///
/// # Errors
/// [`NotTaken`].
pub async fn accept(ctx: &Context, at: &Where, raw: &RawRequest) -> Result<Reply, NotTaken> {
    let (own, app) = match at {
        Where::Connection(name) => (ctx.lines.get(name), None),
        Where::App(connector) => (None, ctx.lines.of_connector(connector)),
    };
    let Some(any) = own.map(|line| &**line).or_else(|| app?.any()) else { return Err(NotTaken::Nowhere) };
    let of_own = own.map(|line| keys(line));
    let keys = of_own.as_deref().or_else(|| Some(app?.keys())).unwrap_or_default();
    let incoming = any.connector().webhook(raw, keys, ctx.clock.now()).inspect_err(|refused| {
        crate::metrics::webhook(any.connector_name(), "refused");
        tracing::warn!(connector = any.connector_name(), reason = %refused, "webhook refused");
    })?;
    if let Some(app) = app {
        meet(ctx, app, &incoming.hints).await.map_err(|error| {
            tracing::error!(%error, "a webhook's account could not be looked up");
            NotTaken::NotKept
        })?;
    }
    let mut raised = Vec::<(String, Raise)>::new();
    for hint in incoming.hints {
        let line = own.cloned().or_else(|| app?.of_account(hint.account.as_ref()?));
        let known = line.filter(|line| line.manifest().objects.contains(&hint.object));
        crate::metrics::webhook(any.connector_name(), if known.is_some() { "raised" } else { "dropped" });
        if let Some(line) = known {
            raised.push((line.name().to_owned(), raise(hint)));
        }
    }
    if ctx.low_disk.load(Ordering::Relaxed) {
        return Err(NotTaken::NotKept);
    }
    points::at("webhook.verified").await;
    if raised.is_empty() {
        return Ok(incoming.reply);
    }
    crate::metrics::hints(any.connector_name(), "webhook", raised.len() as u64);
    ctx.raising.raise(&ctx.db, &raised, ctx.clock.now()).await.map_err(|error| {
        tracing::error!(%error, "a webhook could not be kept");
        NotTaken::NotKept
    })?;
    points::at("webhook.kept").await;
    ctx.wake.these(raised.into_iter().map(|(connection, _)| connection));
    Ok(incoming.reply)
}

/// Learns of accounts that another replica has connected since we looked. One that nobody connected costs one statement.
async fn meet(ctx: &Context, app: &OfConnector, hints: &[Hint]) -> Result<()> {
    let named: BTreeSet<&String> = hints.iter().filter_map(|hint| hint.account.as_ref()).collect();
    let strange: Vec<&String> = named.into_iter().filter(|account| app.of_account(account).is_none()).collect();
    if strange.is_empty() {
        return Ok(());
    }
    let accounts = Value::from(strange.into_iter().map(|account| json!([account])).collect::<Vec<_>>());
    for stored in connections::of_accounts(&ctx.db, &accounts).await? {
        if let Some(line) = ctx.lines.get(&stored.name) {
            line.learn(&stored);
        }
    }
    Ok(())
}

/// With what webhooks to a connection's own address are signed.
fn keys(line: &Line) -> Vec<WebhookKey> {
    let account = line.account().external_id;
    let secrets = line.webhook_secrets().iter().map(|secret| secret.expose_secret().as_bytes().to_vec());
    secrets.map(|secret| WebhookKey { id: line.name().to_owned(), secret, account: account.clone() }).collect()
}

fn raise(hint: Hint) -> Raise {
    let (kind, detail) = match hint.kind {
        HintKind::Changed => ("changed", None),
        HintKind::Deleted => ("deleted", None),
        HintKind::Merged(into) => ("merged", Some(into)),
        HintKind::PrivacyDeleted => ("privacy_deleted", None),
    };
    Raise { object: hint.object, remote_id: hint.id, kind, detail }
}
