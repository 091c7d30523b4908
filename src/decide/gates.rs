//! The gates, in order. Each writes what it found; none stops the others.

use std::borrow::Cow;
use std::collections::BTreeSet;

use super::consent::{self, Permitted, reachable};
use super::{Inputs, fit, own_share};
use crate::model::agreement::money::OwnershipRule;
use crate::model::agreement::{Onward, RefusedKind, Zone};
use crate::model::decision::{ExistingShare, Facts, Finding, Gate, Load, SuppressionScope};
use crate::model::{Channel, ShareStatus};
use crate::program::{Entry, Partner, Program, after, place};

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

    /// The zone of the agreement's days.
    pub fn zone(&self) -> &Zone {
        &self.entry.agreement.term.runs.zone
    }
}

/// What a finding says: mostly always the same.
type Words = Cow<'static, str>;

/// What the gates found.
#[derive(Debug, Default)]
pub struct Findings(Vec<Finding>);

impl Findings {
    /// The candidate may go on.
    pub fn pass(&mut self, gate: Gate, code: impl Into<Words>, clause: impl Into<Words>, text: impl Into<Words>) {
        self.0.push(Finding { gate, passed: true, code: code.into(), clause: clause.into(), text: text.into() });
    }

    /// The candidate is out.
    pub fn fail(&mut self, gate: Gate, code: impl Into<Words>, clause: impl Into<Words>, text: impl Into<Words>) {
        self.0.push(Finding { gate, passed: false, code: code.into(), clause: clause.into(), text: text.into() });
    }

    /// Whether a gate has said no.
    pub fn failed(&self, gate: Gate) -> bool {
        self.0.iter().any(|f| f.gate == gate && !f.passed)
    }

    /// Notes that a gate had nothing against the candidate.
    pub fn pass_unless_failed(&mut self, gate: Gate, text: impl Into<Words>) {
        if !self.0.iter().any(|f| f.gate == gate && !f.passed) {
            self.pass(gate, gate.ok(), "", text);
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
    if own_share(case.facts).is_some_and(ExistingShare::has_arrived) {
        for gate in [Gate::Duplicate, Gate::Eligible, Gate::Fresh, Gate::Exclusivity, Gate::Capacity, Gate::Standing] {
            findings.pass(gate, format!("{}.settled", gate.word()), "", "settled when the lead was given");
        }
    } else {
        duplicate(case, &mut findings);
        fit::eligible(case, &mut findings);
        fit::fresh(case, &mut findings);
        fit::exclusivity(case, &mut findings);
        fit::capacity(case, &mut findings);
        fit::standing(case, &mut findings);
    }
    Judged { findings: findings.0, permitted }
}

/// Gate 1: the lead is one.
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

/// Gate 2: the person may be shared at all.
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
            out.fail(Gate::Suppressed, format!("refused.{}", kind.word()), "3 privacy.refuse", what);
        }
    }
    out.pass_unless_failed(Gate::Suppressed, "neither suppressed nor of a refused kind");
}

/// Gate 3: the agreement is in force and lets a received lead go further.
fn in_force(case: &Case<'_>, out: &mut Findings) {
    let (facts, entry) = (case.facts, case.entry);
    let arrived = own_share(facts).filter(|s| s.has_arrived());
    match entry.in_force(facts.now) {
        Ok(()) => {}
        Err(why) if arrived.is_some_and(|s| entry.continues(facts.now, s.status == ShareStatus::Accepted)) => {
            out.pass(Gate::Agreement, "agreement.continues", "5 term", format!("nothing new is shared ({why}), this lead is worked on"));
        }
        Err(why) => out.fail(Gate::Agreement, "agreement.not_in_force", "5 term", format!("{} is not in force: {why}", entry.id())),
    }
    if arrived.is_none() {
        received(case, out);
    }
    out.pass_unless_failed(Gate::Agreement, format!("{} version {} is signed", entry.id(), entry.agreement.about.version));
}

/// A received lead goes further only where the agreement under which it came says so, and never back.
fn received(case: &Case<'_>, out: &mut Findings) {
    let (program, facts, entry) = (case.program, case.facts, case.entry);
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
}

/// Gate 5: a legal tool where the data leaves its law.
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

/// Gate 6: not there already, not somebody else's.
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
