//! Compiles `[consent]` and `[status]`.

use std::collections::BTreeSet;

use super::Compiler;
use crate::mapping::claim;
use crate::mapping::doc::{Part, meant};
use crate::mapping::file::{Back, MappingFile, OnExisting, OrName, Status};
use crate::mapping::rule::{Meaning, PROGRESS, Purpose, SHARE, StatusRules, StopTest};

impl Compiler<'_> {
    pub(super) fn consent(&mut self, file: &MappingFile) {
        let Some(consent) = &file.consent else { return };
        if let Some(given_at) = consent.given_at.as_ref().map(OrName::table) {
            let witness = given_at.history_of.is_some() || given_at.set_by_field.is_some();
            if given_at.crm.is_none() && given_at.history_of.is_none() {
                let hint = "add `crm = \"…\"`, the field with the time, or `history_of = \"…\"`";
                self.error(&["consent", "given_at"], "mapping.no_source", "`given_at` names no field", hint);
            }
            if !given_at.set_by.is_empty() && !witness {
                let hint = "add `history_of = \"…\"`, or `set_by_field = \"…\"` where the system keeps no history";
                self.error(&["consent", "given_at", "set_by"], "mapping.no_witness", "nothing tells who recorded the yes", hint);
            }
            if witness && given_at.set_by.is_empty() {
                let hint = "add `set_by = [\"FORM\"]` with the words of this system that stand for the person";
                self.error(&["consent", "given_at"], "mapping.no_person", "who counts as the person is not said", hint);
            }
        }
        for (index, stop) in consent.stop.iter().enumerate() {
            let index = index.to_string();
            let Some(field) = stop.field() else {
                let hint = "write either `crm` or `api`";
                self.error(&["consent", "stop", &index], "mapping.no_source", "an opt-out needs one source", hint);
                continue;
            };
            let blocks: BTreeSet<_> = stop.blocks.iter().copied().collect();
            self.out.stops.push(StopTest { field, is: stop.is.clone(), blocks });
        }
        for (path, field) in claim::fields(consent) {
            let path: Vec<&str> = std::iter::once("consent").chain(path.iter().map(String::as_str)).collect();
            self.uses(&field, &path, Purpose::Read);
        }
        for (key, field) in [("withdrawn_at", &consent.write_back.withdrawn_at), ("receipt", &consent.write_back.receipt)] {
            if let Some(field) = field {
                self.uses(field, &["consent", "write_back", key], Purpose::Write);
            }
        }
    }

    fn meaning(&mut self, word: &str, path: &[&str]) -> Option<Meaning> {
        let meaning = Meaning::parse(word);
        if meaning.is_none() {
            let hint = our_word(word, &Meaning::words().collect::<Vec<_>>());
            self.error(path, "mapping.unknown_status", format!("`{word}` is no progress and no share status that a recipient tells"), hint);
        }
        meaning
    }

    pub(super) fn status(&mut self, status: &Status) {
        let mut rules = StatusRules { landed: status.landed.clone(), field: status.field.clone(), ..StatusRules::default() };
        for (word, meaning) in &status.values {
            if let Some(meaning) = self.meaning(meaning, &["status", "values", word]) {
                rules.values.insert(word.clone(), meaning);
            }
        }
        for (key, given) in [("values", !status.values.is_empty()), ("landed", status.landed.is_some())] {
            if given && status.field.is_none() {
                self.error(
                    &["status", key],
                    "mapping.no_source",
                    format!("`{key}` needs the field that it is about"),
                    "add `field = \"…\"`",
                );
            }
        }
        if !status.reasons.is_empty() && status.reason.is_none() {
            self.error(&["status", "reasons"], "mapping.no_source", "`reasons` needs the field that it is about", "add `reason = \"…\"`");
        }
        if (status.on_existing == OnExisting::Listed) == status.listed.is_empty() {
            let (message, hint) = if status.listed.is_empty() {
                ("`on_existing = \"listed\"` lists nothing", "add `listed = [\"…\"]` with the fields that may be overwritten")
            } else {
                ("`listed` has no effect", "set `on_existing = \"listed\"`")
            };
            let key = if status.listed.is_empty() { "on_existing" } else { "listed" };
            self.error(&["status", key], "mapping.listed", message, hint);
        }
        for (index, when) in status.when.iter().enumerate() {
            let index = index.to_string();
            let Some(meaning) = self.meaning(&when.then, &["status", "when", &index, "then"]) else { continue };
            if when.if_.is_empty() {
                let hint = "name a field: `if = { \"deal.hs_is_closed_won\" = { is = true } }`";
                self.error(&["status", "when", &index, "if"], "mapping.no_condition", "a condition without a test always holds", hint);
            }
            for (field, test) in &when.if_ {
                let path = ["status", "when", &index, "if", field];
                let says =
                    test.is.is_some() || !test.in_.is_empty() || test.at_least.is_some() || test.at_most.is_some() || test.set.is_some();
                if !says {
                    self.error(
                        &path,
                        "mapping.no_condition",
                        "a test that asks nothing always holds",
                        "add `is`, `in`, `at_least`, `at_most` or `set`",
                    );
                }
                self.uses(field, &path, Purpose::Follow);
            }
            rules.when.push((when.if_.clone().into_iter().collect(), meaning));
        }
        let followed = [("amount", &status.amount), ("currency", &status.currency), ("reason", &status.reason)];
        for (key, field) in followed {
            if let Some(field) = field {
                self.uses(field, &["status", key], Purpose::Follow);
            }
        }
        rules.amount.clone_from(&status.amount);
        rules.currency.clone_from(&status.currency);
        rules.reason.clone_from(&status.reason);
        rules.reasons.clone_from(&status.reasons);
        if let Some(field) = &status.field {
            let keys = status.values.keys().map(|word| (word.clone(), self.doc.place(&["status", "values", word], Part::Key)));
            let landed = status.landed.iter().map(|word| (word.clone(), self.doc.place(&["status", "landed"], Part::Value)));
            let landed: Vec<_> = landed.collect();
            let words = keys.chain(landed.clone()).collect();
            if !landed.is_empty() {
                self.uses_words(field, &["status", "field"], Purpose::Write, landed, false);
            }
            self.uses_words(field, &["status", "field"], Purpose::Follow, words, false);
        }
        for (key, field) in status.back.iter().flat_map(Back::pairs) {
            let words = match key {
                "share_status" => SHARE,
                "progress" => PROGRESS,
                _ => &[],
            };
            for word in field.values.keys().filter(|word| !words.is_empty() && !words.contains(&word.as_str())) {
                let hint = our_word(word, words);
                let path = ["status", "back", key, "values", word.as_str()];
                self.error(&path, "mapping.unknown_status", format!("`{word}` is not one of our words for `{key}`"), hint);
            }
            self.uses(&field.crm, &["status", "back", key], Purpose::Write);
            rules.back.push((key, field));
        }
        self.out.status = rules;
    }
}

/// The hint for a word that is none of ours.
fn our_word(word: &str, words: &[&str]) -> String {
    match Meaning::ours(word).filter(|ours| words.contains(ours)) {
        Some(ours) => format!("we call it `{ours}`"),
        None => meant(word, words.iter().copied(), format!("known: {}", words.join(", "))),
    }
}
