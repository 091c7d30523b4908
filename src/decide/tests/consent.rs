//! The consent gate: every part of a yes, by place, purpose and channel.

use super::*;
use crate::model::Stop;
use crate::program::tests::example::NOTICE;

/// The example with another notice.
fn with_notice(from: &str, to: &str) -> Program {
    let mut files: Vec<_> = example::surroundings().into_iter().filter(|f| f.kind != FileKind::Notice).collect();
    files.push(file(FileKind::Notice, "webform-2026-04", &edit(NOTICE, from, to)));
    files.push(file(FileKind::Agreement, "northwind-brightwater", &sign(AGREEMENT)));
    compile(files).0
}

fn stop(channels: &[Channel]) -> Stop {
    Stop { said_by: "optout".to_owned(), blocks: channels.iter().copied().collect() }
}

/// Only the e-mail address is in the lead.
fn no_phone(facts: &mut Facts) {
    facts.lead.fields.remove("phone");
}

// Breaks when a part of the yes is missing and the lead goes all the same.
#[test]
fn a_missing_part_means_no() {
    let program = example::program();
    let cases: &[(&str, Change)] = &[
        ("consent.nobody", |f| f.lead.consent.nobody = true),
        ("consent.not_chosen", |f| f.lead.consent.choices = BTreeSet::from(["coldlake".to_owned()])),
        ("consent.not_chosen", |f| f.lead.consent.choices.clear()),
        ("consent.no_time", |f| f.lead.consent.given_at = None),
        ("consent.in_future", |f| f.lead.consent.given_at = Some(NOW + HOUR)),
        ("consent.not_by_person", |f| f.lead.consent.set_by_person = false),
        ("consent.notice_missing", |f| f.lead.consent.notice = None),
        ("consent.notice_unknown", |f| f.lead.consent.notice = Some("newsletter".to_owned())),
        ("consent.notice_not_shown", |f| f.lead.consent.given_at = Some(NOW - 60 * DAY)),
        ("consent.withdrawn", |f| f.lead.consent.withdrawn_at = Some(NOW - DAY)),
        ("consent.withdrawn", |f| f.lead.consent.withdrawn_at = f.lead.consent.given_at),
        ("consent.stop_unreadable", |f| f.lead.consent.unreadable_stops = vec!["optout".to_owned()]),
        ("consent.place_not_listed", |f| f.lead.consent.place.country = Some("CH".to_owned())),
    ];
    for (code, change) in cases {
        let verdict = verdict(&program, &with(change));
        assert_eq!(verdict.outcome, VerdictOutcome::NoConsent, "{code}");
        assert_eq!(verdict.first_failure().map(|f| &*f.code), Some(*code));
    }
}

// Breaks when a yes after a no does not count again.
#[test]
fn a_new_yes_counts() {
    let program = example::program();
    assert_eq!(stopped(&program, &with(|f| f.lead.consent.withdrawn_at = Some(NOW - 5 * DAY))), "ok");
}

// Breaks when a yes counts under a notice that was not shown on that day, not for that purpose, or did not name the recipient.
#[test]
fn the_notice_must_say_it() {
    for (from, to, code) in [
        ("from = 2026-04-01", "from = 2026-05-01", "ok"),
        ("from = 2026-04-01", "from = 2026-05-02", "consent.notice_not_shown"),
        ("from = 2026-04-01", "from = 2026-04-01, until = 2026-05-01", "ok"),
        ("from = 2026-04-01", "from = 2026-04-01, until = 2026-04-30", "consent.notice_not_shown"),
        ("purposes = [\"introduce\", \"contact\"]", "purposes = [\"introduce\"]", "consent.notice_other_purpose"),
        ("channels = [\"email\", \"phone\"]", "channels = [\"post\"]", "consent.notice_other_channel"),
    ] {
        assert_eq!(stopped(&with_notice(from, to), &german()), code, "{to}");
    }
    // A notice that names somebody else is refused with the agreement; should it be met all the same, it proves nothing.
    let other = with_notice("recipients = [\"Brightwater Services Inc.\"]", "recipients = [\"Northwind Cloud B.V.\"]");
    let verdict = verdict(&other, &german());
    assert!(verdict.findings.iter().any(|f| f.code == "consent.notice_other_recipient"), "{:?}", verdict.findings);
}

