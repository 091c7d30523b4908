//! What an operator sees: good files, broken files, the environment, secrets.

use std::fs;
use std::path::{Path, PathBuf};

use leadshare_connectors::sdk::Manifest;
use leadshare_connectors::sdk::manifest::Budget;
use secrecy::ExposeSecret as _;

use super::*;

const MANIFEST: &str = r#"
name = "oauthcrm"
title = "OAuth CRM"
base_url = "https://api.oauthcrm.example"
api_version = "1"
host_suffixes = ["oauthcrm.example"]
objects = ["contact"]
poll = { overlap_ms = 0, lag_ms = 0, every_ms = 1 }
read = { batch = 1 }
write = { safety = "unique_key", settle_after_ms = 1, batch = 1, marker_field = "m", needs = { general = 3 } }
auth = { kind = "oauth2", authorize_url = "https://x", token_url = "https://x", scopes = [], pkce = true, rotates = false }
[[budget]]
name = "general"
limit = 100
window_ms = 10000
[[budget]]
name = "daily"
limit = 1000
window_ms = 86400000
"#;

/// Two vendors that exist only here, so that the files under `tests/broken` do not change with real ones.
const VENDORS: Vendors = Vendors {
    names: || vec!["keycrm", "oauthcrm"],
    manifest: |name| {
        let text = match name {
            "oauthcrm" => MANIFEST.to_owned(),
            "keycrm" => {
                let auth = r#"auth = { kind = "key", scheme = "Bearer", how = "make one under Settings, API keys" }"#;
                let lines = MANIFEST.lines().filter(|line| !line.starts_with("base_url"));
                let lines: Vec<&str> = lines.map(|line| if line.starts_with("auth") { auth } else { line }).collect();
                let tenant = "tenant = \"the name of the database\"\n".to_owned();
                (tenant + &lines.join("\n")).replace("OAuth CRM", "Key CRM")
            }
            _ => return None,
        };
        Some(Manifest::parse(&text).expect("a manifest"))
    },
};

fn update() -> bool {
    std::env::var_os("UPDATE_EXPECTED").is_some()
}

fn load(path: &Path, env: &[(&str, &str)]) -> Result<Config, String> {
    let env = env.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
    let told = |problems: Vec<Diagnostic>| problems.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n");
    Config::load_for(Some(path), env, &VENDORS).map_err(told)
}

