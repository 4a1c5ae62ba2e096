//! Whether a service keeps its objectives, long after any rollout.
//!
//! There is no other arm then, so the rule is absolute: the share of failed (or slow) requests of the last
//! 20 and 60 seconds is held against what the objective allows, or against the worst of the service's own
//! quiet past where that is worse. It is called when the likelihood ratio of the two rates, with Schwarz's
//! penalty, is over 10^7 : 1, the rate is twice the reference, and at least five requests suffered: looked at
//! every second for a month, chance alone is not expected to do that.

use std::collections::VecDeque;

use serde::{Deserialize, Serialize};
use trimtab_model::{LatencyHistogram, Timestamp};

use crate::verdict::process::guess;
use crate::verdict::{Outcomes, Tally};

/// Length of a slot.
pub(super) const SLOT_MS: i64 = 5_000;
/// Slots of the short window: 20 s.
const SLOTS_SHORT: usize = 4;
/// Slots of the long window: 60 s.
const SLOTS_LONG: usize = 12;
/// Requests of a chunk of the past.
const CHUNK_REQUESTS_MIN: u64 = 500;
/// Chunks of the past that are kept.
const CHUNKS_MAX: usize = 240;
/// ln of the evidence from which trouble is called.
const EVIDENCE_MIN_LOG: f64 = 16.1;
/// Times the reference below which a rate is no trouble, however sure it is.
const RATIO_MIN: f64 = 2.0;
/// Requests that must have suffered.
const SUFFERED_MIN: u64 = 5;

/// What a service promises.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Objectives {
    /// Share of requests that may fail.
    pub failing_max: f64,
    /// Milliseconds from which a request is slow.
    pub slow_ms: u64,
    /// Share of requests that may be slow.
    pub slow_max: f64,
}

impl Default for Objectives {
    fn default() -> Self {
        Objectives {
            failing_max: 0.005,
            slow_ms: 300,
            slow_max: 0.05,
        }
    }
}

/// Counts of one stretch.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Counts {
    requests: u64,
    failed: u64,
    slow: u64,
}

impl Counts {
    fn add(&mut self, other: Counts) {
        self.requests += other.requests;
        self.failed += other.failed;
        self.slow += other.slow;
    }
}

/// What requests suffer from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Suffering {
    Failing,
    Slow,
}

/// Trouble that users have now.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Trouble {
    pub(super) suffering: Suffering,
    /// Share of requests that suffer, the worse of both windows.
    pub(super) share: f64,
    /// What the objective or the past allows.
    pub(super) reference: f64,
    /// Requests that suffered within the long window.
    pub(super) suffered: u64,
    /// All requests of the long window.
    pub(super) requests: u64,
    pub(super) log_e: f64,
    pub(super) onset: Timestamp,
}

/// A slot that ended: what series detectors are fed with.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Ended {
    pub(super) at: Timestamp,
    pub(super) requests: u64,
    pub(super) failed: u64,
    /// 95th percentile in milliseconds; none when there were too few requests to say.
    pub(super) p95_ms: Option<f64>,
}

/// Follows what a service's users get.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct Served {
    objectives: Objectives,
    slot: Option<i64>,
    open: Counts,
    latency: LatencyHistogram,
    /// The last ended slots, oldest first, each with its number.
    recent: VecDeque<(i64, Counts)>,
    /// Of the past, as far as it was quiet.
    chunks: VecDeque<Counts>,
    chunk: Counts,
    /// Slots before this one were dealt with.
    since: i64,
}

impl Served {
    pub(super) fn promise(&mut self, objectives: Objectives) {
        if self.objectives != objectives {
            self.objectives = objectives;
            // Slow meant something else.
            self.chunks.clear();
            self.chunk = Counts::default();
        }
    }

    pub(super) fn objectives(&self) -> Objectives {
        self.objectives
    }

    pub(super) fn add(&mut self, outcomes: &Outcomes) {
        let slow = LatencyHistogram::bucket_of(self.objectives.slow_ms.saturating_mul(1_000));
        self.open.add(Counts {
            requests: outcomes.requests,
            failed: outcomes.errors,
            // Buckets from the threshold's own upwards, but for that one: it may hold faster ones.
            slow: outcomes.latency.at_or_above(slow.saturating_add(1)),
        });
        self.latency.merge(&outcomes.latency);
    }

