//! Webhooks: the genuine are read, everything else is refused before it is read.

use super::bench::{Bench, SECRET, Setup};
use super::{Case, Verdict, ensure, fail, not_applicable};
use crate::sdk::{Hint, HintKind, Incoming, Method, RawRequest, Refused, Response, WebhookKey, manifest::Webhook};

fn facts(setup: &Setup) -> Verdict<&Webhook> {
    match &setup.manifest().webhook {
        Some(webhook) => Ok(webhook),
        None => not_applicable("the manifest has no [webhook] section"),
    }
}

fn signed(setup: &Setup) -> Verdict<&Webhook> {
    let webhook = facts(setup)?;
    if webhook.signed { Ok(webhook) } else { not_applicable("the manifest has webhook.signed = false: only the secret address vouches") }
}

fn key(setup: &Setup, id: &str, secret: &str) -> WebhookKey {
    let app_level = setup.manifest().webhook.as_ref().is_some_and(|webhook| webhook.app_level);
    let account = if app_level { None } else { setup.external_id() };
    WebhookKey { id: id.into(), secret: secret.as_bytes().to_vec(), account }
}

/// What the sandbox sends within a few minutes; each is answered as the connector says.
fn arriving(setup: &Setup, bench: &mut Bench) -> Vec<RawRequest> {
    let keys = [key(setup, "k", SECRET)];
    let mut raws = Vec::new();
    for _ in 0..240 {
        bench.now += 1_000;
        for webhook in bench.sandbox.webhooks_due(bench.now) {
            let headers = webhook.headers.iter().map(|(name, value)| (name.to_ascii_lowercase(), value.clone())).collect();
            let raw = RawRequest { method: Method::Post, url: webhook.url, headers, body: webhook.body };
            let answer = hear(bench, &keys, &raw).map_or_else(
                |_| Response::empty(200),
                |incoming| Response { body: incoming.reply.body.into_bytes(), ..Response::empty(incoming.reply.status) },
            );
            bench.sandbox.webhook_answered(webhook.delivery, Some(&answer), bench.now);
            raws.push(raw);
        }
        if !raws.is_empty() {
            break;
        }
    }
    raws
}

/// A record created in the vendor's pages, and what arrives about it.
fn one(setup: &Setup) -> Verdict<(Bench, String, Vec<RawRequest>)> {
    let mut bench = setup.bench()?;
    let id = bench.person(1)?;
    let raws = arriving(setup, &mut bench);
    ensure(!raws.is_empty(), || "the sandbox sent no webhook for a new record".into())?;
    Ok((bench, id, raws))
}

fn hear(bench: &Bench, keys: &[WebhookKey], raw: &RawRequest) -> Result<Incoming, Refused> {
    bench.connector.webhook(raw, keys, bench.now)
}

fn hints(bench: &Bench, keys: &[WebhookKey], raws: &[RawRequest]) -> Verdict<Vec<Hint>> {
    let mut hints = Vec::new();
    for raw in raws {
        match hear(bench, keys, raw) {
            Ok(incoming) => {
                ensure((200..300).contains(&incoming.reply.status), || format!("a good webhook is answered {}", incoming.reply.status))?;
                hints.extend(incoming.hints);
            }
            Err(refused) => return fail(format!("a genuine webhook was refused: {refused}")),
        }
    }
    Ok(hints)
}

fn genuine(setup: &Setup) -> Verdict {
    if setup.manifest().webhook.is_none() {
        let bench = setup.bench()?;
        let raw = RawRequest { method: Method::Post, url: super::bench::WEBHOOK_URL.into(), headers: Vec::new(), body: b"{}".to_vec() };
        let refused = hear(&bench, &[], &raw);
        ensure(refused == Err(Refused::NotSupported), || format!("no [webhook] section, and yet a webhook was answered {refused:?}"))?;
    }
    facts(setup)?;
    let (bench, id, raws) = one(setup)?;
    let hints = hints(&bench, &[key(setup, "k", SECRET)], &raws)?;
    let about = |hint: &&Hint| hint.id == id && hint.object == setup.sample.object && hint.kind == HintKind::Changed;
    ensure(hints.iter().any(|hint| about(&hint)), || format!("no hint about the new {} among {} hints", setup.sample.object, hints.len()))
}

fn refused(bench: &Bench, keys: &[WebhookKey], raw: &RawRequest, allowed: &[Refused], what: &str) -> Verdict {
    match hear(bench, keys, raw) {
        Err(refused) if allowed.contains(&refused) => Ok(()),
        Err(refused) => fail(format!("{what} was refused as {refused:?}, not as one of {allowed:?}")),
        Ok(_) => fail(format!("{what} was believed")),
    }
}

