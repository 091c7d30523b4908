//! What leaves: the fields of the agreement, masked before acceptance, and nothing without a verdict.

use proptest::prelude::*;

use super::*;
use crate::model::decision::{Suppression, SuppressionScope};

fn sent(program: &Program, facts: &Facts, accepted: bool) -> Vec<String> {
    let verdict = verdict(program, facts);
    let agreement = &program.agreements["northwind-brightwater"].agreement;
    payload(agreement, &facts.lead, &verdict, accepted).into_keys().collect()
}

// Breaks when an offer shows who it is, or an accepted lead lacks a field that was agreed.
#[test]
fn an_offer_is_masked_until_it_is_accepted() {
    let program = example::program();
    let facts = with(|f| {
        set(f, "notes", "private");
        set(f, "city", "Berlin");
    });
    assert_eq!(sent(&program, &facts, false), ["country", "employees_band", "industry", "need", "timeframe"]);
    assert_eq!(
        sent(&program, &facts, true),
        ["company", "country", "email", "employees", "first_name", "industry", "last_name", "need", "phone", "role", "timeframe"]
    );
}

// Breaks when a direct lead is masked.
#[test]
fn a_direct_lead_is_not_masked() {
    let program = program(&[("mode = \"offer\", order = \"in_turn\", answer_within = \"1bd\"", "mode = \"direct\"")]);
    assert!(sent(&program, &german(), false).contains(&"email".to_owned()));
}

// Breaks when an offer shows a field that no purpose lets leave.
#[test]
fn an_offer_shows_only_what_a_purpose_lists() {
    let program = program(&[("\"industry\", \"employees\", \"need\"", "\"need\"")]);
    assert_eq!(sent(&program, &german(), false), ["country", "need", "timeframe"]);
}

// Breaks when something leaves under a verdict that said no, was held, or was about another agreement.
#[test]
fn without_a_verdict_nothing_leaves() {
    let program = example::program();
    let agreement = &program.agreements["northwind-brightwater"].agreement;
    let refused = with(|f| f.standing.erased = true);
    assert!(sent(&program, &refused, true).is_empty());
    let held = with(|f| set(f, "employees", 2_000));
    assert_eq!(verdict(&program, &held).outcome, VerdictOutcome::Held);
    assert!(sent(&program, &held, true).is_empty());
    let mut wider = verdict(&program, &german());
    wider.fields.insert("open_deal_at_source".to_owned());
    assert!(!payload(agreement, &german().lead, &wider, true).contains_key("open_deal_at_source"));
    let mut other = verdict(&program, &german());
    other.agreement = "another".to_owned();
    assert!(payload(agreement, &german().lead, &other, true).is_empty());
}

// Breaks when the bands of company sizes move.
#[test]
fn bands_say_less_than_numbers() {
    let program = example::program();
    let agreement = &program.agreements["northwind-brightwater"].agreement;
    for (employees, band) in [(50, "50-249"), (249, "50-249"), (250, "250-999"), (999, "250-999")] {
        let facts = with(|f| set(f, "employees", employees));
        let shown = payload(agreement, &facts.lead, &verdict(&program, &facts), false);
        assert_eq!(shown["employees_band"], band, "{employees}");
    }
}

// Breaks when the same inputs give another decision, or a stored decision does not replay to itself.
#[test]
fn decisions_replay() {
    let program = example::program();
    for facts in [german(), american(), with(|f| f.standing.erased = true)] {
        let first = decided(&program, &facts);
        let stored = serde_json::to_string(&(&facts, &first)).expect("stored");
        let (read, kept): (Facts, Decision) = serde_json::from_str(&stored).expect("read");
        assert_eq!(read, facts);
        let replayed = decided(&example::program(), &read);
        assert_eq!(replayed, first);
        let without_proof = |mut decision: Decision| {
            decision.verdicts.iter_mut().for_each(|v| v.consents.clear());
            decision
        };
        assert_eq!(kept, without_proof(replayed));
    }
}

