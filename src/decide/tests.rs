//! Tests of decisions: every gate, what leaves, who comes first, and that the same inputs give the same decision.

mod again;
mod choose;
mod consent;
mod gates;
mod leaving;
mod waits;

use super::*;
use crate::clock::{DAY, HOUR};
use crate::model::{Channel, Place};
use crate::program::tests::edit;
use crate::program::tests::example::{self, AGREEMENT, BRIGHTWATER, file, sign};
use crate::program::{FileKind, compile};

/// 4 May 2026, 11:00 in Amsterdam: a Monday.
const NOW: i64 = 1_777_885_200_000;

/// A lead from Germany that the example agreement lets go.
fn german() -> Facts {
    let mut facts = Facts { source: "northwind".to_owned(), now: NOW, ..Facts::default() };
    for (name, value) in [
        ("email", "jo@example.de"),
        ("phone", "+4930901820"),
        ("first_name", "Jo"),
        ("last_name", "Ek"),
        ("role", "Head of IT"),
        ("company", "Example GmbH"),
        ("company_domain", "example.de"),
        ("country", "DE"),
        ("state", "DE-BE"),
        ("industry", "retail"),
        ("need", "setup_help"),
        ("timeframe", "this_quarter"),
        ("email_kind", "business"),
        ("own_last_action", "2026-05-01T08:00:00Z"),
    ] {
        facts.lead.fields.insert(name.to_owned(), value.into());
    }
    facts.lead.fields.insert("employees".to_owned(), 120.into());
    facts.lead.fields.insert("open_deal_at_source".to_owned(), false.into());
    let claim = &mut facts.lead.consent;
    claim.choices.insert("brightwater".to_owned());
    claim.notice = Some("webform-2026-04".to_owned());
    claim.given_at = Some(NOW - 3 * DAY);
    claim.confirmed_at = Some(NOW - 2 * DAY);
    claim.set_by = Some("FORM".to_owned());
    claim.set_by_person = true;
    claim.shown = Some("https://northwind.example/help".to_owned());
    claim.contact_points.insert(Channel::Email, "jo@example.de".to_owned());
    claim.contact_points.insert(Channel::Phone, "+4930901820".to_owned());
    claim.place = Place { country: Some("DE".to_owned()), state: None };
    facts
}

/// The same from the United States.
fn american() -> Facts {
    let mut facts = german();
    facts.lead.fields.insert("country".to_owned(), "US".into());
    facts.lead.fields.insert("state".to_owned(), "US-CA".into());
    facts.lead.consent.place = Place { country: Some("US".to_owned()), state: Some("US-CA".to_owned()) };
    facts
}

/// A change of the example lead.
type Change = fn(&mut Facts);

/// The example lead with a change.
fn with(change: impl FnOnce(&mut Facts)) -> Facts {
    let mut facts = german();
    change(&mut facts);
    facts
}

fn set(facts: &mut Facts, field: &str, value: impl Into<Value>) {
    facts.lead.fields.insert(field.to_owned(), value.into());
}

/// The example program with edits in the agreement, signed afterwards.
fn program(edits: &[(&str, &str)]) -> Program {
    let text = edits.iter().fold(AGREEMENT.to_owned(), |text, (from, to)| edit(&text, from, to));
    program_of(&[("brightwater", BRIGHTWATER)], &[("northwind-brightwater", &sign(&text))])
}

/// A program of these partners, beside the example's, and agreements; whatever else is in it is the example's.
fn program_of(partners: &[(&str, &str)], agreements: &[(&str, &str)]) -> Program {
    let mut files: Vec<_> = example::surroundings().into_iter().filter(|f| !partners.iter().any(|(name, _)| f.name == *name)).collect();
    files.extend(partners.iter().map(|(name, text)| file(FileKind::Partner, name, text)));
    files.extend(agreements.iter().map(|(name, text)| file(FileKind::Agreement, name, text)));
    compile(files).0
}

fn decided(program: &Program, facts: &Facts) -> Decision {
    decide(&Inputs { program, facts })
}

/// The only verdict on the example.
fn verdict(program: &Program, facts: &Facts) -> Verdict {
    let mut decision = decided(program, facts);
    assert_eq!(decision.verdicts.len(), 1, "{}", explain(&decision));
    decision.verdicts.remove(0)
}

/// The code of the finding that stopped the only candidate; `ok` when nothing did.
fn stopped(program: &Program, facts: &Facts) -> String {
    verdict(program, facts).first_failure().map_or_else(|| "ok".to_owned(), |f| f.code.to_string())
}