// Breaks when a notice of the program that the agreement does not count, or another company's, proves a yes.
#[test]
fn the_notice_must_be_the_agreements() {
    let uncounted = program(&[("notices = [\"webform-2026-04\"]", "notices = []")]);
    assert_eq!(stopped(&uncounted, &german()), "consent.notice_unknown");
    let other = with_notice("controller = \"Northwind Cloud B.V.\"", "controller = \"Southwind B.V.\"");
    let verdict = verdict(&other, &german());
    assert!(verdict.findings.iter().any(|f| f.code == "consent.notice_other_source"), "{:?}", verdict.findings);
}

// Breaks when a purpose that gives data for mail only gives the phone too.
#[test]
fn a_purpose_by_channel_gives_those_channels_only() {
    let program = program(&[("basis = { EEA = \"consent\", US = \"person_directed\" }", "basis = { EEA = { email = \"consent\" } }")]);
    let verdict = verdict(&program, &german());
    assert!(
        verdict.fields.contains("email") && verdict.fields.contains("company") && !verdict.fields.contains("phone"),
        "{:?}",
        verdict.fields
    );
}

// Breaks when the day of the yes is taken in another zone than the notice's.
#[test]
fn the_day_of_the_yes_is_the_notices() {
    // 30 April 22:30 in UTC is 1 May in Amsterdam.
    let late = with(|f| f.lead.consent.given_at = Some(crate::program::tests::at("2026-04-30T22:30:00Z")));
    assert_eq!(stopped(&with_notice("from = 2026-04-01", "from = 2026-05-01"), &late), "ok");
}

// Breaks when a renamed recipient goes on under the old yes.
#[test]
fn a_new_name_needs_a_new_notice() {
    let renamed = edit(
        BRIGHTWATER,
        "legal_name = \"Brightwater Services Inc.\"",
        "legal_name = \"Brightwater Ltd.\"\nformer_names = [\"Brightwater Services Inc.\"]",
    );
    let text = edit(AGREEMENT, "legal_name = \"Brightwater Services Inc.\"", "legal_name = \"Brightwater Ltd.\"");
    let program = program_of(&[("brightwater", &renamed)], &[("northwind-brightwater", &sign(&text))]);
    let verdict = verdict(&program, &german());
    assert!(verdict.findings.iter().any(|f| f.code == "consent.notice_old_name"), "{:?}", verdict.findings);
}

// Breaks when a phone without a basis leaves, or keeps the whole lead back.
#[test]
fn without_a_basis_for_calls_the_lead_goes_without_phone() {
    let program = example::program();
    let cases: &[(&str, Change)] = &[
        ("never agreed to", |f| drop(f.lead.consent.contact_points.remove(&Channel::Phone))),
        ("another number", |f| drop(f.lead.consent.contact_points.insert(Channel::Phone, "+4930000000".to_owned()))),
        ("opted out", |f| f.lead.consent.stops = vec![stop(&[Channel::Phone])]),
    ];
    for (why, change) in cases {
        let verdict = verdict(&program, &with(change));
        assert_eq!(verdict.outcome, VerdictOutcome::Offered, "{why}");
        assert!(verdict.fields.contains("email") && !verdict.fields.contains("phone"), "{why}: {:?}", verdict.fields);
        assert_eq!(verdict.channels, BTreeSet::from([Channel::Email]), "{why}");
        assert!(!verdict.consents.iter().any(|c| c.channel == Some(Channel::Phone)), "{why}");
        assert!(verdict.findings.iter().any(|f| f.code == "consent.left_out" && f.text.contains("phone")), "{why}");
    }
}

// Breaks when the mailbox leaves though only calls were agreed to.
#[test]
fn without_a_basis_for_mail_the_lead_goes_without_address() {
    let facts = with(|f| f.lead.consent.confirmed_at = None);
    let verdict = verdict(&example::program(), &facts);
    assert_eq!(verdict.outcome, VerdictOutcome::Offered);
    assert!(!verdict.fields.contains("email") && verdict.fields.contains("phone"));
}

