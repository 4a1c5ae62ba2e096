//! Lines outside a rollout: what is new or multiplied against the service's own past, and what of a rollout
//! becomes that past.

use std::collections::VecDeque;

use serde::{Deserialize, Serialize};
use trimtab_model::Timestamp;

use super::{ERROR, SHOWN_CHARS, Track, Watch};
use crate::anomaly::{Anomaly, Kind, Scope, Signal, score_of};
use crate::evidence::rise;
use crate::learning::KnownTemplate;
use crate::verdict::process::Tally;
use crate::words::{count, cut};

/// Length of a slot.
const SLOT_MS: i64 = 10_000;
/// Slots that are "lately": a minute.
const SLOTS: usize = 6;
/// Slots in which a template must have come: not one burst.
const SLOTS_WITH_MIN: usize = 3;
/// Lines of lately from which a template is a sign.
const LINES_MIN: u64 = 10;
/// Lines of the past from which "never seen" means something.
const PAST_LINES_MIN: u64 = 100;
/// And how long they must reach back.
const PAST_MS_MIN: i64 = 120_000;
/// A template is new for so long after its first line.
const NEW_MS: i64 = 600_000;
/// ln of the evidence from which a template surges: 10^6 : 1.
const SURGE_MIN_LOG: f64 = 13.8;
/// Times its usual share from which it is a surge.
const SURGE_FACTOR_MIN: f64 = 3.0;

/// Counts of the last minute, by slots.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Lately {
    slots: VecDeque<(i64, u64)>,
}

impl Lately {
    pub(super) fn add(&mut self, at: Timestamp) {
        let slot = at.0.div_euclid(SLOT_MS);
        match self.slots.back_mut() {
            // A line that came late counts where the newest do.
            Some((newest, count)) if slot <= *newest => *count += 1,
            _ => self.slots.push_back((slot, 1)),
        }
        while self.slots.len() > SLOTS {
            self.slots.pop_front();
        }
    }

    pub(super) fn merge(&mut self, other: &Lately) {
        for (slot, count) in &other.slots {
            match self.slots.iter_mut().find(|(known, _)| known == slot) {
                Some((_, known)) => *known += count,
                None => self.slots.push_back((*slot, *count)),
            }
        }
        self.slots.make_contiguous().sort_unstable();
        while self.slots.len() > SLOTS {
            self.slots.pop_front();
        }
    }

    /// Lines, and slots with any.
    fn counts(&self, now: Timestamp) -> (u64, usize) {
        let first = now.0.div_euclid(SLOT_MS) - SLOTS as i64;
        let lately = self.slots.iter().filter(|(slot, _)| *slot > first);
        lately.fold((0, 0), |(lines, slots), (_, count)| (lines + count, slots + 1))
    }
}

impl Watch {
    /// A rollout begins: all that was said so far is the past.
    pub fn begin(&mut self, known: Vec<KnownTemplate>) {
        self.known = known;
        self.settle(true);
    }

    /// A rollout ended. What the candidate said belongs to the past when it was `kept`; else it is
    /// forgotten, and new when the next release says it again.
    pub fn settle(&mut self, kept: bool) {
        self.past += self.baseline + if kept { self.candidate } else { 0 };
        (self.baseline, self.candidate, self.started_at) = (0, 0, None);
        for track in self.tracks.values_mut() {
            let candidate = if kept { track.candidate } else { 0 };
            let fresh = Track::new();
            *track = Track {
                past: track.past + track.baseline + candidate,
                severity: track.severity,
                seen_at: track.seen_at,
                lately: std::mem::take(&mut track.lately),
                ..fresh
            };
        }
        self.tracks.retain(|_, track| track.past > 0);
    }

    /// What was said lately was dealt with: it is known from now on, and only a surge of it is a sign.
    pub fn forgive(&mut self) {
        self.lately = Lately::default();
        for track in self.tracks.values_mut() {
            if track.lately != Lately::default() {
                track.seen_at = self.first_at;
                track.lately = Lately::default();
            }
        }
    }

    /// Error lines that are new, or come far more often than they did, outside a rollout.
    pub fn signs(&self, now: Timestamp, scope: &Scope) -> Vec<Anomaly> {
        let reaches = self
            .first_at
            .is_some_and(|first| now.0.saturating_sub(first.0) >= PAST_MS_MIN);
        let all = self.past + self.baseline + self.candidate;
        let (lines, _) = self.lately.counts(now);
        if !reaches || all.saturating_sub(lines) < PAST_LINES_MIN {
            return Vec::new();
        }
        let mut found: Vec<Anomaly> = self
            .tracks
            .iter()
            .filter(|(_, track)| track.severity >= ERROR)
            .filter_map(|(&number, track)| self.sign(number, track, (all, lines), now, scope))
            .collect();
        found.sort_by(|x, y| {
            y.score
                .total_cmp(&x.score)
                .then_with(|| x.subject.cmp(&y.subject))
        });
        found
    }

