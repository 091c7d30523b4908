//! The simulation: one seed is one run, and what must hold holds.

use leadshare::simulate::{Options, Player};

// Breaks when anything but the seed decides what happens: a map's order, the machine's clock, a race. Breaks also when an
// invariant does not survive what networks, vendors, people and crashes do in this run.
#[test]
fn one_seed_is_one_run_and_all_is_well_in_it() {
    let trace = |name: &str| {
        let outcome = Player::new(name, Options::default()).unwrap().play(3).unwrap();
        assert!(outcome.broken.is_empty(), "{:#?}\n{}", outcome.broken, outcome.last.join("\n"));
        outcome.trace
    };
    assert_eq!(trace("same-a"), trace("same-b"));
}
