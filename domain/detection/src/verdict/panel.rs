//! Everything that is judged of one rollout: what the [`Judge`] counts, metrics of the team's own, and which
//! of them are acted on together.
//!
//! All share the one alpha: the evidence is the weighted mean of the judge's and of each metric's, with
//! shares fixed beforehand. What leads to the same action is a *lane*. A lane is called when its part of the
//! mean alone reaches 1/alpha; a part is never more than the whole, so all lanes together are called by
//! mistake no more often than alpha (Ville's inequality for the whole). Without lanes and own metrics this is the
//! judge's own rule.

use serde::{Deserialize, Serialize};
use trimtab_model::Timestamp;

use super::custom::{Absence, Custom, CustomConfig, Reading};
use super::process::log_sum;
use super::{Decision, Judge, Metric, Verdict, explain};
use crate::words::odds;

/// While the evidence against the candidate is stronger than this, it is not called healthy.
const DOUBT_ODDS: f64 = 5.0;

/// What may be judged, by the name that people give it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Subject {
    /// Failed requests.
    Errors,
    /// Slow requests.
    Latency,
    /// Requests answered with 4xx.
    ClientErrors,
    /// A metric of the team's own.
    Custom(String),
    /// That the arms get their shares.
    Routing,
}

impl Subject {
    /// Its name.
    pub fn as_str(&self) -> &str {
        match self {
            Subject::Errors => "errors",
            Subject::Latency => "latency",
            Subject::ClientErrors => "client errors",
            Subject::Custom(name) => name,
            Subject::Routing => "routing",
        }
    }

    fn of(metric: Metric) -> Subject {
        match metric {
            Metric::Errors => Subject::Errors,
            Metric::ClientErrors => Subject::ClientErrors,
            Metric::LatencyP50 | Metric::LatencyP95 | Metric::LatencyP99 => Subject::Latency,
        }
    }
}

/// The lanes of what the judge counts; lower ones are acted on first.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Lanes {
    /// Of failed requests.
    pub errors: u8,
    /// Of slow requests.
    pub latency: u8,
    /// Of requests answered with 4xx.
    pub client_errors: u8,
}

/// A regression that was called; it stays called.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Call {
    /// Its lane.
    pub lane: u8,
    /// What spoke loudest.
    pub subject: Subject,
    /// When it was called.
    pub at: Timestamp,
    /// Since when, as far as the evidence shows.
    pub onset: Timestamp,
    /// Why, for people.
    pub reason: String,
}

/// What a watch may be told when its time is over.
#[derive(Debug, Clone, PartialEq)]
pub enum Standing {
    /// Nothing speaks against the candidate, and enough was seen.
    Healthy,
    /// A lane was called.
    Regressed(Call),
    /// What is still open, and why.
    Open(Vec<Open>),
}

/// One thing that is still open.
#[derive(Debug, Clone, PartialEq)]
pub struct Open {
    /// What.
    pub subject: Subject,
    /// What kept it from saying anything, if something did.
    pub absence: Option<Absence>,
    /// Why, for people.
    pub reason: String,
}

/// What is judged beside the counts, and what was called.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Panel {
    custom: Vec<Custom>,
    lanes: Lanes,
    calls: Vec<Call>,
}

/// One part of the mean: whose, in which lane, and its logarithm.
struct Part {
    subject: Subject,
    metric: Option<Metric>,
    against_past: bool,
    lane: u8,
    log: f64,
}

impl Panel {
    /// A panel for a new rollout. The judge beside it is to be made with [`Panel::alpha_of_judge`].
    pub fn new(custom: Vec<CustomConfig>, lanes: Lanes) -> Self {
        Panel {
            custom: custom.into_iter().map(Custom::new).collect(),
            lanes,
            calls: Vec::new(),
        }
    }

    /// What is left of `alpha` for the judge.
    pub fn alpha_of_judge(custom: &[CustomConfig], alpha: f64) -> f64 {
        alpha * (1.0 - custom.iter().map(|one| one.share.max(0.0)).sum::<f64>()).clamp(0.01, 1.0)
    }

