//! Logs and metrics.

use std::time::Duration;

use anyhow::Result;
use trimtab_api as api;
use trimtab_api::{Fault, QueryData, QueryResult};

use super::client::{CallError, Client, read, with_query};
use super::print::{Printer, Tone, clean};
use crate::cli::Logs;

/// Lines of the past shown at most when nobody says how many.
const LINES: usize = 200;
/// The same before lines are followed.
const LINES_BEFORE: usize = 10;
/// Wait before a broken stream is opened again.
const AGAIN: Duration = Duration::from_secs(1);

pub(super) async fn logs(client: &Client, out: &Printer, asked: Logs) -> Result<bool> {
    let follow = asked.follow;
    let query = api::LogQuery {
        service: asked.service,
        environment: asked.environment,
        release: asked.release,
        level: asked.level,
        trace_id: asked.trace,
        text: asked.text,
        limit: Some(asked.limit.unwrap_or(if follow { LINES_BEFORE } else { LINES })),
        ..api::LogQuery::default()
    };
    let answer = client.get(&with_query("/api/v1/logs", &query)).await?;
    if !follow && out.json(&answer)? {
        return Ok(true);
    }
    let page: api::LogPage = read(&answer)?;
    for line in page.lines.iter().rev() {
        show(out, line)?;
    }
    if follow {
        return self::follow(client, out, &query).await;
    }
    if page.lines.is_empty() {
        out.line("no lines of the last hour match");
        out.next("leave out a filter, or follow what comes: trimtab logs --follow");
    } else if page.truncated {
        out.next("there are more: raise --limit");
    }
    Ok(true)
}

/// Until the program is stopped: a server that restarts is waited for.
async fn follow(client: &Client, out: &Printer, query: &api::LogQuery) -> Result<bool> {
    let path = with_query("/api/v1/logs/tail", query);
    let mut events = client.events(&path).await?;
    loop {
        let broken = match events.next().await {
            Ok(Some(line)) => {
                show(out, &read(&line)?)?;
                continue;
            }
            Ok(None) => "the server closed the stream".to_owned(),
            Err(error) => format!("{error:#}"),
        };
        eprintln!("trimtab: {broken}; trying again");
        events = loop {
            tokio::time::sleep(AGAIN).await;
            match client.events(&path).await {
                Ok(events) => break events,
                Err(error) if matches!(error.downcast_ref(), Some(CallError::Unreachable { .. })) => {}
                Err(error) => return Err(error),
            }
        };
    }
}

fn show(out: &Printer, line: &api::LogLine) -> Result<()> {
    if out.json_line(&serde_json::to_value(line)?) {
        return Ok(());
    }
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
    Ok(())
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
        return Err(CallError::Refused(Fault::invalid(clean(&error), "")).into());
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
            out.line(&clean(&value.1));
            return Ok(true);
        }
        Some(QueryData::Names(names)) => {
            for name in names {
                out.line(&clean(&name));
            }
            return Ok(true);
        }
        None => {}
    }
    let empty = rows.is_empty();
    out.table(
        &["SERIES", "VALUE"],
        &rows,
        "no data: no series matches, or none has a value of the last 5 minutes",
    );
    if empty {
        out.next("trimtab query '{service=\"SERVICE\"}' lists what a service has");
    }
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
