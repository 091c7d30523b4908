//! The consent block: what a record claims about consent, opt-outs and the person's place.

use std::collections::BTreeSet;

use leadshare_connectors::sdk::Fields;
use leadshare_connectors::sdk::record::{self, Moment};
use serde_json::Value;

use super::file::{Choice, Consent, GivenAt, OrName, StopFieldMissing};
use super::rule::StopTest;
use super::transform::{self, contact, number, place, text, time};
use crate::clock::Millis;
use crate::model::{Channel, ConsentClaim, Place, Stop};

/// Reads the claim. Without a consent block, or for a part that is missing, nothing is claimed. `country` is the
/// lead's; it reads a national number when the block names no place.
pub(super) fn read(block: Option<&Consent>, stops: &[StopTest], fields: &Fields, country: Option<&str>) -> ConsentClaim {
    let Some(block) = block else { return ConsentClaim::default() };
    let mut claim = ConsentClaim::default();
    if let Some(choice) = &block.choice {
        (claim.choices, claim.nobody) = choices(choice, fields);
    }
    claim.notice = words(block.notice.as_deref(), fields);
    if let Some(given_at) = block.given_at.as_ref().map(OrName::table) {
        given(&given_at, fields, &mut claim);
    }
    claim.place = person_place(&block.place, fields);
    for (channel, _, field) in block.contact_point.pairs() {
        let point = words(Some(field), fields).and_then(|point| match channel {
            Channel::Email => contact::email(&point),
            Channel::Phone => contact::e164(&point, claim.place.country.as_deref().or(country)),
            Channel::Post => Some(text::collapse(&point)),
        });
        claim.contact_points.extend(point.map(|point| (channel, point)));
    }
    claim.confirmed_at = at(block.proof.confirmed_at.as_deref(), fields);
    claim.shown = words(block.proof.shown.as_deref(), fields);
    claim.certificate = words(block.proof.certificate.as_deref(), fields);
    let mut unreadable = BTreeSet::new();
    for (flag, field) in block.flags.pairs() {
        match fields.get(field) {
            Some(value) if holds(value, None) => {
                claim.flags.insert(flag.to_owned());
            }
            Some(_) => {}
            None => {
                unreadable.insert(field.to_owned());
            }
        }
    }
    for stop in stops {
        match fields.get(&stop.field) {
            Some(value) if holds(value, stop.is.as_ref()) => {
                claim.stops.push(Stop { said_by: stop.field.clone(), blocks: stop.blocks.clone() });
            }
            Some(_) => {}
            None => {
                unreadable.insert(stop.field.clone());
            }
        }
    }
    if block.stop_field_missing == StopFieldMissing::Refuse {
        claim.unreadable_stops = unreadable.into_iter().collect();
    }
    let withdrawn = [&block.withdrawn_at, &block.write_back.withdrawn_at];
    claim.withdrawn_at = withdrawn.into_iter().filter_map(|field| at(field.as_deref(), fields)).max();
    claim
}

/// Every field that [`read`] looks at, each with its path in the block.
pub(super) fn fields(block: &Consent) -> Vec<(Vec<String>, String)> {
    let given_at = block.given_at.as_ref().map(OrName::table).unwrap_or_default();
    let history = given_at.history_of.as_deref().map(record::history_of);
    let single = [
        (&["choice", "crm"][..], block.choice.as_ref().map(|choice| &choice.crm)),
        (&["notice"], block.notice.as_ref()),
        (&["given_at", "crm"], given_at.crm.as_ref()),
        (&["given_at", "history_of"], given_at.history_of.as_ref()),
        (&["given_at", "history_of"], history.as_ref()),
        (&["given_at", "set_by_field"], given_at.set_by_field.as_ref()),
        (&["proof", "confirmed_at"], block.proof.confirmed_at.as_ref()),
        (&["proof", "shown"], block.proof.shown.as_ref()),
        (&["proof", "certificate"], block.proof.certificate.as_ref()),
        (&["withdrawn_at"], block.withdrawn_at.as_ref()),
        (&["write_back", "withdrawn_at"], block.write_back.withdrawn_at.as_ref()),
    ];
    let path = |steps: &[&str]| steps.iter().map(|step| (*step).to_owned()).collect::<Vec<_>>();
    let single = single.into_iter().filter_map(|(steps, field)| Some((path(steps), field?.clone())));
    let points = block.contact_point.pairs().map(|(channel, key, field)| (path(&["contact_point", key]), field.to_owned(), channel));
    let points = points.map(|(path, field, _)| (path, field));
    let flags = block.flags.pairs().map(|(flag, field)| (path(&["flags", flag]), field.to_owned()));
    let places = block.place.iter().enumerate().map(|(index, field)| (path(&["place", &index.to_string()]), field.clone()));
    let stops = block.stop.iter().enumerate().filter_map(|(index, stop)| {
        let key = if stop.crm.is_some() { "crm" } else { "api" };
        Some((path(&["stop", &index.to_string(), key]), stop.field()?))
    });
    single.chain(points).chain(flags).chain(places).chain(stops).collect()
}

