//! The daemon's own configuration: typed sections, from defaults, one TOML file and the environment.
//!
//! Later wins: defaults, then the file, then variables named `LEADSHARE_<SECTION>__<KEY>`
//! (`LEADSHARE_CONNECTIONS__NORTHWIND__CLIENT_ID`). The file is first read on its own, so that an
//! error names file, line and column; unknown keys are refused. A secret is given once: as a value,
//! as `<key>_file`, or as a systemd credential named by its dotted path (`keys.blind`).

mod connection;
mod secrets;
mod sections;
mod sources;
mod validate;
mod values;

use std::collections::BTreeMap;
use std::path::Path;

use schemars::JsonSchema;
use serde::Deserialize;

pub use connection::{BudgetChange, Connection, OauthChange};
pub use sections::{Keys, Ledger, Limits, Log, LogFormat, Program, Retention, Retry, Server, Store};
use validate::Vendors;
pub use values::{Day, Network, Period, Secret};

use crate::errors::{Diagnostic, Error, Result};
use crate::ledger::{PublicKey, Signer};
use crate::vault::{Blind, Key, Keyring, Markers, Vault};

/// Everything that an operator may set.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// Where the daemon listens and how others reach it.
    pub server: Server,
    /// Where it keeps what it knows.
    pub store: Store,
    /// Its keys. Losing them is losing the data; a backup holds none of them.
    pub keys: Keys,
    /// The program's files.
    pub program: Program,
    /// The proof of what happened.
    pub ledger: Ledger,
    /// What it allows itself.
    pub limits: Limits,
    /// When a failed delivery is tried again.
    pub retry: Retry,
    /// What it keeps no longer than it is needed.
    pub retention: Retention,
    /// What it tells about itself.
    pub log: Log,
    /// Partners' accounts, by a name of 1 to 40 of `a-z 0-9 -`.
    pub connections: BTreeMap<String, Connection>,
}

impl Config {
    /// Reads the configuration. `env` is the whole environment; what does not start with
    /// `LEADSHARE_` and name a section is passed over.
    ///
    /// # Errors
    /// Everything found wrong, each with its place and what to do. Values of secrets are never shown.
    pub fn load(path: Option<&Path>, env: impl Iterator<Item = (String, String)>) -> Result<Self, Vec<Diagnostic>> {
        Self::load_for(path, env, &Vendors::SHIPPED)
    }

    fn load_for(path: Option<&Path>, env: impl Iterator<Item = (String, String)>, vendors: &Vendors) -> Result<Self, Vec<Diagnostic>> {
        let (mut config, sources) = sources::read(path, env)?;
        let mut problems = secrets::resolve(&mut config, &sources);
        validate::check(&config, &sources, vendors, &mut problems);
        if !problems.is_empty() {
            return Err(problems);
        }
        if let Some(folder) = path.and_then(Path::parent) {
            config.program.dir = folder.join(&config.program.dir);
            config.program.mappings_dir = folder.join(&config.program.mappings_dir);
            config.store.data_dir = folder.join(&config.store.data_dir);
        }
        Ok(config)
    }

    /// The keys, ready for use.
    ///
    /// # Errors
    /// [`Error::Vault`] naming the key that is missing or wrong; not after a successful [`Config::load`].
    pub fn vault(&self) -> Result<Vault> {
        let ring = self.keys.ring.iter().map(|(id, key)| Ok((id.clone(), key_from(&format!("ring.{id}"), Some(key))?)));
        Ok(Vault {
            keys: Keyring::new(&self.keys.active, ring.collect::<Result<Vec<_>>>()?)?,
            blind: Blind::new(key_from("blind", self.keys.blind.as_ref())?),
            markers: Markers::new(key_from("program", self.keys.program.as_ref())?),
        })
    }

    /// Signs the ledger's checkpoints.
    ///
    /// # Errors
    /// As [`Config::vault`].
    pub fn signer(&self) -> Result<Signer> {
        Signer::new(&self.origin(), &key_from("ledger", self.keys.ledger.as_ref())?)
    }

    /// The keys that checkpoints are verified with: today's, and those used before.
    ///
    /// # Errors
    /// As [`Config::vault`].
    pub fn ledger_keys(&self) -> Result<Vec<PublicKey>> {
        let former = self.ledger.former_keys.iter().map(|key| key.parse());
        std::iter::once(self.signer().map(|signer| signer.public())).chain(former).collect()
    }

    /// The database's address.
    pub fn store_url(&self) -> Secret {
        self.store.url.clone().unwrap_or_else(|| Secret::from(format!("sqlite:{}", self.store.data_dir.join("leadshare.db").display())))
    }

    /// The ledger's name.
    fn origin(&self) -> String {
        self.ledger.origin.clone().unwrap_or_else(|| {
            let host = url::Url::parse(&self.server.public_url).ok().and_then(|url| url.host_str().map(str::to_owned));
            format!("{}/{}", host.unwrap_or_default(), self.program.name)
        })
    }
}

/// The JSON schema of the file, for editors; kept in `docs/config.schema.json`.
pub fn schema() -> String {
    let schema = schemars::schema_for!(Config);
    serde_json::to_string_pretty(&schema).unwrap_or_default() + "\n"
}

fn key_from(name: &str, key: Option<&Secret>) -> Result<Key> {
    let key = key.ok_or_else(|| Error::Vault(format!("keys.{name} is not set")))?;
    Key::from_base64(key.expose()).map_err(|e| match e {
        Error::Vault(why) => Error::Vault(format!("keys.{name}: {why}")),
        other => other,
    })
}

#[cfg(test)]
mod tests;
