//! What gRPC says in HTTP: its status stands in a trailer, under a 200.

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue};

/// Content types of gRPC begin so.
const CONTENT_TYPE: &str = "application/grpc";
const STATUS: HeaderName = HeaderName::from_static("grpc-status");
const MESSAGE: HeaderName = HeaderName::from_static("grpc-message");

/// The path of the standard health service, and a request for the whole server's health.
pub(super) const HEALTH_PATH: &str = "/grpc.health.v1.Health/Check";
pub(super) const HEALTH_REQUEST: Bytes = Bytes::from_static(&[0, 0, 0, 0, 0]);
/// `HealthCheckResponse { status: SERVING }` with its length before it.
const HEALTH_SERVING: [u8; 7] = [0, 0, 0, 0, 2, 8, 1];

/// Whether a message is gRPC.
pub(super) fn is_grpc(headers: &HeaderMap) -> bool {
    let content_type = headers.get(http::header::CONTENT_TYPE);
    content_type.is_some_and(|value| value.as_bytes().starts_with(CONTENT_TYPE.as_bytes()))
}

/// The HTTP status that says what a gRPC status says, by which the request is counted; none without
/// a status.
pub(super) fn counted_as(headers: &HeaderMap) -> Option<u16> {
    const STATUSES: [u16; 17] = [
        200, 499, 500, 400, 504, 404, 409, 403, 429, 400, 409, 400, 501, 500, 503, 500, 401,
    ];
    let code: usize = headers.get(STATUS)?.to_str().ok()?.parse().ok()?;
    Some(STATUSES.get(code).copied().unwrap_or(500))
}

/// The headers of an answer of the proxy's own to a gRPC client: status and message, no body.
pub(super) fn refusal(status: u16) -> HeaderMap {
    let code = match status {
        401 => 16,
        403 => 7,
        404 => 12,
        408 | 504 => 4,
        413 | 429 => 8,
        502 | 503 => 14,
        _ => 13,
    };
    let mut headers = HeaderMap::new();
    headers.insert(http::header::CONTENT_TYPE, HeaderValue::from_static(CONTENT_TYPE));
    headers.insert(STATUS, HeaderValue::from(code));
    let message = HeaderValue::from_static(crate::http1::reason_phrase(status));
    headers.insert(MESSAGE, message);
    headers
}

/// Whether the answer of the health service says that the server serves.
pub(super) fn is_serving(body: &[u8], trailers: &HeaderMap) -> bool {
    counted_as(trailers) == Some(200) && body == HEALTH_SERVING
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn statuses_say_the_same_in_both_languages() {
        let mut headers = HeaderMap::new();
        assert_eq!(counted_as(&headers), None);
        for (code, status) in [(0, 200), (5, 404), (13, 500), (14, 503), (99, 500)] {
            headers.insert(STATUS, HeaderValue::from(code));
            assert_eq!(counted_as(&headers), Some(status));
        }
        for status in [403, 404, 429, 503, 504] {
            let told = counted_as(&refusal(status)).unwrap_or(0);
            assert_eq!(
                told / 100,
                if status == 404 { 5 } else { status / 100 },
                "{status}"
            );
        }
        assert!(is_grpc(&refusal(503)));
    }
}