fn words(field: Option<&str>, fields: &Fields) -> Option<String> {
    let text = text::trim(&transform::plain(fields.get(field?)?)?);
    (!text.is_empty()).then_some(text)
}

fn at(field: Option<&str>, fields: &Fields) -> Option<Millis> {
    words(field, fields).and_then(|text| time::moment(&text)).map(jiff::Timestamp::as_millisecond)
}

fn choices(choice: &Choice, fields: &Fields) -> (BTreeSet<String>, bool) {
    let parts: Vec<String> = match fields.get(&choice.crm) {
        Some(Value::Array(list)) => list.iter().filter_map(transform::plain).collect(),
        Some(value) => transform::plain(value).into_iter().collect(),
        None => Vec::new(),
    };
    let split = |part: String| match &choice.split {
        Some(separator) => part.split(separator.as_str()).map(str::to_owned).collect(),
        None => vec![part],
    };
    let parts: BTreeSet<String> = parts.into_iter().flat_map(split).map(|part| text::trim(&part)).collect();
    let nobody = choice.nobody.as_ref().is_some_and(|word| parts.contains(word));
    let chosen = choice.names.iter().filter(|(word, _)| parts.contains(*word)).map(|(_, partner)| partner.clone());
    // "Nobody" beside a name contradicts itself, and what is in doubt is a no.
    (if nobody { BTreeSet::new() } else { chosen.collect() }, nobody)
}

fn given(rule: &GivenAt, fields: &Fields, claim: &mut ConsentClaim) {
    claim.given_at = at(rule.crm.as_deref(), fields);
    let witness = rule.history_of.as_deref().and_then(|field| present_value(field, fields));
    claim.set_by = match &witness {
        Some(moment) => moment.by.clone(),
        None => words(rule.set_by_field.as_deref(), fields),
    };
    claim.given_at = claim.given_at.or(witness.map(|moment| moment.at));
    claim.set_by_person = claim.set_by.as_ref().is_some_and(|by| rule.set_by.contains(by));
}

/// The newest entry of a field's history, when it is the one that set the present value.
fn present_value(field: &str, fields: &Fields) -> Option<Moment> {
    let history = fields.get(&record::history_of(field))?;
    let history: Vec<Moment> = serde_json::from_value(history.clone()).ok()?;
    let newest = history.into_iter().max_by_key(|moment| moment.at)?;
    (transform::plain(&newest.value) == transform::plain(fields.get(field)?)).then_some(newest)
}

fn person_place(rule: &[String], fields: &Fields) -> Place {
    let country = words(rule.first().map(String::as_str), fields).and_then(|text| place::country_code(&text));
    let state = words(rule.get(1).map(String::as_str), fields).and_then(|text| place::state_code(&text, Some(country?)));
    Place { country: country.map(str::to_owned), state: state.map(str::to_owned) }
}

/// Whether a value says yes. What is neither empty nor a clear no counts as yes, so that a stop is never overlooked.
fn holds(value: &Value, is: Option<&Value>) -> bool {
    if let Value::Array(list) = value {
        return list.iter().any(|value| holds(value, is));
    }
    if transform::is_empty(value) {
        return is == Some(&Value::Bool(false));
    }
    let Some(found) = transform::plain(value) else { return true };
    match is {
        Some(Value::Bool(wanted)) => number::boolean(&found).is_none_or(|found| found == *wanted),
        Some(wanted) => transform::plain(wanted).is_some_and(|wanted| wanted.trim().eq_ignore_ascii_case(found.trim())),
        None => number::boolean(&found) != Some(false),
    }
}
