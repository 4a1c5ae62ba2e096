//! A request's head: read strictly, told apart from its framing, ready to be passed on.

mod framing;
mod from_http;
mod head;

use std::mem::MaybeUninit;

use bytes::{Buf, Bytes, BytesMut};
use http::Method;

use super::{BodyLength, end_of_head, is_hop_by_hop, tokens};
use crate::Limits;
use framing::Framing;
pub(crate) use from_http::request_from_http;
pub(crate) use head::RequestHead;

/// Room for headers on the stack; a configured limit above it counts as this.
const HEADERS_MAX: usize = 128;

/// Why a head is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct HeadError {
    /// Status to answer with.
    pub(crate) status: u16,
    /// What is wrong.
    pub(crate) what: &'static str,
}

const fn bad(what: &'static str) -> HeadError {
    HeadError { status: 400, what }
}

/// Takes a complete head from the front of `input`; none while more must be read.
pub(crate) fn read_request(input: &mut BytesMut, limits: &Limits) -> Result<Option<RequestHead>, HeadError> {
    // RFC 9112 §2.2: an empty line before the request line is ignored.
    if input.starts_with(b"\r\n") {
        input.advance(2);
    }
    let Some(end) = end_of_head(input).map_err(bad)? else {
        return if input.len() > limits.header_bytes_max {
            Err(too_large())
        } else {
            Ok(None)
        };
    };
    if end > limits.header_bytes_max {
        return Err(too_large());
    }
    let raw = input.split_to(end).freeze();
    parse(&raw, limits.headers_max).map(Some)
}

const fn too_large() -> HeadError {
    HeadError {
        status: 431,
        what: "the request's head is too large",
    }
}

fn parse(raw: &Bytes, headers_max: usize) -> Result<RequestHead, HeadError> {
    let mut space = [const { MaybeUninit::uninit() }; HEADERS_MAX];
    let room = headers_max.min(HEADERS_MAX);
    let mut request = httparse::Request::new(&mut []);
    let parsed = request
        .parse_with_uninit_headers(raw, &mut space[..room])
        .map_err(|error| match error {
            httparse::Error::TooManyHeaders => HeadError {
                status: 431,
                what: "too many headers",
            },
            httparse::Error::Version => HeadError {
                status: 505,
                what: "neither HTTP/1.1 nor HTTP/1.0",
            },
            _ => bad("the request's head is malformed"),
        })?;
    let (Some(method), Some(path), Some(version)) = (request.method, request.path, request.version) else {
        return Err(bad("the request's head is malformed"));
    };
    if parsed != httparse::Status::Complete(raw.len()) {
        return Err(bad("the request's head is malformed"));
    }
    let method = Method::from_bytes(method.as_bytes()).map_err(|_| bad("the method is malformed"))?;
    let (target, authority) = split_target(raw, &method, path)?;
    let mut head = RequestHead::new(method, target);
    head.is_http10 = version == 0;
    read_headers(raw, request.headers, &mut head)?;
    if let Some(authority) = authority {
        // RFC 9112 §3.2.2: the target in absolute form overrides Host.
        head.host = authority;
    }
    Ok(head)
}

/// Path and query, and the authority of a target in absolute form.
fn split_target(raw: &Bytes, method: &Method, path: &str) -> Result<(Bytes, Option<Bytes>), HeadError> {
    if !path.is_ascii() || path.contains('#') {
        return Err(bad("the request's target has characters that must be encoded"));
    }
    if path.starts_with('/') || (path == "*" && method == Method::OPTIONS) {
        return Ok((raw.slice_ref(path.as_bytes()), None));
    }
    let scheme = ["http://", "https://"].into_iter().find(|scheme| {
        path.get(..scheme.len())
            .is_some_and(|start| start.eq_ignore_ascii_case(scheme))
    });
    let Some(scheme) = scheme else {
        return Err(bad("the request's target is neither a path nor an http address"));
    };
    let rest = &path[scheme.len()..];
    let slash = rest.find(['/', '?']).unwrap_or(rest.len());
    let authority = &rest.as_bytes()[..slash];
    if !is_host(authority) {
        return Err(bad("the request's target has no valid host"));
    }
    let target = match &rest[slash..] {
        "" if method == Method::OPTIONS => Bytes::from_static(b"*"),
        "" => Bytes::from_static(b"/"),
        query if query.starts_with('?') => Bytes::from(format!("/{query}")),
        path => raw.slice_ref(path.as_bytes()),
    };
    Ok((target, Some(raw.slice_ref(authority))))
}

