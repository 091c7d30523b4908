//! Objects and fields as such, and what describe states of them.

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

    pub fn required(mut self) -> Self {
        self.nillable = false;
        self
    }

    pub fn read_only(mut self) -> Self {
        self.createable = false;
        self.updateable = false;
        self
    }

    pub fn defaulted(mut self) -> Self {
        self.defaulted = true;
        self.nillable = false;
        self
    }

    pub fn of(mut self, options: &[&str]) -> Self {
        self.options = options.iter().map(|o| (*o).to_owned()).collect();
        self
    }

    pub fn restricted(mut self) -> Self {
        self.restricted = true;
        self
    }

    pub fn to(mut self, object: &'static str, relationship: &'static str) -> Self {
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
    pub fn new(name: &'static str, plural: &'static str, prefix: &'static str, writable: bool, fields: Vec<Field>) -> Self {
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
