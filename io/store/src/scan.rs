//! Queries over memory and files.

use std::io;
use std::sync::Arc;

use tokio::sync::mpsc;
use trimtab_telemetry::{Batch, Event, LogRecord, Span, TraceId};

use crate::file::{DataFile, Files, Prefilter};
use crate::memory::Pick;
use crate::query::effective_limit;
use crate::state::State;
use crate::table::Row;
use crate::{Order, StoreError, TimeRange};

/// Most spans of one trace that are returned.
pub(crate) const TRACE_SPANS_MAX: usize = 50_000;
/// Rows that a replay aims to hold at a time.
const REPLAY_ROWS: u64 = 20_000;
/// A replay's slice that holds more is cut in two.
const REPLAY_ROWS_MAX: usize = 100_000;
const REPLAY_SLICE_NANOS_MIN: u64 = 1_000_000;
/// Files may be merged away while they are read; then everything is looked at again.
const TRIES_MAX: usize = 5;

/// One moment's view of one signal.
struct View {
    batches: Vec<Arc<Batch>>,
    files: Files,
}

fn view<R: Row>(state: &State, range: TimeRange) -> View {
    let contents = state.read();
    let flushing = contents.flushing.iter().flat_map(|(memory, _)| &memory.batches);
    let inside = |file: &&Arc<DataFile>| {
        file.signal == R::SIGNAL && range.overlaps(file.least_nanos, file.greatest_nanos)
    };
    View {
        batches: flushing.chain(&contents.memory.batches).cloned().collect(),
        files: contents.files.iter().filter(inside).cloned().collect(),
    }
}

fn again_if_gone<T>(mut attempt: impl FnMut() -> Result<T, StoreError>) -> Result<T, StoreError> {
    for _ in 1..TRIES_MAX {
        match attempt() {
            Err(StoreError::Io { source, .. }) if source.kind() == io::ErrorKind::NotFound => {}
            other => return other,
        }
    }
    attempt()
}

/// The newest or oldest rows that match.
pub(crate) fn pick<R: Row>(
    state: &State,
    filter: &Prefilter,
    (order, limit): (Order, usize),
    matches: impl Fn(&R) -> bool,
) -> Result<Vec<R>, StoreError> {
    again_if_gone(|| {
        let mut view = view::<R>(state, filter.range);
        let mut pick = Pick::new(order, effective_limit(limit));
        for batch in &view.batches {
            for row in R::of(batch).iter().filter(|row| matches(row)) {
                pick.offer(row.nanos(), || row.clone());
            }
        }
        // The most promising first, so that the others can be left out.
        match order {
            Order::NewestFirst => view
                .files
                .sort_by_key(|file| std::cmp::Reverse(file.greatest_nanos)),
            Order::OldestFirst => view.files.sort_by_key(|file| file.least_nanos),
        }
        for file in view.files {
            if !pick.takes_any(file.least_nanos, file.greatest_nanos) {
                continue;
            }
            for rows in file.rows::<R>(filter)? {
                for row in rows? {
                    if pick.takes(row.nanos()) && matches(&row) {
                        pick.offer(row.nanos(), || row);
                    }
                }
            }
        }
        Ok(pick.into_rows())
    })
}

/// All spans of a trace.
pub(crate) fn trace(state: &State, trace_id: TraceId) -> Result<Vec<Span>, StoreError> {
    let filter = Prefilter::of_trace(trace_id);
    again_if_gone(|| {
        let view = view::<Span>(state, TimeRange::ALL);
        let mut spans: Vec<Span> = Vec::new();
        for batch in &view.batches {
            spans.extend(
                batch
                    .spans
                    .iter()
                    .filter(|span| span.trace_id == trace_id)
                    .cloned(),
            );
        }
        for file in &view.files {
            for rows in file.rows::<Span>(&filter)? {
                spans.extend(rows?);
                if spans.len() > TRACE_SPANS_MAX {
                    break;
                }
            }
        }
        spans.sort_by_key(|span| (span.start_nanos, span.span_id));
        spans.truncate(TRACE_SPANS_MAX);
        Ok(spans)
    })
}

