//! What a lead looks like at each vendor: the small data that the cases need to speak of one.

use serde_json::{Value, json};

use crate::sdk::Fields;

/// The host of every e-mail address that samples use: no fault may repeat it.
pub(super) const DOMAIN: &str = "@conformance.example";

/// What the suite must know of a vendor's records. Adding a connector means adding one.
#[derive(Debug, Clone)]
pub struct Sample {
    /// The object that holds leads.
    pub object: &'static str,
    /// Objects of which each lead has exactly one, so that half-made twins are found.
    pub beside: &'static [&'static str],
    /// The account's base URL.
    pub base_url: &'static str,
    /// The account's database or tenant, where paths name one.
    pub tenant: Option<&'static str>,
    /// The smallest valid record of this number, with an e-mail address of its own.
    pub person: fn(usize) -> Fields,
    /// The field that holds the e-mail address.
    pub email_field: &'static str,
    /// A record that the vendor refuses for its content.
    pub invalid: fn(usize) -> Fields,
    /// A field to change and its new value.
    pub change: (&'static str, &'static str),
    /// An optional field and a value for it; it is set, then cleared.
    pub clear: (&'static str, &'static str),
    /// A field to select by: a value inside and one outside of the selection.
    pub selection: (&'static str, &'static str, &'static str),
    /// A well-formed name that no field has.
    pub missing_field: &'static str,
    /// A well-formed id that no record has.
    pub missing_id: &'static str,
    /// The most records that a poll reads in one request.
    pub page: usize,
    /// More records than every page and search cap of the vendor.
    pub many: usize,
    /// The field of the deal or opportunity that a follow reads, what it then holds, and the fields
    /// that one is made with.
    pub follow: (&'static str, &'static str, fn() -> Fields),
}

/// The sample of this connector.
pub fn sample(connector: &str) -> Option<Sample> {
    match connector {
        "hubspot" => Some(hubspot()),
        "salesforce" => Some(salesforce()),
        "tryton" => Some(tryton()),
        _ => None,
    }
}

/// The e-mail address of the sample person of this number.
pub(super) fn email(n: usize) -> String {
    format!("person{n}{DOMAIN}")
}

/// Fields from a JSON object.
pub(super) fn fields(value: Value) -> Fields {
    match value {
        Value::Object(map) => map.into_iter().collect(),
        _ => Fields::new(),
    }
}

fn hubspot() -> Sample {
    Sample {
        object: "contact",
        beside: &[],
        base_url: "https://api.hubapi.com",
        tenant: None,
        person: |n| fields(json!({"email": email(n), "firstname": "Kim", "lastname": format!("Number {n}")})),
        email_field: "email",
        invalid: |_| fields(json!({"email": "not an address", "lastname": "Invalid"})),
        change: ("firstname", "Alex"),
        clear: ("jobtitle", "Buyer"),
        selection: ("hs_lead_status", "NEW", "UNQUALIFIED"),
        missing_field: "no_such_property",
        missing_id: "99999999999",
        page: 200,
        many: 10_150,
        follow: ("deal.dealstage", "closedwon", || fields(json!({"dealname": "Deal", "dealstage": "closedwon", "amount": "1000"}))),
    }
}

fn salesforce() -> Sample {
    Sample {
        object: "Lead",
        beside: &[],
        base_url: "https://conformance.my.salesforce.com",
        tenant: None,
        person: |n| fields(json!({"Email": email(n), "FirstName": "Kim", "LastName": format!("Number {n}"), "Company": "Example"})),
        email_field: "Email",
        invalid: |n| fields(json!({"Email": email(n), "FirstName": "Kim"})),
        change: ("FirstName", "Alex"),
        clear: ("Title", "Buyer"),
        selection: ("LeadSource", "Web", "Other"),
        missing_field: "No_Such_Field__c",
        missing_id: "00Q00000000zzzzAAA",
        page: 2_000,
        many: 4_150,
        follow: ("opportunity.StageName", "Closed Won", || {
            fields(json!({"Name": "Deal", "StageName": "Closed Won", "CloseDate": "2026-10-01"}))
        }),
    }
}

fn tryton() -> Sample {
    Sample {
        object: "sale.opportunity",
        beside: &["party.party"],
        base_url: "https://tryton.example",
        tenant: Some("crm"),
        person: |n| fields(json!({"party.email": email(n), "party.name": format!("Number {n}"), "description": format!("Lead {n}")})),
        email_field: "party.email",
        invalid: |n| fields(json!({"party.email": email(n), "party.name": format!("Number {n}"), "amount": "much"})),
        change: ("description", "Changed"),
        clear: ("comment", "A note"),
        selection: ("state", "lead", "lost"),
        missing_field: "no_such_field",
        missing_id: "9999999",
        page: 500,
        many: 1_150,
        follow: ("opportunity.state", "converted", || fields(json!({}))),
    }
}
