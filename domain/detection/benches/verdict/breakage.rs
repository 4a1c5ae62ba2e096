//! A release that fails half its requests: what it costs until it is called.

use trimtab_detection::verdict::Config;

use crate::detect::play;
use crate::report::Report;
use crate::stream::{Behaviour, World};

/// Candidate requests at each weight over each rate of the baseline, with the previous release's past as it
/// is in every rollout but a service's first, and without.
pub(crate) fn run(report: &mut Report, runs: u64) {
    report.heading(
        "half of the candidate's requests fail: its requests until the call, mean and 95th percentile",
    );
    for past in [true, false] {
        for (percent, w) in [
            ("1", 0.01),
            ("5", 0.05),
            ("10", 0.1),
            ("25", 0.25),
            ("50", 0.5),
            ("95", 0.95),
        ] {
            for (name, a) in [("0", 0.0), ("01", 0.001), ("1", 0.01)] {
                let world = World {
                    // One request or so a batch.
                    requests_per_second: 20.0,
                    frame_ms: 50,
                    latencies: false,
                    weight: &|_| w,
                    baseline: &|_| Behaviour::failing(a),
                    candidate: &|_| Behaviour::failing(0.5),
                };
                let found = play(&Config::default(), &world, past, 2_000.0, runs);
                let known = if past { "past" } else { "no_past" };
                let key = format!("verdict_half_{known}_{name}_percent_base_at_{percent}");
                report.figure(&format!("{key}_candidate_requests"), found.candidate);
                report.figure(&format!("{key}_p95_candidate_requests"), found.candidate_p95);
                report.row(&[
                    format!("{known}, base {name}, at {percent} %"),
                    format!("{:.1}", found.candidate),
                    format!("{:.0}", found.candidate_p95),
                    format!("{:.1} %", found.called * 100.0),
                ]);
            }
        }
    }
}
