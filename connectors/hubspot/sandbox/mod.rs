//! HubSpot, simulated: one account, its OAuth server, its limits and its webhooks.
//!
//! Written from HubSpot's documentation and recordings, with constants of its own: nothing here
//! reads the connector or its manifest, so that a mistake there shows here.

mod account;
mod answer;
mod batches;
mod crm;
mod forms;
mod gate;
mod hooks;
mod limits;
mod links;
mod oauth;
mod portal;
mod schema;
mod search;
mod store;
mod values;

use std::collections::VecDeque;

use serde_json::{Value, json};

use crate::sdk::{
    Act, App, Fault, Fields, Method, Millis, OutgoingWebhook, Response, Sandbox, SandboxRecord, SandboxReply, SandboxRequest, Stats,
};
use answer::{Refusal, Rng, http_date};
use crm::Call;
use gate::{is_write, needed_scope, status_category};
use hooks::Hooks;
use limits::{Lane, Limits};
use oauth::{Bearer, OAuth};
use portal::{By, Portal};
use schema::{Kind, Property};

/// Dated versions that are supported.
const DATED: [&str; 3] = ["2025-09", "2026-03", "2026-09"];

/// Where visitors send forms.
const FORMS: &str = "/submissions/v3/integration/submit/";

/// HubSpot, simulated.
#[derive(Debug, Clone)]
pub struct HubSpotSandbox {
    portal: Portal,
    oauth: OAuth,
    hooks: Hooks,
    limits: Limits,
    faults: Faults,
    /// Writes that are still on their way through HubSpot, with the time at which they take effect.
    late: VecDeque<(Millis, SandboxRequest)>,
    stats: Stats,
    rng: Rng,
}

/// Trouble that was arranged.
#[derive(Debug, Clone, Default)]
struct Faults {
    drop_after_commit: u32,
    commit_late: Option<(u32, Millis)>,
    status: VecDeque<(u16, u32)>,
    throttle: Option<(u32, Option<u32>)>,
    truncate: bool,
}

impl HubSpotSandbox {
    /// An empty account; ids and codes follow from the seed.
    pub fn new(seed: u64) -> Self {
        Self {
            portal: Portal::new(seed),
            oauth: OAuth::default(),
            hooks: Hooks::default(),
            limits: Limits::default(),
            faults: Faults::default(),
            late: VecDeque::new(),
            stats: Stats::default(),
            rng: Rng(seed ^ 0x5eed),
        }
    }

    /// Carries out writes whose time has come.
    fn catch_up(&mut self, now: Millis) {
        while let Some(at) = self.late.iter().position(|(due, _)| *due <= now) {
            if let Some((due, request)) = self.late.remove(at) {
                // Nobody hears the answer.
                let _ = self.route(&request, due);
            }
        }
        let events = std::mem::take(&mut self.portal.events);
        let wanted = self.oauth.app.as_ref().is_some_and(|app| app.webhook_url.is_some());
        if wanted && self.oauth.installed() {
            self.hooks.take(events, &mut self.rng);
        }
    }

    fn data(&mut self, request: &SandboxRequest, now: Millis) -> SandboxReply {
        let correlation = self.rng.uuid();
        let lane = if request.method == Method::Post && request.path_only().ends_with("/search") { Lane::Search } else { Lane::General };
        if let Some(refused) = self.refused(request, lane, &correlation, now) {
            return SandboxReply::Answer(self.dressed(refused, lane, now));
        }
        self.stats.requests += 1;
        let writes = is_write(request);
        if writes
            && let Some((count, after)) = self.faults.commit_late.as_mut()
            && *count > 0
        {
            *count -= 1;
            self.late.push_back((now + *after, request.clone()));
            return SandboxReply::Dropped;
        }
        let mut response = self.route(request, now).unwrap_or_else(|refusal| refusal.response(&correlation));
        if writes && self.faults.drop_after_commit > 0 {
            self.faults.drop_after_commit -= 1;
            return SandboxReply::Dropped;
        }
        if self.faults.truncate && !response.body.is_empty() {
            self.faults.truncate = false;
            response.body.truncate(response.body.len() / 2);
        }
        SandboxReply::Answer(self.dressed(response, lane, now))
    }

