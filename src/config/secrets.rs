//! Secrets from where they are: a value, a file, or a systemd credential; exactly one of them.

use std::collections::BTreeSet;
use std::path::PathBuf;

use super::sources::Sources;
use super::{Config, Secret};
use crate::errors::{Diagnostic, did_you_mean};

/// One place for a secret.
struct Slot<'a> {
    path: Vec<String>,
    value: &'a mut Option<Secret>,
    file: Option<PathBuf>,
}

fn slot<'a>(path: &[&str], value: &'a mut Option<Secret>, file: Option<&PathBuf>) -> Slot<'a> {
    Slot { path: path.iter().map(|p| (*p).to_owned()).collect(), value, file: file.cloned() }
}

/// Fills every secret that is given by file or credential.
pub(super) fn resolve(config: &mut Config, sources: &Sources) -> Vec<Diagnostic> {
    let mut problems = Vec::new();
    let credentials = credentials(sources, &mut problems);

    let ids: BTreeSet<String> = config.keys.ring.keys().chain(config.keys.ring_file.keys()).cloned().collect();
    let ids = ids.into_iter().chain(credentials.iter().filter_map(|name| name.strip_prefix("keys.ring.").map(str::to_owned)));
    let mut ring: std::collections::BTreeMap<String, Option<Secret>> = ids.map(|id| (id, None)).collect();
    for (id, key) in &config.keys.ring {
        ring.insert(id.clone(), Some(key.clone()));
    }

    let mut slots = vec![
        slot(&["server", "admin_password"], &mut config.server.admin_password, config.server.admin_password_file.as_ref()),
        slot(&["store", "url"], &mut config.store.url, config.store.url_file.as_ref()),
        slot(&["keys", "blind"], &mut config.keys.blind, config.keys.blind_file.as_ref()),
        slot(&["keys", "program"], &mut config.keys.program, config.keys.program_file.as_ref()),
        slot(&["keys", "ledger"], &mut config.keys.ledger, config.keys.ledger_file.as_ref()),
    ];
    slots.extend(ring.iter_mut().map(|(id, key)| slot(&["keys", "ring", id], key, config.keys.ring_file.get(id))));
    for (name, c) in &mut config.connections {
        let at = |key: &'static str| ["connections", name.as_str(), key];
        slots.extend([
            slot(&at("client_secret"), &mut c.client_secret, c.client_secret_file.as_ref()),
            slot(&at("key"), &mut c.key, c.key_file.as_ref()),
            slot(&at("webhook_secret"), &mut c.webhook_secret, c.webhook_secret_file.as_ref()),
            slot(&at("webhook_secret_former"), &mut c.webhook_secret_former, c.webhook_secret_former_file.as_ref()),
        ]);
    }

    let known: BTreeSet<String> = slots.iter().map(|slot| slot.path.join(".")).collect();
    for name in credentials.difference(&known).filter(|name| name.contains('.')) {
        let problem = Diagnostic::whole(&format!("credential {name}"), "config.unknown_key", "no secret goes by this name");
        problems.push(match did_you_mean(name, known.iter().map(String::as_str)) {
            Some(near) => problem.hint(format!("did you mean `{near}`?")),
            None => problem.hint("a credential is named by its path in the configuration, such as keys.blind"),
        });
    }
    for slot in slots {
        fill(slot, &credentials, sources, &mut problems);
    }
    config.keys.ring = ring.into_iter().filter_map(|(id, key)| key.map(|key| (id, key))).collect();
    problems
}

/// The names of the credentials at hand.
fn credentials(sources: &Sources, problems: &mut Vec<Diagnostic>) -> BTreeSet<String> {
    let Some(folder) = &sources.credentials else { return BTreeSet::new() };
    match std::fs::read_dir(folder) {
        Ok(entries) => entries.flatten().filter_map(|entry| entry.file_name().into_string().ok()).collect(),
        Err(e) => {
            let why = format!("the folder of credentials cannot be read: {e}");
            problems.push(Diagnostic::whole("CREDENTIALS_DIRECTORY", "config.secret_unreadable", why));
            BTreeSet::new()
        }
    }
}

fn fill(slot: Slot<'_>, credentials: &BTreeSet<String>, sources: &Sources, problems: &mut Vec<Diagnostic>) {
    let name = slot.path.join(".");
    let path: Vec<&str> = slot.path.iter().map(String::as_str).collect();
    let file_path = file_path(&slot.path);
    let file_path: Vec<&str> = file_path.iter().map(String::as_str).collect();
    let credential = sources.credentials.as_ref().filter(|_| credentials.contains(&name)).map(|folder| folder.join(&name));
    let file = slot.file.map(|file| sources.resolve(&file));

    let given: Vec<&str> = [
        slot.value.is_some().then_some("as a value"),
        file.is_some().then_some("as a file"),
        credential.is_some().then_some("as a systemd credential"),
    ]
    .into_iter()
    .flatten()
    .collect();
    if given.len() > 1 {
        let message = format!("{name} is given more than once: {}", given.join(" and "));
        problems.push(sources.at(&path, "config.secret_twice", message).hint("keep one of them"));
        return;
    }
    let place = if file.is_some() { &file_path } else { &path };
    if let Some(file) = file.or(credential) {
        match std::fs::read_to_string(&file) {
            Ok(text) => *slot.value = Some(Secret::from(text.trim_end_matches(['\n', '\r']).to_owned())),
            Err(e) => {
                let message = format!("{name} cannot be read from {}: {e}", file.display());
                problems.push(sources.at(place, "config.secret_unreadable", message).hint("let the daemon's user read the file"));
                return;
            }
        }
    }
    if slot.value.as_ref().is_some_and(|secret| secret.expose().is_empty()) {
        problems.push(sources.at(place, "config.missing", format!("{name} is empty")));
    }
}

/// Where the file of a secret is named: `keys.blind_file`, `keys.ring_file.<id>`.
fn file_path(path: &[String]) -> Vec<String> {
    let at = if path[0] == "connections" { 2 } else { 1 };
    path.iter().enumerate().map(|(i, part)| if i == at { format!("{part}_file") } else { part.clone() }).collect()
}
