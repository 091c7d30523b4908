//! Every gate, passing and failing.

use super::*;
use crate::model::Stop;
use crate::model::decision::{ExistingShare, Load, PartnerStanding, Suppression, SuppressionScope};

fn share(source: &str, recipient: &str, status: ShareStatus, since: i64) -> ExistingShare {
    ExistingShare { share_id: format!("{source}-{recipient}"), source: source.to_owned(), recipient: recipient.to_owned(), status, since }
}

fn suppression(scope: SuppressionScope, channels: &[Channel]) -> Suppression {
    Suppression { scope, channels: channels.iter().copied().collect(), reason: "unsubscribed".to_owned(), since: 0 }
}

/// Judges a change of the example lead under the example agreement: outcome and code.
fn judge_change(change: impl FnOnce(&mut Facts)) -> (VerdictOutcome, String) {
    let verdict = verdict(&example::program(), &with(change));
    let code = verdict.first_failure().map_or_else(|| "ok".to_owned(), |f| f.code.to_string());
    (verdict.outcome, code)
}

macro_rules! refused {
    ($outcome:ident, $code:literal, $change:expr) => {
        assert_eq!(judge_change($change), (VerdictOutcome::$outcome, $code.to_owned()));
    };
}

// Breaks when the example lead is no longer offered under the example agreement.
#[test]
fn the_example_lead_is_offered() {
    let decision = decided(&example::program(), &german());
    assert_eq!(decision.outcome, ChangeOutcome::Shared, "{}", explain(&decision));
    assert_eq!(decision.verdicts[0].outcome, VerdictOutcome::Offered);
    assert_eq!(decision.reason, "offered to brightwater under northwind-brightwater version 3");
}

// Breaks when something that is no lead gets past the first gate.
#[test]
fn valid() {
    refused!(Invalid, "valid.no_contact", |f| {
        f.lead.fields.remove("email");
        f.lead.fields.remove("phone");
    });
    refused!(Invalid, "valid.email", |f| set(f, "email", "jo at example"));
    refused!(Invalid, "valid.phone", |f| set(f, "phone", "030 901820"));
    refused!(Invalid, "valid.country", |f| set(f, "country", "Germany"));
}

// Breaks when a suppressed or erased person, or a kind that is refused, is shared.
#[test]
fn suppressed() {
    refused!(Erased, "suppressed.erased", |f| f.standing.erased = true);
    refused!(Suppressed, "suppressed.person", |f| f.standing.suppressions = vec![suppression(SuppressionScope::Person, &[])]);
    refused!(Suppressed, "suppressed.domain", |f| f.standing.suppressions = vec![suppression(SuppressionScope::Domain, &[])]);
    refused!(Suppressed, "suppressed.every_channel", |f| {
        f.standing.suppressions = vec![suppression(SuppressionScope::Person, &[Channel::Email, Channel::Phone])];
    });
    refused!(Suppressed, "suppressed.opted_out", |f| f.lead.consent.stops =
        vec![Stop { said_by: "optout".to_owned(), blocks: BTreeSet::new() }]);
    for kind in ["minor", "health", "special_category", "free_text", "place_unknown"] {
        assert_eq!(
            judge_change(|f| f.lead.consent.flags.extend([kind.to_owned()])),
            (VerdictOutcome::Suppressed, format!("refused.{kind}"))
        );
    }
    refused!(Suppressed, "refused.place_unknown", |f| f.lead.consent.place = Place::default());
}

// Breaks when an agreement can permit minors, health data or special categories by not naming them.
#[test]
fn some_kinds_no_agreement_permits() {
    let program = program(&[("refuse = [\"minor\", \"health\", \"special_category\", \"free_text\", \"place_unknown\"]", "refuse = []")]);
    for (kind, code) in
        [("minor", "refused.minor"), ("health", "refused.health"), ("special_category", "refused.special_category"), ("free_text", "ok")]
    {
        assert_eq!(stopped(&program, &with(|f| f.lead.consent.flags.extend([kind.to_owned()]))), code);
    }
    assert_eq!(stopped(&program, &with(|f| f.lead.consent.place = Place::default())), "consent.place_unknown");
}

// Breaks when a lead leaves without an agreement in force.
#[test]
fn agreement() {
    refused!(Unmatched, "agreement.not_in_force", |f| f.now = crate::program::tests::at("2026-03-31T12:00:00Z"));
    let unsigned = program_of(&[], &[("northwind-brightwater", AGREEMENT)]);
    assert_eq!(stopped(&unsigned, &german()), "agreement.not_in_force");
    let none = decided(&example::program(), &with(|f| f.source = "brightwater".to_owned()));
    assert_eq!((none.outcome, none.verdicts.len()), (ChangeOutcome::Unmatched, 0));
}

