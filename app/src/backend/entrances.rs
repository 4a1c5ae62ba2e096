//! Holding, closing and opening what users reach a service by.

use std::time::Duration;

use trimtab_api::{Done, EntranceMode, EntranceRequest, EntranceState, Fault};
use trimtab_control::clock;
use trimtab_control::closures::{self, Closure, HOLD_SECONDS, HOLD_SECONDS_MAX, PAGE_BYTES_MAX};
use trimtab_control::place_book::Said;
use trimtab_model::{Actor, EnvironmentName, ServiceName};

use super::commands::{done, place_named, service_name};
use super::{AppBackend, moment};

/// After how many seconds clients of a closed service may ask again, when nobody says.
const RETRY_AFTER_SECONDS: u32 = 60;

impl AppBackend {
    pub(super) async fn regulate(
        &self,
        by: Actor,
        service: &str,
        request: EntranceRequest,
    ) -> Result<Done, Fault> {
        let service = service_name(service)?;
        if !self.services_known().contains(&service) {
            return Err(Fault::not_found("service", service.as_str()));
        }
        let place = place_named(request.environment.as_deref())?;
        let closure = closure(&service, &request)?;
        if closure.is_none() && self.world.closures.of(&service, &place).is_none() {
            return Err(Fault::conflict(
                format!("{service} in {place} is open already"),
                "nothing is to be done",
            ));
        }
        let message = match &closure {
            Some(Closure::Held { wait_ms, .. }) => format!(
                "requests to {service} in {place} wait, for {} s at most",
                wait_ms / 1000
            ),
            Some(Closure::Closed { .. }) => format!("{service} in {place} is closed"),
            None => format!("{service} in {place} is open"),
        };
        let set = closures::set(&self.world, &service, &place, closure, by, &request.comment).await;
        set.map_err(|reason| {
            Fault::new(
                trimtab_api::FaultCode::Unavailable,
                reason,
                "it is on record and is put in force as soon as the proxy answers",
            )
        })?;
        Ok(done(message, service.as_str(), "/services"))
    }

    pub(super) fn entrance_state(
        &self,
        service: &ServiceName,
        place: &EnvironmentName,
    ) -> Option<EntranceState> {
        self.world.closures.of(service, place).map(state)
    }
}

fn state(said: Said<Closure>) -> EntranceState {
    let (mode, until) = match said.what {
        Closure::Held { until, .. } => (EntranceMode::Held, Some(moment(until))),
        Closure::Closed { .. } => (EntranceMode::Closed, None),
    };
    EntranceState {
        mode,
        by: said.by.0,
        reason: said.reason,
        since: moment(said.at),
        until,
    }
}

fn closure(service: &ServiceName, request: &EntranceRequest) -> Result<Option<Closure>, Fault> {
    match request.mode {
        EntranceMode::Open => Ok(None),
        EntranceMode::Held => {
            let seconds = request.seconds.unwrap_or(HOLD_SECONDS);
            if seconds == 0 || seconds > HOLD_SECONDS_MAX {
                return Err(Fault::invalid(
                    format!("requests cannot be held for {seconds} s"),
                    format!("give 1 to {HOLD_SECONDS_MAX} seconds, or close the service"),
                ));
            }
            let wait = Duration::from_secs(u64::from(seconds));
            Ok(Some(Closure::Held {
                until: clock::now().plus(wait),
                wait_ms: u64::from(seconds) * 1000,
            }))
        }
        EntranceMode::Closed => {
            if request.comment.trim().is_empty() {
                return Err(Fault::invalid(
                    "a service is not closed without a reason",
                    "say why; its users read it unless you give a page",
                ));
            }
            let page = match &request.page {
                Some(page) => page.clone(),
                None => plain(service, &request.comment),
            };
            if page.len() > PAGE_BYTES_MAX {
                return Err(Fault::invalid(
                    format!("the page has {} bytes", page.len()),
                    format!("keep it below {PAGE_BYTES_MAX} bytes, with nothing to be loaded beside"),
                ));
            }
            Ok(Some(Closure::Closed {
                page,
                retry_after_s: request.seconds.unwrap_or(RETRY_AFTER_SECONDS),
            }))
        }
    }
}

fn plain(service: &ServiceName, reason: &str) -> String {
    let escaped = reason
        .replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;");
    format!(
        "<!doctype html><html lang=\"en\"><meta charset=\"utf-8\"><title>{service}</title>\
         <h1>{service} is closed for the moment</h1><p>{escaped}</p></html>\n"
    )
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests fail by panicking")]

    use super::*;

    fn asked(mode: EntranceMode, seconds: Option<u32>, comment: &str) -> Result<Option<Closure>, Fault> {
        let request = EntranceRequest {
            mode,
            seconds,
            comment: comment.to_owned(),
            ..EntranceRequest::default()
        };
        closure(&"notes".parse().unwrap(), &request)
    }

    #[test]
    fn holds_end_and_closures_say_why() {
        for seconds in [0, HOLD_SECONDS_MAX + 1] {
            assert!(asked(EntranceMode::Held, Some(seconds), "").is_err(), "{seconds}");
        }
        let held = asked(EntranceMode::Held, None, "").unwrap().unwrap();
        assert!(matches!(held, Closure::Held { wait_ms: 30_000, .. }), "{held:?}");
        assert!(asked(EntranceMode::Closed, None, " ").is_err());
        let closed = asked(EntranceMode::Closed, Some(9), "moving <house>")
            .unwrap()
            .unwrap();
        let Closure::Closed { page, retry_after_s } = closed else {
            panic!("{closed:?}")
        };
        assert!(
            page.contains("moving &lt;house&gt;") && retry_after_s == 9,
            "{page}"
        );
        assert_eq!(asked(EntranceMode::Open, None, "").unwrap(), None);
    }
}
