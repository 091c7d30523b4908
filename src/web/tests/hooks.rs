//! Webhooks at the door.

use super::{Answer, World};
use axum::body::Body;
use axum::http::Request;

async fn send(world: &World, path: &str, body: Vec<u8>) -> Answer {
    let request = Request::post(path).header("X-Signature", "abc").header("host", "proxy.internal");
    world.ask(request.body(Body::from(body)).expect("a request")).await
}

// Breaks when the bytes, the headers or the address that the vendor signed are changed on the way.
#[tokio::test]
async fn a_webhook_is_handed_on_byte_for_byte() {
    let world = World::new().await;
    let body = b"{\"a\" : 1}\r\n\xff".to_vec();
    let answer = send(&world, "/hooks/hubspot?x=a%20b", body.clone()).await;
    assert_eq!((answer.status.as_u16(), answer.body.as_str(), answer.header("content-type")), (202, "thanks", "text/plain"));
    let held = world.vendor.held();
    let raw = &held.webhooks[0];
    assert_eq!(raw.url, "https://leads.example/hooks/hubspot?x=a%20b");
    assert_eq!(raw.body, body);
    assert_eq!(raw.header("x-signature"), Some("abc"));
}

// Breaks when a connection's address opens without its secret, or rotating the secret loses webhooks.
#[tokio::test]
async fn a_connections_address_opens_with_either_secret() {
    let world = World::new().await;
    for secret in ["old-secret", "new-secret"] {
        assert_eq!(send(&world, &format!("/hooks/northwind-crm/{secret}"), vec![]).await.status, 202);
    }
    for path in ["/hooks/northwind-crm/older-secret", "/hooks/brightwater-crm/old-secret", "/hooks/unknown/old-secret", "/hooks/unknown"] {
        assert_eq!(send(&world, path, vec![]).await.status, 404, "{path}");
    }
    assert_eq!(world.vendor.held().webhooks.len(), 2);
}

// Breaks when a vendor sends a hopeless webhook again for ever, or gives up on one that we failed to keep.
#[tokio::test]
async fn what_is_not_taken_gets_a_fitting_status() {
    let world = World::new().await;
    let app = "/hooks/hubspot";
    let own = "/hooks/northwind-crm/new-secret";
    for (path, body, status) in [
        (app, "unsigned", 401),
        (app, "forged", 401),
        (app, "stale", 401),
        (app, "unreadable", 400),
        (app, "wrong account", 200),
        (own, "wrong account", 403),
        (own, "not supported", 404),
    ] {
        let answer = send(&world, path, body.into()).await;
        assert_eq!(answer.status.as_u16(), status, "{path} {body}");
        assert!(status == 200 || answer.body.starts_with("{\"error\":{\"code\":"), "{path} {body}: {}", answer.body);
    }
    assert_eq!(send(&world, own, b"fine".to_vec()).await.status, 202);
    world.ctx.db.close().await;
    let answer = send(&world, own, b"fine".to_vec()).await;
    assert_eq!(answer.status, 503);
    assert!(answer.body.contains("send it again"), "{}", answer.body);
}

// Breaks when a body of any size is read into memory.
#[tokio::test]
async fn a_body_above_one_mebibyte_is_refused() {
    let world = World::new().await;
    assert_eq!(send(&world, "/hooks/hubspot", vec![b' '; 1 << 20]).await.status, 202);
    assert_eq!(send(&world, "/hooks/hubspot", vec![b' '; (1 << 20) + 1]).await.status, 413);
}
