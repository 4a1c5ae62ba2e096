//! A response's head from an instance.

use std::mem::MaybeUninit;

use bytes::{Bytes, BytesMut};

use super::{BodyLength, end_of_head, is_hop_by_hop, parse_length, tokens};

/// Most headers in a response.
const HEADERS_MAX: usize = 128;
/// Most bytes of a response's head.
const HEAD_BYTES_MAX: usize = 128 * 1024;

/// What the proxy needs to know of a response.
#[derive(Debug)]
pub(crate) struct ResponseHead {
    /// The status, 100 to 999.
    pub(crate) status: u16,
    /// The reason phrase.
    pub(crate) reason: Bytes,
    /// How the body ends.
    pub(crate) body: BodyLength,
    /// Content-Length as sent, also where there is no body (HEAD, 304).
    pub(crate) length: Option<u64>,
    /// Whether the instance keeps the connection.
    pub(crate) keep_alive: bool,
    /// The protocol switched to (101).
    pub(crate) upgrade: Option<Bytes>,
    /// `text/event-stream`: counted when its head comes, for it may never end.
    pub(crate) is_event_stream: bool,
    /// There is a `Date`.
    pub(crate) has_date: bool,
    /// `Connection` says that the protocol is switched.
    pub(crate) says_upgrade: bool,
    /// `Trailer`: the fields that the instance says it will send after the body.
    pub(crate) trailer: Option<Bytes>,
    /// The headers to pass on: name and value.
    pub(crate) headers: Vec<(Bytes, Bytes)>,
}

/// Takes a complete head from the front of `input`; none while more must be read. `head_only`: the
/// request was HEAD.
pub(crate) fn read_response(
    input: &mut BytesMut,
    head_only: bool,
) -> Result<Option<ResponseHead>, &'static str> {
    let Some(end) =
        end_of_head(input).map_err(|_| "a line of the response's head ends with a bare line feed")?
    else {
        return if input.len() > HEAD_BYTES_MAX {
            Err("the response's head is too large")
        } else {
            Ok(None)
        };
    };
    let raw = input.split_to(end).freeze();
    let mut space = [const { MaybeUninit::uninit() }; HEADERS_MAX];
    let mut response = httparse::Response::new(&mut []);
    let parsed =
        httparse::ParserConfig::default().parse_response_with_uninit_headers(&mut response, &raw, &mut space);
    if parsed != Ok(httparse::Status::Complete(raw.len())) {
        return Err("the response's head is malformed");
    }
    let (Some(status), Some(version)) = (response.code, response.version) else {
        return Err("the response's head is malformed");
    };
    let mut head = ResponseHead {
        status,
        reason: response
            .reason
            .map_or_else(Bytes::new, |reason| raw.slice_ref(reason.as_bytes())),
        body: BodyLength::UntilClose,
        length: None,
        keep_alive: version == 1,
        upgrade: None,
        is_event_stream: false,
        has_date: false,
        says_upgrade: false,
        trailer: None,
        headers: Vec::with_capacity(response.headers.len()),
    };
    let chunked = read_headers(&raw, response.headers, &mut head)?;
    head.body = match head.length {
        _ if head_only || status < 200 || status == 204 || status == 304 => BodyLength::Empty,
        _ if chunked => BodyLength::Chunked,
        Some(0) => BodyLength::Empty,
        Some(length) => BodyLength::Bytes(length),
        None => BodyLength::UntilClose,
    };
    head.keep_alive &= head.body != BodyLength::UntilClose;
    Ok(Some(head))
}

