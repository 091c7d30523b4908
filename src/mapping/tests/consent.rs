//! What a record claims about consent.

use super::*;
use crate::model::{Channel, ConsentClaim};

fn claim(crm: &Value) -> ConsentClaim {
    let mut all = json!({
        "email": "jo@example.com", "ls_under_18": null, "ls_health": "", "ls_gpc": "false", "hs_email_optout": "",
        "@communication_preferences": [],
    });
    for (key, value) in crm.as_object().cloned().unwrap_or_default() {
        all[key] = value;
    }
    match good(HUBSPOT).to_lead(&record(all)) {
        Mapped::Lead(lead, _) => lead.consent,
        other => panic!("no lead: {other:?}"),
    }
}

fn choice(value: &str, history: &Value) -> Value {
    json!({ "ls_partner_choice": value, "ls_partner_choice@history": history })
}

// Would break: the proof of a consent that was given is not seen.
#[test]
fn every_part_of_the_proof_is_read() {
    let mut crm = choice(
        "bw; xy",
        &json!([{ "value": "bw; xy", "at": 1_778_066_964_000_i64, "by": "FORM" }, { "value": "", "at": 1, "by": "IMPORT" }]),
    );
    for (key, value) in [
        ("ls_notice_version", "webform-2026-04"),
        ("ls_consent_at", "1778066970000"),
        ("ls_consented_email", " Jo@Example.com"),
        ("ls_consented_phone", "030 901820"),
        ("ls_double_opt_in_at", "2026-05-06T12:00:00Z"),
        ("ls_form_url", "https://northwind.example/form"),
        ("country", "Germany"),
        ("state", "Bayern"),
        ("ls_withdrawn_at", "2026-06-01"),
    ] {
        crm[key] = json!(value);
    }
    let claim = claim(&crm);
    assert_eq!(claim.choices.iter().collect::<Vec<_>>(), ["brightwater"]);
    assert!(!claim.nobody && claim.set_by_person);
    assert_eq!(
        (claim.notice.as_deref(), claim.given_at, claim.set_by.as_deref()),
        (Some("webform-2026-04"), Some(1_778_066_970_000), Some("FORM"))
    );
    assert_eq!(claim.contact_points[&Channel::Email], "jo@example.com");
    assert_eq!(claim.contact_points[&Channel::Phone], "+4930901820");
    assert_eq!(claim.confirmed_at, Some(1_778_068_800_000));
    assert_eq!((claim.place.country.as_deref(), claim.place.state.as_deref()), (Some("DE"), Some("DE-BY")));
    assert_eq!(claim.withdrawn_at, Some(1_780_272_000_000));
    assert!(claim.stops.is_empty() && claim.unreadable_stops.is_empty() && claim.flags.is_empty());
}

// Would break: an import, a workflow or a rep counts as the person.
#[test]
fn only_the_persons_own_act_counts_as_theirs() {
    let form = json!({ "value": "bw", "at": 1, "by": "FORM" });
    let import = json!({ "value": "bw", "at": 2, "by": "IMPORT" });
    for (history, set_by, person) in [
        (json!([form]), Some("FORM"), true),
        (json!([form, import]), Some("IMPORT"), false),
        (json!([{ "value": "bw", "at": 3, "by": null }]), None, false),
        // The newest entry is of another value: the history and the field were read at different times.
        (json!([{ "value": "none", "at": 3, "by": "FORM" }]), None, false),
        (json!("nonsense"), None, false),
        (Value::Null, None, false),
    ] {
        let claim = claim(&choice("bw", &history));
        assert_eq!((claim.set_by.as_deref(), claim.set_by_person), (set_by, person), "{history}");
    }
}

// Would break: the time of a consent is unknown although the history has it.
#[test]
fn the_history_tells_the_time_when_no_field_does() {
    let claim = claim(&choice("bw", &json!([{ "value": "bw", "at": 1_778_066_964_000_i64, "by": "FORM" }])));
    assert_eq!(claim.given_at, Some(1_778_066_964_000));
}

