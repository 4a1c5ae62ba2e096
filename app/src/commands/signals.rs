//! Logs and metrics.

use anyhow::{Result, bail};
use trimtab_api as api;
use trimtab_api::{QueryData, QueryResult};

use super::client::{Client, read, with_query};
use super::print::{Printer, Tone, clean};
use crate::cli::Logs;

pub(super) async fn logs(client: &Client, out: &Printer, asked: Logs) -> Result<bool> {
    let query = api::LogQuery {
        service: asked.service,
        environment: asked.environment,
        release: asked.release,
        level: asked.level,
        trace_id: asked.trace,
        text: asked.text,
        limit: Some(asked.limit),
        ..api::LogQuery::default()
    };
    let answer = client.get(&with_query("/api/v1/logs", &query)).await?;
    if out.json(&answer)? {
        return Ok(true);
    }
    let page: api::LogPage = read(&answer)?;
    for line in page.lines.iter().rev() {
        let tone = match line.level.as_str() {
            "error" | "fatal" => Tone::Bad,
            "warn" => Tone::Warn,
            _ => Tone::Dim,
        };
        out.line(&format!(
            "{} {} {} {}",
            line.at,
            out.paint(tone, &format!("{:5}", line.level)),
            clean(line.instance.as_deref().unwrap_or("-")),
            clean(&line.body)
        ));
    }
    if page.lines.is_empty() {
        out.line("no lines in the last hour match");
        out.next("leave out a filter");
    } else if page.truncated {
        out.next("there are more: raise --limit");
    }
    Ok(true)
}

pub(super) async fn query(
    client: &Client,
    out: &Printer,
    query: String,
    time: Option<String>,
) -> Result<bool> {
    let asked = api::InstantQuery { query, time };
    let answer = client.get(&with_query("/api/v1/query", &asked)).await?;
    if out.json(&answer)? {
        return Ok(true);
    }
    let answer: api::PrometheusAnswer = read(&answer)?;
    if let Some(error) = answer.error {
        bail!("failed to evaluate: {}", clean(&error));
    }
    let mut rows = Vec::new();
    match answer.data {
        Some(QueryData::Result(QueryResult::Vector(samples))) => {
            for sample in samples {
                rows.push(vec![labels(&sample.metric), sample.value.1]);
            }
        }
        Some(QueryData::Result(QueryResult::Matrix(series))) => {
            for one in series {
                let values: Vec<_> = one.values.into_iter().map(|(_, value)| value).collect();
                rows.push(vec![labels(&one.metric), values.join(" ")]);
            }
        }
        Some(QueryData::Result(QueryResult::Scalar(value) | QueryResult::String(value))) => {
            rows.push(vec![value.1]);
        }
        Some(QueryData::Names(names)) => rows.extend(names.into_iter().map(|name| vec![name])),
        None => {}
    }
    if rows.is_empty() {
        out.line("no data");
    }
    out.table(&rows);
    Ok(true)
}

fn labels(labels: &std::collections::BTreeMap<String, String>) -> String {
    let pairs: Vec<_> = labels
        .iter()
        .filter(|(name, _)| *name != "__name__")
        .map(|(name, value)| format!("{name}={value:?}"))
        .collect();
    let name = labels.get("__name__").map_or("", String::as_str);
    format!("{name}{{{}}}", pairs.join(", "))
}
