//! Whether a connection can do its work, and which fields there are.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::fields::{ADDRESS, MECHANISMS};
use super::script::{Out, Script};
use super::wire::{OPPORTUNITY, PARTY, Rest, answer};
use crate::sdk::{Effect, FieldInfo, Finding, Heard, Output};

/// The models that a lead consists of.
const MODELS: [&str; 4] = [OPPORTUNITY, PARTY, "party.contact_mechanism", "party.address"];

/// A connection check.
pub struct Check {
    /// Where to.
    pub rest: Rest,
    /// The field that shall hold our marker.
    pub marker_field: String,
    /// Flattened names that the mapping reads or writes.
    pub fields: Vec<String>,
    /// Whether we also write.
    pub writes: bool,
    /// What has come so far.
    pub heard: Answers,
}

/// The answers to a check.
#[derive(Default)]
pub struct Answers {
    rights: Value,
    preferences: Value,
    countries: Option<i64>,
    models: BTreeMap<&'static str, Value>,
}

/// What an ask was for.
pub enum Want {
    /// The user's rights on the models.
    Rights,
    /// The user's company and employee.
    Preferences,
    /// How many countries there are.
    Countries,
    /// The fields of a model.
    Fields(&'static str),
}

impl Script for Check {
    type Want = Want;

    fn start(&mut self, out: &mut Out<Want>) {
        let call = |model: &str, method: &str, arguments: Value| self.rest.call(model, method, &arguments);
        out.ask(Want::Rights, call("ir.model.access", "get_access", json!({"models": MODELS})), Effect::Read);
        for model in [OPPORTUNITY, PARTY] {
            out.ask(Want::Fields(model), call(model, "fields_get", json!({})), Effect::Read);
        }
        if self.writes {
            out.ask(Want::Preferences, call("res.user", "get_preferences", json!({"context_only": true})), Effect::Read);
            if self.fields.iter().any(|f| f == "party.country") {
                out.ask(Want::Countries, call("country.country", "search_count", json!({"domain": []})), Effect::Read);
            }
        }
    }

    fn heard(&mut self, want: Want, what: Heard<'_>, out: &mut Out<Want>) {
        let value = match answer("checking the connection", what) {
            Ok(value) => value,
            Err(fault) => return out.fail(fault),
        };
        match want {
            Want::Rights => self.heard.rights = value,
            Want::Preferences => self.heard.preferences = value,
            Want::Countries => self.heard.countries = value.as_i64(),
            Want::Fields(model) => drop(self.heard.models.insert(model, value)),
        }
        if out.quiet() {
            out.done(Output::Checked(self.findings()));
        }
    }
}

impl Check {
    fn findings(&self) -> Vec<Finding> {
        let finding =
            |code: &str, ok: bool, what: String, fix: &str| Finding { code: code.into(), ok, what, fix: (!ok).then(|| fix.to_owned()) };
        // Tryton on SQLite answers 0 and 1 for false and true.
        let may = |model: &str, right: &str| {
            let right = self.heard.rights.get(model).and_then(|r| r.get(right));
            right.is_some_and(|v| v.as_bool() == Some(true) || v.as_i64() == Some(1))
        };
        let group = "Administration > Users > Users > (the user) > Access Permissions: add the group 'Sale Opportunity'";
        let mut all = Vec::new();
        for model in MODELS {
            all.push(finding("read", may(model, "read"), format!("the key may read {model}"), group));
            if self.writes {
                let ok = ["write", "create", "delete"].iter().all(|right| may(model, right));
                all.push(finding("write", ok, format!("the key may write, create and delete {model}"), group));
            }
        }
        if self.writes {
            let set = |name: &str| self.heard.preferences.get(name).is_some_and(|v| v.as_i64().is_some());
            let fix =
                "Administration > Users > Users > (the user) > tab User: fill Companies, Employees, Current Company and Current Employee";
            all.push(finding("company", set("company"), "the user has a current company".into(), fix));
            all.push(finding("employee", set("employee"), "the user is an employee, which an opportunity needs".into(), fix));
            all.push(finding(
                "marker_field",
                self.marker_field == "reference",
                format!("the marker stands in `{}` of the opportunity and in the code of the party", self.marker_field),
                "set the mapping's marker field to `reference`",
            ));
            if let Some(count) = self.heard.countries {
                let fix = "on the server: trytond_import_countries -c CONFIG -d DATABASE";
                all.push(finding("countries", count > 0, "countries are loaded, so that party.country can be written".into(), fix));
            }
        }
        for name in &self.fields {
            let fix = "run `leadshare mapping describe` for the names that this Tryton has";
            all.push(finding("field", self.knows(name), format!("the field `{name}` exists"), fix));
        }
        all
    }

