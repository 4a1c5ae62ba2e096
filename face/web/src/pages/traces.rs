//! Trace search, and one trace as a waterfall.

use axum::extract::{Path, Query};
use axum::response::Html;
use maud::{Markup, html};
use serde::Deserialize;
use trimtab_api::{SpanDetail, SpanQuery, SpanStatus, SpanSummary, Trace};

use super::Page;
use super::logs::{given, log_row, minutes_back};
use crate::failure::Failed;
use crate::parts::badges::{Tone, dot};
use crate::parts::shell::Section;
use crate::parts::{nothing, times};
use crate::text::{Language, duration_ms, say};

/// Spans of one trace that are drawn.
const SPANS_MAX: usize = 500;

/// What a person asks; empty fields mean "any".
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Asked {
    service: String,
    release: String,
    operation: String,
    duration_min_ms: String,
    errors: String,
    minutes: String,
}

/// `GET /explore/traces`.
pub(crate) async fn traces(page: Page, Query(asked): Query<Asked>) -> Result<Html<String>, Failed> {
    let query = SpanQuery {
        service: given(&asked.service),
        release: given(&asked.release),
        operation: given(&asked.operation),
        duration_min_ms: asked.duration_min_ms.trim().parse().ok(),
        errors: (asked.errors == "1").then_some(true),
        from: Some(minutes_back(&asked.minutes)),
        limit: Some(200),
        ..SpanQuery::default()
    };
    let found = page.app.backend.spans(query).await?;
    let language = page.language();
    let longest = found
        .spans
        .iter()
        .map(|span| span.duration_ms)
        .fold(0.0, f64::max);
    let field = |name: &str, text, value: &str| html! { label { (page.say(text)) input type="text" name=(name) value=(value) maxlength="400"; } };
    let minutes = if asked.minutes.is_empty() {
        "60"
    } else {
        &asked.minutes
    };
    let body = html! {
        header.page-head { h1 { (page.say(say::TRACES)) } }
        form.filters method="get" action="/explore/traces" role="search" {
            (field("operation", say::OPERATION, &asked.operation))
            (field("service", say::SERVICE, &asked.service))
            (field("release", say::RELEASE, &asked.release))
            label.narrow { (page.say(say::DURATION_MIN)) input type="number" name="duration_min_ms" min="0" step="any" value=(asked.duration_min_ms); }
            label.narrow { (page.say(say::MINUTES)) input type="number" name="minutes" min="1" max="129600" value=(minutes); }
            label.check { input type="checkbox" name="errors" value="1" checked[asked.errors == "1"]; (page.say(say::ERRORS_ONLY)) }
            button.button.primary type="submit" { (page.say(say::SEARCH)) }
        }
        @if found.spans.is_empty() { (nothing(page.say(say::NO_SPANS))) } @else {
            div.scroll { table.spans {
                thead { tr { th { (page.say(say::TIME)) } th { (page.say(say::OPERATION)) } th { (page.say(say::RELEASE)) } th.num { (page.say(say::DURATION)) } th {} } }
                tbody { @for span in &found.spans { (row(span, longest, language)) } }
            } }
        }
        @if found.truncated { p.muted { (page.say(say::TRUNCATED)) } }
    };
    Ok(page.render(page.say(say::TRACES), Section::Traces, &[], body))
}

fn status(status: SpanStatus, language: Language) -> Markup {
    match status {
        SpanStatus::Error => dot(Tone::Critical, language.say(say::FAILED)),
        SpanStatus::Ok => dot(Tone::Good, language.say(say::PASSED)),
        SpanStatus::Unset => dot(Tone::Quiet, "–"),
    }
}

fn took(ms: f64, language: Language) -> Markup {
    let shown = duration_ms(ms, language);
    html! { span.num { (shown.value) "\u{202f}" (shown.unit) } }
}

fn row(span: &SpanSummary, longest: f64, language: Language) -> Markup {
    let share = if longest > 0.0 {
        span.duration_ms / longest * 100.0
    } else {
        0.0
    };
    html! {
        tr {
            td { (times::time(span.started_at)) }
            td { (status(span.status, language)) " " a href=(trimtab_api::routes::fill("/traces/{id}", &[&span.trace_id])) { (span.name) } }
            td.muted { (span.release.as_deref().or(span.service.as_deref()).unwrap_or("–")) }
            td.num { (took(span.duration_ms, language)) }
            td.bar-cell { svg.span-bar viewBox="0 0 100 8" preserveAspectRatio="none" aria-hidden="true" { rect.bar.bar-error[span.status == SpanStatus::Error] width=(share.clamp(0.5, 100.0)) height="8" {} } }
        }
    }
}

