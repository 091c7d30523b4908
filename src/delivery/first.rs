//! First writes: what a decision made ready a moment ago is not judged a second time when it is claimed, where nothing that it
//! stood on has changed.
//!
//! Only of people who were new with that decision: nothing else is known of them. That it is still so is proven in the transaction
//! that claims them and commits their intents: the share stands as it was made and its delivery is at its first version (whatever takes
//! a share back, or edits it, wants another), no record of the person is known there, nobody has given the person to the source, no
//! suppression and no pause has come, and the rules are the same. The five seconds for which gates hold count from the decision.
//!
//! The person's row is not locked: claiming locks the delivery's, which every withdrawal of what was not sent writes as well. So it
//! comes before, and is seen, or after, and is carried out when this write has ended.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::{About, Prepared, overtaking};
use crate::clock::{Millis, SECOND};
use crate::context::Context;
use crate::errors::Result;
use crate::firsts::{First, GATES_HOLD};
use crate::mapping::Mapping;
use crate::points;
use crate::rules::Rules;
use crate::store::deliveries::Delivery;
use crate::store::{Tx, people, shares};

/// So much of the time for which gates hold must be left for sending.
const TO_SEND: Millis = 2 * SECOND;

/// Takes out of what is about to be claimed what need not be judged again: its intents go with the claim. Third is when its gates
/// were checked.
pub(super) async fn ready(
    tx: &mut Tx,
    ctx: &Context,
    rules: &Rules,
    mapping: &Mapping,
    picked: Vec<Delivery>,
) -> Result<(Vec<Delivery>, Vec<Prepared>, Millis)> {
    let now = ctx.clock.now();
    let is_first = |d: &Delivery| d.version == 1 && d.attempts == 0;
    // One that was claimed before is suspect, and goes alone; one that is in doubt is looked for first. Nothing that is about to be
    // sent waits for that.
    if !picked.iter().all(|d| d.claims == 1 && d.intent.is_none()) {
        return Ok((picked, Vec::new(), now));
    }
    let known = |d: &Delivery| {
        let first = ctx.firsts.take(&d.share)?;
        let same = first.rules.0 == rules.program.hash && first.rules.1 == mapping.hash();
        (is_first(d) && same && now + TO_SEND <= first.judged + GATES_HOLD).then_some(first)
    };
    let mut firsts: BTreeMap<String, First> = picked.iter().filter_map(|d| Some((d.share.clone(), known(d)?))).collect();
    if firsts.is_empty() {
        return Ok((picked, Vec::new(), now));
    }
    let hashes = firsts.values().flat_map(|first| &first.suppressible).map(|hash| json!([hash])).collect::<Vec<_>>();
    let suppressed: Vec<String> = people::suppressed(tx, &Value::from(hashes)).await?.into_iter().map(|hit| hit.0).collect();
    let paused = people::paused(tx).await?;
    let untouched = shares::untouched(tx, &firsts.keys().map(|share| json!([share])).collect()).await?;
    firsts.retain(|share, first| {
        let stopped = first.suppressible.iter().any(|hash| suppressed.contains(hash));
        !stopped && untouched.contains(share) && !paused.contains(&first.share.source) && !paused.contains(&first.share.recipient)
    });
    let checked = firsts.values().map(|first| first.judged).min().unwrap_or(now);
    let (mut rest, mut prepared) = (Vec::new(), Vec::new());
    for delivery in picked {
        let Some(First { share, item, .. }) = firsts.remove(&delivery.share) else {
            rest.push(delivery);
            continue;
        };
        let body = overtaking::body(ctx, item.fields());
        prepared.push(Prepared { delivery, item, body, about: About { share, remote_id: None } });
    }
    points::at("delivery.checked").await;
    Ok((rest, prepared, checked))
}
