//! What is judged of a rollout: counts and metrics of the team's own together.

use trimtab_detection::verdict::{Decision, Reading, Standing, Verdict};
use trimtab_model::{RolloutId, Timestamp, Weight};

use super::{Evidence, Trial};

impl Trial {
    pub(super) fn verdict(&self) -> Verdict {
        super::verdict_of(&self.subject, self.panel.verdict(&self.judge), &self.arms)
    }
}

impl Evidence {
    fn of<T>(&self, rollout: &RolloutId, read: impl FnOnce(&Trial) -> T) -> Option<T> {
        self.lock().trials.get(rollout).map(read)
    }

    /// The decision on a rollout so far.
    pub fn decision(&self, rollout: &RolloutId) -> Option<Decision> {
        self.of(rollout, |trial| trial.panel.decision(&trial.judge))
    }

    /// The whole verdict on a rollout so far.
    pub fn verdict(&self, rollout: &RolloutId) -> Option<Verdict> {
        self.of(rollout, Trial::verdict)
    }

    /// Where a candidate stands, leaving out lanes of which people know.
    pub(crate) fn standing(&self, rollout: &RolloutId, settled: impl Fn(u8) -> bool) -> Option<Standing> {
        self.of(rollout, |trial| trial.panel.standing(&trial.judge, settled))
    }

    /// Says how likely a line of a rollout is the candidate's when no request tells: what share of its workers are.
    pub(crate) fn works_at(&self, rollout: &RolloutId, weight: Weight) {
        let mut books = self.lock();
        let Some(place) = books.trials.get(rollout).map(|trial| trial.subject.place.clone()) else {
            return;
        };
        if let Some(known) = books.known.of(&place) {
            known.weight = weight;
        }
    }

    /// True when something was called that takes the candidate off traffic without asking.
    pub(crate) fn acts(&self, rollout: &RolloutId) -> bool {
        let acts = self.of(rollout, |trial| {
            trial.panel.calls().iter().any(crate::judgement::acts)
        });
        acts.unwrap_or(false)
    }

    /// How many requests the candidate has answered while its share was `weight`.
    pub fn requests_at(&self, rollout: &RolloutId, weight: Weight) -> u64 {
        let at = |trial: &Trial| trial.requests.get(&weight.basis_points()).copied();
        self.of(rollout, at).flatten().unwrap_or(0)
    }

    /// Requests that the baseline and the candidate have answered.
    pub(crate) fn served(&self, rollout: &RolloutId) -> (u64, u64) {
        let served = |trial: &Trial| (trial.arms.baseline.requests, trial.arms.candidate.requests);
        self.of(rollout, served).unwrap_or_default()
    }

    /// When a metric of the team's own last answered.
    pub(crate) fn answered(&self, rollout: &RolloutId, metric: &str) -> Option<Timestamp> {
        self.of(rollout, |trial| trial.answered.get(metric).copied())
            .flatten()
    }

    /// Takes what a metric of the team's own said about the interval that ended `at`.
    pub(crate) fn take_reading(&self, rollout: &RolloutId, metric: &str, at: Timestamp, reading: &Reading) {
        if let Some(trial) = self.lock().trials.get_mut(rollout) {
            trial.answered.insert(metric.to_owned(), at);
            trial.panel.take(&trial.judge, metric, at, reading);
        }
        self.changed.send_modify(|count| *count += 1);
    }
}
