//! One lead: what it is, what was decided and why, where it went, what became of it.

use std::sync::Arc;

use askama::Template;
use axum::Extension;
use axum::extract::{Form, Path, State};
use axum::response::Response;

use super::login::{Proof, proven};
use super::trace::{self, ChangeView, DecisionView, EntryView, ShareView};
use super::{Frame, open};
use crate::model::Waiting;
use crate::store::{leads, views, waits};
use crate::web::auth::Operator;
use crate::web::error::WebError;
use crate::web::show::{self, FieldLine, Marked, When, masked_name};
use crate::web::{Web, html};

#[derive(Template)]
#[template(path = "lead.html")]
struct Page {
    frame: Frame,
    id: String,
    name: String,
    partner: String,
    connection: String,
    record: String,
    first: When,
    updated: When,
    erased: Option<When>,
    readable: bool,
    clear: bool,
    fields: Vec<FieldLine>,
    waits: Vec<String>,
    shares: Vec<ShareView>,
    decisions: Vec<DecisionView>,
    changes: Vec<ChangeView>,
    entries: Vec<EntryView>,
}

/// `GET /leads/{id}`: personal data is masked.
pub async fn masked(
    State(web): State<Arc<Web>>,
    Extension(operator): Extension<Operator>,
    Path(id): Path<String>,
) -> Result<Response, WebError> {
    page(&web, operator, &id, false).await
}

/// `POST /leads/{id}`: personal data in clear, this once. It is noted who asked.
pub async fn clear(
    State(web): State<Arc<Web>>,
    Extension(operator): Extension<Operator>,
    Path(id): Path<String>,
    Form(proof): Form<Proof>,
) -> Result<Response, WebError> {
    proven(&operator, &proof)?;
    tracing::info!(lead = id, session = operator.label, "personal data was shown");
    page(&web, operator, &id, true).await
}

async fn page(web: &Web, operator: Operator, id: &str, clear: bool) -> Result<Response, WebError> {
    let (db, now) = (&web.ctx().db, web.ctx().clock.now());
    let stored = leads::one(db, id).await?.ok_or_else(WebError::not_found)?;
    let (data_key, erased_at) = views::data_key(db, &stored.person).await?;
    let lead = open(web, &stored.person, data_key.as_deref(), id, stored.data.as_deref());
    let found = trace::Found::load(db, id).await?;
    let rules = web.ctx().rules();
    let waits = waits::of_record(db, &stored.remote_id).await?.into_iter();
    let waits = waits.filter(|row| row.0 == stored.connection && row.1 == stored.object);
    let waits = waits.filter_map(|(_, _, what, since, look_at)| Waiting::read(&what, since, look_at));
    let waits = waits.map(|waiting| waiting.told(now, |agreement| rules.program.begins(agreement, now))).collect();
    Ok(html(&Page {
        frame: Frame::new(web, "leads", operator),
        id: id.to_owned(),
        name: lead.as_ref().map_or_else(|| "Erased".to_owned(), masked_name),
        record: format!("{} {}", stored.object, stored.remote_id),
        partner: stored.partner,
        connection: stored.connection,
        first: When::new(stored.taken_at, now),
        updated: When::new(stored.updated_at, now),
        erased: erased_at.map(|at| When::new(at, now)),
        readable: lead.is_some(),
        clear: clear && lead.is_some(),
        fields: lead.as_ref().map(|lead| show::fields(lead, clear)).unwrap_or_default(),
        waits,
        shares: found.shares(web, &stored.person, data_key.as_deref(), clear, now),
        decisions: found.decisions(now),
        changes: found.changes(now),
        entries: found.entries(now),
    }))
}
