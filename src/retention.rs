//! What is kept no longer than it is needed: people of whom nothing was ever shared, and the history of what is long over.
//!
//! A round goes through the store in pages, oldest first, so that nothing else waits for it. What may go is found beside the writer;
//! of people it is asked once more under their locks, where whoever decides about them at the same time sees that they are gone.

use std::sync::Arc;

use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use crate::clock::{HOUR, MINUTE, Millis};
use crate::context::{Context, Keep};
use crate::errors::Result;
use crate::model::wait::LONGEST;
use crate::store::retention::{self as store, Mark, Record};

/// How long after the start, and then after each other, rounds begin that remove what is kept no longer.
const ROUNDS: (Millis, Millis) = (10 * MINUTE, 6 * HOUR);
/// How long such a round rests after each page, so that what is under way goes first.
const REST: Millis = 50;
/// Rows of a page.
const PAGE: i64 = 500;

/// What one round has removed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Removed {
    /// People.
    pub people: usize,
    /// Changes.
    pub changes: usize,
    /// Tries to deliver.
    pub tries: usize,
}

/// One round through the store.
pub struct Round {
    keep: Keep,
    now: Millis,
    at: At,
    removed: Removed,
}

enum At {
    Leads(Mark<Millis>),
    Records(Record),
    Changes(Mark<Millis>),
    Tries(Mark<String>),
    Alerts,
    Done,
}

impl At {
    /// Where it goes on once all of this was looked through.
    fn next(&self) -> Self {
        match self {
            Self::Leads(_) => Self::Records(Record::default()),
            Self::Records(_) => Self::Changes(Mark::default()),
            Self::Changes(_) => Self::Tries(Mark::default()),
            Self::Tries(_) => Self::Alerts,
            Self::Alerts | Self::Done => Self::Done,
        }
    }
}

impl Round {
    /// A round that begins now.
    pub fn new(keep: Keep, now: Millis) -> Self {
        Self { keep, now, at: At::Leads(Mark::default()), removed: Removed::default() }
    }

    /// Does a page; answers what was removed in all once there is none left.
    ///
    /// # Errors
    /// The store's; the round goes on with what comes after that table.
    pub async fn step(&mut self, ctx: &Context) -> Result<Option<Removed>> {
        if matches!(self.at, At::Done) {
            return Ok(Some(self.removed));
        }
        let went = self.page(ctx).await;
        let (next, went) = match went {
            Ok(next) => (next, Ok(None)),
            Err(error) => (None, Err(error)),
        };
        self.at = next.unwrap_or_else(|| self.at.next());
        went
    }

    /// The next page, or nothing when this was the last of its table.
    async fn page(&mut self, ctx: &Context) -> Result<Option<At>> {
        let (stale, old) = (self.now - self.keep.never_shared, self.now - self.keep.history);
        Ok(match &self.at {
            At::Leads(mark) => {
                let page = store::stale(&ctx.db, mark, stale, self.now - LONGEST, PAGE).await?;
                let mut people: Vec<&str> = page.iter().filter(|lead| lead.3 == 0).map(|lead| lead.2.as_str()).collect();
                people.sort_unstable();
                people.dedup();
                self.removed.people += forget(ctx, &people, stale, self.now - LONGEST).await?;
                page.into_iter().next_back().map(|(at, id, ..)| At::Leads((at, id)))
            }
            At::Records(after) => {
                let page = store::no_leads(&ctx.db, after, stale, PAGE).await?;
                let over: Vec<Value> = page.iter().filter(|r| r.3 == 1).map(|r| json!([r.0, r.1, r.2])).collect();
                if !over.is_empty() {
                    let mut tx = ctx.db.begin().await?;
                    store::drop_records(&mut tx, &Value::from(over), stale, self.now - LONGEST).await?;
                    tx.commit().await?;
                }
                page.into_iter().next_back().map(|(id, connection, object, _)| At::Records((id, connection, object)))
            }
            At::Changes(mark) => {
                let page = store::old_changes(&ctx.db, mark, old, PAGE).await?;
                let over = || page.iter().filter(|change| change.3 == 0);
                let changes: Vec<Value> = over().map(|change| json!([change.1])).collect();
                let leads: Vec<Value> = over().filter_map(|change| change.2.as_ref()).map(|lead| json!([lead])).collect();
                if !changes.is_empty() {
                    self.removed.changes += changes.len();
                    let mut tx = ctx.db.begin().await?;
                    store::drop_changes(&mut tx, &Value::from(changes), &Value::from(leads), old).await?;
                    tx.commit().await?;
                }
                page.into_iter().next_back().map(|(at, id, ..)| At::Changes((at, id)))
            }
            At::Tries(mark) => {
                let page = store::tries(&ctx.db, mark, PAGE).await?;
                let over: Vec<Value> = page.iter().filter(|a| a.2 < old).map(|a| json!([a.0, a.1])).collect();
                if !over.is_empty() {
                    self.removed.tries += over.len();
                    let mut tx = ctx.db.begin().await?;
                    store::drop_tries(&mut tx, &Value::from(over)).await?;
                    tx.commit().await?;
                }
                page.into_iter().next_back().map(|(share, id, _)| At::Tries((share, id)))
            }
            At::Alerts => {
                let mut tx = ctx.db.begin().await?;
                // A field that went back and forth is left alone for an hour: if it goes on, people are told anew.
                store::end_alerts(&mut tx, "delivery.back_and_forth", self.now - HOUR, self.now).await?;
                store::drop_overwrites(&mut tx, self.now - HOUR).await?;
                store::drop_alerts(&mut tx, old).await?;
                tx.commit().await?;
                None
            }
            At::Done => None,
        })
    }
}

/// Forgets those of these people of whom that is still so under their locks; answers how many.
async fn forget(ctx: &Context, ids: &[&str], before: Millis, waiting: Millis) -> Result<usize> {
    if ids.is_empty() {
        return Ok(0);
    }
    let rows = |ids: &[String]| Value::from(ids.iter().map(|id| json!([id])).collect::<Vec<_>>());
    let ids = Value::from(ids.iter().map(|id| json!([id])).collect::<Vec<_>>());
    let mut tx = ctx.db.begin().await?;
    let free = store::lock(&mut tx, &ids).await?;
    let gone = store::forgettable(&mut tx, &rows(&free), before, waiting).await?;
    store::forget(&mut tx, &rows(&gone)).await?;
    tx.commit().await?;
    Ok(gone.len())
}

/// Removes what is kept no longer, in rounds, while it is for us to do.
pub async fn remove_until(ctx: Arc<Context>, ours: impl Fn() -> bool, stop: CancellationToken) {
    let mut pause = ROUNDS.0;
    let mut round = None::<Round>;
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            () = ctx.clock.sleep(if round.is_some() { REST } else { pause }) => {}
        }
        if !ours() {
            round = None;
            continue;
        }
        pause = ROUNDS.1;
        match round.get_or_insert_with(|| Round::new(ctx.keep, ctx.clock.now())).step(&ctx).await {
            Ok(None) => {}
            Ok(Some(removed)) => {
                round = None;
                if removed != Removed::default() {
                    let Removed { people, changes, tries } = removed;
                    tracing::info!(people, changes, tries, "what is kept no longer was removed");
                }
            }
            Err(error) => tracing::warn!(%error, "not everything that is kept no longer could be removed; the next round tries again"),
        }
    }
}
