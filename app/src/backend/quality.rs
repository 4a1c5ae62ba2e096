//! D.Q1 to D.Q5: Apdex, compliance with the objectives, repair and failure times, users' scores.

use trimtab_api::{Figure, FigureGroup, IncidentSummary};
use trimtab_control::world::environment;
use trimtab_model::{ServiceName, Severity, Timestamp};
use trimtab_project::Objectives;
use trimtab_telemetry::promql::Value;

use super::figures::{Bar, judged};
use super::overview::View;
use super::{AppBackend, forge, moment};

/// Apdex from which users are content ("good" begins at 0.85).
const APDEX_GOOD: f64 = 0.85;
/// Mean score of 5 from which users are content.
const SCORE_GOOD: f64 = 3.0;
/// Window of Apdex.
const APDEX_WINDOW: &str = "5m";

/// A quality figure before its state is judged.
struct Found {
    id: &'static str,
    title: &'static str,
    unit: &'static str,
    value: Option<f64>,
    bar: Bar,
    source: String,
    detail: String,
}

impl AppBackend {
    /// D.Q1 to D.Q5, from the series and from the incidents of the view's environment.
    pub(super) async fn quality(&self, view: &View, incidents: &[&IncidentSummary]) -> Vec<Figure> {
        let objectives = view.project.as_ref().map(|project| &project.objectives);
        let mut all = Vec::new();
        match objectives {
            Some(objectives) => {
                all.push(self.apdex(view, objectives).await);
                all.push(self.compliance(view, objectives).await);
            }
            None => {
                for (id, title, unit) in [("D.Q1", "Apdex", ""), ("D.Q2", "SLA compliance", "%")] {
                    all.push(Found {
                        detail: "no release of the service has declared objectives yet".to_owned(),
                        ..found(id, title, unit)
                    });
                }
            }
        }
        all.extend(self.repair(view, incidents));
        let score = format!("avg(avg_over_time({}{{{}}}[30d]))", forge::SCORE, view.selector);
        all.push(Found {
            value: self
                .seldom(&score, view.to)
                .await
                .and_then(|found| found.single()),
            bar: Bar::AtLeast(SCORE_GOOD),
            source: score,
            ..found("D.Q5", "Customer satisfaction", "/5")
        });
        all.into_iter().map(|one| figure(one, view.to)).collect()
    }

    async fn apdex(&self, view: &View, objectives: &Objectives) -> Found {
        let t = objectives.apdex.0.as_secs_f64();
        let value = self.apdex_of(&view.selector, t, view.to).await;
        Found {
            value,
            bar: Bar::AtLeast(APDEX_GOOD),
            source: buckets(&view.selector, APDEX_WINDOW),
            detail: format!("T is {} ms, over 5 minutes", t * 1000.0),
            ..found("D.Q1", "Apdex", "")
        }
    }

    /// Requests up to `t` seconds count 1, up to four times as long ½, errors 0; none without requests.
    pub(super) async fn apdex_of(&self, selector: &str, t: f64, now: Timestamp) -> Option<f64> {
        let buckets = self.value(&buckets(selector, APDEX_WINDOW), now).await.ok()?;
        let failed = format!(
            "(sum(rate(trimtab_requests_total{{{selector},class=\"error\"}}[{APDEX_WINDOW}])) or vector(0)) \
             / sum(rate(trimtab_requests_total{{{selector}}}[{APDEX_WINDOW}]))"
        );
        let failed = self.number(&failed, now).await?;
        let (within, within_four) = (share_below(&buckets, t)?, share_below(&buckets, 4.0 * t)?);
        Some(((within + within_four) / 2.0 - failed).clamp(0.0, 1.0))
    }

    /// The worse of two shares over the objectives' window.
    async fn compliance(&self, view: &View, objectives: &Objectives) -> Found {
        let w = period(objectives);
        let s = &view.selector;
        let available = format!(
            "100 - 100 * (sum(increase(trimtab_requests_total{{{s},class=\"error\"}}[{w}])) or vector(0)) \
             / sum(increase(trimtab_requests_total{{{s}}}[{w}]))"
        );
        let without_error = self
            .seldom(&available, view.to)
            .await
            .and_then(|found| found.single());
        let limit = objectives.latency.0.as_secs_f64();
        let quick = self.seldom(&buckets(s, &w), view.to).await;
        let quick = quick
            .and_then(|buckets| share_below(&buckets, limit))
            .map(|share| share * 100.0);
        let (kept, least) = (
            objectives.latency_share.percent(),
            objectives.availability.percent(),
        );
        let value = match (without_error, quick) {
            // A latency objective that is met counts in full, so that both are shares of what was promised.
            (Some(available), Some(quick)) if available.is_finite() => {
                Some(available.min((quick / kept * 100.0).min(100.0)))
            }
            _ => None,
        };
        let detail = match (without_error, quick) {
            (Some(available), Some(quick)) => format!(
                "{available:.2} % without error (objective {least} %), {quick:.1} % within {} ms (objective {kept} %)",
                limit * 1000.0
            ),
            _ => String::new(),
        };
        Found {
            value,
            bar: Bar::AtLeast(least),
            source: available,
            detail,
            ..found("D.Q2", "SLA compliance", "%")
        }
    }

