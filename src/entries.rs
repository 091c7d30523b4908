//! Ledger entries, gathered while a transaction works and written with it.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::context::Context;
use crate::errors::Result;
use crate::ledger::{Body, Entry, Stream};
use crate::model::decision::Decision;
use crate::store::{Tx, ledger};

/// Most leads that one entry names.
const TOGETHER: usize = 100;

/// Ledger entries of one transaction.
#[derive(Default)]
pub struct Entries {
    single: Vec<(Stream, &'static str, Body)>,
    decided: BTreeMap<Terms, Vec<Decided>>,
}

/// An agreement and its version.
type Terms = (String, String);

/// What was decided about one lead under one agreement.
struct Decided {
    decision: String,
    lead: String,
    outcome: String,
    finding: String,
}

impl Entries {
    /// An entry in an agreement's stream.
    pub fn agreement(&mut self, agreement: &str, kind: &'static str, body: Body) -> Result<()> {
        self.single.push((Stream::Agreement(agreement.to_owned()), kind, body));
        Ok(())
    }

    /// What was decided, for each candidate in that candidate's stream. Leads decided about together share an entry.
    pub fn decided(&mut self, decision: &Decision, id: &str, lead: &str) {
        for verdict in &decision.verdicts {
            self.decided.entry((verdict.agreement.clone(), verdict.version.clone())).or_default().push(Decided {
                decision: id.to_owned(),
                lead: lead.to_owned(),
                outcome: verdict.outcome.change().word(),
                finding: verdict.first_failure().map_or_else(|| "none".to_owned(), |finding| finding.code.clone()),
            });
        }
    }

    /// Takes over what was gathered elsewhere.
    pub fn append(&mut self, mut others: Self) {
        self.single.append(&mut others.single);
        for (terms, mut decided) in others.decided {
            self.decided.entry(terms).or_default().append(&mut decided);
        }
    }

    /// Writes the entries with the work that they record.
    pub async fn write(self, tx: &mut Tx, ctx: &Context) -> Result<()> {
        let now = ctx.clock.now();
        let decided = self.decided.iter().flat_map(|(terms, all)| all.chunks(TOGETHER).map(|leads| together(terms, leads)));
        let mut rows = Vec::new();
        for (stream, kind, body) in decided.chain(self.single) {
            let entry = Entry::new(&ctx.clock.id(), &stream, now, kind, body)?;
            rows.push(json!([entry.id, entry.stream, entry.kind, entry.text]));
        }
        ledger::add(tx, Value::from(rows), now).await
    }
}

/// One entry for leads decided about together: the nth of each list belong together.
fn together((agreement, version): &Terms, leads: &[Decided]) -> (Stream, &'static str, Body) {
    let body = Body::new()
        .version("agreement_version", version)
        .ids("decisions", leads.iter().map(|d| d.decision.as_str()))
        .ids("leads", leads.iter().map(|d| d.lead.as_str()))
        .codes("outcomes", leads.iter().map(|d| d.outcome.as_str()))
        .codes("findings", leads.iter().map(|d| d.finding.as_str()));
    (Stream::Agreement(agreement.clone()), "leads.decided", body)
}
