//! Several candidates: who comes first, how many get the lead, who waits, who has a promise.

use super::*;
use crate::model::decision::{ExistingShare, Load, PartnerStanding};

/// A small agreement from Northwind to a partner. `EXTRA` is where operations go on.
fn deal(name: &str, edits: &[(&str, &str)]) -> String {
    let text = format!(
        r#"about = {{ id = "northwind-{name}", version = 1, business = "partners@northwind.example", privacy = "privacy@northwind.example" }}
[parties]
source = {{ partner = "northwind", legal_name = "Northwind Cloud B.V.", role = "controller" }}
recipient = {{ partner = "{name}", legal_name = "{name} GmbH", role = "controller" }}
operator = {{ partner = "northwind", role = "controller" }}
[qualification]
required = ["email"]
[privacy]
notices = ["everybody"]
[[privacy.purpose]]
id = "introduce"
text = "Name people who asked for help."
basis = {{ EEA = "consent" }}
fields = ["email", "company", "country", "need"]
[[privacy.purpose]]
id = "contact"
text = "Write to them about that help."
basis = {{ EEA = {{ email = "consent" }} }}
[term]
runs = {{ from = 2026-04-01, until = 2027-03-31, zone = "Europe/Amsterdam" }}
[operations]
transfer = {{ by = "source", mode = "direct" }}
"#
    );
    sign(&edits.iter().fold(text, |text, (from, to)| edit(&text, from, to)))
}

/// A partner in Germany.
fn partner(name: &str, more: &str) -> String {
    format!(
        r#"legal_name = "{name} GmbH"
kind = "services"
country = "DE"
domains = ["{name}.example"]
contacts = {{ business = "hello@{name}.example", privacy = "privacy@{name}.example" }}
calendar = {{ zone = "Europe/Berlin" }}
signers = ["R. Okafor, CEO"]
{more}
"#
    )
}

type Deal<'a> = (&'a str, &'a str, &'a [(&'a str, &'a str)]);

