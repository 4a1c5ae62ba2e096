//! Rollouts (B) and the evidence that decides them.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{Chart, FlagVerdict, Moment, TimelineEntry};

/// How traffic moves.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Strategy {
    /// Start beside, test, switch, watch with a holdback.
    BlueGreen,
    /// Steps of weight.
    Canary,
    /// Instance by instance.
    Rolling,
    /// Behind a flag.
    FeatureFlag,
    /// Start, check, switch: no comparison (staging).
    Direct,
}

impl Strategy {
    /// The strategy as in configuration: `blue-green`, ….
    pub fn as_str(self) -> &'static str {
        match self {
            Strategy::BlueGreen => "blue-green",
            Strategy::Canary => "canary",
            Strategy::Rolling => "rolling",
            Strategy::FeatureFlag => "feature-flag",
            Strategy::Direct => "direct",
        }
    }
}

/// How far a rollout is, for colour and filters; `state_text` says more.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum RolloutState {
    /// Instances start or are tested, no traffic yet.
    Preparing,
    /// Traffic moves or has moved and is watched.
    Watching,
    /// Stopped by a person until resumed.
    Paused,
    /// Traffic is off the candidate while an incident decides.
    Protected,
    /// The candidate takes over for good.
    Completing,
    /// The candidate goes out.
    RollingBack,
    /// Ended well.
    Deployed,
    /// Ended with the baseline serving.
    RolledBack,
    /// Ended before any traffic moved.
    Failed,
}

impl RolloutState {
    /// Nothing more will happen.
    pub fn is_over(self) -> bool {
        matches!(
            self,
            RolloutState::Deployed | RolloutState::RolledBack | RolloutState::Failed
        )
    }
}

/// A rollout in lists and in the strip of the overview.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct RolloutSummary {
    /// `rollout-4`.
    pub id: String,
    /// The service.
    pub service: String,
    /// Where to.
    pub environment: String,
    /// How.
    pub strategy: Strategy,
    /// The release that served before; none at the first.
    pub baseline: Option<String>,
    /// The release on trial.
    pub candidate: String,
    /// How far it is.
    pub state: RolloutState,
    /// One sentence for people.
    pub state_text: String,
    /// Share of traffic on the candidate now, in per cent.
    pub candidate_percent: f64,
    /// What happens next and when, in words; empty once over.
    #[serde(default)]
    pub next_step: String,
    /// When the next step is due.
    #[serde(default)]
    pub next_at: Option<Moment>,
    /// When it began.
    pub created_at: Moment,
    /// When it ended.
    pub finished_at: Option<Moment>,
    /// The run that asked for it.
    #[serde(default)]
    pub run: Option<String>,
    /// The incident about it.
    #[serde(default)]
    pub incident: Option<String>,
    /// What may be done with it now (the role is checked besides).
    #[serde(default)]
    pub allowed: Allowed,
    /// The flag that it puts on for more and more users.
    #[serde(default)]
    pub flag: Option<RolloutFlag>,
}

/// The flag of a rollout behind one.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct RolloutFlag {
    /// The flag's key.
    pub key: String,
    /// Share of users who have it on now, in per cent.
    pub percent: f64,
    /// Users who have it on beside as many who do not; none before anybody was served.
    pub verdict: Option<FlagVerdict>,
}

impl RolloutFlag {
    /// In one line.
    pub fn words(&self) -> String {
        let users = self.verdict.as_ref().map_or_else(String::new, |seen| {
            format!(
                "; {} with it ({} failed) beside {} without ({} failed)",
                seen.exposed, seen.exposed_failed, seen.control, seen.control_failed
            )
        });
        format!("{} is on for {:.1} % of users{users}", self.key, self.percent)
    }
}

/// Which commands a rollout takes in its present state.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct Allowed {
    /// May be promoted now.
    pub promote: bool,
    /// May be aborted.
    pub abort: bool,
    /// May be paused.
    pub pause: bool,
    /// May be resumed.
    pub resume: bool,
    /// May be rolled back.
    pub roll_back: bool,
    /// Waits for a yes to its step.
    pub approve: bool,
    /// Something waits to be tried again, or it ended without being deployed and may be begun anew.
    pub retry: bool,
    /// May begin its way anew.
    pub restart: bool,
}

/// What one arm served during the rollout.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct ArmFigures {
    /// The release.
    pub release: String,
    /// Requests since the comparison began.
    pub requests: u64,
    /// Errors among them.
    pub errors: u64,
    /// Errors per request in per cent; none without requests.
    pub error_percent: Option<f64>,
    /// Requests per second of late.
    pub requests_per_second: Option<f64>,
    /// Median latency in milliseconds.
    pub p50_ms: Option<f64>,
    /// 95th percentile in milliseconds.
    pub p95_ms: Option<f64>,
    /// 99th percentile in milliseconds.
    pub p99_ms: Option<f64>,
    /// Instances that run.
    pub instances: u32,
}

