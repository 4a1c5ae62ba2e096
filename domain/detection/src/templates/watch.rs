//! Which log templates a release brings, or multiplies.
//!
//! Between the arms by the errors-only twin of the verdict's e-process: without effect each line belongs to
//! the candidate with the probability of its weight. Against baseline and past together by a likelihood ratio of
//! the template's share of lines. Both are evidence for people and for the ranking of causes; no rollback
//! rests on them alone.

mod steady;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use trimtab_model::{Arm, Timestamp};

use super::{Miner, TemplateId, similarity};
use crate::anomaly::{Anomaly, Kind, Scope, Signal, score_of};
use crate::evidence::rise;
use crate::learning::KnownTemplate;
use crate::verdict::Mixture;
use crate::verdict::process::{Process, Tally};
use crate::words::{count, cut, percent};
use steady::Lately;

/// Severity numbers as OpenTelemetry counts: warnings begin here.
const WARN: u8 = 13;
/// Errors begin here.
const ERROR: u8 = 17;
/// Evidence from which a template is reported.
const EVIDENCE_MIN: f64 = 100.0;
/// Lines of the past and the baseline from which "never seen" means something.
const KNOWN_LINES_MIN: u64 = 30;
/// Lines of a new template from which it is reported.
const NEW_LINES_MIN: u64 = 3;
/// Texts at least this similar to a known bad template count as it.
const KNOWN_SIMILARITY_MIN: f64 = 0.8;
/// Characters of a template that are shown.
const SHOWN_CHARS: usize = 160;

/// One log line as the watch sees it.
#[derive(Debug, Clone, Copy)]
pub struct Line<'a> {
    /// When it was written.
    pub at: Timestamp,
    /// The arm of the instance that wrote it; none outside a rollout (then it belongs to the past).
    pub arm: Option<Arm>,
    /// The candidate's probability at that time, 0 to 1.
    pub weight: f64,
    /// OpenTelemetry's severity number, 1 to 24; 0 when unknown.
    pub severity: u8,
    /// The text.
    pub text: &'a str,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Track {
    severity: u8,
    past: u64,
    baseline: u64,
    candidate: u64,
    first_at: Option<Timestamp>,
    arms: Process,
    /// Its very first line, in or out of a rollout.
    #[serde(default)]
    seen_at: Option<Timestamp>,
    #[serde(default)]
    lately: Lately,
}

/// A template that a release brought or multiplied.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Finding {
    /// The template.
    pub id: TemplateId,
    /// Its text.
    pub text: String,
    /// The highest severity number among its lines.
    pub severity: u8,
    /// Never seen before this release nor on the baseline.
    pub new: bool,
    /// Lines on the candidate.
    pub candidate: u64,
    /// Lines on the baseline in the same time.
    pub baseline: u64,
    /// Lines in the past before the rollout.
    pub past: u64,
    /// Its share of the candidate's lines.
    pub share: f64,
    /// ln of the evidence that it belongs to the candidate.
    pub log_e: f64,
    /// How sure and how strong, 0 to 1.
    pub score: f64,
    /// Its first line on the candidate.
    pub first_at: Timestamp,
    /// The class of the incidents that it is known from.
    pub known: Option<crate::anomaly::Class>,
}

/// Watches the lines of one service, through its rollouts and between them.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Watch {
    miner: Miner,
    tracks: BTreeMap<usize, Track>,
    known: Vec<KnownTemplate>,
    past: u64,
    baseline: u64,
    candidate: u64,
    started_at: Option<Timestamp>,
    /// The first line of all.
    #[serde(default)]
    first_at: Option<Timestamp>,
    #[serde(default)]
    lately: Lately,
}

impl Watch {
    /// A watch that knows templates from earlier incidents.
    pub fn new(known: Vec<KnownTemplate>) -> Self {
        Watch {
            known,
            ..Watch::default()
        }
    }

