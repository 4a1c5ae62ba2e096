//! `GET /ofrep/v1/stream`: tells that flags changed, so that providers ask again at once.

use std::convert::Infallible;
use std::time::Duration;

use axum::extract::{Query, State};
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use futures_util::stream;
use serde::Deserialize;
use serde_json::json;
use tokio::sync::OwnedSemaphorePermit;
use tokio::sync::broadcast::{self, error::RecvError};
use tokio::sync::watch;
use trimtab_api::{Fault, FaultCode, Topic};

use super::{Place, ticket};
use crate::failure::Failed;
use crate::state::{App, now};

#[derive(Debug, Deserialize)]
pub(crate) struct Address {
    service: String,
    environment: String,
    ends: i64,
    ticket: String,
}

struct Reader {
    topic: Topic,
    changes: broadcast::Receiver<Topic>,
    closing: watch::Receiver<bool>,
    ends: i64,
    told: u64,
    _permit: OwnedSemaphorePermit,
}

/// Opens a stream.
pub(crate) async fn stream(
    State(app): State<App>,
    Query(address): Query<Address>,
) -> Result<Response, Failed> {
    let place = Place {
        service: address.service,
        environment: address.environment,
    };
    let key = &app.config.session_key;
    if !ticket::opens(key, &place, address.ends, &address.ticket, now()) {
        return Err(Fault::new(
            FaultCode::Unauthenticated,
            "failed to accept the ticket: it is wrong or over",
            "evaluate all flags again and take the address from that answer",
        )
        .into());
    }
    let permit = app.streams.clone().try_acquire_owned().map_err(|_| {
        Fault::new(
            FaultCode::TooMany,
            "failed to open one more live stream",
            "close others, or raise the limit",
        )
    })?;
    let reader = Reader {
        topic: Topic::Flags(place.to_string()),
        changes: app.backend.changes(),
        closing: app.closing.clone(),
        ends: address.ends,
        told: 0,
        _permit: permit,
    };
    let events = stream::unfold(reader, |mut reader| async move {
        let event = reader.next().await?;
        Some((Ok::<_, Infallible>(event), reader))
    });
    let keep = KeepAlive::new()
        .interval(Duration::from_secs(15))
        .text("still here");
    Ok(Sse::new(events).keep_alive(keep).into_response())
}

impl Reader {
    async fn next(&mut self) -> Option<Event> {
        loop {
            let left = u64::try_from(self.ends.saturating_sub(now().0)).unwrap_or(0);
            let changed = tokio::select! {
                biased;
                _ = self.closing.wait_for(|closing| *closing) => return None,
                () = tokio::time::sleep(Duration::from_millis(left)) => return None,
                changed = self.changes.recv() => changed,
            };
            match changed {
                Ok(topic) if topic != self.topic => {}
                // Whoever lags may have missed a change: asking again is harmless.
                Ok(_) | Err(RecvError::Lagged(_)) => return Some(self.refetch()),
                Err(RecvError::Closed) => return None,
            }
        }
    }

    fn refetch(&mut self) -> Event {
        self.told += 1;
        let at = now().0;
        let data = json!({ "type": "refetchEvaluation", "lastModified": at.div_euclid(1_000) });
        Event::default()
            .id(format!("{at}-{}", self.told))
            .event("message")
            .data(data.to_string())
    }
}
