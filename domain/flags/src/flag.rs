//! Flags and sets of them, once they are read.

use std::collections::BTreeMap;

use serde_json::{Map, Value};
use trimtab_model::Timestamp;

use crate::answer::{Answer, ErrorCode, Failure, Reason, Served};
use crate::bucketing::Bucketing;
use crate::budget::{Budget, Stop};
use crate::evaluate::Evaluation;
use crate::json::{text, within};
use crate::logic::Rule;
use crate::problem::quoted;
use crate::{CONTEXT_DEPTH_MAX, MADE_BYTES_MAX, STEPS_MAX};

/// Whether a flag is in use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FlagState {
    /// It is evaluated.
    Enabled,
    /// Whoever asks is told to use the code's own default.
    Disabled,
}

/// One flag.
#[derive(Debug, Clone, PartialEq)]
pub struct Flag {
    /// Whether it is in use.
    pub state: FlagState,
    /// Values by the names of variants.
    pub variants: BTreeMap<String, Value>,
    /// The variant when targeting chooses none; none means the code's own default.
    pub default_variant: Option<String>,
    /// What is told along with every answer.
    pub metadata: Map<String, Value>,
    pub(crate) targeting: Option<Rule>,
}

/// The flags of a service in an environment.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct FlagSet {
    /// By key.
    pub flags: BTreeMap<String, Flag>,
    /// How users are drawn.
    pub bucketing: Bucketing,
    /// What is told along with every answer.
    pub metadata: Map<String, Value>,
}

impl FlagSet {
    /// Whether a context can be evaluated in: an object that nests within the limit, whose targeting
    /// key is a text.
    pub fn check_context(context: &Value) -> Result<(), Failure> {
        let fault = |details: &str| Err(Failure::new(ErrorCode::InvalidContext, details));
        let Some(fields) = context.as_object() else {
            return fault("the context is no object");
        };
        if !within(context, CONTEXT_DEPTH_MAX) {
            return fault("the context nests too deep");
        }
        match fields.get("targetingKey") {
            None | Some(Value::Null | Value::String(_)) => Ok(()),
            Some(_) => fault("the targeting key is no text"),
        }
    }

    /// Evaluates one flag.
    pub fn evaluate(&self, key: &str, context: &Value, now: Timestamp) -> Answer {
        let (outcome, metadata) = match self.flags.get(key) {
            Some(flag) => {
                let mut metadata = self.metadata.clone();
                metadata.extend(flag.metadata.clone());
                let outcome = Self::check_context(context)
                    .and_then(|()| flag.evaluate(key, context, self.bucketing, now));
                (outcome, metadata)
            }
            None => {
                let details = format!("there is no flag {}", quoted(key));
                (
                    Err(Failure::new(ErrorCode::FlagNotFound, details)),
                    self.metadata.clone(),
                )
            }
        };
        Answer {
            key: key.to_owned(),
            outcome,
            metadata,
        }
    }

    /// Evaluates every flag, in the order of their keys.
    pub fn evaluate_all(&self, context: &Value, now: Timestamp) -> Vec<Answer> {
        self.flags
            .keys()
            .map(|key| self.evaluate(key, context, now))
            .collect()
    }
}

impl Flag {
    /// Whether everybody gets the same: there is nothing to decide.
    pub fn is_static(&self) -> bool {
        self.state == FlagState::Disabled || self.targeting.is_none()
    }

    /// Whether a draw by hash may decide it.
    pub fn splits(&self) -> bool {
        self.targeting.as_ref().is_some_and(Rule::splits)
    }

    fn evaluate(
        &self,
        key: &str,
        context: &Value,
        bucketing: Bucketing,
        now: Timestamp,
    ) -> Result<Served, Failure> {
        if self.state == FlagState::Disabled {
            return Ok(code_default(Reason::Disabled));
        }
        let Some(rule) = &self.targeting else {
            return Ok(self.default(Reason::Static));
        };
        let mut evaluation = Evaluation {
            flag: key,
            targeting_key: context.get("targetingKey").and_then(Value::as_str),
            bucketing,
            now,
            budget: Budget::full(),
            drawn: None,
        };
        let worth = evaluation.run(rule, context).map_err(failure)?;
        // A draw decided when the rule is worth what was drawn.
        let drawn = evaluation.drawn.filter(|draw| draw.part == *worth);
        if worth.is_null() {
            return Ok(self.default(Reason::Default));
        }
        let name = text(&worth);
        let Some((name, value)) = self.variants.get_key_value(name.as_ref()) else {
            let details = format!("targeting chose {}, which is no variant", quoted(&name));
            return Err(Failure::new(ErrorCode::General, details));
        };
        Ok(Served {
            variant: Some(name.clone()),
            value: Some(value.clone()),
            reason: if drawn.is_some() {
                Reason::Split
            } else {
                Reason::TargetingMatch
            },
            cohort: drawn.and_then(|draw| draw.cohort),
        })
    }

    fn default(&self, reason: Reason) -> Served {
        let chosen = self
            .default_variant
            .as_ref()
            .and_then(|name| self.variants.get_key_value(name));
        match chosen {
            Some((name, value)) => Served {
                variant: Some(name.clone()),
                value: Some(value.clone()),
                reason,
                cohort: None,
            },
            None => code_default(Reason::Default),
        }
    }
}

fn code_default(reason: Reason) -> Served {
    Served {
        variant: None,
        value: None,
        reason,
        cohort: None,
    }
}

fn failure(stop: Stop) -> Failure {
    match stop {
        Stop::Steps => Failure::new(
            ErrorCode::General,
            format!("targeting took more than {STEPS_MAX} steps"),
        ),
        Stop::Made => Failure::new(
            ErrorCode::General,
            format!("targeting made more than {MADE_BYTES_MAX} bytes"),
        ),
        Stop::TargetingKeyMissing => Failure::new(
            ErrorCode::TargetingKeyMissing,
            "the flag is split by the targeting key and the context has none",
        ),
        Stop::Split(what) => Failure::new(ErrorCode::General, format!("targeting has {what}")),
    }
}