// Breaks when a received lead goes back to its origin, or further without leave.
#[test]
fn received_leads() {
    refused!(Unmatched, "agreement.origin", |f| f.standing.received_from.extend(["brightwater".to_owned()]));
    refused!(Unmatched, "agreement.onward", |f| f.standing.received_from.extend(["southwind".to_owned()]));
    // Southwind gave it to Northwind, under an agreement that lets it go further or not.
    let southwind = edit(example::NORTHWIND, "Northwind Cloud B.V.", "Southwind B.V.");
    let inbound = edit(AGREEMENT, "northwind-brightwater", "southwind-northwind");
    let inbound = edit(
        &inbound,
        "partner = \"northwind\", legal_name = \"Northwind Cloud B.V.\"",
        "partner = \"southwind\", legal_name = \"Southwind B.V.\"",
    );
    let inbound = edit(
        &inbound,
        "partner = \"brightwater\", legal_name = \"Brightwater Services Inc.\"",
        "partner = \"northwind\", legal_name = \"Northwind Cloud B.V.\"",
    );
    let received = with(|f| f.standing.received_from.extend(["southwind".to_owned()]));
    for (onward, code) in [("never", "agreement.onward"), ("with_consent", "ok")] {
        let inbound = edit(&inbound, "onward = \"never\"", &format!("onward = \"{onward}\""));
        let program =
            program_of(&[("southwind", &southwind)], &[("northwind-brightwater", &sign(AGREEMENT)), ("southwind-northwind", &inbound)]);
        assert_eq!(stopped(&program, &received), code);
    }
}

// Breaks when data leaves its law without a legal tool, or with one that is overdue.
#[test]
fn transfer() {
    const TOOL: &str =
        "transfer = { from = \"EEA\", to = \"US\", tool = \"scc_module_1\", assessed = 2026-03-02, review_by = 2027-03-02 }\n";
    let tool = |text: &str| program(&[(TOOL, text), ("recheck = [\"transfer\", \"certificates\"]", "recheck = []")]);
    assert_eq!(stopped(&tool(""), &german()), "transfer.missing");
    assert_eq!(stopped(&tool(""), &american()), "ok", "an American lead stays in the United States");
    let other = edit(TOOL, "from = \"EEA\"", "from = \"UK\"");
    assert_eq!(stopped(&tool(&other), &german()), "transfer.missing");
    for (date, day, code) in [
        ("review_by = 2027-03-02", "review_by = 2026-05-04", "ok"),
        ("review_by = 2027-03-02", "review_by = 2026-05-03", "transfer.review_due"),
        ("assessed = 2026-03-02", "assessed = 2026-05-05", "transfer.review_due"),
    ] {
        assert_eq!(stopped(&tool(&edit(TOOL, date, day)), &german()), code, "{day}");
    }
    let both = edit(
        TOOL,
        "transfer = {",
        "transfer = [{ from = \"UK\", to = \"US\", tool = \"uk_idta\", assessed = 2026-03-02, review_by = 2026-04-01 }, {",
    );
    let both = edit(&both, "2027-03-02 }\n", "2027-03-02 }]\n");
    assert_eq!(stopped(&tool(&both), &german()), "ok");
    // Within the Economic Area nothing is transferred.
    let dutch = edit(BRIGHTWATER, "country = \"US\"", "country = \"NL\"");
    let program = program_of(&[("brightwater", &dutch)], &[("northwind-brightwater", &sign(&edit(AGREEMENT, TOOL, "")))]);
    assert_eq!(stopped(&program, &german()), "ok");
    assert_eq!(stopped(&program, &american()), "ok", "American law lets data leave");
}

// Breaks when a free mailbox tells of a company, or a company's mailbox does not.
#[test]
fn mailboxes_tell_of_companies() {
    let program = example::program();
    let named = |kind: &str| {
        let facts = with(|f| {
            f.lead.fields.remove("company_domain");
            set(f, "email", "jo@acme.example");
            set(f, "email_kind", kind);
        });
        verdict(&program, &facts).findings.iter().any(|f| f.code == "exclusivity.direct_sales")
    };
    assert!(named("business") && !named("free") && !named("disposable"));
}

