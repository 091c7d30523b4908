//! Queues: which delivery is next of those that wait for one connection. Who has thousands waiting makes nobody else wait for them.
//!
//! A delivery's place is a number, and the lowest is next in its lane. A partner's next delivery has its place after that partner's last
//! one, but never before whoever is next: so partners take turns, one delivery each, however many each of them has ("start-time fair
//! queueing"). What waits for a time has no place before that has come; then it gets one as if it were new.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, PoisonError};

use serde_json::{Value, json};

use crate::clock::{HOUR, Millis};
use crate::errors::Result;
use crate::store::deliveries::{self, Lane};
use crate::store::{Db, Tx};

/// So many queues are remembered; then those go in which nobody got a place for an hour.
const MOST: usize = 4_096;

/// A delivery that is wanted.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Want {
    /// Where to.
    pub connection: String,
    /// `out` or `back`.
    pub way: &'static str,
    /// What goes first there.
    pub lane: Lane,
    /// Whose it is: the partner that gives the lead, or the one whose news it is.
    pub partner: String,
    /// The share.
    pub share: String,
    /// The vendor's object.
    pub object: String,
}

/// Which queue: connection, way, lane.
type At = (String, String, i64);

/// The last place of each partner in each queue. It may be lost: then a partner's next delivery is level with those of others,
/// ahead of its own that wait.
#[derive(Default)]
pub struct Queues(Mutex<BTreeMap<At, Queue>>);

#[derive(Default)]
struct Queue {
    /// When somebody last got a place.
    given_at: Millis,
    last: BTreeMap<String, i64>,
}

impl Queues {
    /// Wants deliveries, or newer versions of those that are wanted already. Of one share and way there may be one.
    ///
    /// # Errors
    /// The store's.
    pub async fn want(&self, tx: &mut Tx, wants: &[Want], now: Millis) -> Result<()> {
        if wants.is_empty() {
            return Ok(());
        }
        let places = self.places(tx, wants, now).await?;
        let rows = wants.iter().zip(places).map(|(w, place)| json!([w.share, w.way, w.connection, w.object, w.lane as i64, place]));
        deliveries::want(tx, &rows.collect(), now).await
    }

    /// Gives places to what has waited on a connection until it was due; answers whether there was anything.
    ///
    /// # Errors
    /// The store's.
    pub async fn ripen(&self, db: &Db, connection: &str, way: &'static str, now: Millis) -> Result<bool> {
        let mut tx = db.begin().await?;
        let lane = |number| Lane::ALL.into_iter().find(|lane| *lane as i64 == number).unwrap_or(Lane::Backfill);
        let ripe = deliveries::ripe(&mut tx, connection, way, now).await?.into_iter();
        let wants: Vec<Want> = ripe
            .map(|(share, object, number, partner)| Want {
                connection: connection.to_owned(),
                way,
                lane: lane(number),
                partner,
                share,
                object,
            })
            .collect();
        let places = self.places(&mut tx, &wants, now).await?;
        let rows = wants.iter().zip(places).map(|(want, place)| json!([want.share, place]));
        deliveries::ripen(&mut tx, way, &rows.collect(), now).await?;
        tx.commit().await?;
        Ok(!wants.is_empty())
    }

    async fn places(&self, tx: &mut Tx, wants: &[Want], now: Millis) -> Result<Vec<i64>> {
        let queues: BTreeSet<(&str, &str, i64)> = wants.iter().map(|w| (&*w.connection, w.way, w.lane as i64)).collect();
        let next = deliveries::next(tx, &Value::from(queues.into_iter().map(|queue| json!(queue)).collect::<Vec<_>>())).await?;
        Ok(self.give(wants, &next, now))
    }

    /// The places of these, given the place of what is next in each queue where something waits.
    fn give(&self, wants: &[Want], next: &BTreeMap<At, i64>, now: Millis) -> Vec<i64> {
        let mut queues = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if queues.len() > MOST {
            queues.retain(|_, queue| queue.given_at + HOUR > now);
        }
        let at = |want: &Want| (want.connection.clone(), want.way.to_owned(), want.lane as i64);
        // Where nothing waits everybody begins anew.
        for at in wants.iter().map(at).filter(|at| !next.contains_key(at)) {
            queues.remove(&at);
        }
        let place = |want: &Want| {
            let at = at(want);
            let first = next.get(&at).copied().unwrap_or(now);
            let queue = queues.entry(at).or_default();
            queue.given_at = now;
            // What protects people goes in the order in which it came.
            let partner = if want.lane == Lane::Protect { String::new() } else { want.partner.clone() };
            let own = queue.last.entry(partner).and_modify(|own| *own += 1).or_insert(first);
            *own = first.max(*own);
            *own
        };
        wants.iter().map(place).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn want(partner: &str, lane: Lane) -> Want {
        Want { connection: "crm".into(), way: "out", lane, partner: partner.into(), share: String::new(), object: "contact".into() }
    }

    fn waits(place: i64) -> BTreeMap<At, i64> {
        BTreeMap::from([(("crm".to_owned(), "out".to_owned(), 1), place)])
    }

    // Breaks when a partner with much that waits is served before another's first, or a withdrawal has to wait for others.
    #[test]
    fn partners_take_turns() {
        let queues = Queues::default();
        let places = |who: &str, count, next: &BTreeMap<At, i64>| queues.give(&vec![want(who, Lane::NewLeads); count], next, 1_000);
        let nothing = BTreeMap::new();
        // Nothing waits; then they wait, and more come: behind one another.
        assert_eq!(places("northwind", 500, &nothing)[..2], [1_000, 1_001]);
        assert_eq!(places("northwind", 500, &waits(1_100))[..2], [1_500, 1_501]);
        // Another's are level with whoever is next.
        assert_eq!(places("orchard", 3, &waits(1_200)), [1_200, 1_201, 1_202]);
        assert_eq!(places("orchard", 1, &waits(1_201)), [1_203]);
        // Who had a turn long ago is not owed any.
        assert_eq!(places("orchard", 2, &waits(1_900)), [1_900, 1_901]);
        // Where nothing waits any more nobody is ahead or behind for what was before.
        assert_eq!(places("northwind", 1, &nothing), [1_000]);
        assert_eq!(places("orchard", 1, &waits(1_000)), [1_000]);
        // Other lanes are other queues; in that of withdrawals the order is theirs.
        assert_eq!(queues.give(&[want("northwind", Lane::Status)], &waits(1_900), 1_000), [1_000]);
        assert_eq!(queues.give(&[want("northwind", Lane::Protect), want("orchard", Lane::Protect)], &nothing, 1_000), [1_000, 1_001]);
    }

    // Breaks when it grows for ever, or forgets who is waiting.
    #[test]
    fn old_queues_are_forgotten() {
        let queues = Queues::default();
        let to = |n: usize| Want { connection: format!("c{n}"), ..want("northwind", Lane::NewLeads) };
        for n in 0..=MOST {
            queues.give(&[to(n)], &BTreeMap::new(), 0);
        }
        queues.give(&[to(7)], &waits(0), HOUR - 1);
        queues.give(&[to(1)], &BTreeMap::new(), HOUR);
        assert_eq!(queues.0.lock().unwrap().len(), 2);
    }
}