    /// Faults, the token, limits and scopes, in the order in which they stand before the API.
    fn refused(&mut self, request: &SandboxRequest, lane: Lane, correlation: &str, now: Millis) -> Option<Response> {
        if let Some((status, count)) = self.faults.status.front_mut() {
            let status = *status;
            *count -= 1;
            if *count == 0 {
                self.faults.status.pop_front();
            }
            return Some(Refusal::new(status, status_category(status), "This request could not be processed.").response(correlation));
        }
        let error = |status: u16, category: &'static str, message: &str| Refusal::new(status, category, message).response(correlation);
        let scope = needed_scope(request);
        match self.oauth.bearer(request.header("authorization"), now) {
            Bearer::Unknown => {
                let message = "Authentication credentials not found. This API supports OAuth 2.0 authentication and you can find more details in its documentation";
                return Some(error(401, "INVALID_AUTHENTICATION", message));
            }
            Bearer::Expired { since } => {
                let message = format!("The OAuth token used to make this call expired {} second(s) ago.", since / 1000);
                return Some(error(401, "EXPIRED_AUTHENTICATION", &message));
            }
            Bearer::Good(granted) => {
                if let Some(scope) = scope.filter(|scope| !granted.contains(scope)) {
                    let mut refusal =
                        Refusal::new(403, "MISSING_SCOPES", "This app hasn't been granted all required scopes to make this call.");
                    refusal.errors = vec![json!({
                        "message": "One or more of the following scopes are required.",
                        "context": { "requiredGranularScopes": [scope] },
                    })];
                    return Some(refusal.response(correlation));
                }
            }
        }
        if let Some((count, retry_after)) = self.faults.throttle.as_mut().filter(|(count, _)| *count > 0) {
            *count -= 1;
            self.stats.throttled += 1;
            let policy = if lane == Lane::Search { "SECONDLY" } else { "TEN_SECONDLY_ROLLING" };
            return Some(limits::too_many(policy, correlation, *retry_after));
        }
        if let Err(policy) = self.limits.spend(lane, now) {
            self.stats.throttled += 1;
            return Some(limits::too_many(policy, correlation, None));
        }
        None
    }

    fn dressed(&self, mut response: Response, lane: Lane, now: Millis) -> Response {
        response.headers.push(("date".into(), http_date(now)));
        self.limits.headers(lane, &mut response);
        response
    }

    /// Finds the endpoint: `/crm/v3/objects/…` and `/crm/objects/2026-09/…` mean the same.
    fn route(&mut self, request: &SandboxRequest, now: Millis) -> Result<Response, Refusal> {
        let path = request.path_only().trim_end_matches('/').to_owned();
        let decoded: Vec<String> = path.split('/').skip(1).map(decode).collect();
        let parts: Vec<&str> = decoded.iter().map(String::as_str).collect();
        let body = if request.body.is_empty() {
            Value::Null
        } else {
            serde_json::from_slice(&request.body).map_err(|_| Refusal::invalid("Invalid input JSON on line 1, column 1"))?
        };
        let query = request.path.split_once('?').map(|(_, query)| url::form_urlencoded::parse(query.as_bytes()).into_owned().collect());
        let mut call = Call { method: request.method, rest: &[], query: query.unwrap_or_default(), body, now };
        let (area, version, rest): (&str, &str, &[&str]) = match parts.as_slice() {
            ["crm", version, area, rest @ ..] if version.starts_with('v') => (area, version, rest),
            ["crm", area, version, rest @ ..] | [area, version, rest @ ..] => (area, version, rest),
            _ => return Err(Refusal::no_route()),
        };
        let numbered = version.starts_with('v').then_some(version);
        if numbered.is_some_and(|version| !matches!(version, "v3" | "v4")) || (numbered.is_none() && !DATED.contains(&version)) {
            return Err(Refusal::no_route());
        }
        call.rest = rest;
        match area {
            "objects" => match rest {
                [kind, id, "associations", tail @ ..] => {
                    let kind = Kind::parse(kind).ok_or_else(|| links::unknown_type(kind))?;
                    links::on_record(&mut self.portal, kind, id, tail, &call)
                }
                [kind, tail @ ..] => {
                    let kind = Kind::parse(kind).ok_or_else(|| links::unknown_type(kind))?;
                    call.rest = tail;
                    crm::answer(&mut self.portal, kind, &call)
                }
                [] => Err(Refusal::no_route()),
            },
            "properties" => account::properties(&mut self.portal, &call),
            "pipelines" => account::pipelines(&call),
            "owners" => account::owners(&call),
            "associations" => links::batches(&mut self.portal, numbered, &call),
            "account-info" if rest == ["details"] => Ok(account::details(&self.portal)),
            "communication-preferences" => account::preferences(&mut self.portal, &call),
            "appinstalls" if rest == ["external-install"] && call.method == Method::Delete => {
                self.oauth.uninstall();
                Ok(Response::empty(204))
            }
            _ => Err(Refusal::no_route()),
        }
    }

