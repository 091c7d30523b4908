//! Creating, changing, deleting, and the buttons of an opportunity, with Tryton's refusals.

use serde_json::{Map, Value, json};

use super::db::{ADDRESS, Db, Field, Kind, MECHANISM, OPPORTUNITY, PARTY, Row, SALE, Trouble, day, missing};

/// Who writes, and when.
#[derive(Debug, Clone, Default)]
pub struct Writer {
    /// Microseconds since the epoch.
    pub at: i64,
    /// The company of the context, which gives the defaults.
    pub company: Option<i64>,
    /// The employee of the context.
    pub employee: Option<i64>,
    /// Whether this is a client, whom Tryton holds to its rules of access.
    pub client: bool,
}

/// States in which most fields of an opportunity are read-only.
const CLOSED: &[&str] = &["converted", "won", "lost", "cancelled"];

impl Db {
    fn text(&self, model: &str, id: i64, field: &str) -> String {
        self.value(model, id, field).as_str().unwrap_or_default().to_owned()
    }

    fn rec_name(&self, model: &str, id: i64) -> String {
        let row = self.row(model, id);
        row.and_then(|row| self.computed(model, row, "rec_name").as_str().map(str::to_owned)).unwrap_or_default()
    }

    fn not_writable(&self, field: &Field, model: &str, id: Option<i64>) -> Trouble {
        let label = Self::model(model).map_or(model, |m| m.1);
        let record = id.map(|id| format!(" in record \"{}\"", self.rec_name(model, id))).unwrap_or_default();
        Trouble::User(format!("You are not allowed to modify the field \"{}\"{record} of \"{label}\".", field.label))
    }

    /// Creates a record with its related ones.
    ///
    /// # Errors
    /// Tryton's refusals; the caller rolls back.
    pub fn create(&mut self, model: &'static str, body: &Map<String, Value>, who: &Writer) -> Result<i64, Trouble> {
        let mut row = Row::new();
        let mut later = Vec::new();
        let mut closed = None;
        for (name, value) in body {
            let field = self.field(model, name).ok_or_else(|| missing(name))?;
            if who.client && field.readonly {
                closed = Some(field.clone());
            }
            match field.kind {
                Kind::Many(..) | Kind::Mechanism => later.push((field, value.clone())),
                kind => drop(row.insert(name.clone(), stored(kind, name, value)?)),
            }
        }
        self.defaults(model, &mut row, who)?;
        if model == PARTY && row.get("code").and_then(Value::as_str).is_some_and(|code| self.party_of(code).is_some()) {
            return Err(Trouble::User("The code on party must be unique.".into()));
        }
        let id = self.insert(model, row, who.at);
        for (field, value) in later {
            self.relate(model, id, &field, &value, who)?;
        }
        // Tryton computes these after the insert, which is a second write in the same moment.
        let computed = match model {
            PARTY => true,
            MECHANISM => self.value(MECHANISM, id, "value_compact").is_null(),
            ADDRESS => !self.value(ADDRESS, id, "street").is_null(),
            _ => false,
        };
        if computed {
            let compact = (model == MECHANISM).then(|| ("value_compact".to_owned(), self.value(MECHANISM, id, "value")));
            self.change(model, id, compact.into_iter().collect(), who.at);
        }
        self.validate(model, id)?;
        closed.map_or(Ok(id), |field| Err(self.not_writable(&field, model, None)))
    }

