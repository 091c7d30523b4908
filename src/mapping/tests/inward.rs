//! Records become leads, or say why they do not.

use super::*;

fn problems(mapped: &Mapped) -> Vec<(&str, &str, &str)> {
    let (kind, list) = match mapped {
        Mapped::Lead(_, warnings) => ("lead", warnings),
        Mapped::Invalid(list) => ("invalid", list),
        Mapped::Quarantined(list) => ("quarantined", list),
    };
    list.iter().map(|p| (kind, p.lead_field.as_str(), p.code.as_str())).collect()
}

// Would break: the file that the documentation shows does not do what the documentation says.
#[test]
fn the_documented_mapping_works() {
    let mapping = good(HUBSPOT);
    assert_eq!(mapping.warnings(), []);
    let crm = json!({ "email": "Jo@x-corp.example", "industry": "COMPUTER_SOFTWARE", "numberofemployees": "1,200" });
    let expected = json!({ "email": "jo@x-corp.example", "industry": "software", "employees": 1200, "email_kind": "business", "company_domain": "x-corp.example" });
    assert_eq!(lead(&mapping, crm), expected);
}

// Would break: a record without an address becomes a lead, or an unknown picklist value is shared as it is.
#[test]
fn what_is_wrong_decides_what_becomes_of_the_record() {
    let mapping = good(HUBSPOT);
    assert_eq!(problems(&mapping.to_lead(&record(json!({ "email": " " })))), [("invalid", "email", "missing")]);
    assert_eq!(problems(&mapping.to_lead(&record(json!({ "email": "no address" })))), [("invalid", "email", "not_an_email")]);
    let unmapped = json!({ "email": "jo@example.com", "industry": "FISHING" });
    assert_eq!(problems(&mapping.to_lead(&record(unmapped))), [("quarantined", "industry", "unmapped")]);
    let both = json!({ "email": "", "industry": "FISHING" });
    assert_eq!(problems(&mapping.to_lead(&record(both))), [("invalid", "email", "missing")]);
    let odd_phone = json!({ "email": "jo@example.com", "phone": "call me", "country": "Germany" });
    assert_eq!(problems(&mapping.to_lead(&record(odd_phone))), [("lead", "phone", "not_a_phone")]);
}

// Would break: a person's data stands in an error that is logged.
#[test]
fn problems_name_fields_and_show_no_value() {
    let crm = json!({ "email": "anna.secret@@example.com", "phone": "0900SECRET", "industry": "SECRET", "country": "SECRET" });
    for text in [good(HUBSPOT).to_lead(&record(crm.clone())), with_fields("phone = \"phone\"\ncountry = \"country\"").to_lead(&record(crm))]
    {
        let told = format!("{text:?}");
        assert!(!told.to_lowercase().contains("secret"), "{told}");
    }
}

// Would break: an empty value and an unreadable one are the same, so that a typo in the country is filled by the default.
#[test]
fn a_default_fills_what_is_empty_and_nothing_else() {
    let mapping = with_fields("email = \"e\"\ncountry = { crm = \"c\", default = \"Germany\" }");
    assert_eq!(lead(&mapping, json!({ "c": "" })), json!({ "country": "DE" }));
    assert_eq!(lead(&mapping, json!({})), json!({ "country": "DE" }));
    assert_eq!(problems(&mapping.to_lead(&record(json!({ "c": "Germny" })))), [("lead", "country", "not_a_country")]);
    assert_eq!(lead(&mapping, json!({ "c": "Germny" })), json!({}));
}

