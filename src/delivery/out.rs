//! Preparing a delivery to a recipient: locks, gates again, the body, the intent, in one transaction.

use std::collections::BTreeMap;

use leadshare_connectors::sdk::manifest::WriteSafety;
use leadshare_connectors::sdk::{Fields, Item, Op, Output};
use serde_json::{Value, json};

use super::flips::Flips;
use super::{About, Prepared, overtaking};
use crate::clock::{Millis, SECOND};
use crate::context::Context;
use crate::decide;
use crate::entries::Entries;
use crate::errors::Result;
use crate::http::Terms;
use crate::http::line::Line;
use crate::http::talk::{Ended, NoSink, drive};
use crate::mapping::Mapping;
use crate::model::field;
use crate::model::{Lead, Progress, ShareStatus, Stand};
use crate::people::{self, Hashes, Keys};
use crate::points;
use crate::rules::Rules;
use crate::shares::{decide_again, move_shares, stand, tell_sharers};
use crate::standing::Stands;
use crate::store::deliveries::{self, Delivery};
use crate::store::shares::{self, RemotePerson, Share};
use crate::store::{Tx, connections, leads};
use crate::turns::let_others;

/// What is loaded to prepare a batch.
struct Loaded {
    shares: BTreeMap<String, Share>,
    remotes: BTreeMap<String, RemotePerson>,
    leads: BTreeMap<String, (leads::StoredLead, Option<(Lead, Hashes)>)>,
    keys: Keys,
}

async fn load(tx: &mut Tx, ctx: &Context, line: &Line, claimed: &[Delivery]) -> Result<Loaded> {
    let ids = Value::from(claimed.iter().map(|d| json!([d.share])).collect::<Vec<_>>());
    // First the people's locks: a share may be taken back while we wait for them.
    let keys = Keys::of_shares(tx, &ctx.vault, &ids).await?;
    let found = shares::by_id(tx, &ids).await?;
    let people = Value::from(found.iter().map(|s| json!([s.person])).collect::<Vec<_>>());
    let remotes = shares::remote_by_person(tx, line.name(), &people).await?.into_iter().map(|r| (r.person.clone(), r)).collect();
    let lead_ids = Value::from(found.iter().map(|s| json!([s.lead])).collect::<Vec<_>>());
    let mut opened = BTreeMap::new();
    for (nth, stored) in leads::leads(tx, &lead_ids).await?.into_iter().enumerate() {
        let_others(nth).await;
        let lead = match &stored.data {
            Some(data) => keys.open::<Lead>(&stored.person, people::lead_place(&stored.id), data)?,
            None => None,
        };
        let lead = lead.map(|lead| {
            let hashes = people::hashes(&ctx.vault, &lead);
            (lead, hashes)
        });
        opened.insert(stored.id.clone(), (stored, lead));
    }
    Ok(Loaded { shares: found.into_iter().map(|share| (share.id.clone(), share)).collect(), remotes, leads: opened, keys })
}

/// What is ready to be sent, with its intents, and what waits.
#[derive(Default)]
struct Ready {
    prepared: Vec<Prepared>,
    intents: Vec<Value>,
    waiting: Vec<Value>,
}

impl Ready {
    fn add(&mut self, ctx: &Context, line: &Line, delivery: Delivery, share: &Share, remote: &RemotePerson, item: Item) {
        let body = overtaking::body(ctx, item.fields());
        let until = overtaking::in_the_way(&delivery, remote, &body, line.settle_after());
        if until > ctx.clock.now() {
            self.waiting.push(json!([share.id, until, delivery.attempts, "earlier_write", delivery.version]));
            return;
        }
        let creates = i64::from(matches!(item, Item::Create { .. }));
        self.intents.push(json!([share.id, creates, body, overtaking::names(&item)]));
        self.prepared.push(Prepared { delivery, item, body, about: About { share: share.clone(), remote_id: None } });
    }
}

