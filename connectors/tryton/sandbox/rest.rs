//! The REST routes of `trytond/protocols/rest.py`, over the simulator's database.

use base64::{Engine as _, engine::general_purpose::URL_SAFE};
use serde_json::{Map, Value, json};

use super::db::{Db, Kind, OPPORTUNITY, SALE, Trouble, missing, moment};
use super::write::Writer;
use crate::sdk::{Method, Response, SandboxRequest};

/// The user of the key, and the company that this user works for.
pub const COMPANY: i64 = 1;
/// The employee that the user is.
pub const EMPLOYEE: i64 = 1;

/// Buttons of an opportunity.
const BUTTONS: [&str; 5] = ["lead", "opportunity", "convert", "lost", "cancel"];
/// Methods that models publish, of those simulated.
const PUBLISHED: [&str; 4] = ["search_count", "search_read", "fields_get", "history_revisions"];

/// A request to a model.
pub struct Call<'r> {
    request: &'r SandboxRequest,
    model: String,
    tail: Vec<String>,
}

impl<'r> Call<'r> {
    /// Takes the path below the database apart; `None` when it is not the REST API's.
    pub fn parse(request: &'r SandboxRequest, database: &str) -> Option<Self> {
        let path = request.path_only().strip_prefix('/')?;
        let mut steps = path.split('/').map(|s| s.replace("%20", " "));
        if steps.next()? != database || steps.next()? != "rest" || steps.next()? != "model" {
            return None;
        }
        Some(Self { request, model: steps.next()?, tail: steps.collect() })
    }

    /// Whether the request changes something (and so can be committed without an answer).
    pub fn writes(&self) -> bool {
        match self.request.method {
            Method::Post => match self.tail.last() {
                None => true,
                Some(last) => self.id().is_some() && last.parse::<i64>().is_err(),
            },
            Method::Put | Method::Delete => true,
            _ => false,
        }
    }

    fn id(&self) -> Option<i64> {
        self.tail.first()?.parse().ok()
    }

    /// A method that a model publishes is looked up before the key is checked.
    pub fn checked_before_key(&self) -> Result<(), Trouble> {
        let action = self.tail.last().filter(|last| last.parse::<i64>().is_err());
        if let (Method::Post, Some(action)) = (self.request.method, action) {
            let known = match self.model.as_str() {
                "res.user" => action == "get_preferences",
                "ir.model.access" => action == "get_access",
                model => {
                    Db::model(model)?;
                    let button = match model {
                        OPPORTUNITY => BUTTONS.contains(&action.as_str()),
                        SALE => action == "cancel",
                        _ => false,
                    };
                    button || PUBLISHED.contains(&action.as_str())
                }
            };
            return if known { Ok(()) } else { Err(Trouble::Forbidden) };
        }
        Ok(())
    }

    /// Answers, within a transaction of its own.
    ///
    /// # Errors
    /// What the caller turns into a status; what was written is rolled back.
    pub fn answer(&self, db: &mut Db, at: i64) -> Result<Response, Trouble> {
        db.begin();
        let answered = self.dispatch(db, at);
        if answered.is_err() {
            db.rollback();
        }
        answered
    }

    fn dispatch(&self, db: &mut Db, at: i64) -> Result<Response, Trouble> {
        let action = self.tail.last().filter(|last| last.parse::<i64>().is_err());
        match (self.request.method, self.id(), action) {
            (Method::Get, None, None) => self.search(db),
            (Method::Post, None, Some(action)) => self.call(db, action),
            (method, id, action) => {
                let (model, _) = Db::model(&self.model)?;
                let who = self.writer(at)?;
                let there = |db: &Db, id| db.row(model, id).map(drop).ok_or(Trouble::NotFound);
                match (method, id, action) {
                    (Method::Get, Some(id), None) => self.one(db, model, id),
                    (Method::Post, None, None) => {
                        let id = db.create(model, &self.body()?, &who)?;
                        self.one(db, model, id)
                    }
                    (Method::Put, Some(id), None) => {
                        // The record is searched for first, which does not find inactive ones.
                        there(db, id)?;
                        if db.value(model, id, "active") == json!(0) {
                            return Err(Trouble::NotFound);
                        }
                        db.update(model, id, &self.body()?, &who)?;
                        self.one(db, model, id)
                    }
                    (Method::Delete, Some(id), None) => {
                        there(db, id)?;
                        db.delete(model, id, &who)?;
                        Ok(Response::empty(204))
                    }
                    (Method::Post, Some(id), Some(button)) => {
                        there(db, id)?;
                        db.press(model, id, button, &who)?;
                        if button == "convert" {
                            // It answers which window the client should open.
                            let sales = db.children(SALE, id);
                            return Ok(Response::json(
                                200,
                                &json!({"res_model": "sale.sale", "type": "ir.action.act_window", "res_id": sales}),
                            ));
                        }
                        self.one(db, model, id)
                    }
                    _ => Err(Trouble::Method),
                }
            }
        }
    }

