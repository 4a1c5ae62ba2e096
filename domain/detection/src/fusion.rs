//! Groups anomalies that belong together, over time and over the map of services, into problems.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};
use trimtab_model::{EnvironmentName, ReleaseId, ServiceName, Timestamp};

use crate::anomaly::{Anomaly, Kind};

/// Anomalies this long after a problem's last one are another problem.
const WINDOW_MS: i64 = 120_000;
/// Anomalies that a problem keeps; the weakest go first.
const ANOMALIES_MAX: usize = 64;
/// Problems open at a time; the oldest is closed to make room.
const PROBLEMS_MAX: usize = 256;
/// Edges of the map; further ones are ignored.
const EDGES_MAX: usize = 10_000;

/// Who calls whom.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ServiceMap {
    edges: BTreeSet<(ServiceName, ServiceName)>,
}

impl ServiceMap {
    /// `caller` was seen calling `callee`.
    pub fn add(&mut self, caller: ServiceName, callee: ServiceName) {
        if self.edges.len() < EDGES_MAX && caller != callee {
            self.edges.insert((caller, callee));
        }
    }

    /// Whether `caller` calls `callee`.
    pub fn calls(&self, caller: &ServiceName, callee: &ServiceName) -> bool {
        self.edges.contains(&(caller.clone(), callee.clone()))
    }

    fn near(&self, one: &ServiceName, other: &ServiceName) -> bool {
        one == other || self.calls(one, other) || self.calls(other, one)
    }
}

/// Anomalies with one cause, as far as time and the map tell.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Problem {
    /// Its number, counted from 1.
    pub number: u64,
    /// The environment it is in.
    pub environment: Option<EnvironmentName>,
    /// When the first of its anomalies began.
    pub onset: Timestamp,
    /// When the last one was found.
    pub last_at: Timestamp,
    /// Its anomalies, strongest first; one of each kind and subject.
    pub anomalies: Vec<Anomaly>,
}

impl Problem {
    /// A problem of these anomalies; none when there are none.
    pub fn of(number: u64, anomalies: Vec<Anomaly>) -> Option<Self> {
        let mut rest = anomalies.into_iter();
        let mut problem = Problem::begin(number, rest.next()?);
        rest.for_each(|anomaly| problem.add(anomaly));
        Some(problem)
    }

    fn begin(number: u64, anomaly: Anomaly) -> Self {
        Problem {
            number,
            environment: anomaly.environment.clone(),
            onset: anomaly.onset,
            last_at: anomaly.at,
            anomalies: vec![anomaly],
        }
    }

    fn add(&mut self, anomaly: Anomaly) {
        self.onset = self.onset.min(anomaly.onset);
        self.last_at = self.last_at.max(anomaly.at);
        let same = |a: &&mut Anomaly| {
            a.kind == anomaly.kind && a.subject == anomaly.subject && a.service == anomaly.service
        };
        match self.anomalies.iter_mut().find(same) {
            // The newest words and numbers, the first onset.
            Some(known) => {
                let onset = known.onset.min(anomaly.onset);
                *known = Anomaly { onset, ..anomaly };
            }
            None => self.anomalies.push(anomaly),
        }
        self.anomalies
            .sort_by(|x, y| y.score.total_cmp(&x.score).then(x.onset.cmp(&y.onset)));
        self.anomalies.truncate(ANOMALIES_MAX);
    }

    /// The services concerned.
    pub fn services(&self) -> BTreeSet<&ServiceName> {
        self.anomalies.iter().filter_map(|a| a.service.as_ref()).collect()
    }

    /// The release that most of the score points at, if any does.
    pub fn release(&self) -> Option<&ReleaseId> {
        let weight = |release: &ReleaseId| -> f64 {
            self.anomalies
                .iter()
                .filter(|a| a.release.as_ref() == Some(release))
                .map(|a| a.score)
                .sum()
        };
        let releases: BTreeSet<&ReleaseId> =
            self.anomalies.iter().filter_map(|a| a.release.as_ref()).collect();
        releases
            .into_iter()
            .max_by(|x, y| weight(x).total_cmp(&weight(y)))
    }

    /// The strongest anomaly of a kind.
    pub fn strongest(&self, kind: Kind) -> Option<&Anomaly> {
        self.anomalies.iter().find(|a| a.kind == kind)
    }

