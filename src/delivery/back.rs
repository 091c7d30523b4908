//! Preparing the news of a share for its sharer's record: only fields that changed, in the sharer's words.

use std::collections::BTreeMap;

use leadshare_connectors::sdk::{Fields, Item};
use serde_json::{Value, json};

use super::{About, Prepared};
use crate::clock::Millis;
use crate::context::Context;
use crate::errors::Result;
use crate::http::line::Line;
use crate::mapping::{Mapping, StatusBack};
use crate::model::Lead;
use crate::model::agreement::privacy::BackWord;
use crate::people::{self, Keys};
use crate::points;
use crate::rules::Rules;
use crate::shares::stand;
use crate::store::deliveries::{self, Delivery};
use crate::store::{leads, shares};

/// Prepares claimed news. What the record already says is done without a request. Second is when it was prepared.
pub(super) async fn prepare(
    ctx: &Context,
    rules: &Rules,
    line: &Line,
    mapping: &Mapping,
    lease: &str,
    claimed: Vec<Delivery>,
) -> Result<(Vec<Prepared>, Millis)> {
    if claimed.is_empty() {
        return Ok((Vec::new(), 0));
    }
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

    let keys = if mapping.tells_where_people_stop() {
        Keys::load(&mut tx, &ctx.vault, from.values().map(|l| l.person.as_str())).await?
    } else {
        Keys::default()
    };
    let (mut prepared, mut done, mut ends) = (Vec::new(), Vec::new(), Vec::new());
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
        if mapping.tells_where_people_stop()
            && let Some(data) = &lead.data
            && let Some(said) = keys.open::<Lead>(&lead.person, people::lead_place(&lead.id), data)?
        {
            // A no that stands in the field that news go to must outlast them.
            said.consent.stops.iter().for_each(|stop| drop(fields.remove(&stop.said_by)));
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
    let wait = Value::from(
        rest.iter().map(|p| json!([p.delivery.share, now, p.delivery.attempts, Value::Null, p.delivery.version])).collect::<Vec<_>>(),
    );
    deliveries::later(&mut tx, "back", lease, &wait, now).await?;
    let done = Value::from(done);
    deliveries::done(&mut tx, "back", lease, &done, now).await?;
    deliveries::settled(&mut tx, "back", &done).await?;
    deliveries::end(&mut tx, "back", &Value::from(ends), now).await?;
    let held = Value::from(first.iter().map(|p| json!([p.delivery.share])).collect::<Vec<_>>());
    if deliveries::still_held(&mut tx, "back", lease, &held, now + 60_000).await?.len() != first.len() {
        return Ok((Vec::new(), now));
    }
    deliveries::intend(
        &mut tx,
        "back",
        line.name(),
        &Value::from(first.iter().map(|p| json!([p.delivery.share, 0])).collect::<Vec<_>>()),
        now,
    )
    .await?;
    tx.commit().await?;
    points::at("delivery.intended").await;
    Ok((first, now))
}