/// Prepares claimed deliveries. Those that may not, or need not, be sent are ended or done here; those
/// that were taken back while their create is in doubt come back second, to be looked for first. Third is
/// when the gates were checked.
pub(super) async fn prepare(
    ctx: &Context,
    rules: &Rules,
    line: &Line,
    mapping: &Mapping,
    lease: &str,
    claimed: Vec<Delivery>,
    terms: Terms<'_>,
) -> Result<(Vec<Prepared>, Vec<Delivery>, Millis)> {
    if claimed.is_empty() {
        return Ok((Vec::new(), Vec::new(), 0));
    }
    let current = adopted(ctx, line, mapping, &claimed, terms).await?;
    let mut tries = ctx.db.tries();
    let checked = loop {
        let mut tx = tries.begin().await?;
        let done = check(&mut tx, ctx, rules, line, mapping, lease, claimed.clone(), &current).await;
        if let Some(done) = tries.end(tx, done).await? {
            break done;
        }
    };
    points::at("delivery.intended").await;
    Ok(checked)
}

/// The transaction of [`prepare`]. `current` is what is in records that were there before us.
#[expect(clippy::too_many_arguments, reason = "the body of `prepare`")]
async fn check(
    tx: &mut Tx,
    ctx: &Context,
    rules: &Rules,
    line: &Line,
    mapping: &Mapping,
    lease: &str,
    claimed: Vec<Delivery>,
    current: &BTreeMap<String, Fields>,
) -> Result<(Vec<Prepared>, Vec<Delivery>, Millis)> {
    let now = ctx.clock.now();
    let mut entries = Entries::new(ctx);
    let loaded = load(tx, ctx, line, &claimed).await?;
    // A lease that has nearly run out is not begun with: another worker may hold it by the time we send. What is ended or
    // done here without sending is no less that worker's.
    let all = Value::from(claimed.iter().map(|d| json!([d.share])).collect::<Vec<_>>());
    if deliveries::still_held(tx, "out", lease, &all, now + 60 * SECOND).await?.len() != claimed.len() {
        return Ok((Vec::new(), Vec::new(), now));
    }
    let people: Vec<&str> = loaded.shares.values().map(|s| s.person.as_str()).collect();
    let hashes: Vec<&Hashes> = loaded.leads.values().filter_map(|(_, lead)| lead.as_ref()).map(|(_, hashes)| hashes).collect();
    let recipients = loaded.shares.values().map(|s| s.recipient.as_str()).collect();
    let standing = Stands::load(tx, ctx, &people, &hashes, &recipients).await?;

    // With a unique key a second create is the first one. Without, what another share of the person may have made is looked for first.
    let mut in_doubt = BTreeMap::new();
    if line.manifest().write.safety != WriteSafety::UniqueKey {
        let absent = loaded.remotes.values().filter(|r| r.remote_id.is_none()).map(|r| json!([r.person])).collect();
        in_doubt.extend(shares::created_by_others(tx, line.name(), &absent, &all).await?);
    }
    let there: Vec<&str> = loaded.remotes.values().filter(|r| r.remote_id.is_some()).map(|r| r.person.as_str()).collect();
    let mut flips = Flips::load(tx, ctx, line, &there).await?;

    let (mut ready, mut moved, mut done, mut ends) = (Ready::default(), Vec::new(), Vec::new(), Vec::new());
    let (mut unsettled, mut again, mut arrived) = (Vec::new(), Vec::new(), Vec::new());
    for (nth, delivery) in claimed.into_iter().enumerate() {
        let_others(nth).await;
        let Some(share) = loaded.shares.get(&delivery.share) else { continue };
        let from = stand(share)?;
        let recall = |reason: &str| Stand { status: ShareStatus::Recalled, reason: Some(reason.to_owned()), ..from.clone() };
        let remote = loaded.remotes.get(&share.person);
        let lead = loaded.leads.get(&share.lead).and_then(|(_, lead)| lead.as_ref());
        let (Some((lead, hashes)), Some(remote)) = (lead, remote) else {
            ends.push(json!([share.id, "ended", "erased", delivery.version]));
            moved.push((share, recall("erased")));
            continue;
        };
        let facts = standing.facts(ctx, &share.source, lead, hashes, &share.person, Some(&share.id));
        if from.status == ShareStatus::Recalled {
            if facts.standing.shares.iter().any(|s| s.recipient == share.recipient && s.is_live()) {
                // The person has agreed anew: what is there belongs to the newer share.
                ends.push(json!([share.id, "ended", "shared_anew", delivery.version]));
                continue;
            }
            if delivery.intent.is_some() && remote.remote_id.is_none() {
                // A create of unknown outcome: first see whether there is anything to take back.
                unsettled.push(delivery);
                continue;
            }
            if let Some(item) = take_back(ctx, tx, mapping, &loaded.keys, share, &delivery, remote, &from).await? {
                ready.add(ctx, line, delivery, share, remote, item);
                continue;
            }
        }
        if from.status.ended() {
            ends.push(json!([share.id, "ended", "share_ended", delivery.version]));
            continue;
        }
        if remote.state == "gone" {
            // Creating again would need a new decision.
            ends.push(json!([share.id, "ended", "deleted_there", delivery.version]));
            moved.push((share, Stand { status: ShareStatus::Returned, reason: Some("deleted_there".into()), ..from }));
            continue;
        }
        let verdict = decide::recheck(&decide::Inputs { program: &rules.program, facts: &facts }, &share.agreement, &share.terms);
        let Some(agreement) = rules.program.agreements.get(&share.agreement).filter(|_| verdict.passed()) else {
            if from.status >= ShareStatus::Delivered && !verdict.takes_back() {
                // It is there and may stay; it is not kept up any more.
                done.push((delivery, share));
                continue;
            }
            if from.status >= ShareStatus::Delivered {
                let reason = verdict.first_failure().map_or("gate", |f| &*f.code).to_owned();
                moved.push((share, recall(&reason)));
                match take_back(ctx, tx, mapping, &loaded.keys, share, &delivery, remote, &from).await? {
                    Some(item) => ready.add(ctx, line, delivery, share, remote, item),
                    None => ends.push(json!([share.id, "ended", reason, delivery.version])),
                }
                continue;
            }
            // A create that nobody heard the end of may have brought it there all the same.
            let there = remote.remote_id.is_some() && remote.landed_at.is_some_and(|at| at >= share.created_at);
            if !verdict.takes_back() && there {
                arrived.push(share);
                ready.waiting.push(json!([share.id, now, delivery.attempts, "arrived", delivery.version]));
                continue;
            }
            if !verdict.takes_back() && delivery.intent.is_some() && remote.remote_id.is_none() {
                unsettled.push(delivery);
                continue;
            }
            let reason = verdict.first_failure().map_or("agreement.gone", |f| &*f.code).to_owned();
            moved.push((share, recall(&reason)));
            if !verdict.takes_back() {
                // Nobody said no: what is in force now may let it go after all.
                let stored = loaded.leads.get(&share.lead).map(|(stored, _)| stored.clone());
                again.extend(stored.map(|lead| (lead.id, lead.connection, lead.object, lead.remote_id)));
            } else if delivery.intent.is_some() && remote.remote_id.is_none() {
                // It may be there: looked for, and then taken back.
                unsettled.push(delivery);
                continue;
            } else if let Some(item) = take_back(ctx, tx, mapping, &loaded.keys, share, &delivery, remote, &from).await? {
                ready.add(ctx, line, delivery, share, remote, item);
                continue;
            }
            ends.push(json!([share.id, "ended", reason, delivery.version]));
            continue;
        };
        let allowed = decide::payload(&agreement.agreement, lead, &verdict, from.status >= ShareStatus::Delivered);
        let creating = remote.remote_id.is_none();
        let mut fields = mapping.to_record(&allowed, creating);
        let shadow = opened_shadow(&loaded.keys, share, remote)?;
        let item = match &remote.remote_id {
            None => {
                if let Some(until) = in_doubt.get(&share.person).map(|sent_at| sent_at + line.settle_after()).filter(|until| *until > now) {
                    ready.waiting.push(json!([share.id, until, delivery.attempts, "earlier_create", delivery.version]));
                    continue;
                }
                Item::Create { key: share.id.clone(), marker: remote.marker.clone(), fields }
            }
            Some(id) => {
                if remote.made == "adopted" {
                    let Some(current) = current.get(&share.id) else {
                        // Without having looked nothing is written.
                        ready.waiting.push(json!([share.id, now + 30 * SECOND, delivery.attempts, "not_read", delivery.version]));
                        continue;
                    };
                    fields = mapping.for_existing(fields, current);
                    if current.get(mapping.marker_field(line.manifest())).is_none_or(Value::is_null) {
                        fields.insert(mapping.marker_field(line.manifest()).to_owned(), remote.marker.clone().into());
                    }
                }
                // What we wrote and may no longer be there goes: a channel was withdrawn, an agreement narrowed.
                // Where nobody heard what became of a write, it may be there though we do not know it.
                let alone = remote.made == "created";
                let unknown = |name: &String| delivery.fields.contains(name) || shadow.is_empty();
                for (name, value) in cleared(mapping, &allowed) {
                    if shadow.get(&name).is_some_and(|held| !held.is_null()) || alone && unknown(&name) {
                        fields.entry(name).or_insert(value);
                    }
                }
                fields.retain(|name, value| shadow.get(name) != Some(value) || delivery.fields.contains(name));
                flips.judge(tx, ctx, line, share, &shadow, &mut fields).await?;
                if fields.is_empty() {
                    done.push((delivery, share));
                    continue;
                }
                Item::Update { key: share.id.clone(), id: id.clone(), fields }
            }
        };
        ready.add(ctx, line, delivery, share, remote, item);
    }
    let Ready { prepared, intents, waiting } = ready;

    points::at("delivery.checked").await;
    flips.keep(tx, ctx, line).await?;
    move_shares(tx, ctx, &moved, "gates", &mut entries).await?;
    decide_again(tx, again, now).await?;
    tell_sharers(tx, ctx, &moved.iter().map(|(share, _)| *share).collect::<Vec<_>>()).await?;
    if !ends.is_empty() {
        deliveries::end(tx, "out", lease, &Value::from(ends), now).await?;
    }
    if !done.is_empty() {
        // What an earlier try left in doubt is there: nothing of it is open any more.
        let rows = Value::from(done.iter().map(|(d, _)| json!([d.share, d.version])).collect::<Vec<_>>());
        deliveries::done(tx, "out", lease, &rows, now).await?;
        super::finish::first_delivered(tx, ctx, line, &done.iter().map(|(_, s)| *s).collect::<Vec<_>>(), &mut entries).await?;
    }
    super::finish::first_delivered(tx, ctx, line, &arrived, &mut entries).await?;
    deliveries::later(tx, "out", lease, &Value::from(waiting), now).await?;
    deliveries::intend(tx, "out", &Value::from(intents), now).await?;
    entries.write(tx).await?;
    Ok((prepared, unsettled, now))
}

