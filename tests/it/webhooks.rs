//! Webhooks as the vendors send them, over HTTP, at the daemon's own router.

use leadshare_connectors::sdk::{Method, OutgoingWebhook, RawRequest, signature};
use secrecy::ExposeSecret as _;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use super::support::world::{Engine, PLAIN, World, text};
use leadshare::clock::MINUTE;
use leadshare::intake::webhook::{Where, accept};
use leadshare::store::{connections, views};
use leadshare::{args, daemon};

fn path(world: &World, hook: &OutgoingWebhook) -> String {
    hook.url.strip_prefix(&format!("http://{}", world.stage.web)).unwrap().to_owned()
}

async fn send(world: &World, hook: &OutgoingWebhook) -> u16 {
    world.post(&path(world, hook), &hook.headers, &hook.body).await.status
}

/// Signs a body as HubSpot does in version 3.
fn signed(world: &World, body: Vec<u8>) -> OutgoingWebhook {
    let url = format!("http://{}/hooks/hubspot", world.stage.web);
    let stamp = world.clock.now().to_string();
    let app = world.ctx.lines["northwind"].app().unwrap();
    let parts: [&[u8]; 4] = [b"POST", url.as_bytes(), &body, stamp.as_bytes()];
    let mac = signature::hmac_sha256(app.client_secret.expose_secret().as_bytes(), &parts);
    let mac = base64::Engine::encode(&base64::engine::general_purpose::STANDARD, mac);
    let headers =
        [("content-type", "application/json".to_owned()), ("x-hubspot-signature-v3", mac), ("x-hubspot-request-timestamp", stamp)];
    OutgoingWebhook { delivery: 0, url, headers: headers.map(|(n, v)| (n.to_owned(), v)).to_vec(), body }
}

/// A world in which one lead has just been entered, and the webhooks that tell it.
async fn told(engine: Engine) -> (World, String, OutgoingWebhook) {
    let world = World::new(engine, PLAIN).await;
    let (person, _) = world.enter_one();
    let hook = world.webhooks("northwind").remove(0);
    (world, person.email, hook)
}

// Breaks when a webhook is believed that the vendor did not sign, or not as these very bytes.
#[tokio::test]
async fn forged_and_rewritten_webhooks_are_refused() {
    for engine in Engine::BOTH {
        let (world, _, hook) = told(engine).await;
        let events: Value = serde_json::from_slice(&hook.body).unwrap();
        let rewritten = serde_json::to_vec_pretty(&events).unwrap();
        let mut other = hook.body.clone();
        let last = other.iter().rposition(u8::is_ascii_digit).unwrap();
        other[last] = if other[last] == b'1' { b'2' } else { b'1' };
        for body in [rewritten, other, b"[]".to_vec()] {
            assert_eq!(send(&world, &OutgoingWebhook { body, ..hook.clone() }).await, 401);
        }
        let unsigned = OutgoingWebhook { headers: vec![("content-type".into(), "application/json".into())], ..hook.clone() };
        assert_eq!(send(&world, &unsigned).await, 401);
        let mut headers = hook.headers.clone();
        headers.iter_mut().filter(|(n, _)| n == "x-hubspot-signature-v3").for_each(|(_, v)| *v = "AAAA".into());
        // The older signature still fits these bytes: it must not excuse the newer one.
        assert_eq!(send(&world, &OutgoingWebhook { headers, ..hook.clone() }).await, 401);
        assert_eq!(world.hints().await, 0);
        assert!((200..300).contains(&send(&world, &hook).await));
        assert_eq!(world.hints().await, 1);
    }
}

// Breaks when a replica answers 2xx to webhooks of an account that another one connected since it started, and drops them.
#[tokio::test]
async fn a_replica_knows_accounts_that_another_one_connected() {
    const SET: &str = "UPDATE connections SET external_id = $2 WHERE name = $1";
    for engine in Engine::BOTH {
        let (world, _, hook) = told(engine).await;
        let account = connections::one(&world.ctx.db, "northwind").await.unwrap().unwrap().external_id;
        world.ctx.db.exec(SET, args!["northwind", None::<String>]).await.unwrap();
        let other = daemon::build(&world.config, &world.clock).await.unwrap().ctx;
        world.ctx.db.exec(SET, args!["northwind", account]).await.unwrap();
        let raw = RawRequest { method: Method::Post, url: hook.url.clone(), headers: hook.headers.clone(), body: hook.body.clone() };
        accept(&other, &Where::App("hubspot".into()), &raw).await.unwrap();
        assert_eq!(world.hints().await, 1);
    }
}

// Breaks when somebody can send a webhook again that he recorded long ago.
#[tokio::test]
async fn a_stale_webhook_is_refused() {
    for engine in Engine::BOTH {
        let (world, _, hook) = told(engine).await;
        world.clock.advance(6 * MINUTE);
        assert_eq!(send(&world, &hook).await, 401);
        assert_eq!(world.hints().await, 0);
    }
}