/// A folder that is removed afterwards.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("leadshare-config-{name}-{}", std::process::id()));
        fs::create_dir_all(&path).expect("a folder");
        Self(path)
    }

    fn write(&self, name: &str, text: &str) -> PathBuf {
        let path = self.0.join(name);
        fs::write(&path, text).expect("a file");
        path
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn key(byte: u8) -> String {
    Key::from_bytes([byte; 32]).to_base64().expose_secret().to_owned()
}

fn good() -> String {
    format!(
        r#"
[server]
public_url = "https://leads.example.com"
[program]
name = "northwind-program"
[keys]
active = "k1"
ring = {{ k1 = "{}" }}
blind = "{}"
program = "{}"
ledger = "{}"
[connections.north-wind]
partner = "northwind"
connector = "oauthcrm"
role = "source"
client_id = "app"
client_secret = "hush-hush"
share_from = 2026-04-01
"#,
        key(1),
        key(2),
        key(3),
        key(4)
    )
}

// Breaks when a mistake in the file is not found, is told in another place, or without what to do.
// `UPDATE_EXPECTED=1` writes the expected texts anew.
#[test]
fn broken_files_are_explained() {
    let entries = fs::read_dir("tests/broken/config").expect("the folder");
    let mut files: Vec<PathBuf> = entries.map(|entry| entry.expect("an entry").path()).collect();
    files.retain(|path| path.extension().is_some_and(|e| e == "toml"));
    files.sort();
    assert!(files.len() >= 8);
    for path in files {
        let Err(told) = load(&path, &[]) else { panic!("{} has a mistake", path.display()) };
        assert!(!told.contains("c2VjcmV0") && !told.contains("root:secret"), "a secret is shown: {told}");
        let (told, expected) = (told + "\n", path.with_extension("expected"));
        if update() {
            fs::write(&expected, &told).expect("writes");
        }
        assert_eq!(fs::read_to_string(&expected).unwrap_or_default(), told, "{}", path.display());
    }
}

// Breaks when a good file is refused, or the keys and names it makes are not those it states.
#[test]
fn a_good_file_makes_a_working_configuration() {
    let folder = Folder::new("good");
    let config = load(&folder.write("leadshare.toml", &good()), &[]).expect("loads");
    assert_eq!(config.server.listen.to_string(), "127.0.0.1:8080");
    assert_eq!(config.program.dir, folder.0.join("program"));
    assert_eq!(config.store_url().expose(), "sqlite:/var/lib/leadshare/leadshare.db");
    assert_eq!(config.vault().expect("keys").keys.active(), "k1");
    assert!(config.signer().expect("a signer").public().to_string().starts_with("leads.example.com/northwind-program+"));
    let connection = &config.connections["north-wind"];
    assert_eq!(connection.share_from.map(Day::start), Some(1_775_001_600_000));
    assert_eq!(connection.client_secret.as_ref().map(Secret::expose), Some("hush-hush"));
}

// Breaks when checkpoints signed before the key was changed cannot be verified any more.
#[test]
fn former_keys_still_verify() {
    let folder = Folder::new("former");
    let before = load(&folder.write("a.toml", &good()), &[]).expect("loads").signer().expect("a signer").public();
    let now = good().replace(&key(4), &key(5)) + &format!("[ledger]\nformer_keys = [\"{before}\"]\n");
    let keys = load(&folder.write("b.toml", &now), &[]).expect("loads").ledger_keys().expect("keys");
    assert_eq!(keys.len(), 2);
    assert!(keys[0] != before && keys[1] == before);
}

// Breaks when printing the configuration would print a secret.
#[test]
fn debug_shows_no_secret() {
    let folder = Folder::new("debug");
    let text = good().replace("[program]", "[store]\nurl = \"postgres://u:hush-hush@db/leads\"\n[program]");
    let shown = format!("{:?}", load(&folder.write("leadshare.toml", &text), &[]).expect("loads"));
    for secret in ["hush-hush".to_owned(), key(1), key(2), key(3), key(4)] {
        assert!(!shown.contains(&secret), "{shown}");
    }
    assert!(shown.contains("client_id: Some(\"app\")"), "{shown}");
}

// Breaks when a variable does not win over the file, does not reach a name with `-`, or is read as a number.
#[test]
fn the_environment_wins_over_the_file() {
    let folder = Folder::new("env");
    let env = [
        ("LEADSHARE_SERVER__LISTEN", "0.0.0.0:9999"),
        ("LEADSHARE_CONNECTIONS__NORTH_WIND__CLIENT_SECRET", "0012"),
        ("LEADSHARE_CONNECTIONS__NORTH_WIND__DANGEROUSLY_ALLOW_NETWORKS", "10.0.0.0/8, 127.0.0.0/8"),
        ("LEADSHARE_CONNECTIONS__NORTH_WIND__ROLE", "both"),
        ("LEADSHARE_CONNECTIONS__NORTH_WIND__PAUSED", "true"),
        ("LEADSHARE_CONNECTIONS__NORTH_WIND__SHARE_FROM", "2026-05-01"),
        ("LEADSHARE_RETRY__SCHEDULE", "1s,2m"),
        ("LEADSHARE_RETRY__JITTER", "0"),
        ("LEADSHARE_CONFIG", "/etc/leadshare/leadshare.toml"),
        ("PATH", "/bin"),
    ];
    let config = load(&folder.write("leadshare.toml", &good()), &env).expect("loads");
    assert_eq!(config.server.listen.port(), 9999);
    assert_eq!(config.retry.schedule, [Period::seconds(1), Period::minutes(2)]);
    assert_eq!(config.retry.jitter, 0);
    let connection = &config.connections["north-wind"];
    assert_eq!(connection.client_secret.as_ref().map(Secret::expose), Some("0012"));
    assert_eq!(connection.dangerously_allow_networks.len(), 2);
    assert!(connection.paused && connection.role().receives());
    assert_eq!(connection.share_from.map(Day::start), Some(1_777_593_600_000));
    assert_eq!(config.connections.len(), 1);
}

// Breaks when a mistake in a variable is blamed on the file, or a secret in it is shown.
#[test]
fn a_wrong_variable_is_named() {
    let folder = Folder::new("env-wrong");
    let path = folder.write("leadshare.toml", &good());
    for (name, value, why) in [
        ("LEADSHARE_SERVER__LISTEN", "hush-hush", "socket address"),
        ("LEADSHARE_SERVER__LISTN", "x", "did you mean `listen`?"),
        ("LEADSHARE_SERVERS__LISTEN", "x", "did you mean `server`?"),
        ("LEADSHARE_RETRY__JITTER", "hush-hush", "config.wrong_type"),
        ("LEADSHARE_KEYS__RING", "hush-hush", "config.wrong_type"),
        ("LEADSHARE_CONNECTIONS__NORTH_WIND__ROLE", "sorce", "source, recipient, both"),
        ("LEADSHARE_CONNECTIONS__NORTH_WIND__BASE_URL", "hush-hush", "https://leads.example.com"),
    ] {
        let Err(told) = load(&path, &[(name, value)]) else { panic!("{name} is wrong") };
        assert!(told.starts_with(&format!("{name}: error[")) && told.contains(why), "{told}");
        assert!(!told.contains("hush-hush"), "{told}");
    }
}

// Breaks when secrets cannot come from files or systemd credentials, or a trailing newline spoils them.
#[test]
fn secrets_come_from_files_and_credentials() {
    let folder = Folder::new("secrets");
    let file = good()
        .replace(&format!("blind = \"{}\"", key(2)), "blind_file = \"blind.key\"")
        .replace(&format!("ring = {{ k1 = \"{}\" }}", key(1)), "")
        .replace("client_secret = \"hush-hush\"", "");
    let path = folder.write("leadshare.toml", &file);
    folder.write("blind.key", &(key(2) + "\n"));
    let credentials = Folder::new("credentials");
    credentials.write("keys.ring.k1", &key(1));
    credentials.write("connections.north-wind.client_secret", "from systemd\n");
    let directory = credentials.0.display().to_string();
    let env = [("CREDENTIALS_DIRECTORY", directory.as_str())];

    let config = load(&path, &env).expect("loads");
    assert_eq!(config.keys.blind.as_ref().map(Secret::expose), Some(key(2).as_str()));
    assert_eq!(config.connections["north-wind"].client_secret.as_ref().map(Secret::expose), Some("from systemd"));
    assert_eq!(config.vault().expect("keys").keys.active(), "k1");

    credentials.write("keys.blind", &key(2));
    credentials.write("connections.north-wind.client_sekret", "x");
    let told = load(&path, &env).expect_err("twice");
    assert!(told.contains("keys.blind is given more than once: as a file and as a systemd credential"), "{told}");
    assert!(told.contains("did you mean `connections.north-wind.client_secret`?"), "{told}");
}

// Breaks when what the operator promised a partner is not what may be spent.
#[test]
fn budgets_follow_the_operator() {
    let folder = Folder::new("budgets");
    let more = "share_of_budget = 10\n\
        [connections.north-wind.budgets]\ndaily = { limit = 500 }\nsearch = { limit = 5, window = \"1s\" }\n";
    let config = load(&folder.write("leadshare.toml", &(good() + more)), &[]).expect("loads");
    let manifest = (VENDORS.manifest)("oauthcrm").expect("known");
    let limits =
        |budgets: Vec<Budget>| -> Vec<(String, u32, i64)> { budgets.into_iter().map(|b| (b.name, b.limit, b.window_ms)).collect() };
    let connection = &config.connections["north-wind"];
    let all = [("general".to_owned(), 100, 10_000), ("daily".to_owned(), 500, 86_400_000), ("search".to_owned(), 5, 1_000)];
    assert_eq!(limits(connection.budgets(&manifest)), all);
    assert_eq!(connection.share_of_budget, Some(10));
}

// Breaks when an operator leaves an account less than one write takes, and learns only from deliveries that never end.
#[test]
fn a_budget_gives_one_write_at_least() {
    let folder = Folder::new("small-budgets");
    let said_of = |role: &str, more: &str| {
        let text = good().replace("role = \"source\"", &format!("role = \"{role}\"")) + more;
        load(&folder.write("leadshare.toml", &text), &[]).err().unwrap_or_default()
    };
    let said = |more: &str| said_of("both", more);
    let told = said("[connections.north-wind.budgets]\ngeneral = { limit = 2 }\n");
    assert!(told.contains("2 of `general` are ours, and one write to OAuth CRM takes 3"), "{told}");
    assert!(told.contains("leadshare.toml:") && told.contains("a larger limit"), "{told}");
    let told = said("share_of_budget = 2\n");
    assert!(told.contains("2 of `general` are ours"), "{told}");
    assert_eq!(said("share_of_budget = 3\n"), "");
    assert_eq!(said("[connections.north-wind.budgets]\ngeneral = { limit = 2, window = \"1s\" }\n"), "");
    // Many a source is only read.
    assert_eq!(said_of("source", "share_of_budget = 2\n"), "");
}

// Breaks when editors complete from another form than the one that is read.
// `UPDATE_EXPECTED=1` writes the schema anew.
#[test]
fn the_schema_is_current() {
    let path = "docs/config.schema.json";
    if update() {
        fs::write(path, schema()).expect("writes");
    }
    assert!(fs::read_to_string(path).unwrap_or_default() == schema(), "run the tests with UPDATE_EXPECTED=1 and commit {path}");
}

// Breaks when the example that operators start from is refused with the credentials of the example
// unit, or what it shows as a default is not the default.
#[test]
fn the_example_file_loads() {
    let path = Path::new("systemd/leadshare.toml");
    let folder = Folder::new("example");
    let unit = fs::read_to_string("systemd/leadshare.service").expect("the unit");
    for (i, name) in unit.lines().filter_map(|line| line.strip_prefix("LoadCredential=")?.split(':').next()).enumerate() {
        folder.write(name, &key(i as u8));
    }
    let load = |path: &Path| {
        let env = [("CREDENTIALS_DIRECTORY".to_owned(), folder.0.display().to_string())];
        Config::load(Some(path), env.into_iter()).unwrap_or_else(|problems| panic!("{problems:?}"))
    };
    let example = load(path);

    let spell_out = |line: &str| match line.strip_prefix('#') {
        Some(key) if key.starts_with(|c: char| c.is_ascii_lowercase()) => key.to_owned(),
        _ => line.to_owned(),
    };
    let text = fs::read_to_string(path).expect("the example");
    let spelt_out: Vec<String> = text.lines().map(spell_out).collect();
    assert!(spelt_out.iter().filter(|line| !text.contains(&format!("\n{line}\n"))).count() >= 12);
    let other = Folder::new("example-spelt-out");
    let spelt_out = load(&other.write("leadshare.toml", &spelt_out.join("\n")));
    let told = |c: &Config| {
        let names = (c.store_url().expose().to_owned(), c.origin(), c.program.dir.file_name(), c.program.mappings_dir.file_name());
        format!("{names:?} {:?}", (&c.server, &c.store.data_dir, &c.ledger.former_keys, &c.limits, &c.retry, &c.retention, &c.log))
    };
    assert_eq!(told(&example), told(&spelt_out));
}