/// What we have written into a person's record so far.
fn opened_shadow(keys: &Keys, share: &Share, remote: &RemotePerson) -> Result<Fields> {
    match &remote.shadow {
        Some(sealed) => Ok(keys.open(&share.person, people::shadow_place(&share.person), sealed)?.unwrap_or_default()),
        None => Ok(Fields::new()),
    }
}

/// What takes a lead back: the ways to reach the person, where we wrote them. Only on records that
/// are ours alone and that nobody there has worked with; on others people are told, and decide. The
/// record itself stays, and says to people there what it was.
#[expect(clippy::too_many_arguments, reason = "a branch of `prepare`, moved out to be read")]
async fn take_back(
    ctx: &Context,
    tx: &mut Tx,
    mapping: &Mapping,
    keys: &Keys,
    share: &Share,
    delivery: &Delivery,
    remote: &RemotePerson,
    stand: &Stand,
) -> Result<Option<Item>> {
    let Some(id) = &remote.remote_id else { return Ok(None) };
    if remote.made == "adopted" && remote.shadow.is_none() {
        // Theirs, and nothing was written into it.
        return Ok(None);
    }
    if remote.made != "created" || stand.progress != Progress::New {
        let message = format!(
            "{} was taken back, and its record at {} was there before or has been worked with: ask them to close it",
            share.lead, share.recipient
        );
        let subject = format!("share:{}", share.id);
        connections::raise_alert(tx, &ctx.clock.id(), &subject, "share.take_back_by_hand", &message, ctx.clock.now()).await?;
        return Ok(None);
    }
    let shadow = opened_shadow(keys, share, remote)?;
    let ways = ["email", "phone", "mobile", "street", "postal_code"].map(|field| (field.to_owned(), Value::Null));
    let mut fields = mapping.to_record(&ways.into(), false);
    // Where an answer was lost everything is cleared that we may have written.
    let unknown = |name: &String| delivery.fields.contains(name) || shadow.is_empty();
    fields.retain(|name, value| value.is_null() && (unknown(name) || shadow.get(name).is_some_and(|held| !held.is_null())));
    Ok((!fields.is_empty()).then(|| Item::Update { key: share.id.clone(), id: id.clone(), fields }))
}