// Breaks when a stored decision holds an address, a number or a name: erasing a person would leave it there.
#[test]
fn a_stored_decision_names_nobody() {
    let stored = serde_json::to_string(&decided(&example::program(), &german())).expect("stored");
    for secret in ["jo@example.de", "+4930901820", "\"Jo\"", "\"Ek\"", "Example GmbH"] {
        assert!(!stored.contains(secret), "{secret} in {stored}");
    }
}

// Breaks when facts that were stored by an older version, without what is new, cannot be read.
#[test]
fn absent_facts_have_defaults() {
    let facts: Facts = serde_json::from_value(serde_json::json!({
        "lead": german().lead, "source": "northwind", "now": NOW, "standing": {}
    }))
    .expect("facts");
    assert_eq!(facts, german());
}

prop_compose! {
    /// The example lead with any mixture of defects.
    fn any_facts()(
        country in prop::sample::select(vec!["DE", "US", "CH", "NL", ""]),
        suppressed in prop::sample::select(vec![None, Some(vec![]), Some(vec![Channel::Email]), Some(vec![Channel::Phone])]),
        bits in prop::collection::vec(prop::bool::weighted(0.25), 12),
        employees in 1i64..3_000,
        later in 0i64..40,
    ) -> Facts {
        let mut facts = german();
        let claim = &mut facts.lead.consent;
        claim.place.country = (!country.is_empty()).then(|| country.to_owned());
        claim.nobody = bits[0];
        claim.set_by_person = !bits[1];
        if bits[2] { claim.choices.clear(); }
        if bits[3] { claim.confirmed_at = None; }
        if bits[4] { claim.contact_points.remove(&Channel::Phone); }
        if bits[5] { claim.contact_points.remove(&Channel::Email); }
        if bits[6] { claim.withdrawn_at = Some(NOW); }
        if bits[7] { claim.unreadable_stops.push("optout".to_owned()); }
        if bits[8] { claim.flags.insert("health".to_owned()); }
        if bits[9] { claim.notice = None; }
        if bits[10] { facts.standing.erased = true; }
        if bits[11] { facts.lead.fields.remove("phone"); }
        if let Some(channels) = suppressed {
            let channels = channels.into_iter().collect();
            facts.standing.suppressions.push(Suppression { scope: SuppressionScope::Person, channels, reason: "x".to_owned(), since: 0 });
        }
        facts.lead.fields.insert("employees".to_owned(), employees.into());
        facts.now += later * DAY;
        facts
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(300) })]

    // Breaks when any mixture of defects lets a lead, a field or a contact point out that should stay.
    #[test]
    fn nothing_leaves_that_should_stay(facts in any_facts(), accepted: bool) {
        static PROGRAM: std::sync::LazyLock<Program> = std::sync::LazyLock::new(example::program);
        let verdict = verdict(&PROGRAM, &facts);
        let agreement = &PROGRAM.agreements["northwind-brightwater"].agreement;
        let sent = payload(agreement, &facts.lead, &verdict, accepted);
        let claim = &facts.lead.consent;
        let blocked = |c| facts.standing.suppressions.iter().any(|s| s.channels.is_empty() || s.channels.contains(&c));
        if !sent.is_empty() {
            prop_assert!(!facts.standing.erased && !claim.nobody && claim.withdrawn_at.is_none() && !claim.flags.contains("health"));
            prop_assert!(claim.unreadable_stops.is_empty() && claim.set_by_person && claim.notice.is_some() && claim.choices.contains("brightwater"));
            prop_assert!(matches!(claim.place.country.as_deref(), Some("DE" | "NL" | "US")));
            prop_assert!(!verdict.consents.is_empty());
        }
        if sent.contains_key("phone") {
            prop_assert!(accepted && !blocked(Channel::Phone) && claim.contact_points.contains_key(&Channel::Phone));
        }
        if sent.contains_key("email") {
            prop_assert!(accepted && !blocked(Channel::Email));
        }
        for name in sent.keys() {
            let listed = agreement.privacy.purpose.iter().any(|p| p.fields.contains(name));
            let shown = agreement.confidentiality.before_acceptance.contains(name);
            prop_assert!(if accepted { listed } else { shown }, "{name}");
        }
        prop_assert_eq!(decided(&PROGRAM, &facts), decided(&PROGRAM, &facts));
    }
}
