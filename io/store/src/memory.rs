//! Rows that are not in a file yet, and the bounded pick of the newest or oldest rows.

use std::cmp::{Ordering, Reverse};
use std::collections::BinaryHeap;
use std::sync::Arc;

use trimtab_telemetry::{AttributeValue, Attributes, Batch};

use crate::Order;

/// About what a record takes beside its texts.
const ROW_BYTES: usize = 320;
const ATTRIBUTE_BYTES: usize = 80;

/// Batches in the order of the log.
#[derive(Debug, Clone, Default)]
pub(crate) struct Memory {
    pub(crate) batches: Vec<Arc<Batch>>,
    pub(crate) bytes: u64,
    pub(crate) logs: u64,
    pub(crate) spans: u64,
    pub(crate) events: u64,
    /// When the first batch came, milliseconds since the epoch.
    pub(crate) since_ms: i64,
}

impl Memory {
    pub(crate) fn push(&mut self, batch: Arc<Batch>, now_ms: i64) {
        if self.batches.is_empty() {
            self.since_ms = now_ms;
        }
        self.bytes += batch_bytes(&batch);
        self.logs += batch.logs.len() as u64;
        self.spans += batch.spans.len() as u64;
        self.events += batch.events.len() as u64;
        self.batches.push(batch);
    }
}

fn batch_bytes(batch: &Batch) -> u64 {
    let logs: usize = batch
        .logs
        .iter()
        .map(|log| ROW_BYTES + log.body.len() + attributes_bytes(&log.attributes))
        .sum();
    let spans: usize = batch
        .spans
        .iter()
        .map(|span| {
            let events: usize = span
                .events
                .iter()
                .map(|event| ATTRIBUTE_BYTES + attributes_bytes(&event.attributes))
                .sum();
            let links: usize = span
                .links
                .iter()
                .map(|link| ATTRIBUTE_BYTES + attributes_bytes(&link.attributes))
                .sum();
            ROW_BYTES + span.name.len() + attributes_bytes(&span.attributes) + events + links
        })
        .sum();
    let events: usize = batch
        .events
        .iter()
        .map(|event| ROW_BYTES + event.title.len() + attributes_bytes(&event.attributes))
        .sum();
    (logs + spans + events) as u64
}

fn attributes_bytes(attributes: &Attributes) -> usize {
    attributes
        .iter()
        .map(|(name, value)| ATTRIBUTE_BYTES + name.len() + value_bytes(value))
        .sum()
}

fn value_bytes(value: &AttributeValue) -> usize {
    match value {
        AttributeValue::Text(text) => text.len(),
        AttributeValue::Bytes(bytes) => bytes.len(),
        AttributeValue::List(list) => list.iter().map(|value| 32 + value_bytes(value)).sum(),
        AttributeValue::Map(map) => attributes_bytes(map),
        AttributeValue::Empty
        | AttributeValue::Bool(_)
        | AttributeValue::Int(_)
        | AttributeValue::Double(_) => 0,
    }
}

struct Ranked<T> {
    rank: u64,
    arrival: u64,
    row: T,
}

impl<T> PartialEq for Ranked<T> {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl<T> Eq for Ranked<T> {}

impl<T> PartialOrd for Ranked<T> {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl<T> Ord for Ranked<T> {
    fn cmp(&self, other: &Self) -> Ordering {
        (self.rank, Reverse(self.arrival)).cmp(&(other.rank, Reverse(other.arrival)))
    }
}

/// Keeps the `limit` newest or oldest of the rows it is shown.
pub(crate) struct Pick<T> {
    limit: usize,
    order: Order,
    arrivals: u64,
    kept: BinaryHeap<Reverse<Ranked<T>>>,
}

impl<T> Pick<T> {
    pub(crate) fn new(order: Order, limit: usize) -> Self {
        Pick {
            limit,
            order,
            arrivals: 0,
            kept: BinaryHeap::new(),
        }
    }

    fn rank(&self, nanos: u64) -> u64 {
        match self.order {
            Order::NewestFirst => nanos,
            Order::OldestFirst => u64::MAX - nanos,
        }
    }

    /// Whether a row of this time would be kept.
    pub(crate) fn takes(&self, nanos: u64) -> bool {
        self.kept.len() < self.limit
            || self
                .kept
                .peek()
                .is_some_and(|worst| worst.0.rank < self.rank(nanos))
    }

    /// Whether any row between two times could be kept.
    pub(crate) fn takes_any(&self, least: u64, greatest: u64) -> bool {
        match self.order {
            Order::NewestFirst => self.takes(greatest),
            Order::OldestFirst => self.takes(least),
        }
    }

    pub(crate) fn offer(&mut self, nanos: u64, row: impl FnOnce() -> T) {
        self.arrivals += 1;
        if !self.takes(nanos) {
            return;
        }
        self.kept.push(Reverse(Ranked {
            rank: self.rank(nanos),
            arrival: self.arrivals,
            row: row(),
        }));
        if self.kept.len() > self.limit {
            self.kept.pop();
        }
    }

    /// The kept rows in order.
    pub(crate) fn into_rows(self) -> Vec<T> {
        self.kept
            .into_sorted_vec()
            .into_iter()
            .map(|ranked| ranked.0.row)
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn picked(order: Order, limit: usize) -> Vec<u64> {
        let mut pick = Pick::new(order, limit);
        for nanos in [5, 1, 9, 3, 9, 7] {
            pick.offer(nanos, || nanos);
        }
        pick.into_rows()
    }

    #[test]
    fn the_wanted_end_is_kept_in_order() {
        assert_eq!(picked(Order::NewestFirst, 3), [9, 9, 7]);
        assert_eq!(picked(Order::OldestFirst, 2), [1, 3]);
        assert_eq!(picked(Order::OldestFirst, 100), [1, 3, 5, 7, 9, 9]);
    }

    #[test]
    fn what_cannot_be_kept_is_known_beforehand() {
        let mut pick = Pick::new(Order::NewestFirst, 1);
        pick.offer(5, || ());
        assert!(pick.takes_any(0, 6) && !pick.takes_any(0, 5));
    }
}
