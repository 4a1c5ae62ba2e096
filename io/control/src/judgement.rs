//! From what the panel says to what the rollout is told: each metric under the team's setting for it.

use trimtab_detection::verdict::{Absence, Call, CustomConfig, CustomKind, Lanes, Open, Subject, Tolerance};
use trimtab_project::{
    Absent, Direction, MetricSettings, Project, RunKind, StrategyName, Tolerance as Tolerated, VerdictMetric,
};
use trimtab_rollout::{Lack, OnInconclusive, OnRegressed, State, Verdict};

use crate::blueprint;

/// Lanes, the one that is acted on first before the others. Their numbers are kept with the evidence.
const LANES: [OnRegressed; 5] = [
    OnRegressed::RollBack,
    OnRegressed::Protect,
    OnRegressed::Ask,
    OnRegressed::Report,
    OnRegressed::Extend,
];

fn lane(on: OnRegressed) -> u8 {
    match on {
        OnRegressed::RollBack => 0,
        OnRegressed::Protect => 1,
        OnRegressed::Ask => 2,
        OnRegressed::Report => 3,
        OnRegressed::Extend => 4,
    }
}

fn on_regressed(project: &Project, settings: &MetricSettings) -> OnRegressed {
    let production = &project.production;
    let on = blueprint::regressed(settings.on_regressed.unwrap_or(production.verdict.on_regressed));
    // A rolling update has nothing whole to wait beside, and a worker no traffic to be kept off.
    let has_no_side = production.strategy == StrategyName::Rolling || project.run.kind != RunKind::Service;
    match on {
        OnRegressed::Protect if has_no_side => OnRegressed::RollBack,
        on => on,
    }
}

/// Which lane each of the proxy's counts is in.
pub(crate) fn lanes(project: &Project) -> Lanes {
    let verdict = &project.production.verdict;
    let lane = |settings| lane(on_regressed(project, settings));
    Lanes {
        errors: lane(&verdict.errors),
        latency: lane(&verdict.latency),
        client_errors: lane(&verdict.client_errors),
    }
}

/// The metrics of the team's own, as they are judged.
pub(crate) fn custom(project: &Project) -> Vec<CustomConfig> {
    let metrics = project.production.verdict.metrics.iter();
    let config = |metric: &VerdictMetric| CustomConfig {
        name: metric.name.clone(),
        kind: match (&metric.query, metric.direction) {
            (Some(_), Some(Direction::Higher)) => CustomKind::HigherIsBetter,
            (Some(_), _) => CustomKind::LowerIsBetter,
            (None, _) => CustomKind::Counts,
        },
        tolerance: match metric.tolerance {
            Tolerated::Share(share) => Tolerance::Share(share.fraction()),
            Tolerated::Absolute(value) => Tolerance::Absolute(value),
        },
        share: metric.share.fraction(),
        intervals_min: u64::from(metric.intervals_min),
        unit: metric.unit.clone(),
        lane: lane(on_regressed(project, &metric.leads_to)),
    };
    metrics.map(config).collect()
}

/// True for lanes of which people know already, so that what is left is judged by itself.
pub(crate) fn settled(state: &State, lane: u8) -> bool {
    match LANES.get(usize::from(lane)) {
        Some(OnRegressed::Report) => state.reported.is_some(),
        Some(OnRegressed::Ask | OnRegressed::Extend) => state.accepted || state.asks_about_regression(),
        Some(OnRegressed::RollBack | OnRegressed::Protect) | None => false,
    }
}

/// True for lanes that say nothing new before the end of the present window: it was extended for one.
pub(crate) fn waits(state: &State, lane: u8) -> bool {
    let extends = LANES.get(usize::from(lane)) == Some(&OnRegressed::Extend);
    settled(state, lane) || extends && state.extends_over_regression()
}

/// True where a call takes the candidate off traffic without asking anybody.
pub(crate) fn acts(call: &Call) -> bool {
    matches!(
        LANES.get(usize::from(call.lane)),
        Some(OnRegressed::RollBack | OnRegressed::Protect)
    )
}

/// A call, for the rollout.
pub(crate) fn regressed(call: Call) -> Verdict {
    Verdict::Regressed {
        on: LANES.get(usize::from(call.lane)).copied(),
        metric: Some(call.subject.as_str().to_owned()),
        reason: call.reason,
    }
}

/// The one of several open things that holds the candidate back most; `otherwise` is what the step says.
pub(crate) fn open(project: &Project, open: Vec<Open>, otherwise: OnInconclusive) -> Verdict {
    let settings = open.into_iter().map(|open| (setting(project, &open), open));
    let mut ranked: Vec<_> = settings.collect();
    // The first of those that are equally strict.
    ranked.sort_by_key(|(on, _)| std::cmp::Reverse(on.unwrap_or(otherwise).strictness()));
    match ranked.into_iter().next() {
        Some((on, open)) => Verdict::Inconclusive {
            reason: open.reason,
            metric: Some(open.subject.as_str().to_owned()),
            lack: open.absence.map(lack),
            on,
        },
        None => Verdict::inconclusive("nothing was seen"),
    }
}

/// Nobody used the candidate in its step.
pub(crate) fn no_traffic(project: &Project) -> Verdict {
    let on = project.production.verdict.absences.on_no_traffic;
    Verdict::Inconclusive {
        reason: "no traffic: the candidate got no request of users in this step".to_owned(),
        metric: None,
        lack: Some(Lack::NoTraffic),
        on: on.map(absent),
    }
}

