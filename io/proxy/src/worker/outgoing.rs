//! The request's head as an instance gets it: the client's, with the proxy's own headers.

use std::net::IpAddr;

use bytes::BytesMut;
use http::Method;

use super::accept::Peer;
use super::exchange::Exchange;
use crate::http1::{BodyLength, RequestHead};

/// Appends the head that the instance gets: the client's, with the proxy's own headers.
pub(super) fn write_request(out: &mut BytesMut, head: &RequestHead, peer: &Peer, exchange: &Exchange) {
    use std::fmt::Write;
    out.reserve(head.headers.len() + head.target.len() + 512);
    let mut put = |parts: &[&[u8]]| parts.iter().for_each(|part| out.extend_from_slice(part));
    put(&[
        head.method.as_str().as_bytes(),
        b" ",
        &head.target,
        b" HTTP/1.1\r\nhost: ",
        &head.host,
        b"\r\n",
    ]);
    write_headers(out, head, peer, exchange);
    let mut put = |parts: &[&[u8]]| parts.iter().for_each(|part| out.extend_from_slice(part));
    if let Some(upgrade) = &head.upgrade {
        put(&[b"connection: upgrade\r\nupgrade: ", upgrade, b"\r\n"]);
    } else if head.accepts_trailers {
        put(&[b"connection: te\r\nte: trailers\r\n"]);
    }
    if let Some(trailer) = head.trailer.as_ref().filter(|_| head.body == BodyLength::Chunked) {
        put(&[b"trailer: ", trailer, b"\r\n"]);
    }
    if head.expects_continue && head.body != BodyLength::Empty && !head.is_http10 {
        put(&[b"expect: 100-continue\r\n"]);
    }
    match head.body {
        BodyLength::Bytes(length) => {
            let _infallible = write!(out, "content-length: {length}\r\n\r\n");
        }
        BodyLength::Chunked => out.extend_from_slice(b"transfer-encoding: chunked\r\n\r\n"),
        // A length of zero must be said where a body is usual (RFC 9110 §8.6).
        _ if matches!(head.method, Method::POST | Method::PUT | Method::PATCH) => {
            out.extend_from_slice(b"content-length: 0\r\n\r\n");
        }
        _ => out.extend_from_slice(b"\r\n"),
    }
}

/// Appends the headers that pass, and the proxy's own, as lines.
pub(super) fn write_headers(out: &mut BytesMut, head: &RequestHead, peer: &Peer, exchange: &Exchange) {
    use std::fmt::Write;
    let mut put = |parts: &[&[u8]]| parts.iter().for_each(|part| out.extend_from_slice(part));
    put(&[&head.headers, b"traceparent: ", &exchange.trace.header(), b"\r\n"]);
    // RFC 9110 §7.6.3: who passes a message on says so.
    let version: &[u8] = match (head.is_http2, head.is_http10) {
        (true, _) => b"2",
        (false, true) => b"1.0",
        (false, false) => b"1.1",
    };
    put(&[b"via: ", version, b" trimtab\r\n"]);
    if let Some(left) = head.max_forwards {
        let left = left.saturating_sub(1).to_string();
        put(&[b"max-forwards: ", left.as_bytes(), b"\r\n"]);
    }
    put(&[b"x-forwarded-for: "]);
    if let Some(before) = head.forwarded_for.as_ref().filter(|_| peer.is_trusted) {
        put(&[before, b", "]);
    }
    // Writing to a buffer that grows cannot fail.
    let _infallible = write!(out, "{}\r\n", peer.address.ip().to_canonical());
    let mut put = |parts: &[&[u8]]| parts.iter().for_each(|part| out.extend_from_slice(part));
    let scheme: &[u8] = if peer.is_tls { b"https" } else { b"http" };
    let proto = head
        .forwarded_proto
        .as_deref()
        .filter(|_| peer.is_trusted)
        .unwrap_or(scheme);
    let host = head
        .forwarded_host
        .as_deref()
        .filter(|_| peer.is_trusted)
        .unwrap_or(&head.host);
    put(&[
        b"x-forwarded-proto: ",
        proto,
        b"\r\nx-forwarded-host: ",
        host,
        b"\r\n",
    ]);
    if exchange.route.route.policy.forwarded {
        write_forwarded(out, head, peer, proto, host);
    }
}

/// Appends `Forwarded` (RFC 7239), after what a trusted peer wrote in it.
fn write_forwarded(out: &mut BytesMut, head: &RequestHead, peer: &Peer, proto: &[u8], host: &[u8]) {
    use std::fmt::Write;
    out.extend_from_slice(b"forwarded: ");
    if let Some(before) = head.forwarded.as_ref().filter(|_| peer.is_trusted) {
        out.extend_from_slice(before);
        out.extend_from_slice(b", ");
    }
    // Writing to a buffer that grows cannot fail.
    let _infallible = match peer.address.ip().to_canonical() {
        IpAddr::V4(address) => write!(out, "for={address}"),
        IpAddr::V6(address) => write!(out, "for=\"[{address}]\""),
    };
    out.extend_from_slice(b";proto=");
    out.extend_from_slice(proto);
    // What a host consists of needs no escape within quotes.
    if !host.is_empty() {
        out.extend_from_slice(b";host=\"");
        out.extend_from_slice(host);
        out.extend_from_slice(b"\"");
    }
    out.extend_from_slice(b"\r\n");
}
