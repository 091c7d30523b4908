//! A real Tryton, from its package index: the connector's story told to it, and leads shared out of it and into it.

use std::io::BufRead as _;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE;
use leadshare::clock::{Clock, HOUR, MINUTE, Millis, SECOND, rfc3339};
use leadshare::config::Config;
use leadshare::demo::stage::Stage;
use leadshare::demo::visitor;
use leadshare::follow::step::AUTOMATION;
use leadshare::http::Transport;
use leadshare::http::egress::Egress;
use leadshare::web::auth::AdminAuth;
use leadshare::web::{self, WebState};
use leadshare::{daemon, oauth, summary};
use leadshare_connectors::sdk::{Account, Act, Method, Request, Response, SandboxRecord};
use leadshare_connectors::tryton::story;
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use super::support::world::{Folder, text, to_fields};

/// A running server; ended when dropped.
struct Tryton {
    process: Child,
    url: String,
    database: String,
    key: String,
    transport: Transport,
    _folder: Folder,
}

impl Drop for Tryton {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

impl Tryton {
    /// Starts a server on a database of its own; the first time on a machine it is installed and furnished.
    fn start() -> Self {
        let folder = Folder::new();
        let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let serve = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/counterparts/tryton/serve");
        let mut command = Command::new(serve);
        command.arg(&folder.0).arg(port.to_string()).stdin(Stdio::null()).stdout(Stdio::piped());
        let mut process = command.spawn().expect("bash runs");
        let mut line = String::new();
        std::io::BufReader::new(process.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let told: Value = serde_json::from_str(&line).expect("Tryton did not start: see what `serve` said above");
        let word = |name: &str| told[name].as_str().unwrap().to_owned();
        Self { process, url: word("url"), database: word("database"), key: word("key"), transport: Transport::default(), _folder: folder }
    }

    async fn send(&self, request: &Request) -> Option<Response> {
        let egress = Egress::allowing("127.0.0.0/8".parse().into_iter().collect());
        let url = format!("{}{}", self.url, request.url).parse().unwrap();
        self.transport.send(&egress, &url, request, Some(&format!("Bearer {}", self.key)), 30_000).await.ok()
    }

    /// Somebody's request to Tryton's own API, below `/model/`.
    async fn ask(&self, method: Method, path: &str, body: Option<&Value>) -> Value {
        let url = format!("/{}/rest/model/{path}", self.database);
        let request = match body {
            Some(body) => Request::json(method, url, body),
            None => Request::new(method, url),
        };
        // Orchard's own company and employee.
        let request = request.header("x-tryton-context", encoded(&json!({ "company": 1, "employee": 1 })));
        let answer = self.send(&request).await.expect("Tryton answers");
        assert!(answer.is_success(), "{path}: {} {}", answer.status, String::from_utf8_lossy(&answer.body));
        answer.value().unwrap_or(Value::Null)
    }

    async fn search(&self, model: &str, domain: &Value, fields: &[&str]) -> Vec<Value> {
        let found = self.ask(Method::Get, &format!("{model}?d={}&f={}", encoded(domain), fields.join("&f=")), None).await;
        found.as_array().cloned().unwrap_or_default()
    }

    /// A lead as Orchard's webinar form makes it; its id.
    async fn enter(&self, name: &str, email: &str, clock: &Clock) -> i64 {
        let country = self.search("country.country", &json!([["code", "=", "NL"]]), &["id"]).await[0]["id"].clone();
        let party = json!({
            "name": name,
            "contact_mechanisms": [["create", [{ "type": "email", "value": email }]]],
            "addresses": [["create", [{ "city": "Utrecht", "country": country }]]],
        });
        let party = self.ask(Method::Post, "party.party", Some(&party)).await["id"].clone();
        let lead = json!({
            "party": party, "company": 1, "comment": "cloud", "description": "webinar-orchard-2026",
            "start_date": rfc3339(clock.now()).get(..10),
        });
        self.ask(Method::Post, "sale.opportunity", Some(&lead)).await["id"].as_i64().expect("an id")
    }

    async fn state(&self, id: i64) -> String {
        let read = self.ask(Method::Get, &format!("sale.opportunity/{id}?f=state"), None).await;
        read["state"].as_str().unwrap_or_default().to_owned()
    }

    /// The leads of the party with this address.
    async fn leads_of(&self, email: &str) -> Vec<Value> {
        let with = json!([["party.contact_mechanisms", "where", [["type", "=", "email"], ["value", "=", email]]]]);
        let fields = ["id", "reference", "state", "comment", "description", "party.name", "party.addresses.country.code"];
        self.search("sale.opportunity", &with, &fields).await
    }
}

fn encoded(value: &Value) -> String {
    URL_SAFE.encode(value.to_string())
}

/// The story's server: one request at a time, from a thread that may wait.
struct Blocking<'a>(&'a Tryton, tokio::runtime::Handle);

impl story::Server for Blocking<'_> {
    fn send(&mut self, request: &Request) -> Option<Response> {
        self.1.block_on(self.0.send(request))
    }
    fn now(&mut self) -> Millis {
        Clock::system().now()
    }
}

