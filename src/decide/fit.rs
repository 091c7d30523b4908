//! The later gates: whether the lead fits the agreement and the recipient now.

use super::gates::{Case, Findings};
use super::{Inputs, condition, own_share};
use crate::clock::HOUR;
use crate::model::ShareStatus;
use crate::model::decision::{ExistingShare, Facts, Gate, Load};
use crate::program::{Entry, Program, after, business, list_name, place};

/// Gate 7: what the agreement counts as a lead, and the recipient's territory.
pub fn eligible(case: &Case<'_>, out: &mut Findings) {
    let (program, lead, rules) = (case.program, &case.facts.lead, &case.entry.agreement.qualification);
    for name in rules.required.iter().filter(|name| !lead.fields.contains_key(*name)) {
        out.fail(Gate::Eligible, "eligible.missing", "2 qualification.required", format!("`{name}` is empty"));
    }
    for (name, condition) in &rules.all {
        if !condition::holds(program, lead, name, condition) {
            out.fail(
                Gate::Eligible,
                "eligible.not_fulfilled",
                format!("2 qualification.all.{name}"),
                format!("`{name}` is not what the agreement asks for"),
            );
        }
    }
    for (name, condition) in &rules.none {
        if condition::holds(program, lead, name, condition) {
            out.fail(
                Gate::Eligible,
                "eligible.excluded",
                format!("2 qualification.none.{name}"),
                format!("`{name}` is what the agreement excludes"),
            );
        }
    }
    if rules.expression.is_some() {
        match case.entry.expression.as_ref().and_then(|e| e.holds(&lead.fields)) {
            Some(true) => {}
            Some(false) => out.fail(Gate::Eligible, "eligible.where", "2 qualification.where", "the agreement's expression does not hold"),
            None => {
                let text = "the agreement's expression cannot be worked out: a field that it needs is empty";
                out.fail(Gate::Eligible, "eligible.where_unknown", "2 qualification.where", text);
            }
        }
    }
    let territory = case.recipient.map(|p| p.territory.as_slice()).unwrap_or_default();
    let serves = |name: &String| place::contains(name, lead.text("country"), lead.text("state"));
    if !territory.is_empty() && !territory.iter().any(serves) {
        let text = "the company is outside the recipient's territory";
        out.fail(Gate::Eligible, "eligible.territory", format!("partner {} territory", case.entry.recipient()), text);
    }
    out.pass_unless_failed(Gate::Eligible, "it is what the agreement counts as a lead");
}

/// Gate 8: the person acted lately.
pub fn fresh(case: &Case<'_>, out: &mut Findings) {
    const CLAUSE: &str = "2 qualification.fresh";
    let Some(rule) = &case.entry.agreement.qualification.fresh else {
        return out.pass(Gate::Fresh, "fresh.ok", "", "the agreement sets no limit");
    };
    let moment = case.facts.lead.text(&rule.since).and_then(|text| {
        let day = || Some(text.parse::<jiff::civil::Date>().ok()?.to_zoned(case.zone().rules()).ok()?.timestamp());
        text.parse::<jiff::Timestamp>().ok().or_else(day)
    });
    let Some(moment) = moment.map(jiff::Timestamp::as_millisecond) else {
        return out.fail(
            Gate::Fresh,
            "fresh.unknown",
            CLAUSE,
            format!("`{}` is empty: nobody knows when the person last acted", rule.since),
        );
    };
    if moment > case.facts.now + HOUR {
        return out.fail(Gate::Fresh, "fresh.in_future", CLAUSE, format!("`{}` lies in the future", rule.since));
    }
    if after(case.zone(), moment, rule.within).is_some_and(|until| case.facts.now <= until) {
        out.pass(Gate::Fresh, "fresh.ok", CLAUSE, format!("the person acted within {}", rule.within.words()));
    } else {
        out.fail(Gate::Fresh, "fresh.stale", CLAUSE, format!("the person has not acted within {}", rule.within.words()));
    }
}

