//! Overall health, from what is known now.

use trimtab_api::{ErrorBudget, Fault, Health, HealthReason, HealthStatus, IncidentQuery, RolloutQuery};
use trimtab_control::clock;
use trimtab_control::world::environment;
use trimtab_detection::health::{Inputs, Status, overall};
use trimtab_detection::verdict::Decision;
use trimtab_model::{RolloutId, ServiceName, Timestamp};
use trimtab_project::Objectives;
use trimtab_runtime::InstanceState;

use super::incidents::open_severities;
use super::quality::period;
use super::{AppBackend, forge, moment, unavailable};

impl AppBackend {
    /// The one number that a query has now; none when it has no result or cannot be evaluated.
    pub(super) async fn number(&self, promql: &str, at: Timestamp) -> Option<f64> {
        let value = self.value(promql, at).await.ok()?.single()?;
        value.is_finite().then_some(value)
    }

    /// Health of a service in an environment; of all services, the worst first, when none is named.
    pub(super) async fn overall_health(
        &self,
        service: Option<&str>,
        place: &'static str,
    ) -> Result<Health, Fault> {
        let services: Vec<ServiceName> = match service {
            Some(name) => ServiceName::new(name).into_iter().collect(),
            None => self.services_known(),
        };
        let mut all = Vec::new();
        for service in &services {
            all.push(self.health_of(service, place).await?);
        }
        let now = clock::now();
        let mut reasons: Vec<HealthReason> = all.iter().flat_map(|health| health.reasons.clone()).collect();
        reasons.extend(self.dead_letters().await?);
        // Unknown is less than degraded, and more than healthy.
        reasons.sort_by_key(|reason| std::cmp::Reverse(weight(reason.status)));
        let worst = reasons.first();
        Ok(Health {
            status: worst.map_or(HealthStatus::Unknown, |reason| reason.status),
            reason: worst.map_or_else(
                || "no service is known yet: deploy one".to_owned(),
                |reason| reason.text.clone(),
            ),
            budget: all
                .into_iter()
                .filter_map(|health| health.budget)
                .min_by(|a, b| left(a).total_cmp(&left(b))),
            reasons,
            as_of: moment(now),
        })
    }

    async fn health_of(&self, service: &ServiceName, place: &'static str) -> Result<Health, Fault> {
        let now = clock::now();
        let name = service.as_str();
        let selector = selector(Some(name), place);
        let project = self.project_of(name, place);
        let objectives = project.as_ref().map(|project| &project.objectives);
        let mut incidents = self
            .incident_list(&IncidentQuery {
                service: Some(name.to_owned()),
                open: Some(true),
                limit: None,
            })
            .await?;
        incidents.retain(|incident| incident.environment == place);
        let budget = match objectives {
            Some(objectives) => Some(self.budget(&selector, objectives, now).await),
            None => None,
        };
        let mut inputs = Inputs {
            incidents: open_severities(&incidents),
            regressed: self.regressed(name, place),
            burn_rate: budget.as_ref().and_then(|(_, fast)| *fast),
            ..self.host(now).await?
        };
        self.users(&mut inputs, &selector, objectives, now).await;
        let (instances, restarting) = self.instances(service, place).await?;
        inputs.instances = instances;
        let found = overall(&inputs);
        let link = incidents
            .first()
            .map(|incident| format!("/incidents/{}", incident.id));
        let reason = |status, text: String, link: Option<String>| HealthReason {
            status,
            subject: format!("{service} in {place}"),
            text,
            link,
        };
        let mut reasons: Vec<HealthReason> = found
            .reasons
            .into_iter()
            .zip(found.alone)
            .map(|(text, alone)| {
                let link = link.clone().filter(|_| text.contains("incident"));
                reason(status(alone), text, link)
            })
            .collect();
        if restarting > 0 {
            let text = format!("{restarting} instances restart again and again");
            reasons.insert(
                0,
                reason(HealthStatus::Degraded, text, Some("/services".to_owned())),
            );
        }
        Ok(Health {
            status: status(found.status),
            reason: String::new(),
            reasons,
            budget: budget.map(|(budget, _)| budget),
            as_of: moment(now),
        })
    }

    /// What is known of the host.
    async fn host(&self, now: Timestamp) -> Result<Inputs, Fault> {
        let newest = self.newest("trimtab_host_cpu_percent", now).await?;
        let cpu = self
            .number("last_over_time(trimtab_host_cpu_percent[10s])", now)
            .await;
        let share = |name: &str| format!("trimtab_host_{name}_used_bytes / trimtab_host_{name}_total_bytes");
        Ok(Inputs {
            cpu: cpu.map(|percent| percent / 100.0),
            memory: self.number(&share("memory"), now).await,
            disk: self.number(&share("disk"), now).await,
            telemetry_age_ms: newest.map(|at| now.0 - at),
            ..Inputs::default()
        })
    }

