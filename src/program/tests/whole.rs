//! Files against each other.

use super::example::{AGREEMENT, BRIGHTWATER, NORTHWIND, file, sign, sign_as, surroundings};
use super::{at, edit};
use crate::errors::Diagnostic;
use crate::program::{FileKind, Program, State, compile};

const ID: &str = "northwind-brightwater";

/// A second services partner.
fn coldlake() -> String {
    edit(&edit(BRIGHTWATER, "Brightwater Services Inc.", "Coldlake Consulting GmbH"), "country = \"US\"", "country = \"DE\"")
}

/// The example's agreement, with another recipient.
fn to_coldlake() -> String {
    let text = edit(AGREEMENT, "northwind-brightwater", "northwind-coldlake");
    let text = edit(
        &text,
        "partner = \"brightwater\", legal_name = \"Brightwater Services Inc.\"",
        "partner = \"coldlake\", legal_name = \"Coldlake Consulting GmbH\"",
    );
    edit(&text, "notices = [\"webform-2026-04\"]", "notices = []")
}

fn whole(agreements: &[(&str, String)]) -> (Program, Vec<Diagnostic>) {
    let mut files = surroundings();
    files.push(file(FileKind::Partner, "coldlake", &coldlake()));
    files.extend(agreements.iter().map(|(name, text)| file(FileKind::Agreement, name, text)));
    compile(files)
}

// Breaks when an unsigned agreement shares, or is an error instead of waiting.
#[test]
fn an_unsigned_agreement_is_pending() {
    let (program, found) = whole(&[(ID, AGREEMENT.to_owned())]);
    assert_eq!(found, []);
    assert!(matches!(program.agreements[ID].state, State::Pending(_)));
    assert!(program.in_force(ID, at("2026-05-01T00:00:00Z")).expect_err("pending").contains("not signed"));
}

// Breaks when a change after signing keeps the agreement in force, or is not told at the signature.
#[test]
fn signatures_cover_the_current_terms() {
    let (program, found) = whole(&[(ID, edit(&sign(AGREEMENT), "\"24h\"", "\"48h\""))]);
    assert!(matches!(program.agreements[ID].state, State::Pending(_)));
    assert_eq!(found.iter().filter(|d| d.code == "agreement.not_signed").count(), 2);
}

// Breaks when somebody who is not in the partner's file can bind the partner.
#[test]
fn only_named_signers_sign() {
    let (program, found) = whole(&[(ID, sign_as(AGREEMENT, "The intern", "R. Okafor, CEO", "2026-03-21T15:40:00Z"))]);
    assert_eq!(found.iter().map(|d| d.code).collect::<Vec<_>>(), ["agreement.signer"]);
    assert!(program.in_force(ID, at("2026-05-01T00:00:00Z")).is_err());
}

// Breaks when two agreements for the same leads are both in force, or the earlier signature does not win.
#[test]
fn overlapping_agreements_are_refused() {
    let second = edit(AGREEMENT, "northwind-brightwater", "a-second");
    let early = sign_as(&second, "A. de Wit, COO", "R. Okafor, CEO", "2026-03-01T00:00:00Z");
    let (program, found) = whole(&[(ID, sign(AGREEMENT)), ("a-second", early)]);
    assert_eq!(found.len(), 1);
    assert_eq!((found[0].code, found[0].file.as_str()), ("agreement.overlap", "agreements/northwind-brightwater.toml"));
    assert!(found[0].message.contains("a-second") && found[0].message.contains(ID), "{}", found[0]);
    assert!(program.in_force(ID, at("2026-05-01T00:00:00Z")).is_err());
    assert_eq!(program.in_force("a-second", at("2026-05-01T00:00:00Z")), Ok(()));
}

// Breaks when agreements that cannot meet are taken for a clash: other dates, other leads, other purposes.
#[test]
fn agreements_that_cannot_meet_stand_together() {
    let second = edit(AGREEMENT, "northwind-brightwater", "a-second");
    let once = edit(AGREEMENT, "times = 2", "times = 0");
    let later = edit(&second, "from = 2026-04-01, until = 2027-03-31", "from = 2027-04-01, until = 2028-03-31");
    let elsewhere = edit(&second, "[\"DE\", \"AT\", \"NL\", \"US\"]", "[\"FR\"]");
    let other = edit(&edit(&second, "id = \"introduce\"", "id = \"survey\""), "id = \"contact\"", "id = \"ask\"");
    for second in [later, elsewhere, other] {
        let (_, found) = whole(&[(ID, sign(&once)), ("a-second", sign(&second))]);
        assert!(!found.iter().any(|d| d.code == "agreement.overlap"), "{found:?}");
    }
}

