//! Many records in one request: collections, and composite requests.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::{
    Org,
    body::{self, Collection, Composite, Pairs},
    error::Trouble,
    query,
    rest::Call,
    row,
    rules::{self, Actor, Upserted},
    store::full_id,
};
use crate::sdk::{Method, Response, SandboxRequest};

/// Most records in one request.
const MOST: usize = 200;
/// Most requests in a composite one.
const MOST_SUBS: usize = 25;

/// What to do with a record of a collection.
enum Job {
    Create { object: String, fields: Vec<(String, Value)> },
    Update { object: String, id: Option<String>, fields: Vec<(String, Value)> },
    Upsert { object: String, field: String, value: Option<String>, fields: Vec<(String, Value)> },
    Delete { id: String },
}

impl Org {
    /// Answers a resource below `composite`.
    pub fn composite(&mut self, call: &Call<'_>, path: &[&str]) -> Result<Response, Trouble> {
        match (call.method, path) {
            (Method::Post, []) => self.composite_requests(call),
            (Method::Post, ["sobjects"]) => self.collection(call, |org, record| {
                let (object, fields) = org.typed(record)?;
                Ok(Job::Create { object, fields })
            }),
            (Method::Patch, ["sobjects"]) => self.collection(call, |org, mut record| {
                let id = take(&mut record, "id");
                let (object, fields) = org.typed(record)?;
                Ok(Job::Update { object, id, fields })
            }),
            (Method::Patch, ["sobjects", _, field]) => self.collection(call, |org, mut record| {
                let value = take(&mut record, field);
                let (object, fields) = org.typed(record)?;
                Ok(Job::Upsert { object, field: (*field).to_owned(), value, fields })
            }),
            (Method::Delete, ["sobjects"]) => {
                let ids = call.request.query("ids").unwrap_or_default();
                let jobs = ids.split(',').map(|id| Ok(Job::Delete { id: id.trim().to_owned() })).collect();
                let all = call.request.query("allOrNone").is_some_and(|v| v == "true");
                self.run(jobs, all, false, call.actor())
            }
            (Method::Get, ["sobjects", object]) => {
                let list = |name: &str| call.request.query(name).unwrap_or_default().split(',').map(str::to_owned).collect::<Vec<_>>();
                self.retrieve(call, object, &list("ids"), &list("fields"))
            }
            _ => Err(Trouble::not_found()),
        }
    }

    /// The object that a record names, and its fields.
    fn typed(&self, Pairs(record): Pairs) -> Result<(String, Vec<(String, Value)>), Trouble> {
        let attributes = match record.first() {
            Some((key, value)) if key == "attributes" => value,
            // Anything in front of it makes the vendor's parser lose the type.
            _ => {
                return Err(Trouble::new(
                    "JSON_PARSER_ERROR",
                    "Attributes must be the first element: could not determine the type of the record",
                ));
            }
        };
        let object = attributes.get("type").and_then(Value::as_str).unwrap_or_default().to_owned();
        if self.store.table(&object).is_none() {
            return Err(Trouble::new("INVALID_TYPE", format!("sObject type '{object}' is not supported.")));
        }
        let fields = rules::read_fields(&self.store, &object, &record)?;
        Ok((object, fields))
    }

    fn collection(&mut self, call: &Call<'_>, job: impl Fn(&Self, Pairs) -> Result<Job, Trouble>) -> Result<Response, Trouble> {
        let body: Collection = body::read(&call.request.body)?;
        let jobs = body.records.into_iter().map(|record| job(self, record)).collect();
        self.run(jobs, body.all_or_none, call.path.len() == 4, call.actor())
    }

