//! Reads how a new release is judged: what each metric leads to, metrics of the team's own, and what is
//! done where one says nothing.

use std::collections::BTreeSet;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Serialize, Serializer};

use super::reading::MetricName;
use super::{Inconclusive, Regressed, VerdictSettings};
use crate::fields::Fields;
use crate::read::Value;
use crate::yaml::Kind;
use crate::{Percent, Period};

/// Most metrics of a team's own in a verdict.
const METRICS_MAX: usize = 20;
/// What is left of alpha for errors and latency whatever the team's own metrics take, in per cent.
const SHARE_LEFT_MIN: f64 = 20.0;
/// Words that a query may hold, each with a `$` before it.
const PLACEHOLDERS: [&str; 5] = ["release", "arm", "service", "environment", "window"];

/// What is done where a metric says nothing. None of them calls the release healthy.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Absent {
    /// Ask a person.
    Ask,
    /// Watch as long again, up to three times, then ask.
    Extend,
    /// Roll back.
    Rollback,
    /// Leave this metric out of the step and tell the team; what is left must be well by itself.
    Report,
}

/// The three ways to say nothing, each with its own answer.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Absences {
    /// One of the releases got no requests; left out, what `on_inconclusive` says.
    pub on_no_traffic: Option<Absent>,
    /// The query was answered, with no number for one of the releases.
    pub on_missing_metric: Option<Absent>,
    /// The query was not answered.
    pub on_failed_query: Option<Absent>,
}

/// What a metric leads to, where that differs from the rest of `verdict`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, JsonSchema)]
pub struct MetricSettings {
    /// What a regression leads to.
    pub on_regressed: Option<Regressed>,
    /// What a watch without a verdict on it leads to.
    pub on_inconclusive: Option<Inconclusive>,
}

/// Which way a figure gets better.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Direction {
    /// Lower is better.
    Lower,
    /// Higher is better.
    Higher,
}

/// How much worse than the previous release's figure is still well.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Tolerance {
    /// This share of it.
    Share(Percent),
    /// This much, in the metric's unit.
    Absolute(f64),
}

impl Serialize for Tolerance {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Tolerance::Share(share) => share.serialize(serializer),
            Tolerance::Absolute(value) => serializer.serialize_f64(*value),
        }
    }
}

impl JsonSchema for Tolerance {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Tolerance".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "description": "A share of the previous release's figure (25%), or a number in the metric's unit.",
            "anyOf": [
                { "type": "number", "minimum": 0 },
                { "type": "string", "pattern": "^[0-9]+(\\.[0-9]+)?%$" }
            ]
        })
    }
}

/// A metric of the team's own in the verdict: either a figure (`query` and `direction`), or counts (`total`
/// with `bad` or `good`).
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
pub struct VerdictMetric {
    /// Its name: lower-case letters, digits and '_'.
    pub name: String,
    /// PromQL that gives one number for a release.
    pub query: Option<String>,
    /// Which way that number gets better.
    pub direction: Option<Direction>,
    /// PromQL of a counter of what went badly, for example of failed merges.
    pub bad: Option<String>,
    /// PromQL of a counter of what went well.
    pub good: Option<String>,
    /// PromQL of a counter of all of them.
    pub total: Option<String>,
    /// What people read after its numbers.
    pub unit: String,
    /// How much worse counts as worse.
    pub tolerance: Tolerance,
    /// Its share of alpha.
    pub share: Percent,
    /// How long one comparison of both releases lasts.
    pub interval: Period,
    /// Comparisons below which it is not called healthy.
    pub intervals_min: u32,
    /// What it leads to.
    #[serde(flatten)]
    pub leads_to: MetricSettings,
    /// What is done where it says nothing.
    #[serde(flatten)]
    pub absences: Absences,
    /// Line and column of its query.
    #[serde(skip)]
    #[schemars(skip)]
    pub at: (usize, usize),
}

const NOTHING: MetricSettings = MetricSettings {
    on_regressed: None,
    on_inconclusive: None,
};
const UNSAID: Absences = Absences {
    on_no_traffic: None,
    on_missing_metric: None,
    on_failed_query: None,
};

/// `production.verdict:` when left out.
pub(super) const VERDICT: VerdictSettings = VerdictSettings {
    alpha: Percent::constant(1),
    tolerance: Percent::constant(25),
    on_inconclusive: Inconclusive::Ask,
    on_regressed: Regressed::Protect,
    requests_min: 200,
    absences: UNSAID,
    errors: NOTHING,
    latency: NOTHING,
    client_errors: NOTHING,
    metrics: Vec::new(),
};