// Breaks when a lead is pressed on a recipient twice, or another source's claim is not protected, or is for ever.
#[test]
fn duplicate() {
    for status in [ShareStatus::Matched, ShareStatus::Held, ShareStatus::Offered, ShareStatus::Delivered, ShareStatus::Accepted] {
        refused!(Duplicate, "duplicate.shared", |f| f.standing.shares = vec![share("northwind", "brightwater", status, NOW - 300 * DAY)]);
    }
    for status in [ShareStatus::Declined, ShareStatus::Expired, ShareStatus::Returned] {
        refused!(Duplicate, "duplicate.refused", |f| f.standing.shares = vec![share("northwind", "brightwater", status, NOW - 89 * DAY)]);
        refused!(Offered, "ok", |f| f.standing.shares = vec![share("northwind", "brightwater", status, NOW - 91 * DAY)]);
    }
    refused!(Offered, "ok", |f| f.standing.shares = vec![share("northwind", "brightwater", ShareStatus::Recalled, NOW - DAY)]);
    refused!(Duplicate, "duplicate.owned", |f| f.standing.shares =
        vec![share("rival", "brightwater", ShareStatus::Accepted, NOW - 89 * DAY)]);
    refused!(Offered, "ok", |f| f.standing.shares = vec![share("rival", "brightwater", ShareStatus::Accepted, NOW - 91 * DAY)]);
    refused!(Offered, "ok", |f| f.standing.shares = vec![share("rival", "brightwater", ShareStatus::Delivered, NOW - DAY)]);
    refused!(Offered, "ok", |f| f.standing.shares = vec![share("rival", "elsewhere", ShareStatus::Accepted, NOW - DAY)]);
    let first_shared = program(&[("rule = \"first_accepted\"", "rule = \"first_shared\"")]);
    let delivered = with(|f| f.standing.shares = vec![share("rival", "brightwater", ShareStatus::Delivered, NOW - DAY)]);
    assert_eq!(stopped(&first_shared, &delivered), "duplicate.owned");
    let text = explain(&decided(&first_shared, &delivered));
    assert!(!text.contains("rival"), "the loser learns who the other is:\n{text}");
}

// Breaks when something counts as a lead that the agreement does not count, or the other way round.
#[test]
fn eligible() {
    for field in ["email", "company", "country", "need", "timeframe"] {
        let (outcome, code) = judge_change(|f| drop(f.lead.fields.remove(field)));
        assert_eq!((outcome, code.as_str()), (VerdictOutcome::Ineligible, "eligible.missing"), "{field}");
    }
    refused!(Ineligible, "eligible.not_fulfilled", |f| set(f, "country", "FR"));
    refused!(Ineligible, "eligible.not_fulfilled", |f| set(f, "employees", 49));
    refused!(Ineligible, "eligible.not_fulfilled", |f| drop(f.lead.fields.remove("employees")));
    refused!(Offered, "ok", |f| set(f, "employees", 50));
    refused!(Ineligible, "eligible.excluded", |f| set(f, "email_kind", "free"));
    refused!(Ineligible, "eligible.excluded", |f| set(f, "open_deal_at_source", true));
    refused!(Offered, "ok", |f| drop(f.lead.fields.remove("open_deal_at_source")));
    // Competitors: by domain, subdomain, parent, site, the domain of the mailbox.
    refused!(Ineligible, "eligible.excluded", |f| set(f, "company_domain", "rival.example"));
    refused!(Ineligible, "eligible.excluded", |f| set(f, "company_domain", "eu.rival.example"));
    refused!(Ineligible, "eligible.excluded", |f| set(f, "company_domain", "bigrival.example"));
    refused!(Ineligible, "eligible.excluded", |f| {
        f.lead.fields.remove("company_domain");
        set(f, "website", "https://www.rival.example/about");
    });
    refused!(Ineligible, "eligible.excluded", |f| {
        f.lead.fields.remove("company_domain");
        set(f, "email", "jo@rival.example");
    });
    refused!(Ineligible, "eligible.excluded", |f| set(f, "company", "RIVAL Ltd."));
}

