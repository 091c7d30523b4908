//! The REST resources below `/services/data/v…/`.

use std::fmt::Write as _;

use serde_json::{Value, json};

use super::{
    Org,
    body::{Pairs, pairs},
    describe,
    error::Trouble,
    query::{self, Column},
    row::{self, moment_text, parse_moment},
    rules::{self, Actor, Upserted},
    soql::{self, Columns},
    store::{Row, Table, full_id},
};
use crate::sdk::{Method, Millis, Response, SandboxRequest};

/// Default and largest number of rows in a page.
const PAGE: usize = 2_000;
/// How long a place in a result is kept.
const LOCATOR_LIFE: Millis = 2 * 86_400_000;
/// How many places in results one user may have; the oldest goes first.
const LOCATORS: usize = 10;

/// A place in a result: the rows that were not sent yet.
#[derive(Debug, Clone)]
pub struct Locator {
    name: String,
    ids: Vec<String>,
    columns: Vec<Column>,
    object: &'static str,
    made: Millis,
}

/// A request with its path taken apart.
pub struct Call<'a> {
    pub method: Method,
    /// Such as `v66.0`.
    pub version: &'a str,
    /// Decoded parts of the path behind the version.
    pub path: Vec<String>,
    pub request: &'a SandboxRequest,
    pub now: Millis,
}

impl Call<'_> {
    fn number(&self) -> u32 {
        self.version.trim_start_matches('v').split('.').next().and_then(|n| n.parse().ok()).unwrap_or(0)
    }

    /// Who this client is, and what it asks of the duplicate rule.
    pub fn actor(&self) -> Actor {
        let header = self.request.header("sforce-duplicate-rule-header").unwrap_or_default();
        let allow_save = header.split([';', ',']).any(|part| part.replace(' ', "").eq_ignore_ascii_case("allowSave=true"));
        Actor { api: true, allow_save, now: self.now }
    }
}

impl Org {
    /// Answers a resource.
    pub fn rest(&mut self, call: &Call<'_>) -> Response {
        if call.number() < 31 {
            return Trouble::new("GONE", "API version retired: use a newer version").status(410).answer();
        }
        if call.number() > 68 {
            return Trouble::not_found().answer();
        }
        self.resource(call).unwrap_or_else(|trouble| trouble.answer())
    }

    fn resource(&mut self, call: &Call<'_>) -> Result<Response, Trouble> {
        use Method::{Delete, Get, Patch, Post};
        let path: Vec<&str> = call.path.iter().map(String::as_str).collect();
        match (call.method, path.as_slice()) {
            (Get, []) => Ok(Response::json(200, &resources(call.version))),
            (Get, ["limits"]) => Ok(Response::json(200, &self.limits(call.now))),
            (Get, ["query"]) => self.query(call, false),
            (Get, ["queryAll"]) => self.query(call, true),
            (Get, ["query" | "queryAll", locator]) => self.more(call, locator),
            (Get, ["parameterizedSearch"]) => self.search(call),
            (Get, ["sobjects"]) => Ok(Response::json(200, &self.all_objects(call.version))),
            (Get, ["sobjects", object]) => {
                let table = self.store.table(object).ok_or_else(Trouble::not_found)?;
                Ok(Response::json(200, &json!({ "objectDescribe": describe::summary(&table.object, call.version), "recentItems": [] })))
            }
            (Post, ["sobjects", object]) => self.create(call, object),
            (Get, ["sobjects", object, "describe"]) => {
                let table = self.store.table(object).ok_or_else(Trouble::not_found)?;
                Ok(Response::json(200, &describe::whole(&table.object, call.version)))
            }
            (Get, ["sobjects", object, kind @ ("updated" | "deleted")]) => self.replication(call, object, *kind == "deleted"),
            (Get, ["sobjects", object, id]) => {
                let id = self.live(object, id)?;
                self.show(call, object, &id)
            }
            (Patch, ["sobjects", object, id]) => {
                let fields = self.body_fields(call, object)?;
                rules::update(&mut self.store, &self.rules, object, id, &fields, call.actor())?;
                Ok(Response::empty(204))
            }
            (Delete, ["sobjects", object, id]) => {
                rules::delete(&mut self.store, object, id, call.actor())?;
                Ok(Response::empty(204))
            }
            (Get, ["sobjects", object, field, value]) => match self.by_external_id(object, field, value)?.as_slice() {
                [id] => self.show(call, object, id),
                [] => Err(Trouble::not_found()),
                several => Ok(many(call.version, object, several)),
            },
            (Delete, ["sobjects", object, field, value]) => match self.by_external_id(object, field, value)?.as_slice() {
                [id] => {
                    rules::delete(&mut self.store, object, id, call.actor())?;
                    Ok(Response::empty(204))
                }
                [] => Err(Trouble::not_found()),
                several => Ok(many(call.version, object, several)),
            },
            (Patch, ["sobjects", object, field, value]) => self.upsert(call, object, field, value),
            (_, ["composite", rest @ ..]) => self.composite(call, rest),
            (_, ["limits" | "query" | "queryAll" | "sobjects", ..]) => {
                let message = format!("HTTP Method '{}' not allowed. Allowed are GET", call.method.as_str());
                Err(Trouble::new("METHOD_NOT_ALLOWED", message).status(405))
            }
            _ => Err(Trouble::not_found()),
        }
    }

