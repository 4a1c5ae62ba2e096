//! The proxy's counts become evidence: verdicts per rollout, recent traffic per environment, what is known of
//! each service, and the recordings from which a closed incident is learned.

mod judged;
mod kept;
mod known;
mod places;
mod traffic;

use std::collections::{BTreeMap, VecDeque};
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::sync::watch;
use trimtab_detection::causes::Endpoint;
use trimtab_detection::changes::ChangeEvent;
use trimtab_detection::learning::{Episode, KnownTemplate};
use trimtab_detection::verdict::{Assigned, Batch as Counts, Config, Judge, Outcomes, Panel, Past, Verdict};
use trimtab_detection::{Anomaly, Scope};
use trimtab_model::{
    Arm, EnvironmentName, Generation, LatencyHistogram, ReleaseId, RolloutId, ServiceName, Timestamp, Weight,
};
use trimtab_proxy::{Cell, Frame};

use kept::File;
use known::AllKnown;
pub use traffic::Stretch;
use traffic::{AllTraffic, outcomes};

/// Endpoints that are told apart per rollout.
const ENDPOINTS_MAX: usize = 200;
/// After a candidate's first request no arm's latencies are evidence for so long: its caches and pools are
/// cold, and that says nothing of it. Errors are, from the first.
const WARM_UP: Duration = Duration::from_secs(2);
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

struct Trial {
    subject: Subject,
    config: Config,
    judge: Judge,
    /// What is judged beside the counts, as it was when nothing had been seen, and as it is.
    blank: Panel,
    panel: Panel,
    /// When each metric of the team's own last answered.
    answered: BTreeMap<String, Timestamp>,
    /// The way forward that the evidence belongs to; a new one starts it anew.
    generation: Option<Generation>,
    /// The candidate's requests by the weight at which they came, in basis points.
    requests: BTreeMap<u16, u64>,
    episode: Episode,
    arms: Arms,
    endpoints: BTreeMap<String, Endpoint>,
    /// What lines and spans showed at its end.
    settled: Option<Vec<Anomaly>>,
    first_request_at: Option<Timestamp>,
    sequence: u64,
}

