//! What each transform makes of what people and systems write.

use proptest::prelude::*;

use super::*;
use crate::mapping::transform::{Transform, contact, normalise, place, time};
use crate::model::field::{FIELDS, Kind};

/// Runs a step on each input; `-` stands for "cannot be read".
fn table(step: &str, country: Option<&str>, rows: &[(&str, &str)]) {
    let step = Transform::parse(step).expect("a known transform");
    for (input, expected) in rows {
        let got = step.apply(input, country).map_or("-".to_owned(), |parts| parts.join("|"));
        assert_eq!(got, *expected, "{} of {input:?}", step.name());
    }
}

// Would break: invisible characters from copy and paste make two addresses of one.
#[test]
fn text_is_cleaned() {
    table("trim", None, &[("  a \u{a0}\t", "a"), ("\u{feff}a\u{200b}", "a"), ("e\u{301}", "é"), (" ", "")]);
    table("lowercase", None, &[("ÄÖ", "äö")]);
    table("uppercase", None, &[("äö", "ÄÖ")]);
    table("digits", None, &[("+49 (0)30-1", "490301"), ("x", "")]);
    table("truncate:3", None, &[("äöüß", "äöü"), ("ab", "ab"), ("ab cd", "ab")]);
    table("split:;", None, &[("a; b;;c", "a|b|c"), ("", "")]);
    table("company_name", None, &[("  Öz  &  Co.   GmbH ", "Öz & Co. GmbH")]);
}

// Would break: names that people spell with care (MacLeod, de Vries, van der Berg) are flattened.
#[test]
fn names_get_capitals_only_when_they_have_none_or_nothing_else() {
    table(
        "titlecase_name",
        None,
        &[
            ("ANNA", "Anna"),
            ("jean-luc", "Jean-Luc"),
            ("o'neil", "O'Neil"),
            ("MCDONALD", "McDonald"),
            ("van der berg", "van der Berg"),
            ("de", "De"),
            ("MacLeod", "MacLeod"),
            ("de Vries", "de Vries"),
            ("ÉLODIE MÜLLER", "Élodie Müller"),
            ("mc", "Mc"),
        ],
    );
}

// Would break: "Schmidt, Anna" becomes a person called Schmidt.
#[test]
fn full_names_are_taken_apart() {
    table("first_word", None, &[("Anna Maria Schmidt", "Anna"), ("Schmidt, Anna", "Anna"), ("Cher", "Cher"), ("A, B, C", "A,")]);
    table("rest", None, &[("Anna Maria Schmidt", "Maria Schmidt"), ("Schmidt, Anna", "Schmidt"), ("Cher", "")]);
}

// Would break: a plus tag is lost and the address is no longer the one consented to; or garbage counts as an address.
#[test]
fn addresses_are_normalised_and_checked() {
    table(
        "email",
        None,
        &[
            (" Jo@Example.DE ", "jo@example.de"),
            ("jo+news@example.com", "jo+news@example.com"),
            ("mailto:jo@example.com", "jo@example.com"),
            ("jo@bücher.example", "jo@xn--bcher-kva.example"),
            ("jo@localhost", "-"),
            ("jo@@example.com", "-"),
            ("jo example.com", "-"),
            ("jo@exa mple.com", "-"),
            ("jo@10.0.0.1", "-"),
            ("a@b@example.com", "-"),
            ("Jo <jo@example.com>", "-"),
            ("jo@example..com", "-"),
            ("", "-"),
        ],
    );
    table(
        "email_kind",
        None,
        &[
            ("jo@gmail.com", "free"),
            ("jo@GMX.de", "free"),
            ("jo@mailinator.com", "disposable"),
            ("jo@x.mailinator.com", "disposable"),
            ("jo@northwind.example", "business"),
            ("jo", "-"),
        ],
    );
}

