//! Stories as tables: what happens, and what is then owed.

use insta::assert_snapshot;

use super::*;

pub(super) type Happening = Box<dyn Fn(&Plan, &State) -> Event>;

/// The work effect of the present phase is answered well.
pub(super) fn good() -> Happening {
    Box::new(|plan, state| answer(plan, state, true))
}

/// The work effect of the present phase is answered badly.
pub(super) fn bad() -> Happening {
    Box::new(|plan, state| answer(plan, state, false))
}

fn answer(plan: &Plan, state: &State, well: bool) -> Event {
    let owed = pending(plan, state);
    let work = owed
        .iter()
        .find(|effect| !is_timer(effect) && !matches!(effect, Effect::Observe { .. }))
        .unwrap();
    let mut answers = answers(work, later(state));
    if well {
        answers.remove(0)
    } else {
        answers.pop().unwrap()
    }
}

pub(super) fn timer() -> Happening {
    Box::new(|plan, state| answers(pending(plan, state).last().unwrap(), later(state)).remove(0))
}

pub(super) fn observed(verdict: Verdict) -> Happening {
    Box::new(move |_, state| {
        let watch = state.watch.as_ref().unwrap();
        Event::Observed {
            at: watch.until,
            generation: watch.generation,
            round: watch.round,
            verdict: verdict.clone(),
        }
    })
}

pub(super) fn healthy() -> Happening {
    observed(Verdict::Healthy)
}

pub(super) fn regressed() -> Happening {
    observed(Verdict::regressed("errors 0.1 -> 12 %".to_owned()))
}

pub(super) fn inconclusive() -> Happening {
    observed(Verdict::inconclusive("12 requests".to_owned()))
}

pub(super) fn command(pick: usize) -> Happening {
    Box::new(move |_, state| commands(later(state)).remove(pick))
}

pub(super) fn paused() -> Happening {
    command(0)
}
pub(super) fn resumed() -> Happening {
    command(1)
}
pub(super) fn promoted() -> Happening {
    command(2)
}
pub(super) fn aborted() -> Happening {
    command(3)
}
pub(super) fn protected() -> Happening {
    command(5)
}
pub(super) fn condemned() -> Happening {
    command(6)
}
pub(super) fn cleared() -> Happening {
    command(7)
}
pub(super) fn superseded() -> Happening {
    command(8)
}

fn part(word: &str, count: Option<u32>, release: &trimtab_model::ReleaseId) -> String {
    count.map_or_else(
        || release.to_string(),
        |count| format!("{word}{count} of {release}"),
    )
}

fn short(effect: &Effect) -> Option<String> {
    Some(match effect {
        Effect::RunHook { hook, .. } => format!("run {hook}"),
        Effect::StartInstances { release, count, .. } => format!("start {}", part("", *count, release)),
        Effect::Test { .. } => "test".to_owned(),
        Effect::ShiftTraffic { candidate_weight, .. } => format!("shift {candidate_weight}"),
        Effect::SetFlag { share, .. } => format!("flag {share}"),
        Effect::CheckHealth { .. } => "check health".to_owned(),
        Effect::Observe { round, .. } => format!("observe {round}"),
        Effect::AskPerson { .. } => "ask".to_owned(),
        Effect::Drain { release, keep, .. } => format!("drain {}", part("all but ", *keep, release)),
        Effect::StopInstances { release, keep, .. } => format!("stop {}", part("all but ", *keep, release)),
        Effect::Quarantine { .. } => "quarantine".to_owned(),
        Effect::Notify { what, .. } => format!("notify {what:?}"),
        Effect::Timer { .. } => return None,
    })
}

pub(super) fn play(plan: &Plan, happenings: &[Happening]) -> String {
    let mut state = start(plan);
    let line = |state: &State, effects: &[Effect]| {
        let owed: Vec<String> = effects.iter().filter_map(short).collect();
        format!("{} [{}]", state.describe(), owed.join(", "))
    };
    let mut lines = vec![line(&state, &pending(plan, &state))];
    for happening in happenings {
        let event = happening(plan, &state);
        let (next, effects) = step(plan, state, event);
        lines.push(line(&next, &effects));
        state = next;
    }
    lines.join("\n")
}

pub(super) fn to_watching() -> Vec<Happening> {
    vec![good(), good(), good(), good()]
}

pub(super) fn then(mut story: Vec<Happening>, more: Vec<Happening>) -> Vec<Happening> {
    story.extend(more);
    story
}

