//! Serves a vendor's simulator over HTTP and carries its webhooks to us: for the demo, the tests,
//! and `leadshare sandbox`, where a partner's developers can try it with the vendor's own client.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard};

use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderValue, StatusCode};
use axum::response::Response;
use leadshare_connectors::sdk::{self, Method, SandboxReply, SandboxRequest};
use tokio::net::TcpListener;

use crate::clock::{Clock, Millis};
use crate::errors::{Error, Result};
use crate::http::Transport;
use crate::http::egress::Egress;

/// Largest request body that a simulator reads.
const MAX_BODY: usize = 16 << 20;
const WEBHOOK_TIMEOUT: Millis = 5_000;

/// A simulator that listens.
pub struct Served {
    /// Where it listens.
    pub address: SocketAddr,
    shared: Shared,
    transport: Transport,
    task: tokio::task::JoinHandle<()>,
}

#[derive(Clone)]
struct Shared {
    sandbox: Arc<Mutex<Box<dyn sdk::Sandbox>>>,
    clock: Clock,
}

impl Served {
    /// Starts serving on a listener.
    ///
    /// # Errors
    /// When the listener has no address.
    pub fn start(sandbox: Box<dyn sdk::Sandbox>, listener: TcpListener, clock: &Clock) -> Result<Self> {
        let address = listener.local_addr().map_err(|e| Error::System(e.to_string()))?;
        let shared = Shared { sandbox: Arc::new(Mutex::new(sandbox)), clock: clock.clone() };
        let router = axum::Router::new().fallback(answer).with_state(shared.clone());
        let task = tokio::spawn(async move {
            if let Err(error) = axum::serve(listener, router).await {
                tracing::error!(%error, "the simulator stopped");
            }
        });
        Ok(Self { address, shared, transport: Transport::default(), task })
    }

    /// Its address as a base URL.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// The simulator, to act on and to look into. Held for short moments only.
    pub fn sandbox(&self) -> MutexGuard<'_, Box<dyn sdk::Sandbox>> {
        self.shared.lock()
    }

    /// Delivers the webhooks that are due, and answers how many there were.
    pub async fn pump(&self) -> usize {
        let due = self.sandbox().webhooks_due(self.shared.clock.now());
        let count = due.len();
        let egress = Egress::allowing(["127.0.0.0/8", "::1/128"].iter().filter_map(|net| net.parse().ok()).collect());
        let deliveries = due.into_iter().map(|hook| {
            let egress = &egress;
            async move {
                let request = sdk::Request { method: Method::Post, url: hook.url.clone(), headers: hook.headers, body: hook.body };
                let answer = match url::Url::parse(&hook.url) {
                    Ok(url) => self.transport.send(egress, &url, &request, None, WEBHOOK_TIMEOUT).await.ok(),
                    Err(_) => None,
                };
                self.sandbox().webhook_answered(hook.delivery, answer.as_ref(), self.shared.clock.now());
            }
        });
        futures_util::future::join_all(deliveries).await;
        count
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Box<dyn sdk::Sandbox>> {
        // A simulator that panicked is as good as any: the panic was its caller's to see.
        self.sandbox.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

async fn answer(State(shared): State<Shared>, request: axum::extract::Request) -> Response {
    let (parts, body) = request.into_parts();
    let plain = |status: StatusCode| {
        let mut response = Response::new(Body::empty());
        *response.status_mut() = status;
        response
    };
    let Some(method) = Method::parse(parts.method.as_str()) else { return plain(StatusCode::METHOD_NOT_ALLOWED) };
    let Ok(body) = axum::body::to_bytes(body, MAX_BODY).await else { return plain(StatusCode::PAYLOAD_TOO_LARGE) };
    let request = SandboxRequest {
        method,
        path: parts.uri.path_and_query().map_or_else(|| parts.uri.path().to_owned(), ToString::to_string),
        headers: parts.headers.iter().map(|(n, v)| (n.as_str().to_owned(), String::from_utf8_lossy(v.as_bytes()).into_owned())).collect(),
        body: body.to_vec(),
    };
    let now = shared.clock.now();
    let reply = shared.lock().handle(&request, now);
    match reply {
        SandboxReply::Answer(answer) => {
            let mut response = plain(StatusCode::from_u16(answer.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR));
            *response.body_mut() = Body::from(answer.body);
            for (name, value) in answer.headers {
                if let (Ok(name), Ok(value)) = (name.parse::<axum::http::HeaderName>(), HeaderValue::from_str(&value)) {
                    response.headers_mut().append(name, value);
                }
            }
            // The simulator's clock is ours, also when a test moves it.
            let date = jiff::Timestamp::from_millisecond(now).map(|t| t.strftime("%a, %d %b %Y %H:%M:%S GMT").to_string());
            if let Some(date) = date.ok().and_then(|d| HeaderValue::from_str(&d).ok()) {
                response.headers_mut().insert("date", date);
            }
            response
        }
        SandboxReply::Dropped => {
            let broken = futures_util::stream::once(async { Err::<Vec<u8>, _>(std::io::Error::from(std::io::ErrorKind::ConnectionReset)) });
            Response::new(Body::from_stream(broken))
        }
    }
}
