//! Per-operation comparison of spans: which calls became slow, fail, are new or are gone in the candidate.
//!
//! The reference is the baseline where it has enough spans, else the past before the rollout. Rates are
//! compared by a likelihood ratio with Schwarz's penalty, latencies as exceedances over the reference's own
//! median and p95, as in the verdict.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use trimtab_model::{Arm, LatencyHistogram, Timestamp};

use crate::anomaly::{Anomaly, Kind, Scope, Signal, score_of};
use crate::evidence::rise;
use crate::templates::mask;
use crate::verdict::Tally;
use crate::words::{count, cut, figure, millis, percent};

/// Pairs of operation and span name that are told apart; spans of further ones are counted as rejected.
const CALLS_MAX: usize = 1_000;
/// Spans of a call from which an arm may be the reference.
const REFERENCE_SPANS_MIN: u64 = 30;
/// Spans of a new call from which it is reported.
const NEW_SPANS_MIN: u64 = 5;
/// Calls expected of the candidate from which their absence is reported.
const MISSING_EXPECTED_MIN: f64 = 10.0;
/// Evidence from which a call is reported.
const EVIDENCE_MIN: f64 = 100.0;
/// Slower by less than this factor in the median and in p95 is not reported.
const SLOWER_MIN: f64 = 1.25;
/// Characters of a name that are kept.
const NAME_CHARS_MAX: usize = 120;

/// One span as the comparison sees it.
#[derive(Debug, Clone, Copy)]
pub struct SpanView<'a> {
    /// When it ended.
    pub at: Timestamp,
    /// The arm of the instance that reported it; none outside a rollout (then it belongs to the past).
    pub arm: Option<Arm>,
    /// The operation it serves: the name of its trace's entry span in the service.
    pub operation: &'a str,
    /// Its own name; equal to `operation` for the entry span.
    pub name: &'a str,
    /// How long it took, in microseconds.
    pub micros: u64,
    /// Whether it failed.
    pub error: bool,
}

#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
struct Side {
    spans: u64,
    errors: u64,
    latency: LatencyHistogram,
}

impl Side {
    fn add(&mut self, span: &SpanView<'_>) {
        self.spans += 1;
        self.errors += u64::from(span.error);
        self.latency.record(span.micros);
    }

    fn merge(&mut self, other: &Side) {
        self.spans += other.spans;
        self.errors += other.errors;
        self.latency.merge(&other.latency);
    }

    fn slower(&self, bucket: u16) -> Tally {
        Tally::new(self.spans, self.latency.at_or_above(bucket))
    }

    fn millis(&self, quantile: f64) -> f64 {
        self.latency.quantile_micros(quantile).unwrap_or(0.0) / 1000.0
    }
}

#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
struct Call {
    past: Side,
    baseline: Side,
    candidate: Side,
    onset: Option<Timestamp>,
}

impl Call {
    fn reference(&self) -> &Side {
        if self.baseline.spans >= REFERENCE_SPANS_MIN || self.past.spans < self.baseline.spans {
            &self.baseline
        } else {
            &self.past
        }
    }
}

/// What is wrong with a call.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct CallEvidence {
    /// Slow, failing, new or missing span.
    pub kind: Kind,
    /// The reference's figure: p95 in ms, error rate as a share, or spans.
    pub expected: f64,
    /// The candidate's.
    pub observed: f64,
    /// ln of the evidence.
    pub log_e: f64,
}

/// Compares the spans of one service through one rollout.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Spans {
    calls: BTreeMap<String, BTreeMap<String, Call>>,
    pairs: usize,
    rejected: u64,
}

impl Spans {
    /// Takes a span.
    pub fn add(&mut self, span: &SpanView<'_>) {
        let (operation, name) = (normal(span.operation), normal(span.name));
        let known = self
            .calls
            .get(&operation)
            .is_some_and(|calls| calls.contains_key(&name));
        if !known {
            if self.pairs >= CALLS_MAX {
                self.rejected += 1;
                return;
            }
            self.pairs += 1;
        }
        let call = self.calls.entry(operation).or_default().entry(name).or_default();
        match span.arm {
            None => call.past.add(span),
            Some(Arm::Baseline) => call.baseline.add(span),
            Some(Arm::Candidate) => {
                call.candidate.add(span);
                let odd = span.error || call.past.latency.total() == 0 || {
                    let limit = call.reference().latency.quantile_bucket(0.95);
                    limit.is_some_and(|limit| LatencyHistogram::bucket_of(span.micros) > limit)
                };
                if odd {
                    call.onset.get_or_insert(span.at);
                }
            }
        }
    }

