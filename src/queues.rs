//! Queues: which delivery is next of those that wait for one connection. Who has thousands waiting makes nobody else wait for them.
//!
//! A delivery's place is a moment, and the earliest is next. A partner's next delivery has its place a millisecond after that
//! partner's last one, but never before whoever is next: so partners take turns, one delivery each, however many each of them has
//! ("start-time fair queueing"). No place is in the future, for it delays nothing that could go at once: where nothing waits, places
//! begin a minute ago, so that there is room for many.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, PoisonError};

use serde_json::{Value, json};

use crate::clock::{HOUR, MINUTE, Millis};
use crate::errors::Result;
use crate::store::Tx;
use crate::store::deliveries::{self, Lane};

/// So many partners' last places are remembered; then those go that are an hour old.
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
pub struct Queues(Mutex<BTreeMap<(At, String), Millis>>);

impl Queues {
    /// Wants deliveries, or newer versions of those that are wanted already. Of one share and way there may be one.
    ///
    /// # Errors
    /// The store's.
    pub async fn want(&self, tx: &mut Tx, wants: &[Want], now: Millis) -> Result<()> {
        if wants.is_empty() {
            return Ok(());
        }
        let queues: BTreeSet<(&str, &str, i64)> = wants.iter().map(|w| (&*w.connection, w.way, w.lane as i64)).collect();
        let next = deliveries::next(tx, &Value::from(queues.into_iter().map(|queue| json!(queue)).collect::<Vec<_>>())).await?;
        let places = self.give(wants, &next, now);
        let rows = wants.iter().zip(places).map(|(w, place)| json!([w.share, w.way, w.connection, w.object, w.lane as i64, place]));
        deliveries::want(tx, &rows.collect(), now).await
    }

    /// The places of these, given the place of what is next in each queue where something waits.
    fn give(&self, wants: &[Want], next: &BTreeMap<At, Millis>, now: Millis) -> Vec<Millis> {
        let mut last = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if last.len() > MOST {
            last.retain(|_, place| *place + HOUR > now);
        }
        let place = |want: &Want| {
            // What protects people does not queue.
            if want.lane == Lane::Protect {
                return now;
            }
            let at = (want.connection.clone(), want.way.to_owned(), want.lane as i64);
            let first = next.get(&at).copied().filter(|place| *place <= now).unwrap_or(now - MINUTE);
            let own = last.entry((at, want.partner.clone())).or_insert(Millis::MIN);
            *own = first.max(own.saturating_add(1)).min(now);
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

    // Breaks when a partner with much that waits is served before another's first, when what could go now is put off, or when
    // a withdrawal has to wait.
    #[test]
    fn partners_take_turns() {
        let queues = Queues::default();
        let now = 100_000;
        let places = |who: &str, count, next: Option<Millis>| {
            let next = next.map(|place| (("crm".to_owned(), "out".to_owned(), 1), place)).into_iter().collect();
            queues.give(&vec![want(who, Lane::NewLeads); count], &next, now)
        };
        // Nothing waits; then they wait, and more come: behind one another.
        assert_eq!(places("northwind", 500, None)[..2], [40_000, 40_001]);
        assert_eq!(places("northwind", 500, Some(40_100))[..2], [40_500, 40_501]);
        // Another's are level with whoever is next.
        assert_eq!(places("orchard", 3, Some(40_200)), [40_200, 40_201, 40_202]);
        // What waits is not due yet: a destination rests.
        assert_eq!(places("tessera", 1, Some(now + 1)), [40_000]);
        // Nothing is put off.
        assert_eq!(*places("lumen", 70_000, None).last().unwrap(), now);
        assert_eq!(queues.give(&[want("northwind", Lane::Protect)], &BTreeMap::new(), now), [now]);
        // Another lane is another queue.
        assert_eq!(queues.give(&[want("northwind", Lane::Status)], &BTreeMap::new(), now), [40_000]);
    }

    // Breaks when it grows for ever.
    #[test]
    fn old_places_are_forgotten() {
        let queues = Queues::default();
        for n in 0..=MOST {
            queues.give(&[want(&format!("p{n}"), Lane::NewLeads)], &BTreeMap::new(), 0);
        }
        queues.give(&[want("late", Lane::NewLeads)], &BTreeMap::new(), HOUR);
        assert_eq!(queues.0.lock().unwrap().len(), 1);
    }
}
