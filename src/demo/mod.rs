//! The demo: the three examples of lead sharing, acted out by the real daemon on simulated systems.
//!
//! A software platform and its implementation partner, an agency and a specialised vendor, and two
//! companies that hold a webinar together: five partners, three vendors, over real loopback HTTP.

pub mod audience;
pub mod cast;
pub mod count;
pub mod files;
pub mod stage;
pub mod view;
pub mod visitor;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use tokio_util::sync::CancellationToken;

use crate::clock::{Clock, HOUR, MINUTE, Millis, SECOND};
use crate::config::Config;
use crate::context::Context;
use crate::errors::{Error, Result};
use crate::store::{connections, deliveries, dirty, people as people_store, shares};
use crate::vault::Identity;
use crate::web::{self, WebState, auth::AdminAuth};
use crate::{daemon, oauth, summary};
use audience::Audience;
use cast::{Person, Story};
use count::Figures;
use stage::Stage;
use view::View;

/// How the demo is run.
pub struct Options {
    /// Records in the sharing partners' systems.
    pub leads: usize,
    /// Where store and configuration are kept.
    pub dir: PathBuf,
    /// Whether to end once every lead has reached its end state; otherwise it goes on until told to stop.
    pub once: bool,
    /// Whether to show what happens while it happens, with bars.
    pub show: bool,
    /// Whether to say anything at all.
    pub say: bool,
}

/// Longest that a demo may take to come to rest.
const PATIENCE: Millis = 15 * MINUTE;
/// Everything has come to rest when nothing has moved for this long: two polls of a system without webhooks.
const QUIET: Millis = 12 * SECOND;

/// Runs the demo. With `once`, answers the figures when everything has come to rest.
///
/// # Errors
/// When a part does not start, or the leads do not reach their end states in time.
pub async fn run(options: &Options, change: &(dyn Fn(&str, &str) -> String + Sync)) -> Result<Figures> {
    let clock = Clock::system();
    let view = View::new(options.show, options.say);
    view.say("Starting five partners' systems on loopback");
    let mut stage = Stage::set(&options.dir, &clock, change).await?;
    let config = Config::load(Some(&stage.config_path()), std::iter::empty()).map_err(Error::Files)?;
    let _only = daemon::only_one(&config)?;
    let built = daemon::build(&config, &clock).await?;
    let errors: Vec<_> = built.diagnostics.iter().filter(|d| d.severity == crate::errors::Severity::Error).cloned().collect();
    if !errors.is_empty() {
        return Err(Error::Files(errors));
    }
    let ctx = built.ctx;
    let stop = CancellationToken::new();
    serve(&mut stage, &ctx, &stop)?;
    view.say(&format!("Daemon on http://{}  (leads, traces, connections)", stage.web));

    view.say("Partners connect through their vendors' own pages");
    for (name, line) in ctx.lines.iter() {
        if line.app().is_some() {
            visitor::connect(&oauth::authorize::make_link(&ctx, name, HOUR).await?).await?;
        }
    }
    let stage = Arc::new(stage);
    let pump = tokio::spawn({
        let (stage, clock, stop) = (stage.clone(), clock.clone(), stop.clone());
        async move {
            while !stop.is_cancelled() {
                stage.pump().await;
                clock.sleep(50).await;
            }
        }
    });
    let work = tokio::spawn(daemon::work(ctx.clone(), built.signer, "demo".to_owned(), stop.clone()));

    let people = cast::people(options.leads, clock.now());
    suppress(&ctx, &people).await?;
    let started = clock.now();
    let entered = stage.enter(&people, &clock)?.len();
    view.begin(entered as u64);
    let mut audience = Audience::default();
    let (mut last, mut moved_at) = (Progress::default(), started);
    let result = loop {
        let waiting = audience.act(&stage, &clock);
        let progress = Progress::now(&ctx, &stage, &people, waiting).await?;
        view.update(&progress, audience.done());
        if progress != last {
            last = progress.clone();
            moved_at = clock.now();
        }
        if progress.at_rest(entered) && clock.now() - moved_at > QUIET {
            break count::figures(&ctx, &stage.look(), &people, progress.synced_back, clock.now() - started).await;
        }
        if clock.now() - started > PATIENCE {
            break Err(Error::System(format!("not everything came to rest: {progress:?}")));
        }
        tokio::select! {
            () = clock.sleep(300) => {}
            ended = tokio::signal::ctrl_c() => {
                if ended.is_ok() {
                    break count::figures(&ctx, &stage.look(), &people, progress.synced_back, clock.now() - started).await;
                }
            }
        }
    };
    if let Ok(figures) = &result {
        view.finish(figures);
        if !options.once {
            view.say(&format!("Everything has reached its end state. http://{} stays up; press Ctrl-C to end.", stage.web));
            let _ = tokio::signal::ctrl_c().await;
        }
    }
    stop.cancel();
    let _ = tokio::join!(work, pump);
    ctx.db.close().await;
    result
}

