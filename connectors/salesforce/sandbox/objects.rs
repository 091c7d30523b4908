//! The objects and fields that a new organisation has.

use super::schema::{Field, Kind, Object};

const SOURCES: &[&str] = &["Web", "Phone Inquiry", "Partner Referral", "Purchased List", "Other"];
const RATINGS: &[&str] = &["Hot", "Warm", "Cold"];
const SALUTATIONS: &[&str] = &["Mr.", "Ms.", "Mrs.", "Dr.", "Prof.", "Mx."];
const INDUSTRIES: &[&str] = &[
    "Agriculture",
    "Banking",
    "Biotechnology",
    "Chemicals",
    "Construction",
    "Consulting",
    "Education",
    "Electronics",
    "Energy",
    "Engineering",
    "Finance",
    "Government",
    "Healthcare",
    "Insurance",
    "Manufacturing",
    "Media",
    "Retail",
    "Technology",
    "Telecommunications",
    "Transportation",
    "Utilities",
    "Other",
];

/// Lead statuses: name, whether it is a converted one.
pub const LEAD_STATUSES: &[(&str, bool)] =
    &[("Open - Not Contacted", false), ("Working - Contacted", false), ("Closed - Converted", true), ("Closed - Not Converted", false)];

/// Opportunity stages: name, closed, won, probability.
pub const STAGES: &[(&str, bool, bool, i64)] = &[
    ("Prospecting", false, false, 10),
    ("Qualification", false, false, 10),
    ("Needs Analysis", false, false, 20),
    ("Proposal/Price Quote", false, false, 75),
    ("Negotiation/Review", false, false, 90),
    ("Closed Won", true, true, 100),
    ("Closed Lost", true, false, 0),
];

fn person(street: &str) -> Vec<Field> {
    use Kind::{Bool, Date, DateTime, Email, Phone, Picklist, Reference, Text, TextArea};
    let address = |part: &str| format!("{street}{part}");
    vec![
        Field::new("MasterRecordId", Reference, 18).read_only(),
        Field::new("LastName", Text, 80).required(),
        Field::new("FirstName", Text, 40),
        Field::new("Salutation", Picklist, 40).of(SALUTATIONS),
        Field::new("Name", Text, 121).required().read_only(),
        Field::new("Title", Text, 128),
        Field::new("Phone", Phone, 40),
        Field::new("MobilePhone", Phone, 40),
        Field::new("Fax", Phone, 40),
        Field::new("Email", Email, 80),
        Field::new(&address("Street"), TextArea, 255),
        Field::new(&address("City"), Text, 40),
        Field::new(&address("State"), Text, 80),
        Field::new(&address("PostalCode"), Text, 20),
        Field::new(&address("Country"), Text, 80),
        Field::new("Description", TextArea, 32_000),
        Field::new("LeadSource", Picklist, 255).of(SOURCES),
        Field::new("HasOptedOutOfEmail", Bool, 0).defaulted(),
        Field::new("HasOptedOutOfFax", Bool, 0).defaulted(),
        Field::new("DoNotCall", Bool, 0).defaulted(),
        Field::new("EmailBouncedReason", Text, 255).read_only(),
        Field::new("EmailBouncedDate", DateTime, 0).read_only(),
        Field::new("LastActivityDate", Date, 0).read_only(),
        Field::new("IndividualId", Reference, 18).to("Individual", "Individual"),
        Field::new("OwnerId", Reference, 18).to("User", "Owner").defaulted(),
    ]
}

