//! Several daemons on one database: who lives, whose a connection is, what happens when one dies or wakes late.
//!
//! A replica has one row with a heartbeat by the database's clock. A connection names its owner and an epoch, which
//! change only when it is taken over or given back; only the owner calls the vendor. One whose heartbeat is too old is
//! found dead by deleting its row: if it lives after all, its next heartbeat finds nothing, and it begins anew. Before
//! that could happen its fences have closed by themselves, for they open only as far as its last heartbeat vouches.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use serde_json::{Value, json};
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use crate::clock::{Clock, Millis, SECOND};
use crate::context::Context;
use crate::errors::{Error, Result};
use crate::http::fence::Until;
use crate::store::{Db, replicas};

/// Pause between heartbeats.
pub const BEAT: Millis = SECOND / 2;
/// A replica whose heartbeat is older than this is dead.
pub const LEASE: Millis = 3 * SECOND;
/// So long after its heartbeat a replica calls vendors and is given connections. Shorter than the lease: clocks differ a
/// little, and a call takes a moment to begin.
pub const VOUCHED: Millis = LEASE - SECOND;
/// Whose connections are is looked at this often when nothing seems to change.
const LOOK: Millis = 10 * SECOND;
/// The clock is compared with the database's this often.
const MEASURE: Millis = 60 * SECOND;
/// A clock further off than this keeps a replica from working.
const MOST_OFFSET: Millis = 2 * SECOND;

/// One replica among those that live.
pub struct Member {
    ctx: Arc<Context>,
    /// A connection of its own: a heartbeat must not wait behind work.
    db: Db,
    name: String,
    state: Mutex<State>,
    /// Told when we were found dead.
    lost: Notify,
}

struct State {
    id: String,
    /// The database's clock minus ours.
    offset: Millis,
    /// Until when calls may begin.
    until: Until,
    /// When the last heartbeat that was kept was begun, on the steady clock.
    beaten: Millis,
    held: BTreeSet<String>,
    /// Held connections that have a turn.
    busy: BTreeSet<String>,
    /// Held connections that are given back when their turn ends.
    leaving: BTreeSet<String>,
    /// The others as last seen.
    live: Vec<replicas::Replica>,
    looked: Millis,
    /// Whether connections were still to change hands when last looked at.
    moving: bool,
    lost: bool,
    stopping: bool,
}

/// The database's clock minus ours.
///
/// # Errors
/// [`Error::System`] when they differ by more than two seconds: leases would mean different things to different replicas.
pub async fn offset(db: &Db, clock: &Clock) -> Result<Millis> {
    let (began, at) = (clock.steady(), clock.now());
    let theirs = replicas::now(db).await?;
    let took = clock.steady() - began;
    let offset = theirs - (at + took / 2);
    // What the answer took is no difference of the clocks.
    if offset.abs() - took > MOST_OFFSET {
        return Err(Error::System(format!(
            "replica.clock: this machine's clock is {} ms {} the database's, and at most {MOST_OFFSET} are allowed: set it right (NTP), then start again",
            offset.abs(),
            if offset > 0 { "behind" } else { "ahead of" },
        )));
    }
    Ok(offset)
}

