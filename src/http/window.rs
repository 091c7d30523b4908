//! One budget's window: what was spent in it by whom, and whether more may be.
//!
//! The vendor counts a request at some moment between its sending and its answer. A spent unit is therefore held for one
//! whole window after its answer was heard: no window of the vendor's, wherever it starts, can then hold more than the
//! limit. Units are reserved in blocks, in a row that all replicas share, before they are used.
//!
//! A quiet account is asked a question now and then, and a block for each would be one write for each. Its owner has a
//! block that *rests*: it lives through several polls, and its units are there again a window after their answers. In
//! whichever window a crash falls, no more than those units were used of it; it wastes them for as long as the block rests.

use serde::{Deserialize, Serialize};

use crate::clock::{MINUTE, Millis, SECOND};

/// A window is kept in so many slots: what falls into one slot is held as long as the last of it.
const SLOTS: Millis = 250;
/// A block is at most this part of a window, and of what may be spent evenly in its life at most this: so much a crash can waste.
const BLOCKS: i64 = 40;
const OF_LIFE: i64 = 4;
/// This part of a budget is kept free for withdrawals, erasures and recalls.
const PROTECTED: i64 = 50;
/// A request of a block whose owner died is on its way this long at most.
const ON_ITS_WAY: Millis = 5 * SECOND;
/// An account is quiet when nothing of it is held, and we have heard no answer of its for this long.
const QUIET: Millis = MINUTE;
/// How long a block rests: through two of the longest pauses between polls. It has at most this part of a window.
const RESTS: Millis = 40 * MINUTE;
const OF_WINDOW: i64 = 4;
/// What the vendor says of other apps is believed this long at most.
const BELIEVED: Millis = 15 * MINUTE;

/// What was spent from a budget, as its row holds it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Spent {
    /// Where the times of `log` start.
    from: Millis,
    /// Units with the time after `from` at which the last of their answers was heard.
    log: Vec<(Millis, i64)>,
    /// Reserved blocks whose use is not known yet: id, until when they may be taken from, units.
    open: Vec<(String, Millis, i64)>,
    /// The limit that the vendor stated.
    stated: Option<i64>,
    /// Units that other apps spent in the vendor's window, and until when that is believed.
    others: (i64, Millis),
}

impl Spent {
    /// Reads a row's text; one that cannot be read holds nothing.
    pub fn read(text: &str) -> Self {
        serde_json::from_str(text).unwrap_or_default()
    }

    /// The row's text.
    pub fn text(&self) -> String {
        serde_json::to_string(self).unwrap_or_default()
    }

    /// How many units are held at `now` by a budget with windows of this length. What rests is not used.
    pub fn used(&self, length: Millis, now: Millis) -> i64 {
        let ended = now + life(length) + ON_ITS_WAY + length;
        self.ends(length, "").iter().filter(|(end, _)| *end > now && *end <= ended).map(|(_, units)| units).sum()
    }

    /// Until when units are held; open blocks whose id starts with `own` are left out.
    fn ends(&self, length: Millis, own: &str) -> Vec<(Millis, i64)> {
        let others = self.open.iter().filter(|(id, ..)| own.is_empty() || !id.starts_with(own));
        let log = self.log.iter().map(|(at, units)| (self.from + at + length, *units));
        log.chain(others.map(|(_, until, units)| (until + ON_ITS_WAY + length, *units))).collect()
    }
}

/// How long a reserved unit may be used.
fn life(length: Millis) -> Millis {
    (length / 100).max(SECOND)
}

/// A block of ours.
#[derive(Debug)]
struct Block {
    id: String,
    seq: u64,
    /// Until when it may be taken from.
    until: Millis,
    /// Whether units come back to it.
    rests: bool,
    units: i64,
    taken: i64,
    /// Units of `taken` whose answers were not heard yet.
    on_their_way: i64,
}

/// A block that may be taken from once the row says so.
#[derive(Debug)]
pub struct Planned {
    /// The row to write first.
    pub spent: Spent,
    block: Block,
}

/// What became of asking for units.
#[derive(Debug, PartialEq, Eq)]
pub enum Take {
    /// Taken, from the block with this number.
    Yes(u64),
    /// A block must be reserved first.
    Reserve,
    /// Nothing is free before then.
    Wait(Millis),
}

/// One budget as this process sees it.
#[derive(Debug)]
pub struct Window {
    /// Units in a window that the connection has, as configured.
    limit: i64,
    /// Whether the operator set the limit: then what the vendor states does not raise it.
    fixed: bool,
    /// How much of it the partner was promised that we take at most, percent.
    share: i64,
    length: Millis,
    /// Names the blocks of this process; another name each time the connection is taken over.
    own: String,
    /// The row, and its version once it was read.
    kept: Spent,
    version: Option<i64>,
    blocks: Vec<Block>,
    count: u64,
    /// Units of ours whose answers were heard and that the row does not log yet, with the time; the first `sealed` of
    /// them are being written.
    heard: Vec<(Millis, i64)>,
    sealed: usize,
    /// Units that the block before used: the next one follows the need.
    lately: i64,
    /// When the last answer was heard, and units whose answers were heard since the account was quiet: a round of polls.
    last: Millis,
    round: i64,
    /// The limit that the vendor stated.
    stated: Option<i64>,
    /// Units that other apps spent in the vendor's window, and until when that is believed.
    others: (i64, Millis),
}