/// What the comparison says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum VerdictDecision {
    /// Not yet decided.
    Collecting,
    /// The candidate is as good as the baseline within the tolerance.
    Healthy,
    /// The candidate is worse.
    Regressed,
    /// The time is over and the evidence does not do.
    Inconclusive,
}

/// The verdict with its evidence.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Verdict {
    /// What it says.
    pub decision: VerdictDecision,
    /// Why, with the number that decided, in one sentence.
    pub reason: String,
    /// Chance of a false rollback that was promised, for example 0.01.
    pub alpha: f64,
    /// What is left of it for this rollout.
    pub alpha_left: f64,
    /// Tolerated worsening in per cent.
    pub tolerance_percent: f64,
    /// Each metric's evidence.
    pub evidence: Vec<Evidence>,
    /// What the rollout needs, judged before its start or now.
    #[serde(default)]
    pub forecast: Option<Forecast>,
    /// When it was last computed.
    pub as_of: Moment,
}

/// Evidence on one metric.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Evidence {
    /// `errors`, `latency over 300 ms`, `assignment ratio`, a metric's name.
    pub metric: String,
    /// What it says by itself.
    pub decision: VerdictDecision,
    /// The e-value now: evidence against "no worse", 1 is none.
    pub e_value: Option<f64>,
    /// The e-value at which it decides (1 / its share of alpha).
    pub threshold: Option<f64>,
    /// The baseline's figure, in `unit`.
    pub baseline: Option<f64>,
    /// The candidate's figure, in `unit`.
    pub candidate: Option<f64>,
    /// Unit of both, for example `%`.
    pub unit: String,
    /// Difference candidate - baseline, in `unit`.
    pub effect: Option<f64>,
    /// Its interval at every moment, in `unit`.
    #[serde(default)]
    pub interval: Option<(f64, f64)>,
    /// Units (requests, users) still needed to claim it healthy; none when it cannot be told.
    pub units_needed: Option<u64>,
    /// What was counted of both releases, in words.
    #[serde(default)]
    pub counts: Option<String>,
    /// Resolved query or definition.
    #[serde(default)]
    pub query: Option<String>,
}

/// How long the evidence will take.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Forecast {
    /// Requests needed in all.
    pub units: Option<u64>,
    /// Seconds at the present rate.
    pub seconds: Option<f64>,
    /// In words.
    pub text: String,
}

/// A weight that was in force from a time on.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct WeightStep {
    /// From when.
    pub at: Moment,
    /// The candidate's share in per cent.
    pub candidate_percent: f64,
    /// Why it changed.
    pub reason: String,
}

/// A rollout with everything about it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Rollout {
    /// What lists show too.
    #[serde(flatten)]
    pub summary: RolloutSummary,
    /// Phases of the strategy in order, with how far each is (reuses a stage's shape).
    #[serde(default)]
    pub phases: Vec<crate::Stage>,
    /// The baseline's figures.
    pub baseline_figures: Option<ArmFigures>,
    /// The candidate's figures.
    pub candidate_figures: Option<ArmFigures>,
    /// The verdict; none before traffic moved or without comparison.
    pub verdict: Option<Verdict>,
    /// What its steps were expected to tell, before it started.
    #[serde(default)]
    pub forecast: Option<crate::RolloutForecast>,
    /// Weights so far.
    #[serde(default)]
    pub weights: Vec<WeightStep>,
    /// Charts of both arms: request rate, error rate, latency; series are labelled `baseline` and `candidate`.
    #[serde(default)]
    pub charts: Vec<Chart>,
    /// Changes of its weight and incidents meanwhile, to mark on each chart.
    #[serde(default)]
    pub markers: Vec<crate::Marker>,
    /// What was decided and done, and by whom.
    #[serde(default)]
    pub timeline: Vec<TimelineEntry>,
    /// The services that are released with it.
    #[serde(default)]
    pub group: Option<crate::Group>,
    /// Address under which the candidate can be tried off-traffic.
    #[serde(default)]
    pub preview_url: Option<String>,
}

/// Which rollouts to list, newest first.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct RolloutQuery {
    /// Only of this service.
    pub service: Option<String>,
    /// Only to this environment.
    pub environment: Option<String>,
    /// Only those under way.
    pub active: Option<bool>,
    /// At most so many; 50 when absent.
    pub limit: Option<usize>,
}
