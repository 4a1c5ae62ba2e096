//! The figures of D: what each is asked by, and how it stands against what was declared for it.

use trimtab_api::{Figure, FigureGroup, FigureState, HealthStatus, IncidentSummary};
use trimtab_model::{Severity, Timestamp};

use super::overview::View;
use super::{AppBackend, charts, moment};

/// Minutes of a figure's recent past, and the points that show it.
const SPARK_MINUTES: i64 = 10;
const SPARK_POINTS: i64 = 40;
/// Shares in use from which the host is short of something.
const CPU_HIGH: f64 = 95.0;
const MEMORY_HIGH: f64 = 0.95;
const DISK_HIGH: f64 = 0.9;
const DISK_FULL: f64 = 0.97;
/// How many times the allowed error rate is far over it.
const BURN_CRITICAL: f64 = 14.4;

/// The figure that looks back a month: it is asked for seldom.
const UPTIME: &str = "D.S5";

/// How a figure is judged.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(super) enum Bar {
    /// Nothing is declared.
    #[default]
    None,
    /// Good up to the first number, far over beyond the second.
    AtMost(f64, f64),
    /// Good from this number on.
    AtLeast(f64),
    /// As `AtMost`, of the share of the total.
    ShareAtMost(f64, f64),
}

/// A figure before it is asked for.
pub(super) struct Ask {
    id: &'static str,
    group: FigureGroup,
    title: String,
    unit: String,
    /// The query; none when the team declared none.
    query: Option<String>,
    total: Option<String>,
    bar: Bar,
    detail: String,
}

impl AppBackend {
    /// Every figure for a view.
    pub(super) async fn figures(
        &self,
        view: &View,
        incidents: &[IncidentSummary],
        health: HealthStatus,
    ) -> Vec<Figure> {
        let mut figures = Vec::new();
        for ask in asks(view) {
            figures.push(self.figure(ask, view.to).await);
        }
        let here: Vec<&IncidentSummary> = incidents
            .iter()
            .filter(|incident| incident.environment == view.place)
            .collect();
        figures.extend(self.quality(view, &here).await);
        figures.extend(alerts(&here, health, view.to));
        figures
    }

    async fn figure(&self, ask: Ask, now: Timestamp) -> Figure {
        let (mut value, mut detail) = (None, ask.detail);
        let mut sparkline = Vec::new();
        match &ask.query {
            None => "not declared in trimtab.yaml".clone_into(&mut detail),
            Some(query) => {
                if ask.id == UPTIME {
                    value = self.seldom(query, now).await.and_then(|found| found.single());
                } else {
                    match self.value(query, now).await {
                        Ok(found) => value = found.single().filter(|value| value.is_finite()),
                        Err(fault) => detail = fault.to_string(),
                    }
                    sparkline = self.sparkline(query, now).await;
                }
            }
        }
        let total = match &ask.total {
            Some(total) => self.number(total, now).await,
            None => None,
        };
        Figure {
            id: ask.id.to_owned(),
            group: ask.group,
            title: ask.title,
            state: judged(value, total, ask.bar),
            value,
            total,
            unit: ask.unit,
            source: ask.query.unwrap_or_default(),
            detail,
            sparkline,
            as_of: value.map(|_| moment(now)),
        }
    }

    async fn sparkline(&self, query: &str, now: Timestamp) -> Vec<Option<f64>> {
        let step = SPARK_MINUTES * 60_000 / SPARK_POINTS;
        let from = Timestamp(now.0 - step * (SPARK_POINTS - 1));
        let found = self.range(query, from, now, step).await.unwrap_or_default();
        match found.as_slice() {
            [one] => charts::spread(&one.points, from.0, now.0, step)
                .into_iter()
                .map(|(_, value)| value)
                .collect(),
            _ => Vec::new(),
        }
    }
}

