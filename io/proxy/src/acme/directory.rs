//! The way to the ACME server.

use std::future::Future;
use std::path::Path;
use std::pin::Pin;
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt, Full};
use instant_acme::{BodyWrapper, BytesResponse, Error, HttpClient};

/// One request takes at most this.
const TIMEOUT: Duration = Duration::from_secs(30);

struct Client(reqwest::Client);

/// A client that trusts `ca` alone, or the system's authorities without one. `Err` says what is wrong.
pub(super) fn client(ca: Option<&Path>) -> Result<Box<dyn HttpClient>, String> {
    let mut builder = reqwest::Client::builder().timeout(TIMEOUT);
    if let Some(path) = ca {
        let pem = std::fs::read(path).map_err(|error| format!("read {}: {error}", path.display()))?;
        let trusted = reqwest::Certificate::from_pem_bundle(&pem)
            .map_err(|error| format!("read {}: {error}", path.display()))?;
        builder = builder.tls_certs_only(trusted);
    }
    let client = builder.build().map_err(|error| error.to_string())?;
    Ok(Box::new(Client(client)))
}

impl HttpClient for Client {
    fn request(
        &self,
        request: Request<BodyWrapper<Bytes>>,
    ) -> Pin<Box<dyn Future<Output = Result<BytesResponse, Error>> + Send>> {
        let client = self.0.clone();
        Box::pin(async move {
            ask(client, request)
                .await
                .map_err(|error| Error::Other(error.into()))
        })
    }
}

async fn ask(client: reqwest::Client, request: Request<BodyWrapper<Bytes>>) -> Result<BytesResponse, String> {
    let (parts, body) = request.into_parts();
    let body = body.collect().await.map(|body| body.to_bytes());
    let body = body.unwrap_or_else(|never| match never {});
    let asked = client
        .request(parts.method, parts.uri.to_string())
        .headers(parts.headers)
        .body(body);
    let answer = asked.send().await.map_err(|error| causes(&error))?;
    let mut response = Response::builder().status(answer.status());
    if let Some(headers) = response.headers_mut() {
        *headers = answer.headers().clone();
    }
    let body = answer.bytes().await.map_err(|error| causes(&error))?;
    let response = response
        .body(Full::new(body))
        .map_err(|error| error.to_string())?;
    Ok(BytesResponse::from(response))
}

/// An error with what caused it: reqwest's own words end at "error sending request".
fn causes(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(next) = cause {
        text = format!("{text}: {next}");
        cause = next.source();
    }
    text
}
