//! Slack, email, SMS and webhooks: an outbox with retries.
