//! What recipients' records tell, and what sharers are told.

use super::*;
use crate::model::{Progress, ShareStatus};

fn seen(crm: Value) -> Option<StatusSeen> {
    good(HUBSPOT).status_of(&record(crm))
}

// Would break: the recipient's word is not understood, or the landed value counts as a person's act.
#[test]
fn the_recipients_words_are_understood() {
    let landed = seen(json!({ "hs_lead_status": "NEW" })).expect("seen");
    assert_eq!((landed.progress, landed.moved_off_landed, landed.known), (None, false, true));
    let reached = seen(json!({ "hs_lead_status": "IN_PROGRESS" })).expect("seen");
    assert_eq!((reached.progress, reached.moved_off_landed, reached.raw.as_deref()), (Some(Progress::Reached), true, Some("IN_PROGRESS")));
    let unknown = seen(json!({ "hs_lead_status": "SOMETHING" })).expect("seen");
    assert_eq!((unknown.progress, unknown.moved_off_landed, unknown.known), (None, true, false));
    assert_eq!(seen(json!({ "hs_lead_status": "" })), None);
    assert_eq!(seen(json!({})), None);
}

// Would break: a word of ours is refused in a file, or one that does not exist is offered in a hint.
#[test]
fn the_words_in_hints_are_those_of_the_model() {
    use crate::mapping::rule::{Meaning, PROGRESS, SHARE};
    assert!(PROGRESS.iter().all(|word| Progress::parse(word).is_some_and(|p| p.word() == *word)));
    assert!(SHARE.iter().all(|word| ShareStatus::parse(word).is_some_and(|s| s.word() == *word)));
    assert_eq!(Meaning::words().count(), PROGRESS.len() + 4);
    assert!(
        ["contacted", "rejected", "closed_won", "opportunity"].iter().all(|word| Meaning::ours(word).and_then(Meaning::parse).is_some())
    );
}

// Would break: a won deal is missed because the lead's own status stands still after conversion.
#[test]
fn the_deal_goes_before_the_leads_own_word() {
    let won = seen(json!({ "hs_lead_status": "IN_PROGRESS", "deal.hs_is_closed_won": "true", "deal.amount": "1,200.50" })).expect("seen");
    assert_eq!((won.progress, won.amount.as_deref()), (Some(Progress::Won), Some("1200.5")));
    let open = seen(json!({ "hs_lead_status": "IN_PROGRESS", "deal.hs_is_closed_won": "false" })).expect("seen");
    assert_eq!(open.progress, Some(Progress::Reached));
    let only_deal = seen(json!({ "deal.hs_is_closed_won": true })).expect("seen");
    assert_eq!((only_deal.progress, only_deal.moved_off_landed), (Some(Progress::Won), false));
}

// Would break: a loss has no reason code, or a free text leaves the recipient's system as one.
#[test]
fn reasons_become_codes() {
    let known = seen(json!({ "hs_lead_status": "UNQUALIFIED", "ls_reason": "No budget" })).expect("seen");
    assert_eq!((known.progress, known.reason_code.as_deref()), (Some(Progress::Disqualified), Some("no_budget")));
    let other = seen(json!({ "hs_lead_status": "UNQUALIFIED", "ls_reason": "Anna said no" })).expect("seen");
    assert_eq!(other.reason_code.as_deref(), Some("other"));
}

// Would break: conditions on numbers, sets and presence do not hold when they should.
#[test]
fn conditions_test_what_they_say() {
    let with = |test: &str| {
        good(&format!(
            "partner = \"p\"\nconnector = \"salesforce\"\nobject = \"Lead\"\n[status]\nfield = \"Status\"\n[[status.when]]\nif = {{ X = {test} }}\nthen = \"accepted\"\n"
        ))
    };
    for (test, crm, holds) in [
        ("{ is = true }", json!({ "X": true }), true),
        ("{ is = false }", json!({}), true),
        ("{ is = 5 }", json!({ "X": "5.0" }), true),
        ("{ is = \"A\" }", json!({ "X": " A" }), true),
        ("{ in = [\"A\", \"B\"] }", json!({ "X": "B" }), true),
        ("{ in = [\"A\", \"B\"] }", json!({ "X": "C" }), false),
        ("{ at_least = 50 }", json!({ "X": "50" }), true),
        ("{ at_least = 50 }", json!({ "X": "49.9" }), false),
        ("{ at_most = 50 }", json!({ "X": "none" }), false),
        ("{ set = true }", json!({ "X": "x" }), true),
        ("{ set = true }", json!({ "X": "" }), false),
        ("{ set = false }", json!({ "X": null }), true),
        ("{ at_least = 1, at_most = 2 }", json!({ "X": 3 }), false),
    ] {
        let got = with(test).status_of(&record(crm.clone())).and_then(|s| s.share_status);
        assert_eq!(got == Some(ShareStatus::Accepted), holds, "{test} on {crm}");
    }
}

// Would break: the sharer reads our words instead of theirs, or unchanged fields are written again.
#[test]
fn news_is_written_in_the_sharers_words() {
    let mapping = good(HUBSPOT);
    let news = StatusBack {
        share_status: Some(ShareStatus::Accepted),
        progress: Some(Progress::Reached),
        amount: Some("5".to_owned()),
        ..StatusBack::default()
    };
    assert_eq!(json!(mapping.status_back(&news)), json!({ "ls_share_status": "accepted", "ls_progress": "In contact" }));
    let won = StatusBack { progress: Some(Progress::Won), ..StatusBack::default() };
    assert_eq!(json!(mapping.status_back(&won)), json!({ "ls_progress": "won" }));
    assert!(mapping.status_back(&StatusBack::default()).is_empty());
    let all = good(
        "partner = \"p\"\nconnector = \"salesforce\"\nobject = \"Lead\"\n[status.back]\nrecipient = \"R\"\nreason_code = { crm = \"C\", values = { no_budget = \"No budget\" } }\namount = \"A\"\ncurrency = \"U\"\nat = \"T\"\n",
    );
    let news = StatusBack {
        recipient: Some("Brightwater".to_owned()),
        reason_code: Some("no_budget".to_owned()),
        amount: Some("1200.5".to_owned()),
        currency: Some("EUR".to_owned()),
        at: Some(1_778_066_964_000),
        ..StatusBack::default()
    };
    let expected = json!({ "R": "Brightwater", "C": "No budget", "A": 1200.5, "U": "EUR", "T": "2026-05-06T11:29:24Z" });
    assert_eq!(json!(all.status_back(&news)), expected);
}
