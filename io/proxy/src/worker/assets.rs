//! Files named by their content, which one arm has and the other may not.

use http::Method;

use crate::http1::RequestHead;

/// Shortest part of a name that can be a hash.
const HASH_LEN_MIN: usize = 8;

/// Whether a request asks for such a file: bundlers write the hash between dots, dashes or
/// underscores (`app.3f9a2b1c.js`, `index-BkC3d9Xz.css`).
pub(super) fn is_asked_for(head: &RequestHead) -> bool {
    let is_safe = matches!(head.method, Method::GET | Method::HEAD) && head.is_repeatable();
    is_safe && is_hashed(head.path())
}

fn is_hashed(path: &[u8]) -> bool {
    let name = path.rsplit(|byte| *byte == b'/').next().unwrap_or_default();
    let Some(dot) = memchr::memrchr(b'.', name) else {
        return false;
    };
    name[..dot]
        .split(|byte| matches!(byte, b'.' | b'-' | b'_'))
        .skip(1)
        .any(|part| {
            let is_mixed = part.iter().any(u8::is_ascii_uppercase) && part.iter().any(u8::is_ascii_lowercase);
            part.len() >= HASH_LEN_MIN
                && part.iter().all(u8::is_ascii_alphanumeric)
                && (is_mixed || part.iter().any(u8::is_ascii_digit))
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hashed_names_are_told_from_others() {
        for (path, expected) in [
            ("/assets/app.3f9a2b1c.js", true),
            ("/assets/index-BkCxdDXz.css", true),
            ("/logo_0a1b2c3d4e5f.png", true),
            ("/jquery.min.js", false),
            ("/app-production.js", false),
            ("/blocks/12345678", false),
            ("/12345678.json", false),
            ("/report-2024.pdf", false),
            ("/", false),
        ] {
            assert_eq!(is_hashed(path.as_bytes()), expected, "{path}");
        }
    }
}