/// How a value stands.
pub(super) fn judged(value: Option<f64>, total: Option<f64>, bar: Bar) -> FigureState {
    let Some(value) = value else {
        return FigureState::NoData;
    };
    let over = |value: f64, most: f64, far: f64| {
        if value > far {
            FigureState::Critical
        } else if value > most {
            FigureState::Warning
        } else {
            FigureState::Good
        }
    };
    match (bar, total) {
        (Bar::None, _) | (Bar::ShareAtMost(..), None) => FigureState::Neutral,
        (Bar::AtMost(most, far), _) => over(value, most, far),
        (Bar::ShareAtMost(most, far), Some(total)) => over(value / total.max(1.0), most, far),
        (Bar::AtLeast(least), _) if value < least => FigureState::Warning,
        (Bar::AtLeast(_), _) => FigureState::Good,
    }
}

/// What is asked of the series: system, application, business.
fn asks(view: &View) -> Vec<Ask> {
    let mut all = system(view);
    all.extend(application(view));
    let declared = view.project.as_ref().map_or(&[][..], |project| &project.business);
    for (id, business) in ["D.B1", "D.B2", "D.B3", "D.B4", "D.B5"].into_iter().zip(declared) {
        let query = Some(business.query.clone());
        all.push(ask(
            id,
            FigureGroup::Business,
            &business.title,
            &business.unit,
            query,
        ));
    }
    all
}

fn ask(id: &'static str, group: FigureGroup, title: &str, unit: &str, query: Option<String>) -> Ask {
    Ask {
        id,
        group,
        title: title.to_owned(),
        unit: unit.to_owned(),
        query,
        total: None,
        bar: Bar::None,
        detail: String::new(),
    }
}

fn system(view: &View) -> Vec<Ask> {
    use FigureGroup::System;
    let s = &view.selector;
    let host = |name: &str| Some(format!("last_over_time(trimtab_host_{name}[10s])"));
    let flow = format!(
        "{} + {}",
        charts::network("received", "10s"),
        charts::network("sent", "10s")
    );
    let uptime = format!("100 * avg_over_time(trimtab_service_up{{{s}}}[30d])");
    let objective = view.project.as_ref().map(|p| p.objectives.availability.percent());
    vec![
        Ask {
            bar: Bar::AtMost(CPU_HIGH, f64::INFINITY),
            ..ask("D.S1", System, "CPU", "%", host("cpu_percent"))
        },
        Ask {
            total: host("memory_total_bytes"),
            bar: Bar::ShareAtMost(MEMORY_HIGH, f64::INFINITY),
            ..ask("D.S2", System, "Memory", "bytes", host("memory_used_bytes"))
        },
        Ask {
            total: host("disk_total_bytes"),
            bar: Bar::ShareAtMost(DISK_HIGH, DISK_FULL),
            ..ask("D.S3", System, "Disk", "bytes", host("disk_used_bytes"))
        },
        ask("D.S4", System, "Network", "bytes/s", Some(flow)),
        Ask {
            bar: objective.map_or(Bar::None, Bar::AtLeast),
            ..ask(UPTIME, System, "Uptime", "%", Some(uptime))
        },
    ]
}