// Breaks when leads are promised to two, or the later promise wins, or the clash does not name both.
#[test]
fn the_earlier_exclusivity_wins() {
    let rival = sign_as(&to_coldlake(), "A. de Wit, COO", "R. Okafor, CEO", "2026-03-25T00:00:00Z");
    let (program, found) = whole(&[(ID, sign(AGREEMENT)), ("northwind-coldlake", rival)]);
    assert_eq!(
        found.iter().map(|d| (d.code, d.file.as_str())).collect::<Vec<_>>(),
        [("agreement.exclusivity_clash", "agreements/northwind-coldlake.toml")]
    );
    assert!(found[0].message.contains(ID) && found[0].line > 0);
    assert!(matches!(program.agreements["northwind-coldlake"].state, State::Refused(_)));
    assert_eq!(program.agreements[ID].state, State::Signed);
}

// Breaks when promises for different places or industries count as a clash, or Bavaria is not in Germany.
#[test]
fn exclusivity_clashes_only_where_scopes_meet() {
    for (territory, segment, clashes) in [
        ("\"DE-BE\"", "\"manufacturing\"", false),
        ("\"DE\"", "\"manufacturing\"", true),
        ("\"EEA\"", "\"manufacturing\"", true),
        ("\"UK\"", "\"manufacturing\"", false),
        ("\"DE-BY\"", "\"retail\"", false),
        ("", "\"manufacturing\"", true),
    ] {
        let text = edit(
            &to_coldlake(),
            "territory = [\"DE-BY\"], segment = [\"manufacturing\"]",
            &format!("territory = [{territory}], segment = [{segment}]"),
        );
        for (signed, refused) in [("2026-03-25T00:00:00Z", "northwind-coldlake"), ("2026-03-01T00:00:00Z", ID)] {
            let other = sign_as(&text, "A. de Wit, COO", "R. Okafor, CEO", signed);
            let (program, found) = whole(&[(ID, sign(AGREEMENT)), ("northwind-coldlake", other)]);
            assert_eq!(found.iter().any(|d| d.code == "agreement.exclusivity_clash"), clashes, "{territory} {segment}");
            assert_eq!(matches!(program.agreements[refused].state, State::Refused(_)), clashes, "{territory} {segment} {signed}");
        }
    }
}

// Breaks when a draft pushes out what is signed.
#[test]
fn a_draft_gives_way() {
    let draft = edit(AGREEMENT, "northwind-brightwater", "a-draft");
    let (program, found) = whole(&[(ID, sign(AGREEMENT)), ("a-draft", draft)]);
    assert_eq!(found.iter().map(|d| d.file.as_str()).collect::<Vec<_>>(), ["agreements/a-draft.toml"]);
    assert_eq!(program.in_force(ID, at("2026-05-01T00:00:00Z")), Ok(()));
}

// Breaks when a renamed company goes on under its old name.
#[test]
fn a_renamed_partner_needs_a_new_version() {
    let renamed = edit(
        BRIGHTWATER,
        "legal_name = \"Brightwater Services Inc.\"",
        "legal_name = \"Brightwater Ltd.\"\nformer_names = [\"Brightwater Services Inc.\"]",
    );
    let mut files: Vec<_> = surroundings().into_iter().filter(|f| f.name != "brightwater").collect();
    files.push(file(FileKind::Partner, "brightwater", &renamed));
    files.push(file(FileKind::Agreement, ID, &sign(AGREEMENT)));
    let (program, found) = compile(files);
    assert_eq!(found.len(), 1);
    assert!(found[0].hint.as_deref().is_some_and(|h| h.contains("renamed")), "{}", found[0]);
    assert!(program.in_force(ID, at("2026-05-01T00:00:00Z")).is_err());
}

// Breaks when the same files in another order make another program.
#[test]
fn the_order_of_files_does_not_matter() {
    let mut files = surroundings();
    files.push(file(FileKind::Agreement, ID, &sign(AGREEMENT)));
    let (first, _) = compile(files.clone());
    files.reverse();
    let (second, _) = compile(files);
    assert_eq!(first.hash, second.hash);
}

// Breaks when two files of one name silently replace each other.
#[test]
fn a_name_stands_once() {
    let mut files = surroundings();
    files.push(file(FileKind::Partner, "northwind", NORTHWIND));
    assert_eq!(compile(files).1.iter().map(|d| d.code).collect::<Vec<_>>(), ["program.twice"]);
}
