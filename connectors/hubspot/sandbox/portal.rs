//! The account: what clients and people do to its records, and the events that follow.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value, json};

use super::answer::{Refusal, Rng, iso};
use super::schema::{self, Kind};
use super::store::{Changes, Row, Table, Version};
use crate::sdk::Millis;

/// Who does something.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum By {
    /// The app, through the API.
    Api,
    /// A person in HubSpot's pages.
    Person,
    /// A visitor, by sending a form.
    Form,
    /// A file that was imported.
    Import,
}

impl By {
    /// HubSpot's word for it.
    pub fn word(self) -> &'static str {
        match self {
            Self::Api => "INTEGRATION",
            Self::Person => "CRM_UI",
            Self::Form => "FORM",
            Self::Import => "IMPORT",
        }
    }
}

/// Something that webhooks tell.
#[derive(Debug, Clone)]
pub(super) struct Event {
    pub at: Millis,
    /// Everything but what each delivery adds.
    pub body: Map<String, Value>,
}

/// The account.
#[derive(Debug, Clone)]
pub(super) struct Portal {
    pub id: u64,
    pub app_id: u64,
    pub rng: Rng,
    tables: [Table; 4],
    /// Associated ids, with the type ids of each association.
    links: BTreeMap<(Kind, u64, Kind), BTreeMap<u64, BTreeSet<u32>>>,
    pub events: Vec<Event>,
    /// Addresses that want no e-mail at all; the statuses of single subscriptions do not show it.
    pub opted_out: BTreeSet<String>,
    /// Opt-out state by email and subscription.
    pub optouts: BTreeMap<(String, u64), &'static str>,
    pub created_by_api: u64,
    next_id: u64,
    /// How much later changes become visible to every read.
    pub commit_lag: Millis,
    /// How much later still search sees them.
    pub index_lag: Millis,
}

/// Search sees changes "a few moments" later.
const INDEX_LAG: Millis = 2_000;

impl Portal {
    pub fn new(seed: u64) -> Self {
        let mut rng = Rng(seed);
        Self {
            id: 10_000_000 + rng.below(40_000_000),
            app_id: 100_000 + rng.below(900_000),
            next_id: 20_000_000_000 + rng.below(1_000_000_000),
            rng,
            tables: Kind::ALL.map(Table::new),
            links: BTreeMap::new(),
            events: Vec::new(),
            opted_out: BTreeSet::new(),
            optouts: BTreeMap::new(),
            created_by_api: 0,
            commit_lag: 0,
            index_lag: INDEX_LAG,
        }
    }

    pub fn table(&self, kind: Kind) -> &Table {
        &self.tables[kind as usize]
    }

    pub fn table_mut(&mut self, kind: Kind) -> &mut Table {
        &mut self.tables[kind as usize]
    }

    fn new_id(&mut self) -> u64 {
        self.next_id += 1 + self.rng.below(7);
        self.next_id
    }

    /// Which app, user, form or file it was.
    pub fn source_id(&self, by: By) -> String {
        match by {
            By::Api => self.app_id.to_string(),
            By::Person => "userId:4711".to_owned(),
            By::Form => "f0000000-0000-4000-8000-000000000001".to_owned(),
            By::Import => "12".to_owned(),
        }
    }

    /// Creates a record from checked values.
    pub fn create(&mut self, kind: Kind, given: Changes, by: By, now: Millis) -> Result<u64, Refusal> {
        let needed = kind.needs_one_of();
        if !needed.iter().any(|name| given.get(*name).is_some_and(Option::is_some)) {
            return Err(Refusal::invalid(format!(
                "Error creating {}. Some required properties were not set.",
                kind.singular().to_uppercase()
            ))
            .with("properties", needed));
        }
        self.table(kind).check_unique(None, &given)?;
        let (source, source_id) = (by.word(), self.source_id(by));
        let mut changes = given;
        changes.insert("hs_object_source".into(), Some(source.into()));
        changes.insert("hs_object_source_label".into(), Some(source.into()));
        changes.insert("hs_object_source_id".into(), Some(source_id));
        let mut fill = |name: &str, value: &str| {
            changes.entry(name.to_owned()).or_insert_with(|| Some(value.to_owned()));
        };
        match kind {
            Kind::Contact => fill("lifecyclestage", "lead"),
            Kind::Company => {}
            Kind::Deal => {
                fill("pipeline", "default");
                fill("dealstage", schema::DEAL_STAGES[0].0);
            }
            Kind::Lead => {
                fill("hs_pipeline", "lead-pipeline-id");
                fill("hs_pipeline_stage", schema::LEAD_STAGES[0].0);
            }
        }
        let id = self.new_id();
        self.table_mut(kind).insert(id, changes, by, now);
        if by == By::Api {
            self.created_by_api += 1;
        }
        self.event(kind, "creation", id, by, now, json!({ "changeFlag": "CREATED" }));
        Ok(id)
    }

