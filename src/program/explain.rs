//! An agreement in plain words, clause by clause, for `agreement check`.

use std::fmt::Write;

use serde::Serialize;

use crate::model::agreement::{Agreement, BasisRule, Condition, Conditions, Mode, Period, Scalar};

/// What an agreement says, in plain words: one line or more for each of the ten clauses, then the unsigned part.
pub fn explain(agreement: &Agreement) -> String {
    let mut out = Lines(String::new());
    let (about, parties) = (&agreement.about, &agreement.parties);
    let (source, recipient) = (&parties.source, &parties.recipient);
    out.line(&format!("{}, version {}", about.id, about.version));
    let roles =
        format!("{} ({}) gives leads to {} ({})", source.legal_name, word(&source.role), recipient.legal_name, word(&recipient.role));
    out.clause("1 Roles", &format!("{roles}; {} runs the program.", parties.operator.partner));
    if let Some(m) = &parties.mishandled {
        out.more(&format!("Mishandled leads are reported within {}; then: {}.", m.report_within.words(), word(&m.then)));
    }
    qualification(&mut out, agreement);
    privacy(&mut out, agreement);
    let shown = &agreement.confidentiality.before_acceptance;
    let before = if shown.is_empty() { "nothing".to_owned() } else { shown.join(", ") };
    out.clause("4 Confidentiality", &format!("before acceptance an offer shows {before}."));
    term(&mut out, agreement);
    money(&mut out, agreement);
    let disputes = &agreement.disputes;
    let rule = word(&disputes.ownership.rule).replace('_', " ");
    out.clause("7 Disputes", &format!("a lead belongs to the source whose share is {rule}, for {}.", disputes.ownership.protected.words()));
    if let Some(r) = &disputes.returns {
        out.more(&format!("Up to {} may be returned within {}.", r.at_most, r.within.words()));
    }
    metrics(&mut out, agreement);
    exclusivity(&mut out, agreement);
    let signed: Vec<String> = agreement.signing.signed.iter().map(|s| format!("{} by {} on {}", word(&s.party), s.by, s.at.0)).collect();
    out.clause("10 Signing", &if signed.is_empty() { "not signed: a draft.".to_owned() } else { format!("{}.", signed.join("; ")) });
    operations(&mut out, agreement);
    out.0
}

struct Lines(String);

impl Lines {
    fn line(&mut self, text: &str) {
        let _ = writeln!(self.0, "{text}");
    }

    fn clause(&mut self, name: &str, text: &str) {
        let _ = writeln!(self.0, "{name}: {text}");
    }

    fn more(&mut self, text: &str) {
        let _ = writeln!(self.0, "  {text}");
    }
}

/// A word as files write it.
fn word(value: &impl Serialize) -> String {
    serde_json::to_value(value).ok().and_then(|v| v.as_str().map(str::to_owned)).unwrap_or_default()
}

fn within(period: Option<Period>) -> String {
    period.map(|p| format!(" within {}", p.words())).unwrap_or_default()
}

fn qualification(out: &mut Lines, agreement: &Agreement) {
    let rules = &agreement.qualification;
    let required =
        if rules.required.is_empty() { "no field is required".to_owned() } else { format!("needs {}", rules.required.join(", ")) };
    out.clause("2 What counts as a lead", &format!("{required}."));
    if !rules.all.is_empty() {
        out.more(&format!("All of: {}.", conditions(&rules.all)));
    }
    if !rules.none.is_empty() {
        out.more(&format!("None of: {}.", conditions(&rules.none)));
    }
    if let Some(expression) = &rules.expression {
        out.more(&format!("And: {expression}"));
    }
    if let Some(fresh) = &rules.fresh {
        out.more(&format!("The person acted ({}) within {}.", fresh.since, fresh.within.words()));
    }
}

fn conditions(conditions: &Conditions) -> String {
    conditions.iter().map(|(name, condition)| format!("{name} {}", condition_words(condition))).collect::<Vec<_>>().join("; ")
}

fn condition_words(condition: &Condition) -> String {
    let scalar = |value: &Scalar| match value {
        Scalar::Boolean(v) => v.to_string(),
        Scalar::Integer(v) => v.to_string(),
        Scalar::Float(v) => v.to_string(),
        Scalar::Text(v) => v.clone(),
    };
    let all = |values: &[Scalar]| values.iter().map(scalar).collect::<Vec<_>>().join(", ");
    let mut parts = Vec::new();
    parts.extend(condition.is.as_ref().map(|v| format!("is {}", scalar(v))));
    parts.extend(condition.within.as_ref().map(|v| format!("is one of {}", all(v))));
    parts.extend(condition.not_in.as_ref().map(|v| format!("is none of {}", all(v))));
    parts.extend(condition.at_least.as_ref().map(|v| format!("is {} or more", scalar(v))));
    parts.extend(condition.at_most.as_ref().map(|v| format!("is {} or less", scalar(v))));
    parts.extend(condition.between.as_ref().map(|(a, b)| format!("is from {} to {}", scalar(a), scalar(b))));
    parts.extend(condition.list.as_ref().map(|v| format!("stands in the list {v}")));
    parts.join(" and ")
}