    /// Takes a line; its template's id, none when the miner is full.
    pub fn line(&mut self, line: &Line<'_>) -> Option<TemplateId> {
        self.first_at.get_or_insert(line.at);
        self.lately.add(line.at);
        let seen = self.miner.templates().len();
        let number = self.miner.observe(line.text);
        match line.arm {
            None => self.past += 1,
            Some(Arm::Baseline) => self.baseline += 1,
            Some(Arm::Candidate) => self.candidate += 1,
        }
        let number = number?;
        if self.miner.templates().len() > seen {
            self.fold_merged();
        }
        let track = self.tracks.entry(number).or_insert_with(Track::new);
        track.severity = track.severity.max(line.severity);
        track.seen_at.get_or_insert(line.at);
        track.lately.add(line.at);
        if let Some(arm) = line.arm {
            let started = *self.started_at.get_or_insert(line.at);
            let candidate = arm == Arm::Candidate;
            let elapsed = line.at.since(started).as_secs_f64();
            track
                .arms
                .events(elapsed, line.weight, u64::from(!candidate), u64::from(candidate));
            if candidate {
                track.candidate += 1;
                track.first_at.get_or_insert(line.at);
            } else {
                track.baseline += 1;
            }
        } else {
            track.past += 1;
        }
        self.miner.template(number).map(|t| t.id.clone())
    }

    /// When templates became one, so do their counts; the evidence of the one that took over stays.
    fn fold_merged(&mut self) {
        let moved: Vec<(usize, usize)> = self
            .tracks
            .keys()
            .map(|&number| (number, self.miner.current(number)))
            .filter(|(old, new)| old != new)
            .collect();
        for (old, new) in moved {
            if let Some(gone) = self.tracks.remove(&old) {
                let track = self.tracks.entry(new).or_insert_with(Track::new);
                track.severity = track.severity.max(gone.severity);
                track.past += gone.past;
                track.baseline += gone.baseline;
                track.candidate += gone.candidate;
                track.first_at = earlier(track.first_at, gone.first_at);
                track.seen_at = earlier(track.seen_at, gone.seen_at);
                track.lately.merge(&gone.lately);
            }
        }
    }

    /// The templates mined so far.
    pub fn miner(&self) -> &Miner {
        &self.miner
    }

    /// What the candidate brought or multiplied, strongest first.
    pub fn findings(&self) -> Vec<Finding> {
        let mut found: Vec<Finding> = self
            .tracks
            .iter()
            .filter_map(|(&number, track)| self.finding(number, track))
            .collect();
        found.sort_by(|x, y| y.score.total_cmp(&x.score).then_with(|| x.id.cmp(&y.id)));
        found
    }

    fn finding(&self, number: usize, track: &Track) -> Option<Finding> {
        let template = self.miner.template(number)?;
        let first_at = track.first_at?;
        let reference = Tally::new(self.past + self.baseline, track.past + track.baseline);
        let comparable = reference.units >= KNOWN_LINES_MIN;
        let by_share = if comparable {
            rise(reference, Tally::new(self.candidate, track.candidate))
        } else {
            0.0
        };
        let log_e = track.arms.log_e().max(by_share);
        let new = comparable && track.past == 0 && track.baseline == 0 && track.candidate >= NEW_LINES_MIN;
        if !new && log_e < EVIDENCE_MIN.ln() {
            return None;
        }
        let text = template.text();
        let known = self.known_class(&template.id, &text);
        let mut score = score_of(if new { log_e.max(EVIDENCE_MIN.ln()) } else { log_e });
        if track.severity < WARN && known.is_none() {
            // A release that says something new is no fault in itself.
            score *= 0.4;
        } else if known.is_some() || track.severity >= ERROR {
            score = 1.0 - (1.0 - score) / 2.0;
        }
        Some(Finding {
            id: template.id.clone(),
            text,
            severity: track.severity,
            new,
            candidate: track.candidate,
            baseline: track.baseline,
            past: track.past,
            share: track.candidate as f64 / self.candidate.max(1) as f64,
            log_e,
            score,
            first_at,
            known,
        })
    }

    fn known_class(&self, id: &TemplateId, text: &str) -> Option<crate::anomaly::Class> {
        let alike =
            |known: &&KnownTemplate| known.id == *id || similarity(&known.text, text) >= KNOWN_SIMILARITY_MIN;
        self.known.iter().find(alike).map(|known| known.class)
    }

    /// The findings as anomalies.
    pub fn anomalies(&self, at: Timestamp, scope: &Scope) -> Vec<Anomaly> {
        self.findings()
            .into_iter()
            .map(|finding| {
                let kind = if finding.new { Kind::NewTemplate } else { Kind::SurgingTemplate };
                let known = finding.known.map(|class| format!("; known from a {class}")).unwrap_or_default();
                let shown = cut(&finding.text, SHOWN_CHARS);
                let text = format!(
                    "{kind} on the candidate: \"{shown}\": {} lines ({} of its lines), {} on the baseline, {} before{known}",
                    count(finding.candidate),
                    percent(finding.share),
                    count(finding.baseline),
                    count(finding.past)
                );
                let expected = self.candidate as f64 * finding.past as f64 / self.past.max(1) as f64;
                scope.anomaly(Signal::Logs, kind, at, finding.first_at).with(
                    finding.text,
                    finding.score,
                    (finding.candidate as f64, expected, "lines"),
                    text,
                )
            })
            .collect()
    }
}