fn forged(setup: &Setup) -> Verdict {
    signed(setup)?;
    let (bench, _, raws) = one(setup)?;
    refused(&bench, &[key(setup, "k", "another secret")], &raws[0], &[Refused::Forged], "a webhook signed with another secret")?;
    refused(&bench, &[], &raws[0], &[Refused::Forged], "a webhook for which there is no key")?;
    let keys = [key(setup, "k", SECRET)];
    let known = ["content-type", "user-agent", "accept", "host", "content-length"];
    let mut bare = raws[0].clone();
    bare.headers.retain(|(name, _)| known.contains(&name.as_str()));
    refused(&bench, &keys, &bare, &[Refused::Unsigned], "a webhook without a signature")?;
    for other in ["", "AAAA", "zz", "0000000000000000", "\u{e9}"] {
        let mut odd = raws[0].clone();
        for (_, value) in odd.headers.iter_mut().filter(|(name, _)| !known.contains(&name.as_str())) {
            other.clone_into(value);
        }
        let allowed = [Refused::Forged, Refused::Unsigned, Refused::Stale];
        refused(&bench, &keys, &odd, &allowed, "a webhook with another text for its signature")?;
    }
    Ok(())
}

fn changed_byte(setup: &Setup) -> Verdict {
    signed(setup)?;
    let (bench, _, raws) = one(setup)?;
    let keys = [key(setup, "k", SECRET)];
    let length = raws[0].body.len();
    for at in (0..length).step_by((length / 97).max(1)).chain([length - 1]) {
        let mut odd = raws[0].clone();
        odd.body[at] ^= 1;
        refused(&bench, &keys, &odd, &[Refused::Forged], &format!("a webhook with byte {at} changed"))?;
    }
    Ok(())
}

fn reserialised(setup: &Setup) -> Verdict {
    signed(setup)?;
    let (bench, _, raws) = one(setup)?;
    let keys = [key(setup, "k", SECRET)];
    let mut odd = raws[0].clone();
    odd.body.push(b'\n');
    refused(&bench, &keys, &odd, &[Refused::Forged], "a webhook with a line break more")?;
    odd.body.insert(0, b' ');
    refused(&bench, &keys, &odd, &[Refused::Forged], "a webhook with a space more")?;
    if let Ok(value) = serde_json::from_slice::<serde_json::Value>(&raws[0].body) {
        odd.body = serde_json::to_vec_pretty(&value).unwrap_or_default();
        refused(&bench, &keys, &odd, &[Refused::Forged], "a webhook that was parsed and written again")?;
    }
    Ok(())
}

fn stale(setup: &Setup) -> Verdict {
    let Some(max_age) = signed(setup)?.max_age_ms else {
        return not_applicable("the manifest has no webhook.max_age_ms: the signature carries no time");
    };
    let (mut bench, _, raws) = one(setup)?;
    let keys = [key(setup, "k", SECRET)];
    let now = bench.now;
    bench.now = now + max_age / 2;
    hints(&bench, &keys, &raws)?;
    for (at, what) in [(now + max_age + 5_000, "an old webhook"), (now - max_age - 5_000, "a webhook from the future")] {
        bench.now = at;
        refused(&bench, &keys, &raws[0], &[Refused::Stale], what)?;
    }
    Ok(())
}

fn replayed(setup: &Setup) -> Verdict {
    facts(setup)?;
    let (bench, _, raws) = one(setup)?;
    let keys = [key(setup, "k", SECRET)];
    let first = hints(&bench, &keys, &raws)?;
    ensure(first == hints(&bench, &keys, &raws)?, || "the same webhook gave other hints the second time".into())
}

fn reordered(setup: &Setup) -> Verdict {
    facts(setup)?;
    let mut bench = setup.bench()?;
    let mut raws = Vec::new();
    let mut ids = Vec::new();
    for n in 0..3 {
        ids.push(bench.person(n)?);
        raws.extend(arriving(setup, &mut bench));
        let (field, value) = setup.sample.change;
        bench.change_by_hand(&ids[n], field, value.into())?;
        raws.extend(arriving(setup, &mut bench));
    }
    raws.reverse();
    let hints = hints(&bench, &[key(setup, "k", SECRET)], &raws)?;
    ensure(ids.iter().all(|id| hints.iter().any(|hint| hint.id == *id)), || "a record got no hint when webhooks came in reverse".into())
}

fn rotating(setup: &Setup) -> Verdict {
    signed(setup)?;
    let (bench, _, raws) = one(setup)?;
    let (good, other) = (key(setup, "good", SECRET), key(setup, "other", "the next secret"));
    hints(&bench, &[good.clone(), other.clone()], &raws)?;
    hints(&bench, &[other.clone(), good], &raws)?;
    refused(&bench, &[other], &raws[0], &[Refused::Forged], "a webhook signed with a retired secret")
}

