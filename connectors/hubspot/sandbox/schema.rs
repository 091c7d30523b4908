//! Object types and the properties that an account has.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::answer::iso;
use crate::sdk::Millis;

/// The objects simulated.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Kind {
    Contact,
    Company,
    Deal,
    Lead,
}

impl Kind {
    pub const ALL: [Self; 4] = [Self::Contact, Self::Company, Self::Deal, Self::Lead];

    /// By path name, type id, or singular name.
    pub fn parse(text: &str) -> Option<Self> {
        match text.to_ascii_lowercase().as_str() {
            "contacts" | "contact" | "0-1" => Some(Self::Contact),
            "companies" | "company" | "0-2" => Some(Self::Company),
            "deals" | "deal" | "0-3" => Some(Self::Deal),
            "leads" | "lead" | "0-136" => Some(Self::Lead),
            _ => None,
        }
    }

    pub fn singular(self) -> &'static str {
        match self {
            Self::Contact => "contact",
            Self::Company => "company",
            Self::Deal => "deal",
            Self::Lead => "lead",
        }
    }

    pub fn plural(self) -> &'static str {
        match self {
            Self::Contact => "contacts",
            Self::Company => "companies",
            Self::Deal => "deals",
            Self::Lead => "leads",
        }
    }

    pub fn type_id(self) -> &'static str {
        match self {
            Self::Contact => "0-1",
            Self::Company => "0-2",
            Self::Deal => "0-3",
            Self::Lead => "0-136",
        }
    }

    /// The property with the time of the last change.
    pub fn modified(self) -> &'static str {
        if self == Self::Contact { "lastmodifieddate" } else { "hs_lastmodifieddate" }
    }

    /// The property with the time of creation.
    pub fn created(self) -> &'static str {
        if self == Self::Lead { "hs_createdate" } else { "createdate" }
    }

    /// What an answer carries when no properties are asked for.
    pub fn defaults(self) -> &'static [&'static str] {
        match self {
            Self::Contact => &["email", "firstname", "lastname"],
            Self::Company => &["domain", "name"],
            Self::Deal => &["amount", "closedate", "dealname", "dealstage", "pipeline"],
            Self::Lead => &[],
        }
    }

    /// At least one of these must be given on create.
    pub fn needs_one_of(self) -> &'static [&'static str] {
        match self {
            Self::Contact => &["email", "firstname", "lastname"],
            Self::Company => &["name", "domain"],
            Self::Deal => &["dealname"],
            Self::Lead => &["hs_lead_name"],
        }
    }
}

/// A property definition.
#[derive(Debug, Clone)]
pub(super) struct Property {
    pub label: String,
    pub kind: &'static str,
    pub field_kind: String,
    pub group: String,
    pub description: String,
    /// Label and stored value.
    pub options: Vec<(String, String)>,
    pub unique: bool,
    pub source: Source,
    pub built_in: bool,
    pub archived: bool,
    pub at: Millis,
}

/// Where a property's values come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Source {
    /// Anyone may write them.
    Free,
    /// HubSpot sets them.
    ReadOnly,
    /// HubSpot computes them from others.
    Calculated,
}

impl Property {
    fn built_in(kind: Kind, name: &str, type_name: &'static str, field_kind: &str) -> Self {
        Self {
            label: label(name),
            kind: type_name,
            field_kind: field_kind.into(),
            group: format!("{}information", kind.singular()),
            description: String::new(),
            options: Vec::new(),
            unique: false,
            source: Source::Free,
            built_in: true,
            archived: false,
            at: 0,
        }
    }

    /// A property as an admin makes it.
    pub fn custom(name: &str, unique: bool, options: &[String], group: &str, at: Millis) -> Self {
        let (kind, field_kind) = if options.is_empty() { ("string", "text") } else { ("enumeration", "select") };
        Self {
            label: label(name),
            kind,
            field_kind: field_kind.into(),
            group: group.into(),
            options: options.iter().map(|value| (label(value), value.clone())).collect(),
            unique,
            built_in: false,
            at,
            ..Self::built_in(Kind::Contact, name, kind, field_kind)
        }
    }

