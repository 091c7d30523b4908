//! One connection of HTTP/1.1, one request at a time: all that a sender needs, at little cost.

use std::net::SocketAddr;

use anyhow::{Context as _, Result, bail};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

/// A connection that is kept.
pub struct Link {
    stream: TcpStream,
    buffer: Vec<u8>,
}

impl Link {
    /// Connects.
    pub async fn open(target: SocketAddr) -> Result<Self> {
        let stream = TcpStream::connect(target).await.with_context(|| format!("no connection to {target}"))?;
        stream.set_nodelay(true)?;
        Ok(Self { stream, buffer: Vec::with_capacity(4_096) })
    }

    /// Sends a request and answers the status and the body of the response.
    pub async fn send(&mut self, request: &[u8]) -> Result<(u16, &[u8])> {
        self.stream.write_all(request).await?;
        self.buffer.clear();
        loop {
            if self.stream.read_buf(&mut self.buffer).await? == 0 {
                bail!("the connection was closed");
            }
            let Some(head) = self.buffer.windows(4).position(|four| four == b"\r\n\r\n") else { continue };
            let text = String::from_utf8_lossy(&self.buffer[..head]).to_lowercase();
            let length = text.lines().find_map(|line| line.strip_prefix("content-length:")).map_or(Ok(0), |n| n.trim().parse::<usize>())?;
            let end = head + 4 + length;
            if self.buffer.len() >= end {
                let status = text.split(' ').nth(1).and_then(|status| status.parse().ok()).context("not an HTTP answer")?;
                return Ok((status, &self.buffer[head + 4..end]));
            }
        }
    }
}