/// The vendor fields of every lead field that is not among those given, cleared.
fn cleared(mapping: &Mapping, allowed: &BTreeMap<String, Value>) -> Fields {
    let gone: BTreeMap<String, Value> =
        field::FIELDS.iter().filter(|f| !allowed.contains_key(f.name)).map(|f| (f.name.to_owned(), Value::Null)).collect();
    let mut fields = mapping.to_record(&gone, false);
    fields.retain(|_, value| value.is_null());
    fields
}

/// Rebuilds what was sent of creates in doubt, for looking.
pub(super) async fn for_settling(ctx: &Context, line: &Line, doubtful: Vec<Delivery>) -> Result<Vec<Prepared>> {
    let mut tx = ctx.db.begin().await?;
    let loaded = load(&mut tx, ctx, line, &doubtful).await?;
    tx.commit().await?;
    let prepared = doubtful.into_iter().filter_map(|delivery| {
        let share = loaded.shares.get(&delivery.share)?.clone();
        let remote = loaded.remotes.get(&share.person)?;
        let item = match &remote.remote_id {
            None => Item::Create { key: share.id.clone(), marker: remote.marker.clone(), fields: Fields::new() },
            Some(id) => Item::Update { key: share.id.clone(), id: id.clone(), fields: Fields::new() },
        };
        Some(Prepared { delivery, item, body: String::new(), about: About { share, remote_id: None } })
    });
    Ok(prepared.collect())
}

