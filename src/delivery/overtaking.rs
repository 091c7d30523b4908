//! Earlier writes that nobody heard the end of. A vendor may still carry them out, after whatever is written now: so until
//! that cannot be any more only the same is written again, and what they would have changed counts as unknown.

use leadshare_connectors::sdk::{Fields, Item};

use super::Written;
use crate::clock::Millis;
use crate::context::Context;
use crate::store::deliveries::Delivery;
use crate::store::shares::RemotePerson;
use crate::vault::Identity;

/// What a write says, by keyed hash.
pub(super) fn body(ctx: &Context, fields: &Fields) -> String {
    ctx.vault.blind.hash(Identity::Domain, &serde_json::to_string(fields).unwrap_or_default())
}

/// Until when a write that says `body` waits for earlier ones that say something else; a time of the past when it need not.
pub(super) fn in_the_way(delivery: &Delivery, remote: &RemotePerson, body: &str, settle_after: Millis) -> Millis {
    let own = delivery.sent_at.filter(|_| delivery.body.as_deref() != Some(body)).map_or(0, |sent_at| sent_at + settle_after);
    let others = remote.open_until.filter(|_| remote.open_body.as_deref() != Some(body)).unwrap_or_default();
    own.max(others)
}

/// Until when a write may still be carried out though the last try of it is heard of: in this talk, or left from before.
pub(super) fn open_until(written: &Written, now: Millis, settle_after: Millis) -> Option<Millis> {
    let before = written.prepared.delivery.sent_at;
    written.open.then_some(now).into_iter().chain(before).max().map(|at| at + settle_after).filter(|until| *until > now)
}

/// The names of the fields that a write changes, for its intent.
pub(super) fn names(item: &Item) -> String {
    serde_json::to_string(&item.fields().keys().collect::<Vec<_>>()).unwrap_or_default()
}