impl Window {
    /// A budget of `limit` units in windows of `length`, of which `share` percent are promised to be ours. `fixed`
    /// limits are not raised by what the vendor states. `own` is unique to this process.
    pub fn new(limit: u32, fixed: bool, share: u32, length: Millis, own: &str) -> Self {
        Self {
            limit: i64::from(limit.max(1)),
            fixed,
            share: i64::from(share),
            length: length.max(1),
            own: format!("{own}:"),
            kept: Spent::default(),
            version: None,
            blocks: Vec::new(),
            count: 0,
            heard: Vec::new(),
            sealed: 0,
            lately: 0,
            last: 0,
            round: 0,
            stated: None,
            others: (0, 0),
        }
    }

    /// The limit, as the vendor stated it or as configured.
    pub fn limit(&self) -> i64 {
        self.stated.unwrap_or(self.limit)
    }

    /// What we may use at most, whatever other apps do.
    fn ours(&self) -> i64 {
        if self.fixed { self.limit.min(self.limit()) } else { self.limit() }
    }

    /// The units of a window that are promised to be ours; an ask costs no more.
    pub fn promised(&self) -> i64 {
        (self.ours() * self.share / 100).max(1)
    }

    /// The row's version, once it was read.
    pub fn version(&self) -> Option<i64> {
        self.version
    }

    /// Takes over what the row says.
    pub fn read(&mut self, spent: Spent, version: i64) {
        self.stated = self.stated.or(spent.stated);
        if self.others.1 < spent.others.1 {
            self.others = spent.others;
        }
        (self.kept, self.version) = (spent, Some(version));
    }

    /// Somebody else wrote the row: it must be read again.
    pub fn unread(&mut self) {
        (self.version, self.sealed) = (None, 0);
    }

    /// Forgets everything, as the connection is another replica's now: what is still on its way is in the row.
    pub fn forget(&mut self) {
        self.own = format!("{}{}:", self.own, self.count);
        self.blocks.clear();
        self.heard.clear();
        self.unread();
    }

    /// Until when each spent unit is held, by everybody.
    fn held(&self, now: Millis) -> Vec<(Millis, i64)> {
        let mut ends = self.kept.ends(self.length, &self.own);
        ends.extend(self.heard.iter().map(|(at, units)| (at + self.length, *units)));
        // Not answered yet: held for a window from now at least.
        ends.extend(self.blocks.iter().map(|block| (now + self.length, block.on_their_way)));
        ends.retain(|(end, units)| *end > now && *units > 0);
        ends
    }

    fn used(&self, now: Millis) -> i64 {
        self.held(now).iter().map(|(_, units)| units).sum()
    }

    /// How much may be held at once, for protecting work and for the rest.
    fn cap(&self, protect: bool, now: Millis) -> i64 {
        let vendor = self.limit() - if self.others.1 > now { self.others.0 } else { 0 };
        let kept_free = if protect { 0 } else { self.ours() / PROTECTED };
        self.most(protect).min(vendor - kept_free)
    }

    /// The most that may be spent in a window of which others take nothing.
    pub fn most(&self, protect: bool) -> i64 {
        let ours = self.ours();
        if protect { ours } else { self.promised().min(ours - ours / PROTECTED) }.max(1)
    }

    /// From when on so many units are free.
    fn free_at(&self, units: i64, protect: bool, now: Millis) -> Millis {
        let mut missing = self.used(now) + units - self.cap(protect, now);
        let mut ends = self.held(now);
        if self.others.1 > now {
            ends.push((self.others.1, self.others.0));
        }
        ends.sort_unstable();
        for (end, units) in &ends {
            missing -= units;
            if missing <= 0 {
                return *end;
            }
        }
        now + self.length
    }

    /// Looks whether units can be taken, without taking them.
    pub fn look(&self, units: i64, protect: bool, now: Millis) -> Take {
        if self.version.is_none() {
            return Take::Reserve;
        }
        if self.used(now) + units > self.cap(protect, now) {
            return Take::Wait(self.free_at(units, protect, now));
        }
        match self.blocks.last() {
            Some(block) if now < block.until && self.gone(block, now) + units <= block.units => Take::Yes(block.seq),
            _ => Take::Reserve,
        }
    }

    /// Units of a block that are not there for now. What was heard since a block rests is its own.
    fn gone(&self, block: &Block, now: Millis) -> i64 {
        if !block.rests {
            return block.taken;
        }
        let held = self.heard.iter().filter(|(at, _)| at + self.length > now);
        block.on_their_way + held.map(|(_, units)| units).sum::<i64>()
    }

