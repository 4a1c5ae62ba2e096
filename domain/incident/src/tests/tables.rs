//! Stories as tables: what happens, and what is then owed.

use insta::assert_snapshot;

use super::*;

type Happening = Box<dyn Fn(&Plan, &State) -> Event>;

fn answer(plan: &Plan, state: &State, well: bool) -> Event {
    let owed = pending(plan, state);
    let is_work = |effect: &&Effect| !is_timer(effect) && !matches!(effect, Effect::Notify { .. });
    let mut answers = answers(owed.iter().find(is_work).unwrap(), later(state));
    if well {
        answers.remove(0)
    } else {
        answers.pop().unwrap()
    }
}

/// The work effect of the present phase is answered well.
fn good() -> Happening {
    Box::new(|plan, state| answer(plan, state, true))
}

/// The work effect of the present phase is answered badly.
fn bad() -> Happening {
    Box::new(|plan, state| answer(plan, state, false))
}

/// The oldest notice is in the outbox.
fn told() -> Happening {
    Box::new(|plan, state| {
        let owed = pending(plan, state);
        let is_notice = |effect: &&Effect| matches!(effect, Effect::Notify { .. });
        answers(owed.iter().find(is_notice).unwrap(), later(state)).remove(0)
    })
}

fn timer() -> Happening {
    Box::new(|plan, state| answers(pending(plan, state).last().unwrap(), later(state)).remove(0))
}

fn command(pick: usize) -> Happening {
    Box::new(move |_, state| commands(later(state)).remove(pick))
}

fn short(effect: &Effect) -> Option<String> {
    Some(match effect {
        Effect::Notify { what, channels, .. } => format!("notify {what:?} by {channels:?}"),
        Effect::Protect { rollout, .. } => format!("protect {rollout}"),
        Effect::CheckHealth {
            off_traffic: true, ..
        } => "check health off-traffic".to_owned(),
        Effect::CheckHealth { .. } => "check health".to_owned(),
        Effect::Restart { release, .. } => format!("restart {release}"),
        Effect::RollBack { rollout, .. } => format!("roll back {rollout}"),
        Effect::StartPrevious { release, .. } => format!("start {release}"),
        Effect::ClearRollout { rollout, .. } => format!("clear {rollout}"),
        Effect::VerifyMetrics { .. } => "verify metrics".to_owned(),
        Effect::ProposeFixes { .. } => "propose".to_owned(),
        Effect::WatchMetrics { .. } => "watch metrics".to_owned(),
        Effect::ReportCauses { .. } => "report causes".to_owned(),
        Effect::WritePostmortem { .. } => "write postmortem".to_owned(),
        Effect::Learn { .. } => "learn".to_owned(),
        Effect::Timer { .. } => return None,
    })
}

