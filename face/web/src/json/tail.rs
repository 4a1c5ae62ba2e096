//! `GET /api/v1/logs/tail`: log lines as they come.

use std::convert::Infallible;
use std::time::Duration;

use axum::extract::{Query, State};
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use futures_util::StreamExt as _;
use trimtab_api::{Fault, FaultCode, LogQuery};

use crate::failure::Failed;
use crate::state::App;

/// Each event is named `log` and carries one line as JSON.
pub(crate) async fn tail(State(app): State<App>, Query(query): Query<LogQuery>) -> Result<Response, Failed> {
    let permit = app.streams.clone().try_acquire_owned().map_err(|_| {
        Fault::new(
            FaultCode::TooMany,
            "failed to open one more live stream",
            "close other tabs, or raise the limit",
        )
    })?;
    let lines = app.backend.tail(query).await?;
    let mut closing = app.closing.clone();
    let closed = async move {
        let _ = closing.wait_for(|closing| *closing).await;
    };
    let events = lines.filter_map(move |line| {
        let _held = &permit;
        let event = Event::default().event("log").json_data(line).ok();
        async move { event.map(Ok::<_, Infallible>) }
    });
    let events = events.take_until(Box::pin(closed));
    Ok(Sse::new(events)
        .keep_alive(KeepAlive::new().interval(Duration::from_secs(15)))
        .into_response())
}
