//! What a lead waits for after a decision: what stands against candidates now and can pass by itself.

use std::collections::BTreeSet;

use super::{Inputs, promised};
use crate::model::decision::{Finding, Gate, Verdict, VerdictOutcome};
use crate::model::{Cap, Wait};

/// What must happen before a decision can come out otherwise though the lead stays as it is. A candidate waits for the first of
/// the gates that stopped it, and for nothing when one of them will not open: no consent, a suppression, a lead that does
/// not fit, a claim.
pub fn waits(inputs: &Inputs<'_>, verdicts: &[Verdict]) -> BTreeSet<Wait> {
    let facts = inputs.facts;
    let live = facts.standing.shares.iter().filter(|s| s.is_live() && s.source == facts.source).map(|s| s.recipient.as_str());
    let given = verdicts.iter().filter(|v| v.outcome.goes_out() || v.outcome == VerdictOutcome::Held).map(|v| v.recipient.as_str());
    let taken: BTreeSet<&str> = live.chain(given).collect();
    // Nobody waits for a place that was promised to fewer.
    let limit = taken.iter().filter_map(|recipient| promised(inputs, recipient)).min().unwrap_or(u32::MAX);
    let place = |most: u32| taken.len() < limit.min(most) as usize;
    let mut found = BTreeSet::new();
    for verdict in verdicts {
        let Some(entry) = inputs.program.agreements.get(&verdict.agreement) else { continue };
        match verdict.outcome {
            // There is no offer page and no approval yet: an edit of what asks for them is what there is.
            VerdictOutcome::Offered | VerdictOutcome::Held => {
                found.insert(Wait::Edit(verdict.agreement.clone(), verdict.version.clone()));
            }
            VerdictOutcome::Shared | VerdictOutcome::Outranked => {}
            _ if place(entry.agreement.operations.transfer.recipients) => {
                let failed = verdict.findings.iter().filter(|f| !f.passed);
                let all: Option<Vec<Wait>> = failed.map(|finding| passing(inputs, verdict, finding)).collect();
                found.extend(all.and_then(|all| all.into_iter().next()));
            }
            _ => {}
        }
    }
    let claim = &facts.lead.consent;
    if place(u32::MAX) && !claim.nobody {
        let known: BTreeSet<&str> = inputs.program.recipients_of(&facts.source).collect();
        let chosen = claim.choices.iter().filter(|partner| **partner != facts.source && !known.contains(partner.as_str()));
        found.extend(chosen.map(|partner| Wait::Agreement(Some(partner.clone()))));
        if known.is_empty() && found.is_empty() {
            found.insert(Wait::Agreement(None));
        }
    }
    found
}

/// What a finding that stopped a candidate waits for; `None` when it does not pass by itself.
fn passing(inputs: &Inputs<'_>, verdict: &Verdict, finding: &Finding) -> Option<Wait> {
    let agreement = || verdict.agreement.clone();
    match (finding.gate, &*finding.code) {
        (Gate::Transfer, _) => Some(Wait::Edit(agreement(), verdict.version.clone())),
        (Gate::Capacity, "capacity.day") => Some(Wait::Room(Cap::Day, agreement())),
        (Gate::Capacity, "capacity.month") => Some(Wait::Room(Cap::Month, agreement())),
        (Gate::Capacity, _) => Some(Wait::Room(Cap::Open, agreement())),
        (Gate::Standing, "standing.recipient_paused") => Some(Wait::Pause(verdict.recipient.clone())),
        (Gate::Standing, "standing.source_paused") => Some(Wait::Pause(inputs.facts.source.clone())),
        // Without the partner's file its agreement is refused.
        (Gate::Agreement, "agreement.not_in_force") | (Gate::Standing, _) => Some(Wait::InForce(agreement())),
        _ => None,
    }
}
