//! Releases several services together: starts groups, carries out what they owe, and lends their members
//! the barrier and the shared evidence.

use std::collections::BTreeSet;
use std::sync::Arc;

use trimtab_model::{Actor, EnvironmentName, ReleaseId, RunId, ServiceName, Severity};
use trimtab_notify::Channel;
use trimtab_rollout::group::{
    Effect, Event, Limits, MEMBERS_MAX, Member, Membership, Notice, Phase, Plan, State, permits,
};
use trimtab_rollout::{End, Event as RolloutEvent, Plan as RolloutPlan};

use crate::clock;
use crate::host::Snapshot;
use crate::machine::{Hands, Outcome as Pending};
use crate::machines::{Groups, Rollouts};
use crate::rollout_hands::Work;
use crate::start_rollout::{self, ended};
use crate::world::World;

mod joining;

pub(crate) use joining::join;

/// One service that is to be released with others.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wanted {
    /// The release.
    pub release: ReleaseId,
    /// How much its evidence counts.
    pub weight: u32,
    /// The run that asked for it, if one did.
    pub run: Option<RunId>,
}

/// Starts a group; its members' rollouts follow.
pub async fn start(
    world: &Arc<World>,
    environment: &EnvironmentName,
    wanted: &[Wanted],
    by: &Actor,
    comment: &str,
) -> Result<Snapshot<Groups>, String> {
    if !(2..=MEMBERS_MAX).contains(&wanted.len()) {
        return Err(format!(
            "a group has 2 to {MEMBERS_MAX} services, not {}",
            wanted.len()
        ));
    }
    let mut members = Vec::new();
    let mut alpha = f64::INFINITY;
    for one in wanted {
        let (recorded, project) = world.release(&one.release).map_err(|error| error.to_string())?;
        if let Some(quarantine) = world.releases.quarantined(&one.release) {
            return Err(format!("{} is quarantined: {}", one.release, quarantine.reason));
        }
        alpha = alpha.min(project.production.verdict.alpha.fraction());
        members.push(Member {
            service: recorded.release.service.clone(),
            release: one.release.clone(),
            weight: one.weight,
            run: one.run.clone(),
        });
    }
    let services: BTreeSet<&ServiceName> = members.iter().map(|member| &member.service).collect();
    if services.len() < members.len() {
        return Err("a service is named twice".to_owned());
    }
    let groups = &world.machines().groups;
    for under_way in groups.list().iter().filter(|group| group.state.end().is_none()) {
        let mut theirs = under_way.plan.members.iter();
        if let Some(member) = theirs.find(|member| services.contains(&member.service)) {
            return Err(format!("{} is under way with {}", under_way.id, member.service));
        }
    }
    let made = groups.create(by, |number| Plan {
        group: format!("group-{number}"),
        environment: environment.clone(),
        members,
        // Between one in a million and one in two, so that the sum of shares never rounds to nothing.
        alpha_ppm: (alpha * 1e6).round().clamp(1.0, 500_000.0) as u32,
        by: by.clone(),
        comment: comment.to_owned(),
        started_at: clock::now(),
        limits: Limits::default(),
    });
    made.await.map_err(|error| error.to_string())
}

/// The chance of a false call that a member's own evidence is given; none for rollouts of their own.
pub(crate) fn alpha_of(world: &World, plan: &RolloutPlan) -> Option<f64> {
    let membership = plan.group.as_ref()?;
    let group = world.machines().groups.get(&membership.group)?;
    Some(group.plan.alpha() * group.plan.share(membership.member))
}

/// Hands of groups.
pub(crate) struct GroupHands(pub(crate) Arc<World>);

impl Hands<Groups> for GroupHands {
    fn carry_out(&self, _: &str, plan: &Plan, state: &State, effect: Effect) -> Pending<Event> {
        let (world, plan, state) = (Arc::clone(&self.0), plan.clone(), state.clone());
        Box::pin(async move { carry_out(world, plan, state, effect).await })
    }
}

