//! Tokens at a real OAuth server, which ends a whole grant when an old refresh token comes back.

use std::io::BufRead as _;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Mutex;

use leadshare::clock::{Clock, SECOND};
use leadshare::errors::Error;
use leadshare::http::Transport;
use leadshare::http::egress::Egress;
use leadshare::points;
use leadshare_connectors::sdk::{Method, Request, Response};
use secrecy::ExposeSecret as _;
use serde_json::Value;

use super::support::world::{Engine, PLAIN, World};
use super::tokens::{authorization, refresh_token, replica, stored};

/// The connection that has its tokens from there.
const NAME: &str = "brightwater";

/// A running server; ended when dropped.
struct Server {
    process: Child,
    url: String,
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

impl Server {
    /// Starts a server for Brightwater's app; the first time on a machine it is installed.
    fn start(redirect_uri: &str) -> Self {
        let serve = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/counterparts/oidc/serve");
        let mut command = Command::new(serve);
        command.args(["demo-1", "demo-secret-1-of-a-simulated-app", redirect_uri]).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut process = command.spawn().expect("bash runs");
        let mut line = String::new();
        std::io::BufReader::new(process.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let told: Value = serde_json::from_str(&line).expect("the server did not start: see what `serve` said above");
        Self { process, url: told["url"].as_str().unwrap().to_owned() }
    }

    async fn send(&self, request: &Request) -> Response {
        let egress = Egress::allowing("127.0.0.0/8".parse().into_iter().collect());
        Transport::default().send(&egress, &request.url.parse().unwrap(), request, None, 30_000).await.unwrap()
    }

    /// How many token requests came.
    async fn asked(&self) -> u64 {
        self.send(&Request::new(Method::Get, format!("{}/asked", self.url))).await.value().unwrap().as_u64().unwrap()
    }

    /// A form as Brightwater's app sends it.
    async fn post(&self, world: &World, path: &str, form: &[(&str, &str)]) -> (u16, Value) {
        let app = world.ctx.lines[NAME].app().unwrap();
        let client = [("client_id", app.client_id.as_str()), ("client_secret", app.client_secret.expose_secret())];
        let url = format!("{}{path}", self.url);
        let mut request = Request::new(Method::Post, url).header("content-type", "application/x-www-form-urlencoded");
        request.body = url::form_urlencoded::Serializer::new(String::new()).extend_pairs(form).extend_pairs(client).finish().into_bytes();
        let answer = self.send(&request).await;
        (answer.status, answer.value().unwrap_or_default())
    }

    /// Whether the server would let this header in.
    async fn lets_in(&self, world: &World, header: &str) -> bool {
        let token = header.strip_prefix("Bearer ").unwrap();
        self.post(world, "/token/introspection", &[("token", token)]).await.1["active"] == true
    }
}

/// A world whose Brightwater is connected at the real server, through its pages. Its records are in the simulator, which knows
/// nothing of these tokens.
async fn world(engine: Engine) -> (World, Server) {
    let server = Mutex::new(None);
    let change = |path: &str, text: &str| {
        if path != "leadshare.toml" {
            return text.to_owned();
        }
        let public = text.split("public_url = \"").nth(1).and_then(|rest| rest.split('"').next()).unwrap();
        let started = Server::start(&format!("{public}/oauth/callback"));
        let (others, brightwater) = text.split_once("[connections.brightwater]").unwrap();
        let brightwater: Vec<String> = brightwater
            .lines()
            .map(|line| {
                if line.starts_with("oauth = ") {
                    format!("oauth = {{ authorize_url = \"{0}/auth\", token_url = \"{0}/token\" }}", started.url)
                } else {
                    line.to_owned()
                }
            })
            .collect();
        *server.lock().unwrap() = Some(started);
        format!("{others}[connections.brightwater]{}\n", brightwater.join("\n"))
    };
    let world = World::changed(engine, PLAIN, &change).await;
    assert_eq!(world.state(NAME).await, "connected");
    (world, server.into_inner().unwrap().unwrap())
}

// Breaks when two of 48 workers on three replicas refresh at the same time: the server then ends the grant.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sixteen_workers_on_three_replicas_ask_once_and_the_grant_lives() {
    let (world, server) = world(Engine::Postgres).await;
    let mut replicas = Vec::new();
    for name in ["one", "two", "three"] {
        replicas.push(replica(&world, name, &Clock::system(), |_| ()).await);
    }
    for round in 0..3 {
        let (asked, before) = (server.asked().await, stored(&world.ctx.db, NAME).await.version);
        let workers = (0..48).map(|i| {
            let ctx = replicas[i % 3].clone();
            tokio::spawn(async move { authorization(&ctx, NAME, Some(before)).await })
        });
        let mut got = Vec::new();
        for worker in workers.collect::<Vec<_>>() {
            got.push(worker.await.unwrap().unwrap());
        }
        assert_eq!(server.asked().await, asked + 1, "round {round}");
        assert!(got.iter().all(|one| *one == got[0]), "everybody uses the same token");
        assert!(server.lets_in(&world, &got[0].0).await, "round {round}");
    }
}

// Breaks when the server above forgives a second use: then the test above could not fail.
#[tokio::test]
async fn a_second_use_of_a_refresh_token_ends_the_whole_grant() {
    let (world, server) = world(Engine::Sqlite).await;
    let (old, before) = (refresh_token(&world, NAME).await, stored(&world.ctx.db, NAME).await.version);
    let (header, version) = authorization(&world.ctx, NAME, Some(before)).await.unwrap();
    assert!(server.lets_in(&world, &header).await);
    let (status, said) = server.post(&world, "/token", &[("grant_type", "refresh_token"), ("refresh_token", &old)]).await;
    assert_eq!((status, said["error"].as_str()), (400, Some("invalid_grant")));
    assert!(!server.lets_in(&world, &header).await, "the access token is gone too");
    assert!(matches!(authorization(&world.ctx, NAME, Some(version)).await, Err(Error::NeedsPerson { .. })));
    assert_eq!(world.state(NAME).await, "reconnect_needed");
}

// Breaks when a crash just after the answer loses the account.
#[tokio::test]
async fn a_crash_after_the_answer_costs_nothing() {
    let (world, server) = world(Engine::Sqlite).await;
    let before = stored(&world.ctx.db, NAME).await.version;
    let crashed = replica(&world, "one", &world.clock, |_| ()).await;
    assert!(points::until(|at| at == "token.spooled", authorization(&crashed, NAME, Some(before))).await.is_none());
    drop(crashed);
    assert_eq!(stored(&world.ctx.db, NAME).await.version, before, "nothing reached the database");
    let asked = server.asked().await;
    let again = replica(&world, "one", &world.clock, |_| ()).await;
    let (header, version) = authorization(&again, NAME, Some(before)).await.unwrap();
    assert!(server.lets_in(&world, &header).await);
    assert_eq!(server.asked().await, asked);
    let (header, _) = authorization(&again, NAME, Some(version)).await.unwrap();
    assert!(server.lets_in(&world, &header).await, "and the grant goes on");
}

// Breaks when a crash just before the answer ends what still works, asks more than once, or cannot be mended by a click.
#[tokio::test]
async fn a_crash_before_the_answer_costs_a_click() {
    let (world, server) = world(Engine::Sqlite).await;
    let crashed = replica(&world, "one", &world.clock, |_| ()).await;
    let token = stored(&world.ctx.db, NAME).await;
    world.clock.advance(token.refresh_at.unwrap() - world.clock.now());
    assert!(points::until(|at| at == "token.answered", authorization(&crashed, NAME, None)).await.is_none());
    drop(crashed);
    let asked = server.asked().await;

    let again = replica(&world, "one", &world.clock, |_| ()).await;
    world.clock.advance(token.expires_at.unwrap() - SECOND - world.clock.now());
    let (header, version) = authorization(&again, NAME, None).await.unwrap();
    assert_eq!(version, token.version);
    assert!(server.lets_in(&world, &header).await, "the token from before is used to its end");
    assert_eq!(server.asked().await, asked);

    world.clock.advance(2 * SECOND);
    for _ in 0..3 {
        assert!(matches!(authorization(&again, NAME, None).await, Err(Error::NeedsPerson { .. })));
    }
    assert_eq!(server.asked().await, asked + 1, "the old refresh token is tried once");
    assert_eq!(world.state(NAME).await, "reconnect_needed");
    assert!(world.alerts().await.contains(&(NAME.to_owned(), "connection.reconnect_needed".to_owned())));

    world.connect(NAME).await;
    assert_eq!(world.state(NAME).await, "connected");
    assert!(!world.alerts().await.contains(&(NAME.to_owned(), "connection.reconnect_needed".to_owned())));
    let (header, _) = authorization(&again, NAME, None).await.unwrap();
    assert!(server.lets_in(&world, &header).await);
}