fn setting(project: &Project, open: &Open) -> Option<OnInconclusive> {
    let verdict = &project.production.verdict;
    let of = |settings: &MetricSettings| settings.on_inconclusive.map(blueprint::inconclusive);
    let name = match &open.subject {
        Subject::Errors => return of(&verdict.errors),
        Subject::Latency => return of(&verdict.latency),
        Subject::ClientErrors => return of(&verdict.client_errors),
        Subject::Routing => return None,
        Subject::Custom(name) => name,
    };
    let metric = verdict.metrics.iter().find(|metric| metric.name == *name)?;
    let (own, all) = (&metric.absences, &verdict.absences);
    match open.absence {
        None => of(&metric.leads_to),
        Some(Absence::NoTraffic) => own.on_no_traffic.or(all.on_no_traffic).map(absent),
        // Nobody has said that going on blind is well: ask.
        Some(Absence::MissingMetric) => Some(
            own.on_missing_metric
                .or(all.on_missing_metric)
                .map_or(OnInconclusive::Ask, absent),
        ),
        Some(Absence::FailedQuery) => Some(
            own.on_failed_query
                .or(all.on_failed_query)
                .map_or(OnInconclusive::Ask, absent),
        ),
    }
}

fn absent(setting: Absent) -> OnInconclusive {
    match setting {
        Absent::Ask => OnInconclusive::Ask,
        Absent::Extend => OnInconclusive::Extend,
        Absent::Rollback => OnInconclusive::RollBack,
        Absent::Report => OnInconclusive::Report,
    }
}

fn lack(absence: Absence) -> Lack {
    match absence {
        Absence::NoTraffic => Lack::NoTraffic,
        Absence::MissingMetric => Lack::MissingMetric,
        Absence::FailedQuery => Lack::FailedQuery,
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests fail by panicking")]

    use super::*;

    fn project(verdict: &str) -> Project {
        let text = format!(
            "service: notes\npipeline: {{artifact: {{paths: [notes]}}}}\nrun: {{command: ./notes}}\n\
             production:\n  strategy: canary\n  verdict: {verdict}\n"
        );
        blueprint::parse(&text).unwrap()
    }

    fn said(
        verdict: &str,
        subject: Subject,
        absence: Option<Absence>,
    ) -> (Option<Lack>, Option<OnInconclusive>) {
        let reason = String::new();
        let all = vec![Open {
            subject,
            absence,
            reason,
        }];
        match open(&project(verdict), all, OnInconclusive::Extend) {
            Verdict::Inconclusive { lack, on, .. } => (lack, on),
            other => panic!("{other:?}"),
        }
    }

    const LAG: &str = "{name: lag, query: lag, direction: lower";

    #[test]
    fn three_absences_have_three_settings() {
        let lag = || Subject::Custom("lag".to_owned());
        let all = format!(
            "{{on_no_traffic: extend, on_missing_metric: rollback, metrics: [{LAG}, on_failed_query: report}}]}}"
        );
        let of = |absence| said(&all, lag(), Some(absence));
        assert_eq!(
            of(Absence::NoTraffic),
            (Some(Lack::NoTraffic), Some(OnInconclusive::Extend))
        );
        assert_eq!(
            of(Absence::MissingMetric),
            (Some(Lack::MissingMetric), Some(OnInconclusive::RollBack))
        );
        assert_eq!(
            of(Absence::FailedQuery),
            (Some(Lack::FailedQuery), Some(OnInconclusive::Report))
        );
        // Unsaid, a metric that says nothing is never let through.
        let none = format!("{{on_inconclusive: pass, metrics: [{LAG}}}]}}");
        for absence in [Absence::MissingMetric, Absence::FailedQuery] {
            assert_eq!(said(&none, lag(), Some(absence)).1, Some(OnInconclusive::Ask));
        }
    }

    #[test]
    fn the_strictest_of_several_counts() {
        let project = project(&format!(
            "{{latency: {{on_inconclusive: report}}, metrics: [{LAG}, on_inconclusive: rollback}}]}}"
        ));
        let all = [
            Subject::Latency,
            Subject::Errors,
            Subject::Custom("lag".to_owned()),
        ]
        .map(|subject| Open {
            subject,
            absence: None,
            reason: "open".to_owned(),
        });
        let two = open(&project, all[..2].to_vec(), OnInconclusive::Extend);
        assert!(
            matches!(two, Verdict::Inconclusive { metric: Some(metric), on: None, .. } if metric == "errors")
        );
        let three = open(&project, all.to_vec(), OnInconclusive::Extend);
        assert!(matches!(
            three,
            Verdict::Inconclusive { metric: Some(metric), on: Some(OnInconclusive::RollBack), .. } if metric == "lag"
        ));
    }

    #[test]
    fn what_leads_to_the_same_is_in_one_lane() {
        let project = project(&format!(
            "{{on_regressed: rollback, client_errors: {{on_regressed: report}}, metrics: [{LAG}, on_regressed: ask}}]}}"
        ));
        let lanes = lanes(&project);
        assert_eq!((lanes.errors, lanes.latency, lanes.client_errors), (0, 0, 3));
        assert_eq!(custom(&project)[0].lane, 2);
    }
}
