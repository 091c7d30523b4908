//! May we read and write what the mapping needs? Every finding names the clicks that mend it.

use serde::Deserialize;

use super::{
    desk::Desk,
    read::{followed_fields, own_fields},
    soql,
    wire::{self, Api},
};
use crate::sdk::{FieldInfo, Finding, Heard, Output, Response, Step, Tag, Talk, TalkFault};

/// Above this share of the day's requests, in percent, other integrations and ours get in each other's way.
const BUSY: u64 = 80;

/// Fields that nobody can write through the API, whatever the permissions.
const READ_ONLY: &[&str] = &[
    "Id",
    "IsDeleted",
    "MasterRecordId",
    "Name",
    "Address",
    "IsConverted",
    "ConvertedDate",
    "ConvertedAccountId",
    "ConvertedContactId",
    "ConvertedOpportunityId",
    "CreatedDate",
    "CreatedById",
    "LastModifiedDate",
    "LastModifiedById",
    "SystemModstamp",
    "LastActivityDate",
    "LastViewedDate",
    "LastReferencedDate",
    "PhotoUrl",
    "EmailBouncedReason",
    "EmailBouncedDate",
];

/// What we use of an object's description.
#[derive(Deserialize)]
struct Description {
    #[serde(default)]
    createable: bool,
    #[serde(default)]
    updateable: bool,
    fields: Vec<Field>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
#[expect(clippy::struct_excessive_bools, reason = "the form of the vendor's answer")]
struct Field {
    name: String,
    #[serde(default)]
    label: String,
    r#type: String,
    #[serde(default)]
    nillable: bool,
    #[serde(default)]
    createable: bool,
    #[serde(default)]
    updateable: bool,
    #[serde(default)]
    defaulted_on_create: bool,
    #[serde(default)]
    external_id: bool,
    #[serde(default)]
    unique: bool,
    #[serde(default)]
    custom: bool,
    #[serde(default)]
    calculated: bool,
    #[serde(default)]
    auto_number: bool,
    #[serde(default)]
    picklist_values: Vec<Choice>,
}

#[derive(Deserialize)]
struct Choice {
    #[serde(default)]
    active: bool,
    value: Option<String>,
}

impl Field {
    fn required(&self) -> bool {
        self.createable && !self.nillable && !self.defaulted_on_create && self.r#type != "boolean"
    }

    fn writable(&self) -> bool {
        self.createable || self.updateable
    }

    fn info(&self) -> FieldInfo {
        FieldInfo {
            name: self.name.clone(),
            label: self.label.clone(),
            kind: self.r#type.clone(),
            options: self.picklist_values.iter().filter(|c| c.active).filter_map(|c| c.value.clone()).collect(),
            writable: self.writable(),
            required: self.required(),
            unique: self.unique,
            custom: self.custom,
        }
    }
}

impl Description {
    fn read(what: &str, response: &Response) -> Result<Self, TalkFault> {
        if response.status != 200 {
            return Err(wire::fault(what, response));
        }
        serde_json::from_slice(&response.body).map_err(|_| TalkFault::unexpected(what, response))
    }

    fn field(&self, name: &str) -> Option<&Field> {
        self.fields.iter().find(|field| field.name.eq_ignore_ascii_case(name))
    }
}

/// The object's fields.
pub struct Describe {
    desk: Desk<()>,
}

impl Describe {
    pub fn open(api: &Api, object: &str) -> Result<Self, TalkFault> {
        let mut desk = Desk::new();
        desk.read(api.describe(soql::name(object)?), ());
        Ok(Self { desk })
    }
}

impl Talk for Describe {
    fn step(&mut self) -> Step {
        self.desk.step()
    }

