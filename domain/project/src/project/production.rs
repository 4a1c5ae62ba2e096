//! Reads how production is rolled out to.

use super::flag::flag;
use super::freeze::freeze;
use super::reading::command;
use super::route::{Route, route};
use super::strategy::{ROLLING, STEP_WATCH, default_steps, hooks, rolling, steps};
use super::verdict::{VERDICT, verdict};
use super::{Hooks, Production, Rolling, StrategyName};
use crate::read::Value;
use crate::{Percent, Period};

/// `production:`.
pub(super) fn production(value: Value<'_>) -> Option<Production> {
    let fields = value.fields(&[
        "strategy",
        "test",
        "steps",
        "rolling",
        "flag",
        "hooks",
        "freezes",
        "holdback",
        "watch",
        "drain",
        "decommission_after",
        "route",
        "verdict",
    ])?;
    let strategies = [
        ("blue-green", StrategyName::BlueGreen),
        ("canary", StrategyName::Canary),
        ("rolling", StrategyName::Rolling),
        ("flag", StrategyName::Flag),
    ];
    let watch = fields.maybe("watch", Value::positive_period);
    let production = Production {
        strategy: fields.or("strategy", |v| v.one_of(&strategies), StrategyName::BlueGreen),
        test: fields.maybe("test", command),
        steps: fields
            .maybe("steps", |v| steps(v, watch.unwrap_or(STEP_WATCH)))
            .unwrap_or_else(|| default_steps(watch.unwrap_or(STEP_WATCH))),
        rolling: fields
            .maybe("rolling", |v| rolling(v, watch.unwrap_or(ROLLING.ready_min)))
            .unwrap_or(Rolling {
                ready_min: watch.unwrap_or(ROLLING.ready_min),
                ..ROLLING
            }),
        flag: fields.maybe("flag", flag),
        hooks: fields.or("hooks", hooks, Hooks::default()),
        freezes: fields.or(
            "freezes",
            |v| v.list(FREEZES_MAX, "[{day: friday, at: '16:00', lasts: 64h}]", freeze),
            Vec::new(),
        ),
        holdback: fields.or("holdback", Value::percent, Percent::constant(5)),
        watch: watch.unwrap_or(Period::seconds(30)),
        drain: fields.or("drain", Value::period, Period::seconds(5)),
        decommission_after: fields.or("decommission_after", Value::period, Period::seconds(2)),
        route: fields.or("route", route, Route::default()),
        verdict: fields.or("verdict", verdict, VERDICT),
    };
    if production.holdback.percent() > 50.0 {
        fields.clash(
            "holdback",
            "more than half of the traffic would stay on the previous release",
            "write at most 50%; 5% is usual",
        );
    }
    if production.strategy == StrategyName::Flag && production.flag.is_none() {
        fields.clash(
            "strategy",
            "the strategy 'flag' needs the flag that it rolls out",
            "write 'flag: {key: new-search}'",
        );
    }
    let no_surge = production.rolling.surge_max.of(100, true) == 0;
    if production.strategy == StrategyName::Rolling && production.test.is_some() && no_surge {
        fields.clash(
            "test",
            "without surge no new instance is there to be tested before the first goes",
            "write 'rolling: {surge_max: 1}', or leave the test out",
        );
    }
    Some(production)
}

pub(super) fn host(value: Value<'_>) -> Option<String> {
    let (node, path, sink) = (value.node, value.path.clone(), value.sink);
    let text = value.text()?;
    let label = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '.');
    if text == "*" || (text.len() <= 253 && text.chars().all(label)) {
        return Some(text.to_lowercase());
    }
    let mend = "write a host name without scheme or port, or '*' in quotes for any";
    sink.report(node.place, &path, format!("{text:?} is not a host name"), mend);
    None
}

/// Most freezes.
const FREEZES_MAX: usize = 50;
