//! One partner's account, as the operator describes it.

use std::collections::BTreeMap;
use std::path::PathBuf;

use leadshare_connectors::sdk::Manifest;
use leadshare_connectors::sdk::manifest::Budget;
use schemars::JsonSchema;
use secrecy::SecretString;
use serde::Deserialize;

use super::values::{Day, Network, Period, Secret, list};
use crate::http::line::Role;

/// One partner's account in one vendor's system.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
#[schemars(extend("required" = ["partner", "connector", "role"]))]
pub struct Connection {
    /// The partner, by the name of its file under `partners/`.
    pub partner: String,
    /// The vendor's connector, such as `hubspot`.
    pub connector: String,
    /// What the account is used for. On one that only receives, records that are not ours are
    /// neither read nor kept.
    pub role: Option<Role>,
    /// Scheme and host of the vendor's API, where the account has its own or a simulator stands in.
    pub base_url: Option<String>,
    /// The vendor's API version, where it is not the one that the connector was written for.
    pub api_version: Option<String>,
    /// Other OAuth addresses than the vendor's usual ones.
    pub oauth: OauthChange,
    /// The account's database, site or tenant, where the vendor's addresses name one.
    pub tenant: Option<String>,
    /// The id of the app that is registered at the vendor.
    pub client_id: Option<String>,
    /// Its secret.
    pub client_secret: Option<Secret>,
    /// A file that holds it.
    pub client_secret_file: Option<PathBuf>,
    /// The account's key, for vendors that give keys instead of OAuth.
    pub key: Option<Secret>,
    /// A file that holds it.
    pub key_file: Option<PathBuf>,
    /// What webhooks of this account are signed with, where the vendor does not sign with the app's secret.
    pub webhook_secret: Option<Secret>,
    /// A file that holds it.
    pub webhook_secret_file: Option<PathBuf>,
    /// The one before, while both are in use.
    pub webhook_secret_former: Option<Secret>,
    /// A file that holds it.
    pub webhook_secret_former_file: Option<PathBuf>,
    /// Private networks that this connection may reach, as CIDR. Whoever can set the vendor's
    /// addresses can then reach them too.
    #[serde(deserialize_with = "list")]
    #[schemars(with = "Vec<String>")]
    pub dangerously_allow_networks: Vec<Network>,
    /// Only what people did from this day on is shared (UTC); otherwise from the first connect on.
    pub share_from: Option<Day>,
    /// Pause between polls, where it is not the connector's usual one.
    pub poll_every: Option<Period>,
    /// Longest pause between polls, a quarter of an hour where it is not given. Where polls have found nothing new for a while
    /// (nothing happens, or webhooks tell of it first) the next comes after a sixtieth of that while, within these bounds; one
    /// that finds something ends that.
    pub poll_at_least_every: Option<Period>,
    /// How long a write that was never answered may still arrive there, where it is not the connector's usual time: the
    /// longest that the vendor's server, and what stands before it, lets a request run. So long nobody writes what is in
    /// doubt. Half a minute at least, an hour at most.
    pub settle_after: Option<Period>,
    /// Shows what would be shared and delivered, and does neither.
    pub observe: bool,
    /// Other budgets than the vendor's usual ones, by the name that the connector gives them.
    pub budgets: BTreeMap<String, BudgetChange>,
    /// Most leads that this account may newly share in an hour; more stops it until a person lets it go on.
    pub brake_per_hour: Option<u32>,
    /// How much of each budget may be spent, percent: what the partner was promised. Withdrawals and
    /// erasures are not bound by it.
    #[schemars(range(min = 1, max = 100))]
    pub share_of_budget: Option<u8>,
    /// Nothing is read from or written to it.
    pub paused: bool,
}

/// Other OAuth addresses than the vendor's usual ones.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct OauthChange {
    /// Where the browser goes.
    pub authorize_url: Option<String>,
    /// Where codes and refresh tokens are exchanged.
    pub token_url: Option<String>,
    /// Where tokens are revoked.
    pub revoke_url: Option<String>,
}

/// Another budget than the vendor's usual one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct BudgetChange {
    /// Units per window.
    #[schemars(range(min = 1))]
    pub limit: u32,
    /// The window; otherwise the connector's. Needed for a budget that the connector does not know.
    pub window: Option<Period>,
}

impl Connection {
    /// What the account is used for; [`super::Config::load`] refuses a connection that does not say.
    pub fn role(&self) -> Role {
        self.role.unwrap_or(Role::Recipient)
    }

    /// Secrets that this account's webhooks are believed for, the newest first.
    pub fn webhook_secrets(&self) -> Vec<SecretString> {
        [&self.webhook_secret, &self.webhook_secret_former].into_iter().flatten().map(Secret::to_secret_string).collect()
    }

    /// The vendor's budgets with the operator's changes.
    pub fn budgets(&self, manifest: &Manifest) -> Vec<Budget> {
        let mut budgets = manifest.budgets.clone();
        for (name, change) in &self.budgets {
            if let Some(budget) = budgets.iter_mut().find(|b| b.name == *name) {
                budget.limit = change.limit;
                budget.window_ms = change.window.map_or(budget.window_ms, Period::millis);
            } else if let Some(window) = change.window {
                budgets.push(Budget {
                    name: name.clone(),
                    limit: change.limit,
                    window_ms: window.millis(),
                    limit_header: None,
                    remaining_header: None,
                    usage_header: None,
                });
            }
        }
        budgets
    }
}
