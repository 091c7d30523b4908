//! From the written file to a compiled mapping: every check that needs more than the file's shape.

mod blocks;
mod fields;

use super::doc::{Doc, Part, meant};
use super::examples;
use super::file::MappingFile;
use super::rule::{Purpose, Rule, StatusRules, StopTest, Use};
use super::transform;
use crate::errors::Diagnostic;

/// The compiled parts of a mapping.
#[derive(Default)]
pub(super) struct Compiled {
    pub rules: Vec<Rule>,
    pub stops: Vec<StopTest>,
    pub status: StatusRules,
    pub uses: Vec<Use>,
}

/// Checks and compiles; errors go to `found`, and what could be compiled comes back all the same.
pub(super) struct Compiler<'d> {
    doc: &'d Doc<'d>,
    found: Vec<Diagnostic>,
    out: Compiled,
}

impl<'d> Compiler<'d> {
    pub fn run(doc: &'d Doc<'d>, file: &MappingFile) -> (Compiled, Vec<Diagnostic>) {
        let mut this = Self { doc, found: Vec::new(), out: Compiled::default() };
        this.connector(file);
        for (lead, rule) in &file.fields {
            this.field(lead, &rule.table());
        }
        // The country decides how phones and states are read, so it comes first.
        this.out.rules.sort_by_key(|rule| (rule.lead != "country", rule.lead.clone()));
        this.targets(file);
        for (crm, value) in &file.create {
            let word = transform::plain(value).map(|word| (word, doc.place(&["create", crm], Part::Value)));
            this.uses_words(crm, &["create", crm], Purpose::Write, word.into_iter().collect(), false);
        }
        for crm in file.selection.keys() {
            this.uses(crm, &["selection", crm], Purpose::Read);
        }
        this.consent(file);
        if let Some(status) = &file.status {
            this.status(status);
        }
        examples::check(file, doc, &mut this.found);
        (this.out, this.found)
    }

    fn error(&mut self, path: &[&str], code: &'static str, message: impl Into<String>, hint: impl Into<String>) {
        self.found.push(self.doc.error(path, Part::Value, code, message).hint(hint));
    }

    fn uses(&mut self, crm: &str, path: &[&str], purpose: Purpose) {
        self.uses_words(crm, path, purpose, Vec::new(), false);
    }

    /// `closed`: a word of the field that is not among these stops the record.
    fn uses_words(&mut self, crm: &str, path: &[&str], purpose: Purpose, words: Vec<(String, (usize, usize))>, closed: bool) {
        let at = self.doc.place(path, Part::Value);
        self.out.uses.push(Use { crm: crm.to_owned(), at, purpose, words, closed });
    }

    fn connector(&mut self, file: &MappingFile) {
        if leadshare_connectors::by_name(&file.connector).is_none() {
            let known: Vec<&str> = leadshare_connectors::all().iter().map(|entry| entry.name).collect();
            let otherwise = format!("known: {}", known.join(", "));
            let hint = meant(&file.connector, known, otherwise);
            self.error(&["connector"], "mapping.unknown_connector", format!("there is no connector `{}`", file.connector), hint);
        }
    }
}