    /// The definition as the properties API answers it.
    pub fn json(&self, name: &str) -> Value {
        let options: Vec<Value> = self
            .options
            .iter()
            .enumerate()
            .map(|(order, (label, value))| {
                json!({ "label": label, "value": value, "displayOrder": order, "hidden": false, "description": "" })
            })
            .collect();
        let external = name == "hubspot_owner_id";
        let mut out = json!({
            "updatedAt": iso(self.at),
            "createdAt": iso(self.at),
            "name": name,
            "label": self.label,
            "type": self.kind,
            "fieldType": self.field_kind,
            "description": self.description,
            "groupName": self.group,
            "options": options,
            "displayOrder": -1,
            "calculated": self.source == Source::Calculated,
            "externalOptions": external,
            "archived": self.archived,
            "hasUniqueValue": self.unique,
            "hidden": false,
            "modificationMetadata": {
                "archivable": !self.built_in,
                "readOnlyDefinition": self.built_in,
                "readOnlyValue": self.source != Source::Free,
            },
            "formField": self.source == Source::Free,
            "dataSensitivity": "non_sensitive",
        });
        if self.built_in {
            out["hubspotDefined"] = true.into();
        }
        if external {
            out["referencedObjectType"] = "OWNER".into();
        }
        out
    }
}

fn label(name: &str) -> String {
    let words = name.replace('_', " ");
    let mut letters = words.chars();
    letters.next().map(|first| first.to_uppercase().chain(letters).collect()).unwrap_or_default()
}

const LEAD_STATUS: [&str; 8] =
    ["NEW", "OPEN", "IN_PROGRESS", "OPEN_DEAL", "UNQUALIFIED", "ATTEMPTED_TO_CONTACT", "CONNECTED", "BAD_TIMING"];
pub(super) const LIFECYCLE: [&str; 8] =
    ["subscriber", "lead", "marketingqualifiedlead", "salesqualifiedlead", "opportunity", "customer", "evangelist", "other"];
/// Stage, label, closed, won.
pub(super) const DEAL_STAGES: [(&str, &str, bool, &str); 7] = [
    ("appointmentscheduled", "Appointment Scheduled", false, "0.2"),
    ("qualifiedtobuy", "Qualified To Buy", false, "0.4"),
    ("presentationscheduled", "Presentation Scheduled", false, "0.6"),
    ("decisionmakerboughtin", "Decision Maker Bought-In", false, "0.8"),
    ("contractsent", "Contract Sent", false, "0.9"),
    ("closedwon", "Closed Won", true, "1.0"),
    ("closedlost", "Closed Lost", true, "0.0"),
];
/// Stage, label, state.
pub(super) const LEAD_STAGES: [(&str, &str, &str); 5] = [
    ("new-stage-id", "New", "NEW"),
    ("attempting-stage-id", "Attempting", "IN_PROGRESS"),
    ("connected-stage-id", "Connected", "IN_PROGRESS"),
    ("qualified-stage-id", "Qualified", "QUALIFIED"),
    ("unqualified-stage-id", "Disqualified", "UNQUALIFIED"),
];
const LEAD_TYPES: [&str; 3] = ["NEW_BUSINESS", "UPSELL", "RE_ATTEMPTING"];
const LEAD_LABELS: [&str; 3] = ["HOT", "WARM", "COLD"];
const INDUSTRIES: [&str; 12] = [
    "ACCOUNTING",
    "AUTOMOTIVE",
    "BANKING",
    "COMPUTER_SOFTWARE",
    "CONSTRUCTION",
    "EDUCATION_MANAGEMENT",
    "FINANCIAL_SERVICES",
    "HOSPITAL_HEALTH_CARE",
    "INFORMATION_TECHNOLOGY_AND_SERVICES",
    "MACHINERY",
    "MARKETING_AND_ADVERTISING",
    "RETAIL",
];

