//! Metrics of a team's own: PromQL figures, and counts, compared interval by interval.
//!
//! **Figures.** In each interval both releases have one number. The claim to be rejected is: whatever was seen
//! before, the chance that the candidate's number is worse than the baseline's by more than the tolerance
//! is at most one half. It holds wherever the arms of an interval could be exchanged without anybody
//! noticing, whatever the numbers' distribution, drift, bursts, and correlation over time. Each interval is then
//! a coin that shows "worse" at most every second time, and the likelihood ratio of a biased coin to a
//! fair one is an e-process (the sign test in the form of Shafer's bets, "Testing by betting", JRSS A 2021; Ramdas,
//! Grünwald, Vovk and Shafer, arXiv 2210.01948). An interval tells at most one bit, and no test under this
//! assumption can learn more from it.
//!
//! What it assumes: intervals do not overlap (the shell sees to that), and the two numbers have the
//! same median when the releases are equal. A mean over a handful of skewed values under one arm and over many
//! under the other does not; such figures are to be given as counts.
//!
//! **Counts.** Of so many events so many were bad, in each arm. Given how many events each arm had, the
//! grid process of [`super::process`] with the candidate's share of the interval's events for w has a mean of at
//! most one whenever both arms share a rate in the interval (Turner, Ly and Grünwald, arXiv 2106.02693,
//! theorem 1: by the inequality of means, whatever the group sizes). So it needs no known probability of
//! assignment, and is exact at any count.

use serde::{Deserialize, Serialize};
use trimtab_model::Timestamp;

use super::interval::{effect_interval, median_interval};
use super::judge::finite_exp;
use super::process::{Process, Tally};
use super::{Lift, Mixture};
use crate::words::{count, figure, percent};

/// Intervals shown to people leave out the true value with this chance, over all moments.
const INTERVAL_ALPHA: f64 = 0.05;
/// Differences that are kept for the interval of their median.
const DIFFERENCES_MAX: usize = 1000;
/// Evidence against a metric above which it is not called healthy.
const DOUBT_ODDS: f64 = 5.0;
/// Longest reason of a failed query.
const REASON_CHARS_MAX: usize = 300;
/// Odds of "worse" against "not worse" that a figure's process bets on.
const SIGN_LIFTS: [Lift; 4] = [
    Lift::of_odds(1.5, 0.15),
    Lift::of_odds(3.0, 0.3),
    Lift::of_odds(9.0, 0.3),
    Lift::of_odds(50.0, 0.25),
];

/// How much worse than the baseline is still well.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Tolerance {
    /// This share of the baseline's figure, 0.25 for 25 %.
    Share(f64),
    /// This much, in the figure's unit.
    Absolute(f64),
}

/// What is compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CustomKind {
    /// A figure of which less is better.
    LowerIsBetter,
    /// A figure of which more is better.
    HigherIsBetter,
    /// Bad events of all events.
    Counts,
}

/// A metric of the team's own.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct CustomConfig {
    /// Its name.
    pub name: String,
    /// What is compared.
    pub kind: CustomKind,
    /// How much worse is still well.
    pub tolerance: Tolerance,
    /// Its share of alpha, 0.1 for 10 %.
    pub share: f64,
    /// Intervals below which it is not called healthy.
    pub intervals_min: u64,
    /// The unit, for people.
    pub unit: String,
    /// Metrics of one lane are acted on together.
    pub lane: u8,
}

/// Counters of one release, as they stand.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Counters {
    /// What went badly so far.
    pub bad: f64,
    /// All so far.
    pub total: f64,
}

/// What a metric said about one interval.
#[derive(Debug, Clone, PartialEq)]
pub enum Reading {
    /// Both releases' figures.
    Figures {
        /// The current release's.
        baseline: f64,
        /// The candidate's.
        candidate: f64,
    },
    /// Both releases' counters at its end.
    Counters {
        /// The current release's.
        baseline: Counters,
        /// The candidate's.
        candidate: Counters,
    },
    /// Nothing, and why.
    Nothing(Absence, String),
}

/// The three ways to say nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Absence {
    /// One of the releases got no requests.
    NoTraffic,
    /// The query was answered, with no number for one of the releases.
    MissingMetric,
    /// The query was not answered.
    FailedQuery,
}

impl Absence {
    /// The absence in words.
    pub fn as_str(self) -> &'static str {
        match self {
            Absence::NoTraffic => "no traffic",
            Absence::MissingMetric => "metric missing",
            Absence::FailedQuery => "query failed",
        }
    }
}

/// One metric of the team's own under comparison.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Custom {
    pub(super) config: CustomConfig,
    pub(super) process: Process,
    pub(super) onset: Timestamp,
    started_at: Option<Timestamp>,
    /// Intervals compared, and those in which the candidate was worse.
    intervals: Tally,
    baseline: Tally,
    candidate: Tally,
    sums: (f64, f64),
    differences: Vec<f64>,
    before: Option<(Counters, Counters)>,
    /// What the newest interval lacked.
    lacking: Option<(Absence, String)>,
    lacked: u64,
}

