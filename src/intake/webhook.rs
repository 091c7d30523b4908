//! Webhooks: verified on raw bytes, turned into hints, answered after one commit and before any work.

use std::collections::BTreeSet;
use std::sync::atomic::Ordering;

use leadshare_connectors::sdk::{Hint, HintKind, RawRequest, Refused, Reply, WebhookKey};
use secrecy::ExposeSecret;
use serde_json::{Value, json};

use crate::context::Context;
use crate::errors::Result;
use crate::http::line::Line;
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
    let lines: Vec<&Line> = match at {
        Where::Connection(name) => ctx.lines.get(name).map(|line| &**line).into_iter().collect(),
        Where::App(connector) => ctx.lines.values().map(|line| &**line).filter(|line| line.connector_name() == connector).collect(),
    };
    let Some(first) = lines.first() else { return Err(NotTaken::Nowhere) };
    let keys = keys(at, &lines);
    let incoming = first.connector().webhook(raw, &keys, ctx.clock.now()).inspect_err(|refused| {
        crate::metrics::webhook(first.connector_name(), "refused");
        tracing::warn!(connector = first.connector_name(), reason = %refused, "webhook refused");
    })?;
    if matches!(at, Where::App(_)) {
        meet(ctx, &lines, &incoming.hints).await.map_err(|error| {
            tracing::error!(%error, "a webhook's account could not be looked up");
            NotTaken::NotKept
        })?;
    }
    let mut raised = Vec::<(String, Raise)>::new();
    for hint in incoming.hints {
        let line = match at {
            Where::Connection(_) => Some(*first),
            Where::App(_) => {
                lines.iter().copied().find(|line| line.account().external_id.is_some() && line.account().external_id == hint.account)
            }
        };
        let known = line.filter(|line| line.manifest().objects.contains(&hint.object));
        crate::metrics::webhook(first.connector_name(), if known.is_some() { "raised" } else { "dropped" });
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
    crate::metrics::hints(first.connector_name(), "webhook", raised.len() as u64);
    ctx.raising.raise(&ctx.db, &raised, ctx.clock.now()).await.map_err(|error| {
        tracing::error!(%error, "a webhook could not be kept");
        NotTaken::NotKept
    })?;
    points::at("webhook.kept").await;
    ctx.wake.these(raised.into_iter().map(|(connection, _)| connection));
    Ok(incoming.reply)
}

/// Learns of accounts that another replica has connected since we looked. One that nobody connected costs one statement.
async fn meet(ctx: &Context, lines: &[&Line], hints: &[Hint]) -> Result<()> {
    let known: BTreeSet<String> = lines.iter().filter_map(|line| line.account().external_id).collect();
    let strange: BTreeSet<&String> = hints.iter().filter_map(|hint| hint.account.as_ref()).filter(|a| !known.contains(*a)).collect();
    if strange.is_empty() {
        return Ok(());
    }
    let accounts = Value::from(strange.into_iter().map(|account| json!([account])).collect::<Vec<_>>());
    for stored in connections::of_accounts(&ctx.db, &accounts).await? {
        if let Some(line) = lines.iter().find(|line| line.name() == stored.name) {
            line.learn(&stored);
        }
    }
    Ok(())
}

fn keys(at: &Where, lines: &[&Line]) -> Vec<WebhookKey> {
    let mut keys = Vec::new();
    for line in lines {
        let secrets: Vec<&[u8]> = match at {
            Where::Connection(_) => line.webhook_secrets().iter().map(|s| s.expose_secret().as_bytes()).collect(),
            Where::App(_) => line.app().map(|app| app.client_secret.expose_secret().as_bytes()).into_iter().collect(),
        };
        let account = if matches!(at, Where::Connection(_)) { line.account().external_id } else { None };
        for secret in secrets {
            if !keys.iter().any(|key: &WebhookKey| key.secret == secret) {
                keys.push(WebhookKey { id: line.name().to_owned(), secret: secret.to_vec(), account: account.clone() });
            }
        }
    }
    keys
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
