//! The overview: figures and charts, each by a query that people can repeat.

use trimtab_api::{
    Chart, ChartSeries, Dashboard, DashboardQuery, Fault, Figure, FigureGroup, FigureState, HealthStatus,
    IncidentQuery, IncidentSummary, Marker, RolloutQuery, TimelineQuery,
};
use trimtab_control::clock;
use trimtab_control::world::{PRODUCTION, STAGING, environment};
use trimtab_model::{ServiceName, Severity, Timestamp};
use trimtab_project::Project;

use super::health::selector;
use super::{AppBackend, moment};

/// Minutes that charts show when the asker names none.
const MINUTES_DEFAULT: u32 = 15;
/// Most minutes that charts show: a week.
const MINUTES_MAX: u32 = 7 * 24 * 60;
/// Points of a chart.
const CHART_POINTS: i64 = 120;
/// Rows of each list on the overview.
const ROWS: usize = 10;

/// A figure before it is asked for: id, group, title, unit, query, query of its total.
type Ask = (
    &'static str,
    FigureGroup,
    String,
    String,
    Option<String>,
    Option<String>,
);

impl AppBackend {
    pub(super) async fn overview(&self, query: DashboardQuery) -> Result<Dashboard, Fault> {
        let services: Vec<String> = self.services_known().iter().map(ToString::to_string).collect();
        let service = query
            .service
            .filter(|s| !s.is_empty())
            .or_else(|| services.first().cloned());
        let place = match query.environment.as_deref() {
            Some(STAGING) => STAGING,
            _ => PRODUCTION,
        };
        let to = clock::now();
        let minutes = query.minutes.unwrap_or(MINUTES_DEFAULT).clamp(1, MINUTES_MAX);
        let from = Timestamp(to.0 - i64::from(minutes) * 60_000);
        let project = service
            .as_deref()
            .and_then(|service| self.project_of(service, place));
        let health = self.overall_health(service.as_deref(), place).await?;
        let all = IncidentQuery {
            service: service.clone(),
            open: None,
            limit: Some(super::ROWS_MAX),
        };
        let all = self.incident_list(&all).await?;
        let chosen = selector(service.as_deref(), place);
        let mut figures = Vec::new();
        for ask in asks(&chosen, project.as_ref()) {
            figures.push(self.figure(ask, to).await);
        }
        figures.extend(alerts(&all, health.status, to));
        let rollouts = RolloutQuery {
            service: service.clone(),
            limit: Some(ROWS),
            ..RolloutQuery::default()
        };
        let rollouts = self.rollout_list(&rollouts);
        let markers = rollouts.iter().map(|rollout| Marker {
            at: rollout.created_at,
            until: rollout.finished_at,
            kind: "rollout".to_owned(),
            label: format!("{} to {}", rollout.candidate, rollout.environment),
            link: Some(format!("/rollouts/{}", rollout.id)),
        });
        let timeline = TimelineQuery {
            service: service.clone(),
            before: None,
            limit: Some(ROWS),
        };
        let known = figures
            .iter()
            .any(|figure| figure.as_of.is_some() && figure.group != FigureGroup::Alerts);
        Ok(Dashboard {
            environment: place.to_owned(),
            services,
            health,
            charts: self.charts(&chosen, from, to).await,
            markers: markers.filter(|marker| marker.at.0 >= from).collect(),
            rollouts,
            incidents: all
                .into_iter()
                .filter(|incident| incident.state.is_open())
                .take(ROWS)
                .collect(),
            timeline: self.told(&timeline).await?,
            from: moment(from),
            to: moment(to),
            data_as_of: known.then_some(moment(to)),
            figures,
            service,
        })
    }

    /// The project file of the release that serves.
    fn project_of(&self, service: &str, place: &'static str) -> Option<Project> {
        let service = ServiceName::new(service).ok()?;
        let stable = self.world.stable(&service, &environment(place))?;
        self.world.release(&stable).ok().map(|(_, project)| project)
    }

    async fn figure(&self, (id, group, title, unit, query, total): Ask, now: Timestamp) -> Figure {
        let (mut value, mut detail) = (None, String::new());
        match &query {
            None => detail = "not declared in trimtab.yaml".to_owned(),
            Some(query) => match self.value(query, now).await {
                Ok(found) => value = found.single().filter(|value| value.is_finite()),
                Err(fault) => detail = fault.to_string(),
            },
        }
        let total = match &total {
            Some(total) => self.number(total, now).await,
            None => None,
        };
        Figure {
            id: id.to_owned(),
            group,
            title,
            value,
            total,
            unit,
            state: if value.is_some() {
                FigureState::Neutral
            } else {
                FigureState::NoData
            },
            source: query.unwrap_or_default(),
            detail,
            sparkline: Vec::new(),
            as_of: value.map(|_| moment(now)),
        }
    }

