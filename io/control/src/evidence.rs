//! The proxy's counts become evidence: verdicts per rollout, recent traffic per environment, and the
//! recordings from which a closed incident is learned.

mod kept;

use std::collections::{BTreeMap, VecDeque};
use std::path::{Path, PathBuf};
use std::sync::Mutex;

use serde::{Deserialize, Serialize};
use tokio::sync::watch;
use trimtab_detection::causes::Endpoint;
use trimtab_detection::learning::{Episode, KnownTemplate, RecordedLine};
use trimtab_detection::spans::{SpanView, Spans};
use trimtab_detection::templates::{Line, Watch};
use trimtab_detection::verdict::{Batch as Counts, Config, Decision, Judge, Outcomes, Past, Verdict};
use trimtab_detection::{Anomaly, Scope};
use trimtab_model::{Arm, EnvironmentName, Generation, ReleaseId, RolloutId, ServiceName, Timestamp, Weight};
use trimtab_proxy::{Cell, Frame};
use trimtab_telemetry::Batch;

use kept::File;

/// Length of a window of the past.
const PAST_WINDOW_MS: i64 = 5_000;
/// Frames of recent traffic that are kept per environment: about ten minutes.
const RECENT_MAX: usize = 3_000;
/// Endpoints that are told apart per rollout.
const ENDPOINTS_MAX: usize = 200;
/// Version of the evidence files.
const FILE_VERSION: u32 = 1;

/// Which environment of which service.
pub type Place = (ServiceName, EnvironmentName);

/// What a rollout's evidence is about.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Subject {
    /// The rollout.
    pub rollout: RolloutId,
    /// Which environment of which service.
    pub place: Place,
    /// The release on trial.
    pub candidate: ReleaseId,
    /// The release before.
    pub baseline: Option<ReleaseId>,
}

/// One stretch of an environment's traffic.
#[derive(Debug, Clone)]
pub struct Stretch {
    /// When it ended.
    pub at: Timestamp,
    /// The release that served.
    pub release: ReleaseId,
    /// Whether these were copies whose answers were dropped.
    pub mirrored: bool,
    /// Whether these were requests that change nothing.
    pub safe: bool,
    /// What they came to.
    pub outcomes: Outcomes,
}

struct Trial {
    subject: Subject,
    config: Config,
    judge: Judge,
    /// The way forward that the evidence belongs to; a new one starts it anew.
    generation: Option<Generation>,
    /// The candidate's requests by the weight at which they came, in basis points.
    requests: BTreeMap<u16, u64>,
    episode: Episode,
    arms: Arms,
    weight: Weight,
    endpoints: BTreeMap<String, Endpoint>,
    templates: Watch,
    spans: Spans,
    first_request_at: Option<Timestamp>,
    sequence: u64,
}

#[derive(Default)]
struct Traffic {
    recent: VecDeque<Stretch>,
    past: BTreeMap<ReleaseId, (Past, Timestamp, Outcomes)>,
}

#[derive(Default)]
struct Books {
    trials: BTreeMap<RolloutId, Trial>,
    traffic: BTreeMap<Place, Traffic>,
}

/// All evidence.
pub struct Evidence {
    dir: PathBuf,
    books: Mutex<Books>,
    changed: watch::Sender<u64>,
}

/// Everything that both arms of a rollout served, exactly.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Arms {
    /// The previous release's.
    pub baseline: Outcomes,
    /// The candidate's.
    pub candidate: Outcomes,
}

/// What is kept of a rollout's evidence, also when it is over.
#[derive(Debug, Clone)]
pub struct Kept {
    /// The verdict.
    pub verdict: Verdict,
    /// Both arms' counts.
    pub arms: Arms,
    /// When the trouble began, as far as the evidence shows.
    pub onset: Option<Timestamp>,
}

/// What is known about a trial, to classify and report it.
#[derive(Debug, Clone)]
pub struct Findings {
    /// What it is about.
    pub subject: Subject,
    /// The verdict.
    pub verdict: Verdict,
    /// New and surging templates, slow, failing and new spans.
    pub anomalies: Vec<Anomaly>,
    /// Both arms by endpoint.
    pub endpoints: Vec<Endpoint>,
    /// When the trouble began, as far as the evidence shows.
    pub onset: Option<Timestamp>,
    /// When the candidate answered its first request.
    pub first_request_at: Option<Timestamp>,
}

impl Evidence {
    /// Evidence kept beneath `dir`.
    pub fn new(dir: &Path) -> Self {
        Self {
            dir: dir.to_owned(),
            books: Mutex::default(),
            changed: watch::Sender::new(0),
        }
    }

    /// Counts changes.
    pub fn changes(&self) -> watch::Receiver<u64> {
        self.changed.subscribe()
    }

