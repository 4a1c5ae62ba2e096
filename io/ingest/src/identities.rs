//! Who sends, by the token that came with it.

use http::HeaderMap;
use http::header::AUTHORIZATION;
use trimtab_model::Identity;

/// The header that may carry the token instead of `Authorization: Bearer`.
pub const TOKEN_HEADER: &str = "x-trimtab-token";

/// Knows the tokens that were given out.
pub trait Identities: Send + Sync {
    /// The identity behind a token; none if the token is unknown, expired or taken back.
    fn identify(&self, token: &str) -> Option<Identity>;
}

/// Who sends a request with these headers.
pub(crate) fn of(headers: &HeaderMap, identities: &dyn Identities) -> Option<Identity> {
    let bearer = headers.get(AUTHORIZATION).and_then(|value| {
        let (scheme, token) = value.to_str().ok()?.split_once(' ')?;
        scheme.eq_ignore_ascii_case("bearer").then_some(token.trim())
    });
    let own = || headers.get(TOKEN_HEADER).and_then(|value| value.to_str().ok());
    identities.identify(bearer.or_else(own)?)
}