    async fn charts(&self, s: &str, from: Timestamp, to: Timestamp) -> Vec<Chart> {
        let wanted = [
            (
                "requests",
                "Requests",
                "/s",
                format!("sum by (release) (rate(trimtab_requests_total{{{s}}}[10s]))"),
            ),
            (
                "errors",
                "Error rate",
                "%",
                format!(
                    "100 * sum by (release) (rate(trimtab_requests_total{{{s},class=\"error\"}}[10s])) \
                     / sum by (release) (rate(trimtab_requests_total{{{s}}}[10s]))"
                ),
            ),
            (
                "duration",
                "Response time, p95",
                "ms",
                format!(
                    "1000 * histogram_quantile(0.95, sum by (le) \
                     (rate(trimtab_request_duration_seconds_bucket{{{s}}}[10s])))"
                ),
            ),
        ];
        let step = ((to.0 - from.0) / CHART_POINTS).max(1000);
        let mut charts = Vec::new();
        for (id, title, unit, source) in wanted {
            let found = match self.range(&source, from, to, step).await {
                Ok(found) => found,
                Err(fault) => {
                    tracing::warn!(chart = id, %fault, "failed to draw a chart");
                    Vec::new()
                }
            };
            let series = found.into_iter().map(|one| ChartSeries {
                name: one.labels.get("release").unwrap_or(title).to_owned(),
                points: one
                    .points
                    .iter()
                    .map(|(at, value)| (*at, Some(*value).filter(|v| v.is_finite())))
                    .collect(),
            });
            charts.push(Chart {
                id: id.to_owned(),
                title: title.to_owned(),
                unit: unit.to_owned(),
                series: series.collect(),
                objective: None,
                source,
            });
        }
        charts
    }
}

/// What is asked of the series: system, application, business, quality.
fn asks(s: &str, project: Option<&Project>) -> Vec<Ask> {
    use FigureGroup::{Application, Business, System};
    let host = |name: &str| Some(format!("last_over_time(trimtab_host_{name}[10s])"));
    let ask = |id, group, title: &str, unit: &str, query| {
        (id, group, title.to_owned(), unit.to_owned(), query, None)
    };
    let mut all = vec![
        ask("D.S1", System, "CPU", "%", host("cpu_percent")),
        ("D.S2", System, "Memory".to_owned(), "B".to_owned(), host("memory_used_bytes"), host("memory_total_bytes")),
        ("D.S3", System, "Disk".to_owned(), "B".to_owned(), host("disk_used_bytes"), host("disk_total_bytes")),
        ask(
            "D.S4",
            System,
            "Network",
            "B/s",
            Some(
                "last_over_time(trimtab_host_network_receive_bytes_per_second[10s]) + last_over_time(trimtab_host_network_transmit_bytes_per_second[10s])"
                    .to_owned(),
            ),
        ),
        ask("D.S5", System, "Uptime", "%", Some(format!("100 * avg(avg_over_time(trimtab_probe_success{{{s}}}[30d]))"))),
        ask("D.A1", Application, "Requests", "/s", Some(format!("sum(rate(trimtab_requests_total{{{s}}}[10s]))"))),
        ask(
            "D.A2",
            Application,
            "Response time",
            "ms",
            Some(format!(
                "1000 * histogram_quantile(0.95, sum by (le) (rate(trimtab_request_duration_seconds_bucket{{{s}}}[10s])))"
            )),
        ),
        ask(
            "D.A3",
            Application,
            "Error rate",
            "%",
            Some(format!(
                "100 * (sum(rate(trimtab_requests_total{{{s},class=\"error\"}}[10s])) or vector(0)) \
                 / sum(rate(trimtab_requests_total{{{s}}}[10s]))"
            )),
        ),
    ];
    let application = project.map(|project| &project.application);
    let users = application.and_then(|declared| declared.active_users.clone());
    let queries = application.and_then(|declared| declared.database_queries.clone());
    all.push(ask("D.A4", Application, "Active users", "", users));
    all.push(ask("D.A5", Application, "Database queries", "/s", queries));
    let declared = project.map_or(&[][..], |project| &project.business);
    for (id, business) in ["D.B1", "D.B2", "D.B3", "D.B4", "D.B5"].into_iter().zip(declared) {
        let query = Some(business.query.clone());
        all.push(ask(id, Business, &business.title, &business.unit, query));
    }
    all.extend(quality(s, project));
    all
}

