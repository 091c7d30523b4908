//! Tests of decisions: every gate, what leaves, who comes first, and that the same inputs give the same decision.

use super::*;
use crate::model::{Channel, Place};
use crate::program::tests::example;

/// 4 May 2026, a Monday morning.
const NOW: i64 = 1_777_885_200_000;

/// A lead from Germany that the example agreement lets go.
fn german() -> Facts {
    let mut facts = Facts { source: "northwind".to_owned(), now: NOW, ..Facts::default() };
    for (name, value) in [
        ("email", "jo@example.de"),
        ("phone", "+4930901820"),
        ("first_name", "Jo"),
        ("last_name", "Ek"),
        ("company", "Example GmbH"),
        ("company_domain", "example.de"),
        ("country", "DE"),
        ("need", "setup_help"),
        ("timeframe", "this_quarter"),
        ("email_kind", "business"),
        ("own_last_action", "2026-05-01T08:00:00Z"),
    ] {
        facts.lead.fields.insert(name.to_owned(), value.into());
    }
    facts.lead.fields.insert("employees".to_owned(), 120.into());
    let claim = &mut facts.lead.consent;
    claim.choices.insert("brightwater".to_owned());
    claim.notice = Some("webform-2026-04".to_owned());
    claim.given_at = Some(NOW - 3 * crate::clock::DAY);
    claim.confirmed_at = Some(NOW - 2 * crate::clock::DAY);
    claim.set_by = Some("FORM".to_owned());
    claim.set_by_person = true;
    claim.shown = Some("https://northwind.example/help".to_owned());
    claim.contact_points.insert(Channel::Email, "jo@example.de".to_owned());
    claim.contact_points.insert(Channel::Phone, "+4930901820".to_owned());
    claim.place = Place { country: Some("DE".to_owned()), state: None };
    facts
}

// Breaks when the example lead is no longer offered under the example agreement.
#[test]
fn the_example_lead_is_offered() {
    let program = example::program();
    let decision = decide(&Inputs { program: &program, facts: &german() });
    assert_eq!(decision.outcome, ChangeOutcome::Shared, "{}", explain(&decision));
    assert_eq!(decision.verdicts[0].outcome, VerdictOutcome::Offered);
}
