//! Gate 4: a legal basis for each purpose, channel and place, and the proof that is kept of it.
//!
//! Giving the name and making contact are judged apart. Purposes with `fields` give data, purposes without make contact.
//! A lead may go when at least one purpose that gives data and, where the agreement has any, at least one that makes
//! contact is permitted. It goes with the fields of the permitted purposes only, and without the addresses and numbers
//! of every channel that has no basis of its own: a person who agreed to mail and not to calls is shared without phone.

use std::collections::{BTreeMap, BTreeSet};

use super::gates::{Case, Findings};
use crate::clock::MINUTE;
use crate::model::agreement::{Basis, BasisRule, Purpose};
use crate::model::decision::Gate;
use crate::model::{Channel, ConsentRecord, Lead};
use crate::program::{Notice, Versioned, place};

/// How far a source's clock may run ahead of ours.
const SKEW: i64 = 5 * MINUTE;

/// What may leave, and on which proof.
#[derive(Debug, Default)]
pub struct Permitted {
    /// The lead fields.
    pub fields: BTreeSet<String>,
    /// The channels by which the recipient may contact the person.
    pub channels: BTreeSet<Channel>,
    /// The proof.
    pub records: Vec<ConsentRecord>,
}

/// Why a basis does not hold: code and words.
type Lack = (&'static str, String);

const EVERY_CHANNEL: [Channel; 3] = [Channel::Email, Channel::Phone, Channel::Post];

/// The lead fields by which a channel reaches a person.
pub fn contact_fields(channel: Channel) -> &'static [&'static str] {
    match channel {
        Channel::Email => &["email"],
        Channel::Phone => &["phone", "mobile"],
        Channel::Post => &["street", "postal_code"],
    }
}

fn channel_of(field: &str) -> Option<Channel> {
    EVERY_CHANNEL.into_iter().find(|c| contact_fields(*c).contains(&field))
}

/// The channels by which the lead could be reached.
pub fn reachable(lead: &Lead) -> impl Iterator<Item = Channel> {
    EVERY_CHANNEL.into_iter().filter(|c| contact_fields(*c).iter().any(|f| lead.text(f).is_some()))
}

/// An address or number without the ways of writing it.
pub fn normal(channel: Channel, text: &str) -> String {
    match channel {
        Channel::Email => text.trim().to_lowercase(),
        Channel::Phone => text.chars().filter(|c| c.is_ascii_digit() || *c == '+').collect(),
        Channel::Post => text.split_whitespace().collect::<Vec<_>>().join(" ").to_lowercase(),
    }
}

/// Judges every purpose of the agreement for this person.
pub fn judge(case: &Case<'_>, findings: &mut Findings) -> Permitted {
    let agreement = &case.entry.agreement;
    let purposes = &agreement.privacy.purpose;
    let mut permitted = Permitted::default();
    let mut lacks: Vec<(String, Lack)> = Vec::new();

    let mut contactable: BTreeSet<String> = BTreeSet::new();
    let mut contacts = false;
    for purpose in purposes.iter().filter(|p| p.fields.is_empty()) {
        contacts = true;
        for (channel, granted) in contact(case, purpose) {
            match granted {
                Ok((basis, fields)) => {
                    permitted.channels.insert(channel);
                    permitted.records.push(record(case, purpose, Some(channel), basis));
                    contactable.extend(fields);
                }
                Err(lack) => lacks.push((format!("{} by {}", purpose.id, word(channel)), lack)),
            }
        }
    }
    let may_contact = !contacts || !permitted.channels.is_empty();

    let mut disclosed = false;
    for purpose in purposes.iter().filter(|p| !p.fields.is_empty()) {
        match disclose(case, purpose) {
            Ok(grants) => {
                disclosed = true;
                // `None` when the act as a whole is permitted: then it sets no limit on addresses and numbers of its own.
                let own: Option<BTreeSet<&String>> =
                    grants.iter().all(|(channel, ..)| channel.is_some()).then(|| grants.iter().flat_map(|(.., fields)| fields).collect());
                for (channel, basis, _) in &grants {
                    permitted.records.push(record(case, purpose, *channel, *basis));
                }
                let leaves = |field: &&String| match channel_of(field) {
                    Some(_) => contactable.contains(*field) && own.as_ref().is_none_or(|own| own.contains(field)),
                    None => true,
                };
                permitted.fields.extend(purpose.fields.iter().filter(leaves).cloned());
            }
            Err(lack) => lacks.push((purpose.id.clone(), lack)),
        }
    }

    if disclosed && may_contact {
        let text = format!("permitted: {}", permitted_words(&permitted));
        findings.pass(Gate::Consent, "consent.proven", "3 privacy.basis", text);
        for (what, (code, why)) in lacks {
            findings.pass(Gate::Consent, "consent.left_out", "3 privacy.basis", format!("without {what}: {why} ({code})"));
        }
    } else {
        // What is asked first is told first: giving the name, then making contact.
        lacks.sort_by_key(|(what, _)| what.contains(" by "));
        for (what, (code, why)) in lacks {
            findings.fail(Gate::Consent, code, clause(code), format!("{what}: {why}"));
        }
        if !findings.failed(Gate::Consent) {
            let text = "the lead has no address or number by which the agreement lets anybody be contacted".to_owned();
            findings.fail(Gate::Consent, "consent.no_channel", "3 privacy.basis", text);
        }
    }
    permitted
}

