//! Figures and charts that wobble with the clock.

use std::collections::BTreeMap;

use trimtab_api::*;
use trimtab_model::Timestamp;

use crate::backend::now;
use crate::figures::figures;
use crate::stories;

/// A gibibyte.
pub(crate) const GIB: f64 = 1_073_741_824.0;

/// A wobbling value: the same for the same second, wherever it is asked for.
pub(crate) fn wobble(at: i64, base: f64, swing: f64, seed: i64) -> f64 {
    let t = at as f64 / 1000.0;
    let slow = (t / 97.0 + seed as f64).sin() * 0.6 + (t / 23.0 + seed as f64 * 2.0).sin() * 0.3;
    let noise = ((at / 1000 * 7919 + seed * 104_729).rem_euclid(1000) as f64 / 500.0 - 1.0) * 0.25;
    base + swing * (slow + noise)
}

pub(crate) fn points(from: i64, to: i64, base: f64, swing: f64, seed: i64) -> Vec<(i64, Option<f64>)> {
    let step = ((to - from) / 180 / 1000).max(1) * 1000;
    let begin = from / step * step;
    (0..=(to - begin) / step)
        .map(|i| begin + i * step)
        .map(|at| (at, Some(wobble(at, base, swing, seed).max(0.0))))
        .collect()
}

pub(crate) fn matrix(start: Timestamp, end: Timestamp, step_ms: u64) -> Vec<MatrixSeries> {
    let step = step_ms as i64;
    ["blocks-r1", "blocks-r2"]
        .iter()
        .enumerate()
        .map(|(seed, release)| MatrixSeries {
            metric: BTreeMap::from([
                ("__name__".into(), "trimtab_requests_total".into()),
                ("release".into(), (*release).into()),
            ]),
            values: (0..=(end.0 - start.0) / step)
                .map(|i| start.0 + i * step)
                .map(|at| {
                    (
                        at as f64 / 1000.0,
                        format!("{:.3}", wobble(at, 40.0 + 60.0 * seed as f64, 12.0, seed as i64)),
                    )
                })
                .collect(),
        })
        .collect()
}

pub(crate) fn health(empty: bool) -> Health {
    if empty {
        return Health {
            status: HealthStatus::Unknown,
            reason: "Nothing is measured yet.".into(),
            reasons: vec![],
            budget: None,
            as_of: now(),
        };
    }
    Health {
        status: HealthStatus::Degraded,
        reason: "blocks in production: p95 latency 342 ms, objective 300 ms".into(),
        reasons: vec![
            HealthReason {
                status: HealthStatus::Degraded,
                subject: "blocks in production".into(),
                text: "p95 latency 342 ms, objective 300 ms".into(),
                link: Some("/rollouts/rollout-4".into()),
            },
            HealthReason {
                status: HealthStatus::Degraded,
                subject: "incident-2".into(),
                text: "disk of the host fills in about 9 h".into(),
                link: Some("/incidents/incident-2".into()),
            },
        ],
        budget: Some(ErrorBudget {
            objective_percent: 99.5,
            window: "30d".into(),
            left_percent: Some(71.4),
            burn_rate: Some(1.8),
        }),
        as_of: now(),
    }
}

pub(crate) fn dashboard(query: &DashboardQuery, empty: bool) -> Dashboard {
    let to = now();
    let minutes = i64::from(query.minutes.unwrap_or(15));
    let from = Moment::from_millis(to.millis() - minutes * 60_000);
    let figures = figures(from, to, empty);
    let chart = |id: &str, unit: &str, objective: Option<f64>, lines: &[(&str, f64, f64)]| Chart {
        id: id.into(),
        title: id.into(),
        unit: unit.into(),
        objective,
        source: format!("query of {id}"),
        series: lines
            .iter()
            .enumerate()
            .filter(|_| !empty)
            .map(|(seed, (name, base, swing))| ChartSeries {
                name: (*name).into(),
                points: points(from.millis(), to.millis(), *base, *swing, seed as i64 + 31),
            })
            .collect(),
    };
    let marker = |ago: i64, kind: &str, label: &str, link: &str| Marker {
        at: Moment::from_millis(to.millis() - ago * 1000),
        until: None,
        kind: kind.into(),
        label: label.into(),
        link: Some(link.into()),
    };
    Dashboard {
        service: (!empty).then(|| "blocks".into()),
        environment: "production".into(),
        environments: vec!["production".to_owned(), "staging".to_owned()],
        services: if empty {
            vec![]
        } else {
            vec!["blocks".into(), "mail".into()]
        },
        health: health(empty),
        figures,
        charts: vec![
            chart(
                "requests",
                "/s",
                None,
                &[("blocks-r3", 95.0, 16.0), ("blocks-r1", 47.0, 9.0)],
            ),
            chart(
                "errors",
                "%",
                Some(0.5),
                &[("blocks-r3", 0.12, 0.08), ("blocks-r1", 0.3, 0.15)],
            ),
            chart(
                "latency",
                "ms",
                Some(300.0),
                &[("p50", 84.0, 8.0), ("p95", 310.0, 44.0)],
            ),
            chart("cpu", "%", None, &[("host", 34.0, 12.0)]),
            chart("memory", "bytes", None, &[("used", 5.2 * GIB, 0.3 * GIB)]),
            chart("disk", "bytes", None, &[("used", 181.0 * GIB, 0.4 * GIB)]),
            chart(
                "network",
                "bytes/s",
                None,
                &[
                    ("received", 1_400_000.0, 600_000.0),
                    ("sent", 900_000.0, 300_000.0),
                ],
            ),
        ],
        markers: if empty {
            vec![]
        } else {
            vec![
                marker(610, "incident", "incident-1 opened", "/incidents/incident-1"),
                marker(604, "rollback", "blocks-r2 rolled back", "/rollouts/rollout-3"),
                marker(150, "deploy", "blocks-r3 gets traffic", "/rollouts/rollout-4"),
            ]
        },
        rollouts: if empty {
            vec![]
        } else {
            stories::rollouts()
                .into_iter()
                .take(1)
                .map(|rollout| rollout.summary)
                .collect()
        },
        incidents: if empty {
            vec![]
        } else {
            stories::incidents()
                .into_iter()
                .map(|incident| incident.summary)
                .filter(|incident| incident.state.is_open())
                .collect()
        },
        timeline: if empty {
            vec![]
        } else {
            stories::timeline().into_iter().take(8).collect()
        },
        from,
        to,
        data_as_of: (!empty).then_some(to),
    }
}
