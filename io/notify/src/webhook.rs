//! A signed JSON post for programs.

use reqwest::Client;
use reqwest::header::CONTENT_TYPE;
use serde_json::json;
use trimtab_model::Timestamp;
use trimtab_outgoing::signature;

use crate::error::Failure;
use crate::message::Message;
use crate::{Webhook, http};

/// Version of the body's shape.
const VERSION: u32 = 1;

pub(crate) fn payload(message: &Message) -> Vec<u8> {
    let fields: Vec<_> = message
        .fields
        .iter()
        .map(|(name, value)| json!({"name": name, "value": value}))
        .collect();
    json!({
        "version": VERSION,
        "key": message.key,
        "severity": message.severity,
        "title": message.title,
        "body": message.body,
        "link": message.link,
        "fields": fields,
    })
    .to_string()
    .into_bytes()
}

pub(crate) async fn send(
    client: &Client,
    webhook: &Webhook,
    message: &Message,
    now: Timestamp,
) -> Result<(), Failure> {
    let body = payload(message);
    // Keys may hold what headers may not.
    let delivery: String = message
        .key
        .chars()
        .map(|c| if c.is_ascii_graphic() { c } else { '_' })
        .collect();
    let request = client
        .post(&webhook.url)
        .header(CONTENT_TYPE, "application/json")
        .header("X-Trimtab-Delivery", delivery)
        .header(
            "X-Trimtab-Signature",
            signature(webhook.secret.expose(), now, &body),
        )
        .body(body);
    http::send(request).await.map_err(|failure| Failure {
        reason: webhook.secret.mask(&failure.reason),
        ..failure
    })
}
