//! A store as it looks after some days of work.

use serde_json::{Value, json};

use super::{NOW, World};
use crate::args;
use crate::clock::{DAY, HOUR, MINUTE, Millis, SECOND};
use crate::ledger::{Body, Entry, Stream};
use crate::model::decision::{Decision, Finding, Gate, Verdict, VerdictOutcome};
use crate::model::{ChangeOutcome, Channel, ConsentRecord};
use crate::store::{connections, deliveries, dirty, leads, ledger, people, shares, tokens};
use crate::vault::{Aad, DataKey, Owner};

/// One lead to be.
struct Plan {
    first: &'static str,
    last: &'static str,
    company: &'static str,
    email: &'static str,
    country: &'static str,
    outcome: ChangeOutcome,
    reason: &'static str,
    status: &'static str,
    progress: &'static str,
    ago: Millis,
}

#[rustfmt::skip]
const PLANS: &[Plan] = &[
    Plan { first: "Jonna", last: "Müller", company: "Ottobrunn Werkzeugbau GmbH", email: "jonna.mueller@ottobrunn.example", country: "DE", outcome: ChangeOutcome::Shared, reason: "brightwater gets it", status: "accepted", progress: "qualified", ago: 40 * MINUTE },
    Plan { first: "Pieter", last: "van der Berg", company: "Waddenzee Logistics B.V.", email: "pieter@waddenzee.example", country: "NL", outcome: ChangeOutcome::Shared, reason: "brightwater gets it", status: "delivered", progress: "new", ago: 12 * MINUTE },
    Plan { first: "Ana", last: "Souza", company: "Tejo Analytics", email: "ana@tejo.example", country: "PT", outcome: ChangeOutcome::Ineligible, reason: "`country` is not what the agreement asks for", status: "", progress: "", ago: 3 * HOUR },
    Plan { first: "Mark", last: "Oyelaran", company: "Lakeside Clinics", email: "mark@lakeside.example", country: "US", outcome: ChangeOutcome::Held, reason: "an approver of the source has to look at it", status: "held", progress: "new", ago: 5 * HOUR },
    Plan { first: "Sofie", last: "Lindqvist", company: "Norrsken Retail AB", email: "sofie@norrsken.example", country: "SE", outcome: ChangeOutcome::NoConsent, reason: "the person did not choose this partner", status: "", progress: "", ago: 20 * HOUR },
    Plan { first: "Thomas", last: "Gruber", company: "Alpenblick Hotels GmbH & Co. KG, Niederlassung Garmisch-Partenkirchen", email: "thomas.gruber@alpenblick.example", country: "AT", outcome: ChangeOutcome::Shared, reason: "brightwater gets it", status: "accepted", progress: "won", ago: 3 * DAY },
    Plan { first: "Lucy", last: "Chen", company: "Harbour Foods", email: "lucy@harbourfoods.example", country: "US", outcome: ChangeOutcome::Duplicate, reason: "another source's claim on this lead is protected", status: "", progress: "", ago: 4 * DAY },
    Plan { first: "Eva", last: "Kovács", company: "Duna Print", email: "eva@dunaprint.example", country: "HU", outcome: ChangeOutcome::Suppressed, reason: "the person is suppressed (unsubscribed)", status: "", progress: "", ago: 6 * DAY },
    Plan { first: "Ben", last: "Adler", company: "Spree Robotik", email: "ben@spree.example", country: "DE", outcome: ChangeOutcome::Shared, reason: "brightwater gets it", status: "returned", progress: "disqualified", ago: 8 * DAY },
];

