//! What needs an operator now, and how things go.

use std::sync::Arc;

use askama::Template;
use axum::Extension;
use axum::extract::State;
use axum::response::Response;

use super::Frame;
use crate::clock::DAY;
use crate::store::{connections, deliveries, dirty, shares, views};
use crate::web::auth::Operator;
use crate::web::error::WebError;
use crate::web::show::{self, Badge, Marked, When, badge, plain};
use crate::web::{Web, html};

/// How far back the counts of changes reach, days.
const DAYS: i64 = 30;

#[derive(Template)]
#[template(path = "overview.html")]
struct Page {
    frame: Frame,
    days: i64,
    /// Why everything is stopped, when it is.
    stopped: Option<String>,
    todo: Vec<Todo>,
    outcomes: Vec<Bar>,
    shares: Vec<Bar>,
    queue: Vec<Queue>,
}

/// Something that a person must see to.
struct Todo {
    title: String,
    text: String,
    code: String,
    tone: &'static str,
    since: Option<When>,
    link: Option<(String, &'static str)>,
}

/// A bar of a chart, with its word and number beside it.
struct Bar {
    badge: Badge,
    count: i64,
    /// Of the longest, in percent.
    width: i64,
    link: Option<String>,
}

/// Work that waits at one connection.
struct Queue {
    connection: String,
    what: &'static str,
    count: i64,
    due: When,
}

/// `GET /`
pub async fn page(State(web): State<Arc<Web>>, Extension(operator): Extension<Operator>) -> Result<Response, WebError> {
    let (db, now) = (&web.ctx().db, web.ctx().clock.now());
    let mut todo: Vec<Todo> = connections::open_alerts(db)
        .await?
        .into_iter()
        .map(|(subject, code, message, since)| Todo {
            link: web.ctx().lines.contains_key(&subject).then(|| (format!("/connections#{subject}"), "Open the connection")),
            title: subject,
            text: message,
            code,
            tone: "bad",
            since: Some(When::new(since, now)),
        })
        .collect();
    todo.extend(web.ctx().refused().map(|(text, since)| Todo {
        title: "Program files and mappings".into(),
        text,
        code: "files.refused".into(),
        tone: "bad",
        since: Some(When::new(since, now)),
        link: None,
    }));
    for stored in connections::all(db).await?.into_iter().filter(|c| c.state == "new" && web.ctx().lines.contains_key(&c.name)) {
        todo.push(Todo {
            text: format!("Not connected yet. Run `leadshare connect {}` and send the link to the partner.", stored.name),
            title: stored.name,
            code: "connection.new".into(),
            tone: "warn",
            since: None,
            link: None,
        });
    }
    for (connection, way, count) in views::failed_deliveries(db).await? {
        let what = if way == "out" { "delivered" } else { "told back to the sharer" };
        todo.push(Todo {
            title: connection,
            text: format!("{} could not be {what}. Nothing more is tried by itself.", show::count(count, "lead", "leads")),
            code: "delivery.failed".into(),
            tone: "bad",
            since: None,
            link: None,
        });
    }
    let held = views::held(db).await?;
    if held > 0 {
        todo.push(Todo {
            title: "Waiting for approval".into(),
            text: format!("{} held until a person approves.", show::count(held, "lead is", "leads are")),
            code: "share.held".into(),
            tone: "warn",
            since: None,
            link: Some(("/leads?outcome=held".into(), "Look at them")),
        });
    }
    let outcomes = views::outcomes_since(db, now - DAYS * DAY).await?;
    let link = |word: &str| Some(format!("/changes?outcome={word}"));
    let outcomes = bars(outcomes.into_iter().map(|(word, count)| (badge(&word), count, link(&word))).collect());
    let stands = shares::statuses(db).await?.into_iter().map(|(status, progress, count)| {
        let mut shown = badge(&status);
        if progress != "new" {
            shown.text = format!("{} · {}", shown.text, plain(&progress));
        }
        (shown, count, None)
    });
    let stands = bars(stands.collect());
    let mut queue: Vec<Queue> = Vec::new();
    for (connection, count, due) in dirty::pending(db).await? {
        queue.push(Queue { connection, what: "records to read", count, due: When::new(due, now) });
    }
    for (connection, way, count, due) in deliveries::open(db).await? {
        let what = if way == "out" { "leads to deliver" } else { "outcomes to tell back" };
        queue.push(Queue { connection, what, count, due: When::new(due, now) });
    }
    let stopped = connections::setting(db, "stopped").await?;
    Ok(html(&Page { frame: Frame::new(&web, "overview", operator), days: DAYS, stopped, todo, outcomes, shares: stands, queue }))
}

/// The longest bar first.
fn bars(mut rows: Vec<(Badge, i64, Option<String>)>) -> Vec<Bar> {
    rows.sort_by_key(|(_, count, _)| std::cmp::Reverse(*count));
    let most = rows.first().map_or(1, |(_, count, _)| (*count).max(1));
    rows.into_iter().map(|(badge, count, link)| Bar { badge, count, width: (count * 100 / most).max(1), link }).collect()
}
