//! One worker for each channel: takes what is due, one at a time, and writes down what became of it.

use std::sync::Arc;
use std::time::Duration;

use reqwest::Client;
use sqlx::Row;
use trimtab_model::Timestamp;

use crate::error::Failure;
use crate::message::Channel;
use crate::outbox::{Delivery, Shared, now};
use crate::{NotifyError, email, http, slack, sms, table, webhook};

/// Looks again at least this often, whatever it was told, since wall clocks jump.
const LOOK_MAX: Duration = Duration::from_secs(30);
/// Pause after the outbox itself failed (a full disk).
const TROUBLE_PAUSE: Duration = Duration::from_secs(5);

pub(crate) async fn run(shared: Arc<Shared>, channel: Channel) {
    let mut client = None;
    loop {
        match next(&shared, channel).await {
            Ok(Next::Due(delivery)) => {
                if let Err(error) = attempt(&shared, &mut client, *delivery).await {
                    tracing::error!(%error, channel = channel.as_str(), "failed to write down a delivery");
                    tokio::time::sleep(TROUBLE_PAUSE).await;
                }
            }
            Ok(Next::Wait(pause)) => {
                tokio::select! {
                    () = shared.wake[channel as usize].notified() => {}
                    () = tokio::time::sleep(pause.min(LOOK_MAX)) => {}
                }
            }
            Err(error) => {
                tracing::error!(%error, channel = channel.as_str(), "failed to look for deliveries");
                tokio::time::sleep(TROUBLE_PAUSE).await;
            }
        }
    }
}

enum Next {
    Due(Box<Delivery>),
    Wait(Duration),
}

async fn next(shared: &Shared, channel: Channel) -> Result<Next, NotifyError> {
    let row = sqlx::query(
        "SELECT * FROM deliveries WHERE status = 'waiting' AND channel = ? ORDER BY next_at, id LIMIT 1",
    )
    .bind(channel.as_str())
    .fetch_optional(&shared.pool)
    .await
    .map_err(|error| shared.named(&error))?;
    let Some(row) = row else {
        return Ok(Next::Wait(LOOK_MAX));
    };
    let now = now();
    match table::delivery(&row).map_err(|error| shared.named(&error))? {
        // No pause is longer than this, so a time further off was written by a clock that ran ahead.
        Some(delivery) if delivery.next_at > now && delivery.next_at.since(now) <= furthest(shared) => {
            Ok(Next::Wait(delivery.next_at.since(now)))
        }
        Some(delivery) => Ok(Next::Due(Box::new(delivery))),
        None => {
            let id = row
                .try_get::<i64, _>("id")
                .map_err(|error| shared.named(&error))?;
            finish(
                shared,
                id,
                "dead",
                Some("the outbox cannot read this message"),
                now,
            )
            .await?;
            Ok(Next::Wait(Duration::ZERO))
        }
    }
}

fn furthest(shared: &Shared) -> Duration {
    shared.schedule.pause_max.max(trimtab_outgoing::RETRY_AFTER_MAX)
}

async fn attempt(
    shared: &Shared,
    client: &mut Option<Client>,
    delivery: Delivery,
) -> Result<(), NotifyError> {
    let schedule = &shared.schedule;
    let id = delivery.id;
    let attempt = delivery.attempts + 1;
    if attempt > schedule.attempts_max {
        // The process was killed during the last attempt.
        return finish(shared, id, "dead", delivery.error.as_deref(), now()).await;
    }
    // Written down before it is begun: a message that kills the process cannot do so for ever.
    let next_at = now().plus(schedule.pause(id, attempt));
    sqlx::query("UPDATE deliveries SET attempts = ?, next_at = ? WHERE id = ?")
        .bind(attempt)
        .bind(next_at.0)
        .bind(id)
        .execute(&shared.pool)
        .await
        .map_err(|error| shared.named(&error))?;
    let sent = match tokio::time::timeout(schedule.attempt_timeout, deliver(shared, client, &delivery)).await
    {
        Ok(sent) => sent,
        Err(_) => Err(Failure::passing("no answer in time")),
    };
    write_down(shared, &delivery, attempt, sent).await
}

/// What became of an attempt: delivered, dead, or waiting for the next one.
async fn write_down(
    shared: &Shared,
    delivery: &Delivery,
    attempt: u32,
    sent: Result<(), Failure>,
) -> Result<(), NotifyError> {
    let (id, key, channel) = (
        delivery.id,
        &delivery.message.key,
        delivery.message.channel.as_str(),
    );
    let failure = match sent {
        Ok(()) => {
            tracing::info!(id, key, channel, attempt, "notification delivered");
            return finish(shared, id, "delivered", None, now()).await;
        }
        Err(failure) => failure,
    };
    let reason = &failure.reason;
    if failure.permanent || attempt >= shared.schedule.attempts_max {
        tracing::error!(id, key, channel, attempt, reason, "notification is a dead letter");
        return finish(shared, id, "dead", Some(reason), now()).await;
    }
    let pause = shared
        .schedule
        .pause(id, attempt)
        .max(failure.retry_after.unwrap_or_default());
    tracing::warn!(id, key, channel, attempt, reason, ?pause, "notification failed");
    sqlx::query("UPDATE deliveries SET next_at = ?, error = ? WHERE id = ?")
        .bind(now().plus(pause).0)
        .bind(reason)
        .bind(id)
        .execute(&shared.pool)
        .await
        .map_err(|error| shared.named(&error))?;
    shared.changes.send_modify(|count| *count += 1);
    Ok(())
}

async fn finish(
    shared: &Shared,
    id: i64,
    status: &'static str,
    error: Option<&str>,
    at: Timestamp,
) -> Result<(), NotifyError> {
    sqlx::query("UPDATE deliveries SET status = ?, error = ?, ended_at = ? WHERE id = ?")
        .bind(status)
        .bind(error)
        .bind(at.0)
        .bind(id)
        .execute(&shared.pool)
        .await
        .map_err(|error| shared.named(&error))?;
    shared.changes.send_modify(|count| *count += 1);
    Ok(())
}

async fn deliver(shared: &Shared, client: &mut Option<Client>, delivery: &Delivery) -> Result<(), Failure> {
    let message = &delivery.message;
    let gone = || Failure::permanent("its receiver is not configured any more");
    let timeout = shared.schedule.attempt_timeout;
    if message.channel == Channel::Email {
        let email = shared.receivers.email.as_ref().ok_or_else(gone)?;
        return email::send(email, message, timeout).await;
    }
    let client = match client {
        Some(client) => client,
        none => none.insert(http::client(timeout)?),
    };
    match message.channel {
        Channel::Slack => {
            slack::send(client, shared.receivers.slack.as_ref().ok_or_else(gone)?, message).await
        }
        Channel::Webhook => {
            let webhook = shared.receivers.webhook.as_ref().ok_or_else(gone)?;
            webhook::send(client, webhook, message, now()).await
        }
        Channel::Sms => {
            let sms = shared.receivers.sms.as_ref().ok_or_else(gone)?;
            // One that had no receiver when it was enqueued goes to the first number.
            let to = if delivery.recipient.is_empty() {
                sms.to.first()
            } else {
                Some(&delivery.recipient)
            };
            sms::send(client, sms, to.ok_or_else(gone)?, message).await
        }
        Channel::Email => Err(gone()),
    }
}
