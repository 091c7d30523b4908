//! Examples in a file are tests with readable differences.

use super::*;

fn differences(example: &str) -> Vec<String> {
    let base = HUBSPOT.split("[[example]]").next().expect("text before the examples");
    let results = good(&format!("{base}[[example]]\nname = \"x\"\n{example}\n")).run_examples();
    results.into_iter().flat_map(|result| result.differences).collect()
}

// Would break: a mapping's own test passes although the mapping is wrong.
#[test]
fn a_difference_is_told_field_by_field() {
    let told = differences(
        r#"
crm = { email = "jo@example.com", phone = "030 901820", country = "Germany" }
lead = { phone = "+493090182", country = "DE", role = "CTO" }
empty = ["email_kind", "mobile"]
out = { industry = "X", email = "jo@example.com" }
consent = { nobody = true, set_by_person = false }
"#,
    );
    assert_eq!(
        told,
        [
            "lead.phone: expected \"+493090182\", got \"+4930901820\"",
            "lead.role: expected \"CTO\", got nothing",
            "lead.email_kind: expected nothing, got \"business\"",
            "consent.nobody: expected true, got false",
            "out.industry: expected \"X\", got nothing",
        ]
    );
}

// Would break: an example cannot say that a record must be refused, or passes when it is not.
#[test]
fn refusals_can_be_expected() {
    assert_eq!(differences("crm = { email = \"\" }\ninvalid = [\"email\"]"), Vec::<String>::new());
    assert_eq!(
        differences("crm = { email = \"jo@example.com\", industry = \"FISHING\" }\nquarantined = [\"industry\"]"),
        Vec::<String>::new()
    );
    assert_eq!(
        differences("crm = { email = \"jo@example.com\" }\ninvalid = [\"email\"]"),
        ["expected the record to be invalid for email, but it made a lead"]
    );
    assert_eq!(
        differences("crm = { email = \"\" }\nlead = { email = \"jo@example.com\" }"),
        ["lead.email: the record is invalid: `email` (from `email`) is required and empty"]
    );
    assert_eq!(
        differences("crm = { email = \"\" }\nquarantined = [\"email\"]"),
        ["lead.email: the record is invalid: `email` (from `email`) is required and empty"]
    );
}

// Would break: a mapping that the project ships does not load, or does not do what its examples say.
#[test]
fn the_shipped_mappings_load_and_keep_their_promises() {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("mappings");
    let paths = std::fs::read_dir(folder).expect("the folder is part of the project").map(|entry| entry.expect("readable").path());
    for path in paths.filter(|path| path.extension().is_some_and(|extension| extension == "toml")) {
        let mapping = good(&std::fs::read_to_string(&path).expect("readable"));
        for result in mapping.run_examples() {
            assert_eq!(result.differences, Vec::<String>::new(), "{}: {}", path.display(), result.name);
        }
    }
}

// Would break: the way out and the status words cannot be tested in the file.
#[test]
fn the_way_out_and_the_status_can_be_tested() {
    assert_eq!(
        differences("lead = { industry = \"software\" }\nout = { industry = \"COMPUTER_SOFTWARE\", hs_lead_status = \"NEW\" }"),
        Vec::<String>::new()
    );
    assert_eq!(
        differences("lead = { industry = \"software\" }\ncreating = false\nout = { hs_lead_status = \"NEW\" }"),
        ["out.hs_lead_status: expected \"NEW\", got nothing"]
    );
    assert_eq!(
        differences("follow = { hs_lead_status = \"IN_PROGRESS\" }\nstatus = { progress = \"won\", moved_off_landed = true }"),
        ["status.progress: expected \"won\", got \"reached\""]
    );
    let consent = "crm = { email = \"jo@example.com\", ls_consent_at = \"1778066964000\", ls_partner_choice = \"bw\" }\nconsent = { given_at = \"2026-05-06T13:29:24+02:00\", choices = [\"brightwater\"] }";
    assert_eq!(differences(consent), Vec::<String>::new());
}
