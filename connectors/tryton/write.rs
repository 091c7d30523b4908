//! Writing one lead: the party with its mechanisms and address in one request, then the opportunity.
//!
//! The party's code is our marker, and Tryton keeps codes unique: the person can never be there
//! twice. An opportunity has nothing unique; its reference is our marker, and we look before we
//! create.

use std::collections::{BTreeMap, VecDeque};

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::fields::{self, Wanted, refused};
use super::read::first_id;
use super::script::{Out, Script};
use super::wire::{OPPORTUNITY, PARTY, Rest, answer, id_of, in_context, refusal, rows};
use crate::sdk::{Effect, Heard, Item, ItemFault, ItemKey, ItemResult, Made, Output, Request, Saved, Step};

/// What of a write survives a crash: the ids learnt so far.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Learnt {
    /// The party that we made.
    pub party: Option<i64>,
    /// The opportunity that we made.
    pub opportunity: Option<i64>,
}

/// What an ask was for.
#[derive(Debug, Clone, Copy)]
pub enum Want {
    /// Opportunities with our marker.
    Opportunities,
    /// The party with our marker.
    Party,
    /// The user's company and employee.
    Preferences,
    /// The country of a code.
    Country,
    /// The lead as it is.
    Lead,
    /// The new party.
    NewParty,
    /// The new opportunity.
    NewOpportunity,
    /// A change to the party.
    PartyChange,
    /// A change to the opportunity or its state.
    Change,
}

/// One write.
pub struct Write {
    rest: Rest,
    item: Item,
    wanted: Wanted,
    learnt: Learnt,
    /// Company and employee, without which Tryton has no defaults for an opportunity.
    context: Value,
    /// Which of them was there before, so that its fields must be compared.
    found: Learnt,
    /// Whether creating the party was answered by "not unique" once.
    lost_race: bool,
    /// Changes still to be sent.
    plan: VecDeque<(Want, Request, Effect)>,
    changed: bool,
}

impl Write {
    /// A write of one item, from its beginning or from what was saved.
    pub fn new(rest: Rest, item: Item, learnt: Learnt) -> Self {
        Self {
            rest,
            item,
            wanted: Wanted::default(),
            learnt,
            context: json!({}),
            found: learnt,
            lost_race: false,
            plan: VecDeque::new(),
            changed: false,
        }
    }

    fn keys(&self) -> Vec<ItemKey> {
        vec![self.item.key().clone()]
    }

    fn settle(&self, result: ItemResult, out: &mut Out<Want>) {
        out.push(Step::Item(self.item.key().clone(), result));
        out.done(Output::Done);
    }

    fn refuse(&self, fault: ItemFault, out: &mut Out<Want>) {
        self.settle(ItemResult::Refused(fault), out);
    }

    /// Keeps the ids learnt, before anything else is written.
    fn save(&self, out: &mut Out<Want>) {
        out.push(Step::Save(Saved(serde_json::to_value(self.learnt).unwrap_or(Value::Null))));
    }

    fn names(&self) -> Vec<String> {
        self.item.fields().keys().cloned().chain(["state".to_owned()]).collect()
    }

    fn find_party(&self, marker: &str, out: &mut Out<Want>) {
        // The code is unique over inactive parties too.
        let domain = json!([["code", "=", marker], ["active", "in", [true, false]]]);
        out.ask(Want::Party, self.rest.search(PARTY, &domain, &["id".to_owned()], 1), Effect::Read);
    }

    fn read_lead(&self, id: i64, out: &mut Out<Want>) {
        let domain = json!([["id", "=", id]]);
        out.ask(Want::Lead, self.rest.search(OPPORTUNITY, &domain, &fields::paths(&self.names()), 1), Effect::Read);
    }

