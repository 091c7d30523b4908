//! Progress on standard error, where a terminal is there, and waiting for leads to arrive.

use std::sync::Arc;
use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};
use tokio::task::JoinHandle;
use tokio::time::Instant;

use crate::board::Board;

/// Without an arrival for so long, nothing more is waited for.
const PATIENCE: Duration = Duration::from_mins(1);

/// Says something on standard error.
pub fn say(text: &str) {
    eprintln!("{text}");
}

/// Waits until every lead that was sent has arrived; false when nothing arrives any more.
pub async fn arrived(board: &Arc<Board>, what: &str) -> bool {
    let mut last = (board.counts().arrived, Instant::now());
    loop {
        let counts = board.counts();
        if counts.arrived >= counts.sent {
            return true;
        }
        if counts.arrived != last.0 {
            last = (counts.arrived, Instant::now());
        } else if last.1.elapsed() > PATIENCE {
            say(&format!("{what}: nothing arrives any more: {counts:?}"));
            return false;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// A line that shows what arrives; hidden where standard error is no terminal.
pub struct Bar {
    bar: ProgressBar,
    task: JoinHandle<()>,
}

impl Bar {
    /// Shows a phase.
    pub fn start(board: &Arc<Board>, what: &str) -> Self {
        let bar = ProgressBar::new_spinner().with_message(what.to_owned());
        if let Ok(style) = ProgressStyle::with_template("{spinner} {msg:18} {pos:>8} arrived {per_sec:>14} {elapsed}") {
            bar.set_style(style);
        }
        let (shown, board, first) = (bar.clone(), board.clone(), board.counts().arrived);
        let task = tokio::spawn(async move {
            loop {
                shown.set_position((board.counts().arrived - first) as u64);
                tokio::time::sleep(Duration::from_millis(200)).await;
            }
        });
        Self { bar, task }
    }

    /// The phase is over.
    pub fn finish(self) {
        self.task.abort();
        self.bar.finish();
    }
}