    fn body_fields(&self, call: &Call<'_>, object: &str) -> Result<Vec<(String, Value)>, Trouble> {
        let Pairs(body) = pairs(&call.request.body)?;
        rules::read_fields(&self.store, object, &body)
    }

    fn create(&mut self, call: &Call<'_>, object: &str) -> Result<Response, Trouble> {
        let fields = self.body_fields(call, object)?;
        let id = rules::create(&mut self.store, &self.rules, object, &fields, call.actor())?;
        Ok(Response::json(201, &json!({ "id": id, "success": true, "errors": [] })))
    }

    fn upsert(&mut self, call: &Call<'_>, object: &str, field: &str, value: &str) -> Result<Response, Trouble> {
        let fields = self.body_fields(call, object)?;
        let update_only = call.request.query("updateOnly").is_some_and(|v| v.eq_ignore_ascii_case("true"));
        let done = if field.eq_ignore_ascii_case("Id") {
            rules::update(&mut self.store, &self.rules, object, value, &fields, call.actor())?;
            Upserted::Updated(full_id(value).unwrap_or_default())
        } else {
            rules::upsert(&mut self.store, &self.rules, object, (field, value), &fields, update_only, call.actor())?
        };
        Ok(match done {
            Upserted::Created(id) => Response::json(201, &json!({ "id": id, "success": true, "errors": [], "created": true })),
            // Before version 46 an update answered nothing.
            Upserted::Updated(_) if call.number() < 46 => Response::empty(204),
            Upserted::Updated(id) => Response::json(200, &json!({ "id": id, "success": true, "errors": [], "created": false })),
            Upserted::Many(ids) => many(call.version, object, &ids),
        })
    }

    fn live(&self, object: &str, id: &str) -> Result<String, Trouble> {
        let table = self.store.table(object).ok_or_else(Trouble::not_found)?;
        let id = full_id(id).ok_or_else(|| Trouble::new("MALFORMED_ID", format!("malformed id {id}")))?;
        match table.seen(&id) {
            Some(row) if row.deleted => Err(Trouble::deleted()),
            Some(_) => Ok(id),
            None => Err(Trouble::not_found()),
        }
    }

    fn by_external_id(&self, object: &str, field: &str, value: &str) -> Result<Vec<String>, Trouble> {
        let table = self.store.table(object).ok_or_else(Trouble::not_found)?;
        let field = table.object.field(field).filter(|f| f.external_id).ok_or_else(|| {
            Trouble::new("NOT_FOUND", format!("Provided external ID field does not exist or is not accessible: {field}")).status(404)
        })?;
        Ok(rules::holders(&self.store, object, field, value).into_iter().filter(|id| table.seen(id).is_some()).collect())
    }