// Breaks when the connector and a real Tryton no longer understand one another, in any operation.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_leads_whole_life_in_a_real_tryton() {
    let tryton = tokio::task::spawn_blocking(Tryton::start).await.unwrap();
    let account = Account {
        base_url: tryton.url.clone(),
        tenant: Some(tryton.database.clone()),
        api_version: "8.2".into(),
        external_id: None,
        scopes: Vec::new(),
    };
    let handle = tokio::runtime::Handle::current();
    let told = tokio::task::spawn_blocking(move || story::tell(&mut Blocking(&tryton, handle), &account, "it")).await.unwrap();
    told.unwrap();
}

/// Northwind on its simulated HubSpot, Orchard on a real Tryton, and the daemon between them.
struct Both {
    stage: Stage,
    tryton: Tryton,
    built: daemon::Built,
    clock: Clock,
    stop: CancellationToken,
    _folder: Folder,
}

impl Drop for Both {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

impl Both {
    async fn start() -> Self {
        let tryton = tokio::task::spawn_blocking(Tryton::start).await.unwrap();
        let folder = Folder::new();
        // Tryton stamps its records with the real time, so this daemon lives in it too.
        let clock = Clock::system();
        let mut stage = Stage::set(&folder.0, &clock, &|_, text| text.to_owned()).await.unwrap();
        let simulated = stage.of("orchard").unwrap().1.url();
        let written = std::fs::read_to_string(stage.config_path()).unwrap();
        let kept = |part: &&str| !["brightwater]", "lumen]", "tessera]"].iter().any(|name| part.starts_with(name));
        let text = written.split("\n[connections.").filter(kept).collect::<Vec<_>>().join("\n[connections.");
        let real = |line: &str| match line {
            key if key.starts_with("key = ") => format!("key = \"{}\"\n", tryton.key),
            tenant if tenant.starts_with("tenant = ") => format!("tenant = \"{}\"\n", tryton.database),
            other => format!("{}\n", other.replace(&simulated, &tryton.url)),
        };
        let text: String = text.lines().map(real).collect();
        assert!(text.contains(&tryton.url) && text.contains(&tryton.key), "Orchard's connection points at the real Tryton");
        std::fs::write(stage.config_path(), text).unwrap();
        let config = Config::load(Some(&stage.config_path()), std::iter::empty()).unwrap();
        let built = daemon::build(&config, &clock).await.unwrap();
        let stop = CancellationToken::new();
        let state = WebState {
            ctx: built.ctx.clone(),
            listen: stage.web,
            admin: AdminAuth::Open,
            summary: summary::summarise(),
            metrics: None,
            stopping: stop.clone(),
        };
        let (router, listener) = (web::router(state).unwrap(), stage.listener.take().unwrap());
        let served = axum::serve(listener, router).with_graceful_shutdown(stop.clone().cancelled_owned());
        tokio::spawn(async move { served.await });
        visitor::connect(&oauth::authorize::make_link(&built.ctx, "northwind", HOUR).await.unwrap()).await.unwrap();
        Self { stage, tryton, built, clock, stop, _folder: folder }
    }

