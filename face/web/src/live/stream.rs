//! `GET /live`: the stream itself.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::time::Duration;

use axum::Extension;
use axum::extract::{Query, State};
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use futures_util::stream::{self, Stream, StreamExt as _};
use http::HeaderMap;
use serde::Deserialize;
use tokio::sync::{OwnedSemaphorePermit, watch};
use tokio::time::{Instant, MissedTickBehavior, interval_at, sleep, sleep_until};
use trimtab_api::{Change, DashboardQuery, Fault, FaultCode, Topic};

use super::hub::{Changed, Place};
use crate::auth::{Caller, principal_of};
use crate::failure::Failed;
use crate::pages::{Moving, moving_figures};
use crate::state::{App, now};
use crate::text::Language;

/// How often the moving numbers are told.
const FIGURES_EVERY: Duration = Duration::from_secs(1);
/// How often it is checked that the session still holds.
const CHECK_EVERY: Duration = Duration::from_secs(30);
/// Changes within this time are told together.
const GATHER: Duration = Duration::from_millis(150);
/// Topics that one stream may name.
const TOPICS_MAX: usize = 64;

/// What a tab wants to hear.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Wanted {
    /// Topics, separated by commas.
    topics: String,
    /// `1`: the moving numbers of the overview too.
    figures: Option<String>,
    service: Option<String>,
    environment: Option<String>,
    minutes: Option<u32>,
    /// The last event seen, for a tab that was hidden (scripts cannot set the header).
    last: Option<String>,
}

/// `GET /live`.
pub(crate) async fn live(
    State(app): State<App>,
    Extension(caller): Extension<Caller>,
    headers: HeaderMap,
    Query(wanted): Query<Wanted>,
) -> Result<Response, Failed> {
    let permit = app.streams.clone().try_acquire_owned().map_err(|_| {
        Fault::new(
            FaultCode::TooMany,
            "failed to open one more live stream",
            "close other tabs, or raise the limit",
        )
    })?;
    let last = headers
        .get("last-event-id")
        .and_then(|value| value.to_str().ok())
        .or(wanted.last.as_deref());
    let mut check = interval_at(Instant::now() + CHECK_EVERY, CHECK_EVERY);
    check.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let reader = Reader {
        // A new stream begins at the present: its page has just been rendered. One that resumes with
        // an id that cannot be read hears that anything may have changed.
        seen: match last.map(Place::parse) {
            None => app.hub.place(),
            Some(place) => place.unwrap_or(Place {
                epoch: 0,
                sequence: 0,
            }),
        },
        changes: app.hub.watch(),
        closing: app.closing.clone(),
        figures: (wanted.figures.as_deref() == Some("1")).then_some(DashboardQuery {
            service: wanted.service,
            environment: wanted.environment,
            minutes: wanted.minutes,
        }),
        figures_at: Instant::now(),
        told: BTreeMap::new(),
        check,
        language: Language::of(&headers),
        topics: wanted
            .topics
            .split(',')
            .take(TOPICS_MAX)
            .filter_map(|text| text.parse().ok())
            .collect(),
        caller,
        app,
        opened: false,
        _permit: permit,
    };
    let keep = KeepAlive::new()
        .interval(Duration::from_secs(15))
        .text("still here");
    Ok(Sse::new(events(reader)).keep_alive(keep).into_response())
}

/// Why a stream woke.
enum Woken {
    Closing,
    Check,
    Changed,
    Figures,
}

struct Reader {
    app: App,
    caller: Caller,
    language: Language,
    topics: Vec<Topic>,
    seen: Place,
    changes: watch::Receiver<u64>,
    closing: watch::Receiver<bool>,
    figures: Option<DashboardQuery>,
    figures_at: Instant,
    /// Newest time told of each chart, in milliseconds.
    told: BTreeMap<String, i64>,
    check: tokio::time::Interval,
    opened: bool,
    _permit: OwnedSemaphorePermit,
}

fn events(reader: Reader) -> impl Stream<Item = Result<Event, Infallible>> {
    stream::unfold(reader, |mut reader| async move {
        reader.next().await.map(|event| (Ok(event), reader))
    })
    .boxed()
}

impl Reader {
    /// The next event; none when the stream is over. Only asked for when the tab took the last one,
    /// so a slow tab hears less, and never late.
    async fn next(&mut self) -> Option<Event> {
        if !self.opened {
            self.opened = true;
            self.changes.mark_changed();
            let id = self.seen.to_string();
            return Some(
                Event::default()
                    .event("open")
                    .id(id)
                    .retry(Duration::from_secs(2))
                    .data("{}"),
            );
        }
        loop {
            let woken = tokio::select! {
                biased;
                _ = self.closing.wait_for(|closing| *closing) => Woken::Closing,
                _ = self.check.tick() => Woken::Check,
                changed = self.changes.changed() => if changed.is_ok() { Woken::Changed } else { Woken::Closing },
                () = sleep_until(self.figures_at), if self.figures.is_some() => Woken::Figures,
            };
            let event = match woken {
                Woken::Closing => return None,
                Woken::Check if !self.still_allowed().await => return None,
                Woken::Check => None,
                Woken::Changed => {
                    sleep(GATHER).await;
                    self.changed()
                }
                Woken::Figures => {
                    self.figures_at = Instant::now() + FIGURES_EVERY;
                    self.moved().await
                }
            };
            if event.is_some() {
                return event;
            }
        }
    }

    fn changed(&mut self) -> Option<Event> {
        self.changes.mark_unchanged();
        let place = self.app.hub.place();
        let topics: Vec<String> = match self.app.hub.since(self.seen) {
            Changed::Anything => vec!["*".to_owned()],
            Changed::Topics(topics) => topics
                .iter()
                .filter(|topic| self.topics.contains(topic))
                .map(ToString::to_string)
                .collect(),
        };
        self.seen = place;
        if topics.is_empty() {
            return None;
        }
        Event::default()
            .event("changed")
            .id(place.to_string())
            .json_data(Change { topics })
            .ok()
    }

    async fn moved(&mut self) -> Option<Event> {
        let query = self.figures.clone()?;
        let dashboard = self
            .app
            .dashboards
            .get(self.app.backend.as_ref(), query)
            .await
            .ok()?;
        let moving: Moving = moving_figures(&dashboard, self.language, &mut self.told);
        Event::default()
            .event("figures")
            .id(self.seen.to_string())
            .json_data(moving)
            .ok()
    }

    async fn still_allowed(&self) -> bool {
        // A program's token was checked at the beginning; its next request is checked again.
        let Some(session) = &self.caller.session else {
            return true;
        };
        let app = &self.app;
        app.sessions.holds(session, now()) && matches!(principal_of(app, &session.subject).await, Ok(Some(_)))
    }
}
