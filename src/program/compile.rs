//! The program as a whole: every file against the others, and which agreements may share.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use sha2::{Digest, Sha256};

use super::term::{self, Periods, Window};
use super::{
    Expr, FileKind, List, Notice, Parsed, Partner, ProgramFile, list_name, message_name, place, reader::Tree, signatories, unsigned,
};
use crate::clock::{Millis, rfc3339};
use crate::errors::{Diagnostic, Severity, did_you_mean};
use crate::kept::Kept;
use crate::model::agreement::{Agreement, Conditions, EndOf, Party, Scalar, Side, Signatory};

/// A value with the hash of the file that it came from.
#[derive(Debug, Clone, PartialEq)]
pub struct Versioned<T> {
    /// The file's hash.
    pub hash: String,
    /// The value.
    pub value: T,
}

/// Whether an agreement may share at all, its dates aside.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum State {
    /// Signed by everybody over these terms.
    Signed,
    /// Not signed yet.
    Pending(String),
    /// It clashes with another file.
    Refused(String),
}

/// An agreement, ready for deciding.
#[derive(Debug, Clone)]
pub struct Entry {
    /// The file's hash: the version that decisions name.
    pub version: String,
    /// The hash of the signed part.
    pub terms: String,
    /// The agreement; read when it is asked for.
    pub agreement: Kept<Agreement>,
    /// Whether it may share at all.
    pub state: State,
    /// The checked expression of clause 2.
    pub expression: Option<Expr>,
    id: String,
    source: String,
    recipient: String,
    /// When the last signature was made; `None` for drafts.
    signed_at: Option<jiff::Timestamp>,
    periods: Periods,
}

impl Entry {
    /// The agreement's id.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// The source partner.
    pub fn source(&self) -> &str {
        &self.source
    }

    /// The recipient partner.
    pub fn recipient(&self) -> &str {
        &self.recipient
    }

    /// The signed period and its renewals.
    pub fn windows(&self) -> &[Window] {
        &self.periods.windows
    }

    /// Whether leads that the recipient has go on being worked on, though nothing new is shared: a suspension stops new
    /// leads only, and accepted ones are finished after the end where clause 5 says so.
    pub fn continues(&self, now: Millis, accepted: bool) -> bool {
        let running = self.windows().iter().any(|w| (w.from..w.end).contains(&now));
        let ended = self.windows().last().filter(|w| w.end <= now);
        let rule = self.agreement.term.on_end.as_ref().filter(|rule| accepted && rule.accepted == EndOf::Finish);
        let finishing = rule.zip(ended).is_some_and(|(rule, last)| {
            let limit = rule.finish_within.and_then(|span| term::after(&self.agreement.term.runs.zone, last.end, span));
            rule.finish_within.is_none() || limit.is_some_and(|limit| now < limit)
        });
        self.state == State::Signed && (running || finishing)
    }

    /// Whether it may share at this moment.
    ///
    /// # Errors
    /// Why not, in a sentence.
    pub fn in_force(&self, now: Millis) -> Result<(), String> {
        match &self.state {
            State::Signed => {}
            State::Pending(why) | State::Refused(why) => return Err(why.clone()),
        }
        if let Some(stop) = &self.agreement.operations.suspended {
            let both = [Side::Source, Side::Recipient].iter().all(|side| stop.resumed_by.contains(side));
            if !both && now >= stop.since.0.as_millisecond() {
                return Err(format!("a side suspended it on {}; both have to resume it", stop.since));
            }
        }
        let windows = self.windows();
        if windows.iter().any(|w| (w.from..w.end).contains(&now)) {
            return Ok(());
        }
        match (windows.first(), windows.last()) {
            (Some(first), _) if now < first.from => Err(format!("it begins on {}", self.agreement.term.runs.from)),
            (_, Some(last)) => {
                let why = self.periods.not_renewed.as_ref().map(|why| format!(": {why}")).unwrap_or_default();
                Err(format!("it ended before {}{why}", rfc3339(last.end)))
            }
            _ => Err("it has no day on which it runs".to_owned()),
        }
    }
}

