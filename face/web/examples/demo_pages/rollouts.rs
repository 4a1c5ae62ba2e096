//! Rollouts.

use trimtab_api::*;

use super::{ago, code::stage, timeline};
use crate::backend::now;

pub(crate) fn rollouts() -> Vec<Rollout> {
    let to = now().millis();
    let line = |name: &str, base: f64, swing: f64| ChartSeries {
        name: name.into(),
        points: (0..120)
            .map(|i| {
                (
                    to - (119 - i) * 1000,
                    Some(base + swing * ((i as f64) / 7.0).sin()),
                )
            })
            .collect(),
    };
    let chart = |id: &str, unit: &str, a: (f64, f64), b: (f64, f64), objective| Chart {
        id: id.into(),
        title: id.into(),
        unit: unit.into(),
        series: vec![line("blocks-r3", b.0, b.1), line("blocks-r1", a.0, a.1)],
        objective,
        source: String::new(),
    };
    let arm = |release: &str, requests, errors, rate, p| ArmFigures {
        release: release.into(),
        requests,
        errors,
        error_percent: Some(errors as f64 / requests as f64 * 100.0),
        requests_per_second: Some(rate),
        p50_ms: Some(p),
        p95_ms: Some(p * 3.6),
        p99_ms: Some(p * 6.0),
        instances: 1,
    };
    let evidence = |metric: &str, decision, e, base, cand, unit: &str, needed| Evidence {
        metric: metric.into(),
        decision,
        e_value: Some(e),
        threshold: Some(300.0),
        baseline: Some(base),
        candidate: Some(cand),
        unit: unit.into(),
        effect: Some(cand - base),
        interval: Some((cand - base - 0.4, cand - base + 0.5)),
        units_needed: needed,
        counts: None,
        query: Some("class=\"error\"".into()),
    };
    let phase = |name: &str, state| stage(name, "", state, 60, 5, None, "");
    let summary =
        |id: &str, base: &str, cand: &str, state, text: &str, percent, seconds, over: Option<i64>| {
            RolloutSummary {
                id: id.into(),
                service: "blocks".into(),
                environment: "production".into(),
                strategy: Strategy::BlueGreen,
                baseline: Some(base.into()),
                candidate: cand.into(),
                state,
                state_text: text.into(),
                candidate_percent: percent,
                next_step: if over.is_some() {
                    String::new()
                } else {
                    "the watch window ends".into()
                },
                next_at: over.is_none().then(|| ago(-18)),
                created_at: ago(seconds),
                finished_at: over.map(ago),
                run: Some("run-3".into()),
                incident: over.map(|_| "incident-1".into()),
                flag: None,
                allowed: if over.is_some() {
                    Allowed {
                        retry: true,
                        ..Allowed::default()
                    }
                } else {
                    Allowed {
                        promote: true,
                        abort: true,
                        pause: true,
                        resume: false,
                        roll_back: true,
                        restart: true,
                        ..Allowed::default()
                    }
                },
            }
        };
    let full = |summary, decision, reason: &str, e| Rollout {
        summary,
        phases: vec![
            phase("start", StageState::Passed),
            phase("test", StageState::Passed),
            phase("switch", StageState::Passed),
            phase("watch", StageState::Running),
            phase("drain", StageState::Pending),
            phase("decommission", StageState::Pending),
        ],
        baseline_figures: Some(arm("blocks-r1", 412, 1, 7.1, 82.0)),
        candidate_figures: Some(arm("blocks-r3", 8_204, 17, 135.2, 84.5)),
        verdict: Some(Verdict {
            decision,
            reason: reason.into(),
            alpha: 0.01,
            alpha_left: 0.01,
            tolerance_percent: 25.0,
            evidence: vec![
                evidence("errors", decision, e, 0.24, 0.21, "%", Some(1_180)),
                evidence(
                    "latency over 300 ms",
                    VerdictDecision::Collecting,
                    1.9,
                    4.9,
                    5.3,
                    "%",
                    Some(640),
                ),
                evidence(
                    "assignment ratio",
                    VerdictDecision::Healthy,
                    0.8,
                    5.0,
                    4.8,
                    "%",
                    None,
                ),
            ],
            forecast: Some(Forecast {
                units: Some(1_200),
                seconds: Some(9.0),
                text: "about 9 s at 142 requests/s".into(),
            }),
            as_of: now(),
        }),
        forecast: Some(before()),
        weights: vec![
            WeightStep {
                at: ago(62),
                candidate_percent: 95.0,
                reason: "switched, 5 % held back".into(),
            },
            WeightStep {
                at: ago(90),
                candidate_percent: 0.0,
                reason: "started beside".into(),
            },
        ],
        charts: vec![
            chart("requests", "/s", (7.1, 1.0), (135.2, 12.0), None),
            chart("errors", "%", (0.24, 0.1), (0.21, 0.08), Some(0.5)),
            chart("latency", "ms", (295.0, 20.0), (304.0, 26.0), Some(300.0)),
        ],
        markers: vec![Marker {
            at: ago(62),
            until: None,
            kind: "weight".into(),
            label: "95 %".into(),
            link: None,
        }],
        timeline: timeline(),
        group: Some(group()),
        preview_url: Some("http://127.0.0.1:7782/".into()),
    };
    vec![
        full(
            summary(
                "rollout-4",
                "blocks-r1",
                "blocks-r3",
                RolloutState::Watching,
                "Watching blocks-r3 at 95 %: as good as blocks-r1 so far",
                95.0,
                90,
                None,
            ),
            VerdictDecision::Collecting,
            "no regression so far; 1,180 requests left to claim it healthy",
            2.4,
        ),
        full(
            summary(
                "rollout-3",
                "blocks-r1",
                "blocks-r2",
                RolloutState::RolledBack,
                "Rolled back: error rate 14.2 % against 0.1 %",
                0.0,
                700,
                Some(560),
            ),
            VerdictDecision::Regressed,
            "error rate 14.2 % against 0.1 %, e-value 4,812",
            4_812.0,
        ),
    ]
}

