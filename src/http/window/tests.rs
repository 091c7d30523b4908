//! Tests of windows against a vendor that counts exactly: several processes, late answers, crashes.

use proptest::prelude::*;

use super::*;

/// Processes that share one row, a vendor that counts arrivals, and requests on their way.
struct World {
    limit: u32,
    length: Millis,
    now: Millis,
    row: (Spent, i64),
    processes: Vec<Window>,
    started: usize,
    /// Answers to come: process, block, when.
    answers: Vec<(usize, u64, Millis)>,
    arrived: Vec<Millis>,
}

impl World {
    fn new(limit: u32, length: Millis, processes: usize) -> Self {
        let row = (Spent::default(), 0);
        let mut world = Self { limit, length, now: 1_000_000, row, processes: vec![], started: 0, answers: vec![], arrived: vec![] };
        world.processes = (0..processes).map(|_| world.process()).collect();
        world
    }

    fn process(&mut self) -> Window {
        self.started += 1;
        Window::new(self.limit, false, 100, self.length, &format!("p{}", self.started))
    }

    /// A process asks for a unit and sends a request that arrives and is answered so much later.
    fn ask(&mut self, p: usize, there: Millis, back: Millis) -> Take {
        loop {
            let window = &mut self.processes[p];
            match window.look(1, false, self.now) {
                Take::Yes(block) => {
                    window.take(1);
                    self.arrived.push(self.now + there);
                    self.answers.push((p, block, self.now + there + back));
                    return Take::Yes(block);
                }
                Take::Wait(until) => return Take::Wait(until),
                Take::Reserve if window.version() != Some(self.row.1) => {
                    // What a write over an old version comes to: it is refused, and the row read again.
                    if window.version().is_some() {
                        let _ = window.plan(1, false, true, self.now);
                        window.unread();
                    }
                    window.read(self.row.0.clone(), self.row.1);
                }
                Take::Reserve => match window.plan(1, false, true, self.now) {
                    Err(until) => return Take::Wait(until),
                    Ok(planned) => {
                        let stored = Spent::read(&planned.spent.text());
                        assert_eq!(stored, planned.spent);
                        self.row = (stored, self.row.1 + 1);
                        window.reserved(planned, self.row.1);
                    }
                },
            }
        }
    }

    fn pass(&mut self, by: Millis) {
        let until = self.now + by;
        self.answers.sort_by_key(|a| a.2);
        while self.answers.first().is_some_and(|a| a.2 <= until) {
            let (p, block, at) = self.answers.remove(0);
            self.now = at;
            self.processes[p].answered(block, 1, at);
        }
        self.now = until;
    }

    fn crash(&mut self, p: usize) {
        self.processes[p] = self.process();
        self.answers.retain(|a| a.0 != p);
    }

    fn worst(&self) -> usize {
        let mut all = self.arrived.clone();
        all.sort_unstable();
        let (mut first, mut worst) = (0, 0);
        for (last, at) in all.iter().enumerate() {
            while all[first] <= at - self.length {
                first += 1;
            }
            worst = worst.max(last + 1 - first);
        }
        worst
    }
}

proptest! {
    // Breaks when replicas, late answers, a crash or a take-over let any window of the vendor's exceed the limit.
    #[test]
    fn no_window_is_ever_exceeded(
        limit in 1u32..130,
        length in prop::sample::select(vec![1_000i64, 10_000, 60_000]),
        steps in prop::collection::vec((0usize..3, 0u32..60, 0i64..400, 0i64..400, 0i64..900), 1..600),
        quiet in prop::collection::vec((0usize..600, 60_000i64..3_000_000), 0..6),
    ) {
        let mut world = World::new(limit, length, 3);
        for (n, (p, what, there, back, pause)) in steps.into_iter().enumerate() {
            // Now and then nothing is asked for long: blocks rest.
            quiet.iter().filter(|(at, _)| *at == n).for_each(|(_, pause)| world.pass(*pause));
            match what {
                0 => world.crash(p),
                1 => { world.processes[p].forget(); }
                _ => { world.ask(p, there, back); }
            }
            world.pass(if what % 3 == 0 { pause } else { pause / 30 });
        }
        prop_assert!(world.worst() <= limit as usize, "{} of {limit}", world.worst());
    }
}

// Breaks when a backlog leaves more of the vendor's quota unused than is kept for withdrawals.
#[test]
fn a_backlog_uses_the_quota() {
    for (limit, length, least) in [(110, 10_000, 97), (1_000, 60_000, 97), (100_000, 86_400_000, 97), (5, 1_000, 95)] {
        let mut world = World::new(limit, length, 1);
        let end = world.now + 3 * length;
        while world.now < end {
            match world.ask(0, 10, 10) {
                Take::Wait(until) => world.pass((until - world.now).max(1)),
                // One at a time where that is fast enough.
                _ => world.pass(if limit > 10_000 { 400 } else { 20 }),
            }
        }
        let last = world.arrived.iter().filter(|at| **at > end - 2 * length).count() as u64;
        let used = last * 100 / (2 * u64::from(limit));
        assert!(used >= least && world.worst() <= limit as usize, "{used} % of {limit} in {length} ms");
    }
}

