//! What a lead waits for: what passes by itself, and nothing else.

use super::*;
use crate::model::decision::{ExistingShare, Load, PartnerStanding};
use crate::model::{Cap, Wait};

const ID: &str = "northwind-brightwater";
/// Offers wait for a page to be answered on.
const DIRECT: (&str, &str) = ("mode = \"offer\", order = \"in_turn\", answer_within = \"1bd\"", "mode = \"direct\"");

fn waiting(program: &Program, facts: &Facts) -> Vec<Wait> {
    let inputs = Inputs { program, facts };
    waits(&inputs, &decide(&inputs).verdicts).into_iter().collect()
}

fn capped(caps: &str) -> Program {
    program(&[DIRECT, ("open = 25, day = 5, month = 60, weight = 2", caps)])
}

fn loaded(facts: &mut Facts, open: u32, day: u32, month: u32) {
    let load = Load { open, day, month };
    let standing = PartnerStanding { load, agreements: [(ID.to_owned(), load)].into(), ..PartnerStanding::default() };
    facts.standing.partners.insert("brightwater".to_owned(), standing);
}

// Breaks when a lead that met a full cap, an agreement that is not in force or a paused partner waits for nothing: it is lost.
#[test]
fn what_passes_is_waited_for() {
    let full = |cap, open, day, month| (cap, with(|facts| loaded(facts, open, day, month)));
    for (caps, (cap, facts)) in [
        ("open = 5", full(Cap::Open, 5, 0, 0)),
        ("day = 5", full(Cap::Day, 0, 5, 5)),
        ("month = 5", full(Cap::Month, 0, 0, 5)),
        ("day = 5, month = 9", full(Cap::Month, 0, 0, 9)),
    ] {
        assert_eq!(waiting(&capped(caps), &facts), [Wait::Room(cap, ID.into())], "{caps}");
    }
    let early = with(|facts| facts.now -= 365 * DAY);
    let begins = program(&[DIRECT]).begins(ID, early.now);
    assert!(begins.is_some_and(|from| early.now < from && from < NOW), "{begins:?}");
    let unsigned = program_of(&[("brightwater", BRIGHTWATER)], &[(ID, AGREEMENT)]);
    assert_eq!(waiting(&unsigned, &german()), [Wait::InForce(ID.into())]);
    let paused = with(|facts| {
        facts.standing.partners.insert("brightwater".into(), PartnerStanding { paused: true, ..PartnerStanding::default() });
    });
    assert_eq!(waiting(&program(&[DIRECT]), &paused), [Wait::Pause("brightwater".into())]);
    let none = program_of(&[("brightwater", BRIGHTWATER)], &[]);
    assert_eq!(waiting(&none, &german()), [Wait::Agreement(Some("brightwater".into()))]);
    assert_eq!(waiting(&none, &with(|facts| facts.lead.consent.choices.clear())), [Wait::Agreement(None)]);
    let offered = program(&[]);
    assert_eq!(waiting(&offered, &german()), [Wait::Edit(ID.into(), offered.agreements[ID].version.clone())]);
}

// Breaks when a lead that may never go is read again and again, because something else about it will pass.
#[test]
fn what_does_not_pass_is_not_waited_for() {
    let program = capped("day = 5");
    assert_eq!(waiting(&program, &german()), []);
    let never: [Change; 6] = [
        |facts| facts.lead.consent.choices.clear(),
        |facts| facts.lead.consent.withdrawn_at = Some(NOW),
        |facts| facts.lead.consent.nobody = true,
        |facts| set(facts, "employees", 3),
        |facts| set(facts, "own_last_action", "2026-01-01T08:00:00Z"),
        |facts| facts.standing.erased = true,
    ];
    for change in never {
        let facts = with(|facts| {
            loaded(facts, 0, 5, 5);
            change(facts);
        });
        assert_eq!(waiting(&program, &facts), [], "{}", explain(&decided(&program, &facts)));
    }
}

// Breaks when those wait for room whose place another recipient has: only so many were promised.
#[test]
fn nobody_waits_for_a_place_that_is_taken() {
    let facts = with(|facts| {
        loaded(facts, 0, 5, 5);
        let (share_id, source, recipient) = ("s".to_owned(), "northwind".to_owned(), "lumen".to_owned());
        facts.standing.shares.push(ExistingShare { share_id, source, recipient, status: ShareStatus::Delivered, since: NOW - DAY });
    });
    assert_eq!(waiting(&capped("day = 5"), &facts), []);
}