/// Northwind with these partners: name, lines of the partner file, edits of the agreement.
fn market(deals: &[Deal<'_>]) -> Program {
    let names: Vec<String> = deals.iter().map(|(name, ..)| format!("\"{name} GmbH\"")).collect();
    let notice = format!(
        r#"controller = "Northwind Cloud B.V."
text = 'Northwind Cloud B.V. may give my details to {names}.'
language = "en"
recipients = [{names}]
purposes = ["introduce", "contact"]
channels = ["email"]
shown = {{ from = 2026-04-01, zone = "Europe/Amsterdam" }}
"#,
        names = names.join(", ")
    );
    let mut files = example::surroundings();
    files.push(file(FileKind::Notice, "everybody", &notice));
    for (name, more, edits) in deals {
        files.push(file(FileKind::Partner, name, &partner(name, more)));
        files.push(file(FileKind::Agreement, &format!("northwind-{name}"), &deal(name, edits)));
    }
    let (program, found) = compile(files);
    assert!(found.is_empty(), "{found:?}");
    program
}

/// The example lead, whose person chose these partners.
fn chosen(names: &[&str]) -> Facts {
    with(|f| {
        f.lead.consent.choices = names.iter().map(|n| (*n).to_owned()).collect();
        f.lead.consent.notice = Some("everybody".to_owned());
    })
}

/// Recipients with what they get, in the order of the decision.
fn results(program: &Program, facts: &Facts) -> Vec<(String, VerdictOutcome)> {
    decided(program, facts).verdicts.into_iter().map(|v| (v.recipient, v.outcome)).collect()
}

fn expect(got: &[(String, VerdictOutcome)], wanted: &[(&str, VerdictOutcome)]) {
    let got: Vec<(&str, VerdictOutcome)> = got.iter().map(|(name, outcome)| (name.as_str(), *outcome)).collect();
    assert_eq!(got, wanted);
}

fn share(recipient: &str, status: ShareStatus, since: i64) -> ExistingShare {
    ExistingShare { share_id: recipient.to_owned(), source: "northwind".to_owned(), recipient: recipient.to_owned(), status, since }
}

fn busy(open: u32) -> PartnerStanding {
    PartnerStanding { load: Load { open, day: 0, month: 0 }, ..PartnerStanding::default() }
}

use VerdictOutcome::{Duplicate, Held, Ineligible, NoConsent, Offered, Outranked, Shared, Unmatched};

// Breaks when a better suited partner does not come first, or a score does not say why.
#[test]
fn the_best_suited_comes_first() {
    let special = "specialisations = [\"setup_help\"]";
    let program = market(&[("ash", "tier = \"platinum\"", &[]), ("birch", special, &[]), ("cedar", "tier = \"gold\"", &[])]);
    let facts = chosen(&["ash", "birch", "cedar"]);
    expect(&results(&program, &facts), &[("birch", Shared), ("ash", Outranked), ("cedar", Outranked)]);
    let decision = decided(&program, &facts);
    let score = decision.verdicts[0].score.clone().expect("a score");
    assert_eq!(score, [("tier", 0.0), ("specialisation", 40.0), ("weight", 2.0), ("capacity_left", 20.0)].map(|(n, s)| (n.to_owned(), s)));
    assert!(explain(&decision).contains("score 62.0 = tier 0.0 + specialisation 40.0 + weight 2.0 + capacity_left 20.0"));
}

// Breaks when weight or free capacity no longer counts.
#[test]
fn weight_and_capacity_count() {
    let heavy = [("[operations]", "[operations]\ncapacity = { by = \"recipient\", weight = 3 }")];
    let program = market(&[("ash", "", &[]), ("birch", "", &heavy)]);
    expect(&results(&program, &chosen(&["ash", "birch"])), &[("birch", Shared), ("ash", Outranked)]);
    let program = market(&[("ash", "capacity = { open = 10 }", &[]), ("birch", "capacity = { open = 10 }", &[])]);
    let mut facts = chosen(&["ash", "birch"]);
    facts.standing.partners.insert("ash".to_owned(), busy(5));
    expect(&results(&program, &facts), &[("birch", Shared), ("ash", Outranked)]);
}

// Breaks when equals are not taken in turn by who has fewer open leads.
#[test]
fn among_equals_the_less_busy_comes_first() {
    let program = market(&[("ash", "", &[]), ("birch", "", &[])]);
    let mut facts = chosen(&["ash", "birch"]);
    expect(&results(&program, &facts), &[("ash", Shared), ("birch", Outranked)]);
    facts.standing.partners.insert("ash".to_owned(), busy(1));
    expect(&results(&program, &facts), &[("birch", Shared), ("ash", Outranked)]);
}

// Breaks when more get the lead than agreed, or somebody who was promised to be alone is joined.
#[test]
fn no_more_recipients_than_agreed() {
    let two: &[(&str, &str)] = &[("mode = \"direct\"", "mode = \"direct\", recipients = 2")];
    let gold = "tier = \"gold\"";
    let program = market(&[("ash", gold, two), ("birch", "", two), ("cedar", "", two)]);
    let all = chosen(&["ash", "birch", "cedar"]);
    expect(&results(&program, &all), &[("ash", Shared), ("birch", Shared), ("cedar", Outranked)]);
    let alone = market(&[("ash", gold, &[]), ("birch", "", two)]);
    expect(&results(&alone, &all), &[("ash", Shared), ("birch", Outranked)]);
    let not_second = market(&[("ash", gold, two), ("birch", "", &[]), ("cedar", "", two)]);
    expect(&results(&not_second, &all), &[("ash", Shared), ("cedar", Shared), ("birch", Outranked)]);
}

// Breaks when every change of a shared lead gives it to one more partner.
#[test]
fn a_lead_that_is_shared_is_not_shared_on() {
    let two: &[(&str, &str)] = &[("mode = \"direct\"", "mode = \"direct\", recipients = 2")];
    let all = ["ash", "birch", "cedar"];
    let shared = |status| {
        let mut facts = chosen(&all);
        facts.standing.shares = vec![share("ash", status, NOW - DAY)];
        facts
    };
    let program = market(&[("ash", "", &[]), ("birch", "", &[]), ("cedar", "", &[])]);
    let decision = decided(&program, &shared(ShareStatus::Accepted));
    assert_eq!(decision.outcome, ChangeOutcome::Duplicate, "{}", explain(&decision));
    assert!(!decision.verdicts.iter().any(|v| v.outcome.goes_out()));
    // It was declined: the next one gets it.
    expect(&results(&program, &shared(ShareStatus::Declined)), &[("birch", Shared), ("cedar", Outranked), ("ash", Duplicate)]);
    // Ash was promised to be alone; where two were agreed, one more gets it.
    let mixed = market(&[("ash", "", &[]), ("birch", "", two), ("cedar", "", two)]);
    expect(&results(&mixed, &shared(ShareStatus::Accepted)), &[("birch", Outranked), ("cedar", Outranked), ("ash", Duplicate)]);
    let both = market(&[("ash", "", two), ("birch", "", two), ("cedar", "", two)]);
    expect(&results(&both, &shared(ShareStatus::Accepted)), &[("birch", Shared), ("cedar", Outranked), ("ash", Duplicate)]);
}

// Breaks when offers that compete are made one after the other, or those in turn all at once.
#[test]
fn offers_go_in_turn_or_at_once() {
    let offer = |order: &str| format!("mode = \"offer\", answer_within = \"1bd\", order = \"{order}\"");
    for (order, second) in [("in_turn", Outranked), ("at_once", Offered)] {
        let offer = offer(order);
        let edits = [("mode = \"direct\"", offer.as_str())];
        let program = market(&[("ash", "", &edits), ("birch", "", &edits)]);
        expect(&results(&program, &chosen(&["ash", "birch"])), &[("ash", Offered), ("birch", second)]);
    }
}

// Breaks when a lead that a person has to approve goes out, or others do not wait for it.
#[test]
fn approval_holds() {
    let approve: &[(&str, &str)] = &[("mode = \"direct\"", "mode = \"direct\", approve_if = { employees = { at_least = 100 } }")];
    let program = market(&[("ash", "tier = \"gold\"", approve), ("birch", "", &[])]);
    let facts = chosen(&["ash", "birch"]);
    let decision = decided(&program, &facts);
    assert_eq!(decision.outcome, ChangeOutcome::Held);
    expect(&results(&program, &facts), &[("ash", Held), ("birch", Outranked)]);
    let mut small = facts;
    set(&mut small, "employees", 99);
    expect(&results(&program, &small), &[("ash", Shared), ("birch", Outranked)]);
}

// Breaks when the outcome of a change is not that of the candidate that came farthest.
#[test]
fn the_outcome_is_the_best_candidates() {
    let program = market(&[("ash", "", &[]), ("birch", "capacity = { open = 1 }", &[]), ("cedar", "", &[])]);
    // The person chose Birch only, and Birch is full: that is what happened, not "no consent".
    let mut facts = chosen(&["birch"]);
    facts.standing.partners.insert("birch".to_owned(), busy(1));
    let decision = decided(&program, &facts);
    assert_eq!(decision.outcome, ChangeOutcome::Unmatched);
    assert!(decision.reason.starts_with("birch: the recipient takes at most 1 open leads"), "{}", decision.reason);
    expect(&results(&program, &facts), &[("birch", Unmatched), ("ash", NoConsent), ("cedar", NoConsent)]);
}

const BAVARIA: &str = "[operations]";
const PROMISE: &str = "[exclusivity]\nsource_gives = { territory = [\"DE-BY\"], release_if_unanswered = \"2bd\" }\n[operations]";

/// A lead of a company in Bavaria.
fn bavarian(names: &[&str]) -> Facts {
    let mut facts = chosen(names);
    set(&mut facts, "state", "DE-BY");
    facts
}

// Breaks when a promised lead goes to others, or leads outside the promise do not.
#[test]
fn a_promised_lead_goes_to_one_only() {
    let program = market(&[("ash", "tier = \"gold\"", &[]), ("birch", "", &[(BAVARIA, PROMISE)])]);
    expect(&results(&program, &bavarian(&["ash", "birch"])), &[("birch", Shared), ("ash", Ineligible)]);
    expect(&results(&program, &chosen(&["ash", "birch"])), &[("ash", Shared), ("birch", Outranked)]);
    // A promise that begins later keeps nothing back yet.
    let later =
        market(&[("ash", "tier = \"gold\"", &[]), ("birch", "", &[(BAVARIA, PROMISE), ("from = 2026-04-01", "from = 2026-06-01")])]);
    expect(&results(&later, &bavarian(&["ash", "birch"])), &[("ash", Shared), ("birch", Unmatched)]);
    // The person did not agree to Birch: the promise stands all the same, and nobody gets the lead.
    let decision = decided(&program, &bavarian(&["ash"]));
    assert_eq!(decision.outcome, ChangeOutcome::Ineligible);
    let text = explain(&Decision { verdicts: decision.verdicts.into_iter().filter(|v| v.recipient == "ash").collect(), ..decision });
    assert!(!text.contains("birch"), "Ash learns who has the promise:\n{text}");
}

// Breaks when an exclusive partner that is paused, full, silent or unwilling keeps a lead from everybody.
#[test]
fn an_exclusive_partner_that_cannot_take_it_releases_it() {
    let program = market(&[("ash", "", &[]), ("birch", "capacity = { open = 1 }", &[(BAVARIA, PROMISE)])]);
    let facts = |change: &dyn Fn(&mut Facts)| {
        let mut facts = bavarian(&["ash", "birch"]);
        change(&mut facts);
        facts
    };
    let gets = |facts: &Facts| results(&program, facts).into_iter().find(|(name, _)| name == "ash").map(|(_, outcome)| outcome);
    assert_eq!(gets(&facts(&|_| {})), Some(Ineligible));
    assert_eq!(
        gets(&facts(&|f| drop(f.standing.partners.insert("birch".to_owned(), PartnerStanding { paused: true, ..busy(0) })))),
        Some(Shared)
    );
    assert_eq!(gets(&facts(&|f| drop(f.standing.partners.insert("birch".to_owned(), busy(1))))), Some(Shared));
    for status in [ShareStatus::Declined, ShareStatus::Expired, ShareStatus::Returned] {
        assert_eq!(gets(&facts(&|f| f.standing.shares = vec![share("birch", status, NOW - DAY)])), Some(Shared), "{status:?}");
    }
    // Offered on Wednesday, two business days later is Monday's close: on Monday morning Birch may still answer.
    let offered = |since: &str| {
        let since = crate::program::tests::at(since);
        facts(&|f| f.standing.shares = vec![share("birch", ShareStatus::Offered, since)])
    };
    let code = |facts: &Facts| {
        let decision = decided(&program, facts);
        let ash = decision.verdicts.into_iter().find(|v| v.recipient == "ash").expect("ash");
        ash.first_failure().map_or_else(|| "ok".to_owned(), |f| f.code.to_string())
    };
    assert_eq!(code(&offered("2026-04-30T10:00:00Z")), "exclusivity.reserved");
    assert_eq!(code(&offered("2026-04-29T10:00:00Z")), "ok");
}

// Breaks when a partner that promised not to take a rival's leads gets them.
#[test]
fn rivals_leads_are_not_taken() {
    let southwind = partner("southwind", "");
    let promise = edit(AGREEMENT, "northwind-brightwater", "southwind-ash");
    let promise = edit(
        &promise,
        "partner = \"northwind\", legal_name = \"Northwind Cloud B.V.\"",
        "partner = \"southwind\", legal_name = \"southwind GmbH\"",
    );
    let promise = edit(
        &promise,
        "partner = \"brightwater\", legal_name = \"Brightwater Services Inc.\"",
        "partner = \"ash\", legal_name = \"ash GmbH\"",
    );
    let promise = edit(&promise, "notices = [\"webform-2026-04\"]", "notices = []");
    let promise = crate::program::tests::example::sign_as(&promise, "R. Okafor, CEO", "R. Okafor, CEO", "2026-03-21T15:40:00Z");
    let draft = promise.split("[signing]").next().expect("the terms").to_owned();
    for (rival, promise, code) in
        [("northwind.example", &promise, "exclusivity.rival"), ("westwind.example", &promise, "ok"), ("northwind.example", &draft, "ok")]
    {
        let mut files: Vec<_> = example::surroundings().into_iter().filter(|f| f.name != "rivals-of-northwind").collect();
        files.push(file(FileKind::List, "rivals-of-northwind", &format!("domain\n{rival}\n")));
        files.push(file(FileKind::Partner, "southwind", &southwind));
        files.push(file(FileKind::Partner, "ash", &partner("ash", "")));
        files.push(file(FileKind::Agreement, "southwind-ash", promise));
        files.push(file(FileKind::Agreement, "northwind-ash", &deal("ash", &[("notices = [\"everybody\"]", "notices = []")])));
        let (program, _) = compile(files);
        let decision = decided(&program, &chosen(&["ash"]));
        let failed = decision.verdicts[0].findings.iter().find(|f| !f.passed && f.gate == Gate::Exclusivity);
        assert_eq!(failed.map_or("ok", |f| &*f.code), code);
    }
}

// Breaks when the order in which agreements are written changes who gets a lead.
#[test]
fn the_order_of_files_does_not_decide() {
    let a = market(&[("ash", "", &[]), ("birch", "", &[]), ("cedar", "", &[])]);
    let b = market(&[("cedar", "", &[]), ("birch", "", &[]), ("ash", "", &[])]);
    let facts = chosen(&["ash", "birch", "cedar"]);
    assert_eq!(results(&a, &facts), results(&b, &facts));
}

// Breaks when a list that names the promise's own source by mistake locks that source out.
#[test]
fn a_promise_does_not_lock_out_its_own_source() {
    let mut files: Vec<_> = example::surroundings().into_iter().filter(|f| f.name != "rivals-of-northwind").collect();
    files.push(file(FileKind::List, "rivals-of-northwind", "domain\nnorthwind.example\n"));
    files.push(file(FileKind::Agreement, "northwind-brightwater", &sign(AGREEMENT)));
    assert_eq!(stopped(&compile(files).0, &german()), "ok");
}

// Breaks when one partner gets the same lead twice, under two agreements for two purposes.
#[test]
fn a_partner_gets_a_lead_once() {
    let open = [
        ("mode = \"direct\"", "mode = \"direct\", recipients = 2"),
        ("{ EEA = \"consent\" }", "{ EEA = \"not_opted_out\" }"),
        ("{ email = \"consent\" }", "{ email = \"not_opted_out\" }"),
        ("notices = [\"everybody\"]", "notices = []"),
    ];
    let other = [
        ("id = \"northwind-ash\"", "id = \"northwind-ash-2\""),
        ("id = \"introduce\"", "id = \"tell\""),
        ("id = \"contact\"", "id = \"reach\""),
    ];
    let mut files = example::surroundings();
    files.push(file(FileKind::Partner, "ash", &partner("ash", "")));
    files.push(file(FileKind::Agreement, "northwind-ash", &deal("ash", &open)));
    files.push(file(FileKind::Agreement, "northwind-ash-2", &deal("ash", &[&open[..], &other[..]].concat())));
    let (program, found) = compile(files);
    assert_eq!(found, []);
    expect(&results(&program, &chosen(&["ash"])), &[("ash", Shared), ("ash", Outranked)]);
}