/// All files, checked against each other.
#[derive(Debug, Clone, Default)]
pub struct Program {
    /// Partners by name.
    pub partners: BTreeMap<String, Versioned<Partner>>,
    /// Agreements by id, also those that may not share: they say why.
    pub agreements: BTreeMap<String, Entry>,
    /// Notices by id.
    pub notices: BTreeMap<String, Versioned<Notice>>,
    /// Lists by name.
    pub lists: BTreeMap<String, Versioned<Arc<List>>>,
    /// Approved texts by name.
    pub messages: BTreeMap<String, Versioned<String>>,
    /// Names the state of all files together: the same files give the same text.
    pub hash: String,
    by_source: BTreeMap<String, Vec<String>>,
    by_recipient: BTreeMap<String, Vec<String>>,
}

impl Program {
    /// The partners that a source's leads may go to.
    pub fn recipients_of<'a>(&'a self, source: &'a str) -> impl Iterator<Item = &'a str> {
        self.from_source(source).map(Entry::recipient)
    }

    /// The agreements in which a partner is the source, by id.
    pub fn from_source<'a>(&'a self, source: &str) -> impl Iterator<Item = &'a Entry> + use<'a> {
        self.by_source.get(source).into_iter().flatten().filter_map(|id| self.agreements.get(id))
    }

    /// The agreements in which a partner is the recipient, by id.
    pub fn to_recipient<'a>(&'a self, recipient: &str) -> impl Iterator<Item = &'a Entry> + use<'a> {
        self.by_recipient.get(recipient).into_iter().flatten().filter_map(|id| self.agreements.get(id))
    }

    /// Whether an agreement may share at this moment: signed, without a clash, not suspended, within its dates.
    ///
    /// # Errors
    /// Why not, in a sentence.
    pub fn in_force(&self, agreement: &str, now: Millis) -> Result<(), String> {
        self.agreements.get(agreement).ok_or_else(|| "there is no such agreement".to_owned())?.in_force(now)
    }

    /// When a signed agreement that has not begun yet will.
    pub fn begins(&self, agreement: &str, now: Millis) -> Option<Millis> {
        let entry = self.agreements.get(agreement).filter(|entry| entry.state == State::Signed)?;
        entry.windows().first().map(|first| first.from).filter(|from| now < *from)
    }

    /// A list by name.
    pub fn list(&self, name: &str) -> Option<&List> {
        self.lists.get(name).map(|list| list.value.as_ref())
    }
}

/// Puts files together and checks them against each other; what a file says wrong in itself stands in its
/// [`warnings`](ProgramFile::warnings). The program holds every file; an agreement with an error
/// is in it as refused, so that it shares nothing and says why.
pub fn compile(files: Vec<ProgramFile>) -> (Program, Vec<Diagnostic>) {
    let mut files = files;
    files.sort_by(|a, b| (a.kind, &a.name).cmp(&(b.kind, &b.name)));
    let mut found = Vec::new();
    let mut program = Program::default();
    let mut digest = Sha256::new();
    let mut agreements = Vec::new();
    let mut seen = BTreeSet::new();
    for file in files {
        if !seen.insert((file.kind, file.name.clone())) {
            found.push(Diagnostic::whole(
                &file.file,
                "program.twice",
                format!("there are two {} files called `{}`", file.kind.word(), file.name),
            ));
            continue;
        }
        digest.update(format!("{} {} {}\n", file.kind.word(), file.name, file.hash));
        if file.kind == FileKind::Agreement {
            agreements.push(file);
            continue;
        }
        let ProgramFile { name, hash, parsed, .. } = file;
        match parsed {
            Parsed::Partner(value) => drop(program.partners.insert(name, Versioned { hash, value: *value })),
            Parsed::Notice(value) => drop(program.notices.insert(name, Versioned { hash, value: *value })),
            Parsed::List(value) => drop(program.lists.insert(name, Versioned { hash, value: Arc::new(value) })),
            Parsed::Message(value) => drop(program.messages.insert(name, Versioned { hash, value })),
            Parsed::Agreement(_) => {}
        }
    }
    program.hash = hex::encode(digest.finalize());
    for file in &agreements {
        let Parsed::Agreement(kept) = &file.parsed else { continue };
        // Read here once and forgotten at the end of the round: all of them at the same time would take much room.
        let agreement = &kept.clone();
        let errors = alone(&program, file, agreement);
        let terms = file.terms.clone().unwrap_or_default();
        let state = match errors.iter().find(|d| d.severity == Severity::Error) {
            Some(first) => State::Refused(first.message.clone()),
            None => unsigned(agreement, &terms).map_or(State::Signed, State::Pending),
        };
        found.extend(errors);
        let recipient = program.partners.get(&agreement.parties.recipient.partner).map(|p| &p.value);
        let entry = Entry {
            version: file.hash.clone(),
            terms,
            state,
            expression: agreement.qualification.expression.as_deref().and_then(|source| Expr::new(source).ok()),
            periods: term::periods(agreement, recipient),
            id: agreement.about.id.clone(),
            source: agreement.parties.source.partner.clone(),
            recipient: agreement.parties.recipient.partner.clone(),
            signed_at: agreement.signing.signed.iter().map(|s| s.at.0).max(),
            agreement: kept.clone(),
        };
        program.by_source.entry(entry.source.clone()).or_default().push(file.name.clone());
        program.by_recipient.entry(entry.recipient.clone()).or_default().push(file.name.clone());
        program.agreements.insert(file.name.clone(), entry);
    }
    found.extend(clashes(&mut program, &agreements));
    program.agreements.values_mut().for_each(|entry| entry.agreement.rest());
    found.sort_by(|a, b| (&a.file, a.line, a.column, &a.message).cmp(&(&b.file, b.line, b.column, &b.message)));
    (program, found)
}

