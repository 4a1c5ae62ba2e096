//! Requests on the streams of one HTTP/2 connection.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Empty};
use hyper::Request;
use hyper::client::conn::http2::{SendRequest, handshake};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::net::TcpStream;
use tokio::sync::Mutex;

use super::{Square, in_time};

const PAUSE: Duration = Duration::from_millis(100);

/// The server had said goodbye without an error, so that the request was not worked on and may be sent anew
/// (RFC 9113, 6.8).
const GONE_AWAY: &str = "NO_ERROR, Remote";

/// The connection that all streams share, once there is one.
pub(crate) type Shared = Arc<Mutex<Option<SendRequest<Empty<Bytes>>>>>;

/// Request after request, each on a stream of its own.
pub(crate) async fn http2(square: Arc<Square>, shared: Shared, number: u32) {
    tokio::time::sleep(PAUSE * number / 4).await;
    while !square.is_over() {
        let in_flight = square.enter();
        match ask(&square, &shared).await {
            Ok(release) => square.good("http2 stream", &release),
            Err(what) => {
                *shared.lock().await = None;
                in_flight.failed("http2 stream", what);
            }
        }
        drop(in_flight);
        tokio::time::sleep(PAUSE).await;
    }
}

async fn ask(square: &Square, shared: &Shared) -> Result<String, String> {
    for _ in 0..3 {
        let mut connection = connection(square, shared).await?;
        let uri = format!("http://{}/work", square.to);
        let request = Request::get(uri).body(Empty::new()).unwrap();
        let sent = connection.try_send_request(request);
        let answer = match tokio::time::timeout(super::PATIENCE, sent).await {
            Ok(Ok(answer)) => answer,
            // The connection had ended before anything left this client: nobody was refused.
            Ok(Err(error)) if error.message().is_some() => {
                *shared.lock().await = None;
                square.note("http2 requests that met an ended connection", 1);
                continue;
            }
            Ok(Err(error)) => {
                let error = format!("{:?}", error.into_error());
                if !error.contains(GONE_AWAY) {
                    return Err(format!("asking: {error}"));
                }
                *shared.lock().await = None;
                square.note("http2 requests that met an ended connection", 1);
                continue;
            }
            Err(_) => return Err("asking: no answer".to_owned()),
        };
        let (head, body) = answer.into_parts();
        in_time("reading", body.collect()).await?;
        let release = head.headers.get("x-release");
        let release = release.and_then(|value| value.to_str().ok()).unwrap_or_default();
        return match head.status.as_u16() {
            200..400 => Ok(release.to_owned()),
            status => Err(format!("{status} by {release:?}")),
        };
    }
    Err("three new connections ended before a request".to_owned())
}

async fn connection(square: &Square, shared: &Shared) -> Result<SendRequest<Empty<Bytes>>, String> {
    let mut shared = shared.lock().await;
    if let Some(connection) = shared.as_ref().filter(|connection| !connection.is_closed()) {
        return Ok(connection.clone());
    }
    let stream = in_time("connecting", TcpStream::connect(square.to)).await?;
    let shook = handshake(TokioExecutor::new(), TokioIo::new(stream));
    let (connection, driver) = in_time("shaking hands", shook).await?;
    tokio::spawn(driver);
    *shared = Some(connection.clone());
    Ok(connection)
}
