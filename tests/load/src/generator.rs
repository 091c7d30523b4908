//! The sender: signed webhooks over a fixed number of connections, in step with what arrives or at a rate.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Result, bail};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use leadshare_connectors::sdk::signature::hmac_sha256;
use tokio::task::JoinSet;
use tokio::time::Instant;

use crate::board::Board;
use crate::link::Link;
use crate::people::FIRST_ID;
use crate::setup::{APP_SECRET, Cast};
use crate::vendor::Vendor;

/// Everything that senders share.
pub struct Generator {
    /// Who shares with whom.
    pub cast: Cast,
    /// Where times are kept.
    pub board: Arc<Board>,
    /// Where contacts are entered before their webhook is sent.
    pub vendor: Arc<Vendor>,
    /// Where webhooks go, in turn; the first is the address that they are signed for.
    pub targets: Vec<std::net::SocketAddr>,
    /// Events in one webhook.
    pub batch: usize,
    /// Connections.
    pub senders: usize,
}

/// How webhooks are sent.
#[derive(Debug, Clone, Copy)]
pub enum Pace {
    /// As fast as acknowledged, with at most so many leads under way.
    Closed {
        /// Acknowledged or sent, and without a record.
        backlog: usize,
    },
    /// At a rate, whatever comes back.
    Open {
        /// Leads a second.
        rate: f64,
    },
}

impl Generator {
    /// Sends until `end` leads were taken, or the time is over. Answers the leads that it sent.
    pub async fn send(self: &Arc<Self>, pace: Pace, end: usize, time: Option<Duration>) -> Result<std::ops::Range<usize>> {
        let first = self.board.counts().sent;
        let start = Instant::now();
        let until = time.map(|time| start + time);
        let mut senders = JoinSet::new();
        for n in 0..self.senders {
            let own = self.clone();
            senders.spawn(async move { own.sender(n, pace, first, start, end, until).await });
        }
        while let Some(ended) = senders.join_next().await {
            ended??;
        }
        Ok(first..self.board.counts().sent)
    }

    async fn sender(&self, n: usize, pace: Pace, first: usize, start: Instant, end: usize, until: Option<Instant>) -> Result<()> {
        let mut link = Link::open(self.targets[n % self.targets.len()]).await?;
        let public = self.targets[0].to_string();
        let over = || until.is_some_and(|until| Instant::now() >= until);
        loop {
            if let Pace::Closed { backlog } = pace {
                loop {
                    let counts = self.board.counts();
                    if counts.sent < counts.arrived + backlog || over() {
                        break;
                    }
                    tokio::time::sleep(Duration::from_millis(1)).await;
                }
            }
            if over() {
                return Ok(());
            }
            let Some(i) = self.board.take(self.batch, end) else { return Ok(()) };
            let mut due = None;
            if let Pace::Open { rate } = pace {
                let at = start + Duration::from_secs_f64((i - first) as f64 / rate);
                // Whoever is late counts from when it was due: a slow answer must not slow the questions.
                due = (at < Instant::now()).then(|| at.elapsed().as_micros() as u64);
                tokio::time::sleep_until(at).await;
            }
            let at = self.board.now() - due.unwrap_or(0);
            for lead in i..i + self.batch {
                self.board.send(lead, at);
            }
            let body = self.body(i);
            loop {
                let request = request(&public, &body);
                match link.send(&request).await?.0 {
                    200..300 => break,
                    // The vendor sends it again, later than we do.
                    503 => tokio::time::sleep(Duration::from_millis(100)).await,
                    status => bail!("a webhook was answered {status}"),
                }
            }
            for lead in i..i + self.batch {
                self.board.ack(lead);
            }
        }
    }

    fn body(&self, first: usize) -> Vec<u8> {
        let events: Vec<String> = (first..first + self.batch)
            .map(|i| {
                let (at, source) = (self.vendor.enter(i), self.cast.source(i));
                format!(
                    r#"{{"eventId":{i},"subscriptionId":1,"portalId":{},"appId":1,"occurredAt":{at},"subscriptionType":"contact.creation","attemptNumber":0,"objectId":{},"changeFlag":"CREATED","changeSource":"FORM"}}"#,
                    Cast::source_portal(source),
                    FIRST_ID + i as u64
                )
            })
            .collect();
        format!("[{}]", events.join(",")).into_bytes()
    }
}

/// A webhook as HubSpot sends and signs it (version 3).
fn request(public: &str, body: &[u8]) -> Vec<u8> {
    const PATH: &str = "/hooks/hubspot";
    let stamp = leadshare::clock::Clock::system().now().to_string();
    let uri = format!("http://{public}{PATH}");
    let signature = STANDARD.encode(hmac_sha256(APP_SECRET.as_bytes(), &[b"POST", uri.as_bytes(), body, stamp.as_bytes()]));
    let mut request = format!(
        "POST {PATH} HTTP/1.1\r\nhost: {public}\r\nuser-agent: HubSpot Connect 2.0 (simulated)\r\ncontent-type: application/json\r\nx-hubspot-signature-v3: {signature}\r\nx-hubspot-request-timestamp: {stamp}\r\ncontent-length: {}\r\n\r\n",
        body.len()
    )
    .into_bytes();
    request.extend_from_slice(body);
    request
}
