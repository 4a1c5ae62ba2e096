//! The way back to any release that is kept: what it would take, and taking it.

use trimtab_api::{Done, Fault, RollBackForecast, RollBackRequest};
use trimtab_control::host::Snapshot;
use trimtab_control::machines::Rollouts;
use trimtab_control::start_rollout;
use trimtab_control::world::{PRODUCTION, STAGING, environment};
use trimtab_control::{blueprint, clock};
use trimtab_model::{Actor, EnvironmentName, ReleaseId, ServiceName};
use trimtab_rollout::{Event as RolloutEvent, Start, Way, expected_ms, starts};
use trimtab_runtime::InstanceState;

use super::commands::{done, release_id, service_name};
use super::{AppBackend, unavailable};

/// Rollouts whose starts are looked at.
const ROLLOUTS_LOOKED_AT: usize = 20;

/// Where a way back leads.
struct WayBack {
    service: ServiceName,
    place: EnvironmentName,
    /// The rollout that is undone, where that alone leads back.
    rollout: Option<Snapshot<Rollouts>>,
    /// The release that will serve; none when nothing served before.
    release: Option<ReleaseId>,
}

impl AppBackend {
    /// A rollout under way is rolled back; else the wanted or previous release is rolled out at once: no
    /// steps, analysis, gates or freezes.
    pub(super) async fn roll_back(&self, by: Actor, request: RollBackRequest) -> Result<Done, Fault> {
        let way = self.way_back(&request)?;
        let forecast = self.forecast_of(&way).await?;
        if let Some(rollout) = &way.rollout {
            let event = RolloutEvent::RolledBack {
                at: clock::now(),
                by,
                reason: request.comment,
            };
            let told = self.tell_rollout(&rollout.id, event).await?;
            return Ok(Done {
                message: format!("{}; {}", told.message, forecast.text),
                ..told
            });
        }
        let (service, place) = (&way.service, &way.place);
        let Some(target) = way.release else {
            return Err(Fault::conflict(
                format!("{service} has no earlier good release in {place}"),
                "deploy a corrected commit instead",
            ));
        };
        let started = start_rollout::start(&self.world, place, &target, None, &by, true).await;
        let rollout = started.map_err(|reason| Fault::conflict(reason, "name another release"))?;
        let message = format!(
            "{} returns {service} in {place} to {target}; {}",
            rollout.id, forecast.text
        );
        if !request.comment.trim().is_empty() {
            let body = serde_json::json!({ "command": "roll_back", "comment": request.comment });
            self.write(&format!("comment/{}", rollout.id), "comment.made", by, body)
                .await?;
        }
        Ok(done(message, &rollout.id, &format!("/rollouts/{}", rollout.id)))
    }

    /// What a way back would take.
    pub(super) async fn forecast_of_roll_back(
        &self,
        request: &RollBackRequest,
    ) -> Result<RollBackForecast, Fault> {
        let way = self.way_back(request)?;
        self.forecast_of(&way).await
    }

    fn way_back(&self, request: &RollBackRequest) -> Result<WayBack, Fault> {
        let named = request
            .rollout
            .as_deref()
            .map(|id| self.rollout_snapshot(id))
            .transpose()?;
        let wanted = request.release.as_deref().map(release_id).transpose()?;
        let recorded = |release: &ReleaseId| {
            let known = self.world.releases.get(release);
            known.ok_or_else(|| Fault::not_found("release", release.as_str()))
        };
        let (service, place) = match &named {
            Some(rollout) => (rollout.plan.service.clone(), rollout.plan.environment.clone()),
            None => {
                let service = match (request.service.as_deref(), &wanted) {
                    (Some(service), _) => service_name(service)?,
                    (None, Some(release)) => recorded(release)?.release.service,
                    (None, None) => {
                        return Err(Fault::invalid(
                            "neither a rollout nor a service nor a release is named",
                            "name one of them",
                        ));
                    }
                };
                let place = match request.environment.as_deref() {
                    None | Some(PRODUCTION) => PRODUCTION,
                    Some(STAGING) => STAGING,
                    Some(other) => return Err(Fault::not_found("environment", other)),
                };
                (service, environment(place))
            }
        };
        if let Some(wanted) = &wanted
            && recorded(wanted)?.release.service != service
        {
            return Err(Fault::not_found("release", wanted.as_str()));
        }
        let under_way = self.world.rollouts_of(&service, &place);
        let under_way = under_way
            .into_iter()
            .rev()
            .find(|rollout| rollout.state.end().is_none());
        // Undoing the rollout under way is the shortest way to what served before it.
        let undone = under_way.filter(|rollout| wanted.is_none() || wanted == rollout.plan.baseline);
        let release = match (&wanted, &undone) {
            (Some(wanted), _) => Some(wanted.clone()),
            (None, Some(rollout)) => rollout.plan.baseline.clone(),
            (None, None) => self
                .world
                .stable(&service, &place)
                .and_then(|stable| self.world.previous(&service, &place, &stable)),
        };
        Ok(WayBack {
            service,
            place,
            rollout: undone,
            release,
        })
    }