    fn heard(&mut self, tag: Tag, what: Heard<'_>) {
        const WHAT: &str = "describing the object";
        if self.desk.heard(tag).is_none() {
            return;
        }
        let Heard::Answer(response) = what else { return self.desk.fail(wire::no_answer(WHAT)) };
        match Description::read(WHAT, response) {
            Ok(description) => {
                let fields = description.fields.iter().map(Field::info).collect();
                self.desk.say(Step::Done(Output::Described(fields)));
            }
            Err(fault) => self.desk.fail(fault),
        }
    }
}

#[derive(Clone, Copy)]
enum Part {
    Read,
    Object,
    Opportunity,
}

/// One check of a connection.
pub struct Check {
    object: String,
    marker_field: String,
    fields: Vec<String>,
    followed: Vec<String>,
    writes: bool,
    findings: Vec<Finding>,
    desk: Desk<Part>,
}

impl Check {
    pub fn open(
        api: &Api,
        object: &str,
        marker_field: &str,
        fields: &[String],
        writes: bool,
        scopes: &[String],
    ) -> Result<Self, TalkFault> {
        let mut desk = Desk::new();
        desk.read(api.query(&format!("SELECT Id FROM {} LIMIT 1", soql::name(object)?), false), Part::Read);
        desk.read(api.describe(object), Part::Object);
        let followed = if object == "Lead" { followed_fields(fields) } else { Vec::new() };
        if !followed.is_empty() {
            desk.read(api.describe("Opportunity"), Part::Opportunity);
        }
        Ok(Self {
            object: object.to_owned(),
            marker_field: marker_field.to_owned(),
            fields: own_fields(fields),
            followed,
            writes,
            findings: scope_findings(scopes),
            desk,
        })
    }

    fn find(&mut self, code: &str, what: String, fix: Option<String>) {
        self.findings.push(Finding { code: code.to_owned(), ok: fix.is_none(), what, fix });
    }

    fn heard_read(&mut self, response: &Response) {
        let object = &self.object;
        let what = format!("reading {object} records");
        let fix = match wire::page(&what, response) {
            Ok(_) => None,
            Err(fault) => Some(read_fix(&fault.code, object)),
        };
        self.find("read", what, fix);
        if let Some((used, limit)) = response.header("sforce-limit-info").and_then(usage) {
            let busy = used.saturating_mul(100) >= limit.saturating_mul(BUSY);
            let fix = busy.then(|| {
                "Setup > Company Information > API Requests, Last 24 Hours: find what uses them up, or buy more; the connection waits when none is left".to_owned()
            });
            self.find("daily_requests", format!("{used} of {limit} requests of the last 24 hours are used"), fix);
        }
    }

    fn heard_object(&mut self, description: &Description) {
        let object = self.object.clone();
        if self.writes {
            let fix = (!description.createable || !description.updateable).then(|| {
                format!("Setup > Permission Sets > (that of the connected user) > Object Settings > {object} > Edit: tick Create and Edit > Save")
            });
            self.find("write", format!("creating and editing {object} records"), fix);
            self.check_marker(description);
        }
        for name in self.fields.clone() {
            self.check_field("field", &object, &name, description);
        }
        if self.writes {
            for field in description.fields.iter().filter(|f| f.required()) {
                if !self.fields.iter().any(|name| name.eq_ignore_ascii_case(&field.name)) {
                    let fix = format!(
                        "fill {} in the mapping file; without it {object} records are refused (REQUIRED_FIELD_MISSING)",
                        field.name
                    );
                    self.find("required_field", format!("required field {}", field.name), Some(fix));
                }
            }
        }
    }

    fn check_marker(&mut self, description: &Description) {
        let (object, name) = (self.object.clone(), self.marker_field.clone());
        let fields = format!("Setup > Object Manager > {object} > Fields & Relationships");
        let fix = match description.field(&name) {
            None => Some(format!(
                "{fields} > New > Text, length 255, field name {}; tick \"Do not allow duplicate values\" (Unique) and \"External ID\"; make it visible and editable for the connected user > Save. If it exists already, it is hidden: open it > Set Field-Level Security > Visible for the connected user's profile",
                name.strip_suffix("__c").unwrap_or(&name)
            )),
            Some(field) if !field.external_id || !field.unique => Some(format!(
                "{fields} > {name} > Edit: tick both \"Do not allow duplicate values\" (Unique) and \"External ID\" > Save; without them a repeated delivery could make a second record"
            )),
            Some(field) if !field.createable => Some(format!(
                "{fields} > {name} > Set Field-Level Security: Visible, not Read-Only, for the connected user's profile > Save"
            )),
            Some(_) => None,
        };
        self.find("marker_field", format!("marker field {name} exists, is unique and an external id"), fix);
    }

