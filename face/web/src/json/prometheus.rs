//! PromQL in the shapes of Prometheus' HTTP API, so that Grafana plugs in.

use axum::extract::{Path, Query, State};
use axum::response::{IntoResponse, Response};
use axum::{Extension, Form, Json};
use http::StatusCode;
use trimtab_api::{Fault, InstantQuery, Moment, PrometheusAnswer, QueryData, QueryResult, RangeQuery};
use trimtab_model::Timestamp;

use crate::failure::Answered;
use crate::state::{App, now};

/// Points per series that a query may ask for, as Prometheus has it.
const POINTS_MAX: i64 = 11_000;
/// Longest query in bytes.
const QUERY_BYTES_MAX: usize = 16_384;

fn success(data: QueryData) -> Response {
    let answer = PrometheusAnswer {
        status: "success".to_owned(),
        data: Some(data),
        error_type: None,
        error: None,
    };
    Json(answer).into_response()
}

fn failure(fault: &Fault) -> Response {
    let status = StatusCode::from_u16(fault.code.status()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let kind = if status.is_client_error() {
        "bad_data"
    } else {
        "internal"
    };
    let answer = PrometheusAnswer {
        status: "error".to_owned(),
        data: None,
        error_type: Some(kind.to_owned()),
        error: Some(fault.to_string()),
    };
    (status, Extension(Answered), Json(answer)).into_response()
}

fn answered(result: Result<QueryData, Fault>) -> Response {
    match result {
        Ok(data) => success(data),
        Err(fault) => failure(&fault),
    }
}

/// Seconds since the epoch or RFC 3339.
fn time_of(text: &str) -> Result<Timestamp, Fault> {
    if let Ok(seconds) = text.parse::<f64>()
        && seconds.is_finite()
    {
        return Ok(Timestamp((seconds * 1_000.0) as i64));
    }
    text.parse::<Moment>()
        .map(|moment| moment.0)
        .map_err(|problem| Fault::invalid(problem.to_string(), "seconds since the epoch do as well"))
}

/// Seconds, or a number with `ms`, `s`, `m`, `h` or `d`; in milliseconds.
fn step_of(text: &str) -> Result<u64, Fault> {
    let split = text.find(|c: char| c.is_ascii_alphabetic()).unwrap_or(text.len());
    let (number, unit) = text.split_at(split);
    let scale = match unit {
        "ms" => 1.0,
        "" | "s" => 1_000.0,
        "m" => 60_000.0,
        "h" => 3_600_000.0,
        "d" => 86_400_000.0,
        _ => f64::NAN,
    };
    let ms = number.parse::<f64>().unwrap_or(f64::NAN) * scale;
    if (1.0..=1e12).contains(&ms) {
        Ok(ms as u64)
    } else {
        Err(Fault::invalid(
            format!(
                "failed to read the step {:?}",
                text.chars().take(40).collect::<String>()
            ),
            "use seconds, or 15s, 1m, 1h",
        ))
    }
}

fn check_query(query: &str) -> Result<(), Fault> {
    match query.len() {
        0 => Err(Fault::invalid("the query is empty", "give PromQL as `query`")),
        len if len > QUERY_BYTES_MAX => Err(Fault::invalid(
            "the query is too long",
            format!("use at most {QUERY_BYTES_MAX} bytes"),
        )),
        _ => Ok(()),
    }
}

async fn instant(app: &App, query: InstantQuery) -> Result<QueryData, Fault> {
    check_query(&query.query)?;
    let at = query.time.as_deref().map_or_else(|| Ok(now()), time_of)?;
    Ok(QueryData::Result(app.backend.query(&query.query, at).await?))
}

async fn range(app: &App, query: RangeQuery) -> Result<QueryData, Fault> {
    check_query(&query.query)?;
    let (start, end, step) = (
        time_of(&query.start)?,
        time_of(&query.end)?,
        step_of(&query.step)?,
    );
    if end < start {
        return Err(Fault::invalid("the end is before the start", "swap them"));
    }
    if end.0.saturating_sub(start.0) / i64::try_from(step).unwrap_or(i64::MAX) > POINTS_MAX {
        return Err(Fault::invalid(
            format!("the query asks for more than {POINTS_MAX} points"),
            "use a longer step or a shorter time",
        ));
    }
    let series = app.backend.query_range(&query.query, start, end, step).await?;
    Ok(QueryData::Result(QueryResult::Matrix(series)))
}

pub(crate) async fn query_get(State(app): State<App>, Query(query): Query<InstantQuery>) -> Response {
    answered(instant(&app, query).await)
}

pub(crate) async fn query_post(State(app): State<App>, Form(query): Form<InstantQuery>) -> Response {
    answered(instant(&app, query).await)
}

pub(crate) async fn range_get(State(app): State<App>, Query(query): Query<RangeQuery>) -> Response {
    answered(range(&app, query).await)
}

pub(crate) async fn range_post(State(app): State<App>, Form(query): Form<RangeQuery>) -> Response {
    answered(range(&app, query).await)
}

pub(crate) async fn labels(State(app): State<App>) -> Response {
    answered(app.backend.label_names().await.map(QueryData::Names))
}

pub(crate) async fn label_values(State(app): State<App>, Path(name): Path<String>) -> Response {
    answered(app.backend.label_values(&name).await.map(QueryData::Names))
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests fail by panicking")]
    use super::*;

    #[test]
    fn times_and_steps_as_prometheus_takes_them() {
        assert_eq!(time_of("1769860800.5").unwrap(), Timestamp(1_769_860_800_500));
        assert_eq!(
            time_of("2026-01-31T12:00:00Z").unwrap(),
            Timestamp(1_769_860_800_000)
        );
        assert!(time_of("NaN").is_err() && time_of("soon").is_err());
        for (text, ms) in [
            ("15", 15_000),
            ("0.5", 500),
            ("1m", 60_000),
            ("250ms", 250),
            ("1h", 3_600_000),
        ] {
            assert_eq!(step_of(text).unwrap(), ms, "{text}");
        }
        for bad in ["", "0", "-1", "1y", "inf", "NaN", "1e300"] {
            assert!(step_of(bad).is_err(), "{bad}");
        }
    }
}
