//! An address on loopback that is kept while nobody listens on it.

use std::net::SocketAddr;

use tokio::net::TcpSocket;

/// The address is bound and not listened on: a server can listen there whenever it starts, and no connection of
/// anybody on this machine gets its port in the meantime, which ports that are merely free can.
pub struct Place {
    pub address: SocketAddr,
    _kept: TcpSocket,
}

impl Place {
    /// Keeps this address; nobody may be listening there.
    pub fn at(address: SocketAddr) -> Self {
        let kept = TcpSocket::new_v4().unwrap();
        // Linux lets a listener have the same address only if both say so; servers of tokio do.
        kept.set_reuseaddr(true).unwrap();
        kept.bind(address).unwrap();
        Self { address: kept.local_addr().unwrap(), _kept: kept }
    }

    /// Keeps an address that nobody has.
    pub fn new() -> Self {
        Self::at(SocketAddr::from(([127, 0, 0, 1], 0)))
    }
}