    fn judges_share(&self) -> f64 {
        (1.0 - self
            .custom
            .iter()
            .map(|one| one.config.share.max(0.0))
            .sum::<f64>())
        .clamp(0.01, 1.0)
    }

    fn alpha(&self, judge: &Judge) -> f64 {
        judge.config().alpha / self.judges_share()
    }

    fn log_needed(&self, judge: &Judge) -> f64 {
        (1.0 / self.alpha(judge)).ln()
    }

    /// Takes what a metric said about the interval that ended `at`.
    pub fn take(&mut self, judge: &Judge, name: &str, at: Timestamp, reading: &Reading) {
        for custom in self.custom.iter_mut().filter(|one| one.config.name == name) {
            custom.take(at, reading);
        }
        self.decide(judge, at);
    }

    /// Calls what can be called; to be asked after each batch that the judge took.
    pub fn decide(&mut self, judge: &Judge, at: Timestamp) {
        if judge.decision() == Decision::RoutingBroken {
            return;
        }
        let needed = self.log_needed(judge);
        let parts = self.parts(judge);
        let mut lanes: Vec<u8> = parts.iter().map(|part| part.lane).collect();
        lanes.sort_unstable();
        lanes.dedup();
        for lane in lanes {
            let log = log_sum(parts.iter().filter(|part| part.lane == lane).map(|part| part.log));
            if log < needed || self.calls.iter().any(|call| call.lane == lane) {
                continue;
            }
            let loudest = parts.iter().filter(|part| part.lane == lane);
            let Some(loudest) = loudest.max_by(|x, y| x.log.total_cmp(&y.log)) else {
                continue;
            };
            let call = self.call(judge, loudest, (log, needed), at);
            self.calls.push(call);
        }
        self.calls.sort_by_key(|call| call.lane);
    }

    fn call(&self, judge: &Judge, part: &Part, (log, needed): (f64, f64), at: Timestamp) -> Call {
        let evidence = format!("evidence {}, {} was asked", odds(log), odds(needed));
        let custom = self
            .custom
            .iter()
            .find(|one| part.metric.is_none() && Subject::Custom(one.config.name.clone()) == part.subject);
        let (reason, onset) = match (custom, part.metric) {
            (Some(custom), _) => (format!("{}; {evidence}", custom.describe()), custom.onset),
            (None, Some(metric)) => explain::called(judge, metric, part.against_past, &evidence),
            (None, None) => (evidence, at),
        };
        Call {
            lane: part.lane,
            subject: part.subject.clone(),
            at,
            onset,
            reason,
        }
    }

    fn lane_of(&self, metric: Metric) -> u8 {
        match metric {
            Metric::Errors => self.lanes.errors,
            Metric::ClientErrors => self.lanes.client_errors,
            Metric::LatencyP50 | Metric::LatencyP95 | Metric::LatencyP99 => self.lanes.latency,
        }
    }

    fn parts(&self, judge: &Judge) -> Vec<Part> {
        let share = self.judges_share().ln();
        let counted = judge
            .contributions()
            .into_iter()
            .map(|(metric, against_past, log)| Part {
                subject: Subject::of(metric),
                metric: Some(metric),
                against_past,
                lane: self.lane_of(metric),
                log: share + log,
            });
        let custom = self.custom.iter().map(|one| Part {
            subject: Subject::Custom(one.config.name.clone()),
            metric: None,
            against_past: false,
            lane: one.config.lane,
            log: one.config.share.max(f64::MIN_POSITIVE).ln() + one.log_e(),
        });
        counted.chain(custom).collect()
    }

    /// What was called, the lane that is acted on first before the others.
    pub fn calls(&self) -> &[Call] {
        &self.calls
    }

