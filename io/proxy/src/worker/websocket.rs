//! The WebSocket handshake (RFC 6455 §4), held to its word on both sides: what an intermediary lets
//! through that is no WebSocket is how requests are smuggled in tunnels.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::Method;
use sha1::{Digest, Sha1};

use crate::http1::{RequestHead, ResponseHead, tokens};

/// The protocol's name in `Upgrade` and in HTTP/2's `:protocol`.
pub(super) const PROTOCOL: &str = "websocket";
/// The one version there is.
pub(super) const VERSION: &str = "13";
const KEY_BYTES: usize = 16;
/// Proves that the answerer knows the protocol (RFC 6455 §1.3).
const GUID: &[u8] = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11";

/// What a client offered.
#[derive(Debug)]
pub(super) struct Offer {
    /// The answer to its key.
    accept: String,
    protocols: Vec<Bytes>,
    extensions: Vec<Bytes>,
}

/// Why a client's handshake is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Refused {
    Malformed(&'static str),
    /// It asks for a version other than 13.
    Version,
}

impl Offer {
    /// Reads the handshake of a request that asks for a WebSocket; none of others.
    pub(super) fn read(head: &RequestHead) -> Result<Option<Self>, Refused> {
        let asks = (head.upgrade.as_deref()).is_some_and(|upgrade| {
            tokens(upgrade).any(|name| name.eq_ignore_ascii_case(PROTOCOL.as_bytes()))
        });
        if !asks {
            return Ok(None);
        }
        if head.method != Method::GET {
            return Err(Refused::Malformed("a WebSocket begins with GET"));
        }
        let mut versions = head.values(b"sec-websocket-version");
        if versions.next() != Some(VERSION.as_bytes()) || versions.next().is_some() {
            return Err(Refused::Version);
        }
        let mut keys = head.values(b"sec-websocket-key");
        let key = keys.next().filter(|_| keys.next().is_none());
        let key = key.filter(|key| STANDARD.decode(key).is_ok_and(|bytes| bytes.len() == KEY_BYTES));
        let Some(key) = key else {
            return Err(Refused::Malformed("Sec-WebSocket-Key is not 16 bytes in base64"));
        };
        let list = |name: &[u8]| -> Vec<Bytes> {
            let items = head.values(name).flat_map(tokens);
            items.map(Bytes::copy_from_slice).collect()
        };
        Ok(Some(Offer {
            accept: accept(key),
            protocols: list(b"sec-websocket-protocol"),
            extensions: list(b"sec-websocket-extensions")
                .iter()
                .map(|item| Bytes::copy_from_slice(extension(item)))
                .collect(),
        }))
    }

    /// Whether an instance's 101 is an answer to this offer.
    pub(super) fn check(&self, head: &ResponseHead) -> Result<(), &'static str> {
        let is_named = (head.upgrade.as_deref())
            .is_some_and(|upgrade| upgrade.eq_ignore_ascii_case(PROTOCOL.as_bytes()));
        if !is_named || !head.says_upgrade {
            return Err("bad_upgrade");
        }
        let mut accepts = head.values("sec-websocket-accept");
        if accepts.next() != Some(self.accept.as_bytes()) || accepts.next().is_some() {
            return Err("bad_websocket_accept");
        }
        let mut protocols = head.values("sec-websocket-protocol");
        let fits = protocols
            .next()
            .is_none_or(|protocol| self.protocols.contains(&Bytes::copy_from_slice(protocol)));
        if !fits || protocols.next().is_some() {
            return Err("unasked_websocket_protocol");
        }
        let mut extensions = head.values("sec-websocket-extensions").flat_map(tokens);
        if !extensions.all(|item| {
            self.extensions
                .iter()
                .any(|name| name.eq_ignore_ascii_case(extension(item)))
        }) {
            return Err("unasked_websocket_extension");
        }
        Ok(())
    }
}

/// A key of the proxy's own, for a client whose protocol has none.
pub(super) fn make_key(rng: &mut fastrand::Rng) -> String {
    STANDARD.encode(rng.u128(..).to_be_bytes())
}

fn accept(key: &[u8]) -> String {
    let mut hash = Sha1::new();
    hash.update(key);
    hash.update(GUID);
    STANDARD.encode(hash.finalize())
}

/// An extension's name without its parameters.
fn extension(item: &[u8]) -> &[u8] {
    item.split(|byte| *byte == b';')
        .next()
        .unwrap_or_default()
        .trim_ascii()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_standards_own_example() {
        assert_eq!(
            accept(b"dGhlIHNhbXBsZSBub25jZQ=="),
            "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="
        );
        assert_eq!(
            extension(b"permessage-deflate; client_max_window_bits"),
            b"permessage-deflate"
        );
        let mut rng = fastrand::Rng::with_seed(1);
        let (one, two) = (make_key(&mut rng), make_key(&mut rng));
        assert!(one != two && one.len() == 24);
    }
}