    fn check_field(&mut self, code: &str, object: &str, name: &str, description: &Description) {
        // A relationship such as Owner.Name belongs to another object's description.
        if name.contains('.') {
            return;
        }
        let place = format!("Setup > Object Manager > {object} > Fields & Relationships");
        let fix = match description.field(name) {
            None => Some(format!(
                "{place}: if {name} is listed, open it > Set Field-Level Security > Visible for the connected user's profile > Save; if not, correct the name in the mapping file"
            )),
            Some(field) if self.writes && object == self.object && !field.writable() && !can_only_be_read(field) => {
                Some(format!("{place} > {name} > Set Field-Level Security: clear Read-Only for the connected user's profile > Save"))
            }
            Some(_) => None,
        };
        self.find(code, format!("field {object}.{name}"), fix);
    }

    fn hear(&mut self, part: Part, response: &Response) {
        match part {
            Part::Read => self.heard_read(response),
            Part::Object => match Description::read("describing the object", response) {
                Ok(description) => self.heard_object(&description),
                Err(fault) => {
                    let fix = read_fix(&fault.code, &self.object);
                    self.find("object", format!("describing {}", self.object), Some(fix));
                }
            },
            Part::Opportunity => match Description::read("describing the opportunity", response) {
                Ok(description) => {
                    for name in self.followed.clone() {
                        self.check_field("field", "Opportunity", &name, &description);
                    }
                }
                Err(fault) => {
                    let fix = read_fix(&fault.code, "Opportunity");
                    self.find("object", "describing Opportunity, to follow converted leads".into(), Some(fix));
                }
            },
        }
    }
}

fn can_only_be_read(field: &Field) -> bool {
    field.calculated || field.auto_number || READ_ONLY.iter().any(|name| name.eq_ignore_ascii_case(&field.name))
}

fn scope_findings(scopes: &[String]) -> Vec<Finding> {
    // An empty list says that the vendor did not say.
    let has = |names: &[&str]| scopes.is_empty() || scopes.iter().any(|s| names.contains(&s.as_str()));
    let fix = |name: &str| {
        format!(
            "Setup > External Client App Manager > (the app) > Settings > Edit > OAuth Settings > Selected OAuth Scopes: add {name} > Save; then connect again"
        )
    };
    [
        ("scope api", has(&["api", "full"]), "\"Manage user data via APIs (api)\""),
        (
            "scope refresh_token",
            has(&["refresh_token", "offline_access"]),
            "\"Perform requests at any time (refresh_token, offline_access)\"",
        ),
    ]
    .into_iter()
    .map(|(what, ok, name)| Finding { code: "scope".into(), ok, what: what.into(), fix: (!ok).then(|| fix(name)) })
    .collect()
}

fn read_fix(code: &str, object: &str) -> String {
    match code {
        "API_DISABLED_FOR_ORG" | "API_CURRENTLY_DISABLED" => {
            "the edition has no API access, or it is switched off: Setup > Permission Sets > (that of the connected user) > System Permissions > tick API Enabled".into()
        }
        "INVALID_TYPE" | "NOT_FOUND" | "INSUFFICIENT_ACCESS" | "INSUFFICIENT_ACCESS_OR_READONLY" => {
            format!("Setup > Permission Sets > (that of the connected user) > Object Settings > {object} > Edit: tick Read > Save")
        }
        code => format!("Salesforce answered {code}: check that the connected user can open {object} records in the browser"),
    }
}

/// `api-usage=24/15000`, perhaps followed by the share of one app.
fn usage(header: &str) -> Option<(u64, u64)> {
    let part = header.split([';', ',']).map(str::trim).find_map(|part| part.strip_prefix("api-usage="))?;
    let (used, limit) = part.split_once('/')?;
    Some((used.trim().parse().ok()?, limit.trim().parse().ok()?))
}

impl Talk for Check {
    fn step(&mut self) -> Step {
        self.desk.step()
    }

    fn heard(&mut self, tag: Tag, what: Heard<'_>) {
        let Some(part) = self.desk.heard(tag) else { return };
        let Heard::Answer(response) = what else { return self.desk.fail(wire::no_answer("checking the connection")) };
        self.hear(part, response);
        if self.desk.all_heard() {
            let findings = std::mem::take(&mut self.findings);
            self.desk.say(Step::Done(Output::Checked(findings)));
        }
    }
}
