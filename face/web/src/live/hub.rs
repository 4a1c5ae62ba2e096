//! When each topic last changed. A stream that resumes asks what changed after what it saw; a
//! stream that is slow asks less often. Nothing is queued per stream: the newest state wins.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::broadcast::error::RecvError;
use tokio::sync::{broadcast, watch};
use trimtab_api::Topic;

/// Topics that are remembered one by one; beyond, the oldest are told as "anything may have changed".
const TOPICS_MAX: usize = 4_096;

/// A place in the sequence of changes; an epoch is one life of the server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Place {
    pub(crate) epoch: u64,
    pub(crate) sequence: u64,
}

impl std::fmt::Display for Place {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:x}-{}", self.epoch, self.sequence)
    }
}

impl Place {
    /// From the text of an event's id.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let (epoch, sequence) = text.split_once('-')?;
        Some(Place {
            epoch: u64::from_str_radix(epoch, 16).ok()?,
            sequence: sequence.parse().ok()?,
        })
    }
}

/// What changed since a place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Changed {
    /// These.
    Topics(Vec<Topic>),
    /// Too much to tell: read everything again.
    Anything,
}

pub(crate) struct Hub {
    epoch: u64,
    last: Mutex<Last>,
    sequence: watch::Sender<u64>,
}

#[derive(Default)]
struct Last {
    by_topic: BTreeMap<Topic, u64>,
    /// Changes up to here may be forgotten.
    forgotten: u64,
}

impl Hub {
    pub(crate) fn new() -> Self {
        let mut bytes = [0; 8];
        // Without randomness two lives could share an epoch; a resumed stream then misses a hint.
        getrandom::fill(&mut bytes).unwrap_or_default();
        Hub {
            epoch: u64::from_le_bytes(bytes),
            last: Mutex::default(),
            sequence: watch::Sender::new(0),
        }
    }

    /// The present place.
    pub(crate) fn place(&self) -> Place {
        Place {
            epoch: self.epoch,
            sequence: *self.sequence.borrow(),
        }
    }

    /// Wakes at each change.
    pub(crate) fn watch(&self) -> watch::Receiver<u64> {
        self.sequence.subscribe()
    }

    /// Notes that a topic, and the list that it is in, changed.
    pub(crate) fn changed(&self, topic: Topic) {
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        let sequence = *self.sequence.borrow() + 1;
        if let Some(list) = topic.list() {
            last.by_topic.insert(list, sequence);
        }
        last.by_topic.insert(topic, sequence);
        while last.by_topic.len() > TOPICS_MAX {
            let oldest = last
                .by_topic
                .iter()
                .min_by_key(|(_, at)| **at)
                .map(|(topic, at)| (topic.clone(), *at));
            let Some((topic, at)) = oldest else { break };
            last.by_topic.remove(&topic);
            last.forgotten = last.forgotten.max(at);
        }
        // Told under the lock, so that a reader never sees the new place without the new topic.
        self.sequence.send_replace(sequence);
    }

    /// Notes that changes were missed.
    pub(crate) fn missed(&self) {
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        let sequence = *self.sequence.borrow() + 1;
        last.forgotten = sequence;
        last.by_topic.clear();
        self.sequence.send_replace(sequence);
    }

    /// What changed after `seen`.
    pub(crate) fn since(&self, seen: Place) -> Changed {
        if seen.epoch != self.epoch {
            return Changed::Anything;
        }
        let last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        if seen.sequence < last.forgotten {
            return Changed::Anything;
        }
        let newer = last.by_topic.iter().filter(|(_, at)| **at > seen.sequence);
        Changed::Topics(newer.map(|(topic, _)| topic.clone()).collect())
    }
}

/// Carries the program's changes to the hub until the server closes.
pub(crate) async fn listen(
    hub: Arc<Hub>,
    mut changes: broadcast::Receiver<Topic>,
    mut closing: watch::Receiver<bool>,
) {
    loop {
        let received = tokio::select! {
            received = changes.recv() => received,
            _ = closing.wait_for(|closing| *closing) => return,
        };
        match received {
            Ok(topic) => hub.changed(topic),
            Err(RecvError::Lagged(_)) => hub.missed(),
            Err(RecvError::Closed) => return,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(number: usize) -> Topic {
        Topic::Run(format!("run-{number}"))
    }

    #[test]
    fn a_reader_that_returns_hears_the_newest_of_each_topic_once() {
        let hub = Hub::new();
        let seen = hub.place();
        for _ in 0..100 {
            hub.changed(run(1));
        }
        hub.changed(Topic::Health);
        assert_eq!(
            hub.since(seen),
            Changed::Topics(vec![Topic::Health, Topic::Runs, run(1)])
        );
        assert_eq!(hub.since(hub.place()), Changed::Topics(vec![]));
    }

    #[test]
    fn another_life_or_a_gap_means_anything() {
        let hub = Hub::new();
        let seen = hub.place();
        assert_eq!(
            hub.since(Place {
                epoch: seen.epoch ^ 1,
                ..seen
            }),
            Changed::Anything
        );
        hub.missed();
        assert_eq!(hub.since(seen), Changed::Anything);
        assert_eq!(hub.since(hub.place()), Changed::Topics(vec![]));
    }

    #[test]
    fn memory_is_bounded() {
        let hub = Hub::new();
        let seen = hub.place();
        for number in 0..TOPICS_MAX + 100 {
            hub.changed(run(number));
        }
        assert_eq!(hub.since(seen), Changed::Anything);
        let kept = hub
            .last
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .by_topic
            .len();
        assert!(kept <= TOPICS_MAX, "{kept}");
    }

    #[test]
    fn places_travel_as_text() {
        let place = Place {
            epoch: u64::MAX,
            sequence: 7,
        };
        assert_eq!(Place::parse(&place.to_string()), Some(place));
        for junk in ["", "-", "x-1", "1", "1-x"] {
            assert_eq!(Place::parse(junk), None, "{junk}");
        }
    }
}
