//! Ranks the candidates that passed, by a score that names its parts.

use super::gates::Case;
use crate::program::Tier;

/// The parts of a candidate's score; their sum ranks it. Each part is rounded to a tenth, so that stored scores read
/// back as the same numbers.
///
/// - `tier`: 0 to 30, by the partner's standing.
/// - `specialisation`: 40 when one of its specialisations is the lead's need, interest or industry.
/// - `weight`: 2 for each point of the agreement's weight, 2 to 20.
/// - `capacity_left`: 0 to 20, the part of its tightest cap that is free; 20 without caps.
pub fn score(case: &Case<'_>) -> Vec<(String, f64)> {
    let tier = match case.recipient.map(|p| p.tier).unwrap_or_default() {
        Tier::Registered => 0.0,
        Tier::Silver => 10.0,
        Tier::Gold => 20.0,
        Tier::Platinum => 30.0,
    };
    let lead = &case.facts.lead;
    let topics: Vec<&str> = ["need", "interest", "industry"].into_iter().filter_map(|name| lead.text(name)).collect();
    let specialised = case.recipient.is_some_and(|p| p.specialisations.iter().any(|s| topics.iter().any(|t| t.eq_ignore_ascii_case(s))));
    let capacity = case.entry.agreement.operations.capacity.as_ref();
    let weight = capacity.and_then(|c| c.weight).unwrap_or(1);
    let parts = [
        ("tier", tier),
        ("specialisation", if specialised { 40.0 } else { 0.0 }),
        ("weight", f64::from(weight) * 2.0),
        ("capacity_left", left(case) * 20.0),
    ];
    parts.into_iter().map(|(name, part)| (name.to_owned(), (part * 10.0).round() / 10.0)).collect()
}

/// The part of the tightest cap that is free, from 0 to 1.
fn left(case: &Case<'_>) -> f64 {
    let (all, under) = case.loads();
    let agreed = case.entry.agreement.operations.capacity.as_ref();
    let partner = case.recipient.map(|p| &p.capacity);
    let caps = [
        (agreed.and_then(|c| c.open), under.open),
        (agreed.and_then(|c| c.day), under.day),
        (agreed.and_then(|c| c.month), under.month),
        (partner.and_then(|c| c.open), all.open),
        (partner.and_then(|c| c.day), all.day),
        (partner.and_then(|c| c.month), all.month),
    ];
    let free = |(cap, used): (Option<u32>, u32)| cap.filter(|cap| *cap > 0).map(|cap| f64::from(cap.saturating_sub(used)) / f64::from(cap));
    caps.into_iter().filter_map(free).fold(1.0, f64::min)
}
