//! The stage of a simulation: a program's files, its furnished and connected systems, and a store that knows them. Made
//! once per program and copied for each seed.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use leadshare_connectors::sdk::{Act, App, Method, Sandbox, SandboxRequest};

use super::network::{Network, System};
use super::program::{Actor, Shape};
use super::rng::Rng;
use crate::clock::{Clock, HOUR, MINUTE, Millis};
use crate::config::Config;
use crate::context::Context;
use crate::errors::{Error, Result, Severity};
use crate::http::Transport;
use crate::oauth::authorize;
use crate::store::Db;
use crate::{daemon, mapping};

/// When every simulation begins: its agreements are in force.
pub const START: Millis = 1_790_000_000_000;

/// A program, ready to be played.
pub struct Stage {
    /// Who takes part.
    pub shape: Shape,
    /// Where its files are.
    pub dir: PathBuf,
    /// The configuration.
    pub config: Config,
    /// Pause between polls.
    pub poll_every: Millis,
    systems: Vec<System>,
    store: Vec<u8>,
}

fn system(what: impl std::fmt::Display, error: &std::io::Error) -> Error {
    Error::System(format!("{what}: {error}"))
}

fn secret(actor: &Actor) -> String {
    format!("secret-of-the-simulated-app-of-{}", actor.name)
}

impl Stage {
    /// Sets the program of this number up in a folder.
    ///
    /// # Errors
    /// When the folder cannot be written, or the program is not what it should be.
    pub async fn set(number: u64, dir: &Path) -> Result<Self> {
        let shape = Shape::new(number);
        let mut rng = Rng::new(number, 3);
        // Polls of what is quiet are what a run would else spend its time on.
        let poll_every = *rng.pick(&[30 * MINUTE, 2 * HOUR, 2 * HOUR, 4 * HOUR]).unwrap_or(&HOUR);
        let budgets =
            *rng.pick(&[Budgets::Usual, Budgets::Usual, Budgets::Usual, Budgets::Small, Budgets::Tiny]).unwrap_or(&Budgets::Usual);
        let dir = dir.join(format!("program-{number}"));
        for (path, text) in shape.files() {
            write(&dir, &path, &text)?;
        }
        let mut sandboxes = Vec::new();
        for (i, actor) in shape.actors.iter().enumerate() {
            let entry = leadshare_connectors::by_name(actor.connector).ok_or_else(|| Error::NotFound(actor.connector.into()))?;
            sandboxes.push((entry.sandbox)(number * 8 + i as u64 + 1));
        }
        let keys = configure(&shape, &dir, poll_every, budgets, &mut sandboxes)?;
        furnish(&shape, &dir, &mut sandboxes)?;
        let config = Config::load(Some(&dir.join("leadshare.toml")), std::iter::empty()).map_err(Error::Files)?;
        let mut systems = Vec::new();
        for ((actor, sandbox), tokens) in shape.actors.iter().zip(sandboxes).zip(keys) {
            let manifest = leadshare_connectors::by_name(actor.connector).map(|entry| (entry.connector)());
            let budgets = match (config.connections.get(actor.name), &manifest) {
                (Some(connection), Some(connector)) => connection.budgets(connector.manifest()),
                _ => Vec::new(),
            };
            let budgets = budgets.into_iter().map(|b| (b.name, (b.limit, b.window_ms))).collect();
            systems.push(System::new(actor.clone(), sandbox, tokens, budgets));
        }
        let file = dir.join("template.db");
        let clock = Clock::test(START);
        let db = open(&file).await?;
        let network = Arc::new(Network::new(0, &clock, &db, systems, true));
        let built = daemon::build_on(&config, &clock, db.clone(), Transport::carried(network.clone())).await?;
        let wrong: Vec<_> = built.diagnostics.iter().filter(|d| d.severity == Severity::Error).cloned().collect();
        if !wrong.is_empty() {
            return Err(Error::Files(wrong));
        }
        for (i, actor) in shape.actors.iter().enumerate().filter(|(_, a)| a.connector != "tryton") {
            connect(&built.ctx, &network, i, actor).await?;
        }
        drop(built);
        db.close().await;
        let store = std::fs::read(&file).map_err(|e| system(file.display(), &e))?;
        let systems = copied(&network.inner().systems);
        Ok(Self { shape, dir, config, poll_every, systems, store })
    }

