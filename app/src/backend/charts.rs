//! Charts of the overview and of a rollout, each by queries that people can repeat.

use trimtab_api::{Chart, ChartSeries};
use trimtab_model::Timestamp;

use super::AppBackend;
use super::overview::View;

/// Points of a chart.
const POINTS: i64 = 120;
/// Shortest time between two points, in milliseconds.
const STEP_MS_MIN: i64 = 1_000;
/// Shortest window of a rate, in milliseconds.
const WINDOW_MS_MIN: i64 = 10_000;

/// A chart before it is asked for.
pub(super) struct Ask {
    pub(super) id: String,
    pub(super) title: String,
    pub(super) unit: String,
    pub(super) objective: Option<f64>,
    /// Each query with the name of its line; none names lines by release.
    pub(super) lines: Vec<(Option<&'static str>, String)>,
}

/// The step between points over a stretch of time.
pub(super) fn step(from: Timestamp, to: Timestamp) -> i64 {
    ((to.0 - from.0) / POINTS).max(STEP_MS_MIN)
}

/// A window of a rate that leaves out nothing between two points.
pub(super) fn window(step: i64) -> String {
    format!("{}s", step.max(WINDOW_MS_MIN).div_euclid(1000))
}

impl AppBackend {
    pub(super) async fn charts(&self, view: &View) -> Vec<Chart> {
        let step = step(view.from, view.to);
        let mut charts = Vec::new();
        for ask in asks(view, &window(step)) {
            charts.push(self.chart(ask, view.from, view.to, step).await);
        }
        charts
    }

    pub(super) async fn chart(&self, ask: Ask, from: Timestamp, to: Timestamp, step: i64) -> Chart {
        let mut series = Vec::new();
        for (name, query) in &ask.lines {
            let found = match self.range(query, from, to, step).await {
                Ok(found) => found,
                Err(fault) => {
                    tracing::warn!(chart = ask.id, %fault, "failed to draw a chart");
                    Vec::new()
                }
            };
            for one in found {
                let release = one.labels.get("release");
                series.push(ChartSeries {
                    name: name.or(release).unwrap_or(&ask.title).to_owned(),
                    points: spread(&one.points, from.0, to.0, step),
                });
            }
        }
        let queries: Vec<String> = ask.lines.into_iter().map(|(_, query)| query).collect();
        Chart {
            id: ask.id,
            title: ask.title,
            unit: ask.unit,
            series,
            objective: ask.objective,
            source: queries.join("\n"),
        }
    }
}

/// The points on every step; a gap where nothing is known.
pub(super) fn spread(points: &[(i64, f64)], from: i64, to: i64, step: i64) -> Vec<(i64, Option<f64>)> {
    let mut known = points.iter().peekable();
    let mut all = Vec::new();
    let mut at = from;
    while at <= to {
        while known.next_if(|(time, _)| *time < at).is_some() {}
        let value = known
            .next_if(|(time, _)| *time < at + step)
            .map(|(_, value)| *value);
        all.push((at, value.filter(|value| value.is_finite())));
        at += step;
    }
    all
}

fn asks(view: &View, w: &str) -> Vec<Ask> {
    let s = &view.selector;
    let objectives = view.project.as_ref().map(|project| &project.objectives);
    let quantile = |q: &str| {
        format!(
            "1000 * histogram_quantile({q}, sum by (le) (rate(trimtab_request_duration_seconds_bucket{{{s}}}[{w}])))"
        )
    };
    let ask = |id: &str, title: &str, unit: &str, lines| Ask {
        id: id.to_owned(),
        title: title.to_owned(),
        unit: unit.to_owned(),
        objective: None,
        lines,
    };
    let host = |name: &str| format!("last_over_time(trimtab_host_{name}[{w}])");
    let mut all = vec![
        ask(
            "requests",
            "Requests",
            "/s",
            vec![(
                None,
                format!("sum by (release) (rate(trimtab_requests_total{{{s}}}[{w}]))"),
            )],
        ),
        Ask {
            objective: objectives.map(|o| 100.0 * (1.0 - o.availability.fraction())),
            ..ask("errors", "Error rate", "%", vec![(None, error_rate(s, w))])
        },
        Ask {
            objective: objectives.map(|o| o.latency.0.as_secs_f64() * 1000.0),
            ..ask(
                "latency",
                "Response time",
                "ms",
                vec![(Some("p50"), quantile("0.5")), (Some("p95"), quantile("0.95"))],
            )
        },
        ask("cpu", "CPU", "%", vec![(Some("host"), host("cpu_percent"))]),
        ask(
            "memory",
            "Memory",
            "bytes",
            vec![(Some("used"), host("memory_used_bytes"))],
        ),
        ask(
            "network",
            "Network",
            "bytes/s",
            vec![
                (Some("in"), network("received", w)),
                (Some("out"), network("sent", w)),
            ],
        ),
    ];
    let business = view.project.as_ref().map_or(&[][..], |project| &project.business);
    all.extend(business.iter().enumerate().map(|(index, figure)| Ask {
        id: format!("D.B{}", index + 1),
        title: figure.title.clone(),
        unit: figure.unit.clone(),
        objective: None,
        lines: vec![(Some("now"), figure.query.clone())],
    }));
    all
}

/// Bytes a second over all interfaces but loopback.
pub(super) fn network(direction: &str, w: &str) -> String {
    format!("sum(rate(trimtab_host_network_{direction}_bytes_total[{w}]))")
}

/// Errors of each release in per cent of its requests; 0 where it had requests and none failed.
fn error_rate(s: &str, w: &str) -> String {
    format!(
        "100 * sum by (release) (rate(trimtab_requests_total{{{s},class=\"error\"}}[{w}])) \
         / sum by (release) (rate(trimtab_requests_total{{{s}}}[{w}]))"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_chart_has_a_gap_where_nothing_is_known() {
        let points = [(2_000, 1.0), (3_000, f64::NAN), (5_400, 4.0)];
        assert_eq!(
            spread(&points, 1_000, 6_000, 1_000),
            [
                (1_000, None),
                (2_000, Some(1.0)),
                (3_000, None),
                (4_000, None),
                (5_000, Some(4.0)),
                (6_000, None),
            ]
        );
        assert!(spread(&[], 5, 4, 1).is_empty());
    }

    #[test]
    fn a_rate_looks_at_all_between_two_points() {
        assert_eq!(window(step(Timestamp(0), Timestamp(60_000))), "10s");
        assert_eq!(window(step(Timestamp(0), Timestamp(3_600_000))), "30s");
    }
}