    /// How sure it is that there is a problem: independent doubts multiplied.
    pub fn confidence(&self) -> f64 {
        1.0 - self
            .anomalies
            .iter()
            .take(8)
            .map(|a| 1.0 - a.score)
            .product::<f64>()
    }
}

/// Groups anomalies into problems.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Fusion {
    map: ServiceMap,
    open: Vec<Problem>,
    numbers: u64,
}

impl Fusion {
    /// The map of services; spans fill it.
    pub fn map_mut(&mut self) -> &mut ServiceMap {
        &mut self.map
    }

    /// The map of services.
    pub fn map(&self) -> &ServiceMap {
        &self.map
    }

    /// Takes an anomaly; the number of the problem that it joined or began.
    pub fn add(&mut self, anomaly: Anomaly) -> u64 {
        let map = &self.map;
        let joins = |problem: &&mut Problem| {
            let in_time = anomaly.at.0.saturating_sub(problem.last_at.0) <= WINDOW_MS
                && problem.onset.0.saturating_sub(anomaly.at.0) <= WINDOW_MS;
            let same_place = problem.environment == anomaly.environment
                || problem.environment.is_none()
                || anomaly.environment.is_none();
            let near = match &anomaly.service {
                None => true,
                Some(service) => problem
                    .anomalies
                    .iter()
                    .any(|a| a.service.as_ref().is_none_or(|s| map.near(s, service))),
            };
            in_time && same_place && near
        };
        if let Some(problem) = self.open.iter_mut().find(joins) {
            problem.add(anomaly);
            return problem.number;
        }
        if self.open.len() >= PROBLEMS_MAX {
            self.open.remove(0);
        }
        self.numbers += 1;
        self.open.push(Problem::begin(self.numbers, anomaly));
        self.numbers
    }

    /// Problems that are open.
    pub fn open(&self) -> &[Problem] {
        &self.open
    }

    /// A problem that is open, by its number.
    pub fn problem(&self, number: u64) -> Option<&Problem> {
        self.open.iter().find(|problem| problem.number == number)
    }

    /// Takes out the problems in which nothing was found for `quiet_ms`.
    pub fn close_quiet(&mut self, now: Timestamp, quiet_ms: i64) -> Vec<Problem> {
        let quiet = |problem: &mut Problem| now.0.saturating_sub(problem.last_at.0) >= quiet_ms;
        self.open.extract_if(.., quiet).collect()
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests fail by panicking")]
    use super::*;
    use crate::anomaly::{Scope, Signal};

    fn anomaly(service: &str, kind: Kind, at: i64, score: f64) -> Anomaly {
        let scope = Scope {
            service: ServiceName::new(service).ok(),
            ..Scope::default()
        };
        let base = scope.anomaly(Signal::Metrics, kind, Timestamp(at), Timestamp(at - 10));
        base.with(service.to_owned(), score, (1.0, 0.0, ""), "text".to_owned())
    }

    #[test]
    fn what_belongs_together_is_one_problem() {
        let mut fusion = Fusion::default();
        let name = |n| ServiceName::new(n).unwrap();
        fusion.map_mut().add(name("web"), name("blocks"));
        let first = fusion.add(anomaly("blocks", Kind::SlowSpan, 1_000, 0.6));
        assert_eq!(
            fusion.add(anomaly("blocks", Kind::NewTemplate, 2_000, 0.9)),
            first
        );
        assert_eq!(fusion.add(anomaly("web", Kind::FailingSpan, 3_000, 0.5)), first);
        assert_ne!(fusion.add(anomaly("mail", Kind::Outlier, 3_000, 0.5)), first);
        assert_ne!(fusion.add(anomaly("blocks", Kind::Outlier, 900_000, 0.5)), first);
        assert_eq!(fusion.add(anomaly("blocks", Kind::SlowSpan, 4_000, 0.7)), first);
        let problem = fusion.problem(first).unwrap();
        assert_eq!(problem.anomalies.len(), 3);
        assert_eq!(problem.onset, Timestamp(990));
        assert_eq!(problem.anomalies[0].kind, Kind::NewTemplate);
        assert!(problem.confidence() > 0.95);
        assert_eq!(fusion.close_quiet(Timestamp(130_000), 100_000).len(), 2);
        assert_eq!(fusion.open().len(), 1);
    }
}
