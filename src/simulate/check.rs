//! What must hold when everything has come to rest, checked against the systems' own state and the store.

use std::collections::{BTreeMap, BTreeSet};

use leadshare_connectors::sdk::SandboxRecord;
use serde_json::{Value, json};

use super::people::Consent;
use super::world::World;
use crate::decide;
use crate::errors::Result;
use crate::model::ChangeOutcome;
use crate::model::decision::{Decision, Facts};
use crate::people::Keys;
use crate::sealer;
use crate::store::{audit, connections, deliveries, dirty};
use crate::vault::Aad;

/// What a recipient holds too often, by its vendor's guarantee.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, serde::Serialize)]
pub struct Counts {
    /// People.
    pub people: usize,
    /// Shares.
    pub shares: usize,
    /// Records that should have arrived, and did.
    pub arrived: usize,
    /// Withdrawals that ended as they must.
    pub withdrawn: usize,
}

fn text(record: &SandboxRecord, field: &str) -> String {
    record.fields.get(field).and_then(Value::as_str).unwrap_or_default().to_lowercase()
}

impl World<'_> {
    fn broken(&self, invariant: u8, what: impl Into<String>) {
        self.network.inner().breaks(invariant, what);
    }

    /// Checks everything.
    ///
    /// # Errors
    /// The store's.
    pub async fn check(&mut self, logged: &str) -> Result<Counts> {
        let shares = audit::shares(&self.db).await?;
        let mut counts = Counts { people: self.people.len(), shares: shares.len(), ..Counts::default() };
        self.nothing_is_left().await?;
        self.every_record_has_an_outcome().await?;
        self.leads_arrived(&shares, &mut counts).await?;
        self.copies_follow(&shares);
        self.withdrawals_ended(&shares, &mut counts).await?;
        self.one_record_each();
        self.decisions_replay().await?;
        self.ledger_verifies().await?;
        self.nothing_personal_in_clear(logged).await?;
        self.strangers_are_not_kept().await?;
        self.it_is_quiet().await?;
        Ok(counts)
    }

    /// 1: nothing is left undone, and what failed is told.
    async fn nothing_is_left(&self) -> Result<()> {
        for (connection, count, due) in dirty::pending(&self.db).await? {
            self.broken(1, format!("{count} hints of {connection} are left, the first due in {} s", (due - self.clock.now()) / 1_000));
        }
        let alerts: BTreeSet<String> = connections::open_alerts(&self.db).await?.into_iter().map(|a| a.0).collect();
        for (share, way, connection, state, _, attempts, error) in deliveries::unfinished(&self.db).await? {
            if state != "failed" {
                self.broken(1, format!("a delivery {way} of {share} at {connection} is left: {attempts} tries, {error:?}"));
            } else if !alerts.contains(&format!("share:{share}")) {
                self.broken(1, format!("a delivery {way} of {share} at {connection} failed with {error:?}, and nobody was told"));
            }
        }
        for (share, way, state) in audit::intents(&self.db).await? {
            self.broken(1, format!("a write {way} of {share} is {state} for ever"));
        }
        Ok(())
    }

    /// 1: every record of a source was taken in and ended in an outcome with its reason.
    async fn every_record_has_an_outcome(&self) -> Result<()> {
        let changes = audit::changes(&self.db).await?;
        for (connection, id, outcome, reason, _) in &changes {
            if reason.is_empty() {
                self.broken(1, format!("a change of {connection} {id} ended as {outcome} without a reason"));
            }
        }
        let seen: BTreeSet<(&str, &str)> = changes.iter().map(|c| (c.0.as_str(), c.1.as_str())).collect();
        for person in &self.people {
            for held in person.records.iter().filter(|r| r.live) {
                let name = self.stage.shape.actors[held.actor].name;
                if !seen.contains(&(name, held.id.as_str())) {
                    self.broken(1, format!("record {} of {name} (person {}) has no outcome", held.id, person.n));
                }
            }
        }
        Ok(())
    }

    /// 1: who agreed and fits is at the recipient.
    async fn leads_arrived(&self, shares: &[ShareRow], counts: &mut Counts) -> Result<()> {
        let set_aside: BTreeSet<String> =
            audit::changes(&self.db).await?.into_iter().filter(|c| c.3 == "claimed_too_often").map(|c| c.1).collect();
        let in_force = self.network.inner().in_force.clone();
        for person in &self.people {
            // Whoever stopped one source and not another is a case of its own.
            let plain = person.records.iter().all(|r| r.live && !r.stopped && !set_aside.contains(&r.id));
            if !plain {
                continue;
            }
            let ids: Vec<&str> = person.records.iter().map(|r| r.id.as_str()).collect();
            // Whom a partner received goes no further from there, though the same person comes to it, too.
            let received: BTreeSet<&str> = shares.iter().filter(|s| ids.contains(&s.5.as_str())).map(|s| s.2.as_str()).collect();
            let wanted: BTreeSet<usize> = person
                .records
                .iter()
                .filter(|r| r.consent == Consent::Given && !received.contains(self.stage.shape.actors[r.actor].name))
                .flat_map(|r| r.choices.iter().copied().filter(|to| in_force.contains(&(r.actor, *to))).collect::<Vec<_>>())
                .collect();
            for to in wanted.into_iter().filter(|to| !person.unsettled.contains(to)) {
                let actor = &self.stage.shape.actors[to];
                let there = self
                    .records(to)
                    .iter()
                    .any(|r| text(r, actor.email_field()) == person.email && !text(r, actor.marker_field()).is_empty());
                if there {
                    counts.arrived += 1;
                    continue;
                }
                let known: Vec<String> =
                    shares.iter().filter(|s| ids.contains(&s.5.as_str())).map(|s| format!("{}->{} {}", s.1, s.2, s.3)).collect();
                self.broken(1, format!("person {} agreed and is not at {}: records {ids:?}, shares {known:?}", person.n, actor.name));
            }
        }
        Ok(())
    }

    /// 1: what a source last said is what its recipients hold: no edit is lost, and none is overtaken by an earlier one.
    fn copies_follow(&self, shares: &[ShareRow]) {
        let running = |s: &&ShareRow| ["delivered", "acknowledged", "accepted"].contains(&s.3.as_str()) && s.7 == "created";
        let company = |connector: &str| if connector == "hubspot" { "company" } else { "Company" };
        let in_force = self.network.inner().in_force.clone();
        for person in self.people.iter().filter(|p| p.records.len() == 1) {
            let held = &person.records[0];
            let from = &self.stage.shape.actors[held.actor];
            let said = self.records(held.actor).into_iter().find(|r| r.id == held.id && held.live && !held.stopped);
            let Some(said) = said.filter(|_| from.connector != "tryton") else { continue };
            for share in shares.iter().filter(|s| s.5 == held.id).filter(running) {
                let Some(to) = self.stage.shape.actors.iter().position(|a| a.name == share.2) else { continue };
                let actor = &self.stage.shape.actors[to];
                if actor.connector == "tryton" || person.unsettled.contains(&to) || !in_force.contains(&(held.actor, to)) {
                    continue;
                }
                let Some(there) = self.records(to).into_iter().find(|r| r.id == share.6) else { continue };
                let (wanted, held) = (text(&said, company(from.connector)), text(&there, company(actor.connector)));
                if wanted != held {
                    self.broken(
                        1,
                        format!("{} says that person {} is of {wanted:?}, and {} holds {held:?}", from.name, person.n, actor.name),
                    );
                }
            }
        }
    }

    /// 2: who stopped it can no longer be reached through what we wrote.
    async fn withdrawals_ended(&self, shares: &[ShareRow], counts: &mut Counts) -> Result<()> {
        let by_hand: BTreeSet<String> =
            connections::open_alerts(&self.db).await?.into_iter().filter(|a| a.1 == "share.take_back_by_hand").map(|a| a.0).collect();
        for person in self.people.iter().filter(|p| !p.records.is_empty() && p.records.iter().all(|r| r.stopped && r.live)) {
            for (to, actor) in self.stage.shape.actors.iter().enumerate() {
                if person.unsettled.contains(&to) || person.records.iter().any(|r| r.actor == to) {
                    continue;
                }
                let reached = self.records(to).into_iter().find(|r| r.made_by_api && text(r, actor.email_field()) == person.email);
                let Some(record) = reached else {
                    counts.withdrawn += 1;
                    continue;
                };
                let told = shares.iter().any(|s| s.2 == actor.name && s.6 == record.id && by_hand.contains(&format!("share:{}", s.0)));
                if !told {
                    self.broken(2, format!("person {} stopped it and is still at {} (record {})", person.n, actor.name, record.id));
                }
            }
        }
        Ok(())
    }

    /// 3: one person is one record at a recipient.
    fn one_record_each(&self) {
        for (to, actor) in self.stage.shape.actors.iter().enumerate().filter(|(_, a)| a.role.receives()) {
            let records = self.records(to);
            let mut by_marker = BTreeMap::<String, usize>::new();
            for record in &records {
                let marker = text(record, actor.marker_field());
                if marker.starts_with("ls1-") {
                    *by_marker.entry(marker).or_default() += 1;
                }
            }
            for (marker, count) in by_marker.into_iter().filter(|(_, count)| *count > 1) {
                self.broken(3, format!("{} has {count} records under the marker {marker}", actor.name));
            }
            for person in &self.people {
                let ours: Vec<&SandboxRecord> =
                    records.iter().filter(|r| r.made_by_api && text(r, actor.email_field()) == person.email).collect();
                let merged = person.unsettled.contains(&to);
                if ours.len() > 1 && !merged {
                    self.broken(3, format!("{} has person {} {} times", actor.name, person.n, ours.len()));
                }
            }
        }
    }

    /// 5: every decision can be made again from what is kept of it.
    async fn decisions_replay(&self) -> Result<()> {
        let rows = audit::decisions(&self.db).await?;
        let mut tx = self.db.begin().await?;
        let keys = Keys::load(&mut tx, &self.ctx.vault, rows.iter().map(|r| r.1.as_str())).await?;
        tx.commit().await?;
        for (id, person, outcome, inputs, body) in &rows {
            let Some(inputs) = inputs else {
                self.broken(5, format!("decision {id} has no inputs, and nobody was erased"));
                continue;
            };
            let facts: Option<Facts> = keys.open(person, Aad::new("decisions", id, "inputs"), inputs)?;
            let stored: Option<Decision> = serde_json::from_str(body).ok();
            let (Some(facts), Some(stored)) = (facts, stored) else {
                self.broken(5, format!("decision {id} cannot be read"));
                continue;
            };
            let Some(program) = self.programs.get(&stored.program) else {
                self.broken(5, format!("decision {id} names a program that was never in force"));
                continue;
            };
            let mut again = decide::decide(&decide::Inputs { program, facts: &facts });
            again.verdicts.iter_mut().for_each(|v| v.consents.clear());
            // Where the recipient had the person already, keeping found that out, and says so.
            let found_out =
                matches!(stored.outcome, ChangeOutcome::Duplicate | ChangeOutcome::Held) && again.outcome == ChangeOutcome::Shared;
            let same = json!(again.verdicts) == json!(stored.verdicts) && (again.outcome == stored.outcome || found_out);
            if !same || stored.outcome.word() != *outcome {
                self.broken(5, format!("decision {id} was {outcome} and is {} now", again.outcome.word()));
            }
        }
        Ok(())
    }

    /// 9: the ledger is whole, against checkpoints kept outside too.
    async fn ledger_verifies(&self) -> Result<()> {
        let report = sealer::verify(&self.db, &self.checkpoints, &[self.signer.public()], |_| ()).await?;
        if !report.ok() {
            self.broken(9, format!("the ledger does not verify: {report:?}").chars().take(400).collect::<String>());
        }
        Ok(())
    }

    /// 13: nothing of a person and no secret in what is kept, said or logged in clear.
    async fn nothing_personal_in_clear(&self, logged: &str) -> Result<()> {
        let mut words: Vec<String> = self.people.iter().flat_map(super::people::Person::personal).collect();
        words.extend(self.network.inner().systems.iter().flat_map(|s| s.tokens.iter().map(|t| t.to_lowercase())));
        let mut places = audit::words(&self.db).await?;
        places.push(("logs".into(), logged.to_owned()));
        places.extend(self.errors.iter().map(|e| ("errors".to_owned(), e.clone())));
        for (place, text) in places {
            let text = text.to_lowercase();
            if let Some(word) = words.iter().find(|word| text.contains(*word)) {
                let at = text.find(word).unwrap_or_default();
                let around: String = text.chars().skip(at.saturating_sub(60)).take(150).collect();
                self.broken(13, format!("{place} hold {:?}: {around}", word.chars().take(40).collect::<String>()));
            }
        }
        Ok(())
    }

    /// 14: nothing is kept of records that recipients' own people made.
    async fn strangers_are_not_kept(&self) -> Result<()> {
        let known: BTreeSet<(String, String)> = audit::known(&self.db).await?.into_iter().collect();
        let landed: BTreeSet<(String, String)> = audit::shares(&self.db).await?.into_iter().map(|s| (s.2, s.6)).collect();
        for (i, id) in &self.strangers {
            let actor = &self.stage.shape.actors[*i];
            let key = (actor.name.to_owned(), id.clone());
            if !actor.role.shares() && known.contains(&key) && !landed.contains(&key) {
                self.broken(14, format!("record {id} of {} is not ours, and something is kept of it", actor.name));
            }
        }
        Ok(())
    }

    /// 8: when nothing happens any more, nothing is written any more.
    async fn it_is_quiet(&mut self) -> Result<()> {
        let writes = |world: &Self| world.network.inner().systems.iter().map(|s| s.writes).collect::<Vec<_>>();
        let before = writes(self);
        let until = self.clock.now() + 3 * self.stage.poll_every + 60_000;
        self.pass_until(until).await?;
        let after = writes(self);
        if before != after {
            self.broken(8, format!("nothing happened, and the systems were written to: {before:?}, then {after:?}"));
        }
        Ok(())
    }
}

type ShareRow = (String, String, String, String, String, String, String, String);