impl World {
    /// Fills the store: two connections at work, leads of every kind, a queue, trouble.
    pub async fn fill(&self) {
        let mut tx = self.ctx.db.begin().await.expect("a transaction");
        connections::connected(
            &mut tx,
            "northwind-crm",
            None,
            Some("acme".into()),
            &["contacts.read".into()],
            NOW - 12 * DAY,
            NOW - 12 * DAY,
        )
        .await
        .expect("connected");
        connections::connected(&mut tx, "brightwater-crm", None, Some("bw".into()), &[], NOW - 11 * DAY, NOW - 11 * DAY)
            .await
            .expect("connected");
        for (connection, failures) in [("northwind-crm", 0), ("brightwater-crm", 1)] {
            let (access, refresh) = ("sealed".to_owned(), Some("sealed".to_owned()));
            let (expires_at, refresh_at) = (Some(NOW + 20 * MINUTE), Some(NOW + 18 * MINUTE));
            let saved = tokens::save(&mut tx, connection, tokens::Saved { access, refresh, expires_at, refresh_at, version: 3 });
            assert!(saved.await.expect("tokens"));
            dirty::save_cursor(&mut tx, connection, "contact", Some("{}".into()), NOW + 700 * failures).await.expect("a cursor");
        }
        connections::set_state(&mut tx, "brightwater-crm", "reconnect_needed", Some("invalid_grant"), NOW - 2 * HOUR)
            .await
            .expect("a state");
        let message = "brightwater-crm must be connected again: run `leadshare connect brightwater-crm` and send the link to the partner; nothing is lost meanwhile";
        connections::raise_alert(&mut tx, "alert-1", "brightwater-crm", "connection.reconnect_needed", message, NOW - 2 * HOUR)
            .await
            .expect("an alert");
        let refused = "These files are not used; the last right version of each stays in force:\n\
            /etc/leadshare/mappings/northwind-crm.toml:14:52: error[mapping.unknown_transform]: there is no transform `lowercsae`\n  \
            hint: did you mean `lowercase`?";
        *self.ctx.refused.write().expect("a lock") = Some((refused.into(), NOW - HOUR));
        let hint = |id: &str| dirty::Raise { object: "contact".into(), remote_id: id.into(), kind: "changed", detail: None };
        dirty::raise(&mut tx, "northwind-crm", &[hint("90001"), hint("90002")], NOW - 20 * SECOND).await.expect("hints");
        let unread = json!([
            ["change-x1", "70001", 1, NOW - HOUR - 900, "quarantined", "industry `ROBOTS` has no word in the mapping", null, null],
            ["change-x2", "70002", 3, NOW - HOUR - 400, "untracked", "outside_the_selection", null, null],
            ["change-x3", "70003", 1, NOW - HOUR - 100, "invalid", "email_not_an_address", null, null],
        ]);
        leads::save_changes(&mut tx, "northwind-crm", "contact", &unread, NOW - HOUR).await.expect("changes");
        tx.commit().await.expect("commits");
        connections::set_setting(&self.ctx.db, "stopped", "a wrong price list went out").await.expect("a setting");
        for (number, plan) in PLANS.iter().enumerate() {
            self.add(number, plan).await;
        }
    }

