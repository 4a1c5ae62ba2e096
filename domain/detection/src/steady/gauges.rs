//! Levels of series, each followed by its own [`Detector`], and limits that were reached.
//!
//! What a detector finds odd is kept for two minutes as a circumstance, and only when it also matters in
//! its own unit: a level of memory is known to the byte, so that a change of a thousandth is many standard
//! deviations, and still nothing.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use trimtab_model::Timestamp;

use super::served::SLOT_MS;
use crate::anomaly::{Anomaly, Kind, Scope, Signal, score_of};
use crate::series::{Detector, SeriesConfig};
use crate::words::{cut, figure, percent};

/// Series that are followed; values of further ones are counted as rejected.
const FOLLOWED_MAX: usize = 64;
/// A series that gives no value for so long is forgotten.
const FORGOTTEN_MS: i64 = 600_000;
/// How long a finding stays a circumstance.
const STANDING_MS: i64 = 120_000;
/// Slots in a row at a limit from which it counts as reached.
const SLOTS_AT_LIMIT: u32 = 3;
/// Characters of a subject that are kept.
const SUBJECT_CHARS_MAX: usize = 160;

/// What is measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Gauge {
    /// Requests per second.
    Requests,
    /// Per cent of requests that fail.
    Failing,
    /// 95th percentile of latency, in milliseconds.
    Latency,
    /// An instance's use of processors, in per cent of one.
    InstanceCpu,
    /// An instance's memory, in megabytes.
    InstanceMemory,
    /// The host's memory in use, in megabytes.
    HostMemory,
    /// The host's disk in use, in megabytes.
    HostDisk,
}

impl Gauge {
    fn name(self) -> &'static str {
        match self {
            Gauge::Requests => "requests",
            Gauge::Failing => "failing share",
            Gauge::Latency => "latency p95",
            Gauge::InstanceCpu => "cpu",
            Gauge::InstanceMemory => "memory",
            Gauge::HostMemory => "memory of the host",
            Gauge::HostDisk => "disk of the host",
        }
    }

    fn unit(self) -> &'static str {
        match self {
            Gauge::Requests => "/s",
            Gauge::Failing | Gauge::InstanceCpu => "%",
            Gauge::Latency => "ms",
            Gauge::InstanceMemory | Gauge::HostMemory | Gauge::HostDisk => "MB",
        }
    }

    fn is_of_the_host(self) -> bool {
        matches!(self, Gauge::HostMemory | Gauge::HostDisk)
    }

    /// The least change that matters: a share of what was expected, and in the unit.
    fn matters(self, observed: f64, expected: f64) -> bool {
        let (share, least) = match self {
            Gauge::Requests => (0.5, 2.0),
            Gauge::Failing => (0.5, 1.0),
            Gauge::Latency => (0.5, 10.0),
            Gauge::InstanceCpu => (0.5, 20.0),
            Gauge::InstanceMemory => (0.25, 32.0),
            Gauge::HostMemory => (0.25, 512.0),
            Gauge::HostDisk => (0.05, 1_024.0),
        };
        let change = (observed - expected).abs();
        change >= least && change >= share * expected.abs()
    }

    /// The share of its capacity at which a resource is as good as used up.
    fn limit(self) -> Option<f64> {
        match self {
            Gauge::InstanceMemory => Some(0.9),
            Gauge::HostMemory | Gauge::HostDisk => Some(0.97),
            Gauge::Requests | Gauge::Failing | Gauge::Latency | Gauge::InstanceCpu => None,
        }
    }
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Standing {
    at: Timestamp,
    onset: Timestamp,
    kind: Kind,
    score: f64,
    observed: f64,
    expected: f64,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Followed {
    detector: Detector,
    slot: i64,
    sum: f64,
    count: u32,
    capacity: Option<f64>,
    last: f64,
    last_at: Timestamp,
    slots_at_limit: u32,
    at_limit_since: Timestamp,
    standing: Option<Standing>,
}

/// All series of one place.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct Gauges {
    followed: BTreeMap<Gauge, BTreeMap<String, Followed>>,
    rejected: u64,
}

