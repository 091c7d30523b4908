//! `leadshare check`: everything that can be found before the daemon runs.

use std::path::Path;

use super::{build, report, stopped};
use crate::config::Config;
use crate::errors::{Diagnostic, Result};
use crate::publish;
use crate::store::connections;
use crate::{oauth, summary};

/// Checks files, and connections when asked to.
pub async fn check(path: &Path, ask: bool, json: bool) -> Result<bool> {
    let config = match Config::load(Some(path), std::env::vars()) {
        Ok(config) => config,
        Err(found) => {
            report(&found, json);
            return Ok(false);
        }
    };
    let mut found = publish::read(&publish::Places::from(&config)).diagnostics;
    let no_folder = |folder: &Path, hint: &str| {
        Diagnostic::whole(&folder.display().to_string(), "config.no_folder", "there is no such folder").hint(hint)
    };
    let url = config.store_url();
    let folder = url.expose().strip_prefix("sqlite:").and_then(|path| Path::new(path).parent()).filter(|f| !f.as_os_str().is_empty());
    if let Some(folder) = folder.filter(|folder| !folder.is_dir()) {
        found.push(no_folder(folder, "make it: the database lies there"));
    } else if !config.store.data_dir.is_dir() {
        found.push(no_folder(&config.store.data_dir, "make it, or set store.data_dir: renewed tokens are kept there first").warning());
    }
    let mut well = report(&found, json && !ask);
    if ask && json && !well {
        out!("{}", serde_json::json!({ "diagnostics": found, "connections": [] }));
    }
    if ask && well {
        let ctx = build(&config).await?.ctx;
        let mut all = Vec::new();
        if let Some(reason) = stopped(&ctx.db).await?.filter(|_| !json) {
            out!("Everything is stopped ({reason}): nothing is read or delivered until `leadshare resume`.");
        }
        for (name, line) in ctx.lines.iter() {
            let state = connections::one(&ctx.db, name).await?.map_or_else(|| "new".to_owned(), |c| c.state);
            if state != "connected" {
                well &= state == "paused";
                if !json {
                    out!("{name}: {state}: run `leadshare connect {name}`");
                }
                all.push(serde_json::json!({ "connection": name, "state": state }));
                continue;
            }
            let needs = summary::needs(&ctx, line);
            if needs.is_empty() {
                if !json {
                    out!("{name}: not asked: it has no mapping");
                }
                all.push(serde_json::json!({ "connection": name, "state": "no mapping" }));
            }
            for needs in needs {
                let findings = match oauth::check::check(&ctx, name, &needs).await {
                    Ok(findings) => findings,
                    // The others are asked all the same.
                    Err(error) => {
                        well = false;
                        if !json {
                            out!("{name}: NO {error}");
                        }
                        all.push(serde_json::json!({ "connection": name, "error": error.to_string() }));
                        continue;
                    }
                };
                for finding in findings {
                    well &= finding.ok;
                    if !json {
                        out!("{name}: {} {}", if finding.ok { "ok" } else { "NO" }, finding.what);
                        if let Some(fix) = finding.fix.as_ref().filter(|_| !finding.ok) {
                            out!("    {fix}");
                        }
                    }
                    all.push(serde_json::json!({ "connection": name, "finding": finding }));
                }
            }
        }
        if json {
            out!("{}", serde_json::json!({ "diagnostics": found, "connections": all }));
        }
    } else if well && !json {
        let said = match found.len() {
            0 => "All is well".to_owned(),
            1 => "No error, one warning".to_owned(),
            n => format!("No error, {n} warnings"),
        };
        let connections = match config.connections.len() {
            1 => "1 connection".to_owned(),
            n => format!("{n} connections"),
        };
        out!("{said}: {connections}, program {:?}.", config.program.name);
    }
    Ok(well)
}
