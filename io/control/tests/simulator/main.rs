//! The real host of machines, with a real journal, in the simulated world of `domain/rollout`'s simulator.
//!
//! Crashes are real ones: the host's tasks are dropped where they stand, also in the middle of an append, and another
//! host reads the journal. After each event the host must stand where the machine says, and carry out what is owed,
//! all of it, once. Time passes in the world only, so that a run takes milliseconds.
//!
//! A failing seed prints its story; `TRIMTAB_SEED=N` plays it alone. `TRIMTAB_SOAK_ROUNDS=200` is ten thousand runs.
#![expect(clippy::unwrap_used, reason = "tests fail by panicking")]

#[path = "../../../../domain/rollout/tests/simulator/control.rs"]
mod control;
mod hosted;
#[path = "../../../../domain/rollout/tests/simulator/plans.rs"]
mod plans;
#[path = "../../../../domain/rollout/tests/simulator/play.rs"]
mod play;
#[path = "../../../../domain/rollout/tests/simulator/shell.rs"]
mod shell;
#[path = "../../../../domain/rollout/tests/simulator/world.rs"]
mod world;

use hosted::Hosted;
pub(crate) use play::Dice;
use play::play;

/// Runs in an ordinary test.
const RUNS: u64 = 300;
/// Runs for each round of a soak.
const RUNS_PER_ROUND: u64 = 50;

#[test]
fn soak_the_real_host_survives_simulated_faults() {
    if let Ok(seed) = std::env::var("TRIMTAB_SEED") {
        println!("{:?}", play(seed.parse().unwrap(), Hosted::new));
        return;
    }
    let rounds = std::env::var("TRIMTAB_SOAK_ROUNDS")
        .ok()
        .map(|rounds| rounds.parse::<u64>().unwrap());
    let runs = rounds.map_or(RUNS, |rounds| rounds * RUNS_PER_ROUND);
    let mut ends = std::collections::BTreeMap::<&str, u64>::new();
    for seed in 0..runs {
        match play(seed, Hosted::new) {
            Ok(end) => *ends.entry(end).or_default() += 1,
            Err(story) => panic!("{story}"),
        }
    }
    println!("{runs} runs: {ends:?}");
    for end in ["deployed", "rolled back", "failed"] {
        assert!(ends.get(end).copied().unwrap_or(0) > runs / 50, "{ends:?}");
    }
}
