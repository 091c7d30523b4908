//! What browsers, vendors and supervisors see, asked of the router itself; the vendor is a small
//! OAuth server on a loopback port.

mod browser;
mod connecting;
mod fill;
mod hooks;
mod pages;
mod vendor;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::http::{HeaderMap, Request, StatusCode};
use secrecy::SecretString;
use tokio_util::sync::CancellationToken;
use tower::ServiceExt as _;

use super::auth::AdminAuth;
use super::connect::ConnectSummary;
use super::{WebState, router};
use crate::clock::{Clock, DAY};
use crate::context::{Context, Keep};
use crate::http::Transport;
use crate::http::egress::Egress;
use crate::http::line::{Line, Role, Setup};
use crate::http::token_endpoint::App;
use crate::oauth::check::Needs;
use crate::store::{Db, connections};
use crate::vault::{Blind, Key, Keyring, Markers, Vault};
use vendor::FakeVendor;

const NOW: i64 = 1_790_000_000_000;
const PASSWORD: &str = "correct horse battery";

/// A daemon's web with one vendor, and what its pages are asked with.
struct World {
    ctx: Arc<Context>,
    vendor: FakeVendor,
    router: Router,
    stopping: CancellationToken,
    folder: PathBuf,
}

impl Drop for World {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

/// An answer, read.
struct Answer {
    status: StatusCode,
    headers: HeaderMap,
    body: String,
}

impl Answer {
    fn header(&self, name: &str) -> &str {
        self.headers.get(name).and_then(|v| v.to_str().ok()).unwrap_or_default()
    }

    /// The cookie that was set, as a browser would send it back.
    fn cookie(&self) -> String {
        self.header("set-cookie").split(';').next().unwrap_or_default().to_owned()
    }
}

impl World {
    async fn new() -> Self {
        Self::with(AdminAuth::Password(SecretString::from(PASSWORD)), "https://leads.example").await
    }

    async fn with(admin: AdminAuth, public_url: &str) -> Self {
        let folder = std::env::temp_dir().join(format!("leadshare-web-{}", Clock::system().id()));
        std::fs::create_dir_all(&folder).expect("a folder for the test");
        let db = Db::open(&format!("sqlite:{}", folder.join("store.db").display())).await.expect("a store");
        let clock = Clock::test(NOW);
        let key = || Key::from_bytes([7; 32]);
        let keys = Keyring::new("k1", [("k1".to_owned(), key())]).expect("a ring");
        let vault = Arc::new(Vault { keys, blind: Blind::new(key()), markers: Markers::new(key()) });
        let vendor = FakeVendor::start().await;
        let mut lines = BTreeMap::new();
        for (name, partner) in [("northwind-crm", "northwind"), ("brightwater-crm", "brightwater")] {
            connections::ensure(&db, name, partner, "fake", NOW).await.expect("a connection");
            let setup = Setup {
                poll_every: 60_000,
                poll_at_least_every: 60_000,
                settle_after: 60_000,
                name: name.into(),
                partner: partner.into(),
                connector: Arc::new(vendor.connector()),
                base_url: Some(vendor.url.clone()),
                api_version: "1".into(),
                tenant: None,
                app: Some(Arc::new(App {
                    client_id: "our-app".into(),
                    client_secret: SecretString::from("our-secret"),
                    redirect_uri: format!("{public_url}/oauth/callback"),
                    authorize_url: format!("{}/authorize", vendor.url),
                    token_url: format!("{}/token", vendor.url),
                })),
                key: None,
                role: Role::Both,
                webhook_secrets: if name == "northwind-crm" { vec!["old-secret".into(), "new-secret".into()] } else { vec![] },
                observe: false,
                brake_per_hour: 1_000,
                egress: Egress::allowing(vec!["127.0.0.0/8".parse().expect("a network")]),
                budgets: Arc::new([]),
                share_of_budget: 100,
                spool: folder.join("spool"),
            };
            lines.insert(name.to_owned(), Arc::new(Line::new(setup, &clock, &db, &vault, None)));
        }
        let ctx = Arc::new(Context {
            rules: std::sync::RwLock::new(Arc::new(crate::rules::Rules {
                program: crate::program::Program::default(),
                mappings: std::collections::BTreeMap::new(),
            })),
            low_disk: false.into(),
            refused: None.into(),
            jitter: 20,
            retry_schedule: vec![5_000],
            db,
            clock,
            vault,
            transport: Transport::default(),
            lines: lines.into_iter().collect(),
            wake: crate::context::Wake::default(),
            deciding: tokio::sync::Semaphore::new(std::thread::available_parallelism().map_or(2, std::num::NonZero::get)),
            raising: crate::store::dirty::Raising::default(),
            quiet: crate::store::quiet::Quiet::default(),
            firsts: Arc::default(),
            queues: crate::queues::Queues::default(),
            keep: Keep { never_shared: 30 * DAY, history: 90 * DAY },
            public_url: public_url.into(),
        });
        let stopping = CancellationToken::new();
        let state = WebState {
            ctx: ctx.clone(),
            listen: "127.0.0.1:0".parse().expect("an address"),
            admin,
            summary: Arc::new(|_, name| Box::pin(async move { Ok(summary(&name)) })),
            metrics: None,
            stopping: stopping.clone(),
        };
        let router = router(state).expect("a router");
        Self { ctx, vendor, router, stopping, folder }
    }

