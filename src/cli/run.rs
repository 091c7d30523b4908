//! `leadshare run`: the daemon as a service.

use std::path::Path;
use std::sync::Arc;

use notify::Watcher;
use tokio::net::TcpListener;
use tokio::runtime::Handle;
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

use crate::clock::{Clock, Millis, SECOND};
use crate::config::{Config, Period};
use crate::context::Context;
use crate::errors::{Error, Result, Severity};
use crate::publish::Places;
use crate::web::{self, WebState, auth::AdminAuth};
use crate::{daemon, mapping, metrics, service, summary, telemetry};

/// Runs until SIGTERM or SIGINT, with the web on a runtime that outlives it.
pub async fn run(config: Config, path: &Path, on: &Handle) -> Result<bool> {
    telemetry::init(&config.log)?;
    let page = metrics::Page::install()?;
    let clock = Clock::system();
    // Phone metadata takes a moment to load; the first lead should not wait for it.
    tokio::task::spawn_blocking(mapping::transform::warm);
    let _only = daemon::only_one(&config)?;
    let built = daemon::build(&config, &clock).await?;
    for problem in &built.diagnostics {
        if problem.severity == Severity::Error {
            tracing::error!(code = problem.code, "{problem}");
        }
    }
    let daemon::Built { ctx, signer, .. } = built;
    // In this order: what is asked at `/readyz`, the work, the web.
    let (stopping, stop, closing) = (CancellationToken::new(), CancellationToken::new(), CancellationToken::new());
    let no_address = |error: &dyn std::fmt::Display| Error::System(format!("{} cannot be listened on: {error}", config.server.listen));
    let listener = on.spawn(TcpListener::bind(config.server.listen)).await.map_err(|e| no_address(&e))?.map_err(|e| no_address(&e))?;
    let mut web = on.spawn(serve(listener, &config, &ctx, &page, &stopping, &closing)?);
    let name = format!("{} {}", rustix::system::uname().nodename().to_string_lossy(), config.server.listen);
    let mut work = tokio::spawn(daemon::work(ctx.clone(), signer, name, stop.clone()));
    let disk = tokio::spawn(daemon::watch_disk(ctx.clone(), config.store.data_dir.clone(), config.limits.free_disk_mb, stop.clone()));
    let reloads = tokio::spawn(reload(ctx.clone(), Places::from(&config), stop.clone()));
    tracing::info!(listen = %config.server.listen, connections = ctx.lines.len(), store = ctx.db.engine(), config = %path.display(), "running");
    service::ready("running");
    let notice = config.server.stop_notice.map_or(0, Period::millis);
    // With thousands of accounts the configuration is large, and nothing reads it any more.
    drop(config);

    let no_signal = |e: std::io::Error| Error::System(e.to_string());
    let mut terminate = signal(SignalKind::terminate()).map_err(no_signal)?;
    let mut interrupt = signal(SignalKind::interrupt()).map_err(no_signal)?;
    let mut told = Box::pin(async {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
        tracing::info!(notice_ms = notice, "told to stop");
        stopping.cancel();
        service::stopping();
        tokio::time::sleep(std::time::Duration::from_millis(notice as u64)).await;
    });
    let beat = std::time::Duration::from_millis(service::watchdog().unwrap_or(5_000) as u64);
    // What ended without being told to: the service manager starts the daemon again.
    let died = loop {
        tokio::select! {
            () = &mut told => break None,
            ended = &mut work => break Some(("the work", ended)),
            ended = &mut web => break Some(("the web", ended)),
            () = tokio::time::sleep(beat) => {
                service::alive();
                page.upkeep();
            }
        }
    };
    tracing::info!("stopping: turns under way are ended first");
    // Also when something ended that nobody had told to.
    stopping.cancel();
    service::stopping();
    stop.cancel();
    let drained = tokio::time::timeout(std::time::Duration::from_millis(daemon::DRAIN as u64), async {
        // What is heard while turns end is kept, and worked on by others or after the next start.
        let most = std::time::Duration::from_millis((daemon::DRAIN - LAST_ANSWERS) as u64);
        let ended = work.is_finished()
            || match tokio::time::timeout(most, work).await {
                Ok(Ok(Ok(()))) => true,
                Ok(Ok(Err(error))) => {
                    tracing::error!(%error, "the work ended badly");
                    false
                }
                Ok(Err(_)) | Err(_) => false,
            };
        closing.cancel();
        if !web.is_finished() {
            let _ = web.await;
        }
        let _ = reloads.await;
        let _ = disk.await;
        ended
    });
    if !drained.await.unwrap_or(false) {
        tracing::warn!("not everything ended in time; what is left is taken up again after its lease");
    }
    ctx.db.close().await;
    match died {
        None => Ok(true),
        Some((_, Ok(Err(error)))) => Err(error),
        Some((what, Ok(Ok(())))) => Err(Error::System(format!("{what} ended by itself"))),
        Some((what, Err(error))) => Err(Error::System(format!("{what} broke off: {error}"))),
    }
}

