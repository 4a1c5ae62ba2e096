//! What the steps of a rollout are expected to tell, in words and figures.

use trimtab_api as api;
use trimtab_api::{Fault, RolloutForecast, StepForecast};
use trimtab_control::forecast::{rates, steps, traffic_before};
use trimtab_control::host::Snapshot;
use trimtab_control::machines::Rollouts;
use trimtab_control::world::{PRODUCTION, environment};
use trimtab_control::{blueprint, clock};
use trimtab_detection::verdict::{Before, StepForecast as Told};
use trimtab_project::Project;
use trimtab_rollout::{Instances, Strategy, TrafficBefore, TrafficStep};

use super::AppBackend;
use super::commands::service_name;
use super::rollouts::strategy_name;

impl AppBackend {
    /// That of the next rollout: of the newest release's settings, by the traffic of now.
    pub(super) async fn forecast_of_next(
        &self,
        query: &api::ForecastQuery,
    ) -> Result<RolloutForecast, Fault> {
        let service = service_name(&query.service)?;
        let place = query.environment.as_deref().unwrap_or(PRODUCTION);
        if place != PRODUCTION {
            let mend = "ask for production";
            return Err(Fault::conflict(
                format!("rollouts to {place} compare nothing"),
                mend,
            ));
        }
        let newest = self.world.releases.list(&service).pop();
        let newest = newest.ok_or_else(|| {
            Fault::conflict(
                format!("{service} has no release yet"),
                "deploy one: `trimtab deploy`",
            )
        })?;
        let (_, project) = self
            .world
            .release(&newest.release.id)
            .map_err(|error| Fault::conflict(error.to_string(), "deploy a release of today"))?;
        let place = environment(PRODUCTION);
        let before = traffic_before(&self.world, &service, &place, clock::now()).await;
        let before = before.ok_or_else(|| {
            Fault::conflict(
                format!("{service} had no traffic yet"),
                "wait until users come, or send some: forecasts rest on the last hour's traffic",
            )
        })?;
        let serves = self.world.stable(&service, &place);
        let wanted = self.world.scales.wanted(&project, &place);
        let strategy = blueprint::strategy(
            &project,
            Instances {
                candidate: wanted,
                baseline: wanted,
            },
        );
        Ok(forecast(
            &strategy,
            serves.is_some(),
            before,
            &project,
            service.as_str(),
        ))
    }

    /// What was told before a rollout started.
    pub(super) fn forecast_before(&self, rollout: &Snapshot<Rollouts>) -> Option<RolloutForecast> {
        let plan = &rollout.plan;
        let before = plan.before?;
        let (_, project) = self.world.release(&plan.candidate).ok()?;
        let (strategy, service) = (&plan.strategy, plan.service.as_str());
        Some(forecast(
            strategy,
            plan.baseline.is_some(),
            before,
            &project,
            service,
        ))
    }
}

fn forecast(
    strategy: &Strategy,
    has_baseline: bool,
    before: TrafficBefore,
    project: &Project,
    service: &str,
) -> RolloutForecast {
    let alpha = project.production.verdict.alpha.fraction();
    let rates = rates(before);
    let told = steps(strategy, has_baseline, before, alpha);
    let window_seconds = before.window_ms as f64 / 1_000.0;
    RolloutForecast {
        service: service.to_owned(),
        environment: PRODUCTION.to_owned(),
        strategy: strategy_name(strategy),
        window_seconds,
        requests_per_second: rates.requests_per_second,
        error_percent: rates.error_rate * 100.0,
        alpha,
        typical_percent: rates.typical() * 100.0,
        steps: told
            .into_iter()
            .map(|(step, told)| in_words(step, told, rates))
            .collect(),
        text: format!(
            "{} requests a second in the last {}, {} of them failed",
            short(rates.requests_per_second),
            period(window_seconds),
            percent(rates.error_rate)
        ),
    }
}

