//! Forms: what a visitor sends, without a token, to `/submissions/v3/integration/submit/{account}/{form}`.

use serde_json::{Map, Value, json};

use super::answer::Refusal;
use super::portal::{By, Portal};
use super::schema::Kind;
use super::values;
use crate::sdk::{Millis, Response};

/// Makes a contact of a submission, or changes the one with its email.
pub(super) fn submit(portal: &mut Portal, body: &Value, now: Millis) -> Result<Response, Refusal> {
    let fields = body.get("fields").and_then(Value::as_array).ok_or_else(|| Refusal::invalid("Invalid input JSON: fields is required"))?;
    let given: Map<String, Value> =
        fields.iter().filter_map(|field| Some((field.get("name")?.as_str()?.to_owned(), field.get("value")?.clone()))).collect();
    let changes = values::accept(Kind::Contact, &portal.table(Kind::Contact).schema, &given)?;
    let held = changes.get("email").and_then(Option::as_ref).and_then(|email| portal.table(Kind::Contact).holder("email", email));
    match held {
        Some(id) => portal.update(Kind::Contact, id, changes, By::Form, now)?,
        None => portal.create(Kind::Contact, changes, By::Form, now)?,
    };
    Ok(Response::json(200, &json!({ "inlineMessage": "Thanks for submitting the form." })))
}
