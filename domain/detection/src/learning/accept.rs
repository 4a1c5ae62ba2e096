//! Whether a change is taken: measured on the incidents, on variants of them, and on clean traffic.

use serde::{Deserialize, Serialize};

use super::{Episode, Models, Proposal, Replayed, replay, variant};
use crate::verdict::Config;

/// Delays that differ by less than this share count as the same.
const SAME: f64 = 0.01;

/// Evidence may be weaker by this share when faults are found sooner.
const WEAKER_MAX: f64 = 0.05;

/// A change that is taken.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Accepted {
    /// The models to use from now on.
    pub models: Models,
    /// Incidents and variants with the models as they were.
    pub before: Replayed,
    /// Incidents and variants with the models as they are now.
    pub after: Replayed,
    /// False alarms on clean traffic, before and after.
    pub false_alarms: (usize, usize),
    /// What was gained, in words.
    pub gain: String,
}

/// A change that is not taken.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Refused {
    /// Why, with numbers.
    pub reason: String,
    /// Incidents and variants with the models as they are.
    pub before: Replayed,
    /// Incidents and variants with the models as they would have been.
    pub after: Replayed,
}

/// What became of a proposal.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// The change is taken.
    Accepted(Box<Accepted>),
    /// The change is not taken.
    Refused(Box<Refused>),
}

/// Measures a proposal against the models in force: on `incidents` and a variant of each for each of
/// `seeds`, and on `clean` episodes (and as many variants of them).
pub fn accept(
    current: &Models,
    proposal: &Proposal,
    config: &Config,
    incidents: &[Episode],
    clean: &[Episode],
    seeds: &[u64],
) -> Outcome {
    let with_variants = |episodes: &[Episode]| -> Vec<Episode> {
        let variants = episodes
            .iter()
            .flat_map(|e| seeds.iter().map(|seed| variant(e, *seed)));
        episodes.iter().cloned().chain(variants).collect()
    };
    let (incidents, clean) = (with_variants(incidents), with_variants(clean));
    let before = replay(current, config, &incidents);
    let after = replay(&proposal.models, config, &incidents);
    let clean_before = replay(current, config, &clean).false_alarms;
    let clean_after = replay(&proposal.models, config, &clean).false_alarms;
    let fault = unusable(&proposal.models)
        .or_else(|| {
            let (had, has, of) = (clean_before, clean_after, clean.len());
            (has > had).then(|| format!("{has} false alarms on {of} clean episodes, {had} before"))
        })
        .or_else(|| worse(&before, &after));
    if let Some(reason) = fault {
        return Outcome::Refused(Box::new(Refused {
            reason,
            before,
            after,
        }));
    }
    Outcome::Accepted(Box::new(Accepted {
        models: proposal.models.clone(),
        false_alarms: (clean_before, clean_after),
        gain: gain(&before, &after),
        before,
        after,
    }))
}

/// Why the models after are no better than those before, if they are not.
fn worse(before: &Replayed, after: &Replayed) -> Option<String> {
    if after.false_alarms > before.false_alarms {
        return Some(format!(
            "{} incidents are called wrongly or before they began, {} before",
            after.false_alarms, before.false_alarms
        ));
    }
    if after.detected < before.detected {
        return Some(format!(
            "{} of {} incidents and variants are found, {} before",
            after.detected, after.incidents, before.detected
        ));
    }
    if after.delay_ms_mean > before.delay_ms_mean * (1.0 + SAME) {
        return Some(format!(
            "found after {:.0} ms on average, {:.0} ms before",
            after.delay_ms_mean, before.delay_ms_mean
        ));
    }
    if after.log_e_mean < before.log_e_mean * (1.0 - WEAKER_MAX) {
        return Some(format!(
            "evidence e^{:.1} two seconds after the onset, e^{:.1} before: sooner, but less sure",
            after.log_e_mean, before.log_e_mean
        ));
    }
    let sooner =
        after.delay_ms_mean < before.delay_ms_mean * (1.0 - SAME) || after.detected > before.detected;
    let surer = after.log_e_mean > before.log_e_mean * (1.0 + SAME);
    let found = |replayed: &Replayed| replayed.runs.iter().filter(|r| r.lines.is_some()).count();
    let logs =
        found(after) > found(before) || (found(after) == found(before) && lines(after) < lines(before));
    (!(sooner || surer || logs)).then(|| "nothing is found sooner or more surely".to_owned())
}

fn lines(replayed: &Replayed) -> usize {
    replayed.runs.iter().filter_map(|r| r.lines).sum()
}

fn gain(before: &Replayed, after: &Replayed) -> String {
    format!(
        "{} of {} found ({} before), after {:.0} ms on average ({:.0} before), evidence e^{:.1} two seconds after the onset (e^{:.1} before), log template after {} lines in all ({} before)",
        after.detected,
        after.incidents,
        before.detected,
        after.delay_ms_mean,
        before.delay_ms_mean,
        after.log_e_mean,
        before.log_e_mean,
        lines(after),
        lines(before)
    )
}

/// Why models cannot be used at all.
fn unusable(models: &Models) -> Option<String> {
    let metrics = models.mixture.metrics.iter().map(|share| share.weight);
    let lifts = models.mixture.lifts.iter().map(|lift| lift.weight);
    let sound = |weight: f64| weight.is_finite() && weight > 0.0;
    if models.version != Models::VERSION {
        return Some(format!(
            "the models are of version {}, not {}",
            models.version,
            Models::VERSION
        ));
    }
    if models.mixture.metrics.is_empty() || models.mixture.lifts.is_empty() {
        return Some("the models judge nothing".to_owned());
    }
    let odd = models.mixture.lifts.iter().any(|lift| {
        let rate_odd = lift.rate.is_some_and(|rate| !(rate > 0.0 && rate < 1.0));
        !lift.odds.is_finite() || lift.odds <= 1.0 || rate_odd
    });
    if odd || !metrics.chain(lifts).all(sound) {
        return Some("a share or a lift in the models is not a positive number".to_owned());
    }
    None
}
