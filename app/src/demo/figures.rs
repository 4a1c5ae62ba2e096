//! The story's figures, from the times that the journal has for what happened.

use std::collections::BTreeMap;

use trimtab_api as api;

use super::traffic::Counts;

/// When the bad release's turns came, in milliseconds of the clock.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Moments {
    /// The proxy had the weight in force that gave it traffic.
    pub(super) first_request: Option<i64>,
    /// The incident's first anomaly.
    pub(super) anomaly: Option<i64>,
    /// The proxy had the weight in force that took all traffic away.
    pub(super) traffic_off: Option<i64>,
    /// The rollout ended.
    pub(super) rolled_back: Option<i64>,
}

impl Moments {
    pub(super) fn of(rollout: &api::Rollout, incident: Option<&api::Incident>) -> Self {
        let mut weights: Vec<_> = rollout.weights.iter().collect();
        weights.sort_by_key(|step| step.at.millis());
        let mut weights = weights.into_iter();
        let first = weights.find(|step| step.candidate_percent > 0.0);
        let off = weights.find(|step| step.candidate_percent <= 0.0);
        let ended = rollout
            .summary
            .finished_at
            .filter(|_| rollout.summary.state == api::RolloutState::RolledBack);
        Moments {
            first_request: first.map(|step| step.at.millis()),
            anomaly: incident.map(|incident| incident.summary.opened_at.millis()),
            traffic_off: off.map(|step| step.at.millis()),
            rolled_back: ended.map(api::Moment::millis),
        }
    }

    /// Those of a rollout behind a flag: from the flag's first change by the rollout to its last.
    pub(super) fn of_flag(rollout: &api::Rollout, history: &[api::FlagsPast]) -> Self {
        let summary = &rollout.summary;
        let own = history
            .iter()
            .filter(|past| past.rollout.as_ref() == Some(&summary.id));
        let mut changes: Vec<i64> = own.map(|past| past.at.millis()).collect();
        changes.sort_unstable();
        let is_off = summary.state == api::RolloutState::RolledBack
            && summary.flag.as_ref().is_none_or(|flag| flag.percent <= 0.0);
        Moments {
            first_request: changes.first().copied(),
            anomaly: None,
            traffic_off: changes.last().copied().filter(|_| is_off && changes.len() > 1),
            rolled_back: summary.finished_at.filter(|_| is_off).map(api::Moment::millis),
        }
    }

    /// Seconds from the first request to a later moment.
    pub(super) fn after(&self, later: Option<i64>) -> Option<f64> {
        let ms = later?.saturating_sub(self.first_request?);
        Some(ms as f64 / 1000.0)
    }

    /// As text for people.
    pub(super) fn text(&self, later: Option<i64>) -> String {
        self.after(later)
            .map_or_else(|| "not seen".to_owned(), |seconds| format!("{seconds:.1} s"))
    }
}

/// One flat object; every name ends with its unit, and what was not seen is left out.
pub(super) fn flat(
    moments: &Moments,
    story_seconds: f64,
    between: Counts,
    all: Counts,
) -> BTreeMap<&'static str, f64> {
    let seen = [
        (
            "demo_first_request_to_anomaly_seconds",
            moments.after(moments.anomaly),
        ),
        (
            "demo_first_request_to_traffic_off_seconds",
            moments.after(moments.traffic_off),
        ),
        (
            "demo_first_request_to_rolled_back_seconds",
            moments.after(moments.rolled_back),
        ),
        ("demo_story_seconds", Some(story_seconds)),
        (
            "demo_failed_until_rolled_back_requests",
            Some(between.failed as f64),
        ),
        ("demo_until_rolled_back_requests", Some(between.requests as f64)),
        ("demo_failed_requests", Some(all.failed as f64)),
        ("demo_requests", Some(all.requests as f64)),
    ];
    seen.into_iter()
        .filter_map(|(name, value)| Some((name, value?)))
        .collect()
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests fail by panicking")]
    use super::*;

    fn rollout(state: &str, weights: &[(&str, f64)]) -> api::Rollout {
        let weights: Vec<_> = weights
            .iter()
            .map(|(at, percent)| serde_json::json!({"at": at, "candidate_percent": percent, "reason": ""}))
            .collect();
        serde_json::from_value(serde_json::json!({
            "id": "rollout-4", "service": "blocks", "environment": "production", "strategy": "blue_green",
            "baseline": "blocks-r1", "candidate": "blocks-r2", "state": state, "state_text": "",
            "candidate_percent": 0.0, "created_at": "2026-01-31T12:00:00Z",
            "finished_at": "2026-01-31T12:00:20Z", "baseline_figures": null, "candidate_figures": null,
            "verdict": null, "weights": weights
        }))
        .unwrap()
    }

    #[test]
    fn moments_come_from_the_journals_times_in_any_order() {
        let steps = [
            ("2026-01-31T12:00:07.250Z", 0.0),
            ("2026-01-31T12:00:05Z", 95.0),
            ("2026-01-31T12:00:01Z", 0.0),
        ];
        let moments = Moments::of(&rollout("rolled_back", &steps), None);
        assert_eq!(moments.text(moments.traffic_off), "2.2 s");
        assert_eq!(moments.text(moments.rolled_back), "15.0 s");
        assert_eq!(moments.text(moments.anomaly), "not seen");
        let figures = flat(&moments, 90.0, Counts::default(), Counts::default());
        assert_eq!(figures["demo_first_request_to_traffic_off_seconds"], 2.25);
        assert!(!figures.contains_key("demo_first_request_to_anomaly_seconds"));
        assert_eq!(Moments::of(&rollout("deployed", &steps), None).rolled_back, None);
    }

    #[test]
    fn moments_of_a_flag_are_its_changes_by_the_rollout() {
        let past = |at: &str, rollout: Option<&str>| -> api::FlagsPast {
            serde_json::from_value(serde_json::json!({
                "version": 1, "at": at, "by": "trimtab", "reason": "", "undoes": null, "rollout": rollout, "entries": []
            }))
            .unwrap()
        };
        let history = [
            past("2026-01-31T12:00:13Z", Some("rollout-4")),
            past("2026-01-31T12:00:10Z", Some("rollout-4")),
            past("2026-01-31T12:00:01Z", None),
        ];
        let moments = Moments::of_flag(&rollout("rolled_back", &[]), &history);
        assert_eq!(moments.text(moments.traffic_off), "3.0 s");
        assert_eq!(moments.text(moments.rolled_back), "10.0 s");
        assert_eq!(
            Moments::of_flag(&rollout("deployed", &[]), &history).traffic_off,
            None
        );
    }
}