    fn defaults(&mut self, model: &'static str, row: &mut Row, who: &Writer) -> Result<(), Trouble> {
        fn default(row: &mut Row, name: &str, value: Value) {
            row.entry(name.to_owned()).or_insert(value);
        }
        if matches!(model, PARTY | MECHANISM | ADDRESS) {
            default(row, "active", json!(1));
        }
        match model {
            PARTY if row.get("code").is_none_or(|c| c.is_null() || c == "") => {
                let code = self.next_number(PARTY);
                row.insert("code".into(), json!(code));
            }
            MECHANISM => default(row, "type", json!("other")),
            OPPORTUNITY => {
                default(row, "state", json!("lead"));
                default(row, "conversion_probability", json!(0.5));
                default(row, "start_date", day(who.at));
                default(row, "employee", json!(who.employee));
                default(row, "company", json!(who.company));
                if row.get("company").is_none_or(Value::is_null) {
                    let rules = "because they fail on at least one of these rules:\nUser in companies";
                    return Err(Trouble::User(format!("You are not allowed to create records of \"Sale Opportunity\" {rules}")));
                }
                // The currency comes from the company of the context, not from that of the record.
                let currency = who.company.map(|company| self.value("company.company", company, "currency"));
                row.entry("currency".into()).or_insert(currency.unwrap_or(Value::Null));
                let number = self.next_number(OPPORTUNITY);
                row.insert("number".into(), json!(number));
            }
            SALE => default(row, "state", json!("draft")),
            _ => {}
        }
        Ok(())
    }

    /// Changes a record and its related ones.
    ///
    /// # Errors
    /// Tryton's refusals; the caller rolls back.
    pub fn update(&mut self, model: &'static str, id: i64, body: &Map<String, Value>, who: &Writer) -> Result<(), Trouble> {
        let mut row = Row::new();
        for (name, value) in body {
            let field = self.field(model, name).ok_or_else(|| missing(name))?;
            if who.client && (field.readonly || self.closed(model, id, name)) {
                return Err(self.not_writable(&field, model, (!field.readonly).then_some(id)));
            }
            match field.kind {
                Kind::Many(..) | Kind::Mechanism => self.relate(model, id, &field, value, who)?,
                kind => drop(row.insert(name.clone(), stored(kind, name, value)?)),
            }
        }
        if model == MECHANISM && row.contains_key("value") {
            row.insert("value_compact".into(), row.get("value").cloned().unwrap_or(Value::Null));
        }
        self.change(model, id, row, who.at);
        self.validate(model, id)
    }

    /// Whether a field is read-only in the state that the record is in.
    fn closed(&self, model: &str, id: i64, name: &str) -> bool {
        if model == PARTY {
            return name == "code";
        }
        if model != OPPORTUNITY {
            return false;
        }
        let state = self.text(OPPORTUNITY, id, "state");
        match name {
            "currency" | "start_date" => state != "lead",
            "party" => ["converted", "lost", "cancelled"].contains(&state.as_str()),
            "address" | "company" | "amount" | "employee" | "end_date" | "description" | "comment" => CLOSED.contains(&state.as_str()),
            "conversion_probability" => !["lead", "opportunity", "converted"].contains(&state.as_str()),
            _ => false,
        }
    }