    fn repair(&self, view: &View, incidents: &[&IncidentSummary]) -> [Found; 2] {
        let window = view.project.as_ref().map_or(30 * 24 * 3_600_000, |project| {
            i64::try_from(project.objectives.window.as_millis()).unwrap_or(i64::MAX)
        });
        let service = view
            .service
            .as_deref()
            .and_then(|name| ServiceName::new(name).ok());
        let first = service.and_then(|service| {
            let rollouts = self.world.rollouts_of(&service, &environment(view.place));
            rollouts.first().map(|rollout| rollout.created_at)
        });
        let observed = first.map(|at| view.to.0 - at.0.max(view.to.0.saturating_sub(window)));
        let times = repair_times(incidents, view.to.0.saturating_sub(window), view.to.0, observed);
        let source = || "incidents of severity high or critical, from the journal".to_owned();
        [
            Found {
                value: times.0,
                source: source(),
                ..found("D.Q3", "Mean time to repair", "s")
            },
            Found {
                value: times.1,
                source: source(),
                ..found("D.Q4", "Mean time between failures", "s")
            },
        ]
    }
}

fn found(id: &'static str, title: &'static str, unit: &'static str) -> Found {
    Found {
        id,
        title,
        unit,
        value: None,
        bar: Bar::None,
        source: String::new(),
        detail: String::new(),
    }
}

fn figure(found: Found, now: Timestamp) -> Figure {
    Figure {
        id: found.id.to_owned(),
        group: FigureGroup::Quality,
        title: found.title.to_owned(),
        state: judged(found.value, None, found.bar),
        as_of: found.value.map(|_| moment(now)),
        value: found.value,
        total: None,
        unit: found.unit.to_owned(),
        source: found.source,
        detail: found.detail,
        sparkline: Vec::new(),
    }
}

/// The query of the latency buckets over a window.
fn buckets(selector: &str, window: &str) -> String {
    format!("sum by (le) (increase(trimtab_request_duration_seconds_bucket{{{selector}}}[{window}]))")
}

/// The objectives' window as a duration of PromQL.
pub(super) fn period(objectives: &Objectives) -> String {
    format!("{}ms", objectives.window.as_millis())
}

/// The share of requests quicker than `limit` seconds, between two buckets on a straight line; none
/// without requests.
fn share_below(buckets: &Value, limit: f64) -> Option<f64> {
    let Value::Vector(samples) = buckets else {
        return None;
    };
    let mut bounds: Vec<(f64, f64)> = samples
        .iter()
        .filter_map(|sample| {
            let le = sample.labels.get("le")?;
            let bound = if le == "+Inf" {
                f64::INFINITY
            } else {
                le.parse().ok()?
            };
            Some((bound, sample.value))
        })
        .collect();
    bounds.sort_by(|a, b| a.0.total_cmp(&b.0));
    let total = bounds
        .last()
        .map(|(_, count)| *count)
        .filter(|total| *total > 0.0)?;
    let mut below = (0.0, 0.0);
    for (bound, count) in bounds {
        if bound >= limit {
            let count = if bound == limit {
                count
            } else if bound.is_infinite() {
                // Beyond the last bound nothing is known but the total.
                below.1
            } else {
                below.1 + (count - below.1) * (limit - below.0) / (bound - below.0)
            };
            return Some((count / total).clamp(0.0, 1.0));
        }
        below = (bound, count);
    }
    None
}

/// Mean seconds to repair, and between failures, over incidents of severity high or critical in a window.
fn repair_times(
    incidents: &[&IncidentSummary],
    from: i64,
    to: i64,
    observed_ms: Option<i64>,
) -> (Option<f64>, Option<f64>) {
    let serious = || incidents.iter().filter(|i| i.severity >= Severity::High);
    let repaired: Vec<f64> = serious()
        .filter_map(|i| i.resolved_at.map(|end| (i.opened_at.millis(), end.millis())))
        .filter(|(_, end)| *end >= from)
        .map(|(begin, end)| (end - begin) as f64 / 1000.0)
        .collect();
    let mean = (!repaired.is_empty()).then(|| repaired.iter().sum::<f64>() / repaired.len() as f64);
    let spent: Vec<i64> = serious()
        .filter(|i| i.resolved_at.is_none_or(|end| end.millis() >= from))
        .map(|i| i.resolved_at.map_or(to, |end| end.millis()) - i.opened_at.millis().max(from))
        .collect();
    let between = observed_ms
        .filter(|_| !spent.is_empty())
        .map(|observed| (observed - spent.iter().sum::<i64>()).max(0) as f64 / 1000.0 / spent.len() as f64);
    (mean, between)
}

#[cfg(test)]
mod tests;