/// A new organisation's objects.
pub fn objects() -> Vec<Object> {
    use Kind::{Bool, Currency, Date, Double, Email, Int, Percent, Phone, Picklist, Reference, Text, TextArea, Url};
    let statuses: Vec<&str> = LEAD_STATUSES.iter().map(|s| s.0).collect();
    let stages: Vec<&str> = STAGES.iter().map(|s| s.0).collect();

    let mut lead = person("");
    lead.extend([
        Field::new("Company", Text, 255).required(),
        Field::new("Website", Url, 255),
        Field::new("Status", Picklist, 255).of(&statuses).restricted().defaulted(),
        Field::new("Industry", Picklist, 255).of(INDUSTRIES),
        Field::new("Rating", Picklist, 255).of(RATINGS),
        Field::new("AnnualRevenue", Currency, 0),
        Field::new("NumberOfEmployees", Int, 0),
        Field::new("IsUnreadByOwner", Bool, 0).defaulted(),
        Field::new("IsConverted", Bool, 0).defaulted().read_only(),
        Field::new("ConvertedDate", Date, 0).read_only(),
        Field::new("ConvertedAccountId", Reference, 18).to("Account", "ConvertedAccount").read_only(),
        Field::new("ConvertedContactId", Reference, 18).to("Contact", "ConvertedContact").read_only(),
        Field::new("ConvertedOpportunityId", Reference, 18).to("Opportunity", "ConvertedOpportunity").read_only(),
    ]);
    let mut contact = person("Mailing");
    contact.extend([Field::new("AccountId", Reference, 18).to("Account", "Account"), Field::new("Department", Text, 80)]);

    let history = |of: &'static str| {
        let fields = [
            Field::new(&format!("{of}Id"), Reference, 18).to(of, of).read_only(),
            Field::new("Field", Picklist, 255).read_only(),
            Field::new("OldValue", Kind::Any, 0).read_only(),
            Field::new("NewValue", Kind::Any, 0).read_only(),
        ];
        fields.into()
    };
    let list = |extra: Vec<Field>| -> Vec<Field> {
        let mut fields = vec![
            Field::new("MasterLabel", Text, 255).required().read_only(),
            Field::new("ApiName", Text, 255).required().read_only(),
            Field::new("SortOrder", Int, 0).read_only(),
        ];
        fields.extend(extra.into_iter().map(Field::read_only));
        fields
    };
    vec![
        Object::new("Lead", "Leads", "00Q", true, lead),
        Object::new("Contact", "Contacts", "003", true, contact),
        Object::new(
            "Account",
            "Accounts",
            "001",
            true,
            vec![
                Field::new("MasterRecordId", Reference, 18).read_only(),
                Field::new("Name", Text, 255).required(),
                Field::new("Phone", Phone, 40),
                Field::new("Website", Url, 255),
                Field::new("Industry", Picklist, 255).of(INDUSTRIES),
                Field::new("BillingCountry", Text, 80),
                Field::new("NumberOfEmployees", Int, 0),
                Field::new("OwnerId", Reference, 18).to("User", "Owner").defaulted(),
            ],
        ),
        Object::new(
            "Opportunity",
            "Opportunities",
            "006",
            true,
            vec![
                Field::new("AccountId", Reference, 18).to("Account", "Account"),
                Field::new("Name", Text, 120).required(),
                Field::new("Description", TextArea, 32_000),
                Field::new("StageName", Picklist, 255).of(&stages).restricted().required(),
                Field::new("Amount", Currency, 0),
                Field::new("Probability", Percent, 0),
                Field::new("CloseDate", Date, 0).required(),
                Field::new("Type", Picklist, 255).of(&["Existing Business", "New Business"]),
                Field::new("LeadSource", Picklist, 255).of(SOURCES),
                Field::new("IsClosed", Bool, 0).defaulted().read_only(),
                Field::new("IsWon", Bool, 0).defaulted().read_only(),
                Field::new("ContactId", Reference, 18).to("Contact", "Contact"),
                Field::new("OwnerId", Reference, 18).to("User", "Owner").defaulted(),
            ],
        ),
        Object::new("LeadHistory", "Lead History", "00q", false, history("Lead")),
        Object::new("ContactHistory", "Contact History", "03h", false, history("Contact")),
        Object::new(
            "Individual",
            "Individuals",
            "0PK",
            true,
            vec![
                Field::new("LastName", Text, 80).required(),
                Field::new("FirstName", Text, 40),
                Field::new("HasOptedOutSolicit", Bool, 0).defaulted(),
                Field::new("HasOptedOutProcessing", Bool, 0).defaulted(),
                Field::new("HasOptedOutProfiling", Bool, 0).defaulted(),
                Field::new("HasOptedOutTracking", Bool, 0).defaulted(),
                Field::new("ShouldForget", Bool, 0).defaulted(),
                Field::new("CanStorePiiElsewhere", Bool, 0).defaulted(),
            ],
        ),
        Object::new(
            "LeadStatus",
            "Lead Status Values",
            "01J",
            false,
            list(vec![Field::new("IsDefault", Bool, 0), Field::new("IsConverted", Bool, 0)]),
        ),
        Object::new(
            "OpportunityStage",
            "Opportunity Stages",
            "01K",
            false,
            list(vec![
                Field::new("IsActive", Bool, 0),
                Field::new("IsClosed", Bool, 0),
                Field::new("IsWon", Bool, 0),
                Field::new("DefaultProbability", Double, 0),
            ]),
        ),
        Object::new(
            "User",
            "Users",
            "005",
            false,
            vec![
                Field::new("Username", Text, 80).read_only(),
                Field::new("Name", Text, 121).read_only(),
                Field::new("Email", Email, 128).read_only(),
                Field::new("IsActive", Bool, 0).read_only(),
            ],
        ),
    ]
}
