//! Probes of instances that speak HTTP/2, each on a connection of its own: whether new ones are taken is
//! part of the question.

use std::net::SocketAddr;

use bytes::Bytes;
use http::{HeaderMap, Method, Request};
use http_body_util::BodyExt;

use super::grpc;
use super::health::BODY_BYTES_MAX;
use super::upstream_h2::{UploadBody, connect};

/// `GET path`: status and the beginning of the body.
pub(super) async fn ask(address: SocketAddr, path: &str) -> Result<(u16, String), String> {
    let request = request(Method::GET, address, path, None)?;
    let (status, _, body) = exchange(address, request).await?;
    Ok((status, String::from_utf8_lossy(&body).into_owned()))
}

/// Asks the standard gRPC health service for the whole server's health; 200 means that it serves.
pub(super) async fn ask_grpc(address: SocketAddr) -> Result<(u16, String), String> {
    let mut request = request(
        Method::POST,
        address,
        grpc::HEALTH_PATH,
        Some(grpc::HEALTH_REQUEST),
    )?;
    let headers = request.headers_mut();
    headers.insert("content-type", http::HeaderValue::from_static("application/grpc"));
    headers.insert("te", http::HeaderValue::from_static("trailers"));
    let (_, trailers, body) = exchange(address, request).await?;
    Ok(match grpc::counted_as(&trailers) {
        Some(200) if grpc::is_serving(&body, &trailers) => (200, "serving".to_owned()),
        Some(200) => (503, "not serving".to_owned()),
        // Without the service nobody has asked it to say more than that it answers.
        Some(501) => (200, "no grpc.health.v1.Health here".to_owned()),
        Some(status) => (status, "the health service failed".to_owned()),
        None => return Err("the answer has no gRPC status".to_owned()),
    })
}

fn request(
    method: Method,
    address: SocketAddr,
    path: &str,
    body: Option<Bytes>,
) -> Result<Request<UploadBody>, String> {
    Request::builder()
        .method(method)
        .uri(format!("http://{address}{path}"))
        .header("user-agent", "trimtab-probe")
        .body(UploadBody::Whole(body))
        .map_err(|error| error.to_string())
}

/// Status, headers with trailers, and the beginning of the body.
async fn exchange(
    address: SocketAddr,
    request: Request<UploadBody>,
) -> Result<(u16, HeaderMap, Vec<u8>), String> {
    let mut sender = connect(address).await.map_err(|error| error.to_string())?;
    let response = sender
        .send_request(request)
        .await
        .map_err(|error| error.to_string())?;
    let (mut parts, mut body) = response.into_parts();
    let mut text = Vec::new();
    // A body cut short still tells something.
    while let Some(Ok(frame)) = body.frame().await {
        match frame.into_data() {
            Ok(piece) => text.extend_from_slice(&piece),
            Err(frame) => parts.headers.extend(frame.into_trailers().unwrap_or_default()),
        }
        if text.len() >= BODY_BYTES_MAX {
            break;
        }
    }
    text.truncate(BODY_BYTES_MAX);
    Ok((parts.status.as_u16(), parts.headers, text))
}