    fn sign(
        &self,
        number: usize,
        track: &Track,
        (all, lines): (u64, u64),
        now: Timestamp,
        scope: &Scope,
    ) -> Option<Anomaly> {
        let (lately, slots) = track.lately.counts(now);
        if lately < LINES_MIN || slots < SLOTS_WITH_MIN {
            return None;
        }
        let before = (track.past + track.baseline + track.candidate).saturating_sub(lately);
        let seen_at = track.seen_at?;
        let known_for = now.0.saturating_sub(seen_at.0);
        // Seen for the first time when there was a past that it was missing from.
        let first_at = self.first_at?;
        let new = known_for <= NEW_MS && seen_at.0.saturating_sub(first_at.0) >= PAST_MS_MIN;
        let past = Tally::new(all.saturating_sub(lines).max(before), before);
        let share = Tally::new(lines.max(lately), lately);
        let log_e = rise(past, share);
        let surges = log_e >= SURGE_MIN_LOG && share.rate() >= SURGE_FACTOR_MIN * past.rate();
        if !new && !surges {
            return None;
        }
        let kind = if new {
            Kind::NewTemplate
        } else {
            Kind::SurgingTemplate
        };
        let template = self.miner.template(number)?.text();
        let shown = cut(&template, SHOWN_CHARS);
        let text = if new {
            let seconds = known_for / 1_000;
            format!(
                "an error line never seen before came {} times in a minute, first {seconds} s ago: \"{shown}\"",
                count(lately)
            )
        } else {
            format!(
                "an error line came {} times in a minute, {} times in all before: \"{shown}\"",
                count(lately),
                count(before)
            )
        };
        let expected = past.rate() * lines as f64;
        let onset = if new { seen_at } else { now };
        let anomaly = scope.anomaly(Signal::Logs, kind, now, onset);
        let score = score_of(log_e.max(SURGE_MIN_LOG));
        Some(anomaly.with(template, score, (lately as f64, expected, "lines/min"), text))
    }
}

#[cfg(test)]
mod tests {
    use trimtab_model::Arm;

    use super::super::Line;
    use super::*;

    fn feed(
        watch: &mut Watch,
        seconds: std::ops::Range<i64>,
        arm: Option<Arm>,
        severity: u8,
        text: &str,
        each: i64,
    ) {
        for second in seconds {
            for n in 0..each {
                let text = format!("{text} {n}");
                let at = Timestamp(second * 1_000);
                watch.line(&Line {
                    at,
                    arm,
                    weight: 0.95,
                    severity,
                    text: &text,
                });
            }
        }
    }

    #[test]
    fn a_new_error_line_outside_a_rollout_is_a_sign_and_others_are_not() {
        let mut watch = Watch::default();
        let scope = Scope::default();
        feed(&mut watch, 0..600, None, 9, "served page", 2);
        feed(&mut watch, 0..600, None, 17, "cannot reach mirror", 1);
        feed(&mut watch, 590..600, None, 13, "never warned before", 5);
        assert_eq!(watch.signs(Timestamp(600_000), &scope), vec![]);
        feed(&mut watch, 600..605, None, 17, "index torn at page", 4);
        assert_eq!(watch.signs(Timestamp(605_000), &scope), vec![], "one burst");
        feed(&mut watch, 605..640, None, 17, "index torn at page", 4);
        let signs = watch.signs(Timestamp(640_000), &scope);
        assert_eq!(signs.len(), 1, "{signs:?}");
        assert_eq!(signs[0].kind, Kind::NewTemplate);
        assert!(signs[0].score >= 0.8 && signs[0].subject.contains("index torn"));
        assert_eq!(
            watch.signs(Timestamp(710_000), &scope),
            vec![],
            "over when it is quiet"
        );
    }

    #[test]
    fn a_surging_error_line_is_a_sign() {
        let mut watch = Watch::default();
        feed(&mut watch, 0..1_200, None, 9, "served page", 2);
        feed(&mut watch, 0..20, None, 17, "cannot reach mirror", 1);
        feed(&mut watch, 1_200..1_240, None, 17, "cannot reach mirror", 2);
        let signs = watch.signs(Timestamp(1_240_000), &Scope::default());
        assert_eq!(
            signs.iter().map(|sign| sign.kind).collect::<Vec<_>>(),
            [Kind::SurgingTemplate]
        );
    }

    #[test]
    fn what_a_kept_candidate_says_is_the_past_and_a_rejected_one_is_forgotten() {
        for kept in [true, false] {
            let mut watch = Watch::default();
            feed(&mut watch, 0..300, None, 9, "served page", 2);
            watch.begin(Vec::new());
            let says = |watch: &mut Watch, from: i64| {
                let arm = Some(Arm::Candidate);
                feed(watch, from..from + 20, arm, 9, "served page", 2);
                feed(watch, from..from + 20, arm, 17, "cannot rank result", 2);
            };
            says(&mut watch, 300);
            assert!(watch.findings()[0].new);
            watch.settle(kept);
            assert_eq!(watch.findings(), vec![]);
            says(&mut watch, 330);
            assert_eq!(
                watch.findings().iter().any(|finding| finding.new),
                !kept,
                "kept: {kept}"
            );
        }
    }
}
