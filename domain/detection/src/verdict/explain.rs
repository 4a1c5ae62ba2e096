//! Verdicts in words.

use trimtab_model::Timestamp;

use super::past::AgainstPast;
use super::{Decision, Judge, Metric, MetricEvidence, PastEvidence, SharedCause, Unit};
use crate::words::{count, millis, odds, percent};

/// Why a regression is called now, since when, and by which metric.
pub(super) fn regressed(judge: &Judge) -> (String, Timestamp, Option<Metric>) {
    let share = judge.past_share();
    let past = judge
        .against_past()
        .filter(|past| share.ln() + past.log_e_acting() > (1.0 - share).ln() + judge.log_e_arms());
    if let Some((past, evidence)) = past.and_then(|past| Some((past, past.evidence()?))) {
        let reason = format!(
            "{}; evidence {} against the past",
            against_past(&evidence),
            odds(past.log_e())
        );
        return (reason, past.onset(), Some(evidence.metric));
    }
    match judge.leading_evidence() {
        Some((evidence, onset)) => {
            let reason = format!(
                "{}; evidence {}, {} was asked",
                between_arms(&evidence, judge.config().unit),
                odds(judge.log_e()),
                odds(judge.log_needed())
            );
            (reason, onset, Some(evidence.metric))
        }
        None => ("no metric is judged".to_owned(), Timestamp(0), None),
    }
}

/// Why a metric is called now, and since when; `evidence` is how strong it is.
pub(super) fn called(judge: &Judge, metric: Metric, past: bool, evidence: &str) -> (String, Timestamp) {
    let against = judge.against_past().filter(|_| past);
    if let Some((past, seen)) = against.and_then(|past| Some((past, past.evidence()?))) {
        return (
            format!("{}; {evidence}, against the past", against_past(&seen)),
            past.onset(),
        );
    }
    match judge.evidence_of(metric) {
        Some((seen, onset)) => (
            format!("{}; {evidence}", between_arms(&seen, judge.config().unit)),
            onset,
        ),
        None => (evidence.to_owned(), Timestamp(0)),
    }
}

/// Why nothing is called.
pub(super) fn uncalled(judge: &Judge, decision: Decision) -> String {
    let (baseline, candidate) = judge.units();
    let unit = judge.config().unit.plural();
    match decision {
        Decision::RoutingBroken => routing_broken(judge),
        Decision::Healthy if judge.is_healthy() => format!(
            "not worse by {} of {unit} failing, nor by {} over the baseline's p95, tested on {} candidate and {} baseline {unit} (chance of error {})",
            points(judge.config().delta_errors),
            points(judge.config().delta_latency),
            count(candidate),
            count(baseline),
            percent(judge.config().beta)
        ),
        Decision::Healthy => format!(
            "nothing speaks against the candidate in {} {unit}, which is enough as configured; the tested claim is still open",
            count(candidate)
        ),
        Decision::Inconclusive | Decision::Regressed => inconclusive(judge, baseline, candidate),
    }
}

fn inconclusive(judge: &Judge, baseline: u64, candidate: u64) -> String {
    if baseline + candidate == 0 {
        return "no traffic yet".to_owned();
    }
    let past = judge.against_past();
    if let Some(evidence) = past
        .filter(|p| p.cause_is_shared())
        .and_then(AgainstPast::evidence)
    {
        return format!("{}: not this release's doing", against_past(&evidence));
    }
    if let Some(evidence) = past
        .filter(|p| p.waits_for_holdback())
        .and_then(AgainstPast::evidence)
    {
        return against_past(&evidence);
    }
    let unit = judge.config().unit.plural();
    let more = match judge.units_expected() {
        Some(units) => format!("about {} more {unit} are expected to tell", count(units)),
        None => "no verdict is in sight at this weight".to_owned(),
    };
    match judge
        .leading_evidence()
        .filter(|(evidence, _)| evidence.log_e > 3f64.ln())
    {
        Some((evidence, _)) => format!(
            "{}; evidence {} of {}; {more}",
            between_arms(&evidence, judge.config().unit),
            odds(judge.log_e()),
            odds(judge.log_needed())
        ),
        None => format!(
            "nothing speaks against the candidate in {} of its {unit} ({} on the baseline); {more}",
            count(candidate),
            count(baseline)
        ),
    }
}

fn between_arms(e: &MetricEvidence, unit: Unit) -> String {
    let (c, b) = (&e.candidate, &e.baseline);
    let arms = format!(
        "{} of {} ({} of {}) and {} of {} ({} of {})",
        percent(c.rate),
        unit.of_candidate(),
        count(c.bad),
        count(c.units),
        percent(b.rate),
        unit.of_baseline(),
        count(b.bad),
        count(b.units)
    );
    format!("{arms} {}", verb(e.metric, e.threshold_ms, unit))
}

fn against_past(e: &PastEvidence) -> String {
    let holdback = match e.shared {
        SharedCause::NoHoldback => "no holdback is left to ask".to_owned(),
        SharedCause::Open => format!(
            "waiting for the holdback to show whether it suffers too ({} of {} so far)",
            count(e.holdback.bad),
            count(e.holdback.units)
        ),
        SharedCause::No => format!(
            "the holdback on it is fine ({} of {})",
            count(e.holdback.bad),
            count(e.holdback.units)
        ),
        SharedCause::Yes => format!(
            "the holdback on it suffers too ({} of {}), so the cause is shared",
            count(e.holdback.bad),
            count(e.holdback.units)
        ),
    };
    format!(
        "{} of the candidate's requests ({} of {}) {}, against {} at worst in the previous release's past; {holdback}",
        percent(e.candidate_rate),
        count(e.candidate.bad),
        count(e.candidate.units),
        verb(e.metric, e.threshold_ms, Unit::Request),
        percent(e.widened_rate)
    )
}

fn verb(metric: Metric, threshold_ms: Option<f64>, unit: Unit) -> String {
    let over = |name: &str| {
        let threshold = threshold_ms
            .map(|ms| format!(" ({})", millis(ms)))
            .unwrap_or_default();
        format!("take longer than the baseline's {name}{threshold}")
    };
    match metric {
        Metric::Errors => match unit {
            Unit::Request => "fail".to_owned(),
            Unit::FlagUser => "meet failures".to_owned(),
        },
        Metric::ClientErrors => "are refused with 4xx".to_owned(),
        Metric::LatencyP50 => over("median"),
        Metric::LatencyP95 => over("p95"),
        Metric::LatencyP99 => over("p99"),
    }
}

fn routing_broken(judge: &Judge) -> String {
    let ratio = judge.ratio();
    let seen = ratio.seen;
    let mut text = format!(
        "routing is not as configured: the candidate got {} of {} {} where {} were expected (evidence {}), so the counts prove nothing",
        count(seen.bad),
        count(seen.units),
        judge.config().unit.plural(),
        count(ratio.expected.round() as u64),
        odds(ratio.log_e())
    );
    if (seen.bad as f64) < ratio.expected / 2.0 {
        text.push_str("; or the candidate does not answer");
    }
    text
}

fn points(share: f64) -> String {
    format!("{} points", (share * 1000.0).round() / 10.0)
}