/// The evidence of one metric of the team's own.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct CustomEvidence {
    /// Its name.
    pub name: String,
    /// What is compared.
    pub kind: CustomKind,
    /// Its unit.
    pub unit: String,
    /// Its share of alpha.
    pub share: f64,
    /// Intervals compared.
    pub intervals: u64,
    /// Of these, those in which the candidate was worse by more than the tolerance.
    pub worse: u64,
    /// Intervals that are still needed to call it healthy.
    pub intervals_needed: u64,
    /// Intervals about which it said nothing.
    pub lacked: u64,
    /// What the newest interval lacked, and why.
    pub lacking: Option<(Absence, String)>,
    /// Events of the current release and how many were bad, for counts.
    pub baseline: Tally,
    /// The same of the candidate.
    pub candidate: Tally,
    /// The current release's figure: a mean over intervals, or the share of bad events.
    pub baseline_figure: Option<f64>,
    /// The candidate's.
    pub candidate_figure: Option<f64>,
    /// The candidate's figure less the baseline's.
    pub effect: Option<f64>,
    /// Anytime-valid 95 % interval: of the differences' median, or of the difference of the shares.
    pub interval: Option<(f64, f64)>,
    /// The evidence that the candidate is worse.
    pub e_value: f64,
    /// Its natural logarithm.
    pub log_e: f64,
}

impl Custom {
    pub(super) fn new(config: CustomConfig) -> Self {
        let process = match config.kind {
            CustomKind::LowerIsBetter | CustomKind::HigherIsBetter => Process::new(&SIGN_LIFTS),
            CustomKind::Counts => {
                let least = match config.tolerance {
                    Tolerance::Share(share) => 1.0 + share.max(0.0),
                    Tolerance::Absolute(_) => 1.0,
                };
                let mut lifts = Mixture::default().lifts;
                lifts.retain(|lift| lift.odds >= least - 1e-9);
                Process::new(&lifts)
            }
        };
        Custom {
            process,
            onset: Timestamp(0),
            started_at: None,
            intervals: Tally::default(),
            baseline: Tally::default(),
            candidate: Tally::default(),
            sums: (0.0, 0.0),
            differences: Vec::new(),
            before: None,
            lacking: None,
            lacked: 0,
            config,
        }
    }

    /// Takes what was said about the interval that ended `at`.
    pub(super) fn take(&mut self, at: Timestamp, reading: &Reading) {
        let started = *self.started_at.get_or_insert(at);
        let elapsed = at.since(started).as_secs_f64();
        if self.onset == Timestamp(0) || self.process.at_rest() {
            self.onset = at;
        }
        match reading {
            Reading::Figures { baseline, candidate } if baseline.is_finite() && candidate.is_finite() => {
                self.lacking = None;
                self.figures(elapsed, *baseline, *candidate);
            }
            Reading::Figures { .. } => {
                self.lack(Absence::MissingMetric, "the figure of a release is no number");
            }
            Reading::Counters { baseline, candidate } => {
                let before = self.before.replace((*baseline, *candidate));
                // The first reading only says where the counters stand.
                if let Some((b, c)) = before {
                    self.counts(elapsed, (b, *baseline), (c, *candidate));
                }
            }
            Reading::Nothing(absence, why) => {
                // What was counted meanwhile cannot be told apart from what came before.
                if *absence != Absence::NoTraffic {
                    self.before = None;
                }
                self.lack(*absence, why);
            }
        }
    }

    fn lack(&mut self, absence: Absence, why: &str) {
        self.lacked += 1;
        self.lacking = Some((absence, why.chars().take(REASON_CHARS_MAX).collect()));
    }

    fn figures(&mut self, elapsed: f64, baseline: f64, candidate: f64) {
        let slack = match self.config.tolerance {
            Tolerance::Share(share) => share * baseline.abs(),
            Tolerance::Absolute(slack) => slack,
        };
        let worse = match self.config.kind {
            CustomKind::HigherIsBetter => candidate < baseline - slack,
            CustomKind::LowerIsBetter | CustomKind::Counts => candidate > baseline + slack,
        };
        self.process
            .events(elapsed, 0.5, u64::from(!worse), u64::from(worse));
        self.intervals.add(Tally::new(1, u64::from(worse)));
        self.sums.0 += baseline;
        self.sums.1 += candidate;
        if self.differences.len() >= DIFFERENCES_MAX {
            self.differences.remove(0);
        }
        self.differences.push(candidate - baseline);
    }

