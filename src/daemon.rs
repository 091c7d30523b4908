//! The composition root: builds everything in order, starts it, drains it, stops it in reverse.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, RwLock};

use futures_util::{StreamExt, TryStreamExt};
use leadshare_connectors::sdk::Connector;
use leadshare_connectors::sdk::manifest::{Auth, Budget};
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use crate::alike::Alike;
use crate::clock::{Clock, MINUTE, Millis, SECOND};
use crate::config::{Config, Connection, Day, Period};
use crate::context::{Context, Keep, Wake};
use crate::errors::{Diagnostic, Error, Result};
use crate::http::Transport;
use crate::http::egress::Egress;
use crate::http::line::{Line, Setup};
use crate::http::token_endpoint::App;
use crate::ledger::Signer;
use crate::oauth::authorize;
use crate::publish::{self, Places, Published};
use crate::queues::Queues;
use crate::replicas::{self, Member};
use crate::rules::Rules;
use crate::store::quiet::Quiet;
use crate::store::{Db, connections, deliveries, dirty, due, inbox, tokens};
use crate::turns::{End, Turns};
use crate::vault::{KeyCheck, Vault};
use crate::{pipeline, retention, sealer};

/// How often due work is looked for when nothing wakes us.
const TICK: Millis = 500;
/// How often hints are taken in that nobody told of.
const LOOK_THROUGH: Millis = 2 * SECOND;
/// How soon after a turn the work that it made for others is looked for.
const SOON: Millis = 20;
/// Connections made ready at the same time.
const STARTED_AT_ONCE: usize = 64;
/// The longest pause between polls of an account where nothing changes.
const POLL_AT_LEAST_EVERY: Millis = 15 * MINUTE;
/// How often the ledger is sealed.
const SEAL: Millis = 500;
/// A connection that newly shares more than this in an hour is stopped: rather a mistaken mapping or
/// import than so many people who asked.
const BRAKE_PER_HOUR: u32 = 5_000;

/// Everything that runs needs, and what was found in the files.
pub struct Built {
    /// What the stages work with.
    pub ctx: Arc<Context>,
    /// Signs checkpoints.
    pub signer: Signer,
    /// What is wrong or odd in the files.
    pub diagnostics: Vec<Diagnostic>,
}

/// Opens the store and the keys, publishes the files, makes the lines.
///
/// # Errors
/// Whatever keeps the daemon from starting, with what to do.
pub async fn build(config: &Config, clock: &Clock) -> Result<Built> {
    let db = Db::open(config.store_url().expose()).await?;
    build_on(config, clock, db, Transport::default()).await
}

/// The same on a store that is open already, with another way to the vendors.
///
/// # Errors
/// As [`build`].
pub async fn build_on(config: &Config, clock: &Clock, db: Db, transport: Transport) -> Result<Built> {
    let vault = Arc::new(config.vault()?);
    check_keys(&db, &vault).await?;
    let Published { rules, diagnostics, .. } = publish::publish(&db, clock, &Places::from(config)).await?;
    Box::pin(assemble(config, clock, db, vault, transport, rules, diagnostics)).await
}

/// The same for commands that only look: the files are read and not put in force.
///
/// # Errors
/// As [`build`].
pub async fn look(config: &Config, clock: &Clock) -> Result<Built> {
    let vault = Arc::new(config.vault()?);
    let db = Db::open(config.store_url().expose()).await?;
    // A token that is renewed here is sealed by a key that must stay from then on; of a new database no daemon has said which keys it has.
    if keys_fit(&db, &vault).await?.is_some() {
        check_keys(&db, &vault).await?;
    }
    let folders = publish::read(&Places::from(config));
    let diagnostics = folders.diagnostics.clone();
    Box::pin(assemble(config, clock, db, vault, Transport::default(), folders.into_rules(), diagnostics)).await
}

