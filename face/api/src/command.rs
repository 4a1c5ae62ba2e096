//! What people ask for, and the answer.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use trimtab_model::Role;

use crate::{EntranceRequest, GroupRequest, RollBackRequest, ScaleRequest, SilenceOf};

/// Body of `POST /api/v1/deploy`: start a pipeline run of a commit.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct DeployRequest {
    /// The service.
    pub service: String,
    /// A commit, branch or tag; the protected branch's head when absent.
    #[serde(default)]
    pub commit: Option<String>,
}

/// A free comment: body of approvals, acknowledgements and the like.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct Comment {
    /// What the person says; kept in the audit log.
    pub comment: String,
}

/// Body of a silence.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct SilenceRequest {
    /// Why; kept in the audit log.
    pub reason: String,
    /// How long, in minutes from now.
    pub minutes: u64,
}

/// Answer of every command: it was accepted and journalled.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct Done {
    /// What happens now, in one sentence.
    pub message: String,
    /// The id of what was made or changed.
    pub id: Option<String>,
    /// Path of the page that shows it.
    pub link: Option<String>,
}

/// Everything a person or token can ask the machines to do; the one way in.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "command", rename_all = "snake_case")]
pub enum Command {
    /// Start a run.
    Deploy(DeployRequest),
    /// Answer a gate with yes.
    Approve {
        /// The run that waits.
        run: String,
        /// For the audit log.
        comment: String,
    },
    /// Answer a gate with no.
    Reject {
        /// The run that waits.
        run: String,
        /// For the audit log.
        comment: String,
    },
    /// Stop a run.
    Cancel {
        /// The run.
        run: String,
        /// For the audit log.
        comment: String,
    },
    /// Give the candidate all traffic now.
    Promote {
        /// The rollout.
        rollout: String,
        /// For the audit log.
        comment: String,
    },
    /// End a rollout and go back.
    Abort {
        /// The rollout.
        rollout: String,
        /// For the audit log.
        comment: String,
    },
    /// Hold a rollout where it stands; its guards stay on.
    Pause {
        /// The rollout.
        rollout: String,
        /// For the audit log.
        comment: String,
    },
    /// Go on with a paused rollout.
    Resume {
        /// The rollout.
        rollout: String,
        /// For the audit log.
        comment: String,
    },
    /// Say yes to what a rollout's step waits for.
    ApproveStep {
        /// The rollout.
        rollout: String,
        /// For the audit log.
        comment: String,
    },
    /// Try again now what waits to be tried again; or begin anew what ended without being deployed.
    Retry {
        /// The rollout.
        rollout: String,
        /// For the audit log.
        comment: String,
    },
    /// Traffic off the candidate, then the whole way anew.
    Restart {
        /// The rollout.
        rollout: String,
        /// For the audit log.
        comment: String,
    },
    /// Go back to a release, or undo a rollout.
    RollBack(RollBackRequest),
    /// Release several services together.
    ReleaseTogether(GroupRequest),
    /// Take a whole group back, in reverse order.
    AbortGroup {
        /// The group.
        group: String,
        /// For the audit log.
        comment: String,
    },
    /// Hold, close or open a service's entrance.
    Entrance {
        /// The service.
        service: String,
        /// What users shall meet.
        request: EntranceRequest,
    },
    /// Want so many instances of a service.
    Scale {
        /// The service.
        service: String,
        /// How many, and where.
        request: ScaleRequest,
    },
    /// "I have seen it."
    Acknowledge {
        /// The incident.
        incident: String,
        /// For the audit log.
        comment: String,
    },
    /// Automatic actions off: a person has it.
    TakeOver {
        /// The incident.
        incident: String,
        /// For the audit log.
        comment: String,
    },
    /// "A fix is in": verify the metrics.
    FixApplied {
        /// The incident.
        incident: String,
        /// For the audit log.
        comment: String,
    },
    /// "It is over."
    Resolve {
        /// The incident.
        incident: String,
        /// For the audit log.
        comment: String,
    },
    /// No notifications for a while.
    Silence {
        /// About what.
        of: SilenceOf,
        /// For the audit log.
        reason: String,
        /// How long, from now.
        minutes: u64,
    },
    /// End a silence before its time.
    EndSilence {
        /// The silence.
        silence: String,
    },
    /// Let a release that was rolled back be deployed again.
    LiftQuarantine {
        /// The release.
        release: String,
        /// For the audit log.
        comment: String,
    },
    /// Let the proxy's work go over to a worker of the program that is installed now.
    UpgradeProxy {
        /// For the audit log.
        comment: String,
    },
    /// Try a dead letter once more.
    RetryNotification {
        /// The delivery.
        notification: String,
    },
    /// End a token now.
    RevokeToken {
        /// The token's id.
        token: String,
    },
}

impl Command {
    /// The least role that may ask for it.
    pub fn role(&self) -> Role {
        match self {
            Command::Deploy(_)
            | Command::Cancel { .. }
            | Command::Acknowledge { .. }
            | Command::FixApplied { .. } => Role::Developer,
            Command::Approve { .. } | Command::Reject { .. } | Command::ApproveStep { .. } => Role::Approver,
            Command::Promote { .. }
            | Command::Abort { .. }
            | Command::Pause { .. }
            | Command::Resume { .. }
            | Command::Retry { .. }
            | Command::Restart { .. }
            | Command::RollBack(_)
            | Command::ReleaseTogether(_)
            | Command::AbortGroup { .. }
            | Command::Entrance { .. }
            | Command::Scale { .. }
            | Command::TakeOver { .. }
            | Command::Resolve { .. }
            | Command::Silence { .. }
            | Command::EndSilence { .. }
            | Command::LiftQuarantine { .. }
            | Command::UpgradeProxy { .. }
            | Command::RetryNotification { .. } => Role::Operator,
            Command::RevokeToken { .. } => Role::Admin,
        }
    }
}
