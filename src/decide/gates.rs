//! The gates, in order. Each writes what it found; none stops the others.

use std::collections::BTreeSet;

use super::consent::{self, Permitted, reachable};
use super::{Inputs, condition, own_share};
use crate::clock::{HOUR, Millis};
use crate::model::agreement::money::OwnershipRule;
use crate::model::agreement::{Onward, Period, RefusedKind, Zone};
use crate::model::decision::{ExistingShare, Facts, Finding, Gate, Load, SuppressionScope};
use crate::model::{Channel, ShareStatus};
use crate::program::{Entry, Partner, Program, list_name, place};

/// One candidate, with what the gates look at.
pub struct Case<'a> {
    /// The program.
    pub program: &'a Program,
    /// The inputs.
    pub facts: &'a Facts,
    /// The candidate's agreement.
    pub entry: &'a Entry,
    /// The recipient's file.
    pub recipient: Option<&'a Partner>,
    /// Channels that the person, or a suppression, stopped.
    pub blocked: BTreeSet<Channel>,
}

impl<'a> Case<'a> {
    /// Looks up what belongs to a candidate.
    pub fn new(inputs: &Inputs<'a>, entry: &'a Entry) -> Self {
        let facts = inputs.facts;
        let stops = facts.lead.consent.stops.iter().flat_map(|s| s.blocks.iter());
        let suppressions = facts.standing.suppressions.iter().flat_map(|s| s.channels.iter());
        Self {
            program: inputs.program,
            facts,
            entry,
            recipient: inputs.program.partners.get(entry.recipient()).map(|p| &p.value),
            blocked: stops.chain(suppressions).copied().collect(),
        }
    }

    /// The person's place for people to read.
    pub fn place_word(&self) -> String {
        let place = &self.facts.lead.consent.place;
        place.state.as_ref().or(place.country.as_ref()).cloned().unwrap_or_else(|| "an unknown place".to_owned())
    }

    /// Shares other than the one that is judged again.
    fn others(&self) -> impl Iterator<Item = &'a ExistingShare> {
        let own = self.facts.standing.own_share.as_deref();
        self.facts.standing.shares.iter().filter(move |s| Some(s.share_id.as_str()) != own)
    }

    /// How many leads the recipient has, over all agreements and under this one.
    pub fn loads(&self) -> (Load, Load) {
        let standing = self.facts.standing.partners.get(self.entry.recipient());
        let under = standing.and_then(|p| p.agreements.get(self.entry.id()));
        (standing.map(|p| p.load).unwrap_or_default(), under.copied().unwrap_or_default())
    }

    fn zone(&self) -> &Zone {
        &self.entry.agreement.term.runs.zone
    }
}

/// What the gates found.
#[derive(Debug, Default)]
pub struct Findings(Vec<Finding>);

impl Findings {
    /// The candidate may go on.
    pub fn pass(&mut self, gate: Gate, code: &str, clause: &str, text: impl Into<String>) {
        self.0.push(Finding { gate, passed: true, code: code.to_owned(), clause: clause.to_owned(), text: text.into() });
    }

    /// The candidate is out.
    pub fn fail(&mut self, gate: Gate, code: &str, clause: &str, text: impl Into<String>) {
        self.0.push(Finding { gate, passed: false, code: code.to_owned(), clause: clause.to_owned(), text: text.into() });
    }

    /// Whether a gate has said no.
    pub fn failed(&self, gate: Gate) -> bool {
        self.0.iter().any(|f| f.gate == gate && !f.passed)
    }

    /// Notes that a gate had nothing against the candidate.
    fn pass_unless_failed(&mut self, gate: Gate, text: impl Into<String>) {
        if !self.0.iter().any(|f| f.gate == gate && !f.passed) {
            self.pass(gate, &format!("{}.ok", gate.word()), "", text);
        }
    }
}

/// All findings about one candidate, and what may leave.
pub struct Judged {
    /// In the order of the gates.
    pub findings: Vec<Finding>,
    /// What may leave, should it pass.
    pub permitted: Permitted,
}

/// Runs every gate.
pub fn run(case: &Case<'_>) -> Judged {
    let mut findings = Findings::default();
    valid(case, &mut findings);
    suppressed(case, &mut findings);
    in_force(case, &mut findings);
    let permitted = consent::judge(case, &mut findings);
    transfer(case, &mut findings);
    duplicate(case, &mut findings);
    if own_share(case.facts).is_some_and(ExistingShare::has_arrived) {
        for gate in [Gate::Eligible, Gate::Fresh, Gate::Exclusivity, Gate::Capacity, Gate::Standing] {
            findings.pass(gate, &format!("{}.settled", gate.word()), "", "settled when the lead was given");
        }
    } else {
        eligible(case, &mut findings);
        fresh(case, &mut findings);
        exclusivity(case, &mut findings);
        capacity(case, &mut findings);
        standing(case, &mut findings);
    }
    Judged { findings: findings.0, permitted }
}