    /// A store and systems as they stand at the start, for a seed.
    ///
    /// # Errors
    /// When the store cannot be written.
    pub async fn open(&self, seed: u64) -> Result<(Db, Vec<System>)> {
        // A file of its own: a crash drops connections in the midst of a query, and the driver closes them when that has ended. One
        // that closes later than the store does would bring its log into the next seed's file.
        for left in std::fs::read_dir(&self.dir).map_err(|e| system(self.dir.display(), &e))?.flatten() {
            if left.file_name().to_string_lossy().starts_with("seed-") {
                let _ = std::fs::remove_file(left.path());
            }
        }
        let file = self.dir.join(format!("seed-{seed}.db"));
        // Tokens of the run before are none of this one's.
        let _ = std::fs::remove_dir_all(self.dir.join("spool"));
        std::fs::write(&file, &self.store).map_err(|e| system(file.display(), &e))?;
        Ok((open(&file).await?, copied(&self.systems)))
    }

    /// Writes one of the program's files.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn write(&self, path: &str, text: &str) -> Result<()> {
        write(&self.dir, path, text)
    }
}

/// What operators allow us of the vendors' budgets.
#[derive(Debug, Clone, Copy)]
enum Budgets {
    /// What the vendors do.
    Usual,
    /// Less than a busy day needs.
    Small,
    /// Less than one write needs in the time that its gates hold.
    Tiny,
}

impl Budgets {
    fn of(self, connector: &str) -> &'static str {
        match (self, connector) {
            (Self::Usual, _) => "",
            (Self::Small, "hubspot") => "budgets = { general = { limit = 20 }, search = { limit = 3 } }\n",
            (Self::Small, "salesforce") => "budgets = { daily = { limit = 4000 } }\n",
            (Self::Small, _) => "budgets = { requests = { limit = 60 } }\n",
            (Self::Tiny, "hubspot") => "budgets = { general = { limit = 3 }, search = { limit = 1 } }\n",
            (Self::Tiny, "salesforce") => "budgets = { daily = { limit = 1000 } }\n",
            (Self::Tiny, _) => "budgets = { requests = { limit = 12 } }\n",
        }
    }
}

fn copied(systems: &[System]) -> Vec<System> {
    systems.iter().map(|s| System::new(s.actor.clone(), s.sandbox.fork(), s.tokens.clone(), s.budgets.clone())).collect()
}

async fn open(file: &Path) -> Result<Db> {
    Db::open(&format!("sqlite:{}", file.display())).await
}

fn write(dir: &Path, path: &str, text: &str) -> Result<()> {
    let full = dir.join(path);
    let folder = full.parent().unwrap_or(dir);
    std::fs::create_dir_all(folder).and_then(|()| std::fs::write(&full, text)).map_err(|e| system(full.display(), &e))
}

/// Writes the configuration; answers the keys that systems gave.
fn configure(
    shape: &Shape,
    dir: &Path,
    poll_every: Millis,
    budgets: Budgets,
    sandboxes: &mut [Box<dyn Sandbox>],
) -> Result<Vec<BTreeSet<String>>> {
    use std::fmt::Write as _;
    // Fixed, so that a seed makes the same markers and hashes every time. They guard nothing.
    let key = |n: u8| base64::Engine::encode(&base64::engine::general_purpose::STANDARD, [n; 32]);
    let mut text = format!(
        "[server]\npublic_url = \"https://leads.sim.example\"\n\n[store]\ndata_dir = \".\"\n\n[keys]\nactive = \"k1\"\nring = {{ k1 = \"{}\" }}\nblind = \"{}\"\nprogram = \"{}\"\nledger = \"{}\"\n\n[program]\nname = \"sim\"\n",
        key(1),
        key(2),
        key(3),
        key(4)
    );
    let mut keys = Vec::new();
    for (actor, sandbox) in shape.actors.iter().zip(sandboxes) {
        let role = serde_json::to_value(actor.role).unwrap_or_default();
        let (name, secret, host) = (actor.name, secret(actor), actor.host());
        let _ = write!(
            text,
            "\n[connections.{name}]\npartner = \"{name}\"\nconnector = \"{}\"\nrole = {role}\nbase_url = \"https://{host}\"\npoll_every = \"{}m\"\nbrake_per_hour = 1000000\n",
            actor.connector,
            poll_every / MINUTE
        );
        let mut known = BTreeSet::new();
        match actor.connector {
            "hubspot" => {
                let _ = write!(
                    text,
                    "client_id = \"{name}\"\nclient_secret = \"{secret}\"\noauth = {{ authorize_url = \"https://{host}/oauth/authorize\", token_url = \"https://{host}/oauth/{{version}}/token\" }}\n"
                );
            }
            "salesforce" => {
                let _ = write!(
                    text,
                    "client_id = \"{name}\"\nclient_secret = \"{secret}\"\nwebhook_secret = \"{secret}\"\noauth = {{ authorize_url = \"https://{host}/services/oauth2/authorize\", token_url = \"https://{host}/services/oauth2/token\" }}\n"
                );
            }
            _ => {
                let token = sandbox.token(START);
                let _ = write!(text, "key = \"{token}\"\ntenant = \"crm\"\n");
                known.insert(token);
            }
        }
        text.push_str(budgets.of(actor.connector));
        keys.push(known);
    }
    write(dir, "leadshare.toml", &text)?;
    Ok(keys)
}

