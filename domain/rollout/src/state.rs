//! Where a rollout stands.

use serde::{Deserialize, Serialize};
use trimtab_model::{Actor, Generation, IncidentId, Timestamp, Weight};

use crate::{Cause, End, Hook, Instances, Notice, Phase, Verdict, flag::Raised};

/// Where a rollout stands.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct State {
    /// Grows with every phase entered and every attempt in it.
    pub generation: Generation,
    /// What the rollout is doing.
    pub phase: Phase,
    /// When the present attempt of the phase began.
    pub since: Timestamp,
    /// Attempts of the present phase, from 1.
    pub attempt: u32,
    /// When the phase is tried again; set after a failure of what must happen.
    pub retry_at: Option<Timestamp>,
    /// True when the phase is done and only the pause holds the rollout.
    pub ready: bool,
    /// The pause, if a person paused.
    pub paused: Option<Pause>,
    /// The candidate's share.
    pub traffic: Traffic,
    /// True once the candidate may have served users.
    pub exposed: bool,
    /// False once stopping the baseline was asked for.
    pub baseline_warm: bool,
    /// The flag as last asked for; none before its first step.
    #[serde(default)]
    pub flag: Option<Raised>,
    /// How many instances of each release take traffic, when they are replaced; none is all.
    pub instances: Option<Instances>,
    /// True once a migration ran that the baseline cannot live with: nothing leads back from there.
    pub irreversible: bool,
    /// True once people were told that a wish to go back was refused.
    pub refused: bool,
    /// The regression that was only reported, as the team asked for.
    pub reported: Option<String>,
    /// True once a person who was asked about a regression said to go on.
    pub accepted: bool,
    /// What the newest step that went on without a verdict lacked.
    pub unproven: Option<String>,
    /// The comparison under way or last made.
    pub watch: Option<Watch>,
    /// Set while the candidate is kept off traffic for an incident.
    pub protection: Option<Protection>,
    /// How often an incident found the candidate well; stops counting at 2.
    pub cleared: u32,
    /// Why a job of the team failed where that changes nothing any more, the last one that did.
    #[serde(default)]
    pub hook_failure: Option<String>,
    /// Who promoted without waiting for the verdict.
    pub promoted_by: Option<Actor>,
    /// Why the candidate goes back, once that is settled.
    pub cause: Option<Cause>,
    /// Notices that the outbox does not have yet.
    pub owed: Vec<Owed>,
}

/// A person's pause.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Pause {
    /// Since when.
    pub at: Timestamp,
    /// By whom.
    pub by: Actor,
}

/// The candidate's share of traffic as last asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Traffic {
    /// The share.
    pub weight: Weight,
    /// True when every proxy has it in force.
    pub acknowledged: bool,
}

impl Traffic {
    /// True when it is known that everything reaches the candidate.
    pub fn is_whole(self) -> bool {
        self.weight == Weight::FULL && self.acknowledged
    }

    /// True when it is known that nothing reaches the candidate.
    pub fn is_off(self) -> bool {
        self.weight == Weight::ZERO && self.acknowledged
    }
}

/// A comparison of candidate and baseline.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Watch {
    /// Whose evidence it is; the same for the whole way forward.
    pub generation: Generation,
    /// Counts the windows asked for.
    pub round: u32,
    /// Extensions of the present step.
    pub extensions: u32,
    /// The end of the present window.
    pub until: Timestamp,
    /// The candidate's share in its step.
    pub weight: Weight,
    /// Requests that the candidate must have answered at that share to be called healthy; in a step of
    /// a flag, users who have it on.
    pub requests_min: u64,
    /// True when users with the flag on are judged against users without.
    #[serde(default)]
    pub flag: bool,
    /// What the present window said, if it has.
    pub verdict: Option<Verdict>,
    /// The regression that the present window was extended for: it is weighed again at the end.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub regression: Option<String>,
}

/// Why the candidate is kept off traffic, warm.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Protection {
    /// The incident in charge; none until one takes charge.
    pub incident: Option<IncidentId>,
    /// For people.
    pub reason: String,
    /// True when the incident found the candidate well before traffic was off it.
    pub cleared: bool,
}

/// A notice that the outbox does not have yet.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Owed {
    /// Which.
    pub what: Notice,
    /// The decision it belongs to.
    pub generation: Generation,
}

