//! Shares: where one stands, moving it, and telling its sharer. Every stage that ends something uses it.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};

use crate::clock::Millis;
use crate::context::Context;
use crate::entries::Entries;
use crate::errors::{Error, Result};
use crate::ledger::Body;
use crate::model::{Progress, ShareStatus, Stand};
use crate::queues::Want;
use crate::store::deliveries::Lane;
use crate::store::dirty::{self, Raise};
use crate::store::shares::{self, Share};
use crate::store::{Tx, leads, loads};

/// Where a stored share stands.
///
/// # Errors
/// When its words are not ours: written by another version, or damaged.
pub fn stand(share: &Share) -> Result<Stand> {
    let unreadable = || Error::Unreadable { what: "a share's status".into() };
    Ok(Stand {
        status: ShareStatus::parse(&share.status).ok_or_else(unreadable)?,
        progress: Progress::parse(&share.progress).ok_or_else(unreadable)?,
        reason: share.reason.clone(),
        amount: share.amount.clone(),
    })
}

/// Moves shares, in order, each move an event and a ledger entry. `said_by` tells who or what moved them. Their people are locked.
///
/// # Errors
/// The store's.
pub async fn move_shares(tx: &mut Tx, ctx: &Context, moved: &[(&Share, Stand)], said_by: &str, entries: &mut Entries) -> Result<()> {
    let now = ctx.clock.now();
    let mut stands = BTreeMap::<&str, Stand>::new();
    let mut open = BTreeMap::<(&str, &str), i64>::new();
    // One statement moves a share once: the second move of one belongs to the second round.
    let mut rounds: Vec<Vec<Value>> = Vec::new();
    let mut moves = BTreeMap::<&str, usize>::new();
    let (mut over, mut never_came) = (Vec::new(), Vec::new());
    for (share, to) in moved {
        let from = match stands.remove(share.id.as_str()) {
            Some(from) => from,
            None => stand(share)?,
        };
        *open.entry((&share.recipient, &share.agreement)).or_default() += i64::from(to.is_open()) - i64::from(from.is_open());
        stands.insert(&share.id, to.clone());
        let round = moves.entry(&share.id).or_default();
        if rounds.len() == *round {
            rounds.push(Vec::new());
        }
        rounds[*round].push(json!([share.id, to.status.word(), to.progress.word(), to.reason, to.amount, ctx.clock.id(), said_by]));
        *round += 1;
        let status = to.status;
        tx.tell(move || crate::metrics::share_step(status));
        if to.status.ended() {
            over.push(json!([share.id]));
            // Where it was the recipient's own doing, nobody else's lead of this person takes its place.
            if from.status < ShareStatus::Delivered && to.status == ShareStatus::Recalled {
                never_came.push(json!([share.person, share.lead]));
            }
        }
        let mut body = Body::new()
            .id("share", &share.id)
            .id("recipient", &share.recipient)
            .code("status", &to.status.word())
            .code("progress", &to.progress.word());
        if let Some(reason) = &to.reason {
            // A word of the partner's own that is no code stays out: the ledger takes no free text.
            let is_code = reason.starts_with(|c: char| c.is_ascii_lowercase())
                && reason.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_' || b == b'.');
            body = body.code("reason", if is_code { reason } else { "other" });
        }
        if let Some(amount) = to.amount.as_deref().and_then(money) {
            body = body.amount("amount", &amount);
        }
        let arrived = from.status < ShareStatus::Delivered && to.status == ShareStatus::Delivered;
        let (kind, body) = if arrived { ("share.delivered", body.id("connection", &share.connection)) } else { ("share.moved", body) };
        entries.agreement(&share.agreement, kind, body)?;
    }
    for round in rounds {
        shares::move_to(tx, &Value::from(round), now).await?;
    }
    if !over.is_empty() {
        shares::release(tx, &Value::from(over)).await?;
    }
    if !never_came.is_empty() {
        // What was refused because the recipient was to get this person from another record may go now.
        let others = leads::others(tx, &Value::from(never_came)).await?;
        decide_again(tx, others, now).await?;
    }
    open.retain(|_, more| *more != 0);
    loads::count(tx, open.into_iter().map(|((recipient, agreement), more)| json!([recipient, agreement, loads::OPEN, more])).collect())
        .await
}

/// Has leads `(id, connection, object, record)` read and decided once more, though nothing about them has changed.
///
/// # Errors
/// The store's.
pub async fn decide_again(tx: &mut Tx, again: Vec<(String, String, String, String)>, now: Millis) -> Result<()> {
    leads::forget_content(tx, &again.iter().map(|(lead, ..)| json!([lead])).collect()).await?;
    let hint = |(_, connection, object, remote_id)| (connection, Raise { object, remote_id, kind: "changed", detail: None });
    let hints: Vec<(String, Raise)> = again.into_iter().map(hint).collect();
    dirty::raise_each(tx, &hints, now).await
}

/// An amount as the ledger writes it, with a point; `None` for what is no amount of money.
fn money(text: &str) -> Option<String> {
    let (whole, part) = text.split_once('.').unwrap_or((text, "00"));
    let digits = |t: &str| !t.is_empty() && t.bytes().all(|b| b.is_ascii_digit());
    let unsigned = whole.strip_prefix('-').unwrap_or(whole);
    (digits(unsigned) && unsigned.len() <= 15 && digits(part)).then(|| format!("{whole}.{}", &part[..part.len().min(4)]))
}

/// Asks for the news of shares to be written into their sharers' records.
///
/// # Errors
/// The store's.
pub async fn tell_sharers(tx: &mut Tx, ctx: &Context, news: &[&Share]) -> Result<()> {
    if news.is_empty() {
        return Ok(());
    }
    let ids = Value::from(news.iter().map(|share| json!([share.lead])).collect::<Vec<_>>());
    let from: BTreeMap<String, (String, String)> =
        leads::sources(tx, &ids).await?.into_iter().map(|(lead, connection, object)| (lead, (connection, object))).collect();
    let rules = ctx.rules();
    let wants: BTreeSet<Want> = news
        .iter()
        .filter_map(|share| {
            let (connection, object) = from.get(&share.lead)?;
            // A mapping that names no field for news has nothing to write.
            rules.mapping(connection, object).filter(|mapping| mapping.tells_back())?;
            Some(Want {
                connection: connection.clone(),
                way: "back",
                lane: Lane::Status,
                partner: share.recipient.clone(),
                share: share.id.clone(),
                object: object.clone(),
            })
        })
        .collect();
    ctx.queues.want(tx, &wants.into_iter().collect::<Vec<_>>(), ctx.clock.now()).await
}
