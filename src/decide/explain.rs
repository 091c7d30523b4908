//! A decision in plain words, for `lead show`.

use std::fmt::Write;

use crate::model::decision::{Decision, Verdict, VerdictOutcome};

/// What was decided and why, in plain words without personal data.
pub fn explain(decision: &Decision) -> String {
    let mut out = format!("{}: {}\n", decision.outcome.word(), decision.reason);
    for verdict in &decision.verdicts {
        let _ = writeln!(out, "\n{} ({} version {}): {}", verdict.recipient, verdict.agreement, verdict.number, word(verdict.outcome));
        candidate(&mut out, verdict);
    }
    let _ = writeln!(out, "\ndecided by {} on program {}", decision.engine, short(&decision.program));
    out
}

fn candidate(out: &mut String, verdict: &Verdict) {
    for finding in &verdict.findings {
        let mark = if finding.passed { "ok" } else { "NO" };
        let clause = if finding.clause.is_empty() { String::new() } else { format!(", clause {}", finding.clause) };
        let _ = writeln!(out, "  {mark} {:<11} {} ({}{clause})", finding.gate.word(), finding.text, finding.code);
    }
    if let Some(score) = &verdict.score {
        let parts: Vec<String> = score.iter().map(|(name, part)| format!("{name} {part:.1}")).collect();
        let sum: f64 = score.iter().map(|(_, part)| part).sum();
        let _ = writeln!(out, "  score {sum:.1} = {}", parts.join(" + "));
    }
    if !verdict.fields.is_empty() {
        let fields: Vec<&str> = verdict.fields.iter().map(String::as_str).collect();
        let _ = writeln!(out, "  fields that may leave: {}", fields.join(", "));
    }
}

fn word(outcome: VerdictOutcome) -> &'static str {
    match outcome {
        VerdictOutcome::Shared => "gets the lead",
        VerdictOutcome::Offered => "gets a masked offer",
        VerdictOutcome::Held => "waits for approval",
        VerdictOutcome::Outranked => "could have it, others came first",
        VerdictOutcome::Duplicate => "has it already, or somebody else has a claim",
        VerdictOutcome::Ineligible => "not a lead for this partner",
        VerdictOutcome::Unmatched => "no agreement in force, or nobody there to take it",
        VerdictOutcome::NoConsent => "no legal basis",
        VerdictOutcome::Suppressed => "the person must not be shared",
        VerdictOutcome::Invalid => "not a valid lead",
        VerdictOutcome::Erased => "the person was erased",
    }
}

fn short(hash: &str) -> &str {
    hash.get(..12).unwrap_or(hash)
}
