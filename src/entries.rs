//! Ledger entries, gathered while a transaction works and written with it.

use crate::clock::Clock;
use crate::context::Context;
use crate::errors::Result;
use crate::ledger::{Body, Entry, Stream};
use crate::model::decision::Decision;
use crate::store::{Tx, ledger};

/// Ledger entries of one transaction, made as they come: mostly before the transaction begins.
pub struct Entries {
    clock: Clock,
    made: Vec<Entry>,
}

impl Entries {
    /// None yet.
    pub fn new(ctx: &Context) -> Self {
        Self { clock: ctx.clock.clone(), made: Vec::new() }
    }

    /// An entry in an agreement's stream.
    pub fn agreement(&mut self, agreement: &str, kind: &'static str, body: Body) -> Result<()> {
        let stream = Stream::Agreement(agreement.to_owned());
        self.made.push(Entry::new(&self.clock.id(), &stream, self.clock.now(), kind, body)?);
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
        self.made.append(&mut others.made);
    }

    /// Writes the entries with the work that they record.
    pub async fn write(self, tx: &mut Tx) -> Result<()> {
        ledger::add(tx, &self.made).await
    }
}
