//! How each connection stands.

use std::sync::Arc;

use askama::Template;
use axum::Extension;
use axum::extract::State;
use axum::response::Response;
use leadshare_connectors::sdk::manifest::{Auth, Budget};

use super::Frame;
use crate::clock::{Millis, SECOND};
use crate::http::line::{Line, Role};
use crate::http::window::Spent;
use crate::store::{budgets, connections, deliveries, dirty, views};
use crate::web::auth::Operator;
use crate::web::error::WebError;
use crate::web::show::{Badge, Marked, When, badge, count, plain};
use crate::web::{Web, html};

/// Clocks that differ by more than this are worth a word.
const OFFSET: Millis = 30 * SECOND;

#[derive(Template)]
#[template(path = "connections.html")]
struct Page {
    frame: Frame,
    cards: Vec<Card>,
}

struct Card {
    name: String,
    partner: String,
    vendor: String,
    state: Badge,
    reason: Option<String>,
    role: &'static str,
    observe: bool,
    share_from: Option<When>,
    alerts: Vec<(String, String, When)>,
    polls: Vec<Poll>,
    token: Option<String>,
    clock: Option<String>,
    budgets: Vec<BudgetRow>,
    waiting: Vec<String>,
}

struct Poll {
    object: String,
    last: Option<When>,
    next: When,
}

struct BudgetRow {
    name: String,
    limit: String,
    used: Option<i64>,
    blocked: Option<When>,
}

/// `GET /connections`
pub async fn page(State(web): State<Arc<Web>>, Extension(operator): Extension<Operator>) -> Result<Response, WebError> {
    let (db, now) = (&web.ctx().db, web.ctx().clock.now());
    let (alerts, polls, tokens, kept) =
        (connections::open_alerts(db).await?, views::polls(db).await?, views::tokens(db).await?, budgets::all(db).await?);
    let (pending, open, failed) = (dirty::pending(db).await?, deliveries::open(db).await?, views::failed_deliveries(db).await?);
    let mut cards = Vec::new();
    for stored in connections::all(db).await? {
        let name = stored.name.as_str();
        let line = web.ctx().lines.get(name);
        let token = tokens.iter().find(|token| token.0 == name);
        let mut waiting: Vec<String> = Vec::new();
        waiting.extend(pending.iter().filter(|row| row.0 == name).map(|row| count(row.1, "record to read", "records to read")));
        waiting.extend(open.iter().filter(|row| row.0 == name).map(|row| way(&row.1, row.2)));
        waiting.extend(failed.iter().filter(|row| row.0 == name).map(|row| format!("{}, given up", way(&row.1, row.2))));
        cards.push(Card {
            partner: stored.partner.clone(),
            vendor: line.map_or_else(|| stored.connector.clone(), |line| line.manifest().title.clone()),
            state: badge(&stored.state),
            reason: stored.state_reason.as_deref().map(plain),
            role: line.map_or("no longer configured", |line| role(line.role())),
            observe: line.is_some_and(|line| line.observe()),
            share_from: stored.share_from.map(|at| When::new(at, now)),
            alerts: alerts
                .iter()
                .filter(|alert| alert.0 == name)
                .map(|(_, code, message, since)| (code.clone(), message.clone(), When::new(*since, now)))
                .collect(),
            polls: polls
                .iter()
                // What became of delivered leads is looked at in polls of their own, under a name with a blank.
                .filter(|poll| poll.0 == name && !poll.1.contains(' '))
                .map(|(_, object, last, next)| Poll {
                    object: object.clone(),
                    last: last.map(|last| When::new(last, now)),
                    next: When::new(*next, now),
                })
                .collect(),
            token: line.filter(|_| stored.state != "reconnect_needed").and_then(|line| token_text(line, token, now)),
            clock: Some(stored.clock_offset).filter(|offset| offset.abs() > OFFSET).map(|offset| {
                let (by, way) = (offset.abs() / SECOND, if offset > 0 { "ahead of" } else { "behind" });
                format!("The vendor’s clock is {by} s {way} ours: check the time service on this machine.")
            }),
            budgets: line.map_or_else(Vec::new, |line| budget_rows(line, &kept, now)),
            waiting,
            name: stored.name,
        });
    }
    Ok(html(&Page { frame: Frame::new(&web, "connections", operator), cards }))
}

fn role(role: Role) -> &'static str {
    match role {
        Role::Source => "shares leads",
        Role::Recipient => "receives leads",
        Role::Both => "shares and receives leads",
    }
}

fn way(way: &str, number: i64) -> String {
    if way == "out" {
        count(number, "lead to deliver", "leads to deliver")
    } else {
        count(number, "outcome to tell back", "outcomes to tell back")
    }
}

fn token_text(line: &Line, token: Option<&views::TokenLine>, now: Millis) -> Option<String> {
    if matches!(line.manifest().auth, Auth::Key { .. }) {
        return Some("by a key from the configuration".into());
    }
    let (_, expires_at, cooldown, failures) = token?;
    let mut text = match expires_at {
        Some(at) if *at > now => "good, renewed by itself".to_owned(),
        Some(_) => "renewed at the next use".to_owned(),
        None => "good until the vendor says otherwise".to_owned(),
    };
    if *failures > 0 {
        text = format!("{text}; {} did not succeed", count(*failures, "renewal", "renewals"));
    }
    if cooldown.is_some_and(|until| until > now) {
        text.push_str("; tried again in a moment");
    }
    Some(text)
}

fn budget_rows(line: &Line, kept: &[budgets::Line], now: Millis) -> Vec<BudgetRow> {
    let row = |budget: &Budget| {
        let stored = kept.iter().find(|row| row.0 == line.name() && row.1 == budget.name);
        let blocked = line.limits().blocked_until(&budget.name).or_else(|| stored.map(|row| row.3));
        BudgetRow {
            name: plain(&budget.name),
            limit: format!("{} in {}", budget.limit, window(budget.window_ms)),
            used: stored.map(|row| Spent::read(&row.2).used(budget.window_ms, now)),
            blocked: blocked.filter(|until| *until > now).map(|until| When::new(until, now)),
        }
    };
    line.manifest().budgets.iter().map(row).collect()
}

fn window(length: Millis) -> String {
    match length {
        86_400_000 => "a day".into(),
        3_600_000 => "an hour".into(),
        60_000 => "a minute".into(),
        SECOND => "a second".into(),
        other => format!("{} s", other / SECOND),
    }
}
