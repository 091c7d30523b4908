//! The vendor: HubSpot as our connector asks it, without quota and without delay of its own.
//!
//! Every portal is served at one address; the access token says which one is meant. Sources hold
//! the contacts whose webhooks were sent (made up from their number when read); recipients keep what
//! was written, by marker, in memory.

use std::collections::HashMap;
use std::fmt::Write as _;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, Method, StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};
use leadshare::clock::{Clock, HOUR, Millis, rfc3339};
use serde::Deserialize;
use serde_json::value::RawValue;

use crate::board::Board;
use crate::people::{FIRST_ID, lead_of, write_properties};
use crate::setup::{Cast, Side};

/// Ids of records at recipients start here.
const FIRST_RECORD: u64 = 5_000_000_000;
const UNKNOWN: (StatusCode, &str) = (StatusCode::NOT_FOUND, r#"{"status":"error","category":"OBJECT_NOT_FOUND","message":"not found"}"#);

/// How the vendor behaves.
#[derive(Debug, Clone, Copy)]
pub struct Manner {
    /// Most rows of one search page.
    pub page: usize,
    /// How many of a hundred people ticked a partner.
    pub ticked: usize,
}

/// How long an access token lives, as HubSpot's do, and one that was given long ago, seconds.
const TOKEN_LIFE: u32 = 1_800;
const OLD_TOKEN_LIFE: u32 = 60;

impl Manner {
    /// Pages as HubSpot has them; everybody wants to be shared.
    pub const LOAD: Self = Self { page: 200, ticked: 100 };
}

/// One process for all partners' systems.
pub struct Vendor {
    cast: Cast,
    board: Arc<Board>,
    clock: Clock,
    /// Contacts of each source, oldest first.
    sources: Vec<Mutex<Vec<(Millis, usize)>>>,
    recipients: Vec<Mutex<Portal>>,
    manner: Manner,
    /// Whether every second token is given as if that had been long ago: as it is when a daemon has run for long.
    pub aging: AtomicBool,
    /// Requests by kind.
    pub calls: Calls,
}

/// How often what was asked.
#[derive(Default)]
pub struct Calls {
    /// Batch reads.
    pub read: AtomicU64,
    /// Batch creates.
    pub upsert: AtomicU64,
    /// Batch updates.
    pub update: AtomicU64,
    /// Searches and lists.
    pub search: AtomicU64,
    /// Tokens.
    pub token: AtomicU64,
    /// Whatever is not served: none should be.
    pub other: AtomicU64,
    /// When the first search came, by the board's clock.
    pub first_search: AtomicU64,
}

impl Calls {
    /// All that were served.
    pub fn served(&self) -> u64 {
        [&self.read, &self.upsert, &self.update, &self.search].iter().map(|c| c.load(Ordering::Relaxed)).sum()
    }
}

#[derive(Default)]
struct Portal {
    by_marker: HashMap<String, usize>,
    records: Vec<Stored>,
    /// Changes, oldest first; a record's last one counts.
    changes: Vec<(Millis, usize)>,
}

struct Stored {
    properties: Box<RawValue>,
    created: Millis,
    modified: Millis,
}

#[derive(Deserialize)]
struct Ids {
    inputs: Vec<Id>,
    #[serde(default, rename = "idProperty")]
    id_property: Option<String>,
}

#[derive(Deserialize)]
struct Id {
    id: String,
}

#[derive(Deserialize)]
struct Writes {
    inputs: Vec<Write>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Write {
    id: String,
    object_write_trace_id: String,
    properties: Box<RawValue>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Search {
    filter_groups: Vec<Group>,
    limit: usize,
}

#[derive(Deserialize)]
struct Group {
    filters: Vec<Filter>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Filter {
    property_name: String,
    operator: String,
    #[serde(default)]
    value: String,
}

impl Search {
    fn bound(&self, name: &str, operator: &str) -> Option<i64> {
        let filters = self.filter_groups.iter().flat_map(|g| &g.filters);
        filters.filter(|f| f.property_name == name && f.operator == operator).find_map(|f| f.value.parse().ok())
    }
}

fn held<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Vendor {
    /// Systems for these partners.
    pub fn new(cast: Cast, board: Arc<Board>, manner: Manner) -> Arc<Self> {
        Arc::new(Self {
            cast,
            board,
            clock: Clock::system(),
            sources: (0..cast.sources).map(|_| Mutex::default()).collect(),
            recipients: (0..cast.recipients).map(|_| Mutex::default()).collect(),
            manner,
            aging: AtomicBool::new(false),
            calls: Calls::default(),
        })
    }

    /// Somebody fills in the form of lead `i`: from now on the contact is there.
    pub fn enter(&self, i: usize) -> Millis {
        let mut rows = held(&self.sources[self.cast.source(i)]);
        let now = self.clock.now();
        rows.push((now, i));
        now
    }

    /// Contacts that were there before, `leads` of them, the last one an hour ago.
    pub fn enter_before(&self, leads: usize) {
        let end = self.clock.now() - HOUR;
        for i in 0..leads {
            held(&self.sources[self.cast.source(i)]).push((end - (leads - i) as Millis, i));
        }
    }

    /// Serves until the process ends.
    pub async fn serve(self: Arc<Self>, listener: tokio::net::TcpListener) -> std::io::Result<()> {
        axum::serve(listener, Router::new().fallback(answer).with_state(self)).await
    }

    fn write_contact(&self, out: &mut String, i: usize, modified: Millis) {
        let when = rfc3339(modified);
        let choice = (i % 100 < self.manner.ticked).then(|| self.cast.recipient(i));
        let _ = write!(out, r#"{{"id":"{}","properties":"#, FIRST_ID + i as u64);
        write_properties(out, i, self.cast.source(i), choice, &when, &when);
        let _ = write!(out, r#","createdAt":"{when}","updatedAt":"{when}","archived":false}}"#);
    }

    fn batch_read(&self, side: Side, body: &[u8]) -> Result<String, StatusCode> {
        let asked: Ids = serde_json::from_slice(body).map_err(|_| StatusCode::BAD_REQUEST)?;
        let now = self.clock.now();
        let mut out = begin(now);
        match side {
            Side::Source(s) => {
                let rows = held(&self.sources[s]);
                for id in &asked.inputs {
                    let i = id.id.parse::<u64>().ok().and_then(|id| id.checked_sub(FIRST_ID)).map(|i| i as usize);
                    // Rows are entered nearly in the order of their numbers, so it is near its place.
                    let Some(i) = i.filter(|i| self.cast.source(*i) == s) else { continue };
                    let near = (i / self.cast.active).min(rows.len().saturating_sub(1));
                    let around = near.saturating_sub(4_096)..(near + 4_096).min(rows.len());
                    let found = rows.get(near).filter(|r| r.1 == i).or_else(|| rows[around].iter().find(|r| r.1 == i));
                    if let Some((modified, _)) = found {
                        self.write_contact(&mut out, i, *modified);
                        out.push(',');
                    }
                }
            }
            Side::Recipient(r) => {
                let portal = held(&self.recipients[r]);
                for id in &asked.inputs {
                    let n = match asked.id_property.as_deref() {
                        None => id.id.parse::<u64>().ok().and_then(|id| id.checked_sub(FIRST_RECORD)).map(|n| n as usize),
                        Some("leadshare_id") => portal.by_marker.get(&id.id).copied(),
                        // Nobody is known at the recipients before.
                        Some(_) => None,
                    };
                    if let Some((n, record)) = n.and_then(|n| Some((n, portal.records.get(n)?))) {
                        record.write(&mut out, n);
                        out.push_str("},");
                    }
                }
            }
        }
        Ok(end(out))
    }

    fn upsert(&self, r: usize, body: &[u8]) -> Result<String, StatusCode> {
        let asked: Writes = serde_json::from_slice(body).map_err(|_| StatusCode::BAD_REQUEST)?;
        let mut portal = held(&self.recipients[r]);
        let now = self.clock.now();
        let mut out = begin(now);
        for write in asked.inputs {
            let known = portal.by_marker.get(&write.id).copied();
            let n = known.unwrap_or(portal.records.len());
            if known.is_none() {
                let lead = lead_of(write.properties.get());
                self.board.arrive(lead.unwrap_or(usize::MAX), lead.is_some_and(|i| self.cast.recipient(i) == r));
                portal.by_marker.insert(write.id, n);
                portal.records.push(Stored { properties: write.properties, created: now, modified: now });
            } else {
                portal.records[n].modified = now;
            }
            portal.changes.push((now, n));
            portal.records[n].write(&mut out, n);
            let _ = write!(out, r#","new":{},"objectWriteTraceId":"{}"}},"#, known.is_none(), write.object_write_trace_id);
        }
        Ok(end(out))
    }

    fn update(&self, r: usize, body: &[u8]) -> Result<String, StatusCode> {
        let asked: Writes = serde_json::from_slice(body).map_err(|_| StatusCode::BAD_REQUEST)?;
        let mut portal = held(&self.recipients[r]);
        let now = self.clock.now();
        let mut out = begin(now);
        for write in asked.inputs {
            let n = write.id.parse::<u64>().ok().and_then(|id| id.checked_sub(FIRST_RECORD)).map_or(usize::MAX, |n| n as usize);
            let Some(record) = portal.records.get_mut(n) else { return Err(StatusCode::NOT_FOUND) };
            record.modified = now;
            record.write(&mut out, n);
            let _ = write!(out, r#","objectWriteTraceId":"{}"}},"#, write.object_write_trace_id);
            portal.changes.push((now, n));
        }
        Ok(end(out))
    }

    fn search(&self, side: Side, body: &[u8]) -> Result<String, StatusCode> {
        let asked: Search = serde_json::from_slice(body).map_err(|_| StatusCode::BAD_REQUEST)?;
        let same = asked.bound("lastmodifieddate", "EQ");
        let from = same.or_else(|| asked.bound("lastmodifieddate", "GTE")).unwrap_or(i64::MIN);
        let until = same.or_else(|| asked.bound("lastmodifieddate", "LTE")).unwrap_or(i64::MAX);
        let after = asked.bound("hs_object_id", "GT").unwrap_or(i64::MIN);
        let limit = asked.limit.min(self.manner.page);
        let mut out = String::from(r#"{"total":0,"results":["#);
        // One time is asked for by id, in the order of ids.
        let window = |rows: &[(Millis, usize)], id: &dyn Fn(usize) -> i64, current: &dyn Fn(&(Millis, usize)) -> bool| {
            let start = rows.partition_point(|row| row.0 < from);
            let found = rows[start..].iter().take_while(|row| row.0 <= until).filter(|row| id(row.1) > after && current(row));
            let mut found: Vec<(Millis, usize)> =
                if same.is_some() { found.copied().collect() } else { found.take(limit + 1).copied().collect() };
            if same.is_some() {
                found.sort_unstable_by_key(|row| row.1);
            }
            let more = found.len() > limit;
            found.truncate(limit);
            (found, more)
        };
        let more = match side {
            Side::Source(s) => {
                let rows = held(&self.sources[s]);
                let (found, more) = window(&rows, &|i| (FIRST_ID + i as u64) as i64, &|_| true);
                drop(rows);
                for (modified, i) in found {
                    self.write_contact(&mut out, i, modified);
                    out.push(',');
                }
                more
            }
            Side::Recipient(r) => {
                let portal = held(&self.recipients[r]);
                let current = |row: &(Millis, usize)| portal.records[row.1].modified == row.0;
                let (found, more) = window(&portal.changes, &|n| (FIRST_RECORD + n as u64) as i64, &current);
                for (_, n) in found {
                    portal.records[n].write(&mut out, n);
                    out.push_str("},");
                }
                more
            }
        };
        close(&mut out);
        out.push_str(if more { r#"],"paging":{"next":{"after":"1"}}}"# } else { "]}" });
        Ok(out)
    }

    fn token(&self, body: &[u8]) -> Result<String, StatusCode> {
        let body = String::from_utf8_lossy(body);
        let given = |name: &str| body.split('&').find_map(|pair| pair.strip_prefix(name)?.strip_prefix('='));
        let portal: u64 = given("code").or_else(|| given("refresh_token")).and_then(|p| p.parse().ok()).ok_or(StatusCode::BAD_REQUEST)?;
        self.cast.of_portal(portal).ok_or(StatusCode::BAD_REQUEST)?;
        let given = self.calls.token.fetch_add(1, Ordering::Relaxed);
        let life = if self.aging.load(Ordering::Relaxed) && given.is_multiple_of(2) { OLD_TOKEN_LIFE } else { TOKEN_LIFE };
        Ok(format!(
            r#"{{"token_type":"bearer","access_token":"{portal}","refresh_token":"{portal}","expires_in":{life},"hub_id":{portal}}}"#
        ))
    }

    fn handle(&self, method: &Method, uri: &Uri, headers: &HeaderMap, body: &[u8]) -> Result<String, StatusCode> {
        let path = uri.path();
        if let Some(lead) = path.strip_prefix("/floor/") {
            self.board.arrive(lead.parse().map_err(|_| StatusCode::BAD_REQUEST)?, true);
            return Ok("{}".to_owned());
        }
        if path.starts_with("/oauth/") {
            return self.token(body);
        }
        let token = headers.get(header::AUTHORIZATION).and_then(|v| v.to_str().ok()?.strip_prefix("Bearer ")?.parse().ok());
        let side = token.and_then(|portal| self.cast.of_portal(portal)).ok_or(StatusCode::UNAUTHORIZED)?;
        let count = |counter: &AtomicU64| {
            counter.fetch_add(1, Ordering::Relaxed);
        };
        match (path.rsplit_once("/contacts").map(|(_, tail)| tail), side) {
            (Some("/batch/read"), _) => {
                count(&self.calls.read);
                self.batch_read(side, body)
            }
            (Some("/batch/upsert"), Side::Recipient(r)) => {
                count(&self.calls.upsert);
                self.upsert(r, body)
            }
            (Some("/batch/update"), Side::Recipient(r)) => {
                count(&self.calls.update);
                self.update(r, body)
            }
            (Some("/search"), _) => {
                count(&self.calls.search);
                let _ = self.calls.first_search.compare_exchange(0, self.board.now(), Ordering::Relaxed, Ordering::Relaxed);
                self.search(side, body)
            }
            // The list of archived records: nobody removes any.
            (Some(""), _) if method == Method::GET => {
                count(&self.calls.search);
                Ok(r#"{"results":[]}"#.to_owned())
            }
            _ => {
                count(&self.calls.other);
                Err(StatusCode::NOT_FOUND)
            }
        }
    }
}

impl Stored {
    /// Writes the record as the vendor answers it, without the closing brace.
    fn write(&self, out: &mut String, n: usize) {
        let (id, modified) = (FIRST_RECORD + n as u64, rfc3339(self.modified));
        let properties = self.properties.get().trim_end().strip_suffix('}').unwrap_or_default();
        let _ = write!(
            out,
            r#"{{"id":"{id}","properties":{properties},"lastmodifieddate":"{modified}","hs_merged_object_ids":null}},"createdAt":"{}","updatedAt":"{modified}","archived":false"#,
            rfc3339(self.created),
        );
    }
}

fn begin(now: Millis) -> String {
    let now = rfc3339(now);
    let mut out = String::with_capacity(100_000);
    let _ = write!(out, r#"{{"status":"COMPLETE","startedAt":"{now}","completedAt":"{now}","results":["#);
    out
}

fn close(out: &mut String) {
    if out.ends_with(',') {
        out.pop();
    }
}

fn end(mut out: String) -> String {
    close(&mut out);
    out.push_str("]}");
    out
}

async fn answer(State(vendor): State<Arc<Vendor>>, method: Method, uri: Uri, headers: HeaderMap, body: Bytes) -> Response {
    match vendor.handle(&method, &uri, &headers, &body) {
        Ok(body) => ([(header::CONTENT_TYPE, "application/json")], body).into_response(),
        Err(StatusCode::NOT_FOUND) => UNKNOWN.into_response(),
        Err(status) => (status, r#"{"status":"error","message":"refused"}"#).into_response(),
    }
}