fn valid(case: &Case<'_>, out: &mut Findings) {
    let lead = &case.facts.lead;
    if reachable(lead).next().is_none() {
        out.fail(Gate::Valid, "valid.no_contact", "", "the lead has neither an e-mail address nor a number nor an address");
    }
    if lead.text("email").is_some_and(|e| !email_address::EmailAddress::is_valid(e)) {
        out.fail(Gate::Valid, "valid.email", "", "`email` is not an e-mail address");
    }
    for name in ["phone", "mobile"] {
        let number = |text: &str| {
            text.strip_prefix('+').is_some_and(|rest| (6..=15).contains(&rest.len()) && rest.bytes().all(|b| b.is_ascii_digit()))
        };
        if lead.text(name).is_some_and(|text| !number(text)) {
            out.fail(Gate::Valid, "valid.phone", "", format!("`{name}` is not a number in international form"));
        }
    }
    if lead.text("country").is_some_and(|c| rust_iso3166::from_alpha2(c).is_none()) {
        out.fail(Gate::Valid, "valid.country", "", "`country` is not a country code");
    }
    out.pass_unless_failed(Gate::Valid, "the lead is complete enough to be one");
}

fn suppressed(case: &Case<'_>, out: &mut Findings) {
    let (lead, standing) = (&case.facts.lead, &case.facts.standing);
    if standing.erased {
        out.fail(Gate::Suppressed, "suppressed.erased", "3 privacy.erasure", "the person was erased");
    }
    for hit in standing.suppressions.iter().filter(|s| s.channels.is_empty()) {
        let (code, who) = match hit.scope {
            SuppressionScope::Person => ("suppressed.person", "the person"),
            SuppressionScope::Domain => ("suppressed.domain", "the company's domain"),
        };
        out.fail(Gate::Suppressed, code, "3 privacy.withdrawal", format!("{who} is suppressed ({})", hit.reason));
    }
    for stop in lead.consent.stops.iter().filter(|s| s.blocks.is_empty()) {
        let text = format!("the source's {} says that the person opted out", stop.said_by);
        out.fail(Gate::Suppressed, "suppressed.opted_out", "3 privacy.withdrawal", text);
    }
    let mut channels = reachable(lead).peekable();
    if channels.peek().is_some() && channels.all(|c| case.blocked.contains(&c)) {
        out.fail(
            Gate::Suppressed,
            "suppressed.every_channel",
            "3 privacy.withdrawal",
            "the person stopped every channel by which it could be reached",
        );
    }
    for kind in RefusedKind::all() {
        let refused = kind.always() || case.entry.agreement.privacy.refuse.contains(&kind);
        let here = lead.consent.flags.contains(kind.word()) || kind == RefusedKind::PlaceUnknown && lead.consent.place.country.is_none();
        if refused && here {
            let what = match kind {
                RefusedKind::Minor => "the person is a minor",
                RefusedKind::Health => "the lead is about health",
                RefusedKind::SpecialCategory => "the lead holds data of a special category",
                RefusedKind::FreeText => "the lead holds free text",
                RefusedKind::PlaceUnknown => "nobody knows where the person is",
            };
            out.fail(Gate::Suppressed, &format!("refused.{}", kind.word()), "3 privacy.refuse", what);
        }
    }
    out.pass_unless_failed(Gate::Suppressed, "neither suppressed nor of a refused kind");
}

fn in_force(case: &Case<'_>, out: &mut Findings) {
    let (program, facts, entry) = (case.program, case.facts, case.entry);
    match entry.in_force(facts.now) {
        Ok(()) => {}
        Err(why) => out.fail(Gate::Agreement, "agreement.not_in_force", "5 term", format!("{} is not in force: {why}", entry.id())),
    }
    for from in &facts.standing.received_from {
        if from == entry.recipient() {
            out.fail(Gate::Agreement, "agreement.origin", "3 privacy.onward", "the lead came from this partner");
            continue;
        }
        let mut inbound = program.from_source(from).filter(|e| e.recipient() == facts.source).peekable();
        let allowed = inbound.peek().is_some() && inbound.all(|e| e.agreement.privacy.onward == Onward::WithConsent);
        if !allowed {
            let text = "the lead was received under an agreement that does not let it be shared further";
            out.fail(Gate::Agreement, "agreement.onward", "3 privacy.onward", text);
        }
    }
    out.pass_unless_failed(Gate::Agreement, format!("{} version {} is signed and in force", entry.id(), entry.agreement.about.version));
}