// Breaks when a crash costs more than what was reserved, or a restart forgets what was spent.
#[test]
fn a_crash_costs_one_block() {
    let mut world = World::new(1_000, 60_000, 1);
    for _ in 0..500 {
        assert!(matches!(world.ask(0, 1, 1), Take::Yes(_)));
        world.pass(10);
    }
    world.crash(0);
    let mut more = 0;
    while matches!(world.ask(0, 1, 1), Take::Yes(_)) {
        more += 1;
        world.pass(10);
    }
    assert!((1_000 - 20 - 500 - 25..=1_000 - 20 - 500).contains(&more), "{more} after the crash");
}

// Breaks when each poll of a quiet account is a write of its own, or a busy one is kept to what a quiet one needs.
#[test]
fn a_quiet_account_is_asked_without_writing() {
    let mut world = World::new(110, 10_000, 1);
    let mut written = Vec::new();
    for _ in 0..9 {
        assert!(matches!(world.ask(0, 10, 10), Take::Yes(_)));
        written.push(world.row.1);
        world.pass(15 * MINUTE);
    }
    assert_eq!(written, [1, 1, 1, 2, 2, 2, 3, 3, 3]);
    // Five questions at a time: it is soon known that it takes as many.
    for _ in 0..9 {
        for _ in 0..5 {
            assert!(matches!(world.ask(0, 10, 10), Take::Yes(_)));
            world.pass(300);
        }
        world.pass(15 * MINUTE);
        written.push(world.row.1);
    }
    let last = written.len() - 1;
    assert!(written[last] - written[last - 6] <= 3, "{written:?}");
    for _ in 0..100 {
        assert!(matches!(world.ask(0, 10, 10), Take::Yes(_)));
        world.pass(30);
    }
    assert!(world.worst() <= 110, "{}", world.worst());
}

// Breaks when a crash leaves so little of a small budget that its account cannot be asked until the dead process's block has rested.
#[test]
fn a_small_budget_does_not_rest() {
    let mut world = World::new(1, 1_000, 1);
    assert!(matches!(world.ask(0, 10, 10), Take::Yes(_)));
    world.pass(15 * MINUTE);
    assert!(matches!(world.ask(0, 10, 10), Take::Yes(_)));
    world.crash(0);
    world.pass(10 * SECOND);
    assert!(matches!(world.ask(0, 10, 10), Take::Yes(_)));
}

// Breaks when withdrawals wait behind a backlog, or behind the share that the partner was promised.
#[test]
fn what_protects_people_has_room() {
    let mut window = Window::new(100, false, 10, 10_000, "p");
    window.read(Spent::default(), 0);
    let mut take = |protect: bool| {
        let mut taken = 0;
        loop {
            match window.look(1, protect, 0) {
                Take::Yes(_) => {
                    window.take(1);
                    taken += 1;
                }
                Take::Reserve => match window.plan(1, protect, false, 0) {
                    Ok(planned) => window.reserved(planned, taken),
                    Err(_) => return taken,
                },
                Take::Wait(_) => return taken,
            }
        }
    };
    assert_eq!(take(false), 10, "the promised share");
    assert_eq!(take(true), 90, "the rest is there for protection");
}

// Breaks when other apps that spend from the same quota go unnoticed until it is used up.
#[test]
fn what_other_apps_spend_slows_us_down() {
    let mut window = Window::new(100, false, 100, 10_000, "p");
    window.read(Spent::default(), 0);
    let planned = window.plan(1, false, false, 0).unwrap();
    window.reserved(planned, 1);
    assert_eq!(window.look(1, false, 0), Take::Yes(0));
    window.take(1);
    // One of ours, and sixty of others.
    window.heard(Some(100), 61, 0);
    assert!(window.plan(37, false, false, 0).is_ok());
    assert_eq!(window.plan(38, false, false, 0).err(), Some(10_000));
    // The vendor allows less than was configured.
    window.heard(Some(50), 1, 0);
    assert!(window.plan(48, false, false, 0).is_ok());
    assert!(window.plan(49, false, false, 0).is_err());
    // More than was configured is ours, unless the operator set the limit.
    window.heard(Some(500), 1, 0);
    assert!(window.plan(489, false, false, 0).is_ok());
    let mut fixed = Window::new(100, true, 100, 10_000, "p");
    fixed.read(Spent::default(), 0);
    fixed.heard(Some(500), 450, 0);
    assert!(fixed.plan(48, false, false, 0).is_ok() && fixed.plan(49, false, false, 0).is_err());
    fixed.heard(Some(500), 0, 0);
    assert!(fixed.plan(98, false, false, 0).is_ok() && fixed.plan(99, false, false, 0).is_err());
    // What others spent is forgotten after a window without news.
    window.heard(Some(100), 101, 0);
    assert_eq!(window.look(1, false, 9_000), Take::Wait(10_000));
    assert_eq!(window.look(1, false, 10_000), Take::Reserve);
}
