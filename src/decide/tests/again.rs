//! Judging a share again right before it is sent.

use super::*;
use crate::model::decision::{ExistingShare, Load, PartnerStanding};

const ID: &str = "northwind-brightwater";

/// The example lead with its own share at this status.
fn own(status: ShareStatus) -> Facts {
    with(|f| {
        let share = ExistingShare {
            share_id: "own".to_owned(),
            source: f.source.clone(),
            recipient: "brightwater".to_owned(),
            status,
            since: NOW - DAY,
        };
        f.standing.shares = vec![share];
        f.standing.own_share = Some("own".to_owned());
    })
}

fn again(program: &Program, facts: &Facts) -> Verdict {
    let terms = program.agreements[ID].terms.clone();
    recheck(&Inputs { program, facts }, ID, &terms)
}

fn code(verdict: &Verdict) -> &str {
    verdict.first_failure().map_or("ok", |f| &f.code)
}

// Breaks when a share is taken for its own double, or a waiting one is let go without approval.
#[test]
fn a_share_is_not_its_own_double() {
    let program = example::program();
    for (status, outcome) in [
        (ShareStatus::Matched, VerdictOutcome::Offered),
        (ShareStatus::Offered, VerdictOutcome::Offered),
        (ShareStatus::Held, VerdictOutcome::Held),
    ] {
        let verdict = again(&program, &own(status));
        assert_eq!((code(&verdict), verdict.outcome), ("ok", outcome), "{status:?}");
    }
    let verdict = again(&program, &own(ShareStatus::Accepted));
    let agreement = &program.agreements[ID].agreement;
    assert!(payload(agreement, &german().lead, &verdict, true).contains_key("email"));
}

// Breaks when a withdrawal, a suppression, the end of the term or staleness since the decision does not stop the sending.
#[test]
fn what_happened_since_counts() {
    let program = example::program();
    let cases: &[(&str, Change)] = &[
        ("consent.withdrawn", |f| f.lead.consent.withdrawn_at = Some(f.now)),
        ("suppressed.erased", |f| f.standing.erased = true),
        ("fresh.stale", |f| f.now += 13 * DAY),
        ("agreement.not_in_force", |f| f.now -= 60 * DAY),
        ("standing.recipient_paused", |f| {
            f.standing.partners.extend([("brightwater".to_owned(), PartnerStanding { paused: true, ..PartnerStanding::default() })]);
        }),
    ];
    for (wanted, change) in cases {
        let mut facts = own(ShareStatus::Matched);
        change(&mut facts);
        let verdict = again(&program, &facts);
        assert_eq!(code(&verdict), *wanted);
        assert!(payload(&program.agreements[ID].agreement, &facts.lead, &verdict, true).is_empty());
    }
}

// Breaks when a share that holds its place is refused for want of its own place.
#[test]
fn a_share_holds_its_own_place() {
    let program = example::program();
    let full = |open: u32| {
        let mut facts = own(ShareStatus::Matched);
        let load = Load { open, day: 1, month: 1 };
        let standing = PartnerStanding { paused: false, load, agreements: BTreeMap::from([(ID.to_owned(), load)]) };
        facts.standing.partners.insert("brightwater".to_owned(), standing);
        facts
    };
    assert_eq!(code(&again(&program, &full(25))), "ok");
    assert_eq!(code(&again(&program, &full(26))), "capacity.open");
}

// Breaks when an update of a lead that the recipient has is stopped by staleness or caps, or goes on after a withdrawal.
#[test]
fn updates_are_judged_by_what_protects_the_person() {
    let program = example::program();
    for status in [ShareStatus::Delivered, ShareStatus::Acknowledged, ShareStatus::Accepted] {
        let mut facts = own(status);
        facts.now += 60 * DAY;
        facts.lead.fields.remove("need");
        assert_eq!(code(&again(&program, &facts)), "ok", "{status:?}");
        facts.lead.consent.withdrawn_at = Some(facts.now);
        assert_eq!(code(&again(&program, &facts)), "consent.withdrawn", "{status:?}");
    }
}

// Breaks when a lead that was given is taken back because a rival's share is accepted too.
#[test]
fn a_given_lead_is_not_lost_to_a_later_claim() {
    let mut facts = own(ShareStatus::Accepted);
    let rival = ExistingShare { share_id: "rival".to_owned(), source: "rival".to_owned(), ..facts.standing.shares[0].clone() };
    facts.standing.shares.push(rival);
    assert_eq!(code(&again(&example::program(), &facts)), "ok");
}

// Breaks when leads that are being worked on stop with a suspension, or accepted ones with the end, or go on for ever.
#[test]
fn accepted_leads_are_finished() {
    let stopped = program(&[("[operations]", "[operations]\nsuspended = { by = \"source\", since = 2026-05-01T00:00:00Z }")]);
    let ended = program(&[("times = 2", "times = 0")]);
    let late = |days: i64, status| {
        let mut facts = own(status);
        facts.now = crate::program::tests::at("2027-04-01T00:00:00Z") + days * DAY;
        facts.lead.consent.given_at = Some(NOW);
        facts.lead.consent.confirmed_at = Some(NOW);
        facts
    };
    for status in [ShareStatus::Delivered, ShareStatus::Accepted] {
        assert_eq!(code(&again(&stopped, &own(status))), "ok");
    }
    assert_eq!(code(&again(&stopped, &own(ShareStatus::Matched))), "agreement.not_in_force");
    // The transfer tool of the example is to be reviewed by 2 March 2027: data stays where it is from then on.
    let reviewed = program(&[("times = 2", "times = 0"), ("review_by = 2027-03-02", "review_by = 2028-03-02")]);
    assert_eq!(code(&again(&ended, &late(1, ShareStatus::Accepted))), "transfer.review_due");
    assert_eq!(code(&again(&reviewed, &late(89, ShareStatus::Accepted))), "ok");
    assert_eq!(code(&again(&reviewed, &late(91, ShareStatus::Accepted))), "agreement.not_in_force");
    assert_eq!(code(&again(&reviewed, &late(1, ShareStatus::Delivered))), "agreement.not_in_force");
}

// Breaks when a share goes out under other terms than it was decided under, or an arrived one can no longer be updated.
#[test]
fn changed_terms_are_decided_again() {
    let program = example::program();
    let entry = &program.agreements[ID];
    let judged = |status, terms: &str| {
        let facts = own(status);
        code(&recheck(&Inputs { program: &program, facts: &facts }, ID, terms)).to_owned()
    };
    assert_eq!(judged(ShareStatus::Matched, &entry.terms), "ok", "the unsigned part may change");
    assert_eq!(judged(ShareStatus::Matched, "an older one"), "agreement.changed");
    assert_eq!(judged(ShareStatus::Accepted, "an older one"), "ok");
}

// Breaks when a share goes out though its agreement is gone or belongs to another source.
#[test]
fn a_lost_agreement_sends_nothing() {
    let program = example::program();
    let verdict = recheck(&Inputs { program: &program, facts: &own(ShareStatus::Matched) }, "gone", "x");
    assert_eq!((code(&verdict), verdict.outcome), ("agreement.gone", VerdictOutcome::Unmatched));
    let mut facts = own(ShareStatus::Matched);
    facts.source = "brightwater".to_owned();
    let terms = program.agreements[ID].terms.clone();
    assert_eq!(code(&recheck(&Inputs { program: &program, facts: &facts }, ID, &terms)), "agreement.gone");
}
