//! Stories of canary and rolling rollouts, and of what all strategies share.

use insta::assert_snapshot;

use super::tables::*;
use super::*;

fn approved(step: usize) -> Happening {
    Box::new(move |_, state| Event::Approved {
        at: later(state),
        by: anna(),
        step,
    })
}

fn restarted() -> Happening {
    command(10)
}

/// One step up to its verdict: shifted, checked.
fn at_step() -> Vec<Happening> {
    vec![good(), good()]
}

#[test]
fn a_good_canary_goes_from_5_to_25_to_100() {
    let mut story = vec![good()];
    for _ in 0..2 {
        story.extend(then(at_step(), vec![healthy()]));
    }
    story.extend(vec![good(), good(), good(), good(), good()]);
    assert_snapshot!(play(&canary(), &story), @"
    starting the candidate [start blocks-r2]
    shifting 5 % to the candidate [shift 5 %]
    checking health at 5 % [check health, observe 0]
    watching at 5 % []
    shifting 25 % to the candidate [shift 25 %, observe 1]
    checking health at 25 % [check health, observe 2]
    watching at 25 % []
    shifting 100 % to the candidate [shift 100 %, observe 3]
    checking health at 100 % [check health]
    draining the baseline [drain blocks-r1]
    stopping the baseline [stop blocks-r1]
    deployed; telling the team [notify Deployed]
    deployed []
    ");
}

#[test]
fn a_bad_canary_is_rolled_back_at_5() {
    let story = then(
        then(vec![good()], at_step()),
        vec![regressed(), good(), good(), good(), good(), good()],
    );
    assert_snapshot!(play(&canary(), &story), @"
    starting the candidate [start blocks-r2]
    shifting 5 % to the candidate [shift 5 %]
    checking health at 5 % [check health, observe 0]
    watching at 5 % []
    taking traffic off the candidate (regression: errors 0.1 -> 12 %) [shift 0 %]
    draining the candidate (regression: errors 0.1 -> 12 %) [drain blocks-r2]
    quarantining the candidate (regression: errors 0.1 -> 12 %) [quarantine]
    stopping the candidate (regression: errors 0.1 -> 12 %) [stop blocks-r2]
    rolled back: regression: errors 0.1 -> 12 %; telling the team [notify RolledBack]
    rolled back: regression: errors 0.1 -> 12 % []
    ");
}

#[test]
fn a_canary_that_regresses_at_25_is_rolled_back() {
    let mut story = then(vec![good()], at_step());
    story.extend(then(vec![healthy()], at_step()));
    story.extend(vec![regressed(), good()]);
    assert_snapshot!(play(&canary(), &story), @"
    starting the candidate [start blocks-r2]
    shifting 5 % to the candidate [shift 5 %]
    checking health at 5 % [check health, observe 0]
    watching at 5 % []
    shifting 25 % to the candidate [shift 25 %, observe 1]
    checking health at 25 % [check health, observe 2]
    watching at 25 % []
    taking traffic off the candidate (regression: errors 0.1 -> 12 %) [shift 0 %]
    draining the candidate (regression: errors 0.1 -> 12 %) [drain blocks-r2]
    ");
}

#[test]
fn low_traffic_extends_a_canary_step_and_then_asks() {
    let story = then(
        then(vec![good()], at_step()),
        vec![inconclusive(), inconclusive(), approved(1), approved(0), good()],
    );
    assert_snapshot!(play(&canary(), &story), @"
    starting the candidate [start blocks-r2]
    shifting 5 % to the candidate [shift 5 %]
    checking health at 5 % [check health, observe 0]
    watching at 5 % []
    watching at 5 % [observe 1]
    waiting for a person at 5 %: 12 requests [ask, observe 2, notify Asked]
    waiting for a person at 5 %: 12 requests []
    shifting 25 % to the candidate [shift 25 %]
    checking health at 25 % [check health, observe 3]
    ");
}

#[test]
fn gates_stand_between_two_steps_in_order() {
    let plan = with_canary(|strategy| {
        strategy.steps[0].gate = Gate {
            job: true,
            approval: true,
            hold_ms: 60_000,
        };
    });
    let mut story = then(vec![good()], at_step());
    story.extend(vec![healthy(), good(), approved(0), timer(), good()]);
    assert_snapshot!(play(&plan, &story), @"
    starting the candidate [start blocks-r2]
    shifting 5 % to the candidate [shift 5 %]
    checking health at 5 % [check health, observe 0]
    watching at 5 % []
    running the job after step 1 [run the job after step 1, observe 1]
    waiting for an approval at 5 % [ask, notify Approval]
    holding at 5 % []
    shifting 25 % to the candidate [shift 25 %]
    checking health at 25 % [check health, observe 2]
    ");
    let mut story = then(vec![good()], at_step());
    story.extend(vec![healthy(), bad(), good(), good(), good(), good()]);
    assert_snapshot!(play(&plan, &story), @"
    starting the candidate [start blocks-r2]
    shifting 5 % to the candidate [shift 5 %]
    checking health at 5 % [check health, observe 0]
    watching at 5 % []
    running the job after step 1 [run the job after step 1, observe 1]
    taking traffic off the candidate (gate failed: the job after step 1: no) [shift 0 %]
    draining the candidate (gate failed: the job after step 1: no) [drain blocks-r2]
    stopping the candidate (gate failed: the job after step 1: no) [stop blocks-r2]
    rolled back: gate failed: the job after step 1: no; telling the team [notify RolledBack]
    rolled back: gate failed: the job after step 1: no []
    ");
    // The guard works while a person is waited for.
    let mut story = then(vec![good()], at_step());
    story.extend(vec![healthy(), good(), regressed()]);
    assert_snapshot!(play(&plan, &story), @"
    starting the candidate [start blocks-r2]
    shifting 5 % to the candidate [shift 5 %]
    checking health at 5 % [check health, observe 0]
    watching at 5 % []
    running the job after step 1 [run the job after step 1, observe 1]
    waiting for an approval at 5 % [ask, notify Approval]
    taking traffic off the candidate (regression: errors 0.1 -> 12 %) [shift 0 %]
    ");
}

#[test]
fn shadow_mode_only_says_what_it_would_have_done() {
    let plan = with_canary(|strategy| strategy.on_regressed = OnRegressed::Report);
    let mut story = then(vec![good()], at_step());
    story.extend(vec![regressed(), regressed(), timer()]);
    assert_snapshot!(play(&plan, &story), @"
    starting the candidate [start blocks-r2]
    shifting 5 % to the candidate [shift 5 %]
    checking health at 5 % [check health, observe 0]
    watching at 5 % []
    watching at 5 % [observe 1, notify WouldRollBack]
    watching at 5 % []
    shifting 25 % to the candidate [shift 25 %, observe 2]
    ");
}

#[test]
fn a_regression_may_be_asked_about() {
    let plan = with_canary(|strategy| strategy.on_regressed = OnRegressed::Ask);
    let mut story = then(vec![good()], at_step());
    story.extend(vec![regressed(), timer()]);
    assert_snapshot!(play(&plan, &story), @"
    starting the candidate [start blocks-r2]
    shifting 5 % to the candidate [shift 5 %]
    checking health at 5 % [check health, observe 0]
    watching at 5 % []
    waiting for a person at 5 %: regression: errors 0.1 -> 12 % [ask, observe 1, notify Asked]
    taking traffic off the candidate (regression: errors 0.1 -> 12 %, and nobody answered in time) [shift 0 %]
    ");
}

#[test]
fn a_regression_may_be_watched_as_long_again_and_then_asked_about() {
    let plan = with_canary(|strategy| strategy.on_regressed = OnRegressed::Extend);
    let mut story = then(vec![good()], at_step());
    story.extend(vec![regressed(), regressed(), timer()]);
    assert_snapshot!(play(&plan, &story), @"
    starting the candidate [start blocks-r2]
    shifting 5 % to the candidate [shift 5 %]
    checking health at 5 % [check health, observe 0]
    watching at 5 % []
    watching at 5 % as long again: regression: errors 0.1 -> 12 % [observe 1]
    waiting for a person at 5 %: regression: errors 0.1 -> 12 % [ask, observe 2, notify Asked]
    taking traffic off the candidate (regression: errors 0.1 -> 12 %, and nobody answered in time) [shift 0 %]
    ");
    // What clears meanwhile goes on.
    let mut story = then(vec![good()], at_step());
    story.extend(vec![regressed(), healthy()]);
    assert_snapshot!(play(&plan, &story), @"
    starting the candidate [start blocks-r2]
    shifting 5 % to the candidate [shift 5 %]
    checking health at 5 % [check health, observe 0]
    watching at 5 % []
    watching at 5 % as long again: regression: errors 0.1 -> 12 % [observe 1]
    shifting 25 % to the candidate [shift 25 %, observe 2]
    ");
}

#[test]
fn an_absence_clears_no_regression() {
    let plan = with_canary(|strategy| {
        strategy.on_regressed = OnRegressed::Extend;
        strategy.steps[0].on_inconclusive = OnInconclusive::Pass;
    });
    let mut story = then(vec![good()], at_step());
    story.extend(vec![
        regressed(),
        inconclusive(),
        approved(0),
        good(),
        good(),
        regressed(),
    ]);
    assert_snapshot!(play(&plan, &story), @"
    starting the candidate [start blocks-r2]
    shifting 5 % to the candidate [shift 5 %]
    checking health at 5 % [check health, observe 0]
    watching at 5 % []
    watching at 5 % as long again: regression: errors 0.1 -> 12 % [observe 1]
    waiting for a person at 5 %: regression: errors 0.1 -> 12 %, and the longer watch does not clear it: 12 requests [ask, observe 2, notify Asked]
    shifting 25 % to the candidate [shift 25 %]
    checking health at 25 % [check health, observe 3]
    watching at 25 % []
    watching at 25 % []
    ");
}

#[test]
fn who_promotes_over_a_regression_is_not_asked_again() {
    let plan = with_canary(|strategy| strategy.on_regressed = OnRegressed::Ask);
    let mut story = then(vec![good()], at_step());
    story.extend(vec![regressed(), promoted(), regressed(), good()]);
    assert_snapshot!(play(&plan, &story), @"
    starting the candidate [start blocks-r2]
    shifting 5 % to the candidate [shift 5 %]
    checking health at 5 % [check health, observe 0]
    watching at 5 % []
    waiting for a person at 5 %: regression: errors 0.1 -> 12 % [ask, observe 1, notify Asked]
    shifting the rest [shift 100 %]
    shifting the rest []
    draining the baseline [drain blocks-r1]
    ");
}

#[test]
fn a_freeze_holds_traffic_and_a_person_may_break_it() {
    let plan = Plan {
        freezes: vec![Freeze {
            from: Timestamp(0),
            until: Timestamp(90_000),
        }],
        ..canary()
    };
    assert_snapshot!(play(&plan, &[good(), timer(), good(), good(), healthy(), good()]), @"
    starting the candidate [start blocks-r2]
    held at 0 % by a freeze []
    shifting 5 % to the candidate [shift 5 %]
    checking health at 5 % [check health, observe 0]
    watching at 5 % []
    shifting 25 % to the candidate [shift 25 %, observe 1]
    checking health at 25 % [check health, observe 2]
    ");
    assert_snapshot!(play(&plan, &[good(), promoted()]), @"
    starting the candidate [start blocks-r2]
    held at 0 % by a freeze []
    shifting 5 % to the candidate [shift 5 %]
    ");
}

#[test]
fn migrations_expand_before_and_contract_after_and_nothing_leads_back() {
    let plan = Plan {
        hooks: Hooks {
            before: true,
            expand: true,
            contract: true,
            after: true,
        },
        ..direct()
    };
    let story = [
        good(),
        good(),
        good(),
        good(),
        good(),
        good(),
        good(),
        aborted(),
        condemned(),
        good(),
        good(),
        good(),
        good(),
    ];
    assert_snapshot!(play(&plan, &story), @"
    running the hook before the rollout [run the hook before the rollout]
    running the migration that expands [run the migration that expands]
    starting the candidate [start blocks-r2]
    shifting 100 % to the candidate [shift 100 %]
    checking health at 100 % [check health]
    draining the baseline [drain blocks-r1]
    stopping the baseline [stop blocks-r1]
    running the migration that contracts [run the migration that contracts]
    running the migration that contracts [notify CannotRollBack]
    running the migration that contracts []
    running the hook after the rollout [run the hook after the rollout]
    deployed; telling the team [notify Deployed]
    deployed; telling the team []
    deployed []
    ");
    assert_snapshot!(play(&plan, &[good(), bad(), good(), good()]), @"
    running the hook before the rollout [run the hook before the rollout]
    running the migration that expands [run the migration that expands]
    stopping the candidate (hook failed: the migration that expands: no) [stop blocks-r2]
    failed: hook failed: the migration that expands: no; telling the team [notify Failed]
    failed: hook failed: the migration that expands: no []
    ");
}

#[test]
fn a_restart_begins_anew_off_traffic() {
    let story = then(
        then(vec![good()], at_step()),
        vec![healthy(), good(), restarted(), good(), good()],
    );
    assert_snapshot!(play(&canary(), &story), @"
    starting the candidate [start blocks-r2]
    shifting 5 % to the candidate [shift 5 %]
    checking health at 5 % [check health, observe 0]
    watching at 5 % []
    shifting 25 % to the candidate [shift 25 %, observe 1]
    checking health at 25 % [check health, observe 2]
    taking traffic off the candidate (restarted by anna) [shift 0 %]
    starting the candidate [start blocks-r2]
    shifting 5 % to the candidate [shift 5 %]
    ");
}

#[test]
fn a_good_rolling_update_replaces_one_instance_at_a_time() {
    let mut story = vec![good()];
    for _ in 0..2 {
        story.extend(vec![good(), good(), good(), good(), good(), healthy()]);
    }
    story.extend(vec![good(), good(), good()]);
    assert_snapshot!(play(&rolling(2, 1, 0), &story), @"
    starting the candidate [start 1 of blocks-r2]
    starting instances of the candidate (0 new and 2 old serve) [start 1 of blocks-r2]
    shifting 50 % to the candidate [shift 50 %]
    checking health at 50 % [check health, observe 0]
    draining instances of the baseline (1 new and 1 old serve) [drain all but 1 of blocks-r1]
    stopping instances of the baseline (1 new and 1 old serve) [stop all but 1 of blocks-r1]
    watching at 50 % []
    starting instances of the candidate (1 new and 1 old serve) [start 2 of blocks-r2, observe 1]
    shifting 100 % to the candidate [shift 100 %]
    checking health at 100 % [check health, observe 2]
    draining instances of the baseline (2 new and 0 old serve) [drain all but 0 of blocks-r1]
    stopping instances of the baseline (2 new and 0 old serve) [stop all but 0 of blocks-r1]
    watching at 100 % []
    draining the baseline [drain blocks-r1]
    stopping the baseline [stop blocks-r1]
    deployed; telling the team [notify Deployed]
    deployed []
    ");
}

#[test]
fn an_unhealthy_batch_rolls_back_what_was_updated() {
    let mut story = vec![good()];
    story.extend(vec![good(), good(), good(), good(), good(), healthy()]);
    story.extend(vec![good(), good(), bad()]);
    story.extend(vec![good(), good(), good(), good(), good(), good()]);
    assert_snapshot!(play(&rolling(3, 1, 0), &story), @"
    starting the candidate [start 1 of blocks-r2]
    starting instances of the candidate (0 new and 3 old serve) [start 1 of blocks-r2]
    shifting 33.33 % to the candidate [shift 33.33 %]
    checking health at 33.33 % [check health, observe 0]
    draining instances of the baseline (1 new and 2 old serve) [drain all but 2 of blocks-r1]
    stopping instances of the baseline (1 new and 2 old serve) [stop all but 2 of blocks-r1]
    watching at 33.33 % []
    starting instances of the candidate (1 new and 2 old serve) [start 2 of blocks-r2, observe 1]
    shifting 66.66 % to the candidate [shift 66.66 %]
    checking health at 66.66 % [check health, observe 2]
    starting the baseline again (unhealthy: no) [start blocks-r1]
    taking traffic off the candidate (unhealthy: no) [shift 0 %]
    draining the candidate (unhealthy: no) [drain blocks-r2]
    quarantining the candidate (unhealthy: no) [quarantine]
    stopping the candidate (unhealthy: no) [stop blocks-r2]
    rolled back: unhealthy: no; telling the team [notify RolledBack]
    rolled back: unhealthy: no []
    ");
}

#[test]
fn without_surge_the_old_instance_goes_first() {
    let story = vec![good(), good(), good(), good(), good(), good(), good(), healthy()];
    assert_snapshot!(play(&rolling(2, 0, 1), &story), @"
    starting the candidate [start 0 of blocks-r2]
    taking instances of the baseline off traffic (0 new and 1 old serve) [shift 0 %]
    draining instances of the baseline (0 new and 1 old serve) [drain all but 1 of blocks-r1]
    stopping instances of the baseline (0 new and 1 old serve) [stop all but 1 of blocks-r1]
    starting instances of the candidate (0 new and 1 old serve) [start 1 of blocks-r2]
    shifting 50 % to the candidate [shift 50 %]
    checking health at 50 % [check health, observe 0]
    watching at 50 % []
    taking instances of the baseline off traffic (1 new and 0 old serve) [shift 100 %, observe 1]
    ");
    // It does not start: what was taken away comes back before anything else.
    let story = vec![
        good(),
        good(),
        good(),
        good(),
        bad(),
        good(),
        good(),
        good(),
        good(),
    ];
    assert_snapshot!(play(&rolling(2, 0, 1), &story), @"
    starting the candidate [start 0 of blocks-r2]
    taking instances of the baseline off traffic (0 new and 1 old serve) [shift 0 %]
    draining instances of the baseline (0 new and 1 old serve) [drain all but 1 of blocks-r1]
    stopping instances of the baseline (0 new and 1 old serve) [stop all but 1 of blocks-r1]
    starting instances of the candidate (0 new and 1 old serve) [start 1 of blocks-r2]
    starting the baseline again (did not start: no) [start blocks-r1]
    taking traffic off the candidate (did not start: no) [shift 0 %]
    stopping the candidate (did not start: no) [stop blocks-r2]
    failed: did not start: no; telling the team [notify Failed]
    failed: did not start: no []
    ");
}
