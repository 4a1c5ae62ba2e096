//! A seeded simulator: a rollout in a world in which everything goes wrong that can.
//!
//! Crashes between any two effects, answers lost and doubled, effects slow, hung, landing late or lying,
//! a clock that jumps, people who press twice and against each other. Whatever happens, no rollout ends
//! with traffic on a release that failed its gates, none stays half done, and each ends in time.
//!
//! A failing seed prints its story; `TRIMTAB_SEED=N` plays it alone. `TRIMTAB_SOAK_ROUNDS=200` is a hundred
//! thousand runs.
#![expect(clippy::unwrap_used, reason = "tests fail by panicking")]

mod plans;
mod shell;
mod world;

use shell::Shell;

/// Runs in an ordinary test.
const RUNS: u64 = 10_000;
/// Runs for each round of a soak.
const RUNS_PER_ROUND: u64 = 500;
/// The last lines of a story that are printed.
const LINES_SHOWN: usize = 60;

/// splitmix64.
pub(crate) struct Dice(u64);

impl Dice {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    pub(crate) fn below(&mut self, limit: u64) -> u64 {
        self.next() % limit.max(1)
    }

    pub(crate) fn chance(&mut self, per_mille: u64) -> bool {
        self.below(1000) < per_mille
    }

    pub(crate) fn pick<T: Clone>(&mut self, from: &[T]) -> T {
        from[usize::try_from(self.below(from.len() as u64)).unwrap()].clone()
    }
}

fn play(seed: u64) -> Result<&'static str, String> {
    let mut dice = Dice(seed.wrapping_mul(0x2545_f491_4f6c_dd1d));
    let plan = plans::any(&mut dice);
    let mut shell = Shell::new(plan, dice);
    shell.run().map_err(|wrong| {
        let story = shell.story();
        let from = story.len().saturating_sub(LINES_SHOWN);
        format!(
            "seed {seed}: {wrong}\n{:?}\n{}\nTRIMTAB_SEED={seed} plays it again",
            shell.plan().strategy,
            story[from..].join("\n")
        )
    })
}

#[test]
fn soak_simulated_faults_leave_no_rollout_half_done() {
    if let Ok(seed) = std::env::var("TRIMTAB_SEED") {
        println!("{:?}", play(seed.parse().unwrap()));
        return;
    }
    let rounds = std::env::var("TRIMTAB_SOAK_ROUNDS")
        .ok()
        .map(|rounds| rounds.parse::<u64>().unwrap());
    let runs = rounds.map_or(RUNS, |rounds| rounds * RUNS_PER_ROUND);
    let mut ends = std::collections::BTreeMap::<&str, u64>::new();
    for seed in 0..runs {
        match play(seed) {
            Ok(end) => *ends.entry(end).or_default() += 1,
            Err(story) => panic!("{story}"),
        }
    }
    println!("{runs} runs: {ends:?}");
    // A simulator in which every rollout fails (or none does) would show nothing.
    for end in ["deployed", "rolled back", "failed"] {
        assert!(ends.get(end).copied().unwrap_or(0) > runs / 50, "{ends:?}");
    }
}
