//! Whether a suspect is well, metrics improved, or a problem is over (E.8, E.9, E.11, E.14, E.15, E.25).

use std::time::Duration;

use trimtab_detection::verdict::{Batch as Counts, Config, Decision, Judge, Outcomes};
use trimtab_incident::Phase;
use trimtab_model::{ReleaseId, Timestamp, Weight};

use crate::analysis;
use crate::clock;
use crate::incident_hands::Work;
use crate::probes::probe_all;

/// Share of safe live requests that are copied to a candidate that is checked off-traffic.
const MIRROR_BASIS_POINTS: u16 = 5_000;
/// How long it is sampled.
const MIRROR_TIME: Duration = Duration::from_secs(5);
/// How long metrics are watched before they count as improved.
const VERIFY_TIME: Duration = Duration::from_secs(3);
/// How long they are waited for to improve, or for enough requests to say so.
const VERIFY_PATIENCE: Duration = Duration::from_secs(30);
const VERIFY_REQUESTS_MIN: u64 = 20;
/// Metrics are back to normal when no more fail than twice what the objective allows, or one request does.
const FAILING_NORMAL_RATIO: f64 = 2.0;
/// Time without trouble after which a watched problem is over.
const QUIET_TIME: Duration = Duration::from_secs(15);
/// And how long when no request comes that could show it.
const QUIET_TIME_IDLE: Duration = Duration::from_secs(60);
const STEP: Duration = Duration::from_millis(250);

impl Work {
    pub(crate) async fn check(
        &self,
        release: &ReleaseId,
        off_traffic: bool,
        since: Timestamp,
    ) -> Result<String, String> {
        probe_all(&self.world, release, &self.plan.environment).await?;
        let first = self.state.phase == Phase::Checking;
        if first
            && let Some(verdict) = self
                .plan
                .rollout
                .as_ref()
                .and_then(|id| self.world.evidence.verdict(id))
            && verdict.decision == Decision::Regressed
        {
            return Err(format!("its probes answer, but {}", verdict.reason));
        }
        if off_traffic {
            self.check_mirrored(release).await
        } else {
            self.check_served(since).await
        }
    }

    /// Judges a candidate without traffic by copies of safe live requests. Not shown to be healthy
    /// counts as unhealthy: the release before it serves well meanwhile.
    async fn check_mirrored(&self, release: &ReleaseId) -> Result<String, String> {
        let (service, environment) = (&self.plan.service, &self.plan.environment);
        let side = self
            .world
            .fleet
            .side(release, environment)
            .await
            .map_err(|error| error.to_string())?;
        let share = Weight::from_basis_points(MIRROR_BASIS_POINTS).map_err(|error| error.to_string())?;
        let traffic = &self.world.traffic;
        let since = clock::now();
        traffic
            .mirror(service, environment, Some((side, share)))
            .await
            .map_err(|error| error.to_string())?;
        tokio::time::sleep(MIRROR_TIME).await;
        traffic
            .mirror(service, environment, None)
            .await
            .map_err(|error| error.to_string())?;
        // A copy is made of a share s of the requests: of all answers the share s / (1 + s) is a copy's.
        let copies = share.probability() / (1.0 + share.probability());
        let weight = Weight::from_percent(copies * 100.0).map_err(|error| error.to_string())?;
        let mut judge = Judge::new(Config::default(), None);
        let mut seen = 0;
        let place = (service.clone(), environment.clone());
        let mut stretches = self.world.evidence.traffic_since(&place, since);
        stretches.reverse();
        for stretch in stretches.into_iter().filter(|stretch| stretch.safe) {
            let mut batch = Counts::new(stretch.at, weight);
            if stretch.mirrored {
                seen += stretch.outcomes.requests;
                batch.candidate = stretch.outcomes;
            } else {
                batch.baseline = stretch.outcomes;
            }
            judge.add(&batch);
        }
        let verdict = judge.verdict();
        match verdict.decision {
            Decision::Healthy => Ok(format!("{seen} copied requests show it well: {}", verdict.reason)),
            Decision::Regressed => Err(format!(
                "{seen} copied requests show it worse: {}",
                verdict.reason
            )),
            Decision::Inconclusive | Decision::RoutingBroken => Err(format!(
                "{seen} copied requests do not show it well: {}",
                verdict.reason
            )),
        }
    }

    /// Judges a release by what it served since; without requests its probes alone count.
    async fn check_served(&self, since: Timestamp) -> Result<String, String> {
        let began = tokio::time::Instant::now();
        loop {
            tokio::time::sleep(STEP).await;
            let served = self.served(since);
            let enough = served.requests >= VERIFY_REQUESTS_MIN && began.elapsed() >= VERIFY_TIME;
            if enough || began.elapsed() >= VERIFY_PATIENCE {
                return self.judged(&served);
            }
        }
    }

    fn served(&self, since: Timestamp) -> Outcomes {
        analysis::traffic(&self.world, &self.plan.service, &self.plan.environment, since)
    }

    fn judged(&self, served: &Outcomes) -> Result<String, String> {
        let allowed = served.requests as f64 * self.allowed() * FAILING_NORMAL_RATIO;
        let said = format!("{} of {} requests since failed", served.errors, served.requests);
        if served.errors <= 1 || served.errors as f64 <= allowed {
            Ok(said)
        } else {
            Err(said)
        }
    }

    /// The share of requests that the service's objective lets fail.
    fn allowed(&self) -> f64 {
        let (service, environment) = (&self.plan.service, &self.plan.environment);
        let serves = self.world.stable(service, environment);
        let release = serves.or_else(|| self.plan.suspect.clone());
        let project = release.and_then(|release| self.world.release(&release).ok());
        project.map_or(0.01, |(_, project)| {
            1.0 - project.objectives.availability.fraction()
        })
    }

    /// Whether the last seconds' requests are as they should be, sooner or later.
    pub(crate) async fn verify(&self, since: Timestamp) -> Result<String, String> {
        let began = tokio::time::Instant::now();
        loop {
            tokio::time::sleep(STEP).await;
            if began.elapsed() < VERIFY_TIME {
                continue;
            }
            let patient = began.elapsed() < VERIFY_PATIENCE;
            // What failed while the action was carried out does not count against it for ever.
            let lately = clock::now().minus(VERIFY_TIME + VERIFY_TIME);
            let mut served = self.served(lately.max(since));
            if served.requests < VERIFY_REQUESTS_MIN {
                served = self.served(since);
            }
            if served.requests < VERIFY_REQUESTS_MIN {
                if patient {
                    continue;
                }
                return Err(format!(
                    "only {} requests came to verify it with",
                    served.requests
                ));
            }
            match self.judged(&served) {
                Err(_) if patient => {}
                judged => return judged,
            }
        }
    }

    pub(crate) async fn wait_until_normal(&self) -> String {
        let place = (self.plan.service.clone(), self.plan.environment.clone());
        let mut well_since = tokio::time::Instant::now();
        loop {
            tokio::time::sleep(STEP).await;
            let now = clock::now();
            let served = self.served(now.minus(QUIET_TIME));
            if !self.world.evidence.is_well(&place, now) || self.judged(&served).is_err() {
                well_since = tokio::time::Instant::now();
                continue;
            }
            let well_for = well_since.elapsed();
            if well_for >= QUIET_TIME_IDLE || (well_for >= QUIET_TIME && served.requests > 0) {
                return format!(
                    "nothing is amiss for {} s; {} of the last {} requests failed",
                    well_for.as_secs(),
                    served.errors,
                    served.requests
                );
            }
        }
    }
}
