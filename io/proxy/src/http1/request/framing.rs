//! What framing and connection headers said, and whether it can be understood in one way only.

use bytes::Bytes;

use super::head::join;
use super::{HeadError, RequestHead, bad, is_host};
use crate::http1::{parse_length, tokens};

/// What framing and connection headers said, until all are read.
#[derive(Default)]
pub(super) struct Framing<'a> {
    pub(super) length: Option<u64>,
    pub(super) chunked: bool,
    pub(super) host_seen: bool,
    pub(super) close: bool,
    pub(super) keep_alive: bool,
    pub(super) wants_upgrade: bool,
    pub(super) upgrade: Option<&'a [u8]>,
    /// Some `Connection` token names another header, which then must not be passed on.
    pub(super) nominates: bool,
}

impl<'a> Framing<'a> {
    pub(super) fn read(
        &mut self,
        header: &httparse::Header<'a>,
        is_http10: bool,
        raw: &Bytes,
        head: &mut RequestHead,
    ) -> Result<(), HeadError> {
        let (name, value) = (header.name.as_bytes(), header.value);
        match name.len() {
            2 if name.eq_ignore_ascii_case(b"te") => {
                head.accepts_trailers |= tokens(value).any(|token| token.eq_ignore_ascii_case(b"trailers"));
            }
            4 if name.eq_ignore_ascii_case(b"host") => {
                if std::mem::replace(&mut self.host_seen, true) || !is_host(value) {
                    return Err(bad("Host is malformed or there are two"));
                }
                head.host = raw.slice_ref(value);
            }
            6 if name.eq_ignore_ascii_case(b"expect") => {
                if !value.eq_ignore_ascii_case(b"100-continue") {
                    return Err(HeadError {
                        status: 417,
                        what: "an expectation other than 100-continue",
                    });
                }
                head.expects_continue = true;
            }
            7 if name.eq_ignore_ascii_case(b"upgrade") => self.upgrade = Some(value),
            7 if name.eq_ignore_ascii_case(b"trailer") => join(&mut head.trailer, raw.slice_ref(value)),
            10 if name.eq_ignore_ascii_case(b"connection") => self.read_connection(value),
            14 if name.eq_ignore_ascii_case(b"content-length") => {
                if self.length.is_some() {
                    return Err(bad("two Content-Lengths"));
                }
                self.length = Some(parse_length(value).ok_or(bad("Content-Length is no number"))?);
            }
            17 if name.eq_ignore_ascii_case(b"transfer-encoding") => {
                if is_http10 || self.chunked {
                    return Err(bad("Transfer-Encoding in HTTP/1.0, or twice"));
                }
                if !value.eq_ignore_ascii_case(b"chunked") {
                    return Err(HeadError {
                        status: 501,
                        what: "a transfer coding other than chunked",
                    });
                }
                self.chunked = true;
            }
            _ => {}
        }
        Ok(())
    }

    fn read_connection(&mut self, value: &[u8]) {
        for token in tokens(value) {
            if token.eq_ignore_ascii_case(b"close") {
                self.close = true;
            } else if token.eq_ignore_ascii_case(b"keep-alive") {
                self.keep_alive = true;
            } else if token.eq_ignore_ascii_case(b"upgrade") {
                self.wants_upgrade = true;
            } else {
                self.nominates = true;
            }
        }
    }
}