// Would break: one person's number is two numbers, or a made-up number is rung.
#[test]
fn numbers_become_e164_with_the_region_that_applies() {
    table(
        "e164",
        Some("DE"),
        &[
            ("030 901820", "+4930901820"),
            ("(030) 90 18 20", "+4930901820"),
            ("+49 (0)30 901820", "+4930901820"),
            ("0049 30 901820", "+4930901820"),
            ("+1 650 253 0000", "+16502530000"),
            ("030 901820 ext. 12", "+4930901820"),
            ("tel:+4930901820", "+4930901820"),
            ("٠٣٠ ٩٠١٨٢٠", "+4930901820"),
            ("０３０ ９０１８２０", "+4930901820"),
            ("call me", "-"),
            ("12", "-"),
            ("+49", "-"),
            ("", "-"),
        ],
    );
    table("e164", None, &[("030 901820", "-"), ("0049 30 901820", "+4930901820"), ("+41 44 668 18 00", "+41446681800")]);
    table("e164:US", Some("DE"), &[("(650) 253-0000", "+16502530000"), ("650.253.0000", "+16502530000")]);
    table("e164", Some("US"), &[("011 49 30 901820", "+4930901820"), ("1-650-253-0000 x123", "+16502530000")]);
    table("e164", Some("IT"), &[("06 698 12345", "+390669812345")]);
    table("e164", Some("AQ"), &[("+49 30 901820", "+4930901820"), ("123456", "-")]);
}

// Would break: a website and an address of one company belong to two companies.
#[test]
fn domains_are_those_that_were_registered() {
    table(
        "registrable_domain",
        None,
        &[
            ("https://www.shop.example.co.uk:8443/a?b", "example.co.uk"),
            ("Jo@mail.Example.com", "example.com"),
            ("example.com.", "example.com"),
            ("www.bücher.example", "xn--bcher-kva.example"),
            ("http://10.0.0.1/", "-"),
            ("co.uk", "-"),
            ("no website", "-"),
            ("n/a", "-"),
        ],
    );
}

// Would break: the law is chosen by a country that nobody named, or by none although one was named.
#[test]
fn countries_are_read_by_code_and_name() {
    table(
        "country_code",
        None,
        &[
            ("de", "DE"),
            ("DEU", "DE"),
            ("Germany", "DE"),
            ("Deutschland", "DE"),
            ("ÖSTERREICH", "AT"),
            ("Österreich", "AT"),
            ("U.S.A.", "US"),
            ("United States of America", "US"),
            ("the Netherlands", "NL"),
            ("UK", "GB"),
            ("NO", "NO"),
            ("Côte d'Ivoire", "CI"),
            ("Česko", "CZ"),
            ("Türkiye", "TR"),
            ("日本", "JP"),
            ("Korea, South", "-"),
            ("Atlantis", "-"),
            ("XX", "-"),
            ("", "-"),
        ],
    );
    table(
        "country_name",
        None,
        &[("DE", "Germany"), ("US", "United States"), ("GB", "United Kingdom"), ("NL", "Netherlands"), ("Germany", "-")],
    );
}

// Would break: California (US-CA) is taken for Canada, or a state of another country is believed.
#[test]
fn states_are_read_with_their_country() {
    table(
        "state_code",
        Some("US"),
        &[("CA", "US-CA"), ("california", "US-CA"), ("New York", "US-NY"), ("us-tx", "US-TX"), ("Bayern", "-"), ("DE-BY", "-")],
    );
    table(
        "state_code",
        Some("DE"),
        &[
            ("Bayern", "DE-BY"),
            ("Bavaria", "DE-BY"),
            ("BY", "DE-BY"),
            ("NRW", "DE-NW"),
            ("Thüringen", "DE-TH"),
            ("Baden-Württemberg", "DE-BW"),
        ],
    );
    table("state_code", Some("CA"), &[("ON", "CA-ON"), ("Québec", "CA-QC"), ("PEI", "CA-PE"), ("British Columbia", "CA-BC")]);
    table("state_code", Some("AT"), &[("Wien", "AT-9"), ("Steiermark", "AT-6"), ("OÖ", "-")]);
    table("state_code", Some("CH"), &[("ZH", "CH-ZH"), ("Zürich", "CH-ZH")]);
    table("state_code", None, &[("California", "US-CA"), ("CA", "-"), ("DE-BY", "DE-BY"), ("Ontario", "CA-ON"), ("", "-")]);
    table("state_short", None, &[("DE-BY", "BY"), ("BY", "BY")]);
}

// Would break: every German state in the list is unknown to the transform.
#[test]
fn all_states_of_the_big_three_are_known_by_name() {
    for country in ["US", "CA", "DE"] {
        for state in rust_iso3166::from_alpha2(country).and_then(|c| c.subdivisions().map(<[_]>::to_vec)).unwrap_or_default() {
            assert_eq!(place::state_code(state.name, Some(country)), Some(state.code), "{}", state.name);
        }
    }
}

