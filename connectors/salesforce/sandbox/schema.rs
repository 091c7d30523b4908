//! The objects and fields that a new organisation has, and those that its admins add.

use std::collections::BTreeMap;

/// A field's type.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Id,
    Text,
    TextArea,
    Email,
    Phone,
    Url,
    Bool,
    Int,
    Double,
    Currency,
    Percent,
    Date,
    DateTime,
    Picklist,
    Reference,
    /// A value of any type, which nothing can be compared with.
    Any,
}

impl Kind {
    /// The type as describe names it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Id => "id",
            Self::Text => "string",
            Self::TextArea => "textarea",
            Self::Email => "email",
            Self::Phone => "phone",
            Self::Url => "url",
            Self::Bool => "boolean",
            Self::Int => "int",
            Self::Double => "double",
            Self::Currency => "currency",
            Self::Percent => "percent",
            Self::Date => "date",
            Self::DateTime => "datetime",
            Self::Picklist => "picklist",
            Self::Reference => "reference",
            Self::Any => "anyType",
        }
    }

    /// The type in describe's `soapType`.
    pub fn soap(self) -> &'static str {
        match self {
            Self::Id | Self::Reference => "tns:ID",
            Self::Bool => "xsd:boolean",
            Self::Int => "xsd:int",
            Self::Double | Self::Currency | Self::Percent => "xsd:double",
            Self::Date => "xsd:date",
            Self::DateTime => "xsd:dateTime",
            Self::Any => "xsd:anyType",
            _ => "xsd:string",
        }
    }

    /// Whether values are numbers.
    pub fn numeric(self) -> bool {
        matches!(self, Self::Int | Self::Double | Self::Currency | Self::Percent)
    }

    /// Whether values are texts (ids and references apart).
    pub fn textual(self) -> bool {
        matches!(self, Self::Text | Self::TextArea | Self::Email | Self::Phone | Self::Url | Self::Picklist)
    }
}

/// A field.
#[derive(Debug, Clone)]
#[expect(clippy::struct_excessive_bools, reason = "each is a property that describe states")]
pub struct Field {
    pub name: String,
    pub label: String,
    pub kind: Kind,
    /// Most characters of a text; 0 where it does not apply.
    pub length: usize,
    pub nillable: bool,
    pub createable: bool,
    pub updateable: bool,
    pub defaulted: bool,
    pub external_id: bool,
    pub unique: bool,
    pub custom: bool,
    /// Whether a picklist takes only its options.
    pub restricted: bool,
    pub options: Vec<String>,
    /// For references: the other object, and the name of the relationship.
    pub reference: Option<(&'static str, &'static str)>,
    /// Hidden from the API client by field-level security.
    pub hidden: bool,
}

impl Field {
    /// A field that may be read and written, of this type.
    pub fn new(name: &str, kind: Kind, length: usize) -> Self {
        Self {
            name: name.to_owned(),
            label: label(name),
            kind,
            length,
            nillable: true,
            createable: true,
            updateable: true,
            defaulted: false,
            external_id: false,
            unique: false,
            custom: name.ends_with("__c"),
            restricted: false,
            options: Vec::new(),
            reference: None,
            hidden: false,
        }
    }

    fn required(mut self) -> Self {
        self.nillable = false;
        self
    }

    fn read_only(mut self) -> Self {
        self.createable = false;
        self.updateable = false;
        self
    }

    fn defaulted(mut self) -> Self {
        self.defaulted = true;
        self.nillable = false;
        self
    }

    fn of(mut self, options: &[&str]) -> Self {
        self.options = options.iter().map(|o| (*o).to_owned()).collect();
        self
    }

    fn restricted(mut self) -> Self {
        self.restricted = true;
        self
    }

    fn to(mut self, object: &'static str, relationship: &'static str) -> Self {
        self.reference = Some((object, relationship));
        self
    }

    /// Whether lookups by its value are indexed.
    pub fn indexed(&self) -> bool {
        self.external_id || self.unique || self.kind == Kind::Email || (self.kind == Kind::Reference && self.name != "OwnerId")
    }
}

/// `FirstName` as people see it: `First Name`.
fn label(name: &str) -> String {
    let mut out = String::new();
    for c in name.strip_suffix("__c").unwrap_or(name).chars() {
        if c.is_ascii_uppercase() && out.ends_with(|p: char| p.is_ascii_lowercase()) {
            out.push(' ');
        }
        out.push(if c == '_' { ' ' } else { c });
    }
    out
}

/// An object.
#[derive(Debug, Clone)]
pub struct Object {
    pub name: &'static str,
    pub plural: &'static str,
    /// First three characters of its ids.
    pub prefix: &'static str,
    pub fields: Vec<Field>,
    places: BTreeMap<String, usize>,
    /// Whether clients may write it.
    pub writable: bool,
}

impl Object {
    fn new(name: &'static str, plural: &'static str, prefix: &'static str, writable: bool, fields: Vec<Field>) -> Self {
        let mut object = Self { name, plural, prefix, fields: Vec::new(), places: BTreeMap::new(), writable };
        let audit = [
            Field::new("IsDeleted", Kind::Bool, 0).defaulted().read_only(),
            Field::new("CreatedDate", Kind::DateTime, 0).defaulted().read_only(),
            Field::new("CreatedById", Kind::Reference, 18).to("User", "CreatedBy").defaulted().read_only(),
            Field::new("LastModifiedDate", Kind::DateTime, 0).defaulted().read_only(),
            Field::new("LastModifiedById", Kind::Reference, 18).to("User", "LastModifiedBy").defaulted().read_only(),
            Field::new("SystemModstamp", Kind::DateTime, 0).defaulted().read_only(),
        ];
        object.add(Field::new("Id", Kind::Id, 18).defaulted().read_only());
        for field in fields.into_iter().chain(audit) {
            object.add(field);
        }
        object
    }

    /// Adds a field.
    pub fn add(&mut self, field: Field) {
        self.places.insert(field.name.to_ascii_lowercase(), self.fields.len());
        self.fields.push(field);
    }

    /// The field of this name, in any case, hidden ones too.
    pub fn any_field(&self, name: &str) -> Option<&Field> {
        self.places.get(&name.to_ascii_lowercase()).and_then(|place| self.fields.get(*place))
    }

    /// The field of this name that an API client may see.
    pub fn field(&self, name: &str) -> Option<&Field> {
        self.any_field(name).filter(|field| !field.hidden)
    }

    /// The same, to be changed.
    pub fn field_mut(&mut self, name: &str) -> Option<&mut Field> {
        let place = *self.places.get(&name.to_ascii_lowercase())?;
        self.fields.get_mut(place)
    }

    /// The reference field behind a relationship's name.
    pub fn relationship(&self, name: &str) -> Option<(&Field, &'static str)> {
        self.fields.iter().filter(|f| !f.hidden).find_map(|f| {
            let (object, relationship) = f.reference?;
            relationship.eq_ignore_ascii_case(name).then_some((f, object))
        })
    }
}

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
