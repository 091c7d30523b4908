//! Drives a connector's talk: sends what it asks for, lets it hear, hands on what it says.

use std::collections::BTreeMap;

use leadshare_connectors::sdk::{Ask, Cursor, Effect, ItemKey, ItemResult, Output, Record, Saved, Step, Talk};

use super::limit::{LONG, SHORT};
use super::line::Line;
use super::{Sent, Terms, Transport, send};
use crate::clock::{Clock, Millis};
use crate::errors::Result;

/// Keeps what a talk says while it goes on.
pub trait Sink: Send {
    /// A page of a poll: never stored after its cursor, nor the cursor without it.
    fn page(&mut self, _records: Vec<Record>, _cursor: Cursor) -> impl Future<Output = Result<()>> + Send {
        async { Ok(()) }
    }
    /// Whether the talk may rest after that page: the next one goes on from its cursor.
    fn enough(&self) -> bool {
        false
    }
    /// Something that must survive a crash.
    fn save(&mut self, _saved: Saved) -> impl Future<Output = Result<()>> + Send {
        async { Ok(()) }
    }
    /// A request that writes these items reached the vendor, or may have. `open`: what became of some try of it nobody knows.
    fn reached(&mut self, _keys: &[ItemKey], _open: bool) {}
    /// One item of a write is settled.
    fn item(&mut self, _key: ItemKey, _result: ItemResult) {}
}

/// A sink for talks that only end with an output.
pub struct NoSink;
impl Sink for NoSink {}

/// How a talk ended.
#[derive(Debug)]
pub enum Ended {
    /// As asked.
    Done(Output),
    /// Snoozed by the connector until then; open it again from what is saved.
    Rest(Millis, Saved),
    /// Stopped before the end by a quota, a token or a pause; no attempt is burnt.
    Wait(Millis),
    /// Stopped by trouble that may pass; an attempt is burnt.
    Passing(String),
    /// Stopped: a person must act.
    NeedsPerson {
        /// The vendor's code, or ours.
        code: String,
        /// What to do.
        message: String,
    },
}

/// Drives a talk to its end.
///
/// # Errors
/// Only what the sink answers (the store); everything about the vendor is in [`Ended`].
pub async fn drive(
    transport: &Transport,
    line: &Line,
    clock: &Clock,
    mut talk: Box<dyn Talk>,
    terms: Terms<'_>,
    sink: &mut impl Sink,
) -> Result<Ended> {
    let mut asks: Vec<Ask> = Vec::new();
    // What would have been spent for nothing if the talk stopped here.
    let mut spent = BTreeMap::new();
    loop {
        match talk.step() {
            Step::Ask(ask) => asks.push(ask),
            Step::Wait => {
                if asks.is_empty() {
                    return Ok(Ended::Passing("talk_stuck".into()));
                }
                let patience = if spent.is_empty() || terms.deadline.is_some() { terms.patience } else { LONG };
                let asked = std::mem::take(&mut asks);
                let sent = together(transport, line, clock, &asked, Terms { patience, ..terms }).await;
                let mut stopped = None;
                for (ask, (sent, open)) in asked.iter().zip(sent) {
                    if let (Effect::Keyed(keys) | Effect::Once(keys), Sent::Answer(_) | Sent::Unknown) = (&ask.effect, &sent) {
                        sink.reached(keys, open);
                    }
                    match sent.heard() {
                        Some(heard) => {
                            add(&mut spent, ask);
                            talk.heard(ask.tag, heard);
                        }
                        None if matches!(stopped, Some(Sent::NeedsPerson { .. })) => {}
                        None => stopped = Some(sent),
                    }
                }
                match stopped {
                    None => {}
                    Some(Sent::NeedsPerson { code, message }) => return Ok(Ended::NeedsPerson { code, message }),
                    // Begun again, it needs all that once more, and a write the look before it; what protects people does not wait for the pace.
                    Some(Sent::Wait(until)) => {
                        if terms.deadline.is_some() {
                            asked.first().into_iter().for_each(|ask| add(&mut spent, ask));
                        }
                        let again = if terms.protect { 0 } else { line.limits().lasts(&spent) };
                        return Ok(Ended::Wait(until + again));
                    }
                    Some(_) => return Ok(Ended::Passing("unheard".into())),
                }
            }
            Step::Save(saved) => sink.save(saved).await?,
            Step::Rest(by, saved) => return Ok(Ended::Rest(clock.now() + by, saved)),
            Step::Page(records, cursor) => {
                spent.clear();
                sink.page(records, cursor).await?;
                if sink.enough() {
                    return Ok(Ended::Wait(clock.now()));
                }
            }
            Step::Item(key, result) => sink.item(key, result),
            Step::Done(output) => return Ok(Ended::Done(output)),
            Step::Failed(fault) if fault.passing => return Ok(Ended::Passing(fault.code)),
            Step::Failed(fault) => return Ok(Ended::NeedsPerson { code: fault.code, message: fault.message }),
        }
    }
}

/// Sends what a talk asks for together; once nothing more is to be had of a budget, the rest waits. Where a budget is so small that nobody
/// waits for its next unit, as many as it gives at once are taken ahead together: each try that sends some and gives up for others would be
/// spent for nothing.
async fn together(transport: &Transport, line: &Line, clock: &Clock, asked: &[Ask], terms: Terms<'_>) -> Vec<(Sent, bool)> {
    let limits = line.limits();
    if terms.ahead.is_some() || !limits.slower(&cost(asked), SHORT * asked.len() as Millis) {
        return transport.together(asked.iter().map(|ask| send(transport, line, clock, ask, terms))).await;
    }
    let (mut sent, mut stopped) = (Vec::new(), None);
    let mut patience = terms.patience;
    for part in asked.chunks(limits.give(&cost(&asked[..1]), 0)) {
        let ahead = match limits.ahead(&cost(part), Terms { patience, ..terms }).await {
            Ok(ahead) => ahead,
            Err(until) => {
                crate::metrics::vendor_wait(line.connector_name());
                stopped = Some(until);
                break;
            }
        };
        if terms.deadline.is_none() {
            patience = LONG;
        }
        let terms = Terms { ahead: Some(&ahead), patience, ..terms };
        let heard = transport.together(part.iter().map(|ask| send(transport, line, clock, ask, terms))).await;
        let all_heard = heard.iter().all(|(sent, _)| sent.heard().is_some());
        sent.extend(heard);
        if !all_heard {
            stopped = Some(clock.now());
            break;
        }
    }
    if let Some(until) = stopped {
        sent.resize_with(asked.len(), || (Sent::Wait(until), false));
    }
    sent
}

/// What requests spend together.
fn cost(asked: &[Ask]) -> BTreeMap<String, u32> {
    let mut cost = BTreeMap::new();
    for ask in asked {
        add(&mut cost, ask);
    }
    cost
}

fn add(cost: &mut BTreeMap<String, u32>, ask: &Ask) {
    for (budget, units) in &ask.cost {
        *cost.entry((*budget).to_owned()).or_default() += units;
    }
}