    /// Whether the first step of a name exists, as far as two models can tell.
    fn knows(&self, name: &str) -> bool {
        let has = |model: &str, field: &str| self.heard.models.get(model).is_some_and(|m| m.get(field).is_some());
        if name.starts_with("deal.") {
            return has(OPPORTUNITY, "sales");
        }
        let name = name.strip_prefix("opportunity.").unwrap_or(name);
        match name.split_once('.') {
            Some(("party", field)) => {
                let first = field.split('.').next().unwrap_or_default();
                ADDRESS.iter().any(|(flat, _)| *flat == field) || has(PARTY, first)
            }
            Some((first, _)) => has(OPPORTUNITY, first),
            None => has(OPPORTUNITY, name),
        }
    }
}

/// Which fields there are.
pub struct Describe {
    /// Where to.
    pub rest: Rest,
    /// The models' answers so far.
    pub models: BTreeMap<&'static str, Value>,
}

impl Script for Describe {
    type Want = &'static str;

    fn start(&mut self, out: &mut Out<&'static str>) {
        for model in [OPPORTUNITY, PARTY] {
            out.ask(model, self.rest.call(model, "fields_get", &json!({})), Effect::Read);
        }
    }

    fn heard(&mut self, want: &'static str, what: Heard<'_>, out: &mut Out<&'static str>) {
        match answer("describing the fields", what) {
            Ok(value) => drop(self.models.insert(want, value)),
            Err(fault) => return out.fail(fault),
        }
        if out.quiet() {
            out.done(Output::Described(self.fields()));
        }
    }
}

impl Describe {
    fn fields(&self) -> Vec<FieldInfo> {
        let of = |model: &str| self.models.get(model).and_then(Value::as_object).into_iter().flatten();
        let opportunity = of(OPPORTUNITY).filter_map(|(name, meta)| info(name, name, meta));
        let party = of(PARTY).filter_map(|(name, meta)| info(&format!("party.{name}"), name, meta));
        let address = ADDRESS.iter().map(|(name, _)| FieldInfo {
            name: format!("party.{name}"),
            label: format!("{name} of the party's first address"),
            kind: "char".into(),
            options: vec![],
            writable: true,
            required: false,
            unique: false,
            custom: false,
        });
        let mut all: Vec<FieldInfo> = opportunity.chain(party).chain(address).collect();
        all.sort_by(|a, b| a.name.cmp(&b.name));
        all
    }
}

/// One field as people see it; lists of related records are left out.
fn info(name: &str, field: &str, meta: &Value) -> Option<FieldInfo> {
    let text = |key: &str| meta.get(key).and_then(Value::as_str).unwrap_or_default().to_owned();
    let yes = |key: &str| meta.get(key).and_then(Value::as_bool).unwrap_or_default();
    let kind = text("type");
    if matches!(kind.as_str(), "one2many" | "many2many" | "binary") {
        return None;
    }
    let of_party = name.starts_with("party.");
    // Codes are ours, moments and counters are Tryton's; the state is reached by its buttons.
    let ours = matches!(field, "code" | "party" | "rec_name") || (of_party && matches!(field, "active" | "replaced_by"));
    let writable = name == "state" || (of_party && MECHANISMS.contains(&field)) || (!yes("readonly") && !ours && kind != "many2one");
    let options = meta.get("selection").and_then(Value::as_array).into_iter().flatten();
    Some(FieldInfo {
        name: name.to_owned(),
        label: text("string"),
        options: options.filter_map(|o| Some(o.get(0)?.as_str()?.to_owned())).collect(),
        writable,
        required: yes("required"),
        unique: name == "party.code",
        custom: false,
        kind,
    })
}