/// What the steps were expected to tell.
pub(crate) fn before() -> trimtab_api::RolloutForecast {
    let step = |percent, requests, least: f64, typical: f64| trimtab_api::StepForecast {
        percent,
        watch_seconds: 30.0,
        candidate_requests: Some(requests),
        least_percent: Some(least),
        typical_seconds: Some(typical),
        text: format!(
            "finds a release that fails {least} % or more within its 30 s; one that fails 5 % takes about {typical} s"
        ),
    };
    trimtab_api::RolloutForecast {
        service: "blocks".into(),
        environment: "production".into(),
        strategy: trimtab_api::Strategy::BlueGreen,
        window_seconds: 3_600.0,
        requests_per_second: 142.0,
        error_percent: 0.1,
        alpha: 0.01,
        typical_percent: 5.0,
        steps: vec![step(95.0, 4_047, 1.9, 14.0)],
        text: "142 requests a second in the last 60 min, 0.10 % of them failed".into(),
    }
}

/// What a way back takes.
pub(crate) fn forecast(query: &trimtab_api::RollBackRequest) -> trimtab_api::RollBackForecast {
    trimtab_api::RollBackForecast {
        service: "blocks".into(),
        environment: "production".into(),
        release: Some(query.release.clone().unwrap_or_else(|| "blocks-r1".into())),
        rollout: query.rollout.clone(),
        warm: query.rollout.is_some(),
        seconds: query.rollout.is_none().then_some(1.2),
        text: if query.rollout.is_some() {
            "blocks-r1 is warm: users are back on it at once".into()
        } else {
            "blocks-r1 must be started first: about 1.2 s, by its one earlier start".into()
        },
    }
}

/// Services released together.
pub(crate) fn group() -> trimtab_api::Group {
    let member = |service: &str, rollout: &str| trimtab_api::GroupMember {
        service: service.into(),
        release: format!("{service}-r3"),
        rollout: Some(rollout.into()),
        barrier: Some(2),
        share: 0.5,
        state_text: "waiting at 5 % for the others of its group".into(),
    };
    trimtab_api::Group {
        id: "group-1".into(),
        environment: "production".into(),
        state_text: "2 of 2 services are at barrier 2".into(),
        over: false,
        deployed: false,
        alpha: 0.01,
        e_value: Some(1.4),
        members: vec![member("blocks", "rollout-4"), member("search", "rollout-5")],
        by: "anna".into(),
        created_at: ago(90),
    }
}
