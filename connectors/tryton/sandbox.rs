//! A Tryton 8.2 with sale_opportunity, simulated as the real one answers: tests/counterparts/tryton
//! runs that one. It has no OAuth, no webhooks, no request limit and no search index of its own.

mod db;
mod domain;
mod people;
mod rest;
mod write;

use std::collections::{BTreeSet, VecDeque};

use db::{Db, OPPORTUNITY, SALE, Trouble};
use rest::{COMPANY, Call, EMPLOYEE};
use serde_json::{Value, json};
use write::Writer;

use crate::sdk::{
    Act, App, Fault, Fields, Method, Millis, OutgoingWebhook, Response, Sandbox, SandboxRecord, SandboxReply, SandboxRequest, Stats,
    signature::sha256,
};

/// The name of the simulated database: the `tenant` of a connection.
pub const DATABASE: &str = "crm";

const COUNTRIES: [(&str, &str); 7] = [
    ("AT", "Austria"),
    ("CH", "Switzerland"),
    ("DE", "Germany"),
    ("FR", "France"),
    ("GB", "United Kingdom"),
    ("NL", "Netherlands"),
    ("US", "United States"),
];

/// The parties up to this id are the company and its employee.
const HOUSE: i64 = 2;

/// Tryton, simulated.
#[derive(Clone)]
pub struct TrytonSandbox {
    seed: u64,
    /// What has been committed.
    head: Db,
    /// Earlier states, still what readers see while commits are late: when each gives way.
    seen: VecDeque<(Millis, Db)>,
    keys: Vec<String>,
    keys_made: u64,
    made_by_api: BTreeSet<i64>,
    stats: Stats,
    drop_after_commit: u32,
    commit_late: (u32, Millis),
    late: Vec<(Millis, SandboxRequest)>,
    status: (u16, u32),
    throttle: (u32, Option<u32>),
    commit_lag: Millis,
    truncate: bool,
}

impl TrytonSandbox {
    /// A database with one company, one employee and some countries, and nothing else.
    pub fn new(seed: u64) -> Self {
        let mut head = Db::default();
        let row = |pairs: &[(&str, Value)]| pairs.iter().map(|(n, v)| ((*n).to_owned(), v.clone())).collect();
        head.insert("currency.currency", row(&[("name", json!("Euro")), ("code", json!("EUR"))]), 0);
        for (code, name) in COUNTRIES {
            head.insert(db::COUNTRY, row(&[("name", json!(name)), ("code", json!(code))]), 0);
        }
        for name in ["Northwind GmbH", "Robin Sales"] {
            let code = head.next_number(db::PARTY);
            head.insert(db::PARTY, row(&[("name", json!(name)), ("code", json!(code)), ("active", json!(1))]), 0);
        }
        head.insert("company.company", row(&[("party", json!(1)), ("currency", json!(1))]), 0);
        head.insert("company.employee", row(&[("party", json!(2)), ("company", json!(1))]), 0);
        Self {
            seed,
            head,
            seen: VecDeque::new(),
            keys: Vec::new(),
            keys_made: 0,
            made_by_api: BTreeSet::new(),
            stats: Stats::default(),
            drop_after_commit: 0,
            commit_late: (0, 0),
            late: Vec::new(),
            status: (0, 0),
            throttle: (0, None),
            commit_lag: 0,
            truncate: false,
        }
    }

    /// Commits what was late, and lets readers see what is due.
    fn pass(&mut self, now: Millis) {
        while let Some(next) = self.late.iter().position(|(due, _)| *due <= now) {
            let (due, request) = self.late.remove(next);
            self.commit(&request, due);
        }
        while self.seen.front().is_some_and(|(until, _)| *until <= now) {
            self.seen.pop_front();
        }
    }

    /// Keeps what readers see until a change made now becomes visible.
    fn hide(&mut self, now: Millis) {
        if self.commit_lag > 0 {
            self.seen.push_back((now + self.commit_lag, self.head.clone()));
        }
    }

    /// Carries out a request that writes.
    fn commit(&mut self, request: &SandboxRequest, now: Millis) -> Response {
        let Some(call) = Call::parse(request, DATABASE) else { return refusal(Trouble::NotFound) };
        self.hide(now);
        match call.answer(&mut self.head, now * 1000) {
            Ok(response) => {
                let created = request.method == Method::Post && request.path_only().ends_with(OPPORTUNITY);
                if let Some(id) = created.then(|| response.value()?.get("id")?.as_i64()).flatten() {
                    self.made_by_api.insert(id);
                    self.stats.created += 1;
                }
                response
            }
            Err(trouble) => refusal(trouble),
        }
    }