    async fn add(&self, number: usize, plan: &Plan) {
        let (ctx, at) = (&self.ctx, NOW - plan.ago);
        let (person, change, decision) = (format!("person-{number}"), format!("change-{number}"), format!("decision-{number}"));
        let (lead, share) = (lead_id(number), format!("share-{number}"));
        let key = DataKey::generate(&ctx.clock, Owner::Person(&person)).expect("a key");
        let seal = |place: Aad<'_>, value: Value| key.seal(&ctx.clock, place, value.to_string().as_bytes()).expect("seals");
        let data = json!({
            "fields": {
                "first_name": plan.first, "last_name": plan.last, "email": plan.email, "phone": "+4930901820", "company": plan.company,
                "country": plan.country, "employees": 120, "need": "setup_help", "timeframe": "this_quarter", "x_room": "Second floor",
            },
            "consent": serde_json::to_value(crate::model::ConsentClaim::default()).expect("json"),
        });
        let wrapped = key.wrap(&ctx.vault.keys, &ctx.clock).expect("wraps");
        let mut tx = ctx.db.begin().await.expect("a transaction");
        people::add(&mut tx, &json!([[person, wrapped]]), &json!([]), at).await.expect("a person");
        let row = json!([[lead, person, (5000 + number).to_string(), "mapping-hash", seal(Aad::new("leads", &lead, "data"), data)]]);
        leads::save_leads(&mut tx, "northwind", "northwind-crm", "contact", &row, at).await.expect("a lead");
        let outcome = plan.outcome.word();
        let body = serde_json::to_string(&decided(plan)).expect("json");
        leads::save_decisions(&mut tx, &json!([[decision, lead, change, outcome, plan.reason, null, body]]), at).await.expect("a decision");
        let row = json!([[change, (5000 + number).to_string(), 1 + number % 3, at - 180, outcome, plan.reason, lead, decision]]);
        leads::save_changes(&mut tx, "northwind-crm", "contact", &row, at).await.expect("a change");
        let mut entries = vec![("lead.decided", at, Body::new().id("lead", &lead).code("outcome", &outcome).id("decision", &decision))];
        if !plan.status.is_empty() {
            let first = if plan.status == "held" { "held" } else { "matched" };
            let hash = "b41e5f0c9a7d3e2148c6f0b7a5d9e3c1b41e5f0c9a7d3e2148c6f0b7a5d9e3c1";
            let row = json!([[
                share,
                person,
                lead,
                "northwind",
                "brightwater",
                "northwind-brightwater",
                hash,
                decision,
                "brightwater-crm",
                "contact",
                first
            ]]);
            shares::add(&mut tx, &row, at).await.expect("a share");
            shares::add_events(&mut tx, &json!([[share, first, "new", null, null, format!("{share}-e0"), "decision"]]), at)
                .await
                .expect("an event");
            let proof = ConsentRecord {
                controller: "Northwind Cloud B.V.".into(),
                recipient: "brightwater".into(),
                recipient_legal_name: "Brightwater Services Inc.".into(),
                purpose: "contact".into(),
                channel: Some(Channel::Email),
                basis: "double_opt_in".into(),
                notice: Some("webform-2026-04".into()),
                notice_version: Some(hash.into()),
                language: Some("de".into()),
                given_at: Some(at - HOUR),
                method: Some("https://www.northwind.example/setup-help".into()),
                contact_point: Some(plan.email.into()),
                place: Some(plan.country.into()),
            };
            let sealed = seal(crate::people::proof_place(&share), json!([proof]));
            leads::save_consents(&mut tx, &json!([[share, "[[\"contact\",\"email\"]]", sealed]]), at).await.expect("proof");
            entries.push((
                "share.matched",
                at,
                Body::new().id("share", &share).id("agreement", "northwind-brightwater").version("version", hash),
            ));
        }
        if !plan.status.is_empty() && plan.status != "held" {
            let landed = at + 3 * SECOND;
            shares::want_remote(&mut tx, &json!([["brightwater-crm", person, "contact", format!("ls1-{number}")]]))
                .await
                .expect("a marker");
            shares::land(&mut tx, "brightwater-crm", &json!([[person, (8000 + number).to_string(), "created", null]]), landed)
                .await
                .expect("landed");
            deliveries::want(
                &mut tx,
                &json!([[share, "out", "brightwater-crm", "contact", 1, at], [share, "back", "northwind-crm", "contact", 2, at]]),
                at,
            )
            .await
            .expect("deliveries");
            let tries = json!([
                [format!("{share}-a0"), share, 1, at + 800, 412, "passing", "vendor_503"],
                [format!("{share}-a1"), share, 1, landed - 240, 236, "written", null],
            ]);
            deliveries::add_attempts(&mut tx, "out", &tries).await.expect("tries");
            shares::move_to(&mut tx, &json!([[share, "delivered", "new", null, null, format!("{share}-e1"), "vendor"]]), landed)
                .await
                .expect("moved");
            entries.push(("share.delivered", landed, Body::new().id("share", &share).number("attempt", 2)));
            if plan.status != "delivered" {
                let amount = (plan.progress == "won").then_some("18400.00");
                let reason = (plan.status == "returned").then_some("no_budget");
                let row = json!([[share, plan.status, plan.progress, reason, amount, format!("{share}-e2"), "recipient"]]);
                shares::move_to(&mut tx, &row, landed + 6 * MINUTE).await.expect("moved");
            }
            let sql = match plan.status {
                "delivered" => "UPDATE deliveries SET done_version = 1, place = NULL WHERE share = $1 AND way = 'out'",
                "returned" => {
                    "UPDATE deliveries SET place = NULL, state = CASE WHEN way = 'out' THEN 'ended' ELSE 'failed' END, last_error = 'READ_ONLY_FIELD' WHERE share = $1"
                }
                _ => "UPDATE deliveries SET done_version = 1, place = NULL WHERE share = $1",
            };
            tx.exec(sql, args![&share]).await.expect("deliveries at their end");
        }
        let stream = Stream::Agreement("northwind-brightwater".into());
        for (nth, (kind, at, body)) in entries.into_iter().enumerate() {
            let id = uuid::Builder::from_unix_timestamp_millis(at as u64, &[number as u8, nth as u8, 0, 0, 0, 0, 0, 0, 0, 0]).into_uuid();
            let entry = Entry::new(&id.to_string(), &stream, at, kind, body).expect("an entry");
            ledger::add(&mut tx, &[entry]).await.expect("kept");
        }
        tx.commit().await.expect("commits");
    }
}