    /// Takes units that [`Window::look`] has just found.
    pub fn take(&mut self, units: i64) {
        if let Some(block) = self.blocks.last_mut() {
            block.taken += units;
            block.on_their_way += units;
        }
    }

    /// Units that were taken were answered, or nobody waits for the answer any more.
    pub fn answered(&mut self, seq: u64, units: i64, now: Millis) {
        let Some(block) = self.blocks.iter_mut().find(|b| b.seq == seq) else { return };
        block.on_their_way -= units;
        self.round = units + if now - self.last < QUIET { self.round } else { 0 };
        self.last = now;
        if self.sealed == 0 {
            self.heard.retain(|(at, _)| at + self.length > now);
        }
        let slot = (self.length / SLOTS).max(1);
        // Rounded up: never held shorter than a window.
        let at = (now + slot - 1).div_euclid(slot) * slot;
        match self.heard.get_mut(self.sealed..).and_then(<[_]>::last_mut) {
            Some((last, count)) if *last == at => *count += units,
            _ => self.heard.push((at, units)),
        }
    }

    /// Units that were taken were not used.
    pub fn unused(&mut self, seq: u64, units: i64) {
        if let Some(block) = self.blocks.iter_mut().find(|b| b.seq == seq) {
            block.on_their_way -= units;
            block.taken -= units;
        }
    }

    /// What the row is to say: what is known to be used, and what is on its way. No block is taken from any more.
    pub fn settle(&mut self, now: Millis) -> Spent {
        if let Some(mut block) = self.blocks.pop() {
            self.lately = self.gone(&block, now);
            // Nothing is taken from it any more.
            block.units = 0;
            if block.rests {
                block.until = block.until.min(now);
            }
            self.blocks.push(block);
        }
        self.blocks.retain(|block| block.on_their_way > 0);
        self.sealed = self.heard.len();
        let mut log: Vec<(Millis, i64)> = self.kept.log.iter().map(|(at, units)| (self.kept.from + at, *units)).collect();
        log.extend_from_slice(&self.heard);
        log.retain(|(at, _)| at + self.length > now);
        log.sort_unstable();
        log.dedup_by(|next, first| {
            let same = next.0 == first.0;
            first.1 += if same { next.1 } else { 0 };
            same
        });
        let mut open = self.kept.open.clone();
        open.retain(|(id, until, _)| !id.starts_with(&self.own) && until + ON_ITS_WAY + self.length > now);
        open.extend(self.blocks.iter().map(|block| (block.id.clone(), block.until, block.on_their_way)));
        let from = log.first().map_or(0, |(at, _)| *at);
        Spent { from, log: log.into_iter().map(|(at, units)| (at - from, units)).collect(), open, stated: self.stated, others: self.others }
    }

    /// The row was written as [`Window::settle`] gave it.
    pub fn wrote(&mut self, spent: Spent, version: i64) {
        self.heard.drain(..self.sealed);
        self.sealed = 0;
        self.read(spent, version);
    }

    /// Plans a block of at least so many units. One may rest where `owner` says that the connection is ours for long.
    ///
    /// # Errors
    /// The time from which there may be room.
    pub fn plan(&mut self, units: i64, protect: bool, owner: bool, now: Millis) -> Result<Planned, Millis> {
        let used = self.used(now);
        let room = self.cap(protect, now) - used;
        if room < units {
            return Err(self.free_at(units, protect, now));
        }
        let may_rest = self.cap(false, now) / OF_WINDOW;
        let rests = owner && units <= may_rest && used == 0 && now - self.last >= QUIET;
        let mut spent = self.settle(now);
        let most = (self.ours() / BLOCKS).min(self.ours() * life(self.length) / self.length / OF_LIFE);
        // What rests is for a round like the one before, unless that was rather a backlog.
        let wanted = match rests {
            true if self.round <= may_rest => self.round,
            true => 1,
            false => (2 * self.lately).min(most),
        };
        let size = wanted.max(1).max(units).min(room);
        let until = now + if rests { RESTS } else { life(self.length) };
        let id = format!("{}{}", self.own, self.count);
        spent.open.push((id.clone(), until, size));
        let block = Block { id, seq: self.count, until, rests, units: size, taken: 0, on_their_way: 0 };
        Ok(Planned { spent, block })
    }

    /// The planned block is in the row now: it may be taken from until its life ends.
    pub fn reserved(&mut self, planned: Planned, version: i64) {
        self.wrote(planned.spent, version);
        self.blocks.push(planned.block);
        self.count += 1;
    }

    /// What the vendor says of its own window: its limit, and what all apps together have used.
    pub fn heard(&mut self, stated: Option<i64>, used: i64, now: Millis) {
        self.stated = stated.filter(|limit| *limit > 0).or(self.stated);
        self.others = ((used - self.used(now)).max(0), now + self.length.min(BELIEVED));
    }
}

#[cfg(test)]
mod tests;
