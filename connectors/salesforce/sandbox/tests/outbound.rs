//! Outbound messages.

use serde_json::json;

use super::{NOW, Org, fields};
use crate::{
    salesforce::Salesforce,
    sdk::{Act, Connector, Fault, Method, OutgoingWebhook, RawRequest, Response, Sandbox, WebhookKey},
};

fn ack(value: &str) -> Response {
    let body = format!(
        r#"<e:Envelope xmlns:e="http://schemas.xmlsoap.org/soap/envelope/"><e:Body><n:notificationsResponse xmlns:n="http://soap.sforce.com/2005/09/outbound"><n:Ack>{value}</n:Ack></n:notificationsResponse></e:Body></e:Envelope>"#
    );
    Response { status: 200, headers: Vec::new(), body: body.into_bytes() }
}

fn body(message: &OutgoingWebhook) -> String {
    String::from_utf8(message.body.clone()).unwrap()
}

// Breaks when messages are not batched, not sent again until acknowledged, or sent for ever.
#[test]
fn messages_are_sent_until_they_are_acknowledged() {
    let mut org = Org::new();
    for _ in 0..150 {
        org.lead(json!({}));
    }
    let due = org.sandbox.webhooks_due(NOW);
    assert_eq!(due.iter().map(|m| body(m).matches("<Notification>").count()).collect::<Vec<_>>(), [100, 50]);
    assert!(org.sandbox.webhooks_due(NOW).is_empty(), "they are on their way");
    org.sandbox.webhook_answered(due[0].delivery, Some(&ack("true")), NOW);
    org.sandbox.webhook_answered(due[1].delivery, Some(&Response::empty(200)), NOW);
    let mut now = NOW;
    let mut pauses = Vec::new();
    for answer in [Some(ack("false")), Some(Response::empty(500)), None, None] {
        let before = now;
        let again = loop {
            now += 1_000;
            let due = org.sandbox.webhooks_due(now);
            if !due.is_empty() {
                break due;
            }
        };
        assert_eq!((again.len(), again[0].delivery), (1, due[1].delivery));
        pauses.push((now - before) / 1_000);
        org.sandbox.webhook_answered(again[0].delivery, answer.as_ref(), now);
    }
    assert_eq!(pauses, [30, 60, 120, 240]);
    assert!(org.sandbox.webhooks_due(NOW + 86_400_001).is_empty(), "dropped after a day");
}

// Breaks when a message is not what our own reader takes, or carries the data of an earlier moment.
#[test]
fn messages_carry_the_latest_data() {
    let mut org = Org::new();
    let id = org.lead(json!({}));
    let update = json!({ "Status": "Working - Contacted" });
    org.act(Act::Update { object: "Lead".into(), id: id.clone(), fields: fields(update) }).unwrap();
    let due = org.sandbox.webhooks_due(NOW).remove(0);
    let text = body(&due);
    assert!(text.contains("Working - Contacted") && !text.contains("Open - Not Contacted"), "{text}");
    assert!(text.contains(r#"<SessionId xsi:nil="true"/>"#));
    let raw = RawRequest { method: Method::Post, url: due.url.clone(), headers: due.headers.clone(), body: due.body };
    let key = WebhookKey { id: "k".into(), secret: Vec::new(), account: Some(org.sandbox.organisation().to_owned()) };
    let incoming = Salesforce::new().webhook(&raw, &[key], NOW).unwrap();
    assert_eq!(incoming.hints.iter().map(|h| h.id.as_str()).collect::<Vec<_>>(), [id.as_str(), id.as_str()]);
    let reply = Response { status: incoming.reply.status, headers: Vec::new(), body: incoming.reply.body.into_bytes() };
    org.sandbox.webhook_answered(due.delivery, Some(&reply), NOW);
    assert!(org.sandbox.webhooks_due(NOW + 3_600_000).is_empty());
}

// Breaks when a message tells of what reads cannot see yet, or of a deletion.
#[test]
fn messages_wait_for_the_commit() {
    let mut org = Org::new();
    let id = org.lead(json!({}));
    org.sandbox.webhooks_due(NOW);
    org.sandbox.inject(Fault::CommitLag { ms: 10_000 });
    org.lead(json!({}));
    assert!(org.sandbox.webhooks_due(NOW + 9_999).is_empty());
    assert_eq!(org.sandbox.webhooks_due(NOW + 10_000).len(), 1);
    org.sandbox.inject(Fault::CommitLag { ms: 0 });
    org.now = NOW + 20_000;
    org.act(Act::Delete { object: "Lead".into(), id }).unwrap();
    assert!(org.sandbox.webhooks_due(NOW + 20_000).is_empty());
}
