//! Decides with whom a lead is shared: gates, then ranking. Pure: the same inputs give the same decision.
//!
//! Every candidate is judged by every gate, in the order of [`Gate`]; the first that fails is the candidate's outcome and
//! the others are listed too. What passes is ranked by a score that names its parts.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use crate::model::agreement::{Agreement, Order};
use crate::model::decision::{Decision, ExistingShare, Facts, Finding, Gate, Verdict, VerdictOutcome};
use crate::model::{ChangeOutcome, Lead, ShareStatus};
use crate::program::{Entry, Program};

mod condition;
mod consent;
mod explain;
mod fit;
mod gates;
mod rank;
#[cfg(test)]
mod tests;
mod waits;

pub use explain::explain;
pub use fit::{has_room, is_limited, room};
use gates::Case;
pub use waits::waits;

/// Names the rules by which a decision was made; it changes when the same inputs could be judged otherwise.
pub const ENGINE: &str = "leadshare-decide 1";

/// What a decision is made from.
#[derive(Debug, Clone, Copy)]
pub struct Inputs<'a> {
    /// The program files.
    pub program: &'a Program,
    /// Everything else: the part that is stored for replay.
    pub facts: &'a Facts,
}

/// Decides about a lead. Candidates are the agreements in which its source is the source.
pub fn decide(inputs: &Inputs<'_>) -> Decision {
    let mut verdicts: Vec<Verdict> = inputs.program.from_source(&inputs.facts.source).map(|entry| judge(inputs, entry)).collect();
    choose(inputs, &mut verdicts);
    verdicts.sort_by_cached_key(|v| (Reverse(reach(v)), v.outcome, points(v), v.agreement.clone()));
    let (outcome, reason) = match verdicts.first() {
        None => (ChangeOutcome::Unmatched, format!("no agreement lets {} share leads", inputs.facts.source)),
        Some(best) => (best.outcome.change(), reason(best)),
    };
    Decision { outcome, reason, verdicts, program: inputs.program.hash.clone(), engine: ENGINE.to_owned() }
}

/// Judges one share again, right before it is sent: the same gates on what is known now. `terms` are the
/// [terms](Verdict::terms) that the share was decided under; a share that has not arrived yet must be decided again when they
/// have changed since. What is not signed may change at any time. Set [`own_share`](crate::model::decision::Standing::own_share) to the share's id, so that
/// it does not count as its own double.
///
/// For a share that the recipient already has, only what protects the person is judged: whether it counts as a lead, is
/// fresh and fits the caps was settled when it was given.
pub fn recheck(inputs: &Inputs<'_>, agreement: &str, terms: &str) -> Verdict {
    let Some(entry) = inputs.program.agreements.get(agreement).filter(|e| e.source() == inputs.facts.source) else {
        let text = "the agreement is not in the program any more".to_owned();
        let finding = Finding { gate: Gate::Agreement, passed: false, code: "agreement.gone".into(), clause: "".into(), text: text.into() };
        return Verdict {
            recipient: String::new(),
            agreement: agreement.to_owned(),
            version: String::new(),
            terms: terms.to_owned(),
            number: 0,
            outcome: VerdictOutcome::Unmatched,
            findings: vec![finding],
            score: None,
            fields: BTreeSet::new(),
            channels: BTreeSet::new(),
            consents: Vec::new(),
        };
    };
    let mut verdict = judge(inputs, entry);
    let own = own_share(inputs.facts);
    if entry.terms != terms && !own.is_some_and(ExistingShare::has_arrived) {
        let at = verdict.findings.iter().position(|f| f.gate > Gate::Agreement).unwrap_or(verdict.findings.len());
        let text = "the terms have changed since this share was decided: decide again".to_owned();
        let finding = Finding {
            gate: Gate::Agreement,
            passed: false,
            code: "agreement.changed".into(),
            clause: "10 signing".into(),
            text: text.into(),
        };
        verdict.findings.insert(at, finding);
        close(&mut verdict);
    }
    if verdict.passed() {
        let held = own.is_some_and(|s| s.status == ShareStatus::Held);
        verdict.outcome = if held { VerdictOutcome::Held } else { goes_as(&entry.agreement) };
    }
    verdict
}