    /// Changes a live record; merged ids lead to the record they went into.
    pub fn update(&mut self, kind: Kind, id: u64, given: Changes, by: By, now: Millis) -> Result<u64, Refusal> {
        let (id, _) = self.table(kind).live(id).ok_or_else(Refusal::not_found)?;
        self.table(kind).check_unique(Some(id), &given)?;
        self.put(kind, id, given, by, now);
        Ok(id)
    }

    fn put(&mut self, kind: Kind, id: u64, given: Changes, by: By, now: Millis) {
        let changed = self.table_mut(kind).put(id, given, by, now);
        for (name, value) in changed {
            let value = value.unwrap_or_default();
            self.event(kind, "propertyChange", id, by, now, json!({ "propertyName": name, "propertyValue": value }));
        }
    }

    /// Archives a record; one that is not there is no error.
    pub fn archive(&mut self, kind: Kind, id: u64, by: By, now: Millis) -> bool {
        let Some((id, _)) = self.table(kind).live(id) else { return false };
        self.table_mut(kind).archive(id, now);
        self.event(kind, "deletion", id, by, now, json!({ "changeFlag": "DELETED" }));
        if kind == Kind::Contact {
            // A lead lives on its contact.
            for lead in self.linked(Kind::Contact, id, Kind::Lead) {
                self.archive(Kind::Lead, lead, by, now);
            }
        }
        true
    }

    /// Removes a contact for good, as the privacy form does.
    pub fn forget(&mut self, id: u64, by: By, now: Millis) {
        self.event(Kind::Contact, "privacyDeletion", id, by, now, json!({}));
        self.event(Kind::Contact, "deletion", id, by, now, json!({ "changeFlag": "DELETED" }));
        self.table_mut(Kind::Contact).remove(id);
    }

    /// An address wants no e-mail at all; its contact shows it.
    pub fn opt_out(&mut self, email: &str, now: Millis) {
        self.opted_out.insert(email.to_lowercase());
        if let Some(id) = self.table(Kind::Contact).holder("email", email) {
            self.put(Kind::Contact, id, [("hs_email_optout".to_owned(), Some("true".to_owned()))].into(), By::Person, now);
        }
    }

    /// Merges two records into a new one; both old ids lead to it from then on.
    pub fn merge(&mut self, kind: Kind, primary: u64, other: u64, by: By, now: Millis) -> Result<u64, Refusal> {
        let table = self.table(kind);
        let (primary, first) = table.live(primary).ok_or_else(Refusal::not_found)?;
        let (other, second) = table.live(other).ok_or_else(Refusal::not_found)?;
        if primary == other {
            return Err(Refusal::invalid("Cannot merge a record with itself."));
        }
        let (kept, lost) = (first.latest().values.clone(), second.latest().values.clone());
        let made_by = first.by;
        let mut values: Changes = lost.iter().map(|(name, value)| (name.clone(), Some(value.clone()))).collect();
        values.extend(kept.iter().map(|(name, value)| (name.clone(), Some(value.clone()))));
        let joined = |name: &str, more: &[&str]| {
            let all = [kept.get(name), lost.get(name)].into_iter().flatten().flat_map(|text| text.split(';')).chain(more.iter().copied());
            let mut distinct: Vec<&str> = Vec::new();
            for part in all.filter(|part| !part.is_empty()) {
                if !distinct.contains(&part) {
                    distinct.push(part);
                }
            }
            distinct.join(";")
        };
        let (old, gone) = (primary.to_string(), other.to_string());
        values.insert("hs_merged_object_ids".into(), Some(joined("hs_merged_object_ids", &[&old, &gone])));
        if kind == Kind::Contact
            && let (Some(email), Some(second)) = (kept.get("email"), lost.get("email"))
            && email != second
        {
            values.insert("hs_additional_emails".into(), Some(joined("hs_additional_emails", &[second])));
        }
        let id = self.new_id();
        let table = self.table_mut(kind);
        table.remove(primary);
        table.remove(other);
        table.insert(id, values, made_by, now);
        table.alias(primary, id);
        table.alias(other, id);
        self.move_links(kind, primary, id);
        self.move_links(kind, other, id);
        let moved = lost.len();
        let body = json!({
            "primaryObjectId": primary,
            "mergedObjectIds": [other],
            "newObjectId": id,
            "numberOfPropertiesMoved": moved,
        });
        self.event(kind, "merge", id, by, now, body);
        Ok(id)
    }

