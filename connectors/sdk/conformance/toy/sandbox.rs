//! The made-up vendor's simulator.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use crate::sdk::{
    Act, App, Fault, Fields, Method, Millis, OutgoingWebhook, Response, Sandbox, SandboxRecord, SandboxReply, SandboxRequest, Stats,
    signature,
};

/// Most rows in one answer.
pub(super) const PAGE: usize = 25;

#[derive(Clone)]
struct Row {
    fields: Fields,
    modified: Millis,
    visible: Millis,
    deleted: bool,
    into: Option<usize>,
    by_api: bool,
}

#[derive(Clone)]
struct Delivery {
    id: u64,
    due: Millis,
    body: Vec<u8>,
}

/// Rows are numbered from 0; nothing is ever taken out of `rows`.
#[derive(Clone, Default)]
pub(super) struct ToySandbox {
    app: Option<App>,
    rows: Vec<Row>,
    names: BTreeSet<String>,
    token: u64,
    expired: bool,
    code: u64,
    revoked: bool,
    faults: Vec<Fault>,
    late: Vec<(Millis, SandboxRequest)>,
    commit_lag: Millis,
    quota_until: Millis,
    deliveries: Vec<Delivery>,
    delivered: u64,
    stats: Stats,
}

impl ToySandbox {
    fn put(&mut self, fields: Fields, now: Millis, by_api: bool) -> usize {
        let row = Row { fields, modified: now, visible: now + self.commit_lag, deleted: false, into: None, by_api };
        self.rows.push(row);
        self.stats.created += u64::from(by_api);
        let id = self.rows.len() - 1;
        self.tell(id, "changed", now);
        id
    }

    fn tell(&mut self, id: usize, kind: &str, now: Millis) {
        self.delivered += 1;
        let into = self.rows[id].into.map(|into| into.to_string());
        let body = json!({"id": id.to_string(), "kind": kind, "into": into, "account": "toy-1"}).to_string().into_bytes();
        self.deliveries.push(Delivery { id: self.delivered, due: now + 2_000, body });
    }

    fn change(&mut self, id: usize, fields: &Fields, now: Millis) {
        for (name, value) in fields {
            if value.is_null() {
                self.rows[id].fields.remove(name)
            } else {
                self.rows[id].fields.insert(name.clone(), value.clone())
            };
        }
        self.touch(id, "changed", now);
    }

    fn touch(&mut self, id: usize, kind: &str, now: Millis) {
        (self.rows[id].modified, self.rows[id].visible) = (now, now + self.commit_lag);
        self.tell(id, kind, now);
    }

    fn live(&self, id: &str) -> Option<usize> {
        id.parse().ok().filter(|id| self.rows.get(*id).is_some_and(|row: &Row| !row.deleted))
    }

    fn shown(&self, id: usize) -> Value {
        let row = &self.rows[id];
        let into = row.into.map(|into| into.to_string());
        json!({"id": id.to_string(), "modified": row.modified, "deleted": row.deleted, "into": into, "fields": row.fields})
    }

    /// Takes one of the first counted fault of this kind.
    fn take(&mut self, wanted: fn(&Fault) -> bool) -> Option<Fault> {
        let at = self.faults.iter().position(wanted)?;
        let taken = self.faults[at].clone();
        match &mut self.faults[at] {
            Fault::DropAfterCommit { count }
            | Fault::CommitLate { count, .. }
            | Fault::Status { count, .. }
            | Fault::Throttle { count, .. }
                if *count > 1 =>
            {
                *count -= 1;
            }
            _ => drop(self.faults.remove(at)),
        }
        Some(taken)
    }

    /// The OAuth server: the code names the grant, and so does the refresh token.
    fn page(&mut self, request: &SandboxRequest, now: Millis) -> Option<Response> {
        let invalid = || Response::json(400, &json!({"error": "invalid_grant"}));
        match request.path_only() {
            "/authorize" if request.method == Method::Get => {
                let kept = |name: &str| {
                    let value = request.query(name).unwrap_or_default().replace('&', "&amp;");
                    format!("<input name=\"{name}\" value=\"{value}\">")
                };
                let form = format!(
                    "<form action=\"/authorize\">{}{}<button name=\"decision\" value=\"allow\">",
                    kept("redirect_uri"),
                    kept("state")
                );
                Some(Response { status: 200, headers: Vec::new(), body: form.into_bytes() })
            }
            "/authorize" => {
                self.code += 1;
                let state: String = url::form_urlencoded::byte_serialize(request.form("state")?.as_bytes()).collect();
                let location = format!("{}?code={}&state={state}", request.form("redirect_uri")?, self.code);
                Some(Response { status: 302, headers: vec![("location".into(), location)], body: Vec::new() })
            }
            "/token" => {
                let by_code = request.form("code").and_then(|code| code.parse().ok());
                if by_code.is_some_and(|code: u64| code == self.code) {
                    self.code += 1;
                    self.revoked = false;
                } else if self.revoked || request.form("refresh_token").is_none() {
                    return Some(invalid());
                }
                let token = self.token(now);
                Some(Response::json(200, &json!({"access_token": token, "refresh_token": "toy-refresh", "account": "toy-1"})))
            }
            _ => None,
        }
    }

