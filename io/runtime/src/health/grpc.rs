//! Asks `grpc.health.v1.Health/Check`, over HTTP/2 without TLS.

use std::io::{Error, Result};
use std::net::SocketAddr;

use bytes::Bytes;
use http::{HeaderMap, Request};
use http_body_util::{BodyExt, Full};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::net::TcpStream;

const PATH: &str = "/grpc.health.v1.Health/Check";
/// Bytes of an answer that are looked at; a good one has seven.
const ANSWER_BYTES_MAX: usize = 1024;
/// Longest name of a service, so that its length is one byte on the wire.
const NAME_BYTES_MAX: usize = 127;

/// Status 200 when it serves, 503 when it doesn't.
pub(super) async fn ask(address: SocketAddr, service: &str) -> Result<(Option<u16>, String)> {
    let request = Request::post(format!("http://{address}{PATH}"))
        .header("content-type", "application/grpc")
        .header("te", "trailers")
        .header("user-agent", "trimtab-probe")
        .body(Full::new(message(service)?))
        .map_err(Error::other)?;
    let stream = TokioIo::new(TcpStream::connect(address).await?);
    let handshake = hyper::client::conn::http2::handshake(TokioExecutor::new(), stream);
    let (mut sender, connection) = handshake.await.map_err(Error::other)?;
    let connection = tokio::spawn(connection);
    let answer = async {
        let response = sender.send_request(request).await.map_err(Error::other)?;
        let (mut parts, mut body) = response.into_parts();
        let mut message = Vec::new();
        while let Some(frame) = body.frame().await {
            match frame.map_err(Error::other)?.into_data() {
                Ok(piece) => message.extend_from_slice(&piece),
                Err(frame) => parts.headers.extend(frame.into_trailers().unwrap_or_default()),
            }
            if message.len() > ANSWER_BYTES_MAX {
                return Err(Error::other("the answer is not one of grpc.health.v1"));
            }
        }
        read(&parts.headers, &message, service)
    }
    .await;
    connection.abort();
    answer
}

/// `HealthCheckRequest{service}` in its gRPC frame.
fn message(service: &str) -> Result<Bytes> {
    if service.len() > NAME_BYTES_MAX {
        return Err(Error::other(
            "the service's name is too long; correct `grpc` of its check",
        ));
    }
    let mut inside = Vec::new();
    if !service.is_empty() {
        inside.extend([0x0a, service.len() as u8]);
        inside.extend_from_slice(service.as_bytes());
    }
    let mut framed = vec![0, 0, 0, 0, inside.len() as u8];
    framed.append(&mut inside);
    Ok(framed.into())
}

fn read(headers: &HeaderMap, message: &[u8], service: &str) -> Result<(Option<u16>, String)> {
    let status = headers.get("grpc-status").and_then(|status| status.to_str().ok());
    match (status, message) {
        // One message with `status = SERVING`.
        (Some("0"), [0, 0, 0, 0, 2, 0x08, 1]) => Ok((Some(200), "serving".to_owned())),
        (Some("0"), _) => Ok((Some(503), "not serving".to_owned())),
        (Some("5"), _) => Ok((Some(503), format!("its health service knows no {service:?}"))),
        (Some("12"), _) => Err(Error::other(
            "it has no grpc.health.v1.Health; add one, or ask by `tcp: true`",
        )),
        (Some(status), _) => Ok((Some(503), format!("gRPC status {status}"))),
        (None, _) => Err(Error::other("the answer has no gRPC status")),
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests fail by panicking")]

    use super::*;

    #[test]
    fn questions_and_answers_are_those_of_grpc_health() {
        assert_eq!(message("").unwrap().as_ref(), [0, 0, 0, 0, 0]);
        assert_eq!(
            message("ab").unwrap().as_ref(),
            [0, 0, 0, 0, 4, 0x0a, 2, b'a', b'b']
        );
        assert!(message(&"x".repeat(128)).is_err());
        let headers = |status: &'static str| {
            let mut headers = HeaderMap::new();
            headers.insert("grpc-status", http::HeaderValue::from_static(status));
            headers
        };
        let serving = [0, 0, 0, 0, 2, 0x08, 1];
        assert_eq!(read(&headers("0"), &serving, "").unwrap().0, Some(200));
        assert_eq!(
            read(&headers("0"), &[0, 0, 0, 0, 2, 0x08, 2], "").unwrap().0,
            Some(503)
        );
        assert_eq!(read(&headers("0"), &[0, 0, 0, 0, 0], "").unwrap().0, Some(503));
        assert_eq!(read(&headers("5"), &[], "x").unwrap().0, Some(503));
        assert!(read(&headers("12"), &[], "").is_err());
        assert!(read(&HeaderMap::new(), &serving, "").is_err());
    }
}