    /// Goes on once everything that had to be looked up is known.
    fn looked_up(&self, out: &mut Out<Want>) {
        if let Some(id) = self.learnt.opportunity {
            return self.read_lead(id, out);
        }
        let Item::Create { marker, .. } = &self.item else { return };
        if self.context.get("company").is_none() {
            let fault = ItemFault { code: "no_company".into(), fields: vec!["company".into()], passing: false, config: true };
            return self.refuse(fault, out);
        }
        if let Some(party) = self.learnt.party {
            let mut body = self.wanted.opportunity.clone();
            body.insert("party".into(), json!(party));
            body.insert("reference".into(), json!(marker));
            let request = self.rest.create(OPPORTUNITY, &body, &fields::paths(&self.names()));
            out.ask(Want::NewOpportunity, in_context(request, &self.context), Effect::Once(self.keys()));
        } else {
            let request = self.rest.create(PARTY, &self.wanted.new_party(marker), &["id".to_owned()]);
            out.ask(Want::NewParty, in_context(request, &self.context), Effect::Keyed(self.keys()));
        }
    }

    /// Plans the changes that bring the lead to what is wanted: party, opportunity, state.
    fn plan(&mut self, row: &Value, out: &mut Out<Want>) {
        let Some(id) = id_of(row) else { return self.settle(ItemResult::Gone, out) };
        if self.found != Learnt::default() {
            let (change, adds) = self.wanted.change_party(row);
            if !change.is_empty() {
                let Some(party) = row.get("party").and_then(id_of) else {
                    return self.refuse(refused("party_missing", "party"), out);
                };
                let effect = if adds { Effect::Once(self.keys()) } else { Effect::Keyed(self.keys()) };
                self.plan.push_back((Want::PartyChange, self.rest.update(PARTY, party, &change), effect));
            }
        }
        if self.found.opportunity.is_some() {
            let change = self.wanted.change_opportunity(row);
            if !change.is_empty() {
                self.plan.push_back((Want::Change, self.rest.update(OPPORTUNITY, id, &change), Effect::Keyed(self.keys())));
            }
        }
        if let Some(button) = self.wanted.press(row) {
            self.plan.push_back((Want::Change, self.rest.press(OPPORTUNITY, id, button), Effect::Keyed(self.keys())));
        }
        self.next_change(row, out);
    }

    fn next_change(&mut self, row: &Value, out: &mut Out<Want>) {
        if let Some((want, request, effect)) = self.plan.pop_front() {
            self.changed = true;
            return out.ask(want, request, effect);
        }
        match self.learnt.opportunity {
            Some(id) if self.changed => self.read_lead(id, out),
            _ => self.written(row, out),
        }
    }

    fn written(&self, row: &Value, out: &mut Out<Want>) {
        let Some(id) = id_of(row) else { return self.settle(ItemResult::Gone, out) };
        let names: Vec<String> = self.item.fields().keys().cloned().collect();
        let made = if matches!(self.item, Item::Create { .. }) { Made::Created } else { Made::Unknown };
        self.settle(ItemResult::Written { id: id.to_string(), made, shadow: fields::flatten(row, &names) }, out);
    }

    /// The answer to a write, or `None` when the item is settled by what came instead.
    fn accepted(&self, what: Heard<'_>, out: &mut Out<Want>) -> Option<Value> {
        match what {
            Heard::Answer(response) if response.is_success() => {
                return Some(response.value().unwrap_or(Value::Null));
            }
            Heard::Answer(response) if response.status == 404 => self.settle(ItemResult::Gone, out),
            Heard::Answer(response) => self.refuse(refusal(response), out),
            Heard::NotSent(_) => {
                self.refuse(ItemFault { code: "not_sent".into(), fields: vec![], passing: true, config: false }, out);
            }
            Heard::Unknown => self.settle(ItemResult::InDoubt, out),
        }
        None
    }
}

impl Script for Write {
    type Want = Want;

