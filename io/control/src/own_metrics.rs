//! Asks the metrics of the team's own, interval by interval, once for each release.

use std::collections::BTreeMap;
use std::time::Duration;

use trimtab_detection::verdict::{Absence, Counters, Reading};
use trimtab_model::{ReleaseId, Timestamp};
use trimtab_project::{Project, RunKind, VerdictMetric};
use trimtab_rollout::Plan;
use trimtab_series::Series;
use trimtab_telemetry::promql::{self, Query, Value};

use crate::clock;
use crate::world::World;

/// Least time from one answer to the next.
const INTERVAL_MS_MIN: i64 = 500;
/// Longest time that a query may take.
const QUERY_LIMIT: Duration = Duration::from_secs(10);

/// One release of a rollout, for placeholders and labels.
#[derive(Debug, Clone, Copy)]
pub struct Asked<'a> {
    /// The service.
    pub service: &'a str,
    /// The environment.
    pub environment: &'a str,
    /// The release.
    pub release: &'a str,
    /// `baseline` or `candidate`.
    pub arm: &'a str,
}

/// A query of a metric for one release: placeholders filled in, every selector narrowed to the release.
pub fn resolved(metric: &VerdictMetric, query: &str, asked: Asked<'_>) -> Result<Query, promql::QueryError> {
    let window = format!("{}ms", metric.interval.as_millis());
    let text = query
        .replace("$release", asked.release)
        .replace("$arm", asked.arm)
        .replace("$service", asked.service)
        .replace("$environment", asked.environment)
        .replace("$window", &window);
    let labels = [
        ("service", asked.service),
        ("environment", asked.environment),
        ("release", asked.release),
    ];
    promql::parse_narrowed(&text, &labels)
}

/// What is wrong with the queries of a project, as problems of its file.
pub(crate) fn problems(project: &Project) -> Vec<String> {
    let asked = Asked {
        service: project.service.as_str(),
        environment: "production",
        release: "r1",
        arm: "candidate",
    };
    let mut problems = Vec::new();
    for (index, metric) in project.production.verdict.metrics.iter().enumerate() {
        for (field, query) in metric.queries() {
            if let Err(error) = resolved(metric, query, asked) {
                let (line, column) = metric.at;
                problems.push(format!(
                    "trimtab.yaml:{line}:{column}: production.verdict.metrics[{index}].{field}: {error}; correct the \
                     query: `trimtab query` tries one"
                ));
            }
        }
    }
    problems
}

/// How far apart a metric's answers are: windows of ranges must not overlap.
fn interval_ms(metric: &VerdictMetric) -> i64 {
    let asked = Asked {
        service: "s",
        environment: "e",
        release: "r",
        arm: "candidate",
    };
    let longest = metric
        .queries()
        .filter_map(|(_, query)| resolved(metric, query, asked).ok())
        .map(|query| query.range_ms_max())
        .max();
    let wanted = i64::try_from(metric.interval.as_millis()).unwrap_or(i64::MAX);
    wanted.max(longest.unwrap_or(0)).max(INTERVAL_MS_MIN)
}