    /// Spans left out because there were too many different ones.
    pub fn rejected(&self) -> u64 {
        self.rejected
    }

    /// A rollout ended, or another begins: what the baseline did is the past, and what the candidate did
    /// too when it was `kept`.
    pub fn settle(&mut self, kept: bool) {
        for calls in self.calls.values_mut() {
            for call in calls.values_mut() {
                let (baseline, candidate) = (
                    std::mem::take(&mut call.baseline),
                    std::mem::take(&mut call.candidate),
                );
                call.past.merge(&baseline);
                if kept {
                    call.past.merge(&candidate);
                }
                call.onset = None;
            }
            calls.retain(|_, call| call.past.spans > 0);
        }
        self.calls.retain(|_, calls| !calls.is_empty());
        self.pairs = self.calls.values().map(BTreeMap::len).sum();
    }

    /// What is wrong with the candidate's calls, strongest first.
    pub fn anomalies(&self, at: Timestamp, scope: &Scope) -> Vec<Anomaly> {
        let mut found = Vec::new();
        for (operation, calls) in &self.calls {
            let entry = calls.get(operation);
            for (name, call) in calls {
                for evidence in judge(call, entry) {
                    found.push(report(operation, name, call, evidence, at, scope));
                }
            }
        }
        found.sort_by(|x, y| {
            y.score
                .total_cmp(&x.score)
                .then_with(|| x.subject.cmp(&y.subject))
        });
        found
    }
}

/// Names without the values in them.
fn normal(name: &str) -> String {
    cut(&mask::words(name).join(" "), NAME_CHARS_MAX)
}

fn judge(call: &Call, entry: Option<&Call>) -> Vec<CallEvidence> {
    let (now, reference) = (&call.candidate, call.reference());
    let mut found = Vec::new();
    let entry_reference = entry.map_or(0, |entry| entry.reference().spans);
    let entry_now = entry.map_or(0, |entry| entry.candidate.spans);
    if call.past.spans + call.baseline.spans == 0 {
        if now.spans >= NEW_SPANS_MIN && entry_reference >= REFERENCE_SPANS_MIN {
            let evidence = |kind, log_e| CallEvidence {
                kind,
                expected: 0.0,
                observed: now.spans as f64,
                log_e,
            };
            found.push(evidence(Kind::NewSpan, EVIDENCE_MIN.ln()));
        }
        return found;
    }
    let expected = reference.spans as f64 / entry_reference.max(1) as f64 * entry_now as f64;
    if now.spans == 0 {
        if expected >= MISSING_EXPECTED_MIN && entry_reference > 0 {
            let (kind, log_e) = (Kind::MissingSpan, expected.min(100.0));
            found.push(CallEvidence {
                kind,
                expected,
                observed: 0.0,
                log_e,
            });
        }
        return found;
    }
    if reference.spans < REFERENCE_SPANS_MIN {
        return found;
    }
    let errors = |side: &Side| Tally::new(side.spans, side.errors);
    let log_e = rise(errors(reference), errors(now));
    if log_e >= EVIDENCE_MIN.ln() {
        let (expected, observed) = (errors(reference).rate(), errors(now).rate());
        found.push(CallEvidence {
            kind: Kind::FailingSpan,
            expected,
            observed,
            log_e,
        });
    }
    // The mean of two bets is one bet.
    let over = |quantile| match reference.latency.quantile_bucket(quantile) {
        Some(bucket) => rise(reference.slower(bucket + 1), now.slower(bucket + 1)),
        None => 0.0,
    };
    let log_e = (over(0.5).max(over(0.95)) - 2f64.ln()).max(0.0);
    let slower = |quantile| now.millis(quantile) >= SLOWER_MIN * reference.millis(quantile);
    if log_e >= EVIDENCE_MIN.ln() && (slower(0.5) || slower(0.95)) {
        let (expected, observed) = (reference.millis(0.95), now.millis(0.95));
        found.push(CallEvidence {
            kind: Kind::SlowSpan,
            expected,
            observed,
            log_e,
        });
    }
    found
}

