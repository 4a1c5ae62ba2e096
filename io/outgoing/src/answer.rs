//! What is kept of an answer.

use std::time::Duration;

use reqwest::header::RETRY_AFTER;
use reqwest::{RequestBuilder, Response};

use crate::client::whole;

/// A receiver cannot put us off for longer.
pub const RETRY_AFTER_MAX: Duration = Duration::from_secs(3_600);

/// What was answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// The status, `503`.
    pub code: u16,
    /// The same for people, `503 Service Unavailable`.
    pub status: String,
    /// How long the receiver asked us to wait.
    pub retry_after: Option<Duration>,
    /// The beginning of the body, on one line, without control characters. It may echo secrets that were sent.
    pub text: String,
}

/// Sends, and keeps at most `bytes_max` of the answer. The reason for people when there is none; it never holds
/// the address, which may be a secret.
pub async fn answer(request: RequestBuilder, bytes_max: usize) -> Result<Answer, String> {
    let response = request.send().await.map_err(|error| {
        if error.is_timeout() {
            "no answer in time".to_owned()
        } else {
            whole(&error.without_url())
        }
    })?;
    let status = response.status();
    let retry_after = response
        .headers()
        .get(RETRY_AFTER)
        .and_then(|value| value.to_str().ok()?.trim().parse().ok())
        .map(|seconds| Duration::from_secs(seconds).min(RETRY_AFTER_MAX));
    Ok(Answer {
        code: status.as_u16(),
        status: status.to_string(),
        retry_after,
        text: beginning(response, bytes_max).await,
    })
}

/// The beginning of an answer, on one line, without control characters.
async fn beginning(mut response: Response, bytes_max: usize) -> String {
    let mut bytes = Vec::new();
    while bytes.len() < bytes_max {
        match response.chunk().await {
            Ok(Some(chunk)) => {
                let room = bytes_max - bytes.len();
                bytes.extend_from_slice(&chunk[..chunk.len().min(room)]);
            }
            _ => break,
        }
    }
    let text: String = String::from_utf8_lossy(&bytes)
        .chars()
        .map(|c| if c.is_control() { ' ' } else { c })
        .collect();
    text.trim().to_owned()
}