/// Asks for as long as it is let; the answers go to the evidence of the rollout.
pub(crate) async fn follow(world: &World, plan: &Plan, project: &Project) -> std::convert::Infallible {
    let metrics = &project.production.verdict.metrics;
    let (Some(baseline), false) = (plan.previous(), metrics.is_empty()) else {
        return std::future::pending().await;
    };
    let rollout = &plan.rollout;
    let began = clock::now();
    let mut due: BTreeMap<(i64, usize), (u64, u64)> = BTreeMap::new();
    let served = || world.evidence.served(rollout);
    // A worker has no requests to tell whether it is at work.
    let asks_traffic = project.run.kind == RunKind::Service;
    for (index, metric) in metrics.iter().enumerate() {
        // After a restart, or in the next step, it goes on from its last answer.
        let last = world.evidence.answered(rollout, &metric.name).unwrap_or(began);
        due.insert((last.0.saturating_add(interval_ms(metric)), index), served());
    }
    loop {
        let Some(((at, index), before)) = due.pop_first() else {
            return std::future::pending().await;
        };
        clock::until(Timestamp(at)).await;
        let Some(metric) = metrics.get(index) else {
            continue;
        };
        let (now, after) = (clock::now(), served());
        let reading = if asks_traffic && after.0 == before.0 {
            Reading::Nothing(Absence::NoTraffic, "the baseline got no requests".to_owned())
        } else if asks_traffic && after.1 == before.1 {
            Reading::Nothing(Absence::NoTraffic, "the candidate got no requests".to_owned())
        } else {
            let ask = read(&world.series, plan, metric, (baseline, &plan.candidate), now);
            match tokio::time::timeout(QUERY_LIMIT, ask).await {
                Ok(reading) => reading,
                Err(_) => {
                    let why = format!("no answer within {} s", QUERY_LIMIT.as_secs());
                    Reading::Nothing(Absence::FailedQuery, why)
                }
            }
        };
        world.evidence.take_reading(rollout, &metric.name, now, &reading);
        due.insert((now.0.saturating_add(interval_ms(metric)), index), after);
    }
}

async fn read(
    series: &Series,
    plan: &Plan,
    metric: &VerdictMetric,
    (baseline, candidate): (&ReleaseId, &ReleaseId),
    at: Timestamp,
) -> Reading {
    let of = |release: &ReleaseId, arm: &'static str| {
        let release = release.as_str().to_owned();
        async move {
            let asked = Asked {
                service: plan.service.as_str(),
                environment: plan.environment.as_str(),
                release: &release,
                arm,
            };
            let mut values = BTreeMap::new();
            for (field, query) in metric.queries() {
                values.insert(field, number(series, metric, query, asked, at).await?);
            }
            Ok::<_, Reading>(values)
        }
    };
    let both = async {
        let b = of(baseline, "baseline").await?;
        Ok::<_, Reading>((b, of(candidate, "candidate").await?))
    };
    let (b, c) = match both.await {
        Ok(both) => both,
        Err(nothing) => return nothing,
    };
    if let (Some(baseline), Some(candidate)) = (b.get("query"), c.get("query")) {
        return Reading::Figures {
            baseline: *baseline,
            candidate: *candidate,
        };
    }
    let counters = |values: &BTreeMap<&str, f64>| {
        let total = values.get("total").copied().unwrap_or(f64::NAN);
        let bad = values.get("bad").copied();
        let bad = bad.or_else(|| values.get("good").map(|good| total - good));
        Counters {
            bad: bad.unwrap_or(f64::NAN),
            total,
        }
    };
    Reading::Counters {
        baseline: counters(&b),
        candidate: counters(&c),
    }
}

/// One number for one release, or why there is none.
async fn number(
    series: &Series,
    metric: &VerdictMetric,
    query: &str,
    asked: Asked<'_>,
    at: Timestamp,
) -> Result<f64, Reading> {
    let failed = |why: String| {
        Reading::Nothing(
            Absence::FailedQuery,
            format!("{} of {}: {why}", asked.arm, asked.release),
        )
    };
    let missing = |why: &str| {
        Reading::Nothing(
            Absence::MissingMetric,
            format!("{why} for the {} {}", asked.arm, asked.release),
        )
    };
    let query = resolved(metric, query, asked).map_err(|error| failed(error.to_string()))?;
    let mut data = Vec::new();
    for selector in query.selectors() {
        let (from, to) = selector.range(at.0, at.0);
        let selected = series.select(&selector.matchers, from, to).await;
        data.push(selected.map_err(|error| failed(error.to_string()))?);
    }
    match query
        .eval_instant(&data, at.0)
        .map_err(|error| failed(error.to_string()))?
    {
        Value::Scalar(value) if value.is_finite() => Ok(value),
        Value::Vector(samples) => match samples.as_slice() {
            [] => Err(missing("no number")),
            [one] if one.value.is_finite() => Ok(one.value),
            [_] => Err(missing("no finite number")),
            many => Err(failed(format!(
                "{} series where one is needed; aggregate them, for example with sum",
                many.len()
            ))),
        },
        Value::Scalar(_) => Err(missing("no finite number")),
    }
}
