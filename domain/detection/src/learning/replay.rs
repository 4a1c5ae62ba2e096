//! Plays recordings against models: how soon, how surely, how often wrongly.

use serde::{Deserialize, Serialize};

use super::{Episode, Models};
use crate::anomaly::Class;
use crate::templates::{Line, Watch};
use crate::verdict::{Config, Judge};

/// Sureness is read so long after the onset.
const SURE_AFTER_MS: i64 = 2_000;
/// Evidence beyond e to this makes nobody surer.
const LOG_E_MAX: f64 = 30.0;
/// A template is found when its score reaches this.
const TEMPLATE_SCORE_MIN: f64 = 0.5;
/// Templates are looked at every so many lines.
const LINES_STEP: usize = 5;

/// How one episode went.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Run {
    /// The episode's name.
    pub name: String,
    /// Whether a regression was called.
    pub called: bool,
    /// From the onset to the call, in milliseconds; for an incident that was not called, to its end.
    pub delay_ms: Option<i64>,
    /// The candidate's requests from the onset to then.
    pub requests: Option<u64>,
    /// ln of the evidence two seconds after the onset, or at the call if that was sooner.
    pub log_e: Option<f64>,
    /// The candidate's lines until a template was found.
    pub lines: Option<usize>,
    /// Called though nothing was wrong, or before anything was, or though the cause lay elsewhere.
    pub false_alarm: bool,
}

/// How a set of episodes went.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Replayed {
    /// Each episode.
    pub runs: Vec<Run>,
    /// Incidents among them.
    pub incidents: usize,
    /// Incidents that were called.
    pub detected: usize,
    /// Mean delay of incidents in milliseconds; those not called count to their end.
    pub delay_ms_mean: f64,
    /// Mean of the candidate's requests from onset to call.
    pub requests_mean: f64,
    /// Mean ln of the evidence two seconds after the onset.
    pub log_e_mean: f64,
    /// Calls on clean traffic, or before the onset.
    pub false_alarms: usize,
}

/// Plays the episodes against the models.
pub fn replay(models: &Models, config: &Config, episodes: &[Episode]) -> Replayed {
    let config = models.config(config);
    let runs: Vec<Run> = episodes
        .iter()
        .map(|episode| run(models, &config, episode))
        .collect();
    let mean = |values: Vec<f64>| values.iter().sum::<f64>() / values.len().max(1) as f64;
    Replayed {
        incidents: episodes.iter().filter(|e| e.is_incident()).count(),
        detected: runs
            .iter()
            .filter(|r| r.delay_ms.is_some() && r.called && !r.false_alarm)
            .count(),
        delay_ms_mean: mean(
            runs.iter()
                .filter_map(|r| r.delay_ms)
                .map(|ms| ms as f64)
                .collect(),
        ),
        requests_mean: mean(runs.iter().filter_map(|r| r.requests).map(|n| n as f64).collect()),
        log_e_mean: mean(runs.iter().filter_map(|r| r.log_e).collect()),
        false_alarms: runs.iter().filter(|r| r.false_alarm).count(),
        runs,
    }
}

fn run(models: &Models, config: &Config, episode: &Episode) -> Run {
    let mut judge = Judge::new(config.clone(), Some(episode.past.clone()));
    let (mut requests, mut log_e) = (0, None);
    for batch in &episode.batches {
        judge.add(batch);
        let since = episode.onset.map(|onset| batch.at.0.saturating_sub(onset.0));
        if since.is_some_and(|since| since >= 0) {
            requests += batch.candidate.requests;
        }
        let called = judge.called_at().is_some();
        if log_e.is_none() && since.is_some_and(|since| since >= SURE_AFTER_MS || (since >= 0 && called)) {
            log_e = Some(sureness(&judge));
        }
        if called {
            break;
        }
    }
    let called_at = judge.called_at();
    // A release blamed for what lay elsewhere is a false alarm too.
    let blameless = episode
        .class
        .is_some_and(|class| !matches!(class, Class::BadRelease | Class::ConfigurationChange));
    let end = episode.batches.last().map(|batch| batch.at);
    let early = match (called_at, episode.onset) {
        (Some(called), Some(onset)) => called < onset,
        (Some(_), None) => true,
        (None, _) => false,
    };
    let until = |onset: trimtab_model::Timestamp| {
        let at = called_at.filter(|_| !early).or(end)?;
        Some(at.0.saturating_sub(onset.0))
    };
    Run {
        name: episode.name.clone(),
        called: called_at.is_some(),
        delay_ms: episode.onset.and_then(until),
        requests: episode.onset.map(|_| requests),
        log_e: episode.onset.map(|_| log_e.unwrap_or_else(|| sureness(&judge))),
        lines: lines_until_found(models, episode),
        false_alarm: early || (blameless && called_at.is_some()),
    }
}

/// Beyond so much evidence nobody is surer.
fn sureness(judge: &Judge) -> f64 {
    judge.log_e_suspected().min(LOG_E_MAX)
}

fn lines_until_found(models: &Models, episode: &Episode) -> Option<usize> {
    let mut watch = Watch::new(models.templates.clone());
    let mut candidate = 0;
    for (number, line) in episode.lines.iter().enumerate() {
        watch.line(&Line {
            at: line.at,
            arm: line.arm,
            weight: f64::from(line.weight_basis_points) / 10_000.0,
            severity: line.severity,
            text: &line.text,
        });
        candidate += usize::from(line.arm == Some(trimtab_model::Arm::Candidate));
        if number % LINES_STEP == 0
            && watch
                .findings()
                .first()
                .is_some_and(|f| f.score >= TEMPLATE_SCORE_MIN)
        {
            return Some(candidate);
        }
    }
    None
}
