//! Speaks to the engine over its Unix socket.

use std::path::{Path, PathBuf};
use std::time::Duration;

use bytes::Bytes;
use futures_util::{Stream, StreamExt, stream};
use http::{Method, Request};
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Incoming;
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::net::UnixStream;

/// The version of the API that is spoken: Debian 12's engine and Podman 4 know it.
const VERSION: &str = "v1.41";
/// Longest answer that is read as a whole.
const ANSWER_BYTES_MAX: usize = 8 * 1024 * 1024;
/// How long an answer may take, beyond what the engine is asked to wait for.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

/// Why the engine did not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum EngineError {
    /// It cannot be reached.
    #[error(
        "reach the container engine at {socket}: {reason}; is it running, and may this user use its socket?"
    )]
    Unreachable {
        /// Its socket.
        socket: PathBuf,
        /// What happened.
        reason: String,
    },
    /// It refused.
    #[error("have the container engine {doing}: {message} (status {status})")]
    Refused {
        /// What it was asked.
        doing: String,
        /// Its answer's status.
        status: u16,
        /// Its words.
        message: String,
    },
}

impl EngineError {
    /// Whether it refused because there is no such thing.
    pub(crate) fn is_missing(&self) -> bool {
        matches!(self, EngineError::Refused { status: 404, .. })
    }

    pub(crate) fn refused(doing: &str, message: impl Into<String>) -> Self {
        EngineError::Refused {
            doing: doing.to_owned(),
            status: 200,
            message: message.into(),
        }
    }
}

/// An engine behind a socket. Each request has a connection of its own.
#[derive(Debug, Clone)]
pub(crate) struct Engine {
    socket: PathBuf,
}

impl Engine {
    pub(crate) fn new(socket: &Path) -> Self {
        Engine {
            socket: socket.to_owned(),
        }
    }

    pub(crate) async fn get(&self, path: &str) -> Result<Value, EngineError> {
        self.call(Method::GET, path, None, PATIENCE).await
    }

    pub(crate) async fn post(&self, path: &str, body: Option<&Value>) -> Result<Value, EngineError> {
        self.call(Method::POST, path, body, PATIENCE).await
    }

    pub(crate) async fn delete(&self, path: &str) -> Result<Value, EngineError> {
        self.call(Method::DELETE, path, None, PATIENCE).await
    }

    /// Asks, and reads the answer as JSON; null when it has no body.
    pub(crate) async fn call(
        &self,
        method: Method,
        path: &str,
        body: Option<&Value>,
        patience: Duration,
    ) -> Result<Value, EngineError> {
        let asked = async {
            let body = self.send(method, path, body).await?;
            let whole = Limited::new(body, ANSWER_BYTES_MAX).collect().await;
            let bytes = whole.map_err(|error| self.unreachable(error))?.to_bytes();
            Ok(serde_json::from_slice(&bytes).unwrap_or(Value::Null))
        };
        match tokio::time::timeout(patience, asked).await {
            Ok(answer) => answer,
            Err(_) => Err(self.unreachable(format!("no answer within {patience:?}"))),
        }
    }

    /// Asks, and hands on the answer piece by piece.
    pub(crate) async fn stream(
        &self,
        method: Method,
        path: &str,
        body: Option<&Value>,
    ) -> Result<impl Stream<Item = Bytes> + Send + use<>, EngineError> {
        let body = tokio::time::timeout(PATIENCE, self.send(method, path, body)).await;
        let body = body.map_err(|_| self.unreachable(format!("no answer within {PATIENCE:?}")))??;
        Ok(stream::unfold(body, |mut body: Incoming| async {
            let frame = body.frame().await?.ok()?;
            Some((frame.into_data().unwrap_or_default(), body))
        })
        .filter(|piece| std::future::ready(!piece.is_empty())))
    }

    async fn send(&self, method: Method, path: &str, body: Option<&Value>) -> Result<Incoming, EngineError> {
        let stream = UnixStream::connect(&self.socket)
            .await
            .map_err(|error| self.unreachable(error))?;
        let handshake = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await;
        let (mut sender, connection) = handshake.map_err(|error| self.unreachable(error))?;
        tokio::spawn(connection);
        let text = body.map(Value::to_string).unwrap_or_default();
        let request = Request::builder()
            .method(&method)
            .uri(format!("/{VERSION}{path}"))
            .header("host", "engine")
            .header("content-type", "application/json")
            .body(Full::new(Bytes::from(text)))
            .map_err(|error| self.unreachable(error))?;
        let response = sender
            .send_request(request)
            .await
            .map_err(|error| self.unreachable(error))?;
        let status = response.status();
        if status.is_success() || status.as_u16() == 304 {
            return Ok(response.into_body());
        }
        let whole = Limited::new(response.into_body(), ANSWER_BYTES_MAX)
            .collect()
            .await;
        let bytes = whole.map(http_body_util::Collected::to_bytes).unwrap_or_default();
        let said: Value = serde_json::from_slice(&bytes).unwrap_or(Value::Null);
        // The request's path is what it was asked; its query may hold more than people want to read.
        let asked = path.split('?').next().unwrap_or(path);
        Err(EngineError::Refused {
            doing: format!("answer {method} {asked}"),
            status: status.as_u16(),
            message: said["message"].as_str().unwrap_or("it gave no reason").to_owned(),
        })
    }

    fn unreachable(&self, reason: impl ToString) -> EngineError {
        EngineError::Unreachable {
            socket: self.socket.clone(),
            reason: reason.to_string(),
        }
    }
}
