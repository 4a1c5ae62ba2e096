//! The one way in: store durably, show to the analysers, answer.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tokio::sync::{Semaphore, SemaphorePermit};
use trimtab_model::Identity;
use trimtab_series::Series;
use trimtab_store::SignalStore;
use trimtab_telemetry::Batch;
use trimtab_telemetry::otlp::{Decoded, DeltaKeeper};

use crate::counters::{Counters, Signal, Trouble};
use crate::{Identities, IngestError, IngestStats, Sink, identities};

/// Most requests that are read and stored at once; with the size limits this bounds the memory.
const REQUESTS_MAX: usize = 32;
/// How long a request waits for its turn before the sender is told to come back.
const TURN_WAIT_MAX: Duration = Duration::from_secs(2);
/// Delta series without a point for this long are forgotten.
const DELTA_IDLE_MS_MAX: i64 = 60 * 60 * 1000;
/// How often that is looked at.
const DELTA_SWEEP_MS: i64 = 60 * 1000;

/// The way in, shared by listeners, scrapers and the control loop. Cheap to clone.
#[derive(Clone)]
pub struct Intake {
    inner: Arc<Inner>,
}

struct Inner {
    identities: Arc<dyn Identities>,
    series: Series,
    store: Arc<dyn SignalStore>,
    sink: Sink,
    counters: Counters,
    deltas: Mutex<Deltas>,
    turns: Semaphore,
}

#[derive(Default)]
struct Deltas {
    keeper: DeltaKeeper,
    swept_ms: i64,
}

impl fmt::Debug for Intake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Intake").finish_non_exhaustive()
    }
}

/// What the sender of a request is told.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Answer {
    pub(crate) rejected: u64,
    pub(crate) message: String,
}

impl Intake {
    /// A way into these stores; `sink` sees everything once it is stored.
    pub fn new(
        identities: Arc<dyn Identities>,
        series: Series,
        store: Arc<dyn SignalStore>,
        sink: Sink,
    ) -> Self {
        Intake {
            inner: Arc::new(Inner {
                identities,
                series,
                store,
                sink,
                counters: Counters::default(),
                deltas: Mutex::default(),
                turns: Semaphore::new(REQUESTS_MAX),
            }),
        }
    }

    /// Stores rows of Trimtab's own making (scrapes, log lines, events, proxy frames); on return they
    /// are durable. `key` makes a repeated append of logs, spans and events harmless; empty for none.
    /// Gives how many rows were refused.
    ///
    /// # Errors
    /// The stores'; then some of the rows may have been stored.
    pub async fn append(&self, batch: Batch, key: &str) -> Result<u64, IngestError> {
        Ok(self.store(batch, key).await?.rejected)
    }

    /// Figures since the start.
    pub fn stats(&self) -> IngestStats {
        IngestStats {
            batches_missed: self.inner.sink.missed(),
            ..self.inner.counters.snapshot()
        }
    }

    /// The stream of what was stored.
    pub fn sink(&self) -> &Sink {
        &self.inner.sink
    }

    pub(crate) fn counters(&self) -> &Counters {
        &self.inner.counters
    }

    pub(crate) fn identify(&self, headers: &http::HeaderMap) -> Option<Identity> {
        let identity = identities::of(headers, self.inner.identities.as_ref());
        if identity.is_none() {
            self.inner.counters.refuse(Trouble::Unauthenticated);
        }
        identity
    }

