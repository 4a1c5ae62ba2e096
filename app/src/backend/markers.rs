//! Deployments, roll-backs and incidents as marks on charts.

use trimtab_api::{
    Fault, IncidentQuery, IncidentSummary, Marker, MarkerQuery, Markers, RolloutQuery, RolloutState,
    RolloutSummary, WeightStep,
};
use trimtab_model::Timestamp;

use super::{AppBackend, ROWS_MAX};

impl AppBackend {
    pub(super) async fn marked(&self, query: &MarkerQuery) -> Result<Markers, Fault> {
        let rollouts = self.rollout_list(&RolloutQuery {
            service: query.service.clone(),
            environment: query.environment.clone(),
            limit: Some(ROWS_MAX),
            ..RolloutQuery::default()
        });
        let asked = IncidentQuery {
            service: query.service.clone(),
            open: None,
            limit: Some(ROWS_MAX),
        };
        let mut incidents = self.incident_list(&asked).await?;
        if let Some(environment) = &query.environment {
            incidents.retain(|incident| incident.environment == *environment);
        }
        let from = query.from.map_or(Timestamp(i64::MIN), |from| from.0);
        let to = query.to.map_or(Timestamp(i64::MAX), |to| to.0);
        Ok(Markers {
            markers: markers(&rollouts, &incidents, from, to),
        })
    }
}

/// Changes and incidents from `from` to `to`, oldest first.
pub(super) fn markers(
    rollouts: &[RolloutSummary],
    incidents: &[IncidentSummary],
    from: Timestamp,
    to: Timestamp,
) -> Vec<Marker> {
    let mut markers = Vec::new();
    for rollout in rollouts {
        let mut mark = |at, kind: &str, label: String| {
            markers.push(Marker {
                at,
                until: None,
                kind: kind.to_owned(),
                label,
                link: Some(format!("/rollouts/{}", rollout.id)),
            });
        };
        mark(
            rollout.created_at,
            "deploy",
            format!("{} deployed", rollout.candidate),
        );
        if let (RolloutState::RolledBack, Some(at)) = (rollout.state, rollout.finished_at) {
            mark(at, "rollback", format!("{} rolled back", rollout.candidate));
        }
    }
    markers.extend(incidents.iter().map(incident));
    within(markers, from, to)
}

/// The changes of one rollout's weight, and the incident about it.
pub(super) fn of_rollout(weights: &[WeightStep], about: Option<&IncidentSummary>) -> Vec<Marker> {
    let mut before = 0.0;
    let mut markers: Vec<Marker> = weights
        .iter()
        .map(|step| {
            let kind = if step.candidate_percent < before {
                "rollback"
            } else {
                "weight"
            };
            before = step.candidate_percent;
            Marker {
                at: step.at,
                until: None,
                kind: kind.to_owned(),
                label: format!("{} %", step.candidate_percent),
                link: None,
            }
        })
        .collect();
    markers.extend(about.map(incident));
    within(markers, Timestamp(i64::MIN), Timestamp(i64::MAX))
}

fn incident(incident: &IncidentSummary) -> Marker {
    Marker {
        at: incident.opened_at,
        until: incident.resolved_at,
        kind: "incident".to_owned(),
        label: incident.id.clone(),
        link: Some(format!("/incidents/{}", incident.id)),
    }
}

fn within(mut markers: Vec<Marker>, from: Timestamp, to: Timestamp) -> Vec<Marker> {
    markers.retain(|marker| marker.until.unwrap_or(marker.at).0 >= from && marker.at.0 <= to);
    markers.sort_by_key(|marker| marker.at);
    markers
}

#[cfg(test)]
mod tests {
    use super::*;
    use trimtab_api::Moment;

    fn step(at: i64, candidate_percent: f64) -> WeightStep {
        WeightStep {
            at: Moment::from_millis(at),
            candidate_percent,
            reason: String::new(),
        }
    }

    #[test]
    fn a_rollout_is_marked_where_its_weight_changed() {
        let marked = of_rollout(&[step(1, 5.0), step(2, 25.0), step(3, 0.0)], None);
        let kinds: Vec<_> = marked
            .iter()
            .map(|marker| (marker.at.millis(), marker.kind.as_str(), marker.label.as_str()))
            .collect();
        assert_eq!(
            kinds,
            [
                (1, "weight", "5 %"),
                (2, "weight", "25 %"),
                (3, "rollback", "0 %")
            ]
        );
    }

    #[test]
    fn what_lasted_into_the_time_is_marked_too() {
        let at = |at, until: Option<i64>| Marker {
            at: Moment::from_millis(at),
            until: until.map(Moment::from_millis),
            kind: "incident".to_owned(),
            label: String::new(),
            link: None,
        };
        let all = vec![at(9, None), at(1, Some(4)), at(1, Some(2)), at(5, None)];
        let within = within(all, Timestamp(3), Timestamp(8));
        let times: Vec<_> = within.iter().map(|marker| marker.at.millis()).collect();
        assert_eq!(times, [1, 5]);
    }
}
