//! What the vendor says of its objects, limits and versions.

use serde_json::{Value, json};

use super::schema::{Field, Kind, Object};

fn field(field: &Field) -> Value {
    let choices: Vec<Value> = field
        .options
        .iter()
        .map(|option| json!({ "active": true, "defaultValue": false, "label": option, "validFor": null, "value": option }))
        .collect();
    let (to, relationship) = field.reference.map_or((None, None), |(object, relationship)| (Some(object), Some(relationship)));
    let text_like = field.kind.textual() || matches!(field.kind, Kind::Id | Kind::Reference);
    json!({
        "name": field.name, "label": field.label, "type": field.kind.name(), "soapType": field.kind.soap(),
        "length": field.length, "byteLength": field.length * 3, "precision": if field.kind.numeric() { 18 } else { 0 },
        "scale": 0, "digits": 0, "nillable": field.nillable, "createable": field.createable, "updateable": field.updateable,
        "defaultedOnCreate": field.defaulted || field.kind == Kind::Bool, "defaultValue": if field.kind == Kind::Bool { json!(false) } else { Value::Null },
        "externalId": field.external_id, "idLookup": field.external_id || matches!(field.kind, Kind::Id | Kind::Email),
        "unique": field.unique, "caseSensitive": false, "custom": field.custom, "calculated": false, "autoNumber": false,
        "restrictedPicklist": field.restricted, "dependentPicklist": false, "controllerName": null, "picklistValues": choices,
        "referenceTo": to.into_iter().collect::<Vec<_>>(), "relationshipName": relationship, "compoundFieldName": null,
        "filterable": true, "sortable": true, "groupable": text_like, "aggregatable": true, "permissionable": field.nillable,
        "deprecatedAndHidden": false, "encrypted": false, "htmlFormatted": false, "inlineHelpText": null, "nameField": field.name == "Name",
    })
}

/// The summary of an object in lists.
pub fn summary(object: &Object, version: &str) -> Value {
    let path = format!("/services/data/{version}/sobjects/{}", object.name);
    let (row, describe) = (format!("{path}/{{ID}}"), format!("{path}/describe"));
    json!({
        "name": object.name, "label": object.name, "labelPlural": object.plural, "keyPrefix": object.prefix, "custom": false,
        "createable": object.writable, "updateable": object.writable, "deletable": object.writable, "undeletable": object.writable,
        "queryable": true, "searchable": object.writable, "retrieveable": true, "replicateable": true, "layoutable": object.writable,
        "mergeable": matches!(object.name, "Lead" | "Contact" | "Account"), "triggerable": object.writable, "deprecatedAndHidden": false,
        "urls": { "sobject": path, "describe": describe, "rowTemplate": row },
    })
}

/// The whole description of an object, without the fields that are hidden from the client.
pub fn whole(object: &Object, version: &str) -> Value {
    let mut all = summary(object, version);
    all["fields"] = object.fields.iter().filter(|f| !f.hidden).map(field).collect();
    all["recordTypeInfos"] = json!([{
        "recordTypeId": "012000000000000AAA", "name": "Master", "developerName": "Master", "active": true, "available": true,
        "defaultRecordTypeMapping": true, "master": true,
    }]);
    all["childRelationships"] = json!([]);
    all["supportedScopes"] = json!([{ "label": format!("All {}", object.plural), "name": "everything" }]);
    all
}

/// The versions, newest last.
pub fn versions() -> Value {
    let names = [(64, "Summer '25"), (65, "Winter '26"), (66, "Spring '26"), (67, "Summer '26"), (68, "Winter '27")];
    names
        .into_iter()
        .map(|(n, label)| json!({ "label": label, "url": format!("/services/data/v{n}.0"), "version": format!("{n}.0") }))
        .collect()
}