#[test]
fn a_good_release_goes_from_blue_to_green() {
    let story = then(
        to_watching(),
        vec![healthy(), good(), good(), timer(), good(), good()],
    );
    assert_snapshot!(play(&blue_green(), &story), @"
    starting the candidate [start blocks-r2]
    testing the candidate off-traffic [test]
    shifting 95 % to the candidate [shift 95 %]
    checking health at 95 % [check health, observe 0]
    watching at 95 % []
    shifting the rest [shift 100 %]
    draining the baseline [drain blocks-r1]
    keeping the baseline warm []
    stopping the baseline [stop blocks-r1]
    deployed; telling the team [notify Deployed]
    deployed []
    ");
}

#[test]
fn failing_tests_keep_blue() {
    assert_snapshot!(play(&blue_green(), &[good(), bad(), good(), good()]), @"
    starting the candidate [start blocks-r2]
    testing the candidate off-traffic [test]
    stopping the candidate (tests failed: no) [stop blocks-r2]
    failed: tests failed: no; telling the team [notify Failed]
    failed: tests failed: no []
    ");
}

#[test]
fn a_release_that_does_not_start_fails() {
    assert_snapshot!(play(&blue_green(), &[bad(), good(), good()]), @"
    starting the candidate [start blocks-r2]
    stopping the candidate (did not start: no) [stop blocks-r2]
    failed: did not start: no; telling the team [notify Failed]
    failed: did not start: no []
    ");
}

#[test]
fn unhealthy_under_traffic_is_rolled_back() {
    let story = [
        good(),
        good(),
        good(),
        bad(),
        good(),
        good(),
        good(),
        good(),
        good(),
    ];
    assert_snapshot!(play(&blue_green(), &story), @"
    starting the candidate [start blocks-r2]
    testing the candidate off-traffic [test]
    shifting 95 % to the candidate [shift 95 %]
    checking health at 95 % [check health, observe 0]
    taking traffic off the candidate (unhealthy: no) [shift 0 %]
    draining the candidate (unhealthy: no) [drain blocks-r2]
    quarantining the candidate (unhealthy: no) [quarantine]
    stopping the candidate (unhealthy: no) [stop blocks-r2]
    rolled back: unhealthy: no; telling the team [notify RolledBack]
    rolled back: unhealthy: no []
    ");
}

#[test]
fn a_regression_protects_first_and_an_incident_condemns() {
    let story = then(
        to_watching(),
        vec![
            regressed(),
            protected(),
            good(),
            condemned(),
            good(),
            good(),
            good(),
            good(),
        ],
    );
    assert_snapshot!(play(&blue_green(), &story), @"
    starting the candidate [start blocks-r2]
    testing the candidate off-traffic [test]
    shifting 95 % to the candidate [shift 95 %]
    checking health at 95 % [check health, observe 0]
    watching at 95 % []
    taking traffic off the candidate (regression: errors 0.1 -> 12 %) [shift 0 %]
    taking traffic off the candidate (errors) []
    off traffic for incident-1 (errors) []
    draining the candidate (incident-1: errors) [drain blocks-r2]
    quarantining the candidate (incident-1: errors) [quarantine]
    stopping the candidate (incident-1: errors) [stop blocks-r2]
    rolled back: incident-1: errors; telling the team [notify RolledBack]
    rolled back: incident-1: errors []
    ");
}

#[test]
fn a_regression_without_an_incident_is_rolled_back_by_itself() {
    let story = then(
        to_watching(),
        vec![regressed(), good(), timer(), good(), good(), good(), good()],
    );
    assert_snapshot!(play(&blue_green(), &story), @"
    starting the candidate [start blocks-r2]
    testing the candidate off-traffic [test]
    shifting 95 % to the candidate [shift 95 %]
    checking health at 95 % [check health, observe 0]
    watching at 95 % []
    taking traffic off the candidate (regression: errors 0.1 -> 12 %) [shift 0 %]
    off traffic (regression: errors 0.1 -> 12 %) []
    draining the candidate (regression: errors 0.1 -> 12 %) [drain blocks-r2]
    quarantining the candidate (regression: errors 0.1 -> 12 %) [quarantine]
    stopping the candidate (regression: errors 0.1 -> 12 %) [stop blocks-r2]
    rolled back: regression: errors 0.1 -> 12 %; telling the team [notify RolledBack]
    rolled back: regression: errors 0.1 -> 12 % []
    ");
}

#[test]
fn a_cleared_candidate_goes_forward_anew_and_is_not_protected_twice() {
    let story = then(
        to_watching(),
        vec![
            protected(),
            good(),
            cleared(),
            good(),
            good(),
            good(),
            good(),
            regressed(),
        ],
    );
    assert_snapshot!(play(&blue_green(), &story), @"
    starting the candidate [start blocks-r2]
    testing the candidate off-traffic [test]
    shifting 95 % to the candidate [shift 95 %]
    checking health at 95 % [check health, observe 0]
    watching at 95 % []
    taking traffic off the candidate (errors) [shift 0 %]
    off traffic for incident-1 (errors) []
    starting the candidate [start blocks-r2]
    testing the candidate off-traffic [test]
    shifting 95 % to the candidate [shift 95 %]
    checking health at 95 % [check health, observe 0]
    watching at 95 % []
    taking traffic off the candidate (regression: errors 0.1 -> 12 %) [shift 0 %]
    ");
}

#[test]
fn an_inconclusive_watch_is_extended_then_asked_about() {
    let story = then(
        to_watching(),
        vec![inconclusive(), inconclusive(), promoted(), good()],
    );
    assert_snapshot!(play(&blue_green(), &story), @"
    starting the candidate [start blocks-r2]
    testing the candidate off-traffic [test]
    shifting 95 % to the candidate [shift 95 %]
    checking health at 95 % [check health, observe 0]
    watching at 95 % []
    watching at 95 % [observe 1]
    waiting for a person at 95 %: 12 requests [ask, observe 2, notify Asked]
    shifting the rest [shift 100 %]
    draining the baseline [drain blocks-r1]
    ");
    let silence = then(to_watching(), vec![inconclusive(), inconclusive(), timer()]);
    assert_snapshot!(play(&blue_green(), &silence), @"
    starting the candidate [start blocks-r2]
    testing the candidate off-traffic [test]
    shifting 95 % to the candidate [shift 95 %]
    checking health at 95 % [check health, observe 0]
    watching at 95 % []
    watching at 95 % [observe 1]
    waiting for a person at 95 %: 12 requests [ask, observe 2, notify Asked]
    taking traffic off the candidate (inconclusive: 12 requests, and nobody answered in time) [shift 0 %]
    ");
}

#[test]
fn a_pause_holds_the_next_step_but_not_the_guard() {
    let story = then(to_watching(), vec![paused(), healthy(), resumed(), good()]);
    assert_snapshot!(play(&blue_green(), &story), @"
    starting the candidate [start blocks-r2]
    testing the candidate off-traffic [test]
    shifting 95 % to the candidate [shift 95 %]
    checking health at 95 % [check health, observe 0]
    watching at 95 % []
    paused by anna: watching at 95 % []
    paused by anna: watching at 95 % [observe 1]
    shifting the rest [shift 100 %]
    draining the baseline [drain blocks-r1]
    ");
    let story = then(to_watching(), vec![paused(), healthy(), regressed(), good()]);
    assert_snapshot!(play(&blue_green(), &story), @"
    starting the candidate [start blocks-r2]
    testing the candidate off-traffic [test]
    shifting 95 % to the candidate [shift 95 %]
    checking health at 95 % [check health, observe 0]
    watching at 95 % []
    paused by anna: watching at 95 % []
    paused by anna: watching at 95 % [observe 1]
    taking traffic off the candidate (regression: errors 0.1 -> 12 %) [shift 0 %]
    off traffic (regression: errors 0.1 -> 12 %) []
    ");
}

#[test]
fn a_protection_after_blue_was_stopped_starts_it_again_first() {
    let story = then(
        to_watching(),
        vec![
            healthy(),
            good(),
            good(),
            timer(),
            protected(),
            good(),
            good(),
            condemned(),
        ],
    );
    assert_snapshot!(play(&blue_green(), &story), @"
    starting the candidate [start blocks-r2]
    testing the candidate off-traffic [test]
    shifting 95 % to the candidate [shift 95 %]
    checking health at 95 % [check health, observe 0]
    watching at 95 % []
    shifting the rest [shift 100 %]
    draining the baseline [drain blocks-r1]
    keeping the baseline warm []
    stopping the baseline [stop blocks-r1]
    starting the baseline again (errors) [start blocks-r1]
    taking traffic off the candidate (errors) [shift 0 %]
    off traffic for incident-1 (errors) []
    draining the candidate (incident-1: errors) [drain blocks-r2]
    ");
}

#[test]
fn a_stuck_way_back_calls_people_and_goes_on() {
    let story = then(
        to_watching(),
        vec![aborted(), bad(), timer(), bad(), timer(), timer(), good()],
    );
    assert_snapshot!(play(&blue_green(), &story), @"
    starting the candidate [start blocks-r2]
    testing the candidate off-traffic [test]
    shifting 95 % to the candidate [shift 95 %]
    checking health at 95 % [check health, observe 0]
    watching at 95 % []
    taking traffic off the candidate (aborted by anna) [shift 0 %]
    taking traffic off the candidate (aborted by anna) []
    taking traffic off the candidate (aborted by anna) [shift 0 %]
    taking traffic off the candidate (aborted by anna) []
    taking traffic off the candidate (aborted by anna) [shift 0 %, notify Stuck]
    taking traffic off the candidate (aborted by anna) [shift 0 %]
    draining the candidate (aborted by anna) [drain blocks-r2]
    ");
}

#[test]
fn a_newer_rollout_supersedes_without_quarantine() {
    let story = then(to_watching(), vec![superseded(), good(), good(), good(), good()]);
    assert_snapshot!(play(&blue_green(), &story), @"
    starting the candidate [start blocks-r2]
    testing the candidate off-traffic [test]
    shifting 95 % to the candidate [shift 95 %]
    checking health at 95 % [check health, observe 0]
    watching at 95 % []
    taking traffic off the candidate (superseded by rollout-9) [shift 0 %]
    draining the candidate (superseded by rollout-9) [drain blocks-r2]
    stopping the candidate (superseded by rollout-9) [stop blocks-r2]
    rolled back: superseded by rollout-9; telling the team [notify RolledBack]
    rolled back: superseded by rollout-9 []
    ");
}

#[test]
fn staging_switches_without_a_watch() {
    let story = [good(), good(), good(), good(), good(), good()];
    assert_snapshot!(play(&direct(), &story), @"
    starting the candidate [start blocks-r2]
    shifting 100 % to the candidate [shift 100 %]
    checking health at 100 % [check health]
    draining the baseline [drain blocks-r1]
    stopping the baseline [stop blocks-r1]
    deployed; telling the team [notify Deployed]
    deployed []
    ");
}

#[test]
fn a_first_release_serves_until_a_newer_one_does() {
    let story = then(to_watching(), vec![inconclusive(), good()]);
    assert_snapshot!(play(&first_release(), &story), @"
    starting the candidate [start blocks-r2]
    testing the candidate off-traffic [test]
    shifting 100 % to the candidate [shift 100 %]
    checking health at 100 % [check health, observe 0]
    watching at 100 % []
    deployed; telling the team [notify Deployed]
    deployed []
    ");
    let story = then(to_watching(), vec![superseded(), good()]);
    assert_snapshot!(play(&first_release(), &story), @"
    starting the candidate [start blocks-r2]
    testing the candidate off-traffic [test]
    shifting 100 % to the candidate [shift 100 %]
    checking health at 100 % [check health, observe 0]
    watching at 100 % []
    deployed; telling the team [notify Deployed]
    deployed []
    ");
    let story = [good(), good(), superseded(), good(), good()];
    assert_snapshot!(play(&first_release(), &story), @"
    starting the candidate [start blocks-r2]
    testing the candidate off-traffic [test]
    shifting 100 % to the candidate [shift 100 %]
    shifting the rest [shift 100 %]
    deployed; telling the team [notify Deployed]
    deployed []
    ");
}

#[test]
fn a_first_release_has_nothing_to_return_to() {
    let story = then(to_watching(), vec![healthy(), good()]);
    assert_snapshot!(play(&first_release(), &story), @"
    starting the candidate [start blocks-r2]
    testing the candidate off-traffic [test]
    shifting 100 % to the candidate [shift 100 %]
    checking health at 100 % [check health, observe 0]
    watching at 100 % []
    deployed; telling the team [notify Deployed]
    deployed []
    ");
    let story = then(
        to_watching(),
        vec![regressed(), good(), good(), good(), good(), good()],
    );
    assert_snapshot!(play(&first_release(), &story), @"
    starting the candidate [start blocks-r2]
    testing the candidate off-traffic [test]
    shifting 100 % to the candidate [shift 100 %]
    checking health at 100 % [check health, observe 0]
    watching at 100 % []
    taking traffic off the candidate (regression: errors 0.1 -> 12 %) [shift 0 %]
    draining the candidate (regression: errors 0.1 -> 12 %) [drain blocks-r2]
    quarantining the candidate (regression: errors 0.1 -> 12 %) [quarantine]
    stopping the candidate (regression: errors 0.1 -> 12 %) [stop blocks-r2]
    rolled back: regression: errors 0.1 -> 12 %; telling the team [notify RolledBack]
    rolled back: regression: errors 0.1 -> 12 % []
    ");
}