    /// A turn to read and store one request; none if there are too many already.
    pub(crate) async fn turn(&self) -> Option<SemaphorePermit<'_>> {
        let turn = tokio::time::timeout(TURN_WAIT_MAX, self.inner.turns.acquire()).await;
        let turn = turn.ok().and_then(Result::ok);
        if turn.is_none() {
            self.inner.counters.refuse(Trouble::Overloaded);
        }
        turn
    }

    /// Runs a decoder of metrics with the running totals of delta series.
    pub(crate) fn with_deltas<T>(&self, now_nanos: u64, decode: impl FnOnce(&mut DeltaKeeper) -> T) -> T {
        let mut deltas = self.inner.deltas.lock().unwrap_or_else(PoisonError::into_inner);
        let now_ms = i64::try_from(now_nanos / 1_000_000).unwrap_or(i64::MAX);
        if now_ms.saturating_sub(deltas.swept_ms) > DELTA_SWEEP_MS {
            deltas.keeper.forget(now_ms - DELTA_IDLE_MS_MAX);
            deltas.swept_ms = now_ms;
        }
        decode(&mut deltas.keeper)
    }

    /// Stores what a request held and says what to tell its sender.
    pub(crate) async fn take(&self, signal: Signal, decoded: Decoded) -> Result<Answer, IngestError> {
        let counters = &self.inner.counters;
        counters.cut(signal, decoded.cut);
        for (reason, rows) in &decoded.reasons {
            counters.reject(signal, reason.as_str(), *rows);
        }
        let mut answer = Answer {
            rejected: decoded.rejected,
            message: decoded.message(),
        };
        let stored = self.store(decoded.batch, "").await.inspect_err(|error| {
            counters.refuse(Trouble::Overloaded);
            tracing::warn!(signal = signal.as_str(), %error, "signals were not stored; their sender is told to come back");
        })?;
        answer.rejected += stored.rejected;
        if !stored.message.is_empty() {
            if !answer.message.is_empty() {
                answer.message.push_str("; ");
            }
            answer.message.push_str(&stored.message);
        }
        Ok(answer)
    }

    async fn store(&self, batch: Batch, key: &str) -> Result<Answer, IngestError> {
        let inner = &self.inner;
        let shown = inner.sink.is_watched().then(|| batch.clone());
        let Batch {
            samples,
            logs,
            spans,
            events,
        } = batch;
        let mut answer = Refusals::default();
        if !samples.is_empty() {
            let appended = inner.series.append(samples).await?;
            inner.counters.accept(Signal::Metrics, appended.accepted);
            for (reason, rows) in [
                ("too_far_ahead", appended.too_far_ahead),
                ("too_old", appended.too_old),
                ("bad_labels", appended.bad_labels),
                ("too_many_series", appended.overflowed),
            ] {
                inner.counters.reject(Signal::Metrics, reason, rows);
                answer.add(reason, rows);
            }
        }
        let counts = [
            (Signal::Logs, logs.len() as u64),
            (Signal::Traces, spans.len() as u64),
            (Signal::Events, events.len() as u64),
        ];
        let signals = Batch {
            samples: vec![],
            logs,
            spans,
            events,
        };
        if !signals.is_empty() {
            let appended = inner.store.append(signals, key).await?;
            if appended.repeated {
                return Ok(answer.told());
            }
            // The store refuses by time alone and says how many, not which: they are the first signal's.
            let mut refused = appended.too_far_ahead;
            answer.add("too_far_ahead", refused);
            for (signal, rows) in counts {
                let of_these = refused.min(rows);
                refused -= of_these;
                inner.counters.reject(signal, "too_far_ahead", of_these);
                inner.counters.accept(signal, rows - of_these);
            }
        }
        if let Some(batch) = shown {
            inner.sink.publish(batch);
        }
        Ok(answer.told())
    }
}

#[derive(Default)]
struct Refusals(Vec<(&'static str, u64)>);

impl Refusals {
    fn add(&mut self, reason: &'static str, rows: u64) {
        if rows > 0 {
            self.0.push((reason, rows));
        }
    }

    fn told(self) -> Answer {
        let lines: Vec<String> = self
            .0
            .iter()
            .map(|(reason, rows)| format!("{rows} refused by the store: {}", reason.replace('_', " ")))
            .collect();
        Answer {
            rejected: self.0.iter().map(|(_, rows)| rows).sum(),
            message: lines.join("; "),
        }
    }
}

/// Now, nanoseconds since the epoch.
pub(crate) fn now_nanos() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_nanos()).unwrap_or(u64::MAX)
}
