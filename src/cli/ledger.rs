//! `leadshare ledger verify`.

use std::path::{Path, PathBuf};

use indicatif::ProgressBar;

use super::open;
use crate::config::Config;
use crate::errors::{Error, Result};
use crate::ledger::{Checkpoint, PublicKey};
use crate::sealer;
use crate::store::ledger;

/// What can be done with the ledger.
#[derive(Debug, clap::Subcommand)]
pub enum Command {
    /// Reads every entry again and says whether anything was altered, removed, reordered or cut.
    Verify {
        /// Checkpoints that were kept outside this machine: they find what a rewritten store would hide.
        #[arg(long = "checkpoint")]
        checkpoints: Vec<PathBuf>,
    },
    /// Prints the newest checkpoint, to be kept outside.
    Checkpoint,
    /// Prints the public key that checkpoints are verified with.
    Key,
}

/// Does it.
pub async fn run(command: Command, config: &Config, json: bool) -> Result<bool> {
    match command {
        Command::Key => {
            out!("{}", config.signer()?.public());
            Ok(true)
        }
        Command::Checkpoint => {
            let newest = ledger::checkpoints(&open(config).await?)
                .await?
                .pop()
                .ok_or_else(|| Error::NotFound("nothing has been sealed yet".into()))?;
            super::print(&newest);
            Ok(true)
        }
        Command::Verify { checkpoints } => {
            let keys = config.ledger_keys()?;
            let outside = checkpoints.iter().map(|path| read(path, &keys)).collect::<Result<Vec<String>>>()?;
            let db = open(config).await?;
            let bar = if json { ProgressBar::hidden() } else { ProgressBar::new_spinner() };
            let report = sealer::verify(&db, &outside, &keys, |n| bar.set_message(format!("{n} entries"))).await?;
            bar.finish_and_clear();
            if json {
                out!("{}", serde_json::to_string(&report).unwrap_or_default());
                return Ok(report.ok());
            }
            out!("{} sealed entries read, {} not sealed yet, {} checkpoints fit.", report.sealed, report.unsealed, report.checkpoints);
            for problem in &report.problems {
                out!("NO {problem}");
            }
            if report.more > 0 {
                out!("NO and {} more", report.more);
            }
            out!(
                "{}",
                if report.ok() {
                    "Nothing was altered, removed, reordered or cut."
                } else {
                    "The ledger is not what was sealed: do not go on before you know why."
                }
            );
            Ok(report.ok())
        }
    }
}

/// A checkpoint of this ledger in a file. One whose signature is wrong is read all the same: that is what verifying tells.
fn read(path: &Path, keys: &[PublicKey]) -> Result<String> {
    let wrong = |why: &dyn std::fmt::Display| Error::BadRequest(format!("{}: {why}", path.display()));
    let text = std::fs::read_to_string(path).map_err(|e| wrong(&e))?;
    // Mail and editors end lines in their own way.
    let text = format!("{}\n", text.replace("\r\n", "\n").trim_end());
    let Some(checkpoint) = Checkpoint::unverified(&text) else {
        return Err(wrong(&"this is not a checkpoint: give a file that `leadshare ledger checkpoint` printed"));
    };
    if let Some(own) = keys.first().filter(|_| !keys.iter().any(|key| key.name() == checkpoint.origin)) {
        let of = format!("this is a checkpoint of the ledger {}, and this ledger is {} (ledger.origin)", checkpoint.origin, own.name());
        return Err(wrong(&of));
    }
    Ok(text)
}