// Breaks when a webhook that the vendor sends again makes a second record, share, write or entry.
#[tokio::test]
async fn an_event_that_comes_three_times_does_its_work_once() {
    for engine in Engine::BOTH {
        let (world, email, hook) = told(engine).await;
        assert!((200..300).contains(&send(&world, &hook).await));
        world.work().await;
        let (still, lead) = (world.still("northwind").await, world.share(&email).await.lead);
        let deliveries = views::deliveries_of(&world.ctx.db, &lead).await.unwrap();
        for _ in 0..2 {
            assert!((200..300).contains(&send(&world, &hook).await));
            assert_eq!(world.hints().await, 1, "it is looked at again");
            world.work().await;
            assert_eq!(world.still("northwind").await, still);
            assert_eq!(views::deliveries_of(&world.ctx.db, &lead).await.unwrap(), deliveries);
            assert_eq!(world.with_email("brightwater", &email).len(), 1);
        }
    }
}

// Breaks when webhooks are thought the same for their bytes: a second change would be lost.
#[tokio::test]
async fn the_same_body_again_after_another_change_is_looked_at_again() {
    for engine in Engine::BOTH {
        let (world, email, hook) = told(engine).await;
        assert!((200..300).contains(&send(&world, &hook).await));
        world.work().await;
        assert_eq!(text(&world.with_email("brightwater", &email)[0], "Title"), "Head of Operations");
        let id = world.with_email("northwind", &email)[0].id.clone();
        world.update("northwind", &id, &json!({ "jobtitle": "Managing Director" }));
        world.webhooks("northwind");
        assert!((200..300).contains(&send(&world, &hook).await));
        world.work().await;
        assert_eq!(text(&world.with_email("brightwater", &email)[0], "Title"), "Managing Director");
    }
}

// Breaks when the app's address refuses accounts that left us (the vendor would retry for hours), or
// takes their events for somebody else's.
#[tokio::test]
async fn events_of_an_unknown_account_are_answered_and_dropped() {
    for engine in Engine::BOTH {
        let (world, _, hook) = told(engine).await;
        let mut events: Value = serde_json::from_slice(&hook.body).unwrap();
        let own = signed(&world, serde_json::to_vec(&events).unwrap());
        for event in events.as_array_mut().unwrap() {
            event["portalId"] = json!(7_777_777);
        }
        let unknown = signed(&world, serde_json::to_vec(&events).unwrap());
        assert!((200..300).contains(&send(&world, &unknown).await));
        assert_eq!(world.hints().await, 0);
        assert!((200..300).contains(&send(&world, &own).await), "or the signing here is wrong and nothing was shown");
        assert_eq!(world.hints().await, 1);
    }
}

// Breaks when whose account it was is remembered for longer than it is so.
#[tokio::test]
async fn events_of_an_account_that_left_are_dropped() {
    const LEFT: &str = "UPDATE connections SET external_id = NULL WHERE name = $1";
    for engine in Engine::BOTH {
        let (world, _, hook) = told(engine).await;
        assert!((200..300).contains(&send(&world, &hook).await));
        assert_eq!(world.hints().await, 1);
        world.work().await;
        world.ctx.db.exec(LEFT, args!["northwind"]).await.unwrap();
        world.ctx.lines["northwind"].learn(&connections::one(&world.ctx.db, "northwind").await.unwrap().unwrap());
        assert!((200..300).contains(&send(&world, &hook).await), "the vendor need not send it again");
        assert_eq!(world.hints().await, 0);
    }
}

// Breaks when an unsigned outbound message is believed without its secret address and organisation.
#[tokio::test]
async fn outbound_messages_need_their_secret_address_and_organisation() {
    for engine in Engine::BOTH {
        let world = World::new(engine, &["lumen", "tessera"]).await;
        world.enter_good("lumen", "tessera");
        let hook = world.webhooks("lumen").remove(0);
        let body = String::from_utf8(hook.body.clone()).unwrap();
        let real = body.split_once("<OrganizationId>").unwrap().1.split_once('<').unwrap().0.to_owned();
        let wrong_path = path(&world, &hook).replace("demo-secret", "other-secret");
        assert_eq!(world.post(&wrong_path, &hook.headers, &hook.body).await.status, 404);
        let of_other = path(&world, &hook).replace("lumen", "tessera");
        assert_eq!(world.post(&of_other, &hook.headers, &hook.body).await.status, 404);
        let other = body.replace(&real, "00D000000000001AAA");
        assert_eq!(world.post(&path(&world, &hook), &hook.headers, other.as_bytes()).await.status, 403);
        assert_eq!(world.hints().await, 0);
        let answer = world.post(&path(&world, &hook), &hook.headers, &hook.body).await;
        assert!(answer.status == 200 && String::from_utf8_lossy(&answer.body).contains("<Ack>true</Ack>"));
        assert_eq!(world.hints().await, 1);
    }
}

// Breaks when somebody who sends a body for ever is waited for, or keeps others out meanwhile.
#[tokio::test]
async fn a_body_that_does_not_come_is_given_up() {
    let (world, email, hook) = told(Engine::Sqlite).await;
    let begin = format!("POST /hooks/hubspot HTTP/1.1\r\nhost: {}\r\ncontent-length: 1000\r\n\r\n[", world.stage.web);
    let mut slow = Vec::new();
    // More than may be worked on at a time.
    for _ in 0..300 {
        let mut socket = TcpStream::connect(world.stage.web).await.unwrap();
        socket.write_all(begin.as_bytes()).await.unwrap();
        slow.push(socket);
    }
    assert_eq!(send(&world, &hook).await, 200);
    world.settle().await;
    assert_eq!(world.share(&email).await.status, "delivered");
    let mut answer = [0; 12];
    slow[0].read_exact(&mut answer).await.unwrap();
    assert_eq!(&answer, b"HTTP/1.1 408");
}
