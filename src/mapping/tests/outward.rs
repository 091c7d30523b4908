//! Leads become records.

use super::*;
use crate::mapping::transform::is_empty;

fn out(mapping: &Mapping, lead: Value, creating: bool) -> Value {
    json!(mapping.to_record(&record(lead), creating))
}

// Would break: a delivered lead lacks the constant, the landing status, or the recipient's own words.
#[test]
fn a_new_record_gets_words_constants_and_the_landing_status() {
    let mapping = good(HUBSPOT);
    let lead = json!({ "email": "jo@example.com", "industry": "software", "employees": 1200, "full_name": "Jo Öz" });
    let expected = json!({ "email": "jo@example.com", "industry": "COMPUTER_SOFTWARE", "numberofemployees": 1200, "hs_lead_status": "NEW", "lead_source_detail": "Partner" });
    assert_eq!(out(&mapping, lead.clone(), true), expected);
    // An update never moves the status back to where it landed.
    assert_eq!(
        out(&mapping, lead, false),
        json!({ "email": "jo@example.com", "industry": "COMPUTER_SOFTWARE", "numberofemployees": 1200 })
    );
}

// Would break: fields that the agreement keeps back are written, or cleared at the recipient.
#[test]
fn only_what_is_given_is_written() {
    let mapping = good(HUBSPOT);
    assert_eq!(out(&mapping, json!({}), false), json!({}));
    assert_eq!(out(&mapping, json!({ "phone": null, "first_name": "" }), false), json!({ "phone": null, "firstname": null }));
    assert_eq!(out(&mapping, json!({ "phone": null }), true), json!({ "hs_lead_status": "NEW", "lead_source_detail": "Partner" }));
}

// Would break: a word that the recipient's picklist does not have makes the whole write fail.
#[test]
fn a_word_that_the_system_does_not_have_is_left_out() {
    let mapping = good(HUBSPOT);
    assert_eq!(out(&mapping, json!({ "email": "jo@example.com", "industry": "fishing" }), false), json!({ "email": "jo@example.com" }));
    let keep = with_fields("industry = { crm = \"i\", values = { A = \"software\" }, unmapped = \"keep\" }");
    assert_eq!(out(&keep, json!({ "industry": "fishing" }), false), json!({ "i": "fishing" }));
}

// Would break: a required field (Salesforce's LastName) is missing, or a constant overwrites what is known.
#[test]
fn constants_fill_only_what_is_missing() {
    let text = "partner = \"p\"\nconnector = \"salesforce\"\nobject = \"Lead\"\n[fields]\nlast_name = \"LastName\"\n[create]\nLastName = \"(not given)\"\nRating = 3\n";
    let mapping = good(text);
    assert_eq!(out(&mapping, json!({}), true), json!({ "LastName": "(not given)", "Rating": 3 }));
    assert_eq!(out(&mapping, json!({ "last_name": "Öz" }), true), json!({ "LastName": "Öz", "Rating": 3 }));
}

// Would break: a system that keeps one name, country names, texts for numbers or milliseconds gets something else.
#[test]
fn steps_on_the_way_out_fit_the_value_to_the_system() {
    let mapping = with_fields(
        r#"
full_name = { crm = "name", expr = "{{ first_name }} {{ last_name }}", direction = "out" }
first_name = { crm = "name", transform = ["first_word"] }
last_name = { crm = "name", transform = ["rest"] }
country = { crm = "Country", transform_out = ["country_name"] }
state = { crm = "State", transform_out = ["state_short"] }
employees = { crm = "Size", transform_out = ["text"] }
own_last_action = { crm = "Last", transform_out = ["epoch_ms"] }
open_deal_at_source = { crm = "Open", values = { Yes = true, No = false } }
notes = { crm = "Notes", max = 5 }
need = { crm = "Needs", transform = ["split:|"] }
interest = { crm = "Interests", transform_out = ["join:, "] }
revenue = "Revenue"
"#,
    );
    let lead = json!({
        "first_name": "Jo", "last_name": "Öz", "country": "DE", "state": "DE-BY", "employees": 75, "own_last_action": "2026-05-06T11:29:24Z",
        "open_deal_at_source": false, "notes": "äöü de", "need": ["a", "b"], "interest": ["c", "d"], "revenue": "1200.5",
    });
    let expected = json!({
        "name": "Jo Öz", "Country": "Germany", "State": "BY", "Size": "75", "Last": 1_778_066_964_000_i64, "Open": "No", "Notes": "äöü d",
        "Needs": "a|b", "Interests": "c, d", "Revenue": 1200.5,
    });
    assert_eq!(out(&mapping, lead, false), expected);
    let back = super::lead(&mapping, json!({ "name": "Jo Öz" }));
    assert_eq!(back, json!({ "first_name": "Jo", "last_name": "Öz" }));
}

// Would break: an expression over fields that the agreement keeps back clears the recipient's field.
#[test]
fn an_expression_without_its_fields_writes_nothing() {
    let mapping = with_fields("full_name = { crm = \"name\", expr = \"{{ first_name }} {{ last_name }}\", direction = \"out\" }");
    assert_eq!(out(&mapping, json!({ "email": "jo@example.com" }), false), json!({}));
    assert_eq!(out(&mapping, json!({ "last_name": "Öz" }), false), json!({ "name": "Öz" }));
}

// Would break: several words of the system mean one thing, and which is written is left to chance.
#[test]
fn the_file_says_which_of_several_words_is_written() {
    let mapping = with_fields(
        "industry = { crm = \"i\", values = { SAAS = \"software\", SOFTWARE = \"software\" }, values_out = { software = \"SOFTWARE\" } }",
    );
    assert_eq!(out(&mapping, json!({ "industry": "software" }), false), json!({ "i": "SOFTWARE" }));
    assert_eq!(super::lead(&mapping, json!({ "i": "SAAS" })), json!({ "industry": "software" }));
}

// Would break: a record that was there before us is overwritten.
#[test]
fn records_that_were_there_before_are_treated_as_the_file_says() {
    let fields = record(json!({ "Title": "CTO", "Phone": "+4930901820", "Hidden": "x", "Gone": null }));
    let current = record(json!({ "Title": "CEO", "Phone": "", "Gone": "y" }));
    let with = |status: &str| {
        good(&format!("partner = \"p\"\nconnector = \"salesforce\"\nobject = \"Lead\"\n[fields]\nrole = \"Title\"\n[status]\n{status}\n"))
            .for_existing(fields.clone(), &current)
    };
    assert_eq!(json!(with("on_existing = \"fill_empty\"")), json!({ "Phone": "+4930901820" }));
    assert_eq!(json!(with("")), json!({ "Phone": "+4930901820" }));
    assert_eq!(json!(with("on_existing = \"listed\"\nlisted = [\"Title\"]")), json!({ "Title": "CTO" }));
    assert_eq!(json!(with("on_existing = \"report\"")), json!({}));
}

// Would break: a person who withdrew elsewhere is still marked as willing in the sharer's system.
#[test]
fn a_withdrawal_is_written_where_the_file_says() {
    let written = good(HUBSPOT).consent_withdrawn(1_778_066_964_000, Some("https://share.example/r/1"));
    assert_eq!(json!(written), json!({ "ls_withdrawn_at": "2026-05-06T11:29:24Z", "ls_receipt_url": "https://share.example/r/1" }));
    assert!(with_fields("email = \"e\"").consent_withdrawn(0, None).is_empty());
    assert!(is_empty(&json!([null, " "])));
}