    /// What users meet: errors, response time, Apdex, their scores.
    async fn users(
        &self,
        inputs: &mut Inputs,
        selector: &str,
        objectives: Option<&Objectives>,
        now: Timestamp,
    ) {
        inputs.error_rate = self.number(&error_share(selector, "1m"), now).await;
        let score = format!("avg(avg_over_time({}{{{selector}}}[30d]))", forge::SCORE);
        inputs.satisfaction = self.seldom(&score, now).await.and_then(|found| found.single());
        let Some(objectives) = objectives else { return };
        let share = objectives.latency_share.fraction();
        let latency = format!(
            "1000 * histogram_quantile({share}, sum by (le) (rate(trimtab_request_duration_seconds_bucket{{{selector}}}[1m])))"
        );
        let limit = objectives.latency.0.as_secs_f64() * 1000.0;
        inputs.latency_ms = self.number(&latency, now).await.map(|found| (found, limit));
        let t = objectives.apdex.0.as_secs_f64();
        inputs.apdex = self.apdex_of(selector, t, now).await;
    }

    /// What is left of the error budget, and how fast it burns over five minutes and over an hour.
    async fn budget(
        &self,
        selector: &str,
        objectives: &Objectives,
        now: Timestamp,
    ) -> (ErrorBudget, Option<f64>) {
        let allowed = 1.0 - objectives.availability.fraction();
        let rate = |share: f64| (allowed > 0.0).then_some(share / allowed);
        let short = self
            .number(&error_share(selector, "5m"), now)
            .await
            .and_then(rate);
        let long = self
            .number(&error_share(selector, "1h"), now)
            .await
            .and_then(rate);
        let all = self
            .seldom(&error_share(selector, &period(objectives)), now)
            .await;
        let used = all.and_then(|found| found.single()).and_then(rate);
        let budget = ErrorBudget {
            objective_percent: objectives.availability.percent(),
            window: objectives.window.to_string(),
            left_percent: used
                .filter(|used| used.is_finite())
                .map(|used| 100.0 * (1.0 - used)),
            burn_rate: short,
        };
        // A burst counts only if it is still under way and has gone on long enough to matter.
        let both = short.zip(long).map(|(short, long)| short.min(long));
        (budget, both)
    }

    fn regressed(&self, service: &str, place: &str) -> bool {
        let under_way = self.rollout_list(&RolloutQuery {
            service: Some(service.to_owned()),
            environment: Some(place.to_owned()),
            active: Some(true),
            limit: None,
        });
        under_way
            .iter()
            .filter_map(|rollout| RolloutId::new(&rollout.id).ok())
            .any(|id| self.world.evidence.decision(&id) == Some(Decision::Regressed))
    }

    /// Instances of the release that serves (running, and wanted), and how many restart all the time.
    async fn instances(
        &self,
        service: &ServiceName,
        place: &'static str,
    ) -> Result<(Option<(u64, u64)>, usize), Fault> {
        let Some(stable) = self.world.stable(service, &environment(place)) else {
            return Ok((None, 0));
        };
        let running = self.world.fleet.runtime().list().await.map_err(unavailable)?;
        let own: Vec<InstanceState> = running
            .iter()
            .filter(|instance| instance.release == stable && instance.environment.as_str() == place)
            .map(|instance| instance.state)
            .filter(|state| !matches!(state, InstanceState::Stopping | InstanceState::Stopped))
            .collect();
        let in_state = |wanted| own.iter().filter(|state| **state == wanted).count();
        let serving = count(in_state(InstanceState::Running));
        Ok((
            Some((serving, count(own.len()).max(1))),
            in_state(InstanceState::BackOff),
        ))
    }

    async fn dead_letters(&self) -> Result<Option<HealthReason>, Fault> {
        let dead = self.world.outbox.counts().await.map_err(unavailable)?.dead;
        Ok((dead > 0).then(|| HealthReason {
            status: HealthStatus::Degraded,
            subject: "notifications".to_owned(),
            text: format!("{dead} messages could not be delivered"),
            link: Some("/notifications".to_owned()),
        }))
    }
}

/// Failed requests as a share of all; none without requests.
fn error_share(selector: &str, window: &str) -> String {
    format!(
        "(sum(increase(trimtab_requests_total{{{selector},class=\"error\"}}[{window}])) or vector(0)) \
         / sum(increase(trimtab_requests_total{{{selector}}}[{window}]))"
    )
}

/// The matchers of a service's series; names were checked when they were made.
pub(super) fn selector(service: Option<&str>, place: &str) -> String {
    let quote = |text: &str| text.replace(['"', '\\', '\n'], "");
    match service {
        Some(service) => format!("service=\"{}\",environment=\"{}\"", quote(service), quote(place)),
        None => format!("environment=\"{}\"", quote(place)),
    }
}

fn left(budget: &ErrorBudget) -> f64 {
    budget.left_percent.unwrap_or(f64::INFINITY)
}

fn weight(status: HealthStatus) -> u8 {
    match status {
        HealthStatus::Healthy => 0,
        HealthStatus::Unknown => 1,
        HealthStatus::Degraded => 2,
        HealthStatus::Critical => 3,
    }
}

fn count(number: usize) -> u64 {
    u64::try_from(number).unwrap_or(u64::MAX)
}

fn status(status: Status) -> HealthStatus {
    match status {
        Status::Healthy => HealthStatus::Healthy,
        Status::Unknown => HealthStatus::Unknown,
        Status::Degraded => HealthStatus::Degraded,
        Status::Critical => HealthStatus::Critical,
    }
}