    fn start(&mut self, out: &mut Out<Want>) {
        match Wanted::sort(self.item.fields()) {
            Ok(wanted) => self.wanted = wanted,
            Err(fault) => return self.refuse(fault, out),
        }
        if let Some(code) = self.wanted.country() {
            let domain = json!([["code", "=", code]]);
            out.ask(Want::Country, self.rest.search("country.country", &domain, &["id".to_owned()], 1), Effect::Read);
        }
        match &self.item {
            Item::Update { id, .. } => {
                let Ok(id) = id.parse() else { return self.settle(ItemResult::Gone, out) };
                self.learnt.opportunity = Some(id);
                self.found = self.learnt;
            }
            Item::Create { marker, .. } if self.learnt.opportunity.is_none() => {
                let domain = json!([["reference", "=", marker]]);
                out.ask(Want::Opportunities, self.rest.search(OPPORTUNITY, &domain, &["id".to_owned()], 1), Effect::Read);
                out.ask(Want::Preferences, self.rest.call("res.user", "get_preferences", &json!({"context_only": true})), Effect::Read);
                // Also when we remember having made it: somebody may have taken it away since.
                self.find_party(marker, out);
            }
            Item::Create { .. } => {}
        }
        if out.quiet() {
            self.looked_up(out);
        }
    }

    fn heard(&mut self, want: Want, what: Heard<'_>, out: &mut Out<Want>) {
        let looked = match want {
            Want::Opportunities => rows("looking for our marker", what).map(|rows| {
                self.learnt.opportunity = first_id(&rows);
                self.found.opportunity = self.learnt.opportunity;
            }),
            Want::Party => rows("looking for our marker", what).map(|rows| {
                self.learnt.party = first_id(&rows);
                self.found.party = self.learnt.party;
            }),
            Want::Preferences => answer("reading the user's company", what).map(|preferences| {
                let known = ["company", "employee"].iter().filter_map(|n| Some((*n, preferences.get(n)?.as_i64()?)));
                self.context = json!(known.collect::<BTreeMap<_, _>>());
            }),
            Want::Country => match rows("looking for a country", what) {
                Ok(rows) => match first_id(&rows) {
                    Some(id) => {
                        self.wanted.resolve_country(id);
                        Ok(())
                    }
                    None => return self.refuse(ItemFault { config: true, ..refused("unknown_country", "party.country") }, out),
                },
                Err(fault) => Err(fault),
            },
            Want::Lead => match rows("reading the lead", what) {
                Ok(rows) => {
                    let row = rows.into_iter().next().unwrap_or(Value::Null);
                    return if self.changed { self.written(&row, out) } else { self.plan(&row, out) };
                }
                Err(fault) => Err(fault),
            },
            Want::NewParty => {
                if let Heard::Answer(response) = what
                    && !self.lost_race
                    && refusal(response).code == "not_unique"
                    && let Item::Create { marker, .. } = &self.item
                {
                    // Somebody (or our own request, sent again) was faster: it is there.
                    self.lost_race = true;
                    return self.find_party(marker, out);
                }
                let Some(row) = self.accepted(what, out) else { return };
                self.learnt.party = id_of(&row);
                self.save(out);
                Ok(())
            }
            Want::NewOpportunity => {
                let Some(row) = self.accepted(what, out) else { return };
                // An answer without a readable body: it was made, but not said as which.
                let Some(id) = id_of(&row) else { return self.settle(ItemResult::InDoubt, out) };
                self.learnt.opportunity = Some(id);
                self.save(out);
                return self.plan(&row, out);
            }
            Want::PartyChange | Want::Change => {
                // Tryton does not find a party that was set aside.
                if matches!((want, what), (Want::PartyChange, Heard::Answer(response)) if response.status == 404) {
                    return self.refuse(refused("party_missing", "party"), out);
                }
                if self.accepted(what, out).is_none() {
                    return;
                }
                return self.next_change(&Value::Null, out);
            }
        };
        match looked {
            Ok(()) if out.quiet() => self.looked_up(out),
            Ok(()) => {}
            Err(fault) => out.fail(fault),
        }
    }
}