/// The values that may leave under a verdict. Without a verdict that lets the lead or its offer go, nothing leaves.
/// In offer mode, what is not listed in `before_acceptance` stays back until the recipient accepted.
pub fn payload(agreement: &Agreement, lead: &Lead, verdict: &Verdict, accepted: bool) -> BTreeMap<String, Value> {
    if !verdict.outcome.goes_out() || !verdict.passed() || verdict.agreement != agreement.about.id {
        return BTreeMap::new();
    }
    let offered = agreement.is_offer() && !accepted;
    let may = |name: &String| {
        if offered {
            // A band says less than the number: whoever may get the number later may see the band before.
            let later = verdict.fields.contains(name) || name == "employees_band" && verdict.fields.contains("employees");
            later && agreement.confidentiality.before_acceptance.contains(name)
        } else {
            verdict.fields.contains(name) && agreement.privacy.purpose.iter().any(|purpose| purpose.fields.contains(name))
        }
    };
    let fields = &lead.fields;
    let band = fields.get("employees").filter(|_| !fields.contains_key("employees_band")).and_then(Value::as_i64).and_then(band);
    let band = band.map(|band| ("employees_band".to_owned(), band.into())).filter(|(name, _)| may(name));
    fields.iter().filter(|(name, _)| may(name)).map(|(name, value)| (name.clone(), value.clone())).chain(band).collect()
}

/// The size of a company as the program's bands say it.
fn band(employees: i64) -> Option<&'static str> {
    match employees {
        1..=9 => Some("1-9"),
        10..=49 => Some("10-49"),
        50..=249 => Some("50-249"),
        250..=999 => Some("250-999"),
        1_000.. => Some("1000+"),
        _ => None,
    }
}

fn own_share(facts: &Facts) -> Option<&ExistingShare> {
    let own = facts.standing.own_share.as_deref()?;
    facts.standing.shares.iter().find(|s| s.share_id == own)
}

/// Every gate on one candidate.
fn judge(inputs: &Inputs<'_>, entry: &Entry) -> Verdict {
    let case = Case::new(inputs, entry);
    let judged = gates::run(&case);
    let mut verdict = Verdict {
        recipient: entry.recipient().to_owned(),
        agreement: entry.id().to_owned(),
        version: entry.version.clone(),
        terms: entry.terms.clone(),
        number: entry.agreement.about.version,
        outcome: goes_as(&entry.agreement),
        findings: judged.findings,
        score: None,
        fields: judged.permitted.fields,
        channels: judged.permitted.channels,
        consents: judged.permitted.records,
    };
    if verdict.passed() {
        verdict.score = Some(rank::score(&case));
    } else {
        close(&mut verdict);
    }
    verdict
}

fn goes_as(agreement: &Agreement) -> VerdictOutcome {
    if agreement.is_offer() { VerdictOutcome::Offered } else { VerdictOutcome::Shared }
}

/// Gives a failed verdict its outcome; nothing may leave under it. What it passed is left out: with dozens of partners
/// most candidates fail, and a gate that is not named had nothing against them.
fn close(verdict: &mut Verdict) {
    let Some(failed) = verdict.first_failure() else { return };
    verdict.outcome = match failed.gate {
        Gate::Valid => VerdictOutcome::Invalid,
        Gate::Suppressed if failed.code == "suppressed.erased" => VerdictOutcome::Erased,
        Gate::Suppressed => VerdictOutcome::Suppressed,
        Gate::Consent | Gate::Transfer => VerdictOutcome::NoConsent,
        Gate::Duplicate => VerdictOutcome::Duplicate,
        Gate::Eligible | Gate::Fresh | Gate::Exclusivity => VerdictOutcome::Ineligible,
        Gate::Agreement | Gate::Capacity | Gate::Standing => VerdictOutcome::Unmatched,
    };
    verdict.findings.retain(|f| !f.passed);
    verdict.score = None;
    verdict.fields.clear();
    verdict.channels.clear();
    verdict.consents.clear();
}