async fn carry_out(world: Arc<World>, plan: Plan, state: State, effect: Effect) -> Event {
    match effect {
        Effect::StartMember { member } => {
            // Not to be broken off half-way: a rollout that nobody knows of would be left.
            let starting = tokio::spawn(start_member(world, plan, member));
            starting
                .await
                .unwrap_or_else(|error| never_started(member, error.to_string()))
        }
        Effect::FollowMember { member } => match rollout_of(&world, &plan, member) {
            Some(rollout) => follow(&world, &state, member, &rollout.id).await,
            None => never_started(member, "its rollout is unknown".to_owned()),
        },
        Effect::RecallMember { member } => recall(&world, &plan, &state, member).await,
        Effect::Notify { what } => {
            notify(&world, &plan, &state, what).await;
            Event::Notified {
                at: clock::now(),
                what,
            }
        }
        Effect::Timer { generation, at } => {
            clock::until(at).await;
            Event::TimerFired {
                at: clock::now(),
                generation,
            }
        }
    }
}

fn never_started(member: usize, reason: String) -> Event {
    Event::MemberEnded {
        at: clock::now(),
        member,
        end: End::Failed { reason },
    }
}

/// A member's rollout, if it was ever started.
fn rollout_of(world: &World, plan: &Plan, member: usize) -> Option<Snapshot<Rollouts>> {
    let membership = Membership {
        group: plan.group.clone(),
        member,
    };
    let service = &plan.members.get(member)?.service;
    let all = world.rollouts_of(service, &plan.environment);
    all.into_iter()
        .find(|rollout| rollout.plan.group.as_ref() == Some(&membership))
}

async fn start_member(world: Arc<World>, plan: Plan, member: usize) -> Event {
    if let Some(known) = rollout_of(&world, &plan, member) {
        return Event::MemberStarted {
            at: clock::now(),
            member,
            rollout: known.plan.rollout.clone(),
        };
    }
    let Some(wanted) = plan.members.get(member) else {
        return never_started(member, "there is no such member".to_owned());
    };
    let membership = Membership {
        group: plan.group.clone(),
        member,
    };
    let started = start_rollout::start_member(&world, &plan.environment, wanted, &plan.by, membership).await;
    match started {
        Ok(rollout) => Event::MemberStarted {
            at: clock::now(),
            member,
            rollout: rollout.plan.rollout.clone(),
        },
        Err(reason) => never_started(member, reason),
    }
}

/// Until it turns back, or is over.
async fn follow(world: &World, state: &State, member: usize, id: &str) -> Event {
    let rollouts = &world.machines().rollouts;
    if state.phase == Phase::Advancing
        && let Some(mut watch) = rollouts.watch(id)
    {
        let seen = watch
            .wait_for(|rollout| rollout.state.cause.is_some() || rollout.state.end().is_some())
            .await;
        let turned = seen.ok().filter(|rollout| rollout.state.end().is_none());
        if let Some(cause) = turned.and_then(|rollout| rollout.state.cause.clone()) {
            return Event::MemberTurned {
                at: clock::now(),
                member,
                reason: cause.to_string(),
            };
        }
    }
    over(world, member, id).await
}

async fn over(world: &World, member: usize, id: &str) -> Event {
    ended(world, id).await;
    let end = world.machines().rollouts.get(id);
    let end = end.and_then(|rollout| rollout.state.end().cloned());
    match end {
        Some(end) => Event::MemberEnded {
            at: clock::now(),
            member,
            end,
        },
        // The control process is stopping; the next one follows it again.
        None => std::future::pending().await,
    }
}

async fn recall(world: &World, plan: &Plan, state: &State, member: usize) -> Event {
    let Some(rollout) = rollout_of(world, plan, member) else {
        return never_started(member, "it was never started".to_owned());
    };
    let recalled = RolloutEvent::Recalled {
        at: clock::now(),
        group: plan.group.clone(),
        reason: state.cause.clone().unwrap_or_default(),
    };
    if let Err(error) = world.machines().rollouts.send(&rollout.id, recalled).await {
        tracing::error!(group = plan.group, rollout = rollout.id, %error, "failed to recall a member");
        // Asked again when this effect is carried out again.
        tokio::time::sleep(std::time::Duration::from_secs(5)).await;
    }
    over(world, member, &rollout.id).await
}

