//! Hashes, signatures, and which version stays in force.

use super::edit;
use super::example::{AGREEMENT, NOTICE, file, sign};
use crate::program::{FileKind, ProgramFile, Publish, choose_active, terms_hash};

fn agreement(text: &str) -> ProgramFile {
    file(FileKind::Agreement, "northwind-brightwater", text)
}

fn pending(previous: Option<&ProgramFile>, new: &ProgramFile) -> String {
    match choose_active(previous, new) {
        Publish::Pending { reason } => reason,
        other => panic!("{other:?}"),
    }
}

// Breaks when a comment, white space or the order of keys voids two signatures.
#[test]
fn hashes_are_over_values() {
    let reordered = edit(AGREEMENT, "[parties]", "# moved and commented\n[parties]  # 1 ROLES");
    let reordered = edit(&reordered, "report_within = \"24h\", then = \"pause\"", "then   = \"pause\", report_within = \"24h\"");
    assert_eq!(agreement(AGREEMENT).hash, agreement(&reordered).hash);
    assert_eq!(terms_hash(AGREEMENT), terms_hash(&reordered));
}

// Breaks when a change of any signed value keeps the signatures, or a change of the unsigned part voids them.
#[test]
fn terms_are_what_is_signed() {
    let terms = terms_hash(AGREEMENT);
    for (from, to) in [("version = 3", "version = 4"), ("\"24h\"", "\"25h\""), ("percent = \"7\"", "percent = \"7.0\""), ("\"AT\", ", "")] {
        assert_ne!(terms_hash(&edit(AGREEMENT, from, to)), terms, "{from}");
    }
    let unsigned = edit(AGREEMENT, "open = 25", "open = 26");
    assert_eq!(terms_hash(&unsigned), terms);
    assert_ne!(agreement(&unsigned).hash, agreement(AGREEMENT).hash);
    assert_eq!(terms_hash(&sign(AGREEMENT)), terms);
}

// Breaks when the example's terms get another hash: every signature that exists would be void.
#[test]
fn the_hash_of_terms_never_changes() {
    assert_eq!(terms_hash(AGREEMENT).expect("a hash"), "d985faae374ff22e6d652fb1ae5a778a1674a9dc968e8aedc9724e9050707a55");
}

// Breaks when a draft displaces the signed version, or when signed terms do not come into force.
#[test]
fn a_draft_never_displaces_the_signed_version() {
    let signed = agreement(&sign(AGREEMENT));
    assert_eq!(choose_active(None, &signed), Publish::Active);
    assert_eq!(choose_active(Some(&signed), &signed), Publish::Unchanged);
    assert!(pending(None, &agreement(AGREEMENT)).contains("source has not signed"));
    assert!(pending(Some(&signed), &agreement(AGREEMENT)).contains("source has not signed"));
    // The old signatures stay under changed terms.
    let edited = agreement(&edit(&sign(AGREEMENT), "\"24h\"", "\"48h\""));
    assert!(pending(Some(&signed), &edited).contains("needs a new signature"));
    let next = agreement(&sign(&edit(&edit(AGREEMENT, "\"24h\"", "\"48h\""), "version = 3", "version = 4")));
    assert_eq!(choose_active(Some(&signed), &next), Publish::Active);
}

// Breaks when one of the two signatures is enough.
#[test]
fn both_sides_sign() {
    let one = sign(AGREEMENT);
    let one = edit(&one, "party = \"recipient\"", "party = \"client\"");
    let one = edit(
        &one,
        "legal_name = \"Brightwater Services Inc.\", role = \"controller\"",
        "legal_name = \"Brightwater Services Inc.\", role = \"processor\", client = \"X\"",
    );
    assert!(pending(None, &agreement(&one)).contains("source signed other terms"));
    let terms = terms_hash(&one).expect("terms");
    let old = terms_hash(AGREEMENT).expect("terms");
    let one = one.replace(&old, &terms);
    assert!(pending(None, &agreement(&one)).contains("recipient has not signed"));
}

// Breaks when signed terms may change twice under one version number.
#[test]
fn new_terms_need_a_new_version() {
    let signed = agreement(&sign(AGREEMENT));
    let same = agreement(&sign(&edit(AGREEMENT, "\"24h\"", "\"48h\"")));
    assert!(pending(Some(&signed), &same).contains("above 3"));
}

// Breaks when the unsigned part needs signatures to change.
#[test]
fn operations_change_without_signatures() {
    let signed = agreement(&sign(AGREEMENT));
    let moved = agreement(&edit(&sign(AGREEMENT), "open = 25", "open = 26"));
    assert_eq!(choose_active(Some(&signed), &moved), Publish::Active);
}

// Breaks when a notice can be rewritten after people saw it, so that old consents would cover a new recipient.
#[test]
fn a_notice_is_never_rewritten() {
    let notice = |text: &str| file(FileKind::Notice, "webform-2026-04", text);
    let shown = notice(NOTICE);
    let wider = notice(&edit(&edit(NOTICE, "recipients = [", "recipients = [\"Other Ltd.\", "), "I want", "Other Ltd. too. I want"));
    assert!(pending(Some(&shown), &wider).contains("as it was"));
    let closed = notice(&edit(NOTICE, "from = 2026-04-01", "from = 2026-04-01, until = 2026-08-31"));
    assert_eq!(choose_active(Some(&shown), &closed), Publish::Active);
    assert!(pending(Some(&closed), &shown).contains("closed"));
    assert_eq!(choose_active(Some(&shown), &notice(&format!("# a remark\n{NOTICE}"))), Publish::Unchanged);
}