impl Member {
    /// Joins the replicas. Owns nothing before its first [`Member::beat`].
    ///
    /// # Errors
    /// The store's.
    pub async fn join(ctx: &Arc<Context>, name: &str, offset: Millis) -> Result<Self> {
        for line in ctx.lines.values() {
            line.fence().close();
        }
        let state = State {
            id: ctx.clock.id(),
            offset,
            until: Arc::new(AtomicI64::new(0)),
            beaten: ctx.clock.steady(),
            held: BTreeSet::new(),
            busy: BTreeSet::new(),
            leaving: BTreeSet::new(),
            live: Vec::new(),
            looked: 0,
            moving: true,
            lost: false,
            stopping: false,
        };
        let (id, now) = (state.id.clone(), ctx.clock.now() + offset);
        let db = ctx.db.aside().await?;
        let member = Self { ctx: ctx.clone(), db, name: name.to_owned(), state: Mutex::new(state), lost: Notify::new() };
        replicas::join(&member.db, &id, name, now).await?;
        if member.db.engine() == "sqlite" {
            // The lock file says that we are alone: whoever is in the table is dead.
            replicas::bury(&member.db, &id, Millis::MAX).await?;
        }
        tracing::info!(replica = id, name, "joined");
        Ok(member)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Our id, another one each time we begin anew.
    pub fn id(&self) -> String {
        self.state().id.clone()
    }

    /// Whether a connection is ours.
    pub fn owns(&self, name: &str) -> bool {
        self.state().held.contains(name)
    }

    /// Whether we are the one who seals the ledger: the first of those who live.
    pub fn seals(&self) -> bool {
        let state = self.state();
        state.live.iter().find(|r| r.4 == 0).is_none_or(|first| first.0 == state.id)
    }

    /// A connection's turn begins; false when it is not ours, or about to be given back.
    pub fn begin(&self, name: &str) -> bool {
        let mut state = self.state();
        let may = !state.lost && !state.stopping && state.held.contains(name) && !state.leaving.contains(name);
        if may {
            state.busy.insert(name.to_owned());
        }
        may
    }

    /// A connection's turn has ended.
    pub fn end(&self, name: &str) {
        self.state().busy.remove(name);
    }

    /// Waits until we were found dead.
    pub async fn found_dead(&self) {
        self.lost.notified().await;
    }

    /// Begins anew, under another id, when every turn has been broken off.
    ///
    /// # Errors
    /// The store's.
    pub async fn rejoin(&self) -> Result<()> {
        let id = self.ctx.clock.id();
        let now = self.ctx.clock.now() + self.state().offset;
        replicas::join(&self.db, &id, &self.name, now).await?;
        let mut state = self.state();
        tracing::warn!(before = state.id, replica = id, "found dead by others, and begun anew");
        (state.id, state.lost, state.moving) = (id, false, true);
        state.beaten = self.ctx.clock.steady();
        state.until = Arc::new(AtomicI64::new(0));
        state.busy.clear();
        state.live.clear();
        Ok(())
    }

    /// One heartbeat, and what follows from it: the dead are found, connections change hands. Answers false when we
    /// were found dead ourselves: nothing is ours any more.
    ///
    /// # Errors
    /// The store's; then nothing is vouched for, and the fences close in a moment.
    pub async fn beat(&self) -> Result<bool> {
        let (id, offset, beaten, until) = {
            let state = self.state();
            if state.lost {
                return Ok(false);
            }
            (state.id.clone(), state.offset, state.beaten, state.until.clone())
        };
        let begun = self.ctx.clock.steady();
        let now = self.ctx.clock.now() + offset;
        if !replicas::beat(&self.db, &id, now).await? {
            self.forget_all();
            return Ok(false);
        }
        until.store(begun + VOUCHED, Ordering::SeqCst);
        let known = self.state().live.clone();
        // Whoever has the lock of an embedded store's file stays alone.
        let mut live = if self.db.engine() == "sqlite" && !known.is_empty() { known } else { replicas::all(&self.db).await? };
        // Who was late itself does not judge: the database or the machine may have been slow for everybody.
        if begun - beaten <= VOUCHED && live.iter().any(|r| r.0 != id && r.3 <= now - LEASE) {
            replicas::bury(&self.db, &id, now - LEASE).await?;
            for dead in live.extract_if(.., |r| r.0 != id && r.3 <= now - LEASE) {
                tracing::warn!(replica = dead.0, name = dead.1, "its heartbeat has stopped: its connections are taken over");
            }
        }
        let look = {
            let mut state = self.state();
            state.beaten = begun;
            let who = |all: &[replicas::Replica]| all.iter().map(|r| (r.0.clone(), r.4)).collect::<Vec<_>>();
            let changed = who(&live) != who(&state.live);
            state.live = live;
            // To one that is alone and has everything nothing can come.
            let all_ours = state.live.len() == 1 && state.held.len() == self.ctx.lines.len();
            changed || state.moving || begun - state.looked >= LOOK && !all_ours
        };
        if look {
            self.balance(&id).await?;
            self.state().looked = begun;
        }
        Ok(true)
    }

    /// Takes what is free and our part, and gives back what is more than that.
    async fn balance(&self, id: &str) -> Result<()> {
        let owners: Vec<replicas::Owner> =
            replicas::owners(&self.db).await?.into_iter().filter(|o| self.ctx.lines.contains_key(&o.0)).collect();
        let (plan, gone, stopping) = {
            let state = self.state();
            let alive: BTreeSet<&str> = state.live.iter().map(|r| r.0.as_str()).collect();
            // Nothing is left for one that may be dead already: it would rest until that one is found dead as well.
            let now = self.ctx.clock.now() + state.offset;
            let stays = |r: &&replicas::Replica| r.4 == 0 && (r.0 == id || r.3 > now - VOUCHED);
            let takers: Vec<&str> = state.live.iter().filter(stays).map(|r| r.0.as_str()).collect();
            let mut owned: Vec<(&str, Option<&str>)> =
                owners.iter().map(|o| (o.0.as_str(), o.1.as_deref().filter(|owner| alive.contains(owner)))).collect();
            // What has a turn now comes first, for the last are given back: a slow vendor would hold that up.
            owned.sort_by_key(|(name, _)| !state.busy.contains(*name));
            let ours: BTreeSet<&str> = owned.iter().filter(|o| o.1 == Some(id)).map(|o| o.0).collect();
            let gone: Vec<String> = state.held.iter().filter(|name| !ours.contains(name.as_str())).cloned().collect();
            (share_out(id, &takers, &owned), gone, state.stopping)
        };
        for name in gone {
            // Cannot be while we live, except by hand.
            self.drop_hold(&name);
        }
        let take = if stopping { Vec::new() } else { plan.take };
        if !take.is_empty() {
            let mut rows = Vec::new();
            for owner in owners.iter().filter(|o| take.contains(&o.0)) {
                rows.push(json!([
                    owner.0,
                    owner.2.as_deref().unwrap_or_default(),
                    self.epoch(owner.2.as_deref())?,
                    owner.1.as_deref().unwrap_or_default()
                ]));
            }
            let taken = replicas::take(&self.db, id, &Value::from(rows), self.ctx.clock.now()).await?;
            tracing::info!(connections = ?taken, "taken over");
            let mut state = self.state();
            for line in taken.iter().filter_map(|name| self.ctx.lines.get(name)) {
                line.limits().forget();
                line.fence().hold(&state.until);
            }
            state.held.extend(taken.iter().cloned());
            drop(state);
            self.ctx.wake.these(taken.into_iter());
        }
        {
            let mut state = self.state();
            state.moving = plan.moving;
            state.leaving = plan.release.into_iter().filter(|name| state.held.contains(name)).collect();
        }
        self.give_back(id).await
    }

    /// The next epoch: a counter, and what nobody can guess, for a restored database counts anew.
    fn epoch(&self, before: Option<&str>) -> Result<String> {
        let count = before.and_then(|epoch| epoch.split('-').next()?.parse::<u64>().ok()).unwrap_or(0) + 1;
        let nonce = self.ctx.clock.secret::<4>().map_err(|e| Error::System(e.to_string()))?;
        Ok(format!("{count}-{}", hex::encode(nonce)))
    }

    /// Gives back what is to be given back and has no turn.
    async fn give_back(&self, id: &str) -> Result<()> {
        let idle: Vec<String> = {
            let mut state = self.state();
            let (leaving, busy) = (std::mem::take(&mut state.leaving), state.busy.clone());
            let (busy, idle): (BTreeSet<String>, BTreeSet<String>) = leaving.into_iter().partition(|name| busy.contains(name));
            state.leaving = busy;
            for name in &idle {
                state.held.remove(name);
            }
            idle.into_iter().collect()
        };
        if idle.is_empty() {
            return Ok(());
        }
        for line in idle.iter().filter_map(|name| self.ctx.lines.get(name)) {
            line.fence().close();
            if let Err(error) = line.limits().give_back().await {
                // It stays reserved for a while; the connection is released all the same.
                tracing::warn!(connection = line.name(), %error, "a budget could not be given back");
            }
        }
        tracing::info!(connections = ?idle, "given back");
        replicas::release(&self.db, id, &Value::from(idle.iter().map(|name| json!([name])).collect::<Vec<_>>())).await
    }

    fn drop_hold(&self, name: &str) {
        self.state().held.remove(name);
        if let Some(line) = self.ctx.lines.get(name) {
            line.fence().close();
            line.limits().forget();
        }
    }

    fn forget_all(&self) {
        let held = {
            let mut state = self.state();
            (state.lost, state.moving) = (true, true);
            state.until.store(0, Ordering::SeqCst);
            state.leaving.clear();
            std::mem::take(&mut state.held)
        };
        for name in held {
            self.drop_hold(&name);
        }
        self.lost.notify_one();
    }

    /// Begins to leave: no turn begins any more, and what has none is given back at once, the rest when its turn has
    /// ended and this is called again.
    ///
    /// # Errors
    /// The store's.
    pub async fn retire(&self) -> Result<()> {
        let (id, first) = {
            let mut state = self.state();
            let first = !std::mem::replace(&mut state.stopping, true);
            let held = state.held.clone();
            state.leaving = held;
            (state.id.clone(), first)
        };
        if first {
            replicas::leaving(&self.db, &id).await?;
        }
        self.give_back(&id).await
    }

    /// Leaves: nothing is ours any more.
    ///
    /// # Errors
    /// The store's.
    pub async fn leave(&self) -> Result<()> {
        self.state().busy.clear();
        self.retire().await?;
        replicas::leave(&self.db, &self.id()).await
    }
}

/// Keeps a member's heart beating until told to end.
///
/// # Errors
/// [`Error::System`] when the clock has gone wrong.
pub async fn keep(member: Arc<Member>, end: CancellationToken) -> Result<()> {
    let clock = member.ctx.clock.clone();
    let (mut measured, mut failing) = (clock.steady(), false);
    while !end.is_cancelled() {
        match member.beat().await {
            Ok(_) => failing = false,
            Err(error) if !failing => {
                tracing::error!(%error, "the heartbeat is not kept: no vendor is called until it is");
                failing = true;
            }
            Err(_) => {}
        }
        if !failing && clock.steady() - measured >= MEASURE {
            match offset(&member.db, &clock).await {
                Ok(offset) => member.state().offset = offset,
                Err(error @ Error::System(_)) => return Err(error),
                Err(error) => tracing::warn!(%error, "the database's clock cannot be asked"),
            }
            measured = clock.steady();
        }
        tokio::select! {
            () = end.cancelled() => {}
            () = clock.sleep(BEAT) => {}
        }
    }
    Ok(())
}

/// What one replica is to take and to give back.
#[derive(Debug, Default, PartialEq, Eq)]
struct Shares {
    take: Vec<String>,
    release: Vec<String>,
    /// Whether anything at all is still to change hands.
    moving: bool,
}

/// Shares connections out evenly, so that those who have more keep the odd ones: nothing moves without need. Each
/// replica answers for itself; `takers` are those that live and stay, `owned` names owners that live.
fn share_out(me: &str, takers: &[&str], owned: &[(&str, Option<&str>)]) -> Shares {
    let mut counts: BTreeMap<&str, usize> = takers.iter().map(|id| (*id, 0)).collect();
    for (_, owner) in owned {
        if let Some(count) = owner.and_then(|owner| counts.get_mut(owner)) {
            *count += 1;
        }
    }
    let (each, odd) = (owned.len() / takers.len().max(1), owned.len() % takers.len().max(1));
    let mut order: Vec<(&str, usize)> = counts.into_iter().collect();
    order.sort_by_key(|(id, count)| (std::cmp::Reverse(*count), *id));
    let target = |rank: usize| each + usize::from(rank < odd);
    let free: Vec<&str> = owned.iter().filter(|(_, owner)| owner.is_none()).map(|(name, _)| *name).collect();
    let moving = !free.is_empty() || order.iter().enumerate().any(|(rank, (_, count))| *count != target(rank));
    let Some(rank) = order.iter().position(|(id, _)| *id == me) else { return Shares { moving, ..Shares::default() } };
    let (mine, goal) = (order[rank].1, target(rank));
    // Each begins at another place, so that few reach for the same.
    let from = free.len() * rank / takers.len().max(1);
    let take = free.iter().cycle().skip(from).take(free.len().min(goal.saturating_sub(mine))).map(|name| (*name).to_owned()).collect();
    let ours = owned.iter().filter(|(_, owner)| *owner == Some(me)).map(|(name, _)| (*name).to_owned());
    Shares { take, release: ours.skip(goal).collect(), moving }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        // Breaks when connections stay without an owner, pile up at one replica, or keep moving for ever.
        #[test]
        fn connections_are_spread_evenly_and_come_to_rest(
            replicas in 1usize..6,
            owners in prop::collection::vec(prop::option::of(0usize..6), 0..40),
        ) {
            let ids: Vec<String> = (0..replicas).map(|n| format!("r{n}")).collect();
            let takers: Vec<&str> = ids.iter().map(String::as_str).collect();
            let names: Vec<String> = (0..owners.len()).map(|n| format!("c{n:02}")).collect();
            let mut owned: Vec<(&str, Option<&str>)> =
                names.iter().zip(&owners).map(|(name, owner)| (name.as_str(), owner.and_then(|n| takers.get(n).copied()))).collect();
            for round in 0..10 {
                let before = owned.clone();
                for me in &takers {
                    let shares = share_out(me, &takers, &before);
                    for (name, owner) in &mut owned {
                        if owner.is_none() && shares.take.iter().any(|t| t == name) {
                            *owner = Some(me);
                        } else if *owner == Some(*me) && shares.release.iter().any(|r| r == name) {
                            *owner = None;
                        }
                    }
                }
                prop_assert!(round < 9 || before == owned, "still moving");
            }
            let count = |me: &&str| owned.iter().filter(|(_, owner)| *owner == Some(*me)).count();
            let counts: Vec<usize> = takers.iter().map(count).collect();
            prop_assert_eq!(counts.iter().sum::<usize>(), owned.len());
            prop_assert!(counts.iter().max().unwrap() - counts.iter().min().unwrap() <= 1, "{:?}", counts);
            prop_assert!(takers.iter().all(|me| share_out(me, &takers, &owned) == Shares::default()));
        }
    }
}
