//! Answers to an ACME server that asks whether a host is ours (RFC 8555 §8.3), from the files that
//! `serve` writes before it is asked.

use super::lane::Lane;
use super::page::Page;
use crate::acme::is_token;
use crate::http1::RequestHead;

const PREFIX: &str = "/.well-known/acme-challenge/";
/// An answer is shorter: a token and a hash.
const ANSWER_BYTES_MAX: usize = 1_024;

/// The answer, if this asks for one that is there; services may have challenges of their own.
pub(super) async fn answer(lane: &Lane, head: &RequestHead) -> Option<Page> {
    let token = head.path().strip_prefix(PREFIX.as_bytes())?;
    let token = std::str::from_utf8(token).ok().filter(|token| is_token(token))?;
    let text = tokio::fs::read(lane.config.challenges.join(token)).await.ok()?;
    (text.len() <= ANSWER_BYTES_MAX).then(|| Page {
        content_type: "application/octet-stream",
        body: text.into(),
        ..Page::text(200, "")
    })
}