// Would break: a locale such as `de_AT`, as Salesforce keeps it, is no language.
#[test]
fn languages_are_read_by_code_locale_and_name() {
    table(
        "language_code",
        None,
        &[("en-US", "en"), ("de_AT", "de"), ("German", "de"), ("Français", "fr"), ("nl", "nl"), ("xx", "-"), ("", "-")],
    );
}

// Would break: 1.200 employees are one, or 1,200.50 euros are 1.20050.
#[test]
fn numbers_are_read_in_both_styles() {
    table(
        "integer",
        None,
        &[
            ("1,200", "1200"),
            ("1.200", "1200"),
            ("1 200", "1200"),
            ("1'200", "1200"),
            ("12.0", "12"),
            ("-5", "-5"),
            ("1.5", "-"),
            ("50-100", "-"),
            ("1e3", "-"),
            ("", "-"),
            ("99999999999999999999", "-"),
        ],
    );
    table(
        "decimal",
        None,
        &[
            ("1,200.50", "1200.5"),
            ("1.200,50", "1200.5"),
            ("€ 1.200,50", "1200.5"),
            ("1200.50 EUR", "1200.5"),
            ("USD 1,200", "1200"),
            ("1,200", "1200"),
            ("1.200", "1.2"),
            ("0,5", "0.5"),
            ("12,50", "12.5"),
            ("1.234.567", "1234567"),
            ("1,23,4", "-"),
            ("1.200.50", "-"),
            ("-0", "0"),
            ("007", "7"),
            (".5", "0.5"),
            ("1.2M", "-"),
            (".", "-"),
            ("", "-"),
        ],
    );
    table("decimal:,", None, &[("1,200", "1.2"), ("1.200", "1200"), ("1.200,5", "1200.5"), ("12", "12"), ("1,2,3", "-")]);
    table("boolean", None, &[("Yes", "true"), ("0", "false"), ("on", "true"), ("Nein", "false"), ("maybe", "-"), ("", "-")]);
    table("band:10,50,250", None, &[("0", "0-9"), ("9", "0-9"), ("10", "10-49"), ("1.200", "250+"), ("-1", "-"), ("many", "-")]);
}

// Would break: a time in Salesforce's or HubSpot's spelling is not a time, or is off by the zone.
#[test]
fn times_are_read_as_vendors_write_them() {
    table(
        "datetime",
        None,
        &[
            ("2026-05-06T11:29:24.000+0000", "2026-05-06T11:29:24Z"),
            ("2026-05-06T13:29:24+02:00", "2026-05-06T11:29:24Z"),
            ("2026-05-06T13:29:24+0200", "2026-05-06T11:29:24Z"),
            ("2026-05-06T11:29:24Z", "2026-05-06T11:29:24Z"),
            ("2026-05-06 11:29:24", "2026-05-06T11:29:24Z"),
            ("2026-05-06", "2026-05-06T00:00:00Z"),
            ("1778066964000", "2026-05-06T11:29:24Z"),
            ("1778066964", "2026-05-06T11:29:24Z"),
            ("2026-05-06T11:29:24.123Z", "2026-05-06T11:29:24.123Z"),
            ("yesterday", "-"),
            ("2026-13-01", "-"),
            ("", "-"),
        ],
    );
    table(
        "date",
        None,
        &[
            ("2026-03-31", "2026-03-31"),
            ("31.3.2026", "2026-03-31"),
            ("20260331", "2026-03-31"),
            ("2026-03-31T23:30:00-05:00", "2026-04-01"),
            ("1778066964000", "2026-05-06"),
            ("03/04/2026", "-"),
            ("31.13.2026", "-"),
            ("1.2", "-"),
            ("", "-"),
        ],
    );
    table("date:dmy", None, &[("03/04/2026", "2026-04-03"), ("2026-04-03", "2026-04-03")]);
    table("date:mdy", None, &[("03/04/2026", "2026-03-04")]);
    table("epoch_ms", None, &[("2026-05-06T11:29:24Z", "1778066964000")]);
}