    /// Where the candidate stands, leaving out the lanes that are `settled`: people know of them.
    pub fn standing(&self, judge: &Judge, settled: impl Fn(u8) -> bool) -> Standing {
        if let Some(call) = self.calls.iter().find(|call| !settled(call.lane)) {
            return Standing::Regressed(call.clone());
        }
        if judge.decision() == Decision::RoutingBroken {
            return Standing::Open(vec![Open {
                subject: Subject::Routing,
                absence: None,
                reason: judge.verdict().reason,
            }]);
        }
        let waived = |lane: u8| self.calls.iter().any(|call| call.lane == lane);
        let mut open = self.open_counts(judge, &waived);
        for custom in self.custom.iter().filter(|one| !waived(one.config.lane)) {
            open.extend(custom.open().map(|(absence, reason)| Open {
                subject: Subject::Custom(custom.config.name.clone()),
                absence,
                reason,
            }));
        }
        if open.is_empty() {
            Standing::Healthy
        } else {
            Standing::Open(open)
        }
    }

    fn open_counts(&self, judge: &Judge, waived: &impl Fn(u8) -> bool) -> Vec<Open> {
        let open = |subject| Open {
            subject,
            absence: None,
            reason: self.reason_while_open(judge),
        };
        // What the past alone suspects counts as doubt too, though it may not act.
        let suspected = judge.suspicions().into_iter();
        let doubts = suspected.filter(|(metric, _)| !waived(self.lane_of(*metric)));
        let doubts: Vec<(Metric, f64)> = doubts.collect();
        if log_sum(doubts.iter().map(|(_, log)| *log)) >= DOUBT_ODDS.ln() {
            let loudest = doubts.iter().max_by(|x, y| x.1.total_cmp(&y.1));
            return loudest
                .map(|(metric, _)| open(Subject::of(*metric)))
                .into_iter()
                .collect();
        }
        let claims = judge.claims();
        if claims.enough {
            return Vec::new();
        }
        let mut all = Vec::new();
        if !claims.errors && !waived(self.lanes.errors) {
            all.push(open(Subject::Errors));
        }
        if !claims.latency && !waived(self.lanes.latency) {
            all.push(open(Subject::Latency));
        }
        all
    }

    fn reason_while_open(&self, judge: &Judge) -> String {
        explain::uncalled(judge, Decision::Inconclusive)
    }

    /// What may be done now.
    pub fn decision(&self, judge: &Judge) -> Decision {
        match self.standing(judge, |_| false) {
            Standing::Healthy => Decision::Healthy,
            Standing::Regressed(_) => Decision::Regressed,
            Standing::Open(_) if judge.decision() == Decision::RoutingBroken => Decision::RoutingBroken,
            Standing::Open(_) => Decision::Inconclusive,
        }
    }

    /// When the trouble that was called first began, as far as the evidence shows.
    pub fn onset(&self) -> Option<Timestamp> {
        self.calls.first().map(|call| call.onset)
    }

    /// The verdict on everything so far.
    pub fn verdict(&self, judge: &Judge) -> Verdict {
        let standing = self.standing(judge, |_| false);
        let of_judge = judge.verdict();
        let log_e = log_sum(self.parts(judge).iter().map(|part| part.log));
        let alpha = self.alpha(judge);
        let reason = match &standing {
            Standing::Regressed(call) => call.reason.clone(),
            Standing::Open(open) => open.first().map_or_else(String::new, |open| open.reason.clone()),
            Standing::Healthy => of_judge.reason.clone(),
        };
        let leading_custom = self.calls.first().and_then(|call| match &call.subject {
            Subject::Custom(name) => Some(name.clone()),
            _ => None,
        });
        Verdict {
            decision: self.decision(judge),
            reason,
            custom: self.custom.iter().map(Custom::evidence).collect(),
            e_value: super::judge::finite_exp(log_e),
            log_e,
            alpha,
            alpha_left: if self.calls.is_empty() { alpha } else { 0.0 },
            called_at: self.calls.first().map(|call| call.at),
            leading: of_judge.leading.filter(|_| leading_custom.is_none()),
            leading_custom,
            ..of_judge
        }
    }
}
