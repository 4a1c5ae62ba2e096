//! Plans of every strategy, with settings drawn.

use trimtab_model::{Digest, Timestamp, Weight};
use trimtab_rollout::blue_green::BlueGreen;
use trimtab_rollout::canary::{Canary, CanaryStep};
use trimtab_rollout::direct::Direct;
use trimtab_rollout::flag::{Flag, FlagStep};
use trimtab_rollout::rolling::Rolling;
use trimtab_rollout::{Freeze, Gate, Hooks, Limits, OnInconclusive, OnRegressed, Plan, Strategy};

use crate::Dice;

/// Instances of either release.
pub(crate) const INSTANCES: u32 = 3;

fn percent(percent: f64) -> Weight {
    Weight::from_percent(percent).unwrap()
}

fn on_inconclusive(dice: &mut Dice) -> OnInconclusive {
    dice.pick(&[
        OnInconclusive::Pass,
        OnInconclusive::Extend,
        OnInconclusive::Ask,
        OnInconclusive::RollBack,
        OnInconclusive::Report,
    ])
}

fn strategy(dice: &mut Dice) -> Strategy {
    let on_regressed = dice.pick(&[
        OnRegressed::Protect,
        OnRegressed::RollBack,
        OnRegressed::Ask,
        OnRegressed::Extend,
        OnRegressed::Report,
    ]);
    match dice.below(9) {
        0 => Strategy::Direct(Direct { drain_ms: 5000 }),
        1 | 2 => Strategy::BlueGreen(BlueGreen {
            test: dice.chance(500),
            holdback: percent(dice.pick(&[0.0, 5.0])),
            watch_ms: 30_000,
            drain_ms: 5000,
            decommission_after_ms: dice.pick(&[0, 2000]),
            on_inconclusive: on_inconclusive(dice),
            extensions_max: 2,
            on_regressed,
        }),
        3 | 4 => {
            let steps = [5.0, 25.0, 50.0].map(|weight| CanaryStep {
                weight: percent(weight),
                watch_ms: dice.pick(&[0, 60_000]),
                gate: Gate {
                    job: dice.chance(200),
                    approval: dice.chance(100),
                    hold_ms: dice.pick(&[0, 0, 60_000]),
                },
                requests_min: 10,
                on_inconclusive: on_inconclusive(dice),
            });
            Strategy::Canary(Canary {
                test: dice.chance(500),
                steps: steps.into(),
                drain_ms: 5000,
                decommission_after_ms: dice.pick(&[0, 2000]),
                extensions_max: 1,
                on_regressed,
            })
        }
        5 | 6 => Strategy::Flag(Flag {
            key: "search".to_owned(),
            test: dice.chance(500),
            holdback: percent(dice.pick(&[0.0, 5.0])),
            watch_ms: dice.pick(&[0, 30_000]),
            on_inconclusive: on_inconclusive(dice),
            steps: [10.0, 50.0, 100.0]
                .map(|share| FlagStep {
                    share: percent(share),
                    watch_ms: dice.pick(&[0, 60_000]),
                    gate: Gate {
                        job: dice.chance(200),
                        approval: dice.chance(100),
                        hold_ms: dice.pick(&[0, 0, 60_000]),
                    },
                    users_min: 10,
                    on_inconclusive: on_inconclusive(dice),
                })
                .into(),
            drain_ms: 5000,
            decommission_after_ms: dice.pick(&[0, 2000]),
            extensions_max: 1,
            on_regressed,
        }),
        _ => Strategy::Rolling(Rolling {
            test: false,
            instances: INSTANCES,
            baseline_instances: INSTANCES,
            surge_max: dice.pick(&[0, 1, 2]),
            unavailable_max: dice.pick(&[0, 1, 2]),
            ready_ms_min: dice.pick(&[0, 5000]),
            progress_ms: 60_000,
            drain_ms: 5000,
            on_inconclusive: OnInconclusive::Pass,
            on_regressed: OnRegressed::RollBack,
        }),
    }
}

/// Any plan.
pub(crate) fn any(dice: &mut Dice) -> Plan {
    let freezes = if dice.chance(100) {
        vec![Freeze {
            from: Timestamp(20_000),
            until: Timestamp(3_600_000),
        }]
    } else {
        Vec::new()
    };
    Plan {
        rollout: "rollout-2".parse().unwrap(),
        service: "notes".parse().unwrap(),
        environment: "production".parse().unwrap(),
        run: None,
        candidate: "notes-r2".parse().unwrap(),
        candidate_digest: Digest("ab".repeat(32)),
        baseline: (!dice.chance(100)).then(|| "notes-r1".parse().unwrap()),
        started_at: Timestamp(0),
        strategy: strategy(dice),
        limits: Limits::default(),
        hooks: Hooks {
            before: dice.chance(100),
            expand: dice.chance(100),
            contract: dice.chance(100),
            after: dice.chance(100),
        },
        freezes,
        group: None,
        before: None,
    }
}
