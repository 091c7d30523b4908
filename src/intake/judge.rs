//! Decides about the leads of a batch beside the writer, on what stands then; what it stood on is proven again in the
//! transaction that keeps it.

use std::collections::{BTreeMap, BTreeSet};

use leadshare_connectors::sdk::Record;
use serde_json::{Value, json};

use super::keep::{Sorted, Sorting, acted};
use super::new_shares::{NewRows, NewShares};
use super::noes::Again;
use super::waits::{self, Renewed, Waited};
use super::wordings::Wordings;
use crate::change::Change;
use crate::clock::Millis;
use crate::context::Context;
use crate::decide;
use crate::entries::Entries;
use crate::errors::{Error, Result};
use crate::http::line::Line;
use crate::mapping::Mapping;
use crate::model::decision::{Decision, Verdict, VerdictOutcome};
use crate::model::{ChangeOutcome, Lead};
use crate::people::{self, Hashes, Keys};
use crate::rules::Rules;
use crate::shares::stand;
use crate::standing::Stands;
use crate::store::dirty::Dirty;
use crate::store::shares::{self, Share};
use crate::store::{Arg, Rows, Tx, leads, people as people_store, verdicts};
use crate::turns::let_others;
use crate::vault::Aad;

/// A lead that was read.
pub(super) struct Incoming<'a> {
    hint: &'a Dirty,
    record: &'a Record,
    pub(super) lead: Lead,
    pub(super) hashes: Hashes,
    content: String,
    pub(super) id: String,
    pub(super) person: String,
    is_new: bool,
    waited: Waited,
    /// Whether it is as it was when it was last decided about, and is looked at again for what it waited for.
    same: bool,
    /// What was decided then.
    before: Option<Decision>,
}

impl Incoming<'_> {
    /// When the person last did something that the record tells of.
    pub(super) fn acted(&self) -> Option<Millis> {
        acted(self.record, &self.lead)
    }
}

/// A batch that was judged, and what it was judged on.
pub struct Judged<'a> {
    /// What is no lead, or not to be decided about.
    pub(super) others: Vec<Sorting<'a>>,
    incoming: Vec<Incoming<'a>>,
    whose: Whose,
    stands: Stands,
    /// Shares that run, by lead.
    running: BTreeMap<String, Vec<Share>>,
    leads: Arg,
    made: Made,
}

/// The people behind the leads.
#[derive(Default)]
struct Whose {
    keys: Keys,
    /// Of those who are known, the data key as it is stored.
    wrapped: BTreeMap<String, String>,
    new_people: Vec<Value>,
    new_identities: Vec<Value>,
}

/// What decisions make, as it is to be written.
struct Made {
    changes: Vec<Change>,
    decisions: Arg,
    verdicts: Arg,
    shares: Option<NewRows>,
    entries: Entries,
    waits: Renewed,
}

/// Decides about what was sorted, without holding anything. What it stands on is read with `ahead` where there is one.
///
/// # Errors
/// The store's, and unreadable data.
pub async fn judge<'a>(
    ctx: &Context,
    rules: &Rules,
    line: &Line,
    mapping: &Mapping,
    sorted: Vec<Sorting<'a>>,
    ahead: Option<&mut Tx>,
) -> Result<Judged<'a>> {
    let (mut incoming, mut others) = (Vec::new(), Vec::new());
    for Sorting { hint, record, known, waited, sorted } in sorted {
        match sorted {
            Sorted::Lead(lead, hashes, content) => {
                let same = known.as_ref().is_some_and(|k| k.2 == content && k.4 == "live");
                let lead_id = known.and_then(|k| k.3);
                let is_new = lead_id.is_none();
                let id = lead_id.unwrap_or_else(|| ctx.clock.id());
                let (lead, hashes, person) = (*lead, *hashes, String::new());
                incoming.push(Incoming { hint, record, lead, hashes, content, id, person, is_new, waited, same, before: None });
            }
            sorted => others.push(Sorting { hint, record, known, waited, sorted }),
        }
    }
    let mut before = waits::decided(&ctx.db, incoming.iter().filter(|i| i.same).map(|i| i.id.as_str())).await?;
    for item in &mut incoming {
        item.before = before.remove(&item.id);
    }
    let (whose, stands, running) = if let Some(tx) = ahead {
        look(tx, ctx, rules, line, &mut incoming).await?
    } else {
        let mut tx = ctx.db.reading().await?;
        let seen = look(&mut tx, ctx, rules, line, &mut incoming).await?;
        tx.commit().await?;
        seen
    };
    let seal = |item: &Incoming<'_>| whose.keys.seal(&ctx.clock, &item.person, people::lead_place(&item.id), &item.lead);
    let mut leads = Rows::default();
    for item in incoming.iter().filter(|item| !item.same) {
        leads.push((&item.id, &item.person, &item.record.id, mapping.hash(), seal(item)?))?;
    }
    let made = make(ctx, rules, line, &incoming, &whose, stands.clone(), &running).await?;
    Ok(Judged { others, incoming, whose, stands, running, leads: leads.into(), made })
}