    fn event(&mut self, kind: Kind, what: &str, id: u64, by: By, now: Millis, extra: Value) {
        let (source, source_id) = (by.word(), self.source_id(by));
        let mut body = Map::new();
        body.insert("eventId".into(), (self.rng.next() >> 24).into());
        body.insert("subscriptionId".into(), (3_000_000 + what.len() as u64 * 10 + kind as u64).into());
        body.insert("portalId".into(), self.id.into());
        body.insert("appId".into(), self.app_id.into());
        body.insert("occurredAt".into(), now.into());
        body.insert("objectId".into(), id.into());
        body.insert("changeSource".into(), source.into());
        body.insert("sourceId".into(), source_id.into());
        let prefix = if kind == Kind::Lead {
            body.insert("objectTypeId".into(), kind.type_id().into());
            "object"
        } else {
            kind.singular()
        };
        if let Value::Object(extra) = extra {
            body.extend(extra);
        }
        body.insert("subscriptionType".into(), format!("{prefix}.{what}").into());
        self.events.push(Event { at: now, body });
    }

    // --- associations -------------------------------------------------------------------------

    /// The type id that HubSpot defines for an association without a label.
    pub fn default_type(from: Kind, to: Kind) -> u32 {
        match (from, to) {
            (Kind::Contact, Kind::Company) => 279,
            (Kind::Company, Kind::Contact) => 280,
            (Kind::Contact, Kind::Deal) => 4,
            (Kind::Deal, Kind::Contact) => 3,
            (Kind::Deal, Kind::Company) => 341,
            (Kind::Company, Kind::Deal) => 342,
            (Kind::Lead, Kind::Contact) => 578,
            (Kind::Contact, Kind::Lead) => 579,
            (Kind::Lead, Kind::Deal) => 582,
            (Kind::Deal, Kind::Lead) => 583,
            (Kind::Lead, Kind::Company) => 610,
            (Kind::Company, Kind::Lead) => 611,
            (Kind::Contact, Kind::Contact) => 449,
            (Kind::Company, Kind::Company) => 450,
            (Kind::Deal, Kind::Deal) => 451,
            (Kind::Lead, Kind::Lead) => 612,
        }
    }

    /// Associates two live records, both ways.
    pub fn link(&mut self, from: (Kind, u64), to: (Kind, u64), type_id: u32, by: By, now: Millis) -> Result<(), Refusal> {
        let (a, _) = self.table(from.0).live(from.1).ok_or_else(Refusal::not_found)?;
        let (b, _) = self.table(to.0).live(to.1).ok_or_else(Refusal::not_found)?;
        self.links.entry((from.0, a, to.0)).or_default().entry(b).or_default().insert(type_id);
        self.links.entry((to.0, b, from.0)).or_default().entry(a).or_default().insert(Self::default_type(to.0, from.0));
        self.association_events((from.0, a), (to.0, b), false, by, now);
        Ok(())
    }

    /// Ends the association of two records. A lead without its contact is gone.
    pub fn unlink(&mut self, from: (Kind, u64), to: (Kind, u64), by: By, now: Millis) {
        let cut = self.links.get_mut(&(from.0, from.1, to.0)).and_then(|links| links.remove(&to.1)).is_some();
        if let Some(links) = self.links.get_mut(&(to.0, to.1, from.0)) {
            links.remove(&from.1);
        }
        if !cut {
            return;
        }
        self.association_events(from, to, true, by, now);
        for (lead, contact) in [(from, to), (to, from)] {
            if lead.0 == Kind::Lead && contact.0 == Kind::Contact && self.linked(Kind::Lead, lead.1, Kind::Contact).is_empty() {
                self.archive(Kind::Lead, lead.1, by, now);
            }
        }
    }

