//! Which addresses messages may go to: not to a machine's own metadata services, and to this machine only when
//! the configuration says so in as many words. Checked after names are resolved, and the checked address is the
//! one connected to, so a name that changes in between (DNS rebinding) gains nothing.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use reqwest::dns::{Addrs, Name, Resolve, Resolving};

/// Metadata services outside the link-local ranges: AWS over IPv6, Google over IPv6, Alibaba, Azure, Oracle.
const METADATA_V6: [Ipv6Addr; 2] = [
    Ipv6Addr::new(0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x254),
    Ipv6Addr::new(0xfd20, 0xce, 0, 0, 0, 0, 0, 0x254),
];
const METADATA_V4: [Ipv4Addr; 3] = [
    Ipv4Addr::new(100, 100, 100, 200),
    Ipv4Addr::new(168, 63, 129, 16),
    Ipv4Addr::new(192, 0, 0, 192),
];

/// Whether a host, as configured, names this machine in as many words.
fn is_literally_loopback(host: &str) -> bool {
    let host = host.trim_start_matches('[').trim_end_matches(']');
    host.eq_ignore_ascii_case("localhost") || host.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback())
}

/// An IPv4 address inside an IPv6 one: mapped, or behind the well-known NAT64 prefix.
fn embedded(ip: Ipv6Addr) -> Option<Ipv4Addr> {
    ip.to_ipv4_mapped().or_else(|| match ip.segments() {
        [0x64, 0xff9b, 0, 0, 0, 0, high, low] => {
            let ([a, b], [c, d]) = (high.to_be_bytes(), low.to_be_bytes());
            Some(Ipv4Addr::new(a, b, c, d))
        }
        _ => None,
    })
}

/// Why `ip` is refused as an address of `host`; none: it may be used.
pub fn refusal(host: &str, ip: IpAddr) -> Option<String> {
    let ip = match ip {
        IpAddr::V6(v6) => embedded(v6).map_or(IpAddr::V6(v6), IpAddr::V4),
        v4 => v4,
    };
    let local = match ip {
        IpAddr::V4(v4) => {
            v4.is_link_local() || v4.is_multicast() || v4.is_broadcast() || METADATA_V4.contains(&v4)
        }
        IpAddr::V6(v6) => v6.is_unicast_link_local() || v6.is_multicast() || METADATA_V6.contains(&v6),
    };
    if local {
        return Some(format!(
            "{host} is {ip}, a link-local, multicast or metadata address: messages never go there"
        ));
    }
    if (ip.is_loopback() || ip.is_unspecified()) && !is_literally_loopback(host) {
        return Some(format!(
            "{host} is {ip}, this machine: write `localhost` or 127.0.0.1 if that is meant"
        ));
    }
    None
}

/// Resolves a name and refuses it if any of its addresses is refused.
pub async fn resolve(host: &str, port: u16) -> Result<Vec<SocketAddr>, String> {
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    let found: Vec<SocketAddr> = tokio::net::lookup_host((bare, port))
        .await
        .map_err(|error| format!("cannot resolve {host}: {error}"))?
        .collect();
    if found.is_empty() {
        return Err(format!("cannot resolve {host}: it has no address"));
    }
    match found.iter().find_map(|address| refusal(host, address.ip())) {
        Some(refusal) => Err(refusal),
        None => Ok(found),
    }
}

/// The same for reqwest, which asks it for every name it connects to.
#[derive(Debug)]
pub(crate) struct Guard;

impl Resolve for Guard {
    fn resolve(&self, name: Name) -> Resolving {
        Box::pin(async move {
            let found = resolve(name.as_str(), 0).await?;
            Ok(Box::new(found.into_iter()) as Addrs)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn metadata_and_unmeant_loopback_are_refused() {
        let refused = [
            ("metadata", "169.254.169.254"),
            ("169.254.169.254", "169.254.169.254"),
            ("x", "fe80::1"),
            ("x", "fd00:ec2::254"),
            ("x", "::ffff:169.254.169.254"),
            ("x", "64:ff9b::a9fe:a9fe"),
            ("x", "100.100.100.200"),
            ("hooks.example.org", "127.0.0.1"),
            ("hooks.example.org", "::1"),
            ("hooks.example.org", "0.0.0.0"),
            ("hooks.example.org", "::ffff:127.0.0.1"),
            ("localhost", "169.254.1.1"),
        ];
        for (host, ip) in refused {
            assert!(
                ip.parse().is_ok_and(|ip| refusal(host, ip).is_some()),
                "{host} {ip}"
            );
        }
        let allowed = [
            ("localhost", "127.0.0.1"),
            ("127.0.0.2", "127.0.0.2"),
            ("[::1]", "::1"),
            ("hooks.example.org", "93.184.216.34"),
            ("hooks.internal", "10.1.2.3"),
            ("hooks.internal", "fd12::1"),
        ];
        for (host, ip) in allowed {
            assert_eq!(
                ip.parse().ok().and_then(|ip| refusal(host, ip)),
                None,
                "{host} {ip}"
            );
        }
    }
}
