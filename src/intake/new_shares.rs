//! The rows of the shares that a batch of leads makes: gathered while deciding, written in the transaction that keeps it.

use std::collections::{BTreeMap, BTreeSet};

use leadshare_connectors::sdk::Item;
use serde_json::json;

use super::judge::{Incoming, again};
use crate::clock::{DAY, Millis};
use crate::context::Context;
use crate::decide::{self, Inputs};
use crate::entries::Entries;
use crate::errors::{Error, Result};
use crate::firsts::First;
use crate::http::line::Line;
use crate::ledger::Body;
use crate::mapping::Mapping;
use crate::model::decision::Verdict;
use crate::model::{Progress, ShareStatus};
use crate::people::{self, Keys};
use crate::queues::Want;
use crate::rules::Rules;
use crate::standing::Stands;
use crate::store::deliveries::Lane;
use crate::store::shares::Share;
use crate::store::{Arg, Rows, Tx, leads, loads, shares};

/// Rows of the shares that a batch makes.
#[derive(Default)]
pub(super) struct NewShares {
    claims: Vec<(&'static str, String, String)>,
    remotes: Rows,
    shares: Rows,
    events: Rows,
    deliveries: Vec<Want>,
    consents: Rows,
    given: BTreeMap<(String, String), i64>,
    firsts: Vec<First>,
}

impl NewShares {
    /// Adds a share, with all that it is written with. `first` is what it was decided on, where nothing was known of
    /// the person before: its first write is made ready then.
    #[expect(clippy::too_many_arguments, reason = "one share is made of all of these")]
    pub(super) fn add(
        &mut self,
        ctx: &Context,
        item: &Incoming<'_>,
        share: &str,
        source: &str,
        decision: &str,
        verdict: &Verdict,
        to: &Line,
        to_mapping: &Mapping,
        keys: &Keys,
        first: Option<&Inputs<'_>>,
        entries: &mut Entries,
    ) -> Result<()> {
        let identity = item.hashes.identity_key.clone().unwrap_or_else(|| format!("person:{}", item.person));
        let marker = ctx.vault.markers.make(to.name(), &identity);
        self.claims.push(("person_recipient", format!("{}|{}", item.person, verdict.recipient), share.to_owned()));
        let (connection, object) = (to.name(), to_mapping.object());
        self.remotes.push((connection, &item.person, object, &marker))?;
        if let Some((inputs, entry)) = first.and_then(|inputs| Some((inputs, inputs.program.agreements.get(&verdict.agreement)?))) {
            let allowed = decide::payload(&entry.agreement, &item.lead, verdict, false);
            let share = Share {
                id: share.to_owned(),
                person: item.person.clone(),
                lead: item.id.clone(),
                source: source.to_owned(),
                recipient: verdict.recipient.clone(),
                agreement: verdict.agreement.clone(),
                terms: verdict.terms.clone(),
                connection: connection.to_owned(),
                object: object.to_owned(),
                status: ShareStatus::Matched.word(),
                progress: Progress::New.word(),
                reason: None,
                amount: None,
                created_at: inputs.facts.now,
            };
            self.firsts.push(First {
                item: Item::Create { key: share.id.clone(), marker, fields: to_mapping.to_record(&allowed, true) },
                suppressible: item.hashes.suppressible.iter().map(|(hash, _)| hash.clone()).collect(),
                judged: share.created_at,
                rules: (inputs.program.hash.clone(), to_mapping.hash().to_owned()),
                share,
            });
        }
        self.shares.push((
            share,
            &item.person,
            &item.id,
            source,
            &verdict.recipient,
            &verdict.agreement,
            &verdict.terms,
            decision,
            connection,
            object,
            "matched",
        ))?;
        self.events.push((share, "matched", "new", (), (), ctx.clock.id(), "decision"))?;
        // Whoever acts now does not wait for those who were there before.
        let old = item.acted().is_some_and(|acted| acted < ctx.clock.now() - DAY);
        let lane = if old { Lane::Backfill } else { Lane::NewLeads };
        self.deliveries.push(Want {
            connection: connection.to_owned(),
            way: "out",
            lane,
            partner: source.to_owned(),
            share: share.to_owned(),
            object: object.to_owned(),
        });
        *self.given.entry((verdict.recipient.clone(), verdict.agreement.clone())).or_default() += 1;
        if !verdict.consents.is_empty() {
            let permits: Vec<_> = verdict.consents.iter().map(|consent| (&consent.purpose, consent.channel)).collect();
            let permits = serde_json::to_string(&permits).map_err(|_| Error::Unreadable { what: "permissions".into() })?;
            let proof = keys.seal(&ctx.clock, &item.person, people::proof_place(share), &verdict.consents)?;
            self.consents.push((share, permits, proof))?;
        }
        let body = Body::new()
            .id("share", share)
            .id("lead", &item.id)
            .id("recipient", &verdict.recipient)
            .id("source", source)
            .version("terms", &verdict.terms);
        entries.agreement(&verdict.agreement, "share.matched", body)
    }