/// Reads the records that were there before us, so that only what may be filled is filled. By share.
async fn adopted(
    ctx: &Context,
    line: &Line,
    mapping: &Mapping,
    claimed: &[Delivery],
    terms: Terms<'_>,
) -> Result<BTreeMap<String, Fields>> {
    let ids = Value::from(claimed.iter().map(|d| json!([d.share])).collect::<Vec<_>>());
    let by_id: BTreeMap<String, String> = shares::adopted(&ctx.db, line.name(), &ids).await?.into_iter().collect();
    if by_id.is_empty() {
        return Ok(BTreeMap::new());
    }
    let mut fields = mapping.written_fields();
    fields.push(mapping.marker_field(line.manifest()).to_owned());
    let op = Op::Fetch { object: mapping.object().to_owned(), ids: by_id.keys().cloned().collect(), fields };
    let Ok(talk) = line.connector().open(&op, &line.account(), None) else { return Ok(BTreeMap::new()) };
    match drive(&ctx.transport, line, &ctx.clock, talk, terms, &mut NoSink).await? {
        Ended::Done(Output::Records(records)) => {
            Ok(records.into_iter().filter_map(|r| Some((by_id.get(&r.id)?.clone(), r.fields))).collect())
        }
        // Without having looked nothing is written; the claim runs out and it is tried again.
        _ => Ok(BTreeMap::new()),
    }
}