/// A name or address with or without a port (RFC 3986 §3.2), no user before it.
fn is_host(host: &[u8]) -> bool {
    let name_byte =
        |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~' | b'%');
    let (name_fine, rest) = if host.first() == Some(&b'[') {
        let Some(end) = memchr::memchr(b']', host) else {
            return false;
        };
        let inside = std::str::from_utf8(&host[1..end]).unwrap_or_default();
        (inside.parse::<std::net::Ipv6Addr>().is_ok(), &host[end + 1..])
    } else {
        let end = memchr::memchr(b':', host).unwrap_or(host.len());
        (end > 0 && host[..end].iter().all(name_byte), &host[end..])
    };
    let port_fine = rest
        .first()
        .is_none_or(|colon| *colon == b':' && rest.len() <= 6 && rest[1..].iter().all(u8::is_ascii_digit));
    name_fine && port_fine
}

fn read_headers(
    raw: &Bytes,
    headers: &[httparse::Header<'_>],
    head: &mut RequestHead,
) -> Result<(), HeadError> {
    let mut framing = Framing::default();
    for header in headers {
        framing.read(header, head.is_http10, raw, head)?;
    }
    if !framing.host_seen && !head.is_http10 {
        return Err(bad("there is no Host"));
    }
    if framing.chunked && framing.length.is_some() {
        return Err(bad("both Content-Length and Transfer-Encoding"));
    }
    head.body = match framing.length {
        _ if framing.chunked => BodyLength::Chunked,
        Some(length) if length > 0 => BodyLength::Bytes(length),
        _ => BodyLength::Empty,
    };
    head.keep_alive = !framing.close && (!head.is_http10 || framing.keep_alive);
    if framing.wants_upgrade && !head.is_http10 {
        // An instance that took up HTTP/2 would serve requests that nobody routes or counts.
        let wanted = framing.upgrade.filter(|value| !tokens(value).any(is_http));
        head.upgrade = wanted.map(|value| raw.slice_ref(value));
    }
    head.headers.reserve(raw.len() + 256);
    let start = raw.as_ptr() as usize;
    for header in headers {
        let name = header.name.as_bytes();
        if is_read_here(name) || (framing.nominates && is_nominated(headers, name)) {
            continue;
        }
        if head.keep(name, || raw.slice_ref(header.value)) {
            continue;
        }
        // The line as it came, in one copy.
        let from = name.as_ptr() as usize - start;
        let to = header.value.as_ptr() as usize + header.value.len() - start;
        let line = if header.value.is_empty() {
            None
        } else {
            raw.get(from..to)
        };
        if let Some(line) = line {
            head.headers.extend_from_slice(line);
        } else {
            head.headers.extend_from_slice(name);
            head.headers.extend_from_slice(b":");
        }
        head.headers.extend_from_slice(b"\r\n");
    }
    Ok(())
}

fn is_http(protocol: &[u8]) -> bool {
    let name = protocol.split(|byte| *byte == b'/').next().unwrap_or_default();
    [&b"h2c"[..], b"h2", b"http", b"tls"]
        .iter()
        .any(|other| name.eq_ignore_ascii_case(other))
}

fn is_read_here(name: &[u8]) -> bool {
    match name.len() {
        4 => name.eq_ignore_ascii_case(b"host"),
        6 => name.eq_ignore_ascii_case(b"expect"),
        14 => name.eq_ignore_ascii_case(b"content-length"),
        _ => is_hop_by_hop(name),
    }
}

fn is_nominated(headers: &[httparse::Header<'_>], name: &[u8]) -> bool {
    headers
        .iter()
        .filter(|header| header.name.eq_ignore_ascii_case("connection"))
        .any(|header| tokens(header.value).any(|token| token.eq_ignore_ascii_case(name)))
}

#[cfg(test)]
mod tests;
