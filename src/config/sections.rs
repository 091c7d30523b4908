//! The sections of the configuration, with their defaults. Comments become the schema's text.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;

use schemars::JsonSchema;
use serde::Deserialize;

use super::values::{Period, Secret, list};

/// Where the daemon listens and how others reach it.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Server {
    /// Address and port. Put a proxy that speaks TLS in front.
    #[schemars(with = "String")]
    pub listen: SocketAddr,
    /// The address under which partners and vendors reach it, such as `https://leads.example.com`.
    /// Required.
    pub public_url: String,
    /// Opens the operator's pages; without one there are none.
    pub admin_password: Option<Secret>,
    /// A file that holds it.
    pub admin_password_file: Option<PathBuf>,
    /// Told to stop, the daemon says so at `/readyz` and goes on for so long: a proxy in front of several replicas needs that time
    /// to send nothing more to this one. At most `30s`; without it the daemon stops at once.
    pub stop_notice: Option<Period>,
}

impl Default for Server {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from(([127, 0, 0, 1], 8080)),
            public_url: String::new(),
            admin_password: None,
            admin_password_file: None,
            stop_notice: None,
        }
    }
}

/// Where the daemon keeps what it knows.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Store {
    /// `sqlite:PATH` or `postgres://user:password@host/database`; otherwise `leadshare.db` in `data_dir`.
    pub url: Option<Secret>,
    /// A file that holds it.
    pub url_file: Option<PathBuf>,
    /// A folder on a local disk: the embedded database and its lock.
    pub data_dir: PathBuf,
}

impl Default for Store {
    fn default() -> Self {
        Self { url: None, url_file: None, data_dir: PathBuf::from("/var/lib/leadshare") }
    }
}

/// Keys: 32 bytes in base64 each, as `openssl rand -base64 32` prints them.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Keys {
    /// The id, under `ring`, of the key that seals. Required.
    pub active: String,
    /// Keys that open what was sealed, by id (1 to 32 of `a-z 0-9 -`). To rotate: add a key, make it
    /// active, and keep the old one: what it sealed is opened with it.
    pub ring: BTreeMap<String, Secret>,
    /// Files that hold such keys, by id.
    pub ring_file: BTreeMap<String, PathBuf>,
    /// Hashes addresses and numbers to search by. Never changes: suppressions would be forgotten.
    pub blind: Option<Secret>,
    /// A file that holds it.
    pub blind_file: Option<PathBuf>,
    /// Makes the markers on records at vendors. Never changes: people would be delivered twice.
    pub program: Option<Secret>,
    /// A file that holds it.
    pub program_file: Option<PathBuf>,
    /// Signs the ledger's checkpoints.
    pub ledger: Option<Secret>,
    /// A file that holds it.
    pub ledger_file: Option<PathBuf>,
}

/// The program's files.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Program {
    /// The program's name: 1 to 40 of `a-z 0-9 -`. Required.
    pub name: String,
    /// The folder with `partners/`, `agreements/`, `notices/` and so on. Relative paths start at the
    /// folder of this file.
    pub dir: PathBuf,
    /// The folder with the mapping files.
    pub mappings_dir: PathBuf,
}

impl Default for Program {
    fn default() -> Self {
        Self { name: String::new(), dir: PathBuf::from("program"), mappings_dir: PathBuf::from("mappings") }
    }
}

/// The proof of what happened.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Ledger {
    /// The name under which checkpoints are signed; otherwise the host of `public_url`, a slash and
    /// the program's name. Set it before the public address changes.
    pub origin: Option<String>,
    /// Public keys that signed checkpoints before today's, as `leadshare ledger key` prints them.
    #[serde(deserialize_with = "list")]
    pub former_keys: Vec<String>,
}

/// What the daemon allows itself.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Limits {
    /// Below this much free disk under `data_dir`, MB, nothing is sent and intake answers 503.
    #[schemars(range(min = 50))]
    pub free_disk_mb: u32,
}

impl Default for Limits {
    fn default() -> Self {
        Self { free_disk_mb: 200 }
    }
}

/// When a failed delivery is tried again.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Retry {
    /// Pauses before the second try, the third and so on; after the last one it waits for a person.
    /// What a vendor asks for by `Retry-After` is honoured besides, and uses up no try.
    #[serde(deserialize_with = "list")]
    pub schedule: Vec<Period>,
    /// How far each pause is spread, percent to either side.
    #[schemars(range(max = 50))]
    pub jitter: u8,
}

impl Default for Retry {
    fn default() -> Self {
        let schedule = vec![
            Period::seconds(5),
            Period::minutes(5),
            Period::minutes(30),
            Period::hours(2),
            Period::hours(5),
            Period::hours(10),
            Period::hours(10),
        ];
        Self { schedule, jitter: 20 }
    }
}

/// How long what is kept, besides what was shared and the proof of it, which stay.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Retention {
    /// People of whom nothing was ever shared are forgotten so long after their records were last read
    /// (which they are when they change), unless their leads still wait for something: their keys,
    /// their leads, what was decided about them.
    pub never_shared: Period,
    /// How changes ended, decisions that later ones replaced, tries to deliver, alerts that are over.
    /// Of each lead the last change and the decisions that its shares came from stay.
    pub history: Period,
}

impl Default for Retention {
    fn default() -> Self {
        Self { never_shared: Period::days(30), history: Period::days(90) }
    }
}

/// What the daemon tells about itself.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Log {
    /// The form of the lines.
    pub format: LogFormat,
    /// What is told: `error`, `warn`, `info`, `debug`, `trace`, or by part of the program, such as
    /// `info,leadshare::http=debug`.
    pub filter: String,
}

impl Default for Log {
    fn default() -> Self {
        Self { format: LogFormat::Auto, filter: "info".to_owned() }
    }
}

/// The form of log lines.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum LogFormat {
    /// Text on a terminal, JSON otherwise.
    Auto,
    /// One JSON object a line.
    Json,
    /// For people.
    Text,
}