struct Books {
    trials: BTreeMap<RolloutId, Trial>,
    traffic: AllTraffic,
    known: AllKnown,
    changes: VecDeque<ChangeEvent>,
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
            books: Mutex::new(Books {
                trials: BTreeMap::new(),
                traffic: AllTraffic::default(),
                known: AllKnown::open(dir.join("known")),
                changes: VecDeque::new(),
            }),
            changed: watch::Sender::new(0),
        }
    }

    /// Counts changes.
    pub fn changes(&self) -> watch::Receiver<u64> {
        self.changed.subscribe()
    }

    /// Begins a trial, or goes on with the one begun before a restart.
    pub fn begin(&self, subject: Subject, config: Config, blank: Panel, known: Vec<KnownTemplate>) {
        let mut books = self.lock();
        if books.trials.contains_key(&subject.rollout) {
            return;
        }
        // The trial before stays until here, so that an incident can still report on it.
        books
            .trials
            .retain(|_, trial| trial.subject.place != subject.place);
        let past = past_of(&books, &subject);
        if let Some(of_place) = books.known.of(&subject.place) {
            of_place.begin(&subject.rollout, known);
        }
        let name = subject.rollout.to_string();
        let file = self.load(&subject.rollout).unwrap_or_else(|| File {
            version: FILE_VERSION,
            subject: subject.clone(),
            judge: judge(&config, &past),
            panel: blank.clone(),
            answered: BTreeMap::new(),
            episode: Episode::new(name, past),
            arms: Arms::default(),
            sequence: 0,
            generation: None,
            requests: BTreeMap::new(),
        });
        let File {
            judge,
            panel,
            answered,
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
            blank,
            panel,
            answered,
            generation,
            requests,
            episode,
            arms,
            endpoints: BTreeMap::new(),
            settled: None,
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
            trial.panel = trial.blank.clone();
            trial.answered.clear();
            trial.requests.clear();
        }
        trial.generation = Some(generation);
    }

    /// A rollout ended. What its candidate said and did is known from now on when it was `kept`.
    pub fn settle(&self, rollout: &RolloutId, kept: bool, at: Timestamp) {
        let mut books = self.lock();
        let Books { trials, known, .. } = &mut *books;
        let Some(of_place) = known.on_trial(rollout) else {
            return;
        };
        // After a restart the trial itself may be gone; what is known must be settled all the same.
        if let Some(trial) = trials.get_mut(rollout) {
            trial.settled = Some(of_place.compared(at, &scope_of(&trial.subject)));
        }
        of_place.settle(kept, at);
    }

    /// Takes a frame of the proxy.
    pub fn take_frame(&self, frame: &Frame) {
        let mut books = self.lock();
        let Books {
            trials,
            traffic,
            known,
            ..
        } = &mut *books;
        for (place, outcomes) in traffic.take(frame) {
            if let Some(known) = known.of(&place) {
                known.steady.traffic(&outcomes);
            }
        }
        let mut counts: BTreeMap<(RolloutId, Weight), Counts> = BTreeMap::new();
        for cell in frame.cells.iter().filter(|cell| !cell.mirrored) {
            let Some(rollout) = &cell.rollout else { continue };
            let Some(trial) = trials.get_mut(rollout) else {
                continue;
            };
            let arm = arm_of(&trial.subject, cell);
            note_endpoint(trial, cell, arm);
            if let Some(known) = known.of(&trial.subject.place) {
                known.weight = cell.weight;
            }
            if arm == Arm::Candidate && cell.requests > 0 {
                trial.first_request_at.get_or_insert(frame.at);
            }
            // Counted before a restart: the proxy gave the frame again.
            if frame.sequence <= trial.sequence {
                continue;
            }
            let served = match arm {
                Arm::Baseline => &mut trial.arms.baseline,
                Arm::Candidate => &mut trial.arms.candidate,
            };
            served.merge(&outcomes(cell));
            if arm == Arm::Candidate {
                *trial.requests.entry(cell.weight.basis_points()).or_default() += cell.requests;
            }
            // No coin was tossed for users whose arm was known: they are no evidence.
            let weight = Weight::from_percent(cell.probability() * 100.0).unwrap_or(Weight::ZERO);
            if cell.returning || weight == Weight::ZERO || weight == Weight::FULL {
                continue;
            }
            let batch = counts
                .entry((rollout.clone(), weight))
                .or_insert_with(|| Counts::new(frame.at, weight));
            count(batch, cell);
        }
        for ((rollout, _), mut batch) in counts {
            if let Some(trial) = trials.get_mut(&rollout) {
                let first = trial.first_request_at.unwrap_or(frame.at);
                if frame.at.since(first) < WARM_UP {
                    batch.baseline.latency = LatencyHistogram::default();
                    batch.candidate.latency = LatencyHistogram::default();
                }
                trial.judge.add(&batch);
                trial.panel.decide(&trial.judge, batch.at);
                trial.episode.push(batch);
            }
        }
        for trial in trials.values_mut() {
            trial.sequence = trial.sequence.max(frame.sequence);
        }
        drop(books);
        self.changed.send_modify(|count| *count += 1);
    }

    /// Everything that was found about a rollout.
    pub fn findings(&self, rollout: &RolloutId, at: Timestamp) -> Option<Findings> {
        let books = self.lock();
        let trial = books.trials.get(rollout)?;
        let anomalies = trial.settled.clone().unwrap_or_else(|| {
            let known = books.known.get(&trial.subject.place);
            let known = known.filter(|known| known.trial.as_ref() == Some(rollout));
            known.map_or_else(Vec::new, |known| known.compared(at, &scope_of(&trial.subject)))
        });
        Some(Findings {
            subject: trial.subject.clone(),
            verdict: trial.verdict(),
            anomalies,
            endpoints: trial.endpoints.values().cloned().collect(),
            onset: trial.panel.onset(),
            first_request_at: trial.first_request_at,
        })
    }

    /// The recording of a rollout.
    pub fn episode(&self, rollout: &RolloutId) -> Option<Episode> {
        self.lock().trials.get(rollout).map(|trial| trial.episode.clone())
    }

    /// An environment's traffic since a moment, stretch by stretch.
    pub fn traffic_since(&self, place: &Place, since: Timestamp) -> Vec<Stretch> {
        self.lock().traffic.since(place, since)
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Books> {
        self.books
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

fn judge(config: &Config, past: &Past) -> Judge {
    Judge::new(config.clone(), (past.total().requests > 0).then(|| past.clone()))
}

fn past_of(books: &Books, subject: &Subject) -> Past {
    let baseline = subject.baseline.as_ref();
    let past = baseline.map(|baseline| books.traffic.past(&subject.place, baseline));
    past.unwrap_or_default()
}

fn scope_of(subject: &Subject) -> Scope {
    Scope {
        service: Some(subject.place.0.clone()),
        environment: Some(subject.place.1.clone()),
        release: Some(subject.candidate.clone()),
    }
}

/// A first release serves alone: to the proxy it is the only arm, the baseline's.
fn arm_of(subject: &Subject, cell: &Cell) -> Arm {
    if subject.baseline.is_none() && cell.release == subject.candidate {
        return Arm::Candidate;
    }
    cell.arm
}

/// What is said of a rollout; without a baseline nothing is compared.
fn verdict_of(subject: &Subject, verdict: Verdict, arms: &Arms) -> Verdict {
    if subject.baseline.is_some() {
        return verdict;
    }
    let Outcomes { requests, errors, .. } = arms.candidate;
    let reason = format!(
        "a first release: there is nothing to compare it with; {errors} of its {requests} requests failed"
    );
    Verdict { reason, ..verdict }
}

/// Adds a cell to its arm: its outcomes, and how many coins were tossed for it.
fn count(batch: &mut Counts, cell: &Cell) {
    let assigned = batch.assigned.get_or_insert_with(Assigned::default);
    match cell.arm {
        Arm::Baseline => {
            assigned.baseline += cell.assigned();
            batch.baseline.merge(&outcomes(cell));
        }
        Arm::Candidate => {
            assigned.candidate += cell.assigned();
            batch.candidate.merge(&outcomes(cell));
        }
    }
}

fn note_endpoint(trial: &mut Trial, cell: &Cell, arm: Arm) {
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
    let tally = match arm {
        Arm::Baseline => &mut endpoint.baseline,
        Arm::Candidate => &mut endpoint.candidate,
    };
    tally.units += cell.requests;
    tally.bad += cell.errors;
}

#[cfg(test)]
mod tests;
