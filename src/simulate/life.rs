//! What people do in a simulation: enter, edit, merge and delete records, change their minds, work on what they received,
//! edit the program's files. And what befalls the vendors: expired tokens, used-up quotas, clocks that go wrong.

use std::collections::BTreeSet;

use leadshare_connectors::sdk::{Act, Fault, Fields, SandboxRecord};
use serde_json::{Value, json};

use super::people::{Consent, Held, Person};
use super::world::World;
use crate::clock::{MINUTE, Millis, SECOND, rfc3339};
use crate::errors::Result;

/// What can happen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Event {
    Again,
    Edit,
    Stop,
    Unchoose,
    Delete,
    Merge,
    Status,
    DeleteThere,
    MergeThere,
    Stranger,
    Tick,
    BrokenFile,
    Operations,
    Unsigned,
    NewTerms,
    EndAgreement,
    MappingEdit,
    ExpireTokens,
    Revoke,
    Quota,
    Lag,
    VendorClock,
    OurClock,
    Mend,
}

const EVENTS: &[(Event, u32)] = &[
    (Event::Again, 8),
    (Event::Edit, 14),
    (Event::Stop, 8),
    (Event::Unchoose, 4),
    (Event::Delete, 3),
    (Event::Merge, 2),
    (Event::Status, 12),
    (Event::DeleteThere, 3),
    (Event::MergeThere, 2),
    (Event::Stranger, 4),
    (Event::Tick, 4),
    (Event::BrokenFile, 4),
    (Event::Operations, 3),
    (Event::Unsigned, 3),
    (Event::NewTerms, 2),
    (Event::EndAgreement, 2),
    (Event::MappingEdit, 3),
    (Event::ExpireTokens, 4),
    (Event::Revoke, 2),
    (Event::Quota, 3),
    (Event::Lag, 4),
    (Event::VendorClock, 3),
    (Event::OurClock, 3),
    (Event::Mend, 6),
];

