//! Tokens that an endpoint does not give as asked: what passes, what ends a connection, and what is the operator's to mend.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};

use axum::body::Bytes;
use axum::http::StatusCode;
use axum::response::{IntoResponse as _, Response as Answer};
use leadshare::clock::{MINUTE, SECOND};
use leadshare::config::Config;
use leadshare::context::Context;
use leadshare::errors::Error;
use leadshare::store::connections;
use serde_json::{Value, json};

use super::support::world::{Engine, PLAIN, World};
use super::tokens::{authorization, passing, refresh_token, replica, stored};

/// A token endpoint that says what it is told to, and remembers what it was asked.
#[derive(Clone, Default)]
struct Endpoint(Arc<Mutex<Script>>);

#[derive(Default)]
struct Script {
    says: VecDeque<(u16, String)>,
    asked: Vec<String>,
}

impl Endpoint {
    async fn start(&self) -> String {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/token", listener.local_addr().unwrap());
        let shared = self.clone();
        let router = axum::Router::new().fallback(move |body: Bytes| async move { shared.answer(&body) });
        tokio::spawn(async move { axum::serve(listener, router).await });
        url
    }

    fn answer(&self, body: &[u8]) -> Answer {
        let mut script = self.0.lock().unwrap();
        script.asked.push(String::from_utf8_lossy(body).into_owned());
        match script.says.pop_front() {
            // Breaks off in the middle.
            None | Some((0, _)) => {
                let broken =
                    futures_util::stream::once(async { Err::<Bytes, _>(std::io::Error::from(std::io::ErrorKind::ConnectionReset)) });
                Answer::new(axum::body::Body::from_stream(broken))
            }
            Some((status, text)) => (StatusCode::from_u16(status).unwrap(), [("content-type", "application/json")], text).into_response(),
        }
    }

    fn say(&self, status: u16, text: &str) {
        self.0.lock().unwrap().says.push_back((status, text.to_owned()));
    }

    fn give(&self, tokens: &Value) {
        self.say(200, &tokens.to_string());
    }

    fn asked(&self) -> Vec<String> {
        self.0.lock().unwrap().asked.clone()
    }
}

/// A replica whose Brightwater has its tokens from an endpoint of ours.
async fn elsewhere(world: &World) -> (Arc<Context>, Endpoint) {
    let endpoint = Endpoint::default();
    let url = endpoint.start().await;
    let set = |config: &mut Config| config.connections.get_mut("brightwater").unwrap().oauth.token_url = Some(url);
    (replica(world, "elsewhere", &world.clock, set).await, endpoint)
}