/// Gate 9: not kept for the source's own sales, not promised to others.
pub fn exclusivity(case: &Case<'_>, out: &mut Findings) {
    let (program, facts, entry) = (case.program, case.facts, case.entry);
    if let Some(list) = entry.agreement.exclusivity.kept_for_direct_sales.as_deref().and_then(list_name).and_then(|name| program.list(name))
        && condition::lists_company(list, &facts.lead)
    {
        let text = "the source keeps this company for its own sales";
        out.fail(Gate::Exclusivity, "exclusivity.direct_sales", "9 exclusivity.kept_for_direct_sales", text);
    }
    let promised = program.from_source(&facts.source).any(|other| {
        other.recipient() != entry.recipient()
            && other.in_force(facts.now).is_ok()
            && reserves(other, facts)
            && !released(program, facts, other)
    });
    if promised {
        // Whose promise it is stays between the two who made it.
        let text = "the source promised leads like this one to another partner only";
        out.fail(Gate::Exclusivity, "exclusivity.reserved", "9 exclusivity.source_gives", text);
    }
    let source = program.partners.get(&facts.source).map(|p| &p.value);
    let refuses = program.to_recipient(entry.recipient()).any(|other| {
        let gives = other.agreement.exclusivity.recipient_gives.as_ref();
        let rivals = gives.and_then(|g| list_name(&g.rivals)).and_then(|name| program.list(name));
        let theirs = other.source() != facts.source && other.in_force(facts.now).is_ok();
        theirs
            && rivals
                .zip(source)
                .is_some_and(|(list, source)| list.has_company(&source.legal_name) || source.domains.iter().any(|d| list.has_domain(d)))
    });
    if refuses {
        let text = "the recipient promised another source not to take leads from this one";
        out.fail(Gate::Exclusivity, "exclusivity.rival", "9 exclusivity.recipient_gives", text);
    }
    out.pass_unless_failed(Gate::Exclusivity, "not promised to others");
}

/// Whether an agreement promises this lead to its recipient alone.
fn reserves(entry: &Entry, facts: &Facts) -> bool {
    let Some(gives) = &entry.agreement.exclusivity.source_gives else { return false };
    let lead = &facts.lead;
    let territory =
        gives.territory.is_empty() || gives.territory.iter().any(|t| place::contains(t, lead.text("country"), lead.text("state")));
    let industry = lead.text("industry");
    let segment = gives.segment.is_empty() || industry.is_some_and(|i| gives.segment.iter().any(|s| s.eq_ignore_ascii_case(i)));
    territory && segment
}

/// An exclusive partner that is paused, full or silent releases the lead; so does one that refused it.
fn released(program: &Program, facts: &Facts, entry: &Entry) -> bool {
    let paused = facts.standing.partners.get(entry.recipient()).is_some_and(|p| p.paused);
    let case = Case::new(&Inputs { program, facts }, entry);
    let said_no = facts.standing.shares.iter().any(|s| {
        let refused = matches!(s.status, ShareStatus::Declined | ShareStatus::Expired | ShareStatus::Returned);
        s.source == facts.source && s.recipient == entry.recipient() && refused
    });
    paused || said_no || silent(&case) || full(&case).is_some()
}

/// Whether the exclusive partner has an offer of this lead and let the agreed time pass, in its own business time.
fn silent(case: &Case<'_>) -> bool {
    let release = case.entry.agreement.exclusivity.source_gives.as_ref().and_then(|gives| gives.release_if_unanswered);
    let Some((span, partner)) = release.zip(case.recipient) else { return false };
    let unanswered =
        |s: &&ExistingShare| s.source == case.facts.source && s.recipient == case.entry.recipient() && s.status == ShareStatus::Offered;
    case.facts
        .standing
        .shares
        .iter()
        .filter(unanswered)
        .any(|s| business::after(&partner.calendar, s.since, span).is_some_and(|end| end <= case.facts.now))
}

/// Whether a recipient has room for `count` leads more, over all agreements and under this one, beside the load that it has.
pub fn has_room(program: &Program, agreement: &str, all: (Load, i64), under: (Load, i64)) -> bool {
    caps(program, agreement, all.0, under.0).into_iter().all(|(cap, used, over_all)| {
        let more = if over_all { all.1 } else { under.1 };
        cap.is_none_or(|cap| i64::from(used) + more <= i64::from(cap))
    })
}

