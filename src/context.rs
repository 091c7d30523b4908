//! What every stage works with: the store, the clock, the keys, the lines to vendors.

use std::collections::BTreeSet;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};

use crate::clock::{Clock, Millis};
use crate::errors::Result;
use crate::firsts::Firsts;
use crate::http::Transport;
use crate::http::line::Line;
use crate::http::lines::Lines;
use crate::queues::Queues;
use crate::rules::Rules;
use crate::store::dirty::Raising;
use crate::store::quiet::Quiet;
use crate::store::{Db, connections};
use crate::vault::Vault;

/// Built once by the daemon and shared by everything that runs.
pub struct Context {
    /// The database.
    pub db: Db,
    /// Time, ids and randomness.
    pub clock: Clock,
    /// Keys.
    pub vault: Arc<Vault>,
    /// Sends requests to vendors.
    pub transport: Transport,
    /// Every configured connection, by name.
    pub lines: Lines,
    /// The rules in force; read with [`Context::rules`].
    pub rules: RwLock<Arc<Rules>>,
    /// Delays between tries of a delivery, milliseconds; the last is the end.
    pub retry_schedule: Vec<Millis>,
    /// Whether the disk is nearly full: nothing is sent then, and webhooks are asked to come again.
    pub low_disk: AtomicBool,
    /// What files of people's are not used and why, as this process read them last, and since when.
    pub refused: RwLock<Option<(String, Millis)>>,
    /// How far retry pauses are spread, percent to either side.
    pub jitter: i64,
    /// Woken when there is work before its time.
    pub wake: Wake,
    /// Batches that are being decided about: each is held whole, so there are as many at once as there are processors.
    pub deciding: tokio::sync::Semaphore,
    /// Raises the hints of webhooks.
    pub raising: Raising,
    /// Polls that found nothing and are not kept yet.
    pub quiet: Quiet,
    /// First writes that decisions made ready a moment ago.
    pub firsts: Arc<Firsts>,
    /// Whose turn it is where deliveries wait.
    pub queues: Queues,
    /// How long what is kept.
    pub keep: Keep,
    /// Our own address as partners and vendors see it, such as `https://leads.example`.
    pub public_url: String,
}

/// How long what is kept, in milliseconds.
#[derive(Debug, Clone, Copy)]
pub struct Keep {
    /// People of whom nothing was ever shared, after their records were last read.
    pub never_shared: Millis,
    /// How changes ended, decisions that others have replaced, tries to deliver, alerts that are over.
    pub history: Millis,
}

/// Tells whoever gives turns that connections have work before its time.
#[derive(Default)]
pub struct Wake {
    names: Mutex<BTreeSet<String>>,
    notify: tokio::sync::Notify,
}

impl Wake {
    /// These connections have work.
    pub fn these(&self, connections: impl Iterator<Item = String>) {
        self.names().extend(connections);
        self.notify.notify_one();
    }

    /// Waits until there is work somewhere, and answers where.
    pub async fn woken(&self) -> BTreeSet<String> {
        self.notify.notified().await;
        std::mem::take(&mut *self.names())
    }

    fn names(&self) -> MutexGuard<'_, BTreeSet<String>> {
        self.names.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Context {
    /// The rules in force, as one snapshot.
    pub fn rules(&self) -> Arc<Rules> {
        self.rules.read().map_or_else(|poisoned| poisoned.into_inner().clone(), |rules| rules.clone())
    }

    /// Puts new rules in force.
    pub fn set_rules(&self, rules: Rules) {
        *self.rules.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(rules);
    }

    /// Keeps what files are not used and why.
    pub fn set_refused(&self, told: Option<String>) {
        let mut refused = self.refused.write().unwrap_or_else(PoisonError::into_inner);
        let since = refused.as_ref().map_or_else(|| self.clock.now(), |(_, since)| *since);
        *refused = told.map(|told| (told, since));
    }

    /// What files are not used and why, and since when.
    pub fn refused(&self) -> Option<(String, Millis)> {
        self.refused.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// How long to wait after so many failed tries, with jitter.
    pub fn retry_after(&self, attempts: i64) -> Millis {
        let index = usize::try_from(attempts).unwrap_or(0).min(self.retry_schedule.len().saturating_sub(1));
        let delay = self.retry_schedule.get(index).copied().unwrap_or(5_000);
        // Spread, so that what failed together is not tried together.
        delay - delay * self.jitter / 100 + delay * 2 * self.jitter / 100 * self.clock.jitter() / 1_000
    }

    /// After how many failed tries a delivery is set aside.
    pub fn max_attempts(&self) -> i64 {
        self.retry_schedule.len() as i64
    }

    /// A connection needs a person: it is said once, and stays said until it is mended.
    ///
    /// # Errors
    /// The store's.
    pub async fn needs_person(&self, line: &Line, code: &str, message: &str) -> Result<()> {
        let mut tx = self.db.begin().await?;
        let code: String = code.chars().take(80).collect();
        connections::raise_alert(&mut tx, &self.clock.id(), line.name(), &code, message, self.clock.now()).await?;
        tx.commit().await?;
        tracing::error!(connection = line.name(), code, "the connection needs a person");
        Ok(())
    }
}
