//! An instance's head as an HTTP/1.1 client gets it.

use bytes::BytesMut;

use crate::http1::{BodyLength, RequestHead, ResponseHead};

/// Appends one header.
pub(super) fn put_header(out: &mut BytesMut, name: &[u8], value: &[u8]) {
    for part in [name, b": ", value, b"\r\n"] {
        out.extend_from_slice(part);
    }
}

/// Appends the head with what the proxy adds; the date, where the instance says none.
pub(super) fn write_response(
    out: &mut BytesMut,
    answer: &ResponseHead,
    request: &RequestHead,
    (cookie, date): (Option<String>, &str),
    keep: bool,
    until_close: bool,
) {
    use std::fmt::Write;
    out.reserve(1024);
    // Writing to a buffer that grows cannot fail.
    let _infallible = write!(out, "HTTP/1.1 {} ", answer.status);
    out.extend_from_slice(&answer.reason);
    out.extend_from_slice(b"\r\n");
    for (name, value) in &answer.headers {
        put_header(out, name, value);
    }
    if let Some(cookie) = cookie {
        put_header(out, b"set-cookie", cookie.as_bytes());
    }
    if !answer.has_date {
        put_header(out, b"date", date.as_bytes());
    }
    match (answer.body, answer.length) {
        (BodyLength::Chunked | BodyLength::UntilClose, _) if !until_close => {
            out.extend_from_slice(b"transfer-encoding: chunked\r\n");
            if let Some(trailer) = answer.trailer.as_ref().filter(|_| request.accepts_trailers) {
                put_header(out, b"trailer", trailer);
            }
        }
        (_, Some(length)) if answer.status != 204 => {
            let _infallible = write!(out, "content-length: {length}\r\n");
        }
        _ => {}
    }
    if !keep {
        out.extend_from_slice(b"connection: close\r\n");
    } else if request.is_http10 {
        out.extend_from_slice(b"connection: keep-alive\r\n");
    }
    out.extend_from_slice(b"\r\n");
}

/// Appends an interim answer (1xx).
pub(super) fn write_interim(out: &mut BytesMut, answer: &ResponseHead) {
    use std::fmt::Write;
    // Writing to a buffer that grows cannot fail.
    let _infallible = write!(out, "HTTP/1.1 {} ", answer.status);
    out.extend_from_slice(&answer.reason);
    out.extend_from_slice(b"\r\n");
    for (name, value) in &answer.headers {
        put_header(out, name, value);
    }
    out.extend_from_slice(b"\r\n");
}

/// Appends the answer to an upgrade.
pub(super) fn write_upgrade(out: &mut BytesMut, answer: &ResponseHead, cookie: Option<String>) {
    out.extend_from_slice(b"HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\n");
    if let Some(upgrade) = &answer.upgrade {
        put_header(out, b"upgrade", upgrade);
    }
    for (name, value) in &answer.headers {
        put_header(out, name, value);
    }
    if let Some(cookie) = cookie {
        put_header(out, b"set-cookie", cookie.as_bytes());
    }
    out.extend_from_slice(b"\r\n");
}