/// Whose the leads are, what stands about them, and which shares of them run.
async fn look(
    tx: &mut Tx,
    ctx: &Context,
    rules: &Rules,
    line: &Line,
    incoming: &mut [Incoming<'_>],
) -> Result<(Whose, Stands, BTreeMap<String, Vec<Share>>)> {
    let whose = whose(tx, ctx, incoming).await?;
    Ok((whose, standing(tx, ctx, rules, line, incoming).await?, running(tx, incoming).await?))
}

/// Finds the person behind each lead, or makes one.
async fn whose(look: &mut Tx, ctx: &Context, incoming: &mut [Incoming<'_>]) -> Result<Whose> {
    let hashes = Value::from(incoming.iter().filter_map(|i| i.hashes.identity.as_ref()).map(|h| json!([h])).collect::<Vec<_>>());
    let mut found = Whose::default();
    let mut by_hash: BTreeMap<String, String> = BTreeMap::new();
    for (hash, person, wrapped, _) in people_store::by_hash(look, &hashes).await? {
        if let Some(wrapped) = wrapped {
            found.known(ctx, &person, wrapped)?;
        }
        by_hash.insert(hash, person);
    }
    // A known record stays with its person when its address changes: an opt-out must still hold.
    let lead_ids = Value::from(incoming.iter().filter(|i| !i.is_new).map(|i| json!([i.id])).collect::<Vec<_>>());
    let of_lead: BTreeMap<String, String> = leads::leads(look, &lead_ids).await?.into_iter().map(|l| (l.id, l.person)).collect();
    let missing = of_lead.values().filter(|person| !found.wrapped.contains_key(*person)).map(|person| json!([person])).collect::<Vec<_>>();
    for (person, wrapped) in people_store::data_keys(look, &Value::from(missing)).await? {
        if let Some(wrapped) = wrapped {
            found.known(ctx, &person, wrapped)?;
        }
    }
    for item in incoming.iter_mut() {
        let hash = item.hashes.identity.clone();
        let person = of_lead.get(&item.id).or_else(|| hash.as_ref().and_then(|h| by_hash.get(h))).cloned();
        item.person = match person {
            Some(person) => person,
            None => found.make(ctx)?,
        };
        if let Some(hash) = hash.filter(|hash| !by_hash.contains_key(hash)) {
            by_hash.insert(hash.clone(), item.person.clone());
            found.new_identities.push(json!([hash, item.person]));
        }
    }
    // In one order everywhere, so that two deciders never wait for each other.
    found.new_identities.sort_by_key(ToString::to_string);
    Ok(found)
}

impl Whose {
    fn known(&mut self, ctx: &Context, person: &str, wrapped: String) -> Result<()> {
        self.keys.add(&ctx.vault, person, &wrapped)?;
        self.wrapped.insert(person.to_owned(), wrapped);
        Ok(())
    }

    fn make(&mut self, ctx: &Context) -> Result<String> {
        let person = ctx.clock.id();
        self.new_people.push(json!([person, self.keys.make(&ctx.vault, &ctx.clock, &person)?]));
        Ok(person)
    }

    /// Locks who is known, in one order everywhere, and sees that they are whom they were.
    async fn lock(&self, tx: &mut Tx) -> Result<()> {
        let known = self.wrapped.keys().map(|id| json!([id])).collect::<Vec<_>>();
        let locked = people_store::lock(tx, &Value::from(known)).await?;
        let now: BTreeMap<String, Option<String>> = locked.into_iter().map(|(id, wrapped, _)| (id, wrapped)).collect();
        // One who was erased meanwhile has no key any more.
        let same = self.wrapped.iter().all(|(id, key)| now.get(id) == Some(&Some(key.clone())));
        if same { Ok(()) } else { Err(again()) }
    }

    /// Keeps who is new.
    async fn add(&self, tx: &mut Tx, now: Millis) -> Result<()> {
        let (people, identities) = (Value::from(self.new_people.clone()), Value::from(self.new_identities.clone()));
        let added = people_store::add(tx, &people, &identities, now).await?;
        if added { Ok(()) } else { Err(again()) }
    }
}

pub(super) fn again() -> Error {
    Error::Passing { code: "decide_again".into(), message: "somebody else decided about the same person at the same time".into() }
}

async fn standing(tx: &mut Tx, ctx: &Context, rules: &Rules, line: &Line, incoming: &[Incoming<'_>]) -> Result<Stands> {
    let people: Vec<&str> = incoming.iter().map(|i| i.person.as_str()).collect();
    let hashes: Vec<&Hashes> = incoming.iter().map(|i| &i.hashes).collect();
    let candidates = rules.program.recipients_of(line.partner()).collect();
    Stands::load(tx, ctx, &people, &hashes, &candidates).await
}

/// Shares that run, by lead.
async fn running(tx: &mut Tx, incoming: &[Incoming<'_>]) -> Result<BTreeMap<String, Vec<Share>>> {
    let known = Value::from(incoming.iter().filter(|i| !i.is_new).map(|i| json!([i.id])).collect::<Vec<_>>());
    let mut running = BTreeMap::<String, Vec<Share>>::new();
    for share in shares::by_lead(tx, &known).await? {
        if !stand(&share).is_ok_and(|s| s.status.ended()) {
            running.entry(share.lead.clone()).or_default().push(share);
        }
    }
    Ok(running)
}

/// Decides about the leads that have no running share, and whether others get those that have, too.
async fn make(
    ctx: &Context,
    rules: &Rules,
    line: &Line,
    incoming: &[Incoming<'_>],
    whose: &Whose,
    mut standing: Stands,
    running: &BTreeMap<String, Vec<Share>>,
) -> Result<Made> {
    let (now, keys) = (ctx.clock.now(), &whose.keys);
    let (mut changes, mut decisions, mut verdicts) = (Vec::new(), Rows::default(), Wordings::default());
    let (mut new, mut entries) = (NewShares::default(), Entries::new(ctx));
    let mut renewed = Renewed::default();
    for (nth, item) in incoming.iter().enumerate() {
        let_others(nth).await;
        let facts = standing.facts(ctx, line.partner(), &item.lead, &item.hashes, &item.person, None);
        let inputs = decide::Inputs { program: &rules.program, facts: &facts };
        let mut decision = decide::decide(&inputs);
        renewed.add(&item.record.id, &item.waited, item.same, waits::after(ctx, rules, line, &inputs, &decision), now);
        let has = |recipient: &str| facts.standing.shares.iter().any(|s| s.recipient == recipient && s.is_live());
        let more =
            |v: &Verdict| v.outcome == VerdictOutcome::Shared && !has(&v.recipient) && rules.receiving(&ctx.lines, &v.recipient).is_some();
        if running.contains_key(&item.id) && (line.observe() || !decision.verdicts.iter().any(more)) {
            continue;
        }
        let decision_id = ctx.clock.id();
        let mut change = Change::new(item.hint, decision.outcome, decision.reason.clone(), Some(item.id.clone()));
        change.decision = Some(decision_id.clone());
        let (mut went, mut taken) = (0, false);
        if line.observe() && decision.outcome == ChangeOutcome::Shared {
            change.outcome = ChangeOutcome::Held;
            change.reason = format!("observing only: {}", decision.reason);
            decision.outcome = ChangeOutcome::Held;
        } else if decision.outcome == ChangeOutcome::Shared {
            let mut nowhere = Vec::new();
            for verdict in decision.verdicts.iter().filter(|v| v.outcome == VerdictOutcome::Shared) {
                let Some((to, to_mapping)) = rules.receiving(&ctx.lines, &verdict.recipient) else {
                    nowhere.push(verdict.recipient.clone());
                    continue;
                };
                if has(&verdict.recipient) {
                    // Another source's lead of this person is there: one person at one recipient is one record.
                    taken = true;
                    continue;
                }
                let share = ctx.clock.id();
                standing.add(&item.person, &share, line.partner(), &verdict.recipient, &verdict.agreement, now);
                let unknown = !whose.wrapped.contains_key(&item.person) && facts.standing.suppressions.is_empty();
                let first = unknown.then_some(&inputs);
                new.add(ctx, item, &share, line.partner(), &decision_id, verdict, to, to_mapping, keys, first, &mut entries)?;
                went += 1;
            }
            if went == 0 && taken {
                change.outcome = ChangeOutcome::Duplicate;
                "the recipient has this person from another source already".clone_into(&mut change.reason);
                decision.outcome = ChangeOutcome::Duplicate;
            } else if went == 0 {
                // Decided, and yet it cannot go: an offer waits for the offer page, a partner without a connection for one.
                change.outcome = ChangeOutcome::Held;
                change.reason = match nowhere.first() {
                    Some(recipient) => format!("held: {recipient} has no connection that receives leads"),
                    None => "held: this agreement offers leads first, and offers are not available yet".to_owned(),
                };
                decision.outcome = ChangeOutcome::Held;
            }
        }
        if went == 0 && item.before.as_ref().is_some_and(|before| before.says_the_same(&decision)) {
            continue;
        }
        entries.decided(&decision, &decision_id, &item.id)?;
        let inputs_text = keys.seal(&ctx.clock, &item.person, Aad::new("decisions", &decision_id, "inputs"), &facts)?;
        let body = verdicts.fold(&decision)?;
        decisions.push((&decision_id, &item.id, change.id_or(ctx), decision.outcome.word(), &decision.reason, inputs_text, body))?;
        changes.push(change);
    }
    let (decisions, verdicts) = (decisions.into(), verdicts.rows().into());
    Ok(Made { changes, decisions, verdicts, shares: new.rows()?, entries, waits: renewed })
}

impl Judged<'_> {
    /// Whether there is nothing to keep.
    pub fn is_empty(&self) -> bool {
        self.others.is_empty() && self.incoming.is_empty()
    }

    /// What was read, with its hints.
    pub(super) fn read(&self) -> impl Iterator<Item = (&Dirty, &Record)> {
        let others = self.others.iter().map(|s| (s.hint, s.record));
        others.chain(self.incoming.iter().map(|item| (item.hint, item.record)))
    }

    /// Keeps the leads and what was decided about them; `records` gets their rows, and is written.
    #[expect(clippy::too_many_arguments, reason = "a part of `keep`, moved out to be read")]
    pub(super) async fn keep(
        self,
        tx: &mut Tx,
        ctx: &Context,
        rules: &Rules,
        line: &Line,
        mapping: &Mapping,
        records: &mut Vec<Value>,
        entries: &mut Entries,
    ) -> Result<Vec<Change>> {
        let Self { incoming, whose, mut stands, mut running, leads, mut made, .. } = self;
        if incoming.is_empty() {
            return Ok(Vec::new());
        }
        let now = ctx.clock.now();
        let room = async |tx: &mut Tx, made: &Made| match &made.shares {
            Some(new) => new.have_room(tx, ctx, rules).await,
            None => Ok(true),
        };
        if tx.proves() {
            if !room(tx, &made).await? {
                return Err(again());
            }
            whose.add(tx, now).await?;
        } else {
            whose.add(tx, now).await?;
            whose.lock(tx).await?;
            let fresh = standing(tx, ctx, rules, line, &incoming).await?;
            let now_running = self::running(tx, &incoming).await?;
            let same = fresh.same_people(&stands) && now_running.keys().eq(running.keys());
            (stands, running) = (fresh, now_running);
            if !same || !room(tx, &made).await? {
                made = make(ctx, rules, line, &incoming, &whose, stands.clone(), &running).await?;
            }
        }
        let (mut changes, mut followed) = (made.changes, Again::default());
        let decided: BTreeSet<String> = changes.iter().filter_map(|change| change.lead.clone()).collect();
        for item in &incoming {
            records.push(json!([item.record.id, item.record.version, item.content, item.id, "live"]));
            if item.same {
                if !decided.contains(&item.id) {
                    let mut change = Change::new(item.hint, ChangeOutcome::Unchanged, "nothing_that_we_map", Some(item.id.clone()));
                    change.quiet = item.hint.kind == "look";
                    changes.push(change);
                }
                continue;
            }
            let Some(shares) = running.get(&item.id) else { continue };
            // Already shared: its copies follow, or are taken back when a gate no longer holds.
            let mut outcome = (ChangeOutcome::Updated, "copies_follow".to_owned());
            for share in shares {
                let facts = stands.facts(ctx, line.partner(), &item.lead, &item.hashes, &item.person, Some(&share.id));
                outcome = followed.judge(rules, &facts, share)?.unwrap_or(outcome);
            }
            if !decided.contains(&item.id) {
                changes.push(Change::new(item.hint, outcome.0, outcome.1, Some(item.id.clone())));
            }
        }
        if let Some(new) = &made.shares {
            new.claim(tx, now).await?;
        }
        leads::save_leads(tx, line.partner(), line.name(), mapping.object(), leads, now).await?;
        verdicts::save(tx, made.verdicts).await?;
        leads::save_decisions(tx, made.decisions, now).await?;
        if let Some(new) = made.shares {
            new.keep(tx, ctx, line.partner(), now).await?;
        }
        made.waits.keep(tx, line, mapping).await?;
        entries.append(made.entries);
        // Before anything is taken back: what that has decided again is forgotten of records of this batch, too.
        leads::save_records(tx, line.name(), mapping.object(), &Value::from(std::mem::take(records)), now).await?;
        followed.keep(tx, ctx, entries).await?;
        Ok(changes)
    }
}
