//! Metrics, logs and traces.

use std::collections::BTreeMap;
use std::sync::PoisonError;

use futures_util::stream::BoxStream;
use trimtab_api as api;
use trimtab_api::{Fault, LogLine, LogPage, QueryResult, SpanPage, SpanSummary, Trace};
use trimtab_model::{Identity, Timestamp};
use trimtab_store::{LogQuery, Origin, SpanQuery, TEMPLATE_ATTRIBUTE, TailFilter, TimeRange};
use trimtab_telemetry::promql::{self, Query, Value};
use trimtab_telemetry::{Labels, Level, LogRecord, SeriesData, Span, SpanStatus, TraceId};

use super::{AppBackend, rows, unavailable};

/// How long a value that looks far back is kept, in milliseconds.
const SELDOM_MS: i64 = 10_000;
/// Such values that are kept at the same time.
const SELDOM_MAX: usize = 1_000;
/// Rows of logs that are shown beside a trace.
const TRACE_LOGS_MAX: usize = 500;

impl AppBackend {
    /// Evaluates a query at one time.
    pub(super) async fn value(&self, text: &str, at: Timestamp) -> Result<Value, Fault> {
        let query = parse(text)?;
        let data = self.data(&query, at.0, at.0).await?;
        query.eval_instant(&data, at.0).map_err(wrong)
    }

    /// A value that looks far back, asked for again only after a while; none when it cannot be told.
    pub(super) async fn seldom(&self, text: &str, now: Timestamp) -> Option<Value> {
        let kept = {
            let kept = self.seldom.lock().unwrap_or_else(PoisonError::into_inner);
            kept.get(text).filter(|(at, _)| now.0 - at.0 < SELDOM_MS).cloned()
        };
        if let Some((_, value)) = kept {
            return value;
        }
        let value = self.value(text, now).await.ok();
        let mut kept = self.seldom.lock().unwrap_or_else(PoisonError::into_inner);
        if kept.len() >= SELDOM_MAX {
            kept.clear();
        }
        kept.insert(text.to_owned(), (now, value.clone()));
        value
    }

    /// Evaluates a query over a time.
    pub(super) async fn range(
        &self,
        text: &str,
        start: Timestamp,
        end: Timestamp,
        step_ms: i64,
    ) -> Result<Vec<SeriesData>, Fault> {
        let query = parse(text)?;
        let data = self.data(&query, start.0, end.0).await?;
        query.eval_range(&data, start.0, end.0, step_ms).map_err(wrong)
    }

    async fn data(&self, query: &Query, start: i64, end: i64) -> Result<Vec<Vec<SeriesData>>, Fault> {
        let mut data = Vec::new();
        for selector in query.selectors() {
            let (from, to) = selector.range(start, end);
            let found = self.world.series.select(&selector.matchers, from, to).await;
            data.push(found.map_err(unavailable)?);
        }
        Ok(data)
    }

    /// When the newest point of a selector's series was measured; none when there is none to see.
    pub(super) async fn newest(&self, selector: &str, now: Timestamp) -> Result<Option<i64>, Fault> {
        let data = self.data(&parse(selector)?, now.0, now.0).await?;
        let points = data.iter().flatten().flat_map(|series| &series.points);
        Ok(points.map(|(at, _)| *at).max())
    }

    pub(super) async fn instant(&self, text: &str, at: Timestamp) -> Result<QueryResult, Fault> {
        Ok(match self.value(text, at).await? {
            Value::Scalar(value) => QueryResult::Scalar((at.as_seconds(), number(value))),
            Value::Vector(samples) => QueryResult::Vector(
                samples
                    .iter()
                    .map(|sample| api::VectorSample {
                        metric: metric(&sample.labels),
                        value: (at.as_seconds(), number(sample.value)),
                    })
                    .collect(),
            ),
        })
    }

    pub(super) async fn matrix(
        &self,
        text: &str,
        start: Timestamp,
        end: Timestamp,
        step_ms: u64,
    ) -> Result<Vec<api::MatrixSeries>, Fault> {
        let step = i64::try_from(step_ms).unwrap_or(i64::MAX);
        let series = self.range(text, start, end, step).await?;
        Ok(series
            .iter()
            .map(|one| api::MatrixSeries {
                metric: metric(&one.labels),
                values: one
                    .points
                    .iter()
                    .map(|(at, value)| (Timestamp(*at).as_seconds(), number(*value)))
                    .collect(),
            })
            .collect())
    }

