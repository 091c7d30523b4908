//! Preparing the news of a share for its sharer's record: only fields that changed, in the sharer's words.

use std::collections::BTreeMap;

use leadshare_connectors::sdk::{Fields, Item, Op, Output};
use serde_json::{Value, json};

use super::{About, Prepared, Way, put_off};
use crate::clock::{Millis, SECOND};
use crate::context::Context;
use crate::errors::Result;
use crate::http::Terms;
use crate::http::line::Line;
use crate::http::talk::{Ended, NoSink, drive};
use crate::mapping::{Mapping, StatusBack};
use crate::model::ConsentClaim;
use crate::model::agreement::privacy::BackWord;
use crate::points;
use crate::rules::Rules;
use crate::shares::stand;
use crate::store::deliveries::{self, Delivery};
use crate::store::dirty::{self, Raise};
use crate::store::{leads, shares};

/// When news are tried again whose record could not be looked at.
const LOOK_AGAIN: Millis = 30 * SECOND;

/// Prepares claimed news. What the record already says is done without a request. Second is when it was prepared.
pub(super) async fn prepare(
    ctx: &Context,
    rules: &Rules,
    line: &Line,
    mapping: &Mapping,
    lease: &str,
    claimed: Vec<Delivery>,
    terms: Terms<'_>,
) -> Result<(Vec<Prepared>, Millis)> {
    if claimed.is_empty() {
        return Ok((Vec::new(), 0));
    }
    let same_field = mapping.tells_where_people_stop();
    let said = if same_field { as_they_are(ctx, line, mapping, &claimed, terms).await? } else { Ok(BTreeMap::new()) };
    let said = match said {
        Ok(said) => said,
        Err(until) => {
            put_off(ctx, Way::Back, lease, &claimed, until, "not_read").await?;
            return Ok((Vec::new(), 0));
        }
    };
    let now = ctx.clock.now();
    let mut tx = ctx.db.begin().await?;
    let ids = Value::from(claimed.iter().map(|d| json!([d.share])).collect::<Vec<_>>());
    let found: BTreeMap<String, shares::Share> = shares::by_id(&mut tx, &ids).await?.into_iter().map(|s| (s.id.clone(), s)).collect();
    let lead_ids = Value::from(found.values().map(|s| json!([s.lead])).collect::<Vec<_>>());
    let from: BTreeMap<String, leads::StoredLead> =
        leads::leads(&mut tx, &lead_ids).await?.into_iter().map(|l| (l.id.clone(), l)).collect();
    // The sharer may have merged a record into another, which stands for it since.
    let shared = Value::from(from.values().map(|l| json!([l.remote_id])).collect::<Vec<_>>());
    let merged: BTreeMap<String, String> = shares::aliases(&mut tx, line.name(), mapping.object(), &shared).await?.into_iter().collect();
    let now_at = |lead: &leads::StoredLead| merged.get(&lead.remote_id).unwrap_or(&lead.remote_id).clone();
    let remote_ids = Value::from(from.values().map(|l| json!([now_at(l)])).collect::<Vec<_>>());
    let known: BTreeMap<String, leads::KnownRecord> =
        leads::records(&mut tx, line.name(), mapping.object(), &remote_ids).await?.into_iter().map(|r| (r.0.clone(), r)).collect();

    let (mut prepared, mut done, mut ends, mut wait, mut look) = (Vec::new(), Vec::new(), Vec::new(), Vec::new(), Vec::new());
    for delivery in claimed {
        let Some(share) = found.get(&delivery.share) else { continue };
        let Some(lead) = from.get(&share.lead) else { continue };
        let remote_id = now_at(lead);
        let record = known.get(&remote_id);
        if record.map_or(!merged.contains_key(&lead.remote_id), |r| r.4 == "gone") {
            ends.push(json!([share.id, "ended", "record_gone", delivery.version]));
            continue;
        }
        let stand = stand(share)?;
        let agreement = rules.program.agreements.get(&share.agreement).map(|entry| &entry.agreement);
        let may = |field: BackWord| agreement.is_some_and(|a| a.privacy.back_to_source.contains(&field));
        let news = StatusBack {
            share_status: may(BackWord::ShareStatus).then_some(stand.status),
            progress: may(BackWord::Progress).then_some(stand.progress),
            recipient: agreement.map(|a| a.parties.recipient.legal_name.clone()),
            reason_code: stand.reason.filter(|_| may(BackWord::ReasonCode)),
            amount: stand.amount.filter(|_| may(BackWord::Amount)),
            ..StatusBack::default()
        };
        let mut fields = mapping.status_back(&news);
        if same_field {
            let again = Raise { object: mapping.object().to_owned(), remote_id: remote_id.clone(), kind: "changed", detail: None };
            let Some(said) = said.get(&remote_id) else {
                // It is not there any more, or it was merged just now.
                look.push(again);
                wait.push(json!([share.id, now + LOOK_AGAIN, delivery.attempts, "not_read", delivery.version]));
                continue;
            };
            // A no that stands in the field that news go to must outlast them, and be heard.
            let stopped = said.stops.iter().filter(|stop| fields.remove(&stop.said_by).is_some()).count();
            look.extend((stopped > 0).then_some(again));
        }
        let written: Fields = record.and_then(|r| r.5.as_deref()).and_then(|text| serde_json::from_str(text).ok()).unwrap_or_default();
        fields.retain(|name, value| written.get(name) != Some(value));
        if fields.is_empty() {
            done.push(json!([share.id, delivery.version]));
            continue;
        }
        let item = Item::Update { key: share.id.clone(), id: remote_id.clone(), fields };
        let about = About { share: share.clone(), remote_id: Some(remote_id) };
        prepared.push(Prepared { delivery, item, body: String::new(), about });
    }
    // Two shares of one lead write into one record: one at a time, or the last would win by chance.
    let mut seen = std::collections::BTreeSet::new();
    let (first, rest): (Vec<Prepared>, Vec<Prepared>) =
        prepared.into_iter().partition(|p| p.about.remote_id.as_ref().is_none_or(|id| seen.insert(id.clone())));
    wait.extend(rest.iter().map(|p| json!([p.delivery.share, now, p.delivery.attempts, Value::Null, p.delivery.version])));
    deliveries::later(&mut tx, "back", lease, &Value::from(wait), now).await?;
    dirty::raise(&mut tx, line.name(), &look, now).await?;
    deliveries::done(&mut tx, "back", lease, &Value::from(done), now).await?;
    deliveries::end(&mut tx, "back", lease, &Value::from(ends), now).await?;
    let held = Value::from(first.iter().map(|p| json!([p.delivery.share])).collect::<Vec<_>>());
    if deliveries::still_held(&mut tx, "back", lease, &held, now + 60_000).await?.len() != first.len() {
        return Ok((Vec::new(), now));
    }
    deliveries::intend(&mut tx, "back", &Value::from(first.iter().map(|p| json!([p.delivery.share, 0])).collect::<Vec<_>>()), now).await?;
    tx.commit().await?;
    points::at("delivery.intended").await;
    Ok((first, now))
}

