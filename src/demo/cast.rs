//! The people of the demo: who they are, what they agreed to, and what is wrong with some of them.
//!
//! This is the demo's own truth. The figures at the end compare the recipients' systems with it, and
//! never with what our own store believes.

use leadshare_connectors::sdk::Fields;
use serde_json::{Value, json};

use crate::clock::{DAY, HOUR, Millis, rfc3339};

/// What a person stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Story {
    /// Asked for it, said yes, fits.
    Good,
    /// Good, and already known at the recipient.
    KnownThere,
    /// Took the newsletter, chose no partner.
    NoChoice,
    /// Chose "nobody".
    Nobody,
    /// The yes came from an import, not from the person.
    Imported,
    /// Opted out of e-mail.
    OptedOut,
    /// On the operator's suppression list.
    Suppressed,
    /// Outside the territory.
    ElsewhereCountry,
    /// Acted too long ago.
    Stale,
    /// An address that is none.
    Invalid,
    /// A company too small, a competitor, a free-mail address.
    DoesNotFit,
    /// The same person twice at one source.
    Twice,
}

/// One record at a source.
#[derive(Debug, Clone)]
pub struct Person {
    /// The source's connection.
    pub source: &'static str,
    /// The recipient that could get it.
    pub recipient: &'static str,
    /// What it stands for.
    pub story: Story,
    /// The e-mail address as it should arrive, lower case.
    pub email: String,
    /// Whether this person agreed to be named to the recipient.
    pub agreed: bool,
    /// The vendor fields of the record at the source.
    pub fields: Fields,
}

const FIRST: [&str; 24] = [
    "Ada", "Bram", "Chiara", "Dilan", "Elif", "Femke", "Goran", "Hanna", "Iris", "Jonas", "Kofi", "Lotte", "Mats", "Noor", "Oskar", "Pien",
    "Quinn", "Rosa", "Sven", "Tess", "Umut", "Vera", "Wout", "Yara",
];
const LAST: [&str; 21] = [
    "Adler", "Bakker", "Castro", "Dekker", "Engel", "Fischer", "Greco", "Hoekstra", "Ivanov", "Jansen", "Koch", "Lindner", "Meyer",
    "Novak", "Okoye", "Peters", "Quist", "Roos", "Sommer", "Timmer", "Ueda",
];
const COMPANY: [&str; 17] = [
    "Aster Logistics",
    "Birk Retail",
    "Cobalt Works",
    "Delta Mills",
    "Ember Foods",
    "Fjord Parts",
    "Gale Textiles",
    "Harbor Tools",
    "Iris Optics",
    "Juniper Homes",
    "Kestrel Bikes",
    "Lark Print",
    "Mosaic Tiles",
    "Nimbus Labs",
    "Onyx Metals",
    "Pine Furniture",
    "Quarry Stone",
];

/// Of twenty people, eight or nine are good.
const STORIES: [Story; 20] = [
    Story::Good,
    Story::NoChoice,
    Story::Good,
    Story::ElsewhereCountry,
    Story::Good,
    Story::Nobody,
    Story::Stale,
    Story::Good,
    Story::KnownThere,
    Story::Invalid,
    Story::Good,
    Story::OptedOut,
    Story::Imported,
    Story::Good,
    Story::DoesNotFit,
    Story::Twice,
    Story::Good,
    Story::Suppressed,
    Story::Good,
    Story::Good,
];

/// The people of a demo with `leads` records: half from the platform, a quarter from the agency, a
/// quarter from the webinar's two hosts.
pub fn people(leads: usize, now: Millis) -> Vec<Person> {
    (0..leads)
        .map(|i| match i % 8 {
            0..=3 => northwind(i, now),
            4 | 5 => lumen(i, now),
            6 => webinar_northwind(i, now),
            _ => webinar_orchard(i, now),
        })
        .collect()
}

struct Basics {
    story: Story,
    first: &'static str,
    last: &'static str,
    company: String,
    domain: String,
    email: String,
    acted: Millis,
}

