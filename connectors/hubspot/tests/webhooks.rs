//! Webhooks: signatures over raw bytes, and what events say.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde_json::{Value, json};

use super::{START, World};
use crate::sdk::{Act, App, Connector, HintKind, Method, Millis, RawRequest, Refused, Response, WebhookKey, signature};

const SECRET: &str = "yyyyyyyy-yyyy-yyyy-yyyy-yyyyyyyyyyyy";

fn keys() -> Vec<WebhookKey> {
    ["retired", SECRET].map(|secret| WebhookKey { id: secret.into(), secret: secret.into(), account: None }).to_vec()
}

fn request(url: &str, body: &str, headers: &[(&str, &str)]) -> RawRequest {
    RawRequest {
        method: Method::Post,
        url: url.into(),
        headers: headers.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect(),
        body: body.into(),
    }
}

fn signed(url: &str, hashed: &str, body: &Value, at: Millis) -> RawRequest {
    let (body, at) = (body.to_string(), at.to_string());
    let mac = signature::hmac_sha256(SECRET.as_bytes(), &[b"POST", hashed.as_bytes(), body.as_bytes(), at.as_bytes()]);
    request(url, &body, &[("x-hubspot-signature-v3", &STANDARD.encode(mac)), ("x-hubspot-request-timestamp", &at)])
}

/// The value that HubSpot's own client library tests version 1 with.
#[test]
fn the_published_v1_signature_fits() {
    let body = r#"[{"eventId":1,"subscriptionId":12345,"portalId":62515,"occurredAt":1564113600000,"subscriptionType":"contact.creation","attemptNumber":0,"objectId":123,"changeSource":"CRM","changeFlag":"NEW","appId":54321}]"#;
    let given = "232db2615f3d666fe21a8ec971ac7b5402d33b9a925784df3ca654d05f4817de";
    let headers = [("x-hubspot-signature", given), ("x-hubspot-signature-version", "v1")];
    let connector = World::new().connector;
    let incoming = connector.webhook(&request("https://us.example/hook", body, &headers), &keys(), START).expect("genuine");
    assert_eq!(incoming.hints.len(), 1);
    let hint = &incoming.hints[0];
    assert_eq!((hint.account.as_deref(), hint.object.as_str(), hint.id.as_str()), (Some("62515"), "contact", "123"));
    assert_eq!((hint.kind.clone(), hint.occurred_at), (HintKind::Changed, Some(1_564_113_600_000)));
    let spaced = request("https://us.example/hook", &body.replace(',', ", "), &headers);
    assert_eq!(connector.webhook(&spaced, &keys(), START), Err(Refused::Forged), "the bytes are signed, not the JSON");
}

/// A value computed from the documented algorithm by another program.
#[test]
fn a_v3_signature_made_elsewhere_fits() {
    let body = r#"{"example_field":"example_value"}"#;
    let headers =
        [("x-hubspot-signature-v3", "rQEKkaNUiu+1qGF//O/pw4BCzstSqO1PyUnGICmf+7o="), ("x-hubspot-request-timestamp", "1700000000000")];
    let raw = request("https://www.example.com/webhook_uri", body, &headers);
    let connector = World::new().connector;
    // The signature fits; the body is not a list of events.
    assert_eq!(connector.webhook(&raw, &keys(), 1_700_000_000_000), Err(Refused::Unreadable));
    assert_eq!(connector.webhook(&raw, &keys(), 1_700_000_300_001), Err(Refused::Stale));
    assert_eq!(connector.webhook(&raw, &keys()[..1], 1_700_000_000_000), Err(Refused::Forged));
}

/// Breaks when an escape is decoded that HubSpot leaves alone, or the other way round.
#[test]
fn only_the_documented_escapes_are_decoded() {
    let connector = World::new().connector;
    let event = json!([{ "portalId": 1, "objectId": 2, "subscriptionType": "contact.creation" }]);
    let url = "https://us.example/h%3a%2F%40%20%2B?next=%2Fx%3Fy%25";
    let good = signed(url, "https://us.example/h:/@%20%2B?next=/x?y%25", &event, START);
    assert!(connector.webhook(&good, &keys(), START).is_ok());
    let all = signed(url, "https://us.example/h:/@ +?next=/x?y%", &event, START);
    assert_eq!(connector.webhook(&all, &keys(), START), Err(Refused::Forged));
}

