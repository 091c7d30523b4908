//! Tests of the mapping engine.

mod broken;
mod consent;
mod examples;
mod inward;
mod live;
mod outward;
mod roundtrip;
mod status;
mod transforms;

use serde_json::{Value, json};

use super::*;

/// A source's and recipient's mapping with every block.
const HUBSPOT: &str = r#"
partner   = "northwind"
connector = "hubspot"
object    = "contact"

[selection]
ls_share = ["true"]

[fields]
email      = { crm = "email", transform = ["trim", "lowercase"], required = true }
first_name = "firstname"
last_name  = "lastname"
phone      = { crm = "phone", transform = ["e164"] }
country    = { crm = "country", transform = ["country_code"] }
industry   = { crm = "industry", values = { COMPUTER_SOFTWARE = "software" }, unmapped = "quarantine" }
full_name  = { expr = "{{ firstname }} {{ lastname }}", direction = "in" }
employees  = "numberofemployees"

[create]
lead_source_detail = "Partner"

[consent]
choice = { crm = "ls_partner_choice", split = ";", names = { bw = "brightwater" }, nobody = "none" }
notice = "ls_notice_version"
given_at = { crm = "ls_consent_at", history_of = "ls_partner_choice", set_by = ["FORM"] }
contact_point = { email = "ls_consented_email", phone = "ls_consented_phone" }
proof = { confirmed_at = "ls_double_opt_in_at", shown = "ls_form_url", certificate = "ls_certificate_url" }
place = ["country", "state"]
flags = { minor = "ls_under_18", health = "ls_health", gpc = "ls_gpc" }
stop = [{ crm = "hs_email_optout", is = true, blocks = ["email"] }, { api = "communication_preferences", is = "UNSUBSCRIBED", blocks = ["email"] }]
stop_field_missing = "refuse"
write_back = { withdrawn_at = "ls_withdrawn_at", receipt = "ls_receipt_url" }

[status]
field = "hs_lead_status"
values = { IN_PROGRESS = "reached", UNQUALIFIED = "disqualified" }
landed = "NEW"
on_existing = "fill_empty"
reason = "ls_reason"
reasons = { "No budget" = "no_budget" }
amount = "deal.amount"

[[status.when]]
if = { "deal.hs_is_closed_won" = { is = true } }
then = "won"

[status.back]
share_status = "ls_share_status"
progress = { crm = "ls_progress", values = { reached = "In contact" } }

[[example]]
name = "German lead with a local phone number"
crm  = { email = " Jo@Example.DE ", phone = "030 901820", country = "Germany", firstname = "Jo", lastname = "Öz" }
lead = { email = "jo@example.de", phone = "+4930901820", country = "DE", full_name = "Jo Öz" }
"#;

fn good(text: &str) -> Mapping {
    match parse("m.toml", text) {
        Ok(mapping) => mapping,
        Err(errors) => panic!("{}", errors.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")),
    }
}

fn record(value: Value) -> Fields {
    serde_json::from_value(value).expect("an object")
}

/// A mapping with these `[fields]` lines.
fn with_fields(lines: &str) -> Mapping {
    good(&format!("partner = \"p\"\nconnector = \"salesforce\"\nobject = \"Lead\"\n[fields]\n{lines}\n"))
}

/// The lead that must come of a record.
fn lead(mapping: &Mapping, crm: Value) -> Value {
    match mapping.to_lead(&record(crm)) {
        Mapped::Lead(lead, _) => json!(lead.fields),
        other => panic!("no lead: {other:?}"),
    }
}