fn quality(s: &str, project: Option<&Project>) -> Vec<Ask> {
    use FigureGroup::Quality;
    let objectives = project.map(|project| &project.objectives);
    let apdex = objectives.map(|objectives| {
        let t = objectives.apdex.0.as_secs_f64();
        let within = |limit: f64| {
            format!("sum(rate(trimtab_request_duration_seconds_bucket{{{s},le=\"{limit}\"}}[5m]))")
        };
        let count = format!("sum(rate(trimtab_request_duration_seconds_count{{{s}}}[5m]))");
        let failed = format!("(sum(rate(trimtab_requests_total{{{s},class=\"error\"}}[5m])) or vector(0))");
        format!(
            "clamp(({} + {}) / 2 / {count} - {failed} / {count}, 0, 1)",
            within(t),
            within(4.0 * t)
        )
    });
    let availability = objectives.map(|_| {
        format!(
            "100 - 100 * (sum(increase(trimtab_requests_total{{{s},class=\"error\"}}[30d])) or vector(0)) \
             / sum(increase(trimtab_requests_total{{{s}}}[30d]))"
        )
    });
    let scores = Some(format!("avg(avg_over_time({}{{{s}}}[30d]))", super::forge::SCORE));
    let ask =
        |id, title: &str, unit: &str, query| (id, Quality, title.to_owned(), unit.to_owned(), query, None);
    vec![
        ask("D.Q1", "Apdex", "", apdex),
        ask("D.Q2", "SLA compliance (availability)", "%", availability),
        ask("D.Q5", "Customer satisfaction", "of 5", scores),
    ]
}

/// Mean seconds from an incident's opening to its end, and between the openings of two.
fn repair_times(incidents: &[IncidentSummary]) -> (Option<f64>, Option<f64>) {
    let serious: Vec<&IncidentSummary> = incidents
        .iter()
        .filter(|i| i.severity >= Severity::High)
        .collect();
    let repaired: Vec<f64> = serious
        .iter()
        .filter_map(|i| i.resolved_at.map(|end| end.0.since(i.opened_at.0).as_secs_f64()))
        .collect();
    let mean = |all: &[f64]| (!all.is_empty()).then(|| all.iter().sum::<f64>() / all.len() as f64);
    let mut opened: Vec<i64> = serious.iter().map(|i| i.opened_at.millis()).collect();
    opened.sort_unstable();
    let gaps: Vec<f64> = opened
        .windows(2)
        .map(|pair| (pair[1] - pair[0]) as f64 / 1000.0)
        .collect();
    (mean(&repaired), mean(&gaps))
}

/// Figures that come from the journal: repair times and alerts.
fn alerts(incidents: &[IncidentSummary], health: HealthStatus, now: Timestamp) -> Vec<Figure> {
    use FigureGroup::{Alerts, Quality};
    let figure = |id: &str, group, title: &str, unit: &str, value: Option<f64>, state| Figure {
        id: id.to_owned(),
        group,
        title: title.to_owned(),
        value,
        total: None,
        unit: unit.to_owned(),
        state: if value.is_some() {
            state
        } else {
            FigureState::NoData
        },
        source: "the journal".to_owned(),
        detail: String::new(),
        sparkline: Vec::new(),
        as_of: value.map(|_| moment(now)),
    };
    let open = |wanted: &[Severity]| {
        let matching = incidents
            .iter()
            .filter(|i| i.state.is_open() && wanted.contains(&i.severity));
        matching.count() as f64
    };
    let (repair, between) = repair_times(incidents);
    let none_open = !incidents.iter().any(|incident| incident.state.is_open());
    let all_work = none_open && health == HealthStatus::Healthy;
    let warnings = open(&[Severity::Medium, Severity::High]);
    let critical = open(&[Severity::Critical]);
    let neutral = FigureState::Neutral;
    let tone = |bad: bool, worst| if bad { worst } else { FigureState::Good };
    vec![
        figure("D.Q3", Quality, "Mean time to repair", "s", repair, neutral),
        figure(
            "D.Q4",
            Quality,
            "Mean time between failures",
            "s",
            between,
            neutral,
        ),
        figure(
            "D.AL1",
            Alerts,
            "All systems work",
            "",
            Some(f64::from(u8::from(all_work))),
            tone(!all_work, FigureState::Warning),
        ),
        figure(
            "D.AL2",
            Alerts,
            "Warnings",
            "",
            Some(warnings),
            tone(warnings > 0.0, FigureState::Warning),
        ),
        figure(
            "D.AL3",
            Alerts,
            "Critical alerts",
            "",
            Some(critical),
            tone(critical > 0.0, FigureState::Critical),
        ),
    ]
}
