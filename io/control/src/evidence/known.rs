//! What is known of each service in each environment, rollout or not: its lines, its calls, its levels.
//!
//! Kept on disk, each place in a file of its own with a version; after a crash at most a minute of it is lost.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use trimtab_detection::learning::KnownTemplate;
use trimtab_detection::spans::{SpanView, Spans};
use trimtab_detection::steady::{Gauge, Objectives, Steady};
use trimtab_detection::templates::{Line, Watch};
use trimtab_detection::{Anomaly, Scope};
use trimtab_model::{Arm, Identity, RolloutId, Timestamp, Weight};
use trimtab_telemetry::{LogRecord, Sample, Span, SpanStatus, is_stale};

use super::Place;

/// Version of the files.
const FILE_VERSION: u32 = 1;
/// Places that are known; telemetry of further ones is counted as rejected.
const PLACES_MAX: usize = 64;
const MEGABYTE: f64 = 1_048_576.0;

/// What is known of one place.
#[derive(Default, Serialize, Deserialize)]
pub(super) struct Known {
    pub(super) templates: Watch,
    pub(super) spans: Spans,
    pub(super) steady: Steady,
    /// The rollout whose arms are told apart now.
    pub(super) trial: Option<RolloutId>,
    /// The candidate's weight in it.
    #[serde(default)]
    pub(super) weight: Weight,
}

#[derive(Serialize, Deserialize)]
struct File {
    version: u32,
    place: Place,
    known: Known,
}

/// All places.
pub(super) struct AllKnown {
    dir: PathBuf,
    places: BTreeMap<Place, Known>,
    /// The host's capacities, as last reported, in megabytes.
    memory_total: Option<f64>,
    disk_total: Option<f64>,
    rejected: u64,
}

impl Known {
    /// The arm that lines and spans of `identity` belong to now.
    fn arm(&self, identity: &Identity) -> Option<Arm> {
        let ours = self.trial.is_some() && identity.rollout == self.trial;
        identity.cohort.filter(|_| ours)
    }

    pub(super) fn begin(&mut self, rollout: &RolloutId, known: Vec<KnownTemplate>) {
        if self.trial.as_ref() == Some(rollout) {
            return;
        }
        self.templates.begin(known);
        self.spans.settle(true);
        self.trial = Some(rollout.clone());
    }

    pub(super) fn settle(&mut self, kept: bool, at: Timestamp) {
        self.templates.settle(kept);
        self.spans.settle(kept);
        self.trial = None;
        self.weight = Weight::ZERO;
        self.forgive(at);
    }

    pub(super) fn forgive(&mut self, at: Timestamp) {
        self.templates.forgive();
        self.steady.forgive(at);
    }

    /// What the lines and spans of the trial show.
    pub(super) fn compared(&self, at: Timestamp, scope: &Scope) -> Vec<Anomaly> {
        let mut anomalies = self.templates.anomalies(at, scope);
        anomalies.extend(self.spans.anomalies(at, scope));
        anomalies
    }

    /// Takes a line; gives it as the trial sees it, when it belongs to one of its arms.
    pub(super) fn line(&mut self, log: &LogRecord) -> Option<(Arm, RolloutId)> {
        let arm = self.arm(&log.identity);
        self.templates.line(&Line {
            at: Timestamp::from_nanos(log.at_nanos),
            arm,
            weight: self.weight.probability(),
            severity: log.level.severity_number(),
            text: &log.body,
        });
        arm.zip(self.trial.clone())
    }

    pub(super) fn span(&mut self, span: &Span, operation: &str) {
        self.spans.add(&SpanView {
            at: Timestamp::from_nanos(span.end_nanos),
            arm: self.arm(&span.identity),
            operation,
            name: &span.name,
            micros: span.duration_nanos() / 1_000,
            error: span.status == SpanStatus::Error,
        });
    }
}

impl AllKnown {
    /// Reads what was kept beneath `dir`.
    pub(super) fn open(dir: PathBuf) -> Self {
        let mut places = BTreeMap::new();
        let entries = std::fs::read_dir(&dir).into_iter().flatten().flatten();
        for entry in entries.filter(|entry| entry.path().extension().is_some_and(|end| end == "json")) {
            match read(&entry.path()) {
                Ok(file) => {
                    places.insert(file.place, file.known);
                }
                Err(reason) => tracing::warn!(
                    file = %entry.path().display(),
                    reason,
                    "what was known of a service is learned anew"
                ),
            }
        }
        AllKnown {
            dir,
            places,
            memory_total: None,
            disk_total: None,
            rejected: 0,
        }
    }