    fn search(&self, db: &Db) -> Result<Response, Trouble> {
        let (model, _) = Db::model(&self.model)?;
        let decoded = |name: &str| self.request.query(name).map(|text| decode(&text)).transpose();
        let domain = decoded("d")?.unwrap_or_else(|| json!([]));
        let ids = db.search(model, &domain, &order(decoded("o")?.as_ref()), self.past()?)?;
        let number = |name: &str| self.request.query(name).and_then(|n| n.parse::<usize>().ok());
        let (skip, most) = (number("p").unwrap_or(0), number("s").unwrap_or(usize::MAX));
        let rows = ids.into_iter().skip(skip).take(most);
        let found: Result<Vec<Value>, Trouble> = rows.map(|id| self.read(db, model, id)).collect();
        Ok(Response::json(200, &found?))
    }

    fn call(&self, db: &Db, action: &str) -> Result<Response, Trouble> {
        let arguments = Value::Object(self.body()?);
        let argument = |name: &str| arguments.get(name).cloned();
        if self.model == "res.user" {
            return Ok(Response::json(
                200,
                &json!({"company_filter": "one", "employees": [EMPLOYEE], "employee": EMPLOYEE, "employee.rec_name": "Robin Sales",
                    "companies": [COMPANY], "company": COMPANY, "company.rec_name": "Northwind GmbH", "language": "en"}),
            ));
        }
        if self.model == "ir.model.access" {
            let mut rights = Map::new();
            for name in argument("models").unwrap_or_default().as_array().into_iter().flatten().filter_map(Value::as_str) {
                Db::model(name)?;
                let own = name == OPPORTUNITY || name == SALE || name.starts_with("party.");
                rights.insert(name.into(), json!({"read": 1, "write": u8::from(own), "create": u8::from(own), "delete": u8::from(own)}));
            }
            return Ok(Response::json(200, &rights));
        }
        let (model, _) = Db::model(&self.model)?;
        let domain = argument("domain").unwrap_or_else(|| json!([]));
        match action {
            "search_count" => Ok(Response::json(200, &db.search(model, &domain, &[], self.past()?)?.len())),
            "search_read" => {
                let ids = db.search(model, &domain, &order(argument("order").as_ref()), self.past()?)?;
                let limit = argument("limit").and_then(|n| n.as_u64()).and_then(|n| usize::try_from(n).ok()).unwrap_or(usize::MAX);
                let names = argument("fields_names").unwrap_or_default();
                let names: Vec<String> = names.as_array().into_iter().flatten().filter_map(|n| Some(n.as_str()?.to_owned())).collect();
                let found: Result<Vec<Value>, Trouble> = ids
                    .into_iter()
                    .take(limit)
                    .map(|id| match db.row(model, id) {
                        Some(row) => db.read(model, row, &names).map(|mut found| {
                            found.as_object_mut().map(|f| f.remove("__name__"));
                            found
                        }),
                        None => Ok(json!({"id": id})),
                    })
                    .collect();
                Ok(Response::json(200, &found?))
            }
            "history_revisions" if model == OPPORTUNITY => {
                let ids = argument("ids").unwrap_or_default();
                let ids = ids.as_array().into_iter().flatten().filter_map(Value::as_i64);
                let all: Vec<Value> =
                    ids.flat_map(|id| db.revisions(id).into_iter().map(move |at| json!([moment(at), id, null]))).collect();
                Ok(Response::json(200, &all))
            }
            "fields_get" => {
                let all: Map<String, Value> = db.fields(model).map(|f| (f.name.to_string(), described(&f))).collect();
                Ok(Response::json(200, &all))
            }
            _ => Err(missing(action)),
        }
    }