/// Reads what the sharer's records say of consent just now, by record: a no that was put into the field that news go to
/// since the record was last read would be written over. When they could not be read, the time to try again.
async fn as_they_are(
    ctx: &Context,
    line: &Line,
    mapping: &Mapping,
    claimed: &[Delivery],
    terms: Terms<'_>,
) -> Result<Result<BTreeMap<String, ConsentClaim>, Millis>> {
    let ids = Value::from(claimed.iter().map(|d| json!([d.share])).collect::<Vec<_>>());
    let ids = shares::sources(&ctx.db, line.name(), mapping.object(), &ids).await?;
    let op = Op::Fetch { object: mapping.object().to_owned(), ids, fields: mapping.consent_fields() };
    let later = ctx.clock.now() + LOOK_AGAIN;
    let Ok(talk) = line.connector().open(&op, &line.account(), None) else { return Ok(Err(later)) };
    Ok(match drive(&ctx.transport, line, &ctx.clock, talk, terms, &mut NoSink).await? {
        Ended::Done(Output::Records(records)) => Ok(records.into_iter().map(|r| (r.id, mapping.consent(&r.fields))).collect()),
        Ended::Wait(until) | Ended::Rest(until, _) => Err(until.max(later)),
        Ended::NeedsPerson { code, message } => {
            ctx.needs_person(line, &code, &message).await?;
            Err(later)
        }
        Ended::Done(_) | Ended::Passing(_) => Err(later),
    })
}
