//! Charts: drawn here as SVG with a summary in words and a table behind; a script draws the same
//! data again with zoom and a cursor.

use maud::{Markup, html};
use trimtab_api::{Chart, Marker, Moment};

use super::{link, times::time};
use crate::text::{Language, figure, say};

/// Width and height of the drawing, in its own units.
const WIDTH: f64 = 600.0;
const HEIGHT: f64 = 160.0;
/// Rows of the data table.
const ROWS_MAX: usize = 20;
/// Markers that are told in words beneath charts.
const LANE_MAX: usize = 8;

/// A value with its unit in one text; "no data" when there is none.
pub(crate) fn shown(value: Option<f64>, unit: &str, language: Language) -> String {
    match value {
        Some(value) => {
            let shown = figure(value, unit, language);
            let gap = if shown.unit.is_empty() { "" } else { "\u{202f}" };
            format!("{}{gap}{}", shown.value, shown.unit)
        }
        None => language.say(say::NO_DATA).to_owned(),
    }
}

/// A chart. `source` is the address that the script reads the same data from.
pub(crate) fn chart(
    chart: &Chart,
    title: &str,
    range: (Moment, Moment),
    markers: &[Marker],
    language: Language,
) -> Markup {
    let empty = chart
        .series
        .iter()
        .all(|series| series.points.iter().all(|(_, value)| value.is_none()));
    html! {
        figure.chart data-chart=(chart.id) data-unit=(chart.unit) {
            figcaption {
                h3 { (title) }
                ul.legend {
                    @for (index, series) in chart.series.iter().enumerate() {
                        li class={ "line-" (index % 4) } {
                            svg.swatch aria-hidden="true" viewBox="0 0 18 4" { path d="M0 2h18" {} }
                            span data-name { (series.name) } " "
                            b.num data-now=(index) { (shown(last(&series.points), &chart.unit, language)) }
                        }
                    }
                }
            }
            div.chart-plot data-plot {
                @if empty { p.chart-empty { (language.say(say::NO_DATA)) } } @else { (drawing(chart, range, markers)) }
            }
            p.unseen { (summary(chart, language)) }
            div data-region={ "table-" (chart.id) } { @if !empty { (table(chart, language)) } }
        }
    }
}

fn last(points: &[(i64, Option<f64>)]) -> Option<f64> {
    points.last().and_then(|(_, value)| *value)
}

fn values(points: &[(i64, Option<f64>)]) -> impl Iterator<Item = f64> {
    points
        .iter()
        .filter_map(|(_, value)| *value)
        .filter(|value| value.is_finite())
}

/// The chart in words.
fn summary(chart: &Chart, language: Language) -> String {
    let mut sentences = Vec::new();
    for series in &chart.series {
        let (least, most) = values(&series.points).fold((f64::INFINITY, f64::NEG_INFINITY), |(l, m), v| {
            (l.min(v), m.max(v))
        });
        let known = |value: f64| shown(value.is_finite().then_some(value), &chart.unit, language);
        let now = shown(last(&series.points), &chart.unit, language);
        sentences.push(language.fill(
            say::CHART_SUMMARY,
            &[&series.name, &now, &known(least), &known(most)],
        ));
    }
    sentences.join(". ")
}

fn table(chart: &Chart, language: Language) -> Markup {
    let Some(first) = chart.series.first() else {
        return html! {};
    };
    let step = first.points.len().div_ceil(ROWS_MAX).max(1);
    html! {
        details.table-behind {
            summary { (language.say(say::SHOW_TABLE)) }
            div.scroll { table {
                thead { tr { th { (language.say(say::TIME)) } @for series in &chart.series { th.num { (series.name) } } } }
                tbody {
                    @for (at, _) in first.points.iter().rev().step_by(step) {
                        tr {
                            td { (time(Moment::from_millis(*at))) }
                            @for series in &chart.series { td.num { (shown(value_at(&series.points, *at), &chart.unit, language)) } }
                        }
                    }
                }
            } }
            @if !chart.source.is_empty() { p.muted.small { code { (chart.source) } } }
        }
    }
}

fn value_at(points: &[(i64, Option<f64>)], at: i64) -> Option<f64> {
    points
        .binary_search_by_key(&at, |(time, _)| *time)
        .ok()
        .and_then(|index| points[index].1)
}

fn drawing(chart: &Chart, (from, to): (Moment, Moment), markers: &[Marker]) -> Markup {
    let top = chart
        .series
        .iter()
        .flat_map(|s| values(&s.points))
        .chain(chart.objective)
        .fold(0.0_f64, f64::max);
    let top = if top > 0.0 { top * 1.1 } else { 1.0 };
    let span = (to.millis() - from.millis()).max(1) as f64;
    let x = |at: i64| ((at - from.millis()) as f64 / span * WIDTH).clamp(0.0, WIDTH);
    let y = |value: f64| HEIGHT - (value / top).clamp(0.0, 1.0) * HEIGHT;
    html! {
        svg.plot viewBox={ "0 0 " (WIDTH) " " (HEIGHT) } preserveAspectRatio="none" aria-hidden="true" {
            @for quarter in 1..4 { line.grid x1="0" x2=(WIDTH) y1=(HEIGHT * f64::from(quarter) / 4.0) y2=(HEIGHT * f64::from(quarter) / 4.0) {} }
            @if let Some(objective) = chart.objective { line.objective x1="0" x2=(WIDTH) y1=(y(objective)) y2=(y(objective)) {} }
            @for marker in markers { line class={ "mark mark-" (marker_class(&marker.kind)) } x1=(x(marker.at.millis())) x2=(x(marker.at.millis())) y1="0" y2=(HEIGHT) {} }
            @for (index, series) in chart.series.iter().enumerate() {
                path class={ "line line-" (index % 4) } d=(line_path(series.points.iter().map(|(at, value)| (x(*at), value.map(y))))) {}
            }
        }
    }
}