fn serve(
    listener: TcpListener,
    config: &Config,
    ctx: &Arc<Context>,
    page: &metrics::Page,
    stopping: &CancellationToken,
    closing: &CancellationToken,
) -> Result<impl Future<Output = Result<()>> + use<>> {
    let password = config.server.admin_password.as_ref();
    let admin = password.map_or(AdminAuth::Closed, |password| AdminAuth::Password(password.to_secret_string()));
    if password.is_none() {
        tracing::info!("the operator's pages are closed: set server.admin_password to open them");
    }
    let router = web::router(WebState {
        ctx: ctx.clone(),
        listen: config.server.listen,
        admin,
        summary: summary::summarise(),
        metrics: Some(page.clone()),
        stopping: stopping.clone(),
    })?;
    let closing = closing.clone();
    Ok(async move {
        let served = axum::serve(listener, router).with_graceful_shutdown(async move { closing.cancelled().await });
        served.await.map_err(|e| Error::System(format!("the web stopped: {e}")))
    })
}

/// So much of the time for draining is kept for requests under way.
const LAST_ANSWERS: Millis = 10 * SECOND;

/// So often what was read of the rules for a decision is forgotten again: what is in use is read once more.
const REST: std::time::Duration = std::time::Duration::from_hours(1);

/// Publishes changed files when told by SIGHUP or when a folder changes.
async fn reload(ctx: Arc<Context>, places: Places, stop: CancellationToken) {
    let (changed, mut heard) = tokio::sync::mpsc::channel::<()>(1);
    let watcher = notify::recommended_watcher(move |event: notify::Result<notify::Event>| {
        if event.is_ok_and(|e| !e.kind.is_access()) {
            // Full means that a reload is due already.
            let _ = changed.try_send(());
        }
    });
    let _watcher = watcher.map(|mut watcher| {
        for dir in places.folders() {
            if let Err(error) = watcher.watch(dir, notify::RecursiveMode::Recursive) {
                tracing::warn!(dir = %dir.display(), %error, "the folder cannot be watched: reload by SIGHUP");
            }
        }
        watcher
    });
    let Ok(mut hangup) = signal(SignalKind::hangup()) else { return };
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            _ = hangup.recv() => {}
            () = tokio::time::sleep(REST) => {
                ctx.set_rules((*ctx.rules()).clone());
                continue;
            }
            Some(()) = heard.recv() => {
                // An editor writes a file in several steps.
                tokio::time::sleep(std::time::Duration::from_millis(300)).await;
                while heard.try_recv().is_ok() {}
            }
        }
        service::reloading();
        if let Err(error) = daemon::reload(&ctx, &places).await {
            tracing::error!(%error, "the files could not be published; the rules before stay in force");
        }
        service::ready("running");
    }
}
