//! Ledger entries, gathered while a transaction works and written with it.

use crate::context::Context;
use crate::errors::Result;
use crate::ledger::{Body, Entry, Stream};
use crate::model::decision::Decision;
use crate::store::{Tx, ledger};

/// Ledger entries of one transaction.
#[derive(Default)]
pub struct Entries(Vec<(Stream, &'static str, Body)>);

impl Entries {
    /// An entry in an agreement's stream.
    pub fn agreement(&mut self, agreement: &str, kind: &'static str, body: Body) -> Result<()> {
        self.0.push((Stream::Agreement(agreement.to_owned()), kind, body));
        Ok(())
    }

    /// What was decided, one entry per candidate in that candidate's stream.
    pub fn decided(&mut self, decision: &Decision, id: &str, lead: &str) -> Result<()> {
        for verdict in &decision.verdicts {
            let mut body = Body::new()
                .id("decision", id)
                .id("lead", lead)
                .code("outcome", &verdict.outcome.change().word())
                .version("agreement_version", &verdict.version);
            if let Some(gate) = verdict.first_failure() {
                body = body.code("gate", gate.gate.word()).code("finding", &gate.code);
            }
            self.agreement(&verdict.agreement, "lead.decided", body)?;
        }
        Ok(())
    }

    /// Takes over what was gathered elsewhere.
    pub fn append(&mut self, mut others: Self) {
        self.0.append(&mut others.0);
    }

    /// Writes the entries with the work that they record.
    pub async fn write(self, tx: &mut Tx, ctx: &Context) -> Result<()> {
        let now = ctx.clock.now();
        let entry = |(stream, kind, body)| Entry::new(&ctx.clock.id(), &stream, now, kind, body);
        let entries = self.0.into_iter().map(entry).collect::<Result<Vec<_>>>()?;
        ledger::add(tx, &entries).await
    }
}
