//! Metrics by PromQL: a chart and a table.

use std::collections::BTreeMap;
use std::time::Duration;

use axum::extract::Query;
use axum::response::Html;
use maud::{Markup, html};
use serde::Deserialize;
use trimtab_api::{Chart, ChartSeries, Fault, Marker, MarkerQuery, MatrixSeries, Moment};

use super::Page;
use crate::failure::Failed;
use crate::parts::charts::{chart, lane};
use crate::parts::nothing;
use crate::parts::shell::{Section, encoded};
use crate::state::now;
use crate::text::{number, say};

/// Points across a chart.
const POINTS: u64 = 180;
/// Series that are drawn; the rest stand in the table alone.
const DRAWN_MAX: usize = 8;

/// What a person asks.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Asked {
    query: String,
    minutes: String,
}

/// `GET /explore/metrics`.
pub(crate) async fn metrics(page: Page, Query(asked): Query<Asked>) -> Result<Html<String>, Failed> {
    let minutes = asked
        .minutes
        .trim()
        .parse::<u64>()
        .unwrap_or(15)
        .clamp(1, 60 * 24 * 30);
    let end = now();
    let start = end.minus(Duration::from_secs(minutes * 60));
    let step_ms = (minutes * 60_000 / POINTS).max(1_000);
    let query = asked.query.trim();
    let happened = MarkerQuery {
        from: Some(start.into()),
        to: Some(end.into()),
        ..MarkerQuery::default()
    };
    let (found, names, marked) = tokio::join!(
        async {
            if query.is_empty() {
                Ok(Vec::new())
            } else {
                page.app.backend.query_range(query, start, end, step_ms).await
            }
        },
        page.app.backend.label_values("__name__"),
        page.app.backend.markers(happened),
    );
    let markers = marked.map(|marked| marked.markers).unwrap_or_default();
    let body = html! {
        header.page-head { h1 { (page.say(say::METRICS)) } }
        form.filters method="get" action="/explore/metrics" {
            label.wide { (page.say(say::QUERY)) input.code type="text" name="query" value=(query) maxlength="4000" list="metric-names" autocomplete="off" spellcheck="false" placeholder="sum by (release) (rate(trimtab_requests_total[1m]))"; }
            label.narrow { (page.say(say::MINUTES)) input type="number" name="minutes" min="1" max="43200" value=(minutes); }
            button.button.primary type="submit" { (page.say(say::RUN_QUERY)) }
            datalist #metric-names { @for name in names.iter().flatten().take(500) { option value=(name) {} } }
        }
        @match &found {
            Err(fault) => (problem(fault)),
            Ok(series) if !query.is_empty() => (result(&page, query, series, (start.into(), end.into()), step_ms, &markers)),
            Ok(_) => {}
        }
        @if let Ok(names) = &names {
            details.panel open[query.is_empty()] {
                summary { (page.say(say::METRIC_NAMES)) " (" (names.len()) ")" }
                ul.names { @for name in names.iter().take(500) { li { a href={ "/explore/metrics?query=" (encoded(name)) } { code { (name) } } } } }
            }
        }
    };
    Ok(page.render(page.say(say::METRICS), Section::Metrics, &[], body))
}

fn problem(fault: &Fault) -> Markup {
    html! { p.note.tone-critical role="alert" { (crate::parts::badges::icon("octagon")) (fault.message) @if !fault.mend.is_empty() { " " span.muted { (fault.mend) } } } }
}

fn result(
    page: &Page,
    query: &str,
    series: &[MatrixSeries],
    range: (Moment, Moment),
    step_ms: u64,
    markers: &[Marker],
) -> Markup {
    let language = page.language();
    if series.is_empty() {
        return nothing(page.say(say::NO_SERIES));
    }
    let (start, end, step) = (range.0, range.1, step_ms as f64 / 1_000.0);
    let data = format!(
        "/api/v1/query_range?query={}&start={start}&end={end}&step={step}",
        encoded(query)
    );
    let drawn = Chart {
        id: "query".to_owned(),
        title: query.to_owned(),
        unit: String::new(),
        series: series.iter().take(DRAWN_MAX).map(as_line).collect(),
        objective: None,
        source: query.to_owned(),
    };
    html! {
        div data-charts=(data) data-range={ (start.millis()) " " (end.millis()) } data-markers={ "/api/v1/markers?from=" (encoded(&start.to_string())) "&to=" (encoded(&end.to_string())) } {
            section.charts.charts-one { (chart(&drawn, query, range, markers, language)) }
            (lane(markers, range, language))
        }
        div.scroll { table {
            thead { tr { th { (page.say(say::SERIES)) } th.num { (page.say(say::VALUE)) } } }
            tbody { @for one in series.iter().take(200) {
                tr {
                    td { code { (labels(&one.metric)) } }
                    td.num { @match one.values.last().and_then(|(_, value)| value.parse::<f64>().ok()) { Some(value) => (number(value, language)), None => (page.say(say::NO_DATA)) } }
                }
            } }
        } }
    }
}

fn as_line(series: &MatrixSeries) -> ChartSeries {
    let points = series.values.iter().map(|(at, value)| {
        (
            (at * 1_000.0) as i64,
            value.parse::<f64>().ok().filter(|value| value.is_finite()),
        )
    });
    ChartSeries {
        name: labels(&series.metric),
        points: points.collect(),
    }
}

/// `name{a="b"}`.
fn labels(metric: &BTreeMap<String, String>) -> String {
    let name = metric.get("__name__").map(String::as_str).unwrap_or_default();
    let rest: Vec<String> = metric
        .iter()
        .filter(|(key, _)| *key != "__name__")
        .map(|(key, value)| format!("{key}={value:?}"))
        .collect();
    if rest.is_empty() && !name.is_empty() {
        name.to_owned()
    } else {
        format!("{name}{{{}}}", rest.join(", "))
    }
}