/// Breaks when a missing, wrong or weaker signature is let through.
#[test]
fn what_is_not_signed_is_not_read() {
    let connector = World::new().connector;
    let event = json!([{ "portalId": 1, "objectId": 2, "subscriptionType": "contact.creation" }]);
    let good = signed("https://us.example/h", "https://us.example/h", &event, START);
    assert!(connector.webhook(&good, &keys(), START + 300_000).is_ok());
    let refused = |raw: &RawRequest, now: Millis| connector.webhook(raw, &keys(), now).expect_err("refused");
    assert_eq!(refused(&RawRequest { headers: vec![], ..good.clone() }, START), Refused::Unsigned);
    assert_eq!(refused(&good, START + 300_001), Refused::Stale);
    assert_eq!(refused(&good, START - 300_001), Refused::Stale);
    assert_eq!(refused(&RawRequest { url: "https://other.example/h".into(), ..good.clone() }, START), Refused::Forged);
    // A wrong version 3 is not excused by a fitting version 1.
    let mut both = good.clone();
    both.headers[0].1 = STANDARD.encode([0; 32]);
    let v1 = hex::encode(signature::sha256(&[SECRET.as_bytes(), &both.body]));
    both.headers.push(("x-hubspot-signature".into(), v1.clone()));
    assert_eq!(refused(&both, START), Refused::Forged);
    let v2 = [("x-hubspot-signature", v1.as_str()), ("x-hubspot-signature-version", "v2")];
    assert_eq!(refused(&request("https://us.example/h", &event.to_string(), &v2), START), Refused::Forged);
    let bound = vec![WebhookKey { id: "k".into(), secret: SECRET.into(), account: Some("999".into()) }];
    assert_eq!(connector.webhook(&good, &bound, START), Err(Refused::WrongAccount));
}

/// Breaks when an event kind is misread.
#[test]
fn events_become_hints() {
    let events = json!([
        { "portalId": 1, "objectId": 10, "subscriptionType": "contact.propertyChange", "propertyName": "email", "propertyValue": "x" },
        { "portalId": 1, "objectId": 11, "subscriptionType": "contact.deletion", "changeFlag": "DELETED" },
        { "portalId": 1, "objectId": 12, "subscriptionType": "contact.privacyDeletion" },
        { "portalId": 1, "objectId": 15, "subscriptionType": "contact.merge", "primaryObjectId": 13, "mergedObjectIds": [14], "newObjectId": 15 },
        { "portalId": 1, "objectId": 16, "subscriptionType": "company.merge", "primaryObjectId": 16, "mergedObjectIds": [17] },
        { "portalId": 1, "objectId": 18, "objectTypeId": "0-136", "subscriptionType": "object.propertyChange", "unheardOf": {} },
        { "portalId": 1, "fromObjectId": 19, "toObjectId": 20, "subscriptionType": "contact.associationChange", "associationType": "CONTACT_TO_DEAL" },
        { "portalId": 2, "objectId": 21, "subscriptionType": "deal.restore" },
        { "portalId": 2, "subscriptionType": "something" },
    ]);
    let raw = signed("https://us.example/h", "https://us.example/h", &events, START);
    let hints = World::new().connector.webhook(&raw, &keys(), START).expect("genuine").hints;
    let told: Vec<(&str, &str, &HintKind)> = hints.iter().map(|h| (h.object.as_str(), h.id.as_str(), &h.kind)).collect();
    assert_eq!(
        told,
        [
            ("contact", "10", &HintKind::Changed),
            ("contact", "11", &HintKind::Deleted),
            ("contact", "12", &HintKind::PrivacyDeleted),
            ("contact", "13", &HintKind::Merged("15".into())),
            ("contact", "14", &HintKind::Merged("15".into())),
            ("contact", "15", &HintKind::Changed),
            ("company", "17", &HintKind::Merged("16".into())),
            ("company", "16", &HintKind::Changed),
            ("lead", "18", &HintKind::Changed),
            ("contact", "19", &HintKind::Changed),
            ("deal", "21", &HintKind::Changed),
        ]
    );
    assert_eq!(hints[10].account.as_deref(), Some("2"));
}

/// Breaks when the simulator's webhooks and the connector do not fit together, or a retry is lost.
#[test]
fn the_simulators_webhooks_are_understood_and_retried() {
    let mut world = World::new();
    world.sandbox.register(App {
        client_id: "id".into(),
        client_secret: SECRET.into(),
        redirect_uri: "https://us.example/callback".into(),
        webhook_url: Some("https://us.example/hooks/hubspot%2Fapp".into()),
    });
    let id = world.person(&[("email", "a@example.com")]);
    let mut tries = 0;
    let mut told = false;
    // A day and more, minute by minute.
    for _ in 0..(30 * 60) {
        for hook in world.sandbox.webhooks_due(world.now) {
            let raw = RawRequest { method: Method::Post, url: hook.url.clone(), headers: hook.headers.clone(), body: hook.body.clone() };
            let incoming = world.connector.webhook(&raw, &keys(), world.now).expect("genuine");
            told |= incoming.hints.iter().any(|hint| hint.id == id);
            tries += 1;
            world.sandbox.webhook_answered(hook.delivery, Some(&Response::empty(503)), world.now);
        }
        world.now += 60_000;
    }
    assert!(told);
    assert_eq!(tries, 10, "ten tries, then never again");
    world.act(Act::Delete { object: "contact".into(), id });
    let hook = world.sandbox.webhooks_due(world.now).remove(0);
    world.sandbox.webhook_answered(hook.delivery, Some(&Response::empty(204)), world.now);
    world.now += 86_400_000;
    assert!(world.sandbox.webhooks_due(world.now).iter().all(|again| again.delivery != hook.delivery));
}
