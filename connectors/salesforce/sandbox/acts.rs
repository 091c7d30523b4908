//! What people do in the pages.

use serde_json::{Value, json};

use super::{
    Org,
    error::Trouble,
    objects::LEAD_STATUSES,
    rules::{self, Actor},
    schema::{Field, Kind},
    store::full_id,
};
use crate::sdk::{Act, Fields, Millis};

/// A field of `Act::Convert` that is no field of the opportunity: convert without making one.
const NO_OPPORTUNITY: &str = "doNotCreateOpportunity";

fn pairs(fields: Fields) -> Vec<(String, Value)> {
    fields.into_iter().collect()
}

impl Org {
    /// Does it, and answers the id concerned.
    pub fn act(&mut self, act: Act, now: Millis) -> Result<String, Trouble> {
        let person = Actor { api: false, allow_save: true, now };
        match act {
            Act::Create { object, fields } => {
                let fields = rules::read_fields(&self.store, &object, &pairs(fields))?;
                rules::create(&mut self.store, &self.rules, &object, &fields, person)
            }
            Act::Update { object, id, fields } => {
                let fields = rules::read_fields(&self.store, &object, &pairs(fields))?;
                rules::update(&mut self.store, &self.rules, &object, &id, &fields, person)?;
                Ok(id)
            }
            Act::Delete { object, id } => {
                rules::delete(&mut self.store, &object, &id, person)?;
                Ok(id)
            }
            Act::Merge { object, winner, loser } => self.merge(&object, &winner, &loser, person),
            Act::Convert { object, id, fields } => self.convert(&object, &id, fields, person),
            Act::DefineField { object, name, unique, options } => self.define(&object, name, unique, &options),
        }
    }

    /// The loser goes into the recycle bin and points to the winner, whose values stay.
    fn merge(&mut self, object: &str, winner: &str, loser: &str, person: Actor) -> Result<String, Trouble> {
        let table = self.store.table(object).ok_or_else(Trouble::not_found)?;
        let (object, name) = (std::sync::Arc::clone(&table.object), table.object.name);
        if object.any_field("MasterRecordId").is_none() || full_id(winner) == full_id(loser) {
            return Err(Trouble::new("INVALID_OPERATION", "these records cannot be merged"));
        }
        let mut stays = rules::existing(&self.store, &object, winner)?;
        let mut goes = rules::existing(&self.store, &object, loser)?;
        goes.deleted = true;
        goes.master = Some(stays.id.clone());
        rules::touch(&self.store, &mut goes, person);
        rules::touch(&self.store, &mut stays, person);
        let id = stays.id.clone();
        self.store.commit(name, goes, person.now);
        self.store.commit(name, stays, person.now);
        Ok(id)
    }

    /// Makes an account, a contact and an opportunity of a lead; answers the opportunity's id, or the
    /// contact's when no opportunity was wanted.
    fn convert(&mut self, object: &str, id: &str, mut fields: Fields, person: Actor) -> Result<String, Trouble> {
        let table = self.store.table(object).filter(|table| table.object.name == "Lead");
        let lead_object =
            std::sync::Arc::clone(&table.ok_or_else(|| Trouble::new("INVALID_OPERATION", "only leads are converted"))?.object);
        let mut lead = rules::existing(&self.store, &lead_object, id)?;
        if lead.ticked("IsConverted") {
            return Err(Trouble::new("CANNOT_UPDATE_CONVERTED_LEAD", "cannot reference converted lead"));
        }
        let company = lead.text("Company").unwrap_or_default().to_owned();
        let account = vec![("Name".to_owned(), json!(company))];
        let account = rules::create(&mut self.store, &self.rules, "Account", &account, person)?;

        let mut contact = vec![("AccountId".to_owned(), json!(account))];
        for name in ["FirstName", "LastName", "Email", "Phone", "Title"] {
            contact.extend(lead.fields.get(name).map(|value| (name.to_owned(), value.clone())));
        }
        let contact = rules::create(&mut self.store, &self.rules, "Contact", &contact, person)?;

        let without = fields.remove(NO_OPPORTUNITY) == Some(Value::Bool(true));
        let opportunity = if without {
            None
        } else {
            let month = jiff::Timestamp::from_millisecond(person.now + 30 * 86_400_000).unwrap_or(jiff::Timestamp::UNIX_EPOCH);
            let defaults = [
                ("Name", json!(format!("{company}-"))),
                ("StageName", json!("Prospecting")),
                ("CloseDate", json!(month.strftime("%Y-%m-%d").to_string())),
                ("AccountId", json!(account)),
            ];
            for (name, value) in defaults {
                fields.entry(name.into()).or_insert(value);
            }
            let fields = rules::read_fields(&self.store, "Opportunity", &pairs(fields))?;
            Some(rules::create(&mut self.store, &self.rules, "Opportunity", &fields, person)?)
        };
        let status = LEAD_STATUSES.iter().find(|s| s.1).map_or("", |s| s.0);
        let today = jiff::Timestamp::from_millisecond(person.now).unwrap_or(jiff::Timestamp::UNIX_EPOCH).strftime("%Y-%m-%d").to_string();
        let outcome = [
            ("Status", json!(status)),
            ("IsConverted", json!(true)),
            ("ConvertedDate", json!(today)),
            ("ConvertedAccountId", json!(account)),
            ("ConvertedContactId", json!(contact)),
        ];
        lead.fields.extend(outcome.map(|(name, value)| (name.to_owned(), value)));
        lead.fields.extend(opportunity.iter().map(|id| ("ConvertedOpportunityId".to_owned(), json!(id))));
        rules::touch(&self.store, &mut lead, person);
        self.store.commit("Lead", lead, person.now);
        Ok(opportunity.unwrap_or(contact))
    }

    /// Adds a custom field; unique ones are external ids too, picklists are restricted.
    fn define(&mut self, object: &str, name: String, unique: bool, options: &[String]) -> Result<String, Trouble> {
        if !name.ends_with("__c") {
            return Err(Trouble::new("INVALID_FIELD", "the name of a custom field ends in __c"));
        }
        let kind = if options.is_empty() { Kind::Text } else { Kind::Picklist };
        let field = Field {
            external_id: unique,
            unique,
            restricted: !options.is_empty(),
            options: options.to_vec(),
            ..Field::new(&name, kind, 255)
        };
        self.store.table_mut(object).ok_or_else(Trouble::not_found)?.add_field(field);
        Ok(name)
    }
}
