//! What happened to each lead, and when: one clock for sender and receiver, for both are in this process.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use tokio::time::Instant;

/// Times by lead, in microseconds since the board was made; 0 is never.
pub struct Board {
    start: Instant,
    sent: Vec<AtomicU64>,
    acked: Vec<AtomicU64>,
    arrived: Vec<AtomicU64>,
    taken: AtomicUsize,
    acks: AtomicUsize,
    arrivals: AtomicUsize,
    doubled: AtomicUsize,
    elsewhere: AtomicUsize,
}

/// How many leads got how far.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Counts {
    /// Leads whose webhook was sent, or is about to be.
    pub sent: usize,
    /// Leads whose webhook was acknowledged.
    pub acked: usize,
    /// Leads with a record at the recipient.
    pub arrived: usize,
    /// Records beyond the first of a lead.
    pub doubled: usize,
    /// Records at a recipient that was not meant.
    pub elsewhere: usize,
}

fn column(leads: usize) -> Vec<AtomicU64> {
    std::iter::repeat_with(|| AtomicU64::new(0)).take(leads).collect()
}

impl Board {
    /// Room for so many leads.
    pub fn new(leads: usize) -> Self {
        Self {
            start: Instant::now(),
            sent: column(leads),
            acked: column(leads),
            arrived: column(leads),
            taken: AtomicUsize::new(0),
            acks: AtomicUsize::new(0),
            arrivals: AtomicUsize::new(0),
            doubled: AtomicUsize::new(0),
            elsewhere: AtomicUsize::new(0),
        }
    }

    /// Microseconds since the board was made, never 0.
    pub fn now(&self) -> u64 {
        self.start.elapsed().as_micros().max(1) as u64
    }

    /// The next `n` leads that nobody has taken yet, as the first of them; `None` when `end` is reached.
    pub fn take(&self, n: usize, end: usize) -> Option<usize> {
        let end = end.min(self.sent.len());
        self.taken.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |i| (i + n <= end).then_some(i + n)).ok()
    }

    /// How many leads there is room for.
    pub fn room(&self) -> usize {
        self.sent.len()
    }

    /// A lead's webhook is sent now, or was due at that time.
    pub fn send(&self, i: usize, at: u64) {
        self.sent[i].store(at, Ordering::Relaxed);
    }

    /// A lead's webhook was acknowledged.
    pub fn ack(&self, i: usize) {
        self.acked[i].store(self.now(), Ordering::Relaxed);
        self.acks.fetch_add(1, Ordering::Relaxed);
    }

    /// A record of a lead was made at the recipient that was meant, or at another one.
    pub fn arrive(&self, i: usize, meant: bool) {
        let Some(cell) = self.arrived.get(i).filter(|_| meant) else {
            self.elsewhere.fetch_add(1, Ordering::Relaxed);
            return;
        };
        match cell.compare_exchange(0, self.now(), Ordering::Relaxed, Ordering::Relaxed) {
            Ok(_) => self.arrivals.fetch_add(1, Ordering::Relaxed),
            Err(_) => self.doubled.fetch_add(1, Ordering::Relaxed),
        };
    }

    /// Where everything stands.
    pub fn counts(&self) -> Counts {
        Counts {
            sent: self.taken.load(Ordering::Relaxed),
            acked: self.acks.load(Ordering::Relaxed),
            arrived: self.arrivals.load(Ordering::Relaxed),
            doubled: self.doubled.load(Ordering::Relaxed),
            elsewhere: self.elsewhere.load(Ordering::Relaxed),
        }
    }

    /// Acknowledged leads without a record.
    pub fn lost(&self) -> usize {
        let pairs = self.acked.iter().zip(&self.arrived);
        pairs.filter(|(acked, arrived)| acked.load(Ordering::Relaxed) > 0 && arrived.load(Ordering::Relaxed) == 0).count()
    }

    /// Leads a second over leads `from..to`: from the first webhook to the last record.
    pub fn rate(&self, from: usize, to: usize) -> f64 {
        let first = self.sent[from..to].iter().map(|t| t.load(Ordering::Relaxed)).filter(|t| *t > 0).min().unwrap_or(0);
        let arrived: Vec<u64> = self.arrived[from..to].iter().map(|t| t.load(Ordering::Relaxed)).filter(|t| *t > 0).collect();
        let last = arrived.iter().max().copied().unwrap_or(0);
        arrived.len() as f64 * 1e6 / last.saturating_sub(first).max(1) as f64
    }

    /// Milliseconds from webhook to acknowledgement, sorted.
    pub fn ack_times(&self, from: usize, to: usize) -> Vec<f64> {
        self.times(&self.acked, from, to)
    }

    /// Milliseconds from webhook to record, sorted.
    pub fn way_times(&self, from: usize, to: usize) -> Vec<f64> {
        self.times(&self.arrived, from, to)
    }

    fn times(&self, ends: &[AtomicU64], from: usize, to: usize) -> Vec<f64> {
        let pairs = self.sent[from..to].iter().zip(&ends[from..to]).map(|(a, b)| (a.load(Ordering::Relaxed), b.load(Ordering::Relaxed)));
        let mut times: Vec<f64> = pairs.filter(|(_, end)| *end > 0).map(|(start, end)| end.saturating_sub(start) as f64 / 1e3).collect();
        times.sort_by(f64::total_cmp);
        times
    }
}

/// A quantile of sorted times; 0 of none.
pub fn quantile(sorted: &[f64], q: f64) -> f64 {
    let at = ((sorted.len() as f64 * q).ceil() as usize).clamp(1, sorted.len().max(1)) - 1;
    sorted.get(at).copied().unwrap_or(0.0)
}