    fn refused(&mut self, request: &SandboxRequest, now: Millis) -> Option<Response> {
        if self.expired || request.header("authorization") != Some(&format!("Bearer toy-{}", self.token)) {
            return Some(Response::json(401, &json!({"error": "expired"})));
        }
        if now < self.quota_until {
            self.stats.throttled += 1;
            return Some(Response::json(429, &json!({"error": "no calls left for the day"})));
        }
        if let Some(Fault::Status { status, .. }) = self.take(|fault| matches!(fault, Fault::Status { .. })) {
            return Some(Response::empty(status));
        }
        if let Some(Fault::Throttle { retry_after, .. }) = self.take(|fault| matches!(fault, Fault::Throttle { .. })) {
            self.stats.throttled += 1;
            let mut response = Response::json(429, &json!({"error": "slower"}));
            response.headers.extend(retry_after.map(|seconds| ("retry-after".to_owned(), seconds.to_string())));
            return Some(response);
        }
        None
    }

    fn answer(&mut self, request: &SandboxRequest, now: Millis) -> Response {
        let parts: Vec<&str> = request.path_only().trim_start_matches('/').split('/').collect();
        match (request.method, parts.as_slice()) {
            (Method::Get, ["fields"]) => {
                let fixed = ["email", "name", "note", "status"].map(str::to_owned);
                Response::json(200, &fixed.into_iter().chain(self.names.clone()).collect::<Vec<_>>())
            }
            (Method::Get, ["rows"]) => Response::json(200, &self.listed(request, now)),
            (Method::Get, ["rows", "some"]) => {
                let ids = request.query("ids").unwrap_or_default();
                let one = |id: &str| match id.parse::<usize>() {
                    Ok(known) if known < self.rows.len() => self.shown(known),
                    _ => json!({"id": id, "modified": 0, "deleted": true, "fields": {}}),
                };
                Response::json(200, &ids.split(',').map(one).collect::<Vec<_>>())
            }
            (Method::Get, ["rows", "by"]) => {
                let (field, value) = (request.query("field").unwrap_or_default(), request.query("value").unwrap_or_default());
                let holds =
                    |id: &usize| !self.rows[*id].deleted && self.rows[*id].fields.get(&field).and_then(Value::as_str) == Some(&value);
                Response::json(200, &(0..self.rows.len()).filter(holds).map(|id| self.shown(id)).collect::<Vec<_>>())
            }
            (Method::Post, ["rows"]) => {
                let Ok(fields) = serde_json::from_slice::<Fields>(&request.body) else { return Response::empty(400) };
                if !fields.get("email").and_then(Value::as_str).is_none_or(|email| email.contains('@')) {
                    return Response::json(422, &json!({"error": "invalid"}));
                }
                let id = self.put(fields, now, true);
                Response::json(201, &self.shown(id))
            }
            (Method::Patch, ["rows", id]) => {
                let Some(id) = self.live(id) else { return Response::empty(404) };
                let Ok(fields) = serde_json::from_slice::<Fields>(&request.body) else { return Response::empty(400) };
                self.change(id, &fields, now);
                Response::json(200, &self.shown(id))
            }
            (Method::Delete, ["rows", id]) => {
                if let Some(id) = self.live(id) {
                    self.rows[id].deleted = true;
                    self.touch(id, "deleted", now);
                }
                Response::empty(204)
            }
            _ => Response::empty(404),
        }
    }

    fn listed(&self, request: &SandboxRequest, now: Millis) -> Vec<Value> {
        let number = |name: &str| request.query(name).and_then(|text| text.parse::<i64>().ok());
        let (from, to) = (number("from").unwrap_or(0), number("to").unwrap_or(i64::MAX));
        let after = number("after").map(|id| (from, id));
        let wanted = |row: &Row| match request.query("status") {
            Some(status) => row.fields.get("status").and_then(Value::as_str) == Some(&status),
            None => true,
        };
        let mut found: Vec<(i64, i64)> = self.rows.iter().enumerate().map(|(id, row)| (row.modified, id as i64)).collect();
        found.retain(|(modified, id)| {
            let row = &self.rows[*id as usize];
            (from..=to).contains(modified) && after.is_none_or(|after| (*modified, *id) > after) && row.visible <= now && wanted(row)
        });
        found.sort_unstable();
        found.into_iter().take(PAGE).map(|(_, id)| self.shown(id as usize)).collect()
    }
}