/// `GET /traces/{id}`.
pub(crate) async fn trace(page: Page, Path(id): Path<String>) -> Result<Html<String>, Failed> {
    let trace = page.app.backend.trace(&id).await?;
    let language = page.language();
    let ordered = tree(&trace);
    let name = trace
        .spans
        .first()
        .map(|span| span.summary.name.clone())
        .unwrap_or_else(|| trace.trace_id.clone());
    let body = html! {
        header.page-head { div {
            p.crumbs { a href="/explore/traces" { (page.say(say::TRACES)) } " / " code { (trace.trace_id) } }
            h1 { (name) }
            p { (times::date(trace.started_at)) " · " (took(trace.duration_ms, language)) " · " (trace.spans.len()) " " (page.say(say::SPANS).to_lowercase()) }
        } }
        section.waterfall {
            @for (depth, span) in ordered { (waterfall_row(span, depth, trace.duration_ms, language)) }
        }
        @if !trace.logs.is_empty() {
            section { h2 { (page.say(say::LOGS)) } div.log-table { @for line in &trace.logs { (log_row(line, language)) } } }
        }
    };
    Ok(page.render(&name, Section::Traces, &[], body))
}

fn waterfall_row(span: &SpanDetail, depth: usize, whole: f64, language: Language) -> Markup {
    let whole = if whole > 0.0 { whole } else { 1.0 };
    let x = (span.offset_ms / whole * 1_000.0).clamp(0.0, 998.0);
    let width = (span.summary.duration_ms / whole * 1_000.0).clamp(2.0, 1_000.0 - x);
    html! {
        details.wf-row {
            summary {
                span class={ "wf-name depth-" (depth.min(8)) } { (status(span.summary.status, language)) " " span { (span.summary.name) } }
                svg.wf-bar viewBox="0 0 1000 12" preserveAspectRatio="none" aria-hidden="true" {
                    rect.bar.bar-error[span.summary.status == SpanStatus::Error] x=(x) width=(width) height="12" {}
                }
                (took(span.summary.duration_ms, language))
            }
            dl.facts.small {
                dt { (language.say(say::SERVICE)) } dd { (span.summary.service.as_deref().unwrap_or("–")) " · " (span.kind) }
                @if let Some(release) = &span.summary.release { dt { (language.say(say::RELEASE)) } dd { (release) } }
                @if !span.status_message.is_empty() { dt { (language.say(say::STATE)) } dd { (span.status_message) } }
                @for (name, value) in &span.attributes { dt { (name) } dd { code { (value) } } }
            }
        }
    }
}

/// Spans below their parents with their depth; orphans and circles stand at the top.
fn tree(trace: &Trace) -> Vec<(usize, &SpanDetail)> {
    let spans: Vec<&SpanDetail> = trace.spans.iter().take(SPANS_MAX).collect();
    let mut children: std::collections::BTreeMap<&str, Vec<usize>> = std::collections::BTreeMap::new();
    let mut roots = Vec::new();
    for (index, span) in spans.iter().enumerate() {
        let parent = span
            .parent_span_id
            .as_deref()
            .filter(|id| *id != span.summary.span_id);
        match parent.filter(|id| spans.iter().any(|other| other.summary.span_id == *id)) {
            Some(parent) => children.entry(parent).or_default().push(index),
            None => roots.push(index),
        }
    }
    let mut seen = vec![false; spans.len()];
    let mut out = Vec::with_capacity(spans.len());
    let mut waiting: Vec<(usize, usize)> = roots.into_iter().rev().map(|index| (0, index)).collect();
    let mut next = 0;
    loop {
        while let Some((depth, index)) = waiting.pop() {
            if std::mem::replace(&mut seen[index], true) {
                continue;
            }
            out.push((depth, spans[index]));
            let below = children
                .get(spans[index].summary.span_id.as_str())
                .into_iter()
                .flatten();
            waiting.extend(below.rev().map(|child| (depth + 1, *child)));
        }
        match (next..spans.len()).find(|index| !seen[*index]) {
            Some(left) => {
                waiting.push((0, left));
                next = left;
            }
            None => return out,
        }
    }
}
