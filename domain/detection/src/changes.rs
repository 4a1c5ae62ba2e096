//! Changes near the onset of a problem, and signs of life that stopped coming.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use trimtab_model::{ReleaseId, ServiceName, Timestamp};

use crate::anomaly::{Anomaly, Kind, Scope, Signal};
use crate::words::{figure, millis};

/// A change this long before the onset counts half.
const LAG_MS_HALF: f64 = 120_000.0;
/// A change up to this long after the estimated onset may still have caused it: onsets are estimates.
const LEAD_MS_MAX: i64 = 5_000;
/// Changes counting less than this are not shown.
const NEARNESS_MIN: f64 = 0.02;
/// Sources whose heartbeats are followed; further ones are counted as rejected.
const SOURCES_MAX: usize = 1_000;
/// A heartbeat is missing after so many of its usual intervals.
const INTERVALS_MISSED: f64 = 5.0;
/// An interval is never taken for shorter than this.
const INTERVAL_MS_MIN: f64 = 1_000.0;
/// How fast the usual interval follows a new one.
const INTERVAL_GAIN: f64 = 0.2;

/// What sort of change.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ChangeKind {
    /// A release began to get traffic, or its weight grew.
    Deploy,
    /// Configuration or secrets.
    Configuration,
    /// A feature flag.
    Flag,
    /// Instances were added or taken away.
    Scale,
    /// An instance was started again.
    Restart,
    /// Something outside: a host, a database, a provider.
    Outside,
}

/// A change that is on record.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChangeEvent {
    /// When.
    pub at: Timestamp,
    /// What sort.
    pub kind: ChangeKind,
    /// The service it was made to; none for all.
    pub service: Option<ServiceName>,
    /// The release it brought.
    pub release: Option<ReleaseId>,
    /// What was changed, for people.
    pub text: String,
}

/// A change near the onset of a problem.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Near {
    /// The change.
    pub change: ChangeEvent,
    /// How long before the onset, in milliseconds; negative when shortly after the estimate.
    pub before_ms: i64,
    /// How near, 0 to 1: halves every two minutes, and for changes to another service.
    pub nearness: f64,
}

impl Near {
    /// How long before or after the onset, for people.
    pub(crate) fn when(&self) -> String {
        let apart = self.before_ms.unsigned_abs() as f64;
        let apart = match apart {
            0.0..1_000.0 => millis(apart),
            _ => format!("{} s", figure(apart / 1_000.0)),
        };
        let side = if self.before_ms >= 0 { "before" } else { "after" };
        format!("{apart} {side} it began")
    }
}

/// The changes that may have caused what began at `onset` in `service`, nearest first.
pub fn near(changes: &[ChangeEvent], onset: Timestamp, service: Option<&ServiceName>) -> Vec<Near> {
    let mut found: Vec<Near> = changes
        .iter()
        .filter_map(|change| {
            let before_ms = onset.0.saturating_sub(change.at.0);
            let lead_ms_max = match change.kind {
                // What is started again once trouble began is its consequence, or the cure.
                ChangeKind::Restart => 0,
                _ => LEAD_MS_MAX,
            };
            if before_ms < -lead_ms_max {
                return None;
            }
            let elsewhere =
                change.service.is_some() && service.is_some() && change.service.as_ref() != service;
            let lag = before_ms.max(0) as f64 / LAG_MS_HALF;
            let nearness = 0.5f64.powf(lag + if elsewhere { 1.0 } else { 0.0 });
            (nearness >= NEARNESS_MIN).then(|| Near {
                change: change.clone(),
                before_ms,
                nearness,
            })
        })
        .collect();
    found.sort_by(|x, y| {
        y.nearness
            .total_cmp(&x.nearness)
            .then(x.before_ms.abs().cmp(&y.before_ms.abs()))
    });
    found
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Pulse {
    last: Timestamp,
    interval_ms: Option<f64>,
}

/// Follows signs of life (spans, samples or lines of an instance, a cron job's report) and learns how
/// often they come.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Heartbeats {
    pulses: BTreeMap<String, Pulse>,
    rejected: u64,
}