fn transfer(case: &Case<'_>, out: &mut Findings) {
    let person = &case.facts.lead.consent.place;
    let (Some(country), Some(recipient)) = (person.country.as_deref(), case.recipient) else {
        return out.pass(Gate::Transfer, "transfer.ok", "", "nothing to judge without a place");
    };
    let there = recipient.country.as_str();
    let tools = case.entry.agreement.privacy.transfer.all();
    let here = |name: &str| place::contains(name, Some(country), person.state.as_deref());
    let mut covering = tools.iter().filter(|t| here(&t.from) && place::contains(&t.to, Some(there), None)).peekable();
    let region = place::transfer_region(country);
    let leaves = region.is_some() && region != place::transfer_region(there);
    if covering.peek().is_none() {
        if leaves {
            let text = format!("no legal tool is agreed for data of people in {} that goes to {there}", region.unwrap_or_default());
            return out.fail(Gate::Transfer, "transfer.missing", "3 privacy.transfer", text);
        }
        return out.pass(Gate::Transfer, "transfer.ok", "", "the data stays under its law");
    }
    let zone = case.zone().rules();
    let today = jiff::Timestamp::from_millisecond(case.facts.now).map(|t| t.to_zoned(zone).date());
    let valid = |t: &crate::model::agreement::Transfer| today.as_ref().is_ok_and(|today| t.assessed.0 <= *today && *today <= t.review_by.0);
    if covering.any(valid) {
        out.pass(Gate::Transfer, "transfer.ok", "3 privacy.transfer", "the legal tool was assessed and its review is not due");
    } else {
        let text = "the assessment of the legal tool for the transfer is not valid today: it has to be reviewed";
        out.fail(Gate::Transfer, "transfer.review_due", "3 privacy.transfer", text);
    }
}

/// A moment and a span of the calendar after it.
fn after(zone: &Zone, moment: Millis, span: Period) -> Option<Millis> {
    let zoned = jiff::Timestamp::from_millisecond(moment).ok()?.to_zoned(zone.rules());
    Some(zoned.checked_add(span.span()?).ok()?.timestamp().as_millisecond())
}

fn duplicate(case: &Case<'_>, out: &mut Findings) {
    let rule = &case.entry.agreement.disputes.ownership;
    for share in case.others().filter(|s| s.recipient == case.entry.recipient()) {
        let protected = after(case.zone(), share.since, rule.protected).is_some_and(|until| case.facts.now < until);
        let same_source = share.source == case.facts.source;
        if same_source && share.is_live() {
            out.fail(
                Gate::Duplicate,
                "duplicate.shared",
                "7 disputes.ownership",
                "the recipient has this lead, or an offer of it, already",
            );
        } else if same_source {
            // A lead that was taken back may be given again; one that was refused is not pressed on the recipient.
            let refused = matches!(share.status, ShareStatus::Declined | ShareStatus::Expired | ShareStatus::Returned);
            if refused && protected {
                let text = format!("the recipient did not want this lead within the last {}", rule.protected.words());
                out.fail(Gate::Duplicate, "duplicate.refused", "7 disputes.ownership", text);
            }
        } else {
            let claims = match rule.rule {
                OwnershipRule::FirstAccepted => share.status == ShareStatus::Accepted,
                OwnershipRule::FirstShared => share.has_arrived(),
            };
            if claims && protected {
                // The loser learns that there is a claim, never whose.
                let text = "another source's claim on this lead is protected";
                out.fail(Gate::Duplicate, "duplicate.owned", "7 disputes.ownership", text);
            }
        }
    }
    out.pass_unless_failed(Gate::Duplicate, "nobody has a claim");
}

fn eligible(case: &Case<'_>, out: &mut Findings) {
    let (program, lead, rules) = (case.program, &case.facts.lead, &case.entry.agreement.qualification);
    for name in rules.required.iter().filter(|name| !lead.fields.contains_key(*name)) {
        out.fail(Gate::Eligible, "eligible.missing", "2 qualification.required", format!("`{name}` is empty"));
    }
    for (name, condition) in &rules.all {
        if !condition::holds(program, lead, name, condition) {
            out.fail(
                Gate::Eligible,
                "eligible.not_fulfilled",
                &format!("2 qualification.all.{name}"),
                format!("`{name}` is not what the agreement asks for"),
            );
        }
    }
    for (name, condition) in &rules.none {
        if condition::holds(program, lead, name, condition) {
            out.fail(
                Gate::Eligible,
                "eligible.excluded",
                &format!("2 qualification.none.{name}"),
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
        out.fail(Gate::Eligible, "eligible.territory", &format!("partner {} territory", case.entry.recipient()), text);
    }
    out.pass_unless_failed(Gate::Eligible, "it is what the agreement counts as a lead");
}

fn fresh(case: &Case<'_>, out: &mut Findings) {
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

fn exclusivity(case: &Case<'_>, out: &mut Findings) {
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
    let refuses = program.agreements.values().any(|other| {
        let gives = other.agreement.exclusivity.recipient_gives.as_ref();
        let rivals = gives.and_then(|g| list_name(&g.rivals)).and_then(|name| program.list(name));
        let theirs = other.recipient() == entry.recipient() && other.source() != facts.source && other.in_force(facts.now).is_ok();
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
    paused || said_no || full(&case).is_some()
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

fn capacity(case: &Case<'_>, out: &mut Findings) {
    match full(case) {
        Some((code, clause, text)) => out.fail(Gate::Capacity, code, &clause, text),
        None => out.pass(Gate::Capacity, "capacity.ok", "operations.capacity", "the recipient has room"),
    }
}

fn standing(case: &Case<'_>, out: &mut Findings) {
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