impl Sandbox for ToySandbox {
    fn register(&mut self, app: App) {
        self.app = Some(app);
    }

    fn handle(&mut self, request: &SandboxRequest, now: Millis) -> SandboxReply {
        let (due, late) = std::mem::take(&mut self.late).into_iter().partition(|(at, _)| *at <= now);
        self.late = late;
        for (at, request) in due {
            self.answer(&request, at);
        }
        if let Some(page) = self.page(request, now) {
            return SandboxReply::Answer(page);
        }
        if let Some(refused) = self.refused(request, now) {
            return SandboxReply::Answer(refused);
        }
        self.stats.requests += 1;
        if request.method != Method::Get {
            if let Some(Fault::CommitLate { after_ms, .. }) = self.take(|fault| matches!(fault, Fault::CommitLate { .. })) {
                self.late.push((now + after_ms, request.clone()));
                return SandboxReply::Dropped;
            }
            if self.take(|fault| matches!(fault, Fault::DropAfterCommit { .. })).is_some() {
                self.answer(request, now);
                return SandboxReply::Dropped;
            }
        }
        let mut response = self.answer(request, now);
        if self.take(|fault| matches!(fault, Fault::Truncate)).is_some() {
            response.body.truncate(response.body.len() / 2);
        }
        SandboxReply::Answer(response)
    }

    fn webhooks_due(&mut self, now: Millis) -> Vec<OutgoingWebhook> {
        let Some(app) = self.app.clone() else { return Vec::new() };
        let Some(url) = app.webhook_url else { return Vec::new() };
        let send = |delivery: &mut Delivery| {
            delivery.due = now + 60_000;
            let sign = signature::hmac_sha256(app.client_secret.as_bytes(), &[now.to_string().as_bytes(), &delivery.body]);
            let headers = vec![("X-Toy-Signature".into(), hex::encode(sign)), ("X-Toy-Time".into(), now.to_string())];
            OutgoingWebhook { delivery: delivery.id, url: url.clone(), headers, body: delivery.body.clone() }
        };
        self.deliveries.iter_mut().filter(|delivery| delivery.due <= now).map(send).collect()
    }

    fn webhook_answered(&mut self, delivery: u64, answer: Option<&Response>, _: Millis) {
        if answer.is_some_and(Response::is_success) {
            self.deliveries.retain(|waiting| waiting.id != delivery);
        }
    }

    fn act(&mut self, act: Act, now: Millis) -> Result<String, String> {
        let known = |toy: &Self, id: &str| toy.live(id).ok_or_else(|| "no such row".to_owned());
        match act {
            Act::Create { fields, .. } => Ok(self.put(fields, now, false).to_string()),
            Act::Update { id, fields, .. } => {
                let row = known(self, &id)?;
                self.change(row, &fields, now);
                Ok(id)
            }
            Act::Delete { id, .. } => {
                let row = known(self, &id)?;
                self.rows[row].deleted = true;
                self.touch(row, "deleted", now);
                Ok(id)
            }
            Act::Merge { winner, loser, .. } => {
                let (into, row) = (known(self, &winner)?, known(self, &loser)?);
                (self.rows[row].deleted, self.rows[row].into) = (true, Some(into));
                self.touch(row, "merged", now);
                Ok(winner)
            }
            Act::Convert { .. } => Err("rows become nothing else".into()),
            Act::DefineField { name, .. } => {
                self.names.insert(name.clone());
                Ok(name)
            }
        }
    }

    fn records(&self, _: &str) -> Vec<SandboxRecord> {
        let live = self.rows.iter().enumerate().filter(|(_, row)| !row.deleted);
        live.map(|(id, row)| SandboxRecord { id: id.to_string(), fields: row.fields.clone(), made_by_api: row.by_api }).collect()
    }

    fn inject(&mut self, fault: Fault) {
        match fault {
            Fault::CommitLag { ms } | Fault::IndexLag { ms } => self.commit_lag = ms,
            Fault::DailyQuota { until } => self.quota_until = until,
            Fault::ExpireAccessTokens => self.expired = true,
            Fault::RevokeGrants => (self.expired, self.revoked) = (true, true),
            counted => self.faults.push(counted),
        }
    }

    fn stats(&self) -> Stats {
        self.stats
    }

    fn token(&mut self, _: Millis) -> String {
        self.token += 1;
        self.expired = false;
        format!("toy-{}", self.token)
    }

    fn fork(&self) -> Box<dyn Sandbox> {
        Box::new(self.clone())
    }
}
