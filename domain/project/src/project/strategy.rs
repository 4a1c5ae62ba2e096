//! Reads what the strategies of production are told: canary steps, rolling batches, jobs on the way.

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Serialize, Serializer};

use super::hook::job;
use super::verdict::inconclusive;
use super::{Hooks, Inconclusive, Rolling, Step};
use crate::read::Value;
use crate::yaml::Kind;
use crate::{Percent, Period};

/// Most steps of a canary.
const STEPS_MAX: usize = 20;
/// Most instances that a portion may name.
const PORTION_MAX: u64 = 100;

/// Some of the instances: a number, or a share of all.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Portion {
    /// So many.
    Count(u32),
    /// This share.
    Share(Percent),
}

impl Portion {
    /// How many of `all` that is. A share is rounded up where more is safe (surge), down where it is
    /// not.
    pub fn of(self, all: u32, round_up: bool) -> u32 {
        match self {
            Portion::Count(count) => count,
            Portion::Share(share) => {
                let exact = f64::from(all) * share.fraction();
                let whole = if round_up { exact.ceil() } else { exact.floor() };
                // At most `all`, which is a u32.
                whole as u32
            }
        }
    }
}

impl Serialize for Portion {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Portion::Count(count) => serializer.serialize_u32(*count),
            Portion::Share(share) => share.serialize(serializer),
        }
    }
}

impl JsonSchema for Portion {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Portion".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "description": "A number of instances, or a share of them: 1, 25%.",
            "anyOf": [
                { "type": "integer", "minimum": 0, "maximum": 100 },
                { "type": "string", "pattern": "^[0-9]+(\\.[0-9]+)?%$" }
            ]
        })
    }
}

fn portion(value: Value<'_>) -> Option<Portion> {
    match &value.node.kind {
        Kind::Scalar { text, .. } if text.trim_end().ends_with('%') => value.percent().map(Portion::Share),
        _ => {
            let count = value.integer(0, PORTION_MAX)?;
            u32::try_from(count).ok().map(Portion::Count)
        }
    }
}

/// How long a step is watched when nothing says so.
pub(super) const STEP_WATCH: Period = Period::seconds(60);

/// 5 %, then 25 %, then everyone (B.C1, B.C5, B.C8).
pub(super) fn default_steps(watch: Period) -> Vec<Step> {
    [5, 25]
        .map(|percent| plain(Percent::constant(percent), watch))
        .into()
}

pub(super) fn plain(weight: Percent, watch: Period) -> Step {
    Step {
        weight,
        watch,
        requests_min: 0,
        on_inconclusive: None,
        job: None,
        approval: false,
        pause: Period::default(),
    }
}

/// Steps; one that does not say how long it is watched is watched for `watch`.
pub(super) fn steps(value: Value<'_>, watch: Period) -> Option<Vec<Step>> {
    let (node, path, sink) = (value.node, value.path.clone(), value.sink);
    let steps = value.list(STEPS_MAX, "[5%, {weight: 25%, watch: 5m}]", |v| step(v, watch))?;
    let mut before = 0.0;
    for (index, step) in steps.iter().enumerate() {
        let weight = step.weight.percent();
        if weight <= before {
            let what = format!("{} is not more than the step before has", step.weight);
            let mend = "let the weights grow from step to step, for example 5%, 25%, 50%";
            sink.report(node.place, &format!("{path}[{index}].weight"), what, mend);
            return None;
        }
        before = weight;
    }
    if steps.is_empty() {
        let mend = "write [5%, 25%], or leave 'steps' out";
        sink.report(node.place, &path, "a canary without steps", mend);
        return None;
    }
    Some(steps)
}

fn step(value: Value<'_>, watch: Period) -> Option<Step> {
    if matches!(value.node.kind, Kind::Scalar { .. }) {
        return value.percent().map(|weight| plain(weight, watch));
    }
    let fields = value.fields(&[
        "weight",
        "watch",
        "requests_min",
        "on_inconclusive",
        "job",
        "approval",
        "pause",
    ])?;
    let weight = fields.need("weight", "the share of users: 'weight: 5%'", Value::percent);
    let watch = fields.or("watch", Value::period, watch);
    let step = Step {
        weight: weight?,
        watch,
        requests_min: fields.or("requests_min", |v| v.integer(0, 1_000_000_000), 0),
        on_inconclusive: fields.maybe("on_inconclusive", inconclusive),
        job: fields.maybe("job", job),
        approval: fields.or("approval", Value::boolean, false),
        pause: fields.or("pause", Value::period, Period::default()),
    };
    if step.requests_min > 0 && step.watch == Period::default() {
        fields.clash(
            "requests_min",
            "nothing is counted in a step without a watch",
            "give the step a watch, for example 'watch: 5m'",
        );
    }
    Some(step)
}

/// `production.rolling:` when left out.
pub(super) const ROLLING: Rolling = Rolling {
    surge_max: Portion::Count(1),
    unavailable_max: Portion::Count(0),
    ready_min: Period::seconds(5),
    progress: Period::seconds(600),
    on_inconclusive: Inconclusive::Pass,
};

/// `production.rolling:`; a batch must be well for `ready_min` when it does not say how long.
pub(super) fn rolling(value: Value<'_>, ready_min: Period) -> Option<Rolling> {
    let fields = value.fields(&[
        "surge_max",
        "unavailable_max",
        "ready_min",
        "progress",
        "on_inconclusive",
    ])?;
    let rolling = Rolling {
        surge_max: fields.or("surge_max", portion, ROLLING.surge_max),
        unavailable_max: fields.or("unavailable_max", portion, ROLLING.unavailable_max),
        ready_min: fields.or("ready_min", Value::period, ready_min),
        progress: fields.or("progress", Value::positive_period, ROLLING.progress),
        on_inconclusive: fields.or("on_inconclusive", inconclusive, ROLLING.on_inconclusive),
    };
    let none = |portion: Portion| portion.of(100, true) == 0;
    if none(rolling.surge_max) && none(rolling.unavailable_max) {
        fields.clash(
            "surge_max",
            "no instance may be added and none may be missing: nothing could be replaced",
            "write 'surge_max: 1', or 'unavailable_max: 1'",
        );
    }
    Some(rolling)
}

/// `production.hooks:`.
pub(super) fn hooks(value: Value<'_>) -> Option<Hooks> {
    let fields = value.fields(&["before", "expand", "contract", "after"])?;
    let [before, expand, contract, after] =
        ["before", "expand", "contract", "after"].map(|name| fields.maybe(name, job));
    Some(Hooks {
        before,
        expand,
        contract,
        after,
    })
}
