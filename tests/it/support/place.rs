//! An address on loopback that is kept while nobody listens on it.

use std::net::SocketAddr;

use tokio::net::TcpSocket;

/// How often an address is tried that should be free.
const PATIENCE: usize = 100_000;

/// The address is bound and not listened on: a server can listen there whenever it starts, and no connection of
/// anybody on this machine gets its port in the meantime, which ports that are merely free can.
pub struct Place {
    pub address: SocketAddr,
    _kept: TcpSocket,
}

impl Place {
    /// Keeps this address; nobody may be listening there.
    pub fn at(address: SocketAddr) -> Self {
        // Whoever listened there has ended, and yet a child that another test is just starting may have it open, until it becomes a
        // program of its own.
        for _ in 0..PATIENCE {
            if let Ok(place) = Self::keep(address) {
                return place;
            }
            std::thread::yield_now();
        }
        Self::keep(address).unwrap()
    }

    fn keep(address: SocketAddr) -> std::io::Result<Self> {
        let kept = TcpSocket::new_v4()?;
        // Linux lets a listener have the same address only if both say so; servers of tokio do.
        kept.set_reuseaddr(true)?;
        kept.bind(address)?;
        Ok(Self { address: kept.local_addr()?, _kept: kept })
    }

    /// Keeps an address that nobody has.
    pub fn new() -> Self {
        Self::at(SocketAddr::from(([127, 0, 0, 1], 0)))
    }
}