fn clause(code: &str) -> &'static str {
    if code.starts_with("consent.notice") { "3 privacy.notices" } else { "3 privacy.basis" }
}

fn permitted_words(permitted: &Permitted) -> String {
    let words: BTreeSet<String> = permitted
        .records
        .iter()
        .map(|r| match r.channel {
            Some(channel) => format!("{} by {} ({})", r.purpose, word(channel), r.basis),
            None => format!("{} ({})", r.purpose, r.basis),
        })
        .collect();
    words.into_iter().collect::<Vec<_>>().join(", ")
}

fn word(channel: Channel) -> &'static str {
    match channel {
        Channel::Email => "email",
        Channel::Phone => "phone",
        Channel::Post => "post",
    }
}

/// The rule for the person's place: the narrowest place that fits.
fn rule<'a>(case: &Case<'_>, purpose: &'a Purpose) -> Result<&'a BasisRule, Lack> {
    let place = &case.facts.lead.consent.place;
    if place.country.is_none() {
        return Err(("consent.place_unknown", "nobody knows where the person is, so no law permits it".to_owned()));
    }
    let fits = |name: &str| place::contains(name, place.country.as_deref(), place.state.as_deref());
    let best = purpose.basis.iter().filter(|(name, _)| fits(name)).max_by_key(|(name, _)| place::narrowness(name));
    best.map(|(_, rule)| rule).ok_or_else(|| ("consent.place_not_listed", "no legal basis is agreed for the person's place".to_owned()))
}

type Granted = (Basis, Vec<String>);

/// Each channel by which the lead could be reached, with its basis and the fields that have it.
fn contact(case: &Case<'_>, purpose: &Purpose) -> Vec<(Channel, Result<Granted, Lack>)> {
    let reachable = reachable(&case.facts.lead);
    match rule(case, purpose) {
        Err(lack) => reachable.map(|channel| (channel, Err(lack.clone()))).collect(),
        Ok(BasisRule::Whole(basis)) => reachable.map(|channel| (channel, by_channel(case, purpose, channel, *basis))).collect(),
        Ok(BasisRule::Channels(rules)) => reachable
            .map(|channel| match rules.get(&channel) {
                Some(basis) => (channel, by_channel(case, purpose, channel, *basis)),
                None => (channel, Err(("consent.channel_not_listed", format!("no legal basis is agreed for {}", word(channel))))),
            })
            .collect(),
    }
}

/// What a purpose that gives data has: for the whole act (no channel), or a channel with the fields that reach it.
type Grant = (Option<Channel>, Basis, BTreeSet<String>);