async fn assemble(
    config: &Config,
    clock: &Clock,
    db: Db,
    vault: Arc<Vault>,
    transport: Transport,
    rules: Rules,
    diagnostics: Vec<Diagnostic>,
) -> Result<Built> {
    // One connector of a kind speaks for all its connections.
    let mut spoken = BTreeMap::<&str, Arc<dyn Connector>>::new();
    for connection in config.connections.values() {
        let entry = leadshare_connectors::by_name(&connection.connector)
            .ok_or_else(|| Error::NotFound(format!("connector {}", connection.connector)))?;
        spoken.entry(&connection.connector).or_insert_with(|| Arc::from((entry.connector)()));
    }
    let (apps, budgets) = (Alike::new(), Alike::new());
    let made = config.connections.iter().map(|(name, connection)| {
        let connector = spoken[connection.connector.as_str()].clone();
        let (db, vault, alike) = (&db, &vault, (&apps, &budgets));
        async move {
            let line = line(config, name, connection, connector, alike, clock, db, vault).await?;
            line.recover(clock).await?;
            Ok::<_, Error>((name.clone(), Arc::new(line)))
        }
    });
    // Several at once, so that they share commits.
    let lines: Vec<(String, Arc<Line>)> = futures_util::stream::iter(made).buffer_unordered(STARTED_AT_ONCE).try_collect().await?;
    expect_polls(&db, &rules, clock.now()).await?;
    let ctx = Context {
        db,
        clock: clock.clone(),
        vault,
        transport,
        lines: lines.into_iter().collect(),
        rules: RwLock::new(Arc::new(rules)),
        retry_schedule: config.retry.schedule.iter().map(|p| p.millis()).collect(),
        low_disk: AtomicBool::new(false),
        refused: RwLock::new(publish::refused(&diagnostics).map(|told| (told, clock.now()))),
        jitter: i64::from(config.retry.jitter),
        wake: Wake::default(),
        deciding: tokio::sync::Semaphore::new(std::thread::available_parallelism().map_or(2, std::num::NonZero::get)),
        raising: dirty::Raising::default(),
        quiet: Quiet::default(),
        firsts: Arc::default(),
        queues: Queues::default(),
        keep: Keep { never_shared: config.retention.never_shared.millis(), history: config.retention.history.millis() },
        public_url: config.server.public_url.trim_end_matches('/').to_owned(),
    };
    Ok(Built { ctx: Arc::new(ctx), signer: config.signer()?, diagnostics })
}

/// Refuses a database that was written with other keys, before anything is read or written with them, and keeps which ones these are.
async fn check_keys(db: &Db, vault: &Vault) -> Result<()> {
    let (before, now) = (keys_fit(db, vault).await?, vault.key_check());
    if before.as_ref() == Some(&now) {
        return Ok(());
    }
    let text = serde_json::to_string(&now).map_err(|_| Error::Unreadable { what: "the key check".into() })?;
    connections::set_setting(db, "key_check", &text).await
}

/// Refuses a database that was written with other keys; answers what is known of those that it was written with, nothing for a new one.
///
/// # Errors
/// [`Error::Vault`] naming the keys that are missing or different; the store's.
pub async fn keys_fit(db: &Db, vault: &Vault) -> Result<Option<KeyCheck>> {
    let Some(text) = connections::setting(db, "key_check").await? else { return Ok(None) };
    let before: KeyCheck = serde_json::from_str(&text).map_err(|_| Error::Unreadable { what: "the key check".into() })?;
    vault.fits(&before)?;
    Ok(Some(before))
}