    pub(super) async fn log_page(&self, query: api::LogQuery) -> Result<LogPage, Fault> {
        let limit = rows(query.limit);
        let mut wanted = log_query(&query)?;
        wanted.limit = limit + 1;
        let mut found = self.world.store.scan_logs(wanted).await.map_err(unavailable)?;
        let truncated = found.len() > limit;
        found.truncate(limit);
        Ok(LogPage {
            lines: found.iter().map(line).collect(),
            truncated,
        })
    }

    pub(super) fn log_tail(&self, query: &api::LogQuery) -> Result<BoxStream<'static, LogLine>, Fault> {
        let filter = TailFilter {
            logs: Some(log_query(query)?),
            ..TailFilter::default()
        };
        let tail = self.world.store.tail(filter);
        let batches = futures_util::stream::unfold(tail, |mut tail| async move {
            let batch = tail.next().await?;
            let lines: Vec<LogLine> = batch.logs.iter().map(line).collect();
            Some((futures_util::stream::iter(lines), tail))
        });
        Ok(Box::pin(futures_util::StreamExt::flatten(batches)))
    }

    pub(super) async fn span_page(&self, query: api::SpanQuery) -> Result<SpanPage, Fault> {
        let limit = rows(query.limit);
        let wanted = SpanQuery {
            range: window(query.from, query.to),
            origin: origin(&query.service, &query.environment, &query.release, &None)?,
            name: query.operation,
            status: (query.errors == Some(true)).then_some(SpanStatus::Error),
            duration_min_nanos: query.duration_min_ms.map(|ms| (ms.max(0.0) * 1e6) as u64),
            limit: limit + 1,
            ..SpanQuery::default()
        };
        let mut found = self.world.store.search_spans(wanted).await.map_err(unavailable)?;
        let truncated = found.len() > limit;
        found.truncate(limit);
        Ok(SpanPage {
            spans: found.iter().map(span_summary).collect(),
            truncated,
        })
    }

    pub(super) async fn one_trace(&self, id: &str) -> Result<Trace, Fault> {
        let trace_id = trace_id(id)?;
        let mut spans = self.world.store.trace(trace_id).await.map_err(unavailable)?;
        spans.sort_by_key(|span| span.start_nanos);
        let Some(first) = spans.first().map(|span| span.start_nanos) else {
            return Err(Fault::not_found("trace", id));
        };
        let last = spans.iter().map(|span| span.end_nanos).max().unwrap_or(first);
        let logs = LogQuery {
            trace_id: Some(trace_id),
            limit: TRACE_LOGS_MAX,
            ..LogQuery::default()
        };
        let logs = self.world.store.scan_logs(logs).await.map_err(unavailable)?;
        let detail = |span: &Span| api::SpanDetail {
            summary: span_summary(span),
            parent_span_id: span.parent_span_id.map(|id| id.to_string()),
            kind: span.kind.as_str().to_owned(),
            offset_ms: millis(span.start_nanos.saturating_sub(first)),
            status_message: span.status_message.clone(),
            attributes: attributes(&span.attributes),
        };
        Ok(Trace {
            trace_id: id.to_owned(),
            started_at: Timestamp::from_nanos(first).into(),
            duration_ms: millis(last.saturating_sub(first)),
            spans: spans.iter().map(detail).collect(),
            logs: logs.iter().map(line).collect(),
        })
    }
}

fn parse(text: &str) -> Result<Query, Fault> {
    promql::parse(text).map_err(wrong)
}

fn wrong(error: promql::QueryError) -> Fault {
    Fault::invalid(
        error.to_string(),
        "correct the query; the manual lists what is understood",
    )
}

fn number(value: f64) -> String {
    if value == f64::INFINITY {
        "+Inf".to_owned()
    } else if value == f64::NEG_INFINITY {
        "-Inf".to_owned()
    } else {
        value.to_string()
    }
}

fn metric(labels: &Labels) -> BTreeMap<String, String> {
    let pairs = labels.iter();
    pairs
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .collect()
}