/// Changes and incidents on the same axis as the charts, and the newest of them in words.
pub(crate) fn lane(markers: &[Marker], (from, to): (Moment, Moment), language: Language) -> Markup {
    let span = (to.millis() - from.millis()).max(1) as f64;
    let x =
        |marker: &Marker| ((marker.at.millis() - from.millis()) as f64 / span * 1000.0).clamp(0.0, 1000.0);
    html! {
        section.lane aria-label=(language.say(say::CHANGES)) {
            h2.small.muted { (language.say(say::CHANGES)) }
            ul {
                @for marker in markers.iter().rev().take(LANE_MAX) {
                    li class={ "mark-" (marker_class(&marker.kind)) } { span.mark-key aria-hidden="true" {} (time(marker.at)) " " (link(marker.link.as_deref(), &marker.label)) }
                }
                @if markers.is_empty() { li.muted { "–" } }
            }
            svg.lane-axis viewBox="0 0 1000 16" preserveAspectRatio="none" aria-hidden="true" {
                line.grid x1="0" x2="1000" y1="8" y2="8" {}
                @for marker in markers { line class={ "mark mark-" (marker_class(&marker.kind)) } x1=(x(marker)) x2=(x(marker)) y1="0" y2="16" {} }
            }
        }
    }
}

/// A marker's kind as a class: only those that are known.
pub(crate) fn marker_class(kind: &str) -> &'static str {
    match kind {
        "deploy" | "weight" => "deploy",
        "rollback" => "rollback",
        "incident" => "incident",
        _ => "other",
    }
}

/// A path with gaps where nothing is known.
fn line_path(points: impl Iterator<Item = (f64, Option<f64>)>) -> String {
    let mut path = String::new();
    let mut pen_down = false;
    for (x, y) in points {
        let known = y.filter(|y| y.is_finite());
        if let Some(y) = known {
            path.push_str(&format!("{}{x:.1} {y:.1}", if pen_down { 'L' } else { 'M' }));
        }
        pen_down = known.is_some();
    }
    path
}

/// The path of a sparkline in a box of 100 by 24; empty when nothing is known.
pub(crate) fn spark_path(values: &[Option<f64>]) -> String {
    let known = || values.iter().flatten().copied().filter(|value| value.is_finite());
    let (least, most) = known().fold((f64::INFINITY, f64::NEG_INFINITY), |(l, m), v| {
        (l.min(v), m.max(v))
    });
    if !least.is_finite() || values.len() < 2 {
        return String::new();
    }
    // A flat line stays flat: noise below 2 % of the value is not blown up to full height.
    let height = (most - least).max(most.abs() * 0.02).max(f64::MIN_POSITIVE);
    let step = 100.0 / (values.len() - 1) as f64;
    let points = values.iter().enumerate();
    line_path(points.map(|(index, value)| {
        (
            index as f64 * step,
            value.map(|v| 22.0 - (v - least) / height * 20.0),
        )
    }))
}

/// The end that the marked part of a bar begins at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum From {
    Left,
    Right,
}

/// A share as a bar of two parts.
pub(crate) fn share_bar(percent: f64, from: From, label: &str) -> Markup {
    let percent = percent.clamp(0.0, 100.0);
    let x = if from == From::Right { 100.0 - percent } else { 0.0 };
    html! {
        svg.share viewBox="0 0 100 6" preserveAspectRatio="none" role="img" aria-label=(label) {
            rect.share-rest width="100" height="6" {}
            rect.share-part x=(x) width=(percent) height="6" {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gaps_stay_gaps() {
        let path = line_path([(0.0, Some(1.0)), (1.0, Some(2.0)), (2.0, None), (3.0, Some(4.0))].into_iter());
        assert_eq!(path, "M0.0 1.0L1.0 2.0M3.0 4.0");
    }

    #[test]
    fn nothing_known_draws_nothing() {
        assert_eq!(spark_path(&[None, None]), "");
        assert_eq!(spark_path(&[]), "");
        assert_eq!(spark_path(&[Some(f64::NAN), Some(f64::INFINITY)]), "");
        assert!(spark_path(&[Some(0.0), Some(0.0)]).starts_with("M0.0 22.0L"));
    }

    #[test]
    fn an_empty_chart_says_no_data() {
        let empty = Chart {
            id: "x".into(),
            title: "X".into(),
            unit: "%".into(),
            series: vec![],
            objective: None,
            source: String::new(),
        };
        let page = chart(
            &empty,
            "X",
            (Moment::from_millis(0), Moment::from_millis(1)),
            &[],
            Language::English,
        )
        .into_string();
        assert!(
            page.contains("no data") && !page.contains("100") && !page.contains(">0"),
            "{page}"
        );
    }
}
