//! Reading through expired tokens, throttling, quotas, server errors and cut answers.

use super::bench::{Bench, Setup, Style, Trouble};
use super::driver::End;
use super::poller::Poller;
use super::polling::pages;
use super::{Case, Verdict, ensure, fail, not_applicable};
use crate::sdk::{Action, Fault, Millis, Why};

/// Polls, with the trouble arranged as soon as the first page was handed over.
fn after_first_page(setup: &Setup, fault: Fault) -> Verdict<Bench> {
    let (mut bench, ids) = pages(setup)?;
    let mut poller = Poller::new(&bench);
    let mut running = bench.start(&poller.op(&bench), None)?;
    let mut fault = Some(fault);
    while running.ran.end.is_none() {
        running.advance(&mut bench)?;
        if !running.ran.pages.is_empty()
            && let Some(fault) = fault.take()
        {
            bench.sandbox.inject(fault);
        }
    }
    ensure(running.ran.pages.len() > 1, || format!("{} records came in one page", ids.len()))?;
    poller.take(&running.ran)?;
    poller.saw_all(&ids)?;
    Ok(bench)
}

fn token_expires_mid_page(setup: &Setup) -> Verdict {
    let bench = after_first_page(setup, Fault::ExpireAccessTokens)?;
    let refreshed = bench.sent.iter().any(|sent| matches!(sent.verdict, Some((Action::RefreshThenRetry, _))));
    if refreshed {
        return Ok(());
    }
    match &setup.manifest().auth {
        crate::sdk::manifest::Auth::Key { .. } => not_applicable("the manifest has [auth] kind = \"key\": keys do not expire"),
        crate::sdk::manifest::Auth::Oauth2(_) => fail("an expired token was not answered by a refresh"),
    }
}

/// The throttled answers must be waited out, with the vendor's own time where it gives one.
fn throttled(setup: &Setup, retry_after: Option<u32>) -> Verdict {
    let bench = after_first_page(setup, Fault::Throttle { count: 12, retry_after })?;
    let refused = bench.sandbox.stats().throttled;
    ensure(refused >= 12, || format!("12 requests were to be throttled, the sandbox counts {refused}"))?;
    let waits: Vec<_> = bench.sent.iter().filter(|sent| matches!(sent.verdict, Some((Action::Wait, _)))).collect();
    ensure(waits.len() >= 12, || format!("of 12 throttled answers {} were waited out", waits.len()))?;
    for sent in waits {
        let Some((_, pause)) = sent.verdict else { continue };
        ensure(sent.retry_after.is_none_or(|asked| pause >= asked), || {
            format!("waited {pause} ms where the vendor asks for {:?}", sent.retry_after)
        })?;
        ensure(pause >= 200, || format!("a pause of {pause} ms is no pause"))?;
    }
    if retry_after.is_some() && bench.sent.iter().all(|sent| sent.retry_after.is_none()) {
        return not_applicable("this vendor sends no Retry-After: the pause is the manifest's");
    }
    Ok(())
}

const QUOTA: Millis = 3 * 3_600_000;

fn daily_quota(setup: &Setup) -> Verdict {
    let (mut bench, ids) = pages(setup)?;
    let mut poller = Poller::new(&bench);
    let until = bench.now + QUOTA;
    bench.sandbox.inject(Fault::DailyQuota { until });
    poller.poll(&mut bench)?;
    poller.saw_all(&ids)?;
    let refused = bench.sent.iter().filter(|sent| matches!(sent.verdict, Some((Action::Wait, _)))).count();
    if refused == 0 && bench.now < until {
        return not_applicable("this vendor has no daily quota");
    }
    ensure(refused > 0, || "the quota was never met with a wait".into())?;
    // Knocking at most once a minute.
    ensure(refused as Millis <= QUOTA / 60_000, || format!("knocked {refused} times in three hours at a door that stays shut for the day"))
}

fn server_errors(setup: &Setup) -> Verdict {
    after_first_page(setup, Fault::Status { status: 503, count: 2 }).map(drop)
}

