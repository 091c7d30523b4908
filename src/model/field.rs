//! The catalogue of lead fields: what a mapping may fill and an agreement may let leave.

/// The kind of value that a lead field holds, after normalisation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Text, trimmed.
    Text,
    /// An e-mail address, lower case.
    Email,
    /// A phone number in E.164.
    Phone,
    /// An ISO 3166-1 alpha-2 country code.
    Country,
    /// An ISO 3166-2 subdivision code, such as `DE-BY`.
    State,
    /// An ISO 639-1 language code.
    Language,
    /// A registrable domain, lower case.
    Domain,
    /// A whole number.
    Integer,
    /// A decimal number as text, such as `1200.50`.
    Decimal,
    /// `true` or `false`.
    Boolean,
    /// A date as `YYYY-MM-DD`.
    Date,
    /// A moment in RFC 3339, UTC.
    DateTime,
    /// One of the program's own words, lower case with underscores.
    Choice,
}

/// One field of the common lead.
#[derive(Debug)]
pub struct FieldDef {
    /// The name in mappings, agreements and conditions.
    pub name: &'static str,
    /// The label for people.
    pub label: &'static str,
    /// The kind of its value.
    pub kind: Kind,
    /// Whether it identifies or reaches a person: masked in pages, never in logs.
    pub personal: bool,
}

const fn field(name: &'static str, label: &'static str, kind: Kind, personal: bool) -> FieldDef {
    FieldDef { name, label, kind, personal }
}

/// Every field that a lead may have. A program's own fields start with `x_` and are text.
pub const FIELDS: &[FieldDef] = &[
    field("email", "E-mail", Kind::Email, true),
    field("first_name", "First name", Kind::Text, true),
    field("last_name", "Last name", Kind::Text, true),
    field("full_name", "Full name", Kind::Text, true),
    field("phone", "Phone", Kind::Phone, true),
    field("mobile", "Mobile", Kind::Phone, true),
    field("role", "Role", Kind::Text, false),
    field("seniority", "Seniority", Kind::Choice, false),
    field("language", "Language", Kind::Language, false),
    field("company", "Company", Kind::Text, false),
    field("company_domain", "Company domain", Kind::Domain, false),
    field("website", "Website", Kind::Text, false),
    field("street", "Street", Kind::Text, true),
    field("postal_code", "Postal code", Kind::Text, true),
    field("city", "City", Kind::Text, false),
    field("state", "State", Kind::State, false),
    field("country", "Country", Kind::Country, false),
    field("industry", "Industry", Kind::Choice, false),
    field("employees", "Employees", Kind::Integer, false),
    field("employees_band", "Employees (band)", Kind::Choice, false),
    field("revenue", "Revenue", Kind::Decimal, false),
    field("need", "Need", Kind::Choice, false),
    field("interest", "Interest", Kind::Choice, false),
    field("timeframe", "Timeframe", Kind::Choice, false),
    field("budget", "Budget", Kind::Decimal, false),
    field("campaign", "Campaign", Kind::Text, false),
    field("lead_source", "Lead source", Kind::Text, false),
    field("score", "Score", Kind::Integer, false),
    field("notes", "Notes", Kind::Text, true),
    field("own_last_action", "Last action of the person", Kind::DateTime, false),
    field("open_deal_at_source", "Open deal at the source", Kind::Boolean, false),
    field("email_kind", "Kind of e-mail address", Kind::Choice, false),
];

/// The definition of a field; own fields (`x_…`) are text and treated as personal.
pub fn lookup(name: &str) -> Option<&'static FieldDef> {
    const OWN: FieldDef = field("x_", "Own field", Kind::Text, true);
    if name.len() > 2 && name.starts_with("x_") { Some(&OWN) } else { FIELDS.iter().find(|f| f.name == name) }
}