// Would break: dates and decimals as Tryton sends them are not understood.
#[test]
fn wrapped_values_count_as_plain() {
    let mapping = with_fields("own_last_action = \"write_date\"\nrevenue = \"amount\"\nx_day = \"day\"");
    let crm = json!({
        "write_date": { "__class__": "datetime", "year": 2026, "month": 5, "day": 6, "hour": 11, "minute": 29, "second": 24, "microsecond": 0 },
        "amount": { "__class__": "Decimal", "decimal": "1200.50" },
        "day": { "__class__": "date", "year": 2026, "month": 5, "day": 6 },
    });
    assert_eq!(lead(&mapping, crm), json!({ "own_last_action": "2026-05-06T11:29:24Z", "revenue": "1200.5", "x_day": "2026-05-06" }));
}

// Would break: a note's markup, or a script in it, reaches the recipient.
#[test]
fn html_is_taken_out() {
    table(
        "strip_html",
        None,
        &[
            ("<p>Hello&nbsp;<b>you</b> &amp; me</p>", "Hello you & me"),
            ("a<script>alert('<b>')</script>b", "a b"),
            ("<style>p { }</style>x<!-- <p> -->y", "x y"),
            ("5 < 6 & 7 > 2", "5 < 6 & 7 > 2"),
            ("&#65;&#x42;&unknown;", "AB&unknown;"),
            ("<p", ""),
            ("&amp;lt;b&gt;", "&lt;b>"),
        ],
    );
}

// Would break: a step that nobody wrote is accepted, or its parameter is ignored.
#[test]
fn a_step_that_makes_no_sense_is_refused_with_what_to_write() {
    for (text, hint) in [
        ("lowercas", "did you mean `lowercase`?"),
        ("trim:3", "write `trim` alone"),
        ("truncate", "write `truncate:CHARACTERS`"),
        ("truncate:0", "write `truncate:CHARACTERS`"),
        ("e164:Germany", "write `e164` alone or `e164:COUNTRY`"),
        ("split:", "write `split:SEPARATOR`"),
        ("band:50,10", "write `band:EDGE,EDGE…`"),
        ("date:ymd", "write `date` alone or `date:dmy|mdy`"),
    ] {
        assert_eq!(Transform::parse(text).map_err(|no| no.hint), Err(hint.to_owned()), "{text}");
    }
}

proptest! {
    // Would break: input from a vendor takes the daemon down.
    #[test]
    fn no_text_is_too_strange(text in "\\PC{0,40}", country in prop::option::of("[A-Z]{2}")) {
        for step in ["email", "e164", "country_code", "state_code", "language_code", "registrable_domain", "email_kind", "integer", "decimal",
            "decimal:,", "boolean", "date", "date:dmy", "datetime", "split:;", "first_word", "rest", "strip_html", "band:10", "titlecase_name"] {
            let _ = Transform::parse(step).expect("known").apply(&text, country.as_deref());
        }
    }

    // Would break: a lead mapped twice differs from itself, so every poll looks like a change.
    #[test]
    fn normalising_twice_changes_nothing(text in "[ -~äöüÄßé]{0,24}", country in prop::sample::select(vec!["DE", "US", "CA"])) {
        for def in FIELDS {
            if let Ok(once) = normalise(def.kind, &text, Some(country)) {
                // The last number is remembered: what is asked here is what reading says.
                let _ = contact::e164("+4930901820", None);
                let again = transform::plain(&once).map(|t| normalise(def.kind, &t, Some(country)));
                prop_assert_eq!(again, Some(Ok(once)), "{}", def.name);
            }
        }
    }

    // Would break: a phone number is valid or not depending on how it is spaced.
    #[test]
    fn spacing_makes_no_difference_to_a_number(area in 30u32..40, rest in 100_000u32..9_999_999) {
        let plain = contact::e164(&format!("0{area}{rest}"), Some("DE"));
        let spaced = contact::e164(&format!("(0{area}) {rest}"), Some("DE"));
        prop_assert_eq!(&plain, &spaced);
        if let Some(number) = plain {
            let _ = contact::e164("+4930901820", None);
            prop_assert_eq!(contact::e164(&number, None), Some(number.clone()));
        }
    }

    // Would break: times drift on their way through the milliseconds.
    #[test]
    fn moments_survive_every_spelling(ms in 1_000_000_000_000i64..4_000_000_000_000) {
        let at = jiff::Timestamp::from_millisecond(ms).expect("in range");
        prop_assert_eq!(time::moment(&ms.to_string()), Some(at));
        prop_assert_eq!(time::moment(&at.to_string()), Some(at));
        prop_assert_eq!(normalise(Kind::DateTime, &at.to_string(), None), Ok(json!(at.to_string())));
    }
}
