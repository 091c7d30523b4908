//! What connecting means for a partner, in plain words, from its mapping and its agreements.

use std::sync::Arc;

use crate::clock::rfc3339;
use crate::context::Context;
use crate::errors::{Error, Result};
use crate::http::line::Line;
use crate::mapping::Mapping;
use crate::model::field;
use crate::oauth::check::Needs;
use crate::store::connections;
use crate::web::connect::{ConnectSummary, Summarise};

/// The function that the connect pages ask.
pub fn summarise() -> Summarise {
    Arc::new(|ctx, connection| Box::pin(async move { summary(&ctx, &connection).await }))
}

/// What a connection's mappings need from the vendor.
pub fn needs(ctx: &Context, line: &Line) -> Vec<Needs> {
    let rules = ctx.rules();
    let one = |mapping: &Mapping| {
        let mut fields = mapping.read_fields();
        if line.role().shares() {
            fields.extend(mapping.news_fields());
        }
        if line.role().receives() {
            fields.extend(mapping.written_fields());
            fields.extend(mapping.follow_fields());
        }
        fields.retain(|name| !name.starts_with("deal.") && !name.starts_with("opportunity."));
        fields.sort();
        fields.dedup();
        // Sharers are written to as well: the news of their leads.
        Needs {
            object: mapping.object().to_owned(),
            marker_field: mapping.marker_field(line.manifest()).to_owned(),
            fields,
            writes: line.role().receives(),
        }
    };
    rules.of(line.name()).iter().map(one).collect()
}

/// The page's words for one connection.
///
/// # Errors
/// [`Error::NotFound`] for a connection that is not configured; the store's.
pub async fn summary(ctx: &Context, connection: &str) -> Result<ConnectSummary> {
    let line = ctx.lines.get(connection).ok_or_else(|| Error::NotFound(format!("no connection {connection:?} is configured")))?;
    let rules = ctx.rules();
    let mappings = rules.of(connection);
    let label = |name: &str| field::lookup(name).map_or_else(|| name.to_owned(), |f| f.label.to_owned());
    let mut labels: Vec<String> = mappings.iter().flat_map(|m| m.fills().map(&label).collect::<Vec<_>>()).collect();
    labels.sort();
    labels.dedup();
    let reads = if line.role().shares() {
        if mappings.iter().any(|m| m.file().consent.is_some()) {
            labels.push("What the person agreed to, and opt-outs".into());
        }
        labels.clone()
    } else {
        vec!["The status of the leads that we delivered".into()]
    };
    let mut writes = Vec::new();
    if line.role().receives() {
        writes.push("New leads that a partner shares with you, with our mark on them so that none arrives twice".to_owned());
        writes.push("Changes to those leads; records that were there before us are only filled where they are empty".to_owned());
    }
    if line.role().shares() && mappings.iter().any(|m| m.file().status.as_ref().is_some_and(|s| s.back.is_some())) {
        writes.push("What became of the leads that you shared: who has them and how far they got".to_owned());
    }
    let selections: Vec<String> =
        mappings.iter().flat_map(Mapping::selection).map(|(name, values)| format!("{name} is {}", values.join(" or "))).collect();
    let selection = match (line.role().shares(), selections.is_empty()) {
        (false, _) => "Only records that we delivered ourselves. Nothing else in your system is read or kept.".to_owned(),
        (true, true) => "Records of the kind below; only the fields that are listed.".to_owned(),
        (true, false) => format!("Only records where {}.", selections.join(", and ")),
    };
    let stored = connections::one(&ctx.db, connection).await?;
    let share_from = match stored.and_then(|c| c.share_from).filter(|_| line.role().shares()) {
        Some(from) => format!("Only what people did after {} is shared.", rfc3339(from)),
        None if line.role().shares() => "Sharing starts with what people do after you connect; nothing older leaves.".to_owned(),
        None => "From the moment you connect.".to_owned(),
    };
    let partner = rules.program.partners.get(line.partner());
    let operator = rules.program.agreements.values().find(|a| a.source() == line.partner() || a.recipient() == line.partner());
    Ok(ConnectSummary {
        partner: partner.map_or_else(|| line.partner().to_owned(), |p| p.value.legal_name.clone()),
        vendor: line.manifest().title.clone(),
        reads,
        writes,
        selection,
        share_from,
        contact: operator.map_or_else(|| "whoever sent you this link".to_owned(), |a| a.agreement.about.business.clone()),
        needs: needs(ctx, line),
    })
}