/// Fills `head`; whether the body is chunked.
fn read_headers(
    raw: &Bytes,
    headers: &[httparse::Header<'_>],
    head: &mut ResponseHead,
) -> Result<bool, &'static str> {
    let mut chunked = false;
    let mut nominated: Vec<&[u8]> = Vec::new();
    for header in headers {
        let (name, value) = (header.name.as_bytes(), header.value);
        match name.len() {
            4 if name.eq_ignore_ascii_case(b"date") => head.has_date = true,
            7 if name.eq_ignore_ascii_case(b"trailer") => head.trailer = Some(raw.slice_ref(value)),
            7 if name.eq_ignore_ascii_case(b"upgrade") => head.upgrade = Some(raw.slice_ref(value)),
            10 if name.eq_ignore_ascii_case(b"connection") => {
                for token in tokens(value) {
                    if token.eq_ignore_ascii_case(b"close") {
                        head.keep_alive = false;
                    } else if token.eq_ignore_ascii_case(b"upgrade") {
                        head.says_upgrade = true;
                    } else if !token.eq_ignore_ascii_case(b"keep-alive") {
                        nominated.push(token);
                    }
                }
            }
            12 if name.eq_ignore_ascii_case(b"content-type") => {
                head.is_event_stream =
                    value.len() >= 17 && value[..17].eq_ignore_ascii_case(b"text/event-stream");
            }
            14 if name.eq_ignore_ascii_case(b"content-length") => {
                let length = parse_length(value).ok_or("the response's Content-Length is no number")?;
                if head.length.is_some_and(|before| before != length) {
                    return Err("the response has two Content-Lengths");
                }
                head.length = Some(length);
                continue;
            }
            17 if name.eq_ignore_ascii_case(b"transfer-encoding") => {
                if chunked || !value.eq_ignore_ascii_case(b"chunked") {
                    return Err("the response has a transfer coding other than chunked");
                }
                chunked = true;
            }
            _ => {}
        }
        if !is_hop_by_hop(name) {
            head.headers.push((raw.slice_ref(name), raw.slice_ref(value)));
        }
    }
    if chunked && head.length.is_some() {
        return Err("the response has both Content-Length and Transfer-Encoding");
    }
    if !nominated.is_empty() {
        head.headers
            .retain(|(name, _)| !nominated.iter().any(|token| token.eq_ignore_ascii_case(name)));
    }
    Ok(chunked)
}

/// The reason phrase of a status that the proxy itself sends.
pub(crate) fn reason_phrase(status: u16) -> &'static str {
    http::StatusCode::from_u16(status)
        .ok()
        .and_then(|status| status.canonical_reason())
        .unwrap_or("")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Option<ResponseHead>, &'static str> {
        read_response(&mut BytesMut::from(text.as_bytes()), false)
    }

    #[test]
    fn framing_is_told_apart() {
        let body = |headers: &str| {
            read(&format!("HTTP/1.1 200 OK\r\n{headers}\r\n"))
                .map(|head| head.map(|head| (head.body, head.keep_alive)))
        };
        assert_eq!(
            body("Content-Length: 5\r\n"),
            Ok(Some((BodyLength::Bytes(5), true)))
        );
        assert_eq!(
            body("Transfer-Encoding: chunked\r\n"),
            Ok(Some((BodyLength::Chunked, true)))
        );
        assert_eq!(body(""), Ok(Some((BodyLength::UntilClose, false))));
        assert_eq!(
            body("Content-Length: 5\r\nConnection: close\r\n"),
            Ok(Some((BodyLength::Bytes(5), false)))
        );
        assert!(body("Content-Length: 5\r\nTransfer-Encoding: chunked\r\n").is_err());
        assert!(body("Content-Length: 5\r\nContent-Length: 6\r\n").is_err());
        assert_eq!(
            read("HTTP/1.1 200 OK\r\nContent-Le").map(|head| head.is_none()),
            Ok(true)
        );
        assert_eq!(
            read("HTTP/1.1 304 x\r\nContent-Length: 5\r\n\r\n").map(|h| h.map(|h| h.body)),
            Ok(Some(BodyLength::Empty))
        );
    }

    #[test]
    fn connection_headers_stay_behind() {
        let head = read(
            "HTTP/1.1 200 OK\r\nA: 1\r\nKeep-Alive: x\r\nConnection: B\r\nB: 2\r\nContent-Length: 0\r\n\r\n",
        );
        let names: Vec<Bytes> = head
            .ok()
            .flatten()
            .map(|head| head.headers.into_iter().map(|(name, _)| name).collect())
            .unwrap_or_default();
        assert_eq!(names, ["A"]);
    }
}
