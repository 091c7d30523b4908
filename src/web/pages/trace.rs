//! A lead's trace, put together from what every stage left behind. Stored JSON is read part by part:
//! what a newer or older version wrote differently is left out, the rest is shown.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::clock::{DAY, Millis, SECOND};
use crate::errors::Result;
use crate::ledger::Row;
use crate::model::field::Kind;
use crate::people::proof_place;
use crate::store::views::{self, AttemptLine, ChangeLine, ConsentLine, DecisionLine, DeliveryLine, EventLine, ShareLine};
use crate::store::{Db, ledger};
use crate::vault::{DataKey, Owner};
use crate::web::Web;
use crate::web::show::{Badge, When, badge, count, label, mask, plain, text};

/// How far ledger entries may lie from the work that they record.
const NEAR: Millis = 5 * SECOND;
/// How long before its work is kept an entry may be made: the wait for people's locks lies between.
const MADE_BEFORE: Millis = 30 * SECOND;
/// The longest that the sealer has been behind, where an entry is to be found.
const SEALED_WITHIN: Millis = DAY;

/// Everything stored about a lead, besides itself.
pub struct Found {
    shares: Vec<ShareLine>,
    events: Vec<EventLine>,
    deliveries: Vec<DeliveryLine>,
    attempts: Vec<AttemptLine>,
    consents: Vec<ConsentLine>,
    decisions: Vec<DecisionLine>,
    changes: Vec<ChangeLine>,
    ledger: Vec<Row>,
}

/// One share with all that happened to it.
pub struct ShareView {
    pub share: ShareLine,
    pub status: Badge,
    pub progress: Option<Badge>,
    pub reason: Option<String>,
    pub when: When,
    pub version: String,
    pub remote: Option<String>,
    pub events: Vec<EventView>,
    pub ways: Vec<WayView>,
    pub consents: Vec<ConsentView>,
}

/// One move of a share.
pub struct EventView {
    pub when: When,
    pub status: Badge,
    pub progress: Option<Badge>,
    pub reason: Option<String>,
    pub said_by: String,
}

/// Deliveries one way, with their tries.
pub struct WayView {
    pub title: &'static str,
    pub state: Badge,
    pub versions: String,
    pub due: Option<When>,
    pub error: Option<String>,
    pub tries: Vec<TryView>,
}

/// One try.
pub struct TryView {
    pub when: When,
    pub version: i64,
    pub took: i64,
    pub outcome: Badge,
    pub code: Option<String>,
}

/// Kept proof of one permission.
pub struct ConsentView {
    pub title: String,
    pub when: When,
    pub parts: Vec<(String, String)>,
}

/// One decision with every candidate.
pub struct DecisionView {
    pub when: When,
    pub outcome: Badge,
    pub reason: String,
    pub program: String,
    pub engine: String,
    pub verdicts: Vec<VerdictView>,
}

/// One candidate.
pub struct VerdictView {
    pub recipient: String,
    pub agreement: String,
    pub outcome: Badge,
    pub stopped_by: Option<String>,
    pub findings: Vec<FindingView>,
    pub score: Vec<(String, String)>,
    pub fields: String,
    pub channels: String,
}

/// What one gate said.
pub struct FindingView {
    pub gate: String,
    pub passed: bool,
    pub code: String,
    pub clause: String,
    pub text: String,
}

/// One change.
pub struct ChangeView {
    pub when: When,
    pub outcome: Badge,
    pub reason: String,
    pub hints: i64,
    pub took: i64,
}

/// One ledger entry.
pub struct EntryView {
    pub when: When,
    pub stream: String,
    pub kind: String,
    pub seq: Option<u64>,
    pub parts: Vec<(String, String)>,
}

impl Found {
    /// Loads it.
    pub async fn load(db: &Db, lead: &str) -> Result<Self> {
        let mut found = Self {
            shares: views::shares_of_lead(db, lead).await?,
            events: views::events_of(db, lead).await?,
            deliveries: views::deliveries_of(db, lead).await?,
            attempts: views::attempts_of(db, lead).await?,
            consents: views::consents_of(db, lead).await?,
            decisions: views::decisions_of(db, lead).await?,
            changes: views::changes_of(db, lead).await?,
            ledger: Vec::new(),
        };
        let naming: Vec<&str> = std::iter::once(lead).chain(found.shares.iter().map(|share| share.id.as_str())).collect();
        found.ledger = ledger::near(db, &found.windows(), &naming).await?;
        Ok(found)
    }