impl State {
    /// The end, once the rollout is over.
    pub fn end(&self) -> Option<&End> {
        match &self.phase {
            Phase::Ended { end } => Some(end),
            _ => None,
        }
    }

    fn counts(&self) -> String {
        self.instances.map_or_else(String::new, |instances| {
            format!(
                " ({} new and {} old serve)",
                instances.candidate, instances.baseline
            )
        })
    }

    /// True while a person is asked about a regression.
    pub fn asks_about_regression(&self) -> bool {
        match &self.phase {
            Phase::Asking { reason, .. } => crate::watch::asks_about_regression(reason).is_some(),
            _ => false,
        }
    }

    /// True while a step is watched as long again because of a regression.
    pub fn extends_over_regression(&self) -> bool {
        let of_watch = self.watch.as_ref().and_then(|watch| watch.regression.as_ref());
        matches!(self.phase, Phase::Watching { .. }) && of_watch.is_some()
    }

    /// One line for people.
    pub fn describe(&self) -> String {
        let weight = match &self.flag {
            Some(flag) if self.phase.step().is_some() => format!("{} of users with the flag", flag.share),
            Some(_) | None => self.traffic.weight.to_string(),
        };
        let what = match &self.phase {
            Phase::Hooking {
                hook: Hook::Barrier { .. },
            } => format!("waiting at {weight} for the others of its group"),
            Phase::Hooking { hook } => format!("running {hook}"),
            Phase::Starting => "starting the candidate".to_owned(),
            Phase::Frozen { .. } => format!("held at {weight} by a freeze"),
            Phase::Retiring { .. } => {
                format!("taking instances of the baseline off traffic{}", self.counts())
            }
            Phase::Growing { .. } => format!("starting instances of the candidate{}", self.counts()),
            Phase::DrainingPart { .. } => format!("draining instances of the baseline{}", self.counts()),
            Phase::StoppingPart { .. } => format!("stopping instances of the baseline{}", self.counts()),
            Phase::Approving { .. } => format!("waiting for an approval at {weight}"),
            Phase::Holding { .. } => format!("holding at {weight}"),
            Phase::Testing => "testing the candidate off-traffic".to_owned(),
            Phase::Shifting { .. } => format!("shifting {weight} to the candidate"),
            Phase::Raising { .. } => format!("putting {weight} on"),
            Phase::Disabling | Phase::Lowering => "disabling the flag".to_owned(),
            Phase::Checking { .. } => format!("checking health at {weight}"),
            Phase::Watching { .. } => match self.watch.as_ref().and_then(|watch| watch.regression.as_ref()) {
                Some(regression) => format!("watching at {weight} as long again: regression: {regression}"),
                None => format!("watching at {weight}"),
            },
            Phase::Asking { reason, .. } => format!("waiting for a person at {weight}: {reason}"),
            Phase::Finishing => "shifting the rest".to_owned(),
            Phase::DrainingBaseline => "draining the baseline".to_owned(),
            Phase::Lingering => "keeping the baseline warm".to_owned(),
            Phase::Decommissioning => "stopping the baseline".to_owned(),
            Phase::Restoring => "starting the baseline again".to_owned(),
            Phase::Withdrawing => "taking traffic off the candidate".to_owned(),
            Phase::Protected => match self.protection.as_ref().and_then(|p| p.incident.as_ref()) {
                Some(incident) => format!("off traffic for {incident}"),
                None => "off traffic".to_owned(),
            },
            Phase::DrainingCandidate => "draining the candidate".to_owned(),
            Phase::Quarantining => "quarantining the candidate".to_owned(),
            Phase::Stopping => "stopping the candidate".to_owned(),
            Phase::Announcing { end } => return format!("{end}; telling the team"),
            Phase::Ended { end } => return end.to_string(),
        };
        let disabled = self.flag.as_ref().and_then(|flag| flag.disabled.as_ref());
        let reason = match (&self.cause, &self.protection) {
            (None, None) if disabled.is_some() => {
                disabled.map_or_else(String::new, |why| format!(" ({why})"))
            }
            (Some(cause), _) => format!(" ({cause})"),
            (None, Some(protection)) => format!(" ({})", protection.reason),
            (None, None) => String::new(),
        };
        match &self.paused {
            Some(pause) => format!("paused by {}: {what}{reason}", pause.by),
            None => format!("{what}{reason}"),
        }
    }
}