    /// Begins a trial, or goes on with the one begun before a restart.
    pub fn begin(&self, subject: Subject, config: Config, known: Vec<KnownTemplate>) {
        let mut books = self.lock();
        if books.trials.contains_key(&subject.rollout) {
            return;
        }
        // The trial before stays until here, so that an incident can still report on it.
        books
            .trials
            .retain(|_, trial| trial.subject.place != subject.place);
        let past = past_of(&books, &subject);
        let name = subject.rollout.to_string();
        let file = self.load(&subject.rollout).unwrap_or_else(|| File {
            version: FILE_VERSION,
            subject: subject.clone(),
            judge: judge(&config, &past),
            episode: Episode::new(name, past),
            arms: Arms::default(),
            sequence: 0,
            generation: None,
            requests: BTreeMap::new(),
        });
        let File {
            judge,
            episode,
            arms,
            sequence,
            generation,
            requests,
            ..
        } = file;
        let trial = Trial {
            subject: subject.clone(),
            config,
            judge,
            generation,
            requests,
            episode,
            arms,
            weight: Weight::ZERO,
            endpoints: BTreeMap::new(),
            templates: Watch::new(known),
            spans: Spans::default(),
            first_request_at: None,
            sequence,
        };
        books.trials.insert(subject.rollout, trial);
    }

    /// Says which way forward the evidence from now on belongs to. A candidate that goes forward anew is
    /// judged anew.
    pub fn belongs_to(&self, rollout: &RolloutId, generation: Generation) {
        let mut books = self.lock();
        let Some(subject) = books.trials.get(rollout).map(|trial| trial.subject.clone()) else {
            return;
        };
        let past = past_of(&books, &subject);
        let Some(trial) = books.trials.get_mut(rollout) else {
            return;
        };
        if trial.generation.is_some_and(|known| known != generation) {
            trial.judge = judge(&trial.config, &past);
            trial.requests.clear();
        }
        trial.generation = Some(generation);
    }

    /// How many requests the candidate has answered while its share was `weight`.
    pub fn requests_at(&self, rollout: &RolloutId, weight: Weight) -> u64 {
        let books = self.lock();
        let trial = books.trials.get(rollout);
        trial
            .and_then(|trial| trial.requests.get(&weight.basis_points()).copied())
            .unwrap_or(0)
    }

    /// Takes a frame of the proxy.
    pub fn take_frame(&self, frame: &Frame) {
        let mut books = self.lock();
        for cell in &frame.cells {
            note_traffic(&mut books, cell, frame.at);
        }
        let mut counts: BTreeMap<(RolloutId, Weight), Counts> = BTreeMap::new();
        for cell in frame.cells.iter().filter(|cell| !cell.mirrored) {
            let Some(rollout) = &cell.rollout else { continue };
            let batch = counts
                .entry((rollout.clone(), cell.weight))
                .or_insert_with(|| Counts::new(frame.at, cell.weight));
            match cell.arm {
                Arm::Baseline => batch.baseline.merge(&outcomes(cell)),
                Arm::Candidate => batch.candidate.merge(&outcomes(cell)),
            }
            if let Some(trial) = books.trials.get_mut(rollout) {
                note_endpoint(trial, cell);
            }
        }
        for ((rollout, weight), batch) in counts {
            let Some(trial) = books.trials.get_mut(&rollout) else {
                continue;
            };
            if frame.sequence <= trial.sequence {
                continue;
            }
            if batch.candidate.requests > 0 && trial.first_request_at.is_none() {
                trial.first_request_at = Some(frame.at);
            }
            trial.weight = weight;
            trial.arms.baseline.merge(&batch.baseline);
            trial.arms.candidate.merge(&batch.candidate);
            *trial.requests.entry(weight.basis_points()).or_default() += batch.candidate.requests;
            // At the ends of a rollout there is one arm only, and nothing to compare.
            if weight != Weight::ZERO && weight != Weight::FULL {
                trial.judge.add(&batch);
                trial.episode.push(batch);
            }
        }
        for trial in books.trials.values_mut() {
            trial.sequence = trial.sequence.max(frame.sequence);
        }
        drop(books);
        self.changed.send_modify(|count| *count += 1);
    }

    /// Takes logs and spans of instances as they were stored.
    pub fn take_signals(&self, batch: &Batch) {
        let mut books = self.lock();
        for log in &batch.logs {
            let Some(trial) = trial_of(&mut books, &log.identity) else {
                continue;
            };
            let line = Line {
                at: Timestamp::from_nanos(log.at_nanos),
                arm: log.identity.cohort,
                weight: trial.weight.probability(),
                severity: log.level.severity_number(),
                text: &log.body,
            };
            trial.templates.line(&line);
            trial.episode.push_line(RecordedLine {
                at: line.at,
                arm: line.arm,
                weight_basis_points: trial.weight.basis_points(),
                severity: line.severity,
                text: log.body.clone(),
            });
        }
        let roots: BTreeMap<_, String> = batch
            .spans
            .iter()
            .filter(|span| span.kind == trimtab_telemetry::SpanKind::Server)
            .map(|span| (span.trace_id, span.name.clone()))
            .collect();
        for span in &batch.spans {
            let Some(trial) = trial_of(&mut books, &span.identity) else {
                continue;
            };
            let operation = roots
                .get(&span.trace_id)
                .map_or(span.name.as_str(), String::as_str);
            trial.spans.add(&SpanView {
                at: Timestamp::from_nanos(span.end_nanos),
                arm: span.identity.cohort,
                operation,
                name: &span.name,
                micros: span.duration_nanos() / 1_000,
                error: span.status == trimtab_telemetry::SpanStatus::Error,
            });
        }
    }

