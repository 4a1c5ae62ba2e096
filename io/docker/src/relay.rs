//! The way of containers to telemetry: a listener on the gateway of their network that hands on to loopback.
//!
//! Trimtab's own listeners stay on loopback. The gateway's address belongs to the bridge on this machine; whoever is not
//! of its network is turned away, and what is sent still needs the instance's token.

use std::net::{Ipv4Addr, SocketAddr};

use tokio::net::{TcpListener, TcpStream};
use tokio::task::AbortHandle;

/// Connections at once; more wait to be taken.
const CONNECTIONS_MAX: usize = 256;

/// Hands connections on until it is dropped.
#[derive(Debug)]
pub(crate) struct Relay {
    pub(crate) address: SocketAddr,
    task: AbortHandle,
}

impl Drop for Relay {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Relay {
    /// Listens on `gateway`, by the target's port if it is free there.
    pub(crate) async fn start(
        gateway: Ipv4Addr,
        network: Network,
        target: SocketAddr,
    ) -> std::io::Result<Relay> {
        let listener = match TcpListener::bind((gateway, target.port())).await {
            Ok(listener) => listener,
            Err(_) => TcpListener::bind((gateway, 0)).await?,
        };
        let address = listener.local_addr()?;
        let task = tokio::spawn(async move {
            let room = std::sync::Arc::new(tokio::sync::Semaphore::new(CONNECTIONS_MAX));
            while let Ok(place) = room.clone().acquire_owned().await {
                let Ok((stream, peer)) = listener.accept().await else {
                    tokio::time::sleep(std::time::Duration::from_millis(50)).await;
                    continue;
                };
                if !network.holds(peer) {
                    tracing::warn!(%peer, "turned away from the containers' way to telemetry");
                    continue;
                }
                tokio::spawn(async move {
                    hand_on(stream, target).await;
                    drop(place);
                });
            }
        });
        Ok(Relay {
            address,
            task: task.abort_handle(),
        })
    }
}

async fn hand_on(mut stream: TcpStream, target: SocketAddr) {
    if let Ok(mut other) = TcpStream::connect(target).await {
        let _ = tokio::io::copy_bidirectional(&mut stream, &mut other).await;
    }
}

/// Addresses of a network.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Network {
    first: u32,
    mask: u32,
}

impl Network {
    /// Reads `172.18.0.0/16`.
    pub(crate) fn parse(text: &str) -> Option<Network> {
        let (address, bits) = text.split_once('/')?;
        let bits: u32 = bits.parse().ok().filter(|bits| (1..=32).contains(bits))?;
        let mask = u32::MAX << (32 - bits);
        let first = u32::from(address.parse::<Ipv4Addr>().ok()?) & mask;
        Some(Network { first, mask })
    }

    fn holds(self, peer: SocketAddr) -> bool {
        match peer {
            SocketAddr::V4(peer) => u32::from(*peer.ip()) & self.mask == self.first,
            SocketAddr::V6(_) => false,
        }
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests fail by panicking")]

    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;

    #[test]
    fn a_network_holds_its_addresses_alone() {
        let network = Network::parse("172.18.0.0/16").unwrap();
        let holds = |address: &str| network.holds(address.parse().unwrap());
        assert!(holds("172.18.255.3:1") && !holds("172.19.0.1:1") && !holds("[::1]:1"));
        for text in ["", "1.2.3.4", "1.2.3.4/0", "1.2.3.4/33", "x/8"] {
            assert_eq!(Network::parse(text), None, "{text}");
        }
    }

    #[tokio::test]
    async fn only_those_of_the_network_are_handed_on() {
        let target = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = target.local_addr().unwrap();
        tokio::spawn(async move {
            loop {
                let (mut stream, _) = target.accept().await.unwrap();
                stream.write_all(b"telemetry").await.unwrap();
            }
        });
        let gateway = Ipv4Addr::new(127, 0, 0, 1);
        for (network, heard) in [("127.0.0.0/8", "telemetry"), ("172.18.0.0/16", "")] {
            let relay = Relay::start(gateway, Network::parse(network).unwrap(), address)
                .await
                .unwrap();
            assert_ne!(relay.address, address);
            let mut stream = TcpStream::connect(relay.address).await.unwrap();
            let mut text = String::new();
            let _ = stream.read_to_string(&mut text).await;
            assert_eq!(text, heard, "{network}");
        }
    }
}