/// What a watch without a verdict leads to.
pub(super) fn inconclusive(value: Value<'_>) -> Option<Inconclusive> {
    value.one_of(&[
        ("pass", Inconclusive::Pass),
        ("extend", Inconclusive::Extend),
        ("ask", Inconclusive::Ask),
        ("rollback", Inconclusive::Rollback),
        ("report", Inconclusive::Report),
    ])
}

fn regressed(value: Value<'_>) -> Option<Regressed> {
    value.one_of(&[
        ("protect", Regressed::Protect),
        ("rollback", Regressed::Rollback),
        ("extend", Regressed::Extend),
        ("ask", Regressed::Ask),
        ("report", Regressed::Report),
    ])
}

fn absent(value: Value<'_>) -> Option<Absent> {
    value.one_of(&[
        ("ask", Absent::Ask),
        ("extend", Absent::Extend),
        ("rollback", Absent::Rollback),
        ("report", Absent::Report),
    ])
}

/// `production.verdict:`.
pub(super) fn verdict(value: Value<'_>) -> Option<VerdictSettings> {
    let fields = value.fields(&[
        "alpha",
        "tolerance",
        "on_inconclusive",
        "on_regressed",
        "requests_min",
        "on_no_traffic",
        "on_missing_metric",
        "on_failed_query",
        "errors",
        "latency",
        "client_errors",
        "metrics",
    ])?;
    let tolerance = fields.or("tolerance", Value::percent, VERDICT.tolerance);
    let settings = VerdictSettings {
        alpha: fields.or("alpha", Value::percent, VERDICT.alpha),
        tolerance,
        on_inconclusive: fields.or("on_inconclusive", inconclusive, VERDICT.on_inconclusive),
        on_regressed: fields.or("on_regressed", regressed, VERDICT.on_regressed),
        requests_min: fields.or(
            "requests_min",
            |v| v.integer(1, 1_000_000_000),
            VERDICT.requests_min,
        ),
        absences: absences(&fields),
        errors: fields.or("errors", settings, NOTHING),
        latency: fields.or("latency", settings, NOTHING),
        client_errors: fields.or("client_errors", settings, NOTHING),
        metrics: fields.or("metrics", |v| metrics(v, tolerance), Vec::new()),
    };
    if !(0.001..=20.0).contains(&settings.alpha.percent()) {
        let what = "outside 0.001% to 20%: no verdict would mean anything";
        fields.clash("alpha", what, "write 1%");
    }
    let shares: f64 = settings.metrics.iter().map(|metric| metric.share.percent()).sum();
    if shares > 100.0 - SHARE_LEFT_MIN {
        let what =
            format!("their shares of alpha sum to {shares}%: too little is left for errors and latency");
        fields.clash("metrics", &what, "let the shares sum to at most 80%");
    }
    Some(settings)
}

fn settings(value: Value<'_>) -> Option<MetricSettings> {
    let fields = value.fields(&["on_regressed", "on_inconclusive"])?;
    Some(leads_to(&fields))
}

fn leads_to(fields: &Fields<'_>) -> MetricSettings {
    MetricSettings {
        on_regressed: fields.maybe("on_regressed", regressed),
        on_inconclusive: fields.maybe("on_inconclusive", inconclusive),
    }
}

fn absences(fields: &Fields<'_>) -> Absences {
    Absences {
        on_no_traffic: fields.maybe("on_no_traffic", absent),
        on_missing_metric: fields.maybe("on_missing_metric", absent),
        on_failed_query: fields.maybe("on_failed_query", absent),
    }
}

fn metrics(value: Value<'_>, tolerance: Percent) -> Option<Vec<VerdictMetric>> {
    let mut names = BTreeSet::new();
    value.list(
        METRICS_MAX,
        "- {name: queue_lag, query: 'max(queue_lag_seconds)', direction: lower}",
        |v| metric(v, tolerance, &mut names),
    )
}

