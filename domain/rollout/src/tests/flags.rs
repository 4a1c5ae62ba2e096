//! Stories of flags (B.F1 to F7).

use insta::assert_snapshot;

use super::tables::*;
use super::*;

/// Deployed with the flag off, found well, everyone on it, the flag on for the first users.
fn to_ten_percent() -> Vec<Happening> {
    let mut story = then(to_watching(), vec![healthy(), good(), good()]);
    story.extend([good(), good()]);
    story
}

#[test]
fn a_good_flag_goes_from_off_to_10_to_50_to_everyone() {
    let mut story = then(to_ten_percent(), vec![healthy(), good(), good(), healthy()]);
    story.extend([good(), good(), good(), good(), good()]);
    assert_snapshot!(play(&flag(), &story), @"
    starting the candidate [start blocks-r2]
    testing the candidate off-traffic [test]
    shifting 95 % to the candidate [shift 95 %]
    checking health at 95 % [check health, observe 0]
    watching at 95 % []
    shifting 100 % to the candidate [shift 100 %, observe 1]
    checking health at 100 % [check health]
    putting 10 % of users with the flag on [flag 10 %]
    checking health at 10 % of users with the flag [check health, observe 2]
    watching at 10 % of users with the flag []
    putting 50 % of users with the flag on [flag 50 %, observe 3]
    checking health at 50 % of users with the flag [check health, observe 4]
    watching at 50 % of users with the flag []
    putting 100 % of users with the flag on [flag 100 %, observe 5]
    checking health at 100 % of users with the flag [check health]
    draining the baseline [drain blocks-r1]
    stopping the baseline [stop blocks-r1]
    deployed; telling the team [notify Deployed]
    deployed []
    ");
}

#[test]
fn a_flag_with_issues_is_disabled_and_the_release_stays() {
    let story = then(
        to_ten_percent(),
        vec![regressed(), bad(), timer(), good(), good(), good(), good()],
    );
    assert_snapshot!(play(&flag(), &story), @"
    starting the candidate [start blocks-r2]
    testing the candidate off-traffic [test]
    shifting 95 % to the candidate [shift 95 %]
    checking health at 95 % [check health, observe 0]
    watching at 95 % []
    shifting 100 % to the candidate [shift 100 %, observe 1]
    checking health at 100 % [check health]
    putting 10 % of users with the flag on [flag 10 %]
    checking health at 10 % of users with the flag [check health, observe 2]
    watching at 10 % of users with the flag []
    disabling the flag (regression: errors 0.1 -> 12 %) [flag 0 %]
    disabling the flag (regression: errors 0.1 -> 12 %) []
    disabling the flag (regression: errors 0.1 -> 12 %) [flag 0 %]
    draining the baseline (regression: errors 0.1 -> 12 %) [drain blocks-r1]
    stopping the baseline (regression: errors 0.1 -> 12 %) [stop blocks-r1]
    flag disabled, release deployed: regression: errors 0.1 -> 12 %; telling the team [notify FlagDisabled]
    flag disabled, release deployed: regression: errors 0.1 -> 12 % []
    ");
}

#[test]
fn a_release_that_is_bad_with_the_flag_off_never_has_it_on() {
    let story = then(to_watching(), vec![regressed()]);
    assert_snapshot!(play(&flag(), &story), @"
    starting the candidate [start blocks-r2]
    testing the candidate off-traffic [test]
    shifting 95 % to the candidate [shift 95 %]
    checking health at 95 % [check health, observe 0]
    watching at 95 % []
    taking traffic off the candidate (regression: errors 0.1 -> 12 %) [shift 0 %]
    ");
}

#[test]
fn an_incident_in_a_step_of_the_flag_takes_the_release_off_and_the_flag_with_it() {
    let story = then(
        to_ten_percent(),
        vec![
            protected(),
            good(),
            good(),
            condemned(),
            good(),
            good(),
            good(),
            good(),
        ],
    );
    assert_snapshot!(play(&flag(), &story), @"
    starting the candidate [start blocks-r2]
    testing the candidate off-traffic [test]
    shifting 95 % to the candidate [shift 95 %]
    checking health at 95 % [check health, observe 0]
    watching at 95 % []
    shifting 100 % to the candidate [shift 100 %, observe 1]
    checking health at 100 % [check health]
    putting 10 % of users with the flag on [flag 10 %]
    checking health at 10 % of users with the flag [check health, observe 2]
    watching at 10 % of users with the flag []
    taking traffic off the candidate (errors) [shift 0 %]
    disabling the flag (errors) [flag 0 %]
    off traffic for incident-1 (errors) []
    draining the candidate (incident-1: errors) [drain blocks-r2]
    quarantining the candidate (incident-1: errors) [quarantine]
    stopping the candidate (incident-1: errors) [stop blocks-r2]
    rolled back: incident-1: errors; telling the team [notify RolledBack]
    rolled back: incident-1: errors []
    ");
}

#[test]
fn promoting_goes_to_the_flag_first_and_then_to_everyone() {
    let mut story = then(to_watching(), vec![promoted(), good(), good()]);
    story.extend([good(), good(), promoted(), good(), good(), good(), good(), good()]);
    assert_snapshot!(play(&flag(), &story), @"
    starting the candidate [start blocks-r2]
    testing the candidate off-traffic [test]
    shifting 95 % to the candidate [shift 95 %]
    checking health at 95 % [check health, observe 0]
    watching at 95 % []
    shifting 100 % to the candidate [shift 100 %]
    checking health at 100 % [check health]
    putting 10 % of users with the flag on [flag 10 %]
    checking health at 10 % of users with the flag [check health, observe 1]
    watching at 10 % of users with the flag []
    putting 100 % of users with the flag on [flag 100 %]
    checking health at 100 % of users with the flag [check health]
    draining the baseline [drain blocks-r1]
    stopping the baseline [stop blocks-r1]
    deployed; telling the team [notify Deployed]
    deployed []
    ");
}

#[test]
fn a_question_on_the_way_to_everyone_leaves_nobody_without_the_flag() {
    let plan = with_flag(|strategy| strategy.on_regressed = OnRegressed::Ask);
    let mut story = then(to_ten_percent(), vec![healthy(), good(), good(), healthy()]);
    story.extend([regressed(), promoted(), good(), good(), good(), good(), good()]);
    assert_snapshot!(play(&plan, &story), @"
    starting the candidate [start blocks-r2]
    testing the candidate off-traffic [test]
    shifting 95 % to the candidate [shift 95 %]
    checking health at 95 % [check health, observe 0]
    watching at 95 % []
    shifting 100 % to the candidate [shift 100 %, observe 1]
    checking health at 100 % [check health]
    putting 10 % of users with the flag on [flag 10 %]
    checking health at 10 % of users with the flag [check health, observe 2]
    watching at 10 % of users with the flag []
    putting 50 % of users with the flag on [flag 50 %, observe 3]
    checking health at 50 % of users with the flag [check health, observe 4]
    watching at 50 % of users with the flag []
    putting 100 % of users with the flag on [flag 100 %, observe 5]
    waiting for a person at 100 % of users with the flag: regression: errors 0.1 -> 12 % [ask, observe 6, notify Asked]
    putting 100 % of users with the flag on [flag 100 %]
    checking health at 100 % of users with the flag [check health]
    draining the baseline [drain blocks-r1]
    stopping the baseline [stop blocks-r1]
    deployed; telling the team [notify Deployed]
    deployed; telling the team []
    ");
}

#[test]
fn a_newer_rollout_takes_over_from_a_release_whose_flag_is_on_trial() {
    let story = then(
        to_ten_percent(),
        vec![superseded(), good(), good(), good(), good()],
    );
    assert_snapshot!(play(&flag(), &story), @"
    starting the candidate [start blocks-r2]
    testing the candidate off-traffic [test]
    shifting 95 % to the candidate [shift 95 %]
    checking health at 95 % [check health, observe 0]
    watching at 95 % []
    shifting 100 % to the candidate [shift 100 %, observe 1]
    checking health at 100 % [check health]
    putting 10 % of users with the flag on [flag 10 %]
    checking health at 10 % of users with the flag [check health, observe 2]
    watching at 10 % of users with the flag []
    disabling the flag (superseded by rollout-9) [flag 0 %]
    draining the baseline (superseded by rollout-9) [drain blocks-r1]
    stopping the baseline (superseded by rollout-9) [stop blocks-r1]
    flag disabled, release deployed: superseded by rollout-9; telling the team [notify FlagDisabled]
    flag disabled, release deployed: superseded by rollout-9 []
    ");
}