    /// Carries out the commands on related records, or sets a first mechanism.
    fn relate(&mut self, model: &'static str, id: i64, field: &Field, value: &Value, who: &Writer) -> Result<(), Trouble> {
        let Kind::Many(target, back) = field.kind else {
            if self.row(model, id).is_some_and(|row| *self.computed(model, row, &field.name) != json!("")) {
                return Err(self.not_writable(field, model, Some(id)));
            }
            if let Some(text) = value.as_str().filter(|t| !t.is_empty()) {
                let body = json!({"party": id, "type": field.name, "value": text});
                self.create(MECHANISM, body.as_object().unwrap_or(&Map::new()), who)?;
            }
            return Ok(());
        };
        for command in value.as_array().into_iter().flatten() {
            let ids: Vec<i64> = command.get(1).and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_i64).collect();
            match command.get(0).and_then(Value::as_str) {
                Some("create") => {
                    for body in command.get(1).and_then(Value::as_array).into_iter().flatten() {
                        let mut body = body.as_object().cloned().unwrap_or_default();
                        body.insert(back.to_owned(), json!(id));
                        self.create(target, &body, who)?;
                    }
                }
                Some("write") => {
                    for child in ids {
                        self.row(target, child).ok_or(Trouble::NotFound)?;
                        self.update(target, child, command.get(2).and_then(Value::as_object).unwrap_or(&Map::new()), who)?;
                    }
                }
                Some("delete") => ids.into_iter().for_each(|child| self.remove(target, child, who.at)),
                _ => return Err(Trouble::Error("Bad arguments".into())),
            }
        }
        Ok(())
    }

    fn validate(&self, model: &'static str, id: i64) -> Result<(), Trouble> {
        let (_, label) = Self::model(model)?;
        let state = self.text(model, id, "state");
        for field in self.fields(model) {
            let value = self.value(model, id, &field.name);
            let record = || format!("for field \"{}\" in record \"{}\" of \"{label}\"", field.label, self.rec_name(model, id));
            let party_due = model == OPPORTUNITY
                && matches!(&*field.name, "party" | "employee")
                && !["lead", "lost", "cancelled"].contains(&state.as_str());
            if (field.required || party_due) && (value.is_null() || value == "") {
                return Err(Trouble::User(format!("A value is required {}.", record())));
            }
            match (field.kind, &value) {
                (Kind::Selection(options), Value::String(text)) if !options.contains(&text.as_str()) => {
                    return Err(Trouble::User(format!("The value \"{text}\" {} is not one of the allowed options.", record())));
                }
                (Kind::Float, Value::Number(n)) if n.as_f64().is_some_and(|n| !(0.0..=1.0).contains(&n)) => {
                    return Err(Trouble::User(format!("The value \"{n}\" {} is not valid according to its domain.", record())));
                }
                _ => {}
            }
        }
        Ok(())
    }

    /// Deletes a record.
    ///
    /// # Errors
    /// Tryton's refusals; the caller rolls back.
    pub fn delete(&mut self, model: &'static str, id: i64, who: &Writer) -> Result<(), Trouble> {
        match model {
            OPPORTUNITY if self.text(OPPORTUNITY, id, "state") != "cancelled" => {
                let name = self.rec_name(OPPORTUNITY, id);
                return Err(Trouble::User(format!("To delete opportunity \"{name}\", you must cancel it.")));
            }
            SALE if self.text(SALE, id, "state") != "cancelled" => {
                return Err(Trouble::User(format!("To delete sale \"({id})\", you must cancel it.")));
            }
            PARTY => {
                let named = |model| self.rows(model).filter(|(_, row)| row.get("party") == Some(&json!(id))).map(|(id, _)| id);
                if named(SALE).next().is_some() {
                    let used = "The records could not be deleted because they are used by field \"Party\" of \"Sale\".";
                    return Err(Trouble::User(used.into()));
                }
                let theirs: Vec<i64> = named(OPPORTUNITY).collect();
                for opportunity in theirs {
                    self.update(
                        OPPORTUNITY,
                        opportunity,
                        &Map::from_iter([("party".into(), Value::Null)]),
                        &Writer { client: false, ..who.clone() },
                    )?;
                }
                for child in [MECHANISM, ADDRESS] {
                    let all: Vec<i64> =
                        self.rows(child).filter(|(_, row)| row.get("party") == Some(&json!(id))).map(|(id, _)| id).collect();
                    for child_id in all {
                        self.remove(child, child_id, who.at);
                    }
                }
            }
            _ => {}
        }
        self.remove(model, id, who.at);
        Ok(())
    }

    /// Presses a button of an opportunity or a sale.
    ///
    /// # Errors
    /// 400 when it is not shown in this state, 403 when there is no such button.
    pub fn press(&mut self, model: &'static str, id: i64, button: &str, who: &Writer) -> Result<(), Trouble> {
        let (from, to): (&[&str], &str) = match (model, button) {
            (OPPORTUNITY, "lead") => (&["cancelled", "lost", "opportunity"], "lead"),
            (OPPORTUNITY, "opportunity") => (&["lead"], "opportunity"),
            (OPPORTUNITY, "convert") => (&["opportunity"], "converted"),
            (OPPORTUNITY, "lost") => (&["lead", "opportunity"], "lost"),
            (OPPORTUNITY, "cancel") => (&["lead", "opportunity"], "cancelled"),
            (SALE, "cancel") => (&["draft", "quotation"], "cancelled"),
            _ => return Err(Trouble::Forbidden),
        };
        if !from.contains(&self.text(model, id, "state").as_str()) {
            let (name, (_, label)) = (self.rec_name(model, id), Self::model(model)?);
            return Err(Trouble::User(format!("You can not call \"{button}\" on \"{name}\" of \"{label}\".")));
        }
        let mut values = Row::from([("state".into(), json!(to))]);
        match to {
            "lost" | "cancelled" if model == OPPORTUNITY => drop(values.insert("end_date".into(), day(who.at))),
            "converted" => {
                self.make_sale(id, Map::new(), who)?;
                values.insert("converted_by".into(), json!(who.employee));
            }
            _ => {}
        }
        self.change(model, id, values, who.at);
        if model == SALE {
            self.decided(id, who);
        }
        self.validate(model, id)
    }

    /// Makes the sale of an opportunity.
    ///
    /// # Errors
    /// Tryton's refusals; the caller rolls back.
    pub fn make_sale(&mut self, id: i64, mut body: Map<String, Value>, who: &Writer) -> Result<i64, Trouble> {
        let given = |field: &str| self.value(OPPORTUNITY, id, field);
        let defaults =
            [("origin", json!(id)), ("party", given("party")), ("description", given("description")), ("untaxed_amount", json!(0))];
        for (name, value) in defaults {
            body.entry(name.to_owned()).or_insert(value);
        }
        self.create(SALE, &body, who)
    }

    /// A sale that was confirmed or cancelled decides the opportunity that it came from.
    pub fn decided(&mut self, sale: i64, who: &Writer) {
        let (outcome, amount) = match self.text(SALE, sale, "state").as_str() {
            "confirmed" | "processing" | "done" => ("won", self.value(SALE, sale, "untaxed_amount")),
            "cancelled" => ("lost", json!({"__class__": "Decimal", "decimal": "0"})),
            _ => return,
        };
        if let Some(lead) = self.value(SALE, sale, "origin").as_i64() {
            let values = [("state", json!(outcome)), ("amount", amount), ("end_date", day(who.at))];
            self.change(OPPORTUNITY, lead, values.into_iter().map(|(n, v)| (n.to_owned(), v)).collect(), who.at);
        }
    }
}

