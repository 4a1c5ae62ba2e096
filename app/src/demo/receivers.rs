//! Stands in for Slack, the SMS provider, a mail server and a webhook's receiver, and counts what arrives.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use anyhow::Result;
use axum::Router;
use axum::extract::State;
use axum::http::Uri;

use super::mailbox;

/// How many messages arrived.
#[derive(Clone, Default)]
pub(super) struct Received {
    slack: Arc<AtomicU64>,
    sms: Arc<AtomicU64>,
    email: Arc<AtomicU64>,
    webhook: Arc<AtomicU64>,
}

/// Where the receivers listen.
pub(super) struct Inboxes {
    pub(super) http: u16,
    pub(super) smtp: u16,
}

impl Received {
    pub(super) fn text(&self) -> String {
        let [slack, email, sms, webhook] =
            [&self.slack, &self.email, &self.sms, &self.webhook].map(|count| count.load(Relaxed));
        format!("{slack} on Slack, {email} by email, {sms} by SMS, {webhook} by webhook")
    }
}

/// Starts the receivers on free ports.
pub(super) async fn start(received: &Received) -> Result<Inboxes> {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
    let http = listener.local_addr()?.port();
    let app = Router::new().fallback(take).with_state(received.clone());
    tokio::spawn(async move { axum::serve(listener, app).await });
    let email = Arc::clone(&received.email);
    let smtp = mailbox::start(move |_| {
        email.fetch_add(1, Relaxed);
    })
    .await?;
    Ok(Inboxes { http, smtp })
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