    fn authorized(&self, request: &SandboxRequest) -> bool {
        let header = request.header("authorization").unwrap_or_default();
        header.split_once(' ').is_some_and(|(scheme, key)| scheme.eq_ignore_ascii_case("bearer") && self.keys.iter().any(|k| k == key))
    }

    fn answer(&mut self, request: &SandboxRequest, now: Millis) -> SandboxReply {
        let Some(call) = Call::parse(request, DATABASE) else { return SandboxReply::Answer(refusal(Trouble::NotFound)) };
        if let Err(trouble) = call.checked_before_key() {
            return SandboxReply::Answer(refusal(trouble));
        }
        if !self.authorized(request) {
            return SandboxReply::Answer(refusal(Trouble::Unauthorized));
        }
        if self.throttle.0 > 0 {
            self.throttle.0 -= 1;
            self.stats.throttled += 1;
            // Tryton never does; a proxy in front of it may.
            let mut response = page(429, "Too Many Requests", "");
            response.headers.extend(self.throttle.1.map(|seconds| ("retry-after".to_owned(), seconds.to_string())));
            return SandboxReply::Answer(response);
        }
        if self.status.1 > 0 {
            self.status.1 -= 1;
            return SandboxReply::Answer(page(self.status.0, "Trouble", ""));
        }
        self.stats.requests += 1;
        if !call.writes() {
            let view = self.seen.front_mut().map_or(&mut self.head, |(_, db)| db);
            return SandboxReply::Answer(call.answer(view, now * 1000).unwrap_or_else(refusal));
        }
        if self.commit_late.0 > 0 {
            self.commit_late.0 -= 1;
            self.late.push((now + self.commit_late.1, request.clone()));
            return SandboxReply::Dropped;
        }
        let response = self.commit(request, now);
        if self.drop_after_commit > 0 {
            self.drop_after_commit -= 1;
            return SandboxReply::Dropped;
        }
        SandboxReply::Answer(response)
    }
}

/// An HTML page, as Werkzeug words its errors.
fn page(status: u16, title: &str, text: &str) -> Response {
    let text = text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('\'', "&#39;").replace('"', "&#34;");
    let body = format!("<!doctype html>\n<html lang=en>\n<title>{status} {title}</title>\n<h1>{title}</h1>\n<p>{text}</p>\n");
    Response { status, headers: vec![("content-type".into(), "text/html; charset=utf-8".into())], body: body.into_bytes() }
}

fn refusal(trouble: Trouble) -> Response {
    match trouble {
        Trouble::User(message) => Response::json(400, &json!({"status": 400, "message": message, "description": ""})),
        Trouble::Error(text) => page(500, "Internal Server Error", &text),
        Trouble::NotFound => page(404, "Not Found", "The requested URL was not found on the server."),
        Trouble::Forbidden => page(403, "Forbidden", "You don't have the permission to access the requested resource."),
        Trouble::Unauthorized => {
            page(401, "Unauthorized", "The server could not verify that you are authorized to access the URL requested.")
        }
        Trouble::Method => page(405, "Method Not Allowed", "The method is not allowed for the requested URL."),
    }
}

/// The time as HTTP writes it.
fn http_date(now: Millis) -> String {
    let at = jiff::Timestamp::from_millisecond(now).unwrap_or(jiff::Timestamp::MIN);
    at.strftime("%a, %d %b %Y %H:%M:%S GMT").to_string()
}

impl Sandbox for TrytonSandbox {
    fn register(&mut self, _: App) {}

    fn handle(&mut self, request: &SandboxRequest, now: Millis) -> SandboxReply {
        self.pass(now);
        let SandboxReply::Answer(mut response) = self.answer(request, now) else { return SandboxReply::Dropped };
        response.headers.push(("date".into(), http_date(now)));
        if self.truncate {
            self.truncate = false;
            response.body.truncate(response.body.len() / 2);
        }
        SandboxReply::Answer(response)
    }

    fn webhooks_due(&mut self, now: Millis) -> Vec<OutgoingWebhook> {
        self.pass(now);
        Vec::new()
    }

