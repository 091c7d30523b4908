//! Reading records by id or by one field, their fields' histories, and what became of converted leads.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use super::{
    desk::Desk,
    soql,
    wire::{self, Api, own_columns, text},
};
use crate::sdk::{
    Heard, Output, Record, Request, State, Step, Tag, Talk, TalkFault,
    record::{Moment, history_of},
};

/// Fields of the opportunity that a lead was converted into are named with this in front.
const FOLLOWED: &str = "opportunity.";

/// The fields that a query of the object can name: without those of its opportunity, histories, and
/// what other vendors keep beside a record.
pub fn own_fields(fields: &[String]) -> Vec<String> {
    fields.iter().filter(|f| !f.starts_with(FOLLOWED) && !f.contains('@')).cloned().collect()
}

/// The fields whose history is asked for.
fn with_history(fields: &[String]) -> Vec<String> {
    fields.iter().filter_map(|f| f.strip_suffix("@history")).map(str::to_owned).collect()
}

/// The object that keeps the histories of another's fields, and its reference to it.
fn history_object(object: &str) -> Option<(&'static str, &'static str)> {
    match object {
        "Lead" => Some(("LeadHistory", "LeadId")),
        "Contact" => Some(("ContactHistory", "ContactId")),
        _ => None,
    }
}

/// The opportunity's fields, without the prefix.
pub fn followed_fields(fields: &[String]) -> Vec<String> {
    fields.iter().filter_map(|f| f.strip_prefix(FOLLOWED)).map(str::to_owned).collect()
}

/// An id without its check part: 15 and 18 characters name the same record.
fn bare(id: &str) -> &str {
    id.get(..15).unwrap_or(id)
}

/// What an answer belongs to.
#[derive(Clone, Copy)]
enum Part {
    /// The object's own rows.
    Own,
    /// What was done to its fields.
    History,
    /// The opportunities that they were converted into.
    Opportunities,
}

/// One read.
pub struct Read {
    api: Api,
    object: String,
    /// The ids asked for; `None` for a search by field.
    ids: Option<Vec<String>>,
    own: Vec<String>,
    followed: Vec<String>,
    histories_of: Vec<String>,
    /// Moments by record and field.
    histories: BTreeMap<(String, String), Vec<Moment>>,
    records: Vec<Record>,
    /// Opportunity id by the place of its lead in `records`.
    converted: BTreeMap<usize, String>,
    opportunities: BTreeMap<String, Record>,
    /// Whether the opportunities were asked for.
    asked: bool,
    desk: Desk<Part>,
}

impl Read {
    /// Reads by id, deleted and merged rows too.
    pub fn by_id(api: Api, object: &str, ids: &[String], fields: &[String], follow: bool) -> Result<Self, TalkFault> {
        let followed = if follow && object == "Lead" { followed_fields(fields) } else { Vec::new() };
        let mut talk = Self::new(api, object, own_fields(fields), followed);
        let extra = if talk.followed.is_empty() { None } else { Some("ConvertedOpportunityId") };
        let columns = own_columns(object).iter().copied().chain(talk.own.iter().map(String::as_str)).chain(extra);
        let head = format!("SELECT {} FROM {} WHERE Id IN", soql::columns(columns)?, soql::name(object)?);
        // Names are checked before anything is sent.
        soql::columns(talk.followed.iter().map(String::as_str))?;
        let histories = soql::lists(with_history(fields).iter().map(String::as_str));
        for list in soql::lists(ids.iter().map(String::as_str).filter(|id| soql::is_id(id))) {
            talk.desk.read(talk.api.query(&format!("{head} ({list})"), true), Part::Own);
            if let (Some((kept_in, key)), Some(names)) = (history_object(object), histories.first()) {
                let columns = format!("{key},Field,NewValue,CreatedDate,CreatedById");
                let soql = format!("SELECT {columns} FROM {kept_in} WHERE {key} IN ({list}) AND Field IN ({names})");
                talk.desk.read(talk.api.query(&soql, false), Part::History);
            }
        }
        talk.ids = Some(ids.to_vec());
        talk.histories_of = with_history(fields);
        talk.go_on();
        Ok(talk)
    }

    /// Reads live rows by the value of one field.
    pub fn by_field(api: Api, object: &str, field: &str, value: &str, fields: &[String]) -> Result<Self, TalkFault> {
        let mut talk = Self::new(api, object, own_fields(fields), Vec::new());
        let columns = soql::columns(own_columns(object).iter().copied().chain(talk.own.iter().map(String::as_str)))?;
        let soql = format!("SELECT {columns} FROM {} WHERE {}", soql::name(object)?, soql::one_of(field, &[value.to_owned()])?);
        talk.desk.read(talk.api.query(&soql, false), Part::Own);
        Ok(talk)
    }

    fn new(api: Api, object: &str, own: Vec<String>, followed: Vec<String>) -> Self {
        Self {
            api,
            object: object.to_owned(),
            ids: None,
            own,
            followed,
            histories_of: Vec::new(),
            histories: BTreeMap::new(),
            records: Vec::new(),
            converted: BTreeMap::new(),
            opportunities: BTreeMap::new(),
            asked: false,
            desk: Desk::new(),
        }
    }