/// Whether the name may be given: for the whole act, or by the channels that have a basis.
fn disclose(case: &Case<'_>, purpose: &Purpose) -> Result<Vec<Grant>, Lack> {
    match rule(case, purpose)? {
        BasisRule::Whole(basis) => {
            holds(case, purpose, None, *basis)?;
            Ok(vec![(None, *basis, BTreeSet::new())])
        }
        BasisRule::Channels(_) => {
            let mut granted = Vec::new();
            let mut first = None;
            for (channel, grant) in contact(case, purpose) {
                match grant {
                    Ok((basis, fields)) => granted.push((Some(channel), basis, fields.into_iter().collect())),
                    Err(lack) => first = first.or(Some(lack)),
                }
            }
            let none = || ("consent.no_channel", "the lead has no address or number of a listed channel".to_owned());
            if granted.is_empty() { Err(first.unwrap_or_else(none)) } else { Ok(granted) }
        }
    }
}

/// One channel: its basis, and which of the lead's addresses or numbers it covers.
fn by_channel(case: &Case<'_>, purpose: &Purpose, channel: Channel, basis: Basis) -> Result<Granted, Lack> {
    if case.blocked.contains(&channel) {
        return Err(("consent.channel_stopped", format!("the person does not want {}", word(channel))));
    }
    holds(case, purpose, Some(channel), basis)?;
    let lead = &case.facts.lead;
    let present = contact_fields(channel).iter().filter(|f| lead.text(f).is_some()).map(|f| (*f).to_owned());
    if basis == Basis::NotOptedOut {
        return Ok((basis, present.collect()));
    }
    let Some(point) = lead.consent.contact_points.get(&channel) else {
        return Err(("consent.contact_point_missing", format!("it is not recorded which {} the person gave with the yes", word(channel))));
    };
    let point = normal(channel, point);
    let covers = |name: &String| lead.text(name).is_some_and(|text| normal(channel, text) == point);
    let covered: Vec<String> = match channel {
        // An address is agreed to by its street; the postal code goes with it.
        Channel::Post => {
            if covers(&"street".to_owned()) {
                present.collect()
            } else {
                Vec::new()
            }
        }
        Channel::Email | Channel::Phone => present.filter(covers).collect(),
    };
    if covered.is_empty() {
        return Err(("consent.contact_point_changed", format!("the lead's {} is not the one that the person agreed to", word(channel))));
    }
    Ok((basis, covered))
}

/// Whether a basis holds for this person. A missing part means no.
fn holds(case: &Case<'_>, purpose: &Purpose, channel: Option<Channel>, basis: Basis) -> Result<(), Lack> {
    let claim = &case.facts.lead.consent;
    if claim.nobody {
        return Err(("consent.nobody", "the person chose that nobody gets the data".to_owned()));
    }
    if !claim.unreadable_stops.is_empty() {
        let text = format!("opt-out fields cannot be read at the source: {}", claim.unreadable_stops.join(", "));
        return Err(("consent.stop_unreadable", text));
    }
    // A yes after a no is a new yes; at the same moment, the no counts.
    if claim.withdrawn_at.is_some_and(|no| claim.given_at.is_none_or(|yes| yes <= no)) {
        return Err(("consent.withdrawn", "the person withdrew".to_owned()));
    }
    if basis == Basis::NotOptedOut {
        if channel.is_none() && claim.flags.contains("gpc") {
            return Err(("consent.gpc", "the person's browser said not to sell or share (GPC)".to_owned()));
        }
        return Ok(());
    }
    if !claim.choices.contains(case.entry.recipient()) {
        return Err(("consent.not_chosen", "the person has not chosen this partner".to_owned()));
    }
    let Some(given) = claim.given_at else {
        return Err(("consent.no_time", "it is not recorded when the person said yes".to_owned()));
    };
    if given > case.facts.now + SKEW {
        return Err(("consent.in_future", "the yes is dated in the future".to_owned()));
    }
    if !claim.set_by_person {
        // Not by whom: a vendor's word for it can be a colleague's name.
        return Err((
            "consent.not_by_person",
            "the yes was not recorded by the person, but by an import, a workflow or a colleague".to_owned(),
        ));
    }
    let notice = notice(case)?;
    covers(case, &notice.value, purpose, channel, given)?;
    match basis {
        Basis::DoubleOptIn => match claim.confirmed_at {
            None => Err(("consent.not_confirmed", "the second confirmation is missing".to_owned())),
            Some(at) if at < given => Err(("consent.not_confirmed", "the confirmation is older than the yes".to_owned())),
            Some(at) if at > case.facts.now + SKEW => Err(("consent.in_future", "the confirmation is dated in the future".to_owned())),
            Some(_) => Ok(()),
        },
        Basis::SellerNamedWritten if claim.shown.is_none() && claim.certificate.is_none() => {
            Err(("consent.not_written", "there is neither the form as shown nor a certificate of it".to_owned()))
        }
        Basis::SellerNamedWritten | Basis::Consent | Basis::PersonDirected | Basis::NotOptedOut => Ok(()),
    }
}