impl Track {
    fn new() -> Self {
        Track {
            severity: 0,
            past: 0,
            baseline: 0,
            candidate: 0,
            first_at: None,
            arms: Process::new(&Mixture::default().lifts),
            seen_at: None,
            lately: Lately::default(),
        }
    }
}

fn earlier(one: Option<Timestamp>, other: Option<Timestamp>) -> Option<Timestamp> {
    match (one, other) {
        (Some(one), Some(other)) => Some(one.min(other)),
        (one, other) => one.or(other),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::anomaly::Class;

    fn feed(watch: &mut Watch, arm: Option<Arm>, weight: f64, severity: u8, text: &str, times: usize) {
        for n in 0..times {
            let text = format!("{text} {n}");
            let at = Timestamp(1_000 + n as i64 * 10);
            watch.line(&Line {
                at,
                arm,
                weight,
                severity,
                text: &text,
            });
        }
    }

    #[test]
    fn a_new_error_line_is_found() {
        let mut watch = Watch::default();
        feed(&mut watch, None, 0.0, 9, "merged operations in batch", 500);
        feed(
            &mut watch,
            Some(Arm::Candidate),
            0.95,
            9,
            "merged operations in batch",
            400,
        );
        feed(
            &mut watch,
            Some(Arm::Baseline),
            0.95,
            9,
            "merged operations in batch",
            20,
        );
        assert_eq!(watch.findings(), vec![]);
        feed(
            &mut watch,
            Some(Arm::Candidate),
            0.95,
            17,
            "clock of replica went backwards at operation",
            30,
        );
        feed(
            &mut watch,
            Some(Arm::Candidate),
            0.95,
            9,
            "using the new merge path for document",
            30,
        );
        let found = watch.findings();
        assert_eq!(found.len(), 2);
        assert!(
            found[0].new && found[0].text.starts_with("clock of replica"),
            "{found:?}"
        );
        assert!(found[0].score > 0.7 && found[1].score < 0.5, "{found:?}");
        let anomaly = &watch.anomalies(Timestamp(9_000), &Scope::default())[0];
        assert_eq!(anomaly.kind, Kind::NewTemplate);
        assert!(anomaly.text.contains("30 lines"), "{}", anomaly.text);
    }

    #[test]
    fn a_surging_warning_is_found_and_a_steady_one_is_not() {
        let mut watch = Watch::default();
        // By turns, as a coin would do at best.
        for n in 0..600 {
            let arm = [Arm::Baseline, Arm::Candidate][n % 2];
            feed(
                &mut watch,
                Some(arm),
                0.5,
                13,
                "retrying request",
                usize::from(n % 10 < 2),
            );
            feed(&mut watch, Some(arm), 0.5, 9, "served page", 1);
        }
        assert_eq!(watch.findings(), vec![]);
        feed(&mut watch, Some(Arm::Baseline), 0.5, 13, "cache missed key", 5);
        feed(&mut watch, Some(Arm::Candidate), 0.5, 13, "cache missed key", 80);
        let found = watch.findings();
        assert_eq!(found.len(), 1);
        assert!(!found[0].new);
    }

    #[test]
    fn known_templates_weigh_more() {
        let mut fresh = Watch::default();
        let text = "clock of replica went backwards at operation <*>".to_owned();
        let id = TemplateId::of(&text);
        let known = KnownTemplate {
            id,
            text,
            class: Class::BadRelease,
            incidents: 1,
        };
        let mut learned = Watch::new(vec![known]);
        for watch in [&mut fresh, &mut learned] {
            feed(watch, None, 0.0, 9, "merged operations in batch", 500);
            feed(
                watch,
                Some(Arm::Candidate),
                0.95,
                13,
                "clock of replica went backwards at operation",
                4,
            );
        }
        let (fresh, learned) = (&fresh.findings()[0], &learned.findings()[0]);
        assert!(learned.score > fresh.score);
        assert_eq!(learned.known, Some(Class::BadRelease));
    }
}
