//! What goes in, out and in again is the same lead.

use proptest::prelude::*;

use super::*;

const BOTH_WAYS: &str = r#"
email = "email"
first_name = "first"
phone = { crm = "phone", transform = ["e164:DE"] }
country = "country"
state = "state"
language = "language"
website = "web"
employees = "size"
revenue = "revenue"
open_deal_at_source = "open"
own_last_action = "last"
industry = { crm = "industry", transform = ["lowercase"], values = { "Tech / IT" = "software", FISH = "fishing", Law = "legal" } }
need = { crm = "need", transform = ["split:;"], values = { A = "setup", B = "advice", C = "audit" } }
x_note = { crm = "note", transform = ["trim"] }
"#;

fn values() -> impl Strategy<Value = Value> {
    let pick = |words: &'static [&'static str]| prop::sample::select(words);
    let text = prop_oneof![Just(String::new()), "[ -~äöüßé]{0,12}", "\\PC{0,8}"];
    (
        (
            pick(&["Jo@Example.DE ", "a+b@x.example", "jo@gmail.com"]),
            text.clone(),
            pick(&["030 901820", "+1 650 253 0000", "nonsense", ""]),
        ),
        (pick(&["Germany", "us", "", "Atlantis"]), pick(&["Bayern", "CA", "DE-BE", ""]), pick(&["de_AT", "English", ""])),
        (pick(&["https://www.x.example/", "", "n/a"]), "[0-9]{0,7}", "[0-9]{1,6}[.,]?[0-9]{0,3}", any::<bool>(), 0i64..4_000_000_000_000),
        (pick(&["tech / it", "Law", "fish", ""]), prop::collection::vec(pick(&["A", "B", "C"]), 0..3), text),
    )
        .prop_map(|((email, first, phone), (country, state, language), (web, size, revenue, open, last), (industry, need, note))| {
            json!({
                "email": email, "first": first, "phone": phone, "country": country, "state": state, "language": language, "web": web,
                "size": size, "revenue": revenue, "open": open, "last": last, "industry": industry, "need": need.join(";"), "note": note,
            })
        })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    // Would break: what we deliver reads back as a change, and two daemons write each other forever.
    #[test]
    fn in_out_in_is_the_same_lead(crm in values()) {
        let mapping = with_fields(BOTH_WAYS);
        let Mapped::Lead(first, _) = mapping.to_lead(&record(crm)) else { return Ok(()) };
        let written = mapping.to_record(&first.fields, true);
        let Mapped::Lead(second, warnings) = mapping.to_lead(&written) else { panic!("what we wrote is no lead") };
        prop_assert_eq!(&first.fields, &second.fields);
        prop_assert!(warnings.is_empty());
        prop_assert_eq!(written, mapping.to_record(&second.fields, true));
    }

    // Would break: a file that somebody is in the middle of typing takes the daemon down.
    #[test]
    fn no_file_is_too_broken(cut in 0usize..3000, insert in "\\PC{0,6}") {
        let at = (0..=cut.min(HUBSPOT.len())).rev().find(|at| HUBSPOT.is_char_boundary(*at)).unwrap_or(0);
        let _ = parse("m.toml", &format!("{}{insert}{}", &HUBSPOT[..at], &HUBSPOT[at..]));
        let _ = parse("m.toml", &format!("{}{insert}", &HUBSPOT[..at]));
    }
}