/// The server is down for longer than a poll is tried; the next polls lose nothing.
fn server_down(setup: &Setup) -> Verdict {
    let (mut bench, ids) = pages(setup)?;
    let mut poller = Poller::new(&bench);
    bench.sandbox.inject(Fault::Status { status: 503, count: 30 });
    bench.style = Style::GiveUp;
    for _ in 0..20 {
        let ran = bench.run(&poller.op(&bench), None)?;
        if !matches!(ran.end, Some(End::Down)) {
            poller.take(&ran)?;
            return poller.saw_all(&ids);
        }
        poller.keep(&ran);
        bench.now += setup.manifest().poll.every_ms;
    }
    fail("polling did not recover when the server was back")
}

/// A cut answer must not be taken for a short page.
fn truncated(setup: &Setup) -> Verdict {
    let (bench, ids) = pages(setup)?;
    let first = bench.sent.len();
    for at in first..first + 6 {
        let mut cut = bench.fork();
        let mut poller = Poller::new(&cut);
        cut.trap = Some((at, Trouble::Vendor(Fault::Truncate)));
        for _ in 0..4 {
            let ran = cut.run(&poller.op(&cut), None)?;
            let Some(End::Failed(fault)) = &ran.end else {
                poller.take(&ran)?;
                break;
            };
            ensure(fault.passing, || format!("a cut answer is not a lasting fault: {fault}"))?;
            poller.keep(&ran);
        }
        poller.saw_all(&ids).map_err(|_| super::Miss::Failed(format!("with request {} cut short, records were lost", at - first)))?;
    }
    Ok(())
}

/// The vendor cannot be reached: nothing was sent, the poll fails as passing, and the next loses nothing.
fn unreachable(setup: &Setup) -> Verdict {
    let (bench, ids) = pages(setup)?;
    let first = bench.sent.len();
    for at in first..first + 4 {
        let mut hit = bench.fork();
        let mut poller = Poller::new(&hit);
        hit.trap = Some((at, Trouble::NotSent(Why::Unreachable)));
        let ran = hit.run(&poller.op(&hit), None)?;
        if let Some(End::Failed(fault)) = &ran.end {
            ensure(fault.passing, || format!("a vendor that cannot be reached is not a lasting fault: {fault}"))?;
            poller.keep(&ran);
        } else {
            poller.take(&ran)?;
        }
        hit.trap = None;
        poller.poll(&mut hit)?;
        poller.saw_all(&ids)?;
    }
    Ok(())
}

/// Undisturbed, spending as the asks declare it, the vendor never has to refuse us.
fn within_limits(setup: &Setup) -> Verdict {
    let (mut bench, ids) = pages(setup)?;
    let mut poller = Poller::new(&bench);
    poller.poll(&mut bench)?;
    poller.saw_all(&ids)?;
    for batch in ids.chunks(setup.manifest().read.batch).cycle().take(40) {
        bench.fetch(batch)?;
    }
    let refused = bench.sandbox.stats().throttled;
    ensure(refused == 0, || format!("{refused} requests were throttled although the declared budgets were kept"))
}

/// Parallel asks may be answered in any order.
fn any_order(setup: &Setup) -> Verdict {
    let (mut bench, ids) = pages(setup)?;
    bench.style = Style::LastFirst;
    let mut poller = Poller::new(&bench);
    poller.poll(&mut bench)?;
    poller.saw_all(&ids)?;
    let batch = &ids[..setup.manifest().read.batch.min(ids.len())];
    let records = bench.fetch(batch)?;
    ensure(records.len() == batch.len(), || format!("{} records for {} ids", records.len(), batch.len()))
}

pub(super) const CASES: &[Case] = &[
    ("trouble: token expires mid-page", token_expires_mid_page),
    ("trouble: throttled with Retry-After", |setup| throttled(setup, Some(7))),
    ("trouble: throttled without Retry-After", |setup| throttled(setup, None)),
    ("trouble: daily quota", daily_quota),
    ("trouble: server errors", server_errors),
    ("trouble: server down", server_down),
    ("trouble: cut answer", truncated),
    ("trouble: unreachable", unreachable),
    ("trouble: within the limits", within_limits),
    ("trouble: answers in any order", any_order),
];