    async fn forecast_of(&self, way: &WayBack) -> Result<RollBackForecast, Fault> {
        let (warm, expected, start_limit_s) = match &way.release {
            Some(release) => {
                let warm = self.is_warm(way, release).await?;
                let starts = self.starts_of(&way.service, &way.place).await?;
                let limit = self.world.release(release).map(|(_, project)| {
                    let limit = blueprint::health_check(&project).start_timeout;
                    limit.as_secs()
                });
                (warm, expected_ms(release, &starts), limit.unwrap_or(0))
            }
            None => (false, None, 0),
        };
        let text = match &way.release {
            None => "nothing served before it: nobody will be served".to_owned(),
            Some(release) => words(release, warm, expected, start_limit_s),
        };
        Ok(RollBackForecast {
            service: way.service.to_string(),
            environment: way.place.to_string(),
            release: way.release.as_ref().map(ToString::to_string),
            rollout: way.rollout.as_ref().map(|rollout| rollout.id.clone()),
            warm,
            seconds: expected.filter(|_| !warm).map(|(ms, _, _)| ms as f64 / 1000.0),
            text,
        })
    }

    /// Whether the instances that a return needs run already.
    async fn is_warm(&self, way: &WayBack, release: &ReleaseId) -> Result<bool, Fault> {
        if let Some(rollout) = &way.rollout {
            // A rolling replacement has stopped a part of them.
            let whole = rollout.state.instances.is_none_or(|now| now.candidate == 0);
            let here = matches!(rollout.state.phase.way(), Way::Forward | Way::Landing | Way::Back);
            return Ok(rollout.state.baseline_warm && whole && here);
        }
        let running = self.world.fleet.runtime().list().await.map_err(unavailable)?;
        let count = running
            .iter()
            .filter(|instance| instance.release == *release && instance.environment == way.place)
            .filter(|instance| instance.state == InstanceState::Running)
            .count();
        let wanted = self
            .world
            .release(release)
            .map_or(1, |(_, project)| self.world.scales.wanted(&project, &way.place));
        Ok(count >= wanted as usize)
    }

    /// How long instances of a service took to start in an environment, by its latest rollouts.
    async fn starts_of(&self, service: &ServiceName, place: &EnvironmentName) -> Result<Vec<Start>, Fault> {
        let mut all = Vec::new();
        let rollouts = self.world.rollouts_of(service, place);
        for rollout in rollouts.iter().rev().take(ROLLOUTS_LOOKED_AT) {
            let events = self.stream(&format!("rollout/{}", rollout.id)).await?;
            let events = events
                .into_iter()
                .skip(1)
                .filter_map(|event| serde_json::from_value::<RolloutEvent>(event.body).ok());
            all.extend(starts(&rollout.plan, events));
        }
        Ok(all)
    }
}

fn words(release: &ReleaseId, warm: bool, expected: Option<(u64, usize, bool)>, limit_s: u64) -> String {
    if warm {
        return format!("{release} is warm: users are back on it at once");
    }
    let by = |count: usize, own: bool| match (count, own) {
        (1, true) => "its one earlier start".to_owned(),
        (count, true) => format!("the slowest of its {count} earlier starts"),
        (1, false) => "the one start of another release".to_owned(),
        (count, false) => format!("the slowest of {count} starts of other releases"),
    };
    match expected {
        Some((ms, count, own)) => format!(
            "{release} must be started first: about {:.1} s, by {}",
            ms as f64 / 1000.0,
            by(count, own)
        ),
        None => {
            format!("{release} must be started first: {limit_s} s at most, for no earlier start is on record")
        }
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests fail by panicking")]

    use super::*;

    #[test]
    fn a_forecast_says_what_it_rests_on() {
        let release = ReleaseId::new("notes-r1").unwrap();
        assert_eq!(
            words(&release, true, Some((900, 1, true)), 20),
            "notes-r1 is warm: users are back on it at once"
        );
        assert_eq!(
            words(&release, false, Some((1_240, 3, true)), 20),
            "notes-r1 must be started first: about 1.2 s, by the slowest of its 3 earlier starts"
        );
        assert_eq!(
            words(&release, false, Some((900, 1, false)), 20),
            "notes-r1 must be started first: about 0.9 s, by the one start of another release"
        );
        assert_eq!(
            words(&release, false, None, 20),
            "notes-r1 must be started first: 20 s at most, for no earlier start is on record"
        );
    }
}