// Would break: "nobody" beside a ticked partner shares the person all the same.
#[test]
fn nobody_beats_every_name() {
    let nobody = claim(&choice("bw;none", &json!([])));
    assert!(nobody.nobody && nobody.choices.is_empty());
    let unknown = claim(&choice("somebody", &json!([])));
    assert!(!unknown.nobody && unknown.choices.is_empty());
}

// Would break: an opt-out is overlooked because it is spelt in another way.
#[test]
fn an_opt_out_is_seen_in_every_spelling() {
    for value in [json!(true), json!("true"), json!("Yes"), json!(1), json!("2026-01-01"), json!(["true"]), json!({ "odd": 1 })] {
        let claim = claim(&json!({ "hs_email_optout": value.clone() }));
        assert_eq!(claim.stops.len(), 1, "{value}");
        assert_eq!(claim.stops[0].said_by, "hs_email_optout");
        assert!(claim.stops[0].blocks.contains(&Channel::Email));
    }
    for value in [json!(false), json!("false"), json!(""), json!(null), json!("0"), json!([])] {
        assert!(claim(&json!({ "hs_email_optout": value.clone() })).stops.is_empty(), "{value}");
    }
    assert_eq!(
        claim(&json!({ "@communication_preferences": ["SUBSCRIBED", "unsubscribed"] })).stops[0].said_by,
        "@communication_preferences"
    );
    assert!(claim(&json!({ "@communication_preferences": "SUBSCRIBED" })).stops.is_empty());
}

// Would break: a field hidden by permissions counts as "not opted out".
#[test]
fn a_hidden_field_is_not_a_no() {
    let mapping = good(HUBSPOT);
    let Mapped::Lead(lead, _) = mapping.to_lead(&record(json!({ "email": "jo@example.com", "ls_gpc": "yes" }))) else { panic!("no lead") };
    assert_eq!(lead.consent.unreadable_stops, ["@communication_preferences", "hs_email_optout", "ls_health", "ls_under_18"]);
    assert_eq!(lead.consent.flags.iter().collect::<Vec<_>>(), ["gpc"]);
    let ignoring = good(&HUBSPOT.replace("stop_field_missing = \"refuse\"", "stop_field_missing = \"ignore\""));
    let Mapped::Lead(lead, _) = ignoring.to_lead(&record(json!({ "email": "jo@example.com" }))) else { panic!("no lead") };
    assert!(lead.consent.unreadable_stops.is_empty());
}

// Would break: a mapping that says nothing about consent claims some.
#[test]
fn without_a_block_nothing_is_claimed() {
    let mapping = with_fields("email = \"email\"");
    let Mapped::Lead(lead, _) = mapping.to_lead(&record(json!({ "email": "jo@example.com" }))) else { panic!("no lead") };
    assert_eq!(lead.consent, ConsentClaim::default());
}

// Would break: systems without histories (Tryton, Salesforce without tracking) can never prove who said yes.
#[test]
fn a_field_can_witness_where_there_is_no_history() {
    let text = HUBSPOT.replace(
        "{ crm = \"ls_consent_at\", history_of = \"ls_partner_choice\", set_by = [\"FORM\"] }",
        "{ crm = \"ls_consent_at\", set_by_field = \"ls_consent_by\", set_by = [\"webform\"] }",
    );
    let mapping = good(&text);
    for (by, person) in [("webform", true), ("import", false), ("", false)] {
        let crm = json!({ "email": "jo@example.com", "ls_consent_at": "2026-05-06", "ls_consent_by": by });
        let Mapped::Lead(lead, _) = mapping.to_lead(&record(crm)) else { panic!("no lead") };
        assert_eq!(lead.consent.set_by_person, person, "{by}");
    }
    assert!(mapping.read_fields().contains(&"ls_consent_by".to_owned()));
}

// Would break: the program cannot check that the names on the form are partners.
#[test]
fn the_names_on_the_form_are_known() {
    assert_eq!(good(HUBSPOT).choice_names().collect::<Vec<_>>(), [("bw", "brightwater")]);
}
