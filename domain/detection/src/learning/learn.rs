//! What one incident would change.

use serde::{Deserialize, Serialize};

use super::{Change, Episode, KnownTemplate, Models, TEMPLATES_MAX, variant};
use crate::anomaly::Class;
use crate::templates::{Line, Watch};
use crate::verdict::{Config, Judge, Metric};
use crate::words::{cut, figure, percent};

/// How far one incident moves the shares towards what spoke in it.
const RATE: f64 = 0.3;
/// Variants of the incident that are learned with it: the next fault will not be quite the same.
const VARIANT_SEEDS: [u64; 8] = [1_001, 1_002, 1_003, 1_004, 1_005, 1_006, 1_007, 1_008];
/// No metric and no lift falls below this share: what never happened yet may still happen.
const SHARE_MIN: f64 = 0.02;
/// Templates that one incident teaches.
const TEMPLATES_LEARNED_MAX: usize = 5;
/// Templates below this score are not remembered.
const TEMPLATE_SCORE_MIN: f64 = 0.5;
/// Shares that move by less are not shown.
const SHOWN_MIN: f64 = 0.005;

/// Changed models with what changed; nothing is in force until it is accepted.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Proposal {
    /// The models as they would be.
    pub models: Models,
    /// What changes, for people.
    pub changes: Vec<Change>,
}

/// What `episode` would change in the models. A clean episode changes nothing.
pub fn learn(models: &Models, config: &Config, episode: &Episode) -> Proposal {
    let (mut learned, mut changes) = (models.clone(), Vec::new());
    let Some(class) = episode.class else {
        return Proposal {
            models: learned,
            changes,
        };
    };
    learned.incidents += 1;
    learn_base_rate(&mut learned, &mut changes, config, class);
    let spoke = spoke(&models.config(config), episode);
    if !spoke.is_empty() {
        learn_mixture(&mut learned, &mut changes, &spoke);
    }
    learn_templates(&mut learned, &mut changes, episode, class);
    Proposal {
        models: learned,
        changes,
    }
}

/// How often the release was at fault.
fn learn_base_rate(models: &mut Models, changes: &mut Vec<Change>, config: &Config, class: Class) {
    let before = models.config(config).fine_odds;
    match class {
        Class::BadRelease | Class::ConfigurationChange => models.at_fault += 1,
        Class::ResourceExhaustion
        | Class::DependencyFailure
        | Class::TrafficSurge
        | Class::DataOrInfrastructure => models.elsewhere += 1,
    }
    let after = models.config(config).fine_odds;
    let what = "odds at which the holdback counts as fine, so that the release alone is blamed";
    note(changes, what.to_owned(), before, after);
}

/// What spoke when the episode, and variants of it, first came under suspicion: metric, odds, share.
fn spoke(config: &Config, episode: &Episode) -> Vec<(Metric, f64, f64)> {
    let variants = VARIANT_SEEDS.map(|seed| variant(episode, seed));
    let mut all = Vec::new();
    for played in std::iter::once(episode).chain(&variants) {
        let mut judge = Judge::new(config.clone(), Some(played.past.clone()));
        for batch in &played.batches {
            judge.add(batch);
            if judge.log_e_suspected() >= (1.0 / config.alpha).ln() {
                all.extend(judge.speakers());
                break;
            }
        }
    }
    let total: f64 = all.iter().map(|(.., share)| share).sum();
    all.iter_mut().for_each(|(.., share)| *share /= total);
    all
}

fn learn_mixture(models: &mut Models, changes: &mut Vec<Change>, spoke: &[(Metric, f64, f64)]) {
    let mixture = &mut models.mixture;
    let targets: Vec<f64> = mixture
        .metrics
        .iter()
        .map(|share| {
            spoke
                .iter()
                .filter(|(m, ..)| *m == share.metric)
                .map(|(.., s)| s)
                .sum()
        })
        .collect();
    let before: Vec<f64> = mixture.metrics.iter().map(|share| share.weight).collect();
    for (share, weight) in mixture.metrics.iter_mut().zip(moved(&before, &targets)) {
        note(
            changes,
            format!("share of alpha on {}", share.metric),
            share.weight,
            weight,
        );
        share.weight = weight;
    }
    let targets: Vec<f64> = mixture
        .lifts
        .iter()
        .map(|lift| {
            spoke
                .iter()
                .filter(|(_, o, _)| (o - lift.odds).abs() < 1e-9)
                .map(|(.., s)| s)
                .sum()
        })
        .collect();
    let before: Vec<f64> = mixture.lifts.iter().map(|lift| lift.weight).collect();
    for (lift, weight) in mixture.lifts.iter_mut().zip(moved(&before, &targets)) {
        note(
            changes,
            match lift.rate {
                Some(rate) => format!("bet on {} of requests failing or slow", percent(rate)),
                None => format!("bet on odds {} times as high", figure(lift.odds)),
            },
            lift.weight,
            weight,
        );
        lift.weight = weight;
    }
}

/// Shares moved towards `targets`, none below the floor, summing to one, as round as files keep them.
fn moved(shares: &[f64], targets: &[f64]) -> Vec<f64> {
    let sum: f64 = shares.iter().sum();
    let mix = |(share, target): (&f64, &f64)| {
        ((1.0 - RATE) * share / sum.max(f64::MIN_POSITIVE) + RATE * target).max(SHARE_MIN)
    };
    let moved: Vec<f64> = shares.iter().zip(targets).map(mix).collect();
    let sum: f64 = moved.iter().sum();
    moved
        .into_iter()
        .map(|share| (share / sum * 1e6).round() / 1e6)
        .collect()
}

fn note(changes: &mut Vec<Change>, what: String, before: f64, after: f64) {
    if (after - before).abs() >= SHOWN_MIN {
        changes.push(Change { what, before, after });
    }
}

fn learn_templates(models: &mut Models, changes: &mut Vec<Change>, episode: &Episode, class: Class) {
    let mut watch = Watch::new(models.templates.clone());
    for line in &episode.lines {
        watch.line(&Line {
            at: line.at,
            arm: line.arm,
            weight: f64::from(line.weight_basis_points) / 10_000.0,
            severity: line.severity,
            text: &line.text,
        });
    }
    let found = watch
        .findings()
        .into_iter()
        .filter(|f| f.score >= TEMPLATE_SCORE_MIN);
    for finding in found.take(TEMPLATES_LEARNED_MAX) {
        let known = models.templates.iter_mut().find(|known| known.id == finding.id);
        let what = format!(
            "incidents known with the log template \"{}\"",
            cut(&finding.text, 120)
        );
        match known {
            Some(known) => {
                known.incidents += 1;
                let after = f64::from(known.incidents);
                changes.push(Change {
                    what,
                    before: after - 1.0,
                    after,
                });
            }
            None => {
                changes.push(Change {
                    what,
                    before: 0.0,
                    after: 1.0,
                });
                models.templates.push(KnownTemplate {
                    id: finding.id,
                    text: finding.text,
                    class,
                    incidents: 1,
                });
            }
        }
    }
    models
        .templates
        .sort_by(|x, y| y.incidents.cmp(&x.incidents).then_with(|| x.id.cmp(&y.id)));
    models.templates.truncate(TEMPLATES_MAX);
}
