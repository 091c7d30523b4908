//! The account's records: tables with their indexes.
//!
//! Each row keeps its recent versions, so that a read can see the account as it was a while ago:
//! that is how index lag and late commits are simulated.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::answer::{Refusal, iso};
use super::portal::By;
use super::schema::{self, Kind, LIFECYCLE, Property};
use crate::sdk::Millis;

/// How long superseded versions are kept.
const HISTORY: Millis = 3_600_000;
/// How many values of one property its history keeps.
const MOST_PAST: usize = 20;

/// Values by property; a property without a value is absent.
pub(super) type Values = BTreeMap<String, String>;
/// Values to set, or to clear.
pub(super) type Changes = BTreeMap<String, Option<String>>;

/// A record at one moment.
#[derive(Debug, Clone)]
pub(super) struct Version {
    /// When this version came to be.
    pub at: Millis,
    /// The time of the last change to its values.
    pub modified: Millis,
    pub archived: Option<Millis>,
    pub values: Values,
}

/// A value that a property was given.
#[derive(Debug, Clone)]
pub(super) struct Past {
    pub at: Millis,
    pub value: String,
    pub by: By,
}

/// A record.
#[derive(Debug, Clone)]
pub(super) struct Row {
    pub created: Millis,
    pub by: By,
    versions: Vec<Arc<Version>>,
    /// What each property was given, oldest first.
    history: BTreeMap<String, Vec<Past>>,
}

impl Row {
    /// The newest version.
    pub fn latest(&self) -> &Version {
        // A row is made with a version, and pruning keeps the last.
        &self.versions[self.versions.len() - 1]
    }

    /// What a property was given up to a moment, newest first.
    pub fn history(&self, name: &str, seen: Millis) -> impl Iterator<Item = &Past> {
        self.history.get(name).into_iter().flatten().rev().filter(move |past| past.at <= seen)
    }

    fn remember(&mut self, name: &str, value: &str, by: By, at: Millis) {
        let past = self.history.entry(name.to_owned()).or_default();
        past.push(Past { at, value: value.to_owned(), by });
        if past.len() > MOST_PAST {
            past.remove(0);
        }
    }

    /// The version that a read sees which knows everything up to `at`.
    pub fn visible(&self, at: Millis) -> Option<&Version> {
        self.versions.iter().rev().find(|version| version.at <= at).map(AsRef::as_ref)
    }
}

/// All records of one object.
#[derive(Debug, Clone)]
pub(super) struct Table {
    pub kind: Kind,
    pub schema: BTreeMap<String, Property>,
    pub rows: BTreeMap<u64, Row>,
    /// Live records by the time of their last change: the search index.
    pub by_modified: BTreeSet<(Millis, u64)>,
    /// Archived records that the search index still holds, with the time they were archived.
    pub ghosts: BTreeMap<(Millis, u64), Millis>,
    pub archived: BTreeSet<u64>,
    /// Which record holds a value of a unique property.
    unique: BTreeMap<String, BTreeMap<String, u64>>,
    /// Ids that were merged into another record.
    aliases: BTreeMap<u64, u64>,
    /// Emails that may never be created again.
    pub blocked: BTreeSet<String>,
}

impl Table {
    pub fn new(kind: Kind) -> Self {
        Self {
            kind,
            schema: schema::defaults(kind),
            rows: BTreeMap::new(),
            by_modified: BTreeSet::new(),
            ghosts: BTreeMap::new(),
            archived: BTreeSet::new(),
            unique: BTreeMap::new(),
            aliases: BTreeMap::new(),
            blocked: BTreeSet::new(),
        }
    }

    /// Whether values of this property are unique.
    pub fn is_unique(&self, name: &str) -> bool {
        (self.kind == Kind::Contact && name == "email") || self.schema.get(name).is_some_and(|p| p.unique && !p.archived)
    }

    /// The id under which a record lives now.
    pub fn resolve(&self, id: u64) -> u64 {
        let mut id = id;
        while let Some(next) = self.aliases.get(&id) {
            id = *next;
        }
        id
    }

    /// A record by id, merged ids included; only while it is live.
    pub fn live(&self, id: u64) -> Option<(u64, &Row)> {
        let id = self.resolve(id);
        self.rows.get(&id).filter(|row| row.latest().archived.is_none()).map(|row| (id, row))
    }

    /// The live record that holds this value of a unique property.
    pub fn holder(&self, name: &str, value: &str) -> Option<u64> {
        self.unique.get(name)?.get(&key(value)).copied()
    }

    /// Refuses values that another record holds.
    pub fn check_unique(&self, own: Option<u64>, changes: &Changes) -> Result<(), Refusal> {
        for (name, value) in changes {
            let Some(value) = value.as_deref().filter(|_| self.is_unique(name)) else { continue };
            if name == "email" && self.blocked.contains(value) {
                return Err(Refusal::invalid("This email address was deleted for privacy and cannot be added again."));
            }
            let Some(other) = self.holder(name, value).filter(|other| Some(*other) != own) else { continue };
            if self.kind == Kind::Contact && name == "email" {
                return Err(Refusal::new(409, "CONFLICT", format!("Contact already exists. Existing ID: {other}")));
            }
            let on = own.map_or_else(|| "a new record".to_owned(), |id| id.to_string());
            return Err(Refusal::invalid(format!(
                "Cannot set PropertyValueCoordinates{{portalId=0, objectTypeId={}, propertyName={name}, value={value}}} on {on}. {other} already \
                 has that value.",
                self.kind.type_id()
            )));
        }
        Ok(())
    }

