//! Overall health, from what is known now.

use trimtab_api::{Fault, Health, HealthReason, HealthStatus, IncidentQuery};
use trimtab_control::clock;
use trimtab_control::world::PRODUCTION;
use trimtab_detection::health::{Inputs, Status, overall};
use trimtab_model::Timestamp;
use trimtab_runtime::InstanceState;

use super::incidents::open_severities;
use super::{AppBackend, moment, unavailable};

impl AppBackend {
    /// The one number that a query has now; none when it has no result or cannot be evaluated.
    pub(super) async fn number(&self, promql: &str, at: Timestamp) -> Option<f64> {
        let value = self.value(promql, at).await.ok()?.single()?;
        value.is_finite().then_some(value)
    }

    pub(super) async fn overall_health(&self, service: Option<&str>, place: &str) -> Result<Health, Fault> {
        let now = clock::now();
        let selector = selector(service, place);
        let incidents = IncidentQuery {
            service: service.map(str::to_owned),
            open: Some(true),
            limit: None,
        };
        let incidents = self.incident_list(&incidents).await?;
        let running = self.world.fleet.runtime().list().await.map_err(unavailable)?;
        let own: Vec<_> = running
            .iter()
            .filter(|instance| instance.environment.as_str() == PRODUCTION)
            .filter(|instance| service.is_none_or(|wanted| wanted == instance.service.as_str()))
            .collect();
        let healthy = own
            .iter()
            .filter(|instance| instance.state == InstanceState::Running)
            .count();
        let newest = self.newest("trimtab_host_cpu_percent", now).await?;
        let host = self.number("trimtab_host_cpu_percent", now).await;
        let age = newest.map(|at| now.0 - at);
        let errors = format!(
            "(sum(rate(trimtab_requests_total{{{selector},class=\"error\"}}[1m])) or vector(0)) \
             / sum(rate(trimtab_requests_total{{{selector}}}[1m]))"
        );
        let share = |name: &str| format!("trimtab_host_{name}_used_bytes / trimtab_host_{name}_total_bytes");
        let inputs = Inputs {
            incidents: open_severities(&incidents),
            instances: (!own.is_empty()).then_some((count(healthy), count(own.len()))),
            error_rate: self.number(&errors, now).await,
            cpu: host.map(|percent| percent / 100.0),
            memory: self.number(&share("memory"), now).await,
            disk: self.number(&share("disk"), now).await,
            telemetry_age_ms: age,
            ..Inputs::default()
        };
        let found = overall(&inputs);
        let status = status(found.status);
        let reasons: Vec<HealthReason> = found
            .reasons
            .into_iter()
            .map(|text| HealthReason {
                status,
                subject: service.unwrap_or("all services").to_owned(),
                text,
                link: None,
            })
            .collect();
        Ok(Health {
            status,
            reason: reasons
                .first()
                .map_or_else(|| "all is well".to_owned(), |first| first.text.clone()),
            reasons,
            budget: None,
            as_of: moment(now),
        })
    }
}

/// The matchers of a service's series; names were checked when they were made.
pub(super) fn selector(service: Option<&str>, place: &str) -> String {
    let quote = |text: &str| text.replace(['"', '\\', '\n'], "");
    match service {
        Some(service) => format!("service=\"{}\",environment=\"{}\"", quote(service), quote(place)),
        None => format!("environment=\"{}\"", quote(place)),
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
