//! How the vendor says no.

use serde_json::{Value, json};

use crate::sdk::Response;

/// One error, as it stands in an answer's array or in one item of a collection.
#[derive(Debug, Clone)]
pub struct Trouble {
    pub status: u16,
    pub code: &'static str,
    pub message: String,
    pub fields: Vec<String>,
    /// For a duplicate rule: what it matched.
    pub duplicates: Option<Duplicates>,
}

/// What a duplicate rule matched.
#[derive(Debug, Clone)]
pub struct Duplicates {
    /// The object that was written.
    pub object: &'static str,
    /// Whether a client may save all the same (an alert, not a block).
    pub allow_save: bool,
    /// Object and id of what is there.
    pub found: Vec<(&'static str, String)>,
}

impl Trouble {
    /// An error with status 400.
    pub fn new(code: &'static str, message: impl Into<String>) -> Self {
        Self { status: 400, code, message: message.into(), fields: Vec::new(), duplicates: None }
    }

    /// The same with another status.
    pub fn status(mut self, status: u16) -> Self {
        self.status = status;
        self
    }

    /// The same, naming fields.
    pub fn fields<'a>(mut self, fields: impl IntoIterator<Item = &'a str>) -> Self {
        self.fields = fields.into_iter().map(str::to_owned).collect();
        self
    }

    /// Nothing at this address.
    pub fn not_found() -> Self {
        Self::new("NOT_FOUND", "The requested resource does not exist").status(404)
    }

    /// The record was deleted.
    pub fn deleted() -> Self {
        Self::new("ENTITY_IS_DELETED", "entity is deleted").status(404)
    }

    /// As an answer of its own: an array with one error.
    pub fn answer(&self) -> Response {
        let mut error = json!({ "message": self.message, "errorCode": self.code });
        if let Some(duplicates) = &self.duplicates {
            // The key is misspelt by the vendor.
            error["duplicateResut"] = duplicates.value(&self.message);
        } else if !self.fields.is_empty() {
            error["fields"] = json!(self.fields);
        }
        Response::json(self.status, &json!([error]))
    }

    /// As the error of one item of a collection, where duplicates are not named.
    pub fn item(&self) -> Value {
        json!({ "statusCode": self.code, "message": self.message, "fields": self.fields })
    }
}

impl Duplicates {
    fn value(&self, message: &str) -> Value {
        let mut objects: Vec<&str> = self.found.iter().map(|(object, _)| *object).collect();
        objects.dedup();
        let of = |object: &str| {
            let found = self.found.iter().filter(|(o, _)| *o == object);
            let records: Vec<Value> = found
                .map(|(object, id)| {
                    let url = format!("/services/data/v66.0/sobjects/{object}/{id}");
                    json!({
                        "additionalInformation": [], "fieldDiffs": [], "matchConfidence": 100.0,
                        "record": { "attributes": { "type": object, "url": url }, "Id": id },
                    })
                })
                .collect();
            json!({
                "entityType": object, "errors": [], "matchEngine": "FuzzyMatchEngine", "size": records.len(), "success": true,
                "rule": format!("Standard_{object}_Match_Rule_v1_0"), "matchRecords": records,
            })
        };
        json!({
            "allowSave": self.allow_save, "duplicateRule": format!("Standard_{}_Duplicate_Rule", self.object),
            "duplicateRuleEntityType": self.object, "errorMessage": message,
            "matchResults": objects.into_iter().map(of).collect::<Vec<_>>(),
        })
    }
}
