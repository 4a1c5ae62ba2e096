//! HTTP/1.1 on the wire, both sides, by RFC 9112: strict in what it accepts, because a request that
//! two readers understand differently is how requests are smuggled.
//!
//! Written here rather than taken from hyper for two reasons: hyper mends ambiguous framing (it drops
//! a Content-Length beside Transfer-Encoding, takes bare line feeds) where a proxy must refuse it,
//! and a head that is copied from one buffer to the next costs a fraction of a header map.

mod body;
mod fields;
mod request;
mod response;
mod trailers;
mod wire;

pub(crate) use body::{BodyLength, Decoded, Decoder, encode_chunk, encode_last_chunk};
pub(crate) use fields::cookie;
pub(crate) use request::{HeadError, RequestHead, read_request, request_from_http};
pub(crate) use response::{ResponseHead, read_response, reason_phrase};
pub(crate) use trailers::Trailers;
pub(crate) use wire::{Deadline, Wire};

/// Headers that belong to one connection and are never passed on (RFC 9110 §7.6.1).
fn is_hop_by_hop(name: &[u8]) -> bool {
    const NAMES: [&str; 7] = [
        "connection",
        "keep-alive",
        "proxy-connection",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
    ];
    (2..=17).contains(&name.len()) && NAMES.iter().any(|hop| name.eq_ignore_ascii_case(hop.as_bytes()))
}

/// Where a head ends, counting the empty line. Every line must end with CR LF.
fn end_of_head(input: &[u8]) -> Result<Option<usize>, &'static str> {
    let mut line_start = 0;
    for end in memchr::memchr_iter(b'\n', input) {
        if end == line_start || input[end - 1] != b'\r' {
            return Err("a line ends with a bare line feed");
        }
        if end == line_start + 1 {
            return Ok(Some(end + 1));
        }
        line_start = end + 1;
    }
    Ok(None)
}

/// The tokens of a comma-separated header value, trimmed.
pub(crate) fn tokens(value: &[u8]) -> impl Iterator<Item = &[u8]> {
    value
        .split(|byte| *byte == b',')
        .map(<[u8]>::trim_ascii)
        .filter(|token| !token.is_empty())
}

/// Digits only, as RFC 9110 §8.6 says; no sign, no list.
pub(crate) fn parse_length(value: &[u8]) -> Option<u64> {
    if value.is_empty() || value.len() > 18 || !value.iter().all(u8::is_ascii_digit) {
        return None;
    }
    Some(
        value
            .iter()
            .fold(0, |sum, digit| sum * 10 + u64::from(digit - b'0')),
    )
}