    fn counts(&mut self, elapsed: f64, baseline: (Counters, Counters), candidate: (Counters, Counters)) {
        let (Some(b), Some(c)) = (grown(baseline), grown(candidate)) else {
            // A counter began anew: this interval tells nothing about it.
            self.lack(Absence::MissingMetric, "a counter began anew");
            return;
        };
        if b.units == 0 || c.units == 0 {
            self.lack(Absence::NoTraffic, "one of the releases counted nothing");
            return;
        }
        self.lacking = None;
        let w = c.units as f64 / (b.units + c.units) as f64;
        // A hundredth until the baseline has shown its rate.
        let a = (self.baseline.bad as f64 + 0.1) / (self.baseline.units as f64 + 10.0);
        self.process.compare(elapsed, w, a, b, c);
        self.baseline.add(b);
        self.candidate.add(c);
        self.intervals.add(Tally::new(1, u64::from(c.rate() > b.rate())));
    }

    /// The evidence that counts, without its share of alpha.
    pub(super) fn log_e(&self) -> f64 {
        self.process.log_e()
    }

    /// Why it cannot be called healthy: what it lacks, and a reason; none when it can.
    pub(super) fn open(&self) -> Option<(Option<Absence>, String)> {
        let name = &self.config.name;
        if let Some((absence, why)) = &self.lacking {
            return Some((Some(*absence), format!("{}: {name}: {why}", absence.as_str())));
        }
        if self.process.log_e() >= DOUBT_ODDS.ln() {
            return Some((None, format!("{} (not enough to call it)", self.describe())));
        }
        if self.intervals.units < self.config.intervals_min {
            let (seen, wanted) = (self.intervals.units, self.config.intervals_min);
            return Some((
                None,
                format!("{name}: {seen} of at least {wanted} intervals compared"),
            ));
        }
        None
    }

    /// Both arms in a sentence.
    pub(super) fn describe(&self) -> String {
        let name = &self.config.name;
        let unit = if self.config.unit.is_empty() {
            String::new()
        } else {
            format!(" {}", self.config.unit)
        };
        if self.config.kind == CustomKind::Counts {
            return format!(
                "{name}: {} bad for the candidate ({} of {}) and {} for the baseline ({} of {})",
                percent(self.candidate.rate()),
                count(self.candidate.bad),
                count(self.candidate.units),
                percent(self.baseline.rate()),
                count(self.baseline.bad),
                count(self.baseline.units)
            );
        }
        let (baseline, candidate) = self.means().unwrap_or_default();
        format!(
            "{name}: worse than tolerated in {} of {} intervals (candidate {}{unit}, baseline {}{unit} on average)",
            count(self.intervals.bad),
            count(self.intervals.units),
            figure(candidate),
            figure(baseline)
        )
    }

    fn means(&self) -> Option<(f64, f64)> {
        let n = self.intervals.units as f64;
        (n > 0.0).then(|| (self.sums.0 / n, self.sums.1 / n))
    }

    pub(super) fn evidence(&self) -> CustomEvidence {
        let counts = self.config.kind == CustomKind::Counts;
        let both = self.baseline.units > 0 && self.candidate.units > 0;
        let (figures, interval) = if counts {
            let figures = both.then(|| (self.baseline.rate(), self.candidate.rate()));
            let interval = both.then(|| effect_interval(self.baseline, self.candidate, INTERVAL_ALPHA));
            (figures, interval)
        } else {
            let mut sorted = self.differences.clone();
            sorted.sort_by(f64::total_cmp);
            (self.means(), median_interval(&sorted, INTERVAL_ALPHA))
        };
        CustomEvidence {
            name: self.config.name.clone(),
            kind: self.config.kind,
            unit: self.config.unit.clone(),
            share: self.config.share,
            intervals: self.intervals.units,
            worse: self.intervals.bad,
            intervals_needed: self.config.intervals_min.saturating_sub(self.intervals.units),
            lacked: self.lacked,
            lacking: self.lacking.clone(),
            baseline: self.baseline,
            candidate: self.candidate,
            baseline_figure: figures.map(|(baseline, _)| baseline),
            candidate_figure: figures.map(|(_, candidate)| candidate),
            effect: figures.map(|(baseline, candidate)| candidate - baseline),
            interval,
            e_value: finite_exp(self.log_e()),
            log_e: self.log_e(),
        }
    }
}

/// What counters grew by; none when one of them began anew or is no number.
fn grown((before, now): (Counters, Counters)) -> Option<Tally> {
    let whole = |from: f64, to: f64| {
        let by = (to - from).round();
        // Counters of one interval are far below 2^53.
        (0.0..9e15).contains(&by).then_some(by as u64)
    };
    let (units, bad) = (whole(before.total, now.total)?, whole(before.bad, now.bad)?);
    Some(Tally::new(units, bad))
}

#[cfg(test)]
mod tests;
