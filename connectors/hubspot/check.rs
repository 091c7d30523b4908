//! The connection check: scopes, a test read, the marker's property, the mapped properties.

use serde_json::json;

use super::api::{self, Api, DEAL_PREFIX, GENERAL, Outbox};
use super::fetch::{MANY_PREFERENCES_SCOPE, PREFERENCES};
use super::read::{described, refused_for_scopes};
use crate::sdk::record::{beside_record, history_of};
use crate::sdk::{Account, Effect, FieldInfo, Finding, Heard, Output, Request, Step, Tag, Talk};

const READ: Tag = 1;
const DESCRIBE: Tag = 2;
const DESCRIBE_DEAL: Tag = 3;

/// The check.
pub(super) struct Check {
    object: String,
    properties_path: String,
    marker_field: String,
    fields: Vec<String>,
    deal_fields: Vec<String>,
    writes: bool,
    findings: Vec<Finding>,
    open: u8,
    out: Outbox,
}

impl Check {
    pub fn new(api: &Api, object: &str, marker_field: String, fields: Vec<String>, writes: bool, account: &Account) -> Self {
        let mut out = Outbox::default();
        // One record's id is enough to see that reading works; nobody's data is read for it.
        out.ask(Request::get(api.objects(object, "?limit=1&properties=hs_object_id")), Effect::Read, GENERAL);
        out.ask(Request::get(api.properties(object)), Effect::Read, GENERAL);
        let (deal_fields, fields): (Vec<String>, Vec<String>) = fields.into_iter().partition(|name| name.starts_with(DEAL_PREFIX));
        let mut open = 2;
        if !deal_fields.is_empty() {
            out.ask(Request::get(api.properties("deal")), Effect::Read, GENERAL);
            open += 1;
        }
        let mut findings = scope_findings(object, writes, &account.scopes);
        let (beside, fields): (Vec<String>, Vec<String>) = fields.into_iter().partition(|name| name.starts_with(api::NO_PROPERTY));
        findings.extend(beside.iter().map(|name| beside_finding(name, &account.scopes)));
        let own = |name: String| name.strip_suffix(&history_of("")).map_or(name.clone(), str::to_owned);
        Self {
            object: object.to_owned(),
            properties_path: api.properties(object),
            marker_field,
            fields: fields.into_iter().map(own).collect(),
            deal_fields: deal_fields.iter().map(|name| name[DEAL_PREFIX.len()..].to_owned()).collect(),
            writes,
            findings,
            open,
            out,
        }
    }

    fn take_read(&mut self, heard: Heard<'_>) {
        let what = format!("read one {}", self.object);
        let missing = refused_for_scopes(heard);
        let finding = match (missing, api::answer("reading one record", heard)) {
            (Some(scopes), _) => bad("read", what, missing_scopes_fix(&scopes)),
            (None, Ok(_)) => good("read", what),
            (None, Err(fault)) => bad("read", what, format!("{fault}. Run the check again; if it stays, reconnect the account.")),
        };
        self.findings.push(finding);
    }

    fn take_properties(&mut self, object: &str, heard: Heard<'_>) {
        let what = format!("read the properties of {object}");
        let missing = refused_for_scopes(heard);
        match (missing, api::answer("reading the properties", heard)) {
            (Some(scopes), _) => self.findings.push(bad("describe", what, missing_scopes_fix(&scopes))),
            (None, Err(fault)) => self.findings.push(bad("describe", what, format!("{fault}. Run the check again."))),
            (None, Ok(body)) => {
                let properties = described(object, &body);
                let own = object == self.object;
                if own && self.writes {
                    self.findings.push(self.marker(&properties));
                }
                let fields = if own { &self.fields } else { &self.deal_fields };
                self.findings.extend(fields.iter().map(|field| field_finding(object, field, &properties)));
            }
        }
    }

    fn marker(&self, properties: &[FieldInfo]) -> Finding {
        let name = &self.marker_field;
        let what = format!("property `{name}` of {} exists and keeps its values unique", self.object);
        let body = json!({
            "name": name,
            "label": "Leadshare id",
            "description": "Set by leadshare on records that it shares. Do not edit.",
            "groupName": format!("{}information", self.object),
            "type": "string",
            "fieldType": "text",
            "hasUniqueValue": true,
        });
        let make = format!(
            "In HubSpot: Settings (gear) > Data Management > Properties > {} properties > Create property. Label `Leadshare id`, field \
             type `Single-line text`; open `</>` beside the label and set the internal name to `{name}`; under Rules tick `Require unique \
             values for this property`; Create. Or, with the scope crm.schemas.{}.write: POST {} {body}",
            capital(&self.object),
            scope_name(&self.object),
            self.properties_path,
        );
        match properties.iter().find(|property| property.name == *name) {
            None => bad("marker_field", what, make),
            Some(property) if !property.unique => {
                let first = "HubSpot sets uniqueness only when a property is made: archive this one (Settings > Data Management > Properties > \
                             hover > More > Archive), or name another one in the mapping, then make it anew.";
                bad("marker_field", what, format!("{first} {make}"))
            }
            Some(property) if !property.writable => {
                bad("marker_field", what, format!("`{name}` is read-only: name another marker field in the mapping. {make}"))
            }
            Some(_) => good("marker_field", what),
        }
    }
}

