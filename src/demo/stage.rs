//! The demo's stage: five simulated systems on loopback, their set-up, and the configuration that
//! points the real daemon at them.

use std::path::{Path, PathBuf};

use leadshare_connectors::sdk::{Act, App, Fields, Method, SandboxRequest};
use serde_json::json;
use tokio::net::TcpListener;

use super::cast::{Person, Story};
use super::count::System;
use super::files::FILES;
use crate::clock::Clock;
use crate::errors::{Error, Result};
use crate::mapping;
use crate::sandbox::Served;
use crate::vault::Key;

/// One partner's system in the demo.
pub struct Actor {
    /// The connection, which is also the partner.
    pub name: &'static str,
    /// The vendor.
    pub connector: &'static str,
    /// The lead object there.
    pub object: &'static str,
    /// The field that holds the address.
    pub email_field: &'static str,
    /// The field that holds our marker.
    pub marker_field: &'static str,
    role: &'static str,
}

/// The five.
pub const ACTORS: [Actor; 5] = [
    Actor { name: "northwind", connector: "hubspot", object: "contact", email_field: "email", marker_field: "leadshare_id", role: "both" },
    Actor {
        name: "brightwater",
        connector: "salesforce",
        object: "Lead",
        email_field: "Email",
        marker_field: "Leadshare_Id__c",
        role: "recipient",
    },
    Actor { name: "lumen", connector: "salesforce", object: "Lead", email_field: "Email", marker_field: "Leadshare_Id__c", role: "source" },
    Actor {
        name: "tessera",
        connector: "hubspot",
        object: "contact",
        email_field: "email",
        marker_field: "leadshare_id",
        role: "recipient",
    },
    Actor {
        name: "orchard",
        connector: "tryton",
        object: "sale.opportunity",
        email_field: "party.email",
        marker_field: "reference",
        role: "both",
    },
];

/// The running systems.
pub struct Stage {
    /// One per actor, in the same order.
    pub systems: Vec<Served>,
    /// Where the configuration and the store are.
    pub dir: PathBuf,
    /// Where the daemon will listen.
    pub web: std::net::SocketAddr,
    /// The listener itself.
    pub listener: Option<TcpListener>,
}

fn system(message: &str, error: &std::io::Error) -> Error {
    Error::System(format!("{message}: {error}"))
}