impl Gauges {
    /// Takes a value; values of one slot are averaged.
    pub(super) fn take(
        &mut self,
        at: Timestamp,
        gauge: Gauge,
        subject: &str,
        value: f64,
        capacity: Option<f64>,
    ) {
        if !value.is_finite() {
            return;
        }
        let subject = cut(subject, SUBJECT_CHARS_MAX);
        let full = self.followed.values().map(BTreeMap::len).sum::<usize>() >= FOLLOWED_MAX;
        let of_gauge = self.followed.entry(gauge).or_default();
        if full && !of_gauge.contains_key(&subject) {
            self.rejected += 1;
            return;
        }
        let slot = at.0.div_euclid(SLOT_MS);
        let followed = of_gauge.entry(subject).or_insert_with(|| Followed {
            detector: Detector::new(SeriesConfig::default()),
            slot,
            sum: 0.0,
            count: 0,
            capacity,
            last: value,
            last_at: at,
            slots_at_limit: 0,
            at_limit_since: at,
            standing: None,
        });
        if slot > followed.slot {
            followed.end_slot(gauge);
            followed.slot = slot;
        }
        followed.capacity = capacity;
        followed.last = value;
        followed.last_at = at;
        followed.sum += value;
        followed.count += 1;
    }

    /// Forgets series that gave no value for long.
    pub(super) fn tick(&mut self, now: Timestamp) {
        for of_gauge in self.followed.values_mut() {
            of_gauge.retain(|_, followed| now.0.saturating_sub(followed.last_at.0) < FORGOTTEN_MS);
        }
    }

    /// Values of series beyond the limit.
    pub(super) fn rejected(&self) -> u64 {
        self.rejected
    }

    /// Circumstances: what moved lately.
    pub(super) fn moved(&self, now: Timestamp, scope: &Scope) -> Vec<Anomaly> {
        let mut found = Vec::new();
        for (gauge, subject, followed) in self.each() {
            let Some(standing) = &followed.standing else {
                continue;
            };
            if now.0.saturating_sub(standing.at.0) > STANDING_MS {
                continue;
            }
            let name = named(gauge, subject);
            let (observed, expected) = (standing.observed, standing.expected);
            let text = format!(
                "{name} is {} {}, {} expected",
                figure(observed),
                gauge.unit(),
                figure(expected)
            );
            let anomaly = of_gauge_scope(gauge, scope).anomaly(
                Signal::Metrics,
                standing.kind,
                standing.at,
                standing.onset,
            );
            found.push(anomaly.with(name, standing.score, (observed, expected, gauge.unit()), text));
        }
        found
    }

    /// Resources that are as good as used up.
    pub(super) fn exhausted(&self, now: Timestamp, scope: &Scope) -> Vec<Anomaly> {
        let mut found = Vec::new();
        for (gauge, subject, followed) in self.each() {
            let (Some(limit), Some(capacity)) = (gauge.limit(), followed.capacity) else {
                continue;
            };
            if followed.slots_at_limit < SLOTS_AT_LIMIT || capacity <= 0.0 {
                continue;
            }
            let share = followed.last / capacity;
            let name = named(gauge, subject);
            let text = format!(
                "{} of {name} is in use: {} of {} {}",
                percent(share),
                figure(followed.last),
                figure(capacity),
                gauge.unit()
            );
            let anomaly = of_gauge_scope(gauge, scope).anomaly(
                Signal::Metrics,
                Kind::Exhaustion,
                now,
                followed.at_limit_since,
            );
            let numbers = (share * 100.0, limit * 100.0, "%");
            found.push(anomaly.with(name, score_of(1e6f64.ln()), numbers, text));
        }
        found
    }

    fn each(&self) -> impl Iterator<Item = (Gauge, &str, &Followed)> {
        self.followed.iter().flat_map(|(gauge, of_gauge)| {
            of_gauge
                .iter()
                .map(|(subject, followed)| (*gauge, subject.as_str(), followed))
        })
    }
}