// Breaks when a lead goes though nobody may contact the person.
#[test]
fn without_any_channel_nothing_goes() {
    let program = example::program();
    let cases: &[(&str, Change)] = &[
        ("consent.not_confirmed", |f| f.lead.consent.confirmed_at = None),
        ("consent.not_confirmed", |f| f.lead.consent.confirmed_at = Some(NOW - 10 * DAY)),
        ("consent.in_future", |f| f.lead.consent.confirmed_at = Some(NOW + DAY)),
        ("consent.contact_point_missing", |f| f.lead.consent.contact_points.clear()),
        ("consent.contact_point_changed", |f| set(f, "email", "other@example.de")),
    ];
    for (code, change) in cases {
        let facts = with(|f| {
            no_phone(f);
            change(f);
        });
        assert_eq!(stopped(&program, &facts), *code);
    }
}

// Breaks when an address that is only written in another way counts as another address.
#[test]
fn contact_points_are_compared_normalised() {
    let facts = with(|f| {
        f.lead.consent.contact_points.insert(Channel::Email, " JO@Example.de".to_owned());
        f.lead.consent.contact_points.insert(Channel::Phone, "+49 (30) 90-1820".to_owned());
    });
    let verdict = verdict(&example::program(), &facts);
    assert_eq!(verdict.channels, BTreeSet::from([Channel::Email, Channel::Phone]));
}

// Breaks when a number that was not agreed to leaves beside the one that was.
#[test]
fn only_the_number_agreed_to_leaves() {
    let program = program(&[("\"email\", \"phone\", \"role\"", "\"email\", \"phone\", \"mobile\", \"role\"")]);
    let facts = with(|f| set(f, "mobile", "+491701234567"));
    let fields = verdict(&program, &facts).fields;
    assert!(fields.contains("phone") && !fields.contains("mobile"), "{fields:?}");
    let facts = with(|f| {
        set(f, "mobile", "+491701234567");
        f.lead.consent.contact_points.insert(Channel::Phone, "+491701234567".to_owned());
    });
    let fields = verdict(&program, &facts).fields;
    assert!(!fields.contains("phone") && fields.contains("mobile"), "{fields:?}");
}

// Breaks when American law is applied to Germans or the other way round.
#[test]
fn the_persons_place_decides_the_law() {
    let program = example::program();
    // Mail in the United States: not opted out is enough, but the name is given only as the person directed.
    let facts = || {
        let mut facts = american();
        no_phone(&mut facts);
        facts.lead.consent.confirmed_at = None;
        facts.lead.consent.contact_points.clear();
        facts
    };
    assert_eq!(stopped(&program, &facts()), "ok");
    let mut german_person = facts();
    german_person.lead.consent.place = Place { country: Some("DE".to_owned()), state: None };
    assert_eq!(stopped(&program, &german_person), "consent.not_confirmed");
    let mut undirected = facts();
    undirected.lead.consent.choices.clear();
    assert_eq!(stopped(&program, &undirected), "consent.not_chosen");
    let mut opted_out = american();
    opted_out.lead.consent.stops = vec![stop(&[Channel::Email])];
    let verdict = verdict(&program, &opted_out);
    assert!(!verdict.fields.contains("email") && verdict.fields.contains("phone"), "after an opt-out the address may not be passed on");
}

// Breaks when calls in the United States need no written consent.
#[test]
fn calls_need_written_consent_that_names_the_seller() {
    let program = example::program();
    let mut facts = american();
    assert!(verdict(&program, &facts).fields.contains("phone"));
    facts.lead.consent.shown = None;
    assert!(!verdict(&program, &facts).fields.contains("phone"));
    facts.lead.consent.certificate = Some("https://certificates.example/1".to_owned());
    assert!(verdict(&program, &facts).fields.contains("phone"));
}

// Breaks when a browser's "do not sell or share" is ignored where sharing rests on not having opted out.
#[test]
fn gpc_is_an_opt_out() {
    let program = program(&[("US = \"person_directed\"", "US = \"not_opted_out\"")]);
    let mut facts = american();
    facts.lead.consent.choices.clear();
    assert_eq!(stopped(&program, &facts), "ok");
    facts.lead.consent.flags.insert("gpc".to_owned());
    assert_eq!(stopped(&program, &facts), "consent.gpc");
    assert_eq!(stopped(&example::program(), &with(|f| f.lead.consent.flags.extend(["gpc".to_owned()]))), "ok", "a yes is stronger");
}

