//! The overview: everything of D for one service in one environment.

use trimtab_api::{
    Dashboard, DashboardQuery, Fault, FigureGroup, IncidentQuery, RolloutQuery, RolloutSummary, TimelineQuery,
};
use trimtab_control::clock;
use trimtab_control::world::{PRODUCTION, STAGING, environment};
use trimtab_model::{ServiceName, Timestamp};
use trimtab_project::Project;

use super::health::selector;
use super::markers::markers;
use super::{AppBackend, moment};

/// Minutes that charts show when the asker names none.
const MINUTES_DEFAULT: u32 = 15;
/// Most minutes that charts show: a week.
const MINUTES_MAX: u32 = 7 * 24 * 60;
/// Rows of each list on the overview.
const ROWS: usize = 10;

/// What the overview is asked about.
pub(super) struct View {
    pub(super) service: Option<String>,
    pub(super) place: &'static str,
    pub(super) project: Option<Project>,
    /// The matchers of its series.
    pub(super) selector: String,
    pub(super) from: Timestamp,
    pub(super) to: Timestamp,
}

impl AppBackend {
    pub(super) async fn overview(&self, query: DashboardQuery) -> Result<Dashboard, Fault> {
        let services: Vec<String> = self.services_known().iter().map(ToString::to_string).collect();
        let view = self.view(query, &services);
        let (service, place) = (view.service.clone(), view.place);
        let health = self.overall_health(service.as_deref(), place).await?;
        let all = IncidentQuery {
            service: service.clone(),
            open: None,
            limit: Some(super::ROWS_MAX),
        };
        let mut incidents = self.incident_list(&all).await?;
        let figures = self.figures(&view, &incidents, health.status).await;
        incidents.retain(|incident| incident.environment == place);
        let rollouts = self.rollout_list(&RolloutQuery {
            service: service.clone(),
            environment: Some(place.to_owned()),
            limit: Some(super::ROWS_MAX),
            ..RolloutQuery::default()
        });
        let timeline = TimelineQuery {
            service: service.clone(),
            before: None,
            limit: Some(ROWS),
        };
        let measured = figures.iter().any(|figure| {
            figure.as_of.is_some() && !matches!(figure.group, FigureGroup::Alerts | FigureGroup::Quality)
        });
        let newest = self.newest("trimtab_host_cpu_percent", view.to).await?;
        Ok(Dashboard {
            environment: place.to_owned(),
            services,
            environments: [PRODUCTION, STAGING].map(str::to_owned).to_vec(),
            health,
            charts: self.charts(&view).await,
            markers: markers(&rollouts, &incidents, view.from, view.to),
            rollouts: shown(rollouts),
            incidents: incidents
                .into_iter()
                .filter(|incident| incident.state.is_open())
                .take(ROWS)
                .collect(),
            timeline: self.told(&timeline).await?,
            from: moment(view.from),
            to: moment(view.to),
            data_as_of: newest.filter(|_| measured).map(|at| moment(Timestamp(at))),
            figures,
            service,
        })
    }

    fn view(&self, query: DashboardQuery, services: &[String]) -> View {
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
        View {
            project: service
                .as_deref()
                .and_then(|service| self.project_of(service, place)),
            selector: selector(service.as_deref(), place),
            service,
            place,
            from: Timestamp(to.0 - i64::from(minutes) * 60_000),
            to,
        }
    }

    /// The project file of the release that serves.
    pub(super) fn project_of(&self, service: &str, place: &'static str) -> Option<Project> {
        let service = ServiceName::new(service).ok()?;
        let stable = self.world.stable(&service, &environment(place))?;
        self.world.release(&stable).ok().map(|(_, project)| project)
    }
}

/// Those under way, else the last one.
fn shown(all: Vec<RolloutSummary>) -> Vec<RolloutSummary> {
    let under_way = all.iter().filter(|rollout| !rollout.state.is_over()).count();
    let wanted = under_way.clamp(1, ROWS);
    let mut all = all;
    all.sort_by_key(|rollout| rollout.state.is_over());
    all.truncate(wanted);
    all
}
