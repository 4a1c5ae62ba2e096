//! How many instances of a service run.

use trimtab_api::{Done, Fault, FaultCode, ScaleRequest, ScaleState};
use trimtab_control::scales::{self, Reached, ScaleError};
use trimtab_model::{Actor, EnvironmentName, ServiceName};

use super::commands::{done, place_named, service_name};
use super::{AppBackend, moment};

impl AppBackend {
    pub(super) async fn scale(&self, by: Actor, service: &str, request: ScaleRequest) -> Result<Done, Fault> {
        let service = service_name(service)?;
        if !self.services_known().contains(&service) {
            return Err(Fault::not_found("service", service.as_str()));
        }
        let place = (service.clone(), place_named(request.environment.as_deref())?);
        let set = scales::set(&self.world, &place, request.instances, by, &request.comment).await;
        let reached = set.map_err(fault)?;
        let (environment, said) = (&place.1, request.instances.is_some());
        let (count, serves) = match reached {
            Reached::Yes(1) => ("1 instance".to_owned(), "serves"),
            Reached::Yes(count) => (format!("{count} instances"), "serve"),
            Reached::NotYet(count) => (format!("{count} instances"), "are wanted, and are being had"),
        };
        let why = if said { "" } else { ", as its project file says" };
        let message = format!("{count} of {service} in {environment} {serves}{why}");
        Ok(done(message, service.as_str(), "/services"))
    }

    pub(super) fn scale_state(&self, service: &ServiceName, place: &EnvironmentName) -> Option<ScaleState> {
        let said = self.world.scales.of(service, place)?;
        Some(ScaleState {
            instances: said.what,
            by: said.by.0,
            reason: said.reason,
            since: moment(said.at),
        })
    }
}

fn fault(error: ScaleError) -> Fault {
    let (what, mend) = (error.to_string(), error.mend());
    match error {
        ScaleError::Count(_) | ScaleError::Cron(_) => Fault::invalid(what, mend),
        ScaleError::NothingServes { .. } | ScaleError::RollingOut(_) | ScaleError::Release(_) => {
            Fault::conflict(what, mend)
        }
        ScaleError::Journal(_) | ScaleError::Unreached(_) => Fault::new(FaultCode::Unavailable, what, mend),
    }
}