fn millis(nanos: u64) -> f64 {
    nanos as f64 / 1e6
}

fn trace_id(text: &str) -> Result<TraceId, Fault> {
    text.parse().map_err(|error: trimtab_telemetry::IdError| {
        Fault::invalid(error.to_string(), "copy the id of a trace whole")
    })
}

fn window(from: Option<api::Moment>, to: Option<api::Moment>) -> TimeRange {
    TimeRange::from_millis(
        from.map_or(0, api::Moment::millis),
        to.map_or(i64::MAX, api::Moment::millis),
    )
}

fn origin(
    service: &Option<String>,
    environment: &Option<String>,
    release: &Option<String>,
    instance: &Option<String>,
) -> Result<Origin, Fault> {
    fn name<T>(
        text: &Option<String>,
        make: impl Fn(String) -> Result<T, trimtab_model::NameError>,
    ) -> Result<Option<T>, Fault> {
        let made = text.clone().filter(|text| !text.is_empty()).map(make).transpose();
        made.map_err(|error| Fault::invalid(error.to_string(), "correct the name in the filter"))
    }
    Ok(Origin {
        service: name(service, trimtab_model::ServiceName::new)?,
        environment: name(environment, trimtab_model::EnvironmentName::new)?,
        release: name(release, trimtab_model::ReleaseId::new)?,
        instance: name(instance, trimtab_model::InstanceId::new)?,
    })
}

fn log_query(query: &api::LogQuery) -> Result<LogQuery, Fault> {
    let level = query.level.as_ref().filter(|level| !level.is_empty());
    let level = level.map(|level| {
        Level::from_name(level).ok_or_else(|| {
            Fault::invalid(
                format!("{level:?} is no level"),
                "use trace, debug, info, warn, error or fatal",
            )
        })
    });
    Ok(LogQuery {
        range: window(query.from, query.to),
        origin: origin(
            &query.service,
            &query.environment,
            &query.release,
            &query.instance,
        )?,
        level_min: level.transpose()?,
        contains: query.text.clone().filter(|text| !text.is_empty()),
        template: query.template.clone().filter(|text| !text.is_empty()),
        trace_id: query
            .trace_id
            .as_deref()
            .filter(|text| !text.is_empty())
            .map(trace_id)
            .transpose()?,
        limit: rows(query.limit),
        ..LogQuery::default()
    })
}

fn attributes(all: &trimtab_telemetry::Attributes) -> BTreeMap<String, String> {
    let pairs = all.iter();
    pairs
        .map(|(name, value)| (name.to_string(), value.to_string()))
        .collect()
}

fn names(identity: &Identity) -> [Option<String>; 4] {
    [
        identity.service.as_ref().map(ToString::to_string),
        identity.environment.as_ref().map(ToString::to_string),
        identity.release.as_ref().map(ToString::to_string),
        identity.instance.as_ref().map(ToString::to_string),
    ]
}

fn line(log: &LogRecord) -> LogLine {
    let [service, environment, release, instance] = names(&log.identity);
    LogLine {
        at: Timestamp::from_nanos(log.at_nanos).into(),
        level: log.level.as_str().to_owned(),
        body: log.body.clone(),
        service,
        environment,
        release,
        instance,
        trace_id: log.trace_id.map(|id| id.to_string()),
        span_id: log.span_id.map(|id| id.to_string()),
        template: log.attributes.get(TEMPLATE_ATTRIBUTE).map(ToString::to_string),
        attributes: attributes(&log.attributes),
    }
}

fn span_summary(span: &Span) -> SpanSummary {
    let [service, _, release, _] = names(&span.identity);
    SpanSummary {
        trace_id: span.trace_id.to_string(),
        span_id: span.span_id.to_string(),
        name: span.name.clone(),
        service,
        release,
        started_at: Timestamp::from_nanos(span.start_nanos).into(),
        duration_ms: millis(span.duration_nanos()),
        status: match span.status {
            SpanStatus::Unset => api::SpanStatus::Unset,
            SpanStatus::Ok => api::SpanStatus::Ok,
            SpanStatus::Error => api::SpanStatus::Error,
        },
    }
}
