//! Which connections take their turn now: each one turn at a time, first come first served, and the slow ones
//! in nobody's way.

use std::collections::{HashMap, HashSet, VecDeque};

use tokio::task::{Id, JoinSet};

use crate::clock::{Clock, Millis, SECOND};

/// Most turns under way at the same time, those that wait for a slow vendor not counted.
const AT_ONCE: usize = 32;
/// A turn that takes longer than this waits for its vendor, and gives its place to others.
const SLOW: Millis = 5 * SECOND;
/// Most turns in all.
const MOST: usize = 1_024;

/// What is worked on at a stretch: leads, deliveries.
const STRETCH: usize = 12;

/// Lets others have the processor after a stretch of work: webhooks are to be answered meanwhile.
pub async fn let_others(done: usize) {
    if done % STRETCH == STRETCH - 1 {
        tokio::task::yield_now().await;
    }
}

/// How a turn ended.
#[derive(Debug, PartialEq, Eq)]
pub enum End {
    /// Something was done: there may be more.
    Worked,
    /// Nothing was to be done.
    Idle,
    /// It panicked, or was broken off.
    Broke(String),
}

/// Turns that wait and turns under way.
pub struct Turns {
    clock: Clock,
    queue: VecDeque<String>,
    queued: HashSet<String>,
    running: HashMap<String, Millis>,
    names: HashMap<Id, String>,
    tasks: JoinSet<bool>,
}

impl Turns {
    /// None yet.
    pub fn new(clock: &Clock) -> Self {
        Self {
            clock: clock.clone(),
            queue: VecDeque::new(),
            queued: HashSet::new(),
            running: HashMap::new(),
            names: HashMap::new(),
            tasks: JoinSet::new(),
        }
    }

    /// A connection wants a turn: after the one that it has now, if it has.
    pub fn want(&mut self, name: String) {
        if self.queued.insert(name.clone()) {
            self.queue.push_back(name);
        }
    }

    /// The next connection to have its turn, when there is room for one; taken out of those that wait.
    pub fn ready(&mut self) -> Option<String> {
        let now = self.clock.steady();
        let quick = self.running.values().filter(|since| now - **since < SLOW).count();
        if quick >= AT_ONCE || self.running.len() >= MOST {
            return None;
        }
        let at = self.queue.iter().position(|name| !self.running.contains_key(name))?;
        let name = self.queue.remove(at)?;
        self.queued.remove(&name);
        Some(name)
    }

    /// Starts a connection's turn, which answers whether it did something.
    pub fn start(&mut self, name: String, turn: impl Future<Output = bool> + Send + 'static) {
        self.running.insert(name.clone(), self.clock.steady());
        let task = self.tasks.spawn(turn);
        self.names.insert(task.id(), name);
    }

    /// Waits for the next turn to end; `None` when none is under way.
    pub async fn ended(&mut self) -> Option<(String, End)> {
        let (id, end) = match self.tasks.join_next_with_id().await? {
            Ok((id, true)) => (id, End::Worked),
            Ok((id, false)) => (id, End::Idle),
            Err(error) => (error.id(), End::Broke(if error.is_panic() { "it panicked".into() } else { error.to_string() })),
        };
        let name = self.names.remove(&id).unwrap_or_default();
        self.running.remove(&name);
        Some((name, end))
    }

    /// Breaks every turn off at once, as a crash would; answers the connections concerned.
    pub async fn abort(&mut self) -> Vec<String> {
        self.tasks.abort_all();
        let mut broken = Vec::new();
        while let Some((name, _)) = self.ended().await {
            broken.push(name);
        }
        self.queue.clear();
        self.queued.clear();
        broken
    }

    /// Whether no turn is under way.
    pub fn is_empty(&self) -> bool {
        self.tasks.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    // Breaks when a panic in one connection's turn makes others look as if their turn had ended: they would have two at once.
    #[tokio::test]
    async fn a_panic_ends_its_own_turn_only() {
        let mut turns = Turns::new(&Clock::test(0));
        let (go, wait) = tokio::sync::oneshot::channel::<()>();
        turns.start("calm".into(), async move { wait.await.is_ok() });
        turns.start("broken".into(), async { panic!("on purpose") });
        assert_eq!(turns.ended().await, Some(("broken".into(), End::Broke("it panicked".into()))));
        turns.want("calm".into());
        turns.want("broken".into());
        assert_eq!(turns.ready().as_deref(), Some("broken"), "the calm one has its turn still");
        assert_eq!(turns.ready(), None);
        go.send(()).unwrap();
        assert_eq!(turns.ended().await, Some(("calm".into(), End::Worked)));
        assert_eq!(turns.ready().as_deref(), Some("calm"));
    }

    // Breaks when destinations that are slow to answer take up all the room, or those first in the alphabet go first for ever.
    #[tokio::test]
    async fn slow_turns_are_in_nobodys_way() {
        let clock = Clock::test(0);
        let mut turns = Turns::new(&clock);
        for n in 0..AT_ONCE {
            turns.start(format!("slow-{n}"), std::future::pending());
        }
        turns.want("b".into());
        turns.want("a".into());
        turns.want("b".into());
        assert_eq!(turns.ready(), None, "no room yet");
        clock.advance(SLOW);
        assert_eq!(turns.ready().as_deref(), Some("b"));
        turns.want("b".into());
        assert_eq!(turns.ready().as_deref(), Some("a"));
        assert_eq!(turns.abort().await.len(), AT_ONCE);
        assert!(turns.is_empty() && turns.ready().is_none());
    }
}