async fn notify(world: &World, plan: &Plan, state: &State, what: Notice) {
    let names: Vec<&str> = plan
        .members
        .iter()
        .map(|member| member.release.as_str())
        .collect();
    let names = names.join(", ");
    let (title, severity) = match what {
        Notice::Deployed => (
            format!("{}: {names} are deployed together", plan.group),
            Severity::Low,
        ),
        Notice::RolledBack => (
            format!("{}: {names} were taken back together", plan.group),
            Severity::High,
        ),
    };
    let key = format!("{}/{what:?}", plan.group);
    let channels = [Channel::Slack, Channel::Email, Channel::Webhook];
    let first = state.members.iter().find_map(|member| member.rollout.as_ref());
    let path = first.map_or_else(
        || "/releases".to_owned(),
        |rollout| format!("/rollouts/{rollout}"),
    );
    world
        .tell(&key, &channels, severity, (title, state.describe()), &path)
        .await;
}

impl Work {
    /// Waits until the whole group has come as far as this member, which is about to take `step`.
    pub(crate) async fn barrier(&self, step: usize) -> Result<(), String> {
        let Some(Membership { group, member }) = &self.plan.group else {
            return Ok(());
        };
        let last = step > self.plan.steps().len();
        let groups = &self.world.machines().groups;
        let waits = Event::MemberWaits {
            at: clock::now(),
            member: *member,
            barrier: step,
            last,
        };
        groups
            .send(group, waits)
            .await
            .map_err(|error| error.to_string())?;
        let Some(mut watch) = groups.watch(group) else {
            return Err(format!("there is no {group}"));
        };
        let opened =
            watch.wait_for(|group| permits(&group.state, *member, step, last) || group.state.end().is_some());
        let end = opened.await.ok().map(|group| group.state.end().cloned());
        match end {
            Some(None) => Ok(()),
            Some(Some(end)) => Err(format!("{group} is over: {end}")),
            // The control process is stopping; the next one waits again.
            None => std::future::pending().await,
        }
    }

    /// What the evidence of the whole group says, if it is enough and this member's weighs most: the mean of
    /// the members' e-values, weighted by their parts of alpha, is an e-value; the sum of parts times e-values
    /// reaches one where it reaches one over alpha.
    pub(crate) fn group_regressed(&self) -> Option<String> {
        let Membership { group, member } = self.plan.group.as_ref()?;
        let group = self.world.machines().groups.get(group)?;
        let rollouts = group.state.members.iter().map(|member| member.rollout.as_ref());
        let logs: Vec<f64> = rollouts
            .enumerate()
            .map(|(place, rollout)| {
                let verdict = rollout.and_then(|rollout| self.world.evidence.verdict(rollout));
                // Metrics of a team's own may have a part of the share. No evidence yet is an e-value of one.
                let share = group.plan.alpha() * group.plan.share(place);
                verdict.map_or(share.ln(), |verdict| {
                    verdict.alpha.min(share).ln() + verdict.log_e
                })
            })
            .collect();
        let spent = log_sum(&logs);
        let loudest = logs.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        let own = logs.get(*member).copied().unwrap_or(f64::NEG_INFINITY);
        if spent < 0.0 || own < loudest {
            return None;
        }
        let rollout = &self.plan.rollout;
        let verdict = self.world.evidence.verdict(rollout);
        let reason = verdict.map_or_else(String::new, |verdict| verdict.reason);
        Some(format!(
            "the evidence of {} is {:.0} of {:.0}: {reason}",
            group.id,
            (spent.exp() / group.plan.alpha()).min(1e9),
            1.0 / group.plan.alpha()
        ))
    }
}

/// The logarithm of a sum, from the logarithms of its terms.
fn log_sum(logs: &[f64]) -> f64 {
    let most = logs.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    if !most.is_finite() {
        return most;
    }
    most + logs.iter().map(|log| (log - most).exp()).sum::<f64>().ln()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_groups_evidence_is_the_weighted_mean() {
        let mean = log_sum(&[(0.75f64 * 40.0).ln(), (0.25f64 * 400.0).ln()]);
        assert!((mean - 130.0f64.ln()).abs() < 1e-12, "{mean}");
        assert_eq!(log_sum(&[]), f64::NEG_INFINITY);
        assert!(log_sum(&[800.0, 1.0]).is_finite());
    }
}
