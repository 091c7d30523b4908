//! The check of a connection: may we read and write what its mapping needs?

use leadshare_connectors::sdk::{Finding, Op, Output};

use crate::clock::rfc3339;
use crate::context::Context;
use crate::errors::{Error, Result};
use crate::http::Terms;
use crate::http::talk::{Ended, NoSink, drive};
use crate::store::connections;

/// What one mapping needs from the vendor.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Needs {
    /// The vendor's object.
    pub object: String,
    /// The field that holds our marker.
    pub marker_field: String,
    /// Fields that the mapping reads or writes.
    pub fields: Vec<String>,
    /// Whether we also write there.
    pub writes: bool,
}

/// Checks everything that a connection's mappings need, and keeps the operator's alerts in step: one
/// that says what is missing, or none when all is well.
///
/// # Errors
/// As [`check`]; alerts then stay as they are.
pub async fn check_all(ctx: &Context, connection: &str, needs: &[Needs]) -> Result<Vec<Finding>> {
    let mut findings = Vec::new();
    for needs in needs {
        let found = check(ctx, connection, needs).await?;
        // Two objects of one account share their scopes.
        findings.extend(found.into_iter().filter(|finding| !findings.contains(finding)).collect::<Vec<_>>());
    }
    let missing: Vec<String> =
        findings.iter().filter(|f| !f.ok).map(|f| format!("NO {}: {}", f.what, f.fix.as_deref().unwrap_or("missing"))).collect();
    let now = ctx.clock.now();
    let mut tx = ctx.db.begin().await?;
    if missing.is_empty() {
        connections::end_alerts(&mut tx, connection, now).await?;
    } else {
        tracing::warn!(connection, missing = missing.len(), "the connection lacks what its mapping needs: see the overview page");
        connections::raise_alert(&mut tx, &ctx.clock.id(), connection, "connection.incomplete", &missing.join("\n"), now).await?;
    }
    tx.commit().await?;
    Ok(findings)
}

/// Looks at scopes, reads a record as a test, and looks for the marker and every mapped field. What
/// is missing comes back with the clicks that mend it; a connection that cannot be used at all is a
/// finding too.
///
/// # Errors
/// [`Error::NotFound`] for a connection that is not configured; [`Error::Passing`] when the vendor
/// cannot be asked now; the store's.
pub async fn check(ctx: &Context, connection: &str, needs: &Needs) -> Result<Vec<Finding>> {
    let line = ctx.lines.get(connection).ok_or_else(|| Error::NotFound(format!("no connection {connection:?} is configured")))?;
    let op = Op::Check {
        object: needs.object.clone(),
        marker_field: needs.marker_field.clone(),
        fields: needs.fields.clone(),
        writes: needs.writes,
    };
    let title = &line.manifest().title;
    let broken = |code: String, message: String| vec![Finding { code, ok: false, what: format!("{title} answers"), fix: Some(message) }];
    let talk = match line.connector().open(&op, &line.account(), None) {
        Ok(talk) => talk,
        Err(fault) => return Ok(broken(fault.code, fault.message)),
    };
    let passing = |code: String, message: String| Err(Error::Passing { code, message });
    match drive(&ctx.transport, line, &ctx.clock, talk, Terms::VISIT, &mut NoSink).await? {
        Ended::Done(Output::Checked(findings)) => Ok(findings),
        Ended::Done(_) => passing("check_unfinished".into(), "the check ended without a finding: try again".into()),
        Ended::NeedsPerson { code, message } => Ok(broken(code, message)),
        Ended::Wait(until) | Ended::Rest(until, _) => {
            passing("vendor_busy".into(), format!("{title} does not answer, or asks us to wait: try again after {}", rfc3339(until)))
        }
        Ended::Passing(code) => passing(code, format!("{title} did not answer properly: try again in a few minutes")),
    }
}