    fn do_act(&mut self, act: Act, now: Millis) -> Result<u64, Refusal> {
        let kind = |object: &str| Kind::parse(object).ok_or_else(|| links::unknown_type(object));
        let number = |id: &str| id.parse::<u64>().map_err(|_| Refusal::not_found());
        match act {
            Act::Create { object, fields } => {
                let (kind, (by, fields)) = (kind(&object)?, who(fields));
                let changes = values::accept(kind, &self.portal.table(kind).schema, &fields)?;
                self.portal.create(kind, changes, by, now)
            }
            Act::Update { object, id, fields } => {
                let (kind, (by, fields)) = (kind(&object)?, who(fields));
                let changes = values::accept(kind, &self.portal.table(kind).schema, &fields)?;
                self.portal.update(kind, number(&id)?, changes, by, now)
            }
            Act::Delete { object, id } => {
                let id = number(&id)?;
                if self.portal.archive(kind(&object)?, id, By::Person, now) { Ok(id) } else { Err(Refusal::not_found()) }
            }
            Act::Merge { object, winner, loser } => self.portal.merge(kind(&object)?, number(&winner)?, number(&loser)?, By::Person, now),
            Act::Convert { object, id, fields } => self.convert(kind(&object)?, number(&id)?, fields, now),
            Act::DefineField { object, name, unique, options } => {
                let kind = kind(&object)?;
                let group = format!("{}information", kind.singular());
                let property = Property::custom(&name, unique, &options, &group, now);
                if self.portal.table(kind).schema.contains_key(&name) {
                    return Err(Refusal::new(409, "OBJECT_ALREADY_EXISTS", format!("A property named '{name}' already exists.")));
                }
                self.portal.table_mut(kind).schema.insert(name, property);
                Ok(0)
            }
        }
    }

    /// A person makes a deal of a contact, a company or a lead.
    fn convert(&mut self, kind: Kind, id: u64, fields: Fields, now: Millis) -> Result<u64, Refusal> {
        if kind == Kind::Deal {
            return Err(Refusal::invalid("A deal is not turned into a deal."));
        }
        let (id, _) = self.portal.table(kind).live(id).ok_or_else(Refusal::not_found)?;
        let mut fields = fields;
        fields.entry("dealname".into()).or_insert_with(|| "New deal".into());
        let changes = values::accept(Kind::Deal, &self.portal.table(Kind::Deal).schema, &fields.into_iter().collect())?;
        let deal = self.portal.create(Kind::Deal, changes, By::Person, now)?;
        let mut on = vec![(kind, id)];
        if kind == Kind::Lead {
            on.extend(self.portal.linked(Kind::Lead, id, Kind::Contact).into_iter().map(|contact| (Kind::Contact, contact)));
        }
        for from in on {
            self.portal.link(from, (Kind::Deal, deal), Portal::default_type(from.0, Kind::Deal), By::Person, now)?;
            if from.0 == Kind::Contact {
                let stage = [("lifecyclestage".to_owned(), Some("opportunity".to_owned()))];
                self.portal.update(Kind::Contact, from.1, stage.into(), By::Person, now)?;
            }
        }
        Ok(deal)
    }
}

impl Sandbox for HubSpotSandbox {
    fn register(&mut self, app: App) {
        self.oauth.app = Some(app);
    }