/// Whether there are only so many leads that an agreement's recipient takes.
pub fn is_limited(program: &Program, agreement: &str) -> bool {
    caps(program, agreement, Load::default(), Load::default()).into_iter().any(|(cap, ..)| cap.is_some())
}

/// For how many leads more a recipient has room, over all agreements and under this one.
pub fn room(program: &Program, agreement: &str, all: Load, under: Load) -> usize {
    let caps = caps(program, agreement, all, under).into_iter();
    caps.filter_map(|(cap, used, _)| Some(cap?.saturating_sub(used) as usize)).min().unwrap_or(usize::MAX)
}

/// Every cap, what is used of it, and whether it counts over all agreements. What is gone has none.
fn caps(program: &Program, agreement: &str, all: Load, under: Load) -> Vec<(Option<u32>, u32, bool)> {
    let Some(entry) = program.agreements.get(agreement) else { return Vec::new() };
    let agreed = entry.agreement.operations.capacity.as_ref();
    let partner = program.partners.get(entry.recipient()).map(|p| &p.value.capacity);
    vec![
        (agreed.and_then(|c| c.open), under.open, false),
        (agreed.and_then(|c| c.day), under.day, false),
        (agreed.and_then(|c| c.month), under.month, false),
        (partner.and_then(|c| c.open), all.open, true),
        (partner.and_then(|c| c.day), all.day, true),
        (partner.and_then(|c| c.month), all.month, true),
    ]
}

/// The cap that leaves no room, with its clause.
fn full(case: &Case<'_>) -> Option<(&'static str, String, String)> {
    let (all, under) = case.loads();
    // A share that is judged again holds its place already.
    let own = u32::from(own_share(case.facts).is_some_and(|s| s.recipient == case.entry.recipient()));
    let agreed = case.entry.agreement.operations.capacity.as_ref();
    let partner = case.recipient.map(|p| &p.capacity);
    let clause = "operations.capacity".to_owned();
    let own_clause = format!("partner {} capacity", case.entry.recipient());
    let caps = [
        ("capacity.open", "open leads", agreed.and_then(|c| c.open), under.open, &clause),
        ("capacity.day", "leads a day", agreed.and_then(|c| c.day), under.day, &clause),
        ("capacity.month", "leads a month", agreed.and_then(|c| c.month), under.month, &clause),
        ("capacity.open", "open leads", partner.and_then(|c| c.open), all.open, &own_clause),
        ("capacity.day", "leads a day", partner.and_then(|c| c.day), all.day, &own_clause),
        ("capacity.month", "leads a month", partner.and_then(|c| c.month), all.month, &own_clause),
    ];
    caps.into_iter().find(|(_, _, cap, used, _)| cap.is_some_and(|cap| *used >= cap.saturating_add(own))).map(
        |(code, what, cap, _, clause)| (code, clause.clone(), format!("the recipient takes at most {} {what}", cap.unwrap_or_default())),
    )
}

/// Gate 10: the recipient has room, under this agreement and over all.
pub fn capacity(case: &Case<'_>, out: &mut Findings) {
    match full(case) {
        Some((code, clause, text)) => out.fail(Gate::Capacity, code, clause, text),
        None => out.pass(Gate::Capacity, "capacity.ok", "operations.capacity", "the recipient has room"),
    }
}

/// Gate 11: neither side is paused.
pub fn standing(case: &Case<'_>, out: &mut Findings) {
    let paused = |name: &str| case.facts.standing.partners.get(name).is_some_and(|p| p.paused);
    if paused(case.entry.recipient()) {
        out.fail(Gate::Standing, "standing.recipient_paused", "8 metrics", "the recipient is paused");
    }
    if paused(&case.facts.source) {
        out.fail(Gate::Standing, "standing.source_paused", "8 metrics", "the source is paused");
    }
    if case.recipient.is_none() {
        out.fail(Gate::Standing, "standing.unknown", "", "the recipient has no partner file");
    }
    out.pass_unless_failed(Gate::Standing, "nobody is paused");
}
