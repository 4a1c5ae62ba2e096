//! Log lines and spans.

use std::collections::BTreeMap;

use trimtab_api::*;

use super::{HOSTILE, ago};

pub(crate) fn log_lines() -> Vec<LogLine> {
    let line = |seconds, level: &str, body: &str| LogLine {
        at: ago(seconds),
        level: level.into(),
        body: body.into(),
        service: Some("blocks".into()),
        environment: Some("production".into()),
        release: Some("blocks-r3".into()),
        instance: Some("blocks-r3-production-1".into()),
        trace_id: Some("4bf92f3577b34da6a3ce929d0e0e4736".into()),
        span_id: None,
        template: Some("t17".into()),
        attributes: BTreeMap::from([
            ("http.route".into(), "/blocks/search".into()),
            ("evil".into(), HOSTILE.into()),
        ]),
    };
    let mut lines = vec![
        line(1, "error", "search failed: prefix must not be empty"),
        line(2, "info", HOSTILE),
    ];
    lines.extend((3..40).map(|n| {
        line(
            n,
            ["info", "debug", "warn", "info"][n as usize % 4],
            &format!("GET /blocks/{n} 200 in {} ms", n * 3 % 41),
        )
    }));
    lines
}

fn span(name: &str, id: &str, offset: f64, took: f64, status: SpanStatus) -> SpanSummary {
    SpanSummary {
        trace_id: "4bf92f3577b34da6a3ce929d0e0e4736".into(),
        span_id: id.into(),
        name: name.into(),
        service: Some("blocks".into()),
        release: Some("blocks-r3".into()),
        started_at: ago(30 + offset as i64 / 100),
        duration_ms: took,
        status,
    }
}

pub(crate) fn spans() -> Vec<SpanSummary> {
    vec![
        span("GET /blocks/search", "a1", 0.0, 1_912.0, SpanStatus::Error),
        span("GET /blocks/{id}", "a2", 10.0, 12.4, SpanStatus::Ok),
        span("POST /blocks", "a3", 20.0, 31.0, SpanStatus::Ok),
        span(HOSTILE, "a4", 30.0, 210.0, SpanStatus::Unset),
    ]
}

pub(crate) fn trace() -> Trace {
    let detail = |summary: SpanSummary, parent: Option<&str>, offset: f64| SpanDetail {
        summary,
        parent_span_id: parent.map(Into::into),
        kind: "server".into(),
        offset_ms: offset,
        status_message: String::new(),
        attributes: BTreeMap::from([("http.request.method".into(), "GET".into())]),
    };
    Trace {
        trace_id: "4bf92f3577b34da6a3ce929d0e0e4736".into(),
        started_at: ago(30),
        duration_ms: 1_912.0,
        spans: vec![
            detail(
                span("GET /blocks/search", "a1", 0.0, 1_912.0, SpanStatus::Error),
                None,
                0.0,
            ),
            detail(span("auth", "b1", 0.0, 18.0, SpanStatus::Ok), Some("a1"), 4.0),
            detail(
                span("index.scan", "b2", 0.0, 1_790.0, SpanStatus::Error),
                Some("a1"),
                30.0,
            ),
            detail(
                span("file.read", "c1", 0.0, 340.0, SpanStatus::Ok),
                Some("b2"),
                60.0,
            ),
            detail(
                span("render", "b3", 0.0, 60.0, SpanStatus::Ok),
                Some("a1"),
                1_840.0,
            ),
        ],
        logs: log_lines().into_iter().take(2).collect(),
    }
}