    /// Ends the slots that are over at `now`.
    pub(super) fn tick(&mut self, now: Timestamp) -> Vec<Ended> {
        let current = now.0.div_euclid(SLOT_MS);
        let first = *self.slot.get_or_insert(current);
        if current < first {
            // The clock jumped back: go on from there.
            self.slot = Some(current);
            return Vec::new();
        }
        let mut ended = Vec::new();
        // After a long absence only the last slots matter; those in between are not known to be empty.
        for slot in first.max(current - SLOTS_LONG as i64)..current {
            let counts = std::mem::take(&mut self.open);
            let latency = std::mem::take(&mut self.latency);
            let p95_ms = (latency.total() >= 20)
                .then(|| latency.quantile_micros(0.95).map(|micros| micros / 1_000.0))
                .flatten();
            ended.push(Ended {
                at: Timestamp((slot + 1) * SLOT_MS),
                requests: counts.requests,
                failed: counts.failed,
                p95_ms,
            });
            self.recent.push_back((slot, counts));
        }
        self.slot = Some(current);
        // What leaves the long window while there is no trouble is what is usual.
        let quiet = self.trouble().is_empty();
        while self.recent.len() > SLOTS_LONG {
            let (slot, counts) = self.recent.pop_front().unwrap_or_default();
            if quiet && slot >= self.since {
                self.remember(counts);
            }
        }
        ended
    }

    fn remember(&mut self, counts: Counts) {
        self.chunk.add(counts);
        if self.chunk.requests >= CHUNK_REQUESTS_MIN {
            self.chunks.push_back(std::mem::take(&mut self.chunk));
            if self.chunks.len() > CHUNKS_MAX {
                self.chunks.pop_front();
            }
        }
    }

    /// What came before `at` was dealt with, and is neither trouble nor usual.
    pub(super) fn forgive(&mut self, at: Timestamp) {
        let slot = at.0.div_euclid(SLOT_MS);
        if slot < self.since {
            return;
        }
        self.since = slot + 1;
        self.recent.retain(|(slot, _)| *slot >= self.since);
        self.open = Counts::default();
        self.latency = LatencyHistogram::default();
    }

    /// What users suffer from now.
    pub(super) fn trouble(&self) -> Vec<Trouble> {
        [Suffering::Failing, Suffering::Slow]
            .into_iter()
            .filter_map(|suffering| self.suffers(suffering))
            .collect()
    }

    /// Whether the last 20 seconds were as they should be.
    pub(super) fn is_well(&self) -> bool {
        [Suffering::Failing, Suffering::Slow]
            .into_iter()
            .all(|suffering| {
                let now = self.tally(suffering, SLOTS_SHORT);
                now.bad < 2 || now.rate() <= RATIO_MIN * self.reference(suffering)
            })
    }

    fn suffers(&self, suffering: Suffering) -> Option<Trouble> {
        let reference = self.reference(suffering);
        let mut found: Option<Trouble> = None;
        let long = self.tally(suffering, SLOTS_LONG);
        for slots in [SLOTS_SHORT, SLOTS_LONG] {
            let now = self.tally(suffering, slots);
            let rate = now.rate();
            if now.bad < SUFFERED_MIN || rate < RATIO_MIN * reference {
                continue;
            }
            let log_e = now.log_ratio(guess(rate), reference) - 0.5 * (now.units as f64).ln();
            if log_e < EVIDENCE_MIN_LOG {
                continue;
            }
            let (share, strength) = found.map_or((0.0, 0.0), |found| (found.share, found.log_e));
            found = Some(Trouble {
                suffering,
                share: share.max(rate),
                reference,
                suffered: long.bad,
                requests: long.units,
                log_e: log_e.max(strength),
                onset: self.onset(suffering, reference),
            });
        }
        found
    }

    fn reference(&self, suffering: Suffering) -> f64 {
        let allowed = match suffering {
            Suffering::Failing => self.objectives.failing_max,
            Suffering::Slow => self.objectives.slow_max,
        };
        let worst = self.chunks.iter().map(|chunk| tally_of(*chunk, suffering).rate());
        guess(worst.fold(allowed, f64::max))
    }

    fn tally(&self, suffering: Suffering, slots: usize) -> Tally {
        let mut all = Counts::default();
        for (_, counts) in self.recent.iter().rev().take(slots) {
            all.add(*counts);
        }
        tally_of(all, suffering)
    }

    /// The beginning of the first slot, back from now, from which each with traffic suffers.
    fn onset(&self, suffering: Suffering, reference: f64) -> Timestamp {
        let mut onset = self.slot.unwrap_or(0);
        for (slot, counts) in self.recent.iter().rev() {
            let tally = tally_of(*counts, suffering);
            if tally.bad > 0 && tally.rate() > reference {
                onset = *slot;
            } else if tally.units > 0 {
                break;
            }
        }
        Timestamp(onset * SLOT_MS)
    }
}

fn tally_of(counts: Counts, suffering: Suffering) -> Tally {
    match suffering {
        Suffering::Failing => Tally::new(counts.requests, counts.failed),
        Suffering::Slow => Tally::new(counts.requests, counts.slow),
    }
}