    /// As they are written; `None` without any.
    pub(super) fn rows(mut self) -> Result<Option<NewRows>> {
        // In one order everywhere, so that two deciders never wait for each other.
        self.claims.sort();
        let mut claims = Rows::default();
        for claim in &self.claims {
            claims.push(claim)?;
        }
        Ok((!self.claims.is_empty()).then(|| NewRows {
            count: self.claims.len() as i64,
            claims: claims.into(),
            remotes: self.remotes.into(),
            shares: self.shares.into(),
            events: self.events.into(),
            deliveries: self.deliveries,
            consents: self.consents.into(),
            given: self.given,
            firsts: self.firsts,
        }))
    }
}

/// Shares of a batch, as they are written.
pub(super) struct NewRows {
    count: i64,
    claims: Arg,
    remotes: Arg,
    shares: Arg,
    events: Arg,
    deliveries: Vec<Want>,
    consents: Arg,
    given: BTreeMap<(String, String), i64>,
    firsts: Vec<First>,
}

impl NewRows {
    /// Whether every recipient has room for them still.
    ///
    /// # Errors
    /// The store's.
    pub(super) async fn have_room(&self, tx: &mut Tx, ctx: &Context, rules: &Rules) -> Result<bool> {
        let limited = self.given.keys().filter(|(_, agreement)| decide::is_limited(&rules.program, agreement));
        let limited: BTreeSet<&str> = limited.map(|(recipient, _)| recipient.as_str()).collect();
        if limited.is_empty() {
            return Ok(true);
        }
        let stands = Stands::exactly(tx, ctx, &limited).await?;
        let mut all = BTreeMap::<&str, i64>::new();
        for ((recipient, _), count) in &self.given {
            *all.entry(recipient).or_default() += count;
        }
        Ok(self.given.iter().all(|((recipient, agreement), count)| {
            let (load, under) = stands.loads(recipient, agreement);
            decide::has_room(&rules.program, agreement, (load, all[recipient.as_str()]), (under, *count))
        }))
    }

    /// Takes what only one share may have.
    pub(super) async fn claim(&self, tx: &mut Tx, now: Millis) -> Result<()> {
        if shares::claim(tx, self.claims.clone(), self.count as u64, now).await? { Ok(()) } else { Err(again()) }
    }

    /// Keeps them.
    pub(super) async fn keep(self, tx: &mut Tx, ctx: &Context, source: &str, now: Millis) -> Result<()> {
        shares::want_remote(tx, self.remotes).await?;
        shares::add(tx, self.shares, now).await?;
        shares::add_events(tx, self.events, now).await?;
        ctx.queues.want(tx, &self.deliveries, now).await?;
        leads::save_consents(tx, self.consents, now).await?;
        loads::shared(tx, source, self.count, now).await?;
        let days = [loads::OPEN, loads::day(now)];
        let given = self.given.iter().flat_map(|((recipient, agreement), n)| days.map(|day| json!([recipient, agreement, day, n])));
        loads::count(tx, given.collect()).await?;
        let (ready, firsts) = (ctx.firsts.clone(), self.firsts);
        tx.tell(move || ready.keep(firsts, now));
        Ok(())
    }
}
