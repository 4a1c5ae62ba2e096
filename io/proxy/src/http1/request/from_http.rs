//! The head of an HTTP/2 request, whose framing hyper has checked.

use bytes::{Bytes, BytesMut};

use super::{HeadError, RequestHead, bad, is_host, is_read_here};
use crate::http1::{BodyLength, parse_length};

/// What the proxy needs to know of a request that came in HTTP/2.
pub(crate) fn request_from_http(
    parts: &http::request::Parts,
    has_body: bool,
) -> Result<RequestHead, HeadError> {
    let target = parts.uri.path_and_query().map_or("/", |target| target.as_str());
    if !target.starts_with('/') && target != "*" {
        return Err(bad("the request's target is no path"));
    }
    let mut head = RequestHead::new(parts.method.clone(), Bytes::copy_from_slice(target.as_bytes()));
    head.is_http2 = true;
    // hyper lets no other value pass, and these come without a `Connection` that names them.
    head.accepts_trailers = parts.headers.contains_key(http::header::TE);
    head.trailer = parts
        .headers
        .get(http::header::TRAILER)
        .map(|value| Bytes::copy_from_slice(value.as_bytes()));
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
