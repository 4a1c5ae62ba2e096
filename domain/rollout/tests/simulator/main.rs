//! A seeded simulator: a rollout in a world in which everything goes wrong that can.
//!
//! Crashes between any two effects, answers lost and doubled, effects slow, hung, landing late or lying,
//! a clock that jumps, people who press twice and against each other. Whatever happens, no rollout ends
//! with traffic on a release that failed its gates, none stays half done, and each ends in time.
//!
//! A failing seed prints its story; `TRIMTAB_SEED=N` plays it alone. `TRIMTAB_SOAK_ROUNDS=200` is a hundred
//! thousand runs.
#![expect(clippy::unwrap_used, reason = "tests fail by panicking")]

mod control;
mod model;
mod plans;
mod play;
mod shell;
mod world;

use model::Model;
pub(crate) use play::Dice;
use play::play;

/// Runs in an ordinary test.
const RUNS: u64 = 10_000;
/// Runs for each round of a soak.
const RUNS_PER_ROUND: u64 = 500;

#[test]
fn soak_simulated_faults_leave_no_rollout_half_done() {
    if let Ok(seed) = std::env::var("TRIMTAB_SEED") {
        println!("{:?}", play(seed.parse().unwrap(), Model::new));
        return;
    }
    let rounds = std::env::var("TRIMTAB_SOAK_ROUNDS")
        .ok()
        .map(|rounds| rounds.parse::<u64>().unwrap());
    let runs = rounds.map_or(RUNS, |rounds| rounds * RUNS_PER_ROUND);
    let mut ends = std::collections::BTreeMap::<&str, u64>::new();
    for seed in 0..runs {
        match play(seed, Model::new) {
            Ok(end) => *ends.entry(end).or_default() += 1,
            Err(story) => panic!("{story}"),
        }
    }
    println!("{runs} runs: {ends:?}");
    // A simulator in which every rollout fails (or none does) would show nothing.
    for end in ["deployed", "flag disabled", "rolled back", "failed"] {
        assert!(ends.get(end).copied().unwrap_or(0) > runs / 50, "{ends:?}");
    }
}
