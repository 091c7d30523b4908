//! `leadshare demo`.

use std::io::IsTerminal;
use std::path::PathBuf;

use crate::clock::Clock;
use crate::config::Log;
use crate::demo::{self, Options};
use crate::errors::{Error, Result};
use crate::telemetry;

/// Runs the demo; with `--once` the exit code tells whether every lead came to its end.
pub async fn demo(once: bool, leads: usize, data: Option<PathBuf>, json: bool) -> Result<bool> {
    // Trouble is told in words; everything else the bars show.
    telemetry::init(&Log { filter: "warn".into(), ..Log::default() })?;
    let kept = data.is_some();
    let dir = match data {
        Some(dir) => dir,
        None => std::env::temp_dir().join(format!("leadshare-demo-{}", Clock::system().id())),
    };
    std::fs::create_dir_all(&dir).map_err(|e| Error::System(format!("{}: {e}", dir.display())))?;
    // The folder holds keys beside data, which only a demo may: nobody else looks in.
    let _ = std::fs::set_permissions(&dir, std::os::unix::fs::PermissionsExt::from_mode(0o700));
    if kept && dir.join("leadshare.db").exists() {
        return Err(Error::BadRequest(format!("{} holds a demo already: give another folder, or remove it", dir.display())));
    }
    let options = Options { leads, dir: dir.clone(), once, show: !json && std::io::stderr().is_terminal(), say: !json };
    let figures = demo::run(&options, &|_, text| text.to_owned()).await;
    if kept {
        if !json {
            eprintln!("Try: leadshare --config {} lead show --list", dir.join("leadshare.toml").display());
        }
    } else {
        // The folder is ours alone; what cannot be removed is left to the system's cleaning.
        let _ = std::fs::remove_dir_all(&dir);
    }
    let figures = figures?;
    if json {
        out!("{}", serde_json::to_string(&figures).map_err(|_| Error::Unreadable { what: "the figures".into() })?);
    }
    Ok(figures.duplicates_at_recipients == 0 && figures.left_without_consent == 0)
}