/// The properties that an account has from the start (those that matter here).
pub(super) fn defaults(kind: Kind) -> BTreeMap<String, Property> {
    let mut all = BTreeMap::new();
    let mut add = |names: &[&str], type_name: &'static str, field_kind: &str| {
        for name in names {
            all.insert((*name).to_owned(), Property::built_in(kind, name, type_name, field_kind));
        }
    };
    add(&[kind.created(), kind.modified()], "datetime", "date");
    add(&["hs_object_id"], "number", "number");
    add(&["hs_object_source", "hs_object_source_id", "hs_object_source_label", "hs_merged_object_ids"], "string", "text");
    add(&["hubspot_owner_id", "hs_pipeline", "hs_pipeline_stage"], "enumeration", "select");
    match kind {
        Kind::Contact => {
            add(
                &[
                    "email",
                    "firstname",
                    "lastname",
                    "company",
                    "website",
                    "jobtitle",
                    "city",
                    "state",
                    "zip",
                    "country",
                    "address",
                    "industry",
                ],
                "string",
                "text",
            );
            add(&["message", "hs_additional_emails"], "string", "textarea");
            add(&["phone", "mobilephone"], "string", "phonenumber");
            add(&["numemployees"], "enumeration", "select");
            add(&["annualrevenue", "hs_language", "hs_email_domain"], "string", "text");
            add(&["lifecyclestage", "hs_lead_status"], "enumeration", "radio");
            add(&["hs_email_optout"], "bool", "booleancheckbox");
            add(&["hs_legal_basis"], "enumeration", "checkbox");
            add(&["num_associated_deals"], "number", "number");
        }
        Kind::Company => {
            add(&["name", "domain", "website", "city", "state", "zip", "country", "address", "description"], "string", "text");
            add(&["phone"], "string", "phonenumber");
            add(&["industry"], "enumeration", "select");
            add(&["numberofemployees", "annualrevenue"], "number", "number");
            add(&["lifecyclestage", "hs_lead_status"], "enumeration", "radio");
        }
        Kind::Deal => {
            add(&["dealname", "description", "closed_lost_reason", "closed_won_reason"], "string", "text");
            add(&["pipeline", "dealstage"], "enumeration", "select");
            add(&["dealtype"], "enumeration", "radio");
            add(&["amount"], "number", "number");
            add(&["deal_currency_code"], "string", "text");
            add(&["closedate"], "datetime", "date");
            add(&["hs_is_closed", "hs_is_closed_won"], "bool", "calculation_equation");
        }
        Kind::Lead => {
            add(&["hs_lead_name"], "string", "text");
            add(&["hs_lead_type", "hs_lead_label"], "enumeration", "select");
        }
    }
    let mut options = |name: &str, values: &[&str]| {
        if let Some(property) = all.get_mut(name) {
            property.options = values.iter().map(|value| (label(&value.to_lowercase()), (*value).to_owned())).collect();
        }
    };
    options("hs_lead_status", &LEAD_STATUS);
    options("lifecyclestage", &LIFECYCLE);
    options("numemployees", &["1-5", "5-25", "25-50", "50-100", "100-500", "500-1000", "1000+"]);
    options("industry", if kind == Kind::Company { &INDUSTRIES } else { &[] });
    options("dealtype", &["newbusiness", "existingbusiness"]);
    options("pipeline", &["default"]);
    options("dealstage", &DEAL_STAGES.map(|stage| stage.0));
    options("hs_lead_type", &LEAD_TYPES);
    options("hs_lead_label", &LEAD_LABELS);
    options(
        "hs_legal_basis",
        &[
            "Legitimate interest – prospect/lead",
            "Legitimate interest – existing customer",
            "Performance of a contract",
            "Freely given consent from contact",
            "Not applicable",
        ],
    );
    if kind == Kind::Lead {
        options("hs_pipeline", &["lead-pipeline-id"]);
        options("hs_pipeline_stage", &LEAD_STAGES.map(|stage| stage.0));
    } else {
        all.remove("hs_pipeline");
        all.remove("hs_pipeline_stage");
    }
    for name in [
        kind.created(),
        kind.modified(),
        "hs_object_id",
        "hs_object_source",
        "hs_object_source_id",
        "hs_object_source_label",
        "hs_merged_object_ids",
        "hs_email_optout",
        "hs_additional_emails",
    ] {
        if let Some(property) = all.get_mut(name) {
            property.source = Source::ReadOnly;
        }
    }
    for name in ["hs_email_domain", "num_associated_deals", "hs_is_closed", "hs_is_closed_won"] {
        if let Some(property) = all.get_mut(name) {
            property.source = Source::Calculated;
        }
    }
    all
}
