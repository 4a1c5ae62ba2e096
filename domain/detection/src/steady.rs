//! One service in one environment, watched for as long as it serves, rollout or not.
//!
//! Two sorts of findings. *Signs* are trouble by themselves: an objective that is missed, a resource that is
//! used up, an instance that keeps on ending or fell silent, error lines never seen before. *Circumstances* are
//! odd (more requests, more memory, a slower call) and make no problem alone; beside a sign they say what sort
//! of problem it is. So traffic that comes and goes, and a cache that fills, open nothing.

mod gauges;
mod served;

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use serde::{Deserialize, Serialize};
use trimtab_model::Timestamp;

pub use gauges::Gauge;
pub use served::Objectives;

use crate::anomaly::{Anomaly, Kind, Scope, Signal, score_of};
use crate::changes::Heartbeats;
use crate::verdict::Outcomes;
use crate::words::{count, percent};
use gauges::Gauges;
use served::{Served, Suffering, Trouble};

/// Subject of the sign that too many requests are slow.
pub const SLOW_REQUESTS: &str = "slow requests";
/// Seconds (ticks) in a row that something must be silent.
const TICKS_SILENT_MIN: u32 = 10;
/// So many restarts within the time below are a crash loop.
const RESTARTS_MIN: usize = 3;
const RESTARTS_WITHIN_MS: i64 = 120_000;
/// Instances whose restarts are followed.
const INSTANCES_MAX: usize = 1_000;

/// What the users of a service notice now.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Noticed {
    /// Share of requests that fail, while that is trouble.
    pub failing: Option<f64>,
    /// Requests that failed within the last minute, while that is trouble.
    pub failed: Option<u64>,
    /// How many times too fast an error budget (of failures or of slow requests) burns.
    pub burn_rate: Option<f64>,
}

/// What was found at one moment.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Found {
    /// Trouble by itself.
    pub signs: Vec<Anomaly>,
    /// What is odd beside it.
    pub circumstances: Vec<Anomaly>,
    /// What users notice.
    pub noticed: Noticed,
}

#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
struct Restarts {
    count: u32,
    times: VecDeque<Timestamp>,
}

/// Watches one service in one environment. Bounded: it keeps counts and windows, never requests.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Steady {
    served: Served,
    gauges: Gauges,
    restarts: BTreeMap<String, Restarts>,
    /// Not kept: after a pause of the watch everything would seem to have been silent.
    #[serde(skip)]
    heartbeats: Heartbeats,
    #[serde(skip)]
    silent: BTreeMap<String, u32>,
}

impl Steady {
    /// Sets what the service promises.
    pub fn promise(&mut self, objectives: Objectives) {
        self.served.promise(objectives);
    }

    /// Takes requests that ended.
    pub fn traffic(&mut self, outcomes: &Outcomes) {
        self.served.add(outcomes);
    }

    /// Takes a value of a series, of `subject` (an instance; empty for the service or host itself).
    pub fn gauge(&mut self, at: Timestamp, gauge: Gauge, subject: &str, value: f64, capacity: Option<f64>) {
        self.gauges.take(at, gauge, subject, value, capacity);
    }

    /// A sign of life that comes at regular times.
    pub fn beat(&mut self, source: &str, at: Timestamp) {
        self.heartbeats.beat(source, at);
    }

    /// The instances that should live now, each with how often it was started again.
    pub fn instances(&mut self, now: Timestamp, living: &BTreeMap<String, u32>) {
        self.restarts.retain(|instance, _| living.contains_key(instance));
        for (instance, restarts) in living.iter().take(INSTANCES_MAX) {
            let known = self.restarts.entry(instance.clone()).or_insert_with(|| Restarts {
                count: *restarts,
                times: VecDeque::new(),
            });
            for _ in known.count..(*restarts).min(known.count.saturating_add(RESTARTS_MIN as u32)) {
                known.times.push_back(now);
            }
            known.count = *restarts;
            while known.times.len() > RESTARTS_MIN
                || known
                    .times
                    .front()
                    .is_some_and(|at| now.0.saturating_sub(at.0) > RESTARTS_WITHIN_MS)
            {
                known.times.pop_front();
            }
        }
        let gone: BTreeSet<String> = self.heartbeats.sources().map(str::to_owned).collect();
        for source in gone.iter().filter(|source| !living.contains_key(*source)) {
            self.heartbeats.forget(source);
        }
    }