    /// Between which entry ids something happened to the lead, each with the id before which no batch began that holds such an
    /// entry: ids start with their time.
    fn windows(&self) -> Value {
        let changes = self.changes.iter().map(|change| change.ended_at);
        let decisions = self.decisions.iter().map(|decision| decision.1);
        let tries = self.attempts.iter().map(|attempt| attempt.3 + attempt.4);
        let mut times: Vec<Millis> = changes.chain(decisions).chain(self.events.iter().map(|event| event.1)).chain(tries).collect();
        times.sort_unstable();
        let mut windows: Vec<(Millis, Millis)> = Vec::new();
        for at in times {
            match windows.last_mut() {
                Some(last) if at - MADE_BEFORE <= last.1 => last.1 = at + NEAR,
                _ => windows.push((at - MADE_BEFORE, at + NEAR)),
            }
        }
        let id = |at: Millis, rest: &str| {
            let hex = format!("{:012x}", at.max(0));
            format!("{}-{}-{rest}", &hex[..8], &hex[8..12])
        };
        windows.into_iter().map(|(from, to)| json!([id(from - SEALED_WITHIN, "0000"), id(from, "0000"), id(to, "ffff")])).collect()
    }

    /// The shares, each with its moves, deliveries and proof.
    pub fn shares(&self, web: &Web, person: &str, data_key: Option<&str>, clear: bool, now: Millis) -> Vec<ShareView> {
        let key = data_key.and_then(|key| DataKey::unwrap(&web.ctx().vault.keys, Owner::Person(person), key).ok());
        let mut shares = Vec::new();
        for share in &self.shares {
            let of = |id: &str| id == share.id;
            let events = self.events.iter().filter(|event| of(&event.0)).map(|(_, at, status, progress, reason, said_by)| EventView {
                when: When::new(*at, now),
                status: badge(status),
                progress: told(progress),
                reason: reason.as_deref().map(plain),
                said_by: plain(said_by),
            });
            let consents =
                self.consents.iter().filter(|consent| of(&consent.0)).flat_map(|consent| proof(consent, key.as_ref(), clear, now));
            let deliveries = self.deliveries.iter().filter(|delivery| of(&delivery.0));
            let made = share.made.as_deref().map(|made| match made {
                "created" => "made by us",
                "adopted" => "was there before",
                _ => "not known who made it",
            });
            shares.push(ShareView {
                status: badge(&share.status),
                progress: told(&share.progress),
                reason: share.reason.as_deref().map(plain),
                when: When::new(share.created_at, now),
                version: short(&share.terms),
                remote: share.remote_id.as_ref().map(|id| format!("record {id}, {}", made.unwrap_or_default())),
                events: events.collect(),
                ways: deliveries.map(|delivery| self.way(delivery, now)).collect(),
                consents: consents.collect(),
                share: share.clone(),
            });
        }
        shares
    }

    fn way(&self, delivery: &DeliveryLine, now: Millis) -> WayView {
        let (share, way, state, wanted, done, due, failed, error, intent) = delivery;
        let open = state == "open" && wanted > done;
        let state = match (state.as_str(), intent.as_deref()) {
            ("open", Some("in_doubt")) => badge("in_doubt"),
            ("open", _) if open => Badge { text: "waiting".into(), tone: "warn" },
            ("open", _) => Badge { text: "up to date".into(), tone: "good" },
            (other, _) => badge(other),
        };
        let tries = self.attempts.iter().filter(|attempt| attempt.0 == *share && attempt.1 == *way);
        let failed = if *failed > 0 { format!(", {}", count(*failed, "failed try", "failed tries")) } else { String::new() };
        WayView {
            title: if way == "out" { "To the recipient" } else { "Back to the sharer" },
            state,
            versions: if open { format!("version {wanted} wanted, {done} done{failed}") } else { format!("version {done} done{failed}") },
            due: open.then(|| When::new(*due, now)),
            error: error.clone(),
            tries: tries
                // Stored newest first, told in the order of time.
                .rev()
                .map(|(_, _, version, at, took, outcome, code)| TryView {
                    when: When::new(*at, now),
                    version: *version,
                    took: *took,
                    outcome: badge(outcome),
                    code: code.clone(),
                })
                .collect(),
        }
    }

    /// The decisions, newest first.
    pub fn decisions(&self, now: Millis) -> Vec<DecisionView> {
        let view = |(_, at, outcome, reason, body): &DecisionLine| {
            let body: Value = serde_json::from_str(body).unwrap_or_default();
            DecisionView {
                when: When::new(*at, now),
                outcome: badge(outcome),
                reason: reason.clone(),
                program: short(&said(&body, "program")),
                engine: said(&body, "engine"),
                verdicts: list(&body, "verdicts").iter().map(verdict).collect(),
            }
        };
        self.decisions.iter().map(view).collect()
    }

