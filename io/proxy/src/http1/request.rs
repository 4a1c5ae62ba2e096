//! A request's head: read strictly, told apart from its framing, ready to be passed on.

mod framing;

use std::mem::MaybeUninit;

use bytes::{Buf, Bytes, BytesMut};
use http::Method;

use super::{BodyLength, is_hop_by_hop, parse_length, tokens};
use crate::Limits;
use framing::Framing;

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
    /// Whether the client wants its connection kept.
    pub(crate) keep_alive: bool,
    /// How the body ends.
    pub(crate) body: BodyLength,
    /// The protocol to upgrade to, if the client asks for one.
    pub(crate) upgrade: Option<Bytes>,
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
    fn new(method: Method, target: Bytes) -> Self {
        RequestHead {
            method,
            target,
            host: Bytes::new(),
            is_http10: false,
            keep_alive: true,
            body: BodyLength::Empty,
            upgrade: None,
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
    fn keep(&mut self, name: &[u8], value: impl FnOnce() -> Bytes) -> bool {
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
fn join(list: &mut Option<Bytes>, value: Bytes) {
    *list = Some(match list.take() {
        Some(before) => Bytes::from([&before[..], b", ", &value[..]].concat()),
        None => value,
    });
}

/// Takes a complete head from the front of `input`; none while more must be read.
pub(crate) fn read_request(input: &mut BytesMut, limits: &Limits) -> Result<Option<RequestHead>, HeadError> {
    // RFC 9112 §2.2: an empty line before the request line is ignored.
    if input.starts_with(b"\r\n") {
        input.advance(2);
    }
    let Some(end) = end_of_head(input)? else {
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

/// Where the head ends, counting the empty line. Every line must end with CR LF.
fn end_of_head(input: &[u8]) -> Result<Option<usize>, HeadError> {
    let mut line_start = 0;
    for end in memchr::memchr_iter(b'\n', input) {
        if end == line_start || input[end - 1] != b'\r' {
            return Err(bad("a line ends with a bare line feed"));
        }
        if end == line_start + 1 {
            return Ok(Some(end + 1));
        }
        line_start = end + 1;
    }
    Ok(None)
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
        "" => Bytes::from_static(b"/"),
        query if query.starts_with('?') => Bytes::from(format!("/{query}")),
        path => raw.slice_ref(path.as_bytes()),
    };
    Ok((target, Some(raw.slice_ref(authority))))
}

fn is_host(host: &[u8]) -> bool {
    let allowed = |byte: &u8| {
        byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b':' | b'[' | b']' | b'~' | b'%')
    };
    !host.is_empty() && host.iter().all(allowed)
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

/// The same from an HTTP/2 request, whose framing hyper has checked.
pub(crate) fn request_from_http(
    parts: &http::request::Parts,
    has_body: bool,
) -> Result<RequestHead, HeadError> {
    let target = parts.uri.path_and_query().map_or("/", |target| target.as_str());
    if !target.starts_with('/') && target != "*" {
        return Err(bad("the request's target is no path"));
    }
    let mut head = RequestHead::new(parts.method.clone(), Bytes::copy_from_slice(target.as_bytes()));
    let authority = parts
        .uri
        .authority()
        .map(|authority| authority.as_str().as_bytes());
    let mut hosts = parts
        .headers
        .get_all(http::header::HOST)
        .iter()
        .map(|host| host.as_bytes());
    let named = hosts.next();
    // RFC 9113 §8.3.1: the two must agree, or two readers would see two requests.
    let contradicts = |host: &[u8]| authority.is_some_and(|authority| !authority.eq_ignore_ascii_case(host));
    if hosts.next().is_some() || named.is_some_and(contradicts) {
        return Err(bad("Host contradicts :authority, or there are two"));
    }
    let host = authority.or(named);
    head.host = Bytes::copy_from_slice(host.filter(|host| is_host(host)).ok_or(bad("there is no host"))?);
    let length = parts
        .headers
        .get(http::header::CONTENT_LENGTH)
        .and_then(|value| parse_length(value.as_bytes()));
    head.body = match length {
        _ if !has_body => BodyLength::Empty,
        Some(length) => BodyLength::Bytes(length),
        None => BodyLength::Chunked,
    };
    let mut cookies = BytesMut::new();
    for (name, value) in &parts.headers {
        let (name, value) = (name.as_str().as_bytes(), value.as_bytes());
        if is_read_here(name) || head.keep(name, || Bytes::copy_from_slice(value)) {
            continue;
        }
        if name == b"cookie" {
            // RFC 9113 §8.2.3: split cookie fields become one again in HTTP/1.1.
            cookies.extend_from_slice(if cookies.is_empty() { b"cookie: " } else { b"; " });
            cookies.extend_from_slice(value);
            continue;
        }
        for part in [name, b": ", value, b"\r\n"] {
            head.headers.extend_from_slice(part);
        }
    }
    if !cookies.is_empty() {
        head.headers.extend_from_slice(&cookies);
        head.headers.extend_from_slice(b"\r\n");
    }
    Ok(head)
}

#[cfg(test)]
mod tests;
