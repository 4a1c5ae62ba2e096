//! Fields after a body: which of them pass, and which are nobody's to say so late.

use bytes::{Bytes, BytesMut};
use http::{HeaderMap, HeaderName, HeaderValue};

use super::is_hop_by_hop;

/// Fields that may not come after a body (RFC 9110 §6.5.1): framing, routing, authentication, how to
/// read the body, and what the proxy itself says.
const NEVER: [&str; 37] = [
    "age",
    "authorization",
    "cache-control",
    "content-encoding",
    "content-length",
    "content-range",
    "content-type",
    "cookie",
    "date",
    "expect",
    "expires",
    "forwarded",
    "host",
    "if-match",
    "if-modified-since",
    "if-none-match",
    "if-range",
    "if-unmodified-since",
    "location",
    "max-forwards",
    "pragma",
    "proxy-authenticate",
    "proxy-authorization",
    "range",
    "retry-after",
    "set-cookie",
    "traceparent",
    "tracestate",
    "vary",
    "warning",
    "www-authenticate",
    "x-forwarded-for",
    "x-forwarded-host",
    "x-forwarded-proto",
    "x-trimtab-preview",
    "x-trimtab-preview-token",
    "sec-websocket-key",
];

/// The fields after a body that may be passed on.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Trailers(Vec<(Bytes, Bytes)>);

impl Trailers {
    /// Whether there are none.
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Reads one line of an HTTP/1.1 trailer section; a field that may not come so late is dropped.
    pub(super) fn read_line(&mut self, line: &[u8]) -> Result<(), &'static str> {
        let colon = memchr::memchr(b':', line).ok_or("a trailer without a colon")?;
        let (name, value) = (&line[..colon], line[colon + 1..].trim_ascii());
        if name.is_empty() || !name.iter().all(|byte| is_token(*byte)) {
            return Err("a trailer's name is malformed");
        }
        if !value
            .iter()
            .all(|byte| matches!(byte, b'\t' | b' '..=b'~' | 0x80..))
        {
            return Err("a control character in a trailer");
        }
        if may_trail(name) {
            self.0
                .push((Bytes::copy_from_slice(name), Bytes::copy_from_slice(value)));
        }
        Ok(())
    }

    /// Those of an HTTP/2 message that may be passed on.
    pub(crate) fn from_http(headers: &HeaderMap) -> Self {
        let fields = headers
            .iter()
            .filter(|(name, _)| may_trail(name.as_str().as_bytes()));
        let fields = fields.map(|(name, value)| {
            (
                Bytes::copy_from_slice(name.as_str().as_bytes()),
                Bytes::copy_from_slice(value.as_bytes()),
            )
        });
        Trailers(fields.collect())
    }

    /// The same for an HTTP/2 message.
    pub(crate) fn to_http(&self) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in &self.0 {
            if let (Ok(name), Ok(value)) = (
                HeaderName::from_bytes(name),
                HeaderValue::from_maybe_shared(value.clone()),
            ) {
                headers.append(name, value);
            }
        }
        headers
    }

    /// Appends them as lines.
    pub(super) fn write(&self, out: &mut BytesMut) {
        for (name, value) in &self.0 {
            for part in [&name[..], b": ", value, b"\r\n"] {
                out.extend_from_slice(part);
            }
        }
    }
}

fn may_trail(name: &[u8]) -> bool {
    !is_hop_by_hop(name)
        && !NEVER
            .iter()
            .any(|other| name.eq_ignore_ascii_case(other.as_bytes()))
}

/// RFC 9110 §5.6.2.
fn is_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_frames_routes_or_vouches_comes_no_later_than_the_head() {
        let mut trailers = Trailers::default();
        for line in [
            "x-sum: 17",
            "Server-Timing:db;dur=5 ",
            "Content-Length: 5",
            "Transfer-Encoding: chunked",
            "Host: other",
            "X-Forwarded-For: 1.1.1.1",
            "Authorization: Basic x",
            "Connection: close",
        ] {
            assert_eq!(trailers.read_line(line.as_bytes()), Ok(()), "{line}");
        }
        let mut out = BytesMut::new();
        trailers.write(&mut out);
        assert_eq!(&out[..], b"x-sum: 17\r\nServer-Timing: db;dur=5\r\n");
        assert_eq!(Trailers::from_http(&trailers.to_http()).0.len(), 2);
        for line in ["", " folded: 1", "x y: 1", "x : 1", ": 1", "x: a\x01b", "x"] {
            assert!(trailers.read_line(line.as_bytes()).is_err(), "{line:?}");
        }
    }
}
