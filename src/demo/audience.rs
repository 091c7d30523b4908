//! The people at the recipients, who work with what they got: they call, qualify, win and lose.

use std::collections::BTreeMap;

use leadshare_connectors::sdk::{Act, Fields, SandboxRecord};
use serde_json::{Value, json};

use super::stage::{Actor, Stage};
use crate::clock::{Clock, Millis};
use crate::follow::step::AUTOMATION;

/// What somebody at a recipient does with a lead.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Deed {
    /// Rings and reaches the person.
    Reach,
    /// Finds that it does not fit.
    Disqualify,
    /// Makes a deal of it and wins.
    Win,
    /// Leaves it lying.
    Nothing,
}

/// Who did what so far, by connection and record.
#[derive(Default)]
pub struct Audience {
    seen: BTreeMap<(usize, String), (Millis, bool)>,
}

impl Audience {
    /// Lets everybody act on what has been lying there long enough for a person to have seen it.
    /// Answers how many still have something to do.
    pub fn act(&mut self, stage: &Stage, clock: &Clock) -> usize {
        let now = clock.now();
        let mut open = 0;
        for (i, (actor, system)) in super::stage::ACTORS.iter().zip(stage.look()).enumerate() {
            if !system.receives {
                continue;
            }
            let ours: Vec<SandboxRecord> = system.ours().cloned().collect();
            for record in ours {
                let entry = self.seen.entry((i, record.id.clone())).or_insert((now, false));
                if entry.1 {
                    continue;
                }
                if now - entry.0 <= AUTOMATION + 1_500 {
                    open += 1;
                    continue;
                }
                entry.1 = true;
                do_it(stage, actor, i, &record, now);
            }
        }
        open
    }

    /// How many records have been acted on.
    pub fn done(&self) -> usize {
        self.seen.values().filter(|(_, done)| *done).count()
    }
}

fn deed(record: &SandboxRecord) -> Deed {
    let sum: usize = record.id.bytes().map(usize::from).sum();
    match sum % 10 {
        0..=5 => Deed::Reach,
        6 => Deed::Disqualify,
        7 | 8 => Deed::Win,
        _ => Deed::Nothing,
    }
}

fn do_it(stage: &Stage, actor: &Actor, i: usize, record: &SandboxRecord, now: Millis) {
    let Some(served) = stage.systems.get(i) else { return };
    let update = |fields: Value| Act::Update {
        object: actor.object.into(),
        id: record.id.clone(),
        fields: serde_json::from_value::<Fields>(fields).unwrap_or_default(),
    };
    let act = match (actor.connector, deed(record)) {
        (_, Deed::Nothing) => return,
        ("hubspot", Deed::Reach) => update(json!({ "hs_lead_status": "CONNECTED" })),
        ("hubspot", Deed::Disqualify) => update(json!({ "hs_lead_status": "UNQUALIFIED", "ls_lost_reason": "Not a fit" })),
        ("hubspot", Deed::Win) => update(json!({ "hs_lead_status": "OPEN_DEAL" })),
        ("salesforce", Deed::Reach) => update(json!({ "Status": "Working - Contacted" })),
        ("salesforce", Deed::Disqualify) => update(json!({ "Status": "Closed - Not Converted", "Lost_Reason__c": "No budget" })),
        ("salesforce", Deed::Win) => Act::Convert {
            object: actor.object.into(),
            id: record.id.clone(),
            fields: serde_json::from_value(
                json!({ "Name": "Set-up", "StageName": "Closed Won", "Amount": 18_000, "CloseDate": "2026-12-01" }),
            )
            .unwrap_or_default(),
        },
        (_, Deed::Disqualify) => update(json!({ "state": "lost" })),
        (_, _) => update(json!({ "state": "opportunity" })),
    };
    if let Err(why) = served.sandbox().act(act, now) {
        tracing::warn!(system = actor.name, why, "a simulated person could not do what they wanted");
    }
}
