//! A signed JSON post for programs.

use hmac::{Hmac, KeyInit, Mac};
use reqwest::Client;
use reqwest::header::CONTENT_TYPE;
use serde_json::json;
use sha2::Sha256;
use trimtab_model::Timestamp;

use crate::error::Failure;
use crate::message::Message;
use crate::{Webhook, http};

/// Version of the body's shape.
const VERSION: u32 = 1;

/// The value of `X-Trimtab-Signature`: `t=<seconds>,v1=<hex>`, the HMAC-SHA256 of `<seconds>.<body>` over the
/// raw bytes. A receiver computes it anew, compares in constant time, and refuses old seconds.
pub fn signature(secret: &str, at: Timestamp, body: &[u8]) -> String {
    let seconds = at.0.div_euclid(1_000);
    // HMAC takes a key of any length, so the error never comes; an empty signature would verify nowhere.
    let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(secret.as_bytes()) else {
        return String::new();
    };
    mac.update(format!("{seconds}.").as_bytes());
    mac.update(body);
    format!("t={seconds},v1={}", hex::encode(mac.finalize().into_bytes()))
}

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