/// One agreement against partners, notices, lists and messages.
fn alone(program: &Program, file: &ProgramFile, agreement: &Agreement) -> Vec<Diagnostic> {
    let mut tree = Tree::parse(&file.file, &file.text);
    let parties = &agreement.parties;
    for (side, party) in [("source", &parties.source), ("recipient", &parties.recipient)] {
        party_known(&mut tree, program, side, party);
    }
    partner_known(&mut tree, program, "parties.operator.partner", &parties.operator.partner);
    notices(&mut tree, program, agreement);
    let conditions: [(&str, &Conditions); 3] = [
        ("qualification.all", &agreement.qualification.all),
        ("qualification.none", &agreement.qualification.none),
        ("operations.transfer.approve_if", &agreement.operations.transfer.approve_if),
    ];
    for (path, conditions) in conditions {
        for (name, condition) in conditions {
            if let Some(list) = &condition.list {
                list_known(&mut tree, program, &format!("{path}.{name}.list"), list);
            }
        }
    }
    if let Some(gives) = &agreement.exclusivity.recipient_gives {
        list_known(&mut tree, program, "exclusivity.recipient_gives.rivals", list_name(&gives.rivals).unwrap_or_default());
    }
    if let Some(list) = &agreement.exclusivity.kept_for_direct_sales {
        list_known(&mut tree, program, "exclusivity.kept_for_direct_sales", list_name(list).unwrap_or_default());
    }
    let mut messages: Vec<(&str, &str)> = Vec::new();
    messages.extend(agreement.privacy.recipient_notice.iter().map(|n| ("privacy.recipient_notice.text", n.text.as_str())));
    if let Some(m) = &agreement.operations.messaging {
        messages.extend(m.introduction.iter().map(|t| ("operations.messaging.introduction", t.as_str())));
        messages.extend(m.positioning.iter().map(|t| ("operations.messaging.positioning", t.as_str())));
        messages.extend(m.disclaimer.iter().map(|t| ("operations.messaging.disclaimer", t.as_str())));
    }
    for (path, text) in messages {
        let name = message_name(text).unwrap_or_default();
        if !program.messages.contains_key(name) {
            unknown(&mut tree, path, FileKind::Message, name, program.messages.keys());
        }
    }
    signers(&mut tree, program, file, agreement);
    tree.take()
}

fn unknown<'a>(tree: &mut Tree<'_>, path: &str, kind: FileKind, name: &str, known: impl Iterator<Item = &'a String>) {
    let missing = format!("{}/{name}.{}", kind.folder(), kind.ending());
    let hint =
        did_you_mean(name, known.map(String::as_str)).map_or_else(|| format!("add {missing}"), |near| format!("did you mean `{near}`?"));
    tree.error(path, "program.not_found", format!("there is no {} `{name}`", kind.word()), hint);
}