    fn run(&mut self, jobs: Vec<Result<Job, Trouble>>, all_or_none: bool, upsert: bool, actor: Actor) -> Result<Response, Trouble> {
        if jobs.len() > MOST {
            let message = format!("record limit reached. cannot submit more than {MOST} records in this request");
            return Err(Trouble::new("EXCEEDED_MAX_SOBJECTS", message));
        }
        let mut times: BTreeMap<String, u32> = BTreeMap::new();
        for job in &jobs {
            if let Ok(Job::Upsert { value: Some(value), .. }) = job {
                *times.entry(value.to_lowercase()).or_default() += 1;
            }
        }
        let before = all_or_none.then(|| self.store.clone());
        let mut results = Vec::with_capacity(jobs.len());
        for job in jobs {
            let twice =
                matches!(&job, Ok(Job::Upsert { value: Some(value), .. }) if times.get(&value.to_lowercase()).is_some_and(|n| *n > 1));
            let result = if twice {
                Err(Trouble::new("DUPLICATE_VALUE", "Duplicate external id specified"))
            } else {
                job.and_then(|job| self.one(job, actor))
            };
            results.push(result);
        }
        if let Some(before) = before
            && results.iter().any(Result::is_err)
        {
            self.store = before;
            let rolled_back = || {
                Trouble::new(
                    "ALL_OR_NONE_OPERATION_ROLLED_BACK",
                    "Record rolled back because not all records were valid and the request was using AllOrNone header",
                )
            };
            results = results.into_iter().map(|result| result.and_then(|_| Err(rolled_back()))).collect();
        }
        let list: Vec<Value> = results
            .into_iter()
            .map(|result| {
                result.unwrap_or_else(|trouble| {
                    let mut item = json!({ "success": false, "errors": [trouble.item()] });
                    if upsert {
                        item["created"] = false.into();
                    }
                    item
                })
            })
            .collect();
        Ok(Response::json(200, &list))
    }

    fn one(&mut self, job: Job, actor: Actor) -> Result<Value, Trouble> {
        let done = |id: &str| json!({ "id": id, "success": true, "errors": [] });
        let upserted = |id: &str, created: bool| json!({ "id": id, "success": true, "errors": [], "created": created });
        // What is an address of its own elsewhere is a reference here.
        let reference = |trouble: Trouble| {
            if trouble.code == "NOT_FOUND" { Trouble::new("INVALID_CROSS_REFERENCE_KEY", "invalid cross reference id") } else { trouble }
        };
        let (store, rules) = (&mut self.store, &self.rules);
        match job {
            Job::Create { object, fields } => rules::create(store, rules, &object, &fields, actor).map(|id| done(&id)),
            Job::Update { id: None, .. } => Err(Trouble::new("MISSING_ARGUMENT", "Id not specified in an update call")),
            Job::Update { object, id: Some(id), fields } => {
                rules::update(store, rules, &object, &id, &fields, actor).map_err(reference)?;
                Ok(done(&full_id(&id).unwrap_or_default()))
            }
            Job::Upsert { field, value: None, .. } => Err(Trouble::new("MISSING_ARGUMENT", format!("{field} not specified"))),
            Job::Upsert { object, field, value: Some(value), fields } => {
                match rules::upsert(store, rules, &object, (&field, &value), &fields, false, actor)? {
                    Upserted::Created(id) => Ok(upserted(&id, true)),
                    Upserted::Updated(id) => Ok(upserted(&id, false)),
                    Upserted::Many(ids) => {
                        let message = format!("{field}: more than one record found for external id field: [{}]", ids.join(", "));
                        Err(Trouble::new("DUPLICATE_EXTERNAL_ID", message))
                    }
                }
            }
            Job::Delete { id } => {
                let object = store.table_of_id(&id).map(|table| table.object.name);
                let object = object.ok_or_else(|| Trouble::new("MALFORMED_ID", format!("malformed id {id}")))?;
                rules::delete(store, object, &id, actor).map_err(reference)?;
                Ok(done(&full_id(&id).unwrap_or_default()))
            }
        }
    }