    /// The files to write, each with its bytes.
    pub(super) fn files(&self) -> Vec<(PathBuf, Vec<u8>)> {
        let file = |(place, known): (&Place, &Known)| {
            #[derive(Serialize)]
            struct Borrowed<'a> {
                version: u32,
                place: &'a Place,
                known: &'a Known,
            }
            let bytes = serde_json::to_vec(&Borrowed {
                version: FILE_VERSION,
                place,
                known,
            });
            let path = self.dir.join(format!("{}.{}.json", place.0, place.1));
            bytes.ok().map(|bytes| (path, bytes))
        };
        self.places.iter().filter_map(file).collect()
    }

    pub(super) fn get(&self, place: &Place) -> Option<&Known> {
        self.places.get(place)
    }

    pub(super) fn of(&mut self, place: &Place) -> Option<&mut Known> {
        if !self.places.contains_key(place) {
            if self.places.len() >= PLACES_MAX {
                self.rejected += 1;
                return None;
            }
            self.places.insert(place.clone(), Known::default());
        }
        self.places.get_mut(place)
    }

    /// The place whose arms are told apart for a rollout.
    pub(super) fn on_trial(&mut self, rollout: &RolloutId) -> Option<&mut Known> {
        self.places
            .values_mut()
            .find(|known| known.trial.as_ref() == Some(rollout))
    }

    pub(super) fn of_identity(&mut self, identity: &Identity) -> Option<&mut Known> {
        let place = (identity.service.clone()?, identity.environment.clone()?);
        self.of(&place)
    }

    pub(super) fn promise(&mut self, place: &Place, objectives: Objectives) {
        if let Some(known) = self.of(place) {
            known.steady.promise(objectives);
        }
    }

    /// Samples that were stored: the host's levels, and the signs of life that scrapes and pushes are.
    pub(super) fn samples(&mut self, samples: &[Sample]) {
        for sample in samples {
            let (name, at) = (sample.labels.metric(), Timestamp(sample.at_ms));
            if is_stale(sample.value) {
                continue;
            }
            match name {
                "trimtab_host_memory_total_bytes" => self.memory_total = Some(sample.value / MEGABYTE),
                "trimtab_host_disk_total_bytes" => self.disk_total = Some(sample.value / MEGABYTE),
                "trimtab_host_memory_used_bytes" => {
                    self.host(at, Gauge::HostMemory, sample.value, self.memory_total);
                }
                "trimtab_host_disk_used_bytes" => {
                    self.host(at, Gauge::HostDisk, sample.value, self.disk_total);
                }
                "scrape_duration_seconds" => {}
                "up" if sample.value < 1.0 => {}
                // Made here, whether the instance lives or not.
                name if name.starts_with("trimtab_") => {}
                _ => self.beat(sample, at),
            }
        }
    }

    fn beat(&mut self, sample: &Sample, at: Timestamp) {
        let named = |label| sample.labels.get(label);
        let (Some(service), Some(environment), Some(instance)) =
            (named("service"), named("environment"), named("instance"))
        else {
            return;
        };
        let (Ok(service), Ok(environment)) = (service.parse(), environment.parse()) else {
            return;
        };
        if let Some(known) = self.places.get_mut(&(service, environment)) {
            known.steady.beat(instance, at);
        }
    }

    fn host(&mut self, at: Timestamp, gauge: Gauge, bytes: f64, total: Option<f64>) {
        for known in self.places.values_mut() {
            known.steady.gauge(at, gauge, "", bytes / MEGABYTE, total);
        }
    }

    /// An instance's level, held against the host's memory where that is known.
    pub(super) fn instance(
        &mut self,
        place: &Place,
        at: Timestamp,
        instance: &str,
        cpu_percent: Option<f64>,
        rss_bytes: u64,
    ) {
        let total = self.memory_total;
        let Some(known) = self.of(place) else { return };
        if let Some(cpu) = cpu_percent {
            known.steady.gauge(at, Gauge::InstanceCpu, instance, cpu, None);
        }
        let memory = rss_bytes as f64 / MEGABYTE;
        known
            .steady
            .gauge(at, Gauge::InstanceMemory, instance, memory, total);
    }

    /// Telemetry of places beyond the limit.
    pub(super) fn rejected(&self) -> u64 {
        let steady = self.places.values().map(|known| known.steady.rejected());
        self.rejected + steady.sum::<u64>()
    }
}

fn read(path: &Path) -> Result<File, String> {
    let bytes = std::fs::read(path).map_err(|error| error.to_string())?;
    let file: File = serde_json::from_slice(&bytes).map_err(|error| error.to_string())?;
    if file.version != FILE_VERSION {
        return Err(format!("it is of version {}", file.version));
    }
    Ok(file)
}