fn partner_known<'a>(tree: &mut Tree<'_>, program: &'a Program, path: &str, name: &str) -> Option<&'a Partner> {
    let found = program.partners.get(name).map(|p| &p.value);
    if found.is_none() {
        unknown(tree, path, FileKind::Partner, name, program.partners.keys());
    }
    found
}

fn party_known(tree: &mut Tree<'_>, program: &Program, side: &str, party: &Party) {
    let Some(partner) = partner_known(tree, program, &format!("parties.{side}.partner"), &party.partner) else { return };
    if partner.legal_name != party.legal_name {
        let message = format!("partners/{}.toml says that the company is `{}`", party.partner, partner.legal_name);
        let hint = if partner.former_names.contains(&party.legal_name) {
            "the company was renamed: sign a new version, and show people a notice with the new name"
        } else {
            "both files must have the registered name, letter by letter"
        };
        tree.error(&format!("parties.{side}.legal_name"), "agreement.legal_name", message, hint.to_owned());
    }
}

fn list_known(tree: &mut Tree<'_>, program: &Program, path: &str, name: &str) {
    if !program.lists.contains_key(name) {
        unknown(tree, path, FileKind::List, name, program.lists.keys());
    }
}

fn notices(tree: &mut Tree<'_>, program: &Program, agreement: &Agreement) {
    let recipient = &agreement.parties.recipient.legal_name;
    let source = &agreement.parties.source.legal_name;
    for (i, name) in agreement.privacy.notices.iter().enumerate() {
        let path = format!("privacy.notices.{i}");
        let Some(notice) = program.notices.get(name).map(|n| &n.value) else {
            unknown(tree, &path, FileKind::Notice, name, program.notices.keys());
            continue;
        };
        if !notice.recipients.contains(recipient) {
            let message = format!("the notice `{name}` does not name `{recipient}`");
            tree.error(&path, "agreement.notice", message, "show people a notice that names the recipient's legal entity".to_owned());
        }
        if &notice.controller != source {
            let message = format!("the notice `{name}` was shown by `{}`, not by `{source}`", notice.controller);
            tree.error(&path, "agreement.notice", message, "use a notice of the source".to_owned());
        }
        let missing: Vec<&str> =
            agreement.privacy.purpose.iter().map(|p| p.id.as_str()).filter(|id| !notice.purposes.iter().any(|p| p == id)).collect();
        if !missing.is_empty() {
            let message = format!("the notice `{name}` does not tell of the purpose {}", missing.join(", "));
            tree.warning(&path, "agreement.notice_purpose", message, "consent under it does not cover that purpose".to_owned());
        }
    }
}

/// Signers come from the partner's file: a name that is not in it cannot bind the partner.
fn signers(tree: &mut Tree<'_>, program: &Program, file: &ProgramFile, agreement: &Agreement) {
    let words = |text: &str| text.split_whitespace().collect::<Vec<_>>().join(" ").to_lowercase();
    for (i, signature) in agreement.signing.signed.iter().enumerate() {
        let party = match signature.party {
            Signatory::Source => &agreement.parties.source,
            Signatory::Recipient => &agreement.parties.recipient,
            // A client is no partner of the program: whom it lets sign, its own file cannot say.
            Signatory::Client => continue,
        };
        let Some(partner) = program.partners.get(&party.partner).map(|p| &p.value) else { continue };
        if !partner.signers.iter().any(|s| words(s) == words(&signature.by)) {
            let message = format!("`{}` may not sign for {}", signature.by, party.partner);
            let hint = format!("signers stand in partners/{}.toml: {}", party.partner, partner.signers.join("; "));
            tree.error(&format!("signing.signed.{i}.by"), "agreement.signer", message, hint);
        }
    }
    let current = file.terms.as_deref().unwrap_or_default();
    let wanted = signatories(agreement);
    for (i, signature) in agreement.signing.signed.iter().enumerate().filter(|(_, s)| wanted.contains(&s.party)) {
        if !signature.terms.eq_ignore_ascii_case(current) {
            let message = "this signature covers other terms than the file has now".to_owned();
            let hint = format!("the terms of this file are {current}; until both sign them, the version signed before stays in force");
            tree.warning(&format!("signing.signed.{i}.terms"), "agreement.not_signed", message, hint);
        }
    }
}

