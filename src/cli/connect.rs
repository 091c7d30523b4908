//! `leadshare connect`: a link for a partner.

use super::build;
use crate::clock::HOUR;
use crate::config::Config;
use crate::errors::{Error, Result, did_you_mean};
use crate::oauth::authorize;

/// Prints a link for each of the partner's connections that is connected by browser.
pub async fn connect(config: &Config, partner: &str, hours: u16, json: bool) -> Result<bool> {
    let ctx = build(config).await?.ctx;
    let lines: Vec<_> = ctx.lines.values().filter(|line| line.name() == partner || line.partner() == partner).collect();
    if lines.is_empty() {
        let known: Vec<&str> = ctx.lines.keys().map(String::as_str).collect();
        let near = did_you_mean(partner, known.iter().copied()).map(|n| format!("; did you mean {n}?")).unwrap_or_default();
        return Err(Error::BadRequest(format!("no connection or partner is called {partner:?}{near}")));
    }
    for line in lines {
        if line.app().is_none() {
            out!(
                "{}: {} is connected by a key or token in the configuration; `leadshare check --connections` tries it.",
                line.name(),
                line.manifest().title
            );
            continue;
        }
        let link = authorize::make_link(&ctx, line.name(), i64::from(hours) * HOUR).await?;
        if json {
            out!("{}", serde_json::json!({ "connection": line.name(), "link": link, "good_for_hours": hours }));
        } else {
            out!(
                "Send this link to whoever administers {} at {}; it works once, for {hours} hours:\n\n  {link}\n",
                line.manifest().title,
                line.partner()
            );
        }
    }
    Ok(true)
}