/// Does what partners' admins do before connecting: registers the app, adds custom fields.
fn furnish(shape: &Shape, dir: &Path, sandboxes: &mut [Box<dyn Sandbox>]) -> Result<()> {
    for (i, (actor, sandbox)) in shape.actors.iter().zip(sandboxes).enumerate() {
        let webhook_url = match actor.connector {
            "hubspot" => Some("https://leads.sim.example/hooks/hubspot".to_owned()),
            "salesforce" => Some(format!("https://leads.sim.example/hooks/{}/{}", actor.name, secret(actor))),
            _ => None,
        };
        sandbox.register(App {
            client_id: actor.name.to_owned(),
            client_secret: secret(actor),
            redirect_uri: "https://leads.sim.example/oauth/callback".to_owned(),
            webhook_url,
        });
        if actor.connector == "tryton" {
            continue;
        }
        let file = dir.join(format!("mappings/{}.toml", actor.name)).display().to_string();
        let mapping = mapping::parse(&file, &shape.mapping(i, &[])).map_err(Error::Files)?;
        let back = mapping.file().status.as_ref().and_then(|s| s.back.as_ref()).map(|b| b.pairs().map(|(_, f)| f.crm).collect::<Vec<_>>());
        let names = mapping.read_fields().into_iter().chain(mapping.written_fields()).chain(back.unwrap_or_default());
        for name in names.chain(mapping.follow_fields()).filter(|n| !n.contains('.')).chain([actor.marker_field().to_owned()]) {
            let unique = name == actor.marker_field();
            // What the vendor ships with is there already, and adding it again is refused: that is fine.
            let _ = sandbox.act(Act::DefineField { object: actor.object().into(), name, unique, options: Vec::new() }, START);
        }
    }
    Ok(())
}

/// A partner's admin goes through the vendor's own pages and says yes.
///
/// # Errors
/// When the vendor or we refuse.
pub async fn connect(ctx: &Context, network: &Network, i: usize, actor: &Actor) -> Result<()> {
    let link = authorize::make_link(ctx, actor.name, HOUR).await?;
    let token = link.rsplit('/').next().unwrap_or_default();
    let started = authorize::start(ctx, token).await?;
    let bad = || Error::System(format!("{} cannot be connected", actor.name));
    let url = url::Url::parse(&started.url).map_err(|_| bad())?;
    let request = SandboxRequest {
        method: Method::Post,
        path: url.path().to_owned(),
        headers: vec![("host".into(), actor.host()), ("content-type".into(), "application/x-www-form-urlencoded".into())],
        body: format!("{}&decision=allow", url.query().unwrap_or_default()).into_bytes(),
    };
    let answer = network.page(i, &request).ok_or_else(bad)?;
    let back = answer.header("location").and_then(|to| url::Url::parse(to).ok()).ok_or_else(bad)?;
    let value = |name: &str| back.query_pairs().find(|(n, _)| n == name).map(|(_, v)| v.into_owned());
    let (Some(code), Some(state)) = (value("code"), value("state")) else { return Err(bad()) };
    authorize::finish(ctx, &state, &code).await.map(|_| ())?;
    Ok(())
}
