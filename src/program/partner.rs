//! Partner files: the legal entity behind a name, its calendar, reach, capacity and signers.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::model::agreement::{Day, Zone};

/// An organisation in the program; the file's name is the partner's name everywhere else.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Partner {
    /// The company's registered name.
    pub legal_name: String,
    /// Registered names that it had before: a notice with one of them no longer counts.
    #[serde(default)]
    pub former_names: Vec<String>,
    /// What it does in the program.
    pub kind: Kind,
    /// Where the legal entity is, ISO 3166-1.
    pub country: String,
    /// The company's domains.
    #[serde(default)]
    pub domains: Vec<String>,
    /// Whom to write to.
    pub contacts: Contacts,
    /// When people work there.
    pub calendar: Calendar,
    /// The languages that it works in, ISO 639-1.
    #[serde(default)]
    pub languages: Vec<String>,
    /// Its standing in the program.
    #[serde(default)]
    pub tier: Tier,
    /// What it is certified for.
    #[serde(default)]
    pub certificates: Vec<Certificate>,
    /// The needs, interests and industries that it is best at.
    #[serde(default)]
    pub specialisations: Vec<String>,
    /// The places whose companies it serves; everywhere when none is named.
    #[serde(default)]
    pub territory: Vec<String>,
    /// How many leads it takes over all agreements.
    #[serde(default)]
    pub capacity: PartnerCapacity,
    /// Who may sign for it, as name and office.
    #[serde(default)]
    pub signers: Vec<String>,
}

/// What a partner does in the program.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// Makes the product.
    Vendor,
    /// Sells to resellers.
    Distributor,
    /// Sells to customers.
    Reseller,
    /// Does the work around the product.
    Services,
    /// Makes demand for others.
    Agency,
}

/// Whom to write to at a partner.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Contacts {
    /// The mailbox for business questions.
    pub business: String,
    /// The mailbox for data-protection questions.
    pub privacy: String,
    /// The mailbox for what is late.
    pub escalation: Option<String>,
}

/// When people work at a partner.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Calendar {
    /// The zone of its hours.
    pub zone: Zone,
    /// The working days; Monday to Friday unless named.
    #[serde(default = "monday_to_friday")]
    pub days: Vec<Weekday>,
    /// When the day begins, as `09:00`.
    #[serde(default = "nine")]
    pub opens: String,
    /// When it ends, as `17:00`.
    #[serde(default = "five")]
    pub closes: String,
    /// Days on which nobody works.
    #[serde(default)]
    pub holidays: Vec<Day>,
}

fn monday_to_friday() -> Vec<Weekday> {
    vec![Weekday::Mon, Weekday::Tue, Weekday::Wed, Weekday::Thu, Weekday::Fri]
}

fn nine() -> String {
    "09:00".to_owned()
}

fn five() -> String {
    "17:00".to_owned()
}

/// A day of the week.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Weekday {
    /// Monday.
    Mon,
    /// Tuesday.
    Tue,
    /// Wednesday.
    Wed,
    /// Thursday.
    Thu,
    /// Friday.
    Fri,
    /// Saturday.
    Sat,
    /// Sunday.
    Sun,
}

/// A partner's standing in the program, from lowest to highest.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Tier {
    /// Registered only.
    #[default]
    Registered,
    /// Silver.
    Silver,
    /// Gold.
    Gold,
    /// Platinum.
    Platinum,
}

/// What a partner is certified for.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Certificate {
    /// The certificate's name.
    pub name: String,
    /// The last day on which it counts.
    pub expires: Day,
}

/// How many leads a partner takes over all agreements.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct PartnerCapacity {
    /// Open at the same time.
    pub open: Option<u32>,
    /// New in a day.
    pub day: Option<u32>,
    /// New in a month.
    pub month: Option<u32>,
}