fn play(plan: &Plan, happenings: &[Happening]) -> String {
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

#[test]
fn the_critical_branch_protects_restarts_and_rolls_back() {
    let story = [
        told(),
        good(),
        bad(),
        good(),
        bad(),
        good(),
        good(),
        told(),
        good(),
        good(),
        good(),
    ];
    assert_snapshot!(play(&at_rollout(), &story), @"
    taking traffic off the suspect [protect rollout-4, notify Raised by [Sms, Email, Slack]]
    taking traffic off the suspect []
    checking health [check health off-traffic]
    trying a restart [restart blocks-r2]
    checking health after the restart [check health off-traffic]
    rolling back [roll back rollout-4]
    verifying the metrics (rolled back to the previous release) [verify metrics]
    rolled back to the previous release; reporting the causes [report causes, notify RolledBack by [Sms, Email, Slack]]
    rolled back to the previous release; reporting the causes []
    rolled back to the previous release; writing the postmortem [write postmortem]
    rolled back to the previous release; learning [learn]
    resolved: rolled back to the previous release []
    ");
}

#[test]
fn without_a_warm_release_the_restart_comes_first() {
    let story = [told(), bad(), good(), bad(), good(), good()];
    assert_snapshot!(play(&long_after(), &story), @"
    checking health [check health, notify Raised by [Sms, Email, Slack]]
    checking health []
    trying a restart [restart blocks-r2]
    checking health after the restart [check health]
    rolling back [start blocks-r1]
    verifying the metrics (rolled back to the previous release) [verify metrics]
    rolled back to the previous release; reporting the causes [report causes, notify RolledBack by [Sms, Email, Slack]]
    ");
}

#[test]
fn a_restart_that_heals_gives_the_candidate_back() {
    let story = [told(), good(), bad(), good(), good(), good(), good()];
    assert_snapshot!(play(&at_rollout(), &story), @"
    taking traffic off the suspect [protect rollout-4, notify Raised by [Sms, Email, Slack]]
    taking traffic off the suspect []
    checking health [check health off-traffic]
    trying a restart [restart blocks-r2]
    checking health after the restart [check health off-traffic]
    giving the healed release back to its rollout [clear rollout-4]
    verifying the metrics (healed by a restart) [verify metrics]
    healed by a restart; reporting the causes [report causes, notify Restarted by [Email, Slack]]
    ");
}

#[test]
fn metrics_that_do_not_improve_call_people_and_remind_them() {
    let story = [
        told(),
        good(),
        bad(),
        good(),
        bad(),
        good(),
        bad(),
        told(),
        timer(),
        command(3),
        good(),
    ];
    assert_snapshot!(play(&at_rollout(), &story), @"
    taking traffic off the suspect [protect rollout-4, notify Raised by [Sms, Email, Slack]]
    taking traffic off the suspect []
    checking health [check health off-traffic]
    trying a restart [restart blocks-r2]
    checking health after the restart [check health off-traffic]
    rolling back [roll back rollout-4]
    verifying the metrics (rolled back to the previous release) [verify metrics]
    people needed: rolled back to the previous release, and the metrics did not improve: no [watch metrics, notify PeopleNeeded by [Sms, Email, Slack]]
    people needed: rolled back to the previous release, and the metrics did not improve: no []
    people needed: rolled back to the previous release, and the metrics did not improve: no [watch metrics, notify Reminder by [Email, Slack]]
    people needed: rolled back to the previous release, and the metrics did not improve: no []
    back to normal by itself; reporting the causes [report causes, notify ProblemSolved by [Email, Slack]]
    ");
}

#[test]
fn the_other_branch_goes_from_warning_to_problem_solved() {
    let story = [told(), good(), command(5), good(), told(), good(), good(), good()];
    assert_snapshot!(play(&of(Severity::High), &story), @"
    proposing fixes [propose, notify Warning by [Email, Slack]]
    proposing fixes []
    waiting for a fix [watch metrics]
    verifying the metrics (fixed by anna: raised the limit) [verify metrics]
    fixed by anna: raised the limit; reporting the causes [report causes, notify ProblemSolved by [Email, Slack]]
    fixed by anna: raised the limit; reporting the causes []
    fixed by anna: raised the limit; writing the postmortem [write postmortem]
    fixed by anna: raised the limit; learning [learn]
    resolved: fixed by anna: raised the limit []
    ");
    let by_itself = [told(), good(), good(), told(), good()];
    assert_snapshot!(play(&of(Severity::Medium), &by_itself), @"
    proposing fixes [propose, notify Warning by [Email, Slack]]
    proposing fixes []
    waiting for a fix [watch metrics]
    back to normal by itself; learning [learn, notify ProblemSolved by [Email, Slack]]
    back to normal by itself; learning []
    resolved: back to normal by itself []
    ");
}

#[test]
fn a_low_incident_is_logged_until_quiet() {
    assert_snapshot!(play(&of(Severity::Low), &[command(0), timer()]), @"
    logged []
    logged []
    resolved: back to normal by itself []
    ");
}

#[test]
fn a_growing_incident_climbs_the_ladder() {
    assert_snapshot!(play(&of(Severity::Low), &[command(1), told(), good(), command(2)]), @"
    logged []
    proposing fixes [propose, notify Warning by [Email, Slack]]
    proposing fixes []
    waiting for a fix [watch metrics]
    checking health [check health, notify Raised by [Sms, Email, Slack]]
    ");
}

#[test]
fn a_person_takes_over() {
    assert_snapshot!(play(&at_rollout(), &[told(), good(), bad(), command(4), command(6)]), @"
    taking traffic off the suspect [protect rollout-4, notify Raised by [Sms, Email, Slack]]
    taking traffic off the suspect []
    checking health [check health off-traffic]
    trying a restart [restart blocks-r2]
    people needed: taken over by anna [watch metrics]
    resolved by anna; reporting the causes [report causes, notify ProblemSolved by [Email, Slack]]
    ");
}

#[test]
fn guard_rails_hold() {
    let dry = Plan {
        guard: Guard::DryRun,
        ..at_rollout()
    };
    assert_snapshot!(play(&dry, &[]), @"people needed: dry run: Trimtab would take traffic off blocks-r2, restart it, and if it stays unhealthy roll rollout-4 back [watch metrics, notify Raised by [Sms, Email, Slack]]");
    let refused = Plan {
        guard: Guard::Refused {
            reason: "the last action on blocks is less than 30 s ago".to_owned(),
        },
        ..at_rollout()
    };
    assert_snapshot!(play(&refused, &[]), @"people needed: no automatic action: the last action on blocks is less than 30 s ago [watch metrics, notify Raised by [Sms, Email, Slack]]");
    let dependency = Plan {
        class: Class::DependencyFailure,
        ..at_rollout()
    };
    assert_snapshot!(play(&dependency, &[]), @"people needed: neither a restart nor a rollback helps against a dependency failure [watch metrics, notify Raised by [Sms, Email, Slack]]");
}