    fn handle(&mut self, request: &SandboxRequest, now: Millis) -> SandboxReply {
        self.catch_up(now);
        let reply = if request.path_only().starts_with("/oauth/") {
            if request.path_only().ends_with("/token") {
                self.stats.token_requests += 1;
            }
            let page = self.oauth.answer(request, self.portal.id, &mut self.rng, now);
            let mut response = page.unwrap_or_else(|| Refusal::no_route().response(&self.rng.uuid()));
            response.headers.push(("date".into(), http_date(now)));
            SandboxReply::Answer(response)
        } else if request.path_only().starts_with(FORMS) && request.method == Method::Post {
            let body = serde_json::from_slice(&request.body).unwrap_or_default();
            let own = request.path_only()[FORMS.len()..].split('/').next() == Some(self.portal.id.to_string().as_str());
            let answer = if own { forms::submit(&mut self.portal, &body, now) } else { Err(Refusal::not_found()) };
            SandboxReply::Answer(answer.unwrap_or_else(|refusal| refusal.response(&self.rng.uuid())))
        } else {
            self.data(request, now)
        };
        self.catch_up(now);
        reply
    }

    fn webhooks_due(&mut self, now: Millis) -> Vec<OutgoingWebhook> {
        self.catch_up(now);
        let Some(app) = self.oauth.app.clone() else { return Vec::new() };
        self.hooks.due(&app, now, &mut self.rng)
    }

    fn webhook_answered(&mut self, delivery: u64, answer: Option<&Response>, now: Millis) {
        self.hooks.answered(delivery, answer, now, &mut self.rng);
    }

    fn act(&mut self, act: Act, now: Millis) -> Result<String, String> {
        self.catch_up(now);
        let done = self.do_act(act, now).map(|id| id.to_string()).map_err(|refusal| refusal.message);
        self.catch_up(now);
        done
    }

    fn records(&self, object: &str) -> Vec<SandboxRecord> {
        let Some(kind) = Kind::parse(object) else { return Vec::new() };
        let table = self.portal.table(kind);
        let live = table.rows.iter().filter(|(_, row)| row.latest().archived.is_none());
        live.map(|(id, row)| {
            let names =
                table.schema.keys().filter_map(|name| Some((name.clone(), Value::String(table.value(*id, row, row.latest(), name)?))));
            SandboxRecord { id: id.to_string(), fields: names.collect(), made_by_api: row.by == By::Api }
        })
        .collect()
    }

    fn inject(&mut self, fault: Fault) {
        match fault {
            Fault::DropAfterCommit { count } => self.faults.drop_after_commit = count,
            Fault::CommitLate { count, after_ms } => self.faults.commit_late = Some((count, after_ms)),
            Fault::Status { status, count } if count > 0 => self.faults.status.push_back((status, count)),
            Fault::Status { .. } => {}
            Fault::Throttle { count, retry_after } => self.faults.throttle = Some((count, retry_after)),
            Fault::DailyQuota { until } => self.limits.daily_until = until,
            Fault::ExpireAccessTokens => self.oauth.expire_access(),
            Fault::RevokeGrants => self.oauth.uninstall(),
            Fault::IndexLag { ms } => self.portal.index_lag = ms,
            Fault::CommitLag { ms } => self.portal.commit_lag = ms,
            Fault::Truncate => self.faults.truncate = true,
        }
    }

    fn stats(&self) -> Stats {
        Stats { created: self.portal.created_by_api, ..self.stats }
    }

    fn token(&mut self, now: Millis) -> String {
        self.oauth.full_token(&mut self.rng, now)
    }

    fn fork(&self) -> Box<dyn Sandbox> {
        Box::new(self.clone())
    }
}

/// Who acts: `hs_object_source`, which nobody can write, says that a form (`FORM`) or an import
/// (`IMPORT`) does it instead of a person in HubSpot's pages.
fn who(mut fields: Fields) -> (By, serde_json::Map<String, Value>) {
    let by = match fields.remove("hs_object_source").as_ref().and_then(Value::as_str) {
        Some("FORM") => By::Form,
        Some("IMPORT") => By::Import,
        _ => By::Person,
    };
    (by, fields.into_iter().collect())
}

fn decode(part: &str) -> String {
    // A plus stands for itself in a path.
    let part = part.replace('+', "%2B");
    url::form_urlencoded::parse(part.as_bytes()).next().map(|(name, _)| name.into_owned()).unwrap_or_default()
}