#[expect(clippy::too_many_arguments, reason = "a line is made of all of these")]
async fn line(
    config: &Config,
    name: &str,
    connection: &Connection,
    connector: Arc<dyn Connector>,
    (apps, budgets): (&Alike<App>, &Alike<[Budget]>),
    clock: &Clock,
    db: &Db,
    vault: &Arc<Vault>,
) -> Result<Line> {
    let manifest = connector.manifest();
    let api_version = connection.api_version.clone().unwrap_or_else(|| manifest.api_version.clone());
    let base_url = connection.base_url.clone();
    let app = match (&manifest.auth, &connection.client_id, &connection.client_secret) {
        (Auth::Oauth2(oauth), Some(id), Some(secret)) => {
            let base = base_url.as_deref().or(manifest.base_url.as_deref());
            let (authorize_url, token_url) = authorize::endpoints(
                oauth,
                &api_version,
                base,
                connection.oauth.authorize_url.as_deref(),
                connection.oauth.token_url.as_deref(),
            )?;
            let redirect_uri = format!("{}/oauth/callback", config.server.public_url.trim_end_matches('/'));
            Some(App { client_id: id.clone(), client_secret: secret.to_secret_string(), redirect_uri, authorize_url, token_url })
        }
        _ => None,
    };
    let now = clock.now();
    connections::ensure(db, name, &connection.partner, &connection.connector, now).await?;
    // A key needs no browser: such a connection is connected as soon as it is configured.
    let share_from = connection.share_from.map(Day::start);
    let stored = connections::one(db, name).await?;
    let state = stored.as_ref().map_or("new", |c| c.state.as_str());
    let mut tx = db.begin().await?;
    if connection.paused {
        connections::set_state(&mut tx, name, "paused", Some("paused in the configuration"), now).await?;
    } else if connection.key.is_some() && state != "connected" {
        connections::connected(&mut tx, name, None, None, &[], share_from.unwrap_or(now), now).await?;
    } else if state == "paused" {
        connections::set_state(&mut tx, name, if tokens::one(db, name).await?.is_some() { "connected" } else { "new" }, None, now).await?;
    }
    if let Some(from) = share_from {
        connections::set_share_from(&mut tx, name, from).await?;
    }
    tx.commit().await?;
    let setup = Setup {
        name: name.to_owned(),
        partner: connection.partner.clone(),
        base_url,
        api_version,
        tenant: connection.tenant.clone(),
        app: app.map(|app| apps.of(Arc::new(app))),
        key: connection.key.as_ref().map(crate::config::Secret::to_secret_string),
        role: connection.role(),
        webhook_secrets: connection.webhook_secrets(),
        observe: connection.observe,
        brake_per_hour: connection.brake_per_hour.unwrap_or(BRAKE_PER_HOUR),
        egress: Egress::allowing(connection.dangerously_allow_networks.iter().map(|n| n.0).collect()),
        budgets: budgets.of(connection.budgets(manifest).into()),
        share_of_budget: u32::from(connection.share_of_budget.unwrap_or(100)),
        poll_every: connection.poll_every.map_or(manifest.poll.every_ms, Period::millis),
        poll_at_least_every: connection.poll_at_least_every.map_or(POLL_AT_LEAST_EVERY, Period::millis),
        settle_after: connection.settle_after.map_or(manifest.write.settle_after_ms, Period::millis),
        spool: config.store.data_dir.join("spool"),
        connector,
    };
    Ok(Line::new(setup, clock, db, vault, connections::one(db, name).await?.as_ref()))
}

/// Takes turns until nothing is due any more: for tests and for `--once` commands. Answers how many
/// rounds did something.
///
/// # Errors
/// The store's.
pub async fn drain(ctx: &Arc<Context>, signer: &Signer) -> Result<usize> {
    let mut rounds = 0;
    loop {
        let mut worked = false;
        for line in ctx.lines.values().filter(|line| line.fence().holds(&ctx.clock)) {
            worked |= Box::pin(pipeline::turn(ctx, line)).await?;
            ctx.quiet.keep(&ctx.db, ctx.clock.now()).await?;
        }
        sealer::run_once(ctx, signer).await?;
        if !worked {
            return Ok(rounds);
        }
        rounds += 1;
    }
}