impl Followed {
    fn end_slot(&mut self, gauge: Gauge) {
        if self.count == 0 {
            return;
        }
        let value = self.sum / f64::from(self.count);
        let at = Timestamp((self.slot + 1) * SLOT_MS);
        (self.sum, self.count) = (0.0, 0);
        let limit = gauge.limit().zip(self.capacity);
        if limit.is_some_and(|(limit, capacity)| value >= limit * capacity) {
            if self.slots_at_limit == 0 {
                self.at_limit_since = at;
            }
            self.slots_at_limit = self.slots_at_limit.saturating_add(1);
        } else {
            self.slots_at_limit = 0;
        }
        let Some(observation) = self.detector.observe(at, value) else {
            return;
        };
        let Some(kind) = observation.found else { return };
        if gauge.matters(value, observation.expected) {
            self.standing = Some(Standing {
                at,
                onset: Timestamp(self.slot * SLOT_MS),
                kind,
                score: observation.score.min(1.0),
                observed: value,
                expected: observation.expected,
            });
        }
    }
}

fn named(gauge: Gauge, subject: &str) -> String {
    if subject.is_empty() {
        gauge.name().to_owned()
    } else {
        format!("{} of {subject}", gauge.name())
    }
}

fn of_gauge_scope(gauge: Gauge, scope: &Scope) -> Scope {
    if gauge.is_of_the_host() {
        Scope::default()
    } else {
        Scope {
            release: None,
            ..scope.clone()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_surge_is_a_circumstance_and_noise_is_not() {
        let mut gauges = Gauges::default();
        let mut random = fastrand::Rng::with_seed(4);
        let scope = Scope::default();
        let mut at = 0;
        for _ in 0..2_000 {
            at += 1_000;
            let value = 60.0 + 16.0 * (random.f64() - 0.5);
            gauges.take(Timestamp(at), Gauge::Requests, "", value, None);
            assert_eq!(gauges.moved(Timestamp(at), &scope), vec![]);
        }
        for _ in 0..12 {
            at += 1_000;
            gauges.take(Timestamp(at), Gauge::Requests, "", 300.0, None);
        }
        let moved = gauges.moved(Timestamp(at), &scope);
        assert_eq!(moved.len(), 1, "{moved:?}");
        assert!(moved[0].observed > 250.0 && moved[0].expected < 70.0, "{moved:?}");
        assert_eq!(
            gauges.moved(Timestamp(at + STANDING_MS + SLOT_MS), &scope),
            vec![]
        );
    }

    #[test]
    fn a_full_disk_is_exhaustion_once_it_stays_full() {
        let mut gauges = Gauges::default();
        let scope = Scope::default();
        for second in 0..60 {
            let used = if second < 30 { 900.0 } else { 985.0 };
            gauges.take(
                Timestamp(second * 1_000),
                Gauge::HostDisk,
                "",
                used,
                Some(1_000.0),
            );
            let exhausted = gauges.exhausted(Timestamp(second * 1_000), &scope);
            assert_eq!(exhausted.len(), usize::from(second >= 45), "at {second} s");
        }
        let exhausted = gauges.exhausted(Timestamp(60_000), &scope);
        assert_eq!(
            exhausted[0].text,
            "98 % of disk of the host is in use: 985 of 1,000 MB"
        );
        assert!(exhausted[0].service.is_none());
    }

    #[test]
    fn no_more_series_are_followed_than_the_limit() {
        let mut gauges = Gauges::default();
        for n in 0..100 {
            gauges.take(Timestamp(0), Gauge::InstanceCpu, &format!("i-{n}"), 1.0, None);
        }
        assert_eq!(gauges.rejected(), 36);
        gauges.tick(Timestamp(FORGOTTEN_MS));
        gauges.take(Timestamp(FORGOTTEN_MS), Gauge::InstanceCpu, "i-99", 1.0, None);
        assert_eq!(gauges.rejected(), 36);
    }
}
