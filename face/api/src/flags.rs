//! Feature flags: sets, their changes, and what is stale.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::Moment;

/// The flags of a service in an environment, in short.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct FlagSetSummary {
    /// The service.
    pub service: String,
    /// The environment.
    pub environment: String,
    /// How often it was changed; names what a change is made for.
    pub version: u64,
    /// How many flags it has.
    pub flags: usize,
    /// When it last changed.
    pub changed_at: Option<Moment>,
    /// Who changed it.
    pub changed_by: Option<String>,
}

/// The flags of a service in an environment.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct FlagSetDetail {
    /// In short.
    #[serde(flatten)]
    pub summary: FlagSetSummary,
    /// The document, in flagd's JSON.
    pub document: Value,
    /// Each flag with its use.
    pub by_key: Vec<FlagDetail>,
}

/// How a flag decides.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum FlagKind {
    /// It is switched off: the code's own default applies.
    Disabled,
    /// Everybody gets the default variant.
    Static,
    /// Targeting decides.
    Targeting,
    /// A draw by hash decides.
    Split,
}

/// One flag with its use.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct FlagDetail {
    /// Its key.
    pub key: String,
    /// How it decides.
    pub kind: FlagKind,
    /// Values by variants.
    pub variants: BTreeMap<String, Value>,
    /// The variant when targeting chooses none.
    pub default_variant: Option<String>,
    /// The rollout, when the flag is nothing but one.
    pub share: Option<FlagShare>,
    /// When it last changed.
    pub changed_at: Option<Moment>,
    /// Who changed it.
    pub changed_by: Option<String>,
    /// When it was last asked for; none when never since counting began.
    pub asked_at: Option<Moment>,
    /// Evaluations since the server started.
    pub evaluations: u64,
    /// Distinct users who were served, by their side: exposed, control, outside.
    pub users: FlagUsers,
    /// What the requests of exposed users say beside those of the control; none before the first.
    #[serde(default)]
    pub verdict: Option<FlagVerdict>,
}

/// Users with the new variant against as many without it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct FlagVerdict {
    /// `regressed`, `healthy`, `inconclusive` or `routing broken`.
    pub decision: String,
    /// Why, with numbers.
    pub reason: String,
    /// The evidence; regressed at 1 / alpha.
    pub e_value: f64,
    /// Exposed users of whom a request was seen.
    pub exposed: u64,
    /// Of these, whose first request failed.
    pub exposed_failed: u64,
    /// Users of the control of whom a request was seen.
    pub control: u64,
    /// Of these, whose first request failed.
    pub control_failed: u64,
}

/// Users who were served.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct FlagUsers {
    /// They got the new variant.
    pub exposed: u64,
    /// They are compared with the exposed.
    pub control: u64,
    /// They are not looked at.
    pub outside: u64,
    /// They were too many to be told apart.
    pub uncounted: u64,
}

/// A share of users with a variant.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct FlagShare {
    /// The new variant.
    pub on: String,
    /// The old one.
    pub off: String,
    /// Per cent of users who get the new one.
    pub percent: f64,
    /// The property that tells users apart; the targeting key when absent.
    #[serde(default)]
    pub by: Option<String>,
}

/// What should change; exactly one of `document`, `flag`.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct FlagsChange {
    /// Why; kept in the audit log.
    pub reason: String,
    /// The version that this was made for; refused when another stands.
    pub version: Option<u64>,
    /// The whole document.
    pub document: Option<Value>,
    /// One flag.
    pub flag: Option<OneFlag>,
}

/// A change to one flag: each field that is given.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct OneFlag {
    /// Its key.
    pub key: String,
    /// Its whole definition.
    pub definition: Option<Value>,
    /// On or off.
    pub enabled: Option<bool>,
    /// The variant when targeting chooses none.
    pub default_variant: Option<String>,
    /// Roll a variant out to a share of users.
    pub share: Option<FlagShare>,
    /// Take it out.
    pub delete: bool,
}

/// What should be undone.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct FlagsUndo {
    /// Why; kept in the audit log.
    pub reason: String,
    /// The version whose change is taken back; the last one's when absent.
    pub version: Option<u64>,
}

/// A change as it was made.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct FlagsPast {
    /// The version that it made.
    pub version: u64,
    /// When.
    pub at: Moment,
    /// Who.
    pub by: String,
    /// Why.
    pub reason: String,
    /// The version whose change it took back.
    pub undoes: Option<u64>,
    /// The rollout that made it.
    pub rollout: Option<String>,
    /// What, each with what stood there before.
    pub entries: Vec<FlagsEntry>,
}

/// One entry that changed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct FlagsEntry {
    /// `flags`, `$evaluators` or `metadata`.
    pub section: String,
    /// Its key.
    pub key: String,
    /// What stood there.
    pub before: Option<Value>,
    /// What stands there now.
    pub after: Option<Value>,
}

/// A flag that can go.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct StaleFlag {
    /// Its key.
    pub key: String,
    /// Why it is thought to be stale.
    pub why: String,
    /// What to do about it.
    pub mend: String,
    /// For how many days.
    pub days: u64,
}

/// Which flags count as stale.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct StaleQuery {
    /// After how many days; 30 when absent.
    pub days: Option<u32>,
}