fn basics(i: usize, now: Millis) -> Basics {
    // The fourth lane of each story cycle differs from lane to lane, so that all meet all.
    let story = STORIES[(i / 8 + i) % STORIES.len()];
    let (first, last) = (FIRST[i % FIRST.len()], LAST[(i / 3) % LAST.len()]);
    let company = format!("{} {}", COMPANY[(i / 2) % COMPANY.len()], i / 34 + 1);
    let domain = match story {
        Story::DoesNotFit if i.is_multiple_of(2) => "rivalcloud.example".to_owned(),
        _ => format!("{}.example", company.to_lowercase().replace(' ', "-")),
    };
    let email = match story {
        Story::Invalid => format!("{}.{}.at.{domain}", first.to_lowercase(), last.to_lowercase()),
        Story::DoesNotFit if i % 2 == 1 => format!("{}.{}{i}@mailinator.com", first.to_lowercase(), last.to_lowercase()),
        _ => format!("{}.{}{i}@{domain}", first.to_lowercase(), last.to_lowercase()),
    };
    let ago = if story == Story::Stale { 45 * DAY } else { HOUR + (i as Millis % 48) * HOUR };
    Basics { story, first, last, company, domain, email, acted: now - ago }
}

/// Whether somebody with this story agreed to be named to the recipient. What else keeps a lead
/// from leaving (territory, freshness) is not a question of consent.
fn agreed(story: Story) -> bool {
    !matches!(story, Story::NoChoice | Story::Nobody | Story::Imported | Story::OptedOut)
}

fn fields<const N: usize>(pairs: [(&str, Value); N]) -> Fields {
    pairs.into_iter().filter(|(_, value)| !value.is_null()).map(|(name, value)| (name.to_owned(), value)).collect()
}

fn northwind(i: usize, now: Millis) -> Person {
    let b = basics(i, now);
    let (country, phone) = match (b.story, i % 3) {
        (Story::ElsewhereCountry, _) => ("France", "01 42 68 53 00"),
        (_, 0) => ("Germany", "030 901820"),
        (_, 1) => ("Netherlands", "020 624 1111"),
        _ => ("Austria", "01 58858"),
    };
    let choice = match b.story {
        Story::NoChoice => Value::Null,
        Story::Nobody => json!("nobody"),
        _ => json!("Brightwater"),
    };
    let yes = choice == "Brightwater";
    let when = |at: Millis| if yes { json!(rfc3339(at)) } else { Value::Null };
    let record = fields([
        // Neither HubSpot nor Salesforce takes a malformed address; there, such a person has none.
        ("email", if b.story == Story::Invalid { Value::Null } else { json!(b.email) }),
        ("firstname", json!(b.first)),
        ("lastname", json!(b.last)),
        ("phone", json!(phone)),
        ("jobtitle", json!("Head of Operations")),
        ("company", json!(b.company)),
        ("country", json!(country)),
        ("industry", json!(["COMPUTER_SOFTWARE", "MANUFACTURING", "RETAIL", "LOGISTICS"][i % 4])),
        ("numemployees", json!(if b.story == Story::DoesNotFit { "5-25" } else { "100-500" })),
        ("ls_need", json!("Set-up help")),
        ("ls_timeframe", json!("This quarter")),
        ("recent_conversion_date", json!(rfc3339(b.acted))),
        ("ls_partner_choice", choice),
        ("ls_notice", if yes { json!("setup-help-2026") } else { Value::Null }),
        ("ls_consent_at", when(b.acted)),
        ("ls_consent_source", if yes { json!(if b.story == Story::Imported { "IMPORT" } else { "FORM" }) } else { Value::Null }),
        ("ls_consented_email", if yes { json!(b.email) } else { Value::Null }),
        ("ls_consented_phone", if yes && i.is_multiple_of(2) && b.story != Story::OptedOut { json!(phone) } else { Value::Null }),
        ("ls_double_opt_in_at", when(b.acted + 60_000)),
        ("ls_form_url", json!("https://northwind.example/help")),
    ]);
    Person {
        source: "northwind",
        recipient: "brightwater",
        story: b.story,
        email: b.email.to_lowercase(),
        agreed: agreed(b.story),
        fields: record,
    }
}

