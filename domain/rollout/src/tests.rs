#![expect(clippy::unwrap_used, reason = "tests fail by panicking")]

mod flags;
mod golden;
mod search;
mod settings;
mod stories;
mod tables;

use trimtab_model::{Actor, Digest, IncidentId, RolloutId, Timestamp, Weight};

use crate::blue_green::BlueGreen;
use crate::canary::{Canary, CanaryStep};
use crate::direct::Direct;
use crate::flag::{Flag, FlagStep};
use crate::rolling::Rolling;
use crate::*;

pub(crate) fn blue_green() -> Plan {
    Plan {
        rollout: "rollout-2".parse().unwrap(),
        service: "blocks".parse().unwrap(),
        environment: "production".parse().unwrap(),
        run: Some("run-2".parse().unwrap()),
        candidate: "blocks-r2".parse().unwrap(),
        candidate_digest: Digest("ab".repeat(32)),
        baseline: Some("blocks-r1".parse().unwrap()),
        started_at: Timestamp(0),
        strategy: Strategy::BlueGreen(BlueGreen {
            test: true,
            holdback: Weight::from_percent(5.0).unwrap(),
            watch_ms: 30_000,
            drain_ms: 5000,
            decommission_after_ms: 2000,
            on_inconclusive: OnInconclusive::Extend,
            extensions_max: 1,
            on_regressed: OnRegressed::Protect,
        }),
        limits: Limits::default(),
        hooks: Hooks::default(),
        freezes: Vec::new(),
        group: None,
        before: None,
    }
}

fn percent(percent: f64) -> Weight {
    Weight::from_percent(percent).unwrap()
}

fn canary_step(weight: f64) -> CanaryStep {
    CanaryStep {
        weight: percent(weight),
        watch_ms: 60_000,
        gate: Gate::default(),
        requests_min: 50,
        on_inconclusive: OnInconclusive::Extend,
    }
}

pub(crate) fn canary() -> Plan {
    Plan {
        strategy: Strategy::Canary(Canary {
            test: false,
            steps: vec![canary_step(5.0), canary_step(25.0)],
            drain_ms: 5000,
            decommission_after_ms: 0,
            extensions_max: 1,
            on_regressed: OnRegressed::RollBack,
        }),
        ..blue_green()
    }
}

fn flag() -> Plan {
    let step = |share: f64, watch_ms: u64| FlagStep {
        share: percent(share),
        watch_ms,
        gate: Gate::default(),
        users_min: 50,
        on_inconclusive: OnInconclusive::Extend,
    };
    Plan {
        strategy: Strategy::Flag(Flag {
            key: "search".to_owned(),
            test: true,
            holdback: percent(5.0),
            watch_ms: 30_000,
            on_inconclusive: OnInconclusive::Pass,
            steps: vec![step(10.0, 60_000), step(50.0, 60_000), step(100.0, 0)],
            drain_ms: 5000,
            decommission_after_ms: 0,
            extensions_max: 1,
            on_regressed: OnRegressed::Protect,
        }),
        ..blue_green()
    }
}

fn with_flag(change: impl FnOnce(&mut Flag)) -> Plan {
    let mut plan = flag();
    if let Strategy::Flag(strategy) = &mut plan.strategy {
        change(strategy);
    }
    plan
}

fn with_canary(change: impl FnOnce(&mut Canary)) -> Plan {
    let mut plan = canary();
    if let Strategy::Canary(strategy) = &mut plan.strategy {
        change(strategy);
    }
    plan
}

fn rolling(instances: u32, surge_max: u32, unavailable_max: u32) -> Plan {
    Plan {
        strategy: Strategy::Rolling(Rolling {
            test: false,
            instances,
            baseline_instances: instances,
            surge_max,
            unavailable_max,
            ready_ms_min: 1000,
            progress_ms: 60_000,
            drain_ms: 5000,
            on_inconclusive: OnInconclusive::Pass,
            on_regressed: OnRegressed::RollBack,
        }),
        ..blue_green()
    }
}

fn with(change: impl FnOnce(&mut BlueGreen)) -> Plan {
    let mut plan = blue_green();
    if let Strategy::BlueGreen(strategy) = &mut plan.strategy {
        change(strategy);
    }
    plan
}

