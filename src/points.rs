//! Named points between two steps: a run that ends at one of them must lose nothing and double nothing.
//!
//! In service nothing happens at a point. The simulation ends a run at one by dropping it there; the crash
//! tests tell a debug build by [`VARIABLE`] to kill or to stop its own process at one.

use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// Every point, in the order of a lead's way.
pub const ALL: &[&str] = &[
    "webhook.verified",
    "webhook.raised",
    "webhook.kept",
    "inbox.raised",
    "poll.page_read",
    "poll.page_raised",
    "poll.page_kept",
    "poll.ended",
    "poll.kept",
    "hints.claimed",
    "hints.read",
    "changes.decided",
    "changes.written",
    "changes.kept",
    "delivery.claimed",
    "delivery.checked",
    "delivery.intended",
    "delivery.sending",
    "request.permitted",
    "request.authorized",
    "request.answered",
    "delivery.sent",
    "delivery.noted",
    "delivery.finished",
    "settle.claimed",
    "settle.looked",
    "settle.finished",
    "token.intended",
    "token.answered",
    "token.spooled",
    "token.saved",
    "ledger.sealed",
    "ledger.kept",
];

/// Names a point and what happens there, in a debug build: `delivery.sent:3=kill` ends the process by SIGKILL when it
/// is there for the third time, `=stop` stops it by SIGSTOP.
pub const VARIABLE: &str = "LEADSHARE_POINT";

type Plan = Arc<dyn Fn(&'static str) -> bool + Send + Sync>;

tokio::task_local! {
    static PLAN: (Plan, Arc<AtomicBool>);
}

/// The run is at this point.
pub async fn at(name: &'static str) {
    debug_assert!(ALL.contains(&name), "{name} is not listed");
    let ends = PLAN.try_with(|(plan, ended)| plan(name) && !ended.swap(true, Ordering::SeqCst)).unwrap_or(false);
    if ends {
        std::future::pending::<()>().await;
    }
    #[cfg(debug_assertions)]
    process::at(name);
}

/// Runs until the end, or until `plan` says of a point that the run ends there: then it is dropped as it
/// stands, as a crash would leave it, and the answer is `None`. What it spawned is not watched.
pub async fn until<T>(plan: impl Fn(&'static str) -> bool + Send + Sync + 'static, run: impl Future<Output = T>) -> Option<T> {
    let ended = Arc::new(AtomicBool::new(false));
    let mut run = std::pin::pin!(PLAN.scope((Arc::new(plan), ended.clone()), run));
    std::future::poll_fn(|cx| match run.as_mut().poll(cx) {
        std::task::Poll::Ready(value) => std::task::Poll::Ready(Some(value)),
        std::task::Poll::Pending if ended.load(Ordering::SeqCst) => std::task::Poll::Ready(None),
        std::task::Poll::Pending => std::task::Poll::Pending,
    })
    .await
}

#[cfg(debug_assertions)]
mod process {
    use std::sync::OnceLock;
    use std::sync::atomic::{AtomicI64, Ordering};

    struct Order {
        name: String,
        left: AtomicI64,
        signal: rustix::process::Signal,
    }

    fn order() -> Option<Order> {
        let text = std::env::var(super::VARIABLE).ok()?;
        let (place, what) = text.split_once('=')?;
        let (name, nth) = place.split_once(':').unwrap_or((place, "1"));
        let signal = if what == "stop" { rustix::process::Signal::STOP } else { rustix::process::Signal::KILL };
        Some(Order { name: name.to_owned(), left: AtomicI64::new(nth.parse().ok()?), signal })
    }

    pub(super) fn at(name: &str) {
        static ORDER: OnceLock<Option<Order>> = OnceLock::new();
        let Some(order) = ORDER.get_or_init(order).as_ref().filter(|order| order.name == name) else { return };
        if order.left.fetch_sub(1, Ordering::SeqCst) == 1 {
            let _ = rustix::process::kill_process(rustix::process::getpid(), order.signal);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    // Breaks when a planned end does not drop the run where it stands.
    #[tokio::test]
    async fn a_run_ends_at_its_point_and_goes_no_further() {
        let (went, seen) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicBool::new(false)));
        let run = {
            let (went, seen) = (went.clone(), seen.clone());
            async move {
                at("hints.claimed").await;
                seen.store(true, Ordering::SeqCst);
                at("hints.read").await;
                went.store(true, Ordering::SeqCst);
            }
        };
        assert_eq!(until(|name| name == "hints.read", run).await, None);
        assert!(seen.load(Ordering::SeqCst) && !went.load(Ordering::SeqCst));
        assert_eq!(until(|_| false, async { at("hints.read").await }).await, Some(()));
    }
}