fn in_words(step: TrafficStep, told: Option<Told>, rates: Before) -> StepForecast {
    let watch_seconds = step.watch_ms as f64 / 1_000.0;
    let watch = period(watch_seconds);
    let typical = percent(rates.typical());
    let text = match (&told, step.flag) {
        (None, Some(_)) => "users count one by one: told once they come".to_owned(),
        (None, None) => "nobody is left to compare with: probes alone guard it".to_owned(),
        (Some(told), _) => match (told.least, told.typical_seconds) {
            (Some(least), Some(seconds)) => format!(
                "finds a release that fails {} or more within its {watch}; one that fails {typical} takes about {}",
                percent(least),
                period(seconds)
            ),
            (_, Some(seconds)) => format!(
                "too little traffic: about {:.0} requests of the candidate in {watch}, in which not even a release that \
                 fails all of them is found; one that fails {typical} takes about {}. Watch it for longer, give it a \
                 share nearer to 50 %, send synthetic load, or ask a person",
                told.candidate,
                period(seconds)
            ),
            (_, None) => "without traffic nothing is found: send synthetic load, or ask a person".to_owned(),
        },
    };
    StepForecast {
        percent: step.flag.unwrap_or(step.weight).percent(),
        watch_seconds,
        candidate_requests: told.map(|told| told.candidate.round() as u64),
        least_percent: told.and_then(|told| told.least).map(|least| least * 100.0),
        typical_seconds: told.and_then(|told| told.typical_seconds),
        text,
    }
}

fn percent(share: f64) -> String {
    format!("{} %", short(share * 100.0))
}

/// Two figures that count.
fn short(value: f64) -> String {
    match value {
        value if value >= 10.0 => format!("{value:.0}"),
        value if value >= 1.0 => format!("{value:.1}"),
        value if value <= 0.0 => "0".to_owned(),
        value => format!("{value:.2}"),
    }
}

fn period(seconds: f64) -> String {
    match seconds {
        seconds if seconds < 1.0 => "a second".to_owned(),
        seconds if seconds < 90.0 => format!("{seconds:.0} s"),
        seconds if seconds < 5_400.0 => format!("{:.0} min", seconds / 60.0),
        seconds if seconds < 129_600.0 => format!("{:.0} h", seconds / 3_600.0),
        seconds => format!("{:.0} days", seconds / 86_400.0),
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests fail by panicking")]
    use super::*;

    fn told(requests: u64) -> RolloutForecast {
        let text = "service: notes\npipeline: {artifact: {paths: [notes]}}\nrun: {command: ./notes}\nproduction:\n  \
                    strategy: canary\n  steps: [{weight: 5%, watch: 60s}]\n";
        let project = trimtab_project::parse("trimtab.yaml", text).unwrap();
        let before = TrafficBefore {
            window_ms: 3_600_000,
            requests,
            errors: requests / 1_000,
        };
        let one = Instances {
            candidate: 1,
            baseline: 1,
        };
        forecast(
            &blueprint::strategy(&project, one),
            true,
            before,
            &project,
            "notes",
        )
    }

    #[test]
    fn a_forecast_says_what_is_found_and_what_would_help() {
        let busy = told(360_000);
        assert_eq!(
            busy.text,
            "100 requests a second in the last 60 min, 0.10 % of them failed"
        );
        let step = &busy.steps[0];
        assert_eq!((step.percent, step.candidate_requests), (5.0, Some(300)));
        assert!(
            step.text.starts_with("finds a release that fails "),
            "{}",
            step.text
        );
        assert!(step.least_percent.unwrap() < 5.0, "{step:?}");
        // One request in ten seconds.
        let idle = told(360);
        let text = &idle.steps[0].text;
        assert!(text.starts_with("too little traffic: about 0 requests"), "{text}");
        assert!(text.contains("synthetic load, or ask a person"), "{text}");
        assert_eq!(idle.steps[0].least_percent, None);
    }
}