fn privacy(out: &mut Lines, agreement: &Agreement) {
    let privacy = &agreement.privacy;
    let refused: Vec<&str> = privacy.refuse.iter().map(|k| k.word()).collect();
    out.clause("3 Data protection", &format!("refused: {}. Notices: {}.", refused.join(", "), privacy.notices.join(", ")));
    for purpose in &privacy.purpose {
        let bases: Vec<String> = purpose
            .basis
            .iter()
            .map(|(place, rule)| match rule {
                BasisRule::Whole(basis) => format!("{place}: {}", basis.word()),
                BasisRule::Channels(channels) => {
                    let each: Vec<String> =
                        channels.iter().map(|(channel, basis)| format!("{} by {}", word(channel), basis.word())).collect();
                    format!("{place}: {}", each.join(", "))
                }
            })
            .collect();
        out.more(&format!("{}: {} Basis in {}; elsewhere refused.", purpose.id, purpose.text, bases.join("; in ")));
        if !purpose.fields.is_empty() {
            out.more(&format!("  Leaves: {}.", purpose.fields.join(", ")));
        }
    }
    for transfer in privacy.transfer.all() {
        let tool = word(&transfer.tool).replace('_', " ");
        out.more(&format!("From {} to {} by {tool}, to be reviewed by {}.", transfer.from, transfer.to, transfer.review_by));
    }
    if let Some(keep) = &privacy.keep {
        out.more(&format!("Leads are kept {}, proof {}.", keep.lead.words(), keep.proof.words()));
    }
    out.more(&format!("Shared further: {}.", word(&privacy.onward).replace('_', " ")));
}

fn term(out: &mut Lines, agreement: &Agreement) {
    let term = &agreement.term;
    let runs = &term.runs;
    out.clause("5 Duration", &format!("from {} to {}, both included, in {}.", runs.from, runs.until, runs.zone));
    if let Some(renewal) = &term.renewal {
        let notice = renewal.notice.map(|n| format!(", unless a side gives notice {} before", n.words())).unwrap_or_default();
        out.more(&format!("Renewed by {}, at most {} times{notice}.", renewal.by.words(), renewal.times));
    }
}

fn money(out: &mut Lines, agreement: &Agreement) {
    let Some(commission) = &agreement.commission else {
        return out.clause("6 Money", "nobody pays.");
    };
    let on = &commission.on;
    let rates: Vec<String> = commission
        .rate
        .iter()
        .map(|rate| {
            let what = rate.percent.map(|p| format!("{p} %")).or_else(|| rate.fixed.map(|f| f.to_string())).unwrap_or_default();
            let above = rate.above.map(|a| format!(" above {a}")).unwrap_or_default();
            let up_to = rate.up_to.map(|a| format!(" up to {a}")).unwrap_or_default();
            format!("{what}{above}{up_to}")
        })
        .collect();
    let (base, currency) = (word(&on.base).replace('_', " "), &commission.limits.currency);
    let text = format!(
        "the {} pays {} of {base} in {currency} when a lead is {}{}",
        word(&on.payer),
        rates.join(", "),
        word(&on.event),
        within(on.within)
    );
    out.clause("6 Money", &format!("{text}."));
}

fn metrics(out: &mut Lines, agreement: &Agreement) {
    let Some(metrics) = &agreement.metrics else {
        return out.clause("8 Metrics", "no goals are agreed.");
    };
    let targets = &metrics.targets;
    let mut goals = Vec::new();
    goals.extend(targets.acceptance.map(|p| format!("acceptance {p}")));
    goals.extend(targets.first_contact_in_time.map(|p| format!("first contact in time {p}")));
    goals.extend(targets.status_fresh.map(|p| format!("fresh status {p}")));
    goals.extend(targets.complaints_max.map(|p| format!("complaints at most {p}")));
    out.clause("8 Metrics", &format!("{}.", goals.join(", ")));
}

fn exclusivity(out: &mut Lines, agreement: &Agreement) {
    let exclusivity = &agreement.exclusivity;
    let mut parts = Vec::new();
    if let Some(gives) = &exclusivity.source_gives {
        let scope: Vec<String> = gives.territory.iter().chain(&gives.segment).cloned().collect();
        parts.push(format!("leads in {} go to this recipient only", scope.join(", ")));
    }
    parts.extend(exclusivity.recipient_gives.as_ref().map(|gives| format!("the recipient takes no leads from {}", gives.rivals)));
    parts.extend(exclusivity.kept_for_direct_sales.as_ref().map(|list| format!("the source keeps {list} for itself")));
    out.clause("9 Exclusivity", &if parts.is_empty() { "none.".to_owned() } else { format!("{}.", parts.join("; ")) });
}

fn operations(out: &mut Lines, agreement: &Agreement) {
    let operations = &agreement.operations;
    let transfer = &operations.transfer;
    let how = match transfer.mode {
        Mode::Direct => "straight into the recipient's system".to_owned(),
        Mode::Offer => format!("as a masked offer to be answered{}", within(transfer.answer_within)),
    };
    out.clause("Operations (not signed)", &format!("leads go {how}, to at most {} recipient(s).", transfer.recipients));
    if !transfer.approve_if.is_empty() {
        out.more(&format!("A person approves first when {}.", conditions(&transfer.approve_if)));
    }
    if let Some(sla) = &operations.sla {
        out.more(&format!("Acknowledged{}; first contact{}.", within(sla.acknowledge), within(sla.first_contact)));
    }
    if let Some(capacity) = &operations.capacity {
        let cap = |n: Option<u32>| n.map_or_else(|| "any number".to_owned(), |n| n.to_string());
        out.more(&format!(
            "Takes {} open, {} a day, {} a month (days and months in UTC).",
            cap(capacity.open),
            cap(capacity.day),
            cap(capacity.month)
        ));
    }
    if let Some(stop) = &operations.suspended {
        out.more(&format!("Suspended by the {} since {}.", word(&stop.by), stop.since));
    }
}
