//! `leadshare lead show`: the whole trace of one lead, in words that need no further question.

use serde_json::{Value, json};

use super::{open, open_with_keys};
use crate::clock::{Clock, Millis, rfc3339};
use crate::config::Config;
use crate::decide;
use crate::errors::{Error, Result, did_you_mean};
use crate::model::decision::Decision;
use crate::model::{ChangeOutcome, Waiting, reason_words};
use crate::people;
use crate::program::Program;
use crate::publish;
use crate::store::views::{self, Before};
use crate::store::{Db, leads, waits};

/// What can be done with leads.
#[derive(Debug, clap::Subcommand)]
pub enum Command {
    /// Shows everything that happened to one lead, and why.
    Show {
        /// Our id of the lead, the id of its record at the source, or the person's e-mail address.
        #[arg(conflicts_with = "list")]
        lead: Option<String>,
        /// Lists the newest leads instead.
        #[arg(long)]
        list: bool,
        /// Lists only changes that ended so, such as `no_consent`.
        #[arg(long, requires = "list")]
        outcome: Option<String>,
    },
}

/// Does it.
pub async fn run(command: Command, config: &Config, json: bool) -> Result<bool> {
    let Command::Show { lead, list, outcome } = command;
    let db = open(config).await?;
    match lead {
        Some(wanted) if !list => show(&db, config, &wanted, json).await,
        None if !list => Err(Error::BadRequest("name a lead, or ask for --list".into())),
        _ => newest(&db, outcome.as_deref().unwrap_or_default(), json).await,
    }
}

async fn newest(db: &Db, outcome: &str, json: bool) -> Result<bool> {
    if !outcome.is_empty() && ChangeOutcome::parse(outcome).is_none() {
        let words = ChangeOutcome::ALL.map(ChangeOutcome::word);
        let near = did_you_mean(outcome, words.iter().map(String::as_str)).map(|near| format!("did you mean {near}? ")).unwrap_or_default();
        return Err(Error::BadRequest(format!("no change ends as {outcome:?}: {near}there are {}", words.join(", "))));
    }
    let from = Before { at: Clock::system().now() + 1, id: String::new() };
    let changes = views::changes(db, &from, outcome, 40).await?;
    if json {
        let rows: Vec<Value> = changes.iter().map(|c| json!({ "at": rfc3339(c.ended_at), "connection": c.connection, "record": c.remote_id, "outcome": c.outcome, "reason": c.reason, "lead": c.lead })).collect();
        out!("{}", json!({ "changes": rows }));
        return Ok(true);
    }
    if changes.is_empty() && outcome.is_empty() {
        out!("Nothing has been taken in yet.");
    } else if changes.is_empty() {
        out!("No change that is still kept ended as {outcome}.");
    }
    for c in changes {
        out!(
            "{}  {:<12} {:<18} {:<11} {:<36}  {}",
            at(c.ended_at),
            c.connection,
            c.remote_id,
            c.outcome,
            c.lead.unwrap_or_default(),
            reason_words(&c.reason)
        );
    }
    Ok(true)
}