/// Agreements against each other: the earlier signature wins, the later file is refused, both are named.
fn clashes(program: &mut Program, files: &[ProgramFile]) -> Vec<Diagnostic> {
    let mut found = Vec::new();
    let mut order: Vec<(Option<jiff::Timestamp>, &ProgramFile)> = files
        .iter()
        .filter(|f| program.agreements.get(&f.name).is_some_and(|e| !matches!(e.state, State::Refused(_))))
        .map(|f| (program.agreements.get(&f.name).filter(|e| e.state == State::Signed).and_then(|e| e.signed_at), f))
        .collect();
    // Drafts come last: nothing that is signed gives way to them.
    order.sort_by_key(|(signed, file)| (signed.is_none(), *signed, file.name.clone()));
    // By source: those of different sources never clash.
    let mut standing = BTreeMap::<String, Vec<&str>>::new();
    for (_, file) in order {
        let Some(entry) = program.agreements.get(&file.name) else { continue };
        let standing = standing.entry(entry.source.clone()).or_default();
        let clash = standing.iter().find_map(|earlier| {
            let earlier = program.agreements.get(*earlier)?;
            clash(earlier, entry).map(|(path, code, what)| (earlier.id().to_owned(), path, code, what))
        });
        let Some((earlier, path, code, what)) = clash else {
            standing.push(&file.name);
            continue;
        };
        let message = format!("`{}` {what} `{earlier}`, which was signed earlier", file.name);
        let mut tree = Tree::parse(&file.file, &file.text);
        tree.error(path, code, message.clone(), "change the scope or the dates of one of the two".to_owned());
        found.extend(tree.take());
        if let Some(entry) = program.agreements.get_mut(&file.name) {
            entry.state = State::Refused(message);
        }
    }
    found
}

/// How two agreements of one source clash.
fn clash(earlier: &Entry, later: &Entry) -> Option<(&'static str, &'static str, &'static str)> {
    let meet = earlier.windows().iter().any(|a| later.windows().iter().any(|b| a.from < b.end && b.from < a.end));
    if !meet {
        return None;
    }
    if earlier.recipient() == later.recipient() {
        let purposes = |entry: &Entry| entry.agreement.privacy.purpose.iter().map(|p| p.id.clone()).collect::<BTreeSet<_>>();
        let same = !purposes(earlier).is_disjoint(&purposes(later)) && scopes_meet(&earlier.agreement, &later.agreement);
        return same.then_some(("parties", "agreement.overlap", "covers the same partners, purpose, leads and days as"));
    }
    let (a, b) = (earlier.agreement.exclusivity.source_gives.as_ref()?, later.agreement.exclusivity.source_gives.as_ref()?);
    let territories =
        a.territory.is_empty() || b.territory.is_empty() || a.territory.iter().any(|x| b.territory.iter().any(|y| place::overlap(x, y)));
    let segments = a.segment.is_empty() || b.segment.is_empty() || a.segment.iter().any(|x| b.segment.contains(x));
    (territories && segments).then_some(("exclusivity.source_gives", "agreement.exclusivity_clash", "promises leads that are promised in"))
}

/// Whether a lead could count under both: they do not meet when one field's lists of allowed values have nothing in common.
fn scopes_meet(a: &Agreement, b: &Agreement) -> bool {
    a.qualification.all.iter().all(|(field, mine)| {
        let theirs = b.qualification.all.get(field);
        let (Some(mine), Some(theirs)) = (allowed(mine), theirs.and_then(allowed)) else { return true };
        mine.iter().any(|value| theirs.contains(value))
    })
}

fn allowed(condition: &crate::model::agreement::Condition) -> Option<Vec<&Scalar>> {
    condition.within.as_ref().map(|values| values.iter().collect()).or_else(|| condition.is.as_ref().map(|value| vec![value]))
}