/// The notice that the person saw, when this agreement counts it.
fn notice<'a>(case: &Case<'a>) -> Result<&'a Versioned<Notice>, Lack> {
    let Some(id) = &case.facts.lead.consent.notice else {
        return Err(("consent.notice_missing", "it is not recorded which notice the person saw".to_owned()));
    };
    let found = case.program.notices.get(id).filter(|_| case.entry.agreement.privacy.notices.contains(id));
    found.ok_or_else(|| ("consent.notice_unknown", "the notice that the person saw is not one of the agreement's".to_owned()))
}

/// Whether a notice tells of this sharing, and was shown on the day of the yes.
fn covers(case: &Case<'_>, notice: &Notice, purpose: &Purpose, channel: Option<Channel>, given: i64) -> Result<(), Lack> {
    let parties = &case.entry.agreement.parties;
    if !notice.recipients.contains(&parties.recipient.legal_name) {
        let former = case.recipient.map(|p| p.former_names.as_slice()).unwrap_or_default();
        return Err(if notice.recipients.iter().any(|r| former.contains(r)) {
            ("consent.notice_old_name", "the notice names a company that the recipient no longer is: a new notice is needed".to_owned())
        } else {
            ("consent.notice_other_recipient", "the notice does not name the recipient's legal entity".to_owned())
        });
    }
    if notice.controller != parties.source.legal_name {
        return Err(("consent.notice_other_source", "the notice was shown by another company than the source".to_owned()));
    }
    if !notice.purposes.contains(&purpose.id) {
        return Err(("consent.notice_other_purpose", "the notice does not tell of this purpose".to_owned()));
    }
    if channel.is_some_and(|c| !notice.channels.contains(&c)) {
        return Err(("consent.notice_other_channel", "the notice does not tell of this channel".to_owned()));
    }
    let day = jiff::Timestamp::from_millisecond(given).map(|t| t.to_zoned(notice.shown.zone.rules()).date());
    let shown = day.is_ok_and(|day| day >= notice.shown.from.0 && notice.shown.until.is_none_or(|until| day <= until.0));
    if shown { Ok(()) } else { Err(("consent.notice_not_shown", "the notice was not shown on the day of the yes".to_owned())) }
}

/// The proof of one permission.
fn record(case: &Case<'_>, purpose: &Purpose, channel: Option<Channel>, basis: Basis) -> ConsentRecord {
    let claim = &case.facts.lead.consent;
    let notice = notice(case).ok();
    let mut method: BTreeMap<&str, &str> = BTreeMap::new();
    method.extend(claim.shown.as_deref().map(|v| ("form", v)));
    method.extend(claim.set_by.as_deref().map(|v| ("recorded by", v)));
    method.extend(claim.certificate.as_deref().map(|v| ("certificate", v)));
    let method = method.into_iter().map(|(key, value)| format!("{key} {value}")).collect::<Vec<_>>().join("; ");
    ConsentRecord {
        controller: case.entry.agreement.parties.source.legal_name.clone(),
        recipient: case.entry.recipient().to_owned(),
        recipient_legal_name: case.entry.agreement.parties.recipient.legal_name.clone(),
        purpose: purpose.id.clone(),
        channel,
        basis: basis.word().to_owned(),
        notice: notice.and(claim.notice.clone()),
        notice_version: notice.map(|n| n.hash.clone()),
        language: notice.map(|n| n.value.language.clone()),
        given_at: claim.given_at,
        method: (!method.is_empty()).then_some(method),
        contact_point: channel.and_then(|c| claim.contact_points.get(&c).cloned()),
        place: claim.place.state.clone().or_else(|| claim.place.country.clone()),
    }
}