// Breaks when a typed test does not mean what it says.
#[test]
fn conditions() {
    for (condition, field, value, holds) in [
        ("need = { is = \"setup_help\" }", "need", Value::from("setup_help"), true),
        ("need = { is = \"training\" }", "need", "setup_help".into(), false),
        ("need = { is = \"Setup_Help\" }", "need", "setup_help".into(), true),
        ("need = { not_in = [\"setup_help\"] }", "need", "setup_help".into(), false),
        ("need = { not_in = [\"training\"] }", "need", "setup_help".into(), true),
        ("score = { at_most = 10 }", "score", 10.into(), true),
        ("score = { at_most = 10 }", "score", 11.into(), false),
        ("score = { between = [5, 10] }", "score", 5.into(), true),
        ("score = { between = [5, 10] }", "score", 4.into(), false),
        // Decimals are text and compare as numbers.
        ("budget = { at_least = \"900.00\" }", "budget", "1200.50".into(), true),
        ("budget = { at_least = 1200.5 }", "budget", "1200.50".into(), true),
        ("budget = { at_least = 1201 }", "budget", "1200.50".into(), false),
        ("own_last_action = { at_least = \"2026-05-01T10:00:00+02:00\" }", "own_last_action", "2026-05-01T08:00:00Z".into(), true),
        ("state = { in = [\"DE-BE\"] }", "state", "DE-BE".into(), true),
        ("score = { at_least = 5, at_most = 7 }", "score", 9.into(), false),
        ("x_partner_note = { is = \"yes\" }", "x_partner_note", "yes".into(), true),
    ] {
        let name = condition.split_once(" =").expect("a name").0;
        let all = if name == "need" {
            format!("all = {{ {condition} }}")
        } else {
            format!("all = {{ need = {{ in = [\"setup_help\"] }}, {condition} }}")
        };
        let program = program(&[(
            "all = { country = { in = [\"DE\", \"AT\", \"NL\", \"US\"] }, employees = { at_least = 50 }, need = { in = [\"setup_help\"] } }",
            &all,
        )]);
        let facts = with(|f| set(f, field, value.clone()));
        assert_eq!(stopped(&program, &facts) == "ok", holds, "{condition} on {value}");
    }
}

// Breaks when an expression that does not hold, or cannot be worked out, lets a lead pass.
#[test]
fn expressions() {
    for (expression, code) in [
        ("lead.employees >= 50 and lead.country in ['DE']", "ok"),
        ("lead.employees >= 500", "eligible.where"),
        ("lead.budget > 100", "eligible.where_unknown"),
        ("lead.budget is defined and lead.budget > 100", "eligible.where"),
    ] {
        let program = program(&[("[privacy]", &format!("where = \"{expression}\"\n[privacy]"))]);
        assert_eq!(stopped(&program, &german()), code, "{expression}");
    }
    let budget = program(&[("[privacy]", "where = \"lead.budget > 1000\"\n[privacy]")]);
    assert_eq!(stopped(&budget, &with(|f| set(f, "budget", "1200.50"))), "ok", "decimals are numbers in expressions");
}

// Breaks when a partner gets leads from outside its territory, or the person's place is taken for the company's.
#[test]
fn territory() {
    for (territory, code) in [
        ("\"DE\"", "ok"),
        ("\"EEA\"", "ok"),
        ("\"DE-BE\"", "ok"),
        ("\"DE-BY\"", "eligible.territory"),
        ("\"US\", \"UK\"", "eligible.territory"),
    ] {
        let partner = edit(BRIGHTWATER, "tier = ", &format!("territory = [{territory}]\ntier = "));
        let program = program_of(&[("brightwater", &partner)], &[("northwind-brightwater", &sign(AGREEMENT))]);
        assert_eq!(stopped(&program, &german()), code, "{territory}");
    }
    // A person in Germany whose company is in the United States.
    let partner = edit(BRIGHTWATER, "tier = ", "territory = [\"US\"]\ntier = ");
    let program = program_of(&[("brightwater", &partner)], &[("northwind-brightwater", &sign(AGREEMENT))]);
    assert_eq!(stopped(&program, &with(|f| set(f, "country", "US"))), "ok");
}

// Breaks when an old, undated or post-dated interest counts as fresh.
#[test]
fn fresh() {
    refused!(Ineligible, "fresh.stale", |f| f.now += 12 * DAY);
    refused!(Offered, "ok", |f| f.now = crate::program::tests::at("2026-05-15T08:00:00Z"));
    refused!(Ineligible, "fresh.unknown", |f| drop(f.lead.fields.remove("own_last_action")));
    refused!(Ineligible, "fresh.unknown", |f| set(f, "own_last_action", "last week"));
    refused!(Ineligible, "fresh.in_future", |f| set(f, "own_last_action", "2026-05-04T12:00:00Z"));
    refused!(Offered, "ok", |f| set(f, "own_last_action", "2026-05-04T09:30:00Z"));
    let unlimited = program(&[("fresh = { within = \"14d\", since = \"own_last_action\" }\n", "")]);
    assert_eq!(stopped(&unlimited, &with(|f| drop(f.lead.fields.remove("own_last_action")))), "ok");
}

