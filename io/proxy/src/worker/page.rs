//! Answers of the proxy's own.

use bytes::{Bytes, BytesMut};

use crate::http1::reason_phrase;

/// One answer, whichever protocol carries it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Page {
    pub(super) status: u16,
    pub(super) content_type: &'static str,
    pub(super) body: Bytes,
    pub(super) retry_after_s: Option<u32>,
    pub(super) cookie: Option<String>,
    /// Headers beyond those.
    pub(super) also: &'static [(&'static str, &'static str)],
}

impl Page {
    /// A line of plain text.
    pub(super) fn text(status: u16, what: &str) -> Self {
        Page {
            status,
            content_type: "text/plain; charset=utf-8",
            body: format!("{status} {}: {what}\n", reason_phrase(status)).into(),
            retry_after_s: (status == 503).then_some(1),
            cookie: None,
            also: &[],
        }
    }

    /// Appends it as HTTP/1.1.
    pub(super) fn write(&self, out: &mut BytesMut, date: &str, head_only: bool, close: bool) {
        use std::fmt::Write;
        // Writing to a buffer that grows cannot fail.
        let _infallible = write!(
            out,
            "HTTP/1.1 {} {}\r\ndate: {date}\r\ncontent-type: {}\r\ncontent-length: {}\r\n",
            self.status,
            reason_phrase(self.status),
            self.content_type,
            self.body.len()
        );
        if let Some(seconds) = self.retry_after_s {
            let _infallible = write!(out, "retry-after: {seconds}\r\n");
        }
        if let Some(cookie) = &self.cookie {
            let _infallible = write!(out, "set-cookie: {cookie}\r\n");
        }
        for (name, value) in self.also {
            let _infallible = write!(out, "{name}: {value}\r\n");
        }
        if close {
            out.extend_from_slice(b"connection: close\r\n");
        }
        out.extend_from_slice(b"\r\n");
        if !head_only {
            out.extend_from_slice(&self.body);
        }
    }
}
