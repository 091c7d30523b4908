//! Compiles `[fields]`.

use std::collections::BTreeMap;

use serde_json::Value;

use super::Compiler;
use crate::mapping::doc::{Part, meant};
use crate::mapping::expr::Expr;
use crate::mapping::file::{Direction, FieldTable, MappingFile, Unmapped};
use crate::mapping::inward;
use crate::mapping::rule::{CRM, LEAD, Purpose, Rule};
use crate::mapping::transform::{self, Transform, Way};
use crate::model::field::{self, Kind};

impl Compiler<'_> {
    fn steps(&mut self, list: &[String], path: &[&str], out: bool) -> Vec<Transform> {
        let mut steps = Vec::new();
        for (index, text) in list.iter().enumerate() {
            let index = index.to_string();
            let here: Vec<&str> = path.iter().copied().chain([index.as_str()]).collect();
            match Transform::parse(text) {
                Ok(step) if out && matches!(step.way(), Way::InUndone | Way::InLossy) => {
                    self.error(&here, "mapping.wrong_way", format!("`{}` works on the way in only", step.name()), "move it to `transform`");
                }
                Ok(step) if !out && step.way() == Way::Out => {
                    self.error(
                        &here,
                        "mapping.wrong_way",
                        format!("`{}` works on the way out only", step.name()),
                        "move it to `transform_out`",
                    );
                }
                Ok(step) => steps.push(step),
                Err(no) => self.error(&here, "mapping.unknown_transform", no.message, no.hint),
            }
        }
        steps
    }

    pub(super) fn field(&mut self, lead: &str, table: &FieldTable) {
        let Some(def) = field::lookup(lead) else { return };
        let here = |key: &'static str| ["fields", lead, key];
        let transforms = self.steps(&table.transform, &here("transform"), false);
        let transforms_out = self.steps(&table.transform_out, &here("transform_out"), true);
        let lossy = transforms.iter().find(|t| t.way() == Way::InLossy);
        let direction = table.direction.unwrap_or(if table.expr.is_some() || lossy.is_some() { Direction::In } else { Direction::Both });
        let (reads, writes) = (direction != Direction::Out, direction != Direction::In);
        self.source(lead, table, direction);
        if let (Some(lossy), Direction::Both) = (lossy, direction) {
            let hint = "leave `direction` out or set it to \"in\"";
            let message = format!("`{}` cannot be undone, so this field cannot be written", lossy.name());
            self.error(&here("direction"), "mapping.one_way", message, hint);
        }
        self.one_way(lead, table, direction);
        let expr = table.expr.as_ref().and_then(|source| self.expr(lead, source, direction == Direction::Out));
        let (words, words_out) = self.words(lead, def.kind, table, &transforms, writes);
        if table.unmapped == Some(Unmapped::Keep) && !matches!(def.kind, Kind::Text | Kind::Choice) {
            let message = format!("`{lead}` cannot keep a value that is not understood");
            self.error(&here("unmapped"), "mapping.cannot_keep", message, "use \"quarantine\" or \"drop\"");
        }
        let default = table.default.as_ref().and_then(|value| self.constant(def.kind, value, &here("default")));
        let rule = Rule {
            lead: lead.to_owned(),
            kind: def.kind,
            crm: table.crm.clone(),
            expr,
            transforms,
            words,
            words_out,
            unmapped: table.unmapped,
            default,
            required: table.required,
            reads,
            writes,
            transforms_out,
            max: table.max,
        };
        self.field_uses(&rule, table);
        self.out.rules.push(rule);
    }

    /// A field has one source on the way in, and a place to go on the way out.
    fn source(&mut self, lead: &str, table: &FieldTable, direction: Direction) {
        let (key, code, message, hint) = match (&table.crm, &table.expr, direction) {
            (None, None, _) => ("", "mapping.no_source", format!("`{lead}` names no field"), "add `crm = \"…\"` or `expr = \"…\"`"),
            (Some(_), Some(_), Direction::In) => {
                let hint = "keep `crm` or `expr`; an expression names its fields itself";
                ("expr", "mapping.two_sources", format!("`{lead}` has two sources"), hint)
            }
            (_, Some(_), Direction::Both) => {
                let hint = "set `direction = \"in\"` or `direction = \"out\"`";
                ("direction", "mapping.one_way", "an expression works one way".to_owned(), hint)
            }
            (None, Some(_), Direction::Out) => {
                ("expr", "mapping.no_target", format!("`{lead}` has nowhere to go"), "add `crm = \"…\"`, the field to write")
            }
            _ => return,
        };
        self.error(&["fields", lead, key], code, message, hint);
    }

    /// Keys that have no effect in the field's direction.
    fn one_way(&mut self, lead: &str, table: &FieldTable, direction: Direction) {
        let (goes, keys) = match direction {
            Direction::Both => return,
            Direction::Out => (
                "works on the way in, and this field only goes out",
                [
                    ("transform", !table.transform.is_empty(), "use `transform_out`"),
                    ("required", table.required, "leave it out"),
                    ("default", table.default.is_some(), "use `[create]`"),
                ],
            ),
            Direction::In => (
                "works on the way out, and this field only comes in",
                [
                    ("transform_out", !table.transform_out.is_empty(), "use `transform`, or map the field both ways"),
                    ("values_out", !table.values_out.is_empty(), "leave it out, or map the field both ways"),
                    ("max", table.max.is_some(), "leave it out, or map the field both ways"),
                ],
            ),
        };
        for (key, _, hint) in keys.into_iter().filter(|(_, given, _)| *given) {
            self.error(&["fields", lead, key], "mapping.wrong_way", format!("`{key}` {goes}"), hint);
        }
    }

    fn field_uses(&mut self, rule: &Rule, table: &FieldTable) {
        let lead = rule.lead.as_str();
        let path = ["fields", lead, "crm"];
        let key = |word: &String| self.doc.place(&["fields", lead, "values", word], Part::Key);
        let read: Vec<_> = table.values.keys().map(|word| (word.clone(), key(word))).collect();
        let written = rule.words_out.iter().map(|(meaning, word)| match table.values_out.get(meaning) {
            Some(_) => (word.clone(), self.doc.place(&["fields", lead, "values_out", meaning], Part::Value)),
            None => (word.clone(), key(word)),
        });
        let written: Vec<_> = written.collect();
        let closed = !read.is_empty() && table.unmapped.unwrap_or(Unmapped::Quarantine) == Unmapped::Quarantine;
        if let Some(crm) = &rule.crm {
            if rule.reads && rule.expr.is_none() {
                self.uses_words(crm, &path, Purpose::Read, read, closed);
            }
            if rule.writes {
                self.uses_words(crm, &path, Purpose::Write, written, false);
            }
        }
        for name in rule.expr.iter().filter(|_| rule.reads).flat_map(|expr| expr.names().clone()) {
            self.uses(&name, &["fields", lead, "expr"], Purpose::Read);
        }
    }

    fn expr(&mut self, lead: &str, source: &str, out: bool) -> Option<Expr> {
        let path = ["fields", lead, "expr"];
        match Expr::compile(source, if out { LEAD } else { CRM }) {
            Ok(expr) => {
                for name in expr.names().iter().filter(|name| out && field::lookup(name).is_none()) {
                    let hint = meant(name, field::FIELDS.iter().map(|f| f.name), "on the way out an expression sees lead fields");
                    self.error(&path, "mapping.unknown_field", format!("`{name}` is not a lead field"), hint);
                }
                Some(expr)
            }
            Err(no) => {
                self.error(&path, "mapping.expression", no.message, no.hint);
                None
            }
        }
    }

    /// A constant of the file as the lead field holds it.
    fn constant(&mut self, kind: Kind, value: &Value, path: &[&str]) -> Option<Value> {
        let text = transform::plain(value).unwrap_or_default();
        match transform::normalise(kind, &text, None) {
            Ok(value) => Some(value),
            Err(why) => {
                let message = format!("`{text}` is not what `{}` holds", path[1]);
                self.error(path, "mapping.unreadable_value", message, format!("write {}", why.wanted));
                None
            }
        }
    }

    fn words(
        &mut self,
        lead: &str,
        kind: Kind,
        table: &FieldTable,
        transforms: &[Transform],
        writes: bool,
    ) -> (BTreeMap<String, Value>, BTreeMap<String, String>) {
        let mut words: BTreeMap<String, Value> = BTreeMap::new();
        let mut back: BTreeMap<String, Vec<&str>> = BTreeMap::new();
        let cleaning: Vec<Transform> = transforms.iter().filter(|t| !matches!(t, Transform::Split(_))).cloned().collect();
        for (word, meaning) in &table.values {
            let path = ["fields", lead, "values", word.as_str()];
            let Some(meaning) = self.constant(kind, meaning, &path) else { continue };
            back.entry(transform::plain(&meaning).unwrap_or_default()).or_default().push(word);
            let cleaned = inward::through(&cleaning, vec![word.clone()], None).ok().and_then(|texts| texts.into_iter().next());
            let Some(cleaned) = cleaned else {
                let message = format!("no value can ever be `{word}` after the transforms");
                self.error(
                    &path,
                    "mapping.dead_word",
                    message,
                    "write the word as the system has it, and leave out transforms that change it",
                );
                continue;
            };
            let cleaned = transform::text::trim(&cleaned);
            if words.insert(cleaned, meaning.clone()).is_some_and(|other| other != meaning) {
                let hint = "the transforms make two of the words the same; keep one of them";
                self.error(&path, "mapping.ambiguous_word", format!("`{word}` means two things"), hint);
            }
        }
        let mut words_out = table.values_out.clone();
        for meaning in table.values_out.keys() {
            let path = ["fields", lead, "values_out", meaning.as_str()];
            if let Some(held) = self.constant(kind, &Value::String(meaning.clone()), &path).and_then(|held| transform::plain(&held))
                && held != *meaning
            {
                let message = format!("`{lead}` never holds `{meaning}`");
                self.error(&path, "mapping.dead_word", message, format!("write the lead's word: `{held}`"));
            }
        }
        if table.direction == Some(Direction::Out) && !table.values.is_empty() {
            // Written backwards only: nothing to look up on the way in.
            words.clear();
        }
        for (meaning, known) in &back {
            if words_out.contains_key(meaning) {
                continue;
            }
            if let ([first, second, ..], true) = (&known[..], writes) {
                let hint = format!("say which one is written: `values_out = {{ {meaning} = \"{first}\" }}`");
                let message = format!("`{first}` and `{second}` both mean `{meaning}`");
                self.error(&["fields", lead, "values", second], "mapping.ambiguous_way_out", message, hint);
            }
            words_out.extend(known.first().map(|word| (meaning.clone(), (*word).to_owned())));
        }
        (words, words_out)
    }

    /// Two lead fields must not write the same field.
    pub(super) fn targets(&mut self, file: &MappingFile) {
        let mut taken: BTreeMap<String, String> = BTreeMap::new();
        let mut clashes = Vec::new();
        for rule in self.out.rules.iter().filter(|rule| rule.writes) {
            let Some(crm) = &rule.crm else { continue };
            if let Some(other) = taken.insert(crm.clone(), rule.lead.clone()) {
                clashes.push((rule.lead.clone(), format!("`{other}` and `{}` both write `{crm}`", rule.lead)));
            }
        }
        for (lead, message) in clashes {
            self.error(&["fields", &lead, "crm"], "mapping.same_target", message, "set `direction = \"in\"` on one of them");
        }
        if let Some(field) = file.status.as_ref().and_then(|s| s.field.as_ref().filter(|_| s.landed.is_some()))
            && let Some(lead) = taken.get(field)
        {
            let message = format!("`{lead}` and the status both write `{field}`");
            self.error(&["status", "field"], "mapping.same_target", message, format!("set `direction = \"in\"` on `{lead}`"));
        }
    }
}