// Breaks when a company that the source keeps for itself is given away.
#[test]
fn kept_for_direct_sales() {
    refused!(Ineligible, "exclusivity.direct_sales", |f| set(f, "company_domain", "acme.example"));
    refused!(Ineligible, "exclusivity.direct_sales", |f| set(f, "company", "Acme"));
}

// Breaks when more leads go than the recipient takes, under one agreement or over all.
#[test]
fn capacity() {
    let load = |open, day, month| Load { open, day, month };
    let under = |load: Load| {
        with(|f| {
            let agreements = BTreeMap::from([("northwind-brightwater".to_owned(), load)]);
            f.standing.partners.insert("brightwater".to_owned(), PartnerStanding { paused: false, load, agreements });
        })
    };
    let program = example::program();
    for (used, code) in
        [(load(24, 4, 59), "ok"), (load(25, 0, 25), "capacity.open"), (load(0, 5, 5), "capacity.day"), (load(0, 0, 60), "capacity.month")]
    {
        assert_eq!(stopped(&program, &under(used)), code, "{used:?}");
    }
    assert_eq!(verdict(&program, &under(load(25, 0, 0))).outcome, VerdictOutcome::Unmatched);
    // Over all agreements: other sources' leads count, this agreement's caps do not.
    let partner = edit(BRIGHTWATER, "tier = ", "capacity = { open = 40 }\ntier = ");
    let program = program_of(&[("brightwater", &partner)], &[("northwind-brightwater", &sign(AGREEMENT))]);
    let others = |open| {
        with(|f| {
            f.standing
                .partners
                .extend([("brightwater".to_owned(), PartnerStanding { load: load(open, 0, 0), ..PartnerStanding::default() })]);
        })
    };
    assert_eq!(stopped(&program, &others(39)), "ok");
    assert_eq!(stopped(&program, &others(40)), "capacity.open");
}

// Breaks when a paused partner gets or gives leads.
#[test]
fn standing() {
    let paused = || PartnerStanding { paused: true, ..PartnerStanding::default() };
    refused!(Unmatched, "standing.recipient_paused", |f| drop(f.standing.partners.insert("brightwater".to_owned(), paused())));
    refused!(Unmatched, "standing.source_paused", |f| drop(f.standing.partners.insert("northwind".to_owned(), paused())));
}

// Breaks when the first failing gate is not the outcome, or the gates after it are not judged too.
#[test]
fn all_gates_run_and_the_first_failing_one_counts() {
    let bad = with(|f| {
        f.standing.suppressions = vec![suppression(SuppressionScope::Person, &[])];
        f.lead.consent.choices.clear();
        f.lead.fields.remove("need");
        f.now += 20 * DAY;
        f.standing.partners.insert("brightwater".to_owned(), PartnerStanding { paused: true, ..PartnerStanding::default() });
    });
    let verdict = verdict(&example::program(), &bad);
    assert_eq!(verdict.outcome, VerdictOutcome::Suppressed);
    let failed: BTreeSet<Gate> = verdict.findings.iter().filter(|f| !f.passed).map(|f| f.gate).collect();
    assert_eq!(failed.into_iter().collect::<Vec<_>>(), [Gate::Suppressed, Gate::Consent, Gate::Eligible, Gate::Fresh, Gate::Standing]);
    let order: Vec<Gate> = verdict.findings.iter().map(|f| f.gate).collect();
    assert!(order.is_sorted(), "{order:?}");
    assert!(verdict.fields.is_empty() && verdict.consents.is_empty() && verdict.score.is_none());
}

// Breaks when a finding names no clause of the agreement, or tells who the person is.
#[test]
fn findings_cite_clauses_and_name_nobody() {
    let bad = with(|f| {
        f.lead.fields.remove("need");
        f.lead.consent.contact_points.clear();
        f.now += 20 * DAY;
    });
    let decision = decided(&example::program(), &bad);
    let text = explain(&decision) + &serde_json::to_string(&decision).expect("text");
    for secret in ["jo@example.de", "+4930901820", "Jo\"", "Ek\"", "Example GmbH"] {
        assert!(!text.contains(secret), "{secret} in\n{text}");
    }
    for failed in decision.verdicts[0].findings.iter().filter(|f| !f.passed) {
        assert!(failed.clause.starts_with(|c: char| c.is_ascii_digit()), "{failed:?}");
    }
    assert!(text.contains("3 privacy.basis") && text.contains("2 qualification.fresh"));
}