// Breaks when a wider place wins over a narrower one, or a place that is not listed is permitted.
#[test]
fn the_narrowest_place_counts() {
    let bases = |places: &str| program(&[("basis = { EEA = \"consent\", US = \"person_directed\" }", &format!("basis = {{ {places} }}"))]);
    let mut californian = american();
    californian.lead.consent.choices.clear();
    assert_eq!(stopped(&bases("US = \"not_opted_out\", US-CA = \"consent\""), &californian), "consent.not_chosen");
    californian.lead.consent.place.state = Some("US-NY".to_owned());
    assert_eq!(stopped(&bases("US = \"not_opted_out\", US-CA = \"consent\""), &californian), "ok");
    assert_eq!(stopped(&bases("US = \"consent\""), &german()), "consent.place_not_listed");
    let nobody = with(|f| f.lead.consent.choices.clear());
    assert_eq!(stopped(&bases("EEA = \"not_opted_out\", DE = \"consent\""), &nobody), "consent.not_chosen");
    assert_eq!(stopped(&bases("EU = \"consent\", EEA = \"not_opted_out\""), &nobody), "consent.not_chosen");
}

// Breaks when Norway, the islands or the United Kingdom fall under the wrong law.
#[test]
fn groups_hold_their_countries() {
    use crate::program::place::contains;
    for (group, country, inside) in [
        ("EEA", "NO", true),
        ("EU", "NO", false),
        ("EEA", "DE", true),
        ("EEA", "RE", true),
        ("EEA", "GB", false),
        ("EEA", "CH", false),
        ("UK", "GB", true),
        ("CH", "CH", true),
        ("US", "US", true),
        ("US", "CA", false),
    ] {
        assert_eq!(contains(group, Some(country), None), inside, "{country} in {group}");
    }
    assert!(contains("DE-BY", Some("DE"), Some("DE-BY")) && !contains("DE-BY", Some("DE"), None));
}

// Breaks when one purpose that is not permitted takes the others with it, or lends them its fields.
#[test]
fn purposes_are_permitted_one_by_one() {
    let survey = "[[privacy.purpose]]\nid = \"survey\"\ntext = \"Ask them how it went.\"\nbasis = { EEA = \"consent\" }\nfields = [\"timeframe\", \"budget\"]\n[confidentiality]";
    let program = program(&[("[confidentiality]", survey), ("\"need\", \"timeframe\"]\n[[", "\"need\"]\n[[")]);
    let facts = with(|f| set(f, "budget", "100.00"));
    let verdict = verdict(&program, &facts);
    assert_eq!(verdict.outcome, VerdictOutcome::Offered);
    assert!(
        !verdict.fields.contains("budget") && verdict.fields.contains("need"),
        "the notice does not tell of a survey: {:?}",
        verdict.fields
    );
}

// Breaks when the kept proof lacks what an authority asks for.
#[test]
fn the_proof_is_complete() {
    let verdict = verdict(&example::program(), &german());
    let acts: Vec<(&str, Option<Channel>, &str)> =
        verdict.consents.iter().map(|c| (c.purpose.as_str(), c.channel, c.basis.as_str())).collect();
    assert_eq!(
        acts,
        [("contact", Some(Channel::Email), "double_opt_in"), ("contact", Some(Channel::Phone), "consent"), ("introduce", None, "consent")]
    );
    let proof = &verdict.consents[0];
    assert_eq!(proof.controller, "Northwind Cloud B.V.");
    assert_eq!(proof.recipient_legal_name, "Brightwater Services Inc.");
    assert_eq!(proof.notice.as_deref(), Some("webform-2026-04"));
    assert_eq!(proof.notice_version.as_ref().map(String::len), Some(64));
    assert_eq!(proof.language.as_deref(), Some("en"));
    assert_eq!(proof.contact_point.as_deref(), Some("jo@example.de"));
    assert_eq!(proof.method.as_deref(), Some("form https://northwind.example/help; recorded by FORM"));
    assert_eq!(proof.place.as_deref(), Some("DE"));
    assert_eq!(proof.given_at, Some(NOW - 3 * DAY));
}