    async fn ask(&self, request: Request<Body>) -> Answer {
        let response = self.router.clone().oneshot(request).await.expect("an answer");
        let (parts, body) = response.into_parts();
        let body = to_bytes(body, 1 << 22).await.expect("a body");
        Answer { status: parts.status, headers: parts.headers, body: String::from_utf8_lossy(&body).into_owned() }
    }

    async fn get(&self, path: &str, cookie: &str) -> Answer {
        self.ask(Request::get(path).header("cookie", cookie).body(Body::empty()).expect("a request")).await
    }

    async fn post(&self, path: &str, cookie: &str, form: &str) -> Answer {
        let request = Request::post(path).header("cookie", cookie).header("content-type", "application/x-www-form-urlencoded");
        self.ask(request.body(Body::from(form.to_owned())).expect("a request")).await
    }
}

fn summary(connection: &str) -> ConnectSummary {
    ConnectSummary {
        partner: format!("Partner of {connection}"),
        vendor: "Fake CRM".into(),
        reads: vec!["E-mail".into(), "Company".into()],
        writes: vec!["The outcome, into the field “Lead status”".into()],
        selection: "Only contacts on the list “Partner leads”.".into(),
        share_from: "Only what people do from today on is shared.".into(),
        contact: "partners@northwind.example".into(),
        needs: vec![Needs { object: "contact".into(), marker_field: "ls_marker".into(), fields: vec!["email".into()], writes: true }],
    }
}

// Breaks when a page can run a script, be framed, or tell its secret address to another site.
#[tokio::test]
async fn every_answer_carries_strict_headers() {
    let world = World::new().await;
    for path in ["/healthz", "/nothing", "/connect/unknown", "/assets/app.css", "/hooks/nobody"] {
        let answer = world.get(path, "").await;
        let policy = answer.header("content-security-policy");
        assert!(policy.contains("default-src 'none'") && policy.contains("frame-ancestors 'none'"), "{path}: {policy}");
        assert!(!policy.contains("unsafe") && !policy.contains("script-src"), "{path}: {policy}");
        assert_eq!(answer.header("referrer-policy"), "no-referrer", "{path}");
        assert_eq!(answer.header("x-content-type-options"), "nosniff", "{path}");
        assert!(answer.header("strict-transport-security").contains("max-age"), "{path}");
        assert!(!answer.body.contains("<script") && !answer.body.contains(" style="), "{path}");
    }
}

// Breaks when a daemon that goes down is sent new work, or is killed while it finishes the old.
#[tokio::test]
async fn readiness_ends_before_life_does() {
    let world = World::new().await;
    assert_eq!(world.get("/healthz", "").await.status, 200);
    assert_eq!(world.get("/readyz", "").await.status, 200);
    world.stopping.cancel();
    assert!(world.get("/readyz", "").await.body.contains("\"code\":\"stopping\""));
    assert_eq!(world.get("/healthz", "").await.status, 200);
}

// Breaks when a daemon that cannot reach its store is sent work.
#[tokio::test]
async fn readiness_needs_the_store() {
    let world = World::new().await;
    world.ctx.db.close().await;
    let answer = world.get("/readyz", "").await;
    assert_eq!(answer.status, 503);
    assert!(answer.body.contains("\"code\":\"store\""), "{}", answer.body);
}

// Breaks when pages without a password are served to a network.
#[tokio::test]
async fn open_pages_listen_on_this_machine_only() {
    let world = World::with(AdminAuth::Open, "http://127.0.0.1:8080").await;
    let state = |listen: &str| WebState {
        ctx: world.ctx.clone(),
        listen: listen.parse().expect("an address"),
        admin: AdminAuth::Open,
        summary: Arc::new(|_, name| Box::pin(async move { Ok(summary(&name)) })),
        metrics: None,
        stopping: CancellationToken::new(),
    };
    assert!(router(state("127.0.0.1:8080")).is_ok());
    assert!(router(state("[::1]:8080")).is_ok());
    let error = router(state("0.0.0.0:8080")).expect_err("refused").to_string();
    assert!(error.contains("server.admin_password"), "{error}");
}