    /// The decision on a rollout so far.
    pub fn decision(&self, rollout: &RolloutId) -> Option<Decision> {
        self.lock()
            .trials
            .get(rollout)
            .map(|trial| trial.judge.decision())
    }

    /// The whole verdict on a rollout so far.
    pub fn verdict(&self, rollout: &RolloutId) -> Option<Verdict> {
        self.lock().trials.get(rollout).map(|trial| trial.judge.verdict())
    }

    /// Everything that was found about a rollout.
    pub fn findings(&self, rollout: &RolloutId, at: Timestamp) -> Option<Findings> {
        let books = self.lock();
        let trial = books.trials.get(rollout)?;
        let scope = Scope {
            service: Some(trial.subject.place.0.clone()),
            environment: Some(trial.subject.place.1.clone()),
            release: Some(trial.subject.candidate.clone()),
        };
        let mut anomalies = trial.templates.anomalies(at, &scope);
        anomalies.extend(trial.spans.anomalies(at, &scope));
        Some(Findings {
            subject: trial.subject.clone(),
            verdict: trial.judge.verdict(),
            anomalies,
            endpoints: trial.endpoints.values().cloned().collect(),
            onset: trial.judge.onset(),
            first_request_at: trial.first_request_at,
        })
    }

    /// The recording of a rollout.
    pub fn episode(&self, rollout: &RolloutId) -> Option<Episode> {
        self.lock().trials.get(rollout).map(|trial| trial.episode.clone())
    }

    /// An environment's traffic since a moment, stretch by stretch.
    pub fn traffic_since(&self, place: &Place, since: Timestamp) -> Vec<Stretch> {
        let books = self.lock();
        let recent = books.traffic.get(place).map(|traffic| &traffic.recent);
        recent
            .into_iter()
            .flatten()
            .rev()
            .take_while(|stretch| stretch.at > since)
            .cloned()
            .collect()
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Books> {
        self.books
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

fn outcomes(cell: &Cell) -> Outcomes {
    Outcomes {
        requests: cell.requests,
        errors: cell.errors,
        client_errors: cell.client_errors,
        latency: cell.latency.clone(),
    }
}

fn trial_of<'b>(books: &'b mut Books, identity: &trimtab_model::Identity) -> Option<&'b mut Trial> {
    let place = (identity.service.as_ref()?, identity.environment.as_ref()?);
    books
        .trials
        .values_mut()
        .find(|trial| (&trial.subject.place.0, &trial.subject.place.1) == place)
}

fn judge(config: &Config, past: &Past) -> Judge {
    Judge::new(config.clone(), (past.total().requests > 0).then(|| past.clone()))
}

fn past_of(books: &Books, subject: &Subject) -> Past {
    let baseline = subject.baseline.as_ref();
    let traffic = books.traffic.get(&subject.place);
    let kept = baseline.and_then(|baseline| traffic.and_then(|traffic| traffic.past.get(baseline)));
    kept.map(|(past, _, _)| past.clone()).unwrap_or_default()
}

fn note_traffic(books: &mut Books, cell: &Cell, at: Timestamp) {
    let place = (cell.service.clone(), cell.environment.clone());
    let traffic = books.traffic.entry(place).or_default();
    let outcomes = outcomes(cell);
    if !cell.mirrored {
        let (past, begun, window) = traffic
            .past
            .entry(cell.release.clone())
            .or_insert_with(|| (Past::default(), at, Outcomes::default()));
        window.merge(&outcomes);
        if at.0 - begun.0 >= PAST_WINDOW_MS {
            past.push(std::mem::take(window));
            *begun = at;
        }
    }
    traffic.recent.push_back(Stretch {
        at,
        release: cell.release.clone(),
        mirrored: cell.mirrored,
        safe: cell.operation.starts_with("GET ") || cell.operation.starts_with("HEAD "),
        outcomes,
    });
    while traffic.recent.len() > RECENT_MAX {
        traffic.recent.pop_front();
    }
}

fn note_endpoint(trial: &mut Trial, cell: &Cell) {
    if trial.endpoints.len() >= ENDPOINTS_MAX && !trial.endpoints.contains_key(&cell.operation) {
        return;
    }
    let endpoint = trial
        .endpoints
        .entry(cell.operation.clone())
        .or_insert_with(|| Endpoint {
            operation: cell.operation.clone(),
            baseline: Default::default(),
            candidate: Default::default(),
        });
    let tally = match cell.arm {
        Arm::Baseline => &mut endpoint.baseline,
        Arm::Candidate => &mut endpoint.candidate,
    };
    tally.units += cell.requests;
    tally.bad += cell.errors;
}

#[cfg(test)]
mod tests;