impl Stage {
    /// Starts the systems and writes everything that the daemon needs into `dir`. `change` may alter
    /// a file of the example, for tests that break something on purpose.
    ///
    /// # Errors
    /// When a port or the folder cannot be used.
    pub async fn set(dir: &Path, clock: &Clock, change: &(dyn Fn(&str, &str) -> String + Sync)) -> Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await.map_err(|e| system("no port on loopback", &e))?;
        let web = listener.local_addr().map_err(|e| system("no port on loopback", &e))?;
        let mut systems = Vec::new();
        for (i, actor) in ACTORS.iter().enumerate() {
            let entry = leadshare_connectors::by_name(actor.connector).ok_or_else(|| Error::NotFound(actor.connector.into()))?;
            let port = TcpListener::bind("127.0.0.1:0").await.map_err(|e| system("no port on loopback", &e))?;
            systems.push(Served::start((entry.sandbox)(i as u64 + 1), port, clock)?);
        }
        let stage = Self { systems, dir: dir.to_owned(), web, listener: Some(listener) };
        for (path, text) in FILES {
            stage.write(path, &change(path, text))?;
        }
        stage.configure(clock)?;
        stage.furnish(clock)?;
        Ok(stage)
    }

    fn write(&self, path: &str, text: &str) -> Result<()> {
        let full = self.dir.join(path);
        let folder = full.parent().unwrap_or(&self.dir);
        std::fs::create_dir_all(folder).and_then(|()| std::fs::write(&full, text)).map_err(|e| system(&full.display().to_string(), &e))
    }

    /// The configuration's path.
    pub fn config_path(&self) -> PathBuf {
        self.dir.join("leadshare.toml")
    }

    fn secret(i: usize) -> String {
        format!("demo-secret-{i}-of-a-simulated-app")
    }

    fn configure(&self, clock: &Clock) -> Result<()> {
        // A demo that is started again on its folder keeps its keys: the store was written with them.
        for name in ["ring-k1", "blind", "program", "ledger"] {
            if !self.dir.join("keys").join(name).exists() {
                use secrecy::ExposeSecret;
                self.write(&format!("keys/{name}"), Key::generate(clock)?.to_base64().expose_secret())?;
            }
        }
        let mut text = format!(
            "# Written by `leadshare demo`: simulated systems on this machine. A real configuration names no networks.\n\
             [server]\nlisten = \"{0}\"\npublic_url = \"http://{0}\"\n\n[store]\ndata_dir = \".\"\n\n\
             [keys]\nactive = \"k1\"\nring_file = {{ k1 = \"keys/ring-k1\" }}\nblind_file = \"keys/blind\"\nprogram_file = \"keys/program\"\nledger_file = \"keys/ledger\"\n\n\
             [program]\nname = \"demo\"\n",
            self.web
        );
        for (i, (actor, served)) in ACTORS.iter().zip(&self.systems).enumerate() {
            use std::fmt::Write as _;
            let url = served.url();
            let _ = write!(
                text,
                "\n[connections.{0}]\npartner = \"{0}\"\nconnector = \"{1}\"\nrole = \"{2}\"\nbase_url = \"{url}\"\npoll_every = \"5s\"\npoll_at_least_every = \"5s\"\nbrake_per_hour = 1000000\ndangerously_allow_networks = [\"127.0.0.0/8\"]\n",
                actor.name, actor.connector, actor.role
            );
            let secret = Self::secret(i);
            let _ = match actor.connector {
                "hubspot" => write!(
                    text,
                    "client_id = \"demo-{i}\"\nclient_secret = \"{secret}\"\noauth = {{ authorize_url = \"{url}/oauth/authorize\", token_url = \"{url}/oauth/{{version}}/token\" }}\n"
                ),
                "salesforce" => write!(
                    text,
                    "client_id = \"demo-{i}\"\nclient_secret = \"{secret}\"\nwebhook_secret = \"{secret}\"\noauth = {{ authorize_url = \"{url}/services/oauth2/authorize\", token_url = \"{url}/services/oauth2/token\" }}\n"
                ),
                _ => {
                    let mut sandbox = served.sandbox();
                    write!(text, "key = {:?}\ntenant = {:?}\n", sandbox.token(clock.now()), sandbox.tenant().unwrap_or_default())
                }
            };
        }
        self.write("leadshare.toml", &text)
    }

    /// Does what the partners' admins do before connecting: registers the app, adds custom fields.
    fn furnish(&self, clock: &Clock) -> Result<()> {
        for (i, (actor, served)) in ACTORS.iter().zip(&self.systems).enumerate() {
            let mut sandbox = served.sandbox();
            let webhook_url = match actor.connector {
                "hubspot" => Some(format!("http://{}/hooks/hubspot", self.web)),
                "salesforce" => Some(format!("http://{}/hooks/{}/{}", self.web, actor.name, Self::secret(i))),
                _ => None,
            };
            sandbox.register(App {
                client_id: format!("demo-{i}"),
                client_secret: Self::secret(i),
                redirect_uri: format!("http://{}/oauth/callback", self.web),
                webhook_url,
            });
            if actor.connector == "tryton" {
                continue;
            }
            let file = self.dir.join(format!("mappings/{}.toml", actor.name));
            let text = std::fs::read_to_string(&file).map_err(|e| system(&file.display().to_string(), &e))?;
            let mapping = mapping::parse(&file.display().to_string(), &text).map_err(Error::Files)?;
            let back =
                mapping.file().status.as_ref().and_then(|s| s.back.as_ref()).map(|b| b.pairs().map(|(_, f)| f.crm).collect::<Vec<_>>());
            let names = mapping.read_fields().into_iter().chain(mapping.written_fields()).chain(back.unwrap_or_default());
            // What belongs to a related object, such as the opportunity, ships with the vendor.
            let followed = mapping.follow_fields().into_iter().filter(|name| !name.contains('.'));
            for name in names.chain(followed).chain([actor.marker_field.to_owned()]) {
                let unique = name == actor.marker_field;
                // What the vendor ships with is there already, and adding it again is refused: that is fine.
                let _ = sandbox.act(Act::DefineField { object: actor.object.into(), name, unique, options: Vec::new() }, clock.now());
            }
        }
        Ok(())
    }

    /// The system of a connection.
    pub fn of(&self, name: &str) -> Option<(&'static Actor, &Served)> {
        ACTORS.iter().zip(&self.systems).find(|(actor, _)| actor.name == name)
    }

    /// Puts people into the sharing partners' systems, and those that a recipient knows already into its own.
    ///
    /// # Errors
    /// When a simulator refuses a record.
    pub fn enter(&self, people: &[Person], clock: &Clock) -> Result<Vec<(usize, String)>> {
        let mut ids = Vec::new();
        for (i, person) in people.iter().enumerate() {
            let Some((actor, served)) = self.of(person.source) else { continue };
            let mut sandbox = served.sandbox();
            let mut enter = |fields: Fields| {
                let act = Act::Create { object: actor.object.into(), fields };
                sandbox.act(act, clock.now()).map_err(|why| Error::System(format!("{} does not take a demo record: {why}", actor.name)))
            };
            ids.push((i, enter(person.fields.clone())?));
            if person.story == Story::Twice && actor.connector == "salesforce" {
                let mut again = person.fields.clone();
                again.insert(actor.email_field.into(), json!(person.email.to_uppercase()));
                ids.push((i, enter(again)?));
            }
            if person.story == Story::OptedOut && actor.connector == "hubspot" {
                // In HubSpot people opt out through the mails they get; nobody can tick it for them.
                let token = sandbox.token(clock.now());
                let request = SandboxRequest {
                    method: Method::Post,
                    path: format!("/communication-preferences/2026-09/statuses/{}/unsubscribe-all?channel=EMAIL", person.email),
                    headers: vec![("authorization".into(), format!("Bearer {token}"))],
                    body: Vec::new(),
                };
                let _ = sandbox.handle(&request, clock.now());
            }
            drop(sandbox);
            if person.story == Story::KnownThere
                && let Some((there, theirs)) = self.of(person.recipient)
            {
                let known = match there.connector {
                    "hubspot" => json!({ "email": person.email, "firstname": "Known" }),
                    "salesforce" => json!({ "Email": person.email, "LastName": "Known Already", "Company": "Somewhere" }),
                    _ => continue,
                };
                let fields: Fields = serde_json::from_value(known).unwrap_or_default();
                let _ = theirs.sandbox().act(Act::Create { object: there.object.into(), fields }, clock.now());
            }
        }
        Ok(ids)
    }

    /// What every system holds now.
    pub fn look(&self) -> Vec<System> {
        let looked = ACTORS.iter().zip(&self.systems).map(|(actor, served)| {
            let sandbox = served.sandbox();
            System {
                name: actor.name,
                email_field: actor.email_field,
                marker_field: actor.marker_field,
                records: sandbox.records(actor.object),
                throttled: sandbox.stats().throttled,
                receives: actor.role != "source",
            }
        });
        looked.collect()
    }

    /// Carries due webhooks to the daemon.
    pub async fn pump(&self) {
        for served in &self.systems {
            served.pump().await;
        }
    }
}
