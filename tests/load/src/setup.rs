//! What an operator writes for a load: configuration, keys, program and mappings, with everything on.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use futures_util::{StreamExt as _, TryStreamExt as _};
use leadshare::clock::{Clock, Millis};
use leadshare::config::Config;
use leadshare::daemon;
use leadshare::errors::Severity;
use leadshare::program::terms_hash;
use leadshare::vault::Key;
use secrecy::ExposeSecret as _;

/// The secret of the app that webhooks are signed with.
pub const APP_SECRET: &str = "secret-of-the-app-under-load";
/// The portal of source 0; the others count up, the recipients after the sources.
pub const FIRST_PORTAL: u64 = 10_000_000;

/// Who shares with whom.
#[derive(Debug, Clone, Copy)]
pub struct Cast {
    /// Connections that share.
    pub sources: usize,
    /// Connections that receive.
    pub recipients: usize,
    /// Recipients that each source has an agreement with.
    pub each: usize,
    /// Sources that people fill in forms at; nothing happens at the others.
    pub active: usize,
}

impl Cast {
    /// The source of lead `i`.
    pub fn source(&self, i: usize) -> usize {
        i % self.active
    }

    /// The recipient that lead `i` ticked.
    pub fn recipient(&self, i: usize) -> usize {
        (self.source(i) + i / self.active % self.each) % self.recipients
    }

    /// The portal of a source.
    pub fn source_portal(source: usize) -> u64 {
        FIRST_PORTAL + source as u64
    }

    /// The portal of a recipient.
    pub fn recipient_portal(&self, recipient: usize) -> u64 {
        FIRST_PORTAL + (self.sources + recipient) as u64
    }

    /// What a portal is.
    pub fn of_portal(&self, portal: u64) -> Option<Side> {
        let n = usize::try_from(portal.checked_sub(FIRST_PORTAL)?).ok()?;
        match n.checked_sub(self.sources) {
            None => Some(Side::Source(n)),
            Some(r) if r < self.recipients => Some(Side::Recipient(r)),
            Some(_) => None,
        }
    }
}

/// What stands behind a portal.
#[derive(Debug, Clone, Copy)]
pub enum Side {
    /// It shares.
    Source(usize),
    /// It receives.
    Recipient(usize),
}

/// A folder with everything that a daemon needs.
pub struct Setup {
    /// The folder.
    pub dir: PathBuf,
    /// Who is in it.
    pub cast: Cast,
    /// The store's address; `None` for SQLite in the folder.
    pub store: Option<String>,
    /// Where the vendor process listens, `http://…`.
    pub vendor: String,
    /// `poll_every` of the connections, where it is not the vendor's usual one.
    pub poll_every: Option<String>,
    /// Since when they are connected, and nothing has happened; `None` = now.
    pub quiet_for: Option<Millis>,
}

/// Accounts that are connected at the same time.
const AT_ONCE: usize = 64;

const SOURCE_MAPPING: &str = include_str!("../files/source.toml");
const RECIPIENT_MAPPING: &str = include_str!("../files/recipient.toml");
const AGREEMENT: &str = include_str!("../files/agreement.toml");

impl Setup {
    fn write(&self, path: &str, text: &str) -> Result<()> {
        let full = self.dir.join(path);
        std::fs::create_dir_all(full.parent().unwrap_or(&self.dir))?;
        std::fs::write(&full, text).with_context(|| full.display().to_string())
    }

    /// Writes the program, the mappings and the keys.
    pub fn write_files(&self) -> Result<()> {
        for key in ["ring-k1", "blind", "program", "ledger"] {
            self.write(&format!("keys/{key}"), Key::generate(&Clock::system())?.to_base64().expose_secret())?;
        }
        self.write("program/lists/competitors.csv", "domain,company\nrivalcloud.example,Rival Cloud\n")?;
        self.write("program/lists/named-accounts.csv", "domain,company\nbigbank.example,Big Bank\n")?;
        self.write("program/messages/art14.md", "We received your details from the partner that you asked to introduce us.\n")?;
        self.write("program/messages/introduction.md", "Hello, you asked for help with the set-up.\n")?;
        let Cast { sources, recipients, each, .. } = self.cast;
        for r in 0..recipients {
            self.write(&format!("program/partners/recipient-{r}.toml"), &partner(&format!("Recipient {r}"), &format!("recipient-{r}")))?;
            self.write(&format!("mappings/recipient-{r}.toml"), &RECIPIENT_MAPPING.replace("RECIPIENT", &format!("recipient-{r}")))?;
        }
        for s in 0..sources {
            let theirs: Vec<usize> = (0..each).map(|k| (s + k) % recipients).collect();
            self.write(&format!("program/partners/source-{s}.toml"), &partner(&format!("Source {s}"), &format!("source-{s}")))?;
            let names = theirs.iter().map(|r| format!("\"Recipient {r}\" = \"recipient-{r}\"")).collect::<Vec<_>>().join(", ");
            let mapping = SOURCE_MAPPING.replace("SOURCE", &format!("source-{s}")).replace("NAMES", &names);
            self.write(&format!("mappings/source-{s}.toml"), &mapping.replace("NOTICE", &notice_id(s)))?;
            let legal = theirs.iter().map(|r| format!("\"Recipient {r} B.V.\"")).collect::<Vec<_>>().join(", ");
            let named = theirs.iter().map(|r| format!("Recipient {r} B.V.")).collect::<Vec<_>>().join(", ");
            let notice = format!(
                "controller = \"Source {s} B.V.\"\ntext = \"I want help. Source {s} B.V. may give my details to the company that I tick, which may write to me or ring me about it: {named}.\"\nlanguage = \"en\"\nrecipients = [{legal}]\npurposes = [\"introduce\", \"contact\"]\nchannels = [\"email\", \"phone\"]\nshown = {{ from = 2026-01-01, zone = \"Europe/Amsterdam\" }}\n"
            );
            self.write(&format!("program/notices/{}.toml", notice_id(s)), &notice)?;
            for r in theirs {
                let text = AGREEMENT
                    .replace("SOURCE_NAME", &format!("Source {s} B.V."))
                    .replace("RECIPIENT_NAME", &format!("Recipient {r} B.V."))
                    .replace("SOURCE", &format!("source-{s}"))
                    .replace("RECIPIENT", &format!("recipient-{r}"))
                    .replace("NOTICE", &notice_id(s));
                let terms = terms_hash(&text).map_err(|wrong| anyhow::anyhow!("the agreement is wrong: {wrong:?}"))?;
                self.write(&format!("program/agreements/source-{s}-recipient-{r}.toml"), &text.replace("TERMS", &terms))?;
            }
        }
        Ok(())
    }

