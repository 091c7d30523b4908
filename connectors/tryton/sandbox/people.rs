//! What people do in Tryton's own client, in the flattened names of a lead.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use super::db::{ADDRESS, COUNTRY, Db, MECHANISM, OPPORTUNITY, PARTY, SALE, STATES, Trouble};
use super::write::Writer;
use crate::sdk::Fields;

const MECHANISMS: [&str; 5] = ["email", "phone", "mobile", "fax", "website"];
const IN_ADDRESS: [&str; 4] = ["street", "postal_code", "city", "country"];

fn said(trouble: Trouble) -> String {
    match trouble {
        Trouble::User(message) | Trouble::Error(message) => message,
        other => format!("{other:?}"),
    }
}

impl Db {
    /// A person enters a lead.
    ///
    /// # Errors
    /// What Tryton would say.
    pub fn enter(&mut self, fields: &Fields, who: &Writer) -> Result<i64, String> {
        let id = self.create(OPPORTUNITY, &Map::new(), who).map_err(said)?;
        self.edit(id, fields, who)?;
        // Entered in one go: nobody has updated it yet.
        let entered = self.row(OPPORTUNITY, id).cloned().map(|mut row| {
            row.insert("write_date".into(), Value::Null);
            row
        });
        self.restate(id, entered);
        Ok(id)
    }

    /// A person edits a lead, pressing what buttons it takes.
    ///
    /// # Errors
    /// What Tryton would say.
    pub fn edit(&mut self, id: i64, fields: &Fields, who: &Writer) -> Result<(), String> {
        let mut own = Map::new();
        let mut party = Map::new();
        for (name, value) in fields {
            match name.strip_prefix("party.") {
                Some(field) => drop(party.insert(field.to_owned(), value.clone())),
                None if name == "state" => {
                    let state = value.as_str().filter(|s| STATES.contains(s)).ok_or("no such state")?;
                    own.insert("state".into(), json!(state));
                }
                None => drop(own.insert(name.clone(), value.clone())),
            }
        }
        if !party.is_empty() {
            let party_id = if let Some(party_id) = self.value(OPPORTUNITY, id, "party").as_i64() {
                party_id
            } else {
                let new = self.create(PARTY, &Map::new(), who).map_err(said)?;
                self.update(OPPORTUNITY, id, &Map::from_iter([("party".into(), json!(new))]), who).map_err(said)?;
                new
            };
            self.edit_party(party_id, party, who)?;
        }
        if own.is_empty() { Ok(()) } else { self.update(OPPORTUNITY, id, &own, who).map_err(said) }
    }

    fn edit_party(&mut self, id: i64, mut fields: Map<String, Value>, who: &Writer) -> Result<(), String> {
        for kind in MECHANISMS {
            let Some(value) = fields.remove(kind) else { continue };
            let all = self.children(MECHANISM, id);
            let first = all.into_iter().find(|m| self.value(MECHANISM, *m, "type") == json!(kind));
            match (first, value.as_str().filter(|v| !v.is_empty())) {
                (Some(m), Some(value)) => {
                    self.update(MECHANISM, m, &Map::from_iter([("value".into(), json!(value))]), who).map_err(said)?;
                }
                (Some(m), None) => self.remove(MECHANISM, m, who.at),
                (None, Some(value)) => {
                    let body = [("party", json!(id)), ("type", json!(kind)), ("value", json!(value))];
                    self.create(MECHANISM, &body.into_iter().map(|(n, v)| (n.to_owned(), v)).collect(), who).map_err(said)?;
                }
                (None, None) => {}
            }
        }
        let mut address: Map<String, Value> =
            IN_ADDRESS.iter().filter_map(|name| Some(((*name).to_owned(), fields.remove(*name)?))).collect();
        if let Some(code) = address.get("country").filter(|c| !c.is_null()).cloned() {
            let country = self.rows(COUNTRY).find(|(_, row)| row.get("code") == Some(&code)).map(|(id, _)| id);
            address.insert("country".into(), json!(country.ok_or("no such country")?));
        }
        if !address.is_empty() {
            if let Some(first) = self.children(ADDRESS, id).first() {
                self.update(ADDRESS, *first, &address, who).map_err(said)?;
            } else {
                address.insert("party".into(), json!(id));
                self.create(ADDRESS, &address, who).map_err(said)?;
            }
        }
        // Saving the form writes the party too, whatever was edited in it.
        self.update(PARTY, id, &fields, who).map_err(said)
    }

    /// A person makes a sale of a lead.
    ///
    /// # Errors
    /// What Tryton would say.
    pub fn convert(&mut self, id: i64, fields: &Fields, who: &Writer) -> Result<i64, String> {
        if self.value(OPPORTUNITY, id, "state") == "lead" {
            self.press(OPPORTUNITY, id, "opportunity", who).map_err(said)?;
        }
        if self.value(OPPORTUNITY, id, "state") != "opportunity" {
            return Err("You can not call \"convert\" in this state.".into());
        }
        let body = fields.iter().map(|(n, v)| (n.clone(), v.clone())).collect();
        let sale = self.make_sale(id, body, who).map_err(said)?;
        let values = [("state", json!("converted")), ("converted_by", json!(who.employee))];
        self.change(OPPORTUNITY, id, values.into_iter().map(|(n, v)| (n.to_owned(), v)).collect(), who.at);
        Ok(sale)
    }

    /// A person edits a sale.
    ///
    /// # Errors
    /// What Tryton would say.
    pub fn edit_sale(&mut self, id: i64, fields: &Fields, who: &Writer) -> Result<(), String> {
        let body: Map<String, Value> = fields.iter().map(|(n, v)| (n.clone(), v.clone())).collect();
        self.update(SALE, id, &body, who).map_err(said)?;
        self.decided(id, who);
        Ok(())
    }

    /// A person cancels a lead if need be, and deletes it.
    ///
    /// # Errors
    /// What Tryton would say.
    pub fn bin(&mut self, id: i64, who: &Writer) -> Result<(), String> {
        if self.value(OPPORTUNITY, id, "state") == "lost" {
            self.press(OPPORTUNITY, id, "lead", who).map_err(said)?;
        }
        if self.value(OPPORTUNITY, id, "state") != "cancelled" {
            self.press(OPPORTUNITY, id, "cancel", who).map_err(said)?;
        }
        self.delete(OPPORTUNITY, id, who).map_err(said)
    }

    /// A lead in flattened names, tags taken off.
    pub fn flat(&self, id: i64) -> Fields {
        let mut out = BTreeMap::new();
        let Some(row) = self.row(OPPORTUNITY, id) else { return out };
        let untagged = |value: Value| match value.get("decimal") {
            Some(decimal) => decimal.clone(),
            None => value,
        };
        for (name, value) in row.iter().filter(|(name, _)| !matches!(name.as_str(), "party" | "company" | "currency" | "employee")) {
            out.insert(name.clone(), untagged(value.clone()));
        }
        if let Some((party, row)) = row.get("party").and_then(Value::as_i64).and_then(|p| Some((p, self.row(PARTY, p)?))) {
            for name in ["name", "code"].into_iter().chain(MECHANISMS) {
                out.insert(format!("party.{name}"), self.computed(PARTY, row, name).into_owned());
            }
            if let Some(address) = self.children(ADDRESS, party).first() {
                for name in IN_ADDRESS {
                    let value = self.value(ADDRESS, *address, name);
                    let country = (name == "country").then(|| value.as_i64()).flatten();
                    out.insert(format!("party.{name}"), country.map_or(value, |c| self.value(COUNTRY, c, "code")));
                }
            }
        }
        out
    }
}