fn report(
    operation: &str,
    name: &str,
    call: &Call,
    e: CallEvidence,
    at: Timestamp,
    scope: &Scope,
) -> Anomaly {
    let subject = if operation == name {
        name.to_owned()
    } else {
        format!("{operation} → {name}")
    };
    let spans = count(call.candidate.spans);
    let (unit, text) = match e.kind {
        Kind::FailingSpan => (
            "share",
            format!(
                "{subject} fails in {} of {spans} spans, {} before",
                percent(e.observed),
                percent(e.expected)
            ),
        ),
        Kind::SlowSpan => {
            let median = |side: &Side| millis(side.millis(0.5));
            let text = format!(
                "{subject} takes {} at p95 and {} in the median over {spans} spans, {} and {} before",
                millis(e.observed),
                median(&call.candidate),
                millis(e.expected),
                median(call.reference())
            );
            ("ms", text)
        }
        Kind::MissingSpan => (
            "spans",
            format!(
                "{subject} is no longer called: {} calls were to be expected",
                figure(e.expected)
            ),
        ),
        _ => (
            "spans",
            format!("{subject} is called {spans} times, never before"),
        ),
    };
    // Something new or gone is a hint; it is no fault in itself.
    let hint = matches!(e.kind, Kind::NewSpan | Kind::MissingSpan);
    let score = score_of(e.log_e) * if hint { 0.6 } else { 1.0 };
    let onset = call.onset.unwrap_or(at);
    scope.anomaly(Signal::Traces, e.kind, at, onset).with(
        subject,
        score,
        (e.observed, e.expected, unit),
        text,
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn feed(spans: &mut Spans, arm: Option<Arm>, name: &str, n: u64, micros: u64, errors: u64) {
        for i in 0..n {
            let error = i < errors;
            let micros = micros * (90 + i * 7 % 23) / 100;
            spans.add(&SpanView {
                at: Timestamp(i as i64),
                arm,
                operation: "POST /sync",
                name,
                micros,
                error,
            });
        }
    }

    #[test]
    fn slow_failing_new_and_missing_calls_are_found() {
        let mut spans = Spans::default();
        for (arm, n) in [
            (None, 400),
            (Some(Arm::Baseline), 20),
            (Some(Arm::Candidate), 300),
        ] {
            let bad = arm == Some(Arm::Candidate);
            feed(
                &mut spans,
                arm,
                "POST /sync",
                n,
                if bad { 60_000 } else { 20_000 },
                if bad { 90 } else { 0 },
            );
            feed(
                &mut spans,
                arm,
                "merge operations",
                n,
                if bad { 50_000 } else { 10_000 },
                0,
            );
            feed(&mut spans, arm, "write file", n, 5_000, 0);
            if bad {
                feed(&mut spans, arm, "replay log", n, 5_000, 0);
            } else {
                feed(&mut spans, arm, "check clock", n, 100, 0);
            }
        }
        let found = spans.anomalies(Timestamp(1_000), &Scope::default());
        let kinds: Vec<(Kind, &str)> = found.iter().map(|a| (a.kind, a.subject.as_str())).collect();
        for expected in [
            (Kind::FailingSpan, "POST /sync"),
            (Kind::SlowSpan, "POST /sync → merge operations"),
            (Kind::NewSpan, "POST /sync → replay log"),
            (Kind::MissingSpan, "POST /sync → check clock"),
        ] {
            assert!(kinds.contains(&expected), "{expected:?} in {kinds:?}");
        }
        assert!(
            !kinds.iter().any(|(_, subject)| subject.contains("write file")),
            "{kinds:?}"
        );
        assert!(
            found
                .iter()
                .all(|a| !a.text.is_empty() && (0.0..=1.0).contains(&a.score))
        );
    }

    #[test]
    fn the_same_spans_show_nothing() {
        let mut spans = Spans::default();
        for arm in [None, Some(Arm::Baseline), Some(Arm::Candidate)] {
            feed(&mut spans, arm, "POST /sync", 300, 20_000, 3);
            feed(&mut spans, arm, "merge", 300, 10_000, 0);
        }
        assert_eq!(spans.anomalies(Timestamp(0), &Scope::default()), vec![]);
    }

    #[test]
    fn the_number_of_calls_is_bounded() {
        let mut spans = Spans::default();
        let letter = |n: usize| ((b'a' + (n % 26) as u8) as char).to_string();
        for n in 0..2_000 {
            let name = format!("{}{}{}", letter(n), letter(n / 26), letter(n / 676));
            feed(&mut spans, None, &name, 1, 5, 0);
        }
        assert_eq!(spans.rejected(), 1_000);
    }
}