    /// The changes, newest first.
    pub fn changes(&self, now: Millis) -> Vec<ChangeView> {
        let view = |change: &ChangeLine| ChangeView {
            when: When::new(change.ended_at, now),
            outcome: badge(&change.outcome),
            reason: plain(&change.reason),
            hints: change.hints,
            took: (change.ended_at - change.taken_at).max(0),
        };
        self.changes.iter().map(view).collect()
    }

    /// The ledger's entries that name the lead or its shares, oldest first.
    pub fn entries(&self, now: Millis) -> Vec<EntryView> {
        let view = |Row { stream, at, kind, text: entry, seal, .. }: &Row| {
            let body: BTreeMap<String, Value> =
                serde_json::from_str::<Value>(entry).ok().and_then(|v| serde_json::from_value(v["body"].clone()).ok()).unwrap_or_default();
            EntryView {
                when: When::new(*at, now),
                stream: stream.clone(),
                kind: kind.clone(),
                seq: seal.map(|(place, _)| place.seq),
                parts: body.iter().map(|(name, value)| (plain(name), short(&text(value)))).collect(),
            }
        };
        self.ledger.iter().map(view).collect()
    }
}

fn verdict(value: &Value) -> VerdictView {
    let findings: Vec<FindingView> = list(value, "findings").iter().map(finding).collect();
    let number = value["number"].as_u64().map(|n| format!(" · version {n}")).unwrap_or_default();
    let score = list(value, "score").iter().filter_map(|part| Some((plain(part[0].as_str()?), format!("{:.2}", part[1].as_f64()?))));
    VerdictView {
        recipient: said(value, "recipient"),
        agreement: format!("{}{number}", said(value, "agreement")),
        outcome: badge(&said(value, "outcome")),
        stopped_by: findings.iter().find(|finding| !finding.passed).map(|finding| finding.text.clone()),
        score: score.collect(),
        fields: list(value, "fields").iter().filter_map(|field| field.as_str().map(label)).collect::<Vec<_>>().join(", "),
        channels: text(&value["channels"]),
        findings,
    }
}

fn finding(value: &Value) -> FindingView {
    FindingView {
        gate: plain(&said(value, "gate")),
        passed: value["passed"].as_bool().unwrap_or(false),
        code: said(value, "code"),
        clause: said(value, "clause"),
        text: said(value, "text"),
    }
}

fn proof((share, permits, sealed, at): &ConsentLine, key: Option<&DataKey>, clear: bool, now: Millis) -> Vec<ConsentView> {
    let opened = sealed.as_deref().zip(key).and_then(|(sealed, key)| key.open(proof_place(share), sealed).ok());
    let records: Vec<BTreeMap<String, Value>> = opened.and_then(|plain| serde_json::from_slice(&plain).ok()).unwrap_or_default();
    let permits: Vec<(String, Option<String>)> = serde_json::from_str(permits).unwrap_or_default();
    let view = |(nth, (purpose, channel)): (usize, (String, Option<String>))| {
        let parts =
            records.get(nth).map(|record| record.iter().filter_map(|part| proof_part(part, channel.as_deref(), clear, now)).collect());
        let title = channel.map_or_else(|| plain(&purpose), |channel| format!("{} by {channel}", plain(&purpose)));
        ConsentView { title, when: When::new(*at, now), parts: parts.unwrap_or_default() }
    };
    permits.into_iter().enumerate().map(view).collect()
}

fn proof_part((name, value): (&String, &Value), channel: Option<&str>, clear: bool, now: Millis) -> Option<(String, String)> {
    let kind = match channel {
        Some("email") => Kind::Email,
        Some("phone") => Kind::Phone,
        _ => Kind::Text,
    };
    let shown = match name.as_str() {
        "purpose" | "channel" | "recipient" => return None,
        _ if value.is_null() => return None,
        "given_at" => value.as_i64().map(|at| When::new(at, now).exact()).unwrap_or_default(),
        "contact_point" if !clear => mask(kind, &text(value)),
        "notice_version" => short(&text(value)),
        _ => text(value),
    };
    Some((plain(name), shown))
}

/// A progress that says more than "new".
fn told(progress: &str) -> Option<Badge> {
    (progress != "new").then(|| badge(progress))
}

fn list<'a>(value: &'a Value, name: &str) -> &'a [Value] {
    value[name].as_array().map(Vec::as_slice).unwrap_or_default()
}

fn said(value: &Value, name: &str) -> String {
    text(&value[name])
}

/// A hash as people compare it.
fn short(hash: &str) -> String {
    let hex = hash.len() >= 32 && hash.bytes().all(|b| b.is_ascii_hexdigit());
    if hex { hash.chars().take(12).collect() } else { hash.to_owned() }
}