    fn one(&self, db: &Db, model: &'static str, id: i64) -> Result<Response, Trouble> {
        db.row(model, id).ok_or(Trouble::NotFound)?;
        Ok(Response::json(200, &self.read(db, model, id)?))
    }

    fn read(&self, db: &Db, model: &'static str, id: i64) -> Result<Value, Trouble> {
        let mut paths: Vec<String> = self
            .request
            .path
            .split_once('?')
            .into_iter()
            .flat_map(|(_, query)| url::form_urlencoded::parse(query.as_bytes()))
            .filter(|(name, _)| name == "f")
            .map(|(_, value)| value.into_owned())
            .collect();
        if paths.is_empty() {
            paths.push("rec_name".into());
        }
        match db.row(model, id) {
            Some(row) => db.read(model, row, &paths),
            // Only in the past: there, no more than the id is ever asked for.
            None => Ok(json!({"__name__": model, "id": id})),
        }
    }

    fn body(&self) -> Result<Map<String, Value>, Trouble> {
        if self.request.body.is_empty() {
            return Ok(Map::new());
        }
        match serde_json::from_slice(&self.request.body) {
            Ok(Value::Object(body)) => Ok(body),
            _ => Err(Trouble::Error("The server encountered an internal error and was unable to complete your request.".into())),
        }
    }

    fn context(&self) -> Result<Value, Trouble> {
        self.request.header("x-tryton-context").map_or_else(|| Ok(json!({})), decode)
    }

    /// The moment of the past that the context names, in microseconds.
    fn past(&self) -> Result<Option<i64>, Trouble> {
        Ok(self.context()?.get("_datetime").and_then(micros))
    }

    fn writer(&self, at: i64) -> Result<Writer, Trouble> {
        let context = self.context()?;
        let id = |name: &str| context.get(name).and_then(Value::as_i64);
        Ok(Writer { at, company: id("company"), employee: id("employee"), client: true })
    }
}

fn decode(text: &str) -> Result<Value, Trouble> {
    let bytes = URL_SAFE.decode(text).map_err(|_| Trouble::Error("Incorrect padding".into()))?;
    serde_json::from_slice(&bytes).map_err(|_| Trouble::Error("Expecting value: line 1 column 1 (char 0)".into()))
}

fn order(order: Option<&Value>) -> Vec<(String, bool)> {
    let items = order.and_then(Value::as_array).into_iter().flatten();
    let order: Vec<(String, bool)> =
        items.filter_map(|item| Some((item.get(0)?.as_str()?.to_owned(), item.get(1)?.as_str()?.starts_with("DESC")))).collect();
    if order.is_empty() { vec![("id".to_owned(), true)] } else { order }
}

fn micros(value: &Value) -> Option<i64> {
    let part = |name: &str| value.get(name).and_then(Value::as_i64);
    let small = |name: &str| i8::try_from(part(name)?).ok();
    let nanos = i32::try_from(part("microsecond")? * 1000).ok()?;
    let year = i16::try_from(part("year")?).ok()?;
    let at = jiff::civil::DateTime::new(year, small("month")?, small("day")?, small("hour")?, small("minute")?, small("second")?, nanos);
    Some(at.ok()?.to_zoned(jiff::tz::TimeZone::UTC).ok()?.timestamp().as_microsecond())
}

fn described(field: &super::db::Field) -> Value {
    let kind = match field.kind {
        Kind::Char | Kind::Name | Kind::Mechanism => "char",
        Kind::Text => "text",
        Kind::Numeric => "numeric",
        Kind::Float => "float",
        Kind::Integer => "integer",
        Kind::Boolean => "boolean",
        Kind::Date => "date",
        Kind::Timestamp => "timestamp",
        Kind::Selection(_) => "selection",
        Kind::One(_) => "many2one",
        Kind::Many(..) => "one2many",
    };
    let mut out = json!({"name": field.name, "string": field.label, "type": kind, "required": field.required, "readonly": field.readonly});
    if let (Kind::Selection(options), Some(out)) = (field.kind, out.as_object_mut()) {
        let label = |o: &str| o.chars().take(1).map(|c| c.to_ascii_uppercase()).chain(o.chars().skip(1)).collect::<String>();
        let options: Vec<[String; 2]> = options.iter().map(|o| [(*o).to_owned(), label(o)]).collect();
        out.insert("selection".into(), json!(options));
    }
    out
}