    fn show(&self, call: &Call<'_>, object: &str, id: &str) -> Result<Response, Trouble> {
        let table = self.store.table(object).ok_or_else(Trouble::not_found)?;
        let row = table.seen(id).ok_or_else(Trouble::not_found)?;
        let names = match call.request.query("fields") {
            Some(fields) => fields.split(',').map(|f| f.trim().to_owned()).collect(),
            None => table.object.fields.iter().filter(|f| !f.hidden).map(|f| f.name.clone()).collect::<Vec<_>>(),
        };
        let columns = query::columns(&self.store, &table.object, &names)?;
        let mut out = String::new();
        row::write_row(&mut out, &self.store, table, row, &columns, call.version);
        Ok(json_text(out))
    }

    fn query(&mut self, call: &Call<'_>, deleted: bool) -> Result<Response, Trouble> {
        let text = call.request.query("q").ok_or_else(|| Trouble::new("MALFORMED_QUERY", "A query string has to be specified"))?;
        let query = soql::parse(&text)?;
        let found = query::run(&self.store, &query, deleted)?;
        let total = found.ids.len();
        match query.columns {
            Columns::Count => return Ok(Response::json(200, &json!({ "totalSize": total, "done": true, "records": [] }))),
            Columns::CountField => {
                let row = json!({ "attributes": { "type": "AggregateResult" }, "expr0": total });
                return Ok(Response::json(200, &json!({ "totalSize": 1, "done": true, "records": [row] })));
            }
            Columns::Fields(_) => {}
        }
        self.locators.retain(|locator| call.now - locator.made <= LOCATOR_LIFE);
        let name = self.store.new_id("0r8");
        let locator = Locator { name, ids: found.ids, columns: found.columns, object: found.object, made: call.now };
        let answer = self.page(call, &locator, 0);
        if locator.ids.len() > page_size(call) {
            if self.locators.len() == LOCATORS {
                self.locators.remove(0);
            }
            self.locators.push(locator);
        }
        answer
    }

    fn more(&mut self, call: &Call<'_>, text: &str) -> Result<Response, Trouble> {
        let invalid = || Trouble::new("INVALID_QUERY_LOCATOR", "invalid query locator");
        let (name, offset) = text.rsplit_once('-').ok_or_else(invalid)?;
        let offset: usize = offset.parse().map_err(|_| invalid())?;
        let locator = self.locators.iter().find(|l| l.name == name && call.now - l.made <= LOCATOR_LIFE).ok_or_else(invalid)?;
        if offset >= locator.ids.len() { Err(invalid()) } else { self.page(call, locator, offset) }
    }

    fn page(&self, call: &Call<'_>, locator: &Locator, offset: usize) -> Result<Response, Trouble> {
        let table = self.store.table(locator.object).ok_or_else(Trouble::not_found)?;
        let total = locator.ids.len();
        let end = (offset + page_size(call)).min(total);
        let mut out = format!("{{\"totalSize\":{total},\"done\":{}", end == total);
        if end < total {
            let _ = write!(out, ",\"nextRecordsUrl\":\"/services/data/{}/query/{}-{end}\"", call.version, locator.name);
        }
        out.push_str(",\"records\":[");
        let rows: Vec<&Row> = locator.ids.iter().take(end).skip(offset).filter_map(|id| table.seen(id)).collect();
        for (n, row) in rows.into_iter().enumerate() {
            if n > 0 {
                out.push(',');
            }
            row::write_row(&mut out, &self.store, table, row, &locator.columns, call.version);
        }
        out.push_str("]}");
        Ok(json_text(out))
    }

    /// Text search over an index that may lag behind.
    fn search(&self, call: &Call<'_>) -> Result<Response, Trouble> {
        let term = call.request.query("q").unwrap_or_default().trim_matches(['"', '{', '}']).to_lowercase();
        let name = call.request.query("sobject").unwrap_or_else(|| "Lead".into());
        let table =
            self.store.table(&name).ok_or_else(|| Trouble::new("INVALID_TYPE", format!("sObject type '{name}' is not supported.")))?;
        if term.len() < 2 {
            return Err(Trouble::new("MALFORMED_SEARCH", "search term must be longer than one character"));
        }
        let hit = |row: &&Row| {
            let found = ["Name", "FirstName", "LastName", "Company", "Email", "Phone"]
                .into_iter()
                .any(|field| row::value(row, &table.object, field).as_str().is_some_and(|text| text.to_lowercase().contains(&term)));
            !row.deleted && found && row.modified + self.index_lag <= call.now
        };
        let one = |row: &Row| {
            let url = format!("/services/data/{}/sobjects/{}/{}", call.version, table.object.name, row.id);
            json!({ "attributes": { "type": table.object.name, "url": url }, "Id": row.id })
        };
        let found: Vec<Value> = table.all().filter(hit).take(PAGE).map(one).collect();
        Ok(Response::json(200, &json!({ "searchRecords": found })))
    }