    /// Adds a record.
    pub fn insert(&mut self, id: u64, changes: Changes, by: By, now: Millis) {
        let values = changes.into_iter().filter_map(|(name, value)| Some((name, value?))).collect();
        let version = Version { at: now, modified: now, archived: None, values: derived(self.kind, values) };
        self.index(id, &version);
        let mut row = Row { created: now, by, versions: Vec::new(), history: BTreeMap::new() };
        for (name, value) in &version.values {
            row.remember(name, value, by, now);
        }
        row.versions.push(Arc::new(version));
        self.rows.insert(id, row);
    }

    /// Changes a live record; answers what really changed.
    pub fn put(&mut self, id: u64, changes: Changes, by: By, now: Millis) -> Changes {
        let Some(row) = self.rows.get(&id) else { return Changes::new() };
        let old = row.latest().clone();
        let mut values = old.values.clone();
        for (name, value) in changes {
            if by == By::Api && name == "lifecyclestage" && goes_back(old.values.get(&name), value.as_ref()) {
                continue;
            }
            match value {
                Some(value) => values.insert(name, value),
                None => values.remove(&name),
            };
        }
        let values = derived(self.kind, values);
        let changed = difference(&old.values, &values);
        if changed.is_empty() {
            return changed;
        }
        self.unindex(id, &old);
        let version = Version { at: now, modified: now, archived: None, values };
        self.index(id, &version);
        self.push(id, version, now);
        if let Some(row) = self.rows.get_mut(&id) {
            for (name, value) in &changed {
                row.remember(name, value.as_deref().unwrap_or_default(), by, now);
            }
        }
        changed
    }

    /// Archives a live record.
    pub fn archive(&mut self, id: u64, now: Millis) -> bool {
        let Some((id, row)) = self.live(id) else { return false };
        let old = row.latest().clone();
        self.unindex(id, &old);
        self.ghosts.retain(|_, at| *at >= now - HISTORY);
        self.ghosts.insert((old.modified, id), now);
        self.archived.insert(id);
        self.push(id, Version { at: now, archived: Some(now), ..old }, now);
        true
    }

    /// Removes a record for good.
    pub fn remove(&mut self, id: u64) {
        if let Some(row) = self.rows.get(&id) {
            let old = row.latest().clone();
            if old.archived.is_none() {
                self.unindex(id, &old);
            }
            self.rows.remove(&id);
            self.archived.remove(&id);
        }
    }

    /// Lets `old` mean `new` from now on.
    pub fn alias(&mut self, old: u64, new: u64) {
        self.aliases.insert(old, new);
    }

    fn push(&mut self, id: u64, version: Version, now: Millis) {
        if let Some(row) = self.rows.get_mut(&id) {
            row.versions.push(Arc::new(version));
            // A version is needed as long as its successor is younger than the history.
            while row.versions.len() > 1 && row.versions[1].at < now - HISTORY {
                row.versions.remove(0);
            }
        }
    }

    fn index(&mut self, id: u64, version: &Version) {
        self.by_modified.insert((version.modified, id));
        for (name, value) in self.unique_values(version) {
            self.unique.entry(name).or_default().insert(value, id);
        }
    }

    fn unindex(&mut self, id: u64, version: &Version) {
        self.by_modified.remove(&(version.modified, id));
        for (name, value) in self.unique_values(version) {
            if let Some(held) = self.unique.get_mut(&name)
                && held.get(&value) == Some(&id)
            {
                held.remove(&value);
            }
        }
    }

    fn unique_values(&self, version: &Version) -> Vec<(String, String)> {
        let mut values: Vec<(String, String)> =
            version.values.iter().filter(|(name, _)| self.is_unique(name)).map(|(name, value)| (name.clone(), key(value))).collect();
        if let Some(more) = version.values.get("hs_additional_emails") {
            values.extend(more.split(';').filter(|email| !email.is_empty()).map(|email| ("email".to_owned(), key(email))));
        }
        values
    }

    /// A value of a record, computed ones included.
    pub fn value(&self, id: u64, row: &Row, version: &Version, name: &str) -> Option<String> {
        if name == self.kind.created() {
            Some(iso(row.created))
        } else if name == self.kind.modified() {
            Some(iso(version.modified))
        } else if name == "hs_object_id" {
            Some(id.to_string())
        } else {
            version.values.get(name).cloned()
        }
    }
}

fn key(value: &str) -> String {
    value.trim().to_lowercase()
}

/// Whether a lifecycle stage would move backwards; clearing is always allowed.
fn goes_back(old: Option<&String>, new: Option<&String>) -> bool {
    let rank = |value: Option<&String>| LIFECYCLE.iter().position(|stage| value.is_some_and(|value| value == stage));
    matches!((rank(old), rank(new)), (Some(old), Some(new)) if new < old)
}

/// Values that HubSpot computes from others.
fn derived(kind: Kind, mut values: Values) -> Values {
    match kind {
        Kind::Contact => {
            let domain = values.get("email").and_then(|email| email.split_once('@')).map(|(_, domain)| domain.to_owned());
            match domain {
                Some(domain) => values.insert("hs_email_domain".into(), domain),
                None => values.remove("hs_email_domain"),
            };
        }
        Kind::Deal => {
            let stage = values.get("dealstage").map(String::as_str).unwrap_or_default();
            let (closed, won) = (matches!(stage, "closedwon" | "closedlost"), stage == "closedwon");
            values.insert("hs_is_closed".into(), closed.to_string());
            values.insert("hs_is_closed_won".into(), won.to_string());
        }
        Kind::Company | Kind::Lead => {}
    }
    values
}

fn difference(old: &Values, new: &Values) -> Changes {
    let mut changed = Changes::new();
    for (name, value) in new {
        if old.get(name) != Some(value) {
            changed.insert(name.clone(), Some(value.clone()));
        }
    }
    for name in old.keys().filter(|name| !new.contains_key(*name)) {
        changed.insert(name.clone(), None);
    }
    changed
}
