#![expect(clippy::unwrap_used, reason = "tests fail by panicking")]

use serde_json::json;

use super::*;

fn subject() -> Subject {
    Subject {
        rollout: RolloutId::new("rollout-4").unwrap(),
        place: (
            ServiceName::new("blocks").unwrap(),
            EnvironmentName::new("production").unwrap(),
        ),
        candidate: ReleaseId::new("blocks-r2").unwrap(),
        baseline: Some(ReleaseId::new("blocks-r1").unwrap()),
    }
}

fn frame(sequence: u64) -> Frame {
    let cell = |arm: &str, release: &str, requests: u64| {
        let mut latency = trimtab_model::LatencyHistogram::default();
        for _ in 0..requests {
            latency.record(1_000 + sequence);
        }
        json!({
            "service": "blocks", "environment": "production", "release": release, "arm": arm,
            "rollout": "rollout-4", "weight": 5_000, "operation": "GET /", "requests": requests,
            "errors": sequence % 2, "client_errors": 0, "latency": latency
        })
    };
    serde_json::from_value(json!({
        "format": 1, "sequence": sequence, "at": 1_000_000 + 200 * sequence, "interval_ms": 200, "requests": [],
        "cells": [cell("baseline", "blocks-r1", 5), cell("candidate", "blocks-r2", 4)]
    }))
    .unwrap()
}

fn begun(dir: &Path) -> Evidence {
    let evidence = Evidence::new(dir);
    evidence.begin(subject(), Config::default(), Panel::default(), Vec::new());
    evidence
}

fn counted(evidence: &Evidence) -> (Verdict, usize) {
    let rollout = subject().rollout;
    let batches = evidence.episode(&rollout).unwrap().batches.len();
    (evidence.verdict(&rollout).unwrap(), batches)
}

/// Control acknowledges frames after it saved; killed between the two it gets them again.
#[test]
fn frames_that_come_again_after_a_kill_are_counted_once() {
    let whole = {
        let folder = tempfile::tempdir().unwrap();
        let evidence = begun(folder.path());
        (1..=12).for_each(|sequence| evidence.take_frame(&frame(sequence)));
        counted(&evidence)
    };
    assert_eq!(whole.1, 12);
    for saved in 0..=12 {
        let folder = tempfile::tempdir().unwrap();
        {
            let evidence = begun(folder.path());
            for sequence in 1..=saved {
                evidence.take_frame(&frame(sequence));
                evidence.save().unwrap();
            }
            // Seen, and not saved when it was killed.
            evidence.take_frame(&frame(saved + 1));
        }
        let evidence = begun(folder.path());
        // The mark may be as far behind as the first frame.
        (1..=12).for_each(|sequence| evidence.take_frame(&frame(sequence)));
        assert_eq!(counted(&evidence), whole, "saved through {saved}");
    }
}

#[test]
fn a_first_release_is_counted_though_nothing_is_beside_it() {
    let folder = tempfile::tempdir().unwrap();
    let evidence = Evidence::new(folder.path());
    let first = Subject {
        baseline: None,
        candidate: ReleaseId::new("blocks-r1").unwrap(),
        ..subject()
    };
    evidence.begin(first, Config::default(), Panel::default(), Vec::new());
    // To the proxy it is the baseline: the only arm.
    let mut frame = frame(1);
    frame.cells.truncate(1);
    frame.cells[0].weight = Weight::ZERO;
    evidence.take_frame(&frame);
    let verdict = evidence.verdict(&subject().rollout).unwrap();
    assert_eq!(
        verdict.reason,
        "a first release: there is nothing to compare it with; 1 of its 5 requests failed"
    );
    evidence.save().unwrap();
    let kept = evidence.kept(&subject().rollout).unwrap();
    assert_eq!(
        (kept.arms.candidate.requests, kept.arms.baseline.requests),
        (5, 0)
    );
    assert_eq!(kept.verdict.reason, verdict.reason);
}
