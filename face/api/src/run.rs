//! Pipeline runs (A).

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{Approval, Moment, TimelineEntry};

/// How far a run is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum RunState {
    /// Waits for its turn.
    Queued,
    /// Under way.
    Running,
    /// Waits for a person's approval.
    Waiting,
    /// Ended well (E2).
    Deployed,
    /// Ended badly (E1).
    Failed,
    /// Stopped by a person.
    Cancelled,
}

/// How far a stage is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum StageState {
    /// Not yet begun.
    Pending,
    /// Under way.
    Running,
    /// Waits for a person.
    Waiting,
    /// Ended well.
    Passed,
    /// Ended badly.
    Failed,
    /// Not configured, or not needed any more.
    Skipped,
    /// Stopped by a person or with its run.
    Cancelled,
    /// Undone (a staging or production rollout).
    RolledBack,
}

/// A run in lists.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct RunSummary {
    /// `run-3`.
    pub id: String,
    /// The service it ships.
    pub service: String,
    /// The commit, 40 hex digits.
    pub commit: String,
    /// First line of the commit's message.
    pub title: String,
    /// Who wrote the commit.
    #[serde(default)]
    pub author: Option<String>,
    /// The branch or ref.
    #[serde(default)]
    pub branch: Option<String>,
    /// What or who started the run.
    pub trigger: String,
    /// How far it is.
    pub state: RunState,
    /// One sentence for people: the stage under way, or how it ended and why.
    pub state_text: String,
    /// The release it made, once recorded.
    pub release: Option<String>,
    /// When it was asked for.
    pub created_at: Moment,
    /// When it ended.
    pub finished_at: Option<Moment>,
    /// Its stages, for the strip in lists.
    pub stages: Vec<Stage>,
}

/// One stage.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Stage {
    /// Its key: `install`, `build`, `unit`, …, `production`; names its log.
    pub name: String,
    /// Its node in the mission, for example `A.B3`.
    #[serde(default)]
    pub node: Option<String>,
    /// The part it belongs to: `build`, `staging` or `production`.
    pub group: String,
    /// How far it is.
    pub state: StageState,
    /// What happened, for example `exit status 1` or `waits for an approver`.
    #[serde(default)]
    pub detail: String,
    /// The command that runs, if it is one.
    #[serde(default)]
    pub command: Option<String>,
    /// The rollout it started.
    #[serde(default)]
    pub rollout: Option<String>,
    /// Attempt now under way or last made, from 1; 0 before the first.
    pub attempt: u32,
    /// Earlier and current attempts.
    #[serde(default)]
    pub attempts: Vec<Attempt>,
    /// When it began.
    pub started_at: Option<Moment>,
    /// When it ended.
    pub finished_at: Option<Moment>,
}

/// One attempt at a stage.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Attempt {
    /// From 1.
    pub number: u32,
    /// How it ended, in words.
    pub outcome: String,
    /// When it began.
    pub started_at: Option<Moment>,
    /// When it ended.
    pub finished_at: Option<Moment>,
}

/// A run with everything about it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Run {
    /// What lists show too.
    #[serde(flatten)]
    pub summary: RunSummary,
    /// The merge request it came from.
    #[serde(default)]
    pub merge_request: Option<String>,
    /// The gate it waits at.
    #[serde(default)]
    pub approval: Option<Approval>,
    /// What was decided, and by whom.
    #[serde(default)]
    pub timeline: Vec<TimelineEntry>,
    /// Rollouts it started.
    #[serde(default)]
    pub rollouts: Vec<String>,
}

/// Which runs to list, newest first.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct RunQuery {
    /// Only of this service.
    pub service: Option<String>,
    /// At most so many; 50 when absent.
    pub limit: Option<usize>,
    /// Only those before this run, for the next page.
    pub before: Option<String>,
}

/// Which part of a stage's log to read.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct RunLogQuery {
    /// The attempt, from 1; the last when absent.
    pub attempt: Option<u32>,
    /// Only lines after this number.
    pub after: Option<u64>,
    /// At most so many; 2,000 when absent.
    pub limit: Option<usize>,
}

/// Part of a stage's log.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct RunLog {
    /// The stage.
    pub stage: String,
    /// The attempt.
    pub attempt: u32,
    /// The lines in order.
    pub lines: Vec<LogText>,
    /// Give this as `after` to read on.
    pub next: u64,
    /// The stage has ended: no more will come.
    pub complete: bool,
}

/// One line that a step wrote.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct LogText {
    /// Its number, from 1.
    pub number: u64,
    /// When it was written.
    pub at: Moment,
    /// It went to standard error.
    pub stderr: bool,
    /// The line, secrets masked.
    pub text: String,
}