    /// Ids that were changed or deleted within a time; whole minutes count.
    fn replication(&self, call: &Call<'_>, object: &str, deleted: bool) -> Result<Response, Trouble> {
        const MINUTE: Millis = 60_000;
        const DAY: Millis = 1_440 * MINUTE;
        let table = self.store.table(object).ok_or_else(Trouble::not_found)?;
        let bound = |name: &str| {
            let text = call.request.query(name).unwrap_or_default();
            parse_moment(&text.replace(' ', "+")).map(|ms| ms - ms.rem_euclid(MINUTE))
        };
        let (Some(start), Some(end)) = (bound("start"), bound("end")) else {
            return Err(Trouble::new("INVALID_REPLICATION_DATE", "start and end must be moments in ISO 8601"));
        };
        let reach = if deleted { 15 * DAY } else { 30 * DAY };
        if end <= start || start < call.now - reach {
            return Err(Trouble::new("INVALID_REPLICATION_DATE", "startDate before org replication enabled date, or not before endDate"));
        }
        let rows = table.between(start / 1000, end / 1000 - 1).filter_map(|id| table.seen(id)).filter(|row| row.deleted == deleted);
        let covered = moment_text(end.min(call.now - call.now.rem_euclid(MINUTE)));
        let body = if deleted {
            let list: Vec<Value> = rows.map(|row| json!({ "id": row.id, "deletedDate": moment_text(row.modified) })).collect();
            json!({ "deletedRecords": list, "earliestDateAvailable": moment_text(call.now - 15 * DAY), "latestDateCovered": covered })
        } else {
            json!({ "ids": rows.map(|row| row.id.clone()).collect::<Vec<_>>(), "latestDateCovered": covered })
        };
        Ok(Response::json(200, &body))
    }

    fn all_objects(&self, version: &str) -> Value {
        let list: Vec<Value> = self.store.tables().iter().map(|table: &Table| describe::summary(&table.object, version)).collect();
        json!({ "encoding": "UTF-8", "maxBatchSize": 200, "sobjects": list })
    }

    fn limits(&self, now: Millis) -> Value {
        let (used, max) = (self.usage.used(now), self.usage.limit);
        json!({
            "DailyApiRequests": { "Max": max, "Remaining": max.saturating_sub(used) },
            "DailyBulkApiBatches": { "Max": 15_000, "Remaining": 15_000 },
            "DailyDeliveredPlatformEvents": { "Max": 25_000, "Remaining": 25_000 },
            "DataStorageMB": { "Max": 1_024, "Remaining": 1_000 },
        })
    }
}

fn page_size(call: &Call<'_>) -> usize {
    let options = call.request.header("sforce-query-options").unwrap_or_default();
    let size = options.split([';', ',']).find_map(|part| part.trim().strip_prefix("batchSize="));
    size.and_then(|n| n.trim().parse().ok()).map_or(PAGE, |n: usize| n.clamp(200, PAGE))
}

fn json_text(body: String) -> Response {
    Response { status: 200, headers: vec![("content-type".into(), "application/json;charset=UTF-8".into())], body: body.into_bytes() }
}

/// Several records where one was meant.
fn many(version: &str, object: &str, ids: &[String]) -> Response {
    let urls: Vec<String> = ids.iter().map(|id| format!("/services/data/{version}/sobjects/{object}/{id}")).collect();
    Response::json(300, &urls)
}

fn resources(version: &str) -> Value {
    let names = ["sobjects", "query", "queryAll", "limits", "composite", "parameterizedSearch"];
    names
        .into_iter()
        .map(|name| (name.to_owned(), json!(format!("/services/data/{version}/{name}"))))
        .collect::<serde_json::Map<_, _>>()
        .into()
}