/// A value as the field keeps it.
fn stored(kind: Kind, name: &str, value: &Value) -> Result<Value, Trouble> {
    let wrong = |python: &str| Trouble::Error(python.to_owned());
    Ok(match (kind, value) {
        (_, Value::Null) => Value::Null,
        (Kind::Char, Value::String(text)) => json!(text.trim()),
        (Kind::Char, Value::Number(_)) => return Err(wrong("'int' object has no attribute 'strip'")),
        (Kind::Text | Kind::Name, Value::Number(n)) => json!(n.to_string()),
        (Kind::Numeric, Value::Number(n)) => json!({"__class__": "Decimal", "decimal": n.to_string()}),
        (Kind::Numeric, Value::String(text)) if text.parse::<f64>().is_ok() => json!({"__class__": "Decimal", "decimal": text}),
        (Kind::Numeric, Value::Object(tagged)) if tagged.contains_key("decimal") => value.clone(),
        (Kind::Float, Value::Number(n)) => json!(n.as_f64()),
        (Kind::Float, other) => return Err(Trouble::Error(format!("could not convert string to float: {other}"))),
        (Kind::Boolean, Value::Bool(b)) => json!(i64::from(*b)),
        (Kind::Date, Value::String(text)) => iso_day(text).ok_or_else(|| wrong("Invalid isoformat string"))?,
        (Kind::Date, Value::Object(tagged)) if tagged.contains_key("year") => value.clone(),
        (Kind::Text | Kind::Name | Kind::Selection(_), Value::String(_))
        | (Kind::Integer | Kind::One(_) | Kind::Boolean, Value::Number(_)) => value.clone(),
        _ => return Err(Trouble::Error(format!("wrong type for {name}"))),
    })
}

fn iso_day(text: &str) -> Option<Value> {
    let day: jiff::civil::Date = text.parse().ok()?;
    Some(json!({"__class__": "date", "year": day.year(), "month": day.month(), "day": day.day()}))
}
