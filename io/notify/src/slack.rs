//! Slack's incoming webhook: blocks, with a plain text for notifications and screen readers.

use reqwest::Client;
use serde_json::{Value, json};
use trimtab_model::Severity;

use crate::error::Failure;
use crate::message::{Message, cut};
use crate::{Slack, http};

/// Limits of Slack's Block Kit, in characters; and fields in one section.
const HEADER_CHARS_MAX: usize = 150;
const SECTION_CHARS_MAX: usize = 3_000;
const FIELD_CHARS_MAX: usize = 2_000;
const FIELDS_PER_SECTION: usize = 10;

/// Slack's three control characters; without this a message could ping `<!channel>` or fake a link.
fn escape(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
}

/// Cut first and leave room: an escaped character takes up to five.
fn fit(text: &str, chars_max: usize) -> String {
    let mut keep = chars_max;
    loop {
        let escaped = escape(&cut(text, keep));
        let over = escaped.chars().count().saturating_sub(chars_max);
        if over == 0 {
            return escaped;
        }
        keep = keep.saturating_sub(over.div_ceil(4).max(1));
    }
}

fn sign(severity: Severity) -> &'static str {
    match severity {
        Severity::Critical => "🔴",
        Severity::High => "🟠",
        Severity::Medium => "🟡",
        Severity::Low => "🔵",
    }
}

pub(crate) fn payload(message: &Message) -> Value {
    let headline = format!("{} {}", sign(message.severity), message.headline());
    let mut blocks = vec![json!({
        "type": "header",
        "text": {"type": "plain_text", "text": fit(&headline, HEADER_CHARS_MAX), "emoji": true},
    })];
    if !message.body.trim().is_empty() {
        let text = fit(&message.body, SECTION_CHARS_MAX);
        blocks.push(json!({"type": "section", "text": {"type": "mrkdwn", "text": text}}));
    }
    for chunk in message.fields.chunks(FIELDS_PER_SECTION) {
        let field = |(name, value): &(String, String)| json!({"type": "mrkdwn", "text": format!("*{}*\n{}", fit(name, 200), fit(value, FIELD_CHARS_MAX - 300))});
        blocks.push(json!({"type": "section", "fields": chunk.iter().map(field).collect::<Vec<_>>()}));
    }
    if let Some(link) = &message.link {
        let link = escape(link).replace('|', "%7C");
        blocks.push(json!({
            "type": "section",
            "text": {"type": "mrkdwn", "text": format!("<{link}|Open in Trimtab>")},
        }));
    }
    json!({"text": fit(&headline, SECTION_CHARS_MAX), "blocks": blocks})
}

pub(crate) async fn send(client: &Client, slack: &Slack, message: &Message) -> Result<(), Failure> {
    let request = client.post(slack.webhook.expose()).json(&payload(message));
    http::send(request).await.map_err(|failure| Failure {
        reason: slack.webhook.mask(&failure.reason),
        ..failure
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cut_text_fits_escaped_too() {
        for max in [5, 150] {
            for text in ["&".repeat(200), "é<".repeat(200), "x".repeat(151)] {
                assert!(fit(&text, max).chars().count() <= max);
            }
        }
        assert_eq!(fit("<!channel> a&b", 100), "&lt;!channel&gt; a&amp;b");
    }
}
