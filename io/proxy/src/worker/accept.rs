//! Takes connections from the listening sockets that the holder keeps open.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use bytes::BytesMut;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;
use tokio_rustls::TlsAcceptor;

use super::corked::Corked;
use super::lane::{Lane, OpenConnection};
use super::{front_h1, front_h2};
use crate::http1::RequestHead;

/// A TLS handshake takes at most this.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);
/// Pause after a failed accept (out of descriptors, most likely).
const ACCEPT_PAUSE: Duration = Duration::from_millis(20);

/// A lane's own descriptors of the listening sockets.
#[derive(Default)]
pub(super) struct Listeners {
    pub(super) plain: Vec<std::net::TcpListener>,
    pub(super) tls: Vec<std::net::TcpListener>,
    pub(super) tls_config: Option<Arc<rustls::ServerConfig>>,
}

/// Who is on the other side of a connection, and how.
#[derive(Debug, Clone)]
pub(super) struct Peer {
    pub(super) address: SocketAddr,
    pub(super) is_tls: bool,
    /// Whether its `X-Forwarded-*` are believed.
    pub(super) is_trusted: bool,
}

impl Peer {
    /// Who asks: the other side, or whom a trusted one names last.
    pub(super) fn client(&self, head: &RequestHead) -> IpAddr {
        let named = head.forwarded_for.as_ref().filter(|_| self.is_trusted);
        let last = named.and_then(|list| list.rsplit(|byte| *byte == b',').next());
        last.and_then(|text| std::str::from_utf8(text.trim_ascii()).ok()?.parse().ok())
            .unwrap_or_else(|| self.address.ip().to_canonical())
    }
}

/// Starts accepting; each task ends when aborted.
pub(super) fn start(lane: &Rc<Lane>, listeners: Listeners) -> io::Result<Vec<JoinHandle<()>>> {
    let acceptor = listeners.tls_config.map(TlsAcceptor::from);
    let plain = listeners.plain.into_iter().map(|listener| (listener, None));
    let tls = listeners
        .tls
        .into_iter()
        .map(|listener| (listener, acceptor.clone()));
    plain
        .chain(tls)
        .map(|(listener, acceptor)| {
            listener.set_nonblocking(true)?;
            let listener = TcpListener::from_std(listener)?;
            Ok(tokio::task::spawn_local(accept(
                Rc::clone(lane),
                listener,
                acceptor,
            )))
        })
        .collect()
}

async fn accept(lane: Rc<Lane>, listener: TcpListener, acceptor: Option<TlsAcceptor>) {
    loop {
        let open = lane.open_connection().await;
        let Ok((stream, address)) = listener.accept().await else {
            drop(open);
            tokio::time::sleep(ACCEPT_PAUSE).await;
            continue;
        };
        lane.counters.borrow_mut().connections += 1;
        // A connection that is closed already fails at its first read.
        let _closed = stream.set_nodelay(true);
        let peer = Peer {
            address,
            is_tls: acceptor.is_some(),
            is_trusted: lane.config.trusted_peers.contains(address),
        };
        let lane = Rc::clone(&lane);
        match &acceptor {
            None => drop(tokio::task::spawn_local(serve_plain(lane, stream, peer, open))),
            Some(acceptor) => drop(tokio::task::spawn_local(serve_tls(
                lane,
                stream,
                acceptor.clone(),
                peer,
                open,
            ))),
        }
    }
}

async fn serve_plain(lane: Rc<Lane>, stream: TcpStream, peer: Peer, open: OpenConnection) {
    front_h1::serve(&lane, stream, &peer).await;
    drop(open);
}

async fn serve_tls(
    lane: Rc<Lane>,
    stream: TcpStream,
    acceptor: TlsAcceptor,
    peer: Peer,
    open: OpenConnection,
) {
    match tokio::time::timeout(HANDSHAKE_TIMEOUT, acceptor.accept(stream)).await {
        Ok(Ok(stream)) => {
            if stream.get_ref().1.alpn_protocol() == Some(b"h2") {
                front_h2::serve(&lane, Corked::new(BytesMut::new(), stream), &peer).await;
            } else {
                front_h1::serve(&lane, stream, &peer).await;
            }
        }
        _ => lane.counters.borrow_mut().tls_failed += 1,
    }
    drop(open);
}