    /// Lets everybody work until this is so.
    async fn until(&self, what: &str, so: impl AsyncFn() -> bool) {
        let end = self.clock.now() + 3 * MINUTE;
        while self.clock.now() < end {
            self.stage.pump().await;
            daemon::drain(&self.built.ctx, &self.built.signer).await.unwrap();
            if so().await {
                return;
            }
            self.clock.sleep(SECOND / 4).await;
        }
        let outcomes = leadshare::store::leads::outcomes(&self.built.ctx.db).await.unwrap();
        let alerts = leadshare::store::connections::open_alerts(&self.built.ctx.db).await.unwrap();
        panic!("not within three minutes: {what}; changes ended in {outcomes:?}, alerts {alerts:?}");
    }

    /// Northwind's contacts with this address.
    fn contacts(&self, email: &str) -> Vec<SandboxRecord> {
        let (actor, served) = self.stage.of("northwind").unwrap();
        let records = served.sandbox().records(actor.object);
        records.into_iter().filter(|record| text(record, "email") == email).collect()
    }

    /// Somebody at Northwind does something.
    fn act(&self, act: Act) -> String {
        self.stage.of("northwind").unwrap().1.sandbox().act(act, self.clock.now()).unwrap()
    }
}

// Breaks when a lead does not leave a real Tryton, does not arrive in one, arrives twice, or when what
// became of it does not come back.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn leads_are_shared_out_of_a_real_tryton_and_into_it() {
    const OUT: &str = "noor.jansen@aster-logistics.example";
    const IN: &str = "bram.dekker@birk-retail.example";
    let both = Both::start().await;
    let now = both.clock.now();

    let ours = both.tryton.enter("Noor Jansen", OUT, &both.clock).await;
    let contact = json!({
        "email": IN, "firstname": "Bram", "lastname": "Dekker", "company": "Birk Retail", "country": "Germany", "industry": "RETAIL",
        "ls_interest": "Inventory", "recent_conversion_date": rfc3339(now), "ls_partner_choice": "Orchard", "ls_notice": "webinar-2026",
        "ls_consent_at": rfc3339(now), "ls_consent_source": "FORM", "ls_consented_email": IN,
    });
    let theirs = both.act(Act::Create { object: "contact".into(), fields: to_fields(&contact) });

    both.until("both leads arrive", async || both.contacts(OUT).len() == 1 && both.tryton.leads_of(IN).await.len() == 1).await;
    let arrived = both.contacts(OUT).remove(0);
    assert_eq!((text(&arrived, "firstname"), text(&arrived, "lastname")), ("Noor".into(), "Jansen".into()));
    assert!(text(&arrived, "leadshare_id").starts_with("ls1-"), "the record bears our marker: {:?}", arrived.fields);
    let lead = both.tryton.leads_of(IN).await.remove(0);
    assert_eq!(lead["party"]["name"], "Bram Dekker", "{lead}");
    assert_eq!(lead.pointer("/party/addresses/0/country/code"), Some(&json!("DE")), "{lead}");
    assert_eq!((lead["comment"].as_str(), lead["state"].as_str()), (Some("inventory"), Some("lead")), "{lead}");
    assert!(lead["reference"].as_str().unwrap_or_default().starts_with("ls1-"), "the lead bears our marker: {lead}");

    // What happens within seconds of landing counts as the recipient's automation, not as a person.
    let seen = both.clock.now() + AUTOMATION + SECOND;
    both.until("the people at work come to it", async || both.clock.now() > seen).await;
    both.act(Act::Update {
        object: "contact".into(),
        id: arrived.id.clone(),
        fields: to_fields(&json!({ "hs_lead_status": "CONNECTED" })),
    });
    both.tryton.ask(Method::Post, &format!("sale.opportunity/{}/opportunity", lead["id"]), Some(&json!({}))).await;

    both.until("Orchard's Tryton tells what became of its lead", async || both.tryton.state(ours).await == "opportunity").await;
    let told = async || {
        let contact = both.contacts(IN).remove(0);
        text(&contact, "ls_share_status") == "Seen" && text(&contact, "ls_partner_progress") == "reached"
    };
    both.until("Northwind's HubSpot tells what became of its lead", told).await;
    assert_eq!((both.contacts(OUT).len(), both.tryton.leads_of(IN).await.len()), (1, 1), "one person, one record");
    assert_eq!(both.contacts(IN)[0].id, theirs);
}
