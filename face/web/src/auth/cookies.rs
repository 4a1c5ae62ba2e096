//! Reading and writing cookies.

use http::header::COOKIE;
use http::{HeaderMap, HeaderValue};

/// The value of a cookie, if the request carries it.
pub(crate) fn cookie<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers
        .get_all(COOKIE)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(';'))
        .filter_map(|pair| pair.trim().split_once('='))
        .find(|(key, _)| *key == name)
        .map(|(_, value)| value)
}

/// A `Set-Cookie` value; `seconds` 0 removes the cookie. None when the value cannot be a cookie's.
pub(crate) fn set_cookie(
    name: &str,
    value: &str,
    seconds: u64,
    readable: bool,
    https: bool,
) -> Option<HeaderValue> {
    if !value
        .bytes()
        .all(|b| b.is_ascii_graphic() && !matches!(b, b';' | b',' | b'"' | b'\\'))
    {
        return None;
    }
    let mut text = format!("{name}={value}; Path=/; Max-Age={seconds}; SameSite=Strict");
    if !readable {
        text.push_str("; HttpOnly");
    }
    if https {
        text.push_str("; Secure");
    }
    HeaderValue::from_str(&text).ok()
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests fail by panicking")]
    use super::*;

    #[test]
    fn cookies_are_found_by_their_whole_name() {
        let mut headers = HeaderMap::new();
        headers.insert(COOKIE, HeaderValue::from_static("a=1; xsession=2; session=3"));
        assert_eq!(cookie(&headers, "session"), Some("3"));
        assert_eq!(cookie(&headers, "b"), None);
    }

    #[test]
    fn a_value_cannot_smuggle_attributes() {
        assert!(set_cookie("a", "x; Domain=evil", 1, false, false).is_none());
        let value = set_cookie("a", "x", 1, false, true).unwrap();
        assert_eq!(value, "a=x; Path=/; Max-Age=1; SameSite=Strict; HttpOnly; Secure");
    }
}
