//! Which peers may say who their client was.

use std::net::{IpAddr, SocketAddr};

/// Networks whose `X-Forwarded-*` headers are believed.
#[derive(Debug, Clone, Default)]
pub(crate) struct TrustedPeers {
    networks: Vec<(IpAddr, u8)>,
}

impl TrustedPeers {
    /// Parses `address` or `address/prefix-length`; names the first that is neither.
    pub(crate) fn parse(networks: &[String]) -> Result<Self, String> {
        let networks = networks.iter().map(|text| {
            let (address, length) = text
                .split_once('/')
                .map_or((text.as_str(), None), |(a, l)| (a, Some(l)));
            let address: IpAddr = address.parse().map_err(|_| text.clone())?;
            let bits = if address.is_ipv4() { 32 } else { 128 };
            let length = length.map_or(Ok(bits), str::parse).map_err(|_| text.clone())?;
            if length <= bits {
                Ok((address, length))
            } else {
                Err(text.clone())
            }
        });
        let networks = networks
            .collect::<Result<_, String>>()
            .map_err(|text| format!("trusted_peers: {text:?} is no network: write 10.0.0.0/8 or ::1"))?;
        Ok(TrustedPeers { networks })
    }

    /// Whether `peer` is in one of the networks.
    pub(crate) fn contains(&self, peer: SocketAddr) -> bool {
        let ip = peer.ip().to_canonical();
        self.networks.iter().any(|(network, length)| match (network, ip) {
            (IpAddr::V4(network), IpAddr::V4(ip)) => {
                let shift = 32 - u32::from(*length);
                (u64::from(network.to_bits()) >> shift) == (u64::from(ip.to_bits()) >> shift)
            }
            (IpAddr::V6(network), IpAddr::V6(ip)) => {
                let shift = 128 - u32::from(*length);
                shift == 128 || (network.to_bits() >> shift) == (ip.to_bits() >> shift)
            }
            _ => false,
        })
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests fail by panicking")]

    use super::*;

    #[test]
    fn networks_are_matched() {
        let peers = TrustedPeers::parse(&["10.1.0.0/16".to_owned(), "::1".to_owned(), "fd00::/8".to_owned()])
            .unwrap();
        let contains = |text: &str| peers.contains(SocketAddr::new(text.parse().unwrap(), 1));
        assert!(
            contains("10.1.2.3") && contains("::1") && contains("fd12::1") && contains("::ffff:10.1.9.9")
        );
        assert!(!contains("10.2.0.1") && !contains("::2") && !contains("fe80::1"));
        assert!(TrustedPeers::parse(&["10.0.0.0/33".to_owned()]).is_err());
        assert!(
            TrustedPeers::parse(&["0.0.0.0/0".to_owned()])
                .unwrap()
                .contains(SocketAddr::new("9.9.9.9".parse().unwrap(), 1))
        );
    }
}