// Breaks when trouble that passes ends a connection, is answered with a hail of requests, or goes on for ever in silence.
#[tokio::test]
async fn trouble_that_passes_ends_no_connection() {
    let world = World::new(Engine::Sqlite, PLAIN).await;
    let (name, db) = ("brightwater", &world.ctx.db);
    let (ctx, endpoint) = elsewhere(&world).await;
    let before = stored(db, name).await.version;
    let trouble = [
        (503, "{}"),
        (429, r#"{"error":"invalid_grant"}"#),
        (500, r#"{"error":"invalid_grant"}"#),
        (400, r#"{"error":"temporarily_unavailable"}"#),
        (400, r#"{"error":"inactive_org"}"#),
        (403, "<html>no</html>"),
        (200, r#"{"access_token":"#),
        (0, ""),
    ];
    for (failed, (status, text)) in trouble.into_iter().enumerate() {
        let case = format!("{status} {text}");
        endpoint.say(status, text);
        assert_eq!(passing(authorization(&ctx, name, Some(before)).await), "refresh_cooling_down", "{case}");
        assert_eq!(endpoint.asked().len(), failed + 1, "{case}");
        let now = stored(db, name).await;
        let pause = ((30 * SECOND) << failed).min(15 * MINUTE);
        assert_eq!((now.cooldown_until, now.failures), (Some(world.clock.now() + pause), failed as i64 + 1), "{case}");
        assert_eq!(now.owner, None, "{case}");
        assert_eq!(world.state(name).await, "connected", "{case}");
        let told = world.alerts().await.contains(&(name.to_owned(), "connection.no_token".to_owned()));
        assert_eq!(told, failed >= 5, "{case}");
        // Nobody asks again before the pause is over.
        world.clock.advance(pause - SECOND);
        passing(authorization(&ctx, name, Some(before)).await);
        assert_eq!(endpoint.asked().len(), failed + 1, "{case}");
        world.clock.advance(SECOND);
    }
    endpoint.give(&json!({ "access_token": "a", "refresh_token": "r", "token_type": "Bearer", "expires_in": 60 }));
    assert_eq!(authorization(&ctx, name, Some(before)).await.unwrap(), ("Bearer a".into(), before + 1));
    assert_eq!(world.alerts().await, []);
    let now = stored(db, name).await;
    assert_eq!((now.failures, now.cooldown_until, now.intent_at), (0, None, None));
    // A token with a short life is not refreshed at every use.
    assert_eq!((now.refresh_at, now.expires_at), (Some(world.clock.now() + 48 * SECOND), Some(world.clock.now() + MINUTE)));
    authorization(&ctx, name, None).await.unwrap();
    assert_eq!(endpoint.asked().len(), 9);
}

// Breaks when only a lost answer, and not a clear one, makes us doubt the refresh token.
#[tokio::test]
async fn only_what_the_vendor_may_have_taken_is_in_doubt() {
    let world = World::new(Engine::Sqlite, PLAIN).await;
    let (name, db) = ("brightwater", &world.ctx.db);
    for (status, text, doubted) in [
        (429, "", false),
        (400, r#"{"error":"temporarily_unavailable"}"#, false),
        (401, r#"{"error":"invalid_client"}"#, false),
        (502, "", true),
        (0, "", true),
        // Once in doubt, a clear answer about something else takes nothing back.
        (429, "", true),
    ] {
        let (ctx, endpoint) = elsewhere(&world).await;
        endpoint.say(status, text);
        passing(authorization(&ctx, name, Some(stored(db, name).await.version)).await);
        assert_eq!(stored(db, name).await.intent_at.is_some(), doubted, "{status} {text}");
        world.clock.advance(15 * MINUTE);
    }
}

// Breaks when a mistake of the operator's ends partners' connections, or stays after it is mended.
#[tokio::test]
async fn a_wrong_app_secret_is_the_operators_to_mend() {
    let world = World::new(Engine::Sqlite, PLAIN).await;
    for name in PLAIN {
        let version = stored(&world.ctx.db, name).await.version;
        let wrong = |config: &mut Config| config.connections.get_mut(*name).unwrap().client_secret = Some("wrong".to_owned().into());
        let ctx = replica(&world, "wrong", &world.clock, wrong).await;
        passing(authorization(&ctx, name, Some(version)).await);
        assert_eq!(world.alerts().await, [((*name).to_owned(), "connection.app_refused".to_owned())]);
        assert_eq!(world.state(name).await, "connected");
        world.clock.advance(15 * MINUTE);
        let mended = replica(&world, "mended", &world.clock, |_| ()).await;
        assert_eq!(authorization(&mended, name, Some(version)).await.unwrap().1, version + 1);
        assert_eq!(world.alerts().await, []);
    }
}

// Breaks when connecting again leaves a refresh token that cannot be opened, or takes over one that may be another account's.
#[tokio::test]
async fn connecting_without_a_new_refresh_token_keeps_the_old_one_readable() {
    let world = World::new(Engine::Sqlite, PLAIN).await;
    let (name, db) = ("brightwater", &world.ctx.db);
    let (ctx, endpoint) = elsewhere(&world).await;
    let old = refresh_token(&world, name).await;
    let account = connections::one(db, name).await.unwrap().unwrap().external_id.unwrap();
    let given = json!({ "access_token": "a", "token_type": "Bearer", "id": format!("https://login.example/id/{account}/005") });
    endpoint.give(&given);
    ctx.lines[name].connect(&ctx.transport, &ctx.clock, "a-code", None).await.unwrap();
    let version = stored(db, name).await.version;
    assert_eq!(authorization(&ctx, name, None).await.unwrap(), ("Bearer a".into(), version));
    endpoint.give(&given);
    assert_eq!(authorization(&ctx, name, Some(version)).await.unwrap().1, version + 1);
    let asked = endpoint.asked();
    let sent = url::form_urlencoded::parse(asked[1].as_bytes()).find(|(key, _)| key == "refresh_token").unwrap().1;
    assert_eq!(sent, old);

    // Without a word on the account, nothing is kept of the one before.
    endpoint.give(&json!({ "access_token": "b", "token_type": "Bearer" }));
    ctx.lines[name].connect(&ctx.transport, &ctx.clock, "a-code", None).await.unwrap();
    let stored = stored(db, name).await;
    assert_eq!(stored.refresh, None);
    assert!(matches!(authorization(&ctx, name, Some(stored.version)).await, Err(Error::NeedsPerson { .. })));
    assert_eq!(endpoint.asked().len(), 3);
    let connection = connections::one(db, name).await.unwrap().unwrap();
    assert_eq!((connection.state.as_str(), connection.state_reason.as_deref()), ("reconnect_needed", Some("no_refresh_token")));
}
