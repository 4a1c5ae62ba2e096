//! Looking up what a request's headers say, for the few routes that ask.

use super::RequestHead;

impl RequestHead {
    /// The value of the first header of this name among those that are passed on.
    pub(crate) fn header(&self, name: &[u8]) -> Option<&[u8]> {
        self.headers[..].split(|byte| *byte == b'\n').find_map(|line| {
            let (found, value) = (line.get(..name.len())?, line.get(name.len()..)?);
            let is_it = value.first() == Some(&b':') && found.eq_ignore_ascii_case(name);
            is_it.then(|| value[1..].trim_ascii())
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
