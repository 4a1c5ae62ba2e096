//! Posts over HTTP and what the answers mean.

use std::time::Duration;

use reqwest::header::RETRY_AFTER;
use reqwest::{Client, RequestBuilder, Response};

use crate::address::Guard;
use crate::error::Failure;
use crate::message::cut;

/// As much of an answer is kept for people.
const ANSWER_CHARS_MAX: usize = 300;
const ANSWER_BYTES_MAX: usize = 4_096;
/// A receiver cannot put us off for longer.
pub(crate) const RETRY_AFTER_MAX: Duration = Duration::from_secs(3_600);

/// A client that never follows redirects (they could lead to where the guard would not go) and asks no proxy.
pub(crate) fn client(timeout: Duration) -> Result<Client, Failure> {
    Client::builder()
        .timeout(timeout)
        .redirect(reqwest::redirect::Policy::none())
        .no_proxy()
        .dns_resolver(Guard)
        .user_agent(concat!("Trimtab/", env!("CARGO_PKG_VERSION")))
        .build()
        .map_err(|error| Failure::passing(format!("cannot set up TLS: {}", whole(&error))))
}

/// An error with its causes, without the address, which may be a secret.
fn whole(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        next = cause.source();
    }
    text
}

/// Sends and judges: 2xx is delivered; 408, 425, 429, 5xx and no answer at all are tried again; the rest are
/// permanent.
pub(crate) async fn send(request: RequestBuilder) -> Result<(), Failure> {
    let response = request.send().await.map_err(|error| {
        let timed_out = error.is_timeout();
        let error = error.without_url();
        Failure::passing(if timed_out {
            "no answer in time".to_owned()
        } else {
            whole(&error)
        })
    })?;
    let status = response.status();
    if status.is_success() {
        return Ok(());
    }
    let retry_after = response
        .headers()
        .get(RETRY_AFTER)
        .and_then(|value| value.to_str().ok()?.trim().parse().ok())
        .map(|seconds| Duration::from_secs(seconds).min(RETRY_AFTER_MAX));
    let answer = beginning(response).await;
    let passing = status.is_server_error() || matches!(status.as_u16(), 408 | 425 | 429);
    Err(Failure {
        reason: format!("answered {status}: {answer}"),
        permanent: !passing,
        retry_after,
    })
}

/// The beginning of an answer, on one line, without control characters.
async fn beginning(mut response: Response) -> String {
    let mut bytes = Vec::new();
    while bytes.len() < ANSWER_BYTES_MAX {
        match response.chunk().await {
            Ok(Some(chunk)) => bytes.extend_from_slice(&chunk[..chunk.len().min(ANSWER_BYTES_MAX)]),
            _ => break,
        }
    }
    let text: String = String::from_utf8_lossy(&bytes)
        .chars()
        .map(|c| if c.is_control() { ' ' } else { c })
        .collect();
    let text = text.trim();
    if text.is_empty() {
        "(empty)".to_owned()
    } else {
        cut(text, ANSWER_CHARS_MAX)
    }
}