    fn retrieve(&self, call: &Call<'_>, object: &str, ids: &[String], fields: &[String]) -> Result<Response, Trouble> {
        let table = self.store.table(object).ok_or_else(Trouble::not_found)?;
        let columns = query::columns(&self.store, &table.object, fields)?;
        let one = |id: &String| {
            let row = full_id(id).and_then(|id| table.seen(&id)).filter(|row| !row.deleted);
            row.map_or_else(
                || "null".to_owned(),
                |row| {
                    let mut out = String::new();
                    row::write_row(&mut out, &self.store, table, row, &columns, call.version);
                    out
                },
            )
        };
        let list: Vec<String> = ids.iter().map(one).collect();
        let headers = vec![("content-type".into(), "application/json;charset=UTF-8".into())];
        Ok(Response { status: 200, headers, body: format!("[{}]", list.join(",")).into_bytes() })
    }

    fn composite_requests(&mut self, call: &Call<'_>) -> Result<Response, Trouble> {
        let body: Composite = body::read(&call.request.body)?;
        if body.composite_request.len() > MOST_SUBS {
            return Err(Trouble::new("LIMIT_EXCEEDED", format!("The composite request has more than {MOST_SUBS} subrequests")));
        }
        let before = body.all_or_none.then(|| self.store.clone());
        let mut answers: BTreeMap<String, Value> = BTreeMap::new();
        let mut list: Vec<Value> = Vec::new();
        let mut failed = false;
        for sub in body.composite_request {
            let url = filled(&sub.url, &answers);
            let text = sub.body.map_or_else(String::new, |body| filled(body.get(), &answers));
            let headers = sub.http_headers.into_iter().map(|(k, v)| (k.to_lowercase(), v)).collect();
            let response = match (Method::parse(&sub.method), url) {
                (Some(method), url) if url.starts_with("/services/data/") && !url.contains("/composite") => {
                    let request = SandboxRequest { method, path: url, headers, body: text.into_bytes() };
                    self.data(&request, call.now)
                }
                _ => Trouble::not_found().answer(),
            };
            failed |= !response.is_success();
            let value = response.value().unwrap_or(Value::Null);
            answers.insert(sub.reference_id.clone(), value.clone());
            list.push(json!({ "body": value, "httpHeaders": {}, "httpStatusCode": response.status, "referenceId": sub.reference_id }));
        }
        if let (true, Some(before)) = (failed, before) {
            self.store = before;
            let rolled_back = json!([{ "errorCode": "PROCESSING_HALTED", "message": "The transaction was rolled back since another operation in the same transaction failed." }]);
            for item in list.iter_mut().filter(|item| item["httpStatusCode"].as_u64().is_some_and(|status| status < 300)) {
                item["body"] = rolled_back.clone();
                item["httpStatusCode"] = json!(400);
            }
        }
        Ok(Response::json(200, &json!({ "compositeResponse": list })))
    }
}

/// Removes a text from a record, its name in any case.
fn take(Pairs(record): &mut Pairs, name: &str) -> Option<String> {
    let place = record.iter().position(|(key, _)| key.eq_ignore_ascii_case(name))?;
    match record.remove(place).1 {
        Value::String(text) => Some(text),
        Value::Number(number) => Some(number.to_string()),
        _ => None,
    }
}

/// `@{reference.field}` replaced by what an earlier answer holds there.
fn filled(text: &str, answers: &BTreeMap<String, Value>) -> String {
    let mut out = String::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once("@{") {
        out.push_str(before);
        let Some((path, tail)) = after.split_once('}') else {
            out.push_str("@{");
            rest = after;
            continue;
        };
        let mut parts = path.split('.');
        let mut value = parts.next().and_then(|name| answers.get(name));
        for part in parts {
            value = value.and_then(|value| value.get(part));
        }
        match value {
            Some(Value::String(found)) => out.push_str(found),
            Some(found) => out.push_str(&found.to_string()),
            None => {}
        }
        rest = tail;
    }
    out + rest
}
