//! What a recipient's record tells, and what the sharer's record is told.

use leadshare_connectors::sdk::Fields;
use serde_json::Value;

use super::Mapping;
use super::file::Test;
use super::rule::Meaning;
use super::transform::{self, number, text};
use crate::clock::{Millis, rfc3339};
use crate::model::{Progress, ShareStatus};

/// What was seen in a followed record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StatusSeen {
    /// The progress that the record tells, when it tells one.
    pub progress: Option<Progress>,
    /// The share status that the record tells, when it tells one.
    pub share_status: Option<ShareStatus>,
    /// The system's own word.
    pub raw: Option<String>,
    /// Whether the mapping knows the word (the landed value is known).
    pub known: bool,
    /// The reason code; `other` for a reason that the mapping does not list.
    pub reason_code: Option<String>,
    /// The deal's amount as decimal text.
    pub amount: Option<String>,
    /// The amount's currency in the system's spelling.
    pub currency: Option<String>,
    /// Whether the status is no longer the value that we landed. Who moved it is for the caller to judge.
    pub moved_off_landed: bool,
}

/// News about a shared lead for the sharer's system. `None` = not to be written.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct StatusBack {
    /// Who holds the lead.
    pub share_status: Option<ShareStatus>,
    /// What became of it.
    pub progress: Option<Progress>,
    /// The recipient's name.
    pub recipient: Option<String>,
    /// Why it ended.
    pub reason_code: Option<String>,
    /// The deal's amount as decimal text.
    pub amount: Option<String>,
    /// The amount's currency.
    pub currency: Option<String>,
    /// When it happened.
    pub at: Option<Millis>,
}

impl Mapping {
    /// What a followed record tells; `None` when the mapping follows nothing or the record holds none of it.
    pub fn status_of(&self, record: &Fields) -> Option<StatusSeen> {
        let rules = &self.body.status;
        let word = |field: &Option<String>| {
            let text = text::trim(&transform::plain(record.get(field.as_ref()?)?)?);
            (!text.is_empty()).then_some(text)
        };
        let raw = word(&rules.field);
        let met = rules.when.iter().find(|(tests, _)| tests.iter().all(|(field, test)| passes(test, record.get(field))));
        let meaning = met.map(|(_, meaning)| *meaning).or_else(|| rules.values.get(raw.as_ref()?).copied());
        if meaning.is_none() && raw.is_none() {
            return None;
        }
        let landed = raw.is_some() && raw == rules.landed;
        Some(StatusSeen {
            progress: if let Some(Meaning::Progress(progress)) = meaning { Some(progress) } else { None },
            share_status: if let Some(Meaning::Share(share)) = meaning { Some(share) } else { None },
            known: landed || meaning.is_some(),
            reason_code: word(&rules.reason).map(|word| rules.reasons.get(&word).cloned().unwrap_or_else(|| "other".to_owned())),
            amount: word(&rules.amount).and_then(|text| number::decimal(&text, false)),
            currency: word(&rules.currency),
            moved_off_landed: rules.landed.is_some() && raw.is_some() && !landed,
            raw,
        })
    }

    /// Whether it names a field that news is written into.
    pub fn tells_back(&self) -> bool {
        !self.body.status.back.is_empty()
    }

    /// The sharer's fields for a piece of news, in the sharer's words.
    pub fn status_back(&self, news: &StatusBack) -> Fields {
        let value = |key: &str| match key {
            "share_status" => news.share_status.map(ShareStatus::word),
            "progress" => news.progress.map(Progress::word),
            "recipient" => news.recipient.clone(),
            "reason_code" => news.reason_code.clone(),
            "amount" => news.amount.clone(),
            "currency" => news.currency.clone(),
            _ => news.at.map(rfc3339),
        };
        let written = self.body.status.back.iter().filter_map(|(key, field)| {
            let word = value(key)?;
            let value = match field.values.get(&word) {
                Some(theirs) => theirs.clone().into(),
                None if *key == "amount" => number::decimal_json(word),
                None => word.into(),
            };
            Some((field.crm.clone(), value))
        });
        written.collect()
    }
}

fn passes(test: &Test, value: Option<&Value>) -> bool {
    let value = value.filter(|value| !transform::is_empty(value));
    let found = value.and_then(transform::plain);
    let number = || found.as_deref().and_then(|text| number::decimal(text, false)?.parse::<f64>().ok());
    let equals = |wanted: &Value| match (wanted, found.as_deref()) {
        (Value::Bool(wanted), found) => found.map_or(Some(false), number::boolean) == Some(*wanted),
        (Value::Number(wanted), Some(_)) => number() == wanted.as_f64(),
        (wanted, Some(found)) => transform::plain(wanted).is_some_and(|wanted| wanted.trim() == text::trim(found)),
        (_, None) => false,
    };
    test.is.as_ref().is_none_or(equals)
        && (test.in_.is_empty() || test.in_.iter().any(equals))
        && test.at_least.is_none_or(|least| number().is_some_and(|n| n >= least))
        && test.at_most.is_none_or(|most| number().is_some_and(|n| n <= most))
        && test.set.is_none_or(|set| set == value.is_some())
}
