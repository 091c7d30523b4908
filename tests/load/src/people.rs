//! The people of a load: lead `i` is always the same person, so that nothing has to be kept about them.

use std::fmt::Write as _;

/// Ids of contacts at the sources start here.
pub const FIRST_ID: u64 = 100_000;

const FIRST: [&str; 12] = ["Ada", "Bram", "Chiara", "Dilan", "Elif", "Femke", "Goran", "Hanna", "Iris", "Jonas", "Kofi", "Lotte"];
const LAST: [&str; 11] = ["Adler", "Bakker", "Castro", "Dekker", "Engel", "Fischer", "Greco", "Hoekstra", "Ivanov", "Jansen", "Koch"];
const COMPANY: [&str; 9] = [
    "Aster Logistics",
    "Birk Retail",
    "Cobalt Works",
    "Delta Mills",
    "Ember Foods",
    "Fjord Parts",
    "Gale Textiles",
    "Harbor Tools",
    "Iris Optics",
];
/// Country, a number as people there write it, an industry.
const PLACES: [(&str, &str, &str); 3] =
    [("Germany", "030 901820", "MANUFACTURING"), ("Netherlands", "020 624 1111", "RETAIL"), ("Austria", "01 58858", "LOGISTICS")];

/// Writes the properties of lead `i` of a source as JSON. `choice` is the recipient that the person
/// ticked, if any, `acted` when, and `modified` the record's last change, both in RFC 3339.
pub fn write_properties(out: &mut String, i: usize, source: usize, choice: Option<usize>, acted: &str, modified: &str) {
    let (first, last, company) = (FIRST[i % 12], LAST[i / 12 % 11], COMPANY[i / 132 % 9]);
    let (country, phone, industry) = PLACES[i % 3];
    let number = i / 40 + 1;
    let email = format!("{first}.{last}.{i}@{company}-{number}.example").to_lowercase().replace(' ', "-");
    // Writing into a String cannot fail.
    let _ = write!(
        out,
        r#"{{"email":"{email}","firstname":"{first}","lastname":"{last}","phone":"{phone}","jobtitle":"Head of Operations","company":"{company} {number}","country":"{country}","industry":"{industry}","numemployees":"100-500","ls_need":"Set-up help","ls_timeframe":"This quarter","recent_conversion_date":"{acted}","#
    );
    let _ = match choice {
        Some(recipient) => write!(
            out,
            r#""ls_partner_choice":"Recipient {recipient}","ls_notice":"help-{source}","ls_consent_at":"{acted}","ls_consent_source":"FORM","ls_consented_email":"{email}","ls_consented_phone":"{phone}","ls_double_opt_in_at":"{acted}","#
        ),
        None => write!(
            out,
            r#""ls_partner_choice":null,"ls_notice":null,"ls_consent_at":null,"ls_consent_source":null,"ls_consented_email":null,"ls_consented_phone":null,"ls_double_opt_in_at":null,"#
        ),
    };
    let _ = write!(
        out,
        r#""ls_form_url":"https://source.example/help","ls_under_18":null,"hs_email_optout":null,"hs_merged_object_ids":null,"leadshare_id":null,"lastmodifieddate":"{modified}"}}"#
    );
}

/// The lead behind an address of [`write_properties`], which is inside this JSON of a record.
pub fn lead_of(properties: &str) -> Option<usize> {
    let (_, rest) = properties.split_once("\"email\":\"")?;
    let (local, _) = rest.split_once('@')?;
    local.rsplit('.').next()?.parse().ok()
}