    fn association_events(&mut self, from: (Kind, u64), to: (Kind, u64), removed: bool, by: By, now: Millis) {
        for ((kind, id), (other_kind, other)) in [(from, to), (to, from)] {
            let name = format!("{}_TO_{}", kind.singular(), other_kind.singular()).to_uppercase();
            let body = json!({
                "associationType": name,
                "fromObjectId": id,
                "toObjectId": other,
                "associationRemoved": removed,
                "isPrimaryAssociation": false,
            });
            self.event(kind, "associationChange", id, by, now, body);
            if kind == Kind::Contact && other_kind == Kind::Deal {
                let deals = self.linked(Kind::Contact, id, Kind::Deal).len();
                self.put(kind, id, [("num_associated_deals".to_owned(), Some(deals.to_string()))].into(), by, now);
            }
        }
    }

    /// Ids associated with a record.
    pub fn linked(&self, from: Kind, id: u64, to: Kind) -> Vec<u64> {
        self.links.get(&(from, id, to)).map(|links| links.keys().copied().collect()).unwrap_or_default()
    }

    /// Ids associated with a record, with the type ids.
    pub fn linked_types(&self, from: Kind, id: u64, to: Kind) -> Vec<(u64, Vec<u32>)> {
        let links = self.links.get(&(from, id, to));
        links.into_iter().flatten().map(|(id, types)| (*id, types.iter().copied().collect())).collect()
    }

    fn move_links(&mut self, kind: Kind, old: u64, new: u64) {
        for other in Kind::ALL {
            let Some(links) = self.links.remove(&(kind, old, other)) else { continue };
            for (id, types) in links {
                if let Some(back) = self.links.get_mut(&(other, id, kind))
                    && let Some(types) = back.remove(&old)
                {
                    back.entry(new).or_default().extend(types);
                }
                self.links.entry((kind, new, other)).or_default().entry(id).or_default().extend(types);
            }
        }
    }

    // --- reading ------------------------------------------------------------------------------

    /// What an ordinary read sees.
    pub fn read_time(&self, now: Millis) -> Millis {
        now - self.commit_lag
    }

    /// What search sees.
    pub fn index_time(&self, now: Millis) -> Millis {
        now - self.commit_lag - self.index_lag
    }

    /// A live record as a read at `now` sees it.
    pub fn visible(&self, kind: Kind, id: u64, now: Millis) -> Option<(u64, &Row, &Version)> {
        let (id, row) = self.table(kind).live(id)?;
        let version = row.visible(self.read_time(now)).filter(|version| version.archived.is_none())?;
        Some((id, row, version))
    }

    /// An archived record by id or by a unique property.
    pub fn archived(&self, kind: Kind, name: &str, id_property: Option<&str>, now: Millis) -> Option<(u64, &Row, &Version)> {
        let table = self.table(kind);
        let archived = table.archived.iter().filter_map(|id| Some((*id, table.rows.get(id)?)));
        let seen = archived.filter_map(|(id, row)| Some((id, row, row.visible(self.read_time(now))?)));
        seen.filter(|(_, _, version)| version.archived.is_some()).find(|(id, _, version)| match id_property {
            None => id.to_string() == name,
            Some(property) => version.values.get(property).is_some_and(|value| value.eq_ignore_ascii_case(name)),
        })
    }

    /// A record as the API writes it.
    pub fn json(&self, kind: Kind, id: u64, row: &Row, version: &Version, wanted: &[String]) -> Value {
        let table = self.table(kind);
        let mut properties = Map::new();
        let always = [kind.created(), kind.modified(), "hs_object_id"];
        let defaults = if wanted.is_empty() { kind.defaults() } else { &[] };
        for name in always.iter().chain(defaults).copied().chain(wanted.iter().map(String::as_str)) {
            if table.schema.contains_key(name) {
                properties.insert(name.to_owned(), table.value(id, row, version, name).map_or(Value::Null, Value::String));
            }
        }
        // Moved in, not copied through `json!`: pages hold hundreds of records.
        let mut out = Map::new();
        out.insert("id".into(), id.to_string().into());
        out.insert("properties".into(), Value::Object(properties));
        out.insert("createdAt".into(), iso(row.created).into());
        out.insert("updatedAt".into(), iso(version.modified).into());
        out.insert("archived".into(), version.archived.is_some().into());
        out.insert("url".into(), format!("https://app.hubspot.com/contacts/{}/record/{}/{id}", self.id, kind.type_id()).into());
        if let Some(at) = version.archived {
            out.insert("archivedAt".into(), iso(at).into());
        }
        Value::Object(out)
    }
}
