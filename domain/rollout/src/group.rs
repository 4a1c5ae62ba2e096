//! Several services released together: a barrier per step, one alpha, and one member's failure takes all
//! back, in reverse order.
//!
//! Each member is an ordinary rollout whose plan names the group. Before each of its steps, before what is
//! left of the traffic and before its baseline goes, it waits (see [`crate::Hook::Barrier`]) until
//! [`permits`] says that the whole group has come as far. A member that turns back for whatever reason has
//! the others recalled, the last of them first, each when the one behind it is done.

mod machine;
#[cfg(test)]
mod tests;

use std::fmt;

use serde::{Deserialize, Serialize};
use trimtab_model::{
    Actor, EnvironmentName, Generation, ReleaseId, RolloutId, RunId, ServiceName, Timestamp,
};

pub use machine::{pending, permits, start, step};

/// Most members of a group.
pub const MEMBERS_MAX: usize = 16;

/// What a rollout's plan says of its group.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Membership {
    /// The group, `group-3`.
    pub group: String,
    /// Its place in the group's order.
    pub member: usize,
}

/// What a group sets out to do; fixed when it starts.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Plan {
    /// The group, `group-3`.
    pub group: String,
    /// Where.
    pub environment: EnvironmentName,
    /// The members; what others need comes first, so that it goes back last.
    pub members: Vec<Member>,
    /// The chance that all go back by mistake, in millionths.
    pub alpha_ppm: u32,
    /// Who wanted it.
    pub by: Actor,
    /// What they said.
    #[serde(default)]
    pub comment: String,
    /// When.
    pub started_at: Timestamp,
    /// How long things may take.
    pub limits: Limits,
}

/// One service of a group.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Member {
    /// The service.
    pub service: ServiceName,
    /// The release on trial.
    pub release: ReleaseId,
    /// How much its evidence counts, against the others' weights.
    pub weight: u32,
    /// The pipeline run that asked for it, if one did.
    #[serde(default)]
    pub run: Option<RunId>,
}

/// How long things may take, in milliseconds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Limits {
    /// All of it; each member has limits of its own in every phase.
    pub whole_ms: u64,
    /// A member's way back, until the next is recalled beside it.
    pub recall_ms: u64,
    /// Putting a notice into the outbox.
    pub notify_ms: u64,
}

impl Default for Limits {
    fn default() -> Self {
        const MINUTE: u64 = 60_000;
        Limits {
            whole_ms: 7 * 24 * 60 * MINUTE,
            recall_ms: 5 * MINUTE,
            notify_ms: MINUTE,
        }
    }
}

impl Plan {
    /// The share of alpha, and of the mean evidence, that is a member's.
    pub fn share(&self, member: usize) -> f64 {
        let all: u64 = self.members.iter().map(|member| u64::from(member.weight)).sum();
        match self.members.get(member) {
            Some(member) if all > 0 => f64::from(member.weight) / all as f64,
            Some(_) => 1.0 / self.members.len() as f64,
            None => 0.0,
        }
    }

    /// The chance that all go back by mistake.
    pub fn alpha(&self) -> f64 {
        f64::from(self.alpha_ppm) / 1e6
    }
}

/// Where a group stands.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct State {
    /// Grows with every phase entered, and with every member recalled.
    pub generation: Generation,
    /// What the group is doing.
    pub phase: Phase,
    /// Since when.
    pub since: Timestamp,
    /// The members, in the plan's order.
    pub members: Vec<Progress>,
    /// Why all go back, once they do.
    pub cause: Option<String>,
    /// What the team has not been told yet.
    pub owed: Vec<Notice>,
}

/// How far a member is.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Progress {
    /// Its rollout, once it is started.
    pub rollout: Option<RolloutId>,
    /// The barrier that it reached last.
    pub reached: Option<usize>,
    /// True at the barrier before its baseline goes.
    pub last: bool,
    /// True once its way back took so long that the next was recalled beside it.
    pub overdue: bool,
    /// How it ended.
    pub end: Option<crate::End>,
}

/// What a group is doing.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(tag = "is", rename_all = "snake_case")]
pub enum Phase {
    /// Forward, from barrier to barrier.
    Advancing,
    /// Back, one member after the other, the last first.
    Recalling,
    /// The end is settled; the team is being told.
    Announcing {
        /// The end to come.
        end: End,
    },
    /// Over.
    Ended {
        /// How.
        end: End,
    },
}

/// How a group ended.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(tag = "is", rename_all = "snake_case")]
pub enum End {
    /// Every member serves.
    Deployed,
    /// Not every member serves.
    RolledBack {
        /// Why, and what serves all the same.
        reason: String,
    },
}