// Would break: what an unmapped value does is not what the file says.
#[test]
fn unmapped_values_do_what_the_file_says() {
    for (unmapped, expected) in [("keep", json!({ "industry": "deep_sea_fishing" })), ("drop", json!({}))] {
        let mapping = with_fields(&format!("industry = {{ crm = \"i\", values = {{ A = \"software\" }}, unmapped = \"{unmapped}\" }}"));
        assert_eq!(lead(&mapping, json!({ "i": "Deep Sea  Fishing" })), expected);
    }
    let silent = with_fields("industry = { crm = \"i\", values = { A = \"software\" } }");
    assert_eq!(problems(&silent.to_lead(&record(json!({ "i": "B" })))), [("quarantined", "industry", "unmapped")]);
    let strict = with_fields("country = { crm = \"c\", unmapped = \"quarantine\" }");
    assert_eq!(problems(&strict.to_lead(&record(json!({ "c": "Atlantis" })))), [("quarantined", "country", "not_a_country")]);
}

// Would break: words in the file must be spelt as the transforms leave them instead of as the system has them.
#[test]
fn words_are_compared_after_the_transforms() {
    let mapping = with_fields(
        "need = { crm = \"n\", transform = [\"split:;\", \"lowercase\"], values = { \"Set-Up\" = \"setup_help\", Advice = \"advice\" } }",
    );
    assert_eq!(lead(&mapping, json!({ "n": "SET-UP; advice" })), json!({ "need": ["setup_help", "advice"] }));
    assert_eq!(json!(mapping.to_record(&record(json!({ "need": ["setup_help", "advice"] })), false)), json!({ "n": "Set-Up;Advice" }));
}

// Would break: numbers and truth values of vendors that keep real types are not read.
#[test]
fn typed_values_are_read_as_well_as_text() {
    let mapping = with_fields(
        "employees = \"n\"\nopen_deal_at_source = \"d\"\nrevenue = \"r\"\nneed = { crm = \"b\", values = { true = \"setup_help\", false = \"none\" } }",
    );
    let crm = json!({ "n": 75, "d": true, "r": 1200.5, "b": true });
    assert_eq!(lead(&mapping, crm), json!({ "employees": 75, "open_deal_at_source": true, "revenue": "1200.5", "need": "setup_help" }));
}

// Would break: two values in a field for one are silently cut to the first.
#[test]
fn several_values_where_one_belongs_are_told() {
    let mapping = with_fields("employees = \"n\"\nneed = \"m\"");
    assert_eq!(problems(&mapping.to_lead(&record(json!({ "n": [1, 2] })))), [("lead", "employees", "several_values")]);
    assert_eq!(problems(&mapping.to_lead(&record(json!({ "n": { "a": 1 } })))), [("lead", "employees", "not_plain")]);
    assert_eq!(lead(&mapping, json!({ "n": [7], "m": ["A", "B"] })), json!({ "employees": 7, "need": ["a", "b"] }));
}

// Would break: a phone is read with the wrong region because the country comes later in the file.
#[test]
fn the_country_is_known_before_numbers_and_states_are_read() {
    let mapping = with_fields("phone = \"a_phone\"\nstate = \"b_state\"\ncountry = \"z_country\"");
    let crm = json!({ "a_phone": "030 901820", "b_state": "Bayern", "z_country": "Deutschland" });
    assert_eq!(lead(&mapping, crm), json!({ "phone": "+4930901820", "state": "DE-BY", "country": "DE" }));
}

// Would break: the company's domain is that of a free mail provider.
#[test]
fn the_company_domain_follows_from_a_business_address_or_the_website() {
    let mapping = with_fields("email = \"e\"\nwebsite = \"w\"");
    let free = json!({ "e": "jo@gmail.com", "w": "https://www.northwind.example/about" });
    assert_eq!(
        lead(&mapping, free),
        json!({ "email": "jo@gmail.com", "website": "https://www.northwind.example/about", "email_kind": "free", "company_domain": "northwind.example" })
    );
    let mapped = with_fields("email = \"e\"\ncompany_domain = \"d\"");
    assert_eq!(lead(&mapped, json!({ "e": "jo@a.example" })), json!({ "email": "jo@a.example", "email_kind": "business" }));
}