    /// Writes a configuration for a daemon that listens there, under this public address; its path.
    pub fn write_config(&self, name: &str, listen: &str, public: &str) -> Result<PathBuf> {
        let mut text = format!(
            "[server]\nlisten = \"{listen}\"\npublic_url = \"http://{public}\"\n\n[store]\ndata_dir = \".\"\n{}\n[keys]\nactive = \"k1\"\nring_file = {{ k1 = \"keys/ring-k1\" }}\nblind_file = \"keys/blind\"\nprogram_file = \"keys/program\"\nledger_file = \"keys/ledger\"\n\n[program]\nname = \"load\"\n\n[log]\nfilter = \"warn\"\n",
            self.store.as_ref().map(|url| format!("url = \"{url}\"\n")).unwrap_or_default(),
        );
        let Cast { sources, recipients, .. } = self.cast;
        let names =
            (0..sources).map(|s| (format!("source-{s}"), "source")).chain((0..recipients).map(|r| (format!("recipient-{r}"), "recipient")));
        for (name, role) in names {
            // The budgets are set so high that the vendor's quota is not what is measured.
            let _ = write!(
                text,
                "\n[connections.{name}]\npartner = \"{name}\"\nconnector = \"hubspot\"\nrole = \"{role}\"\nbase_url = \"{vendor}\"\nclient_id = \"load\"\nclient_secret = \"{APP_SECRET}\"\noauth = {{ token_url = \"{vendor}/oauth/{{version}}/token\" }}\ndangerously_allow_networks = [\"127.0.0.0/8\"]\nbrake_per_hour = 4000000000\nbudgets = {{ general = {{ limit = 1000000000, window = \"1s\" }}, search = {{ limit = 1000000000, window = \"1s\" }} }}\n",
                vendor = self.vendor
            );
            if role == "source" {
                text.push_str("share_from = 2026-01-01\n");
            }
            if let Some(every) = &self.poll_every {
                let _ = writeln!(text, "poll_every = \"{every}\"\npoll_at_least_every = \"{every}\"");
            }
        }
        let file = format!("{name}.toml");
        self.write(&file, &text)?;
        Ok(self.dir.join(file))
    }

    /// Connects every account, as its partner would in the vendor's pages: the vendor process takes a
    /// portal's number for a code.
    pub async fn connect(&self, config: &Path) -> Result<()> {
        let system = Clock::system();
        let clock = self.quiet_for.map_or(system.clone(), |quiet| Clock::test(system.now() - quiet));
        let config =
            Config::load(Some(config), std::iter::empty()).map_err(|wrong| anyhow::anyhow!("the configuration is wrong: {wrong:?}"))?;
        let built = daemon::build(&config, &clock).await?;
        if let Some(wrong) = built.diagnostics.iter().find(|d| d.severity == Severity::Error) {
            anyhow::bail!("the program is wrong: {wrong:?}");
        }
        let portal = |name: &str| -> Option<u64> {
            let (kind, n) = name.rsplit_once('-')?;
            let n: usize = n.parse().ok()?;
            Some(if kind == "source" { Cast::source_portal(n) } else { self.cast.recipient_portal(n) })
        };
        // Several together, so that they share commits.
        let connected = built.ctx.lines.iter().map(|(name, line)| {
            let (clock, transport) = (&clock, &built.ctx.transport);
            async move {
                let portal = portal(name).context("a connection of another name")?;
                line.connect(transport, clock, &portal.to_string(), None).await.map_err(anyhow::Error::from)
            }
        });
        futures_util::stream::iter(connected).buffer_unordered(AT_ONCE).try_collect::<Vec<()>>().await?;
        built.ctx.db.close().await;
        Ok(())
    }
}

fn notice_id(source: usize) -> String {
    format!("help-{source}")
}

fn partner(name: &str, id: &str) -> String {
    format!(
        "legal_name = \"{name} B.V.\"\nkind = \"vendor\"\ncountry = \"NL\"\ndomains = [\"{id}.example\"]\ncontacts = {{ business = \"partners@{id}.example\", privacy = \"privacy@{id}.example\" }}\ncalendar = {{ zone = \"Europe/Amsterdam\" }}\nlanguages = [\"en\"]\nsigners = [\"The Director\"]\n"
    )
}
