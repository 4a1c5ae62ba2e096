//! What a batch costs the processor.

use std::time::Instant;

use fastrand::Rng;
use trimtab_detection::verdict::{Batch, Config, Judge};

use crate::report::Report;
use crate::stream::{Behaviour, World};

pub(crate) fn run(report: &mut Report, _: u64) {
    report.heading("processor time for a batch of a fifth of a second, and for a verdict in words");
    for (name, requests_per_second) in [("20", 20.0), ("2000", 2_000.0)] {
        let world = World {
            requests_per_second,
            frame_ms: 200,
            latencies: true,
            weight: &|_| 0.05,
            baseline: &|_| Behaviour::failing(0.01),
            candidate: &|_| Behaviour::failing(0.01),
        };
        let mut random = Rng::with_seed(5);
        let past = world.past(10, 600, &mut random);
        let batches: Vec<Batch> = (1..=1_000).map(|n| world.frame(n, &mut random)).collect();
        let mut judge = Judge::new(Config::default(), Some(past));
        let started = Instant::now();
        batches.iter().for_each(|batch| judge.add(batch));
        let batch = started.elapsed().as_nanos() as f64 / batches.len() as f64;
        let started = Instant::now();
        let length: usize = (0..200).map(|_| judge.verdict().reason.len()).sum();
        let verdict = started.elapsed().as_nanos() as f64 / 200.0;
        report.figure(&format!("verdict_batch_at_{name}_rps_ns"), batch);
        report.figure(&format!("verdict_in_words_at_{name}_rps_ns"), verdict);
        report.row(&[
            format!("{name} rps"),
            format!("{batch:.0} ns a batch"),
            format!("{verdict:.0} ns a verdict"),
            format!("{} letters", length / 200),
        ]);
    }
}