impl fmt::Display for End {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            End::Deployed => f.write_str("deployed"),
            End::RolledBack { reason } => write!(f, "rolled back: {reason}"),
        }
    }
}

/// What the team is told of a group.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Notice {
    /// Every member serves.
    Deployed,
    /// All were taken back.
    RolledBack,
}

/// What happened to a group.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
#[expect(missing_docs, reason = "at and member mean the same in each variant")]
pub enum Event {
    /// A member's rollout is under way.
    MemberStarted {
        at: Timestamp,
        member: usize,
        rollout: RolloutId,
    },
    /// A member waits at a barrier.
    MemberWaits {
        at: Timestamp,
        member: usize,
        barrier: usize,
        /// True at the barrier before its baseline goes.
        last: bool,
    },
    /// A member is on its way back.
    MemberTurned {
        at: Timestamp,
        member: usize,
        reason: String,
    },
    /// A member's rollout is over, or could not be started.
    MemberEnded {
        at: Timestamp,
        member: usize,
        end: crate::End,
    },
    /// A person takes all back.
    Aborted {
        at: Timestamp,
        by: Actor,
        reason: String,
    },
    /// The notice is in the outbox.
    Notified { at: Timestamp, what: Notice },
    /// A limit was reached.
    TimerFired { at: Timestamp, generation: Generation },
}

impl Event {
    /// When it happened.
    pub fn at(&self) -> Timestamp {
        match self {
            Event::MemberStarted { at, .. }
            | Event::MemberWaits { at, .. }
            | Event::MemberTurned { at, .. }
            | Event::MemberEnded { at, .. }
            | Event::Aborted { at, .. }
            | Event::Notified { at, .. }
            | Event::TimerFired { at, .. } => *at,
        }
    }
}

/// What a group owes the world; each may be repeated without harm.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
#[expect(missing_docs, reason = "member means the same in each variant")]
pub enum Effect {
    /// Start a member's rollout, or find the one started before. Discharged by [`Event::MemberStarted`] or
    /// [`Event::MemberEnded`].
    StartMember { member: usize },
    /// Follow a member's rollout. Discharged by [`Event::MemberTurned`] or [`Event::MemberEnded`].
    FollowMember { member: usize },
    /// Send a member back and wait until it is. Discharged by [`Event::MemberEnded`].
    RecallMember { member: usize },
    /// Put the notice into the outbox. Discharged by [`Event::Notified`].
    Notify { what: Notice },
    /// Wait until `at`. Discharged by [`Event::TimerFired`].
    Timer { generation: Generation, at: Timestamp },
}

impl State {
    /// How it ended, once it has.
    pub fn end(&self) -> Option<&End> {
        match &self.phase {
            Phase::Ended { end } => Some(end),
            Phase::Advancing | Phase::Recalling | Phase::Announcing { .. } => None,
        }
    }

    /// One line for people.
    pub fn describe(&self) -> String {
        let all = self.members.len();
        let reason = self.cause.as_deref().unwrap_or_default();
        match &self.phase {
            Phase::Advancing if self.members.iter().all(|member| member.last) => {
                "every member serves everyone; what served before goes".to_owned()
            }
            Phase::Advancing => {
                let barrier = self.members.iter().filter_map(|member| member.reached).max();
                match barrier {
                    None => format!("starting {all} services"),
                    Some(barrier) => {
                        let there = self.members.iter().filter(|member| member.has_come_to(barrier));
                        format!(
                            "{} of {all} services are at barrier {}",
                            there.count(),
                            barrier + 1
                        )
                    }
                }
            }
            Phase::Recalling => format!("taking all back ({reason})"),
            Phase::Announcing { end } => format!("{end}; telling the team"),
            Phase::Ended { end } => end.to_string(),
        }
    }
}

impl Progress {
    /// True when it need not be waited for at `barrier`.
    fn has_come_to(&self, barrier: usize) -> bool {
        self.last || self.reached.is_some_and(|reached| reached >= barrier)
    }
}

impl crate::Strategy {
    /// The same for a member of a group: a regression takes it back at once. To keep it warm for an incident
    /// would keep all the others waiting.
    pub fn in_group(mut self) -> Self {
        let choice = match &mut self {
            crate::Strategy::BlueGreen(strategy) => Some(&mut strategy.on_regressed),
            crate::Strategy::Canary(strategy) => Some(&mut strategy.on_regressed),
            crate::Strategy::Rolling(strategy) => Some(&mut strategy.on_regressed),
            crate::Strategy::Flag(strategy) => Some(&mut strategy.on_regressed),
            crate::Strategy::Direct(_) => None,
        };
        if let Some(choice) = choice
            && *choice == crate::OnRegressed::Protect
        {
            *choice = crate::OnRegressed::RollBack;
        }
        self
    }
}