    /// Time goes on; to be called about once a second.
    pub fn tick(&mut self, now: Timestamp) {
        for ended in self.served.tick(now) {
            let rate = ended.requests as f64 * 1_000.0 / served::SLOT_MS as f64;
            // Within the slot that ended, so that it is the slot's value.
            let at = Timestamp(ended.at.0 - 1);
            self.gauges.take(at, Gauge::Requests, "", rate, None);
            if ended.requests >= 20 {
                let failing = 100.0 * ended.failed as f64 / ended.requests as f64;
                self.gauges.take(at, Gauge::Failing, "", failing, None);
            }
            if let Some(p95) = ended.p95_ms {
                self.gauges.take(at, Gauge::Latency, "", p95, None);
            }
        }
        self.gauges.tick(now);
        let missing = self.heartbeats.missing(now, &Scope::default());
        let sources: BTreeSet<&str> = missing.iter().map(|missing| missing.subject.as_str()).collect();
        self.silent.retain(|source, _| sources.contains(source.as_str()));
        for source in sources {
            *self.silent.entry(source.to_owned()).or_default() += 1;
        }
    }

    /// What users had until `at` was dealt with (a rollout, a restart, an incident that ended): it is no
    /// trouble any more, and not what is usual either.
    pub fn forgive(&mut self, at: Timestamp) {
        self.served.forgive(at);
    }

    /// Whether nothing is amiss now.
    pub fn is_well(&self, now: Timestamp) -> bool {
        let scope = Scope::default();
        self.served.is_well()
            && self.gauges.exhausted(now, &scope).is_empty()
            && self.silent(now, &scope).is_empty()
            && self.crash_loops(now, &scope).is_empty()
    }

    /// Values of series that were over the limit, and signs of life of sources that were.
    pub fn rejected(&self) -> u64 {
        self.gauges.rejected() + self.heartbeats.rejected()
    }

    /// What is found now.
    pub fn found(&self, now: Timestamp, scope: &Scope) -> Found {
        let trouble = self.served.trouble();
        let objectives = self.served.objectives();
        let mut noticed = Noticed::default();
        for trouble in &trouble {
            let burn = match trouble.suffering {
                Suffering::Failing => {
                    noticed.failing = Some(trouble.share);
                    noticed.failed = Some(trouble.suffered);
                    trouble.share / objectives.failing_max.max(1e-9)
                }
                Suffering::Slow => trouble.share / objectives.slow_max.max(1e-9),
            };
            noticed.burn_rate = Some(noticed.burn_rate.unwrap_or(0.0).max(burn));
        }
        let mut signs: Vec<Anomaly> = trouble
            .iter()
            .map(|trouble| sign(trouble, objectives.slow_ms, now, scope))
            .collect();
        signs.extend(self.gauges.exhausted(now, scope));
        signs.extend(self.silent(now, scope));
        signs.extend(self.crash_loops(now, scope));
        Found {
            signs,
            circumstances: self.gauges.moved(now, scope),
            noticed,
        }
    }

    fn silent(&self, now: Timestamp, scope: &Scope) -> Vec<Anomaly> {
        let scope = Scope {
            release: None,
            ..scope.clone()
        };
        let mut missing = self.heartbeats.missing(now, &scope);
        missing.retain(|missing| {
            let ticks = self.silent.get(&missing.subject);
            ticks.is_some_and(|ticks| *ticks >= TICKS_SILENT_MIN)
        });
        missing
    }

    fn crash_loops(&self, now: Timestamp, scope: &Scope) -> Vec<Anomaly> {
        let mut found = Vec::new();
        for (instance, restarts) in &self.restarts {
            let lately = restarts
                .times
                .iter()
                .filter(|at| now.0.saturating_sub(at.0) <= RESTARTS_WITHIN_MS)
                .count();
            let Some(first) = restarts.times.front().filter(|_| lately >= RESTARTS_MIN) else {
                continue;
            };
            let seconds = RESTARTS_WITHIN_MS / 1_000;
            let text = format!("{instance} ended and was started again {lately} times within {seconds} s");
            let anomaly = scope.anomaly(Signal::Events, Kind::CrashLoop, now, *first);
            let numbers = (lately as f64, 0.0, "restarts");
            found.push(anomaly.with(instance.clone(), score_of(1e6f64.ln()), numbers, text));
        }
        found
    }
}

fn sign(trouble: &Trouble, slow_ms: u64, now: Timestamp, scope: &Scope) -> Anomaly {
    let (subject, does) = match trouble.suffering {
        Suffering::Failing => ("failed requests".to_owned(), "fail".to_owned()),
        Suffering::Slow => (SLOW_REQUESTS.to_owned(), format!("take longer than {slow_ms} ms")),
    };
    let place = scope
        .service
        .as_ref()
        .map_or_else(|| "the service".to_owned(), ToString::to_string);
    let text = format!(
        "{} of the requests of {place} {does}: {} of the last {}, {} is allowed or usual",
        percent(trouble.share),
        count(trouble.suffered),
        count(trouble.requests),
        percent(trouble.reference)
    );
    let numbers = (trouble.share * 100.0, trouble.reference * 100.0, "%");
    let anomaly = scope.anomaly(Signal::Metrics, Kind::Regression, now, trouble.onset);
    anomaly.with(subject, score_of(trouble.log_e), numbers, text)
}