impl World<'_> {
    /// Lives through all of it: so many leads, over so much time.
    ///
    /// # Errors
    /// The store's; when a file cannot be written.
    pub async fn live_through(&mut self, leads: usize, time: Millis) -> Result<()> {
        let begin = self.clock.now();
        let total = leads + leads * 2 + 4;
        let mut moments: Vec<Millis> = (0..total).map(|_| self.rng.between(0, time)).collect();
        moments.sort_unstable();
        // Some things happen in the same breath.
        for i in 1..moments.len() {
            if self.rng.chance(250) {
                moments[i] = moments[i - 1] + self.rng.between(0, 5 * SECOND);
            }
        }
        moments.sort_unstable();
        let mut left = leads;
        for (i, moment) in moments.iter().enumerate() {
            self.pass_until(begin + moment).await?;
            let enter = left > 0 && (i == 0 || self.rng.below(total - i) < left + 1);
            if enter {
                left -= 1;
                self.enter();
            } else {
                let sum: u32 = EVENTS.iter().map(|(_, weight)| weight).sum();
                let mut roll = self.rng.below(sum as usize) as u32;
                let event = EVENTS.iter().find(|(_, weight)| {
                    let hit = roll < *weight;
                    roll = roll.saturating_sub(*weight);
                    hit
                });
                let event = event.map_or(Event::Edit, |(event, _)| *event);
                self.happens(event).await?;
            }
        }
        self.pass_until(begin + time).await
    }

    fn act(&mut self, system: usize, act: Act) -> Option<String> {
        let time = self.time_of(system);
        let what = format!("{act:?}");
        let done = self.network.inner().systems[system].sandbox.act(act, time);
        let name = self.stage.shape.actors[system].name;
        self.note(&format!("at {name}: {} -> {done:?}", what.chars().take(200).collect::<String>()));
        done.ok()
    }

    /// The records of a system.
    pub fn records(&self, system: usize) -> Vec<SandboxRecord> {
        let inner = self.network.inner();
        inner.systems[system].sandbox.records(inner.systems[system].actor.object())
    }

    fn object(&self, system: usize) -> String {
        self.stage.shape.actors[system].object().to_owned()
    }

    /// The sources that somebody can be entered at.
    fn sources(&self) -> Vec<usize> {
        let edges = &self.stage.shape.edges;
        (0..self.stage.shape.actors.len()).filter(|i| edges.iter().any(|(from, _)| from == i)).collect()
    }

    /// Somebody new comes to a source.
    fn enter(&mut self) {
        let sources = self.sources();
        let Some(source) = self.rng.pick(&sources).copied() else { return };
        let n = self.people.len();
        let person = Person::new(n);
        self.network.inner().people.push(person.watched());
        self.people.push(person);
        for to in self.stage.shape.recipients(source) {
            // Some are known there already.
            if self.rng.chance(150) {
                let actor = self.stage.shape.actors[to].clone();
                let email = &self.people[n].email;
                let known = match actor.connector {
                    "hubspot" => json!({ "email": email, "firstname": "Known" }),
                    "salesforce" => json!({ "Email": email, "LastName": "Known Already", "Company": "Somewhere" }),
                    _ => continue,
                };
                let fields: Fields = serde_json::from_value(known).unwrap_or_default();
                if let Some(id) = self.act(to, Act::Create { object: self.object(to), fields }) {
                    self.network.inner().people[n].known_at.insert(to);
                    self.strangers.push((to, id));
                }
            }
        }
        self.enter_at(n, source);
    }

    fn enter_at(&mut self, n: usize, source: usize) {
        let recipients = self.stage.shape.recipients(source);
        let mut choices: BTreeSet<usize> = recipients.iter().copied().filter(|_| self.rng.chance(600)).collect();
        if choices.is_empty() {
            choices.extend(self.rng.pick(&recipients));
        }
        let consent = match self.rng.below(16) {
            0 => Consent::None,
            1 => Consent::Nobody,
            2 => Consent::Imported,
            3 => Consent::OtherNotice,
            _ => Consent::Given,
        };
        let actor = self.stage.shape.actors[source].clone();
        let words: Vec<&str> = choices.iter().map(|i| self.stage.shape.actors[*i].word).collect();
        let email = self.people[n].spelled(&mut self.rng);
        let fields = self.people[n].record(&actor, &words, consent, &email, self.time_of(source));
        let Some(id) = self.act(source, Act::Create { object: self.object(source), fields }) else { return };
        if consent == Consent::Given {
            let mut inner = self.network.inner();
            inner.people[n].agreed.extend(choices.iter().map(|to| (source, *to)));
        }
        self.people[n].records.push(Held { actor: source, id, choices, consent, stopped: false, live: true });
    }

    /// One of the records that are still as they should be: person and place in its list.
    fn any_record(&mut self) -> Option<(usize, usize)> {
        let all: Vec<(usize, usize)> = self
            .people
            .iter()
            .enumerate()
            .flat_map(|(n, p)| p.records.iter().enumerate().filter(|(_, r)| r.live).map(move |(k, _)| (n, k)))
            .collect();
        self.rng.pick(&all).copied()
    }

    /// One of our records at a recipient: person, system, record.
    fn any_delivered(&mut self) -> Option<(usize, usize, SandboxRecord)> {
        let mut all = Vec::new();
        for (i, actor) in self.stage.shape.actors.iter().enumerate().filter(|(_, a)| a.role.receives()) {
            for record in self.records(i) {
                let word = |field: &str| record.fields.get(field).and_then(Value::as_str).unwrap_or_default().to_lowercase();
                if word(actor.marker_field()).is_empty() {
                    continue;
                }
                let email = word(actor.email_field());
                if let Some(n) = self.people.iter().position(|p| p.email == email) {
                    all.push((n, i, record));
                }
            }
        }
        self.rng.pick(&all).cloned()
    }

    fn update(&mut self, system: usize, id: &str, fields: &Value) -> bool {
        let fields = serde_json::from_value(fields.clone()).unwrap_or_default();
        self.act(system, Act::Update { object: self.object(system), id: id.to_owned(), fields }).is_some()
    }

    async fn happens(&mut self, event: Event) -> Result<()> {
        match event {
            Event::Again | Event::Edit | Event::Stop | Event::Unchoose | Event::Delete | Event::Merge => self.at_a_source(event),
            Event::Status | Event::DeleteThere | Event::MergeThere | Event::Stranger | Event::Tick => self.at_a_recipient(event),
            Event::BrokenFile | Event::Operations | Event::Unsigned | Event::NewTerms | Event::EndAgreement | Event::MappingEdit => {
                self.in_the_files(event).await?;
            }
            Event::Mend => self.people_mend().await?,
            _ => self.at_a_vendor(event),
        }
        Ok(())
    }

    fn at_a_source(&mut self, event: Event) {
        let Some((n, k)) = self.any_record() else { return };
        let held = self.people[n].records[k].clone();
        let connector = self.stage.shape.actors[held.actor].connector;
        match event {
            Event::Again => {
                let sources = self.sources();
                let Some(source) = self.rng.pick(&sources).copied() else { return };
                // A HubSpot account holds an address once.
                if self.people[n].records.iter().any(|r| r.actor == source) && self.stage.shape.actors[source].connector == "hubspot" {
                    return;
                }
                self.enter_at(n, source);
            }
            Event::Edit => {
                let email = self.people[n].spelled(&mut self.rng);
                let number = self.rng.below(1_000_000);
                let fields = match (connector, self.rng.below(3)) {
                    ("hubspot", 0) => json!({ "email": email }),
                    ("hubspot", 1) => json!({ "firstname": format!("Fay{number}") }),
                    ("hubspot", _) => json!({ "company": format!("Firm {number}") }),
                    ("salesforce", 0) => json!({ "Email": email }),
                    ("salesforce", 1) => json!({ "FirstName": format!("Fay{number}") }),
                    ("salesforce", _) => json!({ "Company": format!("Firm {number}") }),
                    (_, 0) => json!({ "party.email": email }),
                    _ => json!({ "party.name": format!("Fay{number} {}", self.people[n].last) }),
                };
                self.update(held.actor, &held.id, &fields);
            }
            Event::Stop => {
                let fields = match connector {
                    "hubspot" => json!({ "ls_stop": "yes" }),
                    "salesforce" => json!({ "Stop__c": "yes" }),
                    _ => json!({ "state": "cancelled" }),
                };
                if self.update(held.actor, &held.id, &fields) {
                    self.people[n].records[k].stopped = true;
                }
            }
            Event::Unchoose => {
                let fields = match connector {
                    "hubspot" => json!({ "ls_partner_choice": "nobody" }),
                    "salesforce" => json!({ "Partner_Choice__c": "None" }),
                    _ => return,
                };
                if self.update(held.actor, &held.id, &fields) {
                    self.people[n].records[k].stopped = true;
                }
            }
            Event::Delete => {
                if self.act(held.actor, Act::Delete { object: self.object(held.actor), id: held.id }).is_some() {
                    self.people[n].records[k].live = false;
                }
            }
            _ => {
                let Some((m, l)) = self.any_record() else { return };
                let other = self.people[m].records[l].clone();
                if other.actor != held.actor || other.id == held.id {
                    return;
                }
                if self.act(held.actor, Act::Merge { object: self.object(held.actor), winner: held.id, loser: other.id }).is_some() {
                    // The one that stays holds something of both.
                    self.people[n].records[k].live = false;
                    self.people[m].records[l].live = false;
                }
            }
        }
    }

    fn at_a_recipient(&mut self, event: Event) {
        if event == Event::Stranger {
            let receiving: Vec<usize> = (0..self.stage.shape.actors.len()).filter(|i| !self.stage.shape.actors[*i].role.shares()).collect();
            let Some(i) = self.rng.pick(&receiving).copied() else { return };
            let n = self.rng.below(10_000);
            let fields = match self.stage.shape.actors[i].connector {
                "hubspot" => json!({ "email": format!("own{n}@own.example"), "firstname": "Own" }),
                "salesforce" => json!({ "Email": format!("own{n}@own.example"), "LastName": "Own", "Company": "Own" }),
                _ => json!({ "party.name": "Own Person", "party.email": format!("own{n}@own.example") }),
            };
            let fields = serde_json::from_value(fields).unwrap_or_default();
            if let Some(id) = self.act(i, Act::Create { object: self.object(i), fields }) {
                self.strangers.push((i, id));
            }
            return;
        }
        let Some((n, i, record)) = self.any_delivered() else { return };
        let connector = self.stage.shape.actors[i].connector;
        match event {
            Event::Status => {
                let fields = match (connector, self.rng.below(2)) {
                    ("hubspot", 0) => json!({ "hs_lead_status": "CONNECTED" }),
                    ("hubspot", _) => json!({ "hs_lead_status": "UNQUALIFIED" }),
                    ("salesforce", 0) => json!({ "Status": "Working - Contacted" }),
                    ("salesforce", _) => json!({ "Status": "Closed - Not Converted" }),
                    (_, 0) => json!({ "state": "opportunity" }),
                    _ => json!({ "state": "lost" }),
                };
                self.update(i, &record.id, &fields);
            }
            Event::DeleteThere => {
                // Ours until now, even if somebody there had entered it before: what was kept of that time stays.
                self.strangers.retain(|(system, id)| (*system, id) != (i, &record.id));
                if self.act(i, Act::Delete { object: self.object(i), id: record.id }).is_some() {
                    self.people[n].unsettled.insert(i);
                }
            }
            Event::MergeThere => {
                let others: Vec<SandboxRecord> = self.records(i).into_iter().filter(|r| r.id != record.id).collect();
                let Some(other) = self.rng.pick(&others).cloned() else { return };
                let email = |r: &SandboxRecord| {
                    r.fields.get(self.stage.shape.actors[i].email_field()).and_then(Value::as_str).map(str::to_lowercase)
                };
                let touched: Vec<usize> =
                    self.people.iter().filter(|p| [email(&record), email(&other)].contains(&Some(p.email.clone()))).map(|p| p.n).collect();
                // Ours until now, even if somebody there had entered it before.
                let marker = self.stage.shape.actors[i].marker_field();
                let ours = [&record, &other].map(|r| (i, r.id.clone(), r.fields.get(marker).and_then(Value::as_str).is_some()));
                self.strangers.retain(|(system, id)| !ours.contains(&(*system, id.clone(), true)));
                let (winner, loser) = if self.rng.chance(500) { (record.id, other.id) } else { (other.id, record.id) };
                if self.act(i, Act::Merge { object: self.object(i), winner, loser }).is_some() {
                    for n in touched {
                        self.people[n].unsettled.insert(i);
                        // A record of a source may be one of them.
                        for held in self.people[n].records.iter_mut().filter(|r| r.actor == i) {
                            held.live = false;
                        }
                    }
                }
            }
            _ => {
                // Somebody there ticks that others may have the lead, too: it is not theirs to give.
                let words: Vec<&str> = self.stage.shape.recipients(i).iter().map(|to| self.stage.shape.actors[*to].word).collect();
                if words.is_empty() || self.people[n].records.iter().any(|r| r.actor == i) {
                    return;
                }
                let (actor, now) = (self.stage.shape.actors[i].clone(), self.time_of(i));
                let mut fields = self.people[n].record(&actor, &words, Consent::Given, &self.people[n].email, now);
                let mine = |name: &String| {
                    ["ls_", "Partner_Choice", "Notice__c", "Consent", "Last_Form", "recent_", "start_date", "description", "comment"]
                        .iter()
                        .any(|start| name.starts_with(start))
                };
                fields.retain(|name, _| mine(name));
                self.update(i, &record.id, &Value::Object(fields.into_iter().collect()));
            }
        }
    }

    fn at_a_vendor(&mut self, event: Event) {
        let i = self.rng.below(self.stage.shape.actors.len());
        let (now, roll) = (self.time_of(i), self.rng.between(0, 1_000));
        let our = self.clock.now();
        let name = self.stage.shape.actors[i].name;
        {
            let mut inner = self.network.inner();
            let system = &mut inner.systems[i];
            match event {
                Event::ExpireTokens => system.sandbox.inject(Fault::ExpireAccessTokens),
                Event::Revoke if system.actor.connector != "tryton" => {
                    system.sandbox.inject(Fault::RevokeGrants);
                    system.dead = true;
                }
                Event::Quota if system.actor.connector != "tryton" => {
                    system.quota_until = now + 10 * MINUTE + roll * 5 * SECOND;
                    let until = system.quota_until;
                    system.sandbox.inject(Fault::DailyQuota { until });
                }
                Event::Lag if roll < 500 => system.sandbox.inject(Fault::IndexLag { ms: roll * 60 }),
                Event::Lag => system.sandbox.inject(Fault::CommitLag { ms: (roll - 500) * 40 }),
                // Forward only: simulators do not go back in time.
                Event::VendorClock => system.offset += roll * 30,
                Event::OurClock if inner.skew < 2 * MINUTE => {
                    inner.skew += roll * 60;
                    self.clock.advance(roll * 60);
                    inner.systems.iter_mut().for_each(super::network::System::new_window);
                }
                _ => return,
            }
        }
        self.note(&format!("{event:?} at {name}, {roll}, our clock {}", rfc3339(our)));
    }
}