fn other_account(setup: &Setup) -> Verdict {
    if facts(setup)?.app_level {
        let (bench, _, raws) = one(setup)?;
        let hints = hints(&bench, &[key(setup, "k", SECRET)], &raws)?;
        let ours = setup.external_id();
        return ensure(ours.is_some() && hints.iter().all(|hint| hint.account == ours), || {
            "one address serves all accounts, and a hint does not name the account that the token answer names".into()
        });
    }
    if setup.external_id().is_none() {
        return not_applicable("the vendor's webhooks do not name the account: the secret address does");
    }
    let (bench, _, raws) = one(setup)?;
    let mut wrong = key(setup, "k", SECRET);
    wrong.account = Some("00D000000000009EAZ".into());
    refused(&bench, &[wrong], &raws[0], &[Refused::WrongAccount], "a webhook of another account")
}

fn deletion(setup: &Setup) -> Verdict {
    facts(setup)?;
    let (mut bench, id, _) = one(setup)?;
    bench.delete_by_hand(&id)?;
    let raws = arriving(setup, &mut bench);
    if raws.is_empty() {
        return not_applicable("the vendor sends no webhook for a deletion: polling sees it");
    }
    let hints = hints(&bench, &[key(setup, "k", SECRET)], &raws)?;
    let told = hints.iter().any(|hint| hint.id == id && matches!(hint.kind, HintKind::Deleted | HintKind::PrivacyDeleted));
    ensure(told, || "no hint says that the record was deleted".into())
}

fn merge(setup: &Setup) -> Verdict {
    facts(setup)?;
    let mut bench = setup.bench()?;
    let (winner, loser) = (bench.person(1)?, bench.person(2)?);
    arriving(setup, &mut bench);
    let survivor = bench.merge_by_hand(&winner, &loser)?;
    let raws = arriving(setup, &mut bench);
    if raws.is_empty() {
        return not_applicable("the vendor sends no webhook for a merge: polling sees it");
    }
    let hints = hints(&bench, &[key(setup, "k", SECRET)], &raws)?;
    if hints.iter().all(|hint| hint.id == survivor && hint.kind == HintKind::Changed) {
        return not_applicable("the vendor's webhooks name only the record that stays: polling sees the merge");
    }
    let told = hints.iter().any(|hint| hint.id == loser && hint.kind == HintKind::Merged(survivor.clone()));
    ensure(told, || "no hint says into which record the other was merged".into())
}

/// Bytes that are no webhook are refused, never read and never a panic.
fn garbage(setup: &Setup) -> Verdict {
    let webhook = facts(setup)?;
    let (bench, _, raws) = one(setup)?;
    let keys = [key(setup, "k", SECRET)];
    let body = &raws[0].body;
    let cut = (0..body.len()).step_by((body.len() / 40).max(1)).map(|at| body[..at].to_vec());
    let odd: [&[u8]; 6] =
        [b"", b"null", b"[[[[[[", b"<?xml version=\"1.0\"?><!DOCTYPE a [<!ENTITY b \"c\">]><a>&b;</a>", &[0xff, 0xfe, 0x00], b"{}"];
    for bytes in cut.chain(odd.iter().map(|bytes| bytes.to_vec())) {
        let raw = RawRequest { body: bytes, ..raws[0].clone() };
        let allowed: &[Refused] = if webhook.signed { &[Refused::Forged] } else { &[Refused::Unreadable, Refused::WrongAccount] };
        refused(&bench, &keys, &raw, allowed, &format!("a body of {} bytes that is no webhook", raw.body.len()))?;
    }
    Ok(())
}

/// What is not answered with a 2xx comes again, and is believed then.
fn retried(setup: &Setup) -> Verdict {
    facts(setup)?;
    let mut bench = setup.bench()?;
    let id = bench.person(1)?;
    let mut heard = 0;
    for _ in 0..2_000 {
        bench.now += 60_000;
        for webhook in bench.sandbox.webhooks_due(bench.now) {
            let headers = webhook.headers.iter().map(|(name, value)| (name.to_ascii_lowercase(), value.clone())).collect();
            let raw = RawRequest { method: Method::Post, url: webhook.url, headers, body: webhook.body };
            let hints = hints(&bench, &[key(setup, "k", SECRET)], &[raw])?;
            heard += usize::from(hints.iter().any(|hint| hint.id == id));
            let answer = if heard > 1 { Some(Response::empty(200)) } else { None };
            bench.sandbox.webhook_answered(webhook.delivery, answer.as_ref(), bench.now);
        }
        if heard > 1 {
            return Ok(());
        }
    }
    fail(format!("a webhook that was not answered came {heard} times in a day"))
}

pub(super) const CASES: &[Case] = &[
    ("webhook: genuine", genuine),
    ("webhook: forged", forged),
    ("webhook: one byte changed", changed_byte),
    ("webhook: written again", reserialised),
    ("webhook: stale or from the future", stale),
    ("webhook: replayed", replayed),
    ("webhook: reordered", reordered),
    ("webhook: keys rotating", rotating),
    ("webhook: account", other_account),
    ("webhook: deletion", deletion),
    ("webhook: merge", merge),
    ("webhook: garbage", garbage),
    ("webhook: retried by the vendor", retried),
];
