//! WebSockets over HTTP/2 (RFC 8441): an extended CONNECT in front, an HTTP/1.1 upgrade behind.

use std::rc::Rc;
use std::time::Duration;

use bytes::Bytes;
use http::Method;
use hyper::ext::Protocol;
use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;

use super::exchange::Exchange;
use super::forward::Answer;
use super::lane::Lane;
use super::page::Page;
use super::tunnel::{self, WebSocket};
use super::websocket::{self, Offer, Refused};
use crate::http1::{BodyLength, RequestHead, Wire};

/// Makes of a CONNECT the upgrade that the instance gets. Only WebSockets are carried.
pub(super) fn translate(
    lane: &Lane,
    head: &mut RequestHead,
    protocol: Option<&Protocol>,
) -> Result<Offer, Page> {
    let is_websocket = protocol.is_some_and(|protocol| protocol.as_str() == websocket::PROTOCOL);
    if !is_websocket {
        return Err(Page::text(501, "CONNECT is served for WebSockets only"));
    }
    head.method = Method::GET;
    head.body = BodyLength::Empty;
    head.upgrade = Some(Bytes::from_static(websocket::PROTOCOL.as_bytes()));
    // HTTP/2 has no use for a key: what a client says there is nothing to the instance.
    head.remove(b"sec-websocket-key");
    let key = websocket::make_key(&mut lane.rng.borrow_mut());
    for part in ["sec-websocket-key: ", &key, "\r\n"] {
        head.headers.extend_from_slice(part.as_bytes());
    }
    match Offer::read(head) {
        Ok(Some(offer)) => Ok(offer),
        Ok(None) => Err(Page::text(501, "CONNECT is served for WebSockets only")),
        Err(Refused::Malformed(what)) => Err(Page::text(400, what)),
        Err(Refused::Version) => Err(Page {
            also: &[("sec-websocket-version", websocket::VERSION)],
            ..Page::text(400, "the WebSocket version is 13")
        }),
    }
}

/// Carries the bytes of the stream once hyper has answered the CONNECT.
pub(super) fn carry(lane: &Rc<Lane>, on_upgrade: OnUpgrade, answer: Answer, mut exchange: Exchange) {
    exchange.set_status(101);
    exchange.count();
    let grace = Duration::from_millis(lane.config.limits.tunnel_grace_ms);
    let ending = exchange.ending();
    tokio::task::spawn_local(async move {
        // A client that left has no tunnel.
        if let Ok(upgraded) = on_upgrade.await {
            let mut client = Wire::new(TokioIo::new(upgraded));
            let websocket = WebSocket::of(&answer.head);
            tunnel::run(&mut client, answer.upstream.wire, websocket, ending, grace).await;
        }
        drop(exchange);
    });
}
