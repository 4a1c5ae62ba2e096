//! The figures of D: as tiles, and as the moving numbers that the live stream tells.

use std::collections::BTreeMap;

use maud::{Markup, html};
use serde::Serialize;
use trimtab_api::{Dashboard, Figure, FigureState, Moment};

use crate::parts::badges::{State as _, Tone, icon, shape};
use crate::parts::charts::spark_path;
use crate::text::{Language, Shown, Text, figure, percent, say};

/// A figure's title: the catalogue's for what every service has, the team's own for its business.
pub(crate) fn title(figure: &Figure, language: Language) -> String {
    let text: Text = match figure.id.as_str() {
        "D.S1" => say::CPU,
        "D.S2" => say::MEMORY,
        "D.S3" => say::DISK,
        "D.S4" => say::NETWORK,
        "D.S5" => say::UPTIME,
        "D.A1" => say::RATE,
        "D.A2" => say::RESPONSE,
        "D.A3" => say::ERRORS,
        "D.A4" => say::ACTIVE_USERS,
        "D.A5" => say::DATABASE_QUERIES,
        "D.Q1" => say::APDEX,
        "D.Q2" => say::SLA,
        "D.Q3" => say::MTTR,
        "D.Q4" => say::MTBF,
        "D.Q5" => say::SATISFACTION,
        "D.AL1" => say::ALL_SYSTEMS,
        "D.AL2" => say::ALERTS_WARNING,
        "D.AL3" => say::ALERTS_CRITICAL,
        _ => return figure.title.clone(),
    };
    language.say(text).to_owned()
}

/// A figure's value and unit; the unit is empty when there is no value.
pub(crate) fn value(of: &Figure, language: Language) -> Shown {
    match of.value.filter(|value| value.is_finite()) {
        Some(value) => figure(value, &of.unit, language),
        None => Shown {
            value: language.say(say::NO_DATA).to_owned(),
            unit: String::new(),
        },
    }
}

/// What stands below the number: the whole it is part of, and its reading aid.
fn detail(of: &Figure, language: Language) -> String {
    let total = of.total.filter(|_| of.value.is_some()).map(|total| {
        let shown = figure(total, &of.unit, language);
        let share = match of.value {
            Some(value) if total > 0.0 => format!(" · {}", percent(value / total * 100.0, language)),
            _ => String::new(),
        };
        format!(
            "{}{share}",
            language.fill(
                say::OF_TOTAL,
                &[&format!("{}\u{202f}{}", shown.value, shown.unit)]
            )
        )
    });
    match (total, of.detail.is_empty()) {
        (Some(total), true) => total,
        (Some(total), false) => format!("{total} · {}", of.detail),
        (None, _) => of.detail.clone(),
    }
}

/// A state's word; neutral figures carry none.
fn state_of(of: &Figure) -> (Tone, Option<Text>) {
    if of.value.is_none() {
        return (Tone::Quiet, None);
    }
    match of.state {
        FigureState::NoData | FigureState::Neutral => (Tone::Quiet, None),
        state => {
            let (tone, word) = state.tone_and_word();
            (tone, Some(word))
        }
    }
}

/// A figure as a tile with its recent past.
pub(crate) fn tile(of: &Figure, language: Language) -> Markup {
    let shown = value(of, language);
    let (tone, word) = state_of(of);
    let word = word.map(|word| language.say(word)).unwrap_or_default();
    let path = spark_path(&of.sparkline);
    html! {
        article class={ "tile tone-" (tone.as_str()) } data-figure=(of.id) title=(of.source) {
            h3 {
                (title(of, language))
                span class={ "dot tone-" (tone.as_str()) } data-state title=(word) hidden[word.is_empty()] {
                    (icon(tone.icon())) span.unseen { (word) }
                }
            }
            p.tile-value data-empty[of.value.is_none()] {
                b.num data-value { (shown.value) } " " span.unit data-unit { (shown.unit) }
            }
            svg.spark viewBox="0 0 100 24" preserveAspectRatio="none" aria-hidden="true" { path data-spark d=(path) {} }
            p.muted.small data-detail { (detail(of, language)) }
        }
    }
}

/// One figure of the live stream.
#[derive(Debug, Serialize)]
pub(crate) struct MovingFigure {
    id: String,
    value: String,
    unit: String,
    detail: String,
    tone: &'static str,
    state: &'static str,
    icon: &'static str,
    spark: String,
    empty: bool,
}

/// New points of one line of a chart.
#[derive(Debug, Serialize)]
pub(crate) struct MovingLine {
    name: String,
    /// Milliseconds since the epoch and values.
    points: Vec<(i64, Option<f64>)>,
}

/// What the live stream tells once a second.
#[derive(Debug, Serialize)]
pub(crate) struct Moving {
    figures: Vec<MovingFigure>,
    /// Points newer than those told before, by chart and series.
    points: BTreeMap<String, Vec<MovingLine>>,
    from: i64,
    to: i64,
    /// When the newest sample arrived.
    data_as_of: Option<Moment>,
}

/// The dashboard's moving part. `told` remembers the newest time told of each chart; the first call
/// tells only what the page does not have yet: nothing older than a minute.
pub(crate) fn moving_figures(
    dashboard: &Dashboard,
    language: Language,
    told: &mut BTreeMap<String, i64>,
) -> Moving {
    let figures = dashboard.figures.iter().map(|of| {
        let shown = value(of, language);
        let (tone, word) = state_of(of);
        MovingFigure {
            id: of.id.clone(),
            value: shown.value,
            unit: shown.unit,
            detail: detail(of, language),
            tone: tone.as_str(),
            state: word.map(|word| language.say(word)).unwrap_or_default(),
            icon: shape(tone.icon()),
            spark: spark_path(&of.sparkline),
            empty: of.value.is_none(),
        }
    });
    let mut points = BTreeMap::new();
    for chart in &dashboard.charts {
        let after = told
            .get(&chart.id)
            .copied()
            .unwrap_or(dashboard.to.millis() - 60_000);
        let newest = chart
            .series
            .iter()
            .filter_map(|series| series.points.last())
            .map(|(at, _)| *at)
            .max();
        // The last two are told again: late samples still change them.
        let from = after - 5_000;
        let fresh = chart.series.iter().map(|series| {
            let begin = series.points.partition_point(|(at, _)| *at <= from);
            MovingLine {
                name: series.name.clone(),
                points: series.points[begin..].to_vec(),
            }
        });
        points.insert(chart.id.clone(), fresh.collect());
        if let Some(newest) = newest {
            told.insert(chart.id.clone(), newest);
        }
    }
    Moving {
        figures: figures.collect(),
        points,
        from: dashboard.from.millis(),
        to: dashboard.to.millis(),
        data_as_of: dashboard.data_as_of,
    }
}