// Would break: an expression with a field that is empty, or oddly named, makes no value or a wrong one.
#[test]
fn expressions_see_every_field_and_nothing_when_it_is_empty() {
    let mapping = with_fields(
        "full_name = { expr = \"{{ first }} {{ crm['Last Name'] }}\" }\nbudget = { expr = 'crm[\"Monthly\"]|int * 12 if crm[\"Monthly\"] else none' }\nx_tier = { expr = \"'big' if staff >= 50 else 'small'\" }",
    );
    assert_eq!(
        lead(&mapping, json!({ "first": "Jo", "Last Name": "Öz", "Monthly": 100, "staff": 75 })),
        json!({ "full_name": "Jo Öz", "budget": "1200", "x_tier": "big" })
    );
    assert_eq!(mapping.read_fields(), ["Last Name", "Monthly", "first", "staff"]);
    assert_eq!(lead(&mapping, json!({ "first": null, "Last Name": "Öz", "staff": 5 })), json!({ "full_name": "Öz", "x_tier": "small" }));
    let failing = mapping.to_lead(&record(json!({ "Monthly": "a lot", "staff": 1 })));
    assert_eq!(problems(&failing), [("lead", "budget", "expression_failed")]);
}

// Would break: a short expression makes a value that fills the memory or the recipient's field.
#[test]
fn an_expression_cannot_make_a_huge_value() {
    let mapping = with_fields("x_a = { expr = \"a * n\" }");
    assert_eq!(lead(&mapping, json!({ "a": "xy", "n": 3 })), json!({ "x_a": "xyxyxy" }));
    assert_eq!(problems(&mapping.to_lead(&record(json!({ "a": "xy", "n": 1_000_000 })))), [("lead", "x_a", "expression_too_long")]);
}

// Would break: records outside of what the partner allowed are read.
#[test]
fn the_selection_lets_through_what_it_lists() {
    let mapping = good(HUBSPOT);
    assert_eq!(mapping.selection(), [("ls_share".to_owned(), vec!["true".to_owned()])]);
    for (crm, selected) in [
        (json!({ "ls_share": true }), true),
        (json!({ "ls_share": "true" }), true),
        (json!({ "ls_share": "" }), false),
        (json!({}), false),
        (json!({ "ls_share": ["x", "true"] }), true),
    ] {
        assert_eq!(mapping.selects(&record(crm.clone())), selected, "{crm}");
    }
}

// Would break: fields that a mapping needs are not asked for, or fields that it does not need are.
#[test]
fn exactly_the_needed_fields_are_asked_for() {
    let mapping = good(HUBSPOT);
    let expected = "@communication_preferences country email firstname hs_email_optout industry lastname ls_certificate_url ls_consent_at \
        ls_consented_email ls_consented_phone ls_double_opt_in_at ls_form_url ls_gpc ls_health ls_notice_version ls_partner_choice \
        ls_partner_choice@history ls_share ls_under_18 ls_withdrawn_at numberofemployees phone state";
    assert_eq!(mapping.read_fields().join(" "), expected);
    assert_eq!(mapping.follow_fields().join(" "), "deal.amount deal.hs_is_closed_won hs_lead_status ls_reason");
    let written = "country email firstname hs_lead_status industry lastname lead_source_detail ls_progress ls_receipt_url ls_share_status \
        ls_withdrawn_at numberofemployees phone";
    assert_eq!(mapping.written_fields().join(" "), written);
}

// Would break: a comment or a reordered table voids what two partners agreed on.
#[test]
fn the_hash_is_of_values() {
    let base = with_fields("email = \"e\"\nphone = \"p\"");
    assert_eq!(base.hash(), with_fields("# a comment\nphone   = { crm = \"p\" }\nemail = 'e'").hash());
    assert_ne!(base.hash(), with_fields("email = \"e\"\nphone = \"q\"").hash());
    // Also over versions of this program: every connection would look changed after an upgrade.
    assert_eq!(good(HUBSPOT).hash(), "ee202b9bab05d33f990fcf0c4dc07b8ab4d7974f1f23882abccbe9d2be012d01");
}
