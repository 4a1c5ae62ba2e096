//! How long verdicts will take, said before a rollout starts: by the last hour's traffic of its place.

use std::time::Duration;

use trimtab_detection::verdict::{Before, StepForecast};
use trimtab_model::{EnvironmentName, ServiceName, Timestamp};
use trimtab_rollout::{Strategy, TrafficBefore, TrafficStep};
use trimtab_telemetry::promql;

use crate::world::World;

/// How far back traffic is looked at.
const WINDOW_MS: i64 = 3_600_000;
/// A place that serves for less than this says nothing yet.
const WINDOW_MS_MIN: i64 = 5_000;
/// No rollout waits longer to learn what its place's traffic was.
const QUERY_LIMIT: Duration = Duration::from_secs(2);

/// The last hour's traffic of a place, or what there is of it; none when nobody asked anything, or when it
/// cannot be told.
pub async fn traffic_before(
    world: &World,
    service: &ServiceName,
    environment: &EnvironmentName,
    now: Timestamp,
) -> Option<TrafficBefore> {
    let rollouts = world.rollouts_of(service, environment);
    let first = rollouts.iter().find(|rollout| rollout.state.end().is_some())?;
    let window = now.0.saturating_sub(first.changed_at.0).min(WINDOW_MS);
    if window < WINDOW_MS_MIN {
        return None;
    }
    let count = async |class: &str| {
        let query = format!(
            "sum(increase(trimtab_requests_total{{service=\"{service}\",environment=\"{environment}\"{class}}}[{window}ms]))"
        );
        tokio::time::timeout(QUERY_LIMIT, number(world, &query, now))
            .await
            .ok()
            .flatten()
    };
    let requests = count("").await?;
    let errors = count(",class=\"error\"").await.unwrap_or(0.0);
    let whole = |value: f64| value.round().max(0.0) as u64;
    Some(TrafficBefore {
        window_ms: window.unsigned_abs(),
        requests: whole(requests),
        errors: whole(errors).min(whole(requests)),
    })
    .filter(|before| before.requests > 0)
}

async fn number(world: &World, query: &str, at: Timestamp) -> Option<f64> {
    let query = promql::parse(query).ok()?;
    let mut data = Vec::new();
    for selector in query.selectors() {
        let (from, to) = selector.range(at.0, at.0);
        data.push(world.series.select(&selector.matchers, from, to).await.ok()?);
    }
    let value = query.eval_instant(&data, at.0).ok()?.single();
    value.filter(|value| value.is_finite())
}

/// What each step that is watched is expected to tell, in order; none for steps in which nobody is left to
/// compare with, and for those of a flag, whose users are not known beforehand.
pub fn steps(
    strategy: &Strategy,
    has_baseline: bool,
    before: TrafficBefore,
    alpha: f64,
) -> Vec<(TrafficStep, Option<StepForecast>)> {
    let before = rates(before);
    let steps = strategy.steps(has_baseline).into_iter();
    let watched = steps.filter(|step| step.watch_ms > 0);
    watched
        .map(|step| {
            let seconds = step.watch_ms as f64 / 1_000.0;
            let told = before.step(step.weight.probability(), seconds, alpha);
            (step, told.filter(|_| step.flag.is_none()))
        })
        .collect()
}

/// As rates.
pub fn rates(before: TrafficBefore) -> Before {
    Before {
        requests_per_second: before.requests as f64 * 1_000.0 / before.window_ms.max(1) as f64,
        error_rate: before.errors as f64 / before.requests.max(1) as f64,
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests fail by panicking")]

    use trimtab_rollout::Instances;

    use super::*;
    use crate::blueprint;

    #[test]
    fn each_watched_step_is_told_by_itself() {
        let project = blueprint::parse(
            "service: notes\npipeline: {artifact: {paths: [notes]}}\nrun: {command: ./notes}\nproduction:\n  \
             strategy: canary\n  steps: [{weight: 5%, watch: 10m}, {weight: 50%, watch: 10m}]\n",
        )
        .unwrap();
        let strategy = blueprint::strategy(
            &project,
            Instances {
                candidate: 1,
                baseline: 1,
            },
        );
        let before = TrafficBefore {
            window_ms: 3_600_000,
            requests: 72_000,
            errors: 72,
        };
        let told = steps(&strategy, true, before, 0.01);
        let candidate: Vec<f64> = told
            .iter()
            .map(|(_, told)| told.unwrap().candidate.round())
            .collect();
        assert_eq!(candidate, [600.0, 6_000.0]);
        let least: Vec<f64> = told
            .iter()
            .map(|(_, told)| told.unwrap().least.unwrap())
            .collect();
        assert!(least[1] < least[0] && least[0] < 0.05, "{least:?}");
        // A first release has nobody beside it.
        let first = steps(&strategy, false, before, 0.01);
        assert!(first.iter().all(|(_, told)| told.is_none()), "{first:?}");
    }
}
