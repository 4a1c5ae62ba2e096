//! Looking up what a request's headers say, for the few routes that ask.

use bytes::BytesMut;

use super::{RequestHead, ResponseHead};

impl RequestHead {
    /// The value of the first header of this name among those that are passed on.
    pub(crate) fn header<'a>(&'a self, name: &'a [u8]) -> Option<&'a [u8]> {
        self.values(name).next()
    }

    /// Leaves out the headers of this name.
    pub(crate) fn remove(&mut self, name: &[u8]) {
        let is_it = |line: &[u8]| {
            line.get(name.len()) == Some(&b':') && line[..name.len()].eq_ignore_ascii_case(name)
        };
        let mut kept = BytesMut::with_capacity(self.headers.len() + 64);
        let lines = self.headers.split_inclusive(|byte| *byte == b'\n');
        lines
            .filter(|line| !is_it(line))
            .for_each(|line| kept.extend_from_slice(line));
        self.headers = kept;
    }

    /// The values of all headers of this name among those that are passed on.
    pub(crate) fn values<'a>(&'a self, name: &'a [u8]) -> impl Iterator<Item = &'a [u8]> {
        let lines = self.headers[..].split(|byte| *byte == b'\n');
        lines.filter_map(move |line| {
            let (found, value) = (line.get(..name.len())?, line.get(name.len()..)?);
            let is_it = value.first() == Some(&b':') && found.eq_ignore_ascii_case(name);
            is_it.then(|| value[1..].trim_ascii())
        })
    }
}

impl ResponseHead {
    /// The values of all headers of this name.
    pub(crate) fn values<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a [u8]> {
        let fields = self.headers.iter();
        fields.filter_map(move |(found, value)| {
            found.eq_ignore_ascii_case(name.as_bytes()).then_some(&value[..])
        })
    }
}

/// The value of a cookie (RFC 6265 §5.4: the first of the name counts).
pub(crate) fn cookie<'a>(head: &'a RequestHead, name: &str) -> Option<&'a [u8]> {
    head.header(b"cookie")?
        .split(|byte| *byte == b';')
        .find_map(|pair| {
            let pair = pair.trim_ascii();
            let value = pair.strip_prefix(name.as_bytes())?;
            value.strip_prefix(b"=")
        })
}
