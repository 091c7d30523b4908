//! Where we may connect to: only public addresses, unless a connection's operator listed the network.
//!
//! The check is made on the address that is about to be connected to, not on the name, so a name
//! that resolves to a private address is refused too.

use std::net::{IpAddr, SocketAddr};

use ipnet::IpNet;

use crate::errors::{Error, Result};

/// The networks that an operator opened for a connection (`dangerously_allow_networks`).
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub struct Egress {
    allowed: Vec<IpNet>,
}

impl Egress {
    /// Public addresses, and these networks.
    pub fn allowing(networks: Vec<IpNet>) -> Self {
        Self { allowed: networks }
    }

    /// Whether an address may be connected to.
    pub fn permits(&self, address: IpAddr) -> bool {
        let address = match address {
            IpAddr::V6(v6) => v6.to_ipv4_mapped().map_or(IpAddr::V6(v6), IpAddr::V4),
            v4 @ IpAddr::V4(_) => v4,
        };
        self.allowed.iter().any(|net| net.contains(&address)) || is_public(address)
    }
}

fn is_public(address: IpAddr) -> bool {
    const REFUSED: &[&str] = &[
        "0.0.0.0/8",
        "10.0.0.0/8",
        "100.64.0.0/10",
        "127.0.0.0/8",
        "169.254.0.0/16",
        "172.16.0.0/12",
        "192.0.0.0/24",
        "192.0.2.0/24",
        "192.88.99.0/24",
        "192.168.0.0/16",
        "198.18.0.0/15",
        "198.51.100.0/24",
        "203.0.113.0/24",
        "224.0.0.0/4",
        "240.0.0.0/4",
        "::/96",
        "64:ff9b::/96",
        "64:ff9b:1::/48",
        "100::/64",
        "2001::/23",
        "2001:db8::/32",
        "2002::/16",
        "fc00::/7",
        "fe80::/10",
        "ff00::/8",
    ];
    !REFUSED.iter().filter_map(|net| net.parse::<IpNet>().ok()).any(|net| net.contains(&address))
}

impl reqwest::dns::Resolve for Egress {
    fn resolve(&self, name: reqwest::dns::Name) -> reqwest::dns::Resolving {
        let guard = self.clone();
        Box::pin(async move {
            let found: Vec<SocketAddr> = tokio::net::lookup_host((name.as_str(), 0)).await?.collect();
            let permitted: Vec<SocketAddr> = found.into_iter().filter(|a| guard.permits(a.ip())).collect();
            if permitted.is_empty() {
                return Err(Box::from(
                    "egress.refused: the name leads to a private address; list its network in dangerously_allow_networks if that is meant",
                ));
            }
            Ok(Box::new(permitted.into_iter()) as reqwest::dns::Addrs)
        })
    }
}

/// Checks a full URL before a request goes there: its host must be the account's own, or one that
/// the vendor's manifest names; a literal address must be permitted; plain HTTP only within listed
/// networks.
///
/// # Errors
/// [`Error::NeedsPerson`] that names the host and what to do.
pub fn check(egress: &Egress, url: &url::Url, base_url: Option<&str>, host_suffixes: &[String]) -> Result<()> {
    let refuse = |code: &str, message: String| Err(Error::NeedsPerson { code: code.to_owned(), message });
    let Some(host) = url.host_str() else { return refuse("egress.no_host", "the address has no host".into()) };
    let own = base_url
        .and_then(|b| url::Url::parse(b).ok())
        .is_some_and(|b| b.host_str() == Some(host) && b.port_or_known_default() == url.port_or_known_default());
    let named =
        host_suffixes.iter().any(|suffix| host == suffix || host.strip_suffix(suffix.as_str()).is_some_and(|rest| rest.ends_with('.')));
    if !own && !named {
        return refuse(
            "egress.unknown_host",
            format!("the vendor named the host {host}, which is not one of its own; nothing was sent there"),
        );
    }
    let literal = match url.host() {
        Some(url::Host::Ipv4(v4)) => Some(IpAddr::V4(v4)),
        Some(url::Host::Ipv6(v6)) => Some(IpAddr::V6(v6)),
        _ => None,
    };
    if let Some(address) = literal.filter(|a| !egress.permits(*a)) {
        return refuse(
            "egress.refused",
            format!("{address} is a private address; list its network in dangerously_allow_networks if that is meant"),
        );
    }
    // Plain HTTP only to the account's own address or a literal one, and only where a network was opened.
    if url.scheme() == "http" && (egress.allowed.is_empty() || !(own || literal.is_some())) {
        return refuse(
            "egress.plain_http",
            format!("{host} would be spoken to without TLS; use https, or list its network in dangerously_allow_networks"),
        );
    }
    if !matches!(url.scheme(), "http" | "https") {
        return refuse("egress.scheme", format!("{} is not http or https", url.scheme()));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    // Breaks when a private, mapped or translated address is let through.
    #[test]
    fn private_addresses_are_refused_in_every_spelling() {
        let guard = Egress::default();
        for address in [
            "127.0.0.1",
            "10.1.2.3",
            "169.254.169.254",
            "100.64.0.1",
            "::1",
            "::ffff:10.0.0.1",
            "64:ff9b::a00:1",
            "fe80::1",
            "fd00::1",
            "2002:a00:1::",
            "0.0.0.0",
        ] {
            assert!(!guard.permits(address.parse().unwrap()), "{address}");
        }
        for address in ["8.8.8.8", "2606:4700:4700::1111", "1.1.1.1"] {
            assert!(guard.permits(address.parse().unwrap()), "{address}");
        }
        assert!(Egress::allowing(vec!["127.0.0.0/8".parse().unwrap()]).permits("127.0.0.1".parse().unwrap()));
    }

    // Breaks when a forged answer can send a token to a stranger's host.
    #[test]
    fn only_the_vendors_own_hosts_get_requests() {
        let guard = Egress::default();
        let suffixes = ["salesforce.com".to_owned()];
        let ok = |u: &str| check(&guard, &url::Url::parse(u).unwrap(), None, &suffixes);
        assert!(ok("https://x.my.salesforce.com/a").is_ok());
        assert!(ok("https://evilsalesforce.com/a").is_err());
        assert!(ok("https://salesforce.com.evil.example/a").is_err());
        assert!(ok("http://x.my.salesforce.com/a").is_err());
    }
}