/// Works as one replica, called `name`, until told to stop; then lets the turns under way end and gives back what it owned.
///
/// # Errors
/// When it cannot go on: its clock differs too much from the database's, or its heartbeat broke off.
pub async fn work(ctx: Arc<Context>, signer: Signer, name: String, stop: CancellationToken) -> Result<()> {
    let member = Arc::new(Member::join(&ctx, &name, replicas::offset(&ctx.db, &ctx.clock).await?).await?);
    let (end, stop) = (CancellationToken::new(), stop.child_token());
    inbox::take_in(&ctx.db).await?;
    let mut keeping = tokio::spawn(replicas::keep(member.clone(), end.clone()));
    let sealing = tokio::spawn(seal_until(ctx.clone(), signer, member.clone(), stop.clone()));
    let taking_in = tokio::spawn(take_in_until(ctx.clone(), stop.clone()));
    // One removes for all, as one seals.
    let first = member.clone();
    let removing = tokio::spawn(retention::remove_until(ctx.clone(), move || first.seals(), stop.clone()));
    let mut turns = Turns::new(&ctx.clock);
    let mut kept = None;
    let (mut looked, mut worked) = (0, false);
    while !stop.is_cancelled() {
        let since = ctx.clock.now() - looked;
        if since >= TICK || worked && since >= SOON {
            (looked, worked) = (ctx.clock.now(), false);
            if let Err(error) = ctx.quiet.keep(&ctx.db, looked).await {
                tracing::warn!(%error, "quiet polls could not be kept; they are made again");
            }
            match due::connections(&ctx.db, looked).await {
                Ok(due) => due.into_iter().filter(|name| member.owns(name)).for_each(|name| turns.want(name)),
                Err(error) => tracing::error!(%error, "the store cannot be asked for work; tried again"),
            }
        }
        while let Some(name) = turns.ready() {
            if member.begin(&name) {
                turns.start(name.clone(), take_turn(ctx.clone(), name));
            }
        }
        tokio::select! {
            () = stop.cancelled() => {}
            woken = ctx.wake.woken() => woken.into_iter().filter(|name| member.owns(name)).for_each(|name| turns.want(name)),
            () = ctx.clock.sleep(if worked { SOON } else { TICK }) => {}
            () = member.found_dead() => {
                // What others have taken over is theirs: as after a crash, nothing that was begun is kept.
                turns.abort().await;
                while let Err(error) = member.rejoin().await {
                    tracing::error!(%error, "the replica cannot begin anew; tried again");
                    ctx.clock.sleep(TICK).await;
                }
            }
            ended = &mut keeping => {
                kept = Some(ended);
                stop.cancel();
            }
            Some((name, ended)) = turns.ended() => {
                member.end(&name);
                match ended {
                    End::Worked => {
                        turns.want(name);
                        worked = true;
                    }
                    End::Idle => {}
                    // Its claims run out by themselves; the turns of others go on.
                    End::Broke(why) => tracing::error!(connection = name, why, "a turn broke off"),
                }
            }
        }
    }
    // Others take over what has no turn any more, while the rest is ended here.
    let retired = member.retire().await;
    while let Some((name, _)) = turns.ended().await {
        member.end(&name);
        if let Err(error) = member.retire().await {
            tracing::warn!(%error, "a connection could not be given back: others take it over in a moment");
        }
    }
    end.cancel();
    for (task, what) in [(sealing, "sealing"), (taking_in, "taking hints in"), (removing, "removing what is kept no longer")] {
        if let Err(error) = task.await {
            tracing::error!(%error, what, "a task broke off");
        }
    }
    let kept = match kept {
        Some(kept) => kept,
        None => keeping.await,
    };
    retired
        .and(member.leave().await)
        .unwrap_or_else(|error| tracing::warn!(%error, "not everything was given back: others take it over in a moment"));
    kept.unwrap_or_else(|error| Err(Error::System(format!("the heartbeat broke off: {error}"))))
}

async fn take_turn(ctx: Arc<Context>, name: String) -> bool {
    let Some(line) = ctx.lines.get(&name) else { return false };
    Box::pin(pipeline::turn(&ctx, line)).await.unwrap_or_else(|error| {
        tracing::error!(connection = name, %error, "a turn failed; tried again");
        false
    })
}

/// Turns take hints in as they begin; what they do not hear of is taken in here.
async fn take_in_until(ctx: Arc<Context>, stop: CancellationToken) {
    while !stop.is_cancelled() {
        if let Err(error) = inbox::look_through(&ctx.db).await {
            tracing::error!(%error, "hints could not be taken in; tried again");
        }
        tokio::select! {
            () = stop.cancelled() => {}
            () = ctx.clock.sleep(LOOK_THROUGH) => {}
        }
    }
    if let Err(error) = inbox::look_through(&ctx.db).await {
        tracing::warn!(%error, "hints that were taken in could not be deleted: they are looked at once more");
    }
}

async fn seal_until(ctx: Arc<Context>, signer: Signer, member: Arc<Member>, stop: CancellationToken) {
    loop {
        // One seals at a time: the others would only do the same again.
        if !member.seals() && !stop.is_cancelled() {
            tokio::select! {
                () = stop.cancelled() => {}
                () = ctx.clock.sleep(SEAL) => {}
            }
            continue;
        }
        match sealer::run_once(&ctx, &signer).await {
            Ok(0) if stop.is_cancelled() => return,
            Ok(0) => tokio::select! {
                () = stop.cancelled() => {}
                () = ctx.clock.sleep(SEAL) => {}
            },
            Ok(_) => {}
            Err(error) => {
                tracing::error!(%error, "the ledger could not be sealed; tried again");
                if stop.is_cancelled() {
                    return;
                }
                ctx.clock.sleep(SEAL).await;
            }
        }
    }
}