impl Heartbeats {
    /// A sign of life from `source`.
    pub fn beat(&mut self, source: &str, at: Timestamp) {
        if let Some(pulse) = self.pulses.get_mut(source) {
            let gap = at.0.saturating_sub(pulse.last.0);
            if gap <= 0 {
                return;
            }
            let usual = pulse.interval_ms.unwrap_or(gap as f64);
            pulse.interval_ms = Some(usual + INTERVAL_GAIN * (gap as f64 - usual));
            pulse.last = at;
        } else if self.pulses.len() < SOURCES_MAX {
            self.pulses.insert(
                source.to_owned(),
                Pulse {
                    last: at,
                    interval_ms: None,
                },
            );
        } else {
            self.rejected += 1;
        }
    }

    /// `source` was ended on purpose.
    pub fn forget(&mut self, source: &str) {
        self.pulses.remove(source);
    }

    /// The sources that are followed.
    pub fn sources(&self) -> impl Iterator<Item = &str> {
        self.pulses.keys().map(String::as_str)
    }

    /// Signs of life of sources beyond the limit.
    pub fn rejected(&self) -> u64 {
        self.rejected
    }

    /// Sources that have been silent for too long.
    pub fn missing(&self, now: Timestamp, scope: &Scope) -> Vec<Anomaly> {
        let silent = |(source, pulse): (&String, &Pulse)| {
            let interval = pulse.interval_ms?.max(INTERVAL_MS_MIN);
            let silence = now.0.saturating_sub(pulse.last.0) as f64;
            let ratio = silence / interval;
            if ratio <= INTERVALS_MISSED {
                return None;
            }
            let text = format!(
                "{source} has been silent for {:.0} s; it reports every {:.1} s",
                silence / 1000.0,
                interval / 1000.0
            );
            let score = 1.0 - 0.5 * INTERVALS_MISSED / ratio;
            let anomaly = scope.anomaly(Signal::Events, Kind::MissingHeartbeat, now, pulse.last);
            Some(anomaly.with(
                source.clone(),
                score,
                (silence / 1000.0, interval / 1000.0, "s"),
                text,
            ))
        };
        self.pulses.iter().filter_map(silent).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn change(at: i64, kind: ChangeKind, service: &str) -> ChangeEvent {
        let service = ServiceName::new(service).ok();
        ChangeEvent {
            at: Timestamp(at),
            kind,
            service,
            release: None,
            text: format!("{kind:?}"),
        }
    }

    #[test]
    fn the_nearest_change_comes_first() {
        let changes = [
            change(1_000_000, ChangeKind::Deploy, "blocks"),
            change(1_090_000, ChangeKind::Flag, "other"),
            change(1_099_000, ChangeKind::Scale, "blocks"),
            change(1_200_000, ChangeKind::Configuration, "blocks"),
        ];
        let blocks = ServiceName::new("blocks").ok();
        let kinds: Vec<ChangeKind> = near(&changes, Timestamp(1_100_000), blocks.as_ref())
            .iter()
            .map(|n| n.change.kind)
            .collect();
        assert_eq!(kinds, [ChangeKind::Scale, ChangeKind::Deploy, ChangeKind::Flag]);
        assert!(near(&changes, Timestamp(90_000_000), None).is_empty());
    }

    #[test]
    fn a_restart_after_the_onset_is_no_cause_of_it() {
        let changes = [
            change(1_000_007, ChangeKind::Deploy, "blocks"),
            change(1_001_300, ChangeKind::Restart, "blocks"),
            change(998_000, ChangeKind::Restart, "blocks"),
        ];
        let told: Vec<String> = near(&changes, Timestamp(1_000_000), None)
            .iter()
            .map(|n| format!("{} {}", n.change.text, n.when()))
            .collect();
        assert_eq!(
            told,
            ["Deploy 7.0 ms after it began", "Restart 2.00 s before it began"]
        );
    }

    #[test]
    fn silence_is_noticed_and_quiet_sources_are_given_time() {
        let mut heartbeats = Heartbeats::default();
        for second in 0..20 {
            heartbeats.beat("blocks-r1-production-1", Timestamp(second * 1_000));
        }
        heartbeats.beat("nightly", Timestamp(0));
        heartbeats.beat("nightly", Timestamp(86_400_000));
        assert_eq!(heartbeats.missing(Timestamp(23_000), &Scope::default()), vec![]);
        let missing = heartbeats.missing(Timestamp(40_000), &Scope::default());
        assert_eq!(missing.len(), 1);
        assert_eq!(missing[0].onset, Timestamp(19_000));
        assert!(missing[0].text.contains("silent for 21 s"), "{}", missing[0].text);
        heartbeats.forget("blocks-r1-production-1");
        assert_eq!(heartbeats.missing(Timestamp(40_000), &Scope::default()), vec![]);
    }
}
