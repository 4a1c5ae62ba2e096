//! Posts over HTTP and what the answers mean.

use std::time::Duration;

use reqwest::{Client, RequestBuilder};
use trimtab_outgoing::answer;

use crate::error::Failure;
use crate::message::cut;

/// As much of an answer is kept for people.
const ANSWER_CHARS_MAX: usize = 300;
const ANSWER_BYTES_MAX: usize = 4_096;

pub(crate) fn client(timeout: Duration) -> Result<Client, Failure> {
    trimtab_outgoing::client(timeout).map_err(Failure::passing)
}

/// Sends and judges: 2xx is delivered; 408, 425, 429, 5xx and no answer at all are tried again; the rest are
/// permanent.
pub(crate) async fn send(request: RequestBuilder) -> Result<(), Failure> {
    let answer = answer(request, ANSWER_BYTES_MAX)
        .await
        .map_err(Failure::passing)?;
    let text = match answer.text.as_str() {
        "" => "(empty)".to_owned(),
        text => cut(text, ANSWER_CHARS_MAX),
    };
    match answer.code {
        200..=299 => Ok(()),
        code => Err(Failure {
            reason: format!("answered {}: {text}", answer.status),
            permanent: !matches!(code, 408 | 425 | 429 | 500..=599),
            retry_after: answer.retry_after,
        }),
    }
}