/// Every mapped object of a connection is polled.
async fn expect_polls(db: &Db, rules: &Rules, now: Millis) -> Result<()> {
    let mut objects = Vec::new();
    for (name, mappings) in &rules.mappings {
        objects.extend(mappings.iter().map(|mapping| json!([name, mapping.object()])));
    }
    let mut tx = db.begin().await?;
    due::expect_polls(&mut tx, &Value::from(objects), now).await?;
    tx.commit().await
}

/// Publishes what changed in the folders. A file with an error keeps its last good version.
///
/// # Errors
/// The store's.
pub async fn reload(ctx: &Context, places: &Places) -> Result<Vec<Diagnostic>> {
    let published = publish::publish(&ctx.db, &ctx.clock, places).await?;
    for problem in &published.diagnostics {
        tracing::warn!(code = problem.code, "{problem}");
    }
    if !published.changed.is_empty() {
        tracing::info!(files = ?published.changed, "new rules are in force");
    }
    ctx.set_refused(publish::refused(&published.diagnostics));
    expect_polls(&ctx.db, &published.rules, ctx.clock.now()).await?;
    ctx.set_rules(published.rules);
    if !published.changed.is_empty() {
        // What waited for an edit need not wait for the next poll.
        ctx.wake.these(ctx.lines.keys().cloned());
    }
    Ok(published.diagnostics)
}

/// Holds the store's file for one daemon. Dropped, it is free again.
pub struct OnlyOne(#[expect(dead_code, reason = "held for its lock")] Option<std::fs::File>);

/// Makes sure that one daemon at most works on an embedded store.
///
/// # Errors
/// [`Error::BadRequest`] when another one does.
pub fn only_one(config: &Config) -> Result<OnlyOne> {
    let url = config.store_url();
    let Some(path) = url.expose().strip_prefix("sqlite:") else { return Ok(OnlyOne(None)) };
    let lock = Path::new(path).with_extension("lock");
    let file = std::fs::OpenOptions::new().create(true).truncate(false).write(true).open(&lock);
    let file = file.map_err(|e| Error::System(format!("{} cannot be written: {e}; its folder must exist and be ours", lock.display())))?;
    file.try_lock()
        .map_err(|_| Error::BadRequest(format!("another leadshare works on {path}: stop it first, or use PostgreSQL for several")))?;
    Ok(OnlyOne(Some(file)))
}

/// Looks at the disk, and counts what waits for people, until told to stop: below the limit nothing is sent and intake answers 503,
/// while there is still room to end safely.
pub async fn watch_disk(ctx: Arc<Context>, folder: PathBuf, least_mb: u32, stop: CancellationToken) {
    while !stop.is_cancelled() {
        let free = rustix::fs::statvfs(&folder).map(|s| s.f_bavail.saturating_mul(s.f_frsize));
        if let Ok(free) = free {
            let low = free < u64::from(least_mb) * 1_000_000;
            if ctx.low_disk.swap(low, Ordering::Relaxed) != low {
                tracing::error!(low, free_mb = free / 1_000_000, "free disk: with too little nothing is sent");
            }
            let wal = std::fs::metadata(folder.join("leadshare.db-wal")).map_or(0, |m| m.len());
            crate::metrics::disk(wal, free);
        }
        if let Ok(open) = deliveries::open(&ctx.db).await {
            for way in ["out", "back"] {
                crate::metrics::deliveries_due(way, open.iter().filter(|d| d.1 == way).map(|d| d.2 as u64).sum());
            }
        }
        if let Ok(alerts) = connections::open_alerts(&ctx.db).await {
            let waiting: BTreeSet<&str> = alerts.iter().map(|a| a.0.as_str()).filter(|subject| ctx.lines.contains_key(*subject)).collect();
            crate::metrics::connections_needing_person(waiting.len() as u64);
        }
        tokio::select! {
            () = stop.cancelled() => {}
            () = ctx.clock.sleep(5_000) => {}
        }
    }
}

/// How long a drain may take before the rest is left to the leases.
pub const DRAIN: Millis = MINUTE;
