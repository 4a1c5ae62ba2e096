//! What the proxy needs to know of a request.

use bytes::{Bytes, BytesMut};
use http::Method;

use crate::http1::{BodyLength, parse_length, tokens};

/// What the proxy needs to know of a request, whichever protocol brought it.
#[derive(Debug)]
pub(crate) struct RequestHead {
    /// The method.
    pub(crate) method: Method,
    /// Path and query, beginning with `/` (or `*`).
    pub(crate) target: Bytes,
    /// Host with port, as the client wrote it.
    pub(crate) host: Bytes,
    /// HTTP/1.0: no chunked answer.
    pub(crate) is_http10: bool,
    /// HTTP/2.
    pub(crate) is_http2: bool,
    /// Whether the client wants its connection kept.
    pub(crate) keep_alive: bool,
    /// How the body ends.
    pub(crate) body: BodyLength,
    /// The protocol to upgrade to, if the client asks for one.
    pub(crate) upgrade: Option<Bytes>,
    /// The client understands fields after a body (`TE: trailers`).
    pub(crate) accepts_trailers: bool,
    /// `Trailer`: the fields that the client says it will send after the body.
    pub(crate) trailer: Option<Bytes>,
    /// `Max-Forwards` of a TRACE or OPTIONS (RFC 9110 §7.6.2).
    pub(crate) max_forwards: Option<u64>,
    /// Whether the client waits for `100 Continue`.
    pub(crate) expects_continue: bool,
    /// `traceparent`.
    pub(crate) traceparent: Option<Bytes>,
    /// `x-trimtab-preview`.
    pub(crate) preview: Option<Bytes>,
    /// `x-trimtab-preview-token`.
    pub(crate) preview_token: Option<Bytes>,
    /// `Forwarded`, all of them joined, however little it is worth.
    pub(crate) forwarded: Option<Bytes>,
    /// `X-Forwarded-For`, all of them joined, however little it is worth.
    pub(crate) forwarded_for: Option<Bytes>,
    /// `X-Forwarded-Proto`.
    pub(crate) forwarded_proto: Option<Bytes>,
    /// `X-Forwarded-Host`.
    pub(crate) forwarded_host: Option<Bytes>,
    /// Some cookie looks like a ticket of sticky arms.
    pub(crate) has_arm_cookie: bool,
    /// The headers to pass on, as lines.
    pub(crate) headers: BytesMut,
}

impl RequestHead {
    pub(super) fn new(method: Method, target: Bytes) -> Self {
        RequestHead {
            method,
            target,
            host: Bytes::new(),
            is_http10: false,
            is_http2: false,
            keep_alive: true,
            body: BodyLength::Empty,
            upgrade: None,
            accepts_trailers: false,
            trailer: None,
            max_forwards: None,
            expects_continue: false,
            traceparent: None,
            preview: None,
            preview_token: None,
            forwarded: None,
            forwarded_for: None,
            forwarded_proto: None,
            forwarded_host: None,
            has_arm_cookie: false,
            headers: BytesMut::new(),
        }
    }

    /// A copy for another instance, without what concerns this client's connection only.
    pub(crate) fn copy(&self) -> Self {
        RequestHead {
            host: self.host.clone(),
            is_http2: self.is_http2,
            forwarded_for: self.forwarded_for.clone(),
            forwarded_proto: self.forwarded_proto.clone(),
            forwarded_host: self.forwarded_host.clone(),
            headers: self.headers.clone(),
            ..RequestHead::new(self.method.clone(), self.target.clone())
        }
    }

    /// The path without the query.
    pub(crate) fn path(&self) -> &[u8] {
        let end = memchr::memchr(b'?', &self.target).unwrap_or(self.target.len());
        &self.target[..end]
    }

    /// Whether this is a protocol that the client offered to switch to.
    pub(crate) fn offers(&self, protocol: Option<&Bytes>) -> bool {
        let (Some(offered), Some(protocol)) = (&self.upgrade, protocol) else {
            return false;
        };
        tokens(offered).any(|token| token.eq_ignore_ascii_case(protocol))
    }

    /// Whether sending it twice is the same as sending it once, and there is no body to lose.
    pub(crate) fn is_repeatable(&self) -> bool {
        self.body == BodyLength::Empty && self.upgrade.is_none() && self.method.is_idempotent()
    }

    /// Keeps a header that the proxy itself reads instead of passing it on; false for others.
    pub(super) fn keep(&mut self, name: &[u8], value: impl FnOnce() -> Bytes) -> bool {
        let slot = match name.len() {
            6 if name.eq_ignore_ascii_case(b"cookie") => {
                self.has_arm_cookie |= memchr::memmem::find(&value(), b"trimtab-arm-").is_some();
                return false;
            }
            9 if name.eq_ignore_ascii_case(b"forwarded") => {
                // Passed on with what the proxy adds, or not at all: it must not contradict
                // X-Forwarded-*.
                join(&mut self.forwarded, value());
                return true;
            }
            11 if name.eq_ignore_ascii_case(b"traceparent") => &mut self.traceparent,
            12 if name.eq_ignore_ascii_case(b"max-forwards") => {
                let counts = matches!(self.method, Method::TRACE | Method::OPTIONS);
                self.max_forwards = counts.then(|| parse_length(&value())).flatten();
                return self.max_forwards.is_some();
            }
            15 if name.eq_ignore_ascii_case(b"x-forwarded-for") => {
                join(&mut self.forwarded_for, value());
                return true;
            }
            16 if name.eq_ignore_ascii_case(b"x-forwarded-host") => &mut self.forwarded_host,
            17 if name.eq_ignore_ascii_case(b"x-forwarded-proto") => &mut self.forwarded_proto,
            17 if name.eq_ignore_ascii_case(b"x-trimtab-preview") => &mut self.preview,
            23 if name.eq_ignore_ascii_case(b"x-trimtab-preview-token") => &mut self.preview_token,
            _ => return false,
        };
        *slot = Some(value());
        true
    }
}

/// Adds to a list that came in several headers.
pub(super) fn join(list: &mut Option<Bytes>, value: Bytes) {
    *list = Some(match list.take() {
        Some(before) => Bytes::from([&before[..], b", ", &value[..]].concat()),
        None => value,
    });
}
