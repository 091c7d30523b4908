//! Every configured connection, and how it is found: by name, by partner, by its vendor's account. Each way costs the same
//! with ten connections and with ten thousand.

use std::collections::{BTreeMap, HashMap};
use std::ops::Deref;
use std::sync::{Arc, PoisonError, RwLock};

use leadshare_connectors::sdk::WebhookKey;
use secrecy::ExposeSecret;

use super::line::Line;

/// The connections, by name. They stay the same while the daemon runs.
#[derive(Default)]
pub struct Lines {
    all: BTreeMap<String, Arc<Line>>,
    of_partner: BTreeMap<String, Vec<Arc<Line>>>,
    of_connector: BTreeMap<&'static str, OfConnector>,
}

/// The connections of one connector, by name: the accounts that one app's webhooks are about.
#[derive(Default)]
pub struct OfConnector {
    lines: Vec<Arc<Line>>,
    keys: Vec<WebhookKey>,
    /// Whose an account was when it was last asked for.
    found: RwLock<HashMap<String, Arc<Line>>>,
}

impl Lines {
    /// A partner's connections, by name.
    pub fn of_partner(&self, partner: &str) -> &[Arc<Line>] {
        self.of_partner.get(partner).map_or(&[], Vec::as_slice)
    }

    /// A connector's connections; there is one at least.
    pub fn of_connector(&self, connector: &str) -> Option<&OfConnector> {
        self.of_connector.get(connector)
    }
}

impl OfConnector {
    /// One of them, for what all of them share.
    pub fn any(&self) -> Option<&Line> {
        self.lines.first().map(|line| &**line)
    }

    /// With what an app signs: the secret of each app that they are connected through.
    pub fn keys(&self) -> &[WebhookKey] {
        &self.keys
    }

    /// The connection whose account this is.
    pub fn of_account(&self, account: &str) -> Option<Arc<Line>> {
        let found = self.found.read().unwrap_or_else(PoisonError::into_inner).get(account).cloned();
        if let Some(line) = found.filter(|line| line.is_account(account)) {
            return Some(line);
        }
        let line = self.lines.iter().find(|line| line.is_account(account))?.clone();
        self.found.write().unwrap_or_else(PoisonError::into_inner).insert(account.to_owned(), line.clone());
        Some(line)
    }

    fn add(&mut self, line: &Arc<Line>) {
        if let Some(app) = line.app() {
            let secret = app.client_secret.expose_secret().as_bytes();
            if !self.keys.iter().any(|key| key.secret == secret) {
                self.keys.push(WebhookKey { id: line.name().to_owned(), secret: secret.to_vec(), account: None });
            }
        }
        self.lines.push(line.clone());
    }
}

impl FromIterator<(String, Arc<Line>)> for Lines {
    fn from_iter<I: IntoIterator<Item = (String, Arc<Line>)>>(lines: I) -> Self {
        let mut made = Self { all: lines.into_iter().collect(), ..Self::default() };
        for line in made.all.values() {
            made.of_partner.entry(line.partner().to_owned()).or_default().push(line.clone());
            made.of_connector.entry(line.connector_name()).or_default().add(line);
        }
        made
    }
}

impl Deref for Lines {
    type Target = BTreeMap<String, Arc<Line>>;
    fn deref(&self) -> &Self::Target {
        &self.all
    }
}