/// Sends everything within a range, oldest first, slice by slice; ends early when nobody takes it.
pub(crate) fn replay(state: &State, range: TimeRange, to: &mpsc::Sender<Result<Batch, StoreError>>) {
    let Some((range, rows)) = extent(state, range) else {
        return;
    };
    let slices = rows.div_ceil(REPLAY_ROWS).max(1);
    let step = ((range.to_nanos - range.from_nanos) / slices).max(REPLAY_SLICE_NANOS_MIN);
    let mut waiting = vec![range];
    while let Some(rest) = waiting.pop() {
        let cut = rest.from_nanos.saturating_add(step).min(rest.to_nanos);
        let slice = TimeRange {
            to_nanos: cut,
            ..rest
        };
        let outcome = replay_slice(state, slice, to);
        if cut < rest.to_nanos {
            waiting.push(TimeRange {
                from_nanos: cut,
                ..rest
            });
        }
        match outcome {
            Ok(true) => {}
            Ok(false) => return,
            Err(error) => {
                let _ = to.blocking_send(Err(error));
                return;
            }
        }
    }
}

/// Whether there is still someone to send to.
fn replay_slice(
    state: &State,
    slice: TimeRange,
    to: &mpsc::Sender<Result<Batch, StoreError>>,
) -> Result<bool, StoreError> {
    let mut batch = Batch::default();
    let whole = put_slice::<LogRecord>(state, slice, &mut batch)?
        && put_slice::<Span>(state, slice, &mut batch)?
        && put_slice::<Event>(state, slice, &mut batch)?;
    let length = slice.to_nanos - slice.from_nanos;
    if !whole && length > REPLAY_SLICE_NANOS_MIN {
        drop(batch);
        let middle = slice.from_nanos + length / 2;
        let halves = [(slice.from_nanos, middle), (middle, slice.to_nanos)];
        for (from_nanos, to_nanos) in halves {
            if !replay_slice(state, TimeRange { from_nanos, to_nanos }, to)? {
                return Ok(false);
            }
        }
        return Ok(true);
    }
    Ok(batch.is_empty() || to.blocking_send(Ok(batch)).is_ok())
}

/// Adds a signal's rows of a slice in order of time; false when they are too many for one slice.
fn put_slice<R: Row>(state: &State, slice: TimeRange, into: &mut Batch) -> Result<bool, StoreError> {
    let filter = Prefilter::of_range(slice);
    let can_be_cut = slice.to_nanos - slice.from_nanos > REPLAY_SLICE_NANOS_MIN;
    let rows = again_if_gone(|| {
        let view = view::<R>(state, slice);
        let mut rows: Vec<R> = Vec::new();
        for file in &view.files {
            for some in file.rows::<R>(&filter)? {
                rows.extend(some?);
                if can_be_cut && rows.len() > REPLAY_ROWS_MAX {
                    return Ok(None);
                }
            }
        }
        for batch in &view.batches {
            let inside = R::of(batch).iter().filter(|row| slice.contains(row.nanos()));
            rows.extend(inside.cloned());
        }
        Ok(Some(rows))
    })?;
    let Some(mut rows) = rows else {
        return Ok(false);
    };
    rows.sort_by_key(Row::nanos);
    R::put(rows, into);
    Ok(true)
}

/// The part of a range that holds anything, and about how many rows it holds.
fn extent(state: &State, range: TimeRange) -> Option<(TimeRange, u64)> {
    let mut span: Option<(u64, u64)> = None;
    let mut rows = 0;
    let mut add = |least: u64, greatest: u64, count: u64| {
        if count > 0 && range.overlaps(least, greatest) {
            let known = span.unwrap_or((least, greatest));
            span = Some((known.0.min(least), known.1.max(greatest)));
            rows += count;
        }
    };
    let contents = state.read();
    for file in &contents.files {
        add(file.least_nanos, file.greatest_nanos, file.rows);
    }
    let flushing = contents.flushing.iter().flat_map(|(memory, _)| &memory.batches);
    for batch in flushing.chain(&contents.memory.batches) {
        let logs = batch.logs.iter().map(Row::nanos);
        let spans = batch.spans.iter().map(Row::nanos);
        let events = batch.events.iter().map(Row::nanos);
        for nanos in logs.chain(spans).chain(events) {
            add(nanos, nanos, 1);
        }
    }
    let (least, greatest) = span?;
    let inside = TimeRange {
        from_nanos: range.from_nanos.max(least),
        to_nanos: range.to_nanos.min(greatest.saturating_add(1)),
    };
    Some((inside, rows))
}