fn lumen(i: usize, now: Millis) -> Person {
    let b = basics(i, now);
    let yes = !matches!(b.story, Story::NoChoice | Story::Nobody);
    let record = fields([
        ("Email", if b.story == Story::Invalid { Value::Null } else { json!(b.email) }),
        ("FirstName", json!(b.first)),
        ("LastName", json!(b.last)),
        ("Phone", json!("020 7946 0018")),
        ("Title", json!("Marketing Lead")),
        ("Company", json!(b.company)),
        ("Country", json!(if b.story == Story::ElsewhereCountry { "Norway" } else { "United Kingdom" })),
        ("NumberOfEmployees", json!(80)),
        ("Need__c", json!(if b.story == Story::DoesNotFit { "Creative" } else { "Analytics instrumentation" })),
        ("Budget__c", json!("12500.00")),
        ("Last_Form_At__c", json!(rfc3339(b.acted))),
        (
            "Partner_Choice__c",
            json!(if b.story == Story::Nobody {
                "None"
            } else if yes {
                "Tessera"
            } else {
                ""
            }),
        ),
        ("Notice__c", if yes { json!("analytics-2026") } else { Value::Null }),
        ("Consent_At__c", if yes { json!(rfc3339(b.acted)) } else { Value::Null }),
        ("Consent_Source__c", if yes { json!(if b.story == Story::Imported { "Import" } else { "Web form" }) } else { Value::Null }),
        ("Consented_Email__c", if yes { json!(b.email) } else { Value::Null }),
        ("Form_Url__c", json!("https://lumen.example/analytics")),
        ("HasOptedOutOfEmail", json!(b.story == Story::OptedOut)),
        ("DoNotCall", json!(b.story == Story::OptedOut)),
    ]);
    Person { source: "lumen", recipient: "tessera", story: b.story, email: b.email.to_lowercase(), agreed: agreed(b.story), fields: record }
}

fn webinar_northwind(i: usize, now: Millis) -> Person {
    let b = basics(i, now);
    let yes = !matches!(b.story, Story::NoChoice | Story::Nobody);
    let record = fields([
        // Neither HubSpot nor Salesforce takes a malformed address; there, such a person has none.
        ("email", if b.story == Story::Invalid { Value::Null } else { json!(b.email) }),
        ("firstname", json!(b.first)),
        ("lastname", json!(b.last)),
        ("company", json!(b.company)),
        ("country", json!(if b.story == Story::ElsewhereCountry { "Spain" } else { "Germany" })),
        ("industry", json!("RETAIL")),
        ("ls_interest", json!(if b.story == Story::DoesNotFit { "Cloud" } else { "Inventory" })),
        ("recent_conversion_date", json!(rfc3339(b.acted))),
        ("ls_partner_choice", if yes { json!("Orchard") } else { Value::Null }),
        ("ls_notice", if yes { json!("webinar-2026") } else { Value::Null }),
        ("ls_consent_at", if yes { json!(rfc3339(b.acted)) } else { Value::Null }),
        ("ls_consent_source", if yes { json!(if b.story == Story::Imported { "IMPORT" } else { "FORM" }) } else { Value::Null }),
        ("ls_consented_email", if yes { json!(b.email) } else { Value::Null }),
        ("ls_form_url", json!("https://northwind.example/webinar")),
    ]);
    Person {
        source: "northwind",
        recipient: "orchard",
        story: b.story,
        email: b.email.to_lowercase(),
        agreed: agreed(b.story),
        fields: record,
    }
}

fn webinar_orchard(i: usize, now: Millis) -> Person {
    let b = basics(i, now);
    let yes = !matches!(b.story, Story::NoChoice | Story::Nobody);
    let day = |at: Millis| rfc3339(at).get(..10).unwrap_or_default().to_owned();
    let record = fields([
        ("party.name", json!(format!("{} {}", b.first, b.last))),
        ("party.email", json!(b.email)),
        ("party.website", json!(format!("https://{}", b.domain))),
        ("party.country", json!(if b.story == Story::ElsewhereCountry { "US" } else { "NL" })),
        ("start_date", json!(day(b.acted))),
        ("description", if yes { json!("webinar-orchard-2026") } else { Value::Null }),
        (
            "comment",
            json!(if b.story == Story::Imported {
                "imported"
            } else if yes {
                "cloud"
            } else {
                ""
            }),
        ),
    ]);
    // Tryton keeps no opt-out of its own; who opted out there simply did not tick anything.
    let story = b.story;
    Person {
        source: "orchard",
        recipient: "northwind",
        story,
        email: b.email.to_lowercase(),
        agreed: yes && story != Story::Imported,
        fields: record,
    }
}