fn metric(value: Value<'_>, tolerance: Percent, names: &mut BTreeSet<String>) -> Option<VerdictMetric> {
    let fields = value.fields(&[
        "name",
        "query",
        "direction",
        "bad",
        "good",
        "total",
        "unit",
        "tolerance",
        "share",
        "interval",
        "intervals_min",
        "on_regressed",
        "on_inconclusive",
        "on_no_traffic",
        "on_missing_metric",
        "on_failed_query",
    ])?;
    let name = fields.need("name", "a name: 'name: queue_lag'", |v| {
        v.parsed::<MetricName>("use lower-case letters, digits and '_', beginning with a letter")
    });
    let [query, bad, good, total] = ["query", "bad", "good", "total"].map(|name| fields.maybe(name, promql));
    let place = ["query", "bad", "good"]
        .iter()
        .find_map(|name| fields.value(name))
        .map_or(fields.place, |value| value.node.place);
    let metric = VerdictMetric {
        name: name?.0,
        direction: fields.maybe("direction", |v| {
            v.one_of(&[("lower", Direction::Lower), ("higher", Direction::Higher)])
        }),
        query,
        bad,
        good,
        total,
        unit: fields.or("unit", Value::text, String::new()),
        tolerance: fields.or("tolerance", read_tolerance, Tolerance::Share(tolerance)),
        share: fields.or("share", Value::percent, Percent::constant(10)),
        interval: fields.or("interval", Value::positive_period, Period::seconds(10)),
        // At most 1000, so that it fits.
        intervals_min: fields.or("intervals_min", |v| v.integer(1, 1000), 5) as u32,
        leads_to: leads_to(&fields),
        absences: absences(&fields),
        at: (place.line, place.column),
    };
    if !names.insert(metric.name.clone()) {
        fields.clash(
            "name",
            "two metrics have this name",
            "give each a name of its own",
        );
    }
    if metric.share.percent() <= 0.0 {
        let mend = "write for example 10%, or leave the metric out";
        fields.clash("share", "without a share of alpha it could never speak", mend);
    }
    check_kind(&fields, &metric);
    Some(metric)
}

/// A figure or counts, and nothing in between.
fn check_kind(fields: &Fields<'_>, metric: &VerdictMetric) {
    let counted = [
        ("bad", metric.bad.is_some()),
        ("good", metric.good.is_some()),
        ("total", metric.total.is_some()),
    ];
    let counts = counted.iter().filter(|(_, given)| *given).count();
    // A field that is there and could not be read has been reported already.
    let given = |name| fields.value(name).is_some();
    if given("query") {
        if let Some((name, _)) = counted.iter().find(|(_, given)| *given) {
            let mend = "keep either 'query', or 'bad' (or 'good') and 'total'";
            fields.clash(name, "a figure and counts do not go together", mend);
        }
        if !given("direction") {
            let mend = "add 'direction: lower' where lower is better, or 'direction: higher'";
            fields.clash("direction", "missing", mend);
        }
        return;
    }
    let one_of_both = given("bad") != given("good");
    if counts == 0 && !given("bad") && !given("good") && !given("total") {
        let mend = "add a figure, query: 'max(queue_lag_seconds)', or counts: 'bad' (or 'good') and 'total'";
        fields.clash("query", "missing", mend);
    } else if !one_of_both || !given("total") {
        let mend = "write bad: 'sum(merges_failed_total)' (or 'good') and total: 'sum(merges_total)'";
        fields.clash("total", "counts need 'total' and one of 'bad' and 'good'", mend);
    }
    if given("direction") {
        let mend = "leave it out: 'bad' or 'good' says it";
        fields.clash("direction", "counts have their direction already", mend);
    }
    if let Tolerance::Absolute(_) = metric.tolerance {
        fields.clash("tolerance", "counts are compared by share", "write a share: 25%");
    }
}

fn read_tolerance(value: Value<'_>) -> Option<Tolerance> {
    match &value.node.kind {
        Kind::Scalar { text, .. } if !text.trim_end().ends_with('%') => match text.trim().parse::<f64>() {
            Ok(number) if number.is_finite() && number >= 0.0 => Some(Tolerance::Absolute(number)),
            Ok(_) | Err(_) => value.wrong(
                "neither a share nor a number of at least 0",
                "write a share of the previous release's figure (25%), or a number in its unit (0.5)",
            ),
        },
        _ => value.percent().map(Tolerance::Share),
    }
}

fn promql(value: Value<'_>) -> Option<String> {
    let (node, path, sink) = (value.node, value.path.clone(), value.sink);
    let text = value.text()?;
    for part in text.split('$').skip(1) {
        let word: String = part.chars().take_while(char::is_ascii_alphanumeric).collect();
        // `$` ends a pattern too: a word after it is what makes a placeholder.
        if !word.is_empty() && !PLACEHOLDERS.contains(&word.as_str()) {
            let what = format!("${word} is not known");
            let mend = "use $release, $arm, $service, $environment or $window";
            sink.report(node.place, &path, what, mend);
            return None;
        }
    }
    Some(text)
}

impl VerdictMetric {
    /// The queries of it, with the fields they stand in.
    pub fn queries(&self) -> impl Iterator<Item = (&'static str, &str)> {
        let all = [
            ("query", &self.query),
            ("bad", &self.bad),
            ("good", &self.good),
            ("total", &self.total),
        ];
        all.into_iter()
            .filter_map(|(name, query)| Some((name, query.as_deref()?)))
    }
}
