//! The evidence of metrics of the team's own, with the queries that were asked.

use trimtab_api::{Evidence, VerdictDecision};
use trimtab_control::host::Snapshot;
use trimtab_control::machines::Rollouts;
use trimtab_control::own_metrics::{Asked, resolved};
use trimtab_detection::verdict::{CustomEvidence, CustomKind, Verdict};
use trimtab_project::{Project, VerdictMetric};

use super::{E_MAX, speaks};

pub(super) fn evidence(
    rollout: &Snapshot<Rollouts>,
    project: Option<&Project>,
    verdict: &Verdict,
) -> Vec<Evidence> {
    let metrics = project.map(|project| project.production.verdict.metrics.as_slice());
    let one = |custom: &CustomEvidence| {
        let metric = metrics
            .unwrap_or_default()
            .iter()
            .find(|metric| metric.name == custom.name);
        row(
            custom,
            verdict.alpha,
            metric.map(|metric| queries(rollout, metric)),
        )
    };
    verdict.custom.iter().map(one).collect()
}

fn row(custom: &CustomEvidence, alpha: f64, query: Option<String>) -> Evidence {
    let threshold = (alpha > 0.0 && custom.share > 0.0).then(|| 1.0 / (alpha * custom.share));
    let counts = custom.kind == CustomKind::Counts;
    let scale = if counts { 100.0 } else { 1.0 };
    let scaled = |value: Option<f64>| value.map(|value| value * scale).filter(|value| value.is_finite());
    let spoken = speaks(custom.e_value, threshold);
    Evidence {
        metric: custom.name.clone(),
        decision: match (spoken, custom.intervals_needed, &custom.lacking) {
            (VerdictDecision::Collecting, _, Some(_)) => VerdictDecision::Inconclusive,
            (spoken, ..) => spoken,
        },
        e_value: Some(custom.e_value.min(E_MAX)),
        threshold,
        baseline: scaled(custom.baseline_figure),
        candidate: scaled(custom.candidate_figure),
        unit: if counts {
            "%".to_owned()
        } else {
            custom.unit.clone()
        },
        effect: scaled(custom.effect),
        interval: custom
            .interval
            .map(|(low, high)| (low * scale, high * scale))
            .filter(|(low, high)| low.is_finite() && high.is_finite()),
        units_needed: Some(custom.intervals_needed).filter(|needed| *needed > 0),
        counts: Some(words(custom)),
        query,
    }
}

fn words(custom: &CustomEvidence) -> String {
    let mut text = format!(
        "{} intervals, worse than tolerated in {}",
        custom.intervals, custom.worse
    );
    if custom.kind == CustomKind::Counts {
        text = format!(
            "{} of {} bad for the baseline, {} of {} for the candidate, in {} intervals",
            custom.baseline.bad,
            custom.baseline.units,
            custom.candidate.bad,
            custom.candidate.units,
            custom.intervals
        );
    }
    if let Some((absence, why)) = &custom.lacking {
        text = format!("{}: {why}; {text}", absence.as_str());
    }
    text
}

/// What is asked for the candidate; for the baseline only the release differs.
fn queries(rollout: &Snapshot<Rollouts>, metric: &VerdictMetric) -> String {
    let plan = &rollout.plan;
    let asked = Asked {
        service: plan.service.as_str(),
        environment: plan.environment.as_str(),
        release: plan.candidate.as_str(),
        arm: "candidate",
    };
    let all = metric.queries().map(|(field, query)| {
        let text = match resolved(metric, query, asked) {
            Ok(query) => query.text().to_owned(),
            Err(error) => error.to_string(),
        };
        if field == "query" {
            text
        } else {
            format!("{field}: {text}")
        }
    });
    all.collect::<Vec<_>>().join("; ")
}

#[cfg(test)]
mod tests {
    use trimtab_detection::verdict::{Absence, Tally};

    use super::*;

    fn custom(kind: CustomKind) -> CustomEvidence {
        CustomEvidence {
            name: "merges".to_owned(),
            kind,
            unit: "s".to_owned(),
            share: 0.1,
            intervals: 8,
            worse: 7,
            intervals_needed: 0,
            lacked: 0,
            lacking: None,
            baseline: Tally::new(400, 4),
            candidate: Tally::new(100, 20),
            baseline_figure: Some(0.01),
            candidate_figure: Some(0.2),
            effect: Some(0.19),
            interval: Some((0.1, 0.3)),
            e_value: 5e3,
            log_e: 5e3f64.ln(),
        }
    }

    #[test]
    fn counts_are_told_in_per_cent_and_figures_in_their_unit() {
        let counted = row(
            &custom(CustomKind::Counts),
            0.01,
            Some("bad: a; total: b".to_owned()),
        );
        assert_eq!((counted.candidate, counted.unit.as_str()), (Some(20.0), "%"));
        assert_eq!(counted.threshold.map(f64::round), Some(1000.0));
        assert_eq!(counted.decision, VerdictDecision::Regressed);
        let told = counted.counts.unwrap_or_default();
        assert!(
            told.contains("4 of 400 bad for the baseline, 20 of 100 for the candidate"),
            "{told}"
        );
        let figure = row(&custom(CustomKind::LowerIsBetter), 0.01, None);
        assert_eq!((figure.candidate, figure.unit.as_str()), (Some(0.2), "s"));
    }

    #[test]
    fn an_absence_is_shown() {
        let lacking = CustomEvidence {
            e_value: 1.0,
            log_e: 0.0,
            lacking: Some((Absence::FailedQuery, "2 series where one is needed".to_owned())),
            ..custom(CustomKind::LowerIsBetter)
        };
        let shown = row(&lacking, 0.01, None);
        assert_eq!(shown.decision, VerdictDecision::Inconclusive);
        assert!(
            shown
                .counts
                .is_some_and(|told| told.starts_with("query failed: 2 series"))
        );
    }
}
