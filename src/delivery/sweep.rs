//! Looking again for creates that were once in doubt. One that arrives later than the vendor usually takes is a second
//! record where nothing there is unique, which the connector takes away; or it is a record of a lead that was taken back.

use leadshare_connectors::sdk::{Doubt, ItemResult, Op};
use serde_json::{Value, json};

use super::finish::made_word;
use super::{Stopped, talk};
use crate::clock::{DAY, MINUTE, Millis};
use crate::context::Context;
use crate::errors::Result;
use crate::http::Terms;
use crate::http::line::Line;
use crate::rules::Rules;
use crate::store::{connections, shares, sweeps};

/// So long after it was sent a create is looked for.
const UNTIL: Millis = DAY;
/// A vendor that has not said by then whether a create arrived is asked no more: people look.
const GIVEN_UP: Millis = 14 * DAY;

/// When a create is looked for next: each time when it is twice as old, and not before it can be judged.
pub(super) fn next(line: &Line, sent_at: Millis, now: Millis) -> Millis {
    (now + (now - sent_at)).max(sent_at + line.settle_after())
}

/// Looks again for what was once in doubt on a connection. Answers whether anything was due.
///
/// # Errors
/// The store's.
pub async fn sweep(ctx: &Context, rules: &Rules, line: &Line) -> Result<bool> {
    let now = ctx.clock.now();
    let Some(mapping) = rules.of(line.name()).first() else { return Ok(false) };
    let due = sweeps::due(&ctx.db, line.name(), now, line.manifest().read.batch.max(1)).await?;
    if due.is_empty() {
        return Ok(false);
    }
    let doubt = |(share, sent_at, _, marker, known): &sweeps::Sweep| {
        Some(Doubt { key: share.clone(), marker: marker.clone()?, sent_at: *sent_at, known: known.clone() })
    };
    let items: Vec<Doubt> = due.iter().filter_map(doubt).collect();
    let marker_field = mapping.marker_field(line.manifest()).to_owned();
    let op = Op::Settle { object: mapping.object().to_owned(), marker_field, items };
    let (mut results, stopped) = talk(ctx, line, &op, Terms::TURN).await?;
    let again = if let Stopped::Wait(until) = stopped { until } else { now + MINUTE };

    let (mut landed, mut found, mut later, mut ended, mut given_up) = (vec![], vec![], vec![], vec![], vec![]);
    for (share, sent_at, person, _, known) in &due {
        let result = results.settled.remove(share);
        if let Some(ItemResult::Written { id, made, .. }) = &result {
            found.push(json!([share]));
            if known.is_none() {
                landed.push(json!([person, id, made_word(*made), Value::Null]));
            }
        }
        match result {
            Some(ItemResult::Written { .. } | ItemResult::Gone) if now - sent_at < UNTIL => {
                later.push(json!([share, sent_at, next(line, *sent_at, now)]));
            }
            None | Some(ItemResult::InDoubt) if person.is_some() && now - sent_at < GIVEN_UP => {
                later.push(json!([share, sent_at, again.max(now + (now - sent_at) / 20)]));
            }
            None | Some(ItemResult::InDoubt) if person.is_some() => {
                given_up.push(share);
                ended.push(json!([share]));
            }
            _ => ended.push(json!([share])),
        }
    }
    let mut tx = ctx.db.begin().await?;
    for share in given_up {
        let message = format!("{} never said whether a record of this share arrived: look there whether it has a second one", line.name());
        connections::raise_alert(&mut tx, &ctx.clock.id(), &format!("share:{share}"), "share.look_by_hand", &message, now).await?;
    }
    shares::land(&mut tx, line.name(), &Value::from(landed), now).await?;
    sweeps::reopen(&mut tx, &Value::from(found), now).await?;
    sweeps::add(&mut tx, line.name(), later).await?;
    sweeps::end(&mut tx, &Value::from(ended)).await?;
    tx.commit().await?;
    Ok(true)
}