    fn take(&mut self, part: Part, page: &wire::Page) -> Option<()> {
        for row in &page.rows {
            match part {
                Part::Own => {
                    if let Some(id) = text(row, "ConvertedOpportunityId").filter(|_| !self.followed.is_empty()) {
                        self.converted.insert(self.records.len(), id.to_owned());
                    }
                    self.records.push(wire::record(&self.object, row, &self.own, page.answered)?);
                }
                Part::History => self.take_moment(row)?,
                Part::Opportunities => self.take_opportunity(row, page.answered)?,
            }
        }
        Some(())
    }

    fn take_moment(&mut self, row: &Map<String, Value>) -> Option<()> {
        let (_, key) = history_object(&self.object)?;
        let place = (bare(text(row, key)?).to_owned(), text(row, "Field")?.to_lowercase());
        let at = text(row, "CreatedDate").and_then(wire::moment)?;
        let value = row.get("NewValue").cloned().unwrap_or_default();
        self.histories.entry(place).or_default().push(Moment { value, at, by: text(row, "CreatedById").map(str::to_owned) });
        Some(())
    }

    fn take_opportunity(&mut self, row: &Map<String, Value>, answered: Option<i64>) -> Option<()> {
        let record = wire::record("Opportunity", row, &self.followed, answered)?;
        self.opportunities.insert(bare(&record.id).to_owned(), record);
        Some(())
    }

    /// After everything asked for was heard: ask for the opportunities once, then end.
    fn go_on(&mut self) {
        if !self.desk.all_heard() {
            return;
        }
        if !self.converted.is_empty() && !self.asked {
            self.asked = true;
            let columns = own_columns("Opportunity").iter().copied().chain(self.followed.iter().map(String::as_str));
            match soql::columns(columns) {
                Err(fault) => return self.desk.fail(fault),
                Ok(columns) => {
                    for list in soql::lists(self.converted.values().map(String::as_str)) {
                        let soql = format!("SELECT {columns} FROM Opportunity WHERE Id IN ({list})");
                        self.desk.read(self.api.query(&soql, true), Part::Opportunities);
                    }
                }
            }
            return;
        }
        self.end();
    }

    fn end(&mut self) {
        for (place, id) in &self.converted {
            let (Some(lead), Some(opportunity)) = (self.records.get_mut(*place), self.opportunities.get(bare(id))) else { continue };
            // The outcome changes without the lead changing, so it is part of the version.
            lead.version = format!("{}/{}", lead.version, opportunity.version);
            lead.modified_at = lead.modified_at.max(opportunity.modified_at);
            if opportunity.state == State::Live {
                let fields = opportunity.fields.iter().map(|(name, value)| (format!("{FOLLOWED}{name}"), value.clone()));
                lead.fields.extend(fields);
            }
        }
        for record in &mut self.records {
            for name in &self.histories_of {
                if let Some(moments) = self.histories.get(&(bare(&record.id).to_owned(), name.to_lowercase())) {
                    record.fields.insert(history_of(name), serde_json::to_value(moments).unwrap_or_default());
                }
            }
        }
        let found = std::mem::take(&mut self.records);
        let records = match &self.ids {
            None => found,
            Some(ids) => under_the_ids_asked_for(&self.object, ids, found),
        };
        self.desk.say(Step::Done(Output::Records(records)));
    }
}

/// One record per id asked for, in the spelling asked for; what the vendor no longer has is deleted.
fn under_the_ids_asked_for(object: &str, ids: &[String], found: Vec<Record>) -> Vec<Record> {
    let found: BTreeMap<String, Record> = found.into_iter().map(|record| (bare(&record.id).to_owned(), record)).collect();
    let one = |id: &String| match found.get(bare(id)).filter(|_| soql::is_id(id)) {
        Some(record) => Record { id: id.clone(), ..record.clone() },
        None => Record {
            object: object.to_owned(),
            id: id.clone(),
            fields: BTreeMap::new(),
            version: "purged".into(),
            created_at: None,
            modified_at: None,
            state: State::Deleted,
        },
    };
    ids.iter().map(one).collect()
}

impl Talk for Read {
    fn step(&mut self) -> Step {
        self.desk.step()
    }

    fn heard(&mut self, tag: Tag, what: Heard<'_>) {
        const WHAT: &str = "reading records";
        let Some(part) = self.desk.heard(tag) else { return };
        let Heard::Answer(response) = what else { return self.desk.fail(wire::no_answer(WHAT)) };
        match wire::page(WHAT, response) {
            // Nobody keeps histories there, or they are hidden: they are left out.
            Err(fault) if matches!(part, Part::History) && matches!(fault.code.as_str(), "INVALID_TYPE" | "INVALID_FIELD") => self.go_on(),
            Err(fault) => self.desk.fail(fault),
            Ok(page) => {
                if self.take(part, &page).is_none() {
                    return self.desk.fail(TalkFault::unexpected(WHAT, response));
                }
                if let Some(path) = page.next {
                    self.desk.read(wire::signed(Request::get(path)), part);
                }
                self.go_on();
            }
        }
    }
}