fn serve(stage: &mut Stage, ctx: &Arc<Context>, stop: &CancellationToken) -> Result<()> {
    let Some(listener) = stage.listener.take() else { return Ok(()) };
    let state = WebState {
        ctx: ctx.clone(),
        listen: stage.web,
        admin: AdminAuth::Open,
        summary: summary::summarise(),
        metrics: None,
        stopping: stop.clone(),
    };
    let router = web::router(state)?;
    let stop = stop.clone();
    tokio::spawn(async move {
        let served = axum::serve(listener, router).with_graceful_shutdown(async move { stop.cancelled().await });
        if let Err(error) = served.await {
            tracing::error!(%error, "the web stopped");
        }
    });
    Ok(())
}

/// Puts the people whose story says so on the operator's suppression list.
async fn suppress(ctx: &Context, people: &[Person]) -> Result<()> {
    let rows: Vec<serde_json::Value> = people
        .iter()
        .filter(|p| p.story == Story::Suppressed)
        .map(|p| serde_json::json!([ctx.vault.blind.hash(Identity::Email, &p.email), "person", "asked_to_stop", "[]"]))
        .collect();
    let mut tx = ctx.db.begin().await?;
    people_store::suppress(&mut tx, &serde_json::Value::from(rows), ctx.clock.now()).await?;
    tx.commit().await
}

/// How far things have come.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Progress {
    /// Hints that wait to be read.
    pub hints: i64,
    /// Deliveries that wait, both ways.
    pub open: i64,
    /// Changes ended.
    pub ended: i64,
    /// How changes ended.
    pub outcomes: BTreeMap<String, i64>,
    /// Shares.
    pub shares: i64,
    /// Shares that arrived.
    pub delivered: i64,
    /// Sharers' records that tell what became of the lead.
    pub synced_back: usize,
    /// Records at recipients that somebody has still to look at.
    pub unseen: usize,
    /// Open alerts.
    pub alerts: usize,
}

impl Progress {
    async fn now(ctx: &Context, stage: &Stage, people: &[Person], unseen: usize) -> Result<Self> {
        let hints = dirty::pending(&ctx.db).await?.iter().map(|(_, n, _)| n).sum();
        let open = deliveries::open(&ctx.db).await?.iter().map(|(_, _, n, _)| n).sum();
        let outcomes = count::outcomes(ctx).await?;
        let statuses = shares::statuses(&ctx.db).await?;
        let delivered = statuses.iter().filter(|s| matches!(s.0.as_str(), "delivered" | "acknowledged" | "accepted")).map(|s| s.2).sum();
        let synced_back = synced_back(stage, people);
        Ok(Self {
            hints,
            open,
            ended: outcomes.values().sum(),
            shares: statuses.iter().map(|s| s.2).sum(),
            delivered,
            synced_back,
            unseen,
            alerts: connections::open_alerts(&ctx.db).await?.len(),
            outcomes,
        })
    }

    fn at_rest(&self, entered: usize) -> bool {
        self.ended >= entered as i64 && self.hints == 0 && self.open == 0 && self.unseen == 0
    }
}

/// Counts, in the sharers' systems, the records that tell what became of the lead.
fn synced_back(stage: &Stage, people: &[Person]) -> usize {
    let agreed: std::collections::BTreeSet<(&str, &str)> = people.iter().map(|p| (p.source, p.email.as_str())).collect();
    let told = |name: &str, record: &leadshare_connectors::sdk::SandboxRecord| {
        let text = |field: &str| record.fields.get(field).and_then(serde_json::Value::as_str).unwrap_or_default().to_owned();
        match name {
            "northwind" => !text("ls_share_status").is_empty() && text("ls_share_status") != "On its way",
            "lumen" => !text("Partner_Share_Status__c").is_empty() && text("Partner_Share_Status__c") != "matched",
            // Tryton's own state carries the news; one that nobody has touched yet still says `lead`.
            "orchard" => text("description") == "webinar-orchard-2026" && text("state") != "lead",
            _ => false,
        }
    };
    stage
        .look()
        .iter()
        .flat_map(|system| system.records.iter().map(move |record| (system, record)))
        .filter(|(system, record)| {
            let email = record.fields.get(system.email_field).and_then(serde_json::Value::as_str).unwrap_or_default().to_lowercase();
            agreed.contains(&(system.name, email.as_str())) && told(system.name, record)
        })
        .count()
}
