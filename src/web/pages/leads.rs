//! Lists: leads with where they stand, and changes with how they ended.

use std::sync::Arc;

use askama::Template;
use axum::Extension;
use axum::extract::{Query, State};
use axum::response::Response;
use serde_json::{Value, json};

use super::{Asked, Frame, key, open};
use crate::model::ChangeOutcome;
use crate::store::views;
use crate::web::auth::Operator;
use crate::web::error::WebError;
use crate::web::show::{Badge, Marked, When, badge, masked_name, plain};
use crate::web::{Web, html};

/// Rows on a page.
const ROWS: usize = 50;

#[derive(Template)]
#[template(path = "leads.html")]
struct Leads {
    frame: Frame,
    filter: Filter,
    rows: Vec<LeadRow>,
    next: Option<String>,
}

#[derive(Template)]
#[template(path = "changes.html")]
struct Changes {
    frame: Frame,
    filter: Filter,
    rows: Vec<ChangeRow>,
    next: Option<String>,
}

/// The choice above a list.
struct Filter {
    outcome: String,
    choices: Vec<(String, String)>,
    first: bool,
}

struct LeadRow {
    id: String,
    name: String,
    partner: String,
    when: When,
    outcome: Option<Badge>,
    reason: String,
    shares: Vec<(String, Badge, Option<Badge>)>,
}

struct ChangeRow {
    change: views::ChangeLine,
    outcome: Badge,
    reason: String,
    when: When,
    took: i64,
}

impl Filter {
    fn new(asked: &Asked, choices: &[ChangeOutcome]) -> Self {
        let choices = choices.iter().map(|outcome| (outcome.word(), plain(&outcome.word()))).collect();
        Self { outcome: asked.outcome.clone(), choices, first: asked.before.is_empty() }
    }
}

/// `GET /leads`
pub async fn leads(
    State(web): State<Arc<Web>>,
    Extension(operator): Extension<Operator>,
    Query(asked): Query<Asked>,
) -> Result<Response, WebError> {
    let (db, now) = (&web.ctx().db, web.ctx().clock.now());
    let mut found = views::leads(db, &asked.before()?, &asked.outcome, ROWS + 1).await?;
    let more = found.len() > ROWS;
    found.truncate(ROWS);
    let next = found.last().filter(|_| more).map(|last| key(last.updated_at, &last.id));
    let ids = Value::from(found.iter().map(|lead| json!([lead.id])).collect::<Vec<_>>());
    let shares = views::shares_of(db, &ids).await?;
    let rows = found
        .into_iter()
        .map(|line| {
            let lead = open(&web, &line.person, line.data_key.as_deref(), &line.id, line.data.as_deref());
            let own = shares.iter().filter(|share| share.0 == line.id);
            LeadRow {
                name: lead.as_ref().map_or_else(|| "Erased".to_owned(), masked_name),
                partner: line.partner,
                when: When::new(line.updated_at, now),
                outcome: line.outcome.as_deref().map(badge),
                reason: line.reason.as_deref().map(plain).unwrap_or_default(),
                shares: own
                    .map(|(_, recipient, status, progress)| {
                        (recipient.clone(), badge(status), (progress != "new").then(|| badge(progress)))
                    })
                    .collect(),
                id: line.id,
            }
        })
        .collect();
    // How a lead stands is never "nothing new", and a lead that never was one is in no list of leads.
    let never = |outcome: &ChangeOutcome| {
        use ChangeOutcome::{Coalesced, Echo, Unchanged, Untracked, Updated};
        matches!(outcome, Updated | Unchanged | Echo | Coalesced | Untracked)
    };
    let choices: Vec<ChangeOutcome> = ChangeOutcome::ALL.into_iter().filter(|outcome| !never(outcome)).collect();
    Ok(html(&Leads { frame: Frame::new(&web, "leads", operator), filter: Filter::new(&asked, &choices), rows, next }))
}

/// `GET /changes`
pub async fn changes(
    State(web): State<Arc<Web>>,
    Extension(operator): Extension<Operator>,
    Query(asked): Query<Asked>,
) -> Result<Response, WebError> {
    let now = web.ctx().clock.now();
    let mut found = views::changes(&web.ctx().db, &asked.before()?, &asked.outcome, ROWS + 1).await?;
    let more = found.len() > ROWS;
    found.truncate(ROWS);
    let next = found.last().filter(|_| more).map(|last| key(last.ended_at, &last.id));
    let rows = found
        .into_iter()
        .map(|change| ChangeRow {
            outcome: badge(&change.outcome),
            reason: plain(&change.reason),
            when: When::new(change.ended_at, now),
            took: (change.ended_at - change.taken_at).max(0),
            change,
        })
        .collect();
    Ok(html(&Changes { frame: Frame::new(&web, "changes", operator), filter: Filter::new(&asked, &ChangeOutcome::ALL), rows, next }))
}