impl Talk for Check {
    fn step(&mut self) -> Step {
        self.out.next()
    }

    fn heard(&mut self, tag: Tag, what: Heard<'_>) {
        match tag {
            READ => self.take_read(what),
            DESCRIBE => self.take_properties(&self.object.clone(), what),
            DESCRIBE_DEAL => self.take_properties("deal", what),
            _ => return,
        }
        self.open -= 1;
        if self.open == 0 {
            self.out.push(Step::Done(Output::Checked(std::mem::take(&mut self.findings))));
        }
    }
}

/// What HubSpot granted against what the object needs. Nothing is said when the grant is not known.
fn scope_findings(object: &str, writes: bool, granted: &[String]) -> Vec<Finding> {
    if granted.is_empty() {
        return Vec::new();
    }
    let plural = scope_name(object);
    let mut needed = vec![format!("crm.objects.{plural}.read")];
    if writes {
        needed.push(format!("crm.objects.{plural}.write"));
    }
    needed
        .into_iter()
        .map(|scope| {
            let what = format!("scope {scope} is granted");
            if granted.contains(&scope) { good("scope", what) } else { bad("scope", what, missing_scopes_fix(&[scope])) }
        })
        .collect()
}

/// What stands beside a record: only the opt-outs are known.
fn beside_finding(name: &str, granted: &[String]) -> Finding {
    if name != beside_record(PREFERENCES) {
        return bad("field", format!("`{name}` is known"), format!("For HubSpot only `{PREFERENCES}` can be asked beside a record."));
    }
    let what = "opt-outs may be read".to_owned();
    let one = "communication_preferences.read";
    let enough = |scope: &String| scope == one || scope == "communication_preferences.read_write" || scope == MANY_PREFERENCES_SCOPE;
    if granted.is_empty() || granted.iter().any(enough) {
        good("scope", what)
    } else {
        bad("scope", what, missing_scopes_fix(&[one.to_owned()]))
    }
}

fn field_finding(object: &str, name: &str, properties: &[FieldInfo]) -> Finding {
    let what = format!("property `{name}` of {object} exists");
    if properties.iter().any(|property| property.name == name) {
        return good("field", what);
    }
    let near = properties.iter().find(|property| property.name.eq_ignore_ascii_case(name) || property.label.eq_ignore_ascii_case(name));
    let near = near.map(|property| format!(" Did you mean `{}`?", property.name)).unwrap_or_default();
    let place = capital(object);
    bad(
        "field",
        what,
        format!(
            "The mapping names it, the account does not have it.{near} The internal name shows in HubSpot under Settings (gear) > Data \
             Management > Properties > {place} properties > (property) > `</>`."
        ),
    )
}

/// The name of an object in scopes.
fn scope_name(object: &str) -> &str {
    match object {
        "lead" => "leads",
        "contact" | "company" | "deal" => api::path_name(object),
        _ => "custom",
    }
}

fn missing_scopes_fix(scopes: &[String]) -> String {
    let named = if scopes.is_empty() { "the scopes that the documentation lists".to_owned() } else { scopes.join(", ") };
    format!(
        "Add {named} to the app (HubSpot developer project > app configuration > auth > requiredScopes or optionalScopes), then let the \
         partner connect again: in HubSpot under Settings (gear) > Integrations > Connected Apps the app shows what it was granted. The \
         person who connects must be a super admin or hold the same permissions."
    )
}

fn capital(text: &str) -> String {
    let mut letters = text.chars();
    letters.next().map(|first| first.to_uppercase().chain(letters).collect()).unwrap_or_default()
}

fn good(code: &str, what: String) -> Finding {
    Finding { code: code.into(), ok: true, what, fix: None }
}

fn bad(code: &str, what: String, fix: String) -> Finding {
    Finding { code: code.into(), ok: false, what, fix: Some(fix) }
}
