//! `leadshare jobs watch`: how a backlog goes down, such as the one that a newly connected system brings.

use std::collections::BTreeMap;
use std::io::IsTerminal;

use indicatif::{MultiProgress, ProgressBar, ProgressState, ProgressStyle};
use serde_json::json;

use super::stopped;
use crate::clock::{Clock, SECOND};
use crate::errors::Result;
use crate::store::{Db, deliveries, dirty};

/// What waits at one connection.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Backlog {
    /// Records to be read.
    records: i64,
    /// Leads and news to be written.
    deliveries: i64,
}

impl Backlog {
    fn all(self) -> u64 {
        u64::try_from(self.records + self.deliveries).unwrap_or(0)
    }

    fn words(self) -> String {
        format!("{} records to read, {} deliveries to make", self.records, self.deliveries)
    }
}

async fn look(db: &Db) -> Result<BTreeMap<String, Backlog>> {
    let mut found = BTreeMap::<String, Backlog>::new();
    for (connection, count, _) in dirty::pending(db).await? {
        found.entry(connection).or_default().records += count;
    }
    for (connection, _, count, _) in deliveries::open(db).await? {
        found.entry(connection).or_default().deliveries += count;
    }
    Ok(found)
}

/// Draws a bar for each connection until nothing waits; with `json`, or without a terminal, says once what waits.
pub async fn run(db: &Db, json: bool) -> Result<bool> {
    let mut waiting = look(db).await?;
    let stopped = stopped(db).await?;
    if json {
        let rows: Vec<_> = waiting
            .iter()
            .map(|(connection, b)| json!({ "connection": connection, "records": b.records, "deliveries": b.deliveries }))
            .collect();
        out!("{}", json!({ "stopped": stopped, "waiting": rows }));
        return Ok(true);
    }
    if let Some(reason) = stopped {
        out!("Everything is stopped ({reason}): nothing goes down until `leadshare resume`.");
    }
    if !std::io::stderr().is_terminal() {
        for (connection, backlog) in &waiting {
            out!("{connection}: {}", backlog.words());
        }
    } else if !waiting.is_empty() {
        let clock = Clock::system();
        let (screen, mut bars) = (MultiProgress::new(), BTreeMap::<String, ProgressBar>::new());
        while !waiting.is_empty() {
            for (connection, backlog) in &waiting {
                let bar = bars.entry(connection.clone()).or_insert_with(|| screen.add(bar(connection)));
                bar.set_length(bar.length().unwrap_or(0).max(backlog.all()));
                bar.set_message(backlog.words());
            }
            for (connection, bar) in &bars {
                let left = waiting.get(connection).copied().unwrap_or_default();
                bar.set_position(bar.length().unwrap_or(0).saturating_sub(left.all()));
                if left == Backlog::default() {
                    bar.set_message("done");
                }
            }
            clock.sleep(SECOND).await;
            waiting = look(db).await?;
        }
        for bar in bars.values() {
            bar.set_position(bar.length().unwrap_or(0));
            bar.abandon_with_message("done");
        }
    }
    if waiting.is_empty() {
        out!("Nothing waits.");
    }
    Ok(true)
}

fn bar(connection: &str) -> ProgressBar {
    let style = ProgressStyle::with_template("  {prefix:<20} {bar:30.cyan} {percent:>3} %  {rate:>8}  {msg}");
    let rate = |state: &ProgressState, out: &mut dyn std::fmt::Write| {
        let _ = write!(out, "{:.0}/s", state.per_sec());
    };
    let style = style.unwrap_or_else(|_| ProgressStyle::default_bar()).with_key("rate", rate).progress_chars("█▉▊▋▌▍▎▏ ");
    ProgressBar::new(0).with_prefix(connection.to_owned()).with_style(style)
}