fn direct() -> Plan {
    Plan {
        strategy: Strategy::Direct(Direct { drain_ms: 5000 }),
        environment: "staging".parse().unwrap(),
        ..blue_green()
    }
}

fn first_release() -> Plan {
    Plan {
        baseline: None,
        ..blue_green()
    }
}

fn incident() -> IncidentId {
    "incident-1".parse().unwrap()
}

pub(crate) fn later(state: &State) -> Timestamp {
    Timestamp(state.since.0 + 100)
}

fn anna() -> Actor {
    Actor("anna".to_owned())
}

fn outcome(good: bool) -> Outcome {
    if good {
        Outcome::Done
    } else {
        Outcome::Failed {
            reason: "no".to_owned(),
        }
    }
}

/// The events that `effect` may be answered with, the good one first.
pub(crate) fn answers(effect: &Effect, at: Timestamp) -> Vec<Event> {
    let both = |make: &dyn Fn(Outcome) -> Event| vec![make(outcome(true)), make(outcome(false))];
    match effect.clone() {
        Effect::RunHook { hook, generation } => both(&|outcome| Event::HookRan {
            at,
            hook,
            generation,
            outcome,
            said: None,
        }),
        Effect::StartInstances {
            release, generation, ..
        } => both(&|outcome| Event::Started {
            at,
            release: release.clone(),
            generation,
            outcome,
        }),
        Effect::Test { generation, .. } => both(&|outcome| Event::Tested {
            at,
            generation,
            outcome,
        }),
        Effect::ShiftTraffic { generation, .. } => both(&|outcome| Event::Shifted {
            at,
            generation,
            outcome,
        }),
        Effect::SetFlag { generation, .. } => both(&|outcome| Event::FlagSet {
            at,
            generation,
            outcome,
        }),
        Effect::CheckHealth { generation, .. } => both(&|outcome| Event::HealthChecked {
            at,
            generation,
            outcome,
        }),
        Effect::Quarantine { generation, .. } => both(&|outcome| Event::Quarantined {
            at,
            generation,
            outcome,
        }),
        Effect::StopInstances {
            release, generation, ..
        } => both(&|outcome| Event::Stopped {
            at,
            release: release.clone(),
            generation,
            outcome,
        }),
        Effect::Observe {
            generation, round, ..
        } => {
            let reason = "errors".to_owned();
            [
                Verdict::Healthy,
                Verdict::regressed(reason.clone()),
                Verdict::inconclusive(reason),
            ]
            .map(|verdict| Event::Observed {
                at,
                generation,
                round,
                verdict,
            })
            .into()
        }
        Effect::AskPerson { .. } => vec![Event::Promoted { at, by: anna() }],
        Effect::Drain {
            release, generation, ..
        } => vec![Event::Drained {
            at,
            release,
            generation,
            in_flight: 0,
        }],
        Effect::Notify { what, generation } => vec![Event::Notified { at, what, generation }],
        Effect::Timer {
            name, generation, at, ..
        } => vec![Event::TimerFired { at, name, generation }],
    }
}

/// What people and other machines may say at any time.
fn commands(at: Timestamp) -> Vec<Event> {
    let (by, reason) = (anna(), "errors".to_owned());
    vec![
        Event::Paused { at, by: by.clone() },
        Event::Resumed { at, by: by.clone() },
        Event::Promoted { at, by: by.clone() },
        Event::Aborted { at, by: by.clone() },
        Event::RolledBack {
            at,
            by: by.clone(),
            reason: reason.clone(),
        },
        Event::Protected {
            at,
            incident: incident(),
            reason: reason.clone(),
        },
        Event::Condemned {
            at,
            incident: incident(),
            reason: reason.clone(),
        },
        Event::Cleared {
            at,
            incident: incident(),
            by,
            reason,
        },
        Event::Superseded {
            at,
            by: RolloutId::new("rollout-9").unwrap(),
        },
        Event::Approved {
            at,
            by: anna(),
            step: 0,
        },
        Event::Restarted { at, by: anna() },
        Event::Retried { at, by: anna() },
        Event::Approved {
            at,
            by: anna(),
            step: 1,
        },
    ]
}

fn is_timer(effect: &Effect) -> bool {
    matches!(effect, Effect::Timer { .. })
}