fn application(view: &View) -> Vec<Ask> {
    use FigureGroup::Application;
    let s = &view.selector;
    let objectives = view.project.as_ref().map(|project| &project.objectives);
    let latency = objectives.map(|o| o.latency.0.as_secs_f64() * 1000.0);
    let allowed = objectives.map(|o| 100.0 * (1.0 - o.availability.fraction()));
    let declared = view.project.as_ref().map(|project| &project.application);
    let users = declared.and_then(|declared| declared.active_users.clone());
    let queries = declared.and_then(|declared| declared.database_queries.clone());
    let p95 = format!(
        "1000 * histogram_quantile(0.95, sum by (le) (rate(trimtab_request_duration_seconds_bucket{{{s}}}[10s])))"
    );
    let errors = format!(
        "100 * (sum(rate(trimtab_requests_total{{{s},class=\"error\"}}[10s])) or vector(0)) \
         / sum(rate(trimtab_requests_total{{{s}}}[10s]))"
    );
    vec![
        ask(
            "D.A1",
            Application,
            "Requests",
            "/s",
            Some(format!("sum(rate(trimtab_requests_total{{{s}}}[10s]))")),
        ),
        Ask {
            bar: latency.map_or(Bar::None, |most| Bar::AtMost(most, f64::INFINITY)),
            detail: latency.map_or_else(|| "p95".to_owned(), |most| format!("p95, objective {most} ms")),
            ..ask("D.A2", Application, "Response time", "ms", Some(p95))
        },
        Ask {
            bar: allowed.map_or(Bar::None, |most| Bar::AtMost(most, most * BURN_CRITICAL)),
            detail: allowed.map_or_else(String::new, |most| format!("objective {most:.3} % at most")),
            ..ask("D.A3", Application, "Error rate", "%", Some(errors))
        },
        ask("D.A4", Application, "Active users", "", users),
        ask("D.A5", Application, "Database queries", "/s", queries),
    ]
}

/// D.AL1 to D.AL3, from the incidents of one environment: always known.
fn alerts(incidents: &[&IncidentSummary], health: HealthStatus, now: Timestamp) -> Vec<Figure> {
    let open = |wanted: &[Severity]| {
        let matching = incidents
            .iter()
            .filter(|i| i.state.is_open() && wanted.contains(&i.severity));
        matching.count() as f64
    };
    let none_open = !incidents.iter().any(|incident| incident.state.is_open());
    let all_work = none_open && health == HealthStatus::Healthy;
    let warnings = open(&[Severity::Medium, Severity::High]);
    let critical = open(&[Severity::Critical]);
    let figure = |id: &str, title: &str, value: f64, bad: bool, worst| Figure {
        id: id.to_owned(),
        group: FigureGroup::Alerts,
        title: title.to_owned(),
        value: Some(value),
        total: None,
        unit: String::new(),
        state: if bad { worst } else { FigureState::Good },
        source: "the journal".to_owned(),
        detail: String::new(),
        sparkline: Vec::new(),
        as_of: Some(moment(now)),
    };
    let works = f64::from(u8::from(all_work));
    vec![
        figure(
            "D.AL1",
            "All systems work",
            works,
            !all_work,
            FigureState::Warning,
        ),
        figure(
            "D.AL2",
            "Warnings",
            warnings,
            warnings > 0.0,
            FigureState::Warning,
        ),
        figure(
            "D.AL3",
            "Critical alerts",
            critical,
            critical > 0.0,
            FigureState::Critical,
        ),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_figure_is_judged_by_what_was_declared() {
        let cases = [
            (None, None, Bar::AtMost(1.0, 2.0), FigureState::NoData),
            (Some(0.0), None, Bar::None, FigureState::Neutral),
            (Some(1.0), None, Bar::AtMost(1.0, 2.0), FigureState::Good),
            (Some(1.5), None, Bar::AtMost(1.0, 2.0), FigureState::Warning),
            (Some(2.5), None, Bar::AtMost(1.0, 2.0), FigureState::Critical),
            (Some(99.4), None, Bar::AtLeast(99.5), FigureState::Warning),
            (Some(99.5), None, Bar::AtLeast(99.5), FigureState::Good),
            (
                Some(95.0),
                Some(100.0),
                Bar::ShareAtMost(0.9, 0.97),
                FigureState::Warning,
            ),
            (
                Some(98.0),
                Some(100.0),
                Bar::ShareAtMost(0.9, 0.97),
                FigureState::Critical,
            ),
            (
                Some(98.0),
                None,
                Bar::ShareAtMost(0.9, 0.97),
                FigureState::Neutral,
            ),
        ];
        for (value, total, bar, wanted) in cases {
            assert_eq!(judged(value, total, bar), wanted, "{value:?} {total:?} {bar:?}");
        }
    }
}
