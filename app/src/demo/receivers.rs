//! Stands in for Slack, the SMS provider and a webhook's receiver, and counts what arrives.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use anyhow::Result;
use axum::Router;
use axum::extract::State;
use axum::http::Uri;

/// How many messages arrived.
#[derive(Clone, Default)]
pub(super) struct Received {
    slack: Arc<AtomicU64>,
    sms: Arc<AtomicU64>,
    webhook: Arc<AtomicU64>,
}

impl Received {
    pub(super) fn text(&self) -> String {
        let counts = [&self.slack, &self.sms, &self.webhook].map(|count| count.load(Relaxed));
        format!(
            "{} on Slack, {} by SMS, {} by webhook",
            counts[0], counts[1], counts[2]
        )
    }
}

/// Starts the receivers on a free port and returns it.
pub(super) async fn start(received: Received) -> Result<u16> {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
    let port = listener.local_addr()?.port();
    let app = Router::new().fallback(take).with_state(received);
    tokio::spawn(async move { axum::serve(listener, app).await });
    Ok(port)
}

async fn take(State(received): State<Received>, uri: Uri) -> &'static str {
    match uri.path() {
        "/slack" => &received.slack,
        "/webhook" => &received.webhook,
        _ => &received.sms,
    }
    .fetch_add(1, Relaxed);
    "{}"
}