/// The id of the lead of a plan.
pub fn lead_id(number: usize) -> String {
    format!("lead-{number}")
}

fn decided(plan: &Plan) -> Decision {
    let stop = |gate: Gate, code: &'static str, clause: &'static str| Finding {
        gate,
        passed: false,
        code: code.into(),
        clause: clause.into(),
        text: plan.reason.into(),
    };
    let failing = match plan.outcome {
        ChangeOutcome::Ineligible => Some(stop(Gate::Eligible, "eligible.not_fulfilled", "2 qualification.all.country")),
        ChangeOutcome::NoConsent => Some(stop(Gate::Consent, "consent.not_chosen", "3 privacy.basis")),
        ChangeOutcome::Duplicate => Some(stop(Gate::Duplicate, "duplicate.owned", "7 disputes.ownership")),
        ChangeOutcome::Suppressed => Some(stop(Gate::Suppressed, "suppressed.person", "3 privacy.withdrawal")),
        _ => None,
    };
    let outcome = match plan.outcome {
        ChangeOutcome::Shared => VerdictOutcome::Shared,
        ChangeOutcome::Held => VerdictOutcome::Held,
        ChangeOutcome::Ineligible => VerdictOutcome::Ineligible,
        ChangeOutcome::NoConsent => VerdictOutcome::NoConsent,
        ChangeOutcome::Duplicate => VerdictOutcome::Duplicate,
        _ => VerdictOutcome::Suppressed,
    };
    let mut verdicts = vec![verdict("brightwater", outcome, failing)];
    let full = Finding {
        gate: Gate::Capacity,
        passed: false,
        code: "capacity.day".into(),
        clause: "partner rheinwerk capacity".into(),
        text: "5 of 5 leads a day are used".into(),
    };
    verdicts.push(verdict("rheinwerk", VerdictOutcome::Unmatched, Some(full)));
    verdicts.push(verdict("cascadia", VerdictOutcome::Outranked, None));
    Decision {
        outcome: plan.outcome,
        reason: plan.reason.into(),
        verdicts,
        program: "0f3c9a7d5e2148c6f0b7a5d9e3c1b41e5f0c9a7d3e2148c6f0b7a5d9e3c1b41e".into(),
        engine: "1".into(),
    }
}

fn verdict(recipient: &str, outcome: VerdictOutcome, failing: Option<Finding>) -> Verdict {
    let passed = |gate: Gate, clause: &'static str, text: &'static str| Finding {
        gate,
        passed: true,
        code: format!("{}.ok", gate.word()).into(),
        clause: clause.into(),
        text: text.into(),
    };
    let mut findings = vec![
        passed(Gate::Valid, "", "the lead is complete"),
        passed(Gate::Suppressed, "3 privacy.withdrawal", "neither suppressed nor of a refused kind"),
        passed(Gate::Agreement, "5 term", "the agreement is signed and in force"),
        passed(Gate::Consent, "3 privacy.purpose.introduce", "the person chose this partner on the notice webform-2026-04"),
        passed(Gate::Transfer, "3 privacy.transfer", "the legal tool was assessed and its review is not due"),
        passed(Gate::Duplicate, "7 disputes.ownership", "nobody has a claim"),
        passed(Gate::Eligible, "2 qualification", "it is what the agreement counts as a lead"),
        passed(Gate::Fresh, "2 qualification.fresh", "the person acted within 14 days"),
        passed(Gate::Exclusivity, "9 exclusivity", "not promised to others"),
        passed(Gate::Capacity, "operations.capacity", "there is room"),
        passed(Gate::Standing, "", "no partner is paused"),
    ];
    if let Some(failing) = failing {
        findings.retain(|finding| finding.gate != failing.gate);
        findings.push(failing);
        findings.sort_by_key(|finding| finding.gate);
    }
    let score =
        outcome.goes_out().then(|| vec![("specialization".to_owned(), 0.4), ("tier".to_owned(), 0.25), ("capacity".to_owned(), 0.178)]);
    Verdict {
        recipient: recipient.into(),
        agreement: format!("northwind-{recipient}"),
        version: "b41e5f0c".into(),
        terms: "b41e5f0c".into(),
        number: 3,
        outcome,
        findings,
        score,
        fields: ["first_name", "last_name", "email", "company", "country"].map(str::to_owned).into(),
        channels: [Channel::Email].into(),
        consents: vec![],
    }
}