    fn webhook_answered(&mut self, _: u64, _: Option<&Response>, _: Millis) {}

    fn act(&mut self, act: Act, now: Millis) -> Result<String, String> {
        self.pass(now);
        self.hide(now);
        let who = Writer { at: now * 1000, company: Some(COMPANY), employee: Some(EMPLOYEE), client: false };
        let number = |id: &str| id.parse::<i64>().map_err(|_| "no such record".to_owned());
        let lead =
            |object: &str| if object == OPPORTUNITY { Ok(()) } else { Err(format!("people work on {OPPORTUNITY} here, not on {object}")) };
        self.head.begin();
        let db = &mut self.head;
        let done = match act {
            Act::Create { object, fields } => lead(&object).and_then(|()| db.enter(&fields, &who)).map(|id| id.to_string()),
            Act::Update { object, id, fields } if object == SALE => number(&id).and_then(|n| db.edit_sale(n, &fields, &who)).map(|()| id),
            Act::Update { object, id, fields } => {
                lead(&object).and_then(|()| number(&id)).and_then(|n| there(db, n)).and_then(|n| db.edit(n, &fields, &who)).map(|()| id)
            }
            Act::Delete { object, id } => {
                lead(&object).and_then(|()| number(&id)).and_then(|n| there(db, n)).and_then(|n| db.bin(n, &who)).map(|()| id)
            }
            Act::Convert { object, id, fields } => {
                let sale = lead(&object).and_then(|()| number(&id)).and_then(|n| there(db, n)).and_then(|n| db.convert(n, &fields, &who));
                sale.map(|sale| sale.to_string())
            }
            Act::Merge { .. } => Err("Tryton does not merge opportunities".into()),
            Act::DefineField { object, name, unique, .. } => lead(&object).and_then(|()| {
                if unique {
                    return Err("a unique field takes a module of its own in Tryton".into());
                }
                if db.field(OPPORTUNITY, &name).is_none() {
                    db.custom.push(name.clone());
                }
                Ok(name)
            }),
        };
        if done.is_err() {
            self.head.rollback();
        }
        done
    }

    fn records(&self, object: &str) -> Vec<SandboxRecord> {
        let flat = |id: i64, row: &db::Row| -> Fields { if object == OPPORTUNITY { self.head.flat(id) } else { row.clone() } };
        let made = |id: i64| object == OPPORTUNITY && self.made_by_api.contains(&id);
        // The company and its employee are parties too, but nobody's lead.
        let house = |id: i64| object == db::PARTY && id <= HOUSE;
        let rows = self.head.rows(object).filter(|(id, _)| !house(*id));
        rows.map(|(id, row)| SandboxRecord { id: id.to_string(), fields: flat(id, row), made_by_api: made(id) }).collect()
    }

    fn inject(&mut self, fault: Fault) {
        match fault {
            Fault::DropAfterCommit { count } => self.drop_after_commit = count,
            Fault::CommitLate { count, after_ms } => self.commit_late = (count, after_ms),
            Fault::Status { status, count } => self.status = (status, count),
            Fault::Throttle { count, retry_after } => self.throttle = (count, retry_after),
            Fault::CommitLag { ms } => self.commit_lag = ms,
            Fault::Truncate => self.truncate = true,
            // An administrator cancels the keys.
            Fault::RevokeGrants => self.keys.clear(),
            // Keys do not expire, there is no quota, and searches read the tables themselves.
            Fault::ExpireAccessTokens | Fault::DailyQuota { .. } | Fault::IndexLag { .. } => {}
        }
    }

    fn stats(&self) -> Stats {
        self.stats
    }

    fn tenant(&self) -> Option<&'static str> {
        Some(DATABASE)
    }

    fn token(&mut self, _: Millis) -> String {
        self.keys_made += 1;
        let part = |n: u8| hex::encode(sha256(&[&self.seed.to_be_bytes(), &self.keys_made.to_be_bytes(), &[n]]));
        let key = part(0) + &part(1);
        self.keys.push(key.clone());
        key
    }

    fn fork(&self) -> Box<dyn Sandbox> {
        Box::new(self.clone())
    }
}

fn there(db: &Db, id: i64) -> Result<i64, String> {
    db.row(OPPORTUNITY, id).map(|_| id).ok_or_else(|| "no such record".to_owned())
}