/// Takes the best of those that passed, up to the number that each of them agreed to. Shares that this source gave
/// to others before, and that have not ended, take their places.
fn choose(inputs: &Inputs<'_>, verdicts: &mut [Verdict]) {
    let facts = inputs.facts;
    let mut order: Vec<usize> = (0..verdicts.len()).filter(|i| verdicts[*i].passed()).collect();
    order.sort_by_cached_key(|i| (points(&verdicts[*i]), open(facts, &verdicts[*i].recipient), verdicts[*i].agreement.clone()));
    let mut taken: BTreeSet<String> =
        facts.standing.shares.iter().filter(|s| s.is_live() && s.source == facts.source).map(|s| s.recipient.clone()).collect();
    // Nobody who was promised to be one of few is joined by more.
    let mut limit = taken.iter().filter_map(|recipient| promised(inputs, recipient)).min().unwrap_or(u32::MAX);
    for i in order {
        let verdict = &mut verdicts[i];
        let Some(entry) = inputs.program.agreements.get(&verdict.agreement) else { continue };
        let transfer = &entry.agreement.operations.transfer;
        let most = limit.min(transfer.recipients);
        let all_at_once = entry.agreement.is_offer() && transfer.order == Order::AtOnce;
        // Offers made at once compete: whoever accepts first takes the place, not whoever is asked first.
        if !all_at_once && taken.len() >= most as usize || taken.contains(&verdict.recipient) {
            verdict.outcome = VerdictOutcome::Outranked;
            continue;
        }
        if !transfer.approve_if.is_empty() && condition::all_hold(inputs.program, &facts.lead, &transfer.approve_if) {
            verdict.outcome = VerdictOutcome::Held;
        }
        if !all_at_once {
            taken.insert(verdict.recipient.clone());
            limit = most;
        }
    }
}

/// How many recipients at most were agreed with one that has the lead already.
fn promised(inputs: &Inputs<'_>, recipient: &str) -> Option<u32> {
    let entries = inputs.program.from_source(&inputs.facts.source).filter(|e| e.recipient() == recipient);
    entries.map(|e| e.agreement.operations.transfer.recipients).min()
}

fn open(facts: &Facts, recipient: &str) -> u32 {
    facts.standing.partners.get(recipient).map_or(0, |p| p.load.open)
}

/// The score in thousandths, best first.
fn points(verdict: &Verdict) -> Reverse<i64> {
    let sum: f64 = verdict.score.iter().flatten().map(|(_, part)| part).sum();
    Reverse((sum * 1_000.0).round() as i64)
}

/// How far a candidate came: past every gate, or to the number of the gate that stopped it.
fn reach(verdict: &Verdict) -> (bool, Option<Gate>) {
    let stopped = verdict.first_failure().map(|f| f.gate);
    (stopped.is_none(), stopped)
}

fn reason(best: &Verdict) -> String {
    let under = format!("{} version {}", best.agreement, best.number);
    match best.outcome {
        VerdictOutcome::Shared => format!("shared with {} under {under}", best.recipient),
        VerdictOutcome::Offered => format!("offered to {} under {under}", best.recipient),
        VerdictOutcome::Held => format!("waits for approval before it goes to {} under {under}", best.recipient),
        VerdictOutcome::Outranked => "as many recipients as agreed have it already".to_owned(),
        _ => best.first_failure().map_or_else(String::new, |f| format!("{}: {} ({})", best.recipient, f.text, f.code)),
    }
}
