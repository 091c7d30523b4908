//! The file against the fields that the live system has.

use leadshare_connectors::sdk::FieldInfo;

use super::*;

fn field(name: &str, options: &[&str], writable: bool) -> FieldInfo {
    FieldInfo {
        name: name.to_owned(),
        label: name.to_owned(),
        kind: "string".to_owned(),
        options: options.iter().map(|o| (*o).to_owned()).collect(),
        writable,
        required: false,
        unique: false,
        custom: false,
    }
}

const FILE: &str = r#"partner = "p"
connector = "salesforce"
object = "Lead"
[fields]
email = "Email"
phone = "Phne"
industry = { crm = "Industry", values = { Tech = "software", Fish = "fishing" } }
full_name = { expr = "{{ FirstName }} {{ crm['Last Name'] }}" }
[status]
field = "Status"
landed = "New"
values = { Working = "reached" }
[[status.when]]
if = { "opportunity.IsWon" = { is = true } }
then = "won"
"#;

// Would break: a renamed field or a new picklist value is noticed only when leads fail.
#[test]
fn every_difference_is_told_with_its_place() {
    let fields = [
        field("Email", &[], false),
        field("Phone", &[], true),
        field("Industry", &["Tech", "Mining"], true),
        field("FirstName", &[], true),
        field("Status", &["Open", "Working"], true),
        FieldInfo { required: true, ..field("Company", &[], true) },
    ];
    let told: Vec<String> = check_against(&good(FILE), &fields).iter().map(ToString::to_string).collect();
    let expected = r#"m.toml:5:9: error[mapping.not_writable]: `Email` cannot be written
  hint: set `direction = "in"`, or give the connection the right to write it
m.toml:6:9: error[mapping.unknown_crm_field]: `Lead` has no field `Phne`
  hint: did you mean `Phone`?
m.toml:7:20: warning[mapping.option_not_covered]: records will wait in quarantine: `Industry` also has Mining
  hint: add them to `values`, or set `unmapped`
m.toml:7:62: error[mapping.no_such_option]: `Industry` has no value `Fish`
  hint: its values: Tech, Mining
m.toml:8:22: error[mapping.unknown_crm_field]: `Lead` has no field `Last Name`
  hint: look at `mapping describe` for the fields that the connection may see
m.toml:11:10: error[mapping.no_such_option]: `Status` has no value `New`
  hint: its values: Open, Working
m.toml: warning[mapping.required_there]: `Company` must be filled in a new record, and nothing fills it
  hint: map it, or add `Company = "…"` to `[create]`"#;
    assert_eq!(told.join("\n"), expected);
}

// Would break: a mapping that fits the live system is refused.
#[test]
fn a_mapping_that_fits_has_nothing_to_tell() {
    let fields = [
        field("Email", &[], true),
        field("Phne", &[], true),
        field("Industry", &["Tech", "Fish"], true),
        field("FirstName", &[], true),
        field("Last Name", &[], true),
        field("Status", &["New", "Working"], true),
    ];
    assert_eq!(check_against(&good(FILE), &fields), []);
}