async fn show(db: &Db, config: &Config, wanted: &str, json: bool) -> Result<bool> {
    let found = if let Some(lead) = leads::one(db, wanted).await? {
        Some(lead)
    } else if wanted.contains('@') {
        // The address is hashed as it was when the lead came; nothing is searched in clear.
        let hashes = people::hashes(&open_with_keys(config).await?.1, &people::known_as(wanted)?);
        leads::by_identity(db, hashes.identity.as_deref().unwrap_or_default()).await?
    } else {
        leads::by_record(db, wanted).await?
    };
    let Some(lead) = found else {
        return refused_before_it_was_one(db, wanted).await;
    };
    let changes = views::changes_of(db, &lead.id).await?;
    let decisions = views::decisions_of(db, &lead.id).await?;
    let shares = views::shares_of_lead(db, &lead.id).await?;
    let events = views::events_of(db, &lead.id).await?;
    let deliveries = views::deliveries_of(db, &lead.id).await?;
    let attempts = views::attempts_of(db, &lead.id).await?;
    let consents = views::consents_of(db, &lead.id).await?;
    let rules = publish::in_force(db).await?;
    let waits = waits_of(db, &lead.remote_id, Some((&lead.connection, &lead.object))).await?;
    if json {
        let decided: Vec<Value> = decisions
            .iter()
            .map(|d| json!({ "id": d.0, "at": rfc3339(d.1), "decision": serde_json::from_str::<Value>(&d.4).unwrap_or_default() }))
            .collect();
        let moved: Vec<Value> = events
            .iter()
            .map(|e| json!({ "share": e.0, "at": rfc3339(e.1), "status": e.2, "progress": e.3, "reason": e.4, "said_by": e.5 }))
            .collect();
        let ways: Vec<Value> = deliveries
            .iter()
            .map(|d| json!({ "share": d.0, "way": d.1, "state": d.2, "wanted": d.3, "done": d.4, "error": d.7 }))
            .collect();
        let taken: Vec<Value> = changes
            .iter()
            .map(|c| json!({ "at": rfc3339(c.ended_at), "outcome": c.outcome, "reason": c.reason, "hints": c.hints }))
            .collect();
        let waiting: Vec<Value> =
            waits.iter().map(|w| json!({ "for": w.what.word(), "since": rfc3339(w.since), "told": told(&rules.program, w) })).collect();
        out!(
            "{}",
            json!({ "lead": lead.id, "source": lead.partner, "connection": lead.connection, "record": lead.remote_id, "changes": taken, "decisions": decided, "events": moved, "deliveries": ways, "waits": waiting })
        );
        return Ok(true);
    }
    out!("Lead {}", lead.id);
    out!(
        "  shared by {} through {} ({} {}), first taken in {}, last changed {}",
        lead.partner,
        lead.connection,
        lead.object,
        lead.remote_id,
        at(lead.taken_at),
        at(lead.updated_at)
    );
    out!("\nWhat was taken in");
    for c in changes.iter().rev() {
        let folded = if c.hints > 1 { format!(" ({} hints)", c.hints) } else { String::new() };
        out!("  {}  {:<11} {}{folded}", at(c.ended_at), c.outcome, reason_words(&c.reason));
    }
    for w in &waits {
        out!("\nIt {}, since {}", told(&rules.program, w), at(w.since));
    }
    for d in decisions.iter().take(3) {
        out!("\nDecided {}", at(d.1));
        match serde_json::from_str::<Decision>(&d.4) {
            Ok(decision) => out!("{}", indent(&decide::explain(&decision))),
            Err(_) => out!("  {}: {} (written by another version)", d.2, d.3),
        }
    }
    for share in &shares {
        out!("\nShared with {} under {}", share.recipient, share.agreement);
        if let Some(remote) = &share.remote_id {
            out!("  there it is record {remote} on {} ({})", share.connection, share.made.as_deref().unwrap_or("unknown"));
        }
        for (_, permits, ..) in consents.iter().filter(|c| c.0 == share.id) {
            let permits: Vec<(String, Option<String>)> = serde_json::from_str(permits).unwrap_or_default();
            for (purpose, channel) in permits {
                out!("  proof kept: {purpose}{}", channel.map(|c| format!(" by {c}")).unwrap_or_default());
            }
        }
        for event in events.iter().filter(|e| e.0 == share.id) {
            let reason = event.4.as_ref().map(|r| format!(" because {r}")).unwrap_or_default();
            out!("  {}  {} / {}{reason}  (said by {})", at(event.1), event.2, event.3, event.5);
        }
        for d in deliveries.iter().filter(|d| d.0 == share.id) {
            let to = if d.1 == "out" { "to the recipient" } else { "news to the sharer" };
            let state = match (d.2.as_str(), d.3 > d.4) {
                ("open", true) => format!("waits until {}{}", at(d.5), d.7.as_ref().map(|e| format!(" ({e})")).unwrap_or_default()),
                ("open", false) => "up to date".to_owned(),
                (state, _) => format!("{state}{}", d.7.as_ref().map(|e| format!(": {e}")).unwrap_or_default()),
            };
            out!("  delivery {to}: version {} of {}, {state}", d.4, d.3);
        }
        for a in attempts.iter().rev().filter(|a| a.0 == share.id) {
            let code = a.6.as_ref().map(|c| format!(" ({c})")).unwrap_or_default();
            out!("  {}  tried {} version {}: {}{code}, {} ms", at(a.3), a.1, a.2, a.5, a.4);
        }
    }
    if shares.is_empty() {
        out!("\nIt was not shared.");
    }
    Ok(true)
}

/// A record that never became a lead, or whose lead was forgotten, has changes only.
async fn refused_before_it_was_one(db: &Db, record: &str) -> Result<bool> {
    let changes = views::changes_of_record(db, record).await?;
    let waits = waits_of(db, record, None).await?;
    if changes.is_empty() && waits.is_empty() {
        return Err(Error::NotFound("no lead goes by that id, record or address; `leadshare lead show --list` shows the newest".into()));
    }
    if changes.iter().any(|c| c.lead.is_some()) {
        out!("Of record {record} nothing was ever shared: its lead was forgotten.");
    } else {
        out!("Record {record} never became a lead.");
    }
    for c in changes {
        out!("  {}  {}: {:<11} {}", at(c.ended_at), c.connection, c.outcome, reason_words(&c.reason));
    }
    let rules = publish::in_force(db).await?;
    for w in waits {
        out!("It {}, since {}", told(&rules.program, &w), at(w.since));
    }
    Ok(true)
}

/// What a record waits for, on one connection and object or on any.
async fn waits_of(db: &Db, record: &str, on: Option<(&str, &str)>) -> Result<Vec<Waiting>> {
    let rows = waits::of_record(db, record).await?.into_iter();
    let rows = rows.filter(|row| on.is_none_or(|on| on == (row.0.as_str(), row.1.as_str())));
    Ok(rows.filter_map(|(_, _, what, since, look_at)| Waiting::read(&what, since, look_at)).collect())
}

fn told(program: &Program, waiting: &Waiting) -> String {
    let now = Clock::system().now();
    waiting.told(now, |agreement| program.begins(agreement, now))
}

fn at(time: Millis) -> String {
    rfc3339(time - time.rem_euclid(1_000)).replace('T', " ")
}

fn indent(text: &str) -> String {
    text.lines().map(|line| if line.is_empty() { String::new() } else { format!("  {line}") }).collect::<Vec<_>>().join("\n")
}
